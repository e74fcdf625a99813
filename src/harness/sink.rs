//! The way from a run to its event log and to whoever watches it.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::codec::Header;
use crate::domain::hook::Step;
use crate::domain::output::OutputLines;
use crate::domain::run::{RunEvent, RunEventKind, Summary};
use crate::record::EventLog;

/// How much output, and how many bytes of events that carry it, may wait for the watcher. A run is
/// never slowed down by its screen: what comes beyond this is left out of the stream (never out of the
/// output kept on disk).
const WAITING_OUTPUT: usize = 1024 * 1024;

/// Sends events; on the way it writes them down and folds them into the summary.
pub(super) struct Sink(Arc<Mutex<Shared>>);

/// Tells notes of a run from wherever they come up, when they do. Cheap to clone.
#[derive(Clone)]
pub(super) struct Notes(Arc<Mutex<Shared>>);

struct Shared {
    log: Log,
    /// `None` behind the last.
    events: Option<mpsc::UnboundedSender<RunEvent>>,
    waiting: Arc<AtomicUsize>,
    left_out: usize,
    /// Outputs go into files.
    is_kept: bool,
    began: Instant,
    /// It has been said that the log is not complete.
    says_unrecorded: bool,
    summary: Summary,
}

/// Where events are written down.
enum Log {
    /// There is no place yet: what has happened so far.
    Waiting(Vec<RunEvent>),
    Open(EventLog),
    /// There will be none.
    Closed,
}

/// The events of a run, in order, until [`RunEventKind::Finished`].
///
/// Dropping it does not stop the run: a teardown has to come to its end.
#[derive(Debug)]
pub struct RunEvents {
    events: mpsc::UnboundedReceiver<RunEvent>,
    waiting: Arc<AtomicUsize>,
}

pub(super) fn channel() -> (Sink, RunEvents) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    let shared = Shared {
        log: Log::Waiting(Vec::new()),
        events: Some(sender),
        waiting: waiting.clone(),
        left_out: 0,
        is_kept: false,
        began: Instant::now(),
        says_unrecorded: false,
        summary: Summary::default(),
    };
    let events = RunEvents {
        events: receiver,
        waiting,
    };
    (Sink(Arc::new(Mutex::new(shared))), events)
}

/// A panic while it was held has left nothing half done that matters more than the rest of the run.
fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn output(kind: &RunEventKind) -> Option<&OutputLines> {
    match kind {
        RunEventKind::ReplayOutput { lines, .. } | RunEventKind::StepOutput { lines, .. } => {
            Some(lines)
        }
        _ => None,
    }
}

/// What counts for [`WAITING_OUTPUT`], in bytes: an event of an empty line takes room as well.
/// `None`: it is never left out.
fn weight(kind: &RunEventKind) -> Option<usize> {
    let text = match kind {
        // Whoever watches has seen it in the hook's output.
        RunEventKind::StepProgress { step, progress } if *step != Step::Ready => {
            progress.waiting_for.len()
        }
        kind => output(kind)?.size(),
    };
    Some(text + size_of::<RunEvent>())
}

/// Output is kept in files of its own, and a hook's progress is made of its output.
fn is_written_down(kind: &RunEventKind) -> bool {
    match kind {
        RunEventKind::StepProgress { step, .. } => *step == Step::Ready,
        kind => output(kind).is_none(),
    }
}

impl Log {
    fn append(&mut self, event: &RunEvent) -> std::io::Result<()> {
        match self {
            Self::Waiting(events) => events.push(event.clone()),
            Self::Open(log) => log.append(event)?,
            Self::Closed => {}
        }
        Ok(())
    }
}

impl Sink {
    /// From now on events are written down in the directory of the run, those that have been first;
    /// without a directory, none is.
    pub(super) fn record(&mut self, directory: Option<&Path>, header: &Header) {
        lock(&self.0).record(directory, header);
    }

    pub(super) fn emit(&mut self, kind: RunEventKind) {
        lock(&self.0).emit(kind);
    }

    /// Asks what has come of the run so far. Nothing can be emitted meanwhile.
    pub(super) fn summary<T>(&self, ask: impl FnOnce(&Summary) -> T) -> T {
        ask(&lock(&self.0).summary)
    }

    pub(super) fn notes(&self) -> Notes {
        Notes(Arc::clone(&self.0))
    }

