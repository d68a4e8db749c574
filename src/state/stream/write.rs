//! XADD, XTRIM, XDEL, XDELEX, XSETID, XCFGSET, XIDMPRECORD.

use crate::command::value::stream::{Add, Idempotency, NewId, References, SetIdCounters, StreamWrite, Trim};
use crate::model::entry_id::EntryId;
use crate::model::reply::ReplyError;
use crate::model::time::TimeMs;
use crate::state::answer::Answer;
use crate::state::effects::EventKind;
use crate::state::keyspace::Value;
use crate::state::scope::Scope;
use crate::state::stream::Stream;
use crate::state::stream::idempotency::IdempotencyLimits;
use crate::state::stream::listpack;
use crate::state::stream::log::Log;
use crate::state::stream::trim::Trimmed;
use std::sync::Arc;

const ID_ZERO: ReplyError = ReplyError::new("ERR The ID specified in XADD must be greater than 0-0");
const ID_TOO_SMALL: ReplyError =
    ReplyError::new("ERR The ID specified in XADD is equal or smaller than the target stream top item");
const IDS_EXHAUSTED: ReplyError =
    ReplyError::new("ERR The stream has exhausted the last possible ID, unable to add more items");
const ENTRY_MISSING: ReplyError = ReplyError::new("ERR The specified stream ID was deleted or doesn't exist");
const RECORDED_OTHERWISE: ReplyError =
    ReplyError::new("ERR The specified IDMP producer-id/idempotent-id pair maps to a different stream ID");
const TOO_LARGE: ReplyError = ReplyError::new("ERR Elements are too large to be stored");

/// XADD.
pub fn add(scope: &mut Scope<'_>, add: &Add<'_>) -> Result<Answer, ReplyError> {
    match &add.idempotency {
        None => append(scope, add),
        Some(idempotency) => add_once(scope, add, idempotency),
    }
}

/// XADD … IDMP, IDMPAUTO: a remembered id is answered with its entry's id, even if the entry is gone, and
/// only a counter changes, which WATCH does not see (Redis #14858: no signal is needed). A refused entry leaves
/// no trace (Redis #15840).
fn add_once(
    scope: &mut Scope<'_>,
    add: &Add<'_>,
    idempotency: &Idempotency<'_>,
) -> Result<Answer, ReplyError> {
    let (producer, id) = (idempotency.producer(), idempotency.id());
    let time = scope.time;
    let known = scope.view(add.key)?.and_then(|stream| stream.producers.find(producer, id, time));
    if let Some(entry) = known {
        let (stream, _) = scope.stream(add.key)?.expect("just seen");
        stream.producers.duplicates = stream.producers.duplicates.saturating_add(1);
        return Ok(Answer::Id(entry));
    }
    let answer = append(scope, add)?;
    if let Answer::Id(entry) = answer {
        let stream = scope.keys.stream_mut(add.key).expect("just added to");
        stream.producers.remember(producer, id, entry, time);
        scope.keys.refresh_forgetting(add.key);
    }
    Ok(answer)
}

fn append(scope: &mut Scope<'_>, add: &Add<'_>) -> Result<Answer, ReplyError> {
    let (time, version, limits) = (scope.time, scope.version, scope.limits);
    if add.id == NewId::Explicit(EntryId::MIN) {
        return Err(ID_ZERO);
    }
    let payload: usize = add.fields.iter().map(<[u8]>::len).sum();
    if payload > listpack::BYTES_MAX {
        return Err(TOO_LARGE);
    }
    let (id, trimmed) = match scope.stream(add.key)? {
        Some((stream, key_version)) => {
            let id = next_id(&stream.log, add.id, time)?;
            stream.log.append(id, &add.fields, limits);
            *key_version = version;
            (id, add.trim.map_or_else(Trimmed::default, |trim| stream.trim(&trim, limits)))
        }
        None if !add.make_stream => return Ok(Answer::Nil),
        None => {
            let mut stream = Stream::new(scope.idempotency);
            let id = next_id(&stream.log, add.id, time)?;
            stream.log.append(id, &add.fields, limits);
            let trimmed = add.trim.map_or_else(Trimmed::default, |trim| stream.trim(&trim, limits));
            scope.insert_new(add.key, Value::Stream(Arc::new(stream)));
            (id, trimmed)
        }
    };
    scope.push(add.key, EventKind::Add);
    if trimmed.entries > 0 {
        scope.effects.discard_nodes(trimmed.nodes);
        scope.push(add.key, EventKind::Trim);
    }
    Ok(Answer::Id(id))
}

