//! An engine in memory, for tests: here, of the dashboard, and of anything that takes an engine.
//!
//! It passes the same contract as a real one. Time is its own: a clock that moves by a
//! millisecond with every change and never by itself, so that a test sees the same timestamps
//! every time. Waiting uses tokio's clock, which a test can pause.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::error::{EngineError, ErrorKind};
use super::port::{
    Engine, Inspect, LogRequest, NetworkInfo, Removal, Result, Stream, Tail, VolumeInfo,
};
use crate::domain::container::{Container, Detail, Health, Mount, MountKind, Port, State};
use crate::domain::event::{Action, EngineEvent};
use crate::domain::id::ContainerId;
use crate::domain::label::Labels;
use crate::domain::line::{Channel, Part, PartBatch};
use crate::domain::link::{EngineHost, EngineInfo};
use crate::domain::origins::Origins;
use crate::domain::selector::Selector;
use crate::domain::stats::Usage;

/// The longest part of a line, as real engines cut it.
const PART: usize = 16 * 1024;
/// Parts that come at once: small, so that every border falls between two batches in some test.
const TOGETHER: usize = 3;
/// What a hanging call takes before it is given up.
const LIMIT: Duration = Duration::from_secs(10);
/// 2026-01-01T00:00:00Z: where every fake clock starts.
const BEGINNING: i64 = 1_767_225_600;

/// What a container does from its start on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Writes these bytes at once; a line ends where they have a newline.
    Write(Channel, Vec<u8>),
    /// Goes on when it is asked to stop.
    UntilStopped,
    /// Ends with that code; a script without it ends with 0.
    Exit(i64),
}

impl Step {
    pub fn out(text: &str) -> Self {
        Self::Write(Channel::Out, text.as_bytes().to_vec())
    }

    pub fn err(text: &str) -> Self {
        Self::Write(Channel::Err, text.as_bytes().to_vec())
    }
}

/// What happened, told by the caller: one call to the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    Info,
    Host,
    List(Selector),
    Inspect(ContainerId),
    Events,
    Logs(ContainerId, LogRequest),
    Usage(ContainerId),
    Networks(Selector),
    Volumes(Selector),
    Image(String),
    Missing(BTreeSet<String>),
    Stop(ContainerId, Duration),
    RemoveContainer(ContainerId),
    RemoveNetwork(String),
    RemoveVolume(String),
}

/// A kind of call, for failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Info,
    Host,
    List,
    Inspect,
    Events,
    Logs,
    Usage,
    Networks,
    Volumes,
    Image,
    Missing,
    Stop,
    RemoveContainer,
    RemoveNetwork,
    RemoveVolume,
}

impl Call {
    pub fn operation(&self) -> Operation {
        match self {
            Self::Info => Operation::Info,
            Self::Host => Operation::Host,
            Self::List(_) => Operation::List,
            Self::Inspect(_) => Operation::Inspect,
            Self::Events => Operation::Events,
            Self::Logs(..) => Operation::Logs,
            Self::Usage(_) => Operation::Usage,
            Self::Networks(_) => Operation::Networks,
            Self::Volumes(_) => Operation::Volumes,
            Self::Image(_) => Operation::Image,
            Self::Missing(_) => Operation::Missing,
            Self::Stop(..) => Operation::Stop,
            Self::RemoveContainer(_) => Operation::RemoveContainer,
            Self::RemoveNetwork(_) => Operation::RemoveNetwork,
            Self::RemoveVolume(_) => Operation::RemoveVolume,
        }
    }

    /// The id or name of what the call is about.
    fn target(&self) -> Option<&str> {
        match self {
            Self::Inspect(id)
            | Self::Logs(id, _)
            | Self::Usage(id)
            | Self::Stop(id, _)
            | Self::RemoveContainer(id) => Some(id.as_str()),
            Self::RemoveNetwork(name) | Self::RemoveVolume(name) | Self::Image(name) => Some(name),
            Self::Info
            | Self::Host
            | Self::List(_)
            | Self::Events
            | Self::Networks(_)
            | Self::Volumes(_)
            | Self::Missing(_) => None,
        }
    }
}

/// A container to be created.
#[derive(Clone, Debug)]
pub struct FakeContainer {
    name: String,
    image: String,
    image_id: String,
    labels: Labels,
    env: Vec<(String, Option<String>)>,
    ports: Vec<Port>,
    mounts: Vec<Mount>,
    tty: bool,
    unreadable: bool,
    script: Vec<Step>,
}

