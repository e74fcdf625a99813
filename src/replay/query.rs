//! What a list of replays is narrowed down by: `proxy tag:postgres and not is:slow`.
//!
//! The words are those of the command line's patterns, the operators those of its tags.

use std::sync::Arc;

use super::expression::{ExpressionError, Node, parse};
use super::select::Matcher;
use super::selection::{SelectionError, check_suites, check_tags};
use crate::domain::replay::Replay;

/// Which replays are meant. A word is a pattern, `tag:` asks for a tag, `suite:` for a
/// suite and `is:` for a [`Trait`];
/// `and`, `or`, `not`, their signs and parentheses join them, and words side by side must all hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    text: String,
    root: Node<Term>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Term {
    Pattern(String),
    Tag(String),
    Suite(String),
    Is(Trait),
}

/// What is known of a replay, behind `is:`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trait {
    Failed,
    Passed,
    Skipped,
    Flaky,
    Slow,
    Leaky,
    /// No kept run had selected it.
    New,
    Marked,
}

impl Trait {
    pub const ALL: [Self; 8] = [
        Self::Failed,
        Self::Passed,
        Self::Skipped,
        Self::Flaky,
        Self::Slow,
        Self::Leaky,
        Self::New,
        Self::Marked,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Passed => "passed",
            Self::Skipped => "skipped",
            Self::Flaky => "flaky",
            Self::Slow => "slow",
            Self::Leaky => "leaky",
            Self::New => "new",
            Self::Marked => "marked",
        }
    }
}

/// Not a query, or not yet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    #[error(transparent)]
    Expression(#[from] ExpressionError),
    #[error("is: takes {}", Trait::ALL.map(Trait::word).join(", "))]
    Trait,
    #[error("{0} takes a name")]
    Name(&'static str),
}

fn term(word: &str) -> Result<Term, QueryError> {
    let named = |prefix: &'static str| match word.strip_prefix(prefix) {
        Some("") => Err(QueryError::Name(prefix)),
        name => Ok(name.map(str::to_owned)),
    };
    if let Some(tag) = named("tag:")? {
        return Ok(Term::Tag(tag));
    }
    if let Some(suite) = named("suite:")? {
        return Ok(Term::Suite(suite));
    }
    match word.strip_prefix("is:") {
        Some(what) => Trait::ALL
            .into_iter()
            .find(|known| known.word() == what)
            .map(Term::Is)
            .ok_or(QueryError::Trait),
        None => Ok(Term::Pattern(word.to_owned())),
    }
}

