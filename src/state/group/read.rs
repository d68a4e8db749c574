//! XREADGROUP.

use crate::command::value::group::{GroupRead, GroupReadFrom};
use crate::model::entries::{DeliveredBefore, EntryList};
use crate::model::entry_id::EntryId;
use crate::model::reply::ReplyError;
use crate::model::time::TimeMs;
use crate::state::answer::Answer;
use crate::state::effects::EventKind;
use crate::state::group::pending::Pending;
use crate::state::group::{ConsumerNumber, Group, more_deliveries};
use crate::state::keyspace::{KeyEntry, Value};
use crate::state::scope::Scope;
use crate::state::stream::Stream;
use crate::state::stream::budget::Budget;
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

/// Everything is checked before anything changes (docs/reliability.md R10).
pub fn read(scope: &mut Scope<'_>, read: &GroupRead<'_>) -> Result<Answer, ReplyError> {
    for (key, from) in &read.streams {
        validate(scope.entry(key), key, read.group, *from)?;
    }
    let now = scope.time;
    let mut budget = Budget::new(read.limits);
    let mut streams = Vec::new();
    for (key, from) in &read.streams {
        if budget.is_spent() {
            break;
        }
        let (stream, _) = scope.stream(key)?.expect("validated above");
        let Stream { log, groups, .. } = stream;
        let group = groups.get_mut(read.group).map(std::sync::Arc::make_mut).expect("validated above");
        let (consumer, created) = group.ensure_consumer(read.consumer, now);
        group.consumer_mut(consumer).seen_at = now;
        let mut delivery = Delivery { key, log, group, consumer, now, budget: &mut budget };
        let list = match from {
            GroupReadFrom::New => delivery.claim_and_deliver(read),
            GroupReadFrom::History(after) => Some(delivery.deliver_again(*after)),
            GroupReadFrom::Refused(_) => unreachable!("validated above"),
        };
        if created {
            scope.push(key, EventKind::ConsumerCreate);
        }
        if let Some(list) = list {
            budget.close(key, &list);
            streams.push((Bytes::copy_from_slice(key), list));
        }
    }
    Ok(if streams.is_empty() { Answer::NilArray } else { Answer::Streams(streams) })
}

/// Whether the read must be applied: it would find entries, create a consumer, be refused, or its consumer
/// was not seen for a while. Otherwise it is answered with nothing, and not logged.
pub fn would_change<'k>(
    read: &GroupRead<'_>,
    now: TimeMs,
    mut entry: impl FnMut(&[u8]) -> Option<&'k KeyEntry>,
) -> bool {
    let is_seen_lately = |(key, _): &(&[u8], GroupReadFrom)| {
        let Some(Value::Stream(stream)) = entry(key).map(|entry| &entry.value) else { return true };
        let Some(group) = stream.group(read.group) else { return true };
        seen_at(group, read.consumer).is_some_and(|at| now.since(at) < SEEN_LATELY_MS)
    };
    !read.streams.iter().all(is_seen_lately) || would_find(read, now, entry)
}

/// The same for a read whose consumer has been seen: whether it would find something, or be refused.
pub fn would_find<'k>(
    read: &GroupRead<'_>,
    now: TimeMs,
    mut entry: impl FnMut(&[u8]) -> Option<&'k KeyEntry>,
) -> bool {
    read.streams.iter().any(|(key, from)| {
        let Ok(stream) = validate(entry(key), key, read.group, *from) else { return true };
        let group = stream.group(read.group).expect("validated");
        *from != GroupReadFrom::New
            || has_new(&stream.log, group)
            || read.claim.is_some_and(|min_idle_ms| group.may_be_claimable(now, min_idle_ms))
    })
}

/// When the consumer was last seen according to the log.
pub fn seen_at(group: &Group, consumer: &[u8]) -> Option<TimeMs> {
    group.find_consumer(consumer).map(|number| group.consumer(number).seen_at)
}

/// The refusal of the read, if any.
pub fn refusal<'k>(
    read: &GroupRead<'_>,
    mut entry: impl FnMut(&[u8]) -> Option<&'k KeyEntry>,
) -> Option<ReplyError> {
    read.streams.iter().find_map(|(key, from)| validate(entry(key), key, read.group, *from).err())
}

/// Tries a blocked read: `None` if it finds nothing; then it changes no state.
pub fn try_blocked(scope: &mut Scope<'_>, blocked: &GroupRead<'_>) -> Option<Result<Answer, ReplyError>> {
    for (key, from) in &blocked.streams {
        if let Err(refused) = validate(scope.entry(key), key, blocked.group, *from) {
            return Some(Err(refused));
        }
    }
    let now = scope.time;
    let finds = blocked.streams.iter().any(|(key, from)| {
        let Ok(Some(stream)) = scope.view(key) else { return false };
        let group = stream.group(blocked.group).expect("validated above");
        if *from != GroupReadFrom::New || has_new(&stream.log, group) {
            return true;
        }
        let Some(min_idle_ms) = blocked.claim.filter(|idle| group.may_be_claimable(now, *idle)) else {
            return false;
        };
        // The group may have to put its pending entries in order first.
        let stream = scope.keys.stream_mut(key).expect("just seen");
        let group = stream.group_mut(blocked.group).expect("just seen");
        group.claimable(now, min_idle_ms).next().is_some()
    });
    let outcome = finds.then(|| read(scope, blocked))?;
    // All claimable entries were gone: their pending ids are dropped, and the read stays blocked.
    (!matches!(outcome, Ok(Answer::NilArray))).then_some(outcome)
}

