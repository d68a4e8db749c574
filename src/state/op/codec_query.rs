//! The encoding of queries; each encoder beside its decoder.

use crate::base::wire::{Malformed, Reader, Writer};
use crate::command::value::Query;
use crate::command::value::group::{PendingQuery, PendingRange};
use crate::command::value::key::{KeyQuery, ObjectAspect, Scan, TimeUnit};
use crate::command::value::refusal::{Look, Refusal};
use crate::command::value::stream::{Range, Read, ReadFrom, StreamQuery};
use crate::command::value::string::StringQuery;
use crate::model::args::ArgList;
use crate::model::entry_id::EntryId;
use crate::model::reply::ReplyError;
use crate::state::op::codec_write::{read_limits, write_limits};
use crate::state::op::tag::QueryTag;

type Taken<T> = Result<T, Malformed>;

pub fn write_query(w: &mut Writer<'_>, query: &Query<'_>) {
    match query {
        Query::Stream(query) => write_stream_query(w, query),
        Query::Pending(query) => {
            w.u8(QueryTag::Pending.into());
            w.bytes(query.key);
            w.bytes(query.group);
            w.option(query.range.as_ref(), |w, range| {
                w.varint(range.min_idle_ms);
                range.start.encode(w);
                range.end.encode(w);
                w.varint(range.count);
                w.option(range.consumer, Writer::bytes);
            });
        }
        Query::Key(query) => write_key_query(w, query),
        Query::String(StringQuery::Get { key }) => {
            w.u8(QueryTag::Get.into());
            w.bytes(key);
        }
        Query::String(StringQuery::GetMany { keys }) => {
            w.u8(QueryTag::GetMany.into());
            keys.encode(w);
        }
        Query::String(StringQuery::Length { key }) => {
            w.u8(QueryTag::StringLength.into());
            w.bytes(key);
        }
        Query::Refused(refusal) => {
            w.u8(QueryTag::Refused.into());
            write_refusal(w, refusal);
        }
    }
}

fn write_refusal(w: &mut Writer<'_>, refusal: &Refusal<'_>) {
    w.bytes(refusal.key);
    w.bytes(refusal.error.as_bytes());
    match refusal.look {
        Look::Stream => w.u8(0),
        Look::StreamOrZero => w.u8(1),
        Look::GroupOrZero { group } => {
            w.u8(2);
            w.bytes(group);
        }
        Look::Group { group } => {
            w.u8(3);
            w.bytes(group);
        }
        Look::ParentOfGroup { make_stream } => {
            w.u8(4);
            w.bool(make_stream);
        }
        Look::GroupOfStream { group } => {
            w.u8(5);
            w.bytes(group);
        }
        Look::Text => w.u8(6),
        Look::TextOrNil => w.u8(7),
        Look::Vacant => w.u8(20),
    }
}

fn read_refusal<'a>(r: &mut Reader<'a>) -> Taken<Refusal<'a>> {
    let key = r.bytes()?;
    let error = ReplyError::owned(r.bytes()?);
    let look = match r.u8()? {
        0 => Look::Stream,
        1 => Look::StreamOrZero,
        2 => Look::GroupOrZero { group: r.bytes()? },
        3 => Look::Group { group: r.bytes()? },
        4 => Look::ParentOfGroup { make_stream: r.bool()? },
        5 => Look::GroupOfStream { group: r.bytes()? },
        6 => Look::Text,
        7 => Look::TextOrNil,
        20 => Look::Vacant,
        _ => return Err(r.malformed("unknown look at a key")),
    };
    Ok(Refusal { key, look, error })
}

