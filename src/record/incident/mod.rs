//! The timeline of one attempt at a replay, out of what its run has recorded.
//!
//! It is read twice: once to count the lines of each source and to find what is marked, and once
//! to hand them over, merged, without those that are too many. So nothing is held but what stands
//! for a source, however much was logged.

mod since;
mod sources;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

pub(super) use self::sources::Reader;
use self::sources::Reading;
use super::read::{Lines, ReadError};
use super::{
    Outage, RecordedContainer, Recording, containers, engine_events, fingerprint, log_gap, outages,
};
use crate::codec::What as Line;
use crate::domain::container::{Container, title};
use crate::domain::event::EngineEvent;
use crate::domain::fingerprint::ClockDifference;
use crate::domain::id::RunId;
use crate::domain::incident::{
    Attempt, Entry, Finder, Head, Mark, Marked, Offset, Piece, Share, Source, SourceKind, What,
    Window, engine_words, is_death, merge, run_words, shares, shown,
};
use crate::domain::replay::ReplayName;
use crate::domain::run::{ReplayResult, RunEventKind};
use crate::process::times_file;
use crate::text::level::{Level, level};

pub use since::last_run_of;

/// Lines that are looked at before it is asked whether somebody still waits.
const STEP: u64 = 4096;

/// Bytes of a marked line that are told with the mark.
const TOLD: usize = 4096;

/// What of an incident is read.
#[derive(Clone, Debug)]
pub struct Options {
    /// From 1; the last one that did not pass where nothing is said, else the last one.
    pub attempt: Option<u32>,
    /// Lines that are shown of all sources. Of a source that has too many, the first, the last and
    /// those around what is marked are.
    pub limit: u64,
    /// Only sources with these names, or of a kind that is called so; all where there are none.
    pub only: Vec<String>,
    pub containers: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            attempt: None,
            limit: 100_000,
            only: Vec::new(),
            containers: true,
        }
    }
}

/// There is no timeline.
#[derive(Debug, thiserror::Error)]
pub enum IncidentError {
    #[error("run {run} did not run {replay}")]
    NotRun { run: RunId, replay: ReplayName },
    #[error("run {run} has no attempt {attempt} at {replay}; there are {there}")]
    NoAttempt {
        run: RunId,
        replay: ReplayName,
        attempt: u32,
        there: u32,
    },
    #[error("there is no source {name:?}; there are {}", .there.join(", "))]
    NoSource { name: String, there: Vec<String> },
    #[error("run {0} is not kept any more")]
    NotKept(RunId),
    #[error("no run is kept that ran {0}")]
    NoRun(ReplayName),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("cannot list the kept runs: {0}")]
    Runs(std::io::Error),
    /// Nobody waits for it any more.
    #[error("given up")]
    GivenUp,
}

/// One attempt at a replay, ready to be read.
#[derive(Debug)]
pub struct Incident {
    head: Head,
    readers: Vec<Reader>,
    /// Which of its lines are shown and which are marked, of each source.
    shares: Vec<(Share, BTreeMap<u64, Mark>)>,
    directory: PathBuf,
    clock: ClockDifference,
}

