//! Stores and what is read from them, against plain lists.

use super::*;
use proptest::prelude::*;
use std::ops::ControlFlow;

use crate::text::level::Level;

fn at(nanosecond: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanosecond)).unwrap()
}

fn source(name: &str) -> SourceId {
    SourceId(name.into())
}

fn push(store: &mut LogStore, source: &SourceId, nanosecond: i64, text: &str) -> LineId {
    let id = store.push(source, at(nanosecond), Channel::Out, text.as_bytes());
    id.expect("held")
}

fn text(entry: &Entry<'_>) -> String {
    match entry.content {
        Content::Line { bytes, .. } => String::from_utf8_lossy(bytes).into_owned(),
        Content::Mark(mark) => format!("{mark:?}"),
    }
}

fn texts<'a>(entries: impl Iterator<Item = Entry<'a>>) -> Vec<String> {
    entries.map(|entry| text(&entry)).collect()
}

fn sources(names: &[&str]) -> Vec<SourceId> {
    names.iter().copied().map(source).collect()
}

#[test]
fn sources_are_merged_by_time_and_then_by_source_and_arrival() {
    let mut store = LogStore::default();
    let [a, b] = ["a", "b"].map(source);
    push(&mut store, &a, 1, "a1");
    push(&mut store, &a, 3, "a3");
    push(&mut store, &a, 3, "a3 again");
    push(&mut store, &b, 2, "b2");
    push(&mut store, &b, 3, "b3");
    let both = store.merged([&b, &a, &b]);
    let all = ["a1", "b2", "a3", "a3 again", "b3"];
    assert_eq!(texts(both.forward_from_start()), all);
    let mut back = texts(both.backward_from_end());
    back.reverse();
    assert_eq!(back, all);
    assert_eq!(
        texts(store.merged([&a]).forward_from_start()),
        ["a1", "a3", "a3 again"]
    );
    assert_eq!(store.merged([&source("silent")]).len(), 0);
}

#[test]
fn a_late_line_and_a_mark_find_their_place() {
    let mut store = LogStore::default();
    let a = source("a");
    let first = push(&mut store, &a, 10, "10");
    store.push_mark(&a, at(30), Mark::Restarted);
    push(&mut store, &a, 20, "20");
    let merged = store.merged([&a]);
    assert_eq!(
        texts(merged.forward_from_start()),
        ["10", "20", "Restarted"]
    );
    assert_eq!(merged.rank(first), 0);
    assert_eq!(text(&store.get(first).unwrap()), "10");
}

#[test]
fn an_id_keeps_its_place_after_its_line_is_gone() {
    let mut store = LogStore::new(16 << 10);
    let a = source("a");
    let mut ids = Vec::new();
    for n in 0..1000 {
        ids.push(push(&mut store, &a, n, "some text that takes room"));
    }
    assert!(store.held() <= store.budget());
    assert!(store.get(ids[0]).is_none());
    assert!(store.get(ids[999]).is_some());
    let merged = store.merged([&a]);
    assert_eq!(merged.forward(ids[0]).next().map(|e| e.id), merged.first());
    assert_eq!(merged.backward(ids[0]).next(), None);
    let usage = store.usage(&a);
    assert_eq!(usage.evicted + usage.entries as u64, 1000);
    assert_eq!(usage.bytes, store.held());
    assert_eq!(merged.rank(ids[999]), usage.entries - 1);
}

#[test]
fn the_largest_source_pays() {
    let mut store = LogStore::new(32 << 10);
    let [loud, quiet] = ["loud", "quiet"].map(source);
    push(&mut store, &quiet, 0, "said once");
    for n in 0..2000 {
        push(&mut store, &loud, n, "and on, and on");
    }
    assert_eq!(store.usage(&quiet).evicted, 0);
    assert!(store.usage(&loud).evicted > 0);
}

