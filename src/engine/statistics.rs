//! The statistics of an engine, for INFO and the latency monitor.

use crate::observe::latency::Event;

/// Buckets of the flush histogram: bucket `i` counts flushes shorter than `2^i` µs, the last bucket all
/// others.
pub const FLUSH_BUCKETS: usize = 24;
const LAST_BUCKET: usize = FLUSH_BUCKETS - 1;

#[derive(Debug, Clone, Default)]
pub struct EngineStatistics {
    pub keyspace_hits: u64,
    pub keyspace_misses: u64,
    pub expired_keys: u64,
    /// Time spent deleting due keys, except keys that a command found due.
    pub expire_nanoseconds: u64,
    /// Commit rounds: one write and one flush each.
    pub commits: u64,
    pub journal_bytes: u64,
    pub flushes: u64,
    pub flush_microseconds: u64,
    pub flush_microseconds_max: u64,
    pub flush_buckets: [u64; FLUSH_BUCKETS],
    pub checkpoints: u64,
}

impl EngineStatistics {
    /// Records the bytes written by one commit round.
    pub fn note_commit(&mut self, journal_bytes: u64) {
        self.commits += 1;
        self.journal_bytes += journal_bytes;
    }

    /// Mean microseconds of a flush; 0 without flushes.
    pub fn flush_average(&self) -> u64 {
        self.flush_microseconds.checked_div(self.flushes).unwrap_or(0)
    }

    pub fn note_flush(&mut self, microseconds: u64) {
        self.flushes += 1;
        self.flush_microseconds += microseconds;
        self.flush_microseconds_max = self.flush_microseconds_max.max(microseconds);
        let bucket = (u64::BITS - microseconds.leading_zeros()) as usize;
        self.flush_buckets[bucket.min(LAST_BUCKET)] += 1;
    }
}

/// An event slow enough for the latency monitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spike {
    pub event: Event,
    pub nanoseconds: u64,
}
