//! What the engine and the runner say happened, in one line each.

use crate::domain::container::title;
use crate::domain::event::{Action, EngineEvent};
use crate::domain::replay::ReplayName;
use crate::domain::run::{RunEventKind, Seconds, StepOutcome};

/// `◆ tenant died, exit 137 (killed)`
pub fn engine_words(event: &EngineEvent) -> String {
    let name = title(&event.labels, &event.name);
    let what = match &event.action {
        Action::Created => "was created".to_owned(),
        Action::Started => "started".to_owned(),
        Action::Died { exit_code } => match exit_code {
            Some(137) => "died, exit 137 (killed)".to_owned(),
            Some(143) => "died, exit 143 (terminated)".to_owned(),
            Some(code) => format!("died, exit {code}"),
            None => "died".to_owned(),
        },
        Action::Signalled { signal } => signal_words(*signal),
        Action::Stopped => "was stopped".to_owned(),
        Action::Restarted => "was restarted".to_owned(),
        Action::OutOfMemory => "ran out of memory".to_owned(),
        Action::Health(status) => format!("is {status}"),
        Action::Paused => "was paused".to_owned(),
        Action::Unpaused => "goes on".to_owned(),
        Action::Renamed => "was renamed".to_owned(),
        Action::Destroyed => "was removed".to_owned(),
        Action::Other(other) => other.clone(),
    };
    format!("◆ {name} {what}")
}

/// What a signal asks for is up to the container, but for the one that kills.
fn signal_words(signal: Option<i64>) -> String {
    let name = match signal {
        Some(9) => return "was killed (SIGKILL)".to_owned(),
        Some(1) => "SIGHUP",
        Some(2) => "SIGINT",
        Some(3) => "SIGQUIT",
        Some(10) => "SIGUSR1",
        Some(12) => "SIGUSR2",
        Some(15) => "SIGTERM",
        Some(other) => return format!("was sent signal {other}"),
        None => "a signal",
    };
    format!("was sent {name}")
}

/// Whether a container broke by it. Who ends with 0 has done its work.
pub fn is_death(action: &Action) -> bool {
    match action {
        Action::Died { exit_code } => *exit_code != Some(0),
        Action::OutOfMemory => true,
        _ => false,
    }
}

/// What the runner did, on the timeline of one replay; `None` for what is shown otherwise, such as
/// what was printed.
pub fn run_words(event: &RunEventKind, own: &ReplayName) -> Option<String> {
    let whose = |replay: &ReplayName| match replay == own {
        true => String::new(),
        false => format!("{replay}: "),
    };
    Some(match event {
        RunEventKind::Again { why, .. } => format!("run again: {why}"),
        RunEventKind::Gone { why, .. } => format!("no longer a part of the run: {why}"),
        RunEventKind::StepStarted { step } => format!("{} begins", step.word()),
        RunEventKind::StepFinished {
            step,
            outcome,
            took,
            ..
        } => {
            let step = step.word();
            match outcome {
                StepOutcome::Done => format!("{step} done ({})", Seconds(*took)),
                StepOutcome::Skipped { reason } => format!("{step} skipped: {reason}"),
                StepOutcome::Failed { reason } => format!("{step} failed: {reason}"),
                StepOutcome::Cancelled => format!("{step} cancelled"),
            }
        }
        RunEventKind::ReplayStarted {
            replay, attempt, ..
        } => format!("▶ {}attempt {attempt} begins", whose(replay)),
        RunEventKind::ReplaySlow { replay, after } => {
            format!("{}slow: running for {}", whose(replay), Seconds(*after))
        }
        RunEventKind::ReplayStopping { replay, signal } => {
            format!("{}sent {}", whose(replay), signal.word())
        }
        RunEventKind::ReplayFinished(result) => format!(
            "{} {}{}, after {}",
            result.verdict.symbol(),
            whose(&result.replay),
            result.verdict,
            Seconds(result.took)
        ),
        RunEventKind::ItemFinished { item, .. } => {
            format!("teardown of {} {}", item.kind.word(), item.name)
        }
        RunEventKind::Interrupted(signal) => format!("interrupted by {}", signal.word()),
        RunEventKind::Note(text) => text.clone(),
        RunEventKind::EngineLost { cause } => format!("the engine is lost: {cause}"),
        RunEventKind::Refused { reason } => format!("refused: {reason}"),
        RunEventKind::InternalError { cause } => format!("internal error: {cause}"),
        RunEventKind::Started { .. }
        | RunEventKind::StepOutput { .. }
        | RunEventKind::StepProgress { .. }
        | RunEventKind::ReplayOutput { .. }
        | RunEventKind::Planned(_)
        | RunEventKind::LeftBehind(_)
        | RunEventKind::LeftToOthers(_)
        | RunEventKind::Finished(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::ContainerId;
    use crate::domain::label::Labels;
    use jiff::Timestamp;

    #[test]
    fn an_event_names_the_service_and_what_happened_to_it() {
        let words = |labels: &[(&str, &str)], action| {
            let labels = labels
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            engine_words(&EngineEvent {
                at: Timestamp::UNIX_EPOCH,
                container: ContainerId::new("c"),
                name: "shop-tenant-1".to_owned(),
                labels: Labels::from_iter(labels),
                action,
            })
        };
        let died = |exit_code| Action::Died { exit_code };
        let service = [("com.docker.compose.service", "tenant")];
        assert_eq!(
            words(&service, died(Some(137))),
            "◆ tenant died, exit 137 (killed)"
        );
        assert_eq!(words(&[], died(Some(1))), "◆ shop-tenant-1 died, exit 1");
        assert_eq!(
            words(&service, Action::Health("unhealthy".to_owned())),
            "◆ tenant is unhealthy"
        );
        for (action, expected) in [
            (
                Action::Signalled { signal: Some(9) },
                "was killed (SIGKILL)",
            ),
            (Action::Signalled { signal: Some(15) }, "was sent SIGTERM"),
            (Action::Signalled { signal: Some(64) }, "was sent signal 64"),
            (Action::Signalled { signal: None }, "was sent a signal"),
            (Action::Stopped, "was stopped"),
            (Action::Restarted, "was restarted"),
        ] {
            assert_eq!(words(&service, action), format!("◆ tenant {expected}"));
        }
        assert!(is_death(&died(None)) && is_death(&Action::OutOfMemory));
        assert!(!is_death(&Action::Stopped) && !is_death(&died(Some(0))));
    }

    #[test]
    fn the_runner_names_only_other_replays() {
        let own = ReplayName::new("own");
        let started = |name: &str| RunEventKind::ReplayStarted {
            replay: ReplayName::new(name),
            attempt: 2,
            timeout: None,
        };
        assert_eq!(
            run_words(&started("own"), &own).unwrap(),
            "▶ attempt 2 begins"
        );
        assert_eq!(
            run_words(&started("else"), &own).unwrap(),
            "▶ else: attempt 2 begins"
        );
    }
}
