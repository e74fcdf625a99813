//! Engines that are not there, not allowed, too old, or silent. None of these needs a daemon.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use tackroom::docker::{DockerEngine, connect_with};
use tackroom::domain::id::ContainerId;
use tackroom::domain::link::Link;
use tackroom::domain::scope::Scope;
use tackroom::domain::selector::Selector;
use tackroom::engine::{Engine, EngineError, ErrorKind, LogRequest, Tail};
use tackroom::watch::{WatchEvent, WatchOptions, watch};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};

use crate::world::bounded;

const SHORT: Duration = Duration::from_millis(100);

const LONG: Duration = Duration::from_secs(60);

/// An engine that is given up soon.
fn at(path: &Path) -> DockerEngine {
    within(SHORT, path)
}

fn within(limit: Duration, path: &Path) -> DockerEngine {
    connect_with(Some(&format!("unix://{}", path.display())), limit).unwrap()
}

fn anything() -> Selector {
    Selector::from_conditions(["any=1".parse().unwrap()]).unwrap()
}

/// Answers every request with these bytes and closes.
fn answering(listener: UnixListener, answer: &'static [u8]) {
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer).await;
        }
    });
}

fn explained(error: &EngineError, kind: ErrorKind, endpoint: &str) {
    assert_eq!(error.kind, kind, "{error}");
    assert!(error.is_outage());
    assert!(error.message.contains(endpoint), "{error}");
    assert!(error.hint.is_some());
}

#[tokio::test]
async fn a_missing_socket_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("missing.sock");
    let error = at(&path).info().await.unwrap_err();
    explained(&error, ErrorKind::Unreachable, path.to_str().unwrap());
    assert!(error.message.contains("no such socket"), "{error}");
}

#[tokio::test]
async fn a_socket_without_a_listener_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("left-over.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let error = at(&path).list(&anything()).await.unwrap_err();
    explained(&error, ErrorKind::Unreachable, path.to_str().unwrap());
    assert!(error.message.contains("refused"), "{error}");
}

#[tokio::test]
async fn a_port_without_a_listener_refuses() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let host = format!("tcp://127.0.0.1:{port}");
    let engine = connect_with(Some(&host), SHORT).unwrap();
    let error = engine.info().await.unwrap_err();
    explained(&error, ErrorKind::Unreachable, &host);
}

#[tokio::test]
async fn a_forbidden_socket_says_whom_to_ask() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("forbidden.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o000)).unwrap();
    if rustix::process::geteuid().is_root() {
        // Root may use every socket; the explanation itself has a unit test.
        writeln!(std::io::stderr(), "SKIPPED: as root no socket is forbidden").ok();
        return;
    }
    let error = at(&path).info().await.unwrap_err();
    explained(&error, ErrorKind::Denied, path.to_str().unwrap());
}

#[tokio::test]
async fn an_engine_that_accepts_and_never_answers_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hung.sock");
    // The kernel accepts into the backlog; nobody ever reads.
    let _listener = UnixListener::bind(&path).unwrap();
    let engine = at(&path);
    let id = ContainerId::new("c1");
    let request = LogRequest {
        tail: Tail::All,
        since: None,
        follow: true,
    };
    let logs = engine.logs(&id, request).try_collect::<Vec<_>>();
    let answers = bounded(futures_util::future::join_all([
        engine.info().map_err_of(),
        engine.list(&anything()).map_err_of(),
        engine.inspect(&id).map_err_of(),
        engine.networks(&anything()).map_err_of(),
        engine.volumes(&anything()).map_err_of(),
        engine.remove_network("n").map_err_of(),
        engine.remove_volume("v").map_err_of(),
        engine.stop(&id, Duration::ZERO).map_err_of(),
        logs.map_err_of(),
        engine.usage(&id).map_err_of(),
    ]))
    .await;
    for answer in answers {
        explained(
            &answer.unwrap(),
            ErrorKind::TimedOut,
            path.to_str().unwrap(),
        );
    }
    let error = bounded(engine.events()).await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::TimedOut);
}

/// The error of whatever kind of answer, so that one list can hold them all.
trait ErrorOf<'a> {
    fn map_err_of(self) -> futures_util::future::BoxFuture<'a, Option<EngineError>>;
}

impl<'a, T, F> ErrorOf<'a> for F
where
    F: Future<Output = Result<T, EngineError>> + Send + 'a,
{
    fn map_err_of(self) -> futures_util::future::BoxFuture<'a, Option<EngineError>> {
        Box::pin(async { self.await.err() })
    }
}

#[tokio::test]
async fn an_engine_that_stops_in_the_middle_of_an_answer_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("half.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[";
    stalling(listener, answer);
    let error = bounded(at(&path).list(&anything())).await.unwrap_err();
    explained(&error, ErrorKind::TimedOut, path.to_str().unwrap());
}

