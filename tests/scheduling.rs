//! Which replays run, in which order, how often and beside what. No engine is needed.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says what went wrong by panicking"
)]

mod support;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;
use serde_json::Value;
use support::{Ended, Place, Running, wait_for};

/// A field of each event of one kind, in order.
fn fields(ended: &Ended, event: &str, field: &str) -> Vec<String> {
    ended
        .json()
        .iter()
        .filter(|it| it["event"] == event)
        .map(|it| match &it[field] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
        .collect()
}

/// `+a` where the replay `a` starts, `-a` where it has ended.
fn trace(ended: &Ended) -> String {
    let events = ended.json();
    let steps = events.iter().filter_map(|event| {
        let sign = match event["event"].as_str()? {
            "replay_started" => '+',
            "replay_finished" => '-',
            _ => return None,
        };
        Some(format!("{sign}{}", event["replay"].as_str()?))
    });
    steps.collect::<Vec<_>>().join(" ")
}

fn summary(ended: &Ended) -> Value {
    ended.json().pop().expect("the summary")
}

mod selection {
    use super::*;

    fn place() -> Place {
        let place = Place::with_replays(&[
            ("a", "# @tags net"),
            ("b", "# @tags net slow\nexit 1"),
            ("c", "# @tags db"),
        ]);
        place.write("tackroom.toml", "");
        place
    }

    fn listed(ended: &Ended) -> Vec<&str> {
        ended.stdout.lines().map(str::trim).collect()
    }

    #[test]
    fn tags_select() {
        let place = place();
        for command in [&["list"][..], &["run", "--list"]] {
            let tagged = |expression| {
                let words = [command, &["--tag", expression]].concat();
                place.tackroom(&words).code(0)
            };
            assert_eq!(listed(&tagged("net")), ["a", "b"]);
            assert_eq!(listed(&tagged("(net or db) and not slow")), ["a", "c"]);
            assert_eq!(listed(&tagged("db||!net")), ["c"]);
        }
        let ended = place.tackroom(&["run", "--json", "--tag", "!slow"]).code(0);
        assert_eq!(trace(&ended), "+a -a +c -c");
    }

    #[test]
    fn a_mistake_in_tags_runs_nothing() {
        let place = place();
        let run = |expression| place.tackroom(&["run", "--tag", expression]);
        run("nett").code(4).err("did you mean net?");
        run("db and slow").code(4).err("no replay has the tags");
        run("db and").code(2).err("expected a tag after \"and\"");
        run("db net").code(2).err("expected `and` or `or`");
    }

    #[test]
    fn parts_are_the_whole() {
        let place = place();
        for way in ["", "slice:"] {
            let mut all = Vec::new();
            for part in 1..=5 {
                let shard = format!("{way}{part}/5");
                let ended = place
                    .tackroom(&["run", "--list", "--shard", &shard])
                    .code(0);
                if ended.stdout.is_empty() {
                    let words = format!("no replay falls into part {way}{part}/5");
                    place
                        .tackroom(&["run", "--shard", &shard])
                        .code(0)
                        .err(&words);
                    assert!(ended.stderr.contains(&words), "{}", ended.transcript());
                }
                all.extend(listed(&ended).iter().map(|name| (*name).to_owned()));
            }
            all.sort();
            assert_eq!(all, ["a", "b", "c"], "{way:?}");
        }
        place
            .tackroom(&["run", "--shard", "3/2"])
            .code(2)
            .err("there is no part 3 of 2");
    }

    #[test]
    fn what_never_ran_is_left_to_do() {
        let ended = place()
            .tackroom(&["run", "--last-failed", "--json"])
            .code(1);
        assert_eq!(trace(&ended), "+a -a +b -b +c -c");
    }

    #[test]
    fn an_order_can_be_asked_for() {
        let place = Place::new();
        place.write("tackroom.toml", "[replays]\npaths = ['*/*.sh']\n");
        place.script("x/b.sh", "");
        place.script("y/a.sh", "");
        let ordered = |order| place.tackroom(&["list", "--order", order]).code(0).stdout;
        assert_eq!(ordered("found"), "b\na\n");
        assert_eq!(ordered("name"), "a\nb\n");
        place
            .tackroom(&["list", "--order", "slow"])
            .code(2)
            .err("failed-first");
    }

    #[test]
    fn a_typing_mistake_in_a_header_is_named() {
        let place = Place::with_replays(&[("a", "# @paralel")]);
        let problem = "replays/a.sh: @paralel: did you mean @parallel?";
        place.tackroom(&["run"]).code(0).err(problem);
    }
}

mod dry_run {
    use super::*;

    fn place() -> Place {
        let place = Place::with_replays(&[
            ("a", "# @tags net\ntouch ran"),
            ("b", "# @tags net\n# @timeout 5s\ntouch ran"),
            ("c", "touch ran"),
        ]);
        place.write(
            "tackroom.toml",
            "[[stack]]\nname = 's'\nlabels = ['tackroom.nobody=1']\nteardown = true\n\
             [[stack]]\nname = 'dev'\nlabels = ['tackroom.nobody=2']\n\
             [harness]\nstack = ['s', 'dev']\nup = ['touch', 'ran']\ndown = 'touch ran'\n\
             ready = { http = 'http://localhost:1/health', timeout = '5s' }\n",
        );
        place
    }

    const ARGUMENTS: [&str; 6] = [
        "run",
        "--dry-run",
        "--tag=net",
        "--repeat=2",
        "--host",
        "unix:///nonexistent/docker.sock",
    ];

    #[test]
    fn every_step_is_shown_and_nothing_runs() {
        let place = place();
        let ended = place.tackroom(&ARGUMENTS).code(0);
        insta::assert_snapshot!(ended.stdout);
        assert_eq!(ended.stderr, "");
        assert!(!place.path("ran").exists());
        let ended = place
            .tackroom(&["run", "--dry-run", "--no-up", "c"])
            .code(0);
        assert_eq!(ended.stdout, "replay    c\n");
    }

    #[test]
    fn programs_get_one_object_a_line() {
        let place = place();
        let ended = place
            .tackroom(&[&ARGUMENTS[..], &["--json"]].concat())
            .code(0);
        let objects = ended.json();
        let steps: Vec<&str> = objects
            .iter()
            .filter_map(|object| object["would"].as_str())
            .collect();
        let wanted = "up ready seed replays replay replay down teardown teardown";
        assert_eq!(steps.join(" "), wanted);
        assert_eq!(objects[0]["command"], serde_json::json!(["touch", "ran"]));
        assert_eq!(objects[4]["replay"]["name"], "a");
        assert_eq!(objects[5]["timeout"], 5.0);
        assert_eq!(objects[7]["protected"], true);
    }
}

mod repetition {
    use super::*;

    const FLAKY: &str = "echo \"attempt $TACKROOM_ATTEMPT\"\n[ \"$TACKROOM_ATTEMPT\" != 1 ]";

    #[test]
    fn a_retry_that_passes_is_a_pass_with_a_mark() {
        let place = Place::with_replays(&[("a", FLAKY), ("b", "")]);
        place.tackroom(&["run"]).code(1);
        place
            .tackroom(&["run", "--retries", "3", "--junit", "report.xml"])
            .code(0)
            .out("is tried again")
            .out("2 passed, 1 flaky")
            .err("▶ replay a, attempt 2");
        let report = place.read("report.xml");
        assert_eq!(report.matches("<flakyFailure").count(), 1, "{report}");
        assert_eq!(report.matches("<testcase").count(), 2, "{report}");
        let strict = ["run", "--retries", "1", "--fail-on-flaky"];
        place
            .tackroom(&strict)
            .code(1)
            .out("1 passed, 1 failed, 1 flaky")
            .out("── a ── passed ── attempt 2 ── flaky, which fails this run \n   │ attempt 1\n");
        place.write("tackroom.toml", "[replays]\nretries = 1\n");
        place.tackroom(&["run"]).code(0);
        place.tackroom(&["run", "--retries", "0"]).code(1);
    }

    #[test]
    fn a_retry_that_fails_is_a_failure_and_each_output_is_kept() {
        let place = Place::with_replays(&[(
            "a",
            "echo \"attempt $TACKROOM_ATTEMPT\" | tee \"$TACKROOM_ARTIFACTS/kept\"; exit 1",
        )]);
        let ended = place.tackroom(&["run", "--retries", "2", "--json"]).code(1);
        let of = |field| fields(&ended, "replay_finished", field);
        assert_eq!(of("attempt"), ["1", "2", "3"]);
        assert_eq!(of("retried"), ["true", "true", "false"]);
        for (number, output) in (1..).zip(of("output")) {
            let text = format!("attempt {number}\n");
            assert_eq!(std::fs::read_to_string(&output).unwrap(), text);
            let kept = std::path::Path::new(&output).with_file_name("artifacts");
            assert_eq!(std::fs::read_to_string(kept.join("kept")).unwrap(), text);
        }
        assert_eq!(summary(&ended)["failed"], 1);
    }

    #[test]
    fn a_skip_after_a_failed_attempt_takes_nothing_back() {
        let place = Place::with_replays(&[(
            "a",
            "echo no GPU\n[ \"$TACKROOM_ATTEMPT\" = 1 ] && exit 1; exit 77",
        )]);
        let run = ["run", "--retries", "1", "--report", "tap=out.tap"];
        let words = "failed: skipped after attempt 1 (failed: exit 1): no GPU";
        place.tackroom(&run).code(1).out(words).out("1 failed");
        let tap = place.read("out.tap");
        assert!(tap.contains("not ok 1 - a\n"), "{tap}");
        place
            .tackroom(&["run", "--last-failed", "--list"])
            .code(0)
            .out("a");
    }

    #[test]
    fn what_a_run_failed_by_is_left_to_do() {
        let place = Place::with_replays(&[("a", FLAKY)]);
        let left = || place.tackroom(&["run", "--last-failed", "--list"]).code(0);
        place.tackroom(&["run", "--retries", "1"]).code(0);
        left().err("nothing to do");
        let strict = ["run", "--retries", "1", "--fail-on-flaky"];
        place.tackroom(&strict).code(1);
        assert_eq!(left().stdout.trim(), "a");
    }

    #[test]
    fn what_could_not_start_is_not_tried_again() {
        let place = Place::new();
        place.write("replays/a.sh", "#!/bin/sh\n");
        let ended = place.tackroom(&["run", "--retries", "2", "--json"]).code(1);
        assert_eq!(trace(&ended), "+a -a");
    }

    #[test]
    fn a_pass_does_not_undo_the_failure_of_another_repetition() {
        let second = "[ \"$TACKROOM_ATTEMPT\" != 2 ]";
        let place = Place::with_replays(&[("a", second), ("b", ""), ("c", "exit 77")]);
        let ended = place.tackroom(&["run", "--repeat", "3", "--json"]).code(1);
        assert_eq!(
            trace(&ended),
            "+a -a +b -b +c -c +a -a +b -b +a -a +b -b",
            "what skips would skip again"
        );
        let summary = summary(&ended);
        let count = |key: &str| summary[key].as_u64();
        let counts = ["passed", "failed", "skipped"].map(count);
        assert_eq!(counts, [1, 1, 1].map(Some));
        place
            .tackroom(&["run", "--repeat", "3"])
            .code(1)
            .out("── a ── failed: exit 1 ── attempt 2 ");
    }

    #[test]
    fn of_repetitions_that_passed_the_last_one_is_kept() {
        let script = "echo \"$TACKROOM_ATTEMPT\"\n\
                      ln -s \"$PWD/mine\" \"$TACKROOM_ARTIFACTS/link\"\n\
                      [ \"$TACKROOM_ATTEMPT\" != 3 ]";
        let place = Place::with_replays(&[("a", script)]);
        place.write("mine/file", "");
        let ended = place.tackroom(&["run", "--repeat", "6", "--json"]).code(1);
        let of = |field| fields(&ended, "replay_finished", field);
        let outputs = of("output");
        let kept: Vec<usize> = (1..)
            .zip(&outputs)
            .filter(|(_, output)| std::path::Path::new(output).exists())
            .map(|(number, _)| number)
            .collect();
        assert_eq!(kept, [3, 6]);
        let first = std::path::Path::new(&outputs[0]).parent().unwrap();
        let mut left: Vec<_> = std::fs::read_dir(first)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["attempt-3", "attempt-6"]);
        assert!(first.join("attempt-3/artifacts/link").is_symlink());
        assert!(place.path("mine/file").exists());
    }

    #[test]
    fn until_fail_ends_with_the_first_failure() {
        let third = "[ \"$TACKROOM_ATTEMPT\" -lt 3 ]";
        let place = Place::with_replays(&[("a", ""), ("b", third), ("c", "")]);
        let ended = place.tackroom(&["run", "--until-fail", "--json"]).code(1);
        assert_eq!(
            trace(&ended),
            "+a -a +b -b +c -c +a -a +b -b +c -c +a -a +b -b"
        );
        let bounded = ["run", "--until-fail", "--repeat", "2", "--json"];
        assert_eq!(
            fields(
                &place.tackroom(&bounded).code(0),
                "replay_finished",
                "replay"
            )
            .len(),
            6
        );
    }

    #[test]
    fn until_fail_heals_no_failure_unless_it_is_told_to() {
        let place = Place::with_replays(&[("a", FLAKY)]);
        place.write("tackroom.toml", "[replays]\nretries = 1\n");
        let ended = place.tackroom(&["run", "--until-fail", "--json"]).code(1);
        assert_eq!(trace(&ended), "+a -a");
        let told = [
            "run",
            "--until-fail",
            "--retries",
            "1",
            "--repeat",
            "1",
            "--json",
        ];
        assert_eq!(trace(&place.tackroom(&told).code(0)), "+a -a +a -a");
    }

    #[test]
    fn until_fail_does_not_go_on_for_ever_where_all_skip() {
        let skips = "[ \"$TACKROOM_ATTEMPT\" = 1 ] && exit 77; exit 1";
        let place = Place::with_replays(&[("a", skips)]);
        let ended = place.tackroom(&["run", "--until-fail", "--json"]).code(0);
        assert_eq!(trace(&ended), "+a -a");
    }

    #[test]
    fn so_many_failures_are_enough() {
        let place = Place::with_replays(&[("a", "exit 1"), ("b", ""), ("c", "exit 1"), ("d", "")]);
        let ended = place
            .tackroom(&["run", "--max-fail", "2", "--json"])
            .code(1);
        assert_eq!(trace(&ended), "+a -a +b -b +c -c");
        assert_eq!(summary(&ended)["not_run"], serde_json::json!(["d"]));
        // A retry is no failure of its own.
        let retried = ["run", "--max-fail", "2", "--retries", "1", "--json"];
        let ended = place.tackroom(&retried).code(1);
        assert_eq!(trace(&ended), "+a -a +a -a +b -b +c -c +c -c");
        place
            .tackroom(&["run", "--max-fail", "2", "--fail-fast"])
            .code(2);
    }
}

