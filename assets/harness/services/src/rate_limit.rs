//! How many requests one peer may make in a minute.
//!
//! A peer is the other end of the TCP connection. Headers that name another client are not believed: anybody can write
//! them. Behind the tunnel all clients therefore share one allowance.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::bugs::{Bug, Bugs};

const WINDOW: Duration = Duration::from_secs(60);
/// Peers that are remembered before those whose window is over are forgotten.
const PEERS: usize = 1024;
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

#[derive(Debug)]
struct Window {
    start: Instant,
    used: u32,
}

/// What a peer has left.
#[derive(Debug, PartialEq, Eq)]
struct Allowance {
    admitted: bool,
    remaining: u32,
    /// Until the window is over.
    reset: Duration,
}

#[derive(Debug)]
struct Windows {
    limit: u32,
    by_peer: HashMap<IpAddr, Window>,
}

impl Windows {
    fn take(&mut self, peer: IpAddr, now: Instant) -> Allowance {
        if self.by_peer.len() >= PEERS {
            self.by_peer
                .retain(|_, window| now.duration_since(window.start) < WINDOW);
        }
        let window = self.by_peer.entry(peer).or_insert(Window {
            start: now,
            used: 0,
        });
        if now.duration_since(window.start) >= WINDOW {
            *window = Window {
                start: now,
                used: 0,
            };
        }
        let admitted = window.used < self.limit;
        if admitted {
            window.used += 1;
        }
        Allowance {
            admitted,
            remaining: self.limit - window.used,
            reset: WINDOW.saturating_sub(now.duration_since(window.start)),
        }
    }
}

#[derive(Debug, Clone)]
pub struct RateLimit {
    limit: u32,
    windows: Arc<Mutex<Windows>>,
    bugs: Bugs,
}

impl RateLimit {
    /// `limit` requests a minute for each peer.
    #[must_use]
    pub fn new(limit: u32, bugs: Bugs) -> Self {
        let windows = Windows {
            limit,
            by_peer: HashMap::new(),
        };
        Self {
            limit,
            windows: Arc::new(Mutex::new(windows)),
            bugs,
        }
    }

    fn peer(&self, connection: SocketAddr, headers: &HeaderMap) -> IpAddr {
        let claimed = || {
            let value = headers.get(FORWARDED_FOR)?.to_str().ok()?;
            value.split(',').next()?.trim().parse().ok()
        };
        if self.bugs.has(Bug::RateLimitSpoofed) {
            claimed().unwrap_or(connection.ip())
        } else {
            connection.ip()
        }
    }
}

/// Before the counters and the guard: what it rejects is neither counted nor guarded.
pub async fn enforce(
    State(limiter): State<RateLimit>,
    ConnectInfo(connection): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let peer = limiter.peer(connection, request.headers());
    let allowance = limiter
        .windows
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take(peer, Instant::now());
    // Rounded up: who waits that long is admitted.
    let reset = allowance.reset.as_millis().div_ceil(1000);
    let mut response = if allowance.admitted {
        next.run(request).await
    } else {
        tracing::warn!(%peer, "rate limit: {} {} refused", request.method(), request.uri().path());
        let body = Json(json!({ "error": "rate limit exceeded", "retry_after": reset }));
        (
            StatusCode::TOO_MANY_REQUESTS,
            [(header::RETRY_AFTER, reset.to_string())],
            body,
        )
            .into_response()
    };
    for (name, value) in [
        ("x-ratelimit-limit", u128::from(limiter.limit)),
        ("x-ratelimit-remaining", u128::from(allowance.remaining)),
        ("x-ratelimit-reset", reset),
    ] {
        // Digits are always a header's value.
        if let Ok(value) = HeaderValue::try_from(value.to_string()) {
            response
                .headers_mut()
                .insert(HeaderName::from_static(name), value);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[test]
    fn each_peer_has_its_own_allowance_and_gets_it_back_after_a_minute() {
        let mut windows = Windows {
            limit: 2,
            by_peer: HashMap::new(),
        };
        let start = Instant::now();
        let mut take = |peer, seconds| {
            let allowance = windows.take(ip(peer), start + Duration::from_secs(seconds));
            (
                allowance.admitted,
                allowance.remaining,
                allowance.reset.as_secs(),
            )
        };
        assert_eq!(take(1, 0), (true, 1, 60));
        assert_eq!(take(1, 10), (true, 0, 50));
        assert_eq!(take(1, 59), (false, 0, 1));
        assert_eq!(take(2, 59), (true, 1, 60), "another peer");
        assert_eq!(take(1, 60), (true, 1, 60), "a new window");
    }

    #[test]
    fn peers_whose_window_is_over_are_forgotten() {
        let mut windows = Windows {
            limit: 1,
            by_peer: HashMap::new(),
        };
        let start = Instant::now();
        for number in 0..PEERS {
            let address = u32::try_from(number).unwrap().to_be_bytes();
            windows.take(address.into(), start);
        }
        windows.take(ip(1), start + WINDOW);
        assert_eq!(windows.by_peer.len(), 1);
    }

    #[test]
    fn a_header_makes_nobody_another_peer() {
        let mut headers = HeaderMap::new();
        headers.insert(
            FORWARDED_FOR,
            HeaderValue::from_static("203.0.113.9, 10.0.0.1"),
        );
        let connection = SocketAddr::new(ip(5), 40000);
        let peer = |bugs| RateLimit::new(1, bugs).peer(connection, &headers);
        assert_eq!(peer(Bugs::default()), ip(5));
        assert_eq!(
            peer(Bugs::of([Bug::RateLimitSpoofed])),
            IpAddr::from([203, 0, 113, 9])
        );
    }
}
