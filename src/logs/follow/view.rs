//! What a reader knows of its source from the watcher.

use jiff::Timestamp;

use crate::domain::id::ContainerId;

/// The latest state of affairs. A reader that was busy sees the last view and none in between,
/// so everything in it is a fact that stays true and not a step.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    pub(super) selected: bool,
    /// No more inputs will come: read to the end, and end.
    pub(super) closing: bool,
    /// The container that has the name now.
    pub(super) container: Option<ContainerId>,
    running: bool,
    death: Option<Death>,
    /// The last death that another start came behind.
    survived: Option<(ContainerId, Timestamp)>,
    out_of_memory: Option<(ContainerId, Timestamp)>,
    removal: Option<(ContainerId, Timestamp)>,
}

/// How a container ended, as the engine's event told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Death {
    container: ContainerId,
    /// Everything that the run wrote has an earlier timestamp, and everything that the next run
    /// writes a later one: the engine sends the event when the output was drained.
    pub(super) at: Timestamp,
    pub(super) code: Option<i64>,
    pub(super) oom: bool,
}

impl View {
    pub(super) fn selected(now: Option<(ContainerId, bool)>) -> Self {
        let mut view = Self {
            selected: true,
            ..Self::default()
        };
        view.now(now);
        view
    }

    /// Returns whether anything changed.
    pub(super) fn now(&mut self, now: Option<(ContainerId, bool)>) -> bool {
        let (container, running) = match now {
            Some((container, running)) => (Some(container), running),
            None => (None, false),
        };
        let changed = self.container != container || self.running != running;
        self.container = container;
        self.running = running;
        changed
    }

    pub(super) fn died(&mut self, container: ContainerId, at: Timestamp, code: Option<i64>) {
        let oom = self
            .out_of_memory
            .take_if(|(id, _)| *id == container)
            .is_some();
        self.death = Some(Death {
            container,
            at,
            code,
            oom,
        });
    }

    pub(super) fn started(&mut self, container: &ContainerId) {
        if let Some(death) = self.death_since(container, None) {
            self.survived = Some((container.clone(), death.at));
        }
    }

    /// Comes before the death that it leads to, and need not lead to one: a child may be killed
    /// instead of the main process.
    pub(super) fn ran_out_of_memory(&mut self, container: ContainerId, at: Timestamp) {
        self.out_of_memory = Some((container, at));
    }

    pub(super) fn went(&mut self, container: ContainerId, at: Timestamp) {
        self.removal = Some((container, at));
    }

    /// When the container was removed, by the engine's clock.
    pub(super) fn removal_of(&self, container: &ContainerId) -> Option<Timestamp> {
        let removal = self.removal.as_ref();
        removal.filter(|(id, _)| id == container).map(|(_, at)| *at)
    }

    /// Whether there is no sense in following the run of `container` that began at `started`: it
    /// is over, or something else is wanted. A stream need not end with the run. One that is
    /// opened at the very moment of a restart goes on with the next.
    pub(super) fn is_past(&self, container: &ContainerId, started: Option<Timestamp>) -> bool {
        self.closing
            || self.container.as_ref().is_some_and(|now| now != container)
            || self.death_since(container, started).is_some()
    }

    /// Whether the container has run after the run that began at `started`, which is `None` before
    /// the first one, and does so no longer.
    pub(super) fn ran_behind(&self, container: &ContainerId, started: Option<Timestamp>) -> bool {
        let Some(started) = started else {
            return self.death_since(container, None).is_some();
        };
        let survived = self.survived.as_ref();
        survived.is_some_and(|(id, at)| id == container && *at >= started)
    }

    /// The death that ended the run which began at `started`.
    pub(super) fn death_since(
        &self,
        container: &ContainerId,
        started: Option<Timestamp>,
    ) -> Option<&Death> {
        self.death.as_ref().filter(|death| {
            death.container == *container && started.is_none_or(|started| death.at >= started)
        })
    }
}
