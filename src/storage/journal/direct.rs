//! Writes past the page cache that are durable when they return. Where the disk and its file system have them,
//! such a write takes less time than a write with a sync behind it: one system call, no page to copy into, no
//! search for dirty ones.
//!
//! It takes whole blocks. The first block of a write holds the end of the write before, byte for byte: a sector
//! that was durable keeps its records, whether the new write reaches it or not.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::env::clock::Clock;
use crate::env::fs::{BLOCK_BYTES, File, Fs, OpenMode};
use crate::storage::journal::error::JournalError;
use crate::storage::journal::file::JournalFile;
use crate::storage::journal::file_name;

/// Bytes in whole blocks, in memory that begins at a multiple of a block.
#[derive(Debug, Default)]
struct Blocks {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

impl Blocks {
    /// `head`, `body` and zeros up to the end of a block.
    fn fill(&mut self, head: &[u8], body: &[u8]) {
        let bytes = head.len() + body.len();
        self.len = bytes.next_multiple_of(BLOCK_BYTES);
        if self.memory.len() < self.len + BLOCK_BYTES {
            self.memory = vec![0; self.len * 2 + BLOCK_BYTES];
        }
        self.start = self.memory.as_ptr().align_offset(BLOCK_BYTES);
        let blocks = &mut self.memory[self.start..][..self.len];
        blocks[..head.len()].copy_from_slice(head);
        blocks[head.len()..bytes].copy_from_slice(body);
        blocks[bytes..].fill(0);
    }

    fn as_slice(&self) -> &[u8] {
        &self.memory[self.start..][..self.len]
    }
}

/// The end of the block that a position is in.
pub fn block_end(offset: u64) -> u64 {
    offset.next_multiple_of(BLOCK_BYTES as u64)
}

fn block_start(offset: u64) -> u64 {
    offset - offset % BLOCK_BYTES as u64
}

/// The writer of the newest journal file.
#[derive(Debug)]
pub struct DirectWriter {
    file: Arc<dyn File>,
    sequence: u64,
    /// The bytes from the start of a block up to `tail_end`.
    tail: Vec<u8>,
    tail_end: u64,
    /// Kept for its memory.
    spare: Blocks,
}

/// A write on its way.
#[derive(Debug, Clone)]
pub struct DirectWrite {
    file: Arc<dyn File>,
    blocks: Arc<Blocks>,
    /// The offset in the file of the first block.
    offset: u64,
}

impl DirectWriter {
    pub fn open(fs: &dyn Fs, file: &JournalFile) -> Result<DirectWriter, JournalError> {
        let direct = fs.open(&file.path, OpenMode::Direct);
        let direct = direct.map_err(JournalError::io(&file.path, 0, "open for direct writes"))?;
        let (tail, spare) = (Vec::new(), Blocks::default());
        Ok(DirectWriter { file: direct, sequence: file.sequence, tail, tail_end: 0, spare })
    }

    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// A write of records from `start` on; what stands before `start` in its block is kept, and is durable.
    pub fn prepare(
        &mut self,
        file: &JournalFile,
        start: u64,
        records: &[u8],
    ) -> Result<DirectWrite, JournalError> {
        assert_eq!(file.sequence, self.sequence, "a writer writes to its own file");
        let offset = block_start(start);
        if self.tail_end != start || self.tail.len() as u64 != start - offset {
            self.tail.resize((start - offset) as usize, 0);
            let read = file.file.read_at(&mut self.tail, offset);
            let read = read.map_err(JournalError::io(&file.path, offset, "read the last block"))?;
            assert_eq!(read, self.tail.len(), "records stand up to byte {start} of the file");
        }
        let mut blocks = std::mem::take(&mut self.spare);
        blocks.fill(&self.tail, records);
        self.tail_end = start + records.len() as u64;
        let tail = &blocks.as_slice()[(block_start(self.tail_end) - offset) as usize..];
        self.tail.clear();
        self.tail.extend_from_slice(&tail[..(self.tail_end % BLOCK_BYTES as u64) as usize]);
        Ok(DirectWrite { file: Arc::clone(&self.file), blocks: Arc::new(blocks), offset })
    }

