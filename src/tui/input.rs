//! Keys, clicks and pastes as messages.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;

use crossterm::event::{Event, EventStream, MouseButton, MouseEventKind};
use futures_util::{Stream, StreamExt};
use ratatui::layout::{Position, Size};

use super::keymap::Key;
use super::msg::{Mouse, MouseAction, Msg};

/// Reads the terminal for as long as it lives. Dropped before anybody else reads it.
pub(super) struct Input<S = EventStream>(S);

impl<S> std::fmt::Debug for Input<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Input")
    }
}

impl Input {
    pub(super) fn new() -> Self {
        Self(EventStream::new())
    }
}

impl<S: Stream<Item = io::Result<Event>> + Unpin> Input<S> {
    /// The next one that means something; `None` when the terminal has gone.
    pub(super) async fn next(&mut self) -> Option<io::Result<Msg>> {
        loop {
            match self.0.next().await? {
                Ok(event) => {
                    if let Some(msg) = message(event) {
                        return Some(Ok(msg));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// One that waits already.
    ///
    /// Asked for by the task that reads, never by the way: an [`EventStream`] wakes the first one
    /// who found nothing, and would leave this task asleep until something else wakes it.
    pub(super) async fn ready(&mut self) -> Option<Msg> {
        let mut next = pin!(self.next());
        let waits = poll_fn(|cx| match next.as_mut().poll(cx) {
            Poll::Ready(next) => Poll::Ready(next),
            Poll::Pending => Poll::Ready(None),
        });
        waits.await.and_then(Result::ok)
    }
}

fn message(event: Event) -> Option<Msg> {
    match event {
        Event::Key(event) => Key::of(event).map(Msg::Key),
        Event::Paste(text) => Some(Msg::Paste(text)),
        Event::Resize(width, height) => Some(Msg::Resize(Size { width, height })),
        Event::Mouse(event) => {
            let action = match event.kind {
                MouseEventKind::Down(MouseButton::Left) => MouseAction::Click,
                MouseEventKind::ScrollUp => MouseAction::WheelUp,
                MouseEventKind::ScrollDown => MouseAction::WheelDown,
                _ => return None,
            };
            let at = Position {
                x: event.column,
                y: event.row,
            };
            Some(Msg::Mouse(Mouse { action, at }))
        }
        Event::FocusGained | Event::FocusLost => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::pin::Pin;
    use std::sync::{Arc, Mutex};
    use std::task::{Context, Waker};
    use std::time::Duration;

    use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
    use tokio::time::sleep;

    use super::*;

    /// Wakes as [`EventStream`] does: whoever found nothing first, and nobody who asked after it.
    #[derive(Clone, Default)]
    struct Keyboard(Arc<Mutex<(VecDeque<Event>, Option<Waker>)>>);

    impl Keyboard {
        fn press(&self, key: char) {
            let event = KeyEvent::new(KeyCode::Char(key), KeyModifiers::NONE);
            let mut keyboard = self.0.lock().unwrap();
            keyboard.0.push_back(Event::Key(event));
            if let Some(waker) = keyboard.1.take() {
                waker.wake();
            }
        }
    }

    impl Stream for Keyboard {
        type Item = io::Result<Event>;

        fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            let mut keyboard = self.0.lock().unwrap();
            if let Some(event) = keyboard.0.pop_front() {
                return Poll::Ready(Some(Ok(event)));
            }
            keyboard.1.get_or_insert_with(|| cx.waker().clone());
            Poll::Pending
        }
    }

    fn key_of(msg: &Msg) -> Option<Key> {
        match msg {
            Msg::Key(key) => Some(*key),
            _ => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_heard_after_a_look_that_found_none() {
        let keyboard = Keyboard::default();
        let mut input = Input(keyboard.clone());
        assert!(input.ready().await.is_none());
        let waits = async {
            tokio::select! {
                biased;
                () = sleep(Duration::from_secs(3600)) => None,
                key = input.next() => key.and_then(Result::ok),
            }
        };
        let (key, ()) = tokio::join!(waits, async { keyboard.press('j') });
        assert_eq!(key.as_ref().and_then(key_of), "j".parse().ok());
    }

    #[tokio::test]
    async fn keys_that_wait_are_ready_one_by_one() {
        let keyboard = Keyboard::default();
        let mut input = Input(keyboard.clone());
        keyboard.press('j');
        keyboard.press('k');
        for key in ["j", "k"] {
            let heard = input.ready().await;
            assert_eq!(heard.as_ref().and_then(key_of), key.parse().ok());
        }
        assert!(input.ready().await.is_none());
    }
}
