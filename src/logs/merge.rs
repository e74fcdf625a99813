//! Several logs as one, ordered by (timestamp, source, sequence).
//!
//! The order within a source is never changed: its lines and marks stay as the engine gave them,
//! even where the timestamps of its two channels are slightly out of order.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::{FutureExt, Stream, StreamExt};
use jiff::Timestamp;
use tokio::time::{Instant, Sleep, sleep_until};

use super::LogEvent;
use crate::domain::line::SourceId;

/// How long a followed line is held back for one of another source that is older.
pub const REORDER_WINDOW: Duration = Duration::from_millis(150);

/// Events that are held back at most: in a flood the oldest go early instead of piling up.
const HELD_CAP: usize = 16 * 1024;

/// Merges finite logs exactly, one stream per source. An error comes as soon as its stream has
/// it, and ends nothing but that stream.
pub fn merge<S, E>(sources: Vec<S>) -> impl Stream<Item = Result<LogEvent, E>> + Send + 'static
where
    S: Stream<Item = Result<LogEvent, E>> + Unpin + Send + 'static,
    E: Send + 'static,
{
    let waiting = (0..sources.len()).collect();
    Merge {
        sources: sources.into_iter().map(Some).collect(),
        waiting,
        heads: BinaryHeap::new(),
    }
}

struct Merge<S> {
    sources: Vec<Option<S>>,
    /// The streams whose next event is not known yet.
    waiting: Vec<usize>,
    heads: BinaryHeap<Reverse<Head>>,
}

struct Head {
    event: LogEvent,
    stream: usize,
}

impl Head {
    fn key(&self) -> (Timestamp, &SourceId, usize) {
        (self.event.at(), self.event.source(), self.stream)
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Head {}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl<S, E> Stream for Merge<S>
where
    S: Stream<Item = Result<LogEvent, E>> + Unpin,
{
    type Item = Result<LogEvent, E>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        // Only when the next event of every stream is known can the first one be told.
        let mut index = 0;
        while let Some(&stream) = this.waiting.get(index) {
            let Some(source) = this.sources.get_mut(stream).and_then(Option::as_mut) else {
                this.waiting.swap_remove(index);
                continue;
            };
            match source.poll_next_unpin(context) {
                Poll::Pending => index += 1,
                Poll::Ready(Some(Ok(event))) => {
                    this.heads.push(Reverse(Head { event, stream }));
                    this.waiting.swap_remove(index);
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => {
                    if let Some(source) = this.sources.get_mut(stream) {
                        *source = None;
                    }
                    this.waiting.swap_remove(index);
                }
            }
        }
        if !this.waiting.is_empty() {
            return Poll::Pending;
        }
        match this.heads.pop() {
            Some(Reverse(head)) => {
                this.waiting.push(head.stream);
                Poll::Ready(Some(Ok(head.event)))
            }
            None => Poll::Ready(None),
        }
    }
}

/// Orders the events of a live stream by holding each back for `window` after it came.
pub fn reorder<S>(events: S, window: Duration) -> impl Stream<Item = LogEvent> + Send + 'static
where
    S: Stream<Item = LogEvent> + Send + 'static,
{
    Reorder {
        events: Some(events.boxed()),
        window,
        held: BTreeMap::new(),
        arrivals: VecDeque::new(),
        newest: HashMap::new(),
        sequence: 0,
        timer: None,
    }
}

/// Where an event stands. A source's own order holds: the timestamp is never below the one
/// before it in the same source.
type Place = (Timestamp, SourceId, u64);

struct Reorder {
    events: Option<Pin<Box<dyn Stream<Item = LogEvent> + Send>>>,
    window: Duration,
    held: BTreeMap<Place, LogEvent>,
    /// When each event may go, in the order of arrival; some of them went earlier.
    arrivals: VecDeque<(Instant, Place)>,
    newest: HashMap<SourceId, Timestamp>,
    sequence: u64,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Reorder {
    fn hold(&mut self, event: LogEvent) {
        let newest = self
            .newest
            .entry(event.source().clone())
            .or_insert(Timestamp::MIN);
        *newest = event.at().max(*newest);
        let place = (*newest, event.source().clone(), self.sequence);
        self.sequence += 1;
        self.arrivals
            .push_back((Instant::now() + self.window, place.clone()));
        self.held.insert(place, event);
    }

    /// The next event that need not wait any longer. One that is due takes with it everything
    /// that stands before it.
    fn release(&mut self) -> Option<LogEvent> {
        while let Some((_, place)) = self.arrivals.front()
            && !self.held.contains_key(place)
        {
            self.arrivals.pop_front();
        }
        let due = self.events.is_none()
            || self.held.len() > HELD_CAP
            || self
                .arrivals
                .front()
                .is_some_and(|(due, _)| *due <= Instant::now());
        if !due {
            return None;
        }
        self.held.pop_first().map(|(_, event)| event)
    }
}

impl Stream for Reorder {
    type Item = LogEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        // Read before releasing, or a burst that is already there would not be ordered.
        while let Some(events) = &mut this.events
            && this.held.len() <= HELD_CAP
        {
            match events.poll_next_unpin(context) {
                Poll::Ready(Some(event)) => this.hold(event),
                Poll::Ready(None) => this.events = None,
                Poll::Pending => break,
            }
        }
        loop {
            if let Some(event) = this.release() {
                return Poll::Ready(Some(event));
            }
            let Some((due, _)) = this.arrivals.front() else {
                return match this.events {
                    Some(_) => Poll::Pending,
                    None => Poll::Ready(None),
                };
            };
            let timer = this
                .timer
                .get_or_insert_with(|| Box::pin(sleep_until(*due)));
            if timer.deadline() != *due {
                timer.as_mut().reset(*due);
            }
            ready!(timer.poll_unpin(context));
        }
    }
}
