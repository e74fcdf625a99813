//! What `/proc` says of the processes of this machine.

use std::collections::{HashMap, HashSet};

use rustix::process::Pid;

use crate::domain::run::{Signal, Survivor};

/// Set in a guard's own environment. It ends by itself, also the one of a run within a replay, and
/// nobody is to end it before.
pub const GUARD: (&str, &str) = ("TACKROOM_GUARD", "1");

/// A command line may be as long as memory; a report wants to name it.
const LONGEST_COMMAND: usize = 512;

/// How often an environment that is empty is read: kernel threads and cleared ones stay so.
const EXEC_LOOKS: usize = 3;

/// One process at the moment of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) parent: i32,
    pub(super) group: i32,
    pub(super) state: u8,
    /// Clock ticks since the machine started: with the number it names a process for good.
    pub(super) start: u64,
}

/// All processes at one moment.
#[derive(Debug)]
pub(super) struct Table {
    processes: HashMap<i32, Process>,
}

impl Table {
    /// `None` where there is no `/proc` to ask.
    pub(super) fn read() -> Option<Self> {
        let mut processes = HashMap::new();
        for entry in std::fs::read_dir("/proc").ok()?.flatten() {
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.parse().ok());
            if let Some(process) = number.and_then(Process::read) {
                processes.insert(process.pid, process);
            }
        }
        (!processes.is_empty()).then_some(Self { processes })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Process> {
        self.processes.values()
    }

    pub(super) fn get(&self, pid: i32) -> Option<&Process> {
        self.processes.get(&pid)
    }

    /// These and all that descends from them, without those that have ended, and without guards
    /// and what those have started.
    pub(super) fn trees(&self, roots: &[Process]) -> Vec<Process> {
        let mut children: HashMap<i32, Vec<&Process>> = HashMap::new();
        for process in self.iter() {
            children.entry(process.parent).or_default().push(process);
        }
        let mut seen = HashSet::new();
        let mut trees = Vec::new();
        let mut waiting: Vec<&Process> = roots.iter().collect();
        while let Some(process) = waiting.pop() {
            if !seen.insert(process.pid) || process.environment().is_guard() {
                continue;
            }
            waiting.extend(children.get(&process.pid).into_iter().flatten());
            if !process.has_ended() {
                trees.push(*process);
            }
        }
        trees
    }
}

