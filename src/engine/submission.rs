//! The values between a frontend and an engine: work goes down, outcomes come back. They borrow from neither.

use crate::command::value::server::CheckpointCommand;
use crate::command::value::{Data, Query, Write};
use crate::engine::report::Report;
use crate::model::log::PartitionId;
use crate::model::reply::ReplyError;
use crate::model::request::RequestId;
use crate::state::answer::Answer;
use crate::state::effects::Events;
use crate::state::keyspace::KeyVersion;
use crate::state::op::{Step, Transaction};
use std::borrow::Cow;

/// Work that a request submits to the engine. Borrowed from the request, so that submission on one thread
/// copies nothing.
#[derive(Debug)]
pub enum Work<'a> {
    /// A command on keys of one partition.
    Data {
        partition: PartitionId,
        database: u32,
        data: &'a Data<'a>,
        position: Position,
    },
    /// A command on all keys of a database, or of all databases.
    Everywhere {
        database: u32,
        data: &'a Data<'a>,
    },
    /// XREAD or XREADGROUP over streams of several partitions: independent reads, answered together.
    PerStream {
        database: u32,
        data: &'a Data<'a>,
    },
    /// XREAD or XREADGROUP with BLOCK: without an immediate outcome the read is blocked.
    Blocking {
        database: u32,
        read: &'a Data<'a>,
        timeout_ms: u64,
    },
    /// EXEC: the commands of the machine.
    Transaction {
        partition: PartitionId,
        transaction: Transaction<'a>,
        queries: Vec<Step<Query<'a>>>,
    },
    /// The outcome comes after everything before it was applied.
    Pass {
        partition: PartitionId,
    },
    /// Several writes without answers of their own; the outcome comes when all were applied.
    Fill {
        database: u32,
        writes: Vec<Write<'a>>,
    },
    Question(Question<'a>),
}

/// Whether requests of the same connection are in flight before this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// No request is: a query is answered at once from applied state.
    First,
    /// Some are, and this request must see their changes.
    Behind,
}

