//! The bundled harness on a real engine, from the boot to the teardown.
//!
//! One test, because there is one harness: its steps follow each other as a person's would, and
//! beside them stand canaries that must survive all of it. Without an engine it says that it was
//! skipped, and fails where `TACKROOM_REQUIRE_DOCKER=1`.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says what went wrong by panicking"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use sha2::{Digest, Sha256};
use support::{Ended, Running};
use tempfile::TempDir;

const PROJECT: &str = "com.docker.compose.project";
const WORKING_DIR: &str = "com.docker.compose.project.working_dir";
const PROTECTED: &str = "tackroom.test.protected";

/// Variables that would change what the hooks and the replays do: all that begin like one of these.
const FOREIGN: [&str; 15] = [
    "HARNESS_",
    "GALAXY_",
    "BACKEND_",
    "COMPOSE_",
    "ALPHA_",
    "BETA_",
    "TENANT_",
    "ADMIN_TOKEN",
    "ORG_ID",
    "BASE",
    "CP_STUB_",
    "KEEP_UP",
    "REBUILD",
    "NO_COLOR",
    "FORCE_COLOR",
];

/// The containers of the harness, by service.
const SERVICES: [&str; 6] = [
    "cf-proxy",
    "cp-stub",
    "postgres",
    "redis",
    "tenant",
    "tenant-beta",
];

/// The containers of the galaxy test environment beside them, by role.
const ROLES: [&str; 3] = ["backend", "postgres", "smtp-sink"];

/// A replay with a bug, and one beside it that must not mind. The whole list runs once, in the first step:
/// `tests/replays.rs` tries every bug with every replay.
const PAIR: [&str; 2] = ["buildinfo-stale-image", "peer-discovery-404"];

#[test]
fn the_bundled_harness_from_boot_to_teardown() {
    if let Err(cause) = docker(&["version", "--format", "{{.Server.Version}}"]) {
        let required = std::env::var("TACKROOM_REQUIRE_DOCKER").as_deref() == Ok("1");
        assert!(!required, "this test needs an engine: {cause}");
        // Past the capture of the test runner.
        writeln!(
            std::io::stderr(),
            "SKIPPED: the bundled harness needs an engine: {cause}"
        )
        .unwrap();
        return;
    }
    let state = tempfile::tempdir().unwrap();
    let ours = Checkout::at(Path::new(env!("CARGO_MANIFEST_DIR")), state.path());
    assert_eq!(
        ours.objects(),
        BTreeSet::new(),
        "somebody works with the harness of this checkout: take it down first"
    );
    let image = EmptyImage::new();
    let canaries = Canaries::new(&image, &ours);

    a_run_leaves_nothing(&ours);
    canaries.live();

    std::thread::scope(|scope| {
        let second = scope.spawn(|| {
            let second = Second::new(state.path());
            second.checkout.tackroom(&["up"], &[]).code(0);
            second
        });
        a_bug_is_caught_by_its_replay_alone(&ours);
        a_boot_that_fails_says_why_and_leaves_nothing(&ours);
        a_harness_that_is_kept_up_is_kept_also_when_a_replay_fails(&ours);
        what_is_up_can_be_run_against_and_seeded_again(&ours);
        let second = second.join().expect("the second checkout boots");
        canaries.live();

        two_checkouts_do_not_disturb_each_other(&image, &ours, &second.checkout);
        canaries.live();
    });

    only_the_confirmed_plan_is_removed(&ours);
    canaries.live();

    let nothing = ours.tackroom(&["down"], &[]).code(0);
    nothing.err("nothing to remove");
    a_project_of_somebody_else_is_left_alone(&image, &ours);
    canaries.live();
}

