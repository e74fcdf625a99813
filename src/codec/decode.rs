//! One line of an event log, read back.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::scope::ScopeFields;
use super::tap::TapFields;
use super::{Header, SCHEMA_VERSION};
use crate::domain::hook::Step;
use crate::domain::id::RunId;
use crate::domain::label::Labels;
use crate::domain::plan::{Item, ItemKind};
use crate::domain::replay::{self, Replay, ReplayName};
use crate::domain::run::{
    Ending, Flaky, Output, ReplayResult, RunEventKind, Signal, StepOutcome, Survivor, Verdict,
};
use crate::domain::suite::SuiteName;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub at: Timestamp,
    pub offset: Duration,
    pub what: What,
}

/// What a line says. Of an output there is the file alone, as a path on the machine of the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Header(Header),
    Event(Box<RunEventKind>),
    /// The run came to its end. What it adds up to is told by the events before.
    Finished,
    /// Nothing that is read back, or nothing that is known.
    Other,
}

/// A line that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("written in version {0} of the format; this tackroom reads up to {SCHEMA_VERSION}")]
    Newer(u64),
    /// Cut off or damaged.
    #[error("no event")]
    Malformed,
}

/// Reads one line, with or without its newline. Of events whose name is not wanted the fields are
/// not looked at, which saves half the time; they are [`What::Other`].
///
/// # Errors
///
/// Fails on what is no object of this format, and on a newer version of it.
pub fn decode(line: &[u8], wanted: fn(&str) -> bool) -> Result<Line, DecodeError> {
    let Ok(envelope) = serde_json::from_slice::<Envelope>(line) else {
        // A newer version may have another envelope as well.
        return Err(match serde_json::from_slice::<Version>(line) {
            Ok(Version { v }) if v > u64::from(SCHEMA_VERSION) => DecodeError::Newer(v),
            _ => DecodeError::Malformed,
        });
    };
    if envelope.v > u64::from(SCHEMA_VERSION) {
        return Err(DecodeError::Newer(envelope.v));
    }
    let what = if wanted(&envelope.event) {
        what(&envelope.event, line).ok_or(DecodeError::Malformed)?
    } else {
        What::Other
    };
    Ok(Line {
        at: envelope.at,
        offset: seconds(envelope.offset).ok_or(DecodeError::Malformed)?,
        what,
    })
}

#[derive(Deserialize)]
struct Version {
    v: u64,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    v: u64,
    at: Timestamp,
    offset: f64,
    #[serde(borrow)]
    event: Cow<'a, str>,
}

/// `None`: the fields are not those of this event.
fn what(event: &str, line: &[u8]) -> Option<What> {
    let kind = match event {
        "recording" => {
            return Some(What::Header(fields::<Recording>(line)?.header()));
        }
        "finished" => return Some(What::Finished),
        "started" => fields::<Started>(line)?.kind(),
        "again" => fields::<Again>(line)?.kind()?,
        "gone" => fields::<Gone>(line)?.kind(),
        "step_started" => RunEventKind::StepStarted {
            step: step(&fields::<OfStep>(line)?.step)?,
        },
        "step_finished" => fields::<StepFinished>(line)?.kind()?,
        "replay_started" => fields::<ReplayStarted>(line)?.kind()?,
        "replay_slow" => {
            let slow: ReplaySlow = fields(line)?;
            RunEventKind::ReplaySlow {
                replay: ReplayName::new(slow.replay),
                after: seconds(slow.after)?,
            }
        }
        "replay_stopping" => {
            let stopping: ReplayStopping = fields(line)?;
            RunEventKind::ReplayStopping {
                replay: ReplayName::new(stopping.replay),
                signal: signal(&stopping.signal)?,
            }
        }
        "replay_finished" => {
            RunEventKind::ReplayFinished(fields::<ReplayFinished>(line)?.result()?)
        }
        "left_behind" => {
            let items = fields::<Items>(line)?.items;
            let items: Option<Vec<Item>> = items.into_iter().map(ItemFields::item).collect();
            RunEventKind::LeftBehind(items?)
        }
        "interrupted" => RunEventKind::Interrupted(signal(&fields::<OfSignal>(line)?.signal)?),
        "note" => RunEventKind::Note(fields::<Note>(line)?.text),
        "engine_lost" => RunEventKind::EngineLost {
            cause: fields::<Cause>(line)?.cause,
        },
        "refused" => RunEventKind::Refused {
            reason: fields::<Refused>(line)?.reason,
        },
        "internal_error" => RunEventKind::InternalError {
            cause: fields::<Cause>(line)?.cause,
        },
        _ => return Some(What::Other),
    };
    Some(What::Event(Box::new(kind)))
}