    pub(super) fn finish(self) {
        lock(&self.0).finish();
    }
}

impl Notes {
    /// Nothing comes behind the end of the run.
    pub(super) fn tell(&self, note: String) {
        let mut shared = lock(&self.0);
        if shared.events.is_some() {
            shared.emit(RunEventKind::Note(note));
        }
    }
}

impl Shared {
    fn record(&mut self, directory: Option<&Path>, header: &Header) {
        self.is_kept = directory.is_some();
        let waiting = std::mem::replace(&mut self.log, Log::Closed);
        let (Some(directory), Log::Waiting(events)) = (directory, waiting) else {
            return;
        };
        let opened = EventLog::open(directory, header).and_then(|mut log| {
            for event in &events {
                log.append(event)?;
            }
            Ok(log)
        });
        match opened {
            Ok(log) => self.log = Log::Open(log),
            Err(error) => self.say_unrecorded(&error),
        }
    }

    /// A full disk does not end a run; it is said once. What comes later may find room again.
    fn say_unrecorded(&mut self, error: &std::io::Error) {
        if std::mem::replace(&mut self.says_unrecorded, true) {
            return;
        }
        self.send(RunEventKind::Note(format!(
            "not all that happens is written down for later reports: {error}"
        )));
    }

    fn emit(&mut self, kind: RunEventKind) {
        if let Some(weight) = weight(&kind) {
            if self.waiting.load(Ordering::Relaxed) >= WAITING_OUTPUT {
                self.left_out += output(&kind).map_or(0, OutputLines::count);
                return;
            }
            self.waiting.fetch_add(weight, Ordering::Relaxed);
        } else if self.left_out > 0 {
            let left_out = std::mem::take(&mut self.left_out);
            let kept = if self.is_kept {
                "the files of the run have them, as far as their cap allows"
            } else {
                "this run keeps no files that would have them"
            };
            self.send(RunEventKind::Note(format!(
                "{left_out} lines of output came faster than they could be shown; {kept}"
            )));
        }
        self.send(kind);
    }

    fn send(&mut self, kind: RunEventKind) {
        let event = RunEvent {
            at: Timestamp::now(),
            offset: self.began.elapsed(),
            kind,
        };
        self.summary.fold(&event);
        let written = if is_written_down(&event.kind) {
            self.log.append(&event)
        } else {
            Ok(())
        };
        if let Some(events) = &self.events {
            // Nobody watches any more; the work goes on.
            let _ = events.send(event);
        }
        if let Err(error) = written {
            self.say_unrecorded(&error);
        }
    }

    fn finish(&mut self) {
        let summary = Box::new(self.summary.clone());
        self.send(RunEventKind::Finished(summary));
        // Also where somebody could still tell notes.
        self.events = None;
    }
}

