//! What a pane shows of a store: several sources as one sequence, all of it or what a filter lets
//! through with some lines around it.

use super::index::Index;
use super::store::{Content, Entry, LineId, Merged, Weight};
use crate::text::level::Level;

/// Borrowed and free to make: made anew for each look.
#[derive(Clone, Debug)]
pub struct Shown<'a> {
    merged: Merged<'a>,
    filter: Option<Filter<'a>>,
}

/// What passes, and how many entries of the same source around it.
#[derive(Clone, Copy, Debug)]
pub struct Filter<'a> {
    pub index: &'a Index,
    pub context: u64,
}

type Walk<'a> = Box<dyn Iterator<Item = Entry<'a>> + 'a>;

impl<'a> Shown<'a> {
    pub fn new(merged: Merged<'a>, filter: Option<Filter<'a>>) -> Self {
        Self { merged, filter }
    }

    /// Everything, whatever the filter.
    pub fn merged(&self) -> &Merged<'a> {
        &self.merged
    }

    pub fn is_empty(&self) -> bool {
        match self.filter {
            None => self.merged.is_empty(),
            Some(filter) => filter.index.count() == 0,
        }
    }

    pub fn first(&self) -> Option<LineId> {
        match self.filter {
            None => self.merged.first(),
            Some(filter) => filter.next(&self.merged, self.merged.first()?),
        }
    }

    pub fn last(&self) -> Option<LineId> {
        match self.filter {
            None => self.merged.last(),
            Some(filter) => filter.previous(&self.merged, self.merged.last()?.behind()),
        }
    }

    pub fn at_or_after(&self, id: LineId) -> Option<LineId> {
        match self.filter {
            None => self.merged.forward(id).next().map(|entry| entry.id),
            Some(filter) => filter.next(&self.merged, id),
        }
    }

    pub fn at_or_before(&self, id: LineId) -> Option<LineId> {
        let behind = id.behind();
        match self.filter {
            None => self.merged.backward(behind).next().map(|entry| entry.id),
            Some(filter) => filter.previous(&self.merged, behind),
        }
    }

    pub fn shows(&self, id: LineId) -> bool {
        self.at_or_after(id) == Some(id)
    }

    /// The first line from `hit` on, or back, that `search` finds and that is shown. `hit` is one
    /// that it finds.
    pub fn hit_from(
        &self,
        search: &Index,
        mut hit: Option<LineId>,
        forward: bool,
    ) -> Option<LineId> {
        loop {
            let found = hit?;
            let shown = self.nearest(found, forward)?;
            if shown == found {
                return hit;
            }
            hit = match forward {
                true => search.at_or_after(shown),
                false => search.at_or_before(shown),
            };
        }
    }

    /// The next line behind `id`, or the one before it, that is shown and says itself that it is of
    /// `level` or above.
    pub fn next_of_level(&self, id: LineId, level: Level, forward: bool) -> Option<LineId> {
        let mut from = id;
        loop {
            let found = self.merged.next_of_level(from, level, forward)?;
            let shown = self.nearest(found, forward)?;
            if shown == found || self.says(shown, level) {
                return Some(shown);
            }
            from = shown;
        }
    }

    fn nearest(&self, id: LineId, forward: bool) -> Option<LineId> {
        match forward {
            true => self.at_or_after(id),
            false => self.at_or_before(id),
        }
    }

    fn says(&self, id: LineId, level: Level) -> bool {
        let content = self.merged.get(id).map(|entry| entry.content);
        let Some(Content::Line { weight, .. }) = content else {
            return false;
        };
        matches!(weight, Weight { level: Some(own), inherited: false } if own >= level)
    }

    /// From `id` on, with it.
    pub fn forward(&self, id: LineId) -> Walk<'a> {
        let Some(filter) = self.filter else {
            return Box::new(self.merged.forward(id));
        };
        let merged = self.merged.clone();
        let first = filter.next(&merged, id);
        let walk = merged.clone();
        let ids = std::iter::successors(first, move |id| filter.next(&walk, id.behind()));
        Box::new(ids.map_while(move |id| merged.get(id)))
    }

    /// From the last entry before `id` back.
    pub fn backward(&self, id: LineId) -> Walk<'a> {
        let Some(filter) = self.filter else {
            return Box::new(self.merged.backward(id));
        };
        let merged = self.merged.clone();
        let last = filter.previous(&merged, id);
        let walk = merged.clone();
        let ids = std::iter::successors(last, move |id| filter.previous(&walk, *id));
        Box::new(ids.map_while(move |id| merged.get(id)))
    }

    /// From the last entry back.
    pub fn backward_from_end(&self) -> Walk<'a> {
        match (self.filter, self.merged.last()) {
            (Some(_), Some(last)) => self.backward(last.behind()),
            (Some(_), None) => Box::new(std::iter::empty()),
            (None, _) => Box::new(self.merged.backward_from_end()),
        }
    }
}

