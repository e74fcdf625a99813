//! The logs of the time in which a replay failed.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::engine::{RecordedContainer, containers};
use super::environment::fingerprint;
use super::incident::Reader;
use crate::domain::fingerprint::ClockDifference;
use crate::domain::incident::{What, Window};
use crate::domain::run::{ReplayResult, Summary, Verdict};
use crate::domain::window::{LogTail, Windows};

/// Lines of one container.
const LINES: usize = 20;
/// Bytes of one container.
const BYTES: usize = 4 * 1024;
/// Bytes of all containers of one replay.
const ALL_BYTES: usize = 32 * 1024;
/// Bytes of one line.
const LINE: usize = 1024;

/// The ends of what each container of a recording wrote while a replay ran that did not end well. The
/// difference of the clocks is corrected as far as it is known. What cannot
/// be read is not there: it is evidence, and no verdict depends on it.
pub fn failure_windows(directory: &Path, summary: &Summary) -> Windows {
    let failed = |result: &&ReplayResult| {
        let verdict = &result.verdict;
        !verdict.is_ok() && !matches!(verdict, Verdict::CouldNotStart { .. })
    };
    let failed: Vec<&ReplayResult> = summary.results.iter().filter(failed).collect();
    if failed.is_empty() {
        return Windows::new();
    }
    let Ok(mut containers) = containers(directory) else {
        return Windows::new();
    };
    containers.sort_by(|a, b| a.inspect.container.name.cmp(&b.inspect.container.name));
    let clock = fingerprint(directory).ok().flatten();
    let clock = clock.and_then(|print| print.clock).unwrap_or_default();
    failed
        .into_iter()
        .filter_map(|result| {
            let tails = tails(directory, &containers, &clock, result);
            (!tails.is_empty()).then(|| (result.replay.clone(), tails))
        })
        .collect()
}

fn tails(
    directory: &Path,
    containers: &[RecordedContainer],
    clock: &ClockDifference,
    result: &ReplayResult,
) -> Vec<LogTail> {
    let ended = result.started.saturating_add(result.took);
    let window = Window {
        from: result.started,
        to: ended.unwrap_or(Timestamp::MAX),
    };
    let mut room = ALL_BYTES;
    let mut tails = Vec::new();
    for container in containers {
        let Some(log) = container.log.clone().map(Reader::Log) else {
            continue;
        };
        let lines = log.lines(directory, clock, window);
        let Some((lines, before)) = tail(lines, window.from, room.min(BYTES)) else {
            continue;
        };
        room -= lines.iter().map(|(_, line)| line.len()).sum::<usize>();
        tails.push(LogTail {
            container: container.inspect.container.name.clone(),
            lines,
            before,
        });
    }
    tails
}

type Lines = Vec<(Duration, Vec<u8>)>;

