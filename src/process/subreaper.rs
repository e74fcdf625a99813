//! Being the parent of what our children leave behind, and telling it from what is ours anyway.
//!
//! The kernel gives an orphan to the nearest ancestor that asked for it, so nothing that descends
//! from a child can get away by a second fork, a session of its own or a cleared environment. It
//! asks the process as a whole, hence one register for all.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{fmt, io};

use super::group::own_group;
use super::table::{Environment, Process, Table};

/// In each child's environment: which of our children it descends from.
pub const MARK: &str = "TACKROOM_CHILD";

static REGISTER: Mutex<Option<Register>> = Mutex::new(None);

#[derive(Default)]
struct Register {
    /// How many want orphans to come to us.
    holders: usize,
    /// What we started and wait for ourselves, by its number.
    own: HashMap<i32, Role>,
    /// Our other children, as far as it is decided what they are.
    others: HashMap<i32, Other>,
    /// Whose leavings stay, also those that come to us late.
    keeping: HashSet<Mark>,
}

/// Tells the children of this process apart for good: numbers of processes are used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Mark(u64);

/// What a process of our own is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A script, with all that it leaves.
    Supervised(Mark),
    /// It looks after itself.
    Apart,
}

/// A child that we did not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Other {
    /// It was there before: whoever was here before us, under the same number, started it.
    Foreign,
    /// Somebody who may leave something has left it.
    Kept,
    /// One of several that ran at the same time has left it; nobody knows which.
    Suspect,
    /// It cannot be ended, which has been said.
    GivenUp,
}

/// Which of the adopted are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adopted {
    None,
    /// What should have ended, and of which it was not clear when.
    Suspects,
    /// Also what was kept.
    All,
}

/// While it lives, orphans come to us.
#[derive(Debug)]
pub struct Adopting(());

/// Makes this process the parent of its orphaned descendants.
pub fn adopt() -> Adopting {
    let mut register = Register::lock();
    let register = register.get_or_insert_default();
    register.holders += 1;
    if register.holders == 1 {
        ask_for_orphans(true);
        for pid in children().unwrap_or_default() {
            if !register.own.contains_key(&pid) {
                register.others.entry(pid).or_insert(Other::Foreign);
            }
        }
    }
    Adopting(())
}

impl Drop for Adopting {
    fn drop(&mut self) {
        if let Some(register) = &mut *Register::lock() {
            register.holders -= 1;
            // What the user starts beside a run is to go its own ways.
            if register.holders == 0 {
                ask_for_orphans(false);
            }
        }
    }
}

/// Keeps a process from being taken for an orphan.
#[derive(Debug)]
pub(super) struct Own(i32);

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(register) = &mut *Register::lock() {
            register.own.remove(&self.0);
        }
    }
}

impl Mark {
    /// One that no other child of this process has.
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// `None` where no child of this process has it.
    fn parse(value: &[u8]) -> Option<Self> {
        let value = std::str::from_utf8(value).ok()?;
        let (process, number) = value.split_once('-')?;
        let is_ours = process.parse() == Ok(std::process::id());
        is_ours.then(|| number.parse().ok().map(Self))?
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", std::process::id(), self.0)
    }
}

/// A guard, or what is no script's: an empty mark is on what the user opens from the dashboard.
pub(super) fn is_foreign(environment: &Environment) -> bool {
    environment.is_guard() || environment.get(MARK).is_some_and(<[u8]>::is_empty)
}

/// Starts a process of our own. Nobody looks for orphans between its start and its entry.
pub(super) fn start<C>(
    role: Role,
    spawn: impl FnOnce() -> io::Result<C>,
    id: impl Fn(&C) -> Option<u32>,
) -> io::Result<(C, Option<Own>)> {
    let mut register = Register::lock();
    let child = spawn()?;
    let own = id(&child).and_then(|id| i32::try_from(id).ok()).map(|pid| {
        register.get_or_insert_default().own.insert(pid, role);
        Own(pid)
    });
    Ok((child, own))
}

/// Whether there may be a child of which it is not decided what it is. Costs one small read.
pub(super) fn has_undecided() -> bool {
    let register = Register::lock();
    let Some(register) = &*register else {
        return false;
    };
    // Where the kernel does not list them, only a look at all processes can tell.
    children().is_none_or(|children| {
        let decided =
            |pid: &i32| register.own.contains_key(pid) || register.others.contains_key(pid);
        !children.iter().all(decided)
    })
}

