//! The steps of a run before its teardown: up, ready, seed, replays.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::changes::Changes;
use super::environment::Environment;
use super::fingerprint::{Printing, Subject};
use super::recorder::Recorder;
use super::session::{Harness, Request, settle};
use super::sink::Sink;
use crate::config::{self, Config};
use crate::domain::hook::Step;
use crate::domain::id::ContainerId;
use crate::domain::replay::Replay;
use crate::domain::run::{Output, RunEventKind, StepOutcome};
use crate::engine::{EngineError, list_any};
use crate::lifecycle::{HookSettings, Readiness, run_hook, wait_until_ready};
use crate::process::Control;
use crate::record::Store;
use crate::replay::{Attempts, Dispatch, Settings, Timeouts, dispatch};

/// How the work before the teardown ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Also when replays failed: they were run.
    Complete,
    /// A step failed, so what comes after it made no sense.
    Broken,
}

/// The steps before the teardown.
pub(super) struct Steps<'a> {
    pub(super) harness: &'a Harness,
    pub(super) request: &'a Request,
    pub(super) environment: &'a Environment,
    pub(super) record: Option<PathBuf>,
    pub(super) recorder: Option<&'a Recorder>,
    pub(super) control: &'a Control,
}

/// What hooks run with, from the environment as it is by then.
pub(super) type Hooks<'a> = &'a (dyn Fn(&Environment) -> HookSettings + Send + Sync);

