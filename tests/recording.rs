//! What a run leaves of the engine: events, inspects, logs and what it ran against. The engine is the
//! one in memory, the replays are real.

#![allow(
    clippy::unwrap_used,
    reason = "a test says what went wrong by panicking"
)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use jiff::Timestamp;
use tackroom::config;
use tackroom::domain::container::State;
use tackroom::domain::event::Action;
use tackroom::domain::exit::Exit;
use tackroom::domain::id::RunId;
use tackroom::domain::line::Channel;
use tackroom::domain::replay::{Header, Replay, ReplayName};
use tackroom::domain::run::{RunEventKind, Summary};
use tackroom::engine::fake::{FakeContainer, FakeEngine, Operation, Step};
use tackroom::engine::{EngineError, ErrorKind};
use tackroom::harness::{Harness, Request, Teardown};
use tackroom::process::Controller;
use tackroom::record::{self, RecordedContainer, Store};

const STACK: &str = "[[stack]]\nname = 's'\nlabels = ['a=1', 'api.key=x']\nteardown = true\n\
    [harness]\nstack = 's'\n";

struct World {
    dir: tempfile::TempDir,
    engine: FakeEngine,
    harness: Harness,
    run: RunId,
}

impl World {
    fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let engine = FakeEngine::new();
        let file = dir.path().join("tackroom.toml");
        std::fs::write(&file, text).unwrap();
        let harness = Harness {
            config: Arc::new(config::load(&file).unwrap()),
            engine: Arc::new(engine.clone()),
            store: Some(Store::at(dir.path().join("state"))),
            guard: None,
        };
        Self {
            dir,
            engine,
            harness,
            run: new_run(),
        }
    }

    fn directory(&self) -> PathBuf {
        self.harness.store.as_ref().unwrap().directory_of(&self.run)
    }

    /// A run of one replay that waits for `go`.
    fn request(&self) -> Request {
        let path = self.dir.path().join("wait.sh");
        let text = "#!/bin/sh\nuntil [ -e go ]; do sleep 0.01; done\n";
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        Request {
            replays: vec![Arc::new(Replay {
                name: ReplayName::new("wait"),
                path,
                file: "wait.sh".to_owned(),
                suite: tackroom::domain::suite::SuiteName::default(),
                header: Header::default(),
            })],
            teardown: Teardown::Always,
            run: Some(self.run.clone()),
            ..Request::nothing()
        }
    }

    /// Runs to the end and does this while the replay waits. Gives what was noted as well.
    async fn run(&self, meanwhile: impl Fn(&FakeEngine)) -> (Summary, Vec<String>) {
        let mut session = self.harness.start(self.request(), Controller::default());
        let mut summary = Summary::default();
        let mut notes = Vec::new();
        while let Some(event) = session.events.next().await {
            if let RunEventKind::ReplayStarted { .. } = event.kind {
                meanwhile(&self.engine);
                std::fs::write(self.dir.path().join("go"), "").unwrap();
            }
            if let RunEventKind::Note(note) = &event.kind {
                notes.push(note.clone());
            }
            summary.fold(&event);
        }
        assert_eq!(Exit::of(&summary), Exit::Ok, "{summary:?}");
        (summary, notes)
    }

    fn recorded(&self, name: &str) -> RecordedContainer {
        let all = record::containers(&self.directory()).unwrap();
        let mut of_it = all
            .into_iter()
            .filter(|one| one.inspect.container.name == name);
        of_it.next().unwrap()
    }

    fn log(&self, name: &str) -> Vec<String> {
        let Some(log) = self.recorded(name).log else {
            return Vec::new();
        };
        let lines = record::log_lines(&log).unwrap().map(Result::unwrap);
        lines
            .map(|line| {
                let mark = if line.channel == Channel::Err {
                    "!"
                } else {
                    ""
                };
                format!("{mark}{}", String::from_utf8_lossy(&line.bytes))
            })
            .collect()
    }
}

/// Another one for each test: what a run has left is found by its id.
fn new_run() -> RunId {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let now = Timestamp::now();
    RunId::new(now, std::process::id().wrapping_mul(100).wrapping_add(next))
}

fn ours(name: &str) -> FakeContainer {
    FakeContainer::new(name)
        .label("a", "1")
        .label("api.key", "x")
        .label("other.token", "S3CR3T")
        .env("DB_PASSWORD", "hunter2")
        .env("LEVEL", "info")
}

