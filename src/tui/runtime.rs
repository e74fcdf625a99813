//! The loop around the pure core. One task owns the state.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt};
use jiff::Timestamp;
use ratatui::layout::Size;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::effect::Effect;
use super::msg::Msg;
use super::state::State;
use super::update::update;
use crate::domain::run::Signal;

/// What happens by itself is drawn at most this often over a longer time; a key is answered at
/// once.
pub(super) const FRAME: Duration = Duration::from_millis(33);

/// How far a frame may run ahead of that, so that what happens after a pause, and the first list,
/// which comes a moment after the first frame, are drawn at once.
const AHEAD: Duration = Duration::from_millis(3 * 33);

/// Messages taken in one turn, between two looks at the keyboard.
const TURN: usize = 4;

/// Between two frames that answer keys: what the wheel sends in a burst is a few frames.
const BURST: Duration = Duration::from_millis(5);

/// The terminal as the loop sees it.
pub(super) trait Front {
    /// The next key, click or paste. Nothing is lost if it is not waited for to the end.
    fn next(&mut self) -> impl Future<Output = Option<io::Result<Msg>>>;
    fn draw(&mut self, state: &State) -> io::Result<()>;
    fn redraw(&mut self) -> io::Result<()>;
    fn copy(&mut self, text: &str) -> io::Result<()>;
    fn set_mouse(&mut self, on: bool) -> io::Result<()>;
    /// Nothing is read from the terminal any more.
    fn let_go(&mut self);
    /// Gives the terminal to the user's pager, which shows the file; it is removed then. What is
    /// returned ends with the pager, and says why there was none.
    fn lend(&mut self, file: PathBuf) -> BoxFuture<'static, Result<(), String>>;
    /// Takes the terminal back, and says which size it has now.
    fn take_back(&mut self) -> io::Result<Size>;
    /// Returns when the user has come back, with the size that the terminal has then.
    fn suspend(&mut self) -> io::Result<Size>;
}

/// Whoever carries out the effects that are not about the terminal. What comes of them arrives
/// as messages.
pub(super) trait Back {
    fn perform(&mut self, effect: Effect);
    /// Stands still, with all that it started, while `meanwhile` runs.
    fn pause(&mut self, meanwhile: &mut dyn FnMut());
}

/// What the system asks of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    End(Signal),
    Suspend,
}

/// Runs until the user or the system wants an end.
///
/// A terminal that breaks is an end, too, and one that nobody can be asked about: nothing is drawn
/// from then on, and what runs is brought to its end first.
///
/// # Errors
///
/// Fails, after that, where the terminal broke before anybody had wanted an end.
pub(super) async fn run(
    state: &mut State,
    front: &mut impl Front,
    back: &mut impl Back,
    messages: &mut mpsc::Receiver<Msg>,
    mut asks: impl Stream<Item = Ask> + Unpin,
    clock: impl Fn() -> Timestamp,
) -> io::Result<()> {
    let mut desk = Desk {
        state,
        front,
        back,
        quit: false,
        blind: false,
        broken: None,
        pager: None,
    };
    let mut batch = Vec::with_capacity(TURN);
    let mut next_second = Instant::now() + to_next_second(clock());
    let mut pace = Pace::new();
    let mut dirty = true;
    while !desk.quit {
        tokio::select! {
            biased;
            Some(ask) = asks.next() => {
                match ask {
                    Ask::End(Signal::Hangup) => desk.hang_up(),
                    Ask::End(_) => desk.handle(Msg::End),
                    Ask::Suspend => desk.suspend(),
                }
                dirty = true;
            }
            key = desk.front.next(), if desk.is_ours() => {
                match key {
                    Some(Ok(key)) => desk.handle(key),
                    Some(Err(error)) => desk.lose(Some(error)),
                    None => desk.lose(None),
                }
                dirty = true;
                pace.hurry();
            }
            () = sleep_until(pace.next), if dirty && desk.is_ours() => {
                let began = Instant::now();
                desk.draw();
                dirty = false;
                pace.drawn(began.elapsed());
            }
            ended = pager_end(&mut desk.pager) => {
                desk.take_back(ended);
                dirty = true;
            }
            () = sleep_until(next_second) => {
                let now = clock();
                next_second = Instant::now() + to_next_second(now);
                desk.handle(Msg::Tick(now));
                dirty = true;
            }
            _ = messages.recv_many(&mut batch, TURN) => {
                for message in batch.drain(..) {
                    desk.handle(message);
                }
                dirty = true;
            }
        }
    }
    desk.broken.map_or(Ok(()), Err)
}

