//! Runs one replay and judges it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use super::preflight::obstacle;
use crate::domain::replay::{Replay, ReplayName};
use crate::domain::run::{Ending, Flaky, Output, ReplayResult, RunEventKind, Verdict};
use crate::process::{CaptureLimits, Control, Escaped, Finished, ProcessEvent, Spec, supervise};

/// What holds for every replay of a run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where replays run.
    pub dir: PathBuf,
    /// Added to our own environment.
    pub env: BTreeMap<String, String>,
    pub timeout: Duration,
    /// What is long for some of them, by earlier runs.
    pub limits: BTreeMap<ReplayName, Duration>,
    pub slow: Duration,
    pub grace: Duration,
    pub settle: Duration,
    pub skip_exit_code: i32,
    /// The run's directory, for outputs and artifacts; `None` keeps nothing on disk.
    pub record: Option<PathBuf>,
}

impl Settings {
    /// How long a replay may take: its own time-out or everybody's, and no more than its limit.
    fn timeout_of(&self, replay: &Replay) -> Duration {
        let timeout = replay.header.timeout.unwrap_or(self.timeout);
        match self.limits.get(&replay.name) {
            Some(limit) => timeout.min(*limit),
            None => timeout,
        }
    }
}

/// Makes one attempt at a replay. It always ends with a verdict; what that means for the run, and
/// saying it, is the caller's.
///
/// `number` is the attempt's, from 1 and another one for each of the run.
pub(super) async fn execute(
    replay: &Replay,
    number: u32,
    settings: &Settings,
    control: &Control,
    emit: &mut (dyn FnMut(RunEventKind) + Send),
) -> ReplayResult {
    let started = Timestamp::now();
    let timeout = settings.timeout_of(replay);
    emit(RunEventKind::ReplayStarted {
        replay: replay.name.clone(),
        attempt: number,
        timeout: Some(timeout),
    });
    let mut result = ReplayResult {
        replay: replay.name.clone(),
        verdict: Verdict::Aborted,
        started,
        took: Duration::ZERO,
        attempt: number,
        output: Output::default(),
        slow: false,
        leaky: false,
        retried: false,
        flaky: Flaky::No,
        survivors: Vec::new(),
    };
    match attempt(replay, number, settings, timeout, control, emit).await {
        Ok(finished) => {
            result.verdict = judge(&finished, timeout, settings.skip_exit_code);
            result.took = finished.took;
            result.slow = finished.slow;
            result.leaky = finished.left_processes;
            result.survivors = finished.survivors;
            result.output = finished.output;
        }
        Err(reason) => result.verdict = Verdict::CouldNotStart { reason },
    }
    result
}

async fn attempt(
    replay: &Replay,
    number: u32,
    settings: &Settings,
    timeout: Duration,
    control: &Control,
    emit: &mut (dyn FnMut(RunEventKind) + Send),
) -> Result<Finished, String> {
    let path = settings
        .env
        .get("PATH")
        .map(OsString::from)
        .or_else(|| std::env::var_os("PATH"));
    if let Some(reason) = obstacle(replay, path.as_deref()) {
        return Err(reason);
    }
    let mut env: Vec<(OsString, OsString)> = settings
        .env
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    env.push((ReplayName::VARIABLE.into(), replay.name.as_str().into()));
    env.push(("TACKROOM_ATTEMPT".into(), number.to_string().into()));
    let mut output_file = None;
    if let Some(record) = &settings.record {
        let directory = attempt_directory(record, &replay.name, number);
        let artifacts = directory.join("artifacts");
        std::fs::create_dir_all(&artifacts)
            .map_err(|error| format!("cannot make {}: {error}", artifacts.display()))?;
        env.push(("TACKROOM_ARTIFACTS".into(), artifacts.into()));
        output_file = Some(directory.join("output.log"));
    }
    let spec = Spec {
        program: replay.path.clone(),
        args: Vec::new(),
        env,
        dir: settings.dir.clone(),
        timeout: Some(timeout),
        slow: Some(settings.slow),
        grace: settings.grace,
        settle: settings.settle,
        escaped: Escaped::End,
        capture: CaptureLimits::default(),
        output_file,
    };
    let name = &replay.name;
    supervise(&spec, control, |event| {
        emit(match event {
            ProcessEvent::Line(line) => RunEventKind::ReplayOutput {
                replay: name.clone(),
                line,
            },
            ProcessEvent::Slow => RunEventKind::ReplaySlow {
                replay: name.clone(),
                after: settings.slow,
            },
            ProcessEvent::Stopping(signal) => RunEventKind::ReplayStopping {
                replay: name.clone(),
                signal,
            },
        });
    })
    .await
    .map_err(|error| error.to_string())
}