fn every_file(directory: &Path) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let text = std::fs::read(&path).unwrap();
                files.push((path, String::from_utf8_lossy(&text).into_owned()));
            }
        }
    }
    files
}

#[tokio::test]
async fn a_run_leaves_what_happened_on_the_engine_and_nothing_of_others() {
    let world = World::new(STACK);
    let old = world.engine.run(ours("old"));
    world.engine.line(&old, "before the run");
    let stranger = world.engine.run(FakeContainer::new("stranger"));
    let (_, notes) = world
        .run(|engine| {
            engine.line(&old, "during the run");
            engine.line(&stranger, "not ours");
            // It goes by itself, and writes its last without a newline.
            let short = engine.run(ours("short").script([
                Step::out("one\n"),
                Step::err("two\n"),
                Step::UntilStopped,
            ]));
            engine.write(&short, Channel::Out, b"torn");
            engine.die(&short, 3);
            let again = engine.run(ours("again"));
            engine.line(&again, "first life");
            engine.restart(&again, 1);
            engine.line(&again, "second life");
        })
        .await;
    assert_eq!(notes, [""; 0]);
    assert_eq!(world.log("old"), ["during the run"]);
    assert_eq!(world.log("short"), ["one", "!two", "torn"]);
    assert_eq!(world.log("again"), ["first life", "second life"]);

    let directory = world.directory();
    let events = record::engine_events(&directory).unwrap();
    let of = |name: &str| -> Vec<Action> {
        let of_it = events.iter().filter(|event| event.name == name);
        of_it.map(|event| event.action.clone()).collect()
    };
    let died = |code| Action::Died {
        exit_code: Some(code),
    };
    assert_eq!(
        of("short"),
        [Action::Created, Action::Started, died(3), Action::Destroyed]
    );
    assert_eq!(of("old").last(), Some(&Action::Destroyed));
    assert_eq!(of("stranger"), []);

    let short = world.recorded("short");
    assert_eq!(short.inspect.container.state, State::Exited);
    assert_eq!(short.inspect.detail().exit_code, Some(3));
    assert!(
        short
            .removed
            .is_some_and(|removed| removed > short.first_seen)
    );
    assert_eq!((short.cut, short.trouble), (0, None));
    let labels = &short.inspect.container.labels;
    assert_eq!((&*labels["api.key"], &*labels["other.token"]), ("x", "***"));

    let print = record::fingerprint(&directory).unwrap().unwrap();
    let names: Vec<&String> = print.containers.keys().collect();
    assert_eq!(names, ["s/again", "s/old", "s/short"]);
    assert_eq!(print.engine.unwrap().version, "28.0.0");
    assert!(print.replays.contains_key("wait") && print.files.contains_key("tackroom.toml"));
    // The engine's clock stands months behind.
    let clock = print.clock.unwrap();
    assert!(clock.to_ours(world.engine.now()) > world.engine.now());

    for (file, text) in every_file(&directory) {
        for secret in ["hunter2", "S3CR3T", "stranger", "not ours"] {
            assert!(!text.contains(secret), "{secret} is in {}", file.display());
        }
    }
}

#[tokio::test]
async fn of_a_long_log_both_ends_are_kept_and_that_is_said_once() {
    let mut world = World::new(STACK);
    let mut config = (*world.harness.config).clone();
    config.log_cap = 200;
    world.harness.config = Arc::new(config);
    let (_, notes) = world
        .run(|engine| {
            let loud = engine.run(ours("loud"));
            for number in 0..10 {
                engine.line(&loud, &format!("line {number}"));
            }
        })
        .await;
    assert_eq!(world.log("loud"), ["line 0", "line 8", "line 9"]);
    assert_eq!(world.recorded("loud").cut, 7 * 47);
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].contains("the log of loud"), "{notes:?}");
}

#[tokio::test]
async fn a_log_that_cannot_be_read_says_why() {
    let world = World::new(STACK);
    world
        .run(|engine| {
            engine.run(ours("mute").unreadable());
        })
        .await;
    let mute = world.recorded("mute");
    assert_eq!(mute.log, None);
    assert!(mute.trouble.unwrap().contains("logging driver"));
}

fn refused() -> EngineError {
    EngineError::new(ErrorKind::Unreachable, "it is gone")
}

