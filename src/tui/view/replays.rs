//! The list of replays.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::draw::{Row, Title, bar, counting, elapsed, pane, prose};
use crate::domain::replay::Replay;
use crate::domain::run::{Seconds, Verdict};
use crate::text::sanitize::sanitize_plain;
use crate::text::width::width;
use crate::tui::layout::PaneArea;
use crate::tui::state::State;
use crate::tui::state::replays::{Discovery, Status};
use crate::tui::theme::Role;

const TIME: usize = 9;

pub(super) fn draw(state: &State, area: &PaneArea, focused: bool, buffer: &mut Buffer) {
    let theme = state.setup.theme;
    pane(buffer, area, &title(state), focused, theme);
    let inner = area.inner;
    let list = state.replays.list();
    if list.is_empty() {
        empty(state, inner, buffer);
        return;
    }
    let top = state.replays.cursor.top();
    let visible: Vec<_> = list
        .iter()
        .skip(top)
        .take(usize::from(inner.height))
        .collect();
    let room = usize::from(inner.width).saturating_sub(5);
    let longest = |of: &dyn Fn(&Replay) -> usize| visible.iter().map(|r| of(r)).max().unwrap_or(0);
    let closes = longest(&|replay| width(&replay.header.closes.join(" "))).min(12);
    let names = longest(&|replay| width(replay.name.as_str()));
    // The name gives way to the time, and the issue to the name.
    let name = names
        .min(room.saturating_sub(TIME + 12).max(room / 2))
        .min(room);
    let closes = if room > name + TIME + closes + 14 {
        closes
    } else {
        0
    };
    for (index, replay) in visible.into_iter().enumerate() {
        let selected = top + index == state.replays.cursor.at();
        let marked = state.replays.is_marked(&replay.name);
        let status = state.replays.status(&replay.name);
        let (symbol, role) = symbol(status);
        let mut line = Row::new(buffer, inner, index);
        line.text(
            if selected { "›" } else { " " },
            theme.style(Role::IdleCursor),
        )
        .text(if marked { "*" } else { " " }, theme.style(Role::Strong))
        .text(symbol, theme.style(role))
        .skip(1)
        .cell(
            &sanitize_plain(replay.name.as_str()),
            name,
            theme.style(Role::Text),
        )
        .skip(1);
        if closes > 0 {
            let text = replay.header.closes.join(" ");
            line.cell(&sanitize_plain(&text), closes, theme.style(Role::Muted))
                .skip(1);
        }
        outcome(state, status, role, &mut line);
        if selected && focused {
            let whole = Rect {
                y: inner.y + index as u16,
                height: 1,
                ..inner
            };
            buffer.set_style(whole, theme.style(Role::Cursor));
        }
    }
}

fn title(state: &State) -> Title<'static> {
    let replays = &state.replays;
    let counts = replays.counts();
    let bad = counts.failed + counts.timed_out + counts.aborted + counts.could_not_start;
    let mut parts = Vec::new();
    if !replays.list().is_empty() {
        parts.push((replays.list().len().to_string(), Role::Text));
    }
    for (count, symbol, role) in [
        (counts.passed, "✔", Role::Good),
        (bad, "✘", Role::Bad),
        (counts.skipped, "⊘", Role::Muted),
    ] {
        if count > 0 {
            parts.push((format!("{count} {symbol}"), role));
        }
    }
    let marked = replays
        .list()
        .iter()
        .filter(|r| replays.is_marked(&r.name))
        .count();
    if marked > 0 {
        parts.push((format!("{marked} marked"), Role::Strong));
    }
    Title {
        name: "Replays",
        parts,
    }
}

/// One character per state, none of which needs its colour.
pub(super) fn symbol(status: Option<&Status>) -> (&'static str, Role) {
    match status {
        None => ("·", Role::Muted),
        Some(Status::Queued) => ("◦", Role::Busy),
        Some(Status::Running { .. }) => ("▶", Role::Busy),
        Some(Status::Done { verdict, .. }) => (verdict.symbol(), verdict_role(verdict)),
    }
}

