//! The state of a pane that shows lines: where it stands, and how it shows them.
//!
//! A pane that does not follow is anchored to a line, not to a number of lines, so nothing moves
//! when lines come, come late, are evicted or put back.

mod finding;
mod pick;
mod reading;

use std::collections::BTreeMap;

use jiff::Timestamp;
use ratatui::layout::Size;

pub use self::pick::Pick;
pub use self::reading::Reading;
use super::bookmarks::Bookmarks;
use crate::domain::incident::Mark;
use crate::domain::line::SourceId;
use crate::logs::index::Index;
use crate::logs::shown::{Filter, Shown};
use crate::logs::store::{Content, Entry, LineId, LogStore};
use crate::text::sanitize::sanitize;
use crate::text::width::{rows, width};

/// Columns of text that a pane keeps before it drops timestamps and names.
const ENOUGH: usize = 20;

#[derive(Clone, Debug, Default)]
pub struct Pager {
    sources: Vec<SourceId>,
    /// How the sources are called on the screen, in the same order.
    names: Vec<String>,
    position: Position,
    pub wrap: bool,
    /// First column of text on the screen, where lines are not wrapped.
    pub column: usize,
    pub stamps: Stamps,
    pub search: Option<Index>,
    /// Only what it finds is shown.
    pub filter: Option<Index>,
    /// Takes the filter's place when something is known of it.
    pub next_filter: Option<Index>,
    /// How many lines of the same source are shown around each line that passes the filter.
    pub context: u64,
    pub bookmarks: Bookmarks,
    /// Lines that are of interest by themselves.
    pub marks: BTreeMap<LineId, Mark>,
    /// How far each line is from a moment is shown with it.
    pub offsets: Option<Offsets>,
    /// Where one has gone last, other than by a search.
    current: Option<LineId>,
    /// Structured lines are shown as they were logged.
    pub raw: bool,
    /// The fields that a source's structured lines are shown with; all of them where none is named.
    pub chosen: BTreeMap<SourceId, Vec<String>>,
    pub picked: Option<Pick>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Position {
    #[default]
    Follow,
    /// At the first line, also when others come before it.
    Top {
        /// How many lines had arrived when it was paused.
        arrived: u64,
    },
    Paused {
        top: Place,
        arrived: u64,
    },
}

/// One row of the screen: a line, and which of its wrapped rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub line: LineId,
    pub row: usize,
}

/// A column of the time since a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    pub zero: Timestamp,
    /// With the space that follows.
    pub columns: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stamps {
    #[default]
    Off,
    /// Local time to the millisecond.
    Time,
    /// Date and time in UTC to the nanosecond.
    Full,
}

impl Stamps {
    pub fn next(self) -> Self {
        match self {
            Self::Off => Self::Time,
            Self::Time => Self::Full,
            Self::Full => Self::Off,
        }
    }

    /// Columns with the space that follows.
    fn width(self) -> usize {
        match self {
            Self::Off => 0,
            Self::Time => 13,
            Self::Full => 31,
        }
    }
}

/// Columns before the text of each line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gutter {
    /// Of a bookmark, and of the line that was gone to.
    pub sign: usize,
    pub stamp: usize,
    pub offset: usize,
    pub source: usize,
}

impl Gutter {
    pub fn width(self) -> usize {
        self.sign + self.stamp + self.offset + self.source
    }
}

impl Pager {
    pub fn new(stamps: Stamps, wrap: bool) -> Self {
        Self {
            stamps,
            wrap,
            ..Self::default()
        }
    }

    /// Shows these sources, each with its name on the screen. Others than before: from their end,
    /// and what was found in the former ones counts no longer.
    #[must_use]
    pub fn show(&mut self, sources: Vec<(SourceId, String)>) -> bool {
        let (sources, names) = sources.into_iter().unzip();
        self.names = names;
        if self.sources != sources {
            self.sources = sources;
            self.follow();
            self.column = 0;
            self.picked = None;
            return true;
        }
        false
    }

