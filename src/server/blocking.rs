//! Reads that wait: XREAD and XREADGROUP with BLOCK.
//!
//! Whoever adds a kind of waiting must see to it that (1) the waiter is registered before the state is looked at for the
//! last time, (2) everything that could serve it reports an effect on one of its keys, or is a moment at which it wakes
//! ([`Waiter::wake_ms`]), and (3) it leaves this table in
//! every way it can end: served, timed out, unblocked, disconnected.
//!
//! Waiters of a key are served first come first served; ids ascend, so their order is that of the ids.

use crate::command::spec::Row;
use crate::server::ticket::Place;
use ahash::AHashMap;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaiterId(pub u64);

pub struct Waiter {
    pub place: Place,
    /// Which command waits, and with which first argument, as far as permissions may depend on it.
    pub row: &'static Row,
    pub first_argument: Option<Bytes>,
    pub database: u32,
    pub keys: Vec<Bytes>,
    /// Which a group read reads for.
    pub group: Option<Bytes>,
    /// The read to try again, encoded as in the log.
    pub read: Vec<u8>,
    pub kind: WaiterKind,
    /// Milliseconds of the worker's clock; `None`: for ever.
    pub deadline_ms: Option<u64>,
    /// When to look at it again although nothing was reported: something pending may have become claimable. By the
    /// worker's clock.
    pub wake_ms: Option<u64>,
    /// How often its read is on its way through the partition: it cannot end otherwise until all have come back, or one with
    /// entries. A group read goes once at a time, for it takes what it finds.
    pub in_flight: u32,
    /// The group read on its way may come back empty: see [`Worker::must_wait_for_riders`].
    ///
    /// [`Worker::must_wait_for_riders`]: crate::server::worker::Worker::must_wait_for_riders
    pub may_be_in_vain: bool,
    /// What to answer instead of waiting on, should the read on its way come back empty.
    pub ended: Option<Ending>,
    /// CLIENT TRACKING remembers what it reads.
    pub is_remembered: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaiterKind {
    /// XREAD: answered from applied state.
    Read,
    /// XREADGROUP: goes through the log.
    GroupRead,
}

/// As often an XREAD goes at a time: behind a RENAME that may be refused, say, and behind the XADD after it.
const READS_IN_FLIGHT_MAX: u32 = 4;

/// Bytes that a key takes that is waited for, besides its name, about.
const KEY_BYTES: usize = 160;

impl Waiter {
    /// Bytes that it takes, about.
    pub fn bytes(&self) -> usize {
        self.read.len() + self.keys.iter().map(|key| KEY_BYTES + 2 * key.len()).sum::<usize>()
    }

    /// Whether its read may be sent, maybe once more.
    pub fn can_ride(&self) -> bool {
        match self.kind {
            WaiterKind::Read => self.in_flight < READS_IN_FLIGHT_MAX,
            WaiterKind::GroupRead => self.in_flight == 0,
        }
    }
}

/// How a wait ends without entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    TimedOut,
    /// CLIENT UNBLOCK … ERROR
    Unblocked,
    /// Nobody is there any more.
    Disconnected,
}

#[derive(Default)]
pub struct Waiters {
    next_id: u64,
    waiters: BTreeMap<WaiterId, Waiter>,
    by_key: AHashMap<u32, AHashMap<Bytes, OnKey>>,
    by_connection: AHashMap<u64, WaiterId>,
    by_deadline: BTreeSet<(u64, WaiterId)>,
    by_wake: BTreeSet<(u64, WaiterId)>,
}

/// Who waits for one key.
#[derive(Default)]
struct OnKey {
    all: BTreeSet<WaiterId>,
    /// Those among them that read for a group.
    by_group: BTreeMap<Bytes, BTreeSet<WaiterId>>,
}

impl OnKey {
    fn insert(&mut self, id: WaiterId, waiter: &Waiter) {
        self.all.insert(id);
        if let Some(group) = &waiter.group {
            self.by_group.entry(group.clone()).or_default().insert(id);
        }
    }

    fn remove(&mut self, id: WaiterId, waiter: &Waiter) {
        self.all.remove(&id);
        if let Some(group) = &waiter.group
            && let Some(ids) = self.by_group.get_mut(group)
        {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_group.remove(group);
            }
        }
    }
}

impl Waiters {
    pub fn len(&self) -> usize {
        self.waiters.len()
    }