pub fn read_query<'a>(r: &mut Reader<'a>) -> Taken<Query<'a>> {
    Ok(match QueryTag::read(r)? {
        tag @ (QueryTag::Length
        | QueryTag::Range
        | QueryTag::Read
        | QueryTag::ReadPassingOthers
        | QueryTag::Info
        | QueryTag::Groups
        | QueryTag::Consumers) => Query::Stream(read_stream_query(r, tag)?),
        QueryTag::Pending => Query::Pending(PendingQuery {
            key: r.bytes()?,
            group: r.bytes()?,
            range: r.option(|r| {
                Ok(PendingRange {
                    min_idle_ms: r.varint()?,
                    start: EntryId::decode(r)?,
                    end: EntryId::decode(r)?,
                    count: r.varint()?,
                    consumer: r.option(Reader::bytes)?,
                })
            })?,
        }),
        tag @ (QueryTag::Exists
        | QueryTag::Touch
        | QueryTag::Type
        | QueryTag::TimeToLive
        | QueryTag::Random
        | QueryTag::Matching
        | QueryTag::Scan
        | QueryTag::Object
        | QueryTag::Count
        | QueryTag::Dump) => Query::Key(read_key_query(r, tag)?),
        QueryTag::Get => Query::String(StringQuery::Get { key: r.bytes()? }),
        QueryTag::GetMany => Query::String(StringQuery::GetMany { keys: ArgList::decode(r)? }),
        QueryTag::StringLength => Query::String(StringQuery::Length { key: r.bytes()? }),
        QueryTag::Refused => Query::Refused(read_refusal(r)?),
    })
}

fn write_stream_query(w: &mut Writer<'_>, query: &StreamQuery<'_>) {
    match query {
        StreamQuery::Length { key } => {
            w.u8(QueryTag::Length.into());
            w.bytes(key);
        }
        StreamQuery::Range(range) => {
            w.u8(QueryTag::Range.into());
            w.bytes(range.key);
            range.start.encode(w);
            range.end.encode(w);
            w.option(range.count, Writer::varint);
            w.bool(range.reverse);
        }
        StreamQuery::Read(read) => {
            let tag = if read.skips_others { QueryTag::ReadPassingOthers } else { QueryTag::Read };
            w.u8(tag.into());
            write_limits(w, &read.limits);
            w.varint(read.streams.len() as u64);
            for (key, from) in &read.streams {
                w.bytes(key);
                match from {
                    ReadFrom::After(id) => {
                        w.u8(0);
                        id.encode(w);
                    }
                    ReadFrom::New => w.u8(1),
                    ReadFrom::Last => w.u8(2),
                    ReadFrom::Refused(byte) => {
                        w.u8(3);
                        w.u8(*byte);
                    }
                }
            }
        }
        StreamQuery::Info { key, full } => {
            w.u8(QueryTag::Info.into());
            w.bytes(key);
            w.option(*full, Writer::varint);
        }
        StreamQuery::Groups { key } => {
            w.u8(QueryTag::Groups.into());
            w.bytes(key);
        }
        StreamQuery::Consumers { key, group } => {
            w.u8(QueryTag::Consumers.into());
            w.bytes(key);
            w.bytes(group);
        }
    }
}

fn read_stream_query<'a>(r: &mut Reader<'a>, tag: QueryTag) -> Taken<StreamQuery<'a>> {
    Ok(match tag {
        QueryTag::Length => StreamQuery::Length { key: r.bytes()? },
        QueryTag::Range => StreamQuery::Range(Range {
            key: r.bytes()?,
            start: EntryId::decode(r)?,
            end: EntryId::decode(r)?,
            count: r.option(Reader::varint)?,
            reverse: r.bool()?,
        }),
        QueryTag::Read | QueryTag::ReadPassingOthers => {
            let limits = read_limits(r)?;
            let mut streams = Vec::new();
            for _ in 0..r.count()? {
                let key = r.bytes()?;
                let from = match r.u8()? {
                    0 => ReadFrom::After(EntryId::decode(r)?),
                    1 => ReadFrom::New,
                    2 => ReadFrom::Last,
                    3 => ReadFrom::Refused(r.u8()?),
                    _ => return Err(r.malformed("unknown start of a read")),
                };
                streams.push((key, from));
            }
            StreamQuery::Read(Read { skips_others: tag == QueryTag::ReadPassingOthers, limits, streams })
        }
        QueryTag::Info => StreamQuery::Info { key: r.bytes()?, full: r.option(Reader::varint)? },
        QueryTag::Groups => StreamQuery::Groups { key: r.bytes()? },
        QueryTag::Consumers => StreamQuery::Consumers { key: r.bytes()?, group: r.bytes()? },
        _ => return Err(r.malformed("unknown kind of stream query")),
    })
}

