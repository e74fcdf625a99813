//! Everything that the dashboard knows. One task owns it.

pub mod bookmarks;
pub mod cursor;
pub mod dialog;
pub mod incident;
pub mod pager;
pub mod recorded;
pub mod replays;
pub mod run;
pub mod run_form;
pub mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::layout::Size;

use self::dialog::Dialog;
use self::incident::Incident;
use self::pager::{Pager, Stamps};
use self::recorded::Recorded;
use self::replays::Replays;
use self::run::{Active, Subject, Teardown};
use self::tree::Tree;
use super::keymap::Context;
use super::theme::Theme;
use crate::domain::exit::Exit;
use crate::domain::id::{ContainerId, RunId};
use crate::domain::line::SourceId;
use crate::domain::link::Link;
use crate::domain::replay::ReplayName;
use crate::domain::run::Summary;
use crate::domain::scope::{Scope, StackName, joined_name};
use crate::domain::stats::Sample;
use crate::logs::store::{DEFAULT_BUDGET, LineId, LogStore};
use crate::replay::Policy;

/// What the outputs of replays and hooks may take in memory.
const OUTPUT_BUDGET: usize = 32 << 20;

/// How long a notice stays.
pub const NOTICE: Duration = Duration::from_secs(6);

/// What does not change while the dashboard runs.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Of the harness or project, for the header.
    pub name: String,
    pub scope: Scope,
    /// The stacks of the harness, in the order in which they are booted.
    pub harness: Vec<StackName>,
    /// Whether there is a harness at all, with or without a stack of its own.
    pub has_hooks: bool,
    pub zone: TimeZone,
    pub theme: Theme,
    /// How replays are run unless somebody asks for something else.
    pub policy: Policy,
    /// Bytes of container logs to keep.
    pub log_budget: usize,
    /// Whether the terminal is known to do nothing with what is put on its clipboard.
    pub no_clipboard: bool,
}

