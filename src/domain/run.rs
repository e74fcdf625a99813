//! A run: what happens while replays are executed against a harness, and what it adds up to.
//!
//! [`RunEvent`] is the one stream that the terminal, JUnit, JSON and the dashboard consume;
//! [`Summary`] is a fold over it and knows nothing that the events do not say.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::hook::{Progress, Step};
use super::id::RunId;
use super::output::OutputLines;
use super::plan::{Item, ItemOutcome, Spared, TeardownPlan};
use super::replay::{Replay, ReplayName};
use super::scope::StackName;
use super::tap::Tap;
pub use super::verdict::{Ending, Verdict};

/// A signal that asks to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    Interrupt,
    Terminate,
    Hangup,
    /// With a core.
    Quit,
    Kill,
}

impl Signal {
    pub fn word(self) -> &'static str {
        match self {
            Self::Interrupt => "INT",
            Self::Terminate => "TERM",
            Self::Hangup => "HUP",
            Self::Quit => "QUIT",
            Self::Kill => "KILL",
        }
    }
}

/// Prints a duration as people read it: `0.4 s`, `12 s`, `3 m 07 s`.
#[derive(Clone, Copy, Debug)]
pub struct Seconds(pub Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        if seconds < 9.95 {
            write!(f, "{seconds:.1} s")
        } else if seconds < 59.5 {
            write!(f, "{seconds:.0} s")
        } else {
            let whole = seconds.round() as u64;
            write!(f, "{} m {:02} s", whole / 60, whole % 60)
        }
    }
}

/// What a process printed: bounded in memory, complete on disk up to a cap. However many hold it,
/// there is one copy of its text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    pub head: Arc<[u8]>,
    pub tail: Arc<[u8]>,
    /// Bytes between head and tail that are not in memory.
    pub cut: u64,
    /// The whole of it, as far as the cap allows.
    pub file: Option<PathBuf>,
    /// Bytes that the cap kept off the disk.
    pub not_on_disk: u64,
}

impl Output {
    pub fn is_empty(&self) -> bool {
        self.head.is_empty() && self.tail.is_empty()
    }

    /// Bytes that are in memory.
    fn held(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    /// Holds no more than the last bytes of it.
    fn shorten(&mut self, most: usize) {
        let before = self.held();
        if before <= most {
            return;
        }
        let head = std::mem::take(&mut self.head);
        if self.cut == 0 {
            self.tail = [&*head, &*self.tail].concat().into();
        }
        let from = self.tail.len().saturating_sub(most);
        self.tail = self.tail[from..].into();
        self.cut += (before - self.held()) as u64;
    }

    /// Head and tail with a line between them that says what is missing and where it is.
    pub fn text(&self) -> Vec<u8> {
        let mut text = self.head.to_vec();
        if self.cut > 0 {
            if !text.is_empty() && !text.ends_with(b"\n") {
                text.push(b'\n');
            }
            text.extend_from_slice(format!("[{} bytes cut", self.cut).as_bytes());
            if let Some(file) = &self.file {
                let what = match self.not_on_disk {
                    0 => "full output",
                    _ => "a part of them",
                };
                text.extend_from_slice(format!("; {what}: {}", file.display()).as_bytes());
            }
            text.extend_from_slice(b"]\n");
        }
        text.extend_from_slice(&self.tail);
        text
    }
}

/// A process that outlived the script which it descends from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survivor {
    pub pid: u32,
    /// Its command line, as it says itself: anything may stand in it.
    pub command: String,
    /// Whether it could be ended.
    pub ended: bool,
}

impl fmt::Display for Survivor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let still = if self.ended {
            ""
        } else {
            ", which cannot be ended"
        };
        write!(f, "process {}{still}: {}", self.pid, self.command)
    }
}

/// Whether a replay was ok only after an attempt that was not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flaky {
    #[default]
    No,
    /// It was, and the run may pass.
    Tolerated,
    /// It was, and the run fails by it.
    Fails,
}

