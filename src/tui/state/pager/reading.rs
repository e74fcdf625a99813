//! A line's bytes as they are drawn: the one place that decides it, so that wrapping, scrolling
//! sideways and drawing agree.

use std::ops::Range;

use super::Pager;
use crate::logs::store::{Content, Entry};
use crate::text::level::Level;
use crate::text::matcher::Matcher;
use crate::text::sanitize::{StyledText, sanitize};
use crate::text::structured::{Structured, parse};

/// Of a longer line this much is decoded and drawn; the rest is counted at its end.
const SHOWN: usize = 64 << 10;

/// Columns of the word that a readable line begins with, with the space behind it.
const WORD: usize = 6;

/// Bytes at the start of a plain line in which the word for its level is looked for.
const HEADER: usize = 160;

/// What is drawn of a line.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    pub styled: StyledText,
    /// Where its level is to be seen.
    pub level: Option<(Range<usize>, Level)>,
    /// What the search has found in it.
    pub hits: Vec<Range<usize>>,
}

impl Pager {
    /// `None` for a mark.
    pub fn read(&self, entry: &Entry<'_>) -> Option<Reading> {
        let Content::Line { weight, bytes, .. } = entry.content else {
            return None;
        };
        let own = weight.level.filter(|_| !weight.inherited);
        let chosen = self.chosen.get(entry.source).map(Vec::as_slice);
        let readable = match self.raw || bytes.len() > SHOWN {
            true => None,
            false => parse(bytes).and_then(|line| readable(&line, own, chosen)),
        };
        let mut reading = readable.unwrap_or_else(|| plain(bytes, own));
        if let Some(matcher) = self.matcher() {
            let is_hit = || match &self.search {
                // The index has looked through it already, which takes long for such a line.
                Some(search) if bytes.len() > SHOWN => {
                    search.at_or_after(entry.id) == Some(entry.id)
                }
                _ => matcher.is_match(bytes),
            };
            find(&mut reading, matcher, bytes, is_hit);
        }
        Some(reading)
    }
}

fn readable(line: &Structured, level: Option<Level>, chosen: Option<&[String]>) -> Option<Reading> {
    let text = line.one_line(chosen.filter(|chosen| !chosen.is_empty()));
    let level = line.level.or(level);
    if text.is_empty() && level.is_none() {
        return None;
    }
    let word = level.map_or_else(String::new, |level| level.word().to_uppercase());
    let styled = StyledText {
        text: match level {
            Some(_) => format!("{word:WORD$}{text}"),
            None => text,
        },
        ..StyledText::default()
    };
    Some(Reading {
        styled,
        level: level.map(|level| (0..word.len(), level)),
        hits: Vec::new(),
    })
}

fn plain(bytes: &[u8], level: Option<Level>) -> Reading {
    let (shown, rest) = bytes.split_at_checked(SHOWN).unwrap_or((bytes, &[]));
    let mut styled = sanitize(shown);
    if !rest.is_empty() {
        let more = format!(" … {} KiB more", rest.len() / 1024 + 1);
        styled.text.push_str(&more);
    }
    let level = level.and_then(|level| Some((place_of(&styled.text, level)?, level)));
    Reading {
        styled,
        level,
        hits: Vec::new(),
    }
}

/// The word that says the level; where none does (`E0712 …`, `panic: …`), the first character.
fn place_of(text: &str, level: Level) -> Option<Range<usize>> {
    let words = text.split(|c: char| !c.is_ascii_alphabetic());
    for word in words {
        let at = word.as_ptr().addr() - text.as_ptr().addr();
        if at > HEADER {
            break;
        }
        if word.parse() == Ok(level) {
            return Some(at..at + word.len());
        }
    }
    let (start, first) = text.char_indices().find(|(_, c)| !c.is_whitespace())?;
    Some(start..start + first.len_utf8())
}

