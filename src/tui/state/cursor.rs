//! A cursor in a list that may be longer than its pane.

/// Which row is selected, and which is the first on the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    at: usize,
    top: usize,
}

impl Cursor {
    pub fn at(self) -> usize {
        self.at
    }

    pub fn top(self) -> usize {
        self.top
    }

    pub fn go(&mut self, to: usize) {
        self.at = to;
    }

    pub fn by(&mut self, rows: isize) {
        self.at = self.at.saturating_add_signed(rows);
    }

    /// Brings both into a list of `len` rows, of which `height` are on the screen.
    pub fn settle(&mut self, len: usize, height: usize) {
        self.at = self.at.min(len.saturating_sub(1));
        let height = height.max(1);
        let lowest = (self.at + 1).saturating_sub(height);
        self.top = self
            .top
            .clamp(lowest, self.at)
            .min(len.saturating_sub(height));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_selected_row_is_on_the_screen(
            steps in proptest::collection::vec((-30isize..30, 0usize..40, 0usize..20), 1..20)
        ) {
            let mut cursor = Cursor::default();
            for (rows, len, height) in steps {
                cursor.by(rows);
                cursor.settle(len, height);
                prop_assert!(cursor.at() < len.max(1));
                prop_assert!(cursor.top() <= cursor.at());
                prop_assert!(cursor.at() < cursor.top() + height.max(1));
                let unused = (cursor.top() + height).saturating_sub(len);
                prop_assert!(cursor.top() == 0 || height == 0 || unused == 0);
            }
        }
    }
}
