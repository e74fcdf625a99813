//! Runs one replay and judges it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use super::preflight::obstacle;
use crate::domain::replay::{Replay, ReplayName};
use crate::domain::run::{Ending, Output, ReplayResult, RunEventKind, Verdict};
use crate::process::{CaptureLimits, Control, Escaped, Finished, ProcessEvent, Spec, supervise};

/// What holds for every replay of a run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where replays run.
    pub dir: PathBuf,
    /// Added to our own environment.
    pub env: BTreeMap<String, String>,
    pub timeout: Duration,
    pub slow: Duration,
    pub grace: Duration,
    pub settle: Duration,
    pub skip_exit_code: i32,
    /// The run's directory, for outputs and artifacts; `None` keeps nothing on disk.
    pub record: Option<PathBuf>,
}

/// Runs one replay to its end. It always ends with a verdict.
pub async fn execute(
    replay: &Replay,
    settings: &Settings,
    control: &Control,
    emit: &mut (dyn FnMut(RunEventKind) + Send),
) -> ReplayResult {
    let started = Timestamp::now();
    let timeout = replay.header.timeout.unwrap_or(settings.timeout);
    emit(RunEventKind::ReplayStarted {
        replay: replay.name.clone(),
        attempt: 1,
        timeout: Some(timeout),
    });
    let mut result = ReplayResult {
        replay: replay.name.clone(),
        verdict: Verdict::Aborted,
        started,
        took: Duration::ZERO,
        attempt: 1,
        output: Output::default(),
        slow: false,
        leaky: false,
        survivors: Vec::new(),
    };
    match attempt(replay, settings, timeout, control, emit).await {
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
    emit(RunEventKind::ReplayFinished(result.clone()));
    result
}

async fn attempt(
    replay: &Replay,
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
    env.push(("TACKROOM_ATTEMPT".into(), "1".into()));
    let mut output_file = None;
    if let Some(record) = &settings.record {
        let directory = record.join("replays").join(directory_name(&replay.name));
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

/// A replay's name as one component of a path: a name may hold `..` or begin with `/`, and what is
/// kept of a run must stay inside of the run. Every byte but ASCII letters, digits, `_`, `-` and
/// inner dots is percent-encoded (RFC 3986, section 2.1), so no two names share a directory.
fn directory_name(name: &ReplayName) -> String {
    use std::fmt::Write;
    let mut encoded = String::new();
    for (position, byte) in name.as_str().bytes().enumerate() {
        match byte {
            b'.' if position > 0 => encoded.push('.'),
            b'_' | b'-' => encoded.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => encoded.push(char::from(byte)),
            byte => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
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
    fn what_is_kept_of_a_replay_stays_inside_of_the_run() {
        let encoded = |name: &str| directory_name(&ReplayName::new(name));
        assert_eq!(encoded("404-a_b.sh"), "404-a_b.sh");
        assert_eq!(encoded("../../replays/a"), "%2E.%2F..%2Freplays%2Fa");
        assert_eq!(encoded("/etc"), "%2Fetc");
        assert_eq!(encoded(".."), "%2E.");
        assert_eq!(encoded("50% é"), "50%25%20%C3%A9");
        for name in ["..", ".", "/", "//work/a", "a/../..", "a/.."] {
            let path = std::path::PathBuf::from(encoded(name));
            let parts: Vec<_> = path.components().collect();
            assert!(matches!(parts[..], [std::path::Component::Normal(_)]));
        }
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
