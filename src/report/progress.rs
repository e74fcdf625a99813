//! How far a run is, in a few lines that are drawn again and again.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::palette::{Paint, Palette};
use crate::domain::hook::{self, Step};
use crate::domain::output::OutputLines;
use crate::domain::past::History;
use crate::domain::replay::ReplayName;
use crate::domain::run::{Flaky, RunEvent, RunEventKind, Seconds};
use crate::text::bar::bar;
use crate::text::sanitize::sanitize_plain;
use crate::text::width::{truncate, width};

/// Lines of a running replay's output that are held.
const HELD: usize = 20;

/// Running replays that get a line of their own.
const MOST: usize = 8;

/// A fold over the events of a run that is under way.
#[derive(Debug, Default)]
pub struct Progress {
    /// How many replays come to an end; `None` where that is not bounded.
    total: Option<usize>,
    rounds: Option<u32>,
    jobs: usize,
    ended: usize,
    failed: usize,
    flaky: usize,
    step: Option<CurrentStep>,
    running: Vec<Running>,
    /// How often each is still to be begun, and whether it may run beside others.
    waiting: BTreeMap<ReplayName, Waiting>,
    medians: BTreeMap<ReplayName, Duration>,
    /// Whether there are keys that can be pressed.
    has_keys: bool,
}

#[derive(Debug)]
struct Waiting {
    times: u32,
    parallel: bool,
}

#[derive(Debug)]
struct CurrentStep {
    step: Step,
    since: Duration,
    progress: Option<hook::Progress>,
}

/// A replay that runs.
#[derive(Debug)]
pub struct Running {
    pub replay: ReplayName,
    /// Since the run began.
    pub since: Duration,
    pub attempt: u32,
    /// The last lines that it has printed.
    pub output: VecDeque<Box<[u8]>>,
    /// How many lines came before them.
    pub before: u64,
    timeout: Option<Duration>,
    slow: bool,
    parallel: bool,
}

impl Running {
    fn take(&mut self, lines: &OutputLines) {
        // Those that would be pushed out at once are not looked at.
        let skipped = lines.count().saturating_sub(HELD);
        let surplus = (self.output.len() + lines.count() - skipped).saturating_sub(HELD);
        self.output.drain(..surplus);
        self.before += (skipped + surplus) as u64;
        self.output
            .extend(lines.iter().skip(skipped).map(Box::from));
    }
}

impl Progress {
    /// `rounds`: how often the replays are gone through, `None` for without end.
    pub fn new(jobs: usize, rounds: Option<u32>) -> Self {
        Self {
            jobs: jobs.max(1),
            rounds,
            ..Self::default()
        }
    }

    /// Says that there are keys that can be pressed.
    #[must_use]
    pub fn with_keys(mut self, has_keys: bool) -> Self {
        self.has_keys = has_keys;
        self
    }

    /// What earlier runs say: by that the remaining time is told.
    pub fn remember(&mut self, history: &History) {
        let timed = history
            .iter()
            .filter_map(|(name, past)| Some((name.clone(), past.median?)));
        self.medians = timed.collect();
    }

    pub fn running(&self) -> &[Running] {
        &self.running
    }

    pub fn fold(&mut self, event: &RunEvent) {
        match &event.kind {
            RunEventKind::Started { replays, .. } => {
                let rounds = self.rounds.and_then(|rounds| usize::try_from(rounds).ok());
                self.total = rounds.map(|rounds| rounds.saturating_mul(replays.len()));
                let times = self.rounds.unwrap_or(1);
                self.waiting = replays
                    .iter()
                    .map(|replay| {
                        let parallel = replay.header.parallel;
                        (replay.name.clone(), Waiting { times, parallel })
                    })
                    .collect();
            }
            RunEventKind::Again { replays, .. } => {
                self.total = self.total.map(|total| total + replays.len());
                self.waiting.extend(replays.iter().map(|replay| {
                    let parallel = replay.header.parallel;
                    (replay.name.clone(), Waiting { times: 1, parallel })
                }));
            }
            RunEventKind::Gone { replays, .. } => {
                for waiting in replays.iter().filter_map(|name| self.waiting.remove(name)) {
                    let times = usize::try_from(waiting.times).unwrap_or(usize::MAX);
                    self.total = self.total.map(|total| total.saturating_sub(times));
                }
            }
            RunEventKind::StepStarted { step } => {
                self.step = Some(CurrentStep {
                    step: *step,
                    since: event.offset,
                    progress: None,
                });
            }
            RunEventKind::StepProgress { progress, .. } => {
                if let Some(step) = &mut self.step {
                    step.progress = Some(progress.clone());
                }
            }
            RunEventKind::StepFinished { .. } => self.step = None,
            RunEventKind::ReplayStarted {
                replay,
                attempt,
                timeout,
            } => {
                let waiting = self.waiting.get_mut(replay);
                let parallel = waiting.as_ref().is_some_and(|waiting| waiting.parallel);
                if let Some(waiting) = waiting {
                    waiting.times = waiting.times.saturating_sub(1);
                }
                self.running.push(Running {
                    replay: replay.clone(),
                    since: event.offset,
                    attempt: *attempt,
                    output: VecDeque::new(),
                    before: 0,
                    timeout: *timeout,
                    slow: false,
                    parallel,
                });
            }
            RunEventKind::ReplayOutput { replay, lines } => {
                if let Some(running) = self.of(replay) {
                    running.take(lines);
                }
            }
            RunEventKind::ReplaySlow { replay, .. } => {
                if let Some(running) = self.of(replay) {
                    running.slow = true;
                }
            }
            RunEventKind::ReplayFinished(result) => {
                self.running.retain(|one| one.replay != result.replay);
                if result.retried {
                    if let Some(waiting) = self.waiting.get_mut(&result.replay) {
                        waiting.times = waiting.times.saturating_add(1);
                    }
                    return;
                }
                self.ended += 1;
                self.failed += usize::from(!result.is_ok());
                self.flaky += usize::from(result.flaky != Flaky::No);
            }
            _ => {}
        }
    }

