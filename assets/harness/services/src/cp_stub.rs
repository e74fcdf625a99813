//! The control plane as far as the tenant and the replays need it. What it does not know it names.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, delete, get, post};
use axum::{Json, Router, middleware};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::auth::bearer;
use crate::guard::ORG_HEADER;
use crate::http::serve;
use crate::requests::{self, Counters};
use crate::tenant::NO_ROUTE;

/// How many of the latest calls of a kind `/__stub/state` shows.
const RECENT: usize = 200;

/// A tenant of the fleet.
#[derive(Debug, Clone)]
struct Tenant {
    slug: String,
    org_id: String,
}

#[derive(Debug, Clone)]
pub struct StubConfig {
    port: u16,
    tenants: Vec<Tenant>,
    shared_secret: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum StubConfigError {
    #[error("PORT is not a port number: {0:?}")]
    Port(String),
    #[error("STUB_TENANTS is not a list of slug=organisation: {0:?}")]
    Tenants(String),
}

impl StubConfig {
    /// Reads `PORT` (9090 unless set), `STUB_TENANTS` (`slug=organisation`, separated by commas) and
    /// `PROVISION_SHARED_SECRET` through `lookup`.
    ///
    /// # Errors
    /// One of them is malformed.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, StubConfigError> {
        let port = match lookup("PORT") {
            None => 9090,
            Some(text) => text.parse().map_err(|_| StubConfigError::Port(text))?,
        };
        let tenants = lookup("STUB_TENANTS").unwrap_or_default();
        let tenants = tenants
            .split(',')
            .filter(|item| !item.is_empty())
            .map(|item| {
                let (slug, org_id) = item
                    .split_once('=')
                    .ok_or_else(|| StubConfigError::Tenants(item.to_owned()))?;
                Ok(Tenant {
                    slug: slug.to_owned(),
                    org_id: org_id.to_owned(),
                })
            });
        Ok(Self {
            port,
            tenants: tenants.collect::<Result<_, _>>()?,
            shared_secret: lookup("PROVISION_SHARED_SECRET"),
        })
    }
}

/// What `/__stub/state` shows. Other traffic counts too: compare with "at least", not with "exactly", or look for what
/// only you sent.
#[derive(Debug, Default, Serialize)]
struct Calls {
    auth_me_calls: u64,
    /// Of those, the ones that came with a cookie and a token.
    auth_me_with_credentials: u64,
    tenant_member_calls: u64,
    redeploy_fleet_calls: u64,
    create_org_calls: u64,
    provision_calls: u64,
    deprovision_calls: u64,
    tenant_config_calls: u64,
    unhandled_calls: u64,
    /// Cookies that memberships were asked for, latest last.
    tenant_member_cookies: Recent<String>,
    provisions: Recent<Provision>,
    /// `METHOD path` of what there is no handler for.
    unhandled: Recent<String>,
}

/// The latest of their kind.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Recent<T>(VecDeque<T>);

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Recent<T> {
    fn push(&mut self, item: T) {
        if self.0.len() == RECENT {
            self.0.pop_front();
        }
        self.0.push_back(item);
    }
}

#[derive(Debug, Serialize)]
struct Provision {
    workspace_id: String,
    org_id: String,
    instance_id: String,
    state: &'static str,
    /// Whether the shared secret was presented.
    authenticated: bool,
    /// Whether the tenant's admin token was handed over.
    admin_token: bool,
}

#[derive(Debug)]
struct Stub {
    config: StubConfig,
    calls: Mutex<Calls>,
}

