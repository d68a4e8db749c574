//! DEL, EXPIRE, TTL, RENAME, COPY, MOVE, DUMP, RESTORE, SCAN and their like.

use crate::command::parse::cursor::{Cursor, at, list, quoting};
use crate::command::parse::help;
use crate::command::parse::number::{CLOCK_MS_MAX, integer, integer_between};
use crate::command::value::key::{
    Deadline, ExpireCondition, KeyQuery, KeyWrite, ObjectAspect, Scan, TimeUnit,
};
use crate::command::value::refusal::{Look, Refusal};
use crate::command::value::server::ServerCommand;
use crate::command::value::{Command, Data, Query, Write};
use crate::model::args::Args;
use crate::model::entry_id::parse_u64;
use crate::model::reply::ReplyError;

const NX_AND_OTHERS: ReplyError =
    ReplyError::new("ERR NX and XX, GT or LT options at the same time are not compatible");
const GT_AND_LT: ReplyError = ReplyError::new("ERR GT and LT options at the same time are not compatible");
const SAME_OBJECT: ReplyError = ReplyError::new("ERR source and destination objects are the same");

/// Default COUNT of SCAN.
const SCAN_COUNT_DEFAULT: u64 = 10;

fn write(write: KeyWrite<'_>) -> Result<Command<'_>, ReplyError> {
    Ok(Command::Data(Data::Write(Write::Key(write))))
}

fn query(query: KeyQuery<'_>) -> Result<Command<'_>, ReplyError> {
    Ok(Command::Data(Data::Query(Query::Key(query))))
}

/// DEL, UNLINK
pub fn delete(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    write(KeyWrite::Delete { keys: list(args, 1) })
}

/// EXISTS
pub fn exists(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    query(KeyQuery::Exists { keys: list(args, 1) })
}

/// TOUCH
pub fn touch(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    query(KeyQuery::Touch { keys: list(args, 1) })
}

/// TYPE
pub fn type_of(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    query(KeyQuery::Type { key: at(args, 1) })
}

/// EXPIRE
pub fn expire(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    expire_with(args, "expire", 1000, Deadline::InMs)
}

/// PEXPIRE
pub fn pexpire(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    expire_with(args, "pexpire", 1, Deadline::InMs)
}

/// EXPIREAT
pub fn expire_at(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    expire_with(args, "expireat", 1000, Deadline::AtMs)
}

/// PEXPIREAT
pub fn pexpire_at(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    expire_with(args, "pexpireat", 1, Deadline::AtMs)
}

/// Redis `expireGenericCommand`: parses the options first, then the time.
fn expire_with<'a>(
    args: Args<'a>,
    name: &str,
    unit_ms: i64,
    deadline: fn(i64) -> Deadline,
) -> Result<Command<'a>, ReplyError> {
    let mut condition = ExpireCondition::default();
    for arg in args.from(3).iter() {
        match () {
            () if arg.eq_ignore_ascii_case(b"NX") => condition.only_without = true,
            () if arg.eq_ignore_ascii_case(b"XX") => condition.only_with = true,
            () if arg.eq_ignore_ascii_case(b"GT") => condition.only_later = true,
            () if arg.eq_ignore_ascii_case(b"LT") => condition.only_earlier = true,
            () => return Err(quoting("ERR Unsupported option ", arg, "")),
        }
    }
    let ExpireCondition { only_without, only_with, only_later, only_earlier } = condition;
    if only_without && (only_with || only_later || only_earlier) {
        return Err(NX_AND_OTHERS);
    }
    if only_later && only_earlier {
        return Err(GT_AND_LT);
    }
    let at_or_in = integer(at(args, 2))?.checked_mul(unit_ms).map(deadline);
    let at_or_in = at_or_in.filter(|&deadline| is_representable(deadline));
    let deadline = at_or_in.ok_or_else(|| invalid_expire_time(name))?;
    write(KeyWrite::Expire { key: at(args, 1), at: deadline, condition })
}

/// Whether adding a relative time to the clock cannot overflow.
pub fn is_representable(deadline: Deadline) -> bool {
    match deadline {
        Deadline::InMs(ms) => ms <= i64::MAX - CLOCK_MS_MAX,
        Deadline::AtMs(_) => true,
    }
}

pub fn invalid_expire_time(name: &str) -> ReplyError {
    ReplyError::owned(format!("ERR invalid expire time in '{name}' command"))
}

/// TTL
pub fn ttl(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    query(KeyQuery::TimeToLive { key: at(args, 1), unit: TimeUnit::Seconds, absolute: false })
}

/// PTTL
pub fn pttl(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    query(KeyQuery::TimeToLive { key: at(args, 1), unit: TimeUnit::Milliseconds, absolute: false })
}

/// EXPIRETIME
pub fn expire_time(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    query(KeyQuery::TimeToLive { key: at(args, 1), unit: TimeUnit::Seconds, absolute: true })
}

/// PEXPIRETIME
pub fn pexpire_time(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    query(KeyQuery::TimeToLive { key: at(args, 1), unit: TimeUnit::Milliseconds, absolute: true })
}

/// PERSIST
pub fn persist(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    write(KeyWrite::Persist { key: at(args, 1) })
}

/// RENAME
pub fn rename(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    write(KeyWrite::Rename { from: at(args, 1), to: at(args, 2), only_if_absent: false })
}

/// RENAMENX
pub fn rename_if_absent(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    write(KeyWrite::Rename { from: at(args, 1), to: at(args, 2), only_if_absent: true })
}

