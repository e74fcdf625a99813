//! Identities that must not be mixed up with other strings.

use std::fmt;
use std::sync::Arc;

/// The engine's full id of a container: 64 hexadecimal digits on Docker, opaque to us.
///
/// Cheap to clone; ordered so that it can key a map.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(Arc<str>);

impl ContainerId {
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 characters, as `docker ps` prints them.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContainerId({})", self.short())
    }
}

/// Names one run, and marks every process that the run starts (`TACKROOM_RUN_ID`).
///
/// `20261121-211503.250-4711`: start in UTC to the millisecond, then the process id of the runner,
/// which keeps two runners apart that start at the same time on one machine.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(Arc<str>);

impl RunId {
    /// The variable that each process of a run finds it in.
    pub const VARIABLE: &'static str = "TACKROOM_RUN_ID";

    pub fn new(started: jiff::Timestamp, process: u32) -> Self {
        let started = started.strftime("%Y%m%d-%H%M%S%.3f");
        Self(format!("{started}-{process}").into())
    }

    /// As an earlier run wrote it down.
    pub fn recorded(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// It could not be the name of a run, nor of its directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a run is named by its start and its process: 20261121-211503.250-4711")]
pub struct NoRunId;

impl std::str::FromStr for RunId {
    type Err = NoRunId;

    fn from_str(text: &str) -> Result<Self, NoRunId> {
        let parts: Vec<&str> = text.split(['-', '.']).collect();
        let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if parts.len() == 4 && parts.iter().all(is_number) {
            Ok(Self(text.into()))
        } else {
            Err(NoRunId)
        }
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunId({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_id_is_twelve_characters_and_never_splits_one() {
        assert_eq!(ContainerId::new("0123456789abcdef").short(), "0123456789ab");
        assert_eq!(ContainerId::new("0123").short(), "0123");
        assert_eq!(ContainerId::new("ééééééééé").short(), "éééééé");
        assert_eq!(ContainerId::new("aéééééééééé").short(), "aéééééééééé");
    }

    #[test]
    fn a_run_id_says_when_it_started() {
        let started = "2026-11-21T21:15:03.25Z".parse().unwrap();
        let id = RunId::new(started, 4711);
        assert_eq!(id.as_str(), "20261121-211503.250-4711");
        assert_eq!(id.as_str().parse(), Ok(id));
    }

    #[test]
    fn what_leads_out_of_a_directory_is_no_run_id() {
        for text in [
            "",
            "..",
            "1-2.3",
            "../1-2-3",
            "1-2.3-4/5",
            "a-b.c-d",
            "1-2.3-",
        ] {
            assert_eq!(text.parse::<RunId>(), Err(NoRunId), "{text}");
        }
    }
}
