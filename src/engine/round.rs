//! Rounds: seal and propose the gathered ops, apply committed entries op by op.

use crate::base::wire::Reader;
use crate::command::value::Query;
use crate::engine::blocked_reads::BlockedId;
use crate::engine::engine::{Engine, Tag};
use crate::engine::submission::{NOT_COMMITTED, UNKNOWN};
use crate::engine::{blocking, carried, upkeep};
use crate::model::log::{LogIndex, PartitionId, ProposalId};
use crate::model::time::TimeMs;
use crate::partition::batch::Item;
use crate::partition::partition::{Partition, Sealed, Work};
use crate::replication::event::{CommitEvent, Payload};
use crate::state::answer::Answer;
use crate::state::effects::{Effects, Events, KeyEvent};
use crate::state::machine::EntryRun;
use crate::state::op::batch::CarriedRead;
use crate::state::op::{Op, Step, codec};
use bytes::Bytes;

impl Engine {
    /// Whether there is work to seal, or a blocked read asks for an entry.
    pub fn has_open_work(&self) -> bool {
        self.partitions.iter().any(|it| it.has_open_work() || self.blocked.is_asking_in(it.id()))
    }

    /// Seals the open batches, stamps them with the time of the log (the only clock read of a round) and
    /// proposes them. Returns the bytes proposed. Unlogged work runs at once if nothing before it is in flight.
    pub fn propose(&mut self) -> u64 {
        let now = self.now();
        let mut bytes = 0;
        for id in self.ids() {
            while self.committer.has_room(id) {
                let proposal = ProposalId(self.next_proposal);
                let carried = carried::choose(&self.blocked, self.partition(id));
                let blocked = &self.blocked;
                let encoded = carried.iter().map(|it| {
                    let group = blocked.get(it.id).and_then(|read| read.read.group());
                    let encoded = &group.expect("only group reads are carried").encoded;
                    (Tag::Blocked(it.id), CarriedRead { encoded, looks: it.looks })
                });
                match self.partitions[usize::from(id.0)].seal(now, proposal, encoded) {
                    Sealed::Entry(entry) => {
                        self.next_proposal += 1;
                        bytes += entry.len() as u64;
                        carried.iter().for_each(|it| self.blocked.carry(it.id));
                        self.committer.propose(id, proposal, entry);
                    }
                    Sealed::Unlogged => self.finish_unlogged(id, now),
                    Sealed::Nothing => break,
                }
            }
        }
        bytes
    }

    fn finish_unlogged(&mut self, id: PartitionId, now: TimeMs) {
        while let Some(work) = self.partition_mut(id).take_unlogged() {
            let mut effects = self.effects();
            self.stopwatch.start();
            for item in &work.items {
                match item {
                    Item::Op(tag) => panic!("{tag:?} needs the log"),
                    Item::Query { tag, database, encoded } => {
                        answer_behind(
                            self,
                            id,
                            *tag,
                            *database,
                            now,
                            &work.queries[encoded.clone()],
                            &mut effects,
                        );
                    }
                    Item::Transaction { tag, .. } => panic!("{tag:?} needs the log"),
                    Item::ReadTransaction { tag, encoded } => {
                        read_transaction(self, id, *tag, now, &work.queries[encoded.clone()], &mut effects);
                    }
                    Item::Pass(tag) => self.finish_lap(*tag, Answer::Done, &mut effects),
                }
            }
            self.partition_mut(id).recycle(work, Bytes::new());
        }
    }

