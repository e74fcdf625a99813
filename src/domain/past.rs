//! What earlier runs say of a replay.

use std::collections::BTreeMap;
use std::time::Duration;

use super::replay::ReplayName;

/// By replay.
pub type History = BTreeMap<ReplayName, Past>;

/// What earlier runs say of one replay. A replay that no kept run had selected has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// Whether its last end was ok, in the last run that had selected it; `None` where that run
    /// did not get to it.
    pub last_ok: Option<bool>,
    /// Of its passed ends.
    pub median: Option<Duration>,
}
