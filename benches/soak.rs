//! Eight hours of a thousand lines a second, as fast as they can be taken in: what the dashboard
//! holds, and what it takes of the machine's memory, at the end of each hour.
//!
//! The lines go through the dashboard's own core, with a search open, and a frame is drawn for
//! every ten seconds of them.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark of nothing says so by panicking, and prints its table"
)]

mod common;

use std::time::Instant;

use common::{batches, containers, selector};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::layout::Size;
use tackroom::domain::line::SourceId;
use tackroom::domain::scope::Scope;
use tackroom::logs::FollowEvent;
use tackroom::tui::effect::Effect;
use tackroom::tui::layout::layout;
use tackroom::tui::msg::Msg;
use tackroom::tui::state::{Setup, State};
use tackroom::tui::update::update;
use tackroom::tui::view::view;

const AREA: Size = Size {
    width: 200,
    height: 60,
};
const CONTAINERS: usize = 10;
const HOURS: i64 = 8;
const LINES_PER_SECOND: i64 = 1_000;
/// Simulated seconds between two frames.
const STRIDE: i64 = 10;
const BUDGET: usize = 256 << 20;

fn main() {
    let setup = Setup {
        name: "soak".to_owned(),
        scope: Scope {
            families: vec![selector()],
            ..Scope::default()
        },
        log_budget: BUDGET,
        ..Setup::default()
    };
    let now = "2026-11-21T12:03:44Z".parse().expect("it is a time");
    let mut state = State::new(setup, AREA, now);
    let containers = containers(CONTAINERS);
    let sources: Vec<SourceId> = containers
        .iter()
        .map(|container| SourceId(container.name.as_str().into()))
        .collect();
    take(&mut state, Msg::Containers(containers.clone().into()));
    for (source, container) in sources.iter().zip(&containers) {
        let opened = FollowEvent::Opened {
            source: source.clone(),
            container: container.id.clone(),
            reached_start: true,
        };
        take(&mut state, Msg::Logs(vec![opened]));
    }
    for key in ["2", "/", "t", "o", "o", "k", "enter"] {
        take(&mut state, Msg::Key(key.parse().expect("it is a key")));
    }
    let mut terminal =
        Terminal::new(TestBackend::new(AREA.width, AREA.height)).expect("memory does not fail");
    let each = LINES_PER_SECOND * STRIDE / CONTAINERS as i64;
    let begun = Instant::now();
    println!("| hour | lines | held MiB | resident MiB | seconds |");
    println!("| --- | --- | --- | --- | --- |");
    for hour in 1..=HOURS {
        for stride in 0..3600 / STRIDE {
            let second = (hour - 1) * 3600 + stride * STRIDE;
            for (number, source) in (0..).zip(&sources) {
                let start = second * 1_000_000_000 + number * 100;
                let step = STRIDE * 1_000_000_000 / each;
                for batch in batches(each as usize, start, step) {
                    let source = source.clone();
                    take(
                        &mut state,
                        Msg::Logs(vec![FollowEvent::Lines { source, batch }]),
                    );
                }
            }
            let drawn = terminal.draw(|frame| {
                let layout = layout(frame.area(), &state);
                view(&state, &layout, frame);
            });
            drawn.expect("memory does not fail");
        }
        println!(
            "| {hour} | {} | {} | {} | {:.0} |",
            hour * 3600 * LINES_PER_SECOND,
            state.logs.held() >> 20,
            resident() >> 20,
            begun.elapsed().as_secs_f64(),
        );
    }
}

/// Takes a message in, and looks through what is to be looked through.
fn take(state: &mut State, message: Msg) {
    let mut found = Vec::new();
    for effect in update(state, message) {
        if let Effect::Scan(job) = effect {
            job.run(|part| {
                found.push(part);
                std::ops::ControlFlow::Continue(())
            });
        }
    }
    for part in found {
        update(state, Msg::Found(part));
    }
}

/// Bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1);
    pages.and_then(|pages| pages.parse().ok()).unwrap_or(0) * 4096
}
