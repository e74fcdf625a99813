//! Lines that one wants to come back to.
//!
//! They are kept by their ids, so they stay while their lines are evicted and read again, and
//! while other sources are shown.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::line::SourceId;
use crate::logs::store::LineId;

#[derive(Clone, Debug, Default)]
pub struct Bookmarks {
    lines: BTreeMap<SourceId, BTreeSet<LineId>>,
}

impl Bookmarks {
    /// Sets one, or takes it away; says whether it is there now.
    pub fn toggle(&mut self, source: &SourceId, line: LineId) -> bool {
        let lines = self.lines.entry(source.clone()).or_default();
        let set = lines.insert(line);
        if !set {
            lines.remove(&line);
        }
        set
    }

    /// Takes away all of a source's, as its lines will never be there again.
    pub fn clear(&mut self, source: &SourceId) {
        self.lines.remove(source);
    }

    pub fn contains(&self, source: &SourceId, line: LineId) -> bool {
        let lines = self.lines.get(source);
        lines.is_some_and(|lines| lines.contains(&line))
    }

    /// Those of these sources, in the order of the lines.
    pub fn of<'a>(&'a self, sources: impl IntoIterator<Item = &'a SourceId>) -> BTreeSet<LineId> {
        let lines = sources.into_iter().filter_map(|s| self.lines.get(s));
        lines.flatten().copied().collect()
    }

    pub fn count<'a>(&'a self, sources: impl IntoIterator<Item = &'a SourceId>) -> usize {
        let lines = sources.into_iter().filter_map(|s| self.lines.get(s));
        lines.map(BTreeSet::len).sum()
    }
}
