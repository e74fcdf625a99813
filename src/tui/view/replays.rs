//! The list of replays.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::course::Columns;
use super::draw::{Row, Title, counting, elapsed, pane, prose};
use crate::domain::replay::Replay;
use crate::domain::run::{Counts, Flaky, Seconds, Verdict};
use crate::replay::{Order, Query};
use crate::text::bar::bar;
use crate::text::sanitize::sanitize_plain;
use crate::text::width::width;
use crate::tui::layout::PaneArea;
use crate::tui::state::State;
use crate::tui::state::replays::{Discovery, Status};
use crate::tui::theme::Role;

const TIME: usize = 9;

/// Columns that a history leaves to what there is to say of the last run.
const NOTES: usize = 10;

pub(super) fn draw(state: &State, area: &PaneArea, focused: bool, buffer: &mut Buffer) {
    let theme = state.setup.theme;
    pane(buffer, area, &title(state), focused, theme);
    let inner = area.inner;
    let list = state.replays.list();
    if list.is_empty() && state.replays.found().is_empty() {
        empty(state, inner, buffer);
        return;
    }
    if list.is_empty() {
        let text = "no replay matches · esc shows all";
        Row::new(buffer, inner, 0)
            .skip(2)
            .text(text, theme.style(Role::Muted));
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
    let courses: Vec<_> = visible
        .iter()
        .filter_map(|replay| state.replays.course(&replay.name))
        .collect();
    let history = |closes: usize| {
        let closes = closes + usize::from(closes > 0);
        let taken = name + 1 + closes + TIME;
        Columns::fit(room.saturating_sub(taken), NOTES, &courses)
    };
    // And the issue gives way to what earlier runs say.
    let has_room = room > name + TIME + closes + 14;
    let closes = if has_room && (history(closes).is_some() || history(0).is_none()) {
        closes
    } else {
        0
    };
    let history = history(closes);
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
        let course = state.replays.course(&replay.name);
        let course = history.zip(course);
        // What is cut is what there is to say of this time, and not how often it failed before.
        let share = course.map_or(0, |(history, course)| history.share(course));
        line.hold_back(share);
        outcome(state, status, role, &mut line);
        line.release(share);
        if let Some((history, course)) = course {
            history.draw(course, theme, &mut line);
        }
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
    let mut parts = Vec::new();
    let (shown, all) = (replays.list().len(), replays.found().len());
    if let Some(query) = replays.query().map(Query::text) {
        let text = sanitize_plain(query);
        parts.push((format!("/{text} {shown} of {all}"), Role::Strong));
    } else if all > 0 {
        parts.push((all.to_string(), Role::Text));
    }
    for (count, symbol, role) in [
        (counts.passed, "✔", Role::Good),
        (counts.failures(), "✘", Role::Bad),
        (counts.aborted, "■", Role::Warning),
        (counts.failed_as_expected, "x", Role::Muted),
        (counts.skipped, "⊘", Role::Muted),
    ] {
        if count > 0 {
            parts.push((format!("{count} {symbol}"), role));
        }
    }
    parts.extend(marks(state, &counts).map(|text| (text, Role::Warning)));
    match replays.marked() {
        (0, _) => {}
        (marked, 0) => parts.push((format!("{marked} marked"), Role::Strong)),
        (marked, hidden) => {
            parts.push((format!("{marked} marked, {hidden} hidden"), Role::Strong));
        }
    }
    if replays.order() != Order::Found {
        parts.push((replays.order().word().to_owned(), Role::Text));
    }
    let (policy, usual) = (&state.policy, &state.setup.policy);
    for (differs, text) in [
        (policy.jobs != usual.jobs, format!("{} jobs", policy.jobs)),
        (
            policy.retries != usual.retries,
            format!("{} retries", policy.retries),
        ),
        (
            policy.flaky_fails != usual.flaky_fails,
            "flaky fails".to_owned(),
        ),
    ] {
        if differs {
            parts.push((text, Role::Text));
        }
    }
    Title {
        name: "Replays",
        parts,
    }
}

/// What is told of the replays besides how they ended.
pub(super) fn marks<'a>(
    state: &'a State,
    counts: &Counts,
) -> impl Iterator<Item = String> + use<'a> {
    let troubles = state.replays.troubles();
    [
        (counts.flaky, "flaky"),
        (troubles.slow, "slow"),
        (troubles.leaky, "leaky"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, word)| format!("{count} {word}"))
}

/// One character per state, none of which needs its colour.
pub(super) fn symbol(status: Option<&Status>) -> (&'static str, Role) {
    match status {
        None => ("·", Role::Muted),
        Some(Status::Queued) => ("◦", Role::Busy),
        Some(Status::Running { .. }) => ("▶", Role::Busy),
        Some(done @ Status::Done { verdict, .. }) => {
            let ok = done.is_ok();
            (verdict.symbol_of(ok), verdict_role(verdict, ok))
        }
    }
}

/// `ok` is whether a run may pass with it.
pub(super) fn verdict_role(verdict: &Verdict, ok: bool) -> Role {
    match verdict {
        verdict if verdict.is_ok() && !ok => Role::Bad,
        Verdict::Passed => Role::Good,
        Verdict::Skipped { .. } | Verdict::FailedAsExpected { .. } => Role::Muted,
        Verdict::Aborted => Role::Warning,
        Verdict::Failed(_)
        | Verdict::Contradicted { .. }
        | Verdict::TimedOut { .. }
        | Verdict::Errored(_)
        | Verdict::CouldNotStart { .. } => Role::Bad,
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
        Some(
            running @ Status::Running {
                since,
                timeout,
                stopping,
                attempt,
                slow,
                ..
            },
        ) => {
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
                let of = state
                    .attempts()
                    .map_or_else(String::new, |most| format!(" of {most}"));
                let retry = if running.is_retry() { "retry, " } else { "" };
                notes.push(format!("{retry}attempt {attempt}{of}"));
            }
            line.text(&notes.join(", "), theme.style(Role::Warning));
        }
        Some(Status::Done {
            verdict,
            took,
            attempt,
            slow,
            leaky,
            flaky,
            passes,
            ..
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
            let is_flaky = *flaky != Flaky::No;
            let again = *attempt > 1 && (is_flaky || !verdict.is_ok());
            let times = if again {
                format!(" ×{attempt}")
            } else {
                String::new()
            };
            if is_flaky {
                let fails = match flaky {
                    Flaky::Fails => ", fails",
                    Flaky::No | Flaky::Tolerated => "",
                };
                notes.push(format!("flaky{times}{fails}"));
            } else if again {
                notes.push(times.trim_start().to_owned());
            }
            if *passes > 1 {
                notes.push(format!("{passes} passed"));
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
        Verdict::Contradicted { reason } => reason.clone(),
        Verdict::TimedOut { .. } | Verdict::Aborted => verdict.word().to_owned(),
        Verdict::Skipped { .. }
        | Verdict::FailedAsExpected { .. }
        | Verdict::Errored(_)
        | Verdict::CouldNotStart { .. } => verdict.to_string(),
    };
    sanitize_plain(&text).into_owned()
}

fn empty(state: &State, inner: Rect, buffer: &mut Buffer) {
    let text = match &state.replays.discovery {
        _ if state.recorded.is_some() => "the run had no replays".to_owned(),
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
