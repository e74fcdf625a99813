//! Runs for the tests of the reports.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::results::Results;
use crate::domain::hook::Step;
use crate::domain::label::Labels;
use crate::domain::plan::{Item, ItemKind};
use crate::domain::replay::{Header, Replay, ReplayName};
use crate::domain::run::{
    Ending, Flaky, Output, ReplayResult, Signal, StepOutcome, StepResult, Summary, Verdict,
};
use crate::domain::window::{LogTail, Windows};

/// A run and its replays.
pub(super) struct Story {
    pub(super) summary: Summary,
    pub(super) replays: Vec<Arc<Replay>>,
    pub(super) windows: Windows,
}

impl Story {
    pub(super) fn results(&self) -> Results<'_> {
        let results = Results::new("tenant: harness", &self.summary, &self.replays);
        results.with_logs(self.windows.clone())
    }
}

/// Names and outputs that try to be more than text.
pub(super) const HOSTILE: [&str; 13] = [
    "a # SKIP no\r\nok 2 - b",
    "back\\slash \\# TODO later",
    "```\n</details>\n# heading\n| cell |",
    "`` ` `` | [link](http://x) <b> @somebody #1",
    "...\n  ...\nBail out! now",
    "%0A::error file=x,line=1::y",
    "::error title=a,b:c::d\n::stop-commands::x",
    "x ##[add-mask]e ##[stop-commands]t ##vso[task.complete]",
    "]]></system-out><failure/>",
    "\u{1b}[31mred\u{1b}[0m\u{1b}]0;title\u{7}\u{0}\u{7f}\u{9b}2J\u{202e}\u{feff}",
    "\"quoted\" \\\" \\n",
    "~~~\n````\n`````",
    "$(touch x) 'y' ; z",
];

pub(super) fn replay(name: &str) -> Arc<Replay> {
    Arc::new(Replay {
        name: ReplayName::new(name),
        suite: crate::domain::suite::SuiteName::default(),
        path: PathBuf::from(format!("/work/sub/replays/{name}.sh")),
        file: format!("replays/{name}.sh"),
        header: Header {
            closes: vec!["#2397".to_owned()],
            ..Header::default()
        },
    })
}

pub(super) fn result(name: &str, verdict: Verdict, output: &[u8]) -> ReplayResult {
    ReplayResult {
        replay: ReplayName::new(name),
        verdict,
        started: Timestamp::UNIX_EPOCH,
        took: Duration::from_millis(1500),
        attempt: 1,
        output: Output {
            head: output.into(),
            ..Output::default()
        },
        tap: None,
        slow: false,
        leaky: false,
        survivors: Vec::new(),
        retried: false,
        flaky: Flaky::No,
    }
}

fn step(step: Step, outcome: StepOutcome) -> StepResult {
    StepResult {
        step,
        outcome,
        took: Duration::from_secs(2),
        output: Output::default(),
    }
}

fn story(results: Vec<ReplayResult>) -> Story {
    let replays = results
        .iter()
        .map(|result| replay(result.replay.as_str()))
        .collect();
    Story {
        summary: Summary {
            started: Some(Timestamp::UNIX_EPOCH),
            took: Duration::from_secs(3),
            results,
            ..Summary::default()
        },
        replays,
        windows: Windows::new(),
    }
}

