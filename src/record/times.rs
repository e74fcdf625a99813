//! When which line of an output came.
//!
//! Beside an output stands what [`crate::process::Capture`] has noted: `MICROSECONDS OFFSET` for
//! what was read at once, counted from the beginning of the attempt and of the file.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::files::open_inside;
use crate::domain::run::{Output, ReplayResult};
use crate::process::times_file;

/// What is longer comes as several lines: who prints without newlines must not fill the memory.
const LONGEST: u64 = 1 << 20;
/// Two numbers, a blank and a newline have room in it.
const LONGEST_NOTE: u64 = 64;

/// The lines of an attempt's output without their newlines, each with the time by our clock at which
/// its end came. Where that was not noted it is the end of the attempt.
///
/// # Errors
///
/// Fails where the output cannot be read. That there is none is no error.
pub fn output_lines(directory: &Path, result: &ReplayResult) -> io::Result<OutputLines> {
    timed_lines(directory, &result.output, result.started, result.took)
}

/// The same of whatever has printed something from then on, and for so long.
///
/// # Errors
///
/// As [`output_lines`].
pub fn timed_lines(
    directory: &Path,
    output: &Output,
    started: Timestamp,
    took: Duration,
) -> io::Result<OutputLines> {
    let ended = plus(started, took);
    let mut lines = OutputLines {
        started,
        now: ended,
        output: None,
        read: 0,
        times: None,
        next: None,
    };
    let Some(file) = &output.file else {
        return Ok(lines);
    };
    let open = |file: &Path| -> io::Result<Option<BufReader<File>>> {
        let opened = open_inside(directory, std::path::absolute(file)?)?;
        Ok(opened.map(|(_, file)| BufReader::new(file)))
    };
    lines.output = open(file)?;
    // Without it the lines are as good as before.
    lines.times = open(&times_file(file)).ok().flatten();
    lines.next = lines.note();
    Ok(lines)
}

fn plus(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// Reads an output line by line.
#[derive(Debug)]
pub struct OutputLines {
    started: Timestamp,
    /// When came what is read now.
    now: Timestamp,
    output: Option<BufReader<File>>,
    /// Bytes of the output.
    read: u64,
    times: Option<BufReader<File>>,
    /// What comes next begins there.
    next: Option<(u64, Timestamp)>,
}

impl OutputLines {
    /// The next note that can be read.
    fn note(&mut self) -> Option<(u64, Timestamp)> {
        let times = self.times.as_mut()?;
        let mut line = Vec::new();
        loop {
            line.clear();
            if !matches!(
                times.take(LONGEST_NOTE).read_until(b'\n', &mut line),
                Ok(1..)
            ) {
                return None;
            }
            let note = std::str::from_utf8(&line).ok().and_then(|line| {
                let (time, offset) = line.strip_suffix('\n')?.split_once(' ')?;
                let time = Duration::from_micros(time.parse().ok()?);
                Some((offset.parse().ok()?, plus(self.started, time)))
            });
            if note.is_some() {
                return note;
            }
        }
    }
}

impl Iterator for OutputLines {
    type Item = io::Result<(Timestamp, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        let output = self.output.as_mut()?;
        match output.take(LONGEST).read_until(b'\n', &mut line) {
            Ok(0) => return None,
            Ok(length) => self.read += length as u64,
            Err(error) => return Some(Err(error)),
        }
        while let Some((offset, at)) = self.next
            && offset < self.read
        {
            self.now = at;
            self.next = self.note();
        }
        if line.ends_with(b"\n") {
            line.pop();
        }
        Some(Ok((self.now, line)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{ended, failed};
    use super::*;
    use crate::domain::run::RunEventKind;

    fn read(output: &[u8], times: Option<&str>) -> Vec<(i64, String)> {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("output.log");
        std::fs::write(&file, output).unwrap();
        if let Some(times) = times {
            std::fs::write(place.path().join("output.times"), times).unwrap();
        }
        let RunEventKind::ReplayFinished(mut result) = ended("a", failed(), 9) else {
            return Vec::new();
        };
        result.output.file = Some(file);
        let lines = output_lines(place.path(), &result).unwrap();
        lines
            .map(|line| {
                let (at, line) = line.unwrap();
                (at.as_microsecond(), String::from_utf8(line).unwrap())
            })
            .collect()
    }

    fn told(lines: &[(i64, &str)]) -> Vec<(i64, String)> {
        let owned = |(at, line): &(i64, &str)| (*at, (*line).to_owned());
        lines.iter().map(owned).collect()
    }

    #[test]
    fn a_line_comes_when_its_end_does() {
        let lines = read(b"one\ntwo\nthree\nfour", Some("5 0\n7 6\n7000000 9\n"));
        let wanted = [
            (5, "one"),
            (7, "two"),
            (7_000_000, "three"),
            (7_000_000, "four"),
        ];
        assert_eq!(lines, told(&wanted));
    }

    #[test]
    fn who_prints_no_newline_fills_no_memory() {
        let output = vec![b'x'; usize::try_from(LONGEST).unwrap() * 2 + 3];
        let lines = read(&output, Some("5 0\n"));
        let lengths: Vec<usize> = lines.iter().map(|(_, line)| line.len()).collect();
        let longest = usize::try_from(LONGEST).unwrap();
        assert_eq!(lengths, [longest, longest, 3]);
    }

    #[test]
    fn without_times_all_come_at_the_end() {
        let wanted = told(&[(9_000_000, "one"), (9_000_000, "")]);
        assert_eq!(read(b"one\n\n", None), wanted);
        assert_eq!(read(b"one\n\n", Some("damaged\n5")), wanted);
        assert_eq!(read(b"", None), []);
    }

    #[test]
    fn notes_that_are_damaged_are_left_out() {
        let times = Some("5 0\nx\n\u{0}\n-1 2\n8 4\n9");
        assert_eq!(read(b"one\ntwo\n", times), told(&[(5, "one"), (8, "two")]));
    }

    #[test]
    fn no_output_has_no_lines() {
        let RunEventKind::ReplayFinished(result) = ended("a", failed(), 9) else {
            return;
        };
        let place = tempfile::tempdir().unwrap();
        assert_eq!(output_lines(place.path(), &result).unwrap().count(), 0);
    }
}