/// The end of one attempt at a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayResult {
    pub replay: ReplayName,
    pub verdict: Verdict,
    pub started: Timestamp,
    /// Without the time that it was paused.
    pub took: Duration,
    /// From 1, over all repetitions and retries of the run.
    pub attempt: u32,
    pub output: Output,
    /// What it said in TAP, where its suite is of that kind.
    pub tap: Option<Box<Tap>>,
    /// It ran longer than the configured `slow`.
    pub slow: bool,
    /// It left processes behind that we had to end.
    pub leaky: bool,
    /// Those by name, as far as that can be told.
    pub survivors: Vec<Survivor>,
    /// Another attempt follows, whose end counts instead.
    pub retried: bool,
    pub flaky: Flaky,
}

impl ReplayResult {
    /// The verdict, and what its points say besides.
    pub fn explained(&self) -> String {
        let problem = match &self.verdict {
            Verdict::Failed(_) | Verdict::TimedOut { .. } | Verdict::Aborted => {
                // That some are missing is no news where it was cut off.
                let tap = self.tap.as_deref();
                tap.filter(|tap| tap.failed > 0 || tap.bail_out.is_some())
                    .and_then(Tap::problem)
            }
            _ => None,
        };
        match problem {
            Some(problem) => format!("{}; {problem}", self.verdict),
            None => self.verdict.to_string(),
        }
    }

    /// Whether a run with it may still pass.
    pub fn is_ok(&self) -> bool {
        self.verdict.is_ok() && self.flaky != Flaky::Fails
    }
}

/// How much of the outputs of many results is in memory, in bytes: a run may have thousands.
#[derive(Clone, Copy, Debug, Default)]
pub struct Held {
    ok: usize,
    not_ok: usize,
}

impl Held {
    /// Of those that are ok, and again of the others: no report has room for more.
    const MOST: usize = 32 * 1024 * 1024;
    /// What there is always room for: as much as is told of a failure.
    const LAST_WORDS: usize = 4 * 1024;
    /// The same of what nobody has to look into.
    const LAST_WORDS_OK: usize = 512;