/// One of each kind, and a run that was interrupted and left something behind.
pub(super) fn mixed() -> Story {
    let mut story = story(vec![
        result("passes", Verdict::Passed, b"fine\n"),
        result(
            "fails",
            Verdict::Failed(Ending::Code(1)),
            b"\x1b[31mred\x1b[0m ]]> <&> \x00\x1b]0;title\x07 \xff\n  want: 404\n\ngot | 200\n",
        ),
        result(
            "hangs",
            Verdict::TimedOut {
                after: Duration::from_secs(20),
            },
            b"",
        ),
        result(
            "skips",
            Verdict::Skipped {
                reason: "no jq\n# here".to_owned(),
            },
            b"",
        ),
        result(
            "cannot",
            Verdict::CouldNotStart {
                reason: "not executable".to_owned(),
            },
            b"",
        ),
        result("cut", Verdict::Aborted, b"half a li"),
        ReplayResult {
            attempt: 2,
            ..result("wobbles", Verdict::Passed, b"at last\n")
        },
        ReplayResult {
            attempt: 2,
            ..result("worse", Verdict::Failed(Ending::Signal(9)), b"again\n")
        },
    ]);
    let summary = &mut story.summary;
    summary.earlier = vec![
        result("wobbles", Verdict::Failed(Ending::Code(1)), b"not yet\n"),
        result("worse", Verdict::Failed(Ending::Code(2)), b"once\n"),
    ];
    summary.not_run = vec![ReplayName::new("never")];
    summary.interrupted = Some(Signal::Terminate);
    summary.left_behind = vec![Item {
        kind: ItemKind::Network,
        name: "tenant_default".to_owned(),
        id: "1".to_owned(),
        created: None,
        labels: Labels::new(),
        image: None,
        state: None,
    }];
    summary.steps = vec![
        step(Step::Up, StepOutcome::Done),
        step(Step::Ready, StepOutcome::Done),
        step(
            Step::Seed,
            StepOutcome::Skipped {
                reason: "[harness] has no `seed` hook".to_owned(),
            },
        ),
        step(
            Step::Teardown,
            StepOutcome::Failed {
                reason: "1 left behind".to_owned(),
            },
        ),
    ];
    story.replays.push(replay("never"));
    story
}

pub(super) fn harness_down() -> Story {
    let mut story = story(Vec::new());
    story.summary.not_run = vec![ReplayName::new("a"), ReplayName::new("b")];
    story.replays = vec![replay("a"), replay("b")];
    story.summary.steps = vec![
        step(
            Step::Up,
            StepOutcome::Failed {
                reason: "exit 1".to_owned(),
            },
        ),
        step(Step::Down, StepOutcome::Done),
    ];
    story.summary.steps[0].output.head = b"Creating tenant\nno space left on device\n"[..].into();
    story
}

pub(super) fn passed() -> Story {
    story(vec![
        result("a", Verdict::Passed, b""),
        result("b", Verdict::Passed, b""),
    ])
}

/// A replay that was ok only after a failure, whatever this verdict calls it.
pub(super) fn ok_at_last(verdict: Verdict, flaky: Flaky) -> Story {
    let mut story = story(vec![ReplayResult {
        attempt: 2,
        flaky,
        ..result("wobbles", verdict, b"")
    }]);
    let before = Verdict::Failed(Ending::Code(1));
    story.summary.earlier = vec![result("wobbles", before, b"FAIL: at first\n")];
    story
}

/// As many that pass, and at last one that does not; each prints this, and it is on disk.
pub(super) fn passes_and_a_failure(passes: usize, output: &str) -> Story {
    let names = (0..passes).map(|n| (format!("r{n}"), Verdict::Passed));
    let failure = ("last".to_owned(), Verdict::Failed(Ending::Code(1)));
    let results = names.chain([failure]).map(|(name, verdict)| {
        let mut result = result(&name, verdict, output.as_bytes());
        result.output.file = Some(PathBuf::from("/state/output.log"));
        result
    });
    story(results.collect())
}

/// It failed beside a container that has the same name and wrote the same.
pub(super) fn one_failure(name: &str, output: &str) -> Story {
    let verdict = Verdict::Failed(Ending::Code(1));
    let mut story = story(vec![result(name, verdict, output.as_bytes())]);
    let tail = LogTail {
        container: name.to_owned(),
        lines: vec![(Duration::from_millis(1500), output.as_bytes().to_vec())],
        before: 2,
    };
    story.windows.insert(ReplayName::new(name), vec![tail]);
    story
}

pub(super) fn failures(count: usize) -> Story {
    failures_that_print(count, "")
}

pub(super) fn failures_that_print(count: usize, output: &str) -> Story {
    let verdict = || Verdict::Failed(Ending::Code(1));
    let results = (0..count).map(|n| result(&format!("r{n}"), verdict(), output.as_bytes()));
    story(results.collect())
}
