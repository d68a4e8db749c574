//! A journal file: its header, its creation, and the zeros ahead of its records.
//!
//! ```text
//!  0 [u8; 8]  magic
//!  8 u32      format version
//! 12 u32      0
//! 16 u64      sequence number, as in the name
//! 24 u64      salt of the checksums of its records
//! 32 u32      CRC32C of the 32 bytes before
//! 36          zeros up to byte 64, where the records start
//! ```
//!
//! A file gets its name only after its header and first zeros are synced: a named file without a valid header
//! is damaged, not new.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::crc;
use crate::env::fs::{File, Fs, OpenMode};
use crate::env::read_on_demand::ReadOnDemand;
use crate::storage::journal::error::JournalError;
use crate::storage::journal::file_name;
use crate::storage::journal::record::{Layout, Place};

const MAGIC: [u8; 8] = *b"HWJRNL\r\n";
/// Version 2 adds the records `Reset` and `Continued`, version 3 the mask, the incarnation and the records
/// `CleanStop`, `Last` and `Drop`. Files of earlier versions are read, and continued in a new file.
pub const FORMAT_VERSION: u32 = 3;
const OLDEST_VERSION: u32 = 1;

/// A file of this version does not end in a `Continued` record when the next one is in use; newer files do.
pub const VERSION_WITHOUT_CONTINUED: u32 = 1;

/// From this version on records are masked, and a file begins with what the log held before it.
pub const FIRST_MASKED_VERSION: u32 = 3;

/// Where the records start.
pub const HEADER_BYTES: u64 = 64;

/// At least this many zeros follow the last record of a file; fewer mean that the file was cut.
pub const END_BYTES: u64 = 64;

/// A journal file and its header.
#[derive(Debug, Clone)]
pub struct JournalFile {
    pub path: PathBuf,
    pub sequence: u64,
    /// The format version.
    pub version: u32,
    pub salt: u64,
    /// Open while it is written to; otherwise opened for each read, so that descriptors do not grow in number
    /// with the files.
    pub file: Arc<dyn File>,
    /// Length of the file, zeros included.
    pub len: u64,
    /// Records and zeros of this process are written up to here. Behind it zeros may be read that a failed
    /// sync of an earlier process left in memory only (S2).
    pub own_len: u64,
}

impl JournalFile {
    /// Creates the file with `len` bytes, durable under its name (S3).
    pub fn create(
        fs: &dyn Fs,
        dir: &Path,
        sequence: u64,
        salt: u64,
        len: u64,
    ) -> Result<JournalFile, JournalError> {
        JournalFile::prepare(fs, dir, sequence, salt, len)?.name(fs, dir)
    }

    /// Creates the file, durable except for its name. A file under the temporary name belongs to nothing;
    /// after an error there is none.
    pub fn prepare(
        fs: &dyn Fs,
        dir: &Path,
        sequence: u64,
        salt: u64,
        len: u64,
    ) -> Result<JournalFile, JournalError> {
        let temporary = dir.join(file_name::format_temporary(sequence));
        JournalFile::prepare_as(fs, temporary.clone(), sequence, salt, len).inspect_err(|_| {
            // A full disk needs the space.
            let _ = fs.remove_file(&temporary);
        })
    }

    fn prepare_as(
        fs: &dyn Fs,
        temporary: PathBuf,
        sequence: u64,
        salt: u64,
        len: u64,
    ) -> Result<JournalFile, JournalError> {
        assert!(len >= HEADER_BYTES + END_BYTES, "a journal file of {len} bytes has no place for a record");
        if fs.exists(&temporary).map_err(JournalError::io(&temporary, 0, "look for a leftover"))? {
            fs.remove_file(&temporary).map_err(JournalError::io(&temporary, 0, "remove a leftover"))?;
        }
        let file = fs
            .open(&temporary, OpenMode::CreateNew)
            .map_err(JournalError::unwritten(&temporary, 0, "create"))?;
        let version = FORMAT_VERSION;
        let mut made =
            JournalFile { path: temporary.clone(), sequence, version, salt, file, len: 0, own_len: 0 };
        // In steps: a concurrent sync of the current file waits for no more than one of them.
        const STEP_BYTES: u64 = 4 << 20;
        while made.len + STEP_BYTES < len {
            made.extend(made.len + STEP_BYTES)?;
            made.file.sync_data().map_err(JournalError::io(&temporary, made.len, "sync zeros"))?;
        }
        made.extend(len)?;
        let header = encode_header(sequence, salt);
        made.file.write_at(&header, 0).map_err(JournalError::unwritten(&temporary, 0, "write the header"))?;
        made.file.sync_data().map_err(JournalError::io(&temporary, 0, "sync"))?;
        Ok(made)
    }

    /// Names a prepared file, durably.
    pub fn name(mut self, fs: &dyn Fs, dir: &Path) -> Result<JournalFile, JournalError> {
        let path = dir.join(file_name::format(self.sequence));
        fs.rename(&self.path, &path).map_err(JournalError::unwritten(&path, 0, "rename into place"))?;
        fs.sync_dir(dir).map_err(JournalError::io(dir, 0, "sync the directory"))?;
        self.path = path;
        Ok(self)
    }

