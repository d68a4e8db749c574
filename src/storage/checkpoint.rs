//! Checkpoints: durable images of a partition's state machine at one log index.
//!
//! ```text
//! header block: magic, version, partition, term, index, incarnation, membership
//! data blocks : the image in pieces of at most BLOCK_BYTES
//! trailer     : image bytes, number of data blocks
//! ```
//!
//! Each block is `u32 payload length, u32 kind, u32 CRC32C, payload`. The checksum covers the file's identity
//! (partition and index), the block's number, its kind, its length and its payload, so that no block passes
//! for another. The file ends with the trailer.
//!
//! A checkpoint is written under its own temporary name, synced and renamed; then the directory is synced;
//! then older ones are removed. So a file with a checkpoint's name is complete. One that does not decode is
//! an error, never "no checkpoint" (S7): the journal before it is gone. Several may be written at the same
//! time, even of one partition: a writer touches only its own temporary file, and the newest checkpoint
//! stays, in whatever order they finish.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::crc;
use crate::base::wire::{Malformed, Reader, Writer};
use crate::env::fs::{File, Fs, OpenMode};
use crate::model::log::{LogId, LogIndex, PartitionId, Term};

/// Image bytes per block.
pub const BLOCK_BYTES: usize = 256 << 10;

const MAGIC: &[u8; 8] = b"HWCKPT\r\n";
pub const FORMAT_VERSION: u32 = 1;
const BLOCK_HEAD_BYTES: usize = 12;
/// The header's membership is small; a block that claims more is damaged.
const PAYLOAD_BYTES_MAX: usize = 4 << 20;

#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error("{}: {doing} at byte {offset}: {source}", file.display())]
    Io { file: PathBuf, offset: u64, doing: &'static str, source: io::Error },
    #[error("{}: damaged at byte {offset}: {reason}", file.display())]
    Damaged { file: PathBuf, offset: u64, reason: String },
}

fn io_error(file: &Path, offset: u64, doing: &'static str) -> impl FnOnce(io::Error) -> CheckpointError {
    let file = file.to_owned();
    move |source| CheckpointError::Io { file, offset, doing, source }
}

/// The identity of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointMeta {
    pub partition: PartitionId,
    /// The last entry in the image.
    pub log_id: LogId,
    /// The Raft membership at that entry, opaque; empty outside a cluster.
    pub membership: Vec<u8>,
}

/// A checkpoint read from disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    pub meta: CheckpointMeta,
    pub image: Vec<u8>,
}

/// Passes the bytes of an image, piece by piece, to the given sink.
pub type ImageSource<'a> = dyn Fn(&mut dyn FnMut(&[u8])) + 'a;

/// The directory of all partitions' checkpoints. Clones share it; a process has one and its clones.
#[derive(Debug, Clone)]
pub struct CheckpointStore {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    /// Numbers the temporary files.
    written: Arc<AtomicU64>,
}

impl CheckpointStore {
    pub fn new(fs: Arc<dyn Fs>, dir: &Path) -> CheckpointStore {
        CheckpointStore { fs, dir: dir.to_owned(), written: Arc::default() }
    }

    /// Makes the names that an earlier process has left durable (S3), and removes its unfinished files. Call
    /// it before the first read or write.
    pub fn remove_leftovers(&self) -> Result<(), CheckpointError> {
        self.fs.sync_dir(&self.dir).map_err(io_error(&self.dir, 0, "sync the directory"))?;
        self.remove(|name| parse_temporary_name(name).is_some())
    }

