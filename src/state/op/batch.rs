//! A batch: the ops of one log entry, and the leader's time.
//!
//! Format: version (u8), time (u64, fixed so that it can be filled in when the batch is sealed), then ops to the end.

use crate::base::wire::{Malformed, Reader, Writer};
use crate::command::value::Write;
use crate::model::time::TimeMs;
use crate::state::op::Op;
use crate::state::op::codec;

/// Of the whole record: ops, commands, and all that is in them.
const FORMAT: u8 = 1;
const HEADER_BYTES: usize = 1 + 8;

/// Collects ops; keeps its buffer from batch to batch.
#[derive(Debug, Default)]
pub struct BatchWriter {
    buffer: Vec<u8>,
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

    pub fn is_empty(&self) -> bool {
        self.buffer.len() <= HEADER_BYTES
    }

    /// Bytes so far, the header included.
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Stamps the time. More may be pushed after it, and it may be stamped again.
    pub fn seal(&mut self, now: TimeMs) {
        self.open();
        self.buffer[1..HEADER_BYTES].copy_from_slice(&now.0.to_le_bytes());
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.buffer
    }

    pub fn clear(&mut self) {
        self.buffer.clear();
    }

    fn open(&mut self) {
        if self.buffer.is_empty() {
            let mut writer = Writer::new(&mut self.buffer);
            writer.u8(FORMAT);
            writer.u64(0);
        }
    }
}

/// Reads a batch op by op.
#[derive(Debug, Clone)]
pub struct BatchReader<'a> {
    time: TimeMs,
    reader: Reader<'a>,
}

impl<'a> BatchReader<'a> {
    pub fn new(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != FORMAT {
            return Err(Malformed { offset: 0, what: "batch of an unknown format" });
        }
        let time = TimeMs(reader.u64()?);
        Ok(BatchReader { time, reader })
    }

    pub fn time(&self) -> TimeMs {
        self.time
    }

    /// The next op; `None` at the end. After an error nothing more can be read.
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
            batch.seal(TimeMs(seed));
            assert_eq!(batch.is_empty(), ops.is_empty());
            let mut reader = BatchReader::new(batch.as_bytes()).unwrap();
            assert_eq!(reader.time(), TimeMs(seed));
            for op in &ops {
                assert_eq!(reader.next().unwrap().as_ref(), Some(op));
            }
            assert_eq!(reader.next(), Ok(None));
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