/// The last of these lines, and how many there were before them.
fn tail(
    entries: impl Iterator<Item = (Timestamp, What)>,
    began: Timestamp,
    room: usize,
) -> Option<(Lines, u64)> {
    let mut kept = VecDeque::new();
    let (mut before, mut bytes) = (0, 0);
    for (at, what) in entries {
        let What::Line { bytes: line, .. } = what else {
            return None;
        };
        let text = &line[..line.len().min(LINE)];
        let since = Duration::try_from(at.duration_since(began)).unwrap_or_default();
        bytes += text.len();
        kept.push_back((since, text.to_vec()));
        while kept.len() > LINES || bytes > room {
            let (_, gone) = kept.pop_front()?;
            bytes -= gone.len();
            before += 1;
        }
    }
    (!kept.is_empty() || before > 0).then(|| (kept.into(), before))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::super::engine::{ContainerChange, EngineLog, Seen};
    use super::super::environment::write_fingerprint;
    use super::super::fixtures::{ended, failed};
    use super::*;
    use crate::domain::container::Container;
    use crate::domain::fingerprint::Fingerprint;
    use crate::domain::line::{Channel, LineBatch};
    use crate::domain::replay::ReplayName;
    use crate::domain::run::RunEventKind;
    use crate::engine::Inspect;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// A recording of an engine that is an hour ahead, with these logs: text by second.
    fn recording(logs: &[(&str, &[(i64, String)])]) -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        let mut log = EngineLog::create(place.path(), second(0)).unwrap();
        for (name, lines) in logs {
            let container = Container {
                name: (*name).to_owned(),
                ..Container::bare(name)
            };
            let mut batch = LineBatch::default();
            for (at, text) in *lines {
                batch.push(second(at + 3600), Channel::Out, text.as_bytes());
            }
            let mut file = log.log(name, &container.id, u64::MAX);
            file.append(&batch).unwrap();
            log.container(ContainerChange {
                at: second(3600),
                id: container.id.clone(),
                what: Seen::Created(Box::new(Inspect::of(container, serde_json::Value::Null))),
            })
            .unwrap();
        }
        let print = Fingerprint {
            clock: Some(ClockDifference {
                engine_ahead: SignedDuration::from_hours(1),
                within: Duration::ZERO,
            }),
            ..Fingerprint::default()
        };
        write_fingerprint(place.path(), &print).unwrap();
        place
    }

    /// A replay from second 100 to second 110.
    fn summary(verdict: Verdict) -> Summary {
        let mut summary = Summary::default();
        if let RunEventKind::ReplayFinished(mut result) = ended("a", verdict, 10) {
            result.started = second(100);
            summary.results.push(result);
        }
        summary
    }

    fn lines(seconds: std::ops::Range<i64>) -> Vec<(i64, String)> {
        seconds.map(|at| (at, format!("line {at}"))).collect()
    }

    #[test]
    fn a_failure_has_the_logs_of_its_time_alone() {
        let place = recording(&[
            ("web", &lines(90..130)),
            ("silent", &lines(0..90)),
            ("db", &lines(110..120)),
        ]);
        let windows = failure_windows(place.path(), &summary(failed()));
        let tails = &windows[&ReplayName::new("a")];
        let names: Vec<&str> = tails.iter().map(|tail| &*tail.container).collect();
        assert_eq!(names, ["db", "web"]);
        assert_eq!(
            tails[0].lines,
            [(Duration::from_secs(10), b"line 110".to_vec())]
        );
        assert_eq!((tails[1].lines.len(), tails[1].before), (11, 0));
        assert_eq!(tails[1].lines[0], (Duration::ZERO, b"line 100".to_vec()));
        for fine in [
            Verdict::Passed,
            Verdict::Skipped {
                reason: String::new(),
            },
        ] {
            assert_eq!(
                failure_windows(place.path(), &summary(fine)),
                Windows::new()
            );
        }
        let late = Verdict::TimedOut {
            after: Duration::ZERO,
        };
        assert_eq!(failure_windows(place.path(), &summary(late)).len(), 1);
    }

    #[test]
    fn a_flood_is_cut_to_its_end() {
        let many: Vec<(i64, String)> = (0..100).map(|n| (105, format!("{n}"))).collect();
        let long: Vec<(i64, String)> = (0..9).map(|n| (105, format!("{n}").repeat(2000))).collect();
        let names: Vec<String> = (0..20).map(|n| format!("loud{n:02}")).collect();
        let mut logs: Vec<(&str, &[(i64, String)])> = vec![("a", &many)];
        logs.extend(names.iter().map(|name| (&**name, &*long)));
        let place = recording(&logs);
        let windows = failure_windows(place.path(), &summary(failed()));
        let tails = &windows[&ReplayName::new("a")];
        assert_eq!((tails[0].lines.len(), tails[0].before), (20, 80));
        assert_eq!(tails[0].lines[19].1, b"99");
        assert_eq!((tails[1].lines.len(), tails[1].before), (4, 5));
        assert_eq!(tails[1].lines[3].1, b"8".repeat(LINE));
        let bytes = |tail: &LogTail| tail.lines.iter().map(|(_, line)| line.len()).sum::<usize>();
        assert!(tails.iter().all(|tail| bytes(tail) <= BYTES));
        assert!(tails.iter().map(bytes).sum::<usize>() <= ALL_BYTES);
        assert_eq!(tails.len(), 21, "what has no room is still named");
        assert_eq!((tails[20].lines.len(), tails[20].before), (0, 9));
    }

    #[test]
    fn a_run_without_logs_has_none() {
        let place = tempfile::tempdir().unwrap();
        let windows = failure_windows(place.path(), &summary(failed()));
        assert_eq!(windows, Windows::new());
    }
}
