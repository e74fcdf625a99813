//! The watcher, and what else only a real daemon can show.

use std::sync::Arc;
use std::time::Duration;

use bollard::models::HealthConfig;
use futures_util::StreamExt;
use tackroom::domain::container::{Health, State};
use tackroom::domain::event::Action;
use tackroom::domain::scope::Scope;
use tackroom::domain::stats::Usage;
use tackroom::engine::ErrorKind;
use tackroom::engine::contract::{Spec, World};
use tackroom::engine::fake::Step;
use tackroom::watch::{WatchEvent, WatchOptions, watch};

use crate::world::{Corner, Extra, bounded};

#[tokio::test]
async fn a_scope_is_watched_through_the_life_of_its_containers() {
    let Some(world) = Corner::made().await else {
        return;
    };
    let scope = Scope {
        families: vec![world.selector()],
        ..Scope::default()
    };
    let mut events = Box::pin(watch(
        world.engine(),
        Arc::new(scope),
        WatchOptions::default(),
    ));
    let mut next = async || bounded(events.next()).await.unwrap();
    while next().await != WatchEvent::Containers(Arc::new([])) {}

    let id = world
        .create(Spec::script([
            Step::out("ready\n"),
            Step::UntilStopped,
            Step::Exit(4),
        ]))
        .await;
    world.start(&id).await;
    let mut actions = Vec::new();
    let mut up = false;
    while !up || actions.len() < 2 {
        match next().await {
            WatchEvent::Engine(event) => actions.push(event.action),
            WatchEvent::Containers(rows) => {
                up = rows.iter().any(|row| {
                    let detail = row.detail.as_ref();
                    row.state == State::Running
                        && detail.is_some_and(|detail| detail.started.is_some())
                });
            }
            WatchEvent::Link(_) => {}
        }
    }
    assert_eq!(actions, [Action::Created, Action::Started]);

    world.heard_of(&id).await;
    bounded(world.engine().stop(&id, Duration::from_secs(30)))
        .await
        .unwrap();
    loop {
        if let WatchEvent::Containers(rows) = next().await
            && rows[0].detail.as_ref().and_then(|detail| detail.exit_code) == Some(4)
        {
            break;
        }
    }
    bounded(world.engine().remove_container(&id)).await.unwrap();
    while next().await != WatchEvent::Containers(Arc::new([])) {}
}

#[tokio::test]
async fn health_is_told_and_its_checks_processes_are_not() {
    let Some(world) = Corner::made().await else {
        return;
    };
    let mut events = bounded(world.engine().events()).await.unwrap();
    let extra = Extra {
        health: Some(HealthConfig {
            test: Some(
                ["CMD", "/fixture", "out:  all is well\n"]
                    .map(str::to_owned)
                    .to_vec(),
            ),
            interval: Some(1_000_000_000),
            ..HealthConfig::default()
        }),
        ..Extra::default()
    };
    let id = world
        .create_with(Spec::script([Step::UntilStopped]), extra)
        .await;
    world.start(&id).await;
    let mut actions = Vec::new();
    while actions.last() != Some(&Action::Health("healthy".to_owned())) {
        let event = bounded(events.next()).await.unwrap().unwrap();
        if event.container == id {
            actions.push(event.action);
        }
    }
    let healthy = Action::Health("healthy".to_owned());
    assert_eq!(actions, [Action::Created, Action::Started, healthy]);
    let engine = world.engine();
    let inspect = engine.inspect(&id).await.unwrap();
    assert_eq!(inspect.container.health, Some(Health::Healthy));
    assert_eq!(
        inspect.detail().health_output.as_deref(),
        Some("all is well")
    );
    let listed = engine.list(&world.selector()).await.unwrap();
    assert_eq!(listed[0].health, Some(Health::Healthy));
}

#[tokio::test]
async fn statistics_count_a_busy_core_and_end_with_the_container() {
    let Some(world) = Corner::made().await else {
        return;
    };
    let engine = world.engine();
    let extra = Extra {
        memory: Some(64 << 20),
        ..Extra::default()
    };
    let burn = vec!["burn".to_owned()];
    let id = world.create_raw(burn, Spec::default(), extra).await;
    world.start(&id).await;
    let usage = async || bounded(engine.usage(&id)).await.unwrap();
    let first = usage().await.unwrap();
    // However busy the machine is, the container gets some of one core and no more than that.
    let busy = async {
        loop {
            let now = usage().await.unwrap();
            let own = |usage: &Usage| usage.processor.unwrap().own;
            if own(&now) >= own(&first) + Duration::from_millis(1500) {
                return now;
            }
        }
    };
    let second = bounded(busy).await;
    let sample = second.since(Some(&first));
    let load = sample.cpu_percent.unwrap();
    assert!((1.0..=150.0).contains(&load), "{load}");
    assert!((1..64 << 20).contains(&sample.memory), "{sample:?}");
    assert_eq!(sample.memory_limit, Some(64 << 20));
    bounded(engine.stop(&id, Duration::from_secs(30)))
        .await
        .unwrap();
    assert_eq!(usage().await, None);
    bounded(engine.remove_container(&id)).await.unwrap();
    let error = bounded(engine.usage(&id)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
}

#[tokio::test]
async fn many_subscriptions_miss_nothing_that_follows_at_once() {
    let Some(world) = Corner::made().await else {
        return;
    };
    for _ in 0..20 {
        let mut events = bounded(world.engine().events()).await.unwrap();
        let id = world.create(Spec::default()).await;
        bounded(async { while events.next().await.unwrap().unwrap().container != id {} }).await;
    }
}
