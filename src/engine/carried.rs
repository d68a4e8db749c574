//! The choice of the blocked reads that go with an entry.
//!
//! The machine serves the reads of an entry in arrival order, so the order of service is right if an entry
//! carries no read without those that came earlier to one of its queues. A queue is a group on a key; a read
//! of several keys stands in several. Two rules follow:
//!
//! * With a read go all that wait in front of it.
//! * Behind a read that is in another entry nobody goes: it may come back unserved, and comes first then.

use crate::engine::blocked_reads::{BlockedId, BlockedRead, BlockedReads, BlockedState, Queue};
use crate::engine::engine::Tag;
use crate::model::log::PartitionId;
use crate::partition::partition::Partition;
use crate::partition::touched::Touched;
use std::collections::{BTreeMap, BTreeSet};

/// Maximum bytes of blocked reads that one entry carries; the others look at the state after it.
const CARRIED_BYTES_MAX: usize = 256 * 1024;

/// A read that goes with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carried {
    pub id: BlockedId,
    /// The read is tried when the entry begins: it asks, or has missed something, or is in front of such a
    /// read, or entries in flight may have something for it.
    pub looks: bool,
}

/// The reads that go with the next entry of a partition, in arrival order: those that ask, and the first ones
/// on the keys that the ops of the entry name.
pub fn choose(blocked: &BlockedReads, partition: &Partition<Tag>) -> Vec<Carried> {
    choose_for(blocked, partition.id(), partition.touched(), partition.has_in_flight())
}

fn choose_for(
    blocked: &BlockedReads,
    partition: PartitionId,
    touched: &Touched,
    has_in_flight: bool,
) -> Vec<Carried> {
    if blocked.is_empty() || touched.is_empty() && !blocked.is_asking_in(partition) {
        return Vec::new();
    }
    let waiting = Choice { blocked, partition, looks: false };
    let waiting = waiting.with_those_in_front(waiting.first_on(touched));
    let has_missed = |id: &BlockedId| blocked.get(*id).is_some_and(|read| read.has_missed);
    let missed = waiting.iter().copied().filter(has_missed);
    let looking = Choice { blocked, partition, looks: true };
    let looking = looking.with_those_in_front(blocked.asking_in(partition).chain(missed).collect());
    let all: BTreeSet<BlockedId> = looking.union(&waiting).copied().collect();
    let looks = |id| has_in_flight || looking.contains(&id);
    let mut chosen: Vec<Carried> = all.into_iter().map(|id| Carried { id, looks: looks(id) }).collect();
    cut(blocked, &mut chosen);
    if cfg!(headwater_bug = "later_reader_first") {
        chosen.reverse();
    }
    chosen
}

/// One kind of choice: of the reads that look, or of those that wait for an op.
struct Choice<'a> {
    blocked: &'a BlockedReads,
    partition: PartitionId,
    looks: bool,
}

impl<'a> Choice<'a> {
    /// The first reads in each queue on the touched keys, as many as the ops may serve.
    fn first_on(&self, touched: &Touched) -> BTreeSet<BlockedId> {
        let mut found = BTreeSet::new();
        for (database, key, reads_max) in touched.keys() {
            for queue in self.blocked.queues(database, key) {
                let reads = self.blocked.in_queue(queue).take_while(|(_, read)| !self.is_bar(read));
                let reads = reads.filter(|(_, read)| read.may_be_carried_in(self.partition));
                found.extend(reads.take(reads_max).map(|(id, _)| id));
            }
        }
        if touched.is_any_database() {
            let reads = self.blocked.all().filter(|(_, read)| touched.is_database(read.database));
            found.extend(reads.filter(|(_, read)| read.may_be_carried_in(self.partition)).map(|(id, _)| id));
        }
        found
    }

