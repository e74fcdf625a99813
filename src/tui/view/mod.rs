//! Drawing the state. Nothing is changed here, and only rows that are on the screen cost work.

mod containers;
mod course;
pub(super) mod details;
mod dialogs;
mod draw;
mod header;
pub(super) mod help;
pub(super) mod incident;
mod lines;
pub(super) mod record;
pub(super) mod replay;
mod replays;
mod run_form;
pub(super) mod run_info;
mod sought;
pub(super) mod teardown;

#[cfg(test)]
mod tests;

use ratatui::Frame;
use ratatui::layout::Rect;
use tui_logger::TuiLoggerWidget;

use self::draw::{Row, Title, pane};
use super::keymap::{COMMANDS, Command, Context};
use super::layout::{Layout, PaneArea};
use super::state::dialog::Dialog;
use super::state::run::Stage;
use super::state::{Pane, State};
use super::theme::Role;
use crate::text::sanitize::sanitize_plain;
use crate::text::width::width;

/// Draws everything. The layout is that of the frame's area.
pub fn view(state: &State, layout: &Layout, frame: &mut Frame<'_>) {
    if !layout.usable {
        let style = state.setup.theme.style(Role::Strong);
        let area = layout.area;
        Row::new(frame.buffer_mut(), area, 0).text("window too small", style);
        return;
    }
    header::draw(state, layout.header, frame.buffer_mut());
    for area in &layout.panes {
        draw_pane(state, area, frame);
    }
    if let Some(area) = layout.dialog {
        dialogs::draw(state, layout, area, frame);
    }
    footer(state, layout.footer, frame);
}

fn draw_pane(state: &State, area: &PaneArea, frame: &mut Frame<'_>) {
    let buffer = frame.buffer_mut();
    let focused = state.focus == area.pane && state.dialog.is_none();
    match area.pane {
        Pane::Containers => containers::draw(state, area, focused, buffer),
        Pane::Replays => replays::draw(state, area, focused, buffer),
        Pane::Logs => lines::draw_logs(state, area, focused, buffer),
        Pane::Output => lines::draw_output(state, area, focused, buffer),
        Pane::Incident => incident::draw(state, area, focused, buffer),
        Pane::Diagnostics => {
            let theme = state.setup.theme;
            let title = Title {
                name: "Diagnostics",
                parts: vec![("what tackroom itself has to say".to_owned(), Role::Muted)],
            };
            pane(buffer, area, &title, focused, theme);
            let widget = TuiLoggerWidget::default()
                .output_file(false)
                .output_line(false)
                .style(theme.style(Role::Text))
                .style_error(theme.style(Role::Bad))
                .style_warn(theme.style(Role::Warning))
                .style_debug(theme.style(Role::Muted))
                .style_trace(theme.style(Role::Muted));
            frame.render_widget(widget, area.inner);
        }
    }
}

/// A notice while there is one, else the keys of this place, as many as fit.
fn footer(state: &State, area: Rect, frame: &mut Frame<'_>) {
    let theme = state.setup.theme;
    let mut row = Row::new(frame.buffer_mut(), area, 0);
    if let Some(notice) = &state.notice {
        row.text(" ", theme.style(Role::Text))
            .text(&sanitize_plain(&notice.text), theme.style(Role::Warning));
        return;
    }
    hints(state, &mut row);
}

/// Whether a hint would say something that can be done now.
fn is_useful(state: &State, command: Command) -> bool {
    if !command.is_offered(state.recorded.is_some()) {
        return false;
    }
    match command {
        Command::Stop => state.active.is_some(),
        // It can be begun in a list, where other things matter more.
        Command::Filter => matches!(state.focus, Pane::Logs | Pane::Output | Pane::Incident),
        Command::RunAll
        | Command::Run
        | Command::RunWith
        | Command::Order
        | Command::ReplayDetails => !state.replays.list().is_empty(),
        Command::RerunFailed => state.replays.has_failed(),
        Command::Boot => state.setup.has_hooks && !state.harness_is_whole(),
        Command::Seed => state.harness_is_up(),
        Command::Teardown => match (state.focus, state.tree.selected_group()) {
            (Pane::Containers, Some(group)) => group.kind.refusal().is_none(),
            _ => state.harness_is_up(),
        },
        Command::TakeDown => !state.setup.harness.is_empty(),
        Command::Confirm => match (&state.dialog, &state.teardown) {
            (Some(Dialog::Teardown), Some(teardown)) => {
                !matches!(teardown.stage, Stage::Planning | Stage::Removing { .. })
            }
            _ => true,
        },
        _ => true,
    }
}

/// The help's own key comes last and is always there.
fn hints(state: &State, row: &mut Row<'_>) {
    let (context, theme) = (state.context(), state.setup.theme);
    let (plain, key_style) = (theme.style(Role::Text), theme.style(Role::Key));
    let put = |row: &mut Row<'_>, key: &str, hint: &str| {
        row.text(" ", plain)
            .text(key, key_style)
            .text(" ", plain)
            .text(hint, plain)
            .text(" ", plain);
    };
    let here = || {
        COMMANDS
            .iter()
            .filter(move |spec| spec.contexts.contains(&context))
    };
    let help = here().find(|spec| spec.command == Command::Help);
    let reserve = help.map_or(0, |spec| width(spec.hint) + 4);
    let mut rest: Vec<(&str, &str)> = here()
        .filter(|spec| spec.command != Command::Help && !spec.hint.is_empty())
        .filter(|spec| is_useful(state, spec.command))
        .filter_map(|spec| Some((*spec.keys.first()?, spec.hint)))
        .collect();
    let picked = state.pane_of(state.focus).0.picked.is_some();
    if picked && matches!(context, Context::Logs | Context::Output | Context::Incident) {
        rest = vec![
            ("enter", "all of it"),
            ("v", "range"),
            ("y", "copy"),
            ("Y", "copy with times"),
            ("esc", "back"),
        ];
    }
    if context.takes_text()
        || matches!(
            context,
            Context::Quit
                | Context::Help
                | Context::Details
                | Context::Record
                | Context::Sources
                | Context::Changes
                | Context::RunInfo
        )
    {
        rest.push(("esc", "back"));
    }
    for (key, hint) in rest {
        if width(key) + width(hint) + 3 + reserve > row.room() {
            break;
        }
        put(row, key, hint);
    }
    if let Some(spec) = help {
        put(row, "?", spec.hint);
    }
}
