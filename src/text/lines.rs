//! Chunks of bytes into lines.

/// A line longer than this is cut, and its rest is the next line: 1 MiB.
pub const LINE_CAP: usize = 1 << 20;

/// Joins the chunks of one channel of one source into lines.
///
/// Each chunk comes with a stamp. The chunks of one line carry the same stamp, so a chunk with
/// another one starts a new line even where no newline came before it: the program that wrote
/// the last one ended in the middle of it. What comes out does not depend on where the chunks
/// of a line are divided.
#[derive(Clone, Debug)]
pub struct Lines<S> {
    stamp: Option<S>,
    pending: Vec<u8>,
    cap: usize,
}

impl<S> Default for Lines<S> {
    fn default() -> Self {
        Self::with_cap(LINE_CAP)
    }
}

impl<S> Lines<S> {
    /// Cuts lines at `cap` bytes (at least one).
    pub fn with_cap(cap: usize) -> Self {
        Self {
            stamp: None,
            pending: Vec::new(),
            cap: cap.max(1),
        }
    }
}

impl<S: Copy + PartialEq> Lines<S> {
    /// Takes a chunk and hands over every line that it completes, without its end: a newline, or
    /// a carriage return and a newline as terminals write it.
    pub fn push(&mut self, stamp: S, chunk: &[u8], mut line: impl FnMut(S, &[u8])) {
        if self.stamp != Some(stamp) {
            self.flush(&mut line);
            self.stamp = Some(stamp);
        }
        let mut rest = chunk;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (head, tail) = rest.split_at(end);
            let head = self.cut(stamp, head, &mut line);
            if self.pending.is_empty() {
                line(stamp, without_return(head));
            } else {
                self.pending.extend_from_slice(head);
                line(stamp, without_return(&self.pending));
                self.pending.clear();
            }
            rest = tail.get(1..).unwrap_or_default();
        }
        let rest = self.cut(stamp, rest, &mut line);
        self.pending.extend_from_slice(rest);
    }

    /// Hands over what has no newline yet, as a line: nothing more of it will come.
    pub fn flush(&mut self, mut line: impl FnMut(S, &[u8])) {
        if let Some(stamp) = self.stamp.take()
            && !self.pending.is_empty()
        {
            line(stamp, &self.pending);
            self.pending.clear();
        }
    }

    /// The stamp of what has no newline yet.
    pub fn pending(&self) -> Option<S> {
        self.stamp.filter(|_| !self.pending.is_empty())
    }

    /// Drops what has no newline yet: it will be read again from its beginning.
    pub fn forget(&mut self) {
        self.stamp = None;
        self.pending.clear();
    }

    /// Hands over whole caps of an overlong line; what it returns fits behind what is pending.
    fn cut<'a>(&mut self, stamp: S, bytes: &'a [u8], line: &mut impl FnMut(S, &[u8])) -> &'a [u8] {
        let mut rest = bytes;
        while self.pending.len() + rest.len() > self.cap {
            let room = self.cap - self.pending.len();
            let (head, tail) = rest.split_at(room);
            self.pending.extend_from_slice(head);
            line(stamp, &self.pending);
            self.pending.clear();
            rest = tail;
        }
        rest
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn assemble<'a>(
        cap: usize,
        chunks: impl IntoIterator<Item = (u8, &'a [u8])>,
    ) -> Vec<(u8, Vec<u8>)> {
        let mut lines = Lines::with_cap(cap);
        let mut seen = Vec::new();
        for (stamp, chunk) in chunks {
            lines.push(stamp, chunk, |stamp, line| {
                seen.push((stamp, line.to_vec()));
            });
        }
        lines.flush(|stamp, line| seen.push((stamp, line.to_vec())));
        seen
    }

    fn texts(lines: &[(u8, Vec<u8>)]) -> Vec<&str> {
        lines
            .iter()
            .map(|(_, line)| std::str::from_utf8(line).unwrap())
            .collect()
    }

    #[test]
    fn parts_are_joined_until_the_newline() {
        let lines = assemble(100, [(1, &b"one "[..]), (1, b"line\nand"), (1, b" more")]);
        assert_eq!(texts(&lines), ["one line", "and more"]);
    }

    #[test]
    fn empty_lines_are_lines_and_nothing_is_none() {
        assert_eq!(texts(&assemble(100, [(1, &b"\n\n"[..])])), ["", ""]);
        assert_eq!(texts(&assemble(100, [(1, &b""[..])])), [""; 0]);
    }

    #[test]
    fn a_terminal_s_line_end_is_no_text() {
        let lines = assemble(100, [(1, &b"a\r"[..]), (1, b"\nb\rc\r\n\r")]);
        assert_eq!(texts(&lines), ["a", "b\rc", "\r"]);
    }

    #[test]
    fn another_stamp_starts_another_line() {
        let lines = assemble(100, [(1, &b"cut off"[..]), (2, b"fresh\n")]);
        assert_eq!(lines, [(1, b"cut off".to_vec()), (2, b"fresh".to_vec())]);
    }

    #[test]
    fn an_overlong_line_is_cut_and_its_rest_kept() {
        let lines = assemble(4, [(1, &b"abcdefghij\nabcd\nx"[..])]);
        assert_eq!(texts(&lines), ["abcd", "efgh", "ij", "abcd", "x"]);
    }

    #[test]
    fn what_is_forgotten_does_not_come_back() {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        lines.push(1, b"half", |_, line: &[u8]| seen.push(line.to_vec()));
        assert_eq!(lines.pending(), Some(1));
        lines.forget();
        assert_eq!(lines.pending(), None);
        lines.push(1, b"whole\n", |_, line: &[u8]| seen.push(line.to_vec()));
        assert_eq!(seen, [b"whole".to_vec()]);
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_where_chunks_are_divided(
            text in proptest::collection::vec(prop::sample::select(b"ab\r\n".to_vec()), 0..60),
            borders in proptest::collection::vec(0usize..60, 0..10),
            cap in 1usize..8,
        ) {
            let mut borders: Vec<usize> = borders.into_iter().map(|b| b.min(text.len())).collect();
            borders.extend([0, text.len()]);
            borders.sort_unstable();
            let chunks = borders.windows(2).map(|pair| (1, &text[pair[0]..pair[1]]));
            let whole = assemble(cap, [(1, &text[..])]);
            prop_assert_eq!(&assemble(cap, chunks), &whole);
            prop_assert!(whole.iter().all(|(_, line)| line.len() <= cap));
            let kept: usize = whole.iter().map(|(_, line)| line.len()).sum();
            let plain = text.iter().filter(|byte| b"ab".contains(byte)).count();
            prop_assert!(kept >= plain, "bytes were lost");
        }
    }
}
