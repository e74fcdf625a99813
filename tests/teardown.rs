//! What a teardown removes and what it never touches, on the engine in memory.

#![allow(
    clippy::unwrap_used,
    reason = "a test says what went wrong by panicking"
)]

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use tackroom::domain::container::MountKind;
use tackroom::domain::id::ContainerId;
use tackroom::domain::label::{COMPOSE_PROJECT, COMPOSE_WORKING_DIR, Condition, Labels};
use tackroom::domain::plan::{ConfirmedPlan, Item, ItemOutcome, SpareReason, TeardownPlan};
use tackroom::domain::scope::{Asker, ComposeProject, Protection, RunGuard, Scope, Stack};
use tackroom::domain::selector::Selector;
use tackroom::engine::fake::{Call, FakeContainer, FakeEngine, Operation};
use tackroom::engine::{Engine, EngineError, ErrorKind};
use tackroom::teardown::{PlanError, build, execute};

fn selector(conditions: &[&str]) -> Selector {
    Selector::from_conditions(conditions.iter().map(|c| c.parse().unwrap())).unwrap()
}

fn stack(name: &str, conditions: &[&str], protection: Protection) -> Stack {
    Stack {
        name: name.into(),
        claims: selector(conditions).into(),
        spawner: None,
        state_dirs: Vec::new(),
        protection,
        compose_project: None,
        run_guard: None,
    }
}

/// The galaxy of the incident: one label was not enough.
fn galaxy() -> Scope {
    Scope {
        families: vec![selector(&["backend=1"])],
        stacks: vec![
            stack(
                "integration",
                &["backend=1", "stack=integration"],
                Protection::Removable,
            ),
            stack(
                "dev-deploy",
                &["backend=1", "stack=dev-deploy"],
                Protection::Protected,
            ),
        ],
        group_by: None,
    }
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

fn container(name: &str, pairs: &[(&str, &str)]) -> FakeContainer {
    pairs
        .iter()
        .fold(FakeContainer::new(name), |spec, (key, value)| {
            spec.label(key, value)
        })
}

/// No run's.
fn asker() -> Asker {
    Asker {
        run: None,
        now: Timestamp::UNIX_EPOCH,
        any_age: false,
    }
}

fn names(items: &[Item]) -> BTreeSet<&str> {
    items.iter().map(|item| item.name.as_str()).collect()
}

fn confirmed(plan: TeardownPlan) -> ConfirmedPlan {
    let fingerprint = plan.fingerprint();
    plan.confirm(&fingerprint).unwrap()
}

async fn carry_out(
    engine: &FakeEngine,
    scope: &Scope,
    plan: TeardownPlan,
) -> Vec<(String, ItemOutcome)> {
    let mut outcomes = Vec::new();
    let grace = Duration::from_secs(1);
    execute(
        engine,
        scope,
        &confirmed(plan),
        grace,
        &|| false,
        &mut |item, outcome| {
            outcomes.push((item.name, outcome));
        },
    )
    .await;
    outcomes
}

#[tokio::test]
async fn the_other_stacks_engine_survives() {
    let engine = FakeEngine::new();
    let mine = engine.run(container(
        "mine",
        &[("backend", "1"), ("stack", "integration")],
    ));
    let theirs = engine.run(container(
        "theirs",
        &[("backend", "1"), ("stack", "dev-deploy")],
    ));
    let nobodys = engine.run(container("nobodys", &[("backend", "1")]));
    let foreign = engine.run(container("foreign", &[("stack", "integration")]));
    let scope = galaxy();

    let plan = build(&engine, &scope, "integration", None, &asker())
        .await
        .unwrap();
    assert_eq!(names(&plan.remove), ["mine"].into());
    let spared: Vec<(&str, String)> = plan
        .spare
        .iter()
        .map(|spared| (spared.item.name.as_str(), spared.reason.to_string()))
        .collect();
    assert_eq!(
        spared,
        [
            ("nobodys", "no stack claims it".to_owned()),
            (
                "theirs",
                "belongs to dev-deploy, which is protected".to_owned()
            ),
        ]
    );

    let outcomes = carry_out(&engine, &scope, plan).await;
    assert_eq!(outcomes, [("mine".to_owned(), ItemOutcome::Removed)]);
    assert!(engine.container(&mine).is_none());
    for id in [theirs, nobodys, foreign] {
        assert!(engine.container(&id).is_some_and(|c| c.state.is_alive()));
    }
}

#[tokio::test]
async fn a_protected_stack_has_no_plan() {
    let engine = FakeEngine::new();
    let error = build(&engine, &galaxy(), "dev-deploy", None, &asker())
        .await
        .unwrap_err();
    assert_eq!(
        error,
        PlanError::Protected {
            name: "dev-deploy".to_owned()
        }
    );
    let error = build(&engine, &galaxy(), "devdeploy", None, &asker())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "no stack is called devdeploy; there are: integration, dev-deploy"
    );
}

