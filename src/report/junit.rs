//! JUnit XML as Jenkins, GitLab and the GitHub actions all read it.
//!
//! Every case has a `classname` (GitLab drops what repeats a classname and name), outputs are
//! cut to what fits (a controller dies of a gigabyte in `system-out`), text goes into elements
//! and only a short line into `message`, and characters that XML cannot hold are taken out.

use std::io;
use std::time::Duration;

use jiff::Timestamp;
use quick_junit::{
    FlakyOrRerun, NonSuccessKind, Report, TestCase, TestCaseStatus, TestRerun, TestSuite,
};

use super::results::{Results, clean};
use crate::domain::replay::ReplayName;
use crate::domain::run::{Flaky, ReplayResult, StepOutcome, StepResult, Verdict};

/// Attribute length in bytes; longer ones choke GitLab and Jenkins.
const LONGEST_MESSAGE: usize = 200;

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
    let started = summary.started.map(date);
    if let Some(started) = started {
        report.set_timestamp(started);
    }
    let run = run_case(results);
    if !summary.steps.is_empty() || run.is_some() {
        let mut suite = TestSuite::new("@harness");
        suite.set_time(summary.steps.iter().map(|step| step.took).sum());
        if let Some(started) = started {
            suite.set_timestamp(started);
        }
        suite.add_test_cases(summary.steps.iter().map(step_case).chain(run));
        report.add_test_suite(suite);
    }
    let mut suite = TestSuite::new("replays");
    suite.set_time(summary.results.iter().map(|result| result.took).sum());
    if let Some(started) = started {
        suite.set_timestamp(started);
    }
    for result in &summary.results {
        let case = replay_case(results, result);
        suite.add_test_case(with_file(case, results.file(&result.replay)));
    }
    for name in &summary.not_run {
        suite.add_test_case(with_file(not_run_case(name), results.file(name)));
    }
    report.add_test_suite(suite);
    report.serialize(out).map_err(io::Error::other)
}

fn with_file(mut case: TestCase, file: Option<&str>) -> TestCase {
    if let Some(file) = file {
        case.extra.insert("file".into(), text(file).into());
    }
    case
}

fn replay_case(results: &Results, result: &ReplayResult) -> TestCase {
    let mut status = match (&result.verdict, kind(&result.verdict)) {
        (verdict, Some(kind)) => {
            let mut status = TestCaseStatus::non_success(kind);
            status.set_type(verdict.word());
            status.set_message(short(&verdict.to_string()));
            status.set_description(description(result));
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
        (_, None) => TestCaseStatus::success(),
    };
    if !matches!(status, TestCaseStatus::Skipped { .. }) {
        let failed = results.summary.failed_attempts(&result.replay);
        status.add_reruns(failed.filter_map(rerun));
    }
    let mut case = TestCase::new(text(result.replay.as_str()), status);
    case.set_classname("replays");
    case.set_time(result.took);
    case.set_timestamp(date(result.started));
    let mut output = result.output.text();
    for survivor in &result.survivors {
        if !output.is_empty() && !output.ends_with(b"\n") {
            output.push(b'\n');
        }
        output.extend_from_slice(format!("[left behind and ended: {survivor}]\n").as_bytes());
    }
    if !output.is_empty() {
        case.set_system_out(clean(&output));
    }
    case
}

/// `None` for what may be in a run that passes.
fn kind(verdict: &Verdict) -> Option<NonSuccessKind> {
    match verdict {
        Verdict::Passed | Verdict::Skipped { .. } => None,
        Verdict::Failed(_) | Verdict::TimedOut { .. } => Some(NonSuccessKind::Failure),
        Verdict::Aborted | Verdict::CouldNotStart { .. } => Some(NonSuccessKind::Error),
    }
}

fn description(result: &ReplayResult) -> String {
    let mut description = result.verdict.to_string();
    let output = clean(&result.output.text());
    let tail: Vec<&str> = output.lines().rev().take(20).collect();
    for line in tail.into_iter().rev() {
        description.push('\n');
        description.push_str(line);
    }
    text(&description)
}

fn rerun(attempt: &ReplayResult) -> Option<TestRerun> {
    let mut rerun = TestRerun::new(kind(&attempt.verdict)?);
    rerun.set_type(attempt.verdict.word());
    rerun.set_message(short(&attempt.verdict.to_string()));
    rerun.set_description(description(attempt));
    rerun.set_time(attempt.took);
    rerun.set_timestamp(date(attempt.started));
    let output = attempt.output.text();
    if !output.is_empty() {
        rerun.set_system_out(clean(&output));
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
    case.set_classname("replays");
    case.set_time(Duration::ZERO);
    case
}

fn step_case(step: &StepResult) -> TestCase {
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
    let output = step.output.text();
    if !output.is_empty() {
        case.set_system_out(clean(&output));
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

fn date(at: Timestamp) -> chrono::DateTime<chrono::FixedOffset> {
    chrono::DateTime::from_timestamp(at.as_second(), 0)
        .unwrap_or_default()
        .fixed_offset()
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
    fn a_harness_that_is_not_up_is_an_error() {
        insta::assert_snapshot!(written(&fixtures::harness_down()));
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
    fn a_message_is_short_and_whole_in_its_characters() {
        assert!(short(&"é".repeat(150)).len() <= LONGEST_MESSAGE);
        assert_eq!(short("a\nb"), "a");
    }
}
