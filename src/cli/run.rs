//! `run`, `up`, `seed` and `down`: sessions of the harness.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use super::args::{Color, Down, KeepUp, Lifecycle, Run, Seed};
use super::choose::{choose, policy};
use super::output::{Ended, Failure, Outlet, complain, is_ci, mention_missing_file, palette};
use super::report::Targets;
use super::{dry_run, list};
use crate::bootstrap::{Context, Options};
use crate::config::{self, Config};
use crate::domain::exit::Exit;
use crate::domain::replay::ReplayName;
use crate::domain::run::{RunEvent, RunEventKind, Seconds, Summary};
use crate::harness::{Request, Session, Teardown};
use crate::process::listen;
use crate::replay::Chosen;
use crate::report::{Human, Results, json_event, json_line};

/// A sign of life for CI servers, which take silence for a hang.
const HEARTBEAT: Duration = Duration::from_secs(60);

pub(super) async fn run(options: &Options, color: Color, args: Run) -> Result<Ended, Failure> {
    let context = Context::open(options)?;
    mention_missing_file(&context.config);
    let chosen = choose(&context.config, args.selecting)?;
    if let (Chosen::Replays(replays), true) = (&chosen, args.list) {
        return list::write(replays, color, args.json);
    }
    let reports = Targets::new(&args.report, args.junit.as_deref(), args.json)?.for_ci();
    let Chosen::Replays(replays) = chosen else {
        if !(args.list || args.dry_run) {
            // Whoever reads one next must not take an earlier one for this run's.
            let nothing = Summary::default();
            reports.write(&Results::new(&context.config.name, &nothing, &[]), color);
        }
        return Ok(Ended::with(Exit::Ok));
    };
    for replay in &replays {
        for problem in &replay.header.problems {
            complain(format_args!("{}: {problem}", replay.file));
        }
    }
    let request = Request {
        up: !args.no_up,
        seed: !args.no_up,
        replays: replays.clone(),
        policy: policy(&context.config, &args.running),
        teardown: match args.keep_up {
            _ if args.no_up => Teardown::Never,
            None | Some(KeepUp::Never) => Teardown::Always,
            Some(KeepUp::Failed) => Teardown::UnlessFailed,
            Some(KeepUp::Always) => Teardown::Never,
        },
        rebuild: args.rebuild,
        ..Request::nothing()
    };
    if args.dry_run {
        return dry_run::write(&context.config, &request, args.json);
    }
    let stdout = match (args.json, reports.take_stdout()) {
        (true, _) => Stdout::Events,
        (false, true) => Stdout::Report,
        (false, false) => Stdout::Results,
    };
    let summary = session(&context, request, color, stdout).await?;
    let mut exit = Exit::of(&summary);
    let results = Results::new(&context.config.name, &summary, &replays);
    if !reports.write(&results, color) && exit == Exit::Ok {
        exit = Exit::Internal;
    }
    Ok(Ended {
        exit,
        signal: context.controller.signal(),
    })
}

pub(super) async fn up(
    options: &Options,
    color: Color,
    args: &Lifecycle,
) -> Result<Ended, Failure> {
    let request = Request {
        up: true,
        teardown: Teardown::IfCutOff,
        rebuild: args.rebuild,
        ..Request::nothing()
    };
    lifecycle(options, color, args.json, request).await
}

pub(super) async fn seed(options: &Options, color: Color, args: &Seed) -> Result<Ended, Failure> {
    let request = Request {
        seed: true,
        ..Request::nothing()
    };
    lifecycle(options, color, args.json, request).await
}

pub(super) async fn down(options: &Options, color: Color, args: &Down) -> Result<Ended, Failure> {
    let request = Request {
        teardown: Teardown::Always,
        any_age: args.any_age,
        ..Request::nothing()
    };
    lifecycle(options, color, args.json, request).await
}

async fn lifecycle(
    options: &Options,
    color: Color,
    json: bool,
    request: Request,
) -> Result<Ended, Failure> {
    let context = Context::open(options)?;
    harness_of(&context.config)?;
    let summary = session(&context, request, color, Stdout::of(json)).await?;
    Ok(Ended {
        exit: Exit::of(&summary),
        signal: context.controller.signal(),
    })
}

