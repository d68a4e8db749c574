//! Plans of reads from a stream: see [`crate::model::entries`].
//!
//! A plan shares the nodes of the stream; a write copies a shared node before it changes it. So a plan shows
//! one point of the log, however long it takes to read.

use crate::model::entries::{EntryBlock, EntryBody, EntryList, EntrySource};
use crate::model::entry_id::EntryId;
use crate::state::id_map::IdMap;
use crate::state::stream::log::{Entry, Log};
use crate::state::stream::node::Node;
use std::fmt;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

/// The nodes of a stream when the plan was made.
struct NodesThen {
    nodes: IdMap<Arc<Node>>,
}

impl EntrySource for NodesThen {
    fn block(&self, from: EntryId, is_reverse: bool) -> Option<(&dyn EntryBlock, Range<usize>)> {
        let floor = self.nodes.floor(from).map(|(_, node)| &**node);
        if is_reverse {
            let node = floor?;
            return Some((node, 0..node.slots_up_to(from)));
        }
        match floor.filter(|node| from <= node.last()) {
            Some(node) => Some((node, node.seek(from)..node.slots())),
            None => {
                let (_, node) = self.nodes.range(from).next()?;
                Some((&**node, 0..node.slots()))
            }
        }
    }

    fn memory(&self) -> usize {
        self.nodes.memory_of_slice()
    }
}

impl fmt::Debug for NodesThen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodesThen").field("nodes", &self.nodes.len()).finish()
    }
}

impl EntryBlock for Node {
    fn first(&self) -> EntryId {
        Node::first(self)
    }

    fn last(&self) -> EntryId {
        Node::last(self)
    }

    fn entry(&self, slot: usize) -> Option<(EntryId, EntryBody<'_>)> {
        self.is_live(slot).then(|| self.body(slot))
    }
}

impl Log {
    /// Live entries from `start` to `end`, both inclusive, at most `most`; from `end` down if reversed.
    pub fn list_range(&self, start: EntryId, end: EntryId, most: u64, is_reverse: bool) -> EntryList {
        let mut list = EntryList::default();
        let take = usize::try_from(most).unwrap_or(usize::MAX);
        let mut copy = |entry: Entry<'_>| {
            if !list.copies_more() {
                return ControlFlow::Break(entry.id);
            }
            entry.copy_to(&mut list);
            ControlFlow::Continue(())
        };
        let stopped = match is_reverse {
            false => self.range(start, end).take(take).try_for_each(&mut copy),
            true => self.range_back(start, end).take(take).try_for_each(&mut copy),
        };
        if let ControlFlow::Break(at) = stopped {
            let (start, end) = if is_reverse { (start, at) } else { (at, end) };
            let count = self.count_range(start, end, most - list.len() as u64);
            let from = self.nodes.floor(start).map_or(start, |(key, _)| key);
            let nodes = self.nodes.slice(from, end);
            list.push_rest(Arc::new(NodesThen { nodes }), at, is_reverse, count);
        }
        list
    }

    /// Adds the entry of this id to a list, if it exists.
    pub fn list_entry(&self, id: EntryId, list: &mut EntryList) -> bool {
        let Some((_, node)) = self.nodes.floor(id) else { return false };
        let Some(slot) = node.find(id) else { return false };
        if list.copies_more() {
            node.copy_entry(slot, list);
        } else {
            list.push_shared(id, || self.nodes_then());
        }
        true
    }

    fn nodes_then(&self) -> Arc<dyn EntrySource> {
        Arc::new(NodesThen { nodes: self.nodes.clone() })
    }

    /// Number of live entries from `start` to `end`, both inclusive; counts no further than `most`. By node,
    /// not by entry.
    pub fn count_range(&self, start: EntryId, end: EntryId, most: u64) -> u64 {
        if start <= self.first_id() && end >= self.last_id {
            return self.len().min(most);
        }
        let from = self.nodes.floor(start).map_or(start, |(key, _)| key);
        let mut count = 0;
        for (_, node) in self.nodes.range(from).take_while(|(key, _)| *key <= end) {
            count += if start <= node.first() && node.last() <= end {
                node.live()
            } else {
                (node.seek(start)..node.slots_up_to(end)).filter(|slot| node.is_live(*slot)).count() as u64
            };
            if count >= most {
                break;
            }
        }
        count.min(most)
    }
}

