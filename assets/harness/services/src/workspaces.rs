//! Workspaces: as the admin sees them, as everybody does, and their tokens.

use std::collections::HashSet;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router, middleware};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::auth::{self, TokenDigest};
use crate::config::Environment;
use crate::control_plane::Order;
use crate::error::ApiError;
use crate::liveness::Liveness;
use crate::store::{NewWorkspace, Provisioning, TokenEntry, Workspace};
use crate::tenant::{App, NO_ROUTE};

pub(crate) const NOT_FOUND: ApiError = ApiError::NotFound("workspace not found");

/// What tier 0, "unspecified", stands for.
const DEFAULT_TIER: i32 = 3;
const NAME_LIMIT: usize = 200;

pub fn routes(app: App) -> Router<App> {
    let admin = Router::new()
        .route("/workspaces", get(list).post(create))
        .route("/workspaces/{id}", delete(remove))
        .route("/admin/workspaces/{id}/tokens", post(add_token))
        .route("/admin/workspaces/{id}/instance", get(instance))
        .route("/admin/workspaces/{id}/console", get(console))
        .route_layer(middleware::from_fn_with_state(
            app.clone(),
            auth::require_admin,
        ));
    let workspace = Router::new()
        .route("/workspaces/{id}/tokens", get(tokens))
        .route("/workspaces/{id}/tokens/{token_id}", delete(revoke_token))
        .route_layer(middleware::from_fn_with_state(app, auth::require_workspace));
    let open = Router::new()
        .route("/workspaces/{id}", get(show))
        .route("/admin/workspaces/{id}/test-token", get(test_token));
    admin.merge(workspace).merge(open)
}

/// An id in a path.
pub(crate) fn parse_id(id: &str) -> Result<Uuid, ApiError> {
    Uuid::try_parse(id).map_err(|_| ApiError::BadRequest("an id must be a UUID".to_owned()))
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
    #[serde(default = "default_runtime")]
    runtime: String,
}

fn default_runtime() -> String {
    "default".to_owned()
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
    let order = Order {
        workspace_id: id,
        runtime: body.runtime,
        tier,
    };
    // The answer does not wait: an instance takes minutes.
    tokio::spawn(async move { provision(&app, &order).await });
    let body = json!({
        "id": id,
        "status": "provisioning",
        "awareness_namespace": format!("workspace:{id}"),
        "workspace_access": "none",
    });
    Ok((StatusCode::CREATED, Json(body)))
}

/// Asks the control plane for an instance, and records the outcome with the workspace.
async fn provision(app: &App, order: &Order) {
    let id = order.workspace_id;
    let outcome = match app.control_plane.provision(order).await {
        Ok(instance) => {
            tracing::info!(%id, instance_id = instance.instance_id, "workspace provisioned");
            Provisioning {
                instance_id: Some(instance.instance_id),
                error: None,
            }
        }
        Err(error) => {
            tracing::error!(%id, %error, "workspace not provisioned");
            Provisioning {
                instance_id: None,
                error: Some(error.to_string()),
            }
        }
    };
    match (
        app.store.provisioned(id, &outcome).await,
        outcome.instance_id,
    ) {
        (Ok(false), Some(instance_id)) => deprovision(app, id, &instance_id).await,
        (Ok(_), _) => {}
        (Err(error), _) => tracing::error!(%id, %error, "the outcome of provisioning is lost"),
    }
}

async fn deprovision(app: &App, id: Uuid, instance_id: &str) {
    if let Err(error) = app.control_plane.deprovision(id, instance_id).await {
        tracing::error!(%id, instance_id, %error, "the instance was not given back");
    }
}

/// What became of provisioning, and whether the instance lives.
async fn instance(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let id = parse_id(&id)?;
    let Provisioning { instance_id, error } = app.store.provisioning(id).await?.ok_or(NOT_FOUND)?;
    let alive = match &instance_id {
        Some(instance_id) => Some(app.control_plane.is_alive(id, instance_id).await),
        None => None,
    };
    Ok(Json(
        json!({ "instance_id": instance_id, "error": error, "alive": alive }),
    ))
}

async fn console(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let id = parse_id(&id)?;
    app.store.find(id).await?.ok_or(NOT_FOUND)?;
    app.control_plane
        .console(id)
        .await
        .map(Json)
        .map_err(|error| {
            tracing::warn!(%id, %error, "no console");
            ApiError::BadGateway("control plane unavailable")
        })
}

/// Open to everybody: neither addresses nor what an agent says of itself.
#[derive(Debug, Serialize)]
struct Public {
    id: Uuid,
    name: String,
    role: Option<String>,
    tier: i32,
    status: String,
    parent_id: Option<Uuid>,
}

async fn show(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Public>, ApiError> {
    let workspace = app.store.find(parse_id(&id)?).await?.ok_or(NOT_FOUND)?;
    let workspace = with_liveness(&app.liveness, vec![workspace]).await.pop();
    let Workspace {
        id,
        name,
        role,
        tier,
        status,
        parent_id,
        ..
    } = workspace.ok_or(NOT_FOUND)?;
    Ok(Json(Public {
        id,
        name,
        role,
        tier,
        status,
        parent_id,
    }))
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
    if let Some(Provisioning {
        instance_id: Some(instance_id),
        ..
    }) = app.store.provisioning(id).await?
    {
        tokio::spawn({
            let app = app.clone();
            async move { deprovision(&app, id, &instance_id).await }
        });
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
    Ok((StatusCode::CREATED, mint_token(&app, parse_id(&id)?).await?))
}

async fn mint_token(app: &App, id: Uuid) -> Result<Json<Value>, ApiError> {
    let token = auth::mint()?;
    let token_id = app
        .store
        .add_token(id, TokenDigest::of(&token))
        .await?
        .ok_or(NOT_FOUND)?;
    tracing::info!(%id, %token_id, "workspace token minted by the admin");
    Ok(Json(json!({ "id": token_id, "auth_token": token })))
}

/// A token for tests. In production there is no such route.
async fn test_token(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if app.environment == Environment::Production {
        return Ok(NO_ROUTE.into_response());
    }
    auth::authorize_admin(&app, &headers).await?;
    Ok(mint_token(&app, parse_id(&id)?).await?.into_response())
}

async fn tokens(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Vec<TokenEntry>>, ApiError> {
    Ok(Json(app.store.tokens(parse_id(&id)?).await?))
}

async fn revoke_token(
    State(app): State<App>,
    Path((id, token_id)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let (id, token_id) = (parse_id(&id)?, parse_id(&token_id)?);
    if !app.store.revoke_token(id, token_id).await? {
        return Err(ApiError::NotFound("token not found"));
    }
    tracing::info!(%id, %token_id, "workspace token revoked");
    Ok(Json(json!({ "status": "revoked" })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::DeliveryMode;

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
                delivery_mode: DeliveryMode::Push,
            };
            correct_status(
                &mut workspace,
                &is_alive.then_some(id).into_iter().collect(),
            );
            assert_eq!(workspace.status, expected, "{stored}, alive: {is_alive}");
        }
    }

    #[test]
    fn what_is_no_uuid_is_a_bad_request() {
        assert!(parse_id("0b1e9f5e-3c1d-4c55-9a35-6f0b8b6f7a10").is_ok());
        for wrong in ["", "ghost", "../etc", "0b1e9f5e"] {
            assert!(
                matches!(parse_id(wrong), Err(ApiError::BadRequest(_))),
                "{wrong}"
            );
        }
    }
}
