//! A piece of one container's log on demand: what was never read, or was dropped since.
//!
//! The engine can give the last so many records, or go through everything since a whole second.
//! So a piece further back comes from a window that reaches to the present end, and reading stops
//! behind the piece.
//!
//! Pieces are cut at timestamps, and all lines of one timestamp stay together: a line can be told
//! from the others of its timestamp by its number among them, and so what pieces have in common
//! can be told too. That is why the first lines of a window may not count: it may begin inside a
//! long line, or behind others of the same timestamp.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use futures_util::{Stream, StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::Assembly;
use crate::domain::container::State;
use crate::domain::id::ContainerId;
use crate::domain::line::{Channel, LineBatch};
use crate::engine::{Engine, EngineError, LogRequest, Tail};

/// How far the timestamps of the two channels may be out of order: a line is stamped a moment
/// before it is written.
const DISORDER: SignedDuration = SignedDuration::from_millis(100);

/// Lines and bytes of an event.
const BATCH_LINES: usize = 2048;
const BATCH_BYTES: usize = 256 << 10;
/// Events between the task that reads and whoever takes them.
const CAPACITY: usize = 4;
/// How often a window that turns out too short is made four times as large, before the whole log
/// is read.
const ENLARGED: u32 = 3;

/// Which piece of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// What stands right before `before`, and the lines of that time.
    Backward {
        before: Timestamp,
        /// The records from there to the end of the log, as far as is known. A line takes one for
        /// every 16 KiB that it has begun.
        records_after: u64,
        /// About how many lines. There may be more or fewer, and there are some older than `before`
        /// if the log has any.
        want: u32,
    },
    /// Everything from the log's beginning to the lines of the time `before`.
    Whole { before: Timestamp },
    /// From the lines of the time `after` on. Costs the engine a pass through the whole log.
    Forward {
        after: Timestamp,
        /// To the lines of that time; `None`: to the present end.
        before: Option<Timestamp>,
        /// The first timestamp behind `after` that makes it that many bytes or more is the last.
        limit: usize,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageEvent {
    /// In the order of the log. All lines of a timestamp are there or none. Where the two channels
    /// are out of order at a border, a few lines beyond it come along.
    Lines(LineBatch),
    /// The last event.
    End {
        /// The first of the lines was the first that the engine has (any more).
        reached_start: bool,
        /// The lines go up to the piece's `before`, or to the end of the log.
        reached_before: bool,
    },
}

/// Reads a piece. An error is the last item. Reading ends when the stream is dropped. To be
/// called within a tokio runtime.
///
/// A line that a running container has not completed is left out.
pub fn page(
    engine: Arc<dyn Engine>,
    container: ContainerId,
    piece: Piece,
) -> impl Stream<Item = Result<PageEvent, EngineError>> + Send + 'static {
    let (told, heard) = mpsc::channel(CAPACITY);
    let reader = Reader {
        engine,
        container,
        told,
    };
    let reading = AbortOnDropHandle::new(tokio::spawn(reader.run(piece)));
    stream::unfold((heard, reading), async |(mut heard, reading)| {
        let event = heard.recv().await?;
        Some((event, (heard, reading)))
    })
}

/// The timestamp behind which a window that begins somewhere in a log has every line whole and
/// none missing, but for lines of the other channel that are out of order. `None` without a line.
pub(super) fn whole_after(
    lines: impl IntoIterator<Item = (Timestamp, Channel)>,
) -> Option<Timestamp> {
    let mut lines = lines.into_iter();
    let (begin, first) = lines.next()?;
    // The first may be the end of a line that was begun long ago.
    let mut second = None;
    for (at, channel) in lines {
        if channel != first {
            // Its own first lines may be cut as well.
            return Some(begin.max(at));
        }
        if at != begin && at > later(*second.get_or_insert(at)) {
            break;
        }
    }
    Some(begin)
}

fn later(at: Timestamp) -> Timestamp {
    at.checked_add(DISORDER).unwrap_or(Timestamp::MAX)
}

fn earlier(at: Timestamp) -> Timestamp {
    at.checked_sub(DISORDER).unwrap_or(Timestamp::MIN)
}

struct Reader {
    engine: Arc<dyn Engine>,
    container: ContainerId,
    told: mpsc::Sender<Result<PageEvent, EngineError>>,
}

