//! The level of a plain line, which stands at its beginning.

use memchr::{memchr, memchr2};

use super::pairs::{after_quoted, in_json, key_start, pair};
use super::{Level, common};

/// Bytes at the start of a plain line, colours not counted, in which a logger puts the level.
pub(super) const HEADER: usize = 80;

pub(super) enum Found {
    Level(Level),
    /// The line says that it belongs to the one before it.
    Continued,
    Nothing,
}

/// Reads the beginning of a plain line: timestamps, brackets, names, and the level among them.
///
/// What tells a level from a word of the message is where it stands and how it is written. An
/// upper-case name may have a host or a logger before it; a capitalised or lower-case one needs
/// brackets, a colon or a timestamp. Two words that are no names are a sentence, and end the search.
pub(super) struct Header<'a> {
    line: &'a [u8],
    at: usize,
    end: usize,
    /// Where the token begins, whether that is outside of brackets, and what classes of bytes it
    /// has.
    start: usize,
    outside: bool,
    seen: u8,
    /// The last byte that is no colour.
    before: u8,
    depth: u8,
    /// A time or a date was seen.
    stamped: bool,
    tokens: u8,
    /// Words that may be the beginning of a message.
    prose: u8,
    last: Token,
    redis: bool,
}

const LETTER: u8 = 1;
const DIGIT: u8 = 2;
/// Stands between the parts of a date or a time.
const SEPARATOR: u8 = 4;
const OTHER: u8 = 8;
/// Has a meaning for the reader of a header.
const SPECIAL: u8 = 128;

/// The class of every byte.
static CLASS: [u8; 256] = {
    let mut table = [OTHER; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' => LETTER | SPECIAL,
            b'0'..=b'9' => DIGIT,
            b':' | b'-' | b'/' => SEPARATOR,
            b' ' | b'\t' => SPECIAL,
            0x1b | b'=' | b'"' | b'\'' | b'`' | b'{' | b'[' | b'(' | b']' | b')' => OTHER | SPECIAL,
            _ => OTHER,
        };
        byte += 1;
    }
    table
};

/// The words that the reader of a header knows.
const WORDS: [&[u8]; 36] = [
    b"trace",
    b"trc",
    b"trce",
    b"debug",
    b"dbg",
    b"dbug",
    b"verbose",
    b"info",
    b"inf",
    b"notice",
    b"note",
    b"warn",
    b"warning",
    b"wrn",
    b"error",
    b"err",
    b"eror",
    b"severe",
    b"fatal",
    b"ftl",
    b"fail",
    b"critical",
    b"crit",
    b"panic",
    b"pnc",
    b"dpanic",
    b"emerg",
    b"emergency",
    b"alert",
    b"log",
    b"statement",
    b"detail",
    b"hint",
    b"context",
    b"query",
    b"location",
];

/// For each letter, the lengths of the words that begin with it.
static LENGTHS: [u16; 32] = {
    let mut table = [0; 32];
    let mut index = 0;
    while index < WORDS.len() {
        let word = WORDS[index];
        table[(word[0] & 31) as usize] |= 1 << word.len();
        index += 1;
    }
    table
};

/// Turns most words away at once.
fn may_be_level(word: &[u8]) -> bool {
    let Some(first) = word.first() else {
        return false;
    };
    word.len() <= LONGEST && LENGTHS[usize::from(first & 31)] & (1 << word.len()) != 0
}

/// The length of the longest word.
const LONGEST: usize = 9;

/// What the token before this one was.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    None,
    Stamp,
    Number,
    /// Takes the meaning of what follows away: `no ERROR`.
    Denial,
    Word,
    Other,
}

impl<'a> Header<'a> {
    pub(super) fn new(line: &'a [u8]) -> Self {
        Self {
            line,
            at: 0,
            end: line.len().min(HEADER),
            start: 0,
            outside: true,
            seen: 0,
            before: b' ',
            depth: 0,
            stamped: false,
            tokens: 0,
            prose: 0,
            last: Token::None,
            redis: false,
        }
    }