impl Stub {
    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Shared = State<Arc<Stub>>;

/// Serves until told to stop.
///
/// # Errors
/// The port cannot be served.
pub async fn run(config: StubConfig) -> io::Result<()> {
    serve(config.port, router(config)).await
}

fn router(config: StubConfig) -> Router {
    // As the control plane does, a known path with another method is 405 and no gap in the stub.
    let only = |method: MethodRouter<Arc<Stub>>| {
        method.fallback(|| async { StatusCode::METHOD_NOT_ALLOWED })
    };
    Router::new()
        .route(
            "/healthz",
            get(|| async { Json(json!({ "status": "ok" })) }),
        )
        .route("/__stub/state", get(state))
        .route("/cp/auth/me", any(auth_me))
        .route("/cp/auth/tenant-member", only(get(tenant_member)))
        .route("/cp/admin/tenants/redeploy-fleet", any(redeploy_fleet))
        .route("/cp/admin/orgs", only(post(create_org)))
        .route("/cp/admin/workspaces/{id}/console", only(get(console)))
        .route("/cp/workspaces/provision", only(post(provision)))
        .route("/cp/workspaces/{id}", only(delete(deprovision)))
        .route("/cp/workspaces/{id}/status", only(get(instance_status)))
        .route("/cp/tenants/config", only(get(tenant_config)))
        .route("/cp/{*path}", any(unhandled))
        .fallback(|| async { NO_ROUTE })
        .with_state(Arc::new(Stub {
            config,
            calls: Mutex::default(),
        }))
        .layer(middleware::from_fn_with_state(
            Counters::default(),
            requests::record,
        ))
}

async fn state(State(stub): Shared) -> Response {
    Json(&*stub.calls()).into_response()
}

async fn auth_me(State(stub): Shared, headers: HeaderMap) -> Json<Value> {
    let org_id = stub
        .config
        .tenants
        .first()
        .map_or("", |tenant| &tenant.org_id);
    let mut calls = stub.calls();
    calls.auth_me_calls += 1;
    if headers.contains_key(header::COOKIE) && bearer(&headers).is_some() {
        calls.auth_me_with_credentials += 1;
    }
    Json(json!({
        "id": "user_harness",
        "email": "harness@example.test",
        "org_id": org_id,
        "roles": ["owner"],
    }))
}

#[derive(Debug, Deserialize)]
struct MemberOf {
    #[serde(default)]
    slug: String,
}

/// The sessions of the stub's one user have the form `session=<slug>.<anything>`: a member of that tenant.
async fn tenant_member(
    State(stub): Shared,
    Query(of): Query<MemberOf>,
    headers: HeaderMap,
) -> Response {
    let cookie = headers
        .get(header::COOKIE)
        .and_then(|cookie| cookie.to_str().ok());
    let mut calls = stub.calls();
    calls.tenant_member_calls += 1;
    let Some(cookie) = cookie else {
        return (
            StatusCode::UNAUTHORIZED,
            Json(json!({ "error": "no session" })),
        )
            .into_response();
    };
    calls.tenant_member_cookies.push(cookie.to_owned());
    let known = stub
        .config
        .tenants
        .iter()
        .any(|tenant| tenant.slug == of.slug);
    let member = known && is_session_of(cookie, &of.slug);
    let user_id = if member { "user_harness" } else { "" };
    Json(json!({ "member": member, "user_id": user_id })).into_response()
}

fn is_session_of(cookies: &str, slug: &str) -> bool {
    cookies
        .split(';')
        .filter_map(|cookie| cookie.trim().strip_prefix("session="))
        .any(|session| session.split_once('.').is_some_and(|(of, _)| of == slug))
}

/// Success for the whole fleet whatever runs there: that this answer is no proof is what #2395 is about.
async fn redeploy_fleet(State(stub): Shared) -> Json<Value> {
    stub.calls().redeploy_fleet_calls += 1;
    let results: Vec<Value> = stub
        .config
        .tenants
        .iter()
        .map(|tenant| {
            json!({
                "slug": tenant.slug,
                "phase": "done",
                "ssm_status": "Success",
                "ssm_exit_code": 0,
                "healthz_ok": true,
            })
        })
        .collect();
    Json(json!({ "ok": true, "results": results }))
}

async fn create_org(State(stub): Shared, body: Bytes) -> Response {
    stub.calls().create_org_calls += 1;
    let org: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |field: &str| {
        org[field]
            .as_str()
            .map(str::trim)
            .filter(|text| !text.is_empty())
    };
    let missing: Vec<&str> = ["slug", "name", "owner_user_id"]
        .into_iter()
        .filter(|field| text(field).is_none())
        .collect();
    if !missing.is_empty() {
        let error = format!("missing: {}", missing.join(", "));
        let body = json!({ "error": error, "fields": missing });
        return (StatusCode::BAD_REQUEST, Json(body)).into_response();
    }
    let slug = text("slug").unwrap_or_default();
    let body = json!({ "id": format!("org_{slug}"), "slug": slug, "name": text("name") });
    (StatusCode::CREATED, Json(body)).into_response()
}

/// An instance for a workspace, at once. Its id follows from the workspace's.
async fn provision(State(stub): Shared, headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    let order: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |field: &str| order[field].as_str().unwrap_or_default().to_owned();
    let workspace_id = text("workspace_id");
    let hex: String = workspace_id
        .chars()
        .filter(char::is_ascii_hexdigit)
        .take(17)
        .collect();
    let instance_id = format!("i-{hex:0<17}");
    let mut calls = stub.calls();
    calls.provision_calls += 1;
    calls.provisions.push(Provision {
        workspace_id: workspace_id.clone(),
        org_id: text("org_id"),
        instance_id: instance_id.clone(),
        state: "running",
        authenticated: stub.config.shared_secret.is_some()
            && bearer(&headers) == stub.config.shared_secret.as_deref(),
        admin_token: headers.contains_key("x-molecule-admin-token"),
    });
    let body = json!({
        "instance_id": instance_id,
        "state": "pending",
        "workspace_id": workspace_id,
        "url": format!("http://{instance_id}.workspace.internal:8000"),
    });
    (StatusCode::CREATED, Json(body))
}

async fn deprovision(State(stub): Shared, Path(id): Path<String>) -> Json<Value> {
    let mut calls = stub.calls();
    calls.deprovision_calls += 1;
    for provision in calls
        .provisions
        .0
        .iter_mut()
        .filter(|one| one.workspace_id == id)
    {
        provision.state = "terminated";
    }
    Json(json!({ "state": "terminated" }))
}

async fn instance_status(State(stub): Shared, Path(id): Path<String>) -> Response {
    let calls = stub.calls();
    match calls
        .provisions
        .0
        .iter()
        .rfind(|one| one.workspace_id == id)
    {
        Some(one) => Json(json!({ "state": one.state })).into_response(),
        None => (
            StatusCode::NOT_FOUND,
            Json(json!({ "error": "no such instance" })),
        )
            .into_response(),
    }
}

async fn console(Path(id): Path<String>) -> Json<Value> {
    Json(json!({ "output": format!("workspace {id}: nothing was printed\n") }))
}

/// What the control plane keeps for a tenant: its slug, which the tenant's own environment does not have.
async fn tenant_config(
    State(stub): Shared,
    headers: HeaderMap,
) -> Json<BTreeMap<&'static str, String>> {
    stub.calls().tenant_config_calls += 1;
    let org_id = headers
        .get(ORG_HEADER)
        .and_then(|value| value.to_str().ok());
    let tenant = stub
        .config
        .tenants
        .iter()
        .find(|tenant| Some(tenant.org_id.as_str()) == org_id);
    let slug = tenant.map(|tenant| ("MOLECULE_ORG_SLUG", tenant.slug.clone()));
    Json(slug.into_iter().collect())
}

