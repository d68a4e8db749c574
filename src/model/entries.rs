//! Entries on their way to a client: what a range or a group read found.
//!
//! This is the read plan of design: ids, and bodies gathered in one arena while the state is borrowed, so that
//! nothing of the machine is held while a reply is written. When bodies come to live in segments, a body that is not
//! in memory becomes a place to fetch from here, and nobody else needs to know.

use crate::base::wire::{Reader, Writer};
use crate::model::entry_id::EntryId;

/// A run of entries, in the order in which a client will see them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntryList {
    /// Fields and values of all entries, each length-prefixed.
    arena: Vec<u8>,
    entries: Vec<Listed>,
    /// Empty, or one for each entry.
    before: Vec<DeliveredBefore>,
}

/// What an entry had been through before this delivery: part of the replies of XREADGROUP with CLAIM (Redis 8.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveredBefore {
    /// Milliseconds since it was delivered; −1 if it was nobody's.
    pub idle_ms: i64,
    pub deliveries: u64,
}

impl DeliveredBefore {
    /// Of an entry that is new to the group.
    pub const NEVER: DeliveredBefore = DeliveredBefore { idle_ms: 0, deliveries: 0 };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Listed {
    id: EntryId,
    /// Where the body begins in the arena.
    start: usize,
    /// Fields and values together, or `None` for an entry that was deleted but is still pending.
    strings: Option<u32>,
}

impl EntryList {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds an entry; its strings follow by [`EntryList::push_string`], fields and values in turn.
    pub fn push_entry(&mut self, id: EntryId) {
        self.entries.push(Listed { id, start: self.arena.len(), strings: Some(0) });
    }

    /// Adds a field or a value to the entry pushed last.
    pub fn push_string(&mut self, string: &[u8]) {
        let last = self.entries.last_mut().expect("push_entry comes first");
        let strings = last.strings.as_mut().expect("a deleted entry has no strings");
        *strings += 1;
        Writer::new(&mut self.arena).bytes(string);
    }

    /// Adds an id whose entry is gone.
    pub fn push_deleted(&mut self, id: EntryId) {
        self.entries.push(Listed { id, start: self.arena.len(), strings: None });
    }

    /// Adds what the entry pushed last had been through: to each entry of a list, or to none.
    pub fn push_before(&mut self, before: DeliveredBefore) {
        self.before.push(before);
        assert_eq!(self.before.len(), self.entries.len(), "each entry has its past, or none has");
    }

    /// See [`EntryList::push_before`].
    pub fn before(&self, index: usize) -> Option<DeliveredBefore> {
        self.before.get(index).copied()
    }

    /// The entry pushed last.
    pub fn last(&self) -> Option<(EntryId, Option<EntryBody<'_>>)> {
        self.entries.last().map(|entry| self.listed(entry))
    }

    fn listed(&self, entry: &Listed) -> (EntryId, Option<EntryBody<'_>>) {
        let body = entry
            .strings
            .map(|strings| EntryBody { left: strings, reader: Reader::new(&self.arena[entry.start..]) });
        (entry.id, body)
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = (EntryId, Option<EntryBody<'_>>)> {
        self.entries.iter().map(|entry| self.listed(entry))
    }

    pub fn ids(&self) -> impl ExactSizeIterator<Item = EntryId> + '_ {
        self.entries.iter().map(|entry| entry.id)
    }

    /// Bytes of all bodies, for sizing a reply.
    pub fn body_bytes(&self) -> usize {
        self.arena.len()
    }
}

/// The strings of one entry: field, value, field, value …
#[derive(Debug, Clone)]
pub struct EntryBody<'a> {
    left: u32,
    reader: Reader<'a>,
}

impl<'a> Iterator for EntryBody<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        Some(self.reader.bytes().expect("the arena holds what was pushed"))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for EntryBody<'_> {}
