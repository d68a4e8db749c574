//! Looks: reads of consumers that found nothing and are not in the log. XINFO and DUMP tell of them.

use crate::model::time::TimeMs;
use crate::state::seen::{ConsumerPath, SeenTimes};
use ahash::AHasher;
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault};

/// The time of the last look of each consumer that polls in vain. A look counts for the consumer as it was
/// then: one that was logged since, or replaced by another of its name, has another logged time. A forgotten
/// look costs what a restart does: the consumer is told to be idle for up to a second too long.
///
/// Invariant: at most [`LOOKS_MAX`] looks, and the last half of that many consumers that looked is among them.
#[derive(Debug, Default)]
pub struct Looks {
    recent: Table,
    /// The looks before those. They go when there are enough recent ones.
    older: Table,
}

/// Unkeyed: names that were chosen to collide confuse the idle times of those who chose them.
type Hasher = BuildHasherDefault<AHasher>;
type Table = HashMap<ConsumerHash, Look, Hasher>;

/// The hash of a consumer's names, which are not kept. If two consumers share hash and logged time, one is
/// told to be seen when the other was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct ConsumerHash(u64);

#[derive(Debug, Clone, Copy)]
struct Look {
    /// When the consumer was last seen according to the log.
    logged: TimeMs,
    at: TimeMs,
}

impl ConsumerHash {
    fn of(ConsumerPath { database, key, group, consumer }: ConsumerPath<'_>) -> ConsumerHash {
        ConsumerHash(Hasher::default().hash_one((database, key, group, consumer)))
    }
}

/// About 2 MiB.
const LOOKS_MAX: usize = 1 << 16;

impl Looks {
    /// The consumer has looked at `at`; `logged`: when it was last seen according to the log.
    pub fn note(&mut self, consumer: ConsumerPath<'_>, logged: TimeMs, at: TimeMs) {
        let look = Look { logged, at };
        self.recent.insert(ConsumerHash::of(consumer), look);
        if self.recent.len() > LOOKS_MAX / 2 {
            self.older = std::mem::take(&mut self.recent);
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.recent.len() + self.older.len()
    }
}

impl SeenTimes for Looks {
    fn seen_at(&self, consumer: ConsumerPath<'_>, logged: TimeMs) -> TimeMs {
        let hash = ConsumerHash::of(consumer);
        match self.recent.get(&hash).or_else(|| self.older.get(&hash)) {
            Some(look) if look.logged == logged => look.at.max(logged),
            _ => logged,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path<'n>(key: &'n [u8], consumer: &'n [u8]) -> ConsumerPath<'n> {
        ConsumerPath { database: 0, key, group: b"g", consumer }
    }

    #[test]
    fn a_look_counts_until_the_log_has_a_later_one() {
        let mut looks = Looks::default();
        looks.note(path(b"s", b"c"), TimeMs(1000), TimeMs(1300));
        looks.note(path(b"s", b"c"), TimeMs(1000), TimeMs(1500));
        let seen_at = |at, logged| looks.seen_at(at, TimeMs(logged)).0;
        assert_eq!(seen_at(path(b"s", b"c"), 1000), 1500);
        assert_eq!(seen_at(path(b"s", b"c"), 2000), 2000);
        assert_eq!(seen_at(path(b"s", b"c"), 900), 900, "another consumer of that name");
    }

    #[test]
    fn consumers_are_told_apart() {
        let mut looks = Looks::default();
        looks.note(path(b"s", b"c"), TimeMs(1000), TimeMs(1300));
        let others = [
            ConsumerPath { database: 1, ..path(b"s", b"c") },
            ConsumerPath { group: b"h", ..path(b"s", b"c") },
            path(b"s", b"d"),
            path(b"t", b"c"),
            // The same letters, divided otherwise.
            ConsumerPath { database: 0, key: b"sg", group: b"", consumer: b"c" },
        ];
        assert!(others.into_iter().all(|other| looks.seen_at(other, TimeMs(1000)) == TimeMs(1000)));
    }

    #[test]
    fn looks_are_bounded_and_the_last_ones_stay() {
        let mut looks = Looks::default();
        let consumer = |number: usize| number.to_be_bytes();
        for number in 0..2 * LOOKS_MAX {
            looks.note(path(b"s", &consumer(number)), TimeMs(0), TimeMs(number as u64));
            looks.note(path(b"s", b"often"), TimeMs(0), TimeMs(1));
            assert!(looks.len() <= LOOKS_MAX + 1);
        }
        for number in 2 * LOOKS_MAX - LOOKS_MAX / 2 + 1..2 * LOOKS_MAX {
            assert_eq!(looks.seen_at(path(b"s", &consumer(number)), TimeMs(0)).0, number as u64);
        }
        assert_eq!(looks.seen_at(path(b"s", b"often"), TimeMs(0)), TimeMs(1));
        assert_eq!(looks.seen_at(path(b"s", &consumer(7)), TimeMs(0)), TimeMs(0));
    }
}
