//! Log lines as kubelet writes them, so that other tools read them as well:
//! `2026-11-22T07:00:00.123456789Z stdout F text`.
//!
//! The text is what the container wrote, byte by byte. `P` instead of `F` marks a line that goes on
//! in the next one of the same channel; what is read is whole.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;

use super::RecordedLog;
use crate::domain::line::{Channel, DISORDER, Line, PartBatch};
use crate::record::files;

/// Less than this is read instead of being searched.
const SEARCHED: u64 = 64 * 1024;
/// Bytes that are looked through at once from the end.
const BLOCK: usize = 64 * 1024;
/// Bytes of entries that are given at once.
const BATCH: usize = 128 * 1024;

static SECONDS: DateTimePrinter = DateTimePrinter::new().precision(Some(0));
static NANOSECONDS: DateTimePrinter = DateTimePrinter::new().precision(Some(9));

/// Appends lines to a buffer. Lines of one second share the printing of it.
#[derive(Debug, Default)]
pub(super) struct Printer {
    second: Option<i64>,
    /// Without its `Z`.
    printed: String,
}

impl Printer {
    pub(super) fn line(&mut self, to: &mut Vec<u8>, at: Timestamp, channel: Channel, text: &[u8]) {
        self.stamp(to, at);
        to.extend_from_slice(match channel {
            Channel::Out => b" stdout F ",
            Channel::Err => b" stderr F ",
        });
        to.extend_from_slice(text);
        to.push(b'\n');
    }

    fn stamp(&mut self, to: &mut Vec<u8>, at: Timestamp) {
        let (second, nanosecond) = (at.as_second(), at.subsec_nanosecond());
        if second < 0 {
            to.extend_from_slice(NANOSECONDS.timestamp_to_string(&at).as_bytes());
            return;
        }
        if self.second != Some(second) {
            let whole = Timestamp::from_second(second).unwrap_or(at);
            self.printed = SECONDS.timestamp_to_string(&whole);
            self.printed.pop();
            self.second = Some(second);
        }
        to.extend_from_slice(self.printed.as_bytes());
        to.push(b'.');
        let mut digits = [b'0'; 9];
        let mut rest = nanosecond.unsigned_abs();
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        to.extend_from_slice(&digits);
        to.push(b'Z');
    }
}

/// One line of the file.
struct Entry<'a> {
    at: Timestamp,
    channel: Channel,
    /// It ends here.
    full: bool,
    text: &'a [u8],
}

/// `None` for what was cut off or damaged.
fn parse(line: &[u8]) -> Option<Entry<'_>> {
    let line = line.strip_suffix(b"\n")?;
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let at = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
    let channel = match parts.next()? {
        b"stdout" => Channel::Out,
        b"stderr" => Channel::Err,
        _ => return None,
    };
    // kubelet may add further tags behind a colon.
    let full = match parts.next()?.first()? {
        b'F' => true,
        b'P' => false,
        _ => return None,
    };
    Some(Entry {
        at,
        channel,
        full,
        text: parts.next()?,
    })
}

/// The lines of a log, as they were written. A last one that was cut off is left out.
///
/// # Errors
///
/// Fails where it cannot be read.
pub fn log_lines(log: &RecordedLog) -> io::Result<Lines> {
    Lines::open(log, None)
}

/// The lines of that time and later. What stands before them is not read: it is searched for.
///
/// # Errors
///
/// Fails where it cannot be read.
pub fn log_lines_since(log: &RecordedLog, since: Timestamp) -> io::Result<Lines> {
    Lines::open(log, Some(since))
}

/// The times of the last line before the gap of a log, and of the first one behind it. `None` where
/// there is none, or where that cannot be told.
pub fn log_gap(log: &RecordedLog) -> Option<(Timestamp, Timestamp)> {
    let [head, tail, ..] = &*log.0 else {
        return None;
    };
    let mut before = Lines::open_last(&head.clone().into(), 1, false).ok()?;
    let mut behind = Lines::open(&tail.clone().into(), None).ok()?;
    Some((before.first_time().ok()??, behind.first_time().ok()??))
}

/// Reads a log line by line.
#[derive(Debug)]
pub struct Lines {
    /// What is left to be read, the file that is being read first.
    files: VecDeque<BufReader<File>>,
    /// That one is the beginning of a log that has an end of its own.
    is_head: bool,
    since: Option<Timestamp>,
    line: Vec<u8>,
    /// What goes on, of each channel, with the time of its beginning.
    pending: [Option<(Timestamp, Vec<u8>)>; 2],
}

