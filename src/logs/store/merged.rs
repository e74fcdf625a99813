//! Several sources read as one sequence.

use super::source::{Cursor, Source};
use super::{Entry, LineId};
use crate::text::level::Level;

/// Several sources as one sequence. Borrowed and free to make: made anew for each look.
#[derive(Clone, Debug)]
pub struct Merged<'a> {
    parts: Vec<(u32, &'a Source)>,
}

pub(super) fn entry(source: &Source, place: Cursor, own: u32) -> Option<Entry<'_>> {
    Some(Entry {
        id: LineId::new(source.key(place)?, own),
        source: &source.id,
        gap: source.gap(place),
        content: source.content(place)?,
    })
}

impl<'a> Merged<'a> {
    pub(super) fn new(parts: Vec<(u32, &'a Source)>) -> Self {
        Self { parts }
    }

    /// How many entries are held.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|(_, s)| s.len() as usize).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.parts.iter().all(|(_, source)| source.len() == 0)
    }

    /// How many entries the budget has cost these sources.
    pub fn evicted(&self) -> u64 {
        self.parts.iter().map(|(_, source)| source.evicted).sum()
    }

    /// How many lines have come as they were written.
    pub fn arrived(&self) -> u64 {
        self.parts.iter().map(|(_, source)| source.arrived).sum()
    }

    pub fn first(&self) -> Option<LineId> {
        self.forward_from_start().next().map(|entry| entry.id)
    }

    pub fn last(&self) -> Option<LineId> {
        self.backward_from_end().next().map(|entry| entry.id)
    }

    /// How many held entries come before `id`, whether or not it is held itself.
    pub fn rank(&self, id: LineId) -> usize {
        self.parts
            .iter()
            .map(|(own, source)| source.rank(source.seek(id.key_in(*own))) as usize)
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
            let pivot = LineId::new(source.key(source.nth(middle))?, own);
            let places: Vec<u64> = self
                .parts
                .iter()
                .zip(&ranges)
                .map(|((own, source), (low, high))| {
                    let place = source.seek(pivot.key_in(*own));
                    source.rank(place).clamp(*low, *high)
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

    /// The next line behind `id`, or the one before it, that says itself that it is of `level` or
    /// above.
    pub fn next_of_level(&self, id: LineId, level: Level, forward: bool) -> Option<LineId> {
        let found = self.parts.iter().filter_map(|(own, source)| {
            let mut place = source.seek(id.key_in(*own));
            if forward && source.key(place).map(|key| LineId::new(key, *own)) == Some(id) {
                place = source.next(place);
            }
            let key = source.next_of_level(place, level, forward)?;
            Some(LineId::new(key, *own))
        });
        match forward {
            true => found.min(),
            false => found.max(),
        }
    }

    /// The first entries of the sources whose logs have lines before them that can be read.
    pub fn heads(&self) -> impl Iterator<Item = LineId> {
        self.parts.iter().filter_map(|(own, source)| {
            source.gap(Cursor::START).filter(|gap| !gap.lost)?;
            Some(LineId::new(source.key(Cursor::START)?, *own))
        })
    }

    /// Whether nothing is missing that could be read.
    pub fn is_whole(&self) -> bool {
        self.parts.iter().all(|(_, source)| source.is_whole())
    }

    /// The entry of the same source that comes before one.
    pub fn above(&self, id: LineId) -> Option<LineId> {
        self.before(id.source, id)
    }

    /// Of each source the nearest entry at `id` or before it that has lines missing in front of it
    /// which can be read again, if it is not further away than `reach` entries.
    pub fn gaps_above(&self, id: LineId, reach: u64) -> impl Iterator<Item = LineId> {
        self.parts.iter().filter_map(move |(own, source)| {
            let (key, between) = source.gap_above(source.seek(id.key_in(*own)))?;
            (between <= reach).then(|| LineId::new(key, *own))
        })
    }

    /// Of each source the nearest entry behind `id` that has lines missing in front of it which can
    /// be read again, if it is not further away than `reach` entries.
    pub fn gaps_below(&self, id: LineId, reach: u64) -> impl Iterator<Item = LineId> {
        self.parts.iter().filter_map(move |(own, source)| {
            let (key, between) = source.gap_below(source.seek(id.key_in(*own)))?;
            (between <= reach).then(|| LineId::new(key, *own))
        })
    }

    /// Of each source that has lines missing at `id` which can be read again, the entry behind them.
    pub fn gaps_at(&self, id: LineId) -> impl Iterator<Item = LineId> {
        self.parts.iter().filter_map(move |(own, source)| {
            let wanted = id.key_in(*own);
            let place = source.seek(wanted);
            source.gap(place).filter(|gap| !gap.lost)?;
            let key = source.key(place).filter(|key| *key > wanted)?;
            Some(LineId::new(key, *own))
        })
    }

    /// From the first entry on.
    pub fn forward_from_start(&self) -> Forward<'a> {
        self.forward_from(|_, _| Cursor::START)
    }

    /// From `id` on, with it.
    pub fn forward(&self, id: LineId) -> Forward<'a> {
        self.forward_from(|own, source| source.seek(id.key_in(own)))
    }

    fn forward_from(&self, place: impl Fn(u32, &Source) -> Cursor) -> Forward<'a> {
        let heads = self
            .parts
            .iter()
            .map(|(own, source)| Head::at(*own, source, place(*own, source)))
            .collect();
        Forward { heads }
    }

