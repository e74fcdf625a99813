//! Which replays are shown, in which order, and how they are run.

use std::num::{NonZeroU32, NonZeroUsize};

use super::*;
use crate::domain::output::OutputLines;
use crate::domain::replay::{Header, Replay};
use crate::domain::run::Flaky;
use crate::domain::suite::SuiteName;
use crate::replay::Rounds;
use crate::tui::fixtures::{courses, event_at};

/// Four replays with tags, and what earlier runs say of two of them.
fn tagged() -> State {
    let mut state = connected(120, 40);
    let replay = |name: &str, tags: &str| {
        Arc::new(Replay {
            name: ReplayName::new(name),
            path: name.into(),
            suite: SuiteName::default(),
            file: format!("replays/{name}.sh"),
            header: Header {
                tags: tags.split_whitespace().map(str::to_owned).collect(),
                ..Header::default()
            },
        })
    };
    let list = vec![
        replay("peer-discovery-404", "net"),
        replay("needs-jq", "net slow"),
        replay("cp-proxy-501", "db"),
        replay("not-run-yet", ""),
    ];
    send(&mut state, Msg::Replays(Ok(list)));
    press(&mut state, "<tab>");
    state
}

fn shown(state: &State) -> Vec<&str> {
    let list = state.replays.list().iter();
    list.map(|replay| replay.name.as_str()).collect()
}

fn run(list: &[&str]) -> Vec<Effect> {
    vec![Effect::Start(job(names(list)))]
}

#[test]
fn a_filter_shows_as_one_types_what_is_then_run() {
    let mut state = tagged();
    press(&mut state, "/tag:net");
    assert_eq!(shown(&state), ["peer-discovery-404", "needs-jq"]);
    // Not an expression yet: what was shown stays.
    press(&mut state, " and");
    assert_eq!(shown(&state).len(), 2);
    press(&mut state, " not tag:slow<enter>");
    assert!(state.dialog.is_none());
    assert_eq!(shown(&state), ["peer-discovery-404"]);
    assert_eq!(effects_of(&mut state, "a"), run(&["peer-discovery-404"]));
    let mut state = tagged();
    press(&mut state, "&cp or jq<enter>");
    assert_eq!(
        effects_of(&mut state, "a"),
        run(&["needs-jq", "cp-proxy-501"])
    );
}

#[test]
fn a_filter_is_given_up_taken_away_and_found_again() {
    let mut state = tagged();
    press(&mut state, "/cp<enter>/ or jq");
    assert_eq!(shown(&state), ["needs-jq", "cp-proxy-501"]);
    press(&mut state, "<esc>");
    assert_eq!(shown(&state), ["cp-proxy-501"]);
    press(&mut state, "<esc>");
    assert_eq!(shown(&state).len(), 4);
    press(&mut state, "/cp<enter>/<ctrl-u><enter>");
    assert_eq!(shown(&state).len(), 4);
}

#[test]
fn a_mistake_in_a_filter_stays_open_and_an_unknown_tag_is_named() {
    let mut state = tagged();
    press(&mut state, "/(net<enter>");
    assert!(state.dialog.is_some());
    let said = |state: &State| state.notice.clone().unwrap().text;
    assert_eq!(said(&state), "a `(` is never closed");
    press(&mut state, "<ctrl-u>tag:nett<enter>");
    assert_eq!(
        said(&state),
        "no replay has the tag \"nett\"; did you mean net?"
    );
    assert_eq!(effects_of(&mut state, "a"), []);
}

#[test]
fn the_cursor_stays_with_its_replay_and_marks_with_what_is_hidden() {
    let mut state = tagged();
    press(&mut state, "jj /cp or not-run<enter>");
    assert_eq!(
        state.replays.selected().unwrap().name.as_str(),
        "not-run-yet"
    );
    press(&mut state, " /<ctrl-u>not-run<enter>");
    assert_eq!(state.replays.marked(), (2, 1));
    assert_eq!(
        effects_of(&mut state, "r"),
        run(&["not-run-yet", "cp-proxy-501"])
    );
}

