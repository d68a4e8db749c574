//! Rounds: what was gathered is sealed and proposed, what is committed is applied, op by op.

use crate::base::wire::Reader;
use crate::command::value::Query;
use crate::engine::blocked_reads::{BlockedId, BlockedState};
use crate::engine::engine::{Engine, Tag};
use crate::engine::submission::{NOT_COMMITTED, UNKNOWN};
use crate::engine::{blocking, upkeep};
use crate::model::log::{LogIndex, PartitionId, ProposalId};
use crate::model::time::TimeMs;
use crate::partition::batch::Item;
use crate::partition::partition::{Sealed, Work};
use crate::replication::event::{CommitEvent, Payload};
use crate::state::answer::Answer;
use crate::state::effects::Effects;
use crate::state::machine::Applied;
use crate::state::op::{Op, Step, codec};

/// Bytes of blocked reads that one entry carries at the most; the others look at the state when it was applied.
const CARRIED_BYTES_MAX: usize = 256 * 1024;

impl Engine {
    /// Whether there is something to seal that its committer has room for.
    pub fn has_open_work(&self) -> bool {
        self.partitions.iter().any(|it| it.has_open_work() && self.committer.has_room(it.id()))
    }

    /// Seals what is open, stamped with the time (the only clock read of a round), and proposes it. Returns the bytes
    /// proposed. What needs no log is done at once if nothing is in flight before it.
    pub fn propose(&mut self) -> u64 {
        let now = self.context.now();
        let mut bytes = 0;
        for id in self.ids() {
            while self.committer.has_room(id) {
                let proposal = ProposalId(self.next_proposal);
                let carried = self.carried(id);
                let blocked = &self.blocked;
                let encoded = carried.iter().map(|read| {
                    let group = blocked.get(*read).and_then(|it| it.read.group());
                    (Tag::Blocked(*read), &group.expect("only group reads are carried").encoded[..])
                });
                match self.partitions[usize::from(id.0)].seal(now, proposal, encoded) {
                    Sealed::Entry(entry) => {
                        self.next_proposal += 1;
                        bytes += entry.len() as u64;
                        for read in carried {
                            self.blocked.get_mut(read).expect("carried just now").state =
                                BlockedState::Carried(proposal);
                        }
                        self.committer.propose(id, proposal, entry);
                    }
                    Sealed::Unlogged => self.finish_unlogged(id, now),
                    Sealed::Nothing => break,
                }
            }
        }
        bytes
    }

    /// The blocked group reads that go with the batch which is sealed next: those on the keys that it names, first come
    /// first.
    fn carried(&self, id: PartitionId) -> Vec<BlockedId> {
        let touched = self.partition(id).touched();
        if self.blocked.is_empty() || touched.is_empty() {
            return Vec::new();
        }
        let mut found: Vec<BlockedId> = Vec::new();
        for (database, key, reads_max) in touched.keys() {
            found.extend(self.blocked.first_of_groups(database, key, reads_max));
        }
        if touched.is_any_database() {
            let all = self.blocked.all().filter(|(_, read)| touched.is_database(read.database));
            found.extend(all.filter(|(_, read)| read.may_be_carried()).map(|(id, _)| id));
        }
        found.sort_unstable();
        found.dedup();
        if cfg!(headwater_bug = "later_reader_first") {
            found.reverse();
        }
        let mut bytes = 0;
        found.retain(|read| {
            let group = self.blocked.get(*read).and_then(|it| it.read.group());
            let Some(group) = group else { return false };
            let is_here = blocking::single_partition(&self.router, &group.as_read()) == Some(id);
            bytes += group.encoded.len();
            is_here && bytes <= CARRIED_BYTES_MAX
        });
        found
    }

