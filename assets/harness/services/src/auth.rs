//! Bearer tokens: one for the admin, one or several for each workspace.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::config::AdminToken;
use crate::error::ApiError;
use crate::tenant::App;

/// The token of an `Authorization: Bearer …` header. The scheme is matched exactly, as production does.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let token = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .strip_prefix("Bearer ")?
        .trim();
    (!token.is_empty()).then_some(token)
}

/// SHA-256 of a token: the only form in which one is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    #[must_use]
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A new token: 32 random bytes in base64url without padding.
///
/// # Errors
/// The operating system has no random bytes to give.
pub fn mint() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// Whether `bearer` is the admin's. The time it takes does not depend on where the two differ.
fn is_admin(configured: Option<&AdminToken>, bearer: &str) -> bool {
    configured.is_some_and(|token| token.as_bytes().ct_eq(bearer.as_bytes()).into())
}

/// The rule for admin routes. `open` says that no credentials are asked for: see [`require_admin`].
fn decide_admin(
    configured: Option<&AdminToken>,
    bearer: Option<&str>,
    open: bool,
) -> Result<(), ApiError> {
    match bearer {
        _ if open => Ok(()),
        None => Err(ApiError::Unauthorized("admin auth required")),
        Some(bearer) if is_admin(configured, bearer) => Ok(()),
        Some(_) => Err(ApiError::Unauthorized("invalid admin auth token")),
    }
}

/// Middleware of the admin routes. Without an `ADMIN_TOKEN` they are open in development, and on a fresh install:
/// as long as no workspace has a live token.
///
/// # Errors
/// 401 without the admin's token; 503 when it takes PostgreSQL to decide and that does not answer.
pub async fn require_admin(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let open =
        app.admin_token.is_none() && (app.development || !app.store.any_live_token().await?);
    decide_admin(app.admin_token.as_ref(), bearer(request.headers()), open)?;
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn parse(value: &'static str) -> Option<String> {
        let headers = [(header::AUTHORIZATION, HeaderValue::from_static(value))]
            .into_iter()
            .collect();
        bearer(&headers).map(str::to_owned)
    }

    #[test]
    fn bearer_table() {
        let cases = [
            ("Bearer abc", Some("abc")),
            ("Bearer   abc  ", Some("abc")),
            ("Bearer a b", Some("a b")),
            ("bearer abc", None),
            ("BEARER abc", None),
            ("Bearer", None),
            ("Bearer ", None),
            ("Bearer\tabc", None),
            (" Bearer abc", None),
            ("Basic abc", None),
            ("", None),
        ];
        for (value, expected) in cases {
            assert_eq!(parse(value).as_deref(), expected, "{value:?}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }

    #[test]
    fn admin_table() {
        let token = AdminToken::new("right".to_owned());
        let reason = |configured, bearer, open| match decide_admin(configured, bearer, open) {
            Ok(()) => "allowed",
            Err(ApiError::Unauthorized(reason)) => reason,
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(reason(Some(&token), Some("right"), false), "allowed");
        assert_eq!(
            reason(Some(&token), Some("wrong"), false),
            "invalid admin auth token"
        );
        assert_eq!(
            reason(Some(&token), Some("righ"), false),
            "invalid admin auth token"
        );
        assert_eq!(
            reason(Some(&token), Some("rightx"), false),
            "invalid admin auth token"
        );
        assert_eq!(reason(Some(&token), None, false), "admin auth required");
        assert_eq!(
            reason(None, Some("right"), false),
            "invalid admin auth token"
        );
        assert_eq!(reason(None, None, false), "admin auth required");
        assert_eq!(reason(None, None, true), "allowed");
    }

    #[test]
    fn tokens_are_32_random_bytes_and_only_their_hash_is_kept() {
        let (one, two) = (mint().unwrap(), mint().unwrap());
        assert_ne!(one, two);
        assert_eq!(BASE64_URL_SAFE_NO_PAD.decode(&one).unwrap().len(), 32);
        assert_eq!(TokenDigest::of(&one), TokenDigest::of(&one));
        assert_ne!(TokenDigest::of(&one), TokenDigest::of(&two));
    }
}
