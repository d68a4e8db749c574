//! Files, as far as the journal and the checkpoints need them: positioned reads and writes, syncs, directory
//! syncs, an exclusive lock. [`RealFs`] is the operating system, [`crate::env::sim_fs::SimFs`] the simulated
//! disk of the tests.

use std::fmt::Debug;
use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;

/// The size that a disk writes atomically under all circumstances: the unit of torn writes.
pub const SECTOR_BYTES: u64 = 512;

/// How [`Fs::open`] opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file, for reading.
    Read,
    /// An existing file, for reading and writing.
    Write,
    /// A new file, for reading and writing; an existing one is an error.
    CreateNew,
    /// An existing file, for writes that are durable when they return (`O_DIRECT` and `O_DSYNC`), as after
    /// [`File::sync_data`]. Memory, offset and length of each are multiples of [`BLOCK_BYTES`]. What was written
    /// there before through another handle must be synced. An error where the file system has no such writes.
    Direct,
}

/// The unit of writes with [`OpenMode::Direct`]: at least the block of every usual disk.
pub const BLOCK_BYTES: usize = 4096;

pub trait Fs: Send + Sync + Debug {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;

    /// The names in a directory, sorted; names that are not UTF-8 are given with replacement characters.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<String>>;

    /// Creates the directory and its missing parents. An existing one is fine.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Replaces `to` if it exists. Durable only after [`Fs::sync_dir`] of the directory (docs/reliability.md
    /// S3). Between two directories, sync the one of `to` first: then a power cut may leave both names, never
    /// none.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file a second name, which must not exist. Durable only after [`Fs::sync_dir`] of its
    /// directory.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Makes creations, renames and removals in this directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Takes the exclusive lock of a lock file, which is created if missing. Held until dropped.
    fn lock(&self, path: &Path) -> Result<Box<dyn Lock>, LockError>;

    /// Gives `to` the permissions of `from`.
    fn copy_permissions(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// The space of the file system that holds an existing file or directory.
    fn space(&self, path: &Path) -> io::Result<Space>;
}

/// The size of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that this process may still write.
    pub free_bytes: u64,
    pub total_bytes: u64,
}

/// Whether an error says that there is no space: the disk is full, or the quota of the user is.
pub fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// An open file. Shared, because a sync may run on another thread while the owner continues to write.
pub trait File: Send + Sync + Debug {
    /// Reads up to `buffer.len()` bytes; fewer only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all bytes, or fails having written any part of them.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes the written bytes durable, and the length as far as reading them needs it (fdatasync). After an
    /// error the state of every write since the last good sync is unknown, and no later sync reports it
    /// (docs/reliability.md S2).
    fn sync_data(&self) -> io::Result<()>;

    /// Gives an empty file `len` bytes of disk space, so that the space is taken; the bytes are zeros. Not
    /// durable.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Bytes up to the end of the file.
    fn len(&self) -> io::Result<u64>;

    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// A held lock; dropping it releases it.
pub trait Lock: Send + Sync + Debug {}

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it; its process id as written into the lock file.
    #[error("held by another process")]
    Held { pid: Option<u32> },
    #[error(transparent)]
    Io(#[from] io::Error),
}

const DIRECT_AND_DURABLE: OFlags = OFlags::DIRECT.union(OFlags::DSYNC);

/// The files of the operating system.
#[derive(Debug, Default, Clone, Copy)]
pub struct RealFs;

impl Fs for RealFs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => {}
            OpenMode::Write => {
                options.write(true);
            }
            OpenMode::CreateNew => {
                options.write(true).create_new(true);
            }
            OpenMode::Direct => {
                options.write(true).custom_flags(DIRECT_AND_DURABLE.bits().cast_signed());
            }
        }
        Ok(Arc::new(RealFile { file: options.open(path)? }))
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Lock>, LockError> {
        use rustix::fs::{FlockOperation, flock};
        let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let pid = fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok());
                return Err(LockError::Held { pid });
            }
            Err(error) => return Err(LockError::Io(error.into())),
        }
        // The number is informative only: the lock itself counts, and it ends with the process. A full disk
        // has no place for it.
        file.set_len(0)?;
        match file.write_all_at(format!("{}\n", std::process::id()).as_bytes(), 0) {
            Err(error) if !is_no_space(&error) => return Err(error.into()),
            _ => {}
        }
        Ok(Box::new(RealLock { _file: file }))
    }

    fn copy_permissions(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::set_permissions(to, fs::metadata(from)?.permissions())
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let found = rustix::fs::statvfs(path)?;
        Ok(Space {
            free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
            total_bytes: found.f_blocks.saturating_mul(found.f_frsize),
        })
    }
}

