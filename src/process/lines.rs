//! Cuts a child's output into lines for display.

use std::sync::Arc;

/// A line longer than this is shown in pieces; the capture keeps it whole.
const LONGEST: usize = 64 * 1024;

/// Keeps an unfinished line until its newline comes.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pending: Vec<u8>,
}

impl Lines {
    pub(super) fn push(&mut self, bytes: &[u8], mut line: impl FnMut(Arc<[u8]>)) {
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            if self.pending.is_empty() {
                line(rest[..end].into());
            } else {
                self.pending.extend_from_slice(&rest[..end]);
                line(self.pending.as_slice().into());
                self.pending.clear();
            }
            rest = &rest[end + 1..];
        }
        self.pending.extend_from_slice(rest);
        if self.pending.len() >= LONGEST {
            line(self.pending.as_slice().into());
            self.pending.clear();
        }
    }

    /// The last line, where it has no newline.
    pub(super) fn finish(self) -> Option<Arc<[u8]>> {
        (!self.pending.is_empty()).then(|| self.pending.into())
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
            let mut from = 0;
            for cut in cuts.into_iter().chain([text.len()]) {
                lines.push(&text.as_bytes()[from..cut], |line| got.push(String::from_utf8(line.to_vec()).unwrap()));
                from = cut;
            }
            got.extend(lines.finish().map(|line| String::from_utf8(line.to_vec()).unwrap()));
            let want: Vec<String> = text.lines().map(str::to_owned).collect();
            prop_assert_eq!(got, want);
        }
    }
}
