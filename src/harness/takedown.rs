//! Taking the harness down: plan, hook, what the hook left, and the check.

use std::time::{Duration, Instant};

use super::session::{Consent, Harness};
use super::sink::Sink;
use crate::domain::container::State;
use crate::domain::hook::Step;
use crate::domain::plan::{ConfirmedPlan, Item, ItemOutcome, TeardownPlan};
use crate::domain::run::{Output, RunEventKind, StepOutcome};
use crate::domain::scope::StackName;
use crate::engine::Backoff;
use crate::lifecycle::{HookSettings, run_hook};
use crate::process::Control;
use crate::teardown::{self, PlanError};

/// How often what appeared meanwhile is planned and removed again. A stack that keeps growing has
/// a spawner that is still alive, and that is to be said instead of being chased for ever.
const ROUNDS: usize = 3;

/// How long an engine that cannot be used is waited for before a teardown is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often, and how long apart, the engine is asked again while it is still removing something.
const SETTLING: usize = 50;
const SETTLING_PAUSE: Duration = Duration::from_millis(100);

/// What a container gets between TERM and KILL.
const GRACE: Duration = Duration::from_secs(3);

impl Harness {
    /// The hook that runs before a stack is removed, as people would type it: the harness's own
    /// stack has one.
    fn down_hook(&self, stack: &str) -> Option<String> {
        let harness = self.config.harness.as_ref()?;
        if harness.stack.as_deref() != Some(stack) {
            return None;
        }
        let hook = harness.down.as_ref()?;
        let program = hook
            .program
            .strip_prefix(&self.config.root)
            .unwrap_or(&hook.program)
            .display()
            .to_string();
        Some(
            std::iter::once(program)
                .chain(hook.args.iter().cloned())
                .collect::<Vec<_>>()
                .join(" "),
        )
    }

    /// What taking a stack down would do.
    ///
    /// # Errors
    ///
    /// Fails for a stack that does not exist or is protected, and where the engine cannot be asked.
    pub async fn plan(&self, stack: &str) -> Result<TeardownPlan, PlanError> {
        let hook = self.down_hook(stack);
        teardown::build(&*self.engine, &self.config.scope, stack, hook).await
    }

    /// Carries out a confirmed plan: its hook, then what is left of it, then the check.
    pub(super) async fn take_down(
        &self,
        confirmed: &ConfirmedPlan,
        consent: Consent,
        hook_settings: &HookSettings,
        control: &Control,
        sink: &mut Sink,
    ) {
        let stack = confirmed.plan().stack.clone();
        let hook = self
            .config
            .harness
            .as_ref()
            .and_then(|harness| harness.down.as_ref())
            .filter(|_| confirmed.plan().hook.is_some());
        if let Some(hook) = hook {
            sink.emit(RunEventKind::StepStarted { step: Step::Down });
            let began = Instant::now();
            let (outcome, output) =
                run_hook(Step::Down, hook, hook_settings, control, &mut |kind| {
                    sink.emit(kind);
                })
                .await;
            sink.emit(RunEventKind::StepFinished {
                step: Step::Down,
                outcome,
                took: began.elapsed(),
                output,
            });
        }
        sink.emit(RunEventKind::StepStarted {
            step: Step::Teardown,
        });
        let began = Instant::now();
        let outcome = self.sweep(confirmed, consent, control, sink, &stack).await;
        sink.emit(RunEventKind::StepFinished {
            step: Step::Teardown,
            outcome,
            took: began.elapsed(),
            output: Output::default(),
        });
    }

    /// As [`Self::plan`], but an engine that cannot be used right now is waited for: one slow
    /// answer at the end of a run must not leave a whole stack behind.
    pub(super) async fn plan_patiently(
        &self,
        stack: &str,
        control: &Control,
    ) -> Result<TeardownPlan, PlanError> {
        let mut backoff = Backoff::default();
        let mut waited = Duration::ZERO;
        loop {
            match self.plan(stack).await {
                Err(PlanError::Engine(error))
                    if error.is_outage() && waited < PATIENCE && !control.is_abandoned() =>
                {
                    let wait = backoff.step();
                    waited += wait;
                    tokio::time::sleep(wait).await;
                }
                planned => return planned,
            }
        }
    }

