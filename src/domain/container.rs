//! A container as the lists show it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::badge::Badge;
use super::id::ContainerId;
use super::label::{COMPOSE_SERVICE, Labels};
use super::origins::Origins;

/// What one row needs. The engine's list gives most of it; [`Detail`] needs an inspect and comes
/// later, so that rows are painted before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    pub id: ContainerId,
    /// Without the leading slash that the engine writes.
    pub name: String,
    /// The name of its image as the engine lists it. Engines list the id instead once the name means
    /// another image; [`Container::image_name`] is what people know.
    pub image: String,
    pub image_id: String,
    pub state: State,
    pub health: Option<Health>,
    /// The engine's own words, such as `Up 2 minutes (healthy)`.
    pub status: String,
    pub created: Timestamp,
    pub labels: Labels,
    pub ports: Vec<Port>,
    pub mounts: Vec<Mount>,
    pub detail: Option<Detail>,
    pub origins: Origins,
}

/// What only an inspect tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detail {
    /// The reference to an image that it was created from: a name, or an id.
    pub image_name: Option<String>,
    /// `None` if it never started.
    pub started: Option<Timestamp>,
    /// `None` while it runs, or if it never did.
    pub finished: Option<Timestamp>,
    /// Of the last time it ended; `None` while it runs.
    pub exit_code: Option<i64>,
    pub oom_killed: bool,
    pub restart_count: u64,
    /// A TTY sends nothing until its newline, and has no separate stderr.
    pub tty: bool,
    /// Its log is kept in files of a limited size, and the oldest is deleted.
    pub log_rotates: bool,
    /// What the last health check printed, if one ran.
    pub health_output: Option<String>,
    /// What the engine says about a failed start, or a failed removal.
    pub error: Option<String>,
}

/// The engine's life cycle states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    Created,
    Running,
    Paused,
    Restarting,
    Removing,
    Exited,
    Dead,
    /// A state that this version does not know.
    Unknown,
}

impl State {
    /// The engine's word for it. Unknown words become [`State::Unknown`].
    pub fn parse(word: &str) -> Self {
        match word {
            "created" => Self::Created,
            "running" => Self::Running,
            "paused" => Self::Paused,
            "restarting" => Self::Restarting,
            "removing" => Self::Removing,
            "exited" => Self::Exited,
            "dead" => Self::Dead,
            _ => Self::Unknown,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Removing => "removing",
            Self::Exited => "exited",
            Self::Dead => "dead",
            Self::Unknown => "unknown",
        }
    }

    /// Whether a process of it exists: it writes logs and has statistics.
    pub fn is_alive(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::Restarting)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Health {
    Starting,
    Healthy,
    Unhealthy,
}

impl Health {
    /// The engine's word; `None` for `none`, the empty string, and anything unknown.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "starting" => Some(Self::Starting),
            "healthy" => Some(Self::Healthy),
            "unhealthy" => Some(Self::Unhealthy),
            _ => None,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// A published or exposed port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    pub private: u16,
    /// `None`: exposed, but not published.
    pub public: Option<u16>,
    /// The host address it is bound to.
    pub address: Option<String>,
    pub protocol: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mount {
    pub kind: MountKind,
    /// A host path for a bind, the volume's name for a volume.
    pub source: String,
    pub target: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MountKind {
    Bind,
    Volume,
    Tmpfs,
    Other,
}

impl MountKind {
    /// The engine's word for it. Unknown words become [`MountKind::Other`].
    pub fn parse(word: &str) -> Self {
        match word {
            "bind" => Self::Bind,
            "volume" => Self::Volume,
            "tmpfs" => Self::Tmpfs,
            _ => Self::Other,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Volume => "volume",
            Self::Tmpfs => "tmpfs",
            Self::Other => "other",
        }
    }
}

/// What a container is titled: its compose service if it has one, its name otherwise. A service's
/// second replica keeps its full name, since the title alone would be ambiguous.
pub fn title<'a>(labels: &'a Labels, name: &'a str) -> &'a str {
    let service = labels.get(COMPOSE_SERVICE).filter(|s| !s.is_empty());
    let replica = labels.get("com.docker.compose.container-number");
    match service {
        Some(service) if replica.is_none_or(|number| number == "1") => service,
        _ => name,
    }
}

impl Container {
    /// A running container of which nothing but the id is known.
    #[cfg(test)]
    pub(crate) fn bare(id: &str) -> Self {
        Self {
            id: ContainerId::new(id),
            name: String::new(),
            image: String::new(),
            image_id: String::new(),
            state: State::Running,
            health: None,
            status: String::new(),
            created: Timestamp::UNIX_EPOCH,
            labels: Labels::new(),
            ports: Vec::new(),
            mounts: Vec::new(),
            detail: None,
            origins: Origins::default(),
        }
    }

    /// The image as it was named when the container was created, or the beginning of its id.
    pub fn image_name(&self) -> &str {
        let named = self.detail.as_ref().and_then(|d| d.image_name.as_deref());
        let name = named.unwrap_or(&self.image);
        if name.starts_with("sha256:") {
            short_id(name)
        } else {
            name
        }
    }

    /// The engine's word for its state, and what stands against starting it again.
    pub fn state_words(&self) -> String {
        let word = self.state.word();
        if self.origins.gone.is_empty() {
            word.to_owned()
        } else {
            format!("{word}, {}", Badge::BindSourceGone)
        }
    }

