//! Entries for a client: the result of a range or a group read.
//!
//! A list is a plan of a reply. The bodies of its first entries are copied into one arena while the state is
//! borrowed; a small reply needs no more. Past [`ENTRIES_COPIED_BYTES_MAX`] it refers to an [`EntrySource`],
//! the entries of the stream at that point of the log: a list over gigabytes takes kilobytes, and is read
//! piece by piece while the reply is sent.

use crate::base::wire::{Reader, Writer};
use crate::model::entry_id::EntryId;
use crate::model::limits::ENTRIES_COPIED_BYTES_MAX;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

/// Entries that a list refers to. They do not change with the stream.
pub trait EntrySource: Debug + Send + Sync {
    /// The block that holds the entry `from`, or else the next one in the direction of the walk, and its
    /// slots from there on (backwards: up to there).
    fn block(&self, from: EntryId, is_reverse: bool) -> Option<(&dyn EntryBlock, Range<usize>)>;

    /// Estimated bytes that the source keeps besides the entries themselves.
    fn memory(&self) -> usize;
}

/// Neighbouring entries of a source, in numbered slots.
pub trait EntryBlock {
    fn first(&self) -> EntryId;
    fn last(&self) -> EntryId;
    /// `None`: it was deleted.
    fn entry(&self, slot: usize) -> Option<(EntryId, EntryBody<'_>)>;
}

/// A run of entries, in reply order.
#[derive(Debug, Clone, Default)]
pub struct EntryList {
    /// Fields and values of all copied entries, each length-prefixed.
    arena: Vec<u8>,
    entries: Vec<Listed>,
    /// Empty, or one for each entry.
    before: Vec<DeliveredBefore>,
    shared: Option<Box<Shared>>,
}

/// The state of an entry before this delivery: part of the replies of XREADGROUP with CLAIM (Redis 8.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveredBefore {
    /// Milliseconds since its last delivery; −1 if it was unowned.
    pub idle_ms: i64,
    pub deliveries: u64,
}

impl DeliveredBefore {
    /// For an entry that is new to the group.
    pub const NEVER: DeliveredBefore = DeliveredBefore { idle_ms: 0, deliveries: 0 };
}

#[derive(Debug, Clone, Copy)]
struct Listed {
    id: EntryId,
    body: BodyPlace,
}

#[derive(Debug, Clone, Copy)]
enum BodyPlace {
    /// In the arena: its start, and its number of fields and values together.
    Copied { start: usize, strings: u32 },
    /// In the source, under its id.
    Shared,
    /// The entry was deleted but is still pending.
    Gone,
}

/// Invariant: the rest, if present, was pushed last.
#[derive(Debug, Clone)]
struct Shared {
    source: Arc<dyn EntrySource>,
    rest: Option<Rest>,
}

/// Neighbours in the source that are not listed individually.
#[derive(Debug, Clone, Copy)]
struct Rest {
    from: EntryId,
    is_reverse: bool,
    count: u64,
}

impl EntryList {
    pub fn len(&self) -> usize {
        self.entries.len() + usize::try_from(self.rest_len()).expect("a stream has fewer entries than bytes")
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.rest_len() == 0
    }

    fn rest(&self) -> Option<&Rest> {
        self.shared.as_ref()?.rest.as_ref()
    }

    fn rest_len(&self) -> u64 {
        self.rest().map_or(0, |rest| rest.count)
    }

    /// Whether the next body is copied; otherwise it stays in its source.
    #[inline]
    pub fn copies_more(&self) -> bool {
        self.arena.len() < ENTRIES_COPIED_BYTES_MAX
    }

    /// Whether bodies are read from a source.
    pub fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// Adds an entry; push its fields and values in turn with [`EntryList::push_string`].
    pub fn push_entry(&mut self, id: EntryId) {
        debug_assert!(self.rest().is_none(), "nothing follows the rest");
        let body = BodyPlace::Copied { start: self.arena.len(), strings: 0 };
        self.entries.push(Listed { id, body });
    }

