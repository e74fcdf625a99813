//! Containers: list, inspect, statistics, stop and removal.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, ContainerMemoryStats, ContainerStatsResponse};
use bollard::query_parameters::{
    ListContainersOptions, RemoveContainerOptions, StatsOptions, StopContainerOptions,
};
use futures_util::StreamExt;
use http_body_util::BodyExt;

use super::explain::protocol;
use super::{DockerEngine, convert};
use crate::domain::container::Container;
use crate::domain::id::ContainerId;
use crate::domain::selector::Selector;
use crate::domain::stats::{ProcessorTime, Usage};
use crate::engine::{EngineError, ErrorKind, Inspect, Removal};

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

/// One sample, which the engine takes at once: without `one_shot` it waits for a second one.
pub(super) async fn usage(
    engine: &DockerEngine,
    id: &ContainerId,
) -> Result<Option<Usage>, EngineError> {
    let machine_memory = machine_memory(engine).await;
    let options = StatsOptions {
        stream: false,
        one_shot: true,
    };
    let answer = engine
        .bounded(async {
            let mut answers = engine.docker.stats(id.as_str(), Some(options));
            answers.next().await.transpose()
        })
        .await?;
    Ok(answer
        .filter(is_alive)
        .map(|stats| usage_of(&stats, machine_memory)))
}

/// Where nothing limits a container, the engine names the machine's memory as its limit. A proxy
/// before the engine may keep it to itself, and it is not asked twice.
async fn machine_memory(engine: &DockerEngine) -> Option<u64> {
    let ask = || async {
        match engine.bounded(engine.docker.info()).await {
            Ok(info) => Ok(info.mem_total.and_then(|bytes| u64::try_from(bytes).ok())),
            Err(error) if error.is_outage() => Err(error),
            Err(_) => Ok(None),
        }
    };
    let known = engine.machine_memory.get_or_try_init(ask).await;
    known.copied().unwrap_or_default()
}

/// Of a container that has ended the engine gives an empty sample.
fn is_alive(stats: &ContainerStatsResponse) -> bool {
    stats.read.as_deref().and_then(convert::moment).is_some()
}

fn usage_of(stats: &ContainerStatsResponse, machine_memory: Option<u64>) -> Usage {
    let memory = stats.memory_stats.as_ref();
    Usage {
        processor: processor_time(stats),
        memory: memory.map_or(0, used_memory),
        memory_limit: memory
            .and_then(|memory| memory.limit)
            .filter(|limit| machine_memory.is_none_or(|machine| *limit < machine)),
    }
}

fn processor_time(stats: &ContainerStatsResponse) -> Option<ProcessorTime> {
    let counters = stats.cpu_stats.as_ref()?;
    let used = counters.cpu_usage.as_ref()?;
    let cores = counters
        .online_cpus
        .filter(|cores| *cores > 0)
        .or_else(|| u32::try_from(used.percpu_usage.as_ref()?.len()).ok())
        .unwrap_or(1);
    Some(ProcessorTime {
        own: Duration::from_nanos(used.total_usage?),
        machine: Duration::from_nanos(counters.system_cpu_usage?),
        cores,
    })
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
    fn counters_are_nanoseconds() {
        let it = stats_of(json!({
            "cpu_stats": {
                "cpu_usage": {"total_usage": 3_000_000_000_u64},
                "system_cpu_usage": 9_000_000_000_u64,
                "online_cpus": 4,
            },
        }));
        let time = ProcessorTime {
            own: Duration::from_secs(3),
            machine: Duration::from_secs(9),
            cores: 4,
        };
        assert_eq!(usage_of(&it, None).processor, Some(time));
        assert_eq!(usage_of(&stats_of(json!({})), None).processor, None);
    }

    fn with_memory(memory: &serde_json::Value) -> Usage {
        usage_of(&stats_of(json!({"memory_stats": memory})), Some(1000))
    }

    #[test]
    fn cache_does_not_count_as_memory() {
        for key in ["inactive_file", "total_inactive_file"] {
            let it = with_memory(&json!({"usage": 100, "stats": {key: 40}}));
            assert_eq!(it.memory, 60);
        }
        let odd = with_memory(&json!({"usage": 10, "stats": {"inactive_file": 40}}));
        assert_eq!(odd.memory, 10);
    }

    #[test]
    fn a_limit_is_one_below_the_machines_memory() {
        let limit = |limit: u64| with_memory(&json!({"limit": limit})).memory_limit;
        assert_eq!(limit(999), Some(999));
        assert_eq!(limit(1000), None);
        assert_eq!(with_memory(&json!({})).memory_limit, None);
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
