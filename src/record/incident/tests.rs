//! Timelines of recordings that are real directories.

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::codec::Header;
use crate::config::Keep;
use crate::domain::container::{Container, State};
use crate::domain::event::{Action, EngineEvent};
use crate::domain::fingerprint::{ContainerPrint, Fingerprint};
use crate::domain::id::ContainerId;
use crate::domain::incident::{Clarity, Since};
use crate::domain::line::{Channel, LineBatch};
use crate::domain::run::{Ending, RunEvent, Verdict};
use crate::engine::Inspect;
use crate::record::fixtures::{begun, ended, failed, finished, run, started};
use crate::record::{ContainerChange, EngineLog, EventLog, Seen, Store, read, write_fingerprint};

/// How far the engine's clock is ahead in these recordings.
const AHEAD: i64 = 3_600_000;

/// Begins with the second of its run; its attempt begins ten seconds later.
struct Kept {
    directory: PathBuf,
    second: i64,
    log: EventLog,
    engine: EngineLog,
}

impl Kept {
    fn new(store: &Store, second: i64) -> Self {
        let run = run(second);
        let directory = store.begin(&run, &Keep::runs(100)).unwrap();
        let header = Header {
            name: "harness".to_owned(),
            root: PathBuf::from("/work"),
            ..Header::default()
        };
        let mut kept = Self {
            log: EventLog::open(&directory, &header).unwrap(),
            engine: EngineLog::create(&directory, Timestamp::UNIX_EPOCH).unwrap(),
            directory,
            second,
        };
        kept.event(-10_000, started(&run, &["peers"]));
        kept
    }

    /// Milliseconds after the attempt's start, by the runner's clock.
    fn at(&self, milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond((self.second + 10) * 1_000 + milliseconds).unwrap()
    }

    /// The same moment by the engine's clock.
    fn engines(&self, milliseconds: i64) -> Timestamp {
        self.at(milliseconds + AHEAD)
    }

    fn event(&mut self, milliseconds: i64, kind: RunEventKind) {
        let event = RunEvent {
            at: self.at(milliseconds),
            offset: Duration::ZERO,
            kind,
        };
        self.log.append(&event).unwrap();
    }

    /// The attempt: what it printed, with the milliseconds at which each line came.
    fn attempt(&mut self, number: u32, verdict: Verdict, lines: &[(i64, &str)]) {
        let mut place = self.directory.join("replays/peers");
        if number > 1 {
            place = place.join(format!("attempt-{number}"));
        }
        std::fs::create_dir_all(&place).unwrap();
        let (mut output, mut times) = (String::new(), String::new());
        for (at, line) in lines {
            times.push_str(&format!("{} {}\n", at * 1_000, output.len()));
            output.push_str(line);
            output.push('\n');
        }
        std::fs::write(place.join("output.log"), &output).unwrap();
        std::fs::write(place.join("output.times"), times).unwrap();
        self.event(0, begun("peers"));
        let RunEventKind::ReplayFinished(mut result) = ended("peers", verdict, 0) else {
            return;
        };
        result.started = self.at(0);
        result.took = Duration::from_millis(1_200);
        result.attempt = number;
        result.output.file = Some(place.join("output.log"));
        self.event(1_200, RunEventKind::ReplayFinished(result));
    }

    fn container(&mut self, id: &str, name: &str, lines: &[(i64, &str)]) {
        let container = Container {
            id: ContainerId::new(format!("{id}-0123456789ab")),
            name: name.to_owned(),
            state: State::Running,
            ..Container::bare(id)
        };
        let inspect = Inspect {
            restart_policy: "no".to_owned(),
            ..Inspect::of(container, serde_json::json!({"Id": id}))
        };
        let mut log = self
            .engine
            .log(&inspect.container.name, &inspect.container.id, 1 << 30);
        let mut batch = LineBatch::default();
        for (at, line) in lines {
            batch.push(self.engines(*at), Channel::Err, line.as_bytes());
        }
        log.append(&batch).unwrap();
        let change = ContainerChange {
            at: self.engines(-5_000),
            id: inspect.container.id.clone(),
            what: Seen::Created(Box::new(inspect)),
        };
        self.engine.container(change).unwrap();
    }

    fn happened(&mut self, milliseconds: i64, name: &str, action: Action) {
        let event = EngineEvent {
            at: self.engines(milliseconds),
            container: ContainerId::new("c"),
            name: name.to_owned(),
            labels: Default::default(),
            action,
        };
        self.engine.event(&event, &|_| true).unwrap();
    }

