//! One round's worth of work for a partition, and who waits for which part of it.

use crate::command::value::{Query, Write};
use crate::state::op::batch::BatchWriter;
use crate::state::op::codec;
use crate::state::op::{Op, Step, Transaction};
use std::ops::Range;

/// Ops that will be one log entry, and what rides behind them without being logged.
pub struct Batch<T> {
    ops: BatchWriter,
    /// Encoded queries, so that a batch borrows nothing from the connections.
    queries: Vec<u8>,
    items: Vec<Item<T>>,
}

/// What is done at its place when the batch is applied. `T` tells the owner who asked.
pub enum Item<T> {
    /// The next op of the entry.
    Op(T),
    /// A query that must see the writes before it.
    Query { ticket: T, database: u32, encoded: Range<usize> },
    /// The next op of the entry is a transaction with queries among its commands.
    Transaction { ticket: T, queries: Range<usize> },
    /// A transaction that only reads: its op, which is not logged, and its queries.
    ReadTransaction { ticket: T, encoded: Range<usize> },
    /// Nothing for the machine: the ticket comes back when everything before it was applied.
    Pass(T),
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Batch { ops: BatchWriter::default(), queries: Vec::new(), items: Vec::new() }
    }
}

impl<T> Batch<T> {
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Nothing in it needs the log.
    pub fn is_unlogged(&self) -> bool {
        self.ops.is_empty()
    }

    /// Bytes that will be logged.
    pub fn bytes(&self) -> usize {
        self.ops.bytes()
    }

    pub fn push_write(&mut self, database: u32, write: &Write<'_>, ticket: T) {
        self.ops.push_write(database, write);
        self.items.push(Item::Op(ticket));
    }

    pub fn push_query(&mut self, database: u32, query: &Query<'_>, ticket: T) {
        let start = self.queries.len();
        codec::encode_query(query, &mut self.queries);
        self.items.push(Item::Query { ticket, database, encoded: start..self.queries.len() });
    }

    /// A transaction and the queries among its commands. Without writes nothing of it is logged.
    pub fn push_transaction(&mut self, transaction: Transaction<'_>, queries: &[Step<Query<'_>>], ticket: T) {
        let is_logged = !transaction.writes.is_empty();
        let op = Op::Transaction(transaction);
        let start = self.queries.len();
        if is_logged {
            self.ops.push(&op);
        } else {
            codec::encode_op(&op, &mut self.queries);
        }
        codec::encode_queries(queries, &mut self.queries);
        let encoded = start..self.queries.len();
        self.items.push(match is_logged {
            true => Item::Transaction { ticket, queries: encoded },
            false => Item::ReadTransaction { ticket, encoded },
        });
    }

    pub fn push_pass(&mut self, ticket: T) {
        self.items.push(Item::Pass(ticket));
    }

    /// Everything of `later` behind what is here. Only for an unlogged `later`: an entry that was proposed cannot grow.
    pub fn absorb(&mut self, later: Batch<T>) {
        assert!(later.is_unlogged(), "a logged batch is an entry of its own");
        let moved = self.queries.len();
        self.queries.extend_from_slice(&later.queries);
        self.items.extend(later.items.into_iter().map(|item| match item {
            Item::Query { ticket, database, encoded } => {
                Item::Query { ticket, database, encoded: encoded.start + moved..encoded.end + moved }
            }
            Item::ReadTransaction { ticket, encoded } => {
                Item::ReadTransaction { ticket, encoded: encoded.start + moved..encoded.end + moved }
            }
            Item::Pass(ticket) => Item::Pass(ticket),
            Item::Op(_) | Item::Transaction { .. } => unreachable!("an unlogged batch has no op"),
        }));
    }

    pub fn ops_mut(&mut self) -> &mut BatchWriter {
        &mut self.ops
    }

    /// The log entry; the ops must have been sealed.
    pub fn entry(&self) -> &[u8] {
        self.ops.as_bytes()
    }

    /// The items to go through, the log entry, the encoded queries.
    pub fn parts(&mut self) -> (std::vec::Drain<'_, Item<T>>, &[u8], &[u8]) {
        (self.items.drain(..), self.ops.as_bytes(), &self.queries)
    }

    /// Empties the batch and keeps its memory, within reason.
    pub fn reset(&mut self) {
        self.ops.clear();
        self.queries.clear();
        self.items.clear();
        self.queries.shrink_to(RETAINED_BYTES_MAX);
    }
}

const RETAINED_BYTES_MAX: usize = 256 * 1024;
