//! What a child printed, a few lines at a time.

use std::sync::Arc;

/// One or several whole lines in the order in which they were written, as one piece of memory: a
/// flood costs neither an allocation nor an event per line.
///
/// Nothing in them is safe to show: they are decoded and sanitised where they are drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputLines(Arc<[u8]>);

impl OutputLines {
    /// `text` has a newline between two lines, and none after the last.
    pub fn new(text: impl Into<Arc<[u8]>>) -> Self {
        Self(text.into())
    }

    /// Each without its newline.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'\n')
    }

    /// How many there are: one at least, which may be empty.
    pub fn count(&self) -> usize {
        memchr::memchr_iter(b'\n', &self.0).count() + 1
    }

    /// Of all lines together, with the newlines between them, in bytes.
    pub fn size(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_lines_are_lines() {
        for (text, lines) in [
            ("", vec![""]),
            ("a", vec!["a"]),
            ("a\n", vec!["a", ""]),
            ("\na\n\nb", vec!["", "a", "", "b"]),
        ] {
            let output = OutputLines::new(text.as_bytes());
            let got: Vec<&[u8]> = output.iter().collect();
            let want: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
            assert_eq!(got, want);
            assert_eq!(output.count(), lines.len());
        }
    }
}
