//! Runs one child from start to the end of its whole group.

use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep_until};

use super::capture::Capture;
use super::control::{Changes, Control, Registered, Stopwatch, Urgency};
use super::group::Group;
use super::lines::Lines;
use super::remains::{AFTER_KILL, FIRST_LOOK, LAST_LOOK, Remains};
use super::spec::{SpawnError, Spec};
use super::subreaper::{self, Own, Role};
use crate::domain::run::{Ending, Output, Signal, Survivor};

/// What happens while a child runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessEvent {
    /// A line of its output, stdout and stderr in the order in which they were written.
    Line(Arc<[u8]>),
    /// It has run for [`Spec::slow`].
    Slow,
    /// Its group was sent a signal.
    Stopping(Signal),
}

/// A child that has been reaped, and whose group is gone.
#[derive(Debug)]
pub struct Finished {
    pub ending: Ending,
    /// It was stopped because its time was up.
    pub timed_out: bool,
    /// It was stopped because somebody asked for it.
    pub stopped: bool,
    /// It ended and left processes behind, which were then ended.
    pub left_processes: bool,
    /// Those by name, as far as that can be told.
    pub survivors: Vec<Survivor>,
    /// Without the time that it was paused.
    pub took: Duration,
    pub slow: bool,
    pub output: Output,
}

/// How far the stopping of a group has gone. Each stage ends at its deadline, which is counted as
/// [`Supervisor::clock`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    /// The first signal was sent. bash makes `cmd &` ignore INT, so TERM follows.
    Signalled {
        until: Duration,
    },
    Terminated {
        until: Duration,
    },
    Killed,
}

/// Starts a child and sees it through. Its output is read always and handed to `on_event`, which
/// must not block.
///
/// Dropping the future kills the group.
///
/// # Errors
///
/// Fails if the child cannot be started.
pub async fn supervise(
    spec: &Spec,
    control: &Control,
    on_event: impl FnMut(ProcessEvent),
) -> Result<Finished, SpawnError> {
    let capture = Capture::new(spec.capture, spec.output_file.as_deref()).map_err(|source| {
        SpawnError::OutputFile {
            path: spec.output_file.clone().unwrap_or_default(),
            source,
        }
    })?;
    let _adopting = subreaper::adopt();
    let mark = subreaper::new_mark();
    let (child, output, own) = spawn(spec, &mark)?;
    let group = child.id().and_then(Group::led_by);
    let supervisor = Supervisor {
        spec,
        control,
        guard: group.map(|group| GroupGuard {
            group,
            gone: false,
            _registered: control.register(group),
            _own: own,
        }),
        mark,
        capture,
        lines: Lines::default(),
        on_event,
        clock: control.stopwatch(),
        stage: Stage::Running,
        timed_out: false,
        stopped: false,
        slow: false,
    };
    supervisor.run(child, output).await
}

fn spawn(spec: &Spec, mark: &str) -> Result<(Child, pipe::Receiver, Option<Own>), SpawnError> {
    // One pipe for both outputs: the order in which a script wrote them is worth more than
    // knowing which was which.
    let (reader, writer) = std::io::pipe().map_err(SpawnError::Pipe)?;
    let errors = writer.try_clone().map_err(SpawnError::Pipe)?;
    let mut command = Command::new(&spec.program);
    command
        .args(&spec.args)
        .envs(spec.env.iter().map(|(key, value)| (key, value)))
        .current_dir(&spec.dir)
        // An inherited one may name the same directory by a symbolic link; shells and compose
        // then believe it, and label by it what we look for by the real path.
        .env("PWD", &spec.dir)
        .env(subreaper::MARK, mark)
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(errors)
        .process_group(0);
    let started = subreaper::start(Role::Supervised, || command.spawn(), Child::id);
    let (child, own) = started.map_err(|source| SpawnError::Spawn {
        program: spec.program.clone(),
        source,
    })?;
    let output = pipe::Receiver::from_owned_fd(OwnedFd::from(reader)).map_err(SpawnError::Pipe)?;
    Ok((child, output, own))
}

struct Supervisor<'a, F> {
    spec: &'a Spec,
    control: &'a Control,
    guard: Option<GroupGuard>,
    mark: String,
    capture: Capture,
    lines: Lines,
    on_event: F,
    clock: Stopwatch,
    stage: Stage,
    timed_out: bool,
    stopped: bool,
    slow: bool,
}

