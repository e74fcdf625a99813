//! Lines that come in or come back, and what is sought in them.

use jiff::{SignedDuration, Timestamp};

use crate::domain::line::{Channel, SourceId};
use crate::logs::index::{Found, Index};
use crate::logs::store::{Entry, Filled, Filling, LineId, LogStore};
use crate::logs::{FollowEvent, PageEvent, Piece};
use crate::text::sanitize::sanitize_plain;
use crate::tui::effect::{Effect, PageRequest};
use crate::tui::layout::Layout;
use crate::tui::state::pager::Pager;
use crate::tui::state::{Paging, Pane, State};

/// Lines that are read at once where the user scrolls into what is not held.
const PAGE: u32 = 5_000;
/// The same in bytes, where reading them costs the engine a pass through the whole log.
const LONG_PAGE: usize = 16 << 20;
/// What could not be read is not asked for again for so long.
const PAUSE: SignedDuration = SignedDuration::from_secs(5);

pub(super) fn take(state: &mut State, events: Vec<FollowEvent>) {
    look_at(state);
    for event in events {
        match event {
            FollowEvent::Opened {
                source,
                container,
                reached_start,
            } => {
                let before = state.opened.insert(source.clone(), container.clone());
                let anew = before.is_some_and(|before| before != container);
                state.logs.opened(&source, reached_start, anew);
            }
            FollowEvent::Lines { source, batch } => {
                for (at, channel, bytes) in batch.iter() {
                    let (store, pane) = (&mut state.logs, &mut state.log_pane);
                    push(store, pane, &source, at, channel, bytes);
                }
            }
            FollowEvent::Mark { source, at, mark } => {
                if let Some(id) = state.logs.push_mark(&source, at, mark)
                    && let Some(entry) = state.logs.get(id)
                {
                    state.log_pane.offer(&source, id, &entry.content);
                }
            }
        }
    }
    forget(&mut state.logs, &mut state.log_pane);
}

/// Keeps a line, and offers it to what is sought in the pane that shows its source.
pub(super) fn push(
    store: &mut LogStore,
    pane: &mut Pager,
    source: &SourceId,
    at: Timestamp,
    channel: Channel,
    bytes: &[u8],
) {
    if let Some(id) = store.push(source, at, channel, bytes)
        && pane.is_sought()
        && let Some(entry) = store.get(id)
    {
        pane.offer(source, id, &entry.content);
    }
}

/// What the store no longer holds is not found any more.
pub(super) fn forget(store: &mut LogStore, pane: &mut Pager) {
    let dropped = store.take_dropped();
    if !dropped.is_empty() {
        pane.forget(&dropped);
    }
}

/// Keeps what the user looks at, whatever comes in.
fn look_at(state: &mut State) {
    let (store, pane) = (&mut state.logs, &state.log_pane);
    let anchor = pane.anchor(store);
    store.look_at(anchor.map(|anchor| (anchor, pane.sources().iter())));
}

/// Looks through everything that is held for what is sought in a pane.
pub(super) fn look_again(state: &mut State, pane: Pane, effects: &mut Vec<Effect>) {
    look_for(state, pane, |pager| pager.indexes().collect(), effects);
}

/// The same for some of what is sought.
pub(super) fn look_for(
    state: &mut State,
    pane: Pane,
    which: impl FnOnce(&mut Pager) -> Vec<&mut Index>,
    effects: &mut Vec<Effect>,
) {
    let mut ticket = state.tickets;
    let (pager, store) = state.pane_of_mut(pane);
    let snapshot = store.snapshot(pager.sources());
    for index in which(pager) {
        ticket += 1;
        effects.push(Effect::Scan(index.begin(ticket, snapshot.clone())));
    }
    pager.spare_marks(store);
    state.tickets = ticket;
}

