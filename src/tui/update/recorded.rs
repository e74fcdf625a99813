//! A recording in the place of an engine and a harness: what happened in it, and its outputs.

use std::sync::Arc;

use crate::domain::line::{Channel, SourceId};
use crate::domain::run::StepOutcome;
use crate::record::Opened;
use crate::tui::effect::Effect;
use crate::tui::keymap::Command;
use crate::tui::msg::OutputLines;
use crate::tui::state::cursor::Cursor;
use crate::tui::state::dialog::Dialog;
use crate::tui::state::recorded::Recorded;
use crate::tui::state::run::Subject;
use crate::tui::state::{Pane, Screen, State};
use crate::tui::view;

use super::current_layout;
use super::logs::{forget, push};

/// Takes in all that happened, as if it had been watched.
pub(super) fn open(state: &mut State, opened: Arc<Opened>) {
    state.replays.set(opened.recording.replays.clone());
    for event in &opened.events {
        state.replays.fold(event.at, &event.kind);
    }
    state.replays.run_ended();
    let mut steps = opened.recording.summary.steps.iter();
    let failed_step = steps.find(|step| matches!(step.outcome, StepOutcome::Failed { .. }));
    if let Some(step) = failed_step {
        state.subject = Subject::Step(step.step);
    }
    if let Some(first) = state.replays.failed().first() {
        let first = first.clone();
        state.replays.select(&first);
    }
    state.recorded = Some(Recorded::new(opened));
}

/// Whether a command would change what cannot be changed; then it is said why nothing happens.
pub(super) fn refuses(state: &mut State, command: Command) -> bool {
    let refused = state.recorded.is_some() && command.acts();
    if refused {
        state.notify("this is a recording: nothing can be run, booted or taken down");
    }
    refused
}

/// Has the output read that is shown, unless it is there.
pub(super) fn want_output(state: &mut State, source: &SourceId, effects: &mut Vec<Effect>) {
    let Some(recorded) = &mut state.recorded else {
        return;
    };
    if state.outputs.usage(source).entries == 0 {
        recorded.is_empty(source);
    }
    if let Some(pieces) = recorded.ask(source) {
        effects.push(Effect::ReadOutput(source.clone(), pieces));
    }
}

pub(super) fn output(state: &mut State, source: &SourceId, lines: OutputLines) {
    let (store, pane) = (&mut state.outputs, &mut state.output_pane);
    for (at, line) in lines {
        push(store, pane, source, at, Channel::Out, &line);
    }
    forget(store, pane);
    if let Some(recorded) = &mut state.recorded
        && store.usage(source).entries > 0
    {
        recorded.filled(source);
    }
}

pub(super) fn open_info(state: &mut State) {
    if state.recorded.is_none() {
        state.notify("this is no recording; tackroom open shows a kept run");
        return;
    }
    let mut cursor = Cursor::default();
    state.dialog = Some(Dialog::RunInfo { cursor });
    let rows = run_info_rows(state);
    cursor.go(rows.iter().position(|row| row.step.is_some()).unwrap_or(0));
    state.dialog = Some(Dialog::RunInfo { cursor });
}

fn run_info_rows(state: &State) -> Vec<view::run_info::InfoRow> {
    let columns = usize::from(current_layout(state).dialog_inner().width);
    view::run_info::rows(state, columns)
}

/// Shows the output of the step under the cursor.
pub(super) fn open_step(state: &mut State) {
    let Some(Dialog::RunInfo { cursor }) = &state.dialog else {
        return;
    };
    let rows = run_info_rows(state);
    let Some(step) = rows.get(cursor.at()).and_then(|row| row.step) else {
        state.notify("enter shows the output of a step; the steps stand below");
        return;
    };
    state.dialog = None;
    state.subject = Subject::Step(step);
    if !state.screen.panes().contains(&Pane::Output) {
        state.screen = Screen::Cockpit;
    }
    state.zoom = false;
    state.focus = Pane::Output;
}
