//! The engine's events, from a subscription that is known to stand.

use std::io;

use bollard::models::{EventMessage, SystemInfo};
use futures_util::{StreamExt, TryStreamExt};
use http_body_util::BodyExt;
use jiff::Timestamp;
use tokio::io::AsyncBufReadExt;
use tokio_stream::wrappers::LinesStream;
use tokio_util::io::StreamReader;

use super::DockerEngine;
use super::convert;
use super::explain::{broken, explain, protocol};
use crate::domain::event::EngineEvent;
use crate::engine::{EngineError, Stream};

/// What changes a row. Left out are the processes of health checks (`exec_*`), which on a busy
/// engine are most of the events, and what only looks at a container (`top`, `attach`, …).
/// `health_status` makes the engine match all of these by their beginning.
const ACTIONS: [&str; 13] = [
    "create",
    "destroy",
    "die",
    "health_status",
    "kill",
    "oom",
    "pause",
    "rename",
    "restart",
    "start",
    "stop",
    "unpause",
    "update",
];

/// Subscribes, and resolves when nothing can be missed any more.
///
/// The engine sends its headers a moment *before* it registers the subscriber, so headers alone
/// prove nothing. It keeps recent events, though, and hands those since a given time to a new
/// subscriber in one step with its registration. So the engine's own clock is read first, and
/// the subscription starts there.
pub(super) async fn subscribe(engine: &DockerEngine) -> Result<Stream<EngineEvent>, EngineError> {
    let transport = engine.transport.clone();
    let now = clock(engine).await;
    let response = transport
        .get(&path(now))
        .await
        .map_err(|error| explain(&transport, error))?;
    let bytes = response
        .into_body()
        .into_data_stream()
        .map_err(io::Error::other);
    let lines = LinesStream::new(StreamReader::new(bytes).lines());
    Ok(lines
        .map(move |line| {
            let line = line.map_err(|error| broken(transport.endpoint(), &error.to_string()))?;
            if line.trim().is_empty() {
                return Ok(None);
            }
            serde_json::from_str::<EventMessage>(&line)
                .map(convert::event)
                .map_err(|error| protocol(transport.endpoint(), &error.to_string()))
        })
        .try_filter_map(|event| std::future::ready(Ok(event)))
        .boxed())
}

/// The engine's clock. `None` where it does not tell, such as behind a proxy that forbids it:
/// the subscription then stands a moment after its headers.
async fn clock(engine: &DockerEngine) -> Option<Timestamp> {
    let info: Result<SystemInfo, _> = engine.bounded(engine.docker.info()).await;
    info.ok()?.system_time.as_deref().and_then(convert::moment)
}

fn path(since: Option<Timestamp>) -> String {
    let filters = serde_json::json!({"type": ["container"], "event": ACTIONS}).to_string();
    let filters = encode(&filters);
    match since {
        Some(since) => format!(
            "/events?since={}.{:09}&filters={filters}",
            since.as_second(),
            since.subsec_nanosecond()
        ),
        None => format!("/events?filters={filters}"),
    }
}

/// Percent-encodes all but the characters that a URL never gives a meaning to.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subscription_starts_at_the_engine_s_clock_to_the_nanosecond() {
        let now = "2023-11-14T22:13:20.000000042Z".parse().unwrap();
        let path = path(Some(now));
        assert!(path.starts_with("/events?since=1700000000.000000042&filters=%7B"));
        let uri: hyper::Uri = path.parse().unwrap();
        assert!(
            uri.query()
                .is_some_and(|query| query.contains("health_status"))
        );
    }

    #[test]
    fn no_action_begins_like_a_health_check_s_process() {
        // The engine compares beginnings, so a short action could let others in.
        for noise in [
            "exec_create",
            "exec_start",
            "exec_die",
            "exec_detach",
            "top",
            "attach",
        ] {
            assert!(!ACTIONS.iter().any(|action| noise.starts_with(action)));
        }
    }
}