    fn print(&self, image_id: &str) {
        let tenant = ContainerPrint {
            image_id: image_id.to_owned(),
            ..ContainerPrint::default()
        };
        let fingerprint = Fingerprint {
            salt: "s".to_owned(),
            clock: Some(ClockDifference {
                engine_ahead: SignedDuration::from_millis(AHEAD),
                within: Duration::from_millis(2),
            }),
            containers: [("shop/tenant".to_owned(), tenant)].into(),
            // The script of another replay is none of this one's business.
            replays: [("other".to_owned(), image_id.to_owned())].into(),
            ..Fingerprint::default()
        };
        write_fingerprint(&self.directory, &fingerprint).unwrap();
    }

    fn end(mut self) -> PathBuf {
        self.event(2_000, finished());
        self.directory
    }
}

fn store(place: &tempfile::TempDir) -> Store {
    Store::at(place.path().to_owned())
}

fn died() -> Action {
    Action::Died {
        exit_code: Some(137),
    }
}

/// One failed attempt with everything around it.
fn failure(store: &Store, second: i64) -> PathBuf {
    let mut kept = Kept::new(store, second);
    kept.attempt(
        1,
        failed(),
        &[
            (5, "[replay] begins"),
            (812, "FAIL: status"),
            (813, "      got: 404"),
        ],
    );
    kept.container(
        "c1",
        "tenant",
        &[
            (-9_000, "ERROR long before"),
            (-100, "ERROR just before"),
            (5, "INFO request"),
            (40, "ERROR redis: connection refused"),
            (60, "ERROR again"),
            (1_950, "ERROR going down"),
            (9_000, "ERROR long after"),
        ],
    );
    kept.container("c2", "silent", &[]);
    kept.container("c3", "redis", &[(30, "WARN bye"), (41, "ERROR too late")]);
    kept.happened(-60_000, "redis", died());
    kept.happened(-500, "redis", died());
    kept.happened(700, "redis", Action::Started);
    // The teardown.
    kept.happened(1_900, "redis", died());
    kept.print("sha256:2222");
    kept.end()
}

fn incident(
    directory: &Path,
    runs: &[PathBuf],
    options: &Options,
) -> Result<Incident, IncidentError> {
    let recording = read(directory).unwrap();
    Incident::read(
        &recording,
        &ReplayName::new("peers"),
        runs,
        options,
        &|| true,
    )
}

/// Each entry as `MILLISECONDS SOURCE TEXT`, with the symbol of its mark in front.
fn told(incident: &Incident) -> Vec<String> {
    let head = incident.head();
    let entry = |entry: Entry| {
        let offset = entry.at.duration_since(head.attempt.started).as_millis();
        let mark = entry.mark.map_or("", Mark::symbol);
        let source = &head.sources[entry.source].name;
        let text = String::from_utf8(entry.what.text().into_owned()).unwrap();
        format!("{mark}{offset} {source} {text}")
    };
    incident.entries().map(entry).collect()
}

#[test]
fn all_sources_stand_in_one_order_by_our_clock() {
    let place = tempfile::tempdir().unwrap();
    let directory = failure(&store(&place), 100);
    let incident = incident(&directory, &[], &Options::default()).unwrap();
    assert_eq!(
        told(&incident),
        [
            "†-500 engine ◆ redis died, exit 137 (killed)",
            "-100 tenant ERROR just before",
            "0 runner ▶ attempt 1 begins",
            "5 output [replay] begins",
            "5 tenant INFO request",
            "30 redis WARN bye",
            "!40 tenant ERROR redis: connection refused",
            "41 redis ERROR too late",
            "60 tenant ERROR again",
            "700 engine ◆ redis started",
            "✘812 output FAIL: status",
            "813 output       got: 404",
            "1200 runner ✘ failed: exit 1, after 1.2 s",
            "1900 engine ◆ redis died, exit 137 (killed)",
            "1950 tenant ERROR going down",
        ]
    );
    let head = incident.head();
    assert_eq!(head.missing, [""; 0]);
    assert_eq!(head.clock.unwrap().within, Duration::from_millis(2));
    let marks: Vec<Mark> = head.marks.iter().map(|marked| marked.mark).collect();
    assert_eq!(
        marks,
        [
            Mark::Death,
            Mark::Error,
            Mark::Assertion(Clarity::Assertion)
        ]
    );
    assert_eq!(head.marks[1].text, b"ERROR redis: connection refused");
}

