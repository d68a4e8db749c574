//! State kept in the reply slot of a request that waits for its outcome.

use crate::command::redact;
use crate::command::spec::Row;
use crate::command::table::TABLE;
use crate::engine::submission::EngineAnswer;
use crate::model::args::{Args, OwnedArgs};
use crate::model::reply::Reply;
use crate::model::request::RequestId;
use crate::observe::slow_log;
use crate::session::session::{Queue, WatchedKey};
use crate::state::effects::KeyEvent;
use bytes::Bytes;
use std::rc::Rc;

#[derive(Default)]
pub struct Pending {
    pub stats: RequestStats,
    /// `None`: the answer is the reply, which is usual.
    pub then: Option<Completion>,
}

impl Pending {
    pub fn with(completion: Completion) -> Pending {
        Pending { then: Some(completion), ..Pending::default() }
    }
}

/// How the outcome becomes a reply.
pub enum Completion {
    /// The answer is the reply, and CLIENT TRACKING remembers these keys.
    Tracked(Vec<Bytes>),
    /// The answer ends a blocked read.
    Blocked,
    /// Everything before the message was applied: the message is published.
    Publish(Box<Publication>),
    /// The continuation makes a reply from the answer.
    Ask(Continuation),
    /// A transaction begins, unless a watched key has changed.
    Look(Box<ExecStart>),
    /// A transaction continues.
    Exec(Box<ExecRun>),
    /// DEBUG POPULATE continues.
    Populate(Box<PopulateRun>),
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.stats.fmt(f)
    }
}

/// Makes a reply from an engine's answer.
pub type Continuation = Box<dyn FnOnce(EngineAnswer) -> Reply>;

pub struct Publication {
    pub channel: Bytes,
    pub message: Bytes,
    pub sharded: bool,
}

/// A blocked read. A connection has at most one.
pub struct BlockedRequest {
    pub request: RequestId,
    /// The command with its first argument, as far as permissions may depend on it.
    pub row: &'static Row,
    pub first_argument: Option<Bytes>,
    pub keys: Vec<Bytes>,
    /// The read, encoded as in the log.
    pub read: Vec<u8>,
    /// CLIENT TRACKING remembers the keys that it reads.
    pub is_remembered: bool,
    /// The client has closed its side: it is owed entries found at once, but no empty reply.
    pub is_leaving: bool,
    /// The engine was asked to end the wait.
    pub is_ending: bool,
}

/// Estimated bytes per key of a blocked read, besides the key's name.
const KEY_BYTES: usize = 160;

impl BlockedRequest {
    /// Estimated bytes of memory.
    pub fn bytes(&self) -> usize {
        self.read.len() + self.keys.iter().map(|key| KEY_BYTES + 2 * key.len()).sum::<usize>()
    }
}

/// An EXEC that checks its watched keys before anything else.
pub struct ExecStart {
    pub queue: Queue,
    pub watched: Vec<WatchedKey>,
}

/// The commands of an EXEC in order, and their progress.
pub struct ExecRun {
    pub requests: Rc<Vec<(&'static Row, OwnedArgs)>>,
    /// One for each unfinished request.
    pub steps: std::vec::IntoIter<ExecStep>,
    /// CLIENT TRACKING is among them.
    pub has_tracking: bool,
    pub replies: Vec<Reply>,
    /// Answers of the machine that are not yet handed out.
    pub answers: std::vec::IntoIter<Reply>,
    /// Events of the op, in order of the machine's steps.
    pub events: Vec<KeyEvent>,
    /// Commands of the machine whose answers were handed out.
    pub steps_done: u32,
    /// Time of the op, shared equally by its commands; and the total time so far.
    pub share_ns: u64,
    /// The longest time of a command so far.
    pub slowest_ns: u64,
    pub total_ns: u64,
    /// A step has asked the engine; this makes its reply from the answer.
    pub asked: Option<Continuation>,
}

/// Progress of DEBUG POPULATE.
pub struct PopulateRun {
    pub database: u32,
    pub next: u64,
    pub count: u64,
    pub prefix: Vec<u8>,
    pub size: Option<usize>,
}

pub enum ExecStep {
    /// The next reply of the transaction op. `keys`: the keys that it reads, if clients track.
    Data { keys: Vec<Bytes> },
    /// Executed after the transaction was applied: PUBLISH, CLIENT, PING and similar commands.
    Other,
    /// Executed when the transaction was submitted; or refused, so that only its own reply fails.
    Done(Reply),
}

/// What is recorded about a request that waits for its reply.
#[derive(Debug, Default)]
pub struct RequestStats {
    /// Row of the command table plus one; 0: none.
    row: u16,
    /// Number of its arguments, at most 65,535.
    args: u16,
    /// Time spent on it so far.
    pub nanoseconds: u32,
    /// Its arguments, if they are kept.
    kept: Option<Box<KeptArgs>>,
}

#[derive(Debug)]
enum KeptArgs {
    /// Unchanged, the first [`slow_log::ARGS_MAX`].
    Whole(OwnedArgs),
    /// In the form of the slow log.
    Shown(Vec<Vec<u8>>),
}

/// Arguments up to this size are copied unchanged, which is fast.
const WHOLE_BYTES_MAX: usize = 1024;

impl RequestStats {
    pub fn new(row: &'static Row, args: Args<'_>, nanoseconds: u64, keeps_args: bool) -> RequestStats {
        RequestStats {
            row: row.index() as u16 + 1,
            args: u16::try_from(args.len()).unwrap_or(u16::MAX),
            nanoseconds: u32::try_from(nanoseconds).unwrap_or(u32::MAX),
            kept: keeps_args.then(|| Box::new(keep(row, args))),
        }
    }

