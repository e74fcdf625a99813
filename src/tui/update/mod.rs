//! What a message means. Synchronous; the only place that changes the state.

mod command;
mod dialogs;
mod filter;
mod incident;
mod logs;
mod mouse;
mod places;
mod recorded;
mod replays;
mod run;
mod take;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ratatui::layout::Rect;

use super::effect::Effect;
use super::keymap::{Key, resolve};
use super::layout::{Layout, layout};
use super::msg::Msg;
use super::state::replays::Discovery;
use super::state::run::{Subject, replay_output, step_output};
use super::state::tree::Row;
use super::state::{Pane, State};
use crate::domain::event::Action;
use crate::domain::line::SourceId;
use crate::record::Opened;
use crate::text::sanitize::sanitize_plain;

/// Takes in one message and says what shall be done about it.
pub fn update(state: &mut State, msg: Msg) -> Vec<Effect> {
    let mut effects = Vec::new();
    // What only adds to what is shown does not change where anything is.
    let settles = !matches!(msg, Msg::Logs(_) | Msg::Stats(..) | Msg::Found(_));
    match msg {
        Msg::Key(key) => on_key(state, key, &mut effects),
        Msg::Paste(text) => dialogs::paste(state, &text, &mut effects),
        Msg::Mouse(mouse) => mouse::on_mouse(state, mouse, &mut effects),
        Msg::Resize(size) => state.area = size,
        Msg::Tick(now) => {
            state.now = now;
            state.notice.take_if(|notice| notice.until <= now);
        }
        Msg::Link(link) => {
            state.link = link;
            state.link_heard = state.now;
        }
        Msg::Containers(containers) => {
            let harness = state.setup.harness.clone();
            state
                .samples
                .retain(|id, _| containers.iter().any(|c| c.id == *id && c.state.is_alive()));
            state.tree.set(containers, &state.setup.scope, &harness);
            dialogs::containers_changed(state, &mut effects);
        }
        Msg::Engine(event) => {
            if event.action == Action::OutOfMemory {
                state.tree.ran_out_of_memory(&event.container);
            }
        }
        Msg::Stats(samples) => {
            for (id, sample) in samples {
                match sample {
                    Some(sample) => state.samples.insert(id, sample),
                    None => state.samples.remove(&id),
                };
            }
        }
        Msg::Logs(events) => logs::take(state, events),
        Msg::Found(found) => logs::found(state, &found),
        Msg::Paged(ticket, event) => logs::paged(state, ticket, event, &mut effects),
        Msg::Replays(Ok(list)) => state.replays.set(list),
        Msg::Replays(Err(problem)) => {
            state.replays.discovery = Discovery::Failed(sanitize_plain(&problem).into_owned());
        }
        Msg::History(courses) => state.replays.set_courses(courses),
        Msg::Plan { stack, result } => dialogs::planned(state, &stack, result),
        Msg::Run(event) => run::on_event(state, &event),
        Msg::RunEnded { problem } => run::on_end(state, problem, &mut effects),
        Msg::Taken(target, event) => take::taken(state, target, event, &mut effects),
        Msg::PagerEnded(result) => take::pager_ended(state, result),
        Msg::Incident(ticket, result) => incident::loaded(state, ticket, result),
        Msg::Output(source, lines) => recorded::output(state, &source, lines),
        Msg::Notice(text) => state.notify(sanitize_plain(&text)),
        Msg::End => dialogs::end(state, &mut effects),
    }
    if settles {
        settle(state, &mut effects);
    }
    effects
}

/// Looks at a run instead of an engine, from the first frame on.
pub fn show_recording(state: &mut State, opened: Arc<Opened>) {
    recorded::open(state, opened);
}

pub(super) fn current_layout(state: &State) -> Layout {
    layout(
        Rect::from((ratatui::layout::Position::ORIGIN, state.area)),
        state,
    )
}

fn on_key(state: &mut State, key: Key, effects: &mut Vec<Effect>) {
    match resolve(state.context(), key) {
        Some(command) => command::run(state, command, effects),
        None => dialogs::type_key(state, key, effects),
    }
}

/// Brings everything that depends on something else in line with it: the focus, the cursors, what
/// the text panes show, and what the engine is asked for.
fn settle(state: &mut State, effects: &mut Vec<Effect>) {
    let panes = state.screen.panes();
    if !panes.contains(&state.focus) {
        state.focus = panes.first().copied().unwrap_or(Pane::Containers);
    }
    let layout = current_layout(state);
    let height = |pane| usize::from(layout.size(pane).height);
    state
        .tree
        .cursor
        .settle(state.tree.rows().len(), height(Pane::Containers));
    state
        .replays
        .cursor
        .settle(state.replays.list().len(), height(Pane::Replays));
    dialogs::settle(state, &layout);
    show_logs(state, effects);
    show_output(state, effects);
    watch_stats(state, &layout, effects);
    logs::settle(state, &layout, effects);
}

fn show_logs(state: &mut State, effects: &mut Vec<Effect>) {
    let sources = state.tree.log_sources();
    let named = log_names(state, &sources);
    if state.log_pane.show(named) {
        logs::look_again(state, Pane::Logs, effects);
    }
    let wanted: BTreeSet<SourceId> = sources.into_iter().collect();
    if wanted != state.asked_logs {
        state.asked_logs.clone_from(&wanted);
        effects.push(Effect::SelectLogs(wanted));
    }
}

/// Each with the title of its container, unless another one has the same.
fn log_names(state: &State, sources: &[SourceId]) -> Vec<(SourceId, String)> {
    let containers = state.tree.containers();
    let titles: BTreeMap<&str, &str> = containers
        .iter()
        .map(|container| (&*container.name, container.title()))
        .collect();
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for title in sources.iter().filter_map(|source| titles.get(&*source.0)) {
        *times.entry(title).or_default() += 1;
    }
    let name = |source: &SourceId| match titles.get(&*source.0) {
        Some(title) if times.get(title) == Some(&1) => sanitize_plain(title).into_owned(),
        _ => sanitize_plain(&source.0).into_owned(),
    };
    sources
        .iter()
        .map(|source| (source.clone(), name(source)))
        .collect()
}

fn show_output(state: &mut State, effects: &mut Vec<Effect>) {
    let source = match state.subject {
        Subject::Step(step) => Some(step_output(step)),
        Subject::Selected => state.replays.selected().map(|r| replay_output(&r.name)),
    };
    if let Some(source) = &source {
        recorded::want_output(state, source, effects);
    }
    let named = source.map(|source| (source, String::new()));
    if state.output_pane.show(named.into_iter().collect()) {
        logs::look_again(state, Pane::Output, effects);
    }
}

/// Statistics cost the engine, so only the running containers on the screen are sampled.
fn watch_stats(state: &mut State, layout: &Layout, effects: &mut Vec<Effect>) {
    let height = usize::from(layout.size(Pane::Containers).height);
    let containers = state.tree.containers();
    let wanted: BTreeSet<_> = state
        .tree
        .rows()
        .iter()
        .skip(state.tree.cursor.top())
        .take(height)
        .filter_map(|row| match row {
            Row::Container { container, .. } => containers.get(*container),
            Row::Group(_) => None,
        })
        .filter(|container| container.state.is_alive())
        .map(|container| container.id.clone())
        .collect();
    if wanted != state.asked_stats {
        state.asked_stats.clone_from(&wanted);
        effects.push(Effect::WatchStats(wanted));
    }
}
