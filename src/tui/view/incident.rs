//! The timeline of one attempt at a replay, and what is said above it.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::draw::{Row, Title, pane, prose};
use super::lines::{draw_lines, grouped, looked_for, say};
use super::replays::{verdict_role, verdict_words};
use super::sought;
use crate::domain::incident::Head;
use crate::domain::run::Seconds;
use crate::text::sanitize::sanitize_plain;
use crate::text::width::width;
use crate::tui::layout::PaneArea;
use crate::tui::state::State;
use crate::tui::state::cursor::Cursor;
use crate::tui::state::incident::{Note, Stage};
use crate::tui::theme::Role;

pub(super) fn draw(state: &State, area: &PaneArea, focused: bool, buffer: &mut Buffer) {
    let incident = &state.incident;
    let (pager, store) = (&incident.pane, &incident.store);
    let name = incident.replay.as_ref();
    let name = name.map_or_else(String::new, |name| {
        format!("Incident: {}", sanitize_plain(name.as_str()))
    });
    let mut parts = Vec::new();
    if let Some(head) = incident.head() {
        parts = about(head);
        let off = incident.shown.iter().filter(|on| !**on).count();
        if off > 0 {
            let sources = if off == 1 { "source" } else { "sources" };
            parts.push((format!("{off} {sources} off"), Role::Warning));
        }
        parts.extend(looked_for(pager, store));
    }
    let title = Title { name: &name, parts };
    pane(buffer, area, &title, focused, state.setup.theme);
    draw_notes(state, area, buffer);
    let text = match &incident.stage {
        Stage::Open(_) if !pager.lines(store).is_empty() => {
            draw_lines(state, pager, store, area.inner, buffer);
            return;
        }
        Stage::Open(_) if pager.sources().is_empty() && !incident.shown.is_empty() => {
            "every source is switched off · o switches them on".to_owned()
        }
        Stage::Open(_) => {
            sought::nothing_passes(pager).unwrap_or_else(|| "nothing was recorded of it".to_owned())
        }
        Stage::Reading => "reading what was recorded…".to_owned(),
        Stage::Failed(problem) => problem.clone(),
        Stage::Closed => "enter on a replay that has run shows its incident".to_owned(),
    };
    say(state, &text, area.inner, buffer);
}

fn about(head: &Head) -> Vec<(String, Role)> {
    let attempt = &head.attempt;
    let verdict = &attempt.verdict;
    let words = verdict_words(verdict);
    let words = if words.is_empty() {
        verdict.word().to_owned()
    } else {
        words
    };
    let took = attempt.ended.duration_since(attempt.started).unsigned_abs();
    let lines: u64 = head.sources.iter().map(|source| source.entries).sum();
    let mut parts = vec![
        (
            format!("{} {words}", verdict.symbol()),
            verdict_role(verdict, verdict.is_ok()),
        ),
        (Seconds(took).to_string(), Role::Text),
        (format!("{} lines", grouped(lines)), Role::Text),
    ];
    if attempt.number > 1 {
        parts.push((format!("attempt {}", attempt.number), Role::Text));
    }
    parts
}

/// What has changed, in as many rows as there are, and how to see the rest.
fn draw_notes(state: &State, area: &PaneArea, buffer: &mut Buffer) {
    let theme = state.setup.theme;
    let notes = state.incident.notes(&state.setup.zone);
    let rows = usize::from(area.notes.height);
    let fit = notes.len() <= rows;
    for (index, note) in notes.iter().take(rows).enumerate() {
        let mut row = Row::new(buffer, area.notes, index);
        if !fit && index + 1 == rows {
            let left = notes.len() - index;
            let hint = format!(" · {} more: c", left - 1);
            let room = row.room().saturating_sub(width(&hint));
            let text = crate::text::width::truncate(&text(note), room).into_owned();
            row.text(&text, theme.style(role(note)))
                .text(&hint, theme.style(Role::Key));
            continue;
        }
        match note {
            Note::Changed { subject, detail } => {
                row.text("  ", theme.style(Role::Text))
                    .text(subject, theme.style(Role::Strong))
                    .text("  ", theme.style(Role::Text))
                    .text(detail, theme.style(Role::Text));
            }
            note => drop(row.text(&text(note), theme.style(role(note)))),
        }
    }
    if area.inner.y > area.notes.bottom() && rows > 0 {
        let line = Rect {
            y: area.notes.bottom(),
            height: 1,
            ..area.notes
        };
        Row::new(buffer, line, 0).fill("─", theme.style(Role::Border));
    }
}

fn text(note: &Note) -> String {
    match note {
        Note::Headline(text) | Note::Plain(text) => text.clone(),
        Note::Changed { subject, detail } => format!("  {subject}  {detail}"),
    }
}

fn role(note: &Note) -> Role {
    match note {
        Note::Headline(_) => Role::Strong,
        Note::Changed { .. } => Role::Text,
        Note::Plain(_) => Role::Muted,
    }
}

/// All of the notes, in rows of that width.
pub(crate) fn all_notes(state: &State, columns: usize) -> Vec<(String, Role)> {
    let notes = state.incident.notes(&state.setup.zone);
    let mut rows = Vec::new();
    for note in &notes {
        match note {
            Note::Changed { subject, detail } => {
                rows.push((subject.clone(), Role::Strong));
                let details = prose(detail, columns.saturating_sub(2));
                rows.extend(details.iter().map(|row| (format!("  {row}"), Role::Text)));
            }
            note => {
                let role = role(note);
                rows.extend(
                    prose(&text(note), columns)
                        .into_iter()
                        .map(|row| (row, role)),
                );
            }
        }
    }
    rows
}

pub(super) fn draw_sources(state: &State, cursor: Cursor, inner: Rect, buffer: &mut Buffer) {
    let theme = state.setup.theme;
    let Some(head) = state.incident.head() else {
        return;
    };
    let rows = head.sources.iter().zip(&state.incident.shown).enumerate();
    let height = usize::from(inner.height);
    for (index, (number, (source, on))) in rows.skip(cursor.top()).take(height).enumerate() {
        let count = match source.entries {
            1 => "1 line".to_owned(),
            count => format!("{} lines", grouped(count)),
        };
        let name = sanitize_plain(&source.name);
        let mut row = Row::new(buffer, inner, index);
        let columns = row.room().saturating_sub(4 + 10 + 18);
        row.text(if *on { "[x] " } else { "[ ] " }, theme.style(Role::Key))
            .cell(&name, columns, theme.source(number))
            .cell(source.kind.word(), 10, theme.style(Role::Muted))
            .number(&count, 18, theme.style(Role::Text));
        if number == cursor.at() {
            let y = inner.y + u16::try_from(index).unwrap_or(0);
            let area = Rect {
                y,
                height: 1,
                ..inner
            };
            buffer.set_style(area.intersection(inner), theme.style(Role::Cursor));
        }
    }
}
