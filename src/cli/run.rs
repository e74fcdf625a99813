//! `run`, `up`, `seed` and `down`: sessions of the harness.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::args::{Booting, Color, Down, KeepUp, Lifecycle, Run, Seed};
use super::choose::{choose, policy, selection};
use super::heartbeat::Silence;
use super::live::Live;
use super::output::{
    Ended, Failure, Outlet, complain, is_ci, mention_missing_file, notation, palette, printed,
};
use super::report::Targets;
use super::{dry_run, list};
use crate::bootstrap::{Context, Options};
use crate::config::{self, Config};
use crate::domain::exit::Exit;
use crate::domain::past::History;
use crate::domain::replay::{Replay, ReplayName};
use crate::domain::run::{RunEvent, RunEventKind, Seconds, Summary};
use crate::harness::{Request, Session, Teardown};
use crate::process::listen;
use crate::replay::{Chosen, Rounds};
use crate::report::{Human, Palette, Progress, Results, json_events, json_line};
use crate::text::commands::Notation;

pub(super) async fn run(options: &Options, color: Color, args: Run) -> Result<Ended, Failure> {
    let context = Context::open(options)?;
    mention_missing_file(&context.config);
    let chosen = choose(&context.config, &selection(args.selecting))?;
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
    complain_of_headers(&replays);
    let request = Request {
        replays: replays.clone(),
        policy: policy(&context.config, &args.running),
        ..lifecycle_of(args.keep_up, &args.booting)
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
    let store = context.harness().store;
    let directory = store.zip(summary.run.as_ref());
    let directory = directory.map(|(store, run)| store.directory_of(run));
    let windows = directory.map(|directory| reports.windows(&directory, &summary));
    let results = Results::new(&context.config.name, &summary, &replays);
    let results = results.with_logs(windows.unwrap_or_default());
    if !reports.write(&results, color) && exit == Exit::Ok {
        exit = Exit::Internal;
    }
    Ok(Ended {
        exit,
        signal: context.controller.signal(),
    })
}

pub(super) fn complain_of_headers(replays: &[Arc<Replay>]) {
    for replay in replays {
        for problem in &replay.header.problems {
            complain(format_args!("{}: {problem}", replay.file));
        }
    }
}

/// What stands around the replays.
pub(super) fn lifecycle_of(keep_up: Option<KeepUp>, booting: &Booting) -> Request {
    Request {
        up: !booting.no_up,
        seed: !booting.no_up,
        teardown: teardown(keep_up, booting.no_up),
        rebuild: booting.rebuild,
        ..Request::nothing()
    }
}

fn teardown(keep_up: Option<KeepUp>, no_up: bool) -> Teardown {
    match keep_up {
        _ if no_up => Teardown::Never,
        None | Some(KeepUp::Never) => Teardown::Always,
        Some(KeepUp::Failed) => Teardown::UnlessFailed,
        Some(KeepUp::Always) => Teardown::Never,
    }
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
    let live = Live::on_stderr();
    let suspended = live.clone();
    listen(context.controller.clone(), interactive, move |stop| {
        suspended.suspend(stop);
    })?;
    let rounds = match request.policy.rounds {
        Rounds::Count(rounds) => Some(rounds.get()),
        Rounds::Endless => None,
    };
    let progress = Progress::new(request.policy.jobs.get(), rounds).with_keys(live.has_keys());
    let remembers = live.is_on() && !request.replays.is_empty();
    let store = context.harness().store.filter(|_| remembers);
    let session = context.harness().start(request, context.controller.clone());
    let results = Outlet::new(io::stdout(), notation(stdout == Stdout::Events));
    let lost = results.lost();
    let mut watcher = Watcher {
        printer: Printer::new(color, stdout, results, &live),
        palette: palette(color, &io::stderr()),
        live: Closing(live),
        progress,
        began: Instant::now(),
    };
    let past = async {
        match store {
            Some(store) => tokio::task::spawn_blocking(move || store.history())
                .await
                .ok(),
            None => None,
        }
    };
    let mut summary = consume(session, &mut watcher, past).await;
    watcher.live.0.close();
    if let Some(why) = lost.why() {
        let cause = format!("the results could not be written: {why}");
        complain(&cause);
        summary.internal_error.get_or_insert(cause);
    }
    Ok(summary)
}

/// Who shows a session to a person or a program.
struct Watcher {
    printer: Printer,
    palette: Palette,
    live: Closing,
    progress: Progress,
    began: Instant,
}

/// Gives the terminal back whatever happens.
struct Closing(Live);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Watcher {
    fn take(&mut self, event: &RunEvent) {
        if self.live.0.is_on() {
            self.progress.fold(event);
        }
        self.printer.print(event);
    }

    fn draw(&self) {
        let now = self.began.elapsed();
        self.live
            .0
            .draw(|columns, rows| self.progress.lines(now, columns, rows, self.palette));
    }

    fn press(&mut self, key: u8) {
        let now = self.began.elapsed();
        self.printer.press(key, &self.progress, now);
    }
}

async fn consume(
    mut session: Session,
    watcher: &mut Watcher,
    past: impl Future<Output = Option<History>>,
) -> Summary {
    let mut summary = Summary::default();
    let mut step = None;
    let mut running: Vec<ReplayName> = Vec::new();
    let mut finished = false;
    let began = tokio::time::Instant::now();
    let mut silence = Silence::begin(began, printed());
    let mut past = std::pin::pin!(past);
    let mut past_is_known = false;
    loop {
        if silence.is_too_long(tokio::time::Instant::now(), printed()) && is_ci() {
            let replays = running.iter().map(ReplayName::as_str);
            let doing: Vec<&str> = step.into_iter().chain(replays).collect();
            let doing = doing.join(", ");
            complain(format_args!(
                "still at work: {doing} ({})",
                Seconds(began.elapsed())
            ));
        }
        let due = watcher.live.0.due();
        let event = tokio::select! {
            event = session.events.next() => event,
            key = watcher.live.0.key() => {
                watcher.press(key);
                continue;
            }
            history = &mut past, if !past_is_known => {
                past_is_known = true;
                if let Some(history) = history {
                    watcher.progress.remember(&history);
                }
                continue;
            }
            () = tokio::time::sleep_until(due.unwrap_or(silence.end())), if due.is_some() => {
                watcher.draw();
                continue;
            }
            () = tokio::time::sleep_until(silence.end()) => continue,
        };
        let Some(event) = event else {
            // It ended without saying so: it was cut off, and that is never a pass.
            if !finished {
                let cause = "the run broke off".to_owned();
                summary.internal_error.get_or_insert(cause);
            }
            return summary;
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
        watcher.take(&event);
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
    fn new(color: Color, stdout: Stdout, results: Outlet<io::Stdout>, live: &Live) -> Self {
        let results = if io::stdout().is_terminal() {
            results.above(live)
        } else {
            results
        };
        let stderr = palette(color, &io::stderr());
        let errors = || Outlet::new(io::stderr(), Notation::Text).above(live);
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
                .and_then(|()| {
                    // In one piece: each write is a call of the system.
                    let mut lines = String::new();
                    for event in json_events(event) {
                        lines.push_str(&json_line(&event));
                        lines.push('\n');
                    }
                    results.write_all(lines.as_bytes())
                })
                .and_then(|()| results.flush()),
        };
    }

    fn press(&mut self, key: u8, progress: &Progress, now: Duration) {
        let _ = match (key, self) {
            (b'\n' | b'\r' | b'o', Self::Human(human)) => human.so_far(progress, now),
            (b'\n' | b'\r' | b'o', Self::Aside(human) | Self::Json(_, human)) => {
                human.so_far(progress, now)
            }
            (b'?', Self::Human(human)) => human.keys(),
            (b'?', Self::Aside(human) | Self::Json(_, human)) => human.keys(),
            _ => Ok(()),
        };
    }
}