    pub fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    pub fn register(&mut self, waiter: Waiter) -> WaiterId {
        self.next_id += 1;
        let id = WaiterId(self.next_id);
        let keys = self.by_key.entry(waiter.database).or_default();
        for key in &waiter.keys {
            keys.entry(key.clone()).or_default().insert(id, &waiter);
        }
        if let Some(deadline) = waiter.deadline_ms {
            self.by_deadline.insert((deadline, id));
        }
        let before = self.by_connection.insert(waiter.place.connection.id, id);
        assert!(before.is_none(), "a connection waits for one thing at a time");
        self.waiters.insert(id, waiter);
        id
    }

    pub fn get(&self, id: WaiterId) -> Option<&Waiter> {
        self.waiters.get(&id)
    }

    pub fn get_mut(&mut self, id: WaiterId) -> Option<&mut Waiter> {
        self.waiters.get_mut(&id)
    }

    pub fn of_connection(&self, connection: u64) -> Option<WaiterId> {
        self.by_connection.get(&connection).copied()
    }

    pub fn remove(&mut self, id: WaiterId) -> Option<Waiter> {
        let waiter = self.waiters.remove(&id)?;
        if let Some(keys) = self.by_key.get_mut(&waiter.database) {
            for key in &waiter.keys {
                if let Some(on_key) = keys.get_mut(key) {
                    on_key.remove(id, &waiter);
                    if on_key.all.is_empty() {
                        keys.remove(key);
                    }
                }
            }
        }
        if let Some(deadline) = waiter.deadline_ms {
            self.by_deadline.remove(&(deadline, id));
        }
        if let Some(wake) = waiter.wake_ms {
            self.by_wake.remove(&(wake, id));
        }
        self.by_connection.remove(&waiter.place.connection.id);
        Some(waiter)
    }

    /// Those who wait for the key, first come first.
    pub fn on_key(&self, database: u32, key: &[u8]) -> impl Iterator<Item = WaiterId> + '_ {
        self.at(database, key).into_iter().flat_map(|on_key| &on_key.all).copied()
    }

    /// Of each group that is read for on the key, the first reader that waits and is not on its way yet.
    pub fn first_idle_of_groups(
        &self,
        database: u32,
        key: &[u8],
    ) -> impl Iterator<Item = (&Bytes, WaiterId)> + '_ {
        let groups = self.at(database, key).into_iter().flat_map(|on_key| &on_key.by_group);
        groups.filter_map(|(group, ids)| {
            let idle = ids.iter().find(|id| self.waiters[id].can_ride())?;
            Some((group, *idle))
        })
    }

    fn at(&self, database: u32, key: &[u8]) -> Option<&OnKey> {
        self.by_key.get(&database)?.get(key)
    }

    pub fn all(&self) -> impl Iterator<Item = WaiterId> + '_ {
        self.waiters.keys().copied()
    }

    /// Keys that somebody waits for, over all databases.
    pub fn keys(&self) -> usize {
        self.by_key.values().map(|keys| keys.len()).sum()
    }

    /// Those of them that somebody reads for a group, who is told when the key goes.
    pub fn keys_of_groups(&self) -> usize {
        let keys = self.by_key.values().flat_map(|keys| keys.values());
        keys.filter(|on_key| !on_key.by_group.is_empty()).count()
    }

    /// Waiters that do not wait for ever.
    pub fn deadlines(&self) -> usize {
        self.by_deadline.len()
    }

    /// When something is to be done next by the clock.
    pub fn next_deadline(&self) -> Option<u64> {
        let firsts = [self.by_deadline.first(), self.by_wake.first()];
        firsts.into_iter().flatten().map(|(at, _)| *at).min()
    }

    /// Sets when the waiter is looked at again, if it is still there.
    pub fn set_wake(&mut self, id: WaiterId, at_ms: Option<u64>) {
        let Some(waiter) = self.waiters.get_mut(&id) else { return };
        if let Some(before) = std::mem::replace(&mut waiter.wake_ms, at_ms) {
            self.by_wake.remove(&(before, id));
        }
        if let Some(at) = at_ms {
            self.by_wake.insert((at, id));
        }
    }

    pub fn first_to_wake(&self, now_ms: u64) -> Option<WaiterId> {
        self.by_wake.first().filter(|(at, _)| *at <= now_ms).map(|(_, id)| *id)
    }

    pub fn first_due(&self, now_ms: u64) -> Option<WaiterId> {
        self.by_deadline.first().filter(|(deadline, _)| *deadline <= now_ms).map(|(_, id)| *id)
    }

    /// The deadline has been seen to; the waiter itself may stay (its read is on its way).
    pub fn forget_deadline(&mut self, id: WaiterId) {
        if let Some(waiter) = self.waiters.get_mut(&id)
            && let Some(deadline) = waiter.deadline_ms.take()
        {
            self.by_deadline.remove(&(deadline, id));
        }
    }
}
