//! Scripts of other people, run unchanged: how they are found, started and judged. No engine is needed.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says what went wrong by panicking"
)]

mod support;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use serde_json::Value;
use support::{Ended, Place, starting};

/// Each replay's verdict in words, with its reason or its exit code.
fn verdicts(ended: &Ended) -> BTreeMap<String, String> {
    let events = ended.json();
    let ends = events.iter().filter(|it| it["event"] == "replay_finished");
    ends.map(|end| {
        let word = end["verdict"].as_str().expect("a verdict");
        let detail = match (&end["reason"], &end["exit_code"]) {
            (Value::String(reason), _) => format!(": {reason}"),
            (_, Value::Number(code)) => format!(" {code}"),
            _ => String::new(),
        };
        let name = end["replay"].as_str().expect("a name").to_owned();
        (name, format!("{word}{detail}"))
    })
    .collect()
}

/// One line each.
fn told(ended: &Ended) -> String {
    let verdicts = verdicts(ended);
    let lines = verdicts
        .iter()
        .map(|(name, verdict)| format!("{name}: {verdict}\n"));
    lines.collect()
}

fn place(config: &str, files: &[(&str, &str)]) -> Place {
    let place = Place::new();
    place.write("tackroom.toml", config);
    for (file, text) in files {
        place.write_with_mode(file, text, 0o755);
    }
    place
}