    /// One character for its state and health, none of which needs its colour.
    pub fn symbol(&self) -> &'static str {
        match (self.state, self.health) {
            (State::Running, Some(Health::Unhealthy)) => "▲",
            (State::Running, Some(Health::Starting)) => "◐",
            (State::Running, _) => "●",
            (State::Created, _) => "○",
            (State::Paused, _) => "‖",
            (State::Restarting, _) => "↻",
            (State::Removing, _) => "−",
            (State::Exited, _) if self.exit_code() == Some(0) => "□",
            (State::Exited, _) => "✖",
            (State::Dead, _) => "†",
            (State::Unknown, _) => "?",
        }
    }

    /// Its health, or its state in one or two words.
    pub fn word(&self) -> String {
        match (self.state, self.health) {
            (State::Running, Some(health)) => health.word().to_owned(),
            (State::Running, None) => "up".to_owned(),
            (State::Exited, _) => self
                .exit_code()
                .map_or_else(|| "exited".to_owned(), |code| format!("exit {code}")),
            (state, _) => state.word().to_owned(),
        }
    }

    /// How it ended last: an inspect knows it; before one, the engine's own words do, such as
    /// `Exited (137) 2 minutes ago`.
    pub fn exit_code(&self) -> Option<i64> {
        let inspected = self.detail.as_ref().and_then(|detail| detail.exit_code);
        inspected.or_else(|| {
            let rest = self.status.strip_prefix("Exited (")?;
            rest.split(')').next()?.parse().ok()
        })
    }

    /// See [`title`].
    pub fn title(&self) -> &str {
        title(&self.labels, &self.name)
    }

    /// Running and, where it has a health check, healthy.
    pub fn is_ready(&self) -> bool {
        self.state == State::Running && !matches!(self.health, Some(h) if h != Health::Healthy)
    }

    /// The ports that can be reached from the host, each once: the engine repeats a port per
    /// address family.
    pub fn published_ports(&self) -> Vec<u16> {
        let ports: BTreeMap<u16, ()> = self
            .ports
            .iter()
            .filter_map(|port| port.public.map(|public| (public, ())))
            .collect();
        ports.into_keys().collect()
    }
}

/// As much of an image's id as tells it from others: `sha256:` and twelve digits.
pub fn short_id(id: &str) -> &str {
    id.get(..19)
        .filter(|_| id.starts_with("sha256:"))
        .unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn container(labels: &[(&str, &str)]) -> Container {
        Container {
            name: "shop_tenant_1".to_owned(),
            labels: labels
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            ..Container::bare("c1")
        }
    }

    #[test]
    fn a_row_is_titled_by_its_service_unless_that_is_ambiguous() {
        assert_eq!(container(&[]).title(), "shop_tenant_1");
        assert_eq!(container(&[(COMPOSE_SERVICE, "tenant")]).title(), "tenant");
        let second = container(&[
            (COMPOSE_SERVICE, "tenant"),
            ("com.docker.compose.container-number", "2"),
        ]);
        assert_eq!(second.title(), "shop_tenant_1");
    }

    #[test]
    fn every_state_has_a_symbol_and_a_word_of_its_own() {
        let states = [
            (State::Created, None, ""),
            (State::Running, None, ""),
            (State::Running, Some(Health::Starting), ""),
            (State::Running, Some(Health::Unhealthy), ""),
            (State::Paused, None, ""),
            (State::Restarting, None, ""),
            (State::Removing, None, ""),
            (State::Exited, None, "Exited (0) 2 minutes ago"),
            (State::Exited, None, "Exited (137) 2 minutes ago"),
            (State::Dead, None, ""),
            (State::Unknown, None, ""),
        ];
        let mut symbols = BTreeSet::new();
        let mut words = BTreeSet::new();
        for (state, health, status) in states {
            let mut it = container(&[]);
            (it.state, it.health) = (state, health);
            it.status = status.to_owned();
            assert!(symbols.insert(it.symbol()), "{}", it.symbol());
            assert!(words.insert(it.word()), "{}", it.word());
        }
        assert!(words.contains("exit 137"));
    }

    #[test]
    fn ready_means_running_and_not_waiting_for_health() {
        let mut it = container(&[]);
        assert!(it.is_ready());
        it.health = Some(Health::Starting);
        assert!(!it.is_ready());
        it.health = Some(Health::Healthy);
        assert!(it.is_ready());
        it.state = State::Exited;
        assert!(!it.is_ready());
    }

    #[test]
    fn words_of_the_engine_come_back_as_they_went_in() {
        for word in [
            "created",
            "running",
            "paused",
            "restarting",
            "removing",
            "exited",
            "dead",
        ] {
            assert_eq!(State::parse(word).word(), word);
        }
        assert_eq!(State::parse("frozen"), State::Unknown);
        assert_eq!(Health::parse("none"), None);
    }

    #[test]
    fn an_image_is_called_by_the_name_that_it_was_made_from() {
        let id = "sha256:3fd606b7a31def3170e127b8e8a807fb2069cd4c1c632f2ef8eabdcab8ffcf35";
        let mut it = container(&[]);
        it.image = id.to_owned();
        assert_eq!(it.image_name(), "sha256:3fd606b7a31d");
        it.detail = Some(Detail {
            image_name: Some("engine:dev".to_owned()),
            ..Detail::default()
        });
        assert_eq!(it.image_name(), "engine:dev");
        assert_eq!(short_id("sha256:short"), "sha256:short");
        assert_eq!(short_id("sha256:日本日本日本日本"), "sha256:日本日本");
    }

    #[test]
    fn a_state_says_what_stands_against_a_restart() {
        let mut it = container(&[]);
        it.state = State::Exited;
        assert_eq!(it.state_words(), "exited");
        it.origins.gone = vec!["/tmp/x".to_owned()];
        assert_eq!(it.state_words(), "exited, bind source gone");
    }
}
