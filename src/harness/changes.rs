//! What replays depend on, and what of it has changed.
//!
//! Notices from the file system and the engine only lead to another look: what has changed is told
//! by comparing contents, so that neither an editor's detours nor a file that is written anew as it
//! was runs anything.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::session::Harness;
use crate::config::{self, Config};
use crate::domain::id::ContainerId;
use crate::domain::past::History;
use crate::domain::replay::{Replay, ReplayName};
use crate::engine::{Engine, list_any};
use crate::process::Control;
use crate::record::Store;
use crate::replay::{Chosen, Selection, discover, helpers};

/// A file is looked at when so long nothing has happened to any: editors write in several steps …
const QUIET: Duration = Duration::from_millis(100);

/// … and after so long in any case.
const PATIENCE: Duration = Duration::from_secs(1);

/// No event tells that a name means another image.
const LOOK_AT_IMAGES: Duration = Duration::from_secs(5);

/// What has changed since it was last looked at.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// In words, for people: each reason for something to run again.
    pub(super) why: Vec<String>,
    /// Of the replays that are selected no more.
    pub(super) gone: Vec<ReplayName>,
    /// For each of them.
    pub(super) why_gone: Vec<String>,
    /// Of the replays whose scripts have changed, or are new.
    pub(super) scripts: BTreeSet<ReplayName>,
    /// It may concern every replay.
    pub(super) concerns_all: bool,
    /// The containers have to be made anew.
    pub(super) up: bool,
    /// They have been made anew.
    pub(super) ready: bool,
    pub(super) seed: bool,
}

impl Change {
    fn take_gone(&mut self, gone: &[Arc<Replay>]) {
        for replay in gone {
            let why = match replay.path.exists() {
                true => format!("{} is not selected any more", replay.file),
                false => format!("{} was deleted", replay.file),
            };
            self.gone.push(replay.name.clone());
            self.why_gone.push(why);
        }
    }
}

/// What is depended on, and the means to hear of changes to it.
pub(super) struct Changes {
    harness: Harness,
    selection: Selection,
    /// As its file is by now.
    pub(super) config: Arc<Config>,
    files: Files,
    stack: Stack,
    alarm: Arc<Notify>,
    watcher: Option<notify::RecommendedWatcher>,
    directories: BTreeSet<PathBuf>,
    _events: AbortOnDropHandle<()>,
    /// What went wrong since it was last asked for.
    problems: Vec<String>,
    /// Why nobody knows which replays are meant: said once.
    unknown: Option<String>,
}

impl Changes {
    pub(super) async fn begin(harness: &Harness, selection: &Selection) -> Self {
        let alarm = Arc::new(Notify::new());
        let events = tokio::spawn(hear_engine(harness.clone(), Arc::clone(&alarm)));
        let mut problems = Vec::new();
        let watcher = match watcher(Arc::clone(&alarm)) {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                problems.push(format!("files cannot be watched: {error}"));
                None
            }
        };
        let mut changes = Self {
            harness: harness.clone(),
            // What failed in an earlier run is where this one begins, and not what it is about.
            selection: Selection {
                last_failed: false,
                ..selection.clone()
            },
            config: Arc::clone(&harness.config),
            files: Files::default(),
            stack: Stack::default(),
            alarm,
            watcher,
            directories: BTreeSet::new(),
            _events: AbortOnDropHandle::new(events),
            problems,
            unknown: None,
        };
        changes.look_at_files().await;
        changes
    }

    /// The replays that may run, as their files are by now.
    pub(super) fn selected(&self) -> &[Arc<Replay>] {
        &self.files.selected
    }

    pub(super) fn take_problems(&mut self) -> Vec<String> {
        std::mem::take(&mut self.problems)
    }

    /// What replays have done to containers is no change.
    pub(super) async fn take_stack_as_it_is(&mut self) {
        if let Some(stack) = Stack::look(&self.harness, &Stack::default()).await {
            self.stack = stack;
        }
    }

    /// The next change or, without one, the next problem; `None` when a stop is asked for.
    pub(super) async fn next(&mut self, control: &Control) -> Option<Change> {
        // What changed while replays ran has raised the alarm.
        let mut heard = false;
        loop {
            if control.is_stopped() {
                return None;
            }
            let mut change = Change::default();
            if heard {
                change = self.look_at_files().await;
            }
            self.look_at_stack(&mut change).await;
            let is_news = !change.why.is_empty() || !change.gone.is_empty();
            if is_news || !self.problems.is_empty() {
                return Some(change);
            }
            heard = tokio::select! {
                () = control.stopped() => return None,
                () = self.settled() => true,
                () = sleep(LOOK_AT_IMAGES) => self.watcher.is_none(),
            };
        }
    }

    /// Waits for a notice, and until no more come.
    async fn settled(&self) {
        self.alarm.notified().await;
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE && timeout(QUIET, self.alarm.notified()).await.is_ok() {}
    }

    async fn look_at_files(&mut self) -> Change {
        let mut change = Change::default();
        // Looked at before it is read: what comes in between is heard of once more.
        let file = self.config.file.clone();
        let file = file.map(|file| (Stamp::of(&file), Print::of(&file), file));
        if let Some((stamp, print, file)) = &file
            && self.files.is_known(file)
            && self.files.print(file) != *print
        {
            match config::load(file) {
                Ok(config) => self.config = Arc::new(config),
                Err(error) => {
                    let problem = format!("still as it was, because of {error}");
                    self.problems.push(problem);
                    let seen = (*stamp, *print);
                    self.files.prints.insert(file.clone(), seen);
                    // Other files may have changed as well.
                    self.alarm.notify_one();
                    return change;
                }
            }
        }
        let (config, selection) = (Arc::clone(&self.config), self.selection.clone());
        let (store, before) = (self.harness.store.clone(), self.files.clone());
        let read = move || Files::read(&config, &selection, store.as_ref(), &before);
        let read = tokio::task::spawn_blocking(read).await;
        let files = match read.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(mut files) => {
                files
                    .prints
                    .extend(file.map(|(stamp, print, file)| (file, (stamp, print))));
                files
            }
            Err(problem) => {
                if self.unknown.as_ref() != Some(&problem) {
                    self.problems.push(problem.clone());
                }
                self.unknown = Some(problem);
                // What the selection means may be in doubt; what is deleted is not.
                self.files.drop_deleted(&mut change);
                return change;
            }
        };
        self.unknown = None;
        files.compare(&self.files, &mut change);
        self.files = files;
        self.watch_directories();
        change
    }

    /// Directories rather than files: a file that takes the place of another is no longer that one.
    fn watch_directories(&mut self) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let directories = self.files.directories(&self.config);
        for directory in directories.difference(&self.directories) {
            if let Err(error) = watcher.watch(directory, RecursiveMode::NonRecursive) {
                let directory = directory.display();
                let problem = format!("{directory} cannot be watched: {error}");
                self.problems.push(problem);
            }
        }
        self.directories = directories;
    }

    async fn look_at_stack(&mut self, change: &mut Change) {
        let Some(stack) = Stack::look(&self.harness, &self.stack).await else {
            return;
        };
        stack.compare(&self.stack, change);
    }
}

