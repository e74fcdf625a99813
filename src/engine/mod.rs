//! The port to a container engine: what the rest of the crate may ask of one.
//!
//! Nothing here knows a particular engine. `docker` implements the port for the Docker API,
//! [`fake`] in memory; both pass the same suite in [`contract`], which is what makes a test on
//! the fake worth having.

mod backoff;
pub mod contract;
mod error;
pub mod fake;
mod list;
mod look_up;
mod parts;
mod port;

pub use backoff::Backoff;
pub use error::{EngineError, ErrorKind};
pub use list::list_any;
pub use look_up::{complete, look_up};
pub use parts::parts;
pub use port::{Engine, Inspect, LogRequest, NetworkInfo, Removal, Stream, Tail, VolumeInfo};
