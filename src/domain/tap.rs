//! The Test Anything Protocol, version 14
//! (<https://testanything.org/tap-version-14-specification.html>), as a script prints it: read line by
//! line, and held only as far as people look at it.

mod reader;

pub use reader::Reader;

/// Points that a sentence names.
const NAMED: usize = 3;

/// What a script said in TAP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tap {
    /// How many points there should be.
    pub planned: Option<u64>,
    /// Points in all, but those of subtests, which the point after a subtest sums up.
    pub seen: u64,
    /// Of those, neither ok nor excused by a directive.
    pub failed: u64,
    pub skipped: u64,
    /// Not ok, and expected to be so.
    pub todo: u64,
    /// `1..0`: all of it is skipped, with the reason.
    pub skip_all: Option<String>,
    pub bail_out: Option<String>,
    /// What is wrong with the plan: then the points are perhaps not all that there should be.
    pub fault: Option<String>,
    /// In the order in which they came, those of a subtest before the one that sums it up.
    pub points: Vec<Point>,
    /// Points that are not among [`Self::points`], those of subtests included.
    pub left_out: u64,
}

/// One test point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    pub number: u64,
    pub outcome: Outcome,
    /// Perhaps empty.
    pub description: String,
    /// Behind the directive, perhaps empty.
    pub reason: String,
    /// The descriptions of the subtests that it is in, the outermost first.
    pub within: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    NotOk,
    Skipped,
    /// Not ok, which is expected.
    Todo,
    /// Ok, which was not expected. The specification does not let it fail anything.
    TodoPassed,
}

impl Outcome {
    pub const ALL: [Self; 5] = [
        Self::Ok,
        Self::NotOk,
        Self::Skipped,
        Self::Todo,
        Self::TodoPassed,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotOk => "not ok",
            Self::Skipped => "skip",
            Self::Todo => "todo",
            Self::TodoPassed => "todo passed",
        }
    }
}

impl Point {
    /// Where it is and what it says, in one line.
    pub fn title(&self) -> String {
        let own = match &*self.description {
            "" => format!("point {}", self.number),
            description => description.to_owned(),
        };
        let mut parts: Vec<&str> = self.within.iter().map(String::as_str).collect();
        parts.push(&own);
        parts.join(" › ")
    }
}

impl Tap {
    /// The points that failed, as far as they are held: those within a subtest rather than the one
    /// that sums it up.
    pub fn failures(&self) -> impl Iterator<Item = &Point> {
        let points = self.points.iter().enumerate();
        points.filter_map(|(at, point)| {
            let is_summed_up = |inner: &&Point| {
                inner.within.len() > point.within.len()
                    && inner.within.starts_with(&point.within)
                    && inner.within.get(point.within.len()) == Some(&point.description)
            };
            let inner = self.points[..at].iter().rev().take_while(is_summed_up);
            let is_leaf = || !inner.map(|it| it.outcome).any(|it| it == Outcome::NotOk);
            (point.outcome == Outcome::NotOk && is_leaf()).then_some(point)
        })
    }

    /// Why a script that printed this has failed, whatever it exits with; `None` where it has not.
    ///
    /// The specification: a harness should fail what its points fail, and must fail a stream without
    /// a plan. The plan is there to tell what has been cut short, so one that is not kept counts as
    /// well. A failing point that is TODO or SKIP must not fail anything.
    pub fn problem(&self) -> Option<String> {
        let mut problems = Vec::new();
        if let Some(reason) = &self.bail_out {
            problems.push(match &**reason {
                "" => "bailed out".to_owned(),
                reason => format!("bailed out: {reason}"),
            });
        }
        if self.failed > 0 {
            let all = self.planned.unwrap_or(0).max(self.seen);
            let points = if all == 1 { "point" } else { "points" };
            let named: Vec<String> = self.failures().take(NAMED).map(Point::title).collect();
            // Not all of very many are kept.
            let count = (self.failures().count() as u64).max(self.failed);
            let more = match count.saturating_sub(NAMED as u64) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let failed = self.failed;
            let named = named.join("; ");
            problems.push(format!("{failed} of {all} {points} failed: {named}{more}"));
        }
        // Having bailed out explains what is missing.
        if self.bail_out.is_none() {
            problems.extend(self.fault.clone());
        }
        (!problems.is_empty()).then(|| problems.join("; "))
    }

    /// How many came and of which kinds, but for those that are simply ok.
    pub fn tally(&self) -> String {
        let mut parts = vec![match self.seen {
            1 => "1 point".to_owned(),
            seen => format!("{seen} points"),
        }];
        for (count, word) in [
            (self.failed, "failed"),
            (self.skipped, "skipped"),
            (self.todo, "TODO"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {word}"));
            }
        }
        parts.join(", ")
    }
}
