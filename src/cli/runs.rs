//! `runs`: the runs that are kept, and how each replay ended in them.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::args::{Color, Runs};
use super::output::{Ended, Failure, palette, stdout};
use super::recorded::store;
use crate::bootstrap::Options;
use crate::domain::exit::Exit;
use crate::domain::replay::ReplayName;
use crate::domain::run::{Seconds, StepOutcome};
use crate::record::{self, Course, End, ReadError, Recording};
use crate::report::{Paint, Palette, SCHEMA_VERSION, json_line, json_summary, tally};
use crate::text::sanitize::sanitize_plain;
use crate::text::width::{pad, pad_start, width};

pub(super) fn runs(options: &Options, color: Color, args: &Runs) -> Result<Ended, Failure> {
    let store = store(options)?;
    let runs = store.runs()?;
    if runs.is_empty() {
        return Err(Failure::new(Exit::NothingMatched, "there is no kept run"));
    }
    let palette = palette(color, &io::stdout());
    let mut out = stdout(args.json);
    if args.replays {
        let courses: Vec<_> = store.courses().into_iter().collect();
        write_courses(&mut out, &courses, palette, args.json)?;
    } else {
        for run in &runs {
            let read = record::read(run);
            if args.json {
                writeln!(out, "{}", json_line(&object(run, &read)))?;
            } else {
                write_run(&mut out, run, &read, palette)?;
            }
        }
    }
    out.flush()?;
    Ok(Ended::with(Exit::Ok))
}

fn id(directory: &Path) -> String {
    let name = directory.file_name().unwrap_or_default();
    sanitize_plain(&name.to_string_lossy()).into_owned()
}

fn write_run(
    out: &mut dyn Write,
    directory: &Path,
    read: &Result<Recording, ReadError>,
    palette: Palette,
) -> io::Result<()> {
    let recording = match read {
        Ok(recording) => recording,
        Err(error) => {
            let why = error.to_string();
            let why = palette.paint(Paint::Quiet, sanitize_plain(&why));
            return writeln!(out, "? {}  {why}", id(directory));
        }
    };
    let summary = &recording.summary;
    let (mark, paint) = match &recording.end {
        End::UnderWay(_) => ("▶", Paint::Strong),
        End::BrokeOff(_) => ("■", Paint::Bad),
        End::Finished if Exit::of(summary) == Exit::Ok => ("✔", Paint::Good),
        End::Finished => ("✘", Paint::Bad),
    };
    let started = summary.started.map_or_else(String::new, |at| {
        let local = at.to_zoned(TimeZone::system());
        local.strftime("%Y-%m-%d %H:%M").to_string()
    });
    let mut parts = Vec::new();
    match &recording.end {
        End::Finished => {}
        End::UnderWay(at_work) => parts.push(during("under way", at_work)),
        End::BrokeOff(at_work) => parts.push(during("broke off", at_work)),
    }
    if let Some(signal) = summary.interrupted {
        parts.push(format!("interrupted by {}", signal.word()));
    }
    if recording.replays.is_empty() {
        parts.extend(summary.steps.iter().map(|step| match &step.outcome {
            StepOutcome::Done => step.step.word().to_owned(),
            StepOutcome::Skipped { .. } => format!("{} skipped", step.step.word()),
            StepOutcome::Failed { .. } => format!("{} failed", step.step.word()),
            StepOutcome::Cancelled => format!("{} cut off", step.step.word()),
        }));
    } else {
        let counted = tally(summary);
        parts.extend(
            counted
                .iter()
                .map(|(count, word)| format!("{count} {word}")),
        );
    }
    let about = recording.stacks.join(", ");
    let line = format!(
        "{} {}  {started}  {}  {}  {}",
        palette.paint(paint, mark),
        id(directory),
        pad_start(&Seconds(summary.took).to_string(), 9),
        sanitize_plain(&parts.join(", ")),
        palette.paint(Paint::Quiet, sanitize_plain(&about)),
    );
    writeln!(out, "{}", line.trim_end())
}

fn during(what: &str, at_work: &[String]) -> String {
    match at_work {
        [] => what.to_owned(),
        names => format!("{what} during {}", names.join(" and ")),
    }
}

