//! The whole dashboard over a recording: real files, and no engine at all.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use jiff::{SignedDuration, Timestamp};
use ratatui::layout::Size;
use tokio::sync::mpsc;

use super::{Hands, with_loop};
use crate::bootstrap::{Context, Options};
use crate::codec::Header;
use crate::domain::container::{Container, Detail, Health, State as Run};
use crate::domain::event::{Action, EngineEvent};
use crate::domain::hook::Step;
use crate::domain::id::RunId;
use crate::domain::line::{Channel, LineBatch};
use crate::domain::replay::ReplayName;
use crate::domain::run::{
    Ending, Flaky, Output, ReplayResult, RunEvent, RunEventKind, StepOutcome, Verdict,
};
use crate::engine::Inspect;
use crate::record::{ContainerChange, EngineLog, EventLog, Opened, Seen};
use crate::tui::effect::Effect;
use crate::tui::fixtures::{keys, replays, scope, screen, service, setup};
use crate::tui::perform::Performer;
use crate::tui::state::State;
use crate::tui::update::{show_recording, update};

const STARTED: &str = "2026-11-20T12:03:00Z";

fn at(milliseconds: u64) -> Timestamp {
    let started: Timestamp = STARTED.parse().unwrap();
    started + SignedDuration::from_millis(milliseconds.cast_signed())
}

fn result(attempt: u32, verdict: Verdict, file: &Path) -> RunEventKind {
    RunEventKind::ReplayFinished(ReplayResult {
        tap: None,
        replay: ReplayName::new("peer-discovery-404"),
        retried: attempt == 1,
        verdict,
        started: at(u64::from(attempt) * 2000),
        took: Duration::from_millis(1200),
        attempt,
        output: Output {
            file: Some(file.to_owned()),
            ..Output::default()
        },
        slow: false,
        leaky: false,
        survivors: Vec::new(),
        flaky: Flaky::No,
    })
}

/// A run that broke off while its second replay was at work.
fn record(directory: &Path) {
    let run = RunId::new(at(0), 4711);
    let elsewhere = Path::new("/home/ci/runs").join(run.as_str());
    let put = |file: &str, text: &str| {
        let path = directory.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        elsewhere.join(file)
    };
    let up = put("harness/up.log", "Creating tenant\nCreated tenant\n");
    let first = put("replays/peer-discovery-404/output.log", "the first try\n");
    let second = put(
        "replays/peer-discovery-404/attempt-2/output.log",
        "GET /peers → 404\n✘ expected the reason\n",
    );
    put("replays/buildinfo-stale-image/output.log", "half a wor");
    let header = Header {
        name: "tenant-harness".to_owned(),
        root: "/home/ci/tenant".into(),
        scope: scope(),
        harness: vec!["tenant".into()],
    };
    let mut log = EventLog::open(directory, &header).unwrap();
    let failed = || Verdict::Failed(Ending::Code(1));
    for (milliseconds, kind) in [
        (
            0,
            RunEventKind::Started {
                run,
                replays: replays(),
                stacks: vec!["tenant".into()],
            },
        ),
        (
            1500,
            RunEventKind::StepFinished {
                step: Step::Up,
                outcome: StepOutcome::Done,
                took: Duration::from_secs(1),
                output: Output {
                    file: Some(up),
                    ..Output::default()
                },
            },
        ),
        (3200, result(1, failed(), &first)),
        (5200, result(2, failed(), &second)),
        (
            5300,
            RunEventKind::ReplayStarted {
                replay: ReplayName::new("buildinfo-stale-image"),
                attempt: 1,
                timeout: None,
            },
        ),
        (9000, RunEventKind::Note("still there".to_owned())),
    ] {
        let offset = Duration::from_millis(milliseconds);
        let event = RunEvent {
            at: at(milliseconds),
            offset,
            kind,
        };
        log.append(&event).unwrap();
    }
    let mut engine = EngineLog::create(directory, at(0)).unwrap();
    let tenant = Container {
        created: at(500),
        detail: Some(Detail {
            started: Some(at(600)),
            ..Detail::default()
        }),
        ..service("tenant", Some(Health::Healthy))
    };
    let postgres = Container {
        state: Run::Running,
        created: at(400),
        ..service("postgres", None)
    };
    for (later, container) in [(100, &tenant), (0, &postgres)] {
        let inspect = Inspect::of(container.clone(), serde_json::Value::Null);
        let change = ContainerChange {
            at: at(700),
            id: container.id.clone(),
            what: Seen::Created(Box::new(inspect)),
        };
        engine.container(change).unwrap();
        let mut lines = LineBatch::default();
        for second in 1..4 {
            let text = format!("INFO {} answered {second}", container.title());
            // No two at once: which source is read first is left to chance.
            let at = at(second * 1000 + later);
            lines.push(at, Channel::Out, text.as_bytes());
        }
        engine
            .log(&container.name, &container.id, 1 << 20)
            .append(&lines)
            .unwrap();
    }
    let died = EngineEvent {
        at: at(6000),
        container: tenant.id.clone(),
        name: tenant.name.clone(),
        labels: tenant.labels,
        action: Action::Died {
            exit_code: Some(137),
        },
    };
    engine.event(&died, &|_| true).unwrap();
}

