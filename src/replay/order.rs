//! In which order replays run.

use std::cmp::Reverse;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::domain::past::{History, Past};
use crate::domain::replay::Replay;

/// The order of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// As they were found: by file.
    #[default]
    Found,
    Name,
    /// What failed last, then what did not run or is new, then what passed; each of them with
    /// the slowest first.
    FailedFirst,
    /// What nobody has timed comes before all: it may be the slowest.
    SlowFirst,
}

impl Order {
    pub const ALL: [Self; 4] = [Self::Found, Self::Name, Self::FailedFirst, Self::SlowFirst];

    pub fn word(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Name => "name",
            Self::FailedFirst => "failed-first",
            Self::SlowFirst => "slow-first",
        }
    }

    /// Whether it takes into account what earlier runs say.
    pub fn needs_history(self) -> bool {
        matches!(self, Self::FailedFirst | Self::SlowFirst)
    }

    /// What is equal in it stays as it was.
    pub fn sort(self, replays: &mut [Arc<Replay>], history: &History) {
        let past = |replay: &Arc<Replay>| history.get(&replay.name);
        match self {
            Self::Found => {}
            Self::Name => replays.sort_by(|a, b| a.name.cmp(&b.name)),
            Self::FailedFirst => {
                replays.sort_by_key(|replay| (urgency(past(replay)), slowness(past(replay))));
            }
            Self::SlowFirst => replays.sort_by_key(|replay| slowness(past(replay))),
        }
    }
}

/// Less is sooner.
fn urgency(past: Option<&Past>) -> u8 {
    match past.and_then(|past| past.last_ok) {
        Some(false) => 0,
        None => 1,
        Some(true) => 2,
    }
}

/// Less is sooner.
fn slowness(past: Option<&Past>) -> impl Ord {
    match past.and_then(|past| past.median) {
        None => (0, None),
        Some(median) => (1, Some(Reverse(median))),
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Order {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|order| order.word() == text)
            .ok_or_else(|| format!("write {}", Self::ALL.map(Self::word).join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::replay::{Header, ReplayName};

    fn sorted(order: Order) -> Vec<String> {
        let past = |name: &str, last_ok, seconds: Option<u64>| {
            let median = seconds.map(Duration::from_secs);
            (ReplayName::new(name), Past { last_ok, median })
        };
        let history = History::from([
            past("quick", Some(true), Some(1)),
            past("slow", Some(true), Some(9)),
            past("broken-quick", Some(false), Some(2)),
            past("broken-slow", Some(false), Some(8)),
            past("cut-off", None, Some(5)),
        ]);
        let names = [
            "quick",
            "slow",
            "new",
            "broken-quick",
            "cut-off",
            "broken-slow",
        ];
        let mut replays = names.map(|name| {
            Arc::new(Replay {
                name: ReplayName::new(name),
                suite: crate::domain::suite::SuiteName::default(),
                path: name.into(),
                file: name.to_owned(),
                header: Header::default(),
            })
        });
        order.sort(&mut replays, &history);
        replays.map(|replay| replay.name.to_string()).into()
    }

    #[test]
    fn what_failed_comes_first_and_then_what_nobody_knows() {
        assert_eq!(
            sorted(Order::FailedFirst),
            [
                "broken-slow",
                "broken-quick",
                "new",
                "cut-off",
                "slow",
                "quick"
            ]
        );
    }

    #[test]
    fn the_slowest_comes_first_after_what_was_never_timed() {
        assert_eq!(
            sorted(Order::SlowFirst),
            [
                "new",
                "slow",
                "broken-slow",
                "cut-off",
                "broken-quick",
                "quick"
            ]
        );
    }

    #[test]
    fn by_name_or_as_found() {
        assert_eq!(sorted(Order::Name)[..2], ["broken-quick", "broken-slow"]);
        assert_eq!(sorted(Order::Found)[..3], ["quick", "slow", "new"]);
    }

    #[test]
    fn each_has_a_word_and_a_mistake_is_told_all() {
        for order in Order::ALL {
            assert_eq!(order.word().parse(), Ok(order));
        }
        assert_eq!(
            "slow".parse::<Order>(),
            Err("write found, name, failed-first, slow-first".to_owned())
        );
    }
}
