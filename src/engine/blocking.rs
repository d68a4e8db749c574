//! Blocked reads at work: register, look again, wait, serve.
//!
//! The machine serves group reads while it applies the entry that carries them (`state::blocked`): those
//! blocked on the keys that its ops name, and those that ask, because they saw something to read. A read is
//! never an op of its own, so the machine alone decides the order. Reads without a group change nothing, so
//! the engine answers them here, between the same ops. Nothing is predicted: the reads that an entry does not
//! carry look at the state when an event concerns them.
//!
//! A group read over several partitions cannot be carried. It goes through `engine::scatter`, an op in each.

use crate::command::value::group::GroupRead;
use crate::command::value::stream::{Read, ReadFrom, StreamQuery};
use crate::command::value::{Data, Query, Write};
use crate::engine::blocked_reads::{AnyRead, BlockedId, BlockedState, OwnedGroupRead, OwnedRead};
use crate::engine::engine::{Engine, Tag};
use crate::engine::scatter::{self, Target};
use crate::engine::several;
use crate::engine::submission::{Ending, EngineAnswer, NOT_COMMITTED, Outcome, STOPPED, UNKNOWN};
use crate::model::log::PartitionId;
use crate::model::reply::ReplyError;
use crate::model::request::RequestId;
use crate::partition::router::Router;
use crate::state::answer::Answer;
use crate::state::effects::KeyEvent;
use std::collections::BTreeSet;

/// Minimum interval between timed looks of a reader with CLAIM.
const CLAIM_LOOK_MS_MIN: u64 = 5;
const CLAIM_LOOK_MS_MAX: u64 = 3_600_000;

/// Delay before a read looks again after its entry was refused: there may be a leader by then.
const REFUSED_LOOK_MS: u64 = 100;

/// XREAD or XREADGROUP with BLOCK, outside a transaction. Without an outcome the read is blocked.
pub(super) fn block(
    engine: &mut Engine,
    request: RequestId,
    database: u32,
    read: &Data<'_>,
    timeout_ms: u64,
) -> Option<Outcome> {
    let now_ms = engine.context.clock.monotonic_ms();
    let deadline_ms = (timeout_ms > 0).then(|| now_ms.saturating_add(timeout_ms));
    match read {
        Data::Query(Query::Stream(StreamQuery::Read(read))) => {
            let resolved = resolve_new(engine, database, read);
            let reply = several::read_per_stream(engine, database, &resolved);
            if reply != Answer::NilArray {
                return Some(Outcome::of(request, reply));
            }
            let read = AnyRead::Read(OwnedRead::new(&resolved));
            engine.blocked.register(request, database, read, None, deadline_ms);
        }
        Data::Write(Write::GroupRead(read)) => {
            let owned = AnyRead::Group(OwnedGroupRead::new(database, read));
            let home = single_partition(&engine.router, read);
            let id = engine.blocked.register(request, database, owned, home, deadline_ms);
            look(engine, id);
        }
        other => panic!("{other:?} does not block"),
    }
    if deadline_ms.is_some() {
        engine.wakers.timer.notify();
    }
    engine.take_immediate(request)
}

/// Resolves `$` to its current id.
fn resolve_new<'a>(engine: &Engine, database: u32, read: &Read<'a>) -> Read<'a> {
    let now = engine.now();
    let streams = read.streams.iter().map(|&(key, from)| match from {
        ReadFrom::New => (key, ReadFrom::After(engine.home(key).read().last_id(database, now, key))),
        other => (key, other),
    });
    Read { streams: streams.collect(), ..*read }
}