/// The orphans that the child with this mark, which leads this group, has left outside of the
/// group. With `keep` they are nobody's from now on.
pub(super) fn left_by(table: &Table, mark: Mark, group: i32, keep: bool) -> Vec<Process> {
    let mut register = Register::lock();
    let Some(register) = &mut *register else {
        return Vec::new();
    };
    let is_supervised = |role: &&Role| matches!(role, Role::Supervised(_));
    let alone = register.own.values().filter(is_supervised).count() == 1;
    if keep {
        register.keeping.insert(mark);
    }
    let mut left = Vec::new();
    for orphan in register.orphans(table) {
        if orphan.group == group || register.others.contains_key(&orphan.pid) {
            continue;
        }
        let environment = orphan.environment();
        // None where it is cleared, or the mark of a runner within the script.
        let other = environment.get(MARK).and_then(Mark::parse);
        let decided = match other {
            _ if is_foreign(&environment) => Other::Foreign,
            Some(other) if other != mark => {
                if register.is_at_work(other) {
                    continue;
                }
                if register.keeping.contains(&other) {
                    Other::Kept
                } else {
                    Other::Suspect
                }
            }
            None if !alone => Other::Suspect,
            _ if keep => Other::Kept,
            _ => {
                left.push(orphan);
                continue;
            }
        };
        register.others.insert(orphan.pid, decided);
    }
    left
}

/// What cannot be ended is not looked for any more.
pub(super) fn give_up(processes: &[&Process]) {
    let mut register = Register::lock();
    let others = &mut register.get_or_insert_default().others;
    others.extend(processes.iter().map(|it| (it.pid, Other::GivenUp)));
}

/// All orphans of this kind.
pub(super) fn adopted(table: &Table, wanted: Adopted) -> Vec<Process> {
    let mut register = Register::lock();
    let Some(register) = register.as_mut().filter(|_| wanted != Adopted::None) else {
        return Vec::new();
    };
    let mut orphans = register.orphans(table);
    orphans.retain(|orphan| match register.others.get(&orphan.pid) {
        Some(Other::Foreign | Other::GivenUp) => false,
        Some(Other::Kept) => wanted == Adopted::All,
        Some(Other::Suspect) => true,
        None => wanted == Adopted::All && !is_foreign(&orphan.environment()),
    });
    orphans
}

impl Register {
    fn lock() -> MutexGuard<'static, Option<Self>> {
        REGISTER.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_at_work(&self, mark: Mark) -> bool {
        let mut roles = self.own.values();
        roles.any(|role| *role == Role::Supervised(mark))
    }

    /// Our children that we did not start and that do not belong to one that still runs. Those that
    /// have ended are reaped: nobody else will.
    fn orphans(&mut self, table: &Table) -> Vec<Process> {
        let us = rustix::process::getpid().as_raw_nonzero().get();
        let our_group = own_group().map_or(0, |group| group.as_raw_nonzero().get());
        let mut orphans = Vec::new();
        self.others
            .retain(|pid, _| table.get(*pid).is_some_and(|now| now.parent == us));
        for process in table.iter().filter(|process| process.parent == us) {
            // What runs on our own terminal with us, such as a pager, has somebody who waits for it.
            if self.own.contains_key(&process.pid)
                || process.group == our_group
                || self.others.get(&process.pid) == Some(&Other::Foreign)
            {
                continue;
            }
            if process.has_ended() {
                reap(process.pid);
                self.others.remove(&process.pid);
            } else if !self.own.contains_key(&process.group) && process.is_running() {
                // One of our own may have ended, and left the register, since the table was read.
                orphans.push(*process);
            }
        }
        orphans
    }
}

#[cfg(target_os = "linux")]
fn ask_for_orphans(wanted: bool) {
    let us = wanted.then(rustix::process::getpid);
    // A kernel from before 2012 has no such thing, and what it keeps back is still found by its
    // environment.
    let _ = rustix::process::set_child_subreaper(us);
}

#[cfg(not(target_os = "linux"))]
fn ask_for_orphans(_: bool) {}

/// Our children, as far as orphans are among them: the kernel gives those to the first thread.
/// `None` where it does not tell.
fn children() -> Option<Vec<i32>> {
    let us = std::process::id();
    let list = std::fs::read_to_string(format!("/proc/{us}/task/{us}/children")).ok()?;
    Some(
        list.split_ascii_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect(),
    )
}

fn reap(pid: i32) {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = waitid(
            WaitId::Pid(pid),
            WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
        );
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command};

    use super::*;

    #[test]
    fn what_of_our_own_has_ended_since_the_look_is_no_orphan() {
        let mut command = Command::new("sleep");
        command.arg("600").process_group(0);
        let id = |child: &Child| Some(child.id());
        let (mut child, own) = start(Role::Apart, || command.spawn(), id).unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let table = Table::read().unwrap();
        assert!(table.get(pid).is_some());
        child.kill().unwrap();
        child.wait().unwrap();
        drop(own);
        let orphans = adopted(&table, Adopted::All);
        assert!(orphans.iter().all(|orphan| orphan.pid != pid));
    }
}