fn watcher(alarm: Arc<Notify>) -> notify::Result<notify::RecommendedWatcher> {
    notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let is_read = |kind: EventKind| {
            let written = AccessKind::Close(AccessMode::Write);
            matches!(kind, EventKind::Access(access) if access != written)
        };
        // To look at a file is an event as well, and must not lead to another look.
        if !event.is_ok_and(|event| is_read(event.kind)) {
            alarm.notify_one();
        }
    })
}

/// Raises the alarm at what happens to containers of the harness. Where the engine cannot tell,
/// they are looked at from time to time all the same.
async fn hear_engine(harness: Harness, alarm: Arc<Notify>) {
    let stacks = harness.stacks();
    if stacks.is_empty() {
        return;
    }
    let Ok(mut events) = harness.engine.events().await else {
        return;
    };
    while let Some(Ok(event)) = events.next().await {
        if stacks
            .iter()
            .any(|stack| stack.claims.matches(&event.labels))
        {
            alarm.notify_one();
        }
    }
}

/// What a file is to the replays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Config,
    Up,
    Seed,
    /// Shared by replays.
    Helper,
}

/// A file's content and mode; `None` where it cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Print(Option<(u32, u64)>);

/// By which a file that has not been touched is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            inode: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

impl Print {
    fn of(path: &Path) -> Self {
        let read = || {
            let metadata = std::fs::metadata(path).ok()?;
            if !metadata.is_file() {
                return None;
            }
            let mut hasher = DefaultHasher::new();
            hasher.write(&std::fs::read(path).ok()?);
            Some((metadata.mode(), hasher.finish()))
        };
        Self(read())
    }
}

/// The files that replays depend on.
#[derive(Clone, Debug, Default)]
struct Files {
    selected: Vec<Arc<Replay>>,
    prints: BTreeMap<PathBuf, (Option<Stamp>, Print)>,
    roles: BTreeMap<PathBuf, Role>,
    /// To name files relative to it.
    root: PathBuf,
}

impl Files {
    /// What was read before is not read again where nobody has touched it.
    fn read(
        config: &Config,
        selection: &Selection,
        store: Option<&Store>,
        before: &Self,
    ) -> Result<Self, String> {
        let all = discover(config).map_err(|error| error.to_string())?;
        let history = match store {
            Some(store) if selection.needs_history() => store.history(),
            _ => History::new(),
        };
        let selected = match selection.of(&all, &history) {
            Ok(Chosen::Replays(replays)) => replays,
            Ok(Chosen::Nothing(_)) => Vec::new(),
            Err(error) => return Err(error.to_string()),
        };
        let mut roles: BTreeMap<PathBuf, Role> = helpers(config)
            .map_err(|error| error.to_string())?
            .into_iter()
            .map(|path| (path, Role::Helper))
            .collect();
        if let Some(harness) = &config.harness {
            // One that is looked for on `PATH` is no file here.
            for (hook, role) in [(&harness.up, Role::Up), (&harness.seed, Role::Seed)] {
                let program = hook.iter().map(|hook| hook.program.clone());
                let own = program.filter(|program| program.is_absolute());
                roles.extend(own.map(|program| (program, role)));
            }
        }
        roles.extend(config.file.iter().map(|file| (file.clone(), Role::Config)));
        let scripts = selected.iter().map(|replay| &replay.path);
        let prints = scripts.chain(roles.keys()).map(|path| {
            let stamp = Stamp::of(path);
            let print = match before.prints.get(path) {
                Some((known, print)) if stamp.is_some() && *known == stamp => *print,
                _ => Print::of(path),
            };
            (path.clone(), (stamp, print))
        });
        Ok(Self {
            prints: prints.collect(),
            selected,
            roles,
            root: config.root.clone(),
        })
    }