impl Steps<'_> {
    pub(super) async fn run(&self, hooks: Hooks<'_>, sink: &mut Sink) -> Result<Work, EngineError> {
        let config = &self.harness.config;
        if let Some(harness) = &config.harness {
            let boot =
                self.request.up && !(self.request.up_if_needed && self.is_ready(harness).await?);
            if boot
                && (!self.hook(Step::Up, harness.up.as_ref(), hooks, sink).await
                    || !self.ready(harness, sink).await?)
            {
                return Ok(Work::Broken);
            }
            if self.request.seed && !self.seed(boot, harness, hooks, sink).await? {
                return Ok(Work::Broken);
            }
        }
        // What changes from here on concerns what runs now.
        let changes = match &self.request.again {
            Some(selection) => Some(Changes::begin(self.harness, selection).await),
            None => None,
        };
        let mut attempts = Attempts::new();
        let printing = self.print(sink);
        self.replays(config, self.request.replays.clone(), &mut attempts, sink)
            .await;
        if let Some(printing) = printing
            && let Err(error) = printing.finish(self.control).await
        {
            sink.emit(not_printed(&error));
        }
        if let Some(changes) = changes {
            self.run_again(changes, hooks, &mut attempts, sink).await?;
        }
        Ok(Work::Complete)
    }

    pub(super) async fn replays(
        &self,
        config: &Config,
        replays: Vec<Arc<Replay>>,
        attempts: &mut Attempts,
        sink: &mut Sink,
    ) {
        let history = || {
            let store = self.harness.store.as_ref();
            store.map(Store::history).unwrap_or_default()
        };
        let settings = Settings {
            config: &config.replays,
            timeouts: Timeouts::new(&config.replays, history),
            env: self.environment.now(),
            settle: settle(),
            record: self.record.clone(),
        };
        let plan = Dispatch {
            replays,
            policy: self.request.policy.clone(),
        };
        let emit = &mut |kind| sink.emit(kind);
        dispatch(&plan, &settings, attempts, self.control, emit).await;
    }

    /// Begins to write down what the replays run against, beside them.
    fn print(&self, sink: &mut Sink) -> Option<Printing> {
        let replays = &self.request.replays;
        let (store, record, run) = (
            self.harness.store.as_ref()?,
            self.record
                .as_ref()
                .filter(|_| self.request.has_replays())?,
            sink.summary(|summary| summary.run.clone())?,
        );
        match store.salt() {
            Ok(salt) => Some(Printing::start(
                Subject {
                    harness: self.harness.clone(),
                    run,
                    replays: replays.clone(),
                    salt,
                    measured: self.recorder.map(|recorder| recorder.measured.clone()),
                    hurried: tokio::sync::watch::channel(false).1,
                },
                record.clone(),
                self.recorder.map(|recorder| recorder.turns.clone()),
            )),
            Err(error) => {
                sink.emit(not_printed(&error));
                None
            }
        }
    }

    /// Seeds unless the stack was found up and has been seeded; says whether to go on.
    async fn seed(
        &self,
        booted: bool,
        harness: &config::Harness,
        hooks: Hooks<'_>,
        sink: &mut Sink,
    ) -> Result<bool, EngineError> {
        if self.request.up_if_needed && !booted && self.is_seeded(&self.containers().await?) {
            return Ok(true);
        }
        self.seed_again(harness, hooks, sink).await
    }

    /// Seeds whatever was seeded before; says whether to go on.
    pub(super) async fn seed_again(
        &self,
        harness: &config::Harness,
        hooks: Hooks<'_>,
        sink: &mut Sink,
    ) -> Result<bool, EngineError> {
        let containers = self.containers().await?;
        if !self
            .hook(Step::Seed, harness.seed.as_ref(), hooks, sink)
            .await
        {
            return Ok(false);
        }
        if let Some(store) = &self.harness.store {
            store.mark_seeded(&containers);
        }
        Ok(true)
    }

    fn is_seeded(&self, containers: &[ContainerId]) -> bool {
        self.harness
            .store
            .as_ref()
            .is_some_and(|store| store.is_seeded(containers))
    }

    async fn containers(&self) -> Result<Vec<ContainerId>, EngineError> {
        let stacks = self.harness.stacks();
        let selectors = stacks.iter().flat_map(|stack| stack.claims.selectors());
        let containers = list_any(&*self.harness.engine, selectors).await?;
        Ok(containers.into_keys().collect())
    }

    /// Runs a hook; says whether what comes after it makes sense.
    pub(super) async fn hook(
        &self,
        step: Step,
        hook: Option<&crate::domain::hook::Hook>,
        hooks: Hooks<'_>,
        sink: &mut Sink,
    ) -> bool {
        if self.control.is_stopped() {
            return false;
        }
        let began = Instant::now();
        sink.emit(RunEventKind::StepStarted { step });
        let (outcome, output) = match hook {
            Some(hook) => {
                let settings = hooks(self.environment);
                run_hook(step, hook, &settings, self.control, &mut |kind| {
                    sink.emit(kind);
                })
                .await
            }
            None => {
                let reason = format!("[harness] has no `{}` hook", step.word());
                (StepOutcome::Skipped { reason }, Output::default())
            }
        };
        let goes_on = matches!(outcome, StepOutcome::Done | StepOutcome::Skipped { .. });
        sink.emit(RunEventKind::StepFinished {
            step,
            outcome,
            took: began.elapsed(),
            output,
        });
        goes_on
    }

    fn readiness<'a>(&'a self, harness: &'a config::Harness) -> Result<Readiness<'a>, String> {
        let http = match &harness.ready.http {
            Some(url) => Some(self.environment.expand(url).map_err(|name| {
                format!("[harness] ready.http needs ${{{name}}}, which nothing sets")
            })?),
            None => None,
        };
        Ok(Readiness {
            ready: &harness.ready,
            stacks: self.harness.stacks(),
            http,
        })
    }

    pub(super) async fn ready(
        &self,
        harness: &config::Harness,
        sink: &mut Sink,
    ) -> Result<bool, EngineError> {
        let began = Instant::now();
        sink.emit(RunEventKind::StepStarted { step: Step::Ready });
        let outcome = match self.readiness(harness) {
            Ok(readiness) => {
                let engine = &*self.harness.engine;
                wait_until_ready(engine, &readiness, self.control, &mut |kind| {
                    sink.emit(kind);
                })
                .await?
            }
            Err(reason) => StepOutcome::Failed { reason },
        };
        let ready = outcome == StepOutcome::Done;
        sink.emit(RunEventKind::StepFinished {
            step: Step::Ready,
            outcome,
            took: began.elapsed(),
            output: Output::default(),
        });
        Ok(ready)
    }

    /// Whether the stack is up right now: one look, no waiting.
    async fn is_ready(&self, harness: &config::Harness) -> Result<bool, EngineError> {
        let Ok(mut readiness) = self.readiness(harness) else {
            return Ok(false);
        };
        if readiness.http.is_none() && (readiness.stacks.is_empty() || !harness.ready.healthy) {
            // Nothing could tell.
            return Ok(false);
        }
        let once = config::Ready {
            timeout: Duration::ZERO,
            ..harness.ready.clone()
        };
        readiness.ready = &once;
        let engine = &*self.harness.engine;
        let outcome = wait_until_ready(engine, &readiness, self.control, &mut |_| {}).await?;
        Ok(outcome == StepOutcome::Done)
    }
}

fn not_printed(error: &std::io::Error) -> RunEventKind {
    RunEventKind::Note(format!(
        "what the run ran against is not written down: {error}"
    ))
}