fn fields<T: DeserializeOwned>(line: &[u8]) -> Option<T> {
    serde_json::from_slice(line).ok()
}

/// Of more than a century nobody can make a sum.
fn seconds(seconds: f64) -> Option<Duration> {
    let found = Duration::try_from_secs_f64(seconds).ok()?;
    (found.as_secs() < u64::from(u32::MAX)).then_some(found)
}

fn step(word: &str) -> Option<Step> {
    [
        Step::Up,
        Step::Ready,
        Step::Seed,
        Step::Down,
        Step::Teardown,
    ]
    .into_iter()
    .find(|step| step.word() == word)
}

fn signal(word: &str) -> Option<Signal> {
    [
        Signal::Interrupt,
        Signal::Terminate,
        Signal::Hangup,
        Signal::Quit,
        Signal::Kill,
    ]
    .into_iter()
    .find(|signal| signal.word() == word)
}

#[derive(Deserialize)]
struct Recording {
    #[serde(default)]
    name: String,
    #[serde(default)]
    root: PathBuf,
    #[serde(default)]
    scope: Option<ScopeFields>,
    #[serde(default)]
    harness: Vec<String>,
}

impl Recording {
    fn header(self) -> Header {
        Header {
            name: self.name,
            root: self.root,
            scope: self.scope.map(ScopeFields::scope).unwrap_or_default(),
            harness: self.harness.into_iter().map(Into::into).collect(),
        }
    }
}

#[derive(Deserialize)]
struct Started {
    run: String,
    #[serde(default)]
    replays: Vec<String>,
    /// The same replays with what is known of them.
    #[serde(default)]
    selected: Vec<Selected>,
    #[serde(default)]
    stacks: Vec<String>,
}

#[derive(Deserialize)]
struct Selected {
    name: String,
    #[serde(default)]
    suite: Option<String>,
    #[serde(default)]
    file: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    closes: Vec<String>,
    #[serde(default)]
    tags: Vec<String>,
}

#[derive(Deserialize)]
struct Again {
    why: String,
    selected: Vec<Selected>,
    #[serde(default)]
    steps: Vec<String>,
}

impl Again {
    fn kind(self) -> Option<RunEventKind> {
        let replays = self.selected.into_iter().map(Selected::replay);
        let steps: Option<Vec<Step>> = self.steps.iter().map(|word| step(word)).collect();
        Some(RunEventKind::Again {
            why: self.why,
            replays: replays.map(Arc::new).collect(),
            steps: steps?,
        })
    }
}

#[derive(Deserialize)]
struct Gone {
    #[serde(default)]
    why: String,
    replays: Vec<String>,
}

impl Gone {
    fn kind(self) -> RunEventKind {
        RunEventKind::Gone {
            why: self.why,
            replays: self.replays.into_iter().map(ReplayName::new).collect(),
        }
    }
}

impl Started {
    fn kind(self) -> RunEventKind {
        let mut selected: Vec<Replay> = self.selected.into_iter().map(Selected::replay).collect();
        if selected.is_empty() {
            selected = self.replays.into_iter().map(unknown_replay).collect();
        }
        RunEventKind::Started {
            run: RunId::recorded(self.run),
            replays: selected.into_iter().map(Arc::new).collect(),
            stacks: self.stacks.into_iter().map(Into::into).collect(),
        }
    }
}