pub(super) fn verdict_role(verdict: &Verdict) -> Role {
    match verdict {
        Verdict::Passed => Role::Good,
        Verdict::Skipped { .. } => Role::Muted,
        Verdict::Aborted => Role::Warning,
        Verdict::Failed(_) | Verdict::TimedOut { .. } | Verdict::CouldNotStart { .. } => Role::Bad,
    }
}

/// The time it took or has left, and what there is to say.
fn outcome(state: &State, status: Option<&Status>, role: Role, line: &mut Row<'_>) {
    let theme = state.setup.theme;
    let plain = theme.style(Role::Text);
    match status {
        None => {}
        Some(Status::Queued) => {
            line.text("waiting", theme.style(Role::Muted));
        }
        Some(Status::Running {
            since,
            timeout,
            stopping,
            attempt,
            slow,
        }) => {
            let time = elapsed(state.now, *since);
            line.number(&counting(time), TIME, plain).skip(1);
            if let Some(signal) = stopping {
                line.text(
                    &format!("{} sent", signal.word()),
                    theme.style(Role::Warning),
                );
                return;
            }
            if let Some(timeout) = timeout {
                let part = time.as_secs_f64() / timeout.as_secs_f64().max(0.001);
                let of = format!("of {} ", Seconds(*timeout));
                let columns = line.room().saturating_sub(width(&of) + 3).min(8);
                if columns > 1 {
                    let bar = format!("▕{}▏ ", bar(part, columns));
                    line.text(&bar, theme.style(Role::Busy));
                }
                line.text(&of, plain);
            }
            let mut notes = Vec::new();
            if *slow {
                notes.push("slow".to_owned());
            }
            if *attempt > 1 {
                notes.push(format!("attempt {attempt}"));
            }
            line.text(&notes.join(", "), theme.style(Role::Warning));
        }
        Some(Status::Done {
            verdict,
            took,
            attempt,
            slow,
            leaky,
        }) => {
            let took = if matches!(verdict, Verdict::CouldNotStart { .. }) {
                String::new()
            } else {
                Seconds(*took).to_string()
            };
            line.number(&took, TIME, plain).skip(1);
            let words = verdict_words(verdict);
            line.text(&words, theme.style(role));
            let mut notes = Vec::new();
            if *attempt > 1 {
                notes.push(format!("attempt {attempt}"));
            }
            if *slow {
                notes.push("slow".to_owned());
            }
            if *leaky {
                notes.push("leaky".to_owned());
            }
            if !notes.is_empty() {
                line.skip(usize::from(!words.is_empty()))
                    .text(&notes.join(", "), theme.style(Role::Warning));
            }
        }
    }
}

/// What the symbol and the time do not say already.
pub(super) fn verdict_words(verdict: &Verdict) -> String {
    let text = match verdict {
        Verdict::Passed => String::new(),
        Verdict::Failed(ending) => ending.to_string(),
        Verdict::TimedOut { .. } | Verdict::Aborted => verdict.word().to_owned(),
        Verdict::Skipped { .. } | Verdict::CouldNotStart { .. } => verdict.to_string(),
    };
    sanitize_plain(&text).into_owned()
}

fn empty(state: &State, inner: Rect, buffer: &mut Buffer) {
    let text = match &state.replays.discovery {
        Discovery::Pending => "looking for replays".to_owned(),
        Discovery::Failed(problem) => format!("no replays: {problem}"),
        Discovery::Done => {
            "no replay found · an executable replays/*.sh is one; R looks again".to_owned()
        }
    };
    let columns = usize::from(inner.width).saturating_sub(4);
    for (index, line) in prose(&text, columns).iter().enumerate() {
        Row::new(buffer, inner, index)
            .skip(2)
            .text(line, state.setup.theme.style(Role::Muted));
    }
}
