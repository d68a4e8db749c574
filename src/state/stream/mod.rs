//! Streams: the log of entries, its nodes, trimming, and queries.

pub mod budget;
pub mod idempotency;
pub mod listpack;
pub mod log;
pub mod node;
pub mod plan;
pub mod query;
pub mod trim;
pub mod write;

use crate::base::wire::{Malformed, Reader};
use crate::model::entry_id::EntryId;
use crate::state::group::Group;
use crate::state::shared_map::SharedMap;
use crate::state::stream::idempotency::{IdempotencyLimits, ProducerTable};
use crate::state::stream::log::Log;
use bytes::Bytes;
use std::sync::Arc;

/// Cheap to clone, however large: nodes, groups and their lists are shared until written.
#[derive(Debug, Clone)]
pub struct Stream {
    pub log: Log,
    pub groups: SharedMap<Bytes, Arc<Group>>,
    pub producers: ProducerTable,
}

impl Stream {
    /// An empty stream with the current limits.
    pub fn new(limits: IdempotencyLimits) -> Stream {
        Stream { log: Log::default(), groups: SharedMap::default(), producers: ProducerTable::new(limits) }
    }

    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups.get(name).map(|group| &**group)
    }

    pub fn group_mut(&mut self, name: &[u8]) -> Option<&mut Group> {
        self.groups.get_mut(name).map(Arc::make_mut)
    }

    /// Whether a group has the entry pending or still ahead (Redis 8.2, ACKED).
    pub fn is_referenced(&self, id: EntryId) -> bool {
        self.is_ahead(id) || self.is_pending(id)
    }

    /// Whether a group has not reached the id yet.
    pub fn is_ahead(&self, id: EntryId) -> bool {
        self.groups.values().any(|group| id > group.last_id)
    }

    /// Whether the id is pending in a group; its entry may be gone.
    pub fn is_pending(&self, id: EntryId) -> bool {
        self.groups.values().any(|group| group.pending(id).is_some())
    }

    /// Drops the id from the pending entries of every group.
    pub fn forget_pending(&mut self, id: EntryId) {
        let holders = self.groups.iter().filter(|(_, group)| group.pending(id).is_some());
        let holders: Vec<Bytes> = holders.map(|(name, _)| name.clone()).collect();
        for name in holders {
            self.group_mut(&name).expect("just seen").acknowledge(id);
        }
    }

    /// Drops the pending entries of all groups up to this id.
    pub fn forget_pending_up_to(&mut self, last: EntryId) {
        let first = |group: &Group| group.pending_ends().map(|(first, _)| first);
        let holders = self.groups.iter().filter(|(_, group)| first(group).is_some_and(|first| first <= last));
        let holders: Vec<Bytes> = holders.map(|(name, _)| name.clone()).collect();
        for name in holders {
            let group = self.group_mut(&name).expect("just seen");
            while let Some(id) = first(group).filter(|first| *first <= last) {
                group.acknowledge(id);
            }
        }
    }

    /// Estimated bytes of entries, groups and producers. At most `samples` nodes, groups and consumers are
    /// measured and stand for the others; 0: all.
    pub fn memory(&self, samples: usize) -> usize {
        let node_bytes = |node: &node::Node| node.buffer_bytes() + size_of::<node::Node>();
        // The last node is rarely full.
        let last = self.log.nodes.last().map_or(0, |(_, node)| node_bytes(node));
        let whole = self.log.nodes().saturating_sub(1);
        let nodes = sampled(self.log.each_node().take(whole).map(node_bytes), whole, samples);
        let group_bytes = |(name, group): (&Bytes, &Arc<Group>)| name.len() + group.memory(samples);
        nodes
            + last
            + sampled(self.groups.iter().map(group_bytes), self.groups.len(), samples)
            + self.producers.memory()
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Stream, Malformed> {
        let log = Log::decode(reader)?;
        let mut groups: SharedMap<Bytes, Arc<Group>> = SharedMap::default();
        for _ in 0..reader.count()? {
            let name = Bytes::copy_from_slice(reader.bytes()?);
            if groups.last().is_some_and(|(last, _)| *last >= name) {
                return Err(reader.malformed("groups of a stream are not in order"));
            }
            groups.insert(name, Arc::new(Group::decode(reader)?));
        }
        Ok(Stream { log, groups, producers: ProducerTable::decode(reader)? })
    }

    /// Asserts the invariants.
    pub fn check(&self) {
        self.log.check();
        self.groups.values().for_each(|group| group.check());
        self.producers.check();
    }
}

/// The sum of `count` sizes; the first `samples` stand for the others; 0: all are added.
pub(in crate::state) fn sampled(sizes: impl Iterator<Item = usize>, count: usize, samples: usize) -> usize {
    if samples == 0 || count <= samples {
        return sizes.sum();
    }
    let seen: usize = sizes.take(samples).sum();
    (seen as u128 * count as u128 / samples as u128) as usize
}

#[cfg(test)]
mod tests {
    use super::sampled;

    #[test]
    fn some_sizes_stand_for_all() {
        assert_eq!(sampled([1, 2, 3, 4].into_iter(), 4, 0), 10);
        assert_eq!(sampled([1, 2, 3, 4].into_iter(), 4, 5), 10);
        assert_eq!(sampled([1, 3, 100, 100].into_iter(), 4, 2), 8);
        assert_eq!(sampled([].into_iter(), 0, 1), 0);
    }
}
