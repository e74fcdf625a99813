//! Clicks and the wheel.

use ratatui::layout::Position;

use super::{command, current_layout};
use crate::tui::effect::Effect;
use crate::tui::layout::{Layout, PaneArea};
use crate::tui::msg::{Mouse, MouseAction};
use crate::tui::state::tree::Row;
use crate::tui::state::{Pane, State, dialog::Dialog};

/// Rows per notch of the wheel.
const WHEEL: isize = 3;

pub(super) fn on_mouse(state: &mut State, mouse: Mouse, effects: &mut Vec<Effect>) {
    let layout = current_layout(state);
    let rows = match mouse.action {
        MouseAction::Click => 0,
        MouseAction::WheelUp => -WHEEL,
        MouseAction::WheelDown => WHEEL,
    };
    if let Some(dialog) = &mut state.dialog {
        match dialog {
            Dialog::Help { top }
            | Dialog::Details { top, .. }
            | Dialog::Replay { top, .. }
            | Dialog::Changes { top } => {
                *top = top.saturating_add_signed(rows);
            }
            Dialog::Sources { cursor } if mouse.action == MouseAction::Click => {
                let inner = layout.dialog_inner();
                if inner.contains(mouse.at) {
                    cursor.go(cursor.top() + usize::from(mouse.at.y - inner.y));
                    super::incident::toggle_source(state, effects);
                }
            }
            Dialog::Palette { cursor, .. }
            | Dialog::Record { cursor, .. }
            | Dialog::Sources { cursor }
            | Dialog::RunInfo { cursor } => cursor.by(rows),
            Dialog::Teardown => {
                if let Some(teardown) = &mut state.teardown {
                    teardown.top = teardown.top.saturating_add_signed(rows);
                }
            }
            Dialog::Search { .. }
            | Dialog::Filter { .. }
            | Dialog::Select { .. }
            | Dialog::Run(_)
            | Dialog::Time { .. }
            | Dialog::Save { .. }
            | Dialog::Quit => {}
        }
        return;
    }
    let Some(area) = layout.pane_at(mouse.at).copied() else {
        return;
    };
    match mouse.action {
        MouseAction::Click => click(state, &area, mouse.at),
        MouseAction::WheelUp | MouseAction::WheelDown => wheel(state, &layout, &area, rows),
    }
}

fn click(state: &mut State, area: &PaneArea, at: Position) {
    state.focus = area.pane;
    if !area.inner.contains(at) {
        return;
    }
    let row = usize::from(at.y - area.inner.y);
    match area.pane {
        Pane::Containers => {
            let target = state.tree.cursor.top() + row;
            let Some(on) = state.tree.rows().get(target) else {
                return;
            };
            let is_group = matches!(on, Row::Group(_));
            state.tree.cursor.go(target);
            // The triangle at the start of a group's row.
            if is_group && at.x - area.inner.x < 4 {
                let folded = state
                    .tree
                    .selected_group()
                    .is_some_and(|group| state.tree.is_folded(group));
                state.tree.fold(!folded);
            }
        }
        Pane::Replays => {
            let target = state.replays.cursor.top() + row;
            if target < state.replays.list().len() {
                state.replays.cursor.go(target);
                super::run::user_moved(state);
            }
        }
        Pane::Logs | Pane::Output | Pane::Incident => {
            if let Some((pane, store, size)) = command::pager(state)
                && let Some(place) = pane.window(store, size).get(row)
            {
                pane.pick_line(store, size, place.line);
            }
        }
        Pane::Diagnostics => {}
    }
}

fn wheel(state: &mut State, layout: &Layout, area: &PaneArea, rows: isize) {
    match area.pane {
        Pane::Containers => state.tree.cursor.by(rows),
        Pane::Replays => {
            state.replays.cursor.by(rows);
            super::run::user_moved(state);
        }
        pane @ (Pane::Logs | Pane::Output | Pane::Incident) => {
            let (pager, store) = state.pane_of_mut(pane);
            command::move_by(pager, store, layout.size(pane), rows);
        }
        Pane::Diagnostics => {}
    }
}
