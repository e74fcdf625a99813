//! The command line as people, scripts and CI servers meet it. No engine is needed for any of this.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says what went wrong by panicking"
)]

mod support;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::Stdio;

use serde_json::Value;
use support::{Ended, Place, Running};

/// Verdict by replay, out of the events.
fn verdicts(ended: &Ended) -> Vec<(String, String)> {
    let text = |event: &Value, key: &str| event[key].as_str().expect("a string").to_owned();
    ended
        .json()
        .iter()
        .filter(|event| event["event"] == "replay_finished")
        .map(|event| (text(event, "replay"), text(event, "verdict")))
        .collect()
}

fn reason(ended: &Ended, replay: &str) -> String {
    let events = ended.json();
    let finished = events
        .iter()
        .find(|event| event["event"] == "replay_finished" && event["replay"] == replay);
    let reason = &finished.expect("it finished")["reason"];
    reason.as_str().unwrap_or_default().to_owned()
}

fn pairs(verdicts: &[(String, String)]) -> Vec<(&str, &str)> {
    verdicts.iter().map(|(a, b)| (&**a, &**b)).collect()
}

mod help {
    use super::*;

    #[test]
    fn every_command_says_what_it_does() {
        let place = Place::new();
        let text = place.tackroom(&["--help"]).code(0).stdout;
        insta::assert_snapshot!("help", text);
        let commands: Vec<&str> = text
            .split("Commands:\n")
            .nth(1)
            .expect("a list of commands")
            .lines()
            .take_while(|line| !line.is_empty())
            .filter_map(|line| line.split_whitespace().next())
            .filter(|command| *command != "help")
            .collect();
        assert!(commands.contains(&"run"), "{commands:?}");
        for command in commands {
            let text = place.tackroom(&[command, "--help"]).code(0).stdout;
            insta::assert_snapshot!(format!("help_{command}"), text);
        }
    }

    #[test]
    fn a_mistake_goes_to_stderr_and_exits_2() {
        let place = Place::new();
        let ended = place.tackroom(&["run", "--fail-fats"]).code(2);
        assert_eq!(ended.stdout, "");
        ended.err("--fail-fast");
    }

    #[test]
    fn the_dashboard_wants_a_terminal() {
        let ended = Place::new().tackroom(&[]).code(2).err("tackroom");
        assert_eq!(ended.stdout, "");
    }
}

mod configuration {
    use super::*;

    #[test]
    fn init_writes_a_file_that_works_and_never_overwrites() {
        let place = Place::with_replays(&[("a", "exit 0")]);
        place.tackroom(&["init"]).code(0).err("wrote tackroom.toml");
        place.tackroom(&["run"]).code(0);
        place.write("tackroom.toml", "name = 'mine'\n");
        place
            .tackroom(&["init"])
            .code(5)
            .err("tackroom.toml exists already");
        assert_eq!(place.read("tackroom.toml"), "name = 'mine'\n");
        place.tackroom(&["init", "other.toml"]).code(0);
        place.tackroom(&["init", "no/such/place.toml"]).code(2);
    }

    #[test]
    fn every_mistake_is_told_with_file_and_line() {
        let place = Place::with_replays(&[("a", "exit 0")]);
        place.write("tackroom.toml", "[replays]\ntimout = '1s'\ngrace = 3\n");
        for command in ["run", "list", "ps", "up", "down"] {
            let ended = place.tackroom(&[command]).code(2);
            assert_eq!(ended.stdout, "", "{command}");
            ended
                .err("tackroom.toml:2: replays.timout: unknown key; did you mean `timeout`?")
                .err("tackroom.toml:3: replays.grace: expected a string");
        }
    }

    #[test]
    fn a_file_is_found_upward_or_named() {
        let place = Place::with_replays(&[("a", "exit 0")]);
        place.write("tackroom.toml", "[replays]\npaths = ['nested/*.sh']\n");
        place.script("nested/b.sh", "exit 0");
        place.write("other.toml", "[replays]\npaths = ['replays/*.sh']\n");
        let mut command = place.command(&["list"]);
        command.current_dir(place.path("nested"));
        let ended = Running::start(&mut command).end().code(0);
        assert_eq!((&*ended.stdout, &*ended.stderr), ("b\n", ""));
        let ended = place.tackroom(&["--config", "other.toml", "list"]).code(0);
        assert_eq!(ended.stdout, "a\n");
        place
            .tackroom(&["list", "--config", "none.toml"])
            .code(2)
            .err("cannot read none.toml");
    }

