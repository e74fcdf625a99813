//! Carries out what the core asks for, as tasks that answer with messages.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};

use super::effect::{Effect, Job, PageRequest, Target};
use super::files;
use super::msg::Msg;
use super::outputs;
use super::runtime::{Ask, Back};
use super::state::incident::Loaded;
use super::state::recorded::Piece;
use crate::bootstrap::Context;
use crate::domain::id::{ContainerId, RunId};
use crate::domain::line::SourceId;
use crate::domain::link::Link;
use crate::domain::plan::Fingerprint;
use crate::domain::replay::{Replay, ReplayName};
use crate::domain::run::{RunEvent, RunEventKind, Signal};
use crate::domain::scope::{Asker, StackName};
use crate::engine::{Engine, Tail};
use crate::harness::{Consent, Harness, Request, Session, Teardown};
use crate::logs::extract::Extract;
use crate::logs::index::ScanJob;
use crate::logs::{FollowInput, FollowOptions, PageEvent, follow, page};
use crate::process::Controller;
use crate::record::archive::pack;
use crate::record::{
    self, End, Incident, IncidentError, IncidentOptions, Recording, Store, last_run_of,
};
use crate::replay::discover;
use crate::watch::{WatchEvent, WatchOptions, sample, watch as watch_containers};

/// Messages that may wait. When it is full whoever sends waits, and behind it the engine.
const WAITING: usize = 64;

/// Events that become one message. In a flood each holds up to 256 KiB of lines.
const BATCH: usize = 16;

/// How much of a log's past is read at first; reading all of it would cost the engine seconds.
const TAIL: u32 = 1000;

pub(super) struct Performer {
    context: Arc<Context>,
    messages: mpsc::Sender<Msg>,
    logs: watch::Sender<BTreeSet<SourceId>>,
    stats: watch::Sender<BTreeSet<ContainerId>>,
    replays: watch::Sender<Vec<Arc<Replay>>>,
    job: Option<Running>,
    /// The pieces of logs that are being read, by their tickets.
    pages: BTreeMap<u64, AbortHandle>,
    /// The ticket of the incident that is waited for.
    incident: Arc<AtomicU64>,
    /// Set at the end: what is being packed is not waited for.
    given_up: Arc<AtomicBool>,
    /// They end with us.
    tasks: JoinSet<()>,
}

struct Running {
    controller: Controller,
    told: JoinHandle<()>,
}

impl Performer {
    /// Begins to watch the scope and looks for replays.
    pub(super) fn start(context: Arc<Context>) -> (Self, mpsc::Receiver<Msg>) {
        let (messages, received) = mpsc::channel(WAITING);
        let (logs, wanted_logs) = watch::channel(BTreeSet::new());
        let (stats, wanted_stats) = watch::channel(BTreeSet::new());
        let (replays, _) = watch::channel(Vec::new());
        let (inputs, followed) = mpsc::channel(WAITING);
        let mut tasks = JoinSet::new();
        let engine = context.engine.clone();
        tasks.spawn(watch_scope(
            context.clone(),
            inputs.clone(),
            messages.clone(),
        ));
        tasks.spawn(select_logs(wanted_logs, inputs));
        tasks.spawn(follow_logs(engine.clone(), followed, messages.clone()));
        tasks.spawn(sample_wanted(engine, wanted_stats, messages.clone()));
        let mut performer = Self {
            context,
            messages,
            logs,
            stats,
            replays,
            job: None,
            pages: BTreeMap::new(),
            incident: Arc::default(),
            given_up: Arc::default(),
            tasks,
        };
        if performer.context.recording.is_none() {
            performer.discover();
            performer.read_history();
        }
        (performer, received)
    }

