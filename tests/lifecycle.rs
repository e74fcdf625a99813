//! Hooks, replays and signals together: the binary runs a harness of small scripts. No engine is
//! needed, because the harness declares no stack.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says what went wrong by panicking"
)]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::time::{Duration, Instant};

use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use rustix::process::Signal;
use support::{Place, Running, is_running, state, wait_for};

/// A harness whose hooks say in a file that they ran.
fn harness() -> Place {
    let place = Place::new();
    place.write(
        "tackroom.toml",
        "[harness]\ndir = 'harness'\nup = './up.sh'\nseed = './seed.sh'\ndown = './down.sh'\n\
         env_files = ['.up.env', '.seed.env']\nenv = { FROM_CONFIG = 'config' }\n\
         [replays]\ngrace = '30s'\n",
    );
    for hook in ["up", "seed", "down"] {
        place.script(
            &format!("harness/{hook}.sh"),
            &format!("echo {hook} >> ../log"),
        );
    }
    place
}

/// What ran, in its order.
fn log(place: &Place) -> Vec<String> {
    place.read("log").lines().map(str::to_owned).collect()
}

#[test]
fn a_run_is_up_seed_replays_down() {
    let place = harness();
    place.replay("a", "echo a >> log");
    place.replay("b", "echo b >> log; exit 1");
    place.tackroom(&["run"]).code(1);
    assert_eq!(log(&place), ["up", "seed", "a", "b", "down"]);
}

#[test]
fn each_step_can_be_had_alone() {
    let place = harness();
    place.replay("a", "echo a >> log");
    for (command, ran) in [
        (&["up"][..], "up"),
        (&["seed"], "seed"),
        (&["run", "--no-up"], "a"),
        (&["down"], "down"),
    ] {
        place.tackroom(command).code(0);
        assert_eq!(log(&place).last().map(String::as_str), Some(ran));
    }
    assert_eq!(log(&place), ["up", "seed", "a", "down"]);
}

#[test]
fn steps_know_where_they_are_and_what_came_before() {
    let place = harness();
    let show = r#"echo "$PWD|$(wc -c)|$CI|$TACKROOM|$FROM_CONFIG|$FROM_UP|$FROM_SEED|$REBUILD""#;
    place.script(
        "harness/up.sh",
        &format!("{show} > up; echo FROM_UP=1 > .up.env"),
    );
    place.script(
        "harness/seed.sh",
        &format!("{show} > seed; echo 'export FROM_SEED=\"two words\"' > .seed.env"),
    );
    place.script("harness/down.sh", &format!("{show} > down"));
    place.replay(
        "it",
        &format!(
            "{show} > it\necho \"$TACKROOM_RUN_ID\" > id\necho \"$TACKROOM_REPLAY\" >> id\n\
             echo \"$TACKROOM_ATTEMPT\" >> id\necho kept > \"$TACKROOM_ARTIFACTS/file\"\n\
             echo \"$TACKROOM_ARTIFACTS\" >> id"
        ),
    );
    let mut command = place.command(&["run", "--rebuild", "--json"]);
    command.env("CI", "true");
    let ended = Running::start(&mut command).end().code(0);
    let root = place
        .path("")
        .to_string_lossy()
        .trim_end_matches('/')
        .to_owned();
    let seen = |file: &str| place.read(file).replace(&root, "~");
    assert_eq!(seen("harness/up"), "~/harness|0|true|1|config|||1\n");
    assert_eq!(seen("harness/seed"), "~/harness|0|true|1|config|1||1\n");
    assert_eq!(seen("it"), "~|0|true|1|config|1|two words|1\n");
    assert_eq!(
        seen("harness/down"),
        "~/harness|0|true|1|config|1|two words|1\n"
    );

    let id = place.read("id");
    let [run, replay, attempt, artifacts] = id.lines().collect::<Vec<_>>()[..] else {
        panic!("{id}");
    };
    assert_eq!((replay, attempt), ("it", "1"));
    assert_eq!(ended.json()[0]["run"], run);
    let kept = std::fs::read_to_string(std::path::Path::new(artifacts).join("file"));
    assert_eq!(kept.expect("artifacts outlive the run"), "kept\n");
}

#[test]
fn a_boot_that_fails_is_3_and_is_taken_down() {
    let place = harness();
    place.replay("a", "echo a >> log");
    place.script("harness/up.sh", "echo up >> ../log; echo no disk; exit 9");
    place
        .tackroom(&["run", "--junit", "report.xml"])
        .code(3)
        .err("│ no disk")
        .err("up failed")
        .err("exit 9")
        .out("1 not run");
    assert_eq!(log(&place), ["up", "down"]);
    assert!(place.read("report.xml").contains("not run"));
    // Alone it is left for whoever wants to look at it.
    place.tackroom(&["up"]).code(3);
    assert_eq!(log(&place), ["up", "down", "up"]);
}

#[test]
fn a_seed_that_fails_is_3_and_is_taken_down() {
    let place = harness();
    place.replay("a", "echo a >> log");
    place.script("harness/seed.sh", "echo seed >> ../log; exit 1");
    place.tackroom(&["run"]).code(3).err("seed failed");
    assert_eq!(log(&place), ["up", "seed", "down"]);
}