    fn of<'a>(results: impl Iterator<Item = &'a ReplayResult>) -> Self {
        let mut held = Self::default();
        for result in results {
            *held.like(result) += result.output.held();
        }
        held
    }

    fn like(&mut self, result: &ReplayResult) -> &mut usize {
        if result.is_ok() {
            &mut self.ok
        } else {
            &mut self.not_ok
        }
    }

    /// Takes in one more. Where the room is used up, its output is cut to its last bytes.
    pub fn admit(&mut self, result: &mut ReplayResult) {
        // Where no file has the whole, this is all that there will be.
        let last_words = if result.is_ok() && result.output.file.is_some() {
            Self::LAST_WORDS_OK
        } else {
            Self::LAST_WORDS
        };
        let held = self.like(result);
        if *held + result.output.held() > Self::MOST {
            result.output.shorten(last_words);
        }
        *held += result.output.held();
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepOutcome {
    Done,
    /// There was nothing to do, with the reason.
    Skipped {
        reason: String,
    },
    Failed {
        reason: String,
    },
    Cancelled,
}

/// What happened, with the time since the run began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunEvent {
    pub at: Timestamp,
    pub offset: Duration,
    pub kind: RunEventKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunEventKind {
    Started {
        run: RunId,
        /// In the order in which they will run; empty for a lifecycle command.
        replays: Vec<Arc<Replay>>,
        /// What the run is about, in the order of the configuration.
        stacks: Vec<StackName>,
    },
    /// Something has changed: these replays run again, and these steps before them. What they came to
    /// so far counts until they begin.
    Again {
        why: String,
        replays: Vec<Arc<Replay>>,
        steps: Vec<Step>,
    },
    /// These replays are no longer a part of the run, and nor is what they came to.
    Gone {
        why: String,
        replays: Vec<ReplayName>,
    },
    StepStarted {
        step: Step,
    },
    StepOutput {
        step: Step,
        lines: OutputLines,
    },
    StepProgress {
        step: Step,
        progress: Progress,
    },
    StepFinished {
        step: Step,
        outcome: StepOutcome,
        took: Duration,
        output: Output,
    },
    ReplayStarted {
        replay: ReplayName,
        attempt: u32,
        timeout: Option<Duration>,
    },
    ReplayOutput {
        replay: ReplayName,
        lines: OutputLines,
    },
    ReplaySlow {
        replay: ReplayName,
        after: Duration,
    },
    ReplayStopping {
        replay: ReplayName,
        signal: Signal,
    },
    ReplayFinished(ReplayResult),
    /// A teardown's preview. In an unattended run it is printed before it is carried out.
    Planned(TeardownPlan),
    ItemFinished {
        item: Item,
        outcome: ItemOutcome,
    },
    /// What still matches after the teardown.
    LeftBehind(Vec<Item>),
    /// What still matches after the teardown because another run may be at work on it.
    LeftToOthers(Vec<Spared>),
    /// The user or the system asked to stop.
    Interrupted(Signal),
    /// Something worth saying that is no outcome.
    Note(String),
    /// The engine cannot be used; the run cannot go on.
    EngineLost {
        cause: String,
    },
    /// Not allowed: a protected stack, for instance.
    Refused {
        reason: String,
    },
    /// A fault of our own; the run still ends in order.
    InternalError {
        cause: String,
    },
    Finished(Box<Summary>),
}

/// What a run adds up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub run: Option<RunId>,
    pub started: Option<Timestamp>,
    pub took: Duration,
    /// One for each replay, in order of their end. A retry replaces the result of its earlier
    /// attempt; where a replay is repeated, its first failure stays.
    pub results: Vec<ReplayResult>,
    /// The attempts that a retry replaced, in order of their end.
    pub earlier: Vec<ReplayResult>,
    /// Selected, and never started.
    pub not_run: Vec<ReplayName>,
    /// They have ended, are to run again, and have not begun to.
    pub due: BTreeSet<ReplayName>,
    pub steps: Vec<StepResult>,
    pub left_behind: Vec<Item>,
    pub interrupted: Option<Signal>,
    pub engine_lost: bool,
    pub refused: bool,
    pub internal_error: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepResult {
    pub step: Step,
    pub outcome: StepOutcome,
    pub took: Duration,
    pub output: Output,
}

/// How many replays ended in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub passed: usize,
    pub failed: usize,
    pub timed_out: usize,
    pub skipped: usize,
    pub aborted: usize,
    pub could_not_start: usize,
    pub errored: usize,
    pub failed_as_expected: usize,
    pub not_run: usize,
    /// Ok only after an attempt that was not; where the run fails by that, also failed.
    pub flaky: usize,
}

impl Counts {
    pub fn add(&mut self, verdict: &Verdict, flaky: Flaky) {
        self.flaky += usize::from(flaky != Flaky::No);
        *match verdict {
            verdict if verdict.is_ok() && flaky == Flaky::Fails => &mut self.failed,
            Verdict::Passed => &mut self.passed,
            Verdict::Failed(_) | Verdict::Contradicted { .. } => &mut self.failed,
            Verdict::FailedAsExpected { .. } => &mut self.failed_as_expected,
            Verdict::TimedOut { .. } => &mut self.timed_out,
            Verdict::Skipped { .. } => &mut self.skipped,
            Verdict::Errored(_) => &mut self.errored,
            Verdict::Aborted => &mut self.aborted,
            Verdict::CouldNotStart { .. } => &mut self.could_not_start,
        } += 1;
    }

    /// What no run passes with, but for what was not run.
    pub fn bad(&self) -> usize {
        self.failures() + self.aborted
    }

    /// What is bad by itself: what was cut off has not been judged.
    pub fn failures(&self) -> usize {
        self.failed + self.timed_out + self.errored + self.could_not_start
    }
}