    /// Asks a job that still runs to end, and waits until it has: neither its children nor a
    /// teardown that is half done may outlive us. Every wait of a job has a limit of its own.
    pub(super) async fn finish(&mut self, mut asks: impl Stream<Item = Ask> + Unpin) {
        if let Some(mut job) = self.job.take() {
            job.controller.request(self.asked());
            loop {
                tokio::select! {
                    biased;
                    _ = &mut job.told => break,
                    Some(ask) = asks.next() => match ask {
                        // The terminal is the shell's again: this is a person's Ctrl-C.
                        Ask::End(Signal::Interrupt) => job.controller.press(Signal::Interrupt),
                        Ask::End(signal) => job.controller.request(signal),
                        Ask::Suspend => {}
                    },
                }
            }
        }
        self.given_up.store(true, Ordering::Relaxed);
        self.tasks.shutdown().await;
    }

    /// The signal to end by: that which we got ourselves.
    fn asked(&self) -> Signal {
        self.context
            .controller
            .signal()
            .unwrap_or(Signal::Interrupt)
    }

    fn discover(&mut self) {
        let (config, messages) = (self.context.config.clone(), self.messages.clone());
        let known = self.replays.clone();
        self.tasks.spawn(async move {
            let found = tokio::task::spawn_blocking(move || discover(&config)).await;
            let found = match found {
                Ok(Ok(list)) => {
                    known.send_replace(list.clone());
                    Ok(list)
                }
                Ok(Err(error)) => Err(error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            send(&messages, Msg::Replays(found)).await;
        });
    }

    fn read_history(&mut self) {
        let (config, messages) = (self.context.config.clone(), self.messages.clone());
        self.tasks.spawn_blocking(move || {
            if let Ok(store) = Store::of(&config.root, &config.name) {
                let courses = Arc::new(store.courses());
                let _ = messages.blocking_send(Msg::History(courses));
            }
        });
    }

    /// On a thread of its own: it may take as long as it takes.
    fn scan(&mut self, job: ScanJob) {
        let messages = self.messages.clone();
        self.tasks.spawn_blocking(move || {
            job.run(|found| match messages.blocking_send(Msg::Found(found)) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            });
        });
    }

    /// On a thread of its own, which gives up as soon as nobody waits for it any more.
    fn read_incident(&mut self, ticket: u64, run: Option<RunId>, replay: ReplayName) {
        let (context, messages) = (self.context.clone(), self.messages.clone());
        self.incident.store(ticket, Ordering::Relaxed);
        let wanted = self.incident.clone();
        self.tasks.spawn_blocking(move || {
            let is_wanted = || wanted.load(Ordering::Relaxed) == ticket && !messages.is_closed();
            let loaded = match load_incident(&context, run.as_ref(), &replay, &is_wanted) {
                Ok(loaded) => Ok(Box::new(loaded)),
                Err(IncidentError::GivenUp) => return,
                Err(error) => Err(error.to_string()),
            };
            let _ = messages.blocking_send(Msg::Incident(ticket, loaded));
        });
    }

    fn read_output(&mut self, source: SourceId, pieces: Vec<Piece>) {
        let Some(opened) = self.context.recording.clone() else {
            return;
        };
        let messages = self.messages.clone();
        self.tasks.spawn_blocking(move || {
            outputs::read(&opened.recording.directory, &pieces, |lines| match messages
                .blocking_send(Msg::Output(source.clone(), lines))
            {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            });
        });
    }

    /// Into the working directory; what is there already is not written over.
    fn bundle(&mut self, run: RunId) {
        let (context, messages) = (self.context.clone(), self.messages.clone());
        let given_up = self.given_up.clone();
        self.tasks.spawn_blocking(move || {
            let text = match write_bundle(&context, &run, &given_up) {
                Ok(file) => format!("the run is saved as {}", file.display()),
                Err(problem) => problem,
            };
            let _ = messages.blocking_send(Msg::Notice(text));
        });
    }

    fn take(&mut self, extract: Extract, target: Target) {
        let messages = self.messages.clone();
        self.tasks.spawn_blocking(move || {
            files::take(&extract, &target, |event| {
                match messages.blocking_send(Msg::Taken(target.clone(), event)) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                }
            });
        });
    }

    fn keep(&mut self, text: String) {
        let messages = self.messages.clone();
        self.tasks.spawn_blocking(move || {
            let event = files::keep(&text);
            let _ = messages.blocking_send(Msg::Taken(Target::Clipboard, event));
        });
    }

