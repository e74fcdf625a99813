//! A run that has been, as a whole.

use std::path::Path;

use jiff::Timestamp;

use super::engine::{RecordedEngine, scope_of};
use super::environment::fingerprint;
use super::read::{ReadError, Recording, read_events};
use crate::domain::fingerprint::{ClockDifference, Fingerprint};
use crate::domain::run::RunEvent;
use crate::domain::scope::Scope;

/// All that is known of a run but its logs and outputs, which are read when they are looked at.
#[derive(Clone, Debug)]
pub struct Opened {
    pub recording: Recording,
    /// What happened, in its order.
    pub events: Vec<RunEvent>,
    pub engine: RecordedEngine,
    pub fingerprint: Option<Fingerprint>,
}

impl Opened {
    /// # Errors
    ///
    /// Fails where there is no event log, and where a file cannot be read or is a newer tackroom's.
    pub fn open(directory: &Path) -> Result<Self, ReadError> {
        let (recording, events) = read_events(directory)?;
        Ok(Self {
            recording,
            events,
            engine: RecordedEngine::open(directory)?,
            fingerprint: fingerprint(directory)?,
        })
    }

    /// The end of the run by the engine's clock, which is that of containers and logs: what `now`
    /// means to them.
    pub fn ended_by_engine(&self) -> Timestamp {
        let clock = self.clock();
        clock.map_or(self.ended(), |clock| clock.to_engines(self.ended()))
    }

    /// A time of the engine by the clock of the runner, which is that of outputs.
    pub fn by_runner(&self, engine: Timestamp) -> Timestamp {
        self.clock().map_or(engine, |clock| clock.to_ours(engine))
    }

    fn clock(&self) -> Option<&ClockDifference> {
        self.fingerprint.as_ref()?.clock.as_ref()
    }

    /// When the run ended, as far as that is known, by the clock of the runner.
    pub fn ended(&self) -> Timestamp {
        let summary = &self.recording.summary;
        let started = summary.started.unwrap_or(Timestamp::UNIX_EPOCH);
        started.checked_add(summary.took).unwrap_or(started)
    }

    /// What the run looked at, without the stacks of which it saw nothing, but for the harness.
    pub fn scope(&self) -> Scope {
        let containers = self.engine.containers();
        if self.recording.scope == Scope::default() {
            return scope_of(containers);
        }
        let mut scope = self.recording.scope.clone();
        let harness = &self.recording.harness;
        scope.stacks.retain(|stack| {
            let mut labels = containers.iter().map(|one| &one.inspect.container.labels);
            harness.contains(&stack.name) || labels.any(|labels| stack.claims.matches(labels))
        });
        scope
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::SignedDuration;

    use super::super::fixtures::{finished, run, started, write};
    use super::*;

    #[test]
    fn the_engine_has_its_own_end_of_the_run() {
        let place = tempfile::tempdir().unwrap();
        drop(write(place.path(), vec![started(&run(1), &[]), finished()]));
        let mut opened = Opened::open(place.path()).unwrap();
        let ended = opened.ended();
        assert_eq!(opened.ended_by_engine(), ended);
        opened.fingerprint = Some(Fingerprint {
            clock: Some(ClockDifference {
                engine_ahead: SignedDuration::from_secs(-90),
                within: Duration::from_millis(2),
            }),
            ..Fingerprint::default()
        });
        let behind = ended - SignedDuration::from_secs(90);
        assert_eq!((opened.ended(), opened.ended_by_engine()), (ended, behind));
        assert_eq!(opened.by_runner(behind), ended);
    }
}
