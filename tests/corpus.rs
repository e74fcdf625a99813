//! Lines that try to do something to the terminal, or to the reader, of whoever looks at them.
//!
//! Each file of `tests/corpus` is one line, named after what it is. Every line goes every way that
//! a log line, a name or a label can go to a screen, and a terminal says what arrives there.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says what went wrong by panicking"
)]

use std::fmt::Write;
use std::path::Path;

use tackroom::text::ansi::to_ansi;
use tackroom::text::level::level;
use tackroom::text::matcher::Matcher;
use tackroom::text::sanitize::{needs_care, sanitize, sanitize_plain};
use tackroom::text::structured;
use tackroom::text::width::{rows, truncate, width};

fn corpus() -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(directory)
        .expect("the corpus")
        .map(|entry| {
            let path = entry.expect("a file").path();
            let name = path.file_name().expect("a name").to_string_lossy();
            (name.into_owned(), std::fs::read(&path).expect("readable"))
        })
        .collect();
    files.sort();
    assert!(files.len() > 50, "{}", files.len());
    files
}

/// Everything that a terminal was asked for except text and colours.
#[derive(Default)]
struct Asked(Vec<String>);

impl vt100::Callbacks for Asked {
    fn audible_bell(&mut self, _: &mut vt100::Screen) {
        self.0.push("a bell".to_owned());
    }

    fn visual_bell(&mut self, _: &mut vt100::Screen) {
        self.0.push("a flash".to_owned());
    }

    fn resize(&mut self, _: &mut vt100::Screen, to: (u16, u16)) {
        self.0.push(format!("a size of {to:?}"));
    }

    fn set_window_icon_name(&mut self, _: &mut vt100::Screen, name: &[u8]) {
        self.0.push(format!("an icon's name {name:?}"));
    }

    fn set_window_title(&mut self, _: &mut vt100::Screen, title: &[u8]) {
        self.0.push(format!("a title {title:?}"));
    }

    fn copy_to_clipboard(&mut self, _: &mut vt100::Screen, _: &[u8], data: &[u8]) {
        self.0.push(format!("the clipboard to hold {data:?}"));
    }

    fn paste_from_clipboard(&mut self, _: &mut vt100::Screen, _: &[u8]) {
        self.0.push("the clipboard".to_owned());
    }

    fn unhandled_control(&mut self, _: &mut vt100::Screen, byte: u8) {
        self.0.push(format!("the control {byte:#x}"));
    }

    fn unhandled_escape(&mut self, _: &mut vt100::Screen, _: Option<u8>, _: Option<u8>, byte: u8) {
        self.0.push(format!("ESC {}", char::from(byte)));
    }

    fn unhandled_csi(
        &mut self,
        _: &mut vt100::Screen,
        _: Option<u8>,
        _: Option<u8>,
        parameters: &[&[u16]],
        byte: char,
    ) {
        // Of SGR, the terminal does not know strike-through.
        if byte != 'm' {
            self.0.push(format!("CSI {parameters:?} {byte}"));
        }
    }

    fn unhandled_osc(&mut self, _: &mut vt100::Screen, parameters: &[&[u8]]) {
        self.0.push(format!("OSC {parameters:?}"));
    }
}

/// Writes to a terminal that has something on it, and returns what it was asked for, where its
/// cursor went, and the row that was written to.
fn on_a_terminal(written: &str) -> (Vec<String>, (u16, u16), String) {
    let mut terminal = vt100::Parser::new_with_callbacks(6, 400, 0, Asked::default());
    terminal.process(b"above\r\n\r\n\r\n\r\nbelow\x1b[3;1H");
    // This terminal takes U+FFFD for its own mistake, and shows nothing.
    terminal.process(written.replace('\u{fffd}', "?").as_bytes());
    let screen = terminal.screen();
    let rows: Vec<String> = screen.rows(0, 400).collect();
    assert_eq!((&*rows[0], &*rows[1]), ("above", ""));
    assert_eq!((&*rows[3], &*rows[4], &*rows[5]), ("", "below", ""));
    assert!(!screen.alternate_screen() && !screen.hide_cursor());
    assert!(!screen.application_cursor() && !screen.bracketed_paste());
    let (row, column) = screen.cursor_position();
    let asked = terminal.callbacks().0.clone();
    (asked, (row, column), rows[2].clone())
}

/// A terminal that counts code points takes more columns for these than we do by graphemes.
const WIDER_THERE: [&str; 1] = ["emoji-zwj"];