fn write_key_query(w: &mut Writer<'_>, query: &KeyQuery<'_>) {
    match query {
        KeyQuery::Exists { keys } => {
            w.u8(QueryTag::Exists.into());
            keys.encode(w);
        }
        KeyQuery::Touch { keys } => {
            w.u8(QueryTag::Touch.into());
            keys.encode(w);
        }
        KeyQuery::Type { key } => {
            w.u8(QueryTag::Type.into());
            w.bytes(key);
        }
        KeyQuery::TimeToLive { key, unit, absolute } => {
            w.u8(QueryTag::TimeToLive.into());
            w.bytes(key);
            w.bool(*unit == TimeUnit::Milliseconds);
            w.bool(*absolute);
        }
        KeyQuery::Random { chance } => {
            w.u8(QueryTag::Random.into());
            w.u64(*chance);
        }
        KeyQuery::Matching { pattern } => {
            w.u8(QueryTag::Matching.into());
            w.bytes(pattern);
        }
        KeyQuery::Scan(scan) => {
            w.u8(QueryTag::Scan.into());
            w.varint(scan.cursor);
            w.option(scan.pattern, Writer::bytes);
            w.varint(scan.count);
            w.option(scan.of_type, Writer::bytes);
        }
        KeyQuery::Object { key, aspect } => {
            w.u8(QueryTag::Object.into());
            w.bytes(key);
            w.u8(match aspect {
                ObjectAspect::Encoding => 0,
                ObjectAspect::ReferenceCount => 1,
                ObjectAspect::IdleTime => 2,
                ObjectAspect::Frequency => 3,
            });
        }
        KeyQuery::Count => w.u8(QueryTag::Count.into()),
        KeyQuery::Dump { key, rdb_version } => {
            w.u8(QueryTag::Dump.into());
            w.bytes(key);
            w.u16(*rdb_version);
        }
    }
}

fn read_key_query<'a>(r: &mut Reader<'a>, tag: QueryTag) -> Taken<KeyQuery<'a>> {
    Ok(match tag {
        QueryTag::Exists => KeyQuery::Exists { keys: ArgList::decode(r)? },
        QueryTag::Touch => KeyQuery::Touch { keys: ArgList::decode(r)? },
        QueryTag::Type => KeyQuery::Type { key: r.bytes()? },
        QueryTag::TimeToLive => KeyQuery::TimeToLive {
            key: r.bytes()?,
            unit: if r.bool()? { TimeUnit::Milliseconds } else { TimeUnit::Seconds },
            absolute: r.bool()?,
        },
        QueryTag::Random => KeyQuery::Random { chance: r.u64()? },
        QueryTag::Matching => KeyQuery::Matching { pattern: r.bytes()? },
        QueryTag::Scan => KeyQuery::Scan(Scan {
            cursor: r.varint()?,
            pattern: r.option(Reader::bytes)?,
            count: r.varint()?,
            of_type: r.option(Reader::bytes)?,
        }),
        QueryTag::Object => KeyQuery::Object {
            key: r.bytes()?,
            aspect: match r.u8()? {
                0 => ObjectAspect::Encoding,
                1 => ObjectAspect::ReferenceCount,
                2 => ObjectAspect::IdleTime,
                3 => ObjectAspect::Frequency,
                _ => return Err(r.malformed("unknown aspect of an object")),
            },
        },
        QueryTag::Count => KeyQuery::Count,
        QueryTag::Dump => KeyQuery::Dump { key: r.bytes()?, rdb_version: r.u16()? },
        _ => return Err(r.malformed("unknown kind of key query")),
    })
}
