//! Pieces of a log from a real daemon.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt};
use tackroom::domain::event::Action;
use tackroom::domain::id::ContainerId;
use tackroom::domain::line::LineBatch;
use tackroom::engine::Engine;
use tackroom::engine::contract::{Spec, World};
use tackroom::logs::{PageEvent, Piece, page};

use crate::world::{Corner, Extra, bounded};

/// The lines of a piece, and whether it begins with the log.
async fn read(engine: &Arc<dyn Engine>, id: &ContainerId, piece: Piece) -> (LineBatch, bool) {
    let events: Vec<PageEvent> = bounded(page(engine.clone(), id.clone(), piece).try_collect())
        .await
        .unwrap();
    let mut lines = LineBatch::default();
    let mut start = None;
    for event in &events {
        match event {
            PageEvent::Lines(batch) => lines.extend(batch.iter()),
            PageEvent::End { reached_start, .. } => start = Some(*reached_start),
        }
    }
    (lines, start.unwrap())
}

#[tokio::test]
async fn pages_back_to_the_start_are_the_whole_log() {
    const LINES: usize = 50_000;
    let Some(world) = Corner::made().await else {
        return;
    };
    let steps = [format!("many:{LINES}"), "exit:0".to_owned()].to_vec();
    let id = world
        .create_raw(steps, Spec::default(), Extra::default())
        .await;
    let engine = world.engine();
    let mut events = bounded(engine.events()).await.unwrap();
    world.start(&id).await;
    while let Some(event) = bounded(events.next()).await {
        let event = event.unwrap();
        if event.container == id && matches!(event.action, Action::Died { .. }) {
            break;
        }
    }
    let everything = Piece::Whole {
        before: jiff::Timestamp::MAX,
    };
    let (all, start) = read(&engine, &id, everything).await;
    assert!(start);
    let numbers = all.iter().map(|(.., bytes)| bytes.to_vec());
    assert!(numbers.eq((0..LINES).map(|number| number.to_string().into_bytes())));

    // From the newest back. What two pages have in common is of one timestamp.
    let mut before = all.get(LINES - 1).unwrap().0;
    let mut first = LINES;
    loop {
        let piece = Piece::Backward {
            before,
            records_after: (LINES - first) as u64,
            want: 5_000,
        };
        let (lines, start) = read(&engine, &id, piece).await;
        let oldest = lines.get(0).unwrap();
        let place = all.iter().position(|line| line == oldest).unwrap();
        assert!(lines.iter().eq(all.iter().skip(place).take(lines.len())));
        assert!(place + lines.len() >= first, "a hole before line {first}");
        assert!(place < first);
        first = place;
        before = oldest.0;
        if start {
            break;
        }
    }
    assert_eq!(first, 0);

    let (from, to) = (all.get(20_000).unwrap().0, all.get(30_000).unwrap().0);
    let between = Piece::Forward {
        after: from,
        before: Some(to),
        limit: usize::MAX,
    };
    let (lines, _) = read(&engine, &id, between).await;
    let wanted = all.iter().filter(|(at, ..)| (from..=to).contains(at));
    assert!(lines.iter().eq(wanted));
}
