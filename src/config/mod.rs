//! `tackroom.toml`: found, read, checked, and resolved into what the rest of the crate uses.
//!
//! Reading reports every mistake at once, each with file, line, key and, for a key that does not
//! exist, the nearest one that does.

mod env_file;
mod load;
mod reader;
mod schema;
mod suite;
mod walk;

pub use env_file::{expand, parse as parse_env_file};
pub use load::{ConfigError, FILE_NAME, Problem, discover, load, read};
pub use schema::{Config, Harness, Keep, Ready, Replays, RunIn, Suite};
pub use walk::{Found, walk};

/// A commented file for `tackroom init`, and the reference of every key.
pub const TEMPLATE: &str = include_str!("../../assets/tackroom.toml");