impl Lines {
    pub(super) fn open(log: &RecordedLog, since: Option<Timestamp>) -> io::Result<Self> {
        let files: io::Result<VecDeque<_>> = log.0.iter().map(|path| Self::file(path)).collect();
        let files = files?;
        let mut lines = Self {
            is_head: files.len() > 1,
            files,
            since,
            line: Vec::new(),
            pending: [None, None],
        };
        if let Some(since) = since {
            let earlier = since.checked_sub(DISORDER).unwrap_or(Timestamp::MIN);
            lines.leave_out(earlier)?;
            lines.seek(earlier)?;
        }
        Ok(lines)
    }

    fn file(path: &Path) -> io::Result<BufReader<File>> {
        if !path.metadata()?.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(BufReader::new(File::open(path)?))
    }

    /// Leaves out the files before which all is earlier than the next one begins.
    fn leave_out(&mut self, time: Timestamp) -> io::Result<()> {
        while self.files.len() > 1 {
            let first = self.files.pop_front();
            let begin = self.first_time()?;
            if begin.is_none_or(|begin| begin >= time) {
                self.files.extend(first);
                self.files.rotate_right(1);
                return Ok(());
            }
            self.is_head = false;
        }
        Ok(())
    }

    /// The time of the first line from here on in the file that is being read; nothing is passed.
    fn first_time(&mut self) -> io::Result<Option<Timestamp>> {
        let Some(file) = self.files.front_mut() else {
            return Ok(None);
        };
        let place = file.stream_position()?;
        let mut found = None;
        while found.is_none() {
            if files::read_line(file, &mut self.line)? == 0 {
                break;
            }
            found = parse(&self.line).map(|entry| entry.at);
        }
        file.seek(SeekFrom::Start(place))?;
        Ok(found)
    }

    /// Goes to the beginning of a line before which all are earlier.
    fn seek(&mut self, time: Timestamp) -> io::Result<()> {
        let Some(file) = self.files.front() else {
            return Ok(());
        };
        let mut low = 0;
        let mut high = file.get_ref().metadata()?.len();
        while high - low > SEARCHED {
            let middle = low + (high - low) / 2;
            match self.first_behind(middle, high)? {
                Some((start, at)) if at < time => low = start,
                _ => high = middle,
            }
        }
        self.go_to(low)
    }

    fn go_to(&mut self, place: u64) -> io::Result<()> {
        if let Some(file) = self.files.front_mut() {
            file.seek(SeekFrom::Start(place))?;
        }
        Ok(())
    }

    /// The next line, with its newline, of this file.
    fn read_line(&mut self) -> io::Result<u64> {
        match self.files.front_mut() {
            Some(file) => files::read_line(file, &mut self.line),
            None => Ok(0),
        }
    }

    /// Goes on with the next file; `false` where there is none.
    fn next_file(&mut self) -> bool {
        self.files.pop_front();
        self.is_head = false;
        !self.files.is_empty()
    }

    /// Where the first line begins behind a place, and its time.
    fn first_behind(&mut self, place: u64, end: u64) -> io::Result<Option<(u64, Timestamp)>> {
        self.go_to(place)?;
        let mut start = place;
        loop {
            let length = self.read_line()?;
            // The first is the rest of a line, unless it is a whole one by chance.
            if start > place
                && let Some(entry) = parse(&self.line)
            {
                return Ok(Some((start, entry.at)));
            }
            start += length;
            if length == 0 || start >= end {
                return Ok(None);
            }
        }
    }

    fn take(&mut self) -> Option<Line> {
        let entry = parse(&self.line)?;
        let pending = &mut self.pending[usize::from(entry.channel == Channel::Err)];
        let is_bounded = |(_, text): &(_, Vec<u8>)| (text.len() as u64) < files::LONGEST_LINE;
        if !entry.full && pending.as_ref().is_none_or(is_bounded) {
            let (_, text) = pending.get_or_insert((entry.at, Vec::new()));
            text.extend_from_slice(entry.text);
            return None;
        }
        let (at, bytes) = match pending.take() {
            Some((at, mut text)) => {
                text.extend_from_slice(entry.text);
                (at, text.into())
            }
            None => (entry.at, entry.text.into()),
        };
        Some(Line {
            at,
            channel: entry.channel,
            bytes,
        })
    }

