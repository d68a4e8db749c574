//! Commands over several partitions: one part for each, and one answer made from the parts.

use crate::command::value::Write;
use crate::command::value::group::{GroupRead, GroupReadFrom};
use crate::engine::blocked_reads::{BlockedId, OwnedGroupRead};
use crate::engine::blocking;
use crate::engine::engine::{Engine, Tag};
use crate::engine::submission::{NOT_COMMITTED, Outcome, UNKNOWN};
use crate::model::entries::EntryList;
use crate::model::request::RequestId;
use crate::state::answer::Answer;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::rc::Rc;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct GatherId(u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChainId(u64);

/// The recipient of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Request(RequestId),
    Blocked(BlockedId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    /// XREADGROUP: the streams in request order, or nothing if no stream had entries. Delivered entries are
    /// answered even if other parts fail; those errors show at the next read.
    Deliveries,
    /// FLUSHALL: every part has the same answer.
    Same,
}

/// Collects the parts; the last one completes the answer.
struct Gather {
    parts: Vec<Option<Answer>>,
    missing: usize,
    merge: Merge,
    target: Target,
}

/// An XREADGROUP with bounds over all its streams: one stream after the other, each with the rest of the
/// bounds. It costs one commit per stream and returns what one partition would return.
struct Chain {
    database: u32,
    read: Rc<OwnedGroupRead>,
    /// The next stream to read.
    next: usize,
    found: Vec<(Bytes, EntryList)>,
    target: Target,
}

#[derive(Default)]
pub struct Scatter {
    next_id: u64,
    gathers: BTreeMap<GatherId, Gather>,
    chains: BTreeMap<ChainId, Chain>,
}

impl Scatter {
    fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn gather(&mut self, parts: usize, merge: Merge, target: Target) -> GatherId {
        assert!(parts > 0, "a whole has parts");
        let id = GatherId(self.next_id());
        let parts: Vec<_> = (0..parts).map(|_| None).collect();
        self.gathers.insert(id, Gather { missing: parts.len(), parts, merge, target });
        id
    }

    /// The request behind the gathered parts.
    pub fn asker(&self, id: GatherId) -> Option<RequestId> {
        match self.gathers.get(&id)?.target {
            Target::Request(request) => Some(request),
            Target::Blocked(_) => None,
        }
    }

    /// Stores a part. The last one returns the whole and its recipient.
    pub fn put(&mut self, id: GatherId, part: usize, reply: Answer) -> Option<(Target, Answer)> {
        let gather = self.gathers.get_mut(&id).expect("a gather stays until its last part has come");
        let before = gather.parts[part].replace(reply);
        assert!(before.is_none(), "part {part} came twice");
        gather.missing -= 1;
        if gather.missing > 0 {
            return None;
        }
        let gather = self.gathers.remove(&id)?;
        Some((gather.target, merge(gather.merge, gather.parts.into_iter().flatten())))
    }
}

/// The first error wins, as if the parts had been executed in sequence, unless entries were delivered. An
/// outcome that may be partial is UNKNOWN, because a refusal would say that nothing took effect.
fn merge(how: Merge, parts: impl Iterator<Item = Answer>) -> Answer {
    let mut streams = Vec::new();
    let (mut error, mut is_unknown) = (None, false);
    let mut last = None;
    for part in parts {
        match part {
            Answer::Refused(ref error) if *error == UNKNOWN => is_unknown = true,
            Answer::Refused(_) => error = error.or(Some(part)),
            Answer::Streams(found) => streams.extend(found),
            other => last = Some(other),
        }
    }
    let is_partial = how == Merge::Same && last.is_some() && error == Some(Answer::Refused(NOT_COMMITTED));
    if is_unknown || is_partial {
        error = Some(Answer::Refused(UNKNOWN));
    }
    let last = last.unwrap_or(Answer::NilArray);
    match (how, error) {
        (Merge::Deliveries, _) if !streams.is_empty() => Answer::Streams(streams),
        (_, Some(error)) => error,
        (Merge::Deliveries, None) => Answer::NilArray,
        (Merge::Same, None) => last,
    }
}

/// Submits one op to each partition.
pub(super) fn write_everywhere(
    engine: &mut Engine,
    database: u32,
    write: &Write<'_>,
    how: Merge,
    target: Target,
) {
    let gather = engine.scatter.gather(usize::from(engine.router.partitions()), how, target);
    for id in engine.ids() {
        engine.write(id, database, write, Tag::Part { gather, part: u32::from(id.0) });
    }
}

/// Submits one op per write; answers the request when all are applied.
pub(super) fn fill(engine: &mut Engine, request: RequestId, database: u32, writes: &[Write<'_>]) {
    if writes.is_empty() {
        return engine.deliver(Outcome::of(request, Answer::Done));
    }
    let gather = engine.scatter.gather(writes.len(), Merge::Same, Target::Request(request));
    for (part, write) in (0..).zip(writes) {
        let partition =
            write.keys().next().map_or(crate::model::log::PartitionId(0), |key| engine.router.of_key(key));
        engine.write(partition, database, write, Tag::Part { gather, part });
    }
}

/// XREADGROUP over any streams. Checks all groups before it reads from the first one.
pub(super) fn group_read_per_stream(
    engine: &mut Engine,
    database: u32,
    read: &GroupRead<'_>,
    target: Target,
) {
    let now = engine.now();
    let refusal = read.streams.iter().find_map(|stream| {
        engine.home(stream.0).read().group_read_refusal(database, now, &of_stream(read, stream))
    });
    if let Some(refusal) = refusal {
        return finish_gathered(engine, target, Answer::Refused(refusal));
    }
    if read.limits.span_streams() {
        let id = ChainId(engine.scatter.next_id());
        let read = Rc::new(OwnedGroupRead::new(database, read));
        engine.scatter.chains.insert(id, Chain { database, read, next: 0, found: Vec::new(), target });
        return continue_chain(engine, id);
    }
    let gather = engine.scatter.gather(read.streams.len(), Merge::Deliveries, target);
    for (part, stream) in (0..).zip(&read.streams) {
        let one = Write::GroupRead(of_stream(read, stream));
        engine.write(engine.router.of_key(stream.0), database, &one, Tag::Part { gather, part });
    }
}

/// Reads the next stream of a chain, or ends the chain.
fn continue_chain(engine: &mut Engine, id: ChainId) {
    let chain = engine.scatter.chains.get_mut(&id).expect("a chain stays until its end");
    let read = Rc::clone(&chain.read);
    let read = read.as_read();
    let left = read.limits.after(&chain.found);
    match read.streams.get(chain.next).zip(left) {
        Some((stream, limits)) => {
            chain.next += 1;
            let database = chain.database;
            let one = GroupRead { limits, ..of_stream(&read, stream) };
            let partition = engine.router.of_key(stream.0);
            engine.write(partition, database, &Write::GroupRead(one), Tag::Link(id));
        }
        None => {
            let chain = engine.scatter.chains.remove(&id).expect("looked up just now");
            let found = chain.found;
            let reply = if found.is_empty() { Answer::NilArray } else { Answer::Streams(found) };
            finish_gathered(engine, chain.target, reply);
        }
    }
}

/// One stream of a chain was read.
pub(super) fn link_came_back(engine: &mut Engine, id: ChainId, reply: Answer) {
    let chain = engine.scatter.chains.get_mut(&id).expect("a chain stays until its end");
    match reply {
        Answer::Streams(more) => chain.found.extend(more),
        // Entries delivered before are answered; the error shows at the next read.
        error @ Answer::Refused(_) if chain.found.is_empty() => {
            let target = chain.target;
            engine.scatter.chains.remove(&id);
            return finish_gathered(engine, target, error);
        }
        Answer::Refused(_) => chain.next = usize::MAX,
        _ => {}
    }
    continue_chain(engine, id);
}

pub(super) fn finish_gathered(engine: &mut Engine, target: Target, reply: Answer) {
    match target {
        Target::Request(request) => engine.deliver(Outcome::of(request, reply)),
        Target::Blocked(id) => blocking::served(engine, id, reply),
    }
}

/// The same read of one of its streams.
pub(super) fn of_stream<'a>(read: &GroupRead<'a>, stream: &(&'a [u8], GroupReadFrom)) -> GroupRead<'a> {
    GroupRead { streams: vec![*stream], ..*read }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::reply::ReplyError;

    #[test]
    fn nothing_from_anybody_is_nothing() {
        assert_eq!(
            merge(Merge::Deliveries, [Answer::NilArray, Answer::NilArray].into_iter()),
            Answer::NilArray
        );
    }

    #[test]
    fn an_error_of_one_part_is_the_error_of_the_whole() {
        let error = Answer::Refused(ReplyError::WRONG_TYPE);
        assert_eq!(merge(Merge::Deliveries, [Answer::NilArray, error.clone()].into_iter()), error);
        assert_eq!(merge(Merge::Same, [Answer::Done, error.clone()].into_iter()), error);
        assert_eq!(merge(Merge::Same, [Answer::Done, Answer::Done].into_iter()), Answer::Done);
    }

    #[test]
    fn what_may_have_taken_effect_in_part_is_unknown() {
        let [unknown, refused] = [UNKNOWN, NOT_COMMITTED].map(Answer::Refused);
        let same = |parts: [&Answer; 2]| merge(Merge::Same, parts.into_iter().cloned());
        assert_eq!(same([&refused, &refused]), refused);
        assert_eq!(same([&refused, &unknown]), unknown);
        assert_eq!(same([&Answer::Done, &refused]), unknown);
        let read = |parts: [&Answer; 2]| merge(Merge::Deliveries, parts.into_iter().cloned());
        assert_eq!(read([&refused, &Answer::NilArray]), refused, "finding nothing changes nothing");
        assert_eq!(read([&refused, &unknown]), unknown);
    }

    #[test]
    fn what_was_delivered_is_not_lost_to_an_error() {
        let error = Answer::Refused(ReplyError::WRONG_TYPE);
        let found = Answer::Streams(vec![(bytes::Bytes::from_static(b"s"), Default::default())]);
        assert_eq!(merge(Merge::Deliveries, [error, found.clone()].into_iter()), found);
    }
}