impl Summary {
    /// Takes in one event. Events of a run are folded in the order in which they came.
    pub fn fold(&mut self, event: &RunEvent) {
        self.took = self.took.max(event.offset);
        match &event.kind {
            RunEventKind::Started { run, replays, .. } => {
                self.run = Some(run.clone());
                self.started = Some(event.at);
                self.not_run = replays.iter().map(|replay| replay.name.clone()).collect();
            }
            RunEventKind::Again { replays, steps, .. } => {
                for replay in replays {
                    self.queue_again(&replay.name);
                }
                self.steps.retain(|result| !steps.contains(&result.step));
            }
            RunEventKind::Gone { replays, .. } => {
                for replay in replays {
                    self.forget(replay);
                    self.not_run.retain(|name| name != replay);
                }
            }
            RunEventKind::ReplayStarted { replay, .. } => self.begin(replay),
            RunEventKind::StepFinished {
                step,
                outcome,
                took,
                output,
            } => self.steps.push(StepResult {
                step: *step,
                outcome: outcome.clone(),
                took: *took,
                output: output.clone(),
            }),
            RunEventKind::ReplayFinished(result) => self.take(result),
            RunEventKind::LeftBehind(items) => self.left_behind.clone_from(items),
            RunEventKind::Interrupted(signal) => {
                self.interrupted.get_or_insert(*signal);
            }
            RunEventKind::EngineLost { .. } => self.engine_lost = true,
            RunEventKind::Refused { .. } => self.refused = true,
            RunEventKind::InternalError { cause } => {
                self.internal_error.get_or_insert_with(|| cause.clone());
            }
            RunEventKind::StepStarted { .. }
            | RunEventKind::StepOutput { .. }
            | RunEventKind::StepProgress { .. }
            | RunEventKind::ReplayOutput { .. }
            | RunEventKind::ReplaySlow { .. }
            | RunEventKind::ReplayStopping { .. }
            | RunEventKind::Planned(_)
            | RunEventKind::ItemFinished { .. }
            | RunEventKind::LeftToOthers(_)
            | RunEventKind::Note(_)
            | RunEventKind::Finished(_) => {}
        }
    }

    /// It is to run again. A run that is killed before that has not lost its verdict.
    pub fn queue_again(&mut self, replay: &ReplayName) {
        if self.results.iter().any(|it| it.replay == *replay) {
            self.due.insert(replay.clone());
        } else if !self.not_run.contains(replay) {
            self.not_run.push(replay.clone());
        }
    }

    fn begin(&mut self, replay: &ReplayName) {
        if self.due.contains(replay) {
            self.forget(replay);
        }
    }

    fn forget(&mut self, replay: &ReplayName) {
        self.due.remove(replay);
        self.results.retain(|it| it.replay != *replay);
        self.earlier.retain(|it| it.replay != *replay);
    }

    fn take(&mut self, result: &ReplayResult) {
        self.begin(&result.replay);
        self.not_run.retain(|name| *name != result.replay);
        let known = self
            .results
            .iter()
            .position(|earlier| earlier.replay == result.replay);
        let mut result = result.clone();
        if let Some(at) = known {
            let earlier = &self.results[at];
            // That another repetition passed does not undo it.
            if !earlier.retried && !earlier.is_ok() {
                return;
            }
            let earlier = self.results.remove(at);
            if earlier.retried {
                self.earlier.push(earlier);
            } else {
                result.flaky = result.flaky.max(earlier.flaky);
                if result.retried {
                    // Those of an earlier repetition: there may be no end of them.
                    self.earlier.retain(|old| old.replay != result.replay);
                }
            }
        }
        if !result.output.is_empty() {
            let known = self.results.iter().chain(&self.earlier);
            Held::of(known).admit(&mut result);
        }
        self.results.push(result);
    }

