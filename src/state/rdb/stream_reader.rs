//! A stream as Redis writes it (`rdbLoadObject`), read and checked.
//!
//! Each listpack becomes one node, deleted entries included, so that `~` trims the same entries as in Redis.

use crate::base::wire::{Malformed, Writer};
use crate::model::args::ArgList;
use crate::model::entry_id::EntryId;
use crate::model::time::TimeMs;
use crate::state::group::pending::Pending;
use crate::state::group::{DELIVERIES_MAX, Group};
use crate::state::rdb::StreamType;
use crate::state::rdb::listpack::{Element, Elements};
use crate::state::rdb::reader::RdbReader;
use crate::state::stream::Stream;
use crate::state::stream::idempotency::{IdempotencyLimits, ProducerTable, Remembered};
use crate::state::stream::listpack;
use crate::state::stream::log::Log;
use crate::state::stream::node::Node;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Flags of an entry in a listpack.
const DELETED: i64 = 1;
const SAME_FIELDS: i64 = 2;

/// `entries-read` of a group if unknown.
const UNKNOWN: u64 = u64::MAX;

type Taken<T> = Result<T, Malformed>;

pub fn read(
    reader: &mut RdbReader<'_>,
    kind: StreamType,
    now: TimeMs,
    limits: IdempotencyLimits,
) -> Taken<Stream> {
    let log = read_log(reader, kind)?;
    let mut stream = Stream::new(limits);
    stream.log = log;
    for _ in 0..reader.length()? {
        let name = Bytes::copy_from_slice(&reader.string()?);
        let group = read_group(reader, kind, &stream.log)?;
        if stream.groups.insert(name, Arc::new(group)).is_some() {
            return Err(reader.malformed("two groups of one name"));
        }
    }
    if kind >= StreamType::Producers {
        stream.producers = read_producers(reader, now)?;
    }
    Ok(stream)
}

/// Reads the log. Nodes precede the last id, which bounds them.
fn read_log(reader: &mut RdbReader<'_>, kind: StreamType) -> Taken<Log> {
    let mut nodes = Vec::new();
    for _ in 0..reader.length()? {
        nodes.extend(read_node(reader)?);
    }
    let length = reader.length()?;
    let mut log = Log::new(reader.id()?, EntryId::MIN, length);
    if kind >= StreamType::Counters {
        // The first id follows from the entries.
        reader.id()?;
        log.max_deleted_id = reader.id()?;
        log.entries_added = reader.length()?;
    }
    for node in nodes {
        if !log.push_node(node) {
            return Err(reader.malformed("ids of a stream do not ascend to its last one"));
        }
    }
    if log.len() != length || log.entries_added < length || i64::try_from(log.entries_added).is_err() {
        return Err(reader.malformed("counters of a stream are not those of its entries"));
    }
    Ok(log)
}

/// One entry of a listpack; its strings are not copied yet.
struct Listed<'a> {
    id: EntryId,
    is_deleted: bool,
    has_same_fields: bool,
    /// Positioned before its strings.
    elements: Elements<'a>,
    /// Number of strings: values only, if the entry shares the first entry's fields.
    strings: usize,
}

/// `None` if no entry is left.
fn read_node(reader: &mut RdbReader<'_>) -> Taken<Option<Node>> {
    let key = reader.string()?;
    let master = <[u8; 16]>::try_from(&key[..]).map_err(|_| reader.malformed("a node's key is no id"))?;
    let master = u128::from_be_bytes(master);
    let master = EntryId::new((master >> 64) as u64, master as u64);
    let bytes = reader.string()?;
    if bytes.len() > listpack::BYTES_MAX {
        return Err(reader.malformed("a node over 1 GiB"));
    }
    let damaged = reader.malformed("a listpack of a stream is damaged");
    let (names, mut entries) = list(&bytes, master).ok_or(damaged)?;
    drop_misplaced(&mut entries);
    if entries.iter().all(|entry| entry.is_deleted) {
        return Ok(None);
    }
    // Each entry that shares the first entry's names shows them in replies.
    let names_bytes: usize = names.iter().map(|name| name.with_text(<[u8]>::len)).sum();
    let sharing = entries.iter().filter(|entry| entry.has_same_fields).count();
    reader.spend(names_bytes.saturating_mul(sharing).saturating_add(bytes.len()))?;
    build(&names, &entries).map(Some).ok_or(damaged)
}

