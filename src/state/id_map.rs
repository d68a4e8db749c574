//! A [`SharedMap`] by entry id, or by another small key that is given and taken as a value.

use crate::model::entry_id::EntryId;
use crate::state::shared_map::SharedMap;

#[derive(Debug, Clone)]
pub struct IdMap<V, K = EntryId>(SharedMap<K, V>);

impl<V, K> Default for IdMap<V, K> {
    fn default() -> Self {
        IdMap(SharedMap::default())
    }
}

impl<V: Clone, K: Copy + Ord> IdMap<V, K> {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn first(&self) -> Option<(K, &V)> {
        self.0.first().map(by_value)
    }

    pub fn last(&self) -> Option<(K, &V)> {
        self.0.last().map(by_value)
    }

    pub fn last_mut(&mut self) -> Option<&mut V> {
        self.0.last_mut()
    }

    pub fn contains(&self, id: K) -> bool {
        self.0.contains(&id)
    }

    pub fn get(&self, id: K) -> Option<&V> {
        self.0.get(&id)
    }

    pub fn get_mut(&mut self, id: K) -> Option<&mut V> {
        self.0.get_mut(&id)
    }

    /// The entry with the greatest key up to `id`.
    pub fn floor(&self, id: K) -> Option<(K, &V)> {
        self.0.floor(&id).map(by_value)
    }

    /// Inserts a value; returns the previous one.
    pub fn insert(&mut self, id: K, value: V) -> Option<V> {
        self.0.insert(id, value)
    }

    pub fn remove(&mut self, id: K) -> Option<V> {
        self.0.remove(&id)
    }

    /// Removes the entries below `id`, and returns them: they may be many.
    pub fn split_off_front(&mut self, id: K) -> IdMap<V, K> {
        IdMap(self.0.split_off_front(&id))
    }

    /// Entries from `from` on, ascending.
    pub fn range(&self, from: K) -> impl Iterator<Item = (K, &V)> {
        self.0.range(&from).map(by_value)
    }

    /// Entries from `from` down, descending.
    pub fn range_back(&self, from: K) -> impl Iterator<Item = (K, &V)> {
        self.0.range_back(&from).map(by_value)
    }

    pub fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.0.iter().map(by_value)
    }

    /// The entries from `from` to `to`, and some of their neighbours. Shares the leaves, as a clone does.
    pub fn slice(&self, from: K, to: K) -> IdMap<V, K> {
        IdMap(self.0.slice(&from, &to))
    }

    /// Bytes of a slice besides what it shares.
    pub fn memory_of_slice(&self) -> usize {
        self.0.memory_of_slice()
    }

    /// Nodes of the tree that the map does not share with another.
    #[cfg(test)]
    pub fn unshared(&self, other: &IdMap<V, K>) -> usize {
        self.0.unshared(&other.0)
    }

    /// Asserts the invariants.
    pub fn check(&self) {
        self.0.check();
    }
}

fn by_value<'m, V, K: Copy>((id, value): (&K, &'m V)) -> (K, &'m V) {
    (*id, value)
}
