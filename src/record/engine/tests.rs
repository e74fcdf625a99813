//! What is written of an engine is read back, whole or cut off.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::domain::container::{Container, Detail, Health, Mount, MountKind, Port, State};
use crate::domain::event::{Action, EngineEvent};
use crate::domain::line::{Channel, Line, LineBatch};
use crate::domain::origins::Origins;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn inspect(id: &str, name: &str) -> Inspect {
    Inspect::of(
        Container {
            name: name.to_owned(),
            ..Container::bare(id)
        },
        json!({"Id": id}),
    )
}

fn created(second: i64, id: &str, name: &str) -> ContainerChange {
    ContainerChange {
        at: at(second),
        id: ContainerId::new(id),
        what: Seen::Created(Box::new(inspect(id, name))),
    }
}

fn died(second: i64) -> EngineEvent {
    EngineEvent {
        at: at(second),
        container: ContainerId::new("c1"),
        name: "tenant".to_owned(),
        labels: [
            ("family", "1"),
            ("api.token", "hunter2"),
            ("plain.key", "x"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into(),
        action: Action::Died {
            exit_code: Some(137),
        },
    }
}

fn batch(texts: &[&str]) -> LineBatch {
    let mut batch = LineBatch::default();
    for (second, text) in (0..).zip(texts) {
        batch.push(at(second), Channel::Out, text.as_bytes());
    }
    batch
}

fn files(place: &Path) -> Vec<std::path::PathBuf> {
    ["events.jsonl", "containers.jsonl"]
        .map(|name| place.join("engine").join(name))
        .into()
}

#[test]
fn a_run_without_an_engine_has_nothing_of_one() {
    let place = tempfile::tempdir().unwrap();
    assert_eq!(engine_events(place.path()).unwrap(), []);
    assert_eq!(containers(place.path()).unwrap(), []);
}

#[test]
fn a_run_that_was_killed_has_whole_lines_and_who_goes_on_appends_to_them() {
    let place = tempfile::tempdir().unwrap();
    let mut log = EngineLog::create(place.path(), at(0)).unwrap();
    for second in 1..4 {
        log.event(&died(second), &|key| key == "plain.key").unwrap();
    }
    log.container(created(1, "c1", "tenant")).unwrap();
    drop(log);
    for file in files(place.path()) {
        let whole = std::fs::read(&file).unwrap();
        std::fs::write(&file, &whole[..whole.len() - 9]).unwrap();
    }
    let seconds = || -> Vec<i64> {
        let events = engine_events(place.path()).unwrap();
        events.iter().map(|event| event.at.as_second()).collect()
    };
    assert_eq!(seconds(), [1, 2]);
    assert_eq!(containers(place.path()).unwrap(), []);
    let mut log = EngineLog::create(place.path(), at(9)).unwrap();
    log.event(&died(9), &|_| false).unwrap();
    log.container(created(9, "c1", "tenant")).unwrap();
    assert_eq!(seconds(), [1, 2, 9]);
    assert_eq!(containers(place.path()).unwrap().len(), 1);
    let events = std::fs::read_to_string(&files(place.path())[0]).unwrap();
    assert_eq!(events.matches("\"recording\"").count(), 1);
}

#[test]
fn labels_of_events_are_masked_but_for_those_of_selectors() {
    let place = tempfile::tempdir().unwrap();
    let mut log = EngineLog::create(place.path(), at(0)).unwrap();
    log.event(&died(1), &|key| key == "plain.key").unwrap();
    let event = engine_events(place.path()).unwrap().remove(0);
    let labels: Vec<&str> = event.labels.values().map(String::as_str).collect();
    assert_eq!(labels, ["***", "1", "x"]);
    assert_eq!(event.action, died(1).action);
}

#[test]
fn a_newer_recording_is_refused_and_what_is_new_within_a_version_is_skipped() {
    let place = tempfile::tempdir().unwrap();
    drop(EngineLog::create(place.path(), at(0)).unwrap());
    let [events, containers_file] = &files(place.path())[..] else {
        return;
    };
    std::fs::write(
        events,
        "{\"v\":1,\"event\":\"recording\",\"at\":\"2026-01-01T00:00:00Z\"}\n\
         {\"at\":\"2026-01-01T00:00:00Z\",\"id\":\"c\",\"action\":\"moved\",\"to\":{}}\n\
         \u{0}\u{0}\n[]\n",
    )
    .unwrap();
    std::fs::write(
        containers_file,
        "{\"at\":\"2026-01-01T00:00:00Z\",\"seen\":\"dreamt\",\"id\":\"c\"}\n\
         {\"at\":\"2026-01-01T00:00:00Z\",\"seen\":\"created\",\"id\":\"c\",\
          \"container\":{\"name\":\"n\",\"mood\":1}}\n",
    )
    .unwrap();
    let read = engine_events(place.path()).unwrap();
    assert_eq!(read[0].action, Action::Other("moved".to_owned()));
    assert_eq!(read.len(), 1);
    let read = containers(place.path()).unwrap();
    assert_eq!(read[0].inspect.container.name, "n");
    std::fs::write(events, "{\"v\":2,\"event\":\"recording\"}\n").unwrap();
    let error = engine_events(place.path()).unwrap_err().to_string();
    assert!(
        error.contains("newer tackroom: written in version 2"),
        "{error}"
    );
}

#[test]
fn a_container_is_as_it_was_last_with_its_log() {
    let place = tempfile::tempdir().unwrap();
    let mut log = EngineLog::create(place.path(), at(0)).unwrap();
    let mut changed = inspect("c1", "tenant");
    changed.container.state = State::Exited;
    log.container(created(1, "c2", "../x y")).unwrap();
    log.container(created(2, "c1", "tenant")).unwrap();
    for (second, id, what) in [
        (3, "c1", Seen::Changed(Box::new(changed.clone()))),
        (4, "c1", Seen::Removed),
        (5, "gone", Seen::Removed),
    ] {
        let (at, id) = (at(second), ContainerId::new(id));
        log.container(ContainerChange { at, id, what }).unwrap();
    }
    let odd = inspect("c2", "../x y").container;
    let mut file = log.log(&odd.name, &odd.id, 1000);
    assert_eq!(file.name(), None);
    file.append(&batch(&["one"])).unwrap();
    let name = file.name().unwrap().to_owned();
    assert_eq!(name, "%2E.%2Fx%20y-c2.log");
    let read = containers(place.path()).unwrap();
    let names: Vec<&str> = read
        .iter()
        .map(|one| &*one.inspect.container.name)
        .collect();
    assert_eq!(names, ["../x y", "tenant"]);
    let lines = log_lines(read[0].log.as_ref().unwrap()).unwrap();
    assert_eq!(lines.count(), 1);
    assert_eq!(read[1].inspect, changed);
    assert_eq!((read[1].first_seen, read[1].removed), (at(2), Some(at(4))));
    assert_eq!(read[1].log, None);

    let state = LogState {
        file: Some(name),
        cut: 7,
        trouble: Some("full".to_owned()),
    };
    let change = |what| ContainerChange {
        at: at(9),
        id: odd.id.clone(),
        what,
    };
    log.container(change(Seen::Log(state))).unwrap();
    let read = containers(place.path()).unwrap();
    assert!(read[0].log.is_some());
    assert_eq!((read[0].cut, read[0].trouble.as_deref()), (7, Some("full")));
    let outside = LogState {
        file: Some("../events.jsonl".to_owned()),
        ..LogState::default()
    };
    log.container(change(Seen::Log(outside))).unwrap();
    let read = containers(place.path()).unwrap();
    let name = |log: &RecordedLog| log.0[0].file_name().unwrap().to_owned();
    assert_eq!(
        read[0].log.as_ref().map(name).unwrap(),
        *"%2E.%2Fx%20y-c2.log"
    );
}

/// What is kept of numbered lines, as any reader finds it.
fn kept(place: &std::path::Path) -> Vec<String> {
    let read = containers(place).unwrap();
    let lines = log_lines(read[0].log.as_ref().unwrap()).unwrap();
    let text = |line: Line| String::from_utf8_lossy(&line.bytes).into_owned();
    lines.map(|line| text(line.unwrap())).collect()
}

#[test]
fn a_log_that_was_closed_goes_on_behind_what_is_there() {
    let place = tempfile::tempdir().unwrap();
    let mut log = EngineLog::create(place.path(), at(0)).unwrap();
    log.container(created(1, "c1", "tenant")).unwrap();
    let container = inspect("c1", "tenant").container;
    let mut file = log.log(&container.name, &container.id, 1 << 20);
    file.close();
    assert_eq!(file.name(), None);
    for text in ["one", "two"] {
        file.append(&batch(&[text])).unwrap();
        file.close();
        assert!(file.name().is_some());
    }
    assert_eq!(kept(place.path()), ["one", "two"]);
}

#[test]
fn of_a_long_log_the_beginning_and_the_end_are_kept() {
    let place = tempfile::tempdir().unwrap();
    let mut log = EngineLog::create(place.path(), at(0)).unwrap();
    log.container(created(1, "c1", "tenant")).unwrap();
    let container = inspect("c1", "tenant").container;
    // The stamp, the channel, the mark and the newline take 41 bytes: two lines fit into a third.
    let line = 41 + 3;
    let mut file = log.log(&container.name, &container.id, 3 * 2 * line);
    let texts: Vec<String> = (100..111).map(|number| number.to_string()).collect();
    let (first, rest) = texts.split_at(6);
    file.append(&batch(
        &first.iter().map(|text| &**text).collect::<Vec<_>>(),
    ))
    .unwrap();
    assert_eq!((kept(place.path()), file.cut()), (first.to_vec(), 0));
    // Whenever it is cut off, what is there is the beginning and the newest.
    for (index, text) in rest.iter().enumerate() {
        file.append(&batch(&[&**text])).unwrap();
        let kept = kept(place.path());
        assert_eq!(kept[..2], texts[..2]);
        let total = 7 + index;
        assert_eq!(kept[2..], texts[total + 2 - kept.len()..total]);
        assert_eq!(file.cut(), (total - kept.len()) as u64 * line);
        assert!(kept.len() >= 5);
    }
    // Another one goes on behind it.
    let long = "x".repeat(1000);
    log.log(&container.name, &container.id, 3 * 2 * line)
        .append(&batch(&[&long]))
        .unwrap();
    assert_eq!(kept(place.path()).last(), Some(&long));
}

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,5}"
}

