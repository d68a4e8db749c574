//! Listpacks (Redis `listpack.c`): a header of 6 bytes, elements, a terminator. Each element is its encoding
//! followed by the length of the encoding, for reading backwards.

use crate::state::stream::listpack::{back_length_bytes, canonical_integer};

const HEADER_BYTES: usize = 6;
const END: u8 = 0xff;

/// The header's element count if the number does not fit.
const COUNT_UNKNOWN: u16 = u16::MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element<'a> {
    Integer(i64),
    String(&'a [u8]),
}

impl Element<'_> {
    /// Passes the element as a client sees it.
    pub fn with_text<T>(&self, take: impl FnOnce(&[u8]) -> T) -> T {
        match self {
            Element::Integer(value) => take(itoa::Buffer::new().format(*value).as_bytes()),
            Element::String(string) => take(string),
        }
    }
}

/// Iterates over a listpack; every step is checked.
#[derive(Debug, Clone, Copy)]
pub struct Elements<'a> {
    rest: &'a [u8],
    taken: usize,
    /// The header's element count.
    count: u16,
}

impl<'a> Elements<'a> {
    /// `None` if header or terminator do not match a listpack of this size.
    pub fn new(bytes: &'a [u8]) -> Option<Elements<'a>> {
        let inner = bytes.get(HEADER_BYTES..bytes.len().checked_sub(1)?)?;
        let total = u32::from_le_bytes(bytes[..4].try_into().ok()?);
        let count = u16::from_le_bytes(bytes[4..6].try_into().ok()?);
        let is_whole = total as usize == bytes.len() && bytes.last() == Some(&END);
        is_whole.then_some(Elements { rest: inner, taken: 0, count })
    }

    /// Whether all elements were taken and their number matches the header.
    pub fn is_finished(&self) -> bool {
        self.rest.is_empty() && (self.count == COUNT_UNKNOWN || self.taken == usize::from(self.count))
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// `None` at the end, and for an invalid element.
    pub fn take(&mut self) -> Option<Element<'a>> {
        let (element, encoded) = decode(self.rest)?;
        let back = back_length_bytes(encoded);
        let mut wanted = [0; 5];
        write_back_length(encoded, &mut wanted[..back]);
        if self.rest.get(encoded..encoded + back)? != &wanted[..back] {
            return None;
        }
        self.rest = &self.rest[encoded + back..];
        self.taken += 1;
        Some(element)
    }

    pub fn take_integer(&mut self) -> Option<i64> {
        match self.take()? {
            Element::Integer(value) => Some(value),
            Element::String(_) => None,
        }
    }
}

/// The first element, and the bytes of its encoding.
fn decode(bytes: &[u8]) -> Option<(Element<'_>, usize)> {
    let first = *bytes.first()?;
    let string = |head: usize, len: usize| {
        let end = head.checked_add(len)?;
        Some((Element::String(bytes.get(head..end)?), end))
    };
    let integer = |len: usize| {
        let mut value = [0; 8];
        value[8 - len..].copy_from_slice(bytes.get(1..1 + len)?);
        Some((Element::Integer(i64::from_le_bytes(value) >> (64 - 8 * len)), 1 + len))
    };
    match first {
        0..0x80 => Some((Element::Integer(i64::from(first)), 1)),
        0x80..0xc0 => string(1, usize::from(first & 0x3f)),
        0xc0..0xe0 => {
            let value = i64::from(first & 0x1f) << 8 | i64::from(*bytes.get(1)?);
            Some((Element::Integer(if value < 4096 { value } else { value - 8192 }), 2))
        }
        0xe0..0xf0 => string(2, usize::from(first & 0x0f) << 8 | usize::from(*bytes.get(1)?)),
        0xf0 => string(5, u32::from_le_bytes(bytes.get(1..5)?.try_into().ok()?) as usize),
        0xf1 => integer(2),
        0xf2 => integer(3),
        0xf3 => integer(4),
        0xf4 => integer(8),
        0xf5.. => None,
    }
}

/// Base 128, lowest digit last; every byte but the first carries a mark.
fn write_back_length(encoded: usize, out: &mut [u8]) {
    let mut left = encoded;
    for byte in out.iter_mut().rev() {
        *byte = (left & 0x7f) as u8 | 0x80;
        left >>= 7;
    }
    out[0] &= 0x7f;
}

/// Builds a listpack.
pub struct ListpackWriter {
    bytes: Vec<u8>,
    count: usize,
}

impl Default for ListpackWriter {
    fn default() -> Self {
        ListpackWriter { bytes: vec![0; HEADER_BYTES], count: 0 }
    }
}

impl ListpackWriter {
    pub fn integer(&mut self, value: i64) {
        let start = self.bytes.len();
        match value {
            0..=127 => self.bytes.push(value as u8),
            -4096..=4095 => {
                let value = value as u16 & 0x1fff;
                self.bytes.extend([0xc0 | (value >> 8) as u8, value as u8]);
            }
            _ => {
                let (mark, len) = match value {
                    -32768..=32767 => (0xf1, 2),
                    -8388608..=8388607 => (0xf2, 3),
                    -2147483648..=2147483647 => (0xf3, 4),
                    _ => (0xf4, 8),
                };
                self.bytes.push(mark);
                self.bytes.extend(&value.to_le_bytes()[..len]);
            }
        }
        self.close(start);
    }