    /// From so many entries before the end on: a line that was cut is several, as for an engine, and
    /// so is the gap of a log where it `counts`.
    pub(super) fn open_last(log: &RecordedLog, entries: u32, counts: bool) -> io::Result<Self> {
        let mut lines = Self::open(log, None)?;
        let mut left = u64::from(entries);
        let mut read = VecDeque::new();
        while let Some(file) = lines.files.pop_back() {
            let (start, found) = last_entries(file.get_ref(), left)?;
            left -= found;
            read.push_front(file);
            let is_first = lines.files.is_empty();
            if left == 0 || is_first {
                lines.is_head = is_first && read.len() > 1;
                lines.files = read;
                lines.go_to(start)?;
                return Ok(lines);
            }
            // Nothing is left where the gap is what comes first: then the file before has no part.
            left -= u64::from(counts && lines.files.len() == 1);
        }
        Ok(lines)
    }

    /// The time at which a log goes on behind its gap, where the last of what stands before it has
    /// been read. Then it goes on there.
    pub(super) fn pass_gap(&mut self) -> io::Result<Option<Timestamp>> {
        if !self.is_head {
            return Ok(None);
        }
        let Some(file) = self.files.front_mut() else {
            return Ok(None);
        };
        if !file.fill_buf()?.is_empty() {
            return Ok(None);
        }
        self.next_file();
        self.first_time()
    }

    /// Some entries as they stand, each part of a line by itself and a whole line with its newline:
    /// those of `since` and later, and the time of the last that was read. `None` at the end. Never
    /// from both sides of a gap.
    pub(super) fn next_parts(
        &mut self,
        since: Option<Timestamp>,
    ) -> io::Result<Option<(PartBatch, Option<Timestamp>)>> {
        let mut batch = PartBatch::default();
        let mut last = None;
        let mut read = 0;
        while read < BATCH as u64 {
            match self.read_line()? {
                0 if self.is_head && read > 0 => break,
                0 if self.next_file() => continue,
                0 => break,
                length => read += length,
            }
            let Some(entry) = parse(&self.line) else {
                continue;
            };
            last = Some(entry.at);
            if since.is_none_or(|since| entry.at >= since) {
                // The newline stands right behind the text.
                let start = self.line.len() - 1 - entry.text.len();
                let end = self.line.len() - usize::from(!entry.full);
                let bytes = self.line.get(start..end).unwrap_or_default();
                batch.push(entry.at, entry.channel, bytes);
            }
        }
        Ok((read > 0).then_some((batch, last)))
    }

    /// What never came to its end.
    fn rest(&mut self) -> Option<Line> {
        [Channel::Out, Channel::Err]
            .into_iter()
            .find_map(|channel| {
                let (at, text) = self.pending[usize::from(channel == Channel::Err)].take()?;
                Some(Line {
                    at,
                    channel,
                    bytes: text.into(),
                })
            })
    }
}

/// Where the last so many entries of a file begin, and how many there are. What is behind the last
/// newline is none.
fn last_entries(file: &File, entries: u64) -> io::Result<(u64, u64)> {
    let mut found = 0;
    let mut end = file.metadata()?.len();
    let mut block = vec![0; BLOCK];
    while end > 0 {
        let length = end.min(block.len() as u64);
        let start = end - length;
        let block = &mut block[..usize::try_from(length).unwrap_or_default()];
        file.read_exact_at(block, start)?;
        for newline in memchr::memrchr_iter(b'\n', block) {
            if found == entries {
                return Ok((start + newline as u64 + 1, found));
            }
            found += 1;
        }
        end = start;
    }
    Ok((0, found))
}

impl Iterator for Lines {
    type Item = io::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let line = match self.read_line() {
                Ok(0) if self.next_file() => continue,
                Ok(0) => return self.rest().map(Ok),
                Ok(_) => self.take(),
                Err(error) => return Some(Err(error)),
            };
            if let Some(line) = line
                && self.since.is_none_or(|since| line.at >= since)
            {
                return Some(Ok(line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8], since: Option<Timestamp>) -> Vec<Line> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let log = RecordedLog::from(file.path().to_owned());
        let lines = Lines::open(&log, since).unwrap();
        lines.map(Result::unwrap).collect()
    }

    fn written(lines: &[Line]) -> Vec<u8> {
        let mut printer = Printer::default();
        let mut bytes = Vec::new();
        for line in lines {
            printer.line(&mut bytes, line.at, line.channel, &line.bytes);
        }
        bytes
    }

    #[test]
    fn a_line_is_what_kubelet_writes() {
        let line = Line {
            at: "2026-11-22T07:00:00.1234567Z".parse().unwrap(),
            channel: Channel::Err,
            bytes: Box::<[u8]>::from(*b" a  b\xff").into(),
        };
        let wanted = b"2026-11-22T07:00:00.123456700Z stderr F  a  b\xff\n";
        assert_eq!(written(std::slice::from_ref(&line)), wanted);
        assert_eq!(read(wanted, None), [line]);
    }

