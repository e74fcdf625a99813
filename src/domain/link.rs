//! The connection to the engine. An outage is a state, never an empty list.

use std::time::Duration;

use jiff::Timestamp;

/// What the engine says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineInfo {
    /// `docker` or `podman`.
    pub product: String,
    pub version: String,
    pub api_version: String,
    /// Where it is reached, such as `unix:///var/run/docker.sock`.
    pub endpoint: String,
}

/// The machine that an engine runs on, as the engine says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineHost {
    /// Empty where it does not say, as everything here.
    pub name: String,
    pub os: String,
    pub arch: String,
    /// Its clock at some time between the request and the answer.
    pub now: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// Nothing was answered yet.
    Connecting,
    Up(EngineInfo),
    Lost {
        since: Timestamp,
        /// One line: what failed and what to do about it.
        cause: String,
        retry_in: Duration,
    },
}
