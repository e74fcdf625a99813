//! TAP 14 (<https://testanything.org/tap-version-14-specification.html>): the harness's steps and
//! the replays as test points.
//!
//! Diagnostics are YAML with every text in double quotes, one line of output an element, which all
//! readers understand and no output can break out of.

use std::io;
use std::time::Duration;

use super::results::{Results, tail, tally};
use crate::domain::hook::Step;
use crate::domain::replay::ReplayName;
use crate::domain::run::{ReplayResult, StepOutcome, StepResult, Verdict};
use crate::domain::tap::{Outcome, Point, Tap};
use crate::text::sanitize::sanitize_plain;

/// Of the output of what failed.
const OUTPUT_LINES: usize = 50;
const OUTPUT_BYTES: usize = 16 * 1024;

/// Writes the report of a run. Steps come where they ran, before or after the replays. Where the
/// harness did not come up, it bails out.
///
/// # Errors
///
/// Fails where the writer does.
pub fn tap(out: &mut dyn io::Write, results: &Results) -> io::Result<()> {
    let summary = results.summary;
    let is_last = |step: &&StepResult| matches!(step.step, Step::Down | Step::Teardown);
    let (last, first): (Vec<&StepResult>, Vec<&StepResult>) =
        summary.steps.iter().partition(is_last);
    let not_run: &[ReplayName] = if summary.harness_failed() {
        // The bail-out speaks for them.
        &[]
    } else {
        &summary.not_run
    };
    let points = summary.steps.len() + summary.results.len() + not_run.len();
    writeln!(out, "TAP version 14")?;
    writeln!(out, "1..{points}")?;
    let mut points = Points {
        out,
        number: 0,
        indent: "",
    };
    for step in first {
        points.step(step)?;
    }
    for result in &summary.results {
        points.replay(results, result)?;
    }
    for name in not_run {
        points.point(false, name.as_str(), None)?;
        let message = "not run: the run ended before it".to_owned();
        points.diagnostics(&[("message", message)], "")?;
    }
    for step in last {
        points.step(step)?;
    }
    let tally: Vec<String> = tally(summary)
        .iter()
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    if !tally.is_empty() {
        writeln!(points.out, "# {}", tally.join(", "))?;
    }
    for (replay, leak) in results.leaks() {
        let leak = format!("{replay} is {leak}");
        writeln!(points.out, "# {}", sanitize_plain(&leak))?;
    }
    for trouble in results.troubles() {
        writeln!(points.out, "# {}", sanitize_plain(&trouble))?;
    }
    if summary.harness_failed() {
        let why: Vec<String> = results
            .failed_steps()
            .map(|(step, reason)| format!("{}: {reason}", step.step.word()))
            .collect();
        writeln!(points.out, "Bail out! {}", sanitize_plain(&why.join("; ")))?;
    } else if summary.internal_error.is_some() || summary.engine_lost || summary.refused {
        let why = results.troubles().join("; ");
        writeln!(points.out, "Bail out! {}", sanitize_plain(&why))?;
    }
    points.out.flush()
}

struct Points<'a> {
    out: &'a mut dyn io::Write,
    number: usize,
    /// Of a subtest.
    indent: &'static str,
}

