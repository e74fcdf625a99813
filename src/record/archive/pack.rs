//! A run's directory into one file.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, PipeReader, PipeWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use rustix::fs::OFlags;
use tempfile::NamedTempFile;

use super::ArchiveError;
use super::zstd::{Frames, compress};
use crate::domain::id::RunId;
use crate::record::Recording;

/// A bundle that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packed {
    /// Of the bundle.
    pub bytes: u64,
    /// Links, devices and the like, which may be anything on another machine.
    pub left_out: usize,
}

#[derive(Clone, Copy)]
enum Form {
    Zstd,
    Gzip,
}

impl Form {
    fn of(file: &Path) -> Option<Self> {
        let name = file.file_name()?.to_string_lossy().to_ascii_lowercase();
        let ends = |ends: [&str; 2]| ends.iter().any(|end| name.ends_with(end));
        if ends([".tar.zst", ".tzst"]) {
            Some(Self::Zstd)
        } else if ends([".tar.gz", ".tgz"]) {
            Some(Self::Gzip)
        } else {
            None
        }
    }
}

impl Recording {
    /// What the run is called in its bundle. An id may be anything in a log from elsewhere.
    pub fn bundle_name(&self) -> String {
        let id = self.summary.run.as_ref();
        let own = id.filter(|id| id.as_str().parse::<RunId>().is_ok());
        own.map_or_else(
            || {
                let directory = self.directory.canonicalize();
                let directory = directory.as_deref().unwrap_or(Path::new("run"));
                let name = directory.file_name().unwrap_or("run".as_ref());
                name.to_string_lossy().into_owned()
            },
            |id| id.as_str().to_owned(),
        )
    }
}

/// Packs the directory of a run into `file`, below a directory of the run's `name`. The bundle is
/// there when it is whole, and not before.
///
/// # Errors
///
/// Fails on a name that says nothing known about the format, where a file is there already and not
/// to be replaced, where something cannot be read or written; and once `interrupted` is set.
pub fn pack(
    directory: &Path,
    name: &str,
    file: &Path,
    replace: bool,
    interrupted: &AtomicBool,
) -> Result<Packed, ArchiveError> {
    let form = Form::of(file).ok_or_else(|| ArchiveError::Name(file.to_owned()))?;
    if !replace && file.symlink_metadata().is_ok() {
        return Err(ArchiveError::Exists(file.to_owned()));
    }
    let write = |source| ArchiveError::Write {
        path: file.to_owned(),
        source,
    };
    let parent = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let bundle = tempfile::Builder::new()
        .prefix(".tackroom-")
        .suffix(".part")
        .tempfile_in(parent)
        .map_err(write)?;
    let walk = Walk {
        directory,
        interrupted,
        left_out: 0,
    };
    let left_out = fill(form, &bundle, walk, name).map_err(|trouble| match trouble {
        Trouble::Read(path, source) => ArchiveError::Read { path, source },
        Trouble::Write(source) => write(source),
        Trouble::Interrupted => ArchiveError::Interrupted,
    })?;
    check(form, &bundle).map_err(write)?;
    let bytes = bundle.as_file().metadata().map_err(write)?.len();
    let kept = if replace {
        bundle.persist(file)
    } else {
        bundle.persist_noclobber(file)
    };
    match kept {
        Ok(_) => Ok(Packed { bytes, left_out }),
        Err(kept) if kept.error.kind() == io::ErrorKind::AlreadyExists => {
            Err(ArchiveError::Exists(file.to_owned()))
        }
        Err(kept) => Err(write(kept.error)),
    }
}

enum Trouble {
    Read(PathBuf, io::Error),
    Write(io::Error),
    Interrupted,
}

fn fill(
    form: Form,
    bundle: &NamedTempFile,
    mut walk: Walk<'_>,
    name: &str,
) -> Result<usize, Trouble> {
    let mut drain = BufWriter::new(bundle.as_file());
    let left_out = match form {
        Form::Gzip => {
            let encoder = GzEncoder::new(&mut drain, Compression::fast());
            let encoder = walk.write(encoder, name)?;
            encoder.finish().map_err(Trouble::Write)?;
            walk.left_out
        }
        // Its compressor asks for what it compresses, and tar is written: a pipe is between them.
        Form::Zstd => {
            let (reader, writer): (PipeReader, PipeWriter) = io::pipe().map_err(Trouble::Write)?;
            let (walked, compressed) = std::thread::scope(|scope| {
                let walking = scope.spawn(move || {
                    let writer = BufWriter::with_capacity(64 * 1024, writer);
                    let writer = walk.write(writer, name)?;
                    drop(writer.into_inner());
                    Ok(walk.left_out)
                });
                let compressed = compress(reader, &mut drain);
                let walked = walking.join();
                (walked, compressed)
            });
            // Where compressing failed, the pipe it left behind is no news.
            compressed.map_err(Trouble::Write)?;
            walked.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?
        }
    };
    drain.flush().map_err(Trouble::Write)?;
    Ok(left_out)
}

