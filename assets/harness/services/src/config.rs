//! The tenant's environment, read once at start.

use std::fmt;

use crate::bugs::{Bug, Bugs};
use crate::control_plane::{ControlPlane, Identity};
use crate::cors::Cors;
use crate::proxy::{Upstream, UpstreamError};

/// Length of `SECRETS_ENCRYPTION_KEY` in bytes.
const KEY_LENGTH: usize = 32;
/// Requests a minute.
const RATE_LIMIT: u32 = 600;

/// A secret of this tenant. It compares in constant time (see [`crate::auth`]) and does not print itself.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    #[must_use]
    pub fn new(token: String) -> Self {
        Self(token)
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[derive(Debug, Clone)]
pub struct TenantConfig {
    /// `PORT`, 8080 unless set; the tenant listens on all of its container's addresses.
    pub port: u16,
    /// `DATABASE_URL`, `postgres://…`
    pub database_url: String,
    /// `REDIS_URL`, `redis://…`
    pub redis_url: String,
    /// `MOLECULE_ORG_ID`; the guard is active only with it.
    pub org_id: Option<String>,
    /// `ADMIN_TOKEN`
    pub admin_token: Option<Token>,
    /// `MOLECULE_ENV`
    pub environment: Environment,
    /// `CP_UPSTREAM_URL`; `/cp/*` is mounted only with it.
    pub cp_upstream: Option<Upstream>,
    /// `CANVAS_PROXY_URL`; what no route claims is forwarded there.
    pub canvas_upstream: Option<Upstream>,
    /// `RATE_LIMIT`, requests a minute for each peer, 600 unless set.
    pub rate_limit: u32,
    /// `CORS_ORIGINS`, between commas; none unless set.
    pub cors: Cors,
    /// `CP_PROVISION_URL`, else `MOLECULE_CP_URL`, else production's: never `CP_UPSTREAM_URL`, which is for browsers.
    pub control_plane: ControlPlane,
    pub bugs: Bugs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    Production,
    /// Admin routes are open while `ADMIN_TOKEN` is empty.
    Development,
    Other,
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{0} is not set")]
    Missing(&'static str),
    #[error("PORT is not a port number: {0:?}")]
    Port(String),
    #[error(
        "MOLECULE_ENV=production needs a SECRETS_ENCRYPTION_KEY of {KEY_LENGTH} bytes, it has {0}"
    )]
    EncryptionKey(usize),
    #[error("RATE_LIMIT is not a number of requests: {0:?}")]
    RateLimit(String),
    #[error("CORS_ORIGINS: {0:?} is not an origin such as http://localhost:3000")]
    Origin(String),
    #[error("{name}: {error}")]
    Upstream {
        name: &'static str,
        error: UpstreamError,
    },
}

impl TenantConfig {
    /// Reads the configuration through `lookup` (a variable's name to its value). Blank values count as unset.
    ///
    /// # Errors
    /// Whatever would make the tenant run unlike production without anybody noticing: it must not boot then.
    pub fn read(lookup: impl Fn(&str) -> Option<String>, bugs: Bugs) -> Result<Self, ConfigError> {
        let get = |name: &str| {
            lookup(name)
                .map(|value| value.trim().to_owned())
                .filter(|value| !value.is_empty())
        };
        let require = |name: &'static str| get(name).ok_or(ConfigError::Missing(name));
        let upstream = |name: &'static str| {
            get(name)
                .map(|url| Upstream::parse(&url))
                .transpose()
                .map_err(|error| ConfigError::Upstream { name, error })
        };

