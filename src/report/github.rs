//! Workflow commands of GitHub Actions: annotations on the files of what failed.

use std::io;
use std::path::Path;

use super::results::{Results, tail};
use crate::domain::run::Output;
use crate::text::sanitize::sanitize_plain;

/// GitHub shows ten of a kind for each step and drops the others without a word.
const SHOWN: usize = 10;

/// Of the output of what failed.
const OUTPUT_LINES: usize = 10;
const OUTPUT_BYTES: usize = 2 * 1024;

/// Writes an error for what failed and a warning for what is flaky, the tenth saying how many
/// more there are. Files are named relative to the workspace where they lie in it.
///
/// # Errors
///
/// Fails where the writer does.
pub fn github(
    out: &mut dyn io::Write,
    results: &Results,
    workspace: Option<&Path>,
) -> io::Result<()> {
    let mut errors = Vec::new();
    for trouble in results.troubles() {
        errors.push(command("error", None, results.name, &trouble));
    }
    for (step, reason) in results.failed_steps() {
        let title = format!("{} of {}", step.step.word(), results.name);
        let message = with_tail(reason, &step.output);
        errors.push(command("error", None, &title, &message));
    }
    for result in results.failures() {
        let file = results.file_in(workspace, &result.replay);
        let message = with_tail(
            &results.why_failed(result),
            results.summary.evidence(result),
        );
        let title = result.replay.as_str();
        errors.push(command("error", file.as_deref(), title, &message));
    }
    if !results.summary.not_run.is_empty() {
        let names: Vec<&str> = results
            .summary
            .not_run
            .iter()
            .map(|name| name.as_str())
            .collect();
        let message = format!("not run: {}", names.join(", "));
        errors.push(command("error", None, results.name, &message));
    }
    let mut warnings = Vec::new();
    for result in results.flaky() {
        let file = results.file_in(workspace, &result.replay);
        let message = results.why_flaky(result);
        let title = result.replay.as_str();
        warnings.push(command("warning", file.as_deref(), title, &message));
    }
    for (replay, leak) in results.leaks() {
        let file = results.file_in(workspace, replay);
        warnings.push(command("warning", file.as_deref(), replay.as_str(), &leak));
    }
    for (kind, commands) in [("error", errors), ("warning", warnings)] {
        let shown = if commands.len() > SHOWN {
            SHOWN - 1
        } else {
            commands.len()
        };
        for command in &commands[..shown] {
            writeln!(out, "{command}")?;
        }
        if shown < commands.len() {
            let more = format!("and {} more", commands.len() - shown);
            writeln!(out, "{}", command(kind, None, results.name, &more))?;
        }
    }
    out.flush()
}

fn with_tail(message: &str, output: &Output) -> String {
    let output = tail(output, OUTPUT_LINES, OUTPUT_BYTES);
    match output.is_empty() {
        true => message.to_owned(),
        false => format!("{}\n{output}", sanitize_plain(message)),
    }
}

fn command(kind: &str, file: Option<&str>, title: &str, message: &str) -> String {
    let file = file.map_or_else(String::new, |file| format!("file={},", property(file)));
    let lines: Vec<_> = message.lines().map(sanitize_plain).collect();
    format!(
        "::{kind} {file}title={}::{}",
        property(title),
        data(&lines.join("\n"))
    )
}

fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(&sanitize_plain(text))
        .replace(':', "%3A")
        .replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::super::fixtures;
    use super::*;

    fn written(story: &fixtures::Story) -> String {
        let mut out = Vec::new();
        github(&mut out, &story.results(), Some(Path::new("/work"))).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_failed_is_annotated() {
        insta::assert_snapshot!(written(&fixtures::mixed()));
        insta::assert_snapshot!("harness_down", written(&fixtures::harness_down()));
    }

    #[test]
    fn what_passed_is_not() {
        assert_eq!(written(&fixtures::passed()), "");
    }

    #[test]
    fn the_tenth_speaks_for_all_that_follow() {
        assert_eq!(written(&fixtures::failures(10)).lines().count(), 10);
        let more = written(&fixtures::failures(11));
        assert_eq!(more.lines().count(), 10);
        let last = more.lines().last();
        assert_eq!(last, Some("::error title=tenant%3A harness::and 2 more"));
    }

    #[test]
    fn nothing_that_a_replay_prints_or_is_called_is_a_command() {
        for text in fixtures::HOSTILE {
            let commands = written(&fixtures::one_failure(text, text));
            assert_eq!(commands.lines().count(), 1, "{commands}");
            assert!(
                !commands
                    .trim_end()
                    .contains(crate::text::sanitize::needs_care)
            );
            let (properties, _) = commands["::error ".len()..].split_once("::").unwrap();
            let keys: Vec<&str> = properties
                .split(',')
                .filter_map(|property| property.split('=').next())
                .collect();
            assert_eq!(keys, ["file", "title"], "{commands}");
        }
    }
}
