//! What may start now: the rules by which replays share the harness, without running anything.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::domain::replay::Replay;

/// Replays that wait, and those that run.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: VecDeque<Arc<Replay>>,
    running: Vec<Arc<Replay>>,
    /// How many may run at once.
    jobs: usize,
}

impl Queue {
    pub(super) fn new(replays: &[Arc<Replay>], jobs: usize) -> Self {
        Self {
            waiting: replays.iter().cloned().collect(),
            running: Vec::new(),
            jobs,
        }
    }

    /// Takes the first that may start beside those that run. One that has to wait for them does
    /// not keep later ones from starting: with a single job the order is kept, and with several
    /// it has no meaning to `@parallel` replays.
    pub(super) fn start(&mut self) -> Option<Arc<Replay>> {
        if !self.running.is_empty() && self.running.len() >= self.jobs {
            return None;
        }
        let next = self
            .waiting
            .iter()
            .position(|replay| self.running.iter().all(|other| may_share(replay, other)))?;
        let replay = self.waiting.remove(next)?;
        self.running.push(replay.clone());
        Some(replay)
    }

    /// One that was started has ended.
    pub(super) fn ended(&mut self, replay: &Replay) {
        self.running.retain(|running| running.name != replay.name);
    }
}

fn may_share(one: &Replay, other: &Replay) -> bool {
    let (one, other) = (&one.header, &other.header);
    one.parallel && other.parallel && !one.groups.iter().any(|group| other.groups.contains(group))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::replay::{Header, ReplayName};

    fn replay(name: &str, parallel: bool, groups: &[&str]) -> Arc<Replay> {
        Arc::new(Replay {
            name: ReplayName::new(name),
            suite: crate::domain::suite::SuiteName::default(),
            path: name.into(),
            file: name.to_owned(),
            header: Header {
                parallel,
                groups: groups.iter().map(|group| (*group).to_owned()).collect(),
                ..Header::default()
            },
        })
    }

    /// All that may start now.
    fn started(queue: &mut Queue) -> Vec<String> {
        std::iter::from_fn(|| queue.start())
            .map(|replay| replay.name.to_string())
            .collect()
    }

    #[test]
    fn one_without_the_tag_runs_alone() {
        let [a, b, c] = ["a", "b", "c"].map(|name| replay(name, name != "b", &[]));
        let mut queue = Queue::new(&[a.clone(), b, c.clone()], 8);
        assert_eq!(started(&mut queue), ["a", "c"]);
        queue.ended(&a);
        assert_eq!(started(&mut queue), [""; 0]);
        queue.ended(&c);
        assert_eq!(started(&mut queue), ["b"]);
    }

    #[test]
    fn one_job_keeps_the_order() {
        let replays = ["a", "b", "c"].map(|name| replay(name, name != "b", &[]));
        let mut queue = Queue::new(&replays, 1);
        for replay in &replays {
            assert_eq!(started(&mut queue), [replay.name.as_str()]);
            queue.ended(replay);
        }
    }

    #[test]
    fn two_of_one_group_never_run_at_once() {
        let a = replay("a", true, &["pg", "redis"]);
        let replays = [
            a.clone(),
            replay("b", true, &["redis"]),
            replay("c", true, &["s3"]),
        ];
        let mut queue = Queue::new(&replays, 8);
        assert_eq!(started(&mut queue), ["a", "c"]);
        queue.ended(&a);
        assert_eq!(started(&mut queue), ["b"]);
    }

    fn any_replays() -> impl Strategy<Value = Vec<Arc<Replay>>> {
        let header = (
            any::<bool>(),
            proptest::sample::subsequence(vec!["x", "y"], 0..=2),
        );
        proptest::collection::vec(header, 0..12).prop_map(|headers| {
            headers
                .iter()
                .enumerate()
                .map(|(at, (parallel, groups))| replay(&at.to_string(), *parallel, groups))
                .collect()
        })
    }

    proptest! {
        /// Whichever ends first.
        #[test]
        fn each_runs_once_and_only_beside_what_it_may(
            replays in any_replays(),
            jobs in 1..5_usize,
            ends in proptest::collection::vec(any::<prop::sample::Index>(), 12),
        ) {
            let mut queue = Queue::new(&replays, jobs);
            let mut ran = Vec::new();
            let mut running: Vec<Arc<Replay>> = Vec::new();
            for end in ends {
                while let Some(next) = queue.start() {
                    ran.push(next.name.clone());
                    running.push(next);
                }
                prop_assert!(running.len() <= jobs);
                for (at, one) in running.iter().enumerate() {
                    for other in &running[..at] {
                        prop_assert!(one.header.parallel && other.header.parallel);
                        let shared = |group| other.header.groups.contains(group);
                        prop_assert!(!one.header.groups.iter().any(shared));
                    }
                }
                if running.is_empty() {
                    break;
                }
                queue.ended(&running.remove(end.index(running.len())));
            }
            ran.sort();
            let mut all: Vec<ReplayName> =
                replays.iter().map(|replay| replay.name.clone()).collect();
            all.sort();
            prop_assert_eq!(ran, all);
        }
    }
}
