//! Keys as text, and what they do.

mod finding;
mod incident;
mod selecting;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use ratatui::layout::{Position, Rect, Size};

use super::update;
use crate::domain::container::State as Run;
use crate::domain::event::{Action, EngineEvent};
use crate::domain::exit::Exit;
use crate::domain::hook::Step;
use crate::domain::id::ContainerId;
use crate::domain::line::{Channel, LineBatch, SourceId};
use crate::domain::plan::{Fingerprint, TeardownPlan};
use crate::domain::replay::ReplayName;
use crate::domain::run::{Ending, Output, RunEventKind, StepOutcome, Verdict};
use crate::domain::scope::StackName;
use crate::logs::extract::Form;
use crate::logs::{FollowEvent, PageEvent, Piece};
use crate::replay::Policy;
use crate::tui::effect::{Effect, Job, PageRequest, Target};
use crate::tui::fixtures::{
    ago, busy, connected, containers, event, finished, fresh, key, keys, line, now, plan, press,
    screen, send, tell,
};
use crate::tui::keymap::{COMMANDS, Context, resolve};
use crate::tui::layout::layout;
use crate::tui::msg::{Mouse, MouseAction, Msg, Taken};
use crate::tui::state::dialog::Dialog;
use crate::tui::state::replays::Status;
use crate::tui::state::run::{Stage, Subject};
use crate::tui::state::tree::GroupKind;
use crate::tui::state::{Pane, Screen, State};

/// The effects of keys, without those that only say what is on the screen.
fn effects_of(state: &mut State, keys: &str) -> Vec<Effect> {
    let mut effects = all_effects(state, keys);
    effects.retain(|effect| !matches!(effect, Effect::SelectLogs(_) | Effect::WatchStats(_)));
    effects
}

fn all_effects(state: &mut State, text: &str) -> Vec<Effect> {
    keys(text)
        .into_iter()
        .flat_map(|key| tell(state, key))
        .collect()
}

fn names(list: &[&str]) -> Vec<ReplayName> {
    list.iter().map(|name| ReplayName::new(*name)).collect()
}

/// A run as it is unless somebody asks for something else.
fn job(names: Vec<ReplayName>) -> Job {
    Job::Run(names, Policy::default())
}

fn sources(list: &[&str]) -> BTreeSet<SourceId> {
    list.iter().map(|name| SourceId((*name).into())).collect()
}

/// Five replays have run; the first and the last of them did not pass.
fn after_a_run() -> State {
    let mut state = connected(120, 40);
    press(&mut state, "a");
    for (name, verdict) in [
        ("peer-discovery-404", Verdict::Failed(Ending::Code(1))),
        ("buildinfo-stale-image", Verdict::Passed),
        (
            "needs-jq",
            Verdict::Skipped {
                reason: String::new(),
            },
        ),
        (
            "seed-twice",
            Verdict::TimedOut {
                after: Duration::from_secs(60),
            },
        ),
    ] {
        send(&mut state, event(finished(name, verdict)));
    }
    send(&mut state, Msg::RunEnded { problem: None });
    state
}

#[test]
fn keys_and_what_they_ask_for() {
    let all = || {
        names(&[
            "peer-discovery-404",
            "buildinfo-stale-image",
            "cp-proxy-501",
            "seed-twice",
            "needs-jq",
            "not-run-yet",
        ])
    };
    let run = |list: &[&str]| vec![Effect::Start(job(names(list)))];
    let table: Vec<(&str, Vec<Effect>)> = vec![
        ("", vec![]),
        ("u", vec![Effect::Start(Job::Up)]),
        ("s", vec![Effect::Start(Job::Seed)]),
        ("a", vec![Effect::Start(job(all()))]),
        ("ax", vec![Effect::Start(job(all())), Effect::Cancel]),
        (
            "axx",
            vec![Effect::Start(job(all())), Effect::Cancel, Effect::Kill],
        ),
        (
            "axxx",
            vec![Effect::Start(job(all())), Effect::Cancel, Effect::Kill],
        ),
        // One thing at a time.
        ("uu", vec![Effect::Start(Job::Up)]),
        ("uas", vec![Effect::Start(Job::Up)]),
        ("x", vec![]),
        ("f", vec![]),
        ("<tab>r", run(&["peer-discovery-404"])),
        ("<tab>jr", run(&["buildinfo-stale-image"])),
        ("<tab>Gr", run(&["not-run-yet"])),
        ("<tab>jj jr", run(&["cp-proxy-501"])),
        (
            "<tab>  r",
            run(&["peer-discovery-404", "buildinfo-stale-image"]),
        ),
        ("<tab>  <esc>r", run(&["cp-proxy-501"])),
        // The output pane runs what it shows, marked or not.
        ("<tab>  <enter>r", run(&["cp-proxy-501"])),
        ("3<enter>r", run(&["peer-discovery-404"])),
        ("<tab>R", vec![Effect::Discover]),
        ("q", vec![Effect::Quit]),
        ("<ctrl-c>", vec![Effect::Quit]),
        ("<ctrl-z>", vec![Effect::Suspend]),
        ("<ctrl-l>", vec![Effect::Redraw]),
        ("MM", vec![Effect::SetMouse(false), Effect::SetMouse(true)]),
        ("T", vec![Effect::PlanTeardown("tenant".into())]),
        ("<tab>T", vec![Effect::PlanTeardown("tenant".into())]),
        // The fifth row after the harness's four containers is integration.
        ("jjjjjT", vec![Effect::PlanTeardown("integration".into())]),
        // dev-deploy is protected, and so is what nobody claims.
        ("jjjjjjjjT", vec![]),
        ("GT", vec![]),
        ("jy", vec![Effect::Copy("tenant_cf-proxy_1".to_owned())]),
        ("y", vec![Effect::Copy("tenant".to_owned())]),
        (
            "<tab>y",
            vec![Effect::Copy("tackroom run peer-discovery-404".to_owned())],
        ),
        ("<tab><tab>y", vec![]),
        // By the palette.
        (":boot<enter>", vec![Effect::Start(Job::Up)]),
        (":suspend<enter>", vec![Effect::Suspend]),
        (":no such command<enter>", vec![]),
        (":boot<esc>", vec![]),
        (":bo<backspace>oot<enter>", vec![Effect::Start(Job::Up)]),
        // Typed text is text.
        ("2/quit", vec![]),
        ("?u<esc>u", vec![Effect::Start(Job::Up)]),
    ];
    for (keys, expected) in table {
        let mut state = connected(120, 40);
        assert_eq!(effects_of(&mut state, keys), expected, "{keys:?}");
    }
}

#[test]
fn what_failed_is_run_again() {
    let mut state = after_a_run();
    let failed = names(&["peer-discovery-404", "seed-twice"]);
    assert_eq!(effects_of(&mut state, "f"), [Effect::Start(job(failed))]);
}

#[test]
fn nothing_is_run_that_is_not_on_the_screen() {
    for (keys, size) in [
        ("2", (120, 40)),
        ("6", (120, 40)),
        ("", (80, 24)),
        ("z", (120, 40)),
    ] {
        let mut state = connected(size.0, size.1);
        press(&mut state, keys);
        assert_eq!(effects_of(&mut state, "a"), [], "{keys:?}");
        let area = Rect::from((Position::ORIGIN, state.area));
        assert!(layout(area, &state).shows(Pane::Replays), "{keys:?}");
        assert_eq!(effects_of(&mut state, "a").len(), 1, "{keys:?}");
    }
}

