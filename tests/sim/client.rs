//! A scripted client: what it has sent and not been answered, and the bytes on their way.

use super::leases::{LEASED, Moment};
use super::notation;
use super::value::Value;
use headwater::env::sim_pipe::{SimLink, SimSocket};
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, ReadBuf};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Id(pub u64, pub u64);

impl Id {
    pub fn parse(text: &str) -> Id {
        let (ms, sequence) = text.split_once('-').unwrap_or_else(|| panic!("{text:?} is no entry id"));
        Id(ms.parse().expect("milliseconds"), sequence.parse().expect("a sequence"))
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

/// A command that was sent, with what is known of its reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// `floor`: the greatest id of the stream that was known when this was sent.
    Add {
        stream: &'static str,
        token: u64,
        floor: Id,
        is_idempotent: bool,
        /// It names an id, for which it may be too late.
        is_explicit: bool,
    },
    Delete {
        stream: &'static str,
        id: Id,
    },
    /// From each stream what comes after an id.
    Read {
        streams: Vec<(&'static str, Id)>,
        is_blocking: bool,
    },
    GroupRead {
        streams: Vec<&'static str>,
        is_blocking: bool,
    },
    /// A read of `LEASED` for the group `g`, with CLAIM or without.
    LeaseRead {
        claim_ms: Option<u64>,
        asked: Asked,
        is_blocking: bool,
    },
    /// XCLAIM, or XAUTOCLAIM.
    Claim {
        idle_ms: u64,
        is_auto: bool,
        asked: Asked,
    },
    /// XACK of one of `LEASED`.
    Release {
        id: Id,
    },
    /// A read of `LEASED` for the group `n`, with NOACK.
    UnacknowledgedRead {
        is_blocking: bool,
    },
    History {
        stream: &'static str,
    },
    Acknowledge {
        stream: &'static str,
        id: Id,
    },
    Set {
        value: u64,
    },
    Get {
        value: Option<u64>,
    },
    Increment {
        value: i64,
    },
    /// This reply and no other.
    Exactly(Value),
    /// GET of a value that is watched. `least`: what was there when this was sent.
    GetWatched {
        least: u64,
    },
    /// EXEC, if nobody else has changed the value since.
    ExecuteWatched {
        value: u64,
    },
    Execute {
        token: u64,
    },
    /// To a channel that is listened to, with this number; or elsewhere.
    Publish {
        message: Option<(usize, u64)>,
    },
    Subscribe,
    /// A read for a group that may go, on a key that may go.
    SideRead {
        key: &'static str,
        is_blocking: bool,
    },
    /// Any reply, an error too.
    Anything,
    Inspect,
}

/// When a question was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    pub moment: Moment,
    pub ms: u64,
}

impl Op {
    /// The streams and the group of a read that takes what is new to the group.
    pub fn queue(&self) -> Option<(Vec<&'static str>, &'static str)> {
        match self {
            Op::GroupRead { streams, .. } => Some((streams.clone(), "g")),
            Op::LeaseRead { .. } => Some((vec![LEASED], "g")),
            Op::UnacknowledgedRead { .. } => Some((vec![LEASED], "n")),
            _ => None,
        }
    }

    pub fn may_wait(&self) -> bool {
        match self {
            Op::Read { is_blocking, .. }
            | Op::GroupRead { is_blocking, .. }
            | Op::LeaseRead { is_blocking, .. }
            | Op::UnacknowledgedRead { is_blocking }
            | Op::SideRead { is_blocking, .. } => *is_blocking,
            _ => false,
        }
    }
}

pub struct Sent {
    pub op: Op,
    pub words: String,
    /// For reads that block for a time only.
    pub timeout_ms: Option<u64>,
}

pub struct Client {
    /// Its number, which it keeps over all its connections.
    pub number: usize,
    /// Of all connections of all clients.
    pub connection: u64,
    socket: Option<SimSocket>,
    link: Option<SimLink>,
    out: Vec<u8>,
    input: Vec<u8>,
    pub waiting: VecDeque<Sent>,
    pub is_subscriber: bool,
    /// At which look around it was found blocked.
    pub blocked_since: Option<u64>,
    /// When it was first found blocked and nothing was under way: it is blocked by then, at the latest.
    pub blocked_ms: Option<u64>,
    /// It has sent WATCH, and no EXEC since.
    pub is_watching: bool,
    /// What it has found behind its WATCH.
    pub watched: Option<u64>,
    pub own_value: Option<u64>,
    pub increments: i64,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Arrival {
    Replies(Vec<Value>),
    Ended,
}

impl Client {
    pub fn new(number: usize) -> Client {
        Client {
            number,
            connection: 0,
            socket: None,
            link: None,
            out: Vec::new(),
            input: Vec::new(),
            waiting: VecDeque::new(),
            is_subscriber: false,
            blocked_since: None,
            blocked_ms: None,
            is_watching: false,
            watched: None,
            own_value: None,
            increments: 0,
        }
    }

    pub fn is_connected(&self) -> bool {
        self.socket.is_some()
    }

    pub fn connected(&mut self, connection: u64, (socket, link): (SimSocket, SimLink)) {
        assert!(self.socket.is_none() && self.waiting.is_empty());
        *self = Client { connection, socket: Some(socket), link: Some(link), ..Client::new(self.number) };
    }

    /// Queues a command.
    pub fn send(&mut self, op: Op, words: String, timeout_ms: Option<u64>) {
        notation::encode(&notation::split(&words), &mut self.out);
        self.waiting.push_back(Sent { op, words, timeout_ms });
    }

    pub fn has_unsent(&self) -> bool {
        !self.out.is_empty()
    }

    /// Gives up to `most` bytes to the network. Returns how many it took.
    pub fn flush(&mut self, most: usize) -> usize {
        let Some(socket) = &self.socket else { return 0 };
        let upto = self.out.len().min(most);
        let taken = if upto == 0 { 0 } else { socket.write.try_write(&self.out[..upto]).unwrap_or(0) };
        self.out.drain(..taken);
        taken
    }

    /// Reads what has arrived.
    pub fn read(&mut self) -> Arrival {
        let mut replies = Vec::new();
        let Some(socket) = &mut self.socket else { return Arrival::Replies(replies) };
        let mut has_ended = false;
        let mut space = [0; 4096];
        loop {
            let mut target = ReadBuf::new(&mut space);
            let polled =
                Pin::new(&mut socket.read).poll_read(&mut Context::from_waker(Waker::noop()), &mut target);
            match polled {
                Poll::Pending => break,
                Poll::Ready(Ok(())) if !target.filled().is_empty() => {
                    self.input.extend_from_slice(target.filled())
                }
                Poll::Ready(_) => {
                    has_ended = true;
                    break;
                }
            }
        }
        let mut at = 0;
        while let Some((value, length)) = Value::decode(&self.input[at..]).expect("the server speaks RESP") {
            at += length;
            replies.push(value);
        }
        self.input.drain(..at);
        if replies.is_empty() && has_ended {
            self.socket = None;
            return Arrival::Ended;
        }
        Arrival::Replies(replies)
    }

    /// Closes the socket, or breaks the connection.
    pub fn disconnect(&mut self, is_broken: bool) {
        if is_broken && let Some(link) = &self.link {
            link.reset();
        }
        self.socket = None;
        self.link = None;
        self.out.clear();
        self.input.clear();
    }
}
