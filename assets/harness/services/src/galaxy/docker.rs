//! A client for the few calls of the Docker Engine API that the backend makes, over its Unix socket.
//!
//! Paths carry no version, so the daemon takes its own: all of the fields used here are in every version since 1.24,
//! while a fixed version would be refused by daemons that are too old or too new for it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::UnixStream;

use super::labels::Labels;

/// Where the socket is mounted.
pub const SOCKET: &str = "/var/run/docker.sock";
const TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of an answer that are read at most.
const BODY_LIMIT: usize = 16 << 20;

#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    #[error("the socket {0} cannot be reached: {1}")]
    Connect(PathBuf, io::Error),
    #[error("the request cannot be made: {0}")]
    Request(#[from] axum::http::Error),
    #[error("the connection broke: {0}")]
    Http(#[from] hyper::Error),
    #[error("the answer broke off: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    Timeout,
    #[error("{status}: {message}")]
    Refused { status: StatusCode, message: String },
    #[error("the answer is not what was expected: {0}")]
    Shape(#[from] serde_json::Error),
}

impl DockerError {
    fn is(&self, wanted: StatusCode) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == wanted)
    }
}

/// A container as the list shows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Summary {
    #[serde(rename = "Id")]
    pub id: String,
}

#[derive(Debug, Deserialize)]
struct Created {
    #[serde(rename = "Id")]
    id: String,
}

#[derive(Debug, Clone)]
pub struct Docker {
    socket: PathBuf,
}

impl Docker {
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    /// # Errors
    /// The daemon does not answer.
    pub async fn ping(&self) -> Result<(), DockerError> {
        self.call(Method::GET, "/_ping", None).await.map(drop)
    }

    /// # Errors
    /// There is no such network, or the daemon does not answer.
    pub async fn network_exists(&self, name: &str) -> Result<(), DockerError> {
        let path = format!("/networks/{}", escaped(name));
        self.call(Method::GET, &path, None).await.map(drop)
    }

    /// Every container that carries all of these labels, whatever state it is in.
    ///
    /// # Errors
    /// The daemon does not answer.
    pub async fn list(&self, labels: &Labels) -> Result<Vec<Summary>, DockerError> {
        let wanted: Vec<String> = labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let filters = json!({ "label": wanted }).to_string();
        let path = format!("/containers/json?all=1&filters={}", escaped(&filters));
        self.ask(Method::GET, &path, None).await
    }

    /// Makes a container of `spec` (the body of `POST /containers/create`) and gives its id.
    ///
    /// # Errors
    /// The daemon refuses, or does not answer.
    pub async fn create(&self, name: &str, spec: &Value) -> Result<String, DockerError> {
        let path = format!("/containers/create?name={}", escaped(name));
        let created: Created = self.ask(Method::POST, &path, Some(spec)).await?;
        Ok(created.id)
    }

    /// # Errors
    /// The daemon refuses, or does not answer.
    pub async fn start(&self, id: &str) -> Result<(), DockerError> {
        let path = format!("/containers/{}/start", escaped(id));
        self.call(Method::POST, &path, None).await.map(drop)
    }

    /// Kills and removes a container. One that is gone, or going, is as good as removed.
    ///
    /// # Errors
    /// The daemon refuses, or does not answer.
    pub async fn remove(&self, id: &str) -> Result<(), DockerError> {
        let path = format!("/containers/{}?force=1&v=1", escaped(id));
        match self.call(Method::DELETE, &path, None).await {
            Err(error) if error.is(StatusCode::NOT_FOUND) || error.is(StatusCode::CONFLICT) => {
                Ok(())
            }
            other => other.map(drop),
        }
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, DockerError> {
        Ok(serde_json::from_slice(
            &self.call(method, path, body).await?,
        )?)
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Bytes, DockerError> {
        tokio::time::timeout(TIMEOUT, self.exchange(method, path, body))
            .await
            .unwrap_or(Err(DockerError::Timeout))
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Bytes, DockerError> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| DockerError::Connect(self.socket.clone(), error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Drives the connection until the answer is read and `sender` dropped; its error reaches the sender, too.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "docker")
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.map_or_else(Body::empty, |body| Body::from(body.to_string())))?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), BODY_LIMIT)
            .collect()
            .await
            .map_err(DockerError::Body)?
            .to_bytes();
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            return Ok(body);
        }
        Err(DockerError::Refused {
            status,
            message: message(&body),
        })
    }
}

/// The daemon's own words.
fn message(body: &[u8]) -> String {
    serde_json::from_slice::<Value>(body)
        .ok()
        .and_then(|body| Some(body.get("message")?.as_str()?.to_owned()))
        .unwrap_or_else(|| String::from_utf8_lossy(body).trim().to_owned())
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::extract::RawQuery;
    use axum::routing::{delete, get, post};
    use tokio::net::UnixListener;

    use super::*;

    /// A daemon that knows one container and wants to be asked as the real one does.
    fn daemon() -> (tempfile::TempDir, Docker) {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("docker.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let router = Router::new()
            .route("/_ping", get(|| async { "OK" }))
            .route(
                "/containers/json",
                get(|RawQuery(query): RawQuery| async move {
                    let query = query.unwrap();
                    let filters = query.strip_prefix("all=1&filters=").unwrap();
                    let filters = percent_encoding::percent_decode_str(filters)
                        .decode_utf8()
                        .unwrap();
                    assert_eq!(filters, r#"{"label":["a=1","b=2"]}"#);
                    r#"[{"Id":"abc","State":"dead"}]"#
                }),
            )
            .route(
                "/containers/{id}/start",
                post(|| async { (StatusCode::NOT_FOUND, r#"{"message":"no such image: x"}"#) }),
            )
            .route(
                "/containers/{id}",
                delete(|| async { StatusCode::CONFLICT }),
            );
        tokio::spawn(async move { axum::serve(listener, router).await });
        (directory, Docker::new(&socket))
    }

    #[tokio::test]
    async fn a_list_asks_for_all_labels_and_all_states() {
        let (_directory, docker) = daemon();
        docker.ping().await.unwrap();
        let found = docker.list(&"a=1,b=2".parse().unwrap()).await.unwrap();
        assert_eq!(
            found,
            [Summary {
                id: "abc".to_owned()
            }]
        );
    }

    #[tokio::test]
    async fn a_refusal_is_in_the_daemon_s_words() {
        let (_directory, docker) = daemon();
        let error = docker.start("abc").await.unwrap_err().to_string();
        assert_eq!(error, "404 Not Found: no such image: x");
    }

    #[tokio::test]
    async fn what_is_being_removed_counts_as_removed() {
        let (_directory, docker) = daemon();
        docker.remove("abc").await.unwrap();
    }

    #[tokio::test]
    async fn an_absent_daemon_is_an_error_and_no_empty_list() {
        let docker = Docker::new(Path::new("/nowhere/docker.sock"));
        let error = docker.list(&Labels::default()).await.unwrap_err();
        assert!(matches!(error, DockerError::Connect(..)), "{error}");
    }
}