#[test]
fn without_a_harness_nothing_is_booted() {
    let mut state = connected(120, 40);
    state.setup.harness = Vec::new();
    state.setup.has_hooks = false;
    assert_eq!(effects_of(&mut state, "us<tab>T"), []);
    assert!(state.notice.is_some());
}

#[test]
fn a_harness_of_several_stacks_is_taken_down_by_the_name_of_them_all() {
    let mut state = connected(120, 40);
    state.setup.harness = vec!["tenant".into(), "integration".into()];
    let all: StackName = "tenant+integration".into();
    assert_eq!(
        effects_of(&mut state, "<tab>T"),
        [Effect::PlanTeardown(all.clone())]
    );
    let whole = TeardownPlan {
        stack: all.clone(),
        ..plan()
    };
    let expected = Effect::Teardown {
        stack: all.clone(),
        fingerprint: whole.fingerprint(),
    };
    let stack = all;
    send(
        &mut state,
        Msg::Plan {
            stack,
            result: Ok(whole),
        },
    );
    assert_eq!(effects_of(&mut state, "tenant<enter>"), []);
    assert_eq!(effects_of(&mut state, "+integration<enter>"), [expected]);
    // It is all that there is, so there is nothing to come after it.
    press(&mut state, "<esc>q");
    assert!(screen(&state).contains("let it finish, then quit"));
}

/// Every key that means anything anywhere, in every context and at some sizes: it never panics,
/// and nothing of it removes anything.
#[test]
fn every_command_in_every_context() {
    let contexts: [(&str, Context); 16] = [
        ("", Context::Containers),
        ("<tab>", Context::Replays),
        ("<tab><tab>", Context::Logs),
        ("<tab><tab><tab>", Context::Output),
        ("6", Context::Diagnostics),
        ("?", Context::Help),
        ("ji", Context::Details),
        (":", Context::Palette),
        ("2/", Context::Search),
        ("2&", Context::Search),
        ("<tab>/", Context::Search),
        ("<tab>i", Context::Details),
        ("<tab>p", Context::RunForm),
        ("2@", Context::Search),
        ("T", Context::Teardown),
        ("uq", Context::Quit),
    ];
    for (width, height) in [(0, 0), (40, 10), (120, 40)] {
        for (keys, context) in contexts {
            for spec in COMMANDS {
                for name in spec.keys {
                    let mut state = connected(width, height);
                    press(&mut state, keys);
                    // Where nothing can be seen, nothing is booted that could be lost.
                    let seen = width > 10 || context != Context::Quit;
                    assert!(!seen || state.context() == context, "{keys:?}");
                    let context = state.context();
                    let pressed = format!("<{name}>");
                    let effects = all_effects(&mut state, &pressed);
                    assert!(!effects.iter().any(removes), "{keys:?} then {name}");
                    screen(&state);
                    let bound = resolve(context, name.parse().unwrap());
                    assert_eq!(
                        bound.is_some(),
                        COMMANDS
                            .iter()
                            .any(|s| s.contexts.contains(&context) && s.keys.contains(name)),
                    );
                }
            }
        }
    }
}

fn removes(effect: &Effect) -> bool {
    matches!(effect, Effect::Teardown { .. })
}

fn planned() -> State {
    let mut state = connected(80, 24);
    press(&mut state, "T");
    let result = Ok(plan());
    send(
        &mut state,
        Msg::Plan {
            stack: "tenant".into(),
            result,
        },
    );
    state
}

#[test]
fn a_teardown_is_confirmed_by_the_name_of_the_stack() {
    for (typed, confirmed) in [
        ("tenant<enter>", true),
        (" tenant<enter>", true),
        ("tenan<enter>t<enter>", true),
        ("tenantx<backspace><enter>", true),
        ("<enter>", false),
        ("tenan<enter>", false),
        ("Tenant<enter>", false),
        ("tenant", false),
        ("tenant<esc><enter>", false),
        ("y<enter>", false),
        ("integration<enter>", false),
    ] {
        let mut state = planned();
        let effects: Vec<Effect> = all_effects(&mut state, typed)
            .into_iter()
            .filter(removes)
            .collect();
        let expected = Effect::Teardown {
            stack: "tenant".into(),
            fingerprint: plan().fingerprint(),
        };
        let expected = if confirmed { vec![expected] } else { vec![] };
        assert_eq!(effects, expected, "{typed:?}");
    }
}

#[test]
fn a_plan_that_changes_has_to_be_confirmed_anew() {
    let mut state = planned();
    press(&mut state, "tenant");
    let mut changed = plan();
    changed.remove.pop();
    send(
        &mut state,
        Msg::Plan {
            stack: "tenant".into(),
            result: Ok(changed.clone()),
        },
    );
    assert!(!all_effects(&mut state, "<enter>").iter().any(removes));
    let effects = all_effects(&mut state, "tenant<enter>");
    let fingerprint = changed.fingerprint();
    assert!(effects.contains(&Effect::Teardown {
        stack: "tenant".into(),
        fingerprint
    }));
}

#[test]
fn the_same_plan_again_keeps_what_was_typed() {
    let mut state = planned();
    press(&mut state, "ten");
    send(
        &mut state,
        Msg::Plan {
            stack: "tenant".into(),
            result: Ok(plan()),
        },
    );
    assert!(all_effects(&mut state, "ant<enter>").iter().any(removes));
}

#[test]
fn a_plan_for_another_stack_is_not_shown() {
    let mut state = connected(80, 24);
    press(&mut state, "T");
    let mut other = plan();
    other.stack = "integration".into();
    send(
        &mut state,
        Msg::Plan {
            stack: "integration".into(),
            result: Ok(other.clone()),
        },
    );
    send(
        &mut state,
        Msg::Plan {
            stack: "tenant".into(),
            result: Ok(other),
        },
    );
    let stage = &state.teardown.as_ref().unwrap().stage;
    assert!(matches!(stage, Stage::Planning), "{stage:?}");
}

#[test]
fn containers_that_come_or_go_make_the_plan_anew() {
    let mut state = planned();
    let replan = |effects: Vec<Effect>| effects.contains(&Effect::PlanTeardown("tenant".into()));
    assert!(!replan(update(
        &mut state,
        Msg::Containers(containers().into())
    )));
    let mut fewer = containers();
    fewer.remove(0);
    assert!(replan(update(&mut state, Msg::Containers(fewer.into()))));
}

#[test]
fn a_refusal_is_shown_and_removes_nothing() {
    let mut state = connected(80, 24);
    press(&mut state, "T");
    let result = Err("two checkouts use the project".to_owned());
    send(
        &mut state,
        Msg::Plan {
            stack: "tenant".into(),
            result,
        },
    );
    assert!(screen(&state).contains("two checkouts use the project"));
    assert_eq!(effects_of(&mut state, "tenant<enter>"), []);
    assert!(state.dialog.is_none());
}

