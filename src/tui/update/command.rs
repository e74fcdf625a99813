//! Carrying out the commands of the keymap.

use crate::domain::replay::ReplayName;
use crate::logs::index::Index;
use crate::logs::store::LogStore;
use crate::tui::effect::{Effect, Job};
use crate::tui::keymap::Command;
use crate::tui::state::dialog::Dialog;
use crate::tui::state::pager::Pager;
use crate::tui::state::replays::Status;
use crate::tui::state::run::Subject;
use crate::tui::state::tree::Row;
use crate::tui::state::{Pane, Screen, State, cursor::Cursor};
use ratatui::layout::Size;

use super::{current_layout, dialogs, filter, incident, places, recorded, replays, run, take};

/// Columns of one step sideways.
const SIDEWAYS: isize = 8;

pub(super) fn run(state: &mut State, command: Command, effects: &mut Vec<Effect>) {
    if recorded::refuses(state, command) {
        return;
    }
    match command {
        Command::Interrupt => dialogs::interrupt(state, effects),
        Command::Quit => dialogs::quit(state, effects),
        Command::LeaveUp => dialogs::leave(state, effects),
        Command::TakeDown => dialogs::take_down(state, effects),
        Command::Suspend => effects.push(Effect::Suspend),
        Command::Redraw => effects.push(Effect::Redraw),
        Command::Help => state.dialog = Some(Dialog::Help { top: 0 }),
        Command::Palette => {
            state.dialog = Some(Dialog::Palette {
                input: tui_input::Input::default(),
                cursor: Cursor::default(),
            });
        }
        Command::Back => back(state, effects),
        Command::Confirm => dialogs::confirm(state, effects),
        Command::Cockpit => go(state, Screen::Cockpit),
        Command::Logs => go(state, Screen::Logs),
        Command::Replays => go(state, Screen::Replays),
        Command::Diagnostics => go(state, Screen::Diagnostics),
        Command::NextPane => cycle(state, 1),
        Command::PreviousPane => cycle(state, -1),
        Command::Zoom => state.zoom = !state.zoom,
        Command::Mouse => {
            state.mouse = !state.mouse;
            effects.push(Effect::SetMouse(state.mouse));
            state.notify(if state.mouse {
                "the mouse is tackroom's again"
            } else {
                "the mouse is the terminal's: select text as usual; M takes it back"
            });
        }
        Command::Up | Command::PreviousItem => scroll(state, Amount::Rows(-1)),
        Command::Down | Command::NextItem => scroll(state, Amount::Rows(1)),
        Command::PageUp => scroll(state, Amount::Pages(-1)),
        Command::PageDown => scroll(state, Amount::Pages(1)),
        Command::Top => scroll(state, Amount::Start),
        Command::Bottom => scroll(state, Amount::End),
        Command::Left => sideways(state, -1),
        Command::Right => sideways(state, 1),
        Command::Open => open(state, effects),
        Command::NextMark => incident::next_mark(state, true),
        Command::PreviousMark => incident::next_mark(state, false),
        Command::Sources => incident::open_sources(state),
        Command::ToggleSource => incident::toggle_source(state, effects),
        Command::OnlySource => incident::only_source(state, effects),
        Command::Changes => incident::open_changes(state),
        Command::Bundle => incident::bundle(state, effects),
        Command::Mark => match state.focus {
            Pane::Containers => {
                state.tree.toggle_mark();
                if matches!(state.tree.selected(), Some(Row::Container { .. })) {
                    state.tree.cursor.by(1);
                }
            }
            Pane::Replays => {
                state.replays.toggle_mark();
                state.replays.cursor.by(1);
                run::user_moved(state);
            }
            _ => {}
        },
        Command::Details => {
            if let Some(container) = state.tree.selected_container() {
                let source = crate::tui::state::tree::source_of(container);
                state.dialog = Some(Dialog::Details { source, top: 0 });
            } else {
                state.notify("select a container to see its details");
            }
        }
        Command::Copy => copy(state, effects),
        Command::CopyFull => take::copy_full(state, effects),
        Command::Pick => {
            if let Some((pane, store, size)) = pager(state) {
                match pane.picked {
                    Some(_) => pane.anchor_pick(),
                    None => pane.pick(store, size),
                }
            }
        }
        Command::Inspect => take::open_record(state),
        Command::Raw => {
            if let Some((pane, ..)) = pager(state) {
                pane.raw = !pane.raw;
                pane.column = 0;
            }
        }
        Command::Save => take::open_save(state),
        Command::OpenPager => take::open_pager(state, effects),
        Command::ChooseField => take::choose_field(state),
        Command::NextRecord => take::step_record(state, 1),
        Command::PreviousRecord => take::step_record(state, -1),
        Command::Follow => {
            if let Some((pane, ..)) = pager(state) {
                pane.follow();
            }
        }
        Command::Search => dialogs::open_search(state),
        Command::Filter => filter::open(state),
        Command::Level => filter::next_level(state, effects),
        Command::Context => filter::next_context(state),
        Command::NextError | Command::PreviousError if state.focus == Pane::Replays => {
            replays::next_failed(state, command == Command::NextError);
        }
        Command::NextError => places::next_error(state, true),
        Command::PreviousError => places::next_error(state, false),
        Command::Bookmark => places::toggle_bookmark(state),
        Command::NextBookmark => places::next_bookmark(state, true, effects),
        Command::PreviousBookmark => places::next_bookmark(state, false, effects),
        Command::Time => places::ask_for_time(state),
        Command::NextHit => next_hit(state, true),
        Command::PreviousHit => next_hit(state, false),
        Command::Wrap => {
            if let Some((pane, ..)) = pager(state) {
                pane.wrap = !pane.wrap;
                pane.column = 0;
            }
        }
        Command::Stamps => {
            if let Some((pane, ..)) = pager(state) {
                pane.stamps = pane.stamps.next();
            }
        }
        Command::Run => {
            if let Some(names) = chosen(state) {
                run::run(state, names, effects);
            }
        }
        Command::RunAll => {
            if shown(state, &[Pane::Replays, Pane::Output], "a runs every replay") {
                let all = state.replays.all();
                run::run(state, all, effects);
            }
        }
        Command::RerunFailed => {
            if shown(
                state,
                &[Pane::Replays, Pane::Output],
                "f runs again what failed",
            ) {
                let failed = state.replays.failed();
                if failed.is_empty() {
                    state.notify("nothing has failed");
                } else {
                    run::run(state, failed, effects);
                }
            }
        }
        Command::RunLastFailed => {
            let what = "F runs what failed, was not reached or is new";
            if shown(state, &[Pane::Replays, Pane::Output], what) {
                replays::run_last_failed(state, effects);
            }
        }
        Command::RunWith => {
            if let Some(names) = chosen(state) {
                replays::ask_how(state, names);
            }
        }
        Command::ReplayDetails => replays::details(state),
        Command::FilterReplays => replays::open_filter(state),
        Command::Order => replays::next_order(state),
        Command::Less => replays::change(state, false),
        Command::More => replays::change(state, true),
        Command::Toggle => replays::toggle(state),
        Command::Stop => run::stop(state, effects),
        Command::Reload => {
            effects.push(Effect::Discover);
            state.notify("looking for replays");
        }
        Command::RunInfo => recorded::open_info(state),
        Command::Boot => lifecycle(state, Job::Up, "u boots the harness", effects),
        Command::Seed => lifecycle(state, Job::Seed, "s seeds the harness", effects),
        Command::Teardown => dialogs::open_teardown(state, effects),
    }
}

