//! Each replay of the tenant harness fails with its bug put back, and passes whatever other bug is.
//!
//! One boot serves them all: bugs are switched while the harness runs. To try every replay with every bug alone would
//! take their square. Instead each one runs four times: without a bug, with its own alone, with all but its own, and
//! with all. A replay that fails for another's bug fails in the third.
//!
//! It works in a project of its own, so that a harness of this checkout may be up meanwhile. Without an engine it is
//! skipped, loudly; with `TACKROOM_REQUIRE_DOCKER=1` it fails.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what went wrong by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// Organisation and admin token that the tenants are booted with: none of them is a default.
const FIRST: [&str; 2] = ["org-of-others", "token-of-others"];
const SECOND: [&str; 2] = ["second-org-of-others", "second-token-of-others"];

const PROJECT: &str = "com.docker.compose.project";

/// Variables of ours that would change what hooks and replays do: all that begin like one of these.
const FOREIGN: [&str; 12] = [
    "HARNESS_",
    "COMPOSE_",
    "TACKROOM_",
    "ALPHA_",
    "BETA_",
    "TENANT_",
    "ADMIN_TOKEN",
    "ORG_ID",
    "BASE",
    "CP_STUB_",
    "KEEP_UP",
    "REBUILD",
];

#[test]
fn each_replay_catches_its_bug_and_no_other() {
    if let Err(cause) = docker(&["version", "--format", "{{.Server.Version}}"]) {
        let required = std::env::var("TACKROOM_REQUIRE_DOCKER").as_deref() == Ok("1");
        assert!(!required, "this test needs an engine: {cause}");
        // Past the capture of the test runner.
        writeln!(
            std::io::stderr(),
            "SKIPPED: the replays need an engine: {cause}"
        )
        .expect("stderr is there");
        return;
    }
    let harness = Harness::boot();
    let all = replays();
    assert_eq!(
        harness.known_bugs(),
        all,
        "each replay has a bug of its name, and each bug a replay"
    );
    // The others bring stacks and bugs of their own: the tenant knows no more than the names.
    let replays = all
        .into_iter()
        .filter(|name| !name.starts_with("galaxy-"))
        .collect();

    each_fails_with_its_bug_alone(&harness, &replays);
    what_a_replay_is_told_counts(&harness);
    replays_stand_other_traffic(&harness);
    assert_eq!(harness.left_by_replays(), BTreeSet::new());

    a_database_server_without_a_database_says_so(&harness);
    scripts_of_others_run_unchanged(&harness);
    what_is_up_goes_in_an_empty_environment(&harness);
}

fn each_fails_with_its_bug_alone(harness: &Harness, replays: &BTreeSet<String>) {
    let mut unexpected = BTreeMap::new();
    let mut expect = |bugs: &BTreeSet<String>, replay: &String, passes: bool| {
        let ended = harness.replay(replay, &[]);
        if !ended.is_verdict(passes) {
            let on = bugs
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(",");
            unexpected.insert(format!("{replay} with bugs [{on}]"), ended.to_string());
        }
    };
    let none = BTreeSet::new();
    harness.switch(&none);
    for replay in replays {
        expect(&none, replay, true);
    }
    harness.switch(replays);
    for replay in replays {
        expect(replays, replay, false);
    }
    for replay in replays {
        let own = BTreeSet::from([replay.clone()]);
        harness.switch(&own);
        expect(&own, replay, false);
        let others = replays - &own;
        harness.switch(&others);
        expect(&others, replay, true);
    }
    harness.switch(&none);
    let told: Vec<String> = unexpected
        .into_iter()
        .map(|(what, ended)| format!("== {what}\n{ended}"))
        .collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
}

/// A wrong organisation gets the guard's 404, which is no unregistered workspace; another commit is a stale image, and
/// no warning.
fn what_a_replay_is_told_counts(harness: &Harness) {
    for (replay, name, value, assertion) in [
        (
            "peer-discovery-404",
            "ORG_ID",
            "somebody-else",
            "FAIL: an unregistered workspace: error",
        ),
        (
            "buildinfo-stale-image",
            "HARNESS_GIT_SHA",
            "1111111111111111111111111111111111111111",
            "FAIL: harness-tenant-beta: verdict",
        ),
    ] {
        let ended = harness.replay(replay, &[(name, value)]);
        assert!(
            ended.is_verdict(false) && ended.output.contains(assertion),
            "{replay} with {name}={value}: {ended}"
        );
    }
}

