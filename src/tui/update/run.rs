//! Starting and stopping what runs, and taking in its events.

use crate::domain::line::{Channel, SourceId};
use crate::domain::plan::Fingerprint;
use crate::domain::replay::ReplayName;
use crate::domain::run::{
    ReplayResult, RunEvent, RunEventKind, Seconds, StepOutcome, Summary, Verdict,
};
use crate::domain::scope::StackName;
use crate::text::sanitize::sanitize_plain;
use crate::tui::effect::{Effect, Job};
use crate::tui::state::run::{
    Active, Stage, Stopping, Subject, What, harness_change, replay_output, step_output,
};
use crate::tui::state::{Pane, Quitting, State};

use super::current_layout;
use super::logs::{forget, push};

/// Starts a job, if nothing else runs.
pub(super) fn start(state: &mut State, job: Job, effects: &mut Vec<Effect>) {
    if let Some(refusal) = busy(state) {
        state.notify(refusal);
        return;
    }
    state.active = Some(Active::new(What::Job(job.clone()), state.now));
    effects.push(Effect::Start(job));
}

/// Why nothing can be started now.
pub(super) fn busy(state: &State) -> Option<&'static str> {
    match state.active.as_ref()?.what {
        What::Job(_) => Some("something runs already; x stops it"),
        What::Teardown(_) => Some("a teardown is under way"),
    }
}

pub(super) fn run(state: &mut State, names: Vec<ReplayName>, effects: &mut Vec<Effect>) {
    if names.is_empty() {
        state.notify("there is no replay to run");
    } else {
        let policy = state.policy.clone();
        start(state, Job::Run(names, policy), effects);
    }
}

pub(super) fn tear_down(
    state: &mut State,
    stack: StackName,
    fingerprint: Fingerprint,
    effects: &mut Vec<Effect>,
) {
    state.active = Some(Active::new(What::Teardown(stack.clone()), state.now));
    effects.push(Effect::Teardown { stack, fingerprint });
}

/// First asks, then kills; what kills its hook does not yet give a teardown up.
pub(super) fn stop(state: &mut State, effects: &mut Vec<Effect>) {
    let Some(active) = &mut state.active else {
        state.notify("nothing runs");
        return;
    };
    let is_teardown = matches!(active.what, What::Teardown(_));
    match active.stopping {
        Stopping::No => {
            active.stopping = Stopping::Asked;
            effects.push(Effect::Cancel);
            if is_teardown {
                state.notify("stops after the items under way; the rest is left");
            }
        }
        Stopping::Asked => {
            active.stopping = Stopping::Killed;
            effects.push(Effect::Kill);
        }
        Stopping::Killed if is_teardown => effects.push(Effect::Kill),
        Stopping::Killed => {}
    }
}

/// The user chose a row: the list and the output stay with that.
pub(super) fn user_moved(state: &mut State) {
    state.subject = Subject::Selected;
    if let Some(active) = &mut state.active {
        active.follow = false;
    }
}

