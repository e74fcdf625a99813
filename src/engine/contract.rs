//! What every engine must do: one suite, run on the fake, on a recording and on a real daemon.
//!
//! A test on the fake proves something only because the fake passes what the real one passes.
//! An implementation gives a [`World`], in which containers can be made, and the macro
//! [`engine_contract!`](crate::engine_contract) makes one test of each rule. A recording passes the
//! rules that are about reading: its world makes containers elsewhere, and reads a recording of them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test suite says what went wrong by panicking"
)]

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};

use super::fake::{FakeContainer, FakeEngine, Step};
use super::{Engine, ErrorKind, LogRequest, Removal, Stream, Tail, parts};
use crate::domain::container::{MountKind, State};
use crate::domain::event::{Action, EngineEvent};
use crate::domain::id::ContainerId;
use crate::domain::label::{Condition, Labels};
use crate::domain::line::{Channel, Part};
use crate::domain::selector::Selector;

/// Nothing here takes long; an engine that does not answer must not hang the suite.
const LIMIT: Duration = Duration::from_secs(60);

/// A place in which containers can be made on an engine. Everything in it is removed with it.
pub trait World: Send + Sync {
    /// Where containers are made and run.
    fn engine(&self) -> Arc<dyn Engine>;

    /// Where they are looked at: there, or in a recording of it as it is now.
    fn reader(&self) -> impl Future<Output = Arc<dyn Engine>> + Send {
        std::future::ready(self.engine())
    }

    /// A label that this world puts on everything that it makes, and nobody else uses.
    fn own_label(&self) -> (String, String);

    /// Creates a container with this script, without starting it.
    fn create(&self, spec: Spec) -> impl Future<Output = ContainerId> + Send;

    fn start(&self, id: &ContainerId) -> impl Future<Output = ()> + Send;

    /// A network to which this container is attached.
    fn network(
        &self,
        labels: Labels,
        attached: &ContainerId,
    ) -> impl Future<Output = String> + Send;

    fn volume(&self, labels: Labels) -> impl Future<Output = String> + Send;
}

/// A container of the suite.
#[derive(Clone, Debug, Default)]
pub struct Spec {
    /// Beside the world's own label.
    pub labels: Labels,
    pub tty: bool,
    /// The name of a volume to mount.
    pub volume: Option<String>,
    pub script: Vec<Step>,
}

impl Spec {
    pub fn script(script: impl IntoIterator<Item = Step>) -> Self {
        Self {
            script: script.into_iter().collect(),
            ..Self::default()
        }
    }

    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }
}

/// Makes a test of every rule, each in a world of its own: `engine_contract!(make().await)`.
/// Where the expression gives `None` the test is skipped.
#[macro_export]
macro_rules! engine_contract {
    ($world:expr) => {
        $crate::engine_contract!(reading $world);
        $crate::engine_contract!(@each $world;
            an_inspect_of_what_is_gone_is_not_found
            an_inspect_tells_how_a_container_ends
            what_happens_after_the_subscription_is_seen
            nothing_from_before_the_subscription_is_seen
            a_followed_log_ends_with_the_container
            the_log_of_what_is_gone_is_not_found
            a_stop_is_asked_for_twice
            a_removal_takes_what_runs_and_is_done_once
            networks_and_volumes_are_found_by_all_labels
            what_is_in_use_is_not_removed
        );
    };
    // The rules that hold where nothing happens any more.
    (reading $world:expr) => {
        $crate::engine_contract!(@each $world;
            the_engine_says_what_it_is
            all_conditions_must_match
            what_never_was_is_not_found
            an_inspect_tells_how_a_container_ended
            an_image_is_found_by_the_name_that_a_container_was_made_from
            a_tail_counts_from_the_end
            since_leaves_out_what_is_older
            a_followed_log_of_what_has_ended_ends
            a_log_goes_on_after_a_restart
            a_long_line_comes_in_parts_of_one_timestamp
            the_last_line_needs_no_newline
            the_channels_are_told_apart
            a_terminal_has_one_channel
        );
    };
    (@each $world:expr; $($rule:ident)*) => {
        $(
            #[tokio::test]
            async fn $rule() {
                if let Some(world) = $world {
                    $crate::engine::contract::$rule(&world).await;
                }
            }
        )*
    };
}