#[test]
fn what_failed_before_this_session_is_run_again() {
    let mut state = tagged();
    assert_eq!(effects_of(&mut state, "f"), []);
    send(&mut state, Msg::History(courses()));
    assert_eq!(
        effects_of(&mut state, "f"),
        run(&["peer-discovery-404", "needs-jq"])
    );
    let mut state = tagged();
    send(&mut state, Msg::History(courses()));
    // `not-run-yet` is new.
    assert_eq!(
        effects_of(&mut state, "F"),
        run(&["peer-discovery-404", "needs-jq", "not-run-yet"])
    );
    let mut state = tagged();
    send(&mut state, Msg::History(courses()));
    press(&mut state, "/is:passed<enter>");
    assert_eq!(shown(&state), ["cp-proxy-501"]);
    assert_eq!(effects_of(&mut state, "F"), []);
    let said = state.notice.unwrap().text;
    assert_eq!(said, "nothing to do: the replay passed when it last ran");
}

#[test]
fn a_run_of_this_session_outdoes_what_was_before() {
    let mut state = tagged();
    send(&mut state, Msg::History(courses()));
    press(&mut state, "a");
    send(&mut state, event(finished("needs-jq", Verdict::Passed)));
    let effects = tell(&mut state, Msg::RunEnded { problem: None });
    assert_eq!(effects, [Effect::ReadHistory]);
    assert_eq!(effects_of(&mut state, "f"), run(&["peer-discovery-404"]));
}

#[test]
fn what_runs_stays_in_a_list_of_what_failed() {
    let mut state = tagged();
    send(&mut state, Msg::History(courses()));
    press(&mut state, "/is:failed<enter>a");
    let replays = state.replays.list().to_vec();
    let run = crate::domain::id::RunId::new(now(), 1);
    let stacks = Vec::new();
    let started = RunEventKind::Started {
        run,
        replays,
        stacks,
    };
    send(&mut state, event(started));
    send(
        &mut state,
        event(finished("peer-discovery-404", Verdict::Passed)),
    );
    assert_eq!(shown(&state), ["needs-jq"]);
    send(&mut state, event(finished("needs-jq", failed())));
    send(&mut state, Msg::RunEnded { problem: None });
    assert_eq!(shown(&state), ["needs-jq"]);
}

#[test]
fn orders_are_gone_through_and_are_those_of_the_run() {
    let mut state = tagged();
    send(&mut state, Msg::History(courses()));
    press(&mut state, "oo");
    let first = [
        "needs-jq",
        "peer-discovery-404",
        "not-run-yet",
        "cp-proxy-501",
    ];
    assert_eq!(shown(&state), first);
    assert_eq!(effects_of(&mut state, "a"), run(&first));
    let mut state = tagged();
    press(&mut state, "o");
    assert_eq!(shown(&state)[0], "cp-proxy-501");
    press(&mut state, "ooo");
    assert_eq!(shown(&state)[0], "peer-discovery-404");
}

#[test]
fn the_next_one_that_failed_is_gone_to() {
    let mut state = tagged();
    send(&mut state, Msg::History(courses()));
    press(&mut state, "]");
    let at = |state: &State| state.replays.selected().unwrap().name.to_string();
    assert_eq!(at(&state), "needs-jq");
    press(&mut state, "]");
    assert!(state.notice.is_some());
    press(&mut state, "G[");
    assert_eq!(at(&state), "needs-jq");
    press(&mut state, "[");
    assert_eq!(at(&state), "peer-discovery-404");
}

