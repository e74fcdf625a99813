//! The real terminal: taken over, drawn on, and given back whatever happens.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, Once, PoisonError};
use std::thread::ThreadId;

use crossterm::event::{
    DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture,
};
use crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
    disable_raw_mode, enable_raw_mode,
};
use crossterm::{cursor, queue};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::layout::{Position, Rect, Size};

use super::input::Input;
use super::layout::layout;
use super::msg::Msg;
use super::runtime::Front;
use super::state::State;
use super::view::view;
use crate::process::MARK;

/// Whether the terminal is ours at this moment.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Whether a pager has it.
static LENT: AtomicBool = AtomicBool::new(false);

/// Whether a key that is a signal was pressed since it was lent, and nobody has heard of that yet.
static PRESSED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Whether that was the pager's, which has gone before we heard of it.
static OWED: AtomicBool = AtomicBool::new(false);

/// Notes signals as they come: whose they are cannot be told any more when they are heard of.
///
/// # Errors
///
/// Fails where the handlers cannot be installed.
pub(super) fn note_keys() -> io::Result<()> {
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGQUIT] {
        signal_hook::flag::register(signal, Arc::clone(&PRESSED))?;
    }
    Ok(())
}

/// Whether the Ctrl-C that is heard of now means, or meant, the pager. While the terminal is ours it
/// is a key and no signal.
pub(super) fn is_pagers() -> bool {
    if is_lent() {
        PRESSED.store(false, Ordering::SeqCst);
        return true;
    }
    OWED.swap(false, Ordering::SeqCst)
}

fn begin_loan() {
    PRESSED.store(false, Ordering::SeqCst);
    LENT.store(true, Ordering::SeqCst);
}

fn end_loan() {
    let is_pressed = PRESSED.swap(false, Ordering::SeqCst);
    OWED.store(is_pressed, Ordering::SeqCst);
    LENT.store(false, Ordering::SeqCst);
}

fn is_lent() -> bool {
    LENT.load(Ordering::SeqCst)
}

/// Whether the terminal, by its environment, does nothing with OSC 52, or may do nothing: a
/// multiplexer drops it unless it is told to pass it on.
pub(super) fn has_no_clipboard(variable: impl Fn(&str) -> Option<String>) -> bool {
    let is_set = |name| variable(name).is_some_and(|value| !value.is_empty());
    let term = variable("TERM").unwrap_or_default();
    let vte = variable("VTE_VERSION").and_then(|version| version.parse::<u32>().ok());
    is_set("TMUX")
        || is_set("STY")
        || vte.is_some_and(|version| version < 7600)
        || variable("TERM_PROGRAM").is_some_and(|program| program == "Apple_Terminal")
        || ["linux", "dumb", "vt100", "vt220"].contains(&&*term)
}

/// The thread that draws. A panic elsewhere does not end the dashboard.
static DRAWING: Mutex<Option<ThreadId>> = Mutex::new(None);

/// Holds the terminal, and gives it back when it is dropped.
#[derive(Debug)]
pub struct Guard(());

impl Guard {
    /// Takes the terminal over: raw, on its alternate screen, with mouse and bracketed paste.
    ///
    /// A panic of the thread that calls this gives the terminal back before its message is
    /// printed; that of another thread is only logged.
    ///
    /// # Errors
    ///
    /// Fails where standard output is no terminal.
    pub fn take() -> io::Result<Self> {
        *lock(&DRAWING) = Some(std::thread::current().id());
        watch_panics();
        // From here on whatever happened so far is undone by the drop.
        TAKEN.store(true, Ordering::SeqCst);
        let guard = Self(());
        enable_raw_mode()?;
        let mut out = io::stdout().lock();
        enter(&mut out)?;
        out.flush()?;
        Ok(guard)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        give_back();
    }
}

/// Gives the terminal back if it is ours; any number of times.
fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // There is nothing left to try if this fails.
        let mut out = io::stdout().lock();
        let _ = leave(&mut out).and_then(|()| out.flush());
        let _ = disable_raw_mode();
    }
}

fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let drawing = *lock(&DRAWING) == Some(std::thread::current().id());
            if TAKEN.load(Ordering::SeqCst) && !drawing {
                tracing::error!("a task has failed: {panic}");
                return;
            }
            give_back();
            before(panic);
        }));
    });
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn enter(out: &mut impl Write) -> io::Result<()> {
    queue!(
        out,
        EnterAlternateScreen,
        EnableMouseCapture,
        EnableBracketedPaste,
        cursor::Hide
    )
}

