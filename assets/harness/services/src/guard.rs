//! The tenant guard: what is not addressed to this organisation finds nothing here.
//!
//! A rejection is `404` with an empty body and not `403`, so that nobody can learn which tenants exist.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::bugs::{Bug, Bugs};

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
    /// Whether this tenant serves the user interface, whose pages cannot send the header with their first request.
    canvas: bool,
    bugs: Bugs,
}

impl TenantGuard {
    #[must_use]
    pub fn new(org_id: Option<String>, canvas: bool, bugs: Bugs) -> Self {
        Self {
            org_id,
            canvas,
            bugs,
        }
    }

    /// Whether a request for `path` may go on to the routes.
    #[must_use]
    pub fn admits(&self, path: &str, headers: &HeaderMap) -> bool {
        let Some(org_id) = self.org_id.as_deref() else {
            return true;
        };
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());

        self.is_open(path)
            || path.starts_with("/cp/")
            || header(ORG_HEADER) == Some(org_id)
            || header(REPLAY_HEADER).and_then(replay_state) == Some(org_id)
            || (self.canvas && is_same_origin(headers))
    }

    fn is_open(&self, path: &str) -> bool {
        if self.bugs.has(Bug::TenantGuardPrefix) {
            return ALLOWED.iter().any(|allowed| path.starts_with(allowed));
        }
        ALLOWED.contains(&path)
    }
}

/// Whether a page of this host asks: `Origin` is the host's, or `Referer` is that or lies below it. It is what browsers
/// say and anybody can write: good enough to route by, and no authentication.
pub(crate) fn is_same_origin(headers: &HeaderMap) -> bool {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(host) = header(header::HOST).filter(|host| !host.is_empty()) else {
        return false;
    };
    // Without the slash "http://host.evil.com" would begin like "http://host".
    let referred = header(header::REFERER)
        .and_then(|referer| behind_host(referer, host))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let origin = header(header::ORIGIN).and_then(|origin| behind_host(origin, host));
    referred || origin == Some("")
}

/// What follows scheme and host in an address of `host`.
fn behind_host<'a>(address: &'a str, host: &str) -> Option<&'a str> {
    address
        .strip_prefix("https://")
        .or_else(|| address.strip_prefix("http://"))?
        .strip_prefix(host)
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
        TenantGuard::new(org_id.map(str::to_owned), true, Bugs::default()).admits(path, &headers)
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

    #[test]
    fn same_origin_table() {
        let host = ("host", "acme.example");
        let cases: &[(&[(&'static str, &'static str)], bool)] = &[
            (&[host], false),
            (&[host, ("referer", "http://acme.example")], true),
            (&[host, ("referer", "https://acme.example/")], true),
            (&[host, ("referer", "https://acme.example/a/b?c")], true),
            (
                &[host, ("referer", "https://acme.example.evil.com/")],
                false,
            ),
            (&[host, ("referer", "https://acme.example:8080/")], false),
            (
                &[host, ("referer", "https://acme.example@evil.com/")],
                false,
            ),
            (
                &[host, ("referer", "https://evil.com/https://acme.example/")],
                false,
            ),
            (&[host, ("referer", "acme.example/")], false),
            (&[host, ("referer", "ftp://acme.example/")], false),
            (&[host, ("origin", "https://acme.example")], true),
            (&[host, ("origin", "http://acme.example")], true),
            (&[host, ("origin", "https://acme.example/")], false),
            (&[host, ("origin", "https://acme.example.evil.com")], false),
            (&[host, ("origin", "null")], false),
            (&[("host", ""), ("origin", "https://")], false),
            (&[("origin", "https://acme.example")], false),
        ];
        for (headers, expected) in cases {
            assert_eq!(
                admits(Some("org-a"), "/", headers),
                *expected,
                "{headers:?}"
            );
        }
        let page = [
            (header::HOST, HeaderValue::from_static("acme.example")),
            (
                header::ORIGIN,
                HeaderValue::from_static("https://acme.example"),
            ),
        ];
        let without_canvas = TenantGuard::new(Some("org-a".to_owned()), false, Bugs::default());
        assert!(!without_canvas.admits("/", &page.into_iter().collect()));
    }

    #[test]
    fn the_bug_opens_what_lies_below_an_open_path() {
        let guard = |bugs| TenantGuard::new(Some("org-a".to_owned()), false, bugs);
        let none = HeaderMap::new();
        assert!(!guard(Bugs::default()).admits("/health/debug", &none));
        assert!(guard(Bugs::of([Bug::TenantGuardPrefix])).admits("/health/debug", &none));
    }
}
