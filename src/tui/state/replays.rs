//! The list of replays and what is known of each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::cursor::Cursor;
use crate::domain::past::History;
use crate::domain::replay::{Replay, ReplayName};
use crate::domain::run::{Counts, Flaky, ReplayResult, RunEventKind, Signal, Survivor, Verdict};
use crate::record::{Course, Courses};
use crate::replay::{Chosen, Idle, Order, Query, Selection, Trait};

/// Attempts that are remembered of a replay: an endless repetition has no end of them.
const ATTEMPTS: usize = 20;

#[derive(Clone, Debug, Default)]
pub struct Replays {
    /// All that there are, as they were found.
    found: Vec<Arc<Replay>>,
    /// Those that are shown, in the order in which they are.
    list: Vec<Arc<Replay>>,
    query: Option<Query>,
    order: Order,
    /// What earlier runs say.
    courses: Arc<Courses>,
    status: BTreeMap<ReplayName, Status>,
    /// Of the run that they were last in, in order.
    attempts: BTreeMap<ReplayName, Vec<Attempt>>,
    /// They are to run again in the same run: the next attempt has nothing to do with those before.
    due: BTreeSet<ReplayName>,
    marks: BTreeSet<ReplayName>,
    pub cursor: Cursor,
    /// Whether discovery has answered; and if it failed, why.
    pub discovery: Discovery,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Discovery {
    #[default]
    Pending,
    Done,
    Failed(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Selected for the run and not begun.
    Queued,
    Running {
        attempt: u32,
        since: Timestamp,
        timeout: Option<Duration>,
        slow: bool,
        stopping: Option<Signal>,
        /// How the replay had ended in this run.
        before: Option<Box<Status>>,
    },
    Done {
        verdict: Verdict,
        took: Duration,
        attempt: u32,
        slow: bool,
        leaky: bool,
        flaky: Flaky,
        /// Another attempt follows at once.
        retried: bool,
        /// How many attempts of the run have passed; more than one where it is repeated.
        passes: u32,
    },
}

/// The end of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub number: u32,
    pub verdict: Verdict,
    pub took: Duration,
    pub slow: bool,
    pub survivors: Vec<Survivor>,
}

/// How many of the replays were slow, and left processes behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Troubles {
    pub slow: usize,
    pub leaky: usize,
}

impl Status {
    /// Whether it has ended, and a run may pass with that.
    pub fn is_ok(&self) -> bool {
        match self {
            Self::Done { verdict, flaky, .. } => verdict.is_ok() && *flaky != Flaky::Fails,
            Self::Queued | Self::Running { .. } => false,
        }
    }

    /// Whether it runs again because it had failed.
    pub fn is_retry(&self) -> bool {
        let Self::Running {
            before: Some(before),
            ..
        } = self
        else {
            return false;
        };
        matches!(**before, Self::Done { retried: true, .. })
    }

    /// What an end comes to, after another one in the same run.
    fn after(self, before: Self) -> Self {
        let was_ok = before.is_ok();
        let (
            Self::Done {
                slow,
                leaky,
                flaky,
                passes,
                ..
            },
            Self::Done {
                retried,
                slow: was_slow,
                leaky: was_leaky,
                flaky: was_flaky,
                passes: passed_before,
                ..
            },
        ) = (&self, &before)
        else {
            return self;
        };
        let marks = (
            slow | was_slow,
            leaky | was_leaky,
            if *retried {
                *flaky
            } else {
                *flaky.max(was_flaky)
            },
        );
        let total = passes + passed_before;
        let mut end = if was_ok || *retried { self } else { before };
        if let Self::Done {
            slow,
            leaky,
            flaky,
            passes,
            ..
        } = &mut end
        {
            (*slow, *leaky, *flaky) = marks;
            *passes = total;
        }
        end
    }
}

impl Replays {
    /// Takes what was discovered. What is known of replays that are still there stays.
    pub fn set(&mut self, list: Vec<Arc<Replay>>) {
        self.found = list;
        self.discovery = Discovery::Done;
        let names: BTreeSet<ReplayName> = self.found.iter().map(|r| r.name.clone()).collect();
        self.marks.retain(|name| names.contains(name));
        self.status.retain(|name, _| names.contains(name));
        self.attempts.retain(|name, _| names.contains(name));
        self.arrange(false);
    }

    /// Takes what earlier runs say, which includes those of this session that are over.
    pub fn set_courses(&mut self, courses: Arc<Courses>) {
        self.courses = courses;
        self.arrange(false);
    }

