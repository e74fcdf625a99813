//! The entries of one source: blocks in order, and what is missing between them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::block::{Addition, Block, Content, FIRST_MARK, Key, Weight};
use crate::domain::line::{self, Channel, Mark, SourceId};
use crate::text::level::{Level, level};

/// [`line::DISORDER`] in nanoseconds.
const DISORDER: i64 = line::DISORDER.as_secs() * 1_000_000_000;

/// How many marks are kept beyond the blocks that they stood in.
const KEPT_MARKS: usize = 4096;

/// Lines that are not held between an entry and the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// `None` where nobody has counted them.
    pub lines: Option<u64>,
    /// They cannot be read again: their container or their file is gone.
    pub lost: bool,
}

/// Which side of a gap is read, and how far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filling {
    /// Its last lines.
    FromBelow,
    /// Its first lines, right behind what is held above it.
    FromAbove,
    /// All of it, or its first lines as far as there is room; above it is the log's beginning.
    FromStart,
    /// From some time in the middle on.
    Apart,
}

/// How reading a piece of a log ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filled {
    /// Nothing of the log comes before the piece.
    pub reached_start: bool,
    /// Nothing is missing between the piece and the entry behind the gap.
    pub complete: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) id: SourceId,
    /// Never with an empty block in it.
    slots: VecDeque<Slot>,
    pub(super) bytes: usize,
    /// Entries that had to go for the budget and were not read again.
    pub(super) evicted: u64,
    /// Lines that came as they were written.
    pub(super) arrived: u64,
    /// The last key that a line was given.
    tip: Option<Key>,
    /// What the last line of each channel is worth.
    levels: [Option<Level>; 2],
    /// What is missing behind the last entry.
    after: Option<Gap>,
    /// Marks of blocks that went.
    kept: BTreeMap<Key, Mark>,
    /// What comes before it is of a container that is gone.
    generation: Option<Key>,
    fill: Option<Fill>,
}

#[derive(Clone, Debug)]
struct Slot {
    /// How many held entries precede it in the source.
    rank: u64,
    gap: Option<Gap>,
    filled: bool,
    block: Arc<Block>,
}

/// A piece of the log that is being put into a gap.
#[derive(Clone, Debug)]
struct Fill {
    filling: Filling,
    /// The entry behind the gap, and the one in front of it.
    before: Key,
    after: Option<Key>,
    /// What was missing when it began.
    gap: Gap,
    at: Option<Key>,
    levels: [Option<Level>; 2],
    /// It began with lines that are held in front of the gap.
    overlaps: bool,
    first: Option<Key>,
    last: Option<Key>,
    added: u64,
}

/// A place in one source: its block, and the row in it. A place past the end is the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    slot: usize,
    row: usize,
}

impl Cursor {
    pub(super) const START: Self = Self { slot: 0, row: 0 };
}

impl Source {
    pub(super) fn new(id: SourceId) -> Self {
        Self {
            id,
            slots: VecDeque::new(),
            bytes: 0,
            evicted: 0,
            arrived: 0,
            tip: None,
            levels: [None; 2],
            after: None,
            kept: BTreeMap::new(),
            generation: None,
            fill: None,
        }
    }

    /// Adds a line that has just come; it may be late. Returns its key, and whether it is held:
    /// one that belongs where lines are missing is missing, too.
    pub(super) fn push(
        &mut self,
        at: i64,
        channel: Channel,
        bytes: &[u8],
        block_bytes: usize,
    ) -> (Key, bool) {
        // A clock that is set back must not hide what is written from then on.
        let at = match self.tip {
            Some((tip, _)) if at < tip.saturating_sub(DISORDER) => tip,
            _ => at,
        };
        let key = (at, self.next_ordinal(at));
        self.arrived += 1;
        let weight = weigh(bytes, channel, &mut self.levels);
        let line = Addition::Line {
            channel,
            weight,
            bytes,
        };
        let held = self.add(key, line, block_bytes);
        self.tip = self.tip.max(Some(key));
        (key, held)
    }

