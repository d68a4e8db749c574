//! Keys whatever they hold: DEL, EXPIRE, RENAME, COPY, SCAN and their like.

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
    /// COPY; `database` of the copy, `None`: the same.
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
    /// RESTORE: a payload of DUMP that was looked through before ([`crate::command::value::refusal`] otherwise); `expires`
    /// `None`: never.
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
    /// Deletes at most `limit` keys that are due by the batch's time. The leader logs it; no client can send it.
    DeleteExpired {
        limit: u32,
    },
    /// Deletes the key if it is due by the batch's time. The leader logs it when a read has found it due and somebody
    /// wants to hear of it; no client can send it.
    DeleteIfDue {
        key: &'a [u8],
    },
    /// `stream-node-max-entries` and `stream-node-max-bytes`: they decide what `~` trims, so replicas must agree.
    /// 0 stands for "no limit". Logged when the setting changes; no client can send it.
    SetStreamNodeLimits {
        entries: u32,
        bytes: u32,
    },
    /// `stream-idmp-duration` (seconds) and `stream-idmp-maxsize`, for streams that are made from now on. Logged when the
    /// setting changes; no client can send it.
    SetIdempotencyLimits {
        duration_s: u32,
        ids: u32,
    },
    /// Forgets at most `limit` idempotent ids that are due by the batch's time. The leader logs it; no client can send it.
    ForgetIds {
        limit: u32,
    },
}

/// A moment in milliseconds, or one relative to the batch's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    /// From the batch's time on; may be negative: due at once.
    InMs(i64),
    /// Since the epoch; may lie in the past: due at once.
    AtMs(i64),
}

/// NX, XX, GT, LT of EXPIRE; XX may stand beside GT or LT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExpireCondition {
    pub only_without: bool,
    pub only_with: bool,
    pub only_later: bool,
    pub only_earlier: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum KeyQuery<'a> {
    /// EXISTS: counts, repetitions too.
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
    /// RANDOMKEY; chance comes from above the machine.
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
    /// DUMP; which version of RDB is allowed comes from above the machine.
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
    /// Keys to look at: at least 1.
    pub count: u64,
    /// TYPE: `stream`, `string`, or anything (then nothing matches).
    pub of_type: Option<&'a [u8]>,
}
