//! What is known of one replay.

use std::time::Duration;

use super::course::bar;
use super::draw::prose;
use crate::domain::replay::{Replay, ReplayName};
use crate::domain::run::Seconds;
use crate::domain::suite::SuiteName;
use crate::record::Course;
use crate::text::sanitize::sanitize_plain;
use crate::tui::state::State;

use super::details::{LABEL, labelled};

/// Label and value; a long value goes on in rows without a label.
pub(crate) fn lines(state: &State, name: &ReplayName, columns: usize) -> Vec<(String, String)> {
    let Some(replay) = state.replays.get(name) else {
        return vec![(String::new(), "the replay is gone".to_owned())];
    };
    let columns = columns.saturating_sub(LABEL).max(10);
    let mut lines = Vec::new();
    let mut add = |label: &str, value: &str| labelled(&mut lines, columns, label, value);
    header(replay, columns, &mut add);
    let attempts = state.replays.attempts(name);
    for (index, attempt) in attempts.iter().enumerate() {
        if index == 0 {
            add("", "");
        }
        let slow = if attempt.slow { ", slow" } else { "" };
        let text = format!(
            "{} {}: {} after {}{slow}",
            attempt.verdict.symbol(),
            attempt.number,
            attempt.verdict,
            Seconds(attempt.took)
        );
        add(if index == 0 { "attempts" } else { "" }, &text);
        for survivor in &attempt.survivors {
            add("", &format!("  left behind: {survivor}"));
        }
    }
    if let Some(course) = state.replays.course(name) {
        add("", "");
        history(course, columns, &mut add);
    }
    lines
}

fn header(replay: &Replay, columns: usize, add: &mut impl FnMut(&str, &str)) {
    let header = &replay.header;
    let description = header.description.as_deref().unwrap_or_default();
    for (index, row) in prose(&sanitize_plain(description), columns)
        .iter()
        .enumerate()
    {
        add(if index == 0 { "about" } else { "" }, row);
    }
    add("file", &replay.file);
    if *replay.suite != *SuiteName::DEFAULT {
        add("suite", &replay.suite);
    }
    let timeout = header.timeout.map(|timeout| Seconds(timeout).to_string());
    let beside = match (header.parallel, header.groups.is_empty()) {
        (false, _) => "alone".to_owned(),
        (true, true) => "beside others".to_owned(),
        (true, false) => format!("beside others, but of {}", header.groups.join(", ")),
    };
    for (label, value) in [
        ("closes", header.closes.join(" ")),
        ("tags", header.tags.join(" ")),
        ("needs", header.needs.join(" ")),
        ("time-out", timeout.unwrap_or_default()),
        ("runs", beside),
        ("mistakes", header.problems.join("; ")),
    ] {
        if !value.is_empty() {
            add(label, &value);
        }
    }
}

fn history(course: &Course, columns: usize, add: &mut impl FnMut(&str, &str)) {
    let skip = course.runs.len().saturating_sub(columns);
    let bars: String = course.runs[skip..]
        .iter()
        .map(|end| bar(end.as_ref()).0)
        .collect();
    add("last runs", &bars);
    let percent = |rate: Option<f64>| {
        rate.map_or_else(|| "–".to_owned(), |rate| format!("{:.0} %", rate * 100.0))
    };
    let text = format!(
        "{} passed, {} flaky, of {} runs that judged it",
        percent(course.pass_rate()),
        percent(course.flake_rate()),
        course.judged().count()
    );
    add("history", &text);
    let median = |median: Duration| format!("{} where it passed", Seconds(median));
    let median = course
        .median()
        .map_or_else(|| "it never passed".to_owned(), median);
    add("median", &median);
    let last = course.runs.last().map(|end| match end {
        None => "not reached".to_owned(),
        Some(end) if end.flaky => format!("{}, flaky, after {}", end.verdict, Seconds(end.took)),
        Some(end) => format!("{} after {}", end.verdict, Seconds(end.took)),
    });
    add("last time", &last.unwrap_or_default());
}
