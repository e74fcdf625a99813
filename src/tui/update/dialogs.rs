//! What lies over the panes: search, palette, details, the teardown and the way out.

use std::collections::BTreeSet;

use crossterm::event::KeyCode;
use tui_input::{Input, InputRequest};

use crate::domain::plan::{ItemKind, TeardownPlan};
use crate::domain::scope::{Placement, StackName};
use crate::logs::index::Index;
use crate::text::matcher::Matcher;
use crate::text::sanitize::sanitize_plain;
use crate::tui::effect::Effect;
use crate::tui::keymap::{Context, Key};
use crate::tui::layout::Layout;
use crate::tui::state::dialog::{Dialog, offers};
use crate::tui::state::run::{Stage, Stopping, Teardown, What};
use crate::tui::state::{Pane, Quitting, State};
use crate::tui::view;

use super::{command, filter, logs, places, replays, run, take};

/// Text that can be typed is bounded: a paste is not an essay.
const TYPED: usize = 200;

/// A key that is no command here: text, or editing of text.
pub(super) fn type_key(state: &mut State, key: Key, effects: &mut Vec<Effect>) {
    if let Some(Dialog::Run(form)) = &mut state.dialog {
        match (key.code(), key.text().and_then(|c| c.to_digit(10))) {
            (KeyCode::Backspace, _) => form.erase_digit(),
            (_, Some(digit)) => form.type_digit(digit),
            _ => {}
        }
        return;
    }
    let request = match (key.code(), key.has_ctrl()) {
        (KeyCode::Backspace, false) => InputRequest::DeletePrevChar,
        (KeyCode::Backspace, true) | (KeyCode::Char('w'), true) => InputRequest::DeletePrevWord,
        (KeyCode::Delete, _) => InputRequest::DeleteNextChar,
        (KeyCode::Left, false) => InputRequest::GoToPrevChar,
        (KeyCode::Right, false) => InputRequest::GoToNextChar,
        (KeyCode::Left, true) => InputRequest::GoToPrevWord,
        (KeyCode::Right, true) => InputRequest::GoToNextWord,
        (KeyCode::Home, _) | (KeyCode::Char('a'), true) => InputRequest::GoToStart,
        (KeyCode::End, _) | (KeyCode::Char('e'), true) => InputRequest::GoToEnd,
        (KeyCode::Char('u'), true) => InputRequest::DeleteFromStart,
        (KeyCode::Char('k'), true) => InputRequest::DeleteTillEnd,
        _ => match key.text() {
            Some(c) => InputRequest::InsertChar(c),
            None => return,
        },
    };
    edit(state, &[request], effects);
}

pub(super) fn paste(state: &mut State, text: &str, effects: &mut Vec<Effect>) {
    let text = sanitize_plain(text);
    let requests: Vec<InputRequest> = text
        .chars()
        .take(TYPED)
        .map(InputRequest::InsertChar)
        .collect();
    edit(state, &requests, effects);
}

fn edit(state: &mut State, requests: &[InputRequest], effects: &mut Vec<Effect>) {
    let Some(input) = input(state) else { return };
    let before = input.value().to_owned();
    for request in requests {
        let grows = matches!(request, InputRequest::InsertChar(_));
        if !grows || input.value().chars().count() < TYPED {
            input.handle(*request);
        }
    }
    if input.value() == before {
        return;
    }
    match &mut state.dialog {
        Some(Dialog::Palette { cursor, .. }) => cursor.go(0),
        Some(Dialog::Save { exists, .. }) => *exists = None,
        Some(Dialog::Search { pane, input, .. }) => {
            let search = Matcher::new(input.value()).map(Index::seeking);
            let pane = *pane;
            set_search(state, pane, search, effects);
        }
        Some(Dialog::Filter { pane, input, .. }) => {
            let (pane, text) = (*pane, input.value().to_owned());
            filter::by_text(state, pane, &text, effects);
        }
        Some(Dialog::Select { .. }) => replays::typed(state),
        _ => {}
    }
}