pub(super) fn on_event(state: &mut State, event: &RunEvent) {
    state.replays.fold(event.at, &event.kind);
    if let Some(up) = harness_change(&event.kind) {
        let harness = match state.active.as_ref().map(|active| &active.what) {
            Some(What::Teardown(stack)) => Some(stack) == state.setup.harness_name().as_ref(),
            _ => true,
        };
        if harness {
            state.booted = up;
        }
    }
    let follow = match &mut state.active {
        Some(active) => {
            active.fold(event);
            active.follow
        }
        None => false,
    };
    match &event.kind {
        RunEventKind::StepStarted { step } => {
            clear_output(state, &step_output(*step));
            if follow {
                state.subject = Subject::Step(*step);
            }
        }
        RunEventKind::StepOutput { step, lines } => {
            for line in lines.iter() {
                output(state, event, &step_output(*step), line);
            }
        }
        RunEventKind::StepFinished {
            step,
            outcome,
            output: text,
            ..
        } => {
            complete_output(state, event, &step_output(*step), &text.text());
            if let StepOutcome::Failed { reason } = outcome {
                let (word, reason) = (step.word(), sanitize_plain(reason));
                let shown = current_layout(state).shows(Pane::Output);
                let more = if shown { "" } else { " · 3 shows its output" };
                state.notify(format!("{word} failed: {reason}{more}"));
                // What went wrong comes before what was being looked at.
                state.subject = Subject::Step(*step);
            }
        }
        RunEventKind::ReplayStarted {
            replay, attempt, ..
        } => {
            let source = replay_output(replay);
            if *attempt <= 1 {
                clear_output(state, &source);
            } else {
                let of = state
                    .attempts()
                    .map_or_else(String::new, |most| format!(" of {most}"));
                let text = format!("── attempt {attempt}{of} ──");
                output(state, event, &source, text.as_bytes());
            }
            if follow {
                state.replays.select(replay);
                state.subject = Subject::Selected;
            }
        }
        RunEventKind::ReplayOutput { replay, lines } => {
            for line in lines.iter() {
                output(state, event, &replay_output(replay), line);
            }
        }
        RunEventKind::ReplayFinished(result) => {
            let active = state.active.as_ref();
            if let Some(run) = active.and_then(|active| active.summary.run.clone()) {
                state.ran_in.insert(result.replay.clone(), run);
            }
            complete_output(
                state,
                event,
                &replay_output(&result.replay),
                &result.output.text(),
            );
            leave_reason(state, event, result);
            let is_repeated = state.active.as_ref().is_some_and(Active::is_repeated);
            if result.attempt > 1 || result.retried || is_repeated {
                leave_end(state, event, result);
            }
        }
        RunEventKind::LeftToOthers(spared) => {
            let count = spared.len();
            state.notify(format!("{count} stay: another run has just made them"));
        }
        RunEventKind::Note(text) => state.notify(sanitize_plain(text)),
        RunEventKind::EngineLost { cause } => {
            state.notify(format!("the engine was lost: {}", sanitize_plain(cause)));
        }
        RunEventKind::Refused { reason } => {
            state.notify(format!("refused: {}", sanitize_plain(reason)));
        }
        RunEventKind::InternalError { cause } => {
            state.notify(format!("internal error: {}", sanitize_plain(cause)));
        }
        _ => {}
    }
    teardown_event(state, event);
}

/// A replay that never ran has no output; its reason is what there is to read.
fn leave_reason(state: &mut State, event: &RunEvent, result: &ReplayResult) {
    if let Verdict::CouldNotStart { reason } = &result.verdict {
        let text = format!("could not start: {reason}");
        output(
            state,
            event,
            &replay_output(&result.replay),
            text.as_bytes(),
        );
    }
}

/// Where outputs of several attempts follow each other, each says how it ended.
fn leave_end(state: &mut State, event: &RunEvent, result: &ReplayResult) {
    let (number, verdict) = (result.attempt, &result.verdict);
    let text = format!(
        "── attempt {number}: {verdict}, {} ──",
        Seconds(result.took)
    );
    output(
        state,
        event,
        &replay_output(&result.replay),
        text.as_bytes(),
    );
}

fn clear_output(state: &mut State, source: &SourceId) {
    state.outputs.clear(source);
    state.output_pane.bookmarks.clear(source);
    forget(&mut state.outputs, &mut state.output_pane);
    if state.output_pane.sources().contains(source) {
        state.output_pane.follow();
    }
}

fn output(state: &mut State, event: &RunEvent, source: &SourceId, text: &[u8]) {
    let (store, pane) = (&mut state.outputs, &mut state.output_pane);
    push(store, pane, source, event.at, Channel::Out, text);
    forget(store, pane);
}

/// What came only with the end, because its lines were not sent one by one.
fn complete_output(state: &mut State, event: &RunEvent, source: &SourceId, text: &[u8]) {
    if state.outputs.usage(source).entries > 0 || text.is_empty() {
        return;
    }
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    for line in text.split(|byte| *byte == b'\n') {
        output(state, event, source, line);
    }
}

