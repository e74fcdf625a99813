//! The tree of containers.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::draw::{Row, Title, age, clock, memory, pane, prose};
use crate::domain::badge::{self, Badge};
use crate::domain::container::{Container, Health, State as Run};
use crate::domain::link::Link;
use crate::text::sanitize::sanitize_plain;
use crate::text::width::width;
use crate::tui::layout::PaneArea;
use crate::tui::state::State;
use crate::tui::state::tree::{self, Group, source_of};
use crate::tui::theme::{Role, Theme};

/// Where a container's name starts.
const INDENT: usize = 6;
const WORD: usize = 10;
const AGE: usize = 4;
const CPU: usize = 6;
const MEMORY: usize = 5;
/// All badges of a container; more of them are counted.
const BADGES: usize = 40;
/// The least that is left of a badge.
const CUT: usize = 4;
/// What a name keeps where there is not room for everything.
const SHORT: usize = 16;

/// The columns that fit, in columns of the screen; nothing for one that does not.
#[derive(Clone, Copy, Debug, Default)]
struct Columns {
    name: usize,
    word: usize,
    age: usize,
    cpu: usize,
    memory: usize,
    badges: usize,
    ports: usize,
}

pub(super) fn draw(state: &State, area: &PaneArea, focused: bool, buffer: &mut Buffer) {
    let theme = state.setup.theme;
    pane(buffer, area, &title(state), focused, theme);
    let inner = area.inner;
    let rows = state.tree.rows();
    let visible: Vec<(usize, &tree::Row)> = rows
        .iter()
        .enumerate()
        .skip(state.tree.cursor.top())
        .take(usize::from(inner.height))
        .collect();
    let columns = columns(state, &visible, usize::from(inner.width));
    for (index, (at, row)) in visible.iter().enumerate() {
        let selected = *at == state.tree.cursor.at();
        let mut line = Row::new(buffer, inner, index);
        line.text(
            if selected { "›" } else { " " },
            theme.style(Role::IdleCursor),
        );
        match row {
            tree::Row::Group(index) => {
                if let Some(group) = state.tree.group(*index) {
                    draw_group(state, group, columns, &mut line);
                }
            }
            tree::Row::Container { container, .. } => {
                if let Some(container) = state.tree.containers().get(*container) {
                    draw_container(state, container, columns, &mut line);
                }
            }
        }
        let whole = Rect {
            y: inner.y + index as u16,
            height: 1,
            ..inner
        };
        if matches!(state.link, Link::Lost { .. }) {
            buffer.set_style(whole, theme.style(Role::Muted));
        }
        if selected && focused {
            buffer.set_style(whole, theme.style(Role::Cursor));
        }
    }
    hint(state, inner, visible.len(), buffer);
}

fn title(state: &State) -> Title<'static> {
    let mut parts = Vec::new();
    match &state.link {
        Link::Lost { since, .. } => {
            let since = clock(*since, &state.setup.zone);
            parts.push((format!("stale: as of {since}"), Role::Bad));
        }
        Link::Connecting if !state.tree.heard() => {
            parts.push(("connecting".to_owned(), Role::Busy));
        }
        Link::Connecting | Link::Up(_) => {}
    }
    if state.tree.marks() > 0 {
        parts.push((format!("{} marked", state.tree.marks()), Role::Strong));
    }
    let families: Vec<String> = state
        .setup
        .scope
        .families
        .iter()
        .map(|family| sanitize_plain(&family.to_string()).into_owned())
        .collect();
    if !families.is_empty() {
        parts.push((families.join(", "), Role::Muted));
    }
    Title {
        name: "Containers",
        parts,
    }
}

