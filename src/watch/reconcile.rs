//! Lists and inspects into one table of rows: pure.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::domain::container::{Container, Detail, Health, State};
use crate::domain::event::EngineEvent;
use crate::domain::id::ContainerId;
use crate::domain::origins::{Findings, Subjects};
use crate::domain::scope::{Placement, Scope};

/// The rows of a scope, with the details that are known of them.
#[derive(Debug)]
pub(super) struct Table {
    scope: Arc<Scope>,
    rows: Vec<Container>,
    details: HashMap<ContainerId, Known>,
    /// Of what the containers were made from.
    findings: Findings,
}

/// What was inspected, and when that has to be done again.
#[derive(Debug, Default)]
struct Known {
    detail: Option<Detail>,
    /// The state in which the container was listed when it was inspected.
    fresh_for: Option<(State, Option<Health>)>,
    /// Counts what touched the container, so that an inspect that began before does not count.
    touched: u64,
}

/// An inspect that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) id: ContainerId,
    listed_as: (State, Option<Health>),
    touched: u64,
}

impl Table {
    pub(super) fn new(scope: Arc<Scope>) -> Self {
        Self {
            scope,
            rows: Vec::new(),
            details: HashMap::new(),
            findings: Findings::default(),
        }
    }

    pub(super) fn rows(&self) -> &[Container] {
        &self.rows
    }

    /// Takes the answers to all queries of the scope: one row per container, nothing from
    /// outside, in the order of the screen.
    pub(super) fn list(&mut self, answers: impl IntoIterator<Item = Container>) {
        let by_id: BTreeMap<ContainerId, Container> = answers
            .into_iter()
            .map(|container| (container.id.clone(), container))
            .collect();
        let mut rows: Vec<(Rank, Container)> = by_id
            .into_values()
            .filter_map(|mut container| {
                let rank = rank(&self.scope, &container)?;
                let known = self.details.get(&container.id);
                container.detail = known.and_then(|known| known.detail.clone());
                container.origins = self.findings.origins(&container);
                Some((rank, container))
            })
            .collect();
        rows.sort_by(|(a_rank, a), (b_rank, b)| {
            (a_rank, a.title(), &a.name, &a.id).cmp(&(b_rank, b.title(), &b.name, &b.id))
        });
        self.rows = rows.into_iter().map(|(_, container)| container).collect();
        let rows = &self.rows;
        self.details
            .retain(|id, _| rows.iter().any(|row| row.id == *id));
    }

    /// Whether an event is about a container of the scope. Some engines leave the labels out of
    /// some events, so a row of ours counts as well.
    pub(super) fn concerns(&self, event: &EngineEvent) -> bool {
        self.scope.place(&event.labels) != Placement::Outside
            || self.rows.iter().any(|row| row.id == event.container)
    }

    /// Something happened to the container: what is known of it is out of date.
    pub(super) fn touch(&mut self, id: &ContainerId) {
        let known = self.details.entry(id.clone()).or_default();
        known.touched += 1;
        known.fresh_for = None;
    }

    /// Events may have been missed: everything is out of date.
    pub(super) fn touch_all(&mut self) {
        for known in self.details.values_mut() {
            known.touched += 1;
            known.fresh_for = None;
        }
    }

    /// What has to be inspected, in the order of the screen.
    pub(super) fn wanted(&self) -> impl Iterator<Item = Wanted> {
        self.rows.iter().filter_map(|row| {
            let listed_as = (row.state, row.health);
            let known = self.details.get(&row.id);
            let fresh = known.is_some_and(|known| known.fresh_for == Some(listed_as));
            (!fresh).then(|| Wanted {
                id: row.id.clone(),
                listed_as,
                touched: known.map_or(0, |known| known.touched),
            })
        })
    }

    /// Takes the answer to an inspect; `None` if there was none, which is not asked again until
    /// something touches the container.
    pub(super) fn inspected(&mut self, wanted: &Wanted, detail: Option<Detail>) {
        let Some(row) = self.rows.iter_mut().find(|row| row.id == wanted.id) else {
            return;
        };
        let known = self.details.entry(wanted.id.clone()).or_default();
        if known.touched == wanted.touched {
            known.fresh_for = Some(wanted.listed_as);
        }
        if detail.is_some() {
            row.detail.clone_from(&detail);
            known.detail = detail;
            row.origins = self.findings.origins(row);
        }
    }

    /// What has to be looked for to know the origins of all rows.
    pub(super) fn subjects(&self) -> Subjects {
        Subjects::of(&self.rows)
    }

    /// Takes what was found about them.
    pub(super) fn found(&mut self, findings: Findings) {
        self.findings = findings;
        for row in &mut self.rows {
            row.origins = self.findings.origins(row);
        }
    }

    /// Whether something that a container was made from is gone, as far as is known.
    pub(super) fn is_broken(&self, id: &ContainerId) -> bool {
        let row = self.rows.iter().find(|row| row.id == *id);
        row.is_some_and(|row| !row.origins.is_whole())
    }
}