    #[test]
    fn without_a_file_it_works_and_says_so() {
        let place = Place::with_replays(&[("a", "exit 0")]);
        place
            .tackroom(&["run"])
            .code(0)
            .err("no tackroom.toml here or above")
            .err("tackroom init");
        for command in ["up", "seed", "down"] {
            let ended = place.tackroom(&[command]).code(2);
            ended.err("there is no tackroom.toml").err("tackroom init");
        }
        place.write("tackroom.toml", "");
        place.tackroom(&["up"]).code(2).err("has no [harness]");
    }

    #[test]
    fn nothing_is_left_outside_of_the_state_directory() {
        let place = Place::with_replays(&[("a", "echo > \"$TACKROOM_ARTIFACTS/kept\"")]);
        place.tackroom(&["run"]).code(0);
        let names = |path: &std::path::Path| -> Vec<String> {
            let entries = std::fs::read_dir(path).expect("a directory");
            entries
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect()
        };
        assert_eq!(names(&place.path(".")), ["replays"]);
        assert_eq!(names(&place.path("../home")), ["state"]);
    }
}

mod list {
    use super::*;

    fn place() -> Place {
        let place = Place::new();
        place.replay(
            "peers",
            "# Says why. Not this.\n# @closes #2397\n# @timeout 20s\n# @tags net\n# @needs jq",
        );
        place.replay("stale image", "# @timeout soon\nexit 1");
        place.script("replays/_lib.sh", "exit 1");
        place.write("replays/notes.md", "");
        place.write("tackroom.toml", "");
        place
    }

    #[test]
    fn people_see_name_issue_and_description() {
        let ended = place().tackroom(&["list"]).code(0);
        insta::assert_snapshot!(ended.stdout);
        assert_eq!(ended.stderr, "");
    }

    #[test]
    fn programs_get_one_object_a_line() {
        let place = place();
        let ended = place.tackroom(&["list", "--json"]).code(0);
        assert_eq!(ended.json().len(), 2);
        insta::assert_snapshot!(ended.stdout);
        let again = place.tackroom(&["run", "--list", "--json"]).code(0);
        assert_eq!(again.stdout, ended.stdout);
    }

    #[test]
    fn patterns_select_and_nothing_matched_is_4() {
        let place = place();
        for pattern in ["peer", "*eers", "replays/peers.sh", "2397", "#2397"] {
            let ended = place.tackroom(&["list", pattern]).code(0);
            assert!(ended.stdout.starts_with("peers") && ended.stdout.lines().count() == 1);
        }
        for command in ["list", "run"] {
            let ended = place.tackroom(&[command, "peers", "stale imgae"]).code(4);
            assert_eq!(ended.stdout, "");
            ended.err("no replay matches \"stale imgae\"; did you mean stale image?");
        }
    }

    /// Whoever adds a replay pastes the table; the links are the README's own.
    #[test]
    fn the_readme_of_the_bundled_harness_has_the_table() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut command = Place::new().command(&["list", "--markdown"]);
        let ended = Running::start(command.current_dir(root)).end().code(0);
        let table = ended.stdout.replace("](replays/", "](../../replays/");
        let readme = std::fs::read_to_string(root.join("assets/harness/README.md")).unwrap();
        assert!(readme.contains(&format!("\n\n{table}\n")), "{table}");
        let rows = |text: &str| {
            text.lines()
                .filter(|line| line.contains("(../../replays/"))
                .count()
        };
        assert_eq!(rows(&readme), rows(&table), "a row too many");
    }

    #[test]
    fn no_replay_at_all_is_4() {
        let place = Place::new();
        place.write("tackroom.toml", "");
        place.tackroom(&["list"]).code(4).err("there is no replay");
        place
            .tackroom(&["run"])
            .code(4)
            .err("nothing matches replays/*.sh");
    }
}

mod run {
    use super::*;

