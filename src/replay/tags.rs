//! Boolean expressions over the tags of replays: `discovery and not (slow or flaky)`.

use std::fmt;
use std::str::FromStr;

/// How deep an expression may be nested; more is no expression that a person wrote.
const DEEPEST: usize = 64;

/// Which tags a replay has to have. `not` (`!`) binds stronger than `and` (`&&`), and that
/// stronger than `or` (`||`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagExpr {
    text: String,
    root: Node,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Tag(String),
    Not(Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
}

/// Not an expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    #[error("expected a tag{}, found {found}", behind(.after.as_ref()))]
    Tag {
        after: Option<String>,
        found: String,
    },
    #[error("expected `and` or `or` after {after:?}, found {found}")]
    Operator { after: String, found: String },
    #[error("a `(` is never closed")]
    Open,
    #[error("it is nested too deep")]
    Deep,
}

fn behind(token: Option<&String>) -> String {
    token.map_or_else(String::new, |token| format!(" after {token:?}"))
}

impl FromStr for TagExpr {
    type Err = TagError;

    fn from_str(text: &str) -> Result<Self, TagError> {
        let mut parser = Parser {
            tokens: tokens(text),
            at: 0,
            depth: 0,
        };
        let root = parser.or()?;
        match parser.peek() {
            None => Ok(Self {
                text: text.trim().to_owned(),
                root,
            }),
            Some(_) => Err(parser.no_operator()),
        }
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
        self.root.matches(tags)
    }

    /// The tags that it asks for, as opposed to those that it excludes.
    pub(super) fn wanted(&self) -> Vec<&str> {
        let mut wanted = Vec::new();
        self.root.wanted(true, &mut wanted);
        wanted
    }
}

impl Node {
    fn matches(&self, tags: &[String]) -> bool {
        match self {
            Self::Tag(tag) => tags.contains(tag),
            Self::Not(node) => !node.matches(tags),
            Self::And(one, other) => one.matches(tags) && other.matches(tags),
            Self::Or(one, other) => one.matches(tags) || other.matches(tags),
        }
    }

    fn wanted<'a>(&'a self, positive: bool, wanted: &mut Vec<&'a str>) {
        match self {
            Self::Tag(tag) if positive => wanted.push(tag),
            Self::Tag(_) => {}
            Self::Not(node) => node.wanted(!positive, wanted),
            Self::And(one, other) | Self::Or(one, other) => {
                one.wanted(positive, wanted);
                other.wanted(positive, wanted);
            }
        }
    }
}

/// Words, and the signs between them; a doubled sign is one.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut word = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let is_sign = "()!&|,".contains(c);
        if !is_sign && !c.is_whitespace() {
            word.push(c);
            continue;
        }
        if !word.is_empty() {
            tokens.push(std::mem::take(&mut word));
        }
        if is_sign {
            let mut sign = String::from(c);
            if "&|".contains(c) {
                sign.extend(chars.next_if_eq(&c));
            }
            tokens.push(sign);
        }
    }
    if !word.is_empty() {
        tokens.push(word);
    }
    tokens
}

fn is_tag(token: &str) -> bool {
    let words = ["and", "or", "not"];
    !words.contains(&token) && !token.starts_with(['(', ')', '!', '&', '|', ','])
}

/// Recursive descent: a method for each level of binding.
struct Parser {
    tokens: Vec<String>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> Option<&str> {
        self.tokens.get(self.at).map(String::as_str)
    }

    /// Takes the next token if it is one of these.
    fn take(&mut self, wanted: &[&str]) -> bool {
        let is = self.peek().is_some_and(|token| wanted.contains(&token));
        self.at += usize::from(is);
        is
    }

    fn or(&mut self) -> Result<Node, TagError> {
        let mut node = self.and()?;
        while self.take(&["or", "||"]) {
            node = Node::Or(Box::new(node), Box::new(self.and()?));
        }
        Ok(node)
    }

    fn and(&mut self) -> Result<Node, TagError> {
        let mut node = self.not()?;
        while self.take(&["and", "&&"]) {
            node = Node::And(Box::new(node), Box::new(self.not()?));
        }
        Ok(node)
    }

    fn not(&mut self) -> Result<Node, TagError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(TagError::Deep);
        }
        let node = if self.take(&["not", "!"]) {
            Node::Not(Box::new(self.not()?))
        } else if self.take(&["("]) {
            let node = self.or()?;
            if !self.take(&[")"]) {
                return Err(match self.peek() {
                    None => TagError::Open,
                    Some(_) => self.no_operator(),
                });
            }
            node
        } else {
            self.tag()?
        };
        self.depth -= 1;
        Ok(node)
    }

    fn tag(&mut self) -> Result<Node, TagError> {
        match self.peek() {
            Some(token) if is_tag(token) => {
                let tag = Node::Tag(token.to_owned());
                self.at += 1;
                Ok(tag)
            }
            _ => Err(TagError::Tag {
                after: self.before(),
                found: self.found(),
            }),
        }
    }

    fn no_operator(&self) -> TagError {
        TagError::Operator {
            after: self.before().unwrap_or_default(),
            found: self.found(),
        }
    }

    fn before(&self) -> Option<String> {
        self.tokens.get(self.at.checked_sub(1)?).cloned()
    }

    fn found(&self) -> String {
        self.peek()
            .map_or_else(|| "the end".to_owned(), |token| format!("{token:?}"))
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
