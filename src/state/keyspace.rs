//! The keys of one database: values, deadlines, order of creation.

use crate::model::time::TimeMs;
use crate::state::stream::Stream;
use ahash::AHashMap;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The value of a key. Cheap to clone: a checkpoint clones the whole keyspace and writes the clone beside
/// traffic.
#[derive(Debug, Clone)]
pub enum Value {
    String(Text),
    /// Changed through [`Arc::make_mut`], which copies only while a checkpoint still holds the stream.
    Stream(Arc<Stream>),
}

impl Value {
    /// Whether both have the same type.
    pub fn is_like(&self, other: &Value) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// A string value. Only OBJECT ENCODING reads `appended`: a string that APPEND has changed is `raw`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    pub bytes: Bytes,
    pub appended: bool,
}

impl Text {
    pub fn new(bytes: &[u8]) -> Text {
        Text { bytes: Bytes::copy_from_slice(bytes), appended: false }
    }
}

/// The machine's count of changes at a key's last change; WATCH compares it. Values from
/// [`KeyVersion::ABSENT`] on stand for an absent key: see [`crate::state::deletion_versions`]. 0: a key that
/// never existed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct KeyVersion(pub u64);

impl KeyVersion {
    const ABSENT: u64 = 1 << 63;

    /// `change`: the last change that may have removed the key, 0 if there was none.
    pub fn absent_since(change: u64) -> KeyVersion {
        KeyVersion(if change == 0 { 0 } else { change | KeyVersion::ABSENT })
    }
}

/// A key's position in the order of creation; SCAN's cursor counts these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeySequence(pub u64);

#[derive(Debug, Clone)]
pub struct KeyEntry {
    pub value: Value,
    pub version: KeyVersion,
    sequence: KeySequence,
    expires_at: Option<TimeMs>,
    forgets_at: Option<TimeMs>,
}

impl KeyEntry {
    pub fn sequence(&self) -> KeySequence {
        self.sequence
    }

    pub fn expires_at(&self) -> Option<TimeMs> {
        self.expires_at
    }

    /// The time at which the value's first idempotent id is due.
    fn next_forgetting(&self) -> Option<TimeMs> {
        match &self.value {
            Value::Stream(stream) => stream.producers.next_due(),
            Value::String(_) => None,
        }
    }

    pub fn is_due(&self, now: TimeMs) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

/// One of the numbered databases.
///
/// Invariants: `order` and `keys` hold the same keys; `deadlines` holds exactly the keys with `expires_at`,
/// and `forgettings` those with streams that remember idempotent ids, by the time at which the first id is
/// due. The hash map is never iterated, so its order is invisible.
#[derive(Debug, Clone, Default)]
pub struct Keyspace {
    keys: AHashMap<Bytes, KeyEntry>,
    order: BTreeMap<KeySequence, Bytes>,
    deadlines: BTreeSet<(TimeMs, KeySequence)>,
    forgettings: BTreeSet<(TimeMs, KeySequence)>,
    /// Sum of all deadlines, for their mean.
    deadline_sum: u128,
    next_sequence: u64,
}

impl Keyspace {
    /// Number of keys, including due keys that are not deleted yet (as DBSIZE of Redis counts).
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Number of keys with a deadline.
    pub fn expiring(&self) -> usize {
        self.deadlines.len()
    }

    /// The key as of `now`: a due key is absent.
    pub fn get(&self, key: &[u8], now: TimeMs) -> Option<&KeyEntry> {
        self.keys.get(key).filter(|entry| !entry.is_due(now))
    }

    /// The key, even if it is due.
    pub fn get_due_too(&self, key: &[u8]) -> Option<&KeyEntry> {
        self.keys.get(key)
    }

    /// Like [`Keyspace::get`]; a caller that changes the value must set [`KeyEntry::version`]. A due key must
    /// have been removed before ([`Keyspace::remove_if_due`]).
    pub fn get_mut(&mut self, key: &[u8]) -> Option<&mut KeyEntry> {
        self.keys.get_mut(key)
    }

    /// Removes the key if it is due. Every write starts with this.
    pub fn remove_if_due(&mut self, key: &[u8], now: TimeMs) -> Option<KeyEntry> {
        if self.deadlines.is_empty() || !self.keys.get(key).is_some_and(|entry| entry.is_due(now)) {
            return None;
        }
        self.remove(key)
    }

    /// Sets a value; an existing key keeps its place in the order and loses its deadline.
    pub fn insert(&mut self, key: &[u8], value: Value, version: KeyVersion) {
        self.set_deadline(key, None);
        if let Some(entry) = self.keys.get_mut(key) {
            entry.value = value;
            entry.version = version;
            self.refresh_forgetting(key);
            return;
        }
        let sequence = KeySequence(self.next_sequence);
        self.next_sequence += 1;
        let key = Bytes::copy_from_slice(key);
        self.order.insert(sequence, key.clone());
        let forgets_at = None;
        self.keys.insert(key.clone(), KeyEntry { value, version, sequence, expires_at: None, forgets_at });
        self.refresh_forgetting(&key);
    }

    pub fn remove(&mut self, key: &[u8]) -> Option<KeyEntry> {
        let entry = self.keys.remove(key)?;
        self.order.remove(&entry.sequence);
        if let Some(at) = entry.expires_at {
            self.deadlines.remove(&(at, entry.sequence));
            self.deadline_sum -= u128::from(at.0);
        }
        if let Some(at) = entry.forgets_at {
            self.forgettings.remove(&(at, entry.sequence));
        }
        Some(entry)
    }