    /// One of each kind.
    fn mixed() -> Place {
        let place = Place::with_replays(&[
            ("1-passes", "echo fine"),
            ("2-fails", "echo wanted 404, got 200 >&2; exit 3"),
            ("3-hangs", "# @timeout 2s\necho stuck; exec sleep 600"),
            ("4-skips", "echo; echo there is no GPU here; echo; exit 77"),
            ("5-dies", "kill -KILL $$"),
        ]);
        place.write("tackroom.toml", "[replays]\ngrace = '30s'\n");
        place
    }

    const MIXED: [(&str, &str); 5] = [
        ("1-passes", "passed"),
        ("2-fails", "failed"),
        ("3-hangs", "timed out"),
        ("4-skips", "skipped"),
        ("5-dies", "failed"),
    ];

    #[test]
    fn results_are_on_stdout_and_the_way_there_on_stderr() {
        let place = mixed();
        let ended = place.tackroom(&["run"]).code(1);
        insta::assert_snapshot!("mixed_stdout", place.redacted(&ended.stdout));
        insta::assert_snapshot!("mixed_stderr", place.redacted(&ended.stderr));
    }

    /// What a shell, and compose by it, takes for its directory is what stacks are recognised by.
    #[test]
    fn a_project_behind_a_symbolic_link_runs_in_its_real_directory() {
        let place = Place::with_replays(&[("where", "echo \"$PWD\" > where")]);
        place.write("tackroom.toml", "");
        let link = place.path("../link");
        std::os::unix::fs::symlink(place.path(""), &link).expect("made");
        let mut command = place.command(&["run"]);
        command.current_dir(&link).env("PWD", &link);
        Running::start(&mut command).end().code(0);
        let real = place.path("").canonicalize().expect("it exists");
        assert_eq!(place.read("where").trim_end(), real.to_string_lossy());
    }

    #[test]
    fn a_pass_with_skips_is_0() {
        let place = mixed();
        place.tackroom(&["run", "passes", "skips"]).code(0);
        place.tackroom(&["run", "skips"]).code(0);
    }

    #[test]
    fn events_are_one_json_object_a_line_in_order() {
        let place = mixed();
        let ended = place.tackroom(&["run", "--json"]).code(1);
        assert_eq!(pairs(&verdicts(&ended)), MIXED);
        assert_eq!(reason(&ended, "4-skips"), "there is no GPU here");
        let events = ended.json();
        for pair in events.windows(2) {
            let offset = |event: &Value| event["offset"].as_f64().expect("seconds");
            assert!(offset(&pair[0]) <= offset(&pair[1]), "{pair:?}");
        }
        for event in &events {
            assert_eq!(event["v"], 1, "{event}");
            let at = event["at"].as_str().expect("a time");
            at.parse::<jiff::Timestamp>().expect("RFC 3339");
        }
        let names: Vec<&str> = events
            .iter()
            .filter_map(|event| event["event"].as_str())
            .collect();
        assert_eq!(
            names.join(" "),
            "started \
             replay_started replay_output replay_finished \
             replay_started replay_output replay_finished \
             replay_started replay_output replay_stopping replay_finished \
             replay_started replay_output replay_output replay_output replay_finished \
             replay_started replay_finished \
             finished"
        );
        let (first, last) = (&events[0], &events[events.len() - 1]);
        assert_eq!(first["run"], last["run"]);
        assert_eq!(first["replays"].as_array().map(Vec::len), Some(5));
        let count = |key: &str| last[key].as_u64();
        assert_eq!(
            ["passed", "failed", "timed_out", "skipped", "exit_code"].map(count),
            [1, 2, 1, 1, 1].map(Some)
        );
        let finished = |replay: &str| {
            let found = events
                .iter()
                .find(|e| e["event"] == "replay_finished" && e["replay"] == replay);
            found.expect("it finished").clone()
        };
        assert_eq!(finished("2-fails")["exit_code"], 3);
        assert_eq!(finished("5-dies")["signal"], 9);
        let output = finished("2-fails")["output"].as_str().map(str::to_owned);
        let kept = std::fs::read_to_string(output.expect("it is kept")).expect("a file");
        assert_eq!(kept, "wanted 404, got 200\n");
        ended.err("│ wanted 404, got 200");
    }