/// Those that read counters, all at once and twice.
fn replays_stand_other_traffic(harness: &Harness) {
    std::thread::scope(|scope| {
        let running: Vec<_> = ["cp-proxy-admin-leak", "tenant-guard-prefix"]
            .repeat(2)
            .into_iter()
            .map(|replay| scope.spawn(move || (replay, harness.replay(replay, &[]))))
            .collect();
        for replay in running {
            let (replay, ended) = replay.join().expect("it ends");
            assert!(ended.is_verdict(true), "{replay}: {ended}");
        }
    });
}

/// It does not come up empty, for others to fail at later.
fn a_database_server_without_a_database_says_so(harness: &Harness) {
    let server = harness.container("postgres");
    let image = docker(&["inspect", "-f", "{{.Image}}", &server]).expect("it is there");
    let role = ["-e", "POSTGRES_USER=tenant", "-e", "POSTGRES_PASSWORD=x"];
    for databases in [&[][..], &["-e", "POSTGRES_DATABASES= "]] {
        // One that serves would never end.
        let run = [
            "run",
            "--rm",
            "--network",
            "none",
            "--entrypoint",
            "timeout",
        ];
        let entrypoint = [image.trim(), "30", "/usr/local/bin/entrypoint"];
        let run = [&run[..], &role, databases, &entrypoint].concat();
        let refusal = docker(&run).expect_err("it must not serve");
        assert!(
            refusal.contains("POSTGRES_DATABASES is not set"),
            "{refusal}"
        );
    }
}

/// As scripts are written that know this topology and nothing of tackroom: both env files are shell that can be
/// sourced, and the variables go where such scripts use them.
const FOREIGN_SCRIPT: &str = r#"
set -eu
cd "$HARNESS_ENV_DIR"
. ./.up.env
. ./.seed.env

# ask STATUS [CURL-ARGUMENT...]: prints the body.
ask() {
    expected=$1
    shift
    status=$(curl -sS -o body -w '%{http_code}' "$@")
    [ "$status" = "$expected" ] || { echo "$* answered $status: $(cat body)" >&2; exit 1; }
    cat body
}
at() { echo "--resolve $1:${BASE##*:}:127.0.0.1"; }

# One tenant is known: BASE, and who asks.
org="X-Molecule-Org-Id: $ORG_ID"
admin="Authorization: Bearer $ADMIN_TOKEN"
ask 200 $(at "$TENANT_HOST") "$BASE/health" | grep -q ok
[ "$(ask 200 $(at "$TENANT_HOST") -H "$org" "$BASE/buildinfo" | jq -r .git_sha)" = "$HARNESS_GIT_SHA" ]
ask 401 $(at "$TENANT_HOST") -H "$org" -H "Authorization: Bearer not-$ADMIN_TOKEN" "$BASE/workspaces" > /dev/null
ask 200 $(at "$TENANT_HOST") -H "$org" -H "$admin" "$BASE/workspaces" | jq -e --arg id "$ALPHA_ID" 'any(.[]; .id == $id)' > /dev/null
[ "$(ask 200 $(at "$TENANT_HOST") -H "$org" "$BASE/workspaces/$BETA_ID" | jq -r .parent_id)" = "$ALPHA_ID" ]

# Two are known, and told apart by host, organisation and token at one address.
address=http://127.0.0.1:${BASE##*:}
for name in ALPHA BETA; do
    eval "host=\$${name}_HOST org=\$${name}_ORG_ID token=\$${name}_ADMIN_TOKEN id=\$${name}_WORKSPACE_ID"
    ask 200 -H "Host: $host" -H "X-Molecule-Org-Id: $org" -H "Authorization: Bearer $token" "$address/workspaces" |
        jq -e --arg id "$id" 'any(.[]; .id == $id)' > /dev/null