#[test]
fn no_teardown_beside_a_run() {
    let mut state = connected(80, 24);
    assert_eq!(effects_of(&mut state, "u").len(), 1);
    assert_eq!(effects_of(&mut state, "Ttenant<enter>"), []);
    let mut state = planned();
    press(&mut state, "tenant<enter><esc>");
    assert_eq!(effects_of(&mut state, "u"), []);
    // It goes on, and can be looked at again.
    press(&mut state, "T");
    assert!(matches!(
        state.teardown.as_ref().unwrap().stage,
        Stage::Removing { .. }
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Whatever is pressed, something is removed only right after the whole name and enter.
    #[test]
    fn no_removal_without_the_typed_name(
        keys in proptest::collection::vec(
            prop_oneof![
                (0..COMMANDS.len()).prop_map(|n| format!("<{}>", COMMANDS[n].keys[0])),
                Just("tenan".to_owned()), Just("tenant".to_owned()), Just("integration".to_owned()),
            ], 0..40),
        width in 0u16..130, height in 0u16..45,
    ) {
        let mut state = connected(width, height);
        for keys in keys {
            let typed = match &state.teardown {
                Some(open) => match &open.stage {
                    Stage::Review { typed, .. } => Some((open.stack.clone(), typed.value().to_owned())),
                    _ => None,
                },
                None => None,
            };
            for effect in all_effects(&mut state, &keys) {
                if let Effect::PlanTeardown(stack) = &effect {
                    let mut plan = plan();
                    plan.stack = stack.clone();
                    send(&mut state, Msg::Plan { stack: stack.clone(), result: Ok(plan) });
                }
                if let Effect::Teardown { stack, .. } = &effect {
                    let (open, typed) = typed.clone().unwrap();
                    prop_assert_eq!(keys.as_str(), "<enter>");
                    prop_assert_eq!(stack, &open);
                    prop_assert_eq!(typed.trim(), &*open);
                    prop_assert!(matches!(state.dialog, Some(Dialog::Teardown)));
                }
            }
            screen(&state);
        }
    }
}

#[test]
fn the_logs_are_those_of_the_marks_else_of_the_cursor() {
    let mut state = fresh(120, 40);
    send(&mut state, key("j"));
    let selected = |effects: Vec<Effect>| {
        effects.into_iter().rev().find_map(|effect| match effect {
            Effect::SelectLogs(sources) => Some(sources),
            _ => None,
        })
    };
    send(&mut state, key("k"));
    // On the group: all of it.
    let all = [
        "tenant_cf-proxy_1",
        "tenant_postgres_1",
        "tenant_redis_1",
        "tenant_tenant_1",
    ];
    let effects = update(&mut state, Msg::Containers(containers().into()));
    assert_eq!(selected(effects), Some(sources(&all)));
    // On a container: that one. Marks win, and space goes on to the next row.
    assert_eq!(
        selected(all_effects(&mut state, "j")),
        Some(sources(&all[..1]))
    );
    assert_eq!(
        selected(all_effects(&mut state, "  ")),
        Some(sources(&all[..2]))
    );
    assert_eq!(selected(all_effects(&mut state, "j")), None);
    assert_eq!(
        selected(all_effects(&mut state, "<esc>")),
        Some(sources(&["tenant_tenant_1"]))
    );
    // A group that is marked in part becomes marked in whole, then not at all.
    press(&mut state, "g");
    assert_eq!(selected(all_effects(&mut state, " ")), None);
    assert_eq!(state.tree.marks(), 4);
    press(&mut state, " ");
    assert_eq!(state.tree.marks(), 0);
}

#[test]
fn the_cursor_and_the_marks_stay_with_a_container_that_is_made_anew() {
    let mut state = connected(120, 40);
    press(&mut state, "jj ");
    let before = state.tree.selected_container().unwrap().name.clone();
    let mut list = containers();
    list.reverse();
    for container in &mut list {
        container.id = crate::domain::id::ContainerId::new(format!("new-{}", container.name));
    }
    send(&mut state, Msg::Containers(list.into()));
    assert_eq!(state.tree.selected_container().unwrap().name, before);
    assert_eq!(state.tree.marks(), 1);
}

#[test]
fn a_container_that_goes_leaves_the_cursor_in_its_group() {
    let mut state = connected(120, 40);
    press(&mut state, "jjj");
    let gone = state.tree.selected_container().unwrap().name.clone();
    let list: Vec<_> = containers()
        .into_iter()
        .filter(|c| c.name != gone)
        .collect();
    send(&mut state, Msg::Containers(list.into()));
    assert_eq!(&*state.tree.selected_group().unwrap().name, "tenant");
}

#[test]
fn a_container_that_is_made_anew_is_selected_all_the_while() {
    let mut state = connected(120, 40);
    press(&mut state, "jjj");
    let name = state.tree.selected_container().unwrap().name.clone();
    let without: Vec<_> = containers()
        .into_iter()
        .filter(|c| c.name != name)
        .collect();
    let logs = state.asked_logs.clone();
    send(&mut state, Msg::Containers(without.clone().into()));
    send(&mut state, Msg::Containers(without.clone().into()));
    assert_eq!(state.asked_logs, logs, "its end is still read");
    send(&mut state, Msg::Containers(containers().into()));
    assert_eq!(state.tree.selected_container().unwrap().name, name);

    // Who moves on is not called back.
    send(&mut state, Msg::Containers(without.into()));
    press(&mut state, "j");
    let chosen = state.tree.selected_container().unwrap().name.clone();
    assert_ne!(state.asked_logs, logs);
    send(&mut state, Msg::Containers(containers().into()));
    assert_eq!(state.tree.selected_container().unwrap().name, chosen);
}

#[test]
fn statistics_are_sampled_for_running_containers_on_the_screen() {
    let mut state = fresh(80, 24);
    let watched = |effects: &[Effect]| {
        effects.iter().find_map(|effect| match effect {
            Effect::WatchStats(ids) => Some(ids.clone()),
            _ => None,
        })
    };
    let effects = update(&mut state, Msg::Containers(containers().into()));
    let ids = watched(&effects).unwrap();
    let shown = |name: &str| ids.iter().any(|id| id.as_str().starts_with(name));
    assert!(shown("tenant_tenant_1") && shown("engine-1f0c"));
    assert!(!shown("tenant_redis_1"), "it has exited");
    assert!(!shown("engine-lost"), "it is below the screen");
    let hidden = watched(&all_effects(&mut state, "2")).unwrap();
    assert!(hidden.is_empty());
}

#[test]
fn groups_say_what_may_happen_to_them() {
    let state = connected(120, 40);
    let kind = |name: &str| state.tree.group_named(name).unwrap().kind;
    assert!(matches!(kind("tenant"), GroupKind::Harness(_)));
    assert!(kind("integration").refusal().is_none());
    assert!(kind("dev-deploy").refusal().is_some());
    assert!(kind("unclaimed").refusal().is_some());
}

#[test]
fn a_group_can_be_folded() {
    let mut state = connected(120, 40);
    let rows = state.tree.rows().len();
    press(&mut state, "jjh");
    assert_eq!(state.tree.rows().len(), rows - 4);
    assert_eq!(state.tree.cursor.at(), 0);
    press(&mut state, "l");
    assert_eq!(state.tree.rows().len(), rows);
    press(&mut state, "<enter><enter>");
    assert_eq!(state.tree.rows().len(), rows);
}

fn printed(state: &mut State, count: u64) {
    let records = (0..count)
        .map(|n| line("tenant_tenant_1", 1000 - n, &format!("line {n}")))
        .collect();
    send(state, Msg::Logs(records));
}

#[test]
fn a_paused_pane_does_not_move_and_counts_what_comes() {
    let mut state = connected(80, 24);
    printed(&mut state, 200);
    press(&mut state, "2kkk");
    let still = |state: &State| {
        let text = screen(state);
        text.lines().skip(2).take(20).collect::<Vec<_>>().join("\n")
    };
    let before = still(&state);
    let late = line("tenant_tenant_1", 1000 - 150, "a late one");
    send(&mut state, Msg::Logs(vec![late]));
    for n in 0..7 {
        send(
            &mut state,
            Msg::Logs(vec![line("tenant_redis_1", 100 - n, "new")]),
        );
    }
    assert_eq!(still(&state), before);
    assert!(
        screen(&state).contains("paused, 8 new lines"),
        "{}",
        screen(&state)
    );
    for keys in ["G", "F", "<end>"] {
        press(&mut state, "k");
        assert!(!state.log_pane.is_following());
        press(&mut state, keys);
        assert!(state.log_pane.is_following(), "{keys}");
    }
    press(&mut state, "kkkjjj");
    assert!(
        state.log_pane.is_following(),
        "scrolling to the end follows"
    );
    press(&mut state, "g");
    assert!(screen(&state).contains("line 0 "));
    press(&mut state, "<pgdn><pgup>");
    assert!(screen(&state).contains("line 0 "));
}

#[test]
fn evicted_lines_leave_a_paused_pane_where_the_next_line_is() {
    let mut state = connected(80, 24);
    state.logs = crate::logs::store::LogStore::new(64 << 10);
    printed(&mut state, 400);
    press(&mut state, "2g");
    printed(&mut state, 1000);
    printed(&mut state, 1000);
    let text = screen(&state);
    assert!(
        text.contains("paused") && text.contains("older dropped"),
        "{text}"
    );
}

#[test]
fn a_search_walks_through_its_hits() {
    let mut state = connected(80, 24);
    printed(&mut state, 200);
    let effects = effects_of(&mut state, "2/line 1?7$<enter>");
    assert_eq!(effects, []);
    // 7 and 17 match; the walk begins at the last one at or above the end of the screen.
    let title = |state: &State| screen(state).lines().nth(1).unwrap().to_owned();
    assert!(title(&state).contains("2 of 2"), "{}", title(&state));
    assert!(screen(&state).contains("line 17 "));
    press(&mut state, "n");
    assert!(title(&state).contains("1 of 2"), "it starts over");
    press(&mut state, "N");
    assert!(title(&state).contains("2 of 2"));
    send(
        &mut state,
        Msg::Logs(vec![line("tenant_tenant_1", 1, "line 7")]),
    );
    assert!(title(&state).contains("2 of 3"));
    press(&mut state, "<esc>");
    assert!(state.log_pane.search.is_none());
    // Given up, a search leaves the one before.
    press(&mut state, "/7<enter>/x<esc>");
    assert_eq!(state.log_pane.matcher().unwrap().pattern(), "7");
}

#[test]
fn a_search_that_is_confirmed_early_goes_to_its_hit_when_it_comes() {
    let mut state = connected(80, 24);
    printed(&mut state, 200);
    press(&mut state, "2");
    let mut scans = Vec::new();
    for key in keys("/line 17$<enter>") {
        scans.extend(update(&mut state, key));
    }
    assert!(!screen(&state).contains("line 17 "));
    let answers = scans.into_iter().filter_map(|effect| match effect {
        Effect::Scan(job) => Some(job),
        _ => None,
    });
    // Those of what was typed before the last letter are not waited for, and change nothing.
    for job in answers {
        job.run(|found| {
            update(&mut state, Msg::Found(found));
            ControlFlow::Continue(())
        });
    }
    assert_eq!(state.log_pane.search.as_ref().unwrap().count(), 1);
    assert!(screen(&state).contains("line 17 "));
}

fn opened(state: &mut State, reached_start: bool) {
    let opened = FollowEvent::Opened {
        source: SourceId("tenant_tenant_1".into()),
        container: ContainerId::new("tenant"),
        reached_start,
    };
    send(state, Msg::Logs(vec![opened]));
}

fn batch(lines: impl IntoIterator<Item = u64>) -> LineBatch {
    let mut batch = LineBatch::default();
    for n in lines {
        let at = ago(1000 - n);
        batch.push(at, Channel::Out, format!("line {n}").as_bytes());
    }
    batch
}

fn pages(effects: &[Effect]) -> Vec<&PageRequest> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Page(request) => Some(request),
            _ => None,
        })
        .collect()
}