#[test]
fn some_sources_alone() {
    let place = tempfile::tempdir().unwrap();
    let directory = failure(&store(&place), 100);
    let only = |names: &[&str], containers| {
        let options = Options {
            only: names.iter().map(|name| (*name).to_owned()).collect(),
            containers,
            ..Options::default()
        };
        let incident = incident(&directory, &[], &options)?;
        let sources = incident.head().sources.iter();
        Ok(sources
            .map(|source| source.name.clone())
            .collect::<Vec<_>>())
    };
    let found = |names: &[&str], containers| only(names, containers).unwrap();
    assert_eq!(found(&[], false), ["runner", "engine", "output"]);
    assert_eq!(found(&["container"], true), ["redis", "tenant"]);
    assert_eq!(found(&["tenant", "output"], true), ["output", "tenant"]);
    let error: IncidentError = only(&["tenand"], true).unwrap_err();
    let expected = "there is no source \"tenand\"; there are runner, engine, output, redis, tenant";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn of_a_flood_the_beginning_the_end_and_the_marks_are_shown() {
    let place = tempfile::tempdir().unwrap();
    let mut kept = Kept::new(&store(&place), 100);
    kept.attempt(1, failed(), &[(5, "FAIL: x")]);
    let flood: Vec<String> = (0..5_000)
        .map(|n| match n {
            2_000 => "ERROR the first one".to_owned(),
            n => format!("INFO {n}"),
        })
        .collect();
    let lines: Vec<(i64, &str)> = (0..)
        .zip(&flood)
        .map(|(n, line)| (n / 10, &**line))
        .collect();
    kept.container("c1", "tenant", &lines);
    kept.print("sha256:1111");
    let directory = kept.end();
    let options = Options {
        limit: 100,
        ..Options::default()
    };
    let incident = incident(&directory, &[], &options).unwrap();
    let told = told(&incident);
    assert!(
        told.iter()
            .any(|line| line == "!200 tenant ERROR the first one"),
        "{told:?}"
    );
    let left: u64 = incident
        .entries()
        .filter_map(|entry| match entry.what {
            What::Left(count) => Some(count),
            _ => None,
        })
        .sum();
    let of_tenant = told.iter().filter(|line| line.contains(" tenant ")).count() as u64;
    // Two rows say what is left out.
    assert_eq!(of_tenant - 2 + left, 5_000);
    assert_eq!(incident.head().sources.last().unwrap().entries, 5_000);
    assert!(told.len() < 150, "{}", told.len());
}

#[test]
fn the_last_attempt_that_failed_is_shown_unless_another_is_asked_for() {
    let place = tempfile::tempdir().unwrap();
    let mut kept = Kept::new(&store(&place), 100);
    kept.attempt(1, failed(), &[(1, "FAIL: first")]);
    kept.attempt(2, failed(), &[(1, "FAIL: second")]);
    kept.attempt(3, Verdict::Passed, &[(1, "FAIL: no, it passed")]);
    let directory = kept.end();
    let marked = |attempt| {
        let options = Options {
            attempt,
            ..Options::default()
        };
        let incident = incident(&directory, &[], &options)?;
        let marks = incident.head().marks.iter();
        Ok(marks
            .map(|mark| String::from_utf8(mark.text.clone()).unwrap())
            .collect::<Vec<_>>())
    };
    assert_eq!(marked(None).unwrap(), ["FAIL: second"]);
    assert_eq!(marked(Some(1)).unwrap(), ["FAIL: first"]);
    // Nothing has failed there.
    assert_eq!(marked(Some(3)).unwrap(), [""; 0]);
    let error: IncidentError = marked(Some(9)).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("has no attempt 9 at peers; there are 3"),
        "{error}"
    );
}

#[test]
fn an_old_run_has_its_output_at_least() {
    let place = tempfile::tempdir().unwrap();
    let store = store(&place);
    let mut kept = Kept::new(&store, 100);
    kept.attempt(1, Verdict::Failed(Ending::Code(7)), &[(3, "a"), (9, "b")]);
    let directory = kept.end();
    std::fs::remove_dir_all(directory.join("engine")).unwrap();
    std::fs::remove_file(directory.join("replays/peers/output.times")).unwrap();
    let incident = incident(&directory, &[], &Options::default()).unwrap();
    assert_eq!(
        told(&incident),
        [
            "0 runner ▶ attempt 1 begins",
            "1200 runner ✘ failed: exit 7, after 1.2 s",
            "1200 output a",
            "✘1200 output b",
        ]
    );
    assert_eq!(
        incident.head().missing,
        [
            "no container was recorded",
            "when its output came was not recorded: all of it stands at its end",
        ]
    );
    assert_eq!(incident.head().clock, None);
}

