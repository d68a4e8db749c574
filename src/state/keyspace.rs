//! The keys of one database: values, deadlines, order of creation.

use crate::model::log::LogIndex;
use crate::model::time::TimeMs;
use crate::state::key_table::{KeyName, KeySequence, KeyTable, Sequenced, TableImage};
use crate::state::removals::Removals;
use crate::state::stream::Stream;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The value of a key. Cheap to clone: a write copies a page of keys after an image of them was taken.
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

#[derive(Debug, Clone)]
pub struct KeyEntry {
    pub value: Value,
    pub version: KeyVersion,
    sequence: KeySequence,
    expires_at: Option<TimeMs>,
    forgets_at: Option<TimeMs>,
}

impl Sequenced for KeyEntry {
    fn sequence(&self) -> KeySequence {
        self.sequence
    }
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
/// Invariants: `deadlines` holds exactly the keys with `expires_at`, and `forgettings` those with streams that
/// remember idempotent ids, by the time at which the first id is due.
#[derive(Debug, Default)]
pub struct Keyspace {
    table: KeyTable<KeyEntry>,
    deadlines: BTreeSet<(TimeMs, KeySequence)>,
    forgettings: BTreeSet<(TimeMs, KeySequence)>,
    /// Sum of all deadlines, for their mean.
    deadline_sum: u128,
    next_sequence: u64,
    /// The log entry that is being applied: what it changes is marked with it.
    index: LogIndex,
    /// The last log entry that has emptied the database, or exchanged it for another.
    replaced_at: LogIndex,
    removals: Removals,
}

impl Keyspace {
    /// Bytes of each key, without its name and its value.
    pub const BYTES_PER_KEY: usize = KeyTable::<KeyEntry>::BYTES_PER_KEY;

    /// The following changes are those of this log entry.
    pub(in crate::state) fn begin(&mut self, index: LogIndex) -> &mut Keyspace {
        self.index = index;
        self
    }

    /// Number of keys, including due keys that are not deleted yet (as DBSIZE of Redis counts).
    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Number of keys with a deadline.
    pub fn expiring(&self) -> usize {
        self.deadlines.len()
    }

    /// The key as of `now`: a due key is absent.
    pub fn get(&self, key: &[u8], now: TimeMs) -> Option<&KeyEntry> {
        self.table.get(key).filter(|entry| !entry.is_due(now))
    }

    /// The key, even if it is due.
    pub fn get_due_too(&self, key: &[u8]) -> Option<&KeyEntry> {
        self.table.get(key)
    }

    /// Like [`Keyspace::get`], and marks the key as touched; a caller that changes the value must set
    /// [`KeyEntry::version`]. A due key must have been removed before ([`Keyspace::remove_if_due`]).
    pub fn get_mut(&mut self, key: &[u8]) -> Option<&mut KeyEntry> {
        let found = self.table.find(key)?;
        Some(self.table.entry_mut(found, self.index))
    }

    /// Removes the key if it is due. Every write starts with this.
    pub fn remove_if_due(&mut self, key: &[u8], now: TimeMs) -> Option<KeyEntry> {
        if self.deadlines.is_empty() || !self.table.get(key).is_some_and(|entry| entry.is_due(now)) {
            return None;
        }
        self.remove(key)
    }

    /// Sets a value and gives the one before. An existing key keeps its place in the order; it loses its
    /// deadline unless `keeps_deadline`.
    pub fn insert(
        &mut self,
        key: &[u8],
        value: Value,
        version: KeyVersion,
        keeps_deadline: bool,
    ) -> Option<Value> {
        let Some(found) = self.table.find(key) else {
            let sequence = KeySequence(self.next_sequence);
            self.restore(key, sequence, version, value);
            return None;
        };
        let entry = self.table.entry_mut(found, self.index);
        entry.version = version;
        let before = std::mem::replace(&mut entry.value, value);
        let is_stream = matches!((&before, &entry.value), (Value::Stream(_), _) | (_, Value::Stream(_)));
        if entry.expires_at.is_some() && !keeps_deadline {
            self.set_deadline(key, None);
        }
        if is_stream {
            self.refresh_forgetting(key);
        }
        Some(before)
    }

    pub fn remove(&mut self, key: &[u8]) -> Option<KeyEntry> {
        let entry = self.table.remove(self.table.find(key)?);
        self.removals.note(self.index, entry.sequence, self.table.len());
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
        match self.get_mut(key)? {
            KeyEntry { value: Value::Stream(stream), .. } => Some(Arc::make_mut(stream)),
            _ => None,
        }
    }

    /// Must be called after any change of a stream's idempotent ids.
    pub fn refresh_forgetting(&mut self, key: &[u8]) {
        let Some(found) = self.table.find(key) else { return };
        let entry = self.table.entry(found);
        let (before, after, sequence) = (entry.forgets_at, entry.next_forgetting(), entry.sequence);
        if before == after {
            return;
        }
        self.table.entry_mut_untouched(found).forgets_at = after;
        if let Some(before) = before {
            self.forgettings.remove(&(before, sequence));
        }
        if let Some(after) = after {
            self.forgettings.insert((after, sequence));
        }
    }

    /// The earliest time at which an idempotent id is due.
    pub fn next_forgetting(&self) -> Option<TimeMs> {
        self.forgettings.first().map(|(at, _)| *at)
    }

    /// The first key with a due idempotent id, if any.
    pub fn first_forgetting(&self, now: TimeMs) -> Option<&KeyName> {
        let (at, sequence) = self.forgettings.first()?;
        if *at > now { None } else { self.table.at(*sequence).map(|(name, _)| name) }
    }

