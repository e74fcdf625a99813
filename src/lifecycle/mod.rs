//! The harness's own hooks, and the wait until it is ready.

mod hooks;
mod http;
mod ready;

pub use hooks::{HookSettings, run_hook};
pub use ready::{Readiness, wait_until_ready};
