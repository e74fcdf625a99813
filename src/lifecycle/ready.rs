//! Waits until a stack answers, and says what it waits for.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::sleep;

use super::http;
use crate::config::Ready;
use crate::domain::container::{Container, Health, State};
use crate::domain::hook::{Progress, Step};
use crate::domain::run::{RunEventKind, Seconds, StepOutcome};
use crate::domain::scope::Stack;
use crate::engine::{Engine, EngineError, list_any};
use crate::process::Control;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(250);

/// What to wait for.
#[derive(Clone, Debug)]
pub struct Readiness<'a> {
    pub ready: &'a Ready,
    /// None: there are no containers to wait for. Each has to have one at least.
    pub stacks: Vec<&'a Stack>,
    /// [`Ready::http`] with its names replaced.
    pub http: Option<String>,
}

/// Resolves when everything is ready, when that has become impossible, or when the time is up. An
/// engine that cannot be used is waited for as well.
///
/// # Errors
///
/// Fails where the engine refuses, or still cannot be used when the time is up.
pub async fn wait_until_ready(
    engine: &dyn Engine,
    readiness: &Readiness<'_>,
    control: &Control,
    emit: &mut (dyn FnMut(RunEventKind) + Send),
) -> Result<StepOutcome, EngineError> {
    let stopwatch = control.stopwatch();
    let mut last: Option<Progress> = None;
    let limit = readiness.ready.timeout;
    loop {
        // Who looks only once waits for the answer.
        let left = match limit.is_zero() {
            true => Duration::MAX,
            false => limit.saturating_sub(stopwatch.elapsed()),
        };
        let look = tokio::select! {
            biased;
            () = control.stopped() => return Ok(StepOutcome::Cancelled),
            look = look(engine, readiness, left) => look,
        };
        let overdue = stopwatch.elapsed() >= readiness.ready.timeout;
        let look = match look {
            Err(error) if error.is_outage() && !overdue => Look::Waiting(Progress {
                done: last.as_ref().map_or(0, |last| last.done),
                total: last.as_ref().and_then(|last| last.total),
                waiting_for: format!("waiting for the engine ({})", error.message),
            }),
            look => look?,
        };
        let (progress, hopeless) = match look {
            Look::Ready => return Ok(StepOutcome::Done),
            Look::Waiting(progress) => (progress, None),
            Look::Hopeless(progress, container) => (progress, Some(container)),
        };
        if last.as_ref() != Some(&progress) {
            emit(RunEventKind::StepProgress {
                step: Step::Ready,
                progress: progress.clone(),
            });
        }
        if overdue || hopeless.is_some() {
            let prefix = if overdue && hopeless.is_none() {
                format!("not ready within {}: ", Seconds(readiness.ready.timeout))
            } else {
                String::new()
            };
            let details = tokio::select! {
                biased;
                () = control.stopped() => return Ok(StepOutcome::Cancelled),
                details = explain(engine, readiness) => details,
            };
            return Ok(StepOutcome::Failed {
                reason: format!("{prefix}{}{details}", progress.waiting_for),
            });
        }
        last = Some(progress);
        tokio::select! {
            () = control.stopped() => return Ok(StepOutcome::Cancelled),
            () = sleep(PAUSE) => {}
        }
    }
}

enum Look {
    Ready,
    Waiting(Progress),
    /// It will not become ready by waiting.
    Hopeless(Progress, String),
}