    #[test]
    fn what_could_not_start_is_told_and_the_others_run() {
        let place = Place::with_replays(&[("z-runs", "exit 0")]);
        place.write("replays/mode.sh", "#!/bin/sh\n");
        place.write_with_mode("replays/plain.sh", "echo hi\n", 0o755);
        place.write_with_mode("replays/crlf.sh", "#!/bin/sh\r\nexit 0\r\n", 0o755);
        place.write_with_mode("replays/lost.sh", "#!/no/such/shell\n", 0o755);
        place.write_with_mode("replays/env.sh", "#!/usr/bin/env nosuchshell\n", 0o755);
        place.replay("tools", "# @needs sh nosuchtool");
        std::os::unix::fs::symlink("gone", place.path("replays/dangling.sh")).unwrap();
        let ended = place.tackroom(&["run", "--json"]).code(1);
        let verdicts = verdicts(&ended);
        let (last, others) = verdicts.split_last().expect("some");
        assert_eq!((&*last.0, &*last.1), ("z-runs", "passed"));
        for (replay, words) in [
            ("crlf", "CRLF"),
            ("env", "nosuchshell, which is not on PATH"),
            ("lost", "/no/such/shell, which does not exist"),
            ("mode", "chmod +x replays/mode.sh"),
            ("plain", "no shebang"),
            ("tools", "needs nosuchtool"),
            ("dangling", "No such file"),
        ] {
            assert!(
                pairs(others).contains(&(replay, "could not start")),
                "{replay}"
            );
            let reason = reason(&ended, replay);
            assert!(reason.contains(words), "{replay}: {reason}");
        }
        assert_eq!(others.len(), 7);
    }

    #[test]
    fn odd_names_are_run_reported_and_found_again() {
        let names = [
            "a b",
            "it's \"quoted\"",
            "naïve-日本語",
            "x[1]",
            "-dash",
            "$HOME;x",
            "a.b",
        ];
        let place = Place::new();
        for name in names {
            place.replay(name, "echo \"I am $TACKROOM_REPLAY\"; exit 1");
        }
        let ended = place.tackroom(&["run", "--json"]).code(1);
        let mut found: Vec<String> = verdicts(&ended).into_iter().map(|(name, _)| name).collect();
        found.sort();
        let mut sorted = names.map(str::to_owned);
        sorted.sort();
        assert_eq!(found, sorted);
        // The line that a person copies runs exactly this replay.
        for name in names {
            let shown = place.tackroom(&["run", "--", name]).code(1);
            let again = shown
                .stdout
                .lines()
                .find_map(|line| line.trim().strip_prefix("again: tackroom "))
                .expect("a line to run it again");
            let line = format!("\"$TACKROOM\" {}", again.replacen("run", "run --json", 1));
            let mut command = std::process::Command::new("bash");
            command
                .args(["-c", &line])
                .current_dir(place.path("."))
                .env_clear()
                .envs(place.environment())
                .env("TACKROOM", env!("CARGO_BIN_EXE_tackroom"))
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            let ended = Running::start(&mut command).end().code(1);
            let verdicts = verdicts(&ended);
            assert_eq!(pairs(&verdicts), [(name, "failed")], "{line}");
            ended.err(&format!("│ I am {name}"));
        }
    }

    /// Two results under one name would hide each other.
    #[test]
    fn no_two_replays_have_one_name() {
        let place = Place::new();
        place.write("tackroom.toml", "[replays]\npaths = ['replays/**/*']\n");
        for (file, code) in [("x/a.sh", 1), ("x/a.py", 0), ("y/a.sh", 0), ("y/a.py", 0)] {
            place.script(&format!("replays/{file}"), &format!("exit {code}"));
        }
        let ended = place.tackroom(&["run", "--json"]).code(1);
        let mut names: Vec<String> = verdicts(&ended).into_iter().map(|(name, _)| name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 4, "{names:?}");
        let last = ended.json().pop().expect("the summary");
        assert_eq!((&last["passed"], &last["failed"]), (&3.into(), &1.into()));
    }

