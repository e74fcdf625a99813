//! Works out what a teardown would remove and what it leaves alone.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::state_dirs::state_dirs;
use crate::domain::container::{Container, MountKind};
use crate::domain::id::ContainerId;
use crate::domain::label::{COMPOSE_PROJECT, COMPOSE_WORKING_DIR, Condition, Labels};
use crate::domain::origins::Subjects;
use crate::domain::plan::{Item, ItemKind, SpareReason, Spared, TeardownPlan};
use crate::domain::scope::{Asker, Placement, Protection, Scope, Stack};
use crate::domain::selector::Selector;
use crate::engine::{Engine, EngineError, ErrorKind, NetworkInfo, VolumeInfo, list_any, look_up};

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
    asker: &Asker,
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
    let mut containers = list_any(engine, &scope.queries()).await?;
    note_origins(engine, &mut containers).await;
    for container in containers.values() {
        let own = spare_reason(container, scope, stack);
        match own.or_else(|| of_other_run(stack, asker, &container.labels, Some(container.created)))
        {
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
    let unique = stack
        .compose_project
        .as_ref()
        .is_some_and(|project| project.unique);
    let stopped = stopped_members(engine, &plan, &containers, &networks).await?;
    for network in networks {
        let stopped = stopped.iter().filter(|(name, _)| *name == network.name);
        let users = network.attached.iter().chain(stopped.map(|(_, id)| id));
        let in_use = in_use(&plan, &containers, users);
        let used_by_ours = network.attached.iter().any(|id| goes(&plan, id));
        let claim = Claim {
            by_labels: stack.claims.matches(&network.labels),
            by_use: unique || used_by_ours,
        };
        let item = network_item(&network);
        let other_run = of_other_run(stack, asker, &item.labels, item.created);
        let stays = in_use.or(other_run);
        add(&mut plan, item, claim, stays, foreign.as_ref());
    }
    for volume in volumes {
        let users = containers
            .values()
            .filter(|container| mounts(container, &volume.name))
            .map(|container| &container.id);
        let in_use = in_use(&plan, &containers, users);
        let used_by_ours = containers
            .values()
            .any(|container| goes(&plan, &container.id) && mounts(container, &volume.name));
        let claim = Claim {
            by_labels: stack.claims.matches(&volume.labels),
            by_use: unique || used_by_ours,
        };
        let item = volume_item(&volume);
        let other_run = of_other_run(stack, asker, &item.labels, item.created);
        let stays = in_use.or(other_run);
        add(&mut plan, item, claim, stays, foreign.as_ref());
    }
    for volume in anonymous_volumes(&plan, &containers) {
        plan.remove.push(volume);
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

/// Whether the containers could be started again is for people to know before they are asked.
async fn note_origins(engine: &dyn Engine, containers: &mut BTreeMap<ContainerId, Container>) {
    let findings = look_up(engine, &Subjects::of(containers.values())).await;
    for container in containers.values_mut() {
        container.origins = findings.origins(container);
    }
}

/// What makes an object the stack's.
#[derive(Clone, Copy)]
struct Claim {
    by_labels: bool,
    /// It carries the name of the compose project, and a container of the stack uses it or the
    /// name is this checkout's alone.
    by_use: bool,
}

fn add(
    plan: &mut TeardownPlan,
    item: Item,
    claim: Claim,
    stays: Option<SpareReason>,
    foreign: Option<&String>,
) {
    let reason = match (foreign, stays) {
        (Some(working_dir), _) if !claim.by_labels => SpareReason::ForeignProject {
            working_dir: working_dir.clone(),
        },
        _ if !claim.by_labels && !claim.by_use => SpareReason::ProjectNameOnly,
        (_, Some(reason)) => reason,
        (_, None) => return plan.remove.push(item),
    };
    plan.spare.push(Spared { item, reason });
}

fn mounts(container: &Container, volume: &str) -> bool {
    container
        .mounts
        .iter()
        .any(|mount| mount.kind == MountKind::Volume && mount.source == volume)
}

/// The volumes without a name of their own that go with their container. The engine calls them by
/// 64 hexadecimal digits.
fn anonymous_volumes(
    plan: &TeardownPlan,
    containers: &BTreeMap<ContainerId, Container>,
) -> Vec<Item> {
    let is_anonymous =
        |name: &str| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut items: Vec<Item> = Vec::new();
    for container in containers
        .values()
        .filter(|container| goes(plan, &container.id))
    {
        let volumes = container
            .mounts
            .iter()
            .filter(|mount| mount.kind == MountKind::Volume && is_anonymous(&mount.source));
        for volume in volumes {
            let known = |items: &[Item]| items.iter().any(|item| item.id == volume.source);
            if !known(&plan.remove) && !known(&items) {
                items.push(Item {
                    kind: ItemKind::Volume,
                    name: volume.source.clone(),
                    id: volume.source.clone(),
                    created: None,
                    labels: Labels::new(),
                    image: None,
                    state: Some(format!("anonymous, of {}", container.title())),
                });
            }
        }
    }
    items
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

/// What another run has just made is left to that run.
fn of_other_run(
    stack: &Stack,
    asker: &Asker,
    labels: &Labels,
    created: Option<Timestamp>,
) -> Option<SpareReason> {
    let guard = stack.run_guard.as_ref()?;
    let (run, age) = guard.keeps(labels, created, asker)?;
    Some(SpareReason::OtherRun { run, age })
}

/// Why an object that is used stays, if one of its users does. Somebody else than another run
/// counts more: what that one uses is left behind.
fn in_use<'a>(
    plan: &TeardownPlan,
    containers: &BTreeMap<ContainerId, Container>,
    users: impl Iterator<Item = &'a ContainerId>,
) -> Option<SpareReason> {
    let is_of_other_run = |id: &ContainerId| {
        let mut others = plan.left_to_others();
        others.any(|spared| spared.item.id == id.as_str())
    };
    let (others, foreign): (Vec<_>, Vec<_>) = users
        .filter(|id| !goes(plan, id))
        .partition(|id| is_of_other_run(id));
    let title = |id: &ContainerId| {
        let container = containers.get(id);
        container.map_or(id.short(), Container::title).to_owned()
    };
    match (foreign.first(), others.first()) {
        (Some(id), _) => Some(SpareReason::InUse { by: title(id) }),
        (None, Some(id)) => Some(SpareReason::InUseByOtherRun { by: title(id) }),
        (None, None) => None,
    }
}

/// What the stack's networks and volumes carry: its own labels or, because compose does not write
/// the working directory on them, the label of its project.
fn object_selectors(stack: &Stack) -> Vec<Selector> {
    let project = stack
        .compose_project
        .as_ref()
        .map(|project| Selector::new(Condition::equals(COMPOSE_PROJECT, &project.name), []));
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
    let same_name = Selector::new(Condition::equals(COMPOSE_PROJECT, &project.name), []);
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

/// Who stays and is a member of a network. The network itself knows only of those that run; one that
/// does not would not start again without it.
async fn stopped_members(
    engine: &dyn Engine,
    plan: &TeardownPlan,
    containers: &BTreeMap<ContainerId, Container>,
    networks: &[NetworkInfo],
) -> Result<Vec<(String, ContainerId)>, EngineError> {
    let mut members = Vec::new();
    if networks.is_empty() {
        return Ok(members);
    }
    let stopped =
        |container: &&Container| !container.state.is_alive() && !goes(plan, &container.id);
    for container in containers.values().filter(stopped) {
        match engine.inspect(&container.id).await {
            Ok(inspect) => {
                let networks = inspect.networks.into_keys();
                members.extend(networks.map(|network| (network, container.id.clone())));
            }
            Err(error) if error.kind == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(members)
}

pub(super) fn container_item(container: &Container) -> Item {
    Item {
        kind: ItemKind::Container,
        name: container.name.clone(),
        id: container.id.as_str().to_owned(),
        created: Some(container.created),
        labels: container.labels.clone(),
        image: Some(container.image_name().to_owned()),
        state: Some(container.state_words()),
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
