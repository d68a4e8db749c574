//! The settings of a journal, and the files that follow from them.

use std::path::Path;
use std::sync::Arc;

use crate::env::fs::Fs;
use crate::env::threads::Threads;
use crate::storage::journal::error::JournalError;
use crate::storage::journal::file::{END_BYTES, JournalFile};
use crate::storage::space::DiskSpace;

#[derive(Debug, Clone)]
pub struct JournalOptions {
    pub partitions: u16,
    /// Bytes of a journal file before the next one starts; a longer record gets a file of its own length.
    pub file_bytes: u64,
    /// The same for the very first file; the second has four times as much. A new journal is thus ready
    /// quickly, and a full-sized file can be prepared meanwhile.
    pub first_file_bytes: u64,
    /// Zeros by which a file grows at a time.
    pub zero_ahead_bytes: u64,
    /// Where the next file is prepared; `None`: it is created on demand.
    pub prepare_next: Option<Arc<dyn Threads>>,
    /// Payload bytes of recent entries kept in memory for [`Journal::read`]; 0: none.
    pub tail_bytes_max: usize,
    /// Random, drawn once per data directory: makes record checksums unpredictable to clients.
    pub salt: u64,
    /// Whether an empty directory becomes a new journal. Otherwise it is an error: the journal was lost.
    pub create: bool,
    pub space: Arc<DiskSpace>,
}

impl Default for JournalOptions {
    fn default() -> Self {
        JournalOptions {
            partitions: 1,
            file_bytes: 64 << 20,
            first_file_bytes: 4 << 20,
            zero_ahead_bytes: 4 << 20,
            prepare_next: None,
            tail_bytes_max: 0,
            salt: 0,
            create: true,
            space: Arc::default(),
        }
    }
}

impl JournalOptions {
    /// Bytes of file `sequence` before the next one starts.
    pub fn capacity(&self, sequence: u64) -> u64 {
        match sequence {
            1 => self.first_file_bytes.min(self.file_bytes),
            2 => (self.first_file_bytes * 4).min(self.file_bytes),
            _ => self.file_bytes,
        }
    }
    /// Creates file `sequence`, durable under its name, with zeros ahead of its first records, which end at
    /// `first_end`; with hardly any if space is short.
    pub fn create_file(
        &self,
        fs: &dyn Fs,
        dir: &Path,
        sequence: u64,
        first_end: u64,
    ) -> Result<JournalFile, JournalError> {
        let create = |zeros: u64| {
            let len = (first_end + END_BYTES).max(zeros.min(self.file_bytes));
            JournalFile::create(fs, dir, sequence, self.salt, len)
        };
        match create(self.space.journal_step(self.zero_ahead_bytes)) {
            Err(error) if error.is_no_space() => create(0),
            result => result,
        }
    }
}