/// When a pending entry becomes claimable for a read with CLAIM that finds nothing now, if nothing else
/// changes; `None`: never, or unknown.
pub fn next_claimable_at<'k>(
    read: &GroupRead<'_>,
    mut entry: impl FnMut(&[u8]) -> Option<&'k KeyEntry>,
) -> Option<TimeMs> {
    let min_idle_ms = read.claim?;
    let new = read.streams.iter().filter(|(_, from)| *from == GroupReadFrom::New);
    let times = new.filter_map(|(key, from)| {
        let stream = validate(entry(key), key, read.group, *from).ok()?;
        stream.group(read.group)?.next_claimable_at(min_idle_ms)
    });
    times.min()
}

/// A consumer whose reads find nothing is logged as seen at this interval, so that not every such read costs a
/// commit. After a restart XINFO CONSUMERS may tell of a time that is older by this.
const SEEN_LATELY_MS: u64 = 1000;

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
        GroupReadFrom::Refused(b'$') => Err(LAST_MEANINGLESS),
        // The parser found no id at all.
        GroupReadFrom::Refused(_) => Err(ReplyError::INVALID_STREAM_ID),
        _ => Ok(stream),
    }
}

/// `NOGROUP No such key 'k' or consumer group 'g'`, followed by the suffix.
pub fn no_group(key: &[u8], group: &[u8], suffix: &str) -> ReplyError {
    let parts: [&[u8]; 6] =
        [b"NOGROUP No such key '", key, b"' or consumer group '", group, b"'", suffix.as_bytes()];
    ReplyError::owned(parts.concat())
}

fn has_new(log: &Log, group: &Group) -> bool {
    group.last_id < log.last_id && log.last_live_id().is_some_and(|last| last > group.last_id)
}

/// The delivery of one stream of a read to a consumer.
struct Delivery<'d> {
    key: &'d [u8],
    log: &'d Log,
    group: &'d mut Group,
    consumer: ConsumerNumber,
    now: TimeMs,
    budget: &'d mut Budget,
}

impl Delivery<'_> {
    /// `>`: claimable entries, if requested, and entries that the group has not received yet. `None` if the
    /// stream has neither.
    fn claim_and_deliver(&mut self, read: &GroupRead<'_>) -> Option<EntryList> {
        let mut list = EntryList::default();
        if let Some(min_idle_ms) = read.claim {
            self.claim(min_idle_ms, &mut list);
        }
        self.deliver_new(read, &mut list);
        if list.is_empty() {
            return None;
        }
        self.group.consumer_mut(self.consumer).active_at = Some(self.now);
        Some(list)
    }

    /// Claims entries that have been idle for that long. Pending ids whose entries are gone are dropped, as
    /// in XCLAIM and XAUTOCLAIM.
    fn claim(&mut self, min_idle_ms: u64, list: &mut EntryList) {
        let mut claimed = Vec::new();
        let mut gone = Vec::new();
        for (id, pending) in self.group.claimable(self.now, min_idle_ms) {
            if !self.budget.admits(list) {
                break;
            }
            if !self.log.list_entry(id, list) {
                gone.push(id);
                continue;
            }
            let (idle_ms, deliveries) = (pending.idle_shown(self.now), pending.deliveries);
            list.push_before(DeliveredBefore { idle_ms, deliveries });
            self.budget.add(self.key, list);
            claimed.push((id, more_deliveries(deliveries)));
        }
        for id in gone {
            self.group.acknowledge(id);
        }
        for (id, deliveries) in claimed {
            let owner = Some(self.consumer);
            self.group.set_pending(id, Pending { owner, delivered_at: self.now, deliveries });
        }
    }

    fn deliver_new(&mut self, read: &GroupRead<'_>, list: &mut EntryList) {
        let Delivery { key, log, group, consumer, now, budget } = self;
        if group.last_id >= log.last_id {
            return;
        }
        let Some(start) = group.last_id.next() else { return };
        for entry in log.range(start, EntryId::MAX) {
            if !budget.admits(list) {
                break;
            }
            entry.list_in(log, list);
            if read.claim.is_some() {
                list.push_before(DeliveredBefore::NEVER);
            }
            budget.add(key, list);
            group.entries_read = log.read_counter(group.last_id, group.entries_read, entry.id);
            group.last_id = entry.id;
            let is_forgotten =
                cfg!(headwater_bug = "count_leaves_nothing_pending") && read.limits.count.is_some();
            if !read.no_ack && !is_forgotten {
                let owner = Some(*consumer);
                group.set_pending(entry.id, Pending { owner, delivered_at: *now, deliveries: 1 });
            }
        }
    }

    /// The consumer's own pending entries above an id; entries that are gone are listed as such and not
    /// counted again (`streamReplyWithRangeFromConsumerPEL`).
    fn deliver_again(&mut self, after: EntryId) -> EntryList {
        let mut list = EntryList::default();
        let Some(start) = after.next() else { return list };
        let mine = self.group.consumer(self.consumer).pending_from(start);
        let ids: Vec<EntryId> = mine.take(self.budget.most()).collect();
        for id in ids {
            if !self.budget.admits(&list) {
                break;
            }
            if self.log.list_entry(id, &mut list) {
                self.group.redeliver(id, self.now);
            } else {
                list.push_deleted(id);
            }
            self.budget.add(self.key, &list);
        }
        list
    }
}
