//! The values between a frontend and an engine: work goes down, outcomes come back. Nothing here borrows from
//! either.

use crate::command::value::server::CheckpointCommand;
use crate::command::value::{Data, Write};
use crate::engine::report::Report;
use crate::model::log::PartitionId;
use crate::model::reply::{Reply, ReplyError};
use crate::model::request::RequestId;
use crate::state::answer::Answer;
use crate::state::effects::Effect;
use crate::state::keyspace::KeyVersion;
use crate::state::op::Watched;

/// What a request asks of the engine. Borrowed from the request, so that on one thread handing it over copies
/// nothing.
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
    /// XREAD or XREADGROUP with BLOCK: without an outcome at once, the read is blocked.
    Blocking {
        database: u32,
        read: &'a Data<'a>,
        timeout_ms: u64,
    },
    /// EXEC: the commands for the machine, each with its database.
    Transaction {
        partition: PartitionId,
        watched: Vec<Watched<'a>>,
        commands: Vec<(u32, Data<'a>)>,
    },
    /// The outcome comes when everything before it was applied.
    Pass {
        partition: PartitionId,
    },
    /// Several writes whose answers nobody wants; the outcome comes when all of them were applied.
    Fill {
        database: u32,
        writes: Vec<Write<'a>>,
    },
    Question(Question<'a>),
}

/// Whether requests of the same connection are in flight before this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// None is: a query is answered at once, from applied state.
    First,
    /// It must see what they do.
    Behind,
}

/// What a frontend asks of the engine besides commands on keys.
#[derive(Debug)]
pub enum Question<'a> {
    /// What WATCH remembers of keys.
    Versions(Vec<(u32, &'a [u8])>),
    /// The same of keys that are not the request's.
    OwnedVersions(Vec<(u32, Vec<u8>)>),
    /// The figures of INFO. `streams`: those of single streams too.
    Report { streams: bool },
    /// MEMORY USAGE
    MemoryUsage { database: u32, key: &'a [u8], samples: usize },
    /// DEBUG OBJECT
    Object { database: u32, key: &'a [u8] },
    /// DEBUG DIGEST
    Digest,
    /// DEBUG DIGEST-VALUE
    DigestValues { database: u32, keys: Vec<&'a [u8]> },
    /// DEBUG HTSTATS
    TableStatistics { database: u32 },
    /// BGSAVE and BGREWRITEAOF, and SAVE inside a transaction: begins, and does not wait.
    BeginCheckpoint(CheckpointCommand),
    /// SAVE: the outcome comes when a checkpoint is written.
    Save,
    /// DEBUG RELOAD: the outcome comes when the machines were rebuilt from disk. Nothing else may be
    /// submitted meanwhile.
    Reload,
    /// DEBUG RELOAD inside a transaction: now or not at all.
    ReloadNow,
    /// WAITAOF: the outcome comes when everything that is written is synced, or the time is over (0: never).
    Sync { timeout_ms: u64 },
}

/// What a frontend tells the engine, which answers nothing.
#[derive(Debug, Clone)]
pub enum Notice {
    /// Which events of keys are heard.
    Interest(Interest),
    /// Whether the user of a blocked read has lost the right to it: it is refused when it would be served.
    Forbid { request: RequestId, forbidden: bool },
    /// A blocked read ends without entries, unless it is in flight and brings some.
    EndWait { request: RequestId, ending: Ending },
    /// CLIENT PAUSE of writes: nothing expires meanwhile.
    Paused(bool),
    /// DEBUG SET-ACTIVE-EXPIRE
    ExpiresActively(bool),
    /// DEBUG PAUSE-CRON
    UpkeepPaused(bool),
    /// Settings that the machines must agree on may have changed.
    StreamSettings,
    /// CONFIG RESETSTAT
    ResetStatistics,
}

/// Which events of keys a frontend wants to hear with the outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Interest {
    pub events: bool,
    /// What reads miss, and what they find due.
    pub misses: bool,
}

/// How a wait ends without entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    TimedOut,
    /// CLIENT UNBLOCK … ERROR
    Unblocked,
    /// The client is gone.
    Disconnected,
}

/// What became of some work. Outcomes of a partition come in the order of its log.
#[derive(Debug)]
pub struct Outcome {
    /// `None`: the engine's own op, which only its events tell of.
    pub request: Option<RequestId>,
    pub answer: EngineAnswer,
    /// What the op did to keys; nothing unless a frontend wants to hear it.
    pub events: Vec<Effect>,
    /// Time that the engine spent on it.
    pub nanoseconds: u64,
}

impl Outcome {
    pub fn of(request: RequestId, answer: impl Into<EngineAnswer>) -> Outcome {
        Outcome { request: Some(request), answer: answer.into(), events: Vec::new(), nanoseconds: 0 }
    }
}

/// What an outcome says, typed: replies are made of it at the edge.
#[derive(Debug)]
pub enum EngineAnswer {
    /// Of a command on keys, or of a transaction.
    Machine(Answer),
    /// Only the events count; of the op of this request, if it was a client's.
    Events {
        by: Option<RequestId>,
    },
    /// Of a blocked read whose user has lost the right to it.
    Forbidden,
    Versions(Vec<KeyVersion>),
    Report(Box<Report>),
    /// Bytes of a key and its value, if there is such a key.
    Size(Option<usize>),
    Object(Option<ObjectFacts>),
    Digest(u32),
    Digests(Vec<u32>),
    Table(TableFacts),
    Checkpoint(CheckpointAnswer),
    /// Whether everything that was written is on disk.
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
    /// What a machine has answered.
    pub fn of_machine(self) -> Answer {
        match self {
            EngineAnswer::Machine(answer) => answer,
            other => panic!("{other:?} is no answer of a machine"),
        }
    }

    /// The reply of a command on keys, or of a transaction.
    pub fn into_reply(self) -> Reply {
        self.of_machine().into()
    }
}

/// Of DEBUG OBJECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectFacts {
    pub encoding: &'static str,
    pub bytes: usize,
}

/// Of DEBUG HTSTATS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableFacts {
    pub keys: usize,
    pub capacity: usize,
    pub expiring: usize,
}

/// Of BGSAVE and its like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointAnswer {
    Started,
    /// One is being written; another follows.
    Scheduled,
    /// One is being written, and the command does not want to wait for it.
    AlreadyRunning,
}

/// Part of it may be on disk (docs/reliability.md R4: never a definite refusal).
pub const UNKNOWN: ReplyError = ReplyError::new(
    "UNKNOWN the journal failed before this was known to be on disk; it may or may not have taken effect.",
);

/// Nothing more is acknowledged: see [`crate::base::latch`].
pub const STOPPED: ReplyError = ReplyError::new(
    "MISCONF Errors writing to the journal; the server is stopping, nothing more is accepted.",
);

/// It is not in the log, and never will be.
pub const NOT_COMMITTED: ReplyError =
    ReplyError::new("NOQUORUM the partition has no leader here; the command was not executed.");
