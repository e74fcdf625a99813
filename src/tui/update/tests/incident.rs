//! The timeline of a replay, and finding one's way in it.

use super::*;
use crate::domain::id::RunId;
use crate::logs::store::Content;
use crate::tui::fixtures::{incident, reading, timeline};
use crate::tui::state::incident::Stage;

fn current(state: &State) -> String {
    let size = super::super::current_layout(state).size(Pane::Incident);
    let (pager, store) = state.pane_of(Pane::Incident);
    let line = pager.current_line(store, size).unwrap();
    match store.get(line).unwrap().content {
        Content::Line { bytes, .. } => String::from_utf8_lossy(bytes).into_owned(),
        Content::Mark(mark) => format!("{mark:?}"),
    }
}

#[test]
fn enter_on_a_replay_that_has_run_reads_its_incident() {
    let mut state = reading(120, 40);
    assert_eq!(
        (state.screen, state.focus),
        (Screen::Incident, Pane::Incident)
    );
    let expected = |ticket, name: &str| Effect::ReadIncident {
        ticket,
        run: Some(RunId::recorded("20261121-120334.000-1")),
        replay: ReplayName::new(name),
    };
    // Nobody waits for what was left.
    assert_eq!(effects_of(&mut state, "<esc>"), [Effect::StopIncident]);
    assert_eq!(
        (state.screen, state.focus),
        (Screen::Replays, Pane::Replays)
    );
    let ticket = state.incident.ticket;
    assert_eq!(
        effects_of(&mut state, "<enter>"),
        [expected(ticket + 1, "peer-discovery-404")]
    );
    // Also one that passed.
    let effects = effects_of(&mut state, "<esc>j<enter>");
    assert_eq!(
        effects.last(),
        Some(&expected(ticket + 2, "buildinfo-stale-image"))
    );
    // What has not run has an output pane that says so.
    assert_eq!(
        effects_of(&mut state, "<esc>G<enter>"),
        [Effect::StopIncident]
    );
    assert_eq!((state.screen, state.focus), (Screen::Replays, Pane::Output));
}

#[test]
fn an_answer_that_nobody_waits_for_is_left_alone() {
    let mut state = reading(120, 40);
    let old = state.incident.ticket;
    press(&mut state, "<esc>j<enter>");
    send(&mut state, Msg::Incident(old, Ok(Box::new(timeline()))));
    assert!(matches!(state.incident.stage, Stage::Reading));
    press(&mut state, "<esc>");
    let ticket = state.incident.ticket;
    send(&mut state, Msg::Incident(ticket, Ok(Box::new(timeline()))));
    assert!(matches!(state.incident.stage, Stage::Closed));
    assert_eq!(state.screen, Screen::Replays);
}

#[test]
fn while_it_is_read_every_key_is_answered() {
    let all = COMMANDS.iter().flat_map(|spec| spec.keys.iter());
    for key in all {
        let mut state = reading(80, 24);
        let named = match key.chars().count() {
            1 => (*key).to_owned(),
            _ => format!("<{key}>"),
        };
        press(&mut state, &named);
        screen(&state);
        let mut state = incident(80, 24);
        press(&mut state, &named);
        screen(&state);
    }
}

#[test]
fn it_begins_at_what_failed_and_goes_from_mark_to_mark() {
    let failed = "\u{1b}[31mFAIL: 404: the tool says why\u{1b}[0m";
    let error = "ERROR redis: dial tcp 172.18.0.3:6379: connection refused";
    let death = "◆ redis died, exit 137 (killed)";
    let table = [
        ("", failed),
        ("[", error),
        ("[[", death),
        ("[[[", death),
        ("[[]", error),
        ("]", failed),
        ("gg]", error),
        // The engine's events are switched off, then everything but those.
        ("ojo<esc>[", death),
        ("oj <esc>[[", error),
        // The filter hides the error.
        ("&!dial<enter>[", death),
        // A level does not.
        ("LLLL", failed),
        ("LLLL[", error),
        ("LLLL[[", death),
        ("LLLLojjj <esc>[", death),
    ];
    for (keys, expected) in table {
        let mut state = incident(80, 12);
        press(&mut state, keys);
        assert_eq!(current(&state), expected, "{keys}");
    }
    let mut state = incident(80, 24);
    press(&mut state, "[");
    assert_eq!(state.notice.as_ref().unwrap().text, "first error");
    press(&mut state, "[[");
    assert_eq!(
        state.notice.as_ref().unwrap().text,
        "no mark before this line"
    );
}

#[test]
fn sources_are_switched_by_keys_and_by_mouse() {
    let table = [
        ("", [true; 5]),
        ("o ", [false, true, true, true, true]),
        ("o<enter>j ", [false, false, true, true, true]),
        ("o  ", [true; 5]),
        ("oGo", [false, false, false, false, true]),
        ("oGoo", [true; 5]),
        ("oGojo<esc>", [true; 5]),
    ];
    for (keys, expected) in table {
        let mut state = incident(120, 40);
        press(&mut state, keys);
        assert_eq!(state.incident.shown, expected, "{keys}");
    }
    let mut state = incident(120, 40);
    press(&mut state, "o");
    let area = Rect {
        x: 0,
        y: 0,
        width: 120,
        height: 40,
    };
    let inner = layout(area, &state).dialog_inner();
    let at = Position {
        x: inner.x + 1,
        y: inner.y + 3,
    };
    send(
        &mut state,
        Msg::Mouse(Mouse {
            action: MouseAction::Click,
            at,
        }),
    );
    assert_eq!(state.incident.shown, [true, true, true, false, true]);
    assert!(!screen(&state).contains("retrying in"));
}

#[test]
fn what_is_copied_has_times_and_sources() {
    let mut state = incident(120, 40);
    let Some(Effect::Copy(text)) = effects_of(&mut state, "vY").pop() else {
        panic!("it is copied");
    };
    assert_eq!(
        text,
        "2026-11-21T12:03:34.812000000Z output FAIL: 404: the tool says why\n"
    );
    assert!(matches!(
        effects_of(&mut state, "<esc>y")[..],
        [Effect::Copy(_)]
    ));
}

#[test]
fn what_is_searched_is_found_in_all_sources() {
    let mut state = incident(80, 12);
    press(&mut state, "g/redis<enter>");
    let hits = state.incident.pane.search.as_ref().unwrap().count();
    assert_eq!(hits, 4);
    let first = current(&state);
    press(&mut state, "n");
    assert_ne!(current(&state), first);
    // Without the engine's two.
    press(&mut state, "oj <esc>");
    assert_eq!(state.incident.pane.search.as_ref().unwrap().count(), 2);
}

#[test]
fn the_run_is_packed_for_somebody_else() {
    let run = RunId::recorded("20261121-120334.000-1");
    let mut state = incident(120, 40);
    assert_eq!(effects_of(&mut state, "b"), [Effect::Bundle(run)]);
    assert_eq!(effects_of(&mut reading(120, 40), "b"), []);
}

#[test]
fn esc_goes_back_step_by_step() {
    let mut state = incident(120, 40);
    press(&mut state, "/redis<enter>v");
    press(&mut state, "<esc>");
    assert!(state.incident.pane.picked.is_none());
    press(&mut state, "<esc>");
    assert!(state.incident.pane.search.is_none());
    assert_eq!(state.screen, Screen::Incident);
    press(&mut state, "<esc>");
    assert_eq!(
        (state.screen, state.focus),
        (Screen::Replays, Pane::Replays)
    );
    // It is read again when it is opened again.
    assert!(state.incident.head().is_none() && state.incident.store.held() == 0);
}
