//! Panes of lines: the logs of containers, and the output of a replay or a step.

use std::borrow::Cow;
use std::ops::Range;

use jiff::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::draw::{Row, Title, clock, pane, prose};
use super::header::step_text;
use super::replays::{verdict_role, verdict_words};
use super::sought;
use crate::domain::container::Container;
use crate::domain::incident::Offset;
use crate::domain::line::Mark;
use crate::domain::run::{Flaky, Seconds};
use crate::logs::store::{Content, Entry, Gap, LineId, LogStore};
use crate::text::level::Level;
use crate::text::sanitize::sanitize_plain;
use crate::text::width::{rows, window};
use crate::tui::layout::PaneArea;
use crate::tui::state::State;
use crate::tui::state::pager::{Gutter, Pager, Place, Reading, Stamps};
use crate::tui::state::replays::Status;
use crate::tui::state::run::Subject;
use crate::tui::theme::Role;

pub(super) fn draw_logs(state: &State, area: &PaneArea, focused: bool, buffer: &mut Buffer) {
    let pager = &state.log_pane;
    let mut parts = position(state, pager, &state.logs);
    let evicted = pager.lines(&state.logs).merged().evicted();
    if evicted > 0 {
        parts.push((format!("{evicted} older dropped"), Role::Warning));
    }
    if let Some(text) = reading(state) {
        parts.push((text, Role::Busy));
    }
    let names: Vec<&str> = pager.names().iter().map(|name| &**name).collect();
    if !names.is_empty() {
        parts.push((names.join(", "), Role::Text));
    }
    let title = Title {
        name: "Logs",
        parts,
    };
    pane(buffer, area, &title, focused, state.setup.theme);
    match emptiness(state) {
        Some(text) => say(state, &text, area.inner, buffer),
        None => draw_lines(state, pager, &state.logs, area.inner, buffer),
    }
}

/// What is being read of older lines.
fn reading(state: &State) -> Option<String> {
    let lines = state.pages.values().map(|page| page.lines).sum::<usize>();
    let is_long = state.pages.values().any(|page| page.stops_when_full);
    is_long.then(|| format!("reading, {} lines", grouped(lines as u64)))
}

/// Why there is nothing to see, where there is nothing.
fn emptiness(state: &State) -> Option<Cow<'static, str>> {
    let pager = &state.log_pane;
    if !pager.lines(&state.logs).is_empty() {
        return None;
    }
    if let Some(text) = sought::nothing_passes(pager) {
        return Some(text.into());
    }
    let mut containers = pager.sources().iter().map(|s| state.tree.container(s));
    let has_tty = |c: &Container| c.detail.as_ref().is_some_and(|detail| detail.tty);
    Some(if pager.sources().is_empty() {
        match state.tree.selected_group() {
            Some(group) if group.is_empty() && state.recorded.is_some() => format!(
                "the run has seen nothing of {}",
                sanitize_plain(&group.name)
            )
            .into(),
            Some(group) if group.is_empty() => {
                format!("nothing of {} is up", sanitize_plain(&group.name)).into()
            }
            _ => "select a container".into(),
        }
    } else if state.recorded.is_none() && containers.any(|container| container.is_some_and(has_tty))
    {
        "nothing printed yet · with a TTY, nothing comes before a whole line".into()
    } else if state.recorded.is_some() {
        "nothing was recorded of it".into()
    } else {
        "nothing printed yet".into()
    })
}

pub(super) fn draw_output(state: &State, area: &PaneArea, focused: bool, buffer: &mut Buffer) {
    let pager = &state.output_pane;
    let (name, mut parts) = output_title(state);
    parts.extend(position(state, pager, &state.outputs));
    let title = Title { name: &name, parts };
    pane(buffer, area, &title, focused, state.setup.theme);
    if pager.lines(&state.outputs).is_empty() {
        let filtered = sought::nothing_passes(pager);
        let text = filtered.unwrap_or_else(|| output_hint(state));
        say(state, &text, area.inner, buffer);
    } else {
        draw_lines(state, pager, &state.outputs, area.inner, buffer);
    }
}