fn input(state: &mut State) -> Option<&mut Input> {
    match state.dialog.as_mut()? {
        Dialog::Palette { input, .. }
        | Dialog::Search { input, .. }
        | Dialog::Filter { input, .. }
        | Dialog::Select { input, .. }
        | Dialog::Time { input }
        | Dialog::Save { input, .. } => Some(input),
        Dialog::Teardown => match &mut state.teardown.as_mut()?.stage {
            Stage::Review { typed, .. } => Some(typed),
            _ => None,
        },
        _ => None,
    }
}

/// Gives a pane a search, and begins it at once, so that hits show as one types.
fn set_search(state: &mut State, pane: Pane, search: Option<Index>, effects: &mut Vec<Effect>) {
    state.pane_of_mut(pane).0.search = search;
    logs::look_for(
        state,
        pane,
        |pager| pager.search.iter_mut().collect(),
        effects,
    );
}

/// From a list it goes to the text beside it. If it did nothing, what is typed behind it would be
/// commands.
pub(super) fn to_text(state: &mut State) -> Pane {
    state.focus = match state.focus {
        Pane::Containers => Pane::Logs,
        Pane::Replays => Pane::Output,
        text => text,
    };
    state.focus
}

pub(super) fn open_search(state: &mut State) {
    let pane = to_text(state);
    let Some((pager, ..)) = command::pager(state) else {
        return;
    };
    let saved = pager.search.take().map(Box::new);
    state.dialog = Some(Dialog::Search {
        pane,
        input: Input::default(),
        saved,
    });
}

/// Closes what is open, and takes back what it only tried.
pub(super) fn close(state: &mut State, effects: &mut Vec<Effect>) {
    state.interrupted = false;
    match state.dialog.take() {
        Some(Dialog::Search { pane, saved, .. }) => {
            set_search(state, pane, saved.map(|search| *search), effects);
        }
        Some(Dialog::Filter { pane, saved, .. }) => filter::set(state, pane, *saved, effects),
        Some(Dialog::Select { saved, at, .. }) => {
            state.replays.set_query(saved);
            if let Some(name) = at {
                state.replays.select(&name);
            }
        }
        Some(Dialog::Teardown) => {
            let goes_on = state
                .teardown
                .as_ref()
                .is_some_and(|teardown| matches!(teardown.stage, Stage::Removing { .. }));
            if goes_on {
                state.notify("the teardown goes on; T shows it");
            } else {
                state.teardown = None;
            }
        }
        _ => {}
    }
}

pub(super) fn confirm(state: &mut State, effects: &mut Vec<Effect>) {
    match &state.dialog {
        Some(Dialog::Palette { input, cursor }) => {
            let offers = offers(
                state.focus.context(),
                state.recorded.is_some(),
                input.value(),
            );
            let chosen = offers.get(cursor.at()).map(|spec| spec.command);
            if let Some(command) = chosen {
                state.dialog = None;
                command::run(state, command, effects);
            }
        }
        Some(Dialog::Search { .. }) => {
            state.dialog = None;
            if let Some((pager, store, size)) = command::pager(state) {
                let found = pager.next_hit(store, size, true);
                let problem = pager.search.as_ref().and_then(|search| {
                    let problem = search.sieve().matcher.as_ref()?.problem()?;
                    Some(format!(
                        "searched literally, as it is no expression: {problem}"
                    ))
                });
                let done = pager.search.as_ref().is_some_and(Index::is_done);
                let nothing = done && !found;
                let soon = pager.search.is_some() && !done && !found;
                let pane = state.focus;
                state.jump = soon.then_some(pane);
                if let Some(problem) = problem {
                    state.notify(sanitize_plain(&problem));
                } else if nothing {
                    state.notify("no line matches yet");
                }
            }
        }
        Some(Dialog::Filter { pane, input, .. }) => {
            let (pane, text) = (*pane, input.value().to_owned());
            state.dialog = None;
            filter::confirm(state, pane, &text, effects);
        }
        Some(Dialog::Select { input, .. }) => {
            let text = input.value().to_owned();
            replays::confirm_filter(state, &text);
        }
        Some(Dialog::Run(_)) => replays::run_as_asked(state, effects),
        Some(Dialog::Time { input }) => {
            let text = input.value().to_owned();
            places::go_to_time(state, &text, effects);
        }
        Some(Dialog::Save { .. }) => take::confirm_save(state, effects),
        Some(Dialog::Teardown) => confirm_teardown(state, effects),
        _ => {}
    }
}

