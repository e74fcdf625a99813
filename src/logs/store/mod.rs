//! Raw log lines of many sources within one byte budget, readable as one merged sequence.
//!
//! Each source keeps its own lines in order, in blocks, and knows where lines are missing between
//! them: those that had to go for the budget, and those that were never read. What is missing can
//! be put back. The merged order of any set of sources is that of their [`LineId`]s; it is not
//! stored but walked: a screenful is a merge of a few cursors, a position is a sum of binary
//! searches. So an append costs the same however many sources are shown, showing others costs
//! nothing, and evicting is dropping a block.
//!
//! Nothing here is decoded or styled. Blocks are shared with whoever searches them elsewhere.

mod block;
mod merged;
mod snapshot;
mod source;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::Timestamp;

pub use block::{Content, Weight};
pub use merged::{Backward, Forward, Merged};
pub use snapshot::Snapshot;
pub use source::{Filled, Filling, Gap};

use self::block::Key;
use self::source::Source;
use crate::domain::line::{Channel, Mark, SourceId};

/// Held bytes over all sources if nothing else is configured: 256 MiB.
pub const DEFAULT_BUDGET: usize = 256 << 20;

/// A block is closed when it holds this much. Eviction takes whole blocks, so this is also how
/// much goes at once.
const BLOCK_BYTES: usize = 256 << 10;

/// Blocks at the end of a source that stay although somebody looks at its past: who comes back
/// finds the present there.
const NEWEST: usize = 4;

/// Names one line for ever, and is its place in the merged order: by time, then source in order of
/// first appearance, then which line of that source and time it is.
///
/// It outlives the line: looking from the id of one that was evicted finds what comes next, and a
/// line that is read again has the id that it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineId {
    /// Nanoseconds since 1970.
    at: i64,
    source: u32,
    ordinal: u32,
}

impl LineId {
    fn new((at, ordinal): Key, source: u32) -> Self {
        Self {
            at,
            source,
            ordinal,
        }
    }

    /// Before everything of that time.
    pub fn at(at: Timestamp) -> Self {
        Self {
            at: nanoseconds(at),
            source: 0,
            ordinal: 0,
        }
    }

    /// Tells the sources of one store apart.
    pub fn source(self) -> u32 {
        self.source
    }

    pub fn time(self) -> Timestamp {
        Timestamp::from_nanosecond(i128::from(self.at)).unwrap_or_default()
    }

    /// The least id that comes after this one.
    pub(super) fn behind(self) -> Self {
        Self {
            ordinal: self.ordinal.saturating_add(1),
            ..self
        }
    }

    /// The least key of source `own` that does not come before this.
    fn key_in(self, own: u32) -> Key {
        match own.cmp(&self.source) {
            std::cmp::Ordering::Less => (self.at.saturating_add(1), 0),
            std::cmp::Ordering::Equal => (self.at, self.ordinal),
            std::cmp::Ordering::Greater => (self.at, 0),
        }
    }
}

/// A line or a mark as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    pub id: LineId,
    pub source: &'a SourceId,
    /// What is missing between it and the entry before it in its source.
    pub gap: Option<Gap>,
    pub content: Content<'a>,
}

/// What is kept of one source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub entries: usize,
    /// With the overhead of keeping them.
    pub bytes: usize,
    /// Entries that had to go for the budget, without those that came back.
    pub evicted: u64,
}

/// A run of one source's entries that is held no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    pub first: LineId,
    pub last: LineId,
}

