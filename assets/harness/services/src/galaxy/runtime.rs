//! Engines as containers: what they are made of, and how they come and go.

use std::io;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::config::BackendConfig;
use super::docker::{Docker, DockerError, Summary};
use super::labels::{self, Labels};
use crate::http::{FetchError, fetch};

/// The user of the engine's image: state directories are made for it.
const ENGINE_USER: u32 = 65_534;
/// What an engine may use.
const CPUS: &str = "0.5";
const NANO_CPUS: u64 = 500_000_000;
const MEMORY: &str = "64m";
const MEMORY_BYTES: u64 = 64 << 20;
const PIDS: u32 = 64;

const READY_WITHIN: Duration = Duration::from_secs(15);
const READY_PAUSE: Duration = Duration::from_millis(50);
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// The file in a state root that says whose it is, when no container is left to say so.
pub const LABELS_FILE: &str = ".labels";

#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    #[error("docker: {0}")]
    Docker(#[from] DockerError),
    #[error("the state directory {0}: {1}")]
    State(PathBuf, io::Error),
    #[error("the engine is not ready after {} s: {why}", READY_WITHIN.as_secs())]
    NotReady { why: String },
}

#[derive(Debug, Clone)]
pub struct Runtime {
    docker: Docker,
    network: String,
    image: String,
    state_root: PathBuf,
    /// On every engine of this backend, and on none of another.
    labels: Labels,
}

impl Runtime {
    #[must_use]
    pub fn new(docker: Docker, config: &BackendConfig) -> Self {
        Self {
            docker,
            network: config.network.clone(),
            image: config.engine_image.clone(),
            state_root: config.state_root.clone(),
            labels: engine_labels(config),
        }
    }

    /// Checks what every later call relies on, and marks the state root as this stack's.
    ///
    /// # Errors
    /// The daemon, the network or the state root cannot be used.
    pub async fn boot(&self) -> Result<(), RuntimeError> {
        let file = self.state_root.join(LABELS_FILE);
        std::fs::write(&file, self.labels.to_lines())
            .map_err(|error| RuntimeError::State(file, error))?;
        Ok(self.docker.network_exists(&self.network).await?)
    }

    /// # Errors
    /// The daemon does not answer.
    pub async fn ping(&self) -> Result<(), RuntimeError> {
        Ok(self.docker.ping().await?)
    }

    /// The containers of this backend's engines, in whatever state.
    ///
    /// # Errors
    /// The daemon does not answer.
    pub async fn engines(&self) -> Result<Vec<Summary>, RuntimeError> {
        Ok(self.docker.list(&self.labels).await?)
    }

    /// Makes a game's engine. Gives the container's id as soon as there is a container, before it runs.
    ///
    /// # Errors
    /// The daemon refuses, or the state directory cannot be made.
    pub async fn create(&self, game: Uuid) -> Result<String, RuntimeError> {
        let state = self.state_directory(game);
        std::fs::create_dir_all(&state)
            .and_then(|()| chown(&state, Some(ENGINE_USER), Some(ENGINE_USER)))
            .map_err(|error| RuntimeError::State(state.clone(), error))?;
        let spec = spec(game, &self.image, &self.network, &state, &self.labels);
        Ok(self.docker.create(&container_name(game), &spec).await?)
    }

    /// Starts a game's engine and waits until it answers.
    ///
    /// # Errors
    /// The daemon refuses, or the engine does not become ready.
    pub async fn start(&self, game: Uuid, container: &str) -> Result<(), RuntimeError> {
        self.docker.start(container).await?;
        let url = format!("http://{}:8080/healthz", container_name(game));
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let why = match probe(&url).await {
                Ok(StatusCode::OK) => return Ok(()),
                Ok(status) => format!("{url} answered {status}"),
                Err(error) => error.to_string(),
            };
            if Instant::now() >= deadline {
                return Err(RuntimeError::NotReady { why });
            }
            sleep(READY_PAUSE).await;
        }
    }

    /// Removes a game's engine, if there is one, and its state.
    ///
    /// # Errors
    /// The daemon refuses, or the state cannot be removed.
    pub async fn remove(&self, game: Uuid) -> Result<(), RuntimeError> {
        // By name: a backend that died before it could note the id knows that one, too.
        self.docker.remove(&container_name(game)).await?;
        let state = self.state_directory(game);
        match std::fs::remove_dir_all(&state) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(RuntimeError::State(state, error))
            }
            _ => Ok(()),
        }
    }

    fn state_directory(&self, game: Uuid) -> PathBuf {
        self.state_root.join(game.to_string())
    }
}

