//! Drawing what lies over the panes.

use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use tui_input::Input;

use super::details::{self, LABEL};
use super::draw::{Row, dialog, prose};
use super::help::{self, HelpLine};
use super::{incident, record, replay, run_form, run_info, sought, teardown};
use crate::replay::Query;
use crate::text::sanitize::sanitize_plain;
use crate::text::width::width;
use crate::tui::layout::Layout;
use crate::tui::state::dialog::{Dialog, offers};
use crate::tui::state::run::{Stage, What};
use crate::tui::state::{Pane, State};
use crate::tui::theme::Role;

pub(super) fn draw(state: &State, layout: &Layout, area: Rect, frame: &mut Frame<'_>) {
    let Some(open) = &state.dialog else { return };
    let inner = layout.dialog_inner();
    match open {
        Dialog::Help { top } => draw_help(state, area, inner, *top, frame),
        Dialog::Details { source, top } => {
            let theme = state.setup.theme;
            let name = sanitize_plain(&source.0);
            dialog(frame.buffer_mut(), area, &name, theme);
            let lines = details::lines(state, source, usize::from(inner.width));
            for (index, (label, value)) in visible(&lines, *top, inner).enumerate() {
                Row::new(frame.buffer_mut(), inner, index)
                    .cell(label, LABEL, theme.style(Role::Muted))
                    .text(value, theme.style(Role::Text));
            }
        }
        Dialog::Replay { name, top } => {
            let theme = state.setup.theme;
            let title = sanitize_plain(name.as_str());
            dialog(frame.buffer_mut(), area, &title, theme);
            let lines = replay::lines(state, name, usize::from(inner.width));
            for (index, (label, value)) in visible(&lines, *top, inner).enumerate() {
                Row::new(frame.buffer_mut(), inner, index)
                    .cell(label, LABEL, theme.style(Role::Muted))
                    .text(value, theme.style(Role::Text));
            }
            more(state, area, lines.len().saturating_sub(*top), inner, frame);
        }
        Dialog::Run(form) => run_form::draw(state, form, area, inner, frame.buffer_mut()),
        Dialog::Select { input, .. } => draw_select(state, area, input, frame),
        Dialog::Palette { input, cursor } => {
            draw_palette(state, area, inner, input, cursor.at(), cursor.top(), frame);
        }
        Dialog::Record { pane, line, cursor } => {
            let theme = state.setup.theme;
            dialog(frame.buffer_mut(), area, "Line", theme);
            let rows = record::rows(state, *pane, *line, usize::from(inner.width));
            record::draw(state, &rows, *cursor, inner, frame.buffer_mut());
            let left = rows.len().saturating_sub(cursor.top());
            more(state, area, left, inner, frame);
        }
        Dialog::Sources { cursor } => {
            dialog(frame.buffer_mut(), area, "Sources", state.setup.theme);
            incident::draw_sources(state, *cursor, inner, frame.buffer_mut());
            let left = state.incident.shown.len().saturating_sub(cursor.top());
            more(state, area, left, inner, frame);
        }
        Dialog::Changes { top } => {
            dialog(frame.buffer_mut(), area, "Changes", state.setup.theme);
            let lines = incident::all_notes(state, usize::from(inner.width));
            for (index, (text, role)) in visible(&lines, *top, inner).enumerate() {
                Row::new(frame.buffer_mut(), inner, index)
                    .text(text, state.setup.theme.style(*role));
            }
            more(state, area, lines.len().saturating_sub(*top), inner, frame);
        }
        Dialog::RunInfo { cursor } => {
            dialog(frame.buffer_mut(), area, "Run", state.setup.theme);
            let rows = run_info::rows(state, usize::from(inner.width));
            run_info::draw(state, &rows, *cursor, inner, frame.buffer_mut());
            let left = rows.len().saturating_sub(cursor.top());
            more(state, area, left, inner, frame);
        }
        Dialog::Save { input, exists, .. } => {
            let theme = state.setup.theme;
            dialog(frame.buffer_mut(), area, "Save", theme);
            draw_input(state, inner, 1, "to ", input, frame);
            let (text, role) = match exists {
                Some(_) => ("it is there already: enter writes over it", Role::Warning),
                None => ("enter saves · esc does not", Role::Muted),
            };
            Row::new(frame.buffer_mut(), inner, 3).text(text, theme.style(role));
        }
        Dialog::Search { pane, input, .. } => draw_search(state, area, *pane, input, frame),
        Dialog::Filter { pane, input, .. } => draw_filter(state, area, *pane, input, frame),
        Dialog::Time { input } => {
            draw_input(state, area, 0, "@", input, frame);
            beside(state, area, " 10m, 12:03, 2026-11-21T12:03:00Z ", frame);
        }
        Dialog::Teardown => draw_teardown(state, area, inner, frame),
        Dialog::Quit => draw_quit(state, area, inner, frame),
    }
}

fn visible<T>(lines: &[T], top: usize, inner: Rect) -> impl Iterator<Item = &T> {
    lines.iter().skip(top).take(usize::from(inner.height))
}