fn output_title(state: &State) -> (String, Vec<(String, Role)>) {
    if let Subject::Step(step) = state.subject {
        let active = state
            .active
            .as_ref()
            .and_then(|active| active.step.as_ref());
        let parts = match active.filter(|current| current.step == step) {
            Some(current) => vec![(step_text(state, current), Role::Busy)],
            None => Vec::new(),
        };
        return (format!("Output of {}", step.word()), parts);
    }
    let Some(replay) = state.replays.selected() else {
        return ("Output".to_owned(), Vec::new());
    };
    let name = sanitize_plain(replay.name.as_str()).into_owned();
    let mut parts = Vec::new();
    match state.replays.status(&replay.name) {
        Some(
            done @ Status::Done {
                verdict,
                took,
                attempt,
                flaky,
                slow,
                leaky,
                ..
            },
        ) => {
            let ok = done.is_ok();
            let words = verdict_words(verdict);
            let words = if words.is_empty() {
                verdict.word().to_owned()
            } else {
                words
            };
            parts.push((
                format!("{} {words}", verdict.symbol_of(ok)),
                verdict_role(verdict, ok),
            ));
            parts.push((Seconds(*took).to_string(), Role::Text));
            if *attempt > 1 {
                parts.push((format!("attempt {attempt}"), Role::Text));
            }
            for (is, word) in [
                (*flaky == Flaky::Tolerated, "flaky"),
                (*flaky == Flaky::Fails, "flaky, fails"),
                (*slow, "slow"),
                (*leaky, "leaky"),
            ] {
                if is {
                    parts.push((word.to_owned(), Role::Warning));
                }
            }
        }
        Some(Status::Running { attempt, .. }) => {
            parts.push(("▶ running".to_owned(), Role::Busy));
            if *attempt > 1 {
                let of = state
                    .attempts()
                    .map_or_else(String::new, |most| format!(" of {most}"));
                parts.push((format!("attempt {attempt}{of}"), Role::Warning));
            }
        }
        Some(Status::Queued) => parts.push(("waiting".to_owned(), Role::Muted)),
        None => {}
    }
    (name, parts)
}

fn output_hint(state: &State) -> String {
    if let Subject::Step(_) = state.subject {
        return match state.recorded {
            Some(_) => "it printed nothing".to_owned(),
            None => "nothing printed yet".to_owned(),
        };
    }
    let Some(replay) = state.replays.selected() else {
        return "the output of the selected replay is shown here".to_owned();
    };
    let mut text = String::new();
    if let Some(description) = &replay.header.description {
        text.push_str(&sanitize_plain(description));
        text.push_str(" · ");
    }
    for problem in &replay.header.problems {
        text.push_str(&sanitize_plain(problem));
        text.push_str(" · ");
    }
    text.push_str(match state.replays.status(&replay.name) {
        None if state.recorded.is_some() => "the run did not come to it",
        None if state.replays.has_run_before(&replay.name) => {
            "not run in this session · enter shows its last run · r runs it"
        }
        None => "not run yet · r runs it",
        Some(Status::Queued) => "waiting for its turn",
        Some(Status::Running { .. }) => "nothing printed yet",
        Some(Status::Done { .. }) => "it printed nothing",
    });
    text
}

fn place(pager: &Pager, store: &LogStore) -> (String, Role) {
    if pager.is_following() {
        return ("following".to_owned(), Role::Good);
    }
    let text = match pager.behind(store) {
        0 => "paused".to_owned(),
        1 => "paused, 1 new line".to_owned(),
        new => format!("paused, {new} new lines"),
    };
    (text, Role::Warning)
}