fn harness_of(config: &Config) -> Result<&config::Harness, Failure> {
    config.harness.as_ref().ok_or_else(|| {
        let place = match &config.file {
            Some(file) => format!("{} has no [harness]", file.display()),
            None => "there is no tackroom.toml here or above".to_owned(),
        };
        Failure::usage(format!("{place}; `tackroom init` writes a commented file"))
    })
}

/// What stdout is for while a session goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stdout {
    Results,
    Events,
    /// A report that is written at the end.
    Report,
}

impl Stdout {
    pub(super) fn of(json: bool) -> Self {
        if json { Self::Events } else { Self::Results }
    }
}

/// Runs a session to its end and gives its summary. Whoever reads our output may go away; the
/// session comes to its end all the same.
pub(super) async fn session(
    context: &Context,
    request: Request,
    color: Color,
    stdout: Stdout,
) -> Result<Summary, Failure> {
    let interactive = io::stdin().is_terminal() && io::stderr().is_terminal() && !is_ci();
    listen(context.controller.clone(), interactive)?;
    let session = context.harness().start(request, context.controller.clone());
    let results = Outlet::new(io::stdout());
    let lost = results.lost();
    let mut printer = Printer::new(color, stdout, results);
    let mut summary = consume(session, &mut printer).await;
    if let Some(why) = lost.why() {
        let cause = format!("the results could not be written: {why}");
        complain(&cause);
        summary.internal_error.get_or_insert(cause);
    }
    Ok(summary)
}

async fn consume(mut session: Session, printer: &mut Printer) -> Summary {
    let mut summary = Summary::default();
    let mut step = None;
    let mut running: Vec<ReplayName> = Vec::new();
    let mut finished = false;
    loop {
        let event = match tokio::time::timeout(HEARTBEAT, session.events.next()).await {
            Ok(Some(event)) => event,
            Ok(None) => {
                // It ended without saying so: it was cut off, and that is never a pass.
                if !finished {
                    let cause = "the run broke off".to_owned();
                    summary.internal_error.get_or_insert(cause);
                }
                return summary;
            }
            Err(_) => {
                if is_ci() {
                    let replays = running.iter().map(ReplayName::as_str);
                    let doing: Vec<&str> = step.into_iter().chain(replays).collect();
                    let doing = doing.join(", ");
                    complain(format_args!(
                        "still at work: {doing} ({})",
                        Seconds(summary.took)
                    ));
                }
                continue;
            }
        };
        match &event.kind {
            RunEventKind::StepStarted { step: begun } => step = Some(begun.word()),
            RunEventKind::StepFinished { .. } => step = None,
            RunEventKind::ReplayStarted { replay, .. } => running.push(replay.clone()),
            RunEventKind::ReplayFinished(result) => {
                running.retain(|replay| *replay != result.replay);
            }
            RunEventKind::Finished(_) => finished = true,
            _ => {}
        }
        summary.fold(&event);
        printer.print(&event);
    }
}

enum Printer {
    Human(Human<Outlet<io::Stdout>, Outlet<io::Stderr>>),
    /// People still see the run, on stderr.
    Aside(Human<Outlet<io::Stderr>, Outlet<io::Stderr>>),
    Json(
        Outlet<io::Stdout>,
        Human<Outlet<io::Stderr>, Outlet<io::Stderr>>,
    ),
}

impl Printer {
    fn new(color: Color, stdout: Stdout, results: Outlet<io::Stdout>) -> Self {
        let stderr = palette(color, &io::stderr());
        let errors = || Outlet::new(io::stderr());
        let aside = || Human::new(errors(), errors(), stderr);
        match stdout {
            Stdout::Events => Self::Json(results, aside()),
            Stdout::Report => Self::Aside(aside()),
            Stdout::Results => {
                let both = palette(color, &io::stdout());
                // One palette for both: a verdict in a file must not carry colour codes.
                let palette = if both.colour { stderr } else { both };
                Self::Human(Human::new(results, errors(), palette))
            }
        }
    }

    fn print(&mut self, event: &RunEvent) {
        // An outlet takes everything, so nothing fails here.
        let _ = match self {
            Self::Human(human) => human.event(event),
            Self::Aside(human) => human.event(event),
            Self::Json(results, human) => human
                .event(event)
                .and_then(|()| writeln!(results, "{}", json_line(&json_event(event))))
                .and_then(|()| results.flush()),
        };
    }
}
