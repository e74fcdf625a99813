//! Runs one child from start to the end of its whole group.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep_until};

use super::brand::Brand;
use super::capture::Capture;
use super::control::{Changes, Control, Registered, Stopwatch, Urgency};
use super::group::Group;
use super::lines::Lines;
use super::remains::{AFTER_KILL, FIRST_LOOK, LAST_LOOK, Remains};
use super::spec::{Escaped, SpawnError, Spec};
use super::subreaper::{self, Mark, Own, Role};
use crate::domain::output::OutputLines;
use crate::domain::run::{Ending, Output, Signal, Survivor};

/// What happens while a child runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessEvent {
    /// Lines of its output, stdout and stderr in the order in which they were written.
    Lines(OutputLines),
    /// A part of a very long line, which goes on in the next one of these or ends with the first of
    /// [`Self::Lines`].
    Part(OutputLines),
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

/// What a pipe holds, in bytes.
const PIPE: usize = 64 * 1024;

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
    /// Nothing ends it then but a kernel that lets it go.
    Killed {
        until: Duration,
    },
    GivenUp,
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
    let capture = Capture::new(spec.capture, spec.output_file.as_deref());
    let _adopting = subreaper::adopt();
    let mark = Mark::new();
    let (child, output, own) = spawn(spec, mark)?;
    let group = child.id().and_then(Group::led_by);
    let supervisor = Supervisor {
        spec,
        control,
        guard: group.map(|group| GroupGuard {
            group,
            registered: Some(control.register(group)),
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

fn spawn(spec: &Spec, mark: Mark) -> Result<(Child, pipe::Receiver, Option<Own>), SpawnError> {
    // One pipe for both outputs: the order in which a script wrote them is worth more than
    // knowing which was which.
    let (reader, writer) = std::io::pipe().map_err(SpawnError::Pipe)?;
    let errors = writer.try_clone().map_err(SpawnError::Pipe)?;
    let stdin = match &spec.stdin {
        Some(path) => Stdio::from(File::open(path).map_err(|source| SpawnError::Stdin {
            path: path.clone(),
            source,
        })?),
        None => Stdio::null(),
    };
    let mut command = Command::new(&spec.program);
    command
        .args(&spec.args)
        .envs(spec.env.iter().map(|(key, value)| (key, value)))
        .current_dir(&spec.dir)
        // An inherited one may name the same directory by a symbolic link; shells and compose
        // then believe it, and label by it what we look for by the real path.
        .env("PWD", &spec.dir)
        .env(subreaper::MARK, mark.to_string())
        .stdin(stdin)
        .stdout(writer)
        .stderr(errors);
    lead_apart(&mut command);
    let spawn = || match Brand::in_environment(&spec.env) {
        Some(brand) => brand.lend(|| command.spawn()),
        None => command.spawn(),
    };
    let started = subreaper::start(Role::Supervised(mark), spawn, Child::id);
    let (child, own) = started.map_err(|source| SpawnError::Spawn {
        program: spec.program.clone(),
        source,
    })?;
    let output = pipe::Receiver::from_owned_fd(OwnedFd::from(reader)).map_err(SpawnError::Pipe)?;
    Ok((child, output, own))
}

/// The child leads a group of its own, and where we have a terminal also a session of its own, which
/// has none: whoever would ask for a password there is told at once that nobody can answer, and
/// nobody writes across what we show. A group alone is cheaper to start.
fn lead_apart(command: &mut Command) {
    if File::open("/dev/tty").is_err() {
        command.process_group(0);
        return;
    }
    #[expect(
        unsafe_code,
        reason = "between fork and exec it does one system call and no more"
    )]
    // SAFETY: setsid is safe to call there, and nothing is allocated or locked.
    unsafe {
        command.pre_exec(|| Ok(rustix::process::setsid().map(drop)?));
    }
}

struct Supervisor<'a, F> {
    spec: &'a Spec,
    control: &'a Control,
    guard: Option<GroupGuard>,
    mark: Mark,
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
    /// `None` once the group is gone: its number may be somebody else's.
    registered: Option<Registered>,
    _own: Option<Own>,
}

