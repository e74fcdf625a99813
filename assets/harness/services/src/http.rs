//! Serving and asking: what the tenant, the stub and the tools share.

use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// How long open connections may hold up a stop.
const DRAIN: Duration = Duration::from_secs(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of a response that [`fetch`] reads at most.
const BODY_LIMIT: usize = 4 << 20;

/// Completes with SIGTERM or SIGINT. As the container's first process a service gets neither without asking.
///
/// # Errors
/// The signal handlers cannot be installed.
pub async fn terminated() -> io::Result<()> {
    let (mut term, mut int) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    tokio::select! {
        _ = term.recv() => (),
        _ = int.recv() => (),
    }
    Ok(())
}

/// Serves `router` on all addresses until told to stop; then open requests have a second to end.
///
/// # Errors
/// The port is taken, or the listener broke.
pub async fn serve(port: u16, router: Router) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?;
    tracing::info!(port, "listening");
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let server = axum::serve(listener, service).with_graceful_shutdown(async {
        if let Err(error) = terminated().await {
            tracing::error!(%error, "no signal handlers");
        }
    });
    let deadline = async {
        terminated().await?;
        tracing::info!("stopping");
        tokio::time::sleep(DRAIN).await;
        Ok(())
    };
    tokio::select! {
        result = server => result,
        result = deadline => result,
    }
}

pub type HttpClient = Client<HttpConnector, Body>;

/// A client for plain HTTP.
#[must_use]
pub fn client() -> HttpClient {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    Client::builder(TokioExecutor::new()).build(connector)
}

/// An error with its causes, innermost last: the client's own words are only "client error (Connect)".
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.ends_with(&words) {
            text = format!("{text}: {words}");
        }
        source = cause.source();
    }
    text
}

#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("{}", chain(.0))]
    Request(#[from] hyper_util::client::legacy::Error),
    #[error("the body broke off: {0}")]
    Body(Box<dyn Error + Send + Sync>),
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
}

/// Sends a request and reads the whole answer.
///
/// # Errors
/// There is no whole answer within `timeout`, or it is larger than 4 MiB.
pub async fn fetch(
    request: Request<Body>,
    timeout: Duration,
) -> Result<(StatusCode, Bytes), FetchError> {
    let answer = async {
        let response = client().request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), BODY_LIMIT)
            .collect()
            .await
            .map_err(FetchError::Body)?;
        Ok((status, body.to_bytes()))
    };
    tokio::time::timeout(timeout, answer)
        .await
        .unwrap_or(Err(FetchError::Timeout(timeout)))
}
