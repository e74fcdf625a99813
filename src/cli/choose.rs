//! From the flags of a command line to the replays that they mean.

use std::num::{NonZeroU32, NonZeroUsize};

use super::args::{Running, Selecting};
use super::output::{Failure, complain};
use crate::config::Config;
use crate::domain::exit::Exit;
use crate::domain::past::History;
use crate::record::Store;
use crate::replay::{Chosen, Policy, Rounds, Selection, discover};

pub(super) fn selection(selecting: Selecting) -> Selection {
    Selection {
        patterns: selecting.patterns,
        suites: selecting.suites,
        tags: selecting.tags,
        shard: selecting.shard,
        last_failed: selecting.last_failed,
        order: selecting.order,
    }
}

/// The replays that are meant. That there is nothing left to do is no failure.
pub(super) fn choose(config: &Config, selection: &Selection) -> Result<Chosen, Failure> {
    let all = discover(config).map_err(|error| Failure::usage(error.to_string()))?;
    if all.is_empty() {
        let globs = config.replays.suites().flat_map(|suite| &suite.paths);
        let looked = globs.map(String::as_str).collect::<Vec<_>>().join(", ");
        let root = config.root.display();
        return Err(Failure::new(
            Exit::NothingMatched,
            format!("there is no replay: nothing matches {looked} in {root}"),
        ));
    }
    for suite in &config.replays.others {
        if !all.iter().any(|replay| replay.suite == suite.name) {
            let globs = suite.paths.join(", ");
            complain(format_args!(
                "the suite {} has no replay: nothing that no other suite has matches {globs}",
                suite.name
            ));
        }
    }
    let history = if selection.needs_history() {
        history(config)
    } else {
        History::new()
    };
    let chosen = selection
        .of(&all, &history)
        .map_err(|error| Failure::new(Exit::NothingMatched, error.to_string()))?;
    if let Chosen::Nothing(idle) = &chosen {
        complain(format_args!("nothing to do: {idle}"));
    }
    Ok(chosen)
}

pub(super) fn history(config: &Config) -> History {
    match Store::of(&config.root, &config.name) {
        Ok(store) => store.history(),
        Err(error) => {
            complain(format_args!("what earlier runs say is not known: {error}"));
            History::new()
        }
    }
}

/// How they are to be run: what the flags say, and the configuration where they say nothing.
pub(super) fn policy(config: &Config, running: &Running) -> Policy {
    let configured = Policy::of(&config.replays);
    let rounds = match running.repeat.and_then(NonZeroU32::new) {
        Some(count) => Rounds::Count(count),
        None if running.until_fail => Rounds::Endless,
        None => configured.rounds,
    };
    let one_is_enough = running.fail_fast || running.until_fail;
    let max_fail = running.max_fail.or(one_is_enough.then_some(1));
    Policy {
        jobs: running.jobs.and_then(size).unwrap_or(configured.jobs),
        rounds,
        // A failure that is looked for is not to be healed.
        retries: running.retries.unwrap_or(match running.until_fail {
            true => 0,
            false => configured.retries,
        }),
        flaky_fails: running.fail_on_flaky,
        max_fail: max_fail.and_then(size),
    }
}

fn size(number: u32) -> Option<NonZeroUsize> {
    NonZeroUsize::new(usize::try_from(number).ok()?)
}
