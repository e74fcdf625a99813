//! Decides which replay runs when. Replays share a stateful harness, so they run one at a time.

use std::sync::Arc;

use super::executor::{Settings, execute};
use crate::domain::replay::Replay;
use crate::domain::run::RunEventKind;
use crate::process::Control;

/// What to run.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// In this order.
    pub replays: Vec<Arc<Replay>>,
    /// Stop after the first replay that is not ok. Off unless asked for: the list of what fails
    /// is the point.
    pub fail_fast: bool,
}

/// Runs the replays until all have ended or a stop is asked for. Those that were never started
/// get no event; the summary knows them as not run.
pub async fn dispatch(
    dispatch: &Dispatch,
    settings: &Settings,
    control: &Control,
    emit: &mut (dyn FnMut(RunEventKind) + Send),
) {
    for replay in &dispatch.replays {
        if control.is_stopped() {
            return;
        }
        let result = execute(replay, settings, control, emit).await;
        if dispatch.fail_fast && !result.verdict.is_ok() {
            return;
        }
    }
}
