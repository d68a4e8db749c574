//! XPENDING, XINFO GROUPS, XINFO CONSUMERS, and the groups of XINFO STREAM FULL.

use crate::command::value::group::{PendingQuery, PendingRange};
use crate::model::entry_id::EntryId;
use crate::model::reply::ReplyError;
use crate::model::time::TimeMs;
use crate::state::answer::{
    Answer, ConsumerDetail, ConsumerInfo, Delivered, GroupDetail, GroupInfo, PendingRow, PendingSummary,
};
use crate::state::group::Group;
use crate::state::group::change::no_such_group;
use crate::state::group::pending::Pending;
use crate::state::group::read::no_group;
use crate::state::seen::StreamSeen;
use crate::state::stream::Stream;
use crate::state::stream::log::Log;
use bytes::Bytes;

pub fn pending(stream: Option<&Stream>, query: &PendingQuery<'_>, now: TimeMs) -> Result<Answer, ReplyError> {
    let group = stream
        .and_then(|stream| stream.group(query.group))
        .ok_or_else(|| no_group(query.key, query.group, ""))?;
    Ok(match &query.range {
        None => Answer::PendingSummary(summary(group).map(Box::new)),
        Some(range) => Answer::PendingRows(extended(group, range, now)),
    })
}

fn summary(group: &Group) -> Option<PendingSummary> {
    let (first, last) = group.pending_ends()?;
    let consumers = group.consumers().filter(|consumer| consumer.pending_len() > 0);
    let consumers = consumers.map(|consumer| (consumer.name.clone(), consumer.pending_len())).collect();
    Some(PendingSummary { count: group.pending_len(), first, last, consumers })
}

fn extended(group: &Group, range: &PendingRange<'_>, now: TimeMs) -> Vec<PendingRow> {
    let most = usize::try_from(range.count).unwrap_or(usize::MAX);
    let ids: Box<dyn Iterator<Item = EntryId>> = match range.consumer {
        None => Box::new(group.pending_from(range.start).map(|(id, _)| id)),
        Some(name) => match group.find_consumer(name) {
            None => return Vec::new(),
            Some(number) => Box::new(group.consumer(number).pending_from(range.start)),
        },
    };
    let rows = ids.take_while(|id| *id <= range.end).filter_map(|id| {
        let pending = group.pending(id).expect("a consumer's pending id is the group's");
        (pending.idle_ms(now) >= range.min_idle_ms).then(|| PendingRow {
            id,
            owner: owner(group, pending),
            idle_ms: pending.idle_shown(now),
            deliveries: pending.deliveries,
        })
    });
    rows.take(most).collect()
}

/// XINFO GROUPS
pub fn groups(stream: &Stream) -> Answer {
    let groups = stream.groups.iter().map(|(name, group)| GroupInfo {
        name: name.clone(),
        consumers: group.consumers_len(),
        pending: group.pending_len(),
        last_id: group.last_id,
        entries_read: group.entries_read,
        lag: stream.log.lag(group.last_id, group.entries_read),
    });
    Answer::Groups(groups.collect())
}

/// XINFO CONSUMERS
pub fn consumers(
    stream: &Stream,
    name: &[u8],
    now: TimeMs,
    seen: StreamSeen<'_>,
) -> Result<Answer, ReplyError> {
    let group = stream.group(name).ok_or_else(|| no_such_group(seen.key, name))?;
    let consumers = group.consumers().map(|consumer| ConsumerInfo {
        name: consumer.name.clone(),
        pending: consumer.pending_len(),
        idle_ms: now.since(seen.at(name, &consumer.name, consumer.seen_at)),
        inactive_ms: consumer.active_at.map(|at| now.since(at)),
    });
    Ok(Answer::Consumers(consumers.collect()))
}

/// A group in XINFO STREAM FULL, with at most `most` pending entries per list.
pub fn full(log: &Log, name: &Bytes, group: &Group, most: usize, seen: StreamSeen<'_>) -> GroupDetail {
    let delivered =
        |id, pending: &Pending| Delivered { id, at: pending.delivered_at, deliveries: pending.deliveries };
    let pending = group.pending_from(EntryId::MIN).take(most);
    let consumers = group.consumers().map(|consumer| {
        let pending = consumer
            .pending_from(EntryId::MIN)
            .take(most)
            .map(|id| delivered(id, group.pending(id).expect("a consumer's pending id is the group's")));
        ConsumerDetail {
            name: consumer.name.clone(),
            seen_at: seen.at(name, &consumer.name, consumer.seen_at),
            active_at: consumer.active_at,
            pending_len: consumer.pending_len(),
            pending: pending.collect(),
        }
    });
    GroupDetail {
        name: name.clone(),
        last_id: group.last_id,
        entries_read: group.entries_read,
        lag: log.lag(group.last_id, group.entries_read),
        pending_len: group.pending_len(),
        nacked_len: group.nacked_len(),
        pending: pending.map(|(id, pending)| (owner(group, pending), delivered(id, pending))).collect(),
        consumers: consumers.collect(),
    }
}

/// The owner's name; the empty string for an unowned entry.
fn owner(group: &Group, pending: &Pending) -> Bytes {
    pending.owner.map_or_else(Bytes::new, |number| group.consumer(number).name.clone())
}
