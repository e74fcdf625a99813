//! What a run keeps of the engine: its events, the containers of the family, and their logs.
//!
//! ```text
//! engine/events.jsonl         one event a line, and when the engine was lost and came back
//! engine/containers.jsonl     one line each time a container was seen or had changed
//! engine/logs/NAME-ID12.log   a container's log in the CRI format (kubelet's)
//! engine/logs/….log.1, .2     its end, where it is longer than what is kept; .2 is the newer part
//! ```
//!
//! All times in it are the engine's clock. The first line of each `.jsonl` names the version;
//! fields, events and whole files may be added within it, and readers skip what they do not know.
//! Each file is appended to, so that a run that is killed leaves all that had happened.

mod cri;
mod mask;
mod read;
mod recorded;
mod shape;
#[cfg(test)]
mod tests;
mod write;

use std::path::PathBuf;

use jiff::Timestamp;

pub use cri::{Lines as LogLines, log_gap, log_lines, log_lines_since};
pub use mask::masked;
pub use read::{container_changes, containers, engine_events, outages};
pub use recorded::{RecordedEngine, scope_of};
pub use write::{EngineLog, LogFile};

use crate::domain::id::ContainerId;
use crate::engine::Inspect;

/// The version of the files in `engine/`.
const VERSION: u32 = 1;
const DIRECTORY: &str = "engine";
const EVENTS: &str = "events.jsonl";
const CONTAINERS: &str = "containers.jsonl";
const LOGS: &str = "logs";
const LOST: &str = "lost";
const BACK: &str = "back";

/// A container as the end of the run has left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedContainer {
    /// The last that was seen; secrets are masked.
    pub inspect: Inspect,
    pub first_seen: Timestamp,
    /// `None`: it was there when the recording ended.
    pub removed: Option<Timestamp>,
    /// `None`: it has written nothing, or could not be read.
    pub log: Option<RecordedLog>,
    /// Bytes of its log over the cap, or over what the disk had room for. Where there are several
    /// files they are missing behind the first of them, otherwise at the end.
    pub cut: u64,
    /// Why its log is not whole, in the words of a message.
    pub trouble: Option<String>,
}

/// The files of a container's log in the order of time: its beginning, then its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedLog(Vec<PathBuf>);

impl From<PathBuf> for RecordedLog {
    fn from(file: PathBuf) -> Self {
        Self(vec![file])
    }
}

/// A time in which the engine could not be reached, and nothing of it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// By the engine's clock, as far as it was known.
    pub from: Timestamp,
    /// `None`: to the end of the recording.
    pub to: Option<Timestamp>,
    /// In the words of a message.
    pub cause: String,
}

/// A container at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerChange {
    pub at: Timestamp,
    pub id: ContainerId,
    pub what: Seen,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// For the first time: made just now, or there before.
    Created(Box<Inspect>),
    Changed(Box<Inspect>),
    Removed,
    /// What is to be known of its log when that was closed, or was found not to be whole.
    Log(LogState),
}

/// What is to be known of a container's log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogState {
    /// Its name in `engine/logs`.
    pub file: Option<String>,
    pub cut: u64,
    pub trouble: Option<String>,
}
