//! Sessions of a harness whose stack is on the engine in memory: what is taken down, what is not,
//! and what is said about it when something goes wrong on the way.

#![allow(
    clippy::unwrap_used,
    reason = "a test says what went wrong by panicking"
)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use tackroom::config;
use tackroom::domain::exit::Exit;
use tackroom::domain::hook::Step;
use tackroom::domain::id::ContainerId;
use tackroom::domain::run::{RunEventKind, Signal, Summary};
use tackroom::engine::fake::{FakeContainer, FakeEngine, Operation};
use tackroom::engine::{EngineError, ErrorKind};
use tackroom::harness::{Consent, Harness, Request, Teardown};
use tackroom::process::Controller;
use tackroom::record::Store;

const PROTECTED: &str = "teardown = false";
const REMOVABLE: &str = "teardown = true";

struct World {
    dir: tempfile::TempDir,
    engine: FakeEngine,
    harness: Harness,
}

impl World {
    /// A harness with hooks that only leave a trace of having run.
    fn new(standing: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let engine = FakeEngine::new();
        for hook in ["up", "down"] {
            script(
                &dir.path().join(hook),
                &format!("echo {hook} >> trace\necho {hook}"),
            );
        }
        let file = dir.path().join("tackroom.toml");
        let text = format!(
            "[[stack]]\nname = 's'\nlabels = ['a=1', 'b=1']\n{standing}\n\
             [harness]\nstack = 's'\nup = './up'\ndown = './down'\n"
        );
        std::fs::write(&file, text).unwrap();
        let harness = Harness {
            config: Arc::new(config::load(&file).unwrap()),
            engine: Arc::new(engine.clone()),
            store: Some(Store::at(dir.path().join("state"))),
        };
        Self {
            dir,
            engine,
            harness,
        }
    }

    fn container(&self, name: &str) -> ContainerId {
        let spec = FakeContainer::new(name).label("a", "1").label("b", "1");
        self.engine.run(spec)
    }

    fn is_up(&self, id: &ContainerId) -> bool {
        self.engine.container(id).is_some()
    }

    fn trace(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("trace")).unwrap_or_default()
    }

    /// Runs a session to its end, doing `on_event` at each of its events.
    async fn run(
        &self,
        request: Request,
        mut on_event: impl FnMut(&RunEventKind, &Controller),
    ) -> Summary {
        let controller = Controller::default();
        let mut session = self.harness.start(request, controller.clone());
        let mut summary = Summary::default();
        while let Some(event) = session.events.next().await {
            on_event(&event.kind, &controller);
            summary.fold(&event);
        }
        summary
    }
}

