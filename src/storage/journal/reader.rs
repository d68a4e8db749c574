//! Reads the records of one file in order through a window that moves forward.

use crate::storage::journal::error::JournalError;
use crate::storage::journal::file::{END_BYTES, HEADER_BYTES, JournalFile};
use crate::storage::journal::record::{ALIGNMENT, RecordHead};

/// The result at an offset.
#[derive(Debug)]
pub enum Found<'a> {
    Record(RecordHead, &'a [u8]),
    /// No valid record; the head, if it is valid.
    Nothing(Option<RecordHead>),
}

pub struct JournalReader<'f> {
    file: &'f JournalFile,
    window: Vec<u8>,
    window_start: u64,
    /// The payload of the newest record, without its mask.
    payload: Vec<u8>,
}

impl<'f> JournalReader<'f> {
    /// Bytes read at once; more for a longer record.
    const WINDOW_BYTES: usize = 1 << 18;

    pub fn new(file: &'f JournalFile) -> JournalReader<'f> {
        JournalReader { file, window: Vec::new(), window_start: 0, payload: Vec::new() }
    }

    pub fn file(&self) -> &'f JournalFile {
        self.file
    }

    /// The record at `offset`, a multiple of [`ALIGNMENT`] after the header.
    pub fn record_at(&mut self, offset: u64) -> Result<Found<'_>, JournalError> {
        let Some(head) = self.head_at(offset)? else { return Ok(Found::Nothing(None)) };
        // At least END_BYTES of zeros follow every record, so a record that reaches further was never written
        // here. Existing bytes thus bound the length before it sizes anything (S15).
        if head.record_bytes() > self.file.len.saturating_sub(offset + END_BYTES) {
            return Ok(Found::Nothing(Some(head)));
        }
        let place = self.file.place(offset);
        let (start, end) =
            (place.layout.head_bytes(), place.layout.head_bytes() + head.payload_bytes as usize);
        let mut payload = std::mem::take(&mut self.payload);
        payload.clear();
        payload.extend_from_slice(self.bytes(offset, end)?.get(start..end).unwrap_or_default());
        // The head has a length of whole words.
        place.mask(&mut payload);
        self.payload = payload;
        if !head.fits(&self.payload, place) {
            return Ok(Found::Nothing(Some(head)));
        }
        Ok(Found::Record(head, &self.payload))
    }

    /// The head at `offset` alone.
    pub fn head_at(&mut self, offset: u64) -> Result<Option<RecordHead>, JournalError> {
        assert!(offset >= HEADER_BYTES && offset.is_multiple_of(ALIGNMENT), "no record starts at {offset}");
        let place = self.file.place(offset);
        Ok(RecordHead::decode(self.bytes(offset, place.layout.head_bytes())?, place))
    }

    /// `len` bytes from `offset`, fewer at the end of the file.
    pub fn bytes(&mut self, offset: u64, len: usize) -> Result<&[u8], JournalError> {
        let inside = offset >= self.window_start
            && offset + len as u64 <= self.window_start + self.window.len() as u64;
        if !inside {
            let rest = usize::try_from(self.file.len.saturating_sub(offset)).unwrap_or(usize::MAX);
            self.window.resize(len.max(Self::WINDOW_BYTES).min(rest), 0);
            self.window_start = offset;
            let read = match self.file.file.read_at(&mut self.window, offset) {
                Ok(read) => read,
                Err(error) => {
                    self.window.clear();
                    return Err(JournalError::io(&self.file.path, offset, "read")(error));
                }
            };
            self.window.truncate(read);
        }
        let start = (offset - self.window_start) as usize;
        Ok(&self.window[start..(start + len).min(self.window.len())])
    }
}