fn selector(pairs: &[(&str, &str)]) -> Selector {
    let conditions = pairs
        .iter()
        .map(|(key, value)| Condition::equals(*key, *value));
    Selector::from_conditions(conditions).unwrap()
}

/// What only this world has.
fn own(world: &impl World) -> Selector {
    let (key, value) = world.own_label();
    Selector::new(Condition::equals(key, value), [])
}

fn own_and(world: &impl World, key: &str, value: &str) -> Selector {
    let (own_key, own_value) = world.own_label();
    Selector::new(
        Condition::equals(own_key, own_value),
        [Condition::equals(key, value)],
    )
}

async fn bounded<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, what)
        .await
        .expect("the engine did not do it in time")
}

async fn next(events: &mut Stream<EngineEvent>) -> EngineEvent {
    bounded(events.next()).await.unwrap().unwrap()
}

/// Reads events up to the end of the container.
async fn died(events: &mut Stream<EngineEvent>, id: &ContainerId) -> Option<i64> {
    loop {
        let event = next(events).await;
        if let (Action::Died { exit_code }, true) = (&event.action, event.container == *id) {
            return *exit_code;
        }
    }
}

/// Starts a container and waits for its end.
async fn run(world: &impl World, spec: Spec) -> ContainerId {
    let mut events = bounded(world.engine().events()).await.unwrap();
    let id = world.create(spec).await;
    world.start(&id).await;
    died(&mut events, &id).await;
    id
}

/// A container that waits to be stopped.
fn waiting() -> Spec {
    Spec::script([Step::out("ready\n"), Step::UntilStopped])
}

/// Starts a container whose script begins by writing, and waits for that: a main process that
/// has not come to anything yet does not hear that it is asked to stop.
async fn start_up(world: &impl World, id: &ContainerId) {
    world.start(id).await;
    let mut parts = parts(world.engine().logs(id, following()));
    bounded(parts.next()).await.unwrap().unwrap();
}

async fn read(world: &impl World, id: &ContainerId, request: LogRequest) -> Vec<Part> {
    let log = parts(world.reader().await.logs(id, request));
    bounded(log.try_collect()).await.unwrap()
}

fn once(tail: Tail) -> LogRequest {
    LogRequest {
        tail,
        since: None,
        follow: false,
    }
}

fn following() -> LogRequest {
    LogRequest {
        follow: true,
        ..once(Tail::All)
    }
}

fn text(parts: &[Part]) -> String {
    let bytes: Vec<u8> = parts.iter().flat_map(|part| part.bytes.clone()).collect();
    String::from_utf8(bytes).unwrap()
}

fn numbers(numbers: std::ops::Range<u32>) -> impl Iterator<Item = Step> {
    numbers.map(|number| Step::out(&format!("{number}\n")))
}

pub async fn the_engine_says_what_it_is(world: &impl World) {
    let info = bounded(world.reader().await.info()).await.unwrap();
    let mut version = info
        .api_version
        .split('.')
        .map(|part| part.parse::<u32>().unwrap());
    let version = (version.next().unwrap(), version.next().unwrap());
    assert!(version >= (1, 41), "{info:?}");
    assert!(["docker", "podman"].contains(&&*info.product), "{info:?}");
    assert!(!info.endpoint.is_empty());
}

pub async fn all_conditions_must_match(world: &impl World) {
    let both = world
        .create(Spec::default().label("a", "1").label("b", "2"))
        .await;
    world.create(Spec::default().label("a", "1")).await;
    world
        .create(Spec::default().label("a", "1").label("b", "other"))
        .await;
    let (key, value) = world.own_label();
    let engine = world.reader().await;
    let listed = engine
        .list(&selector(&[(&key, &value), ("a", "1"), ("b", "2")]))
        .await
        .unwrap();
    let ids: Vec<&ContainerId> = listed.iter().map(|container| &container.id).collect();
    assert_eq!(ids, [&both]);
    assert_eq!(listed[0].state, State::Created);
    assert_eq!(listed[0].labels["b"], "2");
    assert!(!listed[0].name.is_empty() && !listed[0].name.starts_with('/'));
    assert_eq!(engine.list(&own(world)).await.unwrap().len(), 3);
    let nothing = selector(&[(&key, &value), ("a", "")]);
    assert_eq!(engine.list(&nothing).await.unwrap(), []);
}