pub(super) fn found(state: &mut State, found: &Found) {
    state.log_pane.take(found, &state.logs);
    state.output_pane.take(found, &state.outputs);
    let incident = &mut state.incident;
    incident.pane.take(found, &incident.store);
    if let Some(pane) = state.jump {
        jump(state, pane);
    }
}

/// Goes to the first hit of a search that had none when it was confirmed.
fn jump(state: &mut State, pane: Pane) {
    let size = super::current_layout(state).size(pane);
    let (pager, store) = state.pane_of_mut(pane);
    let over = pager.search.as_ref().is_none_or(Index::is_done);
    if pager.next_hit(store, size, true) {
        state.jump = None;
    } else if over {
        state.jump = None;
        state.notify("no line matches yet");
    }
}

/// Ends the filling of a gap. What came back with its lines is offered, as they were.
fn end_fill(state: &mut State, source: u32, end: Option<Filled>) {
    let marks = state.logs.end_fill(source, end);
    let Some(name) = state.logs.source_id(source).cloned() else {
        return;
    };
    for id in marks {
        if let Some(entry) = state.logs.get(id) {
            state.log_pane.offer(&name, id, &entry.content);
        }
    }
}

pub(super) fn paged(
    state: &mut State,
    ticket: u64,
    event: Result<PageEvent, String>,
    effects: &mut Vec<Effect>,
) {
    let Some(page) = state.pages.get_mut(&ticket) else {
        return;
    };
    let source = page.source;
    match event {
        Ok(PageEvent::Lines(batch)) => {
            if page.stops_when_full && !state.logs.has_room(2 * batch.bytes()) {
                stop(state, ticket, effects);
                // From here on it is read page by page, as far as one goes.
                state.log_pane.hold(&state.logs);
                state.notify(format!(
                    "the {} MiB for logs are full; the rest is read when you go there",
                    state.logs.budget() >> 20
                ));
                return;
            }
            page.lines += batch.len();
            look_at(state);
            let Some(name) = state.logs.source_id(source).cloned() else {
                return;
            };
            for (at, channel, bytes) in batch.iter() {
                if let Some(id) = state.logs.fill(source, at, channel, bytes)
                    && state.log_pane.is_sought()
                    && let Some(entry) = state.logs.get(id)
                {
                    state.log_pane.offer(&name, id, &entry.content);
                }
            }
        }
        Ok(PageEvent::End {
            reached_start,
            reached_before,
        }) => {
            let end = Filled {
                reached_start,
                complete: reached_before,
            };
            let (nothing_came, before) = (page.lines == 0, page.before);
            end_fill(state, source, Some(end));
            // Asking again at once would give the same.
            let stays = |entry: Entry<'_>| entry.gap.is_some_and(|gap| !gap.lost);
            if nothing_came || state.logs.get(before).is_some_and(stays) {
                page_later(state, ticket);
            }
            state.pages.remove(&ticket);
        }
        Err(cause) => {
            end_fill(state, source, None);
            page_later(state, ticket);
            state.pages.remove(&ticket);
            let cause = sanitize_plain(&cause).into_owned();
            state.notify(format!("older lines cannot be read: {cause}"));
        }
    }
    forget(&mut state.logs, &mut state.log_pane);
}

fn page_later(state: &mut State, ticket: u64) {
    if let Some(page) = state.pages.get(&ticket) {
        let until = state.now.saturating_add(PAUSE).unwrap_or(state.now);
        state.paged_later.insert(page.before, until);
    }
}

fn stop(state: &mut State, ticket: u64, effects: &mut Vec<Effect>) {
    if let Some(page) = state.pages.remove(&ticket) {
        end_fill(state, page.source, None);
        effects.push(Effect::StopPage(ticket));
    }
}

