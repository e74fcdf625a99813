//! Finds replays by glob; nothing is registered.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{Config, walk};
use crate::domain::replay::{Header, Replay, ReplayName};

/// How much of a script is read to find its header.
const HEADER_BYTES: u64 = 16 * 1024;

/// The replays cannot be looked for.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    #[error("{glob:?} is not a glob: {source}")]
    Glob {
        glob: String,
        source: glob::PatternError,
    },
}

/// The replays of a configuration, by file.
///
/// Files that match several globs are found once. A file or directory that cannot be read is found
/// all the same: it could not start, and that is to be said rather than hidden.
///
/// # Errors
///
/// Fails on a glob that cannot be read.
pub fn discover(config: &Config) -> Result<Vec<Arc<Replay>>, DiscoverError> {
    let bad = |glob: &str, source| DiscoverError::Glob {
        glob: glob.to_owned(),
        source,
    };
    let exclude = config
        .replays
        .exclude
        .iter()
        .map(|glob| glob::Pattern::new(glob).map_err(|error| bad(glob, error)))
        .collect::<Result<Vec<_>, _>>()?;
    let mut paths = BTreeSet::new();
    let mut unreadable = BTreeMap::new();
    for glob in &config.replays.paths {
        let found = walk(&config.root, glob).map_err(|error| bad(glob, error))?;
        for (path, error) in found {
            // Which replays are in a directory that cannot be read nobody knows: it stands for them.
            if error.is_none() && path.is_dir() {
                continue;
            }
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if exclude.iter().any(|glob| glob.matches(&name)) {
                continue;
            }
            if let Some(error) = error {
                unreadable.insert(path.clone(), error);
            }
            paths.insert(path);
        }
    }
    let names = names(&paths);
    Ok(paths
        .into_iter()
        .zip(names)
        .map(|(path, name)| {
            Arc::new(Replay {
                name,
                file: path
                    .strip_prefix(&config.root)
                    .unwrap_or(&path)
                    .to_string_lossy()
                    .into_owned(),
                header: match unreadable.get(&path) {
                    Some(error) => unreadable_header(error),
                    None => header(&path),
                },
                path,
            })
        })
        .collect())
}

fn header(path: &Path) -> Header {
    let mut bytes = Vec::new();
    let read = open(path).and_then(|file| file.take(HEADER_BYTES).read_to_end(&mut bytes));
    match read {
        Ok(_) => Header::parse(&String::from_utf8_lossy(&bytes)),
        Err(error) => unreadable_header(&error),
    }
}

/// Opening a FIFO would wait for somebody who writes to it.
fn open(path: &Path) -> std::io::Result<File> {
    if std::fs::metadata(path)?.is_file() {
        File::open(path)
    } else {
        Err(std::io::Error::other("it is not a file"))
    }
}

fn unreadable_header(error: &std::io::Error) -> Header {
    Header {
        problems: vec![format!("cannot be read: {error}")],
        ..Header::default()
    }
}

/// File names without extension, with as many parent folders as it takes to be unique; files that
/// differ in nothing but their extension keep it. No two replays ever share a name: the result of
/// one would hide the other's.
fn names(paths: &BTreeSet<PathBuf>) -> Vec<ReplayName> {
    let stems: Vec<Vec<String>> = paths
        .iter()
        .map(|path| parts(&path.with_extension("")))
        .collect();
    let mut names = shortest(&stems);
    let ambiguous = repeated(&names);
    let files: Vec<Vec<String>> = paths
        .iter()
        .zip(&ambiguous)
        .filter(|(_, ambiguous)| **ambiguous)
        .map(|(path, _)| parts(path))
        .collect();
    let still_ambiguous = names.iter_mut().zip(ambiguous).filter(|(_, is)| *is);
    for ((name, _), file) in still_ambiguous.zip(shortest(&files)) {
        *name = file;
    }
    // What is left differs in bytes that are no text.
    let mut taken = BTreeSet::new();
    names
        .into_iter()
        .map(|name| {
            let mut unique = name.clone();
            let mut number = 2;
            while !taken.insert(unique.clone()) {
                unique = format!("{name}~{number}");
                number += 1;
            }
            ReplayName::new(unique)
        })
        .collect()
}

