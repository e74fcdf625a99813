//! What the dashboard wants done. It is data, so tests can look at it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::state::recorded::Piece as OutputPiece;
use crate::domain::id::{ContainerId, RunId};
use crate::domain::line::SourceId;
use crate::domain::plan::Fingerprint;
use crate::domain::replay::ReplayName;
use crate::domain::scope::StackName;
use crate::logs::Piece;
use crate::logs::extract::Extract;
use crate::logs::index::ScanJob;
use crate::replay::Policy;

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
    /// Read what the kept runs say of the replays.
    ReadHistory,
    /// Put text on the clipboard.
    Copy(String),
    /// Put text into the file that stands in for the clipboard.
    Keep(String),
    /// Write lines down.
    Take(Box<Extract>, Target),
    /// Show a file to the user by `$PAGER`, and remove it then.
    OpenPager(PathBuf),
    SetMouse(bool),
    Suspend,
    /// Draw everything anew.
    Redraw,
    /// Look through what is held for what is sought in a pane.
    Scan(ScanJob),
    /// Read a piece of a log that is not held.
    Page(PageRequest),
    /// Stop reading it.
    StopPage(u64),
    /// Read the timeline of a replay's last attempt that did not pass, or of its last one.
    ReadIncident {
        ticket: u64,
        /// The newest kept run that had it where nothing is said.
        run: Option<RunId>,
        replay: ReplayName,
    },
    /// Nobody waits for it any more.
    StopIncident,
    /// Write a run to one file in the working directory.
    Bundle(RunId),
    /// Read an output of the recording.
    ReadOutput(SourceId, Vec<OutputPiece>),
    Quit,
}

/// Where lines are written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    File {
        path: String,
        /// Whatever is there.
        replace: bool,
    },
    /// The file that stands in for the clipboard.
    Clipboard,
    /// A file for `$PAGER`.
    Pager,
}

/// What can be run. Each boots the harness if it needs it, and leaves it up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// Up, ready, seed.
    Up,
    Seed,
    Run(Vec<ReplayName>, Policy),
}

/// A piece of a container's log that is to be put into a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    pub ticket: u64,
    pub container: ContainerId,
    pub piece: Piece,
}
