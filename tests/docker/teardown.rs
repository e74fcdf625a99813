//! Teardowns whose outcome depends on what a real daemon says about networks, and when.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tackroom::config;
use tackroom::domain::exit::Exit;
use tackroom::domain::id::ContainerId;
use tackroom::domain::label::Labels;
use tackroom::domain::run::{RunEventKind, Summary};
use tackroom::domain::scope::Asker;
use tackroom::engine::ErrorKind;
use tackroom::engine::contract::{Spec, World};
use tackroom::engine::fake::Step;
use tackroom::harness::{Consent, Harness, Request, Teardown};
use tackroom::process::Controller;
use tackroom::record::Store;

use crate::world::Corner;

/// The stack `own` of a corner of the daemon; who is not of it is still in the family.
struct Stack {
    corner: Corner,
    harness: Harness,
    _dir: tempfile::TempDir,
}

impl Stack {
    async fn made(keys: &str) -> Option<Self> {
        let corner = Corner::made().await?;
        let dir = tempfile::tempdir().unwrap();
        let (key, value) = corner.own_label();
        let text = format!(
            "[family]\nlabels = ['{key}={value}']\n\
             [[stack]]\nname = 'own'\nlabels = ['{key}={value}', 'own=1']\n\
             teardown = true\n{keys}\n[harness]\nstack = 'own'\n"
        );
        let file = dir.path().join(config::FILE_NAME);
        std::fs::write(&file, text).unwrap();
        let harness = Harness {
            config: Arc::new(config::load(&file).unwrap()),
            engine: corner.engine(),
            store: Some(Store::at(dir.path().join("state"))),
            guard: None,
        };
        Some(Self {
            corner,
            harness,
            _dir: dir,
        })
    }

    /// A container that runs until it is asked to stop, and has said that it listens.
    async fn run(&self, labels: &[(&str, &str)]) -> ContainerId {
        let script = [Step::out("ready\n"), Step::UntilStopped, Step::Exit(0)];
        let spec = Spec {
            labels: self::labels(labels),
            ..Spec::script(script)
        };
        let id = self.corner.create(spec).await;
        self.corner.start(&id).await;
        self.corner.heard_of(&id).await;
        id
    }

    async fn is_there(&self, id: &ContainerId) -> bool {
        match self.corner.engine().inspect(id).await {
            Ok(_) => true,
            Err(error) if error.kind == ErrorKind::NotFound => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// How many networks of the stack there are.
    async fn networks(&self) -> usize {
        let engine = self.corner.engine();
        let networks = engine.networks(&self.corner.selector()).await;
        networks.unwrap().len()
    }

    /// Carries out a plan, and gives each of those that were said on the way.
    async fn take_down(&self, request: Request) -> (Summary, Vec<Vec<String>>) {
        let mut session = self.harness.start(request, Controller::default());
        let (mut summary, mut plans) = (Summary::default(), Vec::new());
        while let Some(event) = session.events.next().await {
            if let RunEventKind::Planned(plan) = &event.kind {
                plans.push(plan.remove.iter().map(|item| item.id.clone()).collect());
            }
            summary.fold(&event);
        }
        (summary, plans)
    }

    async fn confirmed(&self, consent: Consent) -> Request {
        let by_hand = Asker::by_hand(Timestamp::now(), false);
        let plan = self.harness.plan("own", &by_hand).await.unwrap();
        let fingerprint = plan.fingerprint();
        let plans = vec![plan.confirm(&fingerprint).unwrap()];
        Request {
            teardown: Teardown::Confirmed(plans, consent),
            ..Request::nothing()
        }
    }
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn down(any_age: bool) -> Request {
    Request {
        teardown: Teardown::Always,
        any_age,
        ..Request::nothing()
    }
}

/// More than any of these containers takes to end.
const GRACE: Duration = Duration::from_secs(30);
const OWN: &[(&str, &str)] = &[("own", "1")];

#[tokio::test]
async fn what_came_after_the_plan_goes_by_consent_to_the_stack_and_stays_without() {
    let Some(stack) = Stack::made("").await else {
        return;
    };
    let seen = stack.run(OWN).await;
    let request = stack.confirmed(Consent::Plan).await;
    let late = stack.run(OWN).await;
    let (summary, _) = stack.take_down(request).await;
    assert_eq!(Exit::of(&summary), Exit::LeftBehind, "{summary:?}");
    assert_eq!(summary.left_behind[0].id, late.as_str());
    assert!(!stack.is_there(&seen).await && stack.is_there(&late).await);

    let request = stack.confirmed(Consent::Stack).await;
    let later = stack.run(OWN).await;
    let (summary, plans) = stack.take_down(request).await;
    assert_eq!(Exit::of(&summary), Exit::Ok, "{summary:?}");
    assert_eq!(plans, [[later.as_str()]]);
    assert!(!stack.is_there(&late).await && !stack.is_there(&later).await);
}

#[tokio::test]
async fn a_network_stays_for_who_is_on_it_running_or_not() {
    let Some(stack) = Stack::made("").await else {
        return;
    };
    let guest = stack.run(&[]).await;
    let network = stack.corner.network(labels(OWN), &guest).await;
    let (summary, _) = stack.take_down(down(false)).await;
    assert_eq!(Exit::of(&summary), Exit::LeftBehind, "{summary:?}");
    assert_eq!(summary.left_behind[0].id, network);

    // The daemon would let it go now, and the guest would never start again.
    let engine = stack.corner.engine();
    engine.stop(&guest, GRACE).await.unwrap();
    let (summary, _) = stack.take_down(down(false)).await;
    assert_eq!(Exit::of(&summary), Exit::LeftBehind, "{summary:?}");
    assert_eq!(stack.networks().await, 1);

    engine.remove_container(&guest).await.unwrap();
    let (summary, _) = stack.take_down(down(false)).await;
    assert_eq!(Exit::of(&summary), Exit::Ok, "{summary:?}");
    assert_eq!(stack.networks().await, 0);
}

#[tokio::test]
async fn a_neighbours_run_keeps_what_it_has_just_made() {
    let Some(stack) = Stack::made("run_label = 'run'\nmin_age = '1h'").await else {
        return;
    };
    let unstamped = stack.run(OWN).await;
    let theirs = stack.run(&[("own", "1"), ("run", "theirs")]).await;
    stack.corner.network(labels(OWN), &theirs).await;
    let (summary, _) = stack.take_down(down(false)).await;
    assert_eq!(Exit::of(&summary), Exit::Ok, "{summary:?}");
    assert!(!stack.is_there(&unstamped).await && stack.is_there(&theirs).await);
    assert_eq!(stack.networks().await, 1);

    let (summary, _) = stack.take_down(down(true)).await;
    assert_eq!(Exit::of(&summary), Exit::Ok, "{summary:?}");
    assert!(!stack.is_there(&theirs).await);
    assert_eq!(stack.networks().await, 0);
}
