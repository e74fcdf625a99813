//! Children under the supervisor, in this process: how they end, and that nothing of them outlives it.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what went wrong by panicking"
)]

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use support::{Left, is_running, pid, stat, state, wait_for};
use tackroom::domain::run::{Ending, Signal};
use tackroom::process::{
    CaptureLimits, Controller, Escaped, Finished, Phase, ProcessEvent, SpawnError, Spec, supervise,
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