/// When the next frame may be drawn.
struct Pace {
    next: Instant,
    /// When it would be if all frames had kept their distance.
    even: Instant,
    /// The next one answers a key.
    hurried: bool,
    /// When the next that answers a key may be.
    next_answer: Instant,
}

impl Pace {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            next: now,
            even: now,
            hurried: false,
            next_answer: now,
        }
    }

    fn hurry(&mut self) {
        self.hurried = true;
        self.next = self.next.min(self.next_answer);
    }

    /// A frame that takes long leaves as much time to everything else.
    fn drawn(&mut self, took: Duration) {
        let now = Instant::now();
        self.even = self.even.clamp(now, now + AHEAD) + FRAME;
        if std::mem::take(&mut self.hurried) {
            self.next_answer = now + BURST;
        }
        let rested = now + took.min(FRAME);
        self.next = rested.max(self.even.checked_sub(AHEAD).unwrap_or(now));
    }
}

struct Desk<'a, F, B> {
    state: &'a mut State,
    front: &'a mut F,
    back: &'a mut B,
    quit: bool,
    /// The terminal is of no use any more.
    blind: bool,
    /// The terminal is lent until this ends. Everything but the screen goes on meanwhile.
    pager: Option<BoxFuture<'static, Result<(), String>>>,
    /// Why that ends the dashboard, where nothing else did.
    broken: Option<io::Error>,
}

impl<F: Front, B: Back> Desk<'_, F, B> {
    fn handle(&mut self, message: Msg) {
        for effect in update(self.state, message) {
            match effect {
                Effect::Quit => self.quit = true,
                Effect::Redraw => self.show(|front, _| front.redraw()),
                Effect::Copy(text) => self.show(|front, _| front.copy(&text)),
                Effect::SetMouse(on) => self.show(|front, _| front.set_mouse(on)),
                Effect::Suspend => self.suspend(),
                Effect::OpenPager(file) => self.lend(file),
                effect => self.back.perform(effect),
            }
        }
    }

    fn draw(&mut self) {
        self.show(F::draw);
    }

    fn show(&mut self, show: impl FnOnce(&mut F, &State) -> io::Result<()>) {
        if self.is_ours()
            && let Err(error) = show(self.front, self.state)
        {
            self.lose(Some(error));
        }
    }

    /// Whether the terminal can be drawn on and read from.
    fn is_ours(&self) -> bool {
        !self.blind && self.pager.is_none()
    }

    fn lend(&mut self, file: PathBuf) {
        if self.is_ours() {
            self.pager = Some(self.front.lend(file));
        } else {
            let _ = std::fs::remove_file(file);
        }
    }

    fn take_back(&mut self, ended: Result<(), String>) {
        self.pager = None;
        match self.front.take_back() {
            Ok(size) => {
                self.handle(Msg::Resize(size));
                self.handle(Msg::PagerEnded(ended));
            }
            Err(error) => self.lose(Some(error)),
        }
    }

    fn suspend(&mut self) {
        if self.blind {
            return;
        }
        let mut result = Ok(Size::ZERO);
        self.back.pause(&mut || result = self.front.suspend());
        match result {
            Ok(size) => self.handle(Msg::Resize(size)),
            Err(error) => self.lose(Some(error)),
        }
    }

    fn hang_up(&mut self) {
        self.let_go();
        self.handle(Msg::End);
    }

    /// Who waits for a terminal that has gone may wait by asking for ever.
    fn let_go(&mut self) {
        self.blind = true;
        self.front.let_go();
    }

    /// The terminal has broken, or gone.
    fn lose(&mut self, error: Option<io::Error>) {
        self.let_go();
        if self.state.quitting.is_none() && !self.quit {
            self.broken = error;
            self.handle(Msg::End);
        }
    }
}

/// Never ends where there is none.
async fn pager_end(
    pager: &mut Option<BoxFuture<'static, Result<(), String>>>,
) -> Result<(), String> {
    match pager {
        Some(pager) => pager.await,
        None => std::future::pending().await,
    }
}

/// The clock on the screen changes with the second.
fn to_next_second(now: Timestamp) -> Duration {
    let nanoseconds = u64::try_from(now.subsec_nanosecond()).unwrap_or(0);
    Duration::from_nanos(1_000_000_000 - nanoseconds.min(999_999_999))
}

#[cfg(test)]
mod tests;