/// Handles an op's events: the reads concerned look at the state in arrival order. The machine tries those
/// that an entry carries, this one or a later one.
pub(super) fn note_events(engine: &mut Engine, events: &[KeyEvent]) {
    if engine.blocked.is_empty() {
        return;
    }
    // A transaction may touch a key a thousand times: who waits there looks once at what it has left.
    let mut noted = BTreeSet::new();
    for event in events.iter().filter(|it| it.kind.signals()) {
        let kind = (event.kind.concerns_database(), event.kind.makes_readable());
        if !noted.insert((event.database, &event.key[..], kind)) {
            continue;
        }
        let ids: Vec<BlockedId> = if event.kind.concerns_database() {
            engine.blocked.of_database(event.database).collect()
        } else {
            engine.blocked.on_key(event.database, &event.key).collect()
        };
        for id in ids {
            let Some(blocked) = engine.blocked.get(id) else { continue };
            match (&blocked.read, blocked.state) {
                (AnyRead::Read(_), _) if event.kind.makes_readable() => try_read(engine, id),
                (AnyRead::Group(_), BlockedState::Waiting)
                    if !cfg!(headwater_bug = "missed_event_is_forgotten") =>
                {
                    look(engine, id);
                }
                _ => {}
            }
        }
    }
}

fn try_read(engine: &mut Engine, id: BlockedId) {
    let Some(blocked) = engine.blocked.get(id) else { return };
    let AnyRead::Read(read) = &blocked.read else { return };
    let (database, read, is_forbidden) = (blocked.database, read.clone(), blocked.is_forbidden);
    let reply = several::read_per_stream(engine, database, &read.as_read());
    if reply != Answer::NilArray {
        let answer = if is_forbidden { EngineAnswer::Forbidden } else { reply.into() };
        end(engine, id, answer);
    }
}

/// Looks at the state for a waiting group read. A refused read ends. A read that would find entries asks the
/// next entry to carry it. A new read that finds nothing shows its consumer, in an op that delivers nothing.
/// A read with CLAIM that finds nothing looks again when time may have changed the answer.
fn look(engine: &mut Engine, id: BlockedId) {
    let Some(blocked) = engine.blocked.get(id) else { return };
    let Some(owned) = blocked.read.group() else { return };
    if engine.blocked.is_asking(id) {
        return;
    }
    let (database, now, is_forbidden) = (blocked.database, engine.now(), blocked.is_forbidden);
    let read = owned.as_read();
    let of_stream = |stream| scatter::of_stream(&read, stream);
    let home = |key: &[u8]| engine.home(key).read();
    let would_change = |is_seen| {
        let mut streams = read.streams.iter();
        streams.any(|it| home(it.0).would_change(database, now, &of_stream(it), is_seen))
    };
    let is_due = would_change(blocked.is_seen);
    let finds = is_due && (blocked.is_seen || would_change(true));
    if is_due && is_forbidden {
        return end(engine, id, EngineAnswer::Forbidden);
    }
    if is_due {
        let mut refusals = read
            .streams
            .iter()
            .filter_map(|stream| home(stream.0).group_read_refusal(database, now, &of_stream(stream)));
        if let Some(refusal) = refusals.next() {
            return end(engine, id, refusal.into());
        }
        if engine.context.latch.is_tripped() {
            return end(engine, id, STOPPED.into());
        }
    }
    if !finds && !blocked.is_seen {
        for stream in &read.streams {
            let home = engine.router.of_key(stream.0);
            engine.partitions[usize::from(home.0)].note_look(database, now, &of_stream(stream));
        }
    }
    match blocked.home {
        None if is_due => {
            let owned = owned.clone();
            return spread(engine, id, database, &owned);
        }
        Some(_) if finds => {
            engine.blocked.ask(id);
            return engine.request_round();
        }
        Some(home) if is_due => {
            let owned = owned.clone();
            let show = Write::GroupRead(owned.as_read().without_entries());
            engine.write(home, database, &show, Tag::Shown(id));
        }
        _ => {}
    }
    let blocked = engine.blocked.get_mut(id).expect("looked up just now");
    blocked.is_seen = true;
    blocked.has_missed = false;
    wait_for_claimable(engine, id);
}

