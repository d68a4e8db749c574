//! Random numbers: for node ids and salts, never for decisions of the state machine.

use crate::base::mix;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

pub trait Entropy: Send + Sync {
    fn u64(&self) -> u64;

    /// Unpredictable bytes, if the source is fit for passwords.
    fn fill(&self, bytes: &mut [u8]) {
        for piece in bytes.chunks_mut(8) {
            piece.copy_from_slice(&self.u64().to_le_bytes()[..piece.len()]);
        }
    }
}

/// Entropy of the operating system, by way of the keys that the standard library draws for its hash maps.
#[derive(Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn u64(&self) -> u64 {
        // SipHash keyed from the system's generator. The counter makes draws of one thread differ even where
        // the keys of two `RandomState`s are related (std increments them).
        static DRAWS: AtomicU64 = AtomicU64::new(0);
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_u64(DRAWS.fetch_add(1, Ordering::Relaxed));
        hasher.write_u32(std::process::id());
        hasher.finish()
    }

    fn fill(&self, bytes: &mut [u8]) {
        let mut filled = 0;
        while filled < bytes.len() {
            // A signal may cut it short; it cannot fail otherwise once the system has started.
            match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
                Ok(count) => filled += count,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => panic!("the system has no randomness: {error}"),
            }
        }
    }
}

/// A seeded sequence (SplitMix64): the same seed always gives the same numbers.
#[derive(Debug)]
pub struct SeededEntropy {
    state: AtomicU64,
}

impl SeededEntropy {
    pub fn new(seed: u64) -> SeededEntropy {
        SeededEntropy { state: AtomicU64::new(seed) }
    }

    /// A number below `bound`; `bound` is at least 1.
    pub fn below(&self, bound: u64) -> u64 {
        assert!(bound > 0, "no number is below 0");
        self.u64() % bound
    }

    pub fn chance(&self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

impl Entropy for SeededEntropy {
    fn u64(&self) -> u64 {
        mix::another(self.state.fetch_add(mix::STEP, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_reproduces_everything() {
        let draw = |seed| {
            let entropy = SeededEntropy::new(seed);
            (0..8).map(|_| entropy.u64()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn the_system_does_not_repeat_itself() {
        assert_ne!(SystemEntropy.u64(), SystemEntropy.u64());
    }
}
