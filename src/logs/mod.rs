//! Containers' logs as lines: followed across restarts, re-creations and outages without losing
//! or repeating one, read whole, and merged by time.

pub mod cursor;
mod dump;
mod follow;
mod merge;
pub mod store;

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

pub use dump::dump;
pub use follow::follow;
pub use merge::{REORDER_WINDOW, merge, reorder};

use crate::domain::container::Container;
use crate::domain::event::EngineEvent;
use crate::domain::line::{Channel, Line, Mark, Part, SourceId};
use crate::engine::Tail;
use crate::text::lines::Lines;

/// What a follower has to know. Containers and events are those of the watcher, in its order.
#[derive(Clone, Debug)]
pub enum FollowInput {
    /// All containers there are, after every change.
    Containers(Arc<[Container]>),
    Event(EngineEvent),
    /// The sources to read. One that is left out keeps its place until it is selected again.
    Select(BTreeSet<SourceId>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowOptions {
    /// How much of the past is read first. Engines count records, and cut a long line into several
    /// of 16 KiB: the first line may be the end of one, and there may be fewer lines than that.
    pub tail: Tail,
    /// Nothing before it is read, to the nanosecond.
    pub since: Option<Timestamp>,
    /// Go on with new lines, restarts and re-creations; otherwise what is there is read once.
    pub follow: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogEvent {
    Line {
        source: SourceId,
        line: Line,
    },
    Mark {
        source: SourceId,
        /// The engine's clock where the engine told when it happened, ours otherwise.
        at: Timestamp,
        mark: Mark,
    },
}

impl LogEvent {
    pub fn source(&self) -> &SourceId {
        match self {
            Self::Line { source, .. } | Self::Mark { source, .. } => source,
        }
    }

    pub fn at(&self) -> Timestamp {
        match self {
            Self::Line { line, .. } => line.at,
            Self::Mark { at, .. } => *at,
        }
    }
}

/// Joins the parts of one container into lines, each of its two channels by itself: a long line
/// on one is not torn by a short one on the other.
#[derive(Debug, Default)]
struct Assembly {
    out: Lines<Timestamp>,
    err: Lines<Timestamp>,
}

impl Assembly {
    fn push(&mut self, part: &Part, mut take: impl FnMut(Line)) {
        let channel = part.channel;
        let lines = match channel {
            Channel::Out => &mut self.out,
            Channel::Err => &mut self.err,
        };
        lines.push(part.at, &part.bytes, |at, bytes| {
            take(line(at, channel, bytes));
        });
    }

    /// What is left without a newline, in the order of time.
    fn finish(self) -> Vec<Line> {
        let mut left = Vec::new();
        for (channel, mut lines) in [(Channel::Out, self.out), (Channel::Err, self.err)] {
            lines.flush(|at, bytes| left.push(line(at, channel, bytes)));
        }
        left.sort_by_key(|line| line.at);
        left
    }
}

fn line(at: Timestamp, channel: Channel, bytes: &[u8]) -> Line {
    Line {
        at,
        channel,
        bytes: bytes.into(),
    }
}
