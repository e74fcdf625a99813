//! All of one line: what is known of it, and its fields or its whole text.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::draw::Row;
use super::lines::{level_role, mark_text, stamp};
use crate::domain::line::Channel;
use crate::logs::store::{Content, LineId};
use crate::text::sanitize::{sanitize, sanitize_plain};
use crate::text::structured::parse;
use crate::text::width::{rows as wrapped, truncate, width};
use crate::tui::state::cursor::Cursor;
use crate::tui::state::pager::Stamps;
use crate::tui::state::{Pane, State};
use crate::tui::theme::Role;

/// Of a longer line this much is shown.
const SHOWN: usize = 1 << 20;

/// Columns that labels take at most, with the sign of a chosen field and the space behind.
const LABEL: usize = 30;

/// A row of the dialog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecordRow {
    pub(crate) label: String,
    /// Columns of the label, with the space behind it.
    pub(crate) columns: usize,
    pub(crate) text: String,
    pub(crate) role: Role,
    /// The field that it belongs to, as [`crate::text::structured::Structured::one_line`] takes it.
    pub(crate) field: Option<String>,
}

/// `columns` are those of a row.
pub(crate) fn rows(state: &State, pane: Pane, line: LineId, columns: usize) -> Vec<RecordRow> {
    let (pager, store) = state.pane_of(pane);
    let Some(entry) = store.get(line) else {
        let mut table = Table::new(columns, 0);
        table.add("", "the line is not held any more", Role::Muted, None);
        return table.rows;
    };
    let mut facts = vec![("at", stamp(state, Stamps::Full, line.time()), Role::Text)];
    if pane == Pane::Logs {
        let name = pager.name(entry.source).unwrap_or_default();
        facts.push(("source", name.to_owned(), Role::Text));
        let id = state.tree.container(entry.source).map(|c| c.id.short());
        let name = sanitize_plain(&entry.source.0);
        facts.push((
            "container",
            format!("{name} {}", id.unwrap_or_default()),
            Role::Text,
        ));
    }
    let mut fields = Vec::new();
    let mut text = None;
    match entry.content {
        Content::Mark(mark) => text = Some(mark_text(mark)),
        Content::Line {
            channel,
            weight,
            bytes,
        } => {
            let channel = match channel {
                Channel::Out => "stdout",
                Channel::Err => "stderr",
            };
            facts.push(("channel", channel.to_owned(), Role::Text));
            let shown = bytes.get(..SHOWN).unwrap_or(bytes);
            match parse(shown) {
                Some(line) => fields = line.expanded(),
                None => text = Some(whole(shown, bytes.len() - shown.len())),
            }
            let own = fields.iter().any(|(path, _)| path == "level");
            if let Some(level) = weight.level.filter(|_| !own) {
                let of = if weight.inherited {
                    " (of the line that it belongs to)"
                } else {
                    ""
                };
                facts.push(("level", format!("{level}{of}"), level_role(level)));
            }
        }
    }
    let labels = fields.iter().map(|(path, _)| width(path));
    let widest = labels.chain([9]).max().unwrap_or(9);
    let mut table = Table::new(columns, widest);
    for (label, text, role) in facts {
        table.add(label, &text, role, None);
    }
    table.add("", "", Role::Text, None);
    if let Some(text) = text {
        table.labels = 0;
        table.add("", &text, Role::Text, None);
    }
    let chosen = pager.chosen.get(entry.source);
    for (path, value) in fields {
        // What every readable line shows anyway is not chosen.
        let fixed = matches!(&*path, "time" | "level" | "message");
        let field = path.split('[').next().unwrap_or_default().to_owned();
        let is_chosen = chosen.is_some_and(|chosen| chosen.contains(&field)) && !fixed;
        let sign = if is_chosen { "✓ " } else { "  " };
        let role = match value.parse() {
            Ok(level) if path == "level" => level_role(level),
            _ => Role::Text,
        };
        let field = (!fixed).then_some(&*field);
        table.add(&format!("{sign}{path}"), &value, role, field);
    }
    table.rows
}

fn whole(shown: &[u8], rest: usize) -> String {
    let mut text = sanitize(shown).text;
    if rest > 0 {
        text.push_str(&format!(" … {} KiB more", rest / 1024 + 1));
    }
    text
}

struct Table {
    rows: Vec<RecordRow>,
    columns: usize,
    labels: usize,
}

impl Table {
    fn new(columns: usize, widest: usize) -> Self {
        let labels = match widest {
            0 => 0,
            widest => (widest + 4).min(LABEL).min(columns / 2),
        };
        Self {
            rows: Vec::new(),
            columns,
            labels,
        }
    }

    fn add(&mut self, label: &str, text: &str, role: Role, field: Option<&str>) {
        let columns = self.columns.saturating_sub(self.labels).max(1);
        let mut label = match label.starts_with([' ', '✓']) || label.is_empty() {
            true => label.to_owned(),
            false => format!("  {label}"),
        };
        for line in text.split('\n') {
            for row in wrapped(line, columns) {
                self.rows.push(RecordRow {
                    label: std::mem::take(&mut label),
                    columns: self.labels,
                    text: line.get(row).unwrap_or_default().to_owned(),
                    role,
                    field: field.map(str::to_owned),
                });
            }
        }
    }
}

pub(super) fn draw(
    state: &State,
    rows: &[RecordRow],
    cursor: Cursor,
    inner: Rect,
    buffer: &mut Buffer,
) {
    let theme = state.setup.theme;
    let shown = rows.iter().enumerate().skip(cursor.top());
    for (index, (at, row)) in shown.take(usize::from(inner.height)).enumerate() {
        let mut line = Row::new(buffer, inner, index);
        if row.columns > 0 {
            let label = truncate(&row.label, row.columns - 1);
            line.cell(&label, row.columns, theme.style(Role::Key));
        }
        line.text(&row.text, theme.style(row.role));
        if at == cursor.at() {
            let area = Rect {
                y: inner.y + u16::try_from(index).unwrap_or(0),
                height: 1,
                ..inner
            };
            buffer.set_style(area.intersection(inner), theme.style(Role::Cursor));
        }
    }
}
