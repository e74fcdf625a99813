//! Which lines of a store pass a test.
//!
//! What is held when the question is put is looked through elsewhere, from the newest block to the
//! oldest; what comes later is offered line by line. So the answer begins at once and is never
//! waited for.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::{Arc, Weak};

use super::store::{Content, Dropped, LineId, LogStore, Snapshot};
use crate::text::level::Level;
use crate::text::matcher::Matcher;

/// Bytes that are looked through before what was found is told.
const BATCH: usize = 2 << 20;

/// A test that lines pass or do not.
#[derive(Clone, Debug, Default)]
pub struct Sieve {
    pub matcher: Option<Matcher>,
    /// Those that do not match pass.
    pub inverted: bool,
    /// Less severe ones do not pass, nor do those that say nothing and belong to none that did.
    pub level: Option<Level>,
    /// Whether marks pass; they have no text to be tested.
    pub marks: bool,
}

impl Sieve {
    pub fn passes(&self, content: &Content<'_>) -> bool {
        match content {
            Content::Mark(_) => self.marks,
            Content::Line { weight, bytes, .. } => {
                self.level.is_none_or(|least| weight.level >= Some(least))
                    && self
                        .matcher
                        .as_ref()
                        .is_none_or(|matcher| matcher.is_match(bytes) != self.inverted)
            }
        }
    }
}

/// Blocks to look through for an [`Index`].
#[derive(Clone, Debug)]
pub struct ScanJob {
    ticket: u64,
    sieve: Arc<Sieve>,
    snapshot: Snapshot,
    /// Alive while somebody waits for the answer.
    wanted: Weak<()>,
}

/// A part of the answer to a [`ScanJob`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    ticket: u64,
    /// By block, each in its order.
    blocks: Vec<Vec<LineId>>,
    /// Bytes that were looked through for it.
    bytes: usize,
    done: bool,
}

impl ScanJob {
    /// Looks through the blocks; on a thread that may be kept busy. Ends early where `tell` says
    /// that nobody listens, and where the index is gone or asks something else.
    pub fn run(&self, mut tell: impl FnMut(Found) -> ControlFlow<()>) {
        let found = |blocks, bytes, done| Found {
            ticket: self.ticket,
            blocks,
            bytes,
            done,
        };
        let mut blocks = Vec::new();
        let mut bytes = 0;
        let mut unheard = false;
        self.snapshot.scan(
            |content| self.sieve.passes(content),
            |hits, size| {
                bytes += size;
                if !hits.is_empty() {
                    blocks.push(hits);
                }
                if bytes < BATCH {
                    return ControlFlow::Continue(());
                }
                let flow = tell(found(std::mem::take(&mut blocks), bytes, false));
                bytes = 0;
                unheard = flow.is_break() || self.wanted.strong_count() == 0;
                match unheard {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            },
        );
        if !unheard {
            let _ = tell(found(blocks, bytes, true));
        }
    }
}

impl PartialEq for ScanJob {
    fn eq(&self, other: &Self) -> bool {
        self.ticket == other.ticket && self.snapshot == other.snapshot
    }
}

impl Eq for ScanJob {}

/// The lines that pass, in the order of the store.
#[derive(Clone, Debug)]
pub struct Index {
    sieve: Arc<Sieve>,
    /// Per source, so that what is dropped leaves at one place.
    hits: BTreeMap<u32, VecDeque<LineId>>,
    ticket: u64,
    wanted: Arc<()>,
    total: usize,
    left: usize,
    done: bool,
    /// The one that was gone to last.
    pub current: Option<LineId>,
}

impl Index {
    /// With nothing in it: [`Self::begin`] asks for what is held.
    pub fn new(sieve: Sieve) -> Self {
        Self {
            sieve: Arc::new(sieve),
            hits: BTreeMap::new(),
            ticket: 0,
            wanted: Arc::default(),
            total: 0,
            left: 0,
            done: true,
            current: None,
        }
    }

    /// Of the lines that match.
    pub fn seeking(matcher: Matcher) -> Self {
        Self::new(Sieve {
            matcher: Some(matcher),
            ..Sieve::default()
        })
    }

    pub fn sieve(&self) -> &Sieve {
        &self.sieve
    }

    /// Forgets what was found and asks for it anew. `ticket` is to be another one each time, over
    /// all indexes: it tells the answers apart.
    pub fn begin(&mut self, ticket: u64, snapshot: Snapshot) -> ScanJob {
        self.hits.clear();
        self.current = None;
        self.ticket = ticket;
        self.wanted = Arc::default();
        self.total = snapshot.bytes();
        self.left = self.total;
        self.done = false;
        ScanJob {
            ticket,
            sieve: Arc::clone(&self.sieve),
            snapshot,
            wanted: Arc::downgrade(&self.wanted),
        }
    }