/// The stack of the selected row where the containers are shown and in the focus; the harness
/// anywhere else.
pub(super) fn open_teardown(state: &mut State, effects: &mut Vec<Effect>) {
    if let Some(Teardown {
        stage: Stage::Removing { .. },
        ..
    }) = &state.teardown
    {
        state.dialog = Some(Dialog::Teardown);
        return;
    }
    if state.focus == Pane::Containers {
        let Some(group) = state.tree.selected_group() else {
            state.notify("no stack is selected");
            return;
        };
        let (name, refusal) = (group.name.clone(), group.kind.refusal());
        plan_teardown(state, name, refusal, false, effects);
    } else {
        plan_harness_teardown(state, false, effects);
    }
}

pub(super) fn plan_harness_teardown(state: &mut State, then_quit: bool, effects: &mut Vec<Effect>) {
    let Some(name) = state.setup.harness_name() else {
        state.notify("no [harness] is configured; select a stack among the containers");
        return;
    };
    let mut groups = state
        .setup
        .harness
        .iter()
        .filter_map(|stack| state.tree.group_named(stack));
    let refusal = groups.find_map(|group| group.kind.refusal());
    plan_teardown(state, name, refusal, then_quit, effects);
}

fn plan_teardown(
    state: &mut State,
    stack: StackName,
    refusal: Option<&str>,
    then_quit: bool,
    effects: &mut Vec<Effect>,
) {
    let refusal = refusal
        .map(str::to_owned)
        .or_else(|| run::busy(state).map(|busy| format!("Not now: {busy}.")));
    let stage = match refusal {
        Some(reason) => Stage::Refused(reason),
        None => {
            effects.push(Effect::PlanTeardown(stack.clone()));
            Stage::Planning
        }
    };
    state.teardown = Some(Teardown {
        stack,
        stage,
        top: 0,
        then_quit,
    });
    state.dialog = Some(Dialog::Teardown);
}

/// A plan came. Where another one was being looked at, what was typed for that is void.
pub(super) fn planned(state: &mut State, stack: &StackName, result: Result<TeardownPlan, String>) {
    let Some(teardown) = state.teardown.as_mut().filter(|t| t.stack == *stack) else {
        return;
    };
    let plan = match result {
        Ok(plan) if plan.stack == *stack => plan,
        Ok(_) => return,
        Err(reason) => {
            if matches!(teardown.stage, Stage::Planning | Stage::Review { .. }) {
                teardown.stage = Stage::Refused(sanitize_plain(&reason).into_owned());
            }
            return;
        }
    };
    let current = plan.fingerprint();
    match &mut teardown.stage {
        Stage::Planning => {
            teardown.stage = Stage::Review {
                plan,
                fingerprint: current,
                typed: Input::default(),
                changed: false,
            };
        }
        Stage::Review {
            plan: shown,
            fingerprint,
            typed,
            changed,
        } => {
            if *fingerprint != current {
                typed.reset();
                *changed = true;
                *fingerprint = current;
            }
            *shown = plan;
        }
        Stage::Refused(_) | Stage::Removing { .. } | Stage::Over { .. } => {}
    }
}

