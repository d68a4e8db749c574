//! Keys that were removed since an image, for the next checkpoint: it may then tell what has changed.

use crate::model::log::LogIndex;
use crate::state::key_table::KeySequence;
use std::collections::VecDeque;
use std::sync::Arc;

/// Removals per piece; an image copies a pointer for each piece.
const PIECE_LEN: usize = 1024;

/// Removals that are always kept. Beyond, as many as there are keys: then a checkpoint of everything is the
/// smaller one.
const KEPT_MIN: usize = 4096;

/// A key of an image, by its place in the order of creation, and the entry that removed it.
type Removal = (LogIndex, KeySequence);

/// Invariants: no piece is empty; indexes never decrease; what came after `known_since` and lay below
/// `below` is complete.
#[derive(Debug, Clone, Default)]
pub struct Removals {
    pieces: VecDeque<Arc<Vec<Removal>>>,
    len: usize,
    /// Removals by this entry, or by one before it, are not known.
    known_since: LogIndex,
    /// Younger keys are in no image.
    below: KeySequence,
}

impl Removals {
    /// Nothing was removed after this entry.
    pub fn since(index: LogIndex) -> Removals {
        Removals { known_since: index, ..Removals::default() }
    }

    /// An image was taken: from now on keys below this place are in one.
    pub fn note_image(&mut self, below: KeySequence) {
        self.below = below;
    }

    /// A key was removed; `left` are there still.
    pub fn note(&mut self, index: LogIndex, key: KeySequence, left: usize) {
        if key >= self.below {
            return;
        }
        if self.len >= left.max(KEPT_MIN) {
            *self = Removals { below: self.below, ..Removals::since(index) };
            return;
        }
        match self.pieces.back_mut() {
            Some(piece) if piece.len() < PIECE_LEN => Arc::make_mut(piece).push((index, key)),
            _ => self.pieces.push_back(Arc::new(vec![(index, key)])),
        }
        self.len += 1;
    }

    /// Nobody asks for what was removed by this entry or before it.
    pub fn forget_up_to(&mut self, index: LogIndex) {
        while let Some(piece) = self.pieces.front()
            && piece.last().is_some_and(|(last, _)| *last <= index)
        {
            self.len -= piece.len();
            self.pieces.pop_front();
        }
        self.known_since = self.known_since.max(index);
    }

    /// Keys below `below` that were removed after an entry, in order of creation; `None`: not known any more.
    pub fn after(&self, since: LogIndex, below: KeySequence) -> Option<Vec<KeySequence>> {
        if since < self.known_since {
            return None;
        }
        let removals = self.pieces.iter().flat_map(|piece| piece.iter());
        let after = removals.filter(|(index, key)| *index > since && *key < below);
        let mut keys: Vec<KeySequence> = after.map(|(_, key)| *key).collect();
        keys.sort_unstable();
        Some(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANY: usize = 1_000_000;

    fn noted(removals: &mut Removals, list: &[(u64, u64)]) {
        list.iter().for_each(|(index, key)| removals.note(LogIndex(*index), KeySequence(*key), MANY));
    }

    fn after(removals: &Removals, since: u64, below: u64) -> Option<Vec<u64>> {
        let keys = removals.after(LogIndex(since), KeySequence(below))?;
        Some(keys.into_iter().map(|key| key.0).collect())
    }

    #[test]
    fn only_keys_of_an_image_are_kept() {
        let mut removals = Removals::since(LogIndex(5));
        noted(&mut removals, &[(6, 1), (7, 2)]);
        assert_eq!(after(&removals, 5, 100), Some(vec![]), "no image has them");
        removals.note_image(KeySequence(10));
        noted(&mut removals, &[(8, 9), (9, 4), (10, 10)]);
        assert_eq!(after(&removals, 5, 100), Some(vec![4, 9]));
        assert_eq!(after(&removals, 5, 9), Some(vec![4]), "an earlier image has only some");
        assert_eq!(after(&removals, 8, 100), Some(vec![4]));
        assert_eq!(after(&removals, 4, 100), None);
    }

    #[test]
    fn they_are_forgotten_when_a_later_checkpoint_has_them() {
        let mut removals = Removals::default();
        removals.note_image(KeySequence(u64::MAX));
        let list: Vec<_> = (1..=5000).map(|n| (n, n * 7 % 5003)).collect();
        noted(&mut removals, &list);
        let copy = removals.clone();
        removals.forget_up_to(LogIndex(3000));
        assert!(removals.len < 3100, "{}", removals.len);
        assert_eq!(after(&removals, 2999, u64::MAX), None);
        assert_eq!(after(&removals, 4000, u64::MAX).unwrap().len(), 1000);
        assert_eq!(after(&copy, 0, u64::MAX).unwrap().len(), 5000);
    }

    #[test]
    fn they_are_not_more_than_keys() {
        let mut removals = Removals::default();
        removals.note_image(KeySequence(u64::MAX));
        for n in 0..=KEPT_MIN as u64 {
            removals.note(LogIndex(n + 1), KeySequence(n), 10);
        }
        assert_eq!(removals.len, 0);
        assert_eq!(after(&removals, 5, u64::MAX), None);
        assert_eq!(after(&removals, KEPT_MIN as u64 + 1, u64::MAX), Some(vec![]));
    }
}
