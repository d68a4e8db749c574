//! The next journal file, prepared while the current one is in use.
//!
//! Zeroing a file and syncing the zeros takes as long as filling it with records. On a thread of its own this
//! costs the engine's thread nothing: that thread only names the file when its turn comes.

use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread;

use crate::env::fs::Fs;
use crate::env::priority;
use crate::storage::journal::error::JournalError;
use crate::storage::journal::file::JournalFile;

#[derive(Debug)]
pub struct Spare {
    sequence: u64,
    made: mpsc::Receiver<Result<JournalFile, JournalError>>,
}

impl Spare {
    /// Starts to prepare file `sequence` with `len` bytes. `None` if no thread is available: the journal then
    /// creates the file on demand.
    pub fn begin(fs: Arc<dyn Fs>, dir: PathBuf, sequence: u64, salt: u64, len: u64) -> Option<Spare> {
        let (done, made) = mpsc::channel();
        let make = move || {
            priority::lower_own();
            // The receiver is gone if the journal closed meanwhile; the next start removes the leftover.
            let _ = done.send(JournalFile::prepare(&*fs, &dir, sequence, salt, len));
        };
        let thread = thread::Builder::new().name("journal-spare".into()).spawn(make);
        thread.ok().map(|_| Spare { sequence, made })
    }

    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Waits for the file: synced, but without its name. On error returns `None`; the caller then creates the
    /// file itself and meets the same error, or the trouble is over.
    pub fn take(self) -> Option<JournalFile> {
        self.made.recv().ok()?.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::sim_fs::{Faults, SimFs};
    use std::path::Path;

    #[test]
    fn a_spare_that_could_not_be_made_is_none() {
        let fs = SimFs::new(1);
        fs.create_dir_all(Path::new("/j")).unwrap();
        let spare = |fs: &SimFs| Spare::begin(Arc::new(fs.clone()), "/j".into(), 2, 7, 4096).unwrap();
        let made = spare(&fs).take().unwrap();
        assert_eq!((made.sequence, made.salt, made.len), (2, 7, 4096));
        fs.set_faults(Faults { crash_at_operation: Some(fs.operations()), ..Default::default() });
        assert!(spare(&fs).take().is_none());
    }
}