    /// Writes a checkpoint; `image` yields its bytes in pieces. When this returns, the checkpoint is durable
    /// and all but the newest of the partition are removed. Returns the bytes of the file.
    pub fn write(&self, meta: &CheckpointMeta, image: &ImageSource<'_>) -> Result<u64, CheckpointError> {
        let path = self.path(meta.partition, meta.log_id.index);
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let temporary = self.dir.join(format_temporary_name(meta.partition, meta.log_id.index, number));
        let file =
            self.fs.open(&temporary, OpenMode::CreateNew).map_err(io_error(&temporary, 0, "create"))?;
        let bytes = write_file(&*file, &temporary, meta, image).inspect_err(|_| {
            // Nothing reads the temporary name; removing the file frees its space on a full disk.
            let _ = self.fs.remove_file(&temporary);
        })?;
        self.fs.rename(&temporary, &path).map_err(io_error(&path, 0, "rename into place"))?;
        self.fs.sync_dir(&self.dir).map_err(io_error(&self.dir, 0, "sync the directory"))?;
        self.remove_older(meta.partition, meta.log_id.index)?;
        Ok(bytes)
    }

    /// Reads the newest checkpoint of a partition; `None` if it never had one.
    pub fn load(&self, partition: PartitionId) -> Result<Option<Checkpoint>, CheckpointError> {
        let Some(index) = self.newest(partition)? else { return Ok(None) };
        self.load_at(partition, index).map(Some)
    }

    /// Reads the checkpoint of a partition at an index; one that was replaced meanwhile is an error.
    pub fn load_at(&self, partition: PartitionId, index: LogIndex) -> Result<Checkpoint, CheckpointError> {
        read_file(&*self.fs, &self.path(partition, index), partition, index)
    }

    fn path(&self, partition: PartitionId, index: LogIndex) -> PathBuf {
        self.dir.join(format_name(partition, index))
    }

    fn newest(&self, partition: PartitionId) -> Result<Option<LogIndex>, CheckpointError> {
        let names = self.fs.read_dir(&self.dir).map_err(io_error(&self.dir, 0, "list the directory"))?;
        let parsed = names.iter().filter_map(|name| parse_name(name));
        Ok(parsed.filter(|(of, _)| *of == partition).map(|(_, index)| index).max())
    }

    /// `durable` is a checkpoint that the caller has made durable, including its name.
    fn remove_older(&self, partition: PartitionId, durable: LogIndex) -> Result<(), CheckpointError> {
        let newest = self.newest(partition)?;
        if newest > Some(durable) {
            // Another writer has just renamed it; a name that may be lost justifies no removal.
            self.fs.sync_dir(&self.dir).map_err(io_error(&self.dir, 0, "sync the directory"))?;
        }
        self.remove(|name| {
            parse_name(name).is_some_and(|(of, index)| of == partition && Some(index) < newest)
        })
    }

    fn remove(&self, condemned: impl Fn(&str) -> bool) -> Result<(), CheckpointError> {
        let mut removed = false;
        for name in self.fs.read_dir(&self.dir).map_err(io_error(&self.dir, 0, "list the directory"))? {
            if condemned(&name) {
                let path = self.dir.join(&name);
                match self.fs.remove_file(&path) {
                    // Another writer has finished at the same time.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    // It costs space and nothing else; the next checkpoint tries again.
                    Err(error) => tracing::warn!(file = %path.display(), %error, "cannot remove a file"),
                    Ok(()) => removed = true,
                }
            }
        }
        if removed {
            self.fs.sync_dir(&self.dir).map_err(io_error(&self.dir, 0, "sync the directory"))?;
        }
        Ok(())
    }
}

fn format_name(partition: PartitionId, index: LogIndex) -> String {
    format!("p{:05}-{:016x}.checkpoint", partition.0, index.0)
}

fn format_temporary_name(partition: PartitionId, index: LogIndex, number: u64) -> String {
    format!("{}.{number}.tmp", format_name(partition, index))
}

/// Earlier versions did not number them.
fn parse_temporary_name(name: &str) -> Option<(PartitionId, LogIndex)> {
    let name = name.strip_suffix(".tmp")?;
    let unnumbered = name.rsplit_once('.').filter(|(_, number)| number.parse::<u64>().is_ok());
    parse_name(unnumbered.map_or(name, |(name, _)| name))
}

