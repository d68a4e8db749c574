//! Submissions and notices in owned form, for transfer to another thread in batches.
//!
//! Commands on keys are encoded as in the log, all commands of a batch into one buffer; other submissions are
//! plain values.

use crate::base::wire::Reader;
use crate::engine::submission::{Notice, Position, Question, Work};
use crate::model::log::PartitionId;
use crate::model::request::RequestId;
use crate::state::op::{Op, codec};

/// Orders of a frontend, in order.
#[derive(Debug, Default)]
pub struct Batch {
    parcels: Vec<Parcel>,
    /// The encoded commands of the parcels, one after the other.
    bytes: Vec<u8>,
    /// Bytes of keys outside `bytes`.
    key_bytes: usize,
}

/// An order of a frontend to its engine.
#[derive(Debug)]
pub enum Order<'a> {
    Work(RequestId, Work<'a>),
    Notice(Notice),
    /// The last order.
    Stop,
}

#[derive(Debug)]
enum Parcel {
    Work {
        request: RequestId,
        kind: Kind,
        /// The end of its bytes; they begin at the end of the previous parcel's.
        end: usize,
    },
    Notice(Notice),
    Stop,
}

/// [`Work`] without its encoded part.
#[derive(Debug)]
enum Kind {
    Data { partition: PartitionId, database: u32, position: Position },
    Everywhere { database: u32 },
    PerStream { database: u32 },
    Blocking { database: u32, timeout_ms: u64 },
    Transaction { partition: PartitionId },
    Pass { partition: PartitionId },
    Fill { database: u32 },
    Question(Question<'static>),
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.parcels.is_empty()
    }

    /// Bytes of memory.
    pub fn memory(&self) -> usize {
        self.parcels.len() * size_of::<Parcel>() + self.bytes.len() + self.key_bytes
    }

    pub fn push(&mut self, order: Order<'_>) {
        let parcel = match order {
            Order::Work(request, work) => {
                let kind = self.pack(work);
                Parcel::Work { request, kind, end: self.bytes.len() }
            }
            Order::Notice(notice) => Parcel::Notice(notice),
            Order::Stop => Parcel::Stop,
        };
        self.parcels.push(parcel);
    }

    fn pack(&mut self, work: Work<'_>) -> Kind {
        let out = &mut self.bytes;
        match work {
            Work::Data { partition, database, data, position } => {
                codec::encode_data(data, out);
                Kind::Data { partition, database, position }
            }
            Work::Everywhere { database, data } => {
                codec::encode_data(data, out);
                Kind::Everywhere { database }
            }
            Work::PerStream { database, data } => {
                codec::encode_data(data, out);
                Kind::PerStream { database }
            }
            Work::Blocking { database, read, timeout_ms } => {
                codec::encode_data(read, out);
                Kind::Blocking { database, timeout_ms }
            }
            Work::Transaction { partition, transaction, queries } => {
                codec::encode_op(&Op::Transaction(transaction), out);
                codec::encode_queries(&queries, out);
                Kind::Transaction { partition }
            }
            Work::Pass { partition } => Kind::Pass { partition },
            Work::Fill { database, writes } => {
                writes.iter().for_each(|write| codec::encode_write(database, write, out));
                Kind::Fill { database }
            }
            Work::Question(question) => {
                self.key_bytes += question.key_bytes();
                Kind::Question(question.into_owned())
            }
        }
    }

    /// Passes on the orders one by one.
    pub fn open(self, mut take: impl FnMut(Order<'_>)) {
        let mut begin = 0;
        for parcel in self.parcels {
            match parcel {
                Parcel::Work { request, kind, end } => {
                    unpack(kind, &self.bytes[begin..end], |work| take(Order::Work(request, work)));
                    begin = end;
                }
                Parcel::Notice(notice) => take(Order::Notice(notice)),
                Parcel::Stop => take(Order::Stop),
            }
        }
    }

    /// Its requests, for failing them without execution.
    pub fn requests(&self) -> impl Iterator<Item = RequestId> + '_ {
        self.parcels.iter().filter_map(|parcel| match parcel {
            Parcel::Work { request, .. } => Some(*request),
            _ => None,
        })
    }
}

