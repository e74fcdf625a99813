//! Following logs on a real daemon.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt, TryStreamExt};
use tackroom::domain::container::Container;
use tackroom::domain::event::Action;
use tackroom::domain::id::ContainerId;
use tackroom::domain::line::{Channel, Mark, SourceId};
use tackroom::domain::scope::Scope;
use tackroom::engine::Tail;
use tackroom::engine::contract::{Spec, World};
use tackroom::engine::fake::Step;
use tackroom::logs::{FollowInput, FollowOptions, LogEvent, dump, follow, singly};
use tackroom::watch::{WatchEvent, WatchOptions, watch};
use tokio::sync::{mpsc, oneshot};

use crate::world::{Corner, Extra, Gate, bounded};

const EVERYTHING: FollowOptions = FollowOptions {
    tail: Tail::All,
    whole_groups: false,
    new_from_start: false,
    since: None,
    follow: true,
};

/// A follower that is fed by a watcher, as in the dashboard.
struct Followed {
    told: Pin<Box<dyn Stream<Item = LogEvent> + Send>>,
    inputs: Option<mpsc::Sender<FollowInput>>,
    feeder: tokio::task::JoinHandle<()>,
}

impl Followed {
    async fn new(world: &Corner, name: &str) -> Self {
        let (inputs, received) = mpsc::channel(64);
        let scope = Scope {
            families: vec![world.selector()],
            ..Scope::default()
        };
        let watched = watch(world.engine(), Arc::new(scope), WatchOptions::default());
        let feed = inputs.clone();
        let (ready, up) = oneshot::channel();
        let mut ready = Some(ready);
        let feeder = tokio::spawn(async move {
            let mut watched = Box::pin(watched);
            while let Some(event) = watched.next().await {
                let input = match event {
                    WatchEvent::Containers(rows) => FollowInput::Containers(rows),
                    WatchEvent::Engine(event) => FollowInput::Event(event),
                    WatchEvent::Link(_) => {
                        if let Some(ready) = ready.take() {
                            let _ = ready.send(());
                        }
                        continue;
                    }
                };
                if feed.send(input).await.is_err() {
                    return;
                }
            }
        });
        bounded(up).await.unwrap();
        let sources = BTreeSet::from([SourceId(name.into())]);
        inputs.send(FollowInput::Select(sources)).await.unwrap();
        Self {
            told: Box::pin(singly(follow(world.engine(), received, EVERYTHING))),
            inputs: Some(inputs),
            feeder,
        }
    }

    async fn expect(&mut self, wanted: &[&str]) {
        for wanted in wanted {
            let event = bounded(self.told.next()).await.expect("the stream ended");
            assert_eq!(text(&event), *wanted);
        }
    }

    /// What is told up to the end, after the inputs are closed.
    async fn close(mut self) -> Vec<String> {
        self.feeder.abort();
        let _ = self.feeder.await;
        self.inputs = None;
        bounded(self.told.map(|event| text(&event)).collect()).await
    }
}

fn text(event: &LogEvent) -> String {
    match event {
        LogEvent::Line { line, .. } => {
            let text = String::from_utf8_lossy(&line.bytes).into_owned();
            match line.channel {
                Channel::Out => text,
                Channel::Err => format!("err {text}"),
            }
        }
        LogEvent::Mark { mark, .. } => match mark {
            Mark::Exited { code, oom } => format!("-- exited {code:?} {oom}"),
            mark => format!("-- {mark:?}"),
        },
    }
}

fn named(world: &Corner, name: &str) -> Extra {
    Extra {
        name: Some(format!("{name}-{}", world.own_label().1)),
        ..Extra::default()
    }
}

