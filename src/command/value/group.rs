//! Consumer groups: XREADGROUP, XACK, XACKDEL, XNACK, XCLAIM, XAUTOCLAIM, XGROUP, XPENDING.

use crate::command::value::stream::{ReadLimits, References};
use crate::model::entry_id::EntryId;

/// XREADGROUP.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupRead<'a> {
    pub group: &'a [u8],
    pub consumer: &'a [u8],
    pub limits: ReadLimits,
    /// CLAIM (Redis 8.4), for streams whose new entries are read: entries pending and idle for this many
    /// milliseconds precede the new ones.
    pub claim: Option<u64>,
    /// NOACK: new entries are not put into the pending entries list.
    pub no_ack: bool,
    pub streams: Vec<(&'a [u8], GroupReadFrom)>,
}

impl<'a> GroupRead<'a> {
    /// The same read without room for an entry: it shows its consumer and delivers nothing.
    pub fn without_entries(&self) -> GroupRead<'a> {
        GroupRead { limits: ReadLimits { count: Some(0), ..self.limits }, ..self.clone() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupReadFrom {
    /// `>`: entries that were delivered to no consumer of the group.
    New,
    /// The consumer's own pending entries above this id.
    History(EntryId),
    /// `$` and `+`, which XREADGROUP refuses after it has looked up the group (Redis `xreadCommand`). Holds
    /// the byte; 0 stands for an invalid id ([`crate::model::reply::ReplyError::INVALID_STREAM_ID`]).
    Refused(u8),
}

#[derive(Debug, Clone, PartialEq)]
pub enum GroupChange<'a> {
    /// XACK
    Acknowledge { key: &'a [u8], group: &'a [u8], ids: Vec<EntryId> },
    /// XACKDEL: acknowledges pending entries and deletes them as XDELEX does.
    AcknowledgeAndDelete { key: &'a [u8], group: &'a [u8], references: References, ids: Vec<EntryId> },
    /// XNACK
    NegativeAcknowledge {
        key: &'a [u8],
        group: &'a [u8],
        mode: NackMode,
        ids: Vec<EntryId>,
        /// RETRYCOUNT: sets the delivery count, whatever the mode.
        retry_count: Option<u64>,
        /// FORCE: entries that are not pending become pending.
        force: bool,
    },
    /// XGROUP CREATE
    Create { key: &'a [u8], group: &'a [u8], from: GroupStart, make_stream: bool, entries_read: Option<u64> },
    /// XGROUP SETID
    SetId { key: &'a [u8], group: &'a [u8], from: GroupStart, entries_read: Option<u64> },
    /// XGROUP DESTROY
    Destroy { key: &'a [u8], group: &'a [u8] },
    /// XGROUP CREATECONSUMER
    CreateConsumer { key: &'a [u8], group: &'a [u8], consumer: &'a [u8] },
    /// XGROUP DELCONSUMER
    DeleteConsumer { key: &'a [u8], group: &'a [u8], consumer: &'a [u8] },
}

/// The effect of XNACK on the delivery count (Redis 8.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NackMode {
    /// The delivery is not counted.
    Silent,
    /// The delivery is counted.
    Fail,
    /// The delivery should be the last: the count becomes the greatest number.
    Fatal,
}

/// The start of a group: entries above it are new to the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupStart {
    /// `$`: the stream's last id.
    Last,
    Id(EntryId),
}

/// XCLAIM.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim<'a> {
    pub key: &'a [u8],
    pub group: &'a [u8],
    pub consumer: &'a [u8],
    /// A negative argument is 0.
    pub min_idle_ms: u64,
    pub ids: Vec<EntryId>,
    pub delivered: DeliveredAt,
    /// RETRYCOUNT; `None`: incremented, unless JUSTID.
    pub retry_count: Option<u64>,
    pub force: bool,
    pub just_id: bool,
    pub last_id: Option<EntryId>,
}

/// The delivery time that a claim sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveredAt {
    Now,
    /// IDLE: this long ago (a negative value lies in the future, which counts as now).
    IdleMs(i64),
    /// TIME: at this moment (a future moment counts as now).
    TimeMs(i64),
}

/// XAUTOCLAIM.
#[derive(Debug, Clone, PartialEq)]
pub struct AutoClaim<'a> {
    pub key: &'a [u8],
    pub group: &'a [u8],
    pub consumer: &'a [u8],
    pub min_idle_ms: u64,
    /// The first pending id to examine (an exclusive start was moved by one).
    pub start: EntryId,
    /// Most entries to claim; ten times as many are examined.
    pub count: u64,
    pub just_id: bool,
}

/// XPENDING.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PendingQuery<'a> {
    pub key: &'a [u8],
    pub group: &'a [u8],
    /// `None`: the summary.
    pub range: Option<PendingRange<'a>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PendingRange<'a> {
    pub min_idle_ms: u64,
    /// Both ends inclusive.
    pub start: EntryId,
    pub end: EntryId,
    /// A negative argument is 0.
    pub count: u64,
    pub consumer: Option<&'a [u8]>,
}
