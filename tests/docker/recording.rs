//! A run's recording of a real daemon.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::SignedDuration;
use tackroom::config;
use tackroom::domain::container::State;
use tackroom::domain::event::Action;
use tackroom::domain::exit::Exit;
use tackroom::domain::id::ContainerId;
use tackroom::domain::label::Labels;
use tackroom::domain::replay::{Header, Replay, ReplayName};
use tackroom::domain::run::{RunEventKind, Summary};
use tackroom::engine::Engine;
use tackroom::engine::contract::{Spec, World};
use tackroom::engine::fake::Step;
use tackroom::harness::{Harness, Request, Session, Teardown};
use tackroom::process::Controller;
use tackroom::record::{self, RecordedContainer, Store};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use crate::world::{Corner, Extra, Gate, bounded};

fn labels(own: &str) -> Labels {
    let labels = [("own", own), ("session.token", "S3CR3T")];
    let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    labels.map(owned).into()
}

/// A harness of the containers in a corner that say `own=1`, and a replay that waits for `go`.
struct Place {
    dir: tempfile::TempDir,
    store: Store,
    harness: Harness,
}

impl Place {
    fn of(corner: &Corner) -> Self {
        Self::with(corner, corner.engine())
    }

    fn with(corner: &Corner, engine: Arc<dyn Engine>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (key, value) = corner.own_label();
        let text = format!(
            "[[stack]]\nname = 'own'\nlabels = ['{key}={value}', 'own=1']\nteardown = true\n\
             [harness]\nstack = 'own'\n"
        );
        let file = dir.path().join(config::FILE_NAME);
        std::fs::write(&file, text).unwrap();
        let store = Store::at(dir.path().join("state"));
        let harness = Harness {
            config: Arc::new(config::load(&file).unwrap()),
            engine,
            store: Some(store.clone()),
            guard: None,
        };
        let path = dir.path().join("wait.sh");
        let text = "#!/bin/sh\nuntil [ -e go ]; do sleep 0.01; done; exit 1\n";
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        Self {
            dir,
            store,
            harness,
        }
    }

    fn start(&self) -> Session {
        let request = Request {
            replays: vec![Arc::new(Replay {
                name: ReplayName::new("wait"),
                path: self.dir.path().join("wait.sh"),
                file: "wait.sh".to_owned(),
                suite: tackroom::domain::suite::SuiteName::default(),
                header: Header::default(),
            })],
            teardown: Teardown::Always,
            ..Request::nothing()
        };
        self.harness.start(request, Controller::default())
    }

    fn let_go(&self) {
        std::fs::write(self.dir.path().join("go"), "").unwrap();
    }
}

/// An engine's socket that can be taken away. What is under way on it breaks off.
struct Socket {
    dir: tempfile::TempDir,
    engine: String,
    serving: Option<AbortOnDropHandle<()>>,
}

impl Socket {
    fn path(&self) -> PathBuf {
        self.dir.path().join("engine.sock")
    }

    fn open(&mut self) {
        let listener = UnixListener::bind(self.path()).unwrap();
        let engine = self.engine.clone();
        let serving = tokio::spawn(async move {
            let mut under_way = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let engine = engine.clone();
                under_way.spawn(async move {
                    let mut engine = UnixStream::connect(engine).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut engine).await;
                });
            }
        });
        self.serving = Some(AbortOnDropHandle::new(serving));
    }

    fn close(&mut self) {
        self.serving = None;
        std::fs::remove_file(self.path()).unwrap();
    }
}

