//! `POST /workspaces/{id}/a2a`: one workspace's message to another. It is open to every token and to none: who may talk
//! to whom is decided by the hierarchy.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::activity::NewEntry;
use crate::error::ApiError;
use crate::http::fetch;
use crate::liveness::Address;
use crate::registry::{caller, related};
use crate::store::{DeliveryMode, Workspace};
use crate::tenant::App;
use crate::workspaces::{NOT_FOUND, parse_id};

const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);

pub fn routes() -> Router<App> {
    Router::new().route("/workspaces/{id}/a2a", post(deliver))
}

async fn deliver(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let caller = caller(&app, &headers).await?;
    let target = app.store.find(parse_id(&id)?).await?.ok_or(NOT_FOUND)?;
    if !caller
        .as_ref()
        .is_some_and(|caller| related(caller, &target))
    {
        return Err(ApiError::Forbidden("workspaces are not related"));
    }
    let message: Value = serde_json::from_slice(&body)
        .map_err(|error| ApiError::BadRequest(format!("the message must be JSON: {error}")))?;
    let (response, status) = match target.delivery_mode {
        DeliveryMode::Poll => {
            let body = json!({ "status": "queued", "delivery_mode": "poll" });
            ((StatusCode::ACCEPTED, Json(body)).into_response(), "queued")
        }
        DeliveryMode::Push => match push(&app, &target, body).await {
            Some(response) => (response, "delivered"),
            None => (
                ApiError::BadGateway("workspace unreachable").into_response(),
                "error",
            ),
        },
    };
    let entry = NewEntry {
        workspace_id: target.id,
        activity_type: "a2a_receive".to_owned(),
        source_id: caller.map(|caller| caller.id),
        target_id: Some(target.id),
        method: message
            .get("method")
            .and_then(Value::as_str)
            .map(str::to_owned),
        summary: None,
        status: status.to_owned(),
    };
    app.store.add_activity(&entry).await?;
    Ok(response)
}

/// The workspace's own answer; `None` when there is none.
async fn push(app: &App, target: &Workspace, message: Bytes) -> Option<Response> {
    let cached = app.liveness.address(target.id, Address::Internal).await;
    let url = cached.ok().flatten().or_else(|| target.url.clone())?;
    let request = Request::post(url)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(message));
    let answer = fetch(request.ok()?, DELIVERY_TIMEOUT).await;
    match answer {
        Ok((status, body)) => {
            Some((status, [(header::CONTENT_TYPE, "application/json")], body).into_response())
        }
        Err(error) => {
            tracing::warn!(%error, id = %target.id, "a2a: not delivered");
            None
        }
    }
}