async fn stop(world: &Corner, id: &ContainerId) {
    bounded(world.engine().stop(id, Duration::from_secs(30)))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_restart_is_followed_and_marked() {
    let Some(world) = Corner::made().await else {
        return;
    };
    let extra = named(&world, "restarted");
    let name = extra.name.clone().unwrap();
    let script = [
        Step::out("up\n"),
        Step::UntilStopped,
        Step::out("torn"),
        Step::Exit(3),
    ];
    let id = world.create_with(Spec::script(script), extra).await;
    world.start(&id).await;
    let mut followed = Followed::new(&world, &name).await;
    followed.expect(&["up"]).await;
    for _ in 0..3 {
        world.restart(&id).await;
        followed
            .expect(&["torn", "-- exited Some(3) false", "-- Restarted", "up"])
            .await;
    }
    stop(&world, &id).await;
    followed.expect(&["torn", "-- exited Some(3) false"]).await;
    assert_eq!(followed.close().await, [""; 0]);
}

#[tokio::test]
async fn another_container_of_the_name_is_followed() {
    let Some(world) = Corner::made().await else {
        return;
    };
    let extra = named(&world, "recreated");
    let name = extra.name.clone().unwrap();
    let script = |text: &str| Spec::script([Step::out(text), Step::UntilStopped, Step::Exit(0)]);
    let first = world.create_with(script("first\n"), extra.clone()).await;
    world.start(&first).await;
    let mut followed = Followed::new(&world, &name).await;
    followed.expect(&["first"]).await;
    stop(&world, &first).await;
    followed.expect(&["-- exited Some(0) false"]).await;
    bounded(world.engine().remove_container(&first))
        .await
        .unwrap();
    followed.expect(&["-- Removed"]).await;
    let second = world.create_with(script("second\n"), extra).await;
    world.start(&second).await;
    followed.expect(&["-- Recreated", "second"]).await;
    assert_eq!(followed.close().await, [""; 0]);
}

#[tokio::test]
async fn an_unterminated_last_line_is_there_every_time() {
    let Some(world) = Corner::made().await else {
        return;
    };
    let extra = named(&world, "torn");
    let name = extra.name.clone().unwrap();
    let script = [
        Step::out("whole\n"),
        Step::UntilStopped,
        Step::out("torn"),
        Step::Exit(0),
    ];
    let id = world.create_with(Spec::script(script), extra).await;
    world.start(&id).await;
    let mut followed = Followed::new(&world, &name).await;
    followed.expect(&["whole"]).await;
    for _ in 0..11 {
        stop(&world, &id).await;
        followed.expect(&["torn", "-- exited Some(0) false"]).await;
        world.start(&id).await;
        followed.expect(&["-- Restarted", "whole"]).await;
    }
    stop(&world, &id).await;
    followed.expect(&["torn", "-- exited Some(0) false"]).await;
}

#[tokio::test]
async fn a_long_line_is_one_line_with_and_without_a_terminal() {
    let Some(world) = Corner::made().await else {
        return;
    };
    let long = "x".repeat(40_000);
    for tty in [false, true] {
        let extra = named(&world, if tty { "tty" } else { "plain" });
        let name = extra.name.clone().unwrap();
        let script = [
            Step::out(&format!("{long}\n")),
            Step::out("short\n"),
            Step::UntilStopped,
        ];
        let spec = Spec {
            tty,
            ..Spec::script(script)
        };
        let id = world.create_with(spec, extra).await;
        world.start(&id).await;
        let mut followed = Followed::new(&world, &name).await;
        followed.expect(&[&long, "short"]).await;
        stop(&world, &id).await;
        followed.expect(&["-- exited Some(0) false"]).await;
    }
}

#[tokio::test]
async fn a_driver_that_keeps_nothing_is_said_to_be_unreadable() {
    let Some(world) = Corner::made().await else {
        return;
    };
    let gate = Gate::shut();
    let extra = Extra {
        gate: Some(gate.mount()),
        log_driver: Some("none".to_owned()),
        ..named(&world, "unreadable")
    };
    let name = extra.name.clone().unwrap();
    let steps = ["gate", "exit:0"].map(str::to_owned).to_vec();
    let id = world.create_raw(steps, Spec::default(), extra).await;
    world.start(&id).await;
    let mut followed = Followed::new(&world, &name).await;
    let mark = bounded(followed.told.next()).await.unwrap();
    assert!(text(&mark).starts_with("-- Unreadable"), "{mark:?}");
    gate.open().await;
    followed.expect(&["-- exited Some(0) false"]).await;
}

#[tokio::test]
async fn a_death_by_lack_of_memory_is_marked_though_the_engine_forgets_it() {
    let Some(world) = Corner::made().await else {
        return;
    };
    let gate = Gate::shut();
    let extra = Extra {
        memory: Some(16 << 20),
        restart_on_failure: Some(1),
        gate: Some(gate.mount()),
        ..named(&world, "eater")
    };
    let name = extra.name.clone().unwrap();
    let steps = ["out:hungry\n", "gate", "eat", "gate", "exit:137"];
    let steps = steps.map(str::to_owned).to_vec();
    let id = world.create_raw(steps, Spec::default(), extra).await;
    world.start(&id).await;
    let mut followed = Followed::new(&world, &name).await;
    followed.expect(&["hungry"]).await;
    gate.open().await;
    world.has_run_out_of_memory(&id).await;
    gate.open().await;
    followed
        .expect(&["-- exited Some(137) true", "-- Restarted", "hungry"])
        .await;
}

#[tokio::test]
async fn a_flood_is_followed_without_losing_a_line() {
    const LINES: usize = 50_000;
    let Some(world) = Corner::made().await else {
        return;
    };
    let gate = Gate::shut();
    let extra = Extra {
        gate: Some(gate.mount()),
        ..named(&world, "flood")
    };
    let name = extra.name.clone().unwrap();
    let steps = ["out:ready\n", "gate", &format!("many:{LINES}"), "exit:0"];
    let steps = steps.map(str::to_owned).to_vec();
    let id = world.create_raw(steps, Spec::default(), extra).await;
    world.start(&id).await;
    let mut followed = Followed::new(&world, &name).await;
    followed.expect(&["ready"]).await;
    gate.open().await;
    for number in 0..LINES {
        followed.expect(&[&number.to_string()]).await;
    }
    followed.expect(&["-- exited Some(0) false"]).await;
}

#[tokio::test]
async fn a_container_that_removes_itself_is_read_to_its_end() {
    const LINES: usize = 50_000;
    let Some(world) = Corner::made().await else {
        return;
    };
    let gate = Gate::shut();
    let extra = Extra {
        gate: Some(gate.mount()),
        passing: true,
        ..named(&world, "passing")
    };
    let name = extra.name.clone().unwrap();
    // What comes before a follow request stands is lost with a container that removes itself.
    let steps = [
        "out:ready\n",
        "gate",
        "out:followed\n",
        "gate",
        &format!("many:{LINES}"),
        "exit:3",
    ];
    let steps = steps.map(str::to_owned).to_vec();
    let id = world.create_raw(steps, Spec::default(), extra).await;
    let mut events = bounded(world.engine().events()).await.unwrap();
    world.start(&id).await;
    let mut followed = Followed::new(&world, &name).await;
    followed.expect(&["ready"]).await;
    gate.open().await;
    followed.expect(&["followed"]).await;
    gate.open().await;
    // Nobody takes a line before the container and its log are gone.
    loop {
        let event = bounded(events.next()).await.unwrap().unwrap();
        if event.container == id && event.action == Action::Destroyed {
            break;
        }
    }
    for number in 0..LINES {
        followed.expect(&[&number.to_string()]).await;
    }
    followed
        .expect(&["-- exited Some(3) false", "-- Removed"])
        .await;
}

#[tokio::test]
async fn a_dump_is_in_the_order_of_time() {
    let Some(world) = Corner::made().await else {
        return;
    };
    let mut containers: Vec<Container> = Vec::new();
    for name in ["one", "two"] {
        let script = [
            Step::out("begin\n"),
            Step::err("warn\n"),
            Step::UntilStopped,
            Step::out("end"),
        ];
        let id = world
            .create_with(Spec::script(script), named(&world, name))
            .await;
        world.start(&id).await;
        world.heard_of(&id).await;
        containers.push(world.engine().inspect(&id).await.unwrap().container);
    }
    for container in containers.iter().rev() {
        stop(&world, &container.id).await;
    }
    let events: Vec<LogEvent> =
        bounded(dump(&world.engine(), &containers, EVERYTHING).try_collect())
            .await
            .unwrap();
    assert_eq!(events.len(), 6);
    assert!(events.is_sorted_by_key(LogEvent::at), "{events:?}");
    let ends: Vec<&SourceId> = events[4..].iter().map(LogEvent::source).collect();
    let expected: Vec<SourceId> = containers
        .iter()
        .rev()
        .map(|container| SourceId(container.name.as_str().into()))
        .collect();
    assert_eq!(ends, expected.iter().collect::<Vec<_>>());
}
