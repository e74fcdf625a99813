//! The containers of a scope, kept up to date.
//!
//! The engine's events say *that* something changed, its list says *what* is there now: every
//! event only leads to another list, so a lost event costs a delay and never a wrong row.

mod reconcile;
mod sampler;
#[cfg(test)]
mod tests;
mod watcher;

use std::sync::Arc;
use std::time::Duration;

pub use sampler::sample;
pub use watcher::watch;

use crate::domain::container::Container;
use crate::domain::event::EngineEvent;
use crate::domain::link::Link;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// All containers of the scope, by group and title. Sent when anything in it changed; the
    /// last one stays true for as long as the link is lost.
    Containers(Arc<[Container]>),
    /// Something happened to a container of the scope.
    Engine(EngineEvent),
    /// Up means that from here on nothing is missed; first rows may have been told before.
    Link(Link),
}

#[derive(Clone, Copy, Debug)]
pub struct WatchOptions {
    /// After an event the list is read when this long nothing further has happened …
    pub debounce: Duration,
    /// … and after this long in any case.
    pub patience: Duration,
    /// The list is read this often even if nothing happens.
    pub refresh: Duration,
    /// Inspects that may be under way at the same time.
    pub inspects: usize,
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self {
            debounce: Duration::from_millis(50),
            patience: Duration::from_millis(500),
            refresh: Duration::from_secs(30),
            inspects: 8,
        }
    }
}