/// The next id: `streamNextID` and the checks of `streamAppendItem` (Redis 7.2).
fn next_id(log: &Log, wanted: NewId, now: TimeMs) -> Result<EntryId, ReplyError> {
    let last = log.last_id;
    let Some(next) = last.next() else { return Err(IDS_EXHAUSTED) };
    let id = match wanted {
        NewId::Auto if cfg!(headwater_bug = "ids_follow_the_clock") && now.0 < last.ms => {
            EntryId::new(now.0, 0)
        }
        NewId::Auto => next.max(EntryId::new(now.0, 0)),
        NewId::AutoSequence { ms } if ms == last.ms => {
            EntryId::new(ms, last.seq.checked_add(1).ok_or(ID_TOO_SMALL)?)
        }
        NewId::AutoSequence { ms } => EntryId::new(ms, 0),
        NewId::Explicit(id) => id,
    };
    if id > last { Ok(id) } else { Err(ID_TOO_SMALL) }
}

pub fn write(scope: &mut Scope<'_>, write: &StreamWrite<'_>) -> Result<Answer, ReplyError> {
    match write {
        StreamWrite::Trim { key, trim } => trim_stream(scope, key, trim),
        StreamWrite::Delete { key, ids } => delete(scope, key, ids),
        StreamWrite::DeleteEach { key, references, ids } => delete_each(scope, key, *references, ids),
        StreamWrite::SetId { key, last_id, counters } => set_id(scope, key, *last_id, counters.as_ref()),
        StreamWrite::Configure { key, duration_s, ids } => configure(scope, key, *duration_s, *ids),
        StreamWrite::RecordId { key, producer, id, entry } => record_id(scope, key, producer, id, *entry),
    }
}

/// XTRIM.
fn trim_stream(scope: &mut Scope<'_>, key: &[u8], trim: &Trim) -> Result<Answer, ReplyError> {
    let (version, limits) = (scope.version, scope.limits);
    let Some((stream, key_version)) = scope.stream(key)? else { return Ok(Answer::Integer(0)) };
    let trimmed = stream.trim(trim, limits);
    if trimmed.entries > 0 {
        *key_version = version;
        scope.effects.discard_nodes(trimmed.nodes);
        scope.push(key, EventKind::Trim);
    }
    Ok(Answer::Integer(trimmed.entries as i64))
}

/// XDEL.
fn delete(scope: &mut Scope<'_>, key: &[u8], ids: &[EntryId]) -> Result<Answer, ReplyError> {
    let version = scope.version;
    let Some((stream, key_version)) = scope.stream(key)? else { return Ok(Answer::Integer(0)) };
    let deleted = ids.iter().filter(|id| stream.log.delete(**id)).count();
    if deleted > 0 {
        *key_version = version;
        scope.push(key, EventKind::DeleteEntries);
    }
    Ok(Answer::count(deleted))
}

/// XDELEX (Redis 8.2).
fn delete_each(
    scope: &mut Scope<'_>,
    key: &[u8],
    references: References,
    ids: &[EntryId],
) -> Result<Answer, ReplyError> {
    let version = scope.version;
    let Some((stream, key_version)) = scope.stream(key)? else {
        return Ok(Answer::Integers(vec![Deleted::Absent.number(); ids.len()]));
    };
    let outcomes: Vec<Deleted> = ids.iter().map(|id| stream.delete(*id, references)).collect();
    if outcomes.contains(&Deleted::Gone) {
        *key_version = version;
        scope.push(key, EventKind::DeleteEntries);
    }
    Ok(Answer::Integers(outcomes.into_iter().map(Deleted::number).collect()))
}

/// The result of a deletion (XDELEX, XACKDEL).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// The entry did not exist.
    Absent,
    Gone,
    /// ACKED: a group still references the entry, which may be gone already.
    Kept,
}