    pub fn sources(&self) -> &[SourceId] {
        &self.sources
    }

    pub fn name(&self, source: &SourceId) -> Option<&str> {
        let index = self.sources.iter().position(|other| other == source)?;
        self.names.get(index).map(String::as_str)
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    pub fn lines<'a>(&'a self, store: &'a LogStore) -> Shown<'a> {
        let filter = self.filter.as_ref().map(|index| Filter {
            index,
            context: self.context,
        });
        Shown::new(store.merged(&self.sources), filter)
    }

    /// The line that the pane is anchored to; `None` while it follows.
    pub fn anchor(&self, store: &LogStore) -> Option<LineId> {
        match self.position {
            Position::Follow => None,
            Position::Top { .. } => self.lines(store).first(),
            Position::Paused { top, .. } => Some(top.line),
        }
    }

    pub fn is_following(&self) -> bool {
        self.position == Position::Follow
    }

    /// Whether it stays with the first line of all.
    pub fn is_at_top(&self) -> bool {
        matches!(self.position, Position::Top { .. })
    }

    /// Lines that came since the pane was paused.
    pub fn behind(&self, store: &LogStore) -> u64 {
        match self.position {
            Position::Follow => 0,
            Position::Top { arrived } | Position::Paused { arrived, .. } => {
                self.arrived(store).saturating_sub(arrived)
            }
        }
    }

    fn arrived(&self, store: &LogStore) -> u64 {
        store.merged(&self.sources).arrived()
    }

    /// What stands before each line in a pane of this width. A pane that would have no room left
    /// for the text goes without.
    pub fn gutter(&self, columns: usize) -> Gutter {
        let mut gutter = Gutter {
            sign: if self.has_signs() { 2 } else { 0 },
            stamp: self.stamps.width(),
            offset: self.offsets.map_or(0, |offsets| offsets.columns),
            source: 0,
        };
        if self.sources.len() > 1 {
            let longest = self.names.iter().map(|name| width(name)).max();
            gutter.source = longest.unwrap_or(0).min(16).min(columns / 4) + 1;
        }
        if gutter.width() + ENOUGH > columns {
            gutter.stamp = 0;
        }
        if gutter.width() + ENOUGH > columns {
            gutter.source = 0;
        }
        if gutter.width() + ENOUGH > columns {
            gutter.offset = 0;
        }
        gutter
    }

    fn text_columns(&self, size: Size) -> usize {
        let columns = usize::from(size.width);
        columns - self.gutter(columns).width().min(columns)
    }

    /// A gap in front of the entry takes a row of its own, the first one.
    fn rows_of(&self, entry: &Entry<'_>, columns: usize) -> usize {
        let read = if self.wrap { self.read(entry) } else { None };
        let own = read.map_or(1, |line| rows(&line.styled.text, columns).len());
        own + usize::from(entry.gap.is_some())
    }

    /// The rows on a screen of this size, from the top.
    pub fn window(&self, store: &LogStore, size: Size) -> Vec<Place> {
        let height = usize::from(size.height);
        let columns = self.text_columns(size);
        let lines = self.lines(store);
        let mut places = Vec::with_capacity(height);
        let top = match self.position {
            Position::Follow => None,
            Position::Top { .. } => lines.first().map(|line| Place { line, row: 0 }),
            Position::Paused { top, .. } => Some(top),
        };
        if let Some(top) = top {
            for entry in lines.forward(top.line) {
                let skipped = if entry.id == top.line { top.row } else { 0 };
                let count = self.rows_of(&entry, columns);
                let from = skipped.min(count - 1);
                places.extend((from..count).map(|row| Place {
                    line: entry.id,
                    row,
                }));
                if places.len() >= height {
                    break;
                }
            }
            places.truncate(height);
        }
        // Following fills from the end; so does a pane that has grown beyond its last line.
        let missing = height - places.len();
        if missing > 0 {
            let above = match places.first() {
                Some(first) => self.above(&lines, *first, missing, columns),
                None => {
                    let walk = lines.backward_from_end();
                    self.collect_back(walk, missing, columns)
                }
            };
            places.splice(0..0, above);
        }
        places
    }

    /// Up to `count` rows that stand before a place.
    fn above(&self, lines: &Shown<'_>, place: Place, count: usize, columns: usize) -> Vec<Place> {
        let of_line = (0..place.row).map(|row| Place { row, ..place });
        let mut above = Vec::new();
        if place.row < count {
            above = self.collect_back(lines.backward(place.line), count - place.row, columns);
        }
        above.extend(of_line.skip(place.row.saturating_sub(count)));
        above
    }

    fn collect_back<'a>(
        &self,
        walk: impl Iterator<Item = Entry<'a>>,
        count: usize,
        columns: usize,
    ) -> Vec<Place> {
        let mut back = Vec::new();
        for entry in walk {
            if back.len() >= count {
                break;
            }
            let rows = self.rows_of(&entry, columns);
            back.extend((0..rows).rev().map(|row| Place {
                line: entry.id,
                row,
            }));
        }
        back.truncate(count);
        back.reverse();
        back
    }

