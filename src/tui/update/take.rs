//! Lines that are picked, looked at whole, copied, saved or opened elsewhere.

use std::collections::BTreeMap;

use tui_input::Input;

use super::{command, current_layout};
use crate::logs::extract::{Extract, Form};
use crate::logs::store::{Content, LineId};
use crate::text::sanitize::{sanitize, sanitize_plain};
use crate::tui::effect::{Effect, Target};
use crate::tui::msg::Taken;
use crate::tui::state::cursor::Cursor;
use crate::tui::state::dialog::Dialog;
use crate::tui::state::{Pane, State};
use crate::tui::view;

/// Bytes that a terminal takes for its clipboard; many drop more without a word.
const CLIPBOARD: usize = 100_000;

/// Copies the picked lines; says whether anything is picked.
pub(super) fn copy_picked(state: &mut State, full: bool, effects: &mut Vec<Effect>) -> bool {
    if let Some(Dialog::Record { pane, line, .. }) = state.dialog {
        let entry = state.pane_of(pane).1.get(line);
        let text = match entry.map(|entry| entry.content) {
            Some(Content::Line { bytes, .. }) => sanitize(bytes).text,
            Some(Content::Mark(_)) | None => String::new(),
        };
        put(state, text, effects);
        return true;
    }
    let pane = state.focus;
    let Some((pager, ..)) = command::pager(state) else {
        return false;
    };
    let Some(pick) = pager.picked else {
        return false;
    };
    let (pager, store) = state.pane_of(pane);
    let mut text = String::new();
    for (id, bytes) in pager.picked_lines(store) {
        if text.len() > CLIPBOARD {
            break;
        }
        if full {
            prefix(&mut text, state, pane, id);
        }
        text.push_str(&sanitize(bytes).text);
        text.push('\n');
    }
    if text.len() > CLIPBOARD {
        let extract = extract(state, pane, Form::Text, full, Some(pick.range()));
        effects.push(Effect::Take(Box::new(extract), Target::Clipboard));
    } else {
        put(state, text, effects);
    }
    true
}

fn prefix(text: &mut String, state: &State, pane: Pane, id: LineId) {
    let (pager, store) = state.pane_of(pane);
    let name = store.source_id(id.source()).and_then(|s| pager.name(s));
    text.push_str(&format!("{:.9} ", id.time()));
    if let Some(name) = name.filter(|name| !name.is_empty()) {
        text.push_str(name);
        text.push(' ');
    }
}

/// The container's full id, or lines with all that is known of them.
pub(super) fn copy_full(state: &mut State, effects: &mut Vec<Effect>) {
    if copy_picked(state, true, effects) {
        return;
    }
    let pane = state.focus;
    let text = match pane {
        Pane::Containers => match state.tree.selected_container() {
            Some(container) => container.id.as_str().to_owned(),
            None => String::new(),
        },
        _ => {
            let size = current_layout(state).size(pane);
            let (pager, store) = state.pane_of(pane);
            let mut ids: Vec<LineId> = pager.window(store, size).iter().map(|p| p.line).collect();
            ids.dedup();
            let mut text = String::new();
            for id in ids {
                if let Some(Content::Line { bytes, .. }) = store.get(id).map(|e| e.content) {
                    prefix(&mut text, state, pane, id);
                    text.push_str(&sanitize(bytes).text);
                    text.push('\n');
                }
            }
            text
        }
    };
    put(state, text, effects);
}

/// Puts text on the clipboard, or into a file where the terminal would drop it.
pub(super) fn put(state: &mut State, text: String, effects: &mut Vec<Effect>) {
    if text.is_empty() {
        state.notify("there is nothing to copy");
        return;
    }
    if text.len() > CLIPBOARD {
        effects.push(Effect::Keep(text));
        return;
    }
    let lines = text.lines().count();
    state.notify(if lines > 1 {
        format!("{lines} lines copied")
    } else {
        format!("copied: {}", sanitize_plain(text.trim_end()))
    });
    if state.setup.no_clipboard {
        effects.push(Effect::Keep(text.clone()));
    }
    effects.push(Effect::Copy(text));
}

/// What a pane holds, or what its filter lets through of it.
fn extract(
    state: &State,
    pane: Pane,
    form: Form,
    named: bool,
    range: Option<(LineId, LineId)>,
) -> Extract {
    let (pager, store) = state.pane_of(pane);
    let names = named.then(|| {
        let sources = store.merged(pager.sources());
        let named = sources.sources().filter_map(|source| {
            let name = pager.name(store.source_id(source)?)?;
            Some((source, name.to_owned()))
        });
        named.collect::<BTreeMap<u32, String>>()
    });
    Extract {
        snapshot: store.snapshot(pager.sources()),
        filter: pager
            .filter
            .as_ref()
            .map(|filter| (filter.sieve().clone(), pager.context)),
        range,
        names,
        form,
    }
}

/// All that the focused pane shows; with names where it shows several sources.
fn all(state: &mut State, form: Form) -> Option<Extract> {
    let pane = state.focus;
    let (pager, store, _) = command::pager(state)?;
    if pager.lines(store).is_empty() {
        state.notify("there is nothing here yet");
        return None;
    }
    let several = pager.sources().len() > 1;
    Some(extract(state, pane, form, several, None))
}

pub(super) fn open_save(state: &mut State) {
    let Some(extract) = all(state, Form::Raw) else {
        return;
    };
    let name = proposed(state);
    state.dialog = Some(Dialog::Save {
        input: Input::new(name),
        extract: Box::new(extract),
        exists: None,
    });
}