    fn of(&mut self, replay: &ReplayName) -> Option<&mut Running> {
        self.running.iter_mut().find(|one| one.replay == *replay)
    }

    /// What is left of a run with replays whose times are known; of those that are not, the mean is
    /// taken, and nothing is said where that is most of them.
    fn remaining(&self, now: Duration) -> Option<Duration> {
        self.total?;
        let known: Vec<Duration> = self
            .waiting
            .keys()
            .filter_map(|name| self.medians.get(name).copied())
            .collect();
        if known.is_empty() || known.len() * 2 < self.waiting.len() {
            return None;
        }
        let mean = known.iter().sum::<Duration>() / u32::try_from(known.len()).ok()?;
        let usual = |name: &ReplayName| self.medians.get(name).copied().unwrap_or(mean);
        let (mut alone, mut beside) = (Duration::ZERO, Duration::ZERO);
        let mut add = |parallel: bool, time: Duration| {
            let sum = if parallel { &mut beside } else { &mut alone };
            *sum = sum.saturating_add(time);
        };
        for (name, waiting) in &self.waiting {
            add(waiting.parallel, usual(name).saturating_mul(waiting.times));
        }
        for one in &self.running {
            let left = usual(&one.replay).saturating_sub(now.saturating_sub(one.since));
            add(one.parallel, left);
        }
        let jobs = u32::try_from(self.jobs).unwrap_or(u32::MAX);
        Some(alone + beside / jobs)
    }

    /// As many lines as fit, each narrower than the terminal. `now` is the time since the run began.
    pub fn lines(
        &self,
        now: Duration,
        columns: usize,
        rows: usize,
        palette: Palette,
    ) -> Vec<String> {
        // A full last column makes some terminals wrap.
        let columns = columns.saturating_sub(1);
        let mut lines = vec![self.first(now, columns, palette)];
        let room = (rows / 3).min(MOST + 1).saturating_sub(1);
        let shown = if self.running.len() > room {
            room.saturating_sub(1)
        } else {
            room
        };
        let names = self.running.iter().take(shown);
        let widest = names
            .clone()
            .map(|one| width(&sanitize_plain(one.replay.as_str())))
            .max()
            .unwrap_or(0)
            .min(columns / 2);
        for one in names {
            lines.push(truncate(&running(one, now, widest), columns).into_owned());
        }
        let more = self.running.len().saturating_sub(shown);
        if more > 0 && room > 0 {
            lines.push(truncate(&format!("   and {more} more"), columns).into_owned());
        }
        lines
    }