/// Whether one of the panes is on the screen, so that a key does not act on what nobody sees.
/// If none is, the first one is brought there, and the key has to be pressed again.
fn shown(state: &mut State, panes: &[Pane], what: &str) -> bool {
    let layout = current_layout(state);
    if panes.iter().any(|pane| layout.shows(*pane)) {
        return true;
    }
    let Some(pane) = panes.first() else {
        return false;
    };
    if !state.screen.panes().contains(pane) {
        state.screen = Screen::Cockpit;
    }
    state.zoom = false;
    state.focus = *pane;
    state.notify(format!("{what}: press it again"));
    false
}

fn lifecycle(state: &mut State, job: Job, what: &str, effects: &mut Vec<Effect>) {
    if !state.setup.has_hooks {
        state.notify("no [harness] is configured; tackroom init writes a commented file");
    } else if shown(
        state,
        &[Pane::Containers, Pane::Replays, Pane::Output],
        what,
    ) {
        run::start(state, job, effects);
    }
}

/// The replays that the focused pane means.
fn chosen(state: &mut State) -> Option<Vec<ReplayName>> {
    match (state.focus, &state.subject) {
        (Pane::Output, Subject::Step(_)) => {
            state.notify("this is the output of a step, not of a replay");
            None
        }
        (Pane::Output, Subject::Selected) => {
            let selected = state.replays.selected();
            Some(
                selected
                    .map(|replay| replay.name.clone())
                    .into_iter()
                    .collect(),
            )
        }
        _ => Some(state.replays.chosen()),
    }
}

