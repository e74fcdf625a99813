//! What lies over the panes.

use tui_input::Input;

use super::Pane;
use super::cursor::Cursor;
use super::run_form::RunForm;
use crate::domain::line::SourceId;
use crate::domain::replay::ReplayName;
use crate::logs::extract::Extract;
use crate::logs::index::{Index, Sieve};
use crate::logs::store::LineId;
use crate::replay::Query;
use crate::tui::keymap::{COMMANDS, Context, Spec};

#[derive(Clone, Debug)]
pub enum Dialog {
    Help {
        top: usize,
    },
    Details {
        source: SourceId,
        top: usize,
    },
    Palette {
        input: Input,
        cursor: Cursor,
    },
    Search {
        pane: Pane,
        input: Input,
        /// What was searched before, for when this is given up.
        saved: Option<Box<Index>>,
    },
    Filter {
        pane: Pane,
        input: Input,
        /// What was let through before, for when this is given up.
        saved: Box<Sieve>,
    },
    /// Asks which replays to show.
    Select {
        input: Input,
        /// What was shown before, for when this is given up.
        saved: Option<Query>,
        /// The replay that the cursor goes back to as soon as it is shown.
        at: Option<ReplayName>,
    },
    /// What is known of a replay.
    Replay {
        name: ReplayName,
        top: usize,
    },
    /// Asks how replays are to be run.
    Run(RunForm),
    /// Asks for a moment to go to.
    Time {
        input: Input,
    },
    /// Whose lines an incident shows.
    Sources {
        cursor: Cursor,
    },
    /// All that has changed since the replay last passed.
    Changes {
        top: usize,
    },
    /// All of one line.
    Record {
        pane: Pane,
        line: LineId,
        cursor: Cursor,
    },
    /// The run of a recording.
    RunInfo {
        cursor: Cursor,
    },
    /// What a pane showed when it was asked, to go to a file.
    Save {
        input: Input,
        extract: Box<Extract>,
        /// The file that is there already, and may be written over.
        exists: Option<String>,
    },
    /// The teardown itself is in the state: it goes on when the dialog is closed.
    Teardown,
    Quit,
}

impl Dialog {
    pub fn context(&self) -> Context {
        match self {
            Self::Help { .. } => Context::Help,
            Self::Details { .. } | Self::Replay { .. } => Context::Details,
            Self::Run(_) => Context::RunForm,
            Self::Palette { .. } => Context::Palette,
            Self::Search { .. } | Self::Filter { .. } | Self::Select { .. } | Self::Time { .. } => {
                Context::Search
            }
            Self::Record { .. } => Context::Record,
            Self::Sources { .. } => Context::Sources,
            Self::Changes { .. } => Context::Changes,
            Self::RunInfo { .. } => Context::RunInfo,
            Self::Save { .. } => Context::Save,
            Self::Teardown => Context::Teardown,
            Self::Quit => Context::Quit,
        }
    }
}

/// The commands that a palette offers in a pane: those whose name or description has the typed
/// letters in order, names that match first.
pub fn offers(context: Context, in_recording: bool, typed: &str) -> Vec<&'static Spec> {
    let mut found: Vec<(u8, &Spec)> = COMMANDS
        .iter()
        .filter(|spec| spec.contexts.contains(&context))
        .filter(|spec| spec.command.is_offered(in_recording))
        .filter_map(|spec| Some((rank(spec, typed)?, spec)))
        .collect();
    found.sort_by_key(|(rank, _)| *rank);
    found.into_iter().map(|(_, spec)| spec).collect()
}

fn rank(spec: &Spec, typed: &str) -> Option<u8> {
    let typed = typed.trim().to_lowercase();
    if spec.name.starts_with(&typed) {
        Some(0)
    } else if spec.name.contains(&typed) {
        Some(1)
    } else if is_subsequence(&typed, spec.name) {
        Some(2)
    } else if spec.description.to_lowercase().contains(&typed) {
        Some(3)
    } else {
        None
    }
}

fn is_subsequence(letters: &str, text: &str) -> bool {
    let mut rest = text.chars();
    letters
        .chars()
        .all(|letter| rest.any(|other| other == letter))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::keymap::Command;

    fn names(typed: &str) -> Vec<&'static str> {
        offers(Context::Logs, false, typed)
            .iter()
            .map(|spec| spec.name)
            .collect()
    }

    #[test]
    fn a_command_is_found_by_a_few_of_its_letters() {
        assert_eq!(names("wrap"), ["wrap"]);
        assert_eq!(names("wr").first(), Some(&"wrap"));
        assert!(names("nxh").contains(&"next-hit"));
        assert!(names("clipboard").is_empty());
        assert!(names("sideways").contains(&"wrap"));
        let all = names("").len();
        let here = COMMANDS
            .iter()
            .filter(|s| s.contexts.contains(&Context::Logs))
            .filter(|s| s.command != Command::RunInfo);
        assert_eq!(all, here.count());
    }
}
