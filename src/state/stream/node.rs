//! A node: a run of entries of one stream, encoded and append-only; the unit that `~` trims.
//!
//! Format of the buffer: a varint count of fields and their names (those of the first entry), then the
//! entries one after the other: milliseconds since the node's first id (varint), sequence number minus the
//! first's (signed, wrapping), a flag, and either the values alone (flag 1: fields as the first entry has
//! them) or a varint count of fields, and fields and values in turn (flag 0).

use crate::base::wire::{Malformed, Reader, Writer};
use crate::model::args::ArgList;
use crate::model::entries::{EntryBody, EntryList};
use crate::model::entry_id::EntryId;
use crate::state::stream::listpack;

const FIELDS_OWN: u8 = 0;
const FIELDS_AS_FIRST: u8 = 1;

/// Invariants: ids ascend strictly from `first` to `last`; `live` counts the entries that are not marked in
/// `deleted`; `deleted` is empty as long as nothing is deleted.
#[derive(Debug, Clone)]
pub struct Node {
    first: EntryId,
    last: EntryId,
    buffer: Vec<u8>,
    /// The start of each entry in the buffer. The buffer stays far below 4 GiB: see [`listpack::BYTES_MAX`].
    offsets: Vec<u32>,
    deleted: Vec<u64>,
    live: u32,
    /// Bytes of the equivalent listpack in Redis, except its two counters of entries.
    listpack_bytes: usize,
}

impl Node {
    /// A node with its first entry. `fields` are fields and values in turn; `capacity` is an estimate of the
    /// bytes to come.
    pub fn new(id: EntryId, fields: &ArgList<'_>, capacity: usize) -> Node {
        let mut node = Node {
            first: id,
            last: id,
            buffer: Vec::with_capacity(capacity),
            offsets: Vec::new(),
            deleted: Vec::new(),
            live: 0,
            listpack_bytes: 0,
        };
        let count = fields.len() / 2;
        let mut bytes =
            listpack::EMPTY_BYTES + listpack::integer_bytes(count as i64) + listpack::integer_bytes(0);
        let mut writer = Writer::new(&mut node.buffer);
        writer.varint(count as u64);
        for (field, _) in fields.pairs() {
            writer.bytes(field);
            bytes += listpack::string_bytes(field);
        }
        node.listpack_bytes = bytes;
        node.append(id, fields);
        node
    }

    /// Adds an entry; its id is above all others.
    pub fn append(&mut self, id: EntryId, fields: &ArgList<'_>) {
        let count = fields.len() / 2;
        if self.has_fields_of(fields) {
            self.append_values(id, fields.pairs().map(|(_, value)| value), count);
            return;
        }
        let mut bytes = self.open_slot(id);
        let mut writer = Writer::new(&mut self.buffer);
        writer.u8(FIELDS_OWN);
        writer.varint(count as u64);
        for string in fields.iter() {
            writer.bytes(string);
            bytes += listpack::string_bytes(string);
        }
        bytes += listpack::integer_bytes(count as i64) + listpack::integer_bytes(2 * count as i64 + 4);
        self.close_slot(id, bytes);
    }

