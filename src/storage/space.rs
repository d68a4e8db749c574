//! The space left on the disk of the data directory, and the reserve that is kept of it.
//!
//! ```text
//! |<------------------------- disk ------------------------->|
//! | data, journal, others | free                  | reserve  |
//! |                       |         |<-- disk-reserve ------>|   free reaches into this: low
//! ```
//!
//! A quarter of `disk-reserve` is held as a file. When the journal finds no space, it removes this file and
//! writes on: so trims, acknowledgements and votes have room even if another program has filled the disk. The
//! file is made again when there is space.
//!
//! * **Low**: less than `disk-reserve` is left. Requests that add data are refused.
//! * **Waiting**: there is no space at all, the reserve included. The journal waits and every write is refused;
//!   what was accepted before is committed as soon as there is space.
//!
//! Both end by themselves.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::env::fs::{Fs, OpenMode, Space};

/// Shared by the threads of a node. All figures are bytes.
#[derive(Debug)]
pub struct DiskSpace {
    /// `None`: never low.
    disk: Option<Disk>,
    free: AtomicU64,
    total: AtomicU64,
    /// Of the reserve file; 0 without one.
    held: AtomicU64,
    /// `disk-reserve` in force.
    reserve: AtomicU64,
    is_low: AtomicBool,
    is_waiting: AtomicBool,
    is_making: AtomicBool,
    refused: AtomicU64,
}

#[derive(Debug)]
struct Disk {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
}

/// A journal file takes at most this share of the disk: what it holds is given back as a whole.
const FILE_SHARE: u64 = 32;

/// The reserve that nobody has set takes at most this share of the disk.
const RESERVE_SHARE: u64 = 16;

/// The reserve file takes this share of the reserve.
const HELD_SHARE: u64 = 4;

/// The smallest journal file that a small disk gets.
const FILE_BYTES_MIN: u64 = 1 << 20;

/// Zeros by which a journal file grows while space is low.
const LOW_STEP_BYTES: u64 = 64 << 10;

/// Its name in the data directory.
pub const RESERVE_FILE: &str = "reserve";

impl DiskSpace {
    /// The disk of an existing data directory, with the reserve file that an earlier process has left.
    pub fn open(fs: Arc<dyn Fs>, dir: &Path, reserve: Option<u64>, journal_file_bytes: u64) -> DiskSpace {
        let file = fs.open(&dir.join(RESERVE_FILE), OpenMode::Read);
        let held = file.and_then(|file| file.len()).unwrap_or(0);
        let disk = DiskSpace {
            disk: Some(Disk { fs, dir: dir.to_owned() }),
            held: AtomicU64::new(held),
            ..DiskSpace::unlimited()
        };
        disk.look(reserve, journal_file_bytes);
        disk
    }

    /// A disk that is never low, without a reserve.
    pub fn unlimited() -> DiskSpace {
        DiskSpace {
            disk: None,
            free: AtomicU64::new(u64::MAX),
            total: AtomicU64::new(u64::MAX),
            held: AtomicU64::new(0),
            reserve: AtomicU64::new(0),
            is_low: AtomicBool::new(false),
            is_waiting: AtomicBool::new(false),
            is_making: AtomicBool::new(false),
            refused: AtomicU64::new(0),
        }
    }

    pub fn free_bytes(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }

    pub fn total_bytes(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    pub fn reserve_bytes(&self) -> u64 {
        self.reserve.load(Ordering::Relaxed)
    }

    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Asked before every request.
    #[inline]
    pub fn is_low(&self) -> bool {
        self.is_low.load(Ordering::Relaxed)
    }

    /// Asked before every request.
    #[inline]
    pub fn is_waiting(&self) -> bool {
        self.is_waiting.load(Ordering::Relaxed)
    }

    pub fn note_refusal(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Most bytes of a journal file on this disk.
    pub fn journal_file_bytes_max(&self) -> u64 {
        (self.total_bytes() / FILE_SHARE).max(FILE_BYTES_MIN)
    }

    /// Looks at the disk, with these settings; `None` is a reserve of two journal files, and less on a small
    /// disk.
    pub fn look(&self, reserve: Option<u64>, journal_file_bytes: u64) {
        self.ask();
        let by_default = (2 * journal_file_bytes).min(self.total_bytes() / RESERVE_SHARE);
        self.reserve.store(reserve.unwrap_or(by_default), Ordering::Relaxed);
        // The setting has become much smaller: the file of its size is made later, if there is to be one.
        let held = self.held.load(Ordering::Relaxed);
        if held > self.reserve_bytes() {
            self.remove_reserve();
        }
        self.judge();
    }

    /// Looks at the disk again. Returns the free bytes.
    pub fn look_again(&self) -> u64 {
        self.ask();
        self.judge();
        self.free_bytes()
    }

    fn ask(&self) {
        let Some(Disk { fs, dir }) = &self.disk else { return };
        match fs.space(dir) {
            Ok(Space { free_bytes, total_bytes }) => {
                self.free.store(free_bytes, Ordering::Relaxed);
                self.total.store(total_bytes, Ordering::Relaxed);
            }
            // The writes themselves will tell.
            Err(error) => tracing::debug!(dir = %dir.display(), %error, "cannot ask for the free space"),
        }
    }

    fn judge(&self) {
        let (free, held, reserve) =
            (self.free_bytes(), self.held.load(Ordering::Relaxed), self.reserve_bytes());
        let left = free.saturating_add(held);
        let was_low = self.is_low();
        // It ends a little above where it begins, or it would come and go with every file.
        let is_low = left < if was_low { reserve.saturating_add(reserve / HELD_SHARE) } else { reserve };
        if is_low == was_low {
            return;
        }
        self.is_low.store(is_low, Ordering::Relaxed);
        if is_low {
            tracing::warn!(
                free,
                reserve,
                "the disk of the data directory is nearly full: commands that add data are refused until there is space"
            );
        } else {
            tracing::info!(free, reserve, "the disk has space again: commands that add data are accepted");
        }
    }

    /// The journal waits for space, or does not any more.
    pub fn set_waiting(&self, is_waiting: bool) {
        if self.is_waiting() == is_waiting {
            return;
        }
        self.is_waiting.store(is_waiting, Ordering::Relaxed);
        if is_waiting {
            tracing::error!(
                "the disk of the data directory is full: the journal waits, and all writes are refused"
            );
        } else {
            tracing::info!("the journal is written again");
        }
    }

    /// Zeros to write ahead of the records of a journal file, at most `bytes`.
    pub fn journal_step(&self, bytes: u64) -> u64 {
        self.look_again();
        if self.is_low() { bytes.min(LOW_STEP_BYTES) } else { bytes }
    }

    /// Whether `bytes` may be written in advance: the reserve stays untouched.
    pub fn has_room_for(&self, bytes: u64) -> bool {
        let needed = bytes.saturating_add(self.reserve_bytes());
        // Asked at every write while there is no room; the disk is looked at once a second anyhow.
        self.free_bytes() >= needed && self.look_again() >= needed
    }

    /// Bytes that a checkpoint may take: a part of the reserve is left to the journal.
    pub fn room_for_checkpoint(&self) -> u64 {
        let free = self.look_again();
        free.saturating_sub(self.reserve_bytes() / 8)
    }

    /// Makes room for a checkpoint that gives much back, if half of the reserve file is enough for it. Returns
    /// whether there is room.
    pub fn yield_reserve(&self, bytes: u64) -> bool {
        let held = self.held.load(Ordering::Relaxed);
        bytes <= self.free_bytes().saturating_add(held / 2) && self.release_reserve()
    }

    /// Whether the reserve file should be made: there is none, and enough space for it.
    pub fn wants_reserve(&self) -> bool {
        self.disk.is_some()
            && self.held.load(Ordering::Relaxed) == 0
            && self.held_wanted() > 0
            && !self.is_low()
            && !self.is_making.load(Ordering::Relaxed)
    }

    fn held_wanted(&self) -> u64 {
        self.reserve_bytes() / HELD_SHARE
    }

    /// Makes the reserve file. It may take as long as writing it; without space there is none afterwards. It
    /// need not outlive a power cut.
    pub fn make_reserve(&self) {
        let Some(Disk { fs, dir }) = &self.disk else { return };
        if self.is_making.swap(true, Ordering::Relaxed) {
            return;
        }
        let (path, bytes) = (dir.join(RESERVE_FILE), self.held_wanted());
        let made = fs.open(&path, OpenMode::CreateNew).and_then(|file| file.allocate(bytes));
        match made {
            Ok(()) => self.held.store(bytes, Ordering::Relaxed),
            Err(error) => {
                tracing::debug!(file = %path.display(), %error, "cannot make the reserve");
                let _ = fs.remove_file(&path);
            }
        }
        self.is_making.store(false, Ordering::Relaxed);
    }

    /// Gives the reserve file back to the disk. Returns whether there was one.
    pub fn release_reserve(&self) -> bool {
        let is_removed = self.remove_reserve();
        if is_removed {
            tracing::warn!("the disk is full: the journal takes the space of the reserve");
        }
        self.look_again();
        is_removed
    }

    fn remove_reserve(&self) -> bool {
        let Some(Disk { fs, dir }) = &self.disk else { return false };
        if self.held.swap(0, Ordering::Relaxed) == 0 {
            return false;
        }
        let path = dir.join(RESERVE_FILE);
        let removed = fs.remove_file(&path);
        if let Err(error) = &removed {
            tracing::warn!(file = %path.display(), %error, "cannot remove the reserve");
        }
        removed.is_ok()
    }
}

impl Default for DiskSpace {
    fn default() -> DiskSpace {
        DiskSpace::unlimited()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::sim_fs::SimFs;

    const MIB: u64 = 1 << 20;

    fn disk(capacity: u64) -> (SimFs, DiskSpace) {
        let fs = SimFs::new(1);
        fs.create_dir_all(Path::new("/d")).unwrap();
        fs.set_capacity(Some(capacity));
        let space = DiskSpace::open(Arc::new(fs.clone()), Path::new("/d"), None, MIB);
        (fs, space)
    }

    fn fill(fs: &SimFs, name: &str, bytes: u64) {
        let file = fs.open(&Path::new("/d").join(name), OpenMode::CreateNew).unwrap();
        file.allocate(bytes).unwrap();
    }

    #[test]
    fn low_begins_in_the_reserve_and_ends_a_little_above_it() {
        let (fs, space) = disk(16 * MIB);
        assert_eq!((space.reserve_bytes(), space.free_bytes()), (MIB, 16 * MIB));
        fill(&fs, "a", 14 * MIB);
        fill(&fs, "b", MIB / 2);
        space.look_again();
        assert!(!space.is_low());
        fill(&fs, "c", MIB / 2 + 1);
        assert_eq!(space.look_again(), MIB - 1);
        assert!(space.is_low() && !space.has_room_for(1));
        assert_eq!(space.journal_step(4 * MIB), LOW_STEP_BYTES);
        fs.remove_file(Path::new("/d/c")).unwrap();
        fill(&fs, "c", MIB / 4 + 1);
        space.look_again();
        assert!(space.is_low(), "it would come and go");
        fs.remove_file(Path::new("/d/c")).unwrap();
        space.look_again();
        assert!(!space.is_low());
        assert_eq!(space.journal_step(4 * MIB), 4 * MIB);
        // The setting moves, too.
        space.look(Some(8 * MIB), MIB);
        assert!(space.is_low());
        space.look(Some(0), MIB);
        assert!(!space.is_low());
    }

    #[test]
    fn the_reserve_is_held_given_back_once_and_made_again() {
        let (fs, space) = disk(16 * MIB);
        assert!(space.wants_reserve());
        space.make_reserve();
        assert!(!space.wants_reserve());
        assert_eq!(space.look_again(), 16 * MIB - MIB / 4);
        // An earlier process has left it.
        let space = DiskSpace::open(Arc::new(fs.clone()), Path::new("/d"), None, MIB);
        assert!(!space.wants_reserve());
        fill(&fs, "a", 15 * MIB + MIB / 2);
        space.look_again();
        assert!(space.is_low());
        assert!(space.release_reserve());
        assert!(!space.release_reserve());
        assert_eq!(space.free_bytes(), MIB / 2);
        assert!(!space.wants_reserve(), "not while space is low");
        fs.remove_file(Path::new("/d/a")).unwrap();
        space.look_again();
        assert!(space.wants_reserve());
        space.make_reserve();
        // Without a reserve there is no file of it.
        space.look(Some(0), MIB);
        assert_eq!(
            (space.free_bytes(), fs.files().len(), space.wants_reserve()),
            (16 * MIB - MIB / 4, 0, false)
        );
    }

    #[test]
    fn a_reserve_without_space_leaves_nothing_behind() {
        let (fs, space) = disk(16 * MIB);
        fill(&fs, "a", 16 * MIB - 10);
        space.make_reserve();
        assert_eq!(fs.files(), [Path::new("/d/a")]);
        assert!(!space.release_reserve());
    }
}