#[test]
fn a_hook_that_cannot_start_is_told_with_a_way_out() {
    let place = harness();
    place.replay("a", "echo a >> log");
    place.write("harness/up.sh", "#!/bin/sh\n");
    place.tackroom(&["run"]).code(3).err("chmod +x");
    assert_eq!(log(&place), ["down"]);
    std::fs::remove_file(place.path("harness/up.sh")).unwrap();
    place.tackroom(&["run"]).code(3).err("up.sh: No such file");
}

#[test]
fn a_teardown_that_fails_is_6_and_never_hides_a_failure() {
    let place = harness();
    place.replay("passes", "exit 0");
    place.replay("fails", "exit 1");
    place.script("harness/down.sh", "exit 1");
    place
        .tackroom(&["run", "passes"])
        .code(6)
        .err("down failed");
    place.tackroom(&["run"]).code(1).err("down failed");
    place.tackroom(&["down"]).code(6);
}

/// Starts a replay that goes on for ever with a child in the background, and one after it.
fn endless() -> (Place, Running, [String; 2]) {
    let place = harness();
    place.replay("1-passes", "exit 0");
    place.replay(
        "2-endless",
        "sleep 600 & echo \"child $!\"; echo \"leader $$\"; wait; sleep 600",
    );
    place.replay("3-later", "echo later >> log");
    let mut running = Running::start(&mut place.command(&["run", "--junit", "report.xml"]));
    let pids = [running.value("child"), running.value("leader")];
    (place, running, pids)
}

#[test]
fn a_signal_in_a_replay_is_followed_by_the_teardown_and_then_died_of() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT] {
        let (place, running, pids) = endless();
        assert!(pids.iter().all(|pid| is_running(pid)));
        running.signal(signal);
        running
            .end()
            .died_of(signal)
            .err("interrupted by")
            .out("1 passed, 1 aborted, 1 not run");
        assert_eq!(log(&place), ["up", "seed", "down"]);
        assert!(!pids.iter().any(|pid| is_running(pid)), "{pids:?}");
        let report = place.read("report.xml");
        assert!(report.ends_with("</testsuites>\n") && report.contains("name=\"3-later\""));
    }
}

#[test]
fn a_signal_in_the_boot_is_followed_by_the_teardown_and_then_died_of() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        for command in ["run", "up"] {
            let place = harness();
            place.replay("a", "echo a >> log");
            place.script(
                "harness/up.sh",
                "echo up >> ../log; sleep 600 & echo \"child $!\"; wait; echo more >> ../log",
            );
            let mut running = Running::start(&mut place.command(&[command]));
            let child = running.value("child");
            running.signal(signal);
            running.end().died_of(signal).err("up cut off");
            // Without a declared stack nobody can tell whether `up` found it there: it is left.
            let took_down = log(&place).contains(&"down".to_owned());
            assert_eq!(took_down, command == "run", "{command}");
            assert!(!is_running(&child));
        }
    }
}

#[test]
fn further_signals_of_a_program_hurry_and_skip_nothing() {
    let place = harness();
    place.replay(
        "stubborn",
        "trap 'echo got INT' INT; trap '' TERM; echo armed; while :; do sleep 0.01; done",
    );
    place.script(
        "harness/down.sh",
        "echo begun; until [ -e ../go ]; do sleep 0.01; done; echo down >> ../log",
    );
    let mut running = Running::start(&mut place.command(&["run"]));
    running.until("armed");
    running.signal(Signal::INT);
    running.until("got INT");
    running.signal(Signal::TERM);
    running.until("sent TERM");
    running.until("sent KILL");
    running.until("begun");
    running.signal(Signal::TERM);
    running.signal(Signal::INT);
    running.signal(Signal::HUP);
    place.write("go", "");
    running.end().died_of(Signal::INT);
    assert_eq!(log(&place), ["up", "seed", "down"]);
}

/// The binary at a terminal of its own.
struct Terminal {
    child: Box<dyn portable_pty::Child + Send + Sync>,
    lines: BufReader<Box<dyn std::io::Read + Send>>,
    keys: Box<dyn Write + Send>,
    said: String,
}

impl Terminal {
    fn start(place: &Place, args: &[&str]) -> Self {
        let pair = native_pty_system()
            .openpty(PtySize::default())
            .expect("a terminal");
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_tackroom"));
        command.args(args);
        command.env_clear();
        for (name, value) in place.environment() {
            command.env(name, value);
        }
        command.env("TERM", "xterm");
        command.cwd(place.path(""));
        let child = {
            let _guard = support::starting();
            pair.slave.spawn_command(command).expect("it starts")
        };
        drop(pair.slave);
        Self {
            child,
            lines: BufReader::new(pair.master.try_clone_reader().expect("a reader")),
            keys: pair.master.take_writer().expect("a writer"),
            said: String::new(),
        }
    }

    fn until(&mut self, part: &str) {
        loop {
            let mut line = String::new();
            // A terminal whose last process has gone gives an error instead of an end.
            if self.lines.read_line(&mut line).unwrap_or(0) == 0 {
                panic!("it never said {part:?}, but:\n{}", self.said);
            }
            self.said.push_str(&line);
            if line.contains(part) {
                return;
            }
        }
    }