pub async fn an_inspect_of_what_is_gone_is_not_found(world: &impl World) {
    let id = world.create(Spec::default()).await;
    let engine = world.engine();
    assert_eq!(engine.inspect(&id).await.unwrap().container.id, id);
    engine.remove_container(&id).await.unwrap();
    let error = engine.inspect(&id).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
    assert!(!error.is_outage());
}

pub async fn what_never_was_is_not_found(world: &impl World) {
    let engine = world.reader().await;
    let never = ContainerId::new("tackroom-never-existed");
    let error = engine.inspect(&never).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
    let log = parts(engine.logs(&never, following()));
    let answer: Result<Vec<Part>, _> = bounded(log.try_collect()).await;
    assert_eq!(answer.unwrap_err().kind, ErrorKind::NotFound);
}

pub async fn an_inspect_tells_how_a_container_ended(world: &impl World) {
    let id = run(world, Spec::script([Step::out("x\n"), Step::Exit(3)])).await;
    let ended = world.reader().await.inspect(&id).await.unwrap();
    assert_eq!(ended.container.state, State::Exited);
    assert_eq!(ended.container.id, id);
    let detail = ended.detail();
    assert_eq!(detail.exit_code, Some(3));
    // In this order only where it lived longer than the engine took to note its start.
    assert!(detail.started.is_some() && detail.finished.is_some());
    assert_eq!(ended.raw["Id"], id.as_str());
}

pub async fn an_inspect_tells_how_a_container_ends(world: &impl World) {
    let engine = world.engine();
    let id = world
        .create(Spec::script([
            Step::out("ready\n"),
            Step::UntilStopped,
            Step::Exit(3),
        ]))
        .await;
    let created = engine.inspect(&id).await.unwrap().detail();
    assert_eq!((created.started, created.exit_code), (None, None));
    start_up(world, &id).await;
    let running = engine.inspect(&id).await.unwrap();
    assert_eq!(running.container.state, State::Running);
    assert!(running.detail().started.is_some());
    assert_eq!(
        (running.detail().finished, running.detail().exit_code),
        (None, None)
    );
    bounded(engine.stop(&id, Duration::from_secs(30)))
        .await
        .unwrap();
    let ended = engine.inspect(&id).await.unwrap();
    assert_eq!(ended.container.state, State::Exited);
    assert_eq!(ended.detail().exit_code, Some(3));
    assert!(ended.detail().finished >= running.detail().started);
}

pub async fn an_image_is_found_by_the_name_that_a_container_was_made_from(world: &impl World) {
    let id = world.create(Spec::default()).await;
    let engine = world.reader().await;
    let inspect = engine.inspect(&id).await.unwrap();
    let name = inspect.detail().image_name.unwrap();
    let now = engine.image_id(&name).await.unwrap();
    assert_eq!(now.as_ref(), Some(&inspect.container.image_id));
    let listed = engine.list(&own(world)).await.unwrap();
    assert_eq!(listed[0].image, name);
    let never = engine.image_id("tackroom-never-existed:latest").await;
    assert_eq!(never, Ok(None));
}