fn parts(path: &Path) -> Vec<String> {
    path.components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect()
}

/// The last part of each path, with as many before it as it takes to tell it from the others.
fn shortest(paths: &[Vec<String>]) -> Vec<String> {
    let last = |parts: &Vec<String>, count| parts[parts.len().saturating_sub(count)..].join("/");
    let deepest = paths.iter().map(Vec::len).max().unwrap_or(0);
    let mut chosen: Vec<String> = paths.iter().map(|parts| last(parts, 1)).collect();
    for count in 2..=deepest {
        let ambiguous = repeated(&chosen);
        for ((name, parts), _) in chosen
            .iter_mut()
            .zip(paths)
            .zip(ambiguous)
            .filter(|(_, is)| *is)
        {
            *name = last(parts, count);
        }
    }
    chosen
}

/// For each name, whether another one is equal to it.
fn repeated(names: &[String]) -> Vec<bool> {
    let mut count: BTreeMap<&String, usize> = BTreeMap::new();
    for name in names {
        *count.entry(name).or_default() += 1;
    }
    names
        .iter()
        .map(|name| count.get(name) > Some(&1))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[&str], paths: &[&str]) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "#!/bin/sh\n# It works.\n").unwrap();
        }
        let mut config = Config::without_file(dir.path());
        config.replays.paths = paths.iter().map(|path| (*path).to_owned()).collect();
        let replays = discover(&config).unwrap();
        assert!(
            replays
                .iter()
                .all(|replay| replay.header.description.as_deref() == Some("It works."))
        );
        replays
            .iter()
            .map(|replay| replay.name.to_string())
            .collect()
    }

    #[test]
    fn replays_are_found_without_registration_and_helpers_are_not() {
        let files = [
            "replays/b.sh",
            "replays/a.sh",
            "replays/_lib.sh",
            "replays/lib-http.sh",
            "replays/.hidden.sh",
            "replays/notes.md",
            "replays/deep/c.sh",
        ];
        assert_eq!(found(&files, &["replays/*.sh"]), ["a", "b"]);
        assert_eq!(
            found(&files, &["replays/**/*.sh", "./replays/*.sh"]),
            ["a", "b", "c"]
        );
    }

    #[test]
    fn what_is_no_file_is_found_and_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("a.sh");
        let mode = rustix::fs::Mode::RWXU;
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let mut config = Config::without_file(dir.path());
        config.replays.paths = vec!["*.sh".to_owned()];
        let replays = discover(&config).unwrap();
        assert_eq!(replays[0].name.as_str(), "a");
        assert_eq!(
            replays[0].header.problems,
            ["cannot be read: it is not a file"]
        );
    }

    #[test]
    fn a_name_is_as_long_as_it_takes_to_be_unique() {
        let files = [
            "x/one/a.sh",
            "x/two/a.sh",
            "x/b.sh",
            "x/b.py",
            "x/odd name é.sh",
        ];
        let mut names = found(&files, &["x/**/*"]);
        names.sort();
        assert_eq!(names, ["b.py", "b.sh", "odd name é", "one/a", "two/a"]);
    }

    #[test]
    fn no_two_replays_have_one_name() {
        let files = [
            "x/a.sh", "x/a.py", "y/a.sh", "y/a.py", "b.sh", "b.py", "b.py.sh",
        ];
        let mut names = found(&files, &["**/*"]);
        names.sort();
        assert_eq!(
            names,
            [
                "b.py", "b.py~2", "b.sh", "x/a.py", "x/a.sh", "y/a.py", "y/a.sh"
            ]
        );
    }
}