/// Schedules the next look of a read with CLAIM: the time at which an entry may become claimable.
fn wait_for_claimable(engine: &mut Engine, id: BlockedId) {
    let Some(blocked) = engine.blocked.get(id) else { return };
    let Some(owned) = blocked.read.group() else { return };
    let (database, now, read) = (blocked.database, engine.now(), owned.as_read());
    let of_stream = |stream| scatter::of_stream(&read, stream);
    let home = |key: &[u8]| engine.home(key).read();
    if let Some(min_idle_ms) = read.claim {
        let claimable = read
            .streams
            .iter()
            .filter_map(|stream| home(stream.0).next_claimable_at(database, now, &of_stream(stream)));
        // Entries delivered from now on are not claimable before that either.
        let unknown_ms = min_idle_ms.clamp(CLAIM_LOOK_MS_MIN, CLAIM_LOOK_MS_MAX);
        let in_ms = claimable.min().map_or(unknown_ms, |at| at.since(now).clamp(1, unknown_ms));
        let at_ms = engine.context.clock.monotonic_ms().saturating_add(in_ms);
        engine.blocked.set_wake(id, Some(at_ms));
        engine.wakers.timer.notify();
    }
}

/// An op in each of several partitions.
fn spread(engine: &mut Engine, id: BlockedId, database: u32, owned: &OwnedGroupRead) {
    engine.blocked.set_wake(id, None);
    let blocked = engine.blocked.get_mut(id).expect("looked up just now");
    blocked.state = BlockedState::InFlight;
    blocked.has_missed = false;
    scatter::group_read_per_stream(engine, database, &owned.as_read(), Target::Blocked(id));
}

/// The op that shows the consumer of a read was applied, or is not in the log for certain.
pub(super) fn shown(engine: &mut Engine, id: BlockedId, reply: Answer) {
    let is_lost = matches!(&reply, Answer::Refused(error) if *error == NOT_COMMITTED || *error == UNKNOWN);
    if let Some(blocked) = engine.blocked.get_mut(id).filter(|_| is_lost) {
        blocked.is_seen = false;
        look_later(engine, id);
    }
}

/// The partition of all streams, if they share one.
fn single_partition(router: &Router, read: &GroupRead<'_>) -> Option<PartitionId> {
    let mut ids = read.streams.iter().map(|(key, _)| router.of_key(key));
    let first = ids.next()?;
    ids.all(|id| id == first).then_some(first)
}

/// The permission of the user for a blocked read has changed. A read that is in an entry already is served.
pub(super) fn forbid(engine: &mut Engine, request: RequestId, forbidden: bool) {
    engine.blocked.forbid(request, forbidden);
    let id = engine.blocked.of_request(request).filter(|_| forbidden);
    if let Some(id) = id
        && engine.blocked.stop_asking(id)
    {
        look(engine, id);
        engine.request_round();
    }
}

/// Finishes a group read in flight that was served or refused. Permissions were checked when it was
/// submitted; the entries that it received belong to the client.
pub(super) fn served(engine: &mut Engine, id: BlockedId, reply: Answer) {
    match reply {
        Answer::NilArray => came_back(engine, id),
        Answer::Refused(error) if error == NOT_COMMITTED => wait_on(engine, id),
        reply => end(engine, id, reply.into()),
    }
}

/// A group read over several partitions found nothing. Entries that arrived in one partition while it read
/// the others were missed.
fn came_back(engine: &mut Engine, id: BlockedId) {
    let Some(blocked) = engine.blocked.get_mut(id) else { return };
    blocked.state = BlockedState::Waiting;
    blocked.is_seen = true;
    match blocked.ended {
        Some(ending) => end(engine, id, ending_reply(ending).into()),
        None => look(engine, id),
    }
}

/// Ends the wait of a request without entries, if it is blocked.
pub(super) fn end_wait(engine: &mut Engine, request: RequestId, ending: Ending) {
    if let Some(id) = engine.blocked.of_request(request) {
        end_without_entries(engine, id, ending);
        engine.request_round();
    }
}

