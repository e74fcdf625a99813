//! What a teardown does with the engines of a galaxy stack, on a real engine: those that live, those in awkward states,
//! those of other stacks and of nobody.
//!
//! The stacks are the ones that this repository's own `tackroom.toml` declares, under a checkout label of each test's
//! own; `assets/galaxy/cases.sh` makes what is in them. Without an engine the tests are skipped, loudly; with
//! `TACKROOM_REQUIRE_DOCKER=1` they fail.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what went wrong by panicking"
)]

mod support;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use support::{Ended, Place, Running, wait_for};

const CONFIG: &str = "own.toml";
/// What `cases.sh` says where it cannot make a case.
const SKIPPED: i32 = 77;

#[test]
fn a_stack_goes_and_what_is_not_its_own_stays() {
    let Some(galaxy) = Galaxy::new("own") else {
        return;
    };
    let neighbour = galaxy.beside("neighbour");
    let mine = galaxy.make(&["running", "claimed-twice"]);
    let sandbox = galaxy.make_in("dev-deploy", &["running"]);
    let unlabelled = galaxy.make(&["unlabelled"]);
    let neighbours = neighbour.make(&["running"]);

    let plan = galaxy.plan("integration");
    assert_eq!(ids(&plan, "remove"), set(&mine), "each once: {plan}");
    assert_eq!(
        ids(&plan, "spare"),
        set(&[sandbox.clone(), unlabelled.clone()].concat()),
        "the neighbour's are not even listed: {plan}"
    );
    let reason = |id: &str| text(find(&plan["spare"], id), "reason");
    assert_eq!(
        reason(&sandbox[0]),
        "belongs to dev-deploy, which is protected"
    );
    assert_eq!(reason(&unlabelled[0]), "no stack claims it");
    for item in plan["remove"].as_array().expect("a list") {
        assert_eq!(item["state"], "running", "a game would be cancelled");
        assert!(text(item, "name").starts_with("galaxy-game-"), "{item}");
    }
    let listed = galaxy.listed();
    let place = |id: &str| {
        let container = find(&listed, id);
        (text(container, "stack"), text(container, "standing"))
    };
    assert_eq!(
        place(&mine[0]),
        ("integration".into(), "may be removed".into())
    );
    assert_eq!(
        place(&sandbox[0]),
        ("dev-deploy".into(), "protected".into())
    );
    assert_eq!(place(&unlabelled[0]).0, "unclaimed");
    assert_eq!(listed.as_array().expect("a list").len(), 4, "{listed}");

    for stack in ["dev-deploy", "local-dev"] {
        galaxy
            .tackroom(&["teardown", stack, "--yes"])
            .code(5)
            .err("is protected");
    }
    galaxy.teardown("integration").code(0);
    let survivors = [sandbox, unlabelled].concat();
    assert_eq!(galaxy.containers(), set(&survivors));
    assert_eq!(neighbour.containers(), set(&neighbours));
    for id in survivors.iter().chain(&neighbours) {
        assert_eq!(state(id), "running");
    }

    galaxy
        .teardown("integration")
        .code(4)
        .err("nothing was removed");
    assert_eq!(galaxy.containers(), set(&survivors));
}

#[test]
fn what_changed_since_the_plan_was_seen_is_not_removed_by_it() {
    let Some(galaxy) = Galaxy::new("fingerprint") else {
        return;
    };
    let seen = galaxy.make(&["created"]);
    let plan = galaxy.plan("integration");
    let fingerprint = text(&plan, "fingerprint");
    let came = galaxy.make(&["created"]);
    let by_fingerprint = ["teardown", "integration", "--fingerprint", &fingerprint];
    galaxy.tackroom(&by_fingerprint).code(5);
    let all = [seen, came.clone()].concat();
    assert_eq!(galaxy.containers(), set(&all));

    docker(&["rm", "-f", &came[0]]);
    galaxy.tackroom(&by_fingerprint).code(0);
    assert_eq!(galaxy.containers(), BTreeSet::new());
}

#[test]
fn every_state_is_shown_and_removed() {
    let Some(galaxy) = Galaxy::new("states") else {
        return;
    };
    let states = ["created", "running", "paused", "exited", "restarting"];
    let made = galaxy.make(&states);
    let gone_source = galaxy.make(&["bind-gone"]);

    // Between two starts an engine that restarts runs for a moment.
    let shown = || {
        let listed = galaxy.listed();
        let of = |id: &String| text(find(&listed, id), "state");
        made.iter().map(of).collect::<Vec<_>>()
    };
    wait_for("each state is shown by its name", || shown() == states);
    let exited = text(find(&galaxy.listed(), &gone_source[0]), "state");
    assert_eq!(exited, "exited");

    let all = [made, gone_source].concat();
    assert_eq!(ids(&galaxy.plan("integration"), "remove"), set(&all));
    galaxy.teardown("integration").code(0);
    assert_eq!(galaxy.containers(), BTreeSet::new());
}