    fn finish_unlogged(&mut self, id: PartitionId, now: TimeMs) {
        while let Some(work) = self.partition_mut(id).take_unlogged() {
            let mut effects = self.effects();
            self.stopwatch.start();
            for item in &work.items {
                match item {
                    Item::Op(tag) => panic!("{tag:?} needs the log"),
                    Item::Query { tag, database, encoded } => {
                        self.answer_behind(
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
                        self.read_transaction(id, *tag, now, &work.queries[encoded.clone()], &mut effects);
                    }
                    Item::Pass(tag) => self.finish_lap(*tag, Answer::Done, &mut effects),
                }
            }
            self.partition_mut(id).recycle(work);
        }
    }

    /// Takes what became of proposals, in the order of the log of each partition.
    pub fn handle(&mut self, event: CommitEvent) {
        match event {
            CommitEvent::Committed { partition, log_id, payload, proposal } => {
                match (payload, proposal) {
                    (Payload::Blank, _) => self.partition_mut(partition).skip(log_id.index),
                    (Payload::Entry(entry), Some(proposal)) => {
                        let work = self.partition_mut(partition).take_committed(proposal, &entry);
                        self.apply(partition, log_id.index, &entry, proposal, work);
                    }
                    (Payload::Entry(entry), None) => self.apply_foreign(partition, log_id.index, &entry),
                }
                self.committer.applied(partition, log_id.index);
            }
            CommitEvent::Refused { partition, proposal, .. } => self.end_refused(partition, proposal),
            CommitEvent::Unknown { partition, proposal } => self.end_unknown(partition, proposal),
            CommitEvent::Installed { partition, machine } => {
                self.partition_mut(partition).install(machine);
                let ids: Vec<BlockedId> = self.blocked.all().map(|(id, _)| id).collect();
                ids.into_iter().for_each(|id| blocking::look_again(self, id));
            }
            CommitEvent::GroupFailed { partition, reason } => {
                tracing::error!(partition = partition.0, reason, "the group of this partition has stopped");
            }
        }
        let now = self.context.now();
        for id in self.ids() {
            self.finish_unlogged(id, now);
        }
    }

    /// An entry of another node, or of this one whose proposal has ended before: nobody waits for its answers, but reads may be
    /// blocked on its keys.
    fn apply_foreign(&mut self, id: PartitionId, index: LogIndex, entry: &[u8]) {
        let applied = self.partition_mut(id).apply_foreign(index, entry);
        applied.expect("a committed entry was written by an engine, and its record was checked");
        let waiting: Vec<BlockedId> = self.blocked.all().map(|(id, _)| id).collect();
        waiting.into_iter().for_each(|id| blocking::look_again(self, id));
    }

    /// Applies an own entry: op by op, and after each the blocked reads that it made readable.
    fn apply(
        &mut self,
        id: PartitionId,
        index: LogIndex,
        entry: &[u8],
        proposal: ProposalId,
        mut work: Work<Tag>,
    ) {
        self.current = Some(proposal);
        let mut effects = self.effects();
        self.stopwatch.start();
        let machine = self.partition_mut(id).machine_mut();
        let mut run = machine.begin_entry(index, entry, &mut effects).expect("the entry was written here");
        let now = machine.time();
        for item in std::mem::take(&mut work.items) {
            match item.clone() {
                Item::Op(tag) | Item::Transaction { tag, .. } => {
                    let beside = match &item {
                        Item::Transaction { queries, .. } => queries_of(&work.queries[queries.clone()]),
                        _ => Vec::new(),
                    };
                    let machine = self.partition_mut(id).machine_mut();
                    let applied = machine.apply_next(&mut run, &beside, &mut effects);
                    let applied = applied.expect("the entry was written here");
                    match applied.expect("one op for each item") {
                        Applied::Answered(reply) => self.finish_lap(tag, reply, &mut effects),
                        Applied::Blocked(number) => {
                            assert_eq!(
                                number.0,
                                work.carried.len(),
                                "numbers follow those of the reads carried"
                            );
                            work.carried.push(tag);
                            self.tell(effects.take(), None);
                        }
                    }
                    loop {
                        let machine = self.partition_mut(id).machine_mut();
                        let Some((number, reply)) = machine.serve_next(&mut run, &mut effects) else { break };
                        self.finish_lap(work.carried[number.0], reply, &mut effects);
                    }
                }
                Item::Query { tag, database, encoded } => {
                    self.answer_behind(id, tag, database, now, &work.queries[encoded], &mut effects);
                }
                Item::ReadTransaction { tag, encoded } => {
                    self.read_transaction(id, tag, now, &work.queries[encoded], &mut effects);
                }
                Item::Pass(tag) => self.finish_lap(tag, Answer::Done, &mut effects),
            }
        }
        self.current = None;
        for tag in work.carried.drain(..) {
            if let Tag::Blocked(read) = tag {
                blocking::entry_applied(self, read);
            }
        }
        self.partition_mut(id).recycle(work);
    }

    fn answer_behind(
        &mut self,
        id: PartitionId,
        tag: Tag,
        database: u32,
        now: TimeMs,
        encoded: &[u8],
        effects: &mut Effects,
    ) {
        let query: Query<'_> = codec::decode_query(encoded).expect("the query was encoded here");
        let reply = self.partition(id).answer(database, now, &query, effects);
        self.finish_lap(tag, reply, effects);
    }

    /// A transaction that only reads.
    fn read_transaction(
        &mut self,
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
        let machine = self.partition(id).read();
        let reply = machine.query_transaction(&transaction.watched, &queries, now, effects);
        self.finish_lap(tag, reply, effects);
    }

    /// Finishes an item with what it has done, and lets the reads that are blocked on the keys concerned look at them.
    fn finish_lap(&mut self, tag: Tag, reply: Answer, effects: &mut Effects) {
        let nanoseconds = self.stopwatch.lap();
        self.note_lookups(effects.take_lookups());
        let events = effects.take();
        if events.is_empty() {
            return self.finish(tag, reply, events, nanoseconds);
        }
        if self.interest.events {
            self.finish(tag, reply, events.clone(), nanoseconds);
        } else {
            self.finish(tag, reply, Vec::new(), nanoseconds);
        }
        blocking::note_events(self, self.current, &events);
        upkeep::delete_due(self, &events);
    }

    /// A proposal is not in the log and never will be. What was behind it was to see it, and ends with it; blocked reads stay.
    fn end_refused(&mut self, id: PartitionId, proposal: ProposalId) {
        let work = self.partition_mut(id).take_ended(proposal);
        for tag in work.items.into_iter().map(Item::tag).chain(work.carried) {
            match tag {
                Tag::Blocked(read) => blocking::wait_on(self, read),
                _ => self.finish(tag, Answer::Refused(NOT_COMMITTED), Vec::new(), 0),
            }
        }
    }

    /// A proposal may be in the log or not. A blocked read that went with it may have been given entries: it ends too.
    fn end_unknown(&mut self, id: PartitionId, proposal: ProposalId) {
        let work = self.partition_mut(id).take_ended(proposal);
        for tag in work.items.into_iter().map(Item::tag).chain(work.carried) {
            self.finish(tag, Answer::Refused(UNKNOWN), Vec::new(), 0);
        }
    }
}

fn queries_of(encoded: &[u8]) -> Vec<Step<Query<'_>>> {
    codec::decode_queries(&mut Reader::new(encoded)).expect("the queries were encoded here")
}
