//! Signals several processes as if they were one.

use std::collections::HashMap;

use super::table::Process;
use crate::domain::run::{Signal, Survivor};

/// A fork bomb is not chased for ever.
const LOOKS: usize = 16;

/// Signals all that `look` finds, and names them as they were before it. They are held still until
/// another look finds no more of them: none can be born between the look and the signal, and get away.
pub(super) fn signal_all(
    signal: Signal,
    mut look: impl FnMut() -> Vec<Process>,
) -> Vec<(Process, Survivor)> {
    let mut held: HashMap<(i32, u64), (Process, Survivor)> = HashMap::new();
    for _ in 0..LOOKS {
        let before = held.len();
        for process in look() {
            held.entry(process.identity()).or_insert_with(|| {
                process.send(rustix::process::Signal::STOP);
                (process, process.named())
            });
        }
        if held.len() == before {
            break;
        }
    }
    let held: Vec<_> = held.into_values().collect();
    for (process, _) in &held {
        process.signal(signal);
    }
    for (process, _) in &held {
        process.send(rustix::process::Signal::CONT);
    }
    held
}