mod history {
    use super::*;

    const ALL: [&str; 4] = ["run", "--json", "--order", "found"];

    /// Four that pass, quickly but for `c`, unless a file of the name says otherwise.
    fn place() -> Place {
        let script = "[ -e fail-$TACKROOM_REPLAY ] && exit 1\nexit 0";
        let slowly = format!("sleep 1\n{script}");
        Place::with_replays(&[("a", script), ("b", script), ("c", &slowly), ("d", script)])
    }

    #[test]
    fn what_failed_was_not_reached_or_is_new_is_run_again() {
        let place = place();
        place.write("fail-b", "");
        let ended = place.tackroom(&["run", "--json", "--fail-fast"]).code(1);
        assert_eq!(trace(&ended), "+a -a +b -b");
        place.replay("e", "");
        // What was not selected says nothing of what it is not about.
        place.tackroom(&["run", "a"]).code(0);
        let again = ["run", "--json", "--last-failed"];
        let ended = place.tackroom(&again).code(1);
        assert_eq!(trace(&ended), "+b -b +c -c +d -d +e -e");
        std::fs::remove_file(place.path("fail-b")).expect("it was there");
        let ended = place.tackroom(&again).code(0);
        assert_eq!(trace(&ended), "+b -b");
        place
            .tackroom(&["run", "--last-failed"])
            .code(0)
            .err("nothing to do: all 5 replays passed when they last ran");
        let ended = place.tackroom(&["run", "--last-failed", "a"]).code(0);
        ended.err("nothing to do: the replay passed when it last ran");
        place
            .tackroom(&["list", "--last-failed"])
            .code(0)
            .err("nothing to do");
    }

