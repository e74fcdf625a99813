//! The dashboard: what a frame costs, and what stands between a key and its frame.

#![allow(
    clippy::expect_used,
    reason = "a benchmark of nothing says so by panicking"
)]

mod common;

use std::sync::Arc;

use common::{batches, containers, selector};
use divan::Bencher;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::layout::Size;
use tackroom::domain::line::SourceId;
use tackroom::domain::link::{EngineInfo, Link};
use tackroom::domain::scope::Scope;
use tackroom::domain::stats::Sample;
use tackroom::logs::FollowEvent;
use tackroom::tui::layout::layout;
use tackroom::tui::msg::Msg;
use tackroom::tui::state::{Setup, State};
use tackroom::tui::update::update;
use tackroom::tui::view::view;

const AREA: Size = Size {
    width: 200,
    height: 60,
};
const CONTAINERS: usize = 50;

fn main() {
    divan::main();
}

/// Fifty containers with statistics, and the logs of all of them, merged.
fn busy(keys: &[&str]) -> State {
    let setup = Setup {
        name: "bench".to_owned(),
        scope: Scope {
            families: vec![selector()],
            ..Scope::default()
        },
        ..Setup::default()
    };
    let now = "2026-11-21T12:03:44Z".parse().expect("it is a time");
    let mut state = State::new(setup, AREA, now);
    let containers = containers(CONTAINERS);
    let sample = Sample {
        cpu_percent: Some(1.24),
        memory: 38 << 20,
        memory_limit: None,
    };
    let mut messages = vec![
        Msg::Link(Link::Up(EngineInfo {
            product: "docker".to_owned(),
            version: "28.2.2".to_owned(),
            api_version: "1.50".to_owned(),
            endpoint: "unix:///var/run/docker.sock".to_owned(),
        })),
        Msg::Containers(Arc::from(containers.clone())),
    ];
    for (number, container) in (0i64..).zip(&containers) {
        messages.push(Msg::Stats(vec![(container.id.clone(), Some(sample))]));
        let source = SourceId(container.name.as_str().into());
        messages.push(Msg::Logs(vec![FollowEvent::Opened {
            source: source.clone(),
            container: container.id.clone(),
            reached_start: true,
        }]));
        for batch in batches(2_000, number * 1_000, 50_000) {
            let source = source.clone();
            messages.push(Msg::Logs(vec![FollowEvent::Lines { source, batch }]));
        }
    }
    for key in keys {
        messages.push(press(key));
    }
    for message in messages {
        update(&mut state, message);
    }
    state
}

fn press(key: &str) -> Msg {
    Msg::Key(key.parse().expect("it is a key"))
}

fn terminal() -> Terminal<TestBackend> {
    Terminal::new(TestBackend::new(AREA.width, AREA.height)).expect("memory does not fail")
}

fn draw(terminal: &mut Terminal<TestBackend>, state: &State) {
    let drawn = terminal.draw(|frame| {
        let layout = layout(frame.area(), state);
        view(state, &layout, frame);
    });
    drawn.expect("memory does not fail");
}

/// Containers, replays, logs and output; the logs alone; the logs with a search open.
#[divan::bench(args = ["1", "2", "2/took"], max_time = 1)]
fn full_frame(bencher: Bencher, keys: &str) {
    let keys: Vec<String> = keys.chars().map(String::from).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let state = busy(&keys);
    let mut terminal = terminal();
    bencher.bench_local(|| draw(&mut terminal, &state));
}

/// A page up or down in the merged logs, and the frame that answers it.
#[divan::bench(max_time = 1)]
fn key_to_frame(bencher: Bencher) {
    let mut state = busy(&["2", "pgup"]);
    let mut terminal = terminal();
    let mut keys = ["pgup", "pgdn"].iter().cycle();
    bencher.bench_local(|| {
        let key = keys.next().map_or("pgup", |key| key);
        update(&mut state, press(key));
        draw(&mut terminal, &state);
    });
}

/// A batch of new lines, and the frame that shows them.
#[divan::bench(max_time = 1)]
fn lines_to_frame(bencher: Bencher) {
    let mut state = busy(&["2"]);
    let mut terminal = terminal();
    let batches = batches(100_000, 1_000_000_000, 50_000);
    let mut batches = batches.iter().cycle();
    let source = SourceId("service-0".into());
    bencher.bench_local(|| {
        let batch = batches.next().cloned().unwrap_or_default();
        let source = source.clone();
        update(
            &mut state,
            Msg::Logs(vec![FollowEvent::Lines { source, batch }]),
        );
        draw(&mut terminal, &state);
    });
}