    /// Moves by rows of the screen; up is negative. Going up pauses, reaching the end follows.
    pub fn scroll(&mut self, store: &LogStore, size: Size, by: isize) {
        let lines = self.lines(store);
        let columns = self.text_columns(size);
        let window = self.window(store, size);
        let Some(first) = window.first().copied() else {
            return;
        };
        let count = by.unsigned_abs();
        let top = if by < 0 {
            let is_unread = |place: &Place| place.row == 0 && is_unread(store, place.line);
            if is_unread(&first) && store.is_filling(first.line.source()) {
                return;
            }
            let above = self.above(&lines, first, count, columns);
            // What is not there yet is not passed by: it is read when one comes to it.
            let stop = above.iter().rev().copied().find(is_unread);
            stop.or(above.first().copied()).unwrap_or(first)
        } else if self.is_following() {
            return;
        } else {
            let wanted = count.saturating_add(usize::from(size.height));
            let below = self.below(&lines, first, wanted.saturating_add(1), columns);
            let at_start = lines.first() == Some(first.line) && first.row == 0;
            if self.filter.is_some() && at_start && below.len() <= usize::from(size.height) {
                // Nothing can move, and the place among all lines is not given up for it.
                return;
            }
            if below.len() <= wanted {
                self.follow();
                return;
            }
            below.get(count).copied().unwrap_or(first)
        };
        self.pause_at(store, size, top);
    }

    /// Up to `count` rows from a place on.
    fn below(&self, lines: &Shown<'_>, place: Place, count: usize, columns: usize) -> Vec<Place> {
        let mut below = Vec::new();
        for entry in lines.forward(place.line) {
            let from = if entry.id == place.line { place.row } else { 0 };
            let rows = self.rows_of(&entry, columns);
            below.extend((from..rows).map(|row| Place {
                line: entry.id,
                row,
            }));
            if below.len() >= count {
                break;
            }
        }
        below.truncate(count);
        below
    }

    /// Stays with this row at the top; where all lines fit on the screen there is nothing to
    /// pause. A filter that lets so few through keeps the place among all lines.
    fn pause_at(&mut self, store: &LogStore, size: Size, top: Place) {
        let lines = self.lines(store);
        let arrived = self.arrived_before(store);
        let height = usize::from(size.height);
        let all = lines.first().map(|line| Place { line, row: 0 });
        let columns = self.text_columns(size);
        let fits =
            all.is_some_and(|all| self.below(&lines, all, height + 1, columns).len() <= height);
        if !fits || self.picked.is_some() {
            self.position = Position::Paused { top, arrived };
        } else if self.filter.is_none() {
            self.position = Position::Follow;
        }
    }