fn parse_name(name: &str) -> Option<(PartitionId, LogIndex)> {
    let (partition, index) = name.strip_prefix('p')?.strip_suffix(".checkpoint")?.split_once('-')?;
    let parsed = (PartitionId(partition.parse().ok()?), LogIndex(u64::from_str_radix(index, 16).ok()?));
    (format_name(parsed.0, parsed.1) == name).then_some(parsed)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum BlockKind {
    Header = 1,
    Data = 2,
    Trailer = 3,
}

/// The position of a block, bound into its checksum.
#[derive(Debug, Clone, Copy)]
struct BlockPlace {
    partition: PartitionId,
    index: LogIndex,
    number: u64,
}

fn block_crc(place: BlockPlace, kind: u32, payload: &[u8]) -> u32 {
    let mut identity = Vec::with_capacity(32);
    let mut writer = Writer::new(&mut identity);
    writer.u16(place.partition.0);
    writer.u64(place.index.0);
    writer.u64(place.number);
    writer.u32(kind);
    writer.u32(payload.len() as u32);
    crc::extend(crc::crc32c(&identity), payload)
}

struct FileWriter<'a> {
    file: &'a dyn File,
    path: &'a Path,
    place: BlockPlace,
    offset: u64,
    synced: u64,
}

/// Bytes between two syncs; a concurrent sync of the journal waits for no more than these.
const SYNC_BYTES: u64 = 4 << 20;

impl FileWriter<'_> {
    fn sync_if_far(&mut self) -> Result<(), CheckpointError> {
        if self.offset - self.synced < SYNC_BYTES {
            return Ok(());
        }
        self.synced = self.offset;
        self.file.sync_data().map_err(io_error(self.path, self.offset, "sync"))
    }

    fn block(&mut self, kind: BlockKind, payload: &[u8]) -> Result<(), CheckpointError> {
        assert!(payload.len() <= PAYLOAD_BYTES_MAX, "a checkpoint block of {} bytes", payload.len());
        let mut bytes = Vec::with_capacity(BLOCK_HEAD_BYTES + payload.len());
        let mut writer = Writer::new(&mut bytes);
        writer.u32(payload.len() as u32);
        writer.u32(kind as u32);
        writer.u32(block_crc(self.place, kind as u32, payload));
        writer.raw(payload);
        self.file.write_at(&bytes, self.offset).map_err(io_error(self.path, self.offset, "write"))?;
        self.offset += bytes.len() as u64;
        self.place.number += 1;
        Ok(())
    }
}

fn write_file(
    file: &dyn File,
    path: &Path,
    meta: &CheckpointMeta,
    image: &ImageSource<'_>,
) -> Result<u64, CheckpointError> {
    let place = BlockPlace { partition: meta.partition, index: meta.log_id.index, number: 0 };
    let mut out = FileWriter { file, path, place, offset: 0, synced: 0 };
    let mut header = Vec::new();
    let mut writer = Writer::new(&mut header);
    writer.raw(MAGIC);
    writer.u32(FORMAT_VERSION);
    writer.u16(meta.partition.0);
    writer.u64(meta.log_id.term.0);
    writer.u64(meta.log_id.index.0);
    writer.bytes(&meta.membership);
    out.block(BlockKind::Header, &header)?;

    let mut block = Vec::with_capacity(BLOCK_BYTES);
    let mut image_bytes = 0u64;
    let mut result = Ok(());
    image(&mut |mut piece| {
        image_bytes += piece.len() as u64;
        while !piece.is_empty() && result.is_ok() {
            let taken = piece.len().min(BLOCK_BYTES - block.len());
            block.extend_from_slice(&piece[..taken]);
            piece = &piece[taken..];
            if block.len() == BLOCK_BYTES {
                result = out.block(BlockKind::Data, &block).and_then(|()| out.sync_if_far());
                block.clear();
            }
        }
    });
    result?;
    if !block.is_empty() {
        out.block(BlockKind::Data, &block)?;
    }
    let mut trailer = Vec::new();
    let mut writer = Writer::new(&mut trailer);
    writer.u64(image_bytes);
    writer.u64(out.place.number - 1);
    out.block(BlockKind::Trailer, &trailer)?;
    file.sync_data().map_err(io_error(path, out.offset, "sync"))?;
    Ok(out.offset)
}

