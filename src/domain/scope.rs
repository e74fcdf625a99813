//! What tackroom looks at: the family, the declared stacks, and where a container belongs.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::claims::Claims;
use super::id::RunId;
use super::label::{Condition, Labels};
use super::selector::Selector;

/// The name of a stack as people type it.
pub type StackName = Arc<str>;

/// A named selection, and whether tackroom may remove what it matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    pub name: StackName,
    pub claims: Claims,
    /// What of it makes new containers. It is removed before the others, which would come back.
    pub spawner: Option<Selector>,
    /// Globs of absolute paths on the engine's host: directories that go with their container.
    pub state_dirs: Vec<String>,
    pub protection: Protection,
    /// The compose project behind the selector. Networks and volumes carry its label too, but
    /// not the working directory, so a plan needs it to claim them.
    pub compose_project: Option<ComposeProject>,
    /// Keeps sessions apart that work on the same stack; `None`: the labels above say it all.
    pub run_guard: Option<RunGuard>,
}

/// What other runs have just made is left to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunGuard {
    /// The label whose value is the id of the run that made an object.
    pub label: String,
    /// From this age on it counts as left behind, whoever made it.
    pub min_age: Duration,
}

/// Who asks for a teardown, and when.
#[derive(Clone, Debug)]
pub struct Asker {
    /// What carries the id of this run is its own. `None`: all runs are others.
    pub run: Option<RunId>,
    pub now: Timestamp,
    /// Whatever other runs have made, however young.
    pub any_age: bool,
}

impl Asker {
    /// Somebody at a keyboard, who is at work on no run.
    pub fn by_hand(now: Timestamp, any_age: bool) -> Self {
        Self {
            run: None,
            now,
            any_age,
        }
    }
}

impl RunGuard {
    /// The other run that made an object, and how long ago, where that is too short a time for the
    /// object to be taken from it. An object from the future is young: clocks differ.
    pub fn keeps(
        &self,
        labels: &Labels,
        created: Option<Timestamp>,
        asker: &Asker,
    ) -> Option<(String, Duration)> {
        let run = labels.get(&self.label).filter(|run| !run.is_empty())?;
        if asker.any_age || asker.run.as_ref().is_some_and(|own| own.as_str() == run) {
            return None;
        }
        // What does not say when it was made may have been made just now.
        let age = created.map_or(Duration::ZERO, |created| {
            Duration::try_from(asker.now.duration_since(created)).unwrap_or_default()
        });
        (age < self.min_age).then(|| (run.clone(), age))
    }
}

/// A compose project's name, and how much it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComposeProject {
    pub name: String,
    /// The name holds this checkout's digits, so nobody else's objects carry it.
    pub unique: bool,
}

/// Protected is what a stack is unless its configuration says `teardown = true`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    Protected,
    Removable,
}

/// Everything that is listed: what matches one of the families, and every declared stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    pub families: Vec<Selector>,
    pub stacks: Vec<Stack>,
    /// Without declared stacks, containers are grouped by the value of this label; such groups
    /// are always protected.
    pub group_by: Option<String>,
}

/// What several stacks are called together, such as `tenant+integration`; `None` without any.
pub fn joined_name(stacks: &[StackName]) -> Option<StackName> {
    match stacks {
        [] => None,
        [only] => Some(only.clone()),
        several => Some(several.join("+").into()),
    }
}

/// Where a container belongs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Placement {
    /// In exactly one declared stack.
    Stack(StackName),
    /// Matched by several stacks: shown under the first, removed by none.
    Several(Vec<StackName>),
    /// In a group made from a label's value, where no stack is declared for it.
    Group(StackName),
    /// In the family and in no stack.
    Unclaimed,
    /// Not ours: never listed, never counted.
    Outside,
}

impl Placement {
    /// The group under which it is shown; `None` outside.
    pub fn group(&self) -> Option<&str> {
        match self {
            Self::Stack(name) | Self::Group(name) => Some(name),
            Self::Several(names) => names.first().map(|name| &**name),
            Self::Unclaimed => Some("unclaimed"),
            Self::Outside => None,
        }
    }
}

impl Scope {
    /// What is listed where nothing is declared: every compose project, all protected.
    pub fn compose_projects() -> Self {
        let project = Condition::present(super::label::COMPOSE_PROJECT);
        Self {
            families: vec![Selector::new(project, [])],
            stacks: Vec::new(),
            group_by: Some(super::label::COMPOSE_PROJECT.to_owned()),
        }
    }

    pub fn stack(&self, name: &str) -> Option<&Stack> {
        self.stacks.iter().find(|stack| &*stack.name == name)
    }

    pub fn place(&self, labels: &Labels) -> Placement {
        let mut names: Vec<StackName> = self
            .stacks
            .iter()
            .filter(|stack| stack.claims.matches(labels))
            .map(|stack| stack.name.clone())
            .collect();
        match names.len() {
            0 if self.in_family(labels) => self
                .group_by
                .as_ref()
                .and_then(|key| labels.get(key))
                .map_or(Placement::Unclaimed, |value| {
                    Placement::Group(value.as_str().into())
                }),
            0 => Placement::Outside,
            1 => Placement::Stack(names.swap_remove(0)),
            _ => Placement::Several(names),
        }
    }

