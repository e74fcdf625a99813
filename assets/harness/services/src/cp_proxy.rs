//! `/cp/*`: the reverse proxy to the control plane.
//!
//! Cookies and `Authorization` go with a request, so only the paths that browsers need are forwarded. Everything else
//! is answered here, before a connection is made.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::uri::{Authority, Scheme};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Router, http};
use percent_encoding::percent_decode_str;

use crate::http::{HttpClient, chain, client};
use crate::tenant::{App, NO_ROUTE};

/// How long the control plane may take to begin its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
const UNAVAILABLE: &str = "control plane unavailable";
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Headers that belong to one connection (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Where the control plane is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    authority: Authority,
    /// Without a slash at the end.
    base_path: String,
}

#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    #[error("not a URL: {0}")]
    Syntax(#[from] http::uri::InvalidUri),
    #[error("the scheme must be http, not {0:?}")]
    Scheme(String),
    #[error("there is no host")]
    NoHost,
}

impl Upstream {
    /// # Errors
    /// `url` is not `http://host[:port][/path]`. There is no TLS inside the harness, so `https` is refused here
    /// instead of failing at every request.
    pub fn parse(url: &str) -> Result<Self, UpstreamError> {
        let parts = url.parse::<Uri>()?.into_parts();
        match parts.scheme {
            Some(scheme) if scheme == Scheme::HTTP => {}
            other => {
                return Err(UpstreamError::Scheme(
                    other.map(|scheme| scheme.to_string()).unwrap_or_default(),
                ));
            }
        }
        let authority = parts
            .authority
            .filter(|authority| !authority.host().is_empty())
            .ok_or(UpstreamError::NoHost)?;
        let base_path = parts
            .path_and_query
            .map(|path| path.path().trim_end_matches('/').to_owned());
        Ok(Self {
            authority,
            base_path: base_path.unwrap_or_default(),
        })
    }

    /// The address of `uri` at the control plane: path and query as they came.
    fn target(&self, uri: &Uri) -> Result<Uri, http::Error> {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(self.authority.clone())
            .path_and_query(format!("{}{path}", self.base_path))
            .build()
    }
}

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
pub fn routes(upstream: Option<Upstream>) -> Router<App> {
    let Some(upstream) = upstream else {
        return Router::new();
    };
    let proxy = Proxy {
        upstream,
        client: client(),
    };
    Router::new().route("/cp/{*path}", any(forward).with_state(proxy))
}

#[derive(Debug, Clone)]
struct Proxy {
    upstream: Upstream,
    client: HttpClient,
}

async fn forward(
    State(proxy): State<Proxy>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
) -> Response {
    let path = request.uri().path().to_owned();
    if !is_forwarded(&path) {
        tracing::warn!(path, "cp proxy: not forwarded");
        return NO_ROUTE.into_response();
    }
    match proxy.upstream.target(request.uri()) {
        Ok(uri) => *request.uri_mut() = uri,
        Err(error) => {
            tracing::warn!(%error, path, "cp proxy: no address");
            return NO_ROUTE.into_response();
        }
    }
    // Without it the client sets the upstream's own.
    request.headers_mut().remove(header::HOST);
    strip_hop_by_hop(request.headers_mut());
    append_forwarded_for(request.headers_mut(), peer);

    match tokio::time::timeout(ANSWER_TIMEOUT, proxy.client.request(request)).await {
        Ok(Ok(response)) => {
            let mut response = response.map(Body::new);
            strip_hop_by_hop(response.headers_mut());
            response
        }
        Ok(Err(error)) => {
            tracing::error!(path, reason = chain(&error), UNAVAILABLE);
            (StatusCode::BAD_GATEWAY, UNAVAILABLE).into_response()
        }
        Err(_) => {
            tracing::error!(path, reason = "no answer in time", UNAVAILABLE);
            (StatusCode::BAD_GATEWAY, UNAVAILABLE).into_response()
        }
    }
}

/// Removes the headers of the connection, and those that `Connection` names besides.
fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in HOP_BY_HOP.into_iter().chain(named) {
        headers.remove(name);
    }
}

fn append_forwarded_for(headers: &mut HeaderMap, peer: SocketAddr) {
    let mut hops: Vec<&str> = headers
        .get_all(FORWARDED_FOR)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    let peer = peer.ip().to_string();
    hops.push(&peer);
    // Made of header values and an address: always a valid one.
    if let Ok(value) = HeaderValue::try_from(hops.join(", ")) {
        headers.insert(FORWARDED_FOR, value);
    }
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

    #[test]
    fn upstream_table() {
        for good in [
            "http://cp-stub:9090",
            "http://cp-stub:9090/",
            "http://cp.example/base/",
        ] {
            assert!(Upstream::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "cp-stub:9090",
            "ftp://cp",
            "https://cp",
            "/cp",
            "http://",
            "http:///x",
            "http://:90",
        ] {
            assert!(Upstream::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn path_and_query_are_kept() {
        let target = |upstream: &str, path: &str| {
            Upstream::parse(upstream)
                .unwrap()
                .target(&path.parse().unwrap())
                .unwrap()
                .to_string()
        };
        assert_eq!(
            target("http://cp:9/", "/cp/orgs?a=1&b=%20"),
            "http://cp:9/cp/orgs?a=1&b=%20"
        );
        assert_eq!(
            target("http://cp/base/", "/cp/auth/me"),
            "http://cp/base/cp/auth/me"
        );
    }

    #[test]
    fn headers_of_the_connection_stay_and_the_peer_is_appended() {
        let mut headers: HeaderMap = [
            (header::CONNECTION, "keep-alive, x-private"),
            (HeaderName::from_static("x-private"), "1"),
            (header::TRANSFER_ENCODING, "chunked"),
            (header::COOKIE, "session=1"),
            (header::AUTHORIZATION, "Bearer t"),
            (FORWARDED_FOR, "203.0.113.7"),
        ]
        .into_iter()
        .map(|(name, value)| (name, HeaderValue::from_static(value)))
        .collect();
        strip_hop_by_hop(&mut headers);
        append_forwarded_for(&mut headers, ([172, 18, 0, 5], 40000).into());
        let mut left: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        left.sort_unstable();
        assert_eq!(
            left,
            [
                ("authorization", "Bearer t"),
                ("cookie", "session=1"),
                ("x-forwarded-for", "203.0.113.7, 172.18.0.5"),
            ]
        );
    }
}
