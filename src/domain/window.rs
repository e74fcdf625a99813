//! What containers wrote while a replay ran.

use std::collections::BTreeMap;
use std::time::Duration;

use super::replay::ReplayName;

/// By replay, of the attempt that counts: each container that wrote anything, by name.
pub type Windows = BTreeMap<ReplayName, Vec<LogTail>>;

/// The last that one container wrote in the time of a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogTail {
    pub container: String,
    /// Raw bytes, each with the time since the replay began. An overlong line is cut.
    pub lines: Vec<(Duration, Vec<u8>)>,
    /// How many it wrote before those in that time.
    pub before: u64,
}
