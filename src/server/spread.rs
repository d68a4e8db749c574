//! XREAD and XREADGROUP over streams of several partitions: independent reads, answered together.

use crate::command::value::group::GroupRead;
use crate::command::value::stream::{Read, StreamQuery};
use crate::command::value::{Data, Query, Write};
use crate::model::entries::EntryList;
use crate::model::reply::Reply;
use crate::server::gather::{Gather, Merge, Target};
use crate::server::ticket::Ticket;
use crate::server::worker::Worker;
use crate::state::op::codec;
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// An XREADGROUP whose bounds are over all its streams: one stream after the other, each with what those before it have
/// left. It costs a commit for each stream, and gives what one partition would give.
pub struct Chain {
    database: u32,
    /// The whole read, encoded as in the log.
    read: Vec<u8>,
    /// The stream that is read next.
    next: Cell<usize>,
    found: RefCell<Vec<(Bytes, EntryList)>>,
    target: Target,
}

impl Worker {
    /// XREAD over any streams, each from its own partition. Blocked readers wait on where a key holds something else
    /// meanwhile: then errors count as nothing found.
    pub fn read_per_stream(&self, database: u32, read: &Read<'_>) -> Reply {
        let mut found = Vec::new();
        for stream in &read.streams {
            // What is refused is refused, wherever it stands.
            let left = read.limits.after(&found);
            let one = Read { limits: left.unwrap_or(read.limits), streams: vec![*stream], ..*read };
            let query = Query::Stream(StreamQuery::Read(one));
            match self.query(self.router.of_key(stream.0), database, &query) {
                Reply::Streams(more) if left.is_some() => found.extend(more),
                error @ Reply::Error(_) => return error,
                _ => {}
            }
        }
        if found.is_empty() { Reply::NilArray } else { Reply::Streams(found) }
    }

    /// XREADGROUP over any streams. All groups are looked at before the first one is read from.
    pub fn group_read_per_stream(&self, database: u32, read: &GroupRead<'_>, target: Target) {
        let refusal = read.streams.iter().find_map(|stream| {
            let partition = self.partition(self.router.of_key(stream.0)).borrow();
            partition.machine().group_read_refusal(database, self.now(), &of_stream(read, stream))
        });
        if let Some(refusal) = refusal {
            self.finish_gathered(target, Reply::Error(refusal));
            return;
        }
        if read.limits.span_streams() {
            let mut encoded = Vec::new();
            codec::encode_data(&Data::Write(Write::GroupRead(read.clone())), &mut encoded);
            let (next, found) = (Cell::new(0), RefCell::default());
            self.continue_chain(Rc::new(Chain { database, read: encoded, next, found, target }));
            return;
        }
        let gather = Rc::new(Gather::new(read.streams.len(), Merge::Deliveries, target));
        for (part, stream) in read.streams.iter().enumerate() {
            let ticket = Ticket::Part { gather: gather.clone(), part };
            let one = Write::GroupRead(of_stream(read, stream));
            self.write(self.router.of_key(stream.0), database, &one, ticket);
        }
    }

    /// Reads the next stream of a chain, or ends it.
    fn continue_chain(&self, chain: Rc<Chain>) {
        let data = codec::decode_data(&chain.read).expect("the read was encoded here");
        let Data::Write(Write::GroupRead(read)) = data else {
            unreachable!("{data:?} is not read in a chain")
        };
        let left = read.limits.after(&chain.found.borrow());
        match read.streams.get(chain.next.get()).zip(left) {
            Some((stream, limits)) => {
                chain.next.set(chain.next.get() + 1);
                let one = GroupRead { limits, ..of_stream(&read, stream) };
                let ticket = Ticket::Link(chain.clone());
                self.write(self.router.of_key(stream.0), chain.database, &Write::GroupRead(one), ticket);
            }
            None => {
                let found = chain.found.take();
                let reply = if found.is_empty() { Reply::NilArray } else { Reply::Streams(found) };
                self.finish_gathered(chain.target.clone(), reply);
            }
        }
    }

    /// One stream of a chain was read.
    pub fn link_came_back(&self, chain: Rc<Chain>, reply: Reply) {
        match reply {
            Reply::Streams(more) => chain.found.borrow_mut().extend(more),
            // What was delivered before is answered; the error shows at the next read.
            error @ Reply::Error(_) if chain.found.borrow().is_empty() => {
                self.finish_gathered(chain.target.clone(), error);
                return;
            }
            Reply::Error(_) => chain.next.set(usize::MAX),
            _ => {}
        }
        self.continue_chain(chain);
    }
}

fn of_stream<'a>(
    read: &GroupRead<'a>,
    stream: &(&'a [u8], crate::command::value::group::GroupReadFrom),
) -> GroupRead<'a> {
    GroupRead { streams: vec![*stream], ..*read }
}
