//! Strings, as small coordination values: locks, counters, flags.

use crate::command::value::key::Deadline;
use crate::model::args::ArgList;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum StringWrite<'a> {
    /// SET, SETEX, PSETEX, GETSET
    Set(Set<'a>),
    /// SETNX: 1 or 0.
    SetIfAbsent {
        key: &'a [u8],
        value: &'a [u8],
    },
    /// GETDEL
    GetDelete {
        key: &'a [u8],
    },
    /// GETEX with an option; without one it is [`StringQuery::Get`].
    GetExpire {
        key: &'a [u8],
        expiry: Expiry,
    },
    /// MSET: alternating keys and values.
    SetMany {
        pairs: ArgList<'a>,
    },
    /// MSETNX
    SetManyIfAbsent {
        pairs: ArgList<'a>,
    },
    Append {
        key: &'a [u8],
        value: &'a [u8],
    },
    /// INCR, DECR, INCRBY, DECRBY
    Increment {
        key: &'a [u8],
        by: i64,
    },
    /// INCRBYFLOAT; the increment in the client's notation, known to be a finite number.
    IncrementFloat {
        key: &'a [u8],
        by: &'a [u8],
    },
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Set<'a> {
    pub key: &'a [u8],
    pub value: &'a [u8],
    pub condition: SetCondition,
    /// Replies with the previous value (GET, GETSET).
    pub get: bool,
    pub expiry: Expiry,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SetCondition {
    #[default]
    Always,
    /// NX
    IfAbsent,
    /// XX
    IfPresent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expiry {
    /// No deadline afterwards.
    #[default]
    None,
    /// KEEPTTL
    Keep,
    /// EX, PX, EXAT, PXAT. The parser refuses non-positive times.
    At(Deadline),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum StringQuery<'a> {
    Get { key: &'a [u8] },
    GetMany { keys: ArgList<'a> },
    Length { key: &'a [u8] },
}
