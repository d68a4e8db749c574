//! The scope of a write: the keys of its database, its time, and the version for the keys that it changes.

use crate::model::reply::ReplyError;
use crate::model::time::TimeMs;
use crate::state::deletion_versions::DeletionVersions;
use crate::state::effects::{Effects, EventKind};
use crate::state::key_table::KeySequence;
use crate::state::keyspace::{KeyEntry, KeyVersion, Keyspace, Text, Value};
use crate::state::stream::Stream;
use crate::state::stream::idempotency::IdempotencyLimits;
use crate::state::stream::log::NodeLimits;
use std::sync::Arc;

pub struct Scope<'m> {
    pub keys: &'m mut Keyspace,
    pub database: u32,
    pub time: TimeMs,
    /// The write's version, given to every key that it changes in the sense of WATCH.
    pub version: KeyVersion,
    pub limits: NodeLimits,
    /// Limits for newly created streams.
    pub idempotency: IdempotencyLimits,
    pub deletions: &'m mut DeletionVersions,
    pub effects: &'m mut Effects,
}

impl Scope<'_> {
    pub fn push(&mut self, key: &[u8], event: EventKind) {
        self.effects.push(self.database, key, event);
    }

    /// Deletes the key if it is due. Every write starts with this.
    pub fn expire_if_due(&mut self, key: &[u8]) {
        if let Some(entry) = self.keys.remove_if_due(key, self.time) {
            self.deletions.note(self.database, key, entry.version);
            self.effects.discard_value(entry.value);
            self.push(key, EventKind::Expired);
        }
    }

    /// Removes a key for any reason other than its deadline.
    pub fn remove(&mut self, key: &[u8]) -> Option<KeyEntry> {
        let entry = self.keys.remove(key)?;
        self.deletions.note(self.database, key, self.version);
        Some(entry)
    }

    /// The same for a key whose value nobody needs; false if there was none.
    pub fn delete(&mut self, key: &[u8]) -> bool {
        let removed = self.remove(key);
        removed.map(|entry| self.effects.discard_value(entry.value)).is_some()
    }

    /// Removes all keys.
    pub fn clear(&mut self) {
        if self.keys.len() >= DeletionVersions::BUCKETS {
            self.deletions.note_all(self.version);
        } else {
            for (key, entry) in self.keys.from_sequence(KeySequence(0)) {
                let version = if entry.is_due(self.time) { entry.version } else { self.version };
                self.deletions.note(self.database, key, version);
            }
        }
        let removed = self.keys.clear();
        self.effects.discard_keys(removed);
    }

    /// A key for reading.
    pub fn entry(&mut self, key: &[u8]) -> Option<&KeyEntry> {
        self.expire_if_due(key);
        self.keys.get_due_too(key)
    }

    /// A key to change.
    pub fn entry_mut(&mut self, key: &[u8]) -> Option<&mut KeyEntry> {
        self.expire_if_due(key);
        self.keys.get_mut(key)
    }

    pub fn exists(&mut self, key: &[u8]) -> bool {
        self.entry(key).is_some()
    }

    /// A stream to change, with the version field to set.
    pub fn stream(&mut self, key: &[u8]) -> Result<Option<(&mut Stream, &mut KeyVersion)>, ReplyError> {
        match self.entry_mut(key) {
            None => Ok(None),
            Some(KeyEntry { value: Value::Stream(stream), version, .. }) => {
                Ok(Some((Arc::make_mut(stream), version)))
            }
            Some(_) => Err(ReplyError::WRONG_TYPE),
        }
    }

    /// A stream for reading.
    pub fn view(&mut self, key: &[u8]) -> Result<Option<&Stream>, ReplyError> {
        match self.entry(key) {
            None => Ok(None),
            Some(KeyEntry { value: Value::Stream(stream), .. }) => Ok(Some(stream)),
            Some(_) => Err(ReplyError::WRONG_TYPE),
        }
    }

    pub fn text(&mut self, key: &[u8]) -> Result<Option<&Text>, ReplyError> {
        match self.entry(key) {
            None => Ok(None),
            Some(KeyEntry { value: Value::String(text), .. }) => Ok(Some(text)),
            Some(_) => Err(ReplyError::WRONG_TYPE),
        }
    }

    /// Sets a string; an existing key keeps its deadline if `keeps_deadline`.
    pub fn put_text(&mut self, key: &[u8], text: Text, keeps_deadline: bool) {
        self.put(key, Value::String(text), keeps_deadline);
    }

    /// Replaces a key's value, whatever its type, with a string: SET, unlike commands that change an existing
    /// string.
    pub fn overwrite_text(&mut self, key: &[u8], text: Text, keeps_deadline: bool) {
        if let Some(was_like) = self.put(key, Value::String(text), keeps_deadline) {
            self.overwritten(key, !was_like);
        }
    }

    /// Replaces a key's value, or makes the key, as a value that comes from elsewhere does.
    pub fn overwrite(&mut self, key: &[u8], value: Value, deadline: Option<TimeMs>) -> Option<bool> {
        let was_like = self.put(key, value, false);
        if was_like.is_some() {
            // In Redis the key is deleted, and the value arrives as a new key.
            self.push(key, EventKind::New);
        }
        self.keys.set_deadline(key, deadline);
        was_like
    }

    /// Sets a value. Gives whether the value before was of the same type, if there was one.
    fn put(&mut self, key: &[u8], value: Value, keeps_deadline: bool) -> Option<bool> {
        let is_text = matches!(value, Value::String(_));
        let before = self.keys.insert(key, value, self.version, keeps_deadline);
        if before.is_none() {
            self.push(key, EventKind::New);
        }
        let before = before?;
        let was_like = matches!(before, Value::String(_)) == is_text;
        self.effects.discard_value(before);
        Some(was_like)
    }

    pub fn overwritten(&mut self, key: &[u8], has_other_type: bool) {
        self.push(key, EventKind::Overwritten);
        if has_other_type {
            self.push(key, EventKind::TypeChanged);
        }
    }

    /// Inserts a value for an absent key.
    pub fn insert_new(&mut self, key: &[u8], value: Value) {
        self.put(key, value, false);
    }
}
