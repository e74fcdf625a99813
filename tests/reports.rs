//! Runs that are kept, and what is made of them afterwards. No engine is needed for any of this.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says what went wrong by panicking"
)]

mod support;

use rustix::process::Signal;
use support::{Place, Running, is_running, wait_for};

/// One passes and one fails; what they print wants to be more than text.
fn place() -> Place {
    let place = Place::with_replays(&[
        ("fine", "echo fine"),
        (
            "odd # name",
            "# @closes #2397\nprintf '::error::x\\n```\\n]]>\\033[31m\\n'; head -c 100000 /dev/zero; exit 3",
        ),
    ]);
    place.write("tackroom.toml", "name = 'shop'\n");
    place
}

#[test]
fn what_a_run_wrote_can_be_written_again() {
    let place = place();
    let formats = ["junit", "tap", "markdown", "github"];
    let mut args = vec!["run".to_owned()];
    args.extend(formats.map(|format| format!("--report={format}={format}.first")));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let ended = place.tackroom(&args).code(1);
    let id = ended.run_id();
    for format in formats {
        let first = place.read(&format!("{format}.first"));
        let by_name = ["report", &id, "--format", format];
        let again = place.tackroom(&by_name).code(0);
        assert_eq!(again.stdout, first, "{format}");
    }
    let junit = place.read("junit.first");
    place
        .tackroom(&["report", "--junit", "junit.latest"])
        .code(0);
    assert_eq!(place.read("junit.latest"), junit);
    let path = place.run_directory(&id);
    let by_path = ["report", path.to_str().unwrap(), "--report=junit=-"];
    assert_eq!(place.tackroom(&by_path).code(0).stdout, junit);
    let names = std::fs::read_dir(place.path("")).unwrap();
    let left = names.flatten().filter(|name| {
        let name = name.file_name();
        name.to_string_lossy().ends_with(".tmp")
    });
    assert_eq!(left.count(), 0);
}

#[test]
fn a_report_for_people_has_verdicts_and_failures() {
    let place = place();
    place.tackroom(&["run"]).code(1);
    place.tackroom(&["down"]).code(2);
    let ended = place.tackroom(&["report"]).code(0);
    ended
        .out("✔ fine")
        .out("✘ odd # name")
        .out("── odd # name ── failed: exit 3")
        .out("again: tackroom run 'odd # name'")
        .out("1 passed, 1 failed");
}

#[test]
fn a_run_that_was_killed_says_how_far_it_came() {
    let place = Place::with_replays(&[
        ("1-fine", "echo fine"),
        ("2-hangs", "echo half; echo pid $$ >&2; exec sleep 600"),
        ("3-never", "exit 0"),
    ]);
    place.write("tackroom.toml", "name = 'shop'\n");
    let mut running = Running::start(&mut place.command(&["run"]));
    let pid = running.value("pid");
    let going_on = place.tackroom(&["runs"]).code(0);
    going_on.out("under way during 2-hangs");
    place.tackroom(&["report"]).code(4);
    running.signal(Signal::KILL);
    running.end().died_of(Signal::KILL);
    wait_for("the guard has ended the replay", || !is_running(&pid));

    let ended = place.tackroom(&["runs"]).code(0);
    ended.out("broke off during 2-hangs, 1 aborted, 1 not run, 1 passed");
    let tap = place.tackroom(&["report", "--format", "tap"]).code(0);
    let tap = tap
        .out("ok 1 - 1-fine\n")
        .out("not ok 2 - 2-hangs\n")
        .out("    - \"half\"\n")
        .out("not ok 3 - 3-never\n");
    tap.out("Bail out! the run broke off during 2-hangs\n");
}

