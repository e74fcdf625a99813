//! A run in Markdown: for the comment on a pull request, or the summary of a CI step.
//!
//! Names and outputs stand in code, with more backticks around them than they hold, so that they
//! mention nobody, link nowhere and end no cell.

use std::io;
use std::iter::repeat_n;

use super::results::{Results, again, tail, tally};
use crate::domain::run::{ReplayResult, Seconds};
use crate::text::sanitize::sanitize_plain;

/// Of the output of what failed.
const OUTPUT_LINES: usize = 40;
const OUTPUT_BYTES: usize = 8 * 1024;

/// Bytes of outputs in all. GitHub drops a summary of more than 1 MiB as a whole.
const ALL_OUTPUTS: usize = 512 * 1024;

/// Rows of a table; more than that nobody reads.
const ROWS: usize = 200;

/// Names in the command that runs the failures again.
const AGAIN: usize = 20;

/// Writes the verdict, what failed with the ends of its output, and how to run it again.
///
/// # Errors
///
/// Fails where the writer does.
pub fn markdown(out: &mut dyn io::Write, results: &Results) -> io::Result<()> {
    let summary = results.summary;
    let mut failures: Vec<&ReplayResult> = results.failures().collect();
    failures.sort_by(|a, b| a.replay.cmp(&b.replay));
    let troubles = results.troubles();
    let failed_steps: Vec<_> = results.failed_steps().collect();
    let good = failures.is_empty()
        && troubles.is_empty()
        && failed_steps.is_empty()
        && summary.not_run.is_empty();
    let tally: Vec<String> = tally(summary)
        .iter()
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    let mark = if good { "✔" } else { "✘" };
    let mut verdict = format!("### {mark} {}: ", code(results.name));
    if !tally.is_empty() {
        verdict.push_str(&format!("{}, ", tally.join(", ")));
    }
    writeln!(out, "{verdict}{}", Seconds(summary.took))?;
    if !troubles.is_empty() || !failed_steps.is_empty() {
        writeln!(out)?;
    }
    for (step, reason) in failed_steps {
        writeln!(out, "- {}: {}", step.step.word(), code(reason))?;
    }
    for trouble in troubles {
        writeln!(out, "- {}", code(&trouble))?;
    }
    let mut rows = Vec::new();
    for result in &failures {
        let verdict = results.why_failed(result);
        let symbol = result.verdict.symbol_of(false);
        rows.push(row(results, result, symbol, &verdict));
    }
    for result in results.flaky() {
        rows.push(row(results, result, "~", &results.why_flaky(result)));
    }
    if !rows.is_empty() {
        writeln!(out, "\n| | replay | verdict | time | closes |")?;
        writeln!(out, "| --- | --- | --- | ---: | --- |")?;
        for row in rows.iter().take(ROWS) {
            writeln!(out, "{row}")?;
        }
        if rows.len() > ROWS {
            writeln!(out, "\n… and {} more.", rows.len() - ROWS)?;
        }
    }
    let leaks: Vec<_> = results.leaks().collect();
    if !leaks.is_empty() || !summary.not_run.is_empty() {
        writeln!(out)?;
    }
    for (replay, leak) in leaks.into_iter().take(ROWS) {
        writeln!(out, "- {}: {}", code(replay.as_str()), code(&leak))?;
    }
    if !summary.not_run.is_empty() {
        let names = summary.not_run.iter().take(ROWS);
        let names: Vec<String> = names.map(|name| code(name.as_str())).collect();
        let more = match summary.not_run.len() - names.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        writeln!(out, "- not run: {}{more}", names.join(", "))?;
    }
    write_outputs(out, results, &failures)?;
    if !failures.is_empty() {
        let names = failures.iter().take(AGAIN).map(|result| &result.replay);
        let which = if failures.len() > AGAIN {
            format!("The first {AGAIN} again")
        } else {
            "Again".to_owned()
        };
        writeln!(out, "\n{which}:\n\n{}", fenced("sh", &again(names)))?;
    }
    out.flush()
}

fn row(results: &Results, result: &ReplayResult, symbol: &str, verdict: &str) -> String {
    let replay = results.replay(&result.replay);
    let closes = replay.map_or_else(String::new, |replay| replay.header.closes.join(" "));
    let cell = |text: &str| code(text).replace('|', "\\|");
    format!(
        "| {symbol} | {} | {} | {} | {} |",
        cell(result.replay.as_str()),
        cell(verdict),
        Seconds(result.took),
        cell(&closes)
    )
}

