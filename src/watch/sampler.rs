//! Statistics of the containers that somebody looks at.
//!
//! An engine's own stream of statistics costs it a sample a second for each container, which on a
//! full screen is several times what the rest of a dashboard costs. Usage is asked for instead,
//! for all containers together and the less often the more they are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep_until};

use crate::domain::id::ContainerId;
use crate::domain::stats::{Sample, Usage};
use crate::engine::{Backoff, Engine, EngineError, ErrorKind};

/// Rounds begin at whole beats, so that those that are due at about the same time are one round.
const BEAT: Duration = Duration::from_secs(1);

/// Containers asked about in each beat, over a longer time.
const PER_BEAT: u32 = 12;

/// Requests that may be under way at the same time.
const AT_ONCE: usize = 4;

/// Samples of the wanted containers that run: of each one soon after it is wanted, a second one,
/// with its load, after a second, and from then on one every few seconds. One item is one round.
///
/// The stream ends when nobody can want anything any more.
pub fn sample(
    engine: Arc<dyn Engine>,
    wanted: Receiver<BTreeSet<ContainerId>>,
) -> impl Stream<Item = Vec<(ContainerId, Sample)>> {
    let sampler = Sampler {
        engine,
        wanted,
        known: BTreeMap::new(),
        begun: Instant::now(),
        backoff: Backoff::default(),
    };
    stream::unfold(sampler, |mut sampler| async move {
        let round = sampler.round().await?;
        Some((round, sampler))
    })
}

struct Sampler {
    engine: Arc<dyn Engine>,
    wanted: Receiver<BTreeSet<ContainerId>>,
    known: BTreeMap<ContainerId, Known>,
    begun: Instant,
    backoff: Backoff,
}

#[derive(Clone, Copy)]
struct Known {
    usage: Option<Usage>,
    due: Instant,
}

impl Sampler {
    /// The next round that found something out.
    async fn round(&mut self) -> Option<Vec<(ContainerId, Sample)>> {
        loop {
            self.keep_wanted();
            let now = Instant::now();
            let due: Vec<ContainerId> = self
                .known
                .iter()
                .filter(|(_, known)| known.due <= now)
                .map(|(id, _)| id.clone())
                .collect();
            if due.is_empty() {
                self.wait().await?;
                continue;
            }
            let found = self.ask(due).await;
            if !found.is_empty() {
                return Some(found);
            }
        }
    }

    /// Forgets what is not wanted any more; what is new is due at once.
    fn keep_wanted(&mut self) {
        let wanted = self.wanted.borrow_and_update().clone();
        self.known.retain(|id, _| wanted.contains(id));
        let now = Instant::now();
        for id in wanted {
            self.known.entry(id).or_insert(Known {
                usage: None,
                due: now,
            });
        }
    }

    async fn wait(&mut self) -> Option<()> {
        let next = self.known.values().map(|known| known.due).min();
        let changed = self.wanted.changed();
        match next {
            Some(next) => tokio::select! {
                changed = changed => changed.ok(),
                () = sleep_until(next) => Some(()),
            },
            None => changed.await.ok(),
        }
    }

    async fn ask(&mut self, due: Vec<ContainerId>) -> Vec<(ContainerId, Sample)> {
        let engine = &self.engine;
        let mut answers = stream::iter(due)
            .map(|id| async move {
                let usage = engine.usage(&id).await;
                (id, usage)
            })
            .buffer_unordered(AT_ONCE);
        let mut usages = Vec::new();
        let mut outage = false;
        while let Some((id, usage)) = answers.next().await {
            match usage {
                Ok(usage) => usages.push((id, usage)),
                Err(error) if is_outage(&error) => {
                    outage = true;
                    break;
                }
                // It has gone, which the list will tell.
                Err(_) => usages.push((id, None)),
            }
        }
        drop(answers);
        if outage {
            let until = Instant::now() + self.backoff.step();
            for known in self.known.values_mut() {
                known.due = known.due.max(until);
            }
        } else {
            self.backoff.reset();
        }
        usages
            .into_iter()
            .filter_map(|(id, usage)| Some((id.clone(), self.learn(&id, usage)?)))
            .collect()
    }

    fn learn(&mut self, id: &ContainerId, usage: Option<Usage>) -> Option<Sample> {
        let soon = self.beat(1);
        let later = self.beat(self.interval());
        let known = self.known.get_mut(id)?;
        let before = std::mem::replace(&mut known.usage, usage);
        known.due = if before.is_none() { soon } else { later };
        usage.map(|usage| usage.since(before.as_ref()))
    }