    /// Handles the results of proposals, in log order of each partition.
    pub fn handle(&mut self, event: CommitEvent) {
        let (partition, applied) = (event.partition(), event.applied());
        match event {
            CommitEvent::Committed { partition, log_id, payload, proposal } => match (payload, proposal) {
                (Payload::Blank, _) => self.partition_mut(partition).skip(log_id.index),
                (Payload::Entry(entry), Some(proposal)) => {
                    let work = self.partition_mut(partition).take_committed(proposal, &entry);
                    self.apply(partition, log_id.index, entry, work);
                }
                (Payload::Entry(entry), None) => self.apply_foreign(partition, log_id.index, &entry),
            },
            CommitEvent::Refused { partition, proposal, .. } => self.end_refused(partition, proposal),
            CommitEvent::Unknown { partition, proposal } => self.end_unknown(partition, proposal),
            CommitEvent::Installed { partition, machine } => {
                self.partition_mut(partition).install(machine);
                keep_up(self, partition);
                let ids: Vec<BlockedId> = self.blocked.all().map(|(id, _)| id).collect();
                ids.into_iter().for_each(|id| blocking::look_again(self, id));
            }
            CommitEvent::GroupFailed { partition, reason } => {
                tracing::error!(partition = partition.0, reason, "the group of this partition has stopped");
            }
        }
        if let Some(index) = applied {
            self.committer.applied(partition, index);
        }
        let now = self.now();
        self.finish_unlogged(partition, now);
    }

    /// Applies an entry of another node, or of a local proposal that has already ended. No request waits for
    /// its answers, but reads may be blocked on its keys.
    fn apply_foreign(&mut self, id: PartitionId, index: LogIndex, entry: &[u8]) {
        let applied = self.partition_mut(id).apply_foreign(index, entry);
        applied.expect("a committed entry was written by an engine, and its record was checked");
        keep_up(self, id);
        let waiting: Vec<BlockedId> = self.blocked.all().map(|(id, _)| id).collect();
        waiting.into_iter().for_each(|id| blocking::look_again(self, id));
    }

    /// Applies a local entry op by op; after each op, serves the blocked reads that it made readable.
    fn apply(&mut self, id: PartitionId, index: LogIndex, entry: Bytes, mut work: Work<Tag>) {
        let mut effects = self.effects();
        self.stopwatch.start();
        let machine = self.partition_mut(id).machine_mut();
        let mut run = machine.begin_entry(index, &entry, &mut effects).expect("the entry was written here");
        let now = machine.time();
        let events = serve(self, id, &mut run, &work.carried, &mut effects);
        self.note_events(&events);
        let items = std::mem::take(&mut work.items);
        for item in &items {
            match item {
                Item::Op(tag) => apply_next(self, id, &mut run, *tag, &[], &work.carried, &mut effects),
                Item::Transaction { tag, queries } => {
                    let queries = queries_of(&work.queries[queries.clone()]);
                    apply_next(self, id, &mut run, *tag, &queries, &work.carried, &mut effects);
                }
                Item::Query { tag, database, encoded } => {
                    let encoded = &work.queries[encoded.clone()];
                    answer_behind(self, id, *tag, *database, now, encoded, &mut effects);
                }
                Item::ReadTransaction { tag, encoded } => {
                    read_transaction(self, id, *tag, now, &work.queries[encoded.clone()], &mut effects);
                }
                Item::Pass(tag) => self.finish_lap(*tag, Answer::Done, &mut effects),
            }
        }
        work.items = items;
        for tag in work.carried.drain(..) {
            if let Tag::Blocked(read) = tag {
                blocking::entry_applied(self, read);
            }
        }
        self.partition_mut(id).recycle(work, entry);
    }

    /// Finishes an item with its events, and lets the reads blocked on the affected keys look at the state.
    fn finish_lap(&mut self, tag: Tag, reply: Answer, effects: &mut Effects) {
        let events = self.end_lap(tag, reply, effects);
        self.note_events(&events);
    }

    /// Finishes an item. Gives what it has done, for [`Engine::note_events`].
    #[inline]
    fn end_lap(&mut self, tag: Tag, reply: Answer, effects: &mut Effects) -> Events {
        let nanoseconds = self.stopwatch.lap();
        self.note_lookups(effects.take_lookups());
        for discarded in effects.take_discarded() {
            self.context.disposal.free(discarded);
        }
        let events = effects.take();
        let heard = if self.interest.events { events.clone() } else { Events::NONE };
        self.finish(tag, reply, heard, nanoseconds);
        events
    }

    #[inline]
    fn note_events(&mut self, events: &[KeyEvent]) {
        if !events.is_empty() {
            note_some(self, events);
        }
    }

