//! Commands that a CI server reads out of whatever a step prints.
//!
//! GitHub's runner takes `::command::` at the beginning of a line, and the older `##[command]`
//! wherever it stands in one (`ActionCommand.TryParse` in actions/runner); Azure's agent takes
//! `##vso[command]` wherever it stands.

use std::borrow::Cow;

/// How a text is written, so that what is broken in it still reads well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notation {
    /// Each line begins with words of our own.
    Text,
    /// Lines may begin with anything.
    Verbatim,
    Json,
    Xml,
}

/// Breaks commands in a text that comes in pieces.
#[derive(Clone, Debug)]
pub struct Defuser {
    notation: Notation,
    /// Nothing but white space has been seen of the line.
    at_start: bool,
    /// A colon has, and nothing else.
    after_colon: bool,
    /// How many characters of `##vso` have just been seen.
    matched: usize,
}

/// What stands before the bracket; for GitHub the first two suffice.
const PREFIX: [char; 5] = ['#', '#', 'v', 's', 'o'];

impl Defuser {
    pub fn new(notation: Notation) -> Self {
        Self {
            notation,
            at_start: true,
            after_colon: false,
            matched: 0,
        }
    }

    /// The next piece, without a command in it or across its beginning.
    pub fn defuse<'a>(&mut self, piece: &'a [u8]) -> Cow<'a, [u8]> {
        let mut safe: Option<Vec<u8>> = None;
        let mut kept = 0;
        let mut at = 0;
        for chunk in piece.utf8_chunks() {
            for c in chunk.valid().chars() {
                let next = at + c.len_utf8();
                if let Some(instead) = self.instead_of(c) {
                    let safe = safe.get_or_insert_default();
                    safe.extend_from_slice(&piece[kept..at]);
                    safe.extend_from_slice(instead.as_bytes());
                    kept = next;
                }
                at = next;
            }
            if !chunk.invalid().is_empty() {
                self.at_start = false;
                self.matched = 0;
                at += chunk.invalid().len();
            }
        }
        match safe {
            None => Cow::Borrowed(piece),
            Some(mut safe) => {
                safe.extend_from_slice(&piece[kept..]);
                Cow::Owned(safe)
            }
        }
    }

    /// What to write in the place of a character that completes a command.
    fn instead_of(&mut self, c: char) -> Option<&'static str> {
        let now_matched = self.now_matched(c);
        let matched = std::mem::replace(&mut self.matched, now_matched);
        let completes_bracket = c == '[' && matches!(matched, 2 | 5);
        let completes_colons = c == ':' && self.after_colon;
        self.after_colon = c == ':' && self.at_start;
        // A return begins a line for who reads it.
        self.at_start = matches!(c, '\n' | '\r') || self.at_start && c.is_whitespace();
        match self.notation {
            Notation::Text | Notation::Verbatim if completes_bracket => Some(" ["),
            Notation::Json if completes_bracket => Some("\\u005b"),
            Notation::Xml if completes_bracket => Some("&#91;"),
            Notation::Verbatim if completes_colons => Some(" :"),
            Notation::Xml if completes_colons => Some("&#58;"),
            _ => None,
        }
    }

    fn now_matched(&self, c: char) -> usize {
        let c = c.to_ascii_lowercase();
        match self.matched {
            2 if c == '#' => 2,
            matched if PREFIX.get(matched) == Some(&c) => matched + 1,
            _ => usize::from(c == '#'),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defused(notation: Notation, text: &str) -> String {
        let mut defuser = Defuser::new(notation);
        let whole = String::from_utf8(defuser.defuse(text.as_bytes()).into_owned()).unwrap();
        // However it is cut into pieces.
        let mut defuser = Defuser::new(notation);
        let mut buffer = [0; 4];
        let pieces = text.chars().flat_map(|c| {
            let piece = c.encode_utf8(&mut buffer).as_bytes();
            defuser.defuse(piece).into_owned()
        });
        assert_eq!(String::from_utf8(pieces.collect()).unwrap(), whole);
        whole
    }

    #[test]
    fn a_bracket_command_is_broken_wherever_it_stands() {
        for (text, safe) in [
            ("a ##[error]b", "a ## [error]b"),
            ("##[a]##[b]", "## [a]## [b]"),
            ("####[a]", "#### [a]"),
            ("##VSO[task.x]", "##VSO [task.x]"),
            ("#[derive] ## [x] ##vs[o] [#", "#[derive] ## [x] ##vs[o] [#"),
            ("###vso[x]", "###vso [x]"),
        ] {
            assert_eq!(defused(Notation::Text, text), safe);
        }
    }

    #[test]
    fn json_and_xml_say_the_same_as_before() {
        let line = r###"{"text":"a ##[x]"}"###;
        let safe = defused(Notation::Json, line);
        assert!(!safe.contains("##["), "{safe}");
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&safe), value(line));
        let safe = defused(Notation::Xml, "<a>\n ::x::##[y]</a>");
        assert_eq!(safe, "<a>\n :&#58;x::##&#91;y]</a>");
    }

    #[test]
    fn two_colons_are_broken_where_a_line_begins_with_them() {
        let text = "::a::b\n \u{3000}::c\nd ::e\r::f\n: :g";
        let safe = ": :a::b\n \u{3000}: :c\nd ::e\r: :f\n: :g";
        assert_eq!(defused(Notation::Verbatim, text), safe);
        assert_eq!(defused(Notation::Text, text), text);
    }

    #[test]
    fn bytes_that_are_no_text_stay() {
        let mut defuser = Defuser::new(Notation::Text);
        assert_eq!(*defuser.defuse(b"\xff##[\xff"), *b"\xff## [\xff");
    }
}
