//! Workspaces as the admin sees them.

use std::collections::HashSet;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router, middleware};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use crate::auth::{self, TokenDigest};
use crate::error::ApiError;
use crate::liveness::Liveness;
use crate::store::{NewWorkspace, Workspace};
use crate::tenant::App;

pub(crate) const NOT_FOUND: ApiError = ApiError::NotFound("workspace not found");

/// What tier 0, "unspecified", stands for.
const DEFAULT_TIER: i32 = 3;
const NAME_LIMIT: usize = 200;

/// The admin's routes.
pub fn routes(app: App) -> Router<App> {
    Router::new()
        .route("/workspaces", get(list).post(create))
        .route("/workspaces/{id}", delete(remove))
        .route("/admin/workspaces/{id}/tokens", post(add_token))
        .route_layer(middleware::from_fn_with_state(app, auth::require_admin))
}

/// An id in a path. What is no UUID cannot be the id of a workspace.
pub(crate) fn parse_id(id: &str) -> Result<Uuid, ApiError> {
    Uuid::try_parse(id).map_err(|_| NOT_FOUND)
}

/// The stored status corrected by liveness: a workspace whose heartbeats stopped is offline. While Redis cannot tell,
/// the stored status stands.
pub(crate) async fn with_liveness(
    liveness: &Liveness,
    mut workspaces: Vec<Workspace>,
) -> Vec<Workspace> {
    let ids: Vec<Uuid> = workspaces.iter().map(|workspace| workspace.id).collect();
    match liveness.alive(&ids).await {
        Ok(alive) => workspaces
            .iter_mut()
            .for_each(|workspace| correct_status(workspace, &alive)),
        Err(error) => tracing::warn!(%error, "liveness is unknown"),
    }
    workspaces
}

fn correct_status(workspace: &mut Workspace, alive: &HashSet<Uuid>) {
    if workspace.status == "online" && !alive.contains(&workspace.id) {
        "offline".clone_into(&mut workspace.status);
    }
}

#[derive(Debug, Deserialize)]
struct Create {
    // An `id` in the body is ignored: the server makes it.
    name: String,
    role: Option<String>,
    #[serde(default)]
    tier: i32,
    parent_id: Option<Uuid>,
}

async fn create(
    State(app): State<App>,
    body: Result<Json<Create>, JsonRejection>,
) -> Result<impl IntoResponse, ApiError> {
    let Json(body) = body?;
    let name = body.name.trim().to_owned();
    if name.is_empty() || name.chars().count() > NAME_LIMIT {
        return Err(ApiError::BadRequest(format!(
            "name must have 1 to {NAME_LIMIT} characters"
        )));
    }
    if body.tier < 0 {
        return Err(ApiError::BadRequest("tier must not be negative".to_owned()));
    }
    if let Some(parent_id) = body.parent_id
        && app.store.find(parent_id).await?.is_none()
    {
        return Err(ApiError::BadRequest(
            "parent_id names no workspace".to_owned(),
        ));
    }
    let tier = if body.tier == 0 {
        DEFAULT_TIER
    } else {
        body.tier
    };
    let new = NewWorkspace {
        name,
        role: body.role,
        tier,
        parent_id: body.parent_id,
    };
    let id = app.store.create(&new).await?;
    tracing::info!(%id, name = new.name, tier, "workspace created");
    let body = json!({
        "id": id,
        "status": "provisioning",
        "awareness_namespace": format!("workspace:{id}"),
        "workspace_access": "none",
    });
    Ok((StatusCode::CREATED, Json(body)))
}

async fn list(State(app): State<App>) -> Result<Json<Vec<Workspace>>, ApiError> {
    let workspaces = app.store.list().await?;
    Ok(Json(with_liveness(&app.liveness, workspaces).await))
}

async fn remove(State(app): State<App>, Path(id): Path<String>) -> Result<Response, ApiError> {
    let id = parse_id(&id)?;
    if !app.store.remove(id).await? {
        return Err(NOT_FOUND);
    }
    // Peers and tokens are decided by PostgreSQL; a stale key only lives on until it expires.
    if let Err(error) = app.liveness.forget(id).await {
        tracing::warn!(%error, %id, "liveness not cleared");
    }
    tracing::info!(%id, "workspace removed");
    Ok(Json(json!({ "status": "removed" })).into_response())
}

async fn add_token(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, ApiError> {
    let id = parse_id(&id)?;
    let token = auth::mint()?;
    if !app.store.add_token(id, TokenDigest::of(&token)).await? {
        return Err(NOT_FOUND);
    }
    tracing::info!(%id, "workspace token minted by the admin");
    Ok((StatusCode::CREATED, Json(json!({ "auth_token": token }))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_online_workspace_can_be_corrected_to_offline() {
        let cases = [
            ("online", true, "online"),
            ("online", false, "offline"),
            ("provisioning", false, "provisioning"),
            ("provisioning", true, "provisioning"),
        ];
        for (stored, is_alive, expected) in cases {
            let id = Uuid::new_v4();
            let mut workspace = Workspace {
                id,
                name: "w".to_owned(),
                role: None,
                tier: 3,
                status: stored.to_owned(),
                url: None,
                parent_id: None,
                agent_card: None,
                active_tasks: 0,
            };
            correct_status(
                &mut workspace,
                &is_alive.then_some(id).into_iter().collect(),
            );
            assert_eq!(workspace.status, expected, "{stored}, alive: {is_alive}");
        }
    }

    #[test]
    fn what_is_no_uuid_is_not_found() {
        assert!(parse_id("0b1e9f5e-3c1d-4c55-9a35-6f0b8b6f7a10").is_ok());
        for wrong in ["", "ghost", "../etc", "0b1e9f5e"] {
            assert!(
                matches!(parse_id(wrong), Err(ApiError::NotFound(_))),
                "{wrong}"
            );
        }
    }
}
