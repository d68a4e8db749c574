//! The encoding of writes; each encoder beside its decoder.

use crate::base::wire::{Malformed, Reader, Writer};
use crate::command::value::Write;
use crate::command::value::group::{
    AutoClaim, Claim, DeliveredAt, GroupChange, GroupRead, GroupReadFrom, GroupStart, NackMode,
};
use crate::command::value::key::{Deadline, ExpireCondition, KeyWrite};
use crate::command::value::stream::{
    Add, Exactness, Idempotency, MaxSize, NewId, ReadLimits, References, SetIdCounters, StreamWrite, Trim,
    TrimUntil,
};
use crate::model::args::ArgList;
use crate::model::entry_id::EntryId;
use crate::model::reply_size::SizeRule;
use crate::state::op::codec_string::{read_string_write, write_string_write};
use crate::state::op::tag::WriteTag;

type Taken<T> = Result<T, Malformed>;

pub fn write_write(w: &mut Writer<'_>, write: &Write<'_>) {
    match write {
        Write::Add(add) => {
            w.u8(WriteTag::Add.into());
            write_add(w, add);
        }
        Write::Stream(StreamWrite::Trim { key, trim }) => {
            w.u8(WriteTag::Trim.into());
            w.bytes(key);
            write_trim(w, trim);
        }
        Write::Stream(StreamWrite::Delete { key, ids }) => {
            w.u8(WriteTag::DeleteEntries.into());
            w.bytes(key);
            write_ids(w, ids);
        }
        Write::Stream(StreamWrite::DeleteEach { key, references, ids }) => {
            w.u8(WriteTag::DeleteEach.into());
            w.bytes(key);
            write_references(w, *references);
            write_ids(w, ids);
        }
        Write::Stream(StreamWrite::SetId { key, last_id, counters }) => {
            w.u8(WriteTag::SetLastId.into());
            w.bytes(key);
            last_id.encode(w);
            w.option(counters.as_ref(), |w, counters| {
                w.option(counters.entries_added, Writer::varint);
                counters.max_deleted_id.encode(w);
            });
        }
        Write::Stream(StreamWrite::Configure { key, duration_s, ids }) => {
            w.u8(WriteTag::ConfigureStream.into());
            w.bytes(key);
            w.option(*duration_s, Writer::u32);
            w.option(*ids, Writer::u32);
        }
        Write::Stream(StreamWrite::RecordId { key, producer, id, entry }) => {
            w.u8(WriteTag::RecordId.into());
            w.bytes(key);
            w.bytes(producer);
            w.bytes(id);
            entry.encode(w);
        }
        Write::GroupRead(read) => {
            w.u8(WriteTag::GroupRead.into());
            write_group_read(w, read);
        }
        Write::GroupChange(change) => write_group_change(w, change),
        Write::Claim(claim) => {
            w.u8(WriteTag::Claim.into());
            write_claim(w, claim);
        }
        Write::AutoClaim(claim) => {
            w.u8(WriteTag::AutoClaim.into());
            w.bytes(claim.key);
            w.bytes(claim.group);
            w.bytes(claim.consumer);
            w.varint(claim.min_idle_ms);
            claim.start.encode(w);
            w.varint(claim.count);
            w.bool(claim.just_id);
        }
        Write::Key(write) => write_key_write(w, write),
        Write::String(write) => write_string_write(w, write),
    }
}

