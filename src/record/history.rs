//! What the kept runs say of each replay.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Store;
use super::log::is_under_way;
use super::read::{Lines, ReadError};
use crate::codec::What;
use crate::domain::past::{History, Past};
use crate::domain::replay::ReplayName;
use crate::domain::run::{ReplayResult, RunEvent, RunEventKind, Summary, Verdict};

/// By replay.
pub type Courses = BTreeMap<ReplayName, Course>;

/// How a replay ended in one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Of the last attempt.
    pub verdict: Verdict,
    /// Whether the run could pass with it.
    pub ok: bool,
    pub took: Duration,
    /// It was ok after an attempt that was not.
    pub flaky: bool,
}

/// One replay through the kept runs, the oldest first. `None` is a run that had selected it and did
/// not get to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Course {
    pub runs: Vec<Option<Outcome>>,
}

impl Course {
    /// The runs in which it came to an end.
    pub fn outcomes(&self) -> impl DoubleEndedIterator<Item = &Outcome> {
        self.runs.iter().flatten()
    }

    /// Of the runs that judged it, those in which it ended well: passed, or failed as expected.
    /// `None` where none did. A skip is no judgement, and what was cut off was not judged.
    pub fn pass_rate(&self) -> Option<f64> {
        self.rate(|outcome| outcome.verdict.is_ok())
    }

    /// As [`Self::pass_rate`].
    pub fn flake_rate(&self) -> Option<f64> {
        self.rate(|outcome| outcome.flaky)
    }

    /// Those that say something of the replay: a skip is no judgement, and what was cut off was not
    /// judged.
    pub fn judged(&self) -> impl Iterator<Item = &Outcome> {
        self.outcomes()
            .filter(|one| !matches!(one.verdict, Verdict::Skipped { .. } | Verdict::Aborted))
    }

    fn rate(&self, counts: impl Fn(&Outcome) -> bool) -> Option<f64> {
        let judged: Vec<&Outcome> = self.judged().collect();
        let counted = judged.iter().filter(|outcome| counts(outcome)).count();
        (!judged.is_empty()).then(|| counted as f64 / judged.len() as f64)
    }

    /// Of the times that it took to end well.
    pub fn median(&self) -> Option<Duration> {
        let passed = self.judged().filter(|outcome| outcome.verdict.is_ok());
        let mut times: Vec<Duration> = passed.map(|outcome| outcome.took).collect();
        times.sort_unstable();
        let middle = times.len() / 2;
        let upper = *times.get(middle)?;
        if times.len() % 2 == 1 {
            return Some(upper);
        }
        Some((times[middle - 1] + upper) / 2)
    }

    /// What decides on the order and the selection of the next run.
    pub fn past(&self) -> Past {
        let last = self.runs.last().and_then(Option::as_ref);
        Past {
            last_ok: last.map(|outcome| outcome.ok),
            median: self.median(),
        }
    }
}

impl Store {
    /// What the kept runs say of the replays that they had selected. A run that goes on, or that
    /// cannot be read, says nothing.
    pub fn courses(&self) -> Courses {
        let mut courses = Courses::new();
        for run in self.runs().unwrap_or_default().iter().rev() {
            if is_under_way(run) {
                continue;
            }
            let counts = |event: &str| {
                let counting = [
                    "started",
                    "again",
                    "gone",
                    "replay_started",
                    "replay_finished",
                ];
                counting.contains(&event)
            };
            let Ok(outcomes) = Lines::open(run, counts).and_then(outcomes) else {
                continue;
            };
            for (replay, outcome) in outcomes {
                courses.entry(replay).or_default().runs.push(outcome);
            }
        }
        courses
    }

    /// What decides on the order and the selection of the next run.
    pub fn history(&self) -> History {
        let courses = self.courses();
        courses
            .into_iter()
            .map(|(replay, course)| (replay, course.past()))
            .collect()
    }
}

