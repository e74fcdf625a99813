//! Finds and removes state roots whose containers are gone. Runs as root in a container with the host's `/tmp`: the
//! daemon made the directories, so the user who takes a stack down may not be able to.

use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::labels::Labels;
use super::runtime::LABELS_FILE;

/// Where the daemon makes state roots.
pub const PARENT: &str = "/tmp";
const PREFIX: &str = "galaxy-state-";

#[derive(Debug, thiserror::Error)]
pub enum StateRootError {
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    #[error("not a state root: {0}")]
    NotAStateRoot(PathBuf),
}

/// Removes every state root in `parent` that carries all of `labels`, and those in `named`, which a container said
/// were its own: a backend that died early has not labelled its root. Gives what it removed.
///
/// # Errors
/// A named path is not a state root, which removes nothing; or one cannot be removed.
pub fn remove(
    parent: &Path,
    labels: &Labels,
    named: &[PathBuf],
) -> Result<Vec<PathBuf>, StateRootError> {
    if let Some(path) = named.iter().find(|path| !is_named_as_root(parent, path)) {
        return Err(StateRootError::NotAStateRoot(path.clone()));
    }
    let mut removed = Vec::new();
    for path in roots(parent)? {
        if named.contains(&path) || labels_of(&path).is_some_and(|found| found.satisfy(labels)) {
            // Removes links inside, and does not follow them.
            std::fs::remove_dir_all(&path)
                .map_err(|error| StateRootError::Io(path.clone(), error))?;
            removed.push(path);
        }
    }
    Ok(removed)
}

/// The directories of `parent` that are named as state roots. A symbolic link is none.
fn roots(parent: &Path) -> Result<Vec<PathBuf>, StateRootError> {
    let failed = |error| StateRootError::Io(parent.to_owned(), error);
    let mut roots = Vec::new();
    for entry in parent.read_dir().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) && is_named_as_root(parent, &path) {
            roots.push(path);
        }
    }
    roots.sort();
    Ok(roots)
}

/// `<parent>/galaxy-state-<uuid>` and nothing that merely resolves to it.
fn is_named_as_root(parent: &Path, path: &Path) -> bool {
    let Some(id) = path
        .file_name()
        .and_then(|name| name.to_str()?.strip_prefix(PREFIX))
    else {
        return false;
    };
    let exact = Uuid::try_parse(id).is_ok_and(|uuid| uuid.hyphenated().to_string() == id);
    // As text: components() would drop a `.` and a doubled slash.
    exact && path.as_os_str() == parent.join(format!("{PREFIX}{id}")).as_os_str()
}

/// What the backend wrote into its root. A link could name another stack's labels.
fn labels_of(root: &Path) -> Option<Labels> {
    let file = root.join(LABELS_FILE);
    if !file.symlink_metadata().ok()?.is_file() {
        return None;
    }
    Labels::from_lines(&std::fs::read_to_string(file).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn root(parent: &Path, labels: &str) -> PathBuf {
        let path = parent.join(format!("{PREFIX}{}", Uuid::new_v4()));
        fs::create_dir_all(path.join("game")).unwrap();
        if !labels.is_empty() {
            let labels: Labels = labels.parse().unwrap();
            fs::write(path.join(LABELS_FILE), labels.to_lines()).unwrap();
        }
        path
    }

    const OURS: &str = "galaxy.backend=1,galaxy.checkout=aa,galaxy.stack=integration";

    fn ours() -> Labels {
        "galaxy.checkout=aa,galaxy.stack=integration"
            .parse()
            .unwrap()
    }

    #[test]
    fn what_carries_the_labels_goes_and_the_rest_stays() {
        let tmp = tempfile::tempdir().unwrap();
        let gone = [root(tmp.path(), OURS), root(tmp.path(), OURS)];
        let stay = [
            root(
                tmp.path(),
                "galaxy.backend=1,galaxy.checkout=bb,galaxy.stack=integration",
            ),
            root(
                tmp.path(),
                "galaxy.backend=1,galaxy.checkout=aa,galaxy.stack=dev-deploy",
            ),
            root(tmp.path(), ""),
        ];
        let removed = remove(tmp.path(), &ours(), &[]).unwrap();
        assert!(removed.len() == gone.len() && gone.iter().all(|path| removed.contains(path)));
        assert!(gone.iter().all(|path| !path.exists()));
        assert!(stay.iter().all(|path| path.exists()));
    }

    #[test]
    fn a_root_without_labels_goes_when_it_is_named() {
        let tmp = tempfile::tempdir().unwrap();
        let (named, other) = (root(tmp.path(), ""), root(tmp.path(), ""));
        remove(tmp.path(), &ours(), std::slice::from_ref(&named)).unwrap();
        assert!(!named.exists() && other.exists());
        // Gone already is no error: the aim is reached.
        assert!(remove(tmp.path(), &ours(), &[named]).unwrap().is_empty());
    }

    #[test]
    fn links_are_never_followed() {
        let tmp = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let kept = outside.path().join("kept");
        fs::write(&kept, "").unwrap();
        fs::write(outside.path().join(LABELS_FILE), ours().to_lines()).unwrap();
        let link = tmp.path().join(format!("{PREFIX}{}", Uuid::new_v4()));
        symlink(outside.path(), &link).unwrap();
        let inside = root(tmp.path(), OURS);
        symlink(outside.path(), inside.join("link")).unwrap();
        let borrowed = root(tmp.path(), "");
        symlink(outside.path().join(LABELS_FILE), borrowed.join(LABELS_FILE)).unwrap();

        remove(tmp.path(), &ours(), std::slice::from_ref(&link)).unwrap();
        assert!(kept.exists() && link.exists() && borrowed.exists());
        assert!(!inside.exists());
    }

    #[test]
    fn what_is_not_named_as_a_root_is_refused_before_anything_goes() {
        let tmp = tempfile::tempdir().unwrap();
        let ours_too = root(tmp.path(), OURS);
        let id = Uuid::new_v4();
        let at = |text: String| tmp.path().join(text);
        for path in [
            at(String::new()),
            at(format!("{PREFIX}{id}/..")),
            at(format!("{PREFIX}{id}/{PREFIX}{id}")),
            at(format!("./{PREFIX}{id}")),
            at(format!("{PREFIX}{id}/")),
            at(format!("{PREFIX}{}", id.simple())),
            at(format!("{PREFIX}x")),
            at(PREFIX.to_owned()),
            PathBuf::from("/etc"),
            PathBuf::from(format!("{PREFIX}{id}")),
        ] {
            let result = remove(tmp.path(), &ours(), std::slice::from_ref(&path));
            assert!(
                matches!(result, Err(StateRootError::NotAStateRoot(_))),
                "{path:?}"
            );
        }
        assert!(ours_too.exists());
    }
}
