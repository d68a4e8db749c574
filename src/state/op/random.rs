//! Random ops from a seed: for the codec, for determinism, for comparison with the model.

use crate::command::value::group::*;
use crate::command::value::key::*;
use crate::command::value::refusal::{Look, Refusal};
use crate::command::value::stream::*;
use crate::command::value::string::*;
use crate::command::value::{Data, Query, Write};
use crate::model::args::{ArgList, OwnedArgs};
use crate::model::entry_id::EntryId;
use crate::model::reply::ReplyError;
use crate::model::reply_size::SizeRule;
use crate::state::keyspace::KeyVersion;
use crate::state::op::{Op, Transaction, Watched};
use crate::state::testing::Random;

const PAYLOAD_STREAM: &[u8] =
    b"\x13\x01\x10\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01&&\x00\x00\x00\x0f\x00\
    \x02\x01\x00\x01\x01\x01\x81a\x02\x00\x01\x02\x01\x00\x01\x00\x01\x01\x01\x04\x01\x02\x01\x00\x01\
    \x01\x01\x02\x01\x04\x01\xff\x02\x01\x02\x01\x01\x00\x00\x02\x01\x02g1\x01\x01\x01\x01\x00\x00\x00\
    \x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01+t\xec\x19\xa2\x01\x00\x00\x01\x01\x02c1+t\xec\
    \x19\xa2\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x0a\x00\x9e\
    \xede\xaf\xe3|\x05\xdc";

/// Owned data that random ops borrow.
pub struct Pool {
    keys: Vec<&'static [u8]>,
    names: Vec<&'static [u8]>,
    values: Vec<&'static [u8]>,
    pairs: Vec<OwnedArgs>,
    lists: Vec<OwnedArgs>,
    payloads: Vec<&'static [u8]>,
}