fn a_run_leaves_nothing(ours: &Checkout) {
    let report = ours.state.join("report.xml");
    let ended = ours
        .tackroom(&["run", "--json", "--junit", report.to_str().unwrap()], &[])
        .code(0);
    let passed = |name: String| (name, "passed".to_owned());
    assert_eq!(
        verdicts(&ended),
        replays().into_iter().map(passed).collect()
    );
    let last = ended.json().pop().expect("the summary");
    assert_eq!(last["left_behind"], serde_json::json!([]));
    assert_eq!(ours.objects(), BTreeSet::new());
    let report = std::fs::read_to_string(report).expect("the report is written");
    assert!(report.contains("failures=\"0\" errors=\"0\""), "{report}");
}

fn a_bug_is_caught_by_its_replay_alone(ours: &Checkout) {
    let bug = [("HARNESS_BUG", "peer-discovery-404")];
    let ended = ours
        .tackroom(&["run", "--json", PAIR[0], PAIR[1]], &bug)
        .code(1);
    assert_eq!(
        verdicts(&ended),
        [
            ("buildinfo-stale-image", "passed"),
            ("peer-discovery-404", "failed")
        ]
        .map(owned)
        .into()
    );
    assert_eq!(ours.objects(), BTreeSet::new());
}

fn a_boot_that_fails_says_why_and_leaves_nothing(ours: &Checkout) {
    ours.tackroom(&["run"], &[("HARNESS_BUG", "no-such-bug")])
        .code(3)
        .err("HARNESS_BUG names no known bug: \"no-such-bug\"")
        .out(&format!("{} not run", replays().len()));
    assert_eq!(ours.objects(), BTreeSet::new());
}

fn a_harness_that_is_kept_up_is_kept_also_when_a_replay_fails(ours: &Checkout) {
    let env = [("HARNESS_BUG", "buildinfo-stale-image"), ("KEEP_UP", "1")];
    let ended = ours
        .tackroom(&["run", "--json", PAIR[0], PAIR[1]], &env)
        .code(1);
    assert_eq!(
        verdicts(&ended),
        [
            ("buildinfo-stale-image", "failed"),
            ("peer-discovery-404", "passed")
        ]
        .map(owned)
        .into()
    );
    assert_eq!(ours.containers().len(), SERVICES.len() + ROLES.len());
}

fn what_is_up_can_be_run_against_and_seeded_again(ours: &Checkout) {
    let seeded = ours.read(".seed.env");
    let before = ours.containers();
    ours.tackroom(&["up"], &[]).code(0);
    assert_eq!(
        ours.containers(),
        before,
        "the bug is taken out of what runs"
    );

    ours.tackroom(&["seed"], &[]).code(0);
    assert_eq!(
        ours.read(".seed.env"),
        seeded,
        "seeding again changes nothing"
    );
    let ended = ours
        .tackroom(&["run", "--no-up", "--json", PAIR[0], PAIR[1]], &[])
        .code(0);
    assert_eq!(
        verdicts(&ended),
        PAIR.map(|name| owned((name, "passed"))).into()
    );

    let ended = ours.tackroom(&["ps", "--json"], &[]).code(0);
    let (mut titles, mut beside) = (Vec::new(), 0);
    for container in ended.json() {
        assert_eq!(container["standing"], "may be removed");
        if container["stack"] == "integration" {
            beside += 1;
            continue;
        }
        assert_eq!(container["stack"], "tenant");
        assert_eq!(container["health"], "healthy");
        titles.push(container["title"].as_str().unwrap().to_owned());
    }
    assert_eq!(beside, ROLES.len());
    assert_eq!(titles, SERVICES);
    assert_eq!(ours.containers(), before);
}

fn two_checkouts_do_not_disturb_each_other(image: &EmptyImage, ours: &Checkout, second: &Checkout) {
    assert_ne!(ours.project, second.project);
    assert_ne!(ours.read(".up.env"), second.read(".up.env"), "two ports");
    let (we, they) = (ours.containers(), second.containers());
    let all = SERVICES.len() + ROLES.len();
    assert_eq!((we.len(), they.len()), (all, all));

    let refused = second.tackroom(&["teardown", "protected", "--yes"], &[]);
    refused.code(5).err("protected is protected");
    assert_eq!(second.containers(), they);

    let bystander = Canary::container(image, &[(PROTECTED, &second.project)]);
    second.tackroom(&["down"], &[]).code(0);
    assert_eq!(second.objects(), BTreeSet::new());
    assert_eq!(ours.containers(), we);
    assert!(bystander.lives(), "it belongs to a protected stack");
    ours.tackroom(&["run", "--no-up", PAIR[0]], &[]).code(0);
}