#[test]
fn one_that_cannot_be_removed_is_named_and_the_others_go() {
    let Some(galaxy) = Galaxy::new("dead") else {
        return;
    };
    let made = galaxy.cases(&["make", "dead"], "integration");
    if made.status.code() == Some(SKIPPED) {
        say(&format!("SKIPPED: no dead container: {}", made.stderr));
        return;
    }
    let dead = lines(&made.code(0).stdout);
    let other = galaxy.make(&["exited"]);
    let name = text(find(&galaxy.listed(), &dead[0]), "name");
    assert_eq!(text(find(&galaxy.listed(), &dead[0]), "state"), "removing");

    let ended = galaxy.teardown("integration");
    assert!(ended.stdout.contains(&name), "{}", ended.transcript());
    let summary = ended.code(6).json().pop().expect("a summary");
    let left = summary["left_behind"].as_array().expect("a list");
    assert_eq!(left.len(), 1, "{summary}");
    assert_eq!(text(&left[0], "id"), dead[0]);
    assert!(!galaxy.containers().contains(&other[0]));
}

#[test]
fn what_spawns_goes_first_and_nothing_comes_after_it() {
    let Some(galaxy) = Galaxy::new("spawner") else {
        return;
    };
    let spawner = galaxy.make(&["spawner"]);
    // What it spawned is there when the plan is made: then it spawns no other one before its end.
    let engine = || {
        let filter = galaxy.filter();
        let running = [
            "ps",
            "-q",
            "--filter",
            &filter,
            "--filter",
            "label=galaxy.backend=1",
        ];
        docker(&running)
    };
    wait_for("it has spawned", || !engine().is_empty());

    let since = now();
    let ended = galaxy.teardown("integration").code(0);
    let removed = ended.json();
    let removed = removed.iter();
    let removed = removed.filter(|event| event["event"] == "item_finished");
    assert_eq!(removed.count(), 2, "{}", ended.transcript());
    // The engine's own word, in its order: the spawner is gone before anything else is stopped.
    let (filter, until) = (galaxy.filter(), now());
    let window = ["events", "--since", &since, "--until", &until];
    let told = ["--filter", &filter, "--format", "{{.Action}} {{.ID}}"];
    let told = lines(&docker(&[&window[..], &told].concat()));
    let gone = format!("destroy {}", spawner[0]);
    let gone = told.iter().position(|event| *event == gone);
    let others = |event: &String| event.starts_with("kill ") && !event.ends_with(&spawner[0]);
    let first = told.iter().position(others);
    assert!(gone.is_some() && first > gone, "{told:?}");

    // Its lock is free when it can spawn no more.
    let lock = std::env::temp_dir().join(format!("galaxy-case-{}.lock", galaxy.checkout));
    let waited = Command::new("flock").arg(lock).arg("true").status();
    assert!(waited.expect("flock starts").success());
    assert_eq!(galaxy.containers(), BTreeSet::new());
}

#[test]
fn state_goes_with_its_stack_and_others_stays() {
    let Some(galaxy) = Galaxy::new("state") else {
        return;
    };
    let neighbour = galaxy.beside("state-neighbour");
    let orphan = galaxy.make(&["state-root"]).remove(0);
    let sandbox = galaxy.make_in("dev-deploy", &["state-root"]).remove(0);
    let theirs = neighbour.make(&["state-root"]).remove(0);
    let nobodys = Directory::new();
    let engine = galaxy.make(&["running"]).remove(0);

    let plan = galaxy.plan("integration");
    let of = |key: &str| -> Vec<String> {
        let items = plan[key].as_array().expect("a list").iter();
        let directories = items.filter(|item| text(item, "name").starts_with('/'));
        directories.map(|item| text(item, "name")).collect()
    };
    assert_eq!(of("remove"), std::slice::from_ref(&orphan), "{plan}");
    let spared = of("spare");
    assert!(spared.contains(&nobodys.name()), "it is reported: {plan}");
    assert!(!spared.contains(&sandbox) && !spared.contains(&theirs));

    galaxy.teardown("integration").code(0);
    assert!(!Path::new(&orphan).exists());
    for stays in [&sandbox, &theirs, &nobodys.name()] {
        assert!(Path::new(stays).is_dir(), "{stays}");
    }
    assert!(!galaxy.containers().contains(&engine));
}

