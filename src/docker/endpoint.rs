//! Where the engine is: how the address is found, read and written.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::engine::{EngineError, ErrorKind};

/// The port that `tcp://host` means when it names none, as the docker command reads it.
const PLAIN_HTTP_PORT: u16 = 2375;
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// An address that this adapter can talk to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Unix(PathBuf),
    /// Plain HTTP.
    Tcp {
        host: String,
        port: u16,
    },
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
        }
    }
}

/// What of the process's surroundings decides about the endpoint.
#[derive(Clone, Debug, Default)]
pub(super) struct Surroundings {
    pub(super) docker_host: Option<String>,
    pub(super) docker_context: Option<String>,
    /// `DOCKER_CONFIG`, or `~/.docker`.
    pub(super) config_dir: Option<PathBuf>,
    pub(super) home: Option<PathBuf>,
    pub(super) runtime_dir: Option<PathBuf>,
    /// `DOCKER_TLS_VERIFY` is set to something.
    pub(super) tls: bool,
}

impl Surroundings {
    pub(super) fn of_this_process() -> Self {
        let text = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let home = text("HOME").map(PathBuf::from);
        Self {
            docker_host: text("DOCKER_HOST"),
            docker_context: text("DOCKER_CONTEXT"),
            config_dir: text("DOCKER_CONFIG")
                .map(PathBuf::from)
                .or_else(|| home.as_ref().map(|home| home.join(".docker"))),
            home,
            runtime_dir: text("XDG_RUNTIME_DIR").map(PathBuf::from),
            tls: text("DOCKER_TLS_VERIFY").is_some(),
        }
    }

    /// The endpoint to use: `host` if it is given, else `DOCKER_HOST`, else the active docker
    /// context, else the first of the usual sockets that exists.
    ///
    /// This is the docker command's own order, so that both talk to the same engine.
    pub(super) fn resolve(&self, host: Option<&str>) -> Result<Endpoint, EngineError> {
        if let Some(host) = host.or(self.docker_host.as_deref()) {
            return self.parse(host);
        }
        if let Some(host) = self.context_host()? {
            return self.parse(&host);
        }
        let usual = self.usual_sockets();
        let found = usual.into_iter().find(|path| path.exists());
        Ok(Endpoint::Unix(
            found.unwrap_or_else(|| PathBuf::from(DEFAULT_SOCKET)),
        ))
    }

    fn parse(&self, host: &str) -> Result<Endpoint, EngineError> {
        let refuse = |what: &str, hint: &str| {
            Err(EngineError::new(
                ErrorKind::Unsupported,
                format!("cannot use engine {host:?}: {what}"),
            )
            .hinted(hint))
        };
        let forms = "write unix:///path/to/docker.sock or tcp://host:2375";
        if let Some(path) = host.strip_prefix("unix://").or_else(|| {
            // DOCKER_HOST=/run/docker.sock is refused by the docker command, but it can only
            // mean one thing.
            host.starts_with('/').then_some(host)
        }) {
            return match path {
                "" => refuse("the path of the socket is missing", forms),
                path => Ok(Endpoint::Unix(PathBuf::from(path))),
            };
        }
        if host.starts_with("ssh://") {
            return refuse(
                "ssh:// is not supported yet",
                "forward the socket with `ssh -L /tmp/docker.sock:/var/run/docker.sock` and use unix:///tmp/docker.sock",
            );
        }
        if host.starts_with("https://") {
            return refuse("TLS is not supported yet", forms);
        }
        let Some(address) = host
            .strip_prefix("tcp://")
            .or_else(|| host.strip_prefix("http://"))
        else {
            return refuse("its scheme is not supported", forms);
        };
        if self.tls {
            return refuse(
                "DOCKER_TLS_VERIFY is set, and TLS is not supported yet",
                "unset DOCKER_TLS_VERIFY, or use a unix:// socket",
            );
        }
        match parse_address(address.trim_end_matches('/')) {
            Some((host, port)) => Ok(Endpoint::Tcp { host, port }),
            None => refuse("the address is not host:port", forms),
        }
    }

