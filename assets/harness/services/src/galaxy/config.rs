//! The backend's environment, read once at start.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tracing::Level;

use super::duration::{self, NotADuration};
use super::labels::{Labels, NotALabel};
use super::mail::{Address, NotAnAddress, Smtp};

/// The first admin, made at boot unless there is one of that name.
#[derive(Clone)]
pub struct BootstrapAdmin {
    pub name: String,
    pub password: String,
}

impl fmt::Debug for BootstrapAdmin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BootstrapAdmin({})", self.name)
    }
}

/// How many challenges one address may ask for.
#[derive(Debug, Clone, Copy)]
pub struct Throttle {
    pub max: u32,
    pub window: Duration,
}

#[derive(Debug, Clone)]
pub struct BackendConfig {
    /// `BACKEND_HTTP_LISTEN_ADDR`, `:8080` unless set
    pub http_port: u16,
    /// `BACKEND_GRPC_PUSH_LISTEN_ADDR`, `:8081` unless set
    pub push_port: u16,
    /// `BACKEND_LOGGING_LEVEL`
    pub level: Level,
    /// `BACKEND_POSTGRES_DSN`
    pub postgres_dsn: String,
    /// `BACKEND_SMTP_HOST`, `_PORT`, `_FROM`
    pub smtp: Smtp,
    /// `BACKEND_DOCKER_NETWORK`: where the engines are, and the backend itself
    pub network: String,
    /// `BACKEND_GAME_STATE_ROOT`: the same path for the engine's host and inside this container
    pub state_root: PathBuf,
    /// `BACKEND_ADMIN_BOOTSTRAP_USER`, `_PASSWORD`
    pub admin: BootstrapAdmin,
    /// `BACKEND_GEOIP_DB_PATH`
    pub geoip: PathBuf,
    /// `BACKEND_NOTIFICATION_ADMIN_EMAIL`
    pub admin_email: Address,
    /// `BACKEND_AUTH_CHALLENGE_THROTTLE_MAX`, `_WINDOW`
    pub throttle: Throttle,
    /// `BACKEND_MAIL_WORKER_INTERVAL`
    pub mail_interval: Duration,
    /// `BACKEND_NOTIFICATION_WORKER_INTERVAL`
    pub notification_interval: Duration,
    /// `BACKEND_RUNTIME_RECONCILE_INTERVAL`
    pub reconcile_interval: Duration,
    /// `BACKEND_STACK_LABEL`; engines carry no stack label without it
    pub stack: Option<String>,
    /// `BACKEND_ENGINE_LABELS`: more labels for the engines
    pub engine_labels: Labels,
    /// `BACKEND_ENGINE_IMAGE`
    pub engine_image: String,
    /// `BACKEND_DEV_SANDBOX_NAME`: a game of this name is made at boot unless one is live
    pub sandbox: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{0} is not set")]
    Missing(&'static str),
    #[error("{0} is not a number that fits: {1:?}")]
    Number(&'static str, String),
    #[error("{0} is not a port of all addresses (:8080): {1:?}")]
    Listen(&'static str, String),
    #[error("{0}={1} is not supported: only {2}")]
    Unsupported(&'static str, String, &'static str),
    #[error("{0}: {1}")]
    Duration(&'static str, NotADuration),
    #[error("{0}: {1}")]
    Address(&'static str, NotAnAddress),
    #[error("BACKEND_GAME_STATE_ROOT must be an absolute path: {0:?}")]
    StateRoot(String),
    #[error("BACKEND_ENGINE_LABELS: {0}")]
    Labels(#[from] NotALabel),
}

impl BackendConfig {
    /// Reads the configuration through `lookup` (a variable's name to its value). Blank values count as unset.
    ///
    /// # Errors
    /// What is missing, malformed, or asks for something that this backend cannot do.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let env = Environment(|name: &str| {
            lookup(name)
                .map(|value| value.trim().to_owned())
                .filter(|value| !value.is_empty())
        });
        env.only("BACKEND_SMTP_TLS_MODE", "none")?;
        env.only("BACKEND_OTEL_TRACES_EXPORTER", "none")?;
        env.only("BACKEND_OTEL_METRICS_EXPORTER", "none")?;
        let state_root = env.require("BACKEND_GAME_STATE_ROOT")?;
        if !state_root.starts_with('/') {
            return Err(ConfigError::StateRoot(state_root));
        }
        Ok(Self {
            http_port: env.listen("BACKEND_HTTP_LISTEN_ADDR", 8080)?,
            push_port: env.listen("BACKEND_GRPC_PUSH_LISTEN_ADDR", 8081)?,
            level: env.level()?,
            postgres_dsn: env.require("BACKEND_POSTGRES_DSN")?,
            smtp: Smtp {
                host: env.require("BACKEND_SMTP_HOST")?,
                port: env.number("BACKEND_SMTP_PORT", 25)?,
                from: env.address("BACKEND_SMTP_FROM")?,
            },
            network: env.require("BACKEND_DOCKER_NETWORK")?,
            state_root: state_root.into(),
            admin: BootstrapAdmin {
                name: env.require("BACKEND_ADMIN_BOOTSTRAP_USER")?,
                password: env.require("BACKEND_ADMIN_BOOTSTRAP_PASSWORD")?,
            },
            geoip: env.require("BACKEND_GEOIP_DB_PATH")?.into(),
            admin_email: env.address("BACKEND_NOTIFICATION_ADMIN_EMAIL")?,
            throttle: Throttle {
                max: env.number("BACKEND_AUTH_CHALLENGE_THROTTLE_MAX", 5)?,
                window: env.duration("BACKEND_AUTH_CHALLENGE_THROTTLE_WINDOW", "10m")?,
            },
            mail_interval: env.duration("BACKEND_MAIL_WORKER_INTERVAL", "5s")?,
            notification_interval: env.duration("BACKEND_NOTIFICATION_WORKER_INTERVAL", "5s")?,
            reconcile_interval: env.duration("BACKEND_RUNTIME_RECONCILE_INTERVAL", "30s")?,
            stack: env.get("BACKEND_STACK_LABEL"),
            engine_labels: env
                .get("BACKEND_ENGINE_LABELS")
                .unwrap_or_default()
                .parse()?,
            engine_image: env.require("BACKEND_ENGINE_IMAGE")?,
            sandbox: env.get("BACKEND_DEV_SANDBOX_NAME"),
        })
    }
}

struct Environment<F>(F);

impl<F: Fn(&str) -> Option<String>> Environment<F> {
    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name)
    }

    fn require(&self, name: &'static str) -> Result<String, ConfigError> {
        self.get(name).ok_or(ConfigError::Missing(name))
    }

    /// A setting of the real backend that has one value here; another one would be silently ignored.
    fn only(&self, name: &'static str, supported: &'static str) -> Result<(), ConfigError> {
        match self.get(name) {
            Some(value) if value != supported => {
                Err(ConfigError::Unsupported(name, value, supported))
            }
            _ => Ok(()),
        }
    }

    fn listen(&self, name: &'static str, default: u16) -> Result<u16, ConfigError> {
        let Some(text) = self.get(name) else {
            return Ok(default);
        };
        text.strip_prefix("0.0.0.0:")
            .or_else(|| text.strip_prefix(':'))
            .and_then(|port| port.parse().ok())
            .ok_or(ConfigError::Listen(name, text))
    }

    fn number<T: std::str::FromStr>(
        &self,
        name: &'static str,
        default: T,
    ) -> Result<T, ConfigError> {
        match self.get(name) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| ConfigError::Number(name, text)),
        }
    }

    fn duration(&self, name: &'static str, default: &str) -> Result<Duration, ConfigError> {
        let text = self.get(name).unwrap_or_else(|| default.to_owned());
        duration::parse(&text).map_err(|error| ConfigError::Duration(name, error))
    }

    fn address(&self, name: &'static str) -> Result<Address, ConfigError> {
        self.require(name)?
            .parse()
            .map_err(|error| ConfigError::Address(name, error))
    }

    fn level(&self) -> Result<Level, ConfigError> {
        const NAME: &str = "BACKEND_LOGGING_LEVEL";
        match self.get(NAME) {
            None => Ok(Level::INFO),
            Some(text) => text.parse().map_err(|_| {
                ConfigError::Unsupported(NAME, text, "error, warn, info, debug and trace")
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: [(&str, &str); 19] = [
        ("BACKEND_HTTP_LISTEN_ADDR", ":8080"),
        ("BACKEND_GRPC_PUSH_LISTEN_ADDR", ":8081"),
        ("BACKEND_LOGGING_LEVEL", "info"),
        ("BACKEND_POSTGRES_DSN", "postgres://galaxy@postgres/galaxy"),
        ("BACKEND_SMTP_HOST", "smtp"),
        ("BACKEND_SMTP_PORT", "1025"),
        ("BACKEND_SMTP_FROM", "galaxy-backend@galaxy.test"),
        ("BACKEND_SMTP_TLS_MODE", "none"),
        ("BACKEND_DOCKER_NETWORK", "net"),
        ("BACKEND_GAME_STATE_ROOT", "/tmp/galaxy-state-x"),
        ("BACKEND_ADMIN_BOOTSTRAP_USER", "bootstrap"),
        ("BACKEND_ADMIN_BOOTSTRAP_PASSWORD", "bootstrap-secret"),
        ("BACKEND_GEOIP_DB_PATH", "/var/lib/galaxy/geoip.mmdb"),
        ("BACKEND_NOTIFICATION_ADMIN_EMAIL", "admin@galaxy.test"),
        ("BACKEND_AUTH_CHALLENGE_THROTTLE_MAX", "100"),
        ("BACKEND_MAIL_WORKER_INTERVAL", "500ms"),
        ("BACKEND_NOTIFICATION_WORKER_INTERVAL", "500ms"),
        ("BACKEND_STACK_LABEL", "integration"),
        ("BACKEND_ENGINE_IMAGE", "galaxy/engine"),
    ];

    fn read(extra: &[(&str, &str)]) -> Result<BackendConfig, ConfigError> {
        let all = [&SEED, extra].concat();
        BackendConfig::read(|name| {
            all.iter()
                .rev()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_settings_of_the_test_environment_are_read() {
        let config = read(&[]).unwrap();
        assert_eq!((config.http_port, config.push_port), (8080, 8081));
        assert_eq!(config.throttle.max, 100);
        assert_eq!(config.mail_interval, Duration::from_millis(500));
        assert_eq!(config.stack.as_deref(), Some("integration"));
        assert_eq!(config.sandbox, None);
    }

    #[test]
    fn an_override_wins_and_a_blank_one_unsets() {
        let config = read(&[
            ("BACKEND_AUTH_CHALLENGE_THROTTLE_MAX", "2"),
            ("BACKEND_STACK_LABEL", " "),
            ("BACKEND_ENGINE_LABELS", "galaxy.checkout=0123abcd"),
        ])
        .unwrap();
        assert_eq!(config.throttle.max, 2);
        assert_eq!(config.stack, None);
        assert_eq!(config.engine_labels.to_string(), "galaxy.checkout=0123abcd");
    }

    #[test]
    fn what_is_wrong_stops_the_boot() {
        let cases = [
            ("BACKEND_POSTGRES_DSN", ""),
            ("BACKEND_HTTP_LISTEN_ADDR", "8080"),
            ("BACKEND_HTTP_LISTEN_ADDR", "127.0.0.1:8080"),
            ("BACKEND_SMTP_TLS_MODE", "starttls"),
            ("BACKEND_OTEL_TRACES_EXPORTER", "otlp"),
            ("BACKEND_MAIL_WORKER_INTERVAL", "0s"),
            ("BACKEND_GAME_STATE_ROOT", "tmp/x"),
            ("BACKEND_SMTP_FROM", "nobody"),
            ("BACKEND_ENGINE_LABELS", "galaxy.checkout"),
            ("BACKEND_LOGGING_LEVEL", "chatty"),
        ];
        for (name, value) in cases {
            let error = read(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(name), "{name}={value}: {error}");
        }
    }

    #[test]
    fn the_password_does_not_print_itself() {
        assert!(!format!("{:?}", read(&[]).unwrap()).contains("bootstrap-secret"));
    }
}