    /// Shows only those that a query means; `None` shows all.
    pub fn set_query(&mut self, query: Option<Query>) {
        self.query = query;
        self.arrange(false);
    }

    pub fn query(&self) -> Option<&Query> {
        self.query.as_ref()
    }

    pub fn set_order(&mut self, order: Order) {
        self.order = order;
        self.arrange(false);
    }

    pub fn order(&self) -> Order {
        self.order
    }

    /// Makes the list anew; the cursor stays with its replay if that is still shown. In the middle
    /// of a run what is `under_way` stays, too: it is neither failed nor passed for a while.
    fn arrange(&mut self, under_way: bool) {
        let selected = self.selected().map(|replay| replay.name.clone());
        let mut list = match &self.query {
            Some(query) => query.of(&self.found, |replay, what| self.has(&replay.name, what)),
            None => self.found.clone(),
        };
        if under_way {
            let meant: BTreeSet<&ReplayName> = list.iter().map(|replay| &replay.name).collect();
            let is_under_way = |name| {
                let status = self.status.get(name);
                matches!(status, Some(Status::Queued | Status::Running { .. }))
            };
            let stays: Vec<Arc<Replay>> = self
                .list
                .iter()
                .filter(|replay| meant.contains(&replay.name) || is_under_way(&replay.name))
                .cloned()
                .collect();
            let shown: BTreeSet<&ReplayName> = stays.iter().map(|replay| &replay.name).collect();
            let mut all: Vec<Arc<Replay>> = list
                .iter()
                .filter(|replay| !shown.contains(&replay.name))
                .cloned()
                .collect();
            all.splice(0..0, stays.iter().cloned());
            list = all;
        }
        if self.order.needs_history() {
            self.order.sort(&mut list, &self.history());
        } else {
            self.order.sort(&mut list, &History::new());
        }
        self.list = list;
        if let Some(name) = selected {
            self.select(&name);
        }
    }

    fn has(&self, name: &ReplayName, what: Trait) -> bool {
        let status = self.status.get(name);
        let last = || self.courses.get(name)?.runs.last()?.as_ref();
        match (what, status) {
            (Trait::Marked, _) => self.marks.contains(name),
            (Trait::New, _) => status.is_none() && !self.courses.contains_key(name),
            (
                _,
                Some(
                    done @ Status::Done {
                        verdict,
                        slow,
                        leaky,
                        flaky,
                        ..
                    },
                ),
            ) => match what {
                Trait::Passed => done.is_ok() && *verdict == Verdict::Passed,
                Trait::Skipped => matches!(verdict, Verdict::Skipped { .. }),
                Trait::Failed => !done.is_ok(),
                Trait::Flaky => *flaky != Flaky::No,
                Trait::Slow => *slow,
                Trait::Leaky => *leaky,
                Trait::New | Trait::Marked => false,
            },
            (_, Some(Status::Queued | Status::Running { .. })) => false,
            (Trait::Passed, None) => {
                last().is_some_and(|end| end.ok && end.verdict == Verdict::Passed)
            }
            (Trait::Skipped, None) => {
                last().is_some_and(|end| matches!(end.verdict, Verdict::Skipped { .. }))
            }
            (Trait::Failed, None) => last().is_some_and(|end| !end.ok),
            (Trait::Flaky, None) => last().is_some_and(|end| end.flaky),
            (Trait::Slow | Trait::Leaky, None) => false,
        }
    }

    /// What the kept runs and this session say.
    fn history(&self) -> History {
        let mut history: History = self
            .courses
            .iter()
            .map(|(name, course)| (name.clone(), course.past()))
            .collect();
        for (name, status) in &self.status {
            if let Status::Done { .. } = status {
                history.entry(name.clone()).or_default().last_ok = Some(status.is_ok());
            }
        }
        history
    }

    /// Those that are shown.
    pub fn list(&self) -> &[Arc<Replay>] {
        &self.list
    }

    /// All of them, shown or not.
    pub fn found(&self) -> &[Arc<Replay>] {
        &self.found
    }

    pub fn status(&self, name: &ReplayName) -> Option<&Status> {
        self.status.get(name)
    }

    /// What earlier runs say of a replay.
    /// Whether a run that is kept has its end.
    pub fn has_run_before(&self, name: &ReplayName) -> bool {
        let course = self.courses.get(name);
        course.is_some_and(|course| course.runs.iter().any(Option::is_some))
    }

