//! A non-empty set of label conditions, ALL of which must match.

use std::fmt;

use super::label::{Condition, Labels};

/// What decides which containers belong to a stack or a family.
///
/// It cannot be empty: "everything on this engine" cannot be written. Equal conditions are kept
/// once, and the order of writing does not matter to equality.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    first: Condition,
    rest: Vec<Condition>,
}

impl Selector {
    pub fn new(first: Condition, rest: impl IntoIterator<Item = Condition>) -> Self {
        let mut all: Vec<Condition> = std::iter::once(first.clone()).chain(rest).collect();
        all.sort();
        all.dedup();
        let mut all = all.into_iter();
        match all.next() {
            Some(first) => Self {
                first,
                rest: all.collect(),
            },
            None => Self {
                first,
                rest: Vec::new(),
            },
        }
    }

    /// `None` where there is no condition at all.
    pub fn from_conditions(conditions: impl IntoIterator<Item = Condition>) -> Option<Self> {
        let mut conditions = conditions.into_iter();
        let first = conditions.next()?;
        Some(Self::new(first, conditions))
    }

    pub fn conditions(&self) -> impl Iterator<Item = &Condition> {
        std::iter::once(&self.first).chain(&self.rest)
    }

    /// Whether ALL conditions hold.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.conditions().all(|condition| condition.matches(labels))
    }

    /// Whether everything that this selector matches is matched by `other` as well.
    pub fn implies(&self, other: &Self) -> bool {
        other
            .conditions()
            .all(|wanted| self.conditions().any(|have| have.implies(wanted)))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, condition) in self.conditions().enumerate() {
            if index > 0 {
                f.write_str(" AND ")?;
            }
            write!(f, "{condition}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn selector(conditions: &[&str]) -> Selector {
        Selector::from_conditions(conditions.iter().map(|c| c.parse().unwrap())).unwrap()
    }

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn one_of_two_labels_is_not_enough() {
        let integration = selector(&["galaxy.backend=1", "galaxy.stack=integration"]);
        let dev = labels(&[("galaxy.backend", "1"), ("galaxy.stack", "dev-deploy")]);
        let bare = labels(&[("galaxy.backend", "1")]);
        let mine = labels(&[("galaxy.backend", "1"), ("galaxy.stack", "integration")]);
        assert!(!integration.matches(&dev));
        assert!(!integration.matches(&bare));
        assert!(integration.matches(&mine));
    }

    #[test]
    fn an_empty_selector_cannot_be_made() {
        assert_eq!(Selector::from_conditions([]), None);
    }

    #[test]
    fn a_stack_implies_its_family() {
        let family = selector(&["galaxy.backend=1"]);
        let stack = selector(&["galaxy.stack=integration", "galaxy.backend=1"]);
        assert!(stack.implies(&family));
        assert!(!family.implies(&stack));
    }

    proptest! {
        #[test]
        fn implication_agrees_with_matching(
            a in proptest::collection::vec("[ab](=[01])?", 1..4),
            b in proptest::collection::vec("[ab](=[01])?", 1..4),
            pairs in proptest::collection::btree_map("[ab]", "[01]", 0..3),
        ) {
            let a = Selector::from_conditions(a.iter().map(|c| c.parse().unwrap())).unwrap();
            let b = Selector::from_conditions(b.iter().map(|c| c.parse().unwrap())).unwrap();
            if a.implies(&b) && a.matches(&pairs) {
                prop_assert!(b.matches(&pairs));
            }
        }
    }
}
