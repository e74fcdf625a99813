//! A run on a terminal or in a CI log: progress on one writer, results on the other.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use super::palette::{Paint, Palette};
use super::plan::write_plan;
use super::progress::Progress;
use super::results::{Results, again, failed_points, incident_command};
use crate::domain::hook::Step;
use crate::domain::id::RunId;
use crate::domain::output::OutputLines;
use crate::domain::plan::{ItemOutcome, Spared};
use crate::domain::replay::ReplayName;
use crate::domain::run::{
    Flaky, Output, ReplayResult, RunEvent, RunEventKind, Seconds, StepOutcome, Summary, Verdict,
};
use crate::domain::tap::Outcome;
use crate::text::sanitize::{sanitize, sanitize_plain};
use crate::text::width::{pad, width};

/// How many of a failure's last lines are shown again at the end.
const RECALLED_LINES: usize = 20;

/// And how many points of TAP.
const RECALLED_POINTS: usize = 20;

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
    run: Option<RunId>,
    running: Vec<ReplayName>,
    /// The replay whose lines are shown as they come. While several run there is none: the output
    /// of each is shown in one piece at its end.
    live: Option<ReplayName>,
}

/// Writes what a run that is over had to say on the terminal: its verdicts, what failed with the
/// end of its output, and what went wrong with the run itself.
///
/// # Errors
///
/// Fails where the writer does.
pub fn text(out: &mut dyn Write, results: &Results, palette: Palette) -> io::Result<()> {
    let summary = results.summary;
    let mut human = Human::new(&mut *out, io::sink(), palette);
    let names = summary.results.iter().map(|result| &result.replay);
    human.has_replays = !summary.results.is_empty() || !summary.not_run.is_empty();
    human.widest_name = widest(names);
    human.run.clone_from(&summary.run);
    for result in &summary.results {
        human.replay_finished(result)?;
    }
    human.summary(summary)?;
    let problem = |what: &str, why: &str| {
        let what = palette.paint(Paint::Bad, what);
        format!("✘ {what}: {}", sanitize_plain(why))
    };
    for (step, reason) in results.failed_steps() {
        writeln!(human.results, "{}", problem(step.step.word(), reason))?;
        human.recall(&step.output)?;
    }
    for trouble in results.troubles() {
        writeln!(human.results, "{}", problem("run", &trouble))?;
    }
    human.results.flush()
}