pub fn read_write<'a>(r: &mut Reader<'a>) -> Taken<Write<'a>> {
    Ok(match WriteTag::read(r)? {
        WriteTag::Add => Write::Add(read_add(r)?),
        WriteTag::Trim => Write::Stream(StreamWrite::Trim { key: r.bytes()?, trim: read_trim(r)? }),
        WriteTag::DeleteEntries => Write::Stream(StreamWrite::Delete { key: r.bytes()?, ids: read_ids(r)? }),
        WriteTag::SetLastId => Write::Stream(StreamWrite::SetId {
            key: r.bytes()?,
            last_id: EntryId::decode(r)?,
            counters: r.option(|r| {
                Ok(SetIdCounters {
                    entries_added: r.option(Reader::varint)?,
                    max_deleted_id: EntryId::decode(r)?,
                })
            })?,
        }),
        WriteTag::GroupRead => Write::GroupRead(read_group_read(r)?),
        tag @ (WriteTag::Acknowledge
        | WriteTag::AcknowledgeAndDelete
        | WriteTag::NegativeAcknowledge
        | WriteTag::CreateGroup
        | WriteTag::SetGroupId
        | WriteTag::DestroyGroup
        | WriteTag::CreateConsumer
        | WriteTag::DeleteConsumer) => Write::GroupChange(read_group_change(r, tag)?),
        WriteTag::Claim => Write::Claim(read_claim(r)?),
        WriteTag::AutoClaim => Write::AutoClaim(AutoClaim {
            key: r.bytes()?,
            group: r.bytes()?,
            consumer: r.bytes()?,
            min_idle_ms: r.varint()?,
            start: EntryId::decode(r)?,
            count: r.varint()?,
            just_id: r.bool()?,
        }),
        WriteTag::DeleteEach => Write::Stream(StreamWrite::DeleteEach {
            key: r.bytes()?,
            references: read_references(r)?,
            ids: read_ids(r)?,
        }),
        WriteTag::ConfigureStream => Write::Stream(StreamWrite::Configure {
            key: r.bytes()?,
            duration_s: r.option(Reader::u32)?,
            ids: r.option(Reader::u32)?,
        }),
        WriteTag::RecordId => Write::Stream(StreamWrite::RecordId {
            key: r.bytes()?,
            producer: r.bytes()?,
            id: r.bytes()?,
            entry: EntryId::decode(r)?,
        }),
        tag @ (WriteTag::Set
        | WriteTag::SetIfAbsent
        | WriteTag::GetDelete
        | WriteTag::GetExpire
        | WriteTag::SetMany
        | WriteTag::SetManyIfAbsent
        | WriteTag::Append
        | WriteTag::Increment
        | WriteTag::IncrementFloat) => Write::String(read_string_write(r, tag)?),
        tag @ (WriteTag::Delete
        | WriteTag::Expire
        | WriteTag::Persist
        | WriteTag::Rename
        | WriteTag::Copy
        | WriteTag::FlushDatabase
        | WriteTag::FlushAll
        | WriteTag::DeleteExpired
        | WriteTag::SetStreamNodeLimits
        | WriteTag::DeleteIfDue
        | WriteTag::SetIdempotencyLimits
        | WriteTag::ForgetIds
        | WriteTag::Move
        | WriteTag::Restore
        | WriteTag::SwapDatabases) => Write::Key(read_key_write(r, tag)?),
    })
}

pub fn write_add(w: &mut Writer<'_>, add: &Add<'_>) {
    w.bytes(add.key);
    // Flags: create the stream, trim, idempotency (one bit each), kind of id.
    let id_kind = match add.id {
        NewId::Auto => 0u8,
        NewId::AutoSequence { .. } => 1,
        NewId::Explicit(_) => 2,
    };
    let idempotency = u8::from(add.idempotency.is_some()) << 2;
    w.u8(u8::from(add.make_stream) | u8::from(add.trim.is_some()) << 1 | idempotency | id_kind << 3);
    match add.id {
        NewId::Auto => {}
        NewId::AutoSequence { ms } => w.varint(ms),
        NewId::Explicit(id) => id.encode(w),
    }
    if let Some(trim) = &add.trim {
        write_trim(w, trim);
    }
    match add.idempotency {
        None => {}
        Some(Idempotency::Given { producer, id }) => {
            w.u8(0);
            w.bytes(producer);
            w.bytes(id);
        }
        Some(Idempotency::OfContent { producer, id }) => {
            w.u8(1);
            w.bytes(producer);
            w.raw(&id);
        }
    }
    add.fields.encode(w);
}

