//! A process group: the child that leads it and everything that stayed in it.

use rustix::process::{
    Pid, WaitId, WaitIdOptions, kill_process_group, test_kill_process_group, waitid,
};

#[cfg(target_os = "linux")]
use super::table::Process;
use super::table::native;
use crate::domain::run::Signal;

/// The group that we are in. `None` where the process that leads it is outside of our namespace,
/// such as the one that entered a container from without: the kernel calls that group 0.
#[cfg(target_os = "linux")]
pub fn own_group() -> Option<Pid> {
    let us = rustix::process::getpid().as_raw_nonzero().get();
    Pid::from_raw(Process::read(us)?.group)
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::disallowed_methods, reason = "no namespaces, so no group 0")]
pub fn own_group() -> Option<Pid> {
    Some(rustix::process::getpgrp())
}

/// Signals to a group. A group that is already gone is fine: the aim is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Group(pub(super) Pid);

impl Group {
    pub(super) fn led_by(child: u32) -> Option<Self> {
        Pid::from_raw(i32::try_from(child).ok()?).map(Self)
    }

    pub(super) fn number(self) -> i32 {
        self.0.as_raw_nonzero().get()
    }

    pub(super) fn signal(self, signal: Signal) {
        self.send(native(signal));
    }

    /// Stops the group where it stands. STOP rather than TSTP: a shell without job control
    /// ignores the latter.
    pub(super) fn pause(self) {
        self.send(rustix::process::Signal::STOP);
    }

    pub(super) fn resume(self) {
        self.send(rustix::process::Signal::CONT);
    }

    fn send(self, signal: rustix::process::Signal) {
        let _ = kill_process_group(self.0, signal);
    }

    /// Whether there is a process of the group, be it one that has ended. Those of it that came to
    /// us are reaped, so its leader must have been.
    pub(super) fn exists(self) -> bool {
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        while let Ok(Some(_)) = waitid(WaitId::Pgid(Some(self.0)), ended) {}
        test_kill_process_group(self.0).is_ok()
    }
}
