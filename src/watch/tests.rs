//! The watcher on the fake engine, on paused time.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use tokio::time::{Instant, timeout};

use super::{WatchEvent, WatchOptions, watch};
use crate::domain::container::{Container, Health, MountKind, State};
use crate::domain::event::Action;
use crate::domain::link::Link;
use crate::domain::origins::Renamed;
use crate::domain::scope::Scope;
use crate::domain::selector::Selector;
use crate::engine::fake::{Call, FakeContainer, FakeEngine, Operation};
use crate::engine::{EngineError, ErrorKind};

type Watched = Pin<Box<dyn Stream<Item = WatchEvent> + Send>>;

fn scope() -> Arc<Scope> {
    let selector = Selector::from_conditions(["family=1".parse().unwrap()]).unwrap();
    Arc::new(Scope {
        families: vec![selector],
        ..Scope::default()
    })
}

fn watched(engine: &FakeEngine) -> Watched {
    let engine = Arc::new(engine.clone());
    Box::pin(watch(engine, scope(), WatchOptions::default()))
}

fn member(name: &str) -> FakeContainer {
    FakeContainer::new(name).label("family", "1")
}

async fn next(events: &mut Watched) -> WatchEvent {
    timeout(Duration::from_secs(120), events.next())
        .await
        .expect("nothing is told any more")
        .unwrap()
}

async fn rows(events: &mut Watched) -> Arc<[Container]> {
    loop {
        if let WatchEvent::Containers(rows) = next(events).await {
            return rows;
        }
    }
}

/// Reads until the rows are as wanted.
async fn rows_where(events: &mut Watched, wanted: impl Fn(&[Container]) -> bool) {
    while !wanted(&rows(events).await) {}
}

async fn link(events: &mut Watched) -> Link {
    loop {
        if let WatchEvent::Link(link) = next(events).await {
            return link;
        }
    }
}

/// Nothing more is told for that long.
async fn quiet(events: &mut Watched, time: Duration) {
    if let Ok(event) = timeout(time, events.next()).await {
        panic!("told without need: {event:?}");
    }
}

fn detailed(rows: &[Container]) -> bool {
    rows.iter().all(|row| row.detail.is_some())
}

fn lists(engine: &FakeEngine) -> usize {
    let calls = engine.calls();
    calls
        .iter()
        .filter(|call| matches!(call, Call::List(_)))
        .count()
}

fn inspects(engine: &FakeEngine) -> usize {
    let calls = engine.calls();
    calls
        .iter()
        .filter(|call| matches!(call, Call::Inspect(_)))
        .count()
}

fn refused() -> EngineError {
    EngineError::new(ErrorKind::Unreachable, "connection refused").hinted("start the engine")
}

#[tokio::test(start_paused = true)]
async fn rows_come_before_any_inspect_and_details_after() {
    let engine = FakeEngine::new();
    engine.run(member("a"));
    engine.run(FakeContainer::new("stranger"));
    let mut events = watched(&engine);
    let first = rows(&mut events).await;
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].detail, None);
    rows_where(&mut events, detailed).await;
    quiet(&mut events, Duration::from_secs(20)).await;

    engine.hang(Operation::Inspect);
    let began = Instant::now();
    rows(&mut watched(&engine)).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_list_that_counts_comes_after_the_subscription() {
    let engine = FakeEngine::new();
    let mut events = watched(&engine);
    rows(&mut events).await;
    engine.run(member("late"));
    rows_where(&mut events, |rows| rows.len() == 1).await;
    let calls = engine.calls();
    let subscribed = calls.iter().position(|call| *call == Call::Events).unwrap();
    assert!(
        calls[subscribed..]
            .iter()
            .any(|call| matches!(call, Call::List(_)))
    );
}

