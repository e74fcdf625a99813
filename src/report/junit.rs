//! JUnit XML as Jenkins, GitLab and the GitHub actions all read it.
//!
//! Every case has a `classname` (GitLab drops what repeats a classname and name), outputs are
//! cut to what fits (a controller dies of a gigabyte in `system-out`), text goes into elements
//! and only a short line into `message`, and characters that XML cannot hold are taken out.

use std::io;
use std::time::Duration;

use jiff::Timestamp;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::domain::replay::ReplayName;
use crate::domain::run::{ReplayResult, StepOutcome, StepResult, Summary, Verdict};
use crate::text::sanitize::sanitize;

/// Attribute length in bytes; longer ones choke GitLab and Jenkins.
const LONGEST_MESSAGE: usize = 200;

/// Writes the report of a run. `files` gives a replay's file relative to the configuration.
///
/// The steps of the lifecycle are cases of the suite `@harness`, so that a seed that fails is not
/// a green report with no tests in it.
///
/// # Errors
///
/// Fails where the writer does, or where a time cannot be written.
pub fn junit(
    out: &mut dyn io::Write,
    name: &str,
    summary: &Summary,
    files: &dyn Fn(&ReplayName) -> Option<String>,
) -> io::Result<()> {
    let mut report = Report::new(text(name));
    report.set_time(summary.took);
    let started = summary.started.map(date);
    if let Some(started) = started {
        report.set_timestamp(started);
    }
    if !summary.steps.is_empty() {
        let mut suite = TestSuite::new("@harness");
        suite.set_time(summary.steps.iter().map(|step| step.took).sum());
        if let Some(started) = started {
            suite.set_timestamp(started);
        }
        suite.add_test_cases(summary.steps.iter().map(step_case));
        report.add_test_suite(suite);
    }
    let mut suite = TestSuite::new("replays");
    suite.set_time(summary.results.iter().map(|result| result.took).sum());
    if let Some(started) = started {
        suite.set_timestamp(started);
    }
    for result in &summary.results {
        suite.add_test_case(with_file(replay_case(result), files(&result.replay)));
    }
    for name in &summary.not_run {
        suite.add_test_case(with_file(not_run_case(name), files(name)));
    }
    report.add_test_suite(suite);
    report.serialize(out).map_err(io::Error::other)
}

fn with_file(mut case: TestCase, file: Option<String>) -> TestCase {
    if let Some(file) = file {
        case.extra.insert("file".into(), text(&file).into());
    }
    case
}

fn replay_case(result: &ReplayResult) -> TestCase {
    let status = match &result.verdict {
        Verdict::Passed => TestCaseStatus::success(),
        Verdict::Skipped { reason } => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(short(reason));
            status
        }
        Verdict::Failed(_) | Verdict::TimedOut { .. } => {
            non_success(NonSuccessKind::Failure, &result.verdict, result)
        }
        Verdict::Aborted | Verdict::CouldNotStart { .. } => {
            non_success(NonSuccessKind::Error, &result.verdict, result)
        }
    };
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
        case.set_system_out(lines(&output));
    }
    case
}

fn non_success(kind: NonSuccessKind, verdict: &Verdict, result: &ReplayResult) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(verdict.word());
    status.set_message(short(&verdict.to_string()));
    let mut description = verdict.to_string();
    let output = lines(&result.output.text());
    let tail: Vec<&str> = output.lines().rev().take(20).collect();
    for line in tail.into_iter().rev() {
        description.push('\n');
        description.push_str(line);
    }
    status.set_description(text(&description));
    status
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
        case.set_system_out(lines(&output));
    }
    case
}

/// Text of any origin, line by line, without what a terminal or XML would choke on.
fn lines(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        text.push_str(&sanitize(line.strip_suffix(b"\n").unwrap_or(line)).text);
        if line.ends_with(b"\n") {
            text.push('\n');
        }
    }
    text
}

fn text(text: &str) -> String {
    lines(text.as_bytes())
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
    use super::*;
    use crate::domain::hook::Step;
    use crate::domain::run::{Ending, Output};

    fn result(name: &str, verdict: Verdict, output: &[u8]) -> ReplayResult {
        ReplayResult {
            replay: ReplayName::new(name),
            verdict,
            started: Timestamp::UNIX_EPOCH,
            took: Duration::from_millis(1500),
            attempt: 1,
            output: Output {
                head: output.to_vec(),
                ..Output::default()
            },
            slow: false,
            leaky: false,
            survivors: Vec::new(),
        }
    }

    #[test]
    fn the_report_is_what_ci_servers_read() {
        let summary = Summary {
            started: Some(Timestamp::UNIX_EPOCH),
            took: Duration::from_secs(65),
            results: vec![
                result("passes", Verdict::Passed, b"fine\n"),
                result(
                    "fails",
                    Verdict::Failed(Ending::Code(1)),
                    b"\x1b[31mred\x1b[0m ]]> <&> \x00\x1b]0;title\x07 \xff\nwant 404\n",
                ),
                result(
                    "skips",
                    Verdict::Skipped {
                        reason: "no jq".to_owned(),
                    },
                    b"",
                ),
                result(
                    "cannot",
                    Verdict::CouldNotStart {
                        reason: "é".repeat(150),
                    },
                    b"",
                ),
            ],
            not_run: vec![ReplayName::new("never")],
            steps: vec![StepResult {
                step: Step::Up,
                outcome: StepOutcome::Failed {
                    reason: "exit 1".to_owned(),
                },
                took: Duration::from_secs(2),
                output: Output::default(),
            }],
            ..Summary::default()
        };
        let mut out = Vec::new();
        let files = |name: &ReplayName| Some(format!("replays/{name}.sh"));
        junit(&mut out, "harness", &summary, &files).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
    }

    #[test]
    fn a_message_is_short_and_whole_in_its_characters() {
        assert!(short(&"é".repeat(150)).len() <= LONGEST_MESSAGE);
        assert_eq!(short("a\nb"), "a");
    }
}
