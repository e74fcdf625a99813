//! Lines that come in, and the searches over them.

use crate::domain::line::Line;
use crate::domain::line::SourceId;
use crate::logs::store::{LineId, LogStore};
use crate::tui::effect::Effect;
use crate::tui::msg::LogRecord;
use crate::tui::state::State;
use crate::tui::state::pager::Pager;

pub(super) fn take(state: &mut State, records: Vec<LogRecord>, effects: &mut Vec<Effect>) {
    for record in records {
        match record {
            LogRecord::Line { source, line } => {
                push(&mut state.logs, &mut state.log_pane, &source, &line);
            }
            LogRecord::Mark { source, at, mark } => {
                state.logs.push_mark(&source, at, mark);
            }
        }
    }
    search_more(state, effects);
}

/// Keeps a line, and offers it to the search of the pane that shows its source.
pub(super) fn push(
    store: &mut LogStore,
    pane: &mut Pager,
    source: &SourceId,
    line: &Line,
) -> LineId {
    let evictions = store.evictions();
    let id = store.push(source, line);
    let shown = pane.sources().contains(source);
    if let Some(search) = &mut pane.search {
        if shown {
            search.offer(id, &line.bytes);
        }
        if store.evictions() != evictions {
            search.prune(store);
        }
    }
    id
}

/// Goes on with a search that has not seen all lines, a slice at a time.
pub(super) fn work(state: &mut State, effects: &mut Vec<Effect>) {
    state.working = false;
    for (pane, store) in [
        (&mut state.log_pane, &state.logs),
        (&mut state.output_pane, &state.outputs),
    ] {
        let lines = pane.lines(store);
        if let Some(search) = &mut pane.search {
            search.scan(&lines);
        }
    }
    search_more(state, effects);
}

/// Asks for another turn if a search is not done, unless it was asked for already.
pub(super) fn search_more(state: &mut State, effects: &mut Vec<Effect>) {
    let open = [&state.log_pane, &state.output_pane]
        .into_iter()
        .filter_map(|pane| pane.search.as_ref())
        .any(|search| !search.is_done());
    if open && !state.working {
        state.working = true;
        effects.push(Effect::Work);
    }
}
