//! What containers were made from, and what is wrong with them, on the real engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use bollard::models::HealthConfig;
use futures_util::{Stream, StreamExt};
use tackroom::domain::badge::{Badge, badges};
use tackroom::domain::container::{Container, Health, State};
use tackroom::domain::id::ContainerId;
use tackroom::domain::origins::Renamed;
use tackroom::domain::scope::{Placement, Scope};
use tackroom::engine::contract::{Spec, World};
use tackroom::engine::fake::Step;
use tackroom::engine::{complete, list_any};
use tackroom::watch::{WatchEvent, WatchOptions, watch};

use crate::world::{Corner, Extra, Gate, bounded};

async fn completed(world: &Corner) -> BTreeMap<ContainerId, Container> {
    let engine = world.engine();
    let mut containers = list_any(&*engine, [&world.selector()]).await.unwrap();
    complete(&*engine, &mut containers).await;
    containers
}

fn badges_of(container: &Container) -> Vec<Badge> {
    let now = container
        .detail
        .as_ref()
        .and_then(|detail| detail.started)
        .unwrap_or(container.created);
    badges(container, &Placement::Unclaimed, false, now)
}

async fn row(
    events: &mut (impl Stream<Item = WatchEvent> + Unpin),
    wanted: impl Fn(&Container) -> bool,
) {
    loop {
        if let WatchEvent::Containers(rows) = bounded(events.next()).await.unwrap()
            && rows.iter().any(&wanted)
        {
            return;
        }
    }
}

#[tokio::test]
async fn a_bind_source_that_is_removed_is_told_and_one_that_is_there_is_not() {
    let Some(world) = Corner::made().await else {
        return;
    };
    let host = tempfile::tempdir().unwrap();
    let bind = |name: &str| {
        let source = host.path().join(name);
        std::fs::create_dir(&source).unwrap();
        Extra {
            gate: Some(format!("{}:/gate", source.display())),
            ..Extra::default()
        }
    };
    let gone = world.create_with(Spec::default(), bind("gone")).await;
    let there = world.create_with(Spec::default(), bind("there")).await;
    let before = completed(&world).await;
    assert!(before[&gone].origins.is_whole());
    std::fs::remove_dir(host.path().join("gone")).unwrap();
    let after = completed(&world).await;
    let expected = host.path().join("gone").display().to_string();
    assert_eq!(after[&gone].origins.gone, [expected]);
    assert_eq!(badges_of(&after[&gone]), [Badge::BindSourceGone]);
    assert!(after[&there].origins.is_whole());
}

#[tokio::test]
async fn a_name_that_moves_on_leaves_a_stale_image_behind() {
    let Some(world) = Corner::made().await else {
        return;
    };
    let name = world.image_named("first").await;
    let extra = Extra {
        image: Some(name.clone()),
        ..Extra::default()
    };
    let id = world.create_with(Spec::default(), extra).await;
    let whole = completed(&world).await;
    assert_eq!(whole[&id].image, name);
    assert!(whole[&id].origins.is_whole());

    let scope = Scope {
        families: vec![world.selector()],
        ..Scope::default()
    };
    let options = WatchOptions {
        refresh: std::time::Duration::from_millis(100),
        ..WatchOptions::default()
    };
    let mut events = Box::pin(watch(world.engine(), Arc::new(scope), options));
    row(&mut events, |row| row.detail.is_some()).await;
    let second = world.image_named("second").await;
    assert_eq!(second, name);
    let now = world.engine().image_id(&name).await.unwrap().unwrap();
    assert_ne!(now, whole[&id].image_id);
    let moved = Some(Renamed::To(now));
    row(&mut events, |row| row.origins.image == moved).await;

    let stale = completed(&world).await;
    assert_eq!(stale[&id].image, stale[&id].image_id, "the list has its id");
    assert_eq!(stale[&id].image_name(), name);
    assert_eq!(stale[&id].origins.image, moved);
    assert_eq!(badges_of(&stale[&id]), [Badge::StaleImage]);

    world.forget_images().await;
    row(&mut events, |row| {
        row.origins.image == Some(Renamed::Nothing)
    })
    .await;
}

#[tokio::test]
async fn every_state_is_listed_under_its_own_word() {
    let Some(world) = Corner::made().await else {
        return;
    };
    let waiting = || Spec::script([Step::out("ready\n"), Step::UntilStopped, Step::Exit(0)]);
    let created = world.create(waiting()).await;
    let paused = world.create(waiting()).await;
    world.start(&paused).await;
    world.heard_of(&paused).await;
    world.pause(&paused).await;
    let exited = world.create(Spec::script([Step::Exit(3)])).await;
    let looping = Extra {
        restart_on_failure: Some(1000),
        ..Extra::default()
    };
    let looping = world
        .create_with(Spec::script([Step::Exit(1)]), looping)
        .await;
    for id in [&exited, &looping] {
        world.start(id).await;
    }
    let all = bounded(async {
        loop {
            let all = completed(&world).await;
            let has = |id: &ContainerId, state| all[id].state == state;
            let restarts = |id: &ContainerId| {
                let detail = all[id].detail.as_ref();
                detail.is_some_and(|detail| detail.restart_count > 1)
            };
            if has(&exited, State::Exited) && has(&looping, State::Restarting) && restarts(&looping)
            {
                return all;
            }
        }
    })
    .await;
    let shown = |id: &ContainerId| (all[id].word(), badges_of(&all[id]));
    assert_eq!(shown(&created), ("created".to_owned(), vec![]));
    assert_eq!(shown(&paused), ("paused".to_owned(), vec![]));
    assert_eq!(shown(&exited), ("exit 3".to_owned(), vec![]));
    let restarting = ("restarting".to_owned(), vec![Badge::RestartLoop]);
    assert_eq!(shown(&looping), restarting);
}

#[tokio::test]
async fn memory_that_ran_out_and_a_failed_check_have_their_badge_and_words() {
    let Some(world) = Corner::made().await else {
        return;
    };
    let gate = Gate::shut();
    let small = Extra {
        memory: Some(16 << 20),
        gate: Some(gate.mount()),
        ..Extra::default()
    };
    let steps = ["eat", "gate", "exit:137"].map(str::to_owned).to_vec();
    let eaten = world.create_raw(steps, Spec::default(), small).await;
    let check = ["CMD", "/fixture", "out:no route to the store\n", "exit:1"];
    let sick = Extra {
        health: Some(HealthConfig {
            test: Some(check.map(str::to_owned).to_vec()),
            interval: Some(1_000_000_000),
            retries: Some(1),
            ..HealthConfig::default()
        }),
        ..Extra::default()
    };
    let sick = world
        .create_with(Spec::script([Step::UntilStopped]), sick)
        .await;
    for id in [&eaten, &sick] {
        world.start(id).await;
    }
    world.has_run_out_of_memory(&eaten).await;
    gate.open().await;
    let all = bounded(async {
        loop {
            let all = completed(&world).await;
            let ended = all[&eaten].state == State::Exited;
            if ended && all[&sick].health == Some(Health::Unhealthy) {
                return all;
            }
        }
    })
    .await;
    assert_eq!(badges_of(&all[&eaten]), [Badge::OutOfMemory]);
    let words = all[&sick].detail.as_ref().unwrap().health_output.as_deref();
    assert_eq!(words, Some("no route to the store"));
}
