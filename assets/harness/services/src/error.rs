//! What a handler answers when it does not answer what was asked for.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::store::StoreError;

#[derive(Debug)]
pub enum ApiError {
    /// 400
    BadRequest(String),
    /// 401
    Unauthorized(&'static str),
    /// 403
    Forbidden(&'static str),
    /// 404 with a body, which is what tells it from a rejection by the guard
    NotFound(&'static str),
    /// 503: the workspace exists and cannot be reached now
    NotOnline(String),
    /// 503: PostgreSQL did not answer. The cause goes to the log, never to the client.
    Unavailable(StoreError),
    /// 502: the workspace's own server or the control plane
    BadGateway(&'static str),
    /// 500: the operating system gave no random bytes
    Entropy(getrandom::Error),
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error)
    }
}

impl From<getrandom::Error> for ApiError {
    fn from(error: getrandom::Error) -> Self {
        Self::Entropy(error)
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        Self::BadRequest(rejection.body_text())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, body) = match self {
            Self::BadRequest(error) => (StatusCode::BAD_REQUEST, json!({ "error": error })),
            Self::Unauthorized(error) => (StatusCode::UNAUTHORIZED, json!({ "error": error })),
            Self::Forbidden(error) => (StatusCode::FORBIDDEN, json!({ "error": error })),
            Self::NotFound(error) => (StatusCode::NOT_FOUND, json!({ "error": error })),
            Self::BadGateway(error) => (StatusCode::BAD_GATEWAY, json!({ "error": error })),
            Self::NotOnline(status) => (
                StatusCode::SERVICE_UNAVAILABLE,
                json!({ "error": "workspace not online", "status": status }),
            ),
            Self::Unavailable(error) => {
                tracing::error!(%error, "the store is unavailable");
                let body =
                    json!({ "error": "platform unavailable", "code": "platform_unavailable" });
                (StatusCode::SERVICE_UNAVAILABLE, body)
            }
            Self::Entropy(error) => {
                tracing::error!(%error, "no random bytes");
                (
                    StatusCode::INTERNAL_SERVER_ERROR,
                    json!({ "error": "internal error" }),
                )
            }
        };
        (status, Json(body)).into_response()
    }
}
