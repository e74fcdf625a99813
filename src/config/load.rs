//! From a file to a [`Config`].

use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use toml::de::DeTable;

use super::reader::{Presence, Source, Table};
use super::schema::{Config, Harness, MEBIBYTE, Ready};
use super::suite;
use crate::domain::claims::Claims;
use crate::domain::hook::Hook;
use crate::domain::label::{COMPOSE_PROJECT, COMPOSE_WORKING_DIR, Condition};
use crate::domain::scope::{ComposeProject, Protection, RunGuard, Scope, Stack, StackName};
use crate::domain::selector::Selector;

/// As long as most runs of a harness take at most.
const DEFAULT_MIN_AGE: Duration = Duration::from_secs(10 * 60);

pub const FILE_NAME: &str = "tackroom.toml";

/// One mistake in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub file: PathBuf,
    /// From 1.
    pub line: usize,
    pub key: String,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file.display(), self.line)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {}: {source}", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    /// Never empty.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Invalid(Vec<Problem>),
}

/// The nearest `tackroom.toml`, from a directory upward.
pub fn discover(from: &Path) -> Option<PathBuf> {
    from.ancestors()
        .map(|directory| directory.join(FILE_NAME))
        .find(|path| path.is_file())
}

/// Reads one file.
///
/// # Errors
///
/// Fails where it cannot be read, and with every mistake in it otherwise.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let read = |source| ConfigError::Read {
        path: path.to_owned(),
        source,
    };
    // The directory decides which compose project is ours, so links must not hide it.
    let real = path.canonicalize().map_err(read)?;
    let text = std::fs::read_to_string(&real).map_err(read)?;
    of_text(&text, path, &real, Presence::Required)
}

/// Reads what stood in a file, whatever stands there now: what it names may have gone since.
///
/// # Errors
///
/// Fails with every mistake in it.
pub fn read(path: &Path, text: &str) -> Result<Config, ConfigError> {
    of_text(text, path, path, Presence::Past)
}

fn of_text(
    text: &str,
    path: &Path,
    real: &Path,
    presence: Presence,
) -> Result<Config, ConfigError> {
    let root = real.parent().unwrap_or(Path::new("/"));
    parse(text, path, root, presence).map(|config| Config {
        file: Some(real.to_owned()),
        text: text.into(),
        ..config
    })
}

fn parse(text: &str, path: &Path, root: &Path, presence: Presence) -> Result<Config, ConfigError> {
    let source = Source {
        path,
        text,
        presence,
        problems: RefCell::default(),
    };
    let config = match DeTable::parse(text) {
        Ok(document) => Some(config(Table::root(&source, &document), root)),
        Err(error) => {
            let span = error.span().unwrap_or_default();
            source.report(span, String::new(), error.message().to_owned());
            None
        }
    };
    let mut problems = source.problems.into_inner();
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => {
            problems.sort_by_key(|problem| problem.line);
            Err(ConfigError::Invalid(problems))
        }
    }
}

fn config(root_table: Table<'_>, root: &Path) -> Config {
    let defaults = Config::without_file(root);
    let name = root_table.string("name").unwrap_or(defaults.name);
    let engine_host = root_table.table("engine").and_then(|engine| {
        let host = engine.string("host");
        engine.finish();
        host
    });
    let logs = root_table.table("logs");
    let mebibytes = |key| {
        let mebibytes = logs.as_ref()?.integer(key, 1..65_536)?;
        u64::try_from(mebibytes).ok().map(|count| count * MEBIBYTE)
    };
    let log_budget = mebibytes("budget_mib").unwrap_or(defaults.log_budget);
    let log_cap = mebibytes("record_mib").unwrap_or(defaults.log_cap);
    if let Some(logs) = logs {
        logs.finish();
    }
    let harness_table = root_table.table("harness");
    let env = harness_table
        .as_ref()
        .map(|table| table.entries("env"))
        .unwrap_or_default();
    let families: Vec<Selector> = root_table
        .tables("family")
        .into_iter()
        .filter_map(|table| family(table, root))
        .collect();
    let mut stacks: Vec<Stack> = Vec::new();
    for table in root_table.tables("stack") {
        if let Some(stack) = stack(table, root, &env, &stacks) {
            stacks.push(stack);
        }
    }
    let scope = if families.is_empty() && stacks.is_empty() {
        defaults.scope
    } else {
        Scope {
            families,
            stacks,
            group_by: None,
        }
    };
    let harness = harness_table.map(|table| harness(table, root, env, &scope));
    let replays = suite::replays(
        root_table.table("replays"),
        root_table.tables("suite"),
        defaults.replays,
        root,
    );
    root_table.finish();
    Config {
        name,
        root: root.to_owned(),
        file: None,
        text: defaults.text,
        engine_host,
        scope,
        harness,
        replays,
        log_budget,
        log_cap,
    }
}

