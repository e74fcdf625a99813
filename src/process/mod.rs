//! Child processes that cannot hang us and cannot outlive us.
//!
//! Each child leads a process group of its own, reads nothing, and is over when it is reaped, not
//! when its pipe closes. What it leaves is found also where it has left the group. Nothing here knows
//! what a replay or a hook is.

mod aside;
mod brand;
mod capture;
mod control;
mod freeze;
mod group;
mod guard;
mod lines;
mod remains;
mod signals;
mod spec;
mod subreaper;
mod supervise;
mod sweep;
mod table;

pub use aside::ask;
pub use capture::{Capture, CaptureLimits, gap_line, times_file};
pub use control::{Control, Controller, Phase, Stopwatch};
pub use group::own_group;
pub use guard::{Guard, GuardCommand, Parting, stand_guard};
pub use signals::{die_of, end_asked, listen};
pub use spec::{Escaped, SpawnError, Spec};
pub use subreaper::{Adopted, Adopting, MARK, adopt};
pub use supervise::{Finished, ProcessEvent, supervise};
pub use sweep::{Sweep, sweep};
pub use table::GUARD;
