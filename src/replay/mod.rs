//! Replays: found without registration, selected, put in order, run, judged.
//!
//! Knows nothing of stacks and hooks; the harness decides when replays may run.

mod discover;
mod dispatcher;
mod executor;
mod expression;
mod limit;
mod listener;
mod order;
mod place;
mod preflight;
mod query;
mod queue;
mod select;
mod selection;
mod shard;
mod tags;

pub use discover::{DiscoverError, discover, helpers};
pub use dispatcher::{Attempts, Dispatch, Policy, Rounds, dispatch};
pub use executor::Settings;
pub use expression::ExpressionError;
pub use limit::Timeouts;
pub use order::Order;
pub use query::{Query, QueryError, Trait};
pub use select::NothingMatched;
pub use selection::{Chosen, Idle, Selection, SelectionError};
pub use shard::{Shard, ShardError};
pub use tags::TagExpr;
