//! A run that has been, read back from its directory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::files::read_line;
use super::log::{FILE_NAME, is_under_way};
use crate::codec::{DecodeError, Line, What, decode};
use crate::domain::hook::Step;
use crate::domain::id::RunId;
use crate::domain::replay::{Replay, ReplayName};
use crate::domain::run::{
    Flaky, Held, Output, ReplayResult, RunEvent, RunEventKind, StepOutcome, StepResult, Summary,
    Verdict,
};
use crate::domain::scope::{Scope, StackName};
use crate::process::{CaptureLimits, gap_line, times_file};

/// What is known of a run. What had begun and did not end counts as cut off.
#[derive(Clone, Debug)]
pub struct Recording {
    pub directory: PathBuf,
    /// The name of the run's configuration; the directory's where that is lost.
    pub name: String,
    /// The directory of the run's configuration, on the machine of the run.
    pub root: PathBuf,
    /// What the run looked at; empty where that was not written down.
    pub scope: Scope,
    /// The stacks of the harness.
    pub harness: Vec<StackName>,
    /// In the order in which they were to run. Paths are those of the machine of the run.
    pub replays: Vec<Arc<Replay>>,
    pub stacks: Vec<StackName>,
    /// Outputs name their file and are empty: see [`Self::with_outputs`].
    pub summary: Summary,
    pub end: End,
    /// Lines of the event log that cannot be read.
    pub unreadable: usize,
}

/// How far a run came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// To its end, also where somebody interrupted it.
    Finished,
    /// It goes on. These are at work.
    UnderWay(Vec<String>),
    /// Its process ended before it. These were at work, whoever took it down then.
    BrokeOff(Vec<String>),
}

/// A directory that cannot be read as a run.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("cannot read {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} was written by a newer tackroom: {source}", path.display())]
    Newer { path: PathBuf, source: DecodeError },
    #[error("{} is no event log of a run", .0.display())]
    NoRun(PathBuf),
}

/// Reads the event log of a run. A last line that was cut off, and fields and events that are not
/// known, do no harm.
///
/// # Errors
///
/// Fails where there is no event log, or a newer tackroom wrote it.
pub fn read(directory: &Path) -> Result<Recording, ReadError> {
    read_with(directory, |_| {})
}

/// The same, with what happened one by one: an attempt that did not come to its end ends last.
/// Outputs name their file and are empty.
///
/// # Errors
///
/// As [`read`].
pub fn read_events(directory: &Path) -> Result<(Recording, Vec<RunEvent>), ReadError> {
    let mut events = Vec::new();
    let recording = read_with(directory, |event| events.push(event.clone()))?;
    Ok((recording, events))
}

fn read_with(directory: &Path, mut heard: impl FnMut(&RunEvent)) -> Result<Recording, ReadError> {
    // Asked first: a run that ends meanwhile has then written its last line.
    let under_way = is_under_way(directory);
    let mut recording = Recording {
        directory: directory.to_owned(),
        name: String::new(),
        root: PathBuf::new(),
        scope: Scope::default(),
        harness: Vec::new(),
        replays: Vec::new(),
        stacks: Vec::new(),
        summary: Summary::default(),
        end: End::Finished,
        unreadable: 0,
    };
    let mut work = Work::default();
    let mut finished = false;
    let mut began = Duration::ZERO;
    let mut taken_over: Option<Vec<String>> = None;
    for line in Lines::open(directory, |_| true)? {
        let Some(line) = line? else {
            recording.unreadable += 1;
            continue;
        };
        if let What::Event(kind) = &line.what
            && let RunEventKind::Started { .. } = &**kind
            && let Some(started) = recording.summary.started
        {
            // Another process has taken over, and counts from its own beginning.
            let broken_off = recording.cut_off(std::mem::take(&mut work), &mut heard);
            taken_over.get_or_insert(broken_off);
            began = Duration::try_from(line.at.duration_since(started)).unwrap_or(work.now);
            work.now = began;
            finished = false;
            continue;
        }
        let offset = began + line.offset;
        work.now = offset;
        match line.what {
            What::Header(header) => {
                recording.name = header.name;
                recording.root = header.root;
                recording.scope = header.scope;
                recording.harness = header.harness;
            }
            What::Event(kind) => {
                let event = RunEvent {
                    at: line.at,
                    offset,
                    kind: *kind,
                };
                recording.take(event, &mut work, &mut heard);
            }
            What::Finished => finished = true,
            What::Other => {}
        }
    }
    if recording.summary.run.is_none() {
        return Err(ReadError::NoRun(directory.join(FILE_NAME)));
    }
    if recording.name.is_empty() {
        let name = directory.file_name().unwrap_or_default();
        recording.name = name.to_string_lossy().into_owned();
    }
    recording.summary.took = work.now;
    recording.end = match taken_over {
        _ if under_way && !finished => End::UnderWay(work.at_work()),
        Some(broken_off) => {
            if !finished {
                recording.cut_off(work, &mut heard);
            }
            End::BrokeOff(broken_off)
        }
        None if !finished => End::BrokeOff(recording.cut_off(work, &mut heard)),
        None => End::Finished,
    };
    Ok(recording)
}

