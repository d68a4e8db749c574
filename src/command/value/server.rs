//! Commands about the server as a whole.

use crate::command::value::acl::AclCommand;
use crate::model::args::ArgList;
use crate::model::reply::Reply;

#[derive(Debug, Clone, PartialEq)]
pub enum ServerCommand<'a> {
    /// COMMAND and its sub-commands, answered from the table alone; the command room builds the reply.
    Command(CommandQuery<'a>),
    ConfigGet {
        patterns: ArgList<'a>,
    },
    /// Alternating names and values.
    ConfigSet {
        pairs: ArgList<'a>,
    },
    ConfigResetStatistics,
    ConfigRewrite,
    Info {
        sections: ArgList<'a>,
    },
    Time,
    Acl(AclCommand<'a>),
    Debug(DebugCommand<'a>),
    Shutdown {
        force: bool,
        abort: bool,
    },
    Checkpoint(CheckpointCommand),
    LastSave,
    /// WAIT: the number of replicas that have this connection's writes. `timeout_ms` 0: no timeout.
    Wait {
        replicas: i64,
        timeout_ms: u64,
    },
    WaitAof {
        local: i64,
        replicas: i64,
        timeout_ms: u64,
    },
    Role,
    MemoryUsage {
        key: &'a [u8],
        /// Parts of the value to measure; 0: all.
        samples: usize,
    },
    Memory(MemoryCommand),
    Monitor,
    SlowLog(SlowLogCommand),
    Latency(LatencyCommand<'a>),
    /// LOLWUT
    Art {
        columns: u64,
        rows: u64,
    },
    /// Commands with a fixed answer (HELP, MODULE LIST, …).
    Fixed(Reply),
}

/// Commands that request a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointCommand {
    /// SAVE: answered when the checkpoint is written.
    Save,
    /// BGSAVE. `schedule`: start after the current one, if any.
    BackgroundSave { schedule: bool },
    /// BGREWRITEAOF
    Rewrite,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryCommand {
    Stats,
    Doctor,
    /// Returns unused memory of the allocator to the system.
    Purge,
    MallocStats,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlowLogCommand {
    /// Newest entries first; `None`: all.
    Get {
        count: Option<u64>,
    },
    Len,
    Reset,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LatencyCommand<'a> {
    Latest,
    History {
        event: &'a [u8],
    },
    /// Without events: all.
    Reset {
        events: ArgList<'a>,
    },
    Graph {
        event: &'a [u8],
    },
    Doctor,
    /// Without commands: all that were called.
    Histogram {
        commands: ArgList<'a>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CommandQuery<'a> {
    All,
    Count,
    Info { names: ArgList<'a> },
    Docs { names: ArgList<'a> },
    List { filter: CommandFilter<'a> },
    GetKeys { request: ArgList<'a> },
    GetKeysAndFlags { request: ArgList<'a> },
    Help,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandFilter<'a> {
    None,
    Module(&'a [u8]),
    AclCategory(&'a [u8]),
    Pattern(&'a [u8]),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum DebugCommand<'a> {
    Sleep {
        milliseconds: u64,
    },
    SetActiveExpire {
        on: bool,
    },
    /// LOADAOF, RELOAD: drop the memory state and rebuild it from disk.
    Reload,
    Object {
        key: &'a [u8],
    },
    Digest,
    DigestValue {
        keys: ArgList<'a>,
    },
    /// PROTOCOL <type>: a sample of each reply type.
    Protocol {
        kind: &'a [u8],
    },
    Log {
        message: &'a [u8],
    },
    StringMatchLength {
        length: u64,
        pattern: &'a [u8],
    },
    /// Creates the keys `prefix:0` and so on, unless they exist.
    Populate {
        count: u64,
        prefix: &'a [u8],
        /// Bytes of each value; `None`: as many as its name takes.
        size: Option<usize>,
    },
    /// Describes the hash tables of a database.
    TableStatistics {
        database: i64,
    },
    /// Stops scheduled work.
    PauseCron {
        paused: bool,
    },
    /// Panics.
    Panic,
    /// Accepted without effect.
    Accepted,
}
