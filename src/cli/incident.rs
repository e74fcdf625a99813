//! `incident`: one replay of a kept run as one timeline.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::args::{self, Color};
use super::output::{Ended, Failure, palette, stdout};
use super::recorded::{Found, find, kept, means_run, store};
use crate::bootstrap::Options;
use crate::domain::exit::Exit;
use crate::domain::fingerprint;
use crate::domain::id::RunId;
use crate::domain::incident::{
    Entry, Head, Mark, Marked, Offset, Since, SourceKind, What, clock_words,
};
use crate::domain::line::Channel;
use crate::domain::replay::ReplayName;
use crate::domain::run::Seconds;
use crate::record::{self, Incident, IncidentError, IncidentOptions, ReadError, Recording, Store};
use crate::report::{Paint, Palette, SCHEMA_VERSION, incident_command, json_line};
use crate::text::sanitize::{sanitize, sanitize_plain};
use crate::text::width::{pad, pad_start, width};

pub(super) async fn incident(
    options: &Options,
    color: Color,
    args: args::Incident,
) -> Result<Ended, Failure> {
    let (found, wanted) = chosen(options, &args.of).await?;
    found
        .during_blocking(move |directory| show(directory, &wanted, &args, color))
        .await
}

fn show(
    directory: &Path,
    wanted: &Wanted,
    args: &args::Incident,
    color: Color,
) -> Result<Ended, Failure> {
    let recording = record::read(directory)?;
    let replay = wanted.of(&recording)?;
    let what = IncidentOptions {
        attempt: args.attempt,
        limit: args.lines.0,
        only: args.sources.clone(),
        containers: !args.no_containers,
    };
    let runs = Store::beside(&recording.directory);
    let incident = Incident::read(&recording, &replay, &runs, &what, &|| true)?;
    let palette = palette(color, &io::stdout());
    let mut out = BufWriter::new(stdout(args.json));
    if args.json {
        write_json(&mut out, &incident)?;
    } else {
        write_text(&mut out, &incident, palette)?;
    }
    out.flush()?;
    Ok(Ended::with(Exit::Ok))
}

impl From<IncidentError> for Failure {
    fn from(error: IncidentError) -> Self {
        let exit = match &error {
            IncidentError::NotRun { .. }
            | IncidentError::NoAttempt { .. }
            | IncidentError::NoSource { .. }
            | IncidentError::NotKept(_)
            | IncidentError::NoRun(_)
            | IncidentError::Read(ReadError::Io { .. } | ReadError::NoRun(_)) => {
                Exit::NothingMatched
            }
            IncidentError::Read(ReadError::Newer { .. }) => Exit::Usage,
            IncidentError::Runs(_) | IncidentError::GivenUp => Exit::Internal,
        };
        Self::new(exit, error.to_string())
    }
}

/// Which replay of a run is asked for.
enum Wanted {
    /// By its name, a part of it, or a glob.
    Named(String),
    /// The only one that failed. Names the run as it was typed; `None` where it was not.
    Failed(Option<String>),
}

impl Wanted {
    fn of(&self, recording: &Recording) -> Result<ReplayName, Failure> {
        match self {
            Self::Named(name) => named(recording, name),
            Self::Failed(run) => only_failed(recording, run.as_deref()),
        }
    }
}

async fn chosen(options: &Options, of: &[String]) -> Result<(Found, Wanted), Failure> {
    match of {
        [] => Ok((find(options, "latest").await?, Wanted::Failed(None))),
        [run] if means_run(run) => {
            let wanted = Wanted::Failed(Some(run.clone()));
            Ok((find(options, run).await?, wanted))
        }
        [replay] => {
            let (run, replay) = last_of(&store(options)?.runs()?, replay)?;
            Ok((kept(run), Wanted::Named(replay.to_string())))
        }
        [run, replay, ..] => {
            let wanted = Wanted::Named(replay.clone());
            Ok((find(options, run).await?, wanted))
        }
    }
}

