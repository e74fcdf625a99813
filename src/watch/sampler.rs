//! Statistics of the containers that somebody looks at.
//!
//! An engine's own stream of statistics costs it a sample a second for each container, which on a
//! full screen is several times what the rest of a dashboard costs. Usage is asked for instead,
//! for all containers together and the less often the more they are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, Stream, StreamExt, stream};
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::domain::id::ContainerId;
use crate::domain::stats::{Sample, Usage};
use crate::engine::{Backoff, Engine, EngineError, ErrorKind};

/// Requests begin at whole beats, so that those that are due at about the same time go together:
/// an engine takes its samples once a second, and lets all who ask for one wait for that.
const BEAT: Duration = Duration::from_secs(1);

/// Containers asked about in each beat, over a longer time.
const PER_BEAT: u32 = 7;

/// The least time that a load is told of: the engine counts in hundredths of a second.
const SPAN: Duration = Duration::from_millis(700);

/// Answers that come within this time of each other are told together.
const GATHER: Duration = Duration::from_millis(50);

/// Samples of the wanted containers, `None` for one that has none now: of each soon after it is
/// wanted, a second one, with its load, a second or two later, and from then on one every few
/// seconds. A container of which the engine does not answer keeps no other one waiting.
///
/// The stream ends when nobody can want anything any more.
pub fn sample(
    engine: Arc<dyn Engine>,
    wanted: Receiver<BTreeSet<ContainerId>>,
) -> impl Stream<Item = Vec<(ContainerId, Option<Sample>)>> {
    let sampler = Sampler {
        engine,
        wanted,
        known: BTreeMap::new(),
        asking: FuturesUnordered::new(),
        begun: Instant::now(),
        outage: Outage::default(),
    };
    stream::unfold(sampler, |mut sampler| async move {
        let samples = sampler.next().await?;
        Some((samples, sampler))
    })
}

type Answer = (ContainerId, Result<Option<Usage>, EngineError>);

struct Sampler {
    engine: Arc<dyn Engine>,
    wanted: Receiver<BTreeSet<ContainerId>>,
    known: BTreeMap<ContainerId, Known>,
    asking: FuturesUnordered<BoxFuture<'static, Answer>>,
    begun: Instant,
    outage: Outage,
}

struct Known {
    usage: Option<Usage>,
    /// `None` while it is being asked about.
    due: Option<Instant>,
    backoff: Backoff,
}

#[derive(Default)]
struct Outage {
    until: Option<Instant>,
    backoff: Backoff,
}

impl Sampler {
    async fn next(&mut self) -> Option<Vec<(ContainerId, Option<Sample>)>> {
        loop {
            self.keep_wanted();
            self.ask();
            let due = self.known.values().filter_map(|known| known.due).min();
            let due = due.map(|due| self.outage.until.map_or(due, |until| due.max(until)));
            let answer = tokio::select! {
                changed = self.wanted.changed() => {
                    changed.ok()?;
                    continue;
                }
                Some(answer) = self.asking.next(), if !self.asking.is_empty() => answer,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => continue,
            };
            let until = Instant::now() + GATHER;
            let mut samples = Vec::new();
            samples.extend(self.learn(answer));
            while let Ok(Some(answer)) = timeout_at(until, self.asking.next()).await {
                samples.extend(self.learn(answer));
            }
            if !samples.is_empty() {
                return Some(samples);
            }
        }
    }

    /// Forgets what is not wanted any more; what is new is due at once.
    fn keep_wanted(&mut self) {
        let wanted = self.wanted.borrow_and_update().clone();
        self.known.retain(|id, _| wanted.contains(id));
        let now = Instant::now();
        for id in wanted {
            self.known.entry(id).or_insert_with(|| Known {
                usage: None,
                due: Some(now),
                backoff: Backoff::default(),
            });
        }
    }

    fn ask(&mut self) {
        let now = Instant::now();
        if self.outage.until.is_some_and(|until| until > now) {
            return;
        }
        for (id, known) in &mut self.known {
            if known.due.take_if(|due| *due <= now).is_some() {
                let (engine, id) = (Arc::clone(&self.engine), id.clone());
                self.asking.push(
                    async move {
                        let usage = engine.usage(&id).await;
                        (id, usage)
                    }
                    .boxed(),
                );
            }
        }
    }

