//! The tenant's own calls to the control plane: what it asks for itself, and not on behalf of a browser.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::bugs::{Bug, Bugs};
use crate::config::Token;
use crate::guard::ORG_HEADER;
use crate::http::{FetchError, fetch};
use crate::proxy::Upstream;

/// What stands for production's address: no name below `.invalid` resolves (RFC 2606).
pub const PRODUCTION: &str = "http://control-plane.invalid";
const ADMIN_HEADER: &str = "x-molecule-admin-token";

const PROVISION_TIMEOUT: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("the control plane cannot be reached: {0}")]
    Transport(#[from] FetchError),
    #[error("the control plane answered {0}")]
    Status(StatusCode),
    #[error("the control plane's answer is not what it should be: {0}")]
    Shape(#[from] serde_json::Error),
    #[error("no request can be made of it: {0}")]
    Request(#[from] axum::http::Error),
    #[error("production's address: {0}")]
    Production(#[from] crate::proxy::UpstreamError),
}

/// Who the tenant is to the control plane.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    pub org_id: Option<String>,
    /// `MOLECULE_ORG_SLUG`; without it nobody can be a member.
    pub slug: Option<String>,
    pub shared_secret: Option<Token>,
    pub admin_token: Option<Token>,
    /// Where workspaces reach this tenant.
    pub platform_url: String,
}

/// A workspace to be provisioned.
#[derive(Debug, Clone)]
pub struct Order {
    pub workspace_id: Uuid,
    pub runtime: String,
    pub tier: i32,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Instance {
    pub instance_id: String,
    pub state: String,
}

#[derive(Debug, Deserialize)]
struct Membership {
    member: bool,
    #[serde(default)]
    user_id: String,
}

#[derive(Debug, Deserialize)]
struct InstanceState {
    state: String,
}

#[derive(Debug, Clone)]
pub struct ControlPlane {
    /// `None`: nothing is configured, and production is asked.
    configured: Option<Upstream>,
    identity: Identity,
    bugs: Bugs,
}

impl ControlPlane {
    #[must_use]
    pub fn new(configured: Option<Upstream>, identity: Identity, bugs: Bugs) -> Self {
        Self {
            configured,
            identity,
            bugs,
        }
    }

    fn base(&self) -> Result<Upstream, CallError> {
        match &self.configured {
            Some(upstream) => Ok(upstream.clone()),
            None => Ok(Upstream::parse(PRODUCTION)?),
        }
    }

    fn provisioner(&self) -> Result<Upstream, CallError> {
        if self.bugs.has(Bug::ProvisionProductionFallback) {
            return Ok(Upstream::parse(PRODUCTION)?);
        }
        self.base()
    }

    /// Asks for an instance. Only 201 says that there is one.
    ///
    /// # Errors
    /// There is none.
    pub async fn provision(&self, order: &Order) -> Result<Instance, CallError> {
        let body = json!({
            "org_id": self.identity.org_id,
            "workspace_id": order.workspace_id,
            "runtime": order.runtime,
            "tier": order.tier,
            "platform_url": self.identity.platform_url,
            "env": {},
        });
        let request = self
            .as_provisioner(
                Method::POST,
                &self.provisioner()?,
                "/cp/workspaces/provision",
            )?
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()))?;
        match fetch(request, PROVISION_TIMEOUT).await? {
            (StatusCode::CREATED, body) => Ok(serde_json::from_slice(&body)?),
            (status, _) => Err(CallError::Status(status)),
        }
    }

    /// Gives an instance back.
    ///
    /// # Errors
    /// The control plane did not say that it is gone.
    pub async fn deprovision(
        &self,
        workspace_id: Uuid,
        instance_id: &str,
    ) -> Result<(), CallError> {
        let path = format!(
            "/cp/workspaces/{workspace_id}?instance_id={}",
            escaped(instance_id)
        );
        let request = self.as_provisioner(Method::DELETE, &self.provisioner()?, &path)?;
        match fetch(request.body(Body::empty())?, TIMEOUT).await? {
            (status, _) if status.is_success() => Ok(()),
            (status, _) => Err(CallError::Status(status)),
        }
    }

    /// Whether an instance runs. When in doubt it does: an outage of the control plane must not look like the death of
    /// every workspace.
    pub async fn is_alive(&self, workspace_id: Uuid, instance_id: &str) -> bool {
        let path = format!(
            "/cp/workspaces/{workspace_id}/status?instance_id={}",
            escaped(instance_id)
        );
        let state = async {
            let request = self.as_provisioner(Method::GET, &self.provisioner()?, &path)?;
            json_of::<InstanceState>(request.body(Body::empty())?).await
        };
        match state.await {
            Ok(answer) => answer.state == "running",
            Err(error) => {
                tracing::warn!(%error, %workspace_id, "the instance's state is unknown");
                true
            }
        }
    }

    /// What an instance has printed.
    ///
    /// # Errors
    /// The control plane does not say.
    pub async fn console(&self, workspace_id: Uuid) -> Result<Value, CallError> {
        let path = format!("/cp/admin/workspaces/{workspace_id}/console");
        let request = self.as_provisioner(Method::GET, &self.provisioner()?, &path)?;
        json_of(request.body(Body::empty())?).await
    }

    /// The environment that the control plane keeps for this tenant.
    ///
    /// # Errors
    /// There is none to be had; it must not keep the tenant from booting.
    pub async fn tenant_config(&self) -> Result<BTreeMap<String, String>, CallError> {
        let mut request = Request::get(self.base()?.address("/cp/tenants/config")?);
        if let Some(token) = &self.identity.admin_token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.expose()));
        }
        if let Some(org_id) = &self.identity.org_id {
            request = request.header(ORG_HEADER, org_id);
        }
        json_of(request.body(Body::empty())?).await
    }

    /// Whether the session in a `Cookie` header is of a member of this tenant's organisation.
    ///
    /// # Errors
    /// The control plane could not be asked. That it says no, in whatever words, is no error.
    pub async fn is_member(&self, cookie: &HeaderValue) -> Result<bool, CallError> {
        let Some(slug) = &self.identity.slug else {
            return Ok(false);
        };
        let path = format!("/cp/auth/tenant-member?slug={}", escaped(slug));
        let request = Request::get(self.base()?.address(&path)?)
            .header(header::COOKIE, cookie)
            .body(Body::empty())?;
        let (status, body) = fetch(request, TIMEOUT).await?;
        Ok(status == StatusCode::OK
            && serde_json::from_slice::<Membership>(&body)
                .is_ok_and(|answer| answer.member && !answer.user_id.is_empty()))
    }

    fn as_provisioner(
        &self,
        method: Method,
        upstream: &Upstream,
        path: &str,
    ) -> Result<axum::http::request::Builder, CallError> {
        let mut request = Request::builder()
            .method(method)
            .uri(upstream.address(path)?);
        if let Some(secret) = &self.identity.shared_secret {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", secret.expose()));
        }
        if let Some(token) = &self.identity.admin_token {
            request = request.header(ADMIN_HEADER, token.expose());
        }
        Ok(request)
    }
}

