//! What a run records of the engine while it goes on: events, inspects and logs of the family.
//!
//! A conductor listens to the engine and asks it; a writer on a thread of its own writes. Between
//! them is a short queue: where the disk is slow, the engine waits and the run does not. Nothing
//! that goes wrong here ends the run; it is said as a note.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, Stream, StreamExt};
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::clock::{Measured, measure, sample};
use super::session::Harness;
use super::sink::Notes;
use super::writer::{Entry, Writer};
use crate::domain::container::Container;
use crate::domain::event::{Action, EngineEvent};
use crate::domain::id::ContainerId;
use crate::domain::line::{LineBatch, Mark, SourceId};
use crate::domain::link::Link;
use crate::domain::scope::Scope;
use crate::engine::{Engine, EngineError, Inspect, Tail, list_any};
use crate::logs::{FollowEvent, FollowInput, FollowOptions, follow};
use crate::process::Control;
use crate::record::{ContainerChange, Seen, masked};
use crate::watch::{WatchEvent, WatchOptions};

/// How long the run waits for the recording to begin before it goes on without.
const BEGINNING: Duration = Duration::from_secs(5);
/// How long of that for the engine's clock, before it is done without.
const CLOCK: Duration = Duration::from_secs(2);
/// How long the run waits for what the engine still has to say at the end.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How long of that for what was removed before its log was opened.
const UNSEEN: Duration = Duration::from_secs(1);
/// How long the last list may take.
const LAST_LIST: Duration = Duration::from_secs(2);
/// How long the disk may take behind that, or once nobody wants to wait.
const WRITING: Duration = Duration::from_millis(500);
/// Inspects that may be under way at the same time.
const AT_ONCE: usize = 8;
/// Entries between the conductor and the writer, of up to some thousand lines each.
const CAPACITY: usize = 16;
const INPUTS: usize = 64;
/// Logs that are named when they are not whole; of the others it is said how many they are.
const NAMED: usize = 5;

/// A recording that is under way.
pub(super) struct Recorder {
    asked: watch::Sender<Asked>,
    conductor: JoinHandle<()>,
    /// The engine's machine and its clock, once that is known.
    pub(super) measured: watch::Receiver<Option<Measured>>,
    /// How often a container was made, started or removed.
    pub(super) turns: watch::Receiver<u64>,
}

/// What a recording is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Asked {
    GoOn,
    /// Take what the engine still has to say, and end.
    End,
    /// End, and say what is missing.
    Hurry,
}

impl Recorder {
    /// Whether there is anything to record: without a declared family nothing on the engine is
    /// anybody's.
    pub(super) fn is_wanted(scope: &Scope) -> bool {
        scope.group_by.is_none() && !(scope.families.is_empty() && scope.stacks.is_empty())
    }

    /// Begins. What happens on the engine after this has come back is recorded, unless a note says
    /// that the engine does not answer, or a stop was asked for.
    pub(super) async fn start(
        harness: &Harness,
        directory: &std::path::Path,
        notes: Notes,
        control: &Control,
    ) -> Self {
        let deadline = Instant::now() + BEGINNING;
        let (entries, queue) = mpsc::channel(CAPACITY);
        let plain = Arc::new(selected_labels(&harness.config.scope));
        let writer = Writer {
            directory: directory.to_owned(),
            cap: harness.config.log_cap,
            plain: plain.clone(),
            notes: notes.clone(),
        };
        // Not a thread of the runtime's: an end of the program would wait for a disk that hangs.
        let (written, is_written) = oneshot::channel();
        std::thread::spawn(move || {
            writer.run(queue);
            let _ = written.send(());
        });
        let (measuring, measured) = watch::channel(None);
        let (turning, turns) = watch::channel(0);
        let (inputs, to_follow) = mpsc::channel(INPUTS);
        let (asked, asks) = watch::channel(Asked::GoOn);
        let (ready, is_ready) = oneshot::channel();
        let engine = harness.engine.clone();
        // By the engine's clock: what is written until a log has been opened belongs to the run.
        let sample = tokio::select! {
            sample = timeout(CLOCK, sample(&*engine)) => sample.ok().flatten(),
            () = control.stopped() => None,
        };
        let since = sample.as_ref().and_then(|sample| sample.host.now);
        let options = FollowOptions {
            tail: since.map_or(Tail::Last(0), |_| Tail::Last(OPENED_WITH)),
            since,
            ..FOLLOW
        };
        let conductor = Conductor {
            logs: Box::pin(follow(engine.clone(), to_follow, options)),
            events: Box::pin(crate::watch::watch(
                engine.clone(),
                Arc::new(harness.config.scope.clone()),
                WatchOptions::default(),
            )),
            scope: harness.config.scope.clone(),
            plain,
            entries,
            inputs: Some(inputs),
            notes,
            known: BTreeMap::new(),
            listed: None,
            initial: BTreeSet::new(),
            began: since.map(|since| (since, Instant::now())),
            inspections: FuturesUnordered::new(),
            wanted: VecDeque::new(),
            patience: Some(deadline),
            ready: Some(ready),
            is_lost: false,
            torn: 0,
            measured: measured.clone(),
            turns: turning,
            engine: engine.clone(),
        };
        let conductor = tokio::spawn(async move {
            let measuring = async {
                let found = measure(&*engine, sample).await;
                measuring.send_replace(found);
            };
            let mut run = std::pin::pin!(conductor.run(asks));
            tokio::select! {
                () = &mut run => {}
                () = measuring => run.await,
            }
            let _ = is_written.await;
        });
        tokio::select! {
            _ = timeout_at(deadline, is_ready) => {}
            () = control.stopped() => {}
        }
        Self {
            asked,
            conductor,
            measured,
            turns,
        }
    }

