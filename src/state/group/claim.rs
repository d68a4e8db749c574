//! XCLAIM and XAUTOCLAIM: move pending entries to another consumer.

use crate::command::value::group::{AutoClaim, Claim, DeliveredAt};
use crate::model::entries::EntryList;
use crate::model::entry_id::EntryId;
use crate::model::reply::ReplyError;
use crate::model::time::TimeMs;
use crate::state::answer::{Answer, AutoClaimed, Claimed};
use crate::state::effects::EventKind;
use crate::state::group::pending::Pending;
use crate::state::group::read::no_group;
use crate::state::group::{DELIVERIES_MAX, more_deliveries};
use crate::state::scope::Scope;
use crate::state::stream::Stream;
use crate::state::stream::log::Log;
use std::sync::Arc;

/// Ids that XAUTOCLAIM examines per entry that it may claim.
const ATTEMPTS_PER_CLAIM: u64 = 10;

impl Claimed {
    fn new(just_id: bool) -> Claimed {
        if just_id { Claimed::Ids(Vec::new()) } else { Claimed::Entries(EntryList::default()) }
    }

    fn push(&mut self, log: &Log, id: EntryId) {
        match self {
            Claimed::Ids(ids) => ids.push(id),
            Claimed::Entries(list) => {
                let found = log.list_entry(id, list);
                assert!(found, "the caller has looked for {id}");
            }
        }
    }
}

/// `xclaimCommand` of Redis 7.2.
pub fn claim(scope: &mut Scope<'_>, claim: &Claim<'_>) -> Result<Answer, ReplyError> {
    let now = scope.time;
    check_group(scope, claim.key, claim.group)?;
    let (Stream { log, groups, .. }, _) = scope.stream(claim.key)?.expect("checked");
    let group = Arc::make_mut(groups.get_mut(claim.group).expect("checked"));
    if let Some(last_id) = claim.last_id {
        group.last_id = group.last_id.max(last_id);
    }
    let delivered_at = delivery_time(claim.delivered, now);
    let (consumer, created) = group.ensure_consumer(claim.consumer, now);
    group.consumer_mut(consumer).seen_at = now;
    let mut claimed = Claimed::new(claim.just_id);
    for id in &claim.ids {
        if !log.contains(*id) {
            group.acknowledge(*id);
            continue;
        }
        let deliveries = match group.pending(*id) {
            Some(pending) if pending.idle_ms(now) < claim.min_idle_ms => continue,
            Some(pending) => pending.deliveries,
            // A forced entry starts with one delivery (`streamCreateNACK`).
            None if claim.force => 1,
            None => continue,
        };
        let deliveries = match claim.retry_count {
            Some(count) => count.min(DELIVERIES_MAX),
            None if claim.just_id => deliveries,
            None => more_deliveries(deliveries),
        };
        group.set_pending(*id, Pending { owner: Some(consumer), delivered_at, deliveries });
        group.consumer_mut(consumer).active_at = Some(now);
        claimed.push(log, *id);
    }
    if created {
        scope.push(claim.key, EventKind::ConsumerCreate);
    }
    if claim.delivered != DeliveredAt::Now {
        scope.push(claim.key, EventKind::Claimable);
    }
    Ok(claimed.into())
}

/// `xautoclaimCommand` of Redis 7.2.
pub fn auto_claim(scope: &mut Scope<'_>, claim: &AutoClaim<'_>) -> Result<Answer, ReplyError> {
    let now = scope.time;
    check_group(scope, claim.key, claim.group)?;
    let (Stream { log, groups, .. }, _) = scope.stream(claim.key)?.expect("checked");
    let group = Arc::make_mut(groups.get_mut(claim.group).expect("checked"));
    let (consumer, created) = group.ensure_consumer(claim.consumer, now);
    group.consumer_mut(consumer).seen_at = now;
    let mut claimed = Claimed::new(claim.just_id);
    let mut deleted = Vec::new();
    let mut attempts = claim.count.saturating_mul(ATTEMPTS_PER_CLAIM);
    let mut left = claim.count;
    let mut next = Some(claim.start);
    let mut cursor = EntryId::MIN;
    while let Some(from) = next {
        let Some((id, pending)) = group.pending_from(from).next() else { break };
        if attempts == 0 || left == 0 {
            cursor = id;
            break;
        }
        let pending = *pending;
        attempts -= 1;
        next = id.next();
        if !log.contains(id) {
            group.acknowledge(id);
            deleted.push(id);
            // COUNT bounds the reply, which includes deleted ids.
            left -= 1;
            continue;
        }
        if pending.idle_ms(now) < claim.min_idle_ms {
            continue;
        }
        let deliveries = if claim.just_id { pending.deliveries } else { more_deliveries(pending.deliveries) };
        group.set_pending(id, Pending { owner: Some(consumer), delivered_at: now, deliveries });
        group.consumer_mut(consumer).active_at = Some(now);
        claimed.push(log, id);
        left -= 1;
    }
    if created {
        scope.push(claim.key, EventKind::ConsumerCreate);
    }
    Ok(Answer::AutoClaimed(Box::new(AutoClaimed { cursor, claimed, deleted })))
}

/// Refuses a missing group, as XCLAIM, XAUTOCLAIM and XNACK do.
pub fn check_group(scope: &mut Scope<'_>, key: &[u8], group: &[u8]) -> Result<(), ReplyError> {
    let known = scope.view(key)?.is_some_and(|stream| stream.group(group).is_some());
    if known { Ok(()) } else { Err(no_group(key, group, "")) }
}

/// The delivery time; invalid and future times become `now`.
fn delivery_time(delivered: DeliveredAt, now: TimeMs) -> TimeMs {
    let at = match delivered {
        DeliveredAt::Now => return now,
        DeliveredAt::IdleMs(idle) => (now.0 as i64).saturating_sub(idle),
        DeliveredAt::TimeMs(at) => at,
    };
    u64::try_from(at).map_or(now, |at| TimeMs(at).min(now))
}
