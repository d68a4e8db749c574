//! A partition on this node: its machine, its open batches and its batches in flight.

use crate::base::wire::Malformed;
use crate::command::value::group::GroupRead;
use crate::command::value::{Query, Write};
use crate::model::limits::{BATCH_BYTES_MAX, OP_BYTES_MAX};
use crate::model::log::{LogIndex, PartitionId, ProposalId};
use crate::model::reply::ReplyError;
use crate::model::time::TimeMs;
use crate::partition::batch::{Batch, Item};
use crate::partition::looks::Looks;
use crate::partition::touched::Touched;
use crate::state::answer::Answer;
use crate::state::effects::Effects;
use crate::state::machine::{Answered, EntryRun, Machine, Queries};
use crate::state::op::batch::CarriedRead;
use crate::state::op::{Step, Transaction, Watched};
use crate::state::seen::ConsumerPath;
use crate::storage::journal::record::PAYLOAD_BYTES_MAX;
use bytes::Bytes;
use std::collections::VecDeque;

// A batch takes in an op while it is not full; the blocked reads and the committer's own bytes follow.
const _: () = assert!(BATCH_BYTES_MAX + OP_BYTES_MAX + (1 << 20) <= PAYLOAD_BYTES_MAX);

/// The result of [`Partition::seal`].
pub enum Sealed {
    /// A log entry to propose.
    Entry(Bytes),
    /// Work without ops: [`Partition::take_unlogged`] returns it as soon as nothing before it is in flight.
    Unlogged,
    Nothing,
}

/// A batch whose entry was proposed.
struct InFlight<T> {
    /// `None`: work without ops that waits for the batch before it.
    proposal: Option<ProposalId>,
    entry: Bytes,
    batch: Batch<T>,
}

impl<T> InFlight<T> {
    fn bytes(&self) -> usize {
        self.entry.len() + self.batch.bytes()
    }
}

/// Sealed work that is ready, in order.
pub struct Work<T> {
    pub items: Vec<Item<T>>,
    /// Encoded queries, for [`Item::Query`].
    pub queries: Vec<u8>,
    /// The blocked reads that the entry carried.
    pub carried: Vec<T>,
}

/// `T` is the owner's tag; it comes back with the answer.
///
/// Invariants: entries are applied in log order, each with the batch of its proposal, found by proposal id
/// and compared with the committed bytes; `bytes` counts open batches and batches in flight.
pub struct Partition<T> {
    id: PartitionId,
    machine: Machine,
    looks: Looks,
    open: Batch<T>,
    /// Full batches, to be sealed before the open one.
    full: VecDeque<Batch<T>>,
    in_flight: VecDeque<InFlight<T>>,
    /// Bytes of full batches and of those in flight.
    closed_bytes: usize,
    /// Empty batches, kept for their memory.
    spare: Vec<Batch<T>>,
    /// From this size on a batch takes in nothing more.
    batch_bytes_max: usize,
    /// A larger op is refused: it must fit into a record.
    op_bytes_max: usize,
}

impl<T> Partition<T> {
    pub fn new(id: PartitionId, machine: Machine) -> Self {
        Partition {
            id,
            machine,
            looks: Looks::default(),
            open: Batch::default(),
            full: VecDeque::new(),
            in_flight: VecDeque::new(),
            closed_bytes: 0,
            spare: Vec::new(),
            batch_bytes_max: BATCH_BYTES_MAX,
            op_bytes_max: OP_BYTES_MAX,
        }
    }

    /// For tests: small batches, so that a round makes several entries, and ops that are too large without
    /// gigabytes.
    pub fn set_bytes_max(&mut self, batch: usize, op: usize) {
        (self.batch_bytes_max, self.op_bytes_max) = (batch, op);
    }

    pub fn id(&self) -> PartitionId {
        self.id
    }

    /// The machine, for applying committed entries.
    pub fn machine_mut(&mut self) -> &mut Machine {
        &mut self.machine
    }

