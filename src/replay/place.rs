//! Where attempts leave what is kept of them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::domain::replay::ReplayName;
use crate::process::times_file;

/// In the directory of an attempt.
const OUTPUT_FILE: &str = "output.log";
const ARTIFACTS: &str = "artifacts";

/// The directories of the attempts of a run.
///
/// To make one costs some file systems more than it costs to start a small script. So one in which
/// nothing was left is handed on to the next attempt, and whoever leaves nothing has none.
#[derive(Debug)]
pub(super) struct Places {
    /// The run's directory; `None` keeps nothing on disk.
    record: Option<PathBuf>,
    /// In which nothing was left when it was looked.
    vacant: Mutex<Vec<Place>>,
}

/// Where one attempt leaves what is kept of it.
#[derive(Debug)]
pub(super) struct Place {
    directory: PathBuf,
}

impl Places {
    pub(super) fn new(record: Option<PathBuf>) -> Self {
        Self {
            record,
            vacant: Mutex::default(),
        }
    }

    /// Makes the directory of an attempt, as far as the disk lets us. `None`: nothing is kept.
    pub(super) fn take(&self, name: &ReplayName, number: u32) -> Option<Place> {
        let directory = self.record.as_ref()?.join(name.attempt_directory(number));
        let is_there = self.move_in(&directory);
        if !is_there {
            // A full disk is no verdict; that the output is not on it is told with the result.
            let _ = fs::create_dir_all(directory.join(ARTIFACTS));
        }
        Some(Place { directory })
    }

    /// Turns a vacant directory into this one, if there is one that can be.
    fn move_in(&self, directory: &Path) -> bool {
        let mut vacant = self.vacant();
        let Some(place) = vacant.pop() else {
            return false;
        };
        // Something may have come late, or another attempt has its own directory in it.
        let is_moved = place.is_untouched() && fs::rename(&place.directory, directory).is_ok();
        if !is_moved {
            vacant.insert(0, place);
        }
        is_moved
    }

    /// Hands on what an attempt was given that has left nothing in it. Says whether it did.
    pub(super) fn vacate(&self, place: Place) -> bool {
        let is_vacant = place.is_untouched();
        if is_vacant {
            self.vacant().push(place);
        }
        is_vacant
    }

    /// Removes what an attempt left, but for what is another's. That it cannot be removed costs room
    /// and nothing else.
    pub(super) async fn forget(&self, name: &ReplayName, number: u32) {
        let Some(record) = &self.record else {
            return;
        };
        let first = record.join(name.attempt_directory(1));
        let directory = record.join(name.attempt_directory(number));
        let removal = tokio::task::spawn_blocking(move || {
            if !is_directory(&first) || !is_directory(&directory) {
                return;
            }
            if number > 1 {
                let _ = fs::remove_dir_all(&directory);
                return;
            }
            // The later ones are in it.
            let output = directory.join(OUTPUT_FILE);
            let _ = fs::remove_file(times_file(&output));
            let _ = fs::remove_file(output);
            let artifacts = directory.join(ARTIFACTS);
            if is_directory(&artifacts) {
                let _ = fs::remove_dir_all(artifacts);
            }
        });
        let _ = removal.await;
    }

    fn vacant(&self) -> std::sync::MutexGuard<'_, Vec<Place>> {
        self.vacant.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        // A later attempt's is in that of the first.
        for vacant in self.vacant().drain(..).rev() {
            if vacant.is_untouched() {
                // Not what has come since that look.
                let _ = fs::remove_dir(vacant.directory.join(ARTIFACTS))
                    .and_then(|()| fs::remove_file(vacant.output_file()))
                    .and_then(|()| fs::remove_dir(&vacant.directory));
            }
        }
    }
}

impl Place {
    pub(super) fn output_file(&self) -> PathBuf {
        self.directory.join(OUTPUT_FILE)
    }

    /// Where a script may leave files; `None` where there is no room for them.
    pub(super) fn artifacts(&self) -> Option<PathBuf> {
        Some(self.directory.join(ARTIFACTS)).filter(|path| path.is_dir())
    }

