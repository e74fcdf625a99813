//! Replays: found without registration, selected by pattern, run one at a time, judged.
//!
//! Knows nothing of stacks and hooks; the harness decides when replays may run.

mod discover;
mod dispatcher;
mod executor;
mod preflight;
mod select;

pub use discover::{DiscoverError, discover};
pub use dispatcher::{Dispatch, dispatch};
pub use executor::{Settings, execute};
pub use select::{NothingMatched, select};
