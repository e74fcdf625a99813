//! What is known of a timeline as a whole: what it is about, what is marked in it, and what has
//! changed since the replay last passed.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Attempt, Mark, Source, Window};
use crate::domain::fingerprint::{Change, ClockDifference};
use crate::domain::id::RunId;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub run: RunId,
    pub attempt: Attempt,
    pub window: Window,
    /// `None` where it was not measured: times of the engine are as it gave them.
    pub clock: Option<ClockDifference>,
    /// Those that have entries in the window, in the order of the timeline.
    pub sources: Vec<Source>,
    pub since: Since,
    /// In the order of time.
    pub marks: Vec<Marked>,
    /// What was not recorded or cannot be read, in words.
    pub missing: Vec<String>,
}

/// A marked entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marked {
    pub mark: Mark,
    pub at: Timestamp,
    /// Which of the sources.
    pub source: usize,
    /// Not safe to show.
    pub text: Vec<u8>,
}

/// What has changed since the replay last passed, among the kept runs before this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Since {
    Passed {
        run: RunId,
        at: Timestamp,
        /// Empty: nothing that is recorded.
        changes: Vec<Change>,
    },
    /// It passed, and of one of the runs it is not known what it ran against.
    NotKnown { run: RunId, at: Timestamp },
    /// It ran in so many of the runs before, and passed in none.
    Never { runs: usize },
    /// There is nothing to compare with: the run lies apart from those that are kept.
    Apart,
}

/// What a reader of the times has to know of the engine's clock.
pub fn clock_words(clock: &ClockDifference) -> String {
    let milliseconds = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1_000.0);
    let within = milliseconds(clock.within);
    let ahead = clock.correction();
    if ahead.is_zero() {
        return format!("the engine's clock agreed with ours, as far as {within} tell");
    }
    let by = milliseconds(ahead.unsigned_abs());
    let words = match ahead.is_negative() {
        true => "behind",
        false => "ahead",
    };
    format!("the engine's clock was {by} {words}, known to {within}; its times are corrected")
}

impl Since {
    pub fn changes(&self) -> &[Change] {
        match self {
            Self::Passed { changes, .. } => changes,
            Self::NotKnown { .. } | Self::Never { .. } | Self::Apart => &[],
        }
    }

    /// One line without the changes themselves.
    pub fn headline(&self, zone: &TimeZone) -> String {
        let when = |at: &Timestamp, run: &RunId| {
            let at = at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M");
            format!("{at}, run {run}")
        };
        match self {
            Self::Passed { run, at, changes } => {
                let changed = match changes.len() {
                    0 => "nothing that is recorded has changed".to_owned(),
                    1 => "1 change".to_owned(),
                    count => format!("{count} changes"),
                };
                format!("{changed} since it last passed ({})", when(at, run))
            }
            Self::NotKnown { run, at } => format!(
                "what has changed since it last passed ({}) was not recorded",
                when(at, run)
            ),
            Self::Never { runs: 0 } => "no run before this one is kept that had it".to_owned(),
            Self::Never { runs: 1 } => {
                "it did not pass in the one run before that is kept".to_owned()
            }
            Self::Never { runs } => format!("it passed in none of the {runs} runs before"),
            Self::Apart => "the runs before this one are not here to compare with".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fingerprint::{Subject, Value};
    use jiff::SignedDuration;

    #[test]
    fn what_has_changed_is_said_in_one_line() {
        let run = RunId::recorded("r");
        let at = Timestamp::UNIX_EPOCH;
        let show = |since: Since| since.headline(&TimeZone::UTC);
        let changed = Change {
            subject: Subject::Head,
            what: String::new(),
            before: Value::Absent,
            after: Value::Hashed,
        };
        let passed = |changes| Since::Passed {
            run: run.clone(),
            at,
            changes,
        };
        assert_eq!(
            show(passed(vec![])),
            "nothing that is recorded has changed since it last passed (1970-01-01 00:00, run r)"
        );
        assert_eq!(
            show(passed(vec![changed.clone(), changed])),
            "2 changes since it last passed (1970-01-01 00:00, run r)"
        );
        assert_eq!(
            show(Since::Never { runs: 3 }),
            "it passed in none of the 3 runs before"
        );
    }

    #[test]
    fn a_clock_is_corrected_where_it_is_known_well_enough() {
        let words = |ahead, within| {
            clock_words(&ClockDifference {
                engine_ahead: SignedDuration::from_micros(ahead),
                within: Duration::from_micros(within),
            })
        };
        assert_eq!(
            words(-12_400, 800),
            "the engine's clock was 12.4 ms behind, known to 0.8 ms; its times are corrected"
        );
        assert_eq!(
            words(300, 800),
            "the engine's clock agreed with ours, as far as 0.8 ms tell"
        );
    }
}
