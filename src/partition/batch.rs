//! One round's worth of work for a partition, and what each part of it was asked for.

use crate::command::value::{Query, Write};
use crate::partition::touched::Touched;
use crate::state::op::batch::BatchWriter;
use crate::state::op::codec;
use crate::state::op::{Op, Step, Transaction};
use std::ops::Range;

/// Ops that will be one log entry, and queries behind them that are not logged.
pub struct Batch<T> {
    pub(super) ops: BatchWriter,
    /// Encoded queries, so that a batch borrows nothing from the connections.
    pub(super) queries: Vec<u8>,
    pub(super) items: Vec<Item<T>>,
    /// Which keys the ops name, while reads are blocked.
    pub(super) touched: Touched,
    /// The blocked reads that the entry carries, in its order.
    pub(super) carried: Vec<T>,
}

/// What is done at its place when the batch is applied. `T` tells the owner what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item<T> {
    /// The next op of the entry.
    Op(T),
    /// A query that must see the writes before it.
    Query { tag: T, database: u32, encoded: Range<usize> },
    /// The next op of the entry is a transaction; the queries among its commands.
    Transaction { tag: T, queries: Range<usize> },
    /// A transaction that only reads: its op, which is not logged, and its queries.
    ReadTransaction { tag: T, encoded: Range<usize> },
    /// Nothing for the machine: the tag comes back when everything before it was applied.
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

    /// Nothing in it needs the log.
    pub fn is_unlogged(&self) -> bool {
        self.ops.is_empty()
    }

    /// Bytes that it holds: ops and queries.
    pub fn bytes(&self) -> usize {
        self.ops.bytes() + self.queries.len()
    }

    pub fn push_write(&mut self, database: u32, write: &Write<'_>, tag: T) {
        self.ops.push_write(database, write);
        self.items.push(Item::Op(tag));
    }

    pub fn push_op(&mut self, op: &Op<'_>, tag: T) {
        self.ops.push(op);
        self.items.push(Item::Op(tag));
    }

    pub fn push_query(&mut self, database: u32, query: &Query<'_>, tag: T) {
        let start = self.queries.len();
        codec::encode_query(query, &mut self.queries);
        self.items.push(Item::Query { tag, database, encoded: start..self.queries.len() });
    }

    /// A transaction and the queries among its commands. Without writes nothing of it is logged.
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

    /// Everything of `later` behind what is here. Only for an unlogged `later`: an entry that was proposed
    /// cannot grow.
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

    /// Empties the batch and keeps its memory, within reason.
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
