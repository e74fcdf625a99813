//! The level of a structured line: a JSON object or logfmt.

use memchr::{memchr, memchr2};

use super::{Level, is_level_key, named, of_value};

/// The first level at the top of a JSON object. Reads no further than it needs to, so what comes
/// after that may be broken.
pub(super) fn in_json(line: &[u8]) -> Option<Level> {
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
pub(super) fn in_logfmt(line: &[u8]) -> Option<Level> {
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
pub(super) fn after_quoted(line: &[u8], at: usize) -> Option<usize> {
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
pub(super) fn pair(line: &[u8], equals: usize) -> Option<Level> {
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

pub(super) fn key_start(line: &[u8], equals: usize) -> usize {
    line[..equals]
        .iter()
        .rposition(|byte| {
            !byte.is_ascii_alphanumeric()
                && !matches!(byte, b'.' | b'_' | b'@' | b'-' | b'/' | b'?' | b'&')
        })
        .map_or(0, |before| before + 1)
}
