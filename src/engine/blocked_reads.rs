//! The table of blocked reads: XREAD and XREADGROUP with BLOCK.
//!
//! To add a kind of blocking: (1) register the read before the last look at the state; (2) make everything
//! that could serve the read leave an event on one of its keys, or set a time at which it wakes
//! ([`BlockedRead::wake_ms`]); (3) remove the read from this table in every way it can end: served, timed
//! out, unblocked, disconnected.
//!
//! Reads of a key are served first come, first served; ids ascend, so id order is arrival order.

use crate::command::value::group::{GroupRead, GroupReadFrom};
use crate::command::value::stream::{Read, ReadFrom, ReadLimits};
use crate::engine::submission::Ending;
use crate::model::log::PartitionId;
use crate::model::request::RequestId;
use crate::state::op::batch::BatchWriter;
use ahash::AHashMap;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockedId(u64);

pub struct BlockedRead {
    pub request: RequestId,
    pub database: u32,
    pub read: AnyRead,
    /// The partition of all its streams, if they share one and it is a group read: its entries may carry it.
    pub home: Option<PartitionId>,
    /// Milliseconds of the monotonic clock; `None`: no timeout.
    deadline_ms: Option<u64>,
    /// Time of the next look at the state without an event, because a pending entry may have become
    /// claimable. Monotonic clock.
    wake_ms: Option<u64>,
    pub state: BlockedState,
    /// The state knows its consumer, or an op that shows it is on its way.
    pub is_seen: bool,
    /// There may be something that the read has not seen: the state has changed without events while an entry
    /// carried it, or that entry was refused. It looks at the state when it comes back.
    pub has_missed: bool,
    /// How the read ends if it comes back from an entry without entries.
    pub ended: Option<Ending>,
    /// The user has lost the permission for the read.
    pub is_forbidden: bool,
}

/// State of a blocked read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockedState {
    Waiting,
    /// The read is spread over several partitions, an op in each: their application ends it or brings it
    /// back.
    InFlight,
    /// An entry carries the read: its application serves the read or brings it back.
    Carried,
}

/// A blocked read in owned memory.
#[derive(Debug, Clone)]
pub enum AnyRead {
    Read(OwnedRead),
    Group(OwnedGroupRead),
}

/// XREAD. It skips a key that holds another type meanwhile.
#[derive(Debug, Clone)]
pub struct OwnedRead {
    limits: ReadLimits,
    streams: Vec<(Bytes, ReadFrom)>,
}

/// XREADGROUP.
#[derive(Debug, Clone)]
pub struct OwnedGroupRead {
    pub group: Bytes,
    consumer: Bytes,
    limits: ReadLimits,
    pub claim: Option<u64>,
    no_ack: bool,
    pub streams: Vec<(Bytes, GroupReadFrom)>,
    /// The encoding in an entry.
    pub encoded: Vec<u8>,
}

impl OwnedRead {
    pub fn new(read: &Read<'_>) -> OwnedRead {
        let streams = read.streams.iter().map(|(key, from)| (Bytes::copy_from_slice(key), *from));
        OwnedRead { limits: read.limits, streams: streams.collect() }
    }

    pub fn as_read(&self) -> Read<'_> {
        let streams = self.streams.iter().map(|(key, from)| (&key[..], *from)).collect();
        Read { skips_others: true, limits: self.limits, streams }
    }
}

impl OwnedGroupRead {
    pub fn new(database: u32, read: &GroupRead<'_>) -> OwnedGroupRead {
        let streams = read.streams.iter().map(|(key, from)| (Bytes::copy_from_slice(key), *from));
        OwnedGroupRead {
            group: Bytes::copy_from_slice(read.group),
            consumer: Bytes::copy_from_slice(read.consumer),
            limits: read.limits,
            claim: read.claim,
            no_ack: read.no_ack,
            streams: streams.collect(),
            encoded: BatchWriter::encode_blocked(database, read),
        }
    }

    pub fn as_read(&self) -> GroupRead<'_> {
        GroupRead {
            group: &self.group,
            consumer: &self.consumer,
            limits: self.limits,
            claim: self.claim,
            no_ack: self.no_ack,
            streams: self.streams.iter().map(|(key, from)| (&key[..], *from)).collect(),
        }
    }
}

