//! A search over the lines of a pane, done bit by bit so that a key is never kept waiting.

use std::collections::{BTreeMap, VecDeque};

use crate::logs::store::{Content, LineId, LogStore, Merged};
use crate::text::matcher::Matcher;

/// Lines that are looked through in one go: a few milliseconds of work.
pub const SLICE: usize = 20_000;

/// Bytes after which a slice ends too, where its lines are long.
pub const SLICE_BYTES: usize = 2 << 20;

#[derive(Clone, Debug)]
pub struct Search {
    matcher: Matcher,
    /// The lines that match, per source and in order, so that evicted ones leave at the front.
    hits: BTreeMap<u32, VecDeque<LineId>>,
    scan: Scan,
    /// The hit that was gone to last.
    pub current: Option<LineId>,
}

/// From the newest line back, since what is sought is more likely there.
#[derive(Clone, Copy, Debug)]
enum Scan {
    FromEnd,
    Before(LineId),
    Done,
}

impl Search {
    pub fn new(matcher: Matcher) -> Self {
        Self {
            matcher,
            hits: BTreeMap::new(),
            scan: Scan::FromEnd,
            current: None,
        }
    }

    pub fn matcher(&self) -> &Matcher {
        &self.matcher
    }

    /// Forgets what was found: other lines are shown now.
    pub fn restart(&mut self) {
        self.hits.clear();
        self.scan = Scan::FromEnd;
        self.current = None;
    }

    /// Looks at a line that has just come.
    pub fn offer(&mut self, id: LineId, bytes: &[u8]) {
        if self.matcher.is_match(bytes) {
            let hits = self.hits.entry(id.source()).or_default();
            if let Err(place) = hits.binary_search(&id) {
                hits.insert(place, id);
            }
        }
    }

    /// Looks through the next lines.
    pub fn scan(&mut self, lines: &Merged<'_>) {
        let walk = match self.scan {
            Scan::FromEnd => lines.backward_from_end(),
            Scan::Before(id) => lines.backward(id),
            Scan::Done => return,
        };
        self.scan = Scan::Done;
        let mut seen = 0;
        for (index, entry) in walk.enumerate() {
            if let Content::Line { bytes, .. } = entry.content {
                self.offer(entry.id, bytes);
                seen += bytes.len();
            }
            if index + 1 == SLICE || seen >= SLICE_BYTES {
                self.scan = Scan::Before(entry.id);
                break;
            }
        }
    }

    pub fn is_done(&self) -> bool {
        matches!(self.scan, Scan::Done)
    }

    /// Drops what the store no longer holds.
    pub fn prune(&mut self, store: &LogStore) {
        for hits in self.hits.values_mut() {
            while hits.front().is_some_and(|id| !store.holds(*id)) {
                hits.pop_front();
            }
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
        self.hits
            .values()
            .filter_map(|hits| hits.get(hits.partition_point(|hit| *hit <= id)).copied())
            .min()
    }

    pub fn before(&self, id: LineId) -> Option<LineId> {
        self.hits
            .values()
            .filter_map(|hits| {
                let place = hits.partition_point(|hit| *hit < id).checked_sub(1)?;
                hits.get(place).copied()
            })
            .max()
    }

    pub fn at_or_before(&self, id: LineId) -> Option<LineId> {
        self.hits
            .values()
            .filter_map(|hits| {
                let place = hits.partition_point(|hit| *hit <= id).checked_sub(1)?;
                hits.get(place).copied()
            })
            .max()
    }

    pub fn first(&self) -> Option<LineId> {
        self.hits
            .values()
            .filter_map(|hits| hits.front().copied())
            .min()
    }

    pub fn last(&self) -> Option<LineId> {
        self.hits
            .values()
            .filter_map(|hits| hits.back().copied())
            .max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::line::{Channel, Line, SourceId};

    fn filled(lines: usize, budget: usize) -> (LogStore, SourceId, Vec<LineId>) {
        let mut store = LogStore::new(budget);
        let source = SourceId("a".into());
        let ids = (0..lines)
            .map(|n| {
                let line = Line {
                    at: jiff::Timestamp::from_nanosecond(n as i128).unwrap(),
                    channel: Channel::Out,
                    bytes: format!("line {n}").into_bytes().into(),
                };
                store.push(&source, &line)
            })
            .collect();
        (store, source, ids)
    }

    #[test]
    fn a_long_log_is_searched_in_slices_and_whole() {
        let (store, source, ids) = filled(2 * SLICE + 5, 64 << 20);
        let merged = store.merged([&source]);
        let mut search = Search::new(Matcher::new("line").unwrap());
        let mut counts = Vec::new();
        while !search.is_done() {
            search.scan(&merged);
            counts.push(search.count());
        }
        assert_eq!(counts, [SLICE, 2 * SLICE, 2 * SLICE + 5]);
        assert_eq!(search.first(), ids.first().copied());
        assert_eq!(search.number(ids[7]), 8);
        assert_eq!(search.after(ids[7]), Some(ids[8]));
        assert_eq!(search.before(ids[7]), Some(ids[6]));
        assert_eq!(search.before(ids[0]), None);
        assert_eq!(search.last(), ids.last().copied());
    }

    #[test]
    fn a_slice_of_long_lines_has_fewer_of_them() {
        let mut store = LogStore::new(64 << 20);
        let source = SourceId("a".into());
        for n in 0..1000 {
            let line = Line {
                at: jiff::Timestamp::from_nanosecond(n).unwrap(),
                channel: Channel::Out,
                bytes: vec![b'x'; 16 << 10].into(),
            };
            store.push(&source, &line);
        }
        let merged = store.merged([&source]);
        let mut search = Search::new(Matcher::new("x").unwrap());
        let mut before = 0;
        while !search.is_done() {
            search.scan(&merged);
            let bytes = (search.count() - before) * (16 << 10);
            assert!(bytes <= SLICE_BYTES, "{bytes} bytes in one go");
            before = search.count();
        }
        assert_eq!(before, 1000);
    }

    #[test]
    fn evicted_lines_are_no_hits() {
        let (mut store, source, ids) = filled(100, 8 << 10);
        let mut search = Search::new(Matcher::new("line").unwrap());
        search.scan(&store.merged([&source]));
        let before = search.count();
        let line = Line {
            at: jiff::Timestamp::from_nanosecond(1000).unwrap(),
            channel: Channel::Out,
            bytes: vec![b'x'; 6 << 10].into(),
        };
        store.push(&source, &line);
        search.prune(&store);
        assert!(search.count() < before);
        assert_eq!(search.count() + 1, store.usage(&source).entries);
        assert!(search.first() > Some(ids[0]));
    }
}
