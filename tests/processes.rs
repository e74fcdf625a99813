//! Real children under the supervisor: how they end, and that nothing of them outlives it.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what went wrong by panicking"
)]

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use support::{Place, Running, is_running, stat, state, wait_for};
use tackroom::domain::run::{Ending, Signal};
use tackroom::process::{
    CaptureLimits, Controller, Escaped, Finished, Phase, ProcessEvent, SpawnError, Spec, own_group,
    supervise,
};
use tokio::sync::mpsc;

fn script(text: &str) -> Spec {
    Spec {
        program: "/bin/bash".into(),
        args: vec!["-c".into(), text.into()],
        env: Vec::new(),
        dir: "/".into(),
        stdin: None,
        timeout: None,
        slow: None,
        grace: Duration::from_secs(60),
        settle: Duration::from_secs(1),
        escaped: Escaped::End,
        capture: CaptureLimits::default(),
        output_file: None,
    }
}

/// Runs a script to its end, doing `on_line` for each line that it prints.
async fn run(spec: Spec, controller: &Controller, mut on_line: impl FnMut(&str)) -> Finished {
    supervise(&spec, &controller.control(Phase::Work), |event| {
        if let ProcessEvent::Lines(lines) = event {
            lines
                .iter()
                .for_each(|line| on_line(&String::from_utf8_lossy(line)));
        }
    })
    .await
    .expect("the script starts")
}

async fn simple(text: &str) -> Finished {
    run(script(text), &Controller::default(), |_| {}).await
}

fn text(finished: &Finished) -> String {
    String::from_utf8(finished.output.text()).expect("text")
}

#[tokio::test]
async fn both_outputs_come_in_the_order_of_writing() {
    let finished = simple("echo a; echo b >&2; echo c; printf d >&2; exit 3").await;
    assert_eq!(finished.ending, Ending::Code(3));
    assert_eq!(text(&finished), "a\nb\nc\nd");
    assert!(!finished.left_processes && !finished.timed_out && !finished.stopped);
}

/// The news of its end and that of its last words come at the same moment, to any thread.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_short_lived_child_printed_is_never_lost() {
    let mut spec = script("");
    (spec.program, spec.args) = ("/bin/echo".into(), vec!["last words".into()]);
    for _ in 0..600 {
        let finished = run(spec.clone(), &Controller::default(), |_| {}).await;
        assert_eq!(text(&finished), "last words\n");
    }
}

#[tokio::test]
async fn stdin_is_empty_and_a_signal_is_told_from_a_code() {
    let finished = simple("read -r line && exit 9; kill -KILL $$").await;
    assert_eq!(finished.ending, Ending::Signal(9));
}

#[tokio::test]
async fn it_is_over_when_the_leader_is_and_what_it_left_is_ended() {
    let mut spec = script("sleep 600 & echo $!");
    spec.settle = Duration::ZERO;
    let finished = run(spec, &Controller::default(), |_| {}).await;
    assert_eq!(finished.ending, Ending::Code(0));
    assert!(finished.left_processes);
    assert!(!is_running(text(&finished).trim()));
}

#[tokio::test]
async fn a_child_that_is_only_finishing_its_output_is_not_left_behind() {
    let mut spec =
        script("exec > >(while read -r line; do echo \"<$line>\"; done); echo a; echo b");
    spec.settle = Duration::from_secs(60);
    let finished = run(spec, &Controller::default(), |_| {}).await;
    assert!(!finished.left_processes);
    assert_eq!(text(&finished), "<a>\n<b>\n");
}

/// Runs a script that makes the file `$0` when it is ready to be timed out, and is not before.
async fn time_out_when_ready(text: &str, grace: Duration) -> (Finished, Vec<Signal>) {
    let dir = tempfile::tempdir().expect("dir");
    let ready = dir.path().join("ready");
    let mut spec = script(text);
    spec.args.push(ready.clone().into());
    // The warning comes before the time-out, so whoever takes it holds the time-out up.
    spec.slow = Some(Duration::from_millis(1));
    spec.timeout = Some(Duration::from_millis(2));
    spec.grace = grace;
    let mut signals = Vec::new();
    let finished = supervise(
        &spec,
        &Controller::default().control(Phase::Work),
        |event| match event {
            ProcessEvent::Slow => {
                while !ready.exists() {
                    std::thread::yield_now();
                }
            }
            ProcessEvent::Stopping(signal) => signals.push(signal),
            ProcessEvent::Lines(_) | ProcessEvent::Part(_) => {}
        },
    )
    .await
    .expect("starts");
    (finished, signals)
}

