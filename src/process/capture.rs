//! What a child printed: bounded in memory, complete on disk up to a cap, and its end in any case.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::domain::run::Output;

/// Bytes.
#[derive(Clone, Copy, Debug)]
pub struct CaptureLimits {
    pub head: usize,
    pub tail: usize,
    /// On disk; of what comes after it the last `tail` bytes are written behind a line that says how
    /// many are missing there.
    pub disk: u64,
}

impl Default for CaptureLimits {
    fn default() -> Self {
        Self {
            head: 16 * 1024,
            tail: 48 * 1024,
            disk: 512 * 1024 * 1024,
        }
    }
}

/// Collects the bytes of one output.
#[derive(Debug)]
pub struct Capture {
    limits: CaptureLimits,
    head: Vec<u8>,
    tail: VecDeque<u8>,
    total: u64,
    disk: Disk,
    times: Times,
    on_disk: u64,
    /// Bytes that did not reach the disk: over the cap, or a failed write.
    not_on_disk: u64,
}

/// Stands on disk in the place of bytes that are missing there.
pub fn gap_line(missing: u64) -> String {
    format!("\n[{missing} bytes are not kept]\n")
}

/// Where it is complete.
#[derive(Debug)]
enum Disk {
    Unwanted,
    File(PathBuf, File),
    /// The file cannot be made.
    Failed,
}

/// What comes within that time has one note.
const RESOLUTION: Duration = Duration::from_millis(1);

/// Where it is noted when the bytes of an output came: beside it.
pub fn times_file(output: &Path) -> PathBuf {
    output.with_extension("times")
}

/// Notes `MICROSECONDS OFFSET` of what is read at once: when it came, counted from the beginning, and
/// where in the file it begins. The first byte makes the file, so silence costs nothing.
#[derive(Debug)]
struct Times {
    began: Instant,
    noted: Option<Duration>,
    file: Option<File>,
}

impl Times {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            noted: None,
            file: None,
        }
    }

    /// That a note cannot be written costs a time and no output.
    fn note(&mut self, output: &Path, offset: u64) {
        let now = self.began.elapsed();
        if self.noted.is_some_and(|noted| now - noted < RESOLUTION) {
            return;
        }
        if self.noted.replace(now).is_none() {
            self.file = File::create(times_file(output)).ok();
        }
        if let Some(file) = &mut self.file {
            let note = format!("{} {offset}\n", now.as_micros());
            let _ = file.write_all(note.as_bytes());
        }
    }
}

