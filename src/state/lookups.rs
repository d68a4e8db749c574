//! Hits and misses of reads, for INFO. Not part of the state: no checkpoint holds them, and no reply depends
//! on them.

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

    /// Hits and misses since the previous call.
    pub fn take(&self) -> (u64, u64) {
        (self.hits.take(), self.misses.take())
    }
}
