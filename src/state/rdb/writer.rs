//! The primitives of RDB: the counterpart of [`crate::state::rdb::reader`]. Nothing is compressed.

use crate::model::entry_id::EntryId;
use crate::state::stream::listpack::canonical_integer;

pub struct RdbWriter<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> RdbWriter<'a> {
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        RdbWriter { out }
    }

    pub fn u8(&mut self, value: u8) {
        self.out.push(value);
    }

    /// `rdbSaveLen`
    pub fn length(&mut self, value: u64) {
        match value {
            0..0x40 => self.out.push(value as u8),
            0x40..0x4000 => self.out.extend([0x40 | (value >> 8) as u8, value as u8]),
            0x4000..0x1_0000_0000 => {
                self.out.push(0x80);
                self.out.extend((value as u32).to_be_bytes());
            }
            _ => {
                self.out.push(0x81);
                self.out.extend(value.to_be_bytes());
            }
        }
    }

    /// `rdbSaveRawString`: as an integer of up to 32 bits if it is one in canonical form.
    pub fn string(&mut self, string: &[u8]) {
        match canonical_integer(string).filter(|_| string.len() <= 11) {
            Some(value) if i8::try_from(value).is_ok() => self.out.extend([0xc0, value as u8]),
            Some(value) if i16::try_from(value).is_ok() => {
                self.out.push(0xc1);
                self.out.extend((value as i16).to_le_bytes());
            }
            Some(value) if i32::try_from(value).is_ok() => {
                self.out.push(0xc2);
                self.out.extend((value as i32).to_le_bytes());
            }
            _ => self.raw_string(string),
        }
    }

    /// A string without integer encoding.
    pub fn raw_string(&mut self, string: &[u8]) {
        self.length(string.len() as u64);
        self.out.extend_from_slice(string);
    }

    /// Milliseconds since the epoch, −1 for never.
    pub fn time(&mut self, ms: Option<u64>) {
        self.out.extend(ms.map_or(-1, |ms| i64::try_from(ms).unwrap_or(i64::MAX)).to_le_bytes());
    }

    pub fn id(&mut self, id: EntryId) {
        self.length(id.ms);
        self.length(id.seq);
    }

    pub fn raw_id(&mut self, id: EntryId) {
        self.out.extend(raw_id(id));
    }
}

/// An id as a key of a radix tree.
pub fn raw_id(id: EntryId) -> [u8; 16] {
    ((u128::from(id.ms) << 64) | u128::from(id.seq)).to_be_bytes()
}
