//! Directories on the engine's host that belong to containers: found, and removed with them.
//!
//! Only what a configured pattern matches is ever touched, and never through a symbolic link.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::build::goes;
use crate::config::{Found, walk};
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
    Ok(on_this_host(stack, plan, containers))
}

fn on_this_host(
    stack: &Stack,
    plan: &TeardownPlan,
    containers: &BTreeMap<ContainerId, Container>,
) -> Vec<(Item, Option<SpareReason>)> {
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
    found
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
            .filter_map(|glob| walk(Path::new("/"), glob.as_str()).ok())
            .flatten()
            .filter(|(_, found)| !matches!(found, Found::Unreadable(_)))
            .map(|(path, _)| path)
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

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::super::build::container_item;
    use super::*;
    use crate::domain::claims::Claims;
    use crate::domain::scope::Protection;
    use crate::domain::selector::Selector;
    use crate::engine::fake::{FakeContainer, FakeEngine};

    /// The stack `mine`, whose state is in `state-*` of a directory, and whatever else is there.
    struct Host {
        _dir: TempDir,
        root: PathBuf,
        stack: Stack,
        plan: TeardownPlan,
        containers: BTreeMap<ContainerId, Container>,
        engine: FakeEngine,
    }

    impl Host {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path().canonicalize().unwrap();
            let mine = Selector::from_conditions(["stack=mine".parse().unwrap()]).unwrap();
            let claims = Claims::from(mine);
            let stack = Stack {
                name: "mine".into(),
                claims: claims.clone(),
                spawner: None,
                state_dirs: vec![format!("{}/state-*", root.display())],
                protection: Protection::Removable,
                compose_project: None,
                run_guard: None,
            };
            let plan = TeardownPlan {
                stack: stack.name.clone(),
                claims,
                spawner: None,
                hook: None,
                remove: Vec::new(),
                spare: Vec::new(),
            };
            Self {
                _dir: dir,
                root,
                stack,
                plan,
                containers: BTreeMap::new(),
                engine: FakeEngine::new(),
            }
        }

        /// A directory with a file in it, and with labels if there are any.
        fn directory(&self, name: &str, labels: &[&str]) -> PathBuf {
            let path = self.root.join(name);
            std::fs::create_dir_all(&path).unwrap();
            std::fs::write(path.join("turn"), "1").unwrap();
            if !labels.is_empty() {
                std::fs::write(path.join(LABELS_FILE), labels.join("\n")).unwrap();
            }
            path
        }

        fn link(&self, name: &str, target: &Path) -> PathBuf {
            let path = self.root.join(name);
            std::os::unix::fs::symlink(target, &path).unwrap();
            path
        }

        fn container(&mut self, name: &str, source: &Path) -> Container {
            let source = source.to_str().unwrap();
            let spec = FakeContainer::new(name).mount(MountKind::Bind, source, "/state");
            let id = self.engine.run(spec);
            let container = self.engine.container(&id).unwrap();
            self.containers.insert(id, container.clone());
            container
        }

        /// A container of the plan.
        fn goes(&mut self, name: &str, source: &Path) {
            let container = self.container(name, source);
            self.plan.remove.push(container_item(&container));
        }

        fn items(&self) -> Vec<(Item, Option<SpareReason>)> {
            on_this_host(&self.stack, &self.plan, &self.containers)
        }

        /// Names in the host's directory, and why they stay.
        fn found(&self) -> Vec<(String, Option<String>)> {
            let named = |(item, reason): (Item, Option<SpareReason>)| {
                let name = Path::new(&item.name).strip_prefix(&self.root).unwrap();
                let name = name.display().to_string();
                (name, reason.map(|reason| reason.to_string()))
            };
            self.items().into_iter().map(named).collect()
        }

        /// The only one that would go.
        fn only(&self) -> Item {
            let mut items = self.items();
            assert_eq!(items.len(), 1, "{items:?}");
            let (item, reason) = items.swap_remove(0);
            assert_eq!(reason, None);
            item
        }

        fn changed(&self, item: &Item) -> io::Result<Option<String>> {
            changed(item, &self.stack.state_dirs, &self.containers)
        }
    }

    fn goes(name: &str) -> (String, Option<String>) {
        (name.to_owned(), None)
    }

    fn stays(name: &str, why: &str) -> (String, Option<String>) {
        (name.to_owned(), Some(why.to_owned()))
    }

    #[test]
    fn a_root_goes_with_the_containers_that_use_a_part_of_it() {
        let mut host = Host::new();
        for game in ["state-1/a", "state-1/b"] {
            let source = host.directory(game, &[]);
            host.goes(game, &source);
        }
        assert_eq!(host.found(), [goes("state-1")]);
    }

    #[test]
    fn what_nobody_uses_goes_by_its_labels_and_is_reported_without() {
        let host = Host::new();
        host.directory("state-mine", &["stack=mine", "other=1"]);
        host.directory("state-nobodys", &[]);
        host.directory("state-theirs", &["stack=theirs"]);
        let why = "no container uses it, and it does not say whose it is";
        assert_eq!(
            host.found(),
            [goes("state-mine"), stays("state-nobodys", why)]
        );
    }

    #[test]
    fn one_that_a_survivor_uses_stays() {
        let mut host = Host::new();
        let shared = host.directory("state-shared", &["stack=mine"]);
        host.goes("engine", &shared);
        host.container("survivor", &shared.join("a"));
        // Labels do not take it from who uses it, nor is it news.
        let theirs = host.directory("state-theirs", &["stack=mine"]);
        host.container("other", &theirs);
        assert_eq!(host.found(), [stays("state-shared", "survivor uses it")]);
    }

    #[test]
    fn what_no_pattern_names_is_not_even_seen() {
        let mut host = Host::new();
        for name in ["precious", "xstate-1", "below/state-1", ".state-1"] {
            let source = host.directory(name, &["stack=mine"]);
            host.goes(name, &source);
        }
        std::fs::write(host.root.join("state-file"), "").unwrap();
        assert_eq!(host.found(), []);
    }

    #[test]
    fn a_link_is_never_followed() {
        let mut host = Host::new();
        let precious = host.directory("precious", &["stack=mine"]);
        let link = host.link("state-link", &precious);
        host.goes("engine", &link);
        assert_eq!(host.found(), []);

        // Nor one on the way to it.
        host.directory("real/state-1", &["stack=mine"]);
        let way = host.link("way", &host.root.join("real"));
        host.stack.state_dirs = vec![format!("{}/state-*", way.display())];
        assert_eq!(host.found(), []);

        // Nor one to labels.
        let host = Host::new();
        let labels = host
            .directory("precious", &["stack=mine"])
            .join(LABELS_FILE);
        host.directory("state-1", &[]);
        host.link("state-1/.labels", &labels);
        let why = "no container uses it, and it does not say whose it is";
        assert_eq!(host.found(), [stays("state-1", why)]);
    }

    #[tokio::test]
    async fn removing_one_leaves_what_it_links_to() {
        let host = Host::new();
        let precious = host.directory("precious", &[]);
        let root = host.directory("state-1", &["stack=mine"]);
        host.link("state-1/link", &precious);
        let item = host.only();
        assert_eq!(host.changed(&item).unwrap(), None);
        assert_eq!(remove(&item).await.unwrap(), Removal::Removed);
        assert!(!root.exists());
        assert!(precious.join("turn").exists());
        assert_eq!(remove(&item).await.unwrap(), Removal::Gone);
    }

    #[test]
    fn one_that_is_not_what_was_confirmed_stays() {
        let mut host = Host::new();
        let root = host.directory("state-1", &["stack=mine"]);
        let item = host.only();
        host.container("late", &root);
        assert_eq!(
            host.changed(&item).unwrap().as_deref(),
            Some("late uses it")
        );
        host.containers.clear();

        // The old one is kept, so that the new one cannot get its inode.
        let aside = host.root.join("aside");
        std::fs::rename(&root, &aside).unwrap();
        host.directory("state-1", &["stack=mine"]);
        assert_eq!(
            host.changed(&item).unwrap().as_deref(),
            Some("it was made anew since")
        );

        std::fs::remove_dir_all(&root).unwrap();
        host.link("state-1", &aside);
        let refused = host.changed(&item).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::NotADirectory);

        let outside = Item {
            name: aside.display().to_string(),
            ..item
        };
        assert_eq!(
            host.changed(&outside).unwrap().as_deref(),
            Some("no pattern of the stack matches it")
        );
    }
}