    /// In beats, so that no more than [`PER_BEAT`] are asked about in each.
    fn interval(&self) -> u32 {
        let containers = u32::try_from(self.known.len()).unwrap_or(u32::MAX);
        containers.div_ceil(PER_BEAT).max(1)
    }

    /// The beginning of that many beats from this one, of which some part has passed.
    fn beat(&self, beats: u32) -> Instant {
        let passed = u32::try_from(self.begun.elapsed().as_secs()).unwrap_or(u32::MAX);
        self.begun + BEAT.saturating_mul(passed.saturating_add(beats))
    }
}

/// Whether the others need not be asked.
fn is_outage(error: &EngineError) -> bool {
    matches!(error.kind, ErrorKind::Unreachable | ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use tokio::sync::watch;

    use super::*;
    use crate::engine::fake::{Call, FakeContainer, FakeEngine};

    fn usage(cpu: u64, machine: u64) -> Usage {
        Usage {
            cpu: Duration::from_secs(cpu),
            machine: Duration::from_secs(machine),
            cores: 2,
            memory: 5,
            memory_limit: None,
        }
    }

    fn asked(engine: &FakeEngine) -> usize {
        let calls = engine.calls();
        let usages = calls.iter().filter(|call| matches!(call, Call::Usage(_)));
        usages.count()
    }

    #[tokio::test(start_paused = true)]
    async fn load_is_there_with_the_second_sample() {
        let engine = FakeEngine::new();
        let id = engine.run(FakeContainer::new("a"));
        engine.uses(&id, usage(1, 10));
        let (want, wanted) = watch::channel(BTreeSet::from([id.clone()]));
        let mut samples = pin!(sample(Arc::new(engine.clone()), wanted));
        let first = samples.next().await.unwrap();
        assert_eq!(first[0].1.cpu_percent, None);
        engine.uses(&id, usage(2, 12));
        let second = samples.next().await.unwrap();
        assert_eq!(
            second,
            [(id.clone(), usage(2, 12).since(Some(&usage(1, 10))))]
        );
        engine.die(&id, 0);
        drop(want);
        assert_eq!(samples.next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_more_there_are_the_less_often_they_are_asked_about() {
        for (containers, most) in [(6, 6), (12, 12), (36, 12), (60, 12)] {
            let engine = FakeEngine::new();
            let ids: BTreeSet<_> = (0..containers)
                .map(|n| engine.run(FakeContainer::new(format!("c{n}"))))
                .collect();
            for id in &ids {
                engine.uses(id, usage(1, 1));
            }
            let (_want, wanted) = watch::channel(ids);
            let mut samples = pin!(sample(Arc::new(engine.clone()), wanted));
            // The first two rounds follow each other closely.
            samples.next().await;
            samples.next().await;
            let (before, begun) = (asked(&engine), Instant::now());
            for _ in 0..10 {
                assert_eq!(samples.next().await.unwrap().len(), containers);
            }
            let seconds = begun.elapsed().as_secs_f64();
            let each_second = (asked(&engine) - before) as f64 / seconds;
            assert!(
                (each_second - f64::from(most)).abs() < 0.1 * f64::from(most),
                "{containers}: {each_second}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_on_the_screen_is_sampled_at_once() {
        let engine = FakeEngine::new();
        let first = engine.run(FakeContainer::new("a"));
        let second = engine.run(FakeContainer::new("b"));
        engine.uses(&first, usage(1, 1));
        engine.uses(&second, usage(1, 1));
        let (want, wanted) = watch::channel(BTreeSet::new());
        let mut samples = pin!(sample(Arc::new(engine.clone()), wanted));
        want.send_replace(BTreeSet::from([first.clone()]));
        assert_eq!(samples.next().await.unwrap()[0].0, first);
        let now = Instant::now();
        want.send_replace(BTreeSet::from([second.clone()]));
        assert_eq!(samples.next().await.unwrap()[0].0, second);
        assert_eq!(now.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_that_is_down_is_asked_less_and_less() {
        let engine = FakeEngine::new();
        let ids: BTreeSet<_> = (0..30)
            .map(|n| engine.run(FakeContainer::new(format!("c{n}"))))
            .collect();
        for id in &ids {
            engine.uses(id, usage(1, 1));
        }
        engine.break_down(EngineError::new(ErrorKind::Unreachable, "nothing answers"));
        let (_want, wanted) = watch::channel(ids);
        let mut samples = pin!(sample(Arc::new(engine.clone()), wanted));
        let healed = async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            engine.heal();
        };
        let (round, ()) = tokio::join!(samples.next(), healed);
        assert_eq!(round.unwrap().len(), 30);
        assert!(asked(&engine) < 100, "{}", asked(&engine));
    }
}
