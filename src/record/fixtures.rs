//! Runs for the tests of the record.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{EventLog, Store};
use crate::codec::Header;
use crate::config::Keep;
use crate::domain::id::RunId;
use crate::domain::replay::{self, Replay, ReplayName};
use crate::domain::run::{Ending, Output, ReplayResult, RunEvent, RunEventKind, Verdict};

pub(super) fn run(second: i64) -> RunId {
    RunId::new(Timestamp::from_second(second).unwrap(), 1)
}

pub(super) fn started(run: &RunId, names: &[&str]) -> RunEventKind {
    let replay = |name: &&str| {
        Arc::new(Replay {
            name: ReplayName::new(*name),
            suite: crate::domain::suite::SuiteName::default(),
            path: PathBuf::from(format!("{name}.sh")),
            file: format!("{name}.sh"),
            header: replay::Header::default(),
        })
    };
    RunEventKind::Started {
        run: run.clone(),
        replays: names.iter().map(replay).collect(),
        stacks: vec!["tenant".into()],
    }
}

pub(super) fn begun(name: &str) -> RunEventKind {
    RunEventKind::ReplayStarted {
        replay: ReplayName::new(name),
        attempt: 1,
        timeout: None,
    }
}

pub(super) fn failed() -> Verdict {
    Verdict::Failed(Ending::Code(1))
}

/// A replay that took this many seconds.
pub(super) fn ended(name: &str, verdict: Verdict, seconds: u64) -> RunEventKind {
    RunEventKind::ReplayFinished(ReplayResult {
        replay: ReplayName::new(name),
        verdict,
        started: Timestamp::UNIX_EPOCH,
        took: Duration::from_secs(seconds),
        attempt: 1,
        output: Output::default(),
        tap: None,
        slow: false,
        leaky: false,
        survivors: Vec::new(),
        retried: false,
        flaky: crate::domain::run::Flaky::No,
    })
}

pub(super) fn finished() -> RunEventKind {
    RunEventKind::Finished(Box::default())
}

/// Writes a log of these events, one a second.
pub(super) fn write(directory: &Path, kinds: Vec<RunEventKind>) -> EventLog {
    let header = Header {
        name: "harness".to_owned(),
        root: PathBuf::from("/work"),
        ..Header::default()
    };
    let mut log = EventLog::open(directory, &header).unwrap();
    for (second, kind) in (1..).zip(kinds) {
        let event = RunEvent {
            at: Timestamp::from_second(second).unwrap(),
            offset: Duration::from_secs(second.unsigned_abs()),
            kind,
        };
        log.append(&event).unwrap();
    }
    log
}

/// A run of these events in a store.
pub(super) fn keep(store: &Store, second: i64, kinds: Vec<RunEventKind>) -> PathBuf {
    let directory = store.begin(&run(second), &Keep::runs(100)).unwrap();
    write(&directory, kinds);
    directory
}