    pub(super) fn read(mut self) -> Found {
        while let Some(&byte) = self.line.get(self.at)
            && self.at < self.end
        {
            let class = CLASS[usize::from(byte)];
            if class & SPECIAL == 0 {
                self.seen |= class;
                self.at += 1;
                self.before = byte;
                continue;
            }
            let found = match byte {
                b' ' | b'\t' => self.blank(),
                0x1b => {
                    self.colour();
                    continue;
                }
                b'a'..=b'z' | b'A'..=b'Z' => match self.letters() {
                    Found::Nothing => continue,
                    found => found,
                },
                b'=' => self.equals(),
                b'"' | b'\'' | b'`' if self.begins() => return Found::Nothing,
                b'{' if self.begins() && self.line.get(self.at + 1) == Some(&b'"') => {
                    return in_json(&self.line[self.at..]).map_or(Found::Nothing, Found::Level);
                }
                b'[' | b'(' => {
                    self.depth = self.depth.saturating_add(1);
                    Found::Nothing
                }
                b']' | b')' => {
                    self.depth = self.depth.saturating_sub(1);
                    Found::Nothing
                }
                _ => Found::Nothing,
            };
            if !matches!(found, Found::Nothing) {
                return found;
            }
            if self.prose > 2 {
                break;
            }
            self.seen |= class & !SPECIAL;
            self.at += 1;
            self.before = byte;
        }
        Found::Nothing
    }

    /// Whether a token begins here, outside of brackets.
    fn begins(&self) -> bool {
        self.at == self.start && self.depth == 0
    }

    fn blank(&mut self) -> Found {
        let found = if self.at > self.start && self.outside && self.depth == 0 {
            self.token()
        } else {
            Found::Nothing
        };
        self.start = self.at + 1;
        self.outside = self.depth == 0;
        self.seen = 0;
        found
    }

    /// Goes behind a colour, which takes no room.
    fn colour(&mut self) {
        let next = after_colour(self.line, self.at);
        if self.start == self.at {
            self.start = next;
        }
        self.end = (self.end + next - self.at).min(self.line.len());
        self.at = next;
    }

