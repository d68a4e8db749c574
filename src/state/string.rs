//! Strings: SET and its family, INCR and its family, APPEND.

use crate::command::value::string::{Expiry, Set, SetCondition, StringQuery, StringWrite};
use crate::model::args::ArgList;
use crate::model::limits::STRING_BYTES_MAX;
use crate::model::reply::ReplyError;
use crate::model::time::TimeMs;
use crate::state::answer::Answer;
use crate::state::decimal::{self, NoSum};
use crate::state::effects::EventKind;
use crate::state::key::moment;
use crate::state::keyspace::Text;
use crate::state::scope::Scope;
use crate::state::stream::listpack::canonical_integer;
use bytes::Bytes;

pub fn write(scope: &mut Scope<'_>, write: &StringWrite<'_>) -> Result<Answer, ReplyError> {
    match write {
        StringWrite::Set(set) => set_one(scope, set),
        StringWrite::SetIfAbsent { key, value } => {
            let absent = !scope.exists(key);
            if absent {
                put(scope, key, value);
            }
            Ok(Answer::flag(absent))
        }
        StringWrite::GetDelete { key } => {
            let Some(text) = scope.text(key)? else { return Ok(Answer::Nil) };
            let value = text.bytes.clone();
            scope.remove(key);
            scope.push(key, EventKind::Delete);
            Ok(Answer::Bulk(value))
        }
        StringWrite::GetExpire { key, expiry } => get_expire(scope, key, *expiry),
        StringWrite::SetMany { pairs } => {
            put_pairs(scope, pairs);
            Ok(Answer::Done)
        }
        StringWrite::SetManyIfAbsent { pairs } => {
            let absent = !pairs.pairs().any(|(key, _)| scope.exists(key));
            if absent {
                put_pairs(scope, pairs);
            }
            Ok(Answer::flag(absent))
        }
        StringWrite::Append { key, value } => append(scope, key, value),
        StringWrite::Increment { key, by } => increment(scope, key, *by),
        StringWrite::IncrementFloat { key, by } => increment_float(scope, key, by),
    }
}

/// SET (`setGenericCommand` of Redis 7.2).
fn set_one(scope: &mut Scope<'_>, set: &Set<'_>) -> Result<Answer, ReplyError> {
    let before = if set.get { scope.text(set.key)?.map(|text| text.bytes.clone()) } else { None };
    let exists = scope.exists(set.key);
    let happens = match set.condition {
        SetCondition::Always => true,
        SetCondition::IfAbsent => !exists,
        SetCondition::IfPresent => exists,
    };
    if happens {
        scope.overwrite_text(set.key, Text::new(set.value), set.expiry == Expiry::Keep);
        scope.push(set.key, EventKind::Set);
        if let Expiry::At(deadline) = set.expiry {
            scope.keys.set_deadline(set.key, Some(moment(deadline, scope.time)));
            scope.push(set.key, EventKind::Expire);
        }
    }
    Ok(match (set.get, before) {
        (true, Some(value)) => Answer::Bulk(value),
        (true, None) => Answer::Nil,
        (false, _) if happens => Answer::Done,
        (false, _) => Answer::Nil,
    })
}

fn put(scope: &mut Scope<'_>, key: &[u8], value: &[u8]) {
    scope.overwrite_text(key, Text::new(value), false);
    scope.push(key, EventKind::Set);
}

fn put_pairs(scope: &mut Scope<'_>, pairs: &ArgList<'_>) {
    for (key, value) in pairs.pairs() {
        scope.expire_if_due(key);
        put(scope, key, value);
    }
}

