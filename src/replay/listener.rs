//! What the output of a running replay says to its verdict.

use crate::domain::output::OutputLines;
use crate::domain::suite::{Kind, Rules};
use crate::domain::tap::{self, Tap};
use crate::text::sanitize::sanitize;

/// Listens for what the rules of a suite look for, line by line. It holds what it found, and not
/// what it read.
#[derive(Debug)]
pub(super) struct Listener<'a> {
    rules: &'a Rules,
    /// The next piece goes on with a line whose beginning was heard already.
    within_line: bool,
    pub(super) skipped: Option<String>,
    pub(super) expected_failure: Option<String>,
    tap: Option<tap::Reader>,
}

impl<'a> Listener<'a> {
    pub(super) fn new(rules: &'a Rules) -> Self {
        Self {
            rules,
            within_line: false,
            skipped: None,
            expected_failure: None,
            tap: (rules.kind == Kind::Tap).then(tap::Reader::default),
        }
    }

    /// Once, at the end.
    pub(super) fn take_tap(&mut self) -> Option<Box<Tap>> {
        let reader = self.tap.take()?;
        Some(Box::new(reader.finish()))
    }

    /// The first may be the end of one that came in parts.
    pub(super) fn lines(&mut self, lines: &OutputLines) {
        if self.is_listening() {
            lines.iter().for_each(|line| self.line(line));
        } else {
            self.within_line = false;
        }
    }

    /// Whether there is anything that it has not found yet.
    fn is_listening(&self) -> bool {
        self.tap.is_some()
            || (self.rules.skip_marker.is_some() && self.skipped.is_none())
            || (self.rules.expected_failure.is_some() && self.expected_failure.is_none())
    }

    /// A line, or the end of one that came in parts.
    fn line(&mut self, line: &[u8]) {
        if !self.within_line {
            self.hear(line);
        }
        self.within_line = false;
    }

    /// The beginning of a line, or another part of it.
    pub(super) fn part(&mut self, part: &[u8]) {
        if !self.within_line {
            self.hear(part);
        }
        self.within_line = true;
    }

    fn hear(&mut self, line: &[u8]) {
        if !self.is_listening() {
            return;
        }
        let expected = self.rules.expected_failure.as_ref();
        let wanted = [
            (self.rules.skip_marker.as_ref(), &mut self.skipped),
            (expected.map(|it| &it.marker), &mut self.expected_failure),
        ];
        let text = sanitize(line).text;
        if let Some(tap) = &mut self.tap {
            tap.line(&text);
        }
        for (marker, found) in wanted {
            if found.is_none() {
                *found = marker.and_then(|marker| marker.find(&text));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::suite::Marker;

    #[test]
    fn the_first_marker_counts_and_the_middle_of_a_line_does_not() {
        let rules = Rules {
            skip_marker: Marker::new("^SKIP").ok(),
            ..Rules::of(Kind::Shell)
        };
        let mut listener = Listener::new(&rules);
        listener.part(b"xxxx");
        listener.part(b"SKIP: within");
        listener.line(b"SKIP: at its end");
        assert_eq!(listener.skipped, None);
        listener.line(b"\x1b[33mSKIP\x1b[0m: in colour\r");
        listener.line(b"SKIP: again");
        assert_eq!(listener.skipped.as_deref(), Some("in colour"));
        assert_eq!(listener.expected_failure, None);
    }

    #[test]
    fn the_middle_of_a_long_line_is_no_point() {
        let rules = Rules::of(Kind::Tap);
        let mut listener = Listener::new(&rules);
        listener.line(b"1..2\r");
        listener.part(b"ok 1 - long ");
        listener.part(b"not ok 2");
        listener.line(b"not ok 3");
        listener.line(b"\x1b[32mok\x1b[0m 2");
        let tap = listener.take_tap().unwrap();
        assert_eq!((tap.seen, tap.failed, tap.fault), (2, 0, None));
    }
}