async fn look(
    engine: &dyn Engine,
    readiness: &Readiness<'_>,
    left: Duration,
) -> Result<Look, EngineError> {
    let mut done = 0;
    let mut total = 0;
    let mut waiting = Vec::new();
    let mut hopeless = None;
    if readiness.ready.healthy {
        let mut containers = BTreeMap::new();
        for stack in &readiness.stacks {
            let own = list_any(engine, stack.claims.selectors()).await?;
            if own.is_empty() {
                waiting.push(match readiness.stacks.len() {
                    1 => "the first container".to_owned(),
                    _ => format!("the first container of {}", stack.name),
                });
                total += 1;
            }
            containers.extend(own);
        }
        for container in containers.values() {
            total += 1;
            match condition(container) {
                Condition::Ready => done += 1,
                Condition::Waiting(why) => waiting.push(format!("{} ({why})", container.title())),
                Condition::Ended => {
                    let inspect = engine.inspect(&container.id).await;
                    let (code, restarts) = match &inspect {
                        Ok(inspect) => (
                            inspect.detail().exit_code.unwrap_or(-1),
                            !matches!(inspect.restart_policy.as_str(), "" | "no"),
                        ),
                        Err(_) => (-1, true),
                    };
                    // Seed and migration containers end, and that is how they succeed.
                    if code == 0 {
                        done += 1;
                    } else {
                        waiting.push(format!("{} (exit {code})", container.title()));
                        if !restarts {
                            hopeless.get_or_insert(container.title().to_owned());
                        }
                    }
                }
            }
        }
    }
    if let Some(url) = &readiness.http {
        total += 1;
        // While containers are missing an answer could only come from somebody else's.
        if waiting.is_empty() {
            match http::get(url, left).await {
                Ok(status) if (200..300).contains(&status) => done += 1,
                Ok(status) => waiting.push(format!("{url} (status {status})")),
                Err(why) => waiting.push(format!("{url} ({why})")),
            }
        } else {
            waiting.push(url.clone());
        }
    }
    if waiting.is_empty() {
        return Ok(Look::Ready);
    }
    let progress = Progress {
        done,
        total: Some(total),
        waiting_for: format!("waiting for {}", waiting.join(", ")),
    };
    Ok(match hopeless {
        Some(container) => Look::Hopeless(progress, container),
        None => Look::Waiting(progress),
    })
}

