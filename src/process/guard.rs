//! A process of our own that notices when we die without having said so.
//!
//! It holds the reading end of a pipe of which nobody else has the writing end, so the kernel
//! itself tells it, whatever we died of.

use std::ffi::OsString;
use std::io::{self, PipeWriter, Read, Write};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rustix::process::{Pid, getppid, setpgid, setsid};
use tokio::process::{Child, Command};

use super::subreaper::{self, Own, Role};
use super::table::{GUARD, Process};

const GOODBYE: &[u8] = b"bye";

/// How long a guard may take to go.
const PARTING: Duration = Duration::from_secs(2);

/// By these a CI server finds what a job has left and kills it, before it can take anything down.
const TRACKED_BY: [&str; 4] = [
    "RUNNER_TRACKING_ID",
    "JENKINS_NODE_COOKIE",
    "JENKINS_SERVER_COOKIE",
    "HUDSON_SERVER_COOKIE",
];

/// A guard at its post. Dropping it without [`Self::dismiss`] is what it takes for a death.
#[derive(Debug)]
pub struct Guard {
    child: Child,
    pipe: PipeWriter,
    _own: Option<Own>,
}

/// How a guard is started.
#[derive(Clone, Debug)]
pub struct GuardCommand {
    pub program: PathBuf,
    pub args: Vec<OsString>,
    /// What it is told that may be another by the time that it is needed.
    pub told: Vec<u8>,
}

impl Guard {
    /// # Errors
    ///
    /// Fails where it cannot be started.
    pub fn start(guard: &GuardCommand) -> io::Result<Self> {
        let (reader, mut pipe) = io::pipe()?;
        let mut command = Command::new(&guard.program);
        command
            .arg0(env!("CARGO_PKG_NAME"))
            .args(&guard.args)
            .env(GUARD.0, GUARD.1)
            .stdin(reader)
            // Whoever reads our own outputs waits until nobody holds them any more.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // What is meant for our group must not reach it before it is in its own session.
            .process_group(0);
        for name in TRACKED_BY {
            command.env_remove(name);
        }
        let started = subreaper::start(Role::Apart, || command.spawn(), Child::id);
        let (child, own) = started?;
        drop(command);
        pipe.write_all(&told(&guard.told))?;
        Ok(Self {
            child,
            pipe,
            _own: own,
        })
    }

    /// All is done that had to be done: it goes.
    pub async fn dismiss(self) {
        let Self {
            mut child,
            mut pipe,
            _own,
        } = self;
        let told = pipe.write_all(GOODBYE);
        drop(pipe);
        if told.is_ok() && tokio::time::timeout(PARTING, child.wait()).await.is_ok() {
            return;
        }
        let _ = child.kill().await;
    }
}

/// How the one who is guarded has gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parting {
    Dismissed,
    Died {
        /// [`GuardCommand::told`]; `None` where it died before it had told all.
        told: Option<Vec<u8>>,
    },
}

/// What is said first: its length, and a blank behind it.
fn told(told: &[u8]) -> Vec<u8> {
    [told.len().to_string().as_bytes(), b" ", told].concat()
}

/// What was told, and what was said behind it.
fn heard(said: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b' ', said)?;
    let length = std::str::from_utf8(&said[..end]).ok()?.parse().ok()?;
    said[end + 1..].split_at_checked(length)
}

/// The guard's side: goes out of the way of signals that are meant for others, and waits.
///
/// # Errors
///
/// Fails where signals cannot be caught or the pipe cannot be read.
pub fn stand_guard() -> io::Result<Parting> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
    for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    // A leader of a group cannot begin a session, so it first joins another group. Where the one
    // it is to guard has died already, or is in a group of another namespace, there is none to
    // join, and its own group has to do.
    let parent = getppid().and_then(|parent| Process::read(parent.as_raw_nonzero().get()));
    let group = parent.and_then(|parent| Pid::from_raw(parent.group));
    let _ = setpgid(None, group).and_then(|()| setsid());
    parting(&mut io::stdin().lock())
}

fn parting(pipe: &mut impl Read) -> io::Result<Parting> {
    let mut said = Vec::new();
    pipe.read_to_end(&mut said)?;
    Ok(match heard(&said) {
        Some((_, GOODBYE)) => Parting::Dismissed,
        Some((told, _)) => Parting::Died {
            told: Some(told.to_owned()),
        },
        None => Parting::Died { told: None },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_goodbye_is_one() {
        let parting = |said: &[u8]| parting(&mut &*said).unwrap();
        let died = |told: &str| Parting::Died {
            told: Some(told.into()),
        };
        for text in ["", "bye", "name = 'a'\n"] {
            let told = told(text.as_bytes());
            assert_eq!(parting(&told), died(text));
            assert_eq!(parting(&[&told, &b"by"[..]].concat()), died(text));
            assert_eq!(parting(&[&told, GOODBYE].concat()), Parting::Dismissed);
        }
        for cut in ["", "1", "5 bye", "x bye"] {
            assert_eq!(parting(cut.as_bytes()), Parting::Died { told: None });
        }
    }
}
