//! The engine's shapes into ours. Nothing in an answer is trusted to be there or to be sane: a
//! container with an odd field is still a container.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    ContainerInspectResponse, ContainerState, ContainerSummary, EventMessage, HostConfigLogConfig,
    MountPoint, PortSummary,
};
use jiff::Timestamp;

use crate::domain::container::{Container, Detail, Health, Mount, MountKind, Port, State};
use crate::domain::event::{Action, EngineEvent};
use crate::domain::id::ContainerId;
use crate::domain::label::Labels;
use crate::domain::origins::Origins;
use crate::engine::Inspect;

/// What the engine mixes into a container's labels to describe an event.
const EVENT_ATTRIBUTES: [&str; 8] = [
    "name",
    "image",
    "exitCode",
    "signal",
    "oldName",
    "execID",
    "execDuration",
    "podId",
];

/// `None` for an entry without an id, which nothing could be done with.
pub(super) fn container(summary: ContainerSummary) -> Option<Container> {
    let status = summary.status.unwrap_or_default();
    let health = summary
        .health
        .and_then(|health| health.status)
        .and_then(|status| Health::parse(status.as_ref()))
        .or_else(|| health_in(&status));
    Some(Container {
        id: ContainerId::new(summary.id?),
        name: own_name(&summary.names.unwrap_or_default()),
        image: summary.image.unwrap_or_default(),
        image_id: summary.image_id.unwrap_or_default(),
        state: summary
            .state
            .map_or(State::Unknown, |state| State::parse(state.as_ref())),
        health,
        status,
        created: summary.created.map_or(Timestamp::UNIX_EPOCH, seconds),
        labels: labels(summary.labels),
        ports: ports(summary.ports.unwrap_or_default()),
        mounts: mounts(summary.mounts.unwrap_or_default()),
        detail: None,
        origins: Origins::default(),
    })
}

pub(super) fn inspect(answer: ContainerInspectResponse, raw: serde_json::Value) -> Option<Inspect> {
    let config = answer.config.unwrap_or_default();
    let host = answer.host_config.unwrap_or_default();
    let network = answer.network_settings.unwrap_or_default();
    let state = answer.state.unwrap_or_default();
    let health = state
        .health
        .as_ref()
        .and_then(|health| health.status)
        .and_then(|status| Health::parse(status.as_ref()));
    let life = state
        .status
        .map_or(State::Unknown, |status| State::parse(status.as_ref()));
    let detail = Detail {
        image_name: config.image.clone().filter(|name| !name.is_empty()),
        tty: config.tty.unwrap_or_default(),
        log_rotates: host.log_config.as_ref().is_some_and(rotates),
        restart_count: u64::try_from(answer.restart_count.unwrap_or_default()).unwrap_or_default(),
        ..detail(&state, life)
    };
    let container = Container {
        id: ContainerId::new(answer.id?),
        name: bare(&answer.name.unwrap_or_default()),
        image: config.image.clone().unwrap_or_default(),
        image_id: answer.image.unwrap_or_default(),
        state: life,
        health,
        status: life.word().to_owned(),
        created: answer
            .created
            .as_deref()
            .and_then(moment)
            .unwrap_or(Timestamp::UNIX_EPOCH),
        labels: labels(config.labels),
        ports: bound_ports(
            network.ports.unwrap_or_default(),
            config.exposed_ports.unwrap_or_default(),
        ),
        mounts: mounts(answer.mounts.unwrap_or_default()),
        detail: Some(detail),
        origins: Origins::default(),
    };
    Some(Inspect {
        container,
        env: config
            .env
            .unwrap_or_default()
            .into_iter()
            .map(|entry| match entry.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (entry, None),
            })
            .collect(),
        command: config.cmd.unwrap_or_default(),
        entrypoint: config.entrypoint.unwrap_or_default(),
        networks: network
            .networks
            .unwrap_or_default()
            .into_iter()
            .map(|(name, settings)| (name, settings.ip_address.unwrap_or_default()))
            .collect(),
        restart_policy: host
            .restart_policy
            .and_then(|policy| policy.name)
            .map(|name| name.to_string())
            .unwrap_or_default(),
        raw,
    })
}

/// `local` always does, `json-file` where it is given a size. The engine's own defaults are in the
/// container's settings, too.
fn rotates(settings: &HostConfigLogConfig) -> bool {
    let size = settings
        .config
        .as_ref()
        .and_then(|config| config.get("max-size"));
    match settings.typ.as_deref() {
        Some("local") => true,
        _ => size.is_some_and(|size| size != "-1"),
    }
}