impl Process {
    pub(super) fn read(pid: i32) -> Option<Self> {
        stat_of(&std::fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    /// What names it for good.
    pub(super) fn identity(&self) -> (i32, u64) {
        (self.pid, self.start)
    }

    /// A zombie runs no more, and in a container whose first process reaps nobody it stays for ever.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }

    /// Whether it runs still, and not another under its number.
    pub(super) fn is_running(&self) -> bool {
        Self::read(self.pid).is_some_and(|now| now.start == self.start && !now.has_ended())
    }

    /// Empty where it may not be read, and in a process that is at its end.
    pub(super) fn environment(&self) -> Environment {
        let mut environment = Vec::new();
        // It is also empty for a moment while a process turns into another program.
        for _ in 0..EXEC_LOOKS {
            environment = std::fs::read(format!("/proc/{}/environ", self.pid)).unwrap_or_default();
            if !environment.is_empty() || self.has_ended() {
                break;
            }
            std::thread::yield_now();
        }
        Environment(environment)
    }

    /// Whether it counts processes as we do. One in a container belongs to its engine, also where
    /// it was given our variables.
    ///
    /// Told by how many numbers it has: anybody may read that, also of a process that hides its
    /// environment and its namespaces, as agents that keep secrets do.
    pub(super) fn is_in_our_namespace(&self) -> bool {
        let status = std::fs::read(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        namespaces_of(&String::from_utf8_lossy(&status)) == Some(1)
    }

    pub(super) fn named(&self) -> Survivor {
        let read = |file: &str| std::fs::read(format!("/proc/{}/{file}", self.pid));
        let mut command = read("cmdline").unwrap_or_default();
        command.truncate(LONGEST_COMMAND);
        if command.is_empty() {
            command = read("comm").unwrap_or_default();
        }
        let words = String::from_utf8_lossy(&command).replace('\0', " ");
        Survivor {
            pid: self.pid.unsigned_abs(),
            command: words.trim().to_owned(),
            ended: true,
        }
    }

    pub(super) fn signal(&self, signal: Signal) {
        self.send(native(signal));
    }

    /// To this process, and not to one that has its number by now.
    pub(super) fn send(&self, signal: rustix::process::Signal) {
        let is_same = || Self::read(self.pid).is_some_and(|now| now.start == self.start);
        if let Some(pid) = Pid::from_raw(self.pid) {
            send(pid, signal, is_same);
        }
    }
}

#[cfg(target_os = "linux")]
fn send(pid: Pid, signal: rustix::process::Signal, is_same: impl Fn() -> bool) {
    use rustix::process::{PidfdFlags, kill_process, pidfd_open, pidfd_send_signal};
    // Held from here on, it cannot become another between the look and the signal.
    let held = pidfd_open(pid, PidfdFlags::empty());
    if !is_same() {
        return;
    }
    let _ = match held {
        Ok(held) => pidfd_send_signal(held, signal),
        Err(_) => kill_process(pid, signal),
    };
}

#[cfg(not(target_os = "linux"))]
fn send(pid: Pid, signal: rustix::process::Signal, is_same: impl Fn() -> bool) {
    if is_same() {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

pub(super) fn native(signal: Signal) -> rustix::process::Signal {
    match signal {
        Signal::Interrupt => rustix::process::Signal::INT,
        Signal::Terminate => rustix::process::Signal::TERM,
        Signal::Hangup => rustix::process::Signal::HUP,
        Signal::Quit => rustix::process::Signal::QUIT,
        Signal::Kill => rustix::process::Signal::KILL,
    }
}

/// The environment that a process was started with.
#[derive(Debug)]
pub(super) struct Environment(Vec<u8>);

impl Environment {
    pub(super) fn get(&self, name: &str) -> Option<&[u8]> {
        self.0
            .split(|byte| *byte == 0)
            .find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    }

    pub(super) fn is_guard(&self) -> bool {
        self.get(GUARD.0) == Some(GUARD.1.as_bytes())
    }
}

/// A line of `/proc/PID/stat`. The command's name may hold anything, also blanks and brackets, so
/// the fields are counted from its last closing bracket.
fn stat_of(stat: &[u8]) -> Option<Process> {
    let pid = stat.split(|byte| *byte == b' ').next()?;
    let rest = &stat[memchr::memrchr(b')', stat)? + 1..];
    let mut fields = std::str::from_utf8(rest).ok()?.split_ascii_whitespace();
    Some(Process {
        pid: std::str::from_utf8(pid).ok()?.parse().ok()?,
        state: *fields.next()?.as_bytes().first()?,
        parent: fields.next()?.parse().ok()?,
        group: fields.next()?.parse().ok()?,
        start: fields.nth(16)?.parse().ok()?,
    })
}

/// In how many namespaces below ours, ours included, a process has a number.
fn namespaces_of(status: &str) -> Option<usize> {
    let mut lines = status.lines();
    let numbers = lines.find_map(|line| line.strip_prefix("NSpid:"))?;
    Some(numbers.split_ascii_whitespace().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_another_namespace_has_several_numbers() {
        let status = |numbers: &str| format!("Name:\tNSpid:\nNSpid:\t{numbers}\nNSpgid:\t1\t2\n");
        assert_eq!(namespaces_of(&status("17")), Some(1));
        assert_eq!(namespaces_of(&status("17\t1")), Some(2));
        assert_eq!(namespaces_of("Name:\tsh\n"), None);
        let us = i32::try_from(std::process::id()).unwrap();
        assert!(Process::read(us).unwrap().is_in_our_namespace());
    }

    #[test]
    fn a_stat_line_is_read_past_any_name() {
        let rest = "3 4711 5 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 8192 77";
        let line = format!("17 (a) Z 1 2) S {rest}");
        let process = stat_of(line.as_bytes()).unwrap();
        assert_eq!((process.pid, process.parent), (17, 3));
        assert_eq!((process.group, process.state), (4711, b'S'));
        assert_eq!(process.start, 987_654);
        let odd = [b"7 (\xff) Z ", rest.as_bytes()].concat();
        assert!(stat_of(&odd).unwrap().has_ended());
        assert_eq!(stat_of(b"7 (a) S"), None);
        assert_eq!(stat_of(b""), None);
    }

    #[test]
    fn a_variable_is_found_by_its_whole_name() {
        let environment = Environment(b"AB=1\0B=2\0EMPTY=\0ODD".to_vec());
        assert_eq!(environment.get("B"), Some(&b"2"[..]));
        assert_eq!(environment.get("EMPTY"), Some(&b""[..]));
        assert_eq!(environment.get("A"), None);
        assert_eq!(environment.get("ODD"), None);
    }

    #[test]
    fn this_process_is_there_with_its_parent() {
        let own = i32::try_from(std::process::id()).unwrap();
        let table = Table::read().unwrap();
        let us = table.iter().find(|process| process.pid == own).unwrap();
        assert!(us.is_in_our_namespace() && !us.has_ended());
        assert!(!us.named().command.is_empty());
        let parent = table.iter().find(|process| process.pid == us.parent);
        let tree = table.trees(&[*parent.unwrap()]);
        assert!(tree.iter().any(|process| process.pid == own));
    }
}
