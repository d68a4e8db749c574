//! Requests with an invalid argument that Redis refuses only after looking up the key.

use crate::model::reply::ReplyError;

/// A request with an invalid argument, where Redis reports a problem of the key first. It changes nothing,
/// whatever the command.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal<'a> {
    pub key: &'a [u8],
    pub look: Look<'a>,
    /// The answer if the key has no problem.
    pub error: ReplyError,
}

/// The lookup that precedes the argument. All of them refuse a key of another type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look<'a> {
    /// RESTORE: the name must be free.
    Vacant,
    /// XINFO: the stream must exist.
    Stream,
    /// XDEL: a missing stream is answered with 0.
    StreamOrZero,
    /// XACK: a missing stream or group is answered with 0.
    GroupOrZero { group: &'a [u8] },
    /// XCLAIM: the group must exist.
    Group { group: &'a [u8] },
    /// XGROUP CREATE: the stream must exist, unless it is to be made.
    ParentOfGroup { make_stream: bool },
    /// XGROUP SETID: both must exist.
    GroupOfStream { group: &'a [u8] },
    /// INCRBYFLOAT: the key must hold a string or nothing.
    Text,
    /// GETEX: a missing string is answered with nil.
    TextOrNil,
}