/// Asks for what the user is about to see and is not held.
pub(super) fn settle(state: &mut State, layout: &Layout, effects: &mut Vec<Effect>) {
    look_at(state);
    let now = state.now;
    state.paged_later.retain(|_, until| *until > now);
    let following = state.log_pane.is_following();
    let unseen: Vec<u64> = state
        .pages
        .iter()
        .filter(|(_, page)| {
            let source = state.logs.source_id(page.source);
            let shown = source.is_some_and(|source| state.log_pane.sources().contains(source));
            !shown || following
        })
        .map(|(ticket, _)| *ticket)
        .collect();
    for ticket in unseen {
        stop(state, ticket, effects);
    }
    if following || !layout.shows(Pane::Logs) {
        return;
    }
    for (before, piece, filling) in missing(state, layout) {
        ask(state, before, piece, filling, effects);
    }
}

/// What lines are missing at or near what is on the screen.
fn missing(state: &State, layout: &Layout) -> Vec<(LineId, Piece, Filling)> {
    let (pane, store) = (&state.log_pane, &state.logs);
    let merged = store.merged(pane.sources());
    let size = layout.size(Pane::Logs);
    if pane.is_at_top() {
        let whole = |id: LineId| (id, Piece::Whole { before: id.time() }, Filling::FromStart);
        return merged.heads().map(whole).collect();
    }
    let window = pane.window(store, size);
    let (Some(top), Some(bottom)) = (window.first(), window.last()) else {
        return Vec::new();
    };
    let reach = u64::from(size.height) * 3;
    let above = merged.gaps_above(bottom.line, reach);
    let below = merged.gaps_below(bottom.line, reach);
    above
        .chain(below)
        .map(|id| {
            let held = merged.above(id).filter(|held| *held >= top.line);
            match held {
                Some(held) => (
                    id,
                    Piece::Forward {
                        after: held.time(),
                        before: Some(id.time()),
                        limit: LONG_PAGE.min(store.budget() / 4),
                    },
                    Filling::FromAbove,
                ),
                None => (
                    id,
                    Piece::Backward {
                        before: id.time(),
                        records_after: store.records_from(id),
                        want: PAGE,
                    },
                    Filling::FromBelow,
                ),
            }
        })
        .collect()
}

/// Asks for what is not held at a place that the user wants to see, instead of what else of those
/// logs is being read. Says whether anything is read.
pub(super) fn read_at(state: &mut State, place: LineId, effects: &mut Vec<Effect>) -> bool {
    let missing = |state: &State| -> Vec<LineId> {
        let merged = state.logs.merged(state.log_pane.sources());
        merged.gaps_at(place).collect()
    };
    for before in missing(state) {
        let of_source = |page: &Paging| page.source == before.source();
        let others = state.pages.iter().filter(|(_, page)| of_source(page));
        let others: Vec<u64> = others.map(|(ticket, _)| *ticket).collect();
        for ticket in others {
            stop(state, ticket, effects);
        }
    }
    let mut reads = false;
    for before in missing(state) {
        state.paged_later.remove(&before);
        let piece = Piece::Forward {
            after: place.time(),
            before: Some(before.time()),
            limit: LONG_PAGE.min(state.logs.budget() / 4),
        };
        reads |= ask(state, before, piece, Filling::Apart, effects);
    }
    reads
}

/// Says whether it is asked for.
fn ask(
    state: &mut State,
    before: LineId,
    piece: Piece,
    filling: Filling,
    effects: &mut Vec<Effect>,
) -> bool {
    let source = before.source();
    let name = state.logs.source_id(source);
    let container = name.and_then(|name| state.opened.get(name)).cloned();
    let Some(container) = container else {
        return false;
    };
    if state.paged_later.contains_key(&before) || !state.logs.begin_fill(before, filling) {
        return false;
    }
    state.tickets += 1;
    let ticket = state.tickets;
    state.pages.insert(
        ticket,
        Paging {
            source,
            before,
            stops_when_full: matches!(piece, Piece::Whole { .. }),
            lines: 0,
        },
    );
    effects.push(Effect::Page(PageRequest {
        ticket,
        container,
        piece,
    }));
    true
}
