//! The galaxy stacks: a backend that spawns game engines through the Docker socket, and what it needs around it.
//!
//! Engines are no children of whoever started the backend: only their labels find them. That is what makes these
//! stacks the test bed for a teardown by labels.
//!
//! | module | holds |
//! | --- | --- |
//! | `config` | the backend's environment, read once |
//! | `backend`, `api`, `push` | the boot, the HTTP API on one port, server-sent events on the other |
//! | `lobby` | games: create, finish, cancel |
//! | `runtime`, `docker` | engines as containers, and the client for the engine's API |
//! | `reconciler` | cancels games whose engine disappeared |
//! | `store` | PostgreSQL |
//! | `mail`, `workers` | SMTP, and the loops that route notifications and deliver mail |
//! | `geoip`, `mmdb` | looking addresses up, and making the fixture that they are looked up in |
//! | `engine`, `smtp_sink`, `state_roots` | the other subcommands |

use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::path::PathBuf;

pub mod api;
pub mod backend;
pub mod config;
pub mod docker;
pub mod duration;
pub mod engine;
pub mod geoip;
pub mod labels;
pub mod lobby;
pub mod mail;
pub mod mmdb;
pub mod push;
pub mod reconciler;
pub mod runtime;
pub mod smtp_sink;
pub mod state_roots;
pub mod store;
pub mod workers;

use labels::Labels;

pub const USAGE: &str = "\
       harness-services galaxy backend
       harness-services galaxy engine
       harness-services galaxy smtp-sink
       harness-services galaxy geoip-fixture FILE
       harness-services galaxy remove-state-roots LABELS [DIRECTORY…]
";

type Failure = Box<dyn std::error::Error>;

#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    Backend,
    Engine,
    SmtpSink,
    GeoipFixture(PathBuf),
    RemoveStateRoots { labels: Labels, named: Vec<PathBuf> },
}

impl Command {
    /// Reads what follows `galaxy` on the command line.
    ///
    /// # Errors
    /// Words that are no subcommand, or labels that would match everything.
    pub fn parse(words: &[&str]) -> Result<Self, String> {
        match words {
            ["backend"] => Ok(Self::Backend),
            ["engine"] => Ok(Self::Engine),
            ["smtp-sink"] => Ok(Self::SmtpSink),
            ["geoip-fixture", file] => Ok(Self::GeoipFixture(file.into())),
            ["remove-state-roots", labels, named @ ..] => {
                let labels: Labels = labels.parse().map_err(|error| format!("{error}"))?;
                if labels.is_empty() {
                    return Err("no labels would match every stack".to_owned());
                }
                let named = named.iter().map(PathBuf::from).collect();
                Ok(Self::RemoveStateRoots { labels, named })
            }
            other => Err(format!("unknown command: galaxy {}", other.join(" "))),
        }
    }
}

/// Runs a subcommand until it is done or told to stop. `variable` looks the environment up.
///
/// # Errors
/// Whatever stops the boot, or breaks the service.
pub async fn run(
    command: Command,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(), Failure> {
    match command {
        Command::Backend => {
            let config = config::BackendConfig::read(variable)?;
            log_to_stdout(config.level);
            Ok(backend::run(config).await?)
        }
        Command::Engine => {
            let config = engine::EngineConfig::read(variable)?;
            log_to_stdout(tracing::Level::INFO);
            Ok(engine::run(config).await?)
        }
        Command::SmtpSink => {
            log_to_stdout(tracing::Level::INFO);
            Ok(smtp_sink::run(Ipv4Addr::UNSPECIFIED).await?)
        }
        Command::GeoipFixture(file) => Ok(std::fs::write(file, geoip::fixture()?)?),
        Command::RemoveStateRoots { labels, named } => {
            for path in state_roots::remove(state_roots::PARENT.as_ref(), &labels, &named)? {
                writeln!(io::stdout(), "state root {}", path.display())?;
            }
            Ok(())
        }
    }
}

fn log_to_stdout(level: tracing::Level) {
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_target(false)
        .with_max_level(level)
        .init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_roots_are_removed_by_labels_only() {
        assert!(Command::parse(&["remove-state-roots"]).is_err());
        assert!(Command::parse(&["remove-state-roots", ""]).is_err());
        assert!(Command::parse(&["remove-state-roots", "galaxy.stack"]).is_err());
        assert_eq!(
            Command::parse(&["remove-state-roots", "a=1,b=2", "/tmp/x"]),
            Ok(Command::RemoveStateRoots {
                labels: "a=1,b=2".parse().unwrap(),
                named: vec!["/tmp/x".into()],
            })
        );
    }

    #[test]
    fn an_unknown_subcommand_is_named() {
        let error = Command::parse(&["fleet", "up"]).unwrap_err();
        assert!(error.ends_with("galaxy fleet up"), "{error}");
    }
}