#[test]
fn a_line_over_the_budget_is_not_kept_and_breaks_nothing() {
    let mut store = LogStore::new(100);
    let a = source("a");
    push(&mut store, &a, 1, &"x".repeat(1000));
    assert_eq!((store.held(), store.usage(&a).evicted), (0, 1));
    push(&mut store, &a, 2, "short");
    let merged = store.merged([&a]);
    assert_eq!(texts(merged.forward_from_start()), ["short"]);
    assert_eq!(gaps(&store, &a), [(2, Some(1), false)]);
}

#[test]
fn clearing_a_source_leaves_the_others() {
    let mut store = LogStore::default();
    let [a, b] = ["a", "b"].map(source);
    let old = push(&mut store, &a, 1, "old");
    push(&mut store, &b, 1, "other");
    store.clear(&a);
    assert_eq!(store.usage(&a).entries, 0);
    assert_eq!(store.held(), store.usage(&b).bytes);
    let new = push(&mut store, &a, 1, "new");
    assert_ne!(old, new);
    assert_eq!(
        texts(store.merged([&a, &b]).forward_from_start()),
        ["new", "other"]
    );
}

#[test]
fn what_goes_leaves_a_gap_that_says_how_much() {
    let mut store = LogStore::new(8 << 10);
    let a = source("a");
    for n in 0..1000 {
        push(&mut store, &a, n, "some text that takes room");
    }
    let evicted = store.usage(&a).evicted;
    let first = 1000 - store.usage(&a).entries as i64;
    assert_eq!(gaps(&store, &a), [(first, Some(evicted), false)]);
    let dropped: Vec<(i64, i64)> = store
        .take_dropped()
        .into_iter()
        .map(|dropped| (dropped.first.at, dropped.last.at))
        .collect();
    assert_eq!(dropped.first().map(|(first, _)| *first), Some(0));
    assert_eq!(dropped.last().map(|(_, last)| *last), Some(first - 1));
    assert!(dropped.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0));
    assert_eq!(store.take_dropped(), []);
}

#[test]
fn who_looks_at_the_past_keeps_it() {
    let mut store = LogStore::new(32 << 10);
    let a = source("a");
    let mut ids = Vec::new();
    for n in 0..200 {
        ids.push(push(&mut store, &a, n, "some text that takes room"));
    }
    store.look_at(Some((ids[20], [&a].into_iter())));
    for n in 200..5000 {
        ids.push(push(&mut store, &a, n, "some text that takes room"));
    }
    assert!(store.held() <= store.budget());
    assert!(ids[..200].iter().all(|id| store.holds(*id)));
    assert!(ids[4990..].iter().all(|id| store.holds(*id)));
    let gaps = gaps(&store, &a);
    assert_eq!(gaps.len(), 1);
    assert_eq!(gaps[0].1, Some(store.usage(&a).evicted));
    // Who comes back to the present lets the past go.
    store.look_at(None::<(LineId, std::iter::Empty<&SourceId>)>);
    for n in 5000..6000 {
        push(&mut store, &a, n, "some text that takes room");
    }
    assert!(!store.holds(ids[20]));
    assert_eq!(super::tests::gaps(&store, &a).len(), 1);
}

#[test]
fn a_late_line_that_belongs_among_missing_ones_is_missing() {
    let mut store = LogStore::default();
    let a = source("a");
    store.opened(&a, false, false);
    push(&mut store, &a, 10, "10");
    let late = store.push(&a, at(5), Channel::Err, b"5");
    assert_eq!(late, None);
    assert_eq!(gaps(&store, &a), [(10, None, false)]);
    // A mark is not in the engine's log: it waits for the lines around it.
    store.push_mark(&a, at(7), Mark::Restarted);
    let ten = store.merged([&a]).first().unwrap();
    assert!(store.begin_fill(ten, Filling::FromBelow));
    fill(&mut store, ten, &[(5, "5"), (8, "8"), (10, "10")]);
    store.end_fill(ten.source(), whole(true));
    assert_eq!(
        texts(store.merged([&a]).forward_from_start()),
        ["5", "Restarted", "8", "10"]
    );
    assert_eq!(gaps(&store, &a), []);
}

