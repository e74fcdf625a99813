//! Labels of engine objects, and one condition on them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// The labels of a container, network or volume.
pub type Labels = BTreeMap<String, String>;

/// Compose writes these on what it creates; together the first two name one checkout's project.
pub const COMPOSE_PROJECT: &str = "com.docker.compose.project";
pub const COMPOSE_WORKING_DIR: &str = "com.docker.compose.project.working_dir";
pub const COMPOSE_SERVICE: &str = "com.docker.compose.service";

/// One term of a selector: a label that must be there, with that value if one is given.
///
/// Written `key=value` or `key`, as the engine's own `label` filter reads it: the first `=`
/// divides, and `key=` asks for an empty value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Condition {
    pub key: String,
    pub value: Option<String>,
}

impl Condition {
    pub fn equals(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            value: Some(value.into()),
        }
    }

    pub fn present(key: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            value: None,
        }
    }

    pub fn matches(&self, labels: &Labels) -> bool {
        labels
            .get(&self.key)
            .is_some_and(|value| self.value.as_ref().is_none_or(|wanted| wanted == value))
    }

    /// Whether everything that this condition accepts is accepted by `other` as well.
    pub fn implies(&self, other: &Self) -> bool {
        self.key == other.key && (other.value.is_none() || other.value == self.value)
    }
}

/// A label condition without a key, or with white space around it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a label condition: write key=value, or key alone")]
pub struct ConditionError(pub String);

impl FromStr for Condition {
    type Err = ConditionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (text, None),
        };
        if key.is_empty() || key.trim() != key {
            return Err(ConditionError(text.to_owned()));
        }
        Ok(Self {
            key: key.to_owned(),
            value,
        })
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}={value}", self.key),
            None => f.write_str(&self.key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn a_condition_reads_as_the_engine_reads_it() {
        let parsed: Condition = "a=b=c".parse().unwrap();
        assert_eq!(parsed, Condition::equals("a", "b=c"));
        assert_eq!("a".parse(), Ok(Condition::present("a")));
        assert_eq!("a=".parse(), Ok(Condition::equals("a", "")));
        for bad in ["", "=x", " a=b", "a =b"] {
            assert!(bad.parse::<Condition>().is_err(), "{bad:?}");
        }
        assert_eq!(parsed.to_string(), "a=b=c");
    }

    #[test]
    fn presence_is_not_the_empty_value() {
        let present = Condition::present("a");
        let empty = Condition::equals("a", "");
        assert!(present.matches(&labels(&[("a", "1")])));
        assert!(!empty.matches(&labels(&[("a", "1")])));
        assert!(empty.matches(&labels(&[("a", "")])));
        assert!(!present.matches(&labels(&[("b", "1")])));
        assert!(empty.implies(&present));
        assert!(!present.implies(&empty));
    }
}
