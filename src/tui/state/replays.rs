//! The list of replays and what is known of each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::cursor::Cursor;
use crate::domain::replay::{Replay, ReplayName};
use crate::domain::run::{Counts, RunEventKind, Signal, Verdict};

#[derive(Clone, Debug, Default)]
pub struct Replays {
    list: Vec<Arc<Replay>>,
    status: BTreeMap<ReplayName, Status>,
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
    },
    Done {
        verdict: Verdict,
        took: Duration,
        attempt: u32,
        slow: bool,
        leaky: bool,
    },
}

impl Replays {
    /// Takes what was discovered. What is known of replays that are still there stays.
    pub fn set(&mut self, list: Vec<Arc<Replay>>) {
        let selected = self.selected().map(|replay| replay.name.clone());
        self.list = list;
        self.discovery = Discovery::Done;
        let names: BTreeSet<ReplayName> = self.list.iter().map(|r| r.name.clone()).collect();
        self.marks.retain(|name| names.contains(name));
        self.status.retain(|name, _| names.contains(name));
        if let Some(name) = selected {
            self.select(&name);
        }
    }

    pub fn list(&self) -> &[Arc<Replay>] {
        &self.list
    }

    pub fn status(&self, name: &ReplayName) -> Option<&Status> {
        self.status.get(name)
    }

    pub fn selected(&self) -> Option<&Arc<Replay>> {
        self.list.get(self.cursor.at())
    }

    pub fn get(&self, name: &ReplayName) -> Option<&Arc<Replay>> {
        self.list.iter().find(|replay| replay.name == *name)
    }

    pub fn select(&mut self, name: &ReplayName) {
        if let Some(at) = self.list.iter().position(|replay| replay.name == *name) {
            self.cursor.go(at);
        }
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

    /// What `run` means here: the marked ones in their order, or the selected one.
    pub fn chosen(&self) -> Vec<ReplayName> {
        let marked: Vec<ReplayName> = self.names(|name| self.marks.contains(name));
        if marked.is_empty() {
            return self
                .selected()
                .map(|r| r.name.clone())
                .into_iter()
                .collect();
        }
        marked
    }

    pub fn all(&self) -> Vec<ReplayName> {
        self.names(|_| true)
    }

    /// What did not pass when it last ran.
    pub fn failed(&self) -> Vec<ReplayName> {
        self.names(|name| match self.status.get(name) {
            Some(Status::Done { verdict, .. }) => !verdict.is_ok(),
            _ => false,
        })
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
                }
            }
            RunEventKind::ReplayStarted {
                replay,
                attempt,
                timeout,
            } => {
                let status = Status::Running {
                    attempt: *attempt,
                    since: at,
                    timeout: *timeout,
                    slow: false,
                    stopping: None,
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
                let status = Status::Done {
                    verdict: result.verdict.clone(),
                    took: result.took,
                    attempt: result.attempt,
                    slow: result.slow,
                    leaky: result.leaky,
                };
                self.status.insert(result.replay.clone(), status);
            }
            _ => {}
        }
    }

    /// The run is over: what waited will not be run, and what ran without an end was cut off.
    pub fn run_ended(&mut self) {
        self.status.retain(|_, status| *status != Status::Queued);
        for status in self.status.values_mut() {
            if let Status::Running { attempt, slow, .. } = *status {
                *status = Status::Done {
                    verdict: Verdict::Aborted,
                    took: Duration::ZERO,
                    attempt,
                    slow,
                    leaky: false,
                };
            }
        }
    }

    /// Of all replays as they last ended; those that run or wait are in none of these.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for replay in &self.list {
            match self.status.get(&replay.name) {
                Some(Status::Done { verdict, .. }) => {
                    *match verdict {
                        Verdict::Passed => &mut counts.passed,
                        Verdict::Failed(_) => &mut counts.failed,
                        Verdict::TimedOut { .. } => &mut counts.timed_out,
                        Verdict::Skipped { .. } => &mut counts.skipped,
                        Verdict::Aborted => &mut counts.aborted,
                        Verdict::CouldNotStart { .. } => &mut counts.could_not_start,
                    } += 1;
                }
                _ => counts.not_run += 1,
            }
        }
        counts
    }
}