/// `./tenant-2026-11-22T01-40-00.log`
fn proposed(state: &State) -> String {
    let (pager, _) = state.pane_of(state.focus);
    let incident = (state.focus == Pane::Incident).then_some(&state.incident.replay);
    let name = match pager.sources() {
        _ if let Some(Some(replay)) = incident => replay.to_string(),
        [source] => {
            let name = pager.name(source).filter(|name| !name.is_empty());
            name.unwrap_or(&source.0).to_owned()
        }
        _ => match state.tree.selected_group() {
            Some(group) => group.name.to_string(),
            None => "logs".to_owned(),
        },
    };
    let plain = |c: char| match c.is_alphanumeric() || "-_.".contains(c) {
        true => c,
        false => '-',
    };
    let name: String = name.chars().map(plain).take(60).collect();
    let name = name.trim_matches(['-', '.']);
    let now = state.now.to_zoned(state.setup.zone.clone());
    format!("./{name}-{}.log", now.strftime("%Y-%m-%dT%H-%M-%S"))
}

/// The answer closes the dialog, or asks whether what is there may go.
pub(super) fn confirm_save(state: &mut State, effects: &mut Vec<Effect>) {
    let Some(Dialog::Save {
        input,
        extract,
        exists,
    }) = &state.dialog
    else {
        return;
    };
    let path = input.value().trim().to_owned();
    if path.is_empty() {
        return;
    }
    let replace = exists.as_ref() == Some(&path);
    let target = Target::File { path, replace };
    effects.push(Effect::Take(extract.clone(), target));
}

pub(super) fn open_pager(state: &mut State, effects: &mut Vec<Effect>) {
    if let Some(extract) = all(state, Form::Colored) {
        effects.push(Effect::Take(Box::new(extract), Target::Pager));
    }
}

pub(super) fn taken(state: &mut State, target: Target, event: Taken, effects: &mut Vec<Effect>) {
    let what = match &target {
        Target::File { path, .. } => sanitize_plain(path).into_owned(),
        Target::Clipboard => "the copy".to_owned(),
        Target::Pager => "the pager's file".to_owned(),
    };
    match event {
        Taken::Exists => {
            if let (Some(Dialog::Save { exists, .. }), Target::File { path, .. }) =
                (&mut state.dialog, target)
            {
                *exists = Some(path);
            }
        }
        Taken::Begun => {
            if let Some(Dialog::Save { .. }) = state.dialog {
                state.dialog = None;
            }
        }
        Taken::Progress(percent) => state.notify(format!("writing {what}: {percent} %")),
        Taken::Failed(why) => {
            let why = sanitize_plain(&why).into_owned();
            state.notify(format!("{what} cannot be written: {why}"));
        }
        Taken::Done { path, lines } => {
            let file = path.display().to_string();
            let file = sanitize_plain(&file);
            match target {
                Target::File { .. } => state.notify(format!("{} saved to {file}", count(lines))),
                Target::Clipboard => state.notify(format!("{} copied to {file}", count(lines))),
                Target::Pager => effects.push(Effect::OpenPager(path)),
            }
        }
    }
}

fn count(lines: u64) -> String {
    match lines {
        1 => "1 line".to_owned(),
        n => format!("{n} lines"),
    }
}

pub(super) fn pager_ended(state: &mut State, result: Result<(), String>) {
    if let Err(why) = result {
        let why = sanitize_plain(&why).into_owned();
        state.notify(why);
    }
}

/// Shows all of the picked line; where none is picked, picks one.
pub(super) fn open_record(state: &mut State) {
    let pane = state.focus;
    let Some((pager, store, size)) = command::pager(state) else {
        return;
    };
    let Some(pick) = pager.picked else {
        pager.pick(store, size);
        return;
    };
    state.dialog = Some(Dialog::Record {
        pane,
        line: pick.at,
        cursor: Cursor::default(),
    });
}

/// Goes on with the line before or behind.
pub(super) fn step_record(state: &mut State, by: isize) {
    let Some(Dialog::Record { pane, .. }) = state.dialog else {
        return;
    };
    let size = current_layout(state).size(pane);
    let (pager, store) = state.pane_of_mut(pane);
    pager.pick_by(store, size, by);
    let Some(at) = pager.picked.map(|pick| pick.at) else {
        return;
    };
    if let Some(Dialog::Record { line, cursor, .. }) = &mut state.dialog
        && *line != at
    {
        *line = at;
        *cursor = Cursor::default();
    }
}

/// Whether the field under the cursor is one of those that readable lines of its source have.
pub(super) fn choose_field(state: &mut State) {
    let Some(Dialog::Record { pane, line, cursor }) = &state.dialog else {
        return;
    };
    let (pane, line, at) = (*pane, *line, cursor.at());
    let columns = usize::from(current_layout(state).dialog_inner().width);
    let rows = view::record::rows(state, pane, line, columns);
    let field = rows.get(at).and_then(|row| row.field.clone());
    let Some(field) = field else {
        state.notify("only fields can be chosen; time, level and message are always shown");
        return;
    };
    let source = state.pane_of(pane).1.source_id(line.source()).cloned();
    let Some(source) = source else { return };
    let pager = state.pane_of_mut(pane).0;
    let chosen = pager.chosen.entry(source).or_default();
    match chosen.iter().position(|other| *other == field) {
        Some(at) => {
            chosen.remove(at);
        }
        None => chosen.push(field),
    }
}
