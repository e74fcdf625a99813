//! The event log: what happened in a run, line by line as it happens.
//!
//! A line is in the file before anybody else hears of it, so a runner that is killed takes nothing
//! along that had happened. Lines of output are not in it: each output has its own file.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::Path;

use jiff::Timestamp;

use crate::codec::{self, Header};
use crate::domain::run::RunEvent;

/// In the directory of a run.
pub(super) const FILE_NAME: &str = "events.jsonl";

/// Appends to the event log of one run. Its file is locked as long as the run goes on, which the
/// kernel ends with the process: that tells a run that was cut off from one that is under way.
#[derive(Debug)]
pub struct EventLog {
    file: File,
    /// Bytes of whole lines.
    length: u64,
}

impl EventLog {
    /// Makes the log in a run's directory.
    ///
    /// # Errors
    ///
    /// Fails where there is one already, or it cannot be written.
    pub fn create(directory: &Path, header: &Header) -> io::Result<Self> {
        let file = File::options()
            .write(true)
            .create_new(true)
            .open(directory.join(FILE_NAME))?;
        // Not every file system locks; there the run looks cut off until it has ended.
        let _ = file.lock();
        let mut log = Self { file, length: 0 };
        log.line(codec::line(&codec::header(header, Timestamp::now())))?;
        Ok(log)
    }

    /// Appends one event. It is with the kernel when this returns.
    ///
    /// # Errors
    ///
    /// Fails where the disk is full, for instance; the log then ends with its last whole line.
    pub fn append(&mut self, event: &RunEvent) -> io::Result<()> {
        self.line(codec::line(&codec::event(event)))
    }

    #[cfg(test)]
    pub(crate) fn on(file: File) -> Self {
        Self { file, length: 0 }
    }

    fn line(&mut self, mut line: String) -> io::Result<()> {
        line.push('\n');
        if let Err(error) = self.file.write_all(line.as_bytes()) {
            let _ = self.file.set_len(self.length);
            let _ = self.file.seek(io::SeekFrom::End(0));
            return Err(error);
        }
        self.length += line.len() as u64;
        Ok(())
    }
}

/// Whether a run is at work in this directory.
pub(super) fn is_under_way(directory: &Path) -> bool {
    let file = File::open(directory.join(FILE_NAME));
    file.is_ok_and(|file| {
        matches!(
            file.try_lock_shared(),
            Err(std::fs::TryLockError::WouldBlock)
        )
    })
}
