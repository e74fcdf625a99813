//! Runs one hook and turns its output into progress.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use crate::domain::hook::{Hook, Progress, Step};
use crate::domain::run::{Ending, Output, RunEventKind, Seconds, StepOutcome};
use crate::process::{CaptureLimits, Control, Escaped, ProcessEvent, Spec, supervise};

/// What holds for every hook of a harness.
#[derive(Clone, Debug)]
pub struct HookSettings {
    pub dir: PathBuf,
    /// Added to our own environment.
    pub env: BTreeMap<String, String>,
    pub grace: Duration,
    pub settle: Duration,
    /// The run's directory; `None` keeps nothing on disk.
    pub record: Option<PathBuf>,
}

/// Runs a hook to its end. Exit 0 is success.
pub async fn run_hook(
    step: Step,
    hook: &Hook,
    settings: &HookSettings,
    control: &Control,
    emit: &mut (dyn FnMut(RunEventKind) + Send),
) -> (StepOutcome, Output) {
    let failed = |reason: String| (StepOutcome::Failed { reason }, Output::default());
    if let Some(reason) = obstacle(hook) {
        return failed(reason);
    }
    let output_file = settings.record.as_ref().map(|record| {
        let directory = record.join("harness");
        // Where it cannot be made, nor can the file, and that is told at the end.
        let _ = std::fs::create_dir_all(&directory);
        directory.join(format!("{}.log", step.word()))
    });
    let spec = Spec {
        program: hook.program.clone(),
        args: hook.args.iter().map(Into::into).collect(),
        env: settings
            .env
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        dir: settings.dir.clone(),
        stdin: None,
        timeout: hook.timeout,
        slow: None,
        grace: settings.grace,
        settle: settings.settle,
        escaped: Escaped::Keep,
        capture: CaptureLimits::default(),
        output_file,
    };
    let finished = supervise(&spec, control, |event| {
        let (ProcessEvent::Lines(lines) | ProcessEvent::Part(lines)) = event else {
            return;
        };
        for line in lines.iter() {
            if let Some(progress) = Progress::parse(&String::from_utf8_lossy(line)) {
                emit(RunEventKind::StepProgress { step, progress });
            }
        }
        emit(RunEventKind::StepOutput { step, lines });
    })
    .await;
    let finished = match finished {
        Ok(finished) => finished,
        Err(error) => return failed(error.to_string()),
    };
    if finished.left_processes {
        emit(RunEventKind::Note(format!(
            "{} left processes behind, which were ended: what a hook starts belongs into the stack",
            step.word()
        )));
        for survivor in &finished.survivors {
            emit(RunEventKind::Note(survivor.to_string()));
        }
    }
    if finished.output.not_on_disk > 0 {
        emit(RunEventKind::Note(format!(
            "{} bytes of the output of {} are not on disk: cap reached, or it cannot be written",
            finished.output.not_on_disk,
            step.word()
        )));
    }
    let outcome = if finished.timed_out {
        StepOutcome::Failed {
            reason: format!(
                "did not end within {}",
                Seconds(hook.timeout.unwrap_or_default())
            ),
        }
    } else if finished.stopped {
        StepOutcome::Cancelled
    } else {
        match finished.ending {
            Ending::Code(0) => StepOutcome::Done,
            ending => StepOutcome::Failed {
                reason: ending.to_string(),
            },
        }
    };
    (outcome, finished.output)
}

/// Why the hook could not be started, in more words than the kernel has.
fn obstacle(hook: &Hook) -> Option<String> {
    if hook.program.components().count() < 2 {
        return None;
    }
    let shown = hook.program.display();
    match std::fs::metadata(&hook.program) {
        Err(error) => Some(format!("{shown}: {error}")),
        Ok(metadata) if !metadata.is_file() => Some(format!("{shown} is not a file")),
        Ok(metadata) if metadata.permissions().mode() & 0o111 == 0 => {
            Some(format!("{shown} is not executable: chmod +x {shown}"))
        }
        Ok(_) => None,
    }
}
