//! Runs one replay and judges it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use super::limit::Timeouts;
use super::listener::Listener;
use super::place::{Place, Places};
use super::preflight::{Start, obstacle};
use crate::config::{Replays, RunIn, Suite};
use crate::domain::replay::{Replay, ReplayName};
use crate::domain::run::{Flaky, Output, ReplayResult, RunEventKind, Verdict};
use crate::domain::suite::Evidence;
use crate::process::{CaptureLimits, Control, Escaped, Finished, ProcessEvent, Spec, supervise};

/// What holds for every replay of a run.
#[derive(Clone, Debug)]
pub struct Settings<'a> {
    pub config: &'a Replays,
    pub timeouts: Timeouts<'a>,
    /// Added to our own environment.
    pub env: BTreeMap<String, String>,
    pub settle: Duration,
    /// The run's directory, for outputs and artifacts; `None` keeps nothing on disk.
    pub record: Option<PathBuf>,
}

/// Makes one attempt at a replay. It always ends with a verdict; what that means for the run, and
/// saying it, is the caller's.
///
/// `number` is the attempt's, from 1 and another one for each of the run.
pub(super) async fn execute(
    replay: &Replay,
    number: u32,
    settings: &Settings<'_>,
    places: &Places,
    control: &Control,
    emit: &mut (dyn FnMut(RunEventKind) + Send),
) -> ReplayResult {
    let started = Timestamp::now();
    let timeout = settings.timeouts.of(replay);
    let suite = settings.config.suite(&replay.suite);
    let mut listener = Listener::new(&suite.rules);
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
        tap: None,
        slow: false,
        leaky: false,
        retried: false,
        flaky: Flaky::No,
        survivors: Vec::new(),
    };
    let attempt = Attempt {
        replay,
        number,
        suite,
        settings,
        timeout,
    };
    let mut place = None;
    let made = match attempt.spec(places, &mut place) {
        Ok(spec) => attempt.make(&spec, control, &mut listener, emit).await,
        Err(reason) => Err(reason),
    };
    match made {
        Ok(finished) => {
            result.tap = listener.take_tap();
            result.verdict = suite.rules.judge(&Evidence {
                ending: finished.ending,
                timed_out: finished.timed_out.then_some(timeout),
                stopped: finished.stopped,
                skipped: listener.skipped.as_deref(),
                expected_failure: listener.expected_failure.as_deref(),
                tap: result.tap.as_deref(),
                last_line: &|| last_line(&finished.output),
            });
            result.took = finished.took;
            result.slow = finished.slow;
            result.leaky = finished.left_processes;
            result.survivors = finished.survivors;
            result.output = finished.output;
            let is_silent = result.verdict.is_ok() && result.output.is_empty() && !result.leaky;
            if is_silent && place.is_some_and(|place| places.vacate(place)) {
                result.output.file = None;
            }
        }
        Err(reason) => result.verdict = Verdict::CouldNotStart { reason },
    }
    result
}

struct Attempt<'a> {
    replay: &'a Replay,
    number: u32,
    suite: &'a Suite,
    settings: &'a Settings<'a>,
    timeout: Duration,
}

impl Attempt<'_> {
    async fn make(
        &self,
        spec: &Spec,
        control: &Control,
        listener: &mut Listener<'_>,
        emit: &mut (dyn FnMut(RunEventKind) + Send),
    ) -> Result<Finished, String> {
        let name = &self.replay.name;
        supervise(spec, control, |event| {
            emit(match event {
                ProcessEvent::Lines(lines) => {
                    listener.lines(&lines);
                    RunEventKind::ReplayOutput {
                        replay: name.clone(),
                        lines,
                    }
                }
                ProcessEvent::Part(lines) => {
                    lines.iter().for_each(|part| listener.part(part));
                    RunEventKind::ReplayOutput {
                        replay: name.clone(),
                        lines,
                    }
                }
                ProcessEvent::Slow => RunEventKind::ReplaySlow {
                    replay: name.clone(),
                    after: self.suite.slow,
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

    /// What to start, and the place that it is given; the reason where that could not work.
    fn spec(&self, places: &Places, place: &mut Option<Place>) -> Result<Spec, String> {
        let (replay, suite, settings) = (self.replay, self.suite, self.settings);
        let mut env = settings.env.clone();
        env.extend(suite.env.iter().cloned());
        let path = env
            .get("PATH")
            .map(OsString::from)
            .or_else(|| std::env::var_os("PATH"));
        let dir = match &suite.dir {
            RunIn::Directory(directory) => directory.clone(),
            RunIn::ScriptsOwn => replay.path.parent().unwrap_or(Path::new("/")).to_owned(),
        };
        let start = Start {
            wrapper: &suite.wrapper,
            dir: &dir,
            path: path.as_deref(),
        };
        if let Some(reason) = obstacle(replay, &start) {
            return Err(reason);
        }
        let mut env: Vec<(OsString, OsString)> = env
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        env.push((ReplayName::VARIABLE.into(), replay.name.as_str().into()));
        let number = self.number.to_string();
        env.push(("TACKROOM_ATTEMPT".into(), number.into()));
        *place = places.take(&replay.name, self.number);
        let artifacts = place.as_ref().and_then(Place::artifacts);
        env.extend(artifacts.map(|path| ("TACKROOM_ARTIFACTS".into(), path.into())));
        let (program, args, stdin) = match suite.wrapper.split_first() {
            None => (replay.path.clone(), Vec::new(), None),
            Some((program, rest)) => {
                let mut args: Vec<OsString> = rest.iter().map(OsString::from).collect();
                let stdin = suite.script_on_stdin.then(|| replay.path.clone());
                if stdin.is_none() {
                    args.push(replay.path.clone().into());
                }
                (PathBuf::from(program), args, stdin)
            }
        };
        Ok(Spec {
            program,
            args,
            env,
            dir,
            stdin,
            timeout: Some(self.timeout),
            slow: Some(suite.slow),
            grace: suite.grace,
            settle: settings.settle,
            escaped: Escaped::End,
            capture: CaptureLimits::default(),
            output_file: place.as_ref().map(Place::output_file),
        })
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

    #[test]
    fn a_script_that_skips_says_why_in_its_last_line() {
        let printed = |text: &str| {
            last_line(&Output {
                head: text.as_bytes().into(),
                ..Output::default()
            })
        };
        assert_eq!(printed("one\nno GPU here\n\n"), "no GPU here");
        assert_eq!(printed("\n"), "no reason given");
    }
}
