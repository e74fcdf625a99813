//! The entries of a zip archive.

use std::cell::Cell;
use std::io::{Read, Seek};
use std::rc::Rc;

use zip::ZipArchive;
use zip::result::ZipError;

use super::unpack::{Metered, Problem, Target};

/// The bits of a Unix mode that say what a file is.
const KIND: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;

/// The list of all entries, which is held in memory.
const DIRECTORY: u64 = 32 << 20;

pub(super) fn read(file: impl Read + Seek, target: &mut Target<'_>) -> Result<(), Problem> {
    let allowance = Rc::new(Cell::new(DIRECTORY));
    let mut archive = ZipArchive::new(Metered {
        stream: file,
        allowance: allowance.clone(),
        interrupted: target.interrupted,
    })
    .map_err(problem)?;
    target.expect(archive.len())?;
    // The target counts what comes of the entries.
    allowance.set(u64::MAX);
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(problem)?;
        let name = entry.name_raw().to_vec();
        // A zip made elsewhere says nothing about it.
        let kind = entry.unix_mode().map_or(0, |mode| mode & KIND);
        if entry.is_dir() {
            target.directory(&name)?;
        } else if kind == 0 || kind == REGULAR {
            target.file(&name, entry)?;
        } else {
            target.leave_out()?;
        }
    }
    Ok(())
}

fn problem(error: ZipError) -> Problem {
    match error {
        ZipError::Io(error) => error.into(),
        ZipError::UnsupportedArchive(why) => Problem::Refused(why.to_owned()),
        error => Problem::Damaged(error.to_string()),
    }
}