#[test]
fn the_log_of_another_container_cannot_be_read_again() {
    let mut store = LogStore::default();
    let a = source("a");
    store.opened(&a, false, false);
    let old = push(&mut store, &a, 1, "of the old one");
    store.opened(&a, false, true);
    let new = push(&mut store, &a, 9, "of the new one");
    assert_eq!(gaps(&store, &a), [(1, None, true), (9, None, false)]);
    assert!(!store.begin_fill(old, Filling::FromBelow));
    assert!(store.begin_fill(new, Filling::FromStart));
    fill(&mut store, new, &[(8, "8")]);
    store.end_fill(new.source(), whole(true));
    assert_eq!(gaps(&store, &a), [(1, None, true)]);
}

#[test]
fn what_is_cut_off_stays_missing() {
    let mut store = LogStore::default();
    let a = source("a");
    store.opened(&a, false, false);
    let ten = push(&mut store, &a, 10, "10");
    for filling in [Filling::FromBelow, Filling::FromStart] {
        assert!(store.begin_fill(ten, filling));
        assert!(!store.begin_fill(ten, filling), "one at a time");
        store.end_fill(ten.source(), None);
        assert_eq!(gaps(&store, &a), [(10, None, false)]);
    }
    assert!(store.begin_fill(ten, Filling::FromBelow));
    fill(&mut store, ten, &[(6, "6")]);
    store.end_fill(ten.source(), None);
    assert_eq!(gaps(&store, &a), [(6, None, false), (10, None, false)]);
}

#[test]
fn what_nobody_has_any_more_is_lost_and_not_asked_for_again() {
    let mut store = LogStore::new(4 << 10);
    let a = source("a");
    for n in 0..1000 {
        push(&mut store, &a, n, "some text that takes room");
    }
    let evicted = store.usage(&a).evicted;
    let first = store.merged([&a]).first().unwrap();
    assert!(store.begin_fill(first, Filling::FromBelow));
    store.end_fill(first.source(), whole(true));
    assert_eq!(gaps(&store, &a), [(first.at, Some(evicted), true)]);
    assert!(!store.begin_fill(first, Filling::FromBelow));
    assert_eq!(store.merged([&a]).gaps_above(first, 100).next(), None);
}

#[test]
fn lines_without_a_level_belong_to_the_one_before() {
    let mut store = LogStore::default();
    let a = source("a");
    for (n, text) in [
        "INFO starts",
        "ERROR failed",
        "  at main.rs:1",
        "INFO goes on",
    ]
    .into_iter()
    .enumerate()
    {
        push(&mut store, &a, n as i64, text);
    }
    let weights: Vec<(Option<Level>, bool)> = store
        .merged([&a])
        .forward_from_start()
        .filter_map(|entry| match entry.content {
            Content::Line { weight, .. } => Some((weight.level, weight.inherited)),
            Content::Mark(_) => None,
        })
        .collect();
    assert_eq!(
        weights,
        [
            (Some(Level::Info), false),
            (Some(Level::Error), false),
            (Some(Level::Error), true),
            (Some(Level::Info), false),
        ]
    );
}

#[test]
fn the_next_line_of_a_level_is_found_in_both_directions() {
    let mut store = LogStore::new(1 << 20);
    let [a, b] = ["a", "b"].map(source);
    for n in 0..20_000 {
        let text = if n % 7000 == 3000 {
            "ERROR x"
        } else {
            "INFO x"
        };
        push(&mut store, if n % 2 == 0 { &a } else { &b }, n, text);
    }
    let both = store.merged([&a, &b]);
    let mut found = Vec::new();
    let mut at = both.first();
    while let Some(next) = at.and_then(|at| both.next_of_level(at, Level::Error, true)) {
        found.push(next.at);
        at = Some(next);
    }
    assert_eq!(found, [3000, 10_000, 17_000]);
    let last = both.last().unwrap();
    let before = both.next_of_level(last, Level::Error, false).unwrap();
    assert_eq!(before.at, 17_000);
    let before = both.next_of_level(before, Level::Error, false).unwrap();
    assert_eq!(before.at, 10_000);
    assert_eq!(both.next_of_level(last, Level::Fatal, false), None);
}

