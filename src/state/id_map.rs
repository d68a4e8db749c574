//! An ordered map by entry id (or another small key) with cheap clones: short sorted runs behind `Arc`s,
//! copied on write.
//!
//! Optimised for streams: keys are appended at the end, looked up anywhere, and removed near the front. A
//! clone copies one pointer per [`RUN_LEN_MAX`] entries; the next write copies one run.

use crate::model::entry_id::EntryId;
use std::collections::VecDeque;
use std::sync::Arc;

/// Most entries of a run. A removal moves half a run on average, so runs are short.
const RUN_LEN_MAX: usize = 64;

type Run<K, V> = Arc<Vec<(K, V)>>;

/// Invariants: no run is empty; keys ascend strictly, within runs and from run to run; `len` counts them.
#[derive(Debug, Clone)]
pub struct IdMap<V, K = EntryId> {
    runs: VecDeque<Run<K, V>>,
    len: usize,
}

impl<V, K> Default for IdMap<V, K> {
    fn default() -> Self {
        IdMap { runs: VecDeque::new(), len: 0 }
    }
}

impl<V: Clone, K: Copy + Ord> IdMap<V, K> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn first(&self) -> Option<(K, &V)> {
        let (id, value) = self.runs.front()?.first()?;
        Some((*id, value))
    }

    pub fn last(&self) -> Option<(K, &V)> {
        let (id, value) = self.runs.back()?.last()?;
        Some((*id, value))
    }

    pub fn last_mut(&mut self) -> Option<&mut V> {
        let (_, value) = Arc::make_mut(self.runs.back_mut()?).last_mut()?;
        Some(value)
    }

    pub fn contains(&self, id: K) -> bool {
        self.get(id).is_some()
    }

    pub fn get(&self, id: K) -> Option<&V> {
        let run = &self.runs[self.run_of(id)?];
        let at = run.binary_search_by_key(&id, |(key, _)| *key).ok()?;
        Some(&run[at].1)
    }

    pub fn get_mut(&mut self, id: K) -> Option<&mut V> {
        let run = self.run_of(id)?;
        let at = self.runs[run].binary_search_by_key(&id, |(key, _)| *key).ok()?;
        Some(&mut Arc::make_mut(&mut self.runs[run])[at].1)
    }

    /// The entry with the greatest key up to `id`.
    pub fn floor(&self, id: K) -> Option<(K, &V)> {
        self.range_back(id).next()
    }

    /// Inserts a value; returns the previous one.
    pub fn insert(&mut self, id: K, value: V) -> Option<V> {
        if self.runs.back().is_none_or(|run| run.last().is_some_and(|(last, _)| *last < id)) {
            self.push_last(id, value);
            return None;
        }
        let index = self.run_of(id).unwrap_or(0);
        let at = match self.runs[index].binary_search_by_key(&id, |(key, _)| *key) {
            Ok(at) => {
                return Some(std::mem::replace(&mut Arc::make_mut(&mut self.runs[index])[at].1, value));
            }
            Err(at) => at,
        };
        let run = Arc::make_mut(&mut self.runs[index]);
        run.insert(at, (id, value));
        self.len += 1;
        if run.len() > RUN_LEN_MAX {
            let upper = run.split_off(run.len() / 2);
            self.runs.insert(index + 1, Arc::new(upper));
        }
        None
    }

    pub fn remove(&mut self, id: K) -> Option<V> {
        let index = self.run_of(id)?;
        let at = self.runs[index].binary_search_by_key(&id, |(key, _)| *key).ok()?;
        let run = Arc::make_mut(&mut self.runs[index]);
        let (_, value) = run.remove(at);
        let left = run.len();
        self.len -= 1;
        if left == 0 {
            self.runs.remove(index);
        } else if left < RUN_LEN_MAX / 4
            && self.runs.get(index + 1).is_some_and(|next| next.len() + left <= RUN_LEN_MAX / 2)
        {
            // Merges runs that random removals have thinned out.
            let next = self.runs.remove(index + 1).expect("just seen");
            Arc::make_mut(&mut self.runs[index]).extend(next.iter().cloned());
        }
        Some(value)
    }

    /// Entries from `from` on, ascending.
    pub fn range(&self, from: K) -> impl Iterator<Item = (K, &V)> {
        let index = self.run_of(from).unwrap_or(0);
        let at = self.runs.get(index).map_or(0, |run| run.partition_point(|(key, _)| *key < from));
        let first = self.runs.get(index).map_or(&[][..], |run| &run[at..]);
        first
            .iter()
            .chain(self.runs.range((index + 1).min(self.runs.len())..).flat_map(|run| run.iter()))
            .map(pair)
    }

    /// Entries from `from` down, descending.
    pub fn range_back(&self, from: K) -> impl Iterator<Item = (K, &V)> {
        let index = self.run_of(from);
        let first = index.map_or(&[][..], |index| {
            let run = &self.runs[index];
            &run[..run.partition_point(|(key, _)| *key <= from)]
        });
        let before = self.runs.range(..index.unwrap_or(0)).rev().flat_map(|run| run.iter().rev());
        first.iter().rev().chain(before).map(pair)
    }

    pub fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.runs.iter().flat_map(|run| run.iter()).map(pair)
    }

    /// The entries from `from` to `to`, and some of their neighbours. Shares the runs, as a clone does.
    pub fn slice(&self, from: K, to: K) -> IdMap<V, K> {
        let first = self.run_of(from).unwrap_or(0);
        let end = self.run_of(to).map_or(first, |last| last + 1);
        let runs: VecDeque<Run<K, V>> = self.runs.range(first..end.max(first)).cloned().collect();
        let len = runs.iter().map(|run| run.len()).sum();
        IdMap { runs, len }
    }

    /// Bytes of a clone that shares all runs.
    pub fn memory_of_clone(&self) -> usize {
        size_of::<Self>() + self.runs.capacity() * size_of::<Run<K, V>>()
    }

    fn push_last(&mut self, id: K, value: V) {
        self.len += 1;
        match self.runs.back_mut() {
            Some(run) if run.len() < RUN_LEN_MAX => Arc::make_mut(run).push((id, value)),
            _ => self.runs.push_back(Arc::new(vec![(id, value)])),
        }
    }

    /// The only run that can hold `id`: the last one whose first key is not above it.
    fn run_of(&self, id: K) -> Option<usize> {
        self.runs.partition_point(|run| run[0].0 <= id).checked_sub(1)
    }

    /// Asserts the invariants.
    pub fn check(&self) {
        assert!(
            self.runs.iter().all(|run| !run.is_empty() && run.len() <= RUN_LEN_MAX),
            "runs are neither empty nor too long"
        );
        assert_eq!(self.iter().count(), self.len, "len counts the entries");
        assert!(self.iter().zip(self.iter().skip(1)).all(|((a, _), (b, _))| a < b), "keys ascend");
    }
}

