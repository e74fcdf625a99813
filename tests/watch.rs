//! Replays that run again when what they depend on has changed.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says what went wrong by panicking"
)]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use rustix::process::Signal;
use support::{Place, Running, starting};
use tackroom::config;
use tackroom::domain::run::{RunEventKind, Signal as Asked};
use tackroom::engine::fake::{FakeContainer, FakeEngine};
use tackroom::harness::{Harness, Request, Teardown};
use tackroom::process::Controller;
use tackroom::record::Store;
use tackroom::replay::{Selection, discover};

/// What it says when it has nothing to do.
const WAITING: &str = "waiting for a change";

/// A harness whose hooks leave a trace, with a replay that fails and one that does not.
fn place() -> Place {
    let place = Place::with_replays(&[
        ("broken", "# @tags net\n. replays/_lib.sh\ncheck"),
        ("fine", "# @tags net\necho fine"),
    ]);
    place.write("replays/_lib.sh", "check() { exit 1; }\n");
    for hook in ["up", "seed", "down"] {
        place.script(&format!("hooks/{hook}"), &format!("echo {hook} >> trace"));
    }
    place.write(
        "tackroom.toml",
        "[harness]\nup = 'hooks/up'\nseed = 'hooks/seed'\ndown = 'hooks/down'\n",
    );
    place
}

/// As editors do: another file takes the place of the old one. Nobody finds half of it.
fn replace(place: &Place, file: &str, text: &str) {
    let beside = format!("{file}.new~");
    place.write_with_mode(&beside, text, 0o755);
    std::fs::rename(place.path(&beside), place.path(file)).unwrap();
}

fn watch(place: &Place, args: &[&str]) -> Running {
    Running::start(&mut place.command(&[&["watch"], args].concat()))
}

/// What it says up to the line with this, that line included.
fn said(running: &mut Running, part: &str) -> String {
    let before = running.so_far().len();
    running.until(part);
    running.so_far()[before..].to_owned()
}

#[test]
fn what_a_change_concerns_runs_again_and_the_harness_stays_up() {
    let place = place();
    let mut running = watch(&place, &[]);
    running.until("1 to be put right, 1 passed; waiting");

    // Its own script, written in place and as editors do it.
    place.replay("fine", "echo finer");
    running.until("▶ again: fine (replays/fine.sh changed)");
    running.until("│ finer");
    let rest = said(&mut running, WAITING);
    assert!(!rest.contains("▶"), "{rest}");
    replace(&place, "replays/fine.sh", "#!/bin/sh\necho finest\n");
    running.until("▶ again: fine (replays/fine.sh changed)");
    running.until("│ finest");
    running.until(WAITING);

    // What it needs of others.
    place.write("replays/_lib.sh", "check() { echo checked; }\n");
    running.until("▶ again: broken (replays/_lib.sh changed)");
    running.until("│ checked");
    running.until("all 2 passed; waiting");
    assert_eq!(place.read("trace"), "up\nseed\n");

    // What has passed runs again for its own script alone.
    place.script("hooks/seed", "echo seed 2 >> trace");
    running.until("hooks/seed changed: no replay has failed, so none runs again");
    running.until(WAITING);

    // A new one is found.
    place.replay("later", "exit 1");
    running.until("▶ again: later (replays/later.sh changed)");
    running.until("1 to be put right, 2 passed; waiting");

    // A hook runs again for what failed, and what comes after it.
    place.script("hooks/seed", "echo seed 3 >> trace");
    running.until("▶ again: later (hooks/seed changed)");
    running.until("▶ seed");
    running.until("▶ replay later");
    running.until(WAITING);
    place.script("hooks/up", "echo up 2 >> trace");
    running.until("▶ again: later (hooks/up changed)");
    running.until("▶ seed");
    running.until(WAITING);
    assert_eq!(place.read("trace"), "up\nseed\nseed 3\nup 2\nseed 3\n");

    running.signal(Signal::INT);
    let ended = running.end().died_of(Signal::INT);
    assert_eq!(
        place.read("trace"),
        "up\nseed\nseed 3\nup 2\nseed 3\ndown\n"
    );
    assert!(ended.stdout.ends_with("s\n"), "{}", ended.transcript());
    let last = ended.stdout.lines().last().unwrap();
    assert!(
        last.starts_with("2 passed, 1 failed  "),
        "{}",
        ended.transcript()
    );

    // It is one run, and what is kept of it is how each replay ended at last.
    let kept = place.tackroom(&["runs", "--replays"]).code(0);
    let course = |name: &str| {
        let mut lines = kept.stdout.lines();
        lines
            .find(|line| line.starts_with(name))
            .unwrap()
            .to_owned()
    };
    assert!(course("broken").contains(" ✔ "), "{}", kept.stdout);
    assert!(course("later").contains(" ✘ "), "{}", kept.stdout);
    let report = place.tackroom(&["report", "--format", "junit"]).code(0);
    report.out("file=\"replays/later.sh\"");
    let again = place.tackroom(&["run", "--last-failed", "--list"]).code(0);
    assert_eq!(again.stdout, "later\n");
}

