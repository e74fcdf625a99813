//! Taking the fingerprint of what a run runs against.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::clock::Measured;
use super::session::Harness;
use crate::config::Config;
use crate::domain::container::{Container, MountKind};
use crate::domain::fingerprint::{ContainerPrint, Fingerprint, GitHead, Machine, Unasked, Unknown};
use crate::domain::id::{ContainerId, RunId};
use crate::domain::replay::Replay;
use crate::domain::scope::Stack;
use crate::engine::{EngineError, ErrorKind, Inspect, list_any};
use crate::process::{Control, ask};
use crate::record::{Salt, write_fingerprint};

/// How long the engine may take for all its containers.
const ENGINE: Duration = Duration::from_secs(5);
/// How long git may take.
const GIT: Duration = Duration::from_secs(5);
/// How long the run waits for all of it at its end, and for the disk behind that.
const PATIENCE: Duration = Duration::from_secs(2);
const WRITING: Duration = Duration::from_millis(500);
/// What git may say. More changed files than fit in are not counted.
const GIT_ANSWER: u64 = 4 << 20;
/// Inspects at the same time.
const AT_ONCE: usize = 8;
/// The largest file that is hashed: it is read as a whole.
const LARGEST: u64 = 16 << 20;

const REVISION: &str = "org.opencontainers.image.revision";
const COMPOSE_FILES: &str = "com.docker.compose.project.config_files";

/// Labels that say nothing about what runs: how it was started, or when it was built.
const IDLE_LABELS: [&str; 4] = [
    "com.docker.compose.",
    "desktop.docker.io/",
    "io.podman.compose.",
    "org.opencontainers.image.",
];

/// What is to be looked at.
pub(super) struct Subject {
    pub(super) harness: Harness,
    pub(super) run: RunId,
    pub(super) replays: Vec<Arc<Replay>>,
    pub(super) salt: Salt,
    /// What the recorder learns of the engine; `None` where the engine is not our business.
    pub(super) measured: Option<watch::Receiver<Option<Measured>>>,
    /// Whether the run would have to wait by now.
    pub(super) hurried: watch::Receiver<bool>,
}

/// The containers as they are by now.
#[derive(Default)]
pub(super) struct Containers {
    prints: BTreeMap<String, ContainerPrint>,
    unknown: Unasked,
    /// What compose made them from.
    files: BTreeSet<PathBuf>,
}

impl Subject {
    /// Takes the fingerprint in bounded time. What cannot be told in it is said to be unknown.
    pub(super) async fn take(&self) -> Fingerprint {
        let engine = async {
            let mut measured = self.measured.clone()?;
            let known = measured.wait_for(Option::is_some);
            timeout(ENGINE, known).await.ok()?.ok()?.clone()
        };
        let (containers, head, measured) = tokio::join!(
            self.containers(),
            self.patiently(git_head(&self.harness.config.root)),
            self.patiently(engine)
        );
        let (salt, config) = (self.salt.clone(), self.harness.config.clone());
        let replays = self.replays.clone();
        let files = move || Files::read(&salt, &config, containers.files, &replays);
        let files = self.patiently(tokio::task::spawn_blocking(files)).await;
        let files = files.and_then(Result::ok).unwrap_or_else(Files::unknown);
        let (engine, clock) = match measured.flatten() {
            Some(measured) => (Some(measured.print), measured.clock),
            None => (None, None),
        };
        Fingerprint {
            at: Some(Timestamp::now()),
            salt: self.salt.id(),
            engine,
            clock,
            containers: containers.prints,
            files: files.files,
            replays: files.replays,
            head: head.flatten(),
            machine: machine(),
            unknown: Unknown {
                containers: containers.unknown,
                files: files.unknown_files,
                replays: files.unknown_replays,
            },
        }
    }

