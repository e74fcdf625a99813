//! The help: the table of commands, as it applies where one is.

use super::draw::prose;
use crate::tui::keymap::{COMMANDS, Context};

/// Columns of the keys on the left.
pub(crate) const KEYS: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HelpLine {
    Title(String),
    /// A description that goes on has rows without keys.
    Command {
        keys: String,
        text: String,
    },
    Blank,
}

/// What is particular to the place first, then what works in every pane.
pub(crate) fn lines(context: Context, in_recording: bool, columns: usize) -> Vec<HelpLine> {
    let everywhere = |contexts: &[Context]| contexts.contains(&Context::Diagnostics);
    let part = |general: bool| {
        COMMANDS
            .iter()
            .filter(move |spec| {
                spec.contexts.contains(&context)
                    && everywhere(spec.contexts) == general
                    && spec.command.is_offered(in_recording)
            })
            .flat_map(move |spec| {
                let rows = prose(spec.description, columns.saturating_sub(KEYS).max(10));
                rows.into_iter().enumerate().map(|(index, text)| {
                    let keys = if index == 0 {
                        spec.keys.join(" ")
                    } else {
                        String::new()
                    };
                    HelpLine::Command { keys, text }
                })
            })
    };
    let mut lines = Vec::new();
    let own: Vec<HelpLine> = part(false).collect();
    if !own.is_empty() {
        lines.push(HelpLine::Title(context.title().to_owned()));
        lines.extend(own);
        lines.push(HelpLine::Blank);
    }
    lines.push(HelpLine::Title("Everywhere".to_owned()));
    lines.extend(part(true));
    lines
}