fn only_the_confirmed_plan_is_removed(ours: &Checkout) {
    let before = ours.objects();
    // The tenant has a network and two volumes, and the environment beside it a network.
    let counted = SERVICES.len() + 3 + ROLES.len() + 1;
    assert_eq!(before.len(), counted, "{before:?}");
    let (beside, tenants): (BTreeSet<_>, BTreeSet<_>) = before
        .iter()
        .cloned()
        .partition(|object| object.contains(" galaxy-"));
    let plan = ours.tackroom(&["teardown", "tenant", "--json"], &[]);
    let plan = plan.code(0).err("nothing was removed").json().remove(0);
    let planned: BTreeSet<String> = plan["remove"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|item| {
            format!(
                "{} {}",
                item["kind"].as_str().unwrap(),
                item["name"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(planned, tenants, "the plan is the stack, and all of it");
    assert_eq!(ours.objects(), before);

    let wrong = ["teardown", "tenant", "--fingerprint", "000000000000"];
    ours.tackroom(&wrong, &[]).code(5);
    assert_eq!(ours.objects(), before);

    let fingerprint = plan["fingerprint"].as_str().expect("a fingerprint");
    let right = ["teardown", "tenant", "--fingerprint", fingerprint];
    ours.tackroom(&right, &[]).code(0);
    assert_eq!(ours.objects(), beside, "one stack is one stack");

    let rest = ["teardown", "integration", "--yes"];
    ours.tackroom(&rest, &[]).code(0);
    assert_eq!(ours.objects(), BTreeSet::new());
}

/// A container that carries our project's name but comes from another directory: compose would
/// replace it or remove it.
fn a_project_of_somebody_else_is_left_alone(image: &EmptyImage, ours: &Checkout) {
    let labels = [(PROJECT, &*ours.project), (WORKING_DIR, "/elsewhere")];
    let foreign = Canary::container(image, &labels);
    let ended = ours.tackroom(&["run"], &[]).code(3);
    ended.err("in use by the containers above");
    assert!(foreign.lives());
    let ended = ours.tackroom(&["teardown", "tenant", "--yes"], &[]);
    assert!(!ended.status.success(), "{}", ended.transcript());
    assert!(foreign.lives());
}

/// What is built is named at one place; a name that is missing there would never be rebuilt.
#[test]
fn a_rebuild_builds_every_image_that_is_booted() {
    let harness = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/harness");
    let read = |name: &str| std::fs::read_to_string(harness.join(name)).expect("it is there");
    let booted: BTreeSet<String> = read("compose.yaml")
        .lines()
        .filter_map(|line| line.trim().strip_prefix("image: \"${HARNESS_"))
        .filter_map(|line| Some(line.split_once("_IMAGE")?.0.replace('_', "-")))
        .map(|name| name.to_lowercase())
        .collect();
    let images = read("images.sh");
    let packaged = images
        .lines()
        .find_map(|line| line.strip_prefix("TENANT_PACKAGED=(")?.strip_suffix(')'))
        .expect("the list of what is built");
    let built = packaged.split(' ').chain(["services"]);
    assert_eq!(built.map(str::to_owned).collect::<BTreeSet<_>>(), booted);
    for name in booted {
        assert!(harness.join(&name).join("Dockerfile").is_file(), "{name}");
    }
}

fn replays() -> BTreeSet<String> {
    std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("replays"))
        .expect("there are replays")
        .map(|entry| entry.expect("it is listed").file_name())
        .filter_map(|name| Some(name.to_str()?.strip_suffix(".sh")?.to_owned()))
        .filter(|name| !name.starts_with('_'))
        .collect()
}

fn owned((a, b): (&str, &str)) -> (String, String) {
    (a.to_owned(), b.to_owned())
}

fn verdicts(ended: &Ended) -> BTreeMap<String, String> {
    let text = |event: &Value, key: &str| event[key].as_str().expect("a string").to_owned();
    ended
        .json()
        .iter()
        .filter(|event| event["event"] == "replay_finished")
        .map(|event| (text(event, "replay"), text(event, "verdict")))
        .collect()
}

/// A source tree with the harness in it.
struct Checkout {
    root: PathBuf,
    state: PathBuf,
    project: String,
    /// What tells this checkout's galaxy stacks from another's.
    digits: String,
}

impl Checkout {
    fn at(root: &Path, state: &Path) -> Self {
        let root = root.canonicalize().expect("it exists");
        let digest = Sha256::digest(root.as_os_str().as_encoded_bytes());
        let digits: String = digest.iter().take(4).map(|b| format!("{b:02x}")).collect();
        Self {
            project: format!("tackroom-{digits}"),
            digits,
            state: state.to_owned(),
            root,
        }
    }

    fn harness(&self) -> PathBuf {
        self.root.join("assets/harness")
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.harness().join(file)).expect("the hook wrote it")
    }

    fn tackroom(&self, args: &[&str], env: &[(&str, &str)]) -> Ended {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tackroom"));
        command
            .args(args)
            .current_dir(&self.root)
            .env("XDG_STATE_HOME", &self.state)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if FOREIGN.iter().any(|start| text.starts_with(start)) {
                command.env_remove(&name);
            }
        }
        command.envs(env.iter().copied());
        Running::start(&mut command).end()
    }

    /// Name to id.
    fn containers(&self) -> BTreeMap<String, String> {
        let lines = self.list(&["ps", "-a", "--no-trunc"], "{{.Names}} {{.ID}}");
        lines
            .iter()
            .filter_map(|line| line.split_once(' '))
            .map(owned)
            .collect()
    }

    /// All that the engine has of this checkout.
    fn objects(&self) -> BTreeSet<String> {
        let mut objects = BTreeSet::new();
        for (list, format) in [
            (&["ps", "-a"][..], "container {{.Names}}"),
            (&["network", "ls"], "network {{.Name}}"),
            (&["volume", "ls"], "volume {{.Name}}"),
        ] {
            objects.extend(self.list(list, format));
        }
        objects
    }

    fn list(&self, list: &[&str], format: &str) -> Vec<String> {
        let labels = [
            format!("label={PROJECT}={}", self.project),
            format!("label=galaxy.checkout={}", self.digits),
        ];
        let mut lines = Vec::new();
        for label in labels {
            let args = [list, &["--filter", &label, "--format", format]].concat();
            let listed = docker(&args).expect("the engine lists");
            lines.extend(listed.lines().map(str::to_owned));
        }
        lines
    }
}

/// A test that fails half-way leaves nothing on the engine.
impl Drop for Checkout {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = Command::new(self.harness().join("down-all.sh"))
                .stdout(Stdio::null())
                .status();
        }
    }
}