#[tokio::test]
async fn what_two_stacks_match_is_removed_by_neither() {
    let mut scope = galaxy();
    scope
        .stacks
        .push(stack("nightly", &["run=nightly"], Protection::Removable));
    let engine = FakeEngine::new();
    let both = [
        ("backend", "1"),
        ("stack", "integration"),
        ("run", "nightly"),
    ];
    engine.run(container("both", &both));
    for name in ["integration", "nightly"] {
        let plan = build(&engine, &scope, name, None, &asker()).await.unwrap();
        assert!(plan.is_empty());
        assert!(matches!(
            plan.spare[0].reason,
            SpareReason::SeveralStacks(_)
        ));
    }
}

#[tokio::test]
async fn a_container_that_vanished_or_is_being_removed_is_done() {
    let engine = FakeEngine::new();
    let gone = engine.run(container(
        "gone",
        &[("backend", "1"), ("stack", "integration")],
    ));
    engine.run(container(
        "there",
        &[("backend", "1"), ("stack", "integration")],
    ));
    let scope = galaxy();
    let plan = build(&engine, &scope, "integration", None, &asker())
        .await
        .unwrap();
    engine.destroy(&gone);
    let mut outcomes = carry_out(&engine, &scope, plan).await;
    outcomes.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(
        outcomes,
        [
            ("gone".to_owned(), ItemOutcome::Gone),
            ("there".to_owned(), ItemOutcome::Removed)
        ]
    );
}

#[tokio::test]
async fn one_failure_does_not_stop_the_others() {
    let engine = FakeEngine::new();
    let stuck = engine.run(container(
        "stuck",
        &[("backend", "1"), ("stack", "integration")],
    ));
    engine.run(container(
        "there",
        &[("backend", "1"), ("stack", "integration")],
    ));
    let scope = galaxy();
    let plan = build(&engine, &scope, "integration", None, &asker())
        .await
        .unwrap();
    let error = EngineError::new(ErrorKind::Engine, "device or resource busy");
    engine.fail_on(Operation::RemoveContainer, stuck.as_str(), error);
    let outcomes = carry_out(&engine, &scope, plan).await;
    assert!(outcomes.contains(&("there".to_owned(), ItemOutcome::Removed)));
    let why = "device or resource busy".to_owned();
    assert!(outcomes.contains(&("stuck".to_owned(), ItemOutcome::Failed { why })));
    let left = build(&engine, &scope, "integration", None, &asker())
        .await
        .unwrap();
    assert_eq!(names(&left.remove), ["stuck"].into());
}

#[tokio::test]
async fn a_container_that_joined_another_stack_since_is_spared() {
    let engine = FakeEngine::new();
    let id = engine.run(container(
        "mine",
        &[("backend", "1"), ("stack", "integration")],
    ));
    let plan = build(&engine, &galaxy(), "integration", None, &asker())
        .await
        .unwrap();
    let mut scope = galaxy();
    scope
        .stacks
        .push(stack("everything", &["backend"], Protection::Protected));
    let outcomes = carry_out(&engine, &scope, plan).await;
    assert!(
        matches!(outcomes[0].1, ItemOutcome::Changed { .. }),
        "{outcomes:?}"
    );
    assert!(engine.container(&id).is_some());
}