    /// Waits in bounded time for what the engine has still to say, and ends; at once when a stop is
    /// asked for.
    pub(super) async fn finish(mut self, control: &Control) {
        self.asked.send_replace(Asked::End);
        tokio::select! {
            _ = &mut self.conductor => return,
            () = sleep(LAST_WORDS) => {}
            () = control.stopped() => {}
        }
        self.asked.send_replace(Asked::Hurry);
        if timeout(WRITING, &mut self.conductor).await.is_err() {
            self.conductor.abort();
        }
    }
}

/// What is wrong with an engine that was asked and says nothing.
const SILENT: &str = "it does not answer";

/// Why nothing is known of a log.
const GONE: &str = "it was gone before its log could be asked for";

/// Why the beginning of a log is not known.
const UNCLOCKED: &str = "what it wrote before its log was opened is not recorded: the engine's \
                         clock was not known";

/// Lines that a container may write between the beginning and the opening of its log.
const OPENED_WITH: u32 = 1000;

/// Of what was up before, what it writes from now on; of what comes, all.
const FOLLOW: FollowOptions = FollowOptions {
    tail: Tail::Last(0),
    whole_groups: false,
    new_from_start: true,
    since: None,
    follow: true,
};

/// Labels that selectors ask for. Their values stand in the configuration.
fn selected_labels(scope: &Scope) -> BTreeSet<String> {
    let queries = scope.families.iter().chain(
        scope
            .stacks
            .iter()
            .flat_map(|stack| stack.claims.selectors()),
    );
    queries
        .flat_map(|selector| selector.conditions())
        .map(|condition| condition.key.clone())
        .collect()
}

type Events<T> = Pin<Box<dyn Stream<Item = T> + Send>>;
/// With the time of the event that it was asked for.
type Inspected = (
    ContainerId,
    Option<Timestamp>,
    Result<Box<Inspect>, EngineError>,
);

struct Conductor {
    engine: Arc<dyn Engine>,
    scope: Scope,
    plain: Arc<BTreeSet<String>>,
    events: Events<WatchEvent>,
    logs: Events<FollowEvent>,
    entries: mpsc::Sender<Entry>,
    /// To the follower; `None` once it has been told the last.
    inputs: Option<mpsc::Sender<FollowInput>>,
    notes: Notes,
    known: BTreeMap<ContainerId, Known>,
    /// What the follower was told last; `None` before the first list.
    listed: Option<BTreeMap<ContainerId, Container>>,
    /// Those that the first list had.
    initial: BTreeSet<ContainerId>,
    /// The engine's clock at the beginning.
    began: Option<(Timestamp, Instant)>,
    inspections: FuturesUnordered<BoxFuture<'static, Inspected>>,
    /// What is to be inspected next, with the time of the event that asked for it.
    wanted: VecDeque<(ContainerId, Option<Timestamp>)>,
    /// When silence before the first answer is an outage.
    patience: Option<Instant>,
    /// Whoever waits for the subscription.
    ready: Option<oneshot::Sender<()>>,
    /// The engine is gone, and that is written down.
    is_lost: bool,
    /// Logs that are not whole.
    torn: usize,
    measured: watch::Receiver<Option<Measured>>,
    turns: watch::Sender<u64>,
}

