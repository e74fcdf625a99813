//! Replays that run again when what they depend on has changed.

use std::sync::Arc;

use super::changes::{Change, Changes};
use super::sink::Sink;
use super::steps::{Hooks, Steps};
use crate::domain::hook::Step;
use crate::domain::replay::{Replay, ReplayName};
use crate::domain::run::{RunEventKind, Summary};
use crate::engine::EngineError;
use crate::replay::Attempts;

/// Reasons that are told; beyond them their number is.
const TOLD: usize = 3;

impl Steps<'_> {
    /// Waits for changes and runs what they concern, until a stop is asked for: replays whose script
    /// has changed, and on any other change those that have not passed. The stack stays up; steps run
    /// again where they have changed, or where what they made is gone.
    pub(super) async fn run_again(
        &self,
        mut changes: Changes,
        hooks: Hooks<'_>,
        attempts: &mut Attempts,
        sink: &mut Sink,
    ) -> Result<(), EngineError> {
        loop {
            changes.take_stack_as_it_is().await;
            if !self.control.is_stopped() {
                let text = sink.summary(|summary| waiting(summary, changes.selected()));
                sink.emit(RunEventKind::Note(text));
            }
            let Some(change) = changes.next(self.control).await else {
                return Ok(());
            };
            if !change.gone.is_empty() {
                sink.emit(RunEventKind::Gone {
                    why: reasons(&change.why_gone),
                    replays: change.gone.clone(),
                });
            }
            for problem in changes.take_problems() {
                sink.emit(RunEventKind::Note(problem));
            }
            if change.why.is_empty() {
                continue;
            }
            let mut replays = changes.selected().to_vec();
            sink.summary(|summary| {
                replays.retain(|replay| {
                    change.scripts.contains(&replay.name)
                        || change.concerns_all && !is_ok(summary, &replay.name)
                });
            });
            let why = reasons(&change.why);
            if replays.is_empty() {
                let text = format!("{why}: no replay has failed, so none runs again");
                sink.emit(RunEventKind::Note(text));
                continue;
            }
            let steps = self.steps(&change);
            sink.emit(RunEventKind::Again {
                why,
                replays: replays.clone(),
                steps: steps.clone(),
            });
            // It may be put right, and then this runs again.
            if self.repeat(&steps, hooks, sink).await? {
                let config = Arc::clone(&changes.config);
                self.replays(&config, replays, attempts, sink).await;
            }
        }
    }

    fn steps(&self, change: &Change) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.harness.config.harness.is_none() {
            return steps;
        }
        if self.request.up {
            steps.extend(change.up.then_some(Step::Up));
            steps.extend((change.up || change.ready).then_some(Step::Ready));
        }
        if self.request.seed && (change.seed || !steps.is_empty()) {
            steps.push(Step::Seed);
        }
        steps
    }

    /// Says whether what comes after them makes sense.
    async fn repeat(
        &self,
        steps: &[Step],
        hooks: Hooks<'_>,
        sink: &mut Sink,
    ) -> Result<bool, EngineError> {
        let Some(harness) = &self.harness.config.harness else {
            return Ok(true);
        };
        for step in steps {
            let done = match step {
                Step::Up => self.hook(*step, harness.up.as_ref(), hooks, sink).await,
                Step::Seed => self.seed_again(harness, hooks, sink).await?,
                _ => self.ready(harness, sink).await?,
            };
            if !done {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn reasons(why: &[String]) -> String {
    let mut told: Vec<&str> = why.iter().take(TOLD).map(String::as_str).collect();
    let more = format!("{} more", why.len().saturating_sub(TOLD));
    if why.len() > TOLD {
        told.push(&more);
    }
    told.join(", ")
}

/// Whether nothing has to be put right for it: it is ok as it is by now.
fn is_ok(summary: &Summary, name: &ReplayName) -> bool {
    let mut results = summary.results.iter();
    !summary.due.contains(name) && results.any(|it| it.replay == *name && it.is_ok())
}

fn waiting(summary: &Summary, selected: &[Arc<Replay>]) -> String {
    let has_run = |name: &ReplayName| {
        let mut results = summary.results.iter();
        summary.not_run.contains(name) || results.any(|it| it.replay == *name)
    };
    let (passed, failed): (Vec<&ReplayName>, Vec<&ReplayName>) = selected
        .iter()
        .map(|replay| &replay.name)
        // What passed in an earlier run is what this one is not about.
        .filter(|name| has_run(name))
        .partition(|name| is_ok(summary, name));
    let state = match (failed.len(), passed.len()) {
        (0, 0) => "nothing to be put right".to_owned(),
        (0, passed) => format!("all {passed} passed"),
        (failed, passed) => format!("{failed} to be put right, {passed} passed"),
    };
    format!("{state}; waiting for a change, and for Ctrl-C to end the run")
}
