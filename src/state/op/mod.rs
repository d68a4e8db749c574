//! Ops: the log's requests to the machine, and their encoding.

pub mod batch;
pub mod codec;
mod codec_query;
mod codec_string;
mod codec_write;
mod tag;
#[cfg(test)]
pub mod random;

use crate::command::value::group::GroupRead;
use crate::command::value::{Data, Query, Write};
use crate::state::keyspace::KeyVersion;

/// One op of a batch: a client's command with the selected database.
#[derive(Debug, Clone, PartialEq)]
pub enum Op<'a> {
    Write {
        database: u32,
        write: Write<'a>,
    },
    Transaction(Transaction<'a>),
    /// XREADGROUP with BLOCK: a read that finds nothing is blocked for the rest of the entry. Read, not
    /// written: blocked reads are no ops any more.
    BlockingRead {
        database: u32,
        read: GroupRead<'a>,
    },
}

/// MULTI … EXEC as one op. Its answer is one answer per command, or a null array if a watched key has
/// changed.
///
/// The log holds only the writes. Queries change nothing, so only the node of the client knows them: it
/// passes them to the machine beside the op, and they see the writes before them. A transaction without
/// writes is not an op at all ([`crate::state::machine::Machine::query_transaction`]).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Transaction<'a> {
    pub watched: Vec<Watched<'a>>,
    /// In request order: steps ascend.
    pub writes: Vec<Step<Write<'a>>>,
}

/// A command of a transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct Step<C> {
    /// Its position among all commands of the machine, queries and writes, from 0.
    pub step: u32,
    pub database: u32,
    pub command: C,
}

impl<'a> Transaction<'a> {
    /// Splits the commands of a client, in request order, into logged and unlogged ones.
    pub fn of_commands(
        watched: Vec<Watched<'a>>,
        commands: impl IntoIterator<Item = (u32, Data<'a>)>,
    ) -> (Transaction<'a>, Vec<Step<Query<'a>>>) {
        let (mut writes, mut queries) = (Vec::new(), Vec::new());
        for (step, (database, command)) in (0..).zip(commands) {
            match command {
                Data::Write(command) => writes.push(Step { step, database, command }),
                Data::Query(command) => queries.push(Step { step, database, command }),
            }
        }
        (Transaction { watched, writes }, queries)
    }
}

/// A key as WATCH saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watched<'a> {
    pub database: u32,
    pub key: &'a [u8],
    pub version: KeyVersion,
}
