//! The directory that a run leaves: its event log, outputs and artifacts, pruned by count.
//!
//! `$XDG_STATE_HOME/tackroom/NAME-HASH/runs/RUN/`; the hash is of the configuration's directory,
//! so that two checkouts do not prune each other's runs. In it are `events.jsonl`, the outputs of
//! the hooks in `harness/`, one directory of each replay in `replays/`, what the engine told in
//! `engine/`, and what the run ran against in `environment.json`. But for the event log all of it is
//! optional: an older run has less, and so has one that was cut off.

pub mod archive;
mod engine;
mod environment;
mod files;
#[cfg(test)]
mod fixtures;
mod history;
mod incident;
mod log;
mod opened;
mod prune;
mod read;
mod times;
mod window;

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use etcetera::BaseStrategy;
use sha2::{Digest, Sha256};

use crate::config::Keep;
use crate::domain::id::{ContainerId, RunId};

pub use engine::{
    ContainerChange, EngineLog, LogFile, LogLines, LogState, Outage, RecordedContainer,
    RecordedEngine, RecordedLog, Seen, container_changes, containers, engine_events, log_gap,
    log_lines, log_lines_since, masked, outages, scope_of,
};
pub use environment::{Salt, fingerprint, write_fingerprint};
pub use files::write_atomically;
pub use history::{Course, Courses, Outcome};
pub use incident::{Incident, IncidentError, Options as IncidentOptions, last_run_of};
pub use log::EventLog;
pub use opened::Opened;
pub use read::{End, ReadError, Recording, read, read_events};
pub use times::{OutputLines, output_lines, timed_lines};
pub use window::failure_windows;

/// In the directory of a store.
const RUNS: &str = "runs";

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
    file: File,
}

/// Not left to the closing of the file: a child that is being started has it open for a moment.
impl Drop for HarnessLock {
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
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
        Ok(HarnessLock { file })
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

    /// Makes the directory of a new run and removes the oldest that are not to be kept, but none that
    /// is at work. However long ago the run before this one was, and however big it is: it stays,
    /// because it says what failed last.
    ///
    /// # Errors
    ///
    /// Fails where the directory cannot be made. What cannot be pruned stays.
    pub fn begin(&self, run: &RunId, keep: &Keep) -> io::Result<PathBuf> {
        self.make()?;
        let directory = self.directory_of(run);
        std::fs::create_dir_all(&directory)?;
        prune::prune(&self.runs()?, &directory, keep, SystemTime::now());
        Ok(directory)
    }

    /// Where a run leaves what is kept of it.
    pub fn directory_of(&self, run: &RunId) -> PathBuf {
        self.runs_directory().join(run.as_str())
    }

    /// The kept runs among which a run lies, the newest first; none where it lies elsewhere.
    pub fn beside(run: &Path) -> Vec<PathBuf> {
        let runs = run.canonicalize().ok();
        let runs = runs.as_deref().and_then(Path::parent);
        let directory = match runs {
            Some(runs) if runs.file_name().is_some_and(|name| name == RUNS) => runs.parent(),
            _ => None,
        };
        let store = directory.map(|directory| Self::at(directory.to_owned()));
        store
            .and_then(|store| store.runs().ok())
            .unwrap_or_default()
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
            Err(error) => {
                let place = self.runs_directory();
                let why = format!("cannot read {}: {error}", place.display());
                return Err(io::Error::new(error.kind(), why));
            }
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
        self.directory.join(RUNS)
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
        store.begin(&run(1), &Keep::runs(1)).unwrap();
        let mode = std::fs::metadata(dir.path().join("a/b"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o700);
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
        let copy = held.file.try_clone().unwrap();
        drop(held);
        assert!(store.lock().is_ok(), "also while a child has the file open");
        drop(copy);
    }
}
