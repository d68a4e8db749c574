//! A simulated disk: every file has a live image (what the process reads) and a durable one (what a power cut
//! leaves).
//!
//! * Written bytes become durable with the file's sync, names with the directory's sync.
//! * [`SimFs::crash`] cuts the power and makes any legal state: of each unsynced write any subset of its
//!   512-byte sectors, of the unsynced directory changes any subset. Which, follows from the seed.
//! * [`SimFs::kill`] ends the process: what it wrote is still there for the next one, and still not durable.
//! * Faults: the nth sync fails and drops its writes while their pages look clean (docs/reliability.md S2);
//!   the nth write finds the disk full (docs/reliability.md S12); from the nth operation on everything fails,
//!   as for a process that has died. [`SimFs::script_sync`] has more about syncs, [`SimFs::set_capacity`] is
//!   a disk of a certain size.
//! * Every operation that changes something is counted and logged, so that a test can crash at each of them.
//!
//! Directories themselves are durable at once, unless the disk is made [`SimFs::with_directory_durability`].
//!
//! A move between directories that were not synced may leave both names, never none: every journaling file
//! system has at least that. A sync of a file does not make its name durable, though it does on some.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::env::fs::{BLOCK_BYTES, File, Fs, Lock, LockError, OpenMode, Space};
use crate::env::manual_clock::ManualClock;
use crate::env::sim_disk::{self, Disk};

/// A new directory is durable only after a sync of its parent; before that, a power cut loses its content.
#[derive(Debug, Clone)]
pub struct SimFs {
    disk: Arc<Mutex<Disk>>,
    /// The clock that syncs advance.
    incarnation: Option<u64>,
}

/// Counted from 1 over all operations of that kind since the disk was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// This operation and all after it fail.
    pub crash_at_operation: Option<u64>,
    /// The same, at an operation of a kind.
    pub crash_at: Option<Death>,
    /// This sync of a file fails with EIO.
    pub fail_sync: Option<u64>,
    /// This sync of a directory fails with EIO; its changes are not durable, but may be yet.
    pub fail_directory_sync: Option<u64>,
    /// This write and all after it find no space; a part of it may have been written.
    pub full_at_write: Option<u64>,
    /// This read fails with EIO.
    pub fail_read: Option<u64>,
}

/// The kinds of operations that change what a power cut leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Rename,
    Remove,
    Sync,
    SyncDirectory,
}

/// A process dies at the nth operation of a kind, counted from 1 since the disk was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Death {
    pub operation: Operation,
    pub nth: u64,
    /// It dies right behind it, and not before it.
    pub is_done: bool,
}

/// The script of one sync of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SyncScript {
    /// Simulated time, whether it fails or not.
    pub takes: Duration,
    pub fails: bool,
}

impl SimFs {
    pub fn new(seed: u64) -> SimFs {
        SimFs { disk: Arc::new(Mutex::new(Disk::new(seed))), incarnation: None }
    }

    /// A new directory is durable only when the one above it is synced; with it, a power cut loses what is in
    /// it.
    pub fn with_directory_durability(self) -> SimFs {
        self.disk().has_directory_durability = true;
        self
    }

    /// A sector that is not synced may arrive with the beginning of a write to it: the system copies the page
    /// to the disk while a process changes it. A process may also die within a sector.
    pub fn with_torn_sectors(self) -> SimFs {
        self.disk().tears_sectors = true;
        self
    }

    /// Whose time syncs take.
    pub fn with_clock(self, clock: ManualClock) -> SimFs {
        self.disk().clock = Some(clock);
        self
    }

    /// A handle for the process that uses the disk now. After [`SimFs::kill`] or [`SimFs::crash`] it has no
    /// effect, so that neither destructors nor a thread of a dead process reach the disk.
    pub fn process(&self) -> SimFs {
        let incarnation = self.disk().incarnation;
        SimFs { disk: Arc::clone(&self.disk), incarnation: Some(incarnation) }
    }

    /// The disk, for an operation of a process.
    fn own_disk(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let disk = self.disk();
        if self.incarnation.is_some_and(|incarnation| incarnation != disk.incarnation) {
            return Err(io::Error::other("the simulated process is gone"));
        }
        Ok(disk)
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().expect("no operation panics while it holds the disk")
    }

    pub fn set_faults(&self, faults: Faults) {
        self.disk().set_faults(faults);
    }

    /// Scripts the nth sync of a file, counted from 1 since the disk was made. A disk whose syncs take time
    /// needs a clock.
    pub fn script_sync(&self, nth: u64, script: SyncScript) {
        let mut disk = self.disk();
        assert!(script.takes.is_zero() || disk.clock.is_some(), "time passes on a clock only");
        disk.sync_script.insert(nth, script);
    }