    #[test]
    fn what_failed_and_what_is_slow_come_first() {
        let place = place();
        let listed = |order: &str| {
            let ended = place.tackroom(&["list", "--order", order]).code(0);
            ended.stdout.replace('\n', " ")
        };
        assert_eq!(listed("failed-first"), "a b c d ");
        place.write("fail-d", "");
        place.tackroom(&ALL).code(1);
        place.replay("e", "");
        // Nobody has timed `d`, which never passed, nor `e`.
        assert!(listed("failed-first").starts_with("d e c "));
        assert!(listed("slow-first").starts_with("d e c "));
        std::fs::remove_file(place.path("fail-d")).expect("it was there");
        let ended = place.tackroom(&["run", "--json", "--order", "failed-first"]);
        assert!(trace(&ended.code(0)).starts_with("+d -d +e -e +c -c "));
        assert!(listed("slow-first").starts_with("c "));
    }

    /// The limit is a second at least, so a replay that hangs is what shows it.
    #[test]
    fn a_time_out_is_a_multiple_of_what_it_took() {
        let place = Place::with_replays(&[("a", "[ ! -e hang ] || exec sleep 600"), ("b", "")]);
        place.write(
            "tackroom.toml",
            "[replays]\ntimeout = '10m'\ntimeout_factor = 2\n",
        );
        let timeouts = |ended: &Ended| fields(ended, "replay_started", "timeout");
        let planned = |place: &Place| -> Vec<String> {
            let plan = place.tackroom(&["run", "--dry-run", "--json"]).code(0);
            let timeout = |act: &Value| act["timeout"].to_string();
            plan.json().iter().map(timeout).collect()
        };
        let first = place.tackroom(&["run", "--json"]).code(0);
        assert_eq!(timeouts(&first), ["600.0", "600.0"]);
        place.replay("new", "");
        place.write("hang", "");
        assert_eq!(planned(&place), ["1.0", "1.0", "600.0"]);
        let ended = place.tackroom(&["run", "--json", "a"]).code(1);
        assert_eq!(timeouts(&ended), ["1.0"]);
        let verdicts = fields(&ended, "replay_finished", "verdict");
        assert_eq!(verdicts, ["timed out"]);
        // It never passed in the time that it took now.
        assert_eq!(planned(&place), ["1.0", "1.0", "600.0"]);
    }
}