#[test]
fn what_was_never_read_is_read_when_one_scrolls_there_and_nothing_jumps() {
    let mut state = connected(80, 24);
    opened(&mut state, false);
    let lines = batch(500..700);
    let source = SourceId("tenant_tenant_1".into());
    send(
        &mut state,
        Msg::Logs(vec![FollowEvent::Lines {
            source,
            batch: lines,
        }]),
    );
    assert_eq!(
        pages(&all_effects(&mut state, "2k")),
        Vec::<&PageRequest>::new()
    );
    let mut effects = Vec::new();
    while pages(&effects).is_empty() {
        assert!(
            !screen(&state).contains("line 500 "),
            "asked before it is seen"
        );
        effects = all_effects(&mut state, "<pgup>");
    }
    let request = pages(&effects)[0].clone();
    assert_eq!(request.container, ContainerId::new("tenant"));
    assert!(
        matches!(request.piece, Piece::Backward { before, records_after: 200, .. } if before == ago(500)),
        "{request:?}"
    );
    let seen = |state: &State| {
        let text = screen(state);
        text.lines().skip(2).take(20).collect::<Vec<_>>().join("\n")
    };
    let before = seen(&state);
    let lines = PageEvent::Lines(batch(300..501));
    assert_eq!(all_effects(&mut state, "<pgup>").len(), 0, "once");
    press(&mut state, "<pgdn>");
    send(&mut state, Msg::Paged(request.ticket, Ok(lines)));
    let end = PageEvent::End {
        reached_start: false,
        reached_before: true,
    };
    send(&mut state, Msg::Paged(request.ticket, Ok(end)));
    assert_eq!(seen(&state), before);
    while !seen(&state).contains("line 300 ") {
        press(&mut state, "<pgup>");
    }
    assert!(
        screen(&state).contains("╌╌ older lines of"),
        "{}",
        screen(&state)
    );
}