#[tokio::test]
async fn a_time_out_goes_from_term_to_kill() {
    let stubborn = "trap '' TERM; touch \"$0\"; while :; do sleep 0.01; done";
    let (finished, signals) = time_out_when_ready(stubborn, Duration::from_millis(50)).await;
    assert!(finished.timed_out && !finished.stopped);
    assert_eq!(finished.ending, Ending::Signal(9));
    assert_eq!(signals[..2], [Signal::Terminate, Signal::Kill]);
}

#[tokio::test]
async fn a_script_that_obeys_term_may_clean_up() {
    let cleaning = "trap 'echo cleaned; exit 5' TERM; touch \"$0\"; while :; do sleep 0.01; done";
    let (finished, _) = time_out_when_ready(cleaning, Duration::from_secs(60)).await;
    assert!(finished.timed_out);
    assert_eq!(finished.ending, Ending::Code(5));
    assert!(text(&finished).ends_with("cleaned\n"));
}

#[tokio::test]
async fn what_a_script_that_was_timed_out_has_left_is_named() {
    let leaves = "trap 'exit 5' TERM; \
        setsid bash -c 'echo $$; touch \"$0\"; exec sleep 600 > /dev/null 2>&1' \"$0\" & \
        while :; do sleep 0.01; done";
    let (finished, _) = time_out_when_ready(leaves, Duration::from_secs(60)).await;
    assert!(finished.timed_out && finished.left_processes);
    // bash says which of its own was terminated, too.
    let printed = text(&finished);
    let left = Left(printed.lines().next().expect("a line").to_owned());
    let named: Vec<String> = finished
        .survivors
        .iter()
        .map(|survivor| survivor.pid.to_string())
        .collect();
    assert_eq!(named, [left.0.as_str()]);
    assert!(!is_running(&left.0));
}

/// Such as a client of compose that takes its stack down.
#[tokio::test]
async fn what_is_still_obeying_the_end_of_its_time_is_no_leak() {
    let obeying =
        "bash -c 'trap \"\" TERM; touch \"$0\"; while :; do sleep 0.01; done' \"$0\" & wait";
    let (finished, _) = time_out_when_ready(obeying, Duration::from_millis(50)).await;
    assert!(finished.timed_out && !finished.left_processes);
    assert_eq!(finished.survivors, []);
}

/// bash makes a background child ignore INT, so passing INT on is not enough.
#[tokio::test]
async fn a_cancelled_script_takes_its_background_children_along() {
    let controller = Controller::default();
    let mut background = String::new();
    let finished = run(script("sleep 600 & echo $!; wait"), &controller, |line| {
        background = line.to_owned();
        controller.press(Signal::Interrupt);
    })
    .await;
    assert!(finished.stopped && !finished.timed_out);
    assert!(!background.is_empty() && !is_running(&background));
}

#[tokio::test]
async fn a_second_request_kills_what_ignores_the_first() {
    let controller = Controller::default();
    let spec = script("trap '' INT TERM; echo ready; while :; do sleep 0.01; done");
    let mut signals = Vec::new();
    let finished = supervise(&spec, &controller.control(Phase::Work), |event| {
        match event {
            ProcessEvent::Lines(_) | ProcessEvent::Part(_) => {}
            ProcessEvent::Stopping(signal) => signals.push(signal),
            ProcessEvent::Slow => panic!("there is no such warning"),
        }
        if signals.len() < 2 {
            controller.press(Signal::Interrupt);
        }
    })
    .await
    .expect("starts");
    assert!(finished.stopped);
    assert_eq!(finished.ending, Ending::Signal(9));
    assert_eq!(signals[..2], [Signal::Interrupt, Signal::Kill]);
}

#[tokio::test]
async fn the_teardown_goes_on_after_the_first_request() {
    let controller = Controller::default();
    controller.press(Signal::Interrupt);
    let control = controller.control(Phase::Work).teardown();
    let finished = supervise(&script("exit 4"), &control, |_| {})
        .await
        .expect("starts");
    assert_eq!(
        (finished.ending, finished.stopped),
        (Ending::Code(4), false)
    );
}

#[tokio::test]
async fn a_pause_stops_the_children_and_lets_them_go_on() {
    let controller = Controller::default();
    let mut was_stopped = false;
    let finished = run(
        script("echo $$; while [ ! -e /proc/$$/none ]; do sleep 0.01; [ -n \"$done\" ] && exit 7; done & wait $!; exit 7"),
        &controller,
        |line| {
            let pid = line.to_owned();
            controller.pause(|| {
                // STOP is delivered asynchronously; the kernel says when it has been.
                while state(&pid).expect("alive") != 'T' {}
                was_stopped = true;
            });
            controller.press(Signal::Terminate);
        },
    )
    .await;
    assert!(was_stopped && finished.stopped);
}

