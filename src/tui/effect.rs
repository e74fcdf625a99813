//! What the dashboard wants done. It is data, so tests can look at it.

use std::collections::BTreeSet;

use crate::domain::id::ContainerId;
use crate::domain::line::SourceId;
use crate::domain::plan::Fingerprint;
use crate::domain::replay::ReplayName;
use crate::domain::scope::StackName;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Follow the logs of these, and of no others.
    SelectLogs(BTreeSet<SourceId>),
    /// Sample the statistics of these, and of no others.
    WatchStats(BTreeSet<ContainerId>),
    Start(Job),
    /// Ask what is running to end in order.
    Cancel,
    /// The system asks what is running to end: in order, and quicker each further time.
    Hurry,
    /// End it at once.
    Kill,
    PlanTeardown(StackName),
    /// Only what the dialog showed: the plan must still have this fingerprint.
    Teardown {
        stack: StackName,
        fingerprint: Fingerprint,
    },
    /// Look for replays again.
    Discover,
    /// Put text on the clipboard.
    Copy(String),
    SetMouse(bool),
    Suspend,
    /// Draw everything anew.
    Redraw,
    /// Send [`super::msg::Msg::Work`] after what waits already.
    Work,
    Quit,
}

/// What can be run. Each boots the harness if it needs it, and leaves it up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// Up, ready, seed.
    Up,
    Seed,
    Run(Vec<ReplayName>),
}
