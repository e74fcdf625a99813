//! What belongs to a stack: whatever one of several selectors matches.

use std::fmt;

use super::label::Labels;
use super::selector::Selector;

/// A non-empty list of selectors, ANY of which may match; each of them is a set of conditions ALL
/// of which must. A stack's engines and the services that spawned them need not share a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    first: Selector,
    also: Vec<Selector>,
}

impl Claims {
    pub fn new(first: Selector, also: impl IntoIterator<Item = Selector>) -> Self {
        Self {
            first,
            also: also.into_iter().collect(),
        }
    }

    /// The selector that names the stack; what is left without a container is compared with it.
    pub fn first(&self) -> &Selector {
        &self.first
    }

    pub fn selectors(&self) -> impl Iterator<Item = &Selector> {
        std::iter::once(&self.first).chain(&self.also)
    }

    pub fn matches(&self, labels: &Labels) -> bool {
        self.selectors().any(|selector| selector.matches(labels))
    }
}

impl From<Selector> for Claims {
    fn from(selector: Selector) -> Self {
        Self::new(selector, [])
    }
}

impl fmt::Display for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, selector) in self.selectors().enumerate() {
            if index > 0 {
                f.write_str(", or ")?;
            }
            write!(f, "{selector}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(conditions: &[&str]) -> Selector {
        Selector::from_conditions(conditions.iter().map(|c| c.parse().unwrap())).unwrap()
    }

    #[test]
    fn one_selector_is_enough_and_half_of_two_is_not() {
        let claims = Claims::new(selector(&["a=1", "b=1"]), [selector(&["c=1", "d=1"])]);
        let labels = |pairs: &[(&str, &str)]| -> Labels {
            let own = |text: &str| text.to_owned();
            pairs.iter().map(|(k, v)| (own(k), own(v))).collect()
        };
        assert!(claims.matches(&labels(&[("c", "1"), ("d", "1")])));
        assert!(!claims.matches(&labels(&[("a", "1"), ("d", "1")])));
        assert_eq!(claims.to_string(), "a=1 AND b=1, or c=1 AND d=1");
    }
}
