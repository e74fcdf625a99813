//! Which lines are printed: by pattern and by level, with the lines around them.

use std::collections::{HashMap, VecDeque};

use crate::domain::line::{Channel, Mark, SourceId};
use crate::logs::LogEvent;
use crate::text::level::{Level, level};
use crate::text::matcher::Matcher;

/// What a line has to be. Marks are let through always: they say why lines are missing.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) filter: Option<Matcher>,
    pub(super) exclude: Option<Matcher>,
    /// The least level.
    pub(super) level: Option<Level>,
    /// How many of the lines before and after are let through with one that is wanted, in the
    /// order in which they are printed.
    pub(super) context: usize,
}

/// What comes through.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Passed {
    /// With the level that a line has by itself or from the one before it.
    Event(LogEvent, Option<Level>),
    /// Lines are left out between what came before and what comes now. Only told between lines
    /// with their context.
    Break,
}

/// Sifts events one by one.
#[derive(Debug, Default)]
pub(super) struct Sieve {
    wanted: Wanted,
    /// The level of the last line that named one, of both channels of each source.
    levels: HashMap<SourceId, [Option<Level>; 2]>,
    /// The last lines that were not let through.
    before: VecDeque<(LogEvent, Option<Level>)>,
    /// How many more lines are let through behind one that was wanted.
    after: usize,
    /// Something was let through, and since then a line was left out.
    printed: bool,
    left_out: bool,
}