impl FakeContainer {
    /// It runs until it is stopped and then exits with 0.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            image: "image:latest".to_owned(),
            image_id: "sha256:0".to_owned(),
            labels: Labels::new(),
            env: Vec::new(),
            ports: Vec::new(),
            mounts: Vec::new(),
            tty: false,
            unreadable: false,
            script: vec![Step::UntilStopped],
        }
    }

    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    #[must_use]
    pub fn image(mut self, reference: &str, id: &str) -> Self {
        reference.clone_into(&mut self.image);
        id.clone_into(&mut self.image_id);
        self
    }

    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), Some(value.to_owned())));
        self
    }

    #[must_use]
    pub fn publish(mut self, private: u16, public: u16) -> Self {
        self.ports.push(Port {
            private,
            public: Some(public),
            address: Some("0.0.0.0".to_owned()),
            protocol: "tcp".to_owned(),
        });
        self
    }

    #[must_use]
    pub fn mount(mut self, kind: MountKind, source: &str, target: &str) -> Self {
        self.mounts.push(Mount {
            kind,
            source: source.to_owned(),
            target: target.to_owned(),
        });
        self
    }

    #[must_use]
    pub fn tty(mut self) -> Self {
        self.tty = true;
        self
    }

    /// Its logging driver keeps nothing that could be read.
    #[must_use]
    pub fn unreadable(mut self) -> Self {
        self.unreadable = true;
        self
    }

    #[must_use]
    pub fn script(mut self, script: impl IntoIterator<Item = Step>) -> Self {
        self.script = script.into_iter().collect();
        self
    }
}

/// The engine. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct FakeEngine {
    world: Arc<Mutex<World>>,
    /// Wakes streams that wait for something new.
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct World {
    now: Timestamp,
    made: u64,
    containers: Vec<Entry>,
    /// What was removed: who has opened its log reads it to the end.
    removed: Vec<Entry>,
    networks: Vec<NetworkInfo>,
    volumes: Vec<VolumeInfo>,
    /// By name: the id of the image.
    images: BTreeMap<String, String>,
    /// What its host does not have.
    lost: BTreeSet<String>,
    subscribers: Vec<mpsc::UnboundedSender<Result<EngineEvent>>>,
    swallow: bool,
    /// What is made whenever a container is removed.
    offspring: Option<FakeContainer>,
    outage: Option<EngineError>,
    /// Streams that were opened in an earlier era are broken.
    era: u64,
    faults: Vec<Fault>,
    calls: Vec<Call>,
}

#[derive(Debug)]
struct Entry {
    spec: FakeContainer,
    container: Container,
    detail: Detail,
    /// What is left of it.
    log: Vec<Part>,
    /// How much of it was rotated away.
    dropped: usize,
    /// Log streams from before the last of them are stalled.
    stalls: u32,
    jolts: Vec<isize>,
    /// What the script has still to do in this run.
    todo: VecDeque<Step>,
    /// Where in the log each run ended that is over.
    ends: Vec<RunEnd>,
    usage: Option<Usage>,
}

#[derive(Clone, Copy, Debug)]
struct RunEnd {
    records: usize,
    /// The last record has no newline.
    torn: bool,
}

#[derive(Debug)]
struct Fault {
    operation: Operation,
    target: Option<String>,
    once: bool,
    /// `None` hangs.
    error: Option<EngineError>,
}

impl Default for FakeEngine {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeEngine {
    pub fn new() -> Self {
        let world = World {
            now: Timestamp::from_second(BEGINNING).unwrap_or_default(),
            made: 0,
            containers: Vec::new(),
            removed: Vec::new(),
            networks: Vec::new(),
            volumes: Vec::new(),
            images: BTreeMap::new(),
            lost: BTreeSet::new(),
            subscribers: Vec::new(),
            swallow: false,
            offspring: None,
            outage: None,
            era: 0,
            faults: Vec::new(),
            calls: Vec::new(),
        };
        Self {
            world: Arc::new(Mutex::new(world)),
            changes: watch::Sender::new(0),
        }
    }

    /// Creates a container without starting it.
    pub fn create(&self, spec: FakeContainer) -> ContainerId {
        self.change(|world| world.create(spec))
    }

    /// Creates and starts a container.
    pub fn run(&self, spec: FakeContainer) -> ContainerId {
        let id = self.create(spec);
        self.start(&id);
        id
    }

    /// Starts a container that does not run.
    pub fn start(&self, id: &ContainerId) {
        self.change(|world| world.start(id));
    }

    /// Ends the main process.
    pub fn die(&self, id: &ContainerId, code: i64) {
        self.change(|world| world.die(id, code));
    }

