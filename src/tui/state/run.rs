//! What is running, and what came of it last.

use std::num::NonZeroU32;
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::hook::{Progress, Step};
use crate::domain::line::SourceId;
use crate::domain::plan::{Fingerprint, Item, ItemOutcome, TeardownPlan};
use crate::domain::replay::ReplayName;
use crate::domain::run::{RunEvent, RunEventKind, StepOutcome, Summary};
use crate::domain::scope::StackName;

use super::super::effect::Job;
use crate::replay::{Policy, Rounds};

/// One job or teardown, from its start to the end of its events.
#[derive(Clone, Debug)]
pub struct Active {
    pub what: What,
    pub since: Timestamp,
    /// The step that is under way.
    pub step: Option<CurrentStep>,
    pub stopping: Stopping,
    pub summary: Summary,
    /// Why it was not allowed, or could not go on.
    pub refusal: Option<String>,
    /// The cursor goes along with the replays until the user moves it.
    pub follow: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Job(Job),
    Teardown(StackName),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentStep {
    pub step: Step,
    pub since: Timestamp,
    pub progress: Option<Progress>,
    pub last_line: Option<std::sync::Arc<[u8]>>,
}

/// How far it was asked to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stopping {
    #[default]
    No,
    Asked,
    Killed,
}

impl Active {
    pub fn new(what: What, since: Timestamp) -> Self {
        Self {
            what,
            since,
            step: None,
            stopping: Stopping::No,
            summary: Summary::default(),
            refusal: None,
            follow: true,
        }
    }

    fn policy(&self) -> Option<&Policy> {
        match &self.what {
            What::Job(Job::Run(_, policy)) => Some(policy),
            _ => None,
        }
    }

    /// Whether the replays are gone through more than once.
    pub fn is_repeated(&self) -> bool {
        self.policy()
            .is_some_and(|policy| policy.rounds != Rounds::Count(NonZeroU32::MIN))
    }

    /// How many attempts a replay gets at most, where that can be told.
    pub fn attempts(&self) -> Option<u32> {
        let policy = self.policy()?;
        match policy.rounds {
            Rounds::Endless => None,
            Rounds::Count(rounds) => {
                let each = policy.retries.saturating_add(1);
                Some(rounds.get().saturating_mul(each))
            }
        }
    }

    pub fn fold(&mut self, event: &RunEvent) {
        self.summary.fold(event);
        match &event.kind {
            RunEventKind::StepStarted { step } => {
                self.step = Some(CurrentStep {
                    step: *step,
                    since: event.at,
                    progress: None,
                    last_line: None,
                });
            }
            RunEventKind::StepOutput { lines, .. } => {
                if let Some(current) = &mut self.step {
                    current.last_line = lines.iter().next_back().map(Into::into);
                }
            }
            RunEventKind::StepProgress { progress, .. } => {
                if let Some(current) = &mut self.step {
                    current.progress = Some(progress.clone());
                }
            }
            RunEventKind::StepFinished { .. } => self.step = None,
            RunEventKind::Refused { reason: why } | RunEventKind::EngineLost { cause: why } => {
                self.refusal.get_or_insert_with(|| why.clone());
            }
            _ => {}
        }
    }
}

/// Whether a run's events say that it booted the harness, or took it down. A boot that fails or is
/// cut off leaves half a stack, so its start is what counts.
pub fn harness_change(event: &RunEventKind) -> Option<bool> {
    match event {
        RunEventKind::StepStarted { step: Step::Up } => Some(true),
        RunEventKind::StepFinished {
            step: Step::Teardown,
            outcome: StepOutcome::Done,
            ..
        } => Some(false),
        _ => None,
    }
}

/// What the output pane shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Subject {
    /// The replay under the cursor.
    #[default]
    Selected,
    /// A step that runs or has failed.
    Step(Step),
}

/// The key of a replay's or a step's output among the outputs.
pub fn replay_output(name: &ReplayName) -> SourceId {
    SourceId(format!("replay/{name}").into())
}

pub fn step_output(step: Step) -> SourceId {
    SourceId(format!("step/{}", step.word()).into())
}

/// A teardown from its plan to what is left.
#[derive(Clone, Debug)]
pub struct Teardown {
    pub stack: StackName,
    pub stage: Stage,
    /// First row of the plan on the screen.
    pub top: usize,
    pub then_quit: bool,
}

#[derive(Clone, Debug)]
pub enum Stage {
    Planning,
    Refused(String),
    Review {
        plan: TeardownPlan,
        fingerprint: Fingerprint,
        typed: tui_input::Input,
        /// What the plan was when it was last looked at is not what it is now.
        changed: bool,
    },
    Removing {
        plan: TeardownPlan,
        done: Vec<(Item, ItemOutcome)>,
    },
    Over {
        plan: TeardownPlan,
        done: Vec<(Item, ItemOutcome)>,
        left: Vec<Item>,
        /// What kept it from being carried out as a whole.
        problem: Option<String>,
        took: Duration,
    },
}
