//! Streams: XADD, XTRIM, XDEL, XDELEX, XSETID and the queries on them.

use crate::model::args::ArgList;
use crate::model::entries::EntryList;
use crate::model::entry_id::EntryId;
use crate::model::reply_size::SizeRule;
use bytes::Bytes;

/// XADD.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Add<'a> {
    pub key: &'a [u8],
    /// Without NOMKSTREAM a missing stream is made.
    pub make_stream: bool,
    pub id: NewId,
    pub trim: Option<Trim>,
    pub idempotency: Option<Idempotency<'a>>,
    /// Alternating fields and values: an even number, at least two.
    pub fields: ArgList<'a>,
}

/// The id argument of XADD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewId {
    /// `*`
    Auto,
    /// `ms-*`
    AutoSequence {
        ms: u64,
    },
    Explicit(EntryId),
}

/// XADD … IDMP, IDMPAUTO (Redis 8.6). Producer and id are not empty; the entry's id is [`NewId::Auto`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idempotency<'a> {
    /// IDMP
    Given { producer: &'a [u8], id: &'a [u8] },
    /// IDMPAUTO: the id is the digest of fields and values ([`crate::base::digest`]), big-endian. Computed
    /// when the request is read, so that the log contains it.
    OfContent { producer: &'a [u8], id: [u8; 16] },
}

impl Idempotency<'_> {
    pub fn producer(&self) -> &[u8] {
        match self {
            Idempotency::Given { producer, .. } | Idempotency::OfContent { producer, .. } => producer,
        }
    }

    pub fn id(&self) -> &[u8] {
        match self {
            Idempotency::Given { id, .. } => id,
            Idempotency::OfContent { id, .. } => id,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trim {
    pub until: TrimUntil,
    pub exactness: Exactness,
    pub references: References,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrimUntil {
    /// At most this many entries remain.
    MaxLength(u64),
    /// No entry below this id remains.
    MinId(EntryId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exactness {
    /// `=`, or no operator.
    Exact,
    /// `~`: whole nodes only, at most `limit` entries (0: no limit; absent: 100 × the node size).
    WholeNodes { limit: Option<u64> },
}

/// The effect of a deletion on pending entries that reference the entry (Redis 8.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum References {
    /// KEEPREF: they stay, without content.
    #[default]
    Keep,
    /// DELREF: they are deleted too.
    Delete,
    /// ACKED: a referenced entry stays.
    OnlyUnreferenced,
}

#[derive(Debug, Clone, PartialEq)]
pub enum StreamWrite<'a> {
    /// XTRIM
    Trim { key: &'a [u8], trim: Trim },
    /// XDEL
    Delete { key: &'a [u8], ids: Vec<EntryId> },
    /// XDELEX
    DeleteEach { key: &'a [u8], references: References, ids: Vec<EntryId> },
    /// XSETID
    SetId { key: &'a [u8], last_id: EntryId, counters: Option<SetIdCounters> },
    /// XCFGSET: at least one limit of idempotency, within its bounds (see [`crate::model::limits`]).
    Configure { key: &'a [u8], duration_s: Option<u32>, ids: Option<u32> },
    /// XIDMPRECORD: records a producer's id for an existing entry.
    RecordId { key: &'a [u8], producer: &'a [u8], id: &'a [u8], entry: EntryId },
}

/// ENTRIESADDED and MAXDELETEDID of XSETID. An absent option leaves its value unchanged; so does MAXDELETEDID
/// `0-0` (Redis `xsetidCommand`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetIdCounters {
    pub entries_added: Option<u64>,
    pub max_deleted_id: EntryId,
}

#[derive(Debug, Clone, PartialEq)]
pub enum StreamQuery<'a> {
    /// XLEN
    Length { key: &'a [u8] },
    /// XRANGE, XREVRANGE
    Range(Range<'a>),
    /// XREAD
    Read(Read<'a>),
    /// XINFO STREAM; `full` holds COUNT (0: all).
    Info { key: &'a [u8], full: Option<u64> },
    /// XINFO GROUPS
    Groups { key: &'a [u8] },
    /// XINFO CONSUMERS
    Consumers { key: &'a [u8], group: &'a [u8] },
}

/// Both ends inclusive: the parser moved exclusive ones by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range<'a> {
    pub key: &'a [u8],
    pub start: EntryId,
    pub end: EntryId,
    /// `None` without COUNT. COUNT ≤ 0 is 0 here; the reply is a null array if the stream exists.
    pub count: Option<u64>,
    /// XREVRANGE: from `end` down to `start`.
    pub reverse: bool,
}

/// XREAD.
#[derive(Debug, Clone, PartialEq)]
pub struct Read<'a> {
    /// Whether keys of other types are skipped instead of refused, as after a blocked read.
    pub skips_others: bool,
    pub limits: ReadLimits,
    pub streams: Vec<(&'a [u8], ReadFrom)>,
}

/// The limits of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadLimits {
    /// Entries per stream; `None`: all (COUNT absent or ≤ 0). No client's read has 0, see
    /// [`GroupRead::without_entries`](crate::command::value::group::GroupRead::without_entries).
    pub count: Option<u64>,
    /// MAXCOUNT (Redis 8.10): entries of all streams together; at least 1.
    pub max_count: Option<u64>,
    /// MAXSIZE (Redis 8.10)
    pub max_size: Option<MaxSize>,
}

/// No further entry starts once the reply has this many bytes; the first entry is always included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxSize {
    pub bytes: u64,
    /// The rule that counts bytes. It depends on the client's protocol, which the parser does not know; the
    /// server fills it in.
    pub rule: SizeRule,
}

impl ReadLimits {
    /// Whether the entries of one stream reduce the limit of the others.
    pub fn span_streams(&self) -> bool {
        self.max_count.is_some() || self.max_size.is_some()
    }

    /// The limits that remain after these entries; `None`: nothing remains.
    pub fn after(&self, found: &[(Bytes, EntryList)]) -> Option<ReadLimits> {
        let entries: u64 = found.iter().map(|(_, list)| list.len() as u64).sum();
        let max_count = self.max_count.map(|max| max.saturating_sub(entries));
        let max_size = self.max_size.map(|max| {
            let bytes = found.iter().map(|(key, list)| max.rule.stream_bytes(key.len(), list) as u64);
            MaxSize { bytes: max.bytes.saturating_sub(bytes.sum()), ..max }
        });
        let is_spent = max_count == Some(0) || max_size.is_some_and(|max| max.bytes == 0);
        (entries == 0 || !is_spent).then_some(ReadLimits { count: self.count, max_count, max_size })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom {
    /// Entries above this id.
    After(EntryId),
    /// `$`: above the last id at the time of the call.
    New,
    /// `+`: the last entry.
    Last,
    /// `>`, and (as 0) an invalid id: refused after the key's type was checked.
    Refused(u8),
}