pub fn read_add<'a>(r: &mut Reader<'a>) -> Taken<Add<'a>> {
    let key = r.bytes()?;
    let flags = r.u8()?;
    let id = match flags >> 3 {
        0 => NewId::Auto,
        1 => NewId::AutoSequence { ms: r.varint()? },
        2 => NewId::Explicit(EntryId::decode(r)?),
        _ => return Err(r.malformed("unknown kind of entry id")),
    };
    let trim = if flags & 2 != 0 { Some(read_trim(r)?) } else { None };
    let idempotency = match flags & 4 != 0 {
        false => None,
        true => Some(match r.u8()? {
            0 => Idempotency::Given { producer: r.bytes()?, id: r.bytes()? },
            1 => {
                let producer = r.bytes()?;
                let mut id = [0; 16];
                id.copy_from_slice(r.raw(16)?);
                Idempotency::OfContent { producer, id }
            }
            _ => return Err(r.malformed("unknown kind of idempotency")),
        }),
    };
    let fields = ArgList::decode(r)?;
    if fields.is_empty() || fields.len() % 2 != 0 {
        return Err(r.malformed("fields and values do not pair"));
    }
    Ok(Add { key, make_stream: flags & 1 != 0, id, trim, idempotency, fields })
}

fn write_trim(w: &mut Writer<'_>, trim: &Trim) {
    match trim.until {
        TrimUntil::MaxLength(max) => {
            w.u8(0);
            w.varint(max);
        }
        TrimUntil::MinId(id) => {
            w.u8(1);
            id.encode(w);
        }
    }
    match trim.exactness {
        Exactness::Exact => w.u8(0),
        Exactness::WholeNodes { limit: None } => w.u8(1),
        Exactness::WholeNodes { limit: Some(limit) } => {
            w.u8(2);
            w.varint(limit);
        }
    }
    write_references(w, trim.references);
}

fn write_references(w: &mut Writer<'_>, references: References) {
    w.u8(match references {
        References::Keep => 0,
        References::Delete => 1,
        References::OnlyUnreferenced => 2,
    });
}

fn read_references(r: &mut Reader<'_>) -> Taken<References> {
    Ok(match r.u8()? {
        0 => References::Keep,
        1 => References::Delete,
        2 => References::OnlyUnreferenced,
        _ => return Err(r.malformed("unknown reference policy")),
    })
}

fn read_trim(r: &mut Reader<'_>) -> Taken<Trim> {
    let until = match r.u8()? {
        0 => TrimUntil::MaxLength(r.varint()?),
        1 => TrimUntil::MinId(EntryId::decode(r)?),
        _ => return Err(r.malformed("unknown trim strategy")),
    };
    let exactness = match r.u8()? {
        0 => Exactness::Exact,
        1 => Exactness::WholeNodes { limit: None },
        2 => Exactness::WholeNodes { limit: Some(r.varint()?) },
        _ => return Err(r.malformed("unknown trim exactness")),
    };
    Ok(Trim { until, exactness, references: read_references(r)? })
}

fn write_ids(w: &mut Writer<'_>, ids: &[EntryId]) {
    w.varint(ids.len() as u64);
    ids.iter().for_each(|id| id.encode(w));
}

fn read_ids(r: &mut Reader<'_>) -> Taken<Vec<EntryId>> {
    (0..r.count()?).map(|_| EntryId::decode(r)).collect()
}

pub fn write_limits(w: &mut Writer<'_>, limits: &ReadLimits) {
    let resp3 = limits.max_size.is_some_and(|max| match max.rule {
        SizeRule::Resp2V1 => false,
        SizeRule::Resp3V1 => true,
    });
    // Which of the three are present, one bit each, and the rule of the size.
    let numbers = [limits.count, limits.max_count, limits.max_size.map(|max| max.bytes)];
    let bits = numbers.iter().enumerate().map(|(at, number)| u8::from(number.is_some()) << at);
    w.u8(bits.sum::<u8>() | u8::from(resp3) << 3);
    numbers.into_iter().flatten().for_each(|number| w.varint(number));
}

pub fn read_limits(r: &mut Reader<'_>) -> Taken<ReadLimits> {
    let bits = r.u8()?;
    if bits >= 16 || bits & 0b1100 == 0b1000 {
        return Err(r.malformed("unknown limits of a read"));
    }
    let mut number = |bit: u8| if bits & bit != 0 { r.varint().map(Some) } else { Ok(None) };
    let (count, max_count, bytes) = (number(1)?, number(2)?, number(4)?);
    let rule = if bits & 8 != 0 { SizeRule::Resp3V1 } else { SizeRule::Resp2V1 };
    Ok(ReadLimits { count, max_count, max_size: bytes.map(|bytes| MaxSize { bytes, rule }) })
}

