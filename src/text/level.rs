//! How severe a line says it is.
//!
//! Every line passes through [`level`] when it comes in, so it allocates nothing and looks only
//! where loggers write: at the keys of a JSON object or of logfmt, and at the beginning of plain
//! text. What is not clear is `None`, for a wrong level is worse than none.

use std::fmt;
use std::str::FromStr;

use memchr::{memchr, memchr2};

/// How severe, from the least to the most. Every scale that loggers have is brought onto this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Level {
    Trace = 1,
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}

impl Level {
    pub const ALL: [Self; 6] = [
        Self::Trace,
        Self::Debug,
        Self::Info,
        Self::Warn,
        Self::Error,
        Self::Fatal,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }

    /// The level that `as u8` made a number of. No level is 0, so that can stand for none.
    pub fn from_u8(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// A word that names no level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write trace, debug, info, warn, error or fatal")]
pub struct UnknownLevel;

impl FromStr for Level {
    type Err = UnknownLevel;

    /// Takes the names that loggers use, in any case: `warning`, `err`, `critical`, `notice` …
    fn from_str(word: &str) -> Result<Self, UnknownLevel> {
        named(word.as_bytes()).ok_or(UnknownLevel)
    }
}

/// What the line says of itself; `None` for one that does not say, which mostly belongs to the
/// line before it.
pub fn level(line: &[u8]) -> Option<Level> {
    match line.first()? {
        b'{' => return in_json(line),
        b'<' => {
            if let Some(level) = syslog_prefix(line) {
                return Some(level);
            }
        }
        b'D' | b'I' | b'W' | b'E' | b'F' | b'p' | b'f' | b'T' | b't' => {
            if let Some(level) = glog(line).or_else(|| outcry(line)) {
                return Some(level);
            }
        }
        _ => {}
    }
    match Header::new(line).read() {
        Found::Level(level) => Some(level),
        Found::Continued => None,
        Found::Nothing => in_logfmt(line),
    }
}

/// What the program or its runtime writes when it breaks, at the start of a line.
const OUTCRIES: [(&[u8], Level); 5] = [
    (b"panic: ", Level::Fatal),
    (b"fatal error: ", Level::Fatal),
    (b"thread '", Level::Fatal),
    (b"Exception in thread ", Level::Error),
    (b"Traceback (most recent call last)", Level::Error),
];

fn outcry(line: &[u8]) -> Option<Level> {
    let (start, level) = OUTCRIES.iter().find(|(start, _)| line.starts_with(start))?;
    if start.starts_with(b"thread") {
        let near = line.get(..line.len().min(HEADER))?;
        memchr::memmem::find(near, b"panicked at")?;
    }
    Some(*level)
}

/// `E0712 12:03:41.102`, and CockroachDB's `E260712 12:03:41.102`.
fn glog(line: &[u8]) -> Option<Level> {
    let level = match line.first()? {
        b'D' => Level::Debug,
        b'I' => Level::Info,
        b'W' => Level::Warn,
        b'E' => Level::Error,
        b'F' => Level::Fatal,
        _ => return None,
    };
    let digits = line[1..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let clock = line.get(1 + digits..)?.strip_prefix(b" ")?;
    let is_clock = matches!(clock, [a, b, b':', ..] if a.is_ascii_digit() && b.is_ascii_digit());
    (matches!(digits, 4 | 6) && is_clock).then_some(level)
}

/// `<3>`: facility times eight, plus severity.
fn syslog_prefix(line: &[u8]) -> Option<Level> {
    let rest = line.strip_prefix(b"<")?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if rest.get(digits) != Some(&b'>') || !matches!(digits, 1..=3) {
        return None;
    }
    let number = number(&rest[..digits])?;
    (number < 192).then(|| severity(number % 8)).flatten()
}

/// Syslog's scale.
fn severity(number: u32) -> Option<Level> {
    match number {
        0..=2 => Some(Level::Fatal),
        3 => Some(Level::Error),
        4 => Some(Level::Warn),
        5 | 6 => Some(Level::Info),
        7 => Some(Level::Debug),
        _ => None,
    }
}

/// The scale of bunyan and pino, which leave room between the levels.
fn tens(number: u32) -> Option<Level> {
    match number {
        10..20 => Some(Level::Trace),
        20..30 => Some(Level::Debug),
        30..40 => Some(Level::Info),
        40..50 => Some(Level::Warn),
        50..60 => Some(Level::Error),
        60..70 => Some(Level::Fatal),
        _ => None,
    }
}

fn number(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || digits.len() > 4 {
        return None;
    }
    digits.iter().try_fold(0, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u32::from(byte - b'0'))?;
        Some(number * 10 + digit)
    })
}

/// The longest of the names.
const NAME: usize = 13;

/// A level by its name where nothing else can stand: the value of a field, or a flag.
fn named(word: &[u8]) -> Option<Level> {
    let mut lower = [0; NAME];
    let lower = lower.get_mut(..word.len())?;
    lower.copy_from_slice(word);
    lower.make_ascii_lowercase();
    Some(match &*lower {
        b"fine" | b"config" => Level::Debug,
        b"finer" | b"finest" | b"silly" => Level::Trace,
        b"log" | b"default" | b"note" | b"information" | b"informational" | b"success" => {
            Level::Info
        }
        b"fail" | b"failure" => Level::Error,
        other => return common(other),
    })
}

/// A level by its name where other words can stand too. Takes lower-case letters.
fn common(word: &[u8]) -> Option<Level> {
    Some(match word {
        b"trace" | b"trc" | b"trce" => Level::Trace,
        b"debug" | b"dbg" | b"dbug" | b"verbose" => Level::Debug,
        b"info" | b"inf" | b"notice" => Level::Info,
        b"warn" | b"warning" | b"wrn" => Level::Warn,
        b"error" | b"err" | b"eror" | b"severe" => Level::Error,
        b"fatal" | b"ftl" | b"critical" | b"crit" | b"panic" | b"pnc" | b"dpanic" | b"emerg"
        | b"emergency" | b"alert" => Level::Fatal,
        _ => return None,
    })
}

/// The keys under which structured logs keep the level, in lower case.
pub(super) fn is_level_key(key: &[u8]) -> bool {
    const KEYS: [&[u8]; 10] = [
        b"level",
        b"lvl",
        b"severity",
        b"log.level",
        b"loglevel",
        b"levelname",
        b"level_name",
        b"severity_text",
        b"@level",
        b"@l",
    ];
    KEYS.iter().any(|known| key.eq_ignore_ascii_case(known)) || is_syslog_key(key)
}

/// The keys whose numbers are syslog's.
fn is_syslog_key(key: &[u8]) -> bool {
    key.eq_ignore_ascii_case(b"severity") || key.eq_ignore_ascii_case(b"priority")
}

/// The level that stands under a level key, as text or a number.
pub(super) fn of_value(key: &[u8], value: &[u8]) -> Option<Level> {
    if let Some(number) = number(value) {
        let by_syslog = is_syslog_key(key).then(|| severity(number)).flatten();
        return by_syslog.or_else(|| tens(number));
    }
    named(value.trim_ascii())
}

/// The first level at the top of a JSON object. Reads no further than it needs to, so what comes
/// after that may be broken.
fn in_json(line: &[u8]) -> Option<Level> {
    let mut json = Json { line, at: 1 };
    loop {
        json.blank();
        let key = json.string()?;
        json.blank();
        json.take(b':')?;
        json.blank();
        if is_level_key(key) {
            let value = json.scalar()?;
            if let Some(level) = of_value(key, value) {
                return Some(level);
            }
        } else if key == b"s" && line.starts_with(b"{\"t\":{\"$date\"") {
            return mongodb(json.scalar()?);
        } else {
            json.skip()?;
        }
        json.blank();
        json.take(b',')?;
    }
}

fn mongodb(severity: &[u8]) -> Option<Level> {
    Some(match severity {
        b"F" => Level::Fatal,
        b"E" => Level::Error,
        b"W" => Level::Warn,
        b"I" => Level::Info,
        [b'D', ..] => Level::Debug,
        _ => return None,
    })
}

struct Json<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> Json<'a> {
    fn peek(&self) -> Option<u8> {
        self.line.get(self.at).copied()
    }