    pub(super) fn push_mark(&mut self, at: i64, mark: Mark, block_bytes: usize) -> (Key, bool) {
        let end = self.seek((at, u32::MAX));
        let ordinal = match self.previous(end).and_then(|place| self.key(place)) {
            Some((last, ordinal)) if last == at && ordinal >= FIRST_MARK => ordinal + 1,
            _ => FIRST_MARK,
        };
        let key = (at, ordinal);
        let kept = mark.clone();
        let held = self.add(key, Addition::Mark(mark), block_bytes);
        if !held {
            self.keep(key, kept);
        }
        (key, held)
    }

    /// A line at `at` is so many-eth of that very time.
    fn next_ordinal(&self, at: i64) -> u32 {
        match self.tip {
            Some((tip, ordinal)) if tip == at => return (ordinal + 1).min(FIRST_MARK - 1),
            Some((tip, _)) if tip > at => {}
            _ => return 0,
        }
        let behind = self.seek((at, FIRST_MARK));
        match self.previous(behind).and_then(|place| self.key(place)) {
            Some((last, ordinal)) if last == at => (ordinal + 1).min(FIRST_MARK - 1),
            _ => 0,
        }
    }

    fn add(&mut self, key: Key, addition: Addition<'_>, block_bytes: usize) -> bool {
        // Looked for from the end: an entry is late by a few lines, hardly by blocks.
        let place = self
            .slots
            .iter()
            .rposition(|slot| slot.block.first().is_some_and(|first| first <= key));
        let behind = |slot: &Slot| slot.block.last().is_some_and(|last| last < key);
        let missing = match place {
            // Where nothing is held at all, what is older than the last line is among what went.
            None if self.slots.is_empty() => self.after.as_mut().filter(|_| Some(key) < self.tip),
            None => self.slots.front_mut().and_then(|slot| slot.gap.as_mut()),
            Some(place) if self.slots.get(place).is_some_and(behind) => {
                let next = self.slots.get_mut(place + 1);
                next.and_then(|slot| slot.gap.as_mut())
            }
            Some(_) => None,
        };
        if let Some(gap) = missing {
            gap.lines = gap.lines.map(|lines| lines + 1);
            return false;
        }
        // The first line of a log that was opened is the one with lines missing in front of it,
        // also where marks that we made ourselves stand behind it already.
        let opens = self.after.is_some() && matches!(addition, Addition::Line { .. });
        let has_room = |slot: &Slot| slot.has_room(&addition, block_bytes);
        let place = match place {
            Some(place) if !opens && self.slots.get(place).is_some_and(has_room) => place,
            Some(place) => {
                let behind = self.split(place, key);
                self.open(behind)
            }
            None if !opens && self.slots.front().is_some_and(has_room) => 0,
            None => self.open(0),
        };
        if opens && let Some(slot) = self.slots.get_mut(place) {
            slot.gap = self.after.take();
        }
        self.insert(place, key, addition);
        true
    }

    /// An empty block at a place, for what comes there.
    fn open(&mut self, place: usize) -> usize {
        let above = place.checked_sub(1);
        if let Some(slot) = above.and_then(|above| self.slots.get_mut(above)) {
            Arc::make_mut(&mut slot.block).seal();
        }
        self.slots.insert(
            place,
            Slot {
                rank: 0,
                gap: None,
                filled: false,
                block: Arc::default(),
            },
        );
        self.rank_again(place);
        place
    }

    /// Divides a block so that what comes behind `key` stands in one of its own. Returns where
    /// that is.
    fn split(&mut self, place: usize, key: Key) -> usize {
        let behind = match self.slots.get_mut(place) {
            Some(slot) if slot.block.last() > Some(key) => {
                Arc::make_mut(&mut slot.block).split_off(key)
            }
            _ => return place + 1,
        };
        let filled = self.slots.get(place).is_some_and(|slot| slot.filled);
        self.slots.insert(
            place + 1,
            Slot {
                rank: 0,
                gap: None,
                filled,
                block: Arc::new(behind),
            },
        );
        self.rank_again(place + 1);
        place + 1
    }