#[test]
fn the_start_of_a_log_is_read_as_a_whole_and_shown_at_once() {
    let mut state = connected(80, 24);
    opened(&mut state, false);
    let source = SourceId("tenant_tenant_1".into());
    let lines = batch(500..700);
    send(
        &mut state,
        Msg::Logs(vec![FollowEvent::Lines {
            source,
            batch: lines,
        }]),
    );
    let effects = all_effects(&mut state, "2g");
    let request = pages(&effects)[0].clone();
    assert_eq!(request.piece, Piece::Whole { before: ago(500) });
    assert!(screen(&state).contains("being read…"));
    send(
        &mut state,
        Msg::Paged(request.ticket, Ok(PageEvent::Lines(batch(0..100)))),
    );
    assert!(screen(&state).contains("line 0 "), "{}", screen(&state));
    send(
        &mut state,
        Msg::Paged(request.ticket, Ok(PageEvent::Lines(batch(100..501)))),
    );
    let end = PageEvent::End {
        reached_start: true,
        reached_before: true,
    };
    send(&mut state, Msg::Paged(request.ticket, Ok(end)));
    assert!(!screen(&state).contains("╌╌"));
    let held = state.logs.usage(&SourceId("tenant_tenant_1".into()));
    assert_eq!(held.entries, 700);
    // Who goes back to the present has nothing more read.
    let mut state = connected(80, 24);
    opened(&mut state, false);
    printed(&mut state, 200);
    let effects = all_effects(&mut state, "2g");
    let ticket = pages(&effects)[0].ticket;
    assert_eq!(all_effects(&mut state, "G"), [Effect::StopPage(ticket)]);
}

#[test]
fn what_cannot_be_read_is_said_and_asked_for_later() {
    let mut state = connected(80, 24);
    opened(&mut state, false);
    printed(&mut state, 200);
    let effects = all_effects(&mut state, "2g");
    let ticket = pages(&effects)[0].ticket;
    send(
        &mut state,
        Msg::Paged(ticket, Err("the engine is away".to_owned())),
    );
    assert!(screen(&state).contains("older lines cannot be read: the engine is away"));
    assert_eq!(
        pages(&all_effects(&mut state, "jk")),
        Vec::<&PageRequest>::new()
    );
    let later = now().checked_add(Duration::from_secs(6)).unwrap();
    assert_eq!(pages(&tell(&mut state, Msg::Tick(later))).len(), 1);
}

#[test]
fn reading_the_start_stops_when_there_is_no_room_left() {
    let mut state = connected(80, 24);
    state.logs = crate::logs::store::LogStore::new(64 << 10);
    opened(&mut state, false);
    printed(&mut state, 100);
    let effects = all_effects(&mut state, "2g");
    let ticket = pages(&effects)[0].ticket;
    let mut long = LineBatch::default();
    for n in 0..500 {
        long.push(ago(10_000 - n), Channel::Out, &[b'x'; 90]);
    }
    let stopped = tell(&mut state, Msg::Paged(ticket, Ok(PageEvent::Lines(long))));
    assert!(stopped.contains(&Effect::StopPage(ticket)), "{stopped:?}");
    assert!(state.logs.held() <= state.logs.budget());
}

#[test]
fn long_lines_wrap_or_scroll_sideways() {
    let mut state = connected(80, 24);
    let long = format!("start{}end", "-".repeat(100));
    send(
        &mut state,
        Msg::Logs(vec![line("tenant_tenant_1", 1, &long)]),
    );
    press(&mut state, "2");
    assert!(!screen(&state).contains("end"));
    press(&mut state, "lllllllllll");
    assert!(screen(&state).contains("end"));
    assert!(!screen(&state).contains("start"));
    press(&mut state, "hhhhhhhhhhh");
    assert!(screen(&state).contains("start"));
    press(&mut state, "w");
    let text = screen(&state);
    assert!(text.contains("start") && text.contains("end"));
}

#[test]
fn the_quit_dialog_asks_only_where_something_would_be_lost() {
    let mut state = connected(80, 24);
    press(&mut state, "u");
    assert_eq!(effects_of(&mut state, "q"), []);
    assert!(matches!(state.dialog, Some(Dialog::Quit)));
    assert_eq!(effects_of(&mut state, "<esc>"), []);
    // Leaving stops what runs, and quits once it has ended.
    assert_eq!(effects_of(&mut state, "ql"), [Effect::Cancel]);
    let effects = update(&mut state, Msg::RunEnded { problem: None });
    assert!(effects.contains(&Effect::Quit));
}

#[test]
fn the_quit_dialog_says_that_what_it_asked_about_has_ended() {
    let mut state = connected(80, 24);
    press(&mut state, "uq");
    assert!(screen(&state).contains("a run is under way."));
    send(&mut state, Msg::RunEnded { problem: None });
    let text = screen(&state);
    assert!(text.contains("what was under way has ended."), "{text}");
    assert!(text.contains("l    quit"), "{text}");
    assert_eq!(effects_of(&mut state, "l"), [Effect::Quit]);
}

fn booted() -> State {
    let mut state = connected(80, 24);
    press(&mut state, "u");
    send(
        &mut state,
        event(RunEventKind::StepStarted { step: Step::Up }),
    );
    let took = Duration::from_secs(1);
    let (step, outcome, output) = (Step::Up, StepOutcome::Done, Output::default());
    send(
        &mut state,
        event(RunEventKind::StepFinished {
            step,
            outcome,
            took,
            output,
        }),
    );
    send(&mut state, Msg::RunEnded { problem: None });
    state
}

#[test]
fn a_harness_that_this_session_booted_is_not_forgotten() {
    let mut state = booted();
    assert_eq!(effects_of(&mut state, "q"), []);
    assert_eq!(effects_of(&mut state, "l"), [Effect::Quit]);

    let mut state = booted();
    assert_eq!(
        effects_of(&mut state, "qt"),
        [Effect::PlanTeardown("tenant".into())]
    );
    send(
        &mut state,
        Msg::Plan {
            stack: "tenant".into(),
            result: Ok(plan()),
        },
    );
    assert_eq!(effects_of(&mut state, "tenant<enter>").len(), 1);
    let took = Duration::from_secs(1);
    let (step, outcome, output) = (Step::Teardown, StepOutcome::Done, Output::default());
    send(
        &mut state,
        event(RunEventKind::StepFinished {
            step,
            outcome,
            took,
            output,
        }),
    );
    assert!(!state.booted);
    assert!(update(&mut state, Msg::RunEnded { problem: None }).contains(&Effect::Quit));
}

#[test]
fn a_teardown_that_left_something_does_not_quit() {
    let mut state = booted();
    press(&mut state, "qt");
    send(
        &mut state,
        Msg::Plan {
            stack: "tenant".into(),
            result: Ok(plan()),
        },
    );
    press(&mut state, "tenant<enter>");
    send(&mut state, event(RunEventKind::LeftBehind(plan().remove)));
    assert!(!update(&mut state, Msg::RunEnded { problem: None }).contains(&Effect::Quit));
    assert!(screen(&state).contains("6 left behind"));
    assert_eq!(state.exit(), Exit::LeftBehind);
}

