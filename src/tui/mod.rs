//! The dashboard: a pure core in an async shell.
//!
//! [`update::update`] decides what a message means: it is synchronous, reads no clock and does no
//! I/O; what shall happen it returns as [`effect::Effect`]s. [`view::view`] draws the state and
//! changes nothing. [`layout::layout`] is shared by both, so that a click and a page mean what is
//! on the screen.

pub mod effect;
#[cfg(test)]
mod fixtures;
pub mod keymap;
pub mod layout;
pub mod msg;
pub mod state;
pub mod theme;
pub mod update;
pub mod view;
