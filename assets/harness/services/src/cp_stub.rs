//! The control plane as far as the tenant and the replays need it. What it does not know it names.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{any, get};
use axum::{Json, Router, middleware};
use serde_json::{Value, json};

use crate::http::serve;
use crate::requests::{self, Counters};
use crate::tenant::NO_ROUTE;

/// What `/__stub/state` shows. Other traffic counts too: compare with "at least", not with "exactly".
#[derive(Debug, Default)]
struct Stub {
    /// The tenant that the fleet consists of.
    slug: String,
    auth_me: AtomicU64,
    redeploy_fleet: AtomicU64,
    unhandled: AtomicU64,
}

/// Serves until told to stop. `slug` names the tenant that a redeploy reports.
///
/// # Errors
/// The port cannot be served.
pub async fn run(port: u16, slug: String) -> io::Result<()> {
    serve(port, router(slug)).await
}

fn router(slug: String) -> Router {
    Router::new()
        .route(
            "/healthz",
            get(|| async { Json(json!({ "status": "ok" })) }),
        )
        .route("/__stub/state", get(state))
        .route("/cp/auth/me", any(auth_me))
        .route("/cp/admin/tenants/redeploy-fleet", any(redeploy_fleet))
        .route("/cp/{*path}", any(unhandled))
        .fallback(|| async { NO_ROUTE })
        .with_state(Arc::new(Stub {
            slug,
            ..Stub::default()
        }))
        .layer(middleware::from_fn_with_state(
            Counters::default(),
            requests::record,
        ))
}

async fn state(State(stub): State<Arc<Stub>>) -> Json<Value> {
    Json(json!({
        "auth_me_calls": stub.auth_me.load(Ordering::Relaxed),
        "redeploy_fleet_calls": stub.redeploy_fleet.load(Ordering::Relaxed),
        "unhandled_calls": stub.unhandled.load(Ordering::Relaxed),
    }))
}

async fn auth_me(State(stub): State<Arc<Stub>>) -> Json<Value> {
    stub.auth_me.fetch_add(1, Ordering::Relaxed);
    Json(json!({
        "id": "user_harness",
        "email": "harness@example.test",
        "org_id": "org_harness",
        "roles": ["owner"],
    }))
}

/// Success for the whole fleet whatever runs there: that this answer is no proof is what #2395 is about.
async fn redeploy_fleet(State(stub): State<Arc<Stub>>) -> Json<Value> {
    stub.redeploy_fleet.fetch_add(1, Ordering::Relaxed);
    Json(json!({
        "ok": true,
        "results": [{
            "slug": stub.slug,
            "phase": "done",
            "ssm_status": "Success",
            "ssm_exit_code": 0,
            "healthz_ok": true,
        }],
    }))
}

async fn unhandled(State(stub): State<Arc<Stub>>, request: Request) -> impl IntoResponse {
    stub.unhandled.fetch_add(1, Ordering::Relaxed);
    let (method, path) = (request.method().as_str(), request.uri().path());
    tracing::warn!("no handler: {method} {path}");
    let body = json!({
        "error": format!("the control-plane stub has no handler for {method} {path}"),
        "hint": "add a route in assets/harness/services/src/cp_stub.rs",
    });
    (StatusCode::NOT_IMPLEMENTED, Json(body))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    async fn ask(router: &Router, method: &str, path: &str) -> (u16, String) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(Body::empty())
            .unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn an_unknown_route_is_named_and_the_hint_says_where_to_add_it() {
        let (status, body) = ask(&router("t".to_owned()), "PUT", "/cp/workspaces/provision").await;
        assert_eq!(status, 501);
        let body: Value = serde_json::from_str(&body).unwrap();
        assert!(
            body["error"]
                .as_str()
                .unwrap()
                .ends_with("PUT /cp/workspaces/provision"),
            "{body}"
        );
        assert!(
            body["hint"].as_str().unwrap().contains("cp_stub.rs"),
            "{body}"
        );
    }

    #[tokio::test]
    async fn calls_are_counted() {
        let router = router("harness-tenant".to_owned());
        assert_eq!(ask(&router, "GET", "/cp/auth/me").await.0, 200);
        assert_eq!(ask(&router, "DELETE", "/cp/auth/me").await.0, 200);
        let (status, fleet) = ask(&router, "POST", "/cp/admin/tenants/redeploy-fleet").await;
        assert_eq!(status, 200);
        let fleet: Value = serde_json::from_str(&fleet).unwrap();
        assert_eq!(
            (&fleet["ok"], &fleet["results"][0]["slug"]),
            (&json!(true), &json!("harness-tenant"))
        );
        assert_eq!(ask(&router, "GET", "/cp/nothing").await.0, 501);
        assert_eq!(ask(&router, "GET", "/elsewhere").await.0, 404);
        let (_, state) = ask(&router, "GET", "/__stub/state").await;
        assert_eq!(
            serde_json::from_str::<Value>(&state).unwrap(),
            json!({ "auth_me_calls": 2, "redeploy_fleet_calls": 1, "unhandled_calls": 1 })
        );
    }
}