    pub fn row(&self) -> Option<&'static Row> {
        TABLE.get(usize::from(self.row.checked_sub(1)?))
    }

    /// The kept arguments; otherwise the name and the number of other arguments.
    pub fn args(&self, row: &Row) -> Vec<Vec<u8>> {
        match self.kept.as_deref() {
            Some(KeptArgs::Whole(args)) => {
                let shown = redact::shown(row, args.as_args());
                return slow_log::shorten(shown, usize::from(self.args)).collect();
            }
            Some(KeptArgs::Shown(args)) => return args.clone(),
            None => {}
        }
        let name = row.full_name().to_ascii_uppercase();
        let mut args: Vec<Vec<u8>> = name.split('|').map(|part| part.as_bytes().to_vec()).collect();
        match usize::from(self.args).saturating_sub(args.len()) {
            0 => {}
            more => args.push(format!("... ({more} more arguments)").into_bytes()),
        }
        args
    }
}

/// A request in the form of the slow log.
pub fn shown<'a>(row: &Row, args: Args<'a>) -> impl Iterator<Item = Vec<u8>> {
    slow_log::shorten(redact::shown(row, args.first(slow_log::ARGS_MAX)), args.len())
}

fn keep(row: &Row, args: Args<'_>) -> KeptArgs {
    let first = args.first(slow_log::ARGS_MAX);
    if first.iter().map(<[u8]>::len).sum::<usize>() <= WHOLE_BYTES_MAX {
        KeptArgs::Whole(OwnedArgs::copy(first))
    } else {
        KeptArgs::Shown(shown(row, args).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::lookup;

    fn stats(request: &[&str], keeps_args: bool) -> Vec<String> {
        let args: OwnedArgs = request.iter().map(|arg| arg.as_bytes()).collect();
        let row = lookup::find(args.as_args()).expect("a command");
        let shown = RequestStats::new(row, args.as_args(), 0, keeps_args).args(row);
        shown.into_iter().map(|arg| String::from_utf8(arg).expect("a text")).collect()
    }

    #[test]
    fn a_request_that_was_not_kept_is_known_by_its_name_and_its_length() {
        assert_eq!(
            stats(&["client", "setname", "ann"], false),
            ["CLIENT", "SETNAME", "... (1 more arguments)"]
        );
        assert_eq!(stats(&["ping"], false), ["PING"]);
    }

    #[test]
    fn kept_arguments_are_short_and_without_secrets_however_they_are_kept() {
        let long = "x".repeat(WHOLE_BYTES_MAX + 1);
        for value in ["x", &long] {
            let shown = stats(&["CONFIG", "SET", "requirepass", "secret", "dir", value], true);
            assert_eq!(shown[..5], ["CONFIG", "SET", "requirepass", "(redacted)", "dir"]);
            assert!(shown[5].len() < 200);
        }
    }

    #[test]
    fn a_slot_without_facts_names_no_command() {
        assert!(RequestStats::default().row().is_none());
        let first: OwnedArgs = [TABLE[0].name.as_bytes()].into_iter().collect();
        let stats = RequestStats::new(&TABLE[0], first.as_args(), u64::MAX, false);
        assert_eq!(stats.row().map(Row::index), Some(0));
        assert_eq!(stats.nanoseconds, u32::MAX);
    }
}
