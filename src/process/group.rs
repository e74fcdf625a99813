//! A process group: the child that leads it and everything that stayed in it.

use rustix::process::{Pid, kill_process_group, test_kill_process_group};

use crate::domain::run::Signal;

/// Signals to a group. A group that is already gone is fine: the aim is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Group(pub(super) Pid);

impl Group {
    pub(super) fn led_by(child: u32) -> Option<Self> {
        Pid::from_raw(i32::try_from(child).ok()?).map(Self)
    }

    pub(super) fn signal(self, signal: Signal) {
        self.send(match signal {
            Signal::Interrupt => rustix::process::Signal::INT,
            Signal::Terminate => rustix::process::Signal::TERM,
            Signal::Hangup => rustix::process::Signal::HUP,
            Signal::Kill => rustix::process::Signal::KILL,
        });
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

    /// Whether any process of the group still runs.
    ///
    /// A zombie does not count where that can be told: in a container whose first process reaps
    /// nobody it would stay for ever.
    pub(super) fn is_alive(self) -> bool {
        test_kill_process_group(self.0).is_ok() && self.has_running_member().unwrap_or(true)
    }

    /// `None` where there is no `/proc` to ask.
    fn has_running_member(self) -> Option<bool> {
        let group = self.0.as_raw_nonzero().get();
        let processes = std::fs::read_dir("/proc").ok()?;
        let mut seen_any = false;
        for process in processes.flatten() {
            let name = process.file_name();
            if !name.as_encoded_bytes().iter().all(u8::is_ascii_digit) {
                continue;
            }
            let Ok(stat) = std::fs::read(process.path().join("stat")) else {
                continue;
            };
            seen_any = true;
            if stat_of(&stat).is_some_and(|(state, member_of)| member_of == group && state != b'Z')
            {
                return Some(true);
            }
        }
        seen_any.then_some(false)
    }
}

/// State and process group out of `/proc/PID/stat`. The command's name may hold anything, also
/// blanks and brackets, so the fields are counted from its last closing bracket.
fn stat_of(stat: &[u8]) -> Option<(u8, i32)> {
    let rest = &stat[memchr::memrchr(b')', stat)? + 1..];
    let mut fields = std::str::from_utf8(rest).ok()?.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    let group = fields.nth(1)?.parse().ok()?;
    Some((state, group))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_past_any_name() {
        assert_eq!(stat_of(b"7 (a) Z 1 2) S 1 4711 4711 0"), Some((b'S', 4711)));
        assert_eq!(stat_of(b"7 (\xff) Z 1 5 5"), Some((b'Z', 5)));
        assert_eq!(stat_of(b"7 (a) S"), None);
        assert_eq!(stat_of(b""), None);
    }
}
