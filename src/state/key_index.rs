//! From a key's hash to its slot: open addressing in many small tables, so that none takes long to grow.

use std::array;
use std::num::NonZeroU32;

/// The place of an entry in a [`KeyTable`]: below [`SlotNumber::MAX`].
///
/// [`KeyTable`]: crate::state::key_table::KeyTable
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SlotNumber(pub u32);

impl SlotNumber {
    pub const MAX: u32 = u32::MAX;
}

/// Tables of an index. With a million keys each has 4,000, and grows in less than 0.1 ms.
const SHARDS: usize = 256;

/// Cells of a table that is not empty, at least.
const CELLS_MIN: usize = 8;

/// Knows hashes and slots, and no keys: a caller compares those.
///
/// Never iterated, so the hash's order is invisible.
#[derive(Debug)]
pub struct KeyIndex {
    shards: Box<[Shard; SHARDS]>,
}

/// A table with linear probing. Its cells hold the lower half of the hash and the slot.
///
/// Invariants: the number of cells is 0 or a power of two; at most three quarters of them are taken; no empty
/// cell lies between an entry and the cell of its hash.
#[derive(Debug, Clone, Default)]
struct Shard {
    cells: Box<[Cell]>,
    taken: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cell {
    hash: u32,
    /// One more than the slot's number; `None`: empty.
    slot: Option<NonZeroU32>,
}

impl Cell {
    const EMPTY: Cell = Cell { hash: 0, slot: None };

    fn new(hash: u64, SlotNumber(slot): SlotNumber) -> Cell {
        Cell { hash: hash as u32, slot: NonZeroU32::MIN.checked_add(slot) }
    }

    fn slot(self) -> Option<SlotNumber> {
        self.slot.map(|slot| SlotNumber(slot.get() - 1))
    }
}

impl Default for KeyIndex {
    fn default() -> Self {
        KeyIndex { shards: Box::new(array::from_fn(|_| Shard::default())) }
    }
}

impl KeyIndex {
    /// The first slot with this hash for which `look` gives something.
    #[inline]
    pub fn find<T>(&self, hash: u64, look: impl Fn(SlotNumber) -> Option<T>) -> Option<T> {
        let cells = &*self.shards[shard_of(hash)].cells;
        let mask = cells.len().checked_sub(1)?;
        let mut at = hash as u32 as usize;
        loop {
            let cell = cells[at & mask];
            let slot = cell.slot()?;
            if cell.hash == hash as u32
                && let Some(found) = look(slot)
            {
                return Some(found);
            }
            at += 1;
        }
    }

    /// Adds a slot that is not in the index.
    pub fn insert(&mut self, hash: u64, slot: SlotNumber) {
        assert!(slot.0 < SlotNumber::MAX, "{slot:?} has a number in a cell");
        let shard = &mut self.shards[shard_of(hash)];
        if (shard.taken + 1) * 4 > shard.cells.len() * 3 {
            shard.resize((shard.cells.len() * 2).max(CELLS_MIN));
        }
        shard.insert(Cell::new(hash, slot));
    }

    /// Removes a slot that is in the index.
    pub fn remove(&mut self, hash: u64, slot: SlotNumber) {
        let shard = &mut self.shards[shard_of(hash)];
        shard.remove(Cell::new(hash, slot));
        if shard.taken * 8 < shard.cells.len() && shard.cells.len() > CELLS_MIN {
            shard.resize(shard.cells.len() / 2);
        }
    }

    /// The entry at `from` has moved.
    pub fn replace(&mut self, hash: u64, from: SlotNumber, to: SlotNumber) {
        let shard = &mut self.shards[shard_of(hash)];
        let at = shard.find(Cell::new(hash, from));
        shard.cells[at] = Cell::new(hash, to);
    }

    /// Entries that fit before one of the tables grows, about.
    pub fn capacity(&self) -> usize {
        self.shards.iter().map(|shard| shard.cells.len() / 4 * 3).sum()
    }

