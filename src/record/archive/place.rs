//! The private directory that an archive is unpacked into.

use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

const PREFIX: &str = "tackroom-open-";
/// A directory as young as this may be about to be locked by who made it.
const YOUNG: Duration = Duration::from_secs(600);

/// It is removed when this is dropped. A process that is killed leaves it; the next one that makes
/// such a place takes away what nobody holds any more.
#[derive(Debug)]
pub(super) struct Place {
    directory: TempDir,
    /// Locked for as long as the place is in use, which the kernel ends with the process.
    _lock: File,
}

impl Place {
    pub(super) fn new(base: &Path) -> io::Result<Self> {
        sweep(base);
        let directory = tempfile::Builder::new()
            .prefix(PREFIX)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(base)?;
        let lock = File::create_new(lock_of(directory.path()))?;
        // Not every file system locks; there nothing is swept.
        let _ = lock.lock();
        DirBuilder::new()
            .mode(0o700)
            .create(inside(directory.path()))?;
        Ok(Self {
            directory,
            _lock: lock,
        })
    }

    /// Where to unpack to.
    pub(super) fn path(&self) -> PathBuf {
        inside(self.directory.path())
    }
}

fn inside(directory: &Path) -> PathBuf {
    directory.join("contents")
}

fn lock_of(directory: &Path) -> PathBuf {
    directory.join("lock")
}

/// Removes the places of processes that are gone. What cannot be removed stays.
fn sweep(base: &Path) {
    let ours = rustix::process::getuid().as_raw();
    for entry in std::fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_place = name.as_encoded_bytes().starts_with(PREFIX.as_bytes());
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        let is_old = metadata.modified().is_ok_and(|modified| {
            let age = SystemTime::now().duration_since(modified);
            age.is_ok_and(|age| age >= YOUNG)
        });
        if !is_place || !metadata.is_dir() || metadata.uid() != ours || !is_old {
            continue;
        }
        let lock = File::open(lock_of(&entry.path()));
        if lock.is_ok_and(|lock| lock.try_lock().is_ok()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn age(directory: &Path) {
        let old = SystemTime::now() - 2 * YOUNG;
        File::open(directory).unwrap().set_modified(old).unwrap();
    }

    #[test]
    fn a_place_is_private_and_goes_with_its_value() {
        let base = tempfile::tempdir().unwrap();
        let place = Place::new(base.path()).unwrap();
        let outer = place.directory.path().to_owned();
        for directory in [&outer, &place.path()] {
            let mode = directory.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{directory:?}");
        }
        std::fs::write(place.path().join("x"), "x").unwrap();
        drop(place);
        assert!(!outer.exists());
    }

    #[test]
    fn what_a_killed_process_left_is_taken_away_and_nothing_else() {
        let base = tempfile::tempdir().unwrap();
        let in_use = Place::new(base.path()).unwrap();
        age(in_use.directory.path());
        let make = |name: &str, with_lock: bool| {
            let directory = base.path().join(name);
            std::fs::create_dir(&directory).unwrap();
            if with_lock {
                File::create(lock_of(&directory)).unwrap();
            }
            directory
        };
        let left = make("tackroom-open-left", true);
        let other = make("somebody-elses", true);
        let unlocked = make("tackroom-open-unlocked", false);
        let young = make("tackroom-open-young", true);
        for directory in [&left, &other, &unlocked] {
            age(directory);
        }
        sweep(base.path());
        assert!(!left.exists());
        for directory in [in_use.directory.path(), &other, &unlocked, &young] {
            assert!(directory.exists(), "{directory:?}");
        }
    }
}