impl Query {
    /// `None` where nothing is asked for.
    ///
    /// # Errors
    ///
    /// Fails on what is no expression, which is also one that is still being typed.
    pub fn parse(text: &str) -> Result<Option<Self>, QueryError> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let root = parse(text, "word", true)?.map(&mut |word| term(word))?;
        Ok(Some(Self {
            text: text.to_owned(),
            root,
        }))
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Those that it means, in their order. `has` tells what is known of a replay.
    pub fn of(
        &self,
        all: &[Arc<Replay>],
        has: impl Fn(&Replay, Trait) -> bool,
    ) -> Vec<Arc<Replay>> {
        enum Test<'a> {
            Pattern(Matcher<'a>),
            Tag(&'a String),
            Suite(&'a str),
            Is(Trait),
        }
        let tests = self.root.map(&mut |term| {
            Ok::<_, std::convert::Infallible>(match term {
                Term::Pattern(text) => Test::Pattern(Matcher::new(text, all)),
                Term::Tag(tag) => Test::Tag(tag),
                Term::Suite(name) => Test::Suite(name),
                Term::Is(what) => Test::Is(*what),
            })
        });
        let Ok(tests) = tests;
        let means = |replay: &Replay| {
            tests.holds(&|test| match test {
                Test::Pattern(matcher) => matcher.matches(replay),
                Test::Tag(tag) => replay.header.tags.contains(tag),
                Test::Suite(name) => &*replay.suite == *name,
                Test::Is(what) => has(replay, *what),
            })
        };
        all.iter().filter(|replay| means(replay)).cloned().collect()
    }

    /// Whether the ends of replays change what it means.
    pub fn asks_for_ends(&self) -> bool {
        let terms = self.root.words();
        terms.iter().any(|term| matches!(term, Term::Is(_)))
    }

    /// A tag or a suite that it asks for and nothing has, with what may be meant.
    pub fn unknown(&self, all: &[Arc<Replay>]) -> Option<SelectionError> {
        let (mut tags, mut suites) = (Vec::new(), Vec::new());
        for term in self.root.wanted() {
            match term {
                Term::Tag(tag) => tags.push(tag.as_str()),
                Term::Suite(name) => suites.push(name.clone()),
                Term::Pattern(_) | Term::Is(_) => {}
            }
        }
        let checked = check_tags(&tags, all).and_then(|()| check_suites(&suites, all));
        checked.err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::replay::{Header, ReplayName};

    fn all() -> Vec<Arc<Replay>> {
        [
            ("net-a", "net"),
            ("net-b", "net slow"),
            ("db-c", "db"),
            ("d", ""),
        ]
        .map(|(name, tags)| {
            Arc::new(Replay {
                name: ReplayName::new(name),
                path: name.into(),
                suite: if name == "d" { "other" } else { "replays" }.into(),
                file: format!("replays/{name}.sh"),
                header: Header {
                    tags: tags.split_whitespace().map(str::to_owned).collect(),
                    closes: vec![format!("#{}", name.len())],
                    ..Header::default()
                },
            })
        })
        .into()
    }

    /// Only `d` has failed.
    fn found(text: &str) -> String {
        let query = Query::parse(text).unwrap().unwrap();
        let has = |replay: &Replay, what| what == Trait::Failed && replay.name.as_str() == "d";
        let found = query.of(&all(), has);
        let names: Vec<&str> = found.iter().map(|replay| replay.name.as_str()).collect();
        names.join(" ")
    }

    #[test]
    fn words_are_patterns_and_all_must_hold() {
        assert_eq!(found("net"), "net-a net-b");
        assert_eq!(found("net -b"), "net-b");
        assert_eq!(found("*-c or #1"), "db-c d");
        assert_eq!(found("not net"), "db-c d");
        // The whole name of one means that one.
        assert_eq!(found("d"), "d");
    }

    #[test]
    fn tags_and_what_is_known_join_in() {
        assert_eq!(found("tag:net and not tag:slow"), "net-a");
        assert_eq!(found("tag:net !tag:slow"), "net-a");
        assert_eq!(found("(tag:db || is:failed) !net"), "db-c d");
        assert_eq!(found("is:flaky"), "");
        assert_eq!(found("suite:other or tag:slow"), "net-b d");
    }

    #[test]
    fn what_is_still_typed_is_a_mistake_that_is_told() {
        let error = |text| Query::parse(text).unwrap_err().to_string();
        assert_eq!(
            error("net and"),
            "expected a word after \"and\", found the end"
        );
        assert_eq!(error("(net"), "a `(` is never closed");
        assert_eq!(
            error("net)"),
            "expected `and` or `or` after \"net\", found \")\""
        );
        assert_eq!(error("tag:"), "tag: takes a name");
        assert!(error("is:fast").starts_with("is: takes failed, passed"));
        assert_eq!(Query::parse("  "), Ok(None));
        let query = Query::parse("tag:nett or not tag:x").unwrap().unwrap();
        let unknown = query.unknown(&all()).unwrap().to_string();
        assert_eq!(unknown, "no replay has the tag \"nett\"; did you mean net?");
        assert!(!query.asks_for_ends());
        let ends = Query::parse("net !(b or !is:new)").unwrap().unwrap();
        assert!(ends.asks_for_ends());
        let query = Query::parse("suite:bats").unwrap().unwrap();
        let unknown = query.unknown(&all()).unwrap().to_string();
        assert!(
            unknown.starts_with("no replay is of the suite \"bats\""),
            "{unknown}"
        );
    }
}