    /// Adds a field or a value to the entry pushed last.
    pub fn push_string(&mut self, string: &[u8]) {
        let last = self.entries.last_mut().expect("push_entry comes first");
        let BodyPlace::Copied { strings, .. } = &mut last.body else { panic!("{last:?} is not copied") };
        *strings += 1;
        Writer::new(&mut self.arena).bytes(string);
    }

    /// Adds an id whose entry is gone.
    pub fn push_deleted(&mut self, id: EntryId) {
        assert!(self.rest().is_none(), "nothing follows the rest");
        self.entries.push(Listed { id, body: BodyPlace::Gone });
    }

    /// Adds an entry of the source. A list has one source, created on first use.
    pub fn push_shared(&mut self, id: EntryId, source: impl FnOnce() -> Arc<dyn EntrySource>) {
        assert!(self.rest().is_none(), "nothing follows the rest");
        self.shared.get_or_insert_with(|| Box::new(Shared { source: source(), rest: None }));
        self.entries.push(Listed { id, body: BodyPlace::Shared });
    }

    /// Adds `count` neighbours of the source, the first of which is at `from`. No entry may follow them.
    pub fn push_rest(&mut self, source: Arc<dyn EntrySource>, from: EntryId, is_reverse: bool, count: u64) {
        assert!(self.shared.is_none(), "a list has one source");
        assert!(self.before.is_empty(), "the past of each entry is listed with it");
        assert!(count > 0, "there is an entry at {from}");
        self.shared = Some(Box::new(Shared { source, rest: Some(Rest { from, is_reverse, count }) }));
    }

    /// Adds the state before delivery of the entry pushed last: for each entry of a list, or for none.
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
        assert!(self.rest().is_none(), "the last one of the rest is not known");
        self.entries.last().map(|entry| self.listed(entry))
    }

    fn listed(&self, entry: &Listed) -> (EntryId, Option<EntryBody<'_>>) {
        let body = match entry.body {
            BodyPlace::Copied { start, strings } => {
                Some(EntryBody::new(strings, Reader::new(&self.arena[start..])))
            }
            BodyPlace::Shared => Some(self.shared_body(entry.id)),
            BodyPlace::Gone => None,
        };
        (entry.id, body)
    }

    fn shared_body(&self, id: EntryId) -> EntryBody<'_> {
        let shared = self.shared.as_ref().expect("a shared entry has a source");
        let (block, slots) = shared.source.block(id, false).expect("the source has what was listed");
        let (found, body) = block.entry(slots.start).expect("the source has what was listed");
        assert_eq!(found, id, "the source has what was listed");
        body
    }

    pub fn iter(&self) -> Entries<'_> {
        self.iter_from(self.start())
    }

    /// The place before the first entry.
    pub fn start(&self) -> ListPlace {
        ListPlace { at: 0, from: self.rest().map(|rest| rest.from), left: self.rest_len() }
    }

    /// The entries from a place on; the place is from [`EntryList::start`] or [`Entries::place`] of this
    /// list.
    pub fn iter_from(&self, place: ListPlace) -> Entries<'_> {
        assert!(place.at <= self.entries.len() && place.left <= self.rest_len(), "a place of another list");
        Entries { list: self, place, block: None }
    }

    pub fn ids(&self) -> impl ExactSizeIterator<Item = EntryId> + '_ {
        self.iter().map(|(id, _)| id)
    }

    /// Bytes of the copied bodies, for sizing a reply.
    pub fn body_bytes(&self) -> usize {
        self.arena.len()
    }

    /// Entries listed individually, for sizing a reply.
    pub fn listed_len(&self) -> usize {
        self.entries.len()
    }

    /// Estimated bytes that the list keeps, except those of the stream itself.
    pub fn memory(&self) -> usize {
        self.arena.capacity()
            + self.entries.capacity() * size_of::<Listed>()
            + self.before.capacity() * size_of::<DeliveredBefore>()
            + self.shared.as_ref().map_or(0, |shared| size_of::<Shared>() + shared.source.memory())
    }
}