    /// The kernel kills the main process because memory ran out.
    pub fn run_out_of_memory(&self, id: &ContainerId) {
        self.change(|world| {
            world.emit(id, Action::OutOfMemory);
            if let Some(entry) = world.entry_mut(id) {
                entry.detail.oom_killed = true;
            }
            world.die(id, 137);
        });
    }

    /// As a restart policy does it.
    pub fn restart(&self, id: &ContainerId, code: i64) {
        self.change(|world| {
            world.die(id, code);
            if let Some(entry) = world.entry_mut(id) {
                entry.detail.restart_count += 1;
            }
            world.start(id);
        });
    }

    /// Removes a container in any state.
    pub fn destroy(&self, id: &ContainerId) {
        self.change(|world| world.destroy(id));
    }

    /// Replaces a container by a new and running one of the same name, as compose does.
    pub fn recreate(&self, id: &ContainerId) -> Option<ContainerId> {
        self.change(|world| {
            let spec = world.entry(id)?.spec.clone();
            world.destroy(id);
            let id = world.create(spec);
            world.start(&id);
            Some(id)
        })
    }

    /// Gives a container another name.
    pub fn rename(&self, id: &ContainerId, name: &str) {
        self.change(|world| {
            if let Some(entry) = world.entry_mut(id) {
                entry.container.name = name.into();
            }
            world.emit(id, Action::Renamed);
        });
    }

    pub fn set_health(&self, id: &ContainerId, health: Health, output: &str) {
        self.change(|world| {
            if let Some(entry) = world.entry_mut(id) {
                entry.container.health = Some(health);
                entry.detail.health_output = Some(output.to_owned());
                entry.refresh();
            }
            world.emit(id, Action::Health(health.word().to_owned()));
        });
    }

    /// Writes to a container's log as its process would: one timestamp per call, long lines in
    /// parts, the newline only where the bytes have one.
    pub fn write(&self, id: &ContainerId, channel: Channel, bytes: &[u8]) {
        self.change(|world| world.write(id, channel, bytes));
    }

    /// [`Self::write`] of a line to the standard output.
    pub fn line(&self, id: &ContainerId, text: &str) {
        self.write(id, Channel::Out, format!("{text}\n").as_bytes());
    }

    /// Appends parts to a container's log as they are, at times of their own.
    pub fn record(&self, id: &ContainerId, parts: impl IntoIterator<Item = Part>) {
        self.change(|world| {
            if let Some(entry) = world.entry_mut(id) {
                entry.log.extend(parts);
            }
        });
    }

    /// Drops that many of the oldest parts of a container's log.
    pub fn rotate(&self, id: &ContainerId, parts: usize) {
        self.change(|world| {
            if let Some(entry) = world.entry_mut(id) {
                let parts = parts.min(entry.log.len());
                entry.log.drain(..parts);
                entry.dropped += parts;
            }
        });
    }

    /// Streams of a container's log that are open now go on with a part that many further on, or
    /// back, as those of real engines do where a log is rotated.
    pub fn jolt(&self, id: &ContainerId, parts: isize) {
        self.change(|world| {
            if let Some(entry) = world.entry_mut(id) {
                entry.jolts.push(parts);
            }
        });
    }

    /// Streams of a container's log that are open now say nothing more, and do not end.
    pub fn stall(&self, id: &ContainerId) {
        self.change(|world| {
            if let Some(entry) = world.entry_mut(id) {
                entry.stalls += 1;
            }
        });
    }

    /// What the container has used from now on, for as long as it runs.
    pub fn uses(&self, id: &ContainerId, usage: Usage) {
        self.change(|world| {
            if let Some(entry) = world.entry_mut(id) {
                entry.usage = Some(usage);
            }
        });
    }

    pub fn add_network(&self, name: &str, labels: Labels, attached: &[ContainerId]) -> String {
        self.change(|world| {
            let id = format!("network-{name}");
            world.networks.push(NetworkInfo {
                id: id.clone(),
                name: name.to_owned(),
                created: Some(world.now),
                labels,
                attached: attached.to_vec(),
            });
            id
        })
    }

    /// From now on, whenever somebody removes a container, there is another one like this.
    pub fn respawn(&self, spec: FakeContainer) {
        self.change(|world| world.offspring = Some(spec));
    }

    pub fn add_volume(&self, name: &str, labels: Labels) {
        self.change(|world| {
            world.volumes.push(VolumeInfo {
                name: name.to_owned(),
                created: Some(world.now),
                labels,
            });
        });
    }

