//! A batch: the ops of one log entry, the leader's time, and the group reads blocked on keys of the ops.
//!
//! Format 2: version (u8), time (u64), start of the blocked reads (u32, from the start of the batch), then
//! the ops up to there, then the blocked reads to the end, those that look at the state at the beginning with
//! a mark ([`codec::encode_look`]). Time and start have fixed lengths, so that sealing can fill them in.
//! Format 1, which is still read, has no start and no blocked reads.

use crate::base::wire::{Malformed, Reader, Writer};
use crate::command::value::Write;
use crate::command::value::group::GroupRead;
use crate::model::limits::BATCH_BYTES_MAX;
use crate::model::time::TimeMs;
use crate::state::op::Op;
use crate::state::op::codec;

/// The format of the whole record: ops, commands, and everything in them.
const FORMAT: u8 = 2;
const FORMAT_WITHOUT_BLOCKED_READS: u8 = 1;
const TIME_AT: usize = 1;
const BLOCKED_AT: usize = TIME_AT + 8;
const HEADER_BYTES: usize = BLOCKED_AT + 4;

/// A blocked read on its way into an entry.
#[derive(Debug, Clone, Copy)]
pub struct CarriedRead<'a> {
    /// The encoding of [`BatchWriter::encode_blocked`].
    pub encoded: &'a [u8],
    /// The read is tried when the entry begins, and not only after an op that concerns it.
    pub looks: bool,
}

/// Collects ops; keeps its buffer from batch to batch.
#[derive(Debug, Clone, Default)]
pub struct BatchWriter {
    buffer: Vec<u8>,
    /// Length of the latest batch: the next one will probably have about the same.
    expected: usize,
}

impl BatchWriter {
    pub fn push(&mut self, op: &Op<'_>) {
        self.open();
        codec::encode_op(op, &mut self.buffer);
    }

    /// The op of one write.
    pub fn push_write(&mut self, database: u32, write: &Write<'_>) {
        self.open();
        codec::encode_write(database, write, &mut self.buffer);
    }

    /// An op in the encoding of [`codec::encode_op`].
    pub fn push_encoded(&mut self, op: &[u8]) {
        self.open();
        self.buffer.extend_from_slice(op);
    }

    pub fn is_empty(&self) -> bool {
        self.buffer.len() <= HEADER_BYTES
    }

    /// Bytes so far, including the header.
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Stamps the time and appends the blocked reads. No op may be pushed after it.
    pub fn seal<'b>(&mut self, now: TimeMs, blocked: impl Iterator<Item = CarriedRead<'b>>) {
        self.open();
        let place = u32::try_from(self.buffer.len()).expect("a batch is below 4 GiB");
        self.buffer[TIME_AT..BLOCKED_AT].copy_from_slice(&now.0.to_le_bytes());
        self.buffer[BLOCKED_AT..HEADER_BYTES].copy_from_slice(&place.to_le_bytes());
        for read in blocked {
            if read.looks {
                codec::encode_look(&mut self.buffer);
            }
            self.buffer.extend_from_slice(read.encoded);
        }
    }

    /// The encoding of a group read for [`BatchWriter::seal`].
    pub fn encode_blocked(database: u32, read: &GroupRead<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        codec::encode_blocked(database, read, &mut out);
        out
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// The sealed batch; the writer begins the next one.
    pub fn take(&mut self) -> Vec<u8> {
        self.expected = self.buffer.len();
        std::mem::take(&mut self.buffer)
    }

    /// Gives the writer memory for its next batch, unless it is much; what both hold is dropped.
    pub fn reuse(&mut self, mut memory: Vec<u8>) {
        memory.clear();
        if memory.capacity() <= BATCH_BYTES_MAX {
            self.buffer = memory;
        }
    }

    /// Takes back the ops behind `bytes`, and the memory that they needed.
    pub fn truncate(&mut self, bytes: usize) {
        self.buffer.truncate(bytes);
        self.buffer.shrink_to(BATCH_BYTES_MAX);
    }

    pub fn clear(&mut self) {
        self.buffer.clear();
    }

    fn open(&mut self) {
        if self.buffer.is_empty() {
            if self.buffer.capacity() == 0 {
                self.buffer.reserve(self.expected.next_power_of_two().min(BATCH_BYTES_MAX));
            }
            let mut writer = Writer::new(&mut self.buffer);
            writer.u8(FORMAT);
            writer.u64(0);
            writer.u32(0);
        }
    }
}

/// Reads a batch op by op.
#[derive(Debug, Clone)]
pub struct BatchReader<'a> {
    time: TimeMs,
    reader: Reader<'a>,
    blocked: &'a [u8],
}

impl<'a> BatchReader<'a> {
    pub fn new(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let format = reader.u8()?;
        let time = TimeMs(reader.u64()?);
        if format == FORMAT_WITHOUT_BLOCKED_READS {
            return Ok(BatchReader { time, reader, blocked: &[] });
        }
        if format != FORMAT {
            return Err(Malformed { offset: 0, what: "batch of an unknown format" });
        }
        let place = reader.u32()? as usize;
        if place < HEADER_BYTES || place > bytes.len() {
            return Err(Malformed { offset: BLOCKED_AT, what: "blocked reads begin outside of their batch" });
        }
        let (ops, blocked) = bytes.split_at(place);
        Ok(BatchReader { time, reader: Reader::new(&ops[HEADER_BYTES..]), blocked })
    }

    pub fn time(&self) -> TimeMs {
        self.time
    }

    /// The blocked reads that the entry carries, for [`crate::state::blocked::BlockedReads::decode`].
    pub fn blocked(&self) -> &'a [u8] {
        self.blocked
    }

    /// The next op; `None` at the end. After an error no more ops can be read.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator of results would hide that an error ends it"
    )]
    pub fn next(&mut self) -> Result<Option<Op<'a>>, Malformed> {
        if self.reader.is_empty() { Ok(None) } else { codec::decode_op(&mut self.reader).map(Some) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::op::random::{pool, random_op};
    use crate::state::testing::Random;
    use proptest::prelude::*;

    #[test]
    fn ops_come_back_in_order_with_their_time() {
        let pool = pool();
        for seed in 0..200 {
            let mut random = Random::new(seed);
            let ops: Vec<Op<'_>> = (0..random.below(8)).map(|_| random_op(&mut random, &pool)).collect();
            let mut batch = BatchWriter::default();
            assert!(batch.is_empty());
            ops.iter().for_each(|op| batch.push(op));
            let read = b"\x00";
            batch.seal(TimeMs(seed), [CarriedRead { encoded: read, looks: false }].into_iter());
            let blocked_bytes = 1;
            assert_eq!(batch.bytes() == HEADER_BYTES + blocked_bytes, ops.is_empty());
            let mut reader = BatchReader::new(batch.as_bytes()).unwrap();
            assert_eq!(reader.time(), TimeMs(seed));
            for op in &ops {
                assert_eq!(reader.next().unwrap().as_ref(), Some(op));
            }
            assert_eq!(reader.next(), Ok(None));
            assert_eq!(reader.blocked(), read);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read_but_never_panic(bytes: Vec<u8>) {
            if let Ok(mut reader) = BatchReader::new(&bytes) {
                while let Ok(Some(_)) = reader.next() {}
            }
        }
    }
}