    /// How many lines had arrived when the pane was paused, if it were now.
    fn arrived_before(&self, store: &LogStore) -> u64 {
        match self.position {
            Position::Paused { arrived, .. } | Position::Top { arrived } => arrived,
            Position::Follow => self.arrived(store),
        }
    }

    pub fn to_top(&mut self, store: &LogStore, size: Size) {
        if let Some(line) = self.lines(store).first() {
            self.pause_at(store, size, Place { line, row: 0 });
        }
        // What is put in front of the first line is to be seen, too. Of a filter nobody knows what
        // it will let through.
        if !self.is_following() || self.filter.is_some() {
            let arrived = self.arrived_before(store);
            self.position = Position::Top { arrived };
        }
    }

    /// Stays with the line that is on top, whatever comes before it.
    pub fn hold(&mut self, store: &LogStore) {
        if let (Position::Top { arrived }, Some(line)) = (self.position, self.lines(store).first())
        {
            let top = Place { line, row: 0 };
            self.position = Position::Paused { top, arrived };
        }
    }

    pub fn follow(&mut self) {
        self.picked = None;
        self.position = Position::Follow;
        self.current = None;
    }

    /// Brings a line into sight, a third down the screen, and its first match from the side.
    pub fn reveal(&mut self, store: &LogStore, size: Size, line: LineId) {
        if let Some(pick) = &mut self.picked {
            pick.at = line;
        }
        let gap = store.get(line).is_some_and(|entry| entry.gap.is_some());
        let mut top = Place {
            line,
            row: usize::from(gap),
        };
        let columns = self.text_columns(size);
        if let Some((text, at)) = self.first_match(store, line) {
            let start = width(&text[..at]);
            if self.wrap {
                let rows = rows(&text, columns);
                top.row += rows.partition_point(|row| row.end <= at);
            } else if start < self.column || start + 10 > self.column + columns {
                self.column = start.saturating_sub(columns / 2);
            }
        }
        if self.window(store, size).contains(&top) {
            return;
        }
        let lines = self.lines(store);
        let third = usize::from(size.height) / 3;
        let above = self.above(&lines, top, third, columns);
        self.pause_at(store, size, above.first().copied().unwrap_or(top));
    }

    /// A line's text and where its first match starts in it.
    fn first_match(&self, store: &LogStore, line: LineId) -> Option<(String, usize)> {
        let read = self.read(&store.get(line)?)?;
        let start = read.hits.first()?.start;
        Some((read.styled.text, start))
    }

    /// Scrolls sideways, as far as the lines on the screen reach.
    pub fn sideways(&mut self, store: &LogStore, size: Size, by: isize) {
        if self.wrap {
            return;
        }
        let widest = self
            .window(store, size)
            .iter()
            .filter_map(|place| self.read(&store.get(place.line)?))
            .map(|line| width(&line.styled.text))
            .max()
            .unwrap_or(0);
        let furthest = widest.saturating_sub(self.text_columns(size));
        let limit = furthest.max(if by < 0 { self.column } else { 0 });
        self.column = self.column.saturating_add_signed(by).min(limit);
    }

    /// The lines on the screen as text, each once.
    pub fn visible_text(&self, store: &LogStore, size: Size) -> String {
        let mut lines: Vec<LineId> = self.window(store, size).iter().map(|p| p.line).collect();
        lines.dedup();
        let mut text = String::new();
        for line in lines {
            if let Some(Content::Line { bytes, .. }) = store.get(line).map(|entry| entry.content) {
                text.push_str(&sanitize(bytes).text);
                text.push('\n');
            }
        }
        text
    }
}

/// Whether lines in front of one are missing that can be read.
fn is_unread(store: &LogStore, line: LineId) -> bool {
    let gap = store.get(line).and_then(|entry| entry.gap);
    gap.is_some_and(|gap| !gap.lost)
}