    #[test]
    fn fail_fast_stops_at_the_first_that_does_not_pass() {
        let place = mixed();
        let ended = place.tackroom(&["run", "--fail-fast", "--json"]).code(1);
        assert_eq!(pairs(&verdicts(&ended)), MIXED[..2]);
        let last = ended.json().pop().expect("the summary");
        assert_eq!(
            last["not_run"],
            serde_json::json!(["3-hangs", "4-skips", "5-dies"])
        );
        let ended = place.tackroom(&["run", "--fail-fast"]).code(1);
        ended.out("1 passed, 1 failed, 3 not run");
    }

    #[test]
    fn list_runs_nothing() {
        let place = Place::with_replays(&[("a", "touch \"$PWD/ran\""), ("b", "exit 1")]);
        let ended = place.tackroom(&["run", "--list", "a"]).code(0);
        assert_eq!(ended.stdout, "a\n", "and not what has an a in replays/");
        assert!(!place.path("ran").exists());
        place.tackroom(&["run", "a"]).code(0);
        assert!(
            place.path("ran").exists(),
            "the script does what we look for"
        );
    }

    #[test]
    fn what_scripts_print_is_never_obeyed_by_the_terminal() {
        let place = Place::with_replays(&[(
            "evil",
            r"printf '\033]0;title\a\033[2Jwiped\033[31mred\033[0m \302\233A \342\200\256rtl \r\000\n'; exit 1",
        )]);
        for args in [
            &["run"][..],
            &["run", "--color", "never"],
            &["run", "--json"],
        ] {
            let ended = place.tackroom(args).code(1);
            for text in [&ended.stdout, &ended.stderr] {
                let bad = text
                    .chars()
                    .find(|c| c.is_control() && *c != '\n' || *c == '\u{202e}');
                assert_eq!(bad, None, "{args:?}: {text:?}");
            }
            assert!(ended.stderr.contains("wiped"), "{}", ended.transcript());
        }
    }

    #[test]
    fn colour_is_asked_for_or_refused() {
        let place = mixed();
        let coloured = |args: &[&str], env: &[(&str, &str)]| {
            let mut command = place.command(args);
            command.envs(env.iter().copied());
            let ended = Running::start(&mut command).end().code(0);
            assert_eq!(ended.stdout.contains('\x1b'), ended.stderr.contains('\x1b'));
            ended.stdout.contains('\x1b')
        };
        assert!(!coloured(&["run", "passes"], &[]), "not a terminal");
        assert!(coloured(
            &["run", "passes", "--color", "always"],
            &[("NO_COLOR", "1")]
        ));
        assert!(coloured(&["run", "passes"], &[("FORCE_COLOR", "1")]));
        assert!(!coloured(
            &["run", "passes"],
            &[("FORCE_COLOR", "1"), ("NO_COLOR", "1")]
        ));
        assert!(!coloured(
            &["run", "passes", "--color=never"],
            &[("FORCE_COLOR", "1")]
        ));
    }

    #[test]
    fn ci_reaches_the_scripts_as_it_is() {
        let place = Place::with_replays(&[("a", "echo \"CI is <${CI-unset}>\"")]);
        for (value, shown) in [
            (None, "<unset>"),
            (Some("true"), "<true>"),
            (Some("1"), "<1>"),
        ] {
            let mut command = place.command(&["run"]);
            command.envs(value.map(|value| ("CI", value)));
            Running::start(&mut command).end().code(0).err(shown);
        }
    }

    #[test]
    fn a_switch_in_the_environment_can_say_no_and_is_no_mistake_with_no_up() {
        let place = Place::with_replays(&[("a", "exit 0")]);
        place.script("down.sh", "echo taken down");
        place.write("tackroom.toml", "[harness]\ndown = './down.sh'\n");
        let run = |args: &[&str], keep_up: &str| {
            let mut command = place.command(args);
            command.env("KEEP_UP", keep_up).env("REBUILD", keep_up);
            Running::start(&mut command).end().code(0).stderr
        };
        for no in ["0", "", "false", "no"] {
            assert!(run(&["run"], no).contains("taken down"), "KEEP_UP={no}");
        }
        for yes in ["1", "true", "yes"] {
            assert!(!run(&["run"], yes).contains("taken down"), "KEEP_UP={yes}");
        }
        for value in ["0", "1", "failed"] {
            assert!(!run(&["run", "--no-up"], value).contains("taken down"));
        }
    }