impl Entry<'_> {
    /// Adds the entry of this log to a list.
    pub fn list_in(&self, log: &Log, list: &mut EntryList) {
        if list.copies_more() {
            self.copy_to(list);
        } else {
            list.push_shared(self.id, || log.nodes_then());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::args::{ArgList, OwnedArgs};
    use crate::model::limits::ENTRIES_COPIED_BYTES_MAX;
    use crate::model::reply::Reply;
    use crate::resp::pieces::PieceWriter;
    use crate::resp::writer::{self, Protocol};
    use crate::state::stream::log::NodeLimits;
    use crate::state::testing::Random;
    use bytes::Bytes;

    const LIMITS: NodeLimits = NodeLimits { entries: 7, bytes: 0 };

    fn append(log: &mut Log, random: &mut Random, value_bytes: u64) {
        let value = vec![b'a' + random.below(26) as u8; random.below(value_bytes) as usize];
        let name = *random.pick(&[&b"field"[..], b"field", b"field", b"other"]);
        let mut fields = vec![name, &value];
        if random.one_in(4) {
            fields.extend([&b"more"[..], b"1"]);
        }
        let fields: OwnedArgs = fields.into_iter().collect();
        let id = EntryId::new(log.last_id.ms + random.below(3), log.last_id.seq + 1);
        log.append(id, &ArgList::Args(fields.as_args()), LIMITS);
    }

    fn random_log(random: &mut Random) -> Log {
        let mut log = Log::default();
        let value_bytes = 1 + random.below(6000);
        (0..random.below(400)).for_each(|_| append(&mut log, random, value_bytes));
        let share = 1 + random.below(12);
        let ids: Vec<EntryId> = log.range(EntryId::MIN, EntryId::MAX).map(|entry| entry.id).collect();
        for id in ids.into_iter().filter(|_| random.one_in(share)) {
            log.delete(id);
        }
        log.check();
        log
    }

    fn some_id(log: &Log, random: &mut Random) -> EntryId {
        match random.below(4) {
            0 => EntryId::MIN,
            1 => EntryId::MAX,
            _ => EntryId::new(random.below(log.last_id.ms + 2), random.below(log.last_id.seq + 2)),
        }
    }

    fn copied(log: &Log, (start, end): (EntryId, EntryId), most: u64, is_reverse: bool) -> EntryList {
        let mut list = EntryList::default();
        if is_reverse {
            log.range_back(start, end).take(most as usize).for_each(|entry| entry.copy_to(&mut list));
        } else {
            log.range(start, end).take(most as usize).for_each(|entry| entry.copy_to(&mut list));
        }
        list
    }

    /// Random changes of the stream while the plan is read.
    fn disturb(log: &mut Log, random: &mut Random) {
        let ids: Vec<EntryId> = log.range(EntryId::MIN, EntryId::MAX).map(|entry| entry.id).collect();
        for id in ids.into_iter().filter(|_| random.flag()) {
            log.delete(id);
        }
        (0..20).for_each(|_| append(log, random, 50));
    }

    #[test]
    fn a_plan_is_what_copies_were_whatever_becomes_of_the_stream() {
        let mut shared = 0;
        for seed in 0..400 {
            let mut random = Random::new(seed);
            let mut log = random_log(&mut random);
            let range = (some_id(&log, &mut random), some_id(&log, &mut random));
            let most = if random.one_in(4) { random.below(60) } else { u64::from(u32::MAX) };
            let is_reverse = random.flag();
            let copies = copied(&log, range, most, is_reverse);
            let plan = log.list_range(range.0, range.1, most, is_reverse);
            let mut one_by_one = EntryList::default();
            for id in copies.ids() {
                assert!(log.list_entry(id, &mut one_by_one));
            }
            assert_eq!(log.count_range(range.0, range.1, most), copies.len() as u64);
            shared += usize::from(plan.is_shared());
            assert_eq!(plan.is_shared(), one_by_one.is_shared());
            disturb(&mut log, &mut random);
            log.check();
            assert_eq!(plan.len(), copies.len(), "seed {seed}");
            assert_eq!(plan, copies, "seed {seed}");
            assert_eq!(one_by_one, copies, "seed {seed}");
            assert!(plan.body_bytes() < ENTRIES_COPIED_BYTES_MAX + 8192, "the rest stays where it is");
        }
        assert!(shared > 50, "{shared} of them were large");
    }

    #[test]
    fn what_is_read_in_pieces_is_what_is_written_at_once() {
        for seed in 0..100 {
            let mut random = Random::new(seed);
            let mut log = random_log(&mut random);
            let plan = |random: &mut Random| {
                let (start, end) = (some_id(&log, random), some_id(&log, random));
                log.list_range(start, end, u64::MAX, random.flag())
            };
            let streams = vec![
                (Bytes::from_static(b"a"), plan(&mut random)),
                (Bytes::from_static(b"b"), plan(&mut random)),
            ];
            let mut before = EntryList::default();
            for entry in log.range(EntryId::MIN, EntryId::MAX) {
                entry.list_in(&log, &mut before);
                let past = crate::model::entries::DeliveredBefore { idle_ms: 7, deliveries: entry.id.seq };
                before.push_before(past);
            }
            let reply = Reply::Array(vec![
                Reply::OK,
                Reply::Entries(Box::new(plan(&mut random))),
                Reply::Map(vec![(Reply::Text("entries"), Reply::Entries(Box::new(before)))]),
                Reply::Streams(streams),
                Reply::Integer(1),
            ]);
            for protocol in [Protocol::Resp2, Protocol::Resp3] {
                let mut whole = Vec::new();
                writer::write(&mut whole, protocol, &reply);
                let most = 1 + random.below(20_000) as usize;
                let mut pieces = PieceWriter::new(protocol, reply.clone());
                let (mut out, mut read) = (Vec::new(), Vec::new());
                while pieces.write(&mut out, most) {
                    assert!(!out.is_empty() && out.len() < most + 8192, "{} bytes in a piece", out.len());
                    read.append(&mut out);
                }
                read.append(&mut out);
                assert!(read == whole, "seed {seed}");
            }
            disturb(&mut log, &mut random);
        }
    }

    #[test]
    fn a_plan_of_a_large_stream_is_small() {
        let mut log = Log::default();
        let value = vec![b'x'; 1000];
        let fields: OwnedArgs = [&b"field"[..], &value].into_iter().collect();
        let fields = ArgList::Args(fields.as_args());
        (1..=50_000)
            .for_each(|ms| log.append(EntryId::new(ms, 0), &fields, NodeLimits { entries: 4, bytes: 4096 }));
        let plan = log.list_range(EntryId::MIN, EntryId::MAX, u64::MAX, false);
        assert_eq!(plan.len(), 50_000);
        // 50 MB in 12,500 nodes: a pointer for 64 of them each, and the copied entries.
        let memory = plan.memory();
        assert!(memory < 3 * ENTRIES_COPIED_BYTES_MAX, "{memory} bytes");
        let copies = plan.body_bytes() + plan.listed_len() * 64;
        assert!(memory - copies < 64 * 1024, "{memory} bytes, {copies} of them copies");
        assert_eq!(plan.iter().last().map(|(id, _)| id), Some(EntryId::new(50_000, 0)));
    }
}
