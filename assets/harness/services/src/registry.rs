//! The registry: workspaces announce themselves, stay alive, and find each other.

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::auth::{self, TokenDigest};
use crate::error::ApiError;
use crate::liveness::Address;
use crate::store::{DeliveryMode, Heartbeat, Refusal, Registered, Registration, Workspace};
use crate::tenant::App;
use crate::workspaces::{NOT_FOUND, with_liveness};

const CALLER_HEADER: &str = "x-workspace-id";

/// An id in a path of the registry: what is no UUID names no workspace.
fn parse_id(id: &str) -> Result<Uuid, ApiError> {
    Uuid::try_parse(id).map_err(|_| NOT_FOUND)
}

pub fn routes() -> Router<App> {
    Router::new()
        .route("/registry/register", post(register))
        .route("/registry/heartbeat", post(heartbeat))
        .route("/registry/{id}/peers", get(peers))
        .route("/registry/discover/{id}", get(discover))
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self::Unauthorized(match refusal {
            Refusal::Missing => "missing workspace auth token",
            Refusal::Invalid => "invalid workspace auth token",
        })
    }
}

fn presented(headers: &HeaderMap) -> Option<TokenDigest> {
    auth::bearer(headers).map(TokenDigest::of)
}

/// Lets a caller speak for a workspace. A token store that cannot be asked lets everybody pass here, as production
/// does: discovery must not fall with it.
async fn authorize(app: &App, id: Uuid, headers: &HeaderMap) -> Result<(), ApiError> {
    match app.store.authorize(id, presented(headers)).await {
        Ok(decision) => Ok(decision?),
        Err(error) => {
            tracing::error!(%error, %id, "the token store is unreachable: letting the caller pass");
            Ok(())
        }
    }
}

#[derive(Debug, Deserialize)]
struct Register {
    id: Uuid,
    url: Option<String>,
    internal_url: Option<String>,
    agent_card: Option<Value>,
    delivery_mode: Option<String>,
}

impl Register {
    fn delivery_mode(&self) -> Result<DeliveryMode, ApiError> {
        match self.delivery_mode.as_deref() {
            None | Some("push") => Ok(DeliveryMode::Push),
            Some("poll") => Ok(DeliveryMode::Poll),
            Some(_) => Err(ApiError::BadRequest(
                "delivery_mode must be push or poll".to_owned(),
            )),
        }
    }

    /// Where to deliver to: needed for push.
    fn url(&self, mode: DeliveryMode) -> Result<Option<String>, ApiError> {
        match (http_address(self.url.as_deref(), "url")?, mode) {
            (None, DeliveryMode::Push) => Err(not_an_address("url")),
            (url, _) => Ok(url),
        }
    }
}

/// An address, never anything but HTTP; blank counts as none.
fn http_address(url: Option<&str>, name: &str) -> Result<Option<String>, ApiError> {
    match url.map(str::trim).filter(|url| !url.is_empty()) {
        None => Ok(None),
        Some(url) if url.starts_with("http://") || url.starts_with("https://") => {
            Ok(Some(url.to_owned()))
        }
        Some(_) => Err(not_an_address(name)),
    }
}

fn not_an_address(name: &str) -> ApiError {
    ApiError::BadRequest(format!("{name} must be an http or https address"))
}

async fn register(
    State(app): State<App>,
    headers: HeaderMap,
    body: Result<Json<Register>, JsonRejection>,
) -> Result<Json<Value>, ApiError> {
    let Json(body) = body?;
    let delivery_mode = body.delivery_mode()?;
    let url = body.url(delivery_mode)?;
    let internal_url = http_address(body.internal_url.as_deref(), "internal_url")?;
    let token = auth::mint()?;
    let registration = Registration {
        id: body.id,
        url,
        agent_card: body.agent_card,
        delivery_mode,
        bearer: presented(&headers),
        first_token: TokenDigest::of(&token),
        first_inbound_secret: auth::mint()?,
    };
    let (first, inbound_secret) = match app.store.register(&registration).await? {
        Registered::Yes {
            first,
            inbound_secret,
        } => (first, inbound_secret),
        Registered::Refused(refusal) => return Err(refusal.into()),
        Registered::Removed => return Err(NOT_FOUND),
    };
    let addresses = [
        (Address::Public, registration.url.as_deref()),
        (Address::Internal, internal_url.as_deref()),
    ];
    mark_alive(&app, body.id, &addresses).await;
    tracing::info!(id = %body.id, first, "workspace registered");

    let mut answer = json!({
        "status": "registered",
        "delivery_mode": delivery_mode.as_str(),
        "platform_inbound_secret": inbound_secret,
    });
    if first {
        answer["auth_token"] = token.into();
    }
    Ok(Json(answer))
}

/// Redis may be away: the next heartbeat makes up for it.
async fn mark_alive(app: &App, id: Uuid, addresses: &[(Address, Option<&str>)]) {
    let marked = async {
        app.liveness.beat(id).await?;
        for (address, url) in addresses {
            if let Some(url) = url {
                app.liveness.remember(id, *address, url).await?;
            }
        }
        redis::RedisResult::Ok(())
    };
    if let Err(error) = marked.await {
        tracing::warn!(%error, %id, "liveness not recorded");
    }
}

#[derive(Debug, Deserialize)]
struct Beat {
    workspace_id: Uuid,
    #[serde(default)]
    error_rate: f64,
    sample_error: Option<String>,
    #[serde(default)]
    active_tasks: i32,
    #[serde(default)]
    uptime_seconds: i64,
}

