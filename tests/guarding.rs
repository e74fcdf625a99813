//! A runner that is killed, and the containers that it has booted.
//!
//! Not in one process with tests that run children themselves: those would adopt what such a runner
//! leaves.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says what went wrong by panicking"
)]

mod support;
#[path = "docker/world.rs"]
mod world;

use std::path::PathBuf;

use rustix::process::{Pid, Signal, kill_process};
use tackroom::engine::contract::World;

use support::{Place, Running, is_running, wait_for};
use world::{Corner, bounded};

/// A harness of one container. Its engine is reached by a link that can be removed.
struct Guarded {
    corner: Corner,
    place: Place,
    socket: PathBuf,
}

impl Guarded {
    async fn made() -> Option<Self> {
        let corner = Corner::made().await?;
        let endpoint = corner.engine().info().await.unwrap().endpoint;
        let socket = endpoint.strip_prefix("unix://").expect("a local engine");
        let guarded = Self {
            socket: PathBuf::from(socket),
            place: Place::new(),
            corner,
        };
        let (key, value) = guarded.corner.own_label();
        let link = guarded.link();
        guarded.place.write(
            "tackroom.toml",
            format!(
                "[engine]\nhost = 'unix://{link}'\n\
                 [[stack]]\nname = 's'\nlabels = ['{key}={value}']\nteardown = true\n\
                 [harness]\nstack = 's'\nup = './up.sh'\nenv = {{ DOCKER_HOST = '{endpoint}' }}\n",
                link = link.display(),
            ),
        );
        guarded.connect();
        Some(guarded)
    }

    fn link(&self) -> PathBuf {
        self.place.path("engine.sock")
    }

    fn connect(&self) {
        std::os::unix::fs::symlink(&self.socket, self.link()).unwrap();
    }

    /// Boots the container, and does this then.
    fn up(&self, then: &str) {
        let (key, value) = self.corner.own_label();
        let image = self.corner.image();
        let boot = format!(
            "docker run -d --network none --label '{key}={value}' --entrypoint /fixture \
             '{image}' out:up term > /dev/null\n{then}"
        );
        self.place.script("up.sh", &boot);
    }

    /// Starts a run, and kills the runner when a step has said which process it is.
    fn kill_the_runner(&self) -> String {
        self.kill_the_runner_after(|_| {})
    }

    fn kill_the_runner_after(&self, before: impl FnOnce(&Running)) -> String {
        let mut running = Running::start(&mut self.place.command(&["run"]));
        let step = running.value("pid");
        before(&running);
        running.signal(Signal::KILL);
        running.end().died_of(Signal::KILL);
        step
    }

    async fn containers(&self) -> usize {
        let selector = self.corner.selector();
        self.corner.engine().list(&selector).await.unwrap().len()
    }

    async fn is_taken_down(&self, step: &str) {
        wait_for("the step has been ended", || !is_running(step));
        let gone = async {
            while self.containers().await > 0 {
                tokio::task::yield_now().await;
            }
        };
        bounded(gone).await;
    }

    fn guard_says(&self, words: &str) -> bool {
        let pattern = format!("{}/**/guard.log", self.place.state());
        let logs = glob::glob(&pattern).unwrap();
        logs.flatten()
            .any(|log| std::fs::read_to_string(log).is_ok_and(|text| text.contains(words)))
    }
}

const ENDLESS: &str = "echo \"pid $$\"; while :; do sleep 0.01; done";

#[tokio::test]
async fn the_guard_of_a_killed_runner_takes_its_containers_down() {
    let Some(guarded) = Guarded::made().await else {
        return;
    };
    guarded.up("");
    guarded.place.replay("a", ENDLESS);
    let step = guarded.kill_the_runner();
    guarded.is_taken_down(&step).await;
}

#[tokio::test]
async fn also_where_the_runner_was_killed_while_it_booted_them() {
    let Some(guarded) = Guarded::made().await else {
        return;
    };
    guarded.up(ENDLESS);
    guarded.place.replay("a", "exit 0");
    let step = guarded.kill_the_runner();
    guarded.is_taken_down(&step).await;
}

#[tokio::test]
async fn also_where_the_harness_has_left_the_checkout() {
    let Some(guarded) = Guarded::made().await else {
        return;
    };
    guarded.up("");
    let file = guarded.place.path("tackroom.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text + "down = './up.sh'\ndir = 'harness'\n";
    std::fs::write(&file, text).unwrap();
    let dir = guarded.place.path("harness");
    std::fs::create_dir(&dir).unwrap();
    std::fs::rename(guarded.place.path("up.sh"), dir.join("up.sh")).unwrap();
    let gone = format!("rm -r harness tackroom.toml; {ENDLESS}");
    guarded.place.replay("a", &gone);
    let step = guarded.kill_the_runner();
    guarded.is_taken_down(&step).await;
}

#[tokio::test]
async fn a_guard_waits_for_an_engine_that_is_away() {
    let Some(guarded) = Guarded::made().await else {
        return;
    };
    guarded.up("");
    let cut = format!("rm '{}'; {ENDLESS}", guarded.link().display());
    guarded.place.replay("a", &cut);
    let step = guarded.kill_the_runner();
    wait_for("the guard says so", || guarded.guard_says("asked again"));
    assert_eq!(guarded.containers().await, 1);
    guarded.connect();
    guarded.is_taken_down(&step).await;
}

#[tokio::test]
async fn what_another_run_has_booted_since_is_not_the_guards() {
    let Some(guarded) = Guarded::made().await else {
        return;
    };
    guarded.up("");
    guarded.place.replay("a", ENDLESS);
    let mut guard = String::new();
    guarded.kill_the_runner_after(|running| {
        guard = running.guard();
        send(&guard, Signal::STOP);
    });
    guarded.place.tackroom(&["up"]).code(0);
    send(&guard, Signal::CONT);
    wait_for("the guard has gone", || !is_running(&guard));
    assert!(guarded.guard_says("is left to run"));
    assert!(guarded.containers().await > 0);
    guarded.place.tackroom(&["down"]).code(0);
    assert_eq!(guarded.containers().await, 0);
}

fn send(pid: &str, signal: Signal) {
    let pid = pid.parse().ok().and_then(Pid::from_raw).expect("a number");
    kill_process(pid, signal).expect("it is there");
}