    /// The simulated duration of every sync without a script.
    pub fn set_sync_time(&self, takes: Duration) {
        let mut disk = self.disk();
        assert!(takes.is_zero() || disk.clock.is_some(), "time passes on a clock only");
        disk.sync_time = takes;
    }

    /// Maximum bytes of all files together. A write beyond it writes only what fits.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.disk().capacity_bytes = bytes;
    }

    /// From now on no file can be removed (EIO).
    pub fn fail_removals(&self, fails: bool) {
        self.disk().fails_removals = fails;
    }

    /// Operations that changed the disk, since it was made.
    pub fn operations(&self) -> u64 {
        self.disk().operations
    }

    /// Operations of a kind, since the disk was made.
    pub fn operations_of(&self, operation: Operation) -> u64 {
        self.disk().tallies.get(&operation).map_or(0, |tally| tally.done)
    }

    /// How many processes died at an operation of this kind ([`Faults::crash_at`]).
    pub fn deaths_at(&self, operation: Operation) -> u64 {
        self.disk().tallies.get(&operation).map_or(0, |tally| tally.deaths)
    }

    /// Whether the process has come to the operation at which it dies.
    pub fn has_died(&self) -> bool {
        self.disk().is_dead()
    }

    /// Bytes of all files.
    pub fn used_bytes(&self) -> u64 {
        self.disk().used_bytes()
    }

    pub fn syncs(&self) -> u64 {
        self.disk().syncs
    }

    pub fn directory_syncs(&self) -> u64 {
        self.disk().directory_syncs
    }

    pub fn writes(&self) -> u64 {
        self.disk().writes
    }

    /// The operations, oldest first.
    pub fn log(&self) -> Vec<String> {
        self.disk().log.clone()
    }

    /// The power fails and returns: the seed decides which changes that were not durable survive; open
    /// handles and locks are invalid; faults and scripts are cleared.
    pub fn crash(&self) {
        self.disk().cut_power();
    }

    /// The process dies and the system continues: open handles and locks are invalid; bytes and names stay as
    /// the process left them, durable only where they were before. A write at which the process died is done
    /// in part. Of the faults, `crash_at_operation` is cleared.
    pub fn kill(&self) {
        self.disk().kill_process();
    }

    /// An independent disk with the live files of this one, all of them durable: a starting point for many
    /// trials.
    pub fn fork(&self, seed: u64) -> SimFs {
        let fork = self.disk().fork(seed);
        SimFs { disk: Arc::new(Mutex::new(fork)), incarnation: None }
    }

    /// Damages a file as a failing disk would, in both images.
    pub fn damage(&self, path: &Path, damage: impl FnOnce(&mut Vec<u8>)) {
        let mut disk = self.disk();
        let inode = disk.find(path).expect("damage is done to a file that exists");
        disk.damage(inode, damage);
    }

    /// The live bytes of a file.
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let disk = self.disk();
        let inode = disk.find(path).ok()?;
        Some(disk.bytes(inode).to_vec())
    }

    /// All files, sorted.
    pub fn files(&self) -> Vec<PathBuf> {
        self.disk().files()
    }
}