fn draw_help(state: &State, area: Rect, inner: Rect, top: usize, frame: &mut Frame<'_>) {
    let theme = state.setup.theme;
    let context = state.focus.context();
    dialog(
        frame.buffer_mut(),
        area,
        &format!("Help: {}", context.title()),
        theme,
    );
    let lines = help::lines(context, state.recorded.is_some(), usize::from(inner.width));
    for (index, line) in visible(&lines, top, inner).enumerate() {
        let mut row = Row::new(frame.buffer_mut(), inner, index);
        match line {
            HelpLine::Title(title) => {
                row.text(title, theme.style(Role::Strong));
            }
            HelpLine::Command { keys, text } => {
                row.cell(keys, help::KEYS, theme.style(Role::Key))
                    .text(text, theme.style(Role::Text));
            }
            HelpLine::Blank => {}
        }
    }
    more(state, area, lines.len().saturating_sub(top), inner, frame);
}

/// Says in the border that there is more below.
fn more(state: &State, area: Rect, left: usize, inner: Rect, frame: &mut Frame<'_>) {
    let below = left.saturating_sub(usize::from(inner.height));
    if below > 0 && area.height > 1 {
        let line = Rect {
            x: area.x + 2,
            y: area.bottom() - 1,
            width: area.width.saturating_sub(4),
            height: 1,
        };
        let text = format!(" {below} more: pgdn ");
        Row::new(frame.buffer_mut(), line, 0).text(&text, state.setup.theme.style(Role::Muted));
    }
}

/// A prompt with the cursor of the terminal in it; a long text is scrolled.
fn draw_input(
    state: &State,
    area: Rect,
    index: usize,
    prompt: &str,
    input: &Input,
    frame: &mut Frame<'_>,
) {
    let theme = state.setup.theme;
    let room = usize::from(area.width).saturating_sub(width(prompt) + 1);
    let scroll = input.visual_scroll(room.max(1));
    let text = sanitize_plain(input.value()).into_owned();
    let seen = crate::text::width::window(&text, scroll, room);
    let mut row = Row::new(frame.buffer_mut(), area, index);
    row.text(prompt, theme.style(Role::Key))
        .skip(seen.blank)
        .text(&text[seen.range], theme.style(Role::Text));
    row.fill(" ", theme.style(Role::Text));
    let column = width(prompt) + input.visual_cursor().saturating_sub(scroll);
    let column = u16::try_from(column)
        .unwrap_or(u16::MAX)
        .min(area.width.saturating_sub(1));
    let row = u16::try_from(index).unwrap_or(u16::MAX);
    if row < area.height {
        frame.set_cursor_position(Position::new(area.x + column, area.y + row));
    }
}

fn draw_search(state: &State, area: Rect, pane: Pane, input: &Input, frame: &mut Frame<'_>) {
    draw_input(state, area, 0, "/", input, frame);
    let (pager, _) = state.pane_of(pane);
    if let Some(search) = &pager.search {
        let matcher = search.sieve().matcher.as_ref();
        let literal = if matcher.is_some_and(|matcher| matcher.problem().is_some()) {
            ", literally"
        } else {
            ""
        };
        let open = if search.is_done() { "" } else { "…" };
        let text = match search.count() {
            1 => format!(" 1 line matches{literal} "),
            n => format!(" {n}{open} lines match{literal} "),
        };
        beside(state, area, &text, frame);
    }
}

fn draw_filter(state: &State, area: Rect, pane: Pane, input: &Input, frame: &mut Frame<'_>) {
    draw_input(state, area, 0, "&", input, frame);
    let (pager, store) = state.pane_of(pane);
    match pager.filtering() {
        Some(filter) => {
            let passed = sought::passed(pager, filter, store);
            beside(state, area, &format!(" {passed} lines pass "), frame);
        }
        None => beside(state, area, " a leading ! shows the others ", frame),
    }
}

fn draw_select(state: &State, area: Rect, input: &Input, frame: &mut Frame<'_>) {
    draw_input(state, area, 0, "/", input, frame);
    let replays = &state.replays;
    let text = match Query::parse(input.value()) {
        Ok(None) => " name tag:net is:failed and or not ".to_owned(),
        Ok(Some(query)) => match query.unknown(replays.found()) {
            Some(unknown) => format!(" {} ", sanitize_plain(&unknown.to_string())),
            None => {
                let (shown, all) = (replays.list().len(), replays.found().len());
                format!(" {shown} of {all} replays ")
            }
        },
        Err(mistake) => format!(" {} ", sanitize_plain(&mistake.to_string())),
    };
    beside(state, area, &text, frame);
}

/// Says something at the right of a prompt, where there is room for it.
fn beside(state: &State, area: Rect, text: &str, frame: &mut Frame<'_>) {
    let columns = u16::try_from(width(text)).unwrap_or(u16::MAX);
    if columns.saturating_add(20) < area.width {
        let right = Rect {
            x: area.right() - columns,
            width: columns,
            ..area
        };
        let style = state.setup.theme.style(Role::Muted);
        Row::new(frame.buffer_mut(), right, 0).text(text, style);
    }
}