    /// The plan, after the engine has finished the removals that it has begun: a container that
    /// removes itself at its end is still listed for a moment.
    async fn plan_when_settled(
        &self,
        stack: &str,
        control: &Control,
    ) -> Result<TeardownPlan, PlanError> {
        let removing = State::Removing.word();
        let mut plan = self.plan_patiently(stack, control).await?;
        for _ in 0..SETTLING {
            let settled = |item: &Item| item.state.as_deref() != Some(removing);
            if plan.remove.iter().all(settled) {
                break;
            }
            tokio::time::sleep(SETTLING_PAUSE).await;
            plan = self.plan_patiently(stack, control).await?;
        }
        Ok(plan)
    }

    async fn sweep(
        &self,
        confirmed: &ConfirmedPlan,
        consent: Consent,
        control: &Control,
        sink: &mut Sink,
        stack: &StackName,
    ) -> StepOutcome {
        let gives_up = || control.gives_up();
        let mut round = confirmed.clone();
        let mut number = 1;
        loop {
            let tally = self.remove_round(&round, &gives_up, control, sink).await;
            let left = match self.plan_when_settled(stack, control).await {
                Ok(plan) => plan,
                Err(error) => {
                    let reason = format!("cannot check what is left: {error}");
                    sink.emit(RunEventKind::LeftBehind(tally.not_removed));
                    return StepOutcome::Failed { reason };
                }
            };
            if left.is_empty() && tally.failures.is_empty() {
                return StepOutcome::Done;
            }
            if consent == Consent::Stack && number < ROUNDS && !left.is_empty() && !gives_up() {
                sink.emit(RunEventKind::Note(format!(
                    "{} more appeared or stayed, taking them down as well",
                    left.remove.len()
                )));
                let fingerprint = left.fingerprint();
                sink.emit(RunEventKind::Planned(left.clone()));
                if let Ok(confirmed) = left.clone().confirm(&fingerprint) {
                    round = confirmed;
                    number += 1;
                    continue;
                }
            }
            // What failed may be something that no label finds again, such as a directory.
            let left = if left.is_empty() {
                tally.not_removed
            } else {
                left.remove
            };
            let names: Vec<&str> = left.iter().map(|item| item.name.as_str()).collect();
            let mut reason = format!("left behind: {}", names.join(", "));
            for problem in tally.failures.into_iter().chain(tally.spared) {
                reason.push_str("; ");
                reason.push_str(&problem);
            }
            sink.emit(RunEventKind::LeftBehind(left));
            return StepOutcome::Failed { reason };
        }
    }

    async fn remove_round(
        &self,
        round: &ConfirmedPlan,
        gives_up: &(dyn Fn() -> bool + Send + Sync),
        control: &Control,
        sink: &mut Sink,
    ) -> Tally {
        let mut tally = Tally {
            not_removed: round.plan().remove.clone(),
            ..Tally::default()
        };
        let grace = control.grace(GRACE);
        let (engine, scope) = (&*self.engine, &self.config.scope);
        teardown::execute(
            engine,
            scope,
            round,
            grace,
            gives_up,
            &mut |item, outcome| {
                let problem = |why: &str| format!("{} {}: {why}", item.kind.word(), item.name);
                match &outcome {
                    ItemOutcome::Failed { why } => tally.failures.push(problem(why)),
                    ItemOutcome::Changed { why } => tally.spared.push(problem(why)),
                    ItemOutcome::Removed | ItemOutcome::Gone => {
                        tally.not_removed.retain(|other| *other != item);
                    }
                }
                sink.emit(RunEventKind::ItemFinished { item, outcome });
            },
        )
        .await;
        tally
    }
}

/// What a round of removals came to.
#[derive(Default)]
struct Tally {
    not_removed: Vec<Item>,
    failures: Vec<String>,
    spared: Vec<String>,
}
