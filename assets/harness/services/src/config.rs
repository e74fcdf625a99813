//! The tenant's environment, read once at start.

use std::fmt;

use crate::bugs::{self, Bugs, UnknownBug};
use crate::cp_proxy::{Upstream, UpstreamError};

/// Length of `SECRETS_ENCRYPTION_KEY` in bytes.
const KEY_LENGTH: usize = 32;

/// The admin's bearer token. It compares in constant time (see [`crate::auth`]) and does not print itself.
#[derive(Clone)]
pub struct AdminToken(String);

impl AdminToken {
    #[must_use]
    pub fn new(token: String) -> Self {
        Self(token)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(…)")
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
    pub admin_token: Option<AdminToken>,
    /// `MOLECULE_ENV` is `development` or `dev`: admin routes are open while `ADMIN_TOKEN` is empty.
    pub development: bool,
    /// `CP_UPSTREAM_URL`; `/cp/*` is mounted only with it.
    pub cp_upstream: Option<Upstream>,
    /// `HARNESS_BUG`
    pub bugs: Bugs,
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
    #[error("CP_UPSTREAM_URL: {0}")]
    Upstream(#[from] UpstreamError),
    #[error(transparent)]
    Bug(#[from] UnknownBug),
}

impl TenantConfig {
    /// Reads the configuration through `lookup` (a variable's name to its value). Blank values count as unset.
    ///
    /// # Errors
    /// Whatever would make the tenant run unlike production without anybody noticing: it must not boot then.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let get = |name: &str| {
            lookup(name)
                .map(|value| value.trim().to_owned())
                .filter(|value| !value.is_empty())
        };
        let require = |name: &'static str| get(name).ok_or(ConfigError::Missing(name));

        let environment = get("MOLECULE_ENV").unwrap_or_default();
        let key_length = get("SECRETS_ENCRYPTION_KEY").map_or(0, |key| key.len());
        if environment == "production" && key_length != KEY_LENGTH {
            return Err(ConfigError::EncryptionKey(key_length));
        }
        let port = match get("PORT") {
            None => 8080,
            Some(text) => text.parse().map_err(|_| ConfigError::Port(text))?,
        };
        Ok(Self {
            port,
            database_url: require("DATABASE_URL")?,
            redis_url: require("REDIS_URL")?,
            org_id: get("MOLECULE_ORG_ID"),
            admin_token: get("ADMIN_TOKEN").map(AdminToken::new),
            development: matches!(environment.as_str(), "development" | "dev"),
            cp_upstream: get("CP_UPSTREAM_URL")
                .map(|url| Upstream::parse(&url))
                .transpose()?,
            bugs: Bugs::parse(&get(bugs::VARIABLE).unwrap_or_default())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: [(&str, &str); 2] =
        [("DATABASE_URL", "postgres://p"), ("REDIS_URL", "redis://r")];

    fn read(extra: &[(&str, &str)]) -> Result<TenantConfig, ConfigError> {
        let all = [&MINIMAL, extra].concat();
        TenantConfig::read(|name| {
            all.iter()
                .rev()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
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
        assert_eq!(config.port, 8080);
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
            Err(ConfigError::Upstream(_))
        ));
        assert!(matches!(
            read(&[("HARNESS_BUG", "typo")]),
            Err(ConfigError::Bug(_))
        ));
    }

    #[test]
    fn the_admin_token_does_not_print_itself() {
        let config = read(&[("ADMIN_TOKEN", "s3cret")]).unwrap();
        assert!(!format!("{config:?}").contains("s3cret"));
    }
}
