//! The directory that a run leaves: its event log, outputs and artifacts, pruned by count.
//!
//! `$XDG_STATE_HOME/tackroom/NAME-HASH/runs/RUN/`; the hash is of the configuration's directory,
//! so that two checkouts do not prune each other's runs. In it are `events.jsonl`, the outputs of
//! the hooks in `harness/`, and one directory of each replay in `replays/`.

#[cfg(test)]
mod fixtures;
mod history;
mod log;
mod read;

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use sha2::{Digest, Sha256};

use crate::domain::id::{ContainerId, RunId};

pub use history::{Course, Outcome};
pub use log::EventLog;
pub use read::{End, ReadError, Recording, read};

/// Where the runs of one configuration are kept.
#[derive(Clone, Debug)]
pub struct Store {
    directory: PathBuf,
}

/// Another process works on the same harness.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("another tackroom (process {holder}) is at work on this harness")]
    Held { holder: String },
    #[error("cannot lock {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// Held while a run works on the harness: two runs on one stack would take each other's down.
/// The lock goes with the process, however it ends.
#[derive(Debug)]
pub struct HarnessLock {
    _file: File,
}

impl Store {
    /// A store in a directory of the caller's choice.
    pub fn at(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// What replays print may hold tokens: nobody else gets in here.
    fn make(&self) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)
    }

    /// # Errors
    ///
    /// Fails where the user has no home directory.
    pub fn of(root: &Path, name: &str) -> io::Result<Self> {
        let base = etcetera::choose_base_strategy().map_err(io::Error::other)?;
        let state = base.state_dir().unwrap_or_else(|| base.data_dir());
        let hash = Sha256::digest(root.as_os_str().as_encoded_bytes());
        let hash: String = hash
            .iter()
            .take(4)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let name: String = name
            .chars()
            .map(|c| {
                if c.is_alphanumeric() || c == '-' {
                    c
                } else {
                    '_'
                }
            })
            .collect();
        Ok(Self {
            directory: state.join("tackroom").join(format!("{name}-{hash}")),
        })
    }

    /// # Errors
    ///
    /// Fails where another process holds it, or the directory cannot be written.
    pub fn lock(&self) -> Result<HarnessLock, LockError> {
        let path = self.directory.join("lock");
        let wrap = |source| LockError::Io {
            path: path.clone(),
            source,
        };
        self.make().map_err(wrap)?;
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(wrap)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder).map_err(wrap)?;
                return Err(LockError::Held {
                    holder: holder.trim().to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(wrap(source)),
        }
        file.set_len(0).map_err(wrap)?;
        file.rewind().map_err(wrap)?;
        write!(file, "{}", std::process::id()).map_err(wrap)?;
        Ok(HarnessLock { _file: file })
    }

    /// Remembers that the stack which consists of these containers has been seeded. That it is
    /// forgotten costs another seed, so a failed write is no error.
    pub fn mark_seeded(&self, containers: &[ContainerId]) {
        let _ = std::fs::write(self.directory.join("seeded"), identity(containers));
    }

    /// Whether exactly these containers have been seeded.
    pub fn is_seeded(&self, containers: &[ContainerId]) -> bool {
        std::fs::read_to_string(self.directory.join("seeded"))
            .is_ok_and(|seeded| !containers.is_empty() && seeded == identity(containers))
    }

    /// Makes the directory of a new run and removes the oldest beyond `keep`, but none that is at
    /// work.
    ///
    /// # Errors
    ///
    /// Fails where the directory cannot be made. What cannot be pruned stays.
    pub fn begin(&self, run: &RunId, keep: usize) -> io::Result<PathBuf> {
        self.make()?;
        let directory = self.runs_directory().join(run.as_str());
        std::fs::create_dir_all(&directory)?;
        for old in self.runs()?.iter().skip(keep.max(1)) {
            if !log::is_under_way(old) {
                let _ = std::fs::remove_dir_all(old);
            }
        }
        Ok(directory)
    }

    /// The directories of the kept runs, the newest first. Each is named by the run's id.
    ///
    /// # Errors
    ///
    /// Fails where there is a place for runs that cannot be read.
    pub fn runs(&self) -> io::Result<Vec<PathBuf>> {
        let entries = match std::fs::read_dir(self.runs_directory()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let is_directory =
            |entry: &std::fs::DirEntry| entry.file_type().is_ok_and(|found| found.is_dir());
        let mut runs: Vec<PathBuf> = entries
            .flatten()
            .filter(is_directory)
            .map(|entry| entry.path())
            .collect();
        // Run ids sort by their start.
        runs.sort();
        runs.reverse();
        Ok(runs)
    }

    fn runs_directory(&self) -> PathBuf {
        self.directory.join("runs")
    }
}

fn identity(containers: &[ContainerId]) -> String {
    let mut ids: Vec<&str> = containers.iter().map(ContainerId::as_str).collect();
    ids.sort_unstable();
    ids.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(second: i64) -> RunId {
        RunId::new(jiff::Timestamp::from_second(second).unwrap(), 1)
    }

    #[test]
    fn nobody_else_reads_what_replays_printed() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path().join("a/b"));
        store.begin(&run(1), 1).unwrap();
        let mode = std::fs::metadata(dir.path().join("a/b"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn the_newest_runs_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store {
            directory: dir.path().to_owned(),
        };
        let paths: Vec<PathBuf> = (0..4).map(|n| store.begin(&run(n), 2).unwrap()).collect();
        let there: Vec<bool> = paths.iter().map(|path| path.is_dir()).collect();
        assert_eq!(there, [false, false, true, true]);
    }

    #[test]
    fn a_run_that_goes_on_is_not_pruned() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path().to_owned());
        let going_on = store.begin(&run(0), 1).unwrap();
        let log = EventLog::create(&going_on, &crate::codec::Header::default()).unwrap();
        store.begin(&run(1), 1).unwrap();
        let newest = store.begin(&run(2), 1).unwrap();
        assert_eq!(store.runs().unwrap(), [newest, going_on]);
        drop(log);
        let newest = store.begin(&run(3), 1).unwrap();
        assert_eq!(store.runs().unwrap(), [newest]);
    }

    #[test]
    fn a_stack_is_seeded_until_one_of_its_containers_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store {
            directory: dir.path().to_owned(),
        };
        let ids = |names: &[&str]| -> Vec<ContainerId> {
            names.iter().map(|name| ContainerId::new(*name)).collect()
        };
        assert!(!store.is_seeded(&ids(&["a", "b"])));
        store.mark_seeded(&ids(&["a", "b"]));
        assert!(store.is_seeded(&ids(&["b", "a"])));
        assert!(!store.is_seeded(&ids(&["a", "c"])));
        assert!(!store.is_seeded(&ids(&["a"])));
        store.mark_seeded(&[]);
        assert!(!store.is_seeded(&[]));
    }

    #[test]
    fn a_harness_has_one_master() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store {
            directory: dir.path().to_owned(),
        };
        let held = store.lock().unwrap();
        let error = store.lock().unwrap_err();
        assert!(
            error.to_string().contains(&std::process::id().to_string()),
            "{error}"
        );
        drop(held);
        assert!(store.lock().is_ok());
    }
}
