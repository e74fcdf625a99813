//! The containers, grouped by where they belong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::cursor::Cursor;
use crate::domain::container::Container;
use crate::domain::id::ContainerId;
use crate::domain::line::SourceId;
use crate::domain::scope::{Placement, Protection, Scope, StackName};

#[derive(Clone, Debug, Default)]
pub struct Tree {
    containers: Arc<[Container]>,
    groups: Vec<Group>,
    rows: Vec<Row>,
    folded: BTreeSet<StackName>,
    marks: BTreeSet<SourceId>,
    out_of_memory: BTreeSet<ContainerId>,
    /// Whether the engine has been heard at all: before that an empty list means nothing.
    heard: bool,
    absent: Option<Absent>,
    pub cursor: Cursor,
}

/// A selected container that has gone, perhaps to be made anew: until the cursor is moved its log
/// stays, with its last lines and its end, and the cursor goes back to it.
#[derive(Clone, Debug)]
struct Absent {
    name: String,
    /// The row that the cursor was left on.
    instead: Option<Key>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub name: StackName,
    pub kind: GroupKind,
    /// Indices of containers.
    members: Vec<usize>,
    pub up: usize,
}

/// What may happen to the containers of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupKind {
    Harness(Protection),
    Stack(Protection),
    /// Made from a label's value: no stack is declared for it.
    Label,
    Unclaimed,
}

impl GroupKind {
    pub fn word(self) -> &'static str {
        match self {
            Self::Harness(Protection::Removable) => "harness",
            Self::Harness(Protection::Protected) => "harness, protected",
            Self::Stack(Protection::Removable) => "may be removed",
            Self::Stack(Protection::Protected) | Self::Label => "protected",
            Self::Unclaimed => "unclaimed",
        }
    }

    /// Why nothing of it may be torn down, where that is so.
    pub fn refusal(self) -> Option<&'static str> {
        match self {
            Self::Harness(Protection::Removable) | Self::Stack(Protection::Removable) => None,
            Self::Harness(Protection::Protected) | Self::Stack(Protection::Protected) => Some(
                "It is protected: its [[stack]] in tackroom.toml does not say teardown = true.",
            ),
            Self::Label => Some("No [[stack]] in tackroom.toml declares it, so it is protected."),
            Self::Unclaimed => Some("No stack claims these containers, so nobody may remove them."),
        }
    }
}

/// A row of the tree as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// An index of a group.
    Group(usize),
    Container {
        container: usize,
        group: usize,
    },
}