impl Setup {
    /// What all that the harness has is called; `None` where no stack is configured for it.
    pub fn harness_name(&self) -> Option<StackName> {
        joined_name(&self.harness)
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            name: String::new(),
            scope: Scope::compose_projects(),
            harness: Vec::new(),
            has_hooks: false,
            zone: TimeZone::UTC,
            theme: Theme::new(true),
            policy: Policy::default(),
            log_budget: DEFAULT_BUDGET,
            no_clipboard: false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Screen {
    Cockpit,
    Logs,
    Replays,
    Diagnostics,
    /// One attempt at a replay; opened from the list of replays.
    Incident,
}

impl Screen {
    /// In the order in which Tab visits them.
    pub fn panes(self) -> &'static [Pane] {
        match self {
            Self::Cockpit => &[Pane::Containers, Pane::Replays, Pane::Logs, Pane::Output],
            Self::Logs => &[Pane::Logs],
            Self::Replays => &[Pane::Replays, Pane::Output],
            Self::Diagnostics => &[Pane::Diagnostics],
            Self::Incident => &[Pane::Incident],
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pane {
    Containers,
    Replays,
    Logs,
    Output,
    Diagnostics,
    Incident,
}

impl Pane {
    pub fn context(self) -> Context {
        match self {
            Self::Containers => Context::Containers,
            Self::Replays => Context::Replays,
            Self::Logs => Context::Logs,
            Self::Output => Context::Output,
            Self::Diagnostics => Context::Diagnostics,
            Self::Incident => Context::Incident,
        }
    }
}

#[derive(Debug)]
pub struct State {
    pub setup: Setup,
    /// The run that is looked at instead of an engine.
    pub recorded: Option<Recorded>,
    pub area: Size,
    pub now: Timestamp,

    pub link: Link,
    /// When the link last said something, by our clock: what a countdown counts from.
    pub link_heard: Timestamp,
    pub tree: Tree,
    pub samples: BTreeMap<ContainerId, Sample>,
    pub logs: LogStore,
    pub replays: Replays,
    /// How replays are run from now on.
    pub policy: Policy,
    pub outputs: LogStore,
    pub active: Option<Active>,
    /// Of the last job.
    pub last: Option<Summary>,
    /// Of the last teardown since that job.
    pub taken_down: Option<Summary>,
    /// Whether this session began to boot the harness and has not taken it down.
    pub booted: bool,
    pub teardown: Option<Teardown>,
    pub incident: Incident,
    /// The run in which each replay ended last.
    pub ran_in: BTreeMap<ReplayName, RunId>,

    pub screen: Screen,
    pub focus: Pane,
    pub zoom: bool,
    pub mouse: bool,
    pub log_pane: Pager,
    pub output_pane: Pager,
    pub subject: Subject,
    pub dialog: Option<Dialog>,
    pub notice: Option<Notice>,
    pub quitting: Option<Quitting>,

    pub(super) asked_logs: BTreeSet<SourceId>,
    pub(super) asked_stats: BTreeSet<ContainerId>,
    pub(super) interrupted: bool,
    /// Goes to the first hit in that pane as soon as there is one.
    pub(super) jump: Option<Pane>,
    /// Tells what is looked for apart.
    pub(super) tickets: u64,
    /// The container whose log each source is.
    pub(super) opened: BTreeMap<SourceId, ContainerId>,
    /// The pieces of logs that are being read, by their tickets.
    pub(super) pages: BTreeMap<u64, Paging>,
    /// What could not be read, by the line behind it, and when it may be asked for again.
    pub(super) paged_later: BTreeMap<LineId, Timestamp>,
}

/// A piece of a log that is being read into a gap.
#[derive(Clone, Debug)]
pub struct Paging {
    /// The store's number of the source.
    pub source: u32,
    /// The line behind the gap.
    pub before: LineId,
    /// It is as much as there is room for.
    pub stops_when_full: bool,
    /// How many have come.
    pub lines: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub text: String,
    pub until: Timestamp,
}

/// What happens when that which is running has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quitting {
    Leave,
    TakeDown,
}

impl State {
    pub fn new(setup: Setup, area: Size, now: Timestamp) -> Self {
        let logs = LogStore::new(setup.log_budget);
        let mut tree = Tree::default();
        tree.declare(&setup.scope, &setup.harness);
        Self {
            policy: setup.policy.clone(),
            setup,
            recorded: None,
            area,
            now,
            link: Link::Connecting,
            link_heard: now,
            tree,
            samples: BTreeMap::new(),
            logs,
            replays: Replays::default(),
            outputs: LogStore::new(OUTPUT_BUDGET),
            active: None,
            last: None,
            taken_down: None,
            booted: false,
            teardown: None,
            incident: Incident::default(),
            ran_in: BTreeMap::new(),
            screen: Screen::Cockpit,
            focus: Pane::Containers,
            zoom: false,
            mouse: true,
            log_pane: Pager::new(Stamps::Time, false),
            output_pane: Pager::new(Stamps::Off, true),
            subject: Subject::Selected,
            dialog: None,
            notice: None,
            quitting: None,
            asked_logs: BTreeSet::new(),
            asked_stats: BTreeSet::new(),
            interrupted: false,
            jump: None,
            tickets: 0,
            opened: BTreeMap::new(),
            pages: BTreeMap::new(),
            paged_later: BTreeMap::new(),
        }
    }

    /// What `now` means for a container: in a recording it is the end of the run.
    pub fn as_of(&self) -> Timestamp {
        let recorded = self.recorded.as_ref();
        recorded.map_or(self.now, |recorded| recorded.opened.ended_by_engine())
    }

    /// Where a key is pressed now.
    pub fn context(&self) -> Context {
        match &self.dialog {
            Some(dialog) => dialog.context(),
            None => self.focus.context(),
        }
    }

    /// How the process ends: by the last run of the session, if there was one, and by the teardown
    /// after it, which cannot make a failure good.
    pub fn exit(&self) -> Exit {
        let mut whole = self.last.clone().unwrap_or_default();
        if let Some(teardown) = self.taken_down.clone() {
            whole.steps.extend(teardown.steps);
            whole.left_behind.extend(teardown.left_behind);
            whole.interrupted = whole.interrupted.or(teardown.interrupted);
            whole.engine_lost |= teardown.engine_lost;
            whole.refused |= teardown.refused;
            whole.internal_error = whole.internal_error.or(teardown.internal_error);
        }
        Exit::of(&whole)
    }

    /// How many attempts a replay of the run gets at most, where that can be told.
    pub fn attempts(&self) -> Option<u32> {
        self.active.as_ref()?.attempts()
    }

    pub fn notify(&mut self, text: impl Into<String>) {
        self.notice = Some(Notice {
            text: text.into(),
            until: self.now.saturating_add(NOTICE).unwrap_or(self.now),
        });
    }

    /// A text pane and where its lines are.
    pub fn pane_of(&self, pane: Pane) -> (&Pager, &LogStore) {
        match pane {
            Pane::Output => (&self.output_pane, &self.outputs),
            Pane::Incident => (&self.incident.pane, &self.incident.store),
            _ => (&self.log_pane, &self.logs),
        }
    }

    /// The same, to change how they are shown.
    pub fn pane_of_mut(&mut self, pane: Pane) -> (&mut Pager, &LogStore) {
        match pane {
            Pane::Output => (&mut self.output_pane, &self.outputs),
            Pane::Incident => (&mut self.incident.pane, &self.incident.store),
            _ => (&mut self.log_pane, &self.logs),
        }
    }

    /// Whether any container of the harness is there.
    pub fn harness_is_up(&self) -> bool {
        self.setup.harness.iter().any(|name| self.is_up(name))
    }

    /// Whether there is a container of each of its stacks.
    pub fn harness_is_whole(&self) -> bool {
        !self.setup.harness.is_empty() && self.setup.harness.iter().all(|name| self.is_up(name))
    }

    fn is_up(&self, stack: &str) -> bool {
        self.tree
            .group_named(stack)
            .is_some_and(|group| group.up > 0)
    }
}
