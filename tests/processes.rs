//! Children of a runner: how they end, and that nothing of them outlives it, however it ends itself.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what went wrong by panicking"
)]

mod support;

use std::path::Path;

use support::{Left, Place, Running, is_running, pid, stat, wait_for};
use tackroom::process::own_group;

/// Says in a file which process it is, and stays.
const STAYS: &str = "echo $BASHPID > .pid; mv .pid pid; exec sleep 600";
/// Waits until it is what it stays.
const STARTED: &str =
    "until [ -e pid ] && grep -qa ^sleep \"/proc/$(cat pid)/cmdline\"; do sleep 0.01; done";

fn of_file(place: &Place) -> Left {
    Left(place.read("pid").trim().to_owned())
}

/// A replay that leaves a process in this way is leaky and names it, the next one is not, and
/// nothing is left.
#[track_caller]
fn is_found(how: &str) {
    let place =
        Place::with_replays(&[("leaves", &format!("{how}\n{STARTED}")), ("next", "exit 0")]);
    let ended = place.tackroom(&["run", "--json", "--junit", "junit.xml"]);
    let left = of_file(&place);
    let ended = ended.code(0).err(&format!("process {}: ", left.0));
    let events = ended.json();
    let finished: Vec<_> = events
        .iter()
        .filter(|event| event["event"] == "replay_finished")
        .collect();
    let survivors = finished[0]["survivors"].as_array().expect("survivors");
    assert_eq!(survivors.len(), 1, "{survivors:?}");
    assert_eq!(survivors[0]["pid"].to_string(), left.0);
    let command = survivors[0]["command"].as_str().expect("a command line");
    assert!(command.contains("sleep 600"), "{command}");
    assert_eq!(finished[0]["leaky"], true);
    assert_eq!(finished[1]["leaky"], false);
    assert!(
        place
            .read("junit.xml")
            .contains(&format!("ended: process {}", left.0))
    );
    assert!(!is_running(&left.0));
}

#[test]
fn a_background_process_is_named_and_ended() {
    is_found(&format!("({STAYS}) &"));
}

#[test]
fn a_daemon_in_a_session_of_its_own_is_named_and_ended() {
    is_found(&format!("setsid bash -c '{STAYS}' > /dev/null 2>&1 &"));
}

#[test]
fn a_daemon_with_a_cleared_environment_is_named_and_ended() {
    is_found(&format!(
        "env -i PATH=\"$PATH\" setsid bash -c '({STAYS}) > /dev/null 2>&1 &'"
    ));
}

#[test]
fn a_daemon_that_ignores_term_is_killed() {
    let place = Place::with_replays(&[(
        "stubborn",
        &format!("setsid bash -c 'trap \"\" TERM; {STAYS}' > /dev/null 2>&1 &\n{STARTED}"),
    )]);
    place.write("tackroom.toml", "[replays]\ngrace = '50ms'\n");
    place.tackroom(&["run"]).code(0).err("sent KILL");
    assert!(!is_running(&of_file(&place).0));
}

/// What the user opens from the dashboard, and what that opens.
#[test]
fn what_carries_an_empty_mark_is_nobodys() {
    let place = Place::new();
    let escape = "env -i PATH=\"$PATH\" TACKROOM_CHILD= setsid bash -c 'echo $$ > .pid; mv .pid pid; exec sleep 600' > /dev/null 2>&1 &\n\
         until [ -e pid ]; do sleep 0.01; done";
    place.replay("a", escape);
    let ended = place.tackroom(&["run"]).code(0);
    let opened = of_file(&place);
    assert!(is_running(&opened.0), "{}", ended.transcript());
}

#[test]
fn what_up_has_started_lives_until_down_has_run() {
    for how in ["setsid", "env -i PATH=\"$PATH\" setsid"] {
        let place = Place::new();
        place.write(
            "tackroom.toml",
            // No stack is declared, so nobody needs an engine.
            "[engine]\nhost = 'unix:///nowhere/engine.sock'\n\
         [harness]\nup = './up.sh'\ndown = './down.sh'\n",
        );
        let start = format!("{how} bash -c '{STAYS}' > /dev/null 2>&1 &\n{STARTED}");
        place.script("up.sh", &start);
        place.script("down.sh", "kill -0 $(cat pid) && echo down > down");
        place.replay("a", "kill -0 $(cat pid)");
        place.replay("b", "kill -0 $(cat pid)");
        let ended = place.tackroom(&["run"]);
        let left = of_file(&place);
        ended.code(0).err(&format!(
            "left a process behind, which was ended: process {}",
            left.0
        ));
        assert_eq!(place.read("down"), "down\n");
        assert!(!is_running(&left.0));

        std::fs::remove_file(place.path("pid")).expect("removed");
        place.tackroom(&["run", "--keep-up"]).code(0);
        assert!(is_running(&of_file(&place).0), "it belongs to the harness");
    }
}

