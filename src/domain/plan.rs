//! What a teardown would remove, and spare, with reasons.
//!
//! The preview is the act: [`TeardownPlan`] becomes [`ConfirmedPlan`] only with the fingerprint
//! that the user saw, and executing takes nothing else.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::claims::Claims;
use super::container::State;
use super::label::Labels;
use super::run::Seconds;
use super::scope::StackName;
use super::selector::Selector;

/// The order is the order of removal: what is attached goes before what it is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ItemKind {
    Container,
    Network,
    Volume,
    /// A directory on the engine's host that was bound into a container.
    StateDir,
}

impl ItemKind {
    pub fn word(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Network => "network",
            Self::Volume => "volume",
            Self::StateDir => "state dir",
        }
    }
}

/// One object of the engine, pinned so that it can be recognised again before it is removed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    pub kind: ItemKind,
    pub name: String,
    /// The engine's id; a volume has none but its name, a directory its device and inode.
    pub id: String,
    pub created: Option<Timestamp>,
    pub labels: Labels,
    /// For people: the image of a container, the state it is in. Not part of the identity.
    pub image: Option<String>,
    pub state: Option<String>,
}

impl Item {
    /// Whether it is in this state, as [`super::container::Container::state_words`] says it.
    pub fn is(&self, state: State) -> bool {
        let words = self.state.as_deref().unwrap_or_default();
        words.split(", ").next() == Some(state.word())
    }
}

/// Something that the plan leaves alone although a user might expect it to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spared {
    pub item: Item,
    pub reason: SpareReason,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpareReason {
    /// It belongs to another stack.
    OtherStack { name: StackName, protected: bool },
    /// Several stacks match it: nobody may remove it.
    SeveralStacks(Vec<StackName>),
    /// In the family, but no stack matches it.
    Unclaimed,
    /// It is the stack's own, and something outside the plan uses it.
    InUse { by: String },
    /// Another run made it, too short a time ago to take it from that run.
    OtherRun { run: String, age: Duration },
    /// It is the stack's own, and something that is spared for another run uses it.
    InUseByOtherRun { by: String },
    /// Another checkout uses the same compose project name, so the label does not say whose it is.
    ForeignProject { working_dir: String },
    /// It carries the name of the compose project and nothing that tells this checkout from another.
    ProjectNameOnly,
    /// A directory that no container uses any more and that does not say whose it is.
    Ownerless,
}

impl SpareReason {
    /// Whether it stays because another run may be at work on it: no mistake, and not left behind.
    pub fn is_of_other_run(&self) -> bool {
        matches!(self, Self::OtherRun { .. } | Self::InUseByOtherRun { .. })
    }
}

impl fmt::Display for SpareReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherStack { name, protected } if *protected => {
                write!(f, "belongs to {name}, which is protected")
            }
            Self::OtherStack { name, .. } => write!(f, "belongs to {name}"),
            Self::SeveralStacks(names) => {
                f.write_str("matched by several stacks: ")?;
                f.write_str(&names.iter().map(|n| &**n).collect::<Vec<_>>().join(", "))
            }
            Self::Unclaimed => f.write_str("no stack claims it"),
            Self::ProjectNameOnly => f.write_str(
                "only the project's name matches; put {checkout} into `project` to claim it",
            ),
            Self::Ownerless => f.write_str("no container uses it, and it does not say whose it is"),
            Self::OtherRun { run, age } => {
                write!(f, "run {run} made it {} ago", Seconds(*age))
            }
            Self::InUseByOtherRun { by } => write!(f, "{by} of another run uses it"),
            Self::InUse { by } => write!(f, "{by} uses it"),
            Self::ForeignProject { working_dir } => {
                write!(f, "{working_dir} uses the same project name")
            }
        }
    }
}

/// What would happen to one stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TeardownPlan {
    pub stack: StackName,
    pub claims: Claims,
    /// Containers that it matches go before the others.
    pub spawner: Option<Selector>,
    /// The hook that runs first, as people would type it.
    pub hook: Option<String>,
    /// In the order of removal.
    pub remove: Vec<Item>,
    pub spare: Vec<Spared>,
}