/// The first entry's field names, and all entries in order (`streamAppendItem`).
fn list<'a>(bytes: &'a [u8], master: EntryId) -> Option<(Vec<Element<'a>>, Vec<Listed<'a>>)> {
    let mut elements = Elements::new(bytes)?;
    let count = usize::try_from(elements.take_integer()?).ok()?;
    let deleted = usize::try_from(elements.take_integer()?).ok()?;
    let mut names = Vec::new();
    for _ in 0..number_of_fields(elements.take_integer()?)? {
        names.push(elements.take()?);
    }
    if elements.take_integer()? != 0 {
        return None;
    }
    let mut entries = Vec::new();
    while !elements.is_empty() {
        let flags = elements.take_integer()?;
        if !(0..=DELETED | SAME_FIELDS).contains(&flags) {
            return None;
        }
        let ms = master.ms.wrapping_add(elements.take_integer()? as u64);
        let seq = master.seq.wrapping_add(elements.take_integer()? as u64);
        let has_same_fields = flags & SAME_FIELDS != 0;
        let (strings, others) = if has_same_fields {
            (names.len(), 3)
        } else {
            (number_of_fields(elements.take_integer()?)?.checked_mul(2)?, 4)
        };
        let before = elements;
        for _ in 0..strings {
            elements.take()?;
        }
        if usize::try_from(elements.take_integer()?).ok()? != strings.checked_add(others)? {
            return None;
        }
        let is_deleted = flags & DELETED != 0;
        entries.push(Listed {
            id: EntryId::new(ms, seq),
            is_deleted,
            has_same_fields,
            elements: before,
            strings,
        });
    }
    let dead = entries.iter().filter(|entry| entry.is_deleted).count();
    // The first entry defines the names.
    let is_sound = elements.is_finished()
        && (dead, entries.len() - dead) == (deleted, count)
        && entries.first().is_some_and(|first| first.has_same_fields);
    is_sound.then_some((names, entries))
}

fn number_of_fields(value: i64) -> Option<usize> {
    usize::try_from(value).ok().filter(|count| *count > 0)
}

/// In Redis, XSETID to a smaller id leaves deleted entries above later ones. This drops them.
fn drop_misplaced(entries: &mut Vec<Listed<'_>>) {
    let mut next = None;
    let mut keep: VecDeque<bool> = VecDeque::new();
    for entry in entries.iter().rev() {
        let is_misplaced = entry.is_deleted && next.is_some_and(|next| entry.id >= next);
        if !is_misplaced {
            next = Some(entry.id);
        }
        keep.push_front(!is_misplaced);
    }
    entries.retain(|_| keep.pop_front().unwrap_or(true));
}

/// `None` if ids do not ascend, or if the entry that defines the names is missing.
fn build(names: &[Element<'_>], entries: &[Listed<'_>]) -> Option<Node> {
    let (first, others) = entries.split_first().filter(|(first, _)| first.has_same_fields)?;
    let mut fields = Vec::new();
    let mut elements = first.elements;
    for name in names {
        name.with_text(|text| Writer::new(&mut fields).bytes(text));
        elements.take()?.with_text(|text| Writer::new(&mut fields).bytes(text));
    }
    let mut node = Node::new(first.id, &ArgList::Packed { count: names.len() * 2, bytes: &fields }, 0);
    let mut slots = vec![first.is_deleted];
    for entry in others {
        if entry.id <= node.last() {
            return None;
        }
        fields.clear();
        let mut elements = entry.elements;
        for _ in 0..entry.strings {
            elements.take()?.with_text(|text| Writer::new(&mut fields).bytes(text));
        }
        let strings = ArgList::Packed { count: entry.strings, bytes: &fields };
        if entry.has_same_fields {
            node.append_values(entry.id, strings.iter(), entry.strings);
        } else {
            node.append(entry.id, &strings);
        }
        slots.push(entry.is_deleted);
    }
    let deleted = slots.iter().enumerate().filter(|(_, is_deleted)| **is_deleted);
    deleted.for_each(|(slot, _)| node.delete(slot));
    node.close();
    Some(node)
}