impl RunEvents {
    /// The next event; `None` after the last.
    pub async fn next(&mut self) -> Option<RunEvent> {
        let event = self.events.recv().await?;
        if let Some(weight) = weight(&event.kind) {
            self.waiting.fetch_sub(weight, Ordering::Relaxed);
        }
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::hook::Progress;
    use crate::domain::id::RunId;
    use crate::domain::replay::ReplayName;

    /// As much as may wait, and five times two lines more.
    fn flood(sink: &mut Sink) {
        let text = [b'x'; 1024];
        for _ in 0..as_many_as_wait(text.len()) {
            sink.emit(output_of(&text));
        }
        for _ in 0..5 {
            sink.emit(output_of(b"a\nb"));
        }
    }

    /// Events with so much text.
    fn as_many_as_wait(text: usize) -> usize {
        WAITING_OUTPUT.div_ceil(text + size_of::<RunEvent>())
    }

    fn output_of(text: &[u8]) -> RunEventKind {
        RunEventKind::ReplayOutput {
            replay: ReplayName::new("a"),
            lines: OutputLines::new(text),
        }
    }

    #[tokio::test]
    async fn a_flood_is_thinned_for_the_watcher_and_said() {
        let (mut sink, mut events) = channel();
        flood(&mut sink);
        sink.finish();
        let mut shown = 0;
        let mut last = None;
        while let Some(event) = events.next().await {
            shown += usize::from(output(&event.kind).is_some());
            last = Some(event.kind);
        }
        assert_eq!(shown, as_many_as_wait(1024));
        assert_eq!(events.waiting.load(Ordering::Relaxed), 0);
        assert!(matches!(last, Some(RunEventKind::Finished(_))));
    }

    #[tokio::test]
    async fn what_was_left_out_is_counted() {
        let (mut sink, mut events) = channel();
        flood(&mut sink);
        sink.emit(RunEventKind::Note("after".to_owned()));
        drop(sink);
        let mut notes = Vec::new();
        while let Some(event) = events.next().await {
            if let RunEventKind::Note(note) = event.kind {
                notes.push(note);
            }
        }
        assert!(notes[0].starts_with("10 lines"), "{notes:?}");
        assert!(notes[0].contains("keeps no files"), "{notes:?}");
    }

    #[tokio::test]
    async fn empty_lines_and_progress_are_thinned_too() {
        let progress = || RunEventKind::StepProgress {
            step: Step::Up,
            progress: Progress {
                done: 1,
                total: None,
                waiting_for: String::new(),
            },
        };
        for kind in [output_of(b""), progress()] {
            let (mut sink, mut events) = channel();
            let room = as_many_as_wait(0);
            for _ in 0..2 * room {
                sink.emit(kind.clone());
            }
            drop(sink);
            let mut shown = 0;
            while events.next().await.is_some() {
                shown += 1;
            }
            assert_eq!(shown, room);
        }
    }

    fn started() -> RunEventKind {
        RunEventKind::Started {
            run: RunId::new(Timestamp::UNIX_EPOCH, 1),
            replays: Vec::new(),
            stacks: Vec::new(),
        }
    }

    async fn notes(mut events: RunEvents) -> Vec<String> {
        let mut notes = Vec::new();
        while let Some(event) = events.next().await {
            if let RunEventKind::Note(note) = event.kind {
                notes.push(note);
            }
        }
        notes
    }

    #[test]
    fn everything_but_output_is_written_down_also_what_came_first() {
        let dir = tempfile::tempdir().unwrap();
        let (mut sink, _events) = channel();
        sink.emit(started());
        sink.emit(RunEventKind::Note("early".to_owned()));
        sink.record(Some(dir.path()), &Header::default());
        sink.emit(RunEventKind::StepStarted { step: Step::Up });
        sink.emit(output_of(b"x"));
        let progress = |step| RunEventKind::StepProgress {
            step,
            progress: Progress {
                done: 1,
                total: None,
                waiting_for: "postgres".to_owned(),
            },
        };
        sink.emit(progress(Step::Up));
        sink.emit(progress(Step::Ready));
        let text = || std::fs::read_to_string(dir.path().join("events.jsonl")).unwrap();
        let names = |text: &str| -> Vec<String> {
            let value = |line| serde_json::from_str::<serde_json::Value>(line).unwrap();
            let lines = text.lines().map(value);
            lines
                .map(|value| value["event"].as_str().unwrap().to_owned())
                .collect()
        };
        // Before anything else happens, and before the run is over.
        let wanted = [
            "recording",
            "started",
            "note",
            "step_started",
            "step_progress",
        ];
        assert_eq!(names(&text()), wanted);
        sink.finish();
        assert_eq!(names(&text()).last().unwrap(), "finished");
    }

    #[tokio::test]
    async fn a_disk_that_is_full_is_said_once_and_ends_nothing() {
        let (mut sink, events) = channel();
        let full = std::fs::File::options().write(true).open("/dev/full");
        lock(&sink.0).log = Log::Open(EventLog::on(full.unwrap()));
        sink.emit(started());
        sink.emit(RunEventKind::Note("after".to_owned()));
        sink.finish();
        let notes = notes(events).await;
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes[0].contains("No space left"), "{notes:?}");
        assert_eq!(notes[1], "after");
    }

    #[tokio::test]
    async fn a_log_that_cannot_be_made_is_said_once() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("events.jsonl")).unwrap();
        let (mut sink, events) = channel();
        sink.emit(started());
        sink.record(Some(dir.path()), &Header::default());
        sink.record(None, &Header::default());
        sink.finish();
        let notes = notes(events).await;
        assert!(
            notes.len() == 1 && notes[0].contains("written down"),
            "{notes:?}"
        );
    }
}
