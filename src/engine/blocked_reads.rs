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
use crate::model::log::ProposalId;
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
    /// Milliseconds of the monotonic clock; `None`: no timeout.
    deadline_ms: Option<u64>,
    /// Time of the next look at the state without an event, because a pending entry may have become
    /// claimable. Monotonic clock.
    wake_ms: Option<u64>,
    pub state: BlockedState,
    /// The state knows its consumer. From then on only entries are a reason to write the read to the log.
    pub is_seen: bool,
    /// An event concerned the read while an unapplied entry carried it. The read looks at the state after
    /// that entry.
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
    /// The read is an op of one or more entries: their application ends it or brings it back.
    InFlight,
    /// An entry carries the read: its application serves the read or brings it back.
    Carried(ProposalId),
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
    /// Reads that are ops of batches which are not sealed yet.
    unsealed: BTreeSet<BlockedId>,
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
        self.unsealed.remove(&id);
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

    /// For each group with reads blocked on the key: the first `reads_max` waiting reads. A read that is an op
    /// of its own in the log must be served before the reads that came later, so these are left out.
    pub fn first_of_groups(
        &self,
        database: u32,
        key: &[u8],
        reads_max: usize,
    ) -> impl Iterator<Item = BlockedId> + '_ {
        let groups = self.at(database, key).into_iter().flat_map(|on_key| on_key.by_group.values());
        groups.flat_map(move |ids| {
            let is_no_op = |id: &&BlockedId| self.reads[*id].state != BlockedState::InFlight;
            let may_go = |id: &&BlockedId| self.reads[*id].may_be_carried();
            ids.iter().take_while(is_no_op).filter(may_go).take(reads_max).copied()
        })
    }

    /// The read has become an op of a batch.
    pub fn note_op(&mut self, id: BlockedId) {
        self.unsealed.insert(id);
    }

    /// Batches were sealed: all with reads for which this is true.
    pub fn note_sealed(&mut self, is_in_one: impl Fn(&BlockedRead) -> bool) {
        let reads = &self.reads;
        self.unsealed.retain(|id| reads.get(id).is_some_and(|read| !is_in_one(read)));
    }

    /// Whether a read of the same group that came later is an op of a batch which is not sealed yet. That batch
    /// carries this read, and so it comes first.
    pub fn is_before_an_op(&self, id: BlockedId) -> bool {
        let Some(read) = self.reads.get(&id) else { return false };
        let Some(group) = read.read.group() else { return false };
        let later =
            self.unsealed.range(id..).filter(|later| **later != id).filter_map(|id| self.reads.get(id));
        later.filter(|it| it.database == read.database).filter_map(|it| it.read.group()).any(|it| {
            it.group == group.group
                && it.streams.iter().any(|(key, _)| group.streams.iter().any(|(k, _)| k == key))
        })
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
    /// Whether an entry may carry the read: a waiting group read whose user still has the permission.
    pub fn may_be_carried(&self) -> bool {
        self.state == BlockedState::Waiting && !self.is_forbidden && self.read.group().is_some()
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
    fn an_entry_carries_the_first_of_each_group() {
        let mut blocked = BlockedReads::default();
        let first = blocked.register(request(1), 0, group_read("g", &["s"]), None);
        let second = blocked.register(request(2), 0, group_read("g", &["s", "t"]), None);
        let other = blocked.register(request(3), 0, group_read("h", &["s"]), None);
        let carried = |blocked: &BlockedReads, max| blocked.first_of_groups(0, b"s", max).collect::<Vec<_>>();
        assert_eq!(carried(&blocked, 1), [first, other]);
        assert_eq!(carried(&blocked, 9), [first, second, other]);
        blocked.get_mut(first).unwrap().state = BlockedState::Carried(ProposalId(1));
        blocked.forbid(request(3), true);
        assert_eq!(carried(&blocked, 1), [second]);
        blocked.get_mut(first).unwrap().state = BlockedState::InFlight;
        assert_eq!(carried(&blocked, 1), [], "the first one goes by itself");
        assert_eq!(blocked.counts(), BlockedCounts { keys: 2, keys_of_groups: 2, deadlines: 0 });
    }

    #[test]
    fn a_read_leaves_every_list() {
        let mut blocked = BlockedReads::default();
        let id = blocked.register(request(1), 3, group_read("g", &["s", "s"]), Some(5));
        blocked.set_wake(id, Some(2));
        assert_eq!((blocked.next_due_ms(), blocked.first_to_wake(2)), (Some(2), Some(id)));
        assert_eq!(blocked.first_overdue(4), None);
        assert_eq!(blocked.first_overdue(5), Some(id));
        assert_eq!(blocked.of_request(request(1)), Some(id));
        blocked.remove(id).unwrap();
        assert!(blocked.is_empty() && blocked.next_due_ms().is_none());
        assert_eq!(blocked.counts(), BlockedCounts::default());
        assert!(blocked.on_key(3, b"s").next().is_none() && blocked.of_request(request(1)).is_none());
    }
}
