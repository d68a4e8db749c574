//! The next journal file, made ready while the one before it is still written to.
//!
//! Zeroing a file and syncing the zeros takes as long as filling it with records does. On a thread of its own that costs
//! the worker nothing: it only gives the file its name when its turn comes.

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
    /// Begins to make file `sequence` with `len` bytes. `None` if there is no thread to be had: then the file is made
    /// when it is needed.
    pub fn begin(
        threads: &dyn Threads,
        fs: Arc<dyn Fs>,
        dir: PathBuf,
        sequence: u64,
        salt: u64,
        len: u64,
    ) -> Option<Spare> {
        let lane = threads.start("journal-spare", Priority::Background).ok()?;
        // Nobody takes it if the journal is closed meanwhile; what is left is removed at the next start.
        let make = move || JournalFile::prepare(&*fs, &dir, sequence, salt, len);
        Some(Spare { sequence, made: threads::run(&lane, make) })
    }

    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The file, synced and without its name yet; waits until it is made. An error is left to whoever makes the file
    /// then: it meets the same trouble, or the trouble is over.
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