#[test]
fn an_interrupted_run_writes_its_reports() {
    let place = Place::with_replays(&[
        ("1-hangs", "echo ready >&2; exec sleep 600"),
        ("2-never", "exit 0"),
    ]);
    place.write("tackroom.toml", "name = 'shop'\n");
    let mut running = Running::start(&mut place.command(&["run", "--report=tap=out.tap"]));
    running.until("ready");
    running.signal(Signal::TERM);
    running.end().died_of(Signal::TERM);
    let tap = place.read("out.tap");
    assert!(tap.contains("not ok 1 - 1-hangs\n"), "{tap}");
    assert!(tap.contains("not ok 2 - 2-never\n"), "{tap}");
    assert!(tap.contains("# interrupted by TERM\n"), "{tap}");
    let runs = place.tackroom(&["runs"]).code(0);
    runs.out("interrupted by TERM, 1 aborted, 1 not run");
}

#[test]
fn kept_runs_are_listed_for_people_and_programs() {
    let place = place();
    place.tackroom(&["runs"]).code(4).err("no kept run");
    place.tackroom(&["report"]).code(4).err("no kept run");
    place.tackroom(&["run", "fine"]).code(0);
    place.write("fails", "");
    let id = place.tackroom(&["run"]).code(1).run_id();

    let ended = place.tackroom(&["runs"]).code(0);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert!(lines[0].starts_with(&format!("✘ {id}  ")), "{lines:?}");
    assert!(lines[0].ends_with("1 failed, 1 passed"), "{lines:?}");
    assert!(lines[1].starts_with("✔ ") && lines[1].ends_with("1 passed"));
    let runs = place.tackroom(&["runs", "--json"]).code(0).json();
    let of =
        |key: &str| -> Vec<serde_json::Value> { runs.iter().map(|run| run[key].clone()).collect() };
    assert_eq!(of("exit_code"), [1, 0]);
    assert_eq!(of("end"), ["finished", "finished"]);
    assert_eq!(of("name"), ["shop", "shop"]);

    let ended = place.tackroom(&["runs", "--replays"]).code(0);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert!(lines[0].starts_with("fine        ✔✔  100 % passed    0 % flaky  median "));
    assert_eq!(
        lines[1],
        "odd # name   ✘    0 % passed    0 % flaky  never passed"
    );
    let courses = place.tackroom(&["runs", "--replays", "--json"]).code(0);
    let courses = courses.json();
    assert_eq!(courses[1]["runs"][0]["verdict"], "failed");
    assert_eq!(courses[0]["pass_rate"], 1.0);
}

#[test]
fn a_run_is_named_without_doubt() {
    let place = place();
    place.tackroom(&["run"]).code(1);
    place.tackroom(&["run"]).code(1);
    place
        .tackroom(&["report", "2"])
        .code(2)
        .err("several runs are called \"2\": 2");
    place
        .tackroom(&["report", "x"])
        .code(4)
        .err("no kept run is called \"x\"");
    place
        .tackroom(&["report", "./"])
        .code(4)
        .err("events.jsonl");
}

#[test]
fn stdout_holds_one_thing() {
    let place = place();
    let ended = place
        .tackroom(&["run", "fine", "--report", "tap=-"])
        .code(0);
    assert!(ended.stdout.starts_with("TAP version 14\n"));
    ended.err("✔ fine");
    for args in [
        &["run", "--json", "--report", "tap=-"][..],
        &["run", "--report", "tap=-", "--report", "junit=-"],
        &["report", "--format", "tap", "--report", "junit=-"],
    ] {
        place
            .tackroom(args)
            .code(2)
            .err("only one thing can be written to stdout");
    }
    let twice = ["run", "--report", "tap=same", "--junit", "./same"];
    place
        .tackroom(&twice)
        .code(2)
        .err("same and ./same are one file");
    let nowhere = [
        "run",
        "fine",
        "--report",
        "tap=/dev/null",
        "--junit",
        "/dev/null",
    ];
    place.tackroom(&nowhere).code(0);
    for (target, part) in [
        ("junit", "write FORMAT=FILE"),
        ("html=x", "there is no format"),
        ("tap=no/such/place", "no/such is not a directory"),
    ] {
        place
            .tackroom(&["run", "--report", target])
            .code(2)
            .err(part);
    }
}

