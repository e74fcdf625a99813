//! Raw log lines of many sources within one byte budget, readable as one merged sequence.
//!
//! Each source keeps its own lines in order, in blocks. The merged order of any set of sources is
//! that of their [`LineId`]s; it is not stored but walked: a screenful is a merge of a few cursors,
//! a position is a sum of binary searches. So an append costs the same however many sources are
//! shown, showing others costs nothing, and evicting is dropping a block.
//!
//! Nothing here is decoded or styled.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;

use crate::domain::line::{Channel, Line, Mark, SourceId};

/// Held bytes over all sources if nothing else is configured: 256 MiB.
pub const DEFAULT_BUDGET: usize = 256 << 20;

/// A block is closed when it holds this much. Eviction takes whole blocks, so this is also how
/// much of the past goes at once.
const BLOCK_BYTES: usize = 256 << 10;

/// Names one line for ever, and is its place in the merged order: by time, then source in order of
/// first appearance, then arrival.
///
/// The id of a line that was evicted still has its place: looking from there finds what comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineId {
    /// Nanoseconds since 1970.
    at: i64,
    source: u32,
    arrival: i64,
}

impl LineId {
    /// Tells the sources of one store apart.
    pub fn source(self) -> u32 {
        self.source
    }
}

/// A line or a mark as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    pub id: LineId,
    pub at: Timestamp,
    pub source: &'a SourceId,
    pub content: Content<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// Raw bytes without the newline.
    Line {
        channel: Channel,
        bytes: &'a [u8],
    },
    Mark(&'a Mark),
}

/// What is kept of one source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub entries: usize,
    /// With the overhead of keeping them.
    pub bytes: usize,
    /// Entries that had to go for the budget.
    pub evicted: u64,
}

/// Keeps the lines of all sources. See the module's own words.
#[derive(Debug)]
pub struct LogStore {
    budget: usize,
    block_bytes: usize,
    held: usize,
    evictions: u64,
    sources: Vec<Source>,
    names: BTreeMap<SourceId, u32>,
}

#[derive(Debug)]
struct Source {
    id: SourceId,
    /// Never with an empty block in it.
    blocks: VecDeque<Block>,
    next_arrival: i64,
    bytes: usize,
    evicted: u64,
}

/// Entries in their order; the text of a late one still stands at the end of `text`.
#[derive(Debug, Default)]
struct Block {
    text: Vec<u8>,
    rows: Vec<Row>,
    marks: Vec<Mark>,
    /// How many entries precede this block's, counted from the source's first one ever.
    base: u64,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    at: i64,
    arrival: i64,
    start: u32,
    /// Length in `text`; for a mark nothing.
    len: u32,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Out,
    Err,
    /// `start` is an index into the block's marks.
    Mark,
}

impl Row {
    fn key(&self) -> (i64, i64) {
        (self.at, self.arrival)
    }
}

impl Default for LogStore {
    fn default() -> Self {
        Self::new(DEFAULT_BUDGET)
    }
}

impl LogStore {
    /// `budget` is in bytes, the overhead of keeping lines included.
    pub fn new(budget: usize) -> Self {
        Self {
            budget,
            block_bytes: (budget / 16).clamp(1, BLOCK_BYTES),
            held: 0,
            evictions: 0,
            sources: Vec::new(),
            names: BTreeMap::new(),
        }
    }

    pub fn budget(&self) -> usize {
        self.budget
    }

    /// Bytes that are held now.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Grows with each eviction, so that what was derived from the lines can be checked again.
    pub fn evictions(&self) -> u64 {
        self.evictions
    }

    /// Adds a line at its place, and evicts for it if it must. The line may be late.
    pub fn push(&mut self, source: &SourceId, line: &Line) -> LineId {
        let kind = match line.channel {
            Channel::Out => Kind::Out,
            Channel::Err => Kind::Err,
        };
        self.insert(source, line.at, kind, &line.bytes, None)
    }

    /// Adds what happened to a source between two of its lines.
    pub fn push_mark(&mut self, source: &SourceId, at: Timestamp, mark: Mark) -> LineId {
        self.insert(source, at, Kind::Mark, &[], Some(mark))
    }

    fn insert(
        &mut self,
        source: &SourceId,
        at: Timestamp,
        kind: Kind,
        text: &[u8],
        mark: Option<Mark>,
    ) -> LineId {
        let index = self.index(source);
        let at = nanoseconds(at);
        let Some(into) = self.sources.get_mut(index as usize) else {
            return LineId {
                at,
                source: index,
                arrival: 0,
            };
        };
        let arrival = into.next_arrival;
        into.next_arrival += 1;
        let added = into.insert(at, arrival, kind, text, mark, self.block_bytes);
        self.held += added;
        while self.held > self.budget && self.evict() {}
        LineId {
            at,
            source: index,
            arrival,
        }
    }

