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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::line::{Channel, Line, Mark};
    use futures_util::stream;
    use proptest::prelude::*;
    use tokio::sync::mpsc;
    use tokio::time::{sleep, timeout};
    use tokio_stream::wrappers::UnboundedReceiverStream;

    fn source(name: &str) -> SourceId {
        SourceId(name.into())
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(1_700_000_000_000 + millis).unwrap()
    }

    fn line(name: &str, millis: i64, text: &str) -> LogEvent {
        LogEvent::Line {
            source: source(name),
            line: Line {
                at: at(millis),
                channel: Channel::Out,
                bytes: text.as_bytes().into(),
            },
        }
    }

    fn mark(name: &str, millis: i64) -> LogEvent {
        LogEvent::Mark {
            source: source(name),
            at: at(millis),
            mark: Mark::Restarted,
        }
    }

    fn text(event: &LogEvent) -> String {
        match event {
            LogEvent::Line { line, .. } => String::from_utf8(line.bytes.to_vec()).unwrap(),
            LogEvent::Mark { .. } => "--".to_owned(),
        }
    }

    async fn merged(sources: Vec<Vec<Result<LogEvent, &'static str>>>) -> Vec<String> {
        let streams = sources.into_iter().map(stream::iter).collect();
        merge(streams)
            .map(|event| event.map_or_else(str::to_owned, |event| text(&event)))
            .collect()
            .await
    }

    #[tokio::test]
    async fn logs_are_merged_by_time_and_then_by_source() {
        let a = vec![
            Ok(line("a", 1, "a1")),
            Ok(line("a", 3, "a3")),
            Ok(line("a", 3, "a3'")),
        ];
        let b = vec![Ok(line("b", 2, "b2")), Ok(line("b", 3, "b3"))];
        assert_eq!(merged(vec![b, a]).await, ["a1", "b2", "a3", "a3'", "b3"]);
        assert_eq!(merged(vec![]).await, [""; 0]);
    }

    #[tokio::test]
    async fn a_source_keeps_its_own_order() {
        let a = vec![
            Ok(line("a", 5, "late")),
            Ok(mark("a", 4)),
            Ok(line("a", 1, "behind")),
        ];
        let b = vec![Ok(line("b", 2, "b2")), Ok(line("b", 6, "b6"))];
        assert_eq!(
            merged(vec![a, b]).await,
            ["b2", "late", "--", "behind", "b6"]
        );
    }

    #[tokio::test]
    async fn an_error_ends_only_its_own_log() {
        let a = vec![Ok(line("a", 1, "a1")), Err("broken")];
        let b = vec![Ok(line("b", 2, "b2")), Ok(line("b", 3, "b3"))];
        let mut told = merged(vec![a, b]).await;
        assert_eq!(told.remove(1), "broken");
        assert_eq!(told, ["a1", "b2", "b3"]);
    }

    fn live() -> (
        mpsc::UnboundedSender<LogEvent>,
        impl Stream<Item = LogEvent>,
    ) {
        let (told, heard) = mpsc::unbounded_channel();
        let ordered = reorder(UnboundedReceiverStream::new(heard), REORDER_WINDOW);
        (told, ordered)
    }

    #[tokio::test(start_paused = true)]
    async fn an_older_line_that_comes_within_the_window_goes_first() {
        let (told, ordered) = live();
        let mut ordered = std::pin::pin!(ordered);
        let began = Instant::now();
        told.send(line("a", 10, "younger")).unwrap();
        let feed = async {
            sleep(REORDER_WINDOW / 2).await;
            told.send(line("b", 5, "older")).unwrap();
            std::future::pending::<()>().await;
        };
        let read = async {
            let first = text(&ordered.next().await.unwrap());
            let second = text(&ordered.next().await.unwrap());
            (first, second)
        };
        tokio::select! {
            () = feed => unreachable!(),
            told = read => assert_eq!(told, ("older".to_owned(), "younger".to_owned())),
        }
        assert_eq!(began.elapsed(), REORDER_WINDOW);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_comes_later_is_not_waited_for() {
        let (told, ordered) = live();
        let mut ordered = std::pin::pin!(ordered);
        told.send(line("a", 10, "younger")).unwrap();
        assert_eq!(text(&ordered.next().await.unwrap()), "younger");
        told.send(line("b", 5, "older")).unwrap();
        assert_eq!(text(&ordered.next().await.unwrap()), "older");
        assert!(timeout(REORDER_WINDOW * 10, ordered.next()).await.is_err());
        drop(told);
        assert_eq!(ordered.next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_stream_releases_what_is_held() {
        let (told, ordered) = live();
        told.send(line("a", 2, "2")).unwrap();
        told.send(line("b", 1, "1")).unwrap();
        drop(told);
        let began = Instant::now();
        let texts: Vec<String> = ordered.map(|event| text(&event)).collect().await;
        assert_eq!(texts, ["1", "2"]);
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_not_held_back_beyond_the_cap() {
        let (told, ordered) = live();
        let mut ordered = std::pin::pin!(ordered);
        for number in 0..=HELD_CAP {
            told.send(line("a", number as i64, "x")).unwrap();
        }
        let began = Instant::now();
        ordered.next().await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO);
        ordered.next().await.unwrap();
        assert_eq!(began.elapsed(), REORDER_WINDOW);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_no_source_is_reordered(
            events in proptest::collection::vec((0usize..3, 0i64..20), 0..60),
        ) {
            let events: Vec<LogEvent> = events
                .into_iter()
                .enumerate()
                .map(|(number, (index, time))| line(["a", "b", "c"][index], time, &number.to_string()))
                .collect();
            let of = |events: &[LogEvent], name: &str| -> Vec<String> {
                let mine = events.iter().filter(|event| *event.source() == source(name));
                mine.map(text).collect()
            };
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            let ordered: Vec<LogEvent> =
                runtime.block_on(reorder(stream::iter(events.clone()), REORDER_WINDOW).collect());
            for name in ["a", "b", "c"] {
                prop_assert_eq!(of(&ordered, name), of(&events, name));
            }
            let split = |name: &str| -> Vec<Result<LogEvent, ()>> {
                let mine = events.iter().filter(|event| *event.source() == source(name));
                mine.cloned().map(Ok).collect()
            };
            let streams = ["a", "b", "c"].map(|name| stream::iter(split(name))).into();
            let all: Vec<Result<LogEvent, ()>> = runtime.block_on(merge(streams).collect());
            let all: Vec<LogEvent> = all.into_iter().map(Result::unwrap).collect();
            for name in ["a", "b", "c"] {
                prop_assert_eq!(of(&all, name), of(&events, name));
            }
        }
    }
}
