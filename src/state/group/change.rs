//! XACK, XACKDEL, XNACK and XGROUP. As in Redis they do not touch the key in the sense of WATCH, unless
//! MKSTREAM creates it or XACKDEL deletes from it.

use crate::command::value::group::{GroupChange, GroupStart, NackMode};
use crate::command::value::stream::References;
use crate::model::entry_id::EntryId;
use crate::model::reply::ReplyError;
use crate::state::answer::Answer;
use crate::state::effects::EventKind;
use crate::state::group::claim::check_group;
use crate::state::group::pending::Pending;
use crate::state::group::{DELIVERIES_MAX, Group};
use crate::state::keyspace::Value;
use crate::state::scope::Scope;
use crate::state::stream::Stream;
use crate::state::stream::log::Log;
use crate::state::stream::write::Deleted;
use bytes::Bytes;
use std::sync::Arc;

const BUSY_GROUP: ReplyError = ReplyError::new("BUSYGROUP Consumer Group name already exists");
pub const KEY_REQUIRED: ReplyError = ReplyError::new(
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM \
     option to create an empty stream automatically.",
);

pub fn change(scope: &mut Scope<'_>, change: &GroupChange<'_>) -> Result<Answer, ReplyError> {
    match change {
        GroupChange::Acknowledge { key, group, ids } => acknowledge(scope, key, group, ids),
        GroupChange::AcknowledgeAndDelete { key, group, references, ids } => {
            acknowledge_and_delete(scope, key, group, *references, ids)
        }
        GroupChange::NegativeAcknowledge { key, group, mode, ids, retry_count, force } => {
            let deliveries = |before: u64| match (*retry_count, mode) {
                (Some(count), _) => count.min(DELIVERIES_MAX),
                (None, NackMode::Silent) => before.saturating_sub(1),
                (None, NackMode::Fail) => before,
                (None, NackMode::Fatal) => DELIVERIES_MAX,
            };
            negative_acknowledge(scope, key, group, ids, *force, deliveries)
        }
        GroupChange::Create { key, group, from, make_stream, entries_read } => {
            create(scope, key, group, *from, *make_stream, *entries_read)
        }
        GroupChange::SetId { key, group, from, entries_read } => {
            let stream = existing(scope, key)?;
            let (last_id, entries_read) = start(&stream.log, *from, *entries_read);
            let found = stream.group_mut(group).ok_or_else(|| no_such_group(key, group))?;
            found.last_id = last_id;
            found.entries_read = entries_read;
            scope.push(key, EventKind::GroupSetId);
            Ok(Answer::Done)
        }
        GroupChange::Destroy { key, group } => {
            let stream = existing(scope, key)?;
            let destroyed = stream.groups.remove(*group);
            let is_destroyed = destroyed.is_some();
            if let Some(group) = destroyed {
                scope.effects.discard_group(group);
                scope.push(key, EventKind::GroupDestroy);
            }
            Ok(Answer::flag(is_destroyed))
        }
        GroupChange::CreateConsumer { key, group, consumer } => {
            let now = scope.time;
            let stream = existing(scope, key)?;
            let found = stream.group_mut(group).ok_or_else(|| no_such_group(key, group))?;
            let (_, created) = found.ensure_consumer(consumer, now);
            if created {
                scope.push(key, EventKind::ConsumerCreate);
            }
            Ok(Answer::flag(created))
        }
        GroupChange::DeleteConsumer { key, group, consumer } => {
            let stream = existing(scope, key)?;
            let found = stream.group_mut(group).ok_or_else(|| no_such_group(key, group))?;
            let dropped = found.delete_consumer(consumer);
            if dropped.is_some() {
                scope.push(key, EventKind::ConsumerDelete);
            }
            Ok(Answer::count(dropped.unwrap_or(0)))
        }
    }
}

/// XACK
fn acknowledge(
    scope: &mut Scope<'_>,
    key: &[u8],
    group: &[u8],
    ids: &[EntryId],
) -> Result<Answer, ReplyError> {
    // Checked before the stream becomes writable, so that a futile acknowledgement copies nothing.
    let known = scope.view(key)?.is_some_and(|stream| stream.group(group).is_some());
    if !known {
        return Ok(Answer::Integer(0));
    }
    let (stream, _) = scope.stream(key)?.expect("just seen");
    let found = stream.group_mut(group).expect("just seen");
    Ok(Answer::count(ids.iter().filter(|id| found.acknowledge(**id)).count()))
}