    /// The attempts at this replay that did not pass and were followed by another one.
    pub fn failed_attempts<'a>(
        &'a self,
        replay: &'a ReplayName,
    ) -> impl DoubleEndedIterator<Item = &'a ReplayResult> {
        self.earlier
            .iter()
            .filter(move |earlier| earlier.replay == *replay && !earlier.verdict.is_ok())
    }

    /// The output that says why a run fails by this: what passed at last says nothing about why it
    /// did not at first.
    pub fn evidence<'a>(&'a self, result: &'a ReplayResult) -> &'a Output {
        let mut failed = self.failed_attempts(&result.replay);
        let failed = failed.next_back().filter(|_| result.flaky == Flaky::Fails);
        &failed.unwrap_or(result).output
    }

    pub fn counts(&self) -> Counts {
        let mut counts = Counts {
            not_run: self.not_run.len(),
            ..Counts::default()
        };
        for result in &self.results {
            counts.add(&result.verdict, result.flaky);
        }
        counts
    }

    fn failed(&self, steps: &[Step]) -> bool {
        self.steps.iter().any(|result| {
            steps.contains(&result.step) && matches!(result.outcome, StepOutcome::Failed { .. })
        })
    }

    /// Up, the readiness wait or the seed failed.
    pub fn harness_failed(&self) -> bool {
        self.failed(&[Step::Up, Step::Ready, Step::Seed])
    }

    /// Something is left, or the teardown could not be carried out.
    pub fn teardown_failed(&self) -> bool {
        !self.left_behind.is_empty() || self.failed(&[Step::Down, Step::Teardown])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::exit::Exit;

    fn event(kind: RunEventKind) -> RunEvent {
        RunEvent {
            at: Timestamp::UNIX_EPOCH,
            offset: Duration::from_secs(1),
            kind,
        }
    }

    fn finished(name: &str, verdict: Verdict) -> RunEventKind {
        RunEventKind::ReplayFinished(ReplayResult {
            replay: ReplayName::new(name),
            verdict,
            started: Timestamp::UNIX_EPOCH,
            took: Duration::from_secs(1),
            attempt: 1,
            output: Output::default(),
            tap: None,
            slow: false,
            leaky: false,
            retried: false,
            flaky: Flaky::No,
            survivors: Vec::new(),
        })
    }

    fn folded(kinds: Vec<RunEventKind>) -> Summary {
        let mut summary = Summary::default();
        for kind in kinds {
            summary.fold(&event(kind));
        }
        summary
    }

    /// One attempt at the replay `a`.
    fn attempt(attempt: u32, verdict: Verdict, retried: bool, flaky: Flaky) -> RunEventKind {
        let mut kind = finished("a", verdict);
        if let RunEventKind::ReplayFinished(result) = &mut kind {
            (result.attempt, result.retried, result.flaky) = (attempt, retried, flaky);
        }
        kind
    }

    fn step(step: Step, outcome: StepOutcome) -> RunEventKind {
        RunEventKind::StepFinished {
            step,
            outcome,
            took: Duration::ZERO,
            output: Output::default(),
        }
    }

    fn exit(kinds: Vec<RunEventKind>) -> Exit {
        Exit::of(&folded(kinds))
    }

    fn failure() -> StepOutcome {
        StepOutcome::Failed {
            reason: "x".to_owned(),
        }
    }

    #[test]
    fn the_worst_decides_the_exit_code() {
        let failed = || finished("a", Verdict::Failed(Ending::Code(1)));
        let passed = || finished("b", Verdict::Passed);
        let skipped = || {
            finished(
                "c",
                Verdict::Skipped {
                    reason: String::new(),
                },
            )
        };
        let left = || step(Step::Teardown, failure());
        assert_eq!(exit(vec![passed(), skipped()]), Exit::Ok);
        assert_eq!(exit(vec![passed(), failed()]), Exit::Failed);
        assert_eq!(exit(vec![passed(), left()]), Exit::LeftBehind);
        assert_eq!(exit(vec![failed(), left()]), Exit::Failed);
        assert_eq!(
            exit(vec![step(Step::Seed, failure()), left()]),
            Exit::Harness
        );
        assert_eq!(
            exit(vec![passed(), step(Step::Down, failure())]),
            Exit::LeftBehind
        );
        assert_eq!(
            exit(vec![passed(), RunEventKind::Interrupted(Signal::Terminate)]),
            Exit::Failed
        );
        for verdict in [
            Verdict::Aborted,
            Verdict::TimedOut {
                after: Duration::ZERO,
            },
            Verdict::CouldNotStart {
                reason: String::new(),
            },
        ] {
            assert_eq!(exit(vec![passed(), finished("x", verdict)]), Exit::Failed);
        }
    }

    #[test]
    fn a_retry_replaces_the_earlier_attempt() {
        let failed = || Verdict::Failed(Ending::Code(1));
        let first = || attempt(1, failed(), true, Flaky::No);
        let summary = folded(vec![
            first(),
            attempt(2, Verdict::Passed, false, Flaky::Tolerated),
        ]);
        let counts = summary.counts();
        assert_eq!((counts.passed, counts.failed, counts.flaky), (1, 0, 1));
        assert_eq!(summary.failed_attempts(&ReplayName::new("a")).count(), 1);
        assert_eq!(summary.failed_attempts(&ReplayName::new("b")).count(), 0);
        assert_eq!(Exit::of(&summary), Exit::Ok);
        let strict = || attempt(2, Verdict::Passed, false, Flaky::Fails);
        assert_eq!(exit(vec![first(), strict()]), Exit::Failed);
        let counts = folded(vec![first(), strict()]).counts();
        assert_eq!((counts.passed, counts.failed, counts.flaky), (0, 1, 1));
        // The retry was announced and cut off before it began.
        assert_eq!(exit(vec![first()]), Exit::Failed);
    }

    #[test]
    fn a_repetition_that_passes_does_not_undo_a_failure() {
        let passed = |number| attempt(number, Verdict::Passed, false, Flaky::No);
        let summary = folded(vec![
            passed(1),
            attempt(2, Verdict::Failed(Ending::Code(1)), false, Flaky::No),
            passed(3),
        ]);
        assert_eq!(Exit::of(&summary), Exit::Failed);
        assert_eq!(summary.results.len(), 1);
        assert_eq!(summary.results[0].attempt, 2);
        let flaky_once = folded(vec![
            attempt(1, Verdict::Passed, false, Flaky::Tolerated),
            passed(2),
        ]);
        assert_eq!(flaky_once.counts().flaky, 1);
    }

    fn again(name: &str) -> RunEventKind {
        RunEventKind::Again {
            why: "it changed".to_owned(),
            replays: vec![Arc::new(Replay {
                name: ReplayName::new(name),
                suite: Default::default(),
                path: PathBuf::new(),
                file: String::new(),
                header: super::super::replay::Header::default(),
            })],
            steps: vec![Step::Seed],
        }
    }

    #[test]
    fn what_runs_again_counts_as_it_ends_then() {
        let mut summary = Summary::default();
        let mut fold = |kind| {
            summary.fold(&event(kind));
            (Exit::of(&summary), summary.counts())
        };
        fold(step(Step::Seed, failure()));
        let (exit, _) = fold(finished("a", Verdict::Failed(Ending::Code(1))));
        assert_eq!(exit, Exit::Harness);
        fold(again("a"));
        fold(step(Step::Seed, StepOutcome::Done));
        let (exit, counts) = fold(finished("a", Verdict::Passed));
        assert_eq!((exit, counts.passed, counts.not_run), (Exit::Ok, 1, 0));
    }

    #[test]
    fn a_verdict_counts_until_its_replay_begins_again() {
        let failed = || finished("a", Verdict::Failed(Ending::Code(1)));
        let queued = || vec![failed(), finished("b", Verdict::Passed), again("a")];
        let counts = |kinds| folded(kinds).counts();
        assert_eq!((counts(queued()).failed, counts(queued()).not_run), (1, 0));
        assert_eq!(folded(queued()).due, [ReplayName::new("a")].into());
        let mut begun = queued();
        begun.push(RunEventKind::ReplayStarted {
            replay: ReplayName::new("a"),
            attempt: 2,
            timeout: None,
        });
        assert_eq!((counts(begun.clone()).failed, counts(begun).passed), (0, 1));
        // It has never come to an end.
        assert_eq!(counts(vec![again("c")]).not_run, 1);
    }

    #[test]
    fn what_is_gone_counts_no_more() {
        let gone = RunEventKind::Gone {
            why: "they were deleted".to_owned(),
            replays: ["a", "c"].map(ReplayName::new).into(),
        };
        let failed = finished("a", Verdict::Failed(Ending::Code(1)));
        let passed = finished("b", Verdict::Passed);
        let summary = folded(vec![failed, passed, again("a"), again("c"), gone]);
        assert_eq!(Exit::of(&summary), Exit::Ok);
        assert_eq!((summary.results.len(), summary.not_run.len()), (1, 0));
        assert!(summary.due.is_empty());
    }

    #[test]
    fn what_never_started_is_counted() {
        let replay = |name: &str| {
            Arc::new(Replay {
                name: ReplayName::new(name),
                suite: Default::default(),
                path: PathBuf::from(name),
                file: name.to_owned(),
                header: super::super::replay::Header::default(),
            })
        };
        let mut summary = Summary::default();
        summary.fold(&event(RunEventKind::Started {
            run: RunId::new(Timestamp::UNIX_EPOCH, 1),
            replays: vec![replay("a"), replay("b")],
            stacks: Vec::new(),
        }));
        summary.fold(&event(finished("a", Verdict::Passed)));
        assert_eq!(summary.not_run, [ReplayName::new("b")]);
        assert_eq!(summary.counts().not_run, 1);
    }

    #[test]
    fn durations_read_well() {
        let show = |ms| Seconds(Duration::from_millis(ms)).to_string();
        assert_eq!(show(400), "0.4 s");
        assert_eq!(show(9_960), "10 s");
        assert_eq!(show(59_600), "1 m 00 s");
        assert_eq!(show(187_000), "3 m 07 s");
    }

    #[test]
    fn many_outputs_are_held_once_and_not_all_of_them() {
        let chatty = |name: &str, verdict| {
            let mut kind = finished(name, verdict);
            if let RunEventKind::ReplayFinished(result) = &mut kind {
                result.output.head = vec![b'h'; 16 * 1024].into();
                result.output.tail = vec![b't'; 48 * 1024].into();
            }
            kind
        };
        let mut summary = Summary::default();
        let first = event(chatty("first", Verdict::Passed));
        summary.fold(&first);
        let RunEventKind::ReplayFinished(first) = &first.kind else {
            panic!("{first:?}");
        };
        assert!(Arc::ptr_eq(
            &first.output.tail,
            &summary.results[0].output.tail
        ));
        for number in 0..600 {
            summary.fold(&event(chatty(&format!("p{number}"), Verdict::Passed)));
        }
        for number in 0..600 {
            let verdict = Verdict::Failed(Ending::Code(1));
            summary.fold(&event(chatty(&format!("f{number}"), verdict)));
        }
        let held: usize = summary.results.iter().map(|it| it.output.held()).sum();
        assert!(held < 2 * Held::MOST + 600 * Held::LAST_WORDS, "{held}");
        let failed = |number: usize| &summary.results[601 + number].output;
        assert_eq!(failed(0).held(), 64 * 1024);
        let last = failed(599);
        assert_eq!((last.held(), last.cut), (4 * 1024, 60 * 1024));
        assert!(last.text().starts_with(b"[61440 bytes cut]\nttt"));
    }

    #[test]
    fn an_output_is_cut_from_its_beginning() {
        let output = |cut| Output {
            head: Arc::from(*b"head"),
            tail: Arc::from(*b"tail"),
            cut,
            ..Output::default()
        };
        for (most, cut, rest, missing) in [
            (8, 0, "headtail", 0),
            (6, 0, "adtail", 2),
            (6, 3, "tail", 7),
            (2, 3, "il", 9),
            (0, 0, "", 8),
        ] {
            let mut output = output(cut);
            output.shorten(most);
            let text = [&*output.head, &*output.tail].concat();
            assert_eq!((text.as_slice(), output.cut), (rest.as_bytes(), missing));
        }
    }

    #[test]
    fn a_cut_in_the_output_says_how_much_and_where_the_rest_is() {
        let output = Output {
            head: Arc::from(*b"head"),
            tail: Arc::from(*b"tail"),
            cut: 10,
            file: Some(PathBuf::from("/x/log")),
            not_on_disk: 0,
        };
        assert_eq!(
            String::from_utf8(output.text()).unwrap(),
            "head\n[10 bytes cut; full output: /x/log]\ntail"
        );
        let capped = Output {
            not_on_disk: 4,
            ..output
        };
        assert!(
            String::from_utf8(capped.text())
                .unwrap()
                .contains("a part of them: /x/log")
        );
    }
}