/// GETEX. A past moment deletes at once.
fn get_expire(scope: &mut Scope<'_>, key: &[u8], expiry: Expiry) -> Result<Answer, ReplyError> {
    let (time, version) = (scope.time, scope.version);
    let Some(text) = scope.text(key)? else { return Ok(Answer::Nil) };
    let value = text.bytes.clone();
    match expiry {
        Expiry::Keep => {}
        Expiry::None => {
            if scope.entry(key).is_some_and(|entry| entry.expires_at().is_some()) {
                scope.entry_mut(key).expect("just seen").version = version;
                scope.keys.set_deadline(key, None);
                scope.push(key, EventKind::Persist);
            }
        }
        Expiry::At(deadline) => {
            scope.entry_mut(key).expect("just seen").version = version;
            expire_at(scope, key, moment(deadline, time));
        }
    }
    Ok(Answer::Bulk(value))
}

/// Sets a deadline; a past one deletes at once.
pub fn expire_at(scope: &mut Scope<'_>, key: &[u8], at: TimeMs) {
    if at <= scope.time {
        scope.delete(key);
        scope.push(key, EventKind::Delete);
    } else {
        scope.keys.set_deadline(key, Some(at));
        scope.push(key, EventKind::Expire);
    }
}

fn append(scope: &mut Scope<'_>, key: &[u8], value: &[u8]) -> Result<Answer, ReplyError> {
    let text = match scope.text(key)? {
        None => Text::new(value),
        Some(text) => {
            if (text.bytes.len() + value.len()) as u64 > STRING_BYTES_MAX {
                return Err(ReplyError::new("ERR string exceeds maximum allowed size (proto-max-bulk-len)"));
            }
            Text { bytes: Bytes::from([&text.bytes[..], value].concat()), appended: true }
        }
    };
    let length = text.bytes.len();
    scope.put_text(key, text, true);
    scope.push(key, EventKind::Append);
    Ok(Answer::count(length))
}

fn increment(scope: &mut Scope<'_>, key: &[u8], by: i64) -> Result<Answer, ReplyError> {
    let before = match scope.text(key)? {
        None => 0,
        Some(text) => canonical_integer(&text.bytes).ok_or(ReplyError::NOT_AN_INTEGER)?,
    };
    let after = before.checked_add(by).ok_or(ReplyError::new("ERR increment or decrement would overflow"))?;
    scope.put_text(key, Text::new(itoa::Buffer::new().format(after).as_bytes()), true);
    scope.push(key, EventKind::Increment);
    Ok(Answer::Integer(after))
}

fn increment_float(scope: &mut Scope<'_>, key: &[u8], by: &[u8]) -> Result<Answer, ReplyError> {
    let before = scope.text(key)?.map_or(&b"0"[..], |text| &text.bytes);
    let after = decimal::add(before, by).map_err(|why| match why {
        NoSum::NotAFloat => ReplyError::NOT_A_FLOAT,
        NoSum::NotFinite => ReplyError::new("ERR increment would produce NaN or Infinity"),
    })?;
    scope.put_text(key, Text::new(after.as_bytes()), true);
    scope.push(key, EventKind::IncrementFloat);
    Ok(Answer::Bulk(after.into()))
}

pub fn query<'s>(
    query: &StringQuery<'_>,
    text: impl Fn(&[u8]) -> Result<Option<&'s Text>, ReplyError>,
) -> Result<Answer, ReplyError> {
    Ok(match query {
        StringQuery::Get { key } => text(key)?.map_or(Answer::Nil, |text| Answer::Bulk(text.bytes.clone())),
        // A key of another type is answered like a missing one.
        StringQuery::GetMany { keys } => {
            let value = |key| text(key).ok().flatten().map(|text| text.bytes.clone());
            Answer::Bulks(keys.iter().map(value).collect())
        }
        StringQuery::Length { key } => Answer::count(text(key)?.map_or(0, |text| text.bytes.len())),
    })
}

/// OBJECT ENCODING of a string (Redis 7: 44 bytes fit beside the object's head).
pub fn encoding(text: &Text) -> &'static str {
    if text.appended {
        "raw"
    } else if canonical_integer(&text.bytes).is_some() {
        "int"
    } else if text.bytes.len() <= 44 {
        "embstr"
    } else {
        "raw"
    }
}