    /// Whether the next one would find it as this one has.
    fn is_untouched(&self) -> bool {
        let artifacts = self.directory.join(ARTIFACTS);
        // Nobody but us has made what it is in.
        let made = self.directory.parent().and_then(rights);
        is_directory(&artifacts)
            && made.is_some()
            && rights(&self.directory) == made
            && rights(&artifacts) == made
            && entries(&artifacts) == Some(0)
            && entries(&self.directory) == Some(2)
            && self
                .output_file()
                .symlink_metadata()
                .is_ok_and(|output| output.is_file() && output.len() == 0)
    }
}

/// Who it belongs to, and what they may do with it.
fn rights(path: &Path) -> Option<(u32, u32, u32)> {
    let found = path.symlink_metadata().ok()?;
    Some((found.uid(), found.gid(), found.mode()))
}

fn entries(directory: &Path) -> Option<usize> {
    Some(fs::read_dir(directory).ok()?.count())
}

/// A script may have put a link in its place.
fn is_directory(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|it| it.is_dir())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    struct Run {
        places: Places,
        directory: tempfile::TempDir,
    }

    impl Run {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            Self {
                places: Places::new(Some(directory.path().to_owned())),
                directory,
            }
        }

        fn take(&self, name: &str, number: u32) -> Place {
            let place = self.places.take(&ReplayName::new(name), number).unwrap();
            fs::File::create(place.output_file()).unwrap();
            place
        }

        fn has(&self, file: &str) -> bool {
            self.directory.path().join("replays").join(file).exists()
        }
    }

    #[test]
    fn where_nothing_was_left_the_next_one_goes() {
        let run = Run::new();
        assert!(run.places.vacate(run.take("a", 1)));
        let b = run.take("b", 1);
        assert!(!run.has("a") && run.has("b/artifacts") && b.artifacts().is_some());
        assert!(run.places.vacate(b));
        drop(run.places);
        assert_eq!(entries(&run.directory.path().join("replays")), Some(0));
    }

    #[test]
    fn what_was_left_stays() {
        let leave: [fn(&Place); 5] = [
            |place| fs::write(place.output_file(), "it printed").unwrap(),
            |place| fs::write(place.artifacts().unwrap().join("dump"), "").unwrap(),
            |place| fs::write(place.directory.join("beside"), "").unwrap(),
            |place| {
                let artifacts = place.artifacts().unwrap();
                fs::set_permissions(artifacts, PermissionsExt::from_mode(0o700)).unwrap();
                fs::set_permissions(&place.directory, PermissionsExt::from_mode(0o755)).unwrap();
            },
            |place| {
                fs::remove_dir(place.artifacts().unwrap()).unwrap();
                std::os::unix::fs::symlink("/", place.directory.join(ARTIFACTS)).unwrap();
            },
        ];
        for (index, leave) in leave.into_iter().enumerate() {
            let run = Run::new();
            let place = run.take("a", 1);
            leave(&place);
            assert!(!run.places.vacate(place), "{index}");
            run.take("b", 1);
            drop(run.places);
            assert!(run.directory.path().join("replays/a").exists(), "{index}");
        }
    }

    #[test]
    fn what_comes_late_stays_where_it_is() {
        let run = Run::new();
        let (a, b) = (run.take("a", 1), run.take("b", 1));
        let late = [&a, &b].map(|place| place.artifacts().unwrap().join("late"));
        assert!(run.places.vacate(a) && run.places.vacate(b));
        for late in &late {
            fs::write(late, "").unwrap();
        }
        run.take("c", 1);
        drop(run.places);
        assert!(late.iter().all(|late| late.exists()));
    }

    #[test]
    fn what_another_attempt_is_in_is_not_handed_on() {
        let run = Run::new();
        let (a, b) = (run.take("a", 1), run.take("b", 1));
        assert!(run.places.vacate(a) && run.places.vacate(b));
        let again = run.take("a", 2);
        fs::write(again.output_file(), "it printed").unwrap();
        assert!(!run.places.vacate(again));
        run.take("c", 1);
        assert!(run.has("a/attempt-2/output.log") && !run.has("c/attempt-2"));
    }

    #[test]
    fn a_replay_that_is_repeated_in_silence_leaves_nothing() {
        let run = Run::new();
        for number in 1..5 {
            assert!(run.places.vacate(run.take("a", number)));
        }
        drop(run.places);
        assert_eq!(entries(&run.directory.path().join("replays")), Some(0));
    }
}