#[test]
fn nothing_that_a_replay_prints_is_a_command_to_a_ci_server() {
    const PRINTED: &str = "x ##[add-mask]e ##vso[task.complete]";
    let place = Place::with_replays(&[(
        "a",
        &format!("echo '{PRINTED}'; echo '::stop-commands::t'; exit 1"),
    )]);
    let start = |args: &[&str], ci: &str| {
        let mut command = place.command(args);
        command.env(ci, "true");
        Running::start(&mut command).end().code(1)
    };
    let is_command = |line: &str| {
        let ours = line.starts_with("::error ");
        line.contains("##[") || line.contains("##vso[") || !ours && line.trim().starts_with("::")
    };
    for args in [
        &["run"][..],
        &["run", "--json"],
        &["run", "--report=text=-"],
        &["run", "--report=tap=-"],
        &["run", "--report=junit=-"],
        &["run", "--report=markdown=-"],
        &["run", "--report=github=-"],
    ] {
        for ci in ["GITHUB_ACTIONS", "TF_BUILD"] {
            let ended = start(args, ci);
            let mut lines = ended.stdout.lines().chain(ended.stderr.lines());
            let command = lines.find(|line| is_command(line));
            assert_eq!(command, None, "{args:?}");
        }
    }
    let shown = "│ x ## [add-mask]e ##vso [task.complete]";
    start(&["run"], "GITHUB_ACTIONS").err(shown);
    start(&["run"], "NOBODY").err(PRINTED);
    // Programs read what it was.
    let ended = start(&["run", "--json"], "GITHUB_ACTIONS");
    let read = |event: &serde_json::Value| event["line"] == PRINTED;
    assert!(ended.json().iter().any(read), "{}", ended.stdout);
}

#[test]
fn on_github_what_failed_is_annotated_and_summed_up() {
    let place = place();
    place.write("summary.md", "before\n");
    let run = |args: &[&str]| {
        let mut command = place.command(args);
        command
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_WORKSPACE", place.path("..").canonicalize().unwrap())
            .env("GITHUB_STEP_SUMMARY", place.path("summary.md"));
        Running::start(&mut command).end().code(1)
    };
    let annotation = "::error file=project/replays/odd # name.sh,title=odd # name::failed: exit 3";
    let ended = run(&["run", "--json"]);
    ended.json();
    let ended = ended.err(annotation);
    let commands = |text: &str| {
        text.lines()
            .filter(|line| line.trim_start().starts_with("::"))
            .count()
    };
    assert_eq!(commands(&ended.stderr), 1, "{}", ended.stderr);
    let on_stdout = commands(&run(&["run"]).stdout);
    assert_eq!(on_stdout, 0, "a replay's own are none");
    let summary = place.read("summary.md");
    assert!(
        summary.starts_with("before\n### ✘ `shop`: 1 failed, 1 passed"),
        "{summary}"
    );
    // Asked for by name it comes once, and where it is wanted.
    let ended = run(&["run", "--report", "github=-"]);
    assert!(ended.stdout.starts_with(annotation), "{}", ended.stdout);
    assert_eq!(commands(&ended.stderr), 0, "{}", ended.stderr);
    assert_eq!(place.read("summary.md").matches("### ").count(), 3);
}

#[test]
fn why_the_harness_did_not_come_up_is_in_every_report() {
    let place = place();
    place.script("up", "echo first; echo 'no space left on device'; exit 3");
    place.write("tackroom.toml", "name = 'shop'\n[harness]\nup = './up'\n");
    place.tackroom(&["run"]).code(3);
    for format in ["text", "junit", "tap", "markdown", "github"] {
        place
            .tackroom(&["report", "--format", format])
            .code(0)
            .out("no space left on device");
    }
}