done
ask 404 -H "Host: $BETA_HOST" -H "X-Molecule-Org-Id: $ALPHA_ORG_ID" "$address/workspaces" > /dev/null

# The control plane's stub.
ask 200 "$CP_STUB_BASE/healthz" > /dev/null
ask 200 "$CP_STUB_BASE/__stub/state" | jq -e type > /dev/null
echo "all is honoured"
"#;

fn scripts_of_others_run_unchanged(harness: &Harness) {
    let mut script = harness.command(Path::new("sh"));
    script.args(["-c", FOREIGN_SCRIPT]);
    let ended = end(&mut script);
    let honoured = ended.succeeds().output.contains("all is honoured");
    assert!(honoured, "{ended}");
    for tenant in [FIRST, SECOND] {
        let told = std::fs::read_to_string(harness.state.path().join(".up.env")).expect("written");
        for value in tenant {
            assert!(told.contains(value), "{value} was asked for: {told}");
        }
    }
}

/// `down` in a shell that knows nothing of what `up` was told, with the container of a replay that was killed.
fn what_is_up_goes_in_an_empty_environment(harness: &Harness) {
    let working_dir = harness.directory().display().to_string();
    let network = format!("{}_default", harness.project);
    let image = harness.image();
    docker(&[
        "run",
        "--detach",
        "--network",
        &network,
        "--label",
        &format!("{PROJECT}={}", harness.project),
        "--label",
        &format!("{PROJECT}.working_dir={working_dir}"),
        "--label",
        "com.docker.compose.oneoff=True",
        "--label",
        "com.docker.compose.service=spare",
        &image,
        "cp-stub",
    ])
    .expect("a container beside the services");

    let mut down = Command::new(harness.directory().join("down.sh"));
    let kept = std::env::vars().filter(|(name, _)| name == "PATH" || name.starts_with("DOCKER_"));
    down.env_clear()
        .envs(kept)
        .env("COMPOSE_PROJECT_NAME", &harness.project)
        .env("HARNESS_ENV_DIR", harness.state.path());
    let ended = end(&mut down);
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(ended.output.contains("removed project"), "{ended}");
    assert_eq!(harness.objects(), BTreeSet::new());

    let again = end(&mut down);
    assert_eq!(again.code, Some(0), "{again}");
    assert!(again.output.contains("nothing to remove"), "{again}");
}

fn replays() -> BTreeSet<String> {
    std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("replays"))
        .expect("there are replays")
        .map(|entry| entry.expect("it is listed").file_name())
        .filter_map(|name| Some(name.to_str()?.strip_suffix(".sh")?.to_owned()))
        .filter(|name| !name.starts_with('_'))
        .collect()
}

/// The harness of this checkout in a project of its own. It is taken down when dropped.
struct Harness {
    project: String,
    /// Its env files, and what replays leave in their temporary directory.
    state: TempDir,
}

impl Harness {
    fn boot() -> Self {
        let digest = Sha256::digest(env!("CARGO_MANIFEST_DIR"));
        let short: String = digest
            .iter()
            .take(4)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let harness = Self {
            project: format!("tackroom-replays-{short}"),
            state: tempfile::tempdir().expect("a temporary directory"),
        };
        std::fs::create_dir(harness.scratch()).expect("made");
        // What a killed run of this test left.
        harness.hook("down.sh").succeeds();
        harness.hook("up.sh").succeeds();
        harness.hook("seed.sh").succeeds();
        harness
    }

    fn directory(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("assets/harness")
            .canonicalize()
            .expect("it exists")
    }

    fn scratch(&self) -> PathBuf {
        self.state.path().join("tmp")
    }

    /// The container of a service.
    fn container(&self, service: &str) -> String {
        let project = format!("label={PROJECT}={}", self.project);
        let service = format!("label=com.docker.compose.service={service}");
        let listed = docker(&["ps", "-q", "--filter", &project, "--filter", &service]);
        listed.expect("the engine lists").trim().to_owned()
    }

