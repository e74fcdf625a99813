//! Taking the harness down: plan, hook, what the hook left, and the check.

use std::time::{Duration, Instant};

use super::session::Harness;
use super::sink::Sink;
use crate::domain::container::State;
use crate::domain::hook::Step;
use crate::domain::plan::{ConfirmedPlan, Item, ItemOutcome, TeardownPlan};
use crate::domain::run::{Output, RunEventKind, StepOutcome};
use crate::domain::scope::StackName;
use crate::lifecycle::{HookSettings, run_hook};
use crate::process::Control;
use crate::teardown::{self, PlanError};

/// How often what appeared meanwhile is planned and removed again. A stack that keeps growing has
/// a spawner that is still alive, and that is to be said instead of being chased for ever.
const ROUNDS: usize = 3;

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
    ///
    /// `again`: what has appeared since is planned and removed too, in bounded rounds. Only an
    /// invocation that consented to the whole stack may say so.
    pub(super) async fn take_down(
        &self,
        confirmed: &ConfirmedPlan,
        again: bool,
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
        let outcome = self.sweep(confirmed, again, control, sink, &stack).await;
        sink.emit(RunEventKind::StepFinished {
            step: Step::Teardown,
            outcome,
            took: began.elapsed(),
            output: Output::default(),
        });
    }

    /// The plan, after the engine has finished the removals that it has begun: a container that
    /// removes itself at its end is still listed for a moment.
    async fn plan_when_settled(&self, stack: &str) -> Result<TeardownPlan, PlanError> {
        let removing = State::Removing.word();
        let mut plan = self.plan(stack).await?;
        for _ in 0..SETTLING {
            let settled = |item: &Item| item.state.as_deref() != Some(removing);
            if plan.remove.iter().all(settled) {
                break;
            }
            tokio::time::sleep(SETTLING_PAUSE).await;
            plan = self.plan(stack).await?;
        }
        Ok(plan)
    }

    async fn sweep(
        &self,
        confirmed: &ConfirmedPlan,
        again: bool,
        control: &Control,
        sink: &mut Sink,
        stack: &StackName,
    ) -> StepOutcome {
        let mut round = confirmed.clone();
        for number in 1.. {
            let mut failures: Vec<String> = Vec::new();
            let mut spared: Vec<String> = Vec::new();
            if !control.is_abandoned() {
                let engine = &*self.engine;
                let grace = control.grace(GRACE);
                teardown::execute(
                    engine,
                    &self.config.scope,
                    &round,
                    grace,
                    &mut |item, outcome| {
                        let problem =
                            |why: &str| format!("{} {}: {why}", item.kind.word(), item.name);
                        match &outcome {
                            ItemOutcome::Failed { why } => failures.push(problem(why)),
                            ItemOutcome::Changed { why } => spared.push(problem(why)),
                            ItemOutcome::Removed | ItemOutcome::Gone => {}
                        }
                        sink.emit(RunEventKind::ItemFinished { item, outcome });
                    },
                )
                .await;
            }
            let left = match self.plan_when_settled(stack).await {
                Ok(plan) => plan,
                Err(error) => {
                    return StepOutcome::Failed {
                        reason: format!("cannot check what is left: {error}"),
                    };
                }
            };
            if left.is_empty() {
                // What failed may be something that no label finds again, such as a directory.
                if failures.is_empty() {
                    return StepOutcome::Done;
                }
                let reason = failures.join("; ");
                return StepOutcome::Failed { reason };
            }
            if again && number < ROUNDS && !control.is_abandoned() {
                sink.emit(RunEventKind::Note(format!(
                    "{} more appeared or stayed, taking them down as well",
                    left.remove.len()
                )));
                let fingerprint = left.fingerprint();
                sink.emit(RunEventKind::Planned(left.clone()));
                match left.confirm(&fingerprint) {
                    Ok(confirmed) => round = confirmed,
                    Err(changed) => {
                        return StepOutcome::Failed {
                            reason: changed.to_string(),
                        };
                    }
                }
                continue;
            }
            let names: Vec<&str> = left.remove.iter().map(|item| item.name.as_str()).collect();
            let mut reason = format!("left behind: {}", names.join(", "));
            for problem in failures.into_iter().chain(spared) {
                reason.push_str("; ");
                reason.push_str(&problem);
            }
            sink.emit(RunEventKind::LeftBehind(left.remove));
            return StepOutcome::Failed { reason };
        }
        StepOutcome::Done
    }
}
