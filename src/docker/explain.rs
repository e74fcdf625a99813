//! bollard's errors in the port's words: the endpoint, the cause, and what to do next.

use std::io;
use std::time::Duration;

use bollard::errors::Error;

use super::endpoint::Endpoint;
use super::transport::Transport;
use crate::engine::{EngineError, ErrorKind};

const START_IT: &str = "is the engine running? start it, or set DOCKER_HOST";

pub(super) fn explain(transport: &Transport, error: Error) -> EngineError {
    let endpoint = transport.endpoint();
    match error {
        Error::DockerResponseServerError {
            status_code,
            message,
        } => refusal(status_code, &message),
        Error::IOError { err } => io_failure(endpoint, &err),
        Error::HyperResponseError { err } => broken(endpoint, &err.to_string()),
        Error::RequestTimeoutError => timed_out(endpoint, transport.limit()),
        Error::DockerStreamError { error } => EngineError::new(ErrorKind::Engine, one_line(&error)),
        other => protocol(endpoint, &other.to_string()),
    }
}

pub(super) fn timed_out(endpoint: &Endpoint, limit: Duration) -> EngineError {
    EngineError::new(
        ErrorKind::TimedOut,
        format!("no answer from {endpoint} within {limit:?}"),
    )
    .hinted("the engine may be hanging: look at its own log, or restart it")
}

pub(super) fn protocol(endpoint: &Endpoint, cause: &str) -> EngineError {
    EngineError::new(
        ErrorKind::Protocol,
        format!(
            "{endpoint} sent an answer that is not understood: {}",
            one_line(cause)
        ),
    )
}

pub(super) fn too_old(endpoint: &Endpoint, has: &str, needs: &str) -> EngineError {
    EngineError::new(
        ErrorKind::TooOld,
        format!("the engine at {endpoint} speaks API {has}, and {needs} or later is needed"),
    )
    .hinted("update the engine: Docker 20.10 and Podman 4 are new enough")
}

pub(super) fn broken(endpoint: &Endpoint, cause: &str) -> EngineError {
    EngineError::new(
        ErrorKind::Unreachable,
        format!("the connection to {endpoint} broke: {}", one_line(cause)),
    )
    .hinted(START_IT)
}

fn io_failure(endpoint: &Endpoint, error: &io::Error) -> EngineError {
    let unreachable = |cause: &str| {
        EngineError::new(
            ErrorKind::Unreachable,
            format!("no engine at {endpoint}: {cause}"),
        )
        .hinted(START_IT)
    };
    match error.kind() {
        io::ErrorKind::NotFound => unreachable("there is no such socket"),
        io::ErrorKind::ConnectionRefused => unreachable("the connection is refused"),
        io::ErrorKind::PermissionDenied => EngineError::new(
            ErrorKind::Denied,
            format!("no permission to use {endpoint}"),
        )
        .hinted("add yourself to the group that owns the socket (often `docker`) and log in again, or use a rootless engine"),
        io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::AddrNotAvailable => unreachable(&one_line(&error.to_string())),
        _ => broken(endpoint, &error.to_string()),
    }
}

/// An error that the engine itself answered with.
fn refusal(status: u16, message: &str) -> EngineError {
    let kind = match status {
        404 => ErrorKind::NotFound,
        409 => ErrorKind::Conflict,
        // Docker forbids the removal of a network that is in use.
        403 if message.contains("active endpoints") => ErrorKind::Conflict,
        501 => ErrorKind::Unsupported,
        _ => ErrorKind::Engine,
    };
    let message = match one_line(message) {
        words if words.is_empty() => format!("the engine answered with status {status}"),
        words => words,
    };
    EngineError::new(kind, message)
}

fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transport() -> Transport {
        Transport::new(Endpoint::Unix("/run/d.sock".into()), Duration::from_secs(3))
    }

    fn server(status_code: u16, message: &str) -> Error {
        Error::DockerResponseServerError {
            status_code,
            message: message.to_owned(),
        }
    }

    #[test]
    fn a_refusal_keeps_the_engine_s_words_in_one_line() {
        let explained = explain(&transport(), server(404, "No such container: x.\n"));
        assert_eq!(
            explained,
            EngineError::new(ErrorKind::NotFound, "No such container: x")
        );
        let explained = explain(&transport(), server(500, ""));
        assert_eq!(explained.message, "the engine answered with status 500");
        assert!(!explained.is_outage());
    }

    #[test]
    fn statuses_become_kinds() {
        for (status, message, kind) in [
            (409, "in use", ErrorKind::Conflict),
            (403, "network x has active endpoints", ErrorKind::Conflict),
            (403, "refused by the proxy", ErrorKind::Engine),
            (501, "not supported", ErrorKind::Unsupported),
            (500, "oops", ErrorKind::Engine),
        ] {
            assert_eq!(explain(&transport(), server(status, message)).kind, kind);
        }
    }

    #[test]
    fn what_keeps_us_from_the_engine_is_an_outage_with_a_next_step() {
        let io = |kind: io::ErrorKind| Error::IOError { err: kind.into() };
        for (error, kind, words) in [
            (
                io(io::ErrorKind::NotFound),
                ErrorKind::Unreachable,
                "no such socket",
            ),
            (
                io(io::ErrorKind::ConnectionRefused),
                ErrorKind::Unreachable,
                "refused",
            ),
            (
                io(io::ErrorKind::PermissionDenied),
                ErrorKind::Denied,
                "permission",
            ),
            (
                io(io::ErrorKind::UnexpectedEof),
                ErrorKind::Unreachable,
                "broke",
            ),
            (Error::RequestTimeoutError, ErrorKind::TimedOut, "3s"),
        ] {
            let explained = explain(&transport(), error);
            assert_eq!(explained.kind, kind);
            assert!(explained.is_outage());
            assert!(explained.message.contains(words), "{explained}");
            assert!(
                explained.message.contains("unix:///run/d.sock"),
                "{explained}"
            );
            assert!(explained.hint.is_some());
        }
    }
}