impl Reader {
    async fn run(self, piece: Piece) {
        let end = match piece {
            Piece::Backward {
                before,
                records_after,
                want,
            } => self.backward(before, records_after, want).await,
            Piece::Whole { before } => {
                let mut window = Window::new(None, Some(before), usize::MAX);
                let request = request(Tail::All, None);
                self.stream(request, &mut window)
                    .await
                    .map(|()| window.end(true))
            }
            Piece::Forward {
                after,
                before,
                limit,
            } => {
                let mut window = Window::new(Some(after), before, limit);
                let request = request(Tail::All, Some(earlier(after)));
                self.stream(request, &mut window)
                    .await
                    .map(|()| window.end(false))
            }
        };
        // Nobody listens any more, or this is the last that there is to hear.
        let _ = self.told.send(end).await;
    }

    /// Sends everything that a window lets through.
    async fn stream(&self, request: LogRequest, window: &mut Window) -> Result<(), EngineError> {
        let mut records = self.engine.logs(&self.container, request);
        while !window.settled
            && let Some(batch) = records.next().await
        {
            window.take(&batch?);
            self.send(window.drain()).await;
        }
        if !window.settled {
            self.finish(window).await?;
        }
        window.close();
        self.send(window.drain()).await;
        Ok(())
    }

    async fn backward(
        &self,
        before: Timestamp,
        records_after: u64,
        want: u32,
    ) -> Result<PageEvent, EngineError> {
        let want = want.max(1);
        let mut enlarged = 0;
        loop {
            let factor = 4_u32.saturating_pow(enlarged);
            let records = records_after
                .saturating_add(u64::from(want))
                .saturating_mul(u64::from(factor));
            let tail = match u32::try_from(records) {
                Ok(records) if enlarged <= ENLARGED => Tail::Last(records),
                _ => Tail::All,
            };
            let want = want.saturating_mul(factor) as usize;
            let mut window = Window::new(None, Some(before), usize::MAX);
            let mut beginning = Beginning::new(want);
            let whole = self.collect(tail, &mut window, &mut beginning).await?;
            let reached_start = whole && !beginning.cut;
            let lines = beginning.lines(reached_start);
            let found = lines
                .iter()
                .flat_map(LineBatch::iter)
                .any(|(at, ..)| at < before);
            if !found && !reached_start && tail != Tail::All {
                enlarged += 1;
                continue;
            }
            self.send(lines).await;
            return Ok(window.end(reached_start));
        }
    }

    /// Reads a window that ends at the present end; tells whether it begins with the log. What it
    /// holds behind the piece is not read unless there is little before.
    async fn collect(
        &self,
        tail: Tail,
        window: &mut Window,
        beginning: &mut Beginning,
    ) -> Result<bool, EngineError> {
        let mut batches = self.engine.logs(&self.container, request(tail, None));
        let mut records = 0;
        let mut ended = true;
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            records += batch.len();
            if !window.settled {
                window.take(&batch);
                beginning.push(window.drain());
            }
            let enough =
                tail == Tail::All || beginning.cut || beginning.count >= beginning.want / 2;
            if window.settled && enough {
                ended = false;
                break;
            }
        }
        if !window.settled {
            self.finish(window).await?;
        }
        window.close();
        beginning.push(window.drain());
        Ok(match tail {
            Tail::All => true,
            Tail::Last(wanted) => ended && records < wanted as usize,
        })
    }

    /// The log ends before the piece does. What has no newline there is a line if nothing can be
    /// added to it.
    async fn finish(&self, window: &mut Window) -> Result<(), EngineError> {
        if window.assembly.pending().is_none() {
            return Ok(());
        }
        let inspect = self.engine.inspect(&self.container).await?;
        let running = matches!(inspect.container.state, State::Running | State::Paused);
        let open_since = inspect.detail().started.filter(|_| running);
        for (at, channel, bytes) in std::mem::take(&mut window.assembly).finish().iter() {
            if open_since.is_none_or(|started| at < started) {
                window.cut.take(at, channel, bytes);
            }
        }
        Ok(())
    }

    async fn send(&self, batches: impl IntoIterator<Item = LineBatch>) {
        for batch in batches {
            if !batch.is_empty() {
                // Where nobody listens any more this task is about to be dropped.
                let _ = self.told.send(Ok(PageEvent::Lines(batch))).await;
            }
        }
    }
}

fn request(tail: Tail, since: Option<Timestamp>) -> LogRequest {
    LogRequest {
        tail,
        since,
        follow: false,
    }
}