/// What is at work while the log is read.
#[derive(Debug, Default)]
struct Work {
    now: Duration,
    step: Option<(Step, Duration)>,
    replays: BTreeMap<ReplayName, Begun>,
}

#[derive(Debug)]
struct Begun {
    at: Timestamp,
    offset: Duration,
    attempt: u32,
}

impl Work {
    fn at_work(&self) -> Vec<String> {
        let steps = self.step.iter().map(|(step, _)| step.word().to_owned());
        let replays = self.replays.keys().map(ToString::to_string);
        steps.chain(replays).collect()
    }
}

/// When the last bytes of an output came, counted from its beginning.
fn last_printed(output: &Path) -> Option<Duration> {
    /// More than the longest note.
    const NOTE: u64 = 64;
    let mut file = File::open(times_file(output)).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(NOTE)))
        .ok()?;
    let mut notes = String::new();
    file.take(NOTE).read_to_string(&mut notes).ok()?;
    let (microseconds, _) = notes.lines().next_back()?.split_once(' ')?;
    Some(Duration::from_micros(microseconds.parse().ok()?))
}

impl Recording {
    fn take(&mut self, mut event: RunEvent, work: &mut Work, heard: &mut impl FnMut(&RunEvent)) {
        let (at, offset) = (event.at, event.offset);
        match &mut event.kind {
            RunEventKind::Started {
                replays, stacks, ..
            } => {
                for replay in replays.iter_mut().map(Arc::make_mut) {
                    replay.path = self.root.join(&replay.file);
                }
                self.replays.clone_from(replays);
                self.stacks.clone_from(stacks);
            }
            RunEventKind::Again { replays, .. } => {
                for replay in replays.iter_mut() {
                    Arc::make_mut(replay).path = self.root.join(&replay.file);
                    self.replays.retain(|known| known.name != replay.name);
                    self.replays.push(Arc::clone(replay));
                }
            }
            RunEventKind::Gone { replays: gone, .. } => {
                self.replays.retain(|known| !gone.contains(&known.name));
            }
            RunEventKind::StepStarted { step } => work.step = Some((*step, offset)),
            RunEventKind::StepFinished { output, .. } => {
                work.step = None;
                self.relocate(output);
            }
            RunEventKind::ReplayStarted {
                replay, attempt, ..
            } => {
                let begun = Begun {
                    at,
                    offset,
                    attempt: *attempt,
                };
                work.replays.insert(replay.clone(), begun);
            }
            RunEventKind::ReplayFinished(result) => {
                work.replays.remove(&result.replay);
                self.relocate(&mut result.output);
            }
            _ => {}
        }
        self.summary.fold(&event);
        heard(&event);
    }