impl Sieve {
    pub(super) fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            ..Self::default()
        }
    }

    /// Hands over what is let through, in order.
    ///
    /// # Errors
    ///
    /// Those of `pass`.
    pub(super) fn sift<E>(
        &mut self,
        event: LogEvent,
        mut pass: impl FnMut(Passed) -> Result<(), E>,
    ) -> Result<(), E> {
        let (source, line) = match &event {
            LogEvent::Line { source, line } => (source, line),
            LogEvent::Mark { source, mark, .. } => {
                // Another run does not go on with the error of the last one.
                if matches!(
                    mark,
                    Mark::Exited { .. } | Mark::Restarted | Mark::Recreated | Mark::Removed
                ) {
                    self.levels.remove(source);
                }
                // What is held back would come out behind the mark.
                self.left_out |= !self.before.is_empty();
                self.before.clear();
                return pass(Passed::Event(event, None));
            }
        };
        let channel = match line.channel {
            Channel::Out => 0,
            Channel::Err => 1,
        };
        let level = match level(&line.bytes) {
            Some(level) => {
                self.levels.entry(source.clone()).or_default()[channel] = Some(level);
                Some(level)
            }
            None => self.levels.get(source).and_then(|levels| levels[channel]),
        };
        if self.is_wanted(&line.bytes, level) {
            if self.wanted.context > 0 && self.printed && self.left_out {
                pass(Passed::Break)?;
            }
            for (event, level) in self.before.drain(..) {
                pass(Passed::Event(event, level))?;
            }
            self.after = self.wanted.context;
            (self.printed, self.left_out) = (true, false);
            return pass(Passed::Event(event, level));
        }
        if self.after > 0 {
            self.after -= 1;
            return pass(Passed::Event(event, level));
        }
        if self.wanted.context == 0 {
            return Ok(());
        }
        if self.before.len() == self.wanted.context {
            self.before.pop_front();
            self.left_out = true;
        }
        self.before.push_back((event, level));
        Ok(())
    }

    fn is_wanted(&self, line: &[u8], level: Option<Level>) -> bool {
        let Wanted {
            filter,
            exclude,
            level: least,
            ..
        } = &self.wanted;
        least.is_none_or(|least| level.is_some_and(|level| level >= least))
            && filter.as_ref().is_none_or(|filter| filter.is_match(line))
            && !exclude
                .as_ref()
                .is_some_and(|exclude| exclude.is_match(line))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::line::Line;

    fn line(source: &str, channel: Channel, text: &str) -> LogEvent {
        LogEvent::Line {
            source: SourceId(source.into()),
            line: Line {
                at: Timestamp::UNIX_EPOCH,
                channel,
                bytes: text.as_bytes().into(),
            },
        }
    }

    fn mark(source: &str, mark: Mark) -> LogEvent {
        LogEvent::Mark {
            source: SourceId(source.into()),
            at: Timestamp::UNIX_EPOCH,
            mark,
        }
    }

    fn sifted(wanted: Wanted, events: impl IntoIterator<Item = LogEvent>) -> Vec<String> {
        let mut sieve = Sieve::new(wanted);
        let mut seen = Vec::new();
        for event in events {
            let sifted: Result<(), ()> = sieve.sift(event, |passed| {
                seen.push(match passed {
                    Passed::Event(LogEvent::Line { line, .. }, _) => {
                        String::from_utf8(line.bytes.to_vec()).unwrap()
                    }
                    Passed::Event(LogEvent::Mark { mark, .. }, _) => format!("{mark:?}"),
                    Passed::Break => "--".to_owned(),
                });
                Ok(())
            });
            sifted.unwrap();
        }
        seen
    }

    fn lines(text: &str) -> Vec<LogEvent> {
        let words = text.split(' ');
        words.map(|word| line("a", Channel::Out, word)).collect()
    }

    fn matching(pattern: &str, context: usize) -> Wanted {
        Wanted {
            filter: Matcher::new(pattern),
            context,
            ..Wanted::default()
        }
    }

    #[test]
    fn without_a_wish_everything_comes_through() {
        assert_eq!(sifted(Wanted::default(), lines("a b c")), ["a", "b", "c"]);
    }

    #[test]
    fn a_line_must_match_and_must_not_match() {
        let wanted = Wanted {
            exclude: Matcher::new("2$"),
            ..matching("x", 0)
        };
        assert_eq!(sifted(wanted, lines("x1 x2 y1 X3")), ["x1", "X3"]);
    }

    #[test]
    fn lines_around_come_along_once_and_gaps_are_told() {
        let text = "1 2 x3 4 x5 6 7 8 9 x10 11";
        assert_eq!(
            sifted(matching("x", 1), lines(text)),
            ["2", "x3", "4", "x5", "6", "--", "9", "x10", "11"]
        );
        assert_eq!(
            sifted(matching("x", 2), lines(text)),
            ["1", "2", "x3", "4", "x5", "6", "7", "8", "9", "x10", "11"]
        );
        assert_eq!(sifted(matching("x", 0), lines(text)), ["x3", "x5", "x10"]);
    }

    #[test]
    fn a_mark_comes_through_and_nothing_older_behind_it() {
        let mut events = lines("1 2");
        events.push(mark("a", Mark::Restarted));
        events.extend(lines("3 x4"));
        assert_eq!(sifted(matching("x", 5), events), ["Restarted", "3", "x4"]);
    }

    #[test]
    fn a_line_without_a_level_belongs_to_the_one_before_it_on_its_channel() {
        let errors = || Wanted {
            level: Some(Level::Error),
            ..Wanted::default()
        };
        let (out, err) = (Channel::Out, Channel::Err);
        let events = [
            line("a", out, "  at nothing"),
            line("a", out, "ERROR one"),
            line("a", err, "  at err"),
            line("b", out, "  at b"),
            line("a", out, "  at one"),
            line("a", out, "INFO two"),
            line("a", out, "  at two"),
            line("a", err, "FATAL three"),
            line("a", err, "WARN four"),
        ];
        assert_eq!(
            sifted(errors(), events),
            ["ERROR one", "  at one", "FATAL three"]
        );
        let events = [
            line("a", out, "ERROR one"),
            mark("a", Mark::Resumed),
            line("a", out, "  at one"),
            mark("a", Mark::Restarted),
            line("a", out, "hello"),
        ];
        assert_eq!(
            sifted(errors(), events),
            ["ERROR one", "Resumed", "  at one", "Restarted"]
        );
    }
}