impl Fs for SimFs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut disk = self.own_disk()?;
        let inode = match mode {
            OpenMode::Read | OpenMode::Write | OpenMode::Direct => {
                disk.check_alive()?;
                disk.find(path)?
            }
            OpenMode::CreateNew => {
                disk.operate(|| format!("create {}", path.display()))?;
                disk.create(path)?
            }
        };
        let incarnation = disk.incarnation;
        let is_direct = mode == OpenMode::Direct;
        Ok(Arc::new(SimFile { fs: self.clone(), inode, incarnation, is_direct, path: path.to_owned() }))
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<String>> {
        let disk = self.own_disk()?;
        disk.check_alive()?;
        disk.names_in(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.own_disk()?;
        disk.operate(|| format!("create directory {}", path.display()))?;
        disk.create_directories(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.own_disk()?;
        disk.operate(|| format!("rename {} to {}", from.display(), to.display()))?;
        disk.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.own_disk()?;
        disk.operate(|| format!("link {} to {}", from.display(), to.display()))?;
        disk.link(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.own_disk()?;
        disk.operate(|| format!("remove {}", path.display()))?;
        if disk.fails_removals {
            return Err(sim_disk::failed());
        }
        disk.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.own_disk()?;
        disk.directory_syncs += 1;
        disk.operate(|| format!("sync directory {}", path.display()))?;
        if disk.faults.fail_directory_sync == Some(disk.directory_syncs) {
            return Err(sim_disk::failed());
        }
        disk.sync_directory(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let disk = self.own_disk()?;
        disk.check_alive()?;
        Ok(disk.exists(path))
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Lock>, LockError> {
        let mut disk = self.own_disk()?;
        disk.operate(|| format!("lock {}", path.display()))?;
        if disk.locks.contains(path) {
            return Err(LockError::Held { pid: Some(1) });
        }
        if !disk.exists(path) {
            disk.create(path)?;
        }
        disk.locks.insert(path.to_owned());
        let incarnation = disk.incarnation;
        Ok(Box::new(SimLock { fs: self.clone(), path: path.to_owned(), incarnation }))
    }

    fn copy_permissions(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        // The simulated disk has no permissions.
        Ok(())
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        let disk = self.own_disk()?;
        disk.check_alive()?;
        Ok(disk.space())
    }
}

#[derive(Debug)]
struct SimFile {
    fs: SimFs,
    inode: u64,
    incarnation: u64,
    /// Of [`OpenMode::Direct`].
    is_direct: bool,
    path: PathBuf,
}

impl SimFile {
    /// Takes the time of a sync. Returns whether it fails.
    fn spend_sync(&self, mut disk: MutexGuard<'_, Disk>, make_durable: impl FnOnce(&mut Disk, bool)) -> bool {
        disk.syncs += 1;
        let (nth, takes) = (disk.syncs, disk.sync_time);
        let script = disk.sync_script.remove(&nth).unwrap_or(SyncScript { takes, fails: false });
        let fails = script.fails || disk.faults.fail_sync == Some(nth);
        make_durable(&mut disk, fails);
        let clock = disk.clock.clone();
        drop(disk);
        if let Some(clock) = clock.filter(|_| !script.takes.is_zero()) {
            clock.spend(script.takes);
        }
        fails
    }

    fn disk(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let disk = self.fs.disk();
        if disk.incarnation != self.incarnation {
            return Err(io::Error::other("a file handle of a process that is gone"));
        }
        Ok(disk)
    }
}

impl File for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut disk = self.disk()?;
        disk.reads += 1;
        if disk.is_dead() || disk.faults.fail_read == Some(disk.reads) {
            return Err(sim_disk::failed());
        }
        let live = disk.bytes(self.inode);
        let start = usize::try_from(offset).map_or(live.len(), |offset| offset.min(live.len()));
        let len = buffer.len().min(live.len() - start);
        buffer[..len].copy_from_slice(&live[start..start + len]);
        Ok(len)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut disk = self.disk()?;
        if self.is_direct {
            let memory = bytes.as_ptr().align_offset(BLOCK_BYTES);
            let is_aligned = memory == 0
                && offset.is_multiple_of(BLOCK_BYTES as u64)
                && bytes.len().is_multiple_of(BLOCK_BYTES);
            assert!(is_aligned, "a direct write of {} bytes at {offset}, memory {memory}", bytes.len());
        }
        disk.writes += 1;
        let was_dead = disk.is_dead();
        let result =
            disk.operate(|| format!("write {} at {offset}, {} bytes", self.path.display(), bytes.len()));
        if was_dead {
            return result;
        }
        if result.is_err() {
            // The write at which the process dies may be in progress already.
            disk.write(self.inode, bytes, offset, true);
            return result;
        }
        // Blocks that a direct write finds in the file need no space.
        let has_blocks = self.is_direct && offset + bytes.len() as u64 <= disk.bytes(self.inode).len() as u64;
        let is_full = !has_blocks && disk.is_full();
        let room = disk.room_for(self.inode, bytes.len(), offset);
        let written = if is_full {
            let part = disk.entropy.below(bytes.len() as u64 + 1);
            room.min(sim_disk::whole_sectors(offset, part))
        } else {
            room
        };
        disk.write(self.inode, &bytes[..written], offset, false);
        if is_full || written < bytes.len() {
            return Err(sim_disk::full());
        }
        if self.is_direct {
            let fails = self.spend_sync(disk, |disk, fails| disk.end_direct(self.inode, fails));
            return if fails { Err(sim_disk::failed()) } else { Ok(()) };
        }
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let zeros = vec![0; usize::try_from(len).expect("a simulated file fits in memory")];
        self.write_at(&zeros, 0)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.disk()?;
        disk.operate(|| format!("sync {}", self.path.display())).inspect_err(|_| disk.syncs += 1)?;
        let fails = self.spend_sync(disk, |disk, fails| disk.sync(self.inode, fails));
        if fails { Err(sim_disk::failed()) } else { Ok(()) }
    }

    fn len(&self) -> io::Result<u64> {
        let disk = self.disk()?;
        disk.check_alive()?;
        Ok(disk.bytes(self.inode).len() as u64)
    }
}

#[derive(Debug)]
struct SimLock {
    fs: SimFs,
    path: PathBuf,
    incarnation: u64,
}

impl Lock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut disk = self.fs.disk();
        if disk.incarnation == self.incarnation {
            disk.locks.remove(&self.path);
        }
    }
}

/// The seed, so that a failing test can name it.
impl std::fmt::Display for SimFs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "simulated disk of seed {}", self.disk().seed)
    }
}

#[cfg(test)]
#[path = "sim_fs_tests.rs"]
mod tests;