    #[test]
    fn a_harness_can_stay_up_for_a_failure_alone() {
        let place = Place::with_replays(&[("passes", "exit 0"), ("fails", "exit 1")]);
        place.script("down.sh", "echo taken down");
        place.write("tackroom.toml", "[harness]\ndown = './down.sh'\n");
        let run = |pattern: &str, code: i32| {
            let flag = place.tackroom(&["run", "--keep-up=failed", pattern]);
            let mut command = place.command(&["run", pattern]);
            command.env("KEEP_UP", "failed");
            let variable = Running::start(&mut command).end();
            [flag, variable].map(|ended| ended.code(code).stderr)
        };
        for stderr in run("passes", 0) {
            assert!(stderr.contains("taken down"), "{stderr}");
        }
        for stderr in run("fails", 1) {
            assert!(!stderr.contains("taken down"), "{stderr}");
            assert!(stderr.contains("`tackroom down` takes it down"), "{stderr}");
        }
        let wrong = place.tackroom(&["run", "--keep-up=sometimes"]).code(2);
        wrong.err("always, failed or never");
    }
}

mod junit {
    use super::*;
    use quick_xml::Reader;
    use quick_xml::events::Event;

    /// Every element as `(name, attributes)`, read to the end by a parser that checks.
    fn elements(xml: &str) -> Vec<(String, Vec<(String, String)>)> {
        let mut reader = Reader::from_str(xml);
        reader.config_mut().enable_all_checks(true);
        let mut elements = Vec::new();
        let mut open = 0;
        loop {
            let element = match reader.read_event().expect("valid XML") {
                Event::Start(element) => {
                    open += 1;
                    element
                }
                Event::Empty(element) => element,
                Event::End(_) => {
                    open -= 1;
                    continue;
                }
                Event::Eof => break,
                _ => continue,
            };
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
            let attributes = element
                .attributes()
                .map(|attribute| {
                    let attribute = attribute.expect("an attribute");
                    let value = String::from_utf8(attribute.value.to_vec()).expect("text");
                    let value = quick_xml::escape::unescape(&value).expect("escaped");
                    (text(attribute.key.as_ref()), value.into_owned())
                })
                .collect();
            elements.push((text(element.name().as_ref()), attributes));
        }
        assert_eq!(open, 0, "every element is closed");
        elements
    }

    fn names(xml: &str, element: &str) -> Vec<String> {
        elements(xml)
            .into_iter()
            .filter(|(name, _)| name == element)
            .filter_map(|(_, attributes)| {
                let name = attributes.into_iter().find(|(key, _)| key == "name");
                name.map(|(_, value)| value)
            })
            .collect()
    }

    #[test]
    fn it_is_xml_whatever_the_scripts_say() {
        let place = Place::with_replays(&[
            (
                "a <&\"'> b",
                r"printf ']]> <x> & \000\033[31m\377 \357\277\277\n'; exit 1",
            ),
            ("slow", "# @timeout 100ms\nexec sleep 600"),
            ("skips", "echo '<none>'; exit 77"),
            ("passes", "exit 0"),
        ]);
        place.tackroom(&["run", "--junit", "report.xml"]).code(1);
        let xml = place.read("report.xml");
        assert_eq!(names(&xml, "testsuite"), ["replays"]);
        assert_eq!(
            names(&xml, "testcase"),
            ["a <&\"'> b", "passes", "skips", "slow"]
        );
        let count = |wanted: &str| elements(&xml).iter().filter(|(e, _)| e == wanted).count();
        assert_eq!(["failure", "error", "skipped"].map(count), [2, 0, 1]);
    }