    /// Sets or clears the deadline of a key; ignores a missing key.
    pub fn set_deadline(&mut self, key: &[u8], at: Option<TimeMs>) {
        let Some(found) = self.table.find(key) else { return };
        let (before, sequence) = (self.table.entry(found).expires_at, self.table.entry(found).sequence);
        if before == at {
            return;
        }
        self.table.entry_mut(found, self.index).expires_at = at;
        if let Some(old) = before {
            self.deadlines.remove(&(old, sequence));
            self.deadline_sum -= u128::from(old.0);
        }
        if let Some(new) = at {
            self.deadlines.insert((new, sequence));
            self.deadline_sum += u128::from(new.0);
        }
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

    /// Keys that fit before the index grows, about, for DEBUG HTSTATS.
    pub fn capacity(&self) -> usize {
        self.table.capacity()
    }

    /// The first key that is due, if any.
    pub fn first_due(&self, now: TimeMs) -> Option<&KeyName> {
        let (at, sequence) = self.deadlines.first()?;
        if *at > now { None } else { self.table.at(*sequence).map(|(name, _)| name) }
    }

    /// All keys from a position in the order of creation on, due ones included.
    pub fn from_sequence(&self, from: KeySequence) -> impl Iterator<Item = (&KeyName, &KeyEntry)> {
        self.table.from(from)
    }

    /// The position of the next new key.
    pub fn next_sequence(&self) -> KeySequence {
        KeySequence(self.next_sequence)
    }

    /// Adds a key that is absent, at a position behind all others.
    pub fn restore(&mut self, key: &[u8], sequence: KeySequence, version: KeyVersion, value: Value) {
        self.next_sequence = sequence.0 + 1;
        let is_stream = matches!(value, Value::Stream(_));
        let entry = KeyEntry { value, version, sequence, expires_at: None, forgets_at: None };
        self.table.insert_last(key, entry, self.index);
        if is_stream {
            self.refresh_forgetting(key);
        }
    }

    /// Restores the counter itself, which may be beyond the last key's position.
    pub fn restore_next_sequence(&mut self, next: KeySequence) {
        assert!(next.0 >= self.next_sequence, "the next place {next:?} lies behind a key");
        self.next_sequence = next.0;
    }

    /// Asserts the invariants, those of the values included.
    pub fn check(&self) {
        self.table.check();
        let (mut expiring, mut forgetting) = (0, 0);
        for (_, entry) in self.table.from(KeySequence(0)) {
            let sequence = entry.sequence;
            assert!(sequence.0 < self.next_sequence, "places are given in order");
            if let Some(at) = entry.expires_at {
                expiring += 1;
                assert!(self.deadlines.contains(&(at, sequence)), "deadlines hold each deadline");
            }
            assert_eq!(entry.forgets_at, entry.next_forgetting(), "a key knows when its stream forgets");
            if let Some(at) = entry.forgets_at {
                forgetting += 1;
                assert!(self.forgettings.contains(&(at, sequence)), "forgettings hold each stream that will");
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
        let cleared =
            Keyspace { next_sequence: self.next_sequence, index: self.index, ..Keyspace::default() };
        let removed = std::mem::replace(self, cleared);
        self.note_replaced();
        removed
    }

    /// Nothing of what the database held is left: it was emptied, or exchanged for another.
    pub fn note_replaced(&mut self) {
        self.replaced_at = self.index;
        self.removals = Removals::since(self.index);
    }

    /// An image was taken, or is about to be: what is removed from now on was in it.
    pub fn note_image(&mut self) {
        self.removals.note_image(self.next_sequence());
    }

    /// Nobody asks for what has changed up to this log entry.
    pub fn forget_removals(&mut self, upto: LogIndex) {
        self.removals.forget_up_to(upto);
    }

    pub fn image(&self) -> KeyspaceImage {
        KeyspaceImage {
            table: self.table.image(),
            next_sequence: self.next_sequence(),
            replaced_at: self.replaced_at,
            removals: self.removals.clone(),
        }
    }
}

/// A database as it was at one moment, as a checkpoint needs it.
#[derive(Debug, Clone)]
pub struct KeyspaceImage {
    table: TableImage<KeyEntry>,
    next_sequence: KeySequence,
    replaced_at: LogIndex,
    removals: Removals,
}

impl KeyspaceImage {
    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    pub fn next_sequence(&self) -> KeySequence {
        self.next_sequence
    }

    /// All keys in order of creation.
    pub fn keys(&self) -> impl Iterator<Item = (&KeyName, &KeyEntry)> {
        self.table.entries()
    }

    /// Whether nothing is left of what the database held after the log entry `since`.
    pub fn is_replaced_after(&self, since: LogIndex) -> bool {
        self.replaced_at > since
    }

    /// Keys that were changed or created after the log entry `since`, in order of creation: all whose bytes
    /// in a checkpoint differ, and some more.
    pub fn touched_after(&self, since: LogIndex) -> impl Iterator<Item = (&KeyName, &KeyEntry)> {
        let since = if self.is_replaced_after(since) { None } else { Some(since) };
        let all = since.is_none().then(|| self.table.entries());
        let touched = since.map(|since| self.table.touched_after(since));
        all.into_iter().flatten().chain(touched.into_iter().flatten())
    }

    /// Keys below `below` that were removed after the log entry `since`, in order of creation; none if the
    /// database was replaced. `None`: not known any more.
    pub fn removed_after(&self, since: LogIndex, below: KeySequence) -> Option<Vec<KeySequence>> {
        if self.is_replaced_after(since) { Some(Vec::new()) } else { self.removals.after(since, below) }
    }

    /// For tests: segments and pages of keys that the database shares no more.
    #[cfg(test)]
    pub fn unshared(&self, keys: &Keyspace) -> (usize, usize) {
        self.table.unshared(&keys.table)
    }
}