fn read_file(
    fs: &dyn Fs,
    path: &Path,
    partition: PartitionId,
    index: LogIndex,
) -> Result<Checkpoint, CheckpointError> {
    let damaged = |offset: u64, reason: &str| CheckpointError::Damaged {
        file: path.to_owned(),
        offset,
        reason: reason.into(),
    };
    let file = fs.open(path, OpenMode::Read).map_err(io_error(path, 0, "open"))?;
    let len = file.len().map_err(io_error(path, 0, "get the length"))?;
    let mut place = BlockPlace { partition, index, number: 0 };
    let mut offset = 0u64;
    let mut meta = None;
    let mut image = Vec::new();
    loop {
        let mut head = [0; BLOCK_HEAD_BYTES];
        let read = file.read_at(&mut head, offset).map_err(io_error(path, offset, "read"))?;
        if read < head.len() {
            return Err(damaged(offset, "the file ends where a block should start"));
        }
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (payload_bytes, kind, crc) = (word(0) as usize, word(4), word(8));
        // The length is not verified yet, so the limit and the file's size bound it before it sizes anything
        // (S15).
        if payload_bytes > PAYLOAD_BYTES_MAX
            || payload_bytes as u64 > len.saturating_sub(offset + head.len() as u64)
        {
            return Err(damaged(offset, "a block reaches beyond the end of the file"));
        }
        let mut payload = vec![0; payload_bytes];
        let start = offset + head.len() as u64;
        let read = file.read_at(&mut payload, start).map_err(io_error(path, start, "read"))?;
        if read < payload.len() {
            return Err(damaged(start, "the file ends within a block"));
        }
        if block_crc(place, kind, &payload) != crc {
            return Err(damaged(offset, "a block does not match its checksum"));
        }
        let malformed = |error: Malformed| CheckpointError::Damaged {
            file: path.to_owned(),
            offset: start + error.offset as u64,
            reason: error.what.into(),
        };
        let is_first = place.number == 0;
        match kind {
            kind if kind == BlockKind::Header as u32 && is_first => {
                meta = Some(decode_header(&payload, partition, index).map_err(malformed)?);
            }
            kind if kind == BlockKind::Data as u32 && !is_first => image.extend_from_slice(&payload),
            kind if kind == BlockKind::Trailer as u32 && !is_first => {
                let mut reader = Reader::new(&payload);
                let image_bytes = reader.u64().map_err(malformed)?;
                let blocks = reader.u64().map_err(malformed)?;
                reader.finish().map_err(malformed)?;
                if image_bytes != image.len() as u64 || blocks != place.number - 1 {
                    return Err(damaged(offset, "the trailer counts other blocks than there are"));
                }
                if start + payload_bytes as u64 != len {
                    return Err(damaged(start + payload_bytes as u64, "bytes after the trailer"));
                }
                let meta = meta.expect("the first block was a header");
                return Ok(Checkpoint { meta, image });
            }
            _ => return Err(damaged(offset, "a block of a kind that does not belong here")),
        }
        offset = start + payload_bytes as u64;
        place.number += 1;
    }
}

