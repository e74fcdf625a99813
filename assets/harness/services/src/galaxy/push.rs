//! What happens to games, pushed to whoever listens: `GET /events` speaks server-sent events over HTTP/1.1.
//!
//! The real backend pushes over gRPC on this port. Its name stayed in the variable; what a harness needs of it is a
//! stream that stays open while the stack lives.

use std::convert::Infallible;

use axum::Router;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::get;
use serde::Serialize;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::{Stream, StreamExt as _};

use super::store::{Game, Notification};

/// Events that a slow listener may be behind; what it missed then is skipped.
const BACKLOG: usize = 256;

#[derive(Debug, Clone)]
struct Pushed {
    name: &'static str,
    data: String,
}

/// Everybody who listens.
#[derive(Debug, Clone)]
pub struct Hub(broadcast::Sender<Pushed>);

impl Default for Hub {
    fn default() -> Self {
        Self(broadcast::Sender::new(BACKLOG))
    }
}

impl Hub {
    /// `event: game`, with the game as the API shows it.
    pub fn game(&self, game: &Game) {
        self.push("game", game);
    }

    /// `event: notification`
    pub fn notification(&self, notification: &Notification) {
        self.push(
            "notification",
            &serde_json::json!({ "kind": notification.kind, "subject": notification.subject }),
        );
    }

    fn push(&self, name: &'static str, data: &impl Serialize) {
        match serde_json::to_string(data) {
            // Without listeners there is nobody to tell.
            Ok(data) => drop(self.0.send(Pushed { name, data })),
            Err(error) => tracing::error!(%error, name, "push"),
        }
    }
}

pub fn router(hub: Hub) -> Router {
    Router::new().route("/events", get(events)).with_state(hub)
}

async fn events(State(hub): State<Hub>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let stream = BroadcastStream::new(hub.0.subscribe())
        .filter_map(Result::ok)
        .map(|pushed| Ok(Event::default().event(pushed.name).data(pushed.data)));
    Sse::new(stream).keep_alive(KeepAlive::default())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn a_listener_gets_what_happens_from_then_on() {
        let hub = Hub::default();
        let note = |subject: &str| Notification {
            kind: "game.cancelled".to_owned(),
            subject: subject.to_owned(),
            body: String::new(),
        };
        hub.notification(&note("early"));
        let request = Request::get("/events").body(Body::empty()).unwrap();
        let response = router(hub.clone()).oneshot(request).await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        hub.notification(&note("late"));
        let frame = response.into_body().frame().await.unwrap().unwrap();
        let text = String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap();
        assert_eq!(
            text,
            "event: notification\ndata: {\"kind\":\"game.cancelled\",\"subject\":\"late\"}\n\n"
        );
    }
}
