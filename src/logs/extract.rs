//! What a pane shows, written down elsewhere: as it is held at one moment, in its order.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::io::{self, Write};
use std::ops::ControlFlow;

use super::index::Sieve;
use super::store::{Content, LineId, Snapshot};
use crate::text::ansi::to_ansi;
use crate::text::sanitize::sanitize;

/// Bytes that are looked through before it is told how far it has come.
const STEP: usize = 8 << 20;

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Every byte as it was logged.
    Raw,
    /// Safe text without its colours.
    Text,
    /// Safe text with its colours.
    Colored,
}

/// Lines to be written, without the marks between them. Cheap to make: the lines are shared.
#[derive(Clone, Debug)]
pub struct Extract {
    pub snapshot: Snapshot,
    /// Only what passes, with so many entries of the same source around it.
    pub filter: Option<(Sieve, u64)>,
    /// Only from the first one to the last one.
    pub range: Option<(LineId, LineId)>,
    /// With its time, and what its source is called, in front of each line.
    pub names: Option<BTreeMap<u32, String>>,
    pub form: Form,
}

/// Two are the same if they write the same lines in the same form.
impl PartialEq for Extract {
    fn eq(&self, other: &Self) -> bool {
        let filter = |extract: &Self| {
            let (sieve, context) = extract.filter.as_ref()?;
            let pattern = sieve.matcher.as_ref().map(|m| m.pattern().to_owned());
            Some((pattern, sieve.inverted, sieve.level, sieve.marks, *context))
        };
        self.snapshot == other.snapshot
            && filter(self) == filter(other)
            && (self.range, &self.names, self.form) == (other.range, &other.names, other.form)
    }
}

impl Eq for Extract {}

impl Extract {
    /// Writes the lines and returns how many they were. `tell` hears from time to time how much of
    /// what is held was looked through, in percent, and can end it.
    ///
    /// # Errors
    ///
    /// Those of `out`, and [`io::ErrorKind::Interrupted`] where `tell` has ended it.
    pub fn write(
        &self,
        out: &mut impl Write,
        mut tell: impl FnMut(usize) -> ControlFlow<()>,
    ) -> io::Result<u64> {
        let total = self.snapshot.bytes().max(1);
        let (seen, mut told) = (Cell::new(0), 0);
        let mut sources: Vec<_> = self
            .snapshot
            .sources()
            .into_iter()
            .map(|entries| {
                let counted = entries.inspect(|(_, content)| {
                    if let Content::Line { bytes, .. } = content {
                        seen.set(seen.get() + bytes.len());
                    }
                });
                Passing::new(counted, self.filter.as_ref())
            })
            .collect();
        let mut heads: Vec<_> = sources.iter_mut().map(Iterator::next).collect();
        let mut order: BinaryHeap<Reverse<(LineId, usize)>> = heads
            .iter()
            .enumerate()
            .filter_map(|(source, head)| Some(Reverse((head.as_ref()?.0, source))))
            .collect();
        let mut lines = 0;
        while let Some(Reverse((id, source))) = order.pop() {
            if self.range.is_some_and(|(_, last)| id > last) {
                break;
            }
            let next = sources.get_mut(source).and_then(Iterator::next);
            if let Some((id, _)) = &next {
                order.push(Reverse((*id, source)));
            }
            let entry = heads
                .get_mut(source)
                .and_then(|head| std::mem::replace(head, next));
            if let Some((_, Content::Line { bytes, .. })) = entry
                && self.range.is_none_or(|(first, _)| id >= first)
            {
                self.line(out, id, bytes)?;
                lines += 1;
            }
            if seen.get() - told >= STEP {
                told = seen.get();
                if tell(told * 100 / total).is_break() {
                    return Err(io::ErrorKind::Interrupted.into());
                }
            }
        }
        out.flush()?;
        Ok(lines)
    }

    fn line(&self, out: &mut impl Write, id: LineId, bytes: &[u8]) -> io::Result<()> {
        if let Some(names) = &self.names {
            let name = names.get(&id.source()).map_or("", String::as_str);
            let gap = if name.is_empty() { "" } else { " " };
            write!(out, "{:.9} {name}{gap}", id.time())?;
        }
        match self.form {
            Form::Raw => out.write_all(bytes)?,
            Form::Text => out.write_all(sanitize(bytes).text.as_bytes())?,
            Form::Colored => out.write_all(to_ansi(&sanitize(bytes)).as_bytes())?,
        }
        out.write_all(b"\n")
    }
}

type Entry<'a> = (LineId, Content<'a>);

/// The entries of one source that pass, and those around them.
struct Passing<'a, I> {
    entries: I,
    filter: Option<&'a (Sieve, u64)>,
    /// What would be shown if the next one passed.
    before: VecDeque<Entry<'a>>,
    ready: VecDeque<Entry<'a>>,
    /// So many more are shown for the last one that passed.
    after: u64,
}

impl<'a, I: Iterator<Item = Entry<'a>>> Passing<'a, I> {
    fn new(entries: I, filter: Option<&'a (Sieve, u64)>) -> Self {
        Self {
            entries,
            filter,
            before: VecDeque::new(),
            ready: VecDeque::new(),
            after: 0,
        }
    }
}

