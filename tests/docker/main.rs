//! The engine adapter, the watcher and the log follower against a real daemon, and against
//! sockets that behave badly.
//!
//! Without a daemon these tests say that they were skipped, and fail instead where
//! `TACKROOM_REQUIRE_DOCKER=1`. Every test has a label of its own, and removes what carries it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test says what went wrong by panicking"
)]

mod contract;
mod failures;
mod following;
mod origins;
mod paging;
mod printing;
mod recording;
mod teardown;
mod watching;
mod world;
