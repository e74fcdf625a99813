//! Going to a line: an error, a bookmark, a moment.

use crate::domain::moment::{MOMENT_HELP, parse_moment};
use crate::logs::store::LineId;
use crate::text::level::Level;
use crate::tui::effect::Effect;
use crate::tui::state::dialog::Dialog;
use crate::tui::state::{Pane, State};

use super::{command, logs};

pub(super) fn next_error(state: &mut State, forward: bool) {
    let Some((pager, store, size)) = command::pager(state) else {
        return;
    };
    match pager.next_of_level(store, size, Level::Error, forward) {
        Some(line) => {
            pager.go_to(store, size, line);
        }
        None if forward => state.notify("no error behind this line"),
        None => state.notify("no error before this line"),
    }
}

pub(super) fn toggle_bookmark(state: &mut State) {
    let Some((pager, store, size)) = command::pager(state) else {
        return;
    };
    let line = pager.current_line(store, size);
    let Some(entry) = line.and_then(|line| store.get(line)) else {
        state.notify("there is no line to mark");
        return;
    };
    let set = pager.bookmarks.toggle(entry.source, entry.id);
    state.notify(match set {
        true => "bookmark set; ' goes to the next one",
        false => "bookmark taken away",
    });
}

pub(super) fn next_bookmark(state: &mut State, forward: bool, effects: &mut Vec<Effect>) {
    let Some((pager, store, size)) = command::pager(state) else {
        return;
    };
    match pager.next_bookmark(store, size, forward) {
        Some(line) => go(state, line, effects),
        None if pager.has_bookmarks() => state.notify("the filter hides the bookmarks"),
        None => state.notify("no bookmark here; m sets one"),
    }
}

pub(super) fn ask_for_time(state: &mut State) {
    if command::pager(state).is_some() {
        let input = tui_input::Input::default();
        state.dialog = Some(Dialog::Time { input });
    }
}

/// Goes to the first line of a time, or after it; stays in the dialog if it is none.
pub(super) fn go_to_time(state: &mut State, text: &str, effects: &mut Vec<Effect>) {
    if text.trim().is_empty() {
        state.dialog = None;
        return;
    }
    let now = match &state.recorded {
        // Only the logs are by the clock of the engine.
        Some(recorded) if state.focus != Pane::Logs => recorded.opened.by_runner(state.now),
        _ => state.now,
    };
    let now = now.to_zoned(state.setup.zone.clone());
    match parse_moment(text, &now) {
        Some(at) => {
            state.dialog = None;
            go(state, LineId::at(at), effects);
        }
        None => state.notify(MOMENT_HELP),
    }
}

/// Goes to a line or to what comes next; what is not held there is read first.
fn go(state: &mut State, line: LineId, effects: &mut Vec<Effect>) {
    if state.focus == Pane::Logs && logs::read_at(state, line, effects) {
        state.log_pane.pin(&state.logs, line);
        state.notify("the lines of that time are being read");
        return;
    }
    let Some((pager, store, size)) = command::pager(state) else {
        return;
    };
    if !pager.go_to(store, size, line) {
        pager.follow();
        state.notify("no line is that late; this is the end");
    }
}