    /// Adds the reads in front of these in any of their queues, and those in front of them, and so on; takes
    /// away those that have a bar in front of them.
    ///
    /// From the last read to the first, each queue is gone through once: what it adds came earlier.
    fn with_those_in_front(&self, mut left: BTreeSet<BlockedId>) -> BTreeSet<BlockedId> {
        let mut found = BTreeSet::new();
        let mut bars: BTreeMap<Queue<'a>, Option<BlockedId>> = BTreeMap::new();
        while let Some(last) = left.pop_last() {
            found.insert(last);
            for queue in self.queues_of(last) {
                if bars.contains_key(&queue) {
                    continue;
                }
                let mut bar = None;
                for (id, read) in self.blocked.in_queue(queue).take_while(|(id, _)| *id < last) {
                    if self.is_bar(read) {
                        bar = Some(id);
                        break;
                    }
                    if read.may_be_carried_in(self.partition) {
                        left.insert(id);
                    }
                }
                bars.insert(queue, bar);
            }
        }
        // Who cannot go is a bar for those behind it.
        found.retain(|id| {
            let is_barred = self.queues_of(*id).any(|queue| bars[&queue].is_some_and(|bar| bar < *id));
            if is_barred {
                for queue in self.queues_of(*id) {
                    let bar = bars.get_mut(&queue).expect("gone through above");
                    *bar = Some(bar.map_or(*id, |bar| bar.min(*id)));
                }
            }
            !is_barred
        });
        found
    }

    fn queues_of(&self, id: BlockedId) -> impl Iterator<Item = Queue<'a>> + use<'a> {
        self.blocked.get(id).into_iter().flat_map(BlockedRead::queues)
    }

    /// Whether nobody behind the read goes. A read over several partitions that waits has seen nothing to
    /// read, so it lets those through that have.
    fn is_bar(&self, read: &BlockedRead) -> bool {
        let waits_elsewhere = read.home != Some(self.partition) && !read.is_forbidden && !self.looks;
        read.state != BlockedState::Waiting || waits_elsewhere
    }
}

