//! Carries out a confirmed plan.

use std::time::Duration;

use futures_util::stream::{self, StreamExt};

use super::build::{container_item, spare_reason};
use super::state_dirs;
use crate::domain::id::ContainerId;
use crate::domain::label::Labels;
use crate::domain::plan::{ConfirmedPlan, Item, ItemKind, ItemOutcome, TeardownPlan};
use crate::domain::scope::Scope;
use crate::domain::selector::Selector;
use crate::engine::{Engine, EngineError, ErrorKind, Removal, list_any};

/// How many containers are stopped at the same time: one after the other, ten graces add up.
const AT_ONCE: usize = 8;

/// Removes what the plan names. Each item is looked at again first, and stays if it is not what
/// was confirmed: another creation time, other labels, another stack.
///
/// `grace` is what a container gets between TERM and KILL. `gives_up` is asked before each item: what
/// is under way is finished, what is not begun stays and has no outcome. One item's failure does not stop the
/// others. Kinds go in order, because what is attached goes before what it is attached to.
pub async fn execute(
    engine: &dyn Engine,
    scope: &Scope,
    confirmed: &ConfirmedPlan,
    grace: Duration,
    gives_up: &(dyn Fn() -> bool + Send + Sync),
    emit: &mut (dyn FnMut(Item, ItemOutcome) + Send),
) {
    for items in waves(confirmed.plan()) {
        let mut outcomes = stream::iter(items.into_iter().map(|item| async move {
            if gives_up() {
                return None;
            }
            let outcome = remove(engine, scope, confirmed, &item, grace).await;
            Some((item, outcome))
        }))
        .buffer_unordered(AT_ONCE);
        while let Some(ended) = outcomes.next().await {
            if let Some((item, outcome)) = ended {
                emit(item, outcome);
            }
        }
    }
}

/// What is removed together, in order. A spawner goes first: what it would spawn while the others
/// go is then still found by the check afterwards.
fn waves(plan: &TeardownPlan) -> [Vec<Item>; 5] {
    let wave = |item: &Item| match item.kind {
        ItemKind::Container => {
            let spawns = |spawner: &Selector| spawner.matches(&item.labels);
            usize::from(!plan.spawner.as_ref().is_some_and(spawns))
        }
        ItemKind::Network => 2,
        ItemKind::Volume => 3,
        ItemKind::StateDir => 4,
    };
    let mut waves: [Vec<Item>; 5] = Default::default();
    for item in &plan.remove {
        if let Some(items) = waves.get_mut(wave(item)) {
            items.push(item.clone());
        }
    }
    waves
}

async fn remove(
    engine: &dyn Engine,
    scope: &Scope,
    confirmed: &ConfirmedPlan,
    item: &Item,
    grace: Duration,
) -> ItemOutcome {
    let removal = match second_look(engine, scope, confirmed, item).await {
        Ok(None) => match item.kind {
            ItemKind::Container => remove_container(engine, item, grace).await,
            ItemKind::Network => engine.remove_network(&item.id).await,
            ItemKind::Volume => engine.remove_volume(&item.id).await,
            ItemKind::StateDir => state_dirs::remove(item)
                .await
                .map_err(|error| from_disk(&error)),
        },
        Ok(Some(why)) => return ItemOutcome::Changed { why },
        Err(error) => Err(error),
    };
    match removal {
        Ok(Removal::Removed) => ItemOutcome::Removed,
        Ok(Removal::Gone) => ItemOutcome::Gone,
        Err(error) if error.kind == ErrorKind::NotFound => ItemOutcome::Gone,
        Err(error) => ItemOutcome::Failed {
            why: error.to_string(),
        },
    }
}

async fn remove_container(
    engine: &dyn Engine,
    item: &Item,
    grace: Duration,
) -> Result<Removal, EngineError> {
    let id = ContainerId::new(item.id.as_str());
    // A container that cannot be stopped is still removed: removal kills it.
    match engine.stop(&id, grace).await {
        Err(error) if error.is_outage() => return Err(error),
        _ => {}
    }
    engine.remove_container(&id).await
}

/// Why the item is not the one that was confirmed; `None` if it is.
async fn second_look(
    engine: &dyn Engine,
    scope: &Scope,
    confirmed: &ConfirmedPlan,
    item: &Item,
) -> Result<Option<String>, EngineError> {
    let gone = || EngineError::new(ErrorKind::NotFound, format!("{} is gone", item.name));
    // Asked for by its own labels, so the engine finds this object and few others.
    let by_labels =
        selector_of(&item.labels).unwrap_or_else(|| confirmed.plan().claims.first().clone());
    let now = match item.kind {
        ItemKind::StateDir => {
            let patterns = scope
                .stack(&confirmed.plan().stack)
                .map(|stack| stack.state_dirs.as_slice())
                .unwrap_or_default();
            let containers = list_any(engine, &scope.queries()).await?;
            return state_dirs::changed(item, patterns, &containers)
                .map_err(|error| from_disk(&error));
        }
        ItemKind::Container => {
            let id = ContainerId::new(item.id.as_str());
            let container = engine.inspect(&id).await?.container;
            let plan = confirmed.plan();
            let stack = scope
                .stack(&plan.stack)
                .filter(|stack| stack.claims == plan.claims);
            let Some(stack) = stack else {
                return Ok(Some(format!("the stack {} is not what it was", plan.stack)));
            };
            if let Some(reason) = spare_reason(&container, scope, stack) {
                return Ok(Some(reason.to_string()));
            }
            container_item(&container)
        }
        ItemKind::Network => {
            let networks = engine.networks(&by_labels).await?;
            let found = networks.into_iter().find(|network| network.id == item.id);
            let found = found.ok_or_else(gone)?;
            Item {
                created: found.created,
                labels: found.labels,
                ..item.clone()
            }
        }
        ItemKind::Volume => {
            let volumes = engine.volumes(&by_labels).await?;
            let found = volumes.into_iter().find(|volume| volume.name == item.id);
            let found = found.ok_or_else(gone)?;
            Item {
                created: found.created,
                labels: found.labels,
                ..item.clone()
            }
        }
    };
    Ok(if !same_moment(now.created, item.created) {
        Some("it was made anew since".to_owned())
    } else if now.labels != item.labels {
        Some("its labels changed".to_owned())
    } else {
        None
    })
}

/// The disk's refusals in the engine's words: what is not there is done.
fn from_disk(error: &std::io::Error) -> EngineError {
    let kind = match error.kind() {
        std::io::ErrorKind::NotFound => ErrorKind::NotFound,
        _ => ErrorKind::Engine,
    };
    EngineError::new(kind, error.to_string())
}

/// Lists give creation times in whole seconds, inspects in nanoseconds.
fn same_moment(a: Option<jiff::Timestamp>, b: Option<jiff::Timestamp>) -> bool {
    a.map(jiff::Timestamp::as_second) == b.map(jiff::Timestamp::as_second)
}

fn selector_of(labels: &Labels) -> Option<Selector> {
    use crate::domain::label::Condition;
    Selector::from_conditions(
        labels
            .iter()
            .map(|(key, value)| Condition::equals(key, value)),
    )
}
