//! Which of the kept runs go when another one begins.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::files::write_atomically;
use super::log::{FILE_NAME, is_under_way};
use crate::config::Keep;

/// Bytes on disk of a run that is over, in its directory. It is measured once, and only where
/// anybody wants to know: to walk through the artifacts of twenty runs takes longer than a run of a
/// few replays.
const SIZE: &str = "size";

/// In the directory of a run that had replays.
const REPLAYS: &str = "replays";

/// Removes runs, the oldest first, but neither this one nor any that is under way. `runs` are the
/// newest first; what cannot be removed stays.
pub(super) fn prune(runs: &[PathBuf], begun: &Path, keep: &Keep, now: SystemTime) {
    let mut room = keep.bytes;
    // The run before this one stays, whatever its age and size.
    let mut is_last = true;
    // A boot is no reason to forget how a replay ended: those without replays are counted apart. What
    // this one will be is not known yet.
    let mut kept = [1, 1];
    for run in runs {
        if run == begun || is_under_way(run) {
            continue;
        }
        let kept = &mut kept[usize::from(run.join(REPLAYS).is_dir())];
        let is_one_too_many = *kept >= keep.runs.max(1);
        *kept += 1;
        let is_old = || {
            let ended = run.join(FILE_NAME).metadata().or_else(|_| run.metadata());
            let ended = ended.and_then(|found| found.modified());
            keep.age
                .zip(ended.ok())
                .is_some_and(|(age, ended)| now.duration_since(ended).is_ok_and(|old| old > age))
        };
        // Those that are older than one that does not fit go as well.
        if let Some(left) = room.filter(|left| *left > 0) {
            room = Some(left.saturating_sub(size(run)));
        }
        let is_big = room == Some(0);
        let last = std::mem::take(&mut is_last);
        if is_one_too_many || (!last && (is_big || is_old())) {
            let _ = std::fs::remove_dir_all(run);
        }
    }
}

fn size(run: &Path) -> u64 {
    let file = run.join(SIZE);
    let known = std::fs::read_to_string(&file).ok();
    if let Some(known) = known.and_then(|known| known.trim().parse().ok()) {
        return known;
    }
    let measured = measure(run);
    let _ = write_atomically(&file, format!("{measured}\n").as_bytes());
    measured
}

/// What is in a directory, links themselves and not what they lead to. What cannot be looked at
/// counts as nothing.
fn measure(directory: &Path) -> u64 {
    let mut bytes = 0;
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = directory.read_dir() else {
            continue;
        };
        for entry in entries.flatten() {
            // Of the entry itself: it does not follow links.
            let Ok(found) = entry.metadata() else {
                continue;
            };
            bytes += on_disk(&found);
            if found.is_dir() {
                directories.push(entry.path());
            }
        }
    }
    bytes
}