/// What is kept of the lines before a border: the last ones, whose beginning is known in the end.
struct Beginning {
    want: usize,
    batches: VecDeque<LineBatch>,
    count: usize,
    /// Older ones were let go.
    cut: bool,
}

impl Beginning {
    fn new(want: usize) -> Self {
        Self {
            want,
            batches: VecDeque::new(),
            count: 0,
            cut: false,
        }
    }

    fn push(&mut self, batches: impl IntoIterator<Item = LineBatch>) {
        for batch in batches {
            self.count += batch.len();
            self.batches.push_back(batch);
        }
        while let Some(oldest) = self.batches.front()
            && self.count - oldest.len() > self.want
        {
            self.count -= oldest.len();
            self.batches.pop_front();
            self.cut = true;
        }
    }

    /// The lines, without those that may be cut or not all there.
    fn lines(self, reached_start: bool) -> Vec<LineBatch> {
        let lines = self.batches.iter().flat_map(LineBatch::iter);
        let border = whole_after(lines.map(|(at, channel, _)| (at, channel)));
        match border {
            Some(border) if !reached_start => self
                .batches
                .iter()
                .map(|batch| {
                    let mut whole = LineBatch::default();
                    whole.extend(batch.iter().filter(|(at, ..)| *at > border));
                    whole
                })
                .collect(),
            _ => self.batches.into(),
        }
    }
}

/// The lines of a piece among those of a window.
struct Window {
    assembly: Assembly,
    cut: Cut,
    /// Nothing that comes now belongs to the piece.
    settled: bool,
}

impl Window {
    fn new(after: Option<Timestamp>, before: Option<Timestamp>, limit: usize) -> Self {
        Self {
            assembly: Assembly::default(),
            cut: Cut {
                head: after.map(|after| Head {
                    after,
                    held: LineBatch::default(),
                    first: None,
                    border: Border::default(),
                }),
                after,
                before,
                limit,
                limited: false,
                newest: None,
                passed: false,
                held: LineBatch::default(),
                reach: before,
                border: Border::default(),
                ready: VecDeque::new(),
            },
            settled: false,
        }
    }

    fn take(&mut self, records: &LineBatch) {
        for (at, channel, bytes) in records.iter() {
            let cut = &mut self.cut;
            self.assembly
                .push(at, channel, bytes, |at, channel, bytes| {
                    cut.take(at, channel, bytes);
                });
            if self.cut.is_settled(self.assembly.pending()) {
                self.settled = true;
                return;
            }
        }
    }

    /// Nothing more comes.
    fn close(&mut self) {
        self.cut.close();
    }

    fn drain(&mut self) -> Vec<LineBatch> {
        self.cut.ready.drain(..).collect()
    }

    fn end(&self, reached_start: bool) -> PageEvent {
        PageEvent::End {
            reached_start,
            reached_before: !self.cut.limited,
        }
    }
}

/// Cuts a piece out of the lines of a log. At both ends it waits until no line out of order can
/// come any more.
struct Cut {
    /// Until the piece's first lines are known.
    head: Option<Head>,
    after: Option<Timestamp>,
    before: Option<Timestamp>,
    limit: usize,
    /// `before` is where the limit was reached.
    limited: bool,
    /// The latest timestamp of the piece so far.
    newest: Option<Timestamp>,
    /// A line behind `before` has come by.
    passed: bool,
    /// That line, and all that came after it.
    held: LineBatch,
    /// The latest time of which there may be lines in the piece.
    reach: Option<Timestamp>,
    border: Border,
    ready: VecDeque<LineBatch>,
}

struct Head {
    after: Timestamp,
    /// All lines since a moment before `after`.
    held: LineBatch,
    /// Where in it the first line of the piece is.
    first: Option<usize>,
    border: Border,
}

/// How far each channel has come: within one, timestamps do not decrease.
#[derive(Default)]
struct Border {
    out: Option<Timestamp>,
    err: Option<Timestamp>,
}

impl Border {
    fn pass(&mut self, at: Timestamp, channel: Channel) {
        match channel {
            Channel::Out => self.out = Some(at),
            Channel::Err => self.err = Some(at),
        }
    }

    /// Whether no line up to that time can come any more.
    fn is_beyond(&self, reach: Timestamp) -> bool {
        let far = later(reach);
        let both = self.out.min(self.err).is_some_and(|at| at > reach);
        both || self.out.max(self.err).is_some_and(|at| at > far)
    }
}

