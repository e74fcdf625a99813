//! Ending what a run has left on the machine, wherever it has got to.

use std::collections::HashSet;
use std::time::Duration;

use super::brand::Brand;
use super::control::Control;
use super::freeze::signal_all;
use super::remains::{AFTER_KILL, FIRST_LOOK, LAST_LOOK};
use super::subreaper::{self, Adopted};
use super::table::{Process, Table};
use crate::domain::id::RunId;
use crate::domain::run::{Signal, Survivor};

/// Which processes are swept.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// What must stand in a process's environment, all of it; a value of `None` is any value. What
    /// descends from such a process goes with it.
    pub variables: Vec<(&'static str, Option<String>)>,
    /// Also what this run has started and what has an environment no more: of a run whose process has
    /// died nobody has adopted it.
    pub branded: Option<RunId>,
    pub adopted: Adopted,
    /// Between TERM and KILL.
    pub grace: Duration,
}

/// Ends all of them, again until none is left, and names them. Those in a container are left to
/// their engine.
pub async fn sweep(sweep: &Sweep, control: &Control) -> Vec<Survivor> {
    // Once: who is told to end may need others to do so, and has its time.
    let told = signal_all(Signal::Terminate, || sweep.look());
    let mut seen: HashSet<(i32, u64)> =
        told.iter().map(|(process, _)| process.identity()).collect();
    let (mut ending, mut named): (Vec<Process>, Vec<Survivor>) = told.into_iter().unzip();
    let mut found = !named.is_empty();
    let clock = control.stopwatch();
    let mut killing = None;
    let mut pause = FIRST_LOOK;
    while found {
        let now = clock.elapsed();
        if killing.is_none() && now >= control.grace(sweep.grace) {
            killing = Some(now + AFTER_KILL);
            pause = FIRST_LOOK;
        }
        if let Some(until) = killing {
            if now >= until {
                let still: HashSet<u32> = ending
                    .into_iter()
                    .chain(sweep.look())
                    .map(|process| process.pid.unsigned_abs())
                    .collect();
                for survivor in &mut named {
                    survivor.ended = !still.contains(&survivor.pid);
                }
                break;
            }
            for process in &ending {
                process.signal(Signal::Kill);
            }
            for (process, survivor) in signal_all(Signal::Kill, || sweep.look()) {
                if seen.insert(process.identity()) {
                    named.push(survivor);
                }
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LAST_LOOK);
        // Near its end a process has no environment any more to be found by.
        ending.retain(Process::is_running);
        found = !ending.is_empty() || !sweep.look().is_empty();
    }
    named
}

impl Sweep {
    fn look(&self) -> Vec<Process> {
        let Some(table) = Table::read() else {
            return Vec::new();
        };
        let us = rustix::process::getpid().as_raw_nonzero().get();
        let brand = self.branded.as_ref().map(|run| Brand::of(run.as_str()));
        let is_branded = |process: &Process| {
            brand.is_some_and(|brand| brand.is_on(process))
                && process.is_in_our_namespace()
                && !subreaper::is_foreign(&process.environment())
                && !keeps_a_container(process, &table)
        };
        let mut roots = subreaper::adopted(&table, self.adopted);
        roots.extend(
            table
                .iter()
                .filter(|process| process.pid != us)
                .filter(|process| self.is_marked(process) || is_branded(process)),
        );
        table.trees(&roots)
    }

    fn is_marked(&self, process: &Process) -> bool {
        let environment = process.environment();
        self.variables.iter().all(|(name, wanted)| {
            let value = environment.get(name);
            match wanted {
                Some(wanted) => value == Some(wanted.as_bytes()),
                None => value.is_some(),
            }
        }) && !self.variables.is_empty()
            && process.is_in_our_namespace()
    }
}

/// Whether it is the parent of a container's first process: an engine without a daemon has one such
/// for each container, with no environment, and who removes the container ends it.
fn keeps_a_container(process: &Process, table: &Table) -> bool {
    let mut children = table.iter().filter(|child| child.parent == process.pid);
    children.any(|child| !child.has_ended() && !child.is_in_our_namespace())
}