/// What is known of a container.
#[derive(Default)]
struct Known {
    /// As the last event called it.
    name: String,
    /// It was to be inspected, and that has not failed.
    asked: bool,
    /// As it was written last.
    inspect: Option<Inspect>,
    /// It has run, so that it may have written something.
    started: bool,
    removed: bool,
    /// Its log is being read.
    opened: bool,
    /// It does not run, and all that it wrote was read.
    exited: bool,
    /// Why its log cannot be read now.
    interrupted: Option<String>,
    /// Its log was read as far as it can be.
    read_out: bool,
    /// It was said that its log is not whole.
    torn: bool,
    early: Option<Early>,
}

/// What a container that was up before wrote between the beginning and the opening of its log.
struct Early {
    /// When its log was opened, by the engine's clock.
    until: Timestamp,
    lines: u32,
}

impl Known {
    /// Nobody will ever see its log.
    fn is_out_of_reach(&self) -> bool {
        self.removed && self.inspect.is_none() && !self.asked
    }
}

/// What came next.
enum Next {
    Watched(WatchEvent),
    Followed(FollowEvent),
    Inspected(Inspected),
    /// The engine has not answered yet, and nobody waits for it any longer.
    Silence,
    Nothing,
}

impl Conductor {
    async fn run(mut self, mut asked: watch::Receiver<Asked>) {
        loop {
            // Only the waiting is cut off: what has come is taken in whole.
            let next = tokio::select! {
                _ = asked.wait_for(|asked| *asked >= Asked::End) => break,
                next = self.next() => next,
            };
            if !self.take(next).await {
                break;
            }
        }
        let is_whole = tokio::select! {
            _ = asked.wait_for(|asked| *asked == Asked::Hurry) => false,
            is_whole = self.close() => is_whole,
        };
        if self.patience.is_some() {
            // It has never answered, and was not waited for.
            self.lost(SILENT).await;
        }
        self.say_unread(is_whole).await;
    }

