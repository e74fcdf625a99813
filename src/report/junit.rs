//! JUnit XML as Jenkins, GitLab and the GitHub actions all read it.
//!
//! Every case has a `classname` (GitLab drops what repeats a classname and name), outputs are
//! cut to what fits (a controller dies of a gigabyte in `system-out`), text goes into elements
//! and only a short line into `message`, and characters that XML cannot hold are taken out.

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use jiff::Timestamp;
use quick_junit::{
    FlakyOrRerun, NonSuccessKind, Report, TestCase, TestCaseStatus, TestRerun, TestSuite,
};

use super::results::{Results, clean, failed_points, tail};
use crate::domain::replay::ReplayName;
use crate::domain::run::{Flaky, Output, ReplayResult, StepOutcome, StepResult, Verdict};

/// Attribute length in bytes; longer ones choke GitLab and Jenkins.
const LONGEST_MESSAGE: usize = 200;

/// Bytes of outputs in all. GitLab drops a file of more than 30 MB as a whole.
const ALL_OUTPUTS: usize = 20 * 1024 * 1024;

/// Of the output of what failed, beside its message.
const TAIL_LINES: usize = 20;
const TAIL_BYTES: usize = 4 * 1024;

/// Writes the report of a run.
///
/// The steps of the lifecycle are cases of the suite `@harness`, and so is the run itself where it
/// went wrong: a seed that fails is not a green report with no tests in it. An attempt that was
/// followed by another is a `flakyFailure` or `rerunFailure` of the last one's case.
///
/// # Errors
///
/// Fails where the writer does, or where a time cannot be written.
pub fn junit(out: &mut dyn io::Write, results: &Results) -> io::Result<()> {
    let summary = results.summary;
    let mut report = Report::new(text(results.name));
    report.set_time(summary.took);
    let mut room = Room(ALL_OUTPUTS);
    let mut names = Names::default();
    let run = run_case(results);
    if !summary.steps.is_empty() || run.is_some() {
        let mut suite = suite("@harness", results);
        suite.set_time(summary.steps.iter().map(|step| step.took).sum());
        let steps = summary.steps.iter().map(|step| step_case(step, &mut room));
        for case in steps.chain(run) {
            suite.add_test_case(names.apart(case));
        }
        report.add_test_suite(suite);
    }
    let mut cases = replay_cases(results, &mut room);
    for name in results.suites() {
        let is_in = |replay: &ReplayName| results.suite(replay) == name;
        let mut suite = suite(&name, results);
        let mut took = Duration::ZERO;
        for (result, case) in summary.results.iter().zip(&mut cases) {
            if is_in(&result.replay)
                && let Some(case) = case.take()
            {
                took += result.took;
                let case = of_replay(case, results, &result.replay);
                suite.add_test_case(names.apart(case));
            }
        }
        for replay in summary.not_run.iter().filter(|replay| is_in(replay)) {
            let case = of_replay(not_run_case(replay), results, replay);
            suite.add_test_case(names.apart(case));
        }
        suite.set_time(took);
        report.add_test_suite(suite);
    }
    report.serialize(out).map_err(io::Error::other)
}

fn suite(name: &str, results: &Results) -> TestSuite {
    let mut suite = TestSuite::new(text(name));
    if let Some(started) = results.summary.started {
        suite.extra.insert("timestamp".into(), date(started).into());
    }
    suite
}

/// In the order of the results. What failed is given room for its output first, then what was
/// tried again.
fn replay_cases(results: &Results, room: &mut Room) -> Vec<Option<TestCase>> {
    let ended = &results.summary.results;
    let is_flaky = |result: &ReplayResult| {
        let mut failed = results.summary.failed_attempts(&result.replay);
        failed.next().is_some()
    };
    let mut order: Vec<usize> = (0..ended.len()).collect();
    order.sort_by_cached_key(|&at| match &ended[at] {
        result if !result.is_ok() => 0,
        result if is_flaky(result) => 1,
        _ => 2,
    });
    let mut cases = vec![None; ended.len()];
    for at in order {
        cases[at] = Some(replay_case(results, &ended[at], room));
    }
    cases
}

