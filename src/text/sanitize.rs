//! Bytes of unknown origin become text that is safe to draw.
//!
//! Log lines, names and error messages come from programs that we do not control, and a terminal
//! obeys what it is sent. Of escape sequences only SGR (colours and attributes) survives, as data
//! beside the text; everything else, and every control character, is taken out here.

use std::borrow::Cow;
use std::ops::Range;

use unicode_width::UnicodeWidthChar;

use super::width::width;

/// Columns between two tab stops.
const TAB: usize = 8;

/// Marks that one character may carry. More than any writing needs (UAX #15 has the same bound)
/// would put a whole line into one cell of the screen.
const MARKS: usize = 30;

/// Text without any control character, and how parts of it were meant to look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StyledText {
    pub text: String,
    /// In order, apart from each other, on character borders. What they leave out is plain.
    pub spans: Vec<Span>,
}

/// A part of a text, in bytes, with its style.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub range: Range<usize>,
    pub style: Style,
}

/// What SGR can say and a log may. Blinking and hidden text are not taken over: the first is a
/// nuisance, and the second would hide evidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    pub foreground: Option<Color>,
    pub background: Option<Color>,
    pub bold: bool,
    pub dim: bool,
    pub italic: bool,
    pub underline: bool,
    pub reverse: bool,
    pub strike: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    /// The 16 colours that every terminal's own palette defines.
    Base(u8),
    /// The 256-colour palette.
    Indexed(u8),
    Rgb(u8, u8, u8),
}

/// Makes one line safe.
///
/// Invalid UTF-8 becomes U+FFFD, tabs become spaces up to the next stop. A carriage return starts
/// the line over, so that a progress line shows its last state; one at the end changes nothing.
/// A sequence that does not end loses its introducer only, so that it cannot hide the rest.
pub fn sanitize(bytes: &[u8]) -> StyledText {
    if let Some(text) = as_is(bytes) {
        return StyledText {
            text: text.to_owned(),
            spans: Vec::new(),
        };
    }
    let decoded = String::from_utf8_lossy(bytes);
    let mut out = Writer::default();
    let mut rest = &*decoded;
    while let Some(first) = rest.chars().next() {
        let plain = rest.find(needs_care).unwrap_or(rest.len());
        if plain > 0 {
            out.text(&rest[..plain]);
            rest = &rest[plain..];
            continue;
        }
        rest = &rest[first.len_utf8()..];
        match first {
            '\t' => out.tab(),
            '\r' => out.returned = true,
            '\u{1b}' => rest = escape(rest, &mut out.style),
            '\u{9b}' => rest = control_sequence(rest, &mut out.style),
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => rest = control_string(rest),
            _ => {}
        }
    }
    out.done
}

/// Makes a name, a label or a message safe: one line without styles. Line breaks and tabs become
/// spaces.
pub fn sanitize_plain(text: &str) -> Cow<'_, str> {
    if text.is_ascii() && !text.contains(needs_care) {
        return Cow::Borrowed(text);
    }
    let line: String = text
        .trim_end_matches(['\r', '\n'])
        .chars()
        .map(|c| match c {
            '\n' | '\r' | '\t' => ' ',
            c => c,
        })
        .collect();
    Cow::Owned(sanitize(line.as_bytes()).text)
}

/// The bytes as text where sanitising would change nothing. Only printable ASCII is looked for:
/// this is the fast path.
pub fn as_is(bytes: &[u8]) -> Option<&str> {
    // Without a way out in the middle, so that many bytes are compared at a time.
    let plain = bytes
        .iter()
        .fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~'));
    plain.then(|| std::str::from_utf8(bytes).ok()).flatten()
}

/// Whether a character may not be drawn as it is.
pub fn needs_care(c: char) -> bool {
    match c {
        ' '..='~' => false,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => true,
        _ => is_invisible(c),
    }
}