#[tokio::test]
async fn an_engine_that_goes_away_is_missing_in_the_incident_and_no_line_is() {
    let Some(corner) = Corner::made().await else {
        return;
    };
    let endpoint = corner.engine().info().await.unwrap().endpoint;
    let Some(engine) = endpoint.strip_prefix("unix://") else {
        writeln!(std::io::stderr(), "SKIPPED: the engine has no socket").ok();
        return;
    };
    let mut socket = Socket {
        dir: tempfile::tempdir().unwrap(),
        engine: engine.to_owned(),
        serving: None,
    };
    socket.open();
    let address = format!("unix://{}", socket.path().display());
    let limit = std::time::Duration::from_secs(10);
    let through = tackroom::docker::connect_with(Some(&address), limit).unwrap();
    let place = Place::with(&corner, Arc::new(through));
    let gate = Gate::shut();
    let extra = Extra {
        gate: Some(gate.mount()),
        ..Extra::default()
    };
    let steps = [
        "out:ready\n",
        "gate",
        "out:meanwhile\n",
        "term",
        "out:last words\n",
    ];
    let spec = Spec {
        labels: labels("1"),
        ..Spec::script(Vec::new())
    };
    let id = corner
        .create_raw(steps.map(str::to_owned).to_vec(), spec, extra)
        .await;
    corner.start(&id).await;
    corner.heard_of(&id).await;

    let mut session = place.start();
    let directory = place.store.directory_of(&session.run);
    let mut notes = Vec::new();
    while let Some(event) = session.events.next().await {
        match event.kind {
            RunEventKind::ReplayStarted { .. } => socket.close(),
            RunEventKind::Note(note) => {
                if note.contains("while it is gone") {
                    gate.open().await;
                    socket.open();
                } else {
                    place.let_go();
                }
                notes.push(note);
            }
            _ => {}
        }
    }
    assert_eq!(notes.len(), 2, "{notes:?}");
    let outages = record::outages(&directory).unwrap();
    assert!(outages.len() == 1 && outages[0].to.is_some(), "{outages:?}");
    let recording = record::read(&directory).unwrap();
    let (replay, options) = (ReplayName::new("wait"), Default::default());
    let incident = record::Incident::read(&recording, &replay, &[], &options, &|| true).unwrap();
    let missing = &incident.head().missing;
    let is_outage =
        |text: &String| text.starts_with("what happened on the engine was not recorded");
    let is_log = |text: &String| text.contains("the log of");
    assert!(missing.iter().any(is_outage), "{missing:?}");
    assert!(!missing.iter().any(is_log), "{missing:?}");
    let recorded = record::containers(&directory).unwrap();
    let lines = record::log_lines(recorded[0].log.as_ref().unwrap()).unwrap();
    let lines: Vec<_> = lines.map(|line| line.unwrap().bytes.to_vec()).collect();
    assert_eq!(lines, [&b"meanwhile"[..], b"last words"]);
}

/// Containers that remove themselves after much more than can be read at once, that are removed
/// while they write, and that live shorter than it takes to ask for their logs.
#[tokio::test]
async fn a_log_that_went_with_its_container_is_whole_or_said_not_to_be() {
    let Some(corner) = Corner::made().await else {
        return;
    };
    let place = Place::of(&corner);
    let mut session = place.start();
    let directory = place.store.directory_of(&session.run);
    let mut notes = Vec::new();
    let mut expected: BTreeMap<ContainerId, u64> = BTreeMap::new();
    while let Some(event) = session.events.next().await {
        if let RunEventKind::ReplayStarted { .. } = event.kind {
            for (lines, is_cut) in [(700_000, false), (1, false), (1, false), (2_000_000, true)] {
                let spec = Spec {
                    labels: labels("1"),
                    ..Spec::script(Vec::new())
                };
                let extra = Extra {
                    passing: true,
                    ..Extra::default()
                };
                let id = corner
                    .create_raw(vec![format!("many:{lines}")], spec, extra)
                    .await;
                corner.start(&id).await;
                if is_cut {
                    corner.heard_of(&id).await;
                    corner.engine().remove_container(&id).await.unwrap();
                } else {
                    corner.gone(&id).await;
                }
                expected.insert(id, lines);
            }
            place.let_go();
        }
        if let RunEventKind::Note(note) = event.kind {
            notes.push(note);
        }
    }
    let recorded = record::containers(&directory).unwrap();
    assert_eq!(recorded.len(), expected.len(), "{notes:?}");
    for one in recorded {
        let container = &one.inspect.container;
        let log = one.log.as_ref().map(|log| record::log_lines(log).unwrap());
        let lines = log.into_iter().flatten().map(|line| line.unwrap().bytes);
        let is_whole = lines
            .eq((0..expected[&container.id])
                .map(|number| Arc::from(number.to_string().into_bytes())));
        // What is whole may still be suspected: nobody can tell any more.
        let is_noted = notes.iter().any(|note| note.contains(&container.name));
        assert_eq!(one.trouble.is_some(), is_noted, "{notes:?}");
        assert!(is_whole || is_noted, "{} of {expected:?}", container.id);
    }
}