/// What is left of [`ALL_OUTPUTS`].
struct Room(usize);

impl Room {
    /// Whether there is as much room; if so, it is taken.
    fn take(&mut self, text: &str) -> bool {
        let is_escaped = |byte: &u8| matches!(byte, b'&' | b'<' | b'>' | b'"' | b'\'');
        let escapes = text.bytes().filter(|byte| is_escaped(byte)).count();
        let size = text.len() + escapes * "&quot;".len();
        let Some(rest) = self.0.checked_sub(size) else {
            return false;
        };
        self.0 = rest;
        true
    }

    /// An output as far as there is room for it: otherwise where it is.
    fn output(&mut self, output: &Output) -> Option<String> {
        let bytes = output.text();
        if bytes.is_empty() {
            return None;
        }
        let whole = clean(&bytes);
        if self.take(&whole) {
            return Some(whole);
        }
        let size = bytes.len() as u64 + output.cut;
        let place = output.file.as_ref().map_or_else(
            || "kept nowhere".to_owned(),
            |file| text(&file.to_string_lossy()),
        );
        Some(format!(
            "[{size} bytes, which have no room here: {place}]\n"
        ))
    }
}

/// The names of cases: GitLab drops what repeats a class name and a name.
#[derive(Default)]
struct Names(HashSet<(String, String)>);

impl Names {
    /// The case by a name of its own.
    fn apart(&mut self, mut case: TestCase) -> TestCase {
        let class = case.classname.as_ref().map_or("", |class| class.as_str());
        let first = case.name.as_str().to_owned();
        let key = |name: &str| (class.to_owned(), name.to_owned());
        let mut name = first.clone();
        let mut count = 1;
        while !self.0.insert(key(&name)) {
            count += 1;
            name = format!("{first} ({count})");
        }
        case.name = name.into();
        case
    }
}

fn of_replay(mut case: TestCase, results: &Results, replay: &ReplayName) -> TestCase {
    case.set_classname(text(&results.suite(replay)));
    if let Some(file) = results.file(replay) {
        case.extra.insert("file".into(), text(file).into());
    }
    case
}

fn replay_case(results: &Results, result: &ReplayResult, room: &mut Room) -> TestCase {
    let mut status = match (&result.verdict, kind(&result.verdict)) {
        (verdict, Some(kind)) => {
            let mut status = TestCaseStatus::non_success(kind);
            status.set_type(verdict.word());
            status.set_message(short(&result.explained()));
            status.set_description(description(result, room));
            status
        }
        (verdict, None) if result.flaky == Flaky::Fails => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_rerun_kind(FlakyOrRerun::Flaky);
            status.set_type("flaky");
            status.set_message(format!("flaky: {} only after a retry", verdict.word()));
            status
        }
        (Verdict::Skipped { reason }, None) => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(short(reason));
            status
        }
        // As pytest writes its xfail: JUnit has no word for it, and readers know this one.
        (Verdict::FailedAsExpected { .. }, None) => {
            let mut message = result.verdict.to_string();
            // A skipped case has no place for it.
            if let Some(failed) = results.summary.failed_attempts(&result.replay).last() {
                message = format!("flaky, before: {}; {message}", failed.verdict);
            }
            let mut status = TestCaseStatus::skipped();
            status.set_type(result.verdict.word());
            status.set_message(short(&message));
            status
        }
        (_, None) => TestCaseStatus::success(),
    };
    let output = room.output(&result.output);
    if !matches!(status, TestCaseStatus::Skipped { .. }) {
        let failed = results.summary.failed_attempts(&result.replay);
        status.add_reruns(failed.filter_map(|attempt| rerun(attempt, room)));
    }
    let mut case = TestCase::new(text(result.replay.as_str()), status);
    case.set_time(result.took);
    let started = date(result.started);
    case.extra.insert("timestamp".into(), started.into());
    let mut output = output.unwrap_or_default();
    for survivor in &result.survivors {
        if !output.is_empty() && !output.ends_with('\n') {
            output.push('\n');
        }
        let ended = if survivor.ended { " and ended" } else { "" };
        output.push_str(&text(&format!("[left behind{ended}: {survivor}]\n")));
    }
    let logs = results.logs(&result.replay);
    if !logs.is_empty() && !output.is_empty() && !output.ends_with('\n') {
        output.push('\n');
    }
    output.push_str(&logs);
    if !output.is_empty() {
        case.set_system_out(output);
    }
    case
}