    /// A proposal is not in the log and never will be. The queries behind it depend on it and end with it;
    /// blocked reads stay.
    fn end_refused(&mut self, id: PartitionId, proposal: ProposalId) {
        let work = self.partition_mut(id).take_ended(proposal);
        for tag in work.items.into_iter().map(Item::tag).chain(work.carried) {
            match tag {
                Tag::Blocked(read) => blocking::wait_on(self, read),
                _ => self.finish(tag, Answer::Refused(NOT_COMMITTED), Events::NONE, 0),
            }
        }
    }

    /// A proposal may or may not be in the log. A blocked read that it carried may have received entries, so
    /// that read ends too.
    fn end_unknown(&mut self, id: PartitionId, proposal: ProposalId) {
        let work = self.partition_mut(id).take_ended(proposal);
        for tag in work.items.into_iter().map(Item::tag).chain(work.carried) {
            self.finish(tag, Answer::Refused(UNKNOWN), Events::NONE, 0);
        }
    }
}

/// Requests that wait to be sealed into entries.
pub fn gathered(engine: &Engine) -> usize {
    engine.partitions.iter().map(Partition::gathered).sum()
}

fn note_some(engine: &mut Engine, events: &[KeyEvent]) {
    blocking::note_events(engine, events);
    upkeep::delete_due(engine, events);
}

/// The machine may hold an entry of a node whose time is ahead.
fn keep_up(engine: &mut Engine, id: PartitionId) {
    let (time, at_us) = (engine.partition(id).read().time(), engine.context.clock.monotonic_us());
    engine.log_clock.keep_up(time, at_us);
}

/// Applies the next op of an entry, and serves the blocked reads that it made readable.
fn apply_next(
    engine: &mut Engine,
    id: PartitionId,
    run: &mut EntryRun<'_>,
    tag: Tag,
    queries: &[Step<Query<'_>>],
    carried: &[Tag],
    effects: &mut Effects,
) {
    let answer = engine.partition_mut(id).apply_next(run, queries, effects);
    let answer = answer.expect("the entry was written here").expect("one op for each item");
    let mut events = engine.end_lap(tag, answer, effects);
    if !run.is_quiet() {
        events.append(serve(engine, id, run, carried, effects));
    }
    // The carried reads came first: the others look at what these have left.
    engine.note_events(&events);
}

/// Serves the blocked reads of an entry that are due. Returns the events.
fn serve(
    engine: &mut Engine,
    id: PartitionId,
    run: &mut EntryRun<'_>,
    carried: &[Tag],
    effects: &mut Effects,
) -> Events {
    let mut events = Events::NONE;
    while let Some((number, answer)) = engine.partition_mut(id).machine_mut().serve_next(run, effects) {
        events.append(engine.end_lap(carried[number.0], answer, effects));
    }
    events
}

fn answer_behind(
    engine: &mut Engine,
    id: PartitionId,
    tag: Tag,
    database: u32,
    now: TimeMs,
    encoded: &[u8],
    effects: &mut Effects,
) {
    let query: Query<'_> = codec::decode_query(encoded).expect("the query was encoded here");
    let reply = engine.partition(id).answer(database, now, &query, effects);
    engine.finish_lap(tag, reply, effects);
}

/// Answers a read-only transaction.
fn read_transaction(
    engine: &mut Engine,
    id: PartitionId,
    tag: Tag,
    now: TimeMs,
    encoded: &[u8],
    effects: &mut Effects,
) {
    let mut reader = Reader::new(encoded);
    let op = codec::decode_op(&mut reader).expect("the transaction was encoded here");
    let Op::Transaction(transaction) = op else { panic!("{op:?} is no transaction") };
    let queries = codec::decode_queries(&mut reader).expect("the queries were encoded here");
    let partition = engine.partition(id);
    let reply = partition.query_transaction(&transaction.watched, &queries, now, effects);
    engine.finish_lap(tag, reply, effects);
}

fn queries_of(encoded: &[u8]) -> Vec<Step<Query<'_>>> {
    codec::decode_queries(&mut Reader::new(encoded)).expect("the queries were encoded here")
}