/// Characters that have no width of their own and change how others look or are ordered: text
/// with them can read differently from what it is.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}'                       // soft hyphen
        | '\u{34f}'                    // combining grapheme joiner
        | '\u{61c}'                    // arabic letter mark
        | '\u{115f}' | '\u{1160}'      // hangul fillers: letters that show nothing
        | '\u{17b4}' | '\u{17b5}'      // khmer vowels that show nothing
        | '\u{180b}'..='\u{180f}'      // mongolian separators
        | '\u{200b}'..='\u{200f}'      // zero-width space and joiners, direction marks
        | '\u{2028}'..='\u{202e}'      // line and paragraph separator, direction overrides
        | '\u{2060}'..='\u{206f}'      // word joiner, invisible operators, isolates
        | '\u{fe00}'..='\u{fe0f}'      // variation selectors: terminals disagree on the width
        | '\u{3164}' | '\u{ffa0}'      // hangul fillers
        | '\u{feff}'                   // byte order mark
        | '\u{fff0}'..='\u{fffb}'      // interlinear annotation, and what is to show nothing
        | '\u{fffe}' | '\u{ffff}'      // no characters: XML has no way to write them
        | '\u{13430}'..='\u{13440}'    // hieroglyph joiners
        | '\u{1bca0}'..='\u{1bca3}'    // shorthand format controls
        | '\u{1d173}'..='\u{1d17a}'    // musical format controls
        | '\u{e0000}'..='\u{e0fff}'    // tags, more variation selectors
    )
}

#[derive(Default)]
struct Writer {
    done: StyledText,
    style: Style,
    /// A carriage return came, and nothing after it yet.
    returned: bool,
    /// Where measuring for the next tab goes on: byte offset and column.
    measured: (usize, usize),
    /// How many characters without a width came one after the other.
    marks: usize,
}

impl Writer {
    fn text(&mut self, text: &str) {
        if std::mem::take(&mut self.returned) {
            self.done.text.clear();
            self.done.spans.clear();
            self.measured = (0, 0);
        }
        let start = self.done.text.len();
        if text.is_ascii() {
            self.done.text.push_str(text);
            self.marks = 0;
        } else {
            self.marked(text);
        }
        let end = self.done.text.len();
        if self.style == Style::default() || start == end {
            return;
        }
        match self.done.spans.last_mut() {
            Some(last) if last.range.end == start && last.style == self.style => {
                last.range.end = end;
            }
            _ => self.done.spans.push(Span {
                range: start..end,
                style: self.style,
            }),
        }
    }

    fn marked(&mut self, text: &str) {
        for c in text.chars() {
            self.marks = match c.width() {
                Some(0) => self.marks + 1,
                _ => 0,
            };
            if self.marks <= MARKS {
                self.done.text.push(c);
            }
        }
    }

    fn tab(&mut self) {
        if self.returned {
            self.text("");
        }
        let (from, column) = self.measured;
        let column = column + width(&self.done.text[from..]);
        let next = (column / TAB + 1) * TAB;
        self.text(&"        "[..next - column]);
        self.measured = (self.done.text.len(), next);
    }
}

/// What follows an ESC: applies it if it is SGR, and returns what comes after it.
fn escape<'a>(rest: &'a str, style: &mut Style) -> &'a str {
    let Some(first) = rest.chars().next() else {
        return rest;
    };
    match first {
        '[' => control_sequence(&rest[1..], style),
        ']' | 'P' | 'X' | '^' | '_' => control_string(&rest[1..]),
        ' '..='/' => {
            let after = rest.trim_start_matches(|c| matches!(c, ' '..='/'));
            after
                .strip_prefix(|c| matches!(c, '0'..='~'))
                .unwrap_or(after)
        }
        '0'..='~' => &rest[1..],
        _ => rest,
    }
}