/// `None` for what may be in a run that passes.
fn kind(verdict: &Verdict) -> Option<NonSuccessKind> {
    match verdict {
        Verdict::Passed | Verdict::Skipped { .. } | Verdict::FailedAsExpected { .. } => None,
        Verdict::Failed(_) | Verdict::Contradicted { .. } | Verdict::TimedOut { .. } => {
            Some(NonSuccessKind::Failure)
        }
        Verdict::Aborted | Verdict::Errored(_) | Verdict::CouldNotStart { .. } => {
            Some(NonSuccessKind::Error)
        }
    }
}

fn description(result: &ReplayResult, room: &mut Room) -> String {
    let verdict = text(&result.explained());
    let mut description = verdict.clone();
    for line in failed_points(result) {
        description.push('\n');
        description.push_str(&text(&line));
    }
    let output = tail(&result.output, TAIL_LINES, TAIL_BYTES);
    if !output.is_empty() {
        description.push('\n');
        description.push_str(&output);
    }
    if room.take(&description) {
        description
    } else {
        verdict
    }
}

fn rerun(attempt: &ReplayResult, room: &mut Room) -> Option<TestRerun> {
    let mut rerun = TestRerun::new(kind(&attempt.verdict)?);
    rerun.set_type(attempt.verdict.word());
    rerun.set_message(short(&attempt.explained()));
    rerun.set_description(description(attempt, room));
    rerun.set_time(attempt.took);
    if let Some(output) = room.output(&attempt.output) {
        rerun.set_system_out(output);
    }
    Some(rerun)
}

/// What no step and no replay says.
fn run_case(results: &Results) -> Option<TestCase> {
    let troubles = results.troubles();
    let first = troubles.first()?;
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
    status.set_type("run");
    status.set_message(short(first));
    status.set_description(text(&troubles.join("\n")));
    let mut case = TestCase::new("run", status);
    case.set_classname("@harness");
    case.set_time(Duration::ZERO);
    Some(case)
}

fn not_run_case(name: &ReplayName) -> TestCase {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
    status.set_type("not run");
    status.set_message("not run: the run ended before it");
    let mut case = TestCase::new(text(name.as_str()), status);
    case.set_time(Duration::ZERO);
    case
}

fn step_case(step: &StepResult, room: &mut Room) -> TestCase {
    let status = match &step.outcome {
        StepOutcome::Done => TestCaseStatus::success(),
        StepOutcome::Skipped { reason } => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(short(reason));
            status
        }
        StepOutcome::Failed { reason } => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_type("failed");
            status.set_message(short(reason));
            status.set_description(text(reason));
            status
        }
        StepOutcome::Cancelled => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_type("cancelled");
            status.set_message("cut off");
            status
        }
    };
    let mut case = TestCase::new(step.step.word(), status);
    case.set_classname("@harness");
    case.set_time(step.took);
    if let Some(output) = room.output(&step.output) {
        case.set_system_out(output);
    }
    case
}

fn text(text: &str) -> String {
    clean(text.as_bytes())
}

fn short(message: &str) -> String {
    let line = text(message).lines().next().unwrap_or_default().to_owned();
    if line.len() <= LONGEST_MESSAGE {
        return line;
    }
    let mut end = LONGEST_MESSAGE - '…'.len_utf8();
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &line[..end])
}

/// Without fractions: Jenkins compares it, and not every reader takes them.
fn date(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}

