//! What is in an archive into a private directory.

use std::cell::Cell;
use std::fs::{DirBuilder, File};
use std::io::{self, BufReader, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

use flate2::bufread::MultiGzDecoder;

use super::ArchiveError;
use super::place::Place;
use super::zstd::Frames;
use super::{tarball, zipfile};
use crate::record::log::FILE_NAME;

/// How deep in an archive a run may lie.
const DEPTH: usize = 4;
/// How deep a file may lie: its directories are made as well, whether they are named or not.
const DEEPEST: usize = 128;
const CHUNK: usize = 64 * 1024;

/// How much an archive may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of all files together, unpacked.
    pub bytes: u64,
    /// Files, directories and all else.
    pub entries: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 8 << 30,
            entries: 200_000,
        }
    }
}

/// A run's directory out of an archive. It is removed when this is dropped.
#[derive(Debug)]
pub struct Unpacked {
    run: PathBuf,
    /// Links, devices and the like, which are not made.
    pub left_out: usize,
    _place: Place,
}

impl Unpacked {
    /// The directory of the run.
    pub fn directory(&self) -> &Path {
        &self.run
    }
}

/// Unpacks an archive of one run to a private directory below `base`. What it is compressed by is
/// told by its first bytes, not by its name.
///
/// # Errors
///
/// Fails on what is no such archive, is damaged or cut off, names files outside of itself, holds
/// more than the limits, or not just one run; and once `interrupted` is set.
pub fn unpack(
    archive: &Path,
    base: &Path,
    limits: Limits,
    interrupted: &AtomicBool,
) -> Result<Unpacked, ArchiveError> {
    let read = |source| ArchiveError::Read {
        path: archive.to_owned(),
        source,
    };
    let mut file = File::open(archive).map_err(read)?;
    if !file.metadata().map_err(read)?.is_file() {
        return Err(ArchiveError::Unknown(archive.to_owned()));
    }
    let kind = Kind::of(&mut file)
        .map_err(read)?
        .ok_or_else(|| ArchiveError::Unknown(archive.to_owned()))?;
    let place = Place::new(base).map_err(|source| ArchiveError::Write {
        path: base.to_owned(),
        source,
    })?;
    let mut target = Target {
        root: place.path(),
        limits,
        bytes: 0,
        entries: 0,
        left_out: 0,
        interrupted,
    };
    let source = BufReader::with_capacity(CHUNK, file);
    let done = match kind {
        Kind::Zstd => tarball::read(Frames::new(source), &mut target),
        Kind::Gzip => tarball::read(MultiGzDecoder::new(source), &mut target),
        Kind::Tar => tarball::read(source, &mut target),
        Kind::Zip => zipfile::read(source, &mut target),
    };
    done.map_err(|problem| problem.of(archive, &place.path()))?;
    let run = find_run(&place.path(), archive)?;
    Ok(Unpacked {
        run,
        left_out: target.left_out,
        _place: place,
    })
}

#[derive(Clone, Copy)]
enum Kind {
    Zstd,
    Gzip,
    Tar,
    Zip,
}

impl Kind {
    fn of(file: &mut File) -> io::Result<Option<Self>> {
        let mut first = Vec::new();
        Read::take(&mut *file, 512).read_to_end(&mut first)?;
        file.rewind()?;
        Ok(match first.as_slice() {
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Some(Self::Zip),
            block if block.get(257..262) == Some(b"ustar") => Some(Self::Tar),
            _ => None,
        })
    }
}

/// Why unpacking stopped.
#[derive(Debug)]
pub(super) enum Problem {
    Damaged(String),
    Refused(String),
    Write(io::Error),
    Interrupted,
}

impl Problem {
    fn of(self, archive: &Path, target: &Path) -> ArchiveError {
        let path = archive.to_owned();
        match self {
            Self::Damaged(why) => ArchiveError::Damaged { path, why },
            Self::Refused(why) => ArchiveError::Refused { path, why },
            Self::Write(source) => ArchiveError::Write {
                path: target.to_owned(),
                source,
            },
            Self::Interrupted => ArchiveError::Interrupted,
        }
    }
}

/// What could not be read of an archive.
impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        if error.get_ref().is_some_and(|inner| inner.is::<Stopped>()) {
            return Self::Interrupted;
        }
        if error.get_ref().is_some_and(|inner| inner.is::<TooMuch>()) {
            return Self::Refused(TooMuch.to_string());
        }
        Self::Damaged(error.to_string())
    }
}

/// A stream of which so much may be read as is allowed at the moment. It ends in an error where
/// that is used up, or somebody wants an end.
pub(super) struct Metered<'a, R> {
    pub(super) stream: R,
    pub(super) allowance: Rc<Cell<u64>>,
    pub(super) interrupted: &'a AtomicBool,
}

#[derive(Debug, thiserror::Error)]
#[error("one of its headers, or what is behind its end, is too large")]
struct TooMuch;

#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
struct Stopped;

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(io::Error::other(Stopped));
        }
        let allowance = self.allowance.get();
        let room = usize::try_from(allowance).map_or(buffer.len(), |most| most.min(buffer.len()));
        if room == 0 && !buffer.is_empty() {
            return Err(io::Error::other(TooMuch));
        }
        let read = self
            .stream
            .read(buffer.get_mut(..room).unwrap_or_default())?;
        self.allowance.set(allowance.saturating_sub(read as u64));
        Ok(read)
    }
}

