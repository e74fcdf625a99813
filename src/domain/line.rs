//! Log lines and what may stand between them.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

/// The two channels of a container may be out of order by less than this.
pub const DISORDER: SignedDuration = SignedDuration::from_secs(1);

/// Which of its two outputs a container wrote to. A TTY has only the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    Out,
    Err,
}

/// A frame of a log stream as the engine sends it, without its timestamp prefix.
///
/// A line over 16 KiB comes in several parts that carry the same timestamp; only the last part
/// ends with a newline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub at: Timestamp,
    pub channel: Channel,
    pub bytes: Vec<u8>,
}

/// One whole line, as raw bytes without the newline.
///
/// Nothing in it is safe to show: it is decoded and sanitised where it is drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The engine's clock, to the nanosecond.
    pub at: Timestamp,
    pub channel: Channel,
    pub bytes: Arc<[u8]>,
}

/// Some of what one container wrote, in the log's order, as one piece of memory: a flood costs no
/// allocation per line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineBatch {
    text: Vec<u8>,
    rows: Vec<Row>,
}

/// The same of [`Part`]s: their newlines are in it.
pub type PartBatch = LineBatch;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    at: Timestamp,
    channel: Channel,
    /// Where its bytes end; they begin where those of the row before end.
    end: u32,
}

impl LineBatch {
    /// With room for that many lines and bytes.
    pub fn with_capacity(lines: usize, bytes: usize) -> Self {
        Self {
            text: Vec::with_capacity(bytes),
            rows: Vec::with_capacity(lines),
        }
    }

    pub fn push(&mut self, at: Timestamp, channel: Channel, bytes: &[u8]) {
        self.text.extend_from_slice(bytes);
        debug_assert!(u32::try_from(self.text.len()).is_ok(), "batches are small");
        let end = u32::try_from(self.text.len()).unwrap_or(u32::MAX);
        self.rows.push(Row { at, channel, end });
    }

    /// The number of lines.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The length of all lines together, in bytes.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    pub fn iter(
        &self,
    ) -> impl ExactSizeIterator<Item = (Timestamp, Channel, &[u8])> + DoubleEndedIterator {
        let start = |index: usize| match index.checked_sub(1) {
            Some(before) => self.rows[before].end as usize,
            None => 0,
        };
        self.rows.iter().enumerate().map(move |(index, row)| {
            let bytes = &self.text[start(index)..row.end as usize];
            (row.at, row.channel, bytes)
        })
    }

    pub fn get(&self, index: usize) -> Option<(Timestamp, Channel, &[u8])> {
        let row = self.rows.get(index)?;
        let start = match index.checked_sub(1) {
            Some(before) => self.rows.get(before)?.end,
            None => 0,
        };
        let bytes = self.text.get(start as usize..row.end as usize)?;
        Some((row.at, row.channel, bytes))
    }

    /// Each by itself.
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = Line> {
        self.iter().map(|(at, channel, bytes)| Line {
            at,
            channel,
            bytes: bytes.into(),
        })
    }

    /// Each by itself, where they are parts.
    pub fn parts(&self) -> impl DoubleEndedIterator<Item = Part> {
        self.iter().map(|(at, channel, bytes)| Part {
            at,
            channel,
            bytes: bytes.to_vec(),
        })
    }
}

impl<'a> Extend<(Timestamp, Channel, &'a [u8])> for LineBatch {
    fn extend<T: IntoIterator<Item = (Timestamp, Channel, &'a [u8])>>(&mut self, lines: T) {
        for (at, channel, bytes) in lines {
            self.push(at, channel, bytes);
        }
    }
}

/// Names one source of lines across re-creations: a container's name is reused, its id is not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub Arc<str>);

/// What happened to a source between two of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The container ended; `None` where the engine no longer knows the code.
    Exited { code: Option<i64>, oom: bool },
    /// The same container runs again.
    Restarted,
    /// Another container runs under the same name.
    Recreated,
    /// The container is gone from the engine.
    Removed,
    /// The stream broke; reading goes on when the engine answers again.
    Interrupted { cause: String },
    /// Reading goes on after an interruption.
    Resumed,
    /// The engine no longer has what was written after `from` and before `to`: it rotated its log
    /// away before it was read. How many lines that were is not known.
    Gap { from: Timestamp, to: Timestamp },
    /// The log cannot be read at all, for instance because of its logging driver.
    Unreadable { cause: String },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_gives_back_what_was_put_in() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let rows = [
            (at(1), Channel::Out, &b"one"[..]),
            (at(2), Channel::Err, b""),
            (at(2), Channel::Out, b"three"),
        ];
        let mut batch = LineBatch::default();
        assert!(batch.is_empty());
        batch.extend(rows);
        assert!(batch.iter().eq(rows));
        assert_eq!((batch.len(), batch.bytes()), (3, 8));
        assert_eq!(batch.get(1), Some(rows[1]));
        assert_eq!(batch.get(3), None);
        assert_eq!(batch.lines().next_back().unwrap().bytes[..], *b"three");
    }
}