fn go(state: &mut State, screen: Screen) {
    state.screen = screen;
    state.zoom = false;
    if !screen.panes().contains(&state.focus) {
        state.focus = screen.panes().first().copied().unwrap_or(state.focus);
    }
}

fn cycle(state: &mut State, by: isize) {
    let panes = state.screen.panes();
    let at = panes
        .iter()
        .position(|pane| *pane == state.focus)
        .unwrap_or(0);
    let len = panes.len() as isize;
    let next = (at as isize + by).rem_euclid(len.max(1)) as usize;
    if let Some(pane) = panes.get(next) {
        state.focus = *pane;
    }
}

fn back(state: &mut State, effects: &mut Vec<Effect>) {
    if state.dialog.is_some() {
        dialogs::close(state, effects);
        return;
    }
    if let Some((pane, store, size)) = pager(state)
        && (pane.unpick(store, size) || pane.search.take().is_some())
    {
        return;
    }
    if filter::end(state, effects) {
        return;
    }
    if state.zoom {
        state.zoom = false;
        return;
    }
    let had_marks = match state.focus {
        Pane::Containers => state.tree.clear_marks(),
        Pane::Replays => state.replays.clear_marks(),
        _ => false,
    };
    if had_marks {
        return;
    }
    match (state.screen, state.focus) {
        (Screen::Cockpit, Pane::Logs) => state.focus = Pane::Containers,
        (Screen::Cockpit | Screen::Replays, Pane::Output) => state.focus = Pane::Replays,
        (Screen::Cockpit, _) => {}
        (Screen::Incident, _) => incident::leave(state, effects),
        _ => go(state, Screen::Cockpit),
    }
}

fn open(state: &mut State, effects: &mut Vec<Effect>) {
    if state.dialog.is_some() {
        recorded::open_step(state);
        return;
    }
    match (state.focus, state.tree.selected()) {
        (Pane::Containers, Some(Row::Group(_))) => {
            let folded = state
                .tree
                .selected_group()
                .is_some_and(|group| state.tree.is_folded(group));
            state.tree.fold(!folded);
        }
        (Pane::Containers, Some(Row::Container { .. })) => state.focus = Pane::Logs,
        (Pane::Replays, _) if let Some(replay) = ended(state) => {
            incident::open(state, replay, effects);
        }
        (Pane::Replays, _) if state.replays.selected().is_some() => {
            state.subject = Subject::Selected;
            state.focus = Pane::Output;
        }
        _ => {}
    }
}

/// The selected replay, if it has come to an end, be it in an earlier run.
fn ended(state: &State) -> Option<ReplayName> {
    let selected = state.replays.selected()?;
    let has_ended = match state.replays.status(&selected.name) {
        Some(status) => matches!(status, Status::Done { .. }),
        None => state.recorded.is_none() && state.replays.has_run_before(&selected.name),
    };
    has_ended.then(|| selected.name.clone())
}

/// The focused text pane with its lines and its size.
pub(super) fn pager(state: &mut State) -> Option<(&mut Pager, &LogStore, Size)> {
    let size = current_layout(state).size(state.focus);
    match state.focus {
        pane @ (Pane::Logs | Pane::Output | Pane::Incident) => {
            let (pager, store) = state.pane_of_mut(pane);
            Some((pager, store, size))
        }
        _ => None,
    }
}

#[derive(Clone, Copy)]
enum Amount {
    Rows(isize),
    Pages(isize),
    Start,
    End,
}

impl Amount {
    fn rows(self, page: usize) -> isize {
        match self {
            Self::Rows(rows) => rows,
            Self::Pages(pages) => pages * isize::try_from(page.max(1)).unwrap_or(1),
            Self::Start => -isize::MAX,
            Self::End => isize::MAX,
        }
    }
}