fn unpack(kind: Kind, bytes: &[u8], take: impl FnOnce(Work<'_>)) {
    let decode = || codec::decode_data(bytes).expect("the command was encoded by this process");
    match kind {
        Kind::Data { partition, database, position } => {
            take(Work::Data { partition, database, data: &decode(), position });
        }
        Kind::Everywhere { database } => take(Work::Everywhere { database, data: &decode() }),
        Kind::PerStream { database } => take(Work::PerStream { database, data: &decode() }),
        Kind::Blocking { database, timeout_ms } => {
            take(Work::Blocking { database, read: &decode(), timeout_ms });
        }
        Kind::Transaction { partition } => {
            let mut reader = Reader::new(bytes);
            let op = codec::decode_op(&mut reader).expect("the op was encoded by this process");
            let Op::Transaction(transaction) = op else { panic!("{op:?} is no transaction") };
            let queries = codec::decode_queries(&mut reader).expect("so were the queries");
            take(Work::Transaction { partition, transaction, queries });
        }
        Kind::Pass { partition } => take(Work::Pass { partition }),
        Kind::Fill { database } => {
            let mut reader = Reader::new(bytes);
            let mut writes = Vec::new();
            while !reader.is_empty() {
                let op = codec::decode_op(&mut reader).expect("the write was encoded by this process");
                let Op::Write { write, .. } = op else { panic!("{op:?} is no write") };
                writes.push(write);
            }
            take(Work::Fill { database, writes });
        }
        Kind::Question(question) => take(Work::Question(question)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::value::Data;
    use crate::model::request::ConnectionId;
    use crate::state::keyspace::KeyVersion;
    use crate::state::op::random::{pool, random_query, random_write};
    use crate::state::op::{Transaction, Watched};
    use crate::state::testing::Random;
    use std::borrow::Cow;

    fn request(reply_slot: u64) -> RequestId {
        RequestId { connection: ConnectionId { number: 1, place: 0 }, reply_slot }
    }

    fn random_batch(seed: u64) -> (Batch, u64) {
        let pool = pool();
        let mut random = Random::new(seed);
        let mut batch = Batch::default();
        let number = random.below(20);
        for slot in 0..number {
            let partition = PartitionId(random.below(4) as u16);
            let database = random.below(3) as u32;
            let data = if random.flag() {
                Data::Write(random_write(&mut random, &pool))
            } else {
                Data::Query(random_query(&mut random, &pool))
            };
            let position = if random.flag() { Position::First } else { Position::Behind };
            let work = match random.below(8) {
                0 => Work::Everywhere { database, data: &data },
                1 => Work::PerStream { database, data: &data },
                2 => Work::Blocking { database, read: &data, timeout_ms: seed },
                3 => {
                    let watched = vec![Watched { database, key: b"w", version: KeyVersion(seed) }];
                    let commands = [(database, data.clone()), (0, data.clone())];
                    let (transaction, queries) = Transaction::of_commands(watched, commands);
                    Work::Transaction { partition, transaction, queries }
                }
                4 => Work::Pass { partition },
                5 => {
                    let writes = (0..random.below(3)).map(|_| random_write(&mut random, &pool));
                    Work::Fill { database, writes: writes.collect() }
                }
                6 => Work::Question(Question::Versions(vec![(database, Cow::Borrowed(b"key"))])),
                _ => Work::Data { partition, database, data: &data, position },
            };
            batch.push(Order::Work(request(slot), work));
            if random.one_in(5) {
                batch.push(Order::Notice(Notice::Paused(random.flag())));
            }
        }
        batch.push(Order::Stop);
        (batch, number)
    }

    #[test]
    fn what_is_packed_comes_out_in_its_order() {
        for seed in 0..500 {
            let (batch, number) = random_batch(seed);
            assert!(batch.requests().eq((0..number).map(request)));
            let shown = format!("{batch:?}");
            let memory = batch.memory();
            let mut again = Batch::default();
            batch.open(|order| again.push(order));
            assert_eq!(format!("{again:?}"), shown);
            assert_eq!(again.memory(), memory);
        }
    }

    #[test]
    fn a_command_is_the_same_on_the_other_side() {
        let pool = pool();
        for seed in 0..500 {
            let data = Data::Write(random_write(&mut Random::new(seed), &pool));
            let mut batch = Batch::default();
            batch.push(Order::Work(request(seed), Work::PerStream { database: 7, data: &data }));
            let mut came = 0;
            batch.open(|order| match order {
                Order::Work(id, Work::PerStream { database: 7, data: other }) => {
                    assert_eq!((id, other), (request(seed), &data));
                    came += 1;
                }
                other => panic!("{other:?}"),
            });
            assert_eq!(came, 1);
        }
    }
}
