//! Commands on keys of any type: DEL, EXPIRE, PERSIST, RENAME, RESTORE. `machine` has COPY and what spans
//! databases.

use crate::command::value::key::{Deadline, ExpireCondition, KeyWrite};
use crate::model::reply::ReplyError;
use crate::model::time::TimeMs;
use crate::state::answer::Answer;
use crate::state::effects::EventKind;
use crate::state::rdb::payload;
use crate::state::scope::Scope;
use crate::state::string::expire_at;

pub const BUSY_KEY: ReplyError = ReplyError::new("BUSYKEY Target key name already exists.");

/// A deadline as a moment. Moments before the epoch become the epoch; clients count in 63 bits.
pub fn moment(deadline: Deadline, now: TimeMs) -> TimeMs {
    match deadline {
        Deadline::InMs(ms) => TimeMs(now.0.saturating_add_signed(ms).min(i64::MAX as u64)),
        Deadline::AtMs(ms) => TimeMs(u64::try_from(ms).unwrap_or(0)),
    }
}

/// Executes a write within one database; `None` for a write that spans several.
pub fn write(scope: &mut Scope<'_>, write: &KeyWrite<'_>) -> Option<Result<Answer, ReplyError>> {
    Some(match write {
        KeyWrite::Delete { keys } => {
            let mut deleted = 0;
            for key in keys.iter() {
                scope.expire_if_due(key);
                if scope.delete(key) {
                    deleted += 1;
                    scope.push(key, EventKind::Delete);
                }
            }
            Ok(Answer::Integer(deleted))
        }
        KeyWrite::Expire { key, at, condition } => Ok(expire(scope, key, *at, *condition)),
        KeyWrite::Persist { key } => {
            let version = scope.version;
            let found = scope.entry(key).is_some_and(|entry| entry.expires_at().is_some());
            if found {
                scope.entry_mut(key).expect("just seen").version = version;
                scope.keys.set_deadline(key, None);
                scope.push(key, EventKind::Persist);
            }
            Ok(Answer::flag(found))
        }
        KeyWrite::Rename { from, to, only_if_absent } => rename(scope, from, to, *only_if_absent),
        KeyWrite::Restore { key, payload, expires, replace } => {
            restore(scope, key, payload, *expires, *replace)
        }
        KeyWrite::FlushDatabase => {
            flush(scope);
            Ok(Answer::Done)
        }
        KeyWrite::DeleteIfDue { key } => {
            scope.expire_if_due(key);
            Ok(Answer::Done)
        }
        KeyWrite::Copy { .. }
        | KeyWrite::Move { .. }
        | KeyWrite::SwapDatabases { .. }
        | KeyWrite::FlushAll
        | KeyWrite::DeleteExpired { .. }
        | KeyWrite::SetStreamNodeLimits { .. }
        | KeyWrite::SetIdempotencyLimits { .. }
        | KeyWrite::ForgetIds { .. } => return None,
    })
}

pub fn flush(scope: &mut Scope<'_>) {
    // Pushed even if the database was empty, as Redis does: clients may cache keys that are long gone.
    scope.push(b"", EventKind::Flush);
    scope.clear();
}

/// `expireGenericCommand` of Redis 7.2.
fn expire(scope: &mut Scope<'_>, key: &[u8], at: Deadline, condition: ExpireCondition) -> Answer {
    let at = moment(at, scope.time);
    let version = scope.version;
    let Some(entry) = scope.entry(key) else { return Answer::Integer(0) };
    let refused = match entry.expires_at() {
        Some(current) => {
            condition.only_without
                || (condition.only_later && at <= current)
                || (condition.only_earlier && at >= current)
        }
        None => condition.only_with || condition.only_later,
    };
    if refused {
        return Answer::Integer(0);
    }
    scope.entry_mut(key).expect("just seen").version = version;
    expire_at(scope, key, at);
    Answer::Integer(1)
}

/// `restoreCommand` of Redis 7.0.
fn restore(
    scope: &mut Scope<'_>,
    key: &[u8],
    payload: &[u8],
    expires: Option<Deadline>,
    replace: bool,
) -> Result<Answer, ReplyError> {
    let exists = scope.exists(key);
    if exists && !replace {
        return Err(BUSY_KEY);
    }
    let value = payload::restore(payload, scope.time, scope.idempotency)?;
    let at = expires.map(|deadline| moment(deadline, scope.time));
    if at.is_some_and(|at| at <= scope.time) {
        if exists {
            scope.delete(key);
            scope.push(key, EventKind::Delete);
        }
        return Ok(Answer::Done);
    }
    let was_like = scope.overwrite(key, value, at);
    scope.push(key, EventKind::Restore);
    if let Some(was_like) = was_like {
        scope.overwritten(key, !was_like);
    }
    Ok(Answer::Done)
}

fn rename(scope: &mut Scope<'_>, from: &[u8], to: &[u8], only_if_absent: bool) -> Result<Answer, ReplyError> {
    if !scope.exists(from) {
        return Err(ReplyError::NO_SUCH_KEY);
    }
    let done = if only_if_absent { Answer::Integer(1) } else { Answer::Done };
    if from == to {
        return Ok(if only_if_absent { Answer::Integer(0) } else { done });
    }
    if scope.exists(to) && only_if_absent {
        return Ok(Answer::Integer(0));
    }
    let entry = scope.remove(from).expect("just seen");
    let deadline = entry.expires_at();
    let was_like = scope.overwrite(to, entry.value, deadline);
    scope.push(from, EventKind::RenameFrom);
    scope.push(to, EventKind::RenameTo);
    if let Some(was_like) = was_like {
        scope.overwritten(to, !was_like);
    }
    Ok(done)
}
