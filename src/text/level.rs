//! How severe a line says it is.
//!
//! Every line passes through [`level`] when it comes in, so it allocates nothing and looks only
//! where loggers write: at the keys of a JSON object or of logfmt, and at the beginning of plain
//! text. What is not clear is `None`, for a wrong level is worse than none.

use std::fmt;
use std::str::FromStr;

use self::header::{Found, HEADER, Header};
use self::pairs::{in_json, in_logfmt};

mod header;
mod pairs;
#[cfg(test)]
mod tests;

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
    // The last letter turns most keys away at once.
    matches!(
        key.last(),
        Some(b'l' | b'L' | b'y' | b'Y' | b't' | b'T' | b'e' | b'E')
    ) && (KEYS.iter().any(|known| key.eq_ignore_ascii_case(known)) || is_syslog_key(key))
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
