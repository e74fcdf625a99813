//! One run, from its first step to its last.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use jiff::Timestamp;

use super::environment::Environment;
use super::recorder::Recorder;
use super::sink::{self, RunEvents, Sink};
use super::steps::{Steps, Work};
use crate::codec::Header;
use crate::config::Config;
use crate::domain::container::Container;
use crate::domain::exit::Exit;
use crate::domain::hook::Step;
use crate::domain::id::RunId;
use crate::domain::plan::ConfirmedPlan;
use crate::domain::replay::{Replay, ReplayName};
use crate::domain::run::{Output, RunEventKind, StepOutcome};
use crate::domain::scope::{Asker, Protection, Stack};
use crate::engine::{Engine, list_any};
use crate::lifecycle::{HookSettings, run_hook};
use crate::process::{self, Adopted, Control, Controller, GuardCommand, Phase, Sweep};
use crate::record::{HarnessLock, LockError, Store};
use crate::replay::{Policy, Selection};

/// A configuration and the engine that it speaks of.
#[derive(Clone)]
pub struct Harness {
    pub config: Arc<Config>,
    pub engine: Arc<dyn Engine>,
    /// Where runs leave their outputs; `None` where there is no such place.
    pub store: Option<Store>,
    /// How to start who takes over where we are killed; `None` where there is nobody.
    pub guard: Option<GuardCommand>,
}

impl std::fmt::Debug for Harness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Harness")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// What a session is to do, in this order.
#[derive(Clone, Debug)]
pub struct Request {
    /// Boot the stack and wait until it is ready.
    pub up: bool,
    /// Boot only where it is not ready already.
    pub up_if_needed: bool,
    pub seed: bool,
    pub replays: Vec<Arc<Replay>>,
    /// How they are run.
    pub policy: Policy,
    /// After the replays: wait for changes, and run again what they concern, until a stop is asked
    /// for. It says which replays may run.
    pub again: Option<Selection>,
    pub teardown: Teardown,
    /// Passed on to the hooks as `REBUILD=1`.
    pub rebuild: bool,
    /// A teardown takes also what other runs have just made.
    pub any_age: bool,
    /// The run that this goes on with; a new one without it.
    pub run: Option<RunId>,
    /// The caller holds the harness already.
    pub lock: Option<Arc<HarnessLock>>,
}

impl Request {
    /// Whether replays may run, now or later.
    pub(super) fn has_replays(&self) -> bool {
        !self.replays.is_empty() || self.again.is_some()
    }
}

/// When the stack is taken down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Teardown {
    /// At the end, whatever happened.
    Always,
    /// At the end if all was ok: a failure is to be looked at.
    UnlessFailed,
    /// Only if somebody cuts `up` off: half a stack is of no use to anybody.
    IfCutOff,
    /// Never: the user wants to look at it.
    Never,
    /// What somebody confirmed, in this order, as far as that goes.
    Confirmed(Vec<ConfirmedPlan>, Consent),
}

impl Teardown {
    /// Whether a run that comes to its end by itself may take the stack down.
    pub fn is_regular(&self) -> bool {
        matches!(self, Self::Always | Self::UnlessFailed)
    }
}

/// How far the confirmation of a plan goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// Exactly what the plan names. What has appeared since stays, and is named at the end.
    Plan,
    /// The stack: what has appeared since is planned and removed as well, in bounded rounds.
    Stack,
}

impl Request {
    /// Nothing; a base to write requests from.
    pub fn nothing() -> Self {
        Self {
            up: false,
            up_if_needed: false,
            seed: false,
            replays: Vec::new(),
            policy: Policy::default(),
            again: None,
            teardown: Teardown::Never,
            rebuild: false,
            any_age: false,
            run: None,
            lock: None,
        }
    }
}

/// A run that is under way.
#[derive(Debug)]
pub struct Session {
    pub run: RunId,
    pub controller: Controller,
    pub events: RunEvents,
}

/// No two of a process are equal, also when they begin in the same millisecond: a run ends every
/// process that carries its id.
fn new_run_id() -> RunId {
    static LAST: AtomicI64 = AtomicI64::new(0);
    let now = Timestamp::now();
    let after = |last: i64| now.as_millisecond().max(last + 1);
    let last = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
        Some(after(last))
    });
    let last = last.unwrap_or_else(|last| last);
    let begun = Timestamp::from_millisecond(after(last)).unwrap_or(now);
    RunId::new(begun, std::process::id())
}

