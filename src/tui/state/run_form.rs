//! How replays are to be run, as it is asked for.

use std::num::{NonZeroU32, NonZeroUsize};

use crate::domain::replay::ReplayName;
use crate::replay::{Policy, Rounds};

/// What can be changed, in the order of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Repeat,
    UntilFail,
    MaxFail,
    Jobs,
    Retries,
    FailOnFlaky,
}

impl Field {
    pub const ALL: [Self; 6] = [
        Self::Repeat,
        Self::UntilFail,
        Self::MaxFail,
        Self::Jobs,
        Self::Retries,
        Self::FailOnFlaky,
    ];

    /// Whether it holds for all further runs, too.
    pub fn stays(self) -> bool {
        matches!(self, Self::Jobs | Self::Retries | Self::FailOnFlaky)
    }

    /// The least and the greatest value; `None` for what is on or off.
    fn range(self) -> Option<(u32, u32)> {
        match self {
            Self::Repeat => Some((1, 1_000_000)),
            Self::MaxFail => Some((0, 100_000)),
            Self::Jobs => Some((1, 1024)),
            Self::Retries => Some((0, 100)),
            Self::UntilFail | Self::FailOnFlaky => None,
        }
    }
}

/// The replays that are to be run, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunForm {
    pub names: Vec<ReplayName>,
    /// Rounds.
    pub repeat: u32,
    pub until_fail: bool,
    /// 0 for no limit.
    pub max_fail: u32,
    pub jobs: u32,
    pub retries: u32,
    pub fail_on_flaky: bool,
    at: usize,
    /// The next digit goes behind the one before.
    typing: bool,
}

impl RunForm {
    pub fn new(names: Vec<ReplayName>, policy: &Policy) -> Self {
        Self {
            names,
            repeat: 1,
            until_fail: false,
            max_fail: policy.max_fail.map_or(0, small),
            jobs: small(policy.jobs),
            retries: policy.retries,
            fail_on_flaky: policy.flaky_fails,
            at: 0,
            typing: false,
        }
    }

    pub fn field(&self) -> Field {
        Field::ALL.get(self.at).copied().unwrap_or(Field::Repeat)
    }

    pub fn step(&mut self, rows: isize) {
        self.at = self
            .at
            .saturating_add_signed(rows)
            .min(Field::ALL.len() - 1);
        self.typing = false;
    }

    /// Its number; `None` for what is on or off.
    fn number(&mut self) -> Option<&mut u32> {
        match self.field() {
            Field::Repeat => Some(&mut self.repeat),
            Field::MaxFail => Some(&mut self.max_fail),
            Field::Jobs => Some(&mut self.jobs),
            Field::Retries => Some(&mut self.retries),
            Field::UntilFail | Field::FailOnFlaky => None,
        }
    }

    /// The next value up or down.
    pub fn change(&mut self, up: bool) {
        self.typing = false;
        match self.field() {
            Field::UntilFail => self.until_fail = up,
            Field::FailOnFlaky => self.fail_on_flaky = up,
            _ => self.put(|value| {
                if up {
                    value.saturating_add(1)
                } else {
                    value.saturating_sub(1)
                }
            }),
        }
    }

    /// Turns what is on or off.
    pub fn toggle(&mut self) {
        match self.field() {
            Field::UntilFail => self.until_fail = !self.until_fail,
            Field::FailOnFlaky => self.fail_on_flaky = !self.fail_on_flaky,
            _ => {}
        }
    }

    pub fn type_digit(&mut self, digit: u32) {
        let goes_on = std::mem::replace(&mut self.typing, true);
        self.put(|value| {
            let before = if goes_on { value } else { 0 };
            before.saturating_mul(10).saturating_add(digit)
        });
    }

    pub fn erase_digit(&mut self) {
        self.typing = true;
        self.put(|value| value / 10);
    }

    fn put(&mut self, new: impl FnOnce(u32) -> u32) {
        if let Some((least, most)) = self.field().range()
            && let Some(number) = self.number()
        {
            *number = new(*number).clamp(least, most);
        }
    }