impl Selected {
    fn replay(self) -> Replay {
        Replay {
            suite: self
                .suite
                .as_deref()
                .map(SuiteName::from)
                .unwrap_or_default(),
            path: PathBuf::from(&self.file),
            file: self.file,
            header: replay::Header {
                description: self.description,
                closes: self.closes,
                tags: self.tags,
                ..replay::Header::default()
            },
            ..unknown_replay(self.name)
        }
    }
}

fn unknown_replay(name: String) -> Replay {
    Replay {
        name: ReplayName::new(name),
        suite: SuiteName::default(),
        path: PathBuf::new(),
        file: String::new(),
        header: replay::Header::default(),
    }
}

#[derive(Deserialize)]
struct OfStep {
    step: String,
}

#[derive(Deserialize)]
struct StepFinished {
    step: String,
    outcome: String,
    #[serde(default)]
    reason: Option<String>,
    seconds: f64,
    #[serde(default)]
    output: Option<PathBuf>,
    #[serde(default)]
    output_bytes_not_kept: u64,
}

impl StepFinished {
    fn kind(self) -> Option<RunEventKind> {
        let reason = self.reason.unwrap_or_default();
        let outcome = match &*self.outcome {
            "done" => StepOutcome::Done,
            "skipped" => StepOutcome::Skipped { reason },
            "failed" => StepOutcome::Failed { reason },
            "cancelled" => StepOutcome::Cancelled,
            _ => return None,
        };
        Some(RunEventKind::StepFinished {
            step: step(&self.step)?,
            outcome,
            took: seconds(self.seconds)?,
            output: output(self.output, self.output_bytes_not_kept),
        })
    }
}

fn output(file: Option<PathBuf>, not_on_disk: u64) -> Output {
    Output {
        file,
        not_on_disk,
        ..Output::default()
    }
}

#[derive(Deserialize)]
struct ReplayStarted {
    replay: String,
    attempt: u32,
    #[serde(default)]
    timeout: Option<f64>,
}

impl ReplayStarted {
    fn kind(self) -> Option<RunEventKind> {
        let timeout = match self.timeout {
            Some(timeout) => Some(seconds(timeout)?),
            None => None,
        };
        Some(RunEventKind::ReplayStarted {
            replay: ReplayName::new(self.replay),
            attempt: self.attempt,
            timeout,
        })
    }
}

#[derive(Deserialize)]
struct ReplaySlow {
    replay: String,
    after: f64,
}

#[derive(Deserialize)]
struct ReplayStopping {
    replay: String,
    signal: String,
}

#[derive(Deserialize)]
struct ReplayFinished {
    replay: String,
    verdict: String,
    /// Whether a run with it may pass.
    #[serde(default)]
    ok: Option<bool>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    exit_code: Option<i32>,
    #[serde(default)]
    signal: Option<i32>,
    #[serde(default)]
    timeout: Option<f64>,
    attempt: u32,
    started: Timestamp,
    seconds: f64,
    #[serde(default)]
    slow: bool,
    #[serde(default)]
    leaky: bool,
    #[serde(default)]
    survivors: Vec<Left>,
    #[serde(default)]
    retried: bool,
    #[serde(default)]
    flaky: bool,
    #[serde(default)]
    flaky_fails: bool,
    #[serde(default)]
    tap: Option<TapFields>,
    #[serde(default)]
    output: Option<PathBuf>,
    #[serde(default)]
    output_bytes_not_kept: u64,
}

/// A process that outlived its replay.
#[derive(Deserialize)]
struct Left {
    pid: u32,
    command: String,
    #[serde(default = "ended")]
    ended: bool,
}

fn ended() -> bool {
    true
}

