//! Streams.

#[derive(Debug, Clone, Default)]
pub struct Stream {}
