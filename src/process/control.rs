//! Stopping and pausing everything that runs, from one place.
//!
//! A [`Controller`] takes the requests (signals, keys); each running child and each step of the
//! lifecycle looks at its [`Control`].

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::group::Group;
use crate::domain::run::Signal;

/// What has been asked for so far. It only ever grows harder, but for pausing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked {
    /// How often a stop was asked for: 0 go on, 1 stop, 2 kill, 3 give up on the teardown.
    level: u8,
    /// The first stop's signal: what children get, and what we die of in the end.
    signal: Option<Signal>,
    /// A second request that is not a person's second Ctrl-C: be quick, skip nothing.
    hurry: bool,
    /// All the time that everything was paused, until the last time that it went on.
    paused: Duration,
    /// When the pause began that is not over yet. Whoever wakes first after it, and that need not
    /// be the one who ends it, must not take it for time that has passed.
    pausing: Option<Instant>,
}

/// Takes requests to stop. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Controller {
    asked: Arc<watch::Sender<Asked>>,
    groups: Arc<Mutex<HashSet<Group>>>,
}

/// Whether a first request to stop ends the work, or is what the work is the answer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Up, seed, replays.
    Work,
    /// The teardown goes on after a first request: it is what the request leads to.
    Teardown,
}

/// A view of the requests for one phase. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Control {
    controller: Controller,
    phase: Phase,
    /// The level at which this phase began.
    base: u8,
}

impl Default for Controller {
    fn default() -> Self {
        let asked = Asked {
            level: 0,
            signal: None,
            hurry: false,
            paused: Duration::ZERO,
            pausing: None,
        };
        Self {
            asked: Arc::new(watch::channel(asked).0),
            groups: Arc::default(),
        }
    }
}

impl Controller {
    pub fn control(&self, phase: Phase) -> Control {
        Control {
            controller: self.clone(),
            phase,
            base: self.asked.borrow().level,
        }
    }

    /// A person pressed Ctrl-C, or a key that means it: each time is harder.
    pub fn press(&self, signal: Signal) {
        self.asked.send_modify(|asked| {
            asked.level = asked.level.saturating_add(1);
            asked.signal.get_or_insert(signal);
        });
    }

    /// A program asked: CI sends INT and then TERM, which must not be read as a second Ctrl-C. The
    /// first time stops, every further time only hurries.
    pub fn request(&self, signal: Signal) {
        self.asked.send_modify(|asked| {
            asked.hurry |= asked.level > 0;
            asked.level = asked.level.max(1);
            asked.signal.get_or_insert(signal);
        });
    }

    /// The first signal that asked to stop.
    pub fn signal(&self) -> Option<Signal> {
        self.asked.borrow().signal
    }

    /// Pauses all children, does `stop_here` (which returns when the user wants to go on), and
    /// lets them go on with their timers where they were.
    pub fn pause(&self, stop_here: impl FnOnce()) {
        let since = Instant::now();
        {
            let groups = self.groups();
            self.asked.send_modify(|asked| asked.pausing = Some(since));
            groups.iter().for_each(|group| group.pause());
        }
        stop_here();
        // Also those that began in the meantime.
        let groups = self.groups();
        groups.iter().for_each(|group| group.resume());
        self.asked.send_modify(|asked| {
            asked.pausing = None;
            asked.paused += since.elapsed();
        });
    }

    fn groups(&self) -> std::sync::MutexGuard<'_, HashSet<Group>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How hard a phase is asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    GoOn,
    Stop,
    Kill,
}

impl Control {
    /// The same requests seen from the teardown.
    #[must_use]
    pub fn teardown(&self) -> Self {
        self.controller.control(Phase::Teardown)
    }

    pub fn is_stopped(&self) -> bool {
        self.urgency() > Urgency::GoOn
    }

    /// The signal to pass on to children that are asked to stop.
    pub fn signal(&self) -> Signal {
        match self.controller.signal() {
            // A core of ours was asked for, and none of each child.
            None | Some(Signal::Quit) => Signal::Terminate,
            Some(signal) => signal,
        }
    }

    pub(super) fn urgency(&self) -> Urgency {
        let level = self.controller.asked.borrow().level;
        match self.phase {
            Phase::Work => match level {
                0 => Urgency::GoOn,
                1 => Urgency::Stop,
                _ => Urgency::Kill,
            },
            // One request more than there was when it began, and at least the second.
            Phase::Teardown if level > self.base.max(1) => Urgency::Kill,
            Phase::Teardown => Urgency::GoOn,
        }
    }

    /// Whether even the teardown is to be abandoned.
    pub fn is_abandoned(&self) -> bool {
        self.controller.asked.borrow().level > self.base.max(1) + 1
    }

    /// Whether what is not begun is to stay undone: work ends at the first request, a teardown that
    /// a request led to only when it is abandoned.
    pub fn gives_up(&self) -> bool {
        match self.phase {
            Phase::Work => self.is_stopped(),
            Phase::Teardown => self.is_abandoned(),
        }
    }

    /// A grace, shortened where somebody is waiting who will not wait long.
    pub fn grace(&self, grace: Duration) -> Duration {
        if self.controller.asked.borrow().hurry {
            grace.min(Duration::from_secs(1))
        } else {
            grace
        }
    }