    #[test]
    fn an_earlier_report_is_replaced_in_one_piece() {
        let place = Place::with_replays(&[("a", "cat report.xml; exit 0")]);
        place.write("report.xml", "the earlier report\n");
        place
            .tackroom(&["run", "--junit", "report.xml"])
            .code(0)
            .err("│ the earlier report");
        assert_eq!(names(&place.read("report.xml"), "testcase"), ["a"]);
        let mut left: Vec<_> = std::fs::read_dir(place.path("."))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["replays", "report.xml"]);
    }

    #[test]
    fn where_it_cannot_be_written_nothing_runs() {
        let place = Place::with_replays(&[("a", "touch ran")]);
        place.write("file", "");
        std::fs::create_dir(place.path("directory")).unwrap();
        for bad in ["no/such/report.xml", "file/report.xml", "directory", "."] {
            let ended = place.tackroom(&["run", "--junit", bad]).code(2);
            assert_eq!(ended.stdout, "", "{bad}");
            ended.err(&format!("cannot write {bad}"));
            assert!(!place.path("ran").exists(), "{bad}");
        }
    }
}

mod streams {
    use super::*;

    /// A pipe whose reader has gone.
    fn broken() -> OwnedFd {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        writer.into()
    }

    fn place() -> Place {
        let place = Place::with_replays(&[("a", "echo out; exit 1"), ("b", "touch ran")]);
        place.write("tackroom.toml", "");
        place
    }

    #[test]
    fn a_reader_of_results_that_goes_away_does_not_stop_the_run() {
        for args in [&["run"][..], &["run", "--json"]] {
            let place = place();
            let mut command = place.command(args);
            command.stdout(broken());
            let ended = Running::start(&mut command).end().code(1);
            assert!(place.path("ran").exists());
            ended.err("▶ replay b").err("│ out");
        }
    }

    #[test]
    fn a_reader_of_progress_that_goes_away_does_not_cost_the_results() {
        let place = place();
        for args in [&["run"][..], &["run", "--json"]] {
            let results = place.path("results");
            let mut command = place.command(args);
            command.stdout(File::create(&results).unwrap());
            command.stderr(broken());
            let status = command.status().expect("it starts");
            assert_eq!(status.code(), Some(1));
            let results = std::fs::read_to_string(results).unwrap();
            let last = results.lines().last().unwrap_or_default();
            assert!(last.contains("passed"), "{results}");
        }
    }

    #[test]
    fn lists_and_help_into_a_closed_pipe_are_success() {
        let place = place();
        for args in [
            &["list"][..],
            &["list", "--json"],
            &["--help"],
            &["run", "--list"],
        ] {
            let mut command = place.command(args);
            command.stdout(broken());
            let ended = Running::start(&mut command).end().code(0);
            assert_eq!(ended.stderr, "", "{args:?}");
        }
    }

    #[test]
    fn a_report_goes_into_a_link_or_device_and_never_takes_its_place() {
        let place = place();
        place.write("real.xml", "");
        std::os::unix::fs::symlink("real.xml", place.path("link.xml")).unwrap();
        place.tackroom(&["run", "--junit", "link.xml"]);
        assert!(place.path("link.xml").is_symlink());
        assert!(place.read("real.xml").ends_with("</testsuites>\n"));
        let fifo = rustix::fs::FileType::Fifo;
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, place.path("fifo"), fifo, mode, 0).unwrap();
        let unread = place.tackroom(&["run", "a", "--junit", "fifo"]);
        assert!(unread.stderr.contains("fifo"), "{}", unread.transcript());
    }

    #[test]
    fn a_dash_is_stdout_for_every_report() {
        let place = Place::with_replays(&[("a", "printf 'x\\xef\\xbf\\xbfy\\n'; exit 1")]);
        let ended = place.tackroom(&["run", "--junit", "-"]).code(1);
        assert!(ended.stdout.ends_with("</testsuites>\n") && !place.path("-").exists());
        assert!(!ended.stdout.contains('\u{ffff}'), "XML cannot hold it");
    }

    #[test]
    fn a_replay_can_be_named_as_a_shell_completes_it() {
        let place = Place::with_replays(&[("a", "exit 0"), ("b", "exit 1")]);
        let absolute = place.path("replays/a.sh");
        for pattern in ["./replays/a.sh", absolute.to_str().unwrap()] {
            place.tackroom(&["run", pattern]).code(0).err("replay a");
        }
    }

    #[test]
    fn a_leak_and_what_was_not_run_are_in_every_report() {
        let place = Place::with_replays(&[
            (
                "a",
                "setsid sleep 600 > /dev/null 2>&1 &\n\
                 until grep -qa ^sleep /proc/$!/cmdline; do sleep 0.01; done\nexit 1",
            ),
            ("b", "exit 0"),
        ]);
        let reports = ["markdown", "tap", "github", "junit"];
        let mut words = vec!["run".to_owned(), "--fail-fast".to_owned()];
        words.extend(reports.map(|format| format!("--report={format}={format}")));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        place.tackroom(&words).code(1);
        for format in reports {
            let report = place.read(format);
            assert!(report.contains("sleep 600"), "{report}");
            assert!(report.contains("not run"), "{report}");
        }
    }

    #[test]
    fn a_full_disk_is_no_success() {
        let place = place();
        for words in [&["list"][..], &["run"], &["run", "--json"]] {
            let mut command = place.command(words);
            command.stdout(File::options().write(true).open("/dev/full").unwrap());
            let ended = Running::start(&mut command).end().code(70);
            ended.err("No space left");
        }
    }
}