pub(super) fn write_group_read(w: &mut Writer<'_>, read: &GroupRead<'_>) {
    w.bytes(read.group);
    w.bytes(read.consumer);
    write_limits(w, &read.limits);
    w.option(read.claim, Writer::varint);
    w.bool(read.no_ack);
    w.varint(read.streams.len() as u64);
    for (key, from) in &read.streams {
        w.bytes(key);
        match from {
            GroupReadFrom::New => w.u8(0),
            GroupReadFrom::History(id) => {
                w.u8(1);
                id.encode(w);
            }
            GroupReadFrom::Refused(byte) => {
                w.u8(2);
                w.u8(*byte);
            }
        }
    }
}

pub(super) fn read_group_read<'a>(r: &mut Reader<'a>) -> Taken<GroupRead<'a>> {
    let group = r.bytes()?;
    let consumer = r.bytes()?;
    let limits = read_limits(r)?;
    let claim = r.option(Reader::varint)?;
    let no_ack = r.bool()?;
    let mut streams = Vec::new();
    for _ in 0..r.count()? {
        let key = r.bytes()?;
        let from = match r.u8()? {
            0 => GroupReadFrom::New,
            1 => GroupReadFrom::History(EntryId::decode(r)?),
            2 => GroupReadFrom::Refused(r.u8()?),
            _ => return Err(r.malformed("unknown start of a group read")),
        };
        streams.push((key, from));
    }
    Ok(GroupRead { group, consumer, limits, claim, no_ack, streams })
}

fn write_start(w: &mut Writer<'_>, from: GroupStart) {
    match from {
        GroupStart::Last => w.bool(false),
        GroupStart::Id(id) => {
            w.bool(true);
            id.encode(w);
        }
    }
}

fn read_start(r: &mut Reader<'_>) -> Taken<GroupStart> {
    Ok(if r.bool()? { GroupStart::Id(EntryId::decode(r)?) } else { GroupStart::Last })
}

fn write_group_change(w: &mut Writer<'_>, change: &GroupChange<'_>) {
    let (tag, key, group) = match change {
        GroupChange::Acknowledge { key, group, .. } => (WriteTag::Acknowledge, key, group),
        GroupChange::AcknowledgeAndDelete { key, group, .. } => (WriteTag::AcknowledgeAndDelete, key, group),
        GroupChange::NegativeAcknowledge { key, group, .. } => (WriteTag::NegativeAcknowledge, key, group),
        GroupChange::Create { key, group, .. } => (WriteTag::CreateGroup, key, group),
        GroupChange::SetId { key, group, .. } => (WriteTag::SetGroupId, key, group),
        GroupChange::Destroy { key, group } => (WriteTag::DestroyGroup, key, group),
        GroupChange::CreateConsumer { key, group, .. } => (WriteTag::CreateConsumer, key, group),
        GroupChange::DeleteConsumer { key, group, .. } => (WriteTag::DeleteConsumer, key, group),
    };
    w.u8(tag.into());
    w.bytes(key);
    w.bytes(group);
    match change {
        GroupChange::Acknowledge { ids, .. } => write_ids(w, ids),
        GroupChange::AcknowledgeAndDelete { references, ids, .. } => {
            write_references(w, *references);
            write_ids(w, ids);
        }
        GroupChange::NegativeAcknowledge { mode, ids, retry_count, force, .. } => {
            w.u8(match mode {
                NackMode::Silent => 0,
                NackMode::Fail => 1,
                NackMode::Fatal => 2,
            });
            write_ids(w, ids);
            w.option(*retry_count, Writer::varint);
            w.bool(*force);
        }
        GroupChange::Create { from, make_stream, entries_read, .. } => {
            write_start(w, *from);
            w.bool(*make_stream);
            w.option(*entries_read, Writer::varint);
        }
        GroupChange::SetId { from, entries_read, .. } => {
            write_start(w, *from);
            w.option(*entries_read, Writer::varint);
        }
        GroupChange::Destroy { .. } => {}
        GroupChange::CreateConsumer { consumer, .. } | GroupChange::DeleteConsumer { consumer, .. } => {
            w.bytes(consumer);
        }
    }
}

