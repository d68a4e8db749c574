//! The encoding of string writes; each encoder beside its decoder.

use crate::base::wire::{Malformed, Reader, Writer};
use crate::command::value::string::{Expiry, Set, SetCondition, StringWrite};
use crate::model::args::ArgList;
use crate::state::op::codec_write::{read_deadline, write_deadline};
use crate::state::op::tag::WriteTag;

type Taken<T> = Result<T, Malformed>;

fn write_expiry(w: &mut Writer<'_>, expiry: Expiry) {
    match expiry {
        Expiry::None => w.u8(0),
        Expiry::Keep => w.u8(1),
        Expiry::At(deadline) => {
            w.u8(2);
            write_deadline(w, deadline);
        }
    }
}

fn read_expiry(r: &mut Reader<'_>) -> Taken<Expiry> {
    Ok(match r.u8()? {
        0 => Expiry::None,
        1 => Expiry::Keep,
        2 => Expiry::At(read_deadline(r)?),
        _ => return Err(r.malformed("unknown kind of expiry")),
    })
}

pub fn write_string_write(w: &mut Writer<'_>, write: &StringWrite<'_>) {
    match write {
        StringWrite::Set(set) => {
            w.u8(WriteTag::Set.into());
            w.bytes(set.key);
            w.bytes(set.value);
            w.u8(match set.condition {
                SetCondition::Always => 0,
                SetCondition::IfAbsent => 1,
                SetCondition::IfPresent => 2,
            });
            w.bool(set.get);
            write_expiry(w, set.expiry);
        }
        StringWrite::SetIfAbsent { key, value } => {
            w.u8(WriteTag::SetIfAbsent.into());
            w.bytes(key);
            w.bytes(value);
        }
        StringWrite::GetDelete { key } => {
            w.u8(WriteTag::GetDelete.into());
            w.bytes(key);
        }
        StringWrite::GetExpire { key, expiry } => {
            w.u8(WriteTag::GetExpire.into());
            w.bytes(key);
            write_expiry(w, *expiry);
        }
        StringWrite::SetMany { pairs } => {
            w.u8(WriteTag::SetMany.into());
            pairs.encode(w);
        }
        StringWrite::SetManyIfAbsent { pairs } => {
            w.u8(WriteTag::SetManyIfAbsent.into());
            pairs.encode(w);
        }
        StringWrite::Append { key, value } => {
            w.u8(WriteTag::Append.into());
            w.bytes(key);
            w.bytes(value);
        }
        StringWrite::Increment { key, by } => {
            w.u8(WriteTag::Increment.into());
            w.bytes(key);
            w.signed(*by);
        }
        StringWrite::IncrementFloat { key, by } => {
            w.u8(WriteTag::IncrementFloat.into());
            w.bytes(key);
            w.bytes(by);
        }
    }
}

pub fn read_string_write<'a>(r: &mut Reader<'a>, tag: WriteTag) -> Taken<StringWrite<'a>> {
    Ok(match tag {
        WriteTag::Set => StringWrite::Set(Set {
            key: r.bytes()?,
            value: r.bytes()?,
            condition: match r.u8()? {
                0 => SetCondition::Always,
                1 => SetCondition::IfAbsent,
                2 => SetCondition::IfPresent,
                _ => return Err(r.malformed("unknown condition of SET")),
            },
            get: r.bool()?,
            expiry: read_expiry(r)?,
        }),
        WriteTag::SetIfAbsent => StringWrite::SetIfAbsent { key: r.bytes()?, value: r.bytes()? },
        WriteTag::GetDelete => StringWrite::GetDelete { key: r.bytes()? },
        WriteTag::GetExpire => StringWrite::GetExpire { key: r.bytes()?, expiry: read_expiry(r)? },
        WriteTag::SetMany => StringWrite::SetMany { pairs: read_pairs(r)? },
        WriteTag::SetManyIfAbsent => StringWrite::SetManyIfAbsent { pairs: read_pairs(r)? },
        WriteTag::Append => StringWrite::Append { key: r.bytes()?, value: r.bytes()? },
        WriteTag::Increment => StringWrite::Increment { key: r.bytes()?, by: r.signed()? },
        WriteTag::IncrementFloat => StringWrite::IncrementFloat { key: r.bytes()?, by: r.bytes()? },
        _ => return Err(r.malformed("unknown kind of string write")),
    })
}

fn read_pairs<'a>(r: &mut Reader<'a>) -> Taken<ArgList<'a>> {
    let pairs = ArgList::decode(r)?;
    if pairs.len() % 2 == 0 { Ok(pairs) } else { Err(r.malformed("keys and values do not pair")) }
}