/// The search looks at the bytes. Where what it found is not in the readable text, it stands
/// in front of that: a line that matches never looks as if it did not.
fn find(reading: &mut Reading, matcher: &Matcher, bytes: &[u8], is_hit: impl FnOnce() -> bool) {
    let text = &mut reading.styled.text;
    reading.hits = matcher.ranges(text).collect();
    if !reading.hits.is_empty() || !is_hit() {
        return;
    }
    let found = matcher.first(bytes.get(..SHOWN).unwrap_or(bytes));
    let found = found.unwrap_or_else(|| "…".to_owned());
    // Behind the level of a structured line, which is in columns of its own.
    let at = reading.level.as_ref().map_or(0, |_| WORD.min(text.len()));
    let at = if text.is_char_boundary(at) { at } else { 0 };
    text.insert_str(at, &format!("⟨{found}⟩ "));
    let start = at + '⟨'.len_utf8();
    reading.hits.push(start..start + found.len());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::line::{Channel, SourceId};
    use crate::logs::index::Index;
    use crate::logs::store::{LineId, LogStore};

    fn stored(line: &str) -> (LogStore, LineId) {
        let source = SourceId("api".into());
        let mut store = LogStore::default();
        let at = jiff::Timestamp::UNIX_EPOCH;
        let id = store.push(&source, at, Channel::Out, line.as_bytes());
        (store, id.unwrap())
    }

    fn read_by(pager: &Pager, line: &str) -> Reading {
        let (store, id) = stored(line);
        pager.read(&store.get(id).unwrap()).unwrap()
    }

    #[test]
    fn a_hit_far_behind_in_a_plain_line_divides_no_character() {
        let mut pager = Pager::default();
        let matcher = Matcher::new("needle").unwrap();
        pager.search = Some(Index::seeking(matcher));
        let line = format!("WARN ééé {} needle", "x".repeat(SHOWN));
        let unknown = read_by(&pager, &line).styled.text;
        assert!(unknown.starts_with("WARN ééé"), "{}", &unknown[..40]);
        let (store, id) = stored(&line);
        let content = store.get(id).unwrap().content;
        pager.search.as_mut().unwrap().offer(id, &content);
        let text = read_by(&pager, &line).styled.text;
        assert!(text.starts_with("⟨…⟩ WARN ééé"), "{}", &text[..40]);
    }

    fn read(line: &str) -> Reading {
        read_by(&Pager::default(), line)
    }

    const JSON: &str = r#"{"level":50,"time":1700000000000,"msg":"it broke","port":5432}"#;

    #[test]
    fn a_structured_line_is_readable_and_begins_with_its_level() {
        let reading = read(JSON);
        assert_eq!(reading.styled.text, "ERROR it broke  port=5432");
        assert_eq!(reading.level, Some((0..5, Level::Error)));
        assert_eq!(
            read("time=1 level=info msg=up a=b").styled.text,
            "INFO  up  a=b"
        );
        assert_eq!(read(r#"{"a":1}"#).styled.text, "a=1");
        // There is nothing to read in these.
        for line in ["{}", "{\"a\":", "a=b"] {
            assert_eq!(read(line).styled.text, line);
        }
    }

    #[test]
    fn raw_is_as_logged_and_chosen_fields_are_all_that_is_shown() {
        let mut pager = Pager::default();
        pager
            .chosen
            .insert(SourceId("api".into()), vec!["b".to_owned()]);
        let line = r#"{"level":"info","msg":"m","a":1,"b":{"c":2}}"#;
        assert_eq!(read_by(&pager, line).styled.text, "INFO  m  b.c=2");
        pager.chosen.insert(SourceId("api".into()), Vec::new());
        assert_eq!(read_by(&pager, line).styled.text, "INFO  m  a=1 b.c=2");
        pager.raw = true;
        assert_eq!(read_by(&pager, line).styled.text, line);
    }

    #[test]
    fn the_level_of_a_plain_line_is_where_it_says_it() {
        let place = |line: &str| {
            let reading = read(line);
            let (range, level) = reading.level?;
            Some((reading.styled.text[range].to_owned(), level))
        };
        let some = |text: &str, level| Some((text.to_owned(), level));
        assert_eq!(place("2026-11-21 ERROR é no"), some("ERROR", Level::Error));
        assert_eq!(place("[warning] hm"), some("warning", Level::Warn));
        assert_eq!(
            place("E0712 12:03:41.102 x.go:1] no"),
            some("E", Level::Error)
        );
        assert_eq!(place("just words"), None);
    }

    #[test]
    fn what_matches_is_to_be_seen() {
        let find = |pattern: &str, line: &str| {
            let pager = Pager {
                search: Matcher::new(pattern).map(Index::seeking),
                ..Pager::default()
            };
            let reading = read_by(&pager, line);
            let hits = reading.hits.iter();
            let hits = hits.map(|hit| reading.styled.text[hit.clone()].to_owned());
            (hits.collect::<Vec<_>>(), reading.styled.text.clone())
        };
        assert_eq!(find("5432", JSON).0, ["5432"]);
        let (hits, text) = find("\"level\":\\d+", JSON);
        assert_eq!(hits, ["\"level\":50"]);
        assert_eq!(text, "ERROR ⟨\"level\":50⟩ it broke  port=5432");
        assert_eq!(find("nothing", JSON).0, [""; 0]);
        assert_eq!(find("broke", "it broke").0, ["broke"]);
    }
}
