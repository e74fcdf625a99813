//! `guard`: ends a run whose process has died. Nobody reads its outputs, so it writes a log.

use std::fs::File;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use super::args::Guard;
use super::output::{Ended, Failure};
use crate::bootstrap::{Context, Options};
use crate::domain::exit::Exit;
use crate::domain::id::RunId;
use crate::domain::run::Summary;
use crate::harness::{Harness, Request, Teardown};
use crate::process::{Adopted, Controller, Phase, Sweep, sweep};
use crate::record::LockError;
use crate::report::{Human, Palette};
use crate::text::sanitize::sanitize_plain;

/// Between TERM and KILL where no configuration says it.
const GRACE: Duration = Duration::from_secs(5);

/// How long the harness may stay locked by the one who died, or by a run that was faster.
const LOCKED: Duration = Duration::from_secs(10);
const LOCKED_PAUSE: Duration = Duration::from_millis(20);

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
    let grace = context
        .as_ref()
        .map_or(GRACE, |context| context.config.replays.grace);
    let left = Sweep {
        variables: vec![(RunId::VARIABLE, Some(args.run.to_string()))],
        adopted: Adopted::None,
        grace,
    };
    let control = Controller::default().control(Phase::Teardown);
    for survivor in sweep(&left, &control).await {
        let survivor = survivor.to_string();
        let _ = writeln!(log, "ended {}", sanitize_plain(&survivor));
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
    wait_for_lock(&harness).await;
    let request = Request {
        teardown: Teardown::Always,
        any_age: args.any_age,
        run: Some(args.run.clone()),
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

/// The kernel releases what a dead process held in an order of its own.
async fn wait_for_lock(harness: &Harness) {
    let Some(store) = &harness.store else {
        return;
    };
    let began = Instant::now();
    while matches!(store.lock(), Err(LockError::Held { .. })) && began.elapsed() < LOCKED {
        tokio::time::sleep(LOCKED_PAUSE).await;
    }
}