mod engine {
    use super::*;

    #[test]
    fn an_engine_that_is_not_there_is_7_with_cause_and_next_step() {
        let place = Place::new();
        place.write(
            "tackroom.toml",
            "[[stack]]\nname = 's'\nlabels = ['tackroom.nobody=1']\nteardown = true\n\
             [harness]\nstack = 's'\nup = 'touch ran'\n",
        );
        place.replay("a", "touch ran");
        let host = ["--host", "unix:///nonexistent/docker.sock"];
        for command in [
            &["ps"][..],
            &["teardown", "s"],
            &["up"],
            &["down"],
            &["run"],
        ] {
            let ended = place.tackroom(&[command, &host].concat()).code(7);
            ended.err("/nonexistent/docker.sock: there is no such socket");
            assert!(!place.path("ran").exists(), "{command:?}");
        }
        let ended = place.tackroom(&[&["ps"][..], &host].concat()).code(7);
        insta::assert_snapshot!(ended.stderr);
        assert_eq!(ended.stdout, "");
    }

    #[test]
    fn stacks_that_may_not_go_are_refused_before_the_engine_is_asked() {
        let place = Place::new();
        place.write(
            "tackroom.toml",
            "[[stack]]\nname = 'dev'\nlabels = ['tackroom.nobody=1']\n",
        );
        let host = ["--host", "unix:///nonexistent/docker.sock"];
        let teardown = |stack| place.tackroom(&[&["teardown", "--yes", stack][..], &host].concat());
        teardown("dev").code(5).err("dev is protected");
        teardown("dve")
            .code(4)
            .err("no stack is called dve; there are: dev");
    }
}

mod logs {
    use super::*;

    /// Before the engine is asked.
    #[test]
    fn a_wish_that_cannot_be_met_is_2() {
        let place = Place::new();
        place.write("tackroom.toml", "");
        for (arguments, words) in [
            (
                &["--level", "loud"][..],
                "write trace, debug, info, warn, error or fatal",
            ),
            (&["--filter", "foo("], "unclosed group"),
            (&["--exclude", ""], "an empty pattern matches nothing"),
            (&["--json", "--timestamps"], "cannot be used with"),
            (&["--since", "yesterday"], "--since yesterday: write 10m"),
            (&["-C", "-1"], "-1"),
        ] {
            let ended = place.tackroom(&[&["logs"], arguments].concat()).code(2);
            assert_eq!(ended.stdout, "", "{arguments:?}");
            ended.err(words);
        }
    }
}

mod trust {
    use super::*;

    /// Only root can make a file of somebody else's; CI is root.
    #[test]
    fn a_strangers_configuration_is_refused_unless_it_is_named() {
        let place = Place::new();
        place.write("tackroom.toml", "name = 'x'\n");
        place.replay("a", "exit 0");
        let file = place.path("tackroom.toml");
        if std::os::unix::fs::chown(&file, Some(12345), None).is_err() {
            return;
        }
        place
            .tackroom(&["list"])
            .code(2)
            .err("belongs to another user");
        place
            .tackroom(&["list", "--config", "tackroom.toml"])
            .code(0);
    }
}