mod beside_others {
    use super::*;

    fn fifo(place: &Place, name: &str) {
        mknodat(CWD, place.path(name), FileType::Fifo, Mode::RWXU, 0).expect("made");
    }

    /// Each waits for the other, and both say something before and after.
    fn meeting(tags: &str) -> Place {
        let place = Place::with_replays(&[
            (
                "a",
                &format!("{tags}# @timeout 20s\necho a1; echo > there; read -r < back; echo a2"),
            ),
            (
                "b",
                &format!("{tags}# @timeout 20s\nread -r < there; echo b1; echo > back; echo b2"),
            ),
        ]);
        fifo(&place, "there");
        fifo(&place, "back");
        place
    }

    #[test]
    fn two_that_may_do_run_at_once() {
        let place = meeting("# @parallel\n");
        let ended = place.tackroom(&["run", "-j2", "--json"]).code(0);
        assert!(trace(&ended).starts_with("+a +b -"), "{}", trace(&ended));
        place.write("tackroom.toml", "[replays]\njobs = 2\n");
        place.tackroom(&["run"]).code(0);
    }

    #[test]
    fn the_output_of_each_is_shown_in_one_piece() {
        let place = meeting("# @parallel\n");
        place
            .tackroom(&["run", "-j2"])
            .code(0)
            .err("▶ output of a\n  │ a1\n  │ a2\n")
            .err("▶ output of b\n  │ b1\n  │ b2\n")
            .out("2 passed");
    }

