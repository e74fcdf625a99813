//! Decides which replay runs when, how often, and when it is enough.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::executor::{Settings, execute};
use super::place::Places;
use super::queue::Queue;
use crate::config::Replays;
use crate::domain::replay::{Replay, ReplayName};
use crate::domain::run::{Flaky, ReplayResult, RunEventKind, Verdict};
use crate::process::Control;

/// What to run.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// In this order, as far as they run one at a time.
    pub replays: Vec<Arc<Replay>>,
    pub policy: Policy,
}

/// How replays are run: how many at once, how often, and when it is enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How many run at once, of those that may: [`Header::parallel`], [`Header::groups`].
    ///
    /// [`Header::parallel`]: crate::domain::replay::Header::parallel
    /// [`Header::groups`]: crate::domain::replay::Header::groups
    pub jobs: NonZeroUsize,
    pub rounds: Rounds,
    /// How often a replay that fails is tried again within its round.
    pub retries: u32,
    /// A replay that passes only after a retry fails the run.
    pub flaky_fails: bool,
    /// Start no more after so many replays that are not ok. Off unless asked for: the list of
    /// what fails is the point.
    pub max_fail: Option<NonZeroUsize>,
}

/// How often the selection is gone through. A replay that skipped, or could not start, is not
/// repeated: it would do so again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounds {
    Count(NonZeroU32),
    /// Until something else ends it: [`Policy::max_fail`], or a stop.
    Endless,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            jobs: NonZeroUsize::MIN,
            rounds: Rounds::Count(NonZeroU32::MIN),
            retries: 0,
            flaky_fails: false,
            max_fail: None,
        }
    }
}

impl Policy {
    /// What holds where nobody asked for anything else.
    pub fn of(config: &Replays) -> Self {
        Self {
            jobs: config.jobs,
            retries: config.retries,
            ..Self::default()
        }
    }
}

/// By replay.
pub type Attempts = BTreeMap<ReplayName, Course>;

/// What became of a replay so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Course {
    attempts: u32,
    /// The last attempt that passed.
    last_pass: Option<u32>,
}

/// Runs the replays until all have ended, enough have failed, or a stop is asked for. Those that
/// were never started get no event; the summary knows them as not run.
///
/// `attempts` has what became of each before in this run, and is kept up to date: each attempt
/// leaves an output of its own.
pub async fn dispatch(
    dispatch: &Dispatch,
    settings: &Settings<'_>,
    attempts: &mut Attempts,
    control: &Control,
    emit: &mut (dyn FnMut(RunEventKind) + Send),
) {
    let run = Run {
        policy: &dispatch.policy,
        settings,
        places: Places::new(settings.record.clone()),
        control,
        emit: Mutex::new(emit),
    };
    let mut replays = dispatch.replays.clone();
    let mut failures = 0;
    let mut round = 0;
    while !replays.is_empty() && dispatch.policy.rounds.has(round) {
        let mut queue = Queue::new(&replays, dispatch.policy.jobs.get());
        let mut running = FuturesUnordered::new();
        loop {
            while !run.is_enough(failures)
                && let Some(replay) = queue.start()
            {
                let before = attempts.get(&replay.name).copied().unwrap_or_default();
                running.push(run.replay(replay, before));
            }
            let Some((replay, result)) = running.next().await else {
                break;
            };
            queue.ended(&replay);
            failures += usize::from(!result.is_ok());
            let course = attempts.entry(replay.name.clone()).or_default();
            course.attempts = result.attempt;
            if has_passed(&result) {
                course.last_pass = Some(result.attempt);
            }
            if !is_worth_repeating(&result.verdict) {
                replays.retain(|other| other.name != replay.name);
            }
        }
        if run.is_enough(failures) {
            return;
        }
        round = round.saturating_add(1);
    }
}

impl Rounds {
    /// Whether there is a round after so many.
    fn has(self, done: u32) -> bool {
        match self {
            Self::Count(count) => done < count.get(),
            Self::Endless => true,
        }
    }
}

fn is_worth_repeating(verdict: &Verdict) -> bool {
    !matches!(
        verdict,
        Verdict::Skipped { .. } | Verdict::CouldNotStart { .. } | Verdict::Aborted
    )
}

