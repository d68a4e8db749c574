//! Ops as bytes: a tag for each kind, its parts after it, in the order of their declaration.
//!
//! A change of what is written here is a new format of [`crate::state::op::batch`].

use crate::base::wire::{Malformed, Reader, Writer};
use crate::command::value::{Data, Query, Write};
use crate::state::keyspace::KeyVersion;
use crate::state::op::codec_query::{read_query, write_query};
use crate::state::op::codec_write::{read_add, read_write, write_add, write_write};
use crate::state::op::tag::{DataTag, OpTag};
use crate::state::op::{Op, Transaction, Watched};

pub fn encode_op(op: &Op<'_>, out: &mut Vec<u8>) {
    match op {
        Op::Write { database, write } => encode_write(*database, write, out),
        Op::Transaction(transaction) => {
            let mut writer = Writer::new(out);
            writer.u8(OpTag::Transaction.into());
            writer.varint(transaction.watched.len() as u64);
            for watched in &transaction.watched {
                writer.varint(u64::from(watched.database));
                writer.bytes(watched.key);
                writer.varint(watched.version.0);
            }
            writer.varint(transaction.commands.len() as u64);
            for (database, data) in &transaction.commands {
                writer.varint(u64::from(*database));
                write_data(&mut writer, data);
            }
        }
    }
}

/// The op of one write.
pub fn encode_write(database: u32, write: &Write<'_>, out: &mut Vec<u8>) {
    let mut writer = Writer::new(out);
    match write {
        Write::Add(add) => {
            writer.u8(OpTag::Add.into());
            writer.varint(u64::from(database));
            write_add(&mut writer, add);
        }
        other => {
            writer.u8(OpTag::Write.into());
            writer.varint(u64::from(database));
            write_write(&mut writer, other);
        }
    }
}

/// Takes one op off the front.
pub fn decode_op<'a>(reader: &mut Reader<'a>) -> Result<Op<'a>, Malformed> {
    match OpTag::read(reader)? {
        OpTag::Add => {
            let database = read_database(reader)?;
            Ok(Op::Write { database, write: Write::Add(read_add(reader)?) })
        }
        OpTag::Write => {
            let database = read_database(reader)?;
            Ok(Op::Write { database, write: read_write(reader)? })
        }
        OpTag::Transaction => {
            let mut watched = Vec::new();
            for _ in 0..reader.count()? {
                let database = read_database(reader)?;
                let key = reader.bytes()?;
                watched.push(Watched { database, key, version: KeyVersion(reader.varint()?) });
            }
            let mut commands = Vec::new();
            for _ in 0..reader.count()? {
                commands.push((read_database(reader)?, read_data(reader)?));
            }
            Ok(Op::Transaction(Transaction { watched, commands }))
        }
    }
}

pub fn encode_query(query: &Query<'_>, out: &mut Vec<u8>) {
    write_query(&mut Writer::new(out), query);
}

/// The query that these bytes are, all of them.
pub fn decode_query(bytes: &[u8]) -> Result<Query<'_>, Malformed> {
    let mut reader = Reader::new(bytes);
    let query = read_query(&mut reader)?;
    reader.finish()?;
    Ok(query)
}

pub fn encode_data(data: &Data<'_>, out: &mut Vec<u8>) {
    write_data(&mut Writer::new(out), data);
}

/// The command that these bytes are, all of them.
pub fn decode_data(bytes: &[u8]) -> Result<Data<'_>, Malformed> {
    let mut reader = Reader::new(bytes);
    let data = read_data(&mut reader)?;
    reader.finish()?;
    Ok(data)
}

fn write_data(writer: &mut Writer<'_>, data: &Data<'_>) {
    match data {
        Data::Write(write) => {
            writer.u8(DataTag::Write.into());
            write_write(writer, write);
        }
        Data::Query(query) => {
            writer.u8(DataTag::Query.into());
            write_query(writer, query);
        }
    }
}

fn read_data<'a>(reader: &mut Reader<'a>) -> Result<Data<'a>, Malformed> {
    match DataTag::read(reader)? {
        DataTag::Write => Ok(Data::Write(read_write(reader)?)),
        DataTag::Query => Ok(Data::Query(read_query(reader)?)),
    }
}

fn read_database(reader: &mut Reader<'_>) -> Result<u32, Malformed> {
    let database = reader.varint()?;
    u32::try_from(database).map_err(|_| reader.malformed("database number over 32 bits"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::value::stream::Add;
    use crate::command::value::stream::{Idempotency, NewId};
    use crate::model::args::ArgList;
    use crate::state::op::random::{pool, random_op, random_query, random_write};
    use crate::state::testing::Random;
    use proptest::prelude::*;

    fn random_data<'a>(random: &mut Random, pool: &'a crate::state::op::random::Pool) -> Data<'a> {
        if random.flag() {
            Data::Write(random_write(random, pool))
        } else {
            Data::Query(random_query(random, pool))
        }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let pool = pool();
        for seed in 0..5000 {
            let mut random = Random::new(seed);
            let op = random_op(&mut random, &pool);
            let mut out = Vec::new();
            encode_op(&op, &mut out);
            let mut reader = Reader::new(&out);
            assert_eq!(decode_op(&mut reader).as_ref(), Ok(&op));
            assert_eq!(reader.finish(), Ok(()));

            let data = random_data(&mut random, &pool);
            out.clear();
            encode_data(&data, &mut out);
            assert_eq!(decode_data(&out).as_ref(), Ok(&data));

            let query = random_query(&mut random, &pool);
            out.clear();
            encode_query(&query, &mut out);
            assert_eq!(decode_query(&out).as_ref(), Ok(&query));
        }
    }

    #[test]
    fn a_cut_or_changed_op_is_refused_or_read_but_never_panics() {
        let pool = pool();
        for seed in 0..2000 {
            let mut random = Random::new(seed);
            let mut out = Vec::new();
            encode_op(&random_op(&mut random, &pool), &mut out);
            for cut in 0..out.len() {
                assert!(decode_op(&mut Reader::new(&out[..cut])).is_err(), "a cut op is refused");
            }
            let at = random.below(out.len() as u64) as usize;
            out[at] = random.u64() as u8;
            let _ = decode_op(&mut Reader::new(&out));
        }
    }

    #[test]
    fn idempotent_adds_keep_their_ids() {
        let fields = ArgList::Packed { count: 2, bytes: b"\x01a\x01b" };
        for idempotency in [
            Idempotency::Given { producer: b"p", id: b"i" },
            Idempotency::OfContent { producer: b"p", id: [9; 16] },
        ] {
            let id = NewId::Auto;
            let add =
                Add { key: b"k", make_stream: true, id, trim: None, idempotency: Some(idempotency), fields };
            let op = Op::Write { database: 3, write: Write::Add(add) };
            let mut out = Vec::new();
            encode_op(&op, &mut out);
            assert_eq!(decode_op(&mut Reader::new(&out)), Ok(op));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read_but_never_panic(bytes: Vec<u8>) {
            let _ = decode_op(&mut Reader::new(&bytes));
            let _ = decode_data(&bytes);
            let _ = decode_query(&bytes);
        }
    }
}