    /// A name means this image from now on. The engine does not tell that by an event.
    pub fn tag(&self, name: &str, image_id: &str) {
        self.change(|world| world.images.insert(name.to_owned(), image_id.to_owned()));
    }

    /// A name means no image any more.
    pub fn untag(&self, name: &str) {
        self.change(|world| world.images.remove(name));
    }

    /// The engine's host does not have this path any more.
    pub fn lose(&self, path: &str) {
        self.change(|world| world.lost.insert(path.to_owned()));
    }

    /// The engine's host has a path again that was lost.
    pub fn restore(&self, path: &str) {
        self.change(|world| world.lost.remove(path));
    }

    /// Every stream breaks and every call fails with this error until [`Self::heal`].
    pub fn break_down(&self, error: EngineError) {
        self.change(|world| {
            world.era += 1;
            for subscriber in world.subscribers.drain(..) {
                let _ = subscriber.send(Err(error.clone()));
            }
            world.outage = Some(error);
        });
    }

    /// Ends an outage and takes back all failures.
    pub fn heal(&self) {
        self.change(|world| {
            world.outage = None;
            world.faults.clear();
        });
    }

    /// Calls of this kind fail until [`Self::heal`].
    pub fn fail(&self, operation: Operation, error: EngineError) {
        self.fault(operation, None, false, Some(error));
    }

    /// The next call of this kind fails.
    pub fn fail_once(&self, operation: Operation, error: EngineError) {
        self.fault(operation, None, true, Some(error));
    }

    /// Calls of this kind about this object (an id, or a volume's name) fail.
    pub fn fail_on(&self, operation: Operation, target: &str, error: EngineError) {
        self.fault(operation, Some(target.to_owned()), false, Some(error));
    }

    /// Calls of this kind are not answered, and given up after ten seconds.
    pub fn hang(&self, operation: Operation) {
        self.fault(operation, None, false, None);
    }

    /// Calls of this kind about this object are not answered.
    pub fn hang_on(&self, operation: Operation, target: &str) {
        self.fault(operation, Some(target.to_owned()), false, None);
    }

    fn fault(
        &self,
        operation: Operation,
        target: Option<String>,
        once: bool,
        error: Option<EngineError>,
    ) {
        self.change(|world| {
            world.faults.push(Fault {
                operation,
                target,
                once,
                error,
            });
        });
    }

    /// The next change is not told to those who subscribed to events.
    pub fn swallow_next_event(&self) {
        self.change(|world| world.swallow = true);
    }

    /// Every call so far, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.world().calls.clone()
    }

    /// The engine's clock.
    pub fn now(&self) -> Timestamp {
        self.world().now
    }

    /// Moves the engine's clock.
    pub fn advance(&self, by: Duration) {
        self.change(|world| {
            world.now = SignedDuration::try_from(by)
                .ok()
                .and_then(|by| world.now.checked_add(by).ok())
                .unwrap_or(world.now);
        });
    }

    /// A container as the lists show it.
    pub fn container(&self, id: &ContainerId) -> Option<Container> {
        self.world().entry(id).map(|entry| entry.container.clone())
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let result = change(&mut self.world());
        self.changes.send_modify(|version| *version += 1);
        result
    }

    /// Notes the call and meets the failure that was set for it.
    async fn called(&self, call: Call) -> Result<()> {
        let fault = self.change(|world| {
            let met = world.meet(&call);
            world.calls.push(call);
            met
        });
        match fault {
            Met::Nothing => Ok(()),
            Met::Error(error) => Err(error),
            Met::Silence => {
                tokio::time::sleep(LIMIT).await;
                Err(EngineError::new(
                    ErrorKind::TimedOut,
                    format!("no answer from fake:// within {LIMIT:?}"),
                ))
            }
        }
    }