    fn index(&mut self, source: &SourceId) -> u32 {
        if let Some(index) = self.names.get(source) {
            return *index;
        }
        let index = u32::try_from(self.sources.len()).unwrap_or(u32::MAX);
        self.names.insert(source.clone(), index);
        self.sources.push(Source {
            id: source.clone(),
            blocks: VecDeque::new(),
            next_arrival: 0,
            bytes: 0,
            evicted: 0,
        });
        index
    }

    /// Drops the oldest block of the source that holds most.
    fn evict(&mut self) -> bool {
        let Some(largest) = self.sources.iter_mut().max_by_key(|source| source.bytes) else {
            return false;
        };
        let Some(block) = largest.blocks.pop_front() else {
            return false;
        };
        largest.bytes -= block.bytes;
        largest.evicted += block.rows.len() as u64;
        self.held -= block.bytes;
        self.evictions += 1;
        true
    }

    /// Drops all that is kept of a source. Ids that are given out for it later are new ones.
    pub fn clear(&mut self, source: &SourceId) {
        let Some(index) = self.names.get(source) else {
            return;
        };
        if let Some(source) = self.sources.get_mut(*index as usize) {
            source.blocks.clear();
            self.held -= source.bytes;
            source.bytes = 0;
            source.evicted = 0;
            self.evictions += 1;
        }
    }

    pub fn usage(&self, source: &SourceId) -> Usage {
        self.source(source)
            .map_or_else(Usage::default, |source| Usage {
                entries: source.len() as usize,
                bytes: source.bytes,
                evicted: source.evicted,
            })
    }

    fn source(&self, id: &SourceId) -> Option<&Source> {
        let index = self.names.get(id)?;
        self.sources.get(*index as usize)
    }

    /// `None` once it was evicted.
    pub fn get(&self, id: LineId) -> Option<Entry<'_>> {
        let source = self.sources.get(id.source as usize)?;
        let cursor = source.seek(id, id.source);
        let entry = source.entry(cursor, id.source)?;
        (entry.id == id).then_some(entry)
    }

    /// Whether a line that was once given out is still here. Cheaper than [`Self::get`].
    pub fn holds(&self, id: LineId) -> bool {
        let source = self.sources.get(id.source as usize);
        source
            .and_then(|source| source.blocks.front()?.rows.first())
            .is_some_and(|oldest| oldest.key() <= (id.at, id.arrival))
    }

    /// The sources as one sequence. Sources that have not printed anything are fine.
    pub fn merged<'s>(&self, sources: impl IntoIterator<Item = &'s SourceId>) -> Merged<'_> {
        let mut parts: Vec<(u32, &Source)> = sources
            .into_iter()
            .filter_map(|id| {
                let index = *self.names.get(id)?;
                Some((index, self.sources.get(index as usize)?))
            })
            .collect();
        parts.sort_by_key(|(index, _)| *index);
        parts.dedup_by_key(|(index, _)| *index);
        Merged { parts }
    }
}

/// Clamped to what 64 bits can say, years 1678 to 2262.
fn nanoseconds(at: Timestamp) -> i64 {
    let nanoseconds = at.as_nanosecond();
    i64::try_from(nanoseconds).unwrap_or(if nanoseconds < 0 { i64::MIN } else { i64::MAX })
}

/// A place in one source: its block, and the row in it. A place past the end is the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor {
    block: usize,
    row: usize,
}

impl Source {
    /// Returns by how many bytes it grew.
    fn insert(
        &mut self,
        at: i64,
        arrival: i64,
        kind: Kind,
        text: &[u8],
        mark: Option<Mark>,
        block_bytes: usize,
    ) -> usize {
        // Blocks are looked through from the end: a line is late by a few lines, hardly by blocks.
        let target = self
            .blocks
            .iter()
            .rposition(|block| block.rows.first().is_some_and(|row| row.at <= at))
            .unwrap_or(0);
        let is_last = target + 1 >= self.blocks.len();
        let full = self.blocks.get(target).is_none_or(|block| {
            is_last && !block.rows.is_empty() && block.bytes + text.len() > block_bytes
        });
        let target = if full && is_last {
            self.split_for(at)
        } else {
            target
        };
        let Some(block) = self.blocks.get_mut(target) else {
            return 0;
        };
        let before = block.bytes;
        block.insert(at, arrival, kind, text, mark);
        let grown = block.bytes - before;
        for later in self.blocks.iter_mut().skip(target + 1) {
            later.base += 1;
        }
        self.bytes += grown;
        grown
    }

