//! stdout, stderr and files; failures and what they exit with.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::args::Color;
use super::live::Live;
use crate::config::Config;
use crate::domain::exit::Exit;
use crate::domain::run::Signal;
use crate::engine::{EngineError, ErrorKind};
use crate::report::Palette;
use crate::text::commands::{Defuser, Notation};
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

/// A stream that is a CI server's log where we run on one: what is printed is no command to it.
#[derive(Debug)]
pub(super) struct Defused<W> {
    stream: W,
    /// `None`: nobody takes commands from it.
    defuser: Option<Defuser>,
}

impl<W> Defused<W> {
    pub(super) fn new(stream: W, notation: Notation) -> Self {
        let is = |name, word: &str| {
            std::env::var(name).is_ok_and(|value| value.eq_ignore_ascii_case(word))
        };
        let is_read = is("GITHUB_ACTIONS", "true") || is("TF_BUILD", "true");
        Self {
            stream,
            defuser: is_read.then(|| Defuser::new(notation)),
        }
    }

    /// For programs, which want every byte as it was.
    pub(super) fn as_it_is(stream: W) -> Self {
        Self {
            stream,
            defuser: None,
        }
    }
}

/// By any [`Defused`] stream, in bytes.
static PRINTED: AtomicU64 = AtomicU64::new(0);

/// How many bytes have been printed so far.
pub(super) fn printed() -> u64 {
    PRINTED.load(Ordering::Relaxed)
}

impl<W: Write> Write for Defused<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = match &mut self.defuser {
            None => self.stream.write(bytes)?,
            Some(defuser) => {
                self.stream.write_all(&defuser.defuse(bytes))?;
                bytes.len()
            }
        };
        PRINTED.fetch_add(taken as u64, Ordering::Relaxed);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// stdout for what a command prints: JSON, or text.
pub(super) fn stdout(json: bool) -> Defused<io::StdoutLock<'static>> {
    Defused::new(io::stdout().lock(), notation(json))
}

pub(super) fn notation(json: bool) -> Notation {
    if json { Notation::Json } else { Notation::Text }
}

/// A stream whose reader may go away: from then on it swallows what it is given. The run goes on,
/// and so does the other stream.
#[derive(Debug)]
pub(super) struct Outlet<W> {
    stream: Defused<W>,
    gone: bool,
    lost: Lost,
    /// Gives way to what is written.
    live: Option<Live>,
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
    pub(super) fn new(stream: W, notation: Notation) -> Self {
        Self {
            stream: Defused::new(stream, notation),
            gone: false,
            lost: Lost::default(),
            live: None,
        }
    }

    /// What is written stands above the live lines of a terminal.
    pub(super) fn above(mut self, live: &Live) -> Self {
        self.live = Some(live.clone());
        self
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
        if let Some(live) = &self.live {
            live.give_way();
        }
        match self.stream.write(bytes) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                self.give_up(&error);
                Ok(bytes.len())
            }
            written => written,
        }
    }

    /// In one piece: what others write at the same moment does not come between, and each piece is
    /// a call of the system.
    fn write_fmt(&mut self, text: std::fmt::Arguments<'_>) -> io::Result<()> {
        match text.as_str() {
            Some(text) => self.write_all(text.as_bytes()),
            None => self.write_all(text.to_string().as_bytes()),
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
    let mut stderr = Defused::new(io::stderr().lock(), Notation::Verbatim);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Each write by itself.
    #[derive(Default)]
    struct Pieces(Vec<String>);

    impl Write for Pieces {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_formatted_at_once_is_written_at_once() {
        let mut outlet = Outlet::new(Pieces::default(), Notation::Text);
        let name = "a";
        writeln!(outlet, "▶ replay {name}").unwrap();
        assert_eq!(outlet.stream.stream.0, ["▶ replay a\n"]);
    }
}
