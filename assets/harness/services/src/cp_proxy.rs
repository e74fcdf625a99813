//! `/cp/*`: the reverse proxy to the control plane.
//!
//! Cookies and `Authorization` go with a request, so only the paths that browsers need are forwarded. Everything else
//! is answered here, before a connection is made.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use percent_encoding::percent_decode_str;

use crate::bugs::{Bug, Bugs};
use crate::proxy::{ReverseProxy, Upstream};
use crate::tenant::{App, NO_ROUTE};

/// Whether a path is forwarded. `/cp/admin`, `/cp/workspaces`, `/cp/tenants` and `/cp/internal` never are.
#[must_use]
pub fn is_forwarded(path: &str) -> bool {
    let Some(path) = path.strip_prefix("/cp/") else {
        return false;
    };
    // The control plane may resolve dots and escapes that we compare as text: "/cp/auth/../admin" must not pass.
    if path.split('/').any(is_treacherous) {
        return false;
    }
    match path.split_once('/') {
        Some(("auth" | "billing" | "legal", rest)) => !rest.is_empty(),
        Some(("orgs" | "templates", _)) => true,
        Some(_) => false,
        None => matches!(path, "orgs" | "templates"),
    }
}

fn is_treacherous(segment: &str) -> bool {
    let decoded: Vec<u8> = percent_decode_str(segment).collect();
    decoded == b"."
        || decoded == b".."
        || decoded
            .iter()
            .any(|byte| matches!(byte, b'/' | b'\\' | b'%'))
}

/// The routes, if there is a control plane to forward to; without one they do not exist.
pub fn routes(upstream: Option<Upstream>, bugs: Bugs) -> Router<App> {
    let Some(upstream) = upstream else {
        return Router::new();
    };
    let proxy = ReverseProxy::new(upstream, "control plane unavailable");
    Router::new()
        .route("/cp/", any(|| async { NO_ROUTE }))
        .route("/cp/{*path}", any(forward).with_state((proxy, bugs)))
}

async fn forward(
    State((proxy, bugs)): State<(ReverseProxy, Bugs)>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    if is_forwarded(request.uri().path()) || bugs.has(Bug::CpProxyAdminLeak) {
        return proxy.forward(peer, request).await;
    }
    tracing::warn!(path = request.uri().path(), "cp proxy: not forwarded");
    NO_ROUTE.into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allow_list_table() {
        let forwarded = [
            "/cp/auth/me",
            "/cp/auth/callback/github",
            "/cp/orgs",
            "/cp/orgs/",
            "/cp/orgs/42/members",
            "/cp/billing/portal",
            "/cp/templates",
            "/cp/templates/x",
            "/cp/legal/terms",
            "/cp/orgs/a%20b",
        ];
        let refused = [
            "/cp",
            "/cp/",
            "/cp/auth",
            "/cp/auth/",
            "/cp/authsomething",
            "/cp/orgsabc",
            "/cp/billing",
            "/cp/legal/",
            "/cp/templatesx/y",
            "/cp/admin/tenants/redeploy-fleet",
            "/cp/workspaces/provision",
            "/cp/tenants/config",
            "/cp/internal/x",
            "/cp/AUTH/me",
            "/cp//auth/me",
            "/cp/auth/../admin/tenants",
            "/cp/auth/%2e%2e/admin",
            "/cp/auth/%2E./admin",
            "/cp/auth/..%2fadmin",
            "/cp/orgs/%252e%252e/admin",
            "/cp/orgs/..\\admin",
            "/cp/orgs/./x",
            "/workspaces",
            "",
        ];
        for path in forwarded {
            assert!(is_forwarded(path), "{path}");
        }
        for path in refused {
            assert!(!is_forwarded(path), "{path}");
        }
    }
}
