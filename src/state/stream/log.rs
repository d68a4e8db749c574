//! The entries of one stream and their counters (Redis `t_stream.c`, `stream.h`).

use crate::base::wire::{Malformed, Reader, Writer};
use crate::model::args::ArgList;
use crate::model::entries::EntryList;
use crate::model::entry_id::EntryId;
use crate::state::id_map::IdMap;
use crate::state::stream::listpack;
use crate::state::stream::node::Node;
use std::sync::Arc;

/// When a node is full: `stream-node-max-entries` and `stream-node-max-bytes`; 0 is "no limit".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeLimits {
    pub entries: u32,
    pub bytes: u32,
}

/// Invariants: nodes are keyed by their first id and none is without live entries; `length` is the sum of
/// their live entries; every id is at most `last_id`; `first_id` is the first live id, or 0-0 if there is
/// none.
///
/// A clone shares the nodes; a write after it copies one.
#[derive(Debug, Clone, Default)]
pub struct Log {
    pub(in crate::state::stream) nodes: IdMap<Arc<Node>>,
    pub(in crate::state::stream) length: u64,
    /// The last id given to an entry, or set by XSETID; never goes back.
    pub last_id: EntryId,
    pub(in crate::state::stream) first_id: EntryId,
    /// The greatest id that XDEL has removed. Trimming does not move it.
    pub max_deleted_id: EntryId,
    /// Entries ever added, or as XSETID says.
    pub entries_added: u64,
}

impl Log {
    /// An empty log with these counters.
    pub fn new(last_id: EntryId, max_deleted_id: EntryId, entries_added: u64) -> Log {
        Log { last_id, max_deleted_id, entries_added, ..Log::default() }
    }

    /// Appends a node from elsewhere; false if its ids are not between the last node's and the last id.
    /// Deleted entries at the end of the last node are dropped if they are in the way: in Redis, XSETID to a
    /// smaller id leaves such entries.
    pub fn push_node(&mut self, mut node: Node) -> bool {
        if node.last() > self.last_id {
            node.drop_dead_tail();
        }
        if self.nodes.last().is_some_and(|(_, before)| before.last() >= node.first()) {
            Arc::make_mut(self.nodes.last_mut().expect("just seen")).drop_dead_tail();
        }
        let is_above = self.nodes.last().is_none_or(|(_, before)| before.last() < node.first());
        if !is_above || node.first() == EntryId::MIN || node.last() > self.last_id {
            return false;
        }
        self.length += node.live();
        self.nodes.insert(node.first(), Arc::new(node));
        if self.nodes.len() == 1 {
            self.refresh_first_id();
        }
        true
    }

