//! Sessions of a harness whose stack is on the engine in memory: what is taken down, what is not,
//! and what is said about it when something goes wrong on the way.

#![allow(
    clippy::unwrap_used,
    reason = "a test says what went wrong by panicking"
)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tackroom::config;
use tackroom::domain::container::MountKind;
use tackroom::domain::exit::Exit;
use tackroom::domain::hook::Step;
use tackroom::domain::id::ContainerId;
use tackroom::domain::label::{COMPOSE_PROJECT, COMPOSE_WORKING_DIR, Labels};
use tackroom::domain::plan::Item;
use tackroom::domain::run::{RunEventKind, Signal, StepOutcome, Summary};
use tackroom::domain::scope::Asker;
use tackroom::domain::selector::Selector;
use tackroom::engine::fake::{FakeContainer, FakeEngine, Operation};
use tackroom::engine::{Engine, EngineError, ErrorKind};
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
        Self::of(&format!(
            "[[stack]]\nname = 's'\nlabels = ['a=1', 'b=1']\n{standing}\n\
             [harness]\nstack = 's'\nup = './up'\ndown = './down'\n"
        ))
    }

    /// A harness of two stacks, of which the second is booted later and goes first.
    fn of_two(standing: &str) -> Self {
        Self::of(&format!(
            "[[stack]]\nname = 's'\nlabels = ['a=1', 'b=1']\n{REMOVABLE}\n\
             [[stack]]\nname = 'second'\nlabels = ['a=1', 'b=2']\n{standing}\n\
             [harness]\nstack = ['s', 'second']\nup = './up'\ndown = './down'\n"
        ))
    }

    fn of(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let engine = FakeEngine::new();
        for hook in ["up", "down"] {
            script(
                &dir.path().join(hook),
                &format!("echo {hook} >> trace\necho {hook}"),
            );
        }
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
        }
    }

    fn container(&self, name: &str) -> ContainerId {
        let spec = FakeContainer::new(name).label("a", "1").label("b", "1");
        self.engine.run(spec)
    }

    fn container_of_second(&self, name: &str) -> ContainerId {
        let spec = FakeContainer::new(name).label("a", "1").label("b", "2");
        self.engine.run(spec)
    }

    fn is_up(&self, id: &ContainerId) -> bool {
        self.engine.container(id).is_some()
    }

    /// Whether there is a network of this name.
    async fn there(&self, network: &str) -> bool {
        let any = Selector::new("a".parse().unwrap(), []);
        let networks = self.engine.networks(&any).await.unwrap();
        networks.iter().any(|it| it.name == network)
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

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn names(items: &[Item]) -> Vec<&str> {
    items.iter().map(|item| item.name.as_str()).collect()
}

/// Why a step failed.
fn failure(summary: &Summary) -> &str {
    let mut steps = summary.steps.iter();
    let reason = steps.find_map(|step| match &step.outcome {
        StepOutcome::Failed { reason } => Some(reason),
        _ => None,
    });
    reason.unwrap()
}

fn script(path: &Path, text: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

fn by_hand() -> Asker {
    Asker::by_hand(Timestamp::now(), false)
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
    let plan = world.harness.plan("s", &by_hand()).await.unwrap();
    let fingerprint = plan.fingerprint();
    let plans = vec![plan.confirm(&fingerprint).unwrap()];
    Request {
        teardown: Teardown::Confirmed(plans, consent),
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
async fn what_somebody_else_holds_is_left_behind_by_name() {
    let world = World::new(REMOVABLE);
    let mine = world.container("mine");
    let guest = FakeContainer::new("guest").label("a", "1").label("b", "2");
    let guest = guest.mount(MountKind::Volume, "held-volume", "/data");
    // Seen, because it is in a family; neither it nor what it holds is the stack's.
    let scope = "[family]\nlabels = ['a=1']\n";
    let file = world.dir.path().join("tackroom.toml");
    let text = scope.to_owned() + &std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text).unwrap();
    let harness = Harness {
        config: Arc::new(config::load(&file).unwrap()),
        ..world.harness.clone()
    };
    let world = World { harness, ..world };
    let guest = world.engine.run(guest);
    let own = labels(&[("a", "1"), ("b", "1")]);
    let both = [mine, guest.clone()];
    world.engine.add_network("held-network", own.clone(), &both);
    world
        .engine
        .add_network("free-network", own.clone(), &both[..1]);
    world.engine.add_volume("held-volume", own);
    world
        .engine
        .add_network("theirs", labels(&[("a", "1")]), &both);
    let summary = world.run(down(), |_, _| {}).await;
    assert_eq!(Exit::of(&summary), Exit::LeftBehind, "{summary:?}");
    assert_eq!(names(&summary.left_behind), ["held-network", "held-volume"]);
    let why = failure(&summary);
    assert!(why.contains("network held-network: guest uses it"), "{why}");
    assert!(why.contains("volume held-volume: guest uses it"), "{why}");
    assert!(world.is_up(&guest));

    // It would not start again without its network.
    world.engine.die(&guest, 0);
    let summary = world.run(down(), |_, _| {}).await;
    assert_eq!(names(&summary.left_behind), ["held-network", "held-volume"]);
    world.engine.destroy(&guest);
    let summary = world.run(down(), |_, _| {}).await;
    assert_eq!(Exit::of(&summary), Exit::Ok, "{summary:?}");
    assert!(!world.there("held-network").await && world.there("theirs").await);
}

/// A stack that is a compose project, and a container of it that does not run yet.
fn shop() -> (World, FakeContainer) {
    let text = "[[stack]]\nname = 's'\ncompose = 'tackroom.toml'\nproject = 'shop'\n\
                teardown = true\n[harness]\nstack = 's'\n";
    let world = World::of(text);
    let directory = world.dir.path().canonicalize().unwrap();
    let mine = FakeContainer::new("mine")
        .label(COMPOSE_PROJECT, "shop")
        .label(COMPOSE_WORKING_DIR, directory.to_str().unwrap());
    (world, mine)
}

/// Compose writes nothing on a network that tells one checkout's from another's: what makes it ours
/// is the container of ours that uses it, and that has gone when the check looks.
#[tokio::test]
async fn a_compose_projects_network_that_somebody_else_holds_is_left_behind() {
    let (world, mine) = shop();
    let mine = world.engine.run(mine);
    let guest = world.engine.run(FakeContainer::new("guest"));
    let shop = labels(&[(COMPOSE_PROJECT, "shop")]);
    world
        .engine
        .add_network("net", shop.clone(), &[mine, guest.clone()]);
    world.engine.add_network("other", shop, &[guest]);
    let summary = world.run(down(), |_, _| {}).await;
    assert_eq!(Exit::of(&summary), Exit::LeftBehind, "{summary:?}");
    assert_eq!(names(&summary.left_behind), ["net"]);
}

#[tokio::test]
async fn what_looks_like_nobodys_without_its_containers_is_left_behind_all_the_same() {
    let (world, mine) = shop();
    let mine = mine.mount(MountKind::Volume, "shop_db", "/data");
    world.engine.run(mine);
    world
        .engine
        .add_volume("shop_db", labels(&[(COMPOSE_PROJECT, "shop")]));
    let busy = EngineError::new(ErrorKind::Conflict, "volume is in use");
    world
        .engine
        .fail_on(Operation::RemoveVolume, "shop_db", busy);
    let summary = world.run(down(), |_, _| {}).await;
    assert_eq!(Exit::of(&summary), Exit::LeftBehind, "{summary:?}");
    assert_eq!(names(&summary.left_behind), ["shop_db"]);
}

#[tokio::test]
async fn the_stacks_of_a_harness_go_together_and_the_hook_runs_once() {
    let world = World::of_two(REMOVABLE);
    let first = world.container("first");
    let second = world.container_of_second("second");
    // Held by the other stack until that has gone as well.
    let own = labels(&[("a", "1"), ("b", "2")]);
    world
        .engine
        .add_network("shared", own, &[first.clone(), second.clone()]);
    let mut plans = Vec::new();
    let summary = world
        .run(down(), |kind, _| {
            if let RunEventKind::Planned(plan) = kind {
                let what = names(&plan.remove).join(" ");
                plans.push((plan.stack.to_string(), what, plan.hook.is_some()));
            }
        })
        .await;
    assert_eq!(Exit::of(&summary), Exit::Ok, "{summary:?}");
    let plan = |stack: &str, what: &str, hook| (stack.to_owned(), what.to_owned(), hook);
    assert_eq!(
        plans,
        [
            plan("second", "second", true),
            plan("s", "first", false),
            plan("second", "shared", false)
        ]
    );
    assert!(!world.is_up(&first) && !world.is_up(&second));
    assert!(!world.there("shared").await);
    assert_eq!(world.trace(), "down\n");
}

#[tokio::test]
async fn one_stack_of_several_goes_without_the_hook_that_takes_all_down() {
    let world = World::of_two(REMOVABLE);
    let other = world.container_of_second("other");
    let mine = world.container("mine");
    let request = confirmed(&world, Consent::Stack).await;
    let summary = world.run(request, |_, _| {}).await;
    assert_eq!(Exit::of(&summary), Exit::Ok, "{summary:?}");
    assert!(!world.is_up(&mine) && world.is_up(&other));
    assert_eq!(world.trace(), "");
}

#[tokio::test]
async fn all_that_a_harness_has_is_looked_at_and_confirmed_as_one() {
    let world = World::of_two(REMOVABLE);
    let first = world.container("first");
    let second = world.container_of_second("second");
    let (whole, plans) = world.harness.preview("s+second", &by_hand()).await.unwrap();
    assert_eq!(names(&whole.remove), ["second", "first"]);
    assert!(whole.spare.is_empty(), "the one does not spare the other");
    assert!(whole.hook.is_some());
    let confirmed = plans.into_iter().map(|plan| {
        let fingerprint = plan.fingerprint();
        plan.confirm(&fingerprint).unwrap()
    });
    let request = Request {
        teardown: Teardown::Confirmed(confirmed.collect(), Consent::Plan),
        ..Request::nothing()
    };
    let summary = world.run(request, |_, _| {}).await;
    assert_eq!(Exit::of(&summary), Exit::Ok, "{summary:?}");
    assert!(!world.is_up(&first) && !world.is_up(&second));
    assert_eq!(world.trace(), "down\n");
    let (one, _) = world.harness.preview("second", &by_hand()).await.unwrap();
    assert_eq!(&*one.stack, "second");
}

#[tokio::test]
async fn one_protected_stack_protects_the_harness() {
    let world = World::of_two(PROTECTED);
    let (mine, theirs) = (world.container("mine"), world.container_of_second("theirs"));
    let summary = world.run(down(), |_, _| {}).await;
    assert_eq!(Exit::of(&summary), Exit::Refused);
    assert!(world.is_up(&mine) && world.is_up(&theirs));
    assert_eq!(world.trace(), "");
}

#[tokio::test]
async fn cutting_up_off_takes_down_all_that_it_began_or_nothing() {
    let world = World::of_two(REMOVABLE);
    endless(&world, "up");
    let mut begun = Vec::new();
    let mut boot = |kind: &RunEventKind, controller: &Controller| {
        if matches!(kind, RunEventKind::StepOutput { step: Step::Up, .. }) {
            begun.push(world.container("half"));
            begun.push(world.container_of_second("other-half"));
        }
        cut_off(kind, controller);
    };
    world.run(up(), &mut boot).await;
    assert!(begun.iter().all(|id| !world.is_up(id)));
    assert_eq!(world.trace(), "up\ndown\n");

    let world = World::of_two(REMOVABLE);
    endless(&world, "up");
    let before = world.container_of_second("since-the-morning");
    world.run(up(), cut_off).await;
    assert!(world.is_up(&before));
    assert_eq!(world.trace(), "up\n");
}

/// A stack of which two sessions make containers, at the time that it is now.
fn shared() -> World {
    let world = World::new("teardown = true\nrun_label = 'run'\nmin_age = '10m'");
    let behind = Timestamp::now().duration_since(world.engine.now());
    world.engine.advance(behind.try_into().unwrap());
    world
}

fn of_run(world: &World, name: &str, run: &str) -> ContainerId {
    let spec = FakeContainer::new(name).label("a", "1").label("b", "1");
    world.engine.run(spec.label("run", run))
}

#[tokio::test]
async fn a_run_takes_its_own_down_and_leaves_the_neighbours() {
    let world = shared();
    // Events lag behind the session: the hook ends when what it began has come.
    script(
        &world.dir.path().join("up"),
        "echo up >> trace\necho up\nuntil [ -e came ]; do sleep 0.01; done",
    );
    let neighbours = of_run(&world, "neighbours", "theirs");
    let own = labels(&[("a", "1"), ("b", "1")]);
    let both = std::slice::from_ref(&neighbours);
    world.engine.add_network("net", own, both);
    let (mut run_id, mut mine, mut left) = (String::new(), None, Vec::new());
    let request = Request { up: true, ..down() };
    let summary = world
        .run(request, |kind, _| match kind {
            RunEventKind::Started { run, .. } => run_id = run.to_string(),
            RunEventKind::StepOutput { step: Step::Up, .. } => {
                mine = Some(of_run(&world, "mine", &run_id));
                std::fs::write(world.dir.path().join("came"), "").unwrap();
            }
            RunEventKind::LeftToOthers(spared) => {
                left = spared.iter().map(|it| it.item.name.clone()).collect();
            }
            _ => {}
        })
        .await;
    assert_eq!(Exit::of(&summary), Exit::Ok, "{summary:?}");
    assert!(!world.is_up(&mine.unwrap()) && world.is_up(&neighbours));
    assert_eq!(left, ["neighbours", "net"]);
    assert_eq!(world.trace(), "up\n", "the hook knows no neighbour");

    let any_age = Request {
        any_age: true,
        ..down()
    };
    let summary = world.run(any_age, |_, _| {}).await;
    assert_eq!(Exit::of(&summary), Exit::Ok, "{summary:?}");
    assert!(!world.is_up(&neighbours) && !world.there("net").await);
    assert_eq!(world.trace(), "up\ndown\n");
}

#[tokio::test]
async fn cutting_up_off_beside_a_neighbour_takes_down_what_it_began() {
    let world = shared();
    endless(&world, "up");
    let neighbours = of_run(&world, "neighbours", "theirs");
    let (mut run_id, mut mine) = (String::new(), None);
    world
        .run(up(), |kind, controller| {
            match kind {
                RunEventKind::Started { run, .. } => run_id = run.to_string(),
                RunEventKind::StepOutput { step: Step::Up, .. } => {
                    mine = Some(of_run(&world, "mine", &run_id));
                }
                _ => {}
            }
            cut_off(kind, controller);
        })
        .await;
    assert!(!world.is_up(&mine.unwrap()) && world.is_up(&neighbours));
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
    // On the paused clock.
    let teardown = summary.steps.last().unwrap();
    assert!(teardown.took >= Duration::from_secs(30), "{teardown:?}");
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