/// Or failed as expected. A skip takes no pass's place.
fn has_passed(result: &ReplayResult) -> bool {
    result.is_ok() && is_worth_repeating(&result.verdict)
}

/// What all replays of a run share.
struct Run<'a> {
    policy: &'a Policy,
    settings: &'a Settings<'a>,
    places: Places,
    control: &'a Control,
    /// Replays that run at once tell of themselves through one.
    emit: Mutex<&'a mut (dyn FnMut(RunEventKind) + Send)>,
}

impl Run<'_> {
    fn emit(&self, kind: RunEventKind) {
        let mut emit = self.emit.lock().unwrap_or_else(PoisonError::into_inner);
        emit(kind);
    }

    /// Whether nothing more is to be begun.
    fn is_enough(&self, failures: usize) -> bool {
        let max = self.policy.max_fail;
        self.control.is_stopped() || max.is_some_and(|max| failures >= max.get())
    }

    /// Runs a replay, and again while it fails and may be retried. Gives the last result.
    async fn replay(&self, replay: Arc<Replay>, before: Course) -> (Arc<Replay>, ReplayResult) {
        let mut retries = self.policy.retries;
        let mut attempt = before.attempts;
        let mut failed: Option<(u32, Verdict)> = None;
        loop {
            attempt = attempt.saturating_add(1);
            let emit = &mut |kind| self.emit(kind);
            let mut result = execute(
                &replay,
                attempt,
                self.settings,
                &self.places,
                self.control,
                emit,
            )
            .await;
            if let Some((attempt, verdict)) = &failed {
                if let Verdict::Skipped { reason } = &result.verdict {
                    // That it cannot be judged any more takes nothing back.
                    let reason = format!("skipped after attempt {attempt} ({verdict}): {reason}");
                    result.verdict = Verdict::Contradicted { reason };
                } else if result.verdict.is_ok() {
                    result.flaky = if self.policy.flaky_fails {
                        Flaky::Fails
                    } else {
                        Flaky::Tolerated
                    };
                }
            }
            result.retried =
                retries > 0 && may_pass_at_last(&result.verdict) && !self.control.is_stopped();
            self.emit(RunEventKind::ReplayFinished(result.clone()));
            if let Some(earlier) = before.last_pass
                && has_passed(&result)
            {
                // Without an end of the rounds there would be none of the disk's use either.
                self.places.forget(&replay.name, earlier).await;
            }
            // A stop may have been asked for since.
            if !result.retried || self.control.is_stopped() {
                return (replay, result);
            }
            failed.get_or_insert((attempt, result.verdict));
            retries -= 1;
        }
    }
}

fn may_pass_at_last(verdict: &Verdict) -> bool {
    !verdict.is_ok() && is_worth_repeating(verdict)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::config::Config;
    use crate::domain::past::History;
    use crate::domain::replay::Header;
    use crate::domain::run::Signal;
    use crate::process::{Controller, Phase};
    use crate::replay::Timeouts;

    #[tokio::test]
    async fn a_stop_between_two_attempts_starts_no_other() {
        let replay = Replay {
            name: ReplayName::new("a"),
            suite: Default::default(),
            path: "/bin/false".into(),
            file: "a".to_owned(),
            header: Header::default(),
        };
        let config = Config::without_file(Path::new("/")).replays;
        let settings = Settings {
            config: &config,
            timeouts: Timeouts::new(&config, History::new),
            env: BTreeMap::new(),
            settle: Duration::ZERO,
            record: None,
        };
        let plan = Dispatch {
            replays: vec![Arc::new(replay)],
            policy: Policy {
                retries: 3,
                ..Policy::default()
            },
        };
        let controller = Controller::default();
        let control = controller.control(Phase::Work);
        let mut started = 0;
        let emit = &mut |kind| match kind {
            RunEventKind::ReplayStarted { .. } => started += 1,
            RunEventKind::ReplayFinished(result) => {
                assert!(result.retried);
                controller.press(Signal::Interrupt);
            }
            _ => {}
        };
        dispatch(&plan, &settings, &mut Attempts::new(), &control, emit).await;
        assert_eq!(started, 1);
    }
}