impl Group {
    pub fn len(&self) -> usize {
        self.members.len()
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

/// A container's lines go by its name, which a container made anew takes over.
pub fn source_of(container: &Container) -> SourceId {
    SourceId(container.name.as_str().into())
}

impl Tree {
    /// Shows the declared stacks before the engine is heard.
    pub fn declare(&mut self, scope: &Scope, harness: &[StackName]) {
        self.groups = group(&[], scope, harness);
        self.rebuild();
    }

    /// Takes the list as it is now; the cursor stays on the row that it was on, if that is there.
    pub fn set(&mut self, containers: Arc<[Container]>, scope: &Scope, harness: &[StackName]) {
        let selected = match self.absent() {
            Some(name) => Some(Key::Container(name.to_owned())),
            None => self.selected_key(),
        };
        // A container that has gone leaves the cursor in its group.
        let group_of_it = self
            .selected_group()
            .map(|group| Key::Group(group.name.clone()));
        self.heard = true;
        self.out_of_memory
            .retain(|id| containers.iter().any(|container| container.id == *id));
        self.groups = group(&containers, scope, harness);
        self.containers = containers;
        self.rebuild();
        let found = selected.as_ref().and_then(|key| self.find(key));
        let at = found.or_else(|| group_of_it.and_then(|key| self.find(&key)));
        let last = self.rows.len().saturating_sub(1);
        self.cursor
            .go(at.unwrap_or_else(|| self.cursor.at().min(last)));
        self.absent = match selected {
            Some(Key::Container(name)) if found.is_none() => Some(Absent {
                name,
                instead: self.selected_key(),
            }),
            _ => None,
        };
    }

    /// The name of the selected container, where it is not there now.
    fn absent(&self) -> Option<&str> {
        let absent = self.absent.as_ref()?;
        (self.selected_key() == absent.instead).then_some(&*absent.name)
    }

    fn rebuild(&mut self) {
        self.rows.clear();
        for (index, group) in self.groups.iter().enumerate() {
            self.rows.push(Row::Group(index));
            if !self.folded.contains(&group.name) {
                let members = group.members.iter();
                self.rows.extend(members.map(|container| Row::Container {
                    container: *container,
                    group: index,
                }));
            }
        }
    }

    fn selected_key(&self) -> Option<Key> {
        self.key(self.rows.get(self.cursor.at())?)
    }

    fn key(&self, row: &Row) -> Option<Key> {
        Some(match row {
            Row::Group(index) => Key::Group(self.groups.get(*index)?.name.clone()),
            Row::Container { container, .. } => {
                Key::Container(self.containers.get(*container)?.name.clone())
            }
        })
    }

    fn find(&self, key: &Key) -> Option<usize> {
        self.rows
            .iter()
            .position(|row| self.key(row).as_ref() == Some(key))
    }

    pub fn heard(&self) -> bool {
        self.heard
    }

    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub fn containers(&self) -> &[Container] {
        &self.containers
    }

    pub fn group(&self, index: usize) -> Option<&Group> {
        self.groups.get(index)
    }

    pub fn group_named(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| &*group.name == name)
    }

    /// The containers that are shown under a stack.
    pub fn containers_of(&self, stack: &str) -> impl Iterator<Item = &Container> {
        let members = self.group_named(stack).map(|group| &*group.members);
        members
            .unwrap_or_default()
            .iter()
            .filter_map(|index| self.containers.get(*index))
    }

    pub fn is_folded(&self, group: &Group) -> bool {
        self.folded.contains(&group.name)
    }

    pub fn selected(&self) -> Option<&Row> {
        self.rows.get(self.cursor.at())
    }

    pub fn selected_container(&self) -> Option<&Container> {
        match self.selected()? {
            Row::Container { container, .. } => self.containers.get(*container),
            Row::Group(_) => None,
        }
    }

    pub fn selected_group(&self) -> Option<&Group> {
        match self.selected()? {
            Row::Group(index) | Row::Container { group: index, .. } => self.groups.get(*index),
        }
    }

    pub fn container(&self, name: &SourceId) -> Option<&Container> {
        self.containers
            .iter()
            .find(|container| container.name == *name.0)
    }

    /// Folds or unfolds the group of the selected row. The cursor goes to the group.
    pub fn fold(&mut self, fold: bool) {
        let Some(name) = self.selected_group().map(|group| group.name.clone()) else {
            return;
        };
        if fold {
            self.folded.insert(name.clone());
        } else {
            self.folded.remove(&name);
        }
        self.rebuild();
        if let Some(at) = self.find(&Key::Group(name)) {
            self.cursor.go(at);
        }
    }

    /// Marks or unmarks the selected container, or all of the selected group: a group that is
    /// marked in part becomes marked in whole.
    pub fn toggle_mark(&mut self) {
        let names: Vec<SourceId> = match self.selected() {
            Some(Row::Container { .. }) => self
                .selected_container()
                .map(source_of)
                .into_iter()
                .collect(),
            Some(Row::Group(index)) => self.members(*index),
            None => return,
        };
        if names.iter().all(|name| self.marks.contains(name)) {
            for name in &names {
                self.marks.remove(name);
            }
        } else {
            self.marks.extend(names);
        }
    }

    fn members(&self, group: usize) -> Vec<SourceId> {
        let members = self.groups.get(group).map(|group| &*group.members);
        members
            .unwrap_or_default()
            .iter()
            .filter_map(|index| self.containers.get(*index).map(source_of))
            .collect()
    }

    pub fn is_marked(&self, name: &SourceId) -> bool {
        self.marks.contains(name)
    }

    pub fn marks(&self) -> usize {
        self.marks.len()
    }

    /// Whether there were any.
    pub fn clear_marks(&mut self) -> bool {
        !std::mem::take(&mut self.marks).is_empty()
    }

    /// Whose logs are wanted: what is marked; else the selected container, or all of the selected
    /// group. In the order of the tree.
    pub fn log_sources(&self) -> Vec<SourceId> {
        if !self.marks.is_empty() {
            return self.marks.iter().cloned().collect();
        }
        if let Some(name) = self.absent() {
            return vec![SourceId(name.into())];
        }
        match self.selected() {
            Some(Row::Group(index)) => self.members(*index),
            _ => self
                .selected_container()
                .map(source_of)
                .into_iter()
                .collect(),
        }
    }

    /// The engine's own flag is reset by a restart, its event is not.
    pub fn ran_out_of_memory(&mut self, id: &ContainerId) {
        self.out_of_memory.insert(id.clone());
    }

    pub fn is_out_of_memory(&self, container: &Container) -> bool {
        let inspected = container.detail.as_ref().is_some_and(|d| d.oom_killed);
        inspected || self.out_of_memory.contains(&container.id)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Key {
    Group(StackName),
    Container(String),
}

/// The harness first, in the order of its stacks, then the other stacks as declared, then groups made from a label, and what
/// nobody claims. Declared stacks are there even if nothing of them is.
fn group(containers: &[Container], scope: &Scope, harness: &[StackName]) -> Vec<Group> {
    let mut declared: Vec<Group> = scope
        .stacks
        .iter()
        .map(|stack| Group {
            name: stack.name.clone(),
            kind: if harness.contains(&stack.name) {
                GroupKind::Harness(stack.protection)
            } else {
                GroupKind::Stack(stack.protection)
            },
            members: Vec::new(),
            up: 0,
        })
        .collect();
    declared.sort_by_key(|group| {
        let place = harness.iter().position(|name| *name == group.name);
        place.unwrap_or(harness.len())
    });
    let mut labels: BTreeMap<StackName, Vec<usize>> = BTreeMap::new();
    let mut unclaimed = Vec::new();
    for (index, container) in containers.iter().enumerate() {
        match scope.place(&container.labels) {
            Placement::Stack(name) => assign(&mut declared, &name, index),
            Placement::Several(names) => {
                if let Some(name) = names.first() {
                    assign(&mut declared, name, index);
                }
            }
            Placement::Group(name) => labels.entry(name).or_default().push(index),
            Placement::Unclaimed => unclaimed.push(index),
            Placement::Outside => {}
        }
    }
    let made = |name: StackName, kind, members| Group {
        name,
        kind,
        members,
        up: 0,
    };
    declared.extend(
        labels
            .into_iter()
            .map(|(name, members)| made(name, GroupKind::Label, members)),
    );
    if !unclaimed.is_empty() {
        declared.push(made("unclaimed".into(), GroupKind::Unclaimed, unclaimed));
    }
    for group in &mut declared {
        group.members.sort_by(|a, b| {
            let key = |index: &usize| containers.get(*index).map(|c| (c.title(), c.created));
            key(a).cmp(&key(b))
        });
        let alive = |index: &&usize| containers.get(**index).is_some_and(|c| c.state.is_alive());
        group.up = group.members.iter().filter(alive).count();
    }
    declared
}

fn assign(groups: &mut [Group], name: &str, container: usize) {
    if let Some(group) = groups.iter_mut().find(|group| &*group.name == name) {
        group.members.push(container);
    }
}
