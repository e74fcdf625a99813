//! The way from a run to its event log and to whoever watches it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::codec::Header;
use crate::domain::hook::Step;
use crate::domain::run::{RunEvent, RunEventKind, Summary};
use crate::record::EventLog;

/// How many lines of output may wait for the watcher. A run is never slowed down by its screen:
/// beyond this a line is left out of the stream (never out of the output kept on disk).
const WAITING_LINES: usize = 8 * 1024;

/// Sends events; on the way it writes them down and folds them into the summary.
pub(super) struct Sink {
    log: Log,
    events: mpsc::UnboundedSender<RunEvent>,
    waiting: Arc<AtomicUsize>,
    left_out: usize,
    began: Instant,
    pub(super) summary: Summary,
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
    let sink = Sink {
        log: Log::Waiting(Vec::new()),
        events: sender,
        waiting: waiting.clone(),
        left_out: 0,
        began: Instant::now(),
        summary: Summary::default(),
    };
    let events = RunEvents {
        events: receiver,
        waiting,
    };
    (sink, events)
}

fn is_output(kind: &RunEventKind) -> bool {
    matches!(
        kind,
        RunEventKind::ReplayOutput { .. } | RunEventKind::StepOutput { .. }
    )
}

/// Output is kept in files of its own, and a hook's progress is made of its output.
fn is_written_down(kind: &RunEventKind) -> bool {
    match kind {
        RunEventKind::StepProgress { step, .. } => *step == Step::Ready,
        kind => !is_output(kind),
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
        let waiting = std::mem::replace(&mut self.log, Log::Closed);
        let (Some(directory), Log::Waiting(events)) = (directory, waiting) else {
            return;
        };
        let opened = EventLog::create(directory, header).and_then(|mut log| {
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

    /// A full disk does not end a run; it is said once.
    fn say_unrecorded(&mut self, error: &std::io::Error) {
        self.log = Log::Closed;
        self.send(RunEventKind::Note(format!(
            "what happens from here on is not written down for later reports: {error}"
        )));
    }

    pub(super) fn emit(&mut self, kind: RunEventKind) {
        if is_output(&kind) {
            if self.waiting.load(Ordering::Relaxed) >= WAITING_LINES {
                self.left_out += 1;
                return;
            }
            self.waiting.fetch_add(1, Ordering::Relaxed);
        } else if self.left_out > 0 {
            let left_out = std::mem::take(&mut self.left_out);
            self.send(RunEventKind::Note(format!(
                "{left_out} lines of output came faster than they could be shown; \
                 the complete output is with the run"
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
        // Nobody watches any more; the work goes on.
        let _ = self.events.send(event);
        if let Err(error) = written {
            self.say_unrecorded(&error);
        }
    }

    pub(super) fn finish(mut self) {
        let summary = Box::new(self.summary.clone());
        self.send(RunEventKind::Finished(summary));
    }
}

impl RunEvents {
    /// The next event; `None` after the last.
    pub async fn next(&mut self) -> Option<RunEvent> {
        let event = self.events.recv().await?;
        if is_output(&event.kind) {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
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

    #[tokio::test]
    async fn a_flood_is_thinned_for_the_watcher_and_said() {
        let (mut sink, mut events) = channel();
        for _ in 0..WAITING_LINES + 5 {
            sink.emit(RunEventKind::ReplayOutput {
                replay: ReplayName::new("a"),
                line: Arc::from(*b"x"),
            });
        }
        sink.finish();
        let mut lines = 0;
        let mut last = None;
        while let Some(event) = events.next().await {
            lines += usize::from(is_output(&event.kind));
            last = Some(event.kind);
        }
        assert_eq!(lines, WAITING_LINES);
        assert!(matches!(last, Some(RunEventKind::Finished(_))));
    }

    #[tokio::test]
    async fn what_was_left_out_is_counted() {
        let (mut sink, mut events) = channel();
        for _ in 0..WAITING_LINES + 5 {
            sink.emit(RunEventKind::ReplayOutput {
                replay: ReplayName::new("a"),
                line: Arc::from(*b"x"),
            });
        }
        sink.emit(RunEventKind::Note("after".to_owned()));
        drop(sink);
        let mut notes = Vec::new();
        while let Some(event) = events.next().await {
            if let RunEventKind::Note(note) = event.kind {
                notes.push(note);
            }
        }
        assert!(notes[0].starts_with("5 lines"), "{notes:?}");
    }

    fn output(name: &str) -> RunEventKind {
        RunEventKind::ReplayOutput {
            replay: ReplayName::new(name),
            line: Arc::from(*b"x"),
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
        sink.emit(output("a"));
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
        sink.log = Log::Open(EventLog::on(full.unwrap()));
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
            notes.len() == 1 && notes[0].contains("not written down"),
            "{notes:?}"
        );
    }
}
