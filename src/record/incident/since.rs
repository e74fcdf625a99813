//! What has changed since a replay last passed.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::IncidentError;
use crate::codec::What;
use crate::domain::fingerprint::{Fingerprint, Subject, changes};
use crate::domain::id::RunId;
use crate::domain::incident::Since;
use crate::domain::replay::ReplayName;
use crate::domain::run::{RunEvent, RunEventKind, Summary, Verdict};
use crate::record::log::is_under_way;
use crate::record::read::{Lines, ReadError};
use crate::record::{Recording, fingerprint};

/// `runs` are the newest first; those from this one on are passed over.
pub(super) fn since(
    recording: &Recording,
    run: &RunId,
    replay: &ReplayName,
    now: Option<&Fingerprint>,
    runs: &[PathBuf],
) -> Since {
    let own = recording.directory.canonicalize().ok();
    let is_own = |other: &PathBuf| own.is_some() && other.canonicalize().ok() == own;
    if !runs.iter().any(is_own) {
        return Since::Apart;
    }
    let mut ran = 0;
    // Run ids sort by their start.
    let is_older = |other: &&PathBuf| other.file_name().is_some_and(|name| *name < *run.as_str());
    for older in runs.iter().filter(is_older) {
        if is_under_way(older) {
            continue;
        }
        let Ok(Some(ended)) = end(older, replay) else {
            continue;
        };
        ran += 1;
        if ended.verdict != Verdict::Passed {
            continue;
        }
        let (run, at) = (ended.run, ended.at);
        let before = fingerprint(older).ok().flatten();
        return match (before, now) {
            (Some(before), Some(now)) => Since::Passed {
                run,
                at,
                changes: changes(&before, now)
                    .into_iter()
                    .filter(|change| match &change.subject {
                        Subject::Replay(other) => other == replay.as_str(),
                        _ => true,
                    })
                    .collect(),
            },
            _ => Since::NotKnown { run, at },
        };
    }
    Since::Never { runs: ran }
}

/// How a replay ended in a run.
struct Ended {
    verdict: Verdict,
    run: RunId,
    /// When the run began.
    at: Timestamp,
}

fn end(run: &Path, replay: &ReplayName) -> Result<Option<Ended>, ReadError> {
    let counts = |event: &str| matches!(event, "started" | "replay_finished");
    let mut summary = Summary::default();
    for line in Lines::open(run, counts)? {
        let Some(line) = line? else { continue };
        let What::Event(kind) = line.what else {
            continue;
        };
        let is_about = match &*kind {
            RunEventKind::Started { .. } => true,
            RunEventKind::ReplayFinished(result) => result.replay == *replay,
            _ => false,
        };
        if is_about {
            summary.fold(&RunEvent {
                at: line.at,
                offset: line.offset,
                kind: *kind,
            });
        }
    }
    let ended = summary.results.pop().zip(summary.run.zip(summary.started));
    Ok(ended.map(|(result, (run, at))| Ended {
        verdict: result.verdict,
        run,
        at,
    }))
}

/// The newest of the runs in which a replay came to an end.
///
/// # Errors
///
/// Fails where there is none.
pub fn last_run_of<'a>(
    runs: &'a [PathBuf],
    replay: &ReplayName,
) -> Result<&'a PathBuf, IncidentError> {
    let ended = |run: &&PathBuf| matches!(end(run, replay), Ok(Some(_)));
    runs.iter()
        .find(ended)
        .ok_or_else(|| IncidentError::NoRun(replay.clone()))
}
