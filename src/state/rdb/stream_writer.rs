//! Encodes a stream for Redis (`rdbSaveObject`).

use crate::model::entry_id::EntryId;
use crate::model::limits::{IDEMPOTENCY_DURATION_S_DEFAULT, IDEMPOTENCY_IDS_DEFAULT};
use crate::model::time::TimeMs;
use crate::state::group::pending::Pending;
use crate::state::group::{Consumer, Group};
use crate::state::rdb::StreamType;
use crate::state::rdb::listpack::ListpackWriter;
use crate::state::rdb::writer::{RdbWriter, raw_id};
use crate::state::seen::StreamSeen;
use crate::state::stream::Stream;
use crate::state::stream::idempotency::{IdempotencyLimits, ProducerTable};
use crate::state::stream::log::Log;
use crate::state::stream::node::Node;

/// The limits that Redis assumes for a stream without producers.
pub const PRODUCERS_OF_REDIS: IdempotencyLimits =
    IdempotencyLimits { duration_s: IDEMPOTENCY_DURATION_S_DEFAULT, ids: IDEMPOTENCY_IDS_DEFAULT };

pub fn write(writer: &mut RdbWriter<'_>, stream: &Stream, kind: StreamType, seen: StreamSeen<'_>) {
    write_log(writer, &stream.log, kind);
    writer.length(stream.groups.len() as u64);
    for (name, group) in stream.groups.iter() {
        writer.string(name);
        let seen_at = |consumer: &Consumer| seen.at(name, &consumer.name, consumer.seen_at);
        write_group(writer, group, kind, seen_at);
    }
    if kind >= StreamType::Producers {
        write_producers(writer, &stream.producers);
    }
}

fn write_log(writer: &mut RdbWriter<'_>, log: &Log, kind: StreamType) {
    writer.length(log.nodes() as u64);
    for node in log.each_node() {
        writer.raw_string(&raw_id(node.first()));
        writer.raw_string(&listpack(node));
    }
    writer.length(log.len());
    writer.id(log.last_id);
    if kind >= StreamType::Counters {
        writer.id(log.first_id());
        writer.id(log.max_deleted_id);
        writer.length(log.entries_added);
    }
}

/// The listpack that Redis would hold for this node.
fn listpack(node: &Node) -> Vec<u8> {
    let mut out = ListpackWriter::default();
    out.integer(node.live() as i64);
    out.integer(node.slots() as i64 - node.live() as i64);
    let names = node.names();
    out.integer(names.len() as i64);
    names.iter().for_each(|name| out.string(name));
    out.integer(0);
    for slot in 0..node.slots() {
        let (id, has_same_fields, strings) = node.strings(slot);
        out.integer(i64::from(!node.is_live(slot)) | i64::from(has_same_fields) << 1);
        out.integer(id.ms.wrapping_sub(node.first().ms) as i64);
        out.integer(id.seq.wrapping_sub(node.first().seq) as i64);
        if !has_same_fields {
            out.integer(strings.len() as i64 / 2);
        }
        strings.iter().for_each(|string| out.string(string));
        out.integer(strings.len() as i64 + if has_same_fields { 3 } else { 4 });
    }
    let bytes = out.finish();
    // Entries dropped from its end are still counted.
    debug_assert!(bytes.len() <= node.listpack_bytes(), "a node counts what its listpack takes");
    bytes
}

fn write_group(
    writer: &mut RdbWriter<'_>,
    group: &Group,
    kind: StreamType,
    seen_at: impl Fn(&Consumer) -> TimeMs,
) {
    writer.id(group.last_id);
    if kind >= StreamType::Counters {
        writer.length(group.entries_read.unwrap_or(u64::MAX));
    }
    // Before 8.8, unowned entries have no representation: servers refuse them.
    let is_written = |pending: &Pending| kind >= StreamType::Unowned || pending.owner.is_some();
    let left_out = if kind >= StreamType::Unowned { 0 } else { group.nacked_len() };
    writer.length((group.pending_len() - left_out) as u64);
    for (id, pending) in group.pending_from(EntryId::MIN).filter(|(_, pending)| is_written(pending)) {
        writer.raw_id(id);
        writer.time(Some(pending.delivered_at.0));
        writer.length(pending.deliveries);
    }
    writer.length(group.consumers_len() as u64);
    for consumer in group.consumers() {
        writer.string(&consumer.name);
        writer.time(Some(seen_at(consumer).0));
        if kind >= StreamType::ActiveTimes {
            writer.time(consumer.active_at.map(|at| at.0));
        }
        writer.length(consumer.pending_len() as u64);
        consumer.pending_from(EntryId::MIN).for_each(|id| writer.raw_id(id));
    }
    if kind >= StreamType::Unowned {
        writer.length(group.nacked_len() as u64);
        group.nacked().for_each(|id| writer.raw_id(id));
    }
}

fn write_producers(writer: &mut RdbWriter<'_>, producers: &ProducerTable) {
    let limits = producers.limits();
    writer.length(u64::from(limits.duration_s));
    writer.length(u64::from(limits.ids));
    writer.length(producers.producers_len() as u64);
    for (name, count, ids) in producers.producers() {
        writer.string(name);
        writer.length(count as u64);
        for remembered in ids {
            writer.string(&remembered.id);
            writer.id(remembered.entry);
        }
    }
    writer.length(producers.added);
    writer.length(producers.duplicates);
}