/// The same sources in another directory, with a protected stack beside the harness.
struct Second {
    checkout: Checkout,
    _dir: TempDir,
}

impl Second {
    fn new(state: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let from = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut copy = Command::new("cp");
        copy.arg("-a").arg("--");
        for name in [
            "Cargo.toml",
            "Cargo.lock",
            "src",
            "assets",
            "benches",
            "replays",
            "tackroom.toml",
        ] {
            copy.arg(from.join(name));
        }
        assert!(copy.arg(dir.path()).status().unwrap().success());
        // What the services are made of need not be compiled once more.
        let target = dir.path().join("target");
        std::fs::create_dir(&target).unwrap();
        let mut copy = Command::new("cp");
        copy.arg("-a").arg("--").arg(from.join("target/harness"));
        assert!(copy.arg(&target).status().unwrap().success());

        let checkout = Checkout::at(dir.path(), state);
        for left in [".up.env", ".seed.env"] {
            let _ = std::fs::remove_file(checkout.harness().join(left));
        }
        let mut config = std::fs::OpenOptions::new()
            .append(true)
            .open(checkout.root.join("tackroom.toml"))
            .unwrap();
        let project = &checkout.project;
        writeln!(
            config,
            "\n[[stack]]\nname = 'protected'\nlabels = ['{PROTECTED}={project}']"
        )
        .unwrap();
        Self {
            checkout,
            _dir: dir,
        }
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        // Images are a cache, but nobody comes back to this directory.
        let image = format!("tackroom-harness/services:{}", self.checkout.project);
        if std::thread::panicking() {
            let _ = Command::new(self.checkout.harness().join("down-all.sh"))
                .stdout(Stdio::null())
                .status();
        }
        let _ = docker(&["image", "rm", &image]);
    }
}

