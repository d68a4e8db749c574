//! How often reads have found a key, for INFO. No part of the state: no checkpoint holds it, and no reply depends on it.

use std::cell::Cell;

#[derive(Debug, Default, Clone)]
pub struct Lookups {
    hits: Cell<u64>,
    misses: Cell<u64>,
}

impl Lookups {
    pub fn note(&self, is_hit: bool) {
        let counter = if is_hit { &self.hits } else { &self.misses };
        counter.set(counter.get() + 1);
    }

    /// Hits and misses since the last time.
    pub fn take(&self) -> (u64, u64) {
        (self.hits.take(), self.misses.take())
    }
}
