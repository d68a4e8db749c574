//! Keys of any type: DEL, EXPIRE, RENAME, COPY, SCAN and similar commands.

use crate::model::args::ArgList;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum KeyWrite<'a> {
    /// DEL, UNLINK
    Delete {
        keys: ArgList<'a>,
    },
    /// EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT
    Expire {
        key: &'a [u8],
        at: Deadline,
        condition: ExpireCondition,
    },
    Persist {
        key: &'a [u8],
    },
    Rename {
        from: &'a [u8],
        to: &'a [u8],
        only_if_absent: bool,
    },
    /// COPY; `database` of the copy, `None`: the same database.
    Copy {
        from: &'a [u8],
        to: &'a [u8],
        database: Option<u32>,
        replace: bool,
    },
    /// MOVE
    Move {
        key: &'a [u8],
        database: u32,
    },
    /// RESTORE: a payload of DUMP, already checked (otherwise the value is a
    /// [`crate::command::value::refusal`]); `expires` `None`: never.
    Restore {
        key: &'a [u8],
        payload: &'a [u8],
        expires: Option<Deadline>,
        replace: bool,
    },
    /// SWAPDB
    SwapDatabases {
        first: u32,
        second: u32,
    },
    /// FLUSHDB
    FlushDatabase,
    FlushAll,
    /// Deletes at most `limit` keys that are due at the batch's time. The leader logs it; clients cannot send
    /// it.
    DeleteExpired {
        limit: u32,
    },
    /// Deletes the key if it is due at the batch's time. The leader logs it when a read found the key due and
    /// an event is wanted; clients cannot send it.
    DeleteIfDue {
        key: &'a [u8],
    },
    /// `stream-node-max-entries` and `stream-node-max-bytes`: they decide what `~` trims, so replicas must
    /// agree. 0 stands for "no limit". Logged when the setting changes; clients cannot send it.
    SetStreamNodeLimits {
        entries: u32,
        bytes: u32,
    },
    /// `stream-idmp-duration` (seconds) and `stream-idmp-maxsize`, for streams created from now on. Logged
    /// when the setting changes; clients cannot send it.
    SetIdempotencyLimits {
        duration_s: u32,
        ids: u32,
    },
    /// Forgets at most `limit` idempotent ids that are due at the batch's time. The leader logs it; clients
    /// cannot send it.
    ForgetIds {
        limit: u32,
    },
}

/// A moment in milliseconds, absolute or relative to the batch's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    /// Relative to the batch's time; a negative one is due at once.
    InMs(i64),
    /// Since the epoch; a past one is due at once.
    AtMs(i64),
}

/// NX, XX, GT, LT of EXPIRE; XX may accompany GT or LT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExpireCondition {
    pub only_without: bool,
    pub only_with: bool,
    pub only_later: bool,
    pub only_earlier: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum KeyQuery<'a> {
    /// EXISTS: repeated keys count again.
    Exists {
        keys: ArgList<'a>,
    },
    /// TOUCH
    Touch {
        keys: ArgList<'a>,
    },
    Type {
        key: &'a [u8],
    },
    /// TTL, PTTL, EXPIRETIME, PEXPIRETIME
    TimeToLive {
        key: &'a [u8],
        unit: TimeUnit,
        absolute: bool,
    },
    /// RANDOMKEY; the random number comes from outside the machine.
    Random {
        chance: u64,
    },
    /// KEYS
    Matching {
        pattern: &'a [u8],
    },
    Scan(Scan<'a>),
    /// OBJECT ENCODING, REFCOUNT, IDLETIME, FREQ
    Object {
        key: &'a [u8],
        aspect: ObjectAspect,
    },
    /// DBSIZE
    Count,
    /// DUMP; the RDB version comes from outside the machine.
    Dump {
        key: &'a [u8],
        rdb_version: u16,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeUnit {
    Seconds,
    Milliseconds,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectAspect {
    Encoding,
    ReferenceCount,
    IdleTime,
    Frequency,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scan<'a> {
    pub cursor: u64,
    pub pattern: Option<&'a [u8]>,
    /// Keys to examine: at least 1.
    pub count: u64,
    /// TYPE: `stream`, `string`, or any other word, which matches nothing.
    pub of_type: Option<&'a [u8]>,
}
