//! The index of one partition's log: its ends, its vote, and the position of each entry (4 bytes per entry).

use std::collections::VecDeque;

use crate::model::log::{LogId, LogIndex, Term};
use crate::storage::journal::record::ALIGNMENT;

/// Invariants: `purged ≤ last`, `committed ≤ last`; the runs hold exactly the entries of
/// `purged + 1 ..= last`, and possibly some before them.
#[derive(Debug, Clone)]
pub struct PartitionLog {
    /// Of the group on this node, from 1.
    incarnation: u32,
    purged: LogId,
    last: LogId,
    committed: LogId,
    vote: Option<Vec<u8>>,
    runs: VecDeque<Run>,
    /// The entries after the purged one that change the membership, oldest first.
    memberships: Vec<LogIndex>,
    /// Recovery only: entries up to here were not found, so they must turn out to be purged.
    missing: LogIndex,
}

/// Consecutive entries with one term in one file.
#[derive(Debug, Clone)]
struct Run {
    sequence: u64,
    term: Term,
    first: LogIndex,
    /// Offsets in units of the record alignment; never empty.
    offsets: Vec<u32>,
}

impl Run {
    fn last(&self) -> LogIndex {
        LogIndex(self.first.0 + self.offsets.len() as u64 - 1)
    }
}

/// The position of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub sequence: u64,
    pub offset: u64,
}

impl Default for PartitionLog {
    fn default() -> PartitionLog {
        PartitionLog {
            incarnation: 1,
            purged: LogId::default(),
            last: LogId::default(),
            committed: LogId::default(),
            vote: None,
            runs: VecDeque::new(),
            memberships: Vec::new(),
            missing: LogIndex::default(),
        }
    }
}

impl PartitionLog {
    pub fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// The last purged entry; index 0 if none was purged.
    pub fn purged(&self) -> LogId {
        self.purged
    }

    /// The last entry, or the last purged one if no entry is left; index 0 for an empty log.
    pub fn last(&self) -> LogId {
        self.last
    }

    /// The last entry known to be committed; index 0 if none is.
    pub fn committed(&self) -> LogId {
        self.committed
    }

    pub fn vote(&self) -> Option<&[u8]> {
        self.vote.as_deref()
    }

    /// The log id of a present entry, or of the last purged one.
    pub fn log_id(&self, index: LogIndex) -> Option<LogId> {
        if index == self.purged.index && index.0 > 0 {
            return Some(self.purged);
        }
        let (run, _) = self.find(index)?;
        Some(LogId { term: run.term, index })
    }

    pub fn position(&self, index: LogIndex) -> Option<Position> {
        let (run, at) = self.find(index)?;
        Some(Position { sequence: run.sequence, offset: u64::from(run.offsets[at]) * ALIGNMENT })
    }

    /// Whether the log holds exactly this entry, or was purged up to exactly this one.
    pub fn holds(&self, log_id: LogId) -> bool {
        self.log_id(log_id.index) == Some(log_id)
    }

    /// The last entry that changes the membership; `None` if none after the purged one does.
    pub fn last_membership(&self) -> Option<LogIndex> {
        self.memberships.last().copied()
    }

    pub fn is_membership(&self, index: LogIndex) -> bool {
        self.memberships.binary_search(&index).is_ok()
    }

    /// The last entry changes the membership.
    pub fn note_membership(&mut self) {
        assert!(self.last > self.purged, "an entry was pushed before");
        self.memberships.push(self.last.index);
    }

    /// The oldest file that holds a needed entry.
    pub fn oldest_sequence(&self) -> Option<u64> {
        self.runs.front().map(|run| run.sequence)
    }

    fn find(&self, index: LogIndex) -> Option<(&Run, usize)> {
        if index <= self.purged.index || index > self.last.index {
            return None;
        }
        let after = self.runs.partition_point(|run| run.first <= index);
        let run = self.runs.get(after.checked_sub(1)?)?;
        let at = usize::try_from(index.0 - run.first.0).ok()?;
        (at < run.offsets.len()).then_some((run, at))
    }

    /// Records an appended entry: the next index, in no lower a term.
    pub fn push(&mut self, log_id: LogId, position: Position) {
        assert_eq!(log_id.index, self.last.index.next(), "entries follow each other");
        assert!(log_id.term >= self.last.term, "terms do not go back: {log_id:?} after {:?}", self.last);
        let offset =
            u32::try_from(position.offset / ALIGNMENT).expect("a journal file is smaller than 16 GiB");
        self.last = log_id;
        match self.runs.back_mut() {
            Some(run)
                if run.sequence == position.sequence
                    && run.term == log_id.term
                    && run.last().next() == log_id.index =>
            {
                run.offsets.push(offset);
            }
            _ => self.runs.push_back(Run {
                sequence: position.sequence,
                term: log_id.term,
                first: log_id.index,
                offsets: vec![offset],
            }),
        }
    }

