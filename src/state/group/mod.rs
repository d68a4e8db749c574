//! Consumer groups: delivered entries by consumer until their acknowledgement.

pub mod change;
pub mod claim;
pub mod pending;
pub mod query;
pub mod read;

use crate::base::wire::{Malformed, Reader, Writer};
use crate::model::entry_id::EntryId;
use crate::model::time::TimeMs;
use crate::state::group::pending::{Pending, PendingList};
use crate::state::id_map::IdMap;
use crate::state::shared_map::SharedMap;
use crate::state::stream::sampled;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::num::NonZeroU64;

/// Numbers the consumers of a group from 1 on, in order of creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConsumerNumber(NonZeroU64);

#[derive(Debug, Clone)]
pub struct Consumer {
    pub name: Bytes,
    /// Time of the last attempt to read or claim that is in the log.
    pub seen_at: TimeMs,
    /// Time of the last successful read or claim.
    pub active_at: Option<TimeMs>,
    pending: IdMap<()>,
}

impl Consumer {
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// The consumer's pending ids from `from` on.
    pub fn pending_from(&self, from: EntryId) -> impl Iterator<Item = EntryId> {
        self.pending.range(from).map(|(id, ())| id)
    }
}

/// Invariants: each pending id is in the list of exactly one consumer, its owner, or in none if it is
/// unowned; `numbers` and `consumers` hold the same consumers. Pending ids may be those of deleted entries,
/// and may lie above `last_id`.
#[derive(Debug, Clone)]
pub struct Group {
    /// Entries above this id are new to the group.
    pub last_id: EntryId,
    /// Number of stream entries up to `last_id`, if known (`entries_read`; −1 in Redis if unknown).
    pub entries_read: Option<u64>,
    pending: PendingList,
    numbers: SharedMap<Bytes, ConsumerNumber>,
    consumers: SharedMap<ConsumerNumber, Consumer>,
    next_number: u64,
}

impl Group {
    pub fn new(last_id: EntryId, entries_read: Option<u64>) -> Group {
        Group {
            last_id,
            entries_read,
            pending: PendingList::default(),
            numbers: SharedMap::default(),
            consumers: SharedMap::default(),
            next_number: 1,
        }
    }

    /// Consumers in order of names.
    pub fn consumers(&self) -> impl Iterator<Item = &Consumer> {
        self.numbers.values().map(|number| self.consumer(*number))
    }

    pub fn consumers_len(&self) -> usize {
        self.numbers.len()
    }

    pub fn consumer(&self, number: ConsumerNumber) -> &Consumer {
        self.consumers.get(&number).expect("numbers are of this group")
    }

    pub fn consumer_mut(&mut self, number: ConsumerNumber) -> &mut Consumer {
        self.consumers.get_mut(&number).expect("numbers are of this group")
    }

    pub fn find_consumer(&self, name: &[u8]) -> Option<ConsumerNumber> {
        self.numbers.get(name).copied()
    }

    /// Creates the consumer if it does not exist; returns whether it did so.
    pub fn ensure_consumer(&mut self, name: &[u8], now: TimeMs) -> (ConsumerNumber, bool) {
        if let Some(number) = self.find_consumer(name) {
            return (number, false);
        }
        let number = ConsumerNumber(NonZeroU64::new(self.next_number).expect("numbers begin with 1"));
        self.next_number += 1;
        let name = Bytes::copy_from_slice(name);
        self.numbers.insert(name.clone(), number);
        let consumer = Consumer { name, seen_at: now, active_at: None, pending: IdMap::default() };
        self.consumers.insert(number, consumer);
        (number, true)
    }

