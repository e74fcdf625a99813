//! What can be done and with which key: one table. Help, footer, palette and the list of keys in
//! the documentation are read from it, so none of them can disagree.

mod commands;
mod key;

pub use commands::{COMMANDS, Command, Spec};
pub use key::{Key, KeyError};

/// Where a key is pressed: the focused pane, or what lies over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Context {
    Containers,
    Replays,
    Logs,
    Output,
    Diagnostics,
    Incident,
    Help,
    Details,
    Palette,
    Search,
    Record,
    Sources,
    Changes,
    RunInfo,
    Save,
    Teardown,
    RunForm,
    Quit,
}

impl Context {
    pub const ALL: [Self; 18] = [
        Self::Containers,
        Self::Replays,
        Self::Logs,
        Self::Output,
        Self::Diagnostics,
        Self::Incident,
        Self::Help,
        Self::Details,
        Self::Palette,
        Self::Search,
        Self::Record,
        Self::Sources,
        Self::Changes,
        Self::RunInfo,
        Self::Save,
        Self::Teardown,
        Self::RunForm,
        Self::Quit,
    ];

    pub fn title(self) -> &'static str {
        match self {
            Self::Containers => "Containers",
            Self::Replays => "Replays",
            Self::Logs => "Logs",
            Self::Output => "Output",
            Self::Diagnostics => "Diagnostics",
            Self::Incident => "Incident",
            Self::Help => "Help",
            Self::Details => "Details",
            Self::Palette => "Commands",
            Self::Search => "Search",
            Self::Record => "Line",
            Self::Sources => "Sources",
            Self::Changes => "Changes",
            Self::RunInfo => "Run",
            Self::Save => "Save",
            Self::Teardown => "Teardown",
            Self::RunForm => "Run with",
            Self::Quit => "Quit",
        }
    }

    /// Whether printable keys are text here.
    pub fn takes_text(self) -> bool {
        matches!(
            self,
            Self::Palette | Self::Search | Self::Save | Self::Teardown
        )
    }
}

/// What a key means in a context.
pub fn resolve(context: Context, key: Key) -> Option<Command> {
    COMMANDS
        .iter()
        .find(|spec| spec.contexts.contains(&context) && spec.keys().any(|bound| bound == key))
        .map(|spec| spec.command)
}

/// The entry of a command in the table.
pub fn spec(command: Command) -> &'static Spec {
    COMMANDS
        .iter()
        .find(|spec| spec.command == command)
        .unwrap_or(&COMMANDS[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_command_is_in_the_table_once_with_readable_keys() {
        let names: BTreeSet<&str> = COMMANDS.iter().map(|spec| spec.name).collect();
        assert_eq!(names.len(), COMMANDS.len());
        for spec in COMMANDS {
            assert_eq!(super::spec(spec.command).name, spec.name);
            assert_eq!(spec.keys().count(), spec.keys.len(), "{}", spec.name);
            assert!(!spec.keys.is_empty() && !spec.contexts.is_empty());
            assert!(spec.description.ends_with('.'), "{}", spec.name);
            for (text, key) in spec.keys.iter().zip(spec.keys()) {
                assert_eq!(key.to_string(), *text, "{}", spec.name);
            }
        }
    }

    #[test]
    fn a_key_means_one_thing_in_one_place() {
        for context in Context::ALL {
            let mut seen = BTreeSet::new();
            for spec in COMMANDS.iter().filter(|s| s.contexts.contains(&context)) {
                for key in spec.keys {
                    assert!(seen.insert(key), "{key} twice in {context:?}");
                }
            }
        }
    }

    #[test]
    fn where_text_is_typed_no_printable_key_is_a_command() {
        for context in Context::ALL.into_iter().filter(|c| c.takes_text()) {
            for spec in COMMANDS.iter().filter(|s| s.contexts.contains(&context)) {
                assert!(spec.keys().all(|key| key.text().is_none()), "{}", spec.name);
            }
        }
    }

    #[test]
    fn one_can_leave_every_place() {
        for context in Context::ALL {
            let escape = "esc".parse().unwrap();
            assert_eq!(resolve(context, escape), Some(Command::Back), "{context:?}");
            let interrupt = "ctrl-c".parse().unwrap();
            assert_eq!(resolve(context, interrupt), Some(Command::Interrupt));
        }
    }
}