impl<'a, I: Iterator<Item = Entry<'a>>> Iterator for Passing<'a, I> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let Some((sieve, context)) = self.filter else {
            return self.entries.next();
        };
        loop {
            if let Some(entry) = self.ready.pop_front() {
                return Some(entry);
            }
            let entry = self.entries.next()?;
            if sieve.passes(&entry.1) {
                self.ready.append(&mut self.before);
                self.ready.push_back(entry);
                self.after = *context;
            } else if self.after > 0 {
                self.after -= 1;
                self.ready.push_back(entry);
            } else if *context > 0 {
                self.before.push_back(entry);
                if self.before.len() as u64 > *context {
                    self.before.pop_front();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::line::{Channel, SourceId};
    use crate::logs::index::Index;
    use crate::logs::shown::{Filter, Shown};
    use crate::logs::store::LogStore;
    use crate::text::matcher::Matcher;
    use jiff::Timestamp;
    use proptest::prelude::*;

    fn written(extract: &Extract) -> Vec<u8> {
        let mut out = Vec::new();
        let lines = extract
            .write(&mut out, |_| ControlFlow::Continue(()))
            .unwrap();
        assert_eq!(lines, memchr::memchr_iter(b'\n', &out).count() as u64);
        out
    }

    proptest! {
        /// Against what a pane walks through, over blocks that are small.
        #[test]
        fn what_is_written_is_what_is_shown(
            lines in proptest::collection::vec((0usize..3, prop::bool::weighted(0.2)), 0..200),
            context in 0u64..4,
            filtered in any::<bool>(),
            range in proptest::option::of((0usize..200, 0usize..200)),
        ) {
            let names = ["a", "b", "c"].map(|name| SourceId(name.into()));
            let mut store = LogStore::new(16 << 10);
            let mut index = Index::new(Sieve { matcher: Matcher::new("hit"), ..Sieve::default() });
            let mut ids = Vec::new();
            for (n, (source, hit)) in lines.iter().enumerate() {
                let at = Timestamp::from_nanosecond(n as i128 / 2).unwrap();
                let text = format!("{n} {}", if *hit { "hit" } else { "other" });
                let id = store.push(&names[*source], at, Channel::Out, text.as_bytes()).unwrap();
                index.offer(id, &store.get(id).unwrap().content);
                ids.push(id);
            }
            for dropped in store.take_dropped() {
                index.forget(&dropped);
            }
            ids.sort();
            let range = range.and_then(|(from, to)| Some((*ids.get(from)?, *ids.get(to)?)));
            let filter = Filter { index: &index, context };
            let shown = Shown::new(store.merged(&names), filtered.then_some(filter));
            let mut expected = Vec::new();
            if let Some(first) = shown.first() {
                for entry in shown.forward(first) {
                    let inside = |(from, to)| from <= entry.id && entry.id <= to;
                    if let Content::Line { bytes, .. } = entry.content
                        && range.is_none_or(inside)
                    {
                        expected.extend_from_slice(bytes);
                        expected.push(b'\n');
                    }
                }
            }
            let extract = Extract {
                snapshot: store.snapshot(&names),
                filter: filtered.then(|| (index.sieve().clone(), context)),
                range,
                names: None,
                form: Form::Raw,
            };
            let text = |bytes| String::from_utf8(bytes).unwrap();
            prop_assert_eq!(text(written(&extract)), text(expected));
        }
    }

    #[test]
    fn a_line_is_written_as_it_was_logged_or_safe() {
        let source = SourceId("api".into());
        let mut store = LogStore::default();
        let at: Timestamp = "2026-11-21T12:03:44.5Z".parse().unwrap();
        let id = store
            .push(&source, at, Channel::Out, b"\x1b[31mred\x1b[2J\xff")
            .unwrap();
        let extract = |form, named: bool| Extract {
            snapshot: store.snapshot([&source]),
            filter: None,
            range: None,
            names: named.then(|| BTreeMap::from([(id.source(), "api".to_owned())])),
            form,
        };
        let text = |form, named| written(&extract(form, named));
        assert_eq!(text(Form::Raw, false), b"\x1b[31mred\x1b[2J\xff\n");
        assert_eq!(text(Form::Text, false), "red\u{fffd}\n".as_bytes());
        assert_eq!(
            text(Form::Colored, true),
            "2026-11-21T12:03:44.500000000Z api \x1b[31mred\u{fffd}\x1b[0m\n".as_bytes()
        );
    }

    #[test]
    fn it_ends_where_nobody_wants_it_any_more() {
        let source = SourceId("api".into());
        let mut store = LogStore::default();
        for n in 0..20 {
            let at = Timestamp::from_second(n).unwrap();
            store.push(&source, at, Channel::Out, &vec![b'x'; 1 << 20]);
        }
        let extract = Extract {
            snapshot: store.snapshot([&source]),
            filter: None,
            range: None,
            names: None,
            form: Form::Raw,
        };
        let mut told = Vec::new();
        let ended = extract.write(&mut io::sink(), |percent| {
            told.push(percent);
            ControlFlow::Break(())
        });
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::Interrupted);
        assert_eq!(told.len(), 1);
    }
}