impl<R: Seek> Seek for Metered<'_, R> {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        self.stream.seek(to)
    }
}

/// The directory that is filled. It is ours and empty at first, and no link is ever made in it: a
/// plain path below it stays below it.
pub(super) struct Target<'a> {
    root: PathBuf,
    limits: Limits,
    bytes: u64,
    entries: usize,
    left_out: usize,
    pub(super) interrupted: &'a AtomicBool,
}

impl Target<'_> {
    /// Each entry is counted by this or one of the others.
    pub(super) fn leave_out(&mut self) -> Result<(), Problem> {
        self.left_out += 1;
        self.count()
    }

    fn count(&mut self) -> Result<(), Problem> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(self.too_many());
        }
        Ok(())
    }

    pub(super) fn directory(&mut self, name: &[u8]) -> Result<(), Problem> {
        let made = self.make_directories(name, &plain(name)?)?;
        if made == 0 { self.count() } else { Ok(()) }
    }

    /// Each that is made counts. Gives how many those are.
    fn make_directories(&mut self, name: &[u8], inside: &Path) -> Result<usize, Problem> {
        let mut path = self.root.clone();
        let mut made = 0;
        for part in inside.components() {
            path.push(part);
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => made += 1,
                Err(_) if path.is_dir() => continue,
                Err(error) => return Err(unusable(name, error)),
            }
            self.count()?;
        }
        Ok(made)
    }

    /// Whether so many more entries may come.
    pub(super) fn expect(&self, entries: usize) -> Result<(), Problem> {
        if entries > self.limits.entries {
            return Err(self.too_many());
        }
        Ok(())
    }

    fn too_many(&self) -> Problem {
        let most = self.limits.entries;
        Problem::Refused(format!("it holds more than {most} files"))
    }

    /// A file is written as far as it can be read.
    pub(super) fn file(&mut self, name: &[u8], mut content: impl Read) -> Result<(), Problem> {
        self.count()?;
        let inside = plain(name)?;
        if let Some(parent) = inside.parent() {
            self.make_directories(name, parent)?;
        }
        let path = self.root.join(inside);
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| unusable(name, error))?;
        let mut chunk = vec![0; CHUNK];
        loop {
            if self.interrupted.load(Ordering::Relaxed) {
                return Err(Problem::Interrupted);
            }
            let read = match content.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            self.bytes += read as u64;
            if self.bytes > self.limits.bytes {
                let most = self.limits.bytes >> 20;
                return Err(Problem::Refused(format!(
                    "it holds more than {most} MiB when it is unpacked"
                )));
            }
            let bytes = chunk.get(..read).unwrap_or_default();
            file.write_all(bytes).map_err(Problem::Write)?;
        }
    }
}

/// Most of what can go wrong with a path is the archive's fault; a full disk is not.
fn unusable(name: &[u8], error: io::Error) -> Problem {
    use io::ErrorKind::{
        AlreadyExists, InvalidFilename, InvalidInput, IsADirectory, NotADirectory,
    };
    match error.kind() {
        AlreadyExists | InvalidFilename | InvalidInput | IsADirectory | NotADirectory => {
            Problem::Damaged(format!("{}: {error}", shown(name)))
        }
        _ => Problem::Write(error),
    }
}

/// A path that stays where it is joined to.
fn plain(name: &[u8]) -> Result<PathBuf, Problem> {
    let path = Path::new(std::ffi::OsStr::from_bytes(name));
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => plain.push(part),
            Component::CurDir => {}
            Component::RootDir | Component::ParentDir | Component::Prefix(_) => {
                return Err(Problem::Refused(format!(
                    "it names a file outside of itself: {}",
                    shown(name)
                )));
            }
        }
    }
    if plain.components().count() > DEEPEST {
        return Err(Problem::Refused(format!(
            "it nests directories deeper than {DEEPEST}: {}",
            shown(name)
        )));
    }
    Ok(plain)
}

fn shown(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    if text.chars().count() <= 200 {
        return text.into_owned();
    }
    let start: String = text.chars().take(200).collect();
    format!("{start}…")
}

/// The one directory with an event log.
fn find_run(root: &Path, archive: &Path) -> Result<PathBuf, ArchiveError> {
    let mut found = Vec::new();
    let mut level = vec![root.to_owned()];
    for _ in 0..DEPTH {
        let (runs, others): (Vec<_>, Vec<_>) = level
            .into_iter()
            .partition(|directory| directory.join(FILE_NAME).is_file());
        found.extend(runs);
        // A run has directories of its own, and none of them is another run.
        level = others.iter().flat_map(|other| directories(other)).collect();
    }
    match found.as_slice() {
        [run] => Ok(run.clone()),
        [] => Err(ArchiveError::NoRun(archive.to_owned())),
        several => {
            let name = |run: &PathBuf| {
                let inside = run.strip_prefix(root).unwrap_or(run);
                inside.to_string_lossy().into_owned()
            };
            let mut runs: Vec<String> = several.iter().map(name).collect();
            runs.sort();
            runs.truncate(10);
            Err(ArchiveError::Several {
                path: archive.to_owned(),
                runs,
            })
        }
    }
}

fn directories(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|found| found.is_dir()))
        .map(|entry| entry.path())
        .collect()
}
