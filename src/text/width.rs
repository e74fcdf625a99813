//! How wide text is on a terminal, and cutting it without cutting a character.
//!
//! Everything goes by grapheme clusters: what a reader takes for one character is never divided.
//! The text is expected to be sanitised.

use std::borrow::Cow;
use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// Stands for what was cut off.
pub const ELLIPSIS: &str = "…";

/// Columns that the text takes.
pub fn width(text: &str) -> usize {
    if text.is_ascii() {
        return text.len();
    }
    text.graphemes(true).map(UnicodeWidthStr::width).sum()
}

/// The text within `columns`; what does not fit is cut at the end and replaced by `…`.
pub fn truncate(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    if columns == 0 {
        return Cow::Borrowed("");
    }
    let kept = fit(text, columns - 1);
    Cow::Owned(format!("{}{ELLIPSIS}", &text[..kept]))
}

/// The text within `columns`; what does not fit is cut at the start: the end of a path says more.
pub fn truncate_start(text: &str, columns: usize) -> Cow<'_, str> {
    let total = width(text);
    if total <= columns {
        return Cow::Borrowed(text);
    }
    if columns == 0 {
        return Cow::Borrowed("");
    }
    let mut left = total;
    let start = text
        .grapheme_indices(true)
        .find_map(|(at, grapheme)| {
            let fits = left < columns;
            left -= grapheme.width();
            fits.then_some(at)
        })
        .unwrap_or(text.len());
    Cow::Owned(format!("{ELLIPSIS}{}", &text[start..]))
}

/// Exactly `columns` wide: cut with `…`, or filled with spaces on the right.
pub fn pad(text: &str, columns: usize) -> String {
    let mut cell = truncate(text, columns).into_owned();
    let have = width(&cell);
    cell.extend(std::iter::repeat_n(' ', columns - have));
    cell
}

/// Exactly `columns` wide: cut with `…`, or filled with spaces on the left, as numbers want it.
pub fn pad_start(text: &str, columns: usize) -> String {
    let cell = truncate(text, columns);
    let mut padded = " ".repeat(columns - width(&cell));
    padded.push_str(&cell);
    padded
}

/// How many bytes of the start of the text fit into `columns`.
pub fn fit(text: &str, columns: usize) -> usize {
    if text.is_ascii() {
        return text.len().min(columns);
    }
    let mut used = 0;
    for (at, grapheme) in text.grapheme_indices(true) {
        used += grapheme.width();
        if used > columns {
            return at;
        }
    }
    text.len()
}

/// A window of columns onto a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The bytes that are wholly inside.
    pub range: Range<usize>,
    /// Columns before them that belong to a wide character which the left border cuts.
    pub blank: usize,
}

/// The part of the text in the columns `start..start + columns`.
pub fn window(text: &str, start: usize, columns: usize) -> Window {
    if text.is_ascii() {
        let from = start.min(text.len());
        let to = start.saturating_add(columns).min(text.len());
        return Window {
            range: from..to,
            blank: 0,
        };
    }
    let mut at_column = 0;
    let mut from = text.len();
    let mut blank = 0;
    for (at, grapheme) in text.grapheme_indices(true) {
        if at_column >= start {
            from = at;
            blank = (at_column - start).min(columns);
            break;
        }
        at_column += grapheme.width();
    }
    let length = fit(&text[from..], columns - blank);
    Window {
        range: from..from + length,
        blank,
    }
}