#[tokio::test]
async fn networks_and_volumes_go_after_their_containers() {
    let engine = FakeEngine::new();
    let mine = [("backend", "1"), ("stack", "integration")];
    let id = engine.run(container("mine", &mine));
    engine.add_network("net", labels(&mine), &[id]);
    engine.add_volume("vol", labels(&mine));
    engine.add_volume("other", labels(&[("backend", "1")]));
    let scope = galaxy();
    let plan = build(&engine, &scope, "integration", None, &asker())
        .await
        .unwrap();
    let outcomes = carry_out(&engine, &scope, plan).await;
    let order: Vec<&str> = outcomes.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(order, ["mine", "net", "vol"]);
    assert!(
        outcomes
            .iter()
            .all(|(_, outcome)| *outcome == ItemOutcome::Removed),
        "{outcomes:?}"
    );
    let left = engine.volumes(&selector(&["backend"])).await.unwrap();
    assert_eq!(left.len(), 1);
}

#[tokio::test]
async fn a_network_that_somebody_else_uses_is_spared() {
    let engine = FakeEngine::new();
    let mine = [("backend", "1"), ("stack", "integration")];
    let id = engine.run(container("mine", &mine));
    let guest = engine.run(container(
        "guest",
        &[("backend", "1"), ("stack", "dev-deploy")],
    ));
    engine.add_network("net", labels(&mine), &[id, guest]);
    let plan = build(&engine, &galaxy(), "integration", None, &asker())
        .await
        .unwrap();
    assert_eq!(names(&plan.remove), ["mine"].into());
    let net = plan
        .spare
        .iter()
        .find(|spared| spared.item.name == "net")
        .unwrap();
    assert_eq!(
        net.reason,
        SpareReason::InUse {
            by: "guest".to_owned()
        }
    );
}

fn compose_scope(unique: bool) -> Scope {
    let selector = Selector::new(
        Condition::equals(COMPOSE_PROJECT, "shop"),
        [Condition::equals(COMPOSE_WORKING_DIR, "/work/shop")],
    );
    Scope {
        families: Vec::new(),
        stacks: vec![Stack {
            name: "shop".into(),
            claims: selector.into(),
            spawner: None,
            state_dirs: Vec::new(),
            protection: Protection::Removable,
            compose_project: Some(ComposeProject {
                name: "shop".to_owned(),
                unique,
            }),
            run_guard: None,
        }],
        group_by: None,
    }
}

#[tokio::test]
async fn a_compose_projects_network_is_ours_while_nobody_else_uses_the_name() {
    let engine = FakeEngine::new();
    let project = [(COMPOSE_PROJECT, "shop")];
    engine.run(container(
        "a",
        &[
            (COMPOSE_PROJECT, "shop"),
            (COMPOSE_WORKING_DIR, "/work/shop"),
        ],
    ));
    engine.add_network("shop_default", labels(&project), &[]);
    engine.add_volume("shop_data", labels(&project));
    let plan = build(&engine, &compose_scope(true), "shop", None, &asker())
        .await
        .unwrap();
    assert_eq!(
        names(&plan.remove),
        ["a", "shop_data", "shop_default"].into()
    );

    let other = [
        (COMPOSE_PROJECT, "shop"),
        (COMPOSE_WORKING_DIR, "/elsewhere/shop"),
    ];
    engine.run(container("b", &other));
    let plan = build(&engine, &compose_scope(true), "shop", None, &asker())
        .await
        .unwrap();
    assert_eq!(names(&plan.remove), ["a"].into());
    for spared in &plan.spare {
        let working_dir = "/elsewhere/shop".to_owned();
        assert_eq!(spared.reason, SpareReason::ForeignProject { working_dir });
    }
    assert_eq!(plan.spare.len(), 2);
}

#[tokio::test]
async fn what_was_made_anew_under_the_name_is_not_what_was_confirmed() {
    let engine = FakeEngine::new();
    let mine = [("backend", "1"), ("stack", "integration")];
    engine.add_volume("vol", labels(&mine));
    let scope = galaxy();
    let plan = build(&engine, &scope, "integration", None, &asker())
        .await
        .unwrap();
    engine.remove_volume("vol").await.unwrap();
    engine.advance(Duration::from_secs(5));
    engine.add_volume("vol", labels(&mine));
    let outcomes = carry_out(&engine, &scope, plan).await;
    let why = "it was made anew since".to_owned();
    assert_eq!(outcomes, [("vol".to_owned(), ItemOutcome::Changed { why })]);
}

