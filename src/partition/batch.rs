//! One round of work for a partition, with the tag of each part.

use crate::command::value::{Query, Write};
use crate::partition::touched::Touched;
use crate::state::op::batch::BatchWriter;
use crate::state::op::codec;
use crate::state::op::{Op, Step, Transaction};
use std::ops::Range;

/// Ops that become one log entry, and the unlogged queries behind them.
pub struct Batch<T> {
    pub(super) ops: BatchWriter,
    /// Encoded queries: a batch borrows nothing from the connections.
    pub(super) queries: Vec<u8>,
    pub(super) items: Vec<Item<T>>,
    /// The keys that the ops name; kept while reads are blocked.
    pub(super) touched: Touched,
    /// The blocked reads that the entry carries, in order.
    pub(super) carried: Vec<T>,
}

/// One step of applying the batch. The owner recognizes its request by `T`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item<T> {
    /// The next op of the entry.
    Op(T),
    /// A query that must see the writes before it.
    Query { tag: T, database: u32, encoded: Range<usize> },
    /// The next op of the entry is a transaction; the queries among its commands.
    Transaction { tag: T, queries: Range<usize> },
    /// A read-only transaction: its unlogged op and its queries.
    ReadTransaction { tag: T, encoded: Range<usize> },
    /// No work for the machine: the tag comes back after everything before it was applied.
    Pass(T),
}

impl<T> Item<T> {
    pub fn tag(self) -> T {
        match self {
            Item::Op(tag)
            | Item::Query { tag, .. }
            | Item::Transaction { tag, .. }
            | Item::ReadTransaction { tag, .. }
            | Item::Pass(tag) => tag,
        }
    }
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Batch {
            ops: BatchWriter::default(),
            queries: Vec::new(),
            items: Vec::new(),
            touched: Touched::default(),
            carried: Vec::new(),
        }
    }
}

impl<T> Batch<T> {
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Nothing in the batch needs the log.
    pub fn is_unlogged(&self) -> bool {
        self.ops.is_empty()
    }

    /// Bytes of its ops and queries.
    pub fn bytes(&self) -> usize {
        self.ops.bytes() + self.queries.len()
    }

    pub fn push_write(&mut self, database: u32, write: &Write<'_>, tag: T) {
        self.ops.push_write(database, write);
        self.items.push(Item::Op(tag));
    }

    pub fn push_query(&mut self, database: u32, query: &Query<'_>, tag: T) {
        let start = self.queries.len();
        codec::encode_query(query, &mut self.queries);
        self.items.push(Item::Query { tag, database, encoded: start..self.queries.len() });
    }

    /// Adds a transaction and the queries among its commands. Without writes it is not logged.
    pub fn push_transaction(&mut self, transaction: Transaction<'_>, queries: &[Step<Query<'_>>], tag: T) {
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
            true => Item::Transaction { tag, queries: encoded },
            false => Item::ReadTransaction { tag, encoded },
        });
    }

    pub fn push_pass(&mut self, tag: T) {
        self.items.push(Item::Pass(tag));
    }

    /// Appends an unlogged `later`. A proposed entry cannot grow.
    pub fn absorb(&mut self, later: Batch<T>) {
        assert!(later.is_unlogged(), "a logged batch is an entry of its own");
        let moved = self.queries.len();
        self.queries.extend_from_slice(&later.queries);
        self.items.extend(later.items.into_iter().map(|item| match item {
            Item::Query { tag, database, encoded } => {
                Item::Query { tag, database, encoded: encoded.start + moved..encoded.end + moved }
            }
            Item::ReadTransaction { tag, encoded } => {
                Item::ReadTransaction { tag, encoded: encoded.start + moved..encoded.end + moved }
            }
            other => other,
        }));
    }

    /// Empties the batch and keeps its memory up to a bound.
    pub(super) fn reset(&mut self) {
        self.ops.clear();
        self.queries.clear();
        self.items.clear();
        self.touched.clear();
        self.carried.clear();
        self.queries.shrink_to(RETAINED_BYTES_MAX);
    }
}

const RETAINED_BYTES_MAX: usize = 256 * 1024;