    /// The host of the active docker context; `None` for the default one.
    fn context_host(&self) -> Result<Option<String>, EngineError> {
        let Some(dir) = self.config_dir.as_deref() else {
            return Ok(None);
        };
        let Some(name) = self
            .docker_context
            .clone()
            .or_else(|| current_context(dir))
            .filter(|name| name != "default")
        else {
            return Ok(None);
        };
        // The docker command names the directory of a context by the digest of its name.
        let digest: String = Sha256::digest(name.as_bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let meta = dir.join("contexts/meta").join(&digest).join("meta.json");
        let broken = |cause: String| {
            EngineError::new(
                ErrorKind::Unreachable,
                format!("cannot read docker context {name:?}: {cause}"),
            )
            .hinted("see `docker context ls`, or set DOCKER_HOST")
        };
        let text = std::fs::read_to_string(&meta)
            .map_err(|error| broken(format!("{}: {error}", meta.display())))?;
        let meta: ContextMeta = serde_json::from_str(&text)
            .map_err(|error| broken(format!("{}: {error}", meta.display())))?;
        let docker = meta.endpoints.docker;
        if dir.join("contexts/tls").join(&digest).exists() && docker.host.starts_with("tcp://") {
            return Err(EngineError::new(
                ErrorKind::Unsupported,
                format!("cannot use docker context {name:?}: TLS is not supported yet"),
            )
            .hinted("set DOCKER_HOST to a unix:// or plain tcp:// address"));
        }
        Ok(Some(docker.host).filter(|host| !host.is_empty()))
    }

    fn usual_sockets(&self) -> Vec<PathBuf> {
        let runtime = self.runtime_dir.as_deref();
        let home = self.home.as_deref();
        [
            Some(PathBuf::from(DEFAULT_SOCKET)),
            runtime.map(|dir| dir.join("docker.sock")),
            home.map(|home| home.join(".docker/run/docker.sock")),
            runtime.map(|dir| dir.join("podman/podman.sock")),
            Some(PathBuf::from("/run/podman/podman.sock")),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// `host:port`, `host`, `[v6]:port` or `[v6]`.
fn parse_address(address: &str) -> Option<(String, u16)> {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, rest.strip_prefix(':'))
        }
        None => match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    let port = match port {
        Some(port) => port.parse().ok()?,
        None => PLAIN_HTTP_PORT,
    };
    let plausible = !host.is_empty() && !host.contains(['/', ' ', '@']);
    plausible.then(|| (host.to_owned(), port))
}

#[derive(Deserialize)]
struct CommandConfig {
    #[serde(rename = "currentContext")]
    current_context: Option<String>,
}

#[derive(Deserialize)]
struct ContextMeta {
    #[serde(rename = "Endpoints")]
    endpoints: ContextEndpoints,
}

#[derive(Deserialize)]
struct ContextEndpoints {
    docker: ContextEndpoint,
}

#[derive(Deserialize)]
struct ContextEndpoint {
    #[serde(rename = "Host", default)]
    host: String,
}

/// A missing or unreadable file means the default context, as it does to the docker command.
fn current_context(dir: &Path) -> Option<String> {
    let text = std::fs::read_to_string(dir.join("config.json")).ok()?;
    let config: CommandConfig = serde_json::from_str(&text).ok()?;
    config.current_context.filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unix(path: impl Into<PathBuf>) -> Endpoint {
        Endpoint::Unix(path.into())
    }

    fn tcp(host: &str, port: u16) -> Endpoint {
        Endpoint::Tcp {
            host: host.to_owned(),
            port,
        }
    }

    fn with_context(name: &str, host: &str) -> (tempfile::TempDir, Surroundings) {
        let dir = tempfile::tempdir().unwrap();
        let digest: String = Sha256::digest(name.as_bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let meta = dir.path().join("contexts/meta").join(digest);
        std::fs::create_dir_all(&meta).unwrap();
        let content = serde_json::json!({
            "Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": false}},
        });
        std::fs::write(meta.join("meta.json"), content.to_string()).unwrap();
        let surroundings = Surroundings {
            config_dir: Some(dir.path().to_owned()),
            ..Surroundings::default()
        };
        (dir, surroundings)
    }

    #[test]
    fn addresses_are_read_as_docker_reads_them() {
        let it = Surroundings::default();
        for (host, expected) in [
            ("unix:///run/d.sock", unix("/run/d.sock")),
            ("/run/d.sock", unix("/run/d.sock")),
            ("tcp://build-7", tcp("build-7", 2375)),
            ("tcp://build-7:4000/", tcp("build-7", 4000)),
            ("http://127.0.0.1:1", tcp("127.0.0.1", 1)),
            ("tcp://[::1]:9", tcp("::1", 9)),
        ] {
            assert_eq!(it.resolve(Some(host)), Ok(expected), "{host}");
        }
        assert_eq!(tcp("::1", 9).to_string(), "tcp://[::1]:9");
        assert_eq!(unix("/run/d.sock").to_string(), "unix:///run/d.sock");
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_name() {
        let it = Surroundings::default();
        for (host, named) in [
            ("ssh://ci@build-7", "ssh://"),
            ("https://build-7", "TLS"),
            ("npipe:////./pipe/docker_engine", "scheme"),
            ("unix://", "path"),
            ("tcp://host:port", "host:port"),
            ("tcp://", "host:port"),
            ("", "scheme"),
        ] {
            let error = it.resolve(Some(host)).unwrap_err();
            assert!(error.message.contains(named), "{host}: {error}");
            assert!(error.hint.is_some(), "{host}");
        }
        let secured = Surroundings {
            tls: true,
            ..Surroundings::default()
        };
        let error = secured.resolve(Some("tcp://build-7:2376")).unwrap_err();
        assert!(error.message.contains("DOCKER_TLS_VERIFY"), "{error}");
        assert!(secured.resolve(Some("unix:///x")).is_ok());
    }

    #[test]
    fn the_configured_host_goes_before_the_environment_and_that_before_the_context() {
        let (_dir, mut it) = with_context("remote", "tcp://remote:1");
        it.docker_context = Some("remote".to_owned());
        assert_eq!(it.resolve(None), Ok(tcp("remote", 1)));
        it.docker_host = Some("tcp://environment:2".to_owned());
        assert_eq!(it.resolve(None), Ok(tcp("environment", 2)));
        assert_eq!(it.resolve(Some("tcp://config:3")), Ok(tcp("config", 3)));
    }

    #[test]
    fn the_context_comes_from_the_environment_or_the_command_s_configuration() {
        let (dir, mut it) = with_context("colima", "unix:///c.sock");
        std::fs::write(
            dir.path().join("config.json"),
            r#"{"currentContext":"colima","auths":{}}"#,
        )
        .unwrap();
        assert_eq!(it.resolve(None), Ok(unix("/c.sock")));
        it.docker_context = Some("default".to_owned());
        assert_ne!(it.resolve(None), Ok(unix("/c.sock")));
        it.docker_context = Some("missing".to_owned());
        let error = it.resolve(None).unwrap_err();
        assert!(error.message.contains("\"missing\""), "{error}");
    }

    #[test]
    fn a_context_with_certificates_is_refused() {
        let (dir, mut it) = with_context("secured", "tcp://remote:2376");
        it.docker_context = Some("secured".to_owned());
        let digest = std::fs::read_dir(dir.path().join("contexts/meta"))
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .file_name();
        std::fs::create_dir_all(dir.path().join("contexts/tls").join(digest)).unwrap();
        let error = it.resolve(None).unwrap_err();
        assert!(error.message.contains("TLS"), "{error}");
    }

    #[test]
    fn without_any_setting_the_usual_sockets_are_tried() {
        let dir = tempfile::tempdir().unwrap();
        let it = Surroundings {
            runtime_dir: Some(dir.path().to_owned()),
            home: Some(dir.path().to_owned()),
            ..Surroundings::default()
        };
        let sockets = it.usual_sockets();
        assert_eq!(sockets[0], Path::new(DEFAULT_SOCKET));
        assert!(sockets.contains(&dir.path().join("docker.sock")));
        assert!(sockets.contains(&dir.path().join("podman/podman.sock")));
        let endpoint = it.resolve(None).unwrap();
        let expected = sockets
            .iter()
            .find(|path| path.exists())
            .unwrap_or(&sockets[0]);
        assert_eq!(endpoint, unix(expected));
    }
}
