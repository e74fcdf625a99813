//! Log lines and what may stand between them.

use std::sync::Arc;

use jiff::Timestamp;

/// Which of its two outputs a container wrote to. A TTY has only the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    Out,
    Err,
}

/// A frame of a log stream as the engine sends it, without its timestamp prefix.
///
/// A line over 16 KiB comes in several parts that carry the same timestamp; only the last part
/// ends with a newline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub at: Timestamp,
    pub channel: Channel,
    pub bytes: Vec<u8>,
}

/// One whole line, as raw bytes without the newline.
///
/// Nothing in it is safe to show: it is decoded and sanitised where it is drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The engine's clock, to the nanosecond.
    pub at: Timestamp,
    pub channel: Channel,
    pub bytes: Arc<[u8]>,
}

/// Names one source of lines across re-creations: a container's name is reused, its id is not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub Arc<str>);

/// What happened to a source between two of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The container ended; `None` where the engine no longer knows the code.
    Exited { code: Option<i64>, oom: bool },
    /// The same container runs again.
    Restarted,
    /// Another container runs under the same name.
    Recreated,
    /// The container is gone from the engine.
    Removed,
    /// The stream broke; reading goes on when the engine answers again.
    Interrupted { cause: String },
    /// Reading goes on after an interruption.
    Resumed,
    /// The log cannot be read at all, for instance because of its logging driver.
    Unreadable { cause: String },
}
