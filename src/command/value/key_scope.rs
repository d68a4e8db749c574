//! The keys that a command uses, and commands that use more than single keys.

use crate::command::value::group::{GroupChange, GroupReadFrom};
use crate::command::value::key::{KeyQuery, KeyWrite};
use crate::command::value::server::{DebugCommand, ServerCommand};
use crate::command::value::stream::{ReadFrom, StreamQuery, StreamWrite};
use crate::command::value::string::{Set, StringQuery, StringWrite};
use crate::command::value::{Command, Data, Query, TransactionCommand, Write};
use crate::model::args::ArgIter;

/// The part of the keyspace that a command concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyScope {
    /// The named keys: the command goes to their partition.
    Keys,
    /// The whole database, or all: the command goes to every partition.
    Everywhere,
}

/// Iterates over the keys of a command in request order, without allocating.
#[derive(Debug, Clone)]
pub enum Keys<'a> {
    /// At most two keys.
    Few([Option<&'a [u8]>; 2]),
    All(ArgIter<'a>),
    /// Alternating keys and values.
    Pairs(ArgIter<'a>),
    Read(std::slice::Iter<'a, (&'a [u8], ReadFrom)>),
    GroupRead(std::slice::Iter<'a, (&'a [u8], GroupReadFrom)>),
}

impl<'a> Keys<'a> {
    const NONE: Keys<'static> = Keys::Few([None, None]);

    fn one(key: &'a [u8]) -> Self {
        Keys::Few([Some(key), None])
    }
}

impl<'a> Iterator for Keys<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        match self {
            Keys::Few(keys) => {
                let key = keys[0].take();
                keys.swap(0, 1);
                key
            }
            Keys::All(keys) => keys.next(),
            Keys::Pairs(pairs) => {
                let key = pairs.next();
                pairs.next();
                key
            }
            Keys::Read(streams) => streams.next().map(|(key, _)| *key),
            Keys::GroupRead(streams) => streams.next().map(|(key, _)| *key),
        }
    }
}

impl Command<'_> {
    /// Every key that the command names, including those of WATCH and MEMORY USAGE; shard channels are not
    /// keys.
    pub fn keys(&self) -> Keys<'_> {
        match self {
            Command::Data(data) | Command::Blocking { read: data, .. } => data.keys(),
            Command::Transaction(TransactionCommand::Watch { keys }) => Keys::All(keys.iter()),
            Command::Server(ServerCommand::MemoryUsage { key, .. }) => Keys::one(key),
            Command::Server(ServerCommand::Debug(DebugCommand::Object { key })) => Keys::one(key),
            Command::Server(ServerCommand::Debug(DebugCommand::DigestValue { keys })) => {
                Keys::All(keys.iter())
            }
            Command::PubSub(_) | Command::Transaction(_) | Command::Connection(_) | Command::Server(_) => {
                Keys::NONE
            }
        }
    }
}

impl Data<'_> {
    /// The keys that the command names, in request order, with repetitions.
    pub fn keys(&self) -> Keys<'_> {
        match self {
            Data::Write(write) => write.keys(),
            Data::Query(query) => query.keys(),
        }
    }

    pub fn key_scope(&self) -> KeyScope {
        match self {
            Data::Write(write) => write.key_scope(),
            Data::Query(query) => query.key_scope(),
        }
    }
}