fn read_group_change<'a>(r: &mut Reader<'a>, tag: WriteTag) -> Taken<GroupChange<'a>> {
    let (key, group) = (r.bytes()?, r.bytes()?);
    Ok(match tag {
        WriteTag::Acknowledge => GroupChange::Acknowledge { key, group, ids: read_ids(r)? },
        WriteTag::CreateGroup => GroupChange::Create {
            key,
            group,
            from: read_start(r)?,
            make_stream: r.bool()?,
            entries_read: r.option(Reader::varint)?,
        },
        WriteTag::SetGroupId => {
            GroupChange::SetId { key, group, from: read_start(r)?, entries_read: r.option(Reader::varint)? }
        }
        WriteTag::DestroyGroup => GroupChange::Destroy { key, group },
        WriteTag::CreateConsumer => GroupChange::CreateConsumer { key, group, consumer: r.bytes()? },
        WriteTag::DeleteConsumer => GroupChange::DeleteConsumer { key, group, consumer: r.bytes()? },
        WriteTag::AcknowledgeAndDelete => {
            let references = read_references(r)?;
            GroupChange::AcknowledgeAndDelete { key, group, references, ids: read_ids(r)? }
        }
        WriteTag::NegativeAcknowledge => GroupChange::NegativeAcknowledge {
            key,
            group,
            mode: match r.u8()? {
                0 => NackMode::Silent,
                1 => NackMode::Fail,
                2 => NackMode::Fatal,
                _ => return Err(r.malformed("unknown mode of a negative acknowledgement")),
            },
            ids: read_ids(r)?,
            retry_count: r.option(Reader::varint)?,
            force: r.bool()?,
        },
        _ => return Err(r.malformed("unknown change of a group")),
    })
}

fn write_claim(w: &mut Writer<'_>, claim: &Claim<'_>) {
    w.bytes(claim.key);
    w.bytes(claim.group);
    w.bytes(claim.consumer);
    w.varint(claim.min_idle_ms);
    write_ids(w, &claim.ids);
    match claim.delivered {
        DeliveredAt::Now => w.u8(0),
        DeliveredAt::IdleMs(ms) => {
            w.u8(1);
            w.signed(ms);
        }
        DeliveredAt::TimeMs(ms) => {
            w.u8(2);
            w.signed(ms);
        }
    }
    w.option(claim.retry_count, Writer::varint);
    w.bool(claim.force);
    w.bool(claim.just_id);
    w.option(claim.last_id, |w, id| id.encode(w));
}

fn read_claim<'a>(r: &mut Reader<'a>) -> Taken<Claim<'a>> {
    Ok(Claim {
        key: r.bytes()?,
        group: r.bytes()?,
        consumer: r.bytes()?,
        min_idle_ms: r.varint()?,
        ids: read_ids(r)?,
        delivered: match r.u8()? {
            0 => DeliveredAt::Now,
            1 => DeliveredAt::IdleMs(r.signed()?),
            2 => DeliveredAt::TimeMs(r.signed()?),
            _ => return Err(r.malformed("unknown delivery time")),
        },
        retry_count: r.option(Reader::varint)?,
        force: r.bool()?,
        just_id: r.bool()?,
        last_id: r.option(EntryId::decode)?,
    })
}

pub fn write_deadline(w: &mut Writer<'_>, deadline: Deadline) {
    match deadline {
        Deadline::InMs(ms) => {
            w.bool(false);
            w.signed(ms);
        }
        Deadline::AtMs(ms) => {
            w.bool(true);
            w.signed(ms);
        }
    }
}

pub fn read_deadline(r: &mut Reader<'_>) -> Taken<Deadline> {
    Ok(if r.bool()? { Deadline::AtMs(r.signed()?) } else { Deadline::InMs(r.signed()?) })
}