#[test]
fn a_boot_that_failed_is_not_forgotten_either() {
    let mut state = connected(80, 24);
    press(&mut state, "u");
    send(
        &mut state,
        event(RunEventKind::StepStarted { step: Step::Up }),
    );
    let step_finished = RunEventKind::StepFinished {
        step: Step::Up,
        outcome: StepOutcome::Failed {
            reason: "exit 1".to_owned(),
        },
        took: Duration::from_secs(1),
        output: Output::default(),
    };
    send(&mut state, event(step_finished));
    send(&mut state, Msg::RunEnded { problem: None });
    assert_eq!(effects_of(&mut state, "q"), []);
    assert!(matches!(state.dialog, Some(Dialog::Quit)));
}

#[test]
fn a_teardown_does_not_make_good_what_failed() {
    let mut state = after_a_run();
    assert_eq!(state.exit(), Exit::Failed);
    press(&mut state, "T");
    let result = Ok(plan());
    let stack = "tenant".into();
    send(&mut state, Msg::Plan { stack, result });
    press(&mut state, "tenant<enter>");
    send(&mut state, Msg::RunEnded { problem: None });
    assert_eq!(state.exit(), Exit::Failed);
    // What comes after it has an end of its own.
    press(&mut state, "<esc>s");
    send(&mut state, Msg::RunEnded { problem: None });
    assert_eq!(state.exit(), Exit::Ok);
}

fn tearing_down(harness: &str) -> State {
    let mut state = connected(80, 24);
    state.setup.harness = vec![harness.into()];
    press(&mut state, "T");
    let result = Ok(plan());
    let stack = "tenant".into();
    send(&mut state, Msg::Plan { stack, result });
    press(&mut state, "tenant<enter><esc>");
    state
}

#[test]
fn a_teardown_stops_at_once_harder_and_is_given_up() {
    let mut state = tearing_down("tenant");
    assert_eq!(effects_of(&mut state, "x"), [Effect::Cancel]);
    assert!(screen(&state).contains("after the items under way"));
    assert_eq!(effects_of(&mut state, "xx"), [Effect::Kill, Effect::Kill]);
}

#[test]
fn who_quits_in_a_teardown_stops_it_or_lets_it_finish() {
    let mut state = tearing_down("tenant");
    press(&mut state, "q");
    let text = screen(&state);
    assert!(text.contains("stop it after the items under way"), "{text}");
    assert!(text.contains("let it finish, then quit"), "{text}");
    assert!(!text.contains("leave the harness up"), "{text}");
    assert_eq!(effects_of(&mut state, "t"), []);
    let effects = update(&mut state, Msg::RunEnded { problem: None });
    assert!(effects.contains(&Effect::Quit));

    let mut state = tearing_down("tenant");
    assert_eq!(effects_of(&mut state, "ql"), [Effect::Cancel]);

    // The harness is another stack, and its turn comes after.
    let mut state = tearing_down("integration");
    assert_eq!(effects_of(&mut state, "qt"), []);
    let effects = update(&mut state, Msg::RunEnded { problem: None });
    assert!(effects.contains(&Effect::PlanTeardown("integration".into())));
}

#[test]
fn a_second_interrupt_does_not_ask() {
    let mut state = connected(80, 24);
    press(&mut state, "u");
    assert_eq!(effects_of(&mut state, "<ctrl-c>"), []);
    assert_eq!(
        effects_of(&mut state, "<ctrl-c>"),
        [Effect::Kill, Effect::Quit]
    );
    // One that was answered with "stay" starts over.
    let mut state = connected(80, 24);
    press(&mut state, "u<ctrl-c><esc>");
    assert_eq!(effects_of(&mut state, "<ctrl-c>"), []);
}

#[test]
fn the_cursor_goes_along_with_a_run_until_it_is_moved() {
    let mut state = connected(120, 40);
    press(&mut state, "a");
    let begin = |name: &str| {
        event(RunEventKind::ReplayStarted {
            replay: ReplayName::new(name),
            attempt: 1,
            timeout: None,
        })
    };
    send(&mut state, begin("cp-proxy-501"));
    assert_eq!(
        state.replays.selected().unwrap().name.as_str(),
        "cp-proxy-501"
    );
    press(&mut state, "<tab>j");
    send(&mut state, begin("needs-jq"));
    assert_eq!(
        state.replays.selected().unwrap().name.as_str(),
        "seed-twice"
    );
}

#[test]
fn a_failed_step_shows_its_output_even_if_it_came_only_at_the_end() {
    let mut state = connected(120, 40);
    press(&mut state, "s");
    send(
        &mut state,
        event(RunEventKind::StepStarted { step: Step::Seed }),
    );
    let output = Output {
        head: Arc::from(*b"psql: connection refused\n"),
        ..Output::default()
    };
    let outcome = StepOutcome::Failed {
        reason: "exit 2".to_owned(),
    };
    let took = Duration::from_secs(1);
    send(
        &mut state,
        event(RunEventKind::StepFinished {
            step: Step::Seed,
            outcome,
            took,
            output,
        }),
    );
    send(&mut state, Msg::RunEnded { problem: None });
    assert_eq!(state.subject, Subject::Step(Step::Seed));
    let text = screen(&state);
    assert!(text.contains("psql: connection refused"), "{text}");
    assert!(text.contains("seed failed: exit 2"));
    assert_eq!(state.exit(), Exit::Harness);
}

#[test]
fn a_run_that_breaks_off_leaves_nothing_running() {
    let mut state = busy(80, 24);
    let problem = Some("the runner stopped".to_owned());
    send(&mut state, Msg::RunEnded { problem });
    let statuses = state
        .replays
        .list()
        .iter()
        .filter_map(|r| state.replays.status(&r.name));
    assert!(
        statuses
            .into_iter()
            .all(|status| matches!(status, Status::Done { .. }))
    );
    assert!(state.active.is_none());
    assert_eq!(state.exit(), Exit::Internal);
}

#[test]
fn an_oom_event_is_remembered_until_the_container_is_gone() {
    let mut state = connected(120, 40);
    let id = containers()[0].id.clone();
    let oom = EngineEvent {
        at: now(),
        container: id,
        name: "tenant_cf-proxy_1".to_owned(),
        labels: Default::default(),
        action: Action::OutOfMemory,
    };
    send(&mut state, Msg::Engine(oom));
    let is_marked = |state: &State| state.tree.is_out_of_memory(&containers()[0]);
    assert!(is_marked(&state));
    send(&mut state, Msg::Containers(Arc::from([])));
    assert!(!is_marked(&state));
}

#[test]
fn what_has_ended_has_no_statistics() {
    let mut state = connected(120, 40);
    assert!(!state.samples.is_empty());
    let mut list = containers();
    for container in &mut list {
        container.state = Run::Exited;
    }
    send(&mut state, Msg::Containers(list.into()));
    assert!(state.samples.is_empty());
}

#[test]
fn a_click_focuses_selects_and_folds() {
    let click = |state: &mut State, x, y| {
        let at = Position { x, y };
        send(
            state,
            Msg::Mouse(Mouse {
                action: MouseAction::Click,
                at,
            }),
        );
    };
    let mut state = connected(120, 40);
    click(&mut state, 8, 3);
    assert_eq!(state.tree.cursor.at(), 1);
    click(&mut state, 3, 2);
    assert_eq!(state.tree.cursor.at(), 0);
    assert_eq!(state.tree.rows().len(), 9);
    click(&mut state, 100, 5);
    assert_eq!(state.focus, Pane::Logs);
    click(&mut state, 0, 0);
    click(&mut state, 500, 500);
    assert_eq!(state.focus, Pane::Logs);
}

