//! What the tests of the real binary share: a place of their own to work in, and processes that
//! are followed by what they say.

#![allow(dead_code, reason = "each test file uses its part of this")]

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A script that is open for writing cannot be executed, and a child that is being started has
/// our open files for a moment: no script is written while a process starts.
static STARTING: Mutex<()> = Mutex::new(());

pub(crate) fn starting() -> MutexGuard<'static, ()> {
    STARTING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A directory with a project in it and, beside it, the home of whoever works on it.
pub(crate) struct Place {
    _dir: TempDir,
    root: PathBuf,
    home: PathBuf,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().canonicalize().expect("it exists");
        let (root, home) = (path.join("project"), path.join("home"));
        for directory in [&root, &home] {
            std::fs::create_dir(directory).expect("made");
        }
        Self {
            _dir: dir,
            root,
            home,
        }
    }

    /// A place with these replays, each a shell script without its first line.
    pub(crate) fn with_replays(replays: &[(&str, &str)]) -> Self {
        let place = Self::new();
        for (name, text) in replays {
            place.replay(name, text);
        }
        place
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.root.join(file)
    }

    pub(crate) fn read(&self, file: &str) -> String {
        let path = self.path(file);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"))
    }

    pub(crate) fn write(&self, file: &str, text: impl AsRef<[u8]>) {
        self.write_with_mode(file, text, 0o644);
    }

    pub(crate) fn script(&self, file: &str, text: &str) {
        self.write_with_mode(file, format!("#!/usr/bin/env bash\n{text}\n"), 0o755);
    }

    pub(crate) fn replay(&self, name: &str, text: &str) {
        self.script(&format!("replays/{name}.sh"), text);
    }

    pub(crate) fn write_with_mode(&self, file: &str, text: impl AsRef<[u8]>, mode: u32) {
        let path = self.path(file);
        let directory = path.parent().expect("a file has a directory");
        std::fs::create_dir_all(directory).expect("made");
        let _guard = starting();
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("set");
    }

    /// The binary in this place, with nothing of our own environment but `PATH`.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tackroom"));
        command
            .args(args)
            .current_dir(&self.root)
            .env_clear()
            .envs(self.environment())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        let home = self.home.to_string_lossy().into_owned();
        let state = self.state();
        vec![
            ("PATH", std::env::var("PATH").expect("PATH")),
            ("XDG_STATE_HOME", state),
            ("HOME", home),
            ("LANG", "C.UTF-8".to_owned()),
        ]
    }

    /// Where runs are kept.
    pub(crate) fn state(&self) -> String {
        format!("{}/state", self.home.to_string_lossy())
    }

    /// Where a run is kept.
    pub(crate) fn run_directory(&self, id: &str) -> PathBuf {
        let found = glob::glob(&format!("{}/tackroom/*/runs/{id}", self.state()));
        let mut found: Vec<PathBuf> = found
            .expect("a pattern")
            .map(|path| path.expect("readable"))
            .collect();
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    /// Runs it to its end.
    pub(crate) fn tackroom(&self, args: &[&str]) -> Ended {
        Running::start(&mut self.command(args)).end()
    }

    /// Without what differs from one run to the next: paths, run ids and times.
    pub(crate) fn redacted(&self, text: &str) -> String {
        let text = text
            .replace(&*self.root.to_string_lossy(), "[ROOT]")
            .replace(&*self.home.to_string_lossy(), "[HOME]");
        let mut redacted = text;
        for (pattern, replacement) in [
            (r"\d{8}-\d{6}\.\d{3}-\d+", "[RUN]"),
            (r" +\d+(\.\d+)? s\b", " [TIME]"),
        ] {
            let pattern = regex::Regex::new(pattern).expect("a pattern");
            redacted = pattern.replace_all(&redacted, replacement).into_owned();
        }
        redacted
    }
}

/// A process that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// The id that the run has told.
    pub(crate) fn run_id(&self) -> String {
        let line = self.stderr.lines().find(|line| line.starts_with("run "));
        line.expect("it says its id")["run ".len()..].to_owned()
    }

    /// Checks how it ended, and says all that it printed if it ended otherwise.
    #[track_caller]
    pub(crate) fn code(self, wanted: i32) -> Self {
        let got = self.status.code();
        assert_eq!(got, Some(wanted), "{}", self.transcript());
        self
    }

    /// Checks that a signal ended it, which is more than a code of 128 and something.
    #[track_caller]
    pub(crate) fn died_of(self, wanted: Signal) -> Self {
        let got = self.status.signal();
        assert_eq!(got, Some(wanted.as_raw()), "{}", self.transcript());
        self
    }

    #[track_caller]
    pub(crate) fn out(self, part: &str) -> Self {
        assert!(self.stdout.contains(part), "{part}\n{}", self.transcript());
        self
    }

    #[track_caller]
    pub(crate) fn err(self, part: &str) -> Self {
        assert!(self.stderr.contains(part), "{part}\n{}", self.transcript());
        self
    }

    /// Every line of stdout as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Vec<serde_json::Value> {
        let parse =
            |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        self.stdout.lines().map(parse).collect()
    }

    pub(crate) fn transcript(&self) -> String {
        format!(
            "{}\n--- stdout\n{}\n--- stderr\n{}",
            self.status, self.stdout, self.stderr
        )
    }
}