    /// Opens a new last block, unless the entry belongs inside the one that is full. Returns the
    /// block for it.
    fn split_for(&mut self, at: i64) -> usize {
        let last = self.blocks.back();
        let belongs_inside = last
            .and_then(|block| block.rows.last())
            .is_some_and(|row| row.at > at);
        if !belongs_inside {
            let base = last.map_or(self.evicted, |block| block.base + block.rows.len() as u64);
            if let Some(block) = self.blocks.back_mut() {
                block.text.shrink_to_fit();
                block.rows.shrink_to_fit();
            }
            self.blocks.push_back(Block {
                base,
                ..Block::default()
            });
        }
        self.blocks.len().saturating_sub(1)
    }

    fn first_rank(&self) -> u64 {
        self.blocks.front().map_or(0, |block| block.base)
    }

    fn len(&self) -> u64 {
        self.rank(self.end())
    }

    fn end(&self) -> Cursor {
        Cursor {
            block: self.blocks.len(),
            row: 0,
        }
    }

    /// How many kept entries precede the place.
    fn rank(&self, cursor: Cursor) -> u64 {
        match self.blocks.get(cursor.block) {
            Some(block) => block.base + cursor.row as u64 - self.first_rank(),
            None => self.blocks.back().map_or(0, |block| {
                block.base + block.rows.len() as u64 - self.first_rank()
            }),
        }
    }

    /// The place of the `n`th kept entry.
    fn nth(&self, n: u64) -> Cursor {
        let rank = n + self.first_rank();
        let block = self
            .blocks
            .partition_point(|block| block.base + block.rows.len() as u64 <= rank);
        let row = self
            .blocks
            .get(block)
            .map_or(0, |block| (rank - block.base) as usize);
        Cursor { block, row }
    }

    /// The place of the first entry that is `id` or comes after it, where this is source `own`.
    fn seek(&self, id: LineId, own: u32) -> Cursor {
        let before = |row: &Row| row_id(row, own) < id;
        let block = self
            .blocks
            .partition_point(|block| block.rows.last().is_some_and(before));
        let row = self
            .blocks
            .get(block)
            .map_or(0, |block| block.rows.partition_point(before));
        Cursor { block, row }
    }

    fn id(&self, cursor: Cursor, own: u32) -> Option<LineId> {
        let row = self.blocks.get(cursor.block)?.rows.get(cursor.row)?;
        Some(row_id(row, own))
    }

    fn entry(&self, cursor: Cursor, own: u32) -> Option<Entry<'_>> {
        let block = self.blocks.get(cursor.block)?;
        let row = block.rows.get(cursor.row)?;
        let line = |channel| {
            let start = row.start as usize;
            let bytes = block.text.get(start..start + row.len as usize)?;
            Some(Content::Line { channel, bytes })
        };
        let content = match row.kind {
            Kind::Out => line(Channel::Out)?,
            Kind::Err => line(Channel::Err)?,
            Kind::Mark => Content::Mark(block.marks.get(row.start as usize)?),
        };
        Some(Entry {
            id: row_id(row, own),
            at: Timestamp::from_nanosecond(i128::from(row.at)).unwrap_or_default(),
            source: &self.id,
            content,
        })
    }

    fn next(&self, cursor: Cursor) -> Cursor {
        match self.blocks.get(cursor.block) {
            Some(block) if cursor.row + 1 < block.rows.len() => Cursor {
                row: cursor.row + 1,
                ..cursor
            },
            Some(_) => Cursor {
                block: cursor.block + 1,
                row: 0,
            },
            None => cursor,
        }
    }

    fn previous(&self, cursor: Cursor) -> Option<Cursor> {
        if cursor.row > 0 {
            return Some(Cursor {
                row: cursor.row - 1,
                ..cursor
            });
        }
        let block = cursor.block.checked_sub(1)?;
        let row = self.blocks.get(block)?.rows.len().checked_sub(1)?;
        Some(Cursor { block, row })
    }
}

fn row_id(row: &Row, source: u32) -> LineId {
    LineId {
        at: row.at,
        source,
        arrival: row.arrival,
    }
}