/// Waits until something of the log of a container is in the recording.
async fn has_begun(directory: &Path, name: &str) {
    let has_lines = || {
        let logs = std::fs::read_dir(directory.join("engine/logs")).ok()?;
        let mut logs = logs.flatten();
        logs.find(|log| {
            let is_its = log.file_name().to_string_lossy().contains(name);
            is_its && log.metadata().is_ok_and(|log| log.len() > 0)
        })
    };
    let began = async {
        while has_lines().is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    bounded(began).await;
}

#[tokio::test]
async fn containers_that_log_and_die_and_go_during_a_run_leave_all_of_it() {
    let Some(corner) = Corner::made().await else {
        return;
    };
    let place = Place::of(&corner);
    let (_, value) = corner.own_label();
    let named = |name: &str| Extra {
        name: Some(format!("tackroom-test-{value}-{name}")),
        ..Extra::default()
    };
    let spec = |own: &str, script: Vec<Step>| Spec {
        labels: labels(own),
        ..Spec::script(script)
    };
    // One is up before, and another one is somebody else's.
    let lasting = vec![
        Step::out("before\n"),
        Step::UntilStopped,
        Step::out("last words\n"),
    ];
    let old = corner
        .create_with(spec("1", lasting.clone()), named("old"))
        .await;
    let stranger = corner
        .create_with(spec("2", lasting), named("stranger"))
        .await;
    for id in [&old, &stranger] {
        corner.start(id).await;
        corner.heard_of(id).await;
    }

    let mut session = place.start();
    let directory = place.store.directory_of(&session.run);
    let mut summary = Summary::default();
    while let Some(event) = session.events.next().await {
        if let RunEventKind::ReplayStarted { .. } = event.kind {
            let script = vec![
                Step::out("one\n"),
                Step::err("two\n"),
                Step::out("no end"),
                Step::Exit(3),
            ];
            let short = corner.create_with(spec("1", script), named("short")).await;
            corner.start(&short).await;
            // It removes itself when it ends.
            let passing = Extra {
                passing: true,
                ..named("passing")
            };
            let script = vec![Step::out("here\n"), Step::UntilStopped, Step::Exit(0)];
            let passing = corner.create_with(spec("1", script), passing).await;
            corner.start(&passing).await;
            corner.heard_of(&passing).await;
            // What goes before it could be looked at is another test's.
            has_begun(&directory, "passing").await;
            let engine = corner.engine();
            let grace = std::time::Duration::from_secs(10);
            engine.stop(&passing, grace).await.unwrap();
            engine.stop(&stranger, grace).await.unwrap();
            place.let_go();
        }
        if let RunEventKind::Note(note) = &event.kind {
            panic!("{note}");
        }
        summary.fold(&event);
    }
    assert_eq!(Exit::of(&summary), Exit::Failed, "{summary:?}");

    let all = record::containers(&directory).unwrap();
    let recorded = |name: &str| -> RecordedContainer {
        let mut all = all.iter();
        let found = all.find(|one| one.inspect.container.name.ends_with(name));
        found.unwrap().clone()
    };
    let log = |name: &str| -> Vec<String> {
        let log = recorded(name).log.expect("it has written");
        let lines = record::log_lines(&log).unwrap().map(Result::unwrap);
        lines
            .map(|line| String::from_utf8_lossy(&line.bytes).into_owned())
            .collect()
    };
    assert_eq!(all.len(), 3);
    assert_eq!(log("-old"), ["last words"]);
    assert_eq!(log("-passing"), ["here"]);
    let mut short = log("-short");
    // The engine does not promise an order between the two outputs.
    short.sort();
    assert_eq!(short, ["no end", "one", "two"]);

    let short = recorded("-short");
    assert_eq!(short.inspect.container.state, State::Exited);
    assert_eq!(short.inspect.detail().exit_code, Some(3));
    assert!(short.inspect.raw.get("HostConfig").is_some());
    for one in &all {
        assert!(one.removed.is_some_and(|removed| removed > one.first_seen));
    }
    let events = record::engine_events(&directory).unwrap();
    let of = |name: &str| -> Vec<Action> {
        let of_it = events.iter().filter(|event| event.name.ends_with(name));
        of_it.map(|event| event.action.clone()).collect()
    };
    let died = Action::Died { exit_code: Some(3) };
    assert_eq!(
        of("-short"),
        [Action::Created, Action::Started, died, Action::Destroyed]
    );
    assert_eq!(of("-old").last(), Some(&Action::Destroyed));

    let print = record::fingerprint(&directory).unwrap().unwrap();
    let image = &print.containers[&format!("own/tackroom-test-{value}-old")].image_id;
    assert!(image.starts_with("sha256:"), "{image}");
    assert!(!print.engine.unwrap().name.is_empty());
    // It may run on another machine than this, but not on another day.
    let clock = print.clock.expect("it tells its clock");
    assert!(clock.engine_ahead.abs() < SignedDuration::from_hours(24));

    for file in [
        "engine/events.jsonl",
        "engine/containers.jsonl",
        "environment.json",
    ] {
        let text = std::fs::read_to_string(directory.join(file)).unwrap();
        for foreign in ["stranger", "S3CR3T"] {
            assert!(!text.contains(foreign), "{foreign} is in {file}");
        }
    }
}