pub fn pool() -> Pool {
    let args = |list: &[&'static [u8]]| list.iter().copied().collect::<OwnedArgs>();
    Pool {
        keys: vec![b"a", b"b", b"c", b"d", b"str"],
        names: vec![b"g1", b"g2", b"c1", b"c2", b"c3"],
        values: vec![
            b"",
            b"1",
            b"41",
            b"10.5",
            b"text",
            b"-9",
            b"a longer text than the forty-four bytes of embstr",
        ],
        pairs: vec![
            args(&[b"a", b"1"]),
            args(&[b"a", b"1", b"b", b"2"]),
            args(&[b"b", b"", b"a", b"xyz"]),
            args(&[b"str", b"12", b"d", &[7; 300]]),
        ],
        payloads: vec![
            b"not a payload",
            b"\x00\x05hello\x0a\x00cr\xdfve4 \x0a",
            // A stream of Redis 7.0: two entries, one group, one consumer, one pending entry.
            PAYLOAD_STREAM,
        ],
        lists: vec![args(&[b"a"]), args(&[b"a", b"b", b"a"]), args(&[b"str", b"d"])],
    }
}

/// A small id, so that ids collide.
pub fn small_id(random: &mut Random) -> EntryId {
    match random.below(20) {
        0 => EntryId::MIN,
        1 => EntryId::MAX,
        _ => EntryId::new(random.below(60), random.below(4)),
    }
}

fn ids(random: &mut Random) -> Vec<EntryId> {
    (0..=random.below(4)).map(|_| small_id(random)).collect()
}

fn trim(random: &mut Random) -> Trim {
    let until = if random.flag() {
        TrimUntil::MaxLength(random.below(30))
    } else {
        TrimUntil::MinId(small_id(random))
    };
    let exactness = if random.flag() {
        Exactness::Exact
    } else {
        Exactness::WholeNodes { limit: random.option(|random| random.below(20)) }
    };
    Trim { until, exactness, references: references(random) }
}

fn references(random: &mut Random) -> References {
    *random.pick(&[
        References::Keep,
        References::Keep,
        References::Keep,
        References::Delete,
        References::OnlyUnreferenced,
    ])
}

fn limits(random: &mut Random) -> ReadLimits {
    let max_size = |random: &mut Random| MaxSize {
        bytes: 1 + random.below(200),
        rule: *random.pick(&[SizeRule::Resp2V1, SizeRule::Resp3V1]),
    };
    ReadLimits {
        count: random.option(|random| 1 + random.below(5)),
        max_count: if random.one_in(4) { Some(1 + random.below(8)) } else { None },
        max_size: if random.one_in(4) { Some(max_size(random)) } else { None },
    }
}

fn deadline(random: &mut Random) -> Deadline {
    let ms = random.below(300) as i64 - 20;
    if random.flag() { Deadline::InMs(ms) } else { Deadline::AtMs(1000 + 5 * ms) }
}

fn expiry(random: &mut Random) -> Expiry {
    match random.below(4) {
        0 | 1 => Expiry::None,
        2 => Expiry::Keep,
        _ => Expiry::At(deadline(random)),
    }
}

pub fn random_write<'a>(random: &mut Random, pool: &'a Pool) -> Write<'a> {
    let key = *random.pick(&pool.keys);
    let group = pool.names[random.below(2) as usize];
    let consumer = pool.names[2 + random.below(3) as usize];
    let value = *random.pick(&pool.values);
    match random.below(36) {
        34 => Write::Stream(StreamWrite::Configure {
            key,
            duration_s: random.option(|random| 1 + random.below(3) as u32),
            ids: random.option(|random| 1 + random.below(4) as u32),
        }),
        35 => Write::Stream(StreamWrite::RecordId {
            key,
            producer: group,
            id: consumer,
            entry: small_id(random),
        }),
        0..=9 => Write::Add(Add {
            key,
            make_stream: !random.one_in(5),
            id: match random.below(4) {
                0 => NewId::Explicit(small_id(random)),
                1 => NewId::AutoSequence { ms: random.below(60) },
                _ => NewId::Auto,
            },
            trim: if random.one_in(4) { Some(trim(random)) } else { None },
            idempotency: match random.below(6) {
                0 => Some(Idempotency::Given { producer: group, id: consumer }),
                1 => Some(Idempotency::OfContent { producer: group, id: [random.below(3) as u8; 16] }),
                _ => None,
            },
            fields: ArgList::Args(random.pick(&pool.pairs).as_args()),
        }),
        10 => Write::Stream(StreamWrite::Trim { key, trim: trim(random) }),
        11 if random.flag() => {
            Write::Stream(StreamWrite::DeleteEach { key, references: references(random), ids: ids(random) })
        }
        11 => Write::Stream(StreamWrite::Delete { key, ids: ids(random) }),
        12 => Write::Stream(StreamWrite::SetId {
            key,
            last_id: small_id(random),
            counters: random.option(|random| SetIdCounters {
                entries_added: random.option(|random| random.below(100)),
                max_deleted_id: small_id(random),
            }),
        }),
        13..=16 => Write::GroupRead(GroupRead {
            group,
            consumer,
            limits: limits(random),
            claim: if random.one_in(3) { Some(random.below(60)) } else { None },
            no_ack: random.one_in(4),
            streams: (0..=random.below(2))
                .map(|_| {
                    let from = match random.below(8) {
                        0 => GroupReadFrom::Refused(*random.pick(b"$+")),
                        1 | 2 => GroupReadFrom::History(small_id(random)),
                        _ => GroupReadFrom::New,
                    };
                    (*random.pick(&pool.keys), from)
                })
                .collect(),
        }),
        17 if random.flag() => Write::GroupChange(GroupChange::NegativeAcknowledge {
            key,
            group,
            mode: *random.pick(&[NackMode::Silent, NackMode::Fail, NackMode::Fatal]),
            ids: ids(random),
            retry_count: random.option(|random| random.u64() >> random.below(64)),
            force: random.flag(),
        }),
        17 if random.flag() => Write::GroupChange(GroupChange::AcknowledgeAndDelete {
            key,
            group,
            references: references(random),
            ids: ids(random),
        }),
        17 => Write::GroupChange(GroupChange::Acknowledge { key, group, ids: ids(random) }),
        18 | 19 => Write::GroupChange(GroupChange::Create {
            key,
            group,
            from: if random.flag() { GroupStart::Last } else { GroupStart::Id(small_id(random)) },
            make_stream: random.flag(),
            entries_read: random.option(|random| random.below(50)),
        }),
        20 => Write::GroupChange(match random.below(4) {
            0 => GroupChange::SetId {
                key,
                group,
                from: GroupStart::Id(small_id(random)),
                entries_read: random.option(|random| random.below(50)),
            },
            1 => GroupChange::Destroy { key, group },
            2 => GroupChange::CreateConsumer { key, group, consumer },
            _ => GroupChange::DeleteConsumer { key, group, consumer },
        }),
        21 | 22 => Write::Claim(Claim {
            key,
            group,
            consumer,
            min_idle_ms: random.below(50),
            ids: ids(random),
            delivered: match random.below(3) {
                0 => DeliveredAt::Now,
                1 => DeliveredAt::IdleMs(random.below(100) as i64 - 10),
                _ => DeliveredAt::TimeMs(random.below(4000) as i64 - 10),
            },
            retry_count: random.option(|random| random.below(9)),
            force: random.flag(),
            just_id: random.flag(),
            last_id: if random.one_in(4) { Some(small_id(random)) } else { None },
        }),
        23 => Write::AutoClaim(AutoClaim {
            key,
            group,
            consumer,
            min_idle_ms: random.below(50),
            start: small_id(random),
            count: 1 + random.below(4),
            just_id: random.flag(),
        }),
        24 => Write::Key(KeyWrite::Delete { keys: ArgList::Args(random.pick(&pool.lists).as_args()) }),
        25 => Write::Key(KeyWrite::Expire {
            key,
            at: deadline(random),
            condition: ExpireCondition {
                only_without: random.one_in(4),
                only_with: random.one_in(4),
                only_later: random.one_in(4),
                only_earlier: random.one_in(4),
            },
        }),
        26 => Write::Key(match random.below(10) {
            7 => KeyWrite::Move { key, database: random.below(2) as u32 },
            8 if random.one_in(3) => KeyWrite::SwapDatabases { first: 0, second: random.below(2) as u32 },
            8 => KeyWrite::Restore {
                key,
                payload: random.pick::<&[u8]>(&pool.payloads),
                expires: random.option(deadline),
                replace: random.flag(),
            },
            5 => KeyWrite::SetIdempotencyLimits {
                duration_s: 1 + random.below(3) as u32,
                ids: 1 + random.below(5) as u32,
            },
            6 => KeyWrite::ForgetIds { limit: random.below(4) as u32 },
            9 => KeyWrite::DeleteIfDue { key },
            0 => KeyWrite::Persist { key },
            1 => KeyWrite::Rename {
                from: key,
                to: random.pick::<&[u8]>(&pool.keys),
                only_if_absent: random.flag(),
            },
            2 => KeyWrite::DeleteExpired { limit: random.below(4) as u32 },
            3 => KeyWrite::SetStreamNodeLimits {
                entries: random.below(12) as u32,
                bytes: *random.pick(&[0, 200, 4096]),
            },
            _ if random.one_in(4) => *random.pick(&[KeyWrite::FlushDatabase, KeyWrite::FlushAll]),
            _ => KeyWrite::Persist { key },
        }),
        27 => Write::Key(KeyWrite::Copy {
            from: key,
            to: random.pick::<&[u8]>(&pool.keys),
            database: random.option(|random| random.below(2) as u32),
            replace: random.flag(),
        }),
        28 => Write::String(StringWrite::Set(Set {
            key,
            value,
            condition: *random.pick(&[SetCondition::Always, SetCondition::IfAbsent, SetCondition::IfPresent]),
            get: random.flag(),
            expiry: expiry(random),
        })),
        29 => Write::String(match random.below(4) {
            0 => StringWrite::SetIfAbsent { key, value },
            1 => StringWrite::GetDelete { key },
            2 => StringWrite::GetExpire { key, expiry: expiry(random) },
            _ => StringWrite::Append { key, value },
        }),
        30 => Write::String(StringWrite::SetMany { pairs: ArgList::Args(pool.pairs[1].as_args()) }),
        31 => Write::String(StringWrite::SetManyIfAbsent {
            pairs: ArgList::Args(random.pick(&pool.pairs).as_args()),
        }),
        32 => {
            Write::String(StringWrite::Increment { key: b"str", by: random.u64() as i64 >> random.below(64) })
        }
        _ => Write::String(StringWrite::IncrementFloat { key: b"str", by: b"0.25" }),
    }
}