/// A process under way. Its stderr is read by the test, so the test can wait for a line.
pub(crate) struct Running {
    child: Child,
    stdout: Option<JoinHandle<String>>,
    stderr: BufReader<ChildStderr>,
    said: String,
}

impl Running {
    /// `command` has pipes for both outputs, or for stderr alone.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = {
            let _guard = starting();
            command.spawn().expect("the binary starts")
        };
        let stdout = child.stdout.take().map(|mut stdout| {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                stdout.read_to_end(&mut bytes).expect("stdout is read");
                String::from_utf8(bytes).expect("stdout is text")
            })
        });
        let stderr = BufReader::new(child.stderr.take().expect("stderr is a pipe"));
        Self {
            child,
            stdout,
            stderr,
            said: String::new(),
        }
    }

    /// All that was read of its stderr.
    pub(crate) fn so_far(&self) -> &str {
        &self.said
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it is there");
    }

    /// The process that ends the run where this one is killed.
    pub(crate) fn guard(&self) -> String {
        let runner = self.pid().as_raw_nonzero();
        let tasks = std::fs::read_dir(format!("/proc/{runner}/task")).expect("it runs");
        let children: String = tasks
            .map(|task| {
                let list = task.expect("a thread").path().join("children");
                std::fs::read_to_string(list).unwrap_or_default()
            })
            .collect();
        let mut children = children.split_whitespace();
        let is_guard = |pid: &&str| {
            let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline"));
            line.is_ok_and(|line| line.split('\0').nth(1) == Some("guard"))
        };
        children.find(is_guard).expect("a guard").to_owned()
    }

    /// Reads stderr up to the first line that holds this, and gives that line. One that neither says
    /// it nor ends fails the test, and does not hang it.
    pub(crate) fn until(&mut self, part: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut line = Vec::new();
        loop {
            if self.stderr.buffer().is_empty() && !self.has_more(deadline) {
                panic!("waited in vain for {part:?}, after:\n{}", self.said);
            }
            let read = self.stderr.fill_buf().expect("stderr is read");
            let is_over = read.is_empty();
            let end = read.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(read.len(), |end| end + 1);
            line.extend_from_slice(&read[..taken]);
            self.stderr.consume(taken);
            if end.is_none() && !is_over {
                continue;
            }
            let whole = String::from_utf8(std::mem::take(&mut line)).expect("stderr is text");
            self.said.push_str(&whole);
            if whole.contains(part) {
                return whole;
            }
            if is_over {
                panic!("it never said {part:?}, but:\n{}", self.said);
            }
        }
    }

    /// Whether there is something to read, or the end of it, before then.
    fn has_more(&self, deadline: Instant) -> bool {
        let mut stderr = [PollFd::new(self.stderr.get_ref(), PollFlags::IN)];
        let rest = deadline.saturating_duration_since(Instant::now());
        let rest = Timespec::try_from(rest).expect("it is short");
        loop {
            match poll(&mut stderr, Some(&rest)) {
                Ok(ready) => return ready > 0,
                Err(Errno::INTR) => {}
                Err(error) => panic!("stderr cannot be waited for: {error}"),
            }
        }
    }

    /// What a replay or hook printed behind this word, such as `pid 17`.
    pub(crate) fn value(&mut self, word: &str) -> String {
        let line = self.until(&format!("{word} "));
        let (_, value) = line.split_once(&format!("{word} ")).expect("it is in it");
        value.trim().to_owned()
    }

    pub(crate) fn end(mut self) -> Ended {
        let mut said = std::mem::take(&mut self.said);
        self.stderr
            .read_to_string(&mut said)
            .expect("stderr is text");
        Ended {
            status: self.child.wait().expect("it ends"),
            stdout: self
                .stdout
                .take()
                .map(|thread| thread.join().expect("the reader ends"))
                .unwrap_or_default(),
            stderr: said,
        }
    }
}

/// A test that fails half-way leaves nothing running.
impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = kill_process(self.pid(), Signal::TERM);
            let _ = kill_process(self.pid(), Signal::CONT);
            // Not for ever: its own teardown may be what the test is about.
            let deadline = Instant::now() + Duration::from_secs(5);
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Waits for what the kernel tells only when it is asked.
#[track_caller]
pub(crate) fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A field of `/proc/PID/stat`, counted from behind the name: state, parent, group, session.
pub(crate) fn stat(pid: &str, field: usize) -> Option<String> {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")).ok()?;
    let mut fields = stat.rsplit(") ").next()?.split_ascii_whitespace();
    fields.nth(field).map(str::to_owned)
}

/// The state letter of a process; `None` once it is gone or only waits to be reaped.
pub(crate) fn state(pid: &str) -> Option<char> {
    let state = stat(pid, 0)?.chars().next()?;
    (state != 'Z').then_some(state)
}

pub(crate) fn is_running(pid: &str) -> bool {
    assert!(
        !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()),
        "{pid:?}"
    );
    state(pid).is_some()
}

pub(crate) fn pid(number: &str) -> rustix::process::Pid {
    let number = number.parse().expect("a process number");
    rustix::process::Pid::from_raw(number).expect("a process number")
}

/// Ends what a test that fails would leave.
pub(crate) struct Left(pub(crate) String);

impl Drop for Left {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(pid(&self.0), rustix::process::Signal::KILL);
    }
}