enum Condition {
    Ready,
    Waiting(&'static str),
    Ended,
}

fn condition(container: &Container) -> Condition {
    match (container.state, container.health) {
        _ if container.is_ready() => Condition::Ready,
        (State::Running, Some(health)) => Condition::Waiting(health.word()),
        (State::Exited | State::Dead, _) => Condition::Ended,
        (state, _) => Condition::Waiting(state.word()),
    }
}

/// What the health checks that fail say themselves.
async fn explain(engine: &dyn Engine, readiness: &Readiness<'_>) -> String {
    let selectors = readiness
        .stacks
        .iter()
        .flat_map(|stack| stack.claims.selectors());
    let Ok(containers) = list_any(engine, selectors).await else {
        return String::new();
    };
    let mut details = String::new();
    for container in containers
        .values()
        .filter(|container| container.health.is_some_and(|h| h != Health::Healthy))
    {
        let output = match engine.inspect(&container.id).await {
            Ok(inspect) => inspect.detail().health_output,
            Err(_) => None,
        };
        if let Some(output) = output.filter(|output| !output.is_empty()) {
            let line = output.lines().next_back().unwrap_or_default();
            details.push_str(&format!(
                "; {}'s health check says: {line}",
                container.title()
            ));
        }
    }
    details
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::run::Signal;
    use crate::domain::scope::Protection;
    use crate::domain::selector::Selector;
    use crate::engine::ErrorKind;
    use crate::engine::fake::{FakeContainer, FakeEngine, Operation};
    use crate::process::{Controller, Phase};

    fn stack(name: &str) -> Stack {
        let selector = Selector::new(format!("stack={name}").parse().unwrap(), []);
        Stack {
            name: name.into(),
            claims: selector.into(),
            spawner: None,
            state_dirs: Vec::new(),
            protection: Protection::Removable,
            compose_project: None,
            run_guard: None,
        }
    }

    /// A container that was created and does not run, and its stack.
    fn shop(engine: &FakeEngine) -> (crate::domain::id::ContainerId, Stack) {
        let id = engine.create(FakeContainer::new("db").label("stack", "shop"));
        (id, stack("shop"))
    }

    #[tokio::test]
    async fn every_stack_has_to_have_a_container() {
        let engine = FakeEngine::new();
        let (id, shop) = shop(&engine);
        engine.start(&id);
        let till = stack("till");
        let ready = Ready {
            timeout: Duration::ZERO,
            ..Ready::default()
        };
        let readiness = Readiness {
            ready: &ready,
            stacks: vec![&shop, &till],
            http: None,
        };
        let control = Controller::default().control(Phase::Work);
        let reason = "not ready within 0.0 s: waiting for the first container of till".to_owned();
        let outcome = wait_until_ready(&engine, &readiness, &control, &mut |_| {}).await;
        assert_eq!(outcome.unwrap(), StepOutcome::Failed { reason });
        engine.run(FakeContainer::new("web").label("stack", "till"));
        let outcome = wait_until_ready(&engine, &readiness, &control, &mut |_| {}).await;
        assert_eq!(outcome.unwrap(), StepOutcome::Done);
    }

    #[tokio::test]
    async fn one_slow_answer_is_waited_out_and_said() {
        let engine = FakeEngine::new();
        let (id, shop) = shop(&engine);
        engine.start(&id);
        let slow = || EngineError::new(ErrorKind::TimedOut, "no answer within 10 s");
        engine.fail_once(Operation::List, slow());
        let usual = Ready::default();
        let at_once = Ready {
            timeout: Duration::ZERO,
            ..Ready::default()
        };
        let readiness = |ready| Readiness {
            ready,
            stacks: vec![&shop],
            http: None,
        };
        let control = Controller::default().control(Phase::Work);
        let mut said = Vec::new();
        let outcome = wait_until_ready(&engine, &readiness(&usual), &control, &mut |it| {
            if let RunEventKind::StepProgress { progress, .. } = it {
                said.push(progress.waiting_for);
            }
        })
        .await;
        assert_eq!(outcome.unwrap(), StepOutcome::Done);
        assert_eq!(said, ["waiting for the engine (no answer within 10 s)"]);
        // But not for ever.
        engine.break_down(slow());
        let outcome = wait_until_ready(&engine, &readiness(&at_once), &control, &mut |_| {}).await;
        assert!(outcome.is_err_and(|error| error.is_outage()));
    }

    #[tokio::test]
    async fn the_time_of_a_pause_does_not_count() {
        let engine = FakeEngine::new();
        let (id, shop) = shop(&engine);
        let controller = Controller::default();
        let ready = Ready {
            timeout: Duration::from_secs(1),
            ..Ready::default()
        };
        let readiness = Readiness {
            ready: &ready,
            stacks: vec![&shop],
            http: None,
        };
        let control = controller.control(Phase::Work);
        let outcome = wait_until_ready(&engine, &readiness, &control, &mut |_| {
            controller.pause(|| std::thread::sleep(ready.timeout));
            engine.start(&id);
        })
        .await;
        assert_eq!(outcome.unwrap(), StepOutcome::Done);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_to_stop_does_not_wait_for_an_engine_that_does_not_answer() {
        let engine = FakeEngine::new();
        let (_, shop) = shop(&engine);
        engine.hang(Operation::List);
        let controller = Controller::default();
        let readiness = Readiness {
            ready: &Ready::default(),
            stacks: vec![&shop],
            http: None,
        };
        let control = controller.control(Phase::Work);
        let mut emit = |_| {};
        let (outcome, ()) = tokio::join!(
            wait_until_ready(&engine, &readiness, &control, &mut emit),
            async {
                while engine.calls().is_empty() {
                    tokio::task::yield_now().await;
                }
                controller.press(Signal::Interrupt);
            }
        );
        assert_eq!(outcome.unwrap(), StepOutcome::Cancelled);
    }
}
