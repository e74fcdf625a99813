//! Who may do what: the admin's token, the organisation's, each workspace's own, and the sessions of its members.

use std::collections::HashMap;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::config::{Environment, Token};
use crate::error::ApiError;
use crate::guard::is_same_origin;
use crate::tenant::App;
use crate::workspaces::parse_id;

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
fn is_admin(configured: Option<&Token>, bearer: &str) -> bool {
    configured.is_some_and(|token| token.expose().as_bytes().ct_eq(bearer.as_bytes()).into())
}

/// Lets the admin pass: by the admin's token, one of the organisation's, or a member's session. Without an
/// `ADMIN_TOKEN` everybody is the admin in development, and on a fresh install: as long as no workspace has a live
/// token. A workspace's token never is the admin's.
///
/// # Errors
/// 401; 503 when it takes PostgreSQL to decide and that does not answer.
pub(crate) async fn authorize_admin(app: &App, headers: &HeaderMap) -> Result<(), ApiError> {
    if app.admin_token.is_none()
        && (app.environment == Environment::Development || !app.store.any_live_token().await?)
    {
        return Ok(());
    }
    let bearer = bearer(headers);
    if let Some(bearer) = bearer
        && is_owner(app, bearer).await?
    {
        return Ok(());
    }
    if app.sessions.is_member(headers).await {
        return Ok(());
    }
    Err(ApiError::Unauthorized(match bearer {
        None => "admin auth required",
        Some(_) => "invalid admin auth token",
    }))
}

/// Whether a token is the admin's or the organisation's.
async fn is_owner(app: &App, bearer: &str) -> Result<bool, ApiError> {
    Ok(is_admin(app.admin_token.as_ref(), bearer)
        || app.store.is_org_token(TokenDigest::of(bearer)).await?)
}

/// Middleware of the admin's routes.
///
/// # Errors
/// See [`authorize_admin`].
pub async fn require_admin(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    authorize_admin(&app, request.headers()).await?;
    Ok(next.run(request).await)
}

/// Middleware of a workspace's routes, whose path has its `id`: for the admin, the organisation, the workspace itself,
/// and the tenant's own user interface if the request carries no token.
///
/// # Errors
/// 400 for what is no id; 401; 503 when PostgreSQL does not answer.
pub async fn require_workspace(
    State(app): State<App>,
    Path(path): Path<HashMap<String, String>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let id = parse_id(path.get("id").map_or("", String::as_str))?;
    let allowed = match bearer(request.headers()) {
        Some(bearer) => {
            is_owner(&app, bearer).await?
                || app
                    .store
                    .is_workspace_token(id, TokenDigest::of(bearer))
                    .await?
        }
        None => app.canvas && is_same_origin(request.headers()),
    };
    if allowed {
        return Ok(next.run(request).await);
    }
    Err(ApiError::Unauthorized(match bearer(request.headers()) {
        None => "missing workspace auth token",
        Some(_) => "invalid workspace auth token",
    }))
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
    fn only_the_whole_token_is_the_admins() {
        let token = Token::new("right".to_owned());
        for (configured, bearer, expected) in [
            (Some(&token), "right", true),
            (Some(&token), "wrong", false),
            (Some(&token), "righ", false),
            (Some(&token), "rightx", false),
            (Some(&token), "", false),
            (None, "right", false),
            (None, "", false),
        ] {
            assert_eq!(is_admin(configured, bearer), expected, "{bearer:?}");
        }
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
