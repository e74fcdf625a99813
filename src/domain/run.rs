//! A run: what happens while replays are executed against a harness, and what it adds up to.
//!
//! [`RunEvent`] is the one stream that the terminal, JUnit, JSON and the dashboard consume;
//! [`Summary`] is a fold over it and knows nothing that the events do not say.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::hook::{Progress, Step};
use super::id::RunId;
use super::plan::{Item, ItemOutcome, Spared, TeardownPlan};
use super::replay::{Replay, ReplayName};
use super::scope::StackName;

/// A signal that asks to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    Interrupt,
    Terminate,
    Hangup,
    Kill,
}

impl Signal {
    pub fn word(self) -> &'static str {
        match self {
            Self::Interrupt => "INT",
            Self::Terminate => "TERM",
            Self::Hangup => "HUP",
            Self::Kill => "KILL",
        }
    }
}

/// How one replay ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Exit 0: the fix is present.
    Passed,
    Failed(Ending),
    TimedOut {
        after: Duration,
    },
    /// The script says that it cannot be judged here.
    Skipped {
        reason: String,
    },
    /// Cut off by us: the run was cancelled.
    Aborted,
    /// The script never ran.
    CouldNotStart {
        reason: String,
    },
}

impl Verdict {
    /// Whether a run with it may still pass.
    pub fn is_ok(&self) -> bool {
        matches!(self, Self::Passed | Self::Skipped { .. })
    }

    pub fn word(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed(_) => "failed",
            Self::TimedOut { .. } => "timed out",
            Self::Skipped { .. } => "skipped",
            Self::Aborted => "aborted",
            Self::CouldNotStart { .. } => "could not start",
        }
    }

    /// One character that tells verdicts apart without a colour.
    pub fn symbol(&self) -> &'static str {
        match self {
            Self::Passed => "✔",
            Self::Failed(_) => "✘",
            Self::TimedOut { .. } => "⧖",
            Self::Skipped { .. } => "⊘",
            Self::Aborted => "■",
            Self::CouldNotStart { .. } => "!",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(ending) => write!(f, "failed: {ending}"),
            Self::TimedOut { after } => write!(f, "timed out after {}", Seconds(*after)),
            Self::Skipped { reason } => write!(f, "skipped: {reason}"),
            Self::CouldNotStart { reason } => write!(f, "could not start: {reason}"),
            Self::Passed | Self::Aborted => f.write_str(self.word()),
        }
    }
}

/// How a process ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Code(i32),
    Signal(i32),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit {code}"),
            Self::Signal(signal) => write!(f, "killed by signal {signal}"),
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

/// What a process printed: bounded in memory, complete on disk up to a cap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    pub head: Vec<u8>,
    pub tail: Vec<u8>,
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

    /// Head and tail with a line between them that says what is missing and where it is.
    pub fn text(&self) -> Vec<u8> {
        let mut text = self.head.clone();
        if self.cut > 0 {
            if !text.ends_with(b"\n") {
                text.push(b'\n');
            }
            text.extend_from_slice(format!("[{} bytes cut", self.cut).as_bytes());
            if let Some(file) = &self.file {
                text.extend_from_slice(format!("; full output: {}", file.display()).as_bytes());
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
}

impl fmt::Display for Survivor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}: {}", self.pid, self.command)
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
    /// Whether a run with it may still pass.
    pub fn is_ok(&self) -> bool {
        self.verdict.is_ok() && self.flaky != Flaky::Fails
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
    StepStarted {
        step: Step,
    },
    /// One line without its newline.
    StepOutput {
        step: Step,
        line: Arc<[u8]>,
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
    /// One line without its newline.
    ReplayOutput {
        replay: ReplayName,
        line: Arc<[u8]>,
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
    pub not_run: usize,
    /// Of those that passed or were skipped.
    pub flaky: usize,
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
            | RunEventKind::ReplayStarted { .. }
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

    fn take(&mut self, result: &ReplayResult) {
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

    pub fn counts(&self) -> Counts {
        let mut counts = Counts {
            not_run: self.not_run.len(),
            ..Counts::default()
        };
        for result in &self.results {
            counts.flaky += usize::from(result.flaky != Flaky::No);
            *match result.verdict {
                Verdict::Passed => &mut counts.passed,
                Verdict::Failed(_) => &mut counts.failed,
                Verdict::TimedOut { .. } => &mut counts.timed_out,
                Verdict::Skipped { .. } => &mut counts.skipped,
                Verdict::Aborted => &mut counts.aborted,
                Verdict::CouldNotStart { .. } => &mut counts.could_not_start,
            } += 1;
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
        let strict = attempt(2, Verdict::Passed, false, Flaky::Fails);
        assert_eq!(exit(vec![first(), strict]), Exit::Failed);
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

    #[test]
    fn what_never_started_is_counted() {
        let replay = |name: &str| {
            Arc::new(Replay {
                name: ReplayName::new(name),
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
    fn a_cut_in_the_output_says_how_much_and_where_the_rest_is() {
        let output = Output {
            head: b"head".to_vec(),
            tail: b"tail".to_vec(),
            cut: 10,
            file: Some(PathBuf::from("/x/log")),
            not_on_disk: 0,
        };
        assert_eq!(
            String::from_utf8(output.text()).unwrap(),
            "head\n[10 bytes cut; full output: /x/log]\ntail"
        );
    }
}