    fn answer<T: Send + 'static>(
        &self,
        call: Call,
        answer: impl FnOnce(&mut World) -> Result<T> + Send + 'static,
    ) -> BoxFuture<'static, Result<T>> {
        let engine = self.clone();
        async move {
            engine.called(call).await?;
            engine.change(answer)
        }
        .boxed()
    }

    /// A stream of what `next` finds, which waits for a change where it finds nothing yet.
    fn stream<T: Send + 'static, C: Send + 'static>(
        &self,
        call: Call,
        open: impl FnOnce(&World) -> Result<C> + Send + 'static,
        next: impl Fn(&mut World, &mut C) -> Found<T> + Clone + Send + 'static,
    ) -> Stream<T> {
        let engine = self.clone();
        stream::once(async move {
            engine.called(call).await?;
            let (state, era) = {
                let world = engine.world();
                (open(&world)?, world.era)
            };
            let changes = engine.changes.subscribe();
            Ok(stream::unfold(
                Some((engine, state, changes)),
                move |open| {
                    let next = next.clone();
                    async move {
                        let (engine, mut state, mut changes) = open?;
                        loop {
                            changes.borrow_and_update();
                            let found = {
                                let mut world = engine.world();
                                match &world.outage {
                                    Some(error) if world.era > era => Found::Broken(error.clone()),
                                    _ if world.era > era => Found::Broken(broken()),
                                    _ => next(&mut world, &mut state),
                                }
                            };
                            match found {
                                Found::Item(item) => {
                                    return Some((Ok(item), Some((engine, state, changes))));
                                }
                                Found::Broken(error) => return Some((Err(error), None)),
                                Found::End => return None,
                                // The sender lives in `engine`, so this only fails to end.
                                Found::Later => changes.changed().await.ok()?,
                            }
                        }
                    }
                },
            ))
        })
        .flat_map(
            |opened: Result<_>| -> futures_util::stream::BoxStream<'static, Result<T>> {
                match opened {
                    Ok(items) => items.boxed(),
                    Err(error) => stream::iter([Err(error)]).boxed(),
                }
            },
        )
        .boxed()
    }
}

fn broken() -> EngineError {
    EngineError::new(ErrorKind::Unreachable, "the connection to fake:// broke")
}

enum Met {
    Nothing,
    Error(EngineError),
    Silence,
}

enum Found<T> {
    Item(T),
    Later,
    End,
    Broken(EngineError),
}

impl World {
    fn meet(&mut self, call: &Call) -> Met {
        if let Some(error) = &self.outage {
            return Met::Error(error.clone());
        }
        let hit = self.faults.iter().position(|fault| {
            fault.operation == call.operation()
                && fault
                    .target
                    .as_deref()
                    .is_none_or(|target| call.target() == Some(target))
        });
        let Some(hit) = hit else { return Met::Nothing };
        let error = self.faults.get(hit).and_then(|fault| fault.error.clone());
        if self.faults.get(hit).is_some_and(|fault| fault.once) {
            self.faults.remove(hit);
        }
        error.map_or(Met::Silence, Met::Error)
    }

    fn tick(&mut self) -> Timestamp {
        let next = self.now.checked_add(SignedDuration::from_millis(1));
        self.now = next.unwrap_or(self.now);
        self.now
    }

    fn entry(&self, id: &ContainerId) -> Option<&Entry> {
        self.containers
            .iter()
            .find(|entry| entry.container.id == *id)
    }

    fn entry_mut(&mut self, id: &ContainerId) -> Option<&mut Entry> {
        self.containers
            .iter_mut()
            .find(|entry| entry.container.id == *id)
    }

    fn known(&self, id: &ContainerId) -> Result<&Entry> {
        self.entry(id).ok_or_else(|| {
            EngineError::new(ErrorKind::NotFound, format!("No such container: {id}"))
        })
    }

    /// The image's name while that means the image, its id otherwise.
    fn listed_image(&self, container: &Container) -> String {
        let now = self.images.get(&container.image);
        let listed = if now == Some(&container.image_id) {
            &container.image
        } else {
            &container.image_id
        };
        listed.clone()
    }

    fn emit(&mut self, id: &ContainerId, action: Action) {
        let at = self.tick();
        if std::mem::take(&mut self.swallow) {
            return;
        }
        let Some(entry) = self.entry(id) else { return };
        let event = EngineEvent {
            at,
            container: id.clone(),
            name: entry.container.name.clone(),
            labels: entry.container.labels.clone(),
            action,
        };
        self.subscribers
            .retain(|subscriber| subscriber.send(Ok(event.clone())).is_ok());
    }

    fn create(&mut self, spec: FakeContainer) -> ContainerId {
        self.made += 1;
        let id = ContainerId::new(format!("{:064x}", self.made));
        let created = self.tick();
        self.images
            .insert(spec.image.clone(), spec.image_id.clone());
        let container = Container {
            id: id.clone(),
            name: spec.name.clone(),
            image: spec.image.clone(),
            image_id: spec.image_id.clone(),
            state: State::Created,
            health: None,
            status: "Created".to_owned(),
            created,
            labels: spec.labels.clone(),
            ports: spec.ports.clone(),
            mounts: spec.mounts.clone(),
            detail: None,
            origins: Origins::default(),
        };
        let detail = Detail {
            image_name: Some(spec.image.clone()),
            tty: spec.tty,
            log_rotates: true,
            ..Detail::default()
        };
        self.containers.push(Entry {
            spec,
            container,
            detail,
            log: Vec::new(),
            dropped: 0,
            stalls: 0,
            jolts: Vec::new(),
            todo: VecDeque::new(),
            ends: Vec::new(),
            usage: None,
        });
        self.emit(&id, Action::Created);
        id
    }

