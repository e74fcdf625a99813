//! Events and plans for programs: one JSON object a line.
//!
//! Every object of a run's stream has `v` (the version of this shape), `at` (RFC 3339), `offset`
//! (seconds since the start) and `event`. Fields may be added within a version; readers skip what
//! they do not know.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Header, tap};
use crate::domain::exit::Exit;
use crate::domain::plan::{Item, ItemOutcome, Spared, TeardownPlan};
use crate::domain::replay::Replay;
use crate::domain::run::{
    Ending, Flaky, Output, ReplayResult, RunEvent, RunEventKind, StepOutcome, Summary, Verdict,
};
use crate::text::sanitize::{as_is, needs_care};

pub const SCHEMA_VERSION: u32 = 1;

/// One line of a stream of objects, without its newline. Everything that a terminal would obey
/// is escaped, also what JSON itself leaves alone: DEL, C1 controls and invisible characters.
pub fn line(value: &Value) -> String {
    let text = value.to_string();
    if as_is(text.as_bytes()).is_some() {
        return text;
    }
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if needs_care(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                line.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            line.push(c);
        }
    }
    line
}

/// One event of a run, without the lines of an output: those are [`events`]. The values are scripts' own bytes where scripts speak, with invalid UTF-8
/// replaced.
pub fn event(event: &RunEvent) -> Value {
    let (name, fields) = kind(&event.kind);
    object(name, event.at, event.offset, fields)
}

/// As [`event`], with one object for each line of an output.
pub fn events(event: &RunEvent) -> Vec<Value> {
    let (RunEventKind::StepOutput { lines, .. } | RunEventKind::ReplayOutput { lines, .. }) =
        &event.kind
    else {
        return vec![self::event(event)];
    };
    let (name, fields) = kind(&event.kind);
    let one = |line: &[u8]| {
        let mut fields = fields.clone();
        fields["line"] = json!(lossy(line));
        object(name, event.at, event.offset, fields)
    };
    lines.iter().map(one).collect()
}

/// What stands before the events of a run that is kept.
pub fn header(header: &Header, at: Timestamp) -> Value {
    let fields = json!({
        "name": header.name,
        "root": header.root.to_string_lossy(),
        "scope": super::scope::encode(&header.scope),
        "harness": header.harness.iter().map(|name| &**name).collect::<Vec<_>>(),
        "tackroom": env!("CARGO_PKG_VERSION"),
    });
    object("recording", at, Duration::ZERO, fields)
}

fn object(name: &str, at: Timestamp, offset: Duration, fields: Value) -> Value {
    let mut object = Map::new();
    object.insert("v".to_owned(), json!(SCHEMA_VERSION));
    object.insert("at".to_owned(), json!(at.to_string()));
    object.insert("offset".to_owned(), json!(offset.as_secs_f64()));
    object.insert("event".to_owned(), json!(name));
    if let Value::Object(fields) = fields {
        object.extend(fields);
    }
    Value::Object(object)
}