#[test]
fn cases_are_made_of_what_the_sources_say_whatever_image_is_there() {
    let Some(galaxy) = Galaxy::new("older") else {
        return;
    };
    let older = OlderImage::new(&format!("tackroom-older-{}", galaxy.checkout));
    let mut cases = Command::new(root().join("assets/galaxy/cases.sh"));
    cases
        .args(["make", "running"])
        .env_remove("CASE_IMAGE")
        .env("COMPOSE_PROJECT_NAME", &older.project)
        .env("GALAXY_CHECKOUT", &galaxy.checkout);
    let made = lines(&output(&mut cases).code(0).stdout);
    assert_eq!(made.len(), 1, "{made:?}");
    assert_eq!(state(&made[0]), "running");
    galaxy.cases(&["clean"], "integration").code(0);
}

/// To build them takes longer than a replay may.
#[test]
fn a_replay_without_images_says_so_at_once() {
    let Some(galaxy) = Galaxy::new("unbuilt") else {
        return;
    };
    let empty = tempfile::tempdir().expect("a directory");
    let replay = root().join("replays/galaxy-stack-label.sh");
    let mut replay = Command::new(replay);
    replay
        .env("COMPOSE_PROJECT_NAME", format!("none-{}", galaxy.checkout))
        .env("HARNESS_ENV_DIR", empty.path())
        .env_remove("HARNESS_BUG")
        .env_remove("HARNESS_IMAGES_SHARED");
    let said = output(&mut replay).code(99).stdout;
    assert!(said.contains("there is no image yet of services"), "{said}");
    assert!(said.contains("tackroom up"), "{said}");
}

/// A project's image of the services, from when they knew nothing of what the cases ask. It is removed when dropped.
struct OlderImage {
    project: String,
    tag: String,
}

impl OlderImage {
    fn new(project: &str) -> Self {
        let tag = format!("tackroom-harness/services:{project}");
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
        Self {
            project: project.to_owned(),
            tag,
        }
    }
}

impl Drop for OlderImage {
    fn drop(&mut self) {
        let mut remove = Command::new("docker");
        output(remove.args(["image", "rm", "--force", &self.tag]));
    }
}

