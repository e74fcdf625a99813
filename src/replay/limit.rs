//! How long a replay may take.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::Replays;
use crate::domain::past::History;
use crate::domain::replay::Replay;

/// A replay that takes milliseconds may take longer for no reason of its own.
const LEAST: Duration = Duration::from_secs(1);

/// The one rule for how long each replay may take.
#[derive(Clone, Debug)]
pub struct Timeouts<'a> {
    config: &'a Replays,
    history: History,
}

impl<'a> Timeouts<'a> {
    /// What earlier runs say is asked for where a suite wants to know it alone: it takes its time.
    pub fn new(config: &'a Replays, history: impl FnOnce() -> History) -> Self {
        let wants_history = |config: &Replays| {
            let mut suites = config.suites();
            suites.any(|suite| suite.timeout_factor.is_some())
        };
        Self {
            config,
            history: if wants_history(config) {
                history()
            } else {
                History::new()
            },
        }
    }

    /// Its own time-out or its suite's, and no more than so many times what it took before.
    pub fn of(&self, replay: &Replay) -> Duration {
        let suite = self.config.suite(&replay.suite);
        let timeout = replay.header.timeout.unwrap_or(suite.timeout);
        let median = self.history.get(&replay.name).and_then(|past| past.median);
        match (suite.timeout_factor, median) {
            (Some(factor), Some(median)) => timeout.min(times(median, factor)),
            _ => timeout,
        }
    }
}

fn times(median: Duration, factor: NonZeroU32) -> Duration {
    median.saturating_mul(factor.get()).max(LEAST)
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::config::{Config, Suite};
    use crate::domain::past::Past;
    use crate::domain::replay::{Header, ReplayName};

    #[test]
    fn a_replay_gets_its_own_time_and_no_more_than_its_limit() {
        let seconds = Duration::from_secs;
        let mut config = Config::without_file(Path::new("/work")).replays;
        config.default.timeout_factor = NonZeroU32::new(5);
        config.others.push(Suite {
            name: "patient".into(),
            timeout: seconds(600),
            timeout_factor: None,
            ..config.default.clone()
        });
        let timed = |name: &str, milliseconds: Option<u64>| {
            let past = Past {
                median: milliseconds.map(Duration::from_millis),
                last_ok: Some(true),
            };
            (ReplayName::new(name), past)
        };
        let history = || {
            History::from([
                timed("short", Some(3)),
                timed("long", Some(4_000)),
                timed("never-passed", None),
            ])
        };
        let timeouts = Timeouts::new(&config, history);
        let of = |suite: &str, name: &str, own: Option<u64>| {
            timeouts.of(&Replay {
                name: ReplayName::new(name),
                suite: suite.into(),
                path: PathBuf::new(),
                file: String::new(),
                header: Header {
                    timeout: own.map(seconds),
                    ..Header::default()
                },
            })
        };
        assert_eq!(of("replays", "new", None), seconds(60));
        assert_eq!(of("replays", "new", Some(90)), seconds(90));
        assert_eq!(of("replays", "never-passed", None), seconds(60));
        assert_eq!(of("replays", "short", None), seconds(1));
        assert_eq!(of("replays", "long", None), seconds(20));
        assert_eq!(of("replays", "long", Some(90)), seconds(20));
        assert_eq!(of("replays", "long", Some(2)), seconds(2));
        assert_eq!(of("patient", "long", None), seconds(600));
        config.default.timeout_factor = None;
        Timeouts::new(&config, || panic!("nobody wants to know"));
    }
}
