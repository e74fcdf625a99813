//! A recording looked at as an engine.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::TryStreamExt;
use tempfile::TempDir;

use super::super::{ContainerChange, EngineLog, Seen};
use super::*;
use crate::domain::fingerprint::{EnginePrint, Fingerprint};
use crate::domain::line::Part;
use crate::engine::contract::{FakeWorld, Spec, World};
use crate::engine::fake::FakeEngine;
use crate::engine::parts;
use crate::engine_contract;
use crate::record::write_fingerprint;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A log as kubelet writes it, with the parts in which the engine gave it.
fn cri(parts: &[Part]) -> Vec<u8> {
    let mut log = Vec::new();
    for part in parts {
        let channel = match part.channel {
            Channel::Out => "stdout",
            Channel::Err => "stderr",
        };
        let (full, text) = match part.bytes.strip_suffix(b"\n") {
            Some(text) => ("F", text),
            None => ("P", &*part.bytes),
        };
        log.extend(format!("{:.9} {channel} {full} ", part.at).into_bytes());
        log.extend(text);
        log.push(b'\n');
    }
    log
}

/// A directory of a run that has recorded an engine.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        desk.log();
        desk
    }

    fn log(&self) -> EngineLog {
        EngineLog::create(self.0.path(), at(0)).unwrap()
    }

    fn saw(&self, inspect: Inspect) -> PathBuf {
        let container = inspect.container.clone();
        let what = Seen::Created(Box::new(inspect));
        let change = ContainerChange {
            at: container.created,
            id: container.id.clone(),
            what,
        };
        self.log().container(change).unwrap();
        let name = super::super::write::log_name(&container.name, &container.id);
        self.0.path().join("engine/logs").join(name)
    }

    fn then(&self, id: &str, second: i64, what: Seen) {
        let change = ContainerChange {
            at: at(second),
            id: ContainerId::new(id),
            what,
        };
        self.log().container(change).unwrap();
    }

    fn event(&self, id: &str, second: i64, action: Action) {
        let event = EngineEvent {
            at: at(second),
            container: ContainerId::new(id),
            name: String::new(),
            labels: Default::default(),
            action,
        };
        self.log().event(&event, &|_| true).unwrap();
    }

    fn engine(&self) -> RecordedEngine {
        RecordedEngine::open(self.0.path()).unwrap()
    }
}

fn inspect(id: &str, name: &str) -> Inspect {
    let mut container = Container::bare(id);
    container.name = name.to_owned();
    container.labels = [("a".to_owned(), "1".to_owned())].into();
    container.detail = Some(crate::domain::container::Detail {
        started: Some(at(10)),
        log_rotates: true,
        image_name: Some("shop:dev".to_owned()),
        ..Default::default()
    });
    Inspect::of(container, serde_json::json!({ "Id": id }))
}

async fn logs(engine: &RecordedEngine, id: &str, tail: Tail, since: Option<i64>) -> Vec<String> {
    let request = LogRequest {
        tail,
        since: since.map(at),
        follow: false,
    };
    let parts: Vec<Part> = parts(engine.logs(&ContainerId::new(id), request))
        .try_collect()
        .await
        .unwrap();
    let text = |part: &Part| String::from_utf8(part.bytes.clone()).unwrap();
    parts.iter().map(text).collect()
}

/// Containers of a fake, looked at in a recording of it.
struct Recorded {
    fake: FakeWorld,
    desk: Desk,
}

impl World for Recorded {
    fn engine(&self) -> Arc<dyn Engine> {
        self.fake.engine()
    }

    async fn reader(&self) -> Arc<dyn Engine> {
        let engine = self.fake.engine();
        let (key, value) = self.own_label();
        let own = Selector::new(Condition::equals(key, value), []);
        for container in engine.list(&own).await.unwrap() {
            let request = LogRequest {
                tail: Tail::All,
                since: None,
                follow: false,
            };
            let log: Vec<Part> = parts(engine.logs(&container.id, request))
                .try_collect()
                .await
                .unwrap();
            let file = self.desk.saw(engine.inspect(&container.id).await.unwrap());
            std::fs::write(file, cri(&log)).unwrap();
        }
        let info = engine.info().await.unwrap();
        let engine = Some(EnginePrint {
            product: info.product,
            version: info.version,
            api: info.api_version,
            ..EnginePrint::default()
        });
        let print = Fingerprint {
            engine,
            ..Fingerprint::default()
        };
        write_fingerprint(self.desk.0.path(), &print).unwrap();
        Arc::new(self.desk.engine())
    }