#[test]
fn what_is_deleted_has_nothing_to_be_put_right() {
    let place = place();
    place.replay("other", "# @tags other\nexit 1");
    let mut running = watch(&place, &[]);
    running.until("2 to be put right, 1 passed; waiting");
    std::fs::remove_file(place.path("replays/other.sh")).unwrap();
    running.until("gone: other (replays/other.sh was deleted)");
    let rest = said(&mut running, WAITING);
    assert!(rest.contains("1 to be put right, 1 passed"), "{rest}");
    // It is new when it comes back.
    place.replay("other", "exit 0");
    running.until("▶ again: other (replays/other.sh changed)");
    running.until("1 to be put right, 2 passed; waiting");
    let config = place.read("tackroom.toml");
    let excluded = format!("{config}[replays]\nexclude = ['_*', 'broken*']\n");
    replace(&place, "tackroom.toml", &excluded);
    running.until("gone: broken (replays/broken.sh is not selected any more)");
    running.until("all 2 passed; waiting");
    running.signal(Signal::INT);
    let ended = running.end().died_of(Signal::INT);
    let last = ended.stdout.lines().last().unwrap();
    assert!(last.starts_with("2 passed  "), "{}", ended.transcript());
    let kept = place.tackroom(&["runs", "--replays"]).code(0);
    assert!(!kept.stdout.contains("broken"), "{}", kept.stdout);
}

#[test]
fn what_the_selection_meant_alone_is_deleted() {
    let place = place();
    let mut running = watch(&place, &["broken"]);
    running.until("1 to be put right, 0 passed; waiting");
    std::fs::remove_file(place.path("replays/broken.sh")).unwrap();
    running.until("gone: broken (replays/broken.sh was deleted)");
    running.until("no replay matches \"broken\"");
    running.until("nothing to be put right; waiting");
    place.replay("broken", "echo back");
    running.until("▶ again: broken (replays/broken.sh changed)");
    running.until("all 1 passed; waiting");
    running.signal(Signal::INT);
    running.end().died_of(Signal::INT);
}

#[test]
fn a_runner_that_is_killed_in_a_later_round_has_not_lost_the_verdicts_before() {
    let place = place();
    place.replay("again", ". replays/_lib.sh\ncheck");
    let mut running = watch(&place, &[]);
    running.until("2 to be put right, 1 passed; waiting");
    // `again` runs first, and `broken` is not reached.
    place.write(
        "replays/_lib.sh",
        "check() { echo begun; exec sleep 600; }\n",
    );
    running.until("▶ again: again, broken (replays/_lib.sh changed)");
    running.until("│ begun");
    let guard = running.guard();
    running.signal(Signal::KILL);
    running.end().died_of(Signal::KILL);
    support::wait_for("the guard has taken it down", || {
        !support::is_running(&guard)
    });
    let text = place.tackroom(&["report"]).code(0);
    text.out("■ again")
        .out("✘ broken")
        .out("✔ fine")
        .out("1 passed, 1 failed, 1 aborted");
    let kept = place.tackroom(&["run", "--last-failed", "--list"]).code(0);
    assert_eq!(kept.stdout, "again\nbroken\n");
}

#[test]
fn the_configuration_counts_as_it_is_by_now() {
    let place = place();
    let mut running = watch(&place, &["--tag", "net"]);
    running.until("1 to be put right, 1 passed; waiting");
    let config = place.read("tackroom.toml");
    replace(
        &place,
        "tackroom.toml",
        &format!("{config}[replays]\ntimeuot = '1s'\n"),
    );
    running.until("unknown key; did you mean `timeout`?");
    running.until(WAITING);
    replace(
        &place,
        "tackroom.toml",
        &format!("{config}[replays]\npass_codes = [0, 1]\n"),
    );
    let rest = said(&mut running, WAITING);
    assert!(
        rest.contains("▶ again: broken (tackroom.toml changed)"),
        "{rest}"
    );
    assert!(rest.contains("all 2 passed"), "{rest}");
    // A selection that has become a mistake is told, and not for ever.
    for name in ["broken", "fine"] {
        place.replay(name, "# no tag");
    }
    running.until("no replay has the tag \"net\"");
    running.until(WAITING);
    place.replay("fine", "# @tags net\necho back");
    running.until("▶ again: fine (replays/fine.sh changed)");
    running.until(WAITING);
    running.signal(Signal::TERM);
    running.end().died_of(Signal::TERM);
}

#[test]
fn a_replay_that_writes_beside_itself_does_not_run_for_ever() {
    let place = Place::with_replays(&[("writes", "date +%N > replays/out; touch \"$0\"; exit 1")]);
    place.write("tackroom.toml", "");
    let mut running = watch(&place, &["--json"]);
    running.until(WAITING);
    place.replay("other", "exit 0");
    running.until("▶ again: other (replays/other.sh changed)");
    running.until(WAITING);
    running.signal(Signal::INT);
    let ended = running.end().died_of(Signal::INT);
    let starts = |name: &str| {
        let events = ended.json();
        let starts = events.iter().filter(|it| it["event"] == "replay_started");
        starts.filter(|it| it["replay"] == name).count()
    };
    assert_eq!(
        (starts("writes"), starts("other")),
        (1, 1),
        "{}",
        ended.transcript()
    );
}