pub fn random_query<'a>(random: &mut Random, pool: &'a Pool) -> Query<'a> {
    let key = *random.pick(&pool.keys);
    let group = pool.names[random.below(2) as usize];
    let list = ArgList::Args(random.pick(&pool.lists).as_args());
    match random.below(21) {
        0 => Query::Stream(StreamQuery::Length { key }),
        1..=4 => Query::Stream(StreamQuery::Range(Range {
            key,
            start: small_id(random),
            end: small_id(random),
            count: random.option(|random| random.below(6)),
            reverse: random.flag(),
        })),
        5 => Query::Stream(StreamQuery::Read(Read {
            skips_others: random.flag(),
            limits: limits(random),
            streams: vec![
                (key, ReadFrom::After(small_id(random))),
                (
                    *random.pick(&pool.keys),
                    *random.pick(&[ReadFrom::New, ReadFrom::Last, ReadFrom::Refused(0)]),
                ),
            ],
        })),
        6 => Query::Stream(StreamQuery::Info { key, full: random.option(|random| random.below(4)) }),
        7 => Query::Stream(StreamQuery::Groups { key }),
        8 => Query::Stream(StreamQuery::Consumers { key, group }),
        9 | 10 => Query::Pending(PendingQuery {
            key,
            group,
            range: random.option(|random| PendingRange {
                min_idle_ms: random.below(20),
                start: small_id(random),
                end: small_id(random),
                count: random.below(9),
                consumer: random.option(|random| pool.names[2 + random.below(3) as usize]),
            }),
        }),
        11 => Query::Key(KeyQuery::Exists { keys: list }),
        12 => Query::Key(KeyQuery::Touch { keys: list }),
        13 => Query::Key(KeyQuery::Type { key }),
        14 => Query::Key(KeyQuery::TimeToLive {
            key,
            unit: *random.pick(&[TimeUnit::Seconds, TimeUnit::Milliseconds]),
            absolute: random.flag(),
        }),
        15 => Query::Key(match random.below(4) {
            2 => KeyQuery::Dump { key, rdb_version: 9 + random.below(6) as u16 },
            0 => KeyQuery::Random { chance: random.u64() },
            1 => KeyQuery::Matching { pattern: b"*" },
            _ => KeyQuery::Count,
        }),
        16 => Query::Key(KeyQuery::Scan(Scan {
            cursor: random.below(5),
            pattern: random.option(|_| &b"*"[..]),
            count: 1 + random.below(4),
            of_type: random.option(|_| &b"stream"[..]),
        })),
        17 => Query::Key(KeyQuery::Object {
            key,
            aspect: *random.pick(&[
                ObjectAspect::Encoding,
                ObjectAspect::ReferenceCount,
                ObjectAspect::IdleTime,
                ObjectAspect::Frequency,
            ]),
        }),
        18 => Query::String(StringQuery::Get { key }),
        19 => Query::Refused(Refusal { key, look: look(random, group), error: ReplyError::SYNTAX }),
        _ => Query::String(if random.flag() {
            StringQuery::GetMany { keys: list }
        } else {
            StringQuery::Length { key }
        }),
    }
}

fn look<'a>(random: &mut Random, group: &'a [u8]) -> Look<'a> {
    *random.pick(&[
        Look::Stream,
        Look::StreamOrZero,
        Look::GroupOrZero { group },
        Look::Group { group },
        Look::ParentOfGroup { make_stream: true },
        Look::ParentOfGroup { make_stream: false },
        Look::GroupOfStream { group },
        Look::Text,
        Look::TextOrNil,
        Look::Vacant,
    ])
}

pub fn random_op<'a>(random: &mut Random, pool: &'a Pool) -> Op<'a> {
    let database = u32::from(random.one_in(6));
    if !random.one_in(12) {
        return Op::Write { database, write: random_write(random, pool) };
    }
    let watched = (0..random.below(2))
        .map(|_| Watched {
            database,
            key: random.pick::<&[u8]>(&pool.keys),
            version: KeyVersion(random.below(2)),
        })
        .collect();
    let commands: Vec<(u32, Data<'_>)> = (0..random.below(4))
        .map(|_| {
            let data = if random.flag() {
                Data::Write(random_write(random, pool))
            } else {
                Data::Query(random_query(random, pool))
            };
            (database, data)
        })
        .collect();
    Op::Transaction(Transaction::of_commands(watched, commands).0)
}
