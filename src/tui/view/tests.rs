//! What the screen looks like, as text.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::layout::{Rect, Size};

use super::view;
use crate::domain::hook::{Progress, Step};
use crate::domain::link::Link;
use crate::domain::output::OutputLines;
use crate::domain::plan::{ItemOutcome, SpareReason, Spared};
use crate::domain::run::{Output, RunEventKind, StepOutcome};
use crate::tui::fixtures::{
    ago, busy, connected, courses, event, fresh, incident, info, line, now, plan, press, reading,
    replays, screen, send,
};
use crate::tui::layout::layout;
use crate::tui::msg::Msg;
use crate::tui::state::State;
use crate::tui::theme::Theme;

macro_rules! snapshots {
    ($($name:ident: $state:expr;)*) => {
        $(#[test]
        fn $name() {
            insta::assert_snapshot!(screen(&$state));
        })*
    };
}

fn with_keys(mut state: State, keys: &str) -> State {
    press(&mut state, keys);
    state
}

fn teardown_at(width: u16, height: u16) -> State {
    let mut state = with_keys(connected(width, height), "T");
    send(
        &mut state,
        Msg::Plan {
            stack: "tenant".into(),
            result: Ok(plan()),
        },
    );
    state
}

fn teardown_beside_another_run(width: u16, height: u16) -> State {
    let mut state = with_keys(connected(width, height), "T");
    let mut plan = plan();
    // It would take down what is not ours.
    plan.hook = None;
    let item = plan.remove.remove(1);
    plan.spare.push(Spared {
        item,
        reason: SpareReason::OtherRun {
            run: "20260101-000000-0001".to_owned(),
            age: Duration::from_secs(120),
        },
    });
    send(
        &mut state,
        Msg::Plan {
            stack: "tenant".into(),
            result: Ok(plan),
        },
    );
    state
}

fn removing(width: u16, height: u16) -> State {
    let mut state = with_keys(teardown_at(width, height), "tenant<enter>");
    let plan = plan();
    let outcomes = [
        ItemOutcome::Removed,
        ItemOutcome::Gone,
        ItemOutcome::Failed {
            why: "removal is in progress".to_owned(),
        },
    ];
    for (item, outcome) in plan.remove.iter().cloned().zip(outcomes) {
        send(
            &mut state,
            event(RunEventKind::ItemFinished { item, outcome }),
        );
    }
    state
}

fn torn_down(width: u16, height: u16) -> State {
    let mut state = removing(width, height);
    let left = vec![plan().remove[2].clone()];
    send(&mut state, event(RunEventKind::LeftBehind(left)));
    send(&mut state, Msg::RunEnded { problem: None });
    state
}

fn booting(width: u16, height: u16) -> State {
    let mut state = fresh(width, height);
    send(&mut state, Msg::Link(Link::Up(info())));
    send(&mut state, Msg::Containers(Arc::from([])));
    send(&mut state, Msg::Replays(Ok(replays())));
    press(&mut state, "u");
    send(
        &mut state,
        event(RunEventKind::StepStarted { step: Step::Up }),
    );
    let line = b"[step 3/7] waiting for postgres".as_slice();
    send(
        &mut state,
        event(RunEventKind::StepOutput {
            step: Step::Up,
            lines: OutputLines::new(line),
        }),
    );
    let progress = Progress::parse("[step 3/7] waiting for postgres").unwrap();
    send(
        &mut state,
        event(RunEventKind::StepProgress {
            step: Step::Up,
            progress,
        }),
    );
    state
}

fn seed_failed(width: u16, height: u16) -> State {
    let mut state = with_keys(connected(width, height), "s");
    send(
        &mut state,
        event(RunEventKind::StepStarted { step: Step::Seed }),
    );
    let outcome = StepOutcome::Failed {
        reason: "exit 2".to_owned(),
    };
    let output = Output {
        head: Arc::from(*b"seeding tenants\npsql: error: connection refused\n"),
        ..Output::default()
    };
    let took = Duration::from_secs(1);
    send(
        &mut state,
        event(RunEventKind::StepFinished {
            step: Step::Seed,
            outcome,
            took,
            output,
        }),
    );
    send(&mut state, Msg::RunEnded { problem: None });
    state
}