/// Questions and requests of a frontend other than commands on keys.
#[derive(Debug)]
pub enum Question<'a> {
    /// The versions of keys for WATCH, each key with its database.
    Versions(Vec<(u32, Cow<'a, [u8]>)>),
    /// The figures of INFO; with `streams` also those of single streams.
    Report { streams: bool },
    /// MEMORY USAGE.
    MemoryUsage { database: u32, key: Cow<'a, [u8]>, samples: usize },
    /// DEBUG OBJECT.
    Object { database: u32, key: Cow<'a, [u8]> },
    /// DEBUG DIGEST.
    Digest,
    /// DEBUG DIGEST-VALUE.
    DigestValues { database: u32, keys: Vec<Cow<'a, [u8]>> },
    /// DEBUG HTSTATS.
    TableStatistics { database: u32 },
    /// BGSAVE and BGREWRITEAOF, and SAVE inside a transaction: begins a checkpoint without waiting for it.
    BeginCheckpoint(CheckpointCommand),
    /// SAVE: the outcome comes when a checkpoint is written.
    Save,
    /// DEBUG RELOAD: the outcome comes when the machines were rebuilt from disk. No other work may be
    /// submitted meanwhile.
    Reload,
    /// DEBUG RELOAD inside a transaction: immediate, or refused.
    ReloadNow,
    /// WAITAOF: the outcome comes when everything written is synced, or at the timeout (0: none).
    Sync { timeout_ms: u64 },
}

impl Question<'_> {
    /// The same, with owned keys.
    pub fn into_owned(self) -> Question<'static> {
        fn own(key: Cow<'_, [u8]>) -> Cow<'static, [u8]> {
            Cow::Owned(key.into_owned())
        }
        match self {
            Question::Versions(keys) => {
                Question::Versions(keys.into_iter().map(|(database, key)| (database, own(key))).collect())
            }
            Question::MemoryUsage { database, key, samples } => {
                Question::MemoryUsage { database, key: own(key), samples }
            }
            Question::Object { database, key } => Question::Object { database, key: own(key) },
            Question::DigestValues { database, keys } => {
                Question::DigestValues { database, keys: keys.into_iter().map(own).collect() }
            }
            Question::Report { streams } => Question::Report { streams },
            Question::Digest => Question::Digest,
            Question::TableStatistics { database } => Question::TableStatistics { database },
            Question::BeginCheckpoint(command) => Question::BeginCheckpoint(command),
            Question::Save => Question::Save,
            Question::Reload => Question::Reload,
            Question::ReloadNow => Question::ReloadNow,
            Question::Sync { timeout_ms } => Question::Sync { timeout_ms },
        }
    }

    /// Bytes of its keys.
    pub fn key_bytes(&self) -> usize {
        match self {
            Question::Versions(keys) => keys.iter().map(|(_, key)| key.len() + KEY_BYTES).sum(),
            Question::DigestValues { keys, .. } => keys.iter().map(|key| key.len() + KEY_BYTES).sum(),
            Question::MemoryUsage { key, .. } | Question::Object { key, .. } => key.len(),
            _ => 0,
        }
    }
}

/// Bytes of a key in a list, besides its name.
const KEY_BYTES: usize = size_of::<(u32, Cow<'static, [u8]>)>();

/// Notices of a frontend to the engine, without an answer.
#[derive(Debug, Clone)]
pub enum Notice {
    /// The key events that the frontend wants.
    Interest(Interest),
    /// Whether the user of a blocked read has lost the permission for it: the engine refuses it when it would
    /// be served.
    Forbid { request: RequestId, forbidden: bool },
    /// Ends a blocked read without entries, unless it is in flight and finds some.
    EndWait { request: RequestId, ending: Ending },
    /// CLIENT PAUSE of writes: no key expires meanwhile.
    Paused(bool),
    /// DEBUG SET-ACTIVE-EXPIRE.
    ExpiresActively(bool),
    /// DEBUG PAUSE-CRON.
    UpkeepPaused(bool),
    /// Settings that the machines must agree on may have changed.
    StreamSettings,
    /// CONFIG RESETSTAT.
    ResetStatistics,
}

/// The key events that a frontend wants with the outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Interest {
    pub events: bool,
    /// Misses of reads, and keys that reads find due.
    pub misses: bool,
}

/// The end of a wait without entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    TimedOut,
    /// CLIENT UNBLOCK … ERROR.
    Unblocked,
    /// The client is gone.
    Disconnected,
}

/// The result of work. Outcomes of a partition come in log order.
#[derive(Debug)]
pub struct Outcome {
    /// `None`: the engine's own op; only its events matter.
    pub request: Option<RequestId>,
    pub answer: EngineAnswer,
    /// The events of the op; empty unless the frontend wants them.
    pub events: Events,
    /// Time that the engine spent on it.
    pub nanoseconds: u64,
}

impl Outcome {
    pub fn of(request: RequestId, answer: impl Into<EngineAnswer>) -> Outcome {
        Outcome { request: Some(request), answer: answer.into(), events: Events::NONE, nanoseconds: 0 }
    }
}

/// The typed content of an outcome; the frontend makes the reply from it.
#[derive(Debug)]
pub enum EngineAnswer {
    /// The answer to a command on keys, or to a transaction.
    Machine(Answer),
    /// Only the events matter; `by` is the request of the op if a client sent it.
    Events {
        by: Option<RequestId>,
    },
    /// The user of a blocked read has lost the permission for it.
    Forbidden,
    Versions(Vec<KeyVersion>),
    Report(Box<Report>),
    /// Bytes of a key and its value, if the key exists.
    Size(Option<usize>),
    Object(Option<ObjectFacts>),
    Digest(u32),
    Digests(Vec<u32>),
    Table(TableFacts),
    Checkpoint(CheckpointAnswer),
    /// Whether everything written is on disk.
    Synced(bool),
}

impl From<Answer> for EngineAnswer {
    fn from(answer: Answer) -> EngineAnswer {
        EngineAnswer::Machine(answer)
    }
}

impl From<ReplyError> for EngineAnswer {
    fn from(error: ReplyError) -> EngineAnswer {
        EngineAnswer::Machine(Answer::Refused(error))
    }
}

impl EngineAnswer {
    /// The machine's answer.
    pub fn of_machine(self) -> Answer {
        match self {
            EngineAnswer::Machine(answer) => answer,
            other => panic!("{other:?} is no answer of a machine"),
        }
    }
}

/// The facts of DEBUG OBJECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectFacts {
    pub encoding: &'static str,
    pub bytes: usize,
}

/// The facts of DEBUG HTSTATS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableFacts {
    pub keys: usize,
    pub capacity: usize,
    pub expiring: usize,
}

/// The result of BGSAVE and similar commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointAnswer {
    Started,
    /// A checkpoint is being written; another follows.
    Scheduled,
    /// A checkpoint is being written, and the command does not wait for it.
    AlreadyRunning,
}

/// Part of the write may be on disk (docs/reliability.md R4: never a definite refusal).
pub const UNKNOWN: ReplyError = ReplyError::new(
    "UNKNOWN the journal failed before this was known to be on disk; it may or may not have taken effect.",
);

/// Nothing more is acknowledged: see [`crate::base::latch`].
pub const STOPPED: ReplyError = ReplyError::new(
    "MISCONF Errors writing to the journal; the server is stopping, nothing more is accepted.",
);

/// There is no engine yet: its data is being read.
pub const LOADING: ReplyError = ReplyError::new("LOADING Redis is loading the dataset in memory");

/// The write is not in the log, and never will be.
pub const NOT_COMMITTED: ReplyError =
    ReplyError::new("NOQUORUM the partition has no leader here; the command was not executed.");