async fn unhandled(State(stub): Shared, request: Request) -> impl IntoResponse {
    let (method, path) = (request.method().as_str(), request.uri().path());
    tracing::warn!("no handler: {method} {path}");
    let mut calls = stub.calls();
    calls.unhandled_calls += 1;
    calls.unhandled.push(format!("{method} {path}"));
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

    fn stub() -> Router {
        let config = StubConfig::read(|name| match name {
            "STUB_TENANTS" => Some("acme=org-a,other=org-b".to_owned()),
            "PROVISION_SHARED_SECRET" => Some("shared".to_owned()),
            _ => None,
        });
        router(config.unwrap())
    }

    async fn send(router: &Router, request: Request) -> (u16, Value) {
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn ask(router: &Router, method: &str, path: &str, body: &str) -> (u16, Value) {
        let request = Request::builder().method(method).uri(path);
        send(router, request.body(Body::from(body.to_owned())).unwrap()).await
    }

    async fn ask_with(router: &Router, path: &str, name: &str, value: &str) -> Value {
        let request = Request::get(path).header(name, value);
        send(router, request.body(Body::empty()).unwrap()).await.1
    }

    #[tokio::test]
    async fn an_unknown_route_is_named_and_the_hint_says_where_to_add_it() {
        let router = stub();
        let (status, body) = ask(&router, "PUT", "/cp/nothing/here", "").await;
        assert_eq!(status, 501);
        let error = body["error"].as_str().unwrap();
        assert!(error.ends_with("PUT /cp/nothing/here"), "{body}");
        assert!(
            body["hint"].as_str().unwrap().contains("cp_stub.rs"),
            "{body}"
        );
        let (_, state) = ask(&router, "GET", "/__stub/state", "").await;
        assert_eq!(state["unhandled"], json!(["PUT /cp/nothing/here"]));
    }

    #[tokio::test]
    async fn a_known_route_with_another_method_is_405() {
        let router = stub();
        for (method, path) in [
            ("GET", "/cp/admin/orgs"),
            ("GET", "/cp/workspaces/provision"),
            ("POST", "/cp/tenants/config"),
            ("PUT", "/cp/workspaces/w"),
        ] {
            assert_eq!(
                ask(&router, method, path, "").await.0,
                405,
                "{method} {path}"
            );
        }
    }

    #[tokio::test]
    async fn calls_are_counted() {
        let router = stub();
        assert_eq!(ask(&router, "GET", "/cp/auth/me", "").await.0, 200);
        assert_eq!(ask(&router, "DELETE", "/cp/auth/me", "").await.0, 200);
        let (status, fleet) = ask(&router, "POST", "/cp/admin/tenants/redeploy-fleet", "").await;
        assert_eq!((status, &fleet["ok"]), (200, &json!(true)));
        let slugs: Vec<&Value> = fleet["results"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| &one["slug"])
            .collect();
        assert_eq!(slugs, ["acme", "other"]);
        assert_eq!(ask(&router, "GET", "/cp/nothing", "").await.0, 501);
        assert_eq!(ask(&router, "GET", "/elsewhere", "").await.0, 404);
        let (_, state) = ask(&router, "GET", "/__stub/state", "").await;
        let counters = [
            "auth_me_calls",
            "auth_me_with_credentials",
            "redeploy_fleet_calls",
            "unhandled_calls",
        ];
        assert_eq!(
            counters.map(|name| state[name].as_u64().unwrap()),
            [2, 0, 1, 1]
        );
    }

    #[tokio::test]
    async fn an_organisation_needs_its_fields_and_each_missing_one_is_named() {
        let router = stub();
        for body in ["", "not json", "{}", r#"{"slug":" "}"#] {
            let (status, answer) = ask(&router, "POST", "/cp/admin/orgs", body).await;
            assert_eq!(status, 400, "{body}");
            assert_eq!(
                answer["fields"],
                json!(["slug", "name", "owner_user_id"]),
                "{body}"
            );
        }
        let (_, answer) = ask(
            &router,
            "POST",
            "/cp/admin/orgs",
            r#"{"slug":"s","name":"n"}"#,
        )
        .await;
        assert_eq!(answer["fields"], json!(["owner_user_id"]));
        let whole = r#"{"slug":"s","name":"n","owner_user_id":"u"}"#;
        assert_eq!(ask(&router, "POST", "/cp/admin/orgs", whole).await.0, 201);
    }

    #[tokio::test]
    async fn an_instance_runs_until_it_is_given_back() {
        let router = stub();
        let order = r#"{"workspace_id":"0b1e9f5e-3c1d-4c55-9a35-6f0b8b6f7a10","org_id":"org-a"}"#;
        let (status, instance) = ask(&router, "POST", "/cp/workspaces/provision", order).await;
        assert_eq!(
            (status, &instance["instance_id"]),
            (201, &json!("i-0b1e9f5e3c1d4c559"))
        );
        let path = "/cp/workspaces/0b1e9f5e-3c1d-4c55-9a35-6f0b8b6f7a10";
        let status = format!("{path}/status?instance_id=i");
        assert_eq!(
            ask(&router, "GET", &status, "").await,
            (200, json!({ "state": "running" }))
        );
        assert_eq!(ask(&router, "DELETE", path, "").await.0, 200);
        assert_eq!(
            ask(&router, "GET", &status, "").await,
            (200, json!({ "state": "terminated" }))
        );
        assert_eq!(
            ask(&router, "GET", "/cp/workspaces/x/status", "").await.0,
            404
        );
    }

    #[tokio::test]
    async fn a_member_belongs_to_the_tenant_of_the_session() {
        let router = stub();
        for (slug, cookie, member) in [
            ("acme", "session=acme.1", true),
            ("acme", "theme=dark; session=acme.1", true),
            ("acme", "session=other.1", false),
            ("acme", "session=acme", false),
            ("unknown", "session=unknown.1", false),
        ] {
            let path = format!("/cp/auth/tenant-member?slug={slug}");
            let answer = ask_with(&router, &path, "cookie", cookie).await;
            assert_eq!(answer["member"], member, "{slug} {cookie}");
        }
        assert_eq!(
            ask(&router, "GET", "/cp/auth/tenant-member?slug=acme", "")
                .await
                .0,
            401
        );
    }

    #[tokio::test]
    async fn each_tenant_gets_its_own_configuration() {
        let router = stub();
        let answer = ask_with(&router, "/cp/tenants/config", ORG_HEADER, "org-b").await;
        assert_eq!(answer, json!({ "MOLECULE_ORG_SLUG": "other" }));
        assert_eq!(
            ask(&router, "GET", "/cp/tenants/config", "").await,
            (200, json!({}))
        );
    }

    #[test]
    fn a_malformed_list_of_tenants_stops_the_boot() {
        let read =
            |list: &str| StubConfig::read(|name| (name == "STUB_TENANTS").then(|| list.to_owned()));
        assert!(matches!(read("acme"), Err(StubConfigError::Tenants(item)) if item == "acme"));
        assert_eq!(read("").unwrap().tenants.len(), 0);
    }
}