/// Plans again if what is shown for confirmation is not what is there.
pub(super) fn containers_changed(state: &mut State, effects: &mut Vec<Effect>) {
    let Some(Teardown {
        stack,
        stage: Stage::Review { plan, .. },
        ..
    }) = &state.teardown
    else {
        return;
    };
    let stacks = match state.setup.scope.stack(stack) {
        Some(_) => std::slice::from_ref(stack),
        None => &*state.setup.harness,
    };
    let scope = &state.setup.scope;
    let goes = |place: Placement| matches!(place, Placement::Stack(name) if stacks.contains(&name));
    let tree = &state.tree;
    let there: BTreeSet<&str> = stacks
        .iter()
        .flat_map(|stack| tree.containers_of(stack))
        .filter(|container| goes(scope.place(&container.labels)))
        .map(|container| container.id.as_str())
        .collect();
    let planned: BTreeSet<&str> = plan
        .remove
        .iter()
        .chain(plan.left_to_others().map(|spared| &spared.item))
        .filter(|item| item.kind == ItemKind::Container)
        .map(|item| item.id.as_str())
        .collect();
    if there != planned {
        effects.push(Effect::PlanTeardown(stack.clone()));
    }
}

fn confirm_teardown(state: &mut State, effects: &mut Vec<Effect>) {
    let Some(teardown) = &mut state.teardown else {
        state.dialog = None;
        return;
    };
    let Stage::Review {
        plan,
        fingerprint,
        typed,
        ..
    } = &teardown.stage
    else {
        if matches!(teardown.stage, Stage::Refused(_) | Stage::Over { .. }) {
            close(state, effects);
        }
        return;
    };
    if plan.is_empty() && plan.hook.is_none() {
        close(state, effects);
        return;
    }
    if typed.value().trim() != &*teardown.stack {
        let text = format!(
            "type {} to confirm, or esc",
            sanitize_plain(&teardown.stack)
        );
        state.notify(text);
        return;
    }
    let (stack, fingerprint) = (teardown.stack.clone(), fingerprint.clone());
    if let Some(busy) = run::busy(state) {
        state.notify(busy);
        return;
    }
    let Some(teardown) = &mut state.teardown else {
        return;
    };
    if let Stage::Review { plan, .. } = &teardown.stage {
        teardown.stage = Stage::Removing {
            plan: plan.clone(),
            done: Vec::new(),
        };
    }
    run::tear_down(state, stack, fingerprint, effects);
}

pub(super) fn quit(state: &mut State, effects: &mut Vec<Effect>) {
    if state.active.is_some() || state.booted {
        state.dialog = Some(Dialog::Quit);
    } else {
        effects.push(Effect::Quit);
    }
}

/// Ctrl-C: asks as `q` does, and asks only once.
pub(super) fn interrupt(state: &mut State, effects: &mut Vec<Effect>) {
    if std::mem::replace(&mut state.interrupted, true) {
        if state.active.is_some() {
            effects.push(Effect::Kill);
        }
        effects.push(Effect::Quit);
        return;
    }
    let is_prompt = |dialog: &Dialog| dialog.context() == Context::Search;
    if state.dialog.as_ref().is_some_and(is_prompt) {
        close(state, effects);
        state.interrupted = true;
    }
    quit(state, effects);
}

/// A signal: what runs is asked to end first. Further signals come by themselves (a terminal that
/// goes sends HUP twice, CI sends INT and then TERM), so they hurry and never kill.
pub(super) fn end(state: &mut State, effects: &mut Vec<Effect>) {
    let Some(active) = &mut state.active else {
        return leave(state, effects);
    };
    active.stopping = active.stopping.max(Stopping::Asked);
    effects.push(Effect::Hurry);
    end_first(state, Quitting::Leave, effects);
}

pub(super) fn leave(state: &mut State, effects: &mut Vec<Effect>) {
    if end_first(state, Quitting::Leave, effects) {
        return;
    }
    effects.push(Effect::Quit);
}