    fn in_family(&self, labels: &Labels) -> bool {
        self.families.iter().any(|family| family.matches(labels))
    }

    /// The selectors that an engine must be asked for to see the whole scope, without those that
    /// another one covers.
    pub fn queries(&self) -> Vec<Selector> {
        let all: Vec<&Selector> = self
            .families
            .iter()
            .chain(
                self.stacks
                    .iter()
                    .flat_map(|stack| stack.claims.selectors()),
            )
            .collect();
        let mut wanted: Vec<Selector> = Vec::new();
        for (index, selector) in all.iter().enumerate() {
            let covered = all.iter().enumerate().any(|(other, wider)| {
                other != index
                    && selector.implies(wider)
                    && (other < index || !wider.implies(selector))
            });
            if !covered {
                wanted.push((*selector).clone());
            }
        }
        wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(conditions: &[&str]) -> Selector {
        Selector::from_conditions(conditions.iter().map(|c| c.parse().unwrap())).unwrap()
    }

    fn stack(name: &str, conditions: &[&str]) -> Stack {
        Stack {
            name: name.into(),
            claims: selector(conditions).into(),
            spawner: None,
            state_dirs: Vec::new(),
            protection: Protection::Protected,
            compose_project: None,
            run_guard: None,
        }
    }

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    fn galaxy() -> Scope {
        Scope {
            families: vec![selector(&["backend=1"])],
            stacks: vec![
                stack("integration", &["backend=1", "stack=integration"]),
                stack("dev", &["backend=1", "stack=dev"]),
                stack("tenant", &["project=tenant", "dir=/x"]),
            ],
            group_by: None,
        }
    }

    #[test]
    fn every_container_has_one_place() {
        let scope = galaxy();
        let place = |pairs: &[(&str, &str)]| scope.place(&labels(pairs));
        assert_eq!(
            place(&[("backend", "1"), ("stack", "dev")]),
            Placement::Stack("dev".into())
        );
        assert_eq!(place(&[("backend", "1")]), Placement::Unclaimed);
        assert_eq!(
            place(&[("backend", "1"), ("stack", "other")]),
            Placement::Unclaimed
        );
        assert_eq!(place(&[("stack", "dev")]), Placement::Outside);
        assert_eq!(place(&[("project", "tenant")]), Placement::Outside);
        assert_eq!(
            place(&[
                ("project", "tenant"),
                ("dir", "/x"),
                ("backend", "1"),
                ("stack", "dev")
            ]),
            Placement::Several(vec!["dev".into(), "tenant".into()])
        );
    }

    #[test]
    fn a_guard_keeps_what_another_run_has_just_made() {
        let guard = RunGuard {
            label: "run".to_owned(),
            min_age: Duration::from_secs(600),
        };
        let made = |second| Some(Timestamp::from_second(second).unwrap());
        let now = Timestamp::from_second(10_000).unwrap();
        let own = RunId::new(now, 1);
        let asker = Asker {
            run: Some(own.clone()),
            ..Asker::by_hand(now, false)
        };
        let theirs = labels(&[("run", "theirs")]);
        let age = |created, asker: &Asker| {
            let kept = guard.keeps(&theirs, created, asker);
            kept.map(|(run, age)| (run, age.as_secs()))
        };
        assert_eq!(age(made(9_401), &asker), Some(("theirs".to_owned(), 599)));
        assert_eq!(age(made(9_400), &asker), None);
        assert_eq!(age(made(10_005), &asker), Some(("theirs".to_owned(), 0)));
        // It may have been made just now.
        assert_eq!(age(None, &asker), Some(("theirs".to_owned(), 0)));
        assert_eq!(age(made(10_000), &Asker::by_hand(now, true)), None);
        for pairs in [&[("run", own.as_str())][..], &[("run", "")], &[]] {
            assert_eq!(guard.keeps(&labels(pairs), made(10_000), &asker), None);
        }
        let mine = labels(&[("run", own.as_str())]);
        let by_hand = Asker::by_hand(now, false);
        assert!(guard.keeps(&mine, made(10_000), &by_hand).is_some());
    }

    #[test]
    fn without_stacks_the_label_groups() {
        let scope = Scope::compose_projects();
        let labels = labels(&[(super::super::label::COMPOSE_PROJECT, "shop")]);
        assert_eq!(scope.place(&labels), Placement::Group("shop".into()));
    }

    #[test]
    fn a_covered_selector_is_not_asked_for() {
        let queries = galaxy().queries();
        assert_eq!(
            queries,
            [
                selector(&["backend=1"]),
                selector(&["project=tenant", "dir=/x"])
            ]
        );
        let twice = Scope {
            families: vec![selector(&["a=1"]), selector(&["a=1"])],
            ..Scope::default()
        };
        assert_eq!(twice.queries(), [selector(&["a=1"])]);
    }
}
