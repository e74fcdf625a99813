//! Which replays are shown, in which order, and how they are to be run.

use crate::domain::replay::ReplayName;
use crate::replay::{Order, Query};
use crate::text::sanitize::sanitize_plain;
use crate::tui::effect::{Effect, Job};
use crate::tui::state::State;
use crate::tui::state::dialog::Dialog;
use crate::tui::state::run_form::RunForm;

use super::run;

pub(super) fn open_filter(state: &mut State) {
    let saved = state.replays.query().cloned();
    let input = saved.as_ref().map_or("", Query::text).into();
    let at = state.replays.selected().map(|replay| replay.name.clone());
    state.dialog = Some(Dialog::Select { input, saved, at });
}

/// Shows at once what the typed text means, or as much of it as means something already.
pub(super) fn typed(state: &mut State) {
    let Some(Dialog::Select { input, at, .. }) = &state.dialog else {
        return;
    };
    let mut text = input.value();
    let query = loop {
        match (Query::parse(text), text.trim_end().rfind(' ')) {
            (Ok(query), _) => break query,
            (Err(_), Some(end)) => text = &text[..end],
            (Err(_), None) => return,
        }
    };
    let at = at.clone();
    state.replays.set_query(query);
    if let Some(name) = at {
        state.replays.select(&name);
    }
    run::user_moved(state);
}

/// Keeps what is shown. A mistake stays open, to be mended.
pub(super) fn confirm_filter(state: &mut State, text: &str) {
    match Query::parse(text) {
        Ok(query) => {
            let unknown = query.as_ref().and_then(|query| {
                let unknown = query.unknown(state.replays.found())?;
                Some(unknown.to_string())
            });
            state.replays.set_query(query);
            state.dialog = None;
            if let Some(unknown) = unknown {
                state.notify(sanitize_plain(&unknown));
            }
        }
        Err(mistake) => state.notify(sanitize_plain(&mistake.to_string())),
    }
}

pub(super) fn next_order(state: &mut State) {
    let orders = Order::ALL;
    let at = orders.iter().position(|o| *o == state.replays.order());
    let next = orders.iter().cycle().nth(at.map_or(0, |at| at + 1));
    let next = next.copied().unwrap_or_default();
    state.replays.set_order(next);
    state.notify(match next {
        Order::Found => "as they were found",
        Order::Name => "by name",
        Order::FailedFirst => "failed first, then not run or new, then passed",
        Order::SlowFirst => "never timed, then the slowest first",
    });
}

pub(super) fn next_failed(state: &mut State, forward: bool) {
    if state.replays.select_failed(forward) {
        run::user_moved(state);
    } else {
        state.notify(if forward {
            "nothing below has failed"
        } else {
            "nothing above has failed"
        });
    }
}

pub(super) fn details(state: &mut State) {
    match state.replays.selected() {
        Some(replay) => {
            let name = replay.name.clone();
            state.dialog = Some(Dialog::Replay { name, top: 0 });
        }
        None => state.notify("there is no replay"),
    }
}

pub(super) fn run_last_failed(state: &mut State, effects: &mut Vec<Effect>) {
    match state.replays.last_failed() {
        Ok(names) => run::run(state, names, effects),
        Err(idle) => state.notify(format!("nothing to do: {idle}")),
    }
}

/// Asks how these are to be run.
pub(super) fn ask_how(state: &mut State, names: Vec<ReplayName>) {
    if names.is_empty() {
        state.notify("there is no replay to run");
    } else {
        state.dialog = Some(Dialog::Run(RunForm::new(names, &state.policy)));
    }
}

pub(super) fn change(state: &mut State, up: bool) {
    if let Some(Dialog::Run(form)) = &mut state.dialog {
        form.change(up);
    }
}

pub(super) fn toggle(state: &mut State) {
    if let Some(Dialog::Run(form)) = &mut state.dialog {
        form.toggle();
    }
}

/// What holds for all further runs is kept also where this one cannot begin now.
pub(super) fn run_as_asked(state: &mut State, effects: &mut Vec<Effect>) {
    if let Some(Dialog::Run(form)) = state.dialog.take() {
        state.policy = form.lasting();
        let policy = form.policy();
        run::start(state, Job::Run(form.names, policy), effects);
    }
}