    /// `None` where the run would have to wait for it.
    async fn patiently<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut hurried = self.hurried.clone();
        let hurry = async {
            if hurried.wait_for(|hurried| *hurried).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            done = work => Some(done),
            () = hurry => None,
        }
    }

    pub(super) async fn containers(&self) -> Containers {
        let unknown = || Containers {
            unknown: Unasked::all(),
            ..Containers::default()
        };
        if self.measured.is_none() {
            // There is nothing to record, as nothing on the engine is anybody's.
            return Containers::default();
        }
        let (scope, engine) = (&self.harness.config.scope, &*self.harness.engine);
        let deadline = Instant::now() + ENGINE;
        let queries = scope.queries();
        let listed = timeout_at(deadline, list_any(engine, &queries));
        let Some(Ok(Ok(listed))) = self.patiently(listed).await else {
            return unknown();
        };
        let mut inspects = BTreeMap::new();
        let ids: Vec<ContainerId> = listed.keys().cloned().collect();
        let answers = ids
            .into_iter()
            .map(|id| async move { (id.clone(), engine.inspect(&id).await) });
        let mut answers = stream::iter(answers).buffer_unordered(AT_ONCE);
        while let Some(Ok(Some((id, answer)))) =
            self.patiently(timeout_at(deadline, answers.next())).await
        {
            inspects.insert(id, answer);
        }
        self.named(listed.into_values(), inspects)
    }

    fn named(
        &self,
        listed: impl Iterator<Item = Container>,
        mut inspects: BTreeMap<ContainerId, Result<Inspect, EngineError>>,
    ) -> Containers {
        let scope = &self.harness.config.scope;
        let mut containers = Containers::default();
        let mut listed: Vec<Container> = listed.collect();
        // Which of two replicas has the shorter name does not depend on the order of answers.
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        for container in listed {
            let inspect = match inspects.remove(&container.id) {
                Some(Ok(inspect)) => Some(inspect),
                // It went while it was looked at.
                Some(Err(error)) if error.kind == ErrorKind::NotFound => continue,
                Some(Err(_)) | None => None,
            };
            let group = scope.place(&container.labels);
            let group = group.group().unwrap_or_default().to_owned();
            let mut name = format!("{group}/{}", container.title());
            if containers.has(&name) {
                name = format!("{group}/{}", container.name);
            }
            if let Some(compose) = container.labels.get(COMPOSE_FILES) {
                let files = compose.split(',').map(PathBuf::from);
                containers.files.extend(files);
            }
            match inspect {
                Some(inspect) => {
                    containers.prints.insert(name, self.print(&inspect));
                }
                None => {
                    containers.unknown.names.insert(name);
                }
            }
        }
        containers
    }

    fn print(&self, inspect: &Inspect) -> ContainerPrint {
        let container = &inspect.container;
        let scope = &self.harness.config.scope;
        // What is another in each run by intention is no change.
        let lasting = |text: &str| text.replace(self.run.as_str(), "{run}");
        let env = inspect.env.iter().map(|(name, value)| {
            let value = value.as_deref().map(lasting).unwrap_or_default();
            (name.clone(), self.salt.hash("env", value.as_bytes()))
        });
        let words = inspect.entrypoint.iter().chain(&inspect.command);
        let command: Vec<String> = words.map(|word| lasting(word)).collect();
        let guards = scope.stacks.iter().filter_map(|stack| {
            let guard = stack.run_guard.as_ref();
            guard.map(|guard| guard.label.as_str())
        });
        let guards: BTreeSet<&str> = guards.collect();
        let is_idle = |key: &str| {
            guards.contains(key) || IDLE_LABELS.iter().any(|idle| key.starts_with(idle))
        };
        let labels = container.labels.iter().filter(|(key, _)| !is_idle(key));
        let labels = labels.map(|(key, value)| {
            let hash = self.salt.hash("label", lasting(value).as_bytes());
            (key.clone(), hash)
        });
        ContainerPrint {
            image: container.image_name().to_owned(),
            image_id: container.image_id.clone(),
            revision: container.labels.get(REVISION).cloned(),
            env: env.collect(),
            command: self.salt.hash("command", command.join("\0").as_bytes()),
            labels: labels.collect(),
            mounts: mounts(container, &scope.stacks, &lasting),
            ports: ports(inspect),
            limits: limits(inspect),
        }
    }
}

impl Containers {
    fn has(&self, name: &str) -> bool {
        self.prints.contains_key(name) || self.unknown.names.contains(name)
    }
}