    fn page(&mut self, request: PageRequest) {
        let ticket = request.ticket;
        let messages = self.messages.clone();
        let mut events = page(
            self.context.engine.clone(),
            request.container,
            request.piece,
        )
        .boxed();
        self.pages.retain(|_, page| !page.is_finished());
        let reading = self.tasks.spawn(async move {
            let mut ended = false;
            while let Some(event) = events.next().await {
                ended = matches!(event, Ok(PageEvent::End { .. }) | Err(_));
                let event = event.map_err(|error| error.to_string());
                send(&messages, Msg::Paged(ticket, event)).await;
            }
            if !ended {
                let broken = Err("reading broke off".to_owned());
                send(&messages, Msg::Paged(ticket, broken)).await;
            }
        });
        self.pages.insert(ticket, reading);
    }

    fn start_job(&mut self, job: &Job) {
        let request = match job {
            Job::Up => Request {
                up: true,
                seed: true,
                ..Request::nothing()
            },
            Job::Seed => Request {
                seed: true,
                ..Request::nothing()
            },
            Job::Run(names, policy) => Request {
                up: true,
                up_if_needed: true,
                seed: true,
                replays: self.chosen(names),
                policy: policy.clone(),
                ..Request::nothing()
            },
        };
        let controller = Controller::default();
        let session = self.context.harness().start(request, controller.clone());
        tracing::info!("run {} begins", session.run);
        let told = tokio::spawn(tell(session, self.messages.clone()));
        self.job = Some(Running { controller, told });
    }

    fn chosen(&self, names: &[ReplayName]) -> Vec<Arc<Replay>> {
        let known = self.replays.borrow();
        names
            .iter()
            .filter_map(|name| known.iter().find(|replay| replay.name == *name).cloned())
            .collect()
    }

    fn plan(&mut self, stack: StackName) {
        let (harness, messages) = (self.context.harness(), self.messages.clone());
        self.tasks.spawn(async move {
            let result = match harness.preview(&stack, &asker()).await {
                Ok((plan, _)) => Ok(plan),
                Err(error) => Err(error.to_string()),
            };
            send(&messages, Msg::Plan { stack, result }).await;
        });
    }

    fn tear_down(&mut self, stack: StackName, seen: Fingerprint) {
        let controller = Controller::default();
        let harness = self.context.harness();
        let messages = self.messages.clone();
        let own = controller.clone();
        let told = tokio::spawn(async move {
            match confirmed(&harness, &stack, &seen).await {
                Ok(teardown) => {
                    let request = Request {
                        teardown,
                        ..Request::nothing()
                    };
                    let session = harness.start(request, own);
                    tracing::info!("teardown of {stack} begins, run {}", session.run);
                    tell(session, messages).await;
                }
                Err(reason) => {
                    let refused = RunEvent {
                        at: Timestamp::now(),
                        offset: Duration::ZERO,
                        kind: RunEventKind::Refused { reason },
                    };
                    send(&messages, Msg::Run(refused)).await;
                    send(&messages, Msg::RunEnded { problem: None }).await;
                }
            }
        });
        self.job = Some(Running { controller, told });
    }
}

/// A person, who has the command line for what other runs have just made.
fn asker() -> Asker {
    Asker::by_hand(Timestamp::now(), false)
}

/// The plan as it is now, if it is what the user has seen.
async fn confirmed(
    harness: &Harness,
    stack: &StackName,
    seen: &Fingerprint,
) -> Result<Teardown, String> {
    let (whole, plans) = harness
        .preview(stack, &asker())
        .await
        .map_err(|error| error.to_string())?;
    whole.confirm(seen).map_err(|error| error.to_string())?;
    let mut confirmed = Vec::new();
    for plan in plans {
        let own = plan.fingerprint();
        confirmed.push(plan.confirm(&own).map_err(|error| error.to_string())?);
    }
    Ok(Teardown::Confirmed(confirmed, Consent::Plan))
}