fn teardown_event(state: &mut State, event: &RunEvent) {
    let is_teardown = matches!(
        state.active.as_ref().map(|active| &active.what),
        Some(What::Teardown(_))
    );
    let Some(teardown) = state.teardown.as_mut().filter(|_| is_teardown) else {
        return;
    };
    if let Stage::Removing { done, .. } = &mut teardown.stage
        && let RunEventKind::ItemFinished { item, outcome } = &event.kind
    {
        done.push((item.clone(), outcome.clone()));
    }
}

/// The events are over, with or without an end of their own.
pub(super) fn on_end(state: &mut State, problem: Option<String>, effects: &mut Vec<Effect>) {
    let Some(active) = state.active.take() else {
        return;
    };
    state.replays.run_ended();
    let mut summary = active.summary.clone();
    if let Some(problem) = &problem {
        state.notify(sanitize_plain(problem));
        summary
            .internal_error
            .get_or_insert_with(|| problem.clone());
    } else if let What::Job(job) = &active.what {
        announce(state, job, &summary);
    }
    match &active.what {
        What::Job(_) => (state.last, state.taken_down) = (Some(summary), None),
        What::Teardown(_) => state.taken_down = Some(summary),
    }
    let ran = matches!(active.what, What::Job(Job::Run(..))) && !step_failed(&active);
    if active.follow
        && ran
        && let Some(first) = first_failed(state, &active.summary)
    {
        state.replays.select(&first);
    }
    if let What::Job(Job::Run(..)) = &active.what {
        effects.push(Effect::ReadHistory);
    }
    if let What::Teardown(_) = &active.what {
        end_teardown(state, &active, problem);
    }
    match state.quitting {
        Some(Quitting::Leave) => effects.push(Effect::Quit),
        Some(Quitting::TakeDown) => {
            state.quitting = None;
            super::dialogs::plan_harness_teardown(state, true, effects);
        }
        None => {}
    }
}

/// Of those that are shown, and of this run.
fn first_failed(state: &State, summary: &Summary) -> Option<ReplayName> {
    let mut failed = state.replays.failed().into_iter();
    let is_of_run = |name: &ReplayName| summary.results.iter().any(|it| it.replay == *name);
    failed.find(is_of_run)
}

fn step_failed(active: &Active) -> bool {
    active
        .summary
        .steps
        .iter()
        .any(|step| matches!(step.outcome, StepOutcome::Failed { .. }))
}

/// Says how a job ended, unless something worse was said already.
fn announce(state: &mut State, job: &Job, summary: &Summary) {
    if summary.harness_failed() || summary.refused || summary.engine_lost {
        return;
    }
    let text = if summary.interrupted.is_some() {
        "stopped".to_owned()
    } else {
        match job {
            Job::Up => "the harness is up and seeded".to_owned(),
            Job::Seed => "seeded".to_owned(),
            Job::Run(..) => {
                let counts = summary.counts();
                let ran = summary.results.len();
                match counts.bad() {
                    0 => format!("no replay failed, {ran} ran"),
                    bad => format!("{bad} of {ran} replays did not pass"),
                }
            }
        }
    };
    state.notify(text);
}

fn end_teardown(state: &mut State, active: &Active, problem: Option<String>) {
    let Some(teardown) = &mut state.teardown else {
        return;
    };
    let Stage::Removing { plan, done } = &mut teardown.stage else {
        return;
    };
    let summary = &active.summary;
    let failed_step = summary.steps.iter().find_map(|step| match &step.outcome {
        StepOutcome::Failed { reason } => Some(format!("{} failed: {reason}", step.step.word())),
        _ => None,
    });
    let problem = problem.or(active.refusal.clone()).or(failed_step);
    let clean = problem.is_none() && summary.left_behind.is_empty();
    teardown.stage = Stage::Over {
        plan: plan.clone(),
        done: std::mem::take(done),
        left: summary.left_behind.clone(),
        problem,
        took: summary.took,
    };
    if clean && teardown.then_quit {
        state.quitting = Some(Quitting::Leave);
    }
}