    /// What was at work ended with its process. Gives its names.
    fn cut_off(&mut self, work: Work, heard: &mut impl FnMut(&RunEvent)) -> Vec<String> {
        let at_work = work.at_work();
        let during = match at_work.as_slice() {
            [] => String::new(),
            names => format!(" during {}", names.join(", ")),
        };
        self.summary
            .internal_error
            .get_or_insert_with(|| format!("the run broke off{during}"));
        if let Some((step, began)) = work.step {
            self.summary.steps.push(StepResult {
                step,
                outcome: StepOutcome::Cancelled,
                took: work.now.saturating_sub(began),
                output: Output {
                    file: Some(
                        self.directory
                            .join("harness")
                            .join(format!("{}.log", step.word())),
                    ),
                    ..Output::default()
                },
            });
        }
        for (replay, begun) in work.replays {
            let file = newest_log(&self.directory.join(replay.attempt_directory(begun.attempt)));
            // The event log is silent while it prints.
            let printed = file.as_deref().and_then(last_printed).unwrap_or_default();
            let result = ReplayResult {
                verdict: Verdict::Aborted,
                started: begun.at,
                took: work.now.saturating_sub(begun.offset).max(printed),
                attempt: begun.attempt,
                output: Output {
                    file,
                    ..Output::default()
                },
                tap: None,
                slow: false,
                leaky: false,
                survivors: Vec::new(),
                retried: false,
                flaky: Flaky::No,
                replay,
            };
            let event = RunEvent {
                at: begun.at,
                offset: begun.offset,
                kind: RunEventKind::ReplayFinished(result),
            };
            self.summary.fold(&event);
            heard(&event);
        }
        at_work
    }

    /// A directory may have moved, and may come from somebody else: only what lies in it is read.
    pub(super) fn relocate(&self, output: &mut Output) {
        let Some(file) = output.file.take() else {
            return;
        };
        let run = self.summary.run.as_ref().map(RunId::as_str);
        let mut inside = file
            .components()
            .skip_while(|part| Some(part.as_os_str()) != run.map(AsRef::as_ref))
            .skip(1)
            .peekable();
        if inside.peek().is_none() {
            return;
        }
        let inside: PathBuf = inside.collect();
        let is_plain = |part: Component| matches!(part, Component::Normal(_));
        if inside.components().all(is_plain) {
            output.file = Some(self.directory.join(inside));
        }
    }

    /// Reads the first and the last bytes of every output, as far as a run itself would hold them.
    /// What is gone stays empty.
    #[must_use]
    pub fn with_outputs(mut self) -> Self {
        let directory = self.directory.canonicalize();
        let read = |output: &mut Output| {
            let inside = |file: &PathBuf| {
                let real = file.canonicalize().ok()?;
                real.starts_with(directory.as_ref().ok()?).then_some(real)
            };
            let read = match output.file.as_ref().and_then(inside) {
                Some(file) => load(output, &file).is_ok(),
                None => false,
            };
            if !read {
                output.file = None;
            }
        };
        for step in &mut self.summary.steps {
            read(&mut step.output);
        }
        let mut held = Held::default();
        let results = &mut self.summary.results;
        for result in results.iter_mut().chain(&mut self.summary.earlier) {
            read(&mut result.output);
            held.admit(result);
        }
        self
    }
}

/// As much as a run itself holds of an output.
fn load(output: &mut Output, path: &Path) -> io::Result<()> {
    // Opening anything else, such as a FIFO, could wait for ever.
    if !path.symlink_metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let CaptureLimits { head, tail, .. } = CaptureLimits::default();
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let head = length.min(head as u64);
    let tail_start = length.saturating_sub(tail as u64).max(head);
    output.head = bytes(&file, head)?;
    file.seek(SeekFrom::Start(tail_start))?;
    output.tail = bytes(&file, tail as u64)?;
    output.cut = tail_start - head;
    if output.not_on_disk > 0 {
        output.cut += output.not_on_disk;
        let line = gap_line(output.not_on_disk);
        let mut before = vec![0; line.len()];
        let place = tail_start.saturating_sub(line.len() as u64);
        if file.read_exact_at(&mut before, place).is_ok() && before == line.as_bytes() {
            output.cut -= line.len() as u64;
        }
    }
    Ok(())
}

