//! `run`, `up`, `seed` and `down`: sessions of the harness.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::args::{Color, Down, KeepUp, Lifecycle, Run, Seed};
use super::list;
use super::output::{
    Ended, Failure, Outlet, complain, is_ci, mention_missing_file, palette, write_atomically,
};
use crate::bootstrap::{Context, Options};
use crate::config::{self, Config};
use crate::domain::exit::Exit;
use crate::domain::replay::{Replay, ReplayName};
use crate::domain::run::{RunEvent, RunEventKind, Seconds, Summary};
use crate::harness::{Request, Session, Teardown};
use crate::process::listen;
use crate::replay::{discover, select};
use crate::report::{Human, json_event, json_line, junit};

/// A sign of life for CI servers, which take silence for a hang.
const HEARTBEAT: Duration = Duration::from_secs(60);

pub(super) async fn run(options: &Options, color: Color, args: Run) -> Result<Ended, Failure> {
    let context = Context::open(options)?;
    mention_missing_file(&context.config);
    let replays = selected(&context.config, &args.patterns)?;
    if args.list {
        return list::write(&replays, color, args.json);
    }
    if let Some(file) = &args.junit {
        writable(file)?;
    }
    let request = Request {
        up: !args.no_up,
        seed: !args.no_up,
        replays: replays.clone(),
        fail_fast: args.fail_fast,
        teardown: match args.keep_up {
            _ if args.no_up => Teardown::Never,
            None | Some(KeepUp::Never) => Teardown::Always,
            Some(KeepUp::Failed) => Teardown::UnlessFailed,
            Some(KeepUp::Always) => Teardown::Never,
        },
        rebuild: args.rebuild,
        ..Request::nothing()
    };
    let summary = session(&context, request, color, args.json).await?;
    let mut exit = Exit::of(&summary);
    if let Some(file) = &args.junit
        && let Err(error) = write_junit(file, &context.config.name, &summary, &replays)
    {
        complain(format_args!("cannot write {}: {error}", file.display()));
        if exit == Exit::Ok {
            exit = Exit::Internal;
        }
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
    let summary = session(&context, request, color, json).await?;
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

fn selected(config: &Config, patterns: &[String]) -> Result<Vec<Arc<Replay>>, Failure> {
    let all = discover(config).map_err(|error| Failure::usage(error.to_string()))?;
    if all.is_empty() {
        let looked = config.replays.paths.join(", ");
        let root = config.root.display();
        return Err(Failure::new(
            Exit::NothingMatched,
            format!("there is no replay: nothing matches {looked} in {root}"),
        ));
    }
    select(&all, patterns).map_err(|error| Failure::new(Exit::NothingMatched, error.to_string()))
}

/// Runs a session to its end and gives its summary. Whoever reads our output may go away; the
/// session comes to its end all the same.
pub(super) async fn session(
    context: &Context,
    request: Request,
    color: Color,
    json: bool,
) -> Result<Summary, Failure> {
    let interactive = io::stdin().is_terminal() && io::stderr().is_terminal() && !is_ci();
    listen(context.controller.clone(), interactive)?;
    let session = context.harness().start(request, context.controller.clone());
    let results = Outlet::new(io::stdout());
    let lost = results.lost();
    let mut printer = Printer::new(color, json, results);
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
    let mut doing = String::new();
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
                    complain(format_args!(
                        "still at work: {doing} ({})",
                        Seconds(summary.took)
                    ));
                }
                continue;
            }
        };
        match &event.kind {
            RunEventKind::StepStarted { step } => doing = step.word().to_owned(),
            RunEventKind::ReplayStarted { replay, .. } => doing = replay.to_string(),
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
    Json(
        Outlet<io::Stdout>,
        Human<Outlet<io::Stderr>, Outlet<io::Stderr>>,
    ),
}

impl Printer {
    fn new(color: Color, json: bool, results: Outlet<io::Stdout>) -> Self {
        let stderr = palette(color, &io::stderr());
        let errors = || Outlet::new(io::stderr());
        if json {
            Self::Json(results, Human::new(errors(), errors(), stderr))
        } else {
            let both = palette(color, &io::stdout());
            // One palette for both: a verdict in a file must not carry colour codes.
            let palette = if both.colour { stderr } else { both };
            Self::Human(Human::new(results, errors(), palette))
        }
    }

    fn print(&mut self, event: &RunEvent) {
        // An outlet takes everything, so nothing fails here.
        let _ = match self {
            Self::Human(human) => human.event(event),
            Self::Json(results, human) => human
                .event(event)
                .and_then(|()| writeln!(results, "{}", json_line(&json_event(event))))
                .and_then(|()| results.flush()),
        };
    }
}

fn writable(file: &Path) -> Result<(), Failure> {
    let directory = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let why = if file.is_dir() || file.file_name().is_none() {
        "it is a directory".to_owned()
    } else if !directory.is_dir() {
        format!("{} is not a directory", directory.display())
    } else {
        return Ok(());
    };
    Err(Failure::usage(format!(
        "cannot write {}: {why}",
        file.display()
    )))
}

fn write_junit(
    file: &Path,
    name: &str,
    summary: &Summary,
    replays: &[Arc<Replay>],
) -> io::Result<()> {
    let file_of = |wanted: &ReplayName| {
        let replay = replays.iter().find(|replay| replay.name == *wanted)?;
        Some(replay.file.clone())
    };
    let mut xml = Vec::new();
    junit(&mut xml, name, summary, &file_of)?;
    write_atomically(file, &xml)
}
