//! Runs that are looked at after their end: kept here, in a directory, or in an archive from anywhere.
//! The archives are made by the programs that people make them with. No engine is needed.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says what went wrong by panicking"
)]

mod support;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use jiff::{SignedDuration, Timestamp};
use rustix::process::Signal;
use serde_json::json;
use support::{Place, Running};
use tackroom::domain::container::{Container, Detail, State};
use tackroom::domain::id::ContainerId;
use tackroom::domain::line::{Channel, LineBatch};
use tackroom::domain::origins::Origins;
use tackroom::engine::Inspect;
use tackroom::record::{ContainerChange, EngineLog, Seen};

/// A run of this place, with what it could have recorded of an engine.
fn recorded() -> (Place, PathBuf) {
    let place = Place::with_replays(&[
        ("fine", "echo fine"),
        ("bad", "echo 'why it is bad'; exit 3"),
    ]);
    place.write(
        "tackroom.toml",
        "name = 'shop'\n[engine]\nhost = 'unix:///nowhere.sock'\n[[family]]\nlabels = ['family=1']\n\
         [[stack]]\nname = 'web'\nlabels = ['family=1', 'stack=web']\n",
    );
    place.tackroom(&["run"]).code(1);
    let run = runs(&place).pop().expect("a run");
    engine(&run);
    (place, run)
}

fn runs(place: &Place) -> Vec<PathBuf> {
    let found = glob::glob(&format!("{}/tackroom/*/runs/*", place.state())).expect("a pattern");
    found.map(|path| path.expect("readable")).collect()
}

/// Two containers with three lines each.
fn engine(run: &Path) {
    let start: Timestamp = "2026-11-21T12:03:00Z".parse().expect("a time");
    let at = |second: i64| start + SignedDuration::from_secs(second);
    let mut log = EngineLog::create(run, start).expect("made");
    for (number, name) in ["front", "back"].into_iter().enumerate() {
        let id = ContainerId::new(format!("{number}123456789abcdef"));
        let labels = [("family", "1"), ("stack", "web")];
        let container = Container {
            id: id.clone(),
            name: name.to_owned(),
            image: "shop:dev".to_owned(),
            image_id: "sha256:feed".to_owned(),
            state: State::Exited,
            health: None,
            status: "exited".to_owned(),
            created: at(0),
            labels: labels
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            ports: Vec::new(),
            mounts: Vec::new(),
            detail: Some(Detail {
                started: Some(at(1)),
                finished: Some(at(9)),
                exit_code: Some(137),
                ..Detail::default()
            }),
            origins: Origins::default(),
        };
        let inspect = Inspect::of(container, json!({ "Id": id.as_str() }));
        let change = ContainerChange {
            at: at(0),
            id: id.clone(),
            what: Seen::Created(Box::new(inspect)),
        };
        log.container(change).expect("written");
        let mut lines = LineBatch::default();
        for second in 2..5 {
            let text = format!("{name} says {second}");
            lines.push(at(second), Channel::Out, text.as_bytes());
        }
        log.log(name, &id, 1 << 20).append(&lines).expect("written");
    }
}

/// Another place, on whose machine the run is not known and no configuration lies.
fn elsewhere() -> Place {
    Place::new()
}

fn name(run: &Path) -> String {
    run.file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned()
}

/// What a run says wherever it is looked at.
fn looks_right(place: &Place, run: &str) {
    place
        .tackroom(&["ps", "--run", run])
        .code(0)
        .out("web  protected · 0 up\n")
        .out("✖ back   exit 137")
        .out("✖ front  exit 137");
    let logs = place.tackroom(&["logs", "--run", run, "-n", "2"]).code(0);
    assert_eq!(logs.stdout.lines().count(), 4, "{logs:?}");
    assert!(logs.stdout.contains("front says 4"), "{logs:?}");
    place
        .tackroom(&["report", run])
        .code(0)
        .out("✘ bad")
        .out("why it is bad");
}

/// A program that makes archives. Where it is not there, the test says so, and fails on CI.
fn program(name: &str, directory: &Path, args: &[&str]) -> bool {
    let done = Command::new(name)
        .args(args)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    match done {
        Ok(status) => {
            assert!(status.success(), "{name} {args:?}: {status}");
            true
        }
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "{name}: {error}");
            let _ = writeln!(std::io::stderr(), "SKIPPED: there is no {name}");
            false
        }
    }
}

