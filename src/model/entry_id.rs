//! Stream entry ids: milliseconds and a sequence number, ordered as one 128-bit number.

use crate::base::wire::{Malformed, Reader, Writer};
use std::fmt;

/// The id of a stream entry. `0-0` is never the id of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EntryId {
    pub ms: u64,
    pub seq: u64,
}

impl EntryId {
    pub const MIN: EntryId = EntryId { ms: 0, seq: 0 };
    pub const MAX: EntryId = EntryId { ms: u64::MAX, seq: u64::MAX };

    pub const fn new(ms: u64, seq: u64) -> Self {
        EntryId { ms, seq }
    }

    /// The id right after this one; `None` after [`EntryId::MAX`].
    pub fn next(self) -> Option<EntryId> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(EntryId { ms: self.ms, seq }),
            None => self.ms.checked_add(1).map(|ms| EntryId { ms, seq: 0 }),
        }
    }

    /// The id right before this one; `None` before [`EntryId::MIN`].
    pub fn previous(self) -> Option<EntryId> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(EntryId { ms: self.ms, seq }),
            None => self.ms.checked_sub(1).map(|ms| EntryId { ms, seq: u64::MAX }),
        }
    }

    /// Parses `ms-seq` or `ms`, the latter with `seq_when_absent`. Nothing else is an id (Redis
    /// `streamGenericParseIDOrReply`; the caller handles `-` and `+`).
    pub fn parse(text: &[u8], seq_when_absent: u64) -> Option<EntryId> {
        if text.len() > TEXT_MAX {
            return None;
        }
        match text.iter().position(|&b| b == b'-') {
            None => Some(EntryId { ms: parse_u64(text)?, seq: seq_when_absent }),
            Some(dash) => Some(EntryId { ms: parse_u64(&text[..dash])?, seq: parse_u64(&text[dash + 1..])? }),
        }
    }

    pub fn encode(self, writer: &mut Writer<'_>) {
        writer.varint(self.ms);
        writer.varint(self.seq);
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<EntryId, Malformed> {
        Ok(EntryId { ms: reader.varint()?, seq: reader.varint()? })
    }

    /// The id as text on the stack: at most 41 bytes.
    pub fn text(self) -> EntryIdText {
        let mut text = EntryIdText { bytes: [0; 41], len: 0 };
        let mut digits = itoa::Buffer::new();
        text.push(digits.format(self.ms).as_bytes());
        text.push(b"-");
        text.push(digits.format(self.seq).as_bytes());
        text
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// See [`EntryId::text`].
pub struct EntryIdText {
    bytes: [u8; 41],
    len: usize,
}

impl EntryIdText {
    fn push(&mut self, part: &[u8]) {
        self.bytes[self.len..self.len + part.len()].copy_from_slice(part);
        self.len += part.len();
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Longest text that can be an id (Redis `streamGenericParseIDOrReply` copies it into a buffer of 128 bytes).
const TEXT_MAX: usize = 127;

/// Parses a number as Redis's `string2ull` does by way of `strtoull`: accepts leading blanks, one `+` and
/// leading zeros. (`strtoull` also reads some negative numbers as their complement; this function refuses
/// them.)
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii_start();
    let text = text.strip_prefix(b"+").unwrap_or(text);
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, &byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_ids_parse() {
        assert_eq!(EntryId::parse(b"5", 7), Some(EntryId::new(5, 7)));
        assert_eq!(EntryId::parse(b"5-6", 7), Some(EntryId::new(5, 6)));
        assert_eq!(EntryId::parse(b" +5-\t06", 7), Some(EntryId::new(5, 6)));
        let refused: [&[u8]; 11] = [
            b"",
            b"-",
            b"5-",
            b"-5",
            b"5-5-5",
            b"abc",
            b"++5",
            b"5 ",
            b" -5",
            b"18446744073709551616",
            &[b'0'; 128],
        ];
        for text in refused {
            assert_eq!(EntryId::parse(text, 0), None, "{}", text.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn text_is_read_back(ms: u64, seq: u64) {
            let id = EntryId::new(ms, seq);
            prop_assert_eq!(id.text().as_bytes().to_vec(), id.to_string().into_bytes());
            prop_assert_eq!(EntryId::parse(id.text().as_bytes(), 0), Some(id));
        }

        #[test]
        fn next_and_previous_are_inverse(ms: u64, seq in prop_oneof![Just(0), Just(u64::MAX), any::<u64>()]) {
            let id = EntryId::new(ms, seq);
            if let Some(next) = id.next() {
                prop_assert!(next > id);
                prop_assert_eq!(next.previous(), Some(id));
            }
        }
    }
}
