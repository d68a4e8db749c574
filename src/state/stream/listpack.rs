//! The size of a node as a listpack (Redis `listpack.c`).
//!
//! `stream-node-max-bytes` counts listpack bytes, and `~` trims whole nodes, so nodes must close where
//! Redis's do.

/// Header and terminator of an empty listpack.
pub const EMPTY_BYTES: usize = 7;

/// Nodes never exceed this, whatever the setting (`STREAM_LISTPACK_MAX_SIZE`).
pub const BYTES_MAX: usize = 1 << 30;

/// An element that holds an integer.
pub fn integer_bytes(value: i64) -> usize {
    let encoded = match value {
        0..=127 => 1,
        -4096..=4095 => 2,
        -32768..=32767 => 3,
        -8388608..=8388607 => 4,
        -2147483648..=2147483647 => 5,
        _ => 9,
    };
    encoded + 1
}

/// An element that holds a string; an integer in canonical form is stored as an integer.
pub fn string_bytes(string: &[u8]) -> usize {
    if let Some(value) = canonical_integer(string) {
        return integer_bytes(value);
    }
    let encoded = string.len()
        + match string.len() {
            0..=63 => 1,
            64..=4095 => 2,
            _ => 5,
        };
    encoded + back_length_bytes(encoded)
}

/// Bytes of the length after each element, which allows walking backwards.
pub fn back_length_bytes(encoded: usize) -> usize {
    match encoded {
        0..=127 => 1,
        128..=16382 => 2,
        16383..=2097150 => 3,
        2097151..=268435454 => 4,
        _ => 5,
    }
}

/// The integer whose canonical form is `text` (Redis `string2ll`): no sign but `-`, no leading zero, no `-0`.
pub fn canonical_integer(text: &[u8]) -> Option<i64> {
    if text.is_empty() || text.len() > 20 {
        return None;
    }
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] => {}
        _ => return None,
    }
    let mut value = 0u64;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    if negative { 0i64.checked_sub_unsigned(value) } else { i64::try_from(value).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_canonical_integers_count() {
        assert_eq!(canonical_integer(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(canonical_integer(b"9223372036854775807"), Some(i64::MAX));
        for text in ["", "-", "-0", "00", "01", "+1", " 1", "1 ", "1.0", "9223372036854775808", "a"] {
            assert_eq!(canonical_integer(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_those_of_listpack_c() {
        assert_eq!(string_bytes(b"127"), 2);
        assert_eq!(string_bytes(b"128"), 3);
        assert_eq!(string_bytes(b"4096"), 4);
        assert_eq!(string_bytes(b"-32769"), 5);
        assert_eq!(string_bytes(b"9999999999"), 10);
        assert_eq!(string_bytes(b""), 2);
        assert_eq!(string_bytes(&[b'x'; 63]), 65);
        assert_eq!(string_bytes(&[b'x'; 64]), 67);
        assert_eq!(string_bytes(&[b'x'; 126]), 130);
        assert_eq!(string_bytes(&[b'x'; 5000]), 5007);
    }

    proptest! {
        #[test]
        fn display_is_canonical(value: i64) {
            prop_assert_eq!(canonical_integer(value.to_string().as_bytes()), Some(value));
        }
    }
}
