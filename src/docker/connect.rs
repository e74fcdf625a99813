//! Finding the engine and asking what it is.

use std::time::Duration;

use hyper::HeaderMap;

use super::DockerEngine;
use super::convert::moment;
use super::endpoint::Surroundings;
use super::explain::{explain, protocol, too_old};
use super::transport::Transport;
use crate::domain::link::{EngineHost, EngineInfo};
use crate::engine::EngineError;

/// The oldest API that is supported, that of Docker 20.10.
const OLDEST_API: (u32, u32) = (1, 41);
const LIMIT: Duration = Duration::from_secs(10);

/// The engine at `host`, or at the place where the docker command would look: `DOCKER_HOST`, the
/// active docker context, the usual sockets.
///
/// Nothing is sent yet, so an engine that is down is no error here; `info` tells.
///
/// # Errors
///
/// `Unsupported` for an address that cannot be used, `Unreachable` for a docker context that
/// cannot be read.
pub fn connect(host: Option<&str>) -> Result<DockerEngine, EngineError> {
    connect_with(host, LIMIT)
}

/// As [`connect`], with a limit to how long the engine may take to answer a request, or to begin
/// a stream. Stopping and removing containers may take longer.
pub fn connect_with(host: Option<&str>, limit: Duration) -> Result<DockerEngine, EngineError> {
    let endpoint = Surroundings::of_this_process().resolve(host)?;
    DockerEngine::over(Transport::new(endpoint, limit))
}

/// What the engine is, from the headers of its cheapest answer: `/version` takes ten times as
/// long, and stands before the first row on the screen.
pub(super) async fn info(engine: &DockerEngine) -> Result<EngineInfo, EngineError> {
    let transport = &engine.transport;
    let response = transport
        .get("/_ping")
        .await
        .map_err(|error| explain(transport, error))?;
    let info = identify(response.headers(), &transport.endpoint().to_string())
        .ok_or_else(|| protocol(transport.endpoint(), "no API version in it"))?;
    let needed = format!("{}.{}", OLDEST_API.0, OLDEST_API.1);
    match version(&info.api_version) {
        Some(has) if has >= OLDEST_API => Ok(info),
        Some(_) => Err(too_old(transport.endpoint(), &info.api_version, &needed)),
        None => {
            let words = format!("API version {:?}", info.api_version);
            Err(protocol(transport.endpoint(), &words))
        }
    }
}

/// The machine that the engine runs on. It takes much longer than [`info`].
pub(super) async fn host(engine: &DockerEngine) -> Result<EngineHost, EngineError> {
    let info = engine.bounded(engine.docker.info()).await?;
    Ok(EngineHost {
        name: info.name.unwrap_or_default(),
        os: info.operating_system.or(info.os_type).unwrap_or_default(),
        arch: info.architecture.unwrap_or_default(),
        now: info.system_time.as_deref().and_then(moment),
    })
}

fn identify(headers: &HeaderMap, endpoint: &str) -> Option<EngineInfo> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    // Such as `Docker/28.2.2 (linux)` or `Libpod/5.4.0 (linux)`.
    let server = text("server").unwrap_or_default();
    let (name, rest) = server.split_once('/').unwrap_or((server, ""));
    let podman = name == "Libpod" || headers.contains_key("libpod-api-version");
    Some(EngineInfo {
        product: if podman { "podman" } else { "docker" }.to_owned(),
        version: rest
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned(),
        api_version: text("api-version")?.to_owned(),
        endpoint: endpoint.to_owned(),
    })
}

/// Major and minor; compared as numbers, since 1.9 is older than 1.41.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                let name = hyper::header::HeaderName::from_static(name);
                (name, value.parse().unwrap())
            })
            .collect()
    }

    #[test]
    fn an_engine_is_known_by_its_headers() {
        let docker = headers(&[
            ("server", "Docker/20.10.24+dfsg1 (linux)"),
            ("api-version", "1.41"),
        ]);
        let info = identify(&docker, "unix:///d").unwrap();
        assert_eq!(info.product, "docker");
        assert_eq!(info.version, "20.10.24+dfsg1");
        assert_eq!(info.api_version, "1.41");
        let podman = headers(&[
            ("server", "Libpod/5.4.0 (linux)"),
            ("api-version", "1.41"),
            ("libpod-api-version", "5.4.0"),
        ]);
        assert_eq!(identify(&podman, "").unwrap().product, "podman");
        assert!(identify(&headers(&[("server", "nginx")]), "").is_none());
    }

    #[test]
    fn versions_are_numbers() {
        assert!(version("1.9") < version("1.41"));
        assert!(version("2.0") > version("1.41"));
        assert_eq!(version("one"), None);
        assert_eq!(version("1"), None);
    }
}
