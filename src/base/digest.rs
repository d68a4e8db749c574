//! A 128-bit digest of an entry's fields and values: the id that XADD … IDMPAUTO derives from content.
//!
//! The digest is durable state and is compared across versions and machines, so it never changes. Each pair
//! is hashed with XXH3 (128 bits, seed 0) over field and value, each preceded by its length (8 bytes,
//! little-endian); the hashes are added modulo 2^128. Addition makes the order of pairs irrelevant, but not
//! how often a pair occurs.

use xxhash_rust::xxh3::Xxh3Default;

/// Digest of alternating fields and values.
pub fn of_pairs<'a>(mut strings: impl Iterator<Item = &'a [u8]>) -> u128 {
    let mut sum = 0u128;
    while let (Some(field), Some(value)) = (strings.next(), strings.next()) {
        let mut hasher = Xxh3Default::new();
        for string in [field, value] {
            hasher.update(&(string.len() as u64).to_le_bytes());
            hasher.update(string);
        }
        sum = sum.wrapping_add(hasher.digest128());
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(strings: &[&str]) -> u128 {
        of_pairs(strings.iter().map(|string| string.as_bytes()))
    }

    /// Pinned since the first release: every later version must recognise an id that a stream remembers. The
    /// xxHash library gives the same sums.
    #[test]
    fn digests_never_change() {
        assert_eq!(xxhash_rust::xxh3::xxh3_128(b""), 0x99aa_06d3_0147_98d8_6001_c324_468d_497f);
        assert_eq!(format!("{:032x}", of(&["a", "1"])), "4edc1e516f8570260efadfb8a6af8b6e");
        assert_eq!(format!("{:032x}", of(&["a", "1", "b", "2"])), "b4adf624944f58508379c04638f418e9");
        assert_eq!(format!("{:032x}", of(&["", ""])), "e5189a9599e3f86205ea23ef06e28b2d");
        let long = "x".repeat(100_000);
        assert_eq!(format!("{:032x}", of(&["data", &long])), "2d8851c44fbc321fcff5dc941b18dbc0");
    }

    #[test]
    fn fields_values_and_their_borders_count_and_order_does_not() {
        assert_eq!(of(&["a", "1", "b", "2"]), of(&["b", "2", "a", "1"]));
        let others: [&[&str]; 8] = [
            &["a", "1", "b", "2"],
            &["a", "2", "b", "1"],
            &["a", "1b", "", "2"],
            &["a1", "", "b", "2"],
            &["a", "1"],
            &["a", "1", "a", "1"],
            &["1", "a"],
            &["a", ""],
        ];
        for (at, left) in others.iter().enumerate() {
            assert!(others[at + 1..].iter().all(|right| of(left) != of(right)), "{left:?}");
        }
    }

    proptest! {
        #[test]
        fn pairs_may_come_in_any_order(pairs: Vec<(Vec<u8>, Vec<u8>)>, turn: usize) {
            let digest = |pairs: &[(Vec<u8>, Vec<u8>)]| {
                of_pairs(pairs.iter().flat_map(|(field, value)| [&field[..], &value[..]]))
            };
            let mut turned = pairs.clone();
            if !turned.is_empty() {
                let middle = turn % turned.len();
                turned.rotate_left(middle);
            }
            prop_assert_eq!(digest(&pairs), digest(&turned));
        }
    }
}