    fn type_in(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("typed");
        self.keys.flush().expect("typed");
    }

    fn end(mut self) -> portable_pty::ExitStatus {
        let mut line = String::new();
        while self.lines.read_line(&mut line).is_ok_and(|read| read > 0) {}
        self.child.wait().expect("it ends")
    }
}

#[test]
fn the_second_ctrl_c_at_a_terminal_kills_and_the_teardown_still_runs() {
    let place = harness();
    place.replay(
        "stubborn",
        "trap 'echo \"caught it\"' INT TERM; echo \"pid $$\"; while :; do sleep 0.01; done",
    );
    // A terminal forgets what nobody has read yet when the last process goes.
    place.script(
        "harness/down.sh",
        "until [ -e ../go ]; do sleep 0.01; done; echo down >> ../log",
    );
    let mut terminal = Terminal::start(&place, &["run"]);
    terminal.until("pid ");
    let pid = terminal
        .said
        .rsplit("pid ")
        .next()
        .unwrap()
        .trim()
        .to_owned();
    let pid: String = pid.chars().take_while(char::is_ascii_digit).collect();
    terminal.type_in("\x03");
    terminal.until("caught it");
    assert!(is_running(&pid));
    terminal.type_in("\x03");
    terminal.until("sent KILL");
    place.write("go", "");
    let status = terminal.end();
    assert_eq!(status.signal(), Some("Interrupt"), "{status:?}");
    assert!(!is_running(&pid));
    assert_eq!(log(&place), ["up", "seed", "down"]);
}

/// The only time that this test waits for is the one that must not count.
#[test]
fn the_time_of_a_pause_does_not_count() {
    let place = harness();
    place.replay(
        "paused",
        "# @timeout 5s\necho \"pid $$\"; until [ -e go ]; do sleep 0.01; done",
    );
    let mut running = Running::start(&mut place.command(&["run"]));
    let pid = running.value("pid");
    let ours = running.pid().as_raw_nonzero().to_string();
    running.signal(Signal::TSTP);
    wait_for("we are stopped", || state(&ours) == Some('T'));
    wait_for("it is stopped", || state(&pid) == Some('T'));
    let paused = Instant::now();
    wait_for("its time is up", || {
        paused.elapsed() > Duration::from_millis(5500)
    });
    assert_eq!((state(&ours), state(&pid)), (Some('T'), Some('T')));
    place.write("go", "");
    running.signal(Signal::CONT);
    running.end().code(0).out("1 passed");
}

#[test]
fn one_harness_is_worked_on_by_one_process() {
    let (place, running, _) = endless();
    let other = place.tackroom(&["run", "1-passes"]).code(5);
    other
        .err(&format!("process {}", running.pid()))
        .out("1 not run");
    assert_eq!(
        log(&place),
        ["up", "seed"],
        "the other one has left it alone"
    );
    running.signal(Signal::TERM);
    running.end().died_of(Signal::TERM);
    place.tackroom(&["run", "1-passes"]).code(0);
}

#[test]
fn what_a_replay_leaves_behind_is_told_and_ended() {
    let place = harness();
    place.replay("leaves", "sleep 600 & echo \"child $!\"");
    place.replay("next", "exit 0");
    let ended = place.tackroom(&["run", "--json"]).code(0).err("leaky");
    let events = ended.json();
    let finished: Vec<_> = events
        .iter()
        .filter(|event| event["event"] == "replay_finished")
        .map(|event| (event["verdict"].as_str(), event["leaky"].as_bool()))
        .collect();
    let passed = Some("passed");
    assert_eq!(finished, [(passed, Some(true)), (passed, Some(false))]);
    let child = ended.stderr.split("child ").nth(1).expect("a process id");
    assert!(!is_running(child.split_whitespace().next().unwrap()));
}

#[test]
fn a_log_that_cannot_be_made_holds_no_hook_up() {
    let place = harness();
    let runs = format!("{}/tackroom/*/runs", place.state());
    place.script(
        "harness/up.sh",
        &format!("cd {runs}/*/ && rm -r harness replays; touch harness replays"),
    );
    place.replay("a", "echo a >> log; echo words");
    let ended = place.tackroom(&["run"]).code(0);
    assert_eq!(log(&place), ["seed", "a", "down"]);
    ended.err("are not on disk");
}

/// Whoever reads the outputs of hooks is gone when the hook is.
#[test]
fn what_a_hook_has_started_goes_on_talking() {
    let place = harness();
    place.script(
        "harness/up.sh",
        "setsid bash -c 'n=0; while echo tick; do n=$((n + 1)); echo $n > .ticks; mv .ticks ticks; done' &\n\
         until [ -e ticks ]; do sleep 0.01; done",
    );
    place.replay(
        "a",
        "began=$(cat harness/ticks)\n\
         until [ $(cat harness/ticks) -gt $((began + 5)) ]; do sleep 0.01; done",
    );
    place.tackroom(&["run"]).code(0);
}