/// Does something when the run waits, once for each of these.
async fn watched(
    place: &Place,
    engine: &FakeEngine,
    mut acts: Vec<Box<dyn FnMut()>>,
) -> Vec<String> {
    let config = Arc::new(config::load(&place.path("tackroom.toml")).unwrap());
    let harness = Harness {
        config: Arc::clone(&config),
        engine: Arc::new(engine.clone()),
        store: Some(Store::at(place.path("state"))),
        guard: None,
    };
    let request = Request {
        up: true,
        seed: true,
        replays: discover(&config).unwrap(),
        again: Some(Selection::default()),
        teardown: Teardown::Always,
        ..Request::nothing()
    };
    let controller = Controller::default();
    let mut session = {
        let _guard = starting();
        harness.start(request, controller.clone())
    };
    let mut trace = Vec::new();
    acts.reverse();
    let patience = std::time::Duration::from_secs(60);
    loop {
        let next = tokio::time::timeout(patience, session.events.next()).await;
        let Some(event) = next.unwrap_or_else(|_| panic!("nothing more after {trace:?}")) else {
            return trace;
        };
        match &event.kind {
            RunEventKind::Note(note) if note.contains(WAITING) => match acts.pop() {
                Some(mut act) => act(),
                None => controller.press(Asked::Interrupt),
            },
            RunEventKind::Again { why, .. } => trace.push(format!("again: {why}")),
            RunEventKind::StepFinished { step, .. } => trace.push(step.word().to_owned()),
            RunEventKind::ReplayFinished(result) => {
                trace.push(format!("{} {}", result.replay, result.verdict.word()));
            }
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_and_images_that_change_concern_what_failed() {
    let place = Place::with_replays(&[("broken", "exit 1"), ("fine", "")]);
    for hook in ["up", "seed", "down"] {
        place.script(&format!("hooks/{hook}"), "");
    }
    place.write(
        "tackroom.toml",
        "[[stack]]\nname = 's'\nlabels = ['a=1']\nteardown = true\n\
         [harness]\nstack = 's'\nup = 'hooks/up'\nseed = 'hooks/seed'\ndown = 'hooks/down'\n",
    );
    let engine = FakeEngine::new();
    let api = FakeContainer::new("api")
        .label("a", "1")
        .image("shop:dev", "sha256:01");
    let id = engine.run(api);
    let of_others = engine.run(FakeContainer::new("other").image("shop:dev", "sha256:01"));
    let trace = watched(
        &place,
        &engine,
        vec![
            Box::new({
                let engine = engine.clone();
                move || {
                    // Not ours, and no change: a restart makes no other container.
                    engine.recreate(&of_others);
                    engine.restart(&id, 0);
                    engine.recreate(&id).unwrap();
                }
            }),
            Box::new({
                let engine = engine.clone();
                move || {
                    engine.tag("shop:dev", "sha256:02");
                    // The engine tells of containers alone, and this has us look.
                    let id = engine.run(FakeContainer::new("one-off").label("a", "1"));
                    engine.destroy(&id);
                }
            }),
        ],
    )
    .await;
    let wanted = [
        "up",
        "ready",
        "seed",
        "broken failed",
        "fine passed",
        "again: api was made anew",
        "ready",
        "seed",
        "broken failed",
        "again: shop:dev, the image of api, is another one",
        "up",
        "ready",
        "seed",
        "broken failed",
        "down",
        "teardown",
    ];
    assert_eq!(trace, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_begins_with_no_replay_records_the_engine_all_the_same() {
    let place = Place::with_replays(&[]);
    place.write(
        "tackroom.toml",
        "[[stack]]\nname = 's'\nlabels = ['a=1']\nteardown = true\n[harness]\nstack = 's'\n",
    );
    let engine = FakeEngine::new();
    engine.run(FakeContainer::new("api").label("a", "1"));
    let later = place.path("replays/later.sh");
    let add: Box<dyn FnMut()> = Box::new(move || {
        std::fs::create_dir_all(later.parent().unwrap()).unwrap();
        std::fs::write(&later, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&later, std::fs::Permissions::from_mode(0o755)).unwrap();
    });
    let trace = watched(&place, &engine, vec![add]).await;
    assert!(
        trace.contains(&"again: replays/later.sh changed".to_owned()),
        "{trace:?}"
    );
    let runs = glob::glob(&format!("{}/runs/*/", place.path("state").display())).unwrap();
    let run = runs.last().unwrap().unwrap();
    let containers = std::fs::read_to_string(run.join("engine/containers.jsonl")).unwrap();
    assert!(containers.contains("api"), "{containers}");
    assert!(run.join("environment.json").is_file());
}