/// Reads `labels`, in which `{checkout}` stands for this checkout.
fn selector(table: &Table<'_>, root: &Path) -> Option<Selector> {
    let labels = table.strings("labels")?;
    conditions(table, "labels", &labels, root)
}

fn conditions(table: &Table<'_>, key: &str, labels: &[String], root: &Path) -> Option<Selector> {
    if labels.is_empty() {
        table.reject(
            key,
            "must name at least one label: everything on an engine cannot be meant",
        );
        return None;
    }
    let conditions: Vec<Condition> = labels
        .iter()
        .filter_map(
            |label| match label.replace("{checkout}", &checkout(root)).parse() {
                Ok(condition) => Some(condition),
                Err(error) => {
                    table.reject(key, format!("{error}"));
                    None
                }
            },
        )
        .collect();
    if conditions.len() < labels.len() {
        return None;
    }
    Selector::from_conditions(conditions)
}

fn family(table: Table<'_>, root: &Path) -> Option<Selector> {
    let selector = selector(&table, root);
    table.finish();
    selector
}

fn stack(
    table: Table<'_>,
    root: &Path,
    env: &[(String, String)],
    earlier: &[Stack],
) -> Option<Stack> {
    let name = table.string("name");
    let labels = selector(&table, root);
    let compose = table.string("compose");
    let project = table.string("project");
    let teardown = table.bool("teardown").unwrap_or(false);
    let also: Vec<Selector> = table
        .lists("also")
        .iter()
        .filter_map(|labels| conditions(&table, "also", labels, root))
        .collect();
    let spawner = table
        .strings("spawner")
        .and_then(|labels| conditions(&table, "spawner", &labels, root));
    let state_dirs = state_dirs(&table);
    let run_guard = run_guard(&table);
    let name = match name {
        None => {
            table.missing("name");
            None
        }
        Some(name) if earlier.iter().any(|stack| *stack.name == *name) => {
            table.reject("name", format!("another stack is called {name} already"));
            None
        }
        Some(name) => Some(name),
    };
    let resolved = match (labels, compose) {
        (Some(_), Some(_)) => {
            table.reject(
                "compose",
                "a stack is selected by `labels` or by `compose`, not by both",
            );
            None
        }
        (Some(selector), None) => Some((selector, None)),
        (None, Some(file)) => compose_stack(&table, root, env, &file, project.as_deref())
            .map(|(selector, project)| (selector, Some(project))),
        (None, None) => {
            if !table.has("labels") && !table.has("compose") {
                table.missing("labels");
            }
            None
        }
    };
    table.finish();
    let (selector, compose_project) = resolved?;
    Some(Stack {
        name: StackName::from(name?),
        claims: Claims::new(selector, also),
        spawner,
        state_dirs,
        protection: if teardown {
            Protection::Removable
        } else {
            Protection::Protected
        },
        compose_project,
        run_guard,
    })
}

fn run_guard(table: &Table<'_>) -> Option<RunGuard> {
    let label = table.string("run_label");
    let min_age = table.duration("min_age");
    let Some(label) = label else {
        if table.has("min_age") && !table.has("run_label") {
            let why = "needs `run_label`, the label that says which run made a container";
            table.reject("min_age", why);
        }
        return None;
    };
    if label.contains('=') || label.trim() != label {
        let why = format!("{label:?} is not the key of a label: its value is the id of a run");
        table.reject("run_label", why);
    }
    Some(RunGuard {
        label,
        min_age: min_age.unwrap_or(DEFAULT_MIN_AGE),
    })
}

/// Globs that name directories at least one level below a top-level one: `/tmp/x-*` is fine, `/*`
/// and `/home/*` are whole trees of other people's.
fn state_dirs(table: &Table<'_>) -> Vec<String> {
    let globs = table.strings("state_dirs").unwrap_or_default();
    for glob in &globs {
        let name = glob.rsplit('/').next().unwrap_or_default();
        let literal = name.chars().filter(|c| !"*?[]!-.".contains(*c)).count();
        let why = if let Err(error) = glob::Pattern::new(glob) {
            error.to_string()
        } else if !glob.starts_with('/') || glob.matches('/').count() < 2 {
            "must be an absolute path of at least two parts".to_owned()
        } else if glob.split('/').any(|part| part == ".." || part == "**") {
            "must not hold .. or **".to_owned()
        } else if literal < 3 {
            "must name its directories by at least three letters of their own".to_owned()
        } else {
            continue;
        };
        table.reject("state_dirs", format!("{glob:?} {why}"));
    }
    globs
}

