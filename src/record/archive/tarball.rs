//! The entries of a tar archive.

use std::cell::Cell;
use std::io::Read;
use std::rc::Rc;

use tar::EntryType;

use super::unpack::{Metered, Problem, Target};

/// What stands before an entry: its header, long names and extended attributes, which are held in
/// memory.
const HEADER: u64 = 1 << 20;

pub(super) fn read(stream: impl Read, target: &mut Target<'_>) -> Result<(), Problem> {
    let allowance = Rc::new(Cell::new(HEADER));
    let mut archive = tar::Archive::new(Metered {
        stream,
        allowance: allowance.clone(),
        interrupted: target.interrupted,
    });
    let mut entries = archive.entries()?;
    while let Some(entry) = {
        allowance.set(HEADER);
        entries.next()
    } {
        let mut entry = entry?;
        let name = entry.path_bytes().into_owned();
        match entry.header().entry_type() {
            // Before there was a type for them, directories had a slash.
            EntryType::Regular if name.ends_with(b"/") => target.directory(&name)?,
            EntryType::Directory => target.directory(&name)?,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                // The target counts what comes of it.
                allowance.set(u64::MAX);
                target.file(&name, &mut entry)?;
            }
            EntryType::XGlobalHeader => {}
            _ => target.leave_out()?,
        }
    }
    // Behind the last entry there is little, and the checksum of what was compressed.
    std::io::copy(&mut archive.into_inner(), &mut std::io::sink())?;
    Ok(())
}
