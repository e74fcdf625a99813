//! What every report of a run is made of.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::domain::replay::{Replay, ReplayName};
use crate::domain::run::{ReplayResult, StepOutcome, StepResult, Summary, Verdict};
use crate::text::sanitize::{sanitize, sanitize_plain};

/// A run that is over, or what is known of it.
#[derive(Debug)]
pub struct Results<'a> {
    /// The configuration's name.
    pub(super) name: &'a str,
    pub(super) summary: &'a Summary,
    replays: HashMap<&'a ReplayName, &'a Replay>,
}

impl<'a> Results<'a> {
    /// `replays` are those that the run had selected.
    pub fn new(name: &'a str, summary: &'a Summary, replays: &'a [Arc<Replay>]) -> Self {
        Self {
            name,
            summary,
            replays: replays
                .iter()
                .map(|replay| (&replay.name, &**replay))
                .collect(),
        }
    }

    pub(super) fn replay(&self, name: &ReplayName) -> Option<&'a Replay> {
        self.replays.get(name).copied()
    }

    /// A replay's file, relative to the configuration.
    pub(super) fn file(&self, name: &ReplayName) -> Option<&'a str> {
        let replay = self.replay(name)?;
        Some(&*replay.file).filter(|file| !file.is_empty())
    }

    /// A replay's file relative to the workspace of a CI server, if it lies in there.
    pub(super) fn file_in(&self, workspace: Option<&Path>, name: &ReplayName) -> Option<String> {
        let inside = workspace.and_then(|workspace| {
            let path = self.replay(name)?.path.strip_prefix(workspace).ok()?;
            path.to_str().map(str::to_owned)
        });
        inside.or_else(|| self.file(name).map(str::to_owned))
    }

    /// What ended otherwise than well, in order of the end.
    pub(super) fn failures(&self) -> impl Iterator<Item = &'a ReplayResult> {
        let results = self.summary.results.iter();
        results.filter(|result| !result.is_ok())
    }

    /// What passed after an attempt that had not.
    pub(super) fn flaky(&self) -> impl Iterator<Item = &'a ReplayResult> {
        let summary = self.summary;
        summary.results.iter().filter(|result| {
            result.verdict == Verdict::Passed
                && summary.failed_attempts(&result.replay).next().is_some()
        })
    }

    pub(super) fn failed_steps(&self) -> impl Iterator<Item = (&'a StepResult, &'a str)> {
        self.summary
            .steps
            .iter()
            .filter_map(|step| match &step.outcome {
                StepOutcome::Failed { reason } => Some((step, &**reason)),
                StepOutcome::Cancelled => Some((step, "cut off")),
                StepOutcome::Done | StepOutcome::Skipped { .. } => None,
            })
    }

    /// Why the run itself went wrong, whatever its replays and steps said. That something was left
    /// behind is said by the teardown's step.
    pub(super) fn troubles(&self) -> Vec<String> {
        let summary = self.summary;
        let mut troubles = Vec::new();
        if let Some(cause) = &summary.internal_error {
            troubles.push(cause.clone());
        }
        if summary.engine_lost {
            troubles.push("the engine cannot be used".to_owned());
        }
        if summary.refused {
            troubles.push("the run was refused".to_owned());
        }
        if let Some(signal) = summary.interrupted {
            troubles.push(format!("interrupted by {}", signal.word()));
        }
        troubles
    }
}

/// How many replays ended in which way, in words, the bad ones first; what there is none of is
/// left out.
pub fn tally(summary: &Summary) -> Vec<(usize, &'static str)> {
    let counts = summary.counts();
    [
        (counts.failed, "failed"),
        (counts.timed_out, "timed out"),
        (counts.could_not_start, "could not start"),
        (counts.aborted, "aborted"),
        (counts.not_run, "not run"),
        (counts.passed, "passed"),
        (counts.skipped, "skipped"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .collect()
}

/// Text of any origin, line by line, without what a terminal or a file format would choke on.
pub(super) fn clean(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        text.push_str(&sanitize(line.strip_suffix(b"\n").unwrap_or(line)).text);
        if line.ends_with(b"\n") {
            text.push('\n');
        }
    }
    text
}

/// The last lines of an output, and how many bytes at most.
pub(super) fn tail(result: &ReplayResult, lines: usize, bytes: usize) -> String {
    let text = clean(&result.output.text());
    let kept: Vec<&str> = text.lines().rev().take(lines).collect();
    let kept: Vec<&str> = kept.into_iter().rev().collect();
    let kept = kept.join("\n");
    let mut start = kept.len().saturating_sub(bytes);
    while !kept.is_char_boundary(start) {
        start += 1;
    }
    kept[start..].to_owned()
}

/// Quoted where a shell would read it as more than one plain word.
fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:@+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", sanitize_plain(word).replace('\'', r"'\''"))
    }
}

/// The command that runs these replays again.
pub(super) fn again<'n>(names: impl IntoIterator<Item = &'n ReplayName>) -> String {
    let names: Vec<&str> = names.into_iter().map(ReplayName::as_str).collect();
    let options_end = if names.iter().any(|name| name.starts_with('-')) {
        "-- "
    } else {
        ""
    };
    let words: Vec<String> = names.iter().map(|name| shell_word(name)).collect();
    format!("tackroom run {options_end}{}", words.join(" "))
}