impl Write<'_> {
    /// Like [`Query::keys_read`], for the writes that begin with a lookup for reading (`lookupKeyRead`, Redis
    /// 7.2).
    pub fn keys_read(&self) -> Keys<'_> {
        match self {
            Write::GroupRead(_)
            | Write::Claim(_)
            | Write::AutoClaim(_)
            | Write::GroupChange(GroupChange::Acknowledge { .. })
            | Write::String(
                StringWrite::GetDelete { .. }
                | StringWrite::GetExpire { .. }
                | StringWrite::Set(Set { get: true, .. }),
            ) => self.keys(),
            Write::Key(KeyWrite::Copy { from, .. }) => Keys::one(from),
            _ => Keys::NONE,
        }
    }

    pub fn keys(&self) -> Keys<'_> {
        match self {
            Write::Add(add) => Keys::one(add.key),
            Write::Stream(
                StreamWrite::Trim { key, .. }
                | StreamWrite::Delete { key, .. }
                | StreamWrite::DeleteEach { key, .. }
                | StreamWrite::SetId { key, .. }
                | StreamWrite::Configure { key, .. }
                | StreamWrite::RecordId { key, .. },
            ) => Keys::one(key),
            Write::GroupRead(read) => Keys::GroupRead(read.streams.iter()),
            Write::GroupChange(
                GroupChange::Acknowledge { key, .. }
                | GroupChange::AcknowledgeAndDelete { key, .. }
                | GroupChange::NegativeAcknowledge { key, .. }
                | GroupChange::Create { key, .. }
                | GroupChange::SetId { key, .. }
                | GroupChange::Destroy { key, .. }
                | GroupChange::CreateConsumer { key, .. }
                | GroupChange::DeleteConsumer { key, .. },
            ) => Keys::one(key),
            Write::Claim(claim) => Keys::one(claim.key),
            Write::AutoClaim(claim) => Keys::one(claim.key),
            Write::Key(write) => match write {
                KeyWrite::Delete { keys } => Keys::All(keys.iter()),
                KeyWrite::Expire { key, .. } | KeyWrite::Persist { key } | KeyWrite::DeleteIfDue { key } => {
                    Keys::one(key)
                }
                KeyWrite::Move { key, .. } | KeyWrite::Restore { key, .. } => Keys::one(key),
                KeyWrite::Rename { from, to, .. } | KeyWrite::Copy { from, to, .. } => {
                    Keys::Few([Some(from), Some(to)])
                }
                KeyWrite::FlushDatabase
                | KeyWrite::FlushAll
                | KeyWrite::SwapDatabases { .. }
                | KeyWrite::DeleteExpired { .. }
                | KeyWrite::SetStreamNodeLimits { .. }
                | KeyWrite::SetIdempotencyLimits { .. }
                | KeyWrite::ForgetIds { .. } => Keys::NONE,
            },
            Write::String(write) => match write {
                StringWrite::Set(set) => Keys::one(set.key),
                StringWrite::SetMany { pairs } | StringWrite::SetManyIfAbsent { pairs } => {
                    Keys::Pairs(pairs.iter())
                }
                StringWrite::SetIfAbsent { key, .. }
                | StringWrite::GetDelete { key }
                | StringWrite::GetExpire { key, .. }
                | StringWrite::Append { key, .. }
                | StringWrite::Increment { key, .. }
                | StringWrite::IncrementFloat { key, .. } => Keys::one(key),
            },
        }
    }

    pub fn key_scope(&self) -> KeyScope {
        match self {
            Write::Key(
                KeyWrite::FlushDatabase
                | KeyWrite::FlushAll
                | KeyWrite::SwapDatabases { .. }
                | KeyWrite::DeleteExpired { .. }
                | KeyWrite::SetStreamNodeLimits { .. }
                | KeyWrite::SetIdempotencyLimits { .. }
                | KeyWrite::ForgetIds { .. },
            ) => KeyScope::Everywhere,
            _ => KeyScope::Keys,
        }
    }
}

impl Query<'_> {
    /// The keys that are looked up for reading: an absent one is a miss in the sense of keyspace events.
    /// OBJECT only inspects keys.
    pub fn keys_read(&self) -> Keys<'_> {
        match self {
            Query::Refused(_) | Query::Key(KeyQuery::Object { .. }) => Keys::NONE,
            _ => self.keys(),
        }
    }

    pub fn keys(&self) -> Keys<'_> {
        match self {
            Query::Stream(query) => match query {
                StreamQuery::Length { key }
                | StreamQuery::Info { key, .. }
                | StreamQuery::Groups { key }
                | StreamQuery::Consumers { key, .. } => Keys::one(key),
                StreamQuery::Range(range) => Keys::one(range.key),
                StreamQuery::Read(read) => Keys::Read(read.streams.iter()),
            },
            Query::Pending(pending) => Keys::one(pending.key),
            Query::Refused(refusal) => Keys::one(refusal.key),
            Query::Key(query) => match query {
                KeyQuery::Exists { keys } | KeyQuery::Touch { keys } => Keys::All(keys.iter()),
                KeyQuery::Type { key }
                | KeyQuery::TimeToLive { key, .. }
                | KeyQuery::Object { key, .. }
                | KeyQuery::Dump { key, .. } => Keys::one(key),
                KeyQuery::Random { .. } | KeyQuery::Matching { .. } | KeyQuery::Scan(_) | KeyQuery::Count => {
                    Keys::NONE
                }
            },
            Query::String(query) => match query {
                StringQuery::Get { key } | StringQuery::Length { key } => Keys::one(key),
                StringQuery::GetMany { keys } => Keys::All(keys.iter()),
            },
        }
    }

    pub fn key_scope(&self) -> KeyScope {
        match self {
            Query::Key(
                KeyQuery::Random { .. } | KeyQuery::Matching { .. } | KeyQuery::Scan(_) | KeyQuery::Count,
            ) => KeyScope::Everywhere,
            _ => KeyScope::Keys,
        }
    }
}
