//! One replay of a kept run as one timeline, on the command line. No engine is needed: what it would
//! have told is written into the recording.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says what went wrong by panicking"
)]

mod support;

use jiff::{SignedDuration, Timestamp};
use support::Place;
use tackroom::domain::container::Container;
use tackroom::domain::id::ContainerId;
use tackroom::domain::line::{Channel, LineBatch};
use tackroom::engine::Inspect;
use tackroom::record::{ContainerChange, EngineLog, Seen};

fn place() -> Place {
    let place = Place::with_replays(&[
        (
            "peers",
            "echo '[replay] begins'; echo 'FAIL: status'; echo '      got: 404'; exit 1",
        ),
        ("peers-2", "set -x; false"),
        ("fine", "echo fine"),
    ]);
    place.write("tackroom.toml", "name = 'shop'\n");
    place
}

#[test]
fn a_failure_names_the_command_that_shows_its_incident() {
    let place = place();
    let ended = place.tackroom(&["run"]).code(1);
    let id = ended.run_id();
    for replay in ["peers", "peers-2"] {
        let command = format!("incident: tackroom incident {id} {replay}");
        assert!(ended.stdout.contains(&command), "{}", ended.stdout);
        let args: Vec<&str> = command.split(' ').skip(2).collect();
        place
            .tackroom(&args)
            .code(0)
            .out(&format!("✘ {replay}  failed: exit 1"));
    }
    // What passed has none to look at, though it can be.
    let of_fine = format!("incident: tackroom incident {id} fine");
    assert!(!ended.stdout.contains(&of_fine));
}

#[test]
fn a_name_that_cannot_be_shown_is_named_by_a_glob() {
    let place = Place::with_replays(&[("new\nline [1]", "exit 1"), ("new line [1]", "exit 1")]);
    let ended = place.tackroom(&["run"]).code(1);
    let id = ended.run_id();
    let command = format!("incident: tackroom incident {id} 'new?line [[]1[]]'");
    assert!(ended.stdout.contains(&command), "{}", ended.stdout);
    let both = ["incident", &id, "new?line [[]1[]]"];
    place.tackroom(&both).code(2).err("several replays match");
    std::fs::remove_file(place.path("replays/new line [1].sh")).expect("it was there");
    place.tackroom(&["run"]).code(1);
    place
        .tackroom(&["incident", "latest", both[2]])
        .code(0)
        .out("✘ new line [1]  failed: exit 1");
}

#[test]
fn it_has_offsets_marks_and_what_is_not_known() {
    let place = place();
    place.tackroom(&["run"]).code(1);
    let ended = place.tackroom(&["incident", "peers"]).code(0);
    ended
        .out("no run before this one is kept that had it")
        .out("no container was recorded")
        .out("first failed assertion  FAIL: status")
        .out("  runner  ▶ attempt 1 begins")
        .out("  output  [replay] begins");
    // The last thing that a trace shows.
    let ended = place.tackroom(&["incident", "peers-2"]).code(0);
    ended.out("last line               + false");
    // The second run has the first one to compare with.
    place.tackroom(&["run"]).code(1);
    place
        .tackroom(&["incident", "peers"])
        .code(0)
        .out("it did not pass in the one run before that is kept");
    let ended = place.tackroom(&["incident", "fine"]).code(0);
    ended.out("✔ fine  passed").out("since it last passed");
}

