//! What is sought in a pane, and where one goes in it.

use ratatui::layout::Size;

use super::{Pager, Place, Position};
use crate::domain::line::SourceId;
use crate::logs::index::{Found, Index, Sieve};
use crate::logs::store::{Content, Dropped, LineId, LogStore};
use crate::text::level::Level;
use crate::text::matcher::Matcher;

impl Pager {
    /// The search's expression.
    pub fn matcher(&self) -> Option<&Matcher> {
        self.search.as_ref()?.sieve().matcher.as_ref()
    }

    /// The filter that was asked for last, whether or not it is shown yet.
    pub fn filtering(&self) -> Option<&Index> {
        self.next_filter.as_ref().or(self.filter.as_ref())
    }

    /// What that filter lets through; everything where there is none.
    pub fn sieve(&self) -> Sieve {
        let filter = self.filtering();
        filter.map_or_else(Sieve::default, |filter| filter.sieve().clone())
    }

    /// Shows only what passes, as soon as something of it is known. Where everything passes there
    /// is no filter.
    pub fn set_filter(&mut self, store: &LogStore, sieve: Sieve) {
        self.hold(store);
        if sieve.matcher.is_none() && sieve.level.is_none() {
            self.filter = None;
            self.next_filter = None;
        } else {
            self.next_filter = Some(Index::new(Sieve {
                marks: true,
                ..sieve
            }));
        }
    }

    /// A marked line is what one looks for, whatever its level: in a filter only its text counts.
    /// To be done whenever the filter begins anew.
    pub fn spare_marks(&mut self, store: &LogStore) {
        let spares = |filter: &&mut Index| filter.sieve().level.is_some();
        let filters = self.filter.iter_mut().chain(&mut self.next_filter);
        for filter in filters.filter(spares) {
            let sieve = Sieve {
                level: None,
                ..filter.sieve().clone()
            };
            let is_shown = |line: &LineId| {
                store.get(*line).is_some_and(|entry| {
                    self.sources.contains(entry.source) && sieve.passes(&entry.content)
                })
            };
            filter.keep(self.marks.keys().copied().filter(is_shown));
        }
    }

    /// What is found here: by the search, by the filter.
    pub fn indexes(&mut self) -> impl Iterator<Item = &mut Index> {
        let filters = self.filter.iter_mut().chain(&mut self.next_filter);
        self.search.iter_mut().chain(filters)
    }

    /// Whether anything is.
    pub fn is_sought(&self) -> bool {
        self.search.is_some() || self.filtering().is_some()
    }

    /// Takes a part of what was found in what is held.
    pub fn take(&mut self, found: &Found, store: &LogStore) {
        self.indexes().for_each(|index| {
            index.take(found, store);
        });
        let known = |filter: &mut Index| filter.is_done() || filter.count() > 0;
        if let Some(filter) = self.next_filter.take_if(known) {
            self.filter = Some(filter);
        }
    }

    /// Looks at an entry that has just come, or come back.
    pub fn offer(&mut self, source: &SourceId, id: LineId, content: &Content<'_>) {
        if self.sources.contains(source) {
            self.indexes().for_each(|index| index.offer(id, content));
        }
    }

    /// Forgets what the store has dropped.
    pub fn forget(&mut self, dropped: &[Dropped]) {
        for index in self.indexes() {
            dropped.iter().for_each(|dropped| index.forget(dropped));
        }
    }

    /// Goes to the next match, or the one before; from the end of the screen's lines if there was
    /// none yet. What the filter hides is passed over. Says whether there is one.
    pub fn next_hit(&mut self, store: &LogStore, size: Size, forward: bool) -> bool {
        let Some(search) = &self.search else {
            return false;
        };
        let lines = self.lines(store);
        let from = |hit, forward| lines.hit_from(search, hit, forward);
        let hit = match search.current {
            Some(current) if forward => {
                from(search.after(current), true).or_else(|| from(search.first(), true))
            }
            Some(current) => {
                from(search.before(current), false).or_else(|| from(search.last(), false))
            }
            // The last match on the screen or before it, else the first one after it.
            None => self.window(store, size).last().and_then(|bottom| {
                from(search.at_or_before(bottom.line), false)
                    .or_else(|| from(search.after(bottom.line), true))
            }),
        };
        let Some(hit) = hit else { return false };
        if let Some(search) = &mut self.search {
            search.current = Some(hit);
        }
        self.current = None;
        self.reveal(store, size, hit);
        true
    }