/// XACKDEL (Redis 8.2). An id that is not pending in this group stays untouched under every policy. A pending
/// id whose entry is already gone counts as deleted, unless ACKED finds it pending in another group.
fn acknowledge_and_delete(
    scope: &mut Scope<'_>,
    key: &[u8],
    group: &[u8],
    references: References,
    ids: &[EntryId],
) -> Result<Answer, ReplyError> {
    let known = scope.view(key)?.is_some_and(|stream| stream.group(group).is_some());
    if !known {
        return Ok(Answer::Integers(vec![Deleted::Absent.number(); ids.len()]));
    }
    let version = scope.version;
    let (stream, key_version) = scope.stream(key)?.expect("just seen");
    let length = stream.log.len();
    let outcomes = ids.iter().map(|id| {
        if !stream.group_mut(group).expect("just seen").acknowledge(*id) {
            return Deleted::Absent.number();
        }
        match stream.delete(*id, references) {
            Deleted::Absent => Deleted::Gone.number(),
            outcome => outcome.number(),
        }
    });
    let outcomes = Answer::Integers(outcomes.collect());
    if stream.log.len() < length {
        *key_version = version;
        scope.push(key, EventKind::DeleteEntries);
    }
    Ok(outcomes)
}

/// XNACK (Redis 8.8): pending entries become unowned and are the next to be claimed.
fn negative_acknowledge(
    scope: &mut Scope<'_>,
    key: &[u8],
    group: &[u8],
    ids: &[EntryId],
    force: bool,
    deliveries: impl Fn(u64) -> u64,
) -> Result<Answer, ReplyError> {
    check_group(scope, key, group)?;
    let (Stream { log, groups, .. }, _) = scope.stream(key)?.expect("checked");
    let group = Arc::make_mut(groups.get_mut(group).expect("checked"));
    let mut released = 0;
    for id in ids {
        let before = match group.pending(*id) {
            Some(pending) => pending.deliveries,
            None if force && log.contains(*id) => 0,
            None => continue,
        };
        group.set_pending(*id, Pending::of_nobody(deliveries(before)));
        released += 1;
    }
    if released > 0 {
        scope.push(key, EventKind::Claimable);
    }
    Ok(Answer::count(released))
}

/// XGROUP CREATE
fn create(
    scope: &mut Scope<'_>,
    key: &[u8],
    group: &[u8],
    from: GroupStart,
    make_stream: bool,
    entries_read: Option<u64>,
) -> Result<Answer, ReplyError> {
    if scope.view(key)?.is_none() {
        if !make_stream {
            return Err(KEY_REQUIRED);
        }
        let stream = Stream::new(scope.idempotency);
        scope.insert_new(key, Value::Stream(Arc::new(stream)));
        scope.push(key, EventKind::Made);
    }
    let (stream, _) = scope.stream(key)?.expect("just made");
    if stream.group(group).is_some() {
        return Err(BUSY_GROUP);
    }
    let (last_id, entries_read) = start(&stream.log, from, entries_read);
    stream.groups.insert(Bytes::copy_from_slice(group), Arc::new(Group::new(last_id, entries_read)));
    scope.push(key, EventKind::GroupCreate);
    Ok(Answer::Done)
}

/// Caps ENTRIESREAD to the entries ever added (Redis 8.2).
fn start(log: &Log, from: GroupStart, entries_read: Option<u64>) -> (EntryId, Option<u64>) {
    let last_id = match from {
        GroupStart::Last => log.last_id,
        GroupStart::Id(id) => id,
    };
    (last_id, entries_read.map(|read| read.min(log.entries_added)))
}

/// The stream that a sub-command of XGROUP requires.
fn existing<'s>(scope: &'s mut Scope<'_>, key: &[u8]) -> Result<&'s mut Stream, ReplyError> {
    scope.stream(key)?.map(|(stream, _)| stream).ok_or(KEY_REQUIRED)
}

/// The error of XGROUP and XINFO.
pub fn no_such_group(key: &[u8], group: &[u8]) -> ReplyError {
    let parts: [&[u8]; 5] = [b"NOGROUP No such consumer group '", group, b"' for key name '", key, b"'"];
    ReplyError::owned(parts.concat())
}