impl Deleted {
    /// The number in the replies of XDELEX and XACKDEL.
    pub fn number(self) -> i64 {
        match self {
            Deleted::Absent => -1,
            Deleted::Gone => 1,
            Deleted::Kept => 2,
        }
    }
}

impl Stream {
    /// Deletes an entry; the policy decides about its references. DELREF also drops references to an entry
    /// that is already gone.
    pub fn delete(&mut self, id: EntryId, references: References) -> Deleted {
        if references == References::Delete {
            self.forget_pending(id);
        }
        // A pending entry that is gone is referenced too; an id that no entry has had is not.
        let is_referenced = || self.is_pending(id) || (self.log.contains(id) && self.is_ahead(id));
        if references == References::OnlyUnreferenced && is_referenced() {
            return Deleted::Kept;
        }
        if self.log.delete(id) { Deleted::Gone } else { Deleted::Absent }
    }
}

/// XSETID. As in Redis it does not touch the key in the sense of WATCH.
fn set_id(
    scope: &mut Scope<'_>,
    key: &[u8],
    last_id: EntryId,
    counters: Option<&SetIdCounters>,
) -> Result<Answer, ReplyError> {
    if counters.is_some_and(|counters| last_id < counters.max_deleted_id) {
        return Err(ReplyError::new(
            "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
        ));
    }
    let Some((stream, _)) = scope.stream(key)? else { return Err(ReplyError::NO_SUCH_KEY) };
    let log = &mut stream.log;
    if last_id < log.max_deleted_id {
        return Err(ReplyError::new(
            "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id",
        ));
    }
    if let Some(top) = log.last_live_id() {
        if last_id < top {
            return Err(ReplyError::new(
                "ERR The ID specified in XSETID is smaller than the target stream top item",
            ));
        }
        if counters.and_then(|counters| counters.entries_added).is_some_and(|added| added < log.len()) {
            return Err(ReplyError::new(
                "ERR The entries_added specified in XSETID is smaller than the target stream length",
            ));
        }
    }
    log.set_last_id(last_id);
    if let Some(counters) = counters {
        log.entries_added = counters.entries_added.unwrap_or(log.entries_added);
        if counters.max_deleted_id != EntryId::MIN {
            log.max_deleted_id = counters.max_deleted_id;
        }
    }
    scope.push(key, EventKind::SetId);
    Ok(Answer::Done)
}

/// XCFGSET. A changed value empties the table, and the same value does not (`if (changed)` in `xcfgsetCommand`,
/// Redis 8.6, though its documentation tells otherwise); the counters stay.
fn configure(
    scope: &mut Scope<'_>,
    key: &[u8],
    duration_s: Option<u32>,
    ids: Option<u32>,
) -> Result<Answer, ReplyError> {
    let version = scope.version;
    let Some(before) = scope.view(key)?.map(|stream| stream.producers.limits()) else {
        return Err(ReplyError::NO_SUCH_KEY);
    };
    let limits = IdempotencyLimits {
        duration_s: duration_s.unwrap_or(before.duration_s),
        ids: ids.unwrap_or(before.ids),
    };
    if limits != before {
        let (stream, key_version) = scope.stream(key)?.expect("just seen");
        stream.producers.set_limits(limits);
        *key_version = version;
        scope.keys.refresh_forgetting(key);
    }
    Ok(Answer::Done)
}

/// XIDMPRECORD. The id's age counts from this command, whatever the age of its entry.
fn record_id(
    scope: &mut Scope<'_>,
    key: &[u8],
    producer: &[u8],
    id: &[u8],
    entry: EntryId,
) -> Result<Answer, ReplyError> {
    let (time, version) = (scope.time, scope.version);
    let Some(stream) = scope.view(key)? else { return Err(ReplyError::NO_SUCH_KEY) };
    if !stream.log.contains(entry) {
        return Err(ENTRY_MISSING);
    }
    match stream.producers.find(producer, id, time) {
        Some(known) if known == entry => return Ok(Answer::Done),
        Some(_) => return Err(RECORDED_OTHERWISE),
        None => {}
    }
    let (stream, key_version) = scope.stream(key)?.expect("just seen");
    stream.producers.remember(producer, id, entry, time);
    *key_version = version;
    scope.keys.refresh_forgetting(key);
    Ok(Answer::Done)
}
