//! Replays: found without registration, selected, put in order, run, judged.
//!
//! Knows nothing of stacks and hooks; the harness decides when replays may run.

mod discover;
mod dispatcher;
mod executor;
mod limit;
mod order;
mod preflight;
mod queue;
mod select;
mod selection;
mod shard;
mod tags;

pub use discover::{DiscoverError, discover};
pub use dispatcher::{Dispatch, Policy, Rounds, dispatch};
pub use executor::Settings;
pub use limit::limits;
pub use order::Order;
pub use select::NothingMatched;
pub use selection::{Chosen, Idle, Selection, SelectionError};
pub use shard::{Shard, ShardError};
pub use tags::{TagError, TagExpr};