impl Cut {
    fn take(&mut self, at: Timestamp, channel: Channel, bytes: &[u8]) {
        let Some(head) = &mut self.head else {
            return self.take_on(at, channel, bytes);
        };
        if at < earlier(head.after) {
            return;
        }
        if at >= head.after {
            head.first.get_or_insert(head.held.len());
        }
        head.held.push(at, channel, bytes);
        head.border.pass(at, channel);
        if head.border.is_beyond(head.after) {
            self.leave_head();
        }
    }

    /// Lines before `after` belong to the piece where they, or others of their time, stand behind
    /// its first line.
    fn leave_head(&mut self) {
        let Some(head) = self.head.take() else { return };
        let Some(first) = head.first else { return };
        let late: BTreeSet<Timestamp> = head
            .held
            .iter()
            .skip(first)
            .map(|(at, ..)| at)
            .filter(|at| *at < head.after)
            .collect();
        for (at, channel, bytes) in head.held.iter() {
            if at >= head.after || late.contains(&at) {
                self.take_on(at, channel, bytes);
            }
        }
    }

    fn take_on(&mut self, at: Timestamp, channel: Channel, bytes: &[u8]) {
        let beyond = self.before.is_some_and(|before| at > before);
        self.border.pass(at, channel);
        if !self.passed && !beyond {
            self.give(at, channel, bytes);
            return;
        }
        if self.passed && !beyond {
            // Whatever stands before it is in the piece.
            let reach = self.held.iter().map(|(at, ..)| at).max();
            self.reach = self.reach.max(reach);
        }
        self.passed = true;
        self.held.push(at, channel, bytes);
    }

    fn give(&mut self, at: Timestamp, channel: Channel, bytes: &[u8]) {
        let full = self.ready.back().is_none_or(|batch| {
            batch.len() >= BATCH_LINES || batch.bytes() + bytes.len() > BATCH_BYTES
        });
        if full {
            self.ready.push_back(LineBatch::default());
        }
        if let Some(batch) = self.ready.back_mut() {
            batch.push(at, channel, bytes);
        }
        self.limit = self.limit.saturating_sub(bytes.len());
        self.newest = self.newest.max(Some(at));
        let within = self.newest > self.after && self.before.is_none_or(|before| at < before);
        if self.limit == 0 && !self.limited && within {
            self.limited = true;
            self.before = self.newest;
            self.reach = self.newest;
        }
    }

    /// Whether all of the piece has come by. A line of which a part is `pending` has not.
    fn is_settled(&self, pending: Option<Timestamp>) -> bool {
        self.passed
            && self.reach.is_some_and(|reach| {
                self.border.is_beyond(reach) && pending.is_none_or(|pending| pending > reach)
            })
    }

