//! The event log: what happened in a run, line by line as it happens.
//!
//! A line is in the file before anybody else hears of it, so a runner that is killed takes nothing
//! along that had happened. Lines of output are not in it: each output has its own file.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::files::Whole;
use crate::codec::{self, Header};
use crate::domain::run::RunEvent;

/// In the directory of a run.
pub(super) const FILE_NAME: &str = "events.jsonl";

/// Appends to the event log of one run. Its file is locked as long as the run goes on, which the
/// kernel ends with the process: that tells a run that was cut off from one that is under way.
#[derive(Debug)]
pub struct EventLog {
    file: Whole,
}

impl EventLog {
    /// Makes the log in a run's directory, or goes on with the one that is there: who takes over from
    /// a run that was killed does it in the same directory.
    ///
    /// # Errors
    ///
    /// Fails where it cannot be written, or where somebody else is at work on it.
    pub fn open(directory: &Path, header: &Header) -> io::Result<Self> {
        let mut file = Whole::open(&directory.join(FILE_NAME), |file| {
            if lock(file, || std::thread::sleep(LOOK)) {
                return Ok(());
            }
            Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                "another process writes this run's event log",
            ))
        })?;
        let header = codec::line(&codec::header(header, Timestamp::now()));
        if file.length == 0 {
            file.append(format!("{header}\n").as_bytes())?;
        }
        Ok(Self { file })
    }

    /// Appends one event. It is with the kernel when this returns.
    ///
    /// # Errors
    ///
    /// Fails where the disk is full, for instance; the log then ends with its last whole line.
    pub fn append(&mut self, event: &RunEvent) -> io::Result<()> {
        let line = codec::line(&codec::event(event));
        self.file.append(format!("{line}\n").as_bytes())
    }

    #[cfg(test)]
    pub(crate) fn on(file: File) -> Self {
        Self {
            file: Whole::on(file),
        }
    }
}

/// How often, and how far apart, somebody is asked again who only looks whether a run is under way.
const LOOKS: usize = 1000;
const LOOK: Duration = Duration::from_millis(1);

/// Whether the log is ours now. Whoever looks whether a run is under way shares the lock for that
/// moment, and must not keep the run from it; whoever writes shares it with nobody.
fn lock(file: &File, mut pause: impl FnMut()) -> bool {
    for _ in 0..LOOKS {
        match file.try_lock() {
            // Not every file system locks; there the run looks cut off until it has ended.
            Ok(()) | Err(TryLockError::Error(_)) => return true,
            Err(TryLockError::WouldBlock) => {}
        }
        if file.try_lock_shared().is_err() {
            return false;
        }
        let _ = file.unlock();
        pause();
    }
    false
}

/// Whether a run is at work in this directory.
pub(super) fn is_under_way(directory: &Path) -> bool {
    let path = directory.join(FILE_NAME);
    // A FIFO would be waited for.
    if !path.metadata().is_ok_and(|found| found.is_file()) {
        return false;
    }
    File::open(path)
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_looks_keeps_no_run_from_its_log() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut looking = Some(file.reopen().unwrap());
        looking.as_ref().unwrap().try_lock_shared().unwrap();
        assert!(lock(file.as_file(), || looking = None));
        let other = file.reopen().unwrap();
        assert!(!lock(&other, || panic!("a writer is not waited for")));
    }

    #[test]
    fn a_log_has_one_writer() {
        let directory = tempfile::tempdir().unwrap();
        let _writer = EventLog::open(directory.path(), &Header::default()).unwrap();
        let error = EventLog::open(directory.path(), &Header::default()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        assert!(is_under_way(directory.path()));
    }
}
