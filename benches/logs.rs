//! The store of log lines: what a flood costs, and what somebody who looks at it waits for.

#![allow(
    clippy::expect_used,
    reason = "a benchmark of nothing says so by panicking"
)]

mod common;

use std::ops::ControlFlow;

use common::{batches, source};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use tackroom::domain::line::{LineBatch, SourceId};
use tackroom::logs::index::Index;
use tackroom::logs::store::LogStore;
use tackroom::text::matcher::Matcher;

/// Rows of a large terminal.
const SCREEN: usize = 60;
const SOURCES: usize = 10;

fn main() {
    divan::main();
}

fn push(store: &mut LogStore, source: &SourceId, batch: &LineBatch) {
    for (at, channel, bytes) in batch.iter() {
        store.push(source, at, channel, bytes);
    }
}

fn lines(batches: &[LineBatch]) -> ItemsCount {
    ItemsCount::new(batches.iter().map(LineBatch::len).sum::<usize>())
}

/// One source, by budget in MiB: with room for all, and with a block evicted for each that is
/// filled.
#[divan::bench(args = [64, 4], max_time = 1)]
fn ingest(bencher: Bencher, budget: usize) {
    let batches = batches(50_000, 0, 10_000);
    let source = source(0);
    bencher
        .counter(lines(&batches))
        .with_inputs(|| LogStore::new(budget << 20))
        .bench_values(|mut store| {
            for batch in &batches {
                push(&mut store, &source, batch);
            }
            store
        });
}

/// A source whose two outputs reach the engine in turns: every second batch is late.
#[divan::bench(max_time = 1)]
fn ingest_late(bencher: Bencher) {
    let mut batches = batches(50_000, 0, 10_000);
    for pair in batches.chunks_mut(2) {
        pair.reverse();
    }
    let source = source(0);
    bencher
        .counter(lines(&batches))
        .with_inputs(LogStore::default)
        .bench_values(|mut store| {
            for batch in &batches {
                push(&mut store, &source, batch);
            }
            store
        });
}

/// Lines of several sources, of which each screenful has some of all.
fn merged() -> (LogStore, Vec<SourceId>) {
    let mut store = LogStore::default();
    let sources: Vec<SourceId> = (0..SOURCES).map(source).collect();
    for (number, source) in (0i64..).zip(&sources) {
        for batch in batches(10_000, number * 1_000, 10_000) {
            push(&mut store, source, &batch);
        }
    }
    (store, sources)
}

/// A screenful at the end, as when a log is followed.
#[divan::bench(min_time = 0.1)]
fn merge_at_the_end(bencher: Bencher) {
    let (store, sources) = merged();
    bencher.bench(|| {
        let merged = store.merged(black_box(&sources));
        merged.backward_from_end().take(SCREEN).count()
    });
}

/// A screenful around a place that is found by its share of the whole, as when a log is scrolled.
#[divan::bench(min_time = 0.1)]
fn merge_in_the_middle(bencher: Bencher) {
    let (store, sources) = merged();
    bencher.bench(|| {
        let merged = store.merged(black_box(&sources));
        let middle = merged.nth(merged.len() / 2).expect("it is held");
        merged.forward(middle).take(SCREEN).count()
    });
}

/// Looks through everything for few lines, for many, for none by an expression that has no literal
/// beginning, and for a literal in either case.
#[divan::bench(args = [r"\d{6}777 ", r"took=\d+", r"[a-z]+\d{9}[a-z]+", "upstream answered 501"], max_time = 1)]
fn search(bencher: Bencher, pattern: &str) {
    let (mut store, source) = (LogStore::default(), source(0));
    for batch in batches(100_000, 0, 10_000) {
        push(&mut store, &source, &batch);
    }
    let snapshot = store.snapshot([&source]);
    let matcher = Matcher::new(pattern).expect("it is not empty");
    bencher
        .counter(BytesCount::new(snapshot.bytes()))
        .bench_local(|| {
            let mut index = Index::seeking(matcher.clone());
            let job = index.begin(1, snapshot.clone());
            job.run(|found| {
                index.take(&found, &store);
                ControlFlow::Continue(())
            });
            index.count()
        });
}