    /// Takes what comes behind the end; tells whether all logs have been read as far as they go.
    async fn close(&mut self) -> bool {
        let deadline = Instant::now() + LAST_WORDS - WRITING;
        let patience = Instant::now() + UNSEEN;
        self.last_list().await;
        loop {
            let now = Instant::now();
            if self.is_complete(now < patience) {
                break;
            }
            let until = if now < patience { patience } else { deadline };
            match timeout_at(until, self.next()).await {
                Ok(next) => {
                    if !self.take(next).await {
                        break;
                    }
                }
                Err(_) if until == deadline => break,
                Err(_) => {}
            }
        }
        // The follower reads what is there by now, and ends.
        self.inputs = None;
        loop {
            match timeout_at(deadline, self.logs.next()).await {
                Ok(Some(event)) => self.followed(event).await,
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    /// Writes down which logs were not read to their ends.
    async fn say_unread(&mut self, is_whole: bool) {
        let unread = self.known.iter().filter_map(|(id, known)| {
            let is_unseen = known.removed && !known.opened;
            let why = match &known.interrupted {
                _ if known.read_out || !known.started => return None,
                _ if known.exited && !is_unseen => return None,
                Some(cause) => format!("it could not be read any more: {cause}"),
                None if is_unseen => GONE.to_owned(),
                None if is_whole => return None,
                None => "the recording ended before all of it had been read".to_owned(),
            };
            Some((id.clone(), why))
        });
        let unread: Vec<(ContainerId, String)> = unread.collect();
        for (id, why) in unread {
            self.torn(id, why).await;
        }
        if let Some(others @ 1..) = self.torn.checked_sub(NAMED) {
            let logs = if others == 1 { "log is" } else { "logs are" };
            self.notes.tell(format!("{others} more {logs} not whole"));
        }
    }

    async fn next(&mut self) -> Next {
        tokio::select! {
            event = self.events.next() => event.map_or(Next::Nothing, Next::Watched),
            Some(event) = self.logs.next() => Next::Followed(event),
            Some(inspected) = self.inspections.next(), if !self.inspections.is_empty() => {
                Next::Inspected(inspected)
            }
            () = sleep_until(self.patience.unwrap_or_else(Instant::now)), if self.patience.is_some() => {
                Next::Silence
            }
        }
    }

    /// `false` where no more can come.
    async fn take(&mut self, next: Next) -> bool {
        self.inspect_more();
        match next {
            Next::Watched(event) => self.watched(event).await,
            Next::Followed(event) => self.followed(event).await,
            Next::Inspected((id, at, Ok(inspect))) => self.inspected(&id, at, *inspect).await,
            Next::Inspected((id, _, Err(_))) => {
                // A list that still has it asks once more.
                self.known.entry(id.clone()).or_default().asked = false;
                self.unseen(id).await;
            }
            Next::Silence => {
                self.lost(SILENT).await;
            }
            Next::Nothing => return false,
        }
        true
    }

    async fn watched(&mut self, event: WatchEvent) {
        match event {
            WatchEvent::Link(Link::Up(_)) => {
                self.patience = None;
                if self.is_lost {
                    self.back().await;
                }
                self.let_go();
            }
            WatchEvent::Link(Link::Lost { cause, .. }) => self.lost(&cause).await,
            WatchEvent::Link(Link::Connecting) => {}
            WatchEvent::Containers(rows) => self.list(&rows).await,
            WatchEvent::Engine(event) => self.event(event).await,
        }
    }

    /// Whoever waits for the subscription need not wait longer.
    fn let_go(&mut self) {
        if let Some(ready) = self.ready.take() {
            let _ = ready.send(());
        }
    }

    async fn lost(&mut self, cause: &str) {
        self.patience = None;
        if !std::mem::replace(&mut self.is_lost, true) {
            self.notes.tell(format!(
                "what happens on the engine is not recorded while it is gone: {cause}"
            ));
            let (at, cause) = (self.now(), cause.to_owned());
            self.write(Entry::Lost { at, cause }).await;
        }
        self.let_go();
    }

    async fn back(&mut self) {
        self.is_lost = false;
        self.notes.tell(
            "the engine answers again, and what happens on it is recorded from here on".to_owned(),
        );
        let at = self.now();
        self.write(Entry::Back { at }).await;
        let there = self.known.iter().filter(|(_, known)| !known.removed);
        let there: Vec<ContainerId> = there.map(|(id, _)| id.clone()).collect();
        for id in there {
            self.inspect(id, None);
        }
    }

    async fn event(&mut self, event: EngineEvent) {
        let id = event.container.clone();
        let at = event.at;
        match event.action {
            Action::Created | Action::Started | Action::Destroyed => {
                self.turns.send_modify(|turns| *turns += 1);
            }
            _ => {}
        }
        match event.action {
            Action::Destroyed => self.removed(&id, at).await,
            Action::Signalled { .. } | Action::Stopped | Action::Restarted | Action::Other(_) => {}
            _ => self.inspect(id.clone(), Some(at)),
        }
        if let Some(known) = self.known.get_mut(&id) {
            known.name.clone_from(&event.name);
            known.started |= matches!(event.action, Action::Started | Action::Died { .. });
        }
        let told = EngineEvent {
            name: id.as_str().to_owned(),
            ..event.clone()
        };
        self.tell(FollowInput::Event(told)).await;
        self.write(Entry::Event(event)).await;
    }

    /// What is there now.
    async fn list(&mut self, rows: &[Container]) {
        let rows: BTreeMap<ContainerId, Container> = rows
            .iter()
            .map(|row| (row.id.clone(), row.clone()))
            .collect();
        for id in rows.keys() {
            if self.known.get(id).is_none_or(|known| !known.asked) {
                self.inspect(id.clone(), None);
            }
        }
        let is_gone = |(id, known): &(&ContainerId, &Known)| {
            !known.removed && known.inspect.is_some() && !rows.contains_key(*id)
        };
        let gone: Vec<ContainerId> = self
            .known
            .iter()
            .filter(is_gone)
            .map(|(id, _)| id.clone())
            .collect();
        for id in gone {
            let now = self.now();
            self.removed(&id, now).await;
        }
        if self.listed.is_none() {
            self.initial = rows.keys().cloned().collect();
        }
        self.listed = Some(rows);
        self.follow().await;
    }

    /// Tells the follower what there is. Its sources are ids: a name may pass from one container to
    /// the next while both have something to say.
    async fn follow(&mut self) {
        let Some(listed) = &self.listed else {
            return;
        };
        let containers: Vec<Container> = listed
            .values()
            .map(|container| Container {
                name: container.id.as_str().to_owned(),
                ..container.clone()
            })
            .collect();
        let ids = self.known.keys().chain(listed.keys());
        let sources = ids.map(|id| SourceId(id.as_str().into())).collect();
        self.tell(FollowInput::Containers(containers.into())).await;
        self.tell(FollowInput::Select(sources)).await;
    }

    async fn tell(&mut self, input: FollowInput) {
        if let Some(inputs) = &self.inputs {
            // The follower takes what comes, whatever its readers wait for.
            let _ = inputs.send(input).await;
        }
    }

    async fn write(&mut self, entry: Entry) {
        // The writer takes everything until there is nobody to send anything.
        let _ = self.entries.send(entry).await;
    }

    fn inspect(&mut self, id: ContainerId, at: Option<Timestamp>) {
        self.known.entry(id.clone()).or_default().asked = true;
        self.wanted.push_back((id, at));
        self.inspect_more();
    }

    fn inspect_more(&mut self) {
        while self.inspections.len() < AT_ONCE
            && let Some((id, at)) = self.wanted.pop_front()
        {
            let engine = self.engine.clone();
            let inspection = async move {
                let answer = engine.inspect(&id).await;
                (id, at, answer.map(Box::new))
            };
            self.inspections.push(inspection.boxed());
        }
    }

    async fn inspected(&mut self, id: &ContainerId, at: Option<Timestamp>, inspect: Inspect) {
        let container = inspect.container.clone();
        let plain = self.plain.clone();
        let inspect = masked(inspect, &|key| plain.contains(key));
        let at = at.unwrap_or_else(|| self.now());
        let known = self.known.entry(id.clone()).or_default();
        // One that is gone already is as it was, unless this is all that is known of it.
        let is_known = known.inspect.is_some();
        known.started |= inspect.detail().started.is_some();
        if is_known && (known.removed || known.inspect.as_ref() == Some(&inspect)) {
            return;
        }
        let seen = match known.inspect.replace(inspect.clone()) {
            None => Seen::Created(Box::new(inspect)),
            Some(_) => Seen::Changed(Box::new(inspect)),
        };
        self.change(id, at, seen).await;
        // A list that is asked for behind an event comes too late for what lives that short.
        if let Some(listed) = &mut self.listed
            && !listed.contains_key(id)
        {
            listed.insert(id.clone(), container);
            self.follow().await;
        }
    }

    async fn removed(&mut self, id: &ContainerId, at: Timestamp) {
        let Some(known) = self.known.get_mut(id).filter(|known| !known.removed) else {
            return;
        };
        known.removed = true;
        self.change(id, at, Seen::Removed).await;
        self.unseen(id.clone()).await;
    }

    /// One that was there only between two looks has left no more than its events.
    async fn unseen(&mut self, id: ContainerId) {
        let Some(known) = self.known.get_mut(&id).filter(|one| one.is_out_of_reach()) else {
            return;
        };
        known.read_out = true;
        if known.started {
            self.torn(id, GONE.to_owned()).await;
        }
    }

    /// A log is not whole.
    async fn torn(&mut self, id: ContainerId, why: String) {
        let name = self.name_of(&id);
        let known = self.known.entry(id.clone()).or_default();
        if !std::mem::replace(&mut known.torn, true) {
            self.torn += 1;
            if self.torn <= NAMED {
                self.notes
                    .tell(format!("the log of {name} is not whole: {why}"));
            }
        }
        self.write(Entry::Trouble { id, name, why }).await;
    }

    /// What is followed has been listed, but it may not have been inspected yet.
    fn name_of(&self, id: &ContainerId) -> String {
        let known = self.known.get(id);
        let inspected = known.and_then(|known| known.inspect.as_ref());
        let listed = self.listed.as_ref().and_then(|listed| listed.get(id));
        let container = inspected.map(|inspect| &inspect.container).or(listed);
        let told = || known.map_or_else(String::new, |known| known.name.clone());
        container.map_or_else(told, |container| container.name.clone())
    }

    async fn change(&mut self, id: &ContainerId, at: Timestamp, what: Seen) {
        let id = id.clone();
        self.write(Entry::Container(ContainerChange { at, id, what }))
            .await;
    }

    async fn followed(&mut self, event: FollowEvent) {
        match event {
            FollowEvent::Opened { container, .. } => {
                let early = self.early(&container);
                let is_blind = self.began.is_none() && self.was_up(&container);
                let known = self.known.entry(container.clone()).or_default();
                known.opened = true;
                known.early = early;
                if is_blind {
                    self.torn(container, UNCLOCKED.to_owned()).await;
                }
            }
            FollowEvent::Lines { source, batch } => {
                let id = ContainerId::new(source.0);
                let missed = self.missed(&id, &batch);
                let name = self.name_of(&id);
                self.write(Entry::Lines {
                    id: id.clone(),
                    name,
                    batch,
                })
                .await;
                if missed {
                    let why =
                        format!("it wrote more than {OPENED_WITH} lines before its log was opened");
                    self.torn(id, why).await;
                }
            }
            FollowEvent::Mark { source, mark, .. } => {
                self.marked(ContainerId::new(source.0), mark).await;
            }
        }
    }

    async fn marked(&mut self, id: ContainerId, mark: Mark) {
        let known = self.known.entry(id.clone()).or_default();
        match mark {
            Mark::Removed => {
                let is_unseen = known.started && !known.opened && !known.read_out;
                known.read_out = true;
                let cause = known.interrupted.take();
                let cause = cause.or_else(|| is_unseen.then(|| GONE.to_owned()));
                if let Some(why) = cause {
                    self.torn(id, why).await;
                }
            }
            // What is not kept by intention is worth no note.
            Mark::Unreadable { cause } => {
                known.read_out = true;
                let name = self.name_of(&id);
                let why = cause;
                self.write(Entry::Trouble { id, name, why }).await;
            }
            Mark::Gap { from, to } => {
                let why =
                    format!("the engine no longer had what was written between {from} and {to}");
                self.torn(id, why).await;
            }
            Mark::Interrupted { cause } => known.interrupted = Some(cause),
            Mark::Resumed => known.interrupted = None,
            Mark::Exited { .. } => known.exited = true,
            Mark::Restarted | Mark::Recreated => known.exited = false,
        }
    }

    /// Whether a container ran when its log was opened, and was there at the beginning.
    fn was_up(&self, id: &ContainerId) -> bool {
        let listed = self.listed.as_ref().and_then(|listed| listed.get(id));
        self.initial.contains(id) && listed.is_some_and(|container| container.state.is_alive())
    }

    /// Of one that was up before, no more than some lines were asked for.
    fn early(&self, id: &ContainerId) -> Option<Early> {
        let (since, began) = self.began.filter(|_| self.initial.contains(id))?;
        let until = since.saturating_add(began.elapsed()).ok()?;
        Some(Early { until, lines: 0 })
    }

    /// Whether more may have been written before a log was opened than was asked for.
    fn missed(&mut self, id: &ContainerId, batch: &LineBatch) -> bool {
        let Some(known) = self.known.get_mut(id) else {
            return false;
        };
        let Some(early) = &mut known.early else {
            return false;
        };
        let lines = batch.iter().filter(|(at, ..)| *at <= early.until).count();
        early.lines = early
            .lines
            .saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
        let missed = early.lines >= OPENED_WITH;
        if missed || lines == 0 {
            known.early = None;
        }
        missed
    }

    /// Asks once more what is there: events of the last removals may still be on their way.
    async fn last_list(&mut self) {
        let queries = self.scope.queries();
        let listed = timeout(LAST_LIST, list_any(&*self.engine, &queries)).await;
        if let Ok(Ok(listed)) = listed {
            let rows: Vec<Container> = listed.into_values().collect();
            self.list(&rows).await;
        }
    }

    /// Whether everything has been heard of what is gone. One of which no log was ever opened may
    /// have gone before anybody could: there is no patience with it.
    fn is_complete(&self, is_patient: bool) -> bool {
        let is_read =
            |known: &Known| !known.removed || known.read_out || !(known.opened || is_patient);
        self.inspections.is_empty() && self.known.values().all(is_read)
    }

    /// The engine's clock, as far as it is known.
    fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        let measured = self.measured.borrow();
        let clock = measured.as_ref().and_then(|measured| measured.clock);
        clock.map_or(now, |clock| clock.to_engines(now))
    }
}

#[cfg(test)]
mod tests;