impl AnyRead {
    pub fn keys(&self) -> Box<dyn Iterator<Item = &Bytes> + '_> {
        match self {
            AnyRead::Read(read) => Box::new(read.streams.iter().map(|(key, _)| key)),
            AnyRead::Group(read) => Box::new(read.streams.iter().map(|(key, _)| key)),
        }
    }

    pub fn group(&self) -> Option<&OwnedGroupRead> {
        match self {
            AnyRead::Read(_) => None,
            AnyRead::Group(read) => Some(read),
        }
    }
}

#[derive(Default)]
pub struct BlockedReads {
    next_id: u64,
    reads: BTreeMap<BlockedId, BlockedRead>,
    by_key: AHashMap<u32, AHashMap<Bytes, OnKey>>,
    by_request: AHashMap<RequestId, BlockedId>,
    by_deadline: BTreeSet<(u64, BlockedId)>,
    by_wake: BTreeSet<(u64, BlockedId)>,
    /// Waiting reads of one partition that have to look at the state, in its next entry.
    asking: BTreeMap<PartitionId, BTreeSet<BlockedId>>,
}

/// The queue of a group on a key of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Queue<'a> {
    pub database: u32,
    pub key: &'a [u8],
    pub group: &'a [u8],
}

/// The reads that are blocked on one key.
#[derive(Default)]
struct OnKey {
    all: BTreeSet<BlockedId>,
    /// The group reads among them.
    by_group: BTreeMap<Bytes, BTreeSet<BlockedId>>,
}

/// Numbers of blocked reads, for INFO.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BlockedCounts {
    /// Keys with blocked reads, over all databases.
    pub keys: usize,
    /// Keys with a blocked group read, which ends with an error when the key is deleted.
    pub keys_of_groups: usize,
    /// Reads with a timeout.
    pub deadlines: usize,
}

impl BlockedReads {
    pub fn is_empty(&self) -> bool {
        self.reads.is_empty()
    }

    pub fn counts(&self) -> BlockedCounts {
        let keys = || self.by_key.values().flat_map(|keys| keys.values());
        BlockedCounts {
            keys: keys().count(),
            keys_of_groups: keys().filter(|on_key| !on_key.by_group.is_empty()).count(),
            deadlines: self.by_deadline.len(),
        }
    }

    pub fn register(
        &mut self,
        request: RequestId,
        database: u32,
        read: AnyRead,
        home: Option<PartitionId>,
        deadline_ms: Option<u64>,
    ) -> BlockedId {
        self.next_id += 1;
        let id = BlockedId(self.next_id);
        let keys = self.by_key.entry(database).or_default();
        for key in read.keys() {
            let on_key = keys.entry(key.clone()).or_default();
            on_key.all.insert(id);
            if let Some(read) = read.group() {
                on_key.by_group.entry(read.group.clone()).or_default().insert(id);
            }
        }
        if let Some(deadline) = deadline_ms {
            self.by_deadline.insert((deadline, id));
        }
        let before = self.by_request.insert(request, id);
        assert!(before.is_none(), "a request is blocked once");
        let blocked = BlockedRead {
            request,
            database,
            read,
            home,
            deadline_ms,
            wake_ms: None,
            state: BlockedState::Waiting,
            is_seen: false,
            has_missed: false,
            ended: None,
            is_forbidden: false,
        };
        self.reads.insert(id, blocked);
        id
    }

    pub fn get(&self, id: BlockedId) -> Option<&BlockedRead> {
        self.reads.get(&id)
    }

    pub fn get_mut(&mut self, id: BlockedId) -> Option<&mut BlockedRead> {
        self.reads.get_mut(&id)
    }

    pub fn of_request(&self, request: RequestId) -> Option<BlockedId> {
        self.by_request.get(&request).copied()
    }

    pub fn forbid(&mut self, request: RequestId, forbidden: bool) {
        if let Some(read) = self.of_request(request).and_then(|id| self.reads.get_mut(&id)) {
            read.is_forbidden = forbidden;
        }
    }

