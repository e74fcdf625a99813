//! A run's events as JSON, one object a line, and back.
//!
//! What programs read on stdout and what a run leaves in its event log has one shape and one
//! version. Fields and events may be added within a version; readers skip what they do not know.

mod decode;
mod encode;

use std::path::PathBuf;

pub use decode::{DecodeError, Line, What, decode};
pub use encode::{SCHEMA_VERSION, event, header, line, plan, replay, summary};

/// What an event log says of itself in its first line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The configuration's name.
    pub name: String,
    /// The configuration's directory, to which the files of replays are relative.
    pub root: PathBuf,
}