    fn insert(&mut self, place: usize, key: Key, addition: Addition<'_>) {
        let Some(slot) = self.slots.get_mut(place) else {
            return;
        };
        self.bytes += addition.size();
        Arc::make_mut(&mut slot.block).insert(key, addition);
        for later in self.slots.iter_mut().skip(place + 1) {
            later.rank += 1;
        }
    }

    fn rank_again(&mut self, from: usize) {
        let mut rank = match from
            .checked_sub(1)
            .and_then(|before| self.slots.get(before))
        {
            Some(slot) => slot.rank + slot.block.len() as u64,
            None => 0,
        };
        for slot in self.slots.iter_mut().skip(from) {
            slot.rank = rank;
            rank += slot.block.len() as u64;
        }
    }

    fn keep(&mut self, key: Key, mark: Mark) {
        self.kept.insert(key, mark);
        if self.kept.len() > KEPT_MARKS {
            self.kept.pop_first();
        }
    }

    /// Drops a block; those who come here again find a gap. Returns the first and last key of
    /// what went.
    pub(super) fn evict(&mut self, place: usize) -> Option<(Key, Key)> {
        let slot = self.slots.remove(place)?;
        self.bytes -= slot.block.bytes();
        let lines = slot.block.len() as u64;
        self.evicted += lines;
        for (key, mark) in slot.block.marks() {
            self.keep(key, mark);
        }
        let (first, last) = (slot.block.first()?, slot.block.last()?);
        let generation = self.generation;
        let next = match self.slots.get_mut(place) {
            Some(next) => &mut next.gap,
            None => &mut self.after,
        };
        let gone = Gap {
            lines: Some(lines),
            lost: generation.is_some_and(|generation| last < generation),
        };
        *next = [slot.gap, Some(gone), *next]
            .into_iter()
            .flatten()
            .reduce(Gap::and);
        self.rank_again(place);
        Some((first, last))
    }

    pub(super) fn clear(&mut self) {
        let id = self.id.clone();
        // Keys that were given out are not given out again.
        *self = Self {
            tip: self.tip,
            arrived: self.arrived,
            ..Self::new(id)
        };
    }

    /// The log was opened: whether what will come next is its beginning, and whether it is the
    /// log of another container than before.
    pub(super) fn opened(&mut self, reached_start: bool, anew: bool) {
        if anew && let Some(tip) = self.tip {
            self.generation = Some(tip);
            let gaps = self.slots.iter_mut().filter_map(|slot| slot.gap.as_mut());
            for gap in gaps.chain(self.after.as_mut()) {
                gap.lost = true;
            }
        }
        if !reached_start {
            let unknown = Gap {
                lines: None,
                lost: false,
            };
            self.after = Some(self.after.map_or(unknown, |after| after.and(unknown)));
        }
    }

    /// Begins to put a piece of the log into the gap in front of an entry.
    pub(super) fn begin_fill(&mut self, before: Key, filling: Filling) -> bool {
        let place = self.seek(before);
        let Some(slot) = self.slots.get(place.slot) else {
            return false;
        };
        let Some(gap) = slot.gap.filter(|gap| !gap.lost) else {
            return false;
        };
        if place.row != 0 || slot.block.first() != Some(before) || self.fill.is_some() {
            return false;
        }
        let after = self.previous(place).and_then(|place| self.key(place));
        self.fill = Some(Fill {
            filling,
            before,
            after,
            gap,
            at: None,
            levels: [None; 2],
            overlaps: false,
            first: None,
            last: None,
            added: 0,
        });
        true
    }