impl ReplayFinished {
    fn result(self) -> Option<ReplayResult> {
        Some(ReplayResult {
            verdict: self.verdict()?,
            replay: ReplayName::new(self.replay),
            started: self.started,
            took: seconds(self.seconds)?,
            attempt: self.attempt,
            output: output(self.output, self.output_bytes_not_kept),
            tap: match self.tap {
                Some(tap) => Some(tap.tap()?),
                None => None,
            },
            slow: self.slow,
            leaky: self.leaky,
            survivors: self
                .survivors
                .into_iter()
                .map(|left| Survivor {
                    pid: left.pid,
                    command: left.command,
                    ended: left.ended,
                })
                .collect(),
            retried: self.retried,
            flaky: match (self.flaky_fails, self.flaky) {
                (true, _) => Flaky::Fails,
                (false, true) => Flaky::Tolerated,
                (false, false) => Flaky::No,
            },
        })
    }

    fn ending(&self) -> Option<Ending> {
        match (self.exit_code, self.signal) {
            (Some(code), _) => Some(Ending::Code(code)),
            (None, signal) => signal.map(Ending::Signal),
        }
    }

    fn verdict(&self) -> Option<Verdict> {
        let reason = || self.reason.clone().unwrap_or_default();
        Some(match &*self.verdict {
            "passed" => Verdict::Passed,
            "failed" if self.reason.is_some() => Verdict::Contradicted { reason: reason() },
            "failed" => Verdict::Failed(self.ending()?),
            "errored" => Verdict::Errored(self.ending()?),
            "failed as expected" => Verdict::FailedAsExpected { reason: reason() },
            "timed out" => Verdict::TimedOut {
                after: seconds(self.timeout.unwrap_or(self.seconds))?,
            },
            "skipped" => Verdict::Skipped { reason: reason() },
            "aborted" => Verdict::Aborted,
            "could not start" => Verdict::CouldNotStart { reason: reason() },
            _ => self.unknown_verdict()?,
        })
    }

    /// A later tackroom's, in its words: what this one can say of it is whether it is a failure.
    fn unknown_verdict(&self) -> Option<Verdict> {
        let reason = match &self.reason {
            Some(reason) => format!("{}: {reason}", self.verdict),
            None => self.verdict.clone(),
        };
        Some(match self.ok? {
            true => Verdict::Skipped { reason },
            false => Verdict::Contradicted { reason },
        })
    }
}

#[derive(Deserialize)]
struct Items {
    items: Vec<ItemFields>,
}

#[derive(Deserialize)]
struct ItemFields {
    kind: String,
    name: String,
    id: String,
    #[serde(default)]
    created: Option<Timestamp>,
    #[serde(default)]
    image: Option<String>,
    #[serde(default)]
    state: Option<String>,
}

impl ItemFields {
    fn item(self) -> Option<Item> {
        let kind = [
            ItemKind::Container,
            ItemKind::Network,
            ItemKind::Volume,
            ItemKind::StateDir,
        ]
        .into_iter()
        .find(|kind| kind.word() == self.kind)?;
        Some(Item {
            kind,
            name: self.name,
            id: self.id,
            created: self.created,
            labels: Labels::new(),
            image: self.image,
            state: self.state,
        })
    }
}

#[derive(Deserialize)]
struct OfSignal {
    signal: String,
}

#[derive(Deserialize)]
struct Note {
    text: String,
}

#[derive(Deserialize)]
struct Cause {
    cause: String,
}

#[derive(Deserialize)]
struct Refused {
    reason: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::codec;
    use crate::domain::run::RunEvent;
    use crate::domain::tap::{self, Tap};

    fn decode(line: &[u8]) -> Result<Line, DecodeError> {
        super::decode(line, |_| true)
    }

    #[test]
    fn of_a_time_that_cannot_be_summed_up_nothing_is_read() {
        let line = |offset: &str| {
            let line = format!(
                r#"{{"v":1,"event":"note","at":"2026-11-21T12:00:00Z","offset":{offset},"text":"x"}}"#
            );
            decode(line.as_bytes())
        };
        assert!(line("1e9").is_ok());
        for offset in ["1e10", "1e19", "-1.0"] {
            assert!(
                matches!(line(offset), Err(DecodeError::Malformed)),
                "{offset}"
            );
        }
    }