    fn blank(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn take(&mut self, wanted: u8) -> Option<()> {
        (self.peek()? == wanted).then(|| self.at += 1)
    }

    /// A string as it is written, with its escapes.
    fn string(&mut self) -> Option<&'a [u8]> {
        self.take(b'"')?;
        let start = self.at;
        loop {
            self.at += memchr2(b'"', b'\\', self.line.get(self.at..)?)?;
            if self.peek()? == b'"' {
                self.at += 1;
                return self.line.get(start..self.at - 1);
            }
            self.at += 2;
        }
    }

    /// The value without its quotes; one that is an object or an array is skipped, and empty.
    fn scalar(&mut self) -> Option<&'a [u8]> {
        match self.peek()? {
            b'"' => self.string(),
            b'{' | b'[' => self.skip().map(|()| &[][..]),
            _ => {
                let start = self.at;
                self.bare();
                self.line.get(start..self.at)
            }
        }
    }

    fn bare(&mut self) {
        while let Some(byte) = self.peek()
            && !matches!(byte, b',' | b'}' | b']')
            && !byte.is_ascii_whitespace()
        {
            self.at += 1;
        }
    }

    fn skip(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.string()?;
                }
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                _ if depth > 0 => self.at += 1,
                _ => self.bare(),
            }
            if depth == 0 {
                return Some(());
            }
        }
    }
}

