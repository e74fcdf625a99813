//! A mark of a run that its processes keep without an environment.
//!
//! It is the soft limit of a resource that only real-time processes use up: every child inherits it,
//! nothing clears it in passing, and anybody may read it. Its values are as good as no limit.

use sha2::{Digest, Sha256};

use super::table::Process;
use crate::domain::id::RunId;

/// More microseconds than any machine runs, and less than what the kernel takes for no limit.
const AT_LEAST: u64 = 1 << 62;

/// What the processes of one run have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Brand(u64);

impl Brand {
    pub(super) fn of(run: &str) -> Self {
        let digest = Sha256::digest(run);
        let start = digest.first_chunk().copied().unwrap_or_default();
        Self(AT_LEAST | u64::from_be_bytes(start) >> 2)
    }

    /// The run that a child with this environment belongs to.
    pub(super) fn in_environment<N, V>(entries: &[(N, V)]) -> Option<Self>
    where
        N: AsRef<std::ffi::OsStr>,
        V: AsRef<std::ffi::OsStr>,
    {
        // A later entry replaces an earlier one.
        let mut entries = entries.iter().rev();
        let (_, run) = entries.find(|(name, _)| name.as_ref() == RunId::VARIABLE)?;
        run.as_ref().to_str().map(Self::of)
    }

    /// Gives it to all that this starts: a child has it from its first moment. Where a limit is set
    /// that forbids it, they go without. Our own limit is another meanwhile, so one at a time, as
    /// [`super::subreaper::start`] does it.
    #[cfg(target_os = "linux")]
    pub(super) fn lend<T>(self, start: impl FnOnce() -> T) -> T {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let before = getrlimit(Resource::Rttime);
        let branded = Rlimit {
            current: Some(self.0),
            maximum: before.maximum,
        };
        let is_lent = setrlimit(Resource::Rttime, branded).is_ok();
        let started = start();
        if is_lent {
            let _ = setrlimit(Resource::Rttime, before);
        }
        started
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn lend<T>(self, start: impl FnOnce() -> T) -> T {
        start()
    }

    pub(super) fn is_on(self, process: &Process) -> bool {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", process.pid));
        limits.is_ok_and(|limits| soft_limit(&limits) == Some(self.0))
    }
}

/// As the kernel lists it: `Max realtime timeout     SOFT     HARD     us`.
fn soft_limit(limits: &str) -> Option<u64> {
    let mut lines = limits.lines();
    let values = lines.find_map(|line| line.strip_prefix("Max realtime timeout"))?;
    values.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_have_two_and_both_are_as_good_as_no_limit() {
        let (one, other) = (Brand::of("one"), Brand::of("other"));
        assert_ne!(one, other);
        for brand in [one, other] {
            assert!((AT_LEAST..AT_LEAST * 2).contains(&brand.0));
        }
        let limits = "Limit   Soft Limit   Hard Limit   Units\n\
             Max realtime priority     0      0\n\
             Max realtime timeout      77     unlimited    us\n";
        assert_eq!(soft_limit(limits), Some(77));
        assert_eq!(soft_limit(&limits.replace("77", "unlimited")), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_started_with_it_keeps_it_and_we_do_not() {
        use std::process::{Child, Command};

        use super::super::subreaper::{self, Role};

        let brand = Brand::of("a run");
        let mut command = Command::new("sh");
        command.args(["-c", "exec env -i sleep 600"]);
        let spawn = || brand.lend(|| command.spawn());
        let (mut child, _own) =
            subreaper::start(Role::Apart, spawn, |child: &Child| Some(child.id())).unwrap();
        let is_on = |pid: u32| {
            let process = Process::read(i32::try_from(pid).unwrap()).unwrap();
            brand.is_on(&process)
        };
        let (there, here) = (is_on(child.id()), is_on(std::process::id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(there && !here);
    }

    #[test]
    fn the_run_is_what_the_last_entry_says() {
        let entries = [(RunId::VARIABLE, "a"), (RunId::VARIABLE, "b"), ("C", "c")];
        assert_eq!(Brand::in_environment(&entries), Some(Brand::of("b")));
        assert_eq!(Brand::in_environment(&entries[2..]), None);
    }
}