/// Takes the harness down, then quits. A run is stopped for that; a teardown that is under way is
/// what was asked for, so it comes to its end.
pub(super) fn take_down(state: &mut State, effects: &mut Vec<Effect>) {
    if let Some(What::Teardown(stack)) = state.active.as_ref().map(|active| &active.what) {
        let is_all = state.setup.harness_name().is_none_or(|own| own == *stack);
        if is_all {
            if let Some(teardown) = &mut state.teardown {
                teardown.then_quit = true;
            }
            state.dialog = Some(Dialog::Teardown);
        } else {
            state.quitting = Some(Quitting::TakeDown);
            state.dialog = None;
            state.notify("the harness is next, when this teardown has ended");
        }
        return;
    }
    if state.setup.harness.is_empty() {
        state.notify("no [harness] is configured");
        return;
    }
    if !end_first(state, Quitting::TakeDown, effects) {
        plan_harness_teardown(state, true, effects);
    }
}

/// Asks what runs to end, and remembers what shall happen then.
fn end_first(state: &mut State, then: Quitting, effects: &mut Vec<Effect>) -> bool {
    let Some(active) = &mut state.active else {
        return false;
    };
    if active.stopping == Stopping::No {
        active.stopping = Stopping::Asked;
        effects.push(Effect::Cancel);
    }
    let what = active.what.clone();
    state.quitting = Some(then);
    state.dialog = None;
    state.notify(match what {
        What::Job(_) => "stopping what runs; x kills it",
        What::Teardown(_) => "stops after the items under way; the rest is left",
    });
    true
}

/// Keeps what is scrolled within its text.
pub(super) fn settle(state: &mut State, layout: &Layout) {
    let inner = layout.dialog_inner();
    let height = usize::from(inner.height);
    let columns = usize::from(inner.width);
    let lines = match &state.dialog {
        Some(Dialog::Help { .. }) => {
            view::help::lines(state.focus.context(), state.recorded.is_some(), columns).len()
        }
        Some(Dialog::Details { source, .. }) => view::details::lines(state, source, columns).len(),
        Some(Dialog::Replay { name, .. }) => view::replay::lines(state, name, columns).len(),
        Some(Dialog::Palette { input, .. }) => offers(
            state.focus.context(),
            state.recorded.is_some(),
            input.value(),
        )
        .len(),
        Some(Dialog::Teardown) => match &state.teardown {
            Some(teardown) => view::teardown::rows(state, teardown, columns).len(),
            None => 0,
        },
        Some(Dialog::RunInfo { .. }) => view::run_info::rows(state, columns).len(),
        Some(Dialog::Record { pane, line, .. }) => {
            view::record::rows(state, *pane, *line, columns).len()
        }
        Some(Dialog::Sources { .. }) => state.incident.shown.len(),
        Some(Dialog::Changes { .. }) => view::incident::all_notes(state, columns).len(),
        Some(
            Dialog::Search { .. }
            | Dialog::Filter { .. }
            | Dialog::Select { .. }
            | Dialog::Run(_)
            | Dialog::Time { .. }
            | Dialog::Save { .. }
            | Dialog::Quit,
        )
        | None => return,
    };
    match &mut state.dialog {
        Some(
            Dialog::Help { top }
            | Dialog::Details { top, .. }
            | Dialog::Replay { top, .. }
            | Dialog::Changes { top },
        ) => {
            *top = (*top).min(lines.saturating_sub(height));
        }
        Some(Dialog::Palette { cursor, .. }) => cursor.settle(lines, height.saturating_sub(2)),
        Some(
            Dialog::Record { cursor, .. } | Dialog::Sources { cursor } | Dialog::RunInfo { cursor },
        ) => {
            cursor.settle(lines, height);
        }
        Some(Dialog::Teardown) => {
            if let Some(teardown) = &mut state.teardown {
                let shown = height.saturating_sub(view::teardown::FIXED_ROWS);
                teardown.top = teardown.top.min(lines.saturating_sub(shown));
            }
        }
        _ => {}
    }
}