#[test]
fn a_replay_that_was_cut_off_has_an_incident() {
    let place = tempfile::tempdir().unwrap();
    let mut kept = Kept::new(&store(&place), 100);
    kept.event(0, begun("peers"));
    let output = kept.directory.join("replays/peers");
    std::fs::create_dir_all(&output).unwrap();
    std::fs::write(output.join("output.log"), "half").unwrap();
    let directory = kept.directory.clone();
    drop(kept);
    let incident = incident(&directory, &[], &Options::default()).unwrap();
    assert_eq!(incident.head().attempt.verdict, Verdict::Aborted);
    assert!(
        told(&incident)
            .iter()
            .any(|line| line.ends_with("output half"))
    );
}

#[test]
fn what_has_changed_since_it_last_passed() {
    let place = tempfile::tempdir().unwrap();
    let store = store(&place);
    let passed = |second, image: Option<&str>| {
        let mut kept = Kept::new(&store, second);
        kept.attempt(1, Verdict::Passed, &[]);
        if let Some(image) = image {
            kept.print(image);
        }
        kept.end()
    };
    let since = |directory: &Path| {
        let runs = store.runs().unwrap();
        incident(directory, &runs, &Options::default())
            .unwrap()
            .head()
            .since
            .clone()
    };
    let first = failure(&store, 100);
    assert_eq!(since(&first), Since::Never { runs: 0 });
    let second = failure(&store, 200);
    assert_eq!(since(&second), Since::Never { runs: 1 });
    passed(300, Some("sha256:0000"));
    passed(400, Some("sha256:1111"));
    let mut nothing_of_it = Kept::new(&store, 450);
    nothing_of_it.event(0, begun("else"));
    nothing_of_it.end();
    let third = failure(&store, 500);
    let Since::Passed {
        run: when, changes, ..
    } = since(&third)
    else {
        panic!("it passed before: {:?}", since(&third));
    };
    assert_eq!(when, run(400));
    let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
    assert_eq!(changes, ["shop/tenant: image id sha256:1111 → sha256:2222"]);
    // A later run is none since which anything could have changed.
    assert_eq!(since(&second), Since::Never { runs: 1 });
    passed(600, None);
    let fourth = failure(&store, 700);
    assert!(matches!(since(&fourth), Since::NotKnown { .. }));
    let of_nobody = incident(&fourth, &[], &Options::default()).unwrap();
    assert_eq!(of_nobody.head().since, Since::Apart);
}

#[test]
fn the_newest_run_that_had_it_is_found() {
    let place = tempfile::tempdir().unwrap();
    let store = store(&place);
    let older = failure(&store, 100);
    let mut without = Kept::new(&store, 200);
    without.event(0, begun("else"));
    without.end();
    let runs = store.runs().unwrap();
    assert_eq!(
        last_run_of(&runs, &ReplayName::new("peers")).unwrap(),
        &older
    );
    let error = last_run_of(&runs, &ReplayName::new("none")).unwrap_err();
    assert_eq!(error.to_string(), "no run is kept that ran none");
}

#[test]
fn who_is_not_waited_for_gives_up() {
    let place = tempfile::tempdir().unwrap();
    let directory = failure(&store(&place), 100);
    let recording = read(&directory).unwrap();
    let peers = ReplayName::new("peers");
    let given_up = Incident::read(&recording, &peers, &[], &Options::default(), &|| false);
    assert!(matches!(given_up, Err(IncidentError::GivenUp)));
    let none = ReplayName::new("none");
    let error = Incident::read(&recording, &none, &[], &Options::default(), &|| true);
    assert!(matches!(error, Err(IncidentError::NotRun { .. })));
}

