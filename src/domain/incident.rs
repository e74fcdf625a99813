//! One attempt at a replay as one timeline: what it printed, every container's log, what the engine
//! and the runner say happened.
//!
//! Sources are read lazily and merged by time; a window of a million lines costs no more than what
//! of it is shown. Every time is by the runner's clock: those of the engine are corrected by how
//! far its clock was ahead.

mod assertion;
mod head;
mod merge;
mod shown;
mod words;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::line::Channel;
use super::replay::ReplayName;
use super::run::Verdict;

pub use assertion::{Clarity, Finder, Finding};
pub use head::{Head, Marked, Since, clock_words};
pub use merge::{Merge, merge};
pub use shown::{Piece, Share, shares, shown};
pub use words::{engine_words, is_death, run_words};

/// How long before an attempt a timeline begins: what broke it may have died just before.
pub const LEAD: SignedDuration = SignedDuration::from_millis(2_000);

/// How long behind its end a timeline goes on: what is logged by what it set off comes late.
pub const TRAIL: SignedDuration = SignedDuration::from_millis(1_000);

/// A stretch of time, by the runner's clock; both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub from: Timestamp,
    pub to: Timestamp,
}

impl Window {
    /// That of an attempt. `within` is how exactly the engine's clock is known: by that much more
    /// is taken, so that nothing is missed.
    pub fn around(started: Timestamp, ended: Timestamp, within: Duration) -> Self {
        let within = SignedDuration::try_from(within).unwrap_or(SignedDuration::ZERO);
        let from = started.saturating_sub(LEAD + within);
        let to = ended.max(started).saturating_add(TRAIL + within);
        Self {
            from: from.unwrap_or(started),
            to: to.unwrap_or(ended),
        }
    }

    pub fn contains(&self, at: Timestamp) -> bool {
        self.from <= at && at <= self.to
    }
}

/// In the order in which entries of the same time stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceKind {
    /// What the runner itself did.
    Runner,
    /// What the engine says happened to containers.
    Engine,
    /// What the replay printed.
    Output,
    /// A container's log.
    Container,
}

impl SourceKind {
    pub fn word(self) -> &'static str {
        match self {
            Self::Runner => "runner",
            Self::Engine => "engine",
            Self::Output => "output",
            Self::Container => "container",
        }
    }
}

/// Who has written or said what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub kind: SourceKind,
    /// The container's title; the kind's word otherwise. Not safe to show.
    pub name: String,
    /// Entries in the window, also those that are not shown.
    pub entries: u64,
}

/// What an entry is marked as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// The first line of the replay's output that says that it failed.
    Assertion(Clarity),
    /// The first line of level error or above that a container wrote.
    Error,
    /// A container ended.
    Death,
}

impl Mark {
    /// One character that tells marks apart without a colour.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Assertion(_) => "✘",
            Self::Error => "!",
            Self::Death => "†",
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            Self::Assertion(Clarity::Assertion) => "first failed assertion",
            Self::Assertion(Clarity::Complaint) => "first complaint",
            Self::Assertion(Clarity::LastLine) => "last line",
            Self::Error => "first error",
            Self::Death => "container died",
        }
    }

    /// For programs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Assertion(Clarity::Assertion) => "assertion",
            Self::Assertion(Clarity::Complaint) => "complaint",
            Self::Assertion(Clarity::LastLine) => "last_line",
            Self::Error => "error",
            Self::Death => "death",
        }
    }
}

/// One row of a timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub at: Timestamp,
    /// Which of the timeline's sources.
    pub source: usize,
    pub what: What,
    pub mark: Option<Mark>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// As it was written, without its newline. Not safe to show.
    Line { channel: Channel, bytes: Arc<[u8]> },
    /// Words of ours, which may name things of others. Not safe to show.
    Event(String),
    /// So many entries of this source are not shown here.
    Left(u64),
    /// The rest of this source cannot be read.
    Unreadable(String),
}

impl What {
    /// The bytes that a reader of the timeline sees, not yet safe to show.
    pub fn text(&self) -> std::borrow::Cow<'_, [u8]> {
        match self {
            Self::Line { bytes, .. } => (&**bytes).into(),
            Self::Event(words) => words.as_bytes().into(),
            Self::Left(1) => b"1 line not shown"[..].into(),
            Self::Left(count) => format!("{count} lines not shown").into_bytes().into(),
            Self::Unreadable(cause) => format!("cannot be read on: {cause}").into_bytes().into(),
        }
    }
}

/// Which attempt a timeline is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub replay: ReplayName,
    /// From 1.
    pub number: u32,
    pub verdict: Verdict,
    pub started: Timestamp,
    pub ended: Timestamp,
}

/// Prints how far an entry is from the start: `+0.812`, `-0.500`, `+1:02:03.250`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset(pub SignedDuration);

impl Offset {
    pub fn between(started: Timestamp, at: Timestamp) -> Self {
        Self(at.duration_since(started))
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.0.unsigned_abs();
        let sign = match self.0.is_negative() && whole.as_millis() > 0 {
            true => '-',
            false => '+',
        };
        let (seconds, millis) = (whole.as_secs(), whole.subsec_millis());
        let text = if seconds < 3600 {
            format!("{sign}{seconds}.{millis:03}")
        } else {
            let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
            format!("{sign}{hours}:{minutes:02}:{:02}.{millis:03}", seconds % 60)
        };
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(1_700_000_000_000 + milliseconds).unwrap()
    }

    #[test]
    fn a_window_has_room_around_the_attempt_and_for_what_the_clock_may_be_off() {
        let exact = Window::around(at(0), at(500), Duration::ZERO);
        assert_eq!((exact.from, exact.to), (at(-2_000), at(1_500)));
        assert!(exact.contains(at(-500)) && exact.contains(at(1_500)));
        assert!(!exact.contains(at(-2_001)) && !exact.contains(at(1_501)));
        let vague = Window::around(at(0), at(500), Duration::from_millis(20));
        assert_eq!((vague.from, vague.to), (at(-2_020), at(1_520)));
        // A clock that was set back meanwhile.
        let back = Window::around(at(0), at(-9_000), Duration::ZERO);
        assert!(back.contains(at(0)));
    }

    #[test]
    fn offsets_read_well() {
        let show = |ms| Offset(SignedDuration::from_millis(ms)).to_string();
        assert_eq!(show(0), "+0.000");
        assert_eq!(show(812), "+0.812");
        assert_eq!(show(-500), "-0.500");
        let hardly = Offset(SignedDuration::from_micros(-900));
        assert_eq!(hardly.to_string(), "+0.000");
        assert_eq!(show(75_250), "+75.250");
        assert_eq!(show(3_723_250), "+1:02:03.250");
        assert_eq!(format!("{:>9}", Offset(SignedDuration::ZERO)), "   +0.000");
    }
}
