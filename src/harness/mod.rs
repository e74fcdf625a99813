//! The whole lifecycle as one stream of events: up, ready, seed, replays, teardown.
//!
//! The command line and the dashboard start a [`Session`] and consume what it says; neither
//! knows how it is done.

mod again;
mod changes;
mod clock;
mod environment;
mod fingerprint;
mod guard;
mod recorder;
mod session;
mod sink;
mod steps;
mod takedown;
mod writer;

pub use environment::Environment;
pub use session::{Consent, Harness, Request, Session, Teardown};
pub use sink::RunEvents;