    /// How this run is made.
    pub fn policy(&self) -> Policy {
        let rounds = match (self.until_fail, self.repeat) {
            (true, 1) => Rounds::Endless,
            (_, repeat) => Rounds::Count(NonZeroU32::new(repeat).unwrap_or(NonZeroU32::MIN)),
        };
        let max_fail = match self.max_fail {
            0 if self.until_fail => 1,
            max_fail => max_fail,
        };
        Policy {
            rounds,
            max_fail: usize::try_from(max_fail).ok().and_then(NonZeroUsize::new),
            // A retry would heal the failure that is looked for.
            retries: if self.until_fail { 0 } else { self.retries },
            ..self.lasting()
        }
    }

    /// What holds for all further runs.
    pub fn lasting(&self) -> Policy {
        let jobs = usize::try_from(self.jobs).ok().and_then(NonZeroUsize::new);
        Policy {
            jobs: jobs.unwrap_or(NonZeroUsize::MIN),
            retries: self.retries,
            flaky_fails: self.fail_on_flaky,
            ..Policy::default()
        }
    }

    /// What does the same on the command line, behind its patterns, beside this configuration.
    pub fn flags(&self, configured: &Policy) -> String {
        let mut flags = String::new();
        let mut add = |name: &str, value: u32, default: u32| {
            if value != default {
                flags.push_str(&format!(" --{name} {value}"));
            }
        };
        add("repeat", self.repeat, 1);
        add("max-fail", self.max_fail, 0);
        add("jobs", self.jobs, small(configured.jobs));
        if !self.until_fail {
            add("retries", self.retries, configured.retries);
        }
        for (name, on) in [
            ("until-fail", self.until_fail),
            ("fail-on-flaky", self.fail_on_flaky),
        ] {
            if on {
                flags.push_str(&format!(" --{name}"));
            }
        }
        flags
    }
}

fn small(number: NonZeroUsize) -> u32 {
    u32::try_from(number.get()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form() -> RunForm {
        RunForm::new(vec![ReplayName::new("a")], &Policy::default())
    }

    #[test]
    fn nothing_changed_is_the_policy() {
        let policy = Policy {
            jobs: NonZeroUsize::new(4).unwrap(),
            retries: 2,
            flaky_fails: true,
            ..Policy::default()
        };
        let form = RunForm::new(Vec::new(), &policy);
        assert_eq!(form.policy(), policy);
        assert_eq!(form.lasting(), policy);
    }

    #[test]
    fn digits_make_a_number_within_its_range() {
        let mut form = form();
        for digit in [1, 2, 0] {
            form.type_digit(digit);
        }
        assert_eq!(form.repeat, 120);
        form.erase_digit();
        assert_eq!(form.repeat, 12);
        form.change(true);
        form.type_digit(0);
        assert_eq!(form.repeat, 1);
        form.step(3);
        assert_eq!(form.field(), Field::Jobs);
        (0..9).for_each(|_| form.type_digit(9));
        assert_eq!(form.jobs, 1024);
        form.change(false);
        assert_eq!(form.jobs, 1023);
        // A digit means nothing to what is on or off.
        form.step(9);
        form.type_digit(1);
        assert!(!form.fail_on_flaky);
    }

    #[test]
    fn until_one_fails_is_endless_or_bounded() {
        let mut form = form();
        form.until_fail = true;
        let policy = form.policy();
        assert_eq!(policy.rounds, Rounds::Endless);
        assert_eq!(policy.max_fail, NonZeroUsize::new(1));
        // Nothing of that holds for the next run.
        assert_eq!(form.lasting(), Policy::default());
        form.repeat = 3;
        form.max_fail = 2;
        let policy = form.policy();
        assert_eq!(policy.rounds, Rounds::Count(NonZeroU32::new(3).unwrap()));
        assert_eq!(policy.max_fail, NonZeroUsize::new(2));
        let flags = form.flags(&Policy::default());
        assert_eq!(flags, " --repeat 3 --max-fail 2 --until-fail");
    }
}