#[tokio::test(start_paused = true)]
async fn an_empty_scope_is_told_as_empty() {
    let mut events = watched(&FakeEngine::new());
    assert_eq!(rows(&mut events).await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn events_of_the_scope_are_told_and_change_rows() {
    let engine = FakeEngine::new();
    let id = engine.run(member("a"));
    let stranger = engine.run(FakeContainer::new("stranger"));
    let mut events = watched(&engine);
    rows_where(&mut events, detailed).await;
    engine.die(&stranger, 1);
    engine.die(&id, 137);
    let WatchEvent::Engine(event) = next(&mut events).await else {
        panic!("the event comes first");
    };
    assert_eq!(event.container, id);
    assert_eq!(
        event.action,
        Action::Died {
            exit_code: Some(137)
        }
    );
    rows_where(&mut events, |rows| {
        let detail = rows[0].detail.as_ref().unwrap();
        rows[0].state == State::Exited && detail.exit_code == Some(137)
    })
    .await;
    quiet(&mut events, Duration::from_secs(20)).await;
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_events_is_one_list_each_half_second() {
    let engine = FakeEngine::new();
    let id = engine.run(member("a"));
    let mut events = watched(&engine);
    rows_where(&mut events, detailed).await;
    let before = lists(&engine);
    let storm = async {
        for _ in 0..200 {
            engine.restart(&id, 0);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let reader = async { while events.next().await.is_some() {} };
    tokio::select! {
        () = storm => {}
        () = reader => unreachable!(),
    }
    // Four seconds without a pause of 50 ms. An event at the very moment of a list may fall to
    // either side of it.
    let lists = lists(&engine) - before;
    assert!((7..=8).contains(&lists), "{lists}");
}

#[tokio::test(start_paused = true)]
async fn an_inspect_is_made_once_per_change() {
    let engine = FakeEngine::new();
    let id = engine.run(member("a"));
    engine.run(member("b"));
    let mut events = watched(&engine);
    rows_where(&mut events, detailed).await;
    assert_eq!(inspects(&engine), 2);
    quiet(&mut events, Duration::from_secs(100)).await;
    assert_eq!(inspects(&engine), 2, "periodic lists inspect nothing");
    engine.restart(&id, 0);
    while inspects(&engine) < 3 {
        next(&mut events).await;
    }
    let calls = engine.calls();
    assert_eq!(
        calls.iter().rfind(|call| matches!(call, Call::Inspect(_))),
        Some(&Call::Inspect(id))
    );
}

#[tokio::test(start_paused = true)]
async fn a_missed_event_costs_half_a_minute_at_most() {
    let engine = FakeEngine::new();
    let id = engine.run(member("a"));
    let mut events = watched(&engine);
    rows_where(&mut events, detailed).await;
    let began = Instant::now();
    engine.swallow_next_event();
    engine.die(&id, 0);
    rows_where(&mut events, |rows| rows[0].state == State::Exited).await;
    assert!(began.elapsed() <= Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_told_at_once_and_heals_by_itself() {
    let engine = FakeEngine::new();
    engine.run(member("a"));
    let mut events = watched(&engine);
    rows_where(&mut events, detailed).await;
    let began = Instant::now();
    engine.break_down(refused());
    let Link::Lost {
        since,
        cause,
        retry_in,
    } = link(&mut events).await
    else {
        panic!("it is lost");
    };
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(cause, "connection refused; start the engine");
    assert_eq!(retry_in, Duration::from_millis(500));
    for wait in [1_000, 2_000, 4_000, 8_000, 10_000, 10_000] {
        let again = link(&mut events).await;
        let expected = Link::Lost {
            since,
            cause: cause.clone(),
            retry_in: Duration::from_millis(wait),
        };
        assert_eq!(again, expected);
    }
    engine.heal();
    engine.run(member("b"));
    let healed = Instant::now();
    assert!(matches!(link(&mut events).await, Link::Up(_)));
    assert!(
        healed.elapsed() <= Duration::from_secs(10),
        "a cap and no floor"
    );
    rows_where(&mut events, |rows| rows.len() == 2 && detailed(rows)).await;
    engine.break_down(refused());
    let Link::Lost { retry_in, .. } = link(&mut events).await else {
        panic!("it is lost again");
    };
    assert_eq!(retry_in, Duration::from_millis(500), "it starts over");
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_down_at_first_is_an_outage_too() {
    let engine = FakeEngine::new();
    engine.break_down(refused());
    let mut events = watched(&engine);
    assert!(matches!(
        next(&mut events).await,
        WatchEvent::Link(Link::Lost { .. })
    ));
    engine.heal();
    assert_eq!(rows(&mut events).await.len(), 0);
    assert!(matches!(
        next(&mut events).await,
        WatchEvent::Link(Link::Up(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_answers_and_lets_no_one_subscribe_is_lost() {
    let engine = FakeEngine::new();
    engine.fail(Operation::Events, refused());
    let mut events = watched(&engine);
    for wait in [500, 1_000, 2_000] {
        let Link::Lost { retry_in, .. } = link(&mut events).await else {
            panic!("reaching it is not enough");
        };
        assert_eq!(retry_in.as_millis(), wait);
    }
}

#[tokio::test(start_paused = true)]
async fn a_hanging_list_is_an_outage() {
    let engine = FakeEngine::new();
    let id = engine.run(member("a"));
    let mut events = watched(&engine);
    rows_where(&mut events, detailed).await;
    engine.hang(Operation::List);
    engine.die(&id, 0);
    let Link::Lost { cause, .. } = link(&mut events).await else {
        panic!("it is lost");
    };
    assert!(cause.contains("no answer"), "{cause}");
}

#[tokio::test(start_paused = true)]
async fn one_container_that_cannot_be_inspected_hides_nothing() {
    let engine = FakeEngine::new();
    let bad = engine.run(member("bad"));
    engine.run(member("good"));
    let odd = EngineError::new(ErrorKind::Engine, "odd");
    engine.fail_on(Operation::Inspect, bad.as_str(), odd);
    let mut events = watched(&engine);
    rows_where(&mut events, |rows| rows[1].detail.is_some()).await;
    quiet(&mut events, Duration::from_secs(20)).await;
    assert_eq!(inspects(&engine), 2);
}

#[tokio::test(start_paused = true)]
async fn one_container_whose_inspect_hangs_is_no_outage() {
    let engine = FakeEngine::new();
    let stuck = engine.run(member("a-stuck"));
    let other = engine.run(member("b-other"));
    engine.hang_on(Operation::Inspect, stuck.as_str());
    let mut events = watched(&engine);
    rows_where(&mut events, |rows| rows[1].detail.is_some()).await;
    quiet(&mut events, Duration::from_secs(100)).await;
    engine.die(&other, 3);
    rows_where(&mut events, |rows| rows[1].state == State::Exited).await;
    // What touches the container is a reason to ask again.
    engine.heal();
    engine.set_health(&stuck, Health::Healthy, "");
    rows_where(&mut events, detailed).await;
}

#[tokio::test(start_paused = true)]
async fn what_containers_were_made_from_is_looked_at_without_events() {
    let engine = FakeEngine::new();
    let bound =
        member("a")
            .image("engine:dev", "sha256:11")
            .mount(MountKind::Bind, "/tmp/state", "/state");
    let id = engine.run(bound);
    let mut events = watched(&engine);
    rows_where(&mut events, detailed).await;
    quiet(&mut events, Duration::from_secs(20)).await;

    let began = Instant::now();
    engine.tag("engine:dev", "sha256:22");
    engine.lose("/tmp/state");
    rows_where(&mut events, |rows| {
        rows[0].origins.image == Some(Renamed::To("sha256:22".to_owned()))
            && rows[0].origins.gone == ["/tmp/state"]
    })
    .await;
    assert!(began.elapsed() <= Duration::from_secs(30));
    quiet(&mut events, Duration::from_secs(100)).await;

    // What happens to the container may be that somebody mended it.
    let began = Instant::now();
    engine.restore("/tmp/state");
    engine.restart(&id, 0);
    rows_where(&mut events, |rows| rows[0].origins.gone.is_empty()).await;
    assert!(began.elapsed() <= Duration::from_secs(1));
    engine.recreate(&id);
    rows_where(&mut events, |rows| {
        rows[0].origins.is_whole() && detailed(rows)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_look_at_origins_that_hangs_holds_nothing_up() {
    let engine = FakeEngine::new();
    let id = engine.run(member("a").mount(MountKind::Bind, "/dead/nfs", "/state"));
    engine.hang(Operation::Missing);
    let mut events = watched(&engine);
    rows_where(&mut events, detailed).await;
    let began = Instant::now();
    engine.die(&id, 3);
    rows_where(&mut events, |rows| rows[0].exit_code() == Some(3)).await;
    assert!(began.elapsed() < Duration::from_secs(1));
    let lost = timeout(Duration::from_secs(100), link(&mut events)).await;
    assert!(lost.is_err(), "it is no outage: {lost:?}");
}