    pub fn remove(&mut self, id: BlockedId) -> Option<BlockedRead> {
        let blocked = self.reads.remove(&id)?;
        if let Some(keys) = self.by_key.get_mut(&blocked.database) {
            for key in blocked.read.keys() {
                let Some(on_key) = keys.get_mut(key) else { continue };
                on_key.all.remove(&id);
                if let Some(read) = blocked.read.group()
                    && let Some(ids) = on_key.by_group.get_mut(&read.group)
                {
                    ids.remove(&id);
                    if ids.is_empty() {
                        on_key.by_group.remove(&read.group);
                    }
                }
                if on_key.all.is_empty() {
                    keys.remove(key);
                }
            }
        }
        if let Some(deadline) = blocked.deadline_ms {
            self.by_deadline.remove(&(deadline, id));
        }
        if let Some(wake) = blocked.wake_ms {
            self.by_wake.remove(&(wake, id));
        }
        self.by_request.remove(&blocked.request);
        if let Some(home) = blocked.home {
            remove_asking(&mut self.asking, home, id);
        }
        Some(blocked)
    }

    /// The reads blocked on a key, in arrival order.
    pub fn on_key(&self, database: u32, key: &[u8]) -> impl Iterator<Item = BlockedId> + '_ {
        self.at(database, key).into_iter().flat_map(|on_key| &on_key.all).copied()
    }

    pub fn all(&self) -> impl Iterator<Item = (BlockedId, &BlockedRead)> {
        self.reads.iter().map(|(id, read)| (*id, read))
    }

    /// All blocked reads of a database.
    pub fn of_database(&self, database: u32) -> impl Iterator<Item = BlockedId> + '_ {
        self.reads.iter().filter(move |(_, read)| read.database == database).map(|(id, _)| *id)
    }

    /// The queues on a key.
    pub fn queues<'a>(&'a self, database: u32, key: &'a [u8]) -> impl Iterator<Item = Queue<'a>> {
        let groups = self.at(database, key).into_iter().flat_map(|on_key| on_key.by_group.keys());
        groups.map(move |group| Queue { database, key, group })
    }

    /// The group reads in a queue, in arrival order.
    pub fn in_queue(&self, queue: Queue<'_>) -> impl Iterator<Item = (BlockedId, &BlockedRead)> {
        let ids = self.at(queue.database, queue.key).and_then(|on_key| on_key.by_group.get(queue.group));
        ids.into_iter().flatten().map(|id| (*id, &self.reads[id]))
    }

    /// The read is carried by the next entry of its home, and tried at its beginning.
    pub fn ask(&mut self, id: BlockedId) {
        self.set_wake(id, None);
        let home = self.reads.get(&id).and_then(|read| read.home).expect("a read of one partition asks");
        self.asking.entry(home).or_default().insert(id);
    }

    pub fn asking_in(&self, home: PartitionId) -> impl Iterator<Item = BlockedId> + '_ {
        self.asking.get(&home).into_iter().flatten().copied()
    }

    pub fn is_asking_in(&self, home: PartitionId) -> bool {
        self.asking.contains_key(&home)
    }

    pub fn is_asking(&self, id: BlockedId) -> bool {
        let home = self.reads.get(&id).and_then(|read| read.home);
        home.and_then(|home| self.asking.get(&home)).is_some_and(|ids| ids.contains(&id))
    }

    /// All reads that ask; none does so any more.
    pub fn take_asking(&mut self) -> Vec<BlockedId> {
        std::mem::take(&mut self.asking).into_values().flatten().collect()
    }

    /// Whether the read asked; it does so no more.
    pub fn stop_asking(&mut self, id: BlockedId) -> bool {
        let is_asking = self.is_asking(id);
        if let Some(home) = self.reads.get(&id).and_then(|read| read.home).filter(|_| is_asking) {
            remove_asking(&mut self.asking, home, id);
        }
        is_asking
    }

    /// An entry carries the read.
    pub fn carry(&mut self, id: BlockedId) {
        self.stop_asking(id);
        let read = self.reads.get_mut(&id).expect("only a blocked read is carried");
        read.state = BlockedState::Carried;
        read.has_missed = false;
    }

    fn at(&self, database: u32, key: &[u8]) -> Option<&OnKey> {
        self.by_key.get(&database)?.get(key)
    }

    /// The next time at which a read times out or wakes.
    pub fn next_due_ms(&self) -> Option<u64> {
        let firsts = [self.by_deadline.first(), self.by_wake.first()];
        firsts.into_iter().flatten().map(|(at, _)| *at).min()
    }

    /// Sets when the read looks at the state again; ignored if the read has ended.
    pub fn set_wake(&mut self, id: BlockedId, at_ms: Option<u64>) {
        let Some(read) = self.reads.get_mut(&id) else { return };
        if let Some(before) = std::mem::replace(&mut read.wake_ms, at_ms) {
            self.by_wake.remove(&(before, id));
        }
        if let Some(at) = at_ms {
            self.by_wake.insert((at, id));
        }
    }

    pub fn first_to_wake(&self, now_ms: u64) -> Option<BlockedId> {
        self.by_wake.first().filter(|(at, _)| *at <= now_ms).map(|(_, id)| *id)
    }

    pub fn first_overdue(&self, now_ms: u64) -> Option<BlockedId> {
        self.by_deadline.first().filter(|(deadline, _)| *deadline <= now_ms).map(|(_, id)| *id)
    }

    /// Removes a handled deadline; the read itself may stay if it is in flight.
    pub fn forget_deadline(&mut self, id: BlockedId) {
        if let Some(read) = self.reads.get_mut(&id)
            && let Some(deadline) = read.deadline_ms.take()
        {
            self.by_deadline.remove(&(deadline, id));
        }
    }
}