#[cfg(test)]
mod tests {
    use quick_xml::Reader;
    use quick_xml::events::Event;

    use super::super::fixtures;
    use super::*;

    fn written(story: &fixtures::Story) -> String {
        let mut out = Vec::new();
        junit(&mut out, &story.results()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_report_is_what_ci_servers_read() {
        insta::assert_snapshot!(written(&fixtures::mixed()));
    }

    #[test]
    fn what_containers_wrote_stands_below_the_output() {
        let report = written(&fixtures::one_failure("a", "no newline"));
        let wanted = "<system-out>no newline\n--- log of a, 2 lines before ---\n\
            +1.500 no newline\n</system-out>";
        assert!(report.contains(wanted), "{report}");
    }

    #[test]
    fn a_harness_that_is_not_up_is_an_error() {
        insta::assert_snapshot!(written(&fixtures::harness_down()));
    }

    #[test]
    fn what_failed_as_expected_only_at_last_says_what_came_before() {
        let known = Verdict::FailedAsExpected {
            reason: "#1".to_owned(),
        };
        let report = written(&fixtures::ok_at_last(known, Flaky::Tolerated));
        let words = "flaky, before: failed: exit 1; failed as expected: #1";
        assert!(report.contains(words), "{report}");
    }

    #[test]
    fn a_run_that_went_wrong_is_not_green() {
        let mut story = fixtures::passed();
        assert!(!written(&story).contains("<error"));
        story.summary.engine_lost = true;
        let report = written(&story);
        assert!(report.contains("<error message=\"the engine cannot be used\""));
    }

    #[test]
    fn nothing_that_a_replay_prints_or_is_called_becomes_an_element() {
        for text in fixtures::HOSTILE {
            let report = written(&fixtures::one_failure(text, text));
            let mut reader = Reader::from_str(&report);
            let mut names = Vec::new();
            loop {
                match reader.read_event().unwrap() {
                    Event::Start(element) | Event::Empty(element) => {
                        names.push(String::from_utf8(element.name().as_ref().to_vec()).unwrap());
                    }
                    Event::Eof => break,
                    _ => {}
                }
            }
            let wanted = [
                "testsuites",
                "testsuite",
                "testcase",
                "failure",
                "system-out",
            ];
            assert_eq!(names, wanted, "{report}");
            let is_text = |c: char| matches!(c, '\n' | ' '..='~') || c >= '\u{a0}';
            assert!(report.chars().all(is_text), "{report:?}");
        }
    }

    #[test]
    fn a_file_that_would_be_dropped_is_cut_and_failures_come_first() {
        let printed = "<\"&".repeat(8 * 1024);
        let report = written(&fixtures::passes_and_a_failure(1500, &printed));
        assert!(report.len() < 25_000_000, "{}", report.len());
        let cases: Vec<&str> = report.split("<testcase ").skip(1).collect();
        let is_whole = |case: &&str| case.len() > printed.len();
        let note = "[24576 bytes, which have no room here: /state/output.log]";
        let (whole, cut): (Vec<&str>, Vec<&str>) = cases.iter().copied().partition(is_whole);
        assert!(whole.len() > 100, "{}", whole.len());
        assert!(cut.iter().all(|case| case.contains(note)), "{}", cut[0]);
        assert!(cases.last().is_some_and(is_whole), "it failed");
    }

    #[test]
    fn each_case_has_a_name_of_its_own() {
        let mut story = fixtures::mixed();
        let teardown = story.summary.steps.last().unwrap().clone();
        story.summary.steps.push(teardown);
        let report = written(&story);
        for name in ["teardown", "teardown (2)"] {
            let case = format!("<testcase name=\"{name}\" ");
            assert_eq!(report.matches(&case).count(), 1, "{report}");
        }
    }

    #[test]
    fn a_message_is_short_and_whole_in_its_characters() {
        assert!(short(&"é".repeat(150)).len() <= LONGEST_MESSAGE);
        assert_eq!(short("a\nb"), "a");
    }
}