fn decode_header(
    payload: &[u8],
    partition: PartitionId,
    index: LogIndex,
) -> Result<CheckpointMeta, Malformed> {
    let mut reader = Reader::new(payload);
    if reader.raw(MAGIC.len())? != MAGIC {
        return Err(reader.malformed("not a checkpoint (wrong magic)"));
    }
    if reader.u32()? != FORMAT_VERSION {
        return Err(reader.malformed("a checkpoint format that this version does not read"));
    }
    let meta = CheckpointMeta {
        partition: PartitionId(reader.u16()?),
        log_id: LogId { term: Term(reader.u64()?), index: LogIndex(reader.u64()?) },
        membership: reader.bytes()?.to_vec(),
    };
    if (meta.partition, meta.log_id.index) != (partition, index) {
        return Err(reader.malformed("a checkpoint of another partition or index than the name says"));
    }
    reader.finish()?;
    Ok(meta)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::sim_fs::{Faults, SimFs};

    fn store(fs: &SimFs) -> CheckpointStore {
        CheckpointStore::new(Arc::new(fs.clone()), Path::new("/c"))
    }

    fn new_disk(seed: u64) -> SimFs {
        let fs = SimFs::new(seed);
        fs.create_dir_all(Path::new("/c")).unwrap();
        fs
    }

    fn meta(partition: u16, index: u64) -> CheckpointMeta {
        CheckpointMeta {
            partition: PartitionId(partition),
            log_id: LogId { term: Term(3), index: LogIndex(index) },
            membership: b"members".to_vec(),
        }
    }

    fn image(index: u64, len: usize) -> Vec<u8> {
        (0..len).map(|at| (at as u64 * 31 + index) as u8).collect()
    }

    fn write(fs: &SimFs, partition: u16, index: u64, len: usize) -> Result<u64, CheckpointError> {
        let image = image(index, len);
        store(fs).write(&meta(partition, index), &|out| image.chunks(1000).for_each(&mut *out))
    }

    #[test]
    fn a_checkpoint_is_read_back_and_replaces_the_older_one() {
        let fs = new_disk(1);
        assert_eq!(store(&fs).load(PartitionId(0)).unwrap(), None);
        for len in [0, 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES - 5] {
            let index = len as u64 + 1;
            write(&fs, 0, index, len).unwrap();
            let read = store(&fs).load(PartitionId(0)).unwrap().unwrap();
            assert_eq!(read, Checkpoint { meta: meta(0, index), image: image(index, len) });
            assert_eq!(fs.files().len(), 1);
        }
        write(&fs, 1, 1, 10).unwrap();
        assert_eq!(fs.files().len(), 2, "partitions do not remove each other's");
    }

    #[test]
    fn a_crash_at_every_operation_leaves_the_old_one_or_the_new_one() {
        for seed in 0..40 {
            for crash_at in 1..20 {
                let fs = new_disk(seed);
                write(&fs, 0, 1, 3000).unwrap();
                fs.set_faults(Faults {
                    crash_at_operation: Some(fs.operations() + crash_at),
                    ..Faults::default()
                });
                let written = write(&fs, 0, 2, 5000);
                fs.crash();
                let read = store(&fs).load(PartitionId(0)).unwrap().unwrap();
                let index = read.meta.log_id.index.0;
                assert!(index == 2 || (index == 1 && written.is_err()), "crash at {crash_at}");
                assert_eq!(read.image, image(index, if index == 1 { 3000 } else { 5000 }));
            }
        }
    }

    /// The next process finds a name that a power cut may still take; the journal is purged behind what it
    /// reads there.
    #[test]
    fn what_is_found_after_a_kill_is_there_after_a_power_cut() {
        for seed in 0..40 {
            for kill_at in 1..20 {
                let fs = new_disk(seed);
                write(&fs, 0, 1, 3000).unwrap();
                fs.set_faults(Faults {
                    crash_at_operation: Some(fs.operations() + kill_at),
                    ..Faults::default()
                });
                let _ = write(&fs, 0, 2, 5000);
                fs.kill();
                let next = store(&fs);
                next.remove_leftovers().unwrap();
                let found = next.load(PartitionId(0)).unwrap().unwrap();
                fs.crash();
                assert_eq!(store(&fs).load(PartitionId(0)).unwrap(), Some(found), "killed at {kill_at}");
            }
        }
    }

    #[test]
    fn what_cannot_be_removed_stays_with_a_warning() {
        let fs = new_disk(1);
        write(&fs, 0, 1, 10).unwrap();
        fs.fail_removals(true);
        write(&fs, 0, 2, 10).unwrap();
        assert_eq!(fs.files().len(), 2);
        assert_eq!(store(&fs).load(PartitionId(0)).unwrap().unwrap().meta, meta(0, 2));
        store(&fs).remove_leftovers().unwrap();
        fs.fail_removals(false);
        write(&fs, 0, 3, 10).unwrap();
        assert_eq!(fs.files().len(), 1, "the next one removes both");
    }

    #[test]
    fn every_flipped_bit_and_every_length_is_refused() {
        let fs = new_disk(1);
        write(&fs, 0, 9, 700).unwrap();
        let path = fs.files().remove(0);
        let bytes = fs.contents(&path).unwrap();
        for bit in 0..bytes.len() * 8 {
            fs.damage(&path, |file| {
                *file = bytes.clone();
                file[bit / 8] ^= 1 << (bit % 8);
            });
            let error = store(&fs).load(PartitionId(0)).unwrap_err();
            assert!(matches!(error, CheckpointError::Damaged { .. }), "bit {bit}: {error}");
        }
        for len in 0..bytes.len() {
            fs.damage(&path, |file| *file = bytes[..len].to_vec());
            assert!(store(&fs).load(PartitionId(0)).is_err(), "{len} bytes");
        }
        fs.damage(&path, |file| *file = [&bytes[..], b"x"].concat());
        assert!(store(&fs).load(PartitionId(0)).is_err());
    }

    /// A periodic checkpoint and an install, one within the other, in both orders.
    #[test]
    fn checkpoints_that_are_written_together_do_not_destroy_each_other() {
        for (outer, inner) in [(5, 9), (9, 5), (5, 5)] {
            let fs = new_disk(1);
            let store = store(&fs);
            write(&fs, 0, 1, 10).unwrap();
            let bytes = image(outer, 3000);
            let written = store.write(&meta(0, outer), &|out| {
                let bytes = image(inner, 5000);
                store.write(&meta(0, inner), &|out| out(&bytes)).unwrap();
                out(&image(outer, 3000));
            });
            written.unwrap();
            let read = store.load(PartitionId(0)).unwrap().unwrap();
            assert_eq!(read.meta, meta(0, outer.max(inner)));
            assert_eq!(read.image, if outer >= inner { bytes } else { image(inner, 5000) });
            assert_eq!(fs.files().len(), 1, "{:?}", fs.files());
        }
    }

    #[test]
    fn leftovers_go_at_the_start_and_no_earlier() {
        let fs = new_disk(1);
        write(&fs, 0, 1, 10).unwrap();
        let name = format_name(PartitionId(0), LogIndex(7));
        for leftover in [format!("{name}.tmp"), format!("{name}.3.tmp")] {
            fs.open(&Path::new("/c").join(leftover), OpenMode::CreateNew).unwrap();
        }
        write(&fs, 0, 2, 10).unwrap();
        store(&fs).load(PartitionId(0)).unwrap();
        assert_eq!(fs.files().len(), 3);
        store(&fs).remove_leftovers().unwrap();
        assert_eq!(fs.files().len(), 1);
    }

    #[test]
    fn a_damaged_newest_checkpoint_does_not_fall_back_to_an_older_one() {
        let fs = new_disk(1);
        write(&fs, 0, 1, 10).unwrap();
        let old = fs.contents(&fs.files()[0]).unwrap();
        write(&fs, 0, 2, 10).unwrap();
        let path = fs.files().remove(0);
        fs.damage(&path, |bytes| *bytes = old);
        assert!(store(&fs).load(PartitionId(0)).is_err());
    }
}
