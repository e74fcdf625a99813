//! What can go wrong between us and an engine, by what can be done about it.

use std::fmt;

/// An engine's refusal or silence, with a message for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EngineError {
    pub kind: ErrorKind,
    /// One line, lower case, without a full stop: fit for "cannot list containers: …".
    pub message: String,
    /// What the user can do next, where that is known: one sentence.
    pub hint: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Nothing answers at the endpoint.
    Unreachable,
    /// The socket is there and may not be used.
    Denied,
    /// It was reached and did not answer in time.
    TimedOut,
    /// The engine's API is older than what we need.
    TooOld,
    /// The object is not there (any more).
    NotFound,
    /// The engine is already doing it, such as a removal in progress.
    Conflict,
    /// The engine cannot do it here, such as reading logs of this logging driver.
    Unsupported,
    /// The engine answered with an error of its own.
    Engine,
    /// The answer could not be understood.
    Protocol,
}

impl EngineError {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
        }
    }

    #[must_use]
    pub fn hinted(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Whether the engine itself could not be used, as opposed to one request that it refused.
    pub fn is_outage(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::Unreachable | ErrorKind::Denied | ErrorKind::TimedOut | ErrorKind::TooOld
        )
    }

    /// Message and hint in one line.
    pub fn advice(&self) -> impl fmt::Display + '_ {
        struct Advice<'a>(&'a EngineError);
        impl fmt::Display for Advice<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0.message)?;
                match &self.0.hint {
                    Some(hint) => write!(f, "; {hint}"),
                    None => Ok(()),
                }
            }
        }
        Advice(self)
    }
}