pub async fn what_happens_after_the_subscription_is_seen(world: &impl World) {
    let engine = world.engine();
    let (key, value) = world.own_label();
    let mut events = bounded(engine.events()).await.unwrap();
    let id = world
        .create(Spec::script([Step::out("x\n"), Step::Exit(7)]))
        .await;
    world.start(&id).await;
    let mut seen = Vec::new();
    let mut removed = false;
    loop {
        let event = next(&mut events).await;
        if event.container != id {
            continue;
        }
        assert_eq!(event.labels.get(&key), Some(&value));
        assert!(!event.name.is_empty());
        let action = event.action.clone();
        seen.push(event);
        match action {
            Action::Died { .. } if !removed => {
                removed = true;
                bounded(engine.remove_container(&id)).await.unwrap();
            }
            Action::Destroyed => break,
            _ => {}
        }
    }
    let actions: Vec<&Action> = seen.iter().map(|event| &event.action).collect();
    let died = Action::Died { exit_code: Some(7) };
    assert_eq!(
        actions,
        [
            &Action::Created,
            &Action::Started,
            &died,
            &Action::Destroyed
        ]
    );
    assert!(seen.is_sorted_by_key(|event| event.at));
}

pub async fn nothing_from_before_the_subscription_is_seen(world: &impl World) {
    let before = world.create(Spec::default()).await;
    let mut events = bounded(world.engine().events()).await.unwrap();
    let after = world.create(Spec::default()).await;
    loop {
        let event = next(&mut events).await;
        assert_ne!(event.container, before, "{event:?}");
        if event.container == after {
            return;
        }
    }
}

pub async fn a_tail_counts_from_the_end(world: &impl World) {
    let id = run(world, Spec::script(numbers(0..20))).await;
    let all: String = (0..20).map(|number| format!("{number}\n")).collect();
    assert_eq!(text(&read(world, &id, once(Tail::All)).await), all);
    assert_eq!(
        text(&read(world, &id, once(Tail::Last(3))).await),
        "17\n18\n19\n"
    );
    assert_eq!(text(&read(world, &id, once(Tail::Last(99))).await), all);
    assert_eq!(read(world, &id, once(Tail::Last(0))).await, []);
}

pub async fn since_leaves_out_what_is_older(world: &impl World) {
    let id = run(world, Spec::script(numbers(0..5))).await;
    let parts = read(world, &id, once(Tail::All)).await;
    assert!(parts.is_sorted_by_key(|part| part.at));
    let last = parts.last().unwrap().at;
    let since = |at| LogRequest {
        since: Some(at),
        ..once(Tail::All)
    };
    let second = jiff::SignedDuration::from_secs(1);
    assert_eq!(read(world, &id, since(last + second)).await, []);
    // Whole seconds: what is cut off is the fraction, so the line itself is always in it.
    let again = read(world, &id, since(last)).await;
    assert_eq!(again.last(), parts.last());
    assert!(
        again
            .iter()
            .all(|part| part.at.as_second() >= last.as_second())
    );
}

pub async fn a_followed_log_ends_with_the_container(world: &impl World) {
    let engine = world.engine();
    let script = [
        Step::out("ready\n"),
        Step::UntilStopped,
        Step::out("bye\n"),
        Step::Exit(0),
    ];
    let id = world.create(Spec::script(script)).await;
    world.start(&id).await;
    let mut parts = parts(engine.logs(&id, following()));
    let first = bounded(parts.next()).await.unwrap().unwrap();
    assert_eq!(first.bytes, b"ready\n");
    bounded(engine.stop(&id, Duration::from_secs(30)))
        .await
        .unwrap();
    let rest: Vec<Part> = bounded(parts.try_collect()).await.unwrap();
    assert_eq!(text(&rest), "bye\n");
    assert!(rest[0].at > first.at);
}

pub async fn a_followed_log_of_what_has_ended_ends(world: &impl World) {
    let id = run(world, Spec::script(numbers(0..3))).await;
    let parts = read(world, &id, following()).await;
    assert_eq!(text(&parts), "0\n1\n2\n");
    let tail = LogRequest {
        tail: Tail::Last(1),
        ..following()
    };
    assert_eq!(text(&read(world, &id, tail).await), "2\n");
}