/// A state root that says nothing of its owner. It is removed when dropped.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let made = tempfile::Builder::new()
            .prefix("galaxy-state-")
            .tempdir_in("/tmp")
            .expect("a directory");
        Self(made.keep())
    }

    fn name(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// The galaxy stacks of one checkout label, without anything in them. What the test left is removed when dropped.
struct Galaxy {
    place: Place,
    checkout: String,
}

impl Galaxy {
    /// `None` where there is no engine. The label is the same each time: what a killed test left is cleaned up.
    fn new(name: &str) -> Option<Self> {
        let engine =
            output(Command::new("docker").args(["version", "--format", "{{.Server.Version}}"]));
        if !engine.status.success() {
            let required = std::env::var("TACKROOM_REQUIRE_DOCKER").as_deref() == Ok("1");
            assert!(!required, "this test needs an engine: {}", engine.stderr);
            say(&format!(
                "SKIPPED: {name} needs an engine: {}",
                engine.stderr
            ));
            return None;
        }
        Some(Self::labelled(name))
    }

    /// The same stacks of another checkout.
    fn beside(&self, name: &str) -> Self {
        assert_ne!(digits(name), self.checkout);
        Self::labelled(name)
    }

    fn labelled(name: &str) -> Self {
        let galaxy = Self {
            place: Place::new(),
            checkout: digits(name),
        };
        let whole = std::fs::read_to_string(root().join("tackroom.toml")).expect("our own");
        let stacks: Vec<&str> = whole
            .split("\n\n")
            .filter(|paragraph| paragraph.contains("galaxy."))
            .collect();
        assert!(!stacks.is_empty(), "{whole}");
        let stacks = stacks.join("\n\n").replace("{checkout}", &galaxy.checkout);
        galaxy.place.write(CONFIG, stacks);
        galaxy.cases(&["clean"], "integration").code(0);
        galaxy
    }

    fn cases(&self, args: &[&str], stack: &str) -> Ended {
        output(
            Command::new(root().join("assets/galaxy/cases.sh"))
                .args(args)
                .env_remove("COMPOSE_PROJECT_NAME")
                .env("CASE_IMAGE", case_image())
                .env("GALAXY_CHECKOUT", &self.checkout)
                .env("CASE_STACK", stack),
        )
    }

    /// What `cases.sh` makes, in the order of the cases: ids, or directories.
    fn make(&self, cases: &[&str]) -> Vec<String> {
        self.make_in("integration", cases)
    }

    fn make_in(&self, stack: &str, cases: &[&str]) -> Vec<String> {
        let ended = self.cases(&[&["make"], cases].concat(), stack).code(0);
        let made = lines(&ended.stdout);
        assert_eq!(made.len(), cases.len(), "{}", ended.transcript());
        made
    }

    fn tackroom(&self, args: &[&str]) -> Ended {
        let mut command = self.place.command(&[args, &["--config", CONFIG]].concat());
        let docker = |name: &str| name.starts_with("DOCKER_");
        command.envs(std::env::vars().filter(|(name, _)| docker(name)));
        Running::start(&mut command).end()
    }

    fn plan(&self, stack: &str) -> Value {
        let ended = self.tackroom(&["teardown", stack, "--json"]).code(0);
        ended.json().remove(0)
    }

    fn teardown(&self, stack: &str) -> Ended {
        self.tackroom(&["teardown", stack, "--yes", "--json"])
    }

    fn listed(&self) -> Value {
        Value::Array(self.tackroom(&["ps", "--json"]).code(0).json())
    }

    fn filter(&self) -> String {
        format!("label=galaxy.checkout={}", self.checkout)
    }

    fn containers(&self) -> BTreeSet<String> {
        let listed = docker(&["ps", "-aq", "--no-trunc", "--filter", &self.filter()]);
        lines(&listed).into_iter().collect()
    }
}

impl Drop for Galaxy {
    fn drop(&mut self) {
        let ended = self.cases(&["clean"], "integration");
        if !std::thread::panicking() {
            ended.code(0);
        }
    }
}

/// The image of the engines: of this checkout's sources, whatever image an earlier state of them left.
fn case_image() -> &'static str {
    static IMAGE: OnceLock<String> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let mut cases = Command::new(root().join("assets/galaxy/cases.sh"));
        cases.arg("image");
        for name in ["CASE_IMAGE", "COMPOSE_PROJECT_NAME", "GALAXY_CHECKOUT"] {
            cases.env_remove(name);
        }
        let made = output(&mut cases).code(0).stdout;
        made.trim().to_owned()
    })
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The checkout label of a test of this checkout.
fn digits(name: &str) -> String {
    let digest = Sha256::digest(format!("{}/tests/galaxy/{name}", root().display()));
    let bytes = digest.iter().take(4);
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

/// Past the capture of the test runner.
fn say(text: &str) {
    writeln!(std::io::stderr(), "{text}").expect("stderr is there");
}

fn output(command: &mut Command) -> Ended {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ended {
        status: output.status,
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

#[track_caller]
fn docker(args: &[&str]) -> String {
    output(Command::new("docker").args(args)).code(0).stdout
}

fn state(id: &str) -> String {
    let status = docker(&["inspect", "-f", "{{.State.Status}}", id]);
    status.trim().to_owned()
}

/// Seconds since 1970, as the engine's clock has them: both are this host's.
fn now() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("after 1970");
    format!("{}.{:09}", now.as_secs(), now.subsec_nanos())
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

fn set(ids: &[String]) -> BTreeSet<String> {
    ids.iter().cloned().collect()
}

#[track_caller]
fn text(value: &Value, key: &str) -> String {
    let text = value[key].as_str();
    text.unwrap_or_else(|| panic!("no {key} in {value}"))
        .to_owned()
}

/// The ids of the containers of a list in a plan, none of them twice.
#[track_caller]
fn ids(plan: &Value, key: &str) -> BTreeSet<String> {
    let items = plan[key].as_array().expect("a list");
    let ids: Vec<String> = items
        .iter()
        .filter(|item| item["kind"] == "container")
        .map(|item| text(item, "id"))
        .collect();
    assert_eq!(ids.len(), set(&ids).len(), "twice: {plan}");
    set(&ids)
}

#[track_caller]
fn find<'a>(list: &'a Value, id: &str) -> &'a Value {
    let mut found = list.as_array().expect("a list").iter();
    let found = found.find(|item| item["id"] == id);
    found.unwrap_or_else(|| panic!("no {id} in {list}"))
}
