//! Bytes to safe, measured text; and matching. Knows nothing else of the crate.

pub mod ansi;
pub mod bar;
pub mod commands;
pub mod level;
pub mod lines;
pub mod matcher;
pub mod sanitize;
pub mod structured;
pub mod width;