    #[test]
    fn one_without_the_tag_runs_alone() {
        let place = Place::with_replays(&[("a", "# @parallel"), ("b", ""), ("c", "")]);
        let ended = place.tackroom(&["run", "-j8", "--json"]).code(0);
        assert_eq!(trace(&ended), "+a -a +b -b +c -c");
        let one_by_one = Place::with_replays(&[("a", "# @parallel"), ("b", "# @parallel")]);
        let ended = one_by_one.tackroom(&["run", "--json"]).code(0);
        assert_eq!(trace(&ended), "+a -a +b -b");
    }

    #[test]
    fn two_of_one_group_never_run_at_once() {
        let place = Place::with_replays(&[
            ("a", "# @parallel\n# @group pg"),
            ("b", "# @parallel\n# @group redis pg"),
        ]);
        let ended = place.tackroom(&["run", "-j8", "--json"]).code(0);
        assert_eq!(trace(&ended), "+a -a +b -b");
    }

    #[test]
    fn one_ctrl_c_ends_all_of_them() {
        let endless = "# @parallel\necho > \"ready-$TACKROOM_REPLAY\"; exec sleep 600";
        let place = Place::with_replays(&[("a", endless), ("b", endless), ("c", "# @parallel")]);
        let running = Running::start(&mut place.command(&["run", "-j2", "--json"]));
        wait_for("both are at work", || {
            ["ready-a", "ready-b"].map(|file| place.path(file).exists()) == [true; 2]
        });
        running.signal(Signal::INT);
        let ended = running.end().died_of(Signal::INT);
        let verdicts = fields(&ended, "replay_finished", "verdict");
        assert_eq!(verdicts, ["aborted"; 2]);
        assert_eq!(summary(&ended)["not_run"], serde_json::json!(["c"]));
    }

    #[test]
    fn what_fails_first_lets_the_others_end() {
        let place = Place::with_replays(&[
            ("a", "# @parallel\n# @timeout 20s\nread -r < there; exit 1"),
            (
                "b",
                "# @parallel\n# @timeout 20s\necho > there; read -r < seen; exit 0",
            ),
            ("c", "# @parallel"),
        ]);
        fifo(&place, "there");
        fifo(&place, "seen");
        let mut running =
            Running::start(&mut place.command(&["run", "-j2", "--fail-fast", "--json"]));
        running.until("failed: exit 1");
        place.write("seen", "\n");
        let ended = running.end().code(1);
        assert_eq!(fields(&ended, "replay_finished", "replay"), ["a", "b"]);
        let verdicts = fields(&ended, "replay_finished", "verdict");
        assert_eq!(verdicts, ["failed", "passed"]);
        assert_eq!(summary(&ended)["not_run"], serde_json::json!(["c"]));
    }
}