fn write_key_write(w: &mut Writer<'_>, write: &KeyWrite<'_>) {
    match write {
        KeyWrite::Delete { keys } => {
            w.u8(WriteTag::Delete.into());
            keys.encode(w);
        }
        KeyWrite::Expire { key, at, condition } => {
            w.u8(WriteTag::Expire.into());
            w.bytes(key);
            write_deadline(w, *at);
            w.bool(condition.only_without);
            w.bool(condition.only_with);
            w.bool(condition.only_later);
            w.bool(condition.only_earlier);
        }
        KeyWrite::Persist { key } => {
            w.u8(WriteTag::Persist.into());
            w.bytes(key);
        }
        KeyWrite::Rename { from, to, only_if_absent } => {
            w.u8(WriteTag::Rename.into());
            w.bytes(from);
            w.bytes(to);
            w.bool(*only_if_absent);
        }
        KeyWrite::Copy { from, to, database, replace } => {
            w.u8(WriteTag::Copy.into());
            w.bytes(from);
            w.bytes(to);
            w.option(*database, Writer::u32);
            w.bool(*replace);
        }
        KeyWrite::FlushDatabase => w.u8(WriteTag::FlushDatabase.into()),
        KeyWrite::FlushAll => w.u8(WriteTag::FlushAll.into()),
        KeyWrite::DeleteExpired { limit } => {
            w.u8(WriteTag::DeleteExpired.into());
            w.u32(*limit);
        }
        KeyWrite::DeleteIfDue { key } => {
            w.u8(WriteTag::DeleteIfDue.into());
            w.bytes(key);
        }
        KeyWrite::SetStreamNodeLimits { entries, bytes } => {
            w.u8(WriteTag::SetStreamNodeLimits.into());
            w.u32(*entries);
            w.u32(*bytes);
        }
        KeyWrite::SetIdempotencyLimits { duration_s, ids } => {
            w.u8(WriteTag::SetIdempotencyLimits.into());
            w.u32(*duration_s);
            w.u32(*ids);
        }
        KeyWrite::Move { key, database } => {
            w.u8(WriteTag::Move.into());
            w.bytes(key);
            w.u32(*database);
        }
        KeyWrite::Restore { key, payload, expires, replace } => {
            w.u8(WriteTag::Restore.into());
            w.bytes(key);
            w.bytes(payload);
            w.option(*expires, write_deadline);
            w.bool(*replace);
        }
        KeyWrite::SwapDatabases { first, second } => {
            w.u8(WriteTag::SwapDatabases.into());
            w.u32(*first);
            w.u32(*second);
        }
        KeyWrite::ForgetIds { limit } => {
            w.u8(WriteTag::ForgetIds.into());
            w.u32(*limit);
        }
    }
}

fn read_key_write<'a>(r: &mut Reader<'a>, tag: WriteTag) -> Taken<KeyWrite<'a>> {
    Ok(match tag {
        WriteTag::Delete => KeyWrite::Delete { keys: ArgList::decode(r)? },
        WriteTag::Expire => KeyWrite::Expire {
            key: r.bytes()?,
            at: read_deadline(r)?,
            condition: ExpireCondition {
                only_without: r.bool()?,
                only_with: r.bool()?,
                only_later: r.bool()?,
                only_earlier: r.bool()?,
            },
        },
        WriteTag::Persist => KeyWrite::Persist { key: r.bytes()? },
        WriteTag::Rename => KeyWrite::Rename { from: r.bytes()?, to: r.bytes()?, only_if_absent: r.bool()? },
        WriteTag::Copy => KeyWrite::Copy {
            from: r.bytes()?,
            to: r.bytes()?,
            database: r.option(Reader::u32)?,
            replace: r.bool()?,
        },
        WriteTag::FlushDatabase => KeyWrite::FlushDatabase,
        WriteTag::FlushAll => KeyWrite::FlushAll,
        WriteTag::DeleteExpired => KeyWrite::DeleteExpired { limit: r.u32()? },
        WriteTag::DeleteIfDue => KeyWrite::DeleteIfDue { key: r.bytes()? },
        WriteTag::SetStreamNodeLimits => KeyWrite::SetStreamNodeLimits { entries: r.u32()?, bytes: r.u32()? },
        WriteTag::SetIdempotencyLimits => {
            KeyWrite::SetIdempotencyLimits { duration_s: r.u32()?, ids: r.u32()? }
        }
        WriteTag::Move => KeyWrite::Move { key: r.bytes()?, database: r.u32()? },
        WriteTag::Restore => KeyWrite::Restore {
            key: r.bytes()?,
            payload: r.bytes()?,
            expires: r.option(read_deadline)?,
            replace: r.bool()?,
        },
        WriteTag::SwapDatabases => KeyWrite::SwapDatabases { first: r.u32()?, second: r.u32()? },
        WriteTag::ForgetIds => KeyWrite::ForgetIds { limit: r.u32()? },
        _ => return Err(r.malformed("unknown kind of key write")),
    })
}
