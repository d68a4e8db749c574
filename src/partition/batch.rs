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

/// The length of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    ops: usize,
    queries: usize,
    items: usize,
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

    pub(super) fn mark(&self) -> Mark {
        Mark { ops: self.ops.bytes(), queries: self.queries.len(), items: self.items.len() }
    }

    /// Bytes of ops behind the mark.
    pub(super) fn op_bytes_since(&self, mark: Mark) -> usize {
        self.ops.bytes() - mark.ops
    }

    /// Takes back everything behind the mark.
    pub(super) fn undo(&mut self, mark: Mark) {
        self.ops.truncate(mark.ops);
        self.queries.truncate(mark.queries);
        self.items.truncate(mark.items);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::value::Data;
    use crate::command::value::key::KeyWrite;
    use crate::command::value::string::StringQuery;

    fn get(key: &[u8]) -> Query<'_> {
        Query::String(StringQuery::Get { key })
    }

    #[test]
    fn queries_are_found_after_their_batch_was_absorbed() {
        let mut batch = Batch::default();
        batch.push_write(0, &Write::Key(KeyWrite::Persist { key: b"a" }), 1);
        batch.push_query(0, &get(b"first"), 2);
        let mut later = Batch::default();
        later.push_query(7, &get(b"second"), 3);
        later.push_pass(4);
        batch.absorb(later);
        let found = batch.items.iter().filter_map(|item| match item {
            Item::Query { tag, database, encoded } => {
                let query =
                    codec::decode_query(&batch.queries[encoded.clone()]).expect("it was encoded here");
                Some((*tag, *database, query))
            }
            _ => None,
        });
        assert_eq!(found.collect::<Vec<_>>(), [(2, 0, get(b"first")), (3, 7, get(b"second"))]);
        assert_eq!(batch.items.last(), Some(&Item::Pass(4)));
    }

    #[test]
    fn a_transaction_that_only_reads_is_not_logged() {
        let mut batch = Batch::default();
        let transaction =
            |commands: Vec<(u32, Data<'static>)>| Transaction::of_commands(Vec::new(), commands);
        let (reads, queries) = transaction(vec![(0, Data::Query(get(b"a")))]);
        batch.push_transaction(reads, &queries, 1);
        assert!(batch.is_unlogged() && !batch.is_empty() && batch.bytes() > 0);
        let persist = Data::Write(Write::Key(KeyWrite::Persist { key: b"a" }));
        let (writes, queries) = transaction(vec![(0, Data::Query(get(b"a"))), (0, persist)]);
        batch.push_transaction(writes, &queries, 2);
        assert!(!batch.is_unlogged());
        assert!(matches!(batch.items[..], [Item::ReadTransaction { .. }, Item::Transaction { .. }]));
    }

    #[test]
    #[should_panic(expected = "a logged batch is an entry of its own")]
    fn a_proposed_entry_does_not_grow() {
        let mut later = Batch::default();
        later.push_write(0, &Write::Key(KeyWrite::Persist { key: b"a" }), 1);
        Batch::default().absorb(later);
    }

    #[test]
    fn a_batch_that_is_used_again_holds_nothing_and_little_memory() {
        let mut batch = Batch::default();
        batch.push_query(0, &get(&vec![b'k'; 2 * RETAINED_BYTES_MAX]), 1);
        batch.carried.push(2);
        batch.reset();
        assert!(batch.is_empty() && batch.carried.is_empty() && batch.bytes() == 0);
        assert!(batch.queries.capacity() <= RETAINED_BYTES_MAX);
    }
}
