//! What a run says to whom: a terminal, a CI server, a program.
//!
//! Each report is a consumer of the run's events or of their summary, and writes to what it is
//! given; none of them knows the runner, and none opens a file.

mod comment;
#[cfg(test)]
mod fixtures;
mod github;
mod human;
mod junit;
mod markdown;
mod palette;
mod plan;
mod progress;
mod results;
mod tap;

pub use crate::codec::{
    SCHEMA_VERSION, events as json_events, line as json_line, plan as json_plan,
    replay as json_replay, summary as json_summary,
};
pub use comment::markdown;
pub use github::github;
pub use human::{Human, text};
pub use junit::junit;
pub use markdown::replay_table;
pub use palette::{Paint, Palette};
pub use plan::write_plan;
pub use progress::{Progress, Running};
pub use results::{Results, incident_command, tally};
pub use tap::tap;