    /// Puts the next line of the piece into the gap; `None` where it is held already.
    pub(super) fn fill(
        &mut self,
        at: i64,
        channel: Channel,
        bytes: &[u8],
        block_bytes: usize,
    ) -> Option<Key> {
        let fill = self.fill.as_mut()?;
        let key = match fill.at {
            Some((last, ordinal)) if last == at => (at, (ordinal + 1).min(FIRST_MARK - 1)),
            // The two channels may be out of order by a little.
            Some((last, _)) if last > at => {
                let behind = self.seek((at, FIRST_MARK));
                match self.previous(behind).and_then(|place| self.key(place)) {
                    Some((other, ordinal)) if other == at => (at, ordinal + 1),
                    _ => (at, 0),
                }
            }
            _ => (at, 0),
        };
        let fill = self.fill.as_mut()?;
        fill.at = fill.at.max(Some(key));
        let weight = weigh(bytes, channel, &mut fill.levels);
        if Some(key) <= fill.after {
            fill.overlaps = true;
            return None;
        }
        if key >= fill.before {
            return None;
        }
        let (before, filling, gap) = (fill.before, fill.filling, fill.gap);
        fill.first = Some(fill.first.map_or(key, |first| first.min(key)));
        fill.last = fill.last.max(Some(key));
        fill.added += 1;
        let is_first = fill.added == 1;
        let target = self.seek(before).slot;
        let line = Addition::Line {
            channel,
            weight,
            bytes,
        };
        let current = target.checked_sub(1).filter(|_| !is_first);
        let current = current.filter(|current| self.slots.get(*current).is_some_and(|s| s.filled));
        let place = match current {
            Some(current)
                if self.slots.get(current).is_some_and(|slot| {
                    slot.has_room(&line, block_bytes) || slot.block.last() > Some(key)
                }) =>
            {
                current
            }
            current => {
                if let Some(slot) = current.and_then(|current| self.slots.get_mut(current)) {
                    Arc::make_mut(&mut slot.block).seal();
                }
                let unknown = Gap { lines: None, ..gap };
                let above = match filling {
                    // What was put back a moment ago had to go already.
                    _ if !is_first => current.is_none().then_some(unknown),
                    Filling::FromBelow | Filling::Apart => Some(unknown),
                    Filling::FromAbove | Filling::FromStart => None,
                };
                self.slots.insert(
                    target,
                    Slot {
                        rank: 0,
                        gap: above,
                        filled: true,
                        block: Arc::default(),
                    },
                );
                self.rank_again(target);
                target
            }
        };
        self.insert(place, key, line);
        let target = self.seek(before).slot;
        if let Some(gap) = self
            .slots
            .get_mut(target)
            .and_then(|slot| slot.gap.as_mut())
        {
            gap.lines = match filling {
                Filling::FromBelow | Filling::Apart => None,
                Filling::FromAbove | Filling::FromStart => {
                    gap.lines.map(|lines| lines.saturating_sub(1))
                }
            };
        }
        // Those that nobody has counted were never held.
        if gap.lines.is_some() {
            self.evicted = self.evicted.saturating_sub(1);
        }
        Some(key)
    }

    /// The piece is whole, or was cut off where `end` is `None`: then what is missing stays
    /// missing. Returns the marks that came back with its lines.
    pub(super) fn end_fill(&mut self, end: Option<Filled>) -> Vec<Key> {
        let Some(fill) = self.fill.take() else {
            return Vec::new();
        };
        let target = self.seek(fill.before).slot;
        let end = end.unwrap_or(Filled {
            reached_start: false,
            complete: false,
        });
        let rest = fill.gap.lines.map(|lines| lines.saturating_sub(fill.added));
        let lost = rest.filter(|rest| *rest > 0).map(|rest| Gap {
            lines: Some(rest),
            lost: true,
        });
        // Room was made meanwhile, perhaps of what had just been put back: then the gaps are as
        // eviction has left them.
        let above = target
            .checked_sub(1)
            .and_then(|above| self.slots.get(above));
        let adjoins = above.is_some_and(|slot| slot.filled && slot.block.last() >= fill.last);
        let first = fill.first.map(|first| (first, self.seek(first)));
        let first = first.filter(|(first, place)| {
            let above = self.previous(*place).and_then(|above| self.key(above));
            self.key(*place) == Some(*first) && above == fill.after
        });
        let nothing_came = fill.added == 0;
        let to_the_brim = end.reached_start || fill.overlaps;
        if end.complete && (adjoins || (nothing_came && to_the_brim)) {
            if let Some(slot) = self.slots.get_mut(target) {
                // What does not come now would not come the next time either.
                slot.gap = lost.filter(|_| nothing_came);
            }
            if let Some((_, place)) = first
                && let Some(slot) = self.slots.get_mut(place.slot)
            {
                slot.gap = match fill.filling {
                    Filling::FromBelow | Filling::Apart if !end.reached_start => Some(Gap {
                        lines: rest,
                        lost: false,
                    }),
                    Filling::FromAbove => None,
                    _ => lost,
                };
                slot.gap = slot.gap.filter(|_| !fill.overlaps);
            }
        }
        for slot in &mut self.slots {
            slot.filled = false;
        }
        let Some(first) = fill.first else {
            return Vec::new();
        };
        let back: Vec<Key> = self
            .kept
            .range(first..fill.before)
            .map(|(key, _)| *key)
            .collect();
        for key in &back {
            if let Some(mark) = self.kept.remove(key) {
                let place = self.seek(*key).slot.min(target);
                self.insert(place, *key, Addition::Mark(mark));
            }
        }
        back
    }

