//! The configuration as the rest of the crate uses it: resolved, with its defaults.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::suite::common_directory;
use crate::domain::hook::Hook;
use crate::domain::scope::{Scope, StackName};
use crate::domain::suite::{Kind, Rules, SuiteName};

pub(super) const MEBIBYTE: u64 = 1024 * 1024;

/// Everything that a user can decide.
#[derive(Clone, Debug)]
pub struct Config {
    pub name: String,
    /// The directory of the file, or the working directory where there is none. Absolute.
    pub root: PathBuf,
    /// `None`: no file was found, and these are the defaults.
    pub file: Option<PathBuf>,
    /// What stood in the file when it was read.
    pub text: Arc<str>,
    /// Overrides `DOCKER_HOST` and the docker context.
    pub engine_host: Option<String>,
    pub scope: Scope,
    pub harness: Option<Harness>,
    pub replays: Replays,
    /// Bytes of log lines held by the dashboard, over all containers.
    pub log_budget: u64,
    /// Bytes of each container's log that a run keeps on disk.
    pub log_cap: u64,
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

/// The suites, and what holds for all of them.
#[derive(Clone, Debug)]
pub struct Replays {
    /// `[replays]`: what it finds that no other suite does, and where the others take the values from
    /// that they do not say.
    pub default: Suite,
    /// `[[suite]]`, in the order of the file. No two have one name, and none has that of the default.
    pub others: Vec<Suite>,
    /// Of hooks, and of what a run leaves behind.
    pub grace: Duration,
    /// How many run at once, of those that may.
    pub jobs: NonZeroUsize,
    /// How often one that fails is tried again.
    pub retries: u32,
    pub keep: Keep,
}

/// Which runs are kept, beside the newest and those under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// How many, the newest included.
    pub runs: usize,
    /// No older one; `None`: however old.
    pub age: Option<Duration>,
    /// Bytes on disk of all together; `None`: however many.
    pub bytes: Option<u64>,
}

impl Keep {
    /// That many of any age and size.
    pub fn runs(runs: usize) -> Self {
        Self {
            runs,
            age: None,
            bytes: None,
        }
    }
}

impl Replays {
    pub(super) fn of(default: Suite) -> Self {
        Self {
            grace: default.grace,
            default,
            others: Vec::new(),
            jobs: NonZeroUsize::MIN,
            retries: 0,
            keep: Keep::runs(20),
        }
    }

    /// The default one first.
    pub fn suites(&self) -> impl Iterator<Item = &Suite> {
        std::iter::once(&self.default).chain(&self.others)
    }

    /// The default one stands in for what is not declared.
    pub fn suite(&self, name: &SuiteName) -> &Suite {
        let mut others = self.others.iter();
        others
            .find(|suite| suite.name == *name)
            .unwrap_or(&self.default)
    }
}

/// Replays that are found in one way, run in one way and judged by the same rules.
#[derive(Clone, Debug)]
pub struct Suite {
    pub name: SuiteName,
    /// Globs relative to the root, or absolute.
    pub paths: Vec<String>,
    /// Globs on file names that are helpers and no replays.
    pub exclude: Vec<String>,
    /// Only executable files are replays, whatever else the globs match.
    pub executable: bool,
    pub dir: RunIn,
    /// Program and arguments in front of the script; empty: it is run by itself.
    pub wrapper: Vec<String>,
    /// The wrapper reads the script from its stdin, where its path would mean nothing to it.
    pub script_on_stdin: bool,
    /// Added to that of the harness.
    pub env: Vec<(String, String)>,
    /// What the header of each of its replays says besides what it says itself.
    pub needs: Vec<String>,
    pub tags: Vec<String>,
    pub parallel: bool,
    pub groups: Vec<String>,
    pub timeout: Duration,
    /// A replay that earlier runs have timed is given so many times its median, where that is less
    /// than its time-out.
    pub timeout_factor: Option<NonZeroU32>,
    pub slow: Duration,
    pub grace: Duration,
    pub rules: Rules,
}

impl Suite {
    /// The directory that holds all that it can find: what its globs have in common before the
    /// first part that is none of a plain directory.
    pub fn base(&self, root: &Path) -> PathBuf {
        common_directory(root, &self.paths)
    }

    pub(super) fn default_in(root: &Path) -> Self {
        Self {
            name: SuiteName::default(),
            paths: vec!["replays/*.sh".to_owned()],
            exclude: vec!["_*".to_owned(), "lib*.sh".to_owned()],
            executable: false,
            dir: RunIn::Directory(root.to_owned()),
            wrapper: Vec::new(),
            script_on_stdin: false,
            env: Vec::new(),
            needs: Vec::new(),
            tags: Vec::new(),
            parallel: false,
            groups: Vec::new(),
            timeout: Duration::from_secs(60),
            timeout_factor: None,
            slow: Duration::from_secs(10),
            grace: Duration::from_secs(5),
            rules: Rules::of(Kind::Shell),
        }
    }
}

/// The working directory of a suite's replays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunIn {
    /// Absolute.
    Directory(PathBuf),
    /// That of each script.
    ScriptsOwn,
}

impl Config {
    /// [`Harness::stacks`]; none where there is no harness.
    pub fn harness_stacks(&self) -> &[StackName] {
        let harness = self.harness.as_ref();
        harness.map_or(&[], |harness| &harness.stacks)
    }

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
            text: Arc::default(),
            engine_host: None,
            scope: Scope::compose_projects(),
            harness: None,
            replays: Replays::of(Suite::default_in(directory)),
            log_budget: 256 * MEBIBYTE,
            log_cap: 64 * MEBIBYTE,
        }
    }
}