#[test]
fn how_replays_are_run_is_asked_for() {
    let mut state = tagged();
    let policy = Policy {
        rounds: Rounds::Count(NonZeroU32::new(20).unwrap()),
        jobs: NonZeroUsize::new(4).unwrap(),
        retries: 2,
        ..Policy::default()
    };
    let asked = Job::Run(names(&["peer-discovery-404"]), policy.clone());
    assert_eq!(
        effects_of(&mut state, "p20<down>jj4<down>ll<enter>"),
        [Effect::Start(asked)]
    );
    send(&mut state, Msg::RunEnded { problem: None });
    // Jobs and retries stay, the repetition does not.
    let lasting = Policy {
        rounds: Policy::default().rounds,
        ..policy
    };
    let again = Job::Run(names(&["peer-discovery-404"]), lasting);
    assert_eq!(effects_of(&mut state, "r"), [Effect::Start(again)]);
    assert!(screen(&state).contains("4 jobs"));
    let mut state = tagged();
    let endless = Policy {
        rounds: Rounds::Endless,
        max_fail: NonZeroUsize::new(1),
        ..Policy::default()
    };
    let until = Job::Run(names(&["needs-jq", "cp-proxy-501"]), endless);
    assert_eq!(
        effects_of(&mut state, "j  pj <enter>"),
        [Effect::Start(until)]
    );
    assert_eq!(effects_of(&mut tagged(), "p7<esc>"), []);
    assert_eq!(
        effects_of(&mut tagged(), ":run-with<enter><enter>"),
        run(&["peer-discovery-404"])
    );
}

fn attempt(number: u32, verdict: Verdict, retried: bool, flaky: Flaky) -> RunEventKind {
    let mut kind = finished("needs-jq", verdict);
    if let RunEventKind::ReplayFinished(result) = &mut kind {
        (result.attempt, result.retried, result.flaky) = (number, retried, flaky);
    }
    kind
}

fn begun(number: u32) -> RunEventKind {
    RunEventKind::ReplayStarted {
        replay: ReplayName::new("needs-jq"),
        attempt: number,
        timeout: None,
    }
}

fn failed() -> Verdict {
    Verdict::Failed(Ending::Code(1))
}