fn outcomes(lines: Lines) -> Result<BTreeMap<ReplayName, Option<Outcome>>, ReadError> {
    // One for each replay: what several attempts add up to is not decided here.
    let mut summaries: BTreeMap<ReplayName, Summary> = BTreeMap::new();
    for line in lines {
        let Some(line) = line? else {
            continue;
        };
        let What::Event(kind) = line.what else {
            continue;
        };
        match &*kind {
            RunEventKind::Started { replays, .. } => {
                let names = replays.iter().map(|replay| replay.name.clone());
                summaries.extend(names.map(|name| (name, Summary::default())));
            }
            RunEventKind::Again { replays, .. } => {
                for replay in replays {
                    let summary = summaries.entry(replay.name.clone()).or_default();
                    summary.queue_again(&replay.name);
                }
            }
            RunEventKind::Gone { replays, .. } => {
                summaries.retain(|name, _| !replays.contains(name));
            }
            RunEventKind::ReplayStarted { replay, .. }
            | RunEventKind::ReplayFinished(ReplayResult { replay, .. }) => {
                let summary = summaries.entry(replay.clone()).or_default();
                summary.fold(&RunEvent {
                    at: line.at,
                    offset: line.offset,
                    kind: *kind,
                });
            }
            _ => {}
        }
    }
    let outcomes = summaries.into_iter().map(|(name, mut summary)| {
        let flaky = summary.failed_attempts(&name).next().is_some();
        let outcome = summary.results.pop().map(|result| Outcome {
            flaky: flaky && result.verdict.is_ok(),
            ok: result.is_ok(),
            verdict: result.verdict,
            took: result.took,
        });
        (name, outcome)
    });
    Ok(outcomes.collect())
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{begun, ended, failed, finished, keep, run, started, write};
    use super::*;

    fn passed(seconds: u64) -> RunEventKind {
        ended("a", Verdict::Passed, seconds)
    }

    fn past(history: &History, name: &str) -> Past {
        history[&ReplayName::new(name)].clone()
    }

    #[test]
    fn the_last_run_that_had_selected_it_speaks_for_a_replay() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path().to_owned());
        assert!(store.history().is_empty());
        let all = |second| started(&run(second), &["a", "b", "c"]);
        let both = vec![all(1), passed(1), ended("b", failed(), 1), finished()];
        keep(&store, 1, both);
        // It was killed while `b` ran.
        keep(&store, 2, vec![all(2), ended("a", failed(), 1), begun("b")]);
        let only_c = started(&run(3), &["c"]);
        keep(&store, 3, vec![only_c, ended("c", Verdict::Aborted, 1)]);
        // It goes on.
        let directory = store
            .begin(&run(4), &crate::config::Keep::runs(100))
            .unwrap();
        let _log = write(&directory, vec![all(4), passed(1)]);
        // It is none.
        std::fs::create_dir(dir.path().join("runs/other")).unwrap();

        let history = store.history();
        assert_eq!(history.len(), 3);
        assert_eq!(past(&history, "a").last_ok, Some(false));
        assert_eq!(past(&history, "b").last_ok, None);
        assert_eq!(past(&history, "c").last_ok, Some(false));
        assert_eq!(past(&history, "a").median, Some(Duration::from_secs(1)));
        assert_eq!(past(&history, "c").median, None);
    }

    fn again(names: &[&str]) -> RunEventKind {
        let RunEventKind::Started { replays, .. } = started(&run(0), names) else {
            unreachable!("that is what it makes");
        };
        RunEventKind::Again {
            why: "it changed".to_owned(),
            replays,
            steps: Vec::new(),
        }
    }

    #[test]
    fn what_was_to_run_again_and_did_not_has_ended_as_before() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path().to_owned());
        let events = vec![
            started(&run(1), &["a", "b", "c"]),
            passed(1),
            ended("b", failed(), 1),
            ended("c", failed(), 1),
            RunEventKind::Gone {
                why: "it was deleted".to_owned(),
                replays: vec![ReplayName::new("c")],
            },
            again(&["a", "b", "d"]),
            begun("b"),
        ];
        keep(&store, 1, events);
        let history = store.history();
        assert_eq!(past(&history, "a").last_ok, Some(true));
        // It was cut off, so that nobody knows.
        assert_eq!(past(&history, "b").last_ok, None);
        assert!(!history.contains_key(&ReplayName::new("c")));
        assert_eq!(past(&history, "d").last_ok, None);
    }

    #[test]
    fn the_median_is_of_what_passed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path().to_owned());
        for (second, seconds) in [(1, 9), (2, 1), (3, 2)] {
            let events = vec![started(&run(second), &["a"]), passed(seconds), finished()];
            keep(&store, second, events);
        }
        let slow_failure = ended("a", failed(), 60);
        keep(&store, 4, vec![started(&run(4), &["a"]), slow_failure]);
        let median = || past(&store.history(), "a").median;
        assert_eq!(median(), Some(Duration::from_secs(2)));
        keep(&store, 5, vec![started(&run(5), &["a"]), passed(5)]);
        assert_eq!(median(), Some(Duration::from_millis(3500)));
    }

    #[test]
    fn rates_are_of_what_was_judged() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path().to_owned());
        let skipped = Verdict::Skipped {
            reason: String::new(),
        };
        let ends: [&[Verdict]; 6] = [
            &[Verdict::Passed],
            &[failed(), failed(), Verdict::Passed],
            &[failed(), failed()],
            &[skipped],
            &[Verdict::Aborted],
            &[],
        ];
        for (second, verdicts) in (1..).zip(ends) {
            let mut events = vec![started(&run(second), &["a"])];
            let attempts = verdicts.iter().enumerate().map(|(index, verdict)| {
                let mut attempt = ended("a", verdict.clone(), 1);
                if let RunEventKind::ReplayFinished(result) = &mut attempt {
                    result.retried = index + 1 < verdicts.len();
                }
                attempt
            });
            events.extend(attempts);
            keep(&store, second, events);
        }
        let course = &store.courses()[&ReplayName::new("a")];
        assert_eq!((course.runs.len(), course.outcomes().count()), (6, 5));
        assert_eq!(course.pass_rate(), Some(2.0 / 3.0));
        assert_eq!(course.flake_rate(), Some(1.0 / 3.0));
        assert_eq!(Course::default().pass_rate(), None);
    }

    #[test]
    fn what_fails_as_expected_ends_well() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path().to_owned());
        let known = Verdict::FailedAsExpected {
            reason: "#1".to_owned(),
        };
        let events = vec![started(&run(1), &["a"]), ended("a", known, 4), finished()];
        keep(&store, 1, events);
        let course = &store.courses()[&ReplayName::new("a")];
        assert_eq!(course.pass_rate(), Some(1.0));
        assert_eq!(course.median(), Some(Duration::from_secs(4)));
    }
}