/// The text in rows of at most `columns`, as byte ranges; at least one row. It breaks between any
/// two characters, as a terminal does: log lines are data, and a search hit must stay where it is.
/// A character that is wider than a row has a row of its own.
pub fn rows(text: &str, columns: usize) -> Vec<Range<usize>> {
    let mut rows = Vec::new();
    let mut start = 0;
    if text.is_ascii() {
        let step = columns.max(1);
        while start + step < text.len() {
            rows.push(start..start + step);
            start += step;
        }
        rows.push(start..text.len());
        return rows;
    }
    let mut used = 0;
    for (at, grapheme) in text.grapheme_indices(true) {
        let wide = grapheme.width();
        if used + wide > columns && at > start {
            rows.push(start..at);
            (start, used) = (at, 0);
        }
        used += wide;
    }
    rows.push(start..text.len());
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn width_is_in_columns() {
        assert_eq!(width("tenant"), 6);
        assert_eq!(width("日本"), 4);
        assert_eq!(width("e\u{301}"), 1);
        assert_eq!(width("👍🏽"), 2);
    }

    #[test]
    fn cutting_is_said_and_never_divides_a_character() {
        assert_eq!(truncate("tenant", 6), "tenant");
        assert_eq!(truncate("tenant", 4), "ten…");
        assert_eq!(truncate("日本語", 4), "日…");
        assert_eq!(truncate("日本語", 1), "…");
        assert_eq!(truncate("日本語", 0), "");
        assert_eq!(truncate_start("/a/b/c.sh", 5), "…c.sh");
        assert_eq!(truncate_start("日本語", 4), "…語");
        assert_eq!(truncate_start("ab", 2), "ab");
        assert_eq!(pad("日本語", 4), "日… ");
        assert_eq!(pad_start("7", 3), "  7");
    }

    #[test]
    fn a_window_says_what_its_border_cuts() {
        assert_eq!(
            window("abcdef", 2, 3),
            Window {
                range: 2..5,
                blank: 0
            }
        );
        assert_eq!(
            window("日本語", 1, 3),
            Window {
                range: 3..6,
                blank: 1
            }
        );
        assert_eq!(
            window("日本語", 2, 3),
            Window {
                range: 3..6,
                blank: 0
            }
        );
        assert_eq!(
            window("日本語", 99, 3),
            Window {
                range: 9..9,
                blank: 0
            }
        );
        assert_eq!(
            window("日本語", 1, 0),
            Window {
                range: 3..3,
                blank: 0
            }
        );
    }

    #[test]
    fn rows_break_anywhere_but_inside_a_character() {
        let cut = |text: &str, columns| {
            rows(text, columns)
                .into_iter()
                .map(|row| text[row].to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(cut("abcdef", 4), ["abcd", "ef"]);
        assert_eq!(cut("abcd", 4), ["abcd"]);
        assert_eq!(cut("日本語", 5), ["日本", "語"]);
        assert_eq!(cut("日本", 1), ["日", "本"]);
        assert_eq!(cut("", 4), [""]);
        assert_eq!(cut("ab", 0), ["a", "b"]);
    }

    proptest! {
        #[test]
        fn nothing_is_wider_than_it_may_be(text in "[a-z日本é👍]{0,30}", columns in 0usize..40) {
            prop_assert!(width(&truncate(&text, columns)) <= columns);
            prop_assert!(width(&truncate_start(&text, columns)) <= columns);
            prop_assert_eq!(width(&pad(&text, columns)), columns);
            prop_assert_eq!(width(&pad_start(&text, columns)), columns);
        }

        #[test]
        fn a_window_is_inside_its_columns(text in "[a-z日本é👍]{0,30}", start in 0usize..40, columns in 0usize..20) {
            let Window { range, blank } = window(&text, start, columns);
            prop_assert!(blank + width(&text[range.clone()]) <= columns);
            let before = width(&text[..range.start]);
            prop_assert!(range.is_empty() || before == start + blank);
        }

        #[test]
        fn rows_are_the_whole_text(text in "[a-z日本é👍]{0,60}", columns in 2usize..20) {
            let mut end = 0;
            for row in rows(&text, columns) {
                prop_assert_eq!(row.start, end);
                prop_assert!(width(&text[row.clone()]) <= columns);
                end = row.end;
            }
            prop_assert_eq!(end, text.len());
        }
    }
}
