//! Containers: list, inspect, statistics, stop and removal.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, ContainerMemoryStats, ContainerStatsResponse};
use bollard::query_parameters::{
    ListContainersOptions, RemoveContainerOptions, StatsOptions, StopContainerOptions,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use http_body_util::BodyExt;

use super::explain::{explain, protocol};
use super::{DockerEngine, convert};
use crate::domain::container::Container;
use crate::domain::id::ContainerId;
use crate::domain::selector::Selector;
use crate::domain::stats::Sample;
use crate::engine::{EngineError, ErrorKind, Inspect, Removal, Stream};

/// How much longer than other requests a removal may take: the engine deletes the container's
/// files before it answers.
const REMOVAL_PATIENCE: Duration = Duration::from_secs(60);

/// The `label` filters for a selector. The engine wants ALL of several to match.
pub(super) fn label_filter(selector: &Selector) -> HashMap<String, Vec<String>> {
    let conditions = selector.conditions().map(ToString::to_string).collect();
    HashMap::from([("label".to_owned(), conditions)])
}

pub(super) async fn list(
    engine: &DockerEngine,
    selector: &Selector,
) -> Result<Vec<Container>, EngineError> {
    let options = ListContainersOptions {
        all: true,
        filters: Some(label_filter(selector)),
        ..ListContainersOptions::default()
    };
    let listed = engine
        .bounded(engine.docker.list_containers(Some(options)))
        .await?;
    Ok(listed
        .into_iter()
        .filter_map(convert::container)
        .filter(|container| selector.matches(&container.labels))
        .collect())
}

pub(super) async fn inspect(
    engine: &DockerEngine,
    id: &ContainerId,
) -> Result<Inspect, EngineError> {
    // Not through bollard, which keeps only the fields that it knows of the answer.
    let path = format!("/containers/{id}/json");
    let body = engine
        .bounded(async {
            let response = engine.transport.get(&path).await?;
            Ok(response.into_body().collect().await?.to_bytes())
        })
        .await?;
    let misread = |error: &str| protocol(engine.transport.endpoint(), error);
    let raw: serde_json::Value =
        serde_json::from_slice(&body).map_err(|error| misread(&error.to_string()))?;
    let known: ContainerInspectResponse =
        serde_json::from_value(raw.clone()).map_err(|error| misread(&error.to_string()))?;
    convert::inspect(known, raw).ok_or_else(|| misread("a container without an id"))
}

pub(super) async fn stop(
    engine: &DockerEngine,
    id: &ContainerId,
    grace: Duration,
) -> Result<(), EngineError> {
    let options = StopContainerOptions {
        signal: None,
        t: Some(whole_seconds(grace)),
    };
    let patient = engine.patient(grace.saturating_add(Duration::from_secs(1)))?;
    patient
        .bounded(patient.docker.stop_container(id.as_str(), Some(options)))
        .await
}

pub(super) async fn remove(
    engine: &DockerEngine,
    id: &ContainerId,
) -> Result<Removal, EngineError> {
    let options = RemoveContainerOptions {
        v: true,
        force: true,
        link: false,
    };
    let patient = engine.patient(REMOVAL_PATIENCE)?;
    let answer = patient
        .bounded(patient.docker.remove_container(id.as_str(), Some(options)))
        .await;
    removal(answer)
}

/// What an answer to a removal means: the aim is reached if the object was gone already.
pub(super) fn removal(answer: Result<(), EngineError>) -> Result<Removal, EngineError> {
    match answer {
        Ok(()) => Ok(Removal::Removed),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(Removal::Gone),
        Err(error)
            if error.kind == ErrorKind::Conflict
                && error.message.contains("already in progress") =>
        {
            Ok(Removal::Gone)
        }
        Err(error) => Err(error),
    }
}

/// Rounded up: a grace of half a second must not become none.
fn whole_seconds(grace: Duration) -> i32 {
    let begun = u64::from(grace.subsec_nanos() > 0);
    i32::try_from(grace.as_secs().saturating_add(begun)).unwrap_or(i32::MAX)
}

pub(super) fn stats(engine: &DockerEngine, id: &ContainerId) -> Stream<Sample> {
    let engine = engine.clone();
    let id = id.clone();
    stream::once(async move {
        // Where nothing limits a container, the samples name the machine's memory as its limit.
        let limited = memory_limited(&inspect(&engine, &id).await?.raw);
        let options = StatsOptions {
            stream: true,
            one_shot: false,
        };
        let transport = engine.transport.clone();
        let samples = engine
            .docker
            .stats(id.as_str(), Some(options))
            .map_err(move |error| explain(&transport, error));
        Ok(samples
            .try_take_while(|sample| std::future::ready(Ok(is_alive(sample))))
            .map_ok(move |sample| self::sample(&sample, limited)))
    })
    .try_flatten()
    .boxed()
}

fn memory_limited(inspected: &serde_json::Value) -> bool {
    inspected
        .pointer("/HostConfig/Memory")
        .and_then(serde_json::Value::as_i64)
        .is_some_and(|bytes| bytes > 0)
}

/// Once a container has ended the engine goes on with empty samples.
fn is_alive(sample: &ContainerStatsResponse) -> bool {
    sample.read.as_deref().and_then(convert::moment).is_some()
}

fn sample(stats: &ContainerStatsResponse, limited: bool) -> Sample {
    let memory = stats.memory_stats.as_ref();
    Sample {
        cpu_percent: cpu_percent(stats),
        memory: memory.map_or(0, used_memory),
        memory_limit: memory.and_then(|memory| memory.limit).filter(|_| limited),
    }
}

/// The container's share of the machine's processor time between two samples, times the number
/// of cores: what `docker stats` prints.
fn cpu_percent(stats: &ContainerStatsResponse) -> Option<f64> {
    let now = stats.cpu_stats.as_ref()?;
    let before = stats.precpu_stats.as_ref()?;
    let machine_before = before.system_cpu_usage.filter(|usage| *usage > 0)?;
    let machine = now.system_cpu_usage?.checked_sub(machine_before)?;
    let usage = now.cpu_usage.as_ref()?;
    let own = usage
        .total_usage?
        .saturating_sub(before.cpu_usage.as_ref()?.total_usage?);
    if machine == 0 {
        return None;
    }
    let cores = now
        .online_cpus
        .filter(|cores| *cores > 0)
        .map(f64::from)
        .or_else(|| Some(usage.percpu_usage.as_ref()?.len() as f64))
        .unwrap_or(1.0);
    Some(own as f64 / machine as f64 * cores * 100.0)
}

/// Memory without the page cache that the kernel would give back at once: what `docker stats`
/// prints for control groups of version 1 (`total_inactive_file`) and 2 (`inactive_file`).
fn used_memory(memory: &ContainerMemoryStats) -> u64 {
    let usage = memory.usage.unwrap_or_default();
    let cache = memory.stats.as_ref().and_then(|stats| {
        ["total_inactive_file", "inactive_file"]
            .iter()
            .find_map(|key| stats.get(*key).copied())
    });
    cache
        .and_then(|cache| usage.checked_sub(cache))
        .unwrap_or(usage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn stats_of(value: serde_json::Value) -> ContainerStatsResponse {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn load_is_counted_in_percent_of_one_core() {
        let two_busy_of_four = stats_of(json!({
            "cpu_stats": {
                "cpu_usage": {"total_usage": 3_000}, "system_cpu_usage": 9_000, "online_cpus": 4,
            },
            "precpu_stats": {"cpu_usage": {"total_usage": 1_000}, "system_cpu_usage": 5_000},
        }));
        assert_eq!(cpu_percent(&two_busy_of_four), Some(200.0));
    }

    #[test]
    fn the_first_sample_has_no_load() {
        let first = stats_of(json!({
            "cpu_stats": {
                "cpu_usage": {"total_usage": 3_000}, "system_cpu_usage": 9_000, "online_cpus": 4,
            },
            "precpu_stats": {"cpu_usage": {"total_usage": 0}},
        }));
        assert_eq!(cpu_percent(&first), None);
        assert_eq!(cpu_percent(&stats_of(json!({}))), None);
    }

    #[test]
    fn cache_does_not_count_as_memory() {
        for key in ["inactive_file", "total_inactive_file"] {
            let it = stats_of(json!({
                "memory_stats": {"usage": 100, "limit": 500, "stats": {key: 40}},
            }));
            assert_eq!(sample(&it, true).memory, 60);
            assert_eq!(sample(&it, true).memory_limit, Some(500));
            assert_eq!(sample(&it, false).memory_limit, None);
        }
        let odd = stats_of(json!({"memory_stats": {"usage": 10, "stats": {"inactive_file": 40}}}));
        assert_eq!(sample(&odd, true).memory, 10);
    }

    #[test]
    fn a_limit_is_one_that_was_set() {
        assert!(memory_limited(&json!({"HostConfig": {"Memory": 1024}})));
        assert!(!memory_limited(&json!({"HostConfig": {"Memory": 0}})));
        assert!(!memory_limited(&json!({})));
    }

    #[test]
    fn a_grace_is_rounded_up() {
        assert_eq!(whole_seconds(Duration::ZERO), 0);
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_secs(10)), 10);
        assert_eq!(whole_seconds(Duration::MAX), i32::MAX);
    }

    #[test]
    fn a_removal_that_somebody_else_began_has_reached_its_aim() {
        let conflict = |words: &str| Err(EngineError::new(ErrorKind::Conflict, words));
        let busy = "removal of container c1 is already in progress";
        assert_eq!(removal(conflict(busy)), Ok(Removal::Gone));
        assert!(removal(conflict("volume is in use")).is_err());
        let gone = Err(EngineError::new(ErrorKind::NotFound, "no such container"));
        assert_eq!(removal(gone), Ok(Removal::Gone));
        assert_eq!(removal(Ok(())), Ok(Removal::Removed));
    }
}