#[test]
fn a_snapshot_is_what_was_held_then() {
    let mut store = LogStore::new(64 << 10);
    let [a, b] = ["a", "b"].map(source);
    for n in 0..500 {
        push(&mut store, &a, 2 * n, "a line of a");
        push(&mut store, &b, 2 * n + 1, "a line of b");
    }
    let snapshot = store.snapshot([&a, &b]);
    for n in 1000..5000 {
        push(&mut store, &a, n, "a line of a");
    }
    let mut found = Vec::new();
    snapshot.scan(
        |content| matches!(content, Content::Line { bytes, .. } if bytes.ends_with(b"a")),
        |hits, _| {
            found.extend(hits.into_iter().map(|id| id.at));
            ControlFlow::Continue(())
        },
    );
    assert!(found.first() > found.last(), "the newest block comes first");
    found.sort_unstable();
    assert_eq!(found, (0..500).map(|n| 2 * n).collect::<Vec<_>>());
}

#[test]
fn a_mark_that_is_ahead_does_not_make_one_block_of_all_that_comes_before_it() {
    let mut store = LogStore::new(64 << 10);
    let a = source("a");
    store.push_mark(&a, at(1 << 40), Mark::Recreated);
    for n in 0..5000 {
        push(&mut store, &a, n, "some text that takes room");
    }
    // A whole block goes at once; a sixteenth of the budget is one.
    assert!(store.held() > store.budget() / 2, "{}", store.held());
    let texts = texts(store.merged([&a]).forward_from_start());
    assert_eq!(texts.last().map(String::as_str), Some("Recreated"));
    assert_eq!(gaps(&store, &a).len(), 1);
}

#[test]
fn marks_that_came_before_the_log_was_opened_do_not_take_its_gap() {
    let mut store = LogStore::default();
    let a = source("a");
    store.push_mark(&a, at(1000), Mark::Resumed);
    store.opened(&a, false, false);
    let first = push(&mut store, &a, 10, "10");
    push(&mut store, &a, 20, "20");
    push(&mut store, &a, 2000, "2000");
    assert_eq!(gaps(&store, &a), [(10, None, false)]);
    assert!(store.begin_fill(first, Filling::FromBelow));
    fill(&mut store, first, &[(5, "5"), (10, "10")]);
    store.end_fill(first.source(), whole(true));
    assert_eq!(
        texts(store.merged([&a]).forward_from_start()),
        ["5", "10", "20", "Resumed", "2000"]
    );
}

#[test]
fn what_is_looked_at_does_not_go_while_others_have_something_to_give() {
    let mut store = LogStore::new(64 << 10);
    let all = ["seen", "b", "c", "d"].map(source);
    for n in 0..320 {
        for source in &all {
            push(&mut store, source, n, "some text that takes room");
        }
    }
    let [seen, others @ ..] = &all;
    let first = store.merged([seen]).first().unwrap();
    store.look_at(Some((first, [seen].into_iter())));
    for n in 320..400 {
        push(&mut store, seen, n, "some text that takes room");
    }
    assert!(store.holds(first));
    assert_eq!(store.usage(seen).evicted, 0);
    assert!(others.iter().any(|other| store.usage(other).evicted > 0));
    assert!(store.held() <= store.budget());
}

