//! Made-up lines, the same in every run.

#![allow(dead_code, reason = "each benchmark uses a part of it")]
#![allow(
    clippy::expect_used,
    reason = "a benchmark of nothing says so by panicking"
)]

use jiff::Timestamp;
use tackroom::domain::container::Container;
use tackroom::domain::label::Condition;
use tackroom::domain::line::{Channel, LineBatch, SourceId};
use tackroom::domain::selector::Selector;
use tackroom::engine::Engine;
use tackroom::engine::fake::{FakeContainer, FakeEngine};

/// Lines as programs of several kinds write them, about 100 bytes each.
pub(crate) const LINES: [(&str, &str); 6] = [
    (
        "plain",
        "2026-11-21T12:03:41.102Z  INFO request served method=GET path=/registry/1f0c/peers took=12ms by worker 7",
    ),
    (
        "unmarked",
        "    at handleRequest (/srv/app/node_modules/express/lib/router/layer.js:95:5) in the outermost of frames",
    ),
    (
        "coloured",
        "\x1b[2m2026-11-21T12:03:41.107Z\x1b[0m \x1b[33m WARN\x1b[0m \x1b[1mno route\x1b[0m: POST /cp/workspaces from 172.18.0.5:41234",
    ),
    (
        "wide",
        "2026-11-21 12:03:41 ERROR 上流のサーバが 501 を返した reason=\"日本\" 🚚 après 12 ms, naïveté über alles, žluťoučký kůň",
    ),
    (
        "json",
        r#"{"level":30,"time":1763726621102,"pid":7,"req":{"method":"GET","url":"/health"},"took":12,"msg":"request served"}"#,
    ),
    (
        "logfmt",
        r#"time=2026-11-21T12:03:41Z level=warn msg="upstream answered 501" method=POST path=/cp/workspaces took=12.4ms"#,
    ),
];

pub(crate) fn selector() -> Selector {
    let condition: Condition = "bench=1".parse().expect("it is a condition");
    Selector::new(condition, [])
}

/// As the engine lists them.
pub(crate) fn containers(count: usize) -> Vec<Container> {
    let engine = FakeEngine::new();
    for number in 0..count {
        let name = format!("service-{number}");
        engine.run(FakeContainer::new(name).label("bench", "1"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.expect("a runtime needs nothing");
    runtime
        .block_on(engine.list(&selector()))
        .expect("the fake answers")
}

pub(crate) fn source(number: usize) -> SourceId {
    SourceId(format!("service-{number}").into())
}

/// Lines of one source as they come from the engine: a step apart, and in batches. The first one
/// is written at `offset`; both are in nanoseconds.
pub(crate) fn batches(lines: usize, offset: i64, step: i64) -> Vec<LineBatch> {
    let numbers: Vec<usize> = (0..lines).collect();
    let line = |number: usize| {
        let (_, text) = LINES[number % LINES.len()];
        format!("{number:09} {text}")
    };
    let batch = |numbers: &[usize]| {
        let mut batch = LineBatch::default();
        for number in numbers {
            let after = i64::try_from(*number).unwrap_or(0) * step + offset;
            let at = 1_763_726_621_000_000_000 + i128::from(after);
            let at = Timestamp::from_nanosecond(at).unwrap_or_default();
            batch.push(at, Channel::Out, line(*number).as_bytes());
        }
        batch
    };
    numbers.chunks(2048).map(batch).collect()
}
