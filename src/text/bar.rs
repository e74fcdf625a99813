//! Bars of characters.

use super::width::pad;

/// A bar of `columns`, filled by eighths: 0 is empty and 1 is full.
pub fn bar(part: f64, columns: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (part.clamp(0.0, 1.0) * columns as f64 * 8.0).round() as usize;
    let mut bar = "█".repeat(eighths / 8);
    bar.push_str(EIGHTHS[eighths % 8]);
    pad(&bar.replace('…', ""), columns)
}

#[cfg(test)]
mod tests {
    use super::super::width::width;
    use super::*;

    #[test]
    fn a_bar_is_as_wide_as_it_shall_be() {
        for columns in [0, 1, 7] {
            for part in [-1.0, 0.0, 0.33, 0.5, 1.0, 7.0, f64::NAN] {
                assert_eq!(width(&bar(part, columns)), columns);
            }
        }
        assert_eq!(bar(0.5, 4), "██  ");
        assert_eq!(bar(0.3125, 2), "▋ ");
    }
}
