//! Keys, clicks and pastes as messages.

use std::io;

use crossterm::event::{Event, EventStream, MouseButton, MouseEventKind};
use futures_util::StreamExt;
use ratatui::layout::{Position, Size};

use super::keymap::Key;
use super::msg::{Mouse, MouseAction, Msg};

/// Reads the terminal for as long as it lives. Dropped before anybody else reads it.
pub(super) struct Input(EventStream);

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Input")
    }
}

impl Input {
    pub(super) fn new() -> Self {
        Self(EventStream::new())
    }

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
