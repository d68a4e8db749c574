//! Helpers of this room's tests: seeded random numbers, and a pool of byte strings to borrow from.

use crate::base::mix;

/// SplitMix64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(mix::STEP) ^ 0x5851_f42d_4c95_7f2d)
    }

    pub fn u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(mix::STEP);
        mix::mix(self.0)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.u64() % bound
    }

    pub fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }

    pub fn option<T>(&mut self, make: impl FnOnce(&mut Random) -> T) -> Option<T> {
        if self.flag() { Some(make(self)) } else { None }
    }
}
