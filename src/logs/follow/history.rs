//! The timestamps that were read last.
//!
//! An engine that rotates a log while it is followed may go back to the beginning of a file and
//! send it once more. What comes then is older than what came before, as it is when the engine's
//! clock was set back. The one is told from the other by timestamps that were met before, to the
//! nanosecond.

use std::collections::VecDeque;

use jiff::Timestamp;

use crate::domain::line::Channel;

/// How many are kept of each channel: a file of usual size has fewer lines. They take 16 bytes
/// each, and only as many as there were lines.
const KEPT: usize = 1 << 17;

#[derive(Debug, Default)]
pub(super) struct History {
    out: VecDeque<Timestamp>,
    err: VecDeque<Timestamp>,
}

impl History {
    pub(super) fn push(&mut self, at: Timestamp, channel: Channel) {
        let kept = match channel {
            Channel::Out => &mut self.out,
            Channel::Err => &mut self.err,
        };
        match kept.back() {
            Some(last) if *last == at => return,
            // The clock was set back: older ones are no help.
            Some(last) if *last > at => kept.clear(),
            _ => {}
        }
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(at);
    }

    pub(super) fn contains(&self, at: Timestamp, channel: Channel) -> bool {
        let kept = match channel {
            Channel::Out => &self.out,
            Channel::Err => &self.err,
        };
        kept.binary_search(&at).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn what_was_read_is_known_by_channel() {
        let mut history = History::default();
        for second in [1, 3, 3, 5] {
            history.push(at(second), Channel::Out);
        }
        let known: Vec<bool> = (1..=5)
            .map(|second| history.contains(at(second), Channel::Out))
            .collect();
        assert_eq!(known, [true, false, true, false, true]);
        assert!(!history.contains(at(3), Channel::Err));
        history.push(at(2), Channel::Out);
        assert!(history.contains(at(2), Channel::Out));
        assert!(!history.contains(at(5), Channel::Out));
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let mut history = History::default();
        for second in 0..=KEPT as i64 {
            history.push(at(second), Channel::Out);
        }
        assert_eq!(history.out.len(), KEPT);
        assert!(!history.contains(at(0), Channel::Out));
        assert!(history.contains(at(1), Channel::Out));
    }
}
