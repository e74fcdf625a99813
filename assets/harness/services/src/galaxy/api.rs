//! The backend's HTTP API.
//!
//! | route | for | answers |
//! | --- | --- | --- |
//! | `GET /healthz` | all | 200, or 503 that names what does not answer |
//! | `POST /api/v1/public/auth/challenges` `{email}` | all | 202; 429 with `Retry-After` |
//! | `GET`, `POST /api/v1/admin/games` `{name}` | admin | the games; 201 with the new one, 502 if its engine did not start |
//! | `GET`, `DELETE /api/v1/admin/games/{id}` | admin | the game; the finished game |
//! | `GET /api/v1/admin/runtime` | admin | the reconciler's completed rounds |
//! | `GET /api/v1/admin/geoip/{address}` | admin | the address's country, 404 if unknown |

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::config::Throttle;
use super::geoip::GeoIp;
use super::lobby::{Lobby, LobbyError};
use super::mail::{Address, Mail};
use super::reconciler::Rounds;
use super::runtime::RuntimeError;
use super::store::{Challenged, Game, StoreError};
use crate::auth::TokenDigest;

const MAX_NAME: usize = 100;

/// What handlers share.
#[derive(Debug, Clone)]
pub struct App {
    pub lobby: Lobby,
    pub geoip: Arc<GeoIp>,
    pub throttle: Throttle,
    pub rounds: Rounds,
}

/// What a handler answers when it does not answer what was asked for.
#[derive(Debug)]
pub enum Failure {
    BadRequest(String),
    Unauthorized,
    NotFound(&'static str),
    Throttled { retry_after: u64 },
    Engine(RuntimeError),
    Unavailable(StoreError),
    Entropy(getrandom::Error),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error)
    }
}

impl From<LobbyError> for Failure {
    fn from(error: LobbyError) -> Self {
        match error {
            LobbyError::Store(error) => Self::Unavailable(error),
            LobbyError::Runtime(error) => Self::Engine(error),
        }
    }
}

impl From<JsonRejection> for Failure {
    fn from(rejection: JsonRejection) -> Self {
        Self::BadRequest(rejection.body_text())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, words) = match self {
            Self::BadRequest(words) => (StatusCode::BAD_REQUEST, words),
            Self::Unauthorized => {
                let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"galaxy\"")];
                let body = Json(json!({ "error": "admin credentials required" }));
                return (StatusCode::UNAUTHORIZED, challenge, body).into_response();
            }
            Self::NotFound(words) => (StatusCode::NOT_FOUND, words.to_owned()),
            Self::Throttled { retry_after } => {
                let header = [(header::RETRY_AFTER, retry_after.to_string())];
                let body = Json(json!({ "error": "too many challenges for this address" }));
                return (StatusCode::TOO_MANY_REQUESTS, header, body).into_response();
            }
            Self::Engine(error) => {
                tracing::error!(%error, "runtime");
                (StatusCode::BAD_GATEWAY, error.to_string())
            }
            Self::Unavailable(error) => {
                tracing::error!(%error, "the store is unavailable");
                (
                    StatusCode::SERVICE_UNAVAILABLE,
                    "store unavailable".to_owned(),
                )
            }
            Self::Entropy(error) => {
                tracing::error!(%error, "no random bytes");
                (
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal error".to_owned(),
                )
            }
        };
        (status, Json(json!({ "error": words }))).into_response()
    }
}

pub fn router(app: App) -> Router {
    let admin = Router::new()
        .route("/games", get(games).post(create))
        .route("/games/{id}", get(game).delete(finish))
        .route("/runtime", get(runtime))
        .route("/geoip/{address}", get(geoip))
        .layer(middleware::from_fn_with_state(app.clone(), require_admin));
    Router::new()
        .route("/healthz", get(health))
        .route("/api/v1/public/auth/challenges", post(challenge))
        .nest("/api/v1/admin", admin)
        .with_state(app)
}

async fn health(State(app): State<App>) -> impl IntoResponse {
    let (postgres, docker) = tokio::join!(app.lobby.store.ping(), app.lobby.runtime.ping());
    if let Err(error) = &postgres {
        tracing::error!(%error, "health: postgres");
    }
    if let Err(error) = &docker {
        tracing::error!(%error, "health: docker");
    }
    let word = |ok| if ok { "ok" } else { "unavailable" };
    let ok = postgres.is_ok() && docker.is_ok();
    let status = if ok {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = json!({
        "status": word(ok),
        "postgres": word(postgres.is_ok()),
        "docker": word(docker.is_ok()),
    });
    (status, Json(body))
}

/// Middleware of the admin routes.
async fn require_admin(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let (name, password) = basic(request.headers()).ok_or(Failure::Unauthorized)?;
    if !app.lobby.store.is_admin(&name, &password).await? {
        return Err(Failure::Unauthorized);
    }
    Ok(next.run(request).await)
}

/// Name and password of an `Authorization: Basic …` header (RFC 7617).
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = BASE64_STANDARD.decode(credentials.trim()).ok()?;
    let (name, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    // PostgreSQL takes no NUL in a text.
    (!name.is_empty() && !decoded.contains(&0)).then(|| (name.to_owned(), password.to_owned()))
}

async fn games(State(app): State<App>) -> Result<Json<Vec<Game>>, Failure> {
    Ok(Json(app.lobby.store.games().await?))
}

#[derive(Debug, Deserialize)]
struct NewGame {
    name: String,
}

async fn create(
    State(app): State<App>,
    body: Result<Json<NewGame>, JsonRejection>,
) -> Result<impl IntoResponse, Failure> {
    let Json(NewGame { name }) = body?;
    let name = name.trim();
    if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(Failure::BadRequest(format!(
            "a name has 1 to {MAX_NAME} bytes, and no control characters"
        )));
    }
    let game = app.lobby.create(name).await?;
    let game = game.ok_or(Failure::NotFound("the game is gone"))?;
    Ok((StatusCode::CREATED, Json(game)))
}