    fn start(&mut self, id: &ContainerId) {
        let started = self.tick();
        let Some(entry) = self.entry_mut(id) else {
            return;
        };
        if entry.container.state.is_alive() {
            return;
        }
        entry.container.state = State::Running;
        entry.detail.started = Some(started);
        entry.detail.finished = None;
        entry.detail.exit_code = None;
        entry.detail.oom_killed = false;
        entry.todo = entry.spec.script.iter().cloned().collect();
        entry.refresh();
        self.emit(id, Action::Started);
        self.go_on(id);
    }

    /// Runs the script up to where it waits.
    fn go_on(&mut self, id: &ContainerId) {
        loop {
            let Some(entry) = self.entry_mut(id) else {
                return;
            };
            match entry.todo.pop_front() {
                Some(Step::Write(channel, bytes)) => self.write(id, channel, &bytes),
                Some(Step::UntilStopped) => return,
                Some(Step::Exit(code)) => return self.die(id, code),
                None => return self.die(id, 0),
            }
        }
    }

    fn die(&mut self, id: &ContainerId, code: i64) {
        let finished = self.tick();
        let Some(entry) = self.entry_mut(id) else {
            return;
        };
        if !entry.container.state.is_alive() {
            return;
        }
        entry.container.state = State::Exited;
        entry.container.health = None;
        entry.detail.finished = Some(finished);
        entry.detail.exit_code = Some(code);
        entry.todo.clear();
        let last = entry.log.last();
        entry.ends.push(RunEnd {
            records: entry.dropped + entry.log.len(),
            torn: last.is_some_and(|part| part.bytes.last() != Some(&b'\n')),
        });
        entry.refresh();
        let exit_code = Some(code);
        self.emit(id, Action::Died { exit_code });
    }

    fn destroy(&mut self, id: &ContainerId) {
        self.die(id, 137);
        self.emit(id, Action::Destroyed);
        let place = |entry: &Entry| entry.container.id == *id;
        if let Some(place) = self.containers.iter().position(place) {
            self.removed.push(self.containers.remove(place));
        }
        for network in &mut self.networks {
            network.attached.retain(|attached| attached != id);
        }
    }

    fn write(&mut self, id: &ContainerId, channel: Channel, bytes: &[u8]) {
        for text in bytes.split_inclusive(|byte| *byte == b'\n') {
            let at = self.tick();
            let Some(entry) = self.entry_mut(id) else {
                return;
            };
            let channel = if entry.detail.tty {
                Channel::Out
            } else {
                channel
            };
            // Real engines stamp a line when its first part is complete, and go on with that.
            let open = entry
                .log
                .iter()
                .rev()
                .find(|part| part.channel == channel)
                .filter(|part| part.bytes.last() != Some(&b'\n'))
                .map(|part| part.at)
                .filter(|stamp| entry.detail.started.is_none_or(|started| *stamp > started));
            for chunk in text.chunks(PART) {
                entry.log.push(Part {
                    at: open.unwrap_or(at),
                    channel,
                    bytes: chunk.to_vec(),
                });
            }
        }
    }
}

impl Entry {
    /// The status text follows from the state.
    fn refresh(&mut self) {
        let status = match (self.container.state, self.detail.exit_code) {
            (State::Exited, Some(code)) => format!("Exited ({code})"),
            (State::Running, _) => match self.container.health {
                Some(Health::Starting) => "Up (health: starting)".to_owned(),
                Some(health) => format!("Up ({})", health.word()),
                None => "Up".to_owned(),
            },
            (state, _) => state.word().to_owned(),
        };
        self.container.status = status;
    }

    fn inspect(&self) -> Inspect {
        let container = Container {
            detail: Some(self.detail.clone()),
            ..self.container.clone()
        };
        Inspect {
            env: self.spec.env.clone(),
            command: vec!["serve".to_owned()],
            entrypoint: Vec::new(),
            networks: BTreeMap::new(),
            restart_policy: "no".to_owned(),
            raw: serde_json::json!({
                "Id": container.id.as_str(),
                "Name": format!("/{}", container.name),
                "Config": {
                    "Labels": container.labels,
                    "Env": self.spec.env.iter().map(|(name, value)| match value {
                        Some(value) => format!("{name}={value}"),
                        None => name.clone(),
                    }).collect::<Vec<_>>(),
                },
            }),
            container,
        }
    }
}

