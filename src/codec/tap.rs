//! What a replay said in TAP, as a field of its result.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::domain::tap::{Outcome, Point, Tap};

pub(super) fn encode(tap: &Tap) -> Value {
    let point = |point: &Point| {
        json!({
            "number": point.number,
            "outcome": point.outcome.word(),
            "description": point.description,
            "reason": point.reason,
            "within": point.within,
        })
    };
    json!({
        "planned": tap.planned,
        "seen": tap.seen,
        "failed": tap.failed,
        "skipped": tap.skipped,
        "todo": tap.todo,
        "skip_all": tap.skip_all,
        "bail_out": tap.bail_out,
        "fault": tap.fault,
        "points": tap.points.iter().map(point).collect::<Vec<_>>(),
        "left_out": tap.left_out,
    })
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct TapFields {
    planned: Option<u64>,
    seen: u64,
    failed: u64,
    skipped: u64,
    todo: u64,
    skip_all: Option<String>,
    bail_out: Option<String>,
    fault: Option<String>,
    points: Vec<PointFields>,
    left_out: u64,
}

#[derive(Deserialize)]
struct PointFields {
    number: u64,
    outcome: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    within: Vec<String>,
}

impl TapFields {
    pub(super) fn tap(self) -> Option<Box<Tap>> {
        let points: Option<Vec<Point>> = self.points.into_iter().map(PointFields::point).collect();
        Some(Box::new(Tap {
            planned: self.planned,
            seen: self.seen,
            failed: self.failed,
            skipped: self.skipped,
            todo: self.todo,
            skip_all: self.skip_all,
            bail_out: self.bail_out,
            fault: self.fault,
            points: points?,
            left_out: self.left_out,
        }))
    }
}

impl PointFields {
    fn point(self) -> Option<Point> {
        let mut outcomes = Outcome::ALL.into_iter();
        Some(Point {
            outcome: outcomes.find(|outcome| outcome.word() == self.outcome)?,
            number: self.number,
            description: self.description,
            reason: self.reason,
            within: self.within,
        })
    }
}
