//! Who listens to which channel.

pub mod message;
pub mod registry;