/// Bytes in which logfmt's level is looked for: it may stand behind a long message.
const LOGFMT: usize = 4096;

/// `level=warn` outside of quotes.
fn in_logfmt(line: &[u8]) -> Option<Level> {
    let line = &line[..line.len().min(LOGFMT)];
    let mut at = memchr(b'=', line)?;
    let quote = memchr(b'"', &line[..at]);
    at = quote.unwrap_or(at);
    loop {
        at += memchr2(b'=', b'"', line.get(at..)?)?;
        if line[at] == b'"' {
            at = after_quoted(line, at)?;
        } else {
            if let Some(level) = pair(line, at) {
                return Some(level);
            }
            at += 1;
        }
    }
}

/// Where the quoted text ends that begins at `at`, behind its quote.
fn after_quoted(line: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        at += memchr2(b'"', b'\\', line.get(at..)?)?;
        if line[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// The level of the pair whose `=` is at `equals`.
fn pair(line: &[u8], equals: usize) -> Option<Level> {
    let start = key_start(line, equals);
    let key = &line[start..equals];
    if !is_level_key(key) {
        return None;
    }
    let mut value = &line[equals + 1..];
    if let Some(quoted) = value.strip_prefix(b"\"") {
        value = quoted;
    }
    let end = value
        .iter()
        .position(|byte| !byte.is_ascii_alphanumeric())
        .unwrap_or(value.len());
    let ended = matches!(
        value.get(end),
        None | Some(b' ' | b'\t' | b'"' | b',' | 0x1b)
    );
    ended.then(|| named(&value[..end])).flatten()
}

fn key_start(line: &[u8], equals: usize) -> usize {
    line[..equals]
        .iter()
        .rposition(|byte| {
            !byte.is_ascii_alphanumeric()
                && !matches!(byte, b'.' | b'_' | b'@' | b'-' | b'/' | b'?' | b'&')
        })
        .map_or(0, |before| before + 1)
}

/// Bytes at the start of a plain line, colours not counted, in which a logger puts the level.
const HEADER: usize = 80;

enum Found {
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
struct Header<'a> {
    line: &'a [u8],
    at: usize,
    end: usize,
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
    fn new(line: &'a [u8]) -> Self {
        Self {
            line,
            at: 0,
            end: line.len().min(HEADER),
            before: b' ',
            depth: 0,
            stamped: false,
            tokens: 0,
            prose: 0,
            last: Token::None,
            redis: false,
        }
    }

    fn read(mut self) -> Found {
        let mut start = 0;
        let mut outside = true;
        while self.at < self.end {
            let byte = self.line[self.at];
            match byte {
                b' ' | b'\t' => {
                    if self.at > start && outside && self.depth == 0 {
                        match self.token(start) {
                            Found::Nothing if self.prose <= 2 => {}
                            found => return found,
                        }
                    }
                    self.at += 1;
                    start = self.at;
                    outside = self.depth == 0;
                }
                0x1b => {
                    // Seen from outside a colour takes no room.
                    let next = after_colour(self.line, self.at);
                    if start == self.at {
                        start = next;
                    }
                    self.end = (self.end + next - self.at).min(self.line.len());
                    self.at = next;
                    continue;
                }
                b'a'..=b'z' | b'A'..=b'Z' => {
                    let letters = &self.line[self.at..];
                    let length = letters
                        .iter()
                        .take_while(|byte| byte.is_ascii_alphabetic())
                        .count();
                    let word = &letters[..length];
                    let free = !self.before.is_ascii_alphanumeric() && self.before != b'_';
                    if free && (3..=9).contains(&length) {
                        match self.word(word, start) {
                            Found::Nothing => {}
                            found => return found,
                        }
                    }
                    self.at += length;
                    self.before = word[length - 1];
                    continue;
                }
                b'=' if self.depth == 0 => {
                    if let Some(level) = pair(self.line, self.at) {
                        return Found::Level(level);
                    }
                    let key = &self.line[key_start(self.line, self.at)..self.at];
                    if matches!(key, b"msg" | b"message") {
                        return Found::Nothing;
                    }
                    self.value();
                }
                b'"' | b'\'' | b'`' if self.at == start && self.depth == 0 => {
                    return Found::Nothing;
                }
                b'{' if self.at == start && self.line.get(self.at + 1) == Some(&b'"') => {
                    return in_json(&self.line[self.at..]).map_or(Found::Nothing, Found::Level);
                }
                b'[' | b'(' => {
                    self.depth += 1;
                    self.at += 1;
                }
                b']' | b')' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.at += 1;
                }
                _ => self.at += 1,
            }
            self.before = byte;
        }
        Found::Nothing
    }

    /// Goes behind the value of a pair.
    fn value(&mut self) {
        self.at += 1;
        let next = if self.line.get(self.at) == Some(&b'"') {
            after_quoted(&self.line[..self.end], self.at)
        } else {
            let rest = &self.line[self.at.min(self.end)..self.end];
            memchr2(b' ', b'\t', rest).map(|length| self.at + length)
        };
        self.at = next.unwrap_or(self.end);
    }

    /// Takes note of a token outside of brackets that was no level.
    fn token(&mut self, start: usize) -> Found {
        let token = uncoloured_end(&self.line[start..self.at]);
        let (Some(first), Some(last)) = (token.first(), token.last()) else {
            return Found::Nothing;
        };
        let number = self.tokens;
        self.tokens = self.tokens.saturating_add(1);
        self.last = if first.is_ascii_digit() {
            if number == 0 && matches!(token, [.., b':', b'A'..=b'Z']) {
                self.redis = true;
            }
            let separated = token.iter().any(|byte| matches!(byte, b':' | b'-' | b'/'));
            if separated || token.len() >= 10 {
                self.stamped = true;
                Token::Stamp
            } else {
                Token::Number
            }
        } else if !token.iter().any(u8::is_ascii_alphanumeric) {
            if self.redis
                && let [symbol] = token
            {
                let level = match symbol {
                    b'#' => Some(Level::Warn),
                    b'*' => Some(Level::Info),
                    b'-' | b'.' => Some(Level::Debug),
                    _ => None,
                };
                return level.map_or(Found::Nothing, Found::Level);
            }
            return Found::Nothing;
        } else if token.iter().all(u8::is_ascii_alphabetic) {
            if is_calendar(token) {
                Token::Stamp
            } else {
                self.prose += 1;
                if is_denial(token) {
                    Token::Denial
                } else {
                    Token::Word
                }
            }
        } else {
            // `I,` is Ruby's; any other word with a comma or a full stop is in a sentence.
            if matches!(last, b',' | b'.') && token.len() > 2 {
                self.prose += 3;
            }
            Token::Other
        };
        Found::Nothing
    }

    /// Whether a word, which begins at `at` in the token that begins at `start`, is the level.
    fn word(&self, word: &[u8], start: usize) -> Found {
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
        let mut buffer = [0; 9];
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
            self.takes_lower(start, next, after, wrapped)
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

    fn takes_lower(&self, start: usize, next: usize, after: u8, wrapped: bool) -> bool {
        if wrapped {
            return self.is_near();
        }
        if self.depth > 0 || self.prose > 0 || self.at != start || self.is_negated() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn all(level: Option<Level>, lines: &[&str]) {
        for line in lines {
            assert_eq!(super::level(line.as_bytes()), level, "{line:?}");
        }
    }

    #[test]
    fn levels_have_names_numbers_and_an_order() {
        for level in Level::ALL {
            assert_eq!(level.word().parse(), Ok(level));
            assert_eq!(Level::from_u8(level as u8), Some(level));
        }
        assert!(Level::ALL.is_sorted());
        assert_eq!(Level::from_u8(0), None);
        assert_eq!(Level::from_u8(7), None);
        for (word, level) in [
            ("WARNING", Level::Warn),
            ("err", Level::Error),
            ("crit", Level::Fatal),
            ("critical", Level::Fatal),
            ("panic", Level::Fatal),
            ("emerg", Level::Fatal),
            ("alert", Level::Fatal),
            ("notice", Level::Info),
            ("verbose", Level::Debug),
        ] {
            assert_eq!(word.parse(), Ok(level), "{word}");
        }
        assert_eq!("loud".parse::<Level>(), Err(UnknownLevel));
        assert_eq!(
            "a name that is far too long".parse::<Level>(),
            Err(UnknownLevel)
        );
    }

    #[test]
    fn json_has_it_under_a_key_at_the_top() {
        all(
            Some(Level::Error),
            &[
                // pino and bunyan
                r#"{"level":50,"time":1700000000000,"pid":1,"hostname":"a","msg":"refused"}"#,
                r#"{"name":"a","hostname":"h","pid":1,"level":50,"msg":"x","time":"2026-11-22T00:39:36Z","v":0}"#,
                // zap, zerolog, logrus
                r#"{"level":"error","ts":1700000000.12,"caller":"a/b.go:1","msg":"x"}"#,
                // slog
                r#"{"time":"2026-11-22T00:39:36Z","level":"ERROR","msg":"x"}"#,
                // Google Cloud
                r#"{"severity":"ERROR","message":"x"}"#,
                // ECS
                r#"{"@timestamp":"2026-11-22T00:39:36Z","log.level":"ERROR","message":"x"}"#,
                // Python
                r#"{"asctime": "2026-11-22 00:39:36,123", "levelname": "ERROR", "message": "x"}"#,
                // journald
                r#"{"MESSAGE":"x","PRIORITY":"3"}"#,
                r#"{"priority":3}"#,
                // monolog
                r#"{"message":"x","context":{},"level":400,"level_name":"ERROR"}"#,
                // .NET, Serilog, HashiCorp
                r#"{"EventId":1,"LogLevel":"Error","Category":"x"}"#,
                r#"{"@t":"2026-11-22T00:39:36Z","@mt":"x","@l":"Error"}"#,
                r#"{"@level":"error","@message":"x"}"#,
                // MongoDB
                r#"{"t":{"$date":"2026-11-22T00:39:36.123+00:00"},"s":"E",  "c":"NETWORK"}"#,
                // escapes, nesting and blanks before it, damage after it
                r#"{"msg":"say \"level\":\"debug\" \\","a":{"level":"info","b":["]}"]},"lvl":"eror"}"#,
                "{ \"level\" : \"error\" , \"msg\" : \"cut of",
                "{\"ok\":true,\"n\":-1.5e3,\"x\":null,\"level\":\"error\"}",
                r#"2026-11-22T00:39:36Z app {"level":"error"}"#,
            ],
        );
        all(
            Some(Level::Info),
            &[
                r#"{"level":30}"#,
                r#"{"severity":6}"#,
                r#"{"severity":"NOTICE"}"#,
                r#"{"severity":"DEFAULT"}"#,
                r#"{"LogLevel":"Information"}"#,
            ],
        );
        all(
            None,
            &[
                r#"{"msg":"error","error":"level"}"#,
                r#"{"a":{"level":"error"}}"#,
                r#"{"a":[{"level":"error"}]}"#,
                r#"{"level":3}"#,
                r#"{"level":"high"}"#,
                r#"{"level":null}"#,
                r#"{"level":{"name":"error"}}"#,
                r#"{"msg":"\"level\":\"error\"}"#,
                r#"{"level"#,
                "{",
                "{}",
                "{ERROR}",
                "{level: error}",
            ],
        );
    }

    #[test]
    fn logfmt_has_it_under_a_key() {
        all(
            Some(Level::Warn),
            &[
                // logrus, Prometheus, Grafana, slog
                r#"time="2026-11-22T00:39:36Z" level=warning msg="no ERROR here" a=b"#,
                "ts=2026-11-22T00:39:36.123Z caller=main.go:42 level=warn component=x err=nil",
                "logger=settings t=2026-11-22T00:39:36.123456789Z level=warn msg=\"x\"",
                "time=2026-11-22T00:39:36.123Z level=WARN source=a.go:1 msg=x",
                r#"severity="WARNING" msg="x""#,
                "lvl=wrn",
                r#"msg="a very long message with level=error and an escaped \" quote" level=warn"#,
                "msg=x \x1b[33mlevel\x1b[0m=info level=warn\x1b[0m",
            ],
        );
        all(
            Some(Level::Error),
            &["t=2026-11-22T00:39:36+0000 lvl=eror msg=x"],
        );
        all(
            None,
            &[
                "error_count=0 errors=1 error=nil",
                "GET /logs?level=error",
                "a=1&level=error",
                "level=3 of=5",
                "level=errors",
                r#"msg="level=error"#,
                "loglevels=error",
                "sea-level=high",
            ],
        );
    }

    #[test]
    fn text_has_it_behind_stamps_brackets_and_names() {
        all(
            Some(Level::Trace),
            &[
                "2026-11-22T00:39:36.123456Z TRACE hyper::proto: flushed",
                "trce: Microsoft.Hosting[14]",
            ],
        );
        all(
            Some(Level::Debug),
            &[
                "2026-11-22 00:39:36.123 UTC [42] DEBUG1:  parse",
                "D1122 00:39:36.123456       1 main.go:20] x",
                "dbug: Microsoft.Hosting[14]",
                "12:39AM DBG starting",
                "DEBUG:asyncio:Using selector: EpollSelector",
                "1:M 22 Nov 2026 00:39:36.123 - Accepted 127.0.0.1:6379",
                "1:M 22 Nov 2026 00:39:36.123 . 0 clients connected",
            ],
        );
        all(
            Some(Level::Info),
            &[
                // tracing, env_logger, log4rs
                "2026-11-22T00:39:36.123456Z  INFO server::http: listening",
                "\x1b[2m2026-11-22T00:39:36.123456Z\x1b[0m \x1b[32m INFO\x1b[0m \x1b[2mapp\x1b[0m: x",
                "[2026-11-22T00:39:36Z INFO  app] listening",
                " INFO  app > listening",
                // Spring Boot, logback, log4j, Hadoop, ZooKeeper, Kafka, Jenkins
                "2026-11-22 00:39:36.123  INFO 1 --- [           main] c.e.App  : Started",
                "00:39:36.123 [main] INFO  com.example.App - Started",
                "2026-11-22 00:39:36,123 [myid:1] - INFO  [main:QuorumPeerMain@1] - x",
                "26/11/22 00:39:36 INFO namenode.NameNode: x",
                "[2026-11-22 00:39:36,123] INFO [KafkaServer id=0] started (kafka.server.KafkaServer)",
                "2026-11-22 00:39:36.123+0000 [id=1]\tINFO\thudson.Main#x: y",
                "[2026-11-22T00:39:36,123][INFO ][o.e.n.Node               ] [a] started",
                // Python: logging, uvicorn, gunicorn, celery, loguru, structlog, rich
                "2026-11-22 00:39:36,123 - root - INFO - ready",
                "INFO:     127.0.0.1:1234 - \"GET / HTTP/1.1\" 200 OK",
                "[2026-11-22 00:39:36 +0000] [1] [INFO] Starting gunicorn",
                "[2026-11-22 00:39:36,123: INFO/MainProcess] celery@x ready.",
                "2026-11-22 00:39:36.123 | INFO     | app.main:run:1 - x",
                "2026-11-22 00:39:36 [info     ] event   key=val",
                "[11/22/26 00:39:36] INFO     x                    app.py:12",
                // Go: slog, klog, zap's console, zerolog's console, Consul
                "2026/11/22 00:39:36 INFO listening addr=:8080",
                "I1122 00:39:36.123456       1 main.go:20] x",
                "I261122 00:39:36.123456 1 util/log/x.go:1 y",
                "2026-11-22T00:39:36.123Z\tinfo\tapp/main.go:12\tlistening",
                "12:39AM INF listening",
                "2026-11-22T00:39:36.123Z [INFO]  agent: x",
                // Ruby, .NET, NLog, Serilog
                "I, [2026-11-22T00:39:36.123456 #1]  INFO -- : x",
                "info: Microsoft.Hosting.Lifetime[14]",
                "2026-11-22 00:39:36.1234|INFO|App.Program|x",
                "[00:39:36 INF] x",
                // nginx, Apache, HAProxy, Envoy, RabbitMQ, PostgreSQL, MySQL, Redis, OpenStack
                "2026/11/22 00:39:36 [notice] 1#1: start worker processes",
                "[Sun Nov 22 00:39:36.123456 2026] [mpm_event:notice] [pid 1:tid 2] AH00489: x",
                "[NOTICE]   (1) : New worker #1 (8) forked",
                "[2026-11-22 00:39:36.123][1][info][main] [source/server/server.cc:1] x",
                "2026-11-22 00:39:36.123456+00:00 [info] <0.230.0> x",
                "2026-11-22 00:39:36.123 UTC [1] LOG:  database system is ready",
                "2026-11-22  0:39:36 0 [Note] mysqld: ready for connections.",
                "1:M 22 Nov 2026 00:39:36.123 * Ready to accept connections",
                "2026-11-22 00:39:36.123 1 INFO nova.compute [-] x",
                "Nov 22 00:39:36 host app[12]: INFO x",
                "<30>Nov 22 00:39:36 host app[12]: x",
            ],
        );
        all(
            Some(Level::Warn),
            &[
                "[Warning] x",
                "2026-11-22T00:39:36.123456Z 0 [Warning] [MY-010068] [Server] x",
                "1:M 22 Nov 2026 00:39:36.123 # WARNING overcommit_memory is set to 0!",
                "1:signal-handler (1700000000) WARNING x",
                "W1122 00:39:36.123456       1 main.go:20] x",
                "WARNING:root:x",
                "npm WARN deprecated x",
                "[GIN-debug] [WARNING] Running in \"debug\" mode.",
                "[WARNING] 325/003936 (1) : x",
                "warning: unused variable",
                "src/main.c:3:5: warning: unused variable",
                "PHP Warning:  Undefined variable",
                "<12>x",
                "2026-11-22 00:39:36.123 UTC [42] WARNING:  x",
                "\x1b[33mwarn\x1b[39m: x",
                "[\x1b[33mwarn\x1b[39m] x",
            ],
        );
        all(
            Some(Level::Error),
            &[
                "2026-11-22T00:39:36Z ERROR foo",
                "ERROR foo",
                "ERROR",
                "Error: Cannot find module 'x'",
                "error: aborting due to 1 previous error",
                "error[E0308]: mismatched types",
                "2026/11/22 00:39:36 [error] 29#29: *1 open() \"/x\" failed",
                "[Sun Nov 22 00:39:36.123456 2026] [core:error] [pid 1:tid 2] x",
                "2026-11-22 00:39:36.123 UTC [42] ERROR:  relation \"x\" does not exist",
                "2026-11-22 00:39:36.123 UTC [42] app@db ERROR:  x",
                "E0712 12:03:41.102451       1 main.go:20] x",
                "ERROR:root:x",
                "2026-11-22 00:39:36.123 ERROR [main] com.example.App - x",
                "SEVERE: x",
                "fail: Microsoft.Hosting[14]",
                "npm ERR! code ELIFECYCLE",
                "<3>x",
                "<27>x",
                "Traceback (most recent call last):",
                "Exception in thread \"main\" java.lang.IllegalStateException: x",
                "\x1b[31;1mERROR\x1b[0m x",
                "\x1b[90m2026-11-22T00:39:36Z\x1b[0m \x1b[1m\x1b[31mERR\x1b[0m\x1b[0m x",
                "2026-11-22 00:39:36 Error x",
                "2026-11-22 00:39:36 worker ERROR x",
            ],
        );
        all(
            Some(Level::Fatal),
            &[
                "panic: runtime error: index out of range",
                "fatal error: all goroutines are asleep - deadlock!",
                "fatal: not a git repository",
                "thread 'main' panicked at src/main.rs:1:1:",
                "thread 'main' (17) panicked at src/main.rs:1:1:",
                "2026-11-22 00:39:36.123 UTC [1] FATAL:  role \"x\" does not exist",
                "2026-11-22 00:39:36.123 UTC [1] PANIC:  could not write",
                "2026/11/22 00:39:36 [emerg] 1#1: host not found",
                "2026/11/22 00:39:36 [crit] 1#1: x",
                "F1122 00:39:36.123456       1 main.go:20] x",
                "crit: Microsoft.Hosting[14]",
                "[ALERT]    (1) : x",
                "2026-11-22 00:39:36,123 CRITICAL x",
                "PHP Fatal error:  Uncaught Exception",
                "<0>x",
            ],
        );
    }

    #[test]
    fn a_word_of_the_message_is_no_level() {
        all(
            None,
            &[
                "",
                " ",
                "0 errors",
                "0 ERROR",
                "error_count=0",
                "no error",
                "no ERROR",
                "No Error: all is well",
                "error: null",
                "/errors/404",
                "GET /errors/404 404",
                "errors: 5",
                "ERRORS",
                "finished with ERROR",
                "2026-11-22 00:39:36 finished without any ERROR",
                "2026-11-22 00:39:36 the request ended in an ERROR state",
                "2026-11-22 00:39:36 Connected. ERROR count is 0",
                "127.0.0.1 - - [22/Nov/2026:00:39:36 +0000] \"TRACE / HTTP/1.1\" 405 0",
                "HTTP/1.1 500 INTERNAL SERVER ERROR",
                "Information: none",
                "informational",
                "Tests run: 5, Failures: 0, ERROR: 0",
                "error handling is set up",
                "debug build finished",
                "    error: a continuation",
                "    at com.example.Error.main(Error.java:5)",
                "loss INF",
                "[error-handler] ready",
                "[debug_toolbar] ready",
                "my_ERROR_x",
                "E0712",
                "Exception: x",
                "<300>x",
                "<>x",
                "thread 'main' started",
                "2026-11-22 00:39:36.123 UTC [42] STATEMENT:  SELECT 'ERROR:  x'",
                "2026-11-22 00:39:36.123 UTC [42] DETAIL:  Key exists, level=error",
                "2026-11-22 00:39:36.123 UTC [42] HINT:  x",
                "2026-11-22 00:39:36.123 UTC [42] CONTEXT:  x",
                "\tat java.base/java.lang.Thread.run(Thread.java:1)",
                "msg=\"ERROR\" a=b",
                "logger started \x1b[31mERROR",
            ],
        );
        let deep = format!("{}ERROR", "2026-11-22 ".repeat(8));
        all(None, &[&deep]);
    }

    fn parts() -> impl Strategy<Value = Vec<u8>> {
        let pieces: Vec<&[u8]> = vec![
            b"{",
            b"}",
            b"[",
            b"]",
            b"\"",
            b"\\",
            b"=",
            b":",
            b" ",
            b"\t",
            b"\x1b",
            b"\x1b[",
            b"m",
            b"level",
            b"msg",
            b"ERROR",
            b"error",
            b"Fatal",
            b" error:",
            b"DEBUG",
            b"1:",
            b"E0712 12:",
            b"<3>",
            b"1:M",
            b"#",
            b"thread '",
            b"2026-11-22 ",
            b"|",
            b"(",
            b")",
            b"null",
            b"LOG:  ",
            b"\xff",
            b"\0",
            b",",
            b"error[",
            b"{\"t\":{\"$date\"",
            b"\"s\":",
            b"PHP ",
        ];
        proptest::collection::vec(prop::sample::select(pieces), 0..24)
            .prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_asked(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            level(&bytes);
        }

        #[test]
        fn so_can_any_mixture_of_what_matters(bytes in parts()) {
            level(&bytes);
        }

        #[test]
        fn every_level_is_found_in_every_case(index in 0usize..6, upper: bool) {
            let expected = Level::ALL[index];
            let word = expected.word();
            let word = if upper { word.to_uppercase() } else { word.to_owned() };
            for line in [
                format!("{{\"a\":1,\"level\":\"{word}\"}}"),
                format!("a=1 level={word}"),
                format!("2026-11-22 00:39:36 [{word}] x"),
                format!("{word}: x"),
            ] {
                prop_assert_eq!(level(line.as_bytes()), Some(expected), "{}", line);
            }
        }
    }
}