fn end_without_entries(engine: &mut Engine, id: BlockedId, ending: Ending) {
    let Some(blocked) = engine.blocked.get_mut(id) else { return };
    if blocked.state == BlockedState::Waiting {
        end(engine, id, ending_reply(ending).into());
    } else {
        blocked.ended = Some(ending);
        engine.blocked.forget_deadline(id);
    }
}

fn end(engine: &mut Engine, id: BlockedId, answer: EngineAnswer) {
    if cfg!(headwater_bug = "served_read_stays")
        && let Some(blocked) = engine.blocked.get_mut(id)
    {
        blocked.state = BlockedState::Waiting;
        let outcome = Outcome::of(blocked.request, answer);
        engine.blocked.forget_deadline(id);
        return engine.deliver(outcome);
    }
    if let Some(blocked) = engine.blocked.remove(id) {
        engine.deliver(Outcome::of(blocked.request, answer));
    }
}

/// Ends reads that timed out, and looks again for reads with CLAIM.
pub(super) fn run_timers(engine: &mut Engine) {
    let now_ms = engine.context.clock.monotonic_ms();
    while let Some(id) = engine.blocked.first_overdue(now_ms) {
        end_without_entries(engine, id, Ending::TimedOut);
    }
    while let Some(id) = engine.blocked.first_to_wake(now_ms) {
        engine.blocked.set_wake(id, None);
        match engine.blocked.get_mut(id) {
            Some(blocked) if blocked.state == BlockedState::Waiting => look(engine, id),
            Some(blocked) => blocked.has_missed = true,
            None => {}
        }
    }
}

fn ending_reply(ending: Ending) -> Answer {
    match ending {
        Ending::TimedOut | Ending::Disconnected => Answer::NilArray,
        Ending::Unblocked => {
            Answer::Refused(ReplyError::new("UNBLOCKED client unblocked via CLIENT UNBLOCK"))
        }
    }
}

/// The entry of a blocked group read was applied: the read stays blocked, unless it has ended.
pub(super) fn entry_applied(engine: &mut Engine, id: BlockedId) {
    let Some(blocked) = engine.blocked.get_mut(id) else { return };
    if cfg!(headwater_bug = "carried_read_never_waits_again") {
        return;
    }
    blocked.state = BlockedState::Waiting;
    let has_missed = std::mem::take(&mut blocked.has_missed);
    match blocked.ended {
        Some(ending) => end(engine, id, ending_reply(ending).into()),
        None if has_missed || !blocked.is_seen => look(engine, id),
        None => wait_for_claimable(engine, id),
    }
}

/// The state has changed without events here: the read looks at it, now or when it comes back from the log.
pub(super) fn look_again(engine: &mut Engine, id: BlockedId) {
    let Some(blocked) = engine.blocked.get_mut(id) else { return };
    match (&blocked.read, blocked.state) {
        (AnyRead::Read(_), _) => try_read(engine, id),
        (AnyRead::Group(_), BlockedState::Waiting) => look(engine, id),
        (AnyRead::Group(_), _) => blocked.has_missed = true,
    }
}

/// The entry of a group read is not in the log: the read stays blocked and looks again after a delay.
pub(super) fn wait_on(engine: &mut Engine, id: BlockedId) {
    let Some(blocked) = engine.blocked.get_mut(id) else { return };
    blocked.state = BlockedState::Waiting;
    blocked.has_missed = true;
    if let Some(ending) = blocked.ended {
        return end(engine, id, ending_reply(ending).into());
    }
    look_later(engine, id);
}

fn look_later(engine: &mut Engine, id: BlockedId) {
    let at_ms = engine.context.clock.monotonic_ms().saturating_add(REFUSED_LOOK_MS);
    engine.blocked.set_wake(id, Some(at_ms));
    engine.wakers.timer.notify();
}
