//! Works out what a teardown would remove and what it leaves alone.

use std::collections::BTreeMap;

use super::state_dirs::state_dirs;
use crate::domain::container::{Container, MountKind};
use crate::domain::id::ContainerId;
use crate::domain::label::{COMPOSE_PROJECT, COMPOSE_WORKING_DIR, Condition};
use crate::domain::plan::{Item, ItemKind, SpareReason, Spared, TeardownPlan};
use crate::domain::scope::{Placement, Protection, Scope, Stack};
use crate::domain::selector::Selector;
use crate::engine::{Engine, EngineError, NetworkInfo, VolumeInfo, list_any};

/// There is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("no stack is called {name}; {}", list(.known))]
    UnknownStack { name: String, known: Vec<String> },
    #[error("{name} is protected: its [[stack]] does not say `teardown = true`")]
    Protected { name: String },
    #[error("{}", .0.advice())]
    Engine(#[from] EngineError),
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "tackroom.toml declares none".to_owned()
    } else {
        format!("there are: {}", names.join(", "))
    }
}

/// Plans the teardown of one stack. `hook` is what runs first, as people would type it.
///
/// # Errors
///
/// Fails for a stack that does not exist or is protected, and where the engine cannot be asked.
pub async fn build(
    engine: &dyn Engine,
    scope: &Scope,
    name: &str,
    hook: Option<String>,
) -> Result<TeardownPlan, PlanError> {
    let stack = scope.stack(name).ok_or_else(|| PlanError::UnknownStack {
        name: name.to_owned(),
        known: scope
            .stacks
            .iter()
            .map(|stack| stack.name.to_string())
            .collect(),
    })?;
    if stack.protection == Protection::Protected {
        return Err(PlanError::Protected {
            name: name.to_owned(),
        });
    }
    let mut plan = TeardownPlan {
        stack: stack.name.clone(),
        claims: stack.claims.clone(),
        spawner: stack.spawner.clone(),
        hook,
        remove: Vec::new(),
        spare: Vec::new(),
    };
    let containers = list_any(engine, &scope.queries()).await?;
    for container in containers.values() {
        match spare_reason(container, scope, stack) {
            None => plan.remove.push(container_item(container)),
            Some(reason) => plan.spare.push(Spared {
                item: container_item(container),
                reason,
            }),
        }
    }
    let foreign = foreign_project(engine, stack).await?;
    let mut networks = Vec::new();
    let mut volumes = Vec::new();
    for selector in object_selectors(stack) {
        networks.extend(engine.networks(&selector).await?);
        volumes.extend(engine.volumes(&selector).await?);
    }
    networks.sort_by(|a, b| a.id.cmp(&b.id));
    networks.dedup_by(|a, b| a.id == b.id);
    volumes.sort_by(|a, b| a.name.cmp(&b.name));
    volumes.dedup_by(|a, b| a.name == b.name);
    for network in networks {
        let in_use = network_user(&network, &plan, &containers);
        let compose_only = !stack.claims.matches(&network.labels);
        let foreign = foreign.as_ref().filter(|_| compose_only);
        add(&mut plan, network_item(&network), in_use, foreign);
    }
    for volume in volumes {
        let in_use = volume_user(&volume, &plan, &containers);
        let compose_only = !stack.claims.matches(&volume.labels);
        let foreign = foreign.as_ref().filter(|_| compose_only);
        add(&mut plan, volume_item(&volume), in_use, foreign);
    }
    for (item, reason) in state_dirs(engine, stack, &plan, &containers).await? {
        match reason {
            None => plan.remove.push(item),
            Some(reason) => plan.spare.push(Spared { item, reason }),
        }
    }
    plan.remove
        .sort_by(|a, b| (a.kind, &a.name, &a.id).cmp(&(b.kind, &b.name, &b.id)));
    plan.spare
        .sort_by(|a, b| (a.item.kind, &a.item.name).cmp(&(b.item.kind, &b.item.name)));
    Ok(plan)
}

