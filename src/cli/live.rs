//! Lines at the bottom of the terminal while a run goes on, and the keys that it takes then.
//!
//! What is drawn begins where the cursor stands and is left with the cursor back at its start. To
//! take it away everything from there on is erased, which is right also after a resize has wrapped
//! it; and whatever else writes to the terminal writes over it. No library that draws progress
//! shares its terminal with another program's job control and keys, so this is our own.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcgetwinsize,
    tcsetattr,
};
use tokio::net::unix::pipe::Receiver;
use tokio::time::Instant;

use super::output::is_ci;
use crate::process::own_group;

/// Between two drawings where lines come all the time.
const OFTEN: Duration = Duration::from_millis(100);

/// Times are shown in seconds.
const SELDOM: Duration = Duration::from_secs(1);

/// The live lines. Cheap to clone; without a terminal it does nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Live(Option<Arc<Mutex<Screen>>>);

#[derive(Debug)]
struct Screen {
    /// Whether something is drawn now.
    drawn: bool,
    /// When to draw next.
    due: Instant,
    last: Instant,
    keys: Option<Arc<Keys>>,
    over: bool,
}

impl Live {
    /// On stderr, where that is a terminal that a person looks at and that can move its cursor.
    pub(super) fn on_stderr() -> Self {
        let term = std::env::var("TERM").unwrap_or_default();
        let is_able = !matches!(&*term, "" | "dumb") && !is_ci();
        if !(is_able && io::stderr().is_terminal()) {
            return Self(None);
        }
        let now = Instant::now();
        let keys = io::stdin()
            .is_terminal()
            .then(|| Keys::open().ok())
            .flatten()
            .map(Arc::new);
        Self(Some(Arc::new(Mutex::new(Screen {
            drawn: false,
            due: now + OFTEN,
            last: now,
            keys,
            over: false,
        }))))
    }

    fn screen(&self) -> Option<MutexGuard<'_, Screen>> {
        let screen = self.0.as_ref()?;
        Some(screen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Whether keys can be pressed.
    pub(super) fn has_keys(&self) -> bool {
        self.screen().is_some_and(|screen| screen.keys.is_some())
    }

    /// Takes the lines away, for something else to be written. They come back soon.
    pub(super) fn give_way(&self) {
        if let Some(mut screen) = self.screen() {
            screen.hide();
        }
    }

    /// When to draw next.
    pub(super) fn due(&self) -> Option<Instant> {
        self.screen().map(|screen| screen.due)
    }

    /// Draws what `lines` makes of the columns and rows of the terminal.
    pub(super) fn draw(&self, lines: impl FnOnce(usize, usize) -> Vec<String>) {
        if let Some(mut screen) = self.screen() {
            screen.draw(lines);
        }
    }

    /// The next key; none ever where there are no keys.
    pub(super) async fn key(&self) -> u8 {
        let keys = self.screen().and_then(|screen| screen.keys.clone());
        match keys {
            Some(keys) => keys.next().await,
            None => std::future::pending().await,
        }
    }

    /// Gives the terminal back while the process is stopped, and takes it again where it is still
    /// ours then.
    pub(super) fn suspend(&self, stop: fn()) {
        let Some(mut screen) = self.screen() else {
            return stop();
        };
        screen.hide();
        if let Some(keys) = &screen.keys {
            keys.give_back();
        }
        stop();
        screen.due = Instant::now();
    }

    /// Takes the lines away for good and gives the terminal back.
    pub(super) fn close(&self) {
        if let Some(mut screen) = self.screen() {
            screen.hide();
            screen.over = true;
            if let Some(keys) = screen.keys.take() {
                keys.give_back();
            }
        }
    }
}

impl Screen {
    fn hide(&mut self) {
        if !std::mem::take(&mut self.drawn) {
            return;
        }
        self.due = self.due.min(self.last + OFTEN);
        if is_foreground(&io::stderr()) {
            // A terminal that has gone is nobody's concern here.
            let _ = io::stderr().write_all(b"\r\x1b[J");
        }
    }

    fn draw(&mut self, lines: impl FnOnce(usize, usize) -> Vec<String>) {
        let now = Instant::now();
        self.last = now;
        self.due = now + SELDOM;
        let stderr = io::stderr();
        // In the background the terminal is the shell's.
        if self.over || !is_foreground(&stderr) {
            self.drawn = false;
            return;
        }
        if let Some(keys) = &self.keys {
            keys.take();
        }
        let Ok(size) = tcgetwinsize(&stderr) else {
            return;
        };
        let lines = lines(usize::from(size.ws_col), usize::from(size.ws_row));
        if lines.iter().all(String::is_empty) {
            return self.hide();
        }
        let up = match lines.len() {
            0 | 1 => String::new(),
            count => format!("\x1b[{}A", count - 1),
        };
        let text = format!("\r\x1b[J{}\r{up}", lines.join("\r\n"));
        self.drawn = stderr.lock().write_all(text.as_bytes()).is_ok();
    }
}

/// Whether the terminal is ours to draw on and to change: our group is the one that has it.
fn is_foreground(terminal: &impl AsFd) -> bool {
    tcgetpgrp(terminal).is_ok_and(|group| Some(group) == own_group())
}

/// The keys of the terminal, one by one and without an echo. Signals are still made of Ctrl-C and
/// Ctrl-Z.
#[derive(Debug)]
struct Keys {
    /// A terminal of our own opening: what is set on it is not set on the shell's.
    terminal: Receiver,
    /// As the terminal was, while it is changed.
    before: Mutex<Option<Termios>>,
}

impl Keys {
    fn open() -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let terminal = File::from(rustix::fs::open("/dev/tty", flags, Mode::empty())?);
        Ok(Self {
            // It asks for nothing that a terminal does not have.
            terminal: Receiver::from_file_unchecked(terminal)?,
            before: Mutex::new(None),
        })
    }

    fn before(&self) -> MutexGuard<'_, Option<Termios>> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) {
        let mut before = self.before();
        if before.is_some() || !is_foreground(&self.terminal) {
            return;
        }
        let Ok(modes) = tcgetattr(&self.terminal) else {
            return;
        };
        let mut ours = modes.clone();
        ours.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
        ours.special_codes[SpecialCodeIndex::VMIN] = 1;
        ours.special_codes[SpecialCodeIndex::VTIME] = 0;
        if tcsetattr(&self.terminal, OptionalActions::Now, &ours).is_ok() {
            *before = Some(modes);
        }
    }

    /// In the background the modes are those of the shell already, and to set them would stop us.
    fn give_back(&self) {
        if let Some(modes) = self.before().take()
            && is_foreground(&self.terminal)
        {
            let _ = tcsetattr(&self.terminal, OptionalActions::Now, &modes);
        }
    }

    async fn next(&self) -> u8 {
        loop {
            if self.terminal.readable().await.is_err() {
                return std::future::pending().await;
            }
            // To read from the background would stop us, and what is typed then is the shell's.
            if !is_foreground(&self.terminal) || self.before().is_none() {
                tokio::time::sleep(SELDOM).await;
                continue;
            }
            let mut key = [0];
            match self.terminal.try_read(&mut key) {
                Ok(1..) => return key[0],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) => return std::future::pending().await,
            }
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.give_back();
    }
}
