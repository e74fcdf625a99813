//! The run of a recording: how it ended, what it ran against, and its steps.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::draw::{Row, prose};
use crate::domain::fingerprint::Fingerprint;
use crate::domain::hook::Step;
use crate::domain::run::{Seconds, StepOutcome, StepResult};
use crate::record::{End, Opened};
use crate::text::sanitize::sanitize_plain;
use crate::tui::state::State;
use crate::tui::state::cursor::Cursor;
use crate::tui::state::recorded::Recorded;
use crate::tui::theme::Role;

/// Columns of the labels on the left.
const LABEL: usize = 12;

/// A row of the dialog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InfoRow {
    label: String,
    text: String,
    role: Role,
    /// Whose output it shows.
    pub(crate) step: Option<Step>,
}

pub(crate) fn rows(state: &State, columns: usize) -> Vec<InfoRow> {
    let mut table = Table {
        columns: columns.saturating_sub(LABEL + 2).max(10),
        rows: Vec::new(),
    };
    let Some(recorded) = &state.recorded else {
        return table.rows;
    };
    run(state, recorded, &mut table);
    match &recorded.opened.fingerprint {
        Some(print) => against(print, &mut table),
        None => table.add(
            "against",
            "what it ran against was not recorded",
            Role::Muted,
        ),
    }
    let steps = &recorded.summary().steps;
    if !steps.is_empty() {
        table.add("", "", Role::Text);
    }
    for (index, result) in steps.iter().enumerate() {
        let label = if index == 0 { "steps" } else { "" };
        let (text, role) = step(result);
        table.add(label, &text, role);
        let first = table.rows.len() - prose(&text, table.columns).len().max(1);
        for row in table.rows.iter_mut().skip(first) {
            row.step = Some(result.step);
        }
    }
    table.rows
}

fn run(state: &State, recorded: &Recorded, table: &mut Table) {
    let Opened { recording, .. } = &*recorded.opened;
    let summary = recorded.summary();
    if let Some(run) = &summary.run {
        table.add("run", run.as_str(), Role::Strong);
    }
    let root = recording.root.display();
    table.add("of", &format!("{}, {root}", recording.name), Role::Text);
    if let Some(started) = summary.started {
        let started = started.to_zoned(state.setup.zone.clone());
        let started = started.strftime("%Y-%m-%d %H:%M:%S");
        table.add(
            "at",
            &format!("{started}, {}", Seconds(summary.took)),
            Role::Text,
        );
    }
    let (outcome, good) = recorded.outcome();
    let role = if good { Role::Good } else { Role::Bad };
    table.add("ended", &outcome, role);
    if let End::UnderWay(names) = &recording.end
        && !names.is_empty()
    {
        table.add("", &format!("during {}", names.join(", ")), Role::Text);
    }
    if let Some(error) = &summary.internal_error {
        table.add("", error, Role::Bad);
    }
    if !summary.not_run.is_empty() {
        let text = match summary.not_run.len() {
            1 => "1 replay was not reached".to_owned(),
            count => format!("{count} replays were not reached"),
        };
        table.add("", &text, Role::Text);
    }
    table.add(
        "read from",
        &recording.directory.display().to_string(),
        Role::Muted,
    );
}

fn against(print: &Fingerprint, table: &mut Table) {
    if let Some(engine) = &print.engine {
        let text = format!(
            "{} {} on {}, {}/{}",
            engine.product, engine.version, engine.name, engine.os, engine.arch
        );
        table.add("engine", &text, Role::Text);
    }
    if let Some(clock) = &print.clock {
        let ahead = clock.engine_ahead.as_secs_f64();
        let within = clock.within.as_secs_f64();
        let way = if ahead < 0.0 { "behind" } else { "ahead" };
        let text = format!(
            "the engine's is {:.3} s {way}, give or take {within:.3} s",
            ahead.abs()
        );
        table.add("clock", &text, Role::Text);
    }
    if let Some(head) = &print.head {
        let commit = head.commit.get(..12).unwrap_or(&head.commit);
        let branch = head.branch.as_deref().unwrap_or("detached");
        let dirty = match head.dirty {
            0 => String::new(),
            1 => ", 1 file changed".to_owned(),
            count => format!(", {count} files changed"),
        };
        table.add("HEAD", &format!("{commit} {branch}{dirty}"), Role::Text);
    }
    let machine = &print.machine;
    let text = format!(
        "{} {}, {}, {} CPUs",
        machine.os, machine.kernel, machine.arch, machine.cpus
    );
    table.add("machine", &text, Role::Text);
}

fn step(result: &StepResult) -> (String, Role) {
    let word = result.step.word();
    let took = Seconds(result.took);
    match &result.outcome {
        StepOutcome::Done => (format!("✔ {word}, {took}"), Role::Good),
        StepOutcome::Skipped { reason } => (format!("⊘ {word} skipped: {reason}"), Role::Muted),
        StepOutcome::Failed { reason } => {
            (format!("✘ {word} failed after {took}: {reason}"), Role::Bad)
        }
        StepOutcome::Cancelled => (format!("■ {word} was cut off after {took}"), Role::Warning),
    }
}

struct Table {
    columns: usize,
    rows: Vec<InfoRow>,
}

impl Table {
    /// A long text goes on in rows without a label.
    fn add(&mut self, label: &str, text: &str, role: Role) {
        let mut lines = prose(&sanitize_plain(text), self.columns);
        if lines.is_empty() {
            lines.push(String::new());
        }
        for (index, text) in lines.into_iter().enumerate() {
            let label = if index == 0 { label } else { "" };
            self.rows.push(InfoRow {
                label: label.to_owned(),
                text,
                role,
                step: None,
            });
        }
    }
}

pub(super) fn draw(
    state: &State,
    rows: &[InfoRow],
    cursor: Cursor,
    inner: Rect,
    buffer: &mut Buffer,
) {
    let theme = state.setup.theme;
    let visible = rows.iter().enumerate().skip(cursor.top());
    for (index, (at, row)) in visible.take(usize::from(inner.height)).enumerate() {
        let selected = at == cursor.at();
        Row::new(buffer, inner, index)
            .text(
                if selected { "› " } else { "  " },
                theme.style(Role::IdleCursor),
            )
            .cell(&row.label, LABEL, theme.style(Role::Muted))
            .text(&row.text, theme.style(row.role));
        if selected {
            let whole = Rect {
                y: inner.y + index as u16,
                height: 1,
                ..inner
            };
            buffer.set_style(whole, theme.style(Role::Cursor));
        }
    }
}
