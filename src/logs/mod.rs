//! Log lines of many sources: following them, keeping them, and showing them as one.

pub mod store;