#[test]
fn a_run_is_looked_at_by_its_id_or_a_part_of_it_or_its_directory() {
    let (place, run) = recorded();
    let id = name(&run);
    let (_, part) = id.split_once('-').expect("a date and a time");
    looks_right(&place, &id);
    looks_right(&place, "latest");
    looks_right(&place, &id[..15]);
    looks_right(&place, part);
    looks_right(&place, run.to_str().expect("text"));
    looks_right(&elsewhere(), run.to_str().expect("text"));
    place
        .tackroom(&["ps", "--run", "no-such"])
        .code(4)
        .err("no kept run is called \"no-such\"");
    place
        .tackroom(&["ps", "--run", "./no-such"])
        .code(2)
        .err("cannot read ./no-such");
    place
        .tackroom(&["ps", "--run", "."])
        .code(4)
        .err("events.jsonl");
    place.tackroom(&["run"]).code(1);
    place
        .tackroom(&["report", "20"])
        .code(2)
        .err("several runs are called \"20\"");
}

#[test]
fn json_of_a_recording_is_that_of_an_engine() {
    let (place, run) = recorded();
    let run = run.to_str().expect("text");
    let rows = place
        .tackroom(&["ps", "--json", "--run", run])
        .code(0)
        .json();
    let names: Vec<&str> = rows.iter().filter_map(|row| row["name"].as_str()).collect();
    assert_eq!(names, ["back", "front"]);
    assert_eq!(rows[0]["stack"], "web");
    assert_eq!(rows[0]["exit_code"], 137);
    let lines = place
        .tackroom(&["logs", "front", "--json", "--run", run])
        .code(0)
        .json();
    assert_eq!(lines[0]["text"], "front says 2");
    // Counted from the end of the run, which was long after these lines.
    let late = place
        .tackroom(&["logs", "--run", run, "--since", "1s"])
        .code(0);
    assert_eq!(late.stdout, "");
    place
        .tackroom(&["logs", "--run", run, "--follow"])
        .code(2)
        .err("cannot be used with");
    place
        .tackroom(&["logs", "nobody", "--run", run])
        .code(4)
        .err("nobody");
}

#[test]
fn a_bundle_is_packed_here_and_looked_at_elsewhere() {
    let (place, run) = recorded();
    let there = elsewhere();
    let bundle = format!("{}.tar.zst", name(&run));
    let packed = place.tackroom(&["pack"]).code(0);
    assert_eq!(packed.stdout, format!("{bundle}\n"));
    assert_eq!(packed.stderr, "");
    place.tackroom(&["pack"]).code(5).err("is there already");
    place.tackroom(&["pack", "--replace"]).code(0);
    place
        .tackroom(&["pack", "latest", "-o", "x.rar"])
        .code(2)
        .err("has to end in .tar.zst");
    place.tackroom(&["pack", "-o", "b.tgz"]).code(0);
    for (from, to) in [(&*bundle, "moved"), ("b.tgz", "b")] {
        std::fs::copy(place.path(from), there.path(to)).expect("copied");
        looks_right(&there, to);
        looks_right(&there, &format!("./{to}"));
    }
    // Nothing is said of a configuration that nobody needs.
    let quiet = there.tackroom(&["ps", "--run", "moved"]).code(0);
    assert_eq!(quiet.stderr, "");
    // Packing a bundle again gives one.
    there
        .tackroom(&["pack", "moved", "-o", "again.tar.gz"])
        .code(0);
    looks_right(&there, "again.tar.gz");
}

#[test]
fn archives_of_the_usual_programs_are_read_and_ours_are_read_by_them() {
    let (place, run) = recorded();
    let parent = run.parent().expect("a parent");
    let id = name(&run);
    let there = elsewhere();
    let to = |file: &str| there.path(file).to_str().expect("text").to_owned();
    std::os::unix::fs::symlink("/etc/passwd", run.join("link")).expect("made");
    let file = to("a.zip");
    if program("zip", parent, &["-q", "-r", "-y", &file, &id]) {
        looks_right(&there, "a.zip");
    }
    let file = to("plain.tar");
    if program("tar", parent, &["-cf", &file, &id]) {
        looks_right(&there, "plain.tar");
        let odd = there.tackroom(&["ps", "--run", "plain.tar"]).code(0);
        odd.err("1 link or special file is left out of the archive");
    }
    let file = to("inside.tar.gz");
    if program("tar", &run, &["-czf", &file, "."]) {
        looks_right(&there, "inside.tar.gz");
    }
    let file = to("pax.tar");
    if program("tar", parent, &["--format=pax", "-cf", &file, &id])
        && program(
            "zstd",
            there.path("").as_path(),
            &["-q", "-19", "--long=27", "pax.tar"],
        )
    {
        looks_right(&there, "pax.tar.zst");
    }
    place.tackroom(&["pack", "-o", "ours.tar.zst"]).code(0);
    if program("zstd", &place.path(""), &["-q", "-d", "ours.tar.zst"]) {
        program("tar", &place.path(""), &["-xf", "ours.tar"]);
        looks_right(&place, &format!("./{id}"));
    }
}

