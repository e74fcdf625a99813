//! The way from a run to whoever watches it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::domain::run::{RunEvent, RunEventKind, Summary};

/// How many lines of output may wait for the watcher. A run is never slowed down by its screen:
/// beyond this a line is left out of the stream (never out of the output kept on disk).
const WAITING_LINES: usize = 8 * 1024;

/// Sends events, and folds them into the summary on the way.
pub(super) struct Sink {
    events: mpsc::UnboundedSender<RunEvent>,
    waiting: Arc<AtomicUsize>,
    left_out: usize,
    began: Instant,
    pub(super) summary: Summary,
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

impl Sink {
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
        // Nobody watches any more; the work goes on.
        let _ = self.events.send(event);
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
}
