//! A run's directory as one file, to be handed to somebody else, and back.
//!
//! What is packed is read back before it gets its name: a bundle is evidence. What is unpacked may
//! come from anybody: nothing of it is written outside of a private directory, no link and no
//! device is made, and its size is bounded.

mod pack;
mod place;
mod tarball;
#[cfg(test)]
mod tests;
mod unpack;
mod zipfile;
mod zstd;

use std::io;
use std::path::PathBuf;

pub use pack::{Packed, pack};
pub use unpack::{Limits, Unpacked, unpack};

/// An archive that cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{} is no archive: .tar.zst, .tar.gz, .tar and .zip can be opened", .0.display())]
    Unknown(PathBuf),
    #[error("{} is damaged: {why}", path.display())]
    Damaged { path: PathBuf, why: String },
    #[error("{} is refused: {why}", path.display())]
    Refused { path: PathBuf, why: String },
    #[error("{} holds no run", .0.display())]
    NoRun(PathBuf),
    #[error("{} holds several runs: {}; unpack it, and name the directory of one", path.display(), runs.join(", "))]
    Several { path: PathBuf, runs: Vec<String> },
    #[error("{} is there already", .0.display())]
    Exists(PathBuf),
    #[error("{} is none of the names of a bundle: it has to end in .tar.zst or .tar.gz", .0.display())]
    Name(PathBuf),
    #[error("it was interrupted")]
    Interrupted,
}