/// Following or paused, and what is sought.
fn position(state: &State, pager: &Pager, store: &LogStore) -> Vec<(String, Role)> {
    let mut parts = Vec::new();
    // Nothing more comes in a recording.
    if state.recorded.is_some() {
        if pager.is_following() && !pager.lines(store).is_empty() {
            parts.push(("the end".to_owned(), Role::Muted));
        }
    } else if !pager.lines(store).is_empty() {
        parts.push(place(pager, store));
    }
    parts.extend(looked_for(pager, store));
    parts
}

/// What is sought, marked and picked.
pub(super) fn looked_for(pager: &Pager, store: &LogStore) -> Vec<(String, Role)> {
    let mut parts = Vec::new();
    let sought = [sought::filter(pager, store), sought::search(pager)];
    parts.extend(
        sought
            .into_iter()
            .flatten()
            .map(|text| (text, Role::Strong)),
    );
    let bookmarks = pager.bookmarks.count(pager.sources());
    if bookmarks > 0 {
        parts.push((format!("◆ {bookmarks}"), Role::Busy));
    }
    if pager.picked.is_some() {
        let text = match pager.picked_count(store) {
            Some(1) => "1 line picked".to_owned(),
            Some(n) => format!("{} lines picked", grouped(n as u64)),
            None => "lines picked".to_owned(),
        };
        parts.push((text, Role::Strong));
    }
    if pager.raw {
        parts.push(("raw".to_owned(), Role::Muted));
    }
    if pager.column > 0 {
        parts.push((format!("→ {}", pager.column), Role::Muted));
    }
    parts
}

pub(super) fn say(state: &State, text: &str, inner: Rect, buffer: &mut Buffer) {
    let columns = usize::from(inner.width).saturating_sub(2);
    for (index, line) in prose(text, columns).iter().enumerate() {
        Row::new(buffer, inner, index)
            .skip(1)
            .text(line, state.setup.theme.style(Role::Muted));
    }
}

pub(super) fn draw_lines(
    state: &State,
    pager: &Pager,
    store: &LogStore,
    inner: Rect,
    buffer: &mut Buffer,
) {
    let gutter = pager.gutter(usize::from(inner.width));
    let gone_to = pager.gone_to(store);
    // The rows of a wrapped line follow each other; it is decoded once for all of them.
    let mut decoded: Option<(LineId, Reading)> = None;
    for (index, place) in pager.window(store, inner.as_size()).iter().enumerate() {
        let Some(entry) = store.get(place.line) else {
            continue;
        };
        let mut row = Row::new(buffer, inner, index);
        let mut place = *place;
        if let Some(gap) = entry.gap {
            if place.row == 0 {
                draw_gap(state, pager, &entry, gap, &mut row);
                continue;
            }
            place.row -= 1;
        }
        if gutter.sign > 0 {
            match place.row {
                0 => draw_sign(state, pager, &entry, gone_to, &mut row),
                _ => drop(row.skip(gutter.sign)),
            }
        }
        match entry.content {
            Content::Mark(mark) => draw_mark(state, pager, &entry, mark, &mut row),
            Content::Line { .. } => {
                draw_gutter(state, pager, &entry, gutter, place.row > 0, &mut row);
                let known = decoded.take().filter(|(line, _)| *line == place.line);
                let read = || (place.line, pager.read(&entry).unwrap_or_default());
                let (_, line) = decoded.insert(known.unwrap_or_else(read));
                draw_text(state, pager, line, place, &mut row);
            }
        }
        if let Some(pick) = pager.picked.filter(|pick| pick.contains(place.line)) {
            let role = match pick.at == place.line {
                true => Role::Cursor,
                false => Role::Picked,
            };
            let area = Rect {
                y: inner.y + u16::try_from(index).unwrap_or(u16::MAX).min(inner.height),
                height: 1,
                ..inner
            };
            buffer.set_style(area.intersection(inner), state.setup.theme.style(role));
        }
    }
}

