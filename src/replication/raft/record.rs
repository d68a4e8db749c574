//! The encodings of votes, memberships and log ids in the journal and the checkpoints. They are Headwater's
//! own: openraft promises none between its versions.
//!
//! **Log ids.** openraft counts from 0 and has an option for "none"; the journal counts from 1, and 0 is
//! "before the first". So openraft's index is the journal's minus 1, without loss in either direction.

use std::collections::{BTreeMap, BTreeSet};

use openraft::EntryPayload;

use crate::base::wire::{Malformed, Reader, Writer};
use crate::model::log::{LogId, LogIndex, Term};
use crate::replication::raft::types::{
    Batch, CommittedLeaderId, Entry, Membership, RaftLogId, StoredMembership, Vote,
};
use crate::storage::journal::journal::LogRecord;
use crate::storage::journal::record::RecordKind;

/// First byte of every encoding in this file.
const VERSION: u8 = 1;

/// openraft's index of a log position; `None` before the first.
pub fn raft_index(index: LogIndex) -> Option<u64> {
    index.0.checked_sub(1)
}

pub fn log_index(raft_index: u64) -> LogIndex {
    LogIndex(raft_index + 1)
}

pub fn to_raft(log_id: LogId) -> Option<RaftLogId> {
    let index = raft_index(log_id.index)?;
    Some(RaftLogId::new(CommittedLeaderId::new(log_id.term.0), index))
}

pub fn from_raft(log_id: &RaftLogId) -> LogId {
    LogId { term: Term(log_id.leader_id.term), index: log_index(log_id.index) }
}

/// `None` is the position before the first entry.
pub fn from_raft_option(log_id: Option<&RaftLogId>) -> LogId {
    log_id.map(from_raft).unwrap_or_default()
}

pub fn encode_vote(vote: &Vote) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out);
    writer.u8(VERSION);
    writer.varint(vote.leader_id.term);
    writer.varint(vote.leader_id.voted_for);
    writer.bool(vote.committed);
    out
}

pub fn decode_vote(bytes: &[u8]) -> Result<Vote, Malformed> {
    let mut reader = Reader::new(bytes);
    version(&mut reader)?;
    let (term, node) = (reader.varint()?, reader.varint()?);
    let vote = if reader.bool()? { Vote::new_committed(term, node) } else { Vote::new(term, node) };
    reader.finish()?;
    Ok(vote)
}

/// Voters (two sets during a change), then learners.
pub fn encode_membership(membership: &Membership) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out);
    writer.u8(VERSION);
    let configs = membership.get_joint_config();
    writer.varint(configs.len() as u64);
    for config in configs {
        writer.varint(config.len() as u64);
        for &node in config {
            writer.varint(node);
        }
    }
    let learners: Vec<u64> = membership.learner_ids().collect();
    writer.varint(learners.len() as u64);
    for node in learners {
        writer.varint(node);
    }
    out
}

pub fn decode_membership(bytes: &[u8]) -> Result<Membership, Malformed> {
    let mut reader = Reader::new(bytes);
    let membership = read_membership(&mut reader)?;
    reader.finish()?;
    Ok(membership)
}

fn read_membership(reader: &mut Reader<'_>) -> Result<Membership, Malformed> {
    version(reader)?;
    let mut configs = Vec::new();
    let mut nodes = BTreeMap::new();
    for _ in 0..reader.count()? {
        let mut config = BTreeSet::new();
        for _ in 0..reader.count()? {
            let node = reader.varint()?;
            config.insert(node);
            nodes.insert(node, ());
        }
        configs.push(config);
    }
    for _ in 0..reader.count()? {
        nodes.insert(reader.varint()?, ());
    }
    if configs.is_empty() && nodes.is_empty() {
        return Ok(Membership::default());
    }
    Membership::new(configs, nodes).map_err(|_| reader.malformed("not a membership"))
}

/// A checkpoint's membership bytes: empty for the local committer ("none known"), otherwise the membership
/// and its log position.
pub fn encode_stored(stored: &StoredMembership) -> Vec<u8> {
    if *stored == StoredMembership::default() {
        return Vec::new();
    }
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out);
    let log_id = from_raft_option(stored.log_id().as_ref());
    writer.varint(log_id.term.0);
    writer.varint(log_id.index.0);
    writer.raw(&encode_membership(stored.membership()));
    out
}

pub fn decode_stored(bytes: &[u8]) -> Result<StoredMembership, Malformed> {
    if bytes.is_empty() {
        return Ok(StoredMembership::default());
    }
    let mut reader = Reader::new(bytes);
    let log_id = LogId { term: Term(reader.varint()?), index: LogIndex(reader.varint()?) };
    let membership = read_membership(&mut reader)?;
    reader.finish()?;
    Ok(StoredMembership::new(to_raft(log_id), membership))
}

/// The entry of a journal record; shares the memory of the payload.
pub fn decode_entry(record: &LogRecord) -> Result<Entry, Malformed> {
    let payload = match record.kind {
        RecordKind::Entry => EntryPayload::Normal(Batch(record.payload.clone())),
        RecordKind::Blank => EntryPayload::Blank,
        RecordKind::Membership => EntryPayload::Membership(decode_membership(&record.payload)?),
        _ => return Err(Malformed { offset: 0, what: "not an entry" }),
    };
    let log_id = to_raft(record.log_id).ok_or(Malformed { offset: 0, what: "an entry before the first" })?;
    Ok(Entry { log_id, payload })
}

fn version(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    match reader.u8()? {
        VERSION => Ok(()),
        _ => Err(reader.malformed("unknown version")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_is_before_the_first() {
        assert_eq!(to_raft(LogId::default()), None);
        assert_eq!(from_raft_option(None), LogId::default());
        let first = LogId { term: Term(0), index: LogIndex(1) };
        assert_eq!(to_raft(first).map(|log_id| log_id.index), Some(0));
        assert_eq!(from_raft(&to_raft(first).unwrap()), first);
    }

    proptest! {
        #[test]
        fn votes_and_members_come_back(term: u64, node: u64, committed: bool,
            voters in proptest::collection::btree_set(0..9u64, 1..5), learners in proptest::collection::btree_set(20..29u64, 0..4)) {
            let vote = if committed { Vote::new_committed(term, node) } else { Vote::new(term, node) };
            prop_assert_eq!(decode_vote(&encode_vote(&vote)), Ok(vote));
            let membership = Membership::new_with_defaults(vec![voters], learners);
            prop_assert_eq!(decode_membership(&encode_membership(&membership)), Ok(membership.clone()));
            for log_id in [None, to_raft(LogId { term: Term(term), index: LogIndex(node.max(1)) })] {
                let stored = StoredMembership::new(log_id, membership.clone());
                prop_assert_eq!(decode_stored(&encode_stored(&stored)), Ok(stored));
            }
        }

        #[test]
        fn any_bytes_are_refused_or_read(bytes: Vec<u8>) {
            let _ = decode_vote(&bytes);
            let _ = decode_membership(&bytes);
            let _ = decode_stored(&bytes);
        }
    }

    #[test]
    fn no_membership_is_no_bytes() {
        assert!(encode_stored(&StoredMembership::default()).is_empty());
        assert_eq!(decode_stored(&[]), Ok(StoredMembership::default()));
    }
}
