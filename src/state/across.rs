//! Key commands that reach beyond one database: COPY, MOVE, SWAPDB, FLUSHALL, deletion of due keys, settings.

use crate::command::value::key::KeyWrite;
use crate::model::reply::ReplyError;
use crate::state::answer::Answer;
use crate::state::effects::{Effects, EventKind};
use crate::state::key;
use crate::state::machine::Machine;
use crate::state::stream::idempotency::IdempotencyLimits;
use crate::state::stream::log::NodeLimits;

const SAME_OBJECT: ReplyError = ReplyError::new("ERR source and destination objects are the same");

/// Key commands that reach beyond one database.
pub(super) fn write(
    machine: &mut Machine,
    database: u32,
    write: &KeyWrite<'_>,
    effects: &mut Effects,
) -> Result<Answer, ReplyError> {
    match write {
        KeyWrite::Copy { from, to, database: into, replace } => {
            copy(machine, (database, from), (into.unwrap_or(database), to), *replace, effects)
        }
        KeyWrite::Move { key, database: into } => move_key(machine, database, key, *into, effects),
        KeyWrite::SwapDatabases { first, second } => {
            swap(machine, *first, *second, effects);
            Ok(Answer::Done)
        }
        KeyWrite::FlushAll => {
            let mut databases: Vec<u32> = machine.databases.keys().copied().collect();
            if databases.is_empty() {
                databases.push(database);
            }
            databases.iter().for_each(|database| key::flush(&mut machine.scope(*database, effects)));
            Ok(Answer::Done)
        }
        KeyWrite::DeleteExpired { limit } => Ok(delete_expired(machine, *limit, effects)),
        KeyWrite::SetStreamNodeLimits { entries, bytes } => {
            machine.limits = NodeLimits { entries: *entries, bytes: *bytes };
            Ok(Answer::Done)
        }
        KeyWrite::SetIdempotencyLimits { duration_s, ids } => {
            machine.idempotency = IdempotencyLimits { duration_s: *duration_s, ids: *ids };
            Ok(Answer::Done)
        }
        KeyWrite::ForgetIds { limit } => {
            forget_ids(machine, *limit as usize);
            Ok(Answer::Done)
        }
        _ => unreachable!("what stays within one database is done"),
    }
}

/// COPY: streams with their groups; the copy shares what it can.
fn copy(
    machine: &mut Machine,
    (from_database, from): (u32, &[u8]),
    (to_database, to): (u32, &[u8]),
    replace: bool,
    effects: &mut Effects,
) -> Result<Answer, ReplyError> {
    if (from_database, from) == (to_database, to) {
        return Err(SAME_OBJECT);
    }
    let copied = machine.scope(from_database, effects).entry(from).cloned();
    let Some(entry) = copied else { return Ok(Answer::Integer(0)) };
    let mut target = machine.scope(to_database, effects);
    if target.exists(to) && !replace {
        return Ok(Answer::Integer(0));
    }
    let deadline = entry.expires_at();
    let was_like = target.overwrite(to, entry.value, deadline);
    target.push(to, EventKind::CopyTo);
    if let Some(was_like) = was_like {
        target.overwritten(to, !was_like);
    }
    Ok(Answer::Integer(1))
}

/// MOVE: nothing happens if the name is taken there.
fn move_key(
    machine: &mut Machine,
    from: u32,
    key: &[u8],
    to: u32,
    effects: &mut Effects,
) -> Result<Answer, ReplyError> {
    if from == to {
        return Err(SAME_OBJECT);
    }
    if !machine.scope(from, effects).exists(key) || machine.scope(to, effects).exists(key) {
        return Ok(Answer::Integer(0));
    }
    let entry = machine.scope(from, effects).remove(key).expect("just seen");
    let mut target = machine.scope(to, effects);
    let deadline = entry.expires_at();
    target.insert_new(key, entry.value);
    target.keys.set_deadline(key, deadline);
    effects.push(from, key, EventKind::MoveFrom);
    effects.push(to, key, EventKind::MoveTo);
    Ok(Answer::Integer(1))
}

/// SWAPDB. Keys keep their versions, so WATCH sees another key under the same name. Due keys are deleted
/// first: for WATCH they are absent, and moving what is absent changes nothing.
fn swap(machine: &mut Machine, first: u32, second: u32, effects: &mut Effects) {
    if first == second {
        return;
    }
    for database in [first, second] {
        delete_expired_of(machine, database, u32::MAX, effects);
    }
    let [former, latter] =
        [first, second].map(|database| machine.databases.remove(&database).unwrap_or_default());
    for (database, mut keys) in [(first, latter), (second, former)] {
        keys.begin(machine.applied).note_replaced();
        machine.databases.insert(database, keys);
        effects.push(database, b"", EventKind::Swap);
    }
}

fn delete_expired(machine: &mut Machine, limit: u32, effects: &mut Effects) -> Answer {
    let databases: Vec<u32> = machine.databases.keys().copied().collect();
    let mut deleted = 0;
    for database in databases {
        deleted += delete_expired_of(machine, database, limit - deleted, effects);
    }
    Answer::Integer(i64::from(deleted))
}

/// Deletes at most `limit` due keys of a database; returns their number.
fn delete_expired_of(machine: &mut Machine, database: u32, limit: u32, effects: &mut Effects) -> u32 {
    let Some(keys) = machine.databases.get_mut(&database) else { return 0 };
    keys.begin(machine.applied);
    let mut deleted = 0;
    while deleted < limit
        && let Some(key) = keys.first_due(machine.time).cloned()
    {
        let entry = keys.remove(&key).expect("just seen");
        machine.deletions.note(database, &key, entry.version);
        effects.discard_value(entry.value);
        effects.push(database, &key, EventKind::Expired);
        deleted += 1;
    }
    deleted
}

/// Forgets due idempotent ids; this affects neither WATCH nor blocked reads.
fn forget_ids(machine: &mut Machine, limit: usize) {
    let mut left = limit;
    for keys in machine.databases.values_mut() {
        keys.begin(machine.applied);
        while left > 0
            && let Some(key) = keys.first_forgetting(machine.time).cloned()
        {
            let stream = keys.stream_mut(&key).expect("only streams forget");
            left -= stream.producers.forget_due(machine.time, left);
            keys.refresh_forgetting(&key);
        }
    }
}
