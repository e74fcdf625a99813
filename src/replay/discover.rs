//! Finds replays by glob; nothing is registered.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{Config, Found, Suite, walk};
use crate::domain::replay::{Header, Replay, ReplayName};

/// How much of a script is read to find its header.
const HEADER_BYTES: usize = 16 * 1024;

/// The replays cannot be looked for.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    #[error("{glob:?} is not a glob: {source}")]
    Glob {
        glob: String,
        source: glob::PatternError,
    },
}

/// The replays of a configuration: by suite, in the order of the configuration, and by file.
///
/// A file that several suites find belongs to the first `[[suite]]` that does, and to `[replays]`
/// where none does; what several globs match is found once. A file or directory that cannot be read
/// is found all the same: it could not start, and that is to be said rather than hidden.
///
/// # Errors
///
/// Fails on a glob that cannot be read.
pub fn discover(config: &Config) -> Result<Vec<Arc<Replay>>, DiscoverError> {
    let replays = &config.replays;
    let mut taken = BTreeSet::new();
    let mut by_suite = Vec::new();
    for suite in replays.others.iter().chain([&replays.default]) {
        let mut found = files(&config.root, suite)?;
        found.retain(|path, _| taken.insert(path.clone()));
        by_suite.push((suite, found));
    }
    by_suite.rotate_right(1);
    let names = names(&taken);
    let mut replays = Vec::with_capacity(taken.len());
    let mut buffer = vec![0; HEADER_BYTES];
    for (suite, found) in by_suite {
        for (path, found) in found {
            let mut header = match found {
                Found::Unreadable(error) => unreadable_header(&error),
                Found::File => header(File::open(&path), &mut buffer),
                Found::Other => header(open(&path), &mut buffer),
            };
            inherit(&mut header, suite);
            replays.push(Arc::new(Replay {
                name: names[&path].clone(),
                suite: suite.name.clone(),
                file: path
                    .strip_prefix(&config.root)
                    .unwrap_or(&path)
                    .to_string_lossy()
                    .into_owned(),
                header,
                path,
            }));
        }
    }
    Ok(replays)
}

/// The files that the globs of suites match and their exclusions take out: what replays share.
///
/// # Errors
///
/// As [`discover`].
pub fn helpers(config: &Config) -> Result<BTreeSet<PathBuf>, DiscoverError> {
    let mut helpers = BTreeSet::new();
    for suite in config.replays.suites() {
        let all = Suite {
            exclude: Vec::new(),
            executable: false,
            ..suite.clone()
        };
        let excluded = Suite {
            executable: false,
            ..suite.clone()
        };
        let replays = files(&config.root, &excluded)?;
        let all = files(&config.root, &all)?.into_keys();
        helpers.extend(all.filter(|path| !replays.contains_key(path)));
    }
    Ok(helpers)
}

/// What a suite's globs match and its exclusions do not, with why it cannot be looked into.
fn files(root: &Path, suite: &Suite) -> Result<BTreeMap<PathBuf, Found>, DiscoverError> {
    let bad = |glob: &str, source| DiscoverError::Glob {
        glob: glob.to_owned(),
        source,
    };
    let exclude = suite
        .exclude
        .iter()
        .map(|glob| glob::Pattern::new(glob).map_err(|error| bad(glob, error)))
        .collect::<Result<Vec<_>, _>>()?;
    let mut files = BTreeMap::new();
    for glob in &suite.paths {
        let root = match glob.starts_with('/') {
            true => Path::new("/"),
            false => root,
        };
        for (path, found) in walk(root, glob).map_err(|error| bad(glob, error))? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if exclude.iter().any(|glob| glob.matches(&name)) {
                continue;
            }
            // Which replays are in a directory that cannot be read nobody knows: it stands for them.
            let is_replay = match found {
                Found::Unreadable(_) => true,
                Found::File if !suite.executable => true,
                Found::File | Found::Other => is_replay(&path, suite),
            };
            if is_replay {
                files.insert(path, found);
            }
        }
    }
    Ok(files)
}

fn is_replay(path: &Path, suite: &Suite) -> bool {
    match std::fs::metadata(path) {
        Ok(metadata) if suite.executable => {
            metadata.is_file() && metadata.permissions().mode() & 0o111 != 0
        }
        Ok(metadata) => !metadata.is_dir(),
        // A link that leads nowhere.
        Err(_) => !suite.executable,
    }
}

/// What a suite says of all its replays counts as if each had said it.
fn inherit(header: &mut Header, suite: &Suite) {
    for (own, all) in [
        (&mut header.needs, &suite.needs),
        (&mut header.tags, &suite.tags),
        (&mut header.groups, &suite.groups),
    ] {
        let new = all.iter().filter(|word| !own.contains(word));
        let new: Vec<String> = new.cloned().collect();
        own.extend(new);
    }
    header.parallel |= suite.parallel;
}

fn header(file: io::Result<File>, buffer: &mut [u8]) -> Header {
    match file.and_then(|file| read(file, buffer)) {
        Ok(bytes) => Header::parse(&String::from_utf8_lossy(bytes)),
        Err(error) => unreadable_header(&error),
    }
}

/// The beginning of a file, as far as there is room for it.
fn read(mut file: File, buffer: &mut [u8]) -> io::Result<&[u8]> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(&buffer[..filled])
}

/// Opening a FIFO would wait for somebody who writes to it.
fn open(path: &Path) -> io::Result<File> {
    if std::fs::metadata(path)?.is_file() {
        File::open(path)
    } else {
        Err(io::Error::other("it is not a file"))
    }
}

fn unreadable_header(error: &io::Error) -> Header {
    Header {
        problems: vec![format!("cannot be read: {error}")],
        ..Header::default()
    }
}

/// File names without extension, with as many parent folders as it takes to be unique; files that
/// differ in nothing but their extension keep it. No two replays ever share a name: the result of
/// one would hide the other's.
fn names(paths: &BTreeSet<PathBuf>) -> BTreeMap<&PathBuf, ReplayName> {
    let stems: Vec<Vec<String>> = paths
        .iter()
        .map(|path| parts(&without_extension(path)))
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
    paths
        .iter()
        .zip(names)
        .map(|(path, name)| {
            let mut unique = name.clone();
            let mut number = 2;
            while !taken.insert(unique.clone()) {
                unique = format!("{name}~{number}");
                number += 1;
            }
            (path, ReplayName::new(unique))
        })
        .collect()
}

/// `check-1.2` has none.
fn without_extension(path: &Path) -> PathBuf {
    let extension = path.extension().unwrap_or_default().as_encoded_bytes();
    match extension.first() {
        Some(first) if first.is_ascii_alphabetic() => path.with_extension(""),
        _ => path.to_owned(),
    }
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
        if !ambiguous.contains(&true) {
            break;
        }
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
    let mut count: HashMap<&String, usize> = HashMap::new();
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
        config.replays.default.paths = paths.iter().map(|path| (*path).to_owned()).collect();
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
        config.replays.default.paths = vec!["*.sh".to_owned()];
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