/// Reads back what was written.
fn check(form: Form, bundle: &NamedTempFile) -> io::Result<()> {
    let written = BufReader::new(bundle.reopen()?);
    let read = |mut stream: Box<dyn Read>| io::copy(&mut stream, &mut io::sink());
    match form {
        Form::Zstd => read(Box::new(Frames::new(written))),
        Form::Gzip => read(Box::new(MultiGzDecoder::new(written))),
    }
    .map(|_| ())
}

struct Walk<'a> {
    directory: &'a Path,
    interrupted: &'a AtomicBool,
    left_out: usize,
}

impl Walk<'_> {
    fn write<W: Write>(&mut self, drain: W, name: &str) -> Result<W, Trouble> {
        let mut builder = tar::Builder::new(drain);
        let directory = self.directory.to_owned();
        self.add_directory(&mut builder, &directory, Path::new(name))?;
        builder.into_inner().map_err(Trouble::Write)
    }

    fn add_directory<W: Write>(
        &mut self,
        builder: &mut tar::Builder<W>,
        directory: &Path,
        name: &Path,
    ) -> Result<(), Trouble> {
        let read = |source| Trouble::Read(directory.to_owned(), source);
        let metadata = directory.metadata().map_err(read)?;
        let mut header = header(&metadata, tar::EntryType::Directory, 0o700);
        builder
            .append_data(&mut header, name, io::empty())
            .map_err(Trouble::Write)?;
        let entries: io::Result<Vec<_>> = std::fs::read_dir(directory).map_err(read)?.collect();
        let mut entries = entries.map_err(read)?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            if self.interrupted.load(Ordering::Relaxed) {
                return Err(Trouble::Interrupted);
            }
            let (path, name) = (entry.path(), name.join(entry.file_name()));
            let kind = entry.file_type().map_err(read)?;
            if kind.is_dir() {
                self.add_directory(builder, &path, &name)?;
            } else if kind.is_file() {
                self.add_file(builder, &path, &name)?;
            } else {
                self.left_out += 1;
            }
        }
        Ok(())
    }

    fn add_file<W: Write>(
        &self,
        builder: &mut tar::Builder<W>,
        path: &Path,
        name: &Path,
    ) -> Result<(), Trouble> {
        let read = |source| Trouble::Read(path.to_owned(), source);
        // Something else may have taken its place meanwhile, such as a FIFO.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = File::options()
            .read(true)
            .custom_flags(flags.bits().cast_signed())
            .open(path)
            .map_err(read)?;
        let metadata = file.metadata().map_err(read)?;
        let mut header = header(&metadata, tar::EntryType::Regular, 0o600);
        header.set_size(metadata.len());
        let mut content = Content {
            // What is written to it meanwhile is not in its header.
            file: file.take(metadata.len()),
            left: metadata.len(),
            failed: None,
            interrupted: self.interrupted,
        };
        let added = builder.append_data(&mut header, name, &mut content);
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Trouble::Interrupted);
        }
        match content.failed {
            Some(error) => Err(read(error)),
            None => added.map_err(Trouble::Write),
        }
    }
}

/// Without what is nobody's business elsewhere: owners and modes.
fn header(metadata: &std::fs::Metadata, kind: tar::EntryType, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    let modified = metadata
        .modified()
        .ok()
        .and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    header.set_mtime(modified.map_or(0, |since| since.as_secs()));
    header.set_size(0);
    header
}

/// The bytes of one file. It keeps its own errors apart from those of the drain.
struct Content<'a> {
    file: io::Take<File>,
    left: u64,
    failed: Option<io::Error>,
    interrupted: &'a AtomicBool,
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Other.into());
        }
        let read = match self.file.read(buffer) {
            Ok(0) if self.left > 0 && !buffer.is_empty() => {
                Err(io::Error::other("it became shorter while it was read"))
            }
            read => read,
        };
        match read {
            Ok(read) => {
                self.left = self.left.saturating_sub(read as u64);
                Ok(read)
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::Interrupted {
                    let again = io::Error::new(error.kind(), error.to_string());
                    self.failed = Some(again);
                }
                Err(error)
            }
        }
    }
}