/// Kills the group if the supervisor is dropped before it is gone.
struct GroupGuard {
    group: Group,
    /// Once the group is gone its number may be somebody else's.
    gone: bool,
    _registered: Registered,
    _own: Option<Own>,
}

impl Drop for GroupGuard {
    fn drop(&mut self) {
        if !self.gone {
            self.group.signal(Signal::Kill);
        }
    }
}

impl<F: FnMut(ProcessEvent)> Supervisor<'_, F> {
    async fn run(
        mut self,
        mut child: Child,
        mut output: pipe::Receiver,
    ) -> Result<Finished, SpawnError> {
        let mut buffer = vec![0; 64 * 1024];
        let mut open = true;
        let mut changes = self.control.changes();
        let status = loop {
            // Not left to the runtime's timer alone: beside a pipe that is never empty it does
            // not get its turn.
            let alarm = self.next_alarm();
            if alarm.is_some_and(|due| self.clock.elapsed() >= due) {
                self.on_alarm();
                continue;
            }
            let wake = self.clock.instant_of(alarm.unwrap_or_default());
            tokio::select! {
                biased;
                () = changes.next() => self.on_control(),
                status = child.wait() => break status,
                read = output.read(&mut buffer), if open => match read {
                    Ok(0) | Err(_) => open = false,
                    Ok(n) => self.take(&buffer[..n]),
                },
                () = sleep_until(wake), if alarm.is_some() => {}
            }
        };
        let took = self.clock.elapsed();
        let left = self
            .clear(&mut output, &mut buffer, open, &mut changes)
            .await;
        if let Some(line) = std::mem::take(&mut self.lines).finish() {
            (self.on_event)(ProcessEvent::Line(line));
        }
        let status = status.map_err(|source| SpawnError::Spawn {
            program: self.spec.program.clone(),
            source,
        })?;
        Ok(Finished {
            ending: ending(status),
            timed_out: self.timed_out,
            stopped: self.stopped,
            left_processes: left.is_some(),
            survivors: left.unwrap_or_default(),
            took,
            slow: self.slow,
            output: self.capture.finish(),
        })
    }

    fn take(&mut self, bytes: &[u8]) {
        self.capture.push(bytes);
        let on_event = &mut self.on_event;
        self.lines
            .push(bytes, |line| on_event(ProcessEvent::Line(line)));
    }

    /// After the leader is reaped: reads what is still in the pipe, gives what it left a moment to
    /// end by itself, and ends it otherwise. Says what it had to end.
    async fn clear(
        &mut self,
        output: &mut pipe::Receiver,
        buffer: &mut [u8],
        mut open: bool,
        changes: &mut Changes,
    ) -> Option<Vec<Survivor>> {
        let group = self.guard.as_ref().map(|guard| guard.group)?;
        let mut remains = Remains::new(group, self.mark.clone(), self.spec.escaped);
        let mut settling = self.stage == Stage::Running;
        let mut until = self.clock.elapsed();
        if settling {
            until += self.spec.settle;
        }
        let mut next = Some(match self.stage {
            Stage::Killed => Signal::Kill,
            _ => Signal::Terminate,
        });
        let mut left = None;
        let mut pause = FIRST_LOOK;
        loop {
            // Before the pipe is read: whoever is gone now has written all that it will.
            let alive = remains.look();
            self.drain(output, buffer);
            if !alive {
                if let Some(guard) = &mut self.guard {
                    guard.gone = true;
                }
                return left;
            }
            let now = self.clock.elapsed();
            let urgency = self.control.urgency();
            match urgency {
                Urgency::Kill if next.is_some() => (next, until) = (Some(Signal::Kill), now),
                Urgency::Stop if settling => until = now,
                // A hurried request shortens the grace that is running.
                _ if next == Some(Signal::Kill) => {
                    until = until.min(now + self.control.grace(self.spec.grace));
                }
                _ => {}
            }
            if now >= until {
                let Some(signal) = next else {
                    return left;
                };
                if settling && urgency == Urgency::GoOn {
                    left = Some(remains.named());
                }
                settling = false;
                remains.send(signal);
                (self.on_event)(ProcessEvent::Stopping(signal));
                (next, until) = match signal {
                    Signal::Kill => (None, now + AFTER_KILL),
                    _ => (
                        Some(Signal::Kill),
                        now + self.control.grace(self.spec.grace),
                    ),
                };
                pause = FIRST_LOOK;
            }
            // Nothing tells when the last of them has gone.
            let wake = Instant::now() + pause.min(until.saturating_sub(now));
            self.read_until(wake, output, buffer, &mut open, changes)
                .await;
            pause = (pause * 2).min(LAST_LOOK);
        }
    }

    /// Reads until a moment, the end of the output or the next request.
    async fn read_until(
        &mut self,
        moment: Instant,
        output: &mut pipe::Receiver,
        buffer: &mut [u8],
        open: &mut bool,
        changes: &mut Changes,
    ) {
        while Instant::now() < moment {
            tokio::select! {
                biased;
                () = changes.next() => return,
                read = output.read(buffer), if *open => match read {
                    Ok(0) | Err(_) => {
                        *open = false;
                        return;
                    }
                    Ok(n) => self.take(&buffer[..n]),
                },
                () = sleep_until(moment) => return,
            }
        }
    }

    /// Everything that is in the pipe now belongs to the output, whoever wrote it. What comes
    /// after that may come for ever, also from a process that has left the group.
    ///
    /// Asked of the kernel and not of the runtime, which may have told of the child's end before
    /// it has heard of its last words.
    fn drain(&mut self, output: &pipe::Receiver, buffer: &mut [u8]) {
        let waiting = rustix::io::ioctl_fionread(output).unwrap_or(buffer.len() as u64);
        let mut rest = usize::try_from(waiting).unwrap_or(usize::MAX);
        while rest > 0 {
            let room = rest.min(buffer.len());
            match rustix::io::read(output, &mut buffer[..room]) {
                Ok(0) => break,
                Ok(n) => {
                    self.take(&buffer[..n]);
                    rest -= n;
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => break,
            }
        }
    }

    /// When something is due next: the warning, the time-out, or the next harder signal.
    fn next_alarm(&self) -> Option<Duration> {
        match self.stage {
            Stage::Running => {
                let slow = self.spec.slow.filter(|_| !self.slow);
                slow.into_iter().chain(self.spec.timeout).min()
            }
            Stage::Signalled { until } | Stage::Terminated { until } => Some(until),
            Stage::Killed => None,
        }
    }

    fn on_alarm(&mut self) {
        match self.stage {
            Stage::Running => {
                let elapsed = self.clock.elapsed();
                if self.spec.slow.is_some_and(|slow| elapsed >= slow) && !self.slow {
                    self.slow = true;
                    (self.on_event)(ProcessEvent::Slow);
                }
                if self.spec.timeout.is_some_and(|timeout| elapsed >= timeout) {
                    self.timed_out = true;
                    self.terminate();
                }
            }
            Stage::Signalled { .. } => self.terminate(),
            Stage::Terminated { .. } => self.kill(),
            Stage::Killed => {}
        }
    }

    fn on_control(&mut self) {
        match (self.control.urgency(), self.stage) {
            (Urgency::Stop, Stage::Running) => {
                self.stopped = true;
                let signal = self.control.signal();
                self.send(signal);
                let until = self.clock.elapsed() + self.control.grace(self.spec.grace);
                self.stage = if signal == Signal::Terminate {
                    Stage::Terminated { until }
                } else {
                    Stage::Signalled { until }
                };
            }
            (Urgency::Kill, stage) if stage != Stage::Killed => {
                self.stopped |= stage == Stage::Running;
                self.kill();
            }
            (_, Stage::Signalled { until } | Stage::Terminated { until }) => {
                // A hurried request shortens the grace that is running.
                let sooner = until.min(self.clock.elapsed() + self.control.grace(self.spec.grace));
                match &mut self.stage {
                    Stage::Signalled { until } | Stage::Terminated { until } => *until = sooner,
                    Stage::Running | Stage::Killed => {}
                }
            }
            _ => {}
        }
    }

    fn terminate(&mut self) {
        self.send(Signal::Terminate);
        self.stage = Stage::Terminated {
            until: self.clock.elapsed() + self.control.grace(self.spec.grace),
        };
    }

    fn kill(&mut self) {
        self.send(Signal::Kill);
        self.stage = Stage::Killed;
    }

    fn send(&mut self, signal: Signal) {
        if let Some(guard) = &self.guard {
            guard.group.signal(signal);
            (self.on_event)(ProcessEvent::Stopping(signal));
        }
    }
}

fn ending(status: ExitStatus) -> Ending {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => Ending::Code(code),
        (None, Some(signal)) => Ending::Signal(signal),
        // Neither is impossible for a child that was waited for to its end.
        (None, None) => Ending::Code(-1),
    }
}
