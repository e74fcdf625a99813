//! What is done to one line: its level is read when it comes in, the rest when it is shown.

mod common;

use common::LINES;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use tackroom::text::level::level;
use tackroom::text::sanitize::sanitize;
use tackroom::text::structured::parse;

fn main() {
    divan::main();
}

fn text(kind: &str) -> &'static [u8] {
    let line = LINES.iter().find(|(name, _)| *name == kind);
    line.map_or(b"", |(_, text)| text.as_bytes())
}

#[divan::bench(args = ["plain", "coloured", "wide", "json"], min_time = 0.1)]
fn sanitise(bencher: Bencher, kind: &str) {
    let line = text(kind);
    let sized = bencher.counter(BytesCount::of_slice(line));
    sized.bench(|| sanitize(black_box(line)));
}

#[divan::bench(args = ["plain", "unmarked", "coloured", "wide", "json", "logfmt"], min_time = 0.1)]
fn detect_level(bencher: Bencher, kind: &str) {
    let line = text(kind);
    let sized = bencher.counter(BytesCount::of_slice(line));
    sized.bench(|| level(black_box(line)));
}

/// A structured line as it is read for one row of the screen.
#[divan::bench(args = ["json", "logfmt"], min_time = 0.1)]
fn one_line(bencher: Bencher, kind: &str) {
    let line = text(kind);
    let sized = bencher.counter(BytesCount::of_slice(line));
    sized.bench(|| parse(black_box(line)).map(|structured| structured.one_line(None)));
}
