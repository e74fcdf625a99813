//! A run on a terminal or in a CI log: progress on one writer, results on the other.

use std::io::{self, Write};

use super::palette::{Paint, Palette};
use super::plan::write_plan;
use crate::domain::hook::Step;
use crate::domain::plan::{ItemOutcome, Spared};
use crate::domain::run::{
    ReplayResult, RunEvent, RunEventKind, Seconds, StepOutcome, Summary, Verdict,
};
use crate::text::sanitize::{sanitize, sanitize_plain};
use crate::text::width::pad;

/// How many of a failure's last lines are shown again at the end.
const RECALLED_LINES: usize = 20;

/// Writes a run as it happens.
#[derive(Debug)]
pub struct Human<R, P> {
    /// Verdicts and the summary.
    results: R,
    /// Everything on the way there.
    progress: P,
    palette: Palette,
    widest_name: usize,
    /// Lifecycle commands have no replays to sum up.
    has_replays: bool,
    /// Items of the plan that the hook had removed already.
    gone: usize,
    /// Left to other runs in this teardown.
    others: usize,
}

impl<R: Write, P: Write> Human<R, P> {
    pub fn new(results: R, progress: P, palette: Palette) -> Self {
        Self {
            results,
            progress,
            palette,
            widest_name: 0,
            has_replays: false,
            gone: 0,
            others: 0,
        }
    }

    /// # Errors
    ///
    /// Fails where a writer does.
    pub fn event(&mut self, event: &RunEvent) -> io::Result<()> {
        match &event.kind {
            RunEventKind::Started { run, replays, .. } => {
                self.has_replays = !replays.is_empty();
                self.widest_name = replays
                    .iter()
                    .map(|replay| crate::text::width::width(&sanitize_plain(replay.name.as_str())))
                    .max()
                    .unwrap_or(0);
                self.quiet(&format!("run {run}"))
            }
            RunEventKind::StepStarted { step } => self.heading(step.word()),
            RunEventKind::StepOutput { line, .. } | RunEventKind::ReplayOutput { line, .. } => {
                self.output(line)
            }
            RunEventKind::StepProgress { step, progress } => {
                // A hook's own progress lines are part of its output already.
                if *step == Step::Ready {
                    let total = progress
                        .total
                        .map_or_else(String::new, |total| format!("/{total}"));
                    let done = progress.done;
                    let waiting_for = sanitize_plain(&progress.waiting_for).into_owned();
                    self.quiet(&format!("  {done}{total} ready, {waiting_for}"))
                } else {
                    Ok(())
                }
            }
            RunEventKind::StepFinished {
                step,
                outcome,
                took,
                ..
            } => self.step_finished(*step, outcome, Seconds(*took)),
            RunEventKind::ReplayStarted { replay, .. } => {
                self.heading(&format!("replay {}", sanitize_plain(replay.as_str())))
            }
            RunEventKind::ReplaySlow { after, .. } => {
                self.warn(&format!("slow: running for {}", Seconds(*after)))
            }
            RunEventKind::ReplayStopping { signal, .. } => {
                self.warn(&format!("sent {}", signal.word()))
            }
            RunEventKind::ReplayFinished(result) => self.replay_finished(result),
            RunEventKind::Planned(plan) => {
                write_plan(&mut self.progress, plan, self.palette, event.at)
            }
            RunEventKind::ItemFinished { item, outcome } => {
                let name = sanitize_plain(&item.name);
                let kind = item.kind.word();
                match outcome {
                    ItemOutcome::Removed => self.quiet(&format!("  removed {kind} {name}")),
                    ItemOutcome::Gone => {
                        self.gone += 1;
                        Ok(())
                    }
                    ItemOutcome::Changed { why } => {
                        let why = sanitize_plain(why);
                        self.warn(&format!("spared {kind} {name}: {why}"))
                    }
                    ItemOutcome::Failed { why } => {
                        let why = sanitize_plain(why);
                        self.warn(&format!("could not remove {kind} {name}: {why}"))
                    }
                }
            }
            RunEventKind::LeftBehind(_) => Ok(()),
            RunEventKind::LeftToOthers(spared) => {
                self.others = spared.len();
                for Spared { item, reason } in spared {
                    let (kind, name) = (item.kind.word(), sanitize_plain(&item.name));
                    let reason = reason.to_string();
                    let reason = sanitize_plain(&reason);
                    self.warn(&format!(
                        "{kind} {name} stays: {reason} (--any-age takes it)"
                    ))?;
                }
                Ok(())
            }
            RunEventKind::Interrupted(signal) => {
                self.warn(&format!("interrupted by {}", signal.word()))
            }
            RunEventKind::Note(text) => self.quiet(&sanitize_plain(text)),
            RunEventKind::EngineLost { cause } => self.problem("the engine cannot be used", cause),
            RunEventKind::Refused { reason } => self.problem("refused", reason),
            RunEventKind::InternalError { cause } => self.problem("internal error", cause),
            RunEventKind::Finished(summary) => self.summary(summary),
        }
    }