/// Twelve hexadecimal digits over what a plan removes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// As typed by a user; compared, never trusted.
    pub fn typed(text: &str) -> Self {
        Self(text.trim().to_ascii_lowercase())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The plan is not the one that was confirmed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the plan changed: you confirmed {confirmed}, it is now {current}")]
pub struct PlanChanged {
    pub confirmed: Fingerprint,
    pub current: Fingerprint,
}

/// A plan that a person, or an invocation that said so, has confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfirmedPlan(TeardownPlan);

impl TeardownPlan {
    /// Identifies what would be removed: stack, claims, hook, and kind, id and creation time of
    /// each item. State and order do not matter, so a container that merely stops changes nothing.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut items: Vec<&Item> = self.remove.iter().collect();
        items.sort();
        let mut hash = Sha256::new();
        let mut field = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        };
        field(&self.stack);
        field(&self.claims.to_string());
        field(self.hook.as_deref().unwrap_or_default());
        for item in items {
            field(item.kind.word());
            field(&item.id);
            field(&item.name);
            field(&item.created.map(|at| at.to_string()).unwrap_or_default());
        }
        let hex: String = hash
            .finalize()
            .iter()
            .take(6)
            .map(|b| format!("{b:02x}"))
            .collect();
        Fingerprint(hex)
    }

    pub fn is_empty(&self) -> bool {
        self.remove.is_empty()
    }

    /// What stays because another run may be at work on it.
    pub fn left_to_others(&self) -> impl Iterator<Item = &Spared> {
        self.spare
            .iter()
            .filter(|spared| spared.reason.is_of_other_run())
    }

    /// What people should know before they confirm: that somebody may still use what goes.
    pub fn warning(&self) -> Option<String> {
        let containers = self
            .remove
            .iter()
            .filter(|item| item.kind == ItemKind::Container);
        let all = containers.clone().count();
        let running = containers.filter(|item| item.is(State::Running)).count();
        match (running, all) {
            (0, _) => None,
            (1, 1) => Some("the container is running".to_owned()),
            (1, _) => Some(format!("1 of {all} containers is running")),
            _ => Some(format!("{running} of {all} containers are running")),
        }
    }

    /// Several plans to be looked at as one, under a name that no stack has; `None` without any.
    /// What one removes another does not spare. It is for people and its fingerprint for
    /// confirmation: what is carried out is each of the plans.
    pub fn joined(name: StackName, plans: &[Self]) -> Option<Self> {
        let first = plans.first()?;
        let selectors = plans.iter().flat_map(|plan| plan.claims.selectors());
        let mut remove: Vec<Item> = plans.iter().flat_map(|plan| plan.remove.clone()).collect();
        // Stable: within a kind the order stays that of the plans.
        remove.sort_by_key(|item| item.kind);
        let mut seen = HashSet::new();
        remove.retain(|item| seen.insert((item.kind, item.id.clone())));
        let goes = |item: &Item| remove.iter().any(|other| other.id == item.id);
        let mut spare: Vec<Spared> = Vec::new();
        for spared in plans.iter().flat_map(|plan| &plan.spare) {
            let known = spare.iter().any(|other| other.item.id == spared.item.id);
            if !known && !goes(&spared.item) {
                spare.push(spared.clone());
            }
        }
        Some(Self {
            stack: name,
            claims: Claims::new(first.claims.first().clone(), selectors.skip(1).cloned()),
            spawner: None,
            hook: plans.iter().find_map(|plan| plan.hook.clone()),
            remove,
            spare,
        })
    }

    pub fn confirm(self, seen: &Fingerprint) -> Result<ConfirmedPlan, PlanChanged> {
        let current = self.fingerprint();
        if current == *seen {
            Ok(ConfirmedPlan(self))
        } else {
            Err(PlanChanged {
                confirmed: seen.clone(),
                current,
            })
        }
    }
}

impl ConfirmedPlan {
    pub fn plan(&self) -> &TeardownPlan {
        &self.0
    }
}

