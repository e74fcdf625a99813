//! Browser sessions: the control plane knows them, and its word is kept for a while.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderValue, header};
use sha2::{Digest as _, Sha256};

use crate::control_plane::ControlPlane;

/// How long a yes is believed.
const MEMBER_TTL: Duration = Duration::from_secs(30);
/// How long a no is: somebody who was just invited does not want to wait.
const STRANGER_TTL: Duration = Duration::from_secs(5);
/// Sessions that are remembered before all whose time is over are forgotten; if that frees none, all are.
const CAPACITY: usize = 4096;

/// By digest: the cookies themselves are not kept.
type Key = [u8; 32];

#[derive(Debug, Default)]
struct Cache {
    answers: HashMap<Key, (bool, Instant)>,
}

impl Cache {
    fn get(&self, key: &Key, now: Instant) -> Option<bool> {
        let (member, expires) = self.answers.get(key)?;
        (now < *expires).then_some(*member)
    }

    fn put(&mut self, key: Key, member: bool, now: Instant) {
        if self.answers.len() >= CAPACITY {
            self.answers.retain(|_, (_, expires)| now < *expires);
        }
        if self.answers.len() >= CAPACITY {
            self.answers.clear();
        }
        let ttl = if member { MEMBER_TTL } else { STRANGER_TTL };
        self.answers.insert(key, (member, now + ttl));
    }
}

#[derive(Debug, Clone)]
pub struct Sessions {
    control_plane: ControlPlane,
    cache: Arc<Mutex<Cache>>,
}

impl Sessions {
    #[must_use]
    pub fn new(control_plane: ControlPlane) -> Self {
        Self {
            control_plane,
            cache: Arc::default(),
        }
    }

    /// Whether the request's session cookie is a member's. A control plane that cannot be asked vouches for nobody, and
    /// is asked again with the next request.
    pub async fn is_member(&self, headers: &HeaderMap) -> bool {
        let Some(cookie) = headers.get(header::COOKIE) else {
            return false;
        };
        let key = digest(cookie);
        if let Some(member) = self.cache().get(&key, Instant::now()) {
            return member;
        }
        match self.control_plane.is_member(cookie).await {
            Ok(member) => {
                self.cache().put(key, member, Instant::now());
                member
            }
            Err(error) => {
                tracing::warn!(%error, "the session cannot be verified");
                false
            }
        }
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn digest(cookie: &HeaderValue) -> Key {
    Sha256::digest(cookie.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use tokio::net::TcpListener;

    use super::*;
    use crate::bugs::Bugs;
    use crate::control_plane::Identity;
    use crate::proxy::Upstream;

    #[test]
    fn a_yes_lasts_longer_than_a_no() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        cache.put([1; 32], true, now);
        cache.put([2; 32], false, now);
        let at = |seconds| {
            let now = now + Duration::from_secs(seconds);
            (cache.get(&[1; 32], now), cache.get(&[2; 32], now))
        };
        assert_eq!(at(4), (Some(true), Some(false)));
        assert_eq!(at(5), (Some(true), None));
        assert_eq!(at(29), (Some(true), None));
        assert_eq!(at(30), (None, None));
    }

    #[test]
    fn the_cache_is_bounded() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        for number in 0..=CAPACITY {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&number.to_be_bytes());
            cache.put(key, true, now);
        }
        assert_eq!(cache.answers.len(), 1);
    }

    #[tokio::test]
    async fn an_answer_is_kept_and_an_outage_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let upstream = Upstream::parse(&format!("http://{address}")).unwrap();
        let identity = Identity {
            slug: Some("acme".to_owned()),
            ..Identity::default()
        };
        let sessions = Sessions::new(ControlPlane::new(Some(upstream), identity, Bugs::default()));
        let cookie = [(header::COOKIE, HeaderValue::from_static("session=s"))];
        let headers: HeaderMap = cookie.into_iter().collect();

        assert!(!sessions.is_member(&HeaderMap::new()).await, "no cookie");
        assert!(!sessions.is_member(&headers).await, "nobody there");

        let listener = TcpListener::bind(address).await.unwrap();
        let yes = get(|| async { r#"{"member":true,"user_id":"u"}"# });
        let router = Router::new().route("/cp/auth/tenant-member", yes);
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = tokio::spawn(async move {
            tokio::select! {
                _ = axum::serve(listener, router) => (),
                _ = stopped => (),
            }
        });
        assert!(sessions.is_member(&headers).await, "asked again");
        stop.send(()).unwrap();
        server.await.unwrap();
        assert!(sessions.is_member(&headers).await, "not asked again");
    }
}