    fn own_label(&self) -> (String, String) {
        self.fake.own_label()
    }

    async fn create(&self, spec: Spec) -> ContainerId {
        self.fake.create(spec).await
    }

    async fn start(&self, id: &ContainerId) {
        self.fake.start(id).await;
    }

    async fn network(
        &self,
        labels: crate::domain::label::Labels,
        attached: &ContainerId,
    ) -> String {
        self.fake.network(labels, attached).await
    }

    async fn volume(&self, labels: crate::domain::label::Labels) -> String {
        self.fake.volume(labels).await
    }
}

engine_contract!(reading Some(Recorded {
    fake: FakeWorld(FakeEngine::new()),
    desk: Desk::new(),
}));

#[tokio::test]
async fn nothing_can_be_changed_and_nothing_happens() {
    let desk = Desk::new();
    desk.saw(inspect("c1", "tenant"));
    let engine = desk.engine();
    let id = ContainerId::new("c1");
    let refused = [
        engine
            .stop(&id, Duration::ZERO)
            .await
            .map(|()| Removal::Gone),
        engine.remove_container(&id).await,
        engine.remove_network("n").await,
        engine.remove_volume("v").await,
    ];
    for refusal in refused {
        let error = refusal.unwrap_err();
        assert_eq!(error.message, "a recording cannot be changed");
        assert!(!error.is_outage());
    }
    assert_eq!(engine.usage(&id).await, Ok(None));
    let own = Selector::new(Condition::present("a"), []);
    assert_eq!(engine.networks(&own).await.unwrap(), []);
    assert_eq!(engine.volumes(&own).await.unwrap(), []);
    let mut events = engine.events().await.unwrap();
    assert!(events.next().now_or_never().is_none());
}

#[tokio::test]
async fn the_end_of_a_container_that_was_removed_is_told_by_its_events() {
    let desk = Desk::new();
    for id in ["killed", "gone", "restarted", "up"] {
        desk.saw(inspect(id, id));
    }
    desk.event("killed", 5, Action::Died { exit_code: Some(9) });
    desk.event("killed", 20, Action::OutOfMemory);
    desk.event(
        "killed",
        21,
        Action::Died {
            exit_code: Some(137),
        },
    );
    desk.then("killed", 22, Seen::Removed);
    desk.then("gone", 30, Seen::Removed);
    desk.event("restarted", 20, Action::Died { exit_code: Some(1) });
    desk.event("restarted", 21, Action::Started);
    let engine = desk.engine();
    let look = async |id: &str| {
        let inspect = engine.inspect(&ContainerId::new(id)).await.unwrap();
        let detail = inspect.detail();
        assert!(!detail.log_rotates);
        (inspect.container.state, detail)
    };
    let (state, detail) = look("killed").await;
    assert_eq!((state, detail.exit_code), (State::Exited, Some(137)));
    assert_eq!((detail.finished, detail.oom_killed), (Some(at(21)), true));
    let (state, detail) = look("gone").await;
    assert_eq!((state, detail.exit_code), (State::Exited, None));
    assert_eq!(detail.finished, Some(at(30)));
    let (state, detail) = look("restarted").await;
    assert_eq!((state, detail.started), (State::Running, Some(at(21))));
    assert_eq!((detail.finished, detail.exit_code), (None, None));
    assert_eq!(look("up").await.0, State::Running);
}

#[tokio::test]
async fn containers_of_one_name_are_told_apart() {
    let desk = Desk::new();
    let mut old = inspect("0123456789abcdef", "tenant_1");
    old.container.image_id = "sha256:old".to_owned();
    let mut new = inspect("fedcba9876543210", "tenant_1");
    new.container.image_id = "sha256:new".to_owned();
    for container in [&mut old.container, &mut new.container] {
        let service = crate::domain::label::COMPOSE_SERVICE;
        container
            .labels
            .insert(service.to_owned(), "tenant".to_owned());
    }
    desk.saw(old);
    desk.saw(new);
    let engine = desk.engine();
    let own = Selector::new(Condition::present("a"), []);
    let listed = engine.list(&own).await.unwrap();
    let names: Vec<(&str, &str)> = listed.iter().map(|one| (&*one.name, one.title())).collect();
    let old = "tenant_1 (0123456789ab)";
    assert_eq!(names, [(old, old), ("tenant_1", "tenant")]);
    let image = engine.image_id("shop:dev").await.unwrap();
    assert_eq!(image.as_deref(), Some("sha256:new"));
}

