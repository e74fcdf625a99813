//! The tenant: its routes, put together in production's order, and its boot.

use axum::http::StatusCode;
use axum::routing::get;
use axum::{Router, middleware};

use crate::bugs::Bugs;
use crate::config::{AdminToken, TenantConfig};
use crate::guard::{self, TenantGuard};
use crate::http::{serve, terminated};
use crate::liveness::Liveness;
use crate::requests::{self, Counters};
use crate::store::{Store, StoreError};
use crate::{buildinfo, cp_proxy, health, registry, workspaces};

/// What an unknown route answers. It has a body, unlike a rejection by the guard.
pub(crate) const NO_ROUTE: (StatusCode, &str) = (StatusCode::NOT_FOUND, "404 page not found");

/// What handlers share.
#[derive(Debug, Clone)]
pub struct App {
    pub(crate) store: Store,
    pub(crate) liveness: Liveness,
    pub(crate) counters: Counters,
    pub(crate) admin_token: Option<AdminToken>,
    pub(crate) development: bool,
    pub(crate) git_sha: &'static str,
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
    warn_of(&config.bugs);
    let store = tokio::select! {
        store = Store::boot(&config.database_url) => store?,
        stopped = terminated() => return Ok(stopped?),
    };
    let app = App {
        store,
        liveness: Liveness::open(&config.redis_url)?,
        counters: Counters::default(),
        admin_token: config.admin_token,
        development: config.development,
        git_sha: buildinfo::reported(git_sha, &config.bugs),
    };
    let guard = TenantGuard::new(config.org_id);
    Ok(serve(config.port, router(app, guard, config.cp_upstream)).await?)
}

fn warn_of(bugs: &Bugs) {
    for bug in bugs.iter() {
        tracing::warn!(%bug, "a production bug is switched on");
    }
}

fn router(app: App, guard: TenantGuard, cp_upstream: Option<cp_proxy::Upstream>) -> Router {
    let counters = app.counters.clone();
    Router::new()
        .route("/health", get(health::show))
        .route("/metrics", get(requests::metrics))
        .route("/buildinfo", get(buildinfo::show))
        .merge(workspaces::routes(app.clone()))
        .merge(registry::routes())
        .merge(cp_proxy::routes(cp_upstream))
        .fallback(|| async { NO_ROUTE })
        .method_not_allowed_fallback(|| async { NO_ROUTE })
        .with_state(app)
        .layer(middleware::from_fn_with_state(guard, guard::enforce))
        .layer(middleware::from_fn_with_state(counters, requests::record))
}