    #[test]
    fn lines_that_were_cut_are_joined_by_channel() {
        let text = b"2026-11-22T07:00:00Z stdout P one \n\
            2026-11-22T07:00:01Z stderr F between\n\
            2026-11-22T07:00:02Z stdout P:x and \n\
            damaged\n\
            2026-11-22T07:00:02Z stdout F two\n\
            2026-11-22T07:00:03Z stderr P no end\n\
            2026-11-22T07:00:04Z stdout F to";
        let lines = read(text, None);
        let texts: Vec<&[u8]> = lines.iter().map(|line| &*line.bytes).collect();
        assert_eq!(texts, [&b"between"[..], b"one and two", b"no end"]);
        assert_eq!(lines[1].at, "2026-11-22T07:00:00Z".parse().unwrap());
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        for path in ["/dev", "/dev/zero"] {
            assert!(log_lines(&RecordedLog::from(PathBuf::from(path))).is_err());
        }
    }

    fn line() -> impl Strategy<Value = Line> {
        let text =
            proptest::collection::vec(any::<u8>().prop_filter("newline", |b| *b != b'\n'), 0..9);
        let at = -5_000_000_000_000_000_000_i128..20_000_000_000_000_000_000;
        (at, any::<bool>(), text).prop_map(|(at, err, text)| Line {
            at: Timestamp::from_nanosecond(at).unwrap(),
            channel: if err { Channel::Err } else { Channel::Out },
            bytes: text.into(),
        })
    }

    proptest! {
        #[test]
        fn lines_come_back_as_they_were_and_a_cut_costs_one(
            lines in proptest::collection::vec(line(), 0..20), cut in 0.0..=1.0,
        ) {
            let bytes = written(&lines);
            prop_assert_eq!(&read(&bytes, None), &lines);
            let cut = (bytes.len() as f64 * cut) as usize;
            let whole = bytes[..cut].iter().filter(|byte| **byte == b'\n').count();
            prop_assert_eq!(&read(&bytes[..cut], None)[..], &lines[..whole]);
        }

        #[test]
        fn it_does_not_matter_how_many_files_a_log_has(
            lines in proptest::collection::vec(line(), 0..20),
            cuts in (0_usize..20, 0_usize..20), last in 0_u32..25, counts in any::<bool>(),
        ) {
            let mut lines = lines;
            lines.sort_by_key(|line| line.at);
            let place = tempfile::tempdir().unwrap();
            let (first, second) = (cuts.0.min(cuts.1), cuts.0.max(cuts.1));
            let (first, second) = (first.min(lines.len()), second.min(lines.len()));
            let mut paths = Vec::new();
            for part in [&lines[..first], &lines[first..second], &lines[second..]] {
                let path = place.path().join(paths.len().to_string());
                std::fs::write(&path, written(part)).unwrap();
                paths.push(path);
            }
            let log = RecordedLog(paths);
            let all = |lines: Lines| lines.map(Result::unwrap).collect::<Vec<_>>();
            prop_assert_eq!(&all(log_lines(&log).unwrap()), &lines);
            for line in &lines {
                let since: Vec<&Line> = lines.iter().filter(|one| one.at >= line.at).collect();
                let found = all(log_lines_since(&log, line.at).unwrap());
                prop_assert_eq!(found.iter().collect::<Vec<_>>(), since);
            }
            let behind = lines.len() - first;
            let wanted = last as usize;
            let wanted = wanted - usize::from(counts && wanted > behind);
            let start = lines.len().saturating_sub(wanted);
            let found = all(Lines::open_last(&log, last, counts).unwrap());
            prop_assert_eq!(&found[..], &lines[start..]);
        }

        #[test]
        fn a_search_finds_what_reading_finds(
            gaps in proptest::collection::vec((0_i64..400_000_000, 0_usize..3000), 300),
            since in 0_i64..80_000_000_000,
        ) {
            let mut now = 0;
            let lines: Vec<Line> = gaps.into_iter().enumerate().map(|(index, (gap, length))| {
                now += gap;
                // Of two channels, one is a little late.
                let late = if index % 3 == 0 { 300_000_000 } else { 0 };
                Line {
                    at: Timestamp::from_nanosecond(i128::from((now - late).max(0))).unwrap(),
                    channel: Channel::Out,
                    bytes: vec![b'x'; length].into(),
                }
            }).collect();
            let since = Timestamp::from_nanosecond(i128::from(since)).unwrap();
            let wanted: Vec<&Line> = lines.iter().filter(|line| line.at >= since).collect();
            let found = read(&written(&lines), Some(since));
            prop_assert_eq!(found.iter().collect::<Vec<_>>(), wanted);
        }
    }
}