impl Points<'_> {
    fn step(&mut self, step: &StepResult) -> io::Result<()> {
        let name = format!("@harness {}", step.step.word());
        let took = ("duration_ms", milliseconds(step.took));
        match &step.outcome {
            StepOutcome::Done => {
                self.point(true, &name, None)?;
                self.diagnostics(&[took], "")
            }
            StepOutcome::Skipped { reason } => self.point(true, &name, Some(("SKIP", reason))),
            StepOutcome::Failed { reason } => {
                self.failed_step(step, &[("message", reason.clone()), took])
            }
            StepOutcome::Cancelled => {
                self.failed_step(step, &[("message", "cut off".to_owned()), took])
            }
        }
    }

    fn failed_step(&mut self, step: &StepResult, fields: &[(&str, String)]) -> io::Result<()> {
        let output = tail(&step.output, OUTPUT_LINES, OUTPUT_BYTES);
        self.point(false, &format!("@harness {}", step.step.word()), None)?;
        self.diagnostics(fields, &output)
    }

    fn replay(&mut self, results: &Results, result: &ReplayResult) -> io::Result<()> {
        let name = result.replay.as_str();
        if let Some(tap) = &result.tap {
            self.subtest(name, tap)?;
        }
        match &result.verdict {
            // A run that fails by it: no directive may hide that.
            _ if !result.is_ok() => self.point(false, name, None)?,
            Verdict::Skipped { reason } => return self.point(true, name, Some(("SKIP", reason))),
            Verdict::FailedAsExpected { reason } => {
                self.point(false, name, Some(("TODO", reason)))?;
            }
            _ => self.point(true, name, None)?,
        }
        let mut fields = Vec::new();
        let mut output = String::new();
        if result.verdict != Verdict::Passed || !result.is_ok() {
            fields.push(("message", results.why_failed(result)));
            fields.push(("verdict", result.verdict.word().to_owned()));
            output = tail(results.summary.evidence(result), OUTPUT_LINES, OUTPUT_BYTES);
        }
        if let Some(file) = results.file(&result.replay) {
            fields.push(("file", file.to_owned()));
        }
        fields.push(("duration_ms", milliseconds(result.took)));
        let failed = results.summary.failed_attempts(&result.replay);
        let failed: Vec<String> = failed.map(|earlier| earlier.verdict.to_string()).collect();
        if !failed.is_empty() {
            let word = match result.verdict.is_ok() {
                true => "flaky",
                false => "earlier_attempts",
            };
            fields.push((word, failed.join("; ")));
        }
        self.diagnostics(&fields, &output)
    }

    /// The points of a replay that prints TAP itself, where all of them are known. What they have
    /// in subtests of their own they sum up.
    fn subtest(&mut self, name: &str, tap: &Tap) -> io::Result<()> {
        let points = tap.points.iter().filter(|point| point.within.is_empty());
        let points: Vec<&Point> = points.collect();
        if points.len() as u64 != tap.seen || points.is_empty() {
            return Ok(());
        }
        writeln!(self.out, "# Subtest: {}", description(name))?;
        let mut inner = Points {
            out: &mut *self.out,
            number: 0,
            indent: "    ",
        };
        for point in &points {
            let reason = &*point.reason;
            let (ok, directive) = match point.outcome {
                Outcome::Ok => (true, None),
                Outcome::NotOk => (false, None),
                Outcome::Skipped => (true, Some(("SKIP", reason))),
                Outcome::Todo => (false, Some(("TODO", reason))),
                Outcome::TodoPassed => (true, Some(("TODO", reason))),
            };
            inner.point(ok, &point.description, directive)?;
        }
        let planned = tap.planned.unwrap_or(tap.seen);
        writeln!(self.out, "    1..{planned}")
    }

    fn point(&mut self, ok: bool, name: &str, directive: Option<(&str, &str)>) -> io::Result<()> {
        self.number += 1;
        let ok = if ok { "ok" } else { "not ok" };
        let (indent, number) = (self.indent, self.number);
        write!(self.out, "{indent}{ok} {number} - {}", description(name))?;
        if let Some((word, reason)) = directive {
            write!(self.out, " # {word} {}", sanitize_plain(reason))?;
        }
        writeln!(self.out)
    }

    fn diagnostics(&mut self, fields: &[(&str, String)], output: &str) -> io::Result<()> {
        writeln!(self.out, "  ---")?;
        for (name, value) in fields {
            let value = match *name {
                "duration_ms" => value.clone(),
                _ => quoted(value),
            };
            writeln!(self.out, "  {name}: {value}")?;
        }
        if !output.is_empty() {
            writeln!(self.out, "  output:")?;
            for line in output.lines() {
                writeln!(self.out, "    - {}", quoted(line))?;
            }
        }
        writeln!(self.out, "  ...")
    }
}

fn milliseconds(took: Duration) -> String {
    took.as_millis().to_string()
}

/// A `#` would begin a directive.
fn description(name: &str) -> String {
    sanitize_plain(name)
        .replace('\\', "\\\\")
        .replace('#', "\\#")
}

/// As YAML reads it. What is left after sanitising needs no other escapes.
fn quoted(text: &str) -> String {
    let text = sanitize_plain(text)
        .replace('\\', "\\\\")
        .replace('"', "\\\"");
    format!("\"{text}\"")
}

#[cfg(test)]
mod tests {
    use super::super::fixtures;
    use super::*;
    use crate::domain::run::Flaky;

    fn written(story: &fixtures::Story) -> String {
        let mut out = Vec::new();
        tap(&mut out, &story.results()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_step_and_replay_is_a_point() {
        insta::assert_snapshot!(written(&fixtures::mixed()));
    }

    #[test]
    fn a_harness_that_is_not_up_bails_out() {
        insta::assert_snapshot!(written(&fixtures::harness_down()));
    }

    #[test]
    fn no_directive_hides_what_a_run_fails_by() {
        let known = || Verdict::FailedAsExpected {
            reason: "#1".to_owned(),
        };
        let skipped = Verdict::Skipped {
            reason: "#2".to_owned(),
        };
        for verdict in [Verdict::Passed, known(), skipped] {
            let tap = written(&fixtures::ok_at_last(verdict, Flaky::Fails));
            assert!(tap.contains("\nnot ok 1 - wobbles\n"), "{tap}");
            assert!(tap.contains("  flaky: \"failed: exit 1\"\n"), "{tap}");
            assert!(tap.contains("FAIL: at first"), "{tap}");
        }
        let tap = written(&fixtures::ok_at_last(known(), Flaky::Tolerated));
        assert!(tap.contains("\nnot ok 1 - wobbles # TODO #1\n"), "{tap}");
    }

    #[test]
    fn nothing_that_a_replay_prints_or_is_called_becomes_a_line_of_its_own() {
        for text in fixtures::HOSTILE {
            let tap = written(&fixtures::one_failure(text, text));
            let points = tap
                .lines()
                .filter(|line| line.starts_with("ok") || line.starts_with("not ok"));
            assert_eq!(points.count(), 1, "{tap}");
            let allowed = ["TAP version 14", "1..1", "not ok 1 - ", "  ", "# 1 failed"];
            for line in tap.lines() {
                assert!(allowed.iter().any(|start| line.starts_with(start)), "{tap}");
                assert!(!line.contains(crate::text::sanitize::needs_care), "{tap:?}");
            }
            assert_eq!(
                tap.lines().filter(|line| *line == "  ...").count(),
                1,
                "{tap}"
            );
            let point = tap.lines().nth(2).unwrap();
            assert_eq!(
                point.replace("\\\\", "").replace("\\#", "").find('#'),
                None,
                "{point}"
            );
        }
    }
}
