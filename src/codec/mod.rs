//! A run's events as JSON, one object a line, and back.
//!
//! What programs read on stdout and what a run leaves in its event log has one shape and one
//! version. Fields and events may be added within a version; readers skip what they do not know.

mod decode;
mod encode;
mod scope;
mod tap;

use std::path::PathBuf;

use crate::domain::scope::{Scope, StackName};

pub use decode::{DecodeError, Line, What, decode};
pub use encode::{SCHEMA_VERSION, event, events, header, line, plan, replay, summary};

/// What an event log says of itself in its first line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The configuration's name.
    pub name: String,
    /// The configuration's directory, to which the files of replays are relative.
    pub root: PathBuf,
    /// What the run looked at; empty where that was not written down.
    pub scope: Scope,
    /// The stacks of the harness.
    pub harness: Vec<StackName>,
}
