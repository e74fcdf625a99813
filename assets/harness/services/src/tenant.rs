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
use crate::cors::{self, Cors};
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
        cors: config.cors,
        limiter: RateLimit::new(config.rate_limit, config.bugs.clone()),
        counters: app.counters.clone(),
        guard: TenantGuard::new(config.org_id, app.canvas, config.bugs.clone()),
    };
    let canvas = CanvasProxy::new(config.canvas_upstream, config.bugs);
    let routes = routes(app, config.cp_upstream, canvas);
    Ok(serve(config.port, edge.before(routes)).await?)
}

/// What stands before the routes.
struct Edge {
    cors: Cors,
    limiter: RateLimit,
    counters: Counters,
    guard: TenantGuard,
}

impl Edge {
    fn before(self, routes: Router) -> Router {
        // From the inside to the outside: a rejection by the guard is counted, and has no security headers.
        routes
            .layer(middleware::from_fn(secure))
            .layer(middleware::from_fn_with_state(self.guard, guard::enforce))
            .layer(middleware::from_fn_with_state(
                self.counters,
                requests::record,
            ))
            .layer(middleware::from_fn_with_state(
                self.limiter,
                rate_limit::enforce,
            ))
            .layer(middleware::from_fn_with_state(self.cors, cors::enforce))
    }
}

fn routes(app: App, cp_upstream: Option<Upstream>, canvas: CanvasProxy) -> Router {
    let bugs = app.bugs.clone();
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
        .merge(cp_proxy::routes(cp_upstream, bugs))
        .fallback(fallback.clone())
        .method_not_allowed_fallback(fallback)
        .with_state(app)
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

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::extract::connect_info::MockConnectInfo;
    use axum::http::{HeaderMap, header};
    use tower::ServiceExt as _;

    use super::*;

    const ALLOWED: &str = "http://localhost:3000";
    const ASKED: (HeaderName, &str) = (header::ACCESS_CONTROL_REQUEST_METHOD, "DELETE");

    /// What a tenant that admits `limit` requests answers to one for a path with credentials.
    async fn answer(
        limit: u32,
        method: &str,
        headers: &[(HeaderName, &str)],
    ) -> (StatusCode, HeaderMap) {
        let edge = Edge {
            cors: Cors::parse(ALLOWED).unwrap(),
            limiter: RateLimit::new(limit, Bugs::default()),
            counters: Counters::default(),
            guard: TenantGuard::new(Some("org-a".to_owned()), false, Bugs::default()),
        };
        let routes = Router::new().route("/workspaces", get(|| async { "mine" }));
        let peer = MockConnectInfo(SocketAddr::from(([127, 0, 0, 1], 1)));
        let mut request = Request::builder().method(method).uri("/workspaces");
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        let router = edge.before(routes).layer(peer);
        let response = router.oneshot(request).await.unwrap();
        (response.status(), response.headers().clone())
    }

    fn told<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
        headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[tokio::test]
    async fn a_preflight_is_answered_before_limit_and_guard() {
        let origin = (header::ORIGIN, ALLOWED);
        let (status, headers) = answer(0, "OPTIONS", &[origin, ASKED]).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
        let allowed = told(&headers, &header::ACCESS_CONTROL_ALLOW_ORIGIN);
        assert_eq!(allowed, Some(ALLOWED));
        let methods = told(&headers, &header::ACCESS_CONTROL_ALLOW_METHODS);
        assert!(methods.is_some_and(|methods| methods.contains("DELETE")));
        let names = told(&headers, &header::ACCESS_CONTROL_ALLOW_HEADERS);
        assert!(names.is_some_and(|names| names.contains("X-Molecule-Org-Id")));
    }

    #[tokio::test]
    async fn others_find_what_they_would_find_without_an_origin() {
        let foreign = (header::ORIGIN, "https://evil.example");
        for headers in [
            &[foreign.clone(), ASKED][..],
            &[ASKED],
            &[(header::ORIGIN, ALLOWED)],
        ] {
            let (status, _) = answer(1, "OPTIONS", headers).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{headers:?}");
        }
        let org = (HeaderName::from_static(guard::ORG_HEADER), "org-a");
        let (status, headers) = answer(1, "GET", &[foreign, org]).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(told(&headers, &header::ACCESS_CONTROL_ALLOW_ORIGIN), None);
        assert_eq!(told(&headers, &header::VARY), Some("Origin"));
    }

    #[tokio::test]
    async fn a_page_may_read_answers_and_rejections_alike() {
        let origin = (header::ORIGIN, ALLOWED);
        let org = (HeaderName::from_static(guard::ORG_HEADER), "org-a");
        for (limit, headers, expected) in [
            (1, &[origin.clone(), org][..], StatusCode::OK),
            (1, std::slice::from_ref(&origin), StatusCode::NOT_FOUND),
            (
                0,
                std::slice::from_ref(&origin),
                StatusCode::TOO_MANY_REQUESTS,
            ),
        ] {
            let (status, headers) = answer(limit, "GET", headers).await;
            assert_eq!(status, expected);
            let allowed = told(&headers, &header::ACCESS_CONTROL_ALLOW_ORIGIN);
            assert_eq!(allowed, Some(ALLOWED));
        }
    }
}