#[test]
fn the_wheel_scrolls_what_is_under_it() {
    let mut state = connected(120, 40);
    printed(&mut state, 200);
    let at = Position { x: 100, y: 5 };
    send(
        &mut state,
        Msg::Mouse(Mouse {
            action: MouseAction::WheelUp,
            at,
        }),
    );
    assert!(!state.log_pane.is_following());
    assert_eq!(state.focus, Pane::Containers);
    send(
        &mut state,
        Msg::Mouse(Mouse {
            action: MouseAction::WheelDown,
            at,
        }),
    );
    assert!(state.log_pane.is_following());
}

#[test]
fn a_notice_goes_away() {
    let mut state = connected(80, 24);
    send(&mut state, Msg::Notice("copied\u{1b}[2J".to_owned()));
    assert!(screen(&state).contains("copied "));
    send(
        &mut state,
        Msg::Tick(now().checked_add(Duration::from_secs(60)).unwrap()),
    );
    assert!(state.notice.is_none());
}

#[test]
fn what_is_pasted_is_typed_and_does_nothing_else() {
    let mut state = planned();
    let effects = update(&mut state, Msg::Paste("tenant\n".to_owned()));
    assert!(!effects.iter().any(removes));
    assert!(all_effects(&mut state, "<enter>").iter().any(removes));
    let mut state = connected(80, 24);
    assert_eq!(update(&mut state, Msg::Paste("uaTq".to_owned())), []);
    press(&mut state, "2/");
    send(&mut state, Msg::Paste("x".repeat(10_000)));
    let typed = state.log_pane.matcher().unwrap().pattern().len();
    assert_eq!(typed, 200);
}

#[test]
fn screens_and_panes() {
    let mut state = connected(120, 40);
    for (keys, screen, focus, zoom) in [
        ("2", Screen::Logs, Pane::Logs, false),
        ("1", Screen::Cockpit, Pane::Logs, false),
        ("3", Screen::Replays, Pane::Replays, false),
        ("<tab>", Screen::Replays, Pane::Output, false),
        ("<tab>", Screen::Replays, Pane::Replays, false),
        ("<shift-tab>", Screen::Replays, Pane::Output, false),
        ("<esc>", Screen::Replays, Pane::Replays, false),
        ("<esc>", Screen::Cockpit, Pane::Replays, false),
        ("z", Screen::Cockpit, Pane::Replays, true),
        ("<esc>", Screen::Cockpit, Pane::Replays, false),
        ("6", Screen::Diagnostics, Pane::Diagnostics, false),
        ("<esc>", Screen::Cockpit, Pane::Containers, false),
        ("j<enter>", Screen::Cockpit, Pane::Logs, false),
        ("<esc>", Screen::Cockpit, Pane::Containers, false),
        ("<esc>", Screen::Cockpit, Pane::Containers, false),
    ] {
        press(&mut state, keys);
        assert_eq!(
            (state.screen, state.focus, state.zoom),
            (screen, focus, zoom),
            "{keys}"
        );
    }
}

#[test]
fn a_fingerprint_is_never_made_up() {
    let mut state = planned();
    let effects = all_effects(&mut state, "tenant<enter>");
    let sent = effects.iter().find_map(|effect| match effect {
        Effect::Teardown { fingerprint, .. } => Some(fingerprint.clone()),
        _ => None,
    });
    assert_eq!(sent, Some(plan().fingerprint()));
    assert_ne!(sent, Some(Fingerprint::typed("")));
}

#[test]
fn a_smaller_window_keeps_the_cursor_on_the_screen() {
    let mut state = connected(120, 40);
    press(&mut state, "G");
    let size = Size {
        width: 80,
        height: 16,
    };
    send(&mut state, Msg::Resize(size));
    assert!(screen(&state).contains("› "), "{}", screen(&state));
}

/// Ten lines of one container, the log pane alone on the screen.
fn with_lines() -> State {
    let mut state = connected(80, 24);
    press(&mut state, "j2");
    let lines = (0..10)
        .map(|n| line("tenant_cf-proxy_1", 50 - n, &format!("line \x1b[31m{n}")))
        .collect();
    send(&mut state, Msg::Logs(lines));
    state
}

#[test]
fn a_bookmark_goes_to_the_picked_line() {
    let mut state = connected(80, 24);
    printed(&mut state, 200);
    press(&mut state, "2vkkkm");
    let picked = state.log_pane.picked.unwrap().at;
    let source = SourceId("tenant_tenant_1".into());
    assert!(state.log_pane.bookmarks.contains(&source, picked));
}

#[test]
fn picked_lines_are_what_is_copied() {
    let lines = |numbers: &[usize]| {
        let lines = numbers.iter().map(|n| format!("line {n}\n"));
        vec![Effect::Copy(lines.collect())]
    };
    let table: Vec<(&str, Vec<Effect>)> = vec![
        ("y", lines(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9])),
        ("vy", lines(&[9])),
        ("vky", lines(&[8])),
        ("vgy", lines(&[0])),
        ("vgjy", lines(&[1])),
        ("vgkky", lines(&[0])),
        ("vggGy", lines(&[9])),
        ("vkvkky", lines(&[6, 7, 8])),
        // Downwards as well, and a third time ends the range.
        ("vgvjjy", lines(&[0, 1, 2])),
        ("vgvjjvy", lines(&[2])),
        ("v<pgup>y", lines(&[0])),
        ("<enter>y", lines(&[9])),
        ("<enter><enter>y", vec![Effect::Copy("line 9".to_owned())]),
        ("<enter><enter>ppy", vec![Effect::Copy("line 7".to_owned())]),
        (
            "<enter><enter>ppny",
            vec![Effect::Copy("line 8".to_owned())],
        ),
        // The line that was looked at last is the picked one.
        ("<enter><enter>pp<esc>y", lines(&[7])),
        ("v<esc>y", lines(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9])),
        (
            "vY",
            vec![Effect::Copy(
                "2026-11-21T12:03:03.000000000Z cf-proxy line 9\n".to_owned(),
            )],
        ),
    ];
    for (keys, expected) in table {
        let mut state = with_lines();
        assert_eq!(effects_of(&mut state, keys), expected, "{keys}");
    }
}

#[test]
fn picking_pauses_and_leaving_it_goes_back_step_by_step() {
    let mut state = with_lines();
    assert!(state.log_pane.is_following());
    press(&mut state, "/line<enter>v");
    assert!(!state.log_pane.is_following());
    press(&mut state, "<enter>");
    assert!(matches!(state.dialog, Some(Dialog::Record { .. })));
    press(&mut state, "<esc>");
    assert!(state.dialog.is_none() && state.log_pane.picked.is_some());
    press(&mut state, "<esc>");
    assert!(state.log_pane.picked.is_none() && state.log_pane.search.is_some());
    // All of it fits on the screen: there is nothing to stay with.
    assert!(state.log_pane.is_following());
    press(&mut state, "vF");
    assert!(state.log_pane.picked.is_none() && state.log_pane.is_following());
}