/// Where a reader of a log stands.
struct Reading {
    id: ContainerId,
    request: LogRequest,
    /// The number of a part, counted from the log's very beginning.
    next: usize,
    stalls: u32,
    jolts: usize,
    /// The run that is followed, by number.
    run: Option<usize>,
}

impl Reading {
    fn open(world: &World, id: &ContainerId, request: LogRequest) -> Result<Self> {
        let entry = world.known(id)?;
        if entry.spec.unreadable {
            return Err(EngineError::new(
                ErrorKind::Unsupported,
                "configured logging driver does not support reading",
            ));
        }
        let next = match request.tail {
            Tail::All => 0,
            // Records are counted, and a long line has several.
            Tail::Last(records) => entry.log.len().saturating_sub(records as usize),
        };
        let next = entry.dropped + next;
        Ok(Self {
            id: id.clone(),
            request,
            next,
            stalls: entry.stalls,
            jolts: entry.jolts.len(),
            run: (request.follow && entry.container.state.is_alive()).then_some(entry.ends.len()),
        })
    }

    fn next(&mut self, world: &World) -> Found<PartBatch> {
        let mut entries = world.containers.iter().chain(&world.removed);
        let Some(entry) = entries.find(|entry| entry.container.id == self.id) else {
            return Found::End;
        };
        if self.stalls < entry.stalls {
            return Found::Later;
        }
        for jolt in entry.jolts.iter().skip(self.jolts) {
            self.next = self.next.saturating_add_signed(*jolt);
        }
        self.jolts = entry.jolts.len();
        let end = self.run.and_then(|run| entry.ends.get(run));
        // Real engines lose the unterminated last line of a followed log in about half of the
        // cases; the fake loses it always.
        let written = entry.dropped + entry.log.len();
        let readable = end.map_or(written, |end| end.records - usize::from(end.torn));
        let mut batch = PartBatch::default();
        self.next = self.next.max(entry.dropped);
        while self.next < readable
            && batch.len() < TOGETHER
            && let Some(part) = entry.log.get(self.next - entry.dropped)
        {
            self.next += 1;
            let since = self.request.since.map(Timestamp::as_second);
            if since.is_none_or(|since| part.at.as_second() >= since) {
                batch.push(part.at, part.channel, &part.bytes);
            }
        }
        if !batch.is_empty() {
            return Found::Item(batch);
        }
        if self.run.is_some() && end.is_none() {
            Found::Later
        } else {
            Found::End
        }
    }
}

