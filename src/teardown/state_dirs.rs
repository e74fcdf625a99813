//! Directories on the engine's host that belong to containers: found, and removed with them.
//!
//! Only what a configured pattern matches is ever touched, and never through a symbolic link.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::build::goes;
use crate::domain::container::{Container, MountKind};
use crate::domain::id::ContainerId;
use crate::domain::label::Labels;
use crate::domain::plan::{Item, ItemKind, SpareReason, TeardownPlan};
use crate::domain::scope::Stack;
use crate::engine::{Engine, EngineError, Removal};

/// In a directory: the labels of what it belongs to, one `key=value` a line. It tells whose a
/// directory is that no container uses any more.
const LABELS_FILE: &str = ".labels";

/// The directories of a stack, each with the reason why it stays, if it does.
///
/// An engine on another machine has directories that we do not see: it has none here.
pub(super) async fn state_dirs(
    engine: &dyn Engine,
    stack: &Stack,
    plan: &TeardownPlan,
    containers: &BTreeMap<ContainerId, Container>,
) -> Result<Vec<(Item, Option<SpareReason>)>, EngineError> {
    if stack.state_dirs.is_empty() || !engine.info().await?.endpoint.starts_with("unix:") {
        return Ok(Vec::new());
    }
    let patterns = Patterns::new(&stack.state_dirs);
    let mounted: BTreeSet<PathBuf> = containers
        .values()
        .filter(|container| goes(plan, &container.id))
        .flat_map(|container| binds(container).filter_map(|source| patterns.root_of(source)))
        .collect();
    let mut found = Vec::new();
    for path in mounted.iter().cloned().chain(patterns.existing()) {
        let Ok(item) = look(&path) else {
            continue;
        };
        if found
            .iter()
            .any(|(known, _): &(Item, _)| known.id == item.id)
        {
            continue;
        }
        let reason = if let Some(by) = user_of(&path, containers, |id| goes(plan, id)) {
            // Another stack's directory is no news to this one.
            if !mounted.contains(&path) {
                continue;
            }
            Some(SpareReason::InUse { by })
        } else if mounted.contains(&path) || stack.claims.matches(&item.labels) {
            None
        } else if item.labels.is_empty() {
            Some(SpareReason::Ownerless)
        } else {
            continue;
        };
        found.push((item, reason));
    }
    Ok(found)
}

/// Why a directory of a confirmed plan stays after all; `None` if it may go.
pub(super) fn changed(
    item: &Item,
    patterns: &[String],
    containers: &BTreeMap<ContainerId, Container>,
) -> io::Result<Option<String>> {
    let path = Path::new(&item.name);
    if Patterns::new(patterns).root_of(path).as_deref() != Some(path) {
        return Ok(Some("no pattern of the stack matches it".to_owned()));
    }
    let now = look(path)?;
    if now.id != item.id {
        return Ok(Some("it was made anew since".to_owned()));
    }
    let in_plan = |_: &ContainerId| false;
    Ok(user_of(path, containers, in_plan).map(|by| format!("{by} uses it")))
}

/// Removes a directory and what is in it. The standard library follows no link on the way down.
///
/// # Errors
///
/// Fails where something in it cannot be removed.
pub(super) async fn remove(item: &Item) -> io::Result<Removal> {
    let path = PathBuf::from(&item.name);
    let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(path)).await;
    match removed.map_err(io::Error::other)? {
        Ok(()) => Ok(Removal::Removed),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Removal::Gone),
        Err(error) => Err(error),
    }
}

struct Patterns(Vec<glob::Pattern>);

impl Patterns {
    /// The configuration has checked them.
    fn new(globs: &[String]) -> Self {
        Self(
            globs
                .iter()
                .filter_map(|glob| glob::Pattern::new(glob).ok())
                .collect(),
        )
    }

    const OPTIONS: glob::MatchOptions = glob::MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: true,
    };

    /// The part of a path that a pattern names: `/tmp/state-1` of `/tmp/state-1/game`.
    fn root_of(&self, source: &Path) -> Option<PathBuf> {
        source
            .ancestors()
            .find(|path| {
                self.0
                    .iter()
                    .any(|glob| glob.matches_path_with(path, Self::OPTIONS))
            })
            .map(Path::to_owned)
    }

    fn existing(&self) -> Vec<PathBuf> {
        self.0
            .iter()
            .filter_map(|glob| glob::glob_with(glob.as_str(), Self::OPTIONS).ok())
            .flat_map(Iterator::flatten)
            .collect()
    }
}

fn binds(container: &Container) -> impl Iterator<Item = &Path> {
    container
        .mounts
        .iter()
        .filter(|mount| mount.kind == MountKind::Bind)
        .map(|mount| Path::new(&mount.source))
}

/// A container that stays and has the directory, or something in it, bound.
fn user_of(
    path: &Path,
    containers: &BTreeMap<ContainerId, Container>,
    goes: impl Fn(&ContainerId) -> bool,
) -> Option<String> {
    containers
        .values()
        .filter(|container| !goes(&container.id))
        .find(|container| binds(container).any(|source| source.starts_with(path)))
        .map(|container| container.title().to_owned())
}

/// A real directory behind real directories, pinned by device and inode.
fn look(path: &Path) -> io::Result<Item> {
    let metadata = std::fs::symlink_metadata(path)?;
    let is_real = metadata.is_dir() && path.canonicalize()? == path;
    if !is_real {
        return Err(io::Error::new(
            ErrorKind::NotADirectory,
            "not a directory of its own",
        ));
    }
    Ok(Item {
        kind: ItemKind::StateDir,
        name: path.to_string_lossy().into_owned(),
        id: format!("{}:{}", metadata.dev(), metadata.ino()),
        created: None,
        labels: labels(path),
        image: None,
        state: None,
    })
}

fn labels(path: &Path) -> Labels {
    let file = path.join(LABELS_FILE);
    if !std::fs::symlink_metadata(&file).is_ok_and(|metadata| metadata.is_file()) {
        return Labels::new();
    }
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
        .collect()
}
