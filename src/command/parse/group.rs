//! XREADGROUP, XACK, XACKDEL, XNACK, XCLAIM, XAUTOCLAIM, XPENDING, XGROUP, XINFO.

use crate::command::parse::cursor::{Cursor, at, is, quoting, subcommand_syntax};
use crate::command::parse::help;
use crate::command::parse::number::{
    at_least_zero, counted, entry_id, entry_ids, integer, interval_end, interval_start, parse_i64, timeout_ms,
};
use crate::command::parse::stream::{check_limits, halves, references_and_ids, refused, take_limit};
use crate::command::value::group::{
    AutoClaim, Claim, DeliveredAt, GroupChange, GroupRead, GroupReadFrom, GroupStart, NackMode, PendingQuery,
    PendingRange,
};
use crate::command::value::refusal::Look;
use crate::command::value::server::ServerCommand;
use crate::command::value::stream::{ReadLimits, StreamQuery};
use crate::command::value::{Command, Data, Query, Write};
use crate::model::args::Args;
use crate::model::entry_id::EntryId;
use crate::model::reply::ReplyError;

const NO_GROUP_OPTION: ReplyError = ReplyError::new("ERR Missing GROUP option for XREADGROUP");
const UNBALANCED: ReplyError = ReplyError::new(
    "ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be specified.",
);
const CLAIM_NOT_AN_INTEGER: ReplyError = ReplyError::new("ERR min-idle-time is not an integer");
const CLAIM_NEGATIVE: ReplyError = ReplyError::new("ERR min-idle-time must be a positive integer");
const ENTRIESREAD_NEGATIVE: ReplyError = ReplyError::new("ERR value for ENTRIESREAD must be positive or -1");

/// Most XAUTOCLAIM COUNT (Redis: `LONG_MAX / max(sizeof(streamID), 10)`).
const AUTO_CLAIM_COUNT_MAX: i64 = i64::MAX / 16;

/// Default COUNT of XAUTOCLAIM.
const AUTO_CLAIM_COUNT_DEFAULT: u64 = 100;

/// Default COUNT of XINFO STREAM FULL, also for a negative one.
const INFO_FULL_COUNT_DEFAULT: u64 = 10;