    /// The stream of a key that holds one, for changes.
    pub fn stream_mut(&mut self, key: &[u8]) -> Option<&mut Stream> {
        match self.keys.get_mut(key)? {
            KeyEntry { value: Value::Stream(stream), .. } => Some(Arc::make_mut(stream)),
            _ => None,
        }
    }

    /// Must be called after any change of a stream's idempotent ids.
    pub fn refresh_forgetting(&mut self, key: &[u8]) {
        let Some(entry) = self.keys.get_mut(key) else { return };
        let (before, after) = (entry.forgets_at, entry.next_forgetting());
        if before == after {
            return;
        }
        entry.forgets_at = after;
        if let Some(before) = before {
            self.forgettings.remove(&(before, entry.sequence));
        }
        if let Some(after) = after {
            self.forgettings.insert((after, entry.sequence));
        }
    }

    /// The earliest time at which an idempotent id is due.
    pub fn next_forgetting(&self) -> Option<TimeMs> {
        self.forgettings.first().map(|(at, _)| *at)
    }

    /// The first key with a due idempotent id, if any.
    pub fn first_forgetting(&self, now: TimeMs) -> Option<&Bytes> {
        let (at, sequence) = self.forgettings.first()?;
        if *at > now { None } else { self.order.get(sequence) }
    }

    /// Sets or clears the deadline of a key; ignores a missing key.
    pub fn set_deadline(&mut self, key: &[u8], at: Option<TimeMs>) {
        let Some(entry) = self.keys.get_mut(key) else { return };
        if let Some(old) = entry.expires_at {
            self.deadlines.remove(&(old, entry.sequence));
            self.deadline_sum -= u128::from(old.0);
        }
        if let Some(new) = at {
            self.deadlines.insert((new, entry.sequence));
            self.deadline_sum += u128::from(new.0);
        }
        entry.expires_at = at;
    }

    /// The earliest deadline, for scheduling the deletion of due keys.
    pub fn next_deadline(&self) -> Option<TimeMs> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// The mean of all deadlines.
    pub fn mean_deadline(&self) -> Option<TimeMs> {
        let mean = self.deadline_sum.checked_div(self.deadlines.len() as u128)?;
        Some(TimeMs(u64::try_from(mean).unwrap_or(u64::MAX)))
    }

    /// Keys that fit before the hash table grows, for DEBUG HTSTATS.
    pub fn capacity(&self) -> usize {
        self.keys.capacity()
    }

    /// The first key that is due, if any.
    pub fn first_due(&self, now: TimeMs) -> Option<&Bytes> {
        let (at, sequence) = self.deadlines.first()?;
        if *at > now { None } else { self.order.get(sequence) }
    }

    /// All keys from a position in the order of creation on, due ones included.
    pub fn from_sequence(&self, from: KeySequence) -> impl Iterator<Item = (&Bytes, &KeyEntry)> {
        self.order.range(from..).map(|(_, key)| (key, &self.keys[key]))
    }

    /// The position of the next new key.
    pub fn next_sequence(&self) -> KeySequence {
        KeySequence(self.next_sequence)
    }

    /// Restores a key from a checkpoint. Keys arrive in ascending sequence.
    pub fn restore(&mut self, key: Bytes, sequence: KeySequence, version: KeyVersion, value: Value) {
        self.next_sequence = sequence.0 + 1;
        self.order.insert(sequence, key.clone());
        let forgets_at = None;
        self.keys.insert(key.clone(), KeyEntry { value, version, sequence, expires_at: None, forgets_at });
        self.refresh_forgetting(&key);
    }

    /// Restores the counter itself, which may be beyond the last key's position.
    pub fn restore_next_sequence(&mut self, next: KeySequence) {
        assert!(next.0 >= self.next_sequence, "the next place {next:?} lies behind a key");
        self.next_sequence = next.0;
    }

    /// Asserts the invariants, those of the values included.
    pub fn check(&self) {
        assert_eq!(self.keys.len(), self.order.len(), "each key has a place");
        let (mut expiring, mut forgetting) = (0, 0);
        for (sequence, key) in &self.order {
            let entry = self.keys.get(key).expect("order holds the keys");
            assert_eq!(entry.sequence, *sequence, "a key knows its place");
            assert!(sequence.0 < self.next_sequence, "places are given in order");
            if let Some(at) = entry.expires_at {
                expiring += 1;
                assert!(self.deadlines.contains(&(at, *sequence)), "deadlines hold each deadline");
            }
            assert_eq!(entry.forgets_at, entry.next_forgetting(), "a key knows when its stream forgets");
            if let Some(at) = entry.forgets_at {
                forgetting += 1;
                assert!(
                    self.forgettings.contains(&(at, *sequence)),
                    "forgettings hold each stream that will"
                );
            }
            if let Value::Stream(stream) = &entry.value {
                stream.check();
            }
        }
        assert_eq!(self.forgettings.len(), forgetting, "forgettings hold nothing else");
        assert_eq!(self.deadlines.len(), expiring, "deadlines hold nothing else");
        let sum: u128 = self.deadlines.iter().map(|(at, _)| u128::from(at.0)).sum();
        assert_eq!(self.deadline_sum, sum, "the sum is that of the deadlines");
    }

    /// Removes all keys, and returns them. The order of creation continues, so that an earlier cursor never meets
    /// an earlier position.
    pub fn clear(&mut self) -> Keyspace {
        let next_sequence = self.next_sequence;
        std::mem::replace(self, Keyspace { next_sequence, ..Keyspace::default() })
    }
}