pub async fn a_log_goes_on_after_a_restart(world: &impl World) {
    let id = run(
        world,
        Spec::script([Step::out("run\n"), Step::out("cut off")]),
    )
    .await;
    let first = world.engine().inspect(&id).await.unwrap().detail();
    let mut events = bounded(world.engine().events()).await.unwrap();
    world.start(&id).await;
    died(&mut events, &id).await;
    let second = world.engine().inspect(&id).await.unwrap().detail();
    assert!(second.started > first.started);
    let parts = read(world, &id, once(Tail::All)).await;
    let texts: Vec<&[u8]> = parts.iter().map(|part| &*part.bytes).collect();
    assert_eq!(texts, [&b"run\n"[..], b"cut off", b"run\n", b"cut off"]);
    assert_ne!(parts[1].at, parts[2].at, "the second run starts a new line");
}

pub async fn a_long_line_comes_in_parts_of_one_timestamp(world: &impl World) {
    let long = "x".repeat(40_000);
    let script = [Step::out(&format!("{long}\n")), Step::out("short\n")];
    let id = run(world, Spec::script(script)).await;
    let parts = read(world, &id, once(Tail::All)).await;
    assert_eq!(text(&parts), format!("{long}\nshort\n"));
    let newlines: Vec<bool> = parts
        .iter()
        .map(|part| part.bytes.ends_with(b"\n"))
        .collect();
    assert_eq!(newlines, [false, false, true, true]);
    assert!(parts[..3].iter().all(|part| part.at == parts[0].at));
    assert!(parts[3].at > parts[0].at);
    // A tail counts parts, and so may begin inside a line.
    let tail = read(world, &id, once(Tail::Last(2))).await;
    assert_eq!(tail, parts[2..]);
}

pub async fn the_last_line_needs_no_newline(world: &impl World) {
    let script = [Step::out("whole\n"), Step::out("torn")];
    let id = run(world, Spec::script(script)).await;
    assert_eq!(
        text(&read(world, &id, once(Tail::All)).await),
        "whole\ntorn"
    );
}

pub async fn the_channels_are_told_apart(world: &impl World) {
    let script = [Step::out("result\n"), Step::err("warning\n")];
    let id = run(world, Spec::script(script)).await;
    let parts = read(world, &id, once(Tail::All)).await;
    let of = |channel| -> Vec<Part> {
        let parts = parts.iter().filter(|part| part.channel == channel);
        parts.cloned().collect()
    };
    assert_eq!(text(&of(Channel::Out)), "result\n");
    assert_eq!(text(&of(Channel::Err)), "warning\n");
}

pub async fn a_terminal_has_one_channel(world: &impl World) {
    let long = "x".repeat(40_000);
    let script = [
        Step::err("warning\n"),
        // Without a timestamp in front this would look like a frame's header.
        Step::out("\u{1}control\n"),
        Step::out(&format!("{long}\n")),
    ];
    let spec = Spec {
        tty: true,
        ..Spec::script(script)
    };
    let id = run(world, spec).await;
    let inspect = world.reader().await.inspect(&id).await.unwrap();
    assert!(inspect.detail().tty);
    let parts = read(world, &id, once(Tail::All)).await;
    assert!(parts.iter().all(|part| part.channel == Channel::Out));
    assert_eq!(
        text(&parts).replace('\r', ""),
        format!("warning\n\u{1}control\n{long}\n")
    );
}

pub async fn the_log_of_what_is_gone_is_not_found(world: &impl World) {
    let id = world.create(Spec::default()).await;
    let engine = world.engine();
    engine.remove_container(&id).await.unwrap();
    for request in [once(Tail::All), following()] {
        let answer: Result<Vec<Part>, _> =
            bounded(parts(engine.logs(&id, request)).try_collect()).await;
        assert_eq!(answer.unwrap_err().kind, ErrorKind::NotFound);
    }
}