    /// Asserts the invariants; the index has `len` entries.
    pub fn check(&self, len: usize) {
        let taken: usize = self.shards.iter().map(|shard| shard.taken).sum();
        assert_eq!(taken, len, "the index holds each key once");
        for shard in self.shards.iter() {
            let cells = || shard.cells.iter().enumerate().filter(|(_, cell)| cell.slot.is_some());
            assert!(cells().all(|(at, cell)| shard.find(*cell) == at), "each entry is found");
            assert_eq!(cells().count(), shard.taken, "a table counts its entries");
            assert!(shard.taken * 4 <= shard.cells.len() * 3, "a table has room");
        }
    }
}

/// By the hash's upper half: the lower half chooses the cell.
#[inline]
fn shard_of(hash: u64) -> usize {
    (hash >> 56) as usize
}

impl Shard {
    /// The cell of a hash; `None` if there are no cells.
    #[inline]
    fn home(&self, hash: u32) -> Option<usize> {
        Some(hash as usize & self.cells.len().checked_sub(1)?)
    }

    #[inline]
    fn after(&self, at: usize) -> usize {
        (at + 1) & (self.cells.len() - 1)
    }

    fn insert(&mut self, cell: Cell) {
        let mut at = self.home(cell.hash).expect("there is room");
        while self.cells[at].slot.is_some() {
            at = self.after(at);
        }
        self.cells[at] = cell;
        self.taken += 1;
    }

    /// Where a cell is that is in the table.
    fn find(&self, cell: Cell) -> usize {
        let mut at = self.home(cell.hash).expect("the table has entries");
        while self.cells[at] != cell {
            assert!(self.cells[at].slot.is_some(), "{cell:?} is in the table");
            at = self.after(at);
        }
        at
    }

    fn remove(&mut self, cell: Cell) {
        let mut gap = self.find(cell);
        // What follows moves up, unless it stands between its own cell and the gap.
        let mut at = self.after(gap);
        while self.cells[at].slot.is_some() {
            let home = self.home(self.cells[at].hash).expect("the table has entries");
            let mask = self.cells.len() - 1;
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(gap) & mask {
                self.cells[gap] = self.cells[at];
                gap = at;
            }
            at = self.after(at);
        }
        self.cells[gap] = Cell::EMPTY;
        self.taken -= 1;
    }

    fn resize(&mut self, cells: usize) {
        let before = std::mem::replace(&mut self.cells, vec![Cell::EMPTY; cells].into());
        self.taken = 0;
        before.iter().filter(|cell| cell.slot.is_some()).for_each(|cell| self.insert(*cell));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Few hashes, so that they meet, in two tables.
    fn hash(slot: u32) -> u64 {
        u64::from(slot % 7) | u64::from(slot % 2) << 56
    }

    proptest! {
        #[test]
        fn it_finds_what_is_in_it(ops: Vec<(u8, u8)>) {
            let mut index = KeyIndex::default();
            let mut model = BTreeMap::new();
            let find = |index: &KeyIndex, number: u32| {
                index.find(hash(number), |slot| (slot == SlotNumber(number)).then_some(()))
            };
            for (op, number) in ops {
                let number = u32::from(number);
                let hash = hash(number);
                match model.get(&number) {
                    None => {
                        index.insert(hash, SlotNumber(number));
                        model.insert(number, hash);
                    }
                    Some(_) if op < 200 => {
                        index.remove(hash, SlotNumber(number));
                        model.remove(&number);
                    }
                    Some(_) => {
                        // 14 further: the same hash.
                        let to = number + 256 * 14;
                        if !model.contains_key(&to) {
                            index.replace(hash, SlotNumber(number), SlotNumber(to));
                            model.remove(&number);
                            model.insert(to, hash);
                        }
                    }
                }
                index.check(model.len());
            }
            for number in 0..256 * 15 {
                let found = find(&index, number).is_some();
                prop_assert_eq!(found, model.contains_key(&number), "{}", number);
            }
        }
    }

    #[test]
    fn it_shrinks_when_it_is_emptied() {
        let mut index = KeyIndex::default();
        let hash = |n: u32| u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (0..10_000).for_each(|n| index.insert(hash(n), SlotNumber(n)));
        assert!((10_000..40_000).contains(&index.capacity()), "{}", index.capacity());
        (0..10_000).for_each(|n| index.remove(hash(n), SlotNumber(n)));
        assert!(index.capacity() <= 256 * 8, "{}", index.capacity());
        assert_eq!(index.find(hash(5), Some), None);
    }
}
