//! A suite: replays that are found in one way and judged by the same rules.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;

use super::tap::Tap;
use super::verdict::{Ending, Verdict};

/// A suite's name; that of the replays that belong to no declared one is `replays`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SuiteName(Arc<str>);

impl SuiteName {
    pub const DEFAULT: &'static str = "replays";
}

impl Default for SuiteName {
    fn default() -> Self {
        Self::DEFAULT.into()
    }
}

impl From<&str> for SuiteName {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl Deref for SuiteName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SuiteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// By whose conventions a suite's scripts speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    #[default]
    Shell,
    /// They print the Test Anything Protocol.
    Tap,
    /// automake's "simple" tests.
    Automake,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Shell, Self::Tap, Self::Automake];

    pub fn word(self) -> &'static str {
        match self {
            Self::Shell => "shell",
            Self::Tap => "tap",
            Self::Automake => "automake",
        }
    }
}

/// What the exit code and the output of a suite's scripts mean.
///
/// Codes stand in one of the lists at most; what is in none is a failure.
#[derive(Clone, Debug)]
pub struct Rules {
    pub kind: Kind,
    pub pass_codes: Vec<i32>,
    pub skip_codes: Vec<i32>,
    pub error_codes: Vec<i32>,
    /// With a code that passes, a line like this skips.
    pub skip_marker: Option<Marker>,
    pub expected_failure: Option<ExpectedFailure>,
}

impl Rules {
    /// A shell exits with 126 or 127 where it cannot run a program: such a script has proved
    /// nothing. 77 and 99 are automake's ("Scripts-based Testsuites"); 77 has spread further. TAP
    /// skips by its plan.
    pub fn of(kind: Kind) -> Self {
        let (skip, error) = match kind {
            Kind::Shell => (vec![77], vec![126, 127]),
            Kind::Tap => (Vec::new(), vec![126, 127]),
            Kind::Automake => (vec![77], vec![99, 126, 127]),
        };
        Self {
            kind,
            pass_codes: vec![0],
            skip_codes: skip,
            error_codes: error,
            skip_marker: None,
            expected_failure: None,
        }
    }

    /// What the end of a script means. Being cut off comes first: one that answers TERM with
    /// `exit 0` has proved nothing.
    pub fn judge(&self, evidence: &Evidence<'_>) -> Verdict {
        if let Some(after) = evidence.timed_out {
            return Verdict::TimedOut { after };
        }
        if evidence.stopped {
            return Verdict::Aborted;
        }
        let ending = evidence.ending;
        let is_in = |codes: &[i32]| matches!(ending, Ending::Code(code) if codes.contains(&code));
        if is_in(&self.skip_codes) {
            return Verdict::Skipped {
                reason: (evidence.last_line)(),
            };
        }
        // Some producers of TAP exit with the number of points that failed, whatever that is.
        let has_failed = evidence.tap.is_some_and(|tap| tap.failed > 0);
        if is_in(&self.error_codes) && !has_failed {
            return Verdict::Errored(ending);
        }
        let found = evidence.expected_failure;
        let expected = self.expected_failure.as_ref().map(|it| it.said).zip(found);
        let problem = evidence.tap.and_then(Tap::problem);
        match (is_in(&self.pass_codes), problem, expected) {
            (false, _, Some((Said::Before, why))) => {
                return Verdict::FailedAsExpected {
                    reason: with_reason(&ending.to_string(), why),
                };
            }
            (false, _, _) => return Verdict::Failed(ending),
            (true, Some(problem), Some((Said::Before, why))) => {
                return Verdict::FailedAsExpected {
                    reason: with_reason(&problem, why),
                };
            }
            (true, Some(reason), _) => return Verdict::Contradicted { reason },
            (true, None, _) => {}
        }
        let skip_all = evidence.tap.and_then(|tap| tap.skip_all.as_deref());
        match (evidence.skipped.or(skip_all), expected) {
            (Some(reason), _) => Verdict::Skipped {
                reason: said(reason),
            },
            (None, Some((Said::Before, why))) => Verdict::Contradicted {
                reason: with_reason("passed unexpectedly", why),
            },
            (None, Some((Said::After, why))) => Verdict::FailedAsExpected { reason: said(why) },
            (None, None) => Verdict::Passed,
        }
    }
}

fn said(reason: &str) -> String {
    match reason {
        "" => "no reason given".to_owned(),
        reason => reason.to_owned(),
    }
}

