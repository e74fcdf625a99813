//! What is left of a child once its leader has ended.

use std::time::Duration;

use super::freeze::signal_all;
use super::group::Group;
use super::spec::Escaped;
use super::subreaper::{self, Mark};
use super::table::{Process, Table};
use crate::domain::run::{Signal, Survivor};

/// How long what was killed may take to vanish before we stop waiting for it. Only a process in
/// an uninterruptible system call, or one that nobody reaps, takes longer.
pub(super) const AFTER_KILL: Duration = Duration::from_secs(2);
/// Between two looks at whether anything is left: each reads all of `/proc`.
pub(super) const FIRST_LOOK: Duration = Duration::from_millis(5);
pub(super) const LAST_LOOK: Duration = Duration::from_millis(100);

/// Its group, and whoever left the group.
pub(super) struct Remains {
    group: Group,
    mark: Mark,
    escaped: Escaped,
    /// As of the last look, as is `alive`: the number of a group that is gone may be another's.
    group_exists: bool,
    alive: Vec<Process>,
    /// What was signalled outside of the group.
    told: Vec<Process>,
    killed: bool,
}

impl Remains {
    pub(super) fn new(group: Group, mark: Mark, escaped: Escaped) -> Self {
        Self {
            group,
            mark,
            escaped,
            group_exists: true,
            alive: Vec::new(),
            told: Vec::new(),
            killed: false,
        }
    }

    /// Looks whether anything is left. Cheap where nothing is.
    pub(super) fn look(&mut self) -> bool {
        self.alive.clear();
        self.group_exists = self.group_exists && self.group.exists();
        // Near its end a process has no environment any more to be told by.
        self.told.retain(Process::is_running);
        if !self.group_exists && self.told.is_empty() && !subreaper::has_undecided() {
            return false;
        }
        let Some(table) = Table::read() else {
            return self.group_exists;
        };
        self.alive = self.escaped(&table);
        let group = self.group.number();
        let is_member = |process: &&Process| process.group == group && !process.has_ended();
        self.alive.extend(table.iter().filter(is_member));
        if self.killed {
            // Also what was being started at that moment.
            self.send(Signal::Kill);
        }
        !self.alive.is_empty() || !self.told.is_empty()
    }

    /// As of the last look.
    pub(super) fn group_is_gone(&self) -> bool {
        !self.group_exists
    }

    /// What nothing ends is nobody's any more, lest it is looked for again and again. Names it among
    /// what was left.
    pub(super) fn give_up(&self, left: Option<Vec<Survivor>>) -> Option<Vec<Survivor>> {
        let still: Vec<&Process> = self.alive.iter().filter(|it| it.is_running()).collect();
        subreaper::give_up(&still);
        let mut left = left.unwrap_or_default();
        for process in still {
            let pid = process.pid.unsigned_abs();
            match left.iter_mut().find(|survivor| survivor.pid == pid) {
                Some(survivor) => survivor.ended = false,
                None => left.push(Survivor {
                    ended: false,
                    ..process.named()
                }),
            }
        }
        (!left.is_empty()).then_some(left)
    }

    /// Who left the group, with all that descends from it.
    fn escaped(&self, table: &Table) -> Vec<Process> {
        let group = self.group.number();
        let keep = self.escaped == Escaped::Keep;
        let roots = subreaper::left_by(table, self.mark, group, keep);
        let mut escaped = table.trees(&roots);
        escaped.retain(|process| process.group != group);
        escaped
    }

    /// Signals all that is left.
    pub(super) fn send(&mut self, signal: Signal) {
        self.killed |= signal == Signal::Kill;
        if self.group_exists {
            self.group.signal(signal);
        }
        // After the group: whoever leaves it now has had the signal.
        let told = signal_all(signal, || {
            Table::read().map_or_else(Vec::new, |table| self.escaped(&table))
        });
        self.told
            .extend(told.into_iter().map(|(process, _)| process));
    }

    /// What was alive at the last look, by name.
    pub(super) fn named(&self) -> Vec<Survivor> {
        self.alive.iter().map(Process::named).collect()
    }

    /// Those of them that have left the group.
    pub(super) fn escapees(&self) -> Vec<Survivor> {
        let group = self.group.number();
        let escapees = self.alive.iter().filter(|it| it.group != group);
        escapees.map(Process::named).collect()
    }
}