    pub(super) fn is_filling(&self) -> bool {
        self.fill.is_some()
    }

    /// How many records the log has from an entry on, as far as that is known.
    pub(super) fn records_from(&self, key: Key) -> u64 {
        let from = self.seek(key).slot;
        let held = self.slots.iter().skip(from);
        let missing = self.slots.iter().skip(from + 1).filter_map(|slot| slot.gap);
        held.map(|slot| slot.block.records()).sum::<u64>()
            + missing
                .chain(self.after)
                .filter_map(|gap| gap.lines)
                .sum::<u64>()
    }

    /// The gap that a place stands right behind.
    pub(super) fn gap(&self, cursor: Cursor) -> Option<Gap> {
        match cursor.row {
            0 => self.slots.get(cursor.slot)?.gap,
            _ => None,
        }
    }

    /// The nearest entry at a place or before it that has lines missing in front of it, and
    /// how many entries lie between.
    pub(super) fn gap_above(&self, cursor: Cursor) -> Option<(Key, u64)> {
        let here = self.rank(cursor);
        (0..=cursor.slot.min(self.slots.len().checked_sub(1)?))
            .rev()
            .filter_map(|index| self.slots.get(index))
            .find(|slot| slot.gap.is_some_and(|gap| !gap.lost))
            .and_then(|slot| Some((slot.block.first()?, here.saturating_sub(slot.rank))))
    }

    /// The nearest entry behind a place that has lines missing in front of it, and how many
    /// entries lie between.
    pub(super) fn gap_below(&self, cursor: Cursor) -> Option<(Key, u64)> {
        let here = self.rank(cursor);
        self.slots
            .iter()
            .skip(cursor.slot + 1)
            .find(|slot| slot.gap.is_some_and(|gap| !gap.lost))
            .and_then(|slot| Some((slot.block.first()?, slot.rank.saturating_sub(here))))
    }

    /// Whether nothing is missing that could be read.
    pub(super) fn is_whole(&self) -> bool {
        let gaps = self.slots.iter().map(|slot| slot.gap);
        gaps.chain([self.after])
            .all(|gap| gap.is_none_or(|gap| gap.lost))
    }

    pub(super) fn blocks(&self) -> impl DoubleEndedIterator<Item = &Arc<Block>> {
        self.slots.iter().map(|slot| &slot.block)
    }