    /// Adds an entry with the fields of the first one, as the caller has determined; its id is above all
    /// others.
    pub fn append_values<'v>(&mut self, id: EntryId, values: impl Iterator<Item = &'v [u8]>, count: usize) {
        let mut bytes = self.open_slot(id);
        let mut writer = Writer::new(&mut self.buffer);
        writer.u8(FIELDS_AS_FIRST);
        for value in values {
            writer.bytes(value);
            bytes += listpack::string_bytes(value);
        }
        self.close_slot(id, bytes + listpack::integer_bytes(count as i64 + 3));
    }

    /// Begins an entry; returns the listpack bytes of its id.
    fn open_slot(&mut self, id: EntryId) -> usize {
        debug_assert!(self.offsets.is_empty() || id > self.last, "{id} is not above {}", self.last);
        let (ms, seq) = (id.ms.wrapping_sub(self.first.ms), id.seq.wrapping_sub(self.first.seq) as i64);
        self.offsets.push(u32::try_from(self.buffer.len()).expect("a node stays below 4 GiB"));
        let mut writer = Writer::new(&mut self.buffer);
        writer.varint(ms);
        writer.signed(seq);
        // Flags, milliseconds, sequence number; the number of elements to walk back comes at the end.
        2 + listpack::integer_bytes(ms as i64) + listpack::integer_bytes(seq)
    }

    fn close_slot(&mut self, id: EntryId, listpack_bytes: usize) {
        self.listpack_bytes += listpack_bytes;
        self.last = id;
        self.live += 1;
        if !self.deleted.is_empty() && self.offsets.len() > self.deleted.len() * 64 {
            self.deleted.push(0);
        }
    }

    fn has_fields_of(&self, fields: &ArgList<'_>) -> bool {
        let mut mine = Reader::new(&self.buffer);
        let same_count = mine.varint().is_ok_and(|count| count == (fields.len() / 2) as u64);
        same_count && fields.pairs().all(|(field, _)| mine.bytes().is_ok_and(|my| my == field))
    }

    pub fn first(&self) -> EntryId {
        self.first
    }

    /// The id added last, deleted or not.
    pub fn last(&self) -> EntryId {
        self.last
    }

    /// Entries added, including deleted ones.
    pub fn slots(&self) -> usize {
        self.offsets.len()
    }

    /// Entries that are not deleted.
    pub fn live(&self) -> u64 {
        u64::from(self.live)
    }

    /// Bytes of the buffer, for sizing the next node and for memory accounting.
    pub fn buffer_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// `lpBytes` of the equivalent listpack in Redis.
    pub fn listpack_bytes(&self) -> usize {
        let dead = self.slots() as i64 - i64::from(self.live);
        self.listpack_bytes + listpack::integer_bytes(i64::from(self.live)) + listpack::integer_bytes(dead)
    }

    /// Frees the capacity reserved for further entries.
    pub fn close(&mut self) {
        self.buffer.shrink_to_fit();
        self.offsets.shrink_to_fit();
    }

    pub fn is_live(&self, slot: usize) -> bool {
        self.deleted.get(slot / 64).is_none_or(|word| word & (1 << (slot % 64)) == 0)
    }

    pub fn id(&self, slot: usize) -> EntryId {
        let (id, _) = self.head(slot);
        id
    }

    fn head(&self, slot: usize) -> (EntryId, Reader<'_>) {
        let mut reader = Reader::new(&self.buffer[self.offsets[slot] as usize..]);
        let id = read_id(self.first, &mut reader).expect("the buffer holds what was appended");
        (id, reader)
    }

    /// The first slot whose id is not below `id`; [`Node::slots`] if there is none.
    pub fn seek(&self, id: EntryId) -> usize {
        if id <= self.first {
            return 0;
        }
        if id > self.last {
            return self.slots();
        }
        let (mut low, mut high) = (0, self.slots());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.id(middle) < id { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// Number of slots with ids up to `id`.
    pub fn slots_up_to(&self, id: EntryId) -> usize {
        match id.next() {
            Some(next) if id < self.last => self.seek(next),
            _ => self.slots(),
        }
    }

    /// The slot of an entry that is not deleted.
    pub fn find(&self, id: EntryId) -> Option<usize> {
        let slot = self.seek(id);
        (slot < self.slots() && self.is_live(slot) && self.id(slot) == id).then_some(slot)
    }

    /// Marks an entry that is not deleted yet as deleted.
    pub fn delete(&mut self, slot: usize) {
        assert!(self.is_live(slot), "slot {slot} is deleted already");
        self.deleted.resize(self.offsets.len().div_ceil(64), 0);
        self.deleted[slot / 64] |= 1 << (slot % 64);
        self.live -= 1;
    }

    /// Drops deleted entries after the last live one.
    pub fn drop_dead_tail(&mut self) {
        while !self.is_live(self.slots() - 1) {
            let slot = self.slots() - 1;
            self.buffer.truncate(self.offsets[slot] as usize);
            self.offsets.pop();
            self.deleted[slot / 64] &= !(1 << (slot % 64));
        }
        self.last = self.id(self.slots() - 1);
        self.deleted.truncate(self.slots().div_ceil(64));
        if self.live as usize == self.slots() {
            self.deleted.clear();
        }
    }

    /// Adds the entry to a list for a client.
    pub fn copy_entry(&self, slot: usize, list: &mut EntryList) {
        let (id, mut reader) = self.head(slot);
        list.push_entry(id);
        let copied = read_body(&self.buffer, &mut reader, |string| list.push_string(string));
        copied.expect("the buffer holds what was appended");
    }

    /// A view of the entry, deleted or not.
    pub fn body(&self, slot: usize) -> (EntryId, EntryBody<'_>) {
        let (id, mut reader) = self.head(slot);
        let body = match reader.u8().expect("the buffer holds what was appended") {
            FIELDS_AS_FIRST => {
                let mut names = Reader::new(&self.buffer);
                let fields = names.count().expect("the buffer begins with a count");
                EntryBody::with_names(fields as u32, names, reader)
            }
            _ => {
                let fields = reader.count().expect("the buffer holds what was appended");
                EntryBody::new(2 * fields as u32, reader)
            }
        };
        (id, body)
    }

    /// Names of the fields of the first entry.
    pub fn names(&self) -> Vec<&[u8]> {
        let mut reader = Reader::new(&self.buffer);
        let count = reader.varint().expect("the buffer begins with a count");
        (0..count).map(|_| reader.bytes().expect("the buffer holds the names")).collect()
    }

    /// The id of an entry; whether it has the fields of the first one; then only its values, otherwise fields
    /// and values in turn. Deleted entries are included.
    pub fn strings(&self, slot: usize) -> (EntryId, bool, Vec<&[u8]>) {
        let (id, mut reader) = self.head(slot);
        let as_first = reader.u8().expect("the buffer holds what was appended") == FIELDS_AS_FIRST;
        let count = match as_first {
            true => Reader::new(&self.buffer).varint().expect("the buffer begins with a count"),
            false => 2 * reader.varint().expect("the buffer holds what was appended"),
        };
        let strings = (0..count).map(|_| reader.bytes().expect("the buffer holds what was appended"));
        (id, as_first, strings.collect())
    }

    pub fn encode(&self, writer: &mut Writer<'_>) {
        self.first.encode(writer);
        self.last.encode(writer);
        writer.varint(self.offsets.len() as u64);
        writer.varint(self.listpack_bytes as u64);
        writer.bytes(&self.buffer);
        writer.varint(self.deleted.len() as u64);
        for word in &self.deleted {
            writer.u64(*word);
        }
    }

    /// Decodes a node and checks every entry.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Node, Malformed> {
        let first = EntryId::decode(reader)?;
        let last = EntryId::decode(reader)?;
        let slots = reader.count()?;
        let listpack_bytes = reader.varint()? as usize;
        let buffer = reader.bytes()?.to_vec();
        let words = reader.count()?;
        let mut deleted = Vec::new();
        for _ in 0..words {
            deleted.push(reader.u64()?);
        }
        let mut offsets = Vec::new();
        let mut entries = Reader::new(&buffer);
        let fields = entries.count()?;
        for _ in 0..fields {
            entries.bytes()?;
        }
        let mut previous = None;
        while !entries.is_empty() {
            let offset = entries.position();
            offsets.push(u32::try_from(offset).map_err(|_| reader.malformed("node over 4 GiB"))?);
            let id = read_id(first, &mut entries)?;
            if previous.is_some_and(|previous| id <= previous) {
                return Err(reader.malformed("entry ids of a node do not ascend"));
            }
            previous = Some(id);
            read_body(&buffer, &mut entries, |_| {})?;
        }
        let node = Node { first, last, live: 0, offsets, deleted, listpack_bytes, buffer };
        let dead: u32 = node.deleted.iter().map(|word| word.count_ones()).sum();
        let well_formed = node.slots() == slots
            && slots > 0
            && previous == Some(last)
            && node.id(0) == first
            && (words == 0 || (words == slots.div_ceil(64) && dead > 0))
            && (words == 0 || slots % 64 == 0 || node.deleted[words - 1] >> (slots % 64) == 0)
            && (dead as usize) < slots
            && listpack_bytes <= listpack::BYTES_MAX * 2;
        if !well_formed {
            return Err(reader.malformed("node does not agree with its entries"));
        }
        Ok(Node { live: slots as u32 - dead, ..node })
    }
}

