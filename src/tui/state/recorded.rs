//! The run that is looked at, where it is none of this session.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::run::{replay_output, step_output};
use crate::domain::exit::Exit;
use crate::domain::line::SourceId;
use crate::domain::run::{Output, RunEvent, RunEventKind, StepOutcome, Summary, Verdict};
use crate::record::{End, Opened};

/// A recording, and which outputs of it were asked for.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub opened: Arc<Opened>,
    outputs: BTreeMap<SourceId, Vec<Piece>>,
    asked: BTreeSet<SourceId>,
    filled: BTreeSet<SourceId>,
}

/// The output of one attempt or one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Stands before it where there are several.
    pub title: Option<String>,
    /// Names its file; the text itself is not in memory.
    pub output: Output,
    pub started: Timestamp,
    pub took: Duration,
    /// Stands behind it.
    pub note: Option<String>,
}

impl Recorded {
    pub fn new(opened: Arc<Opened>) -> Self {
        let mut outputs: BTreeMap<SourceId, Vec<Piece>> = BTreeMap::new();
        for event in &opened.events {
            if let Some((source, piece)) = piece(event) {
                outputs.entry(source).or_default().push(piece);
            }
        }
        // A step that was cut off has no event of its end.
        let ended = opened.ended();
        for step in &opened.recording.summary.steps {
            outputs.entry(step_output(step.step)).or_insert_with(|| {
                vec![Piece {
                    title: None,
                    output: step.output.clone(),
                    started: ended.checked_sub(step.took).unwrap_or(ended),
                    took: step.took,
                    note: None,
                }]
            });
        }
        Self {
            opened,
            outputs,
            asked: BTreeSet::new(),
            filled: BTreeSet::new(),
        }
    }

    /// What has to be read for a source to be shown, the first time that this is asked.
    pub fn ask(&mut self, source: &SourceId) -> Option<Vec<Piece>> {
        let pieces = self.outputs.get(source)?;
        self.asked.insert(source.clone()).then(|| pieces.clone())
    }

    /// Some of its lines are there.
    pub fn filled(&mut self, source: &SourceId) {
        self.filled.insert(source.clone());
    }

    /// None of its lines is there: if they had to make room for others, they are read again.
    pub fn is_empty(&mut self, source: &SourceId) {
        if self.filled.remove(source) {
            self.asked.remove(source);
        }
    }

    pub fn summary(&self) -> &Summary {
        &self.opened.recording.summary
    }

    /// How the run ended, in a few words, and whether well.
    pub fn outcome(&self) -> (String, bool) {
        let summary = self.summary();
        let counts = summary.counts();
        let bad = counts.bad();
        let failed = summary.steps.iter().find_map(|step| match step.outcome {
            StepOutcome::Failed { .. } => Some(step.step.word()),
            _ => None,
        });
        let mut words = Vec::new();
        for (count, symbol) in [
            (counts.failures(), "✘"),
            (counts.aborted, "■"),
            (if bad == 0 { counts.passed } else { 0 }, "✔"),
        ] {
            if count > 0 {
                words.push(format!("{count} {symbol}"));
            }
        }
        match &self.opened.recording.end {
            End::UnderWay(_) => words.push("still under way".to_owned()),
            End::BrokeOff(_) => words.push("broke off".to_owned()),
            End::Finished if summary.interrupted.is_some() => words.push("interrupted".to_owned()),
            End::Finished => {}
        }
        words.extend(failed.map(|step| format!("{step} failed")));
        let is_finished = self.opened.recording.end == End::Finished;
        let exit = Exit::of(summary);
        if is_finished && matches!(exit, Exit::Unreachable | Exit::Internal) {
            words.push(exit.meaning().to_owned());
        }
        if words.is_empty() {
            words.push("no replay ran".to_owned());
        }
        (words.join(", "), is_finished && exit == Exit::Ok)
    }
}

fn piece(event: &RunEvent) -> Option<(SourceId, Piece)> {
    match &event.kind {
        RunEventKind::ReplayFinished(result) => {
            let note = match &result.verdict {
                Verdict::CouldNotStart { reason } => Some(format!("could not start: {reason}")),
                _ => None,
            };
            let piece = Piece {
                title: (result.attempt > 1).then(|| format!("── attempt {} ──", result.attempt)),
                output: result.output.clone(),
                started: result.started,
                took: result.took,
                note,
            };
            Some((replay_output(&result.replay), piece))
        }
        RunEventKind::StepFinished {
            step, took, output, ..
        } => {
            let piece = Piece {
                title: None,
                output: output.clone(),
                started: event.at.checked_sub(*took).unwrap_or(event.at),
                took: *took,
                note: None,
            };
            Some((step_output(*step), piece))
        }
        _ => None,
    }
}
