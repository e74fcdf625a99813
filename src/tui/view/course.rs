//! What earlier runs say of a replay, in a few characters.

use super::draw::Row;
use crate::domain::run::{Seconds, Verdict};
use crate::record::{Course, Outcome};
use crate::text::width::width;
use crate::tui::theme::{Role, Theme};

/// Columns of a median.
const MEDIAN: usize = 8;

/// The least number of runs that a sparkline is worth drawing for.
const FEWEST: usize = 5;

/// What is drawn at the end of a row, from the left to the right. What stands on the left goes
/// first where there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    median: bool,
    /// The last runs.
    spark: usize,
    /// How often it failed, else how often it was flaky.
    share: usize,
    /// With its word.
    long: bool,
}

impl Columns {
    /// What fits beside `notes` columns, for these replays.
    pub(super) fn fit(room: usize, notes: usize, courses: &[&Course]) -> Option<Self> {
        let runs = courses.iter().map(|course| course.runs.len()).max()?;
        let widest = |long| {
            let shares = courses.iter().filter_map(|course| share(course, long));
            shares.map(|(text, _)| width(&text)).max().unwrap_or(0)
        };
        let room = room.saturating_sub(notes);
        let spark = |left: usize| Some(left.min(runs)).filter(|n| *n >= FEWEST.min(runs));
        for long in [true, false] {
            let share = widest(long);
            let left = room.saturating_sub(share + usize::from(share > 0));
            let wanted = if long { runs.min(10) } else { FEWEST.min(runs) };
            if room < share || left < wanted {
                continue;
            }
            let spark = spark(left)?;
            let median = left >= runs.min(10) + 1 + MEDIAN;
            let spark = if median {
                spark.min(left - 1 - MEDIAN)
            } else {
                spark
            };
            return Some(Self {
                median,
                spark,
                share,
                long,
            });
        }
        None
    }

    /// Columns that a row keeps for how often it failed.
    pub(super) fn share(self, course: &Course) -> usize {
        match share(course, self.long) {
            Some(_) => self.share + 1,
            None => 0,
        }
    }

    /// Draws them to the right, as far as the row has room.
    pub(super) fn draw(self, course: &Course, theme: Theme, row: &mut Row<'_>) {
        let share = share(course, self.long);
        let gap = usize::from(self.share > 0);
        if row.room() < self.share + 1 {
            return;
        }
        row.skip(1);
        let room = row.room() - self.share;
        let spark = self.spark.min(room.saturating_sub(gap));
        let spark = if spark >= FEWEST.min(self.spark) {
            spark
        } else {
            0
        };
        let median = course
            .median()
            .filter(|_| self.median && spark == self.spark && room > spark + gap + MEDIAN);
        let median = median.map(|median| Seconds(median).to_string());
        let used = self.share + if spark > 0 { spark + gap } else { 0 };
        if let Some(median) = median {
            row.skip(row.room() - used - 1 - MEDIAN)
                .number(&median, MEDIAN, theme.style(Role::Muted))
                .skip(1);
        } else {
            row.skip(row.room() - used);
        }
        if spark > 0 {
            let ends = course.runs.len().min(spark);
            row.skip(spark - ends);
            for end in &course.runs[course.runs.len() - ends..] {
                let (bar, role) = bar(end.as_ref());
                row.text(bar, theme.style(role));
            }
            row.skip(gap);
        }
        if let Some((text, role)) = share {
            row.cell(&text, self.share, theme.style(role));
        }
    }
}

/// The higher the worse; a dot is no judgement.
pub(super) fn bar(end: Option<&Outcome>) -> (&'static str, Role) {
    match end {
        Some(end) if end.flaky => ("▄", Role::Warning),
        Some(end) => match end.verdict {
            Verdict::Passed | Verdict::FailedAsExpected { .. } => ("▁", Role::Good),
            Verdict::Failed(_)
            | Verdict::Contradicted { .. }
            | Verdict::Errored(_)
            | Verdict::TimedOut { .. }
            | Verdict::CouldNotStart { .. } => ("█", Role::Bad),
            Verdict::Skipped { .. } | Verdict::Aborted => ("·", Role::Muted),
        },
        None => ("·", Role::Muted),
    }
}

/// `failed 2/20`, else `flaky 1/20`.
fn share(course: &Course, long: bool) -> Option<(String, Role)> {
    let judged = course.judged().count();
    let failed = course.judged().filter(|end| !end.verdict.is_ok()).count();
    let flaky = course.judged().filter(|end| end.flaky).count();
    let (count, word, sign, role) = match (failed, flaky) {
        (0, 0) => return None,
        (0, flaky) => (flaky, "flaky", "~", Role::Warning),
        (failed, _) => (failed, "failed", "✘", Role::Bad),
    };
    Some(if long {
        (format!("{word} {count}/{judged}"), role)
    } else {
        (format!("{sign} {count}/{judged}"), role)
    })
}