/// A fingerprint that is being taken and written down beside the replays.
pub(super) struct Printing {
    subject: Arc<Subject>,
    directory: PathBuf,
    /// How often a container came or went, by now and when it was begun.
    turns: Option<(watch::Receiver<u64>, u64)>,
    taking: JoinHandle<(Fingerprint, io::Result<()>)>,
    hurry: watch::Sender<bool>,
}

impl Printing {
    pub(super) fn start(
        mut subject: Subject,
        directory: PathBuf,
        turns: Option<watch::Receiver<u64>>,
    ) -> Self {
        let (hurry, hurried) = watch::channel(false);
        subject.hurried = hurried;
        let subject = Arc::new(subject);
        let (taken, place) = (subject.clone(), directory.clone());
        Self {
            taking: tokio::spawn(async move {
                let print = taken.take().await;
                let written = write(&place, &print).await;
                (print, written)
            }),
            turns: turns.map(|turns| {
                let now = *turns.borrow();
                (turns, now)
            }),
            subject,
            directory,
            hurry,
        }
    }

    /// To be called before the teardown: containers that came meanwhile are written down as well.
    /// What takes long is left unknown, as is all that there is to wait for when a stop is asked
    /// for.
    pub(super) async fn finish(mut self, control: &Control) -> io::Result<()> {
        let hurry = self.hurry.clone();
        let finished = self.finished();
        let mut finished = std::pin::pin!(finished);
        tokio::select! {
            biased;
            finished = &mut finished => return finished,
            () = control.stopped() => {}
            () = sleep(PATIENCE) => {}
        }
        hurry.send_replace(true);
        let late = || Err(io::ErrorKind::TimedOut.into());
        timeout(WRITING, finished).await.unwrap_or_else(|_| late())
    }

    async fn finished(&mut self) -> io::Result<()> {
        let (mut print, written) = (&mut self.taking).await.map_err(io::Error::other)?;
        written?;
        if let Some((turns, before)) = &self.turns
            && *turns.borrow() != *before
        {
            let now = self.subject.containers().await;
            let known = (print.containers.clone(), print.unknown.containers.clone());
            print.containers.extend(now.prints);
            // What one of both looks has seen is known.
            let unknown = &mut print.unknown.containers;
            unknown.all &= now.unknown.all;
            unknown.names.extend(now.unknown.names);
            let is_known = |name: &String| print.containers.contains_key(name);
            unknown.names.retain(|name| !is_known(name));
            if (&print.containers, &print.unknown.containers) != (&known.0, &known.1) {
                return write(&self.directory, &print).await;
            }
        }
        Ok(())
    }
}

impl Drop for Printing {
    fn drop(&mut self) {
        self.taking.abort();
    }
}

async fn write(directory: &Path, print: &Fingerprint) -> io::Result<()> {
    let (directory, print) = (directory.to_owned(), print.clone());
    let written = move || write_fingerprint(&directory, &print);
    tokio::task::spawn_blocking(written)
        .await
        .map_err(io::Error::other)?
}

/// State directories and anonymous volumes have a new name each time.
fn mounts(
    container: &Container,
    stacks: &[Stack],
    lasting: &dyn Fn(&str) -> String,
) -> BTreeSet<String> {
    let globs = stacks.iter().flat_map(|stack| &stack.state_dirs);
    let globs: Vec<&String> = globs.collect();
    let mounts = container.mounts.iter().map(|mount| {
        let is_of = |glob: &&&String| {
            glob::Pattern::new(glob).is_ok_and(|glob| glob.matches(&mount.source))
        };
        let is_anonymous = mount.kind == MountKind::Volume
            && mount.source.len() == 64
            && mount.source.bytes().all(|byte| byte.is_ascii_hexdigit());
        let source = match globs.iter().find(is_of) {
            Some(glob) => (*glob).clone(),
            None if is_anonymous => "anonymous".to_owned(),
            None => lasting(&mount.source),
        };
        format!("{} {source}:{}", mount.kind.word(), mount.target)
    });
    mounts.collect()
}