    /// Checks the header of a file, for reading: see [`JournalFile::hold`].
    pub fn open(fs: &Arc<dyn Fs>, dir: &Path, sequence: u64) -> Result<JournalFile, JournalError> {
        let path = dir.join(file_name::format(sequence));
        let file = fs.open(&path, OpenMode::Read).map_err(JournalError::io(&path, 0, "open"))?;
        let len = file.len().map_err(JournalError::io(&path, 0, "get the length"))?;
        let mut header = [0; HEADER_BYTES as usize];
        let read = file.read_at(&mut header, 0).map_err(JournalError::io(&path, 0, "read the header"))?;
        if read < header.len() || len < HEADER_BYTES + END_BYTES {
            return Err(JournalError::damaged(&path, len, "the file is shorter than any journal file"));
        }
        let (version, salt) =
            decode_header(&header, sequence).map_err(|reason| JournalError::damaged(&path, 0, reason))?;
        let file = ReadOnDemand::file(fs, &path);
        Ok(JournalFile { path, sequence, version, salt, file, len, own_len: HEADER_BYTES })
    }

    /// Opens it for writing, and keeps it open.
    pub fn hold(&mut self, fs: &dyn Fs) -> Result<(), JournalError> {
        self.file = fs.open(&self.path, OpenMode::Write).map_err(JournalError::io(&self.path, 0, "open"))?;
        Ok(())
    }

    /// Nothing more is written to it: closes it. A sync in progress has a handle of its own.
    pub fn release(&mut self, fs: &Arc<dyn Fs>) {
        self.file = ReadOnDemand::file(fs, &self.path);
    }

    /// How its records stand in it.
    pub fn layout(&self) -> Layout {
        if self.version < FIRST_MASKED_VERSION { Layout::Plain } else { Layout::Masked }
    }

    /// The place of a record in it.
    pub fn place(&self, offset: u64) -> Place {
        Place { layout: self.layout(), salt: self.salt, sequence: self.sequence, offset }
    }

    /// Writes zeros from [`JournalFile::own_len`] up to `len`. They must be synced before a record is written
    /// onto them.
    pub fn extend(&mut self, len: u64) -> Result<(), JournalError> {
        const PIECE: usize = 1 << 20;
        let zeros = vec![0; PIECE.min(usize::try_from(len.saturating_sub(self.own_len)).unwrap_or(PIECE))];
        while self.own_len < len {
            let piece = &zeros[..zeros.len().min(usize::try_from(len - self.own_len).unwrap_or(PIECE))];
            self.file.write_at(piece, self.own_len).map_err(JournalError::unwritten(
                &self.path,
                self.own_len,
                "write zeros ahead",
            ))?;
            self.own_len += piece.len() as u64;
            self.len = self.len.max(self.own_len);
        }
        Ok(())
    }
}

fn encode_header(sequence: u64, salt: u64) -> [u8; HEADER_BYTES as usize] {
    let mut header = [0; HEADER_BYTES as usize];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    header[16..24].copy_from_slice(&sequence.to_le_bytes());
    header[24..32].copy_from_slice(&salt.to_le_bytes());
    let crc = crc::crc32c(&header[..32]);
    header[32..36].copy_from_slice(&crc.to_le_bytes());
    header
}

/// Version and salt, or the reason why this is not the header of file `sequence`.
fn decode_header(header: &[u8; HEADER_BYTES as usize], sequence: u64) -> Result<(u32, u64), String> {
    let u32_at = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
    if header[..8] != MAGIC {
        return Err("not a journal file (wrong magic)".into());
    }
    if u32_at(32) != crc::crc32c(&header[..32]) {
        return Err("the header does not match its checksum".into());
    }
    if !(OLDEST_VERSION..=FORMAT_VERSION).contains(&u32_at(8)) {
        return Err(format!(
            "journal format {}, this version reads {OLDEST_VERSION} to {FORMAT_VERSION}",
            u32_at(8)
        ));
    }
    if u64_at(16) != sequence {
        return Err(format!("the header says file {}, the name says {sequence}", u64_at(16)));
    }
    if header[36..].iter().any(|&byte| byte != 0) {
        return Err("the header has bytes where zeros belong".into());
    }
    Ok((u32_at(8), u64_at(24)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::sim_fs::SimFs;

    #[test]
    fn a_named_file_is_complete_after_any_crash() {
        let dir = Path::new("/j");
        for seed in 0..40 {
            for crash_at in 1..20 {
                let fs = SimFs::new(seed);
                fs.create_dir_all(dir).unwrap();
                let faults = crate::env::sim_fs::Faults {
                    crash_at_operation: Some(fs.operations() + crash_at),
                    ..Default::default()
                };
                fs.set_faults(faults);
                let made = JournalFile::create(&fs, dir, 1, 9, 4096);
                fs.crash();
                let named = fs.exists(&dir.join(file_name::format(1))).unwrap();
                assert!(named || made.is_err());
                if named {
                    let disk: Arc<dyn Fs> = Arc::new(fs);
                    let file = JournalFile::open(&disk, dir, 1).unwrap();
                    assert_eq!((file.salt, file.len), (9, 4096));
                } else {
                    JournalFile::create(&fs, dir, 1, 9, 4096).unwrap();
                }
            }
        }
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        let header = encode_header(3, 11);
        assert_eq!(decode_header(&header, 3), Ok((FORMAT_VERSION, 11)));
        assert!(decode_header(&header, 4).is_err());
        for bit in 0..header.len() * 8 {
            let mut damaged = header;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_header(&damaged, 3).is_err(), "bit {bit}");
        }
    }
}