#[derive(Debug)]
struct RealFile {
    file: fs::File,
}

impl File for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < buffer.len() {
            match self.file.read_at(&mut buffer[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        use rustix::fs::{FallocateFlags, fallocate};
        const PIECE: usize = 1 << 20;
        match fallocate(&self.file, FallocateFlags::empty(), 0, len) {
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
            result => return Ok(result?),
        }
        let zeros = vec![0; PIECE];
        let mut at = 0;
        while at < len {
            let piece = zeros.len().min(usize::try_from(len - at).unwrap_or(PIECE));
            self.file.write_all_at(&zeros[..piece], at)?;
            at += piece as u64;
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

#[derive(Debug)]
struct RealLock {
    _file: fs::File,
}

impl Lock for RealLock {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_back_where_they_were_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let file = RealFs.open(&path, OpenMode::CreateNew).unwrap();
        file.write_at(b"world", 6).unwrap();
        file.write_at(b"hello ", 0).unwrap();
        file.sync_data().unwrap();
        RealFs.sync_dir(dir.path()).unwrap();
        let mut buffer = [0; 32];
        let read = RealFs.open(&path, OpenMode::Read).unwrap().read_at(&mut buffer, 0).unwrap();
        assert_eq!(&buffer[..read], b"hello world");
        assert!(RealFs.open(&path, OpenMode::CreateNew).is_err());
        assert_eq!(RealFs.read_dir(dir.path()).unwrap(), ["a"]);
    }

    #[test]
    fn space_that_a_file_was_given_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let before = RealFs.space(dir.path()).unwrap();
        assert!(0 < before.free_bytes && before.free_bytes < before.total_bytes, "{before:?}");
        let path = dir.path().join("a");
        let file = RealFs.open(&path, OpenMode::CreateNew).unwrap();
        file.allocate(1 << 20).unwrap();
        assert_eq!(file.len().unwrap(), 1 << 20);
        let blocks = std::os::unix::fs::MetadataExt::blocks(&fs::metadata(&path).unwrap());
        assert!(blocks * 512 >= 1 << 20, "{blocks} blocks");
    }

    #[test]
    fn a_link_is_a_second_name_of_the_same_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        let file = RealFs.open(&one, OpenMode::CreateNew).unwrap();
        RealFs.link(&one, &two).unwrap();
        assert_eq!(RealFs.link(&one, &two).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        file.write_at(b"x", 0).unwrap();
        RealFs.rename(&one, &two).unwrap();
        assert_eq!(
            RealFs.read_dir(dir.path()).unwrap(),
            ["one", "two"],
            "renaming a file to itself does nothing"
        );
        RealFs.remove_file(&one).unwrap();
        assert_eq!(RealFs.open(&two, OpenMode::Read).unwrap().len().unwrap(), 1);
    }

    #[test]
    fn a_lock_is_held_once_and_names_its_holder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let lock = RealFs.lock(&path).unwrap();
        match RealFs.lock(&path) {
            Err(LockError::Held { pid }) => assert_eq!(pid, Some(std::process::id())),
            other => panic!("locked twice: {other:?}"),
        }
        drop(lock);
        RealFs.lock(&path).unwrap();
    }
}