/// Answers every request with these bytes and then says nothing more.
fn stalling(listener: UnixListener, answer: &'static [u8]) {
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                // Not before it is asked: an answer to nothing is an error of its own.
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer).await;
                std::future::pending::<()>().await;
            });
        }
    });
}

#[tokio::test]
async fn an_engine_that_never_says_why_it_refuses_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("proxy.sock");
    let answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 200\r\n\r\n";
    stalling(UnixListener::bind(&path).unwrap(), answer);
    let engine = at(&path);
    let id = ContainerId::new("c1");
    let request = LogRequest {
        tail: Tail::All,
        since: None,
        follow: true,
    };
    let events = async { engine.events().await.map(drop) };
    let answers = bounded(futures_util::future::join_all([
        engine.info().map_err_of(),
        events.map_err_of(),
        engine.list(&anything()).map_err_of(),
        engine.stop(&id, Duration::ZERO).map_err_of(),
        engine
            .logs(&id, request)
            .try_collect::<Vec<_>>()
            .map_err_of(),
        engine.usage(&id).map_err_of(),
    ]))
    .await;
    for answer in answers {
        let path = path.to_str().unwrap();
        explained(&answer.unwrap(), ErrorKind::TimedOut, path);
    }
}

#[tokio::test]
async fn a_finite_log_that_goes_silent_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("silent.sock");
    let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    stalling(UnixListener::bind(&path).unwrap(), answer);
    let request = LogRequest {
        tail: Tail::All,
        since: None,
        follow: false,
    };
    let engine = at(&path);
    let mut parts = engine.logs(&ContainerId::new("c1"), request);
    let error = bounded(parts.next()).await.unwrap().unwrap_err();
    explained(&error, ErrorKind::TimedOut, path.to_str().unwrap());
    assert!(bounded(parts.next()).await.is_none());
}

#[tokio::test]
async fn an_engine_that_is_too_old_is_told_apart_with_both_versions() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("old.sock");
    let answer = b"HTTP/1.1 200 OK\r\nApi-Version: 1.24\r\nServer: Docker/1.12.6 (linux)\r\n\
        Content-Length: 2\r\nConnection: close\r\n\r\nOK";
    answering(UnixListener::bind(&path).unwrap(), answer);
    let error = bounded(within(LONG, &path).info()).await.unwrap_err();
    explained(&error, ErrorKind::TooOld, path.to_str().unwrap());
    assert!(
        error.message.contains("1.24") && error.message.contains("1.41"),
        "{error}"
    );

    let scope = Scope {
        families: vec![anything()],
        ..Scope::default()
    };
    let engine = Arc::new(within(LONG, &path));
    let mut events = Box::pin(watch(engine, Arc::new(scope), WatchOptions::default()));
    let Some(WatchEvent::Link(Link::Lost { cause, .. })) = bounded(events.next()).await else {
        panic!("the watcher tells of it");
    };
    assert!(
        cause.contains("1.24") && cause.contains("update the engine"),
        "{cause}"
    );
}

#[tokio::test]
async fn what_is_no_engine_is_not_understood() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("web.sock");
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>";
    answering(UnixListener::bind(&path).unwrap(), answer);
    let engine = within(LONG, &path);
    for error in [
        bounded(engine.info()).await.unwrap_err(),
        bounded(engine.list(&anything())).await.unwrap_err(),
        bounded(engine.inspect(&ContainerId::new("c1")))
            .await
            .unwrap_err(),
    ] {
        assert_eq!(error.kind, ErrorKind::Protocol, "{error}");
        assert!(error.message.contains("web.sock"), "{error}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_in_a_stream_is_an_outage() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("broken.sock");
    let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"A";
    answering(UnixListener::bind(&path).unwrap(), answer);
    let engine = within(LONG, &path);
    let mut events = bounded(engine.events()).await.unwrap();
    let error = bounded(events.next()).await.unwrap().unwrap_err();
    explained(&error, ErrorKind::Unreachable, path.to_str().unwrap());
}

#[tokio::test]
async fn an_engine_over_tcp_is_spoken_to() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = format!("tcp://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let read = stream.read(&mut request).await.unwrap();
        let request = String::from_utf8_lossy(&request[..read]).into_owned();
        assert!(request.starts_with("GET /_ping HTTP/1.1\r\n"), "{request}");
        let answer = b"HTTP/1.1 200 OK\r\nApi-Version: 1.50\r\nServer: Docker/28.2.2 (linux)\r\n\
            Content-Length: 2\r\n\r\nOK";
        stream.write_all(answer).await.unwrap();
    });
    let info = bounded(connect_with(Some(&host), LONG).unwrap().info())
        .await
        .unwrap();
    assert_eq!((&*info.version, &*info.endpoint), ("28.2.2", &*host));
}
