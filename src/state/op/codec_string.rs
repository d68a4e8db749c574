//! Writes to strings as bytes; each value beside its mirror.

use crate::base::wire::{Malformed, Reader, Writer};
use crate::command::value::string::{Expiry, Set, SetCondition, StringWrite};
use crate::model::args::ArgList;
use crate::state::op::codec_write::{read_deadline, write_deadline};

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
            w.u8(40);
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
            w.u8(41);
            w.bytes(key);
            w.bytes(value);
        }
        StringWrite::GetDelete { key } => {
            w.u8(42);
            w.bytes(key);
        }
        StringWrite::GetExpire { key, expiry } => {
            w.u8(43);
            w.bytes(key);
            write_expiry(w, *expiry);
        }
        StringWrite::SetMany { pairs } => {
            w.u8(44);
            pairs.encode(w);
        }
        StringWrite::SetManyIfAbsent { pairs } => {
            w.u8(45);
            pairs.encode(w);
        }
        StringWrite::Append { key, value } => {
            w.u8(46);
            w.bytes(key);
            w.bytes(value);
        }
        StringWrite::Increment { key, by } => {
            w.u8(47);
            w.bytes(key);
            w.signed(*by);
        }
        StringWrite::IncrementFloat { key, by } => {
            w.u8(48);
            w.bytes(key);
            w.bytes(by);
        }
    }
}

pub fn read_string_write<'a>(r: &mut Reader<'a>, tag: u8) -> Taken<StringWrite<'a>> {
    Ok(match tag {
        40 => StringWrite::Set(Set {
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
        41 => StringWrite::SetIfAbsent { key: r.bytes()?, value: r.bytes()? },
        42 => StringWrite::GetDelete { key: r.bytes()? },
        43 => StringWrite::GetExpire { key: r.bytes()?, expiry: read_expiry(r)? },
        44 => StringWrite::SetMany { pairs: read_pairs(r)? },
        45 => StringWrite::SetManyIfAbsent { pairs: read_pairs(r)? },
        46 => StringWrite::Append { key: r.bytes()?, value: r.bytes()? },
        47 => StringWrite::Increment { key: r.bytes()?, by: r.signed()? },
        48 => StringWrite::IncrementFloat { key: r.bytes()?, by: r.bytes()? },
        _ => return Err(r.malformed("unknown kind of string write")),
    })
}

fn read_pairs<'a>(r: &mut Reader<'a>) -> Taken<ArgList<'a>> {
    let pairs = ArgList::decode(r)?;
    if pairs.len() % 2 == 0 { Ok(pairs) } else { Err(r.malformed("keys and values do not pair")) }
}
