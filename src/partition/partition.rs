//! A partition on this node: its machine, the batch being gathered, the batches on their way through the log.

use crate::command::value::{Query, Write};
use crate::model::limits::BATCH_BYTES_MAX;
use crate::model::log::{LogIndex, PartitionId, ProposalId};
use crate::model::reply::{Reply, ReplyError};
use crate::model::time::TimeMs;
use crate::partition::batch::{Batch, Item};
use crate::state::effects::Effects;
use crate::state::machine::Machine;
use crate::state::op::Op;
use crate::state::op::batch::BatchReader;
use crate::state::op::codec;
use std::collections::VecDeque;

/// What [`Partition::seal`] closed.
pub enum Sealed<'a> {
    /// A log entry to commit.
    Entry(&'a [u8]),
    /// Something that needs no log: [`Partition::apply_unlogged`] is due.
    Unlogged,
    Nothing,
}

/// What a batch is finished with.
enum Applied<'a> {
    /// Its entry was committed at this index.
    Entry(LogIndex, &'a [u8]),
    /// It has none.
    Nothing { now: TimeMs },
}

/// `T` is the owner's ticket: it comes back with the reply.
pub struct Partition<T> {
    id: PartitionId,
    machine: Machine,
    open: Batch<T>,
    /// Batches that were full before they were sealed, to be sealed before the open one.
    full: VecDeque<Batch<T>>,
    /// Sealed batches in the order in which they were proposed, by the names of their proposals; one without ops has none.
    in_flight: VecDeque<(Option<ProposalId>, Batch<T>)>,
    /// Emptied batches, for their memory.
    spare: Vec<Batch<T>>,
}

impl<T> Partition<T> {
    pub fn new(id: PartitionId, machine: Machine) -> Self {
        Partition {
            id,
            machine,
            open: Batch::default(),
            full: VecDeque::new(),
            in_flight: VecDeque::new(),
            spare: Vec::new(),
        }
    }

    pub fn id(&self) -> PartitionId {
        self.id
    }

    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Replaces the machine by one that was rebuilt from disk. Nothing may be on its way.
    pub fn replace_machine(&mut self, machine: Machine) {
        assert!(self.is_idle(), "work is on its way through {:?}", self.id);
        self.machine = machine;
    }

    /// Puts a write into the open batch.
    pub fn write(&mut self, database: u32, write: &Write<'_>, ticket: T) {
        self.open.push_write(database, write, ticket);
        self.close_if_full();
    }

    /// Puts a transaction, or any other op, into the open batch.
    pub fn write_op(&mut self, op: &Op<'_>, ticket: T) {
        self.open.push_op(op, ticket);
        self.close_if_full();
    }

    fn close_if_full(&mut self) {
        if self.open.bytes() >= BATCH_BYTES_MAX {
            let next = self.spare.pop().unwrap_or_default();
            self.full.push_back(std::mem::replace(&mut self.open, next));
        }
    }

    /// Puts a query behind the writes of the open batch.
    pub fn ride(&mut self, database: u32, query: &Query<'_>, ticket: T) {
        self.open.push_query(database, query, ticket);
    }

    /// Bytes that the answer to a query takes which rides now, about: of what is applied, or of what is about to be.
    pub fn riding_bytes(&self, database: u32, now: TimeMs, query: &Query<'_>) -> usize {
        let unapplied: usize = {
            let in_flight = self.in_flight.iter().map(|(_, batch)| batch);
            self.full.iter().chain([&self.open]).chain(in_flight).map(Batch::bytes).sum()
        };
        self.machine.answer_bytes(database, now, query).max(unapplied)
    }

    /// Has the ticket come back when everything before it was applied.
    pub fn pass(&mut self, ticket: T) {
        self.open.push_pass(ticket);
    }

    /// Answers from applied state.
    pub fn query(&self, database: u32, now: TimeMs, query: &Query<'_>) -> Reply {
        self.machine.query(database, now, query)
    }

    pub fn has_open_work(&self) -> bool {
        !self.open.is_empty() || !self.full.is_empty()
    }

    pub fn is_idle(&self) -> bool {
        !self.has_open_work() && self.in_flight.is_empty()
    }