fn add(plan: &mut TeardownPlan, item: Item, in_use: Option<String>, foreign: Option<&String>) {
    let reason = match (foreign, in_use) {
        (Some(working_dir), _) => SpareReason::ForeignProject {
            working_dir: working_dir.clone(),
        },
        (None, Some(by)) => SpareReason::InUse { by },
        (None, None) => return plan.remove.push(item),
    };
    plan.spare.push(Spared { item, reason });
}

/// Why a container of the scope stays; `None` if it goes.
pub(super) fn spare_reason(
    container: &Container,
    scope: &Scope,
    stack: &Stack,
) -> Option<SpareReason> {
    match scope.place(&container.labels) {
        Placement::Stack(name) if name == stack.name => None,
        Placement::Stack(name) => Some(SpareReason::OtherStack {
            protected: scope
                .stack(&name)
                .is_none_or(|other| other.protection == Protection::Protected),
            name,
        }),
        Placement::Several(names) => Some(SpareReason::SeveralStacks(names)),
        Placement::Group(_) | Placement::Unclaimed | Placement::Outside => {
            Some(SpareReason::Unclaimed)
        }
    }
}

/// What the stack's networks and volumes carry: its own labels or, because compose does not write
/// the working directory on them, the label of its project.
fn object_selectors(stack: &Stack) -> Vec<Selector> {
    let project = stack
        .compose_project
        .as_ref()
        .map(|project| Selector::new(Condition::equals(COMPOSE_PROJECT, project), []));
    stack.claims.selectors().cloned().chain(project).collect()
}

/// The working directory of another checkout whose containers carry the same project name.
async fn foreign_project(
    engine: &dyn Engine,
    stack: &Stack,
) -> Result<Option<String>, EngineError> {
    let Some(project) = &stack.compose_project else {
        return Ok(None);
    };
    let same_name = Selector::new(Condition::equals(COMPOSE_PROJECT, project), []);
    let containers = engine.list(&same_name).await?;
    Ok(containers
        .into_iter()
        .find(|container| !stack.claims.matches(&container.labels))
        .map(|container| {
            container
                .labels
                .get(COMPOSE_WORKING_DIR)
                .cloned()
                .unwrap_or(container.name)
        }))
}

pub(super) fn goes(plan: &TeardownPlan, id: &ContainerId) -> bool {
    plan.remove
        .iter()
        .any(|item| item.kind == ItemKind::Container && item.id == id.as_str())
}

fn network_user(
    network: &NetworkInfo,
    plan: &TeardownPlan,
    containers: &BTreeMap<ContainerId, Container>,
) -> Option<String> {
    let id = network.attached.iter().find(|id| !goes(plan, id))?;
    let name = containers
        .get(id)
        .map_or(id.short(), |container| container.title());
    Some(name.to_owned())
}

fn volume_user(
    volume: &VolumeInfo,
    plan: &TeardownPlan,
    containers: &BTreeMap<ContainerId, Container>,
) -> Option<String> {
    containers
        .values()
        .filter(|container| !goes(plan, &container.id))
        .find(|container| {
            container
                .mounts
                .iter()
                .any(|mount| mount.kind == MountKind::Volume && mount.source == volume.name)
        })
        .map(|container| container.title().to_owned())
}

pub(super) fn container_item(container: &Container) -> Item {
    Item {
        kind: ItemKind::Container,
        name: container.name.clone(),
        id: container.id.as_str().to_owned(),
        created: Some(container.created),
        labels: container.labels.clone(),
        image: Some(container.image.clone()),
        state: Some(container.state.word().to_owned()),
    }
}

fn network_item(network: &NetworkInfo) -> Item {
    Item {
        kind: ItemKind::Network,
        name: network.name.clone(),
        id: network.id.clone(),
        created: network.created,
        labels: network.labels.clone(),
        image: None,
        state: None,
    }
}

fn volume_item(volume: &VolumeInfo) -> Item {
    Item {
        kind: ItemKind::Volume,
        name: volume.name.clone(),
        id: volume.name.clone(),
        created: volume.created,
        labels: volume.labels.clone(),
        image: None,
        state: None,
    }
}
