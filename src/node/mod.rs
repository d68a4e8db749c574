//! The composition root: builds the owners from the configuration, runs them, stops them in reverse.

pub mod error;
pub mod host;
#[expect(clippy::module_inception, reason = "the room's noun is its name")]
pub mod node;
pub mod unix_socket;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod clock_tests;
