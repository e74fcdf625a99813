//! Which line of a replay's output says first that something is not as it should be.
//!
//! Scripts say it in many ways: `✘`, `FAIL:`, `not ok`, an `AssertionError`, `expected … got …`.
//! Where none does, what the interpreter or a tool complains of first counts, and at last what was
//! printed last. Nothing is taken for a failed assertion that a shell only traces (`set -x`).

use crate::text::level::{Level, level};
use crate::text::sanitize::{as_is, sanitize};

/// Bytes of a line that are looked at: who says that it failed says it early.
const LOOKED_AT: usize = 1024;

/// How clearly a line says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Clarity {
    /// It is only the last line before the end.
    LastLine,
    /// A tool, the shell or an interpreter complains.
    Complaint,
    /// An assertion says that it failed.
    Assertion,
}

/// A line by its number in the output, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    pub line: u64,
    pub clarity: Clarity,
}

/// Looks for the line, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Finder {
    assertion: Option<u64>,
    complaint: Option<u64>,
    last: Option<u64>,
    /// The line at which a Python traceback began whose exception is yet to come.
    traceback: Option<u64>,
}

impl Finder {
    /// Takes the line of that number, without its newline. Numbers rise.
    pub fn offer(&mut self, number: u64, line: &[u8]) {
        if self.assertion.is_some() {
            return;
        }
        let line = &line[..line.len().min(LOOKED_AT)];
        let owned;
        let text = match as_is(line) {
            Some(text) => text,
            None => {
                owned = sanitize(line).text;
                &owned
            }
        };
        if text.trim().is_empty() {
            return;
        }
        self.last = Some(number);
        if is_trace(text) || is_good(text) {
            return;
        }
        if is_assertion(text) {
            self.assertion = Some(number);
            return;
        }
        if text.starts_with("Traceback (most recent call last)") {
            self.traceback = Some(number);
            return;
        }
        let is_exception = self.traceback.is_some() && !text.starts_with(char::is_whitespace);
        if is_exception {
            self.traceback = None;
        }
        if self.complaint.is_none() && (is_exception || is_complaint(line, text)) {
            self.complaint = Some(number);
        }
    }

    /// What was found, if anything was printed at all.
    pub fn finish(self) -> Option<Finding> {
        let found = |line: Option<u64>, clarity| line.map(|line| Finding { line, clarity });
        // A traceback that was cut off is a complaint by itself.
        let complaint = [self.complaint, self.traceback].into_iter().flatten().min();
        found(self.assertion, Clarity::Assertion)
            .or(found(complaint, Clarity::Complaint))
            .or(found(self.last, Clarity::LastLine))
    }
}

/// What `set -x` prints: the command with a `+` for each level of nesting.
fn is_trace(text: &str) -> bool {
    let rest = text.trim_start_matches('+');
    rest.len() < text.len() && rest.starts_with(' ')
}

/// A line that says of itself that all is well, whatever else is in it.
fn is_good(text: &str) -> bool {
    let rest = body(text);
    let good = [
        "✔", "✓", "√", "✅", "PASS", "PASSED", "ok", "OK", "Ok", "SKIP",
    ];
    good.iter().any(|word| starts_with_word(rest, word))
}

fn is_assertion(text: &str) -> bool {
    let rest = body(text);
    says_failed(rest)
        || is_not_ok(rest)
        || is_of_pytest(text)
        || is_assertion_error(rest)
        || is_difference(rest)
}

fn says_failed(rest: &str) -> bool {
    const CROSSES: [&str; 7] = ["✘", "✗", "✖", "✕", "⨯", "❌", "×"];
    if CROSSES
        .iter()
        .any(|cross| starts_with_word(rest.trim_start_matches('\u{fe0f}'), cross))
    {
        return true;
    }
    let failed = ["FAILED", "FAILURE", "FAIL"];
    if let Some(word) = failed.iter().find(|word| starts_with_word(rest, word)) {
        return !counts_none(&rest[word.len()..]);
    }
    // In small letters many lines begin with it that judge nothing: `failed to connect, retrying`.
    let (word, behind) = match rest.split_once(':') {
        Some((word, behind)) => (word.trim(), behind),
        None => return false,
    };
    failed.iter().any(|name| name.eq_ignore_ascii_case(word)) && !counts_none(behind)
}

/// `FAIL: 0`: what is counted is none.
fn counts_none(behind: &str) -> bool {
    let number = behind.trim_start_matches([':', '=', ' ', '\t']);
    let digits = number.bytes().take_while(u8::is_ascii_digit).count();
    digits > 0
        && number[..digits].bytes().all(|digit| digit == b'0')
        && !number[digits..].starts_with(|c: char| c.is_alphanumeric() || c == '.')
}

