//! Files by glob.
//!
//! The glob crate matches; walking is our own, because its walk panics on a name that is not
//! UTF-8, and anybody can put such a name into `/tmp`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern, PatternError};

const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// What a glob matches below a directory, each path once. A directory that cannot be read stands
/// for what it may hold, with its error.
///
/// `*`, `?` and `[…]` match within a name (its invalid bytes as U+FFFD), and no leading dot; `**`
/// is any number of directories, without following links.
///
/// # Errors
///
/// Fails on a glob that cannot be read.
pub fn walk(root: &Path, glob: &str) -> Result<BTreeMap<PathBuf, Option<io::Error>>, PatternError> {
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

fn descend(directory: &Path, parts: &[Part], found: &mut BTreeMap<PathBuf, Option<io::Error>>) {
    let Some((part, rest)) = parts.split_first() else {
        return;
    };
    match part {
        Part::Literal(name) => take(directory.join(name), rest, found),
        Part::Name(pattern) => {
            for path in entries(directory, found) {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                if pattern.matches_with(&name, OPTIONS) {
                    take(path, rest, found);
                }
            }
        }
        Part::Anywhere => {
            descend(directory, rest, found);
            for path in entries(directory, found) {
                let name = path.file_name().unwrap_or_default();
                let hidden = name.as_encoded_bytes().starts_with(b".");
                if !hidden && path.symlink_metadata().is_ok_and(|entry| entry.is_dir()) {
                    descend(&path, parts, found);
                }
            }
        }
    }
}

fn take(path: PathBuf, rest: &[Part], found: &mut BTreeMap<PathBuf, Option<io::Error>>) {
    if !rest.is_empty() {
        descend(&path, rest, found);
    } else if path.symlink_metadata().is_ok() {
        found.insert(path, None);
    }
}

/// What is in a directory. One that is none, or that is not there, holds nothing.
fn entries(directory: &Path, found: &mut BTreeMap<PathBuf, Option<io::Error>>) -> Vec<PathBuf> {
    match std::fs::read_dir(directory) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(error) => {
            let nothing = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory];
            if !nothing.contains(&error.kind()) {
                found.insert(directory.to_owned(), Some(error));
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
