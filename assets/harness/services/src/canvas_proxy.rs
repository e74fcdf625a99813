//! The fallback of the tenant's routes: what no API route claims belongs to the user interface.
//!
//! The interface is the tenant's own and gets no credentials: what it renders it asks the API for, from the browser.

use std::net::SocketAddr;

use axum::extract::Request;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};

use crate::bugs::{Bug, Bugs};
use crate::proxy::{ReverseProxy, Upstream};
use crate::tenant::NO_ROUTE;

/// Without an upstream there is nothing but 404.
#[derive(Debug, Clone)]
pub struct CanvasProxy {
    proxy: Option<ReverseProxy>,
    bugs: Bugs,
}

impl CanvasProxy {
    #[must_use]
    pub fn new(upstream: Option<Upstream>, bugs: Bugs) -> Self {
        Self {
            proxy: upstream.map(|upstream| ReverseProxy::new(upstream, "canvas unavailable")),
            bugs,
        }
    }

    pub async fn forward(&self, peer: SocketAddr, mut request: Request) -> Response {
        let Some(proxy) = &self.proxy else {
            return NO_ROUTE.into_response();
        };
        if !self.bugs.has(Bug::CanvasProxyCredentials) {
            strip_credentials(request.headers_mut());
        }
        proxy.forward(peer, request).await
    }
}

fn strip_credentials(headers: &mut HeaderMap) {
    headers.remove(header::AUTHORIZATION);
    headers.remove(header::COOKIE);
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn every_credential_goes_and_nothing_else() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            (header::AUTHORIZATION, "Bearer t"),
            (header::COOKIE, "session=1"),
            (header::COOKIE, "other=2"),
            (header::ACCEPT, "text/html"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        strip_credentials(&mut headers);
        assert_eq!(headers.keys().collect::<Vec<_>>(), [header::ACCEPT]);
    }
}
