//! Opening the timeline of a replay, and finding one's way in it.

use crate::domain::incident::Mark;
use crate::domain::replay::ReplayName;
use crate::text::sanitize::sanitize_plain;
use crate::tui::effect::Effect;
use crate::tui::state::cursor::Cursor;
use crate::tui::state::dialog::Dialog;
use crate::tui::state::incident::{Loaded, Stage};
use crate::tui::state::{Pane, Screen, State};

use super::{current_layout, logs};

/// Shows the timeline of a replay as soon as it is read.
pub(super) fn open(state: &mut State, replay: ReplayName, effects: &mut Vec<Effect>) {
    state.tickets += 1;
    let ticket = state.tickets;
    let run = state.ran_in.get(&replay).cloned();
    let from = (state.screen, state.focus);
    state.incident.begin(replay.clone(), ticket, from);
    state.screen = Screen::Incident;
    state.focus = Pane::Incident;
    state.zoom = false;
    effects.push(Effect::ReadIncident {
        ticket,
        run,
        replay,
    });
}

pub(super) fn loaded(state: &mut State, ticket: u64, result: Result<Box<Loaded>, String>) {
    if state.incident.ticket != ticket || !matches!(state.incident.stage, Stage::Reading) {
        return;
    }
    match result {
        Err(problem) => {
            state.incident.stage = Stage::Failed(sanitize_plain(&problem).into_owned());
        }
        Ok(loaded) => {
            state.incident.open(*loaded);
            begin_at_the_cause(state);
        }
    }
}

/// What failed is in sight, with what came before it above.
fn begin_at_the_cause(state: &mut State) {
    let size = current_layout(state).size(Pane::Incident);
    let (pager, store) = state.pane_of_mut(Pane::Incident);
    let marks = || pager.marks.iter();
    let failed = marks().find(|(_, mark)| matches!(mark, Mark::Assertion(_)));
    let first = failed.or_else(|| marks().next()).map(|(line, _)| *line);
    match first {
        Some(line) => drop(pager.go_to(store, size, line)),
        None => pager.to_top(store, size),
    }
}

/// Goes back to where it was opened.
pub(super) fn leave(state: &mut State, effects: &mut Vec<Effect>) {
    let (screen, focus) = state.incident.from;
    if matches!(state.incident.stage, Stage::Reading) {
        effects.push(Effect::StopIncident);
    }
    state.incident.close();
    (state.screen, state.focus) = (screen, focus);
}

pub(super) fn next_mark(state: &mut State, forward: bool) {
    let size = current_layout(state).size(Pane::Incident);
    let (pager, store) = state.pane_of_mut(Pane::Incident);
    let Some(line) = pager.next_mark(store, size, forward) else {
        let text = match (pager.marks.is_empty(), forward) {
            (true, _) => "nothing is marked here",
            (false, true) => "no mark behind this line",
            (false, false) => "no mark before this line",
        };
        state.notify(text);
        return;
    };
    let mark = pager.marks.get(&line).copied();
    pager.go_to(store, size, line);
    if let Some(mark) = mark {
        state.notify(mark.words());
    }
}

pub(super) fn open_sources(state: &mut State) {
    if state.incident.head().is_some() {
        state.dialog = Some(Dialog::Sources {
            cursor: Cursor::default(),
        });
    }
}

pub(super) fn open_changes(state: &mut State) {
    if state.incident.head().is_some() {
        state.dialog = Some(Dialog::Changes { top: 0 });
    }
}

pub(super) fn bundle(state: &mut State, effects: &mut Vec<Effect>) {
    if let Some(head) = state.incident.head() {
        effects.push(Effect::Bundle(head.run.clone()));
        state.notify("packing the run");
    }
}

/// The row of the list that has the cursor.
fn chosen(state: &State) -> Option<usize> {
    match &state.dialog {
        Some(Dialog::Sources { cursor }) => Some(cursor.at()),
        _ => None,
    }
}

pub(super) fn toggle_source(state: &mut State, effects: &mut Vec<Effect>) {
    let Some(row) = chosen(state) else { return };
    let mut shown = state.incident.shown.clone();
    if let Some(on) = shown.get_mut(row) {
        *on = !*on;
    }
    set(state, shown, effects);
}

pub(super) fn only_source(state: &mut State, effects: &mut Vec<Effect>) {
    let Some(row) = chosen(state) else { return };
    let now = &state.incident.shown;
    let only: Vec<bool> = (0..now.len()).map(|number| number == row).collect();
    let all = vec![true; now.len()];
    let shown = if *now == only { all } else { only };
    set(state, shown, effects);
}

/// Shows these, and stays at the time that was looked at.
fn set(state: &mut State, shown: Vec<bool>, effects: &mut Vec<Effect>) {
    let size = current_layout(state).size(Pane::Incident);
    let (pager, store) = state.pane_of_mut(Pane::Incident);
    let line = pager.window(store, size).first().map(|place| place.line);
    state.incident.shown = shown;
    if state.incident.show() {
        let (pager, store) = state.pane_of_mut(Pane::Incident);
        pager.stay_at(store, size, line);
        logs::look_again(state, Pane::Incident, effects);
    }
}