    /// Takes a part of the answer; `false` if it is the answer to another question.
    pub fn take(&mut self, found: &Found, store: &LogStore) -> bool {
        if found.ticket != self.ticket || self.done {
            return false;
        }
        for block in &found.blocks {
            // A block goes as a whole, if it goes.
            let ends = [block.first(), block.last()];
            let held = ends.into_iter().flatten().all(|id| store.holds(*id));
            let block = block.iter().copied();
            match held {
                true => self.add(block),
                false => self.add(block.filter(|id| store.holds(*id)).collect::<Vec<_>>()),
            }
        }
        self.left = self.left.saturating_sub(found.bytes);
        self.done = found.done;
        true
    }

    /// Ids of one source, in their order.
    fn add(&mut self, ids: impl IntoIterator<Item = LineId, IntoIter: DoubleEndedIterator>) {
        let mut ids = ids.into_iter();
        while let Some(last) = ids.next_back() {
            let hits = self.hits.entry(last.source()).or_default();
            if hits.front().is_none_or(|front| last < *front) {
                hits.push_front(last);
            } else if let Err(place) = hits.binary_search(&last) {
                hits.insert(place, last);
            }
        }
    }

    /// Looks at an entry that has just come, or come back.
    pub fn offer(&mut self, id: LineId, content: &Content<'_>) {
        if self.sieve.passes(content) {
            let hits = self.hits.entry(id.source()).or_default();
            if hits.back().is_none_or(|back| *back < id) {
                hits.push_back(id);
            } else if let Err(place) = hits.binary_search(&id) {
                hits.insert(place, id);
            }
        }
    }

    /// Takes entries that count although they would not pass.
    pub fn keep(&mut self, ids: impl Iterator<Item = LineId>) {
        for id in ids {
            self.add([id]);
        }
    }

    /// Forgets what the store has dropped.
    pub fn forget(&mut self, dropped: &Dropped) {
        if let Some(hits) = self.hits.get_mut(&dropped.first.source()) {
            let from = hits.partition_point(|id| *id < dropped.first);
            let to = hits.partition_point(|id| *id <= dropped.last);
            hits.drain(from..to);
        }
    }

    /// Everything that is held was looked at.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// How much of what was held was looked at, from 0 to 100.
    pub fn percent(&self) -> usize {
        match self.done || self.total == 0 {
            true => 100,
            false => (self.total - self.left) * 100 / self.total,
        }
    }

    pub fn count(&self) -> usize {
        self.hits.values().map(VecDeque::len).sum()
    }

    /// Which hit it is, counted from 1 and from the oldest.
    pub fn number(&self, id: LineId) -> usize {
        let before = |hits: &VecDeque<LineId>| hits.partition_point(|hit| *hit < id);
        self.hits.values().map(before).sum::<usize>() + 1
    }

    pub fn after(&self, id: LineId) -> Option<LineId> {
        self.of_sources(|hits| hits.get(hits.partition_point(|hit| *hit <= id)))
            .min()
    }

    pub fn at_or_after(&self, id: LineId) -> Option<LineId> {
        self.of_sources(|hits| hits.get(hits.partition_point(|hit| *hit < id)))
            .min()
    }

    pub fn before(&self, id: LineId) -> Option<LineId> {
        self.of_sources(|hits| hits.get(hits.partition_point(|hit| *hit < id).checked_sub(1)?))
            .max()
    }

    pub fn at_or_before(&self, id: LineId) -> Option<LineId> {
        self.of_sources(|hits| hits.get(hits.partition_point(|hit| *hit <= id).checked_sub(1)?))
            .max()
    }

    pub fn first(&self) -> Option<LineId> {
        self.of_sources(VecDeque::front).min()
    }

    pub fn last(&self) -> Option<LineId> {
        self.of_sources(VecDeque::back).max()
    }

    fn of_sources<'a>(
        &'a self,
        pick: impl Fn(&'a VecDeque<LineId>) -> Option<&'a LineId>,
    ) -> impl Iterator<Item = LineId> {
        self.hits.values().filter_map(pick).copied()
    }

