//! SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): a counter in equal steps, each value mixed, looks random.

/// The step of the counter.
pub const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Mixes a value of the counter. Different values give different results.
pub fn mix(counter: u64) -> u64 {
    let mut mixed = counter;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Another number that looks random, made of one.
pub fn another(chance: u64) -> u64 {
    mix(chance.wrapping_add(STEP))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers of the reference implementation with seed 1234567.
    #[test]
    fn the_sequence_is_the_published_one() {
        let numbers = (1..=3u64).map(|nth| mix(STEP.wrapping_mul(nth).wrapping_add(1_234_567)));
        let published = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert!(numbers.eq(published));
        assert_eq!(another(1_234_567), published[0]);
    }
}