    /// Appends a string, encoded as an integer if it is one in canonical form.
    pub fn string(&mut self, string: &[u8]) {
        if let Some(value) = canonical_integer(string) {
            return self.integer(value);
        }
        let start = self.bytes.len();
        match string.len() {
            len @ 0..64 => self.bytes.push(0x80 | len as u8),
            len @ 64..4096 => self.bytes.extend([0xe0 | (len >> 8) as u8, len as u8]),
            len => {
                self.bytes.push(0xf0);
                self.bytes.extend(u32::try_from(len).expect("a string stays below 4 GiB").to_le_bytes());
            }
        }
        self.bytes.extend_from_slice(string);
        self.close(start);
    }

    fn close(&mut self, start: usize) {
        let encoded = self.bytes.len() - start;
        let end = self.bytes.len();
        self.bytes.resize(end + back_length_bytes(encoded), 0);
        write_back_length(encoded, &mut self.bytes[end..]);
        self.count += 1;
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.push(END);
        let total = u32::try_from(self.bytes.len()).expect("a listpack stays below 4 GiB");
        self.bytes[..4].copy_from_slice(&total.to_le_bytes());
        let count = u16::try_from(self.count).unwrap_or(COUNT_UNKNOWN);
        self.bytes[4..6].copy_from_slice(&count.to_le_bytes());
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::stream::listpack::{EMPTY_BYTES, integer_bytes, string_bytes};
    use proptest::prelude::*;

    #[test]
    fn elements_of_every_size_come_back_and_take_what_is_counted() {
        let integers: Vec<i64> = (0..64)
            .flat_map(|bit| [-1, 0, 1].map(|by| (1i64 << bit).wrapping_add(by)))
            .flat_map(|value| [value, value.wrapping_neg()])
            .collect();
        let strings: Vec<Vec<u8>> =
            [0, 1, 63, 64, 125, 126, 127, 4095, 4096, 16_380, 16_383, 16_384, 2_097_150]
                .map(|len| vec![b'x'; len])
                .into();
        let mut writer = ListpackWriter::default();
        integers.iter().for_each(|value| writer.integer(*value));
        strings.iter().for_each(|string| writer.string(string));
        let bytes = writer.finish();
        let sizes: usize = integers.iter().map(|value| integer_bytes(*value)).sum();
        let sizes = sizes + strings.iter().map(|string| string_bytes(string)).sum::<usize>();
        assert_eq!(bytes.len(), EMPTY_BYTES + sizes);
        let mut elements = Elements::new(&bytes).unwrap();
        for value in &integers {
            assert_eq!(elements.take_integer(), Some(*value));
        }
        for string in &strings {
            assert_eq!(elements.take(), Some(Element::String(string)));
        }
        assert!(elements.is_finished() && elements.take().is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read_but_never_panic(mut bytes: Vec<u8>, whole: bool) {
            if whole && bytes.len() >= 7 {
                let total = bytes.len() as u32;
                bytes[..4].copy_from_slice(&total.to_le_bytes());
                *bytes.last_mut().unwrap() = END;
            }
            if let Some(mut elements) = Elements::new(&bytes) {
                while elements.take().is_some() {}
            }
        }
    }
}