fn pair<V, K: Copy>((id, value): &(K, V)) -> (K, &V) {
    (*id, value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn it_is_an_ordered_map(ops: Vec<(bool, u16)>, probes: Vec<u16>) {
            let mut map = IdMap::default();
            let mut model = BTreeMap::new();
            let mut old = None;
            for (n, (add, key)) in ops.iter().enumerate() {
                let id = EntryId::new(u64::from(key % 512), 0);
                if *add {
                    prop_assert_eq!(map.insert(id, n), model.insert(id, n));
                } else {
                    prop_assert_eq!(map.remove(id), model.remove(&id));
                }
                if n == ops.len() / 2 {
                    old = Some((map.clone(), model.clone()));
                }
            }
            map.check();
            if let Some((map, model)) = old {
                prop_assert!(map.iter().map(|(k, v)| (k, *v)).eq(model.into_iter()), "a clone keeps what it had");
            }
            prop_assert!(map.iter().map(|(k, v)| (k, *v)).eq(model.iter().map(|(k, v)| (*k, *v))));
            for probe in probes {
                let id = EntryId::new(u64::from(probe % 520), 0);
                prop_assert_eq!(map.get(id), model.get(&id));
                prop_assert!(map.range(id).map(|(k, _)| k).eq(model.range(id..).map(|(k, _)| *k)));
                prop_assert!(map.range_back(id).map(|(k, _)| k).eq(model.range(..=id).rev().map(|(k, _)| *k)));
                let to = EntryId::new(id.ms + u64::from(probe >> 10), 0);
                let slice = map.slice(id, to);
                slice.check();
                let within = |k: &EntryId| (id..=to).contains(k);
                let expected = model.range(id..=to).map(|(k, _)| *k);
                prop_assert!(slice.iter().map(|(k, _)| k).filter(within).eq(expected));
            }
        }
    }

    #[test]
    fn many_keys_in_order_stay_findable() {
        let mut map = IdMap::default();
        for n in 0..1000 {
            map.insert(EntryId::new(n, 0), n);
        }
        for n in (0..1000).filter(|n| n % 3 != 0) {
            assert_eq!(map.remove(EntryId::new(n, 0)), Some(n));
        }
        map.check();
        assert_eq!(map.len(), 334);
        assert_eq!(map.floor(EntryId::new(5, 0)).map(|(id, _)| id.ms), Some(3));
    }
}
