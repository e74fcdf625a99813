//! Boolean expressions over words: what tags and the dashboard's filter have in common.

/// How deep an expression may be nested; more is no expression that a person wrote.
const DEEPEST: usize = 64;

/// `not` (`!`) binds stronger than `and` (`&&`), and that stronger than `or` (`||`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node<A> {
    Leaf(A),
    Not(Box<Node<A>>),
    And(Box<Node<A>>, Box<Node<A>>),
    Or(Box<Node<A>>, Box<Node<A>>),
}

/// What a text has that is no expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    #[error("expected a {wanted}{}, found {found}", behind(.after.as_ref()))]
    Word {
        /// What the words of this kind of expression are called.
        wanted: &'static str,
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

/// Reads an expression whose words are called that. Where `adjacent` words may stand without an
/// operator, both must hold.
pub(super) fn parse(
    text: &str,
    wanted: &'static str,
    adjacent: bool,
) -> Result<Node<String>, ExpressionError> {
    let mut parser = Parser {
        tokens: tokens(text),
        at: 0,
        depth: 0,
        wanted,
        adjacent,
    };
    let root = parser.or()?;
    match parser.peek() {
        None => Ok(root),
        Some(_) => Err(parser.no_operator()),
    }
}

impl<A> Node<A> {
    /// Whether it holds, where `is` says it of each word.
    pub(super) fn holds(&self, is: &impl Fn(&A) -> bool) -> bool {
        match self {
            Self::Leaf(word) => is(word),
            Self::Not(node) => !node.holds(is),
            Self::And(one, other) => one.holds(is) && other.holds(is),
            Self::Or(one, other) => one.holds(is) || other.holds(is),
        }
    }

    /// All words.
    pub(super) fn words(&self) -> Vec<&A> {
        match self {
            Self::Leaf(word) => vec![word],
            Self::Not(node) => node.words(),
            Self::And(one, other) | Self::Or(one, other) => {
                let mut words = one.words();
                words.extend(other.words());
                words
            }
        }
    }

    /// The words that it asks for, as opposed to those that it excludes.
    pub(super) fn wanted(&self) -> Vec<&A> {
        let mut wanted = Vec::new();
        self.collect(true, &mut wanted);
        wanted
    }

    fn collect<'a>(&'a self, positive: bool, wanted: &mut Vec<&'a A>) {
        match self {
            Self::Leaf(word) if positive => wanted.push(word),
            Self::Leaf(_) => {}
            Self::Not(node) => node.collect(!positive, wanted),
            Self::And(one, other) | Self::Or(one, other) => {
                one.collect(positive, wanted);
                other.collect(positive, wanted);
            }
        }
    }

    /// The same over what `read` makes of each word.
    pub(super) fn map<'a, B, E>(
        &'a self,
        read: &mut impl FnMut(&'a A) -> Result<B, E>,
    ) -> Result<Node<B>, E> {
        Ok(match self {
            Self::Leaf(word) => Node::Leaf(read(word)?),
            Self::Not(node) => Node::Not(Box::new(node.map(read)?)),
            Self::And(one, other) => {
                Node::And(Box::new(one.map(read)?), Box::new(other.map(read)?))
            }
            Self::Or(one, other) => Node::Or(Box::new(one.map(read)?), Box::new(other.map(read)?)),
        })
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

fn is_word(token: &str) -> bool {
    let words = ["and", "or", "not"];
    !words.contains(&token) && !token.starts_with(['(', ')', '!', '&', '|', ','])
}

/// Recursive descent: a method for each level of binding.
struct Parser {
    tokens: Vec<String>,
    at: usize,
    depth: usize,
    wanted: &'static str,
    /// Words may stand side by side.
    adjacent: bool,
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

    fn or(&mut self) -> Result<Node<String>, ExpressionError> {
        let mut node = self.and()?;
        while self.take(&["or", "||"]) {
            node = Node::Or(Box::new(node), Box::new(self.and()?));
        }
        Ok(node)
    }

    fn and(&mut self) -> Result<Node<String>, ExpressionError> {
        let mut node = self.not()?;
        while self.take(&["and", "&&"]) || (self.adjacent && self.begins()) {
            node = Node::And(Box::new(node), Box::new(self.not()?));
        }
        Ok(node)
    }

    fn not(&mut self) -> Result<Node<String>, ExpressionError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(ExpressionError::Deep);
        }
        let node = if self.take(&["not", "!"]) {
            Node::Not(Box::new(self.not()?))
        } else if self.take(&["("]) {
            let node = self.or()?;
            if !self.take(&[")"]) {
                return Err(match self.peek() {
                    None => ExpressionError::Open,
                    Some(_) => self.no_operator(),
                });
            }
            node
        } else {
            self.word()?
        };
        self.depth -= 1;
        Ok(node)
    }

    /// Whether what comes next begins an expression.
    fn begins(&self) -> bool {
        self.peek()
            .is_some_and(|token| is_word(token) || ["not", "!", "("].contains(&token))
    }

    fn word(&mut self) -> Result<Node<String>, ExpressionError> {
        match self.peek() {
            Some(token) if is_word(token) => {
                let word = Node::Leaf(token.to_owned());
                self.at += 1;
                Ok(word)
            }
            _ => Err(ExpressionError::Word {
                wanted: self.wanted,
                after: self.before(),
                found: self.found(),
            }),
        }
    }

    fn no_operator(&self) -> ExpressionError {
        ExpressionError::Operator {
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
