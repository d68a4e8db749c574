//! One reply made of the replies of several partitions.

use crate::model::reply::Reply;
use crate::server::blocking::WaiterId;
use crate::server::connection::Connection;
use crate::server::ticket::Place;
use std::cell::{Cell, RefCell};

/// Collects the parts; the last one to come completes it.
pub struct Gather {
    parts: RefCell<Vec<Option<Reply>>>,
    missing: Cell<usize>,
    merge: Merge,
    target: Target,
}

/// Who gets the whole.
#[derive(Clone)]
pub enum Target {
    Client(Place),
    Waiter(WaiterId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    /// XREADGROUP: the streams in the order of the request; nothing if none had anything. What was delivered is answered,
    /// whatever became of the others: their error shows at the next read.
    Deliveries,
    /// FLUSHALL: the same answer from everybody.
    Same,
}

impl Gather {
    pub fn new(parts: usize, merge: Merge, target: Target) -> Self {
        assert!(parts > 0, "a whole has parts");
        Gather {
            parts: RefCell::new((0..parts).map(|_| None).collect()),
            missing: Cell::new(parts),
            merge,
            target,
        }
    }

    /// The client that asked.
    pub fn asker(&self) -> Option<&Connection> {
        match &self.target {
            Target::Client(place) => Some(&place.connection),
            Target::Waiter(_) => None,
        }
    }

    /// Takes a part. With the last one, the whole and who gets it.
    pub fn put(&self, part: usize, reply: Reply) -> Option<(Target, Reply)> {
        let before = self.parts.borrow_mut()[part].replace(reply);
        assert!(before.is_none(), "part {part} came twice");
        self.missing.set(self.missing.get() - 1);
        if self.missing.get() > 0 {
            return None;
        }
        let parts = self.parts.take().into_iter().flatten();
        Some((self.target.clone(), merge(self.merge, parts)))
    }
}

/// The first error wins, as if the parts had been executed one after the other, unless something was delivered.
fn merge(how: Merge, parts: impl Iterator<Item = Reply>) -> Reply {
    let mut streams = Vec::new();
    let mut error = None;
    let mut last = Reply::NilArray;
    for part in parts {
        match part {
            Reply::Error(_) => error = error.or(Some(part)),
            Reply::Streams(found) => streams.extend(found),
            other => last = other,
        }
    }
    match (how, error) {
        (Merge::Deliveries, _) if !streams.is_empty() => Reply::Streams(streams),
        (_, Some(error)) => error,
        (Merge::Deliveries, None) => Reply::NilArray,
        (Merge::Same, None) => last,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::reply::ReplyError;

    #[test]
    fn nothing_from_anybody_is_nothing() {
        assert_eq!(merge(Merge::Deliveries, [Reply::NilArray, Reply::NilArray].into_iter()), Reply::NilArray);
    }

    #[test]
    fn an_error_of_one_part_is_the_error_of_the_whole() {
        let error = Reply::Error(ReplyError::WRONG_TYPE);
        assert_eq!(merge(Merge::Deliveries, [Reply::NilArray, error.clone()].into_iter()), error);
        assert_eq!(merge(Merge::Same, [Reply::OK, error.clone()].into_iter()), error);
        assert_eq!(merge(Merge::Same, [Reply::OK, Reply::OK].into_iter()), Reply::OK);
    }

    #[test]
    fn what_was_delivered_is_not_lost_to_an_error() {
        let error = Reply::Error(ReplyError::WRONG_TYPE);
        let found = Reply::Streams(vec![(bytes::Bytes::from_static(b"s"), Default::default())]);
        assert_eq!(merge(Merge::Deliveries, [error, found.clone()].into_iter()), found);
    }
}
