//! The encoding of ops: a tag for each kind, then its parts in the order of their declaration.
//!
//! A change of this encoding is a new format of [`crate::state::op::batch`].

use crate::base::wire::{Malformed, Reader, Writer};
use crate::command::value::group::GroupRead;
use crate::command::value::{Data, Query, Write};
use crate::state::keyspace::KeyVersion;
use crate::state::op::codec_query::{read_query, write_query};
use crate::state::op::codec_write::{
    read_add, read_group_read, read_write, write_add, write_group_read, write_write,
};
use crate::state::op::tag::{DataTag, OpTag};
use crate::state::op::{Op, Step, Transaction, Watched};

pub fn encode_op(op: &Op<'_>, out: &mut Vec<u8>) {
    match op {
        Op::BlockingRead { database, read } => {
            Writer::new(out).u8(OpTag::BlockingRead.into());
            encode_blocked(*database, read, out);
        }
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
            write_steps(&mut writer, &transaction.writes, write_write);
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

/// Stands before a blocked read that looks at the state when its entry begins. It is no database: they end
/// below it.
const LOOKS: u64 = 1 << 32;

/// The mark of a blocked read that looks, before [`encode_blocked`].
pub fn encode_look(out: &mut Vec<u8>) {
    Writer::new(out).varint(LOOKS);
}

/// Reads one blocked read of an entry from the front, and whether it looks.
pub fn decode_carried<'a>(reader: &mut Reader<'a>) -> Result<(bool, u32, GroupRead<'a>), Malformed> {
    let looks = reader.clone().varint()? == LOOKS;
    if looks {
        reader.varint()?;
    }
    let (database, read) = decode_blocked(reader)?;
    Ok((looks, database, read))
}

/// A group read that is blocked, with its database.
pub fn encode_blocked(database: u32, read: &GroupRead<'_>, out: &mut Vec<u8>) {
    let mut writer = Writer::new(out);
    writer.varint(u64::from(database));
    write_group_read(&mut writer, read);
}

fn decode_blocked<'a>(reader: &mut Reader<'a>) -> Result<(u32, GroupRead<'a>), Malformed> {
    Ok((read_database(reader)?, read_group_read(reader)?))
}

/// Reads one op from the front.
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
            let watched = read_watched(reader)?;
            Ok(Op::Transaction(Transaction { watched, writes: read_steps(reader, read_write)? }))
        }
        // Its queries are dropped: the client has received its answers, and the state does not depend on
        // them.
        OpTag::TransactionWithQueries => {
            let watched = read_watched(reader)?;
            let mut commands = Vec::new();
            for _ in 0..reader.count()? {
                commands.push((read_database(reader)?, read_data(reader)?));
            }
            Ok(Op::Transaction(Transaction::of_commands(watched, commands).0))
        }
        OpTag::BlockingRead => {
            let (database, read) = decode_blocked(reader)?;
            Ok(Op::BlockingRead { database, read })
        }
    }
}

/// The queries of a transaction, which the machine receives beside its op.
pub fn encode_queries(queries: &[Step<Query<'_>>], out: &mut Vec<u8>) {
    write_steps(&mut Writer::new(out), queries, write_query);
}

/// Reads the queries of a transaction from the front.
pub fn decode_queries<'a>(reader: &mut Reader<'a>) -> Result<Vec<Step<Query<'a>>>, Malformed> {
    read_steps(reader, read_query)
}

pub fn encode_query(query: &Query<'_>, out: &mut Vec<u8>) {
    write_query(&mut Writer::new(out), query);
}

/// Decodes one query from all of these bytes.
pub fn decode_query(bytes: &[u8]) -> Result<Query<'_>, Malformed> {
    let mut reader = Reader::new(bytes);
    let query = read_query(&mut reader)?;
    reader.finish()?;
    Ok(query)
}

pub fn encode_data(data: &Data<'_>, out: &mut Vec<u8>) {
    write_data(&mut Writer::new(out), data);
}

/// Decodes one command from all of these bytes.
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

fn read_watched<'a>(reader: &mut Reader<'a>) -> Result<Vec<Watched<'a>>, Malformed> {
    let mut watched = Vec::new();
    for _ in 0..reader.count()? {
        let database = read_database(reader)?;
        let key = reader.bytes()?;
        watched.push(Watched { database, key, version: KeyVersion(reader.varint()?) });
    }
    Ok(watched)
}

fn write_steps<C>(writer: &mut Writer<'_>, steps: &[Step<C>], write: impl Fn(&mut Writer<'_>, &C)) {
    writer.varint(steps.len() as u64);
    for Step { step, database, command } in steps {
        writer.varint(u64::from(*step));
        writer.varint(u64::from(*database));
        write(writer, command);
    }
}

fn read_steps<'a, C>(
    reader: &mut Reader<'a>,
    read: impl Fn(&mut Reader<'a>) -> Result<C, Malformed>,
) -> Result<Vec<Step<C>>, Malformed> {
    let mut steps: Vec<Step<C>> = Vec::new();
    for _ in 0..reader.count()? {
        let step = reader.varint()?;
        let step = u32::try_from(step).map_err(|_| reader.malformed("step number over 32 bits"))?;
        if steps.last().is_some_and(|before| before.step >= step) {
            return Err(reader.malformed("steps of a transaction do not ascend"));
        }
        let database = read_database(reader)?;
        steps.push(Step { step, database, command: read(reader)? });
    }
    Ok(steps)
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

    /// The encoding before transactions held only their writes.
    #[test]
    fn an_old_transaction_is_read_without_its_queries() {
        let pool = pool();
        for seed in 0..500 {
            let mut random = Random::new(seed);
            let commands: Vec<(u32, Data<'_>)> =
                (0..random.below(5)).map(|n| (n as u32 % 2, random_data(&mut random, &pool))).collect();
            let watched = vec![Watched { database: 1, key: b"w", version: KeyVersion(seed) }];
            let mut old = Vec::new();
            let mut writer = Writer::new(&mut old);
            writer.u8(2);
            writer.varint(1);
            writer.varint(1);
            writer.bytes(b"w");
            writer.varint(seed);
            writer.varint(commands.len() as u64);
            for (database, data) in &commands {
                writer.varint(u64::from(*database));
                write_data(&mut writer, data);
            }
            let (transaction, queries) = Transaction::of_commands(watched, commands.clone());
            assert_eq!(decode_op(&mut Reader::new(&old)), Ok(Op::Transaction(transaction.clone())));
            let mut together: Vec<(u32, u32, Data<'_>)> = transaction
                .writes
                .into_iter()
                .map(|it| (it.step, it.database, Data::Write(it.command)))
                .chain(queries.iter().cloned().map(|it| (it.step, it.database, Data::Query(it.command))))
                .collect();
            together.sort_by_key(|it| it.0);
            let given = (0..).zip(commands).map(|(step, (database, data))| (step, database, data));
            assert!(together.into_iter().eq(given), "each command has its step");
            let mut out = Vec::new();
            encode_queries(&queries, &mut out);
            assert_eq!(decode_queries(&mut Reader::new(&out)), Ok(queries));
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
