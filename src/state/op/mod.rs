//! Ops: the log's requests to the machine, and their encoding.

pub mod batch;
pub mod codec;
mod codec_query;
mod codec_string;
mod codec_write;
#[cfg(test)]
pub mod random;

use crate::command::value::{Data, Write};
use crate::state::keyspace::KeyVersion;

/// One op of a batch: a client's command with the selected database.
#[derive(Debug, Clone, PartialEq)]
pub enum Op<'a> {
    Write { database: u32, write: Write<'a> },
    Transaction(Transaction<'a>),
}

/// MULTI … EXEC as one op. Its answer is one reply per command, or a null array if a watched key has changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Transaction<'a> {
    pub watched: Vec<Watched<'a>>,
    /// In request order; queries see the writes before them.
    pub commands: Vec<(u32, Data<'a>)>,
}

/// A key as WATCH saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watched<'a> {
    pub database: u32,
    pub key: &'a [u8],
    pub version: KeyVersion,
}
