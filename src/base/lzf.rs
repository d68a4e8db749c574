//! LZF as Redis uses it to compress strings in RDB (`lzf_d.c`): literal runs and copies of earlier output.

/// Decompresses `input` to exactly `len` bytes; `None` if it is not LZF or has another length. Allocates at
/// most `len` bytes and never more than `input` can expand to, so a false `len` sizes nothing.
pub fn decompress(input: &[u8], len: usize) -> Option<Vec<u8>> {
    let mut out: Vec<u8> = Vec::new();
    let mut rest = input;
    while let [control, after @ ..] = rest {
        let control = usize::from(*control);
        rest = after;
        if control < 32 {
            let literal = rest.get(..control + 1)?;
            if out.len() + literal.len() > len {
                return None;
            }
            out.extend_from_slice(literal);
            rest = &rest[literal.len()..];
            continue;
        }
        let mut count = control >> 5;
        if count == 7 {
            let (more, after) = rest.split_first()?;
            count += usize::from(*more);
            rest = after;
        }
        let (low, after) = rest.split_first()?;
        rest = after;
        let distance = (control & 0x1f) << 8 | usize::from(*low);
        let from = out.len().checked_sub(distance + 1)?;
        if out.len() + count + 2 > len {
            return None;
        }
        // The source of a copy may overlap its destination.
        for at in from..from + count + 2 {
            out.push(out[at]);
        }
    }
    (out.len() == len).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn literals_copies_and_long_copies() {
        assert_eq!(decompress(b"\x02abc", 3).as_deref(), Some(&b"abc"[..]));
        // "ab", then a copy of five bytes from two bytes back.
        assert_eq!(decompress(b"\x01ab\x60\x01", 7).as_deref(), Some(&b"abababa"[..]));
        assert_eq!(decompress(b"\x00a\xe0\x06\x00", 16).as_deref(), Some(&[b'a'; 16][..]));
        assert_eq!(decompress(b"", 0).as_deref(), Some(&b""[..]));
    }

    #[test]
    fn what_is_not_lzf_or_of_another_length_is_refused() {
        for (input, len) in [
            (&b"\x02ab"[..], 3),
            (b"\x02abc", 4),
            (b"\x02abc", 2),
            (b"\x20\x00", 3),
            (b"\x00a\xe0", 9),
            (b"\x00a\xe0\x06", 16),
            (b"\x00a\x20\x01", 4),
            (b"\x00a\xe0\xff\x00", usize::MAX),
        ] {
            assert_eq!(decompress(input, len), None, "{}", input.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read_but_never_panic(input: Vec<u8>, len in 0usize..10_000) {
            let out = decompress(&input, len);
            prop_assert!(out.is_none_or(|out| out.len() == len));
        }
    }
}