fn with_reason(what: &str, why: &str) -> String {
    if why.is_empty() {
        what.to_owned()
    } else {
        format!("{what} ({why})")
    }
}

/// A line that says that a failure is expected.
#[derive(Clone, Debug)]
pub struct ExpectedFailure {
    pub marker: Marker,
    pub said: Said,
}

/// When a script says that its failure is expected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Said {
    /// It announces it, and the exit code tells whether it came: one that passes all the same has
    /// passed unexpectedly, and somebody has to take the mark away.
    #[default]
    Before,
    /// It has seen it, and exits like one that passes.
    After,
}

/// A regular expression over a line of output as it is shown: without colours, and without its
/// newline.
#[derive(Clone, Debug)]
pub struct Marker(Regex);

impl Marker {
    /// # Errors
    ///
    /// Fails on what is no regular expression.
    pub fn new(regex: &str) -> Result<Self, regex::Error> {
        Regex::new(regex).map(Self)
    }

    /// The reason that stands on a line like this, perhaps empty: its first group, or else what
    /// follows the match.
    pub fn find(&self, line: &str) -> Option<String> {
        let found = self.0.captures(line)?;
        let whole = found.get(0)?;
        let reason = match found.get(1) {
            Some(group) => group.as_str(),
            None => &line[whole.end()..],
        };
        let edge = |c: char| c.is_whitespace() || matches!(c, ':' | '-' | '–');
        Some(reason.trim_start_matches(edge).trim_end().to_owned())
    }
}

/// How a script ended, and what its output says to that.
pub struct Evidence<'a> {
    pub ending: Ending,
    /// It was stopped because its time was up, which was so long.
    pub timed_out: Option<Duration>,
    /// It was stopped because somebody asked for it.
    pub stopped: bool,
    /// The reason on a line of [`Rules::skip_marker`].
    pub skipped: Option<&'a str>,
    /// The reason on a line of [`Rules::expected_failure`].
    pub expected_failure: Option<&'a str>,
    /// What it said in [`Kind::Tap`].
    pub tap: Option<&'a Tap>,
    /// Where a script that skips by its exit code says why.
    pub last_line: &'a dyn Fn() -> String,
}

