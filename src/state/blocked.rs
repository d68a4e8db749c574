//! Group reads that are blocked while an entry is applied; the machine serves them between two of its ops.
//!
//! An entry carries the group reads that were blocked on the keys of its ops when it was sealed, and those
//! that had to look at the state, in arrival order. Before the first op the machine tries the reads that
//! look; after each op it serves the reads whose key became readable, as Redis does between two commands
//! (`handleClientsBlockedOnKeys`, Redis 7.2). The list is in the entry, so every replica serves the same
//! reads. A read that finds nothing stays blocked and changes no state.

use crate::base::wire::{Malformed, Reader};
use crate::command::value::group::GroupRead;
use crate::state::effects::KeyEvent;
use crate::state::op::codec;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The position of a blocked read among those that its entry carries, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlockedNumber(pub usize);

/// The blocked reads of the entry that is being applied.
///
/// Invariant: `by_key` holds exactly the numbers of the reads that are still blocked, ascending, under each
/// of their keys.
#[derive(Debug, Default)]
pub struct BlockedReads<'a> {
    /// `None` after it was served.
    reads: Vec<Option<(u32, GroupRead<'a>)>>,
    by_key: BTreeMap<(u32, &'a [u8]), Vec<BlockedNumber>>,
    /// Reads to try before the next op, each at most once per signal.
    due: VecDeque<BlockedNumber>,
}

impl<'a> BlockedReads<'a> {
    /// Reads the list that an entry carries. The reads that look are due.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut blocked = BlockedReads::default();
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            let (looks, database, read) = codec::decode_carried(&mut reader)?;
            let number = blocked.block(database, read);
            if looks {
                blocked.due.push_back(number);
            }
        }
        Ok(blocked)
    }

    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// The read joins the queues of its keys, behind the reads already there.
    pub fn block(&mut self, database: u32, read: GroupRead<'a>) -> BlockedNumber {
        let number = BlockedNumber(self.reads.len());
        for (key, _) in &read.streams {
            let queue = self.by_key.entry((database, key)).or_default();
            if queue.last() != Some(&number) {
                queue.push(number);
            }
        }
        self.reads.push(Some((database, read)));
        number
    }

    /// Handles the events of an op: the reads on the affected keys are tried before the next op.
    pub fn signal(&mut self, signals: &[KeyEvent]) {
        let mut tried = BTreeSet::new();
        for signal in signals {
            if !tried.insert((signal.database, &signal.key[..], signal.kind.concerns_database())) {
                continue;
            }
            if signal.kind.concerns_database() {
                let here = self.by_key.range((signal.database, &[][..])..);
                let here = here.take_while(|((database, _), _)| *database == signal.database);
                let mut all: Vec<BlockedNumber> = here.flat_map(|(_, queue)| queue).copied().collect();
                all.sort_unstable();
                all.dedup();
                self.due.extend(all);
            } else if let Some(queue) = self.by_key.get(&(signal.database, &signal.key[..])) {
                self.due.extend(queue);
            }
        }
    }

    /// [`Op::BlockingRead`] comes next: the reads that wait on its keys came before it and are tried first.
    ///
    /// [`Op::BlockingRead`]: crate::state::op::Op::BlockingRead
    pub fn precede(&mut self, database: u32, later: &GroupRead<'_>) {
        for (key, _) in &later.streams {
            self.due.extend(self.by_key.get(&(database, *key)).into_iter().flatten());
        }
    }

    /// The next read to try.
    pub fn next_due(&mut self) -> Option<(BlockedNumber, u32, GroupRead<'a>)> {
        while let Some(number) = self.due.pop_front() {
            if let Some((database, read)) = &self.reads[number.0] {
                return Some((number, *database, read.clone()));
            }
        }
        None
    }

    /// The read was served and is no longer blocked.
    pub fn unblock(&mut self, number: BlockedNumber) {
        let (database, read) = self.reads[number.0].take().expect("a read is served once");
        for (key, _) in &read.streams {
            if let Some(queue) = self.by_key.get_mut(&(database, *key)) {
                queue.retain(|queued| *queued != number);
                if queue.is_empty() {
                    self.by_key.remove(&(database, *key));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::value::group::GroupReadFrom;
    use crate::command::value::stream::ReadLimits;
    use crate::state::effects::EventKind;
    use bytes::Bytes;

    fn read<'a>(keys: &[&'a str]) -> GroupRead<'a> {
        GroupRead {
            group: b"g",
            consumer: b"c",
            limits: ReadLimits::default(),
            claim: None,
            no_ack: false,
            streams: keys.iter().map(|key| (key.as_bytes(), GroupReadFrom::New)).collect(),
        }
    }

    fn signal(database: u32, key: &'static str, kind: EventKind) -> KeyEvent {
        KeyEvent { database, key: Bytes::from_static(key.as_bytes()), kind, step: 0 }
    }

    fn tried(blocked: &mut BlockedReads<'_>) -> Vec<usize> {
        std::iter::from_fn(|| blocked.next_due()).map(|(number, ..)| number.0).collect()
    }

    #[test]
    fn reads_of_a_key_are_tried_in_the_order_in_which_they_came() {
        let mut blocked = BlockedReads::default();
        for (database, keys) in [(0, &["a", "b"][..]), (0, &["b"]), (1, &["a"]), (0, &["a", "a"])] {
            blocked.block(database, read(keys));
        }
        blocked.signal(&[signal(0, "a", EventKind::Add)]);
        assert_eq!(tried(&mut blocked), [0, 3]);
        blocked.signal(&[signal(0, "a", EventKind::Add), signal(0, "a", EventKind::Add)]);
        assert_eq!(tried(&mut blocked), [0, 3], "once for all events of a key");
        blocked.unblock(BlockedNumber(0));
        blocked.signal(&[signal(0, "b", EventKind::Add), signal(0, "a", EventKind::Delete)]);
        assert_eq!(tried(&mut blocked), [1, 3]);
        blocked.signal(&[signal(1, "", EventKind::Flush)]);
        assert_eq!(tried(&mut blocked), [2]);
        for number in [1, 2, 3] {
            blocked.unblock(BlockedNumber(number));
        }
        assert!(blocked.is_empty());
    }

    #[test]
    fn a_read_that_was_served_meanwhile_is_not_tried_again() {
        let mut blocked = BlockedReads::default();
        let number = blocked.block(0, read(&["a", "b"]));
        blocked.signal(&[signal(0, "a", EventKind::Add), signal(0, "b", EventKind::Add)]);
        assert_eq!(blocked.next_due().map(|(number, ..)| number), Some(number));
        blocked.unblock(number);
        assert_eq!(tried(&mut blocked), []);
    }
}
