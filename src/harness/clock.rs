//! How far the engine's clock is from ours.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, timeout};

use crate::domain::fingerprint::{ClockDifference, EnginePrint};
use crate::domain::link::EngineHost;
use crate::engine::Engine;

/// How often the clock is asked for; the quickest answer counts.
pub(super) const SAMPLES: usize = 3;
/// How long one answer may take.
const LIMIT: Duration = Duration::from_secs(3);

/// What the engine says of itself and of its machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Measured {
    pub(super) print: EnginePrint,
    pub(super) clock: Option<ClockDifference>,
}

/// One answer of an engine about its machine and its clock.
pub(super) struct Sample {
    pub(super) host: EngineHost,
    before: Timestamp,
    took: Duration,
}

impl Sample {
    fn clock(&self) -> Option<ClockDifference> {
        let now = self.host.now?;
        Some(difference(self.before, self.took, now))
    }
}

/// Asks for the clock once; `None` where the engine does not answer.
pub(super) async fn sample(engine: &dyn Engine) -> Option<Sample> {
    let (before, began) = (Timestamp::now(), Instant::now());
    let host = timeout(LIMIT, engine.host()).await.ok()?.ok()?;
    let took = began.elapsed();
    Some(Sample { host, before, took })
}

/// Asks an engine; `None` where it does not answer. The first sample may have been taken before.
pub(super) async fn measure(engine: &dyn Engine, first: Option<Sample>) -> Option<Measured> {
    let info = timeout(LIMIT, engine.info()).await.ok()?.ok()?;
    let mut measured = Measured {
        print: EnginePrint {
            product: info.product,
            version: info.version,
            api: info.api_version,
            ..EnginePrint::default()
        },
        clock: None,
    };
    let mut known = first;
    for _ in 0..SAMPLES {
        let taken = match known.take() {
            Some(sample) => Some(sample),
            None => sample(engine).await,
        };
        let Some(sample) = taken else { break };
        let clock = sample.clock();
        measured.print.name = sample.host.name;
        measured.print.os = sample.host.os;
        measured.print.arch = sample.host.arch;
        let Some(clock) = clock else { break };
        if measured.clock.is_none_or(|best| clock.within < best.within) {
            measured.clock = Some(clock);
        }
    }
    Some(measured)
}

/// From a request that began at `before` by our clock, and the clock in its answer.
fn difference(before: Timestamp, took: Duration, engine: Timestamp) -> ClockDifference {
    let within = took / 2;
    let middle = before.checked_add(within).unwrap_or(before);
    ClockDifference {
        engine_ahead: engine.duration_since(middle),
        within,
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::engine::fake::{FakeEngine, Operation};
    use crate::engine::{EngineError, ErrorKind};

    #[test]
    fn a_clock_is_compared_with_the_middle_of_the_request() {
        let at = |millisecond| Timestamp::from_millisecond(millisecond).unwrap();
        let clock = difference(at(1000), Duration::from_millis(200), at(1050));
        assert_eq!(clock.engine_ahead, SignedDuration::from_millis(-50));
        assert_eq!(clock.within, Duration::from_millis(100));
        assert_eq!(clock.correction(), SignedDuration::ZERO);
        let clock = difference(at(1000), Duration::from_millis(2), at(61_001));
        assert_eq!(clock.correction(), SignedDuration::from_secs(60));
        assert_eq!(clock.to_ours(at(61_001)), at(1001));
    }

    #[tokio::test]
    async fn an_engine_whose_clock_is_wrong_is_found_out() {
        let engine = FakeEngine::new();
        let measured = measure(&engine, None).await.unwrap();
        let clock = measured.clock.unwrap();
        let ours = clock.to_ours(engine.now());
        let off = Timestamp::now().duration_since(ours);
        assert!(off.abs() < SignedDuration::from_secs(60), "{off}");
        assert_eq!(measured.print.name, "fake");
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_that_does_not_say_or_hangs_is_not_waited_for() {
        let engine = FakeEngine::new();
        let error = EngineError::new(ErrorKind::Unsupported, "no");
        engine.fail(Operation::Host, error);
        let measured = measure(&engine, None).await.unwrap();
        assert_eq!((measured.clock, &*measured.print.version), (None, "28.0.0"));
        engine.heal();
        engine.hang(Operation::Info);
        assert_eq!(measure(&engine, None).await, None);
    }
}