    /// Deletes a consumer with its pending entries and returns their number. Entries that it gave back are
    /// unowned and stay.
    pub fn delete_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let number = self.numbers.remove(name)?;
        let consumer = self.consumers.remove(&number).expect("numbers and consumers agree");
        for (id, ()) in consumer.pending.iter() {
            let entry = self.pending.remove(id);
            assert!(
                entry.is_some_and(|entry| entry.owner == Some(number)),
                "{id} is pending for its consumer"
            );
        }
        Some(consumer.pending.len())
    }

    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// Estimated bytes of consumers and pending entries. The names of `samples` consumers stand for all; 0:
    /// all are measured.
    pub fn memory(&self, samples: usize) -> usize {
        let names = sampled(self.numbers.keys().map(Bytes::len), self.numbers.len(), samples);
        names + self.consumers.len() * size_of::<Consumer>() + self.pending.memory()
    }

    pub fn pending(&self, id: EntryId) -> Option<&Pending> {
        self.pending.get(id)
    }

    pub fn pending_from(&self, from: EntryId) -> impl Iterator<Item = (EntryId, &Pending)> {
        self.pending.range(from)
    }

    pub fn pending_ends(&self) -> Option<(EntryId, EntryId)> {
        self.pending.ends()
    }

    /// Number of unowned pending entries.
    pub fn nacked_len(&self) -> usize {
        self.pending.nacked_len()
    }

    /// Ids of unowned entries, in the order in which they were given back.
    pub fn nacked(&self) -> impl Iterator<Item = EntryId> + '_ {
        self.pending.nacked()
    }

    /// Claimable entries in claim order: see [`PendingList::claimable`]. Builds the order if necessary.
    pub fn claimable(
        &mut self,
        now: TimeMs,
        min_idle_ms: u64,
    ) -> impl Iterator<Item = (EntryId, &Pending)> + use<'_> {
        self.pending.order_by_time();
        self.pending.claimable(now, min_idle_ms)
    }

    /// See [`PendingList::may_be_claimable`].
    pub fn may_be_claimable(&self, now: TimeMs, min_idle_ms: u64) -> bool {
        self.pending.may_be_claimable(now, min_idle_ms)
    }

    /// See [`PendingList::next_claimable_at`].
    pub fn next_claimable_at(&self, min_idle_ms: u64) -> Option<TimeMs> {
        self.pending.next_claimable_at(min_idle_ms)
    }

    /// Makes the entry pending for its new owner, or unowned, and removes it from the previous owner.
    pub fn set_pending(&mut self, id: EntryId, pending: Pending) {
        let owner_before = self.pending.insert(id, pending).and_then(|before| before.owner);
        if owner_before == pending.owner {
            return;
        }
        if let Some(owner) = owner_before {
            self.consumer_mut(owner).pending.remove(id);
        }
        if let Some(owner) = pending.owner {
            self.consumer_mut(owner).pending.insert(id, ());
        }
    }

    /// Records another delivery, by a history read.
    pub fn redeliver(&mut self, id: EntryId, now: TimeMs) {
        let pending = *self.pending.get(id).expect("a consumer's pending id is the group's");
        let deliveries = more_deliveries(pending.deliveries);
        self.set_pending(id, Pending { delivered_at: now, deliveries, ..pending });
    }

    /// Removes an id from the pending entries; returns whether it was there.
    pub fn acknowledge(&mut self, id: EntryId) -> bool {
        let Some(pending) = self.pending.remove(id) else { return false };
        if let Some(owner) = pending.owner {
            let removed = self.consumer_mut(owner).pending.remove(id);
            assert!(removed.is_some(), "{id} is pending for its consumer");
        }
        true
    }

    pub fn encode(&self, writer: &mut Writer<'_>) {
        self.last_id.encode(writer);
        writer.option(self.entries_read, Writer::varint);
        writer.varint(self.next_number);
        writer.varint(self.consumers.len() as u64);
        for (number, consumer) in self.consumers.iter() {
            writer.varint(number.0.get());
            writer.bytes(&consumer.name);
            writer.varint(consumer.seen_at.0);
            writer.option(consumer.active_at, |writer, at| writer.varint(at.0));
        }
        writer.varint(self.pending.len() as u64);
        for (id, pending) in self.pending.range(EntryId::MIN) {
            id.encode(writer);
            writer.varint(pending.owner.map_or(NOBODY, |number| number.0.get()));
            writer.varint(pending.delivered_at.0);
            writer.varint(pending.deliveries);
        }
        // The unowned ids in their order; their number is known from the entries above.
        self.pending.nacked().for_each(|id| id.encode(writer));
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Group, Malformed> {
        let mut group = Group::new(EntryId::decode(reader)?, reader.option(Reader::varint)?);
        let next_number = reader.varint()?;
        for _ in 0..reader.count()? {
            let number = reader.varint()?;
            if number < group.next_number || number >= next_number {
                return Err(reader.malformed("consumers of a group are not in order"));
            }
            group.next_number = number;
            let name = reader.bytes()?;
            let seen_at = TimeMs(reader.varint()?);
            let active_at = reader.option(|reader| Ok(TimeMs(reader.varint()?)))?;
            let (number, is_new) = group.ensure_consumer(name, seen_at);
            if !is_new {
                return Err(reader.malformed("two consumers of one name"));
            }
            group.consumer_mut(number).active_at = active_at;
        }
        group.next_number = next_number;
        let mut nacked = BTreeMap::new();
        let mut last = None;
        for _ in 0..reader.count()? {
            let id = EntryId::decode(reader)?;
            let owner = NonZeroU64::new(reader.varint()?).map(ConsumerNumber);
            let delivered_at = TimeMs(reader.varint()?);
            let deliveries = reader.varint()?;
            if last.is_some_and(|last| last >= id) {
                return Err(reader.malformed("pending ids of a group do not ascend"));
            }
            last = Some(id);
            let is_known = owner.is_none_or(|number| group.consumers.contains(&number));
            if !is_known || deliveries > DELIVERIES_MAX || (owner.is_none() && delivered_at != TimeMs(0)) {
                return Err(reader.malformed("pending entry of no consumer or with an impossible count"));
            }
            let pending = Pending { owner, delivered_at, deliveries };
            if owner.is_some() {
                group.set_pending(id, pending);
            } else {
                nacked.insert(id, pending);
            }
        }
        for _ in 0..nacked.len() {
            let id = EntryId::decode(reader)?;
            match nacked.remove(&id) {
                Some(pending) => group.set_pending(id, pending),
                None => return Err(reader.malformed("order of what is nobody's does not agree with it")),
            }
        }
        Ok(group)
    }

    /// Nodes of its trees that the group does not share with another.
    #[cfg(test)]
    pub fn unshared(&self, other: &Group) -> usize {
        self.pending.unshared(&other.pending)
            + self.numbers.unshared(&other.numbers)
            + self.consumers.unshared(&other.consumers)
    }

    /// Asserts the invariants.
    pub fn check(&self) {
        self.pending.check();
        assert_eq!(self.numbers.len(), self.consumers.len(), "each name has a consumer");
        assert!(
            self.numbers.iter().all(|(name, number)| self.consumer(*number).name == *name),
            "names agree"
        );
        let held: usize = self.consumers.values().map(Consumer::pending_len).sum();
        let owned = self.pending.len() - self.pending.nacked_len();
        assert_eq!(held, owned, "each pending id with an owner is in one consumer's list");
        for (number, consumer) in self.consumers.iter() {
            consumer.pending.check();
            assert!(number.0.get() < self.next_number, "numbers are given in order");
            for (id, ()) in consumer.pending.iter() {
                assert_eq!(
                    self.pending.get(id).and_then(|entry| entry.owner),
                    Some(*number),
                    "{id} is this consumer's"
                );
            }
        }
    }
}

/// Stands for the missing owner in checkpoints.
const NOBODY: u64 = 0;

/// Clients read delivery counts as signed 64-bit numbers, so counts saturate here.
pub const DELIVERIES_MAX: u64 = i64::MAX as u64;

pub fn more_deliveries(deliveries: u64) -> u64 {
    deliveries.saturating_add(1).min(DELIVERIES_MAX)
}
