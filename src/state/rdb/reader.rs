//! The primitives of RDB: lengths, strings, times, raw ids (`rdbLoadLen`, `rdbLoadStringObject`).

use crate::base::lzf;
use crate::base::wire::{Malformed, Reader};
use crate::model::entry_id::EntryId;
use crate::model::limits::RESTORED_BYTES_MAX;
use std::borrow::Cow;

/// Takes primitives off the front of a payload's content.
pub struct RdbReader<'a> {
    reader: Reader<'a>,
    /// Bytes that decompressed strings and shared field names may still take.
    left: usize,
}

/// The meaning of a length's first byte.
enum Length {
    Plain(u64),
    /// A string with an encoding of its own.
    Encoded(u8),
}

impl<'a> RdbReader<'a> {
    pub fn new(content: &'a [u8]) -> Self {
        RdbReader { reader: Reader::new(content), left: RESTORED_BYTES_MAX }
    }

    pub fn malformed(&self, what: &'static str) -> Malformed {
        self.reader.malformed(what)
    }

    pub fn finish(self) -> Result<(), Malformed> {
        self.reader.finish()
    }

    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.reader.u8()
    }

    /// Deducts bytes from the memory that the payload may take.
    pub fn spend(&mut self, bytes: usize) -> Result<(), Malformed> {
        self.left = self.left.checked_sub(bytes).ok_or(self.malformed("far more comes out than went in"))?;
        Ok(())
    }

    /// A number: a length, a count, a part of an id.
    pub fn length(&mut self) -> Result<u64, Malformed> {
        match self.length_or_encoding()? {
            Length::Plain(length) => Ok(length),
            Length::Encoded(_) => Err(self.malformed("an encoding where a length belongs")),
        }
    }

    fn length_or_encoding(&mut self) -> Result<Length, Malformed> {
        let first = self.reader.u8()?;
        let low = first & 0x3f;
        Ok(match first >> 6 {
            0 => Length::Plain(u64::from(low)),
            1 => Length::Plain(u64::from(low) << 8 | u64::from(self.reader.u8()?)),
            3 => Length::Encoded(low),
            _ => Length::Plain(match first {
                0x80 => self.big_endian(4)?,
                0x81 => self.big_endian(8)?,
                _ => return Err(self.malformed("unknown encoding of a length")),
            }),
        })
    }

    fn big_endian(&mut self, bytes: usize) -> Result<u64, Malformed> {
        Ok(self.reader.raw(bytes)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    pub fn string(&mut self) -> Result<Cow<'a, [u8]>, Malformed> {
        let value = match self.length_or_encoding()? {
            Length::Plain(length) => return Ok(Cow::Borrowed(self.bytes(length)?)),
            Length::Encoded(0) => i64::from(self.reader.u8()? as i8),
            Length::Encoded(1) => i64::from(self.reader.u16()? as i16),
            Length::Encoded(2) => i64::from(self.reader.u32()? as i32),
            Length::Encoded(3) => return self.compressed().map(Cow::Owned),
            Length::Encoded(_) => return Err(self.malformed("unknown encoding of a string")),
        };
        Ok(Cow::Owned(itoa::Buffer::new().format(value).as_bytes().to_vec()))
    }

    fn compressed(&mut self) -> Result<Vec<u8>, Malformed> {
        let (input, length) = (self.length()?, self.length()?);
        let input = self.bytes(input)?;
        let length = usize::try_from(length).map_err(|_| self.malformed("length over the address space"))?;
        self.spend(length)?;
        lzf::decompress(input, length).ok_or(self.malformed("a compressed string is damaged"))
    }

    fn bytes(&mut self, length: u64) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(length).map_err(|_| self.malformed("length over the address space"))?;
        self.reader.raw(length)
    }

    /// Milliseconds since the epoch, −1 for never; other times before the epoch become the epoch.
    pub fn time(&mut self) -> Result<Option<u64>, Malformed> {
        let ms = self.reader.u64()? as i64;
        Ok(if ms == -1 { None } else { Some(u64::try_from(ms).unwrap_or(0)) })
    }

    /// An id as two numbers.
    pub fn id(&mut self) -> Result<EntryId, Malformed> {
        Ok(EntryId::new(self.length()?, self.length()?))
    }

    /// An id as a key of a radix tree: 16 bytes, big-endian.
    pub fn raw_id(&mut self) -> Result<EntryId, Malformed> {
        Ok(EntryId::new(self.big_endian(8)?, self.big_endian(8)?))
    }
}
