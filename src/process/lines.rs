//! Cuts a child's output into lines for display.

use crate::domain::output::OutputLines;

use super::supervise::ProcessEvent;

/// A line longer than this is shown in pieces; the capture keeps it whole.
const LONGEST: usize = 64 * 1024;

/// Keeps an unfinished line until its newline comes.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pending: Vec<u8>,
}

impl Lines {
    pub(super) fn push(&mut self, bytes: &[u8], on_event: &mut impl FnMut(ProcessEvent)) {
        let rest = match memchr::memrchr(b'\n', bytes) {
            Some(end) => {
                on_event(ProcessEvent::Lines(self.whole(&bytes[..end])));
                &bytes[end + 1..]
            }
            None => bytes,
        };
        self.pending.extend_from_slice(rest);
        if self.pending.len() >= LONGEST {
            on_event(ProcessEvent::Part(OutputLines::new(
                self.pending.as_slice(),
            )));
            self.pending.clear();
        }
    }

    fn whole(&mut self, lines: &[u8]) -> OutputLines {
        if self.pending.is_empty() {
            return OutputLines::new(lines);
        }
        self.pending.extend_from_slice(lines);
        OutputLines::new(std::mem::take(&mut self.pending))
    }

    /// The last line, where it has no newline.
    pub(super) fn finish(self) -> Option<OutputLines> {
        (!self.pending.is_empty()).then(|| OutputLines::new(self.pending))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn chunk_borders_do_not_matter(text in "[ab\n]{0,40}", cuts in proptest::collection::vec(0usize..40, 0..6)) {
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut <= text.len()).collect();
            cuts.sort_unstable();
            let mut lines = Lines::default();
            let mut got: Vec<String> = Vec::new();
            let mut take = |event| {
                let ProcessEvent::Lines(lines) = event else {
                    panic!("{event:?}");
                };
                got.extend(lines.iter().map(|line| String::from_utf8(line.to_vec()).unwrap()));
            };
            let mut from = 0;
            for cut in cuts.into_iter().chain([text.len()]) {
                lines.push(&text.as_bytes()[from..cut], &mut take);
                from = cut;
            }
            if let Some(last) = lines.finish() {
                take(ProcessEvent::Lines(last));
            }
            let want: Vec<String> = text.lines().map(str::to_owned).collect();
            prop_assert_eq!(got, want);
        }
    }

    #[test]
    fn a_line_without_an_end_comes_in_parts() {
        let mut lines = Lines::default();
        let mut events = Vec::new();
        for bytes in [&[b'x'; LONGEST - 1][..], b"xx", b"y\nz"] {
            lines.push(bytes, &mut |event| events.push(event));
        }
        let long = OutputLines::new([b'x'; LONGEST + 1]);
        let end = OutputLines::new(*b"y");
        assert_eq!(events, [ProcessEvent::Part(long), ProcessEvent::Lines(end)]);
        assert_eq!(lines.finish(), Some(OutputLines::new(*b"z")));
    }
}
