//! What the dashboard is told.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use ratatui::layout::{Position, Size};

use super::effect::Target;
use super::keymap::Key;
use super::state::incident::Loaded;
use crate::domain::container::Container;
use crate::domain::event::EngineEvent;
use crate::domain::id::ContainerId;
use crate::domain::line::SourceId;
use crate::domain::link::Link;
use crate::domain::plan::TeardownPlan;
use crate::domain::replay::Replay;
use crate::domain::run::RunEvent;
use crate::domain::scope::StackName;
use crate::domain::stats::Sample;
use crate::logs::index::Found;
use crate::logs::{FollowEvent, PageEvent};
use crate::record::Courses;

#[derive(Clone, Debug)]
pub enum Msg {
    Key(Key),
    /// Text that the terminal pasted as a whole.
    Paste(String),
    Mouse(Mouse),
    Resize(Size),
    /// The time, wherever it is needed.
    Tick(Timestamp),
    Link(Link),
    /// All containers of the scope as they are now.
    Containers(Arc<[Container]>),
    Engine(EngineEvent),
    /// `None` where there are none now.
    Stats(Vec<(ContainerId, Option<Sample>)>),
    Logs(Vec<FollowEvent>),
    /// A part of the answer to [`super::effect::Effect::Scan`].
    Found(Found),
    /// A part of the answer to [`super::effect::Effect::Page`] of that ticket. The last one is an
    /// end or an error.
    Paged(u64, Result<PageEvent, String>),
    /// What was discovered, or why nothing could be.
    Replays(Result<Vec<Arc<Replay>>, String>),
    /// The answer to [`super::effect::Effect::ReadHistory`].
    History(Arc<Courses>),
    /// The answer to [`super::effect::Effect::PlanTeardown`]: the plan, or the refusal.
    Plan {
        stack: StackName,
        result: Result<TeardownPlan, String>,
    },
    Run(RunEvent),
    /// The job or teardown is over; there will be no more events of it.
    RunEnded {
        /// Set where it ended without saying so itself.
        problem: Option<String>,
    },
    /// How [`super::effect::Effect::Take`] or [`super::effect::Effect::Keep`] goes.
    Taken(Target, Taken),
    /// The pager has ended and the terminal is ours again; what it could not do.
    PagerEnded(Result<(), String>),
    /// The answer to [`super::effect::Effect::ReadIncident`] of that ticket.
    Incident(u64, Result<Box<Loaded>, String>),
    /// A part of the answer to [`super::effect::Effect::ReadOutput`].
    Output(SourceId, OutputLines),
    /// Something to show for a moment.
    Notice(String),
    /// The system wants an end: nobody can be asked.
    End,
}

/// Lines with the time at which each came.
pub type OutputLines = Vec<(Timestamp, Vec<u8>)>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// There is a file already; nothing was written.
    Exists,
    Begun,
    /// In percent.
    Progress(usize),
    Done {
        path: PathBuf,
        lines: u64,
    },
    /// Why, to be said after what failed.
    Failed(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mouse {
    pub action: MouseAction,
    pub at: Position,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MouseAction {
    Click,
    WheelUp,
    WheelDown,
}