fn draw_palette(
    state: &State,
    area: Rect,
    inner: Rect,
    input: &Input,
    at: usize,
    top: usize,
    frame: &mut Frame<'_>,
) {
    let theme = state.setup.theme;
    dialog(frame.buffer_mut(), area, "Commands", theme);
    let offers = offers(
        state.focus.context(),
        state.recorded.is_some(),
        input.value(),
    );
    let list = Rect {
        y: inner.y + 2.min(inner.height),
        height: inner.height.saturating_sub(2),
        ..inner
    };
    for (index, spec) in visible(&offers, top, list).enumerate() {
        let selected = top + index == at;
        Row::new(frame.buffer_mut(), list, index)
            .text(
                if selected { "› " } else { "  " },
                theme.style(Role::Strong),
            )
            .cell(spec.name, 17, theme.style(Role::Strong))
            .cell(spec.keys.first().unwrap_or(&""), 10, theme.style(Role::Key))
            .text(spec.description, theme.style(Role::Muted));
        if selected {
            let whole = Rect {
                y: list.y + index as u16,
                height: 1,
                ..list
            };
            frame
                .buffer_mut()
                .set_style(whole, theme.style(Role::Cursor));
        }
    }
    if offers.is_empty() {
        Row::new(frame.buffer_mut(), list, 0)
            .text("  no command is called so", theme.style(Role::Muted));
    }
    draw_input(state, inner, 0, ": ", input, frame);
}

fn draw_teardown(state: &State, area: Rect, inner: Rect, frame: &mut Frame<'_>) {
    let theme = state.setup.theme;
    let Some(open) = &state.teardown else { return };
    let name = sanitize_plain(&open.stack).into_owned();
    dialog(
        frame.buffer_mut(),
        area,
        &format!("Teardown: {name}"),
        theme,
    );
    let rows = teardown::rows(state, open, usize::from(inner.width));
    let fixed = u16::try_from(teardown::FIXED_ROWS).unwrap_or(0);
    let list = Rect {
        height: inner.height.saturating_sub(fixed),
        ..inner
    };
    for (index, (text, role)) in visible(&rows, open.top, list).enumerate() {
        Row::new(frame.buffer_mut(), list, index).text(text, theme.style(*role));
    }
    more(
        state,
        area,
        rows.len().saturating_sub(open.top),
        list,
        frame,
    );
    let prompt = usize::from(list.height) + 1;
    match &open.stage {
        Stage::Review { plan, typed, .. } if !plan.is_empty() || plan.hook.is_some() => {
            let question = format!("type {name} to confirm: ");
            draw_input(state, inner, prompt, &question, typed, frame);
        }
        stage => {
            let text = match stage {
                Stage::Planning => "",
                Stage::Removing { .. } => {
                    "removing · esc closes this, x then stops it after the items under way"
                }
                _ => "enter or esc closes this",
            };
            Row::new(frame.buffer_mut(), inner, prompt).text(text, theme.style(Role::Muted));
        }
    }
}

fn draw_quit(state: &State, area: Rect, inner: Rect, frame: &mut Frame<'_>) {
    let theme = state.setup.theme;
    dialog(frame.buffer_mut(), area, "Quit", theme);
    let mut text = Vec::new();
    if let Some(active) = &state.active {
        let what = match &active.what {
            What::Job(_) => "a run is under way",
            What::Teardown(_) => "a teardown is under way",
        };
        text.push(what);
    }
    if state.booted {
        text.push("this session booted the harness");
    }
    if text.is_empty() {
        text.push("what was under way has ended");
    }
    let mut index = 0;
    let text = format!("{}.", text.join("; "));
    for line in prose(&text, usize::from(inner.width)) {
        Row::new(frame.buffer_mut(), inner, index).text(&line, theme.style(Role::Text));
        index += 1;
    }
    index += 1;
    let harness = state.setup.harness_name();
    let harness = harness.as_ref();
    let take_down = harness.map(|_| "take the harness down, then quit");
    let (leave, take_down) = match state.active.as_ref().map(|active| &active.what) {
        None if state.booted => ("leave the harness up and quit", take_down),
        None => ("quit", take_down),
        Some(What::Job(_)) => (
            "stop it, leave the harness up and quit",
            harness.map(|_| "stop it, take the harness down, then quit"),
        ),
        Some(What::Teardown(stack)) => (
            "stop it after the items under way and quit",
            Some(if harness.is_none_or(|own| own == stack) {
                "let it finish, then quit"
            } else {
                "let it finish, take the harness down, then quit"
            }),
        ),
    };
    let mut choices = vec![("l", leave)];
    choices.extend(take_down.map(|text| ("t", text)));
    choices.push(("esc", "stay"));
    for (key, text) in choices {
        Row::new(frame.buffer_mut(), inner, index)
            .skip(2)
            .cell(key, 5, theme.style(Role::Key))
            .text(text, theme.style(Role::Text));
        index += 1;
    }
}