async fn probe(url: &str) -> Result<StatusCode, FetchError> {
    // The address is made of a UUID, so the request can always be built.
    let request = Request::get(url).body(Body::empty()).unwrap_or_default();
    fetch(request, PROBE_TIMEOUT)
        .await
        .map(|(status, _)| status)
}

fn engine_labels(config: &BackendConfig) -> Labels {
    let mut labels = config.engine_labels.clone();
    labels.set(labels::BACKEND, "1");
    if let Some(stack) = &config.stack {
        labels.set(labels::STACK, stack);
    }
    labels
}

/// The name is also the engine's address on the network.
fn container_name(game: Uuid) -> String {
    format!("galaxy-game-{game}")
}

/// The body of `POST /containers/create`.
fn spec(game: Uuid, image: &str, network: &str, state: &Path, common: &Labels) -> Value {
    let mut labels = common.clone();
    labels.set(labels::ROLE, "engine");
    labels.set(labels::GAME, game.to_string());
    labels.set("org.opencontainers.image.title", "galaxy-game-engine");
    labels.set("com.galaxy.cpu_quota", CPUS);
    labels.set("com.galaxy.memory", MEMORY);
    labels.set("com.galaxy.pids_limit", PIDS.to_string());
    let labels: serde_json::Map<String, Value> = labels
        .iter()
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect();
    json!({
        "Image": image,
        "Cmd": ["galaxy", "engine"],
        "Env": [format!("GAME_ID={game}"), format!("GAME_STATE_PATH={}", state.display())],
        "User": format!("{ENGINE_USER}:{ENGINE_USER}"),
        "Labels": labels,
        "ExposedPorts": { "8080/tcp": {} },
        "StopTimeout": 3,
        "Healthcheck": {
            "Test": ["CMD", "/harness-services", "healthcheck", "http://127.0.0.1:8080/healthz"],
            "Interval": 5_000_000_000_u64,
            "Timeout": 2_000_000_000_u64,
            "Retries": 3,
        },
        "HostConfig": {
            "RestartPolicy": { "Name": "unless-stopped" },
            "NetworkMode": network,
            "NanoCpus": NANO_CPUS,
            "Memory": MEMORY_BYTES,
            "PidsLimit": PIDS,
            // A mount, unlike a bind, does not make a source that is missing: state that is gone stops a restart.
            "Mounts": [{ "Type": "bind", "Source": state, "Target": state }],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_carries_what_a_teardown_finds_it_by() {
        let game = Uuid::new_v4();
        let state = format!("/tmp/galaxy-state-x/{game}");
        let common = "galaxy.backend=1,galaxy.stack=dev-deploy,galaxy.checkout=0123abcd"
            .parse()
            .unwrap();
        let spec = spec(game, "image", "net", Path::new(&state), &common);
        let labels = &spec["Labels"];
        assert_eq!(labels["galaxy.backend"], "1");
        assert_eq!(labels["galaxy.stack"], "dev-deploy");
        assert_eq!(labels["galaxy.checkout"], "0123abcd");
        assert_eq!(labels["galaxy.game"], game.to_string());
        assert_eq!(
            labels["org.opencontainers.image.title"],
            "galaxy-game-engine"
        );
        let host = &spec["HostConfig"];
        assert_eq!(host["RestartPolicy"]["Name"], "unless-stopped");
        assert_eq!(
            (&host["Mounts"][0]["Source"], &host["Mounts"][0]["Target"]),
            (&json!(state), &json!(state))
        );
        assert_eq!(container_name(game), format!("galaxy-game-{game}"));
    }

    #[test]
    fn the_quota_labels_say_what_is_enforced() {
        let spec = spec(Uuid::nil(), "i", "n", Path::new("/s"), &Labels::default());
        let (labels, host) = (&spec["Labels"], &spec["HostConfig"]);
        let cpus: f64 = labels["com.galaxy.cpu_quota"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(host["NanoCpus"], json!((cpus * 1e9) as u64));
        let memory = labels["com.galaxy.memory"]
            .as_str()
            .unwrap()
            .strip_suffix('m')
            .unwrap();
        assert_eq!(host["Memory"], json!(memory.parse::<u64>().unwrap() << 20));
        assert_eq!(
            labels["com.galaxy.pids_limit"],
            host["PidsLimit"].to_string()
        );
    }
}
