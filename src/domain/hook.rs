//! The harness's own executables, and what their output says about progress.

use std::path::PathBuf;
use std::time::Duration;

/// A phase of the harness's lifecycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// The hook that boots the stack.
    Up,
    /// Waiting until the stack answers.
    Ready,
    /// The hook that fills it with data.
    Seed,
    /// The hook that takes it down.
    Down,
    /// Removing what the hook left of the plan, and checking that nothing is left.
    Teardown,
}

impl Step {
    pub fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Ready => "ready",
            Self::Seed => "seed",
            Self::Down => "down",
            Self::Teardown => "teardown",
        }
    }
}

/// A hook as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Absolute, or a bare name that `PATH` resolves.
    pub program: PathBuf,
    pub args: Vec<String>,
    pub timeout: Option<Duration>,
}

/// How far a step is, and what it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    pub done: u32,
    pub total: Option<u32>,
    pub waiting_for: String,
}

impl Progress {
    /// Reads a hook's progress line: `[step 3/7] waiting for postgres`. Everything else is plain
    /// output and gives `None`. The counter names the step that has begun, so one less is done.
    pub fn parse(line: &str) -> Option<Self> {
        let (counter, waiting_for) = line.trim_start().strip_prefix("[step ")?.split_once(']')?;
        let (current, total) = counter.split_once('/')?;
        let current: u32 = current.trim().parse().ok()?;
        let total: u32 = total.trim().parse().ok()?;
        if current == 0 || current > total {
            return None;
        }
        Some(Self {
            done: current - 1,
            total: Some(total),
            waiting_for: waiting_for.trim().to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_progress_line_is_a_counter_and_what_is_waited_for() {
        assert_eq!(
            Progress::parse("[step 3/7] waiting for postgres"),
            Some(Progress {
                done: 2,
                total: Some(7),
                waiting_for: "waiting for postgres".to_owned()
            })
        );
        for plain in [
            "",
            "step 3/7",
            "[step 0/7] x",
            "[step 8/7] x",
            "[step a/b] x",
            "[step 3/7",
        ] {
            assert_eq!(Progress::parse(plain), None, "{plain:?}");
        }
    }
}
