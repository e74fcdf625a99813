//! The lines of `events.jsonl` and `containers.jsonl`, and what they stand for.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ContainerChange, LogState, Seen};
use crate::domain::container::{Container, Detail, Health, Mount, MountKind, Port, State};
use crate::domain::event::{Action, EngineEvent};
use crate::domain::id::ContainerId;
use crate::domain::label::Labels;
use crate::domain::origins::Origins;
use crate::domain::secret::mask;
use crate::engine::Inspect;

/// The first line of a file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) v: u64,
    pub(super) event: String,
    pub(super) at: Timestamp,
    #[serde(default)]
    pub(super) tackroom: String,
}

/// Says in `events.jsonl` that the engine was lost, or answers again.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Turn {
    pub(super) at: Timestamp,
    /// `lost` or `back`.
    pub(super) engine: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cause: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Event {
    at: Timestamp,
    id: String,
    #[serde(default)]
    name: String,
    action: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exit_code: Option<i64>,
    /// How it feels, the number of a signal, or an action that has no word of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    word: Option<String>,
    #[serde(default)]
    labels: Labels,
}

impl Event {
    /// Its labels are masked as those of an inspect.
    pub(super) fn of(event: &EngineEvent, is_plain: &dyn Fn(&str) -> bool) -> Self {
        let (mut exit_code, mut word) = (None, None);
        let action = match &event.action {
            Action::Created => "created",
            Action::Started => "started",
            Action::Died { exit_code: code } => {
                exit_code = *code;
                "died"
            }
            Action::Signalled { signal } => {
                word = signal.map(|signal| signal.to_string());
                "signalled"
            }
            Action::Stopped => "stopped",
            Action::Restarted => "restarted",
            Action::OutOfMemory => "oom",
            Action::Health(how) => {
                word = Some(how.clone());
                "health"
            }
            Action::Paused => "paused",
            Action::Unpaused => "unpaused",
            Action::Renamed => "renamed",
            Action::Destroyed => "destroyed",
            Action::Other(other) => {
                // What was executed stands in it, with its arguments.
                word = Some(mask("", other).into_owned());
                "other"
            }
        };
        let label = |(key, value): (&String, &String)| {
            let value = match is_plain(key) {
                true => value.clone(),
                false => mask(key, value).into_owned(),
            };
            (key.clone(), value)
        };
        Self {
            at: event.at,
            id: event.container.as_str().to_owned(),
            name: event.name.clone(),
            action: action.to_owned(),
            exit_code,
            word,
            labels: event.labels.iter().map(label).collect(),
        }
    }

    pub(super) fn event(self) -> EngineEvent {
        let action = match &*self.action {
            "created" => Action::Created,
            "started" => Action::Started,
            "died" => Action::Died {
                exit_code: self.exit_code,
            },
            "signalled" => Action::Signalled {
                signal: self.word.and_then(|signal| signal.parse().ok()),
            },
            "stopped" => Action::Stopped,
            "restarted" => Action::Restarted,
            "oom" => Action::OutOfMemory,
            "health" => Action::Health(self.word.unwrap_or_default()),
            "paused" => Action::Paused,
            "unpaused" => Action::Unpaused,
            "renamed" => Action::Renamed,
            "destroyed" => Action::Destroyed,
            "other" => Action::Other(self.word.unwrap_or_default()),
            _ => Action::Other(self.action),
        };
        EngineEvent {
            at: self.at,
            container: ContainerId::new(self.id),
            name: self.name,
            labels: self.labels,
            action,
        }
    }
}

/// A line of `containers.jsonl`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Change {
    at: Timestamp,
    /// `created`, `changed`, `removed` or `log`.
    seen: String,
    id: String,
    #[serde(flatten)]
    inspect: Option<InspectShape>,
    /// A name in `engine/logs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    log: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cut: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct InspectShape {
    container: ContainerShape,
    #[serde(default)]
    env: Vec<(String, Option<String>)>,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    entrypoint: Vec<String>,
    #[serde(default)]
    networks: BTreeMap<String, String>,
    #[serde(default)]
    restart_policy: String,
    /// The engine's whole answer.
    #[serde(default)]
    inspect: Value,
}

#[derive(Debug, Serialize, Deserialize)]
struct ContainerShape {
    #[serde(default)]
    name: String,
    #[serde(default)]
    image: String,
    #[serde(default)]
    image_id: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    health: Option<String>,
    #[serde(default)]
    status: String,
    #[serde(default)]
    created: Timestamp,
    #[serde(default)]
    labels: Labels,
    #[serde(default)]
    ports: Vec<PortShape>,
    #[serde(default)]
    mounts: Vec<MountShape>,
    #[serde(default)]
    detail: Option<DetailShape>,
}