fn kind(kind: &RunEventKind) -> (&'static str, Value) {
    match kind {
        RunEventKind::Started {
            run,
            replays,
            stacks,
        } => (
            "started",
            json!({
                "run": run.as_str(),
                "replays": replays.iter().map(|replay| replay.name.as_str()).collect::<Vec<_>>(),
                "selected": replays.iter().map(|selected| replay(selected)).collect::<Vec<_>>(),
                "stack": stacks.first().map(|name| &**name),
                "stacks": stacks.iter().map(|name| &**name).collect::<Vec<_>>(),
            }),
        ),
        RunEventKind::Again {
            why,
            replays,
            steps,
        } => (
            "again",
            json!({
                "why": why,
                "selected": replays.iter().map(|selected| replay(selected)).collect::<Vec<_>>(),
                "steps": steps.iter().map(|step| step.word()).collect::<Vec<_>>(),
            }),
        ),
        RunEventKind::Gone { why, replays } => (
            "gone",
            json!({
                "why": why,
                "replays": replays.iter().map(|name| name.as_str()).collect::<Vec<_>>(),
            }),
        ),
        RunEventKind::StepStarted { step } => ("step_started", json!({ "step": step.word() })),
        RunEventKind::StepOutput { step, .. } => ("step_output", json!({ "step": step.word() })),
        RunEventKind::StepProgress { step, progress } => (
            "step_progress",
            json!({
                "step": step.word(),
                "done": progress.done,
                "total": progress.total,
                "waiting_for": progress.waiting_for,
            }),
        ),
        RunEventKind::StepFinished {
            step,
            outcome,
            took,
            output,
        } => {
            let (outcome, reason) = step_outcome(outcome);
            (
                "step_finished",
                json!({
                    "step": step.word(),
                    "outcome": outcome,
                    "reason": reason,
                    "seconds": took.as_secs_f64(),
                    "output": file(output),
                    "output_bytes_not_kept": output.not_on_disk,
                }),
            )
        }
        RunEventKind::ReplayStarted {
            replay,
            attempt,
            timeout,
        } => (
            "replay_started",
            json!({
                "replay": replay.as_str(),
                "attempt": attempt,
                "timeout": timeout.map(|timeout| timeout.as_secs_f64()),
            }),
        ),
        RunEventKind::ReplayOutput { replay, .. } => {
            ("replay_output", json!({ "replay": replay.as_str() }))
        }
        RunEventKind::ReplaySlow { replay, after } => (
            "replay_slow",
            json!({ "replay": replay.as_str(), "after": after.as_secs_f64() }),
        ),
        RunEventKind::ReplayStopping { replay, signal } => (
            "replay_stopping",
            json!({ "replay": replay.as_str(), "signal": signal.word() }),
        ),
        RunEventKind::ReplayFinished(result) => ("replay_finished", replay_result(result)),
        RunEventKind::Planned(teardown) => ("planned", plan(teardown)),
        RunEventKind::ItemFinished {
            item: object,
            outcome,
        } => {
            let (outcome, why) = item_outcome(outcome);
            let mut fields = item(object);
            if let Value::Object(fields) = &mut fields {
                fields.insert("outcome".to_owned(), json!(outcome));
                fields.insert("why".to_owned(), json!(why));
            }
            ("item_finished", fields)
        }
        RunEventKind::LeftBehind(items) => (
            "left_behind",
            json!({ "items": items.iter().map(item).collect::<Vec<_>>() }),
        ),
        RunEventKind::LeftToOthers(spared) => (
            "left_to_others",
            json!({ "items": spared.iter().map(self::spared).collect::<Vec<_>>() }),
        ),
        RunEventKind::Interrupted(signal) => ("interrupted", json!({ "signal": signal.word() })),
        RunEventKind::Note(text) => ("note", json!({ "text": text })),
        RunEventKind::EngineLost { cause } => ("engine_lost", json!({ "cause": cause })),
        RunEventKind::Refused { reason } => ("refused", json!({ "reason": reason })),
        RunEventKind::InternalError { cause } => ("internal_error", json!({ "cause": cause })),
        RunEventKind::Finished(summary) => ("finished", self::summary(summary)),
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn file(output: &Output) -> Option<String> {
    output
        .file
        .as_ref()
        .map(|path| path.to_string_lossy().into_owned())
}

fn step_outcome(outcome: &StepOutcome) -> (&'static str, Option<&str>) {
    match outcome {
        StepOutcome::Done => ("done", None),
        StepOutcome::Skipped { reason } => ("skipped", Some(reason)),
        StepOutcome::Failed { reason } => ("failed", Some(reason)),
        StepOutcome::Cancelled => ("cancelled", None),
    }
}

fn item_outcome(outcome: &ItemOutcome) -> (&'static str, Option<&str>) {
    match outcome {
        ItemOutcome::Removed => ("removed", None),
        ItemOutcome::Gone => ("gone", None),
        ItemOutcome::Changed { why } => ("changed", Some(why)),
        ItemOutcome::Failed { why } => ("failed", Some(why)),
    }
}

fn replay_result(result: &ReplayResult) -> Value {
    let (code, signal) = match &result.verdict {
        Verdict::Passed => (Some(0), None),
        Verdict::Failed(ending) | Verdict::Errored(ending) => match ending {
            Ending::Code(code) => (Some(*code), None),
            Ending::Signal(signal) => (None, Some(*signal)),
        },
        _ => (None, None),
    };
    let timeout = match &result.verdict {
        Verdict::TimedOut { after } => Some(after.as_secs_f64()),
        _ => None,
    };
    json!({
        "replay": result.replay.as_str(),
        "verdict": result.verdict.word(),
        // For readers that do not know the word.
        "ok": result.is_ok(),
        "reason": result.verdict.reason(),
        "exit_code": code,
        "signal": signal,
        "timeout": timeout,
        "attempt": result.attempt,
        "started": result.started.to_string(),
        "seconds": result.took.as_secs_f64(),
        "slow": result.slow,
        "leaky": result.leaky,
        "retried": result.retried,
        "flaky": result.flaky != Flaky::No,
        "flaky_fails": result.flaky == Flaky::Fails,
        "survivors": result
            .survivors
            .iter()
            .map(|survivor| json!({
                "pid": survivor.pid,
                "command": survivor.command,
                "ended": survivor.ended,
            }))
            .collect::<Vec<_>>(),
        "tap": result.tap.as_deref().map(tap::encode),
        "output": file(&result.output),
        "output_bytes_not_kept": result.output.not_on_disk,
    })
}

/// What a run adds up to.
pub fn summary(summary: &Summary) -> Value {
    let counts = summary.counts();
    json!({
        "run": summary.run.as_ref().map(|run| run.as_str()),
        "seconds": summary.took.as_secs_f64(),
        "exit_code": Exit::of(summary).code(),
        "interrupted": summary.interrupted.map(|signal| signal.word()),
        "passed": counts.passed,
        "failed": counts.failed,
        "timed_out": counts.timed_out,
        "skipped": counts.skipped,
        "aborted": counts.aborted,
        "could_not_start": counts.could_not_start,
        "errored": counts.errored,
        "failed_as_expected": counts.failed_as_expected,
        "flaky": counts.flaky,
        "not_run": summary.not_run.iter().map(|name| name.as_str()).collect::<Vec<_>>(),
        "left_behind": summary.left_behind.iter().map(item).collect::<Vec<_>>(),
    })
}

fn spared(spared: &Spared) -> Value {
    let mut object = item(&spared.item);
    if let Value::Object(fields) = &mut object {
        fields.insert("reason".to_owned(), json!(spared.reason.to_string()));
    }
    object
}

fn item(item: &Item) -> Value {
    json!({
        "kind": item.kind.word(),
        "name": item.name,
        "id": item.id,
        "created": item.created.map(|at| at.to_string()),
        "image": item.image,
        "state": item.state,
    })
}

/// A teardown plan with its fingerprint.
pub fn plan(plan: &TeardownPlan) -> Value {
    let claims: Vec<Vec<String>> = plan
        .claims
        .selectors()
        .map(|selector| selector.conditions().map(ToString::to_string).collect())
        .collect();
    let spare: Vec<Value> = plan.spare.iter().map(spared).collect();
    json!({
        "stack": &*plan.stack,
        "claims": claims,
        "hook": plan.hook,
        "fingerprint": plan.fingerprint().as_str(),
        "remove": plan.remove.iter().map(item).collect::<Vec<_>>(),
        "spare": spare,
    })
}

/// A discovered replay.
pub fn replay(replay: &Replay) -> Value {
    json!({
        "name": replay.name.as_str(),
        "suite": &*replay.suite,
        "file": replay.file,
        "description": replay.header.description,
        "closes": replay.header.closes,
        "tags": replay.header.tags,
        "timeout": replay.header.timeout.map(|timeout| timeout.as_secs_f64()),
        "needs": replay.header.needs,
        "parallel": replay.header.parallel,
        "groups": replay.header.groups,
        "problems": replay.header.problems,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_nothing_that_a_terminal_obeys_and_says_the_same() {
        let value = json!({ "a\u{9b}": "\u{1b}[2J\u{7f}\u{85}\u{202e}\u{e0001} é 日 \"\\\n" });
        let line = line(&value);
        assert!(!line.chars().any(needs_care), "{line}");
        assert!(line.contains("\\u202e\\udb40\\udc01 é 日"), "{line}");
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), value);
    }
}