/// The opposite of [`enter`], and of an update that was cut off.
fn leave(out: &mut impl Write) -> io::Result<()> {
    queue!(
        out,
        EndSynchronizedUpdate,
        DisableBracketedPaste,
        DisableMouseCapture,
        LeaveAlternateScreen,
        cursor::Show
    )
}

/// What a frame wants written. It is collected so that the terminal gets a frame as a whole, or
/// not at all where nothing has changed.
#[derive(Clone, Debug, Default)]
struct Frame(Arc<Mutex<Vec<u8>>>);

impl Frame {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut lock(&self.0))
    }
}

impl Write for Frame {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is written of a frame that is as blank as the screen.
fn unchanged(
    terminal: &mut Terminal<CrosstermBackend<Frame>>,
    frame: &Frame,
) -> io::Result<Vec<u8>> {
    terminal.draw(|_| {})?;
    Ok(frame.take())
}

/// Draws on the terminal and reads its keys.
#[derive(Debug)]
pub(super) struct Tty {
    terminal: Terminal<CrosstermBackend<Frame>>,
    frame: Frame,
    /// The bytes of a frame in which nothing differs from the one before.
    unchanged: Vec<u8>,
    /// Those of the last frame that was written. Two equal ones in a row are two in which nothing
    /// differed but, perhaps, in the first: a dialog's cursor is in every frame.
    last: Vec<u8>,
    input: Option<Input>,
    mouse: bool,
    guard: Option<Guard>,
}

impl Tty {
    pub(super) fn open() -> io::Result<Self> {
        let guard = Guard::take()?;
        let frame = Frame::default();
        let mut terminal = Terminal::new(CrosstermBackend::new(frame.clone()))?;
        let unchanged = unchanged(&mut terminal, &frame)?;
        Ok(Self {
            terminal,
            frame,
            unchanged,
            last: Vec::new(),
            input: Some(Input::new()),
            mouse: true,
            guard: Some(guard),
        })
    }

    pub(super) fn size(&self) -> Size {
        self.terminal.size().unwrap_or_default()
    }

    /// Gives the terminal back for good.
    pub(super) fn close(&mut self) {
        self.input = None;
        self.guard = None;
    }

    fn send(command: impl crossterm::Command) -> io::Result<()> {
        let mut out = io::stdout().lock();
        queue!(out, command)?;
        out.flush()
    }

    fn present(&mut self) -> io::Result<()> {
        let frame = self.frame.take();
        if frame == self.unchanged || frame == self.last {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        queue!(out, BeginSynchronizedUpdate)?;
        out.write_all(&frame)?;
        queue!(out, EndSynchronizedUpdate)?;
        out.flush()?;
        self.last = frame;
        Ok(())
    }
}

impl Front for Tty {
    async fn next(&mut self) -> Option<io::Result<Msg>> {
        self.input.as_mut()?.next().await
    }

    fn draw(&mut self, state: &State) -> io::Result<()> {
        tui_logger::move_events();
        self.terminal.draw(|frame| {
            let layout = layout(frame.area(), state);
            view(state, &layout, frame);
        })?;
        self.present()
    }

    fn redraw(&mut self) -> io::Result<()> {
        self.last.clear();
        // Not by `clear`, which asks the terminal where its cursor is and waits for the answer.
        let area = Rect::from((Position::ORIGIN, self.terminal.size()?));
        self.terminal.resize(area)
    }

    fn let_go(&mut self) {
        self.input = None;
    }

    fn copy(&mut self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        write!(out, "\x1b]52;c;{}\x07", base64(text.as_bytes()))?;
        out.flush()
    }

    fn set_mouse(&mut self, on: bool) -> io::Result<()> {
        self.mouse = on;
        if on {
            Self::send(EnableMouseCapture)
        } else {
            Self::send(DisableMouseCapture)
        }
    }

    /// Reading must stop before the shell gets the terminal, or it would miss keys.
    fn suspend(&mut self) -> io::Result<Size> {
        let stop = || {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP)
        };
        if is_lent() {
            // The pager, which stops with us, has given it back itself.
            stop()?;
            return Ok(self.size());
        }
        self.close();
        let stopped = stop();
        let size = self.enter_again()?;
        stopped?;
        Ok(size)
    }