#[test]
fn what_up_has_started_may_go_on_writing_to_its_output() {
    let place = Place::new();
    place.write("tackroom.toml", "[harness]\nup = './up.sh'\n");
    place.script(
        "up.sh",
        "setsid bash -c 'echo $$ > .pid; mv .pid pid; until [ -e go ]; do sleep 0.01; done; \
         echo more; echo said > said; exec sleep 600' &\n\
         until [ -e pid ]; do sleep 0.01; done",
    );
    place.tackroom(&["up"]).code(0);
    let daemon = of_file(&place);
    place.write("go", "");
    wait_for("it has spoken or died of it", || {
        place.path("said").exists() || !is_running(&daemon.0)
    });
    assert!(is_running(&daemon.0), "nobody has read what it said");
}

/// A shell that has children of its own may become the runner, and those are nobody's leak.
#[test]
fn what_was_there_before_the_run_stays() {
    let place = Place::with_replays(&[("a", "exit 0")]);
    let mut command = std::process::Command::new("bash");
    let exe = env!("CARGO_BIN_EXE_tackroom");
    let before = format!("setsid bash -c '{STAYS}' > /dev/null 2>&1 &\n{STARTED}; exec {exe} run");
    command
        .args(["-c", &before])
        .current_dir(place.path("."))
        .env_clear()
        .envs(place.environment())
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let ended = Running::start(&mut command).end().code(0);
    let before = of_file(&place);
    assert!(is_running(&before.0) && !ended.stdout.contains("leaky"));
}

/// A harness whose hooks say in a file that they ran, and whose `down` then waits for a word.
fn guarded() -> Place {
    let place = Place::new();
    place.write(
        "tackroom.toml",
        "[harness]\nup = './up.sh'\ndown = './down.sh'\n",
    );
    place.script("up.sh", "echo up >> log");
    place.script(
        "down.sh",
        "echo \"down $TACKROOM_RUN_ID\" >> log; until [ -e go ] || [ ! -e down.sh ]; do sleep 0.01; done; echo went >> log",
    );
    place
}

/// What a step is to do until it is killed: two processes, of which one is out of reach.
const ENDLESS: &str = "setsid bash -c 'echo $$ > .pid; mv .pid pid; exec sleep 600' > /dev/null 2>&1 &\n\
     until [ -e pid ]; do sleep 0.01; done; echo \"pid $$\"; while :; do sleep 0.01; done";

fn started(place: &Place, args: &[&str]) -> Running {
    Running::start(&mut place.command(args))
}

fn has(place: &Place, file: &str, text: &str) -> bool {
    std::fs::read_to_string(place.path(file)).is_ok_and(|read| read.contains(text))
}

/// The event log of a run.
fn recorded(place: &Place, run: &str) -> Vec<serde_json::Value> {
    let environment = place.environment().into_iter();
    let mut state = environment.filter(|(name, _)| *name == "XDG_STATE_HOME");
    let state = state.next().expect("it is set").1;
    let pattern = format!("{state}/tackroom/*/runs/{run}/events.jsonl");
    let mut found = glob::glob(&pattern).expect("a pattern").flatten();
    let text = std::fs::read_to_string(found.next().expect("a log")).expect("it can be read");
    let lines = text.lines().map(serde_json::from_str);
    lines
        .collect::<Result<_, _>>()
        .expect("whole lines of JSON")
}

/// The runner is killed while this says what it is; then its guard ends what is left of it.
#[track_caller]
fn is_taken_over(place: &Place) {
    let mut running = started(place, &["run", "--json"]);
    let step = Left(running.value("pid"));
    let escaped = of_file(place);
    let guard = running.guard();
    running.signal(rustix::process::Signal::KILL);
    // Whoever reads the outputs of a run is not held up by what comes after it.
    let ended = running.end().died_of(rustix::process::Signal::KILL);
    let run = ended.json()[0]["run"].as_str().expect("a run").to_owned();
    wait_for("the harness is taken down by the same run", || {
        has(place, "log", &format!("down {run}"))
    });
    assert!(!is_running(&step.0) && !is_running(&escaped.0));
    let other = place.tackroom(&["run"]).code(5);
    assert!(other.stderr.contains(&guard), "{}", other.transcript());
    place.write("go", "");
    wait_for("the guard has gone", || !is_running(&guard));
    assert!(has(place, "log", "went"));
    // What the guard did is with what the run did, and the run stays one that broke off.
    let events = recorded(place, &run);
    let of = |name: &str| {
        let steps = events.iter().filter(|event| event["event"] == name);
        steps.filter(|event| event["step"] == "down").count()
    };
    assert_eq!((of("step_started"), of("step_finished")), (1, 1));
    let report = place.tackroom(&["report", &run]).code(0);
    assert!(
        report.stdout.contains("the run broke off"),
        "{}",
        report.transcript()
    );
    place.script("up.sh", "");
    place.replay("a", "exit 0");
    place.tackroom(&["run"]).code(0);
}

#[test]
fn a_runner_that_is_killed_in_a_replay_leaves_nothing() {
    let place = guarded();
    place.replay("a", ENDLESS);
    is_taken_over(&place);
}

