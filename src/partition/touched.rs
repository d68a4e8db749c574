//! The keys that the ops of a batch name: reads blocked on them go with the entry.

use crate::command::value::Write;
use crate::command::value::key::KeyWrite;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// Names only; the machine determines what an op does to a key.
#[derive(Debug, Default)]
pub struct Touched {
    /// Each with the number of reads per group that go with the entry: one for an XADD, which adds one entry;
    /// for other ops as many as an entry may carry.
    keys: BTreeMap<(u32, Bytes), usize>,
    databases: BTreeSet<u32>,
    everything: bool,
}

/// Maximum reads per group and key that an entry carries. The others look at the state after it.
pub const CARRIED_READS_MAX: usize = 64;

impl Touched {
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.databases.is_empty() && !self.everything
    }

    pub fn clear(&mut self) {
        self.keys.clear();
        self.databases.clear();
        self.everything = false;
    }

    /// The keys, each with the number of reads per group that go with the entry.
    pub fn keys(&self) -> impl Iterator<Item = (u32, &[u8], usize)> {
        self.keys.iter().map(|((database, key), reads)| (*database, &key[..], *reads))
    }

    /// Whether an op touches the whole database.
    pub fn is_database(&self, database: u32) -> bool {
        self.everything || self.databases.contains(&database)
    }

    /// Whether an op touches any whole database.
    pub fn is_any_database(&self) -> bool {
        self.everything || !self.databases.is_empty()
    }

    pub fn note_write(&mut self, database: u32, write: &Write<'_>) {
        match write {
            Write::Add(add) => self.note_key(database, add.key, 1),
            Write::GroupRead(_) => {}
            Write::Key(KeyWrite::FlushAll) => self.everything = true,
            Write::Key(KeyWrite::FlushDatabase) => drop(self.databases.insert(database)),
            Write::Key(KeyWrite::SwapDatabases { first, second }) => self.databases.extend([*first, *second]),
            Write::Key(KeyWrite::Copy { to, database: Some(into), .. }) => {
                self.note_key(*into, to, CARRIED_READS_MAX);
            }
            Write::Key(KeyWrite::Move { key, database: into }) => {
                self.note_key(database, key, CARRIED_READS_MAX);
                self.note_key(*into, key, CARRIED_READS_MAX);
            }
            _ => write.keys().for_each(|key| self.note_key(database, key, CARRIED_READS_MAX)),
        }
    }

    fn note_key(&mut self, database: u32, key: &[u8], reads: usize) {
        let known = self.keys.entry((database, Bytes::copy_from_slice(key))).or_default();
        *known = known.saturating_add(reads).min(CARRIED_READS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::value::group::{GroupRead, GroupReadFrom};
    use crate::command::value::stream::{Add, NewId, ReadLimits};
    use crate::model::args::ArgList;

    fn keys(touched: &Touched) -> Vec<(u32, &[u8], usize)> {
        touched.keys().collect()
    }

    #[test]
    fn an_entry_carries_one_read_for_each_added_entry() {
        let fields = ArgList::Packed { count: 2, bytes: b"\x01a\x01b" };
        let add =
            Add { key: b"s", make_stream: true, id: NewId::Auto, trim: None, idempotency: None, fields };
        let mut touched = Touched::default();
        for _ in 0..3 {
            touched.note_write(0, &Write::Add(add));
        }
        assert_eq!(keys(&touched), [(0, &b"s"[..], 3)]);
        touched.note_write(0, &Write::Key(KeyWrite::Persist { key: b"s" }));
        assert_eq!(keys(&touched), [(0, &b"s"[..], CARRIED_READS_MAX)]);
    }

    #[test]
    fn both_databases_of_a_move_are_touched() {
        let mut touched = Touched::default();
        touched.note_write(1, &Write::Key(KeyWrite::Move { key: b"s", database: 2 }));
        assert_eq!(keys(&touched), [(1, &b"s"[..], CARRIED_READS_MAX), (2, &b"s"[..], CARRIED_READS_MAX)]);
        touched.clear();
        touched.note_write(1, &Write::Key(KeyWrite::SwapDatabases { first: 3, second: 4 }));
        assert!(touched.is_database(3) && touched.is_database(4) && !touched.is_database(1));
        touched.note_write(1, &Write::Key(KeyWrite::FlushAll));
        assert!(touched.is_database(9));
    }

    #[test]
    fn every_key_that_a_write_may_make_readable_is_touched() {
        let (from, to) = (&b"a"[..], &b"b"[..]);
        let both = [(0, from, CARRIED_READS_MAX), (0, to, CARRIED_READS_MAX)];
        let mut touched = Touched::default();
        touched.note_write(0, &Write::Key(KeyWrite::Rename { from, to, only_if_absent: false }));
        assert_eq!(keys(&touched), both);
        touched.clear();
        touched.note_write(0, &Write::Key(KeyWrite::Copy { from, to, database: None, replace: true }));
        assert_eq!(keys(&touched), both);
        touched.clear();
        touched.note_write(0, &Write::Key(KeyWrite::Copy { from, to, database: Some(3), replace: true }));
        assert_eq!(keys(&touched), [(3, to, CARRIED_READS_MAX)]);
        touched.clear();
        touched.note_write(2, &Write::Key(KeyWrite::FlushDatabase));
        assert!(touched.is_database(2) && !touched.is_database(0) && touched.is_any_database());
        assert!(!touched.is_empty() && keys(&touched).is_empty());
    }

    #[test]
    fn reads_touch_nothing() {
        let read = GroupRead {
            group: b"g",
            consumer: b"c",
            limits: ReadLimits::default(),
            claim: None,
            no_ack: false,
            streams: vec![(b"s", GroupReadFrom::New)],
        };
        let mut touched = Touched::default();
        touched.note_write(0, &Write::GroupRead(read));
        assert!(touched.is_empty());
    }
}