/// The unit does not depend on the file system: stat(2).
fn on_disk(found: &Metadata) -> u64 {
    found.blocks() * 512
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::fixtures::run;
    use super::super::{EventLog, Store};
    use super::*;
    use crate::codec::Header;

    fn store() -> (tempfile::TempDir, Store) {
        let place = tempfile::tempdir().unwrap();
        let store = Store::at(place.path().to_owned());
        (place, store)
    }

    /// Runs that have one file of so many KiB, the oldest first.
    fn runs(store: &Store, sizes: &[usize]) -> Vec<PathBuf> {
        let keep = Keep::runs(100);
        (0..)
            .zip(sizes)
            .map(|(second, kibibytes)| {
                let run = store.begin(&run(second), &keep).unwrap();
                std::fs::write(run.join("file"), vec![b'x'; kibibytes * 1024]).unwrap();
                run
            })
            .collect()
    }

    fn there(runs: &[PathBuf]) -> Vec<bool> {
        runs.iter().map(|run| run.is_dir()).collect()
    }

    #[test]
    fn boots_do_not_push_runs_of_replays_out() {
        let (_place, store) = store();
        let keep = Keep::runs(2);
        let tried = store.begin(&run(0), &keep).unwrap();
        std::fs::create_dir(tried.join(REPLAYS)).unwrap();
        let boots: Vec<PathBuf> = (1..4)
            .map(|second| store.begin(&run(second), &keep).unwrap())
            .collect();
        assert!(tried.is_dir());
        assert_eq!(there(&boots), [false, true, true]);
    }

    #[test]
    fn the_newest_runs_are_kept() {
        let (_place, store) = store();
        let keep = Keep::runs(2);
        let runs: Vec<PathBuf> = (0..4)
            .map(|second| store.begin(&run(second), &keep).unwrap())
            .collect();
        assert_eq!(there(&runs), [false, false, true, true]);
    }

    #[test]
    fn a_run_that_goes_on_is_not_pruned() {
        let (_place, store) = store();
        let keep = Keep {
            age: Some(Duration::ZERO),
            bytes: Some(1),
            ..Keep::runs(1)
        };
        let going_on = store.begin(&run(0), &keep).unwrap();
        let log = EventLog::open(&going_on, &Header::default()).unwrap();
        store.begin(&run(1), &keep).unwrap();
        let newest = store.begin(&run(2), &keep).unwrap();
        assert_eq!(store.runs().unwrap(), [newest, going_on]);
        drop(log);
        let newest = store.begin(&run(3), &keep).unwrap();
        assert_eq!(store.runs().unwrap(), [newest]);
    }

    #[test]
    fn who_takes_over_does_not_prune_what_it_takes_over() {
        let (_place, store) = store();
        let first = store.begin(&run(0), &Keep::runs(9)).unwrap();
        store.begin(&run(1), &Keep::runs(9)).unwrap();
        store.begin(&run(0), &Keep::runs(1)).unwrap();
        assert!(first.is_dir());
    }

    #[test]
    fn runs_go_by_age_but_for_the_last() {
        let (_place, store) = store();
        let old = runs(&store, &[1, 1, 1]);
        let keep = Keep {
            age: Some(Duration::from_secs(3600)),
            ..Keep::runs(9)
        };
        let begun = store.begin(&run(9), &Keep::runs(9)).unwrap();
        let all = || store.runs().unwrap();
        prune(&all(), &begun, &keep, SystemTime::now());
        assert_eq!(there(&old), [true, true, true]);
        let later = SystemTime::now() + Duration::from_secs(7200);
        prune(&all(), &begun, &keep, later);
        assert_eq!(there(&old), [false, false, true]);
    }

    #[test]
    fn runs_go_by_size_the_oldest_first() {
        let (_place, store) = store();
        let old = runs(&store, &[400, 100, 400, 100, 400]);
        let keep = |kibibytes: u64| Keep {
            bytes: Some(kibibytes * 1024),
            ..Keep::runs(9)
        };
        store.begin(&run(9), &keep(2000)).unwrap();
        assert_eq!(there(&old), [true; 5]);
        store.begin(&run(10), &keep(800)).unwrap();
        // The small one behind the one that does not fit goes with it: it is older.
        assert_eq!(there(&old), [false, false, false, true, true]);
        store.begin(&run(11), &keep(1)).unwrap();
        assert_eq!(there(&old), [false; 5]);
        assert_eq!(store.runs().unwrap().len(), 3, "what takes nothing fits");
    }

    #[test]
    fn a_size_is_measured_once_and_never_through_a_link() {
        let place = tempfile::tempdir().unwrap();
        let run = place.path().join("run");
        std::fs::create_dir_all(run.join("a/b")).unwrap();
        std::fs::write(place.path().join("big"), vec![b'x'; 1 << 20]).unwrap();
        std::os::unix::fs::symlink(place.path(), run.join("a/up")).unwrap();
        std::os::unix::fs::symlink(place.path().join("big"), run.join("big")).unwrap();
        std::fs::write(run.join("a/b/file"), vec![b'x'; 100 * 1024]).unwrap();
        let measured = size(&run);
        assert!((100 * 1024..300 * 1024).contains(&measured), "{measured}");
        std::fs::write(run.join("later"), vec![b'x'; 1 << 20]).unwrap();
        assert_eq!(size(&run), measured);
    }
}
