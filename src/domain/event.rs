//! What the engine says happened.

use jiff::Timestamp;

use super::id::ContainerId;
use super::label::Labels;

/// One event about a container. Events about other objects are not asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineEvent {
    /// The engine's clock.
    pub at: Timestamp,
    pub container: ContainerId,
    pub name: String,
    pub labels: Labels,
    pub action: Action,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Created,
    Started,
    /// The main process ended. The engine always reports its code here.
    Died {
        exit_code: Option<i64>,
    },
    /// Its main process was sent a signal, by number; `Died` comes as well where it ended by that.
    Signalled {
        signal: Option<i64>,
    },
    /// Stopped on request; `Died` comes as well, in no fixed order.
    Stopped,
    /// Stopped and started again on request; `Died` and `Started` come as well.
    Restarted,
    OutOfMemory,
    Health(String),
    Paused,
    Unpaused,
    Renamed,
    Destroyed,
    /// Something else that may change a row.
    Other(String),
}