#[test]
fn a_retry_is_seen_while_it_runs_and_both_outputs_stay() {
    let mut state = tagged();
    press(&mut state, "jpjjjj2<enter>");
    let say = |state: &mut State, text: &str| {
        let replay = ReplayName::new("needs-jq");
        let lines = OutputLines::new(text.as_bytes());
        send(state, event(RunEventKind::ReplayOutput { replay, lines }));
    };
    send(&mut state, event(begun(1)));
    say(&mut state, "no such host");
    send(&mut state, event(attempt(1, failed(), true, Flaky::No)));
    // It is on its way, so nothing has failed yet.
    assert_eq!(state.replays.counts().failed, 0);
    send(&mut state, event_at(1, begun(2)));
    let text = screen(&state);
    assert!(text.contains("retry, attempt 2 of 3"), "{text}");
    say(&mut state, "there it is");
    let flaky = attempt(2, Verdict::Passed, false, Flaky::Tolerated);
    send(&mut state, event(flaky));
    let text = screen(&state);
    for part in [
        "no such host",
        "── attempt 1: failed: exit 1, 1.2 s ──",
        "── attempt 2 of 3 ──",
        "there it is",
        "── attempt 2: passed, 1.2 s ──",
        "flaky ×2",
        "1 flaky",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    press(&mut state, "i");
    let text = screen(&state);
    assert!(text.contains("1: failed: exit 1 after 1.2 s"), "{text}");
}

#[test]
fn a_repetition_keeps_its_first_failure_and_counts_what_passed() {
    let mut state = tagged();
    press(&mut state, "jp3<enter>");
    let passed = |number| attempt(number, Verdict::Passed, false, Flaky::No);
    let ends = [passed(1), attempt(2, failed(), false, Flaky::No), passed(3)];
    for (number, end) in (1..).zip(ends) {
        send(&mut state, event(begun(number)));
        send(&mut state, event(end));
    }
    let status = state.replays.status(&ReplayName::new("needs-jq"));
    let Some(Status::Done {
        verdict,
        attempt,
        passes,
        ..
    }) = status
    else {
        panic!("{status:?}");
    };
    assert_eq!((verdict, *attempt, *passes), (&failed(), 2, 2));
    send(
        &mut state,
        Msg::Resize(Size {
            width: 160,
            height: 40,
        }),
    );
    assert!(screen(&state).contains("exit 1 ×2, 2 passed"));
}

#[test]
fn a_retry_that_never_began_leaves_the_failure() {
    let mut state = tagged();
    press(&mut state, "a");
    send(&mut state, event(attempt(1, failed(), true, Flaky::No)));
    send(&mut state, Msg::RunEnded { problem: None });
    assert!(screen(&state).contains(" ✘ 1"), "{}", screen(&state));
}

#[test]
fn a_round_that_failed_is_not_flaky_for_an_earlier_one() {
    let mut state = tagged();
    press(&mut state, "a");
    for (number, verdict, retried, flaky) in [
        (1, failed(), true, Flaky::No),
        (2, Verdict::Passed, false, Flaky::Tolerated),
        (3, failed(), true, Flaky::No),
        (4, failed(), false, Flaky::No),
    ] {
        send(&mut state, event(begun(number)));
        send(&mut state, event(attempt(number, verdict, retried, flaky)));
    }
    assert!(!screen(&state).contains("flaky"), "{}", screen(&state));
}

#[test]
fn what_a_run_does_not_pass_with_has_failed() {
    let mut state = tagged();
    press(&mut state, "a");
    send(&mut state, event(attempt(1, failed(), true, Flaky::No)));
    send(&mut state, event(begun(2)));
    let flaky = attempt(2, Verdict::Passed, false, Flaky::Fails);
    send(&mut state, event(flaky));
    send(
        &mut state,
        event(finished("cp-proxy-501", Verdict::Aborted)),
    );
    send(
        &mut state,
        event(finished("peer-discovery-404", Verdict::Passed)),
    );
    send(&mut state, Msg::RunEnded { problem: None });
    let text = screen(&state);
    for part in [
        "✔ 1  ✘ 1  ■ 1  1 flaky",
        "1 ✔ ─ 1 ✘ ─ 1 ■ ─ 1 flaky",
        "✘ needs-jq",
        "flaky ×2, fails",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    press(&mut state, "/is:passed<enter>");
    assert_eq!(shown(&state), ["peer-discovery-404"]);
    press(&mut state, "/<ctrl-u>is:failed<enter>");
    assert_eq!(shown(&state), ["needs-jq", "cp-proxy-501"]);
    assert_eq!(
        effects_of(&mut state, "f"),
        run(&["needs-jq", "cp-proxy-501"])
    );
}

#[test]
fn what_runs_again_has_ended_as_before_until_it_begins() {
    let mut state = tagged();
    let again = RunEventKind::Again {
        why: "it changed".to_owned(),
        replays: state.replays.found()[..2].to_vec(),
        steps: Vec::new(),
    };
    let counts = |state: &State| {
        let counts = state.replays.counts();
        (counts.passed, counts.failed, counts.not_run)
    };
    send(
        &mut state,
        event(finished("peer-discovery-404", Verdict::Passed)),
    );
    send(&mut state, event(attempt(1, failed(), false, Flaky::No)));
    send(&mut state, event(again));
    assert_eq!(counts(&state), (1, 1, 2));
    send(&mut state, event(begun(2)));
    assert_eq!(counts(&state), (1, 0, 3));
    // Of another round: the failure before it is put right, and no repetition of this one.
    send(
        &mut state,
        event(attempt(2, Verdict::Passed, false, Flaky::No)),
    );
    assert_eq!(counts(&state), (2, 0, 2));
    assert_eq!(
        state.replays.attempts(&ReplayName::new("needs-jq")).len(),
        2
    );
    let gone = RunEventKind::Gone {
        why: "it was deleted".to_owned(),
        replays: vec![ReplayName::new("needs-jq")],
    };
    send(&mut state, event(gone));
    assert_eq!(counts(&state), (1, 0, 3));
}