async fn game(State(app): State<App>, Path(id): Path<Uuid>) -> Result<Json<Game>, Failure> {
    let game = app.lobby.store.game(id).await?;
    game.map(Json).ok_or(Failure::NotFound("no such game"))
}

async fn finish(State(app): State<App>, Path(id): Path<Uuid>) -> Result<Json<Game>, Failure> {
    let game = app.lobby.finish(id).await?;
    game.map(Json).ok_or(Failure::NotFound("no such live game"))
}

async fn runtime(State(app): State<App>) -> Json<Value> {
    Json(json!({ "reconciler_rounds": app.rounds.completed() }))
}

async fn geoip(
    State(app): State<App>,
    Path(address): Path<IpAddr>,
) -> Result<Json<Value>, Failure> {
    let country = app.geoip.country(address);
    let country = country.ok_or(Failure::NotFound("no country known"))?;
    Ok(Json(json!({ "country": country })))
}

#[derive(Debug, Deserialize)]
struct NewChallenge {
    email: String,
}

async fn challenge(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Result<Json<NewChallenge>, JsonRejection>,
) -> Result<StatusCode, Failure> {
    let Json(NewChallenge { email }) = body?;
    let email: Address = email
        .to_lowercase()
        .parse()
        .map_err(|_| Failure::BadRequest("email is not a mail address".to_owned()))?;
    let country = app.geoip.country(client(&headers, peer.ip()));
    let code = code().map_err(Failure::Entropy)?;
    let place = country.as_deref().unwrap_or("an unknown country");
    let mail = Mail {
        to: email.clone(),
        subject: "Your sign-in code".to_owned(),
        body: format!("Your sign-in code is {code}. It was asked for from {place}."),
    };
    let digest = TokenDigest::of(&code);
    let store = &app.lobby.store;
    match store
        .challenge(&email, digest, country.as_deref(), &mail, app.throttle)
        .await?
    {
        Challenged::Yes => Ok(StatusCode::ACCEPTED),
        Challenged::Throttled { retry_after } => Err(Failure::Throttled { retry_after }),
    }
}

/// Whom the gateway in front speaks for: the first address of `X-Forwarded-For`, else the peer itself. Good enough to
/// name a country in a mail; nothing is allowed or refused by it.
fn client(headers: &HeaderMap, peer: IpAddr) -> IpAddr {
    headers
        .get("x-forwarded-for")
        .and_then(|value| value.to_str().ok()?.split(',').next()?.trim().parse().ok())
        .unwrap_or(peer)
}

/// Six digits.
fn code() -> Result<String, getrandom::Error> {
    Ok(format!("{:06}", getrandom::u32()? % 1_000_000))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let name = header::HeaderName::from_static(name);
        [(name, HeaderValue::from_str(value).unwrap())]
            .into_iter()
            .collect()
    }

    #[test]
    fn basic_table() {
        let encoded = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
        let cases = [
            (encoded("user:pass"), Some(("user", "pass"))),
            (encoded("user:pa:ss"), Some(("user", "pa:ss"))),
            (encoded("user:"), Some(("user", ""))),
            (
                encoded("user:pass").replace("Basic", "bAsIc"),
                Some(("user", "pass")),
            ),
            (encoded(":pass"), None),
            (encoded("user"), None),
            (encoded("user:\0"), None),
            ("Basic !!!".to_owned(), None),
            ("Bearer abc".to_owned(), None),
            (String::new(), None),
        ];
        for (value, expected) in cases {
            let found = basic(&headers("authorization", &value));
            let found = found
                .as_ref()
                .map(|(name, password)| (name.as_str(), password.as_str()));
            assert_eq!(found, expected, "{value:?}");
        }
    }

    #[test]
    fn the_client_is_whom_the_gateway_names() {
        let peer: IpAddr = "172.18.0.1".parse().unwrap();
        let of = |value| client(&headers("x-forwarded-for", value), peer).to_string();
        assert_eq!(of("192.0.2.7, 10.0.0.1"), "192.0.2.7");
        assert_eq!(of("nobody"), "172.18.0.1");
        assert_eq!(client(&HeaderMap::new(), peer), peer);
    }

    #[test]
    fn a_code_has_six_digits() {
        let code = code().unwrap();
        assert!(
            code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit()),
            "{code}"
        );
    }
}