    fn is_known(&self, path: &Path) -> bool {
        self.prints.contains_key(path)
    }

    fn print(&self, path: &Path) -> Print {
        self.prints
            .get(path)
            .map_or(Print(None), |(_, print)| *print)
    }

    fn drop_deleted(&mut self, change: &mut Change) {
        let is_there = |replay: &Arc<Replay>| replay.path.exists();
        let (selected, deleted): (Vec<_>, Vec<_>) =
            self.selected.drain(..).partition(|replay| is_there(replay));
        self.selected = selected;
        for replay in &deleted {
            // It is new when it comes back.
            self.prints.remove(&replay.path);
        }
        change.take_gone(&deleted);
    }

    fn compare(&self, before: &Self, change: &mut Change) {
        let selected: BTreeSet<&ReplayName> = self.selected.iter().map(|it| &it.name).collect();
        let gone = before.selected.iter();
        let gone: Vec<_> = gone
            .filter(|it| !selected.contains(&it.name))
            .cloned()
            .collect();
        change.take_gone(&gone);
        let has_changed =
            |path: &Path| !before.is_known(path) || before.print(path) != self.print(path);
        for replay in &self.selected {
            if has_changed(&replay.path) {
                change.scripts.insert(replay.name.clone());
                change.why.push(format!("{} changed", replay.file));
            }
        }
        for (path, role) in &self.roles {
            if !has_changed(path) {
                continue;
            }
            let name = path.strip_prefix(&self.root).unwrap_or(path);
            change.why.push(format!("{} changed", name.display()));
            change.concerns_all = true;
            change.up |= *role == Role::Up;
            change.seed |= *role == Role::Seed;
        }
    }

    fn directories(&self, config: &Config) -> BTreeSet<PathBuf> {
        let parents = self.prints.keys().filter_map(|path| path.parent());
        let mut directories: BTreeSet<PathBuf> = parents.map(Path::to_owned).collect();
        // Where there is no replay yet there may be one.
        let suites = config.replays.suites();
        let bases = suites.map(|suite| suite.base(&config.root));
        directories.extend(bases.filter(|base| base.is_dir()));
        directories
    }
}

/// The containers of the harness.
#[derive(Clone, Debug, Default)]
struct Stack {
    /// By name: the container of that name, and the name of its image.
    containers: BTreeMap<String, (ContainerId, String)>,
    /// What those names mean.
    images: BTreeMap<String, Option<String>>,
}

impl Stack {
    /// `None` where there is no stack, or nobody who could tell.
    ///
    /// Engines list a container by the id of its image once the name means another one, so the names
    /// are those of `before` as well.
    async fn look(harness: &Harness, before: &Self) -> Option<Self> {
        let stacks = harness.stacks();
        if stacks.is_empty() {
            return None;
        }
        let engine: &dyn Engine = &*harness.engine;
        let selectors = stacks.iter().flat_map(|stack| stack.claims.selectors());
        let listed = list_any(engine, selectors).await.ok()?;
        let mut stack = Self::default();
        let listed_by = listed.values().map(|container| &container.image);
        let names: BTreeSet<&String> = listed_by.chain(before.images.keys()).collect();
        for name in names {
            let means = engine.image_id(name).await.ok()?;
            stack.images.insert(name.clone(), means);
        }
        for container in listed.into_values() {
            let title = container.title().to_owned();
            let made = (container.id, container.image);
            stack.containers.insert(title, made);
        }
        Some(stack)
    }

    /// One that is gone may come back; one of a name that was not there is none of the harness's.
    fn compare(&self, before: &Self, change: &mut Change) {
        for (title, (id, image)) in &before.containers {
            let now = self.containers.get(title);
            if now.is_some_and(|(now, _)| now != id) {
                change.why.push(format!("{title} was made anew"));
                change.ready = true;
                change.concerns_all = true;
                continue;
            }
            let meant = before.images.get(image).and_then(Option::as_ref);
            let means = self.images.get(image).and_then(Option::as_ref);
            if let (Some(meant), Some(means)) = (meant, means)
                && meant != means
            {
                let why = format!("{image}, the image of {title}, is another one");
                change.why.push(why);
                change.up = true;
                change.concerns_all = true;
            }
        }
    }
}