    /// Gives back the memory of a write that has ended.
    pub fn recycle(&mut self, write: DirectWrite) {
        const KEEP_BYTES: usize = 4 << 20;
        if let Some(blocks) = Arc::into_inner(write.blocks)
            && blocks.memory.len() <= KEEP_BYTES
        {
            self.spare = blocks;
        }
    }
}

impl DirectWrite {
    pub fn run(&self) -> io::Result<()> {
        self.file.write_at(self.blocks.as_slice(), self.offset)
    }

    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The bytes from an offset in the file on, which must be that of one of its records.
    pub fn records_at(&self, offset: u64) -> &[u8] {
        &self.blocks.as_slice()[(offset - self.offset) as usize..]
    }
}

/// Pairs of writes that are compared; the median of each kind counts.
const PAIRS: usize = 9;

/// A slow disk is not compared for longer than this.
const COMPARE_MAX: Duration = Duration::from_millis(100);

/// Whether a direct write takes less time than a write and a sync, by trying both in the directory of the
/// journal.
///
/// # Errors
///
/// Where direct writes do not exist.
pub fn is_quicker(fs: &dyn Fs, dir: &Path, clock: &dyn Clock) -> Result<bool, JournalError> {
    // Recovery removes a file of this name.
    let path = dir.join(file_name::format_temporary(0));
    let compared = compare(fs, &path, clock);
    if let Err(error) = fs.remove_file(&path)
        && compared.is_ok()
    {
        tracing::warn!(file = %path.display(), %error, "cannot remove the file of a comparison");
    }
    let (direct, buffered) = compared?;
    tracing::info!(
        direct_us = direct.as_micros() as u64,
        write_and_sync_us = buffered.as_micros() as u64,
        "compared the ways to write the journal"
    );
    Ok(direct < buffered)
}

/// The median durations of a direct write, and of a write with a sync.
fn compare(fs: &dyn Fs, path: &Path, clock: &dyn Clock) -> Result<(Duration, Duration), JournalError> {
    let io = |doing| JournalError::io(path, 0, doing);
    let file = fs.open(path, OpenMode::CreateNew).map_err(JournalError::unwritten(path, 0, "create"))?;
    file.write_at(&[0; PAIRS * BLOCK_BYTES], 0).map_err(JournalError::unwritten(
        path,
        0,
        "write zeros ahead",
    ))?;
    file.sync_data().map_err(io("sync zeros"))?;
    let direct = fs.open(path, OpenMode::Direct).map_err(io("open for direct writes"))?;
    let mut blocks = Blocks::default();
    blocks.fill(&[], &[1; BLOCK_BYTES]);
    let began_us = clock.monotonic_us();
    let (mut directs, mut buffereds) = (Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        let offset = (pair * BLOCK_BYTES) as u64;
        let start_us = clock.monotonic_us();
        direct.write_at(blocks.as_slice(), offset).map_err(io("write"))?;
        let middle_us = clock.monotonic_us();
        file.write_at(&blocks.as_slice()[..SMALL_BYTES], offset).map_err(io("write"))?;
        file.sync_data().map_err(io("sync"))?;
        let end_us = clock.monotonic_us();
        directs.push(middle_us - start_us);
        buffereds.push(end_us - middle_us);
        if Duration::from_micros(end_us - began_us) > COMPARE_MAX {
            break;
        }
    }
    Ok((median(directs), median(buffereds)))
}

/// A usual write of the journal, in bytes.
const SMALL_BYTES: usize = 300;

fn median(mut durations_us: Vec<u64>) -> Duration {
    durations_us.sort_unstable();
    Duration::from_micros(durations_us[durations_us.len() / 2])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::clock::SystemClock;
    use crate::env::fs::RealFs;
    use crate::env::manual_clock::ManualClock;
    use crate::env::sim_fs::{Faults, SimFs};

    #[test]
    fn blocks_hold_head_and_body_and_zeros() {
        let mut blocks = Blocks::default();
        for (head, body) in [(0, 1), (5, 4091), (4095, 2), (0, 0), (100, 10_000), (3, 3)] {
            blocks.fill(&vec![1; head], &vec![2; body]);
            let slice = blocks.as_slice();
            assert_eq!(slice.as_ptr().align_offset(BLOCK_BYTES), 0);
            assert_eq!(slice.len(), (head + body).next_multiple_of(BLOCK_BYTES));
            let expected = [vec![1; head], vec![2; body], vec![0; slice.len() - head - body]].concat();
            assert_eq!(slice, expected);
        }
    }

    #[test]
    fn the_bytes_before_a_write_stay_in_its_first_block() {
        let fs = SimFs::new(1);
        let dir = Path::new("/j");
        fs.create_dir_all(dir).unwrap();
        let file = JournalFile::create(&fs, dir, 1, 7, 1 << 20).unwrap();
        let mut writer = DirectWriter::open(&fs, &file).unwrap();
        let mut expected = file.file.len().map(|len| vec![0; len as usize]).unwrap();
        file.file.read_at(&mut expected, 0).unwrap();
        let mut start = 64;
        for (number, len) in [10, 5000, 4096, 3, 9000, 1].into_iter().enumerate() {
            let records = vec![number as u8 + 1; len];
            let write = writer.prepare(&file, start, &records).unwrap();
            assert_eq!(write.records_at(start)[..len], records);
            write.run().unwrap();
            writer.recycle(write);
            expected[start as usize..][..len].copy_from_slice(&records);
            start += len as u64;
            if number == 3 {
                // A write by another way is taken up.
                file.file.write_at(&[99; 20], start).unwrap();
                file.file.sync_data().unwrap();
                expected[start as usize..][..20].fill(99);
                start += 20;
            }
            assert_eq!(fs.contents(&file.path).unwrap(), expected, "write {number}");
        }
        let path = file.path.clone();
        fs.crash();
        assert_eq!(fs.contents(&path).unwrap(), expected, "all of it was durable");
    }

    #[test]
    fn the_quicker_way_is_found_and_nothing_is_left_over() {
        let clock = ManualClock::default();
        let fs = SimFs::new(1).with_clock(clock.clone());
        let dir = Path::new("/j");
        fs.create_dir_all(dir).unwrap();
        assert!(!is_quicker(&fs, dir, &clock).unwrap(), "both take no time at all");
        assert_eq!(fs.read_dir(dir).unwrap(), Vec::<String>::new());
        fs.set_faults(Faults { fail_sync: Some(fs.syncs() + 2), ..Faults::default() });
        is_quicker(&fs, dir, &clock).unwrap_err();
        assert_eq!(fs.read_dir(dir).unwrap(), Vec::<String>::new());

        let dir = tempfile::tempdir().unwrap();
        if let Err(error) = is_quicker(&RealFs, dir.path(), &SystemClock::default()) {
            println!("this file system has no direct writes: {error}");
        }
        assert_eq!(RealFs.read_dir(dir.path()).unwrap(), Vec::<String>::new());
    }
}
