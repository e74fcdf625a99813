//! Files by glob.
//!
//! The glob crate matches; walking is our own, because its walk panics on a name that is not
//! UTF-8, and anybody can put such a name into `/tmp`.

use std::collections::BTreeMap;
use std::fs::{DirEntry, FileType};
use std::io;
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern, PatternError};

const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// What is at a path, by its entry in its directory: looking at each of ten thousand files once more
/// would take longer than to find them.
#[derive(Debug)]
pub enum Found {
    File,
    /// A directory, a link, or something else.
    Other,
    /// A directory that cannot be read, which stands for what it may hold.
    Unreadable(io::Error),
}

impl Found {
    fn of(kind: FileType) -> Self {
        if kind.is_file() {
            Self::File
        } else {
            Self::Other
        }
    }
}

/// What a glob matches below a directory, each path once.
///
/// `*`, `?` and `[…]` match within a name (its invalid bytes as U+FFFD), and no leading dot; `**`
/// is any number of directories, without following links.
///
/// # Errors
///
/// Fails on a glob that cannot be read.
pub fn walk(root: &Path, glob: &str) -> Result<BTreeMap<PathBuf, Found>, PatternError> {
    let parts = glob
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .map(Part::new)
        .collect::<Result<Vec<_>, _>>()?;
    let mut found = BTreeMap::new();
    descend(root, &parts, &mut found);
    Ok(found)
}

enum Part {
    Literal(String),
    Name(Pattern),
    Anywhere,
}

impl Part {
    fn new(text: &str) -> Result<Self, PatternError> {
        Ok(if text == "**" {
            Self::Anywhere
        } else if text.contains(['*', '?', '[']) {
            Self::Name(Pattern::new(text)?)
        } else {
            Self::Literal(text.to_owned())
        })
    }
}

fn descend(directory: &Path, parts: &[Part], found: &mut BTreeMap<PathBuf, Found>) {
    let Some((part, rest)) = parts.split_first() else {
        return;
    };
    match part {
        Part::Literal(name) => take(directory.join(name), None, rest, found),
        Part::Name(pattern) => {
            for entry in entries(directory, found) {
                let name = entry.file_name();
                if pattern.matches_with(&name.to_string_lossy(), OPTIONS) {
                    take(directory.join(name), entry.file_type().ok(), rest, found);
                }
            }
        }
        Part::Anywhere => {
            descend(directory, rest, found);
            for entry in entries(directory, found) {
                let name = entry.file_name();
                let hidden = name.as_encoded_bytes().starts_with(b".");
                if !hidden && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    descend(&directory.join(name), parts, found);
                }
            }
        }
    }
}

/// `kind` is known where the path was read from its directory.
fn take(
    path: PathBuf,
    kind: Option<FileType>,
    rest: &[Part],
    found: &mut BTreeMap<PathBuf, Found>,
) {
    if !rest.is_empty() {
        descend(&path, rest, found);
        return;
    }
    let look = || path.symlink_metadata().ok().map(|it| it.file_type());
    if let Some(kind) = kind.or_else(look) {
        found.insert(path, Found::of(kind));
    }
}

/// What is in a directory. One that is none, or that is not there, holds nothing.
fn entries(directory: &Path, found: &mut BTreeMap<PathBuf, Found>) -> Vec<DirEntry> {
    match std::fs::read_dir(directory) {
        Ok(entries) => entries.flatten().collect(),
        Err(error) => {
            let nothing = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory];
            if !nothing.contains(&error.kind()) {
                found.insert(directory.to_owned(), Found::Unreadable(error));
            }
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    fn found(root: &Path, glob: &str) -> Vec<String> {
        walk(root, glob)
            .unwrap()
            .into_keys()
            .map(|path| {
                let below = path.strip_prefix(root).unwrap_or(&path);
                below.to_string_lossy().into_owned()
            })
            .collect()
    }

    #[test]
    fn names_that_are_no_text_links_and_odd_directories_are_walked() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("ro[o]t");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        for file in ["a/one.sh", "a/b/two.sh", "a/.hidden.sh", "a/no.md"] {
            std::fs::write(root.join(file), "").unwrap();
        }
        let odd = root.join("a").join(OsStr::from_bytes(b"bad\xff.sh"));
        std::fs::write(odd, "").unwrap();
        std::os::unix::fs::symlink(&root, root.join("a/loop")).unwrap();
        assert_eq!(found(&root, "a/*.sh"), ["a/bad\u{fffd}.sh", "a/one.sh"]);
        assert_eq!(
            found(&root, "./**/*.sh"),
            ["a/b/two.sh", "a/bad\u{fffd}.sh", "a/one.sh"]
        );
        assert_eq!(found(&root, "a/one.sh"), ["a/one.sh"]);
        assert_eq!(found(&root, "a/one.sh/*"), Vec::<String>::new());
        assert_eq!(found(&root, "none/*.sh"), Vec::<String>::new());
        assert_eq!(found(&root.join("a"), "../a/o*").len(), 1);
        assert!(walk(&root, "[").is_err());
    }
}