fn object(directory: &Path, read: &Result<Recording, ReadError>) -> Value {
    let mut object = json!({
        "v": SCHEMA_VERSION,
        "run": directory.file_name().unwrap_or_default().to_string_lossy(),
        "directory": directory.to_string_lossy(),
    });
    let Value::Object(fields) = &mut object else {
        return object;
    };
    match read {
        Err(error) => {
            fields.insert("problem".to_owned(), json!(error.to_string()));
        }
        Ok(recording) => {
            if let Value::Object(summary) = json_summary(&recording.summary) {
                fields.extend(summary);
            }
            let (end, at_work): (_, &[String]) = match &recording.end {
                End::Finished => ("finished", &[]),
                End::UnderWay(at_work) => ("under way", at_work),
                End::BrokeOff(at_work) => ("broke off", at_work),
            };
            let started = recording.summary.started.map(|at| at.to_string());
            let stacks: Vec<&str> = recording.stacks.iter().map(|name| &**name).collect();
            let steps = recording.summary.steps.iter();
            let steps: Vec<&str> = steps.map(|step| step.step.word()).collect();
            let names = recording.replays.iter();
            let names: Vec<&str> = names.map(|replay| replay.name.as_str()).collect();
            for (name, value) in [
                ("name", json!(recording.name)),
                ("started", json!(started)),
                ("end", json!(end)),
                ("at_work", json!(at_work)),
                ("stacks", json!(stacks)),
                ("steps", json!(steps)),
                ("replays", json!(names)),
            ] {
                fields.insert(name.to_owned(), value);
            }
        }
    }
    object
}

fn write_courses(
    out: &mut dyn Write,
    courses: &[(ReplayName, Course)],
    palette: Palette,
    json: bool,
) -> io::Result<()> {
    if json {
        for (replay, course) in courses {
            writeln!(out, "{}", json_line(&course_object(replay, course)))?;
        }
        return Ok(());
    }
    let name = |replay: &ReplayName| sanitize_plain(replay.as_str()).into_owned();
    let names = courses.iter().map(|(replay, _)| width(&name(replay)));
    let names = names.max().unwrap_or(0);
    let ends = courses.iter().map(|(_, course)| course.runs.len());
    let ends = ends.max().unwrap_or(0);
    for (replay, course) in courses {
        let missing = " ".repeat(ends - course.runs.len());
        let line: String = course
            .runs
            .iter()
            .map(|run| end(run.as_ref(), palette))
            .collect();
        writeln!(
            out,
            "{}  {missing}{line}  {} passed  {} flaky  {}",
            pad(&name(replay), names),
            percent(course.pass_rate()),
            percent(course.flake_rate()),
            course.median().map_or_else(
                || "never passed".to_owned(),
                |median| format!("median {}", Seconds(median))
            ),
        )?;
    }
    Ok(())
}

/// One character for one run.
fn end(outcome: Option<&record::Outcome>, palette: Palette) -> String {
    match outcome {
        None => palette.paint(Paint::Quiet, "·"),
        Some(outcome) if outcome.flaky => palette.paint(Paint::Warning, "~"),
        Some(outcome) => {
            let paint = if outcome.verdict.is_ok() {
                Paint::Good
            } else {
                Paint::Bad
            };
            palette.paint(paint, outcome.verdict.symbol())
        }
    }
}

fn percent(rate: Option<f64>) -> String {
    let rate = rate.map_or_else(|| "–".to_owned(), |rate| format!("{:.0} %", rate * 100.0));
    pad_start(&rate, 5)
}

fn course_object(replay: &ReplayName, course: &Course) -> Value {
    let runs: Vec<Value> = course
        .runs
        .iter()
        .map(|run| match run {
            None => Value::Null,
            Some(outcome) => json!({
                "verdict": outcome.verdict.word(),
                "seconds": outcome.took.as_secs_f64(),
                "flaky": outcome.flaky,
            }),
        })
        .collect();
    json!({
        "v": SCHEMA_VERSION,
        "replay": replay.as_str(),
        "runs": runs,
        "pass_rate": course.pass_rate(),
        "flake_rate": course.flake_rate(),
        "median_seconds": course.median().as_ref().map(Duration::as_secs_f64),
    })
}