impl BlockedRead {
    /// Whether an entry of the partition may carry the read: it waits, and its user still has the permission.
    pub fn may_be_carried_in(&self, partition: PartitionId) -> bool {
        self.state == BlockedState::Waiting && !self.is_forbidden && self.home == Some(partition)
    }

    /// The queues of a group read.
    pub fn queues(&self) -> impl Iterator<Item = Queue<'_>> {
        self.read.group().into_iter().flat_map(|read| {
            let keys = read.streams.iter().map(|(key, _)| key);
            keys.map(|key| Queue { database: self.database, key, group: &read.group })
        })
    }
}

fn remove_asking(asking: &mut BTreeMap<PartitionId, BTreeSet<BlockedId>>, home: PartitionId, id: BlockedId) {
    if let Some(ids) = asking.get_mut(&home)
        && ids.remove(&id)
        && ids.is_empty()
    {
        asking.remove(&home);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::request::ConnectionId;

    fn request(number: u64) -> RequestId {
        RequestId { connection: ConnectionId { number, place: number as u32 }, reply_slot: 0 }
    }

    fn group_read(group: &str, keys: &[&str]) -> AnyRead {
        let read = GroupRead {
            group: group.as_bytes(),
            consumer: b"c",
            limits: ReadLimits::default(),
            claim: None,
            no_ack: false,
            streams: keys.iter().map(|key| (key.as_bytes(), GroupReadFrom::New)).collect(),
        };
        AnyRead::Group(OwnedGroupRead::new(0, &read))
    }

    #[test]
    fn a_read_leaves_every_list() {
        let mut blocked = BlockedReads::default();
        let id = blocked.register(request(1), 3, group_read("g", &["s", "s"]), Some(PartitionId(0)), Some(5));
        blocked.ask(id);
        assert!(blocked.is_asking(id) && blocked.is_asking_in(PartitionId(0)));
        blocked.set_wake(id, Some(2));
        assert_eq!((blocked.next_due_ms(), blocked.first_to_wake(2)), (Some(2), Some(id)));
        assert_eq!(blocked.first_overdue(4), None);
        assert_eq!(blocked.first_overdue(5), Some(id));
        assert_eq!(blocked.of_request(request(1)), Some(id));
        blocked.remove(id).unwrap();
        assert!(
            blocked.is_empty() && blocked.next_due_ms().is_none() && !blocked.is_asking_in(PartitionId(0))
        );
        assert_eq!(blocked.counts(), BlockedCounts::default());
        assert!(blocked.on_key(3, b"s").next().is_none() && blocked.of_request(request(1)).is_none());
    }
}