impl Filter<'_> {
    /// The first entry that is shown and does not come before `id`.
    fn next(&self, merged: &Merged<'_>, id: LineId) -> Option<LineId> {
        let of_source = |source: u32| {
            let (next, before) = self.index.beside(source, id);
            let here = merged.at_or_after(source, id)?;
            let (_, to) = before
                .and_then(|before| merged.around(before, self.context))
                .unzip();
            if to.is_some_and(|to| here <= to) {
                return Some(here);
            }
            let (from, _) = merged.around(next?, self.context)?;
            Some(from.max(here))
        };
        merged.sources().filter_map(of_source).min()
    }

    /// The last entry that is shown and comes before `id`.
    fn previous(&self, merged: &Merged<'_>, id: LineId) -> Option<LineId> {
        let of_source = |source: u32| {
            let (next, before) = self.index.beside(source, id);
            let here = merged.before(source, id)?;
            let (from, _) = next
                .and_then(|next| merged.around(next, self.context))
                .unzip();
            if from.is_some_and(|from| from <= here) {
                return Some(here);
            }
            let (_, to) = merged.around(before?, self.context)?;
            Some(to.min(here))
        };
        merged.sources().filter_map(of_source).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::line::{Channel, SourceId};
    use crate::logs::index::Sieve;
    use crate::logs::store::LogStore;
    use crate::text::matcher::Matcher;
    use jiff::Timestamp;
    use proptest::prelude::*;

    proptest! {
        /// Against the obvious model: look at every line and at those around it in its source.
        #[test]
        fn what_is_shown_is_what_passes_and_what_is_around_it(
            lines in proptest::collection::vec(
                (0usize..3, prop::bool::weighted(0.2), prop::bool::weighted(0.2)), 0..120),
            context in 0u64..4,
            filtered in any::<bool>(),
        ) {
            let names = ["a", "b", "c"].map(|name| SourceId(name.into()));
            let mut store = LogStore::default();
            let mut index = Index::new(Sieve { matcher: Matcher::new("hit"), ..Sieve::default() });
            let mut search = Index::seeking(Matcher::new("ERROR").unwrap());
            let mut sought = Vec::new();
            let mut all = Vec::new();
            for (n, (source, hit, error)) in lines.iter().enumerate() {
                let at = Timestamp::from_nanosecond(n as i128 / 2).unwrap();
                let word = if *hit { "hit" } else { "other" };
                let text = if *error { format!("ERROR {word}") } else { word.to_owned() };
                let id = store.push(&names[*source], at, Channel::Out, text.as_bytes()).unwrap();
                index.offer(id, &store.get(id).unwrap().content);
                search.offer(id, &store.get(id).unwrap().content);
                if *error {
                    sought.push(id);
                }
                all.push((id, *hit));
            }
            all.sort();
            let mut expected = Vec::new();
            for (id, _) in &all {
                let own: Vec<&(LineId, bool)> =
                    all.iter().filter(|(other, _)| other.source() == id.source()).collect();
                let place = own.iter().position(|(other, _)| other == id).unwrap();
                let from = place.saturating_sub(context as usize);
                let to = (place + context as usize + 1).min(own.len());
                if !filtered || own[from..to].iter().any(|(_, hit)| *hit) {
                    expected.push(*id);
                }
            }
            let filter = Filter { index: &index, context };
            let shown = Shown::new(store.merged(&names), filtered.then_some(filter));
            prop_assert_eq!(shown.first(), expected.first().copied());
            prop_assert_eq!(shown.last(), expected.last().copied());
            prop_assert_eq!(shown.is_empty(), expected.is_empty());
            for (from, _) in &all {
                let forward: Vec<LineId> = shown.forward(*from).map(|e| e.id).collect();
                let place = expected.partition_point(|id| id < from);
                prop_assert_eq!(&forward, &expected[place..]);
                let mut backward: Vec<LineId> = shown.backward(*from).map(|e| e.id).collect();
                backward.reverse();
                prop_assert_eq!(&backward, &expected[..place]);
                // What is found is walked among what is shown, whether by a search or by level.
                let next = expected[place..].iter().find(|id| *id > from && sought.contains(id));
                let before = expected[..place].iter().rfind(|id| sought.contains(id));
                prop_assert_eq!(shown.hit_from(&search, search.after(*from), true), next.copied());
                prop_assert_eq!(shown.hit_from(&search, search.before(*from), false), before.copied());
                prop_assert_eq!(shown.next_of_level(*from, Level::Error, true), next.copied());
                prop_assert_eq!(shown.next_of_level(*from, Level::Error, false), before.copied());
            }
            let back = shown.backward_from_end().count();
            prop_assert_eq!(back, expected.len());
        }
    }
}