    /// Applies the next op of an entry: [`Machine::apply_next`].
    pub fn apply_next(
        &mut self,
        run: &mut EntryRun<'_>,
        queries: &[Step<Query<'_>>],
        effects: &mut Effects,
    ) -> Result<Option<Answer>, Malformed> {
        self.machine.apply_next(run, Queries { steps: queries, seen: &self.looks }, effects)
    }

    /// The one door for reads. All visible state is applied, and therefore committed.
    pub fn read(&self) -> &Machine {
        &self.machine
    }

    /// Answers from applied state. Of consumers it also knows the reads that are not in the log.
    pub fn query(&self, database: u32, now: TimeMs, query: &Query<'_>) -> Answered {
        self.machine.query(database, now, query, &self.looks)
    }

    /// Answers a transaction without writes: [`Machine::query_transaction`].
    pub fn query_transaction(
        &self,
        watched: &[Watched<'_>],
        queries: &[Step<Query<'_>>],
        now: TimeMs,
        effects: &mut Effects,
    ) -> Answer {
        let queries = Queries { steps: queries, seen: &self.looks };
        self.machine.query_transaction(watched, queries, now, effects)
    }

    /// An XREADGROUP that changes nothing is answered, or waits, without an op: its consumer was here.
    pub fn note_look(&mut self, database: u32, now: TimeMs, read: &GroupRead<'_>) {
        for (key, _) in &read.streams {
            let consumer = ConsumerPath { database, key, group: read.group, consumer: read.consumer };
            if let Some(logged) = self.machine.seen_at(now, consumer) {
                self.looks.note(consumer, logged, now);
            }
        }
    }

    /// Replaces the machine after a rebuild from disk or a snapshot. Open batches and batches in flight continue
    /// on the new one: a proposal may have been made before the engine heard of the snapshot.
    pub fn install(&mut self, machine: Machine) {
        assert!(machine.applied() >= self.machine.applied(), "a snapshot takes nothing back");
        self.machine = machine;
    }

    /// Adds a write to the open batch. `notes_keys`: reads are blocked and may have to go with the entry.
    pub fn write(
        &mut self,
        database: u32,
        write: &Write<'_>,
        notes_keys: bool,
        tag: T,
    ) -> Result<(), ReplyError> {
        self.push(|open| open.push_write(database, write, tag))?;
        if notes_keys {
            self.open.touched.note_write(database, write);
        }
        self.close_if_full();
        Ok(())
    }

    /// Adds an op to the open batch, unless no record could hold it.
    fn push(&mut self, push: impl FnOnce(&mut Batch<T>)) -> Result<(), ReplyError> {
        let mark = self.open.mark();
        push(&mut self.open);
        let bytes = self.open.op_bytes_since(mark);
        if bytes > self.op_bytes_max {
            self.open.undo(mark);
            return Err(too_large(bytes, self.op_bytes_max));
        }
        Ok(())
    }

    fn close_if_full(&mut self) {
        if self.open.bytes() >= self.batch_bytes_max {
            let next = self.spare.pop().unwrap_or_default();
            self.closed_bytes += self.open.bytes();
            self.full.push_back(std::mem::replace(&mut self.open, next));
        }
    }

    /// Adds a transaction to the open batch, with the queries among its commands.
    pub fn transact(
        &mut self,
        transaction: Transaction<'_>,
        queries: &[Step<Query<'_>>],
        notes_keys: bool,
        tag: T,
    ) -> Result<(), ReplyError> {
        let writes = if notes_keys { transaction.writes.clone() } else { Vec::new() };
        self.push(|open| open.push_transaction(transaction, queries, tag))?;
        writes.iter().for_each(|it| self.open.touched.note_write(it.database, &it.command));
        self.close_if_full();
        Ok(())
    }

    /// Queues a query behind the writes of the open batch.
    pub fn query_behind(&mut self, database: u32, query: &Query<'_>, tag: T) {
        self.open.push_query(database, query, tag);
    }

    /// Returns the tag after everything before it was applied.
    pub fn pass(&mut self, tag: T) {
        self.open.push_pass(tag);
    }

    /// Bytes of open batches and batches in flight.
    pub fn bytes(&self) -> usize {
        self.open.bytes() + self.closed_bytes
    }

    /// Bytes that the machine will grow by: those of the ops, and of a key for each, which outweighs a small op.
    pub fn growth(&self) -> usize {
        let in_flight = self.in_flight.iter().map(|it| &it.batch);
        let items: usize = in_flight.chain(&self.full).chain([&self.open]).map(|it| it.items.len()).sum();
        self.bytes() + items * KEY_BYTES
    }

    pub fn has_open_work(&self) -> bool {
        !self.open.is_empty() || !self.full.is_empty()
    }

    /// Requests in the open batch, if it needs the log.
    pub fn gathered(&self) -> usize {
        if self.open.is_unlogged() { 0 } else { self.open.items.len() }
    }

    pub fn has_in_flight(&self) -> bool {
        !self.in_flight.is_empty()
    }

    pub fn is_idle(&self) -> bool {
        !self.has_open_work() && !self.has_in_flight()
    }

    /// The keys named by the batch that is sealed next.
    pub fn touched(&self) -> &Touched {
        &self.full.front().unwrap_or(&self.open).touched
    }

    /// Closes the oldest open batch. Its ops are stamped with `now`; `carried` are the blocked reads that go
    /// with them. They are reason enough for an entry: it may have no ops.
    pub fn seal<'b>(
        &mut self,
        now: TimeMs,
        proposal: ProposalId,
        carried: impl Iterator<Item = (T, CarriedRead<'b>)>,
    ) -> Sealed {
        let mut carried = carried.peekable();
        let carries = carried.peek().is_some();
        let mut batch = match self.full.pop_front() {
            Some(full) => {
                self.closed_bytes -= full.bytes();
                full
            }
            None if self.open.is_empty() && !carries => return Sealed::Nothing,
            None => std::mem::replace(&mut self.open, self.spare.pop().unwrap_or_default()),
        };
        if batch.is_unlogged() && !carries {
            self.closed_bytes += batch.bytes();
            match self.in_flight.back_mut() {
                Some(last) => last.batch.absorb(batch),
                None => self.in_flight.push_back(InFlight { proposal: None, entry: Bytes::new(), batch }),
            }
            return Sealed::Unlogged;
        }
        let Batch { ops, carried: tags, .. } = &mut batch;
        ops.seal(
            now,
            carried.map(|(tag, read)| {
                tags.push(tag);
                read
            }),
        );
        let entry = Bytes::from(ops.take());
        let sealed = InFlight { proposal: Some(proposal), entry: entry.clone(), batch };
        self.closed_bytes += sealed.bytes();
        self.in_flight.push_back(sealed);
        Sealed::Entry(entry)
    }

    /// Work without ops, if nothing before it is in flight.
    pub fn take_unlogged(&mut self) -> Option<Work<T>> {
        let front = self.in_flight.front()?;
        if front.proposal.is_some() {
            return None;
        }
        let unlogged = self.in_flight.pop_front()?;
        self.closed_bytes -= unlogged.bytes();
        Some(self.work(unlogged.batch))
    }

    /// The work of a committed proposal. Asserts that its entry consists of the proposed bytes.
    pub fn take_committed(&mut self, proposal: ProposalId, entry: &[u8]) -> Work<T> {
        let InFlight { entry: proposed, batch, .. } =
            self.take(proposal).expect("a proposal ends once: its batch is in flight");
        assert!(
            std::ptr::eq(proposed.as_ptr(), entry.as_ptr()) && proposed.len() == entry.len()
                || proposed[..] == *entry,
            "the entry of {proposal:?} was proposed here and committed as something else"
        );
        self.work(batch)
    }

    /// The work of a proposal that was not committed. The queries and passes behind it depend on it and end
    /// with it.
    pub fn take_ended(&mut self, proposal: ProposalId) -> Work<T> {
        let ended = self.take(proposal).expect("a proposal ends once: its batch is in flight");
        self.work(ended.batch)
    }

    fn take(&mut self, proposal: ProposalId) -> Option<InFlight<T>> {
        let at = self.in_flight.iter().position(|it| it.proposal == Some(proposal))?;
        let taken = self.in_flight.remove(at)?;
        self.closed_bytes -= taken.bytes();
        Some(taken)
    }

    fn work(&mut self, mut batch: Batch<T>) -> Work<T> {
        let work = Work {
            items: std::mem::take(&mut batch.items),
            queries: std::mem::take(&mut batch.queries),
            carried: std::mem::take(&mut batch.carried),
        };
        batch.reset();
        if self.spare.len() < SPARE_BATCHES_MAX {
            self.spare.push(batch);
        }
        work
    }

    /// Keeps the memory of finished work for the next batch: that of its entry too, unless somebody else
    /// still refers to it.
    pub fn recycle(&mut self, work: Work<T>, mut entry: Bytes) {
        if let Some(spare) = self.spare.last_mut() {
            (spare.items, spare.queries, spare.carried) = (work.items, work.queries, work.carried);
            spare.reset();
            entry.clear();
            spare.ops.reuse(entry.into());
        }
    }

    /// The tags of everything open or in flight, including the blocked reads carried, after the log has failed.
    pub fn abandon(&mut self) -> Vec<T> {
        self.closed_bytes = 0;
        let open = std::mem::take(&mut self.open);
        let in_flight = self.in_flight.drain(..).map(|it| it.batch);
        let batches = in_flight.chain(self.full.drain(..)).chain([open]);
        batches.flat_map(|it| it.items.into_iter().map(Item::tag).chain(it.carried)).collect()
    }

    /// Applies an entry without waiting requests: at recovery, or proposed by another node.
    pub fn apply_foreign(&mut self, index: LogIndex, entry: &[u8]) -> Result<(), Malformed> {
        self.machine.apply_entry(index, entry)
    }

    /// Advances over an entry without ops.
    pub fn skip(&mut self, index: LogIndex) {
        self.machine.skip(index);
    }

    /// Answers a query when its turn in the batch has come.
    pub fn answer(&self, database: u32, now: TimeMs, query: &Query<'_>, effects: &mut Effects) -> Answer {
        self.machine.note_misses(database, now, query, effects);
        let Answered { answer, lookups } = self.query(database, now, query);
        effects.add_lookups(lookups);
        answer
    }
}

fn too_large(bytes: usize, max: usize) -> ReplyError {
    ReplyError::owned(format!(
        "ERR the request or transaction takes {bytes} bytes in the log, and one may take {max}"
    ))
}

/// Memory of a new key with a short name and value, about: 185 bytes for a string, 655 for a stream.
const KEY_BYTES: usize = 400;

/// A round needs one in flight and one in reserve.
const SPARE_BATCHES_MAX: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::value::string::StringWrite;

    fn partition() -> Partition<u32> {
        Partition::new(PartitionId(0), Machine::new())
    }

    fn set(partition: &mut Partition<u32>, key: &[u8], tag: u32) {
        let write = Write::String(StringWrite::SetIfAbsent { key, value: b"v" });
        partition.write(0, &write, false, tag).expect("it is small");
    }

    fn seal(partition: &mut Partition<u32>, proposal: u64) -> Bytes {
        match partition.seal(TimeMs(1), ProposalId(proposal), std::iter::empty()) {
            Sealed::Entry(entry) => entry,
            _ => panic!("there are ops to seal"),
        }
    }

    #[test]
    fn a_refused_proposal_does_not_shift_those_behind_it() {
        let mut partition = partition();
        set(&mut partition, b"a", 1);
        seal(&mut partition, 1);
        set(&mut partition, b"b", 2);
        let second = seal(&mut partition, 2);
        assert_eq!(partition.take_ended(ProposalId(1)).items, [Item::Op(1)]);
        assert_eq!(partition.take_committed(ProposalId(2), &second).items, [Item::Op(2)]);
        assert!(partition.is_idle());
    }

    #[test]
    #[should_panic(expected = "committed as something else")]
    fn an_entry_that_is_not_what_was_proposed_stops_everything() {
        let mut partition = partition();
        set(&mut partition, b"a", 1);
        seal(&mut partition, 1);
        set(&mut partition, b"b", 2);
        let second = seal(&mut partition, 2);
        partition.take_committed(ProposalId(1), &second);
    }

    #[test]
    fn work_without_ops_waits_for_what_is_in_flight_before_it() {
        let mut partition = partition();
        partition.pass(1);
        assert!(matches!(partition.seal(TimeMs(1), ProposalId(9), std::iter::empty()), Sealed::Unlogged));
        assert_eq!(partition.take_unlogged().unwrap().items, [Item::Pass(1)]);
        set(&mut partition, b"a", 2);
        let entry = seal(&mut partition, 1);
        partition.pass(3);
        assert!(matches!(partition.seal(TimeMs(1), ProposalId(9), std::iter::empty()), Sealed::Unlogged));
        assert!(partition.take_unlogged().is_none());
        assert!(partition.bytes() > 0);
        let work = partition.take_committed(ProposalId(1), &entry);
        assert_eq!(work.items, [Item::Op(2), Item::Pass(3)]);
        assert_eq!((partition.bytes(), partition.is_idle()), (0, true));
    }

    #[test]
    fn an_op_that_no_record_could_hold_is_refused_and_leaves_nothing_behind() {
        let mut partition = partition();
        set(&mut partition, b"a", 1);
        partition.pass(2);
        let bytes = partition.bytes();
        partition.set_bytes_max(BATCH_BYTES_MAX, 100);
        let value = vec![b'v'; 100];
        let write = Write::String(StringWrite::SetIfAbsent { key: b"b", value: &value });
        let refused = partition.write(0, &write, true, 3).unwrap_err();
        assert!(refused.as_bytes().ends_with(b"and one may take 100"), "{refused:?}");
        assert!(partition.touched().is_empty());
        let step = |step, value| Step {
            step,
            database: 0,
            command: Write::String(StringWrite::SetIfAbsent { key: b"c", value }),
        };
        let transaction =
            Transaction { watched: Vec::new(), writes: vec![step(0, &value[..60]), step(1, &value[..60])] };
        partition.transact(transaction, &[], true, 4).unwrap_err();
        assert_eq!(partition.bytes(), bytes);
        set(&mut partition, b"d", 5);
        let entry = seal(&mut partition, 1);
        let work = partition.take_committed(ProposalId(1), &entry);
        assert_eq!(work.items, [Item::Op(1), Item::Pass(2), Item::Op(5)]);
    }

    #[test]
    fn blocked_reads_alone_make_an_entry() {
        let mut partition = partition();
        let read = CarriedRead { encoded: b"", looks: true };
        let sealed = partition.seal(TimeMs(1), ProposalId(1), [(7, read)].into_iter());
        let Sealed::Entry(entry) = sealed else { panic!("there is a read to carry") };
        let work = partition.take_committed(ProposalId(1), &entry);
        assert_eq!((work.items, work.carried), (vec![], vec![7]));
        assert!(partition.is_idle());
    }

    #[test]
    fn what_is_abandoned_comes_back_in_its_order() {
        let mut partition = partition();
        set(&mut partition, b"a", 1);
        seal(&mut partition, 1);
        set(&mut partition, b"b", 2);
        partition.pass(3);
        assert_eq!(partition.abandon(), [1, 2, 3]);
        assert!(partition.is_idle());
    }
}
