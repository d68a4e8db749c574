//! Requests with an argument that is refused, but only after the key was looked at.

use crate::model::reply::ReplyError;

/// A request of which an argument is none, where Redis finds that out only after it has looked up the key: what is
/// wrong with the key is answered first. Changes nothing, whatever the command.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal<'a> {
    pub key: &'a [u8],
    pub look: Look<'a>,
    /// The answer if nothing is wrong with the key.
    pub error: ReplyError,
}

/// What the command looks for before it reads the argument. A key of another type is refused by all of them.
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
    /// INCRBYFLOAT: a string or nothing.
    Text,
    /// GETEX: a missing string is answered with nil.
    TextOrNil,
}
