//! `GET /health`: whether the tenant can do its work, not whether its process exists.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::json;

use crate::tenant::App;

/// 200 when PostgreSQL and Redis both answer; 503 that names the one which does not. The cause is only logged.
pub async fn show(State(app): State<App>) -> impl IntoResponse {
    let (postgres, redis) = tokio::join!(app.store.ping(), app.liveness.ping());
    if let Err(error) = &postgres {
        tracing::error!(%error, "health: postgres");
    }
    if let Err(error) = &redis {
        tracing::error!(%error, "health: redis");
    }
    let word = |ok| if ok { "ok" } else { "unavailable" };
    let ok = postgres.is_ok() && redis.is_ok();
    let body = json!({
        "status": word(ok),
        "postgres": word(postgres.is_ok()),
        "redis": word(redis.is_ok()),
    });
    (
        if ok {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        },
        Json(body),
    )
}
