//! Clicks and the wheel.

use ratatui::layout::Position;

use super::{command, current_layout};
use crate::tui::layout::{Layout, PaneArea};
use crate::tui::msg::{Mouse, MouseAction};
use crate::tui::state::tree::Row;
use crate::tui::state::{Pane, State, dialog::Dialog};

/// Rows per notch of the wheel.
const WHEEL: isize = 3;

pub(super) fn on_mouse(state: &mut State, mouse: Mouse) {
    let layout = current_layout(state);
    let rows = match mouse.action {
        MouseAction::Click => 0,
        MouseAction::WheelUp => -WHEEL,
        MouseAction::WheelDown => WHEEL,
    };
    if let Some(dialog) = &mut state.dialog {
        match dialog {
            Dialog::Help { top } | Dialog::Details { top, .. } => {
                *top = top.saturating_add_signed(rows);
            }
            Dialog::Palette { cursor, .. } | Dialog::Record { cursor, .. } => cursor.by(rows),
            Dialog::Teardown => {
                if let Some(teardown) = &mut state.teardown {
                    teardown.top = teardown.top.saturating_add_signed(rows);
                }
            }
            Dialog::Search { .. }
            | Dialog::Filter { .. }
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
        Pane::Logs | Pane::Output => {
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
        Pane::Logs => command::move_by(
            &mut state.log_pane,
            &state.logs,
            layout.size(Pane::Logs),
            rows,
        ),
        Pane::Output => command::move_by(
            &mut state.output_pane,
            &state.outputs,
            layout.size(Pane::Output),
            rows,
        ),
        Pane::Diagnostics => {}
    }
}