/// A point of TAP, unless it may fail.
fn is_not_ok(rest: &str) -> bool {
    let Some(rest) = rest.strip_prefix("not ok") else {
        return false;
    };
    let directive = rest.rsplit_once('#').map(|(_, directive)| directive.trim());
    let may_fail = directive.is_some_and(|directive| {
        let word = directive.split(|c: char| !c.is_ascii_alphabetic()).next();
        word.is_some_and(|word| {
            word.eq_ignore_ascii_case("todo") || word.to_ascii_lowercase().starts_with("skip")
        })
    });
    (rest.is_empty() || rest.starts_with(' ')) && !may_fail
}

/// `E       assert 404 == 200`
fn is_of_pytest(text: &str) -> bool {
    text.strip_prefix('E')
        .is_some_and(|rest| rest.starts_with("   ") && !rest.trim().is_empty())
}

fn is_assertion_error(rest: &str) -> bool {
    let word = rest.split([':', ' ', '[', '(']).next().unwrap_or_default();
    if word.ends_with("AssertionError") || word.ends_with("AssertionFailedError") {
        return true;
    }
    if rest.starts_with("thread '") && rest.contains("panicked at") {
        return true;
    }
    let lower = rest.to_ascii_lowercase();
    lower.contains("assertion") && lower.contains("failed")
        || word.to_ascii_lowercase().starts_with("assert") && lower.contains("fail")
}

/// `expected 200, got 404`, `got 404, want 200`
fn is_difference(rest: &str) -> bool {
    const WANTED: [&str; 2] = ["expected", "want"];
    const SEEN: [&str; 8] = [
        " got ", " got:", ", got", "but was", "actual", "received", "found ", "instead",
    ];
    let lower = rest.to_ascii_lowercase();
    let Some(at) = WANTED.iter().find_map(|word| lower.find(word)) else {
        return false;
    };
    let (before, behind) = lower.split_at(at);
    SEEN.iter().any(|seen| behind.contains(seen))
        || before.starts_with("got ")
        || before.contains(" got ")
        || before.contains(" = ") && behind.starts_with("want")
}

fn is_complaint(line: &[u8], text: &str) -> bool {
    is_of_shell(text)
        || text.starts_with("curl: (")
        || level(line).is_some_and(|level| level >= Level::Error)
}

/// `./x.sh: line 12: jq: command not found`
fn is_of_shell(text: &str) -> bool {
    text.match_indices(": line ").any(|(at, found)| {
        let behind = &text[at + found.len()..];
        let digits = behind.bytes().take_while(u8::is_ascii_digit).count();
        digits > 0 && behind[digits..].starts_with(": ")
    })
}

/// A line without what often stands in front of its words: rules, bullets, a time, `[replay]`.
fn body(text: &str) -> &str {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c: char| {
            c.is_whitespace() || matches!(c, '-' | '*' | '=' | '!' | '#' | '>' | '|' | '.')
        });
        let inside = rest.strip_prefix('[').or_else(|| rest.strip_prefix('('));
        if let Some((inside, behind)) = inside.and_then(|rest| rest.split_once([']', ')'])) {
            // `[FAIL] words`
            if ["FAIL", "FAILED", "PASS", "OK", "ok"].contains(&inside.trim()) {
                return inside.trim_start();
            }
            rest = behind;
            continue;
        }
        let word = rest.split(' ').next().unwrap_or_default();
        let is_time = word.starts_with(|c: char| c.is_ascii_digit())
            && word.contains(':')
            && word.len() < rest.len()
            && word
                .chars()
                .all(|c| c.is_ascii_digit() || "-:.,TZ+".contains(c));
        if !is_time {
            return rest;
        }
        rest = &rest[word.len()..];
    }
}

