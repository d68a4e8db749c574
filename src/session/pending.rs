//! What is kept for a request that waits for its outcome, in the slot of its reply.

use crate::command::redact;
use crate::command::spec::Row;
use crate::command::table::TABLE;
use crate::engine::submission::EngineAnswer;
use crate::model::args::{Args, OwnedArgs};
use crate::model::reply::Reply;
use crate::model::request::RequestId;
use crate::observe::slow_log;
use crate::session::session::{Queue, WatchedKey};
use crate::state::effects::Effect;
use bytes::Bytes;
use std::rc::Rc;

#[derive(Default)]
pub struct Pending {
    pub meter: Meter,
    pub then: Completion,
}

/// What is done with the outcome.
#[derive(Default)]
pub enum Completion {
    /// Its answer is the reply.
    #[default]
    Reply,
    /// The same, and CLIENT TRACKING remembers these keys.
    Tracked(Vec<Bytes>),
    /// The answer ends a blocked read.
    Blocked,
    /// Everything before the message was applied: it goes out.
    Publish(Box<Publication>),
    /// A reply is made of the answer.
    Ask(Continuation),
    /// A transaction begins, unless a watched key has changed.
    Look(Box<ExecStart>),
    /// A transaction goes on.
    Exec(Box<ExecRun>),
    /// DEBUG POPULATE goes on.
    Populate(Box<PopulateRun>),
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.meter.fmt(f)
    }
}

/// Makes a reply of an engine's answer.
pub type Continuation = Box<dyn FnOnce(EngineAnswer) -> Reply>;

pub struct Publication {
    pub channel: Bytes,
    pub message: Bytes,
    pub sharded: bool,
}

/// A read that is blocked. A connection has one at a time.
pub struct BlockedRequest {
    pub request: RequestId,
    /// Which command, and with which first argument, as far as permissions may depend on it.
    pub row: &'static Row,
    pub first_argument: Option<Bytes>,
    pub keys: Vec<Bytes>,
    /// The read, encoded as in the log.
    pub read: Vec<u8>,
    /// CLIENT TRACKING remembers what it reads.
    pub is_remembered: bool,
    /// The client has closed its side: it is owed what was found at once, and no word that nothing was.
    pub is_leaving: bool,
}

/// Bytes that a key takes that a read is blocked on, besides its name, about.
const KEY_BYTES: usize = 160;

impl BlockedRequest {
    /// Bytes that it takes, about.
    pub fn bytes(&self) -> usize {
        self.read.len() + self.keys.iter().map(|key| KEY_BYTES + 2 * key.len()).sum::<usize>()
    }
}

/// An EXEC whose watched keys are looked at before anything is done.
pub struct ExecStart {
    pub queue: Queue,
    pub watched: Vec<WatchedKey>,
}

/// The commands of an EXEC in order, and how far they are.
pub struct ExecRun {
    pub requests: Rc<Vec<(&'static Row, OwnedArgs)>>,
    /// One for each request that is not done yet.
    pub steps: std::vec::IntoIter<ExecStep>,
    /// CLIENT TRACKING is among them.
    pub has_tracking: bool,
    pub replies: Vec<Reply>,
    /// Answers of the machine that are not handed out yet.
    pub answers: std::vec::IntoIter<Reply>,
    /// What the op did, step by step of the machine.
    pub events: Vec<Effect>,
    /// Commands for the machine that were handed out.
    pub steps_done: u32,
    /// The time of the op, shared by its commands; and all of the time so far.
    pub share_ns: u64,
    pub total_ns: u64,
    /// A step has asked the engine, and makes its reply of the answer.
    pub asked: Option<Continuation>,
}

/// How far DEBUG POPULATE is.
pub struct PopulateRun {
    pub database: u32,
    pub next: u64,
    pub count: u64,
    pub prefix: Vec<u8>,
    pub size: Option<usize>,
}

pub enum ExecStep {
    /// The next reply of the transaction op. `keys`: what it reads, if clients track.
    Data { keys: Vec<Bytes> },
    /// Executed when the transaction was applied: PUBLISH, CLIENT, PING and their like.
    Other,
    /// Done when the transaction was submitted; or refused, and only its own reply fails.
    Done(Reply),
}

/// What is known of a request that waits for its reply.
#[derive(Debug, Default)]
pub struct Meter {
    /// Of the command table, plus one; 0: none.
    row: u16,
    /// Arguments that it had, or 65,535.
    args: u16,
    /// Spent on it so far.
    pub nanoseconds: u32,
    /// Its arguments, if they are kept.
    kept: Option<Box<KeptArgs>>,
}

#[derive(Debug)]
enum KeptArgs {
    /// As they came, the first [`slow_log::ARGS_MAX`].
    Whole(OwnedArgs),
    /// As the slow log shows them.
    Shown(Vec<Vec<u8>>),
}

/// Arguments of no more bytes are kept as they are: that is soon done.
const WHOLE_BYTES_MAX: usize = 1024;

impl Meter {
    pub fn new(row: &'static Row, args: Args<'_>, nanoseconds: u64, keeps_args: bool) -> Meter {
        Meter {
            row: row.index() as u16 + 1,
            args: u16::try_from(args.len()).unwrap_or(u16::MAX),
            nanoseconds: u32::try_from(nanoseconds).unwrap_or(u32::MAX),
            kept: keeps_args.then(|| Box::new(keep(row, args))),
        }
    }

    pub fn row(&self) -> Option<&'static Row> {
        TABLE.get(usize::from(self.row.checked_sub(1)?))
    }

    /// The arguments that were kept, or else the name alone and how many there were besides.
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

/// A request as the slow log shows it.
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