fn detail(state: &ContainerState, life: State) -> Detail {
    let ended = matches!(
        life,
        State::Exited | State::Dead | State::Removing | State::Restarting
    );
    let health_output = state
        .health
        .as_ref()
        .and_then(|health| health.log.as_ref()?.last()?.output.as_deref())
        .map(str::trim)
        .filter(|output| !output.is_empty())
        .map(str::to_owned);
    Detail {
        started: state.started_at.as_deref().and_then(moment),
        finished: state
            .finished_at
            .as_deref()
            .and_then(moment)
            .filter(|_| ended),
        exit_code: state.exit_code.filter(|_| ended),
        oom_killed: state.oom_killed.unwrap_or_default(),
        health_output,
        error: state.error.clone().filter(|error| !error.is_empty()),
        ..Detail::default()
    }
}

/// `None` for an event that names no object.
pub(super) fn event(message: EventMessage) -> Option<EngineEvent> {
    let actor = message.actor?;
    let id = actor.id.filter(|id| !id.is_empty())?;
    let attributes = actor.attributes.unwrap_or_default();
    let at = message
        .time_nano
        .and_then(|nanos| Timestamp::from_nanosecond(i128::from(nanos)).ok())
        .or_else(|| message.time.map(seconds))
        .unwrap_or(Timestamp::UNIX_EPOCH);
    let action = action(&message.action.unwrap_or_default(), &attributes);
    let name = bare(attributes.get("name").map_or("", String::as_str));
    Some(EngineEvent {
        at,
        container: ContainerId::new(id),
        name,
        labels: attributes
            .into_iter()
            .filter(|(key, _)| !EVENT_ATTRIBUTES.contains(&key.as_str()))
            .collect(),
        action,
    })
}

fn action(word: &str, attributes: &HashMap<String, String>) -> Action {
    // Some actions carry more behind a colon: `health_status: healthy`.
    let (verb, rest) = match word.split_once(':') {
        Some((verb, rest)) => (verb.trim(), rest.trim()),
        None => (word, ""),
    };
    match verb {
        "create" => Action::Created,
        "start" => Action::Started,
        "die" | "died" => Action::Died {
            exit_code: ["exitCode", "containerExitCode"]
                .iter()
                .find_map(|key| attributes.get(*key)?.parse().ok()),
        },
        "kill" => Action::Signalled {
            signal: attributes
                .get("signal")
                .and_then(|signal| signal.parse().ok()),
        },
        "stop" => Action::Stopped,
        "restart" => Action::Restarted,
        "oom" => Action::OutOfMemory,
        "health_status" => Action::Health(rest.to_owned()),
        "pause" => Action::Paused,
        "unpause" => Action::Unpaused,
        "rename" => Action::Renamed,
        "destroy" | "remove" => Action::Destroyed,
        _ => Action::Other(word.to_owned()),
    }
}

/// The engine's RFC 3339 text; `None` where it writes its zero time for "never".
pub(super) fn moment(text: &str) -> Option<Timestamp> {
    let at: Timestamp = text.parse().ok()?;
    (at > Timestamp::UNIX_EPOCH).then_some(at)
}