    pub fn len(&self) -> u64 {
        self.length
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The first live id; 0-0 if there is none (`recorded-first-entry-id`).
    pub fn first_id(&self) -> EntryId {
        self.first_id
    }

    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// The id of the last live entry (`streamLastValidID`).
    pub fn last_live_id(&self) -> Option<EntryId> {
        self.range_back(EntryId::MIN, EntryId::MAX).next().map(|entry| entry.id)
    }

    /// Appends an entry. The caller has checked that its id is above `last_id`.
    pub fn append(&mut self, id: EntryId, fields: &ArgList<'_>, limits: NodeLimits) {
        assert!(id > self.last_id, "{id} is not above {}", self.last_id);
        match self.nodes.last_mut() {
            Some(node) if has_room(node, fields, limits) => Arc::make_mut(node).append(id, fields),
            last => {
                // The next node will have about the same size.
                let capacity = last.map_or(0, |node| {
                    Arc::make_mut(node).close();
                    node.buffer_bytes().min(64 * 1024)
                });
                self.nodes.insert(id, Arc::new(Node::new(id, fields, capacity)));
            }
        }
        self.last_id = id;
        self.entries_added = self.entries_added.saturating_add(1);
        self.length += 1;
        if self.length == 1 {
            self.first_id = id;
        }
    }

    pub fn contains(&self, id: EntryId) -> bool {
        self.nodes.floor(id).is_some_and(|(_, node)| node.find(id).is_some())
    }

    /// Removes an entry without changing `max_deleted_id`; false if the entry does not exist.
    pub fn remove(&mut self, id: EntryId) -> bool {
        let Some((key, node)) = self.nodes.floor(id) else { return false };
        let Some(slot) = node.find(id) else { return false };
        if node.live() == 1 {
            self.nodes.remove(key);
        } else {
            Arc::make_mut(self.nodes.get_mut(key).expect("just found")).delete(slot);
        }
        self.length -= 1;
        if self.length == 0 || id == self.first_id {
            self.refresh_first_id();
        }
        true
    }

    /// XDEL of one entry.
    pub fn delete(&mut self, id: EntryId) -> bool {
        let removed = self.remove(id);
        if removed {
            self.max_deleted_id = self.max_deleted_id.max(id);
        }
        removed
    }

    /// XSETID: the caller has checked that no live entry lies above the id. Deleted ones may, at the end of
    /// the last node (an ACKED trim leaves them); they are dropped, so that ids of nodes still ascend.
    pub fn set_last_id(&mut self, id: EntryId) {
        self.last_id = id;
        if self.nodes.last().is_some_and(|(_, node)| node.last() > id) {
            Arc::make_mut(self.nodes.last_mut().expect("just seen")).drop_dead_tail();
        }
    }

    pub(in crate::state::stream) fn refresh_first_id(&mut self) {
        let first = self.range(EntryId::MIN, EntryId::MAX).next().map(|entry| entry.id);
        self.first_id = first.unwrap_or(EntryId::MIN);
    }

    /// Live entries from `start` to `end`, both inclusive.
    pub fn range(&self, start: EntryId, end: EntryId) -> impl Iterator<Item = Entry<'_>> {
        let from = self.nodes.floor(start).map_or(start, |(key, _)| key);
        self.nodes
            .range(from)
            .take_while(move |(key, _)| *key <= end)
            .flat_map(move |(_, node)| live_slots(node, node.seek(start)..node.slots()))
            .take_while(move |entry| entry.id <= end)
    }