/// The labels that compose writes for the project of this file. The project's name alone would
/// also match another checkout of the same name.
fn compose_stack(
    table: &Table<'_>,
    root: &Path,
    env: &[(String, String)],
    file: &str,
    project: Option<&str>,
) -> Option<(Selector, ComposeProject)> {
    let path = table.real("compose", &root.join(file), Path::exists, "does not exist")?;
    let directory = path.parent()?;
    let unique = project.is_some_and(|project| project.contains("{checkout}"));
    let project = match project {
        Some(project) => project.replace("{checkout}", &checkout(root)),
        None => env
            .iter()
            .find(|(name, _)| name == "COMPOSE_PROJECT_NAME")
            .map_or_else(|| default_project(directory), |(_, value)| value.clone()),
    };
    if project.is_empty() || project != normalise(&project) {
        table.reject(
            "project",
            format!(
                "{project:?} is not a compose project name: lower-case letters, digits, - and _"
            ),
        );
        return None;
    }
    let selector = Selector::new(
        Condition::equals(COMPOSE_PROJECT, project.clone()),
        [Condition::equals(
            COMPOSE_WORKING_DIR,
            directory.to_string_lossy(),
        )],
    );
    let project = ComposeProject {
        name: project,
        unique,
    };
    Some((selector, project))
}

/// Eight hexadecimal digits that name a checkout: of SHA-256 over its absolute path.
fn checkout(root: &Path) -> String {
    let hash = Sha256::digest(root.as_os_str().as_encoded_bytes());
    hash.iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Compose's own default: the directory's name, normalised.
fn default_project(directory: &Path) -> String {
    directory
        .file_name()
        .map(|name| normalise(&name.to_string_lossy()))
        .unwrap_or_default()
}

fn normalise(name: &str) -> String {
    let name: String = name
        .to_lowercase()
        .chars()
        .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'))
        .collect();
    name.trim_start_matches(['-', '_']).to_owned()
}

fn harness(table: Table<'_>, root: &Path, env: Vec<(String, String)>, scope: &Scope) -> Harness {
    let dir = table
        .string("dir")
        .map_or_else(|| root.to_owned(), |dir| root.join(dir));
    let dir = table
        .real("dir", &dir, Path::is_dir, "is not a directory")
        .unwrap_or(dir);
    let stacks = harness_stacks(&table, scope);
    let timeout = table
        .limit("timeout")
        .unwrap_or(Duration::from_secs(15 * 60));
    let hook = |key| {
        let words = table.strings(key)?;
        let (program, args) = words.split_first()?;
        let program = if program.contains('/') {
            // `./up.sh` without its dot: it is shown to people.
            dir.join(program).components().collect()
        } else {
            PathBuf::from(program)
        };
        Some(Hook {
            program,
            args: args.to_vec(),
            timeout: Some(timeout),
        })
    };
    let harness = Harness {
        stacks,
        up: hook("up"),
        seed: hook("seed"),
        down: hook("down"),
        ready: table.table("ready").map_or_else(Ready::default, ready),
        env,
        env_files: table
            .strings("env_files")
            .unwrap_or_default()
            .iter()
            .map(|file| dir.join(file))
            .collect(),
        dir,
    };
    table.finish();
    harness
}

/// One name, or several.
fn harness_stacks(table: &Table<'_>, scope: &Scope) -> Vec<StackName> {
    let Some(names) = table.strings("stack") else {
        return Vec::new();
    };
    if names.is_empty() {
        table.reject("stack", "must name at least one [[stack]]");
    }
    let mut stacks: Vec<StackName> = Vec::new();
    for name in &names {
        if scope.stack(name).is_none() {
            let known: Vec<&str> = scope.stacks.iter().map(|stack| &*stack.name).collect();
            let known = known.join(", ");
            let why = format!("no [[stack]] is called {name}; there are: {known}");
            table.reject("stack", why);
        } else if stacks.iter().any(|known| **known == **name) {
            table.reject("stack", format!("{name} stands here twice"));
        }
        stacks.push(name.as_str().into());
    }
    stacks
}

fn ready(table: Table<'_>) -> Ready {
    let defaults = Ready::default();
    let ready = Ready {
        healthy: table.bool("healthy").unwrap_or(defaults.healthy),
        http: table.string("http"),
        timeout: table.limit("timeout").unwrap_or(defaults.timeout),
    };
    if let Some(url) = &ready.http
        && !url.starts_with("http://")
        && !url.starts_with("${")
    {
        table.reject("http", format!("{url:?} does not start with http://"));
    }
    table.finish();
    ready
}
