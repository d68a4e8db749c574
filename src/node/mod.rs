//! The composition root: builds the owners from the configuration, runs them, stops them in reverse.

pub mod node;