/// Keeps the lines of all sources. See the module's own words. A clone shares what is held.
#[derive(Clone, Debug)]
pub struct LogStore {
    budget: usize,
    block_bytes: usize,
    held: usize,
    sources: Vec<Source>,
    names: BTreeMap<SourceId, u32>,
    /// Somebody looks at this place of these sources.
    looked_at: Option<(LineId, Vec<u32>)>,
    dropped: Vec<Dropped>,
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
            sources: Vec::new(),
            names: BTreeMap::new(),
            looked_at: None,
            dropped: Vec::new(),
        }
    }

    pub fn budget(&self) -> usize {
        self.budget
    }

    /// Bytes that are held now.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Whether this much more can be held and nothing has to go for it.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.held + bytes <= self.budget
    }

    /// What was dropped since this was last asked, so that what was derived from it can go, too.
    pub fn take_dropped(&mut self) -> Vec<Dropped> {
        std::mem::take(&mut self.dropped)
    }

    /// Somebody looks at the entries around a place of these sources, instead of at their ends:
    /// what is far from it goes first.
    pub fn look_at<'s>(&mut self, place: Option<(LineId, impl Iterator<Item = &'s SourceId>)>) {
        self.looked_at = place.map(|(id, sources)| {
            let sources = sources.filter_map(|source| self.names.get(source).copied());
            (id, sources.collect())
        });
    }

    /// Adds a line at its place, and evicts for it if it must. The line may be late. `None` if it
    /// is not held: its place is among lines that are missing.
    pub fn push(
        &mut self,
        source: &SourceId,
        at: Timestamp,
        channel: Channel,
        bytes: &[u8],
    ) -> Option<LineId> {
        let block_bytes = self.block_bytes;
        let (index, into) = self.source_mut(source)?;
        let before = into.bytes;
        let (key, held) = into.push(nanoseconds(at), channel, bytes, block_bytes);
        let grown = into.bytes - before;
        self.grow(grown);
        held.then(|| LineId::new(key, index))
    }

    /// Adds what happened to a source between two of its lines.
    pub fn push_mark(&mut self, source: &SourceId, at: Timestamp, mark: Mark) -> Option<LineId> {
        let block_bytes = self.block_bytes;
        let (index, into) = self.source_mut(source)?;
        let before = into.bytes;
        let (key, held) = into.push_mark(nanoseconds(at), mark, block_bytes);
        let grown = into.bytes - before;
        self.grow(grown);
        held.then(|| LineId::new(key, index))
    }

    /// A source's log was opened: whether what comes next is its beginning, and whether it is the
    /// log of another container than the one before.
    pub fn opened(&mut self, source: &SourceId, reached_start: bool, anew: bool) {
        if let Some((_, source)) = self.source_mut(source) {
            source.opened(reached_start, anew);
        }
    }

    /// Begins to put back what is missing in front of an entry; `false` if nothing is, or
    /// somebody is at it already.
    pub fn begin_fill(&mut self, before: LineId, filling: Filling) -> bool {
        let source = self.sources.get_mut(before.source as usize);
        source.is_some_and(|source| source.begin_fill((before.at, before.ordinal), filling))
    }

    /// Puts lines back, in their order, in whole groups of equal times. Those that are held
    /// already are left out.
    pub fn fill(
        &mut self,
        source: u32,
        at: Timestamp,
        channel: Channel,
        bytes: &[u8],
    ) -> Option<LineId> {
        let block_bytes = self.block_bytes;
        let into = self.sources.get_mut(source as usize)?;
        let before = into.bytes;
        let key = into.fill(nanoseconds(at), channel, bytes, block_bytes)?;
        let grown = into.bytes - before;
        self.grow(grown);
        Some(LineId::new(key, source))
    }

    /// Ends what [`Self::begin_fill`] began; `None` where it was cut off. Returns the marks that
    /// came back with the lines.
    pub fn end_fill(&mut self, source: u32, end: Option<Filled>) -> Vec<LineId> {
        let Some(into) = self.sources.get_mut(source as usize) else {
            return Vec::new();
        };
        let before = into.bytes;
        let back = into.end_fill(end);
        let grown = into.bytes - before;
        self.grow(grown);
        back.into_iter()
            .map(|key| LineId::new(key, source))
            .collect()
    }

    pub fn is_filling(&self, source: u32) -> bool {
        let source = self.sources.get(source as usize);
        source.is_some_and(Source::is_filling)
    }

    /// How many records the engine's log has from an entry on, as far as that is known.
    pub fn records_from(&self, id: LineId) -> u64 {
        let source = self.sources.get(id.source as usize);
        source.map_or(0, |source| source.records_from((id.at, id.ordinal)))
    }

    fn source_mut(&mut self, source: &SourceId) -> Option<(u32, &mut Source)> {
        let index = match self.names.get(source) {
            Some(index) => *index,
            None => {
                let index = u32::try_from(self.sources.len()).ok()?;
                self.names.insert(source.clone(), index);
                self.sources.push(Source::new(source.clone()));
                index
            }
        };
        Some((index, self.sources.get_mut(index as usize)?))
    }

    fn grow(&mut self, by: usize) {
        self.held += by;
        while self.held > self.budget && self.evict() {}
    }

    /// Drops a block of the source that holds most: the oldest, or the one that is furthest from
    /// where somebody looks.
    fn evict(&mut self) -> bool {
        let sizes = (0u32..).zip(&self.sources);
        let mut largest: Vec<(usize, u32)> = sizes.map(|(index, s)| (s.bytes, index)).collect();
        largest.sort_unstable_by(|a, b| b.cmp(a));
        let far = largest.iter().find_map(|(bytes, index)| {
            let place = self.far_from_view(*index)?;
            (*bytes > 0).then_some((*index, place))
        });
        // If there is nothing but what somebody looks at, some of that has to go.
        let fallback = largest.first().map(|(_, index)| (*index, 0));
        let Some((index, place)) = far.or(fallback) else {
            return false;
        };
        let Some(largest) = self.sources.get_mut(index as usize) else {
            return false;
        };
        let before = largest.bytes;
        let Some((first, last)) = largest.evict(place) else {
            return false;
        };
        self.held -= before - largest.bytes;
        self.dropped.push(Dropped {
            first: LineId::new(first, index),
            last: LineId::new(last, index),
        });
        true
    }

    /// The block of a source that goes first; `None` where only what somebody looks at is left.
    fn far_from_view(&self, index: u32) -> Option<usize> {
        let source = self.sources.get(index as usize)?;
        let Some((id, _)) = self
            .looked_at
            .as_ref()
            .filter(|(_, sources)| sources.contains(&index))
        else {
            return Some(0);
        };
        let here = source.slot_of(id.key_in(index));
        let newest = source.block_count().saturating_sub(NEWEST + 1);
        match newest.saturating_sub(here) > here {
            true => Some(newest),
            false => (here > 0).then_some(0),
        }
    }

    /// Drops all that is kept of a source.
    pub fn clear(&mut self, source: &SourceId) {
        let Some(index) = self.names.get(source) else {
            return;
        };
        if let Some(source) = self.sources.get_mut(*index as usize) {
            self.held -= source.bytes;
            source.clear();
            self.dropped.push(Dropped {
                first: LineId::new((i64::MIN, 0), *index),
                last: LineId::new((i64::MAX, u32::MAX), *index),
            });
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

    /// What the source is called that an id names.
    pub fn source_id(&self, index: u32) -> Option<&SourceId> {
        self.sources.get(index as usize).map(|source| &source.id)
    }

    /// `None` if it is not held.
    pub fn get(&self, id: LineId) -> Option<Entry<'_>> {
        let source = self.sources.get(id.source as usize)?;
        let place = source.seek((id.at, id.ordinal));
        let entry = merged::entry(source, place, id.source)?;
        (entry.id == id).then_some(entry)
    }

    pub fn holds(&self, id: LineId) -> bool {
        let key = (id.at, id.ordinal);
        let source = self.sources.get(id.source as usize);
        source.is_some_and(|source| source.key(source.seek(key)) == Some(key))
    }

    /// The sources as one sequence. Sources that have not printed anything are fine.
    pub fn merged<'s>(&self, sources: impl IntoIterator<Item = &'s SourceId>) -> Merged<'_> {
        Merged::new(self.parts(sources))
    }

    /// What is held of the sources now, to be looked through elsewhere.
    pub fn snapshot<'s>(&self, sources: impl IntoIterator<Item = &'s SourceId>) -> Snapshot {
        Snapshot::new(&self.parts(sources))
    }

    fn parts<'s>(&self, sources: impl IntoIterator<Item = &'s SourceId>) -> Vec<(u32, &Source)> {
        let mut parts: Vec<(u32, &Source)> = sources
            .into_iter()
            .filter_map(|id| {
                let index = *self.names.get(id)?;
                Some((index, self.sources.get(index as usize)?))
            })
            .collect();
        parts.sort_by_key(|(index, _)| *index);
        parts.dedup_by_key(|(index, _)| *index);
        parts
    }
}

/// Clamped to what 64 bits can say, years 1678 to 2262.
fn nanoseconds(at: Timestamp) -> i64 {
    let nanoseconds = at.as_nanosecond();
    i64::try_from(nanoseconds).unwrap_or(if nanoseconds < 0 { i64::MIN } else { i64::MAX })
}
