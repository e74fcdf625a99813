//! The first line: where we are connected to, what runs, and how much is kept.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::draw::{Row, bytes, clock, counting, elapsed};
use crate::domain::link::Link;
use crate::text::bar::bar;
use crate::text::sanitize::{sanitize, sanitize_plain};
use crate::text::width::{truncate, width};
use crate::tui::state::recorded::Recorded;
use crate::tui::state::replays::Status;
use crate::tui::state::run::{Active, Stopping, What};
use crate::tui::state::{State, run::CurrentStep};
use crate::tui::theme::{Role, Theme};

/// A part of the line. Where there is no room for all, those with the highest number go first.
struct Piece {
    text: String,
    style: Style,
    drop: u8,
}

pub(super) fn draw(state: &State, area: Rect, buffer: &mut Buffer) {
    let theme = state.setup.theme;
    let mut left = left(state, theme);
    let mut right = right(state, theme);
    let total = |pieces: &[Piece]| {
        pieces
            .iter()
            .map(|piece| width(&piece.text) + 2)
            .sum::<usize>()
    };
    let columns = usize::from(area.width);
    while total(&left) + total(&right) + 2 > columns {
        let worst = left.iter().chain(&right).map(|piece| piece.drop).max();
        match worst {
            Some(worst) if worst > 0 => {
                left.retain(|piece| piece.drop < worst);
                right.retain(|piece| piece.drop < worst);
            }
            _ => break,
        }
    }
    let gap = columns.saturating_sub(total(&left) + total(&right));
    let mut row = Row::new(buffer, area, 0);
    row.skip(1);
    for piece in &left {
        row.text(&piece.text, piece.style).skip(2);
    }
    row.skip(gap.saturating_sub(2));
    for piece in &right {
        row.skip(2).text(&piece.text, piece.style);
    }
}

fn left(state: &State, theme: Theme) -> Vec<Piece> {
    let piece = |text: String, role, drop| Piece {
        text,
        style: theme.style(role),
        drop,
    };
    let mut pieces = vec![
        piece("tackroom".to_owned(), Role::Strong, 6),
        piece(
            truncate(&sanitize_plain(&state.setup.name), 24).into_owned(),
            Role::Text,
            4,
        ),
    ];
    if let Some(recorded) = &state.recorded {
        // Where there is room for one thing only, this is it: nothing of all this is so now.
        pieces.truncate(1);
        let (outcome, good) = recorded.outcome();
        let role = if good { Role::Good } else { Role::Bad };
        pieces.push(piece(recording(state, recorded), Role::Strong, 0));
        pieces.push(piece(outcome, role, 1));
        return pieces;
    }
    match &state.link {
        Link::Connecting => pieces.push(piece("◌ connecting".to_owned(), Role::Busy, 0)),
        Link::Up(info) => {
            let text = format!("● {} {}", info.product, short(&info.version));
            pieces.push(piece(sanitize_plain(&text).into_owned(), Role::Good, 3));
            let kind = info.endpoint.split("://").next().unwrap_or_default();
            pieces.push(piece(sanitize_plain(kind).into_owned(), Role::Muted, 7));
        }
        Link::Lost {
            cause, retry_in, ..
        } => {
            let left = retry_in.saturating_sub(elapsed(state.now, state.link_heard));
            let text = format!(
                "✖ lost, retry in {} s: {}",
                left.as_secs_f64().ceil(),
                sanitize_plain(cause)
            );
            pieces.push(piece(text, Role::Bad, 0));
        }
    }
    pieces.retain(|piece| !piece.text.is_empty());
    pieces
}

/// `▣ recording 2026-11-21 12:03 of tenant-harness`
fn recording(state: &State, recorded: &Recorded) -> String {
    let name = truncate(&sanitize_plain(&state.setup.name), 24).into_owned();
    let at = recorded.summary().started.map_or_else(String::new, |at| {
        let at = at.to_zoned(state.setup.zone.clone());
        at.strftime(" %Y-%m-%d %H:%M").to_string()
    });
    format!("▣ recording{at} of {name}")
}

/// A version to its second number.
fn short(version: &str) -> String {
    version.split('.').take(2).collect::<Vec<_>>().join(".")
}

fn right(state: &State, theme: Theme) -> Vec<Piece> {
    let piece = |text: String, role, drop| Piece {
        text,
        style: theme.style(role),
        drop,
    };
    let mut pieces = Vec::new();
    if let Some(active) = &state.active {
        pieces.push(piece(activity(state, active), Role::Busy, 1));
    }
    let logs = format!(
        "logs {} / {}",
        bytes(state.logs.held()),
        bytes(state.logs.budget())
    );
    let logs = piece(logs, Role::Muted, 8);
    // It has no time but that of its lines.
    if state.recorded.is_some() {
        return vec![logs];
    }
    let counts = state.replays.counts();
    for (symbol, count, role) in [
        ("✔", counts.passed, Role::Good),
        ("✘", counts.failures(), Role::Bad),
        ("■", counts.aborted, Role::Warning),
        ("x", counts.failed_as_expected, Role::Muted),
        ("⊘", counts.skipped, Role::Muted),
    ] {
        if count > 0 {
            pieces.push(piece(format!("{symbol} {count}"), role, 2));
        }
    }
    let told: Vec<String> = super::replays::marks(state, &counts).collect();
    if !told.is_empty() {
        pieces.push(piece(told.join(", "), Role::Warning, 3));
    }
    pieces.push(logs);
    pieces.push(piece(clock(state.now, &state.setup.zone), Role::Text, 5));
    pieces
}

fn activity(state: &State, active: &Active) -> String {
    let stopping = match active.stopping {
        Stopping::No => "",
        Stopping::Asked => "stopping: ",
        Stopping::Killed => "killing: ",
    };
    if let Some(step) = &active.step {
        return format!("▶ {stopping}{}", step_text(state, step));
    }
    let status = |wanted: fn(&Status) -> bool| {
        state
            .replays
            .found()
            .iter()
            .filter_map(|replay| state.replays.status(&replay.name))
            .filter(|status| wanted(status))
            .count()
    };
    let running = status(|status| matches!(status, Status::Running { .. }));
    let waiting = status(|status| matches!(status, Status::Queued));
    match (&active.what, running, waiting) {
        (What::Teardown(stack), ..) => format!("▶ {stopping}teardown of {}", sanitize_plain(stack)),
        (What::Job(_), 0, 0) => format!("▶ {stopping}starting"),
        (What::Job(_), running, 0) => format!("▶ {stopping}{running} running"),
        (What::Job(_), running, waiting) => {
            format!("▶ {stopping}{running} running, {waiting} waiting")
        }
    }
}

/// `up ███▌ 3/7 waiting for postgres 12 s`; without a counter, the last line of its output.
pub(super) fn step_text(state: &State, step: &CurrentStep) -> String {
    let time = counting(elapsed(state.now, step.since));
    let word = step.step.word();
    match &step.progress {
        Some(progress) => {
            let what = sanitize_plain(&progress.waiting_for);
            let what = truncate(&what, 32);
            match progress.total {
                Some(total) => {
                    let part = f64::from(progress.done) / f64::from(total.max(1));
                    let bar = bar(part, 5);
                    format!("{word} [{bar}] {}/{total} {what} {time}", progress.done)
                }
                None => format!("{word} {what} {time}"),
            }
        }
        None => match &step.last_line {
            Some(line) => {
                let line = sanitize(line.get(..400).unwrap_or(line)).text;
                format!("{word} {time} {}", truncate(line.trim(), 32))
            }
            None => format!("{word} {time}"),
        },
    }
}