/// The newest run in which the replay came to an end.
fn last_of(runs: &[PathBuf], wanted: &str) -> Result<(PathBuf, ReplayName), Failure> {
    for run in runs {
        let Ok(recording) = record::read(run) else {
            continue;
        };
        match matching(&recording, wanted).as_slice() {
            [] => {}
            [replay] => {
                let replay = replay.clone();
                let mut results = recording.summary.results.iter();
                if results.any(|result| result.replay == replay) {
                    return Ok((run.clone(), replay));
                }
            }
            several => return Err(ambiguous(wanted, several)),
        }
    }
    Err(Failure::new(
        Exit::NothingMatched,
        format!("no kept run ran {wanted:?}; `tackroom runs --replays` lists what was run"),
    ))
}

fn named(recording: &Recording, wanted: &str) -> Result<ReplayName, Failure> {
    match matching(recording, wanted).as_slice() {
        [replay] => Ok(replay.clone()),
        [] => Err(Failure::new(
            Exit::NothingMatched,
            format!("no replay of that run is called {wanted:?}"),
        )),
        several => Err(ambiguous(wanted, several)),
    }
}

/// By the whole name, else by a glob or a part of it.
fn matching(recording: &Recording, wanted: &str) -> Vec<ReplayName> {
    let glob = glob::Pattern::new(wanted).ok();
    let names = recording.replays.iter().map(|replay| &replay.name);
    let is_it = |name: &&ReplayName| name.as_str() == wanted;
    if let Some(name) = names.clone().find(is_it) {
        return vec![name.clone()];
    }
    names
        .filter(|name| {
            let name = name.as_str();
            name.contains(wanted) || glob.as_ref().is_some_and(|glob| glob.matches(name))
        })
        .cloned()
        .collect()
}

fn ambiguous(wanted: &str, several: &[ReplayName]) -> Failure {
    let names: Vec<&str> = several.iter().map(ReplayName::as_str).collect();
    Failure::usage(format!(
        "several replays match {wanted:?}: {}",
        names.join(", ")
    ))
}

fn only_failed(recording: &Recording, typed: Option<&str>) -> Result<ReplayName, Failure> {
    let summary = &recording.summary;
    let failed = summary.results.iter().filter(|result| !result.is_ok());
    let mut names: Vec<&ReplayName> = failed.map(|result| &result.replay).collect();
    names.sort_unstable();
    let run = summary.run.as_ref().map_or("", RunId::as_str);
    match names.as_slice() {
        [name] => Ok((*name).clone()),
        [] => Err(Failure::new(
            Exit::NothingMatched,
            format!("no replay failed in run {run}; name one"),
        )),
        several => {
            let command = |name: &&ReplayName| match incident_command(typed.unwrap_or(run), name) {
                Some(command) => format!("\n  {command}"),
                None => format!("\n  {name}"),
            };
            Err(Failure::usage(format!(
                "{} replays failed in run {run}, name one:{}",
                several.len(),
                several.iter().map(command).collect::<String>()
            )))
        }
    }
}

