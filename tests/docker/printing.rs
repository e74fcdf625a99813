//! `tackroom logs` as it is run by people: the binary, on a real daemon.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::Value;
use tackroom::domain::id::ContainerId;
use tackroom::engine::contract::{Spec, World};
use tackroom::engine::fake::Step;
use tackroom::engine::{LogRequest, Tail};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

use crate::world::{Corner, Extra, bounded};

/// The binary that follows all containers of a world.
struct Followed {
    child: Child,
    out: Lines<BufReader<ChildStdout>>,
    marks: Option<Lines<BufReader<ChildStderr>>>,
    _dir: tempfile::TempDir,
}

/// A project whose family is all of a world, with the stacks `a` and `b`: whatever has the label
/// `part=a` or `part=b`.
fn project(world: &Corner) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (key, value) = world.own_label();
    let own = format!("\"{key}={value}\"");
    let stack = |name| format!("[[stack]]\nname = \"{name}\"\nlabels = [{own}, \"part={name}\"]\n");
    let family = format!("name = \"printing\"\n[family]\nlabels = [{own}]\n");
    let file = [family, stack("a"), stack("b")].concat();
    std::fs::write(dir.path().join("tackroom.toml"), file).unwrap();
    dir
}

fn logs(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tackroom"));
    command
        .arg("logs")
        .args(arguments)
        .current_dir(dir)
        .stdin(Stdio::null());
    command
}

/// What is printed of the logs as they stand.
async fn printed(dir: &Path, arguments: &[&str]) -> String {
    let output = bounded(logs(dir, arguments).output()).await.unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    String::from_utf8(output.stdout).unwrap()
}

impl Followed {
    fn new(world: &Corner) -> Self {
        Self::with(project(world), &["--follow"])
    }