pub async fn a_stop_is_asked_for_twice(world: &impl World) {
    let engine = world.engine();
    let grace = Duration::from_secs(30);
    let id = world.create(waiting()).await;
    bounded(engine.stop(&id, grace)).await.unwrap();
    start_up(world, &id).await;
    bounded(engine.stop(&id, grace)).await.unwrap();
    bounded(engine.stop(&id, grace)).await.unwrap();
    let state = engine.inspect(&id).await.unwrap().container.state;
    assert_eq!(state, State::Exited);
    engine.remove_container(&id).await.unwrap();
    let error = bounded(engine.stop(&id, grace)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
}

pub async fn a_removal_takes_what_runs_and_is_done_once(world: &impl World) {
    let engine = world.engine();
    let id = world.create(waiting()).await;
    world.start(&id).await;
    let removal = bounded(engine.remove_container(&id)).await.unwrap();
    assert_eq!(removal, Removal::Removed);
    assert_eq!(engine.list(&own(world)).await.unwrap(), []);
    let removal = bounded(engine.remove_container(&id)).await.unwrap();
    assert_eq!(removal, Removal::Gone);
    for removal in [
        engine.remove_network("tackroom-never-existed").await,
        engine.remove_volume("tackroom-never-existed").await,
    ] {
        assert_eq!(removal.unwrap(), Removal::Gone);
    }
}

pub async fn networks_and_volumes_are_found_by_all_labels(world: &impl World) {
    let engine = world.engine();
    let id = world.create(waiting()).await;
    let a = Labels::from([("a".to_owned(), "1".to_owned())]);
    let network = world.network(a.clone(), &id).await;
    let volume = world.volume(a).await;
    world.volume(Labels::new()).await;
    let mine = own_and(world, "a", "1");

    let networks = engine.networks(&mine).await.unwrap();
    assert_eq!(networks.len(), 1);
    assert_eq!(networks[0].id, network);
    assert_eq!(networks[0].attached, [], "it does not run");
    world.start(&id).await;
    let networks = engine.networks(&mine).await.unwrap();
    assert_eq!(networks[0].attached, [id]);

    let volumes = engine.volumes(&mine).await.unwrap();
    assert_eq!(volumes.len(), 1);
    assert_eq!(volumes[0].name, volume);
    assert!(volumes[0].created.is_some() && networks[0].created.is_some());
    assert_eq!(engine.volumes(&own(world)).await.unwrap().len(), 2);
    let other = own_and(world, "a", "2");
    assert_eq!(engine.volumes(&other).await.unwrap(), []);
    assert_eq!(engine.networks(&other).await.unwrap(), []);
}

pub async fn what_is_in_use_is_not_removed(world: &impl World) {
    let engine = world.engine();
    let volume = world.volume(Labels::new()).await;
    let spec = Spec {
        volume: Some(volume.clone()),
        ..waiting()
    };
    let id = world.create(spec).await;
    let network = world.network(Labels::new(), &id).await;
    world.start(&id).await;
    let error = engine.remove_network(&network).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
    let error = engine.remove_volume(&volume).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
    bounded(engine.remove_container(&id)).await.unwrap();
    assert_eq!(engine.remove_network(&network).await, Ok(Removal::Removed));
    assert_eq!(engine.remove_volume(&volume).await, Ok(Removal::Removed));
}

/// The world of a fake engine.
#[derive(Clone, Debug, Default)]
pub struct FakeWorld(pub FakeEngine);

impl FakeWorld {
    fn labelled(&self, mut labels: Labels) -> Labels {
        let (key, value) = self.own_label();
        labels.insert(key, value);
        labels
    }
}

impl World for FakeWorld {
    fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(self.0.clone())
    }

    fn own_label(&self) -> (String, String) {
        ("world".to_owned(), "1".to_owned())
    }

    async fn create(&self, spec: Spec) -> ContainerId {
        let mut container = FakeContainer::new("name").script(spec.script);
        for (key, value) in self.labelled(spec.labels) {
            container = container.label(&key, &value);
        }
        if spec.tty {
            container = container.tty();
        }
        if let Some(volume) = spec.volume {
            container = container.mount(MountKind::Volume, &volume, "/data");
        }
        self.0.create(container)
    }

    async fn start(&self, id: &ContainerId) {
        self.0.start(id);
    }

    async fn network(&self, labels: Labels, attached: &ContainerId) -> String {
        let attached = [attached.clone()];
        self.0.add_network("net", self.labelled(labels), &attached)
    }

    async fn volume(&self, labels: Labels) -> String {
        let name = format!("volume-{}", labels.len());
        self.0.add_volume(&name, self.labelled(labels));
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    engine_contract!(Some(FakeWorld::default()));
}
