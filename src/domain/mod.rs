//! The words of the product as types: data and pure rules.
//!
//! Everything here is synchronous, does no I/O, reads no clock and knows no other module of the
//! crate but [`crate::text`]. A rule that needs only data lives here, beside its type, so that
//! the command line, the dashboard and the tests share it.

pub mod badge;
pub mod claims;
pub mod container;
pub mod event;
pub mod exit;
pub mod fingerprint;
pub mod hook;
pub mod id;
pub mod incident;
pub mod label;
pub mod line;
pub mod link;
pub mod moment;
pub mod origins;
pub mod output;
pub mod past;
pub mod plan;
pub mod replay;
pub mod run;
pub mod scope;
pub mod secret;
pub mod selector;
pub mod stats;
pub mod suite;
pub mod tap;
pub mod verdict;
pub mod window;
