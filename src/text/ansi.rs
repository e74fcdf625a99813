//! Safe, styled text for a terminal that is written to directly.

use super::sanitize::{Color, Style, StyledText};

/// The text with its styles as SGR sequences, each ended by a reset: nothing that is written after
/// it changes its look. [`sanitize`](super::sanitize::sanitize) reads the same back.
pub fn to_ansi(styled: &StyledText) -> String {
    let mut out = String::with_capacity(styled.text.len() + 16 * styled.spans.len());
    let mut plain = 0;
    for span in &styled.spans {
        out.push_str(styled.text.get(plain..span.range.start).unwrap_or_default());
        out.push_str("\x1b[");
        out.push_str(&codes(&span.style).join(";"));
        out.push('m');
        out.push_str(styled.text.get(span.range.clone()).unwrap_or_default());
        out.push_str("\x1b[0m");
        plain = span.range.end;
    }
    out.push_str(styled.text.get(plain..).unwrap_or_default());
    out
}

fn codes(style: &Style) -> Vec<String> {
    let attributes = [
        (style.bold, "1"),
        (style.dim, "2"),
        (style.italic, "3"),
        (style.underline, "4"),
        (style.reverse, "7"),
        (style.strike, "9"),
    ];
    let set = attributes.iter().filter(|(set, _)| *set);
    let mut codes: Vec<String> = set.map(|(_, code)| (*code).to_owned()).collect();
    codes.extend(style.foreground.map(|color| code_of(color, 30)));
    codes.extend(style.background.map(|color| code_of(color, 40)));
    codes
}

/// `base` is 30 for the foreground, 40 for the background.
fn code_of(color: Color, base: u16) -> String {
    match color {
        Color::Base(n @ 0..8) => (base + u16::from(n)).to_string(),
        Color::Base(n @ 8..16) => (base + 60 + u16::from(n - 8)).to_string(),
        Color::Base(n) | Color::Indexed(n) => format!("{};5;{n}", base + 8),
        Color::Rgb(r, g, b) => format!("{};2;{r};{g};{b}", base + 8),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sanitize::sanitize;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_style_ends_with_its_text() {
        let ansi = |line: &[u8]| to_ansi(&sanitize(line));
        assert_eq!(ansi(b"plain"), "plain");
        assert_eq!(
            ansi(b"a\x1b[1;31mb\x1b[48;5;208mc"),
            "a\x1b[1;31mb\x1b[0m\x1b[1;31;48;5;208mc\x1b[0m"
        );
        assert_eq!(ansi(b"\x1b[95;48;2;1;2;3mx"), "\x1b[95;48;2;1;2;3mx\x1b[0m");
        assert_eq!(ansi(b"\x1b]0;t\x07\x1b[2Jx"), "x");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(
            parts in proptest::collection::vec(
                ("[a-z日é ]{0,4}", proptest::collection::vec(0u8..110, 0..4)), 0..12)
        ) {
            let line: String = parts
                .iter()
                .map(|(text, codes)| {
                    let codes: Vec<String> = codes.iter().map(u8::to_string).collect();
                    format!("\x1b[{}m{text}", codes.join(";"))
                })
                .collect();
            let styled = sanitize(line.as_bytes());
            prop_assert_eq!(sanitize(to_ansi(&styled).as_bytes()), styled);
        }
    }
}
