//! Files of a recording: written whole or not at all, read only where they lie in it.

use std::fs::File;
use std::io::{self, BufRead, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::codec;

/// Writes a file so that it is never seen half written. What is no regular file, such as a device,
/// a FIFO or a link, is written to as it stands: a renamed file would take its place.
///
/// # Errors
///
/// Fails where it cannot be written; what was there before is then still there.
pub fn write_atomically(path: &Path, content: &[u8]) -> io::Result<()> {
    if path
        .symlink_metadata()
        .is_ok_and(|metadata| !metadata.is_file())
    {
        return open_now(path)?.write_all(content);
    }
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut temporary = name.to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = directory.join(temporary);
    let written =
        std::fs::write(&temporary, content).and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

/// More than a run of a hundred thousand replays has in the line that names them. A file may come
/// from anybody.
pub(super) const LONGEST_LINE: u64 = 64 * 1024 * 1024;

/// Reads a line, with its newline, into a buffer that holds nothing else then. One that is too long
/// is passed over and leaves it empty. Returns how many bytes of the file that were: none at its end.
///
/// # Errors
///
/// Fails where the file cannot be read.
pub(super) fn read_line(file: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<u64> {
    line.clear();
    let mut bounded = Read::take(&mut *file, LONGEST_LINE);
    let length = bounded.read_until(b'\n', line)? as u64;
    if bounded.limit() > 0 || line.ends_with(b"\n") {
        return Ok(length);
    }
    *line = Vec::new();
    Ok(length + file.skip_until(b'\n')? as u64)
}

/// Opens what is there, or says that a FIFO has no reader: it might be waited for for ever.
fn open_now(path: &Path) -> io::Result<File> {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    use std::os::unix::fs::OpenOptionsExt;
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)?;
    let flags = fcntl_getfl(&file)?;
    fcntl_setfl(&file, flags - OFlags::NONBLOCK)?;
    Ok(file)
}

/// The path of a file of a recording, if there is one. A recording may come from somebody else: a
/// link that leads out of it is none of its files, and neither is a FIFO, which could be waited for
/// for ever.
///
/// # Errors
///
/// Fails where it cannot be told.
pub(super) fn inside(directory: &Path, file: impl AsRef<Path>) -> io::Result<Option<PathBuf>> {
    let there = |path: &Path| match path.canonicalize() {
        Ok(path) => Ok(Some(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    let path = directory.join(file);
    let (Some(directory), Some(path)) = (there(directory)?, there(&path)?) else {
        return Ok(None);
    };
    Ok((path.starts_with(directory) && path.metadata()?.is_file()).then_some(path))
}

/// Opens what [`inside`] finds.
///
/// # Errors
///
/// Fails where it cannot be read.
pub(super) fn open_inside(
    directory: &Path,
    file: impl AsRef<Path>,
) -> io::Result<Option<(PathBuf, File)>> {
    match inside(directory, file)? {
        Some(path) => File::open(&path).map(|file| Some((path, file))),
        None => Ok(None),
    }
}

/// A file that ends with its last whole line, whatever happens.
#[derive(Debug)]
pub(super) struct Whole {
    file: File,
    /// Bytes of whole lines.
    pub(super) length: u64,
}

impl Whole {
    /// Goes behind the last whole line of a file, which is made if there is none. It is not touched
    /// where `admit` refuses.
    pub(super) fn open(
        path: &Path,
        admit: impl FnOnce(&File) -> io::Result<()>,
    ) -> io::Result<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        admit(&file)?;
        let mut whole = Self { file, length: 0 };
        whole.length = whole.end()?;
        whole.file.set_len(whole.length)?;
        whole.file.seek(SeekFrom::Start(whole.length))?;
        Ok(whole)
    }

    #[cfg(test)]
    pub(super) fn on(file: File) -> Self {
        Self { file, length: 0 }
    }

    /// Where the last whole line ends.
    fn end(&self) -> io::Result<u64> {
        let mut end = self.file.metadata()?.len();
        let mut block = vec![0; 64 * 1024];
        while end > 0 {
            let length = end.min(block.len() as u64);
            let start = end - length;
            let block = &mut block[..usize::try_from(length).unwrap_or_default()];
            self.file.read_exact_at(block, start)?;
            if let Some(newline) = memchr::memrchr(b'\n', block) {
                return Ok(start + newline as u64 + 1);
            }
            end = start;
        }
        Ok(0)
    }

    /// Appends whole lines. They are with the kernel when this returns.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(lines) {
            let _ = self.file.set_len(self.length);
            let _ = self.file.seek(SeekFrom::Start(self.length));
            return Err(error);
        }
        self.length += lines.len() as u64;
        Ok(())
    }

    /// Appends a value as one line that a terminal may show.
    pub(super) fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        let value = serde_json::to_value(value).map_err(io::Error::other)?;
        let mut line = codec::line(&value);
        line.push('\n');
        self.append(line.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_is_passed_over_and_not_held() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"a\n").unwrap();
        // A hole costs no disk.
        let length = LONGEST_LINE + 3;
        file.seek(SeekFrom::Current(length.cast_signed())).unwrap();
        file.write_all(b"\nb").unwrap();
        file.rewind().unwrap();
        let mut file = io::BufReader::new(file);
        let mut line = Vec::new();
        let mut next = || {
            let taken = read_line(&mut file, &mut line).unwrap();
            (taken, line.clone(), line.capacity() as u64 <= LONGEST_LINE)
        };
        assert_eq!(next(), (2, b"a\n".to_vec(), true));
        assert_eq!(next(), (length + 1, Vec::new(), true));
        assert_eq!(next(), (1, b"b".to_vec(), true));
        assert_eq!(next(), (0, Vec::new(), true));
    }

    #[test]
    fn what_leads_out_of_a_recording_is_not_in_it() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("run");
        std::fs::create_dir_all(directory.join("engine")).unwrap();
        std::fs::write(place.path().join("secret"), "secret").unwrap();
        std::fs::write(directory.join("engine/a"), "a").unwrap();
        std::os::unix::fs::symlink(place.path().join("secret"), directory.join("link")).unwrap();
        std::os::unix::fs::symlink(place.path(), directory.join("up")).unwrap();
        let there = |file: &str| inside(&directory, file).unwrap().is_some();
        assert!(there("engine/a"));
        for file in [
            "link",
            "up/secret",
            "../secret",
            "engine",
            "nothing",
            "no/thing",
        ] {
            assert!(!there(file), "{file}");
        }
    }
}
