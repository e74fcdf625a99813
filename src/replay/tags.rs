//! Boolean expressions over the tags of replays: `discovery and not (slow or flaky)`.

use std::fmt;
use std::str::FromStr;

use super::expression::{ExpressionError, Node, parse};

/// Which tags a replay has to have. `not` (`!`) binds stronger than `and` (`&&`), and that
/// stronger than `or` (`||`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagExpr {
    text: String,
    root: Node<String>,
}

impl FromStr for TagExpr {
    type Err = ExpressionError;

    fn from_str(text: &str) -> Result<Self, ExpressionError> {
        let root = parse(text, "tag", false)?;
        Ok(Self {
            text: text.trim().to_owned(),
            root,
        })
    }
}

impl fmt::Display for TagExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TagExpr {
    /// Whether a replay with these tags is meant.
    pub fn matches(&self, tags: &[String]) -> bool {
        self.root.holds(&|tag| tags.contains(tag))
    }

    /// The tags that it asks for, as opposed to those that it excludes.
    pub(super) fn wanted(&self) -> Vec<&str> {
        self.root.wanted().into_iter().map(String::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(expression: &str, tags: &str) -> bool {
        let tags: Vec<String> = tags.split_whitespace().map(str::to_owned).collect();
        expression.parse::<TagExpr>().unwrap().matches(&tags)
    }

    #[test]
    fn not_binds_stronger_than_and_and_that_stronger_than_or() {
        for (expression, tags, wanted) in [
            ("net", "net slow", true),
            ("net", "network", false),
            ("net and not slow", "net", true),
            ("net and not slow", "net slow", false),
            ("net && !slow", "net", true),
            ("net&&!slow", "net slow", false),
            ("a or b and c", "a", true),
            ("a or b and c", "b", false),
            ("(a or b) and c", "a", false),
            ("(a||b)&&c", "b c", true),
            ("not a or b", "b a", true),
            ("not (a or b)", "b", false),
            ("not not a", "a", true),
            ("!!a", "", false),
            ("a or b or c", "c", true),
            ("android", "android", true),
        ] {
            assert_eq!(matches(expression, tags), wanted, "{expression} on {tags}");
        }
    }

    #[test]
    fn a_mistake_says_what_is_missing_and_where() {
        let error = |text: &str| text.parse::<TagExpr>().unwrap_err().to_string();
        assert_eq!(error(" "), "expected a tag, found the end");
        assert_eq!(
            error("a and"),
            "expected a tag after \"and\", found the end"
        );
        assert_eq!(
            error("a and or b"),
            "expected a tag after \"and\", found \"or\""
        );
        assert_eq!(error("()"), "expected a tag after \"(\", found \")\"");
        assert_eq!(
            error("a b"),
            "expected `and` or `or` after \"a\", found \"b\""
        );
        assert_eq!(
            error("a, b"),
            "expected `and` or `or` after \"a\", found \",\""
        );
        assert_eq!(
            error("a & b"),
            "expected `and` or `or` after \"a\", found \"&\""
        );
        assert_eq!(
            error("(a or b c"),
            "expected `and` or `or` after \"b\", found \"c\""
        );
        assert_eq!(
            error("a) or b"),
            "expected `and` or `or` after \"a\", found \")\""
        );
        assert_eq!(error("(a or b"), "a `(` is never closed");
        assert_eq!(error(&"(".repeat(100_000)), "it is nested too deep");
        assert_eq!(error(&"!".repeat(100_000)), "it is nested too deep");
    }

    #[test]
    fn what_is_excluded_is_not_asked_for() {
        let expression: TagExpr = "a and not (b or not c)".parse().unwrap();
        assert_eq!(expression.wanted(), ["a", "c"]);
    }
}