/// Of the recording that is looked at, or else of a kept run.
fn load_incident(
    context: &Context,
    run: Option<&RunId>,
    replay: &ReplayName,
    is_wanted: &dyn Fn() -> bool,
) -> Result<Loaded, IncidentError> {
    let (recording, runs) = recording_of(context, run, replay)?;
    let options = IncidentOptions::default();
    let incident = Incident::read(&recording, replay, &runs, &options, is_wanted)?;
    Loaded::new(incident.head().clone(), incident.entries(), is_wanted)
        .ok_or(IncidentError::GivenUp)
}

fn recording_of(
    context: &Context,
    run: Option<&RunId>,
    replay: &ReplayName,
) -> Result<(Recording, Vec<PathBuf>), IncidentError> {
    if let Some(opened) = &context.recording {
        let runs = Store::beside(&opened.recording.directory);
        return Ok((opened.recording.clone(), runs));
    }
    let store = Store::of(&context.config.root, &context.config.name);
    let runs = store.and_then(|store| store.runs());
    let runs = runs.map_err(IncidentError::Runs)?;
    Ok((record::read(kept(&runs, run, replay)?)?, runs))
}

fn write_bundle(context: &Context, run: &RunId, given_up: &AtomicBool) -> Result<PathBuf, String> {
    // The run is known: no replay is sought.
    let recording = recording_of(context, Some(run), &ReplayName::new(""));
    let (recording, _) = recording.map_err(|error| error.to_string())?;
    save(&recording, given_up)
}

/// Not while its files are still written, since they would not belong together.
fn save(recording: &Recording, given_up: &AtomicBool) -> Result<PathBuf, String> {
    if let End::UnderWay(_) = recording.end {
        return Err("the run is still under way and can be saved when it has ended".to_owned());
    }
    let name = recording.bundle_name();
    let file = PathBuf::from(format!("{name}.tar.zst"));
    let packed = pack(&recording.directory, &name, &file, false, given_up);
    packed.map_err(|error| error.to_string())?;
    Ok(file)
}

fn kept<'a>(
    runs: &'a [PathBuf],
    run: Option<&RunId>,
    replay: &ReplayName,
) -> Result<&'a PathBuf, IncidentError> {
    let Some(run) = run else {
        return last_run_of(runs, replay);
    };
    let is_it = |kept: &&PathBuf| kept.file_name().is_some_and(|name| name == run.as_str());
    let found = runs.iter().find(is_it);
    found.ok_or_else(|| IncidentError::NotKept(run.clone()))
}

impl Back for Performer {
    fn perform(&mut self, effect: Effect) {
        // What has ended needs no place.
        while self.tasks.try_join_next().is_some() {}
        match effect {
            Effect::SelectLogs(sources) => {
                self.logs.send_replace(sources);
            }
            Effect::WatchStats(containers) => {
                self.stats.send_replace(containers);
            }
            Effect::Start(job) => self.start_job(&job),
            Effect::Cancel | Effect::Kill => {
                if let Some(job) = &self.job {
                    job.controller.press(Signal::Interrupt);
                }
            }
            Effect::Hurry => {
                if let Some(job) = &self.job {
                    job.controller.request(self.asked());
                }
            }
            Effect::PlanTeardown(stack) => self.plan(stack),
            Effect::Teardown { stack, fingerprint } => self.tear_down(stack, fingerprint),
            Effect::Discover => self.discover(),
            Effect::ReadHistory => self.read_history(),
            Effect::Scan(job) => self.scan(job),
            Effect::Page(request) => self.page(request),
            Effect::StopPage(ticket) => {
                if let Some(page) = self.pages.remove(&ticket) {
                    page.abort();
                }
            }
            Effect::Take(extract, target) => self.take(*extract, target),
            Effect::ReadOutput(source, pieces) => self.read_output(source, pieces),
            Effect::Keep(text) => self.keep(text),
            Effect::ReadIncident {
                ticket,
                run,
                replay,
            } => self.read_incident(ticket, run, replay),
            Effect::StopIncident => self.incident.store(0, Ordering::Relaxed),
            Effect::Bundle(run) => self.bundle(run),
            Effect::Copy(_)
            | Effect::OpenPager(_)
            | Effect::SetMouse(_)
            | Effect::Suspend
            | Effect::Redraw
            | Effect::Quit => {}
        }
    }