/// Both ends of a long text.
fn ends(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= 300 {
        return format!("{text:?}");
    }
    let head: String = chars[..60].iter().collect();
    let tail: String = chars[chars.len() - 60..].iter().collect();
    format!("{head:?} … {tail:?} ({} characters)", chars.len())
}

/// What is left of each line, for a reader to judge: what matters must still be there.
#[test]
fn what_is_left_is_text() {
    let mut left = String::new();
    for (name, line) in corpus() {
        let styled = sanitize(&line);
        writeln!(left, "{name}: {}", ends(&styled.text)).expect("written");
        for span in &styled.spans {
            let part = ends(&styled.text[span.range.clone()]);
            writeln!(left, "    {part} {:?}", span.style).expect("written");
        }
    }
    insta::assert_snapshot!(left);
}

#[test]
fn no_line_does_anything_to_a_terminal() {
    for (name, line) in corpus() {
        let styled = sanitize(&line);
        assert!(!styled.text.contains(needs_care), "{name}");
        assert!(!styled.text.contains('\n'), "{name}");
        let shown = truncate(&styled.text, 390);
        let (asked, (row, column), _) = on_a_terminal(&shown);
        assert_eq!((asked, row), (Vec::new(), 2), "{name}");
        if !WIDER_THERE.contains(&&*name) {
            assert_eq!(usize::from(column), width(&shown), "{name}");
        }
        if width(&styled.text) < 390 {
            let (asked, (row, _), text) = on_a_terminal(&to_ansi(&styled));
            assert_eq!((asked, row), (Vec::new(), 2), "{name}");
            let expected = styled.text.replace('\u{fffd}', "?");
            // It keeps fewer marks on a character than we let through.
            if name != "combining-tower" {
                assert_eq!(text.trim_end(), expected.trim_end(), "{name}");
            }
        }
    }
}

/// The terminal notices: what it is given raw does something, or the test above says nothing.
#[test]
fn the_terminal_is_one_that_obeys() {
    for wanted in ["title-set", "osc52-clipboard", "delete-and-bells"] {
        let corpus = corpus();
        let (name, line) = corpus.iter().find(|(name, _)| name == wanted).unwrap();
        let (asked, _, _) = on_a_terminal(&String::from_utf8_lossy(line));
        assert!(!asked.is_empty(), "{name}");
    }
}

#[test]
fn names_labels_and_messages_are_as_safe_as_lines() {
    for (name, line) in corpus() {
        let text = String::from_utf8_lossy(&line);
        let plain = sanitize_plain(&text);
        assert!(!plain.contains(needs_care), "{name}");
        let (asked, (row, _), _) = on_a_terminal(&truncate(&plain, 390));
        assert_eq!((asked, row), (Vec::new(), 2), "{name}");
    }
}

#[test]
fn no_string_of_a_structured_line_does_more() {
    for (name, line) in corpus() {
        let text = String::from_utf8_lossy(&line);
        let whole = serde_json::json!({ "msg": text, "k": [text], "a": { &*text: text }, "z": 1 });
        let parsed = structured::parse(whole.to_string().as_bytes()).expect("an object");
        let shown = parsed.one_line(None);
        assert!(!shown.contains(needs_care), "{name}: {shown:?}");
        assert_eq!(sanitize(shown.as_bytes()).text, shown, "{name}");
        let (asked, (row, _), _) = on_a_terminal(&truncate(&shown, 390));
        assert_eq!((asked, row), (Vec::new(), 2), "{name}");
        if line.len() < 2000 {
            assert!(shown.ends_with(" z=1"), "{name}: {shown:?}");
        }
        for (path, value) in parsed.expanded() {
            assert!(!path.contains(needs_care), "{name}: {path:?}");
            for line in value.split('\n') {
                assert!(!line.contains(needs_care), "{name}: {line:?}");
            }
        }
    }
}

#[test]
fn what_is_shown_is_what_is_measured_wrapped_and_found() {
    let any = Matcher::new(".").expect("a pattern");
    for (name, line) in corpus() {
        level(&line);
        let text = sanitize(&line).text;
        for row in rows(&text, 80) {
            assert!(width(&text[row]) <= 80, "{name}");
        }
        assert_eq!(any.is_match(&line), !text.is_empty(), "{name}");
        let most = most_in_one_place(&text);
        assert!(most <= 40, "{name}: {most} characters in one cell");
    }
}

/// How many characters one cell of a screen has to hold.
fn most_in_one_place(text: &str) -> usize {
    let cells = rows(text, 1).into_iter();
    let counts = cells.map(|cell| text[cell].chars().count());
    counts.max().unwrap_or_default()
}