/// Lists with the same reply are equal, wherever their bodies are.
impl PartialEq for EntryList {
    fn eq(&self, other: &EntryList) -> bool {
        let is_same = |((id, body), (other_id, other_body)): (ListedEntry<'_>, ListedEntry<'_>)| {
            id == other_id
                && match (body, other_body) {
                    (Some(body), Some(other)) => body.eq(other),
                    (body, other) => body.is_none() && other.is_none(),
                }
        };
        self.len() == other.len() && self.before == other.before && self.iter().zip(other.iter()).all(is_same)
    }
}

impl Eq for EntryList {}

/// The position of a reader in a list. It outlives its [`Entries`], so that reading can be suspended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListPlace {
    /// The next of the entries listed individually.
    at: usize,
    /// The next id in the rest; `None` at the end of the source.
    from: Option<EntryId>,
    /// Remaining entries of the rest.
    left: u64,
}

/// An entry's id, and its body unless it is gone.
pub type ListedEntry<'a> = (EntryId, Option<EntryBody<'a>>);

/// Reads a list.
pub struct Entries<'a> {
    list: &'a EntryList,
    place: ListPlace,
    block: Option<(&'a dyn EntryBlock, Range<usize>)>,
}

impl Entries<'_> {
    /// The position from which to continue later.
    pub fn place(&self) -> ListPlace {
        self.place
    }

    /// The state of the next entry before its delivery.
    pub fn next_before(&self) -> Option<DeliveredBefore> {
        self.list.before(self.place.at)
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = ListedEntry<'a>;

    #[inline]
    fn next(&mut self) -> Option<ListedEntry<'a>> {
        match self.list.entries.get(self.place.at) {
            Some(entry) => {
                self.place.at += 1;
                Some(self.list.listed(entry))
            }
            None => self.next_of_rest(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.list.entries.len() - self.place.at + self.place.left as usize;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Entries<'_> {}

impl<'a> Entries<'a> {
    fn next_of_rest(&mut self) -> Option<ListedEntry<'a>> {
        self.place.left = self.place.left.checked_sub(1)?;
        let shared = self.list.shared.as_ref().expect("a rest has a source");
        let is_reverse = shared.rest.expect("entries of the rest are left").is_reverse;
        let behind = |id: EntryId| if is_reverse { id.previous() } else { id.next() };
        loop {
            if let Some((block, slots)) = &mut self.block {
                while let Some(slot) = if is_reverse { slots.next_back() } else { slots.next() } {
                    if let Some((id, body)) = block.entry(slot) {
                        self.place.from = behind(id);
                        return Some((id, Some(body)));
                    }
                }
                self.place.from = behind(if is_reverse { block.first() } else { block.last() });
            }
            let from = self.place.from.expect("the source has as many entries as were counted");
            self.block = shared.source.block(from, is_reverse);
            assert!(self.block.is_some(), "the source has as many entries as were counted");
        }
    }
}

/// The strings of one entry: field, value, field, value …
#[derive(Debug, Clone)]
pub struct EntryBody<'a> {
    left: u32,
    /// Fields, if they are stored apart from the values.
    names: Option<Reader<'a>>,
    reader: Reader<'a>,
}

impl<'a> EntryBody<'a> {
    /// A body of this many length-prefixed strings.
    pub fn new(strings: u32, reader: Reader<'a>) -> EntryBody<'a> {
        EntryBody { left: strings, names: None, reader }
    }

    /// A body of this many length-prefixed fields, and their values.
    pub fn with_names(fields: u32, names: Reader<'a>, values: Reader<'a>) -> EntryBody<'a> {
        EntryBody { left: 2 * fields, names: Some(names), reader: values }
    }
}

impl<'a> Iterator for EntryBody<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        let reader = match &mut self.names {
            Some(names) if self.left % 2 == 1 => names,
            _ => &mut self.reader,
        };
        Some(reader.bytes().expect("a body holds what was written"))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for EntryBody<'_> {}