impl Capture {
    /// A file that cannot be made must not stop the child, as a full disk must not: then nothing of
    /// the output is on disk, which is counted.
    pub fn new(limits: CaptureLimits, file: Option<&Path>) -> Self {
        let disk = file.map_or(Disk::Unwanted, |path| match File::create(path) {
            Ok(file) => Disk::File(path.to_owned(), file),
            Err(_) => Disk::Failed,
        });
        Self {
            limits,
            head: Vec::new(),
            tail: VecDeque::new(),
            total: 0,
            disk,
            times: Times::new(),
            on_disk: 0,
            not_on_disk: 0,
        }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        self.write(bytes);
        let room = self.limits.head.saturating_sub(self.head.len());
        let (head, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(head);
        let rest = &rest[rest.len().saturating_sub(self.limits.tail)..];
        let excess = (self.tail.len() + rest.len()).saturating_sub(self.limits.tail);
        self.tail.drain(..excess);
        self.tail.extend(rest);
    }

    fn write(&mut self, bytes: &[u8]) {
        let room = self.limits.disk.saturating_sub(self.on_disk);
        let take = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
        if let Disk::File(path, _) = &self.disk
            && take > 0
            && self.not_on_disk == 0
        {
            self.times.note(path, self.on_disk);
        }
        // A full disk must not stop the child or its verdict; what is missing is counted.
        let is_written = match &mut self.disk {
            Disk::Unwanted => return,
            Disk::File(_, file) => self.not_on_disk == 0 && file.write_all(&bytes[..take]).is_ok(),
            Disk::Failed => false,
        };
        let written = if is_written { take } else { 0 };
        self.on_disk += written as u64;
        self.not_on_disk += (bytes.len() - written) as u64;
    }

    /// The end of an output says most about it.
    fn write_end(&mut self) {
        let Disk::File(path, file) = &mut self.disk else {
            return;
        };
        let missing = usize::try_from(self.not_on_disk).unwrap_or(usize::MAX);
        // Where the cap was not reached a write has failed.
        if missing == 0 || self.on_disk < self.limits.disk {
            return;
        }
        let tail = &*self.tail.make_contiguous();
        let end = &tail[tail.len() - missing.min(tail.len())..];
        let left = self.not_on_disk - end.len() as u64;
        let gap = match left {
            0 => String::new(),
            left => gap_line(left),
        };
        self.times.note(path, self.on_disk + gap.len() as u64);
        if file.write_all(&[gap.as_bytes(), end].concat()).is_ok() {
            self.not_on_disk = left;
        }
    }

    pub fn finish(mut self) -> Output {
        self.write_end();
        let kept = (self.head.len() + self.tail.len()) as u64;
        Output {
            cut: self.total - kept,
            tail: Arc::from(&*self.tail.make_contiguous()),
            head: self.head.into(),
            file: match self.disk {
                Disk::File(path, _) => Some(path),
                Disk::Unwanted | Disk::Failed => None,
            },
            not_on_disk: self.not_on_disk,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limits(head: usize, tail: usize, disk: u64) -> CaptureLimits {
        CaptureLimits { head, tail, disk }
    }

    #[test]
    fn the_disk_has_everything_up_to_the_cap() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let mut capture = Capture::new(limits(2, 2, 5), Some(&path));
        capture.push(b"abcd");
        capture.push(b"efgh");
        let output = capture.finish();
        let kept = std::fs::read_to_string(&path).unwrap();
        assert_eq!(kept, "abcde\n[1 bytes are not kept]\ngh");
        assert_eq!((output.not_on_disk, output.cut), (1, 4));
        assert_eq!(
            (&output.head[..], &output.tail[..]),
            (&b"ab"[..], &b"gh"[..])
        );
    }

    #[test]
    fn the_disk_has_the_end_whole_where_it_is_held() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let mut capture = Capture::new(limits(2, 3, 5), Some(&path));
        capture.push(b"abcdefgh");
        assert_eq!(capture.finish().not_on_disk, 0);
        assert_eq!(std::fs::read(&path).unwrap(), b"abcdefgh");
    }

    #[test]
    fn behind_what_a_full_disk_has_cut_off_nothing_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let mut capture = Capture::new(limits(2, 2, 5), Some(&path));
        capture.push(b"abcdefgh");
        assert_eq!(capture.finish().not_on_disk, 8);
    }

    #[test]
    fn a_file_that_cannot_be_made_loses_what_is_not_held() {
        let path = Path::new("/dev/null/out");
        let mut capture = Capture::new(limits(2, 2, 5), Some(path));
        capture.push(b"abcdef");
        let output = capture.finish();
        assert_eq!((output.not_on_disk, output.cut, output.file), (6, 2, None));
    }

    #[test]
    fn it_is_noted_when_bytes_came_and_not_more_often_than_that_tells_anything() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("output.log");
        let mut capture = Capture::new(limits(2, 2, 5), Some(&path));
        capture.times.began -= Duration::from_secs(1);
        let noted = || std::fs::read_to_string(dir.path().join("output.times"));
        assert!(noted().is_err(), "silence leaves no file");
        capture.push(b"ab");
        capture.push(b"c");
        capture.times.began -= Duration::from_secs(1);
        capture.push(b"defg");
        capture.push(b"over the cap");
        let noted = noted().unwrap();
        let notes: Vec<(u64, u64)> = noted
            .lines()
            .map(|note| {
                let (time, offset) = note.split_once(' ').unwrap();
                (time.parse().unwrap(), offset.parse().unwrap())
            })
            .collect();
        // On a slow machine the second push may have a note of its own.
        assert_eq!((notes[0].1, notes.last().unwrap().1), (0, 3));
        assert!(notes[0].0 >= 1_000_000 && notes.last().unwrap().0 >= 2_000_000);
    }

    proptest! {
        #[test]
        fn head_cut_and_tail_are_the_whole(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..12),
            head in 0usize..20,
            tail in 0usize..20,
        ) {
            let whole: Vec<u8> = chunks.concat();
            let mut capture = Capture::new(limits(head, tail, 0), None);
            for chunk in &chunks {
                capture.push(chunk);
            }
            let output = capture.finish();
            prop_assert!(output.head.len() <= head && output.tail.len() <= tail);
            prop_assert!(whole.starts_with(&output.head) && whole.ends_with(&output.tail));
            prop_assert_eq!(
                (output.head.len() + output.tail.len()) as u64 + output.cut,
                whole.len() as u64
            );
        }
    }
}