impl fmt::Debug for Evidence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evidence")
            .field("ending", &self.ending)
            .field("timed_out", &self.timed_out)
            .field("stopped", &self.stopped)
            .field("skipped", &self.skipped)
            .field("expected_failure", &self.expected_failure)
            .field("tap", &self.tap)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::tap;

    const CODE: fn(i32) -> Ending = Ending::Code;

    fn judged(rules: &Rules, ending: Ending, lines: &[&str]) -> String {
        let reason = |marker: Option<&Marker>| {
            let mut lines = lines.iter();
            lines.find_map(|line| marker?.find(line))
        };
        let skipped = reason(rules.skip_marker.as_ref());
        let expected = reason(rules.expected_failure.as_ref().map(|it| &it.marker));
        let tap = (rules.kind == Kind::Tap).then(|| {
            let mut reader = tap::Reader::default();
            lines.iter().for_each(|line| reader.line(line));
            reader.finish()
        });
        let verdict = rules.judge(&Evidence {
            ending,
            timed_out: None,
            stopped: false,
            skipped: skipped.as_deref(),
            expected_failure: expected.as_deref(),
            tap: tap.as_ref(),
            last_line: &|| "its last line".to_owned(),
        });
        verdict.to_string()
    }

    #[test]
    fn an_exit_code_means_what_the_kind_of_suite_says() {
        let table = |kind| {
            let rules = Rules::of(kind);
            [0, 1, 77, 99, 126, 127].map(|code| judged(&rules, CODE(code), &["1..1", "ok"]))
        };
        let skip = "skipped: its last line";
        assert_eq!(
            table(Kind::Shell),
            [
                "passed",
                "failed: exit 1",
                skip,
                "failed: exit 99",
                "errored: exit 126",
                "errored: exit 127"
            ]
        );
        assert_eq!(table(Kind::Automake)[2..4], [skip, "errored: exit 99"]);
        assert_eq!(
            table(Kind::Tap)[2..4],
            ["failed: exit 77", "failed: exit 99"]
        );
        let killed = judged(&Rules::of(Kind::Shell), Ending::Signal(11), &[]);
        assert_eq!(killed, "failed: killed by signal 11");
    }

    #[test]
    fn points_can_fail_what_exits_like_a_pass_and_excuse_nothing() {
        let rules = Rules {
            expected_failure: Some(ExpectedFailure {
                marker: Marker::new("^# XFAIL").unwrap(),
                said: Said::Before,
            }),
            ..Rules::of(Kind::Tap)
        };
        for (code, lines, wanted) in [
            (0, &["1..1", "ok"][..], "passed"),
            (1, &["1..1", "ok"], "failed: exit 1"),
            (
                0,
                &["1..2", "ok", "not ok - b"],
                "failed: 1 of 2 points failed: b",
            ),
            (0, &["1..1", "not ok - b # TODO"], "passed"),
            (
                0,
                &["ok"],
                "failed: it printed no plan, so nobody knows whether points are missing",
            ),
            (0, &["1..0 # SKIP no perl"], "skipped: no perl"),
            (1, &["1..0 # SKIP no perl"], "failed: exit 1"),
            (127, &["1..1", "not ok"], "failed: exit 127"),
            (127, &["1..1"], "errored: exit 127"),
            (
                0,
                &["# XFAIL #7", "1..1", "not ok - b"],
                "failed as expected: 1 of 1 point failed: b (#7)",
            ),
            (
                0,
                &["# XFAIL #7", "1..1", "ok"],
                "failed: passed unexpectedly (#7)",
            ),
        ] {
            assert_eq!(
                judged(&rules, CODE(code), lines),
                wanted,
                "{code} {lines:?}"
            );
        }
    }

    #[test]
    fn being_cut_off_is_never_a_pass() {
        let rules = Rules::of(Kind::Shell);
        let mut evidence = Evidence {
            ending: CODE(0),
            timed_out: None,
            stopped: true,
            skipped: Some("x"),
            expected_failure: Some("y"),
            tap: None,
            last_line: &String::new,
        };
        assert_eq!(rules.judge(&evidence), Verdict::Aborted);
        let after = Duration::from_secs(1);
        evidence.timed_out = Some(after);
        assert_eq!(rules.judge(&evidence), Verdict::TimedOut { after });
    }

    #[test]
    fn a_marker_skips_what_passes_and_excuses_no_failure() {
        let rules = Rules {
            skip_marker: Some(Marker::new(r"^\[replay\] __SKIP__").unwrap()),
            ..Rules::of(Kind::Shell)
        };
        let line = "[replay] __SKIP__: no GPU here";
        assert_eq!(judged(&rules, CODE(0), &[line]), "skipped: no GPU here");
        assert_eq!(judged(&rules, CODE(1), &[line]), "failed: exit 1");
        let elsewhere = "said [replay] __SKIP__";
        assert_eq!(judged(&rules, CODE(0), &[elsewhere]), "passed");
    }

    #[test]
    fn an_announced_failure_that_does_not_come_is_a_failure() {
        let rules = |said| Rules {
            expected_failure: Some(ExpectedFailure {
                marker: Marker::new(r"^XFAIL\b").unwrap(),
                said,
            }),
            ..Rules::of(Kind::Shell)
        };
        let line = "XFAIL #12";
        let before = rules(Said::Before);
        assert_eq!(
            judged(&before, CODE(3), &[line]),
            "failed as expected: exit 3 (#12)"
        );
        assert_eq!(
            judged(&before, CODE(0), &[line]),
            "failed: passed unexpectedly (#12)"
        );
        assert_eq!(judged(&before, CODE(127), &[line]), "errored: exit 127");
        assert_eq!(judged(&before, CODE(0), &[]), "passed");
        let after = rules(Said::After);
        assert_eq!(judged(&after, CODE(0), &[line]), "failed as expected: #12");
        assert_eq!(judged(&after, CODE(1), &[line]), "failed: exit 1");
    }

    #[test]
    fn a_reason_is_a_group_or_what_follows() {
        let reason = |regex: &str, line: &str| Marker::new(regex).unwrap().find(line);
        assert_eq!(reason("^SKIP", "SKIP: – a b  ").as_deref(), Some("a b"));
        assert_eq!(
            reason(r"SKIP \((.*)\)", "x SKIP (why) y").as_deref(),
            Some("why")
        );
        assert_eq!(reason("SKIP$", "SKIP").as_deref(), Some(""));
        assert_eq!(reason("^SKIP", " SKIP"), None);
    }
}
