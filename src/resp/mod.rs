//! The Redis protocol: zero-copy request reader, reply writer for RESP2 and RESP3.

pub mod reader;
pub mod writer;