fn script(path: &Path, text: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

fn up() -> Request {
    Request {
        up: true,
        teardown: Teardown::IfCutOff,
        ..Request::nothing()
    }
}

fn down() -> Request {
    Request {
        teardown: Teardown::Always,
        ..Request::nothing()
    }
}

async fn confirmed(world: &World, consent: Consent) -> Request {
    let plan = world.harness.plan("s").await.unwrap();
    let fingerprint = plan.fingerprint();
    let plan = Box::new(plan.confirm(&fingerprint).unwrap());
    Request {
        teardown: Teardown::Confirmed(plan, consent),
        ..Request::nothing()
    }
}

/// At the first line of the hook that boots: Ctrl-C.
fn cut_off(kind: &RunEventKind, controller: &Controller) {
    if matches!(kind, RunEventKind::StepOutput { step: Step::Up, .. }) {
        controller.press(Signal::Interrupt);
    }
}

/// The hook goes on until it is asked to stop.
fn endless(world: &World, hook: &str) {
    let text = format!("echo {hook} >> trace\necho {hook}\nwhile :; do sleep 0.01; done");
    script(&world.dir.path().join(hook), &text);
}

#[tokio::test]
async fn cutting_up_off_takes_down_what_it_began() {
    let world = World::new(REMOVABLE);
    endless(&world, "up");
    let mut begun = None;
    let summary = world
        .run(up(), |kind, controller| {
            if matches!(kind, RunEventKind::StepOutput { step: Step::Up, .. }) {
                begun = Some(world.container("half"));
            }
            cut_off(kind, controller);
        })
        .await;
    assert!(!world.is_up(&begun.unwrap()));
    assert_eq!(world.trace(), "up\ndown\n");
    assert_eq!(summary.interrupted, Some(Signal::Interrupt));
    assert_ne!(Exit::of(&summary), Exit::Ok);
}

#[tokio::test]
async fn cutting_up_off_spares_a_stack_that_was_there_before() {
    let world = World::new(REMOVABLE);
    endless(&world, "up");
    let before = world.container("since-the-morning");
    world.run(up(), cut_off).await;
    assert!(world.is_up(&before));
    assert_eq!(world.trace(), "up\n");
}

#[tokio::test]
async fn a_signal_after_up_has_done_its_work_costs_nothing() {
    let world = World::new(REMOVABLE);
    let mut booted = None;
    let summary = world
        .run(up(), |kind, controller| match kind {
            RunEventKind::StepOutput { step: Step::Up, .. } => {
                booted = Some(world.container("whole"));
            }
            RunEventKind::StepFinished {
                step: Step::Ready, ..
            } => {
                controller.press(Signal::Interrupt);
            }
            _ => {}
        })
        .await;
    assert!(world.is_up(&booted.unwrap()), "{summary:?}");
}

#[tokio::test]
async fn a_protected_stack_is_not_booted_to_be_taken_down_and_not_taken_down() {
    let world = World::new(PROTECTED);
    let id = world.container("somebodys");
    let summary = world.run(down(), |_, _| {}).await;
    assert_eq!(Exit::of(&summary), Exit::Refused);
    assert!(world.is_up(&id));
    assert_eq!(world.trace(), "");
}

/// Takes down a stack of which one more appears while the hook runs: the summary, the names in each
/// of the plans that were said, and whether the late one is still there.
async fn growing(world: &World, request: Request) -> (Summary, Vec<Vec<String>>, bool) {
    // Events lag behind the session: the hook ends when what it began has come.
    script(
        &world.dir.path().join("down"),
        "echo down\nuntil [ -e came ]; do sleep 0.01; done",
    );
    let mut plans = Vec::new();
    let mut late = None;
    let summary = world
        .run(request, |kind, _| match kind {
            RunEventKind::Planned(plan) => {
                plans.push(plan.remove.iter().map(|item| item.name.clone()).collect());
            }
            RunEventKind::StepOutput {
                step: Step::Down, ..
            } => {
                late = Some(world.container("late"));
                std::fs::write(world.dir.path().join("came"), "").unwrap();
            }
            _ => {}
        })
        .await;
    (summary, plans, world.is_up(&late.unwrap()))
}

#[tokio::test]
async fn what_appears_during_the_teardown_is_planned_and_taken_down_too() {
    let world = World::new(REMOVABLE);
    world.container("first");
    let (summary, plans, is_up) = growing(&world, down()).await;
    assert_eq!(Exit::of(&summary), Exit::Ok, "{summary:?}");
    assert_eq!(plans, [["first"], ["late"]], "nothing goes unplanned");
    assert!(!is_up);
}

#[tokio::test]
async fn consent_to_the_stack_covers_what_appears_and_consent_to_a_plan_does_not() {
    let world = World::new(REMOVABLE);
    world.container("first");
    let request = confirmed(&world, Consent::Stack).await;
    let (summary, plans, is_up) = growing(&world, request).await;
    assert_eq!(Exit::of(&summary), Exit::Ok, "{summary:?}");
    assert_eq!(plans, [["late"]], "the first was seen before");
    assert!(!is_up);

    let world = World::new(REMOVABLE);
    let first = world.container("first");
    let request = confirmed(&world, Consent::Plan).await;
    let (summary, plans, is_up) = growing(&world, request).await;
    assert_eq!(Exit::of(&summary), Exit::LeftBehind, "{summary:?}");
    assert!(plans.is_empty() && is_up && !world.is_up(&first));
    assert_eq!(summary.left_behind[0].name, "late");
}

/// Whatever is removed of it, there is one more.
#[tokio::test]
async fn a_stack_that_keeps_growing_is_not_chased_for_ever() {
    let world = World::new(REMOVABLE);
    let engine = FakeContainer::new("engine").label("a", "1").label("b", "1");
    world.engine.run(engine.clone());
    world.engine.respawn(engine);
    let mut plans = 0;
    let request = confirmed(&world, Consent::Stack).await;
    let summary = world
        .run(request, |kind, _| {
            plans += usize::from(matches!(kind, RunEventKind::Planned(_)));
        })
        .await;
    assert_eq!(Exit::of(&summary), Exit::LeftBehind, "{summary:?}");
    assert_eq!(plans, 2, "three rounds, the first of them confirmed before");
    assert_eq!(summary.left_behind[0].name, "engine-3");
}

#[tokio::test]
async fn what_cannot_be_removed_is_left_behind_by_name() {
    let world = World::new(REMOVABLE);
    let id = world.container("stuck");
    let busy = EngineError::new(ErrorKind::Engine, "device or resource busy");
    world
        .engine
        .fail_on(Operation::RemoveContainer, id.as_str(), busy);
    let summary = world.run(down(), |_, _| {}).await;
    assert_eq!(Exit::of(&summary), Exit::LeftBehind);
    let names: Vec<&str> = summary
        .left_behind
        .iter()
        .map(|item| item.name.as_str())
        .collect();
    assert_eq!(names, ["stuck"]);
}

#[tokio::test]
async fn one_slow_answer_does_not_leave_the_stack_behind() {
    let world = World::new(REMOVABLE);
    let id = world.container("mine");
    let slow = EngineError::new(ErrorKind::TimedOut, "no answer within 10 s");
    world.engine.fail_once(Operation::List, slow);
    let summary = world.run(down(), |_, _| {}).await;
    assert_eq!(Exit::of(&summary), Exit::Ok, "{summary:?}");
    assert!(!world.is_up(&id));
}

/// Without hooks: a paused clock would run out on a real child.
#[tokio::test(start_paused = true)]
async fn an_engine_that_stays_away_is_no_success() {
    let mut world = World::new(REMOVABLE);
    let mut config = (*world.harness.config).clone();
    config.harness.as_mut().unwrap().down = None;
    world.harness.config = Arc::new(config);
    world.container("mine");
    let slow = EngineError::new(ErrorKind::TimedOut, "no answer within 10 s");
    world.engine.fail(Operation::List, slow);
    let summary = world.run(down(), |_, _| {}).await;
    assert_eq!(Exit::of(&summary), Exit::LeftBehind, "{summary:?}");
    let asked = world.engine.calls().len();
    assert!(asked > 3, "it was asked {asked} times");
}

#[tokio::test]
async fn a_teardown_that_was_asked_for_stops_at_the_first_request() {
    let world = World::new(REMOVABLE);
    endless(&world, "down");
    let id = world.container("mine");
    let request = confirmed(&world, Consent::Stack).await;
    let summary = world
        .run(request, |kind, controller| {
            if matches!(
                kind,
                RunEventKind::StepOutput {
                    step: Step::Down,
                    ..
                }
            ) {
                controller.press(Signal::Interrupt);
            }
        })
        .await;
    assert!(world.is_up(&id), "{summary:?}");
    assert_eq!(summary.left_behind.len(), 1);
    assert_eq!(summary.interrupted, Some(Signal::Interrupt));
}
