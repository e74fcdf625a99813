//! From the command line's few options to everything that a command needs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use crate::config::{self, Config, ConfigError};
use crate::docker;
use crate::engine::{Engine, EngineError};
use crate::harness::Harness;
use crate::process::{Controller, GuardCommand};
use crate::record::{Opened, Store};

/// What the command line may override.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Instead of looking for the file upward from the working directory.
    pub config: Option<PathBuf>,
    /// What stands in that file, instead of what can be read in it now.
    pub config_text: Option<String>,
    /// Instead of the configured engine.
    pub host: Option<String>,
    /// Instead of the configured bytes of log lines.
    pub log_budget: Option<u64>,
}

/// What commands and the dashboard work with.
#[derive(Clone)]
pub struct Context {
    pub config: Arc<Config>,
    pub engine: Arc<dyn Engine>,
    /// Signals and keys that ask to stop arrive here.
    pub controller: Controller,
    /// How to start who takes over from a run that is killed.
    pub guard: Option<GuardCommand>,
    /// The run that is looked at instead of an engine.
    pub recording: Option<Arc<Opened>>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Nothing can be done.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(
        "{} belongs to another user, and its hooks would run as you; --config names a file that you trust",
        .0.display()
    )]
    Stranger(PathBuf),
    #[error("cannot tell the working directory: {0}")]
    WorkingDirectory(std::io::Error),
    #[error("{}", .0.advice())]
    Engine(#[from] EngineError),
}

impl Context {
    /// Reads the configuration and names the engine; it is not reached yet.
    ///
    /// # Errors
    ///
    /// Fails on a configuration that cannot be used, and on an engine address that cannot be one.
    pub fn open(options: &Options) -> Result<Self, BootstrapError> {
        let config = configuration(options)?;
        let host = options.host.as_deref().or(config.engine_host.as_deref());
        let engine = docker::connect(host)?;
        Ok(Self {
            guard: guard_command(&config, options.host.as_deref()),
            config: Arc::new(config),
            engine: Arc::new(engine),
            controller: Controller::default(),
            recording: None,
        })
    }

    /// A run that has been: no engine is reached, and no configuration looked for.
    pub fn recorded(options: &Options, opened: Arc<Opened>) -> Self {
        let mut config = Config::without_file(&opened.recording.root);
        config.name.clone_from(&opened.recording.name);
        config.scope = opened.scope();
        config.log_budget = options.log_budget.unwrap_or(config.log_budget);
        Self {
            config: Arc::new(config),
            engine: Arc::new(opened.engine.clone()),
            controller: Controller::default(),
            guard: None,
            recording: Some(opened),
        }
    }

    /// What `now` means to containers and logs: the end of a recording, or the moment.
    pub fn now(&self) -> Timestamp {
        let recording = self.recording.as_ref();
        recording.map_or_else(Timestamp::now, |opened| opened.ended_by_engine())
    }

    pub fn harness(&self) -> Harness {
        Harness {
            config: self.config.clone(),
            engine: self.engine.clone(),
            store: Store::of(&self.config.root, &self.config.name).ok(),
            guard: self.guard.clone(),
        }
    }
}

/// A process that goes by the same configuration, whatever becomes of its file, and finds the same
/// engine.
fn guard_command(config: &Config, host: Option<&str>) -> Option<GuardCommand> {
    // What runs, also where another build has taken its place.
    let own = PathBuf::from("/proc/self/exe");
    let program = if own.exists() {
        own
    } else {
        std::env::current_exe().ok()?
    };
    let mut args = vec![OsString::from("guard")];
    if let Some(file) = &config.file {
        let file = std::path::absolute(file).ok()?;
        args.extend(["--config".into(), file.into()]);
    }
    if let Some(host) = host {
        args.extend(["--host".into(), host.into()]);
    }
    let told = config.text.as_bytes().to_vec();
    Some(GuardCommand {
        program,
        args,
        told,
    })
}

/// The configuration alone, for commands that need no engine.
///
/// # Errors
///
/// Fails on a file that cannot be used. That there is none is no error.
pub fn configuration(options: &Options) -> Result<Config, BootstrapError> {
    let mut config = find(options)?;
    if let Some(budget) = options.log_budget {
        config.log_budget = budget;
    }
    Ok(config)
}

fn find(options: &Options) -> Result<Config, BootstrapError> {
    if let Some(file) = &options.config {
        return Ok(match &options.config_text {
            Some(text) => config::read(file, text)?,
            None => config::load(file)?,
        });
    }
    let directory = std::env::current_dir().map_err(BootstrapError::WorkingDirectory)?;
    match config::discover(&directory) {
        Some(file) if is_strangers(&file) => Err(BootstrapError::Stranger(file)),
        Some(file) => Ok(config::load(&shorter(&file, &directory))?),
        None => Ok(Config::without_file(&directory)),
    }
}

/// Whether a file that was come across belongs to somebody else than us or root: its hooks would
/// run with our rights, and anybody can put one into `/tmp`.
fn is_strangers(file: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let ours = rustix::process::getuid().as_raw();
    std::fs::metadata(file).is_ok_and(|metadata| ![0, ours].contains(&metadata.uid()))
}

/// Relative to the working directory where it lies in it, for messages.
fn shorter(file: &Path, directory: &Path) -> PathBuf {
    file.strip_prefix(directory).unwrap_or(file).to_owned()
}