    fn learn(&mut self, (id, answer): Answer) -> Option<(ContainerId, Option<Sample>)> {
        let (soon, later) = (self.soon(), self.beat(self.interval()));
        let known = self.known.get_mut(&id)?;
        let usage = match answer {
            Ok(usage) => {
                self.outage = Outage::default();
                known.backoff.reset();
                usage
            }
            Err(error) if error.kind == ErrorKind::Unreachable => {
                // What was known before an outage says nothing about the load after it.
                for known in self.known.values_mut() {
                    known.usage = None;
                    known.due.get_or_insert_with(Instant::now);
                }
                let over = self
                    .outage
                    .until
                    .is_none_or(|until| until <= Instant::now());
                if over {
                    self.outage.until = Some(Instant::now() + self.outage.backoff.step());
                }
                return None;
            }
            Err(error) => {
                tracing::debug!("no statistics of {id}: {error}");
                known.usage = None;
                known.due = Some(later.max(Instant::now() + known.backoff.step()));
                return Some((id, None));
            }
        };
        let before = std::mem::replace(&mut known.usage, usage);
        let is_first = before.is_none() && usage.is_some();
        known.due = Some(if is_first { soon } else { later });
        Some((id, usage.map(|usage| usage.since(before.as_ref()))))
    }

    /// In beats, so that no more than [`PER_BEAT`] are asked about in each.
    fn interval(&self) -> u32 {
        let containers = u32::try_from(self.known.len()).unwrap_or(u32::MAX);
        containers.div_ceil(PER_BEAT).max(1)
    }

    /// The first beat that a load can be told at.
    fn soon(&self) -> Instant {
        let next = self.beat(1);
        match next.duration_since(Instant::now()) < SPAN {
            true => self.beat(2),
            false => next,
        }
    }

    /// The beginning of that many beats from this one, of which some part has passed.
    fn beat(&self, beats: u32) -> Instant {
        let passed = u32::try_from(self.begun.elapsed().as_secs()).unwrap_or(u32::MAX);
        self.begun + BEAT.saturating_mul(passed.saturating_add(beats))
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use tokio::sync::watch;

    use super::*;
    use crate::domain::stats::ProcessorTime;
    use crate::engine::fake::{Call, FakeContainer, FakeEngine, Operation};

    fn usage(cpu: u64, machine: u64) -> Usage {
        Usage {
            processor: Some(ProcessorTime {
                own: Duration::from_secs(cpu),
                machine: Duration::from_secs(machine),
                cores: 2,
            }),
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
        assert_eq!(first[0].1.unwrap().cpu_percent, None);
        engine.uses(&id, usage(2, 12));
        let second = samples.next().await.unwrap();
        let sample = usage(2, 12).since(Some(&usage(1, 10)));
        assert_eq!(second, [(id.clone(), Some(sample))]);
        // What has ended has none.
        engine.die(&id, 0);
        assert_eq!(samples.next().await.unwrap(), [(id.clone(), None)]);
        drop(want);
        assert_eq!(samples.next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_more_there_are_the_less_often_they_are_asked_about() {
        for (containers, most) in [(6, 6_u32), (7, 7), (35, 7), (63, 7)] {
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
        assert!(now.elapsed() <= 2 * GATHER);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_hangs_keeps_no_other_waiting() {
        let engine = FakeEngine::new();
        let hung = engine.run(FakeContainer::new("a"));
        let other = engine.run(FakeContainer::new("b"));
        engine.uses(&other, usage(1, 1));
        engine.hang_on(Operation::Usage, hung.as_str());
        let (_want, wanted) = watch::channel(BTreeSet::from([hung, other.clone()]));
        let mut samples = pin!(sample(Arc::new(engine.clone()), wanted));
        let begun = Instant::now();
        for _ in 0..10 {
            assert_eq!(samples.next().await.unwrap()[0].0, other);
        }
        assert!(begun.elapsed() < Duration::from_secs(15));
    }

    #[tokio::test(start_paused = true)]
    async fn no_load_is_told_of_a_moment() {
        let engine = FakeEngine::new();
        let ids: Vec<_> = ["a", "b"]
            .map(|name| engine.run(FakeContainer::new(name)))
            .to_vec();
        for id in &ids {
            engine.uses(id, usage(1, 1));
        }
        let (want, wanted) = watch::channel(BTreeSet::from([ids[0].clone()]));
        let mut samples = pin!(sample(Arc::new(engine.clone()), wanted));
        samples.next().await;
        tokio::time::sleep(Duration::from_millis(900)).await;
        want.send_replace(BTreeSet::from([ids[1].clone()]));
        assert_eq!(samples.next().await.unwrap()[0].0, ids[1]);
        let first = Instant::now();
        samples.next().await;
        assert!(first.elapsed() >= SPAN);
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
        assert!(asked(&engine) < 500, "{}", asked(&engine));
    }
}
