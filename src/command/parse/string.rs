//! GET, SET, INCR and similar commands.

use crate::command::parse::cursor::{Cursor, at, list};
use crate::command::parse::key::{invalid_expire_time, is_representable};
use crate::command::parse::number::integer;
use crate::command::parse::stream::refused;
use crate::command::value::key::Deadline;
use crate::command::value::refusal::Look;
use crate::command::value::string::{Expiry, Set, SetCondition, StringQuery, StringWrite};
use crate::command::value::{Command, Data, Query, Write};
use crate::model::args::Args;
use crate::model::reply::ReplyError;

const DECREMENT_OVERFLOWS: ReplyError = ReplyError::new("ERR decrement would overflow");
const NOT_FINITE: ReplyError = ReplyError::new("ERR increment would produce NaN or Infinity");

fn write(write: StringWrite<'_>) -> Result<Command<'_>, ReplyError> {
    Ok(Command::Data(Data::Write(Write::String(write))))
}

fn query(query: StringQuery<'_>) -> Result<Command<'_>, ReplyError> {
    Ok(Command::Data(Data::Query(Query::String(query))))
}

/// GET
pub fn get(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    query(StringQuery::Get { key: at(args, 1) })
}

/// MGET
pub fn get_many(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    query(StringQuery::GetMany { keys: list(args, 1) })
}

/// STRLEN
pub fn length(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    query(StringQuery::Length { key: at(args, 1) })
}

/// EX, PX, EXAT, PXAT, KEEPTTL and PERSIST while they are parsed: the last of one kind wins, two kinds are
/// refused (Redis `parseExtendedStringArgumentsOrReply`).
#[derive(Default)]
struct ExpiryOption<'a> {
    kind: Option<ExpiryKind>,
    text: &'a [u8],
}

#[derive(Clone, Copy, PartialEq)]
enum ExpiryKind {
    InSeconds,
    InMs,
    AtSeconds,
    AtMs,
    Keep,
    Persist,
}

impl<'a> ExpiryOption<'a> {
    /// Takes one option if the cursor is before a permitted one.
    fn take(&mut self, cursor: &mut Cursor<'a>, keyword: (&str, ExpiryKind)) -> Result<bool, ReplyError> {
        let (word, kind) = keyword;
        let text = match kind {
            ExpiryKind::Keep | ExpiryKind::Persist => cursor.take_word(word).then_some(&b""[..]),
            _ => cursor.take_option(word),
        };
        let Some(text) = text else { return Ok(false) };
        if self.kind.is_some_and(|before| before != kind) {
            return Err(ReplyError::SYNTAX);
        }
        *self = ExpiryOption { kind: Some(kind), text };
        Ok(true)
    }

    fn take_any(
        &mut self,
        cursor: &mut Cursor<'a>,
        keywords: &[(&str, ExpiryKind)],
    ) -> Result<bool, ReplyError> {
        for &keyword in keywords {
            if self.take(cursor, keyword)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// `None` without options.
    fn finish(self, name: &str) -> Result<Option<Expiry>, ReplyError> {
        let Some(kind) = self.kind else { return Ok(None) };
        let expiry = match kind {
            ExpiryKind::Keep => Expiry::Keep,
            ExpiryKind::Persist => Expiry::None,
            ExpiryKind::InSeconds => positive_time(self.text, name, 1000, Deadline::InMs)?,
            ExpiryKind::InMs => positive_time(self.text, name, 1, Deadline::InMs)?,
            ExpiryKind::AtSeconds => positive_time(self.text, name, 1000, Deadline::AtMs)?,
            ExpiryKind::AtMs => positive_time(self.text, name, 1, Deadline::AtMs)?,
        };
        Ok(Some(expiry))
    }
}

/// A time that must be positive (Redis `getExpireMillisecondsOrReply`).
fn positive_time(
    text: &[u8],
    name: &str,
    unit_ms: i64,
    deadline: fn(i64) -> Deadline,
) -> Result<Expiry, ReplyError> {
    let ms = integer(text)?.checked_mul(unit_ms).filter(|&ms| ms > 0);
    let deadline = ms.map(deadline).filter(|&deadline| is_representable(deadline));
    deadline.map(Expiry::At).ok_or_else(|| invalid_expire_time(name))
}

const TIMES: [(&str, ExpiryKind); 4] = [
    ("EX", ExpiryKind::InSeconds),
    ("PX", ExpiryKind::InMs),
    ("EXAT", ExpiryKind::AtSeconds),
    ("PXAT", ExpiryKind::AtMs),
];

/// SET
pub fn set(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let mut cursor = Cursor::new(args, 3);
    let mut condition = SetCondition::Always;
    let mut get = false;
    let mut expiry = ExpiryOption::default();
    while cursor.left() > 0 {
        if condition != SetCondition::IfPresent && cursor.take_word("NX") {
            condition = SetCondition::IfAbsent;
        } else if condition != SetCondition::IfAbsent && cursor.take_word("XX") {
            condition = SetCondition::IfPresent;
        } else if cursor.take_word("GET") {
            get = true;
        } else if !expiry.take_any(&mut cursor, &TIMES)?
            && !expiry.take(&mut cursor, ("KEEPTTL", ExpiryKind::Keep))?
        {
            return Err(ReplyError::SYNTAX);
        }
    }
    let expiry = expiry.finish("set")?.unwrap_or_default();
    write(StringWrite::Set(Set { key: at(args, 1), value: at(args, 2), condition, get, expiry }))
}

/// SETNX
pub fn set_if_absent(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    write(StringWrite::SetIfAbsent { key: at(args, 1), value: at(args, 2) })
}

/// SETEX
pub fn setex(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    set_expiring(args, positive_time(at(args, 2), "setex", 1000, Deadline::InMs)?)
}

/// PSETEX
pub fn psetex(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    set_expiring(args, positive_time(at(args, 2), "psetex", 1, Deadline::InMs)?)
}

fn set_expiring(args: Args<'_>, expiry: Expiry) -> Result<Command<'_>, ReplyError> {
    let condition = SetCondition::Always;
    write(StringWrite::Set(Set { key: at(args, 1), value: at(args, 3), condition, get: false, expiry }))
}

/// GETSET
pub fn get_set(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    write(StringWrite::Set(Set {
        key: at(args, 1),
        value: at(args, 2),
        condition: SetCondition::Always,
        get: true,
        expiry: Expiry::None,
    }))
}

/// GETDEL
pub fn get_delete(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    write(StringWrite::GetDelete { key: at(args, 1) })
}

/// GETEX
pub fn get_expire(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let key = at(args, 1);
    let mut cursor = Cursor::new(args, 2);
    let mut expiry = ExpiryOption::default();
    while cursor.left() > 0 {
        if !expiry.take_any(&mut cursor, &TIMES)?
            && !expiry.take(&mut cursor, ("PERSIST", ExpiryKind::Persist))?
        {
            return Err(ReplyError::SYNTAX);
        }
    }
    match expiry.finish("getex") {
        Err(error) => refused(key, Look::TextOrNil, error),
        Ok(None) => query(StringQuery::Get { key }),
        Ok(Some(expiry)) => write(StringWrite::GetExpire { key, expiry }),
    }
}

/// MSET
pub fn set_many(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    if args.len().is_multiple_of(2) {
        return Err(ReplyError::wrong_arity("mset"));
    }
    write(StringWrite::SetMany { pairs: list(args, 1) })
}

/// MSETNX
pub fn set_many_if_absent(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    if args.len().is_multiple_of(2) {
        return Err(ReplyError::wrong_arity("msetnx"));
    }
    write(StringWrite::SetManyIfAbsent { pairs: list(args, 1) })
}

/// APPEND
pub fn append(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    write(StringWrite::Append { key: at(args, 1), value: at(args, 2) })
}

/// INCR
pub fn increment(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    write(StringWrite::Increment { key: at(args, 1), by: 1 })
}

/// DECR
pub fn decrement(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    write(StringWrite::Increment { key: at(args, 1), by: -1 })
}

/// INCRBY
pub fn increment_by(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    write(StringWrite::Increment { key: at(args, 1), by: integer(at(args, 2))? })
}

/// DECRBY
pub fn decrement_by(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let by = integer(at(args, 2))?.checked_neg().ok_or(DECREMENT_OVERFLOWS)?;
    write(StringWrite::Increment { key: at(args, 1), by })
}

/// INCRBYFLOAT
pub fn increment_float(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let (key, by) = (at(args, 1), at(args, 2));
    let number = std::str::from_utf8(by).ok().and_then(|text| text.parse::<f64>().ok());
    match number {
        None => refused(key, Look::Text, ReplyError::NOT_A_FLOAT),
        Some(number) if number.is_nan() => refused(key, Look::Text, ReplyError::NOT_A_FLOAT),
        Some(number) if number.is_infinite() => refused(key, Look::Text, NOT_FINITE),
        Some(_) => write(StringWrite::IncrementFloat { key, by }),
    }
}
