//! What the reverse proxies share: where to forward to, and how.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http;
use axum::http::uri::{Authority, Scheme};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use crate::http::{HttpClient, chain, client};
use crate::tenant::NO_ROUTE;

/// How long an upstream may take to begin its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
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

/// Where requests are forwarded to.
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

    /// The address of a path and query there; both are kept as they are.
    ///
    /// # Errors
    /// `path_and_query` is not one.
    pub fn address(&self, path_and_query: &str) -> Result<Uri, http::Error> {
        Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(self.authority.clone())
            .path_and_query(format!("{}{path_and_query}", self.base_path))
            .build()
    }
}

/// Forwards requests to one upstream: `Host` is the upstream's, the peer is appended to `X-Forwarded-For`, path and query
/// stay as they came.
#[derive(Debug, Clone)]
pub struct ReverseProxy {
    upstream: Upstream,
    client: HttpClient,
    /// The body of the 502 when the upstream does not answer.
    unavailable: &'static str,
}

impl ReverseProxy {
    #[must_use]
    pub fn new(upstream: Upstream, unavailable: &'static str) -> Self {
        Self {
            upstream,
            client: client(),
            unavailable,
        }
    }

    /// The upstream's answer as it streams in, or 502.
    pub async fn forward(&self, peer: SocketAddr, mut request: Request) -> Response {
        let path = request.uri().path().to_owned();
        let target = request
            .uri()
            .path_and_query()
            .map_or("/", |path| path.as_str());
        match self.upstream.address(target) {
            Ok(uri) => *request.uri_mut() = uri,
            Err(error) => {
                tracing::warn!(%error, path, "proxy: no address");
                return NO_ROUTE.into_response();
            }
        }
        // Without it the client sets the upstream's own.
        request.headers_mut().remove(header::HOST);
        strip_hop_by_hop(request.headers_mut());
        append_forwarded_for(request.headers_mut(), peer);

        let reason = match tokio::time::timeout(ANSWER_TIMEOUT, self.client.request(request)).await
        {
            Ok(Ok(response)) => {
                let mut response = response.map(Body::new);
                strip_hop_by_hop(response.headers_mut());
                return response;
            }
            Ok(Err(error)) => chain(&error),
            Err(_) => "no answer in time".to_owned(),
        };
        tracing::error!(path, reason, "{}", self.unavailable);
        (StatusCode::BAD_GATEWAY, self.unavailable).into_response()
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
                .address(path)
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
