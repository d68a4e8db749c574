//! The progress of recovery. The thread that reads counts, the frontend tells clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes to be read and decoded, and those done. Both are estimates: a file may hold zeros behind its records.
#[derive(Debug, Default)]
pub struct Loading {
    total: AtomicU64,
    /// Shared with [`crate::env::counted_fs::CountedFs`].
    done: Arc<AtomicU64>,
}

impl Loading {
    pub fn expect(&self, bytes: u64) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn note(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn counter(&self) -> Arc<AtomicU64> {
        self.done.clone()
    }

    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// At most the total.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed).min(self.total())
    }

    pub fn percent(&self) -> f64 {
        self.done() as f64 * 100.0 / self.total().max(1) as f64
    }

    /// Seconds until the end, at the rate so far (Redis 7.2 `genRedisInfoString`).
    pub fn seconds_left(&self, elapsed_ms: u64) -> u64 {
        let done = self.done();
        if done == 0 {
            return 1;
        }
        let left_ms = u128::from(elapsed_ms) * u128::from(self.total() - done) / u128::from(done);
        u64::try_from(left_ms / 1000).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_takes_as_long_as_what_is_done() {
        let loading = Loading::default();
        assert_eq!((loading.seconds_left(5000), loading.percent()), (1, 0.0));
        loading.expect(400);
        loading.note(100);
        assert_eq!((loading.seconds_left(5000), loading.percent()), (15, 25.0));
        loading.note(1000);
        assert_eq!((loading.done(), loading.seconds_left(5000)), (400, 0));
    }
}