impl Harness {
    /// Starts a session. Its events come to an end whatever happens, and so does its teardown:
    /// only the controller can cut it short.
    pub fn start(&self, request: Request, controller: Controller) -> Session {
        let run = request.run.clone().unwrap_or_else(new_run_id);
        let (mut sink, events) = sink::channel();
        let harness = self.clone();
        let session = Session {
            run: run.clone(),
            controller: controller.clone(),
            events,
        };
        tokio::spawn(async move {
            // Whatever breaks, the stream ends with what is known, and not as if all was well.
            let drive = harness.drive(request, &run, &controller, &mut sink);
            let driven = std::panic::AssertUnwindSafe(drive).catch_unwind().await;
            if let Err(panic) = driven {
                sink.emit(RunEventKind::InternalError {
                    cause: panic_message(&*panic),
                });
            }
            sink.finish();
        });
        session
    }

    /// What `up` boots, in this order.
    pub(super) fn stacks(&self) -> Vec<&Stack> {
        let names = self.config.harness_stacks().iter();
        names
            .filter_map(|name| self.config.scope.stack(name))
            .collect()
    }

    async fn drive(&self, request: Request, run: &RunId, controller: &Controller, sink: &mut Sink) {
        let stacks = match &request.teardown {
            Teardown::Confirmed(confirmed, _) => confirmed
                .iter()
                .map(|confirmed| confirmed.plan().stack.clone())
                .collect(),
            _ => self
                .stacks()
                .iter()
                .map(|stack| stack.name.clone())
                .collect(),
        };
        sink.emit(RunEventKind::Started {
            run: run.clone(),
            replays: request.replays.clone(),
            stacks,
        });
        let lock = match self.admit(&request, sink).await {
            Ok(lock) => lock,
            Err(refusal) => return sink.emit(refusal),
        };
        let _adopting = process::adopt();
        // Cutting `up` off must not cost a stack that was there before.
        let found_up = request.teardown == Teardown::IfCutOff && self.is_anything_up().await;
        let keep_up = request.teardown == Teardown::Never;
        let environment = Environment::new(&self.config, run, keep_up, request.rebuild);
        let store = self.store.as_ref().ok_or_else(no_store);
        let record = match store.and_then(|store| store.begin(run, &self.config.replays.keep)) {
            Ok(directory) => Some(directory),
            Err(error) => {
                sink.emit(RunEventKind::Note(format!(
                    "outputs are not kept on disk: {error}"
                )));
                None
            }
        };
        sink.record(
            record.as_deref(),
            &Header {
                name: self.config.name.clone(),
                root: self.config.root.clone(),
                scope: self.config.scope.clone(),
                harness: self.config.harness_stacks().to_vec(),
            },
        );
        let guard = self.post_guard(&request, run, found_up, record.as_deref(), sink);
        let control = controller.control(Phase::Work);
        let recorder = match &record {
            Some(directory) if request.has_replays() && Recorder::is_wanted(&self.config.scope) => {
                Some(Recorder::start(self, directory, sink.notes(), &control).await)
            }
            _ => None,
        };
        let hooks = |environment: &Environment| HookSettings {
            dir: self
                .config
                .harness
                .as_ref()
                .map_or_else(|| self.config.root.clone(), |harness| harness.dir.clone()),
            env: environment.now(),
            grace: self.config.replays.grace,
            settle: settle(),
            record: record.clone(),
        };

        let work = Steps {
            harness: self,
            request: &request,
            environment: &environment,
            record: record.clone(),
            recorder: recorder.as_ref(),
            control: &control,
        };
        // A fault of our own must not leave the stack behind.
        let result = std::panic::AssertUnwindSafe(work.run(&hooks, sink))
            .catch_unwind()
            .await;
        let work = match result {
            Ok(Ok(work)) => work,
            Ok(Err(error)) => {
                sink.emit(RunEventKind::EngineLost {
                    cause: error.advice().to_string(),
                });
                Work::Broken
            }
            Err(panic) => {
                sink.emit(RunEventKind::InternalError {
                    cause: panic_message(&*panic),
                });
                Work::Broken
            }
        };
        if let Some(signal) = controller.signal() {
            sink.emit(RunEventKind::Interrupted(signal));
        }
        let hook_settings = hooks(&environment);
        let fresh = work == Work::Broken && !found_up;
        let control = match &request.teardown {
            // It is the work, so the first request stops it.
            Teardown::Confirmed(..) => control,
            _ => control.teardown(),
        };
        let taken_down = self
            .end(&request, work, fresh, &hook_settings, &control, sink)
            .await;
        self.end_processes(run, taken_down, &control, sink).await;
        if let Some(recorder) = recorder {
            // Whoever has asked for a stop before has waited for the teardown, and asks again.
            let phase = controller.signal().map_or(Phase::Work, |_| Phase::Teardown);
            recorder.finish(&controller.control(phase)).await;
        }
        let told = sink.summary(|summary| summary.interrupted);
        if let (Some(signal), None) = (controller.signal(), told) {
            sink.emit(RunEventKind::Interrupted(signal));
        }
        if let Some(guard) = guard {
            guard.dismiss().await;
        }
        drop(lock);
    }