    /// From the last entry back.
    pub fn backward_from_end(&self) -> Backward<'a> {
        self.backward_from(|_, source| source.end())
    }

    /// From the last entry before `id` back.
    pub fn backward(&self, id: LineId) -> Backward<'a> {
        self.backward_from(|own, source| source.seek(id.key_in(own)))
    }

    fn backward_from(&self, place: impl Fn(u32, &Source) -> Cursor) -> Backward<'a> {
        let heads = self
            .parts
            .iter()
            .map(|(own, source)| Head::before(*own, source, place(*own, source)))
            .collect();
        Backward { heads }
    }

    /// `None` if it is not held, or of another source.
    pub fn get(&self, id: LineId) -> Option<Entry<'a>> {
        let source = self.source(id.source)?;
        let entry = entry(source, source.seek((id.at, id.ordinal)), id.source)?;
        (entry.id == id).then_some(entry)
    }

    /// The store's numbers of the sources.
    pub fn sources(&self) -> impl Iterator<Item = u32> {
        self.parts.iter().map(|(own, _)| *own)
    }

    fn source(&self, own: u32) -> Option<&'a Source> {
        let place = self.parts.binary_search_by_key(&own, |(own, _)| *own);
        self.parts.get(place.ok()?).map(|(_, source)| *source)
    }

    /// The first entry of one source that does not come before `id`.
    pub(in crate::logs) fn at_or_after(&self, own: u32, id: LineId) -> Option<LineId> {
        let source = self.source(own)?;
        let key = source.key(source.seek(id.key_in(own)))?;
        Some(LineId::new(key, own))
    }

    /// The last entry of one source that comes before `id`.
    pub(in crate::logs) fn before(&self, own: u32, id: LineId) -> Option<LineId> {
        let source = self.source(own)?;
        let place = source.previous(source.seek(id.key_in(own)))?;
        Some(LineId::new(source.key(place)?, own))
    }

    /// The entries of the same source that are at most `reach` entries before `id` and behind it.
    pub(in crate::logs) fn around(&self, id: LineId, reach: u64) -> Option<(LineId, LineId)> {
        if reach == 0 {
            return Some((id, id));
        }
        let source = self.source(id.source)?;
        let rank = source.rank(source.seek((id.at, id.ordinal)));
        let last = source.len().checked_sub(1)?;
        let from = source.key(source.nth(rank.saturating_sub(reach)))?;
        let to = source.key(source.nth(rank.saturating_add(reach).min(last)))?;
        Some((LineId::new(from, id.source), LineId::new(to, id.source)))
    }
}

/// Where a walk stands in one source; `id` is that of the entry there, if there is one.
#[derive(Debug)]
struct Head<'a> {
    own: u32,
    source: &'a Source,
    place: Cursor,
    id: Option<LineId>,
}

impl<'a> Head<'a> {
    fn at(own: u32, source: &'a Source, place: Cursor) -> Self {
        Self {
            own,
            source,
            place,
            id: source.key(place).map(|key| LineId::new(key, own)),
        }
    }

    fn before(own: u32, source: &'a Source, place: Cursor) -> Self {
        match source.previous(place) {
            Some(previous) => Self::at(own, source, previous),
            None => Self {
                own,
                source,
                place,
                id: None,
            },
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
        let entry = entry(head.source, head.place, head.own);
        *head = Head::at(head.own, head.source, head.source.next(head.place));
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
        let entry = entry(head.source, head.place, head.own);
        *head = Head::before(head.own, head.source, head.place);
        entry
    }
}