    fn said() -> Tap {
        let mut reader = tap::Reader::default();
        let text = "1..9\n    not ok - in\nnot ok - \u{202e}a # TODO why\nok # skip\nok # TODO\nok";
        text.lines().for_each(|line| reader.line(line));
        reader.line("Bail out! now");
        Tap {
            skip_all: Some("x".to_owned()),
            left_out: 3,
            ..reader.finish()
        }
    }

    fn result(verdict: Verdict) -> RunEventKind {
        RunEventKind::ReplayFinished(ReplayResult {
            replay: ReplayName::new("odd \u{1b}[31m \"name\"\n\u{202e}"),
            verdict,
            started: "2026-11-21T12:03:44.123456789Z".parse().unwrap(),
            took: Duration::from_nanos(1_500_000_001),
            attempt: 2,
            output: output(Some(PathBuf::from("/state/runs/r/output.log")), 7),
            tap: Some(Box::new(said())),
            slow: true,
            leaky: true,
            survivors: vec![Survivor {
                pid: 7,
                command: "sleep 1000".to_owned(),
                ended: false,
            }],
            retried: true,
            flaky: Flaky::Fails,
        })
    }

    fn written(kind: RunEventKind) -> (RunEvent, Vec<u8>) {
        let event = RunEvent {
            at: "2026-11-21T12:03:44.5Z".parse().unwrap(),
            offset: Duration::from_millis(1234),
            kind,
        };
        let line = codec::line(&codec::event(&event)).into_bytes();
        (event, line)
    }

    #[test]
    fn what_is_written_is_read() {
        let reason = || "because\r\n%".to_owned();
        let item = Item {
            kind: ItemKind::StateDir,
            name: "/tmp/x".to_owned(),
            id: "1:2".to_owned(),
            created: Some(Timestamp::UNIX_EPOCH),
            labels: Labels::new(),
            image: None,
            state: None,
        };
        let replay = Replay {
            name: ReplayName::new("a b"),
            suite: "e2e".into(),
            path: PathBuf::from("replays/a b.sh"),
            file: "replays/a b.sh".to_owned(),
            header: replay::Header {
                description: Some("Says why.".to_owned()),
                closes: vec!["#1".to_owned()],
                tags: vec!["net".to_owned()],
                ..replay::Header::default()
            },
        };
        let step = |outcome| RunEventKind::StepFinished {
            step: Step::Teardown,
            outcome,
            took: Duration::from_secs(2),
            output: output(None, 0),
        };
        let kinds = [
            RunEventKind::Started {
                run: RunId::new(Timestamp::UNIX_EPOCH, 1),
                replays: vec![Arc::new(replay.clone())],
                stacks: vec!["tenant".into(), "other".into()],
            },
            RunEventKind::Again {
                why: reason(),
                replays: vec![Arc::new(replay)],
                steps: vec![Step::Up, Step::Seed],
            },
            RunEventKind::Gone {
                why: reason(),
                replays: vec![ReplayName::new("a b"), ReplayName::new("é")],
            },
            RunEventKind::StepStarted { step: Step::Ready },
            step(StepOutcome::Done),
            step(StepOutcome::Skipped { reason: reason() }),
            step(StepOutcome::Failed { reason: reason() }),
            step(StepOutcome::Cancelled),
            RunEventKind::ReplayStarted {
                replay: ReplayName::new("a"),
                attempt: 3,
                timeout: Some(Duration::from_secs(20)),
            },
            RunEventKind::ReplaySlow {
                replay: ReplayName::new("a"),
                after: Duration::from_secs(10),
            },
            RunEventKind::ReplayStopping {
                replay: ReplayName::new("a"),
                signal: Signal::Kill,
            },
            result(Verdict::Passed),
            result(Verdict::Failed(Ending::Code(3))),
            result(Verdict::Failed(Ending::Signal(9))),
            result(Verdict::Contradicted { reason: reason() }),
            result(Verdict::FailedAsExpected { reason: reason() }),
            result(Verdict::Errored(Ending::Code(127))),
            result(Verdict::TimedOut {
                after: Duration::from_secs(20),
            }),
            result(Verdict::Skipped { reason: reason() }),
            result(Verdict::Aborted),
            result(Verdict::CouldNotStart { reason: reason() }),
            RunEventKind::LeftBehind(vec![item]),
            RunEventKind::Interrupted(Signal::Hangup),
            RunEventKind::Note(reason()),
            RunEventKind::EngineLost { cause: reason() },
            RunEventKind::Refused { reason: reason() },
            RunEventKind::InternalError { cause: reason() },
        ];
        for kind in kinds {
            let (event, line) = written(kind);
            let read = decode(&line).unwrap();
            assert_eq!((read.at, read.offset), (event.at, event.offset));
            assert_eq!(read.what, What::Event(Box::new(event.kind)));
        }
        let (_, line) = written(RunEventKind::Finished(Box::default()));
        assert_eq!(decode(&line).unwrap().what, What::Finished);
        let header = Header {
            name: "shop".to_owned(),
            root: PathBuf::from("/work"),
            scope: crate::domain::scope::Scope::compose_projects(),
            harness: vec!["tenant".into()],
        };
        let line = codec::line(&codec::header(&header, Timestamp::UNIX_EPOCH));
        let read = decode(line.as_bytes()).unwrap();
        assert_eq!(read.what, What::Header(header));
    }