    /// Recovery found an entry: the next one, or one after entries whose file is gone.
    pub fn recover(&mut self, log_id: LogId, position: Position) -> Result<(), String> {
        if log_id.index <= self.last.index {
            return Err(format!("entry {} comes again after entry {}", log_id.index.0, self.last.index.0));
        }
        if log_id.term < self.last.term {
            return Err(format!("term {} comes after term {}", log_id.term.0, self.last.term.0));
        }
        if log_id.index > self.last.index.next() {
            if !self.runs.is_empty() {
                return Err(format!("entry {} comes after entry {}", log_id.index.0, self.last.index.0));
            }
            self.missing = LogIndex(log_id.index.0 - 1);
            self.last = LogId { term: self.last.term, index: self.missing };
        }
        self.push(log_id, position);
        Ok(())
    }

    /// Recovery found a truncation, possibly of entries whose file is gone.
    pub fn recover_truncation(&mut self, keep: LogId) -> Result<(), String> {
        if keep.index < self.purged.index {
            return Err(format!("entries after {} are truncated, though purged", keep.index.0));
        }
        if keep.index > self.last.index && !self.runs.is_empty() {
            return Err(format!(
                "a truncation to entry {} comes after entry {}",
                keep.index.0, self.last.index.0
            ));
        }
        if keep.index > self.last.index || keep.index <= self.missing {
            // The kept entry is one of those that are gone, so it must turn out to be purged.
            self.runs.clear();
            self.memberships.clear();
            self.missing = keep.index;
            self.last = keep;
        } else {
            self.truncate_after(keep.index);
        }
        Ok(())
    }

    /// Ends recovery: fails if an entry is missing that was not purged.
    pub fn finish_recovery(&self) -> Result<(), String> {
        if self.missing > self.purged.index {
            return Err(format!("entries {} to {} are missing", self.purged.index.0 + 1, self.missing.0));
        }
        Ok(())
    }

    /// Drops the entries above `index`, which must not be below the purged one.
    pub fn truncate_after(&mut self, index: LogIndex) {
        assert!(index >= self.purged.index, "purged entries are not truncated");
        if index >= self.last.index {
            return;
        }
        self.last = self.log_id(index).unwrap_or(self.purged);
        while let Some(run) = self.runs.back_mut() {
            if run.first > index {
                self.runs.pop_back();
                continue;
            }
            run.offsets.truncate((index.0 - run.first.0 + 1) as usize);
            break;
        }
        self.memberships.retain(|&membership| membership <= index);
        self.committed = self.committed.min(self.last);
    }

    /// Forgets the entries up to `upto`. If `upto` is beyond the last entry, the log becomes empty and
    /// continues after `upto`.
    pub fn purge(&mut self, upto: LogId) {
        if upto.index <= self.purged.index {
            return;
        }
        self.purged = upto;
        if upto.index >= self.last.index {
            self.last = upto;
        }
        while self.runs.front().is_some_and(|run| run.last() <= upto.index) {
            self.runs.pop_front();
        }
        self.memberships.retain(|&membership| membership > upto.index);
        self.committed = self.committed.max(upto);
    }

    /// Forgets every entry; the log continues after `upto`, an entry that it does not hold. Its entries above
    /// `upto` belonged to another history.
    pub fn reset(&mut self, upto: LogId) {
        assert!(upto.index >= self.purged.index, "a log is not reset to before {:?}: {upto:?}", self.purged);
        self.runs.clear();
        self.memberships.clear();
        self.missing = LogIndex::default();
        (self.purged, self.last, self.committed) = (upto, upto, upto);
    }

    /// Forgets everything of this incarnation; the next one begins.
    pub fn drop_group(&mut self, incarnation: u32) {
        *self = PartitionLog { incarnation: incarnation + 1, ..PartitionLog::default() };
    }

    /// Recovery found that an incarnation was dropped, here or before this file.
    pub fn recover_drop(&mut self, incarnation: u32) -> Result<(), String> {
        if incarnation.checked_add(1).is_none_or(|next| next < self.incarnation) {
            return Err(format!("incarnation {incarnation} is dropped after {}", self.incarnation));
        }
        if incarnation + 1 > self.incarnation {
            self.drop_group(incarnation);
        }
        Ok(())
    }

    /// Recovery begins a file that says what the log held before it.
    pub fn recover_last(&mut self, last: LogId) -> Result<(), String> {
        if last == self.last {
            return Ok(());
        }
        if !self.runs.is_empty() || last.index < self.last.index {
            return Err(format!(
                "the file continues a log up to entry {}, which ends at entry {}",
                last.index.0, self.last.index.0
            ));
        }
        self.missing = last.index;
        self.last = last;
        Ok(())
    }