#[test]
fn a_click_on_a_line_picks_it() {
    let mut state = with_lines();
    let click = |x, y| {
        Msg::Mouse(Mouse {
            action: MouseAction::Click,
            at: Position { x, y },
        })
    };
    let area = layout(Rect::new(0, 0, 80, 24), &state);
    let inner = area.pane(Pane::Logs).unwrap().inner;
    // Following fills from the end: the first row shows nothing, or the first line.
    let row = state.log_pane.window(&state.logs, inner.as_size());
    let third = row[2].line;
    send(&mut state, click(inner.x + 3, inner.y + 2));
    assert_eq!(state.log_pane.picked.unwrap().at, third);
    let below = inner.y + row.len() as u16 + 3;
    send(&mut state, click(inner.x + 3, below));
    assert_eq!(state.log_pane.picked.unwrap().at, third);
}

#[test]
fn a_container_is_copied_by_its_name_or_its_id() {
    let mut state = connected(80, 24);
    let id = "tenant_cf-proxy_1-0123456789abcdef";
    assert_eq!(
        effects_of(&mut state, "jyY"),
        [
            Effect::Copy("tenant_cf-proxy_1".to_owned()),
            Effect::Copy(id.to_owned())
        ]
    );
}

#[test]
fn too_much_for_a_clipboard_goes_to_a_file_by_itself() {
    let mut state = with_lines();
    let long = "x".repeat(60_000);
    let lines = (0..3)
        .map(|n| line("tenant_cf-proxy_1", 20 - n, &long))
        .collect();
    send(&mut state, Msg::Logs(lines));
    let effects = effects_of(&mut state, "vy");
    assert!(matches!(&effects[..], [Effect::Copy(text)] if text.len() == 60_001));
    let effects = effects_of(&mut state, "vgy");
    let [Effect::Take(extract, Target::Clipboard)] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(extract.form, Form::Text);
    assert_eq!(extract.range, Some(state.log_pane.picked.unwrap().range()));
    // What is on the screen is at hand as text.
    let effects = effects_of(&mut state, "<esc>Gy");
    assert!(
        matches!(&effects[..], [Effect::Keep(text)] if text.len() > 180_000),
        "{effects:?}"
    );
    let done = Taken::Done {
        path: "/home/me/x.txt".into(),
        lines: 13,
    };
    send(&mut state, Msg::Taken(Target::Clipboard, done));
    let notice = state.notice.unwrap().text;
    assert_eq!(notice, "13 lines copied to /home/me/x.txt");
}

#[test]
fn a_terminal_that_may_drop_a_copy_gets_a_file_too() {
    let mut state = with_lines();
    state.setup.no_clipboard = true;
    let line = "line 9\n".to_owned();
    assert_eq!(
        effects_of(&mut state, "vy"),
        [Effect::Keep(line.clone()), Effect::Copy(line)]
    );
}

fn saved(effects: &[Effect]) -> (&str, bool) {
    let [Effect::Take(_, Target::File { path, replace })] = effects else {
        panic!("{effects:?}");
    };
    (path, *replace)
}

#[test]
fn saving_asks_for_a_name_and_before_it_writes_over_anything() {
    let mut state = with_lines();
    let effects = effects_of(&mut state, "S<enter>");
    let name = "./cf-proxy-2026-11-21T12-03-44.log";
    assert_eq!(saved(&effects), (name, false));
    let [Effect::Take(extract, target)] = &effects[..] else {
        panic!();
    };
    assert_eq!((extract.form, &extract.names), (Form::Raw, &None));
    send(&mut state, Msg::Taken(target.clone(), Taken::Exists));
    assert!(screen(&state).contains("enter writes over it"));
    // Another name is another question.
    assert_eq!(
        saved(&effects_of(&mut state, "x<enter>")),
        ("./cf-proxy-2026-11-21T12-03-44.logx", false)
    );
    press(&mut state, "<backspace>");
    send(&mut state, Msg::Taken(target.clone(), Taken::Exists));
    let effects = effects_of(&mut state, "<enter>");
    assert_eq!(saved(&effects), (name, true));
    send(
        &mut state,
        Msg::Taken(target.clone(), Taken::Failed("no space".to_owned())),
    );
    assert!(matches!(state.dialog, Some(Dialog::Save { .. })));
    let notice = state.notice.take().unwrap().text;
    assert_eq!(notice, format!("{name} cannot be written: no space"));
    send(&mut state, Msg::Taken(target.clone(), Taken::Begun));
    assert!(state.dialog.is_none());
    let done = Taken::Done {
        path: name.into(),
        lines: 10,
    };
    send(&mut state, Msg::Taken(target.clone(), done));
    let notice = state.notice.unwrap().text;
    assert_eq!(notice, format!("10 lines saved to {name}"));
}

#[test]
fn several_sources_are_saved_with_their_names() {
    let mut state = busy(80, 24);
    let effects = effects_of(&mut state, "2S<enter>");
    assert_eq!(saved(&effects), ("./tenant-2026-11-21T12-03-44.log", false));
    let [Effect::Take(extract, _)] = &effects[..] else {
        panic!();
    };
    let names: BTreeSet<&str> = extract
        .names
        .iter()
        .flat_map(|n| n.values())
        .map(|n| &**n)
        .collect();
    assert_eq!(names, BTreeSet::from(["postgres", "redis", "tenant"]));
}

#[test]
fn a_pager_is_opened_when_its_file_is_there() {
    let mut state = with_lines();
    let effects = effects_of(&mut state, "|");
    let [Effect::Take(extract, Target::Pager)] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(extract.form, Form::Colored);
    let done = Taken::Done {
        path: "/tmp/x.log".into(),
        lines: 10,
    };
    let effects = tell(&mut state, Msg::Taken(Target::Pager, done));
    assert_eq!(effects, [Effect::OpenPager("/tmp/x.log".into())]);
    send(
        &mut state,
        Msg::PagerEnded(Err("there is no pager x".to_owned())),
    );
    assert_eq!(state.notice.unwrap().text, "there is no pager x");
    // There is nothing to open.
    let mut state = connected(80, 24);
    assert_eq!(effects_of(&mut state, "j2|S"), []);
}

#[test]
fn chosen_fields_are_those_of_the_readable_lines() {
    let mut state = with_lines();
    let json = r#"{"level":"info","msg":"m","a":1,"b":{"c":2}}"#;
    send(
        &mut state,
        Msg::Logs(vec![line("tenant_cf-proxy_1", 5, json)]),
    );
    assert!(screen(&state).contains("INFO  m  a=1 b.c=2"));
    press(&mut state, "v<enter>G ");
    assert!(screen(&state).contains("✓ b.c"), "{}", screen(&state));
    press(&mut state, "<esc>");
    assert!(
        screen(&state).contains("INFO  m  b.c=2"),
        "{}",
        screen(&state)
    );
    // Level and message are shown anyway.
    press(&mut state, "<enter>Gkk ");
    assert!(state.notice.take().unwrap().text.contains("always shown"));
    press(&mut state, "G <esc>J");
    assert!(screen(&state).contains(json));
    press(&mut state, "J");
    assert!(screen(&state).contains("INFO  m  a=1 b.c=2"));
}