    fn pause(&mut self, meanwhile: &mut dyn FnMut()) {
        match &self.job {
            Some(job) => job.controller.pause(meanwhile),
            None => meanwhile(),
        }
    }
}

/// Nobody is there to hear it once the dashboard has ended.
async fn send(messages: &mpsc::Sender<Msg>, message: Msg) {
    let _ = messages.send(message).await;
}

/// Passes a session's events on to its end, whether or not somebody listens.
async fn tell(mut session: Session, messages: mpsc::Sender<Msg>) {
    let mut finished = false;
    while let Some(event) = session.events.next().await {
        finished |= matches!(event.kind, RunEventKind::Finished(_));
        send(&messages, Msg::Run(event)).await;
    }
    let problem = (!finished).then(|| "the run broke off".to_owned());
    send(&messages, Msg::RunEnded { problem }).await;
}

async fn watch_scope(
    context: Arc<Context>,
    inputs: mpsc::Sender<FollowInput>,
    messages: mpsc::Sender<Msg>,
) {
    let scope = Arc::new(context.config.scope.clone());
    let mut events =
        watch_containers(context.engine.clone(), scope, WatchOptions::default()).boxed();
    while let Some(event) = events.next().await {
        match event {
            WatchEvent::Containers(containers) => {
                let _ = inputs
                    .send(FollowInput::Containers(containers.clone()))
                    .await;
                send(&messages, Msg::Containers(containers)).await;
            }
            WatchEvent::Engine(event) => {
                tracing::debug!("{} {:?}", event.name, event.action);
                let _ = inputs.send(FollowInput::Event(event.clone())).await;
                send(&messages, Msg::Engine(event)).await;
            }
            WatchEvent::Link(link) => {
                match &link {
                    Link::Connecting => {}
                    Link::Up(info) => tracing::info!("connected to {}", info.endpoint),
                    Link::Lost { cause, .. } => tracing::warn!("the engine is lost: {cause}"),
                }
                send(&messages, Msg::Link(link)).await;
            }
        }
    }
}

/// Only the latest selection counts: who runs through the list selects a lot.
async fn select_logs(
    mut wanted: watch::Receiver<BTreeSet<SourceId>>,
    inputs: mpsc::Sender<FollowInput>,
) {
    while wanted.changed().await.is_ok() {
        let sources = wanted.borrow_and_update().clone();
        if inputs.send(FollowInput::Select(sources)).await.is_err() {
            return;
        }
    }
}

async fn follow_logs(
    engine: Arc<dyn Engine>,
    inputs: mpsc::Receiver<FollowInput>,
    messages: mpsc::Sender<Msg>,
) {
    let options = FollowOptions {
        tail: Tail::Last(TAIL),
        whole_groups: true,
        new_from_start: false,
        since: None,
        follow: true,
    };
    let mut batches = follow(engine, inputs, options).ready_chunks(BATCH).boxed();
    while let Some(batch) = batches.next().await {
        send(&messages, Msg::Logs(batch)).await;
    }
}

async fn sample_wanted(
    engine: Arc<dyn Engine>,
    wanted: watch::Receiver<BTreeSet<ContainerId>>,
    messages: mpsc::Sender<Msg>,
) {
    let mut rounds = pin!(sample(engine, wanted));
    while let Some(samples) = rounds.next().await {
        send(&messages, Msg::Stats(samples)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::run::Summary;

    #[test]
    fn a_run_that_is_under_way_is_not_saved() {
        let place = tempfile::tempdir().unwrap();
        let recording = Recording {
            directory: place.path().to_owned(),
            name: "name".to_owned(),
            root: PathBuf::new(),
            scope: Default::default(),
            harness: Vec::new(),
            replays: Vec::new(),
            stacks: Vec::new(),
            summary: Summary::default(),
            end: End::UnderWay(Vec::new()),
            unreadable: 0,
        };
        let refused = save(&recording, &AtomicBool::new(true)).unwrap_err();
        assert!(refused.contains("still under way"), "{refused}");
    }
}