/// Declared stacks in the order of their declaration, then groups by name, then the rest.
type Rank = (usize, Option<String>);

fn rank(scope: &Scope, container: &Container) -> Option<Rank> {
    let declared = |name: &str| {
        scope
            .stacks
            .iter()
            .position(|stack| &*stack.name == name)
            .unwrap_or(scope.stacks.len())
    };
    match scope.place(&container.labels) {
        Placement::Stack(name) => Some((declared(&name), None)),
        Placement::Several(names) => Some((names.first().map_or(0, |name| declared(name)), None)),
        Placement::Group(name) => Some((scope.stacks.len(), Some(name.to_string()))),
        Placement::Unclaimed => Some((scope.stacks.len() + 1, None)),
        Placement::Outside => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::Action;
    use crate::domain::label::Labels;
    use crate::domain::scope::{Protection, Stack};
    use crate::domain::selector::Selector;
    use jiff::Timestamp;

    fn selector(conditions: &[&str]) -> Selector {
        Selector::from_conditions(conditions.iter().map(|c| c.parse().unwrap())).unwrap()
    }

    fn scope() -> Arc<Scope> {
        let stack = |name: &str| Stack {
            name: name.into(),
            claims: selector(&["family=1", &format!("stack={name}")]).into(),
            spawner: None,
            state_dirs: Vec::new(),
            protection: Protection::Protected,
            compose_project: None,
            run_guard: None,
        };
        Arc::new(Scope {
            families: vec![selector(&["family=1"])],
            stacks: vec![stack("web"), stack("db")],
            group_by: None,
        })
    }

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn container(name: &str, pairs: &[(&str, &str)]) -> Container {
        Container {
            name: name.to_owned(),
            labels: labels(pairs),
            ..Container::bare(&format!("id-{name}"))
        }
    }

    fn names(table: &Table) -> Vec<&str> {
        table.rows().iter().map(|row| row.name.as_str()).collect()
    }

    fn wanted(table: &Table) -> Vec<Wanted> {
        table.wanted().collect()
    }

    #[test]
    fn rows_stand_by_stack_and_title_each_once_and_without_strangers() {
        let mut table = Table::new(scope());
        let db = [("family", "1"), ("stack", "db")];
        let web = [("family", "1"), ("stack", "web")];
        table.list([
            container("stray", &[("family", "1")]),
            container("postgres", &db),
            container("nginx", &web),
            container("api", &web),
            container("api", &web),
            container("foreign", &[("stack", "web")]),
        ]);
        assert_eq!(names(&table), ["api", "nginx", "postgres", "stray"]);
    }

    #[test]
    fn a_detail_is_asked_for_once_and_kept_through_lists() {
        let mut table = Table::new(scope());
        let row = || container("a", &[("family", "1")]);
        table.list([row()]);
        let asked = wanted(&table);
        assert_eq!(asked.len(), 1);
        table.inspected(&asked[0], Some(Detail::default()));
        assert_eq!(wanted(&table), []);
        table.list([row()]);
        assert_eq!(table.rows()[0].detail, Some(Detail::default()));
        assert_eq!(wanted(&table), []);
        table.list([Container {
            state: State::Exited,
            ..row()
        }]);
        assert_eq!(wanted(&table).len(), 1, "another state");
    }

    #[test]
    fn an_event_during_an_inspect_asks_for_another() {
        let mut table = Table::new(scope());
        table.list([container("a", &[("family", "1")])]);
        let asked = wanted(&table);
        table.touch(&asked[0].id);
        table.inspected(&asked[0], Some(Detail::default()));
        assert!(table.rows()[0].detail.is_some(), "it is shown all the same");
        let again = wanted(&table);
        assert_eq!(again.len(), 1);
        table.inspected(&again[0], None);
        assert_eq!(wanted(&table), [], "a failure is not repeated");
        table.touch_all();
        assert_eq!(wanted(&table).len(), 1);
    }

    #[test]
    fn details_go_with_their_row() {
        let mut table = Table::new(scope());
        let row = || container("a", &[("family", "1")]);
        table.list([row()]);
        let asked = wanted(&table);
        table.inspected(&asked[0], Some(Detail::default()));
        table.list([]);
        table.inspected(&asked[0], Some(Detail::default()));
        table.list([row()]);
        assert_eq!(table.rows()[0].detail, None);
    }

    #[test]
    fn events_of_strangers_do_not_concern_us() {
        let mut table = Table::new(scope());
        table.list([container("a", &[("family", "1")])]);
        let event = |id: &str, pairs: &[(&str, &str)]| EngineEvent {
            at: Timestamp::UNIX_EPOCH,
            container: ContainerId::new(id),
            name: String::new(),
            labels: labels(pairs),
            action: Action::Started,
        };
        assert!(table.concerns(&event("new", &[("family", "1")])));
        assert!(table.concerns(&event("id-a", &[])));
        assert!(!table.concerns(&event("new", &[("family", "2")])));
    }
}