    pub fn course(&self, name: &ReplayName) -> Option<&Course> {
        self.courses.get(name)
    }

    /// The attempts of the run that it was last in.
    pub fn attempts(&self, name: &ReplayName) -> &[Attempt] {
        self.attempts.get(name).map_or(&[], Vec::as_slice)
    }

    pub fn selected(&self) -> Option<&Arc<Replay>> {
        self.list.get(self.cursor.at())
    }

    pub fn get(&self, name: &ReplayName) -> Option<&Arc<Replay>> {
        self.found.iter().find(|replay| replay.name == *name)
    }

    pub fn select(&mut self, name: &ReplayName) {
        if let Some(at) = self.list.iter().position(|replay| replay.name == *name) {
            self.cursor.go(at);
        }
    }

    /// Selects the next one that did not pass, or the one before; says whether there is one.
    pub fn select_failed(&mut self, forward: bool) -> bool {
        let at = self.cursor.at();
        let failed = |(_, replay): &(usize, &Arc<Replay>)| self.has(&replay.name, Trait::Failed);
        let mut all = self.list.iter().enumerate();
        let to = if forward {
            all.skip(at + 1).find(failed)
        } else {
            all.rfind(|row| row.0 < at && failed(row))
        };
        let to = to.map(|(index, _)| index);
        if let Some(to) = to {
            self.cursor.go(to);
        }
        to.is_some()
    }

    pub fn toggle_mark(&mut self) {
        let Some(name) = self.selected().map(|replay| replay.name.clone()) else {
            return;
        };
        if !self.marks.remove(&name) {
            self.marks.insert(name);
        }
    }

    pub fn is_marked(&self, name: &ReplayName) -> bool {
        self.marks.contains(name)
    }

    pub fn clear_marks(&mut self) -> bool {
        !std::mem::take(&mut self.marks).is_empty()
    }

    /// How many are marked, and how many of these are not shown.
    pub fn marked(&self) -> (usize, usize) {
        let shown = self.list.iter().filter(|r| self.is_marked(&r.name)).count();
        (self.marks.len(), self.marks.len() - shown)
    }

    /// What `run` means here: the marked ones in their order, shown or not, else the selected one.
    pub fn chosen(&self) -> Vec<ReplayName> {
        if self.marks.is_empty() {
            let selected = self.selected().map(|replay| replay.name.clone());
            return selected.into_iter().collect();
        }
        let mut marked = self.names(|name| self.marks.contains(name));
        let hidden = self.found.iter().map(|replay| &replay.name);
        let hidden = hidden.filter(|name| self.marks.contains(*name));
        let hidden: Vec<ReplayName> = hidden
            .filter(|name| !marked.contains(name))
            .cloned()
            .collect();
        marked.extend(hidden);
        marked
    }

    /// Those that are shown.
    pub fn all(&self) -> Vec<ReplayName> {
        self.names(|_| true)
    }

    /// What did not pass when it last ran, of those that are shown.
    pub fn failed(&self) -> Vec<ReplayName> {
        self.names(|name| self.has(name, Trait::Failed))
    }

    pub fn has_failed(&self) -> bool {
        self.list
            .iter()
            .any(|replay| self.has(&replay.name, Trait::Failed))
    }

    /// What failed when it was last selected, was not reached then, or is new, of those that are
    /// shown: the `--last-failed` of the command line.
    ///
    /// # Errors
    ///
    /// Fails with the reason where there is nothing to do.
    pub fn last_failed(&self) -> Result<Vec<ReplayName>, Idle> {
        let selection = Selection {
            last_failed: true,
            ..Selection::default()
        };
        match selection.of(&self.list, &self.history()) {
            Ok(Chosen::Replays(replays)) => {
                Ok(replays.iter().map(|replay| replay.name.clone()).collect())
            }
            Ok(Chosen::Nothing(idle)) => Err(idle),
            // Without patterns and tags there is no mistake to be made.
            Err(_) => Ok(Vec::new()),
        }
    }

    fn names(&self, wanted: impl Fn(&ReplayName) -> bool) -> Vec<ReplayName> {
        self.list
            .iter()
            .map(|replay| &replay.name)
            .filter(|name| wanted(name))
            .cloned()
            .collect()
    }

