//! One HTTP request over one connection to the engine.
//!
//! bollard is given this as its transport. Its own would do for plain requests, but hides when
//! the headers of a stream arrive (and so when an event subscription stands), lumps a missing
//! socket and a refused one together, and bounds time by whole seconds.

use std::error::Error as StdError;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::endpoint::Endpoint;
use super::socket::{Rest, Socket, Watched};

/// bollard's own limit is in whole seconds and covers the same span as ours: out of the way.
const NO_LIMIT: u64 = 365 * 24 * 3600;

/// Opens connections and bounds the time until an answer begins.
#[derive(Clone, Debug)]
pub(super) struct Transport {
    endpoint: Arc<Endpoint>,
    /// From connecting to the last header of the answer, or to the last byte of a refusal.
    limit: Duration,
}

impl Transport {
    pub(super) fn new(endpoint: Endpoint, limit: Duration) -> Self {
        Self {
            endpoint: Arc::new(endpoint),
            limit,
        }
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    pub(super) fn with_limit(&self, limit: Duration) -> Self {
        Self {
            endpoint: Arc::clone(&self.endpoint),
            limit,
        }
    }

    /// bollard over this transport.
    pub(super) fn client(&self) -> Result<Docker, Error> {
        let transport = self.clone();
        Docker::connect_with_custom_transport(
            move |request: BollardRequest| {
                let transport = transport.clone();
                async move { transport.send(request).await }
            },
            Some("http://engine"),
            NO_LIMIT,
            API_DEFAULT_VERSION,
        )
    }

    /// Resolves when the headers of the answer are there. A refusal is an error with the engine's
    /// words.
    pub(super) async fn get(&self, path_and_query: &str) -> Result<Response<Incoming>, Error> {
        let request = Request::get(path_and_query).body(Empty::<Bytes>::new())?;
        self.send(request).await
    }

    /// Like [`Self::get`], for an answer that comes in many small pieces.
    pub(super) async fn stream(&self, path_and_query: &str) -> Result<Pieces, Error> {
        let request = Request::get(path_and_query).body(Empty::<Bytes>::new())?;
        let answer = async {
            match &*self.endpoint {
                Endpoint::Unix(path) => pieces(UnixStream::connect(path).await?, request).await,
                Endpoint::Tcp { host, port } => {
                    let stream = TcpStream::connect((host.as_str(), *port)).await?;
                    stream.set_nodelay(true)?;
                    pieces(stream, request).await
                }
            }
        };
        tokio::time::timeout(self.limit, answer)
            .await
            .unwrap_or(Err(Error::RequestTimeoutError))
    }

    async fn send<B>(&self, request: Request<B>) -> Result<Response<Incoming>, Error>
    where
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let answer = async {
            match &*self.endpoint {
                Endpoint::Unix(path) => {
                    accepted(exchange(UnixStream::connect(path).await?, request).await?).await
                }
                Endpoint::Tcp { host, port } => {
                    let stream = TcpStream::connect((host.as_str(), *port)).await?;
                    stream.set_nodelay(true)?;
                    accepted(exchange(stream, request).await?).await
                }
            }
        };
        tokio::time::timeout(self.limit, answer)
            .await
            .unwrap_or(Err(Error::RequestTimeoutError))
    }
}

/// The answer, unless it is a refusal. Its words are read here and not by bollard, which sets no
/// limit to the time that they take.
async fn accepted(response: Response<Incoming>) -> Result<Response<Incoming>, Error> {
    let status = response.status();
    let informs = matches!(
        status,
        StatusCode::NOT_MODIFIED | StatusCode::SWITCHING_PROTOCOLS
    );
    if status.is_success() || informs {
        return Ok(response);
    }
    let body = response.into_body().collect().await?.to_bytes();
    let message = serde_json::from_slice::<serde_json::Value>(&body)
        .ok()
        .and_then(|value| Some(value.get("message")?.as_str()?.to_owned()))
        .unwrap_or_else(|| String::from_utf8_lossy(&body).into_owned());
    Err(Error::DockerResponseServerError {
        status_code: status.as_u16(),
        message,
    })
}

/// The body of an answer together with its connection. Whoever reads the one drives the other: a
/// task between the two would be woken for every piece.
pub(super) struct Pieces {
    body: Incoming,
    connection: Option<Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>>,
    rest: Rest,
}

impl Pieces {
    /// The next piece; `None` at the end of the answer. Nothing is lost where the future is dropped.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, hyper::Error>> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// Until the next piece is asked for, nothing that arrives wakes anybody.
    pub(super) fn rest(&self) {
        self.rest.rest();
    }

    fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, hyper::Error>>> {
        loop {
            let mut found = Pin::new(&mut self.body).poll_frame(context);
            if found.is_pending()
                && let Some(connection) = &mut self.connection
            {
                // A failure of the connection is the body's as well.
                if connection.as_mut().poll(context).is_ready() {
                    self.connection = None;
                }
                found = Pin::new(&mut self.body).poll_frame(context);
            }
            match ready!(found) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}

async fn pieces<S>(stream: S, mut request: Request<Empty<Bytes>>) -> Result<Pieces, Error>
where
    S: Watched,
{
    let socket = Socket::new(stream);
    let rest = socket.rest();
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    let mut connection: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(connection);
    direct(&mut request)?;
    let mut driven = true;
    let mut answer = std::pin::pin!(async { accepted(sender.send_request(request).await?).await });
    let response = loop {
        tokio::select! {
            biased;
            answer = &mut answer => break answer?,
            _ = &mut connection, if driven => driven = false,
        }
    };
    Ok(Pieces {
        body: response.into_body(),
        connection: driven.then_some(connection),
        rest,
    })
}

async fn exchange<S, B>(stream: S, mut request: Request<B>) -> Result<Response<Incoming>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends by itself once the sender and the answer's body are dropped.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the connection to the engine ended");
        }
    });
    direct(&mut request)?;
    Ok(sender.send_request(request).await?)
}

/// Names what is asked for as a server expects it, without the server.
fn direct<B>(request: &mut Request<B>) -> Result<(), Error> {
    if let Some(path) = request.uri().path_and_query() {
        *request.uri_mut() = path
            .as_str()
            .parse()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    }
    request
        .headers_mut()
        .insert(HOST, HeaderValue::from_static("engine"));
    Ok(())
}