    #[test]
    fn a_verdict_that_is_not_known_is_a_failure_or_none_in_its_own_words() {
        let (_, line) = written(result(Verdict::Aborted));
        let mut value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        value["verdict"] = json!("bewitched");
        let verdict = |value: &serde_json::Value| match decode(value.to_string().as_bytes()) {
            Ok(Line {
                what: What::Event(kind),
                ..
            }) => match *kind {
                RunEventKind::ReplayFinished(result) => Some(result.verdict),
                _ => None,
            },
            _ => None,
        };
        let reason = "bewitched".to_owned();
        assert_eq!(verdict(&value), Some(Verdict::Contradicted { reason }));
        value["ok"] = json!(true);
        value["reason"] = json!("by night");
        let reason = "bewitched: by night".to_owned();
        assert_eq!(verdict(&value), Some(Verdict::Skipped { reason }));
        value["ok"] = json!(null);
        assert_eq!(verdict(&value), None);
    }

    #[test]
    fn what_is_not_known_is_skipped_and_what_is_newer_refused() {
        let (_, line) = written(result(Verdict::Passed));
        let mut value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        let decoded = |value: &serde_json::Value| decode(value.to_string().as_bytes());
        value["invented"] = json!({ "later": [1] });
        let known = decoded(&value).unwrap();
        assert!(matches!(known.what, What::Event(_)), "{known:?}");
        let unwanted = super::decode(value.to_string().as_bytes(), |name| name == "started");
        assert_eq!(unwanted.unwrap().what, What::Other);
        value["event"] = json!("invented");
        assert_eq!(decoded(&value).unwrap().what, What::Other);
        value["v"] = json!(2);
        assert_eq!(decoded(&value), Err(DecodeError::Newer(2)));
        value["offset"] = json!("another shape");
        assert_eq!(decoded(&value), Err(DecodeError::Newer(2)));
        value["v"] = json!(1);
        assert_eq!(decoded(&value), Err(DecodeError::Malformed));
        for garbage in ["", "{", "[]", "null", "\0\0\0", "{\"v\":1}"] {
            let read = decode(garbage.as_bytes());
            assert_eq!(read, Err(DecodeError::Malformed), "{garbage:?}");
        }
    }
}
