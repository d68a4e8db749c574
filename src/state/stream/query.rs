//! XLEN, XRANGE, XREVRANGE, XREAD, XINFO STREAM.

use crate::command::value::stream::{Range, Read, ReadFrom};
use crate::model::entries::EntryList;
use crate::model::entry_id::EntryId;
use crate::model::reply::ReplyError;
use crate::model::time::TimeMs;
use crate::state::answer::{Answer, StreamDetail, StreamInfo};
use crate::state::group;
use crate::state::seen::StreamSeen;
use crate::state::stream::Stream;
use crate::state::stream::budget::Budget;
use crate::state::stream::log::Log;
use bytes::Bytes;

const NEW_IN_XREAD: ReplyError = ReplyError::new(
    "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
);

/// XRANGE, XREVRANGE.
pub fn range(stream: Option<&Stream>, range: &Range<'_>) -> Answer {
    let Some(stream) = stream else { return Answer::Entries(Box::default()) };
    if range.count == Some(0) {
        return Answer::NilArray;
    }
    let most = range.count.unwrap_or(u64::MAX);
    Answer::Entries(Box::new(stream.log.list_range(range.start, range.end, most, range.reverse)))
}

/// XREAD.
pub fn read<'s>(
    read: &Read<'_>,
    stream: impl Fn(&[u8]) -> Result<Option<&'s Stream>, ReplyError>,
) -> Result<Answer, ReplyError> {
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
    Ok(if streams.is_empty() { Answer::NilArray } else { Answer::Streams(streams) })
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

/// XINFO STREAM; `full` holds COUNT (0: all). Idempotent ids that are due are not counted.
pub fn info(stream: &Stream, full: Option<u64>, now: TimeMs, seen: StreamSeen<'_>) -> StreamInfo {
    let (log, producers) = (&stream.log, &stream.producers);
    let (producers_tracked, ids_tracked) = producers.tracked(now);
    let detail = match full {
        None => StreamDetail::Brief {
            groups: stream.groups.len(),
            first: log.list_range(EntryId::MIN, EntryId::MAX, 1, false),
            last: log.list_range(EntryId::MIN, EntryId::MAX, 1, true),
        },
        Some(count) => {
            let most = if count == 0 { u64::MAX } else { count };
            let entries = log.list_range(EntryId::MIN, EntryId::MAX, most, false);
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            let groups = stream.groups.iter();
            let groups = groups.map(|(name, group)| group::query::full(log, name, group, most, seen));
            StreamDetail::Full { entries, groups: groups.collect() }
        }
    };
    StreamInfo {
        length: log.len(),
        nodes: log.nodes(),
        last_id: log.last_id,
        max_deleted_id: log.max_deleted_id,
        entries_added: log.entries_added,
        first_id: log.first_id(),
        limits: producers.limits(),
        producers_tracked,
        ids_tracked,
        ids_added: producers.added,
        duplicates: producers.duplicates,
        detail,
    }
}