async fn heartbeat(
    State(app): State<App>,
    headers: HeaderMap,
    body: Result<Json<Beat>, JsonRejection>,
) -> Result<Json<Value>, ApiError> {
    let Json(body) = body?;
    authorize(&app, body.workspace_id, &headers).await?;
    let beat = Heartbeat {
        id: body.workspace_id,
        error_rate: body.error_rate,
        sample_error: body.sample_error,
        active_tasks: body.active_tasks,
        uptime_seconds: body.uptime_seconds,
    };
    if !app.store.heartbeat(&beat).await? {
        return Err(NOT_FOUND);
    }
    mark_alive(&app, beat.id, &[]).await;
    Ok(Json(json!({ "status": "ok" })))
}

#[derive(Debug, Deserialize)]
struct Filter {
    q: Option<String>,
}

async fn peers(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(filter): Query<Filter>,
    headers: HeaderMap,
) -> Result<Json<Vec<Workspace>>, ApiError> {
    let workspace = app.store.find(parse_id(&id)?).await?.ok_or(NOT_FOUND)?;
    authorize(&app, workspace.id, &headers).await?;
    let needle = filter.q.as_deref().map(str::trim).filter(|q| !q.is_empty());
    let peers = app.store.peers(&workspace, needle).await?;
    Ok(Json(with_liveness(&app.liveness, peers).await))
}

/// The workspace that asks, by `X-Workspace-ID` and its token; `None` if it is not registered.
pub(crate) async fn caller(app: &App, headers: &HeaderMap) -> Result<Option<Workspace>, ApiError> {
    let id = headers
        .get(CALLER_HEADER)
        .and_then(|value| value.to_str().ok())
        .and_then(|id| Uuid::try_parse(id).ok())
        .ok_or_else(|| {
            ApiError::BadRequest("X-Workspace-ID must be the caller's workspace id".to_owned())
        })?;
    authorize(app, id, headers).await?;
    Ok(app.store.find(id).await?)
}

async fn discover(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let caller = caller(&app, &headers).await?;
    let target = app.store.find(parse_id(&id)?).await?.ok_or(NOT_FOUND)?;
    if !caller.is_some_and(|caller| related(&caller, &target)) {
        return Err(ApiError::Forbidden("workspaces are not related"));
    }
    let cached = app.liveness.address(target.id, Address::Public).await;
    let cached = cached.unwrap_or_else(|error| {
        tracing::warn!(%error, "no cached address");
        None
    });
    match with_liveness(&app.liveness, vec![target]).await.pop() {
        Some(target) if target.status == "online" => Ok(Json(json!({
            "id": target.id,
            "name": target.name,
            "status": target.status,
            "url": cached.or(target.url),
        }))),
        target => Err(ApiError::NotOnline(
            target.map(|target| target.status).unwrap_or_default(),
        )),
    }
}

/// The same relation as [`crate::store::Store::peers`], and a workspace to itself.
pub(crate) fn related(one: &Workspace, other: &Workspace) -> bool {
    one.id == other.id
        || one.parent_id == Some(other.id)
        || other.parent_id == Some(one.id)
        || (one.parent_id.is_some() && one.parent_id == other.parent_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace(parent_id: Option<Uuid>) -> Workspace {
        Workspace {
            id: Uuid::new_v4(),
            name: "w".to_owned(),
            role: None,
            tier: 3,
            status: "online".to_owned(),
            url: None,
            parent_id,
            agent_card: None,
            active_tasks: 0,
            delivery_mode: DeliveryMode::Push,
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

    #[test]
    fn relation_table() {
        let parent = workspace(None);
        let (child, sibling) = (workspace(Some(parent.id)), workspace(Some(parent.id)));
        let (grandchild, stranger) = (workspace(Some(child.id)), workspace(None));
        for (one, other, expected) in [
            (&parent, &parent, true),
            (&parent, &child, true),
            (&child, &sibling, true),
            (&child, &grandchild, true),
            (&parent, &grandchild, false),
            (&sibling, &grandchild, false),
            (&parent, &stranger, false),
        ] {
            assert_eq!(related(one, other), expected, "{one:?} {other:?}");
            assert_eq!(related(other, one), expected, "{other:?} {one:?}");
        }
    }

    fn register(
        url: Option<&str>,
        mode: Option<&str>,
    ) -> Result<(&'static str, Option<String>), ApiError> {
        let body = Register {
            id: Uuid::new_v4(),
            url: url.map(str::to_owned),
            internal_url: None,
            agent_card: None,
            delivery_mode: mode.map(str::to_owned),
        };
        let mode = body.delivery_mode()?;
        Ok((mode.as_str(), body.url(mode)?))
    }

    #[test]
    fn push_needs_an_address_and_poll_does_not() {
        assert_eq!(
            register(Some(" http://a:1 "), None).unwrap(),
            ("push", Some("http://a:1".to_owned()))
        );
        assert_eq!(register(None, Some("poll")).unwrap(), ("poll", None));
        for (url, mode) in [
            (None, None),
            (Some("  "), Some("push")),
            (Some("file:///etc/passwd"), None),
            (Some("javascript:x"), Some("poll")),
            (Some("http://a"), Some("pigeon")),
        ] {
            assert!(
                matches!(register(url, mode), Err(ApiError::BadRequest(_))),
                "{url:?} {mode:?}"
            );
        }
    }
}
