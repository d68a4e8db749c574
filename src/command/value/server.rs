//! Commands about the server as a whole.

use crate::command::value::acl::AclCommand;
use crate::model::args::ArgList;
use crate::model::reply::Reply;

#[derive(Debug, Clone, PartialEq)]
pub enum ServerCommand<'a> {
    /// COMMAND and its sub-commands, answered from the table alone: the reply is made by the parser's room.
    Command(CommandQuery<'a>),
    ConfigGet {
        patterns: ArgList<'a>,
    },
    /// Names and values in turn.
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
    /// SAVE, BGSAVE, BGREWRITEAOF: a checkpoint. Holds the status text to answer.
    Checkpoint {
        background: bool,
        answer: &'static str,
    },
    LastSave,
    /// WAIT: how many replicas have what this connection wrote. `timeout_ms` 0: for ever.
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
    },
    /// Commands with one fixed answer (HELP, MODULE LIST, LOLWUT, …).
    Fixed(Reply),
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
    /// LOADAOF, RELOAD: drop memory, rebuild from disk.
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
    /// Accepted, without effect.
    Accepted,
}