fn widest<'n>(names: impl Iterator<Item = &'n ReplayName>) -> usize {
    names
        .map(|name| width(&sanitize_plain(name.as_str())))
        .max()
        .unwrap_or(0)
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
            run: None,
            running: Vec::new(),
            live: None,
        }
    }

    /// # Errors
    ///
    /// Fails where a writer does.
    pub fn event(&mut self, event: &RunEvent) -> io::Result<()> {
        match &event.kind {
            RunEventKind::Started { run, replays, .. } => {
                self.has_replays = !replays.is_empty();
                self.run = Some(run.clone());
                self.widest_name = widest(replays.iter().map(|replay| &replay.name));
                self.quiet(&format!("run {run}"))
            }
            RunEventKind::Again { why, replays, .. } => {
                let names = replays.iter().map(|replay| &replay.name);
                self.widest_name = self.widest_name.max(widest(names.clone()));
                self.has_replays = true;
                let names: Vec<&str> = names.map(ReplayName::as_str).collect();
                let text = format!("again: {} ({why})", names.join(", "));
                self.heading(&sanitize_plain(&text))
            }
            RunEventKind::Gone { why, replays } => {
                let names: Vec<&str> = replays.iter().map(ReplayName::as_str).collect();
                let text = format!("gone: {} ({why})", names.join(", "));
                self.quiet(&sanitize_plain(&text))
            }
            RunEventKind::StepStarted { step } => self.heading(step.word()),
            RunEventKind::StepOutput { lines, .. } => self.output(lines),
            RunEventKind::ReplayOutput { replay, lines } => {
                if self.live.as_ref() == Some(replay) {
                    self.output(lines)
                } else {
                    Ok(())
                }
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
            RunEventKind::ReplayStarted {
                replay, attempt, ..
            } => self.replay_started(replay, *attempt),
            RunEventKind::ReplaySlow { replay, after } => {
                let whose = self.whose(replay);
                self.warn(&format!("{whose}slow: running for {}", Seconds(*after)))
            }
            RunEventKind::ReplayStopping { replay, signal } => {
                let whose = self.whose(replay);
                self.warn(&format!("{whose}sent {}", signal.word()))
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
    /// In one piece: each write is a call of the system.
    fn output(&mut self, lines: &OutputLines) -> io::Result<()> {
        let bar = self.palette.paint(Paint::Quiet, "│");
        let mut text = String::with_capacity(lines.size());
        for line in lines.iter() {
            let _ = writeln!(text, "  {bar} {}", sanitize(line).text);
        }
        self.progress.write_all(text.as_bytes())
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

    fn replay_started(&mut self, replay: &ReplayName, attempt: u32) -> io::Result<()> {
        self.running.push(replay.clone());
        self.live = (self.running.len() == 1).then(|| replay.clone());
        let name = sanitize_plain(replay.as_str());
        let attempt = match attempt {
            0 | 1 => String::new(),
            attempt => format!(", attempt {attempt}"),
        };
        self.heading(&format!("replay {name}{attempt}"))
    }

    /// Said in front of what would otherwise be taken for another one's.
    fn whose(&self, replay: &ReplayName) -> String {
        if self.live.as_ref() == Some(replay) {
            String::new()
        } else {
            format!("{}: ", sanitize_plain(replay.as_str()))
        }
    }

    /// What nobody has seen yet, because others ran beside it.
    fn held_output(&mut self, replay: &ReplayName, output: &Output) -> io::Result<()> {
        if output.is_empty() {
            return Ok(());
        }
        let name = sanitize_plain(replay.as_str());
        self.heading(&format!("output of {name}"))?;
        let text = output.text();
        self.output(&OutputLines::new(text.strip_suffix(b"\n").unwrap_or(&text)))
    }

    fn replay_finished(&mut self, result: &ReplayResult) -> io::Result<()> {
        self.running.retain(|running| *running != result.replay);
        if self.live.as_ref() == Some(&result.replay) {
            self.live = None;
        } else {
            self.held_output(&result.replay, &result.output)?;
        }
        let paint = match &result.verdict {
            verdict if verdict.is_ok() && !result.is_ok() => Paint::Bad,
            Verdict::Passed => Paint::Good,
            Verdict::Skipped { .. } | Verdict::FailedAsExpected { .. } => Paint::Quiet,
            _ => Paint::Bad,
        };
        let name = sanitize_plain(result.replay.as_str()).into_owned();
        let mark = self
            .palette
            .paint(paint, result.verdict.symbol_of(result.is_ok()));
        let mut line = format!(
            "{mark} {}  {:>8}",
            pad(&name, self.widest_name),
            Seconds(result.took).to_string()
        );
        if result.verdict != Verdict::Passed {
            line.push_str(&format!("  {}", sanitize_plain(&result.explained())));
        } else if let Some(tap) = &result.tap {
            let tally = self.palette.paint(Paint::Quiet, tap.tally());
            line.push_str(&format!("  {tally}"));
        }
        if result.attempt > 1 {
            line.push_str(&format!("  attempt {}", result.attempt));
        }
        for (flag, word) in [
            (result.retried, "is tried again"),
            (result.flaky != Flaky::No, "flaky"),
            (result.slow, "slow"),
            (result.leaky, "leaky"),
        ] {
            if flag {
                line.push_str(&format!("  {}", self.palette.paint(Paint::Warning, word)));
            }
        }
        writeln!(self.results, "{line}")?;
        for point in result.tap.iter().flat_map(|tap| &tap.points) {
            if point.outcome == Outcome::TodoPassed {
                let title = point.title();
                self.warn(&sanitize_plain(&format!("passed although TODO: {title}")))?;
            }
        }
        if result.leaky {
            let ended = result.survivors.iter().all(|survivor| survivor.ended);
            let ended = if ended { ", which were ended" } else { "" };
            self.warn(&format!("it left processes behind{ended}"))?;
            for survivor in &result.survivors {
                self.warn(&sanitize_plain(&survivor.to_string()))?;
            }
        }
        if result.output.not_on_disk > 0 {
            let lost = result.output.not_on_disk;
            self.warn(&format!(
                "{lost} bytes of its output are not on disk: cap reached, or it cannot be written"
            ))?;
        }
        self.results.flush()
    }

    /// What the running replays have printed so far.
    ///
    /// # Errors
    ///
    /// Fails where the writer does.
    pub fn so_far(&mut self, progress: &Progress, now: Duration) -> io::Result<()> {
        if progress.running().is_empty() {
            return self.quiet("no replay is running");
        }
        for running in progress.running() {
            let name = sanitize_plain(running.replay.as_str()).into_owned();
            let since = Seconds(now.saturating_sub(running.since));
            self.heading(&format!("output of {name} so far, after {since}"))?;
            if running.before > 0 {
                self.quiet(&format!("  … {} lines before", running.before))?;
            }
            if running.output.is_empty() {
                self.quiet("  nothing yet")?;
            }
            for line in &running.output {
                self.output(&OutputLines::new(&**line))?;
            }
        }
        self.progress.flush()
    }

    /// What can be pressed while a run goes on.
    ///
    /// # Errors
    ///
    /// Fails where the writer does.
    pub fn keys(&mut self) -> io::Result<()> {
        self.quiet(
            "enter, o: what the running replays printed so far · ctrl-c: stop, a second one kills · ctrl-z: pause",
        )
    }

    fn summary(&mut self, summary: &Summary) -> io::Result<()> {
        if !self.has_replays {
            return self.progress.flush();
        }
        for result in summary.results.iter().filter(|result| !result.is_ok()) {
            self.failure(result, summary.evidence(result))?;
        }
        let counts = summary.counts();
        let mut parts = Vec::new();
        for (count, word, paint) in [
            (counts.passed, "passed", Paint::Good),
            (counts.failed, "failed", Paint::Bad),
            (counts.timed_out, "timed out", Paint::Bad),
            (counts.errored, "errored", Paint::Bad),
            (counts.could_not_start, "could not start", Paint::Bad),
            (counts.aborted, "aborted", Paint::Bad),
            (counts.not_run, "not run", Paint::Warning),
            (
                counts.failed_as_expected,
                "failed as expected",
                Paint::Quiet,
            ),
            (counts.skipped, "skipped", Paint::Quiet),
            (counts.flaky, "flaky", Paint::Warning),
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

    fn failure(&mut self, result: &ReplayResult, output: &Output) -> io::Result<()> {
        let name = sanitize_plain(result.replay.as_str());
        let mut title = format!("── {name} ── {} ", sanitize_plain(&result.explained()));
        if result.attempt > 1 {
            title.push_str(&format!("── attempt {} ", result.attempt));
        }
        if result.flaky == Flaky::Fails {
            title.push_str("── flaky, which fails this run ");
        }
        writeln!(self.results, "\n{}", self.palette.paint(Paint::Bad, title))?;
        let points = failed_points(result);
        for point in points.iter().take(RECALLED_POINTS) {
            writeln!(self.results, "   {}", sanitize_plain(point))?;
        }
        let failed = result.tap.as_ref().map_or(0, |tap| tap.failed);
        let more = (points.len() as u64).max(failed);
        let more = more.saturating_sub(RECALLED_POINTS as u64);
        if more > 0 {
            writeln!(self.results, "   … and {more} more")?;
        }
        self.recall(output)?;
        let run = self.run.as_ref();
        if let Some(command) = run.and_then(|run| incident_command(run.as_str(), &result.replay)) {
            let incident = self
                .palette
                .paint(Paint::Quiet, format!("   incident: {command}"));
            writeln!(self.results, "{incident}")?;
        }
        let again = format!("   again: {}", again([&result.replay]));
        writeln!(
            self.results,
            "{}\n",
            self.palette.paint(Paint::Quiet, again)
        )
    }

    /// The last lines of what failed, once more.
    fn recall(&mut self, output: &Output) -> io::Result<()> {
        let text = output.text();
        let lines: Vec<&[u8]> = text
            .strip_suffix(b"\n")
            .unwrap_or(&text)
            .split(|byte| *byte == b'\n')
            .collect();
        let hidden = lines.len().saturating_sub(RECALLED_LINES);
        if hidden > 0 {
            let whole = output.file.as_ref().map_or_else(String::new, |file| {
                format!(": {}", sanitize_plain(&file.to_string_lossy()))
            });
            let before = format!("   … {hidden} lines before{whole}");
            writeln!(self.results, "{}", self.palette.paint(Paint::Quiet, before))?;
        }
        if !output.is_empty() {
            // Behind the bar no line is a command to a CI server, such as `::error::`.
            let bar = self.palette.paint(Paint::Quiet, "│");
            for line in &lines[hidden..] {
                writeln!(self.results, "   {bar} {}", sanitize(line).text)?;
            }
        }
        Ok(())
    }
}