#[test]
fn who_passed_in_silence_misses_no_output() {
    let place = tempfile::tempdir().unwrap();
    let store = store(&place);
    let mut kept = Kept::new(&store, 100);
    kept.event(0, begun("peers"));
    kept.event(1_200, ended("peers", Verdict::Passed, 0));
    let directory = kept.end();
    let incident = incident(&directory, &[], &Options::default()).unwrap();
    let missing = &incident.head().missing;
    assert!(
        !missing.iter().any(|it| it.contains("output")),
        "{missing:?}"
    );
}

#[test]
fn an_outage_of_its_time_and_what_could_not_be_asked_are_missing() {
    let place = tempfile::tempdir().unwrap();
    let store = store(&place);
    let mut kept = Kept::new(&store, 100);
    kept.attempt(1, failed(), &[(5, "FAIL")]);
    kept.container("c1", "tenant", &[]);
    for (from, to, cause) in [
        (-9_000, -8_000, "long before"),
        (-2_500, -1_500, "just before"),
        (9_000, 9_500, "long after"),
    ] {
        let (from, to) = (kept.engines(from), kept.engines(to));
        kept.engine.lost(from, cause).unwrap();
        kept.engine.back(to).unwrap();
    }
    let mut print = Fingerprint {
        clock: Some(ClockDifference {
            engine_ahead: SignedDuration::from_millis(AHEAD),
            within: Duration::ZERO,
        }),
        ..Fingerprint::default()
    };
    print.unknown.containers.names.insert("shop/db".to_owned());
    write_fingerprint(&kept.directory, &print).unwrap();
    let directory = kept.end();
    let missing = |directory: &Path| {
        let incident = incident(directory, &[], &Options::default()).unwrap();
        incident.head().missing.clone()
    };
    assert_eq!(
        missing(&directory)[..2],
        [
            "what it ran against was not wholly told: shop/db",
            "what happened on the engine was not recorded from -2.500 to -1.500: just before",
        ]
    );
    // One that a killed runner left open goes on to the end.
    let mut engine = EngineLog::create(&directory, Timestamp::UNIX_EPOCH).unwrap();
    let start = Timestamp::from_millisecond(110_000 + AHEAD).unwrap();
    engine.lost(start, "gone").unwrap();
    let last = "what happened on the engine was not recorded from +0.000 to the end: gone";
    assert!(missing(&directory).contains(&last.to_owned()));
}

#[test]
fn a_container_that_nobody_saw_is_missing_by_its_name() {
    let place = tempfile::tempdir().unwrap();
    let store = store(&place);
    let mut kept = Kept::new(&store, 100);
    kept.attempt(1, failed(), &[(5, "FAIL")]);
    kept.happened(10, "brief", died());
    let state = crate::record::LogState {
        trouble: Some("it was gone".to_owned()),
        ..Default::default()
    };
    let change = ContainerChange {
        at: kept.engines(20),
        id: ContainerId::new("c"),
        what: Seen::Log(state),
    };
    kept.engine.container(change).unwrap();
    let directory = kept.end();
    let incident = incident(&directory, &[], &Options::default()).unwrap();
    let missing = &incident.head().missing;
    assert!(
        missing.contains(&"the log of brief is not whole: it was gone".to_owned()),
        "{missing:?}"
    );
}

#[test]
fn what_a_long_log_has_not_kept_is_missing_where_it_is_of_its_time() {
    for (first, wanted) in [
        (-60_000, None),
        (
            -1_000,
            Some("94 bytes of the log of loud were not kept, from -1.000 to +2.000"),
        ),
    ] {
        let place = tempfile::tempdir().unwrap();
        let mut kept = Kept::new(&store(&place), 100);
        kept.attempt(1, failed(), &[(5, "FAIL")]);
        kept.print("sha256:1");
        kept.container("c1", "loud", &[]);
        let id = ContainerId::new("c1-0123456789ab");
        // One line for each of its three files.
        let mut log = kept.engine.log("loud", &id, 3 * 47);
        let mut batch = LineBatch::default();
        for second in 0..5 {
            let at = kept.engines(first + 1_000 * second);
            batch.push(at, Channel::Out, b"a line");
        }
        log.append(&batch).unwrap();
        let state = crate::record::LogState {
            cut: log.cut(),
            ..Default::default()
        };
        let change = ContainerChange {
            at: kept.engines(0),
            id,
            what: Seen::Log(state),
        };
        kept.engine.container(change).unwrap();
        let directory = kept.end();
        let incident = incident(&directory, &[], &Options::default()).unwrap();
        let missing = &incident.head().missing;
        assert_eq!(missing.first().map(String::as_str), wanted);
    }
}