    /// Takes in what a run says.
    pub fn fold(&mut self, at: Timestamp, event: &RunEventKind) {
        match event {
            RunEventKind::Started { replays, .. } => {
                for replay in replays {
                    self.status.insert(replay.name.clone(), Status::Queued);
                    self.attempts.remove(&replay.name);
                }
            }
            RunEventKind::Again { replays, .. } => {
                for name in replays.iter().map(|replay| &replay.name) {
                    // What it came to counts until it begins.
                    self.due.insert(name.clone());
                    self.status.entry(name.clone()).or_insert(Status::Queued);
                }
            }
            RunEventKind::Gone { replays, .. } => {
                for name in replays {
                    self.due.remove(name);
                    self.status.remove(name);
                    self.attempts.remove(name);
                }
            }
            RunEventKind::ReplayStarted {
                replay,
                attempt,
                timeout,
            } => {
                let is_due = self.due.remove(replay);
                let before = self.status.remove(replay);
                let before =
                    before.filter(|before| !is_due && matches!(before, Status::Done { .. }));
                let status = Status::Running {
                    attempt: *attempt,
                    since: at,
                    timeout: *timeout,
                    slow: false,
                    stopping: None,
                    before: before.map(Box::new),
                };
                self.status.insert(replay.clone(), status);
            }
            RunEventKind::ReplaySlow { replay, .. } => {
                if let Some(Status::Running { slow, .. }) = self.status.get_mut(replay) {
                    *slow = true;
                }
            }
            RunEventKind::ReplayStopping { replay, signal } => {
                if let Some(Status::Running { stopping, .. }) = self.status.get_mut(replay) {
                    *stopping = Some(*signal);
                }
            }
            RunEventKind::ReplayFinished(result) => {
                self.finished(result);
                if self.query.as_ref().is_some_and(Query::asks_for_ends) {
                    self.arrange(true);
                }
            }
            _ => {}
        }
    }

    /// A retry replaces the attempt before it. Where a replay is repeated its first failure stays,
    /// as in [`crate::domain::run::Summary`].
    fn finished(&mut self, result: &ReplayResult) {
        self.due.remove(&result.replay);
        let attempts = self.attempts.entry(result.replay.clone()).or_default();
        attempts.push(Attempt {
            number: result.attempt,
            verdict: result.verdict.clone(),
            took: result.took,
            slow: result.slow,
            survivors: result.survivors.clone(),
        });
        let surplus = attempts.len().saturating_sub(ATTEMPTS);
        attempts.drain(..surplus);
        let mut end = Status::Done {
            verdict: result.verdict.clone(),
            took: result.took,
            attempt: result.attempt,
            slow: result.slow,
            leaky: result.leaky,
            flaky: result.flaky,
            retried: result.retried,
            passes: u32::from(result.verdict == Verdict::Passed),
        };
        if let Some(Status::Running {
            before: Some(before),
            ..
        }) = self.status.remove(&result.replay)
        {
            end = end.after(*before);
        }
        self.status.insert(result.replay.clone(), end);
    }

    /// The run is over: what waited will not be run, and what ran without an end was cut off.
    pub fn run_ended(&mut self) {
        self.due.clear();
        self.status.retain(|_, status| *status != Status::Queued);
        for status in self.status.values_mut() {
            match status {
                Status::Running { attempt, slow, .. } => {
                    *status = Status::Done {
                        verdict: Verdict::Aborted,
                        took: Duration::ZERO,
                        attempt: *attempt,
                        slow: *slow,
                        leaky: false,
                        flaky: Flaky::No,
                        retried: false,
                        passes: 0,
                    };
                }
                // It will not be tried again.
                Status::Done { retried, .. } => *retried = false,
                Status::Queued => {}
            }
        }
        self.arrange(false);
    }

    /// Of all replays as they last ended; those that run or wait are in none of these.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for replay in &self.found {
            match self.status.get(&replay.name) {
                Some(Status::Done { retried: true, .. }) => counts.not_run += 1,
                Some(Status::Done { verdict, flaky, .. }) => {
                    counts.add(verdict, *flaky);
                }
                _ => counts.not_run += 1,
            }
        }
        counts
    }

    /// Of those that have ended.
    pub fn troubles(&self) -> Troubles {
        let mut troubles = Troubles::default();
        let ends = self.found.iter().map(|r| self.status.get(&r.name));
        for status in ends.flatten() {
            if let Status::Done { slow, leaky, .. } = status {
                troubles.slow += usize::from(*slow);
                troubles.leaky += usize::from(*leaky);
            }
        }
        troubles
    }
}
