//! Showing only some of the lines of a pane.

use crate::logs::index::Sieve;
use crate::text::level::Level;
use crate::text::matcher::Matcher;
use crate::text::sanitize::sanitize_plain;
use crate::tui::effect::Effect;
use crate::tui::state::dialog::Dialog;
use crate::tui::state::{Pane, State};

use super::{command, dialogs, logs};

/// Lines of context, one after the other.
const CONTEXTS: [u64; 4] = [0, 1, 3, 10];

pub(super) fn open(state: &mut State) {
    let pane = dialogs::to_text(state);
    let Some((pager, ..)) = command::pager(state) else {
        return;
    };
    let saved = Box::new(pager.sieve());
    state.dialog = Some(Dialog::Filter {
        pane,
        input: tui_input::Input::default(),
        saved,
    });
}

/// Filters by what was typed; the level stays. A leading `!` inverts.
pub(super) fn by_text(state: &mut State, pane: Pane, text: &str, effects: &mut Vec<Effect>) {
    let sieve = state.pane_of(pane).0.sieve();
    let (pattern, inverted) = match text.strip_prefix('!') {
        Some(pattern) => (pattern, true),
        None => (text, false),
    };
    let matcher = Matcher::new(pattern);
    let sieve = Sieve {
        inverted: inverted && matcher.is_some(),
        matcher,
        ..sieve
    };
    set(state, pane, sieve, effects);
}

/// Gives a pane a filter and begins it at once; a sieve that holds nothing back takes it away.
pub(super) fn set(state: &mut State, pane: Pane, sieve: Sieve, effects: &mut Vec<Effect>) {
    let (pager, store) = state.pane_of_mut(pane);
    pager.set_filter(store, sieve);
    logs::look_for(
        state,
        pane,
        |pager| pager.next_filter.iter_mut().collect(),
        effects,
    );
}

/// Keeps what the dialog shows; an empty pattern takes the one before away.
pub(super) fn confirm(state: &mut State, pane: Pane, text: &str, effects: &mut Vec<Effect>) {
    if text.is_empty() {
        by_text(state, pane, text, effects);
    }
    let Some((pager, ..)) = command::pager(state) else {
        return;
    };
    let sieve = pager.sieve();
    let problem = sieve.matcher.as_ref().and_then(Matcher::problem);
    if let Some(problem) = problem {
        let problem = sanitize_plain(problem);
        state.notify(format!(
            "filtered literally, as it is no expression: {problem}"
        ));
    }
}

/// Ends the filter of the focused pane; says whether there was one.
pub(super) fn end(state: &mut State, effects: &mut Vec<Effect>) -> bool {
    let pane = state.focus;
    if pane == Pane::Replays && state.replays.query().is_some() {
        state.replays.set_query(None);
        return true;
    }
    let is_filtered = command::pager(state).is_some_and(|(pager, ..)| pager.filtering().is_some());
    if is_filtered {
        set(state, pane, Sieve::default(), effects);
    }
    is_filtered
}

pub(super) fn next_level(state: &mut State, effects: &mut Vec<Effect>) {
    let pane = state.focus;
    let Some((pager, ..)) = command::pager(state) else {
        return;
    };
    let sieve = pager.sieve();
    let level = match sieve.level {
        None => Some(Level::Debug),
        Some(Level::Trace | Level::Debug) => Some(Level::Info),
        Some(Level::Info) => Some(Level::Warn),
        Some(Level::Warn) => Some(Level::Error),
        Some(Level::Error | Level::Fatal) => None,
    };
    set(state, pane, Sieve { level, ..sieve }, effects);
    state.notify(match level {
        Some(level) => format!("only {level} and above"),
        None => "lines of every level".to_owned(),
    });
}

pub(super) fn next_context(state: &mut State) {
    let Some((pager, store, _)) = command::pager(state) else {
        return;
    };
    pager.hold(store);
    let at = CONTEXTS.iter().position(|lines| *lines == pager.context);
    let next = CONTEXTS.iter().cycle().nth(at.map_or(0, |at| at + 1));
    let lines = next.copied().unwrap_or(0);
    pager.context = lines;
    let is_filtered = pager.filtering().is_some();
    state.notify(match (lines, is_filtered) {
        (0, _) => "no lines around what passes the filter".to_owned(),
        (lines, true) => format!("{lines} lines around what passes the filter"),
        (lines, false) => format!("{lines} lines around what passes a filter; & filters"),
    });
}