fn change(change: GroupChange<'_>) -> Result<Command<'_>, ReplyError> {
    Ok(Command::Data(Data::Write(Write::GroupChange(change))))
}

/// XREADGROUP (Redis `xreadCommand`). Invalid ids stay in the value, because Redis looks up the group before
/// it parses the ids.
pub fn read(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let mut cursor = Cursor::new(args, 1);
    let mut block = None;
    let mut limits = ReadLimits::default();
    let mut claim = None;
    let mut no_ack = false;
    let mut names = None;
    loop {
        if let Some(text) = cursor.take_option("BLOCK") {
            block = Some(timeout_ms(text)?);
        } else if take_limit(&mut cursor, &mut limits)? {
        } else if let Some(text) = cursor.take_option("CLAIM") {
            let min_idle_ms = parse_i64(text).ok_or(CLAIM_NOT_AN_INTEGER)?;
            claim = Some(u64::try_from(min_idle_ms).map_err(|_| CLAIM_NEGATIVE)?);
        } else if cursor.left() >= 2 && cursor.take_word("STREAMS") {
            break;
        } else if cursor.left() >= 3 && cursor.take_word("GROUP") {
            names = cursor.take().zip(cursor.take());
        } else if cursor.take_word("NOACK") {
            no_ack = true;
        } else {
            return Err(ReplyError::SYNTAX);
        }
    }
    check_limits(&limits)?;
    let (keys, ids) = halves(cursor.rest()).ok_or(UNBALANCED)?;
    let (group, consumer) = names.ok_or(NO_GROUP_OPTION)?;
    let mut streams = Vec::with_capacity(keys.len());
    for (key, id) in keys.iter().zip(ids.iter()) {
        let from = match id {
            b">" => GroupReadFrom::New,
            b"$" => GroupReadFrom::Refused(b'$'),
            b"+" => GroupReadFrom::Refused(b'+'),
            id => match EntryId::parse(id, 0) {
                // The id that Redis stores for `>`.
                Some(EntryId::MAX) => GroupReadFrom::New,
                Some(id) => GroupReadFrom::History(id),
                None => GroupReadFrom::Refused(0),
            },
        };
        streams.push((key, from));
    }
    let read = Data::Write(Write::GroupRead(GroupRead { group, consumer, limits, claim, no_ack, streams }));
    Ok(match block {
        None => Command::Data(read),
        Some(timeout_ms) => Command::Blocking { read, timeout_ms },
    })
}

/// XACK
pub fn acknowledge(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let (key, group) = (at(args, 1), at(args, 2));
    match entry_ids(args.from(3).iter()) {
        Ok(ids) => change(GroupChange::Acknowledge { key, group, ids }),
        Err(error) => refused(key, Look::GroupOrZero { group }, error),
    }
}

/// XACKDEL (Redis 8.2).
pub fn acknowledge_and_delete(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let (references, ids) = references_and_ids(args, 3)?;
    change(GroupChange::AcknowledgeAndDelete { key: at(args, 1), group: at(args, 2), references, ids })
}

/// XNACK (Redis 8.8). Redis looks up the group first.
pub fn negative_acknowledge(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    match nack_arguments(args) {
        Ok(nack) => change(nack),
        Err(error) => refused(at(args, 1), Look::Group { group: at(args, 2) }, error),
    }
}

fn nack_arguments(args: Args<'_>) -> Result<GroupChange<'_>, ReplyError> {
    let mode = match at(args, 3) {
        word if is(word, "SILENT") => NackMode::Silent,
        word if is(word, "FAIL") => NackMode::Fail,
        word if is(word, "FATAL") => NackMode::Fatal,
        _ => return Err(ReplyError::new("ERR mode must be SILENT, FAIL, or FATAL")),
    };
    let mut cursor = Cursor::new(args, 4);
    let (mut ids, mut retry_count, mut force) = (None, None, false);
    while let Some(arg) = cursor.peek() {
        if let Some(count) = cursor.take_option("IDS") {
            let count = counted(count).ok_or(ReplyError::new("ERR numids must be a positive integer"))?;
            let miscounted = ReplyError::new("ERR number of IDs doesn't match numids");
            ids = Some(cursor.take_many(count).ok_or(miscounted)?);
        } else if let Some(count) = cursor.take_option("RETRYCOUNT") {
            let negative = ReplyError::new("ERR Invalid RETRYCOUNT value, must be >= 0");
            retry_count = Some(u64::try_from(integer(count)?).map_err(|_| negative)?);
        } else if cursor.take_word("FORCE") {
            force = true;
        } else {
            return Err(quoting("ERR Unrecognized XNACK option '", arg, "'"));
        }
    }
    let ids = ids.ok_or(ReplyError::new("ERR syntax error, expected IDS keyword"))?;
    let ids = entry_ids(ids.iter())?;
    let (key, group) = (at(args, 1), at(args, 2));
    Ok(GroupChange::NegativeAcknowledge { key, group, mode, ids, retry_count, force })
}

/// XCLAIM (Redis `xclaimCommand`). Redis looks up the group first.
pub fn claim(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    match claim_arguments(args) {
        Ok(claim) => Ok(Command::Data(Data::Write(Write::Claim(claim)))),
        Err(error) => refused(at(args, 1), Look::Group { group: at(args, 2) }, error),
    }
}

/// The ids end at the first argument that is not an id.
fn claim_arguments(args: Args<'_>) -> Result<Claim<'_>, ReplyError> {
    let min_idle_ms = min_idle(at(args, 4), "XCLAIM")?;
    let mut cursor = Cursor::new(args, 5);
    let mut ids = Vec::with_capacity(1);
    while let Some(id) = cursor.peek().and_then(|arg| EntryId::parse(arg, 0)) {
        ids.push(id);
        cursor.take();
    }
    let mut claim = Claim {
        key: at(args, 1),
        group: at(args, 2),
        consumer: at(args, 3),
        min_idle_ms,
        ids,
        delivered: DeliveredAt::Now,
        retry_count: None,
        force: false,
        just_id: false,
        last_id: None,
    };
    let option = |text, option| parse_i64(text).ok_or_else(|| invalid_option(option));
    while let Some(arg) = cursor.peek() {
        if cursor.take_word("FORCE") {
            claim.force = true;
        } else if cursor.take_word("JUSTID") {
            claim.just_id = true;
        } else if let Some(text) = cursor.take_option("IDLE") {
            claim.delivered = DeliveredAt::IdleMs(option(text, "IDLE")?);
        } else if let Some(text) = cursor.take_option("TIME") {
            claim.delivered = DeliveredAt::TimeMs(option(text, "TIME")?);
        } else if let Some(text) = cursor.take_option("RETRYCOUNT") {
            claim.retry_count = u64::try_from(option(text, "RETRYCOUNT")?).ok();
        } else if let Some(text) = cursor.take_option("LASTID") {
            claim.last_id = Some(entry_id(text)?);
        } else {
            return Err(quoting("ERR Unrecognized XCLAIM option '", arg, "'"));
        }
    }
    Ok(claim)
}

fn invalid_option(option: &str) -> ReplyError {
    ReplyError::owned(format!("ERR Invalid {option} option argument for XCLAIM"))
}

/// The min-idle-time of XCLAIM and XAUTOCLAIM; a negative one is 0.
fn min_idle(text: &[u8], command: &str) -> Result<u64, ReplyError> {
    let refuse = || ReplyError::owned(format!("ERR Invalid min-idle-time argument for {command}"));
    parse_i64(text).map(at_least_zero).ok_or_else(refuse)
}

/// XAUTOCLAIM (Redis `xautoclaimCommand`).
pub fn auto_claim(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let min_idle_ms = min_idle(at(args, 4), "XAUTOCLAIM")?;
    let start = interval_start(at(args, 5))?;
    let mut count = AUTO_CLAIM_COUNT_DEFAULT;
    let mut just_id = false;
    let mut cursor = Cursor::new(args, 6);
    while cursor.left() > 0 {
        if let Some(text) = cursor.take_option("COUNT") {
            count = parse_i64(text)
                .filter(|count| (1..=AUTO_CLAIM_COUNT_MAX).contains(count))
                .map(at_least_zero)
                .ok_or(ReplyError::new("ERR COUNT must be > 0"))?;
        } else if cursor.take_word("JUSTID") {
            just_id = true;
        } else {
            return Err(ReplyError::SYNTAX);
        }
    }
    let (key, group, consumer) = (at(args, 1), at(args, 2), at(args, 3));
    let claim = AutoClaim { key, group, consumer, min_idle_ms, start, count, just_id };
    Ok(Command::Data(Data::Write(Write::AutoClaim(claim))))
}

/// XPENDING (Redis `xpendingCommand`), checked in Redis's order: IDLE, the count, then the ids.
pub fn pending(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let range = match args.len() {
        3 => None,
        6..=9 => Some(pending_range(args)?),
        _ => return Err(ReplyError::SYNTAX),
    };
    let query = PendingQuery { key: at(args, 1), group: at(args, 2), range };
    Ok(Command::Data(Data::Query(Query::Pending(query))))
}

fn pending_range(args: Args<'_>) -> Result<PendingRange<'_>, ReplyError> {
    let mut first = 3;
    let mut min_idle_ms = 0;
    if is(at(args, 3), "IDLE") {
        min_idle_ms = at_least_zero(integer(at(args, 4))?);
        if args.len() < 8 {
            return Err(ReplyError::SYNTAX);
        }
        first = 5;
    }
    let count = at_least_zero(integer(at(args, first + 2))?);
    let start = interval_start(at(args, first))?;
    let end = interval_end(at(args, first + 1))?;
    Ok(PendingRange { min_idle_ms, start, end, count, consumer: args.get(first + 3) })
}

/// The arguments of XGROUP CREATE and SETID after the id.
struct GroupOptions {
    make_stream: bool,
    entries_read: Option<u64>,
}

/// Redis `xgroupCommand` parses the options before anything else.
fn group_options(args: Args<'_>, creating: bool) -> Result<GroupOptions, ReplyError> {
    let mut options = GroupOptions { make_stream: false, entries_read: None };
    let mut cursor = Cursor::new(args, 5);
    while cursor.left() > 0 {
        if creating && cursor.take_word("MKSTREAM") {
            options.make_stream = true;
        } else if let Some(text) = cursor.take_option("ENTRIESREAD") {
            options.entries_read = match integer(text)? {
                -1 => None,
                read => Some(u64::try_from(read).map_err(|_| ENTRIESREAD_NEGATIVE)?),
            };
        } else {
            return Err(subcommand_syntax(args));
        }
    }
    if args.len() > if creating { 8 } else { 7 } {
        return Err(subcommand_syntax(args));
    }
    Ok(options)
}

fn group_start(text: &[u8]) -> Result<GroupStart, ReplyError> {
    if text == b"$" { Ok(GroupStart::Last) } else { Ok(GroupStart::Id(entry_id(text)?)) }
}

/// XGROUP CREATE
pub fn create(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let GroupOptions { make_stream, entries_read } = group_options(args, true)?;
    let (key, group) = (at(args, 2), at(args, 3));
    match group_start(at(args, 4)) {
        Ok(from) => change(GroupChange::Create { key, group, from, make_stream, entries_read }),
        Err(error) => refused(key, Look::ParentOfGroup { make_stream }, error),
    }
}

/// XGROUP SETID
pub fn set_id(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let GroupOptions { entries_read, .. } = group_options(args, false)?;
    // Unlike CREATE, SETID accepts `-` and `+` for the ends of the id range.
    let from = match at(args, 4) {
        b"-" => Ok(GroupStart::Id(EntryId::MIN)),
        b"+" => Ok(GroupStart::Id(EntryId::MAX)),
        text => group_start(text),
    };
    let (key, group) = (at(args, 2), at(args, 3));
    match from {
        Ok(from) => change(GroupChange::SetId { key, group, from, entries_read }),
        Err(error) => refused(key, Look::GroupOfStream { group }, error),
    }
}

/// XGROUP DESTROY
pub fn destroy(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    change(GroupChange::Destroy { key: at(args, 2), group: at(args, 3) })
}

/// XGROUP CREATECONSUMER
pub fn create_consumer(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    change(GroupChange::CreateConsumer { key: at(args, 2), group: at(args, 3), consumer: at(args, 4) })
}

/// XGROUP DELCONSUMER
pub fn delete_consumer(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    change(GroupChange::DeleteConsumer { key: at(args, 2), group: at(args, 3), consumer: at(args, 4) })
}

/// XGROUP HELP
pub fn group_help(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    Ok(Command::Server(ServerCommand::Fixed(help::reply("XGROUP", help::XGROUP))))
}

/// XINFO STREAM (Redis `xinfoReplyWithStreamInfo`). Redis looks up the stream before it parses the options.
pub fn info_stream(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let key = at(args, 2);
    match info_options(args) {
        Ok(full) => Ok(Command::Data(Data::Query(Query::Stream(StreamQuery::Info { key, full })))),
        Err(error) => refused(key, Look::Stream, error),
    }
}

fn info_options(args: Args<'_>) -> Result<Option<u64>, ReplyError> {
    Ok(match args.len() {
        3 => None,
        4 | 6 if is(at(args, 3), "FULL") => match args.get(4) {
            None => Some(INFO_FULL_COUNT_DEFAULT),
            Some(word) if is(word, "COUNT") => {
                Some(u64::try_from(integer(at(args, 5))?).unwrap_or(INFO_FULL_COUNT_DEFAULT))
            }
            Some(_) => return Err(subcommand_syntax(args)),
        },
        _ => return Err(subcommand_syntax(args)),
    })
}

/// XINFO GROUPS
pub fn info_groups(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    Ok(Command::Data(Data::Query(Query::Stream(StreamQuery::Groups { key: at(args, 2) }))))
}

/// XINFO CONSUMERS
pub fn info_consumers(args: Args<'_>) -> Result<Command<'_>, ReplyError> {
    let query = StreamQuery::Consumers { key: at(args, 2), group: at(args, 3) };
    Ok(Command::Data(Data::Query(Query::Stream(query))))
}

/// XINFO HELP
pub fn info_help(_: Args<'_>) -> Result<Command<'_>, ReplyError> {
    Ok(Command::Server(ServerCommand::Fixed(help::reply("XINFO", help::XINFO))))
}