impl Drop for GroupGuard {
    fn drop(&mut self) {
        if self.registered.is_some() {
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
        // Most print little, and what is not touched costs nothing.
        let mut buffer = vec![0; 4 * 1024];
        let mut open = true;
        let mut changes = self.control.changes();
        let status = loop {
            // Not left to the runtime's timer alone: beside a pipe that is never empty it does
            // not get its turn.
            let alarm = self.next_alarm();
            if alarm.is_some_and(|due| self.clock.elapsed() >= due) {
                self.on_alarm();
                if self.stage == Stage::GivenUp {
                    break None;
                }
                continue;
            }
            let wake = self.clock.instant_of(alarm.unwrap_or_default());
            tokio::select! {
                biased;
                () = changes.next() => self.on_control(),
                status = child.wait() => break Some(status),
                read = output.read(&mut buffer), if open => match read {
                    Ok(0) | Err(_) => open = false,
                    Ok(n) => {
                        self.take(&buffer[..n]);
                        if n == buffer.len() {
                            buffer.resize(PIPE, 0);
                        }
                    }
                },
                () = sleep_until(wake), if alarm.is_some() => {}
            }
        };
        let took = self.clock.elapsed();
        let left = self
            .clear(&mut output, &mut buffer, &mut open, &mut changes)
            .await;
        if let Some(lines) = std::mem::take(&mut self.lines).finish() {
            (self.on_event)(ProcessEvent::Lines(lines));
        }
        let ending = match status {
            Some(Ok(status)) => ending(status),
            Some(Err(source)) => {
                return Err(SpawnError::Spawn {
                    program: self.spec.program.clone(),
                    source,
                });
            }
            // It will have been, if it ever ends.
            None => Ending::Signal(rustix::process::Signal::KILL.as_raw()),
        };
        if open && self.spec.escaped == Escaped::Keep && has_writers(&output) {
            keep_open(output);
        }
        Ok(Finished {
            ending,
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
        self.lines.push(bytes, on_event);
    }

    /// After the leader is reaped: reads what is still in the pipe, gives what it left a moment to
    /// end by itself, and ends it otherwise. Says what it had to end.
    async fn clear(
        &mut self,
        output: &mut pipe::Receiver,
        buffer: &mut [u8],
        open: &mut bool,
        changes: &mut Changes,
    ) -> Option<Vec<Survivor>> {
        let group = self.guard.as_ref().map(|guard| guard.group)?;
        let mut remains = Remains::new(group, self.mark, self.spec.escaped);
        let by_itself = self.stage == Stage::Running;
        let mut settling = by_itself || self.timed_out;
        let (mut next, grace) = match self.stage {
            Stage::Killed { .. } | Stage::GivenUp => (Some(Signal::Kill), Duration::ZERO),
            _ => (Some(Signal::Terminate), self.spec.settle),
        };
        let mut until = self.clock.elapsed();
        if settling {
            until += grace;
        }
        let mut left = None;
        let mut pause = FIRST_LOOK;
        loop {
            // Before the pipe is read: whoever is gone now has written all that it will.
            let alive = remains.look();
            self.drain(output, buffer);
            if remains.group_is_gone()
                && let Some(guard) = &mut self.guard
            {
                guard.registered = None;
            }
            if !alive {
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
                    return remains.give_up(left);
                };
                if settling && urgency == Urgency::GoOn {
                    left = if by_itself {
                        Some(remains.named())
                    } else {
                        // The rest of its group is doing what it was told.
                        Some(remains.escapees()).filter(|left| !left.is_empty())
                    };
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
            self.read_until(wake, output, buffer, open, changes).await;
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
            Stage::Signalled { until } | Stage::Terminated { until } | Stage::Killed { until } => {
                Some(until)
            }
            Stage::GivenUp => None,
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
            Stage::Killed { .. } => self.stage = Stage::GivenUp,
            Stage::GivenUp => {}
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
            (_, Stage::Killed { .. } | Stage::GivenUp) => {}
            (Urgency::Kill, stage) => {
                self.stopped |= stage == Stage::Running;
                self.kill();
            }
            (_, Stage::Signalled { until } | Stage::Terminated { until }) => {
                // A hurried request shortens the grace that is running.
                let sooner = until.min(self.clock.elapsed() + self.control.grace(self.spec.grace));
                match &mut self.stage {
                    Stage::Signalled { until } | Stage::Terminated { until } => *until = sooner,
                    Stage::Running | Stage::Killed { .. } | Stage::GivenUp => {}
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
        self.stage = Stage::Killed {
            until: self.clock.elapsed() + AFTER_KILL,
        };
    }

    fn send(&mut self, signal: Signal) {
        if let Some(guard) = &self.guard {
            guard.group.signal(signal);
            (self.on_event)(ProcessEvent::Stopping(signal));
        }
    }
}

/// Whether there is anybody left who could write to it. What it held has been read.
fn has_writers(output: &pipe::Receiver) -> bool {
    rustix::io::read(output, &mut [0; 1]) != Ok(0)
}

/// What may stay is not to die of its next word, which nobody would read any more. It may outlive
/// this process, so another one reads its output to the end.
fn keep_open(output: pipe::Receiver) {
    let Ok(output) = output.into_blocking_fd() else {
        return;
    };
    let spare = output.try_clone();
    let mut command = Command::new("cat");
    command
        .current_dir("/")
        .stdin(output)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    match subreaper::start(Role::Apart, || command.spawn(), Child::id) {
        Ok((mut reader, own)) => {
            tokio::spawn(async move {
                let _own = own;
                let _ = reader.wait().await;
            });
        }
        Err(_) => read_meanwhile(spare),
    }
}

/// As long as this process lives.
fn read_meanwhile(output: io::Result<OwnedFd>) {
    let Ok(mut output) = output.and_then(pipe::Receiver::from_owned_fd) else {
        return;
    };
    tokio::spawn(async move {
        let _ = tokio::io::copy(&mut output, &mut tokio::io::sink()).await;
    });
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
