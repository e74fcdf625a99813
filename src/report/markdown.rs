//! Markdown, for READMEs.

use std::sync::Arc;

use crate::domain::replay::Replay;
use crate::text::sanitize::sanitize_plain;

/// What there is to replay: name, what it closes, what it proves.
pub fn replay_table(replays: &[Arc<Replay>]) -> String {
    let mut table = "| replay | closes | what it proves |\n| --- | --- | --- |\n".to_owned();
    for replay in replays {
        let closes = replay.header.closes.join(", ");
        let proves = replay.header.description.as_deref().unwrap_or_default();
        table.push_str(&format!(
            "| [`{}`]({}) | {} | {} |\n",
            cell(replay.name.as_str()),
            target(&replay.file),
            cell(&closes),
            cell(proves)
        ));
    }
    table
}

/// A link's target in which every byte that could end it, or its row, is a percent sequence.
fn target(file: &str) -> String {
    let mut target = String::new();
    for byte in file.bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-~".contains(&byte) {
            target.push(char::from(byte));
        } else {
            target.push_str(&format!("%{byte:02X}"));
        }
    }
    target
}

/// Text that cannot end its cell or become markup.
fn cell(text: &str) -> String {
    let mut safe = String::new();
    for c in sanitize_plain(text).chars() {
        if matches!(c, '|' | '\\' | '<' | '*' | '[' | ']') {
            safe.push('\\');
        }
        safe.push(c);
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::replay::{Header, ReplayName};

    #[test]
    fn a_row_is_a_row_whatever_is_in_it() {
        let replay = Replay {
            name: ReplayName::new("a b"),
            suite: crate::domain::suite::SuiteName::default(),
            path: "/r/a b.sh".into(),
            file: "r/a b\n].sh".to_owned(),
            header: Header {
                description: Some("one | two <b> *x*\n".to_owned()),
                closes: vec!["#1".to_owned(), "#2".to_owned()],
                ..Header::default()
            },
        };
        let table = replay_table(&[Arc::new(replay)]);
        assert_eq!(
            table.lines().nth(2),
            Some("| [`a b`](r/a%20b%0A%5D.sh) | #1, #2 | one \\| two \\<b> \\*x\\* |")
        );
    }
}
