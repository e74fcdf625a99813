//! The configuration as the rest of the crate uses it: resolved, with its defaults.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::domain::hook::Hook;
use crate::domain::scope::{Scope, StackName};

/// Everything that a user can decide.
#[derive(Clone, Debug)]
pub struct Config {
    pub name: String,
    /// The directory of the file, or the working directory where there is none. Absolute.
    pub root: PathBuf,
    /// `None`: no file was found, and these are the defaults.
    pub file: Option<PathBuf>,
    /// Overrides `DOCKER_HOST` and the docker context.
    pub engine_host: Option<String>,
    pub scope: Scope,
    pub harness: Option<Harness>,
    pub replays: Replays,
    /// Bytes of log lines held by the dashboard, over all containers.
    pub log_budget: u64,
}

/// The stack under test and its hooks.
#[derive(Clone, Debug)]
pub struct Harness {
    /// The stacks that `up` creates, in this order, and `down` removes, in the opposite one. Each is
    /// declared, none stands twice; empty: none is known.
    pub stacks: Vec<StackName>,
    /// Where the hooks run. Absolute.
    pub dir: PathBuf,
    pub up: Option<Hook>,
    pub seed: Option<Hook>,
    pub down: Option<Hook>,
    pub ready: Ready,
    /// For hooks and replays.
    pub env: Vec<(String, String)>,
    /// Files that hooks write; read before each later step. Absolute; they need not exist.
    pub env_files: Vec<PathBuf>,
}

/// When the stack counts as up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Every container of the stack runs and, where it has a health check, is healthy. One that
    /// exited with 0 counts: seed and migration containers do.
    pub healthy: bool,
    /// Answers with 2xx. `${NAME}` is replaced from the harness's environment.
    pub http: Option<String>,
    pub timeout: Duration,
}

impl Default for Ready {
    fn default() -> Self {
        Self {
            healthy: true,
            http: None,
            timeout: Duration::from_secs(90),
        }
    }
}

/// Where replays are and how they run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replays {
    /// Globs relative to the root.
    pub paths: Vec<String>,
    /// Globs on file names that are helpers and no replays.
    pub exclude: Vec<String>,
    pub timeout: Duration,
    /// A replay that earlier runs have timed is given so many times its median, where that is less
    /// than its time-out.
    pub timeout_factor: Option<NonZeroU32>,
    pub slow: Duration,
    pub grace: Duration,
    /// How many run at once, of those that may.
    pub jobs: NonZeroUsize,
    /// How often one that fails is tried again.
    pub retries: u32,
    pub skip_exit_code: i32,
    /// How many runs keep their outputs.
    pub keep_runs: usize,
}

impl Default for Replays {
    fn default() -> Self {
        Self {
            paths: vec!["replays/*.sh".to_owned()],
            exclude: vec!["_*".to_owned(), "lib*.sh".to_owned()],
            timeout: Duration::from_secs(60),
            timeout_factor: None,
            slow: Duration::from_secs(10),
            grace: Duration::from_secs(5),
            jobs: NonZeroUsize::MIN,
            retries: 0,
            skip_exit_code: 77,
            keep_runs: 20,
        }
    }
}

impl Config {
    /// What holds where there is no file: every compose project is listed and protected, and
    /// replays are found where they usually are.
    pub fn without_file(directory: &Path) -> Self {
        Self {
            name: directory.file_name().map_or_else(
                || "tackroom".to_owned(),
                |name| name.to_string_lossy().into_owned(),
            ),
            root: directory.to_owned(),
            file: None,
            engine_host: None,
            scope: Scope::compose_projects(),
            harness: None,
            replays: Replays::default(),
            log_budget: 256 * 1024 * 1024,
        }
    }
}