#[test]
fn a_suite_has_its_own_rules_and_takes_the_others_from_replays() {
    let place = place(
        "[replays]\ntimeout = '20s'\n\
         [[suite]]\nname = 'auto'\npaths = ['auto/*.sh']\nkind = 'automake'\ntimeout = '7s'\n\
         [[suite]]\nname = 'codes'\npaths = ['codes/*']\npass_codes = [0, 3]\nskip_codes = 4\nerror_codes = []\n",
        &[
            ("replays/plain.sh", "#!/bin/sh\nexit 99\n"),
            ("replays/tool.sh", "#!/bin/sh\nno-such-tool\n"),
            ("replays/skip.sh", "#!/bin/sh\necho no GPU; exit 77\n"),
            ("auto/hard.sh", "#!/bin/sh\nexit 99\n"),
            ("auto/skip.sh", "#!/bin/sh\necho no display\nexit 77\n"),
            ("codes/three.sh", "#!/bin/sh\nexit 3\n"),
            (
                "codes/four.py",
                "#!/usr/bin/env python3\nprint('four')\nraise SystemExit(4)\n",
            ),
            ("codes/tool.sh", "#!/bin/sh\nno-such-tool\n"),
        ],
    );
    let ended = place
        .tackroom(&["run", "--json", "--junit", "report.xml"])
        .code(1);
    insta::assert_snapshot!(told(&ended), @r"
    auto/skip: skipped: no display
    codes/tool: failed 127
    four: skipped: four
    hard: errored 99
    plain: failed 99
    replays/skip: skipped: no GPU
    replays/tool: errored 127
    three: passed 0
    ");
    let summary = ended.json().pop().unwrap();
    assert_eq!(summary["errored"], 2);
    let timeout = |name: &str| {
        let plan = place
            .tackroom(&["run", "--dry-run", "--json", name])
            .code(0);
        let plan = plan.json();
        let act = plan.iter().find(|act| act["would"] == "replay").unwrap();
        act["timeout"].as_f64().unwrap()
    };
    assert_eq!((timeout("plain"), timeout("hard")), (20.0, 7.0));

    // By suite, the default one first, and so do the reports.
    let listed = place.tackroom(&["list", "--json"]).code(0).json();
    let suites: Vec<&str> = listed
        .iter()
        .map(|it| it["suite"].as_str().unwrap())
        .collect();
    assert_eq!(
        suites,
        [
            "replays", "replays", "replays", "auto", "auto", "codes", "codes", "codes"
        ]
    );
    place
        .tackroom(&["list"])
        .code(0)
        .out("hard          auto")
        .out("plain         replays");
    let junit = place.read("report.xml");
    for part in [
        "<testsuite name=\"replays\" tests=\"3\" skipped=\"1\" errors=\"1\" failures=\"1\"",
        "<testsuite name=\"auto\" tests=\"2\" skipped=\"1\" errors=\"1\" failures=\"0\"",
        "<testcase name=\"hard\" classname=\"auto\"",
        "<error message=\"errored: exit 99\" type=\"errored\">",
    ] {
        assert!(junit.contains(part), "{part}\n{junit}");
    }
    let of = |args: &[&str]| place.tackroom(&[&["list", "--suite"], args].concat());
    assert_eq!(of(&["auto"]).code(0).stdout, "hard\nauto/skip\n");
    assert_eq!(
        of(&["auto", "--suite", "codes", "four"]).code(0).stdout,
        "four\n"
    );
    of(&["atuo"]).code(4).err("there are: auto, codes, replays");
    of(&["auto", "four"])
        .code(4)
        .err("none of these replays is of the suite auto");
}

#[test]
fn markers_in_the_output_skip_and_expect_failures() {
    let place = place(
        "[replays]\nskip_marker = '^\\[replay\\] __SKIP__'\nexpected_failure_marker = '^XFAIL\\b'\n\
         [[suite]]\nname = 'seen'\npaths = ['seen/*']\n\
         expected_failure_marker = '^\\[replay\\] __XFAIL__'\nexpected_failure_said = 'after'\n",
        &[
            (
                "replays/skips.sh",
                "#!/bin/sh\nprintf '\\033[33m[replay] __SKIP__:no tenant\\033[0m\\n'\n",
            ),
            (
                "replays/skips-and-fails.sh",
                "#!/bin/sh\necho '[replay] __SKIP__:x'; exit 1\n",
            ),
            (
                "replays/expected.sh",
                "#!/bin/sh\necho XFAIL: '#12'; exit 4\n",
            ),
            ("replays/unexpected.sh", "#!/bin/sh\necho XFAIL: '#13'\n"),
            (
                "replays/stopped.sh",
                "#!/bin/sh\n# @timeout 50ms\necho XFAIL: '#14'; exec sleep 1000\n",
            ),
            (
                "seen/expected.sh",
                "#!/bin/sh\necho '[replay] __XFAIL__ #15'\n",
            ),
            (
                "seen/fails.sh",
                "#!/bin/sh\necho '[replay] __XFAIL__ #15'; exit 1\n",
            ),
        ],
    );
    let ended = place
        .tackroom(&[
            "run",
            "--json",
            "--report=tap=report.tap",
            "--junit=report.xml",
        ])
        .code(1);
    insta::assert_snapshot!(told(&ended), @r"
    fails: failed 1
    replays/expected: failed as expected: exit 4 (#12)
    seen/expected: failed as expected: #15
    skips: skipped: no tenant
    skips-and-fails: failed 1
    stopped: timed out
    unexpected: failed: passed unexpectedly (#13)
    ");
    let tap = place.read("report.tap");
    assert!(tap.contains("- seen/expected # TODO #15\n"), "{tap}");
    let junit = place.read("report.xml");
    let as_skipped = "<skipped message=\"failed as expected: #15\" type=\"failed as expected\"/>";
    assert!(junit.contains(as_skipped), "{junit}");
    // What is kept says the same.
    let again = place.tackroom(&["report", "--format", "junit"]).code(0);
    assert_eq!(again.stdout, junit);
    let text = place.tackroom(&["report"]).code(0);
    text.out("3 failed, 1 timed out, 2 failed as expected, 1 skipped")
        .out("x seen/expected");
    place
        .tackroom(&["run", "--suite", "seen", "expected"])
        .code(0);
}

#[test]
fn a_suite_says_where_and_by_what_its_scripts_run() {
    let where_am_i = "#!/bin/sh\necho \"in $PWD $MODE $0\"; test -e \"$PWD/here\"\n";
    let place = place(
        "[replays]\nenv = { MODE = 'all', OTHER = '1' }\n\
         [[suite]]\nname = 'config'\npaths = ['t/config/**/*.t']\ndir = 'config'\n\
         [[suite]]\nname = 'suite'\npaths = ['t/suite/**/*.t']\ndir = 'suite'\nenv = { MODE = 'own' }\n\
         [[suite]]\nname = 'script'\npaths = ['t/script/**/*.t']\ndir = 'script'\n\
         [[suite]]\nname = 'wrapped'\npaths = ['t/wrapped/*']\nwrapper = ['./t/run', '-e']\ndir = 'script'\n\
         [[suite]]\nname = 'piped'\npaths = ['t/piped/*']\nwrapper = ['sh', '-s', 'arg']\nscript_on_stdin = true\n\
         [[suite]]\nname = 'nobody'\npaths = ['t/piped2/*']\nwrapper = 'no-such-wrapper'\n",
        &[
            ("here", ""),
            ("t/suite/here", ""),
            ("t/script/deep/here", ""),
            ("t/config/deep/a.t", where_am_i),
            ("t/suite/deep/b.t", where_am_i),
            ("t/script/deep/c.t", where_am_i),
            (
                "t/run",
                "#!/bin/sh\necho \"$# $1 in $PWD\"; shift; exec sh -e \"$1\"\n",
            ),
        ],
    );
    // Neither executable nor with a shebang.
    place.write("t/wrapped/-d e", "false\necho not reached\n");
    place.write("t/piped/f", "echo \"$1 $OTHER\"; exit 7\n");
    place.write("t/piped2/g", "");
    let ended = place.tackroom(&["run", "--json"]).code(1);
    insta::assert_snapshot!(told(&ended), @r"
    -d e: failed 1
    a: passed 0
    b: passed 0
    c: passed 0
    f: failed 7
    g: could not start: t/piped2/g is run by no-such-wrapper, which is not on PATH
    ");
    let events = ended.json();
    let printed = |name: &str| -> Vec<String> {
        let lines = events
            .iter()
            .filter(|it| it["event"] == "replay_output" && it["replay"] == name);
        lines
            .map(|it| place.redacted(it["line"].as_str().unwrap()))
            .collect()
    };
    assert_eq!(
        printed("b"),
        ["in [ROOT]/t/suite own [ROOT]/t/suite/deep/b.t"]
    );
    assert_eq!(
        printed("c"),
        ["in [ROOT]/t/script/deep all [ROOT]/t/script/deep/c.t"]
    );
    assert_eq!(printed("-d e"), ["2 -e in [ROOT]/t/wrapped"]);
    assert_eq!(printed("f"), ["arg 1"]);
}

#[test]
fn a_file_belongs_to_one_suite() {
    let script = "#!/bin/sh\n# It works.\n# @tags own\n# @needs sh\n";
    let place = place(
        "[replays]\npaths = ['t/**/*']\nexclude = ['helper*']\n\
         [[suite]]\nname = 'tools'\npaths = ['t/tools/*']\nexecutable = true\nexclude = ['_*']\n\
         tags = ['all', 'own']\nneeds = ['sed', 'no-such-tool']\nparallel = true\ngroup = 'db'\n\
         [[suite]]\nname = 'late'\npaths = ['t/tools/*', 't/none/*']\n",
        &[
            ("t/tools/check", script),
            ("t/tools/check-1.2", script),
            ("t/tools/_helper", script),
            ("t/helper", script),
            ("t/plain.sh", script),
        ],
    );
    place.write("t/tools/README.md", "no replay\n");
    place.write("t/tools/notes", "no replay\n");
    std::fs::create_dir(place.path("t/tools/directory")).unwrap();
    symlink("check", place.path("t/tools/link")).unwrap();
    let listed = place.tackroom(&["list", "--json"]).code(0);
    let found: Vec<String> = listed
        .json()
        .iter()
        .map(|it| {
            format!(
                "{} {}",
                it["suite"].as_str().unwrap(),
                it["name"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            // Nothing of it is executable or a helper, so `late` and `[replays]` find it.
            "replays plain",
            "tools check",
            "tools check-1.2",
            "tools link",
            "late README",
            "late _helper",
            "late notes",
        ]
    );
    let check = &listed.json()[1];
    assert_eq!(check["tags"], serde_json::json!(["own", "all"]));
    assert_eq!(check["parallel"], true);
    assert_eq!(check["groups"], serde_json::json!(["db"]));
    let ended = place.tackroom(&["run", "--json", "check"]).code(1);
    assert_eq!(
        told(&ended),
        "check: could not start: t/tools/check needs no-such-tool, not on PATH\n"
    );
}

#[test]
fn a_suite_that_finds_nothing_is_told() {
    let place = place(
        "[[suite]]\nname = 'moved'\npaths = ['old/*.t']\n",
        &[("replays/a.sh", "#!/bin/sh\n")],
    );
    let why = "the suite moved has no replay: nothing that no other suite has matches old/*.t";
    place.tackroom(&["run"]).code(0).err(why);
}

#[test]
fn odd_file_names_run_or_say_why_not() {
    let place = place("[replays]\npaths = ['t/*']\n", &[]);
    let names: [&[u8]; 9] = [
        b"a b.sh",
        b"it's \"quoted\" $(touch x) `y`;.sh",
        b"new\nline\x1b[31m.sh",
        b"-rf",
        "é日本.sh".as_bytes(),
        b"bad\xff.sh",
        b"bad\xfe.sh",
        b"noext",
        b"[a]*?.sh",
    ];
    std::fs::create_dir(place.path("t")).unwrap();
    for name in names {
        let _guard = starting();
        let path = place.path("t").join(OsStr::from_bytes(name));
        std::fs::write(&path, "#!/bin/sh\necho \"$TACKROOM_REPLAY\"; exit 3\n").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let ended = place
        .tackroom(&["run", "--json", "--junit", "report.xml"])
        .code(1);
    assert_eq!(
        verdicts(&ended).len(),
        names.len(),
        "{}",
        ended.transcript()
    );
    assert!(
        verdicts(&ended).values().all(|it| it == "failed 3"),
        "{}",
        told(&ended)
    );
    let junit = place.read("report.xml");
    assert_eq!(junit.matches("<testcase ").count(), names.len());
    // What the terminal says to run one again runs that one.
    let text = place.tackroom(&["report"]).code(0).stdout;
    let again: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("again: "))
        .collect();
    assert_eq!(again.len(), names.len(), "{text}");
    for line in again {
        let line = line.replacen("tackroom run", "\"$TACKROOM\" list --json", 1);
        let output = Command::new("sh")
            .args(["-c", &line])
            .env("TACKROOM", env!("CARGO_BIN_EXE_tackroom"))
            .envs(place.environment())
            .current_dir(place.path(""))
            .output()
            .unwrap();
        let listed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(listed.lines().count(), 1, "{line}: {listed}");
    }
    assert!(!place.path("x").exists());
}

#[test]
fn what_cannot_be_started_says_precisely_why() {
    let place = place(
        "[replays]\npaths = ['t/*']\n",
        &[
            ("t/crlf", "#!/bin/sh\r\nexit 0\r\n"),
            ("t/missing", "#!/no/such/interpreter\n"),
            ("t/interpreter", "#!./data\n"),
            ("t/env", "#!/usr/bin/env -S no-such-shell -e\n"),
            ("t/bare", "echo hi\n"),
            ("t/relative", "#!./tools/run\n"),
            ("tools/run", "#!/bin/sh\nexit 0\n"),
        ],
    );
    place.write("data", "");
    place.write("t/mode", "#!/bin/sh\n");
    symlink("nowhere", place.path("t/dangling")).unwrap();
    symlink("loop", place.path("t/loop")).unwrap();
    symlink("../tools/run", place.path("t/linked")).unwrap();
    let ended = place.tackroom(&["run", "--json"]).code(1);
    insta::assert_snapshot!(told(&ended), @r"
    bare: could not start: t/bare has no shebang: its first line must be like #!/usr/bin/env bash
    crlf: could not start: t/crlf has CRLF line ends, so its interpreter is looked for with a CR in its name: sed -i 's/\r$//'
    dangling: could not start: t/dangling is a link to nowhere: No such file or directory (os error 2)
    env: could not start: t/env wants the interpreter no-such-shell, which is not on PATH
    interpreter: could not start: t/interpreter wants the interpreter ./data, which is not executable
    linked: passed 0
    loop: could not start: t/loop is a link to loop: Too many levels of symbolic links (os error 40)
    missing: could not start: t/missing wants the interpreter /no/such/interpreter, which does not exist
    mode: could not start: t/mode is not executable: chmod +x t/mode
    relative: passed 0
    ");
}

/// As bats, Test::More and node print it.
const BATS: &str = "#!/usr/bin/env bash
set -e
echo 1..3
echo 'ok 1 opens'
echo 'not ok 2 closes'
echo '# (in test file t/door.bats, line 7)'
echo 'ok 3 locks # skip no key'
exit 1
";

const MORE: &str = "#!/usr/bin/env python3
import sys
print('TAP version 14')
print('# Subtest: fetch')
print('    ok 1 - from cache')
print('    not ok 2 - from upstream')
print('      ---')
print('      message: ok 3')
print('      ...')
print('    1..2')
sys.stdout.flush()
print('not ok 1 - fetch')
print('not ok 2 - retry # TODO nobody retries')
print('ok 3 - quote \\\\# and \"quote\"')
print('1..3')
";

#[test]
fn points_of_tap_are_sub_results() {
    let place = place(
        "[replays]\npaths = []\n[[suite]]\nname = 'unit'\npaths = ['t/*']\nkind = 'tap'\n",
        &[
            ("t/bats.t", BATS),
            ("t/more.py", MORE),
            (
                "t/fine.sh",
                "#!/bin/sh\nprintf '1..2\\nok\\nok 2 - late # TODO x\\n'\n",
            ),
            ("t/cut.sh", "#!/bin/sh\necho 1..12; echo ok\n"),
            ("t/silent.sh", "#!/bin/sh\n"),
            (
                "t/bails.sh",
                "#!/bin/sh\nprintf '1..2\\nok\\nBail out! no database\\n'; exit 255\n",
            ),
            ("t/skips.sh", "#!/bin/sh\necho '1..0 # SKIP no perl'\n"),
            (
                "t/killed.sh",
                "#!/bin/sh\nprintf '1..2\\nok\\n'; kill -9 $$\n",
            ),
            // One that prints on for ever must not be held.
            (
                "t/many.sh",
                "#!/bin/sh\necho 1..5000; seq -f 'ok %.0f' 5000\n",
            ),
        ],
    );
    let formats = ["junit", "tap", "markdown", "text"];
    let mut args = vec!["run".to_owned(), "--json".to_owned()];
    args.extend(formats.map(|format| format!("--report={format}={format}.first")));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let ended = place.tackroom(&args).code(1);
    insta::assert_snapshot!(told(&ended), @r"
    bails: failed 255
    bats: failed 1
    cut: failed: planned 12 points, and 1 came
    fine: passed 0
    killed: failed
    many: passed 0
    more: failed: 1 of 3 points failed: fetch › from upstream
    silent: failed: it printed no TAP
    skips: skipped: no perl
    ");
    let events = ended.json();
    let tap = |name: &str| {
        let mut events = events.iter();
        let end = events.find(|it| it["event"] == "replay_finished" && it["replay"] == name);
        end.unwrap()["tap"].clone()
    };
    let more = tap("more");
    assert_eq!(
        (&more["planned"], &more["failed"], &more["todo"]),
        (&3.into(), &1.into(), &1.into())
    );
    assert_eq!(
        more["points"][1],
        serde_json::json!({
            "number": 2,
            "outcome": "not ok",
            "description": "from upstream",
            "reason": "",
            "within": ["fetch"],
        })
    );
    let many = tap("many");
    assert_eq!(many["seen"], 5000);
    assert_eq!(
        many["points"].as_array().unwrap().len() as u64 + many["left_out"].as_u64().unwrap(),
        5000
    );

    let junit = place.read("junit.first");
    for part in [
        "<testsuite name=\"unit\" tests=\"9\" skipped=\"1\" errors=\"0\" failures=\"6\"",
        "<failure message=\"failed: exit 1; 1 of 3 points failed: closes\" type=\"failed\">",
        "not ok 2 - fetch › from upstream",
        "<failure message=\"failed: exit 255; bailed out: no database\"",
    ] {
        assert!(junit.contains(part), "{part}\n{junit}");
    }
    let text = place.read("text.first");
    for part in [
        "✘ bats [TIME]  failed: exit 1; 1 of 3 points failed: closes\n",
        "✔ fine [TIME]  2 points\n",
        "✔ many [TIME]  5000 points\n",
        "   not ok 2 - fetch › from upstream\n",
    ] {
        let text = place.redacted(&text);
        assert!(text.contains(part), "{part}\n{text}");
    }
    let ended = ended.err("  passed although TODO: late\n");
    assert!(
        !ended.stderr.contains("TODO: retry"),
        "{}",
        ended.transcript()
    );
    let report = place.read("tap.first");
    for part in [
        "# Subtest: more\n    not ok 1 - fetch\n    not ok 2 - retry # TODO nobody retries\n    \
         ok 3 - quote \\# and \"quote\"\n    1..3\nnot ok ",
        "message: \"failed: 1 of 3 points failed: fetch › from upstream\"",
    ] {
        assert!(report.contains(part), "{part}\n{report}");
    }
    assert!(!report.contains("Subtest: many"), "{report}");
    // What is kept says the same.
    for format in formats {
        let again = place.tackroom(&["report", "--format", format]).code(0);
        assert_eq!(
            again.stdout,
            place.read(&format!("{format}.first")),
            "{format}"
        );
    }
}