fn read_id(first: EntryId, reader: &mut Reader<'_>) -> Result<EntryId, Malformed> {
    let ms = first.ms.wrapping_add(reader.varint()?);
    let seq = first.seq.wrapping_add(reader.signed()? as u64);
    Ok(EntryId::new(ms, seq))
}

/// Reads the part after an id, and passes on fields and values in turn.
fn read_body(buffer: &[u8], reader: &mut Reader<'_>, mut each: impl FnMut(&[u8])) -> Result<(), Malformed> {
    match reader.u8()? {
        FIELDS_AS_FIRST => {
            let mut names = Reader::new(buffer);
            for _ in 0..names.varint()? {
                each(names.bytes()?);
                each(reader.bytes()?);
            }
        }
        FIELDS_OWN => {
            for _ in 0..reader.count()? {
                each(reader.bytes()?);
                each(reader.bytes()?);
            }
        }
        _ => return Err(reader.malformed("unknown kind of entry")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::args::OwnedArgs;

    fn node(entries: u64) -> Node {
        let fields: OwnedArgs = [&b"field"[..], b"value"].into_iter().collect();
        let other: OwnedArgs = [&b"other"[..], b"12"].into_iter().collect();
        let mut node = Node::new(EntryId::new(5, 7), &ArgList::Args(fields.as_args()), 0);
        for n in 1..entries {
            let args = if n % 3 == 0 { &other } else { &fields };
            node.append(EntryId::new(5 + n, n), &ArgList::Args(args.as_args()));
        }
        node
    }

    /// Counted by hand after `streamAppendItem`: 6 + 1 of the listpack; counters 2 + 2, fields 2, "field" 7,
    /// end 2; then flags 2, ms 2, seq 2, "value" 7, count 2.
    #[test]
    fn a_node_counts_the_bytes_of_its_listpack() {
        assert_eq!(node(1).listpack_bytes(), 22 + 15);
    }

    #[test]
    fn a_node_is_read_back_as_it_was_and_damage_is_refused() {
        let mut node = node(100);
        (0..100).step_by(7).for_each(|slot| node.delete(slot));
        let mut bytes = Vec::new();
        node.encode(&mut Writer::new(&mut bytes));
        let back = Node::decode(&mut Reader::new(&bytes)).unwrap();
        assert_eq!((back.live(), back.listpack_bytes()), (node.live(), node.listpack_bytes()));
        assert!(
            (0..100).all(|slot| back.id(slot) == node.id(slot) && back.is_live(slot) == node.is_live(slot))
        );
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x55;
            if let Ok(node) = Node::decode(&mut Reader::new(&damaged)) {
                (0..node.slots()).for_each(|slot| node.copy_entry(slot, &mut EntryList::default()));
            }
        }
    }

    #[test]
    fn a_dead_tail_can_be_forgotten() {
        let mut node = node(70);
        (60..70).for_each(|slot| node.delete(slot));
        node.drop_dead_tail();
        assert_eq!((node.slots(), node.live(), node.last()), (60, 60, node.id(59)));
        let fields: OwnedArgs = [&b"field"[..], b"value"].into_iter().collect();
        node.append(EntryId::new(65, 0), &ArgList::Args(fields.as_args()));
        assert!(node.find(EntryId::new(65, 0)).is_some_and(|slot| slot == 60));
    }
}