    fn letters(&mut self) -> Found {
        let rest = &self.line[self.at..];
        let length = rest
            .iter()
            .position(|byte| !byte.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        let word = &rest[..length];
        let free = !self.before.is_ascii_alphanumeric() && self.before != b'_';
        if free
            && may_be_level(word)
            && let found = self.word(word)
            && !matches!(found, Found::Nothing)
        {
            return found;
        }
        self.seen |= LETTER;
        self.at += length;
        self.before = word.last().copied().unwrap_or_default();
        Found::Nothing
    }

    fn equals(&mut self) -> Found {
        if self.depth > 0 {
            return Found::Nothing;
        }
        if let Some(level) = pair(self.line, self.at) {
            return Found::Level(level);
        }
        let key = &self.line[key_start(self.line, self.at)..self.at];
        if matches!(key, b"msg" | b"message") {
            self.end = self.at;
            return Found::Nothing;
        }
        self.value();
        Found::Nothing
    }

    /// Goes to the last byte of the value of a pair.
    fn value(&mut self) {
        let value = self.at + 1;
        let next = if self.line.get(value) == Some(&b'"') {
            after_quoted(&self.line[..self.end], value)
        } else {
            let rest = self.line.get(value..self.end).unwrap_or_default();
            memchr2(b' ', b'\t', rest).map(|length| value + length)
        };
        self.at = next.unwrap_or(self.end).max(value) - 1;
    }

    /// Takes note of a token outside of brackets that was no level.
    fn token(&mut self) -> Found {
        let token = uncoloured_end(&self.line[self.start..self.at]);
        let (Some(first), Some(last)) = (token.first(), token.last()) else {
            return Found::Nothing;
        };
        let number = self.tokens;
        self.tokens = self.tokens.saturating_add(1);
        if first.is_ascii_digit() {
            if number == 0 && matches!(token, [.., b':', b'A'..=b'Z']) {
                self.redis = true;
            }
            let is_stamp = self.seen & SEPARATOR != 0 || token.len() >= 10;
            self.stamped |= is_stamp;
            self.last = if is_stamp {
                Token::Stamp
            } else {
                Token::Number
            };
        } else if self.seen & (LETTER | DIGIT) == 0 {
            let level = match token {
                b"#" => Level::Warn,
                b"*" => Level::Info,
                b"-" | b"." => Level::Debug,
                _ => return Found::Nothing,
            };
            if self.redis {
                return Found::Level(level);
            }
        } else if self.seen == LETTER && !is_calendar(token) {
            self.prose += 1;
            self.last = if is_denial(token) {
                Token::Denial
            } else {
                Token::Word
            };
        } else if self.seen == LETTER {
            self.last = Token::Stamp;
        } else {
            // `I,` is Ruby's; any other word with a comma or a full stop is in a sentence.
            if matches!(last, b',' | b'.') && token.len() > 2 {
                self.prose += 3;
            }
            self.last = Token::Other;
        }
        Found::Nothing
    }

    /// Whether the word that begins here is the level.
    fn word(&self, word: &[u8]) -> Found {
        let next = self.at + word.len();
        let after = visible(self.line, next);
        let upper = word.iter().all(u8::is_ascii_uppercase);
        if upper && after == b':' {
            let spaced = self.line[next..].starts_with(b":  ");
            match word {
                b"STATEMENT" | b"DETAIL" | b"HINT" | b"CONTEXT" | b"QUERY" | b"LOCATION"
                    if spaced =>
                {
                    return Found::Continued;
                }
                b"LOG" if spaced => return Found::Level(Level::Info),
                _ => {}
            }
        }
        let mut buffer = [0; LONGEST];
        let lower = &mut buffer[..word.len()];
        lower.copy_from_slice(word);
        lower.make_ascii_lowercase();
        let wrapped = self.is_wrapped(next);
        let level = match (common(lower), &*lower) {
            (Some(level), _) => level,
            (None, b"note" | b"log") if wrapped => Level::Info,
            (None, b"fail") if self.at == 0 && after == b':' => Level::Error,
            (None, _) => return Found::Nothing,
        };
        let written = if upper {
            self.takes_upper(word, next, after, wrapped)
        } else if word[0].is_ascii_uppercase() && word[1..] == lower[1..] {
            self.takes_capitalised(word, next, after, wrapped)
        } else if word == lower {
            self.takes_lower(next, after, wrapped)
        } else {
            false
        };
        if written && !is_denied(&self.line[next..]) {
            return Found::Level(level);
        }
        Found::Nothing
    }

    fn takes_upper(&self, word: &[u8], next: usize, after: u8, wrapped: bool) -> bool {
        if self.depth == 0 && !wrapped && self.is_negated() {
            return false;
        }
        let close = match self.prose {
            0 => true,
            1 => self.stamped || after == b'!' || (self.last == Token::Word && word.len() > 3),
            _ => self.stamped,
        };
        let begins = matches!(
            self.before,
            b' ' | b'\t' | b'[' | b'(' | b'<' | b'{' | b'|' | b':' | b'>' | b']'
        );
        let ends = matches!(
            after,
            0 | b' ' | b'\t' | b']' | b')' | b'>' | b'}' | b'|' | b':' | b'/' | b'!' | b'['
        );
        // PostgreSQL counts its debug levels.
        let counted =
            word == b"DEBUG" && matches!(self.line.get(next..), Some([b'1'..=b'5', b':', ..]));
        close && begins && (ends || counted)
    }

    fn takes_capitalised(&self, word: &[u8], next: usize, after: u8, wrapped: bool) -> bool {
        if wrapped {
            return self.is_near();
        }
        if self.depth > 0 || !matches!(self.before, b' ' | b'\t' | b'|' | b']') {
            return false;
        }
        if after == b':' {
            return self.prose <= 1 && !self.is_negated();
        }
        // PHP's.
        if word == b"Fatal" && self.line[next..].starts_with(b" error:") {
            return self.prose <= 1;
        }
        self.prose == 0 && self.last == Token::Stamp && matches!(after, 0 | b' ' | b'\t')
    }

    fn takes_lower(&self, next: usize, after: u8, wrapped: bool) -> bool {
        if wrapped {
            return self.is_near();
        }
        if self.depth > 0 || self.prose > 0 || self.at != self.start || self.is_negated() {
            return false;
        }
        match after {
            b':' => self.tokens > 0 || !self.line[0].is_ascii_whitespace(),
            // zap puts tabs between its columns.
            b'\t' => self.stamped,
            // rustc's `error[E0308]: `.
            b'[' => {
                let code = &self.line[next + 1..];
                let length = code
                    .iter()
                    .take_while(|byte| byte.is_ascii_alphanumeric())
                    .count();
                self.at == 0 && code[length..].starts_with(b"]: ")
            }
            _ => false,
        }
    }

    /// Few enough words before it for a level in brackets.
    fn is_near(&self) -> bool {
        self.prose <= u8::from(self.stamped)
    }

    /// `no ERROR`, and `0 ERROR` where the number is no process of a stamped line.
    fn is_negated(&self) -> bool {
        match self.last {
            Token::Denial => true,
            Token::Number => !self.stamped,
            _ => false,
        }
    }

    /// Whether the word is all there is between two brackets or bars, filled up with spaces maybe:
    /// `[error]`, `[core:error]`, `<warn>`, `|INFO |`.
    fn is_wrapped(&self, next: usize) -> bool {
        let rest = after_colours(self.line, next);
        let padding = rest.iter().take_while(|byte| **byte == b' ').count();
        match rest.get(padding) {
            Some(b']') => matches!(self.before, b'[' | b':') && self.depth > 0,
            Some(b')') => self.before == b'(',
            Some(b'>') => self.before == b'<',
            Some(b'|') => self.before == b'|',
            _ => false,
        }
    }
}

/// Weekdays, months and zones, which stand in a time without being a name.
fn is_calendar(token: &[u8]) -> bool {
    const DAYS_AND_MONTHS: &[u8] = b"MonTueWedThuFriSatSunJanFebMarAprMayJunJulAugSepOctNovDec";
    match token {
        b"Z" | b"AM" | b"PM" | b"UTC" | b"GMT" | b"CET" | b"CEST" | b"EST" | b"EDT" | b"PST"
        | b"PDT" => true,
        [_, _, _] => DAYS_AND_MONTHS.chunks_exact(3).any(|name| name == token),
        _ => false,
    }
}

fn is_denial(token: &[u8]) -> bool {
    [&b"no"[..], b"without", b"zero", b"not"]
        .iter()
        .any(|word| token.eq_ignore_ascii_case(word))
}

/// Whether what follows a level's name says that there was none: `error: null`.
fn is_denied(rest: &[u8]) -> bool {
    let Some(rest) = rest.strip_prefix(b":") else {
        return false;
    };
    let value = rest.get(..rest.len().min(16)).unwrap_or(rest).trim_ascii();
    [
        &b"0"[..],
        b"no",
        b"nil",
        b"<nil>",
        b"none",
        b"null",
        b"false",
    ]
    .iter()
    .any(|word| value.trim_ascii_end().eq_ignore_ascii_case(word))
}

/// Where the escape sequence ends that begins at `at`.
fn after_colour(line: &[u8], at: usize) -> usize {
    let Some(sequence) = line.get(at + 1..).and_then(|rest| rest.strip_prefix(b"[")) else {
        return at + 1;
    };
    let length = sequence
        .iter()
        .take_while(|byte| matches!(byte, b'0'..=b'?'))
        .count();
    let end = at + 2 + length;
    match line.get(end) {
        Some(b'@'..=b'~') => end + 1,
        _ => end,
    }
}

fn after_colours(line: &[u8], mut at: usize) -> &[u8] {
    while line.get(at) == Some(&0x1b) {
        at = after_colour(line, at);
    }
    line.get(at..).unwrap_or_default()
}

/// The next byte that is no colour; 0 at the end.
fn visible(line: &[u8], at: usize) -> u8 {
    after_colours(line, at).first().copied().unwrap_or_default()
}

/// A token without the colour that follows it.
fn uncoloured_end(token: &[u8]) -> &[u8] {
    let end = memchr(0x1b, token).unwrap_or(token.len());
    &token[..end]
}
