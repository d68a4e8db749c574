//! XPENDING, XINFO GROUPS, XINFO CONSUMERS, and the groups of XINFO STREAM FULL.

use crate::command::value::group::{PendingQuery, PendingRange};
use crate::model::entry_id::EntryId;
use crate::model::reply::{Reply, ReplyError};
use crate::model::time::TimeMs;
use crate::state::group::Group;
use crate::state::group::change::no_such_group;
use crate::state::group::pending::Pending;
use crate::state::group::read::no_group;
use crate::state::stream::Stream;
use crate::state::stream::log::Log;
use bytes::Bytes;

pub fn pending(stream: Option<&Stream>, query: &PendingQuery<'_>, now: TimeMs) -> Result<Reply, ReplyError> {
    let group = stream
        .and_then(|stream| stream.group(query.group))
        .ok_or_else(|| no_group(query.key, query.group, ""))?;
    Ok(match &query.range {
        None => summary(group),
        Some(range) => extended(group, range, now),
    })
}

fn summary(group: &Group) -> Reply {
    let Some((first, last)) = group.pending_ends() else {
        return Reply::Array(vec![Reply::Integer(0), Reply::Nil, Reply::Nil, Reply::NilArray]);
    };
    let consumers = group.consumers().filter(|consumer| consumer.pending_len() > 0).map(|consumer| {
        let count = Reply::bulk(consumer.pending_len().to_string());
        Reply::Array(vec![Reply::Bulk(consumer.name.clone()), count])
    });
    let consumers = Reply::Array(consumers.collect());
    Reply::Array(vec![Reply::count(group.pending_len()), Reply::Id(first), Reply::Id(last), consumers])
}

fn extended(group: &Group, range: &PendingRange<'_>, now: TimeMs) -> Reply {
    let most = usize::try_from(range.count).unwrap_or(usize::MAX);
    let ids: Box<dyn Iterator<Item = EntryId>> = match range.consumer {
        None => Box::new(group.pending_from(range.start).map(|(id, _)| id)),
        Some(name) => match group.find_consumer(name) {
            None => return Reply::Array(Vec::new()),
            Some(number) => Box::new(group.consumer(number).pending_from(range.start)),
        },
    };
    let rows = ids.take_while(|id| *id <= range.end).filter_map(|id| {
        let pending = group.pending(id).expect("a consumer's pending id is the group's");
        (pending.idle_ms(now) >= range.min_idle_ms).then(|| {
            let idle = Reply::Integer(pending.idle_shown(now));
            Reply::Array(vec![Reply::Id(id), owner(group, pending), idle, number(pending.deliveries)])
        })
    });
    Reply::Array(rows.take(most).collect())
}

/// XINFO GROUPS
pub fn groups(stream: &Stream) -> Reply {
    let groups = stream.groups.iter().map(|(name, group)| {
        Reply::Map(vec![
            (Reply::Text("name"), Reply::Bulk(name.clone())),
            (Reply::Text("consumers"), Reply::count(group.consumers().len())),
            (Reply::Text("pending"), Reply::count(group.pending_len())),
            (Reply::Text("last-delivered-id"), Reply::Id(group.last_id)),
            (Reply::Text("entries-read"), group.entries_read.map_or(Reply::Nil, number)),
            (Reply::Text("lag"), lag(&stream.log, group)),
        ])
    });
    Reply::Array(groups.collect())
}

/// XINFO CONSUMERS
pub fn consumers(stream: &Stream, key: &[u8], group: &[u8], now: TimeMs) -> Result<Reply, ReplyError> {
    let group = stream.group(group).ok_or_else(|| no_such_group(key, group))?;
    let consumers = group.consumers().map(|consumer| {
        let inactive = consumer.active_at.map_or(-1, |at| now.since(at) as i64);
        Reply::Map(vec![
            (Reply::Text("name"), Reply::Bulk(consumer.name.clone())),
            (Reply::Text("pending"), Reply::count(consumer.pending_len())),
            (Reply::Text("idle"), number(now.since(consumer.seen_at))),
            (Reply::Text("inactive"), Reply::Integer(inactive)),
        ])
    });
    Ok(Reply::Array(consumers.collect()))
}

/// A group in XINFO STREAM FULL, with at most `most` pending entries per list.
pub fn full(log: &Log, name: &Bytes, group: &Group, most: usize) -> Reply {
    let pending = group.pending_from(EntryId::MIN).take(most).map(|(id, pending)| {
        let delivered_at = number(pending.delivered_at.0);
        Reply::Array(vec![Reply::Id(id), owner(group, pending), delivered_at, number(pending.deliveries)])
    });
    let pending = Reply::Array(pending.collect());
    let consumers = group.consumers().map(|consumer| {
        let pending = consumer.pending_from(EntryId::MIN).take(most).map(|id| {
            let pending = group.pending(id).expect("a consumer's pending id is the group's");
            Reply::Array(vec![Reply::Id(id), number(pending.delivered_at.0), number(pending.deliveries)])
        });
        Reply::Map(vec![
            (Reply::Text("name"), Reply::Bulk(consumer.name.clone())),
            (Reply::Text("seen-time"), number(consumer.seen_at.0)),
            (Reply::Text("active-time"), consumer.active_at.map_or(Reply::Integer(-1), |at| number(at.0))),
            (Reply::Text("pel-count"), Reply::count(consumer.pending_len())),
            (Reply::Text("pending"), Reply::Array(pending.collect())),
        ])
    });
    Reply::Map(vec![
        (Reply::Text("name"), Reply::Bulk(name.clone())),
        (Reply::Text("last-delivered-id"), Reply::Id(group.last_id)),
        (Reply::Text("entries-read"), group.entries_read.map_or(Reply::Nil, number)),
        (Reply::Text("lag"), lag(log, group)),
        (Reply::Text("pel-count"), Reply::count(group.pending_len())),
        (Reply::Text("nacked-count"), Reply::count(group.nacked_len())),
        (Reply::Text("pending"), pending),
        (Reply::Text("consumers"), Reply::Array(consumers.collect())),
    ])
}

/// The owner's name; the empty string for an unowned entry.
fn owner(group: &Group, pending: &Pending) -> Reply {
    Reply::Bulk(pending.owner.map_or_else(Bytes::new, |number| group.consumer(number).name.clone()))
}

fn lag(log: &Log, group: &Group) -> Reply {
    log.lag(group.last_id, group.entries_read).map_or(Reply::Nil, Reply::Integer)
}

fn number(value: u64) -> Reply {
    Reply::Integer(value as i64)
}
