//! Searching in lines, as a person types it.

use std::borrow::Cow;
use std::ops::Range;

use regex::{Regex, RegexBuilder};

use super::sanitize::{as_is, sanitize};

/// A compiled search.
///
/// The pattern is a regular expression; where it is not a valid one it is taken literally, and
/// [`Matcher::problem`] says so. Smart case: letters match either case unless the pattern has a
/// capital one.
#[derive(Clone, Debug)]
pub struct Matcher {
    pattern: String,
    regex: Regex,
    problem: Option<String>,
}

impl Matcher {
    /// `None` for an empty pattern, which would match everywhere.
    pub fn new(pattern: &str) -> Option<Self> {
        if pattern.is_empty() {
            return None;
        }
        let ignore_case = !has_capital(pattern);
        let (regex, problem) = match build(pattern, ignore_case) {
            Ok(regex) => (regex, None),
            Err(error) => {
                let literal = regex::escape(pattern);
                let ignore_case = !pattern.chars().any(char::is_uppercase);
                (build(&literal, ignore_case).ok()?, Some(reason(&error)))
            }
        };
        Some(Self {
            pattern: pattern.to_owned(),
            regex,
            problem,
        })
    }

    /// As it was typed.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// Why the pattern is taken literally, if it is: one line.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Where it matches in sanitised text, in bytes; empty matches are left out.
    pub fn ranges<'a>(&'a self, text: &'a str) -> impl Iterator<Item = Range<usize>> + 'a {
        self.regex
            .find_iter(text)
            .map(|found| found.range())
            .filter(|range| !range.is_empty())
    }

    /// Whether a raw line matches once it is sanitised, or a part of it that a carriage return
    /// took off the screen.
    pub fn is_match(&self, line: &[u8]) -> bool {
        let text = match as_is(line) {
            Some(text) => Cow::Borrowed(text),
            None => Cow::Owned(sanitize(line).text),
        };
        let found = match self.regex.find(&text) {
            None => false,
            Some(found) if !found.is_empty() => true,
            // What matches nothing in particular does not count.
            Some(_) => self.ranges(&text).next().is_some(),
        };
        found || (memchr::memchr(b'\r', line).is_some() && self.overwritten(line).is_some())
    }

    /// The first match in a raw line, as [`Self::is_match`] finds it.
    pub fn first(&self, line: &[u8]) -> Option<String> {
        let text = sanitize(line).text;
        let found = self.ranges(&text).next();
        found
            .and_then(|range| Some(text.get(range)?.to_owned()))
            .or_else(|| self.overwritten(line))
    }

    /// The first match in what carriage returns divide.
    fn overwritten(&self, line: &[u8]) -> Option<String> {
        line.split(|byte| *byte == b'\r').find_map(|part| {
            let text = sanitize(part).text;
            let range = self.ranges(&text).next()?;
            Some(text.get(range)?.to_owned())
        })
    }
}

fn build(pattern: &str, ignore_case: bool) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern)
        .case_insensitive(ignore_case)
        .build()
}

/// Whether the pattern has a capital letter outside an escape such as `\S`.
fn has_capital(pattern: &str) -> bool {
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if c == '\\' {
            chars.next();
        } else if c.is_uppercase() {
            return true;
        }
    }
    false
}

/// The last line of a syntax error says what is wrong; the lines before it draw where.
fn reason(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => "the expression is too large".to_owned(),
        other => {
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default();
            last.trim_start_matches("error: ").to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(pattern: &str, text: &str) -> Vec<String> {
        Matcher::new(pattern)
            .unwrap()
            .ranges(text)
            .map(|range| text[range].to_owned())
            .collect()
    }

    #[test]
    fn case_matters_once_a_capital_is_typed() {
        assert_eq!(found("error", "Error ERROR"), ["Error", "ERROR"]);
        assert_eq!(found("Error", "Error ERROR"), ["Error"]);
        assert_eq!(found(r"\S+x", "AX bx"), ["AX", "bx"]);
    }

    #[test]
    fn a_valid_expression_is_one_and_an_invalid_one_is_literal() {
        assert_eq!(found("50[0-9]", "500 501 400"), ["500", "501"]);
        let broken = Matcher::new("foo(").unwrap();
        assert_eq!(broken.problem(), Some("unclosed group"));
        assert_eq!(broken.ranges("foo(1)").next(), Some(0..4));
        assert_eq!(found("Foo(", "foo( Foo("), ["Foo("]);
        assert_eq!(Matcher::new("x").unwrap().problem(), None);
        assert!(Matcher::new("").is_none());
    }

    #[test]
    fn what_a_carriage_return_took_off_the_screen_is_found() {
        let matcher = Matcher::new("ERROR").unwrap();
        for line in [
            &b"connecting...\rERROR db is down\rretrying"[..],
            b"\x1b[31mERROR\x1b[0m overwritten\rok",
        ] {
            assert!(matcher.is_match(line));
            assert_eq!(matcher.first(line).as_deref(), Some("ERROR"));
        }
        assert!(!matcher.is_match(b"ERR\rOR"));
    }

    #[test]
    fn empty_matches_are_no_matches() {
        assert_eq!(found("x*", "aaxa"), ["x"]);
        assert!(!Matcher::new("x*").unwrap().is_match(b"aaa"));
    }

    #[test]
    fn a_colour_inside_a_word_does_not_hide_it() {
        let matcher = Matcher::new("refused").unwrap();
        assert!(matcher.is_match(b"connection ref\x1b[31mused\x1b[0m"));
        assert!(!Matcher::new("31m").unwrap().is_match(b"\x1b[31mred"));
    }

    proptest! {
        #[test]
        fn any_pattern_can_be_typed(pattern in "\\PC{1,20}", line in "\\PC{0,40}") {
            let matcher = Matcher::new(&pattern).unwrap();
            let text = sanitize(line.as_bytes()).text;
            prop_assert_eq!(matcher.is_match(line.as_bytes()), matcher.ranges(&text).next().is_some());
            for range in matcher.ranges(&text) {
                prop_assert!(text.get(range).is_some());
            }
        }
    }
}
