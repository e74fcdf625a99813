//! The tenant: its routes, put together in production's order, and its boot.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::get;
use axum::{Router, middleware};

use crate::bugs::Bugs;
use crate::canvas_proxy::CanvasProxy;
use crate::config::{Environment, TenantConfig, Token};
use crate::control_plane::ControlPlane;
use crate::guard::{self, TenantGuard};
use crate::http::{serve, terminated};
use crate::liveness::Liveness;
use crate::proxy::Upstream;
use crate::rate_limit::{self, RateLimit};
use crate::requests::{self, Counters};
use crate::session::Sessions;
use crate::store::{Store, StoreError};
use crate::{a2a, activity, buildinfo, cp_proxy, health, org_tokens, registry, workspaces};

/// What an unknown route answers where there is no user interface. It has a body, unlike a rejection by the guard.
pub(crate) const NO_ROUTE: (StatusCode, &str) = (StatusCode::NOT_FOUND, "404 page not found");

/// What handlers share.
#[derive(Debug, Clone)]
pub struct App {
    pub(crate) store: Store,
    pub(crate) liveness: Liveness,
    pub(crate) sessions: Sessions,
    pub(crate) control_plane: ControlPlane,
    pub(crate) counters: Counters,
    pub(crate) admin_token: Option<Token>,
    pub(crate) environment: Environment,
    /// Whether there is a user interface, whose pages are trusted to be this tenant's.
    pub(crate) canvas: bool,
    pub(crate) git_sha: &'static str,
    pub(crate) bugs: Bugs,
}

#[derive(Debug, thiserror::Error)]
pub enum TenantError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("REDIS_URL: {0}")]
    Redis(#[from] redis::RedisError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Boots the tenant and serves until it is told to stop. `git_sha` is the commit that was linked into the binary.
///
/// # Errors
/// PostgreSQL does not come up, or the port cannot be served.
pub async fn run(config: TenantConfig, git_sha: &'static str) -> Result<(), TenantError> {
    for bug in config.bugs.iter() {
        tracing::warn!(%bug, "a production bug is switched on");
    }
    let store = tokio::select! {
        store = Store::boot(&config.database_url, config.bugs.clone()) => store?,
        stopped = terminated() => return Ok(stopped?),
    };
    let app = App {
        store,
        liveness: Liveness::open(&config.redis_url)?,
        sessions: Sessions::new(config.control_plane.clone()),
        control_plane: config.control_plane,
        counters: Counters::default(),
        admin_token: config.admin_token,
        environment: config.environment,
        canvas: config.canvas_upstream.is_some(),
        git_sha,
        bugs: config.bugs.clone(),
    };
    let edge = Edge {
        guard: TenantGuard::new(config.org_id, app.canvas, config.bugs.clone()),
        limiter: RateLimit::new(config.rate_limit, config.bugs.clone()),
        cp_upstream: config.cp_upstream,
        canvas: CanvasProxy::new(config.canvas_upstream, config.bugs),
    };
    Ok(serve(config.port, router(app, edge)).await?)
}

/// What stands before the routes, and behind them.
struct Edge {
    guard: TenantGuard,
    limiter: RateLimit,
    cp_upstream: Option<Upstream>,
    canvas: CanvasProxy,
}

fn router(app: App, edge: Edge) -> Router {
    let (counters, bugs) = (app.counters.clone(), app.bugs.clone());
    let canvas = edge.canvas;
    let fallback = move |ConnectInfo(peer): ConnectInfo<SocketAddr>, request: Request| {
        let canvas = canvas.clone();
        async move { canvas.forward(peer, request).await }
    };
    Router::new()
        .route("/health", get(health::show))
        .route("/metrics", get(requests::metrics))
        .route("/buildinfo", get(buildinfo::show))
        .merge(workspaces::routes(app.clone()))
        .merge(activity::routes(app.clone()))
        .merge(org_tokens::routes(app.clone()))
        .merge(a2a::routes())
        .merge(registry::routes())
        .merge(cp_proxy::routes(edge.cp_upstream, bugs))
        .fallback(fallback.clone())
        .method_not_allowed_fallback(fallback)
        .with_state(app)
        // From the inside to the outside: a rejection by the guard is counted, and has no security headers.
        .layer(middleware::from_fn(secure))
        .layer(middleware::from_fn_with_state(edge.guard, guard::enforce))
        .layer(middleware::from_fn_with_state(counters, requests::record))
        .layer(middleware::from_fn_with_state(
            edge.limiter,
            rate_limit::enforce,
        ))
}

async fn secure(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "strict-origin-when-cross-origin"),
    ] {
        let name = HeaderName::from_static(name);
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}