fn moment() -> impl Strategy<Value = Timestamp> {
    (0_i64..4_000_000_000_000_000_000)
        .prop_map(|at| Timestamp::from_nanosecond(i128::from(at)).unwrap())
}

fn detail() -> impl Strategy<Value = Detail> {
    (
        (
            option::of(text()),
            option::of(moment()),
            option::of(moment()),
        ),
        (option::of(any::<i64>()), any::<bool>(), any::<u64>()),
        (
            any::<bool>(),
            any::<bool>(),
            option::of(text()),
            option::of(text()),
        ),
    )
        .prop_map(|(first, second, third)| Detail {
            image_name: first.0,
            started: first.1,
            finished: first.2,
            exit_code: second.0,
            oom_killed: second.1,
            restart_count: second.2,
            tty: third.0,
            log_rotates: third.1,
            health_output: third.2,
            error: third.3,
        })
}

fn any_container() -> impl Strategy<Value = Container> {
    let state = prop::sample::select(vec![
        State::Created,
        State::Running,
        State::Restarting,
        State::Exited,
        State::Unknown,
    ]);
    let health = option::of(prop::sample::select(vec![
        Health::Starting,
        Health::Unhealthy,
    ]));
    let port = (
        any::<u16>(),
        option::of(any::<u16>()),
        option::of(text()),
        text(),
    );
    let port = port.prop_map(|(private, public, address, protocol)| Port {
        private,
        public,
        address,
        protocol,
    });
    let kind = prop::sample::select(vec![MountKind::Bind, MountKind::Volume, MountKind::Other]);
    let mount = (kind, text(), text()).prop_map(|(kind, source, target)| Mount {
        kind,
        source,
        target,
    });
    (
        ("[a-f0-9]{1,20}", text(), text(), text()),
        (state, health, text(), moment()),
        (
            btree_map(text(), text(), 0..3),
            vec(port, 0..3),
            vec(mount, 0..3),
            option::of(detail()),
        ),
    )
        .prop_map(|(first, second, third)| Container {
            id: ContainerId::new(first.0),
            name: first.1,
            image: first.2,
            image_id: first.3,
            state: second.0,
            health: second.1,
            status: second.2,
            created: second.3,
            labels: third.0,
            ports: third.1,
            mounts: third.2,
            detail: third.3,
            origins: Origins::default(),
        })
}