#[tokio::test]
async fn slow_is_said_once_and_is_no_verdict() {
    let mut spec = script("while [ -z \"$(ls -A \"$0\")\" ]; do sleep 0.01; done");
    let dir = tempfile::tempdir().expect("dir");
    spec.args.push(dir.path().into());
    spec.slow = Some(Duration::from_millis(20));
    let mut slow = 0;
    let finished = supervise(
        &spec,
        &Controller::default().control(Phase::Work),
        |event| {
            if event == ProcessEvent::Slow {
                slow += 1;
                std::fs::write(dir.path().join("go"), "").expect("written");
            }
        },
    )
    .await
    .expect("starts");
    assert_eq!(
        (slow, finished.slow, finished.ending),
        (1, true, Ending::Code(0))
    );
}

#[tokio::test]
async fn a_flood_is_whole_on_disk_and_bounded_in_memory() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("log");
    let mut spec = script("head -c 20000000 /dev/zero | tr '\\0' x; echo; echo end");
    spec.output_file = Some(path.clone());
    let finished = run(spec, &Controller::default(), |_| {}).await;
    assert_eq!(size(&path), 20_000_005);
    let output = finished.output;
    assert!(output.tail.ends_with(b"x\nend\n"));
    let kept = (output.head.len() + output.tail.len()) as u64;
    assert_eq!(kept + output.cut, 20_000_005);
    assert!(kept <= 64 * 1024);
}

/// Runs a script whose first line begins with the number of a process that then prints without an
/// end, and gives that process the time to fill the pipe after each read: it is never found empty.
/// If this is still going on after many reads for which `is_due` was true, the test ends it
/// and fails.
async fn flood(
    spec: Spec,
    controller: &Controller,
    mut is_due: impl FnMut(&str) -> bool,
) -> (Finished, Vec<Signal>) {
    const LIMIT: usize = 2_000;
    let mut numbers: Option<String> = None;
    let mut overdue = 0;
    let mut signals = Vec::new();
    let finished = supervise(
        &spec,
        &controller.control(Phase::Work),
        |event| match event {
            ProcessEvent::Part(_) => {}
            ProcessEvent::Lines(lines) => {
                let Some(numbers) = &numbers else {
                    numbers = lines
                        .iter()
                        .next()
                        .map(|line| String::from_utf8_lossy(line).into_owned());
                    return;
                };
                overdue += usize::from(is_due(numbers));
                let writer = numbers.split(' ').next().expect("a number");
                // Asleep is one that waits for room in the pipe.
                while is_running(writer) && state(writer) != Some('S') {
                    std::thread::yield_now();
                }
                if overdue == LIMIT {
                    let _ =
                        rustix::process::kill_process(pid(writer), rustix::process::Signal::KILL);
                }
            }
            ProcessEvent::Stopping(signal) => signals.push(signal),
            ProcessEvent::Slow => {}
        },
    )
    .await
    .expect("the script starts");
    assert!(overdue < LIMIT, "nobody but the test has stopped it");
    (finished, signals)
}

const FLOOD: &str = r#"exec yes "$(printf %04095d 0)""#;

fn pid(number: &str) -> rustix::process::Pid {
    let number = number.parse().expect("a process number");
    rustix::process::Pid::from_raw(number).expect("a process number")
}

#[tokio::test]
async fn a_flood_does_not_hold_up_the_time_out() {
    let limit = Duration::from_millis(100);
    let mut spec = script(&format!("echo $$; {FLOOD}"));
    spec.timeout = Some(limit);
    let started = Instant::now();
    let (finished, signals) =
        flood(spec, &Controller::default(), |_| started.elapsed() > limit).await;
    assert!(finished.timed_out);
    assert_eq!(finished.ending, Ending::Signal(15));
    assert_eq!(signals[0], Signal::Terminate);
}

#[tokio::test]
async fn a_flood_that_was_left_behind_is_ended() {
    let dir = tempfile::tempdir().expect("dir");
    let flag = dir.path().join("flag");
    let mut spec = script(&format!(
        "(echo $BASHPID $$; {FLOOD}) & until [ -e \"$0\" ]; do :; done"
    ));
    spec.args.push(flag.clone().into());
    spec.settle = Duration::ZERO;
    let (finished, signals) = flood(spec, &Controller::default(), |numbers| {
        std::fs::write(&flag, "").expect("written");
        let leader = numbers.split(' ').nth(1).expect("two numbers");
        while is_running(leader) {
            std::thread::yield_now();
        }
        true
    })
    .await;
    assert_eq!(finished.ending, Ending::Code(0));
    assert!(finished.left_processes);
    assert_eq!(signals, [Signal::Terminate]);
}