/// What became of one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemOutcome {
    Removed,
    /// It was gone before we came; the aim is reached.
    Gone,
    /// It is not what the plan pinned any more (other labels, or made anew), so it stays.
    Changed {
        why: String,
    },
    Failed {
        why: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::label::Condition;

    fn item(kind: ItemKind, id: &str) -> Item {
        Item {
            kind,
            name: format!("n-{id}"),
            id: id.to_owned(),
            created: Some(Timestamp::UNIX_EPOCH),
            labels: Labels::new(),
            image: None,
            state: Some("running".to_owned()),
        }
    }

    fn plan(items: &[Item]) -> TeardownPlan {
        TeardownPlan {
            stack: "integration".into(),
            claims: Selector::new(Condition::equals("a", "1"), []).into(),
            spawner: None,
            hook: None,
            remove: items.to_vec(),
            spare: Vec::new(),
        }
    }

    #[test]
    fn a_plan_is_confirmed_by_its_own_fingerprint_only() {
        let seen = plan(&[item(ItemKind::Container, "1")]);
        let more = plan(&[
            item(ItemKind::Container, "1"),
            item(ItemKind::Container, "2"),
        ]);
        let fingerprint = seen.fingerprint();
        assert!(seen.confirm(&fingerprint).is_ok());
        assert!(more.confirm(&fingerprint).is_err());
    }

    #[test]
    fn the_fingerprint_is_of_what_goes_not_of_how_it_looks() {
        let one = item(ItemKind::Container, "1");
        let two = item(ItemKind::Volume, "2");
        let mut stopped = one.clone();
        stopped.state = Some("exited".to_owned());
        let mut remade = one.clone();
        remade.created = Some("2026-01-01T00:00:00Z".parse().unwrap());
        let first = plan(&[one.clone(), two.clone()]).fingerprint();
        assert_eq!(first, plan(&[two.clone(), stopped]).fingerprint());
        assert_ne!(first, plan(&[two.clone(), remade]).fingerprint());
        let mut hooked = plan(&[one, two]);
        hooked.hook = Some("./down.sh".to_owned());
        assert_ne!(first, hooked.fingerprint());
    }

    #[test]
    fn what_runs_is_warned_of() {
        let mut one = item(ItemKind::Container, "1");
        let mut two = item(ItemKind::Container, "2");
        let warning = |items: &[&Item]| {
            let items: Vec<Item> = items.iter().copied().cloned().collect();
            plan(&items).warning()
        };
        assert_eq!(warning(&[&one]).unwrap(), "the container is running");
        let network = item(ItemKind::Network, "1");
        let both = warning(&[&one, &two, &network]);
        assert_eq!(both.unwrap(), "2 of 2 containers are running");
        two.state = Some("exited, bind source gone".to_owned());
        one.state = Some("running, bind source gone".to_owned());
        let half = warning(&[&one, &two]);
        assert_eq!(half.unwrap(), "1 of 2 containers is running");
        assert_eq!(warning(&[&two, &network]), None);
    }

    #[test]
    fn joined_plans_name_each_object_once() {
        let [a, b, c] = ["1", "2", "3"].map(|id| item(ItemKind::Network, id));
        let spared = Spared {
            item: c.clone(),
            reason: SpareReason::Unclaimed,
        };
        let mut first = plan(&[a.clone(), b.clone()]);
        first.spare = vec![spared];
        let second = plan(&[c.clone(), a.clone()]);
        let joined = TeardownPlan::joined("all".into(), &[first, second]).unwrap();
        assert_eq!(joined.remove, [a, b, c]);
        assert_eq!(joined.spare, []);
        assert_eq!(TeardownPlan::joined("none".into(), &[]), None);
    }

    #[test]
    fn a_typed_fingerprint_may_have_capitals_and_spaces() {
        let plan = plan(&[item(ItemKind::Container, "1")]);
        let typed = Fingerprint::typed(&format!(
            " {}\n",
            plan.fingerprint().as_str().to_uppercase()
        ));
        assert!(plan.confirm(&typed).is_ok());
    }
}