    /// Closes the oldest batch that is still open, stamped with the time at which its ops take place. An entry is to be
    /// proposed under the name that is given.
    pub fn seal(&mut self, now: TimeMs, proposal: ProposalId) -> Sealed<'_> {
        let mut sealed = match self.full.pop_front() {
            Some(full) => full,
            None if self.open.is_empty() => return Sealed::Nothing,
            None => std::mem::replace(&mut self.open, self.spare.pop().unwrap_or_default()),
        };
        if sealed.is_unlogged() {
            match self.in_flight.back_mut() {
                Some((_, last)) => last.absorb(sealed),
                None => self.in_flight.push_back((None, sealed)),
            }
            return Sealed::Unlogged;
        }
        sealed.ops_mut().seal(now);
        self.in_flight.push_back((Some(proposal), sealed));
        Sealed::Entry(self.in_flight.back().expect("pushed just now").1.entry())
    }

    /// Does what rides without a write before it that is not applied yet.
    pub fn apply_unlogged(
        &mut self,
        now: TimeMs,
        effects: &mut Effects,
        done: &mut impl FnMut(T, Reply, &mut Effects),
    ) {
        while self.in_flight.front().is_some_and(|(_, batch)| batch.is_unlogged()) {
            let (_, batch) = self.in_flight.pop_front().expect("looked at just now");
            self.finish(batch, Applied::Nothing { now }, effects, done);
        }
    }

    /// Applies a committed entry whose batch was sealed here. `done` may take the effects that have come up to then; what
    /// it leaves stays for the caller.
    pub fn apply_own(
        &mut self,
        proposal: ProposalId,
        index: LogIndex,
        entry: &[u8],
        effects: &mut Effects,
        done: &mut impl FnMut(T, Reply, &mut Effects),
    ) {
        let batch = self.take(proposal);
        self.finish(batch, Applied::Entry(index, entry), effects, done);
    }

    /// Gives up a batch whose proposal has ended without being committed.
    pub fn fail(&mut self, proposal: ProposalId, error: &ReplyError, done: &mut impl FnMut(T, Reply)) {
        fail_batch(self.take(proposal), error, done);
    }

    fn take(&mut self, proposal: ProposalId) -> Batch<T> {
        let at = self.in_flight.iter().position(|(of, _)| *of == Some(proposal));
        let taken = at.and_then(|at| self.in_flight.remove(at));
        taken.expect("a proposal that ends here was sealed here").1
    }

    /// Applies a committed entry that nobody here waits for: at recovery, or proposed by another node.
    pub fn apply_foreign(
        &mut self,
        index: LogIndex,
        entry: &[u8],
    ) -> Result<(), crate::base::wire::Malformed> {
        let mut ops = BatchReader::new(entry)?;
        self.machine.begin(index, ops.time());
        let mut effects = Effects::unwanted();
        while let Some(op) = ops.next()? {
            self.machine.apply(&op, &mut effects);
        }
        Ok(())
    }

    /// An entry without ops.
    pub fn skip(&mut self, index: LogIndex) {
        self.machine.skip(index);
    }

    /// Gives up everything that is on its way: the log does not take it any more.
    pub fn fail_all(&mut self, error: &ReplyError, done: &mut impl FnMut(T, Reply)) {
        let open = std::mem::take(&mut self.open);
        let in_flight = self.in_flight.drain(..).map(|(_, batch)| batch);
        for batch in in_flight.chain(self.full.drain(..)).chain([open]) {
            fail_batch(batch, error, done);
        }
    }

    fn finish(
        &mut self,
        mut batch: Batch<T>,
        applied: Applied<'_>,
        effects: &mut Effects,
        done: &mut impl FnMut(T, Reply, &mut Effects),
    ) {
        let (items, _, queries) = batch.parts();
        let mut ops = None;
        let now = match applied {
            Applied::Entry(index, entry) => {
                let reader = BatchReader::new(entry).expect("the batch was written here");
                self.machine.begin(index, reader.time());
                ops = Some(reader);
                self.machine.time()
            }
            Applied::Nothing { now } => now,
        };
        for item in items {
            match item {
                Item::Op(ticket) => {
                    let op = ops.as_mut().and_then(|ops| ops.next().expect("the batch was written here"));
                    let reply = self.machine.apply(&op.expect("one op for each item"), effects);
                    done(ticket, reply, effects);
                }
                Item::Query { ticket, database, encoded } => {
                    let query = codec::decode_query(&queries[encoded]).expect("the query was encoded here");
                    self.machine.note_misses(database, now, &query, effects);
                    done(ticket, self.machine.query(database, now, &query), effects);
                }
                Item::Pass(ticket) => done(ticket, Reply::OK, effects),
            }
        }
        batch.reset();
        if self.spare.len() < SPARE_BATCHES_MAX {
            self.spare.push(batch);
        }
    }
}

fn fail_batch<T>(mut batch: Batch<T>, error: &ReplyError, done: &mut impl FnMut(T, Reply)) {
    for item in batch.parts().0 {
        let (Item::Op(ticket) | Item::Query { ticket, .. } | Item::Pass(ticket)) = item;
        done(ticket, Reply::Error(error.clone()));
    }
}

/// One being written and one in reserve is what a round needs.
const SPARE_BATCHES_MAX: usize = 2;