#[test]
fn containers_stand_between_the_lines_of_the_replay() {
    let place = place();
    let ended = place.tackroom(&["run", "fine"]).code(0);
    let directory = place.run_directory(&ended.run_id());
    let object = &place
        .tackroom(&["incident", "fine", "--json"])
        .code(0)
        .json()[0];
    let started: Timestamp = object["started"].as_str().unwrap().parse().unwrap();
    let now = Timestamp::now();
    let container = Container {
        id: ContainerId::new("0123456789abcdef"),
        name: "tenant".to_owned(),
        image: "x".to_owned(),
        image_id: "sha256:1".to_owned(),
        state: tackroom::domain::container::State::Running,
        health: None,
        status: String::new(),
        created: now,
        labels: Default::default(),
        ports: Vec::new(),
        mounts: Vec::new(),
        detail: None,
        origins: Default::default(),
    };
    let mut engine = EngineLog::create(&directory, now).unwrap();
    let mut batch = LineBatch::default();
    for (milliseconds, text) in [
        (-100_000, "INFO long before"),
        (-300, "INFO just before"),
        (-200, "ERROR \x1b[31mno route\x1b[2J"),
    ] {
        let at = started + SignedDuration::from_millis(milliseconds);
        batch.push(at, Channel::Err, text.as_bytes());
    }
    engine
        .log(&container.name, &container.id, 1 << 20)
        .append(&batch)
        .unwrap();
    let change = ContainerChange {
        at: now,
        id: container.id.clone(),
        what: Seen::Created(Box::new(Inspect::of(container, serde_json::json!({})))),
    };
    engine.container(change).unwrap();
    let text = place.tackroom(&["incident", "fine"]).code(0).stdout;
    assert!(
        text.contains("  -0.300  tenant  INFO just before\n! -0.200  tenant  ERROR no route\n"),
        "{text}"
    );
    assert!(
        !text.contains("long before") && !text.contains('\x1b'),
        "{text}"
    );
    let without = place
        .tackroom(&["incident", "fine", "--no-containers"])
        .code(0)
        .stdout;
    assert!(!without.contains("tenant"), "{without}");
    let only = place
        .tackroom(&["incident", "fine", "--source", "tenant", "--json"])
        .code(0)
        .json();
    assert_eq!(only.len(), 3);
    let (head, line) = (&only[0], &only[2]);
    assert_eq!(
        (&head["event"], &head["verdict"]),
        (&"incident".into(), &"passed".into())
    );
    assert_eq!(
        (&line["event"], &line["mark"]),
        (&"line".into(), &"error".into())
    );
    assert_eq!(
        (&line["offset"], &line["stream"]),
        (&(-0.2).into(), &"stderr".into())
    );
    assert_eq!(line["text"], "ERROR \x1b[31mno route\x1b[2J");
    let few = place
        .tackroom(&["incident", "fine", "--lines", "1"])
        .code(0)
        .stdout;
    assert!(few.contains("not shown; --lines all shows them"), "{few}");
}

#[test]
fn what_is_meant_is_found_or_said_to_be_unclear() {
    let place = place();
    place
        .tackroom(&["incident"])
        .code(4)
        .err("there is no kept run");
    place.tackroom(&["run", "peer"]).code(1);
    place
        .tackroom(&["incident"])
        .code(2)
        .err("2 replays failed")
        .err("name one:\n  tackroom incident 2")
        .err(" peers\n  tackroom incident 2")
        .err(" peers-2\n");
    place.tackroom(&["run", "peers-2"]).code(1);
    place.tackroom(&["incident"]).code(0).out("✘ peers-2");
    // The whole name counts more than a part; this one ran in the run before.
    place
        .tackroom(&["incident", "latest", "peers-"])
        .code(0)
        .out("✘ peers-2");
    place.tackroom(&["run", "fine"]).code(0);
    place
        .tackroom(&["incident"])
        .code(4)
        .err("no replay failed in run");
    place.tackroom(&["incident", "fin"]).code(0).out("✔ fine");
    place
        .tackroom(&["incident", "eers"])
        .code(0)
        .out("✘ peers-2");
    place
        .tackroom(&["incident", "nothing"])
        .code(4)
        .err("no kept run ran \"nothing\"");
    place
        .tackroom(&["incident", "latest", "nothing"])
        .code(4)
        .err("is called \"nothing\"");
    place
        .tackroom(&["incident", "no-run", "fine"])
        .code(4)
        .err("no kept run is called");
    place
        .tackroom(&["incident", "fine", "--attempt", "2"])
        .code(4)
        .err("has no attempt 2");
    place
        .tackroom(&["incident", "fine", "--source", "x"])
        .code(4)
        .err("there is no source \"x\"");
    place.tackroom(&["incident", "a", "b", "c"]).code(2);
    place
        .tackroom(&["incident", "fine", "--lines", "few"])
        .code(2)
        .err("write a number, or all");
}