    /// Whether a container of one of the stacks exists that is not left to another run; where that
    /// cannot be told, it is assumed.
    async fn is_anything_up(&self) -> bool {
        let stacks = self.stacks();
        let asker = Asker::by_hand(Timestamp::now(), false);
        for stack in &stacks {
            let Ok(containers) = list_any(&*self.engine, stack.claims.selectors()).await else {
                return true;
            };
            let is_kept = |container: &Container| {
                let (labels, created) = (&container.labels, Some(container.created));
                let guard = stack.run_guard.as_ref();
                guard.is_some_and(|guard| guard.keeps(labels, created, &asker).is_some())
            };
            if !containers.values().all(is_kept) {
                return true;
            }
        }
        stacks.is_empty()
    }

    /// What must hold before anything is done: the engine answers, we may take down what we are
    /// about to boot, and nobody else is at work on it.
    async fn admit(
        &self,
        request: &Request,
        sink: &mut Sink,
    ) -> Result<Option<HarnessLock>, RunEventKind> {
        let stacks = self.stacks();
        let protected = |stack: &&&Stack| stack.protection == Protection::Protected;
        if request.teardown.is_regular()
            && let Some(stack) = stacks.iter().find(protected)
        {
            return Err(RunEventKind::Refused {
                reason: format!(
                    "{} is protected, so it could be booted and never taken down: \
                     say `teardown = true` in its [[stack]], or --keep-up",
                    stack.name
                ),
            });
        }
        if !stacks.is_empty() || matches!(request.teardown, Teardown::Confirmed(..)) {
            self.engine
                .info()
                .await
                .map_err(|error| RunEventKind::EngineLost {
                    cause: error.advice().to_string(),
                })?;
        }
        if request.lock.is_some() {
            return Ok(None);
        }
        let locked = self
            .store
            .as_ref()
            .ok_or_else(|| no_store().to_string())
            .and_then(|store| match store.lock() {
                Ok(lock) => Ok(Ok(lock)),
                Err(held @ LockError::Held { .. }) => Ok(Err(held)),
                Err(error) => Err(error.to_string()),
            });
        match locked {
            Ok(Ok(lock)) => Ok(Some(lock)),
            Ok(Err(held)) => Err(RunEventKind::Refused {
                reason: held.to_string(),
            }),
            Err(why) => {
                sink.emit(RunEventKind::Note(format!(
                    "another tackroom on this harness would not be noticed: {why}"
                )));
                Ok(None)
            }
        }
    }

    /// What the run has left on this machine. Where the harness stays, so does what its hooks have
    /// left for it.
    async fn end_processes(
        &self,
        run: &RunId,
        taken_down: bool,
        control: &Control,
        sink: &mut Sink,
    ) {
        let mut sweep = Sweep {
            variables: vec![(RunId::VARIABLE, Some(run.to_string()))],
            branded: None,
            adopted: Adopted::All,
            grace: self.config.replays.grace,
        };
        if !taken_down {
            sweep.variables.push((ReplayName::VARIABLE, None));
            sweep.adopted = Adopted::Suspects;
        }
        for survivor in process::sweep(&sweep, control).await {
            let ended = if survivor.ended {
                ", which was ended"
            } else {
                ""
            };
            sink.emit(RunEventKind::Note(format!(
                "the run left a process behind{ended}: {survivor}"
            )));
        }
    }

