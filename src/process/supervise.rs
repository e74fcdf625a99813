//! Runs one child from start to the end of its whole group.

use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, sleep_until};

use super::capture::Capture;
use super::control::{Control, Registered, Urgency};
use super::group::Group;
use super::lines::Lines;
use super::spec::{SpawnError, Spec};
use crate::domain::run::{Ending, Output, Signal};

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
    /// It ended and left processes of its group behind, which were then ended.
    pub left_processes: bool,
    /// Without the time that it was paused.
    pub took: Duration,
    pub slow: bool,
    pub output: Output,
}

/// How far the stopping of a group has gone. Each stage ends at its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    /// The first signal was sent. bash makes `cmd &` ignore INT, so TERM follows.
    Signalled {
        until: Instant,
    },
    Terminated {
        until: Instant,
    },
    Killed,
}

/// How long a killed group may take to vanish before we stop waiting for it. Only a process in
/// an uninterruptible system call, or one that nobody reaps, takes longer.
const AFTER_KILL: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(5);

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
    let (child, output) = spawn(spec)?;
    let group = child.id().and_then(Group::led_by);
    let started = Instant::now();
    let supervisor = Supervisor {
        spec,
        control,
        guard: group.map(|group| GroupGuard {
            group,
            gone: false,
            _registered: control.register(group),
        }),
        capture,
        lines: Lines::default(),
        on_event,
        started,
        paused_before: control.paused(),
        stage: Stage::Running,
        timed_out: false,
        stopped: false,
        slow: false,
    };
    supervisor.run(child, output).await
}

fn spawn(spec: &Spec) -> Result<(Child, pipe::Receiver), SpawnError> {
    // One pipe for both outputs: the order in which a script wrote them is worth more than
    // knowing which was which.
    let (reader, writer) = std::io::pipe().map_err(SpawnError::Pipe)?;
    let errors = writer.try_clone().map_err(SpawnError::Pipe)?;
    let mut command = Command::new(&spec.program);
    command
        .args(&spec.args)
        .envs(spec.env.iter().map(|(key, value)| (key, value)))
        .current_dir(&spec.dir)
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(errors)
        .process_group(0);
    let child = command.spawn().map_err(|source| SpawnError::Spawn {
        program: spec.program.clone(),
        source,
    })?;
    let output = pipe::Receiver::from_owned_fd(OwnedFd::from(reader)).map_err(SpawnError::Pipe)?;
    Ok((child, output))
}

struct Supervisor<'a, F> {
    spec: &'a Spec,
    control: &'a Control,
    guard: Option<GroupGuard>,
    capture: Capture,
    lines: Lines,
    on_event: F,
    started: Instant,
    paused_before: Duration,
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
            let alarm = self.next_alarm();
            tokio::select! {
                biased;
                () = changes.next() => self.on_control(),
                status = child.wait() => break status,
                read = output.read(&mut buffer), if open => match read {
                    Ok(0) | Err(_) => open = false,
                    Ok(n) => self.take(&buffer[..n]),
                },
                () = sleep_until(alarm.unwrap_or(self.started)), if alarm.is_some() => self.on_alarm(),
            }
        };
        let took = self.elapsed();
        let left_processes = self.clear_group(&output, &mut buffer, open).await;
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
            left_processes,
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

    /// After the leader is reaped: reads what is still in the pipe, gives the rest of the group a
    /// moment to end by itself, and ends it otherwise. Says whether it had to.
    async fn clear_group(
        &mut self,
        output: &pipe::Receiver,
        buffer: &mut [u8],
        mut open: bool,
    ) -> bool {
        let Some(group) = self.guard.as_ref().map(|guard| guard.group) else {
            return false;
        };
        let settle = if self.stage == Stage::Running {
            self.spec.settle
        } else {
            Duration::ZERO
        };
        let mut deadline = Instant::now() + settle;
        let mut ladder = [
            (Signal::Terminate, self.control.grace(self.spec.grace)),
            (Signal::Kill, AFTER_KILL),
        ]
        .into_iter()
        .skip(usize::from(self.stage == Stage::Killed));
        let mut left = false;
        loop {
            // Before the pipe is read: whoever is gone now has written all that it will.
            let alive = group.is_alive();
            // Everything that is in the pipe now belongs to the output, whoever wrote it.
            // Asked of the kernel and not of the runtime, which may have told of the child's end
            // before it has heard of its last words.
            while open {
                match rustix::io::read(output, &mut *buffer) {
                    Ok(0) => open = false,
                    Ok(n) => self.take(&buffer[..n]),
                    Err(rustix::io::Errno::INTR) => {}
                    Err(rustix::io::Errno::AGAIN) => break,
                    Err(_) => open = false,
                }
            }
            if !alive {
                if let Some(guard) = &mut self.guard {
                    guard.gone = true;
                }
                return left;
            }
            if Instant::now() >= deadline {
                left |= self.stage == Stage::Running;
                let Some((signal, wait)) = ladder.next() else {
                    return left;
                };
                self.send(signal);
                deadline = Instant::now() + wait;
            }
            // Nothing tells when the last member of a group has gone.
            sleep(POLL).await;
        }
    }

    fn elapsed(&self) -> Duration {
        let paused = self.control.paused().saturating_sub(self.paused_before);
        self.started.elapsed().saturating_sub(paused)
    }

    /// When something is due next: the warning, the time-out, or the next harder signal.
    fn next_alarm(&self) -> Option<Instant> {
        let paused = self.control.paused().saturating_sub(self.paused_before);
        let after = |limit: Duration| self.started + limit + paused;
        match self.stage {
            Stage::Running => {
                let slow = self.spec.slow.filter(|_| !self.slow).map(after);
                let timeout = self.spec.timeout.map(after);
                slow.into_iter().chain(timeout).min()
            }
            Stage::Signalled { until } | Stage::Terminated { until } => Some(until),
            Stage::Killed => None,
        }
    }

    fn on_alarm(&mut self) {
        match self.stage {
            Stage::Running => {
                let elapsed = self.elapsed();
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
                let until = Instant::now() + self.control.grace(self.spec.grace);
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
                let sooner = until.min(Instant::now() + self.control.grace(self.spec.grace));
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
            until: Instant::now() + self.control.grace(self.spec.grace),
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