impl Engine for FakeEngine {
    fn info(&self) -> BoxFuture<'_, Result<EngineInfo>> {
        self.answer(Call::Info, |_| {
            Ok(EngineInfo {
                product: "docker".to_owned(),
                version: "28.0.0".to_owned(),
                api_version: "1.41".to_owned(),
                endpoint: "fake://".to_owned(),
            })
        })
    }

    fn host(&self) -> BoxFuture<'_, Result<EngineHost>> {
        self.answer(Call::Host, |world| {
            Ok(EngineHost {
                name: "fake".to_owned(),
                os: "linux".to_owned(),
                arch: "x86_64".to_owned(),
                now: Some(world.now),
            })
        })
    }

    fn list(&self, selector: &Selector) -> BoxFuture<'_, Result<Vec<Container>>> {
        let selector = selector.clone();
        self.answer(Call::List(selector.clone()), move |world| {
            Ok(world
                .containers
                .iter()
                .map(|entry| &entry.container)
                .filter(|container| selector.matches(&container.labels))
                .map(|container| Container {
                    image: world.listed_image(container),
                    ..container.clone()
                })
                .collect())
        })
    }

    fn inspect(&self, id: &ContainerId) -> BoxFuture<'_, Result<Inspect>> {
        let id = id.clone();
        self.answer(Call::Inspect(id.clone()), move |world| {
            let mut inspect = world.known(&id).map(Entry::inspect)?;
            let networks = world.networks.iter();
            inspect.networks = networks
                .filter(|network| network.attached.contains(&id))
                .map(|network| (network.name.clone(), String::new()))
                .collect();
            Ok(inspect)
        })
    }

    fn events(&self) -> BoxFuture<'_, Result<Stream<EngineEvent>>> {
        self.answer(Call::Events, |world| {
            let (told, heard) = mpsc::unbounded_channel();
            world.subscribers.push(told);
            Ok(UnboundedReceiverStream::new(heard).boxed())
        })
    }

    fn logs(&self, id: &ContainerId, request: LogRequest) -> Stream<PartBatch> {
        let call = Call::Logs(id.clone(), request);
        let id = id.clone();
        self.stream(
            call,
            move |world| Reading::open(world, &id, request),
            |world, reading| reading.next(world),
        )
    }

    fn usage(&self, id: &ContainerId) -> BoxFuture<'_, Result<Option<Usage>>> {
        let asked = id.clone();
        self.answer(Call::Usage(id.clone()), move |world| {
            let entry = world.known(&asked)?;
            Ok(entry.usage.filter(|_| entry.container.state.is_alive()))
        })
    }

    fn networks(&self, selector: &Selector) -> BoxFuture<'_, Result<Vec<NetworkInfo>>> {
        let selector = selector.clone();
        self.answer(Call::Networks(selector.clone()), move |world| {
            let alive = |id: &ContainerId| {
                world
                    .entry(id)
                    .is_some_and(|entry| entry.container.state.is_alive())
            };
            Ok(world
                .networks
                .iter()
                .filter(|network| selector.matches(&network.labels))
                .map(|network| {
                    let mut network = network.clone();
                    network.attached.retain(alive);
                    network
                })
                .collect())
        })
    }

    fn volumes(&self, selector: &Selector) -> BoxFuture<'_, Result<Vec<VolumeInfo>>> {
        let selector = selector.clone();
        self.answer(Call::Volumes(selector.clone()), move |world| {
            let volumes = world.volumes.iter();
            Ok(volumes
                .filter(|volume| selector.matches(&volume.labels))
                .cloned()
                .collect())
        })
    }

    fn image_id(&self, reference: &str) -> BoxFuture<'_, Result<Option<String>>> {
        let name = reference.to_owned();
        self.answer(Call::Image(name.clone()), move |world| {
            Ok(world.images.get(&name).cloned())
        })
    }

    fn missing(&self, paths: &BTreeSet<String>) -> BoxFuture<'_, BTreeSet<String>> {
        let paths = paths.clone();
        let answer = self.answer(Call::Missing(paths.clone()), move |world| {
            Ok(paths.intersection(&world.lost).cloned().collect())
        });
        answer.map(Result::unwrap_or_default).boxed()
    }

    fn stop(&self, id: &ContainerId, grace: Duration) -> BoxFuture<'_, Result<()>> {
        let id = id.clone();
        self.answer(Call::Stop(id.clone(), grace), move |world| {
            if world.known(&id)?.container.state.is_alive() {
                world.emit(&id, Action::Stopped);
                world.go_on(&id);
            }
            Ok(())
        })
    }

    fn remove_container(&self, id: &ContainerId) -> BoxFuture<'_, Result<Removal>> {
        let id = id.clone();
        self.answer(Call::RemoveContainer(id.clone()), move |world| {
            if world.entry(&id).is_none() {
                return Ok(Removal::Gone);
            }
            world.destroy(&id);
            if let Some(mut spec) = world.offspring.clone() {
                spec.name = format!("{}-{}", spec.name, world.made);
                let id = world.create(spec);
                world.start(&id);
            }
            Ok(Removal::Removed)
        })
    }

    fn remove_network(&self, id: &str) -> BoxFuture<'_, Result<Removal>> {
        let id = id.to_owned();
        self.answer(Call::RemoveNetwork(id.clone()), move |world| {
            let Some(network) = world.networks.iter().find(|network| network.id == id) else {
                return Ok(Removal::Gone);
            };
            let in_use = network.attached.iter().any(|id| {
                world
                    .entry(id)
                    .is_some_and(|entry| entry.container.state.is_alive())
            });
            if in_use {
                return Err(EngineError::new(
                    ErrorKind::Conflict,
                    format!("network {} has active endpoints", network.name),
                ));
            }
            world.networks.retain(|network| network.id != id);
            Ok(Removal::Removed)
        })
    }

    fn remove_volume(&self, name: &str) -> BoxFuture<'_, Result<Removal>> {
        let name = name.to_owned();
        self.answer(Call::RemoveVolume(name.clone()), move |world| {
            if !world.volumes.iter().any(|volume| volume.name == name) {
                return Ok(Removal::Gone);
            }
            let in_use = world.containers.iter().any(|entry| {
                let mounts = &entry.container.mounts;
                mounts
                    .iter()
                    .any(|mount| mount.kind == MountKind::Volume && mount.source == name)
            });
            if in_use {
                return Err(EngineError::new(
                    ErrorKind::Conflict,
                    format!("remove {name}: volume is in use"),
                ));
            }
            world.volumes.retain(|volume| volume.name != name);
            Ok(Removal::Removed)
        })
    }
}
