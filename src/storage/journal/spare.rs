//! The next journal file, prepared while the current one is in use.
//!
//! Zeroing a file and syncing the zeros takes as long as filling it with records. On a thread of its own this
//! costs the engine's thread nothing: that thread only names the file when its turn comes.

use std::path::PathBuf;
use std::sync::Arc;

use crate::env::fs::Fs;
use crate::env::threads::{self, Elsewhere, Priority, Threads};
use crate::storage::journal::error::JournalError;
use crate::storage::journal::file::JournalFile;

#[derive(Debug)]
pub struct Spare {
    sequence: u64,
    made: Elsewhere<Result<JournalFile, JournalError>>,
}

impl Spare {
    /// Starts to prepare file `sequence` with `len` bytes. `None` if no thread is available: the journal then
    /// creates the file on demand.
    pub fn begin(
        threads: &dyn Threads,
        fs: Arc<dyn Fs>,
        dir: PathBuf,
        sequence: u64,
        salt: u64,
        len: u64,
    ) -> Option<Spare> {
        let lane = threads.start("journal-spare", Priority::Background).ok()?;
        // If the journal closes meanwhile, the next start removes the leftover.
        let make = move || JournalFile::prepare(&*fs, &dir, sequence, salt, len);
        Some(Spare { sequence, made: threads::run(&lane, make) })
    }

    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Waits for the file: synced, but without its name. On error returns `None`; the caller then creates the
    /// file itself and meets the same error, or the trouble is over.
    pub fn take(self) -> Option<JournalFile> {
        self.made.wait().ok()?.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::sim_fs::{Faults, SimFs};
    use crate::env::threads::RealThreads;
    use std::path::Path;

    #[test]
    fn a_spare_that_could_not_be_made_is_none() {
        let fs = SimFs::new(1);
        fs.create_dir_all(Path::new("/j")).unwrap();
        let spare =
            |fs: &SimFs| Spare::begin(&RealThreads, Arc::new(fs.clone()), "/j".into(), 2, 7, 4096).unwrap();
        let made = spare(&fs).take().unwrap();
        assert_eq!((made.sequence, made.salt, made.len), (2, 7, 4096));
        fs.set_faults(Faults { crash_at_operation: Some(fs.operations()), ..Default::default() });
        assert!(spare(&fs).take().is_none());
    }
}