    /// The hit of one source that is `id` or comes next, and the one before it.
    pub(super) fn beside(&self, source: u32, id: LineId) -> (Option<LineId>, Option<LineId>) {
        let Some(hits) = self.hits.get(&source) else {
            return (None, None);
        };
        let place = hits.partition_point(|hit| *hit < id);
        let before = place.checked_sub(1).and_then(|before| hits.get(before));
        (hits.get(place).copied(), before.copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::line::{Channel, SourceId};
    use jiff::Timestamp;

    fn source() -> SourceId {
        SourceId("a".into())
    }

    fn push(store: &mut LogStore, n: i128, text: &str) -> LineId {
        let at = Timestamp::from_nanosecond(n).unwrap();
        let id = store.push(&source(), at, Channel::Out, text.as_bytes());
        id.unwrap()
    }

    fn seeking(pattern: &str) -> Index {
        Index::seeking(Matcher::new(pattern).unwrap())
    }

    fn scan(job: &ScanJob) -> Vec<Found> {
        let mut answers = Vec::new();
        job.run(|found| {
            answers.push(found);
            ControlFlow::Continue(())
        });
        answers
    }

    #[test]
    fn a_long_log_is_looked_through_from_its_end_and_whole() {
        let mut store = LogStore::new(64 << 20);
        let ids: Vec<LineId> = (0..60_000)
            .map(|n| push(&mut store, n, &format!("line {n} {}", "x".repeat(60))))
            .collect();
        let mut index = seeking("line");
        let job = index.begin(1, store.snapshot([&source()]));
        let answers = scan(&job);
        assert!(answers.len() > 1, "in parts");
        assert!(index.take(&answers[0], &store));
        assert_eq!(index.last(), ids.last().copied());
        assert!(!index.is_done() && index.percent() > 0 && index.percent() < 100);
        for found in &answers[1..] {
            assert!(index.take(found, &store));
        }
        assert!(index.is_done());
        assert_eq!(index.count(), ids.len());
        assert_eq!(index.first(), ids.first().copied());
        assert_eq!(index.number(ids[7]), 8);
        assert_eq!(index.after(ids[7]), Some(ids[8]));
        assert_eq!(index.before(ids[7]), Some(ids[6]));
        assert_eq!(index.before(ids[0]), None);
        assert_eq!(index.at_or_before(ids[7]), Some(ids[7]));
        assert_eq!(index.at_or_after(ids[7]), Some(ids[7]));
    }

    #[test]
    fn what_comes_or_goes_meanwhile_is_known() {
        let mut store = LogStore::new(32 << 10);
        for n in 0..300 {
            push(&mut store, n, "a line that is sought");
        }
        let mut index = seeking("sought");
        let job = index.begin(1, store.snapshot([&source()]));
        for n in 300..1000 {
            let id = push(&mut store, n, "a line that is sought");
            index.offer(id, &store.get(id).unwrap().content);
            for dropped in store.take_dropped() {
                index.forget(&dropped);
            }
        }
        for found in scan(&job) {
            index.take(&found, &store);
        }
        assert_eq!(index.count(), store.usage(&source()).entries);
        assert_eq!(index.first(), store.merged([&source()]).first());
    }

    #[test]
    fn an_answer_to_another_question_is_left_alone() {
        let mut store = LogStore::default();
        push(&mut store, 1, "a");
        let mut index = seeking("a");
        let old = scan(&index.begin(1, store.snapshot([&source()])));
        let new = scan(&index.begin(2, store.snapshot([&source()])));
        assert!(!index.take(&old[0], &store));
        assert!(index.take(&new[0], &store));
        assert_eq!(index.count(), 1);
    }

    #[test]
    fn a_sieve_goes_by_text_and_level() {
        let mut store = LogStore::default();
        for (n, text) in ["INFO up", "ERROR down", "  at main", "INFO up again"]
            .iter()
            .enumerate()
        {
            push(&mut store, n as i128, text);
        }
        let passed = |sieve: Sieve| -> Vec<String> {
            store
                .merged([&source()])
                .forward_from_start()
                .filter(|entry| sieve.passes(&entry.content))
                .map(|entry| match entry.content {
                    Content::Line { bytes, .. } => String::from_utf8_lossy(bytes).into_owned(),
                    Content::Mark(_) => String::new(),
                })
                .collect()
        };
        let up = || Matcher::new("up");
        assert_eq!(
            passed(Sieve {
                matcher: up(),
                ..Sieve::default()
            }),
            ["INFO up", "INFO up again"]
        );
        assert_eq!(
            passed(Sieve {
                matcher: up(),
                inverted: true,
                ..Sieve::default()
            }),
            ["ERROR down", "  at main"]
        );
        assert_eq!(
            passed(Sieve {
                level: Some(Level::Warn),
                ..Sieve::default()
            }),
            ["ERROR down", "  at main"]
        );
    }
}
