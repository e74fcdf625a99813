//! Tokens of the whole organisation: for scripts that act as its admin and must not hold the admin's token.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{delete, get};
use axum::{Json, Router, middleware};
use serde_json::{Value, json};

use crate::auth::{self, TokenDigest};
use crate::error::ApiError;
use crate::store::TokenEntry;
use crate::tenant::App;
use crate::workspaces::parse_id;

const NOT_FOUND: ApiError = ApiError::NotFound("token not found");

/// The admin's routes.
pub fn routes(app: App) -> Router<App> {
    Router::new()
        .route("/org/tokens", get(list).post(add))
        .route("/org/tokens/{id}", delete(revoke))
        .route_layer(middleware::from_fn_with_state(app, auth::require_admin))
}

async fn list(State(app): State<App>) -> Result<Json<Vec<TokenEntry>>, ApiError> {
    Ok(Json(app.store.org_tokens().await?))
}

async fn add(State(app): State<App>) -> Result<impl IntoResponse, ApiError> {
    let token = auth::mint()?;
    let id = app.store.add_org_token(TokenDigest::of(&token)).await?;
    tracing::info!(%id, "organisation token minted");
    Ok((
        StatusCode::CREATED,
        Json(json!({ "id": id, "auth_token": token })),
    ))
}

async fn revoke(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let id = parse_id(&id)?;
    if !app.store.revoke_org_token(id).await? {
        return Err(NOT_FOUND);
    }
    tracing::info!(%id, "organisation token revoked");
    Ok(Json(json!({ "status": "revoked" })))
}
