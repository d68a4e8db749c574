//! Streams: the log of entries, its nodes, trimming, and what is asked of them.

pub mod listpack;
pub mod log;
pub mod node;
pub mod query;
pub mod stream;
pub mod trim;
pub mod write;