    fn quiet(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.progress, "{}", self.palette.paint(Paint::Quiet, text))
    }

    fn warn(&mut self, text: &str) -> io::Result<()> {
        let text = self.palette.paint(Paint::Warning, text);
        writeln!(self.progress, "  {text}")
    }

    fn heading(&mut self, text: &str) -> io::Result<()> {
        let text = self.palette.paint(Paint::Strong, text);
        writeln!(self.progress, "▶ {text}")
    }

    fn problem(&mut self, what: &str, why: &str) -> io::Result<()> {
        let what = self.palette.paint(Paint::Bad, what);
        writeln!(self.progress, "✘ {what}: {}", sanitize_plain(why))
    }

    /// Scripts' own text never reaches the terminal as it is: it could move the cursor or write
    /// the title.
    fn output(&mut self, line: &[u8]) -> io::Result<()> {
        let bar = self.palette.paint(Paint::Quiet, "│");
        writeln!(self.progress, "  {bar} {}", sanitize(line).text)
    }

    fn step_finished(
        &mut self,
        step: Step,
        outcome: &StepOutcome,
        took: Seconds,
    ) -> io::Result<()> {
        let title = step.word();
        match outcome {
            StepOutcome::Done => {
                let mark = self.palette.paint(Paint::Good, "✔");
                let gone = std::mem::take(&mut self.gone);
                let left = match std::mem::take(&mut self.others) {
                    0 => "nothing is left",
                    _ => "nothing else is left",
                };
                let note = match (step, gone) {
                    (Step::Teardown, 0) => format!(", {left}"),
                    (Step::Teardown, gone) => format!(", {left} ({gone} were gone already)"),
                    _ => String::new(),
                };
                writeln!(self.progress, "{mark} {title}{note}  {took}")
            }
            StepOutcome::Skipped { reason } => {
                self.quiet(&format!("⊘ {title} skipped: {}", sanitize_plain(reason)))
            }
            StepOutcome::Failed { reason } => {
                self.problem(&format!("{title} failed after {took}"), reason)
            }
            StepOutcome::Cancelled => {
                let mark = self.palette.paint(Paint::Warning, "■");
                writeln!(self.progress, "{mark} {title} cut off after {took}")
            }
        }
    }

    fn replay_finished(&mut self, result: &ReplayResult) -> io::Result<()> {
        let paint = match &result.verdict {
            Verdict::Passed => Paint::Good,
            Verdict::Skipped { .. } => Paint::Quiet,
            _ => Paint::Bad,
        };
        let name = sanitize_plain(result.replay.as_str()).into_owned();
        let mark = self.palette.paint(paint, result.verdict.symbol());
        let mut line = format!(
            "{mark} {}  {:>8}",
            pad(&name, self.widest_name),
            Seconds(result.took).to_string()
        );
        if result.verdict != Verdict::Passed {
            line.push_str(&format!(
                "  {}",
                sanitize_plain(&result.verdict.to_string())
            ));
        }
        for (flag, word) in [(result.slow, "slow"), (result.leaky, "leaky")] {
            if flag {
                line.push_str(&format!("  {}", self.palette.paint(Paint::Warning, word)));
            }
        }
        writeln!(self.results, "{line}")?;
        if result.leaky {
            self.warn("it left processes behind, which were ended")?;
            for survivor in &result.survivors {
                self.warn(&sanitize_plain(&survivor.to_string()))?;
            }
        }
        if result.output.not_on_disk > 0 {
            let lost = result.output.not_on_disk;
            self.warn(&format!(
                "{lost} bytes of its output are not on disk: cap reached, or disk full"
            ))?;
        }
        self.results.flush()
    }

    fn summary(&mut self, summary: &Summary) -> io::Result<()> {
        if !self.has_replays {
            return self.progress.flush();
        }
        for result in summary
            .results
            .iter()
            .filter(|result| !result.verdict.is_ok())
        {
            self.failure(result)?;
        }
        let counts = summary.counts();
        let mut parts = Vec::new();
        for (count, word, paint) in [
            (counts.passed, "passed", Paint::Good),
            (counts.failed, "failed", Paint::Bad),
            (counts.timed_out, "timed out", Paint::Bad),
            (counts.could_not_start, "could not start", Paint::Bad),
            (counts.aborted, "aborted", Paint::Bad),
            (counts.not_run, "not run", Paint::Warning),
            (counts.skipped, "skipped", Paint::Quiet),
        ] {
            if count > 0 {
                parts.push(self.palette.paint(paint, format!("{count} {word}")));
            }
        }
        if !summary.left_behind.is_empty() {
            let count = summary.left_behind.len();
            parts.push(
                self.palette
                    .paint(Paint::Bad, format!("{count} left behind")),
            );
        }
        writeln!(
            self.results,
            "{}  {}",
            parts.join(", "),
            self.palette.paint(Paint::Quiet, Seconds(summary.took))
        )?;
        self.results.flush()
    }

    fn failure(&mut self, result: &ReplayResult) -> io::Result<()> {
        let name = sanitize_plain(result.replay.as_str());
        let title = format!(
            "── {name} ── {} ",
            sanitize_plain(&result.verdict.to_string())
        );
        writeln!(self.results, "\n{}", self.palette.paint(Paint::Bad, title))?;
        let output = result.output.text();
        let lines: Vec<&[u8]> = output
            .strip_suffix(b"\n")
            .unwrap_or(&output)
            .split(|byte| *byte == b'\n')
            .collect();
        let hidden = lines.len().saturating_sub(RECALLED_LINES);
        if hidden > 0 {
            let whole = result
                .output
                .file
                .as_ref()
                .map_or_else(String::new, |file| {
                    format!(": {}", sanitize_plain(&file.to_string_lossy()))
                });
            let text = format!("   … {hidden} lines before{whole}");
            writeln!(self.results, "{}", self.palette.paint(Paint::Quiet, text))?;
        }
        if !output.is_empty() {
            for line in &lines[hidden..] {
                writeln!(self.results, "   {}", sanitize(line).text)?;
            }
        }
        let options_end = if result.replay.as_str().starts_with('-') {
            "-- "
        } else {
            ""
        };
        let again = format!(
            "   again: tackroom run {options_end}{}",
            shell_word(result.replay.as_str())
        );
        writeln!(
            self.results,
            "{}\n",
            self.palette.paint(Paint::Quiet, again)
        )
    }
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