    fn lend(&mut self, file: PathBuf) -> BoxFuture<'static, Result<(), String>> {
        self.close();
        begin_loan();
        let file = Temporary(file);
        let pager = std::env::var("PAGER").ok();
        let pager = pager.filter(|pager| !pager.trim().is_empty());
        let pager = pager.unwrap_or_else(|| PAGER.to_owned());
        // By the shell, as it may have arguments, and instead of the shell, which a Ctrl-C would
        // end. It stays in our group, so that Ctrl-Z stops both of us.
        let child = tokio::process::Command::new("sh")
            .arg("-c")
            .arg(format!("exec env {pager} \"$1\""))
            .arg("sh")
            .arg(&file.0)
            // What is opened from there is no replay's, whatever runs meanwhile.
            .env(MARK, "")
            .kill_on_drop(true)
            .spawn();
        async move {
            let _file = file;
            let failed = |error: io::Error| format!("the pager cannot be run: {error}");
            let status = child.map_err(failed)?.wait().await.map_err(failed)?;
            match status.code() {
                Some(126 | 127) => Err(format!("there is no pager {pager}; set PAGER to one")),
                _ => Ok(()),
            }
        }
        .boxed()
    }

    fn take_back(&mut self) -> io::Result<Size> {
        end_loan();
        self.enter_again()
    }
}

/// What is used where `PAGER` is not set.
const PAGER: &str = "less -R";

/// A file that goes when nobody needs it.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Tty {
    fn enter_again(&mut self) -> io::Result<Size> {
        self.guard = Some(Guard::take()?);
        self.input = Some(Input::new());
        if !self.mouse {
            Self::send(DisableMouseCapture)?;
        }
        self.redraw()?;
        Ok(self.size())
    }
}

/// RFC 4648, as OSC 52 wants it.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            if digit <= chunk.len() {
                let index = (group >> (18 - 6 * digit)) & 63;
                text.push(char::from(DIGITS[index as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_was_pressed_in_the_pager_is_the_pagers_whenever_it_is_heard_of() {
        let press = || PRESSED.store(true, Ordering::SeqCst);
        begin_loan();
        press();
        assert!(is_pagers());
        end_loan();
        assert!(!is_pagers(), "it was heard of before");
        begin_loan();
        press();
        end_loan();
        assert!(is_pagers());
        press();
        assert!(!is_pagers());
    }

    #[test]
    fn what_is_entered_is_left() {
        let mut parser = vt100::Parser::new(24, 80, 0);
        let mut bytes = b"before".to_vec();
        enter(&mut bytes).unwrap();
        queue!(bytes, BeginSynchronizedUpdate).unwrap();
        bytes.extend_from_slice(b"dashboard");
        parser.process(&bytes);
        assert!(parser.screen().alternate_screen());
        assert!(parser.screen().hide_cursor());
        assert!(parser.screen().bracketed_paste());
        assert_ne!(
            parser.screen().mouse_protocol_mode(),
            vt100::MouseProtocolMode::None
        );
        let mut bytes = Vec::new();
        leave(&mut bytes).unwrap();
        parser.process(&bytes);
        assert!(!parser.screen().alternate_screen());
        assert!(!parser.screen().hide_cursor());
        assert!(!parser.screen().bracketed_paste());
        assert_eq!(
            parser.screen().mouse_protocol_mode(),
            vt100::MouseProtocolMode::None
        );
        assert_eq!(parser.screen().contents().trim(), "before");
    }

    #[test]
    fn a_terminal_that_may_drop_a_copy_is_known() {
        let of = |set: &[(&str, &str)]| {
            has_no_clipboard(|name| {
                let found = set.iter().find(|(other, _)| *other == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        assert!(!of(&[("TERM", "xterm-256color")]));
        assert!(!of(&[
            ("TERM", "xterm-kitty"),
            ("TMUX", ""),
            ("VTE_VERSION", "7802")
        ]));
        assert!(of(&[("TERM", "linux")]));
        assert!(of(&[("TERM", "tmux-256color"), ("TMUX", "/tmp/tmux")]));
        assert!(of(&[("TERM", "xterm"), ("VTE_VERSION", "6800")]));
        assert!(of(&[("TERM", "xterm"), ("TERM_PROGRAM", "Apple_Terminal")]));
    }

    #[test]
    fn the_clipboard_gets_base64() {
        for (text, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("\u{ff}é", "w7/DqQ=="),
        ] {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
    }
}