/// What follows a CSI. Anything that cannot stand in one ends it and is kept.
fn control_sequence<'a>(rest: &'a str, style: &mut Style) -> &'a str {
    let end = rest.find(|c| !matches!(c, '0'..='?')).unwrap_or(rest.len());
    let (parameters, tail) = rest.split_at(end);
    let after = tail.trim_start_matches(|c| matches!(c, ' '..='/'));
    let Some(last) = after.chars().next().filter(|c| matches!(c, '@'..='~')) else {
        return after;
    };
    let private = parameters.starts_with(['<', '=', '>', '?']);
    if last == 'm' && !private && after.len() == tail.len() {
        style.apply(parameters);
    }
    &after[1..]
}

/// What follows an OSC, DCS, SOS, PM or APC: all of it up to its terminator.
fn control_string(rest: &str) -> &str {
    let Some(end) = rest.find(['\u{7}', '\u{9c}', '\u{1b}', '\u{18}', '\u{1a}']) else {
        return rest;
    };
    let tail = &rest[end..];
    // An ESC ends the string; with a backslash it is the terminator, otherwise the start of
    // another sequence, which the caller reads.
    tail.strip_prefix("\u{1b}\\")
        .or_else(|| tail.strip_prefix(['\u{7}', '\u{9c}', '\u{18}', '\u{1a}']))
        .unwrap_or(tail)
}

impl Style {
    /// Applies the parameters of one SGR sequence (ECMA-48 8.3.117, with the colour forms of
    /// ISO 8613-6 in both spellings, `38;5;n` and `38:5:n`). Unknown ones are skipped.
    fn apply(&mut self, parameters: &str) {
        let mut groups = parameters.split(';');
        while let Some(group) = groups.next() {
            let mut sub = group.split(':');
            let Some(code) = number(sub.next()) else {
                continue;
            };
            match code {
                0 => *self = Self::default(),
                1 => self.bold = true,
                2 => self.dim = true,
                3 => self.italic = true,
                4 => self.underline = number(sub.next()) != Some(0) || !group.contains(':'),
                7 => self.reverse = true,
                9 => self.strike = true,
                21 => self.underline = true,
                22 => (self.bold, self.dim) = (false, false),
                23 => self.italic = false,
                24 => self.underline = false,
                27 => self.reverse = false,
                29 => self.strike = false,
                30..=37 => self.foreground = Some(Color::Base((code - 30) as u8)),
                39 => self.foreground = None,
                40..=47 => self.background = Some(Color::Base((code - 40) as u8)),
                49 => self.background = None,
                90..=97 => self.foreground = Some(Color::Base((code - 90 + 8) as u8)),
                100..=107 => self.background = Some(Color::Base((code - 100 + 8) as u8)),
                38 | 48 | 58 => {
                    let color = if group.contains(':') {
                        sub_parameters(&sub.collect::<Vec<_>>())
                    } else {
                        following(&mut groups)
                    };
                    match (code, color) {
                        (38, Some(color)) => self.foreground = Some(color),
                        (48, Some(color)) => self.background = Some(color),
                        _ => {}
                    }
                }
                _ => {}
            }
        }
    }
}

/// An absent number is 0, as the standard says.
fn number(text: Option<&str>) -> Option<u16> {
    match text {
        None | Some("") => Some(0),
        Some(text) => text.parse().ok(),
    }
}

fn byte(text: Option<&str>) -> Option<u8> {
    number(text).and_then(|n| u8::try_from(n).ok())
}

fn indexed(n: u8) -> Color {
    if n < 16 {
        Color::Base(n)
    } else {
        Color::Indexed(n)
    }
}

/// `38:5:n`, `38:2:r:g:b`, and `38:2:space:r:g:b`.
fn sub_parameters(parts: &[&str]) -> Option<Color> {
    match parts {
        ["5", n, ..] => byte(Some(n)).map(indexed),
        ["2", r, g, b] | ["2", _, r, g, b, ..] => {
            Some(Color::Rgb(byte(Some(r))?, byte(Some(g))?, byte(Some(b))?))
        }
        _ => None,
    }
}