    pub(super) fn block_count(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn len(&self) -> u64 {
        self.slots
            .back()
            .map_or(0, |slot| slot.rank + slot.block.len() as u64)
    }

    pub(super) fn end(&self) -> Cursor {
        Cursor {
            slot: self.slots.len(),
            row: 0,
        }
    }

    /// How many held entries precede the place.
    pub(super) fn rank(&self, cursor: Cursor) -> u64 {
        match self.slots.get(cursor.slot) {
            Some(slot) => slot.rank + cursor.row as u64,
            None => self.len(),
        }
    }

    /// The place of the `n`th held entry.
    pub(super) fn nth(&self, n: u64) -> Cursor {
        let slot = self
            .slots
            .partition_point(|slot| slot.rank + slot.block.len() as u64 <= n);
        let row = self
            .slots
            .get(slot)
            .map_or(0, |slot| (n - slot.rank) as usize);
        Cursor { slot, row }
    }

    /// The place of the first entry that does not come before `key`.
    pub(super) fn seek(&self, key: Key) -> Cursor {
        let slot = self
            .slots
            .partition_point(|slot| slot.block.last().is_some_and(|last| last < key));
        let row = self.slots.get(slot).map_or(0, |slot| slot.block.seek(key));
        Cursor { slot, row }
    }

    pub(super) fn slot_of(&self, key: Key) -> usize {
        self.seek(key).slot
    }

    pub(super) fn key(&self, cursor: Cursor) -> Option<Key> {
        self.slots.get(cursor.slot)?.block.key(cursor.row)
    }

    pub(super) fn content(&self, cursor: Cursor) -> Option<Content<'_>> {
        self.slots.get(cursor.slot)?.block.content(cursor.row)
    }

    pub(super) fn next(&self, cursor: Cursor) -> Cursor {
        match self.slots.get(cursor.slot) {
            Some(slot) if cursor.row + 1 < slot.block.len() => Cursor {
                row: cursor.row + 1,
                ..cursor
            },
            Some(_) => Cursor {
                slot: cursor.slot + 1,
                row: 0,
            },
            None => cursor,
        }
    }

    pub(super) fn previous(&self, cursor: Cursor) -> Option<Cursor> {
        if cursor.row > 0 {
            return Some(Cursor {
                row: cursor.row - 1,
                ..cursor
            });
        }
        let slot = cursor.slot.min(self.slots.len()).checked_sub(1)?;
        let row = self.slots.get(slot)?.block.len().checked_sub(1)?;
        Some(Cursor { slot, row })
    }

    /// The next line behind a place, or the one before it, that says itself that it is of
    /// `level` or above.
    pub(super) fn next_of_level(&self, from: Cursor, level: Level, forward: bool) -> Option<Key> {
        let says = |content: Option<Content<'_>>| matches!(content, Some(Content::Line { weight: Weight { level: Some(own), inherited: false }, .. }) if own >= level);
        if forward {
            let mut at = from;
            while let Some(slot) = self.slots.get(at.slot) {
                if slot.block.reaches(level) {
                    let found =
                        (at.row..slot.block.len()).find(|row| says(slot.block.content(*row)));
                    if let Some(row) = found {
                        return slot.block.key(row);
                    }
                }
                at = Cursor {
                    slot: at.slot + 1,
                    row: 0,
                };
            }
            return None;
        }
        let mut rows = from.row;
        for index in (0..=from.slot.min(self.slots.len())).rev() {
            let Some(slot) = self.slots.get(index) else {
                rows = usize::MAX;
                continue;
            };
            if slot.block.reaches(level) {
                let rows = 0..rows.min(slot.block.len());
                if let Some(row) = rows.rev().find(|row| says(slot.block.content(*row))) {
                    return slot.block.key(row);
                }
            }
            rows = usize::MAX;
        }
        None
    }
}

impl Slot {
    fn has_room(&self, addition: &Addition<'_>, block_bytes: usize) -> bool {
        self.block.len() == 0 || self.block.bytes() + addition.size() <= block_bytes
    }
}

impl Gap {
    fn and(self, other: Self) -> Self {
        Self {
            lines: self.lines.zip(other.lines).map(|(a, b)| a + b),
            lost: self.lost && other.lost,
        }
    }
}

/// What a line is worth. One that does not say belongs to the one before it in its channel.
fn weigh(bytes: &[u8], channel: Channel, last: &mut [Option<Level>; 2]) -> Weight {
    let last = &mut last[usize::from(channel == Channel::Err)];
    match level(bytes) {
        Some(level) => {
            *last = Some(level);
            Weight {
                level: Some(level),
                inherited: false,
            }
        }
        None => Weight {
            level: *last,
            inherited: true,
        },
    }
}