#[test]
fn a_run_from_elsewhere_has_its_incidents() {
    let place = place();
    place.tackroom(&["run"]).code(1);
    place.tackroom(&["pack", "-o", "run.tar.zst"]).code(0);
    let elsewhere = Place::new();
    let archive = place.path("run.tar.zst");
    let ended = elsewhere
        .tackroom(&["incident", archive.to_str().unwrap(), "peers"])
        .code(0)
        .out("the runs before this one are not here to compare with")
        .out("first failed assertion  FAIL: status");
    // It says nothing of a configuration that it does not need.
    assert_eq!(ended.stderr, "");
    // Without a replay: those that failed, or the only one.
    let archive = archive.to_str().unwrap();
    elsewhere
        .tackroom(&["incident", archive])
        .code(2)
        .err(&format!("  tackroom incident {archive} peers\n"))
        .err(&format!("  tackroom incident {archive} peers-2\n"));
    place.tackroom(&["run", "peers-2"]).code(1);
    place.tackroom(&["pack", "-o", "one.tar.zst"]).code(0);
    for run in ["one.tar.zst", "./one.tar.zst", "latest"] {
        place
            .tackroom(&["incident", run])
            .code(0)
            .out("✘ peers-2  failed");
    }
}

/// The first line that says that something failed, in what real scripts print.
#[test]
fn what_failed_first_is_marked_in_the_outputs_of_real_scripts() {
    let library = concat!(env!("CARGO_MANIFEST_DIR"), "/replays/_lib.sh");
    let bundled = |body: &str| format!("export HARNESS_ENV_DIR=$PWD/none\n. '{library}'\n{body}");
    let table = [
        (
            "equal",
            bundled(
                "pass 'FAIL would be here'; expect_equal 'a: status' 404 200\n\
                 expect_text 'b' got expected; finish words",
            ),
            ("assertion", "FAIL: a: status"),
        ),
        (
            "without",
            bundled("expect_without 'the reason' 'may be isolated' isolated; finish words"),
            ("assertion", "FAIL: the reason"),
        ),
        ("unusable", bundled("require NOT_THERE"), ("complaint", "[replay] ERROR: NOT_THERE is not set")),
        // The library says it for a tool that ended the script.
        ("tool", bundled("note begins; (exit 22)"), ("assertion", "FAIL: the replay broke off with exit code 22")),
        ("unbound", "set -u\necho begins\necho \"$NOPE\"".to_owned(), ("complaint", ": line 4: NOPE: unbound variable")),
        ("missing", "echo begins\nno-such-tool\nexit 1".to_owned(), ("complaint", ": line 3: no-such-tool: command not found")),
        ("traced", "set -ex\necho 'FAIL: no'\n[ 404 = 200 ]".to_owned(), ("assertion", "FAIL: no")),
        ("traced-only", "set -ex\ntrue\n[ 404 = 200 ]".to_owned(), ("last_line", "+ '[' 404 = 200 ']'")),
        ("tap", "echo 1..3; echo 'ok 1 - not ok'; echo 'not ok 2 # TODO'; echo 'not ok 3 - peers'; exit 1".to_owned(), ("assertion", "not ok 3 - peers")),
        ("count", "echo '\u{2714} a'; printf '\\033[31m\u{2718}\\033[0m b\\n'; echo PASS=1 FAIL=1; [ 1 = 0 ]".to_owned(), ("assertion", "\u{2718} b")),
    ];
    let replays: Vec<(&str, &str)> = table
        .iter()
        .map(|(name, text, _)| (*name, &**text))
        .collect();
    let place = Place::with_replays(&replays);
    place.write("tackroom.toml", "name = 'shop'\n");
    place.tackroom(&["run"]).code(1);
    for (name, _, (mark, text)) in &table {
        let args = ["incident", "latest", name, "--json"];
        let head = place.tackroom(&args).code(0).json().remove(0);
        let marks = head["marks"].as_array().unwrap();
        assert_eq!(marks.len(), 1, "{name}: {marks:?}");
        let found = marks[0]["text"]
            .as_str()
            .unwrap()
            .replace("\x1b[31m", "")
            .replace("\x1b[0m", "");
        assert_eq!(marks[0]["mark"], *mark, "{name}: {found}");
        assert!(found.contains(text), "{name}: {found}");
    }
}
