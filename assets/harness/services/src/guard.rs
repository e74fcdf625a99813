//! The tenant guard: what is not addressed to this organisation finds nothing here.
//!
//! A rejection is `404` with an empty body and not `403`, so that nobody can learn which tenants exist.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// The header that addresses an organisation.
pub const ORG_HEADER: &str = "x-molecule-org-id";
const REPLAY_HEADER: &str = "fly-replay-src";

/// Paths that load balancers, deploy checks and booting workspaces ask for without the header. Compared as a whole,
/// never as a prefix: `/health/debug` is guarded.
const ALLOWED: [&str; 5] = [
    "/health",
    "/metrics",
    "/buildinfo",
    "/registry/register",
    "/registry/heartbeat",
];

/// Active only with an organisation's id.
#[derive(Debug, Clone)]
pub struct TenantGuard {
    org_id: Option<String>,
}

impl TenantGuard {
    #[must_use]
    pub fn new(org_id: Option<String>) -> Self {
        Self { org_id }
    }

    /// Whether a request for `path` may go on to the routes.
    #[must_use]
    pub fn admits(&self, path: &str, headers: &HeaderMap) -> bool {
        let Some(org_id) = self.org_id.as_deref() else {
            return true;
        };
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());

        ALLOWED.contains(&path)
            || path.starts_with("/cp/")
            || header(ORG_HEADER) == Some(org_id)
            || header(REPLAY_HEADER).and_then(replay_state) == Some(org_id)
    }
}

/// The `state` segment of a `Fly-Replay-Src` header: `instance=…;region=…;state=<organisation>`.
fn replay_state(value: &str) -> Option<&str> {
    value
        .split(';')
        .find_map(|segment| segment.trim().strip_prefix("state="))
}

/// Middleware form of [`TenantGuard::admits`].
pub async fn enforce(State(guard): State<TenantGuard>, request: Request, next: Next) -> Response {
    if guard.admits(request.uri().path(), request.headers()) {
        next.run(request).await
    } else {
        tracing::warn!(
            path = request.uri().path(),
            "guard: not addressed to this organisation"
        );
        StatusCode::NOT_FOUND.into_response()
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn admits(org_id: Option<&str>, path: &str, headers: &[(&'static str, &'static str)]) -> bool {
        let headers = headers
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect();
        TenantGuard::new(org_id.map(str::to_owned)).admits(path, &headers)
    }

    #[test]
    fn decision_table() {
        type Headers = &'static [(&'static str, &'static str)];
        let cases: &[(&str, Headers, bool)] = &[
            ("/workspaces", &[], false),
            ("/workspaces", &[(ORG_HEADER, "org-a")], true),
            ("/workspaces", &[(ORG_HEADER, "org-b")], false),
            ("/workspaces", &[(ORG_HEADER, "ORG-A")], false),
            ("/workspaces", &[(ORG_HEADER, "")], false),
            (
                "/workspaces",
                &[(REPLAY_HEADER, "instance=1;state=org-a;t=2")],
                true,
            ),
            ("/workspaces", &[(REPLAY_HEADER, "state=org-b")], false),
            ("/workspaces", &[(REPLAY_HEADER, "org-a")], false),
            (
                "/workspaces",
                &[(ORG_HEADER, "org-b"), (REPLAY_HEADER, "state=org-a")],
                true,
            ),
            ("/health", &[], true),
            ("/metrics", &[], true),
            ("/buildinfo", &[], true),
            ("/registry/register", &[], true),
            ("/registry/heartbeat", &[], true),
            ("/health/", &[], false),
            ("/health/debug", &[], false),
            ("/healthz", &[], false),
            ("/buildinfo/", &[], false),
            ("/registry/register/x", &[], false),
            ("/registry/abc/peers", &[], false),
            ("/cp/auth/me", &[], true),
            ("/cp/", &[], true),
            ("/cp", &[], false),
            ("/cpx", &[], false),
            ("/", &[], false),
        ];
        for (path, headers, expected) in cases {
            assert_eq!(
                admits(Some("org-a"), path, headers),
                *expected,
                "{path} {headers:?}"
            );
        }
    }

    #[test]
    fn without_an_organisation_everything_passes() {
        assert!(admits(None, "/workspaces", &[]));
        assert!(admits(None, "/workspaces", &[(ORG_HEADER, "org-b")]));
    }
}