fn columns(state: &State, visible: &[(usize, &tree::Row)], room: usize) -> Columns {
    let containers: Vec<&Container> = visible
        .iter()
        .filter_map(|(_, row)| match row {
            tree::Row::Container { container, .. } => state.tree.containers().get(*container),
            tree::Row::Group(_) => None,
        })
        .collect();
    let groups = visible.iter().filter_map(|(_, row)| match row {
        tree::Row::Group(index) => state
            .tree
            .group(*index)
            .map(|g| width(&g.name).saturating_sub(2)),
        tree::Row::Container { .. } => None,
    });
    let longest = |of: &dyn Fn(&Container) -> String| {
        let widths = containers.iter().map(|container| width(&of(container)));
        widths.max().unwrap_or(0)
    };
    let names = longest(&|container| container.title().to_owned()).max(groups.max().unwrap_or(0));
    let all = longest(&|container| badges_in(&badges(state, container), BADGES));
    let least = longest(&|container| badges_in(&badges(state, container), 0)).min(all);
    let room = room.saturating_sub(INDENT);
    // A long name gives way to the columns, but not below what still tells it from others.
    let rest = WORD + AGE + CPU + MEMORY + 4 + least + usize::from(least > 0);
    let name = names.min(room.saturating_sub(rest).max(SHORT)).min(room);
    let mut left = room - name;
    let mut columns = Columns {
        name,
        word: take(&mut left, WORD),
        ..Columns::default()
    };
    // What is wrong goes before what is so. Cut short it still says that something is.
    let cut = least.min(left.saturating_sub(1));
    columns.badges = take(&mut left, if cut < CUT { least } else { cut });
    columns.age = take(&mut left, AGE);
    if columns.badges > 0 {
        let more = (all - columns.badges).min(left);
        columns.badges += more;
        left -= more;
    }
    columns.cpu = take(&mut left, CPU);
    if columns.cpu > 0 {
        columns.memory = take(&mut left, MEMORY);
        let wanted = longest(&|container| ports(container)).min(left.saturating_sub(1));
        if wanted >= 5 {
            columns.ports = take(&mut left, wanted);
        }
    }
    columns
}

/// So many columns and a gap before them, or nothing.
fn take(left: &mut usize, wanted: usize) -> usize {
    if wanted == 0 || wanted >= *left {
        return 0;
    }
    *left -= wanted + 1;
    wanted
}

fn draw_group(state: &State, group: &Group, columns: Columns, line: &mut Row<'_>) {
    let theme = state.setup.theme;
    let triangle = if state.tree.is_folded(group) {
        "▸"
    } else {
        "▾"
    };
    let count = match (group.len(), group.up) {
        (0, _) if state.recorded.is_some() => "not seen".to_owned(),
        (all, _) if state.recorded.is_some() => format!("{all} seen"),
        (0, _) => "nothing up".to_owned(),
        (all, up) if all == up => format!("{up} up"),
        (all, up) => format!("{up}/{all} up"),
    };
    let name = sanitize_plain(&group.name);
    line.skip(1)
        .text(triangle, theme.style(Role::Muted))
        .skip(1)
        .cell(&name, columns.name + 2, theme.style(Role::Strong))
        .skip(1)
        .cell(&count, WORD, theme.style(Role::Text))
        .skip(1)
        .text(standing(state, group), theme.style(kind_role(group)));
}

/// What may happen to it; in a recording nothing may.
fn standing(state: &State, group: &Group) -> &'static str {
    match (&state.recorded, group.kind) {
        (Some(_), tree::GroupKind::Harness(_)) => "harness",
        (Some(_), tree::GroupKind::Stack(_) | tree::GroupKind::Label) => "",
        (_, kind) => kind.word(),
    }
}

fn kind_role(group: &Group) -> Role {
    match group.kind {
        tree::GroupKind::Harness(_) => Role::Busy,
        tree::GroupKind::Stack(crate::domain::scope::Protection::Removable) => Role::Text,
        _ => Role::Muted,
    }
}

fn draw_container(state: &State, container: &Container, columns: Columns, line: &mut Row<'_>) {
    let theme = state.setup.theme;
    let marked = state.tree.is_marked(&source_of(container));
    let (symbol, role) = symbol(container);
    let plain = theme.style(Role::Text);
    let title = sanitize_plain(container.title());
    line.text(if marked { "*" } else { " " }, theme.style(Role::Strong))
        .skip(2)
        .text(symbol, theme.style(role))
        .skip(1)
        .cell(&title, columns.name, plain);
    let gap = |line: &mut Row<'_>, columns: usize| {
        line.skip(usize::from(columns > 0));
    };
    gap(line, columns.word);
    line.cell(&container.word(), columns.word, theme.style(role));
    gap(line, columns.age);
    line.number(&age(state.as_of(), age_of(container)), columns.age, plain);
    let sample = state.samples.get(&container.id);
    let cpu = sample.and_then(|sample| sample.cpu_percent);
    gap(line, columns.cpu);
    let cpu = cpu.map_or_else(String::new, |cpu| format!("{cpu:.1}%"));
    line.number(&cpu, columns.cpu, plain);
    gap(line, columns.memory);
    let used = sample.map_or_else(String::new, |sample| memory(sample.memory));
    line.number(&used, columns.memory, plain);
    gap(line, columns.badges);
    let badges = badges_in(&badges(state, container), columns.badges);
    line.cell(&badges, columns.badges, theme.style(Role::Warning));
    gap(line, columns.ports);
    line.cell(&ports(container), columns.ports, theme.style(Role::Muted));
}