    fn close(&mut self) {
        self.leave_head();
        let Some(before) = self.before else { return };
        let held = std::mem::take(&mut self.held);
        let last = held.iter().rposition(|(at, ..)| at <= before);
        let Some(last) = last else { return };
        let early: BTreeSet<Timestamp> = held.iter().take(last).map(|(at, ..)| at).collect();
        for (at, channel, bytes) in held.iter() {
            if at <= before || early.contains(&at) {
                self.give(at, channel, bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::line::{Line, Part};
    use crate::engine::fake::{Call, FakeContainer, FakeEngine};
    use proptest::prelude::*;

    /// A log's time, in steps of 20 ms. Those of the two channels are never the same.
    fn at(step: i64, channel: Channel) -> Timestamp {
        let own = i64::from(channel == Channel::Err);
        let nanoseconds = 1_700_000_000_000_000_000 + i128::from(step * 20_000_000 + own);
        Timestamp::from_nanosecond(nanoseconds).unwrap()
    }

    fn part(step: i64, channel: Channel, text: &str) -> Part {
        Part {
            at: at(step, channel),
            channel,
            bytes: text.as_bytes().to_vec(),
        }
    }

    fn engine(parts: &[Part]) -> (FakeEngine, ContainerId) {
        let engine = FakeEngine::new();
        let id = engine.run(FakeContainer::new("a"));
        engine.record(&id, parts.to_vec());
        engine.die(&id, 0);
        (engine, id)
    }

    fn assembled(parts: &[Part]) -> Vec<Line> {
        let mut assembly = Assembly::default();
        let mut lines = LineBatch::default();
        for part in parts {
            assembly.push(part.at, part.channel, &part.bytes, |at, channel, bytes| {
                lines.push(at, channel, bytes);
            });
        }
        lines.extend(assembly.finish().iter());
        lines.lines().collect()
    }

    struct Read {
        lines: Vec<Line>,
        reached_start: bool,
        reached_before: bool,
    }

    async fn read(engine: &FakeEngine, id: &ContainerId, piece: Piece) -> Read {
        let mut events = Box::pin(page(Arc::new(engine.clone()), id.clone(), piece));
        let mut lines = Vec::new();
        while let Some(event) = events.next().await {
            match event.unwrap() {
                PageEvent::Lines(batch) => lines.extend(batch.lines()),
                PageEvent::End {
                    reached_start,
                    reached_before,
                } => {
                    assert_eq!(events.next().await, None);
                    return Read {
                        lines,
                        reached_start,
                        reached_before,
                    };
                }
            }
        }
        panic!("there was no end");
    }

    fn texts(lines: &[Line]) -> Vec<String> {
        let text = |line: &Line| String::from_utf8(line.bytes.to_vec()).unwrap();
        lines.iter().map(text).collect()
    }

    fn backward(before: Timestamp, records_after: u64, want: u32) -> Piece {
        Piece::Backward {
            before,
            records_after,
            want,
        }
    }

    /// `count` lines on one channel, called by their numbers, which are their steps too.
    fn numbered(count: i64) -> Vec<Part> {
        (0..count)
            .map(|number| part(number, Channel::Out, &format!("{number}\n")))
            .collect()
    }

    fn numbers(range: std::ops::RangeInclusive<i64>) -> Vec<String> {
        range.map(|number| number.to_string()).collect()
    }

    fn tails(engine: &FakeEngine) -> Vec<Tail> {
        let calls = engine.calls();
        let tail = |call: &Call| match call {
            Call::Logs(_, request) => Some(request.tail),
            _ => None,
        };
        calls.iter().filter_map(tail).collect()
    }

    #[tokio::test]
    async fn a_page_stands_right_before_what_is_there() {
        let (engine, id) = engine(&numbered(1000));
        let piece = backward(at(900, Channel::Out), 100, 50);
        let read = read(&engine, &id, piece).await;
        // The first line of the window may be the end of one.
        assert_eq!(texts(&read.lines), numbers(851..=900));
        assert!(!read.reached_start && read.reached_before);
        assert_eq!(tails(&engine), [Tail::Last(150)]);
    }

    #[tokio::test]
    async fn the_beginning_is_told() {
        let (engine, id) = engine(&numbered(20));
        let read = read(&engine, &id, backward(at(10, Channel::Out), 10, 50)).await;
        assert_eq!(texts(&read.lines), numbers(0..=10));
        assert!(read.reached_start);
    }

    #[tokio::test]
    async fn a_log_that_has_grown_is_looked_at_further_back() {
        let (engine, id) = engine(&numbered(1000));
        let read = read(&engine, &id, backward(at(500, Channel::Out), 10, 90)).await;
        assert_eq!(
            tails(&engine),
            [Tail::Last(100), Tail::Last(400), Tail::Last(1600)]
        );
        // Not all of what the window has to have.
        assert_eq!(read.lines.last().unwrap().at, at(500, Channel::Out));
        assert_eq!(texts(&read.lines), numbers(0..=500));
    }

    #[tokio::test]
    async fn a_line_that_is_longer_than_the_window_is_read_whole() {
        let mut parts = vec![part(0, Channel::Out, "first\n")];
        parts.extend((0..500).map(|_| part(1, Channel::Out, "x")));
        parts.push(part(1, Channel::Out, "\n"));
        parts.push(part(2, Channel::Out, "last\n"));
        let (engine, id) = engine(&parts);
        let read = read(&engine, &id, backward(at(2, Channel::Out), 1, 1)).await;
        assert_eq!(read.lines.last().unwrap().bytes[..], *b"last");
        assert_eq!(read.lines[read.lines.len() - 2].bytes.len(), 500);
    }

    #[tokio::test]
    async fn a_whole_log_ends_where_it_is_known() {
        let (engine, id) = engine(&numbered(5000));
        let before = at(3000, Channel::Out);
        let read = read(&engine, &id, Piece::Whole { before }).await;
        assert_eq!(texts(&read.lines), numbers(0..=3000));
        assert!(read.reached_start && read.reached_before);
    }

    #[tokio::test]
    async fn forward_is_up_to_what_is_there_or_to_the_end_or_to_a_limit() {
        let (engine, id) = engine(&numbered(1000));
        let piece = |before, limit| Piece::Forward {
            after: at(100, Channel::Out),
            before,
            limit,
        };
        let to = piece(Some(at(200, Channel::Out)), usize::MAX);
        let part = read(&engine, &id, to).await;
        assert_eq!(texts(&part.lines), numbers(100..=200));
        assert!(!part.reached_start && part.reached_before);
        let all = read(&engine, &id, piece(None, usize::MAX)).await;
        assert_eq!(texts(&all.lines), numbers(100..=999));
        assert!(all.reached_before);
        let some = read(&engine, &id, piece(None, 30)).await;
        assert_eq!(texts(&some.lines), numbers(100..=109));
        assert!(!some.reached_before);
    }

    #[tokio::test]
    async fn what_was_rotated_away_is_not_waited_for() {
        let (engine, id) = engine(&numbered(1000));
        engine.rotate(&id, 600);
        let some = read(&engine, &id, backward(at(700, Channel::Out), 300, 500)).await;
        assert_eq!(texts(&some.lines), numbers(600..=700));
        assert!(some.reached_start);
        let none = read(&engine, &id, backward(at(500, Channel::Out), 300, 500)).await;
        assert_eq!(texts(&none.lines), [""; 0]);
        assert!(none.reached_start);
        let before = at(500, Channel::Out);
        let none = read(&engine, &id, Piece::Whole { before }).await;
        assert_eq!(texts(&none.lines), [""; 0]);
    }

    #[tokio::test]
    async fn a_line_that_is_being_written_is_not_cut() {
        let engine = FakeEngine::new();
        let id = engine.run(FakeContainer::new("a"));
        engine.line(&id, "whole");
        engine.write(&id, Channel::Out, b"being writ");
        let piece = Piece::Whole {
            before: engine.now(),
        };
        assert_eq!(texts(&read(&engine, &id, piece).await.lines), ["whole"]);
        // Nothing is added to what an earlier run left.
        engine.restart(&id, 1);
        let all = read(&engine, &id, piece).await;
        assert_eq!(texts(&all.lines), ["whole", "being writ"]);
    }

    #[tokio::test]
    async fn an_error_is_the_last_item() {
        let (engine, id) = engine(&numbered(10));
        engine.destroy(&id);
        let piece = backward(at(5, Channel::Out), 5, 5);
        let events: Vec<_> = page(Arc::new(engine), id, piece).collect().await;
        assert_eq!(events.len(), 1);
        assert!(events[0].is_err());
    }

    /// A log as an engine keeps it: timestamps never decrease within a channel, and equal ones are
    /// adjacent there; across channels they are out of order by up to 60 ms. Long lines come in
    /// parts, with one of the other channel between them.
    fn logs() -> impl Strategy<Value = Vec<Part>> {
        let step = (
            any::<bool>(),
            0_i64..3,
            0_i64..=3,
            1_usize..=3,
            any::<bool>(),
        );
        proptest::collection::vec(step, 1..60).prop_map(|steps| {
            let mut parts: Vec<Part> = Vec::new();
            let mut late: Option<Part> = None;
            let mut tick = 100;
            let mut newest = [0, 0];
            for (number, (to_err, step, behind, pieces, apart)) in steps.into_iter().enumerate() {
                let (channel, index) = match to_err {
                    true => (Channel::Err, 1),
                    false => (Channel::Out, 0),
                };
                if late.as_ref().is_some_and(|late| late.channel == channel) {
                    parts.extend(late.take());
                }
                tick += step;
                newest[index] = newest[index].max(tick - behind);
                for piece in 1..pieces {
                    parts.push(part(newest[index], channel, &format!("{number}.{piece} ")));
                }
                let last = part(newest[index], channel, &format!("{number}\n"));
                if apart && pieces > 1 && late.is_none() {
                    late = Some(last);
                } else {
                    parts.push(last);
                    parts.extend(late.take());
                }
            }
            parts.extend(late);
            parts
        })
    }

    /// What a reader holds: each line by its time and its number among those of that time.
    #[derive(Default)]
    struct Held(std::collections::BTreeMap<(Timestamp, usize), Line>);

    impl Held {
        fn take(&mut self, lines: &[Line]) {
            let mut count = std::collections::BTreeMap::new();
            for line in lines {
                let number = count.entry(line.at).or_insert(0);
                self.0.insert((line.at, *number), line.clone());
                *number += 1;
            }
        }
    }

    /// Whether these lines stand in the log in this order, all or none of each timestamp.
    fn check(read: &Read, log: &[Line]) -> Result<(), TestCaseError> {
        let mut rest = log.iter();
        for line in &read.lines {
            prop_assert!(rest.any(|known| known == line), "out of order: {:?}", line);
        }
        for line in &read.lines {
            let of = |lines: &[Line]| lines.iter().filter(|other| other.at == line.at).count();
            prop_assert_eq!(of(&read.lines), of(log), "torn: {:?}", line);
        }
        Ok(())
    }

    fn missing(read: &Read, log: &[Line], from: Timestamp, to: Timestamp) -> Vec<Line> {
        let wanted = log.iter().filter(|line| (from..=to).contains(&line.at));
        wanted
            .filter(|line| !read.lines.contains(line))
            .cloned()
            .collect()
    }

    fn now<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        runtime.unwrap().block_on(future)
    }

    proptest! {
        #[test]
        fn pages_back_to_the_beginning_are_the_log(
            log in logs(),
            steps in proptest::collection::vec((1_u32..12, -5_i64..5), 1..8),
        ) {
            let all = assembled(&log);
            let (engine, id) = engine(&log);
            now(async {
                let mut held = Held::default();
                let mut before = all.iter().map(|line| line.at).max().unwrap();
                let mut steps = steps.iter().cycle();
                for _ in 0..200 {
                    let &(want, error) = steps.next().unwrap();
                    let after = log.iter().filter(|part| part.at > before).count();
                    let records = u64::try_from(after as i64 + error).unwrap_or(0);
                    let read = read(&engine, &id, backward(before, records, want)).await;
                    check(&read, &all)?;
                    held.take(&read.lines);
                    if read.reached_start {
                        let mut known = Held::default();
                        known.take(&all);
                        prop_assert_eq!(held.0, known.0);
                        return Ok(());
                    }
                    let oldest = held.0.first_key_value().unwrap().0.0;
                    prop_assert!(oldest < before);
                    before = oldest;
                }
                prop_assert!(false, "the beginning is never reached");
                Ok(())
            })?;
        }

        #[test]
        fn a_piece_has_every_line_between_its_ends(
            log in logs(), from in 0_usize..60, to in 0_usize..60, limit in 1_usize..40,
        ) {
            let all = assembled(&log);
            let (engine, id) = engine(&log);
            let time = |index: usize| all[index % all.len()].at;
            let (from, to) = (time(from).min(time(to)), time(from).max(time(to)));
            let newest = all.iter().map(|line| line.at).max().unwrap();
            now(async {
                let whole = read(&engine, &id, Piece::Whole { before: to }).await;
                check(&whole, &all)?;
                prop_assert_eq!(missing(&whole, &all, Timestamp::MIN, to), []);
                for before in [Some(to), None] {
                    let piece = Piece::Forward { after: from, before, limit: usize::MAX };
                    let forward = read(&engine, &id, piece).await;
                    check(&forward, &all)?;
                    prop_assert!(forward.reached_before);
                    let end = before.unwrap_or(newest);
                    prop_assert_eq!(missing(&forward, &all, from, end), []);
                    let piece = Piece::Forward { after: from, before, limit };
                    let limited = read(&engine, &id, piece).await;
                    check(&limited, &all)?;
                    if !limited.reached_before {
                        let bytes: usize = limited.lines.iter().map(|line| line.bytes.len()).sum();
                        prop_assert!(bytes >= limit);
                    }
                }
                // Limited pieces, one after the other, are the log too.
                let mut held = Held::default();
                let mut after = all.iter().map(|line| line.at).min().unwrap();
                loop {
                    let piece = Piece::Forward { after, before: None, limit };
                    let forward = read(&engine, &id, piece).await;
                    held.take(&forward.lines);
                    if forward.reached_before {
                        break;
                    }
                    let newest = held.0.last_key_value().unwrap().0.0;
                    prop_assert!(newest > after);
                    after = newest;
                }
                let mut known = Held::default();
                known.take(&all);
                prop_assert_eq!(held.0, known.0);
                Ok(())
            })?;
        }
    }
}