impl Block {
    fn insert(&mut self, at: i64, arrival: i64, kind: Kind, text: &[u8], mark: Option<Mark>) {
        let (start, len) = match mark {
            Some(mark) => {
                self.bytes += size_of::<Mark>();
                self.marks.push(mark);
                (self.marks.len() - 1, 0)
            }
            None => {
                // A block is far smaller than 4 GiB unless one line is larger than that.
                let text = &text[..text.len().min(u32::MAX as usize / 2)];
                self.text.extend_from_slice(text);
                (self.text.len() - text.len(), text.len())
            }
        };
        let row = Row {
            at,
            arrival,
            start: u32::try_from(start).unwrap_or(u32::MAX),
            len: u32::try_from(len).unwrap_or(u32::MAX),
            kind,
        };
        self.bytes += size_of::<Row>() + len;
        if self.rows.last().is_none_or(|last| last.key() < row.key()) {
            self.rows.push(row);
        } else {
            let place = self.rows.partition_point(|other| other.key() < row.key());
            self.rows.insert(place, row);
        }
    }
}

/// Several sources read as one sequence. Borrowed and free to make: made anew for each look.
#[derive(Clone, Debug)]
pub struct Merged<'a> {
    parts: Vec<(u32, &'a Source)>,
}

impl<'a> Merged<'a> {
    pub fn len(&self) -> usize {
        self.parts.iter().map(|(_, s)| s.len() as usize).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.parts
            .iter()
            .all(|(_, source)| source.blocks.is_empty())
    }

    /// How many entries the budget has cost these sources.
    pub fn evicted(&self) -> u64 {
        self.parts.iter().map(|(_, source)| source.evicted).sum()
    }

    pub fn first(&self) -> Option<LineId> {
        self.forward_from_start().next().map(|entry| entry.id)
    }

    pub fn last(&self) -> Option<LineId> {
        self.backward_from_end().next().map(|entry| entry.id)
    }

    /// How many entries come before `id`, whether or not it is still there.
    pub fn rank(&self, id: LineId) -> usize {
        self.parts
            .iter()
            .map(|(own, source)| source.rank(source.seek(id, *own)) as usize)
            .sum()
    }

    /// The id of the entry with `n` entries before it. Logarithmic in the number of entries.
    pub fn nth(&self, n: usize) -> Option<LineId> {
        let mut n = n as u64;
        let mut ranges: Vec<(u64, u64)> = self.parts.iter().map(|(_, s)| (0, s.len())).collect();
        loop {
            // The middle of the longest range that is left divides all of them.
            let longest = (0..ranges.len()).max_by_key(|i| ranges[*i].1 - ranges[*i].0)?;
            let (low, high) = ranges[longest];
            if low == high {
                return None;
            }
            let middle = low + (high - low) / 2;
            let (own, source) = self.parts[longest];
            let pivot = source.id(source.nth(middle), own)?;
            let places: Vec<u64> = self
                .parts
                .iter()
                .zip(&ranges)
                .map(|((own, source), (low, high))| {
                    source.rank(source.seek(pivot, *own)).clamp(*low, *high)
                })
                .collect();
            let before: u64 = places
                .iter()
                .zip(&ranges)
                .map(|(at, (low, _))| at - low)
                .sum();
            if n == before {
                return Some(pivot);
            }
            for (index, (range, place)) in ranges.iter_mut().zip(&places).enumerate() {
                if n < before {
                    range.1 = *place;
                } else {
                    range.0 = *place + u64::from(index == longest);
                }
            }
            if n > before {
                n -= before + 1;
            }
        }
    }

    /// From the first entry on.
    pub fn forward_from_start(&self) -> Forward<'a> {
        let start = Cursor { block: 0, row: 0 };
        self.forward_from(|_, _| start)
    }

    /// From `id` on, with it.
    pub fn forward(&self, id: LineId) -> Forward<'a> {
        self.forward_from(|own, source| source.seek(id, own))
    }

    fn forward_from(&self, place: impl Fn(u32, &Source) -> Cursor) -> Forward<'a> {
        let heads = self
            .parts
            .iter()
            .map(|(own, source)| {
                let cursor = place(*own, source);
                Head {
                    own: *own,
                    source,
                    cursor,
                    id: source.id(cursor, *own),
                }
            })
            .collect();
        Forward { heads }
    }

    /// From the last entry back.
    pub fn backward_from_end(&self) -> Backward<'a> {
        self.backward_from(|_, source| source.end())
    }

    /// From the last entry before `id` back.
    pub fn backward(&self, id: LineId) -> Backward<'a> {
        self.backward_from(|own, source| source.seek(id, own))
    }

    fn backward_from(&self, place: impl Fn(u32, &Source) -> Cursor) -> Backward<'a> {
        let heads = self
            .parts
            .iter()
            .map(|(own, source)| Head::before(*own, source, place(*own, source)))
            .collect();
        Backward { heads }
    }
}

