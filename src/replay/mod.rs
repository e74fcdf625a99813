//! Replays: found without registration, selected by pattern, run, judged.
//!
//! Knows nothing of stacks and hooks; the harness decides when replays may run.

mod discover;
mod dispatcher;
mod executor;
mod limit;
mod preflight;
mod queue;
mod select;

pub use discover::{DiscoverError, discover};
pub use dispatcher::{Dispatch, Policy, Rounds, dispatch};
pub use executor::Settings;
pub use limit::limits;
pub use select::{NothingMatched, select};