#[tokio::test]
async fn requests_are_heard_while_a_flood_that_was_left_behind_may_settle() {
    let controller = Controller::default();
    let mut spec = script(&format!("(trap '' TERM; echo $BASHPID $$; {FLOOD}) &"));
    spec.settle = Duration::from_secs(600);
    spec.grace = Duration::from_secs(600);
    let (finished, signals) = flood(spec, &controller, |numbers| {
        let leader = numbers.split(' ').nth(1).expect("two numbers");
        while is_running(leader) {
            std::thread::yield_now();
        }
        controller.press(Signal::Interrupt);
        true
    })
    .await;
    assert_eq!(finished.ending, Ending::Code(0));
    assert!(!finished.left_processes, "it was not given its time");
    assert_eq!(signals.last(), Some(&Signal::Kill));
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).expect("a file").len()
}

#[tokio::test]
async fn dropping_the_supervisor_kills_the_group() {
    let (lines, mut line) = mpsc::unbounded_channel();
    let controller = Controller::default();
    let spec = script("sleep 600 & echo $!; wait");
    let control = controller.control(Phase::Work);
    let mut running = Box::pin(supervise(&spec, &control, move |event| {
        if let ProcessEvent::Lines(text) = event {
            for line in text.iter() {
                let _ = lines.send(String::from_utf8_lossy(line).into_owned());
            }
        }
    }));
    let pid = tokio::select! {
        _ = &mut running => panic!("it ended by itself"),
        pid = line.recv() => pid.expect("a line"),
    };
    drop(running);
    while is_running(&pid) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let mut spec = script("");
    spec.program = "/nowhere/at/all".into();
    let error = supervise(&spec, &Controller::default().control(Phase::Work), |_| {})
        .await
        .expect_err("there is no such program");
    assert!(matches!(error, SpawnError::Spawn { .. }));
    assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
}

/// Says in a file which process it is, and stays.
const STAYS: &str = "echo $BASHPID > .pid; mv .pid pid; exec sleep 600";
/// Waits for it.
const STARTED: &str = "until [ -e pid ]; do sleep 0.01; done";

/// Ends what a test that fails would leave.
struct Left(String);

impl Drop for Left {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(pid(&self.0), rustix::process::Signal::KILL);
    }
}

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
            "[harness]\nup = './up.sh'\ndown = './down.sh'\n",
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
        &format!(
            "setsid bash -c 'echo $$ > .pid; mv .pid pid; until [ -e go ]; do sleep 0.01; done; \
             echo more; echo said > said; exec sleep 600' &\n{STARTED}"
        ),
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

#[tokio::test]
async fn a_child_is_not_blamed_for_what_another_has_left() {
    let dir = tempfile::tempdir().expect("dir");
    let mut leaves = script("(setsid sleep 600 & echo $!); until [ -e go ]; do sleep 0.01; done");
    leaves.dir = dir.path().to_owned();
    leaves.settle = Duration::ZERO;
    let (lines, mut line) = mpsc::unbounded_channel();
    let controller = Controller::default();
    let running = run(leaves, &controller, |line| {
        let _ = lines.send(line.to_owned());
    });
    let beside = async {
        let left = Left(line.recv().await.expect("a line"));
        // Its parent has gone, and it is ours.
        wait_for("it is adopted", || {
            stat(&left.0, 1) == Some(std::process::id().to_string())
        });
        let finished = simple("exit 3").await;
        assert_eq!(finished.ending, Ending::Code(3));
        assert!(!finished.left_processes && is_running(&left.0));
        std::fs::write(dir.path().join("go"), "").expect("written");
        left
    };
    let (finished, left) = tokio::join!(running, beside);
    assert!(finished.left_processes && !is_running(&left.0));
    assert_eq!(finished.survivors[0].pid.to_string(), left.0);
}

/// Whoever reaps orphans must not take the ends of our own children.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reaping_orphans_costs_no_child_its_exit_code() {
    let orphans = tokio::spawn(async {
        for _ in 0..40 {
            let mut spec = script("(setsid true &); (setsid sleep 600 &)");
            spec.settle = Duration::ZERO;
            spec.grace = Duration::from_millis(50);
            run(spec, &Controller::default(), |_| {}).await;
        }
    });
    for _ in 0..120 {
        let finished = simple("exit 7").await;
        assert_eq!(finished.ending, Ending::Code(7));
        assert!(!finished.left_processes, "{:?}", finished.survivors);
    }
    orphans.await.expect("it ends");
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