    fn first(&self, now: Duration, columns: usize, palette: Palette) -> String {
        let mut pieces: Vec<(String, Option<Paint>)> = Vec::new();
        if let Some(current) = &self.step {
            let since = Time(now.saturating_sub(current.since));
            pieces.push((format!("▶ {}", current.step.word()), Some(Paint::Strong)));
            pieces.push((since.to_string(), None));
            if let Some(progress) = &current.progress {
                let total = progress
                    .total
                    .map_or_else(String::new, |total| format!("/{total}"));
                let waiting_for = sanitize_plain(&progress.waiting_for);
                pieces.push((format!("{}{total} {waiting_for}", progress.done), None));
            }
        } else if self.waiting.is_empty() {
            return String::new();
        } else {
            match self.total {
                Some(total) => {
                    let part = self.ended as f64 / total.max(1) as f64;
                    let bar = bar(part, columns.div_ceil(5).min(16));
                    pieces.push((format!("▕{bar}▏"), None));
                    pieces.push((format!("{}/{total}", self.ended), Some(Paint::Strong)));
                }
                None => pieces.push((format!("{} ended", self.ended), Some(Paint::Strong))),
            }
            for (count, word, paint) in [
                (self.failed, "failed", Paint::Bad),
                (self.flaky, "flaky", Paint::Warning),
            ] {
                if count > 0 {
                    pieces.push((format!("{count} {word}"), Some(paint)));
                }
            }
            pieces.push((Time(now).to_string(), None));
            if let Some(left) = self.remaining(now).filter(|left| left.as_secs() > 0) {
                pieces.push((format!("about {} left", Time(left)), Some(Paint::Quiet)));
            }
            if self.has_keys {
                pieces.push(("? keys".to_owned(), Some(Paint::Quiet)));
            }
        }
        let mut line = " ".repeat(columns.min(1));
        let mut room = columns.saturating_sub(1);
        for (index, (text, paint)) in pieces.into_iter().enumerate() {
            let gap = if index == 0 { 0 } else { 2 };
            let text = truncate(&text, room.saturating_sub(gap)).into_owned();
            if room <= gap || text.is_empty() || text == "…" {
                break;
            }
            room -= gap + width(&text);
            line.push_str(&" ".repeat(gap));
            match paint {
                Some(paint) => line.push_str(&palette.paint(paint, text)),
                None => line.push_str(&text),
            }
        }
        line
    }
}

fn running(one: &Running, now: Duration, widest: usize) -> String {
    let name = sanitize_plain(one.replay.as_str());
    let name = crate::text::width::pad(&name, widest);
    let mut line = format!(" ▶ {name}  {}", Time(now.saturating_sub(one.since)));
    if let Some(timeout) = one.timeout {
        line.push_str(&format!(" of {}", Seconds(timeout)));
    }
    if one.attempt > 1 {
        line.push_str(&format!("  attempt {}", one.attempt));
    }
    if one.slow {
        line.push_str("  slow");
    }
    line
}

