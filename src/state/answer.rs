//! The machine's answers: values, which `reply` turns into replies.

use crate::model::entries::EntryList;
use crate::model::entry_id::EntryId;
use crate::model::reply::ReplyError;
use crate::model::time::TimeMs;
use crate::state::query::Page;
use crate::state::stream::idempotency::IdempotencyLimits;
use bytes::Bytes;

/// The answer to an op or a query.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Done,
    Integer(i64),
    /// One for each id of the request.
    Integers(Vec<i64>),
    /// The value does not exist.
    Nil,
    /// Nothing to read, or no such list.
    NilArray,
    Bulk(Bytes),
    /// One for each key of the request.
    Bulks(Vec<Option<Bytes>>),
    /// TYPE.
    TypeName(&'static str),
    /// OBJECT ENCODING.
    Encoding(&'static str),
    Id(EntryId),
    Ids(Vec<EntryId>),
    Keys(Vec<Bytes>),
    Page(Page),
    Entries(Box<EntryList>),
    /// At least one stream.
    Streams(Vec<(Bytes, EntryList)>),
    AutoClaimed(Box<AutoClaimed>),
    /// `None`: nothing is pending.
    PendingSummary(Option<Box<PendingSummary>>),
    PendingRows(Vec<PendingRow>),
    StreamInfo(Box<StreamInfo>),
    Groups(Vec<GroupInfo>),
    Consumers(Vec<ConsumerInfo>),
    /// EXEC: one answer per command.
    Transaction(Vec<Answer>),
    /// EXEC: a watched key has changed.
    Aborted,
    Refused(ReplyError),
}

impl Answer {
    pub fn count(value: usize) -> Answer {
        Answer::Integer(value as i64)
    }

    pub fn refused(text: &'static str) -> Answer {
        Answer::Refused(ReplyError::new(text))
    }

    /// 1 or 0.
    pub fn flag(value: bool) -> Answer {
        Answer::Integer(i64::from(value))
    }
}

impl From<Result<Answer, ReplyError>> for Answer {
    fn from(result: Result<Answer, ReplyError>) -> Answer {
        result.unwrap_or_else(Answer::Refused)
    }
}

/// The claimed items: whole entries, or ids alone.
#[derive(Debug, Clone, PartialEq)]
pub enum Claimed {
    Entries(EntryList),
    Ids(Vec<EntryId>),
}

impl From<Claimed> for Answer {
    fn from(claimed: Claimed) -> Answer {
        match claimed {
            Claimed::Entries(list) => Answer::Entries(Box::new(list)),
            Claimed::Ids(ids) => Answer::Ids(ids),
        }
    }
}

/// XAUTOCLAIM.
#[derive(Debug, Clone, PartialEq)]
pub struct AutoClaimed {
    /// The next cursor; 0-0 at the end.
    pub cursor: EntryId,
    pub claimed: Claimed,
    /// Pending ids whose entries no longer exist.
    pub deleted: Vec<EntryId>,
}

/// XPENDING without a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingSummary {
    pub count: usize,
    pub first: EntryId,
    pub last: EntryId,
    /// Consumers with pending entries, and their numbers.
    pub consumers: Vec<(Bytes, usize)>,
}

/// XPENDING with a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingRow {
    pub id: EntryId,
    /// Empty for an unowned entry.
    pub owner: Bytes,
    pub idle_ms: i64,
    pub deliveries: u64,
}

/// XINFO STREAM.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamInfo {
    pub length: u64,
    pub nodes: usize,
    pub last_id: EntryId,
    pub max_deleted_id: EntryId,
    pub entries_added: u64,
    pub first_id: EntryId,
    pub limits: IdempotencyLimits,
    pub producers_tracked: usize,
    pub ids_tracked: usize,
    pub ids_added: u64,
    pub duplicates: u64,
    pub detail: StreamDetail,
}

#[derive(Debug, Clone, PartialEq)]
pub enum StreamDetail {
    /// The first and the last entry, in lists of one or none.
    Brief {
        groups: usize,
        first: EntryList,
        last: EntryList,
    },
    Full {
        entries: EntryList,
        groups: Vec<GroupDetail>,
    },
}

/// XINFO GROUPS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupInfo {
    pub name: Bytes,
    pub consumers: usize,
    pub pending: usize,
    pub last_id: EntryId,
    pub entries_read: Option<u64>,
    pub lag: Option<i64>,
}

/// XINFO CONSUMERS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerInfo {
    pub name: Bytes,
    pub pending: usize,
    pub idle_ms: u64,
    /// `None`: the consumer has never received an entry.
    pub inactive_ms: Option<u64>,
}

/// A group in XINFO STREAM FULL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDetail {
    pub name: Bytes,
    pub last_id: EntryId,
    pub entries_read: Option<u64>,
    pub lag: Option<i64>,
    pub pending_len: usize,
    pub nacked_len: usize,
    /// With the owner's name, which is empty for an unowned entry.
    pub pending: Vec<(Bytes, Delivered)>,
    pub consumers: Vec<ConsumerDetail>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerDetail {
    pub name: Bytes,
    pub seen_at: TimeMs,
    pub active_at: Option<TimeMs>,
    pub pending_len: usize,
    pub pending: Vec<Delivered>,
}

/// The last delivery of a pending entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    pub id: EntryId,
    pub at: TimeMs,
    pub deliveries: u64,
}