        let environment = match get("MOLECULE_ENV").as_deref() {
            Some("production") => Environment::Production,
            Some("development" | "dev") => Environment::Development,
            _ => Environment::Other,
        };
        let key_length = get("SECRETS_ENCRYPTION_KEY").map_or(0, |key| key.len());
        if environment == Environment::Production
            && key_length != KEY_LENGTH
            && !bugs.has(Bug::EncryptionKeyMissing)
        {
            return Err(ConfigError::EncryptionKey(key_length));
        }
        let port = match get("PORT") {
            None => 8080,
            Some(text) => text.parse().map_err(|_| ConfigError::Port(text))?,
        };
        let rate_limit = match get("RATE_LIMIT") {
            None => RATE_LIMIT,
            Some(text) => text.parse().map_err(|_| ConfigError::RateLimit(text))?,
        };
        let org_id = get("MOLECULE_ORG_ID");
        let admin_token = get("ADMIN_TOKEN").map(Token::new);
        let identity = Identity {
            org_id: org_id.clone(),
            slug: get("MOLECULE_ORG_SLUG"),
            shared_secret: get("MOLECULE_CP_SHARED_SECRET")
                .or_else(|| get("PROVISION_SHARED_SECRET"))
                .map(Token::new),
            admin_token: admin_token.clone(),
            platform_url: get("PLATFORM_URL").unwrap_or_else(|| format!("http://localhost:{port}")),
        };
        let control_plane = match upstream("CP_PROVISION_URL")? {
            None => upstream("MOLECULE_CP_URL")?,
            configured => configured,
        };
        Ok(Self {
            port,
            database_url: require("DATABASE_URL")?,
            redis_url: require("REDIS_URL")?,
            org_id,
            admin_token,
            environment,
            cp_upstream: upstream("CP_UPSTREAM_URL")?,
            canvas_upstream: upstream("CANVAS_PROXY_URL")?,
            rate_limit,
            cors: Cors::parse(&get("CORS_ORIGINS").unwrap_or_default())
                .map_err(ConfigError::Origin)?,
            control_plane: ControlPlane::new(control_plane, identity, bugs.clone()),
            bugs,
        })
    }

    /// Whether a control plane keeps configuration for this tenant: it is hosted, and knows where to ask.
    #[must_use]
    pub fn is_hosted(&self) -> bool {
        self.org_id.is_some() && self.admin_token.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: [(&str, &str); 2] =
        [("DATABASE_URL", "postgres://p"), ("REDIS_URL", "redis://r")];

    fn read(extra: &[(&str, &str)]) -> Result<TenantConfig, ConfigError> {
        let all = [&MINIMAL, extra].concat();
        let lookup = |name: &str| {
            all.iter()
                .rev()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        TenantConfig::read(lookup, Bugs::default())
    }

    #[test]
    fn blank_means_unset() {
        let config = read(&[
            ("MOLECULE_ORG_ID", "  "),
            ("ADMIN_TOKEN", ""),
            ("CP_UPSTREAM_URL", ""),
        ])
        .unwrap();
        assert!(
            config.org_id.is_none() && config.admin_token.is_none() && config.cp_upstream.is_none()
        );
        assert_eq!((config.port, config.rate_limit), (8080, 600));
    }

    #[test]
    fn production_needs_its_key() {
        let key = "k".repeat(KEY_LENGTH);
        assert!(
            read(&[
                ("MOLECULE_ENV", "production"),
                ("SECRETS_ENCRYPTION_KEY", &key)
            ])
            .is_ok()
        );
        for wrong in ["", "short"] {
            let error = read(&[
                ("MOLECULE_ENV", "production"),
                ("SECRETS_ENCRYPTION_KEY", wrong),
            ])
            .unwrap_err();
            assert!(
                matches!(error, ConfigError::EncryptionKey(n) if n == wrong.len()),
                "{error}"
            );
        }
    }

    #[test]
    fn what_is_wrong_stops_the_boot() {
        assert!(matches!(
            read(&[("DATABASE_URL", "")]),
            Err(ConfigError::Missing("DATABASE_URL"))
        ));
        assert!(matches!(
            read(&[("PORT", "http")]),
            Err(ConfigError::Port(_))
        ));
        assert!(matches!(
            read(&[("CP_UPSTREAM_URL", "ftp://cp")]),
            Err(ConfigError::Upstream {
                name: "CP_UPSTREAM_URL",
                ..
            })
        ));
        assert!(matches!(
            read(&[("CANVAS_PROXY_URL", "https://canvas")]),
            Err(ConfigError::Upstream {
                name: "CANVAS_PROXY_URL",
                ..
            })
        ));
        assert!(matches!(
            read(&[("RATE_LIMIT", "-1")]),
            Err(ConfigError::RateLimit(_))
        ));
        assert!(matches!(
            read(&[("CORS_ORIGINS", "http://localhost:3000, *")]),
            Err(ConfigError::Origin(origin)) if origin == "*"
        ));
    }

    #[test]
    fn the_admin_token_does_not_print_itself() {
        let config = read(&[("ADMIN_TOKEN", "s3cret")]).unwrap();
        assert!(!format!("{config:?}").contains("s3cret"));
    }
}