/// Where a walk stands in one source; `id` is that of the entry there, if there is one.
#[derive(Debug)]
struct Head<'a> {
    own: u32,
    source: &'a Source,
    cursor: Cursor,
    id: Option<LineId>,
}

impl<'a> Head<'a> {
    fn before(own: u32, source: &'a Source, cursor: Cursor) -> Self {
        let previous = source.previous(cursor);
        Self {
            own,
            source,
            cursor: previous.unwrap_or(cursor),
            id: previous.and_then(|cursor| source.id(cursor, own)),
        }
    }
}

#[derive(Debug)]
pub struct Forward<'a> {
    heads: Vec<Head<'a>>,
}

impl<'a> Iterator for Forward<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let head = self
            .heads
            .iter_mut()
            .filter(|head| head.id.is_some())
            .min_by_key(|head| head.id)?;
        let entry = head.source.entry(head.cursor, head.own);
        head.cursor = head.source.next(head.cursor);
        head.id = head.source.id(head.cursor, head.own);
        entry
    }
}

#[derive(Debug)]
pub struct Backward<'a> {
    heads: Vec<Head<'a>>,
}

impl<'a> Iterator for Backward<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let head = self
            .heads
            .iter_mut()
            .filter(|head| head.id.is_some())
            .max_by_key(|head| head.id)?;
        let entry = head.source.entry(head.cursor, head.own);
        *head = Head::before(head.own, head.source, head.cursor);
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(nanosecond: i64) -> Timestamp {
        Timestamp::from_nanosecond(i128::from(nanosecond)).unwrap()
    }

    fn source(name: &str) -> SourceId {
        SourceId(name.into())
    }

    fn line(nanosecond: i64, text: &str) -> Line {
        Line {
            at: at(nanosecond),
            channel: Channel::Out,
            bytes: text.as_bytes().into(),
        }
    }

    fn text(entry: &Entry<'_>) -> String {
        match entry.content {
            Content::Line { bytes, .. } => String::from_utf8_lossy(bytes).into_owned(),
            Content::Mark(mark) => format!("{mark:?}"),
        }
    }

    fn texts<'a>(entries: impl Iterator<Item = Entry<'a>>) -> Vec<String> {
        entries.map(|entry| text(&entry)).collect()
    }

    fn sources(names: &[&str]) -> Vec<SourceId> {
        names.iter().copied().map(source).collect()
    }

    #[test]
    fn sources_are_merged_by_time_and_then_by_source_and_arrival() {
        let mut store = LogStore::default();
        let [a, b] = ["a", "b"].map(source);
        store.push(&a, &line(1, "a1"));
        store.push(&a, &line(3, "a3"));
        store.push(&a, &line(3, "a3 again"));
        store.push(&b, &line(2, "b2"));
        store.push(&b, &line(3, "b3"));
        let both = store.merged([&b, &a, &b]);
        let all = ["a1", "b2", "a3", "a3 again", "b3"];
        assert_eq!(texts(both.forward_from_start()), all);
        let mut back = texts(both.backward_from_end());
        back.reverse();
        assert_eq!(back, all);
        assert_eq!(
            texts(store.merged([&a]).forward_from_start()),
            ["a1", "a3", "a3 again"]
        );
        assert_eq!(store.merged([&source("silent")]).len(), 0);
    }

    #[test]
    fn a_late_line_and_a_mark_find_their_place() {
        let mut store = LogStore::default();
        let a = source("a");
        let first = store.push(&a, &line(10, "10"));
        store.push_mark(&a, at(30), Mark::Restarted);
        store.push(&a, &line(20, "20"));
        let merged = store.merged([&a]);
        assert_eq!(
            texts(merged.forward_from_start()),
            ["10", "20", "Restarted"]
        );
        assert_eq!(merged.rank(first), 0);
        assert_eq!(text(&store.get(first).unwrap()), "10");
    }

    #[test]
    fn an_id_keeps_its_place_after_its_line_is_gone() {
        let mut store = LogStore::new(16 << 10);
        let a = source("a");
        let ids: Vec<LineId> = (0..1000)
            .map(|n| store.push(&a, &line(n, "some text that takes room")))
            .collect();
        assert!(store.held() <= store.budget());
        assert!(store.get(ids[0]).is_none());
        assert!(store.get(ids[999]).is_some());
        let merged = store.merged([&a]);
        assert_eq!(merged.forward(ids[0]).next().map(|e| e.id), merged.first());
        assert_eq!(merged.backward(ids[0]).next(), None);
        let usage = store.usage(&a);
        assert_eq!(usage.evicted + usage.entries as u64, 1000);
        assert_eq!(usage.bytes, store.held());
        assert_eq!(merged.rank(ids[999]), usage.entries - 1);
    }

    #[test]
    fn the_largest_source_pays() {
        let mut store = LogStore::new(32 << 10);
        let [loud, quiet] = ["loud", "quiet"].map(source);
        store.push(&quiet, &line(0, "said once"));
        for n in 0..2000 {
            store.push(&loud, &line(n, "and on, and on"));
        }
        assert_eq!(store.usage(&quiet).evicted, 0);
        assert!(store.usage(&loud).evicted > 0);
    }

    #[test]
    fn a_line_over_the_budget_is_not_kept_and_breaks_nothing() {
        let mut store = LogStore::new(100);
        let a = source("a");
        store.push(&a, &line(1, &"x".repeat(1000)));
        assert_eq!((store.held(), store.usage(&a).evicted), (0, 1));
        store.push(&a, &line(2, "short"));
        assert_eq!(texts(store.merged([&a]).forward_from_start()), ["short"]);
    }

    #[test]
    fn clearing_a_source_leaves_the_others() {
        let mut store = LogStore::default();
        let [a, b] = ["a", "b"].map(source);
        let old = store.push(&a, &line(1, "old"));
        store.push(&b, &line(1, "other"));
        store.clear(&a);
        assert_eq!(store.usage(&a), Usage::default());
        assert_eq!(store.held(), store.usage(&b).bytes);
        let new = store.push(&a, &line(1, "new"));
        assert_ne!(old, new);
        assert_eq!(
            texts(store.merged([&a, &b]).forward_from_start()),
            ["new", "other"]
        );
    }

    proptest! {
        /// Against the obvious model: all lines in one sorted list.
        #[test]
        fn the_merged_view_is_a_sorted_list(
            lines in proptest::collection::vec((0u8..4, 0i64..60, 0usize..60), 0..300),
            shown in proptest::collection::vec(0u8..4, 0..4),
            budget in prop_oneof![Just(1usize << 20), 500usize..6000],
        ) {
            let names = sources(&["a", "b", "c", "d"]);
            let mut store = LogStore::new(budget);
            let mut model: Vec<LineId> = Vec::new();
            for (source, nanosecond, len) in &lines {
                let id = store.push(&names[*source as usize], &line(*nanosecond, &"x".repeat(*len)));
                prop_assert!(!model.contains(&id));
                model.push(id);
                prop_assert!(store.held() <= budget);
            }
            model.sort();
            let held: usize = names.iter().map(|name| store.usage(name).bytes).sum();
            prop_assert_eq!(held, store.held());

            let shown: Vec<&SourceId> = shown.iter().map(|n| &names[*n as usize]).collect();
            let is_shown = |id: &LineId| store.get(*id).is_some_and(|e| shown.contains(&e.source));
            let expected: Vec<LineId> = model.iter().copied().filter(is_shown).collect();
            let merged = store.merged(shown.iter().copied());
            let forward: Vec<LineId> = merged.forward_from_start().map(|e| e.id).collect();
            prop_assert_eq!(&forward, &expected);
            let mut backward: Vec<LineId> = merged.backward_from_end().map(|e| e.id).collect();
            backward.reverse();
            prop_assert_eq!(&backward, &expected);
            prop_assert_eq!(merged.len(), expected.len());
            for (rank, id) in expected.iter().enumerate() {
                prop_assert_eq!(merged.rank(*id), rank);
                prop_assert_eq!(merged.nth(rank), Some(*id));
            }
            prop_assert_eq!(merged.nth(expected.len()), None);
            for id in &model {
                let place = expected.partition_point(|other| other < id);
                prop_assert_eq!(merged.rank(*id), place);
                let next = merged.forward(*id).next().map(|e| e.id);
                prop_assert_eq!(next, expected.get(place).copied());
                let previous = merged.backward(*id).next().map(|e| e.id);
                prop_assert_eq!(previous, place.checked_sub(1).map(|i| expected[i]));
            }
        }
    }
}