/// `38;5;n` and `38;2;r;g;b`: takes what belongs to the colour.
fn following<'a>(groups: &mut impl Iterator<Item = &'a str>) -> Option<Color> {
    match groups.next() {
        Some("5") => byte(groups.next()).map(indexed),
        Some("2") => {
            let (r, g, b) = (groups.next(), groups.next(), groups.next());
            Some(Color::Rgb(byte(r)?, byte(g)?, byte(b)?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(bytes: &[u8]) -> String {
        sanitize(bytes).text
    }

    fn styles(bytes: &[u8]) -> Vec<(String, Style)> {
        let styled = sanitize(bytes);
        styled
            .spans
            .iter()
            .map(|span| (styled.text[span.range.clone()].to_owned(), span.style))
            .collect()
    }

    #[test]
    fn only_colours_and_attributes_survive_and_not_as_text() {
        let red = Style {
            foreground: Some(Color::Base(1)),
            ..Style::default()
        };
        assert_eq!(text(b"a\x1b[31mred\x1b[0mb"), "aredb");
        assert_eq!(styles(b"a\x1b[31mred\x1b[0mb"), [("red".to_owned(), red)]);
        for (input, left) in [
            (&b"a\x1b[2Jb"[..], "ab"),
            (b"a\x1b[?25lb", "ab"),
            (b"a\x1b[10;10Hb", "ab"),
            (b"a\x1b]0;title\x07b", "ab"),
            (b"a\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\b", "alinkb"),
            (b"a\x1bP1$r0m\x1b\\b", "ab"),
            (b"a\x1b_Gf=100;AAAA\x1b\\b", "ab"),
            (b"a\x1b(Bb", "ab"),
            (b"a\x1bcb", "ab"),
            (b"a\x1b", "a"),
            (b"a\x1b[3", "a"),
            (b"a\x1b[31", "a"),
            ("a\u{9b}31mb".as_bytes(), "ab"),
            ("a\u{9d}0;t\u{9c}b".as_bytes(), "ab"),
            (b"a\x07\x08\x00\x7fb", "ab"),
            ("a\u{85}b".as_bytes(), "ab"),
            ("a\u{202e}b\u{2066}c\u{200b}d\u{feff}".as_bytes(), "abcd"),
            (b"a\xff\xfeb", "a\u{fffd}\u{fffd}b"),
        ] {
            assert_eq!(text(input), left, "{input:?}");
        }
    }

    #[test]
    fn a_sequence_that_never_ends_hides_nothing_but_its_start() {
        assert_eq!(
            text(b"a\x1b]0;the rest of the line"),
            "a0;the rest of the line"
        );
        assert_eq!(text(b"a\x1b[31\xc3\xa9b"), "a\u{e9}b");
        assert_eq!(text(b"a\x1b]0;x\x1b[31mb"), "ab");
    }

    #[test]
    fn colours_are_read_in_every_spelling() {
        let one = |input: &[u8]| styles(input).first().map(|(_, style)| *style);
        let fg = |color| {
            Some(Style {
                foreground: Some(color),
                ..Style::default()
            })
        };
        assert_eq!(one(b"\x1b[38;5;208mx"), fg(Color::Indexed(208)));
        assert_eq!(one(b"\x1b[38:5:208mx"), fg(Color::Indexed(208)));
        assert_eq!(one(b"\x1b[38;5;3mx"), fg(Color::Base(3)));
        assert_eq!(one(b"\x1b[38;2;1;2;3mx"), fg(Color::Rgb(1, 2, 3)));
        assert_eq!(one(b"\x1b[38:2:1:2:3mx"), fg(Color::Rgb(1, 2, 3)));
        assert_eq!(one(b"\x1b[38:2::1:2:3mx"), fg(Color::Rgb(1, 2, 3)));
        assert_eq!(one(b"\x1b[95mx"), fg(Color::Base(13)));
        assert_eq!(one(b"\x1b[38;2;1;2;999;1mx").map(|s| s.bold), Some(true));
        assert_eq!(one(b"\x1b[1;31;22;39mx"), None);
        assert_eq!(one(b"\x1b[1mx\x1b[my").map(|s| s.bold), Some(true));
        assert_eq!(one(b"\x1b[4:3mx").map(|s| s.underline), Some(true));
        assert_eq!(one(b"\x1b[4;4:0mx"), None);
        assert_eq!(one(b"\x1b[8mx"), None);
        assert_eq!(one(b"\x1b[?1mx"), None);
        assert_eq!(one(b"\x1b[1 mx"), None);
        assert_eq!(one(b"\x1b[58;5;1mx"), None);
    }

    #[test]
    fn a_progress_line_shows_its_last_state() {
        assert_eq!(text(b" 10%\r 50%\r100%"), "100%");
        assert_eq!(text(b"done\r"), "done");
        assert_eq!(text(b"done\r\r\n"), "done");
        assert_eq!(text(b"old\r\tx"), "        x");
        assert_eq!(styles(b"\x1b[31mold\r\x1b[0mnew"), []);
    }

    #[test]
    fn tabs_go_to_the_next_stop() {
        assert_eq!(text(b"a\tb\tc"), "a       b       c");
        assert_eq!(text("日本\tb".as_bytes()), "日本    b");
        assert_eq!(text(b"12345678\tb"), "12345678        b");
    }

    #[test]
    fn a_character_carries_no_more_marks_than_writing_has() {
        let tower = |marks: usize| format!("x{}y", "\u{336}".repeat(marks));
        assert_eq!(text(tower(MARKS).as_bytes()), tower(MARKS));
        assert_eq!(text(tower(5000).as_bytes()), tower(MARKS));
        let divided = tower(5000).replace("\u{336}\u{336}", "\u{336}\x1b[31m\u{336}\x1b[0m");
        assert_eq!(text(divided.as_bytes()), tower(MARKS));
    }

    #[test]
    fn names_become_one_safe_line() {
        assert!(matches!(sanitize_plain("tenant"), Cow::Borrowed("tenant")));
        assert_eq!(sanitize_plain("a\nb\tc\x1b[31m\u{202e}d\n"), "a b cd");
        assert_eq!(sanitize_plain("é日"), "é日");
    }

    proptest! {
        #[test]
        fn no_control_character_comes_out(bytes in proptest::collection::vec(
            prop_oneof![any::<u8>(), Just(0x1b), Just(b'['), Just(b']'), Just(b'm'), Just(b'\r'),
                Just(b'\t'), Just(0xc2), Just(0x9b), Just(0x9c), Just(0x07)], 0..200)) {
            let styled = sanitize(&bytes);
            prop_assert!(!styled.text.contains(needs_care), "{:?}", styled.text);
            let mut end = 0;
            for span in &styled.spans {
                prop_assert!(end <= span.range.start && span.range.start < span.range.end);
                prop_assert!(styled.text.get(span.range.clone()).is_some());
                prop_assert!(span.style != Style::default());
                end = span.range.end;
            }
        }

        #[test]
        fn a_second_pass_changes_nothing(input in "\\PC{0,40}|[\\x1b\\[\\]0-9;:mH\\\\a-z\\t\\r]{0,60}") {
            let once = text(input.as_bytes());
            prop_assert_eq!(&text(once.as_bytes()), &once);
            let plain = sanitize_plain(&input).into_owned();
            prop_assert!(!plain.contains(needs_care));
        }

        #[test]
        fn the_fast_path_agrees_with_the_long_way(input in "[ -~]{0,60}") {
            let fast = as_is(input.as_bytes()).map(str::to_owned);
            prop_assert_eq!(fast, Some(text(input.as_bytes())));
        }
    }
}