/// What stands before a bookmark, and before the line that was gone to.
fn draw_sign(
    state: &State,
    pager: &Pager,
    entry: &Entry<'_>,
    gone_to: Option<LineId>,
    row: &mut Row<'_>,
) {
    let is_current = gone_to == Some(entry.id);
    if let Some(mark) = pager.marks.get(&entry.id) {
        let sign = match is_current {
            true => format!("{}›", mark.symbol()),
            false => mark.symbol().to_owned(),
        };
        row.cell(&sign, 2, state.setup.theme.style(Role::Bad));
        return;
    }
    let (sign, role) = match pager.bookmarks.contains(entry.source, entry.id) {
        true if is_current => ("◆", Role::Key),
        true => ("◆", Role::Busy),
        false if is_current => ("›", Role::Key),
        false => ("", Role::Text),
    };
    row.cell(sign, 2, state.setup.theme.style(role));
}

fn draw_gutter(
    state: &State,
    pager: &Pager,
    entry: &Entry<'_>,
    gutter: Gutter,
    continued: bool,
    row: &mut Row<'_>,
) {
    let theme = state.setup.theme;
    if continued {
        row.skip(gutter.width() - gutter.sign);
        return;
    }
    if gutter.stamp > 0 {
        let text = stamp(state, pager.stamps, entry.id.time());
        row.cell(&text, gutter.stamp, theme.style(Role::Muted));
    }
    if gutter.offset > 0
        && let Some(offsets) = pager.offsets
    {
        let offset = Offset::between(offsets.zero, entry.id.time()).to_string();
        let role = match pager.marks.contains_key(&entry.id) {
            true => Role::Strong,
            false => Role::Text,
        };
        row.number(&offset, gutter.offset - 1, theme.style(role))
            .skip(1);
    }
    if gutter.source > 0
        && let Some(name) = pager.name(entry.source)
    {
        // By the order in which sources appeared, so that each keeps its colour.
        let color = theme.source(entry.id.source() as usize);
        row.cell(name, gutter.source - 1, color).skip(1);
    }
}

pub(super) fn stamp(state: &State, stamps: Stamps, at: Timestamp) -> String {
    match stamps {
        Stamps::Off => String::new(),
        Stamps::Time => {
            let local = at.to_zoned(state.setup.zone.clone());
            local.strftime("%H:%M:%S%.3f").to_string()
        }
        Stamps::Full => at.strftime("%Y-%m-%dT%H:%M:%S%.9fZ").to_string(),
    }
}

fn draw_text(state: &State, pager: &Pager, line: &Reading, place: Place, row: &mut Row<'_>) {
    let columns = row.room();
    let text = &line.styled.text;
    let (range, cut) = if pager.wrap {
        let rows = rows(text, columns);
        (rows.get(place.row).cloned().unwrap_or(0..0), false)
    } else {
        let whole = window(text, pager.column, columns);
        let cut = whole.range.end < text.len();
        let fits = if cut {
            columns.saturating_sub(1)
        } else {
            columns
        };
        let seen = window(text, pager.column, fits);
        row.skip(seen.blank);
        (seen.range, cut)
    };
    for (range, style) in segments(state, pager, line, place, range) {
        if let Some(part) = text.get(range) {
            row.text(part, style);
        }
    }
    if cut {
        row.text("…", state.setup.theme.style(Role::Muted));
    }
}

/// The look of the word that says a level.
pub(super) fn level_role(level: Level) -> Role {
    match level {
        Level::Trace | Level::Debug => Role::Muted,
        Level::Info => Role::Good,
        Level::Warn => Role::Warning,
        Level::Error | Level::Fatal => Role::Bad,
    }
}