fn any_labels() -> impl Strategy<Value = Labels> {
    let backend = proptest::option::of(Just("1"));
    let stack = proptest::option::of(proptest::sample::select(vec![
        "integration",
        "dev-deploy",
        "x",
    ]));
    (backend, stack).prop_map(|(backend, stack)| {
        let pairs = [("backend", backend), ("stack", stack)];
        pairs
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())))
            .collect()
    })
}

proptest! {
    #[test]
    fn a_plan_never_leaves_its_selector(all in proptest::collection::vec(any_labels(), 0..8)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let engine = FakeEngine::new();
            let ids: Vec<ContainerId> = all
                .iter()
                .enumerate()
                .map(|(index, labels)| {
                    let pairs: Vec<(&str, &str)> =
                        labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
                    engine.run(container(&format!("c{index}"), &pairs))
                })
                .collect();
            let scope = galaxy();
            let plan = build(&engine, &scope, "integration", None, &asker()).await.unwrap();
            let wanted = selector(&["backend=1", "stack=integration"]);
            carry_out(&engine, &scope, plan).await;
            for (id, labels) in ids.iter().zip(&all) {
                let survived = engine.container(id).is_some();
                assert_eq!(survived, !wanted.matches(labels), "{labels:?}");
            }
        });
    }
}

#[tokio::test]
async fn a_project_name_that_is_not_this_checkouts_alone_claims_only_what_is_in_use() {
    let engine = FakeEngine::new();
    let project = [(COMPOSE_PROJECT, "shop")];
    let ours = [
        (COMPOSE_PROJECT, "shop"),
        (COMPOSE_WORKING_DIR, "/work/shop"),
    ];
    let id = engine.run(container("a", &ours).mount(MountKind::Volume, "shop_data", "/data"));
    engine.add_network("shop_default", labels(&project), &[id]);
    engine.add_network("shop_other", labels(&project), &[]);
    engine.add_volume("shop_data", labels(&project));
    engine.add_volume("shop_neighbours", labels(&project));
    let plan = build(&engine, &compose_scope(false), "shop", None, &asker())
        .await
        .unwrap();
    assert_eq!(
        names(&plan.remove),
        ["a", "shop_data", "shop_default"].into()
    );
    let spared: Vec<(&str, &SpareReason)> = plan
        .spare
        .iter()
        .map(|spared| (spared.item.name.as_str(), &spared.reason))
        .collect();
    assert_eq!(
        spared,
        [
            ("shop_other", &SpareReason::ProjectNameOnly),
            ("shop_neighbours", &SpareReason::ProjectNameOnly),
        ]
    );
}

#[tokio::test]
async fn an_anonymous_volume_is_in_the_plan_of_its_container() {
    let engine = FakeEngine::new();
    let mine = [("backend", "1"), ("stack", "integration")];
    let anonymous = "0123456789abcdef".repeat(4);
    engine.run(
        container("mine", &mine)
            .mount(MountKind::Volume, &anonymous, "/var/lib/data")
            .mount(MountKind::Volume, "named", "/cache"),
    );
    let without = build(&engine, &galaxy(), "integration", None, &asker())
        .await
        .unwrap();
    assert_eq!(names(&without.remove), ["mine", &*anonymous].into());
    let outcomes = carry_out(&engine, &galaxy(), without).await;
    assert!(
        outcomes
            .iter()
            .all(|(_, outcome)| matches!(outcome, ItemOutcome::Removed | ItemOutcome::Gone))
    );
}

