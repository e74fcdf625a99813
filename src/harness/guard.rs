//! What a run's guard is told: it ends the run where the runner cannot do so any more.

use std::path::Path;

use super::session::{Harness, Request, Teardown};
use super::sink::Sink;
use crate::domain::id::RunId;
use crate::domain::run::RunEventKind;
use crate::process::Guard;

impl Harness {
    /// Posts a guard, where the caller has one. It takes down what the run would have taken down
    /// had it been cut off now.
    pub(super) fn post_guard(
        &self,
        request: &Request,
        run: &RunId,
        found_up: bool,
        record: Option<&Path>,
        sink: &mut Sink,
    ) -> Option<Guard> {
        let mut guard = self.guard.clone()?;
        guard.args.extend(["--run".into(), run.as_str().into()]);
        if let Some(record) = record {
            guard
                .args
                .extend(["--log".into(), record.join("guard.log").into()]);
        }
        let takes_down = match request.teardown {
            Teardown::Always => true,
            Teardown::IfCutOff => !found_up,
            // What somebody confirmed is theirs to go on with, and a run that died was not ok.
            Teardown::Never | Teardown::UnlessFailed | Teardown::Confirmed(..) => false,
        };
        if takes_down && self.config.harness.is_some() {
            guard.args.push("--take-down".into());
        }
        if request.any_age {
            guard.args.push("--any-age".into());
        }
        match Guard::start(&guard) {
            Ok(guard) => Some(guard),
            Err(error) => {
                sink.emit(RunEventKind::Note(format!(
                    "nobody takes over if this process is killed: {error}"
                )));
                None
            }
        }
    }
}