/// A time that the engine did not set, or set out of range, is shown as the epoch.
fn seconds(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds.max(0)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A container that others link to has their aliases as further names, with two slashes.
fn own_name(names: &[String]) -> String {
    names
        .iter()
        .map(|name| bare(name))
        .find(|name| !name.contains('/'))
        .or_else(|| names.first().map(|name| bare(name)))
        .unwrap_or_default()
}

fn bare(name: &str) -> String {
    name.strip_prefix('/').unwrap_or(name).to_owned()
}

pub(super) fn labels(labels: Option<HashMap<String, String>>) -> Labels {
    labels.unwrap_or_default().into_iter().collect()
}

/// Engines before API 1.52 say in the list only by this text how a container feels.
fn health_in(status: &str) -> Option<Health> {
    let (_, words) = status.rsplit_once('(')?;
    let word = words.strip_suffix(')')?;
    Health::parse(word.strip_prefix("health: ").unwrap_or(word))
}

fn ports(summaries: Vec<PortSummary>) -> Vec<Port> {
    let mut ports: Vec<Port> = summaries
        .into_iter()
        .map(|port| Port {
            private: port.private_port,
            public: port.public_port,
            address: port.ip,
            protocol: port
                .typ
                .map_or_else(|| "tcp".to_owned(), |protocol| protocol.to_string()),
        })
        .collect();
    ports.sort();
    ports
}

fn bound_ports(
    bindings: HashMap<String, Option<Vec<bollard::models::PortBinding>>>,
    exposed: Vec<String>,
) -> Vec<Port> {
    let mut all: BTreeMap<String, Vec<bollard::models::PortBinding>> =
        exposed.into_iter().map(|port| (port, Vec::new())).collect();
    for (port, bindings) in bindings {
        all.insert(port, bindings.unwrap_or_default());
    }
    let mut ports = Vec::new();
    for (key, bindings) in all {
        let (number, protocol) = key.split_once('/').unwrap_or((&key, "tcp"));
        let Ok(private) = number.parse() else {
            continue;
        };
        let port = |public, address| Port {
            private,
            public,
            address,
            protocol: protocol.to_owned(),
        };
        if bindings.is_empty() {
            ports.push(port(None, None));
        }
        for binding in bindings {
            let public = binding.host_port.and_then(|number| number.parse().ok());
            ports.push(port(public, binding.host_ip));
        }
    }
    ports.sort();
    ports
}

fn mounts(points: Vec<MountPoint>) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = points
        .into_iter()
        .map(|point| {
            let kind = point.typ.as_ref().map_or("", AsRef::as_ref);
            let kind = MountKind::parse(kind);
            let source = match kind {
                MountKind::Volume => point.name.or(point.source),
                _ => point.source,
            };
            Mount {
                kind,
                source: source.unwrap_or_default(),
                target: point.destination.unwrap_or_default(),
            }
        })
        .collect();
    mounts.sort();
    mounts
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn summary(value: serde_json::Value) -> Container {
        container(serde_json::from_value(value).unwrap()).unwrap()
    }

    fn inspected(value: serde_json::Value) -> Inspect {
        inspect(serde_json::from_value(value.clone()).unwrap(), value).unwrap()
    }

    fn happened(value: serde_json::Value) -> EngineEvent {
        event(serde_json::from_value(value).unwrap()).unwrap()
    }

    #[test]
    fn a_log_rotates_where_its_files_have_a_size() {
        for (settings, expected) in [
            (json!({"Type": "json-file", "Config": {}}), false),
            (
                json!({"Type": "json-file", "Config": {"max-size": "-1"}}),
                false,
            ),
            (
                json!({"Type": "json-file", "Config": {"max-size": "10m"}}),
                true,
            ),
            (json!({"Type": "local"}), true),
            (json!({"Type": "journald", "Config": {}}), false),
        ] {
            let settings: HostConfigLogConfig = serde_json::from_value(settings).unwrap();
            assert_eq!(rotates(&settings), expected, "{settings:?}");
        }
    }

    #[test]
    fn a_container_with_nothing_but_an_id_is_listed() {
        let it = summary(json!({"Id": "c1"}));
        assert_eq!(it.id, ContainerId::new("c1"));
        assert_eq!(it.state, State::Unknown);
        assert_eq!(it.created, Timestamp::UNIX_EPOCH);
        assert!(container(ContainerSummary::default()).is_none());
    }

    #[test]
    fn odd_creation_times_do_not_break_the_list() {
        for created in [i64::MIN, -1, 0, i64::MAX] {
            let it = summary(json!({"Id": "c1", "Created": created}));
            assert_eq!(it.created, Timestamp::UNIX_EPOCH, "{created}");
        }
        let it = summary(json!({"Id": "c1", "Created": 1_700_000_000}));
        assert_eq!(it.created.as_second(), 1_700_000_000);
    }

    #[test]
    fn a_row_is_read_from_the_list() {
        let it = summary(json!({
            "Id": "c1", "Names": ["/other/alias", "/tenant"], "Image": "tenant:dev",
            "ImageID": "sha256:1", "State": "running", "Status": "Up 2 minutes (unhealthy)",
            "Labels": {"a": "1"},
            "Ports": [
                {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
                {"PrivatePort": 53, "Type": "udp"},
            ],
            "Mounts": [
                {"Type": "volume", "Name": "data", "Source": "/var/lib/x", "Destination": "/data"},
                {"Type": "bind", "Source": "/src", "Destination": "/app"},
            ],
        }));
        assert_eq!(it.name, "tenant");
        assert_eq!(it.health, Some(Health::Unhealthy));
        assert_eq!(it.published_ports(), [8080]);
        assert_eq!(it.ports[0].protocol, "udp");
        assert_eq!(it.mounts[0].source, "/src");
        assert_eq!(it.mounts[1].source, "data");
    }

    #[test]
    fn health_is_read_from_the_status_text_of_older_engines() {
        assert_eq!(
            health_in("Up 1 second (health: starting)"),
            Some(Health::Starting)
        );
        assert_eq!(health_in("Up 3 hours (healthy)"), Some(Health::Healthy));
        assert_eq!(health_in("Up 3 hours (Paused)"), None);
        assert_eq!(health_in("Exited (137) 2 minutes ago"), None);
        assert_eq!(health_in("Up 3 hours"), None);
    }

    #[test]
    fn never_is_not_a_time() {
        assert_eq!(moment("0001-01-01T00:00:00Z"), None);
        assert_eq!(moment(""), None);
        assert!(moment("2026-11-21T12:00:00.123456789Z").is_some());
    }

    #[test]
    fn an_inspect_tells_how_the_container_ended() {
        let it = inspected(json!({
            "Id": "c1", "Name": "/tenant", "RestartCount": 2,
            "Created": "2026-01-01T00:00:00Z",
            "State": {
                "Status": "exited", "ExitCode": 137, "OOMKilled": true, "Error": "",
                "StartedAt": "2026-01-01T00:00:01Z", "FinishedAt": "2026-01-01T00:00:02.5Z",
                "Health": {"Status": "unhealthy", "Log": [
                    {"Output": "first"}, {"Output": "  curl: refused\n"},
                ]},
            },
            "Config": {
                "Image": "tenant:dev", "Tty": true, "Env": ["A=1=2", "B="," C"],
                "Cmd": ["serve"], "Labels": {"a": "1"},
                "ExposedPorts": {"9000/tcp": {}, "80/tcp": {}},
            },
            "HostConfig": {
                "RestartPolicy": {"Name": "on-failure"},
                "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m"}}
            },
            "NetworkSettings": {
                "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]},
                "Networks": {"net": {"IPAddress": "10.0.0.2"}},
            },
        }));
        let detail = it.detail();
        assert_eq!(detail.exit_code, Some(137));
        assert!(detail.oom_killed && detail.tty && detail.log_rotates);
        assert_eq!(detail.restart_count, 2);
        assert_eq!(detail.image_name.as_deref(), Some("tenant:dev"));
        assert_eq!(detail.health_output.as_deref(), Some("curl: refused"));
        assert_eq!(detail.error, None);
        assert!(detail.finished > detail.started);
        assert_eq!(it.env[0], ("A".to_owned(), Some("1=2".to_owned())));
        assert_eq!(it.env[1], ("B".to_owned(), Some(String::new())));
        assert_eq!(it.env[2], (" C".to_owned(), None));
        assert_eq!(it.restart_policy, "on-failure");
        assert_eq!(it.networks["net"], "10.0.0.2");
        assert_eq!(it.container.published_ports(), [8080]);
        assert_eq!(it.container.ports.len(), 2);
        assert_eq!(it.raw["Name"], "/tenant");
    }

    #[test]
    fn a_running_container_has_not_ended() {
        // The engine keeps the last end and a code of 0 while the container runs again.
        let it = inspected(json!({
            "Id": "c1",
            "State": {
                "Status": "running", "ExitCode": 0,
                "StartedAt": "2026-01-01T00:00:03Z", "FinishedAt": "2026-01-01T00:00:02Z",
            },
        }));
        assert_eq!(it.detail().exit_code, None);
        assert_eq!(it.detail().finished, None);
        let it = inspected(json!({"Id": "c1", "State": {"Status": "created", "ExitCode": 0}}));
        assert_eq!(it.detail().exit_code, None);
        assert_eq!(
            inspected(json!({"Id": "c1"})).container.state,
            State::Unknown
        );
    }

    #[test]
    fn events_are_read_with_their_labels() {
        let it = happened(json!({
            "Type": "container", "Action": "die", "time": 1, "timeNano": 1_000_000_002,
            "Actor": {"ID": "c1", "Attributes": {
                "name": "tenant", "image": "i", "exitCode": "137", "a": "1",
            }},
        }));
        assert_eq!(
            it.action,
            Action::Died {
                exit_code: Some(137)
            }
        );
        assert_eq!(it.at.as_nanosecond(), 1_000_000_002);
        assert_eq!(it.name, "tenant");
        assert_eq!(it.labels, Labels::from([("a".to_owned(), "1".to_owned())]));
    }

    #[test]
    fn an_event_without_a_time_or_attributes_is_still_an_event() {
        let it = happened(json!({"Action": "die", "Actor": {"ID": "c1"}}));
        assert_eq!(it.action, Action::Died { exit_code: None });
        assert_eq!(it.at, Timestamp::UNIX_EPOCH);
        assert!(event(EventMessage::default()).is_none());
    }

    #[test]
    fn actions_are_known_by_their_verb() {
        let none = HashMap::new();
        for (word, expected) in [
            ("create", Action::Created),
            ("start", Action::Started),
            ("kill", Action::Signalled { signal: None }),
            ("stop", Action::Stopped),
            ("restart", Action::Restarted),
            ("oom", Action::OutOfMemory),
            (
                "health_status: healthy",
                Action::Health("healthy".to_owned()),
            ),
            (
                "health_status:unhealthy",
                Action::Health("unhealthy".to_owned()),
            ),
            ("destroy", Action::Destroyed),
            ("update", Action::Other("update".to_owned())),
            (
                "exec_start: sh -c x",
                Action::Other("exec_start: sh -c x".to_owned()),
            ),
        ] {
            assert_eq!(action(word, &none), expected, "{word}");
        }
        let with = HashMap::from([("signal".to_owned(), "9".to_owned())]);
        let killed = Action::Signalled { signal: Some(9) };
        assert_eq!(action("kill", &with), killed);
    }
}
