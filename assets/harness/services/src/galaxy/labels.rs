//! Labels of containers and of state roots: what says whose something is.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// On every engine that a backend spawned.
pub const BACKEND: &str = "galaxy.backend";
/// The stack that the backend belongs to.
pub const STACK: &str = "galaxy.stack";
/// What a container is in its stack.
pub const ROLE: &str = "galaxy.role";
/// The game that an engine plays.
pub const GAME: &str = "galaxy.game";

/// Keys with their values. As text: `key=value`, separated by commas.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels(BTreeMap<String, String>);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a label: {0:?}; they look like key=value,key=value")]
pub struct NotALabel(String);

impl Labels {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        self.0.insert(key.to_owned(), value.into());
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    /// Whether all of `wanted` are here, with these values.
    #[must_use]
    pub fn satisfy(&self, wanted: &Self) -> bool {
        wanted
            .0
            .iter()
            .all(|(key, value)| self.0.get(key) == Some(value))
    }

    /// One `key=value` a line.
    #[must_use]
    pub fn to_lines(&self) -> String {
        self.iter()
            .map(|(key, value)| format!("{key}={value}\n"))
            .collect()
    }

    /// Reads what [`Self::to_lines`] wrote.
    ///
    /// # Errors
    /// A line without a key.
    pub fn from_lines(text: &str) -> Result<Self, NotALabel> {
        parse(text.lines())
    }
}

impl FromIterator<(String, String)> for Labels {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(pairs: T) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl FromStr for Labels {
    type Err = NotALabel;

    fn from_str(text: &str) -> Result<Self, NotALabel> {
        parse(text.split(','))
    }
}

fn parse<'a>(items: impl Iterator<Item = &'a str>) -> Result<Labels, NotALabel> {
    items
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(|item| match item.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
            _ => Err(NotALabel(item.to_owned())),
        })
        .collect()
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (key, value)) in self.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{key}={value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Labels {
        text.parse().unwrap()
    }

    #[test]
    fn all_of_them_must_match() {
        let engine = labels("galaxy.backend=1,galaxy.stack=dev-deploy");
        assert!(engine.satisfy(&labels("galaxy.backend=1")));
        assert!(engine.satisfy(&engine));
        assert!(!engine.satisfy(&labels("galaxy.backend=1,galaxy.stack=integration")));
        assert!(!labels("galaxy.backend=1").satisfy(&engine));
        assert!(!labels("galaxy.stack=dev").satisfy(&labels("galaxy.stack=dev-deploy")));
    }

    #[test]
    fn lines_and_lists_are_read_back() {
        let one = labels(" b=2 ,a=1=1,, ");
        assert_eq!(one.to_string(), "a=1=1,b=2");
        assert_eq!(Labels::from_lines(&one.to_lines()).unwrap(), one);
        for wrong in ["a", "=1", "a=1,b"] {
            assert!(wrong.parse::<Labels>().is_err(), "{wrong:?}");
        }
    }
}