#[tokio::test]
async fn a_container_that_goes_before_it_is_looked_at_is_said_to_have_lost_its_log() {
    let world = World::new(STACK);
    let error = EngineError::new(ErrorKind::NotFound, "no such container");
    world
        .engine
        .fail_on(Operation::Inspect, "container-1", error);
    let (_, notes) = world
        .run(|engine| {
            let brief = engine.run(ours("brief"));
            engine.line(&brief, "never seen");
            engine.destroy(&brief);
            // It never ran, so it has written nothing.
            let made = engine.create(ours("made"));
            engine.destroy(&made);
        })
        .await;
    let why = "it was gone before its log could be asked for";
    assert_eq!(notes, [format!("the log of brief is not whole: {why}")]);
    let brief = world.recorded("brief");
    assert_eq!(brief.trouble.as_deref(), Some(why));
    assert!(brief.removed.is_some() && brief.log.is_none());
    assert_eq!(brief.inspect.container.labels["a"], "1");
    assert!(brief.inspect.raw.is_null(), "it was looked at");
}

#[tokio::test]
async fn a_log_that_breaks_off_and_goes_is_said_not_to_be_whole() {
    let world = World::new(STACK);
    let (_, notes) = world
        .run(|engine| {
            let one = engine.create(ours("one"));
            engine.fail_on(Operation::Logs, one.as_str(), refused());
            engine.start(&one);
            engine.line(&one, "never read");
            engine.destroy(&one);
        })
        .await;
    let why = world.recorded("one").trouble.unwrap();
    assert!(why.contains("before its log"), "{why}");
    assert_eq!(notes, [format!("the log of one is not whole: {why}")]);
}

#[tokio::test]
async fn an_engine_that_goes_away_is_said_when_it_does_and_written_down() {
    let world = World::new(STACK);
    let mut session = world.harness.start(world.request(), Controller::default());
    let mut notes = Vec::new();
    let mut is_over = false;
    while let Some(event) = session.events.next().await {
        match &event.kind {
            RunEventKind::ReplayStarted { .. } => world.engine.break_down(refused()),
            RunEventKind::ReplayFinished(_) => is_over = true,
            RunEventKind::Note(note) => {
                assert!(!is_over, "too late: {note}");
                notes.push(note.clone());
                match notes.len() {
                    1 => world.engine.heal(),
                    // The replay ends behind the outage.
                    _ => std::fs::write(world.dir.path().join("go"), "").unwrap(),
                }
            }
            _ => {}
        }
    }
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(
        notes[0].contains("while it is gone: it is gone"),
        "{notes:?}"
    );
    assert!(notes[1].contains("answers again"), "{notes:?}");
    let outages = record::outages(&world.directory()).unwrap();
    assert_eq!(outages.len(), 1);
    assert!(outages[0].to.unwrap() > outages[0].from);
    assert!(outages[0].cause.contains("it is gone"));
}

#[tokio::test]
async fn what_cannot_be_written_is_said_once_and_ends_nothing() {
    let world = World::new(STACK);
    std::fs::create_dir_all(world.directory()).unwrap();
    std::fs::write(world.directory().join("engine"), "in the way").unwrap();
    let (_, notes) = world
        .run(|engine| {
            let one = engine.run(ours("one"));
            engine.line(&one, "text");
        })
        .await;
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(
        notes[0].contains("is not recorded from here on"),
        "{notes:?}"
    );
}

#[tokio::test]
async fn an_engine_that_tells_no_events_is_said_once_and_ends_nothing() {
    let world = World::new(STACK);
    let error = EngineError::new(ErrorKind::Unreachable, "it is gone");
    world.engine.fail(Operation::Events, error);
    let (_, notes) = world.run(|_| {}).await;
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].contains("it is gone"), "{notes:?}");
}

#[tokio::test]
async fn without_a_family_the_engine_is_left_alone() {
    let world = World::new("[replays]\npaths = ['*.sh']\n");
    let (_, notes) = world.run(|_| {}).await;
    assert_eq!(notes, [""; 0]);
    assert_eq!(world.engine.calls(), []);
    assert!(!world.directory().join("engine").exists());
    let print = record::fingerprint(&world.directory()).unwrap().unwrap();
    assert!(print.engine.is_none() && print.replays.contains_key("wait"));
}

#[tokio::test]
async fn a_lifecycle_command_records_nothing_of_the_engine() {
    let world = World::new(STACK);
    world.engine.run(ours("one"));
    let request = Request {
        replays: Vec::new(),
        ..world.request()
    };
    let mut session = world.harness.start(request, Controller::default());
    while session.events.next().await.is_some() {}
    assert!(world.directory().join("events.jsonl").exists());
    assert!(!world.directory().join("engine").exists());
    assert!(!world.directory().join("environment.json").exists());
}