fn lost(width: u16, height: u16) -> State {
    let mut state = busy(width, height);
    let link = Link::Lost {
        since: ago(12),
        cause: "nothing answers at /var/run/docker.sock; is the daemon running?".to_owned(),
        retry_in: Duration::from_secs(4),
    };
    send(&mut state, Msg::Link(link));
    send(
        &mut state,
        Msg::Tick(now().checked_add(Duration::from_secs(1)).unwrap()),
    );
    state
}

fn nothing_up(width: u16, height: u16) -> State {
    let mut state = fresh(width, height);
    send(&mut state, Msg::Link(Link::Up(info())));
    send(&mut state, Msg::Containers(Arc::from([])));
    send(&mut state, Msg::Replays(Ok(Vec::new())));
    state
}

/// Warnings and errors with a line around them, one of them marked and the other gone to.
fn filtered(width: u16, height: u16) -> State {
    let mut state = busy(width, height);
    let lines = (0..40)
        .map(|n| {
            let text = match n {
                10 => "{\"level\":40,\"msg\":\"slow upstream\",\"ms\":1200}".to_owned(),
                30 => "level=error msg=\"upstream refused\"".to_owned(),
                31 => "  at connect (net.js:12)".to_owned(),
                n => format!("INFO  tick {n}"),
            };
            line("tenant_cf-proxy_1", 100 - n, &text)
        })
        .collect();
    send(&mut state, Msg::Logs(lines));
    press(&mut state, "2LLL&stream<enter>C[m[");
    state
}