impl Incident {
    /// Looks through what a run has recorded of a replay. `runs` are the kept runs, among which one
    /// is sought in which it passed. `is_wanted` is asked from time to time.
    ///
    /// # Errors
    ///
    /// Fails where it did not run, or where what was recorded cannot be read.
    pub fn read(
        recording: &Recording,
        replay: &ReplayName,
        runs: &[PathBuf],
        options: &Options,
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<Self, IncidentError> {
        let run = recording.summary.run.clone();
        let run = run.ok_or_else(|| ReadError::NoRun(recording.directory.clone()))?;
        let told = Told::read(recording, replay)?;
        let attempts = told.attempts(recording, replay);
        let (result, ended) = match options.attempt {
            Some(number) => attempts.iter().find(|(result, _)| result.attempt == number),
            None => {
                let failed = attempts.iter().rfind(|(result, _)| !result.verdict.is_ok());
                failed.or(attempts.last())
            }
        }
        .cloned()
        .ok_or_else(|| match options.attempt.filter(|_| !attempts.is_empty()) {
            Some(attempt) => IncidentError::NoAttempt {
                run: run.clone(),
                replay: replay.clone(),
                attempt,
                there: attempts
                    .iter()
                    .map(|(result, _)| result.attempt)
                    .max()
                    .unwrap_or(0),
            },
            None => IncidentError::NotRun {
                run: run.clone(),
                replay: replay.clone(),
            },
        })?;
        let directory = recording.directory.clone();
        let mut missing = Vec::new();
        let print = fingerprint(&directory).unwrap_or_else(|error| {
            missing.push(error.to_string());
            None
        });
        let unknown = print.as_ref().map(|print| print.unknown.words());
        if let Some(unknown) = unknown.filter(|unknown| !unknown.is_empty()) {
            let unknown = unknown.join(", ");
            missing.push(format!(
                "what it ran against was not wholly told: {unknown}"
            ));
        }
        let measured = print.as_ref().and_then(|print| print.clock);
        let clock = measured.unwrap_or(ClockDifference {
            engine_ahead: SignedDuration::ZERO,
            within: Duration::ZERO,
        });
        let window = Window::around(result.started, ended, clock.within);
        let mut sources = told.sources(window);
        missing.extend(gone(&directory, &clock, window, result.started));
        sources.extend(engine(&directory, &clock, window, &mut missing));
        sources.push((named(SourceKind::Output), Reader::Output(result.clone())));
        if options.containers {
            let started = result.started;
            sources.extend(logs(&directory, &clock, window, started, &mut missing));
        }
        missing.extend(of_output(&result));
        choose(&mut sources, &options.only)?;
        let mut incident = Self {
            head: Head {
                since: since::since(recording, &run, replay, print.as_ref(), runs),
                run,
                attempt: Attempt {
                    replay: replay.clone(),
                    number: result.attempt,
                    verdict: result.verdict.clone(),
                    started: result.started,
                    ended,
                },
                window,
                clock: measured,
                sources: Vec::new(),
                marks: Vec::new(),
                missing,
            },
            readers: Vec::new(),
            shares: Vec::new(),
            directory,
            clock,
        };
        incident.survey(sources, options.limit, is_wanted)?;
        Ok(incident)
    }

    pub fn head(&self) -> &Head {
        &self.head
    }

    /// All entries that are shown, in order.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        let sources = self.readers.iter().zip(&self.shares);
        let sources = sources.map(|(reader, (share, _))| shown(self.lines(reader), share.clone()));
        merge(sources.collect()).map(|(source, at, piece)| {
            let (mark, what) = match piece {
                Piece::Line(number, what) => {
                    let marks = self.shares.get(source).map(|(_, marks)| marks);
                    (marks.and_then(|marks| marks.get(&number)).copied(), what)
                }
                Piece::Left(count) => (None, What::Left(count)),
            };
            Entry {
                at,
                source,
                what,
                mark,
            }
        })
    }

    fn lines<'a>(&'a self, reader: &'a Reader) -> Reading<'a> {
        reader.lines(&self.directory, &self.clock, self.head.window)
    }