    fn with(dir: tempfile::TempDir, arguments: &[&str]) -> Self {
        let mut child = logs(dir.path(), arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self {
            out: BufReader::new(child.stdout.take().unwrap()).lines(),
            marks: child
                .stderr
                .take()
                .map(|marks| BufReader::new(marks).lines()),
            child,
            _dir: dir,
        }
    }

    async fn line(&mut self) -> String {
        next(&mut self.out).await
    }

    async fn mark(&mut self) -> String {
        next(self.marks.as_mut().unwrap()).await
    }
}

async fn next(lines: &mut Lines<BufReader<impl AsyncRead + Unpin>>) -> String {
    bounded(lines.next_line()).await.unwrap().expect("it ended")
}

fn script() -> Spec {
    Spec::script([
        Step::out("up\n"),
        Step::UntilStopped,
        Step::out("bye\n"),
        Step::Exit(3),
    ])
}

async fn started(world: &Corner, extra: Extra) -> ContainerId {
    let id = world.create_with(script(), extra).await;
    world.start(&id).await;
    id
}

async fn stop(world: &Corner, id: &ContainerId) {
    bounded(world.engine().stop(id, Duration::from_secs(30)))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_container_that_is_removed_is_followed_to_its_end_and_beyond() {
    let Some(world) = Corner::made().await else {
        return;
    };
    let extra = Extra {
        name: Some(format!("printed-{}", world.own_label().1)),
        ..Extra::default()
    };
    let id = started(&world, extra.clone()).await;
    let mut followed = Followed::new(&world);
    assert_eq!(followed.line().await, "up");
    bounded(world.engine().remove_container(&id)).await.unwrap();
    let mark = followed.mark().await;
    assert!(mark.contains("exit 137"), "{mark}");
    let mark = followed.mark().await;
    assert!(mark.contains("removed"), "{mark}");
    let again = started(&world, extra).await;
    assert_eq!(followed.line().await, "up");
    let mark = followed.mark().await;
    assert!(mark.contains("created anew"), "{mark}");
    stop(&world, &again).await;
    assert_eq!(followed.line().await, "bye");
}

#[tokio::test]
async fn lines_are_printed_though_nobody_reads_the_marks() {
    let Some(world) = Corner::made().await else {
        return;
    };
    let id = started(&world, Extra::default()).await;
    let mut followed = Followed::new(&world);
    assert_eq!(followed.line().await, "up");
    followed.marks = None;
    for _ in 0..2 {
        world.restart(&id).await;
        assert_eq!(followed.line().await, "bye");
        assert_eq!(followed.line().await, "up");
    }
    assert!(followed.child.try_wait().unwrap().is_none());
}

/// A container of a stack that has said all this and is over.
async fn over(world: &Corner, part: &str, lines: &[&str]) {
    let script = lines.iter().map(|line| Step::out(&format!("{line}\n")));
    let id = world.create(Spec::script(script).label("part", part)).await;
    world.start(&id).await;
    let request = LogRequest {
        tail: Tail::All,
        since: None,
        follow: true,
    };
    bounded(world.engine().logs(&id, request).count()).await;
}

#[tokio::test]
async fn lines_are_chosen_by_pattern_and_level() {
    let Some(world) = Corner::made().await else {
        return;
    };
    let lines = [
        "2026-11-22T00:39:36Z INFO listening",
        "2026-11-22T00:39:37Z ERROR refused",
        "    at peer (peer.js:1)",
        "level=warning msg=\"Refused again\"",
        "{\"level\":50,\"msg\":\"gone\"}",
    ];
    over(&world, "a", &lines).await;
    let dir = project(&world);
    let only = async |arguments: &[&str]| {
        let text = printed(dir.path(), arguments).await;
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(only(&[]).await, lines);
    assert_eq!(only(&["--filter", "refused"]).await, [lines[1], lines[3]]);
    assert_eq!(only(&["--filter", "Refused"]).await, [lines[3]]);
    assert_eq!(
        only(&["--exclude", "refused|at"]).await,
        [lines[0], lines[4]]
    );
    assert_eq!(
        only(&["--level", "error"]).await,
        [lines[1], lines[2], lines[4]]
    );
    assert_eq!(
        only(&["--level", "warn", "--filter", "^l"]).await,
        [lines[3]]
    );
    let around = only(&["--filter", "gone|listening", "-C", "1"]).await;
    assert_eq!(around, [lines[0], lines[1], "--", lines[3], lines[4]]);
}

#[tokio::test]
async fn stacks_are_chosen_by_name_and_merged_by_time() {
    let Some(world) = Corner::made().await else {
        return;
    };
    over(&world, "a", &["first"]).await;
    over(&world, "b", &["second"]).await;
    over(&world, "a", &["third"]).await;
    over(&world, "c", &["of no stack"]).await;
    let dir = project(&world);
    let texts = async |arguments: &[&str]| {
        let text = printed(dir.path(), &[&["--json"], arguments].concat()).await;
        let texts = text.lines().map(|line| {
            let object: Value = serde_json::from_str(line).unwrap();
            let [stack, text] = ["stack", "text"].map(|key| object[key].as_str().unwrap());
            format!("{stack}: {text}")
        });
        texts.collect::<Vec<_>>()
    };
    assert_eq!(texts(&["--stack", "a"]).await, ["a: first", "a: third"]);
    let both = texts(&["--stack", "b", "--stack", "a"]).await;
    assert_eq!(both, ["a: first", "b: second", "a: third"]);
    assert_eq!(texts(&["b"]).await, ["b: second"]);
    assert_eq!(texts(&[]).await.len(), 4);
}

#[tokio::test]
async fn json_is_one_stream_of_lines_and_marks() {
    let Some(world) = Corner::made().await else {
        return;
    };
    // The stack is declared and empty: it is waited for.
    let mut followed = Followed::with(project(&world), &["-f", "--json", "--stack", "a"]);
    let extra = Extra {
        name: Some(format!("json-{}", world.own_label().1)),
        ..Extra::default()
    };
    let spec = Spec::script([
        Step::err("ERROR \x1b[31mred\n"),
        Step::out("no level\n"),
        Step::UntilStopped,
        Step::Exit(3),
    ]);
    let id = world
        .create_with(spec.label("part", "a"), extra.clone())
        .await;
    world.start(&id).await;
    let mut objects = Vec::new();
    for _ in 0..2 {
        objects.push(serde_json::from_str::<Value>(&followed.line().await).unwrap());
    }
    stop(&world, &id).await;
    let mark: Value = serde_json::from_str(&followed.line().await).unwrap();
    // The two channels are two pipes: which is read first is up to the engine.
    objects.sort_by_key(|object| object["channel"].to_string());
    let [err, out] = &objects[..] else {
        panic!("{objects:?}");
    };
    for object in [err, out, &mark] {
        assert_eq!(object["v"], 1);
        assert_eq!(object["container"], extra.name.as_deref().unwrap());
        assert_eq!(object["stack"], "a");
        let time = object["time"].as_str().unwrap();
        time.parse::<jiff::Timestamp>().unwrap();
    }
    assert_eq!(
        (&err["channel"], &err["level"]),
        (&"stderr".into(), &"error".into())
    );
    assert_eq!(err["text"], "ERROR \u{1b}[31mred");
    assert_eq!(
        (&out["channel"], &out["level"]),
        (&"stdout".into(), &Value::Null)
    );
    assert_eq!(
        (&mark["mark"], &mark["code"]),
        (&"exited".into(), &3.into())
    );
}
