//! Child processes that cannot hang us and cannot outlive us.
//!
//! Each child leads a process group of its own, reads nothing, and is over when it is reaped, not
//! when its pipe closes. Nothing here knows what a replay or a hook is.

mod capture;
mod control;
mod group;
mod lines;
mod signals;
mod spec;
mod supervise;

pub use capture::{Capture, CaptureLimits};
pub use control::{Control, Controller, Phase, Stopwatch};
pub use signals::{die_of, listen};
pub use spec::{SpawnError, Spec};
pub use supervise::{Finished, ProcessEvent, supervise};