/// Whole seconds, for what still counts: `7 s`, `1 m 07 s`.
struct Time(Duration);

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Seconds(Duration::from_secs(self.0.as_secs()))
            .to_string()
            .replace(".0 s", " s")
            .fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use jiff::Timestamp;

    use super::super::fixtures::{HOSTILE, replay, result};
    use super::*;
    use crate::domain::id::RunId;
    use crate::domain::past::Past;
    use crate::domain::run::{Ending, Verdict};

    const PLAIN: Palette = Palette { colour: false };

    fn at(seconds: u64, kind: RunEventKind) -> RunEvent {
        RunEvent {
            at: Timestamp::UNIX_EPOCH,
            offset: Duration::from_secs(seconds),
            kind,
        }
    }

    fn begun(name: &str, attempt: u32) -> RunEventKind {
        RunEventKind::ReplayStarted {
            replay: ReplayName::new(name),
            attempt,
            timeout: Some(Duration::from_secs(60)),
        }
    }

    fn failed(name: &str, retried: bool) -> RunEventKind {
        let mut result = result(name, Verdict::Failed(Ending::Code(1)), b"");
        result.retried = retried;
        RunEventKind::ReplayFinished(result)
    }

    fn started(names: &[&str]) -> RunEventKind {
        RunEventKind::Started {
            run: RunId::new(Timestamp::UNIX_EPOCH, 1),
            replays: names.iter().map(|name| replay(name)).collect(),
            stacks: Vec::new(),
        }
    }

    fn folded(mut progress: Progress, events: &[RunEvent]) -> Progress {
        events.iter().for_each(|event| progress.fold(event));
        progress
    }

    fn lines(progress: &Progress, now: u64, columns: usize, rows: usize) -> Vec<String> {
        progress.lines(Duration::from_secs(now), columns, rows, PLAIN)
    }

    #[test]
    fn a_run_is_counted_and_what_runs_is_named() {
        let progress = folded(
            Progress::new(2, Some(1)),
            &[
                at(0, started(&["a", "bb", "c", "d"])),
                at(1, begun("a", 1)),
                at(2, failed("a", true)),
                at(2, begun("a", 2)),
                at(3, failed("a", false)),
                at(3, begun("bb", 1)),
                at(4, begun("c", 2)),
            ],
        );
        assert_eq!(
            lines(&progress, 13, 80, 24),
            [
                " ▕████            ▏  1/4  1 failed  13 s",
                " ▶ bb  10 s of 1 m 00 s",
                " ▶ c   9 s of 1 m 00 s  attempt 2",
            ]
        );
        let progress = progress.with_keys(true);
        assert!(lines(&progress, 13, 80, 24)[0].ends_with("13 s  ? keys"));
        // Where there is no room for all, how many more there are; and at last none.
        assert_eq!(lines(&progress, 13, 80, 6)[1..], ["   and 2 more"]);
        assert_eq!(lines(&progress, 13, 80, 5).len(), 1);
    }

    #[test]
    fn what_is_left_is_told_by_earlier_runs() {
        let past = |name: &str, seconds| {
            let median = Some(Duration::from_secs(seconds));
            let last_ok = Some(true);
            (ReplayName::new(name), Past { last_ok, median })
        };
        let mut progress = folded(
            Progress::new(1, Some(1)),
            &[at(0, started(&["a", "b", "c"])), at(0, begun("a", 1))],
        );
        let said = |progress: &Progress| lines(progress, 4, 80, 3).remove(0);
        assert!(!said(&progress).contains("left"));
        progress.remember(&History::from([past("a", 10)]));
        assert!(
            !said(&progress).contains("left"),
            "one of three is not much"
        );
        // 6 s of `a`, 20 s of `b`, and what is usual for `c`.
        progress.remember(&History::from([past("a", 10), past("b", 20)]));
        assert!(
            said(&progress).ends_with("4 s  about 41 s left"),
            "{}",
            said(&progress)
        );
        let endless = folded(
            Progress::new(1, None),
            &[at(0, started(&["a"])), at(0, begun("a", 1))],
        );
        assert_eq!(said(&endless), " 0 ended  4 s");
    }

    #[test]
    fn a_step_says_what_it_waits_for() {
        let step = Step::Ready;
        let progress = hook::Progress {
            done: 1,
            total: Some(3),
            waiting_for: "postgres\u{1b}[2J".to_owned(),
        };
        let events = [
            at(2, RunEventKind::StepStarted { step }),
            at(3, RunEventKind::StepProgress { step, progress }),
        ];
        let progress = folded(Progress::new(1, Some(1)), &events);
        assert_eq!(lines(&progress, 5, 80, 24), [" ▶ ready  3 s  1/3 postgres"]);
        assert_eq!(lines(&progress, 5, 12, 24), [" ▶ ready"]);
        // A lifecycle command has nothing to say between its steps.
        assert_eq!(lines(&Progress::new(1, Some(1)), 5, 80, 24), [""]);
    }

    #[test]
    fn the_last_lines_of_what_runs_are_held() {
        let mut progress = folded(Progress::new(1, Some(1)), &[at(0, begun("a", 1))]);
        for number in 0..25 {
            let replay = ReplayName::new("a");
            let lines = OutputLines::new(format!("{number}\n{number}.").into_bytes());
            progress.fold(&at(0, RunEventKind::ReplayOutput { replay, lines }));
        }
        let [running] = progress.running() else {
            panic!("one runs");
        };
        assert_eq!((running.before, running.output.len()), (30, 20));
        assert_eq!(&*running.output[0], b"15");
        let many: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        let lines = OutputLines::new(many.join("\n").into_bytes());
        let replay = ReplayName::new("a");
        progress.fold(&at(0, RunEventKind::ReplayOutput { replay, lines }));
        let running = &progress.running()[0];
        assert_eq!((running.before, running.output.len()), (130, 20));
        assert_eq!(&*running.output[0], b"80");
    }

    proptest! {
        /// Else a line would wrap, and what is drawn over it would leave some of it.
        #[test]
        fn no_line_is_as_wide_as_the_terminal(
            columns in 0_usize..120, rows in 0_usize..60, colour in any::<bool>(),
            seconds in 0_u64..100_000,
        ) {
            let started = [at(0, started(&HOSTILE))];
            let mut progress = folded(Progress::new(9, Some(3)), &started);
            HOSTILE.iter().for_each(|name| progress.fold(&at(0, begun(name, 3))));
            let now = Duration::from_secs(seconds);
            let drawn = progress.lines(now, columns, rows, Palette { colour });
            prop_assert!(drawn.len() <= rows.max(1));
            for line in drawn {
                let plain = crate::text::sanitize::sanitize(line.as_bytes()).text;
                prop_assert!(width(&plain) < columns.max(1), "{plain:?}");
                prop_assert!(!line.contains(['\n', '\r']));
            }
        }
    }
}