/// One character per state, none of which needs its colour.
pub(super) fn symbol(container: &Container) -> (&'static str, Role) {
    let role = match (container.state, container.health) {
        (Run::Running, Some(Health::Starting)) => Role::Busy,
        (Run::Running, None | Some(Health::Healthy)) => Role::Good,
        (Run::Running, Some(Health::Unhealthy)) | (Run::Dead, _) => Role::Bad,
        (Run::Created, _) => Role::Text,
        (Run::Paused | Run::Restarting | Run::Unknown, _) => Role::Warning,
        (Run::Removing, _) => Role::Muted,
        (Run::Exited, _) if container.exit_code() == Some(0) => Role::Muted,
        (Run::Exited, _) => Role::Bad,
    };
    (container.symbol(), role)
}

fn age_of(container: &Container) -> jiff::Timestamp {
    let detail = container.detail.as_ref();
    let since = if container.state.is_alive() {
        detail.and_then(|detail| detail.started)
    } else {
        detail.and_then(|detail| detail.finished)
    };
    since.unwrap_or(container.created)
}

/// What is wrong with it, what matters most first.
pub(super) fn badges(state: &State, container: &Container) -> Vec<Badge> {
    let placement = state.setup.scope.place(&container.labels);
    let out_of_memory = state.tree.is_out_of_memory(container);
    badge::badges(container, &placement, out_of_memory, state.as_of())
}

/// As many of the badges as fit, at least the first, and how many more there are.
fn badges_in(badges: &[Badge], columns: usize) -> String {
    let badges: Vec<String> = badges.iter().map(ToString::to_string).collect();
    (1..=badges.len())
        .rev()
        .map(|shown| {
            let text = badges[..shown].join(", ");
            match badges.len() - shown {
                0 => text,
                more => format!("{text} +{more}"),
            }
        })
        .find(|text| width(text) <= columns)
        .unwrap_or_else(|| match &*badges {
            [] => String::new(),
            [only] => only.clone(),
            [first, rest @ ..] => format!("{first} +{}", rest.len()),
        })
}

fn ports(container: &Container) -> String {
    let ports = container.published_ports();
    let ports: Vec<String> = ports.iter().map(|port| format!(":{port}")).collect();
    ports.join(" ")
}

/// What can be done where there is nothing, in the room below the list.
fn hint(state: &State, inner: Rect, used: usize, buffer: &mut Buffer) {
    let theme: Theme = state.setup.theme;
    let Some(text) = hint_text(state) else { return };
    let columns = usize::from(inner.width).saturating_sub(4);
    for (index, line) in prose(&text, columns).iter().enumerate() {
        let blank = usize::from(used > 0 && usize::from(inner.height) > used + 2);
        Row::new(buffer, inner, used + blank + index)
            .skip(2)
            .text(line, theme.style(Role::Muted));
    }
}

fn hint_text(state: &State) -> Option<String> {
    if state.recorded.is_some() {
        let nothing = state.tree.heard() && state.tree.containers().is_empty();
        return nothing.then(|| "the run has recorded no container".to_owned());
    }
    if state.active.is_some() {
        return None;
    }
    match &state.link {
        Link::Connecting if !state.tree.heard() => {
            return Some("waiting for the engine's answer".to_owned());
        }
        Link::Lost { cause, .. } if !state.tree.heard() => {
            return Some(format!(
                "the engine does not answer: {}",
                sanitize_plain(cause)
            ));
        }
        _ => {}
    }
    if !state.setup.harness.is_empty() {
        return (!state.harness_is_up()).then(|| {
            "nothing is up · u boots the harness · a boots it and runs every replay".to_owned()
        });
    }
    let empty = state.tree.rows().is_empty();
    empty.then(|| {
        "no container is in the scope · tackroom init writes a commented tackroom.toml".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn badges_that_do_not_fit_are_counted() {
        let badges = [Badge::OutOfMemory, Badge::BindSourceGone, Badge::StaleImage];
        for (columns, expected) in [
            (40, "OOM, bind source gone, stale image"),
            (33, "OOM, bind source gone +1"),
            (24, "OOM, bind source gone +1"),
            (23, "OOM +2"),
            (0, "OOM +2"),
        ] {
            assert_eq!(badges_in(&badges, columns), expected, "{columns}");
        }
        assert_eq!(badges_in(&badges[..1], 0), "OOM");
        assert_eq!(badges_in(&[], 9), "");
    }

    #[test]
    fn the_widest_word_fits_its_column() {
        let mut container = crate::tui::fixtures::container("a", &[]);
        container.health = Some(Health::Unhealthy);
        assert!(width(&container.word()) <= WORD);
        container.state = Run::Restarting;
        assert!(width(&container.word()) <= WORD);
    }
}