    /// All the time that everything was paused so far.
    fn paused(&self) -> Duration {
        let asked = self.controller.asked.borrow();
        asked.paused
            + asked
                .pausing
                .map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Starts to count time that stands still while everything is paused.
    pub fn stopwatch(&self) -> Stopwatch {
        Stopwatch {
            control: self.clone(),
            started: tokio::time::Instant::now(),
            paused_before: self.paused(),
        }
    }

    /// Resolves when a stop is asked for; at once if it has been.
    pub async fn stopped(&self) {
        let mut asked = self.controller.asked.subscribe();
        while !self.is_stopped() {
            if asked.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Resolves at the next request of any kind.
    pub(super) fn changes(&self) -> Changes {
        let mut asked = self.controller.asked.subscribe();
        asked.mark_changed();
        Changes(asked)
    }

    pub(super) fn register(&self, group: Group) -> Registered {
        let mut groups = self.controller.groups();
        groups.insert(group);
        // It began after the others were paused, and nobody else will do it.
        if self.controller.asked.borrow().pausing.is_some() {
            group.pause();
        }
        Registered {
            controller: self.controller.clone(),
            group,
        }
    }
}

/// Time that stands still while everything is paused.
#[derive(Clone, Debug)]
pub struct Stopwatch {
    control: Control,
    started: tokio::time::Instant,
    paused_before: Duration,
}

impl Stopwatch {
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed().saturating_sub(self.paused())
    }

    /// When it will show `elapsed`, if there is no further pause until then.
    pub fn instant_of(&self, elapsed: Duration) -> tokio::time::Instant {
        self.started + elapsed + self.paused()
    }

    fn paused(&self) -> Duration {
        self.control.paused().saturating_sub(self.paused_before)
    }
}

pub(super) struct Changes(watch::Receiver<Asked>);

impl Changes {
    pub(super) async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Keeps a group in the list of those that are paused and, if its owner is dropped before the
/// group is gone, killed.
pub(super) struct Registered {
    controller: Controller,
    group: Group,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.controller.groups().remove(&self.group);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_ctrl_c_kills_and_the_teardown_needs_one_more() {
        let controller = Controller::default();
        let work = controller.control(Phase::Work);
        assert_eq!(work.urgency(), Urgency::GoOn);
        controller.press(Signal::Interrupt);
        assert_eq!(work.urgency(), Urgency::Stop);
        let teardown = work.teardown();
        assert_eq!(teardown.urgency(), Urgency::GoOn);
        controller.press(Signal::Interrupt);
        assert_eq!(work.urgency(), Urgency::Kill);
        assert_eq!(teardown.urgency(), Urgency::Kill);
        assert!(!teardown.is_abandoned());
        controller.press(Signal::Interrupt);
        assert!(teardown.is_abandoned());
    }

    #[test]
    fn a_teardown_that_begins_after_two_presses_is_not_killed_at_once() {
        let controller = Controller::default();
        controller.press(Signal::Interrupt);
        controller.press(Signal::Interrupt);
        let teardown = controller.control(Phase::Teardown);
        assert_eq!(teardown.urgency(), Urgency::GoOn);
        controller.press(Signal::Interrupt);
        assert_eq!(teardown.urgency(), Urgency::Kill);
    }

    #[test]
    fn int_then_term_from_ci_hurries_and_never_kills() {
        let controller = Controller::default();
        let work = controller.control(Phase::Work);
        let grace = Duration::from_secs(10);
        controller.request(Signal::Interrupt);
        assert_eq!(work.grace(grace), grace);
        controller.request(Signal::Terminate);
        controller.request(Signal::Terminate);
        assert_eq!(work.urgency(), Urgency::Stop);
        assert!(work.grace(grace) < grace);
        assert_eq!(work.signal(), Signal::Interrupt);
        assert_eq!(work.teardown().urgency(), Urgency::GoOn);
    }

    #[test]
    fn a_child_that_starts_during_a_pause_is_paused_too() {
        use super::super::subreaper::{self, Mark, Role};
        use std::os::unix::process::CommandExt;
        let mut child = None;
        let wait_for = |child: &std::process::Child, stopped: bool| {
            let stat = format!("/proc/{}/stat", child.id());
            while std::fs::read_to_string(&stat).unwrap().contains(") T ") != stopped {
                std::thread::yield_now();
            }
        };
        let controller = Controller::default();
        let control = controller.control(Phase::Work);
        controller.pause(|| {
            let mut command = std::process::Command::new("sleep");
            command.arg("600").process_group(0);
            let id = |child: &std::process::Child| Some(child.id());
            let (sleeper, own) =
                subreaper::start(Role::Supervised(Mark::new()), || command.spawn(), id).unwrap();
            let registered = control.register(Group::led_by(sleeper.id()).unwrap());
            wait_for(&sleeper, true);
            child = Some((sleeper, registered, own));
        });
        let (mut sleeper, _registered, _own) = child.unwrap();
        wait_for(&sleeper, false);
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
    }

    #[test]
    fn a_stopwatch_stands_still_in_a_pause() {
        let controller = Controller::default();
        let started = Instant::now();
        let stopwatch = controller.control(Phase::Work).stopwatch();
        let length = Duration::from_millis(20);
        controller.pause(|| std::thread::sleep(length));
        assert!(stopwatch.elapsed() + length <= started.elapsed());
        let due = stopwatch.instant_of(Duration::ZERO).into_std();
        assert!(due >= started + length, "what is due comes later by it");
    }

    #[test]
    fn the_time_of_a_pause_is_kept() {
        let controller = Controller::default();
        let control = controller.control(Phase::Work);
        assert_eq!(control.paused(), Duration::ZERO);
        let mut inside = Duration::ZERO;
        controller.pause(|| {
            while inside.is_zero() {
                inside = control.paused();
            }
        });
        let after = control.paused();
        assert!(after >= inside, "it grows while it lasts");
        assert_eq!(control.paused(), after, "and then no more");
    }
}