#[test]
fn an_archive_that_is_broken_or_means_harm_is_refused_in_words() {
    let (place, run) = recorded();
    place.tackroom(&["pack", "-o", "a.tar.zst"]).code(0);
    let whole = std::fs::read(place.path("a.tar.zst")).expect("read");
    place.write("cut.tar.zst", &whole[..whole.len() / 2]);
    place.write("text.tar.zst", "this is none");
    let refused = |file: &str, why: &str| {
        for command in [
            &["ps", "--run"][..],
            &["logs", "--run"],
            &["report"],
            &["pack"],
        ] {
            let args = [command, &[file][..]].concat();
            place.tackroom(&args).code(2).err(why);
        }
    };
    refused("cut.tar.zst", "cut.tar.zst is damaged: ");
    refused("text.tar.zst", "text.tar.zst is no archive: ");
    let parent = run.parent().expect("a parent");
    let outside = format!("s,^{},../../outside,", name(&run));
    let file = place.path("evil.tar").to_str().expect("text").to_owned();
    let id = name(&run);
    let args = ["-P", "--transform", &outside, "-cf", &file, &id];
    if program("tar", parent, &args) {
        refused(
            "evil.tar",
            "it names a file outside of itself: ../../outside",
        );
    }
}

/// Directories that archives are unpacked to.
fn places(base: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(base).expect("readable").flatten();
    let paths = entries.map(|entry| entry.path());
    paths
        .filter(|path| path.to_string_lossy().contains("tackroom-open-"))
        .collect()
}

#[test]
fn what_is_unpacked_is_gone_afterwards_also_where_a_signal_ends_it() {
    let (place, _) = recorded();
    place.tackroom(&["pack", "-o", "a.tar.zst"]).code(0);
    let base = place.path("temporary");
    std::fs::create_dir(&base).expect("made");
    let command = |args: &[&str]| {
        let mut command = place.command(args);
        command.env("TMPDIR", &base);
        command
    };
    Running::start(&mut command(&["ps", "--run", "a.tar.zst"]))
        .end()
        .code(0);
    assert_eq!(places(&base), Vec::<PathBuf>::new());
    let huge = 4 << 30;
    let mut header = tar::Header::new_gnu();
    header.set_path("run/huge").expect("a path");
    header.set_size(huge);
    header.set_cksum();
    place.write("huge.tar", header.as_bytes());
    let archive = std::fs::File::options()
        .write(true)
        .open(place.path("huge.tar"));
    // A hole: it takes no room before it is unpacked.
    archive
        .expect("there")
        .set_len(huge + 4096)
        .expect("longer");
    for signal in [Signal::INT, Signal::TERM] {
        let unpacking = Running::start(&mut command(&["ps", "--run", "huge.tar"]));
        let begun = || {
            places(&base)
                .iter()
                .any(|place| place.join("contents/run/huge").exists())
        };
        support::wait_for("a file that is unpacked", begun);
        unpacking.signal(signal);
        unpacking.end().died_of(signal);
        assert_eq!(places(&base), Vec::<PathBuf>::new());
    }
}

/// Its reader has stopped reading in the middle.
#[test]
fn a_signal_ends_what_looks_at_an_archive() {
    let place = Place::with_replays(&[("long", "seq 200000; exit 1")]);
    place.write("tackroom.toml", "name = 'shop'\n");
    place.tackroom(&["run"]).code(1);
    place.tackroom(&["pack", "-o", "a.tar.zst"]).code(0);
    let base = place.path("temporary");
    std::fs::create_dir(&base).expect("made");
    for args in [
        &["incident", "a.tar.zst", "--lines", "all"][..],
        &["report", "a.tar.zst", "--format", "junit"],
    ] {
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        let mut command = place.command(args);
        let looking = Running::start(command.env("TMPDIR", &base).stdout(writer));
        drop(command);
        reader.read_exact(&mut [0]).expect("it begins to write");
        assert_eq!(places(&base).len(), 1);
        looking.signal(Signal::INT);
        looking.end().died_of(Signal::INT);
        assert_eq!(places(&base), Vec::<PathBuf>::new(), "{args:?}");
    }
}

#[test]
fn the_dashboard_of_a_recording_needs_a_terminal_as_well() {
    let (place, _) = recorded();
    place
        .tackroom(&["open"])
        .code(2)
        .err("the dashboard needs a terminal");
}
