//! What is recorded of every request: a log line and a counter.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::tenant::App;

/// Requests by method and status, those that the guard rejected included.
#[derive(Debug, Clone, Default)]
pub struct Counters(Arc<Mutex<BTreeMap<(&'static str, u16), u64>>>);

impl Counters {
    fn count(&self, method: &Method, status: StatusCode) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((label(method), status.as_u16())).or_default() += 1;
    }

    /// Prometheus text format.
    fn render(&self) -> String {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::from("# TYPE http_requests_total counter\n");
        for ((method, status), count) in counts.iter() {
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "http_requests_total{{method=\"{method}\",status=\"{status}\"}} {count}"
            );
        }
        text
    }
}

/// A client can invent methods; the number of counters must not follow.
fn label(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    KNOWN
        .into_iter()
        .find(|known| *known == method.as_str())
        .unwrap_or("other")
}

/// `GET /metrics`
pub async fn metrics(State(app): State<App>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4")],
        app.counters.render(),
    )
}

/// Before the guard, so that its rejections count. The query is not logged: it can hold secrets.
pub async fn record(State(counters): State<Counters>, request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let start = Instant::now();
    let response = next.run(request).await;
    let status = response.status();
    counters.count(&method, status);

    let ms = start.elapsed().as_millis();
    let status = status.as_u16();
    match status {
        500.. => tracing::error!("{method} {path} -> {status} in {ms} ms"),
        400.. => tracing::warn!("{method} {path} -> {status} in {ms} ms"),
        // Health checks would drown everything else.
        _ if path == "/health" || path == "/healthz" => {
            tracing::debug!("{method} {path} -> {status} in {ms} ms");
        }
        _ => tracing::info!("{method} {path} -> {status} in {ms} ms"),
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_kept_by_method_and_status() {
        let counters = Counters::default();
        counters.count(&Method::GET, StatusCode::OK);
        counters.count(&Method::GET, StatusCode::OK);
        counters.count(&Method::GET, StatusCode::NOT_FOUND);
        counters.count(&Method::from_bytes(b"BREW").unwrap(), StatusCode::NOT_FOUND);
        counters.count(
            &Method::from_bytes(b"STEEP").unwrap(),
            StatusCode::NOT_FOUND,
        );
        let text = counters.render();
        assert!(
            text.contains("{method=\"GET\",status=\"200\"} 2\n"),
            "{text}"
        );
        assert!(
            text.contains("{method=\"GET\",status=\"404\"} 1\n"),
            "{text}"
        );
        assert!(
            text.contains("{method=\"other\",status=\"404\"} 2\n"),
            "{text}"
        );
    }
}
