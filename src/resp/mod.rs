//! The Redis protocol: requests read zero-copy from bytes, replies written as RESP2 or RESP3 into
//! ropes of buffers.

pub mod reader;
pub mod rope;
pub mod writer;
pub mod pieces;
