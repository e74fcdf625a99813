//! tackroom