    /// Counts, and finds what is marked.
    fn survey(
        &mut self,
        sources: Vec<(Source, Reader)>,
        limit: u64,
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<(), IncidentError> {
        let mut found = Vec::new();
        for (source, reader) in sources {
            let surveyed = self.look_through(&source, &reader, is_wanted)?;
            // What has nothing to say is no source of this timeline, unless it is what it is about.
            if surveyed.total > 0 || source.kind == SourceKind::Output {
                found.push((source, reader, surveyed));
            }
        }
        let first_error = found
            .iter()
            .enumerate()
            .filter_map(|(source, (.., surveyed))| Some((surveyed.error.as_ref()?, source)))
            // From the start on; what stands before it may belong to another replay.
            .min_by_key(|(error, source)| (error.before, error.at, *source))
            .map(|(_, source)| source);
        let totals: Vec<u64> = found.iter().map(|(.., surveyed)| surveyed.total).collect();
        for (number, ((mut source, reader, surveyed), limit)) in
            found.into_iter().zip(shares(&totals, limit)).enumerate()
        {
            let mut marks = surveyed.marks;
            marks.extend(
                surveyed
                    .error
                    .filter(|_| first_error == Some(number))
                    .map(|error| (error.line, (Mark::Error, error.at, error.text))),
            );
            source.entries = surveyed.total;
            self.head.sources.push(source);
            self.readers.push(reader);
            let share = Share {
                total: surveyed.total,
                limit,
                marked: marks.keys().copied().collect(),
            };
            let numbers = marks.iter().map(|(line, (mark, ..))| (*line, *mark));
            self.shares.push((share, numbers.collect()));
            self.head
                .marks
                .extend(marks.into_values().map(|(mark, at, text)| Marked {
                    mark,
                    at,
                    source: number,
                    text,
                }));
        }
        self.head
            .marks
            .sort_by_key(|marked| (marked.at, marked.source));
        Ok(())
    }

    fn look_through(
        &self,
        source: &Source,
        reader: &Reader,
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<Surveyed, IncidentError> {
        let attempt = &self.head.attempt;
        let within = SignedDuration::try_from(self.clock.within).unwrap_or(SignedDuration::ZERO);
        let begin = attempt.started.saturating_sub(within);
        let begin = begin.unwrap_or(attempt.started);
        // What comes behind it may be the teardown's doing.
        let end = attempt.ended.saturating_add(within);
        let end = end.unwrap_or(attempt.ended);
        let mut surveyed = Surveyed::default();
        let mut finder = Finder::default();
        for (number, (at, what)) in (0..).zip(self.lines(reader)) {
            if number % STEP == 0 && !is_wanted() {
                return Err(IncidentError::GivenUp);
            }
            surveyed.total = number + 1;
            match (source.kind, &what) {
                (SourceKind::Output, What::Line { bytes, .. }) if !attempt.verdict.is_ok() => {
                    finder.offer(number, bytes);
                }
                (SourceKind::Container, What::Line { bytes, .. }) if at <= end => {
                    let before = at < begin;
                    let better = surveyed
                        .error
                        .as_ref()
                        .is_none_or(|error| error.before && !before);
                    if better && level(bytes).is_some_and(|level| level >= Level::Error) {
                        surveyed.error = Some(FirstError {
                            line: number,
                            at,
                            before,
                            text: start_of(bytes),
                        });
                    }
                }
                _ => {}
            }
            if at <= end && reader.is_death(number) {
                let text = start_of(&what.text());
                surveyed.marks.insert(number, (Mark::Death, at, text));
            }
        }
        if let Some(finding) = finder.finish() {
            let line = usize::try_from(finding.line).unwrap_or(usize::MAX);
            if let Some((at, what)) = self.lines(reader).nth(line) {
                let mark = Mark::Assertion(finding.clarity);
                let text = start_of(&what.text());
                surveyed.marks.insert(finding.line, (mark, at, text));
            }
        }
        Ok(surveyed)
    }
}

/// What is known of a source before it is shown.
#[derive(Debug, Default)]
struct Surveyed {
    total: u64,
    marks: BTreeMap<u64, (Mark, Timestamp, Vec<u8>)>,
    error: Option<FirstError>,
}

#[derive(Debug)]
struct FirstError {
    line: u64,
    at: Timestamp,
    /// It stands before the start of the attempt.
    before: bool,
    text: Vec<u8>,
}

fn start_of(text: &[u8]) -> Vec<u8> {
    text[..text.len().min(TOLD)].to_vec()
}

fn named(kind: SourceKind) -> Source {
    Source {
        kind,
        name: kind.word().to_owned(),
        entries: 0,
    }
}

/// What the event log says.
struct Told {
    /// Everything that the runner did and that has words.
    words: Vec<(Timestamp, String)>,
    /// Ends of attempts at the replay.
    ends: Vec<(ReplayResult, Timestamp)>,
}

impl Told {
    fn read(recording: &Recording, replay: &ReplayName) -> Result<Self, ReadError> {
        let mut told = Self {
            words: Vec::new(),
            ends: Vec::new(),
        };
        for line in Lines::open(&recording.directory, |event| event != "started")? {
            let Some(line) = line? else { continue };
            let Line::Event(mut kind) = line.what else {
                continue;
            };
            if let Some(words) = run_words(&kind, replay) {
                told.words.push((line.at, words));
            }
            if let RunEventKind::ReplayFinished(result) = &mut *kind
                && result.replay == *replay
            {
                recording.relocate(&mut result.output);
                told.ends.push((result.clone(), line.at));
            }
        }
        Ok(told)
    }

    /// In their order, also one that was cut off.
    fn attempts(
        &self,
        recording: &Recording,
        replay: &ReplayName,
    ) -> Vec<(ReplayResult, Timestamp)> {
        let mut attempts = self.ends.clone();
        let results = recording.summary.results.iter();
        for result in results.filter(|result| result.replay == *replay) {
            if attempts
                .iter()
                .all(|(known, _)| known.attempt != result.attempt)
            {
                let ended = result.started.saturating_add(result.took);
                attempts.push((result.clone(), ended.unwrap_or(result.started)));
            }
        }
        attempts
    }

    fn sources(&self, window: Window) -> Vec<(Source, Reader)> {
        let words = self.words.iter().filter(|(at, _)| window.contains(*at));
        let events = words.map(|(at, words)| (*at, words.clone(), false));
        vec![(named(SourceKind::Runner), Reader::Events(events.collect()))]
    }
}

fn engine(
    directory: &Path,
    clock: &ClockDifference,
    window: Window,
    missing: &mut Vec<String>,
) -> Option<(Source, Reader)> {
    let events = match engine_events(directory) {
        Ok(events) => events,
        Err(error) => {
            missing.push(error.to_string());
            return None;
        }
    };
    let ours = |event: EngineEvent| {
        let at = clock.to_ours(event.at);
        let entry = (at, engine_words(&event), is_death(&event.action));
        window.contains(at).then_some(entry)
    };
    let mut events: Vec<_> = events.into_iter().filter_map(ours).collect();
    events.sort_by_key(|(at, ..)| *at);
    Some((named(SourceKind::Engine), Reader::Events(events)))
}

/// When nothing was heard of the engine, as far as that touches the window. Where the events cannot be
/// read, that is said by them.
fn gone(
    directory: &Path,
    clock: &ClockDifference,
    window: Window,
    started: Timestamp,
) -> Vec<String> {
    let show = |at: Timestamp| Offset::between(started, at).to_string();
    let words = |outage: Outage| {
        let from = clock.to_ours(outage.from);
        let to = outage.to.map(|to| clock.to_ours(to));
        let touches = from <= window.to && to.is_none_or(|to| to >= window.from);
        let until = to.map_or_else(|| "the end".to_owned(), show);
        touches.then(|| {
            format!(
                "what happened on the engine was not recorded from {} to {until}: {}",
                show(from),
                outage.cause
            )
        })
    };
    let outages = outages(directory).unwrap_or_default();
    outages.into_iter().filter_map(words).collect()
}

/// The containers that have written something, by their names.
fn logs(
    directory: &Path,
    clock: &ClockDifference,
    window: Window,
    started: Timestamp,
    missing: &mut Vec<String>,
) -> Vec<(Source, Reader)> {
    let containers = match containers(directory) {
        Ok(containers) => containers,
        Err(error) => {
            missing.push(error.to_string());
            return Vec::new();
        }
    };
    if containers.is_empty() {
        missing.push("no container was recorded".to_owned());
    }
    let names = names(
        containers
            .iter()
            .map(|recorded| &recorded.inspect.container),
    );
    let mut sources: Vec<(Source, Reader)> = Vec::new();
    for (recorded, name) in containers.into_iter().zip(names) {
        if let Some(trouble) = &recorded.trouble {
            missing.push(format!("the log of {name} is not whole: {trouble}"));
        }
        missing.extend(cut(&recorded, &name, clock, window, started));
        if let Some(file) = recorded.log {
            let source = Source {
                kind: SourceKind::Container,
                name,
                entries: 0,
            };
            sources.push((source, Reader::Log(file)));
        }
    }
    sources.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
    sources
}

/// What is not kept of a log, as far as that touches the window.
fn cut(
    recorded: &RecordedContainer,
    name: &str,
    clock: &ClockDifference,
    window: Window,
    started: Timestamp,
) -> Option<String> {
    let cut = Some(recorded.cut).filter(|cut| *cut > 0)?;
    let gap = recorded.log.as_ref().and_then(log_gap);
    let gap = gap.map(|(from, to)| (clock.to_ours(from), clock.to_ours(to)));
    let words = format!("{cut} bytes of the log of {name} were not kept");
    match gap {
        Some((from, to)) if from > window.to || to < window.from => None,
        Some((from, to)) => {
            let (from, to) = (Offset::between(started, from), Offset::between(started, to));
            Some(format!("{words}, from {from} to {to}"))
        }
        None => Some(words),
    }
}

/// Each by its title, unless another one has the same.
fn names<'a>(containers: impl Iterator<Item = &'a Container> + Clone) -> Vec<String> {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for container in containers.clone() {
        let name = container.name.as_str();
        let names: BTreeSet<&str> = [title(&container.labels, name), name].into();
        for name in names {
            *times.entry(name).or_default() += 1;
        }
    }
    let is_one = |name: &str| times.get(name) == Some(&1);
    let name = |container: &Container| {
        let (title, name) = (container.title(), container.name.as_str());
        if is_one(title) {
            title.to_owned()
        } else if is_one(name) {
            name.to_owned()
        } else {
            format!("{name}-{}", container.id.short())
        }
    };
    containers.map(name).collect()
}

fn of_output(result: &ReplayResult) -> Vec<String> {
    let mut missing = Vec::new();
    match &result.output.file {
        // Who passed in silence leaves no file.
        None if result.verdict.is_ok() && result.output.not_on_disk == 0 => {}
        None => missing.push("its output was not kept".to_owned()),
        Some(file) => {
            let empty = file.metadata().is_ok_and(|found| found.len() == 0);
            if !empty && !times_file(file).exists() {
                missing.push(
                    "when its output came was not recorded: all of it stands at its end".to_owned(),
                );
            }
        }
    }
    if result.output.not_on_disk > 0 {
        let cut = result.output.not_on_disk;
        missing.push(format!("{cut} bytes of its output were not kept"));
    }
    missing
}

fn choose(sources: &mut Vec<(Source, Reader)>, only: &[String]) -> Result<(), IncidentError> {
    let is_called =
        |source: &Source, name: &String| source.name == *name || source.kind.word() == name;
    for name in only {
        if !sources.iter().any(|(source, _)| is_called(source, name)) {
            return Err(IncidentError::NoSource {
                name: name.clone(),
                there: sources
                    .iter()
                    .map(|(source, _)| source.name.clone())
                    .collect(),
            });
        }
    }
    sources
        .retain(|(source, _)| only.is_empty() || only.iter().any(|name| is_called(source, name)));
    Ok(())
}