/// As they were asked for: a public port that the engine chose is another one each time.
fn ports(inspect: &Inspect) -> BTreeSet<String> {
    let asked = inspect.raw.pointer("/HostConfig/PortBindings");
    let Some(asked) = asked.and_then(|asked| asked.as_object()) else {
        let ports = inspect.container.ports.iter();
        return ports
            .map(|port| match port.public {
                Some(public) => format!("{public}:{}/{}", port.private, port.protocol),
                None => format!("{}/{}", port.private, port.protocol),
            })
            .collect();
    };
    let mut ports = BTreeSet::new();
    for (private, bindings) in asked {
        for binding in bindings.as_array().into_iter().flatten() {
            let public = binding.get("HostPort").and_then(|port| port.as_str());
            let public = public.filter(|port| !port.is_empty()).unwrap_or("any");
            ports.insert(format!("{public}:{private}"));
        }
    }
    ports
}

fn limits(inspect: &Inspect) -> BTreeMap<String, String> {
    let limits = [
        ("memory", "Memory"),
        ("memory and swap", "MemorySwap"),
        ("nano CPUs", "NanoCpus"),
        ("CPU quota", "CpuQuota"),
        ("CPU shares", "CpuShares"),
        ("processes", "PidsLimit"),
    ];
    let host = inspect.raw.get("HostConfig");
    let value = |field: &str| host?.get(field)?.as_i64().filter(|value| *value > 0);
    limits
        .into_iter()
        .filter_map(|(name, field)| Some((name.to_owned(), value(field)?.to_string())))
        .collect()
}

type Hashes = BTreeMap<String, String>;

/// The hashes of the configuration's files, and of the replays'.
#[derive(Default)]
struct Files {
    files: Hashes,
    replays: Hashes,
    unknown_files: Unasked,
    unknown_replays: Unasked,
}

impl Files {
    fn unknown() -> Self {
        Self {
            unknown_files: Unasked::all(),
            unknown_replays: Unasked::all(),
            ..Self::default()
        }
    }

    fn read(
        salt: &Salt,
        config: &Config,
        compose: BTreeSet<PathBuf>,
        replays: &[Arc<Replay>],
    ) -> Self {
        let mut files: BTreeSet<PathBuf> = compose;
        files.extend(
            config
                .file
                .as_ref()
                .and_then(|file| std::path::absolute(file).ok()),
        );
        if let Some(harness) = &config.harness {
            let hooks = [&harness.up, &harness.seed, &harness.down];
            let hooks = hooks.into_iter().flatten().map(|hook| &hook.program);
            files.extend(hooks.chain(&harness.env_files).cloned());
        }
        let mut read = Self::default();
        // A bare name is a program on the path, and none of the configuration.
        for file in files.iter().filter(|file| file.is_absolute()) {
            let name = file.strip_prefix(&config.root).unwrap_or(file);
            let name = name.to_string_lossy().into_owned();
            note(salt, file, name, &mut read.files, &mut read.unknown_files);
        }
        for replay in replays {
            let name = replay.name.as_str().to_owned();
            let (hashes, unknown) = (&mut read.replays, &mut read.unknown_replays);
            note(salt, &replay.path, name, hashes, unknown);
        }
        read
    }
}

