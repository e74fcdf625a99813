//! What every report of a run is made of.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use crate::domain::replay::{Replay, ReplayName};
use crate::domain::run::{Output, ReplayResult, StepOutcome, StepResult, Summary, Survivor};
use crate::domain::suite::SuiteName;
use crate::domain::tap::Point;
use crate::domain::window::Windows;
use crate::text::sanitize::{needs_care, sanitize, sanitize_plain};

/// A run that is over, or what is known of it.
#[derive(Debug)]
pub struct Results<'a> {
    /// The configuration's name.
    pub(super) name: &'a str,
    pub(super) summary: &'a Summary,
    replays: HashMap<&'a ReplayName, &'a Replay>,
    windows: Windows,
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
            windows: Windows::new(),
        }
    }

    /// With what containers wrote while replays ran that failed.
    #[must_use]
    pub fn with_logs(mut self, windows: Windows) -> Self {
        self.windows = windows;
        self
    }

    /// The logs of the time of a replay, each line with the time since it began; empty where there
    /// are none.
    pub(super) fn logs(&self, name: &ReplayName) -> String {
        let mut text = String::new();
        for tail in self.windows.get(name).into_iter().flatten() {
            let name = sanitize_plain(&tail.container);
            let earlier = match tail.before {
                0 => String::new(),
                before => format!(", {before} lines before"),
            };
            text.push_str(&format!("--- log of {name}{earlier} ---\n"));
            for (since, line) in &tail.lines {
                let line = sanitize(line).text;
                text.push_str(&format!("+{:.3} {line}\n", since.as_secs_f64()));
            }
        }
        text
    }

    pub(super) fn replay(&self, name: &ReplayName) -> Option<&'a Replay> {
        self.replays.get(name).copied()
    }

    /// A replay's suite; the default one where the replay is not known.
    pub(super) fn suite(&self, name: &ReplayName) -> SuiteName {
        self.replay(name)
            .map(|replay| replay.suite.clone())
            .unwrap_or_default()
    }

    /// Those of the replays of this run, the default one first, and alone where there is none.
    pub(super) fn suites(&self) -> Vec<SuiteName> {
        let ended = self.summary.results.iter().map(|result| &result.replay);
        let replays = ended.chain(&self.summary.not_run);
        let suites: BTreeSet<SuiteName> = replays.map(|name| self.suite(name)).collect();
        if suites.is_empty() {
            return vec![SuiteName::default()];
        }
        let mut suites: Vec<SuiteName> = suites.into_iter().collect();
        suites.sort_by_key(|name| *name != SuiteName::default());
        suites
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

    /// Why a run fails by it.
    pub(super) fn why_failed(&self, result: &ReplayResult) -> String {
        match result.verdict.is_ok() {
            true => self.why_flaky(result),
            false => result.explained(),
        }
    }

    pub(super) fn why_flaky(&self, result: &ReplayResult) -> String {
        let failed = self.summary.failed_attempts(&result.replay).last();
        let failed = failed.map_or_else(String::new, |earlier| earlier.verdict.to_string());
        format!(
            "flaky: {} in attempt {}; before: {failed}",
            result.verdict.word(),
            result.attempt
        )
    }

    /// What was ok after an attempt that was not, and the run may pass with.
    pub(super) fn flaky(&self) -> impl Iterator<Item = &'a ReplayResult> {
        let summary = self.summary;
        summary.results.iter().filter(|result| {
            result.is_ok() && summary.failed_attempts(&result.replay).next().is_some()
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
    /// What replays have left behind.
    pub(super) fn leaks(&self) -> impl Iterator<Item = (&ReplayName, String)> {
        let leaky = self.summary.results.iter().filter(|result| result.leaky);
        leaky.map(|result| {
            let left: Vec<String> = result.survivors.iter().map(Survivor::to_string).collect();
            let left = match left.is_empty() {
                true => "processes".to_owned(),
                false => left.join(", "),
            };
            (&result.replay, format!("leaky: it left behind {left}"))
        })
    }

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
        (counts.errored, "errored"),
        (counts.could_not_start, "could not start"),
        (counts.aborted, "aborted"),
        (counts.not_run, "not run"),
        (counts.passed, "passed"),
        (counts.failed_as_expected, "failed as expected"),
        (counts.skipped, "skipped"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .collect()
}

/// A line for each point of TAP that failed, as far as they are known.
pub(super) fn failed_points(result: &ReplayResult) -> Vec<String> {
    let Some(tap) = &result.tap else {
        return Vec::new();
    };
    let line = |point: &Point| match point.within.is_empty() && point.description.is_empty() {
        true => format!("not ok {}", point.number),
        false => format!("not ok {} - {}", point.number, point.title()),
    };
    tap.failures().map(line).collect()
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
pub(super) fn tail(output: &Output, lines: usize, bytes: usize) -> String {
    let text = clean(&output.text());
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
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// The command that shows the incident of a replay; `None` where the run cannot be shown as it was
/// named.
pub fn incident_command(run: &str, replay: &ReplayName) -> Option<String> {
    let replay = pattern(replay.as_str());
    let words = [run, &*replay];
    let begin_options = words.iter().any(|word| word.starts_with('-'));
    let options_end = if begin_options { "-- " } else { "" };
    (*sanitize_plain(run) == *run).then(|| {
        let words = words.map(shell_word).join(" ");
        format!("tackroom incident {options_end}{words}")
    })
}

/// A pattern that means the replay of this name. What cannot be shown as it is stands in it as `?`.
fn pattern(name: &str) -> String {
    if *sanitize_plain(name) == *name {
        return name.to_owned();
    }
    let mut pattern = String::new();
    for c in name.chars() {
        if needs_care(c) {
            pattern.push('?');
        } else {
            pattern.push_str(&glob::Pattern::escape(c.encode_utf8(&mut [0; 4])));
        }
    }
    sanitize_plain(&pattern).into_owned()
}

/// The command that runs these replays again.
pub(super) fn again<'n>(names: impl IntoIterator<Item = &'n ReplayName>) -> String {
    let names = names.into_iter().map(ReplayName::as_str);
    let names: Vec<String> = names.map(pattern).collect();
    let options_end = if names.iter().any(|name| name.starts_with('-')) {
        "-- "
    } else {
        ""
    };
    let words: Vec<String> = names.iter().map(|name| shell_word(name)).collect();
    format!("tackroom run {options_end}{}", words.join(" "))
}
