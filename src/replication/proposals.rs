//! The proposals in flight, by id. Asserts that each begins once and ends once.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::model::log::{PartitionId, ProposalId};

/// Invariant: `bytes` is the sum of the entries in flight.
#[derive(Debug, Default)]
pub struct Proposals {
    /// The newest proposal.
    last: Option<ProposalId>,
    of: BTreeMap<PartitionId, InFlight>,
}

#[derive(Debug, Default)]
struct InFlight {
    /// Oldest first.
    entries: VecDeque<(ProposalId, Bytes)>,
    bytes: usize,
}

impl Proposals {
    pub fn begin(&mut self, partition: PartitionId, proposal: ProposalId, entry: Bytes) {
        assert!(self.last < Some(proposal), "{proposal:?} comes after {:?}", self.last);
        self.last = Some(proposal);
        let of = self.of.entry(partition).or_default();
        of.bytes += entry.len();
        of.entries.push_back((proposal, entry));
    }

    /// Ends a proposal; returns its entry.
    pub fn end(&mut self, partition: PartitionId, proposal: ProposalId) -> Bytes {
        let entry = self.end_if_begun(partition, proposal);
        entry.unwrap_or_else(|| panic!("{proposal:?} of {partition:?} ends, but it is not in flight"))
    }

    /// The same for a proposal that may have ended before.
    pub fn end_if_begun(&mut self, partition: PartitionId, proposal: ProposalId) -> Option<Bytes> {
        let of = self.of.get_mut(&partition)?;
        // Usually the oldest.
        let at = of.entries.iter().position(|(id, _)| *id == proposal)?;
        let (_, entry) = of.entries.remove(at)?;
        of.bytes -= entry.len();
        Some(entry)
    }

    /// Ends all proposals of a partition, oldest first.
    pub fn end_all(&mut self, partition: PartitionId) -> Vec<ProposalId> {
        let of = self.of.remove(&partition).unwrap_or_default();
        of.entries.into_iter().map(|(proposal, _)| proposal).collect()
    }

    pub fn entries(&self, partition: PartitionId) -> usize {
        self.of.get(&partition).map_or(0, |of| of.entries.len())
    }

    pub fn bytes(&self, partition: PartitionId) -> usize {
        self.of.get(&partition).map_or(0, |of| of.bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.of.values().all(|of| of.entries.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: PartitionId = PartitionId(3);

    #[test]
    fn each_ends_once_and_their_bytes_are_counted() {
        let mut proposals = Proposals::default();
        proposals.begin(P, ProposalId(1), Bytes::from_static(b"abc"));
        proposals.begin(PartitionId(4), ProposalId(2), Bytes::from_static(b"x"));
        proposals.begin(P, ProposalId(5), Bytes::from_static(b"de"));
        assert_eq!((proposals.entries(P), proposals.bytes(P)), (2, 5));
        assert_eq!(proposals.end(P, ProposalId(1)), "abc");
        assert_eq!(proposals.end_if_begun(P, ProposalId(1)), None);
        assert_eq!(proposals.end_if_begun(P, ProposalId(2)), None, "it is of another partition");
        assert_eq!((proposals.entries(P), proposals.bytes(P)), (1, 2));
        assert_eq!(proposals.end_all(P), [ProposalId(5)]);
        assert!(!proposals.is_empty());
        proposals.end(PartitionId(4), ProposalId(2));
        assert!(proposals.is_empty());
    }

    #[test]
    #[should_panic(expected = "is not in flight")]
    fn none_ends_twice() {
        let mut proposals = Proposals::default();
        proposals.begin(P, ProposalId(1), Bytes::new());
        proposals.end(P, ProposalId(1));
        proposals.end(P, ProposalId(1));
    }

    #[test]
    #[should_panic(expected = "comes after")]
    fn no_name_is_used_again() {
        let mut proposals = Proposals::default();
        proposals.begin(P, ProposalId(1), Bytes::new());
        proposals.end(P, ProposalId(1));
        proposals.begin(P, ProposalId(1), Bytes::new());
    }
}
