//! Records that are appended and not written: one batch per file. The direct write that is on its way.

use std::collections::VecDeque;

use crate::env::fs::Fs;
use crate::storage::journal::direct::{DirectWrite, DirectWriter};
use crate::storage::journal::error::JournalError;
use crate::storage::journal::file::{HEADER_BYTES, JournalFile};
use crate::storage::journal::index::Position;
use crate::storage::journal::record::{self, Place, RecordFields};

#[derive(Debug)]
pub struct Pending {
    /// Appends go to the last one; never empty.
    batches: VecDeque<Batch>,
    writes_directly: bool,
    /// Of the current file, once it was used.
    direct: Option<DirectWriter>,
    in_flight: Option<DirectWrite>,
}

#[derive(Debug)]
struct Batch {
    sequence: u64,
    start: u64,
    bytes: Vec<u8>,
    /// The record that ends the file before, once it was made: a second try writes the same bytes.
    continued: Vec<u8>,
}

impl Batch {
    fn new(start: Position) -> Batch {
        Batch { sequence: start.sequence, start: start.offset, bytes: Vec::new(), continued: Vec::new() }
    }

    fn start(&self) -> Position {
        Position { sequence: self.sequence, offset: self.start }
    }

    fn end(&self) -> Position {
        Position { sequence: self.sequence, offset: self.start + self.bytes.len() as u64 }
    }

    /// Becomes empty, with this memory unless that is the memory of one huge batch.
    fn restart(&mut self, start: u64, mut bytes: Vec<u8>) {
        const KEEP_BYTES: usize = 4 << 20;
        self.start = start;
        bytes.clear();
        self.bytes = if bytes.capacity() <= KEEP_BYTES { bytes } else { Vec::new() };
    }
}

impl Pending {
    /// Nothing, behind the records of a journal that end here.
    pub fn new(end: Position) -> Pending {
        let batches = VecDeque::from([Batch::new(end)]);
        Pending { batches, writes_directly: false, direct: None, in_flight: None }
    }

    pub fn write_directly(&mut self) {
        self.writes_directly = true;
    }

    /// Encodes a record at its place, the end of what is pending. Returns the new end.
    pub fn encode(&mut self, place: Place, fields: RecordFields, payload: &[u8]) -> Position {
        let batch = self.batches.back_mut().expect("there is always a batch to append to");
        assert_eq!(batch.end(), Position { sequence: place.sequence, offset: place.offset });
        record::encode(&mut batch.bytes, place, fields, payload);
        batch.end()
    }

    /// Continues at the start of a file. Returns that position.
    pub fn begin_file(&mut self, sequence: u64) -> Position {
        let start = Position { sequence, offset: HEADER_BYTES };
        self.batches.push_back(Batch::new(start));
        start
    }

    /// The bytes from a record on.
    pub fn bytes_at(&self, position: Position) -> &[u8] {
        let holds = |batch: &&Batch| batch.sequence == position.sequence && batch.start <= position.offset;
        match (self.batches.iter().find(holds), &self.in_flight) {
            (Some(batch), _) => &batch.bytes[(position.offset - batch.start) as usize..],
            (None, Some(write)) => write.records_at(position.offset),
            (None, None) => panic!("{position:?} is neither written nor pending"),
        }
    }

    /// Takes the oldest batch: its start and its bytes. [`Pending::put_back`] or [`Pending::end_batch`] follows.
    pub fn take(&mut self) -> (Position, Vec<u8>) {
        assert!(self.in_flight.is_none(), "a write beside a direct one");
        let batch = self.front();
        (batch.start(), std::mem::take(&mut batch.bytes))
    }

    /// The taken bytes could not be written, and will be tried again.
    pub fn put_back(&mut self, bytes: Vec<u8>) {
        self.front().bytes = bytes;
    }

    /// The taken bytes are written. Returns whether it was the last batch.
    pub fn end_batch(&mut self, bytes: Vec<u8>) -> bool {
        let is_last = self.batches.len() == 1;
        if is_last {
            let batch = self.front();
            batch.restart(batch.start + bytes.len() as u64, bytes);
        } else {
            self.batches.pop_front();
        }
        is_last
    }

    /// The record that ends the file before the oldest batch; made once.
    pub fn continued(&mut self, place: Place, fields: RecordFields) -> Vec<u8> {
        let batch = self.front();
        if batch.continued.is_empty() {
            record::encode(&mut batch.continued, place, fields, &[]);
        }
        batch.continued.clone()
    }

    fn front(&mut self) -> &mut Batch {
        self.batches.front_mut().expect("there is always a batch to append to")
    }

    /// Where a direct write of everything would end. `None` if there is none: it begins behind `durable`, and
    /// is of one file.
    pub fn direct_end(&self, durable: Position) -> Option<Position> {
        assert!(self.in_flight.is_none(), "a direct write is on its way");
        let batch = self.batches.front().expect("there is always a batch to append to");
        let can = self.writes_directly && self.batches.len() == 1 && batch.start() == durable;
        (can && !batch.bytes.is_empty()).then(|| batch.end())
    }

    /// The direct write of the oldest batch into its file, which has zeros up to the end of the last block.
    /// [`Pending::end_direct_write`] follows.
    pub fn begin_direct_write(
        &mut self,
        fs: &dyn Fs,
        file: &JournalFile,
    ) -> Result<DirectWrite, JournalError> {
        let direct = match self.direct.take().filter(|direct| direct.sequence() == file.sequence) {
            Some(direct) => direct,
            None => DirectWriter::open(fs, file)?,
        };
        let direct = self.direct.insert(direct);
        let batch = self.batches.front_mut().expect("there is always a batch to append to");
        let write = direct.prepare(file, batch.start, &batch.bytes)?;
        let bytes = std::mem::take(&mut batch.bytes);
        batch.restart(batch.start + bytes.len() as u64, bytes);
        self.in_flight = Some(write.clone());
        Ok(write)
    }

    /// Takes back the memory of the write.
    pub fn end_direct_write(&mut self, write: DirectWrite) {
        self.in_flight = None;
        if let Some(direct) = &mut self.direct {
            direct.recycle(write);
        }
    }
}
