//! `guard`: ends a run whose process has died. Nobody reads its outputs, so it writes a log.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::args::Guard;
use super::output::{Ended, Failure};
use crate::bootstrap::{Context, Options};
use crate::domain::exit::Exit;
use crate::domain::hook::Step;
use crate::domain::id::RunId;
use crate::domain::run::{Seconds, StepResult, Summary};
use crate::engine::Backoff;
use crate::harness::{Harness, Request, Teardown};
use crate::process::{Adopted, Controller, Phase, Sweep, sweep};
use crate::record::{self, HarnessLock, LockError, Store};
use crate::report::{Human, Palette};
use crate::text::sanitize::sanitize_plain;

/// Between TERM and KILL where no configuration says it.
const GRACE: Duration = Duration::from_secs(5);

/// Between two looks at whether the harness is free. Whoever holds it may do so for hours.
const LOCKED_PAUSE: Duration = Duration::from_millis(20);

/// How long an engine that does not answer is asked again. Nobody waits for a guard, and what killed
/// the runner may have taken the engine along for a while.
const ENGINE_AWAY: Duration = Duration::from_secs(600);

pub(super) async fn take_over(options: &Options, args: &Guard) -> Result<Ended, Failure> {
    let file = args.log.as_ref();
    let file = file.and_then(|file| File::options().create(true).append(true).open(file).ok());
    // What cannot be said is done all the same.
    let mut log: Box<dyn Write> = match file {
        Some(file) => Box::new(file),
        None => Box::new(io::sink()),
    };
    let _ = writeln!(log, "the process of run {} has died", args.run);
    let context = Context::open(options);
    // Before anything else: who comes now is to find the harness as a run leaves it.
    let mut lock = match &context {
        Ok(context) if args.take_down => try_lock(&context.harness()).unwrap_or_default(),
        _ => None,
    };
    let grace = context
        .as_ref()
        .map_or(GRACE, |context| context.config.replays.grace);
    let left = Sweep {
        variables: vec![(RunId::VARIABLE, Some(args.run.to_string()))],
        branded: Some(args.run.clone()),
        adopted: Adopted::None,
        grace,
    };
    let control = Controller::default().control(Phase::Teardown);
    for survivor in sweep(&left, &control).await {
        let survivor = survivor.to_string();
        let _ = writeln!(log, "left: {}", sanitize_plain(&survivor));
    }
    if !args.take_down {
        return Ok(Ended::with(Exit::Ok));
    }
    let context = match context {
        Ok(context) => context,
        Err(error) => {
            let error = error.to_string();
            let _ = writeln!(log, "cannot take down: {}", sanitize_plain(&error));
            return Ok(Ended::with(Exit::Usage));
        }
    };
    let harness = Harness {
        guard: None,
        ..context.harness()
    };
    if lock.is_none() {
        lock = take_lock(&harness).await;
    }
    if let Some(run) = booted_since(&harness, &args.run) {
        let _ = writeln!(
            log,
            "the harness is left to run {run}, which booted it since"
        );
        return Ok(Ended::with(Exit::Ok));
    }
    if !harness.config.harness_stacks().is_empty() {
        wait_for_engine(&harness, &mut log).await;
    }
    let request = Request {
        teardown: Teardown::Always,
        any_age: args.any_age,
        run: Some(args.run.clone()),
        lock,
        ..Request::nothing()
    };
    let mut session = harness.start(request, Controller::default());
    let mut human = Human::new(io::sink(), log, Palette { colour: false });
    let mut summary = Summary::default();
    while let Some(event) = session.events.next().await {
        summary.fold(&event);
        let _ = human.event(&event);
    }
    Ok(Ended::with(Exit::of(&summary)))
}

/// Somebody else works on the harness.
struct Busy;

/// `None` where there is nothing to hold.
fn try_lock(harness: &Harness) -> Result<Option<Arc<HarnessLock>>, Busy> {
    match harness.store.as_ref().map(Store::lock) {
        Some(Ok(lock)) => Ok(Some(Arc::new(lock))),
        Some(Err(LockError::Held { .. })) => Err(Busy),
        Some(Err(LockError::Io { .. })) | None => Ok(None),
    }
}

/// The kernel releases what a dead process held in an order of its own, and somebody may have been
/// faster.
async fn take_lock(harness: &Harness) -> Option<Arc<HarnessLock>> {
    loop {
        match try_lock(harness) {
            Ok(lock) => return lock,
            Err(Busy) => tokio::time::sleep(LOCKED_PAUSE).await,
        }
    }
}

/// The run that has booted the harness after this one: what is up is its own.
fn booted_since(harness: &Harness, run: &RunId) -> Option<String> {
    let runs = harness.store.as_ref()?.runs().ok()?;
    let names = |directory: &PathBuf| Some(directory.file_name()?.to_str()?.to_owned());
    runs.iter()
        .filter_map(|directory| Some((directory, names(directory)?)))
        .take_while(|(_, name)| name.as_str() > run.as_str())
        .find(|(directory, _)| {
            let recording = record::read(directory);
            let has_booted = |result: &StepResult| result.step == Step::Up;
            recording.is_ok_and(|recording| recording.summary.steps.iter().any(has_booted))
        })
        .map(|(_, name)| name)
}

/// After it, whatever is still wrong is said by the teardown itself.
async fn wait_for_engine(harness: &Harness, log: &mut impl Write) {
    let began = Instant::now();
    let mut backoff = Backoff::default();
    let mut said = false;
    while let Err(error) = harness.engine.info().await
        && error.is_outage()
        && began.elapsed() < ENGINE_AWAY
    {
        if !said {
            let cause = error.advice().to_string();
            let _ = writeln!(
                log,
                "asked again for up to {}: {}",
                Seconds(ENGINE_AWAY),
                sanitize_plain(&cause)
            );
            said = true;
        }
        tokio::time::sleep(backoff.step()).await;
    }
}