fn read_group(reader: &mut RdbReader<'_>, kind: StreamType, log: &Log) -> Taken<Group> {
    let last_id = reader.id()?;
    let entries_read = match kind {
        StreamType::Listpacks => log.distance_from_first(last_id),
        _ => Some(reader.length()?).filter(|read| *read != UNKNOWN),
    };
    // XGROUP bounds it likewise since Redis 8.2; before, any value was possible.
    let mut group = Group::new(last_id, entries_read.map(|read| read.min(log.entries_added)));
    let mut pending = BTreeMap::new();
    for _ in 0..reader.length()? {
        let id = reader.raw_id()?;
        let delivered_at = TimeMs(reader.time()?.unwrap_or(0));
        let deliveries = reader.length()?.min(DELIVERIES_MAX);
        if pending.insert(id, (delivered_at, deliveries, None)).is_some() {
            return Err(reader.malformed("an id is pending twice in a group"));
        }
    }
    for _ in 0..reader.length()? {
        let name = reader.string()?;
        let seen_at = TimeMs(reader.time()?.unwrap_or(0));
        let active_at = match kind {
            // The best available estimate (Redis 7.2).
            StreamType::Listpacks | StreamType::Counters => Some(seen_at),
            _ => reader.time()?.map(TimeMs),
        };
        let (consumer, is_new) = group.ensure_consumer(&name, seen_at);
        if !is_new {
            return Err(reader.malformed("two consumers of one name"));
        }
        group.consumer_mut(consumer).active_at = active_at;
        for _ in 0..reader.length()? {
            let id = reader.raw_id()?;
            // Redis let two consumers share one entry (CVE-2026-25243, docs/reliability.md P13).
            match pending.get_mut(&id) {
                Some((_, _, owner @ None)) => *owner = Some(consumer),
                Some(_) => return Err(reader.malformed("an id is pending for two consumers")),
                None => return Err(reader.malformed("an id of a consumer is not pending in the group")),
            }
        }
    }
    if kind >= StreamType::Unowned {
        for _ in 0..reader.length()? {
            let id = reader.raw_id()?;
            match pending.remove(&id) {
                // In the order in which they were given back; such an entry has time 0.
                Some((_, deliveries, None)) => {
                    group.set_pending(id, Pending::of_nobody(deliveries));
                }
                _ => return Err(reader.malformed("an id that is nobody's is not pending, or is somebody's")),
            }
        }
    }
    for (id, (delivered_at, deliveries, owner)) in pending {
        let owner = Some(owner.ok_or(reader.malformed("an id is pending for nobody"))?);
        group.set_pending(id, Pending { owner, delivered_at, deliveries });
    }
    Ok(group)
}

/// An id's age follows from its entry's milliseconds, unless they lie ahead: a payload has nothing better.
fn read_producers(reader: &mut RdbReader<'_>, now: TimeMs) -> Taken<ProducerTable> {
    let (duration_s, ids) = (reader.length()?, reader.length()?);
    let limits = match (u32::try_from(duration_s), u32::try_from(ids)) {
        (Ok(duration_s), Ok(ids)) => Some(IdempotencyLimits { duration_s, ids }),
        _ => None,
    };
    let limits = limits.filter(IdempotencyLimits::are_valid);
    let mut table =
        ProducerTable::new(limits.ok_or(reader.malformed("impossible limits of idempotent ids"))?);
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..reader.length()? {
        let name = Bytes::copy_from_slice(&reader.string()?);
        if !names.insert(name.clone()) {
            return Err(reader.malformed("two producers of one name"));
        }
        let mut at = TimeMs(0);
        for _ in 0..reader.length()? {
            let id = Bytes::copy_from_slice(&reader.string()?);
            let entry = reader.id()?;
            at = at.max(TimeMs(entry.ms).min(now));
            if !table.restore(&name, Remembered { id, entry, at }) {
                return Err(reader.malformed("ids of a producer repeat or are too many"));
            }
        }
    }
    table.added = reader.length()?;
    table.duplicates = reader.length()?;
    Ok(table)
}
