//! XADD, XTRIM, XDEL, XDELEX, XSETID, XCFGSET, XIDMPRECORD, XLEN, XRANGE, XREVRANGE, XREAD.

use crate::base::digest;
use crate::command::parse::cursor::{Cursor, at, is, list};
use crate::command::parse::number::{
    at_least_zero, counted, entry_id, entry_ids, integer, interval_end, interval_start, positive, read_count,
    timeout_ms,
};
use crate::command::value::refusal::{Look, Refusal};
use crate::command::value::stream::{
    Add, Exactness, Idempotency, MaxSize, NewId, Range, Read, ReadFrom, ReadLimits, References,
    SetIdCounters, StreamQuery, StreamWrite, Trim, TrimUntil,
};
use crate::command::value::{Command, Data, Query, Write};
use crate::model::args::Args;
use crate::model::entry_id::{EntryId, parse_u64};
use crate::model::limits::{IDEMPOTENCY_DURATION_S_MAX, IDEMPOTENCY_IDS_MAX};
use crate::model::reply::ReplyError;
use crate::model::reply_size::SizeRule;

const MAXLEN_NEGATIVE: ReplyError = ReplyError::new("ERR The MAXLEN argument must be >= 0.");
const LIMIT_NEGATIVE: ReplyError = ReplyError::new("ERR The LIMIT argument must be >= 0.");
const TWO_STRATEGIES: ReplyError =
    ReplyError::new("ERR syntax error, MAXLEN and MINID options at the same time are not compatible");
const LIMIT_WITHOUT_STRATEGY: ReplyError =
    ReplyError::new("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy");
const LIMIT_WITHOUT_TILDE: ReplyError =
    ReplyError::new("ERR syntax error, LIMIT cannot be used without the special ~ option");
const NO_STRATEGY: ReplyError =
    ReplyError::new("ERR syntax error, XTRIM must be called with a trimming strategy");
const ID_ZERO: ReplyError = ReplyError::new("ERR The ID specified in XADD must be greater than 0-0");
const IDEMPOTENCY_TWICE: ReplyError = ReplyError::new("ERR IDMP/IDMPAUTO specified multiple times");
const IDEMPOTENCY_NEEDS_AUTO: ReplyError =
    ReplyError::new("ERR IDMP/IDMPAUTO can be used only with auto-generated IDs");
const PRODUCER_EMPTY: ReplyError = ReplyError::new("ERR IDMP requires a non-empty producer ID");
const PRODUCER_EMPTY_AUTO: ReplyError = ReplyError::new("ERR IDMPAUTO requires a non-empty producer ID");
const IDEMPOTENT_ID_EMPTY: ReplyError = ReplyError::new("ERR IDMP requires a non-empty idempotent ID");
const NOTHING_TO_SET: ReplyError = ReplyError::new("ERR At least one parameter must be specified");
const GROUP_IN_XREAD: ReplyError =
    ReplyError::new("ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.");
const NOACK_IN_XREAD: ReplyError =
    ReplyError::new("ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.");
const CLAIM_IN_XREAD: ReplyError =
    ReplyError::new("ERR The CLAIM option is only supported by XREADGROUP. You called XREAD instead.");
const MAXCOUNT_NOT_POSITIVE: ReplyError = ReplyError::new("ERR MAXCOUNT must be a positive integer");
const MAXSIZE_NOT_POSITIVE: ReplyError = ReplyError::new("ERR MAXSIZE must be a positive integer");
const MAXCOUNT_BELOW_COUNT: ReplyError =
    ReplyError::new("ERR MAXCOUNT must be greater than or equal to COUNT");
const IDS_NOT_POSITIVE: ReplyError = ReplyError::new("ERR Number of IDs must be a positive integer");
const IDS_MISCOUNTED: ReplyError =
    ReplyError::new("ERR The `numids` parameter must match the number of arguments");
const UNBALANCED: ReplyError = ReplyError::new(
    "ERR Unbalanced 'xread' list of streams: for each stream key an ID, '+', or '$' must be specified.",
);