fn write_text(out: &mut dyn Write, incident: &Incident, palette: Palette) -> io::Result<()> {
    let head = incident.head();
    write_head(out, head, palette)?;
    let name = |source: usize| {
        let source = head.sources.get(source);
        source.map_or_else(String::new, |source| {
            sanitize_plain(&source.name).into_owned()
        })
    };
    let names: Vec<String> = (0..head.sources.len()).map(name).collect();
    let columns = names.iter().map(|name| width(name)).max().unwrap_or(0);
    let ends = [head.window.from, head.window.to];
    let offset = |at| Offset::between(head.attempt.started, at).to_string();
    let digits = ends
        .map(|at| offset(at).len())
        .into_iter()
        .max()
        .unwrap_or(0);
    let mut left = 0;
    for entry in incident.entries() {
        let text = sanitize(&entry.what.text()).text;
        let symbol = match entry.mark {
            Some(mark) => palette.paint(Paint::Bad, mark.symbol()),
            None => " ".to_owned(),
        };
        let text = match (&entry.mark, &entry.what) {
            (Some(_), _) => palette.paint(Paint::Strong, text),
            (None, What::Left(count)) => {
                left += count;
                palette.paint(Paint::Quiet, format!("── {text} ──"))
            }
            (None, What::Unreadable(_)) => palette.paint(Paint::Warning, text),
            (None, _) => text,
        };
        let name = names.get(entry.source).map_or("", String::as_str);
        let line = format!(
            "{symbol} {}  {}  {text}",
            pad_start(&offset(entry.at), digits),
            palette.paint(Paint::Quiet, pad(name, columns)),
        );
        writeln!(out, "{}", line.trim_end())?;
    }
    if left > 0 {
        let hint = format!("{left} lines are not shown; --lines all shows them");
        writeln!(out, "\n{}", palette.paint(Paint::Quiet, hint))?;
    }
    Ok(())
}

fn write_head(out: &mut dyn Write, head: &Head, palette: Palette) -> io::Result<()> {
    let attempt = &head.attempt;
    let verdict = &attempt.verdict;
    let paint = if verdict.is_ok() {
        Paint::Good
    } else {
        Paint::Bad
    };
    let zone = TimeZone::system();
    let started = attempt.started.to_zoned(zone.clone());
    let took = attempt.ended.duration_since(attempt.started).unsigned_abs();
    writeln!(
        out,
        "{} {}  {}",
        palette.paint(paint, verdict.symbol()),
        palette.paint(Paint::Strong, sanitize_plain(attempt.replay.as_str())),
        sanitize_plain(&verdict.to_string()),
    )?;
    writeln!(
        out,
        "  run {}, attempt {}, {} for {}",
        head.run,
        attempt.number,
        started.strftime("%Y-%m-%d %H:%M:%S%.3f"),
        Seconds(took)
    )?;
    writeln!(out, "\n{}", head.since.headline(&zone))?;
    for change in head.since.changes() {
        writeln!(out, "  {}", sanitize_plain(&change.to_string()))?;
    }
    let clock = head.clock.iter().map(clock_words);
    for words in clock.chain(head.missing.iter().cloned()) {
        writeln!(
            out,
            "{}",
            palette.paint(Paint::Quiet, sanitize_plain(&words))
        )?;
    }
    if !head.marks.is_empty() {
        writeln!(out)?;
    }
    let offset = |marked: &Marked| Offset::between(attempt.started, marked.at).to_string();
    let digits = head.marks.iter().map(|marked| offset(marked).len()).max();
    for marked in &head.marks {
        let offset = pad_start(&offset(marked), digits.unwrap_or(0));
        write_mark(out, head, marked, &offset, palette)?;
    }
    writeln!(out)
}

/// `✘ +0.812  first failed assertion  FAIL: …`
fn write_mark(
    out: &mut dyn Write,
    head: &Head,
    marked: &Marked,
    offset: &str,
    palette: Palette,
) -> io::Result<()> {
    let source = head.sources.get(marked.source);
    let of = source.filter(|source| source.kind == SourceKind::Container);
    let of = of.map_or_else(String::new, |source| {
        format!("{}: ", sanitize_plain(&source.name))
    });
    writeln!(
        out,
        "{} {offset}  {}  {of}{}",
        palette.paint(Paint::Bad, marked.mark.symbol()),
        palette.paint(Paint::Quiet, pad(marked.mark.words(), 22)),
        sanitize(&marked.text).text.trim_end(),
    )
}