    /// The same, from `end` down.
    pub fn range_back(&self, start: EntryId, end: EntryId) -> impl Iterator<Item = Entry<'_>> {
        self.nodes
            .range_back(end)
            .take_while(move |(_, node)| node.last() >= start)
            .flat_map(move |(_, node)| live_slots(node, 0..node.slots_up_to(end)).rev())
            .take_while(move |entry| entry.id >= start)
    }

    /// Whether XDEL has deleted an entry at `start` or above (`streamRangeHasTombstones`, Redis 8.0).
    pub fn has_tombstone_from(&self, start: EntryId) -> bool {
        self.length > 0
            && self.max_deleted_id != EntryId::MIN
            && self.first_id <= self.max_deleted_id
            && start <= self.max_deleted_id
    }

    /// How many entries were ever added up to this id, if that is known
    /// (`streamEstimateDistanceFromFirstEverEntry`, Redis 7.2).
    pub fn distance_from_first(&self, id: EntryId) -> Option<u64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        if self.length == 0 && id <= self.last_id {
            return Some(self.entries_added);
        }
        // The id may lie before a deleted entry.
        if id != EntryId::MIN && id < self.max_deleted_id {
            return None;
        }
        if id == self.last_id {
            return Some(self.entries_added);
        }
        if id > self.last_id {
            return None;
        }
        if self.max_deleted_id == EntryId::MIN || self.max_deleted_id < self.first_id {
            let before = self.entries_added.saturating_sub(self.length);
            if id < self.first_id {
                return Some(before);
            }
            if id == self.first_id {
                return Some(before + 1);
            }
        }
        None
    }

    /// Number of entries that a group has not read yet, if that is known (`streamReplyWithCGLag`, Redis 8.0).
    pub fn lag(&self, last_delivered: EntryId, entries_read: Option<u64>) -> Option<i64> {
        if self.entries_added == 0 || self.length == 0 {
            return Some(0);
        }
        if last_delivered < self.first_id && self.max_deleted_id < self.first_id {
            return Some(self.length as i64);
        }
        let read = match entries_read {
            Some(read) if !self.has_tombstone_from(last_delivered) => read,
            _ => self.distance_from_first(last_delivered)?,
        };
        Some(self.entries_added.wrapping_sub(read) as i64)
    }

    /// `entries-read` of a group at `last_delivered` that now receives `id`, the next entry above it.
    pub fn read_counter(
        &self,
        last_delivered: EntryId,
        entries_read: Option<u64>,
        id: EntryId,
    ) -> Option<u64> {
        match entries_read {
            Some(read) if last_delivered >= self.first_id && !self.has_tombstone_from(last_delivered) => {
                Some(read.saturating_add(1))
            }
            _ if self.entries_added > 0 => self.distance_from_first(id),
            unknown => unknown,
        }
    }

    pub fn encode_head(&self, writer: &mut Writer<'_>) {
        self.last_id.encode(writer);
        self.max_deleted_id.encode(writer);
        writer.varint(self.entries_added);
        writer.varint(self.nodes.len() as u64);
    }

    /// Nodes in order, for a checkpoint.
    pub fn each_node(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().map(|(_, node)| &**node)
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Log, Malformed> {
        let mut log = Log {
            last_id: EntryId::decode(reader)?,
            max_deleted_id: EntryId::decode(reader)?,
            entries_added: reader.varint()?,
            ..Log::default()
        };
        for _ in 0..reader.count()? {
            let node = Node::decode(reader)?;
            if log.nodes.last().is_some_and(|(_, before)| node.first() <= before.last()) {
                return Err(reader.malformed("nodes of a stream overlap"));
            }
            if node.first() == EntryId::MIN || node.last() > log.last_id {
                return Err(reader.malformed("entry above the last id of its stream"));
            }
            log.length += node.live();
            log.nodes.insert(node.first(), Arc::new(node));
        }
        log.refresh_first_id();
        Ok(log)
    }

    /// Nodes of the tree above the entries' own that the log does not share with another.
    #[cfg(test)]
    pub fn unshared_nodes(&self, other: &Log) -> usize {
        self.nodes.unshared(&other.nodes)
    }

    /// Asserts the invariants.
    pub fn check(&self) {
        self.nodes.check();
        assert!(
            self.nodes.iter().all(|(key, node)| node.live() > 0 && key == node.first()),
            "a node has live entries"
        );
        assert_eq!(
            self.range(EntryId::MIN, EntryId::MAX).count() as u64,
            self.length,
            "length counts live ids"
        );
        assert!(
            self.nodes.last().is_none_or(|(_, node)| node.last() <= self.last_id),
            "no id is above the last"
        );
        let mut fresh = self.clone();
        fresh.refresh_first_id();
        assert_eq!(fresh.first_id, self.first_id, "first id is the first live id");
    }
}

/// A live entry and its position.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    pub id: EntryId,
    node: &'a Node,
    slot: usize,
}

impl Entry<'_> {
    pub fn copy_to(&self, list: &mut EntryList) {
        self.node.copy_entry(self.slot, list);
    }
}

fn live_slots(node: &Node, slots: std::ops::Range<usize>) -> impl DoubleEndedIterator<Item = Entry<'_>> {
    slots.filter(|slot| node.is_live(*slot)).map(move |slot| Entry { id: node.id(slot), node, slot })
}

/// Whether Redis would continue in the same listpack (`streamAppendItem`).
fn has_room(node: &Node, fields: &ArgList<'_>, limits: NodeLimits) -> bool {
    let bytes_max = match limits.bytes as usize {
        0 => listpack::BYTES_MAX,
        bytes => bytes.min(listpack::BYTES_MAX),
    };
    let left = bytes_max.saturating_sub(node.listpack_bytes());
    let payload = || fields.iter().map(<[u8]>::len).sum::<usize>();
    (fields.bytes_at_most() < left || payload() < left)
        && (limits.entries == 0 || node.slots() < limits.entries as usize)
}
