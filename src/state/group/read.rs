//! XREADGROUP.

use crate::command::value::group::{GroupRead, GroupReadFrom};
use crate::model::entries::EntryList;
use crate::model::entry_id::EntryId;
use crate::model::reply::{Reply, ReplyError};
use crate::model::time::TimeMs;
use crate::state::effects::KeyEvent;
use crate::state::group::{ConsumerNumber, Group, Pending};
use crate::state::keyspace::{KeyEntry, Value};
use crate::state::scope::Scope;
use crate::state::stream::Stream;
use crate::state::stream::log::Log;
use bytes::Bytes;

const LAST_MEANINGLESS: ReplyError = ReplyError::new(
    "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by \
     specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.",
);
const PLUS_MEANINGLESS: ReplyError = ReplyError::new(
    "ERR The + ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by \
     specifying a proper ID, or use the > ID to get new messages. The + ID would just return an empty result set.",
);

/// Everything is checked before anything changes (reliability R10).
pub fn read(scope: &mut Scope<'_>, read: &GroupRead<'_>) -> Result<Reply, ReplyError> {
    for (key, from) in &read.streams {
        validate(scope.entry(key).map(|entry| &*entry), key, read.group, *from)?;
    }
    let now = scope.time;
    let mut streams = Vec::new();
    for (key, from) in &read.streams {
        let (stream, _) = scope.stream(key)?.expect("validated above");
        let Stream { log, groups } = stream;
        let group = groups.get_mut(read.group).map(std::sync::Arc::make_mut).expect("validated above");
        let (consumer, created) = group.ensure_consumer(read.consumer, now);
        group.consumer_mut(consumer).seen_at = now;
        let list = match from {
            GroupReadFrom::New => deliver_new(log, group, consumer, read, now),
            GroupReadFrom::History(after) => {
                Some(deliver_history(log, group, consumer, *after, read.count, now))
            }
            GroupReadFrom::Refused(_) => unreachable!("validated above"),
        };
        if created {
            scope.push(key, KeyEvent::ConsumerCreate);
        }
        if let Some(list) = list {
            streams.push((Bytes::copy_from_slice(key), list));
        }
    }
    Ok(if streams.is_empty() { Reply::NilArray } else { Reply::Streams(streams) })
}

/// Whether the read would find something, make a consumer, or be refused: then it must be applied. If not, it is
/// answered with nothing, and not logged.
pub fn would_change<'k>(read: &GroupRead<'_>, mut entry: impl FnMut(&[u8]) -> Option<&'k KeyEntry>) -> bool {
    read.streams.iter().any(|(key, from)| {
        let Ok(stream) = validate(entry(key), key, read.group, *from) else { return true };
        let group = stream.group(read.group).expect("validated");
        match from {
            GroupReadFrom::New => {
                group.find_consumer(read.consumer).is_none()
                    || (read.count != Some(0) && has_new(&stream.log, group))
            }
            _ => true,
        }
    })
}

fn validate<'k>(
    entry: Option<&'k KeyEntry>,
    key: &[u8],
    group: &[u8],
    from: GroupReadFrom,
) -> Result<&'k Stream, ReplyError> {
    let stream = match entry.map(|entry| &entry.value) {
        Some(Value::Stream(stream)) => Some(stream),
        Some(_) => return Err(ReplyError::WRONG_TYPE),
        None => None,
    };
    let Some(stream) = stream.filter(|stream| stream.group(group).is_some()) else {
        return Err(no_group(key, group, " in XREADGROUP with GROUP option"));
    };
    match from {
        GroupReadFrom::Refused(b'+') => Err(PLUS_MEANINGLESS),
        GroupReadFrom::Refused(_) => Err(LAST_MEANINGLESS),
        _ => Ok(stream),
    }
}

/// `NOGROUP No such key 'k' or consumer group 'g'`, and what follows.
pub fn no_group(key: &[u8], group: &[u8], suffix: &str) -> ReplyError {
    let parts: [&[u8]; 6] =
        [b"NOGROUP No such key '", key, b"' or consumer group '", group, b"'", suffix.as_bytes()];
    ReplyError::owned(parts.concat())
}

fn has_new(log: &Log, group: &Group) -> bool {
    group.last_id < log.last_id && log.last_live_id().is_some_and(|last| last > group.last_id)
}

/// `>`: entries that the group has not got yet; none: nothing to say about this stream.
fn deliver_new(
    log: &Log,
    group: &mut Group,
    consumer: ConsumerNumber,
    read: &GroupRead<'_>,
    now: TimeMs,
) -> Option<EntryList> {
    if group.last_id >= log.last_id {
        return None;
    }
    let start = group.last_id.next()?;
    let most = read.count.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX));
    let mut list = EntryList::default();
    for entry in log.range(start, EntryId::MAX).take(most) {
        entry.copy_to(&mut list);
        group.entries_read = log.read_counter(group.last_id, group.entries_read, entry.id);
        group.last_id = entry.id;
        if !read.no_ack {
            group.set_pending(entry.id, Pending { consumer, delivered_at: now, deliveries: 1 });
        }
    }
    if list.is_empty() {
        return None;
    }
    group.consumer_mut(consumer).active_at = Some(now);
    Some(list)
}

/// The consumer's own pending entries above an id; those whose entry is gone are shown so, and not counted again
/// (`streamReplyWithRangeFromConsumerPEL`).
fn deliver_history(
    log: &Log,
    group: &mut Group,
    consumer: ConsumerNumber,
    after: EntryId,
    count: Option<u64>,
    now: TimeMs,
) -> EntryList {
    let mut list = EntryList::default();
    let Some(start) = after.next() else { return list };
    let most = count.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX));
    let ids: Vec<EntryId> = group.consumer(consumer).pending_from(start).take(most).collect();
    for id in ids {
        if log.copy_entry(id, &mut list) {
            group.redeliver(id, now);
        } else {
            list.push_deleted(id);
        }
    }
    list
}
