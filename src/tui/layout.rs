//! Where everything is. Pure, and shared by drawing, clicks and page sizes.

use ratatui::layout::{Position, Rect, Size};

use super::state::dialog::Dialog;
use super::state::run::Stage;
use super::state::{Pane, Screen, State};
use crate::domain::plan::TeardownPlan;

/// A terminal smaller than this gets one line that says so.
const USABLE: Size = Size {
    width: 24,
    height: 6,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    pub area: Rect,
    /// Whether there is room for anything but a hint.
    pub usable: bool,
    pub header: Rect,
    pub footer: Rect,
    pub panes: Vec<PaneArea>,
    /// With its border.
    pub dialog: Option<Rect>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaneArea {
    pub pane: Pane,
    /// With its border.
    pub area: Rect,
    /// What is said of the rows, above them.
    pub notes: Rect,
    /// Where rows are drawn.
    pub inner: Rect,
    /// Only a title line instead of a border all around.
    pub compact: bool,
}

impl Layout {
    pub fn pane(&self, pane: Pane) -> Option<&PaneArea> {
        self.panes.iter().find(|area| area.pane == pane)
    }

    pub fn shows(&self, pane: Pane) -> bool {
        self.pane(pane).is_some()
    }

    /// The size of a pane's inside; nothing where it is not on the screen.
    pub fn size(&self, pane: Pane) -> Size {
        self.pane(pane)
            .map_or(Size::ZERO, |area| area.inner.as_size())
    }

    pub fn pane_at(&self, at: Position) -> Option<&PaneArea> {
        self.panes.iter().find(|area| area.area.contains(at))
    }

    /// The inside of the dialog.
    pub fn dialog_inner(&self) -> Rect {
        self.dialog.map_or(Rect::ZERO, |area| inset(area, 2, 1))
    }
}

pub fn layout(area: Rect, state: &State) -> Layout {
    if area.width < USABLE.width || area.height < USABLE.height {
        return Layout {
            area,
            usable: false,
            header: Rect::ZERO,
            footer: Rect::ZERO,
            panes: Vec::new(),
            dialog: None,
        };
    }
    let row = |y| Rect {
        y,
        height: 1,
        ..area
    };
    let body = Rect {
        y: area.y + 1,
        height: area.height - 2,
        ..area
    };
    Layout {
        area,
        usable: true,
        header: row(area.y),
        footer: row(area.bottom() - 1),
        panes: panes(body, state),
        dialog: state
            .dialog
            .as_ref()
            .map(|dialog| dialog_area(body, dialog, state)),
    }
}

fn panes(body: Rect, state: &State) -> Vec<PaneArea> {
    let compact = body.width < 60 || body.height < 12;
    let place = |pane, area: Rect| {
        let inside = if compact {
            Rect {
                y: area.y + 1,
                height: area.height.saturating_sub(1),
                ..area
            }
        } else {
            inset(area, 1, 1)
        };
        let (notes, inner) = match pane {
            Pane::Incident => notes(inside, state),
            _ => (Rect::ZERO, inside),
        };
        PaneArea {
            pane,
            area,
            notes,
            inner,
            compact,
        }
    };
    let focus = state.focus;
    let wide = body.width >= 100;
    if state.zoom || compact {
        return vec![place(focus, body)];
    }
    match state.screen {
        Screen::Logs | Screen::Diagnostics | Screen::Incident => vec![place(focus, body)],
        Screen::Replays if wide => {
            let (left, right) = columns(body);
            vec![place(Pane::Replays, left), place(Pane::Output, right)]
        }
        Screen::Replays => pair(body, Pane::Replays, Pane::Output, state)
            .map(|(p, a)| place(p, a))
            .into(),
        Screen::Cockpit if wide && body.height >= 18 => {
            let (left, right) = columns(body);
            let (containers, replays) = lists(left, state);
            let (logs, output) = rows(right, right.height * 3 / 5);
            vec![
                place(Pane::Containers, containers),
                place(Pane::Replays, replays),
                place(Pane::Logs, logs),
                place(Pane::Output, output),
            ]
        }
        // Not room for four: the list that has the focus, or whose partner has it, and what
        // belongs to it.
        Screen::Cockpit => match focus {
            Pane::Replays | Pane::Output => pair(body, Pane::Replays, Pane::Output, state),
            // While a harness boots that has no containers yet, its hook has more to say.
            Pane::Containers if is_booting(state) => {
                pair(body, Pane::Containers, Pane::Output, state)
            }
            _ => pair(body, Pane::Containers, Pane::Logs, state),
        }
        .map(|(p, a)| place(p, a))
        .into(),
    }
}

/// What is said of an incident, and its timeline below.
fn notes(inside: Rect, state: &State) -> (Rect, Rect) {
    let zone = &state.setup.zone;
    let (above, below) = rows(inside, state.incident.note_rows(zone, inside.height));
    // A line divides them where there is room for one.
    let line = u16::from(above.height > 0 && inside.height >= 12);
    let below = Rect {
        y: below.y + line,
        height: below.height - line,
        ..below
    };
    (above, below)
}

fn is_booting(state: &State) -> bool {
    let step = state
        .active
        .as_ref()
        .and_then(|active| active.step.as_ref());
    step.is_some() && state.tree.log_sources().is_empty()
}

/// A list above what belongs to its selected row.
fn pair(body: Rect, list: Pane, detail: Pane, state: &State) -> [(Pane, Rect); 2] {
    let wanted = list_rows(list, state) + 2;
    let (top, bottom) = rows(body, wanted.clamp(4, body.height / 2));
    [(list, top), (detail, bottom)]
}

/// The left column. A list that is short leaves its room to the other one.
fn lists(left: Rect, state: &State) -> (Rect, Rect) {
    let containers = list_rows(Pane::Containers, state) + 2;
    let replays = list_rows(Pane::Replays, state) + 2;
    let half = left.height / 2;
    let height = if containers <= half {
        containers.max(left.height.saturating_sub(replays).min(half))
    } else {
        containers.min(left.height.saturating_sub(replays).max(half))
    };
    rows(left, height.clamp(5, left.height - 5))
}

fn list_rows(pane: Pane, state: &State) -> u16 {
    let rows = match pane {
        Pane::Containers => state.tree.rows().len() + 1,
        // Also while a filter narrows them down: nothing is to jump.
        _ => state.replays.found().len(),
    };
    u16::try_from(rows).unwrap_or(u16::MAX - 2).max(3)
}

fn columns(body: Rect) -> (Rect, Rect) {
    let left = (body.width / 2).clamp(48, 84);
    (
        Rect {
            width: left,
            ..body
        },
        Rect {
            x: body.x + left,
            width: body.width - left,
            ..body
        },
    )
}

fn rows(area: Rect, top: u16) -> (Rect, Rect) {
    let top = top.min(area.height);
    (
        Rect {
            height: top,
            ..area
        },
        Rect {
            y: area.y + top,
            height: area.height - top,
            ..area
        },
    )
}

fn inset(area: Rect, x: u16, y: u16) -> Rect {
    Rect {
        x: area.x + x.min(area.width),
        y: area.y + y.min(area.height),
        width: area.width.saturating_sub(2 * x),
        height: area.height.saturating_sub(2 * y),
    }
}

fn rows_of_list(len: usize) -> u16 {
    u16::try_from(len + 2).unwrap_or(u16::MAX)
}

/// Enough for a plan, with more rows around it; long texts take more and are scrolled.
fn rows_of_plan(plan: &TeardownPlan, more: usize) -> u16 {
    let rows = plan.remove.len() + plan.spare.len() + more + 13;
    u16::try_from(rows).unwrap_or(u16::MAX)
}

fn dialog_area(body: Rect, dialog: &Dialog, state: &State) -> Rect {
    let (width, height) = match dialog {
        Dialog::Help { .. } => (84, body.height),
        Dialog::Details { .. } => (100, body.height * 4 / 5),
        Dialog::Record { .. } => (140, body.height * 4 / 5),
        Dialog::Sources { .. } => (64, rows_of_list(state.incident.shown.len())),
        Dialog::Changes { .. } => (110, body.height * 4 / 5),
        Dialog::RunInfo { .. } => (100, body.height * 4 / 5),
        Dialog::Palette { .. } => (72, 16),
        Dialog::Save { .. } => (76, 7),
        Dialog::Replay { .. } => (100, body.height * 4 / 5),
        Dialog::Run(_) => (76, 13),
        Dialog::Search { .. }
        | Dialog::Filter { .. }
        | Dialog::Select { .. }
        | Dialog::Time { .. } => {
            return Rect {
                y: body.bottom() - 1,
                height: 1,
                ..body
            };
        }
        Dialog::Teardown => match state.teardown.as_ref().map(|teardown| &teardown.stage) {
            Some(Stage::Review { plan, .. } | Stage::Removing { plan, .. }) => {
                (100, rows_of_plan(plan, 0))
            }
            Some(Stage::Over { plan, left, .. }) => (100, rows_of_plan(plan, left.len() + 4)),
            Some(Stage::Planning | Stage::Refused(_)) | None => (72, 9),
        },
        Dialog::Quit => (64, 10),
    };
    let (width, height) = (body.width.min(width), body.height.min(height));
    Rect {
        x: body.x + (body.width - width) / 2,
        y: body.y + (body.height - height) / 2,
        width,
        height,
    }
}
