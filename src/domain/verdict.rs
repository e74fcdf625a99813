//! How one replay ended.

use std::fmt;
use std::time::Duration;

use super::run::Seconds;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Exit 0: the fix is present.
    Passed,
    Failed(Ending),
    /// Failed although it exited like one that may pass: what it printed, or an attempt before
    /// it, says otherwise.
    Contradicted {
        reason: String,
    },
    /// It fails as somebody said that it would: known, and no news.
    FailedAsExpected {
        reason: String,
    },
    TimedOut {
        after: Duration,
    },
    /// The script says that it cannot be judged here.
    Skipped {
        reason: String,
    },
    /// It ran and could not do its work, so that it proves nothing: a hard error of automake's
    /// (99), or what a shell exits with where it cannot run a program (126, 127).
    Errored(Ending),
    /// Cut off by us: the run was cancelled.
    Aborted,
    /// The script never ran.
    CouldNotStart {
        reason: String,
    },
}

impl Verdict {
    /// Whether a run with it may still pass.
    pub fn is_ok(&self) -> bool {
        matches!(
            self,
            Self::Passed | Self::Skipped { .. } | Self::FailedAsExpected { .. }
        )
    }

    pub fn word(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed(_) | Self::Contradicted { .. } => "failed",
            Self::FailedAsExpected { .. } => "failed as expected",
            Self::TimedOut { .. } => "timed out",
            Self::Skipped { .. } => "skipped",
            Self::Errored(_) => "errored",
            Self::Aborted => "aborted",
            Self::CouldNotStart { .. } => "could not start",
        }
    }

    /// One character that tells verdicts apart without a colour.
    pub fn symbol(&self) -> &'static str {
        match self {
            Self::Passed => "✔",
            Self::Failed(_) | Self::Contradicted { .. } => "✘",
            Self::FailedAsExpected { .. } => "x",
            Self::TimedOut { .. } => "⧖",
            Self::Skipped { .. } => "⊘",
            Self::Errored(_) => "⊗",
            Self::Aborted => "■",
            Self::CouldNotStart { .. } => "!",
        }
    }

    /// The same where a run may fail by what would be ok in itself.
    pub fn symbol_of(&self, ok: bool) -> &'static str {
        if self.is_ok() && !ok {
            "✘"
        } else {
            self.symbol()
        }
    }

    /// What it says of itself beside its word.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Contradicted { reason }
            | Self::FailedAsExpected { reason }
            | Self::Skipped { reason }
            | Self::CouldNotStart { reason } => Some(reason),
            Self::Passed
            | Self::Failed(_)
            | Self::TimedOut { .. }
            | Self::Errored(_)
            | Self::Aborted => None,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        match self {
            Self::Failed(ending) | Self::Errored(ending) => write!(f, ": {ending}"),
            Self::TimedOut { after } => write!(f, " after {}", Seconds(*after)),
            Self::Contradicted { reason }
            | Self::FailedAsExpected { reason }
            | Self::Skipped { reason }
            | Self::CouldNotStart { reason } => write!(f, ": {reason}"),
            Self::Passed | Self::Aborted => Ok(()),
        }
    }
}

/// How a process ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Code(i32),
    Signal(i32),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit {code}"),
            Self::Signal(signal) => write!(f, "killed by signal {signal}"),
        }
    }
}
