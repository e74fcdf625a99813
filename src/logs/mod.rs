//! Containers' logs as lines: followed across restarts, re-creations and outages without losing
//! or repeating one, read whole, and merged by time.

pub mod cursor;
mod dump;
pub mod extract;
mod follow;
pub mod index;
mod merge;
mod page;
pub mod shown;
pub mod store;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::{Stream, StreamExt, stream};
use jiff::Timestamp;

pub use dump::dump;
pub use follow::follow;
pub use merge::{REORDER_WINDOW, merge, reorder};
pub use page::{PageEvent, Piece, page};

use crate::domain::container::Container;
use crate::domain::event::EngineEvent;
use crate::domain::id::ContainerId;
use crate::domain::line::{Channel, Line, LineBatch, Mark, SourceId};
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
    /// Begin behind all lines of the first timestamp instead, unless they are the log's first: then
    /// no line is cut, and what is left out can be had by [`page`] without repeating or losing one.
    pub whole_groups: bool,
    /// Of a container that is there only later everything is read, whatever `tail` says.
    pub new_from_start: bool,
    /// Nothing before it is read, to the nanosecond.
    pub since: Option<Timestamp>,
    /// Go on with new lines, restarts and re-creations; otherwise what is there is read once.
    pub follow: bool,
}

/// What a follower tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FollowEvent {
    /// Reading a container's log begins: once for each container, before its first line.
    Opened {
        source: SourceId,
        container: ContainerId,
        /// What comes now begins with the log's first line. `false` where that is not known.
        reached_start: bool,
    },
    Lines {
        source: SourceId,
        batch: LineBatch,
    },
    Mark {
        source: SourceId,
        /// The engine's clock where the engine told when it happened, ours otherwise.
        at: Timestamp,
        mark: Mark,
    },
}

/// One line or mark.
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

/// The lines and marks among these events, one by one.
pub fn singly(
    events: impl Stream<Item = FollowEvent> + Send + 'static,
) -> impl Stream<Item = LogEvent> + Send + 'static {
    events.flat_map(|event| {
        let singles: Vec<LogEvent> = match event {
            FollowEvent::Opened { .. } => Vec::new(),
            FollowEvent::Lines { source, batch } => batch
                .lines()
                .map(|line| LogEvent::Line {
                    source: source.clone(),
                    line,
                })
                .collect(),
            FollowEvent::Mark { source, at, mark } => vec![LogEvent::Mark { source, at, mark }],
        };
        stream::iter(singles)
    })
}

/// Joins the parts of one container into lines, each of its two channels by itself: a long line
/// on one is not torn by a short one on the other.
#[derive(Debug, Default)]
struct Assembly {
    out: Lines<Timestamp>,
    err: Lines<Timestamp>,
}

impl Assembly {
    /// Takes a part and hands over the lines that it completes.
    fn push(
        &mut self,
        at: Timestamp,
        channel: Channel,
        bytes: &[u8],
        mut take: impl FnMut(Timestamp, Channel, &[u8]),
    ) {
        let lines = match channel {
            Channel::Out => &mut self.out,
            Channel::Err => &mut self.err,
        };
        lines.push(at, bytes, |at, bytes| take(at, channel, bytes));
    }

    /// The earliest timestamp of what has no newline yet.
    fn pending(&self) -> Option<Timestamp> {
        let pending = [self.out.pending(), self.err.pending()];
        pending.into_iter().flatten().min()
    }

    /// What is left without a newline, in the order of time.
    fn finish(self) -> LineBatch {
        let mut left = Vec::new();
        for (channel, mut lines) in [(Channel::Out, self.out), (Channel::Err, self.err)] {
            lines.flush(|at, bytes| left.push((at, channel, bytes.to_vec())));
        }
        left.sort_by_key(|(at, ..)| *at);
        let mut batch = LineBatch::default();
        for (at, channel, bytes) in &left {
            batch.push(*at, *channel, bytes);
        }
        batch
    }
}
