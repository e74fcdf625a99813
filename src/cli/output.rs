//! stdout, stderr and files; failures and what they exit with.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::args::Color;
use crate::config::Config;
use crate::domain::exit::Exit;
use crate::domain::run::Signal;
use crate::engine::{EngineError, ErrorKind};
use crate::report::Palette;
use crate::text::sanitize::sanitize_plain;

/// A command that came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) exit: Exit,
    /// The process is to die of this.
    pub(super) signal: Option<Signal>,
}

impl Ended {
    pub(super) fn with(exit: Exit) -> Self {
        Self { exit, signal: None }
    }
}

/// A command that could not do its work.
#[derive(Debug)]
pub(super) struct Failure {
    exit: Exit,
    /// `None`: whoever read our output has gone, which is fine.
    message: Option<String>,
}

impl Failure {
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: Some(message.into()),
        }
    }

    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(super) fn exit(&self) -> Exit {
        self.exit
    }

    pub(super) fn explain(&self) {
        if let Some(message) = &self.message {
            complain(message);
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self {
                exit: Exit::Ok,
                message: None,
            };
        }
        Self::new(Exit::Internal, error.to_string())
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        // What is not there, or is being done already, is no engine that cannot be used.
        let exit = match error.kind {
            ErrorKind::NotFound | ErrorKind::Conflict => Exit::Internal,
            _ => Exit::Unreachable,
        };
        Self::new(exit, error.advice().to_string())
    }
}

/// A stream whose reader may go away: from then on it swallows what it is given. The run goes on,
/// and so does the other stream.
#[derive(Debug)]
pub(super) struct Outlet<W> {
    stream: W,
    gone: bool,
    lost: Lost,
}

/// Tells why what was written did not arrive, unless its reader has simply gone.
#[derive(Clone, Debug, Default)]
pub(super) struct Lost(Arc<OnceLock<String>>);

impl Lost {
    pub(super) fn why(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }
}

impl<W> Outlet<W> {
    pub(super) fn new(stream: W) -> Self {
        Self {
            stream,
            gone: false,
            lost: Lost::default(),
        }
    }

    pub(super) fn lost(&self) -> Lost {
        self.lost.clone()
    }

    fn give_up(&mut self, error: &io::Error) {
        self.gone = true;
        if error.kind() != io::ErrorKind::BrokenPipe {
            self.lost.0.get_or_init(|| error.to_string());
        }
    }
}

impl<W: Write> Write for Outlet<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.gone {
            return Ok(bytes.len());
        }
        match self.stream.write(bytes) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                self.give_up(&error);
                Ok(bytes.len())
            }
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.gone
            && let Err(error) = self.stream.flush()
        {
            self.give_up(&error);
        }
        Ok(())
    }
}

/// Writes a message to stderr, each of its lines made safe.
pub(super) fn complain(message: impl Display) {
    let message = message.to_string();
    let mut stderr = io::stderr().lock();
    for (index, line) in message.lines().enumerate() {
        let prefix = if index == 0 { "tackroom: " } else { "" };
        // There is nobody left to tell.
        let _ = writeln!(stderr, "{prefix}{}", sanitize_plain(line));
    }
}

/// Says once that there is no configuration, and what to do about it.
pub(super) fn mention_missing_file(config: &Config) {
    if config.file.is_none() {
        complain(
            "no tackroom.toml here or above: compose projects are listed, all protected; \
             `tackroom init` writes a commented file",
        );
    }
}

pub(super) fn palette(color: Color, stream: &impl IsTerminal) -> Palette {
    let flag = match color {
        Color::Auto => None,
        Color::Always => Some(true),
        Color::Never => Some(false),
    };
    Palette::decide(flag, |name| std::env::var(name).ok(), stream.is_terminal())
}

/// Whether this runs on a CI server: no questions, no animation, a sign of life now and then.
pub(super) fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false")
}

/// Writes a file so that it is never seen half written. What is no regular file, such as a device,
/// a FIFO or a link, is written to as it stands: a renamed file would take its place.
pub(super) fn write_atomically(path: &Path, content: &[u8]) -> io::Result<()> {
    if path
        .symlink_metadata()
        .is_ok_and(|metadata| !metadata.is_file())
    {
        return std::fs::write(path, content);
    }
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut temporary = name.to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = directory.join(temporary);
    let written =
        std::fs::write(&temporary, content).and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}
