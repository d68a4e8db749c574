//! XLEN, XRANGE, XREVRANGE, XREAD, XINFO STREAM.

use crate::command::value::stream::{Range, Read, ReadFrom};
use crate::model::entries::EntryList;
use crate::model::entry_id::EntryId;
use crate::model::reply::{Reply, ReplyError};
use crate::model::time::TimeMs;
use crate::state::group;
use crate::state::stream::Stream;
use crate::state::stream::budget::Budget;
use crate::state::stream::log::Log;
use bytes::Bytes;

const NEW_IN_XREAD: ReplyError = ReplyError::new(
    "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
);

/// XRANGE, XREVRANGE
pub fn range(stream: Option<&Stream>, range: &Range<'_>) -> Reply {
    let Some(stream) = stream else { return Reply::Entries(EntryList::default()) };
    if range.count == Some(0) {
        return Reply::NilArray;
    }
    let most = range.count.unwrap_or(u64::MAX);
    Reply::Entries(stream.log.list_range(range.start, range.end, most, range.reverse))
}

/// XREAD
pub fn read<'s>(
    read: &Read<'_>,
    stream: impl Fn(&[u8]) -> Result<Option<&'s Stream>, ReplyError>,
) -> Result<Reply, ReplyError> {
    let mut budget = Budget::new(read.limits);
    let mut streams = Vec::new();
    for (key, from) in &read.streams {
        let found = match stream(key) {
            Err(_) if read.skips_others => None,
            found => found?,
        };
        match from {
            ReadFrom::Refused(b'>') => return Err(NEW_IN_XREAD),
            ReadFrom::Refused(_) => return Err(ReplyError::INVALID_STREAM_ID),
            ReadFrom::New | ReadFrom::Last | ReadFrom::After(_) => {}
        }
        let Some(stream) = found.filter(|_| !budget.is_spent()) else { continue };
        let mut list = EntryList::default();
        match from {
            // Nothing lies above the last id at the moment of the call.
            ReadFrom::New | ReadFrom::Refused(_) => {}
            ReadFrom::Last => {
                if let Some(last) = stream.log.range_back(EntryId::MIN, EntryId::MAX).next() {
                    last.copy_to(&mut list);
                    budget.add(key, &list);
                }
            }
            ReadFrom::After(id) => {
                if let Some(start) = id.next().filter(|start| *start <= stream.log.last_id) {
                    list = match budget.counts_bytes() {
                        false => stream.log.list_range(start, EntryId::MAX, budget.left(), false),
                        true => within_bytes(&stream.log, start, &mut budget, key),
                    };
                    budget.add_entries(&list);
                }
            }
        }
        if !list.is_empty() {
            budget.close(key, &list);
            streams.push((Bytes::copy_from_slice(key), list));
        }
    }
    Ok(if streams.is_empty() { Reply::NilArray } else { Reply::Streams(streams) })
}

/// Entries from `start` on, each measured.
fn within_bytes(log: &Log, start: EntryId, budget: &mut Budget, key: &[u8]) -> EntryList {
    let mut list = EntryList::default();
    for entry in log.range(start, EntryId::MAX) {
        if !budget.admits(&list) {
            break;
        }
        entry.list_in(log, &mut list);
        budget.add(key, &list);
    }
    list
}

/// XINFO STREAM; fields and their order as in Redis 8.6. Idempotent ids that are due are not counted.
pub fn info(stream: &Stream, full: Option<u64>, now: TimeMs) -> Reply {
    let (log, producers) = (&stream.log, &stream.producers);
    let limits = producers.limits();
    let (tracked, ids_tracked) = producers.tracked(now);
    // The radix tree of Redis has a key per node, and one node more than keys while it is small.
    let nodes = log.nodes();
    let mut fields = vec![
        (Reply::Text("length"), Reply::Integer(log.len() as i64)),
        (Reply::Text("radix-tree-keys"), Reply::count(nodes)),
        (Reply::Text("radix-tree-nodes"), Reply::count(nodes + 1)),
        (Reply::Text("last-generated-id"), Reply::Id(log.last_id)),
        (Reply::Text("max-deleted-entry-id"), Reply::Id(log.max_deleted_id)),
        (Reply::Text("entries-added"), Reply::Integer(log.entries_added as i64)),
        (Reply::Text("recorded-first-entry-id"), Reply::Id(log.first_id())),
        (Reply::Text("idmp-duration"), Reply::Integer(i64::from(limits.duration_s))),
        (Reply::Text("idmp-maxsize"), Reply::Integer(i64::from(limits.ids))),
        (Reply::Text("pids-tracked"), Reply::count(tracked)),
        (Reply::Text("iids-tracked"), Reply::count(ids_tracked)),
        (Reply::Text("iids-added"), Reply::Integer(producers.added as i64)),
        (Reply::Text("iids-duplicates"), Reply::Integer(producers.duplicates as i64)),
    ];
    match full {
        None => {
            let first = log.range(EntryId::MIN, EntryId::MAX).next().map(|entry| entry.id);
            fields.push((Reply::Text("groups"), Reply::count(stream.groups.len())));
            fields.push((Reply::Text("first-entry"), one_entry(log, first)));
            fields.push((Reply::Text("last-entry"), one_entry(log, log.last_live_id())));
        }
        Some(count) => {
            let most = if count == 0 { u64::MAX } else { count };
            let entries = log.list_range(EntryId::MIN, EntryId::MAX, most, false);
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            let groups = stream.groups.iter().map(|(name, group)| group::query::full(log, name, group, most));
            fields.push((Reply::Text("entries"), Reply::Entries(entries)));
            fields.push((Reply::Text("groups"), Reply::Array(groups.collect())));
        }
    }
    Reply::Map(fields)
}

/// `[id, [field, value …]]`, not in a list of entries.
fn one_entry(log: &Log, id: Option<EntryId>) -> Reply {
    let mut list = EntryList::default();
    let Some(id) = id.filter(|id| log.list_entry(*id, &mut list)) else { return Reply::Nil };
    let body = list.iter().next().and_then(|(_, body)| body).expect("just copied");
    Reply::Array(vec![Reply::Id(id), Reply::Array(body.map(Reply::bulk).collect())])
}
