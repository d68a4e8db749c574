//! Replies, independent of the protocol version.

use crate::model::entries::EntryList;
use crate::model::entry_id::EntryId;
use bytes::Bytes;
use std::borrow::Cow;

/// A reply. RESP2 and RESP3 differ only in its encoding (`resp::writer`), except where a command says
/// otherwise.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// `+OK` and similar replies; also the lines of HELP.
    Status(Cow<'static, str>),
    Integer(i64),
    /// RESP2: a bulk string. The shortest digits that represent the number exactly.
    Double(f64),
    Bulk(Bytes),
    /// A bulk string known at compile time, such as a field name.
    Text(&'static str),
    /// An entry id, as a bulk string.
    Id(EntryId),
    /// `$-1`, in RESP3 `_`.
    Nil,
    /// `*-1`, in RESP3 `_`.
    NilArray,
    Array(Vec<Reply>),
    /// RESP2: a flat array of twice as many.
    Map(Vec<(Reply, Reply)>),
    /// RESP2: an array.
    Set(Vec<Reply>),
    /// Out of band; RESP2: an array.
    Push(Vec<Reply>),
    /// Text for people: RESP2 a bulk string, RESP3 `=…txt:`.
    Verbatim(String),
    /// `[id, [field, value …]]` for each.
    Entries(Box<EntryList>),
    /// The reply of XREAD and XREADGROUP. RESP2: array of `[key, entries]`; RESP3: map.
    Streams(Vec<(Bytes, EntryList)>),
    Error(ReplyError),
}

impl Reply {
    pub const OK: Reply = Reply::Status(Cow::Borrowed("OK"));
    pub const QUEUED: Reply = Reply::Status(Cow::Borrowed("QUEUED"));

    pub fn bulk(bytes: impl AsRef<[u8]>) -> Reply {
        Reply::Bulk(Bytes::copy_from_slice(bytes.as_ref()))
    }

    /// 1 or 0.
    pub fn flag(value: bool) -> Reply {
        Reply::Integer(i64::from(value))
    }

    pub fn count(value: usize) -> Reply {
        Reply::Integer(value as i64)
    }

    pub fn error(text: &'static str) -> Reply {
        Reply::Error(ReplyError::new(text))
    }
}

impl From<ReplyError> for Reply {
    fn from(error: ReplyError) -> Reply {
        Reply::Error(error)
    }
}

impl<E: Into<Reply>> From<Result<Reply, E>> for Reply {
    fn from(result: Result<Reply, E>) -> Reply {
        result.unwrap_or_else(Into::into)
    }
}

/// A refusal, in Redis's words: the code (`ERR`, `WRONGTYPE` …), a space, the text. Bytes, because some texts
/// repeat client input; the writer replaces line breaks with spaces (docs/reliability.md P14).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyError(Cow<'static, [u8]>);

impl ReplyError {
    pub const SYNTAX: ReplyError = ReplyError::new("ERR syntax error");
    pub const NOT_AN_INTEGER: ReplyError = ReplyError::new("ERR value is not an integer or out of range");
    pub const NOT_A_FLOAT: ReplyError = ReplyError::new("ERR value is not a valid float");
    pub const WRONG_TYPE: ReplyError =
        ReplyError::new("WRONGTYPE Operation against a key holding the wrong kind of value");
    pub const NO_SUCH_KEY: ReplyError = ReplyError::new("ERR no such key");
    pub const DATABASE_OUT_OF_RANGE: ReplyError = ReplyError::new("ERR DB index is out of range");
    pub const INVALID_STREAM_ID: ReplyError =
        ReplyError::new("ERR Invalid stream ID specified as stream command argument");
    pub const CROSS_SLOT: ReplyError =
        ReplyError::new("CROSSSLOT Keys in request don't hash to the same slot");

    pub const fn new(text: &'static str) -> ReplyError {
        ReplyError(Cow::Borrowed(text.as_bytes()))
    }

    pub fn owned(text: impl Into<Vec<u8>>) -> ReplyError {
        ReplyError(Cow::Owned(text.into()))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The first word, as INFO errorstats counts it.
    pub fn code(&self) -> &[u8] {
        self.0.split(|&b| b == b' ').next().unwrap_or_default()
    }

    /// `ERR wrong number of arguments for 'name' command`; `name` as `container|sub` for subcommands.
    pub fn wrong_arity(name: &str) -> ReplyError {
        ReplyError::owned(format!("ERR wrong number of arguments for '{name}' command"))
    }
}
