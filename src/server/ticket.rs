//! Who waits for an outcome, and what is to be done with it.

use crate::command::spec::Row;
use crate::model::args::OwnedArgs;
use crate::model::reply::Reply;
use crate::server::blocking::WaiterId;
use crate::server::connection::Connection;
use crate::server::gather::Gather;
use crate::server::meter::Meter;
use crate::server::output::SlotNumber;
use crate::server::spread::Chain;
use bytes::Bytes;
use std::rc::Rc;

/// Goes with an op or a query through its partition and comes back with the reply.
pub enum Ticket {
    /// The reply is for a client.
    Client(Place),
    /// The reply is for a client that tracks the keys it reads.
    Read(Box<TrackedRead>),
    /// One part of a command that was spread over partitions.
    Part { gather: Rc<Gather>, part: usize },
    /// One stream of a read that goes from partition to partition.
    Link(Rc<Chain>),
    /// A blocked read tried again.
    Waiter(WaiterId),
    /// What was before it has been applied: the message goes out.
    Publish { place: Place, message: Box<Publication> },
    /// A transaction: its replies are completed with those of commands that are not for the machine.
    Exec { place: Place, plan: Box<ExecPlan> },
    /// The server's own op that deletes what is due.
    Expired,
    /// The server's own op that forgets idempotent ids.
    Forgotten,
    /// The server's own op; nobody waits.
    Internal,
}

/// Where a reply belongs: the slot of a request of a client.
#[derive(Clone)]
pub struct Place {
    pub connection: Rc<Connection>,
    pub slot: SlotNumber,
}

impl Place {
    /// Opens the slot of the request at hand.
    pub fn open(connection: &Rc<Connection>) -> Place {
        Place { connection: connection.clone(), slot: connection.open_slot() }
    }

    /// See [`Connection::fill`].
    pub fn fill(&self, reply: &Reply) -> Meter {
        self.connection.fill(self.slot, reply)
    }
}

pub struct TrackedRead {
    pub place: Place,
    pub keys: Vec<Bytes>,
}

pub struct Publication {
    pub channel: Bytes,
    pub message: Bytes,
    pub sharded: bool,
}

/// The commands of an EXEC in order.
pub struct ExecPlan {
    pub requests: Rc<Vec<(&'static Row, OwnedArgs)>>,
    /// One for each request.
    pub steps: Vec<ExecStep>,
    /// CLIENT TRACKING is among them.
    pub has_tracking: bool,
}

pub enum ExecStep {
    /// The next reply of the transaction op. `keys`: what it reads, if clients track.
    Data { keys: Vec<Bytes> },
    /// Executed when the transaction was applied: PUBLISH, CLIENT, PING and their like.
    Other,
    /// Refused by the parser: only its own reply fails.
    Refused(Reply),
}
