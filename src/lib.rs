//! tackroom: a terminal dashboard and headless runner for Docker test harnesses.
//!
//! The crate is a house of layers; a module imports only from rows below its own, and modules
//! of one row never import each other (`tests/architecture.rs` holds that):
//!
//! ```text
//! 8  main
//! 7  cli          one file per command; the only place that prints
//! 6  tui          the dashboard: state, update, view, runtime (feature `tui`)
//! 5  bootstrap    configuration -> a ready context
//! 4  harness      up, ready, seed, replays, teardown as one stream of events
//! 3  logs  watch  replay  lifecycle  teardown  record  report  docker
//! 2  engine  process  config  codec
//! 1  domain
//! 0  text
//! ```

pub mod bootstrap;
pub mod cli;
pub mod codec;
pub mod config;
pub mod docker;
pub mod domain;
pub mod engine;
pub mod harness;
pub mod lifecycle;
pub mod logs;
pub mod process;
pub mod record;
pub mod replay;
pub mod report;
pub mod teardown;
pub mod text;
#[cfg(feature = "tui")]
pub mod tui;
pub mod watch;