fn write_json(out: &mut dyn Write, incident: &Incident) -> io::Result<()> {
    let head = incident.head();
    writeln!(out, "{}", json_line(&head_object(head)))?;
    for entry in incident.entries() {
        writeln!(out, "{}", json_line(&entry_object(head, &entry)))?;
    }
    Ok(())
}

fn seconds(head: &Head, at: jiff::Timestamp) -> f64 {
    at.duration_since(head.attempt.started).as_secs_f64()
}

fn head_object(head: &Head) -> Value {
    let attempt = &head.attempt;
    let sources = head.sources.iter().map(|source| {
        json!({
            "source": source.name,
            "kind": source.kind.word(),
            "entries": source.entries,
        })
    });
    let marks = head.marks.iter().map(|marked| {
        let source = head.sources.get(marked.source);
        json!({
            "mark": marked.mark.word(),
            "at": marked.at.to_string(),
            "offset": seconds(head, marked.at),
            "source": source.map(|source| source.name.as_str()),
            "text": String::from_utf8_lossy(&marked.text),
        })
    });
    let clock = head.clock.as_ref().map(|clock| {
        json!({
            "engine_ahead": clock.engine_ahead.as_secs_f64(),
            "within": clock.within.as_secs_f64(),
            "corrected": clock.correction().as_secs_f64(),
        })
    });
    json!({
        "v": SCHEMA_VERSION,
        "event": "incident",
        "run": head.run.as_str(),
        "replay": attempt.replay.as_str(),
        "attempt": attempt.number,
        "verdict": attempt.verdict.word(),
        "started": attempt.started.to_string(),
        "ended": attempt.ended.to_string(),
        "clock": clock,
        "sources": sources.collect::<Vec<Value>>(),
        "marks": marks.collect::<Vec<Value>>(),
        "since_last_pass": since_object(&head.since),
        "missing": head.missing,
    })
}

fn since_object(since: &Since) -> Value {
    let of = |value: &fingerprint::Value| match value {
        fingerprint::Value::Absent => Value::Null,
        fingerprint::Value::Hashed => json!("(not kept)"),
        fingerprint::Value::Text(text) => json!(text),
    };
    match since {
        Since::Passed { run, at, changes } => {
            let changes = changes.iter().map(|change| {
                json!({
                    "subject": change.subject.to_string(),
                    "what": change.what,
                    "before": of(&change.before),
                    "after": of(&change.after),
                })
            });
            json!({
                "run": run.as_str(),
                "started": at.to_string(),
                "changes": changes.collect::<Vec<Value>>(),
            })
        }
        Since::NotKnown { run, at } => {
            json!({"run": run.as_str(), "started": at.to_string(), "changes": null})
        }
        Since::Never { .. } | Since::Apart => Value::Null,
    }
}

fn entry_object(head: &Head, entry: &Entry) -> Value {
    let source = head.sources.get(entry.source);
    let mut object = json!({
        "v": SCHEMA_VERSION,
        "event": match &entry.what {
            What::Line { .. } => "line",
            What::Event(_) => "event",
            What::Left(_) => "left_out",
            What::Unreadable(_) => "unreadable",
        },
        "at": entry.at.to_string(),
        "offset": seconds(head, entry.at),
        "source": source.map(|source| source.name.as_str()),
        "kind": source.map(|source| source.kind.word()),
        "mark": entry.mark.map(Mark::word),
        "text": String::from_utf8_lossy(&entry.what.text()),
    });
    let Value::Object(fields) = &mut object else {
        return object;
    };
    match &entry.what {
        What::Line { channel, .. } => {
            let stream = match channel {
                Channel::Out => "stdout",
                Channel::Err => "stderr",
            };
            // A replay's two streams are one.
            if source.is_some_and(|source| source.kind == SourceKind::Container) {
                fields.insert("stream".to_owned(), json!(stream));
            }
        }
        What::Left(count) => {
            fields.insert("lines".to_owned(), json!(count));
        }
        What::Event(_) | What::Unreadable(_) => {}
    }
    object
}