/// What one attempt leaves. A later one has a directory of its own in that of the first.
fn attempt_directory(record: &Path, name: &ReplayName, number: u32) -> PathBuf {
    let directory = record.join("replays").join(name.as_path_component());
    if number > 1 {
        directory.join(format!("attempt-{number}"))
    } else {
        directory
    }
}

/// What the end of the process means. Being cut off comes first: a script that answers TERM with
/// `exit 0` has proved nothing.
fn judge(finished: &Finished, timeout: Duration, skip_exit_code: i32) -> Verdict {
    if finished.timed_out {
        return Verdict::TimedOut { after: timeout };
    }
    if finished.stopped {
        return Verdict::Aborted;
    }
    match finished.ending {
        Ending::Code(0) => Verdict::Passed,
        Ending::Code(code) if code == skip_exit_code => Verdict::Skipped {
            reason: last_line(&finished.output),
        },
        ending => Verdict::Failed(ending),
    }
}

/// A script that skips says why in its last line.
fn last_line(output: &Output) -> String {
    let text = output.text();
    let text = String::from_utf8_lossy(&text);
    text.lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .map_or_else(
            || "no reason given".to_owned(),
            |line| line.trim().to_owned(),
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::replay::Header;

    fn finished(ending: Ending) -> Finished {
        Finished {
            ending,
            timed_out: false,
            stopped: false,
            left_processes: false,
            survivors: Vec::new(),
            took: Duration::ZERO,
            slow: false,
            output: Output {
                head: b"one\nno GPU here\n\n".to_vec(),
                ..Output::default()
            },
        }
    }

    #[test]
    fn a_replay_gets_its_own_time_and_no_more_than_its_limit() {
        let seconds = Duration::from_secs;
        let settings = Settings {
            dir: PathBuf::new(),
            env: BTreeMap::new(),
            timeout: seconds(60),
            limits: BTreeMap::from([(ReplayName::new("timed"), seconds(5))]),
            slow: seconds(10),
            grace: seconds(1),
            settle: Duration::ZERO,
            skip_exit_code: 77,
            record: None,
        };
        let of = |name: &str, own: Option<u64>| {
            settings.timeout_of(&Replay {
                name: ReplayName::new(name),
                path: PathBuf::new(),
                file: String::new(),
                header: Header {
                    timeout: own.map(seconds),
                    ..Header::default()
                },
            })
        };
        assert_eq!(of("new", None), seconds(60));
        assert_eq!(of("new", Some(90)), seconds(90));
        assert_eq!(of("timed", None), seconds(5));
        assert_eq!(of("timed", Some(90)), seconds(5));
        assert_eq!(of("timed", Some(2)), seconds(2));
    }

    #[test]
    fn the_exit_code_is_the_judge_unless_we_cut_it_off() {
        let limit = Duration::from_secs(1);
        let judged = |finished: &Finished| judge(finished, limit, 77);
        assert_eq!(judged(&finished(Ending::Code(0))), Verdict::Passed);
        assert_eq!(
            judged(&finished(Ending::Code(22))),
            Verdict::Failed(Ending::Code(22))
        );
        assert_eq!(
            judged(&finished(Ending::Code(77))),
            Verdict::Skipped {
                reason: "no GPU here".to_owned()
            }
        );
        let mut cut_off = finished(Ending::Code(0));
        cut_off.stopped = true;
        assert_eq!(judged(&cut_off), Verdict::Aborted);
        cut_off.timed_out = true;
        assert_eq!(judged(&cut_off), Verdict::TimedOut { after: limit });
    }
}