/// The visible part in pieces of one style each: the program's own, under the search's.
fn segments(
    state: &State,
    pager: &Pager,
    line: &Reading,
    place: Place,
    visible: Range<usize>,
) -> Vec<(Range<usize>, Style)> {
    let theme = state.setup.theme;
    let search = pager.search.as_ref();
    let matches = &line.hits;
    let spans = &line.styled.spans;
    let level = line.level.as_ref();
    let current = search.is_some_and(|search| search.current == Some(place.line));
    let role = if current {
        Role::CurrentMatch
    } else {
        Role::Match
    };
    let mut borders: Vec<usize> = spans
        .iter()
        .map(|span| &span.range)
        .chain(matches)
        .chain(level.map(|(range, _)| range))
        .flat_map(|range| [range.start, range.end])
        .filter(|at| visible.contains(at))
        .chain([visible.start, visible.end])
        .collect();
    borders.sort_unstable();
    borders.dedup();
    borders
        .windows(2)
        .map(|pair| {
            let range = pair[0]..pair[1];
            let leveled = level
                .filter(|(place, _)| place.contains(&range.start))
                .map_or_else(Style::new, |(_, level)| theme.style(level_role(*level)));
            let own = spans
                .iter()
                .find(|span| span.range.contains(&range.start))
                .map_or(leveled, |span| theme.paint(span.style));
            let is_match = matches.iter().any(|found| found.contains(&range.start));
            let style = if is_match {
                own.patch(theme.style(role))
            } else {
                own
            };
            (range, style)
        })
        .collect()
}

/// `── tenant exited · code 137 · 12:03:42 ─────`
fn draw_mark(state: &State, pager: &Pager, entry: &Entry<'_>, mark: &Mark, row: &mut Row<'_>) {
    let style = state.setup.theme.style(Role::Separator);
    let name = source_name(pager, entry);
    let at = clock(entry.id.time(), &state.setup.zone);
    let text = format!("── {name} {} · {at} ", mark_text(mark));
    row.text(&text, style).fill("─", style);
}

fn source_name(pager: &Pager, entry: &Entry<'_>) -> String {
    match pager.name(entry.source) {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => sanitize_plain(&entry.source.0).into_owned(),
    }
}

/// `╌╌ 12,000 lines of tenant are not held, reading… ╌╌╌`
fn draw_gap(state: &State, pager: &Pager, entry: &Entry<'_>, gap: Gap, row: &mut Row<'_>) {
    let style = state.setup.theme.style(Role::Muted);
    let name = source_name(pager, entry);
    let lines = match gap.lines {
        None => "older lines".to_owned(),
        Some(1) => "1 line".to_owned(),
        Some(lines) => format!("{} lines", grouped(lines)),
    };
    let fate = if gap.lost {
        "gone"
    } else if state.logs.is_filling(entry.id.source()) {
        "being read…"
    } else {
        "not held"
    };
    row.text(&format!("╌╌ {lines} of {name} {fate} "), style);
    row.fill("╌", style);
}

/// With a comma after every three digits from the right.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(super) fn mark_text(mark: &Mark) -> String {
    match mark {
        Mark::Exited { code, oom } => {
            let mut text = "exited".to_owned();
            if let Some(code) = code {
                text.push_str(&format!(" · code {code}"));
                match code {
                    137 => text.push_str(" (killed)"),
                    143 => text.push_str(" (terminated)"),
                    _ => {}
                }
            }
            if *oom {
                text.push_str(" · out of memory");
            }
            text
        }
        Mark::Restarted => "runs again".to_owned(),
        Mark::Recreated => "was made anew".to_owned(),
        Mark::Removed => "is gone".to_owned(),
        Mark::Interrupted { cause } => format!("cannot be read now: {}", sanitize_plain(cause)),
        Mark::Resumed => "is read again".to_owned(),
        Mark::Gap { from, to } => {
            let span = to.duration_since(*from).as_secs_f64();
            format!("has lost {span:.1} s of its log to rotation")
        }
        Mark::Unreadable { cause } => format!("unreadable: {}", sanitize_plain(cause)),
    }
}