/// Keeps as many of the first reads as fit. One that asks has to be among them: otherwise the first one that
/// asks goes alone.
fn cut(blocked: &BlockedReads, chosen: &mut Vec<Carried>) {
    let bytes_of = |it: &Carried| {
        let group = blocked.get(it.id).and_then(|read| read.read.group());
        group.map_or(0, |group| group.encoded.len())
    };
    let mut bytes = 0;
    let fitting = chosen.iter().take_while(|it| {
        bytes += bytes_of(it);
        bytes <= CARRIED_BYTES_MAX
    });
    let fitting = fitting.count();
    match chosen.iter().position(|it| it.looks && blocked.is_asking(it.id)) {
        Some(first) if first >= fitting => *chosen = vec![chosen[first]],
        _ => chosen.truncate(fitting),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::value::Write;
    use crate::command::value::group::{GroupRead, GroupReadFrom};
    use crate::command::value::key::KeyWrite;
    use crate::command::value::stream::{Add, NewId, ReadLimits};
    use crate::engine::blocked_reads::{AnyRead, OwnedGroupRead};
    use crate::model::args::ArgList;
    use crate::model::request::{ConnectionId, RequestId};

    const P: PartitionId = PartitionId(0);

    #[derive(Default)]
    struct Table {
        blocked: BlockedReads,
        touched: Touched,
        requests: u64,
    }

    impl Table {
        fn wait(&mut self, group: &str, keys: &[&str], home: Option<PartitionId>) -> BlockedId {
            let read = GroupRead {
                group: group.as_bytes(),
                consumer: b"c",
                limits: ReadLimits::default(),
                claim: None,
                no_ack: false,
                streams: keys.iter().map(|key| (key.as_bytes(), GroupReadFrom::New)).collect(),
            };
            self.requests += 1;
            let connection = ConnectionId { number: self.requests, place: 0 };
            let request = RequestId { connection, reply_slot: 0 };
            let read = AnyRead::Group(OwnedGroupRead::new(0, &read));
            self.blocked.register(request, 0, read, home, None)
        }

        fn add(&mut self, key: &str) {
            let fields = ArgList::Packed { count: 2, bytes: b"\x01a\x01b" };
            let (key, id) = (key.as_bytes(), NewId::Auto);
            let add = Add { key, make_stream: true, id, trim: None, idempotency: None, fields };
            self.touched.note_write(0, &Write::Add(add));
        }

        fn chosen(&self) -> Vec<(BlockedId, bool)> {
            self.chosen_behind(false)
        }

        fn chosen_behind(&self, has_in_flight: bool) -> Vec<(BlockedId, bool)> {
            let chosen = choose_for(&self.blocked, P, &self.touched, has_in_flight);
            chosen.into_iter().map(|it| (it.id, it.looks)).collect()
        }
    }

    #[test]
    fn an_entry_carries_the_first_of_each_group() {
        let mut table = Table::default();
        let [first, second] = [["s"].as_slice(), &["s", "t"]].map(|keys| table.wait("g", keys, Some(P)));
        let other = table.wait("h", &["s"], Some(P));
        table.add("s");
        assert_eq!(table.chosen(), [(first, false), (other, false)]);
        table.add("s");
        assert_eq!(table.chosen(), [(first, false), (second, false), (other, false)]);
        assert_eq!(table.chosen_behind(true), [(first, true), (second, true), (other, true)]);
        let request = table.blocked.get(other).unwrap().request;
        table.blocked.forbid(request, true);
        table.blocked.forbid(table.blocked.get(first).unwrap().request, true);
        assert_eq!(table.chosen(), [(second, false)]);
    }

    #[test]
    fn nobody_goes_behind_a_read_that_is_in_another_entry() {
        let mut table = Table::default();
        let [first, second, third] =
            [["s"].as_slice(), &["s", "t"], &["t"]].map(|keys| table.wait("g", keys, Some(P)));
        table.blocked.ask(third);
        table.blocked.ask(second);
        table.add("s");
        assert_eq!(table.chosen(), [(first, true), (second, true), (third, true)]);
        table.blocked.carry(first);
        assert_eq!(table.chosen(), []);
        table.blocked.get_mut(first).unwrap().state = BlockedState::Waiting;
        assert_eq!(table.chosen(), [(first, true), (second, true), (third, true)]);
    }

    #[test]
    fn with_a_read_go_all_that_wait_in_front_of_it() {
        let mut table = Table::default();
        let [first, second, third] =
            [["s", "u"].as_slice(), &["s"], &["s", "t"]].map(|keys| table.wait("g", keys, Some(P)));
        table.add("t");
        assert_eq!(table.chosen(), [(first, false), (second, false), (third, false)]);
        table.blocked.ask(second);
        assert_eq!(table.chosen(), [(first, true), (second, true), (third, false)]);
        assert!(choose_for(&table.blocked, PartitionId(1), &table.touched, false).is_empty());
    }

    #[test]
    fn a_read_over_several_partitions_holds_back_those_that_have_seen_nothing() {
        let mut table = Table::default();
        let [_, second] = [None, Some(P)].map(|home| table.wait("g", &["s"], home));
        table.add("s");
        assert_eq!(table.chosen(), []);
        table.blocked.ask(second);
        assert_eq!(table.chosen(), [(second, true)]);
    }

    #[test]
    fn a_flush_takes_all_reads_of_its_database() {
        let mut table = Table::default();
        let reads = ["s", "t", "u"].map(|key| table.wait("g", &[key], Some(P)));
        table.touched.note_write(1, &Write::Key(KeyWrite::FlushDatabase));
        assert_eq!(table.chosen(), []);
        table.touched.note_write(0, &Write::Key(KeyWrite::FlushDatabase));
        assert_eq!(table.chosen(), reads.map(|read| (read, false)));
    }

    #[test]
    fn the_first_that_asks_goes_however_many_are_in_front() {
        let mut table = Table::default();
        let long = "g".repeat(CARRIED_BYTES_MAX / 3);
        let reads: Vec<BlockedId> = (0..4).map(|_| table.wait(&long, &["s"], Some(P))).collect();
        (0..4).for_each(|_| table.add("s"));
        assert_eq!(table.chosen(), [(reads[0], false), (reads[1], false)]);
        table.blocked.ask(reads[3]);
        assert_eq!(table.chosen(), [(reads[3], true)]);
        table.blocked.ask(reads[1]);
        assert_eq!(table.chosen(), [(reads[0], true), (reads[1], true)]);
    }
}
