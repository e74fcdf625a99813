//! The tenant's user interface, as far as a proxy in front of it can tell: pages, a stream of events, and a mirror that
//! shows what reached it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::stream::{self, StreamExt as _};
use serde_json::{Value, json};

use crate::http::serve;

/// The port that the tenant's image serves its interface on, inside the container alone.
pub const PORT: u16 = 3000;

/// Serves until told to stop.
///
/// # Errors
/// The port cannot be served.
pub async fn run(port: u16) -> io::Result<()> {
    serve(port, router()).await
}

fn router() -> Router {
    Router::new()
        .route("/__canvas/request", get(mirror))
        .route("/__canvas/events", get(events))
        .fallback(page)
}

/// A page at every path: the interface's routes are known to the browser alone.
async fn page(request: Request) -> impl IntoResponse {
    let path = request.uri().path();
    tracing::info!("canvas: {} {path}", request.method());
    Html("<!doctype html>\n<title>canvas</title>\n<main id=\"canvas\"></main>\n")
}

/// `GET /__canvas/request`: the request as it arrived, its headers by name with all their values.
async fn mirror(request: Request) -> Json<Value> {
    Json(json!({
        "method": request.method().as_str(),
        "uri": request.uri().to_string(),
        "headers": by_name(request.headers()),
    }))
}

fn by_name(headers: &HeaderMap) -> BTreeMap<&str, Vec<String>> {
    headers
        .keys()
        .map(|name| {
            let values = headers.get_all(name).iter();
            let text = values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
            (name.as_str(), text.collect())
        })
        .collect()
}

/// `GET /__canvas/events`: one event, then an open connection. Who buffers it never shows the event.
async fn events() -> impl IntoResponse {
    let first = stream::once(async { Ok::<_, Infallible>(Bytes::from_static(b"data: hello\n\n")) });
    (
        StatusCode::OK,
        [(header::CONTENT_TYPE, "text/event-stream")],
        Body::from_stream(first.chain(stream::pending())),
    )
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn the_mirror_shows_each_value_of_each_header() {
        let request = Request::get("/__canvas/request?a=1")
            .header("x-twice", "1")
            .header("x-twice", "2")
            .body(Body::empty())
            .unwrap();
        let response = router().oneshot(request).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(
            serde_json::from_slice::<Value>(&body).unwrap(),
            json!({
                "method": "GET",
                "uri": "/__canvas/request?a=1",
                "headers": { "x-twice": ["1", "2"] },
            })
        );
    }

    #[tokio::test]
    async fn the_first_event_is_there_before_the_stream_ends() {
        let request = Request::get("/__canvas/events")
            .body(Body::empty())
            .unwrap();
        let mut body = router().oneshot(request).await.unwrap().into_body();
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first, "data: hello\n\n");
    }
}