/// Hashes a file, unless there is none.
fn note(salt: &Salt, file: &Path, name: String, hashes: &mut Hashes, unknown: &mut Unasked) {
    match hash(salt, file) {
        Ok(hash) => {
            hashes.insert(name, hash);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(_) => {
            unknown.names.insert(name);
        }
    }
}

fn hash(salt: &Salt, file: &Path) -> io::Result<String> {
    let found = file.metadata()?;
    if !found.is_file() || found.len() > LARGEST {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(salt.hash("file", &std::fs::read(file)?))
}

/// `None` without git, or where the directory is in none of its checkouts.
async fn git_head(root: &Path) -> Option<GitHead> {
    let mut command = Command::new("git");
    command
        // It is to look and not to leave anything: neither a lock nor a daemon.
        .args(["--no-optional-locks", "-c", "core.fsmonitor=false"])
        .args(["status", "--porcelain=v2", "--branch", "-z"])
        .env("LC_ALL", "C")
        .env("GIT_TERMINAL_PROMPT", "0")
        .current_dir(root);
    parse_status(&ask(&mut command, GIT, GIT_ANSWER).await.ok()?)
}

/// What `git status --porcelain=v2 --branch -z` says.
fn parse_status(status: &[u8]) -> Option<GitHead> {
    let mut head = GitHead::default();
    let mut entries = status.split(|byte| *byte == 0);
    while let Some(entry) = entries.next() {
        let entry = String::from_utf8_lossy(entry);
        if let Some(commit) = entry.strip_prefix("# branch.oid ") {
            commit.clone_into(&mut head.commit);
        } else if let Some(branch) = entry.strip_prefix("# branch.head ") {
            head.branch = Some(branch.to_owned()).filter(|branch| branch != "(detached)");
        } else if entry.starts_with(['1', 'u', '?']) {
            head.dirty += 1;
        } else if entry.starts_with('2') {
            // Renamed: where it was comes as an entry of its own.
            head.dirty += 1;
            entries.next();
        }
    }
    (!head.commit.is_empty()).then_some(head)
}

fn machine() -> Machine {
    let uname = rustix::system::uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    Machine {
        os: text(uname.sysname()),
        arch: text(uname.machine()),
        kernel: text(uname.release()),
        cpus: std::thread::available_parallelism().map_or(0, |cpus| cpus.get() as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fingerprint::changes;
    use crate::domain::run::Signal;
    use crate::engine::fake::{FakeContainer, FakeEngine, Operation};
    use crate::process::{Controller, Phase};
    use crate::record::Store;

    struct Place {
        directory: tempfile::TempDir,
        engine: FakeEngine,
    }

    impl Place {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let config = "stack = [{ name = 's', labels = ['s=1'], run_label = 'run',\n\
                state_dirs = ['/tmp/state-*'] }]\n[harness]\nstack = 's'\nup = './up.sh'\n";
            for (file, text) in [("tackroom.toml", config), ("up.sh", "up"), ("a.sh", "a")] {
                std::fs::write(directory.path().join(file), text).unwrap();
            }
            Self {
                directory,
                engine: FakeEngine::new(),
            }
        }

        async fn taken(&self, run: i64) -> Fingerprint {
            self.subject(run).take().await
        }

        fn subject(&self, run: i64) -> Subject {
            let root = self.directory.path();
            let store = Store::at(root.join("store"));
            let replay = Replay {
                name: crate::domain::replay::ReplayName::new("a"),
                path: root.join("a.sh"),
                file: "a.sh".to_owned(),
                suite: crate::domain::suite::SuiteName::default(),
                header: crate::domain::replay::Header::default(),
            };
            Subject {
                salt: store.salt().unwrap(),
                harness: Harness {
                    config: Arc::new(crate::config::load(&root.join("tackroom.toml")).unwrap()),
                    engine: Arc::new(self.engine.clone()),
                    store: Some(store),
                    guard: None,
                },
                run: RunId::new(Timestamp::from_second(run).unwrap(), 1),
                replays: vec![Arc::new(replay)],
                measured: Some(watch::channel(None).1),
                hurried: watch::channel(false).1,
            }
        }

        fn container(&self, run: &str, level: &str) -> FakeContainer {
            FakeContainer::new("tenant")
                .label("s", "1")
                .label("run", run)
                .label("com.docker.compose.config-hash", run)
                .env("RUN", run)
                .env("LEVEL", level)
                .image("tenant:dev", "sha256:1")
                .mount(MountKind::Bind, &format!("/tmp/state-{run}"), "/state")
        }
    }

    #[tokio::test]
    async fn runs_against_the_same_have_the_same_fingerprint_and_others_do_not() {
        let place = Place::new();
        let ids = [1, 2].map(|second| RunId::new(Timestamp::from_second(second).unwrap(), 1));
        let first = place.engine.run(place.container(ids[0].as_str(), "info"));
        let one = place.taken(1).await;
        place.engine.destroy(&first);
        place.engine.run(place.container(ids[1].as_str(), "info"));
        assert_eq!(changes(&one, &place.taken(2).await), []);
        assert_eq!(
            one.containers["s/tenant"].mounts.first().unwrap(),
            "bind /tmp/state-*:/state"
        );
        let files: Vec<&String> = one.files.keys().collect();
        assert_eq!(files, ["tackroom.toml", "up.sh"]);
        assert_eq!(one.head, None);

        place.engine.run(place.container("x", "debug"));
        std::fs::write(place.directory.path().join("up.sh"), "other").unwrap();
        std::fs::write(place.directory.path().join("a.sh"), "other").unwrap();
        let told: Vec<String> = changes(&one, &place.taken(2).await)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert!(told.contains(&"up.sh changed".to_owned()), "{told:?}");
        assert!(told.contains(&"replay a changed".to_owned()), "{told:?}");
        let text = format!("{one:?}");
        assert!(!text.contains("info\""), "a value is in it: {text}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_that_hangs_costs_its_part_alone() {
        let place = Place::new();
        place.engine.run(place.container("x", "info"));
        place.engine.hang(Operation::Inspect);
        let print = place.taken(1).await;
        assert_eq!(print.containers, BTreeMap::new());
        assert_eq!(print.unknown.words(), ["s/tenant"]);
        assert_eq!((print.files.len(), print.replays.len()), (2, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn where_nothing_is_recorded_nothing_is_unknown() {
        let place = Place::new();
        let mut subject = place.subject(1);
        subject.measured = None;
        assert_eq!(subject.take().await.unknown, Unknown::default());
    }

    #[tokio::test(start_paused = true)]
    async fn the_run_waits_a_little_for_it_and_not_at_all_once_it_is_to_stop() {
        let place = Place::new();
        place.engine.run(place.container("x", "info"));
        place.engine.hang(Operation::Inspect);
        for (is_stopped, most) in [(false, PATIENCE + WRITING), (true, WRITING)] {
            let controller = Controller::default();
            if is_stopped {
                controller.press(Signal::Interrupt);
            }
            let directory = tempfile::tempdir().unwrap();
            let began = Instant::now();
            let printing = Printing::start(place.subject(1), directory.path().to_owned(), None);
            let control = controller.control(Phase::Work);
            printing.finish(&control).await.unwrap();
            assert!(began.elapsed() <= most, "{:?}", began.elapsed());
            let print = crate::record::fingerprint(directory.path()).unwrap();
            assert!(!print.unwrap().unknown.containers.is_empty());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_an_engine_is_too_slow_for_is_unknown() {
        let place = Place::new();
        place.engine.run(place.container("x", "info"));
        let whole = place.taken(1).await;
        assert_eq!(whole.unknown, Unknown::default());
        for operation in [Operation::Inspect, Operation::List] {
            place.engine.hang(operation);
            let half = place.taken(1).await;
            assert!(half.containers.is_empty());
            assert_eq!(changes(&whole, &half), []);
            assert_eq!(changes(&half, &whole), []);
        }
    }

    #[test]
    fn a_status_of_git_is_read() {
        let status = b"# branch.oid abc\0# branch.head main\0# branch.ab +0 -0\0\
            1 .M N... 100644 100644 100644 a b src/x\0\
            2 R. N... 100644 100644 100644 a b R100 new\0# branch.oid old\0? un tracked\0";
        let head = parse_status(status).unwrap();
        assert_eq!(
            (&*head.commit, head.branch.as_deref()),
            ("abc", Some("main"))
        );
        assert_eq!(head.dirty, 3);
        let detached = parse_status(b"# branch.oid abc\0# branch.head (detached)\0").unwrap();
        assert_eq!(detached.branch, None);
        assert_eq!(parse_status(b""), None);
    }

    #[tokio::test]
    async fn the_head_of_a_checkout_is_found_without_leaving_anything() {
        let directory = tempfile::tempdir().unwrap();
        let git = |args: &[&str]| {
            let mut command = std::process::Command::new("git");
            command.current_dir(directory.path()).args(args);
            command.env("GIT_CONFIG_GLOBAL", "/dev/null");
            command.output().is_ok_and(|output| output.status.success())
        };
        if !git(&["init", "-q", "-b", "trunk"]) {
            return;
        }
        let commit = ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q"];
        assert!(git(&[&commit[..], &["--allow-empty", "-m", "x"]].concat()));
        std::fs::write(directory.path().join("new"), "").unwrap();
        let head = git_head(directory.path()).await.unwrap();
        assert_eq!((head.branch.as_deref(), head.dirty), (Some("trunk"), 1));
        assert_eq!(head.commit.len(), 40);
    }
}