fn escaped(text: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}

async fn json_of<T: DeserializeOwned>(request: Request<Body>) -> Result<T, CallError> {
    match fetch(request, TIMEOUT).await? {
        (status, body) if status.is_success() => Ok(serde_json::from_slice(&body)?),
        (status, _) => Err(CallError::Status(status)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::extract::Request;
    use tokio::net::TcpListener;

    use super::*;

    type Seen = Arc<Mutex<Vec<String>>>;

    /// A control plane that answers everything alike, and what it was asked.
    async fn answering(status: u16, body: &'static str) -> (ControlPlane, Seen) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream =
            Upstream::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let seen = Seen::default();
        let recorded = Arc::clone(&seen);
        let router = Router::new().fallback(move |request: Request| {
            let mut line = format!("{} {}", request.method(), request.uri());
            for name in ["authorization", ADMIN_HEADER, ORG_HEADER, "cookie"] {
                if let Some(value) = request.headers().get(name) {
                    line = format!("{line} {name}={}", value.to_str().unwrap());
                }
            }
            recorded.lock().unwrap().push(line);
            async move { (StatusCode::from_u16(status).unwrap(), body) }
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        let identity = Identity {
            org_id: Some("org".to_owned()),
            slug: Some("acme".to_owned()),
            shared_secret: Some(Token::new("shared".to_owned())),
            admin_token: Some(Token::new("admin".to_owned())),
            platform_url: "http://acme".to_owned(),
        };
        (
            ControlPlane::new(Some(upstream), identity, Bugs::default()),
            seen,
        )
    }

    async fn unreachable() -> ControlPlane {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream =
            Upstream::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let identity = Identity {
            slug: Some("acme".to_owned()),
            ..Identity::default()
        };
        ControlPlane::new(Some(upstream), identity, Bugs::default())
    }

    fn order() -> Order {
        Order {
            workspace_id: Uuid::nil(),
            runtime: "default".to_owned(),
            tier: 3,
        }
    }

    #[tokio::test]
    async fn only_201_is_an_instance() {
        const INSTANCE: &str = r#"{"instance_id":"i-1","state":"pending"}"#;
        let (plane, seen) = answering(201, INSTANCE).await;
        assert_eq!(plane.provision(&order()).await.unwrap().instance_id, "i-1");
        assert_eq!(
            seen.lock().unwrap()[..],
            [
                "POST /cp/workspaces/provision authorization=Bearer shared x-molecule-admin-token=admin"
            ]
        );
        for status in [200, 202, 401, 500] {
            let error = answering(status, INSTANCE)
                .await
                .0
                .provision(&order())
                .await
                .unwrap_err();
            assert!(
                matches!(error, CallError::Status(got) if got.as_u16() == status),
                "{error}"
            );
        }
        let error = answering(201, "{}")
            .await
            .0
            .provision(&order())
            .await
            .unwrap_err();
        assert!(matches!(error, CallError::Shape(_)), "{error}");
    }

    #[tokio::test]
    async fn only_a_clear_word_is_death() {
        for (status, body, alive) in [
            (200, r#"{"state":"running"}"#, true),
            (200, r#"{"state":"terminated"}"#, false),
            (200, "<html>", true),
            (404, r#"{"state":"terminated"}"#, true),
            (500, "", true),
        ] {
            let plane = answering(status, body).await.0;
            assert_eq!(
                plane.is_alive(Uuid::nil(), "i-1").await,
                alive,
                "{status} {body}"
            );
        }
        assert!(unreachable().await.is_alive(Uuid::nil(), "i-1").await);
    }

    #[tokio::test]
    async fn a_member_has_a_name() {
        let cookie = HeaderValue::from_static("session=s");
        for (status, body, member) in [
            (200, r#"{"member":true,"user_id":"u"}"#, true),
            (200, r#"{"member":true,"user_id":""}"#, false),
            (200, r#"{"member":true}"#, false),
            (200, r#"{"member":false,"user_id":"u"}"#, false),
            (401, r#"{"member":true,"user_id":"u"}"#, false),
            (200, "<html>", false),
        ] {
            let (plane, seen) = answering(status, body).await;
            assert_eq!(
                plane.is_member(&cookie).await.unwrap(),
                member,
                "{status} {body}"
            );
            assert_eq!(
                seen.lock().unwrap()[..],
                ["GET /cp/auth/tenant-member?slug=acme cookie=session=s"]
            );
        }
        assert!(matches!(
            unreachable().await.is_member(&cookie).await,
            Err(CallError::Transport(_))
        ));
    }

    #[tokio::test]
    async fn without_an_own_address_production_is_asked() {
        let plane = ControlPlane::new(None, Identity::default(), Bugs::default());
        assert_eq!(plane.base().unwrap(), Upstream::parse(PRODUCTION).unwrap());
        let (mut plane, _) = answering(201, "").await;
        assert_eq!(plane.provisioner().unwrap(), plane.base().unwrap());
        plane.bugs = Bugs::of([Bug::ProvisionProductionFallback]);
        assert_eq!(
            plane.provisioner().unwrap(),
            Upstream::parse(PRODUCTION).unwrap()
        );
    }
}
