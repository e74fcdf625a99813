//! What a child printed: bounded in memory, complete on disk up to a cap.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::domain::run::Output;

/// Bytes.
#[derive(Clone, Copy, Debug)]
pub struct CaptureLimits {
    pub head: usize,
    pub tail: usize,
    /// On disk; what comes after it is counted and dropped.
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
    file: Option<(PathBuf, File)>,
    on_disk: u64,
    /// Bytes that did not reach the disk: over the cap, or a failed write.
    not_on_disk: u64,
}

impl Capture {
    /// # Errors
    ///
    /// Fails where the file cannot be made.
    pub fn new(limits: CaptureLimits, file: Option<&Path>) -> std::io::Result<Self> {
        let file = match file {
            Some(path) => Some((path.to_owned(), File::create(path)?)),
            None => None,
        };
        Ok(Self {
            limits,
            head: Vec::new(),
            tail: VecDeque::new(),
            total: 0,
            file,
            on_disk: 0,
            not_on_disk: 0,
        })
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
        let Some((_, file)) = &mut self.file else {
            return;
        };
        let room = self.limits.disk.saturating_sub(self.on_disk);
        let take = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
        // A full disk must not stop the child or its verdict; what is missing is counted.
        let written = if self.not_on_disk == 0 && file.write_all(&bytes[..take]).is_ok() {
            take
        } else {
            0
        };
        self.on_disk += written as u64;
        self.not_on_disk += (bytes.len() - written) as u64;
    }

    pub fn finish(mut self) -> Output {
        let kept = (self.head.len() + self.tail.len()) as u64;
        Output {
            cut: self.total - kept,
            tail: self.tail.make_contiguous().to_vec(),
            head: self.head,
            file: self.file.map(|(path, _)| path),
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
        let mut capture = Capture::new(limits(2, 2, 5), Some(&path)).unwrap();
        capture.push(b"abcd");
        capture.push(b"efgh");
        let output = capture.finish();
        assert_eq!(std::fs::read(&path).unwrap(), b"abcde");
        assert_eq!((output.not_on_disk, output.cut), (3, 4));
        assert_eq!(
            (&output.head[..], &output.tail[..]),
            (&b"ab"[..], &b"gh"[..])
        );
    }

    proptest! {
        #[test]
        fn head_cut_and_tail_are_the_whole(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..12),
            head in 0usize..20,
            tail in 0usize..20,
        ) {
            let whole: Vec<u8> = chunks.concat();
            let mut capture = Capture::new(limits(head, tail, 0), None).unwrap();
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