async fn with_recording(width: u16, height: u16, test: impl AsyncFnOnce(&Hands)) {
    let directory = tempfile::tempdir().unwrap();
    record(directory.path());
    let opened = Arc::new(Opened::open(directory.path()).unwrap());
    let context = Arc::new(Context::recorded(&Options::default(), opened.clone()));
    let mut state = state(width, height, opened);
    let (mut performer, mut received) = Performer::start(context);
    let (unused, _) = mpsc::channel(1);
    with_loop(&mut state, &mut performer, (unused, &mut received), test)
        .await
        .unwrap();
    performer.finish(stream::pending()).await;
}

fn state(width: u16, height: u16, opened: Arc<Opened>) -> State {
    let size = Size { width, height };
    let mut setup = setup();
    setup.name.clone_from(&opened.recording.name);
    setup.scope = opened.scope();
    setup.harness.clone_from(&opened.recording.harness);
    setup.has_hooks = false;
    let mut state = State::new(setup, size, opened.ended());
    show_recording(&mut state, opened);
    state
}

/// What is read is there.
async fn settled(hands: &Hands) {
    hands.until("postgres answered 3").await;
    hands.until("tenant exited").await;
    hands.until("expected the reason").await;
}

#[tokio::test(start_paused = true)]
async fn a_recording_looks_like_a_live_engine_and_says_that_it_is_none() {
    with_recording(120, 40, async |hands: &Hands| {
        settled(hands).await;
        insta::assert_snapshot!(hands.last());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_recording_has_room_for_more_on_a_large_screen() {
    with_recording(200, 60, async |hands: &Hands| {
        settled(hands).await;
        insta::assert_snapshot!(hands.last());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_recording_fits_a_small_screen() {
    with_recording(80, 24, async |hands: &Hands| {
        hands.until("postgres answered 3").await;
        hands.until("tenant exited").await;
        insta::assert_snapshot!(hands.last());
        // Replays and their output; the run with its steps.
        hands.press("3");
        hands.until("expected the reason").await;
        insta::assert_snapshot!(hands.last());
        hands.press("I");
        hands.until("steps").await;
        // Where it lies is another place each time.
        let last = hands.last();
        let lines = last.lines().filter(|line| !line.contains("read from"));
        insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn outputs_are_read_when_they_are_looked_at() {
    with_recording(120, 40, async |hands: &Hands| {
        settled(hands).await;
        let first = hands.last();
        assert!(first.contains("the first try"), "{first}");
        assert!(first.contains("── attempt 2 ──"), "{first}");
        assert!(!first.contains("half a wor"), "{first}");
        hands.press("3j");
        hands.until("half a wor").await;
        assert!(hands.last().contains("aborted"), "{}", hands.last());
        hands.press("j");
        hands.until("the run did").await;
        // The first step is where the cursor is.
        hands.press("I<enter>");
        hands.until("Created tenant").await;
        assert!(hands.last().contains("Output of up"), "{}", hands.last());
    })
    .await;
}

#[test]
fn nothing_is_done_in_a_recording_and_it_says_why() {
    let directory = tempfile::tempdir().unwrap();
    record(directory.path());
    let opened = Arc::new(Opened::open(directory.path()).unwrap());
    let mut state = state(120, 40, opened);
    for key in keys("rafxusTR") {
        let effects = update(&mut state, key);
        let acts = |effect: &Effect| {
            matches!(
                effect,
                Effect::Start(_)
                    | Effect::Cancel
                    | Effect::Kill
                    | Effect::PlanTeardown(_)
                    | Effect::Teardown { .. }
                    | Effect::Discover
            )
        };
        assert!(!effects.iter().any(acts), "{effects:?}");
        assert!(state.dialog.is_none());
        state.notice = None;
    }
    for key in ["r", "a", "f", "x", "u", "s", "T", "R"] {
        state.focus = crate::tui::state::Pane::Replays;
        for key in keys(key) {
            update(&mut state, key);
        }
        let notice = state.notice.take().map(|notice| notice.text);
        let why = "this is a recording: nothing can be run, booted or taken down";
        assert_eq!(notice.as_deref(), Some(why), "{key}");
    }
    let offered = |state: &mut State, open: &str| {
        for key in keys(open) {
            update(state, key);
        }
        let text = screen(state);
        for key in keys("<esc>") {
            update(state, key);
        }
        text
    };
    for open in ["?", ":", ":rerun"] {
        let text = offered(&mut state, open);
        assert!(!text.contains("rerun-failed"), "{text}");
        assert!(!text.contains("Run every replay"), "{text}");
    }
    assert!(offered(&mut state, ":run").contains("run-info"));
    // Nothing of it is up: quitting asks nothing, and the run's failure is not ours.
    let quit: Vec<Effect> = keys("q")
        .into_iter()
        .flat_map(|key| update(&mut state, key))
        .collect();
    assert!(quit.contains(&Effect::Quit), "{quit:?}");
    assert_eq!(state.exit(), crate::domain::exit::Exit::Ok);
}