fn scroll(state: &mut State, amount: Amount) {
    let layout = current_layout(state);
    let page = |height: u16| usize::from(height).saturating_sub(1);
    if let Some(dialog) = &mut state.dialog {
        let rows = amount.rows(page(layout.dialog_inner().height));
        match dialog {
            Dialog::Help { top }
            | Dialog::Details { top, .. }
            | Dialog::Replay { top, .. }
            | Dialog::Changes { top } => {
                *top = top.saturating_add_signed(rows);
            }
            Dialog::Palette { cursor, .. }
            | Dialog::Record { cursor, .. }
            | Dialog::Sources { cursor }
            | Dialog::RunInfo { cursor } => cursor.by(rows),
            Dialog::Teardown => {
                if let Some(teardown) = &mut state.teardown {
                    teardown.top = teardown.top.saturating_add_signed(rows);
                }
            }
            Dialog::Run(form) => form.step(rows),
            Dialog::Search { .. }
            | Dialog::Filter { .. }
            | Dialog::Select { .. }
            | Dialog::Time { .. }
            | Dialog::Save { .. }
            | Dialog::Quit => {}
        }
        return;
    }
    let rows = amount.rows(page(layout.size(state.focus).height));
    match state.focus {
        Pane::Containers => state.tree.cursor.by(rows),
        Pane::Replays => {
            state.replays.cursor.by(rows);
            run::user_moved(state);
        }
        Pane::Logs | Pane::Output | Pane::Incident => {
            if let Some((pane, store, size)) = pager(state) {
                match amount {
                    Amount::Start | Amount::End if pane.picked.is_some() => {
                        pane.pick_end(store, size, matches!(amount, Amount::End));
                    }
                    Amount::Start => pane.to_top(store, size),
                    Amount::End => pane.follow(),
                    Amount::Rows(_) | Amount::Pages(_) => {
                        move_by(pane, store, size, rows);
                        if rows < 0 && pane.misses_older(store, size) {
                            state.notify("older lines are not held; g reads and filters them");
                        }
                    }
                }
            }
        }
        Pane::Diagnostics => {}
    }
}

/// Moves the cursor where there is one, else what is on the screen.
pub(super) fn move_by(pane: &mut Pager, store: &LogStore, size: Size, rows: isize) {
    match pane.picked {
        Some(_) => pane.pick_by(store, size, rows),
        None => pane.scroll(store, size, rows),
    }
}

fn sideways(state: &mut State, by: isize) {
    if state.focus == Pane::Containers {
        state.tree.fold(by < 0);
    } else if let Some((pane, store, size)) = pager(state) {
        if pane.wrap {
            state.notify("long lines are wrapped; w scrolls them sideways instead");
        } else {
            pane.sideways(store, size, by * SIDEWAYS);
        }
    }
}

fn next_hit(state: &mut State, forward: bool) {
    let Some((pane, store, size)) = pager(state) else {
        return;
    };
    if pane.search.is_none() {
        state.notify("nothing is searched; / starts");
    } else if !pane.next_hit(store, size, forward) {
        let done = pane.search.as_ref().is_some_and(Index::is_done);
        state.notify(if done {
            "no line that is shown matches"
        } else {
            "still searching"
        });
    }
}

fn copy(state: &mut State, effects: &mut Vec<Effect>) {
    if take::copy_picked(state, false, effects) {
        return;
    }
    let text = match state.focus {
        Pane::Containers => match state.tree.selected_container() {
            Some(container) => container.name.clone(),
            None => state
                .tree
                .selected_group()
                .map_or_else(String::new, |group| group.name.to_string()),
        },
        Pane::Replays => state.replays.selected().map_or_else(String::new, |replay| {
            format!("tackroom run {}", quoted(replay.name.as_str()))
        }),
        _ => match pager(state) {
            Some((pane, store, size)) => pane.visible_text(store, size),
            None => String::new(),
        },
    };
    take::put(state, text, effects);
}

/// For a shell.
fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    if name.chars().all(plain) {
        name.to_owned()
    } else {
        format!("'{}'", name.replace('\'', r"'\''"))
    }
}