#[test]
fn a_runner_that_is_killed_while_it_boots_leaves_nothing() {
    let place = guarded();
    place.script("up.sh", ENDLESS);
    place.replay("a", "exit 0");
    is_taken_over(&place);
}

#[test]
fn a_guard_does_not_wait_for_the_harness_to_end_what_its_runner_has_left() {
    let place = guarded();
    place.replay("a", ENDLESS);
    place.replay("b", "echo begun; until [ -e go ]; do sleep 0.01; done");
    let mut running = started(&place, &["run", "a"]);
    let step = Left(running.value("pid"));
    let guard = Left(running.guard());
    let signal = |name| rustix::process::kill_process(pid(&guard.0), name).expect("it is there");
    signal(rustix::process::Signal::STOP);
    running.signal(rustix::process::Signal::KILL);
    running.end().died_of(rustix::process::Signal::KILL);
    let mut next = started(&place, &["run", "b"]);
    next.until("begun");
    signal(rustix::process::Signal::CONT);
    wait_for("the guard has ended it", || !is_running(&step.0));
    place.write("go", "");
    next.end().code(0);
    wait_for("the guard has gone", || !is_running(&guard.0));
    let log = place.read("log");
    assert_eq!(log.matches("down").count(), 1, "{log}");
}

/// While it was killed nobody knew of it: its parent had gone, and its environment was cleared.
#[test]
fn a_daemon_without_an_environment_does_not_outlive_a_killed_runner() {
    let place = Place::with_replays(&[(
        "a",
        &format!(
            "env -i PATH=\"$PATH\" setsid bash -c '({STAYS}) > /dev/null 2>&1 &'\n{STARTED}\n\
             echo \"pid $$\"; while :; do sleep 0.01; done"
        ),
    )]);
    let mut running = started(&place, &["run"]);
    let step = Left(running.value("pid"));
    let (daemon, guard) = (of_file(&place), running.guard());
    wait_for("it is adopted", || {
        stat(&daemon.0, 1) == Some(running.pid().as_raw_nonzero().to_string())
    });
    running.signal(rustix::process::Signal::KILL);
    wait_for("the guard has gone", || !is_running(&guard));
    assert!(!is_running(&step.0) && !is_running(&daemon.0));
}

#[test]
fn a_guard_goes_by_what_stood_in_the_configuration_when_its_run_began() {
    let place = guarded();
    place.replay("a", ENDLESS);
    place.write("go", "");
    let mut running = started(&place, &["run"]);
    let step = Left(running.value("pid"));
    let (escaped, guard) = (of_file(&place), running.guard());
    place.write("tackroom.toml", "[harness]\nup = './ot");
    running.signal(rustix::process::Signal::KILL);
    wait_for("the guard has gone", || !is_running(&guard));
    assert!(!is_running(&step.0) && !is_running(&escaped.0));
    assert!(has(&place, "log", "went"), "it was taken down");
}

#[test]
fn a_harness_that_is_to_stay_up_outlives_its_runner_without_its_processes() {
    for keep_up in ["--keep-up", "--keep-up=failed", "--no-up"] {
        let place = guarded();
        place.replay("a", ENDLESS);
        let mut running = started(&place, &["run", keep_up]);
        let step = Left(running.value("pid"));
        let (escaped, guard) = (of_file(&place), running.guard());
        running.signal(rustix::process::Signal::KILL);
        wait_for("the guard has gone", || !is_running(&guard));
        assert!(!is_running(&step.0) && !is_running(&escaped.0));
        assert!(!has(&place, "log", "down"), "{keep_up}");
    }
}

#[test]
fn a_guard_is_out_of_reach_and_goes_with_its_run() {
    let place = guarded();
    place.write("go", "");
    place.replay(
        "a",
        "echo \"pid $$\"; until [ -e done ]; do sleep 0.01; done",
    );
    let mut running = started(&place, &["run"]);
    running.value("pid");
    let guard = running.guard();
    // Where a group has no number here, none can be joined to leave its own for a session.
    let apart = match own_group() {
        Some(_) => 3,
        None => 2,
    };
    wait_for("it is in a session of its own", || {
        stat(&guard, apart).as_ref() == Some(&guard)
    });
    for signal in [
        rustix::process::Signal::INT,
        rustix::process::Signal::TERM,
        rustix::process::Signal::HUP,
    ] {
        rustix::process::kill_process(pid(&guard), signal).expect("it is there");
    }
    for file in ["1", "2"] {
        let output = std::fs::read_link(format!("/proc/{guard}/fd/{file}"));
        assert_eq!(output.expect("open"), Path::new("/dev/null"));
    }
    place.write("done", "");
    assert!(is_running(&guard));
    running.end().code(0);
    assert!(!is_running(&guard));
    assert_eq!(place.read("log").matches("down").count(), 1);
    let state = place
        .environment()
        .into_iter()
        .find(|(name, _)| *name == "XDG_STATE_HOME");
    let state = state.expect("it is set").1;
    let said = glob::glob(&format!("{state}/**/guard.log")).expect("a pattern");
    assert_eq!(said.count(), 0, "it had nothing to do");
}
