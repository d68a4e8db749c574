//! Commands as typed values, borrowed from their request or log record.

pub mod acl;
pub mod connection;
pub mod group;
pub mod key;
pub mod key_scope;
pub mod refusal;
pub mod server;
pub mod stream;
pub mod string;

use crate::command::value::connection::ConnectionCommand;
use crate::command::value::group::{AutoClaim, Claim, GroupChange, GroupRead, PendingQuery};
use crate::command::value::key::{KeyQuery, KeyWrite};
use crate::command::value::refusal::Refusal;
use crate::command::value::server::ServerCommand;
use crate::command::value::stream::{Add, StreamQuery, StreamWrite};
use crate::command::value::string::{StringQuery, StringWrite};
use crate::model::args::ArgList;

/// A client's command: complete, and valid as far as this does not depend on state.
#[derive(Debug, Clone, PartialEq)]
pub enum Command<'a> {
    /// On the keys of a partition.
    Data(Data<'a>),
    /// XREAD or XREADGROUP with BLOCK: the read, and its timeout in milliseconds (0: none) if it finds
    /// nothing.
    Blocking {
        read: Data<'a>,
        timeout_ms: u64,
    },
    PubSub(PubSubCommand<'a>),
    Transaction(TransactionCommand<'a>),
    Connection(ConnectionCommand<'a>),
    Server(ServerCommand<'a>),
}

/// A command on the keys of a partition.
#[derive(Debug, Clone, PartialEq)]
pub enum Data<'a> {
    /// May change state, so it goes through the log.
    Write(Write<'a>),
    /// Reads applied state.
    Query(Query<'a>),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Write<'a> {
    /// XADD, apart from [`StreamWrite`] because this server exists for it.
    Add(Add<'a>),
    Stream(StreamWrite<'a>),
    GroupRead(GroupRead<'a>),
    GroupChange(GroupChange<'a>),
    Claim(Claim<'a>),
    AutoClaim(AutoClaim<'a>),
    Key(KeyWrite<'a>),
    String(StringWrite<'a>),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Query<'a> {
    Stream(StreamQuery<'a>),
    Pending(PendingQuery<'a>),
    Key(KeyQuery<'a>),
    String(StringQuery<'a>),
    /// Operations of any command.
    Refused(Refusal<'a>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PubSubCommand<'a> {
    Subscribe { channels: ArgList<'a> },
    Unsubscribe { channels: ArgList<'a> },
    PatternSubscribe { patterns: ArgList<'a> },
    PatternUnsubscribe { patterns: ArgList<'a> },
    ShardSubscribe { channels: ArgList<'a> },
    ShardUnsubscribe { channels: ArgList<'a> },
    Publish { channel: &'a [u8], message: &'a [u8] },
    ShardPublish { channel: &'a [u8], message: &'a [u8] },
    Channels { pattern: Option<&'a [u8]> },
    NumSub { channels: ArgList<'a> },
    NumPat,
    ShardChannels { pattern: Option<&'a [u8]> },
    ShardNumSub { channels: ArgList<'a> },
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TransactionCommand<'a> {
    Multi,
    Exec,
    Discard,
    Watch { keys: ArgList<'a> },
    Unwatch,
}