    /// Says whether the harness has been taken down.
    async fn end(
        &self,
        request: &Request,
        work: Work,
        fresh: bool,
        hooks: &HookSettings,
        control: &Control,
        sink: &mut Sink,
    ) -> bool {
        let asker = Asker {
            run: sink.summary(|summary| summary.run.clone()),
            ..Asker::by_hand(Timestamp::now(), request.any_age)
        };
        match &request.teardown {
            Teardown::Confirmed(confirmed, consent) => {
                self.take_down(confirmed, *consent, &asker, hooks, control, sink)
                    .await;
                // Perhaps one stack of several.
                false
            }
            Teardown::Never => {
                self.say_how_to_take_down(request, sink);
                false
            }
            Teardown::UnlessFailed if sink.summary(Exit::of) != Exit::Ok => {
                self.say_how_to_take_down(request, sink);
                false
            }
            Teardown::IfCutOff
                if !fresh || sink.summary(|summary| summary.interrupted.is_none()) =>
            {
                if work == Work::Broken {
                    self.say_how_to_take_down(request, sink);
                }
                false
            }
            Teardown::IfCutOff | Teardown::UnlessFailed | Teardown::Always => {
                self.take_all_down(&asker, hooks, control, sink).await;
                true
            }
        }
    }

    /// The invocation itself consented to taking down its own stacks; what goes is what is printed.
    async fn take_all_down(
        &self,
        asker: &Asker,
        hooks: &HookSettings,
        control: &Control,
        sink: &mut Sink,
    ) {
        let began = tokio::time::Instant::now();
        let (plans, unplanned) = self.plan_all_patiently(asker, control).await;
        let waited = began.elapsed();
        let mut confirmed = Vec::new();
        for plan in plans {
            sink.emit(RunEventKind::Planned(plan.clone()));
            let fingerprint = plan.fingerprint();
            match plan.confirm(&fingerprint) {
                Ok(plan) => confirmed.push(plan),
                Err(changed) => {
                    return sink.emit(RunEventKind::Refused {
                        reason: changed.to_string(),
                    });
                }
            }
        }
        if confirmed.is_empty() && !self.may_run_hook(&unplanned) {
            sink.emit(RunEventKind::Note(
                "the `down` hook does not run: nobody knows what it would take down".to_owned(),
            ));
        } else if confirmed.is_empty() {
            // The invocation consented to its own hook, and the hook may still reach it.
            self.down_hook_only(hooks, control, sink).await;
        } else {
            self.take_down(&confirmed, Consent::Stack, asker, hooks, control, sink)
                .await;
        }
        for (stack, error) in unplanned {
            sink.emit(RunEventKind::StepFinished {
                step: Step::Teardown,
                outcome: StepOutcome::Failed {
                    reason: format!(
                        "cannot plan for {stack}, so nobody checked what is left: {error}"
                    ),
                },
                took: waited,
                output: Output::default(),
            });
        }
    }

    /// Without a declared stack, or an engine to ask, nothing is ours to remove; the hook knows.
    async fn down_hook_only(&self, hooks: &HookSettings, control: &Control, sink: &mut Sink) {
        let Some(hook) = self.config.harness.as_ref().and_then(|h| h.down.as_ref()) else {
            return;
        };
        sink.emit(RunEventKind::StepStarted { step: Step::Down });
        let began = Instant::now();
        let (outcome, output) = run_hook(Step::Down, hook, hooks, control, &mut |kind| {
            sink.emit(kind);
        })
        .await;
        sink.emit(RunEventKind::StepFinished {
            step: Step::Down,
            outcome,
            took: began.elapsed(),
            output,
        });
        if self.stacks().is_empty() {
            sink.emit(RunEventKind::Note(
                "no stack is declared for this harness, so nobody checked what is left".to_owned(),
            ));
        }
    }

    fn say_how_to_take_down(&self, request: &Request, sink: &mut Sink) {
        if request.up {
            let stacks = self.stacks();
            let names: Vec<&str> = stacks.iter().map(|stack| &*stack.name).collect();
            let text = match names.as_slice() {
                [] => "the harness was left up; `tackroom down` takes it down".to_owned(),
                [name] => format!("{name} was left up; `tackroom down` takes it down"),
                names => {
                    let names = names.join(", ");
                    format!("{names} were left up; `tackroom down` takes them down")
                }
            };
            sink.emit(RunEventKind::Note(text));
        }
    }
}

/// How long children of a finished script may take to end by themselves. CI machines are loaded.
pub(super) fn settle() -> Duration {
    if std::env::var_os("CI").is_some() {
        Duration::from_millis(500)
    } else {
        Duration::from_millis(100)
    }
}

fn no_store() -> std::io::Error {
    std::io::Error::other("there is no home directory")
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn runs_that_begin_at_once_are_told_apart() {
        let ids: BTreeSet<RunId> = (0..100).map(|_| new_run_id()).collect();
        assert_eq!(ids.len(), 100);
    }
}
