//! The closed list of exit codes, for the dashboard and the command line alike.

use super::run::Summary;

/// How the process ends. Scripts and CI rely on the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything passed; skipped replays are allowed.
    Ok = 0,
    /// A replay did not pass.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// The harness did not come up, or its seed failed.
    Harness = 3,
    /// No replay, container or stack matched.
    NothingMatched = 4,
    /// Refused: the stack is protected, the plan changed, or nobody confirmed it.
    Refused = 5,
    /// All replays passed, but the teardown left something behind.
    LeftBehind = 6,
    /// The engine cannot be used.
    Unreachable = 7,
    /// A fault of tackroom itself.
    Internal = 70,
}

impl Exit {
    pub const ALL: [Self; 9] = [
        Self::Ok,
        Self::Failed,
        Self::Usage,
        Self::Harness,
        Self::NothingMatched,
        Self::Refused,
        Self::LeftBehind,
        Self::Unreachable,
        Self::Internal,
    ];

    pub fn code(self) -> u8 {
        self as u8
    }

    /// One line for `--help` and the README.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "everything passed (skips allowed)",
            Self::Failed => "a replay failed, timed out, errored, was aborted or could not start",
            Self::Usage => "wrong usage or configuration",
            Self::Harness => "the harness did not come up, or seed failed",
            Self::NothingMatched => "nothing matched",
            Self::Refused => {
                "refused: protected, not confirmed, the plan changed, or the harness is in use"
            }
            Self::LeftBehind => "all passed, but the teardown failed or left something behind",
            Self::Unreachable => "the engine cannot be used",
            Self::Internal => "internal error",
        }
    }

    /// What a finished run means. The worst wins; a run that was cut off never passes, whatever
    /// its replays said (its process then dies of the signal instead of using this code).
    pub fn of(summary: &Summary) -> Self {
        if summary.internal_error.is_some() {
            Self::Internal
        } else if summary.engine_lost {
            Self::Unreachable
        } else if summary.refused {
            Self::Refused
        } else if summary.harness_failed() {
            Self::Harness
        } else if summary.interrupted.is_some()
            || summary.results.iter().any(|result| !result.is_ok())
        {
            Self::Failed
        } else if summary.teardown_failed() {
            Self::LeftBehind
        } else {
            Self::Ok
        }
    }
}