    /// Handles a reset record at recovery.
    pub fn recover_reset(&mut self, upto: LogId) -> Result<(), String> {
        if upto.index < self.purged.index {
            return Err(format!(
                "a reset to entry {} comes after entry {} was purged",
                upto.index.0, self.purged.index.0
            ));
        }
        self.reset(upto);
        Ok(())
    }

    pub fn set_committed(&mut self, committed: LogId) {
        if committed.index > self.committed.index && committed.index <= self.last.index {
            self.committed = committed;
        }
    }

    pub fn set_vote(&mut self, vote: &[u8]) {
        self.vote = Some(vote.to_vec());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(term: u64, index: u64) -> LogId {
        LogId { term: Term(term), index: LogIndex(index) }
    }

    fn log(entries: &[(u64, u64)]) -> PartitionLog {
        let mut log = PartitionLog::default();
        for &(term, sequence) in entries {
            let index = log.last().index.next().0;
            log.push(id(term, index), Position { sequence, offset: 64 + 40 * index });
        }
        log
    }

    #[test]
    fn entries_are_found_across_files_and_terms() {
        let log = log(&[(1, 1), (1, 1), (2, 1), (2, 2), (2, 2)]);
        for index in 1..=5 {
            let position = log.position(LogIndex(index)).unwrap();
            assert_eq!(position, Position { sequence: 1 + u64::from(index > 3), offset: 64 + 40 * index });
            assert_eq!(log.log_id(LogIndex(index)), Some(id(1 + u64::from(index > 2), index)));
        }
        assert_eq!(log.position(LogIndex(0)), None);
        assert_eq!(log.position(LogIndex(6)), None);
    }

    #[test]
    fn truncation_and_purge_meet_in_the_middle() {
        let mut log = log(&[(1, 1), (1, 1), (2, 1), (2, 2), (2, 2)]);
        log.purge(id(1, 2));
        assert_eq!((log.position(LogIndex(2)), log.log_id(LogIndex(2))), (None, Some(id(1, 2))));
        assert_eq!(log.oldest_sequence(), Some(1));
        log.truncate_after(LogIndex(3));
        assert_eq!(log.last(), id(2, 3));
        log.purge(id(2, 3));
        assert_eq!((log.last(), log.oldest_sequence()), (id(2, 3), None));
        log.push(id(3, 4), Position { sequence: 3, offset: 64 });
        log.truncate_after(LogIndex(3));
        assert_eq!(log.last(), id(2, 3));
    }

    #[test]
    fn a_purge_beyond_the_end_moves_the_end() {
        let mut log = log(&[(1, 1)]);
        log.purge(id(4, 90));
        assert_eq!((log.last(), log.purged()), (id(4, 90), id(4, 90)));
        log.push(id(4, 91), Position { sequence: 1, offset: 640 });
    }

    #[test]
    fn a_reset_leaves_nothing_of_the_other_history() {
        let mut log = log(&[(1, 1), (1, 1), (2, 1), (2, 2), (2, 2)]);
        log.note_membership();
        assert!(log.holds(id(2, 3)) && !log.holds(id(3, 3)) && !log.holds(id(2, 6)));
        assert_eq!(log.last_membership(), Some(LogIndex(5)));
        log.reset(id(3, 3));
        assert_eq!((log.last(), log.purged(), log.committed()), (id(3, 3), id(3, 3), id(3, 3)));
        assert_eq!((log.position(LogIndex(4)), log.last_membership()), (None, None));
        log.push(id(3, 4), Position { sequence: 3, offset: 64 });
        assert!(log.recover_reset(id(3, 2)).is_err());
    }

    #[test]
    fn a_membership_goes_with_its_entry() {
        let mut log = PartitionLog::default();
        for index in 1..=4 {
            log.push(id(1, index), Position { sequence: 1, offset: 64 * index });
            if index % 2 == 0 {
                log.note_membership();
            }
        }
        assert_eq!(log.last_membership(), Some(LogIndex(4)));
        log.truncate_after(LogIndex(3));
        assert_eq!(log.last_membership(), Some(LogIndex(2)));
        log.purge(id(1, 2));
        assert_eq!(log.last_membership(), None);
    }

    #[test]
    fn a_hole_is_an_error_unless_it_was_purged() {
        let mut log = PartitionLog::default();
        log.recover(id(2, 7), Position { sequence: 3, offset: 64 }).unwrap();
        assert!(log.finish_recovery().is_err());
        log.purge(id(1, 6));
        assert_eq!(log.finish_recovery(), Ok(()));
        assert!(log.recover(id(2, 7), Position { sequence: 3, offset: 640 }).is_err());
        assert!(log.recover(id(1, 8), Position { sequence: 3, offset: 640 }).is_err());
    }
}
