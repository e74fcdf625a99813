//! `tackroom logs -f` as it is run by people: the binary, on a real daemon.

use std::process::Stdio;
use std::time::Duration;

use tackroom::domain::id::ContainerId;
use tackroom::engine::contract::{Spec, World};
use tackroom::engine::fake::Step;
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

impl Followed {
    fn new(world: &Corner) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (key, value) = world.own_label();
        let file = format!("name = \"printing\"\n[family]\nlabels = [\"{key}={value}\"]\n");
        std::fs::write(dir.path().join("tackroom.toml"), file).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_tackroom"))
            .args(["logs", "--follow"])
            .current_dir(dir.path())
            .stdin(Stdio::null())
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
