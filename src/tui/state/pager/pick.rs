//! Lines that are picked: by a cursor, and a range from where it was anchored.

use ratatui::layout::Size;

use super::{Pager, Place, Position};
use crate::logs::store::{Content, LineId, LogStore};

/// The picked lines of a pane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick {
    pub at: LineId,
    /// The other end, where it is a range.
    pub anchor: Option<LineId>,
}

impl Pick {
    /// The first one and the last one.
    pub fn range(&self) -> (LineId, LineId) {
        let other = self.anchor.unwrap_or(self.at);
        (self.at.min(other), self.at.max(other))
    }

    pub fn contains(&self, line: LineId) -> bool {
        let (first, last) = self.range();
        first <= line && line <= last
    }
}

impl Pager {
    /// Picks the line that commands are about.
    pub fn pick(&mut self, store: &LogStore, size: Size) {
        if let Some(line) = self.current_line(store, size) {
            self.pick_line(store, size, line);
        }
    }

    /// Picks a line, or moves the cursor to it, and brings it into sight. The pane stays there.
    pub fn pick_line(&mut self, store: &LogStore, size: Size, line: LineId) {
        let anchor = self.picked.and_then(|pick| pick.anchor);
        self.picked = Some(Pick { at: line, anchor });
        self.bring(store, size, line);
    }

    /// Moves the cursor by lines that are shown.
    pub fn pick_by(&mut self, store: &LogStore, size: Size, by: isize) {
        let Some(pick) = self.picked else { return };
        let lines = self.lines(store);
        let count = by.unsigned_abs();
        let target = if by < 0 {
            lines.backward(pick.at).take(count).last()
        } else {
            let behind = lines.forward(pick.at).skip_while(|e| e.id == pick.at);
            behind.take(count).last()
        };
        let line = target.map_or(pick.at, |entry| entry.id);
        self.pick_line(store, size, line);
    }

    /// Moves the cursor to the first or the last line.
    pub fn pick_end(&mut self, store: &LogStore, size: Size, last: bool) {
        let lines = self.lines(store);
        let line = if last { lines.last() } else { lines.first() };
        if let Some(line) = line {
            self.pick_line(store, size, line);
        }
    }

    /// Begins a range at the cursor, or ends the one there is.
    pub fn anchor_pick(&mut self) {
        if let Some(pick) = &mut self.picked {
            pick.anchor = match pick.anchor {
                None => Some(pick.at),
                Some(_) => None,
            };
        }
    }

    /// Says whether something was picked.
    pub fn unpick(&mut self, store: &LogStore, size: Size) -> bool {
        if self.picked.take().is_none() {
            return false;
        }
        if let Some(top) = self.window(store, size).first().copied() {
            self.pause_at(store, size, top);
        }
        true
    }

    /// How many lines are picked, if that is no long walk.
    pub fn picked_count(&self, store: &LogStore) -> Option<usize> {
        let (first, last) = self.picked?.range();
        if self.filter.is_some() {
            return (first == last).then_some(1);
        }
        let merged = store.merged(&self.sources);
        Some(merged.rank(last).saturating_sub(merged.rank(first)) + 1)
    }

    /// The picked lines, each with its bytes.
    pub fn picked_lines<'a>(
        &'a self,
        store: &'a LogStore,
    ) -> impl Iterator<Item = (LineId, &'a [u8])> {
        let range = self.picked.map(|pick| pick.range());
        let walk = range.map(|(first, last)| {
            let walk = self.lines(store).forward(first);
            walk.take_while(move |entry| entry.id <= last)
        });
        walk.into_iter()
            .flatten()
            .filter_map(|entry| match entry.content {
                Content::Line { bytes, .. } => Some((entry.id, bytes)),
                Content::Mark(_) => None,
            })
    }

    /// Scrolls no further than it must.
    fn bring(&mut self, store: &LogStore, size: Size, line: LineId) {
        let lines = self.lines(store);
        let columns = self.text_columns(size);
        let rows = store
            .get(line)
            .map_or(1, |entry| self.rows_of(&entry, columns));
        let window = self.window(store, size);
        let start = Place { line, row: 0 };
        let end = Place {
            line,
            row: rows - 1,
        };
        let top = if window.contains(&start) && window.contains(&end) {
            window.first().copied()
        } else if window
            .last()
            .is_some_and(|last| line > last.line || last.line == line)
            && rows <= usize::from(size.height)
        {
            let above = usize::from(size.height).saturating_sub(1);
            let above = self.above(&lines, end, above, columns);
            above.first().copied()
        } else {
            Some(start)
        };
        let arrived = self.arrived_before(store);
        self.position = Position::Paused {
            top: top.unwrap_or(start),
            arrived,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::line::{Channel, SourceId};
    use proptest::prelude::*;

    proptest! {
        /// Wherever the cursor goes, its line is on the screen, and nothing that comes moves it.
        #[test]
        fn the_cursor_is_on_the_screen(
            widths in proptest::collection::vec(1usize..60, 1..60),
            moves in proptest::collection::vec(-12isize..12, 1..20),
            height in 1u16..12,
            wrap in any::<bool>(),
        ) {
            let source = SourceId("api".into());
            let mut store = LogStore::default();
            let push = |store: &mut LogStore, n: usize, width: usize| {
                let at = jiff::Timestamp::from_second(n as i64).unwrap();
                store.push(&source, at, Channel::Out, "x".repeat(width).as_bytes()).unwrap()
            };
            let mut ids: Vec<LineId> =
                widths.iter().enumerate().map(|(n, width)| push(&mut store, n, *width)).collect();
            let mut pager = Pager { wrap, ..Pager::default() };
            let _ = pager.show(vec![(source.clone(), "api".to_owned())]);
            let size = Size { width: 24, height };
            pager.pick(&store, size);
            let mut expected = ids.len() - 1;
            for (n, by) in moves.into_iter().enumerate() {
                pager.pick_by(&store, size, by);
                expected = expected.saturating_add_signed(by).min(ids.len() - 1);
                prop_assert_eq!(pager.picked.unwrap().at, ids[expected]);
                let window = pager.window(&store, size);
                prop_assert!(window.iter().any(|place| place.line == ids[expected]));
                ids.push(push(&mut store, 1000 + n, 5));
                prop_assert_eq!(&pager.window(&store, size)[..window.len()], &window[..]);
            }
        }
    }
}
