//! Bytes to safe, measured text; and matching. Knows nothing else of the crate.

pub mod lines;
