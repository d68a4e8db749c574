//! The Redis protocol: requests read zero-copy from bytes, replies written as RESP2 or RESP3.

pub mod reader;
pub mod writer;
pub mod pieces;