/// Whether a text begins with a word and does not go on in it.
fn starts_with_word(text: &str, word: &str) -> bool {
    text.strip_prefix(word).is_some_and(|rest| {
        !rest.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '=' | '/'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(output: &str) -> (String, Clarity) {
        let mut finder = Finder::default();
        for (number, line) in output.lines().enumerate() {
            finder.offer(number as u64, line.as_bytes());
        }
        let finding = finder.finish().unwrap();
        let line = output.lines().nth(usize::try_from(finding.line).unwrap());
        (line.unwrap().to_owned(), finding.clarity)
    }

    #[track_caller]
    fn asserts(output: &str, line: &str) {
        assert_eq!(found(output), (line.to_owned(), Clarity::Assertion));
    }

    #[track_caller]
    fn complains(output: &str, line: &str) {
        assert_eq!(found(output), (line.to_owned(), Clarity::Complaint));
    }

    #[test]
    fn the_bundled_replays_say_fail() {
        asserts(
            "[replay] the registry's own 404 has a body\n\
             PASS: an unregistered workspace: status\n\
             FAIL: an unregistered workspace: error\n\
             \x20     expected: workspace not found\n\
             \x20     got:      \n\
             FAIL: 5xx: nothing is known of an isolation\n\
             [replay] 2 failed: tool_list_peers names the reason",
            "FAIL: an unregistered workspace: error",
        );
    }

    #[test]
    fn every_way_to_say_it() {
        for line in [
            "✘ expected the reason in the message, got \"may be isolated\"",
            "  ✗ status",
            "\x1b[31m✖\x1b[0m status",
            "❌ buildinfo is stale",
            "FAIL - peers",
            "[FAIL] peers",
            "[replay] FAIL: peers",
            "12:03:44.102 FAIL: peers",
            "2026-11-21T12:03:44Z FAILED",
            "--- FAIL: TestEngine (0.01s)",
            "FAILED tests/test_api.py::test_peers - assert 404 == 200",
            "fail: no peers",
            "Failed: 3",
            "not ok 3 - peers",
            "    not ok 1",
            "E       assert 404 == 200",
            "AssertionError: 404 != 200",
            "AssertionError [ERR_ASSERTION]: Expected values to be strictly equal:",
            "org.opentest4j.AssertionFailedError: x",
            "thread 'main' panicked at src/main.rs:3:5:",
            "assertion `left == right` failed",
            "a.out: x.c:12: main: Assertion `x == 1' failed.",
            "assert_eq failed: a",
            "expected 200, got 404",
            "HTTP status: expected=200 actual=404",
            "status: expected 200 but was 404",
            "got 404, expected 200",
            "wanted 404, got 200",
            "main_test.go:12: Peers() = 3, want 4",
            "    api_test.go:40: status: got 404, want 200",
        ] {
            asserts(&format!("begins\n{line}\nends"), line);
        }
    }

    #[test]
    fn what_only_looks_like_it() {
        for line in [
            "PASS: what FAILED before is mended",
            "ok 3 - not ok is not ok",
            "✔ expected 404, got 404",
            "[replay] PASS: expected 404, got 404",
            "not ok 4 - flaky # TODO mend it",
            "not ok 4 # SKIP no jq",
            "FAIL: 0",
            "Failed: 0, passed: 3",
            "PASS=3 FAIL=0",
            "failed to connect, retrying",
            "failures: none",
            "+ echo 'FAIL: x'",
            "++ fail 'expected 1, got 2'",
            "=== FAILURES ===",
            "Expected reply in 3 s",
            "      expected: …x…",
            "waiting for what we want",
        ] {
            asserts(&format!("{line}\nFAIL: really"), "FAIL: really");
        }
    }

    #[test]
    fn a_complaint_counts_where_nothing_is_asserted() {
        complains(
            "begins\n./x.sh: line 12: jq: command not found\nends",
            "./x.sh: line 12: jq: command not found",
        );
        complains(
            "a\ncurl: (22) The requested URL returned error: 404\nb",
            "curl: (22) The requested URL returned error: 404",
        );
        complains("a\nERROR no route\nERROR again", "ERROR no route");
        complains(
            "[replay] ERROR: BASE is not set",
            "[replay] ERROR: BASE is not set",
        );
        // A later assertion says it better.
        asserts("x.sh: line 1: a: command not found\nFAIL: b", "FAIL: b");
    }

    #[test]
    fn a_traceback_says_it_in_its_last_line() {
        let traceback = "Traceback (most recent call last):\n  File \"x.py\", line 3, in <module>\n    \
                         d['k']\nKeyError: 'k'";
        complains(&format!("{traceback}\nends"), "KeyError: 'k'");
        asserts(
            "Traceback (most recent call last):\n  File \"x.py\", line 3\n    assert x\n\
             AssertionError: no peers",
            "AssertionError: no peers",
        );
        complains(
            "a\nTraceback (most recent call last):\n  File \"x.py\"",
            "Traceback (most recent call last):",
        );
    }

    #[test]
    fn the_last_line_is_the_last_resort() {
        let last = |line: &str| (line.to_owned(), Clarity::LastLine);
        assert_eq!(
            found("+ curl -sf http://x\n+ [[ 404 == 200 ]]\n\n  \n"),
            last("+ [[ 404 == 200 ]]")
        );
        assert_eq!(Finder::default().finish(), None);
    }
}