/// COPY (Redis `copyCommand`). The server knows the number of databases.
pub fn copy(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let (from, to) = (at(args, 1), at(args, 2));
    let mut cursor = Cursor::new(args, 3);
    let mut database = None;
    let mut replace = false;
    while cursor.left() > 0 {
        if cursor.take_word("REPLACE") {
            replace = true;
        } else if let Some(text) = cursor.take_option("DB") {
            let index = integer_between(text, i64::from(i32::MIN), i64::from(i32::MAX))?;
            database = Some(u32::try_from(index).map_err(|_| ReplyError::DATABASE_OUT_OF_RANGE)?);
        } else {
            return Err(ReplyError::SYNTAX);
        }
    }
    if database.is_none() && from == to {
        return Err(SAME_OBJECT);
    }
    write(KeyWrite::Copy { from, to, database, replace })
}

/// MOVE. The server knows the number of databases, the session the selected one.
pub fn move_key(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let index = integer_between(at(args, 2), i64::from(i32::MIN), i64::from(i32::MAX))?;
    let database = u32::try_from(index).map_err(|_| ReplyError::DATABASE_OUT_OF_RANGE)?;
    write(KeyWrite::Move { key: at(args, 1), database })
}

/// DUMP; the server fills in the RDB version.
pub fn dump(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    query(KeyQuery::Dump { key: at(args, 1), rdb_version: 0 })
}

/// RESTORE (Redis `restoreCommand`): options, the name, the time, then the payload, which the server checks.
/// IDLETIME and FREQ serve eviction, which does not exist here.
pub fn restore(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let key = at(args, 1);
    let mut cursor = Cursor::new(args, 4);
    let (mut replace, mut absolute, mut idle, mut frequency) = (false, false, false, false);
    while cursor.left() > 0 {
        if cursor.take_word("REPLACE") {
            replace = true;
        } else if cursor.take_word("ABSTTL") {
            absolute = true;
        } else if !frequency && let Some(text) = cursor.take_option("IDLETIME") {
            if integer(text)? < 0 {
                return Err(ReplyError::new("ERR Invalid IDLETIME value, must be >= 0"));
            }
            idle = true;
        } else if !idle && let Some(text) = cursor.take_option("FREQ") {
            if !(0..=255).contains(&integer(text)?) {
                return Err(ReplyError::new("ERR Invalid FREQ value, must be >= 0 and <= 255"));
            }
            frequency = true;
        } else {
            return Err(ReplyError::SYNTAX);
        }
    }
    let expires = match integer(at(args, 2)) {
        Ok(0) => None,
        Ok(ms @ 1..) if absolute => Some(Deadline::AtMs(ms)),
        Ok(ms @ 1..) => Some(Deadline::InMs(ms)),
        Ok(_) => {
            return refused_restore(key, replace, ReplyError::new("ERR Invalid TTL value, must be >= 0"));
        }
        Err(error) => return refused_restore(key, replace, error),
    };
    write(KeyWrite::Restore { key, payload: at(args, 3), expires, replace })
}

fn refused_restore(key: &[u8], replace: bool, error: ReplyError) -> Result<Command<'_>, ReplyError> {
    if replace {
        return Err(error);
    }
    Ok(Command::Data(Data::Query(Query::Refused(Refusal { key, look: Look::Vacant, error }))))
}

/// RANDOMKEY; the server fills in the random number.
pub fn random(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    query(KeyQuery::Random { chance: 0 })
}

/// KEYS
pub fn matching(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    query(KeyQuery::Matching { pattern: at(args, 1) })
}

/// SCAN (Redis `scanGenericCommand`).
pub fn scan(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let cursor = parse_u64(at(args, 1)).ok_or(ReplyError::new("ERR invalid cursor"))?;
    let mut scan = Scan { cursor, pattern: None, count: SCAN_COUNT_DEFAULT, of_type: None };
    let mut cursor = Cursor::new(args, 2);
    while cursor.left() > 0 {
        if let Some(text) = cursor.take_option("COUNT") {
            let count = u64::try_from(integer(text)?).ok().filter(|&count| count > 0);
            scan.count = count.ok_or(ReplyError::SYNTAX)?;
        } else if let Some(pattern) = cursor.take_option("MATCH") {
            scan.pattern = Some(pattern);
        } else if let Some(of_type) = cursor.take_option("TYPE") {
            scan.of_type = Some(of_type);
        } else {
            return Err(ReplyError::SYNTAX);
        }
    }
    query(KeyQuery::Scan(scan))
}

/// OBJECT ENCODING
pub fn object_encoding(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    query(KeyQuery::Object { key: at(args, 2), aspect: ObjectAspect::Encoding })
}

/// OBJECT REFCOUNT
pub fn object_refcount(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    query(KeyQuery::Object { key: at(args, 2), aspect: ObjectAspect::ReferenceCount })
}

/// OBJECT IDLETIME
pub fn object_idletime(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    query(KeyQuery::Object { key: at(args, 2), aspect: ObjectAspect::IdleTime })
}

/// OBJECT FREQ
pub fn object_freq(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    query(KeyQuery::Object { key: at(args, 2), aspect: ObjectAspect::Frequency })
}

/// OBJECT HELP
pub fn object_help(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    Ok(Command::Server(ServerCommand::Fixed(help::reply("OBJECT", help::OBJECT))))
}