/// An object of the engine that is none of our business. It is removed when dropped.
struct Canary {
    kind: &'static str,
    id: String,
}

impl Canary {
    fn container(image: &EmptyImage, labels: &[(&str, &str)]) -> Self {
        Self {
            kind: "container",
            id: Self::make(&["container", "create"], labels, &[&image.tag, "/none"]),
        }
    }

    fn network(labels: &[(&str, &str)]) -> Self {
        let name = format!("tackroom-canary-{}", std::process::id());
        Self {
            kind: "network",
            id: Self::make(&["network", "create"], labels, &[&name]),
        }
    }

    fn volume(labels: &[(&str, &str)]) -> Self {
        Self {
            kind: "volume",
            id: Self::make(&["volume", "create"], labels, &[]),
        }
    }

    fn make(command: &[&str], labels: &[(&str, &str)], rest: &[&str]) -> String {
        let labels: Vec<String> = labels
            .iter()
            .map(|(key, value)| format!("--label={key}={value}"))
            .collect();
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let made = docker(&[command, &labels, rest].concat());
        made.expect("a canary is made").trim().to_owned()
    }

    fn lives(&self) -> bool {
        docker(&[self.kind, "inspect", &self.id]).is_ok()
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        let removed = docker(&[self.kind, "rm", &self.id]);
        if !std::thread::panicking() {
            removed.expect("the canary was there to the end");
        }
    }
}

/// What carries one of the stack's two labels, and is not the stack's for that.
struct Canaries(Vec<Canary>);

impl Canaries {
    fn new(image: &EmptyImage, ours: &Checkout) -> Self {
        let harness = ours.harness();
        let only = [(WORKING_DIR, harness.to_str().expect("a path of text"))];
        Self(vec![
            Canary::container(image, &only),
            Canary::network(&only),
            Canary::volume(&only),
        ])
    }

    #[track_caller]
    fn live(&self) {
        for canary in &self.0 {
            assert!(canary.lives(), "the {} was removed", canary.kind);
        }
    }
}

/// An image with nothing in it, for containers that are never started.
struct EmptyImage {
    tag: String,
}

impl EmptyImage {
    fn new() -> Self {
        let tag = format!("tackroom-canary:{}", std::process::id());
        let mut import = Command::new("docker")
            .args(["import", "-", &tag])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("docker starts");
        // An archive without files ends where it begins.
        let mut archive = import.stdin.take().expect("a pipe");
        archive.write_all(&[0; 1024]).expect("written");
        drop(archive);
        assert!(import.wait().expect("it ends").success());
        Self { tag }
    }
}

impl Drop for EmptyImage {
    fn drop(&mut self) {
        let _ = docker(&["image", "rm", &self.tag]);
    }
}

/// What docker prints, or what it complains about.
fn docker(args: &[&str]) -> Result<String, String> {
    let output = Command::new("docker")
        .args(args)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("docker: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}
