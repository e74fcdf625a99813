//! Removing a stack, and nothing else: plan, confirmation, a second look at each item, removal,
//! and a check that nothing is left.

mod build;
mod execute;
mod state_dirs;

pub use build::{PlanError, build};
pub use execute::execute;
