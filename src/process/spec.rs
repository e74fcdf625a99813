//! What to start, and the limits that it runs under.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::capture::CaptureLimits;

/// A child to be started.
#[derive(Clone, Debug)]
pub struct Spec {
    pub program: PathBuf,
    pub args: Vec<OsString>,
    /// Added to our own environment; a later entry replaces an earlier one of the same name.
    pub env: Vec<(OsString, OsString)>,
    pub dir: PathBuf,
    /// A file that it reads as its stdin; `None`: it reads nothing.
    pub stdin: Option<PathBuf>,
    /// It is stopped after this time, not counting the time that it was paused.
    pub timeout: Option<Duration>,
    /// [`super::ProcessEvent::Slow`] comes after this time.
    pub slow: Option<Duration>,
    /// Between a signal and the next harder one.
    pub grace: Duration,
    /// After the leader's end, how long its own children may take to close its output before
    /// they count as left behind. `tee` in a process substitution needs a moment.
    pub settle: Duration,
    /// What becomes of processes that left its group.
    pub escaped: Escaped,
    pub capture: CaptureLimits,
    /// Where the complete output goes.
    pub output_file: Option<PathBuf>,
}

/// What becomes of processes that left a child's group and outlive it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escaped {
    /// They are ended with the group.
    End,
    /// They go on until [`super::sweep`]: what is booted has to outlive what boots it.
    Keep,
}

/// The child never ran.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    #[error("cannot start {}: {source}", program.display())]
    Spawn {
        program: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot read {}: {source}", path.display())]
    Stdin {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot make a pipe: {0}")]
    Pipe(std::io::Error),
}