#[derive(Debug, Serialize, Deserialize)]
struct PortShape {
    private: u16,
    #[serde(default)]
    public: Option<u16>,
    #[serde(default)]
    address: Option<String>,
    #[serde(default)]
    protocol: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct MountShape {
    kind: String,
    #[serde(default)]
    source: String,
    #[serde(default)]
    target: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct DetailShape {
    image_name: Option<String>,
    started: Option<Timestamp>,
    finished: Option<Timestamp>,
    exit_code: Option<i64>,
    oom_killed: bool,
    restart_count: u64,
    tty: bool,
    log_rotates: bool,
    health_output: Option<String>,
    error: Option<String>,
}

impl Change {
    /// What is inspected must be masked already.
    pub(super) fn of(change: ContainerChange) -> Self {
        let mut line = Self {
            at: change.at,
            seen: String::new(),
            id: change.id.as_str().to_owned(),
            inspect: None,
            log: None,
            cut: None,
            trouble: None,
        };
        let seen = match change.what {
            Seen::Created(inspect) => {
                line.inspect = Some(InspectShape::of(*inspect));
                "created"
            }
            Seen::Changed(inspect) => {
                line.inspect = Some(InspectShape::of(*inspect));
                "changed"
            }
            Seen::Removed => "removed",
            Seen::Log(state) => {
                line.log = state.file;
                line.cut = Some(state.cut);
                line.trouble = state.trouble;
                "log"
            }
        };
        seen.clone_into(&mut line.seen);
        line
    }

    /// `None` for what this version does not know.
    pub(super) fn change(self) -> Option<ContainerChange> {
        let id = ContainerId::new(self.id);
        let inspect = self.inspect;
        let inspect = || inspect.map(|inspect| Box::new(inspect.inspect(id.clone())));
        let what = match &*self.seen {
            "created" => Seen::Created(inspect()?),
            "changed" => Seen::Changed(inspect()?),
            "removed" => Seen::Removed,
            "log" => Seen::Log(LogState {
                file: self.log,
                cut: self.cut.unwrap_or_default(),
                trouble: self.trouble,
            }),
            _ => return None,
        };
        Some(ContainerChange {
            at: self.at,
            id,
            what,
        })
    }
}

impl InspectShape {
    fn of(inspect: Inspect) -> Self {
        let container = inspect.container;
        Self {
            container: ContainerShape {
                name: container.name,
                image: container.image,
                image_id: container.image_id,
                state: container.state.word().to_owned(),
                health: container.health.map(|health| health.word().to_owned()),
                status: container.status,
                created: container.created,
                labels: container.labels,
                ports: container.ports.into_iter().map(PortShape::of).collect(),
                mounts: container.mounts.into_iter().map(MountShape::of).collect(),
                detail: container.detail.map(DetailShape::of),
            },
            env: inspect.env,
            command: inspect.command,
            entrypoint: inspect.entrypoint,
            networks: inspect.networks,
            restart_policy: inspect.restart_policy,
            inspect: inspect.raw,
        }
    }

    fn inspect(self, id: ContainerId) -> Inspect {
        let container = self.container;
        Inspect {
            container: Container {
                id,
                name: container.name,
                image: container.image,
                image_id: container.image_id,
                state: State::parse(&container.state),
                health: container.health.as_deref().and_then(Health::parse),
                status: container.status,
                created: container.created,
                labels: container.labels,
                ports: container.ports.into_iter().map(PortShape::port).collect(),
                mounts: container
                    .mounts
                    .into_iter()
                    .map(MountShape::mount)
                    .collect(),
                detail: container.detail.map(DetailShape::detail),
                origins: Origins::default(),
            },
            env: self.env,
            command: self.command,
            entrypoint: self.entrypoint,
            networks: self.networks,
            restart_policy: self.restart_policy,
            raw: self.inspect,
        }
    }
}

impl PortShape {
    fn of(port: Port) -> Self {
        Self {
            private: port.private,
            public: port.public,
            address: port.address,
            protocol: port.protocol,
        }
    }

    fn port(self) -> Port {
        Port {
            private: self.private,
            public: self.public,
            address: self.address,
            protocol: self.protocol,
        }
    }
}

impl MountShape {
    fn of(mount: Mount) -> Self {
        Self {
            kind: mount.kind.word().to_owned(),
            source: mount.source,
            target: mount.target,
        }
    }

    fn mount(self) -> Mount {
        Mount {
            kind: MountKind::parse(&self.kind),
            source: self.source,
            target: self.target,
        }
    }
}

impl DetailShape {
    fn of(detail: Detail) -> Self {
        Self {
            image_name: detail.image_name,
            started: detail.started,
            finished: detail.finished,
            exit_code: detail.exit_code,
            oom_killed: detail.oom_killed,
            restart_count: detail.restart_count,
            tty: detail.tty,
            log_rotates: detail.log_rotates,
            health_output: detail.health_output,
            error: detail.error,
        }
    }

    fn detail(self) -> Detail {
        Detail {
            image_name: self.image_name,
            started: self.started,
            finished: self.finished,
            exit_code: self.exit_code,
            oom_killed: self.oom_killed,
            restart_count: self.restart_count,
            tty: self.tty,
            log_rotates: self.log_rotates,
            health_output: self.health_output,
            error: self.error,
        }
    }
}