fn write(write: StreamWrite<'_>) -> Result<Command<'_>, ReplyError> {
    Ok(Command::Data(Data::Write(Write::Stream(write))))
}

fn query(query: StreamQuery<'_>) -> Result<Command<'_>, ReplyError> {
    Ok(Command::Data(Data::Query(Query::Stream(query))))
}

/// An argument that is refused after a look at the key.
pub fn refused<'a>(key: &'a [u8], look: Look<'a>, error: ReplyError) -> Result<Command<'a>, ReplyError> {
    Ok(Command::Data(Data::Query(Query::Refused(Refusal { key, look, error }))))
}

/// The options shared by XADD and XTRIM while they are parsed (Redis `streamParseAddOrTrimArgsOrReply`).
#[derive(Default)]
struct TrimOptions {
    until: Option<TrimUntil>,
    whole_nodes: bool,
    limit: Option<u64>,
    references: Option<References>,
}

impl TrimOptions {
    /// Takes one option if the cursor is before one.
    fn take(&mut self, cursor: &mut Cursor<'_>) -> Result<bool, ReplyError> {
        let by_length = cursor.peek().is_some_and(|arg| is(arg, "MAXLEN"));
        if (by_length || cursor.peek().is_some_and(|arg| is(arg, "MINID"))) && cursor.left() >= 2 {
            self.take_strategy(cursor, by_length)?;
        } else if let Some(limit) = cursor.take_option("LIMIT") {
            self.limit = Some(u64::try_from(integer(limit)?).map_err(|_| LIMIT_NEGATIVE)?);
        } else if let Some(references) = take_references(cursor) {
            if self.references.replace(references).is_some() {
                return Err(ReplyError::SYNTAX);
            }
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn take_strategy(&mut self, cursor: &mut Cursor<'_>, by_length: bool) -> Result<(), ReplyError> {
        if self.until.is_some() {
            return Err(TWO_STRATEGIES);
        }
        cursor.take();
        self.whole_nodes = cursor.left() >= 2 && cursor.take_word("~");
        if !self.whole_nodes && cursor.left() >= 2 {
            cursor.take_word("=");
        }
        let threshold = cursor.take().ok_or(ReplyError::SYNTAX)?;
        self.until = Some(if by_length {
            TrimUntil::MaxLength(u64::try_from(integer(threshold)?).map_err(|_| MAXLEN_NEGATIVE)?)
        } else {
            TrimUntil::MinId(entry_id(threshold)?)
        });
        Ok(())
    }

    fn finish(self, strategy_needed: bool) -> Result<Option<Trim>, ReplyError> {
        // Redis treats a limit of 0 as absent in this check, but not in the one below.
        if self.until.is_none() && self.limit.is_some_and(|limit| limit > 0) {
            return Err(LIMIT_WITHOUT_STRATEGY);
        }
        if self.until.is_none() && strategy_needed {
            return Err(NO_STRATEGY);
        }
        if self.limit.is_some() && !self.whole_nodes {
            return Err(LIMIT_WITHOUT_TILDE);
        }
        let exactness =
            if self.whole_nodes { Exactness::WholeNodes { limit: self.limit } } else { Exactness::Exact };
        let references = self.references.unwrap_or_default();
        Ok(self.until.map(|until| Trim { until, exactness, references }))
    }
}

fn take_references(cursor: &mut Cursor<'_>) -> Option<References> {
    if cursor.take_word("KEEPREF") {
        Some(References::Keep)
    } else if cursor.take_word("DELREF") {
        Some(References::Delete)
    } else if cursor.take_word("ACKED") {
        Some(References::OnlyUnreferenced)
    } else {
        None
    }
}

/// The id argument of XADD: `*`, `ms-*`, or an id.
fn new_id(text: &[u8]) -> Result<NewId, ReplyError> {
    match text {
        b"*" => Ok(NewId::Auto),
        [ms @ .., b'-', b'*'] => {
            parse_u64(ms).map(|ms| NewId::AutoSequence { ms }).ok_or(ReplyError::INVALID_STREAM_ID)
        }
        id => Ok(NewId::Explicit(entry_id(id)?)),
    }
}

/// IDMP or IDMPAUTO before the entry is known.
enum IdempotencyOption<'a> {
    Given(Idempotency<'a>),
    OfContent { producer: &'a [u8] },
}

/// Takes IDMP or IDMPAUTO with its arguments if the cursor is before one; otherwise the argument is parsed as
/// the id, and fails.
fn take_idempotency<'a>(cursor: &mut Cursor<'a>) -> Result<Option<IdempotencyOption<'a>>, ReplyError> {
    if cursor.left() >= 3 && cursor.take_word("IDMP") {
        let (Some(producer), Some(id)) = (cursor.take(), cursor.take()) else {
            return Err(ReplyError::SYNTAX);
        };
        return match (producer, id) {
            (b"", _) => Err(PRODUCER_EMPTY),
            (_, b"") => Err(IDEMPOTENT_ID_EMPTY),
            _ => Ok(Some(IdempotencyOption::Given(Idempotency::Given { producer, id }))),
        };
    }
    match cursor.take_option("IDMPAUTO") {
        None => Ok(None),
        Some(b"") => Err(PRODUCER_EMPTY_AUTO),
        Some(producer) => Ok(Some(IdempotencyOption::OfContent { producer })),
    }
}

/// XADD (Redis `xaddCommand`): options in any order, then the id, then fields and values.
pub fn add(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let mut cursor = Cursor::new(args, 2);
    let mut options = TrimOptions::default();
    let mut make_stream = true;
    let mut idempotency = None;
    let mut id = None;
    while let Some(arg) = cursor.peek() {
        // Fast path: `XADD key * …` has no options.
        if arg == b"*" {
            cursor.take();
            id = Some(NewId::Auto);
            break;
        }
        // An id begins with a digit, an option does not.
        if !arg.first().is_some_and(u8::is_ascii_digit) {
            if options.take(&mut cursor)? {
                continue;
            }
            if cursor.take_word("NOMKSTREAM") {
                make_stream = false;
                continue;
            }
            if let Some(option) = take_idempotency(&mut cursor)? {
                if idempotency.replace(option).is_some() {
                    return Err(IDEMPOTENCY_TWICE);
                }
                continue;
            }
        }
        cursor.take();
        id = Some(new_id(arg)?);
        break;
    }
    let trim = options.finish(false)?;
    let fields = cursor.rest();
    let (Some(id), 2.., true) = (id, fields.len(), fields.len().is_multiple_of(2)) else {
        return Err(ReplyError::wrong_arity("xadd"));
    };
    if id == NewId::Explicit(EntryId::MIN) {
        return Err(ID_ZERO);
    }
    if idempotency.is_some() && id != NewId::Auto {
        return Err(IDEMPOTENCY_NEEDS_AUTO);
    }
    let fields = list(fields, 0);
    let idempotency = idempotency.map(|option| match option {
        IdempotencyOption::Given(given) => given,
        IdempotencyOption::OfContent { producer } => {
            Idempotency::OfContent { producer, id: digest::of_pairs(fields.iter()).to_be_bytes() }
        }
    });
    let add = Add { key: at(args, 1), make_stream, id, trim, idempotency, fields };
    Ok(Command::Data(Data::Write(Write::Add(add))))
}

/// XTRIM (Redis `xtrimCommand`).
pub fn trim(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let mut cursor = Cursor::new(args, 2);
    let mut options = TrimOptions::default();
    while cursor.left() > 0 {
        if !options.take(&mut cursor)? {
            return Err(ReplyError::SYNTAX);
        }
    }
    let trim = options.finish(true)?.ok_or(NO_STRATEGY)?;
    write(StreamWrite::Trim { key: at(args, 1), trim })
}

/// XDEL
pub fn delete(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let key = at(args, 1);
    match entry_ids(args.from(2).iter()) {
        Ok(ids) => write(StreamWrite::Delete { key, ids }),
        Err(error) => refused(key, Look::StreamOrZero, error),
    }
}

/// XDELEX (Redis 8.2).
pub fn delete_each(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let (references, ids) = references_and_ids(args, 2)?;
    write(StreamWrite::DeleteEach { key: at(args, 1), references, ids })
}

/// The arguments after the key of XDELEX or the group of XACKDEL: an optional policy and `IDS numids id …`,
/// in any order.
pub fn references_and_ids(args: Args<'_>, first: usize) -> Result<(References, Vec<EntryId>), ReplyError> {
    let mut cursor = Cursor::new(args, first);
    let mut references = None;
    let mut ids = None;
    while cursor.left() > 0 {
        if let Some(policy) = take_references(&mut cursor) {
            if references.replace(policy).is_some() {
                return Err(ReplyError::SYNTAX);
            }
        } else if let Some(count) = cursor.take_option("IDS")
            && ids.is_none()
        {
            let count = counted(count).ok_or(IDS_NOT_POSITIVE)?;
            ids = Some(cursor.take_many(count).ok_or(IDS_MISCOUNTED)?);
        } else {
            return Err(ReplyError::SYNTAX);
        }
    }
    let ids = ids.ok_or(ReplyError::SYNTAX)?;
    Ok((references.unwrap_or_default(), entry_ids(ids.iter())?))
}

/// XSETID (Redis `xsetidCommand`). Each of the two options may stand alone; without MAXDELETEDID, `0-0`
/// stands for "unchanged".
pub fn set_id(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let last_id = entry_id(at(args, 2))?;
    let mut cursor = Cursor::new(args, 3);
    let mut entries_added = None;
    let mut max_deleted_id = None;
    while cursor.left() > 0 {
        if let Some(added) = cursor.take_option("ENTRIESADDED") {
            let added = u64::try_from(integer(added)?)
                .map_err(|_| ReplyError::new("ERR entries_added must be positive"))?;
            entries_added = Some(added);
        } else if let Some(deleted) = cursor.take_option("MAXDELETEDID") {
            let deleted = entry_id(deleted)?;
            if last_id < deleted {
                return Err(ReplyError::new(
                    "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
                ));
            }
            max_deleted_id = Some(deleted);
        } else {
            return Err(ReplyError::SYNTAX);
        }
    }
    let counters = match (entries_added, max_deleted_id) {
        (None, None) => None,
        (entries_added, deleted) => {
            Some(SetIdCounters { entries_added, max_deleted_id: deleted.unwrap_or(EntryId::MIN) })
        }
    };
    write(StreamWrite::SetId { key: at(args, 1), last_id, counters })
}

/// XCFGSET
pub fn configure(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let mut cursor = Cursor::new(args, 2);
    let (mut duration_s, mut ids) = (None, None);
    while cursor.left() > 0 {
        if let Some(text) = cursor.take_option("IDMP-DURATION") {
            let range = ("ERR IDMP-DURATION must be between 1 and 86400 seconds", IDEMPOTENCY_DURATION_S_MAX);
            duration_s = Some(limit(text, range)?);
        } else if let Some(text) = cursor.take_option("IDMP-MAXSIZE") {
            ids = Some(limit(
                text,
                ("ERR IDMP-MAXSIZE must be between 1 and 10000 entries", IDEMPOTENCY_IDS_MAX),
            )?);
        } else {
            return Err(ReplyError::SYNTAX);
        }
    }
    if duration_s.is_none() && ids.is_none() {
        return Err(NOTHING_TO_SET);
    }
    write(StreamWrite::Configure { key: at(args, 1), duration_s, ids })
}

/// A number from 1 to `max`, or the error text.
fn limit(text: &[u8], (refusal, max): (&'static str, u32)) -> Result<u32, ReplyError> {
    let value = u32::try_from(integer(text)?).ok().filter(|value| (1..=max).contains(value));
    value.ok_or(ReplyError::new(refusal))
}

/// XIDMPRECORD
pub fn record_id(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let (producer, id) = (at(args, 2), at(args, 3));
    if producer.is_empty() {
        return Err(PRODUCER_EMPTY);
    }
    if id.is_empty() {
        return Err(IDEMPOTENT_ID_EMPTY);
    }
    write(StreamWrite::RecordId { key: at(args, 1), producer, id, entry: entry_id(at(args, 4))? })
}

/// XLEN
pub fn length(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    query(StreamQuery::Length { key: at(args, 1) })
}

/// XRANGE
pub fn range(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    range_of(args, at(args, 2), at(args, 3), false)
}

/// XREVRANGE
pub fn reverse_range(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    range_of(args, at(args, 3), at(args, 2), true)
}

/// Redis `xrangeGenericCommand`.
fn range_of<'a>(
    args: Args<'a>,
    start: &'a [u8],
    end: &'a [u8],
    reverse: bool,
) -> Result<Command<'a>, ReplyError> {
    let start = interval_start(start)?;
    let end = interval_end(end)?;
    let mut cursor = Cursor::new(args, 4);
    let mut count = None;
    while cursor.left() > 0 {
        let Some(text) = cursor.take_option("COUNT") else { return Err(ReplyError::SYNTAX) };
        count = Some(at_least_zero(integer(text)?));
    }
    query(StreamQuery::Range(Range { key: at(args, 1), start, end, count, reverse }))
}

/// XREAD (Redis `xreadCommand`).
pub fn read(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let mut cursor = Cursor::new(args, 1);
    let mut block = None;
    let mut limits = ReadLimits::default();
    loop {
        if let Some(text) = cursor.take_option("BLOCK") {
            block = Some(timeout_ms(text)?);
        } else if take_limit(&mut cursor, &mut limits)? {
        } else if cursor.left() >= 2 && cursor.take_word("STREAMS") {
            break;
        } else if cursor.left() >= 3 && cursor.take_word("GROUP") {
            return Err(GROUP_IN_XREAD);
        } else if cursor.take_word("NOACK") {
            return Err(NOACK_IN_XREAD);
        } else if cursor.take_option("CLAIM").is_some() {
            return Err(CLAIM_IN_XREAD);
        } else {
            return Err(ReplyError::SYNTAX);
        }
    }
    check_limits(&limits)?;
    let (keys, ids) = halves(cursor.rest()).ok_or(UNBALANCED)?;
    let mut streams = Vec::with_capacity(keys.len());
    for (key, id) in keys.iter().zip(ids.iter()) {
        let from = match id {
            b"$" => ReadFrom::New,
            b"+" => ReadFrom::Last,
            b">" => ReadFrom::Refused(b'>'),
            id => EntryId::parse(id, 0).map_or(ReadFrom::Refused(0), ReadFrom::After),
        };
        streams.push((key, from));
    }
    let read = Data::Query(Query::Stream(StreamQuery::Read(Read { skips_others: false, limits, streams })));
    Ok(match block {
        None => Command::Data(read),
        Some(timeout_ms) => Command::Blocking { read, timeout_ms },
    })
}

/// Takes COUNT, MAXCOUNT or MAXSIZE of XREAD and XREADGROUP if the cursor is before one.
pub fn take_limit(cursor: &mut Cursor<'_>, limits: &mut ReadLimits) -> Result<bool, ReplyError> {
    if let Some(text) = cursor.take_option("COUNT") {
        limits.count = read_count(text)?;
    } else if let Some(text) = cursor.take_option("MAXCOUNT") {
        limits.max_count = Some(positive(text).ok_or(MAXCOUNT_NOT_POSITIVE)?);
    } else if let Some(text) = cursor.take_option("MAXSIZE") {
        let bytes = positive(text).ok_or(MAXSIZE_NOT_POSITIVE)?;
        limits.max_size = Some(MaxSize { bytes, rule: SizeRule::default() });
    } else {
        return Ok(false);
    }
    Ok(true)
}

/// Checks the limits once all are parsed.
pub fn check_limits(limits: &ReadLimits) -> Result<(), ReplyError> {
    match (limits.count, limits.max_count) {
        (Some(count), Some(max)) if max < count => Err(MAXCOUNT_BELOW_COUNT),
        _ => Ok(()),
    }
}

/// Keys and ids after STREAMS; `None` if their numbers differ.
pub fn halves(args: Args<'_>) -> Option<(Args<'_>, Args<'_>)> {
    let half = args.len() / 2;
    args.len().is_multiple_of(2).then(|| (args.first(half), args.from(half)))
}