fn any_inspect() -> impl Strategy<Value = Inspect> {
    (
        any_container(),
        (
            vec((text(), option::of(text())), 0..3),
            vec(text(), 0..3),
            vec(text(), 0..3),
        ),
        (btree_map(text(), text(), 0..3), text(), text()),
    )
        .prop_map(|(container, (env, command, entrypoint), rest)| Inspect {
            container,
            env,
            command,
            entrypoint,
            networks: rest.0,
            restart_policy: rest.1,
            raw: json!({"Config": {"Text": rest.2}, "Number": 1.5}),
        })
}

fn any_event() -> impl Strategy<Value = EngineEvent> {
    let action = prop_oneof![
        Just(Action::Created),
        Just(Action::Started),
        Just(Action::Stopped),
        Just(Action::Restarted),
        option::of(any::<i64>()).prop_map(|signal| Action::Signalled { signal }),
        Just(Action::OutOfMemory),
        Just(Action::Paused),
        Just(Action::Unpaused),
        Just(Action::Renamed),
        Just(Action::Destroyed),
        option::of(any::<i64>()).prop_map(|exit_code| Action::Died { exit_code }),
        text().prop_map(Action::Health),
        text().prop_map(Action::Other),
    ];
    (
        moment(),
        text(),
        text(),
        btree_map(text(), text(), 0..3),
        action,
    )
        .prop_map(|(at, id, name, labels, action)| EngineEvent {
            at,
            container: ContainerId::new(id),
            name,
            labels,
            action,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(
        inspects in vec(any_inspect(), 0..4),
        events in vec(any_event(), 0..4),
        when in moment(),
        texts in vec(vec(any::<u8>().prop_filter("newline", |b| *b != b'\n'), 0..9), 1..4),
    ) {
        let place = tempfile::tempdir().unwrap();
        let mut log = EngineLog::create(place.path(), when).unwrap();
        let changes: Vec<ContainerChange> = inspects
            .iter()
            .enumerate()
            .map(|(index, inspect)| ContainerChange {
                at: when,
                id: inspect.container.id.clone(),
                what: match index % 3 {
                    0 => Seen::Created(Box::new(inspect.clone())),
                    1 => Seen::Changed(Box::new(inspect.clone())),
                    _ => Seen::Removed,
                },
            })
            .collect();
        for change in &changes {
            log.container(change.clone()).unwrap();
        }
        for event in &events {
            log.event(event, &|_| true).unwrap();
        }
        prop_assert_eq!(container_changes(place.path()).unwrap(), changes);
        prop_assert_eq!(engine_events(place.path()).unwrap(), events);
        let Some(inspect) = inspects.first() else {
            return Ok(());
        };
        let mut file = log.log(&inspect.container.name, &inspect.container.id, u64::MAX);
        let lines: Vec<Line> = texts
            .iter()
            .map(|text| Line {
                at: when,
                channel: if text.len() % 2 == 0 { Channel::Out } else { Channel::Err },
                bytes: Arc::from(&**text),
            })
            .collect();
        for line in &lines {
            let mut batch = LineBatch::default();
            batch.push(line.at, line.channel, &line.bytes);
            file.append(&batch).unwrap();
        }
        let of_it = containers(place.path()).unwrap().into_iter();
        let mut of_it = of_it.filter(|one| one.inspect.container.id == inspect.container.id);
        let found = of_it.next().unwrap();
        if found.inspect.container.name == inspect.container.name {
            let read = log_lines(found.log.as_ref().unwrap()).unwrap();
            let read: Vec<Line> = read.map(Result::unwrap).collect();
            prop_assert_eq!(read, lines);
        }
    }
}