fn write_outputs(
    out: &mut dyn io::Write,
    results: &Results,
    failures: &[&ReplayResult],
) -> io::Result<()> {
    let mut room = ALL_OUTPUTS;
    let mut left_out = 0;
    let steps = results
        .failed_steps()
        .map(|(step, _)| (step.step.word(), &step.output, String::new()));
    let replays = failures.iter().map(|result| {
        let logs = results.logs(&result.replay);
        (
            result.replay.as_str(),
            results.summary.evidence(result),
            logs,
        )
    });
    for (name, output, logs) in steps.chain(replays) {
        let output = tail(output, OUTPUT_LINES, OUTPUT_BYTES);
        if output.is_empty() && logs.is_empty() {
            continue;
        }
        let Some(rest) = room.checked_sub(output.len() + logs.len()) else {
            left_out += 1;
            continue;
        };
        room = rest;
        let name = html(name);
        writeln!(out, "\n<details><summary>{name}</summary>\n")?;
        if !output.is_empty() {
            writeln!(out, "{}\n", fenced("text", &output))?;
        }
        if !logs.is_empty() {
            let logs = fenced("text", logs.trim_end_matches('\n'));
            writeln!(out, "What containers wrote while it ran:\n\n{logs}\n")?;
        }
        writeln!(out, "</details>")?;
    }
    if left_out > 0 {
        writeln!(out, "\nThe outputs of {left_out} more are with the run.")?;
    }
    Ok(())
}

/// A code span that holds this text, whatever is in it; nothing for nothing.
fn code(text: &str) -> String {
    let text = sanitize_plain(text);
    if text.trim().is_empty() {
        return String::new();
    }
    let fence = backticks(longest_run(&text) + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') {
        " "
    } else {
        ""
    };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// A block of code that holds these lines, whatever is in them.
fn fenced(language: &str, text: &str) -> String {
    let fence = backticks((longest_run(text) + 1).max(3));
    format!("{fence}{language}\n{text}\n{fence}")
}

fn backticks(count: usize) -> String {
    repeat_n('`', count).collect()
}

fn longest_run(text: &str) -> usize {
    let runs = text.split(|c| c != '`').map(str::len);
    runs.max().unwrap_or(0)
}

/// Text between tags of HTML, where Markdown's own marks count as well.
fn html(text: &str) -> String {
    let mut safe = String::new();
    for c in sanitize_plain(text).chars() {
        if c.is_alphanumeric() || " -_./".contains(c) {
            safe.push(c);
        } else {
            safe.push_str(&format!("&#{};", u32::from(c)));
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::super::fixtures;
    use super::*;
    use crate::domain::run::{Flaky, Verdict};

    fn written(story: &fixtures::Story) -> String {
        let mut out = Vec::new();
        markdown(&mut out, &story.results()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_verdict_comes_first_and_then_what_failed() {
        insta::assert_snapshot!(written(&fixtures::mixed()));
        insta::assert_snapshot!("harness_down", written(&fixtures::harness_down()));
    }

    #[test]
    fn what_containers_wrote_stands_below_the_output() {
        let written = written(&fixtures::one_failure("a", "no"));
        let wanted = "<details><summary>a</summary>\n\n```text\nno\n```\n\n\
            What containers wrote while it ran:\n\n\
            ```text\n--- log of a, 2 lines before ---\n+1.500 no\n```\n\n</details>\n";
        assert!(written.contains(wanted), "{written}");
    }

    #[test]
    fn what_the_run_fails_by_says_why() {
        let written = written(&fixtures::ok_at_last(Verdict::Passed, Flaky::Fails));
        assert!(written.contains("1 failed"), "{written}");
        let row = "| ✘ | `wobbles` | `flaky: passed in attempt 2; before: failed: exit 1` |";
        assert_eq!(written.matches("flaky").count(), 1, "{written}");
        assert!(written.contains(row), "{written}");
        assert!(written.contains("FAIL: at first"), "{written}");
    }

    #[test]
    fn what_passed_takes_one_line() {
        assert_eq!(
            written(&fixtures::passed()),
            "### ✔ `tenant: harness`: 2 passed, 3.0 s\n"
        );
    }

    #[test]
    fn code_ends_where_it_ends() {
        assert_eq!(code("a`b"), "``a`b``");
        assert_eq!(code("`"), "`` ` ``");
        assert_eq!(code("a\nb"), "`a b`");
        assert_eq!(code(" "), "");
        assert_eq!(fenced("", "````\n~~~"), "`````\n````\n~~~\n`````");
    }

    #[test]
    fn nothing_that_a_replay_prints_or_is_called_becomes_markup() {
        let shape = |text: &str| -> Vec<String> {
            let mut lines = Vec::new();
            let mut fence: Option<String> = None;
            for line in written(&fixtures::one_failure(text, text)).lines() {
                match &fence {
                    Some(end) if line == end => fence = None,
                    Some(_) => {}
                    None if line.starts_with("```") => {
                        fence = Some(line.chars().take_while(|c| *c == '`').collect());
                        lines.push("fence".to_owned());
                    }
                    None => {
                        let start: String = line.chars().take(6).collect();
                        lines.push(start);
                    }
                }
            }
            assert_eq!(fence, None, "{text:?}");
            lines
        };
        let plain = shape("plain");
        for text in fixtures::HOSTILE {
            assert_eq!(shape(text), plain, "{text:?}");
        }
    }

    #[test]
    fn a_summary_that_would_be_dropped_is_cut() {
        let text = "x".repeat(OUTPUT_BYTES);
        let story = fixtures::failures_that_print(300, &text);
        let written = written(&story);
        assert!(written.len() < 900 * 1024, "{}", written.len());
        assert!(written.contains("\n… and 100 more.\n"));
        assert!(written.contains("more are with the run"));
    }
}