    /// The line that commands are about: the picked one; else the one that was gone to if it is
    /// still on the screen; else the first one there, or the last one where the pane follows.
    pub fn current_line(&self, store: &LogStore, size: Size) -> Option<LineId> {
        if let Some(pick) = self.picked {
            return Some(pick.at);
        }
        let window = self.window(store, size);
        let hit = self.search.as_ref().and_then(|search| search.current);
        let gone_to = [self.gone_to(store), hit].into_iter().flatten();
        let mut seen = gone_to.filter(|line| window.iter().any(|place| place.line == *line));
        let edge = match self.is_following() {
            true => window.last(),
            false => window.first(),
        };
        seen.next().or(edge.map(|place| place.line))
    }

    /// Whether the first line that passes the filter is on the screen, and lines before it are not
    /// held: nobody knows which of them would pass.
    pub fn misses_older(&self, store: &LogStore, size: Size) -> bool {
        let lines = self.lines(store);
        let first = self.window(store, size).first().map(|place| place.line);
        self.filter.is_some()
            && !self.is_at_top()
            && lines.first() == first
            && lines.merged().heads().next().is_some()
    }

    /// The line that was gone to last other than by a search, or what is there in its place.
    pub fn gone_to(&self, store: &LogStore) -> Option<LineId> {
        self.lines(store).at_or_after(self.current?)
    }

    /// Whether a sign stands before some line.
    pub fn has_signs(&self) -> bool {
        self.current.is_some() || self.has_bookmarks() || !self.marks.is_empty()
    }

    pub fn has_bookmarks(&self) -> bool {
        self.bookmarks.count(&self.sources) > 0
    }

    /// Brings a line into sight, or what is shown next behind its place; says whether there is any.
    pub fn go_to(&mut self, store: &LogStore, size: Size, line: LineId) -> bool {
        let shown = self.lines(store).at_or_after(line);
        if let Some(shown) = shown {
            self.current = Some(line);
            self.reveal(store, size, shown);
        }
        shown.is_some()
    }

    /// Stays with what is at a place or comes next, also if that is yet to be read.
    pub fn pin(&mut self, store: &LogStore, line: LineId) {
        self.current = Some(line);
        self.position = Position::Paused {
            top: Place { line, row: 0 },
            arrived: self.arrived_before(store),
        };
    }

    /// The next line of `level` or above behind the current one, or the one before it, among those
    /// that are shown.
    pub fn next_of_level(
        &self,
        store: &LogStore,
        size: Size,
        level: Level,
        forward: bool,
    ) -> Option<LineId> {
        let current = self.current_line(store, size)?;
        self.lines(store).next_of_level(current, level, forward)
    }

    /// The next marked line that is shown behind the current one, or the one before it.
    pub fn next_mark(&self, store: &LogStore, size: Size, forward: bool) -> Option<LineId> {
        let lines = self.lines(store);
        let current = self.current_line(store, size)?;
        // Its source may be switched off, the filter may hide it.
        let is_shown = |line: &&LineId| lines.at_or_after(**line) == Some(**line);
        let mut shown = self.marks.keys().filter(is_shown);
        match forward {
            true => shown.find(|line| **line > current).copied(),
            false => shown.rfind(|line| **line < current).copied(),
        }
    }

    /// Shows other sources and stays with the line that it was at, or what is shown next.
    pub fn stay_at(&mut self, store: &LogStore, size: Size, line: Option<LineId>) {
        let lines = self.lines(store);
        if let Some(line) = line.and_then(|line| lines.at_or_after(line)) {
            self.pause_at(store, size, Place { line, row: 0 });
        }
    }

    /// The next bookmark behind the current line, or the one before it; it starts over at the end.
    /// One whose line is held and hidden by the filter is passed over.
    pub fn next_bookmark(&self, store: &LogStore, size: Size, forward: bool) -> Option<LineId> {
        let lines = self.lines(store);
        let can_be_seen = |line: &LineId| lines.shows(*line) || !store.holds(*line);
        let mut bookmarks = self.bookmarks.of(&self.sources);
        bookmarks.retain(can_be_seen);
        let here = self.current_line(store, size)?;
        // The line that was gone to may not be held any more, and another one be in its place.
        let gone_to = self.current.filter(|_| self.gone_to(store) == Some(here));
        let current = gone_to.unwrap_or(here);
        let mut behind = bookmarks.iter().filter(|line| **line > current);
        let before = bookmarks.iter().rev().find(|line| **line < current);
        match forward {
            true => behind.next().or(bookmarks.first()).copied(),
            false => before.or(bookmarks.last()).copied(),
        }
    }
}