/// A container that logs JSON, logfmt and text of several levels.
fn structured(width: u16, height: u16) -> State {
    let mut state = connected(width, height);
    press(&mut state, "j2");
    let name = "tenant_cf-proxy_1";
    let lines = vec![
        line(name, 9, "starting up"),
        line(
            name,
            8,
            r#"{"time":"2026-11-21T12:03:36Z","level":"info","msg":"listening","port":8080,"tls":false}"#,
        ),
        line(
            name,
            7,
            "ts=2026-11-21T12:03:37Z level=warn msg=\"slow request\" path=/cp/workspaces took=1.2s",
        ),
        line(
            name,
            6,
            r#"{"level":50,"time":1763726618000,"msg":"request failed","req":{"method":"POST","path":"/cp/workspaces/provision"},"err":{"type":"TypeError","stack":"TypeError: x is undefined\n    at provision (/app/src/provision.js:41:13)\n    at async handle (/app/src/server.js:12:5)"},"tags":["cp","provision"]}"#,
        ),
        line(name, 5, "2026-11-21 12:03:39 ERROR upstream answered 501"),
        line(name, 4, r#"{"level":"debug","msg":"retrying","in":"5 s"}"#),
    ];
    send(&mut state, Msg::Logs(lines));
    state
}

/// The same session, with earlier runs.
fn remembered(width: u16, height: u16) -> State {
    let mut state = busy(width, height);
    send(&mut state, Msg::History(courses()));
    state
}

fn unreadable(width: u16, height: u16) -> State {
    let mut state = reading(width, height);
    let ticket = state.incident.ticket;
    let problem = Err("its run is not kept any more".to_owned());
    send(&mut state, Msg::Incident(ticket, problem));
    state
}

fn plain(mut state: State) -> State {
    state.setup.theme = Theme::new(false);
    state
}

snapshots! {
    cockpit_80x24: busy(80, 24);
    cockpit_120x40: busy(120, 40);
    cockpit_200x60: busy(200, 60);
    cockpit_40x10: busy(40, 10);
    cockpit_80x24_on_replays: with_keys(busy(80, 24), "<tab>");
    cockpit_40x10_on_logs: with_keys(busy(40, 10), "<tab><tab>");
    logs_80x24: with_keys(busy(80, 24), "2");
    logs_full_stamps_120x40: with_keys(busy(120, 40), "2t");
    logs_40x10: with_keys(busy(40, 10), "2");
    logs_wrapped_40x10: with_keys(busy(40, 10), "2w");
    replays_80x24: with_keys(busy(80, 24), "3");
    replays_120x40: with_keys(busy(120, 40), "3jjj  ");
    replays_with_history_120x40: with_keys(remembered(120, 40), "3");
    replays_with_history_80x24: with_keys(remembered(80, 24), "3");
    replays_with_history_200x60: with_keys(remembered(200, 60), "1");
    replays_with_history_40x10: with_keys(remembered(40, 10), "3");
    choosing_replays_80x24: with_keys(remembered(80, 24), "3/is:failed or proxy");
    chosen_replays_120x40: with_keys(remembered(120, 40), "3/is:failed or proxy<enter>oo ");
    how_to_run_80x24: with_keys(remembered(80, 24), "3p20<down> <down><down>4");
    how_to_run_40x10: with_keys(remembered(40, 10), "3  p");
    details_of_a_replay_80x24: with_keys(remembered(80, 24), "3i");
    replays_40x10: with_keys(busy(40, 10), "3");
    description_before_the_first_run_80x24: with_keys(connected(80, 24), "3");
    searching_80x24: with_keys(busy(80, 24), "2/retry");
    searched_80x24: with_keys(busy(80, 24), "2/provision<enter>n");
    filtered_80x24: filtered(80, 24);
    filtered_120x40: filtered(120, 40);
    filtering_80x24: with_keys(busy(80, 24), "2&!info");
    nothing_passes_80x24: with_keys(busy(80, 24), "2&no such thing<enter>");
    going_to_a_time_80x24: with_keys(busy(80, 24), "2@12:0");
    help_80x24: with_keys(busy(80, 24), "?");
    help_40x10: with_keys(busy(40, 10), "?");
    palette_80x24: with_keys(busy(80, 24), ":re");
    details_80x24: with_keys(busy(80, 24), "jjjji");
    details_of_a_source_that_is_gone_80x24: with_keys(busy(80, 24), "jjjjjji");
    details_of_a_stale_image_80x24: with_keys(busy(80, 24), "jjjjjjjjji");
    teardown_80x24: teardown_at(80, 24);
    teardown_beside_another_run_120x40: teardown_beside_another_run(120, 40);
    teardown_120x40: teardown_at(120, 40);
    teardown_40x10: teardown_at(40, 10);
    teardown_refused_80x24: with_keys(connected(80, 24), "GkT");
    removing_80x24: removing(80, 24);
    torn_down_80x24: torn_down(80, 24);
    booting_80x24: booting(80, 24);
    booting_120x40: booting(120, 40);
    seed_failed_80x24: seed_failed(80, 24);
    lost_80x24: lost(80, 24);
    lost_120x40: lost(120, 40);
    connecting_80x24: fresh(80, 24);
    nothing_up_80x24: nothing_up(80, 24);
    structured_80x24: structured(80, 24);
    structured_120x40: structured(120, 40);
    structured_wrapped_40x10: with_keys(structured(40, 10), "w");
    structured_raw_80x24: with_keys(structured(80, 24), "J");
    structured_searched_80x24: with_keys(structured(80, 24), "/\"level\":<enter>");
    picked_80x24: with_keys(structured(80, 24), "vkkvkk");
    picked_120x40: with_keys(structured(120, 40), "vk");
    line_80x24: with_keys(structured(80, 24), "vkk<enter>");
    line_120x40: with_keys(structured(120, 40), "vkk<enter>jjjjjjjjj");
    line_of_text_80x24: with_keys(structured(80, 24), "vk<enter>");
    line_with_chosen_fields_120x40: with_keys(structured(120, 40), "vkk<enter>jjjjjjjjj jj <esc><esc>");
    saving_80x24: with_keys(structured(80, 24), "S");
    incident_80x24: incident(80, 24);
    incident_120x40: incident(120, 40);
    incident_200x60: incident(200, 60);
    incident_40x10: incident(40, 10);
    incident_from_its_start_80x24: with_keys(incident(80, 24), "g");
    incident_wrapped_40x10: with_keys(incident(40, 10), "w");
    incident_without_some_sources_120x40: with_keys(incident(120, 40), "ojjj jj <esc>");
    incident_with_no_source_80x24: with_keys(incident(80, 24), "oo <esc>");
    incident_sources_80x24: with_keys(incident(80, 24), "oj ");
    incident_changes_80x24: with_keys(incident(80, 24), "c");
    incident_searched_80x24: with_keys(incident(80, 24), "/redis<enter>");
    incident_help_120x40: with_keys(incident(120, 40), "?");
    incident_reading_80x24: reading(80, 24);
    incident_that_cannot_be_read_80x24: unreadable(80, 24);
    quit_while_running_80x24: with_keys(busy(80, 24), "q");
    diagnostics_80x24: with_keys(connected(80, 24), "6");
}

#[test]
fn without_colours_the_same_characters_are_drawn() {
    assert_eq!(screen(&plain(busy(120, 40))), screen(&busy(120, 40)));
    let incident = || incident(120, 40);
    assert_eq!(screen(&plain(incident())), screen(&incident()));
}

#[test]
fn drawing_changes_nothing() {
    let state = busy(120, 40);
    let before = format!("{state:?}");
    screen(&state);
    assert_eq!(format!("{state:?}"), before);
}

#[test]
fn too_small_is_one_line() {
    let text = screen(&busy(20, 5));
    assert!(text.contains("window too small"), "{text}");
    assert_eq!(
        text.lines()
            .filter(|line| !line.trim_matches(['"', ' ']).is_empty())
            .count(),
        1
    );
}

type Make = fn(u16, u16) -> State;

fn scenes() -> Vec<Make> {
    vec![
        fresh,
        connected,
        busy,
        teardown_at,
        removing,
        torn_down,
        booting,
        seed_failed,
        lost,
        nothing_up,
        |w, h| with_keys(busy(w, h), "?"),
        |w, h| with_keys(busy(w, h), ":x"),
        |w, h| with_keys(busy(w, h), "2/e"),
        |w, h| with_keys(busy(w, h), "2w"),
        |w, h| with_keys(filtered(w, h), "w"),
        |w, h| with_keys(filtered(w, h), "@"),
        |w, h| with_keys(busy(w, h), "i"),
        |w, h| with_keys(busy(w, h), "q"),
        structured,
        |w, h| with_keys(structured(w, h), "wvk<enter>"),
        |w, h| with_keys(structured(w, h), "vkkvk"),
        |w, h| with_keys(structured(w, h), "S"),
        remembered,
        |w, h| with_keys(remembered(w, h), "3p"),
        |w, h| with_keys(remembered(w, h), "3/is:f"),
        |w, h| with_keys(remembered(w, h), "3i"),
        incident,
        |w, h| with_keys(incident(w, h), "oj "),
        |w, h| with_keys(incident(w, h), "c"),
        |w, h| with_keys(incident(w, h), "ttwv"),
        unreadable,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn no_size_panics(
        scene in 0usize..31, width in 0u16..140, height in 0u16..50, later in 0u16..140,
        focus in 0usize..5, scroll in 0usize..4,
    ) {
        let mut state = scenes()[scene](width, height);
        press(&mut state, &"<tab>".repeat(focus));
        press(&mut state, ["", "<pgdn>", "G", "kl"][scroll]);
        screen(&state);
        // The terminal may be smaller or larger than what was last said of it.
        let area = Rect { x: 0, y: 0, width: later, height };
        let drawn = layout(area, &state);
        let mut terminal = Terminal::new(TestBackend::new(later, height)).unwrap();
        terminal.draw(|frame| view(&state, &drawn, frame)).unwrap();
        send(&mut state, Msg::Resize(Size { width: later, height: width / 3 }));
        screen(&state);
    }
}