fn bytes(file: &File, most: u64) -> io::Result<Arc<[u8]>> {
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

/// What a replay printed that did not come to its end: nobody wrote down where that is.
fn newest_log(directory: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(directory).ok()?.flatten();
    let logs = entries.map(|entry| entry.path()).filter(|path| {
        path.extension().is_some_and(|extension| extension == "log")
            && path.symlink_metadata().is_ok_and(|found| found.is_file())
    });
    logs.max_by_key(|path| path.metadata().and_then(|found| found.modified()).ok())
}

/// The lines of an event log. `None` stands for one that cannot be read; a last one without a
/// newline is left out in that case, because it was being written.
pub(super) struct Lines {
    path: PathBuf,
    file: BufReader<File>,
    line: Vec<u8>,
    wanted: fn(&str) -> bool,
}

impl Lines {
    /// `wanted` picks events by name; of the others nothing but the time is read.
    pub(super) fn open(directory: &Path, wanted: fn(&str) -> bool) -> Result<Self, ReadError> {
        let path = directory.join(FILE_NAME);
        let is_file = path.metadata().and_then(|found| {
            if found.is_file() {
                File::open(&path)
            } else {
                Err(io::Error::other("it is no file"))
            }
        });
        match is_file {
            Ok(file) => Ok(Self {
                path,
                file: BufReader::new(file),
                line: Vec::new(),
                wanted,
            }),
            Err(source) => Err(ReadError::Io { path, source }),
        }
    }
}

impl Iterator for Lines {
    type Item = Result<Option<Line>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        match read_line(&mut self.file, &mut self.line) {
            Ok(0) => return None,
            Ok(_) if self.line.is_empty() => return Some(Ok(None)),
            Ok(_) => {}
            Err(source) => {
                let path = self.path.clone();
                return Some(Err(ReadError::Io { path, source }));
            }
        }
        match decode(&self.line, self.wanted) {
            Ok(line) => Some(Ok(Some(line))),
            Err(source @ DecodeError::Newer(_)) => Some(Err(ReadError::Newer {
                path: self.path.clone(),
                source,
            })),
            Err(DecodeError::Malformed) if self.line.ends_with(b"\n") => Some(Ok(None)),
            Err(DecodeError::Malformed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::EventLog;
    use super::super::fixtures::{begun, ended, failed, finished, run, started, write};
    use super::*;
    use crate::codec::Header;

    fn place() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn story(with_end: bool) -> Vec<RunEventKind> {
        let mut kinds = vec![
            started(&run(0), &["é \u{1b}\"", "b", "c"]),
            RunEventKind::StepStarted { step: Step::Up },
            RunEventKind::StepFinished {
                step: Step::Up,
                outcome: StepOutcome::Done,
                took: Duration::from_secs(1),
                output: Output::default(),
            },
            begun("é \u{1b}\""),
            ended("é \u{1b}\"", failed(), 1),
            begun("b"),
            ended("b", Verdict::Passed, 1),
        ];
        if with_end {
            kinds.push(finished());
        }
        kinds
    }

    #[test]
    fn what_was_cut_off_lasted_as_long_as_it_printed() {
        let place = place();
        let mut kinds = story(false);
        kinds.push(begun("c"));
        drop(write(place.path(), kinds));
        let directory = place.path().join("replays/c");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("output.log"), "a\nb\n").unwrap();
        std::fs::write(directory.join("output.times"), "7 0\n95000000 2\n").unwrap();
        let recording = read(place.path()).unwrap();
        let last = recording.summary.results.last().unwrap();
        assert_eq!(last.verdict, Verdict::Aborted);
        assert_eq!(last.took, Duration::from_secs(95));
    }

    #[test]
    fn a_run_adds_up_to_what_it_added_up_to() {
        let place = place();
        drop(write(place.path(), story(true)));
        let recording = read(place.path()).unwrap();
        assert_eq!(recording.name, "harness");
        assert_eq!(recording.stacks, ["tenant".into()]);
        assert_eq!(recording.end, End::Finished);
        assert_eq!(recording.unreadable, 0);
        let files: Vec<&str> = recording.replays.iter().map(|one| &*one.file).collect();
        assert_eq!(files, ["é \u{1b}\".sh", "b.sh", "c.sh"]);
        assert_eq!(recording.replays[1].path, Path::new("/work/b.sh"));
        let mut summary = Summary::default();
        for (second, kind) in (1..).zip(story(true)) {
            summary.fold(&RunEvent {
                at: Timestamp::from_second(second).unwrap(),
                offset: Duration::from_secs(second.unsigned_abs()),
                kind,
            });
        }
        assert_eq!(recording.summary, summary);
    }

    #[test]
    fn a_run_without_an_end_names_what_was_at_work() {
        let place = place();
        let mut kinds = story(false);
        kinds.push(begun("c"));
        let log = write(place.path(), kinds);
        let going_on = read(place.path()).unwrap();
        assert_eq!(going_on.end, End::UnderWay(vec!["c".to_owned()]));
        assert_eq!(going_on.summary.internal_error, None);
        drop(log);

        let printed = place.path().join("replays/c");
        std::fs::create_dir_all(&printed).unwrap();
        std::fs::write(printed.join("output.log"), "half").unwrap();
        let broken = read(place.path()).unwrap().with_outputs();
        assert_eq!(broken.end, End::BrokeOff(vec!["c".to_owned()]));
        let error = broken.summary.internal_error.as_deref();
        assert_eq!(error, Some("the run broke off during c"));
        let last = broken.summary.results.last().unwrap();
        assert_eq!(
            (&last.replay, &last.verdict),
            (&ReplayName::new("c"), &Verdict::Aborted)
        );
        assert_eq!(last.output.text(), b"half");
        let second = broken.directory.join(last.replay.attempt_directory(2));
        assert_eq!(second, printed.join("attempt-2"));
        assert_eq!(broken.summary.not_run, []);
    }

    #[test]
    fn the_events_add_up_to_the_same() {
        let place = place();
        let mut kinds = story(false);
        kinds.push(begun("c"));
        drop(write(place.path(), kinds));
        let (recording, events) = read_events(place.path()).unwrap();
        let mut summary = Summary::default();
        events.iter().for_each(|event| summary.fold(event));
        assert_eq!(summary.results, recording.summary.results);
        assert_eq!(summary.results.len(), 3);
    }

    #[test]
    fn a_step_without_an_end_was_cut_off() {
        let place = place();
        let up = RunEventKind::StepStarted { step: Step::Up };
        drop(write(place.path(), vec![started(&run(0), &["a"]), up]));
        let broken = read(place.path()).unwrap();
        assert_eq!(broken.end, End::BrokeOff(vec!["up".to_owned()]));
        let outcome = &broken.summary.steps[0].outcome;
        assert_eq!(outcome, &StepOutcome::Cancelled);
        assert_eq!(broken.summary.not_run, [ReplayName::new("a")]);
    }

    #[test]
    fn what_is_no_run_or_a_newer_one_is_refused_in_words() {
        let place = place();
        let words = || read(place.path()).unwrap_err().to_string();
        assert!(
            words().contains("events.jsonl: No such file"),
            "{}",
            words()
        );
        let log = place.path().join("events.jsonl");
        std::fs::write(&log, "").unwrap();
        assert!(words().ends_with("is no event log of a run"), "{}", words());
        std::fs::write(&log, "\u{0}\n\n{\"v\":1}\n").unwrap();
        assert!(words().ends_with("is no event log of a run"), "{}", words());
        std::fs::write(&log, "{\"v\":7,\"event\":\"recording\"}\n").unwrap();
        assert!(
            words().contains("newer tackroom: written in version 7"),
            "{}",
            words()
        );
        std::fs::remove_file(&log).unwrap();
        std::fs::create_dir(&log).unwrap();
        assert!(words().contains("it is no file"), "{}", words());
    }

    #[test]
    fn a_line_without_an_end_is_counted() {
        let place = place();
        drop(write(place.path(), story(true)));
        let log = place.path().join("events.jsonl");
        let text = std::fs::read_to_string(&log).unwrap();
        let (first, rest) = text.split_once('\n').unwrap();
        let mut file = File::create(&log).unwrap();
        std::io::Write::write_all(&mut file, format!("{first}\n").as_bytes()).unwrap();
        // A hole costs no disk.
        let hole = 2 * crate::record::files::LONGEST_LINE.cast_signed();
        file.seek(SeekFrom::Current(hole)).unwrap();
        std::io::Write::write_all(&mut file, format!("\n{rest}").as_bytes()).unwrap();
        let recording = read(place.path()).unwrap();
        assert_eq!((recording.unreadable, recording.replays.len()), (1, 3));
    }

    #[test]
    fn a_damaged_line_is_counted_and_the_others_are_read() {
        let place = place();
        drop(write(place.path(), story(true)));
        let log = place.path().join("events.jsonl");
        let text = std::fs::read_to_string(&log).unwrap();
        let damaged = text.replacen("\n", "\n\u{0}\u{0}\n{\"v\":1,\"event\":\"note\"}\n", 1);
        std::fs::write(&log, damaged).unwrap();
        let recording = read(place.path()).unwrap();
        assert_eq!((recording.unreadable, recording.end), (2, End::Finished));
        assert_eq!(recording.summary.results.len(), 2);
    }

    fn printed(directory: &Path, file: &Path, not_on_disk: u64) -> Output {
        let mut event = ended("a", failed(), 1);
        if let RunEventKind::ReplayFinished(result) = &mut event {
            result.output.file = Some(file.to_owned());
            result.output.not_on_disk = not_on_disk;
        }
        let _ = std::fs::remove_file(directory.join("events.jsonl"));
        drop(write(directory, vec![started(&run(0), &["a"]), event]));
        let recording = read(directory).unwrap().with_outputs();
        recording.summary.results[0].output.clone()
    }

    #[test]
    fn an_output_is_read_as_the_run_held_it() {
        let place = place();
        let CaptureLimits { head, tail, .. } = CaptureLimits::default();
        let file = place.path().join("output.log");
        let recorded = Path::new("/elsewhere/runs")
            .join(run(0).as_str())
            .join("output.log");
        for length in [
            0,
            1,
            head,
            head + 1,
            head + tail,
            head + tail + 1,
            3 * (head + tail),
        ] {
            let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            std::fs::write(&file, &bytes).unwrap();
            let output = printed(place.path(), &recorded, 0);
            assert_eq!(*output.head, bytes[..head.min(length)]);
            let start = (head.min(length)).max(length.saturating_sub(tail));
            assert_eq!(*output.tail, bytes[start..]);
            assert_eq!(output.cut, (start - head.min(length)) as u64);
            assert_eq!(output.file.as_ref(), Some(&file));
        }
        assert_eq!(
            printed(place.path(), &recorded, 5).cut,
            (2 * (head + tail) + 5) as u64
        );
        let end = vec![b'e'; tail];
        let kept = [vec![b'b'; head + 3], gap_line(7).into_bytes(), end.clone()].concat();
        std::fs::write(&file, kept).unwrap();
        let output = printed(place.path(), &recorded, 7);
        assert_eq!((output.cut, &output.tail[..]), (3 + 7, &end[..]));
    }

    #[test]
    fn only_what_is_in_the_directory_is_read() {
        let place = place();
        let directory = place.path().join("run");
        std::fs::create_dir(&directory).unwrap();
        let secret = place.path().join("secret");
        std::fs::write(&secret, "secret").unwrap();
        std::os::unix::fs::symlink(&secret, directory.join("link")).unwrap();
        std::os::unix::fs::symlink(place.path(), directory.join("up")).unwrap();
        let recorded = Path::new("/runs").join(run(0).as_str());
        for file in [
            secret,
            recorded.join("../secret"),
            recorded.join("link"),
            recorded.join("up/secret"),
            recorded.join("gone"),
            recorded,
        ] {
            let output = printed(&directory, &file, 0);
            assert_eq!(output, Output::default(), "{file:?}");
        }
    }

    #[test]
    fn a_pipe_in_the_place_of_an_output_is_not_waited_for() {
        let place = place();
        let pipe = place.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        let recorded = Path::new("/runs").join(run(0).as_str()).join("pipe");
        assert_eq!(printed(place.path(), &recorded, 0), Output::default());
    }

    #[test]
    fn a_full_disk_leaves_whole_lines() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut log = EventLog::on(full);
        let event = RunEvent {
            at: Timestamp::UNIX_EPOCH,
            offset: Duration::ZERO,
            kind: finished(),
        };
        let error = log.append(&event).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn who_takes_over_goes_on_with_the_log_behind_its_last_whole_line() {
        let place = place();
        let mut kinds = story(false);
        kinds.push(begun("c"));
        let log = write(place.path(), kinds);
        let error = EventLog::open(place.path(), &Header::default()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        drop(log);
        let path = place.path().join("events.jsonl");
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&whole[..], &[b'{'; 100_000]].concat()).unwrap();
        let step = Step::Teardown;
        let later = || {
            vec![
                started(&run(0), &[]),
                RunEventKind::StepStarted { step },
                RunEventKind::StepFinished {
                    step,
                    outcome: StepOutcome::Done,
                    took: Duration::from_secs(1),
                    output: Output::default(),
                },
                RunEventKind::LeftBehind(Vec::new()),
            ]
        };
        // At its work, cut off as well, and at the end.
        let log = write(place.path(), later());
        let at_work = read(place.path()).unwrap();
        assert_eq!(at_work.end, End::UnderWay(Vec::new()));
        drop(log);
        let broken = End::BrokeOff(vec!["c".to_owned()]);
        assert_eq!(read(place.path()).unwrap().end, broken);
        let mut last = later();
        last.push(finished());
        drop(write(place.path(), last));
        let recording = read(place.path()).unwrap();
        let written = std::fs::read(&path).unwrap();
        assert!(written.starts_with(&whole) && written.ends_with(b"}\n"));
        assert_eq!((recording.unreadable, &recording.end), (0, &broken));
        assert_eq!(recording.name, "harness");
        assert_eq!(recording.replays.len(), 3);
        let summary = recording.summary;
        assert_eq!(summary.results.len(), 3);
        assert_eq!(summary.results[2].verdict, Verdict::Aborted);
        assert_eq!(summary.not_run, []);
        let error = summary.internal_error.as_deref();
        assert_eq!(error, Some("the run broke off during c"));
        assert_eq!(summary.steps.len(), 3);
        assert_eq!(summary.started, Timestamp::from_second(1).ok());
    }

    proptest! {
        #[test]
        fn a_log_that_was_cut_off_anywhere_is_read_as_far_as_it_goes(cut in 0.0..=1.0) {
            let place = place();
            drop(write(place.path(), story(true)));
            let log = place.path().join("events.jsonl");
            let whole = std::fs::read(&log).unwrap();
            let cut = (whole.len() as f64 * cut) as usize;
            std::fs::write(&log, &whole[..cut]).unwrap();
            // A line is whole also where only its newline is missing.
            let mut lines = whole[..cut].iter().filter(|byte| **byte == b'\n').count();
            lines += usize::from(whole.get(cut) == Some(&b'\n'));
            let read = read(place.path());
            if lines < 2 {
                prop_assert!(matches!(read, Err(ReadError::NoRun(_))), "{read:?}");
            } else {
                let recording = read.unwrap();
                prop_assert_eq!(recording.unreadable, 0);
                prop_assert_eq!(recording.end == End::Finished, lines == 9);
                let ended = recording.summary.results.iter();
                let judged = ended.filter(|result| result.verdict != Verdict::Aborted);
                let wanted = [6, 8].iter().filter(|line| lines >= **line).count();
                prop_assert_eq!(judged.count(), wanted);
            }
        }
    }
}