    fn image(&self) -> String {
        format!("tackroom-harness/services:{}", self.project)
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if FOREIGN.iter().any(|start| text.starts_with(start)) {
                command.env_remove(&name);
            }
        }
        command
            .env("COMPOSE_PROJECT_NAME", &self.project)
            .env("HARNESS_ENV_DIR", self.state.path())
            // The first as scripts name it that know of one.
            .env("ORG_ID", FIRST[0])
            .env("ADMIN_TOKEN", FIRST[1])
            .env("BETA_ORG_ID", SECOND[0])
            .env("BETA_ADMIN_TOKEN", SECOND[1])
            // Many replays in a minute are this test's own doing.
            .env("HARNESS_RATE_LIMIT", "100000")
            .env("TMPDIR", self.scratch());
        command
    }

    fn hook(&self, name: &str) -> Ended {
        end(&mut self.command(&self.directory().join(name)))
    }

    fn known_bugs(&self) -> BTreeSet<String> {
        let bugs = self.directory().join("bugs.sh");
        let ended = end(self.command(&bugs).arg("--known"));
        ended.succeeds().output.lines().map(str::to_owned).collect()
    }

    fn switch(&self, bugs: &BTreeSet<String>) {
        let list = bugs
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(",");
        let script = self.directory().join("bugs.sh");
        end(self.command(&script).arg(list)).succeeds();
    }

    fn replay(&self, name: &str, env: &[(&str, &str)]) -> Ended {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("replays/{name}.sh"));
        end(self.command(&script).envs(env.iter().copied()))
    }

    /// Containers beside the services, and files.
    fn left_by_replays(&self) -> BTreeSet<String> {
        let beside = [
            "label=com.docker.compose.oneoff=True",
            &format!("label={PROJECT}={}", self.project),
        ];
        let containers = docker(&["ps", "-aq", "--filter", beside[0], "--filter", beside[1]]);
        let files = std::fs::read_dir(self.scratch()).expect("it exists");
        let files = files.map(|entry| entry.expect("it is listed").path().display().to_string());
        containers
            .expect("the engine lists")
            .lines()
            .map(str::to_owned)
            .chain(files)
            .collect()
    }

    /// Everything of the project on the engine.
    fn objects(&self) -> BTreeSet<String> {
        let filter = format!("label={PROJECT}={}", self.project);
        [["ps", "-aq"], ["network", "ls"], ["volume", "ls"]]
            .iter()
            .flat_map(|list| {
                let quiet: &[&str] = if list[0] == "ps" { &[] } else { &["-q"] };
                let listed = docker(&[list, quiet, &["--filter", &filter]].concat());
                let listed = listed.expect("the engine lists");
                listed.lines().map(str::to_owned).collect::<Vec<_>>()
            })
            .collect()
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.hook("down.sh");
        }
        // Images are a cache, but this one is nobody else's.
        let _ = docker(&["image", "rm", &self.image()]);
    }
}

#[derive(Debug)]
struct Ended {
    /// `None`: by a signal.
    code: Option<i32>,
    output: String,
}

impl Ended {
    #[track_caller]
    fn succeeds(&self) -> &Self {
        assert_eq!(self.code, Some(0), "{self}");
        self
    }

    /// Whether the replay came to this end by its assertions, and not by breaking off.
    fn is_verdict(&self, passes: bool) -> bool {
        let failed = self.output.lines().any(|line| line.starts_with("FAIL: "));
        let broke_off = self.output.contains("the replay broke off");
        self.code == Some(i32::from(!passes)) && failed != passes && !broke_off
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit code {:?}\n{}", self.code, self.output)
    }
}

/// Runs it to its end.
fn end(command: &mut Command) -> Ended {
    let ended = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ended {
        code: ended.status.code(),
        output: text(&ended.stdout) + &text(&ended.stderr),
    }
}

/// What docker prints, or what it complains about.
fn docker(args: &[&str]) -> Result<String, String> {
    let ended = end(Command::new("docker").args(args));
    match ended.code {
        Some(0) => Ok(ended.output),
        _ => Err(ended.output),
    }
}