/// The places that have lines missing in front of them: their time, how many, and whether for
/// good.
fn gaps(store: &LogStore, source: &SourceId) -> Vec<(i64, Option<u64>, bool)> {
    store
        .merged([source])
        .forward_from_start()
        .filter_map(|entry| entry.gap.map(|gap| (entry.id.at, gap.lines, gap.lost)))
        .collect()
}

fn fill(store: &mut LogStore, before: LineId, lines: &[(i64, &str)]) {
    for (nanosecond, text) in lines {
        store.fill(
            before.source(),
            at(*nanosecond),
            Channel::Out,
            text.as_bytes(),
        );
    }
}

fn whole(reached_start: bool) -> Option<Filled> {
    Some(Filled {
        reached_start,
        complete: true,
    })
}

proptest! {
    /// Against the obvious model: all lines in one sorted list.
    #[test]
    fn the_merged_view_is_a_sorted_list(
        lines in proptest::collection::vec((0u8..4, 0i64..60, 0usize..60), 0..300),
        shown in proptest::collection::vec(0u8..4, 0..4),
        budget in prop_oneof![Just(1usize << 20), 500usize..6000],
    ) {
        let names = sources(&["a", "b", "c", "d"]);
        let mut store = LogStore::new(budget);
        let mut model: Vec<LineId> = Vec::new();
        for (source, nanosecond, len) in &lines {
            let source = &names[*source as usize];
            let text = "x".repeat(*len);
            if let Some(id) = store.push(source, at(*nanosecond), Channel::Out, text.as_bytes()) {
                prop_assert!(!model.contains(&id));
                model.push(id);
            }
            prop_assert!(store.held() <= budget);
        }
        model.sort();
        let held: usize = names.iter().map(|name| store.usage(name).bytes).sum();
        prop_assert_eq!(held, store.held());

        let shown: Vec<&SourceId> = shown.iter().map(|n| &names[*n as usize]).collect();
        let is_shown = |id: &LineId| store.get(*id).is_some_and(|e| shown.contains(&e.source));
        let expected: Vec<LineId> = model.iter().copied().filter(is_shown).collect();
        let merged = store.merged(shown.iter().copied());
        let forward: Vec<LineId> = merged.forward_from_start().map(|e| e.id).collect();
        prop_assert_eq!(&forward, &expected);
        let mut backward: Vec<LineId> = merged.backward_from_end().map(|e| e.id).collect();
        backward.reverse();
        prop_assert_eq!(&backward, &expected);
        prop_assert_eq!(merged.len(), expected.len());
        for (rank, id) in expected.iter().enumerate() {
            prop_assert_eq!(merged.rank(*id), rank);
            prop_assert_eq!(merged.nth(rank), Some(*id));
        }
        prop_assert_eq!(merged.nth(expected.len()), None);
        for id in &model {
            let place = expected.partition_point(|other| other < id);
            prop_assert_eq!(merged.rank(*id), place);
            let next = merged.forward(*id).next().map(|e| e.id);
            prop_assert_eq!(next, expected.get(place).copied());
            let previous = merged.backward(*id).next().map(|e| e.id);
            prop_assert_eq!(previous, place.checked_sub(1).map(|i| expected[i]));
        }
    }

    /// Against an engine that has the whole log: whatever was evicted and read again, every line
    /// has one id, stands at its place, and a gap says how many lines it is.
    #[test]
    fn what_is_put_back_is_what_was_there(
        steps in proptest::collection::vec(0i64..3, 1..200),
        budget in 600usize..4000,
        pieces in proptest::collection::vec((0u8..3, 0usize..200, 0usize..40, any::<bool>()), 0..20),
        opened_at in 0usize..100,
    ) {
        let a = source("a");
        let mut store = LogStore::new(budget);
        let mut now = 100;
        let log: Vec<(i64, String)> = steps
            .iter()
            .enumerate()
            .map(|(n, step)| {
                now += step;
                (now, format!("line {n}"))
            })
            .collect();
        // A tail begins with a whole group of equal times.
        let mut opened_at = opened_at.min(log.len() - 1);
        while opened_at > 0 && log[opened_at - 1].0 == log[opened_at].0 {
            opened_at -= 1;
        }
        store.opened(&a, opened_at == 0, false);
        for (nanosecond, text) in &log[opened_at..] {
            push(&mut store, &a, *nanosecond, text);
        }
        let ids: BTreeMap<String, LineId> = {
            let mut seen: Vec<(i64, u32)> = Vec::new();
            log.iter()
                .map(|(at, text)| {
                    let ordinal = seen.iter().filter(|(other, _)| other == at).count() as u32;
                    seen.push((*at, ordinal));
                    (text.clone(), LineId { at: *at, source: 0, ordinal })
                })
                .collect()
        };
        let check = |store: &LogStore| {
            let merged = store.merged([&a]);
            let mut next = 0;
            for entry in merged.forward_from_start() {
                let place = log.iter().position(|(_, line)| *line == text(&entry)).unwrap();
                assert_eq!(entry.id, ids[&log[place].1]);
                let missing = place - next;
                match entry.gap {
                    None => assert_eq!(missing, 0, "in front of {place}"),
                    Some(gap) => assert!(
                        gap.lines.is_none_or(|lines| lines == missing as u64),
                        "{gap:?} is {missing}"
                    ),
                }
                next = place + 1;
            }
            assert!(store.held() <= store.budget());
            assert_eq!(merged.len(), merged.forward_from_start().count());
        };
        check(&store);
        let read = |store: &mut LogStore, (kind, which, want, cut): (u8, usize, usize, bool)| {
            let open: Vec<LineId> = store
                .merged([&a])
                .forward_from_start()
                .filter(|entry| entry.gap.is_some())
                .map(|entry| entry.id)
                .collect();
            let Some(before) = open.get(which % open.len().max(1)).copied() else { return };
            let above = store.merged([&a]).backward(before).next().map(|entry| entry.id);
            let end = log.iter().rposition(|(at, _)| *at == before.at).unwrap() + 1;
            let begin = above.map_or(0, |above| log.partition_point(|(at, _)| *at < above.at));
            let group = |mut from: usize| {
                while from > 0 && log[from - 1].0 == log[from].0 {
                    from -= 1;
                }
                from
            };
            let (filling, from, to) = match kind {
                0 => (Filling::FromBelow, group(end.saturating_sub(want + 1)), end),
                1 if above.is_some() => (Filling::FromAbove, begin, end),
                1 => (Filling::FromStart, 0, end),
                _ => (Filling::Apart, group((begin + want).min(end - 1)), end),
            };
            store.look_at(Some((before, [&a].into_iter())));
            if !store.begin_fill(before, filling) {
                return;
            }
            let to = if cut { from + (to - from) / 2 } else { to };
            for (nanosecond, text) in &log[from..to] {
                store.fill(0, at(*nanosecond), Channel::Out, text.as_bytes());
            }
            let end = Filled { reached_start: from == 0, complete: true };
            store.end_fill(0, (!cut).then_some(end));
        };
        for piece in pieces {
            read(&mut store, piece);
            check(&store);
        }
        // With room enough everything comes back.
        store.budget = 1 << 20;
        let mut turns = 0;
        while let Some((place, _)) = store
            .merged([&a])
            .forward_from_start()
            .enumerate()
            .filter(|(_, entry)| entry.gap.is_some())
            .last()
        {
            let which = store.merged([&a]).forward_from_start().take(place).filter(|e| e.gap.is_some()).count();
            read(&mut store, (0, which, 30, false));
            turns += 1;
            prop_assert!(turns < 1000, "gaps: {:?}", gaps(&store, &a));
        }
        check(&store);
        let held: Vec<String> = texts(store.merged([&a]).forward_from_start());
        prop_assert_eq!(held, log.iter().map(|(_, text)| text.clone()).collect::<Vec<_>>());
    }
}