#[tokio::test]
async fn a_spawner_goes_before_what_it_spawned() {
    let engine = FakeEngine::new();
    let mine = [("backend", "1"), ("stack", "integration")];
    let ids: Vec<ContainerId> = ["a-engine", "b-engine"]
        .iter()
        .map(|name| engine.run(container(name, &mine)))
        .collect();
    let spawner = engine.run(container("z-backend", &mine).label("role", "backend"));
    let mut scope = galaxy();
    scope.stacks[0].spawner = Some(selector(&["role=backend"]));
    let plan = build(&engine, &scope, "integration", None, &asker())
        .await
        .unwrap();
    carry_out(&engine, &scope, plan).await;
    let removed: Vec<ContainerId> = engine
        .calls()
        .into_iter()
        .filter_map(|call| match call {
            Call::RemoveContainer(id) => Some(id),
            _ => None,
        })
        .collect();
    assert_eq!(removed.first(), Some(&spawner));
    assert_eq!(removed.len(), 1 + ids.len());
}

#[tokio::test]
async fn what_another_run_has_just_made_is_left_to_it_with_all_that_it_uses() {
    let engine = FakeEngine::new();
    let mut scope = galaxy();
    scope.stacks[0].run_guard = Some(RunGuard {
        label: "run".to_owned(),
        min_age: Duration::from_secs(600),
    });
    let mine = [("backend", "1"), ("stack", "integration")];
    let theirs = |name| container(name, &mine).label("run", "theirs");
    engine.run(theirs("old"));
    engine.advance(Duration::from_secs(700));
    let young = engine.run(theirs("young").mount(MountKind::Volume, "volume", "/data"));
    let plain = engine.run(container("plain", &mine));
    engine.add_network("net", labels(&mine), &[young, plain]);
    engine.add_volume("volume", labels(&mine));
    let stamped = [&mine[..], &[("run", "theirs")]].concat();
    engine.add_network("empty-net", labels(&stamped), &[]);
    engine.add_volume("empty-volume", labels(&stamped));
    engine.advance(Duration::from_secs(30));

    let at = Asker::by_hand(engine.now(), false);
    let plan = build(&engine, &scope, "integration", None, &at)
        .await
        .unwrap();
    assert_eq!(names(&plan.remove), ["old", "plain"].into());
    let spared: Vec<(&str, String)> = plan
        .spare
        .iter()
        .map(|spared| (&*spared.item.name, spared.reason.to_string()))
        .collect();
    let made = || "run theirs made it 30 s ago".to_owned();
    let used = || "young of another run uses it".to_owned();
    assert_eq!(
        spared,
        [
            ("young", made()),
            ("empty-net", made()),
            ("net", used()),
            ("empty-volume", made()),
            ("volume", used())
        ]
    );

    let any_age = Asker::by_hand(engine.now(), true);
    let plan = build(&engine, &scope, "integration", None, &any_age)
        .await
        .unwrap();
    assert!(plan.spare.is_empty(), "{plan:?}");
}

#[tokio::test]
async fn who_gives_up_keeps_what_was_not_begun() {
    let engine = FakeEngine::new();
    let mine = [("backend", "1"), ("stack", "integration")];
    let id = engine.run(container("mine", &mine));
    let scope = galaxy();
    let plan = build(&engine, &scope, "integration", None, &asker())
        .await
        .unwrap();
    let mut outcomes = 0;
    let grace = Duration::from_secs(1);
    let plan = confirmed(plan);
    execute(&engine, &scope, &plan, grace, &|| true, &mut |_, _| {
        outcomes += 1;
    })
    .await;
    assert_eq!(outcomes, 0);
    assert!(engine.container(&id).is_some());
}

#[tokio::test]
async fn a_plan_says_what_could_not_be_started_again() {
    let engine = FakeEngine::new();
    let bound = FakeContainer::new("engine-1")
        .label("backend", "1")
        .label("stack", "integration")
        .mount(MountKind::Bind, "/tmp/state-1", "/state");
    let id = engine.run(bound);
    engine.die(&id, 0);
    let whole = build(&engine, &galaxy(), "integration", None, &asker())
        .await
        .unwrap();
    assert_eq!(whole.remove[0].state.as_deref(), Some("exited"));
    engine.lose("/tmp/state-1");
    let broken = build(&engine, &galaxy(), "integration", None, &asker())
        .await
        .unwrap();
    assert_eq!(
        broken.remove[0].state.as_deref(),
        Some("exited, bind source gone")
    );
    assert_eq!(broken.fingerprint(), whole.fingerprint());
}