#[tokio::test]
async fn what_is_missing_of_a_log_is_said() {
    let desk = Desk::new();
    let file = desk.saw(inspect("cut", "cut"));
    let line = |second: i64| format!("{:.9} stdout F {second}\n", at(second));
    std::fs::write(file, format!("{}{}{}", line(11), line(12), "2026-11-2")).unwrap();
    desk.then(
        "cut",
        20,
        Seen::Log(super::super::LogState {
            file: None,
            cut: 2000,
            trouble: None,
        }),
    );
    let mut second = desk.saw(inspect("gap", "gap"));
    std::fs::write(&second, format!("{}{}", line(11), line(12))).unwrap();
    second.as_mut_os_string().push(".1");
    std::fs::write(&second, format!("{}{}", line(21), line(22))).unwrap();
    desk.then(
        "gap",
        20,
        Seen::Log(super::super::LogState {
            file: None,
            cut: 3000,
            trouble: None,
        }),
    );
    desk.saw(inspect("silent", "silent"));
    desk.saw(inspect("none", "none"));
    desk.then(
        "none",
        20,
        Seen::Log(super::super::LogState {
            trouble: Some("the logging driver keeps nothing".to_owned()),
            ..Default::default()
        }),
    );
    let engine = desk.engine();
    let note = "[2 KiB that followed are not in the recording]\n";
    let all = |tail, since| logs(&engine, "cut", tail, since);
    assert_eq!(all(Tail::All, None).await, ["11\n", "12\n", note]);
    assert_eq!(all(Tail::Last(2), None).await, ["12\n", note]);
    assert_eq!(all(Tail::Last(1), None).await, [note]);
    assert_eq!(all(Tail::All, Some(12)).await, ["12\n", note]);
    assert_eq!(all(Tail::All, Some(13)).await, [""; 0]);
    let note = "[3 KiB that stood here are not in the recording]\n";
    let all = |tail, since| logs(&engine, "gap", tail, since);
    let whole = ["11\n", "12\n", note, "21\n", "22\n"];
    assert_eq!(all(Tail::All, None).await, whole);
    for last in 1..7 {
        let tail = &whole[5_usize.saturating_sub(last as usize)..];
        assert_eq!(all(Tail::Last(last), None).await, tail);
    }
    for (since, tail) in [(12, 1), (13, 2), (20, 2), (21, 3), (22, 4)] {
        assert_eq!(all(Tail::All, Some(since)).await, whole[tail..]);
    }
    assert_eq!(logs(&engine, "silent", Tail::All, None).await, [""; 0]);
    let request = LogRequest {
        tail: Tail::All,
        since: None,
        follow: true,
    };
    let error = engine
        .logs(&ContainerId::new("none"), request)
        .try_next()
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert_eq!(error.message, "the logging driver keeps nothing");
}

#[tokio::test]
async fn a_long_log_is_read_from_its_end() {
    let desk = Desk::new();
    let file = desk.saw(inspect("long", "long"));
    let text = "x".repeat(500);
    let lines = (0..2000).map(|number| format!("{:.9} stdout F {number} {text}\n", at(number)));
    std::fs::write(file, lines.collect::<String>()).unwrap();
    let engine = desk.engine();
    for wanted in [1, 2, 129, 1999, 2000, 2001, u32::MAX] {
        let tail = logs(&engine, "long", Tail::Last(wanted), None).await;
        assert_eq!(tail.len(), 2000.min(wanted as usize));
        assert!(tail[0].starts_with(&format!("{} ", 2000 - tail.len())));
        assert!(tail.last().unwrap().starts_with("1999 "));
    }
    let since = logs(&engine, "long", Tail::All, Some(1500)).await;
    assert_eq!(since.len(), 500);
    let both = logs(&engine, "long", Tail::Last(600), Some(1500)).await;
    assert_eq!(both, since);
}

#[test]
fn a_run_that_did_not_write_down_its_scope_gets_one_in_which_all_is() {
    let desk = Desk::new();
    desk.saw(inspect("c1", "plain"));
    let mut project = inspect("c2", "project");
    project.container.labels = [(COMPOSE_PROJECT.to_owned(), "shop".to_owned())].into();
    desk.saw(project);
    let engine = desk.engine();
    let scope = scope_of(engine.containers());
    let groups: Vec<_> = engine
        .containers()
        .iter()
        .map(|one| scope.place(&one.inspect.container.labels))
        .collect();
    let groups: Vec<_> = groups.iter().map(|place| place.group()).collect();
    assert_eq!(groups, [Some("unclaimed"), Some("shop")]);
}
