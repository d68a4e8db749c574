//! A simulated disk: every file has a live image (what the process reads) and a durable one (what a crash leaves).
//!
//! * Written bytes become durable with the file's sync, names with the directory's sync.
//! * [`SimFs::crash`] makes any legal state: of each unsynced write any subset of its 512-byte sectors, of the unsynced
//!   directory changes any subset. Which, follows from the seed.
//! * Faults: the nth sync fails and drops its writes while their pages look clean (S2); the nth write finds the disk
//!   full (S12); from the nth operation on everything fails, as for a process that has died.
//! * Every operation that changes something is counted and logged, so that a test can crash at each of them.
//!
//! Directories themselves are durable at once: nothing of ours depends on losing one.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::env::entropy::SeededEntropy;
use crate::env::fs::{File, Fs, Lock, LockError, OpenMode, SECTOR_BYTES};

/// Clones are the same disk.
#[derive(Debug, Clone)]
pub struct SimFs {
    disk: Arc<Mutex<Disk>>,
}

/// Counted from 1 over all operations of that kind since the disk was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// This operation and all after it fail.
    pub crash_at_operation: Option<u64>,
    /// This sync of a file fails with EIO.
    pub fail_sync: Option<u64>,
    /// This write and all after it find no space; a part of it may have been written.
    pub full_at_write: Option<u64>,
    /// This read fails with EIO.
    pub fail_read: Option<u64>,
}

#[derive(Debug)]
struct Disk {
    seed: u64,
    entropy: SeededEntropy,
    faults: Faults,
    operations: u64,
    syncs: u64,
    writes: u64,
    reads: u64,
    log: Vec<String>,
    /// Handles from before a crash are dead.
    incarnation: u64,
    inodes: BTreeMap<u64, Inode>,
    inode_next: u64,
    directories: BTreeSet<PathBuf>,
    live: BTreeMap<PathBuf, u64>,
    durable: BTreeMap<PathBuf, u64>,
    changes: Vec<Change>,
    locks: BTreeSet<PathBuf>,
}

#[derive(Debug, Clone, Default)]
struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<(u64, Vec<u8>)>,
}

/// A change of a directory that is not durable yet.
#[derive(Debug, Clone)]
enum Change {
    Set(PathBuf, u64),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf, u64),
}

impl Change {
    fn is_in(&self, directory: &Path) -> bool {
        match self {
            Change::Set(path, _) | Change::Remove(path) => path.parent() == Some(directory),
            Change::Rename(from, to, _) => {
                assert_eq!(from.parent(), to.parent(), "renames between directories are not simulated");
                to.parent() == Some(directory)
            }
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Change::Set(path, inode) => {
                names.insert(path.clone(), *inode);
            }
            Change::Remove(path) => {
                names.remove(path);
            }
            Change::Rename(from, to, inode) => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
        }
    }
}

impl SimFs {
    pub fn new(seed: u64) -> SimFs {
        SimFs {
            disk: Arc::new(Mutex::new(Disk {
                seed,
                entropy: SeededEntropy::new(seed),
                faults: Faults::default(),
                operations: 0,
                syncs: 0,
                writes: 0,
                reads: 0,
                log: Vec::new(),
                incarnation: 0,
                inodes: BTreeMap::new(),
                inode_next: 1,
                directories: BTreeSet::new(),
                live: BTreeMap::new(),
                durable: BTreeMap::new(),
                changes: Vec::new(),
                locks: BTreeSet::new(),
            })),
        }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().expect("no operation panics while it holds the disk")
    }

    pub fn set_faults(&self, faults: Faults) {
        self.disk().faults = faults;
    }

    /// Operations that changed something, since the disk was made.
    pub fn operations(&self) -> u64 {
        self.disk().operations
    }

    pub fn syncs(&self) -> u64 {
        self.disk().syncs
    }

    pub fn writes(&self) -> u64 {
        self.disk().writes
    }

    /// What was done, oldest first.
    pub fn log(&self) -> Vec<String> {
        self.disk().log.clone()
    }

    /// The power fails and comes back: what was not durable is kept or lost by the seed, open handles and locks are
    /// dead, faults are cleared.
    pub fn crash(&self) {
        let mut disk = self.disk();
        let disk = &mut *disk;
        disk.incarnation += 1;
        disk.faults = Faults::default();
        disk.locks.clear();
        let changes = std::mem::take(&mut disk.changes);
        let keep_percent = [0, 50, 90, 100][disk.entropy.below(4) as usize];
        for change in changes {
            if disk.entropy.chance(keep_percent) {
                change.apply(&mut disk.durable);
            }
        }
        disk.live = disk.durable.clone();
        for inode in disk.inodes.values_mut() {
            // A sector that arrived holds everything that was written to it by then: a later write to a sector does
            // not arrive without the earlier ones.
            let mut lost = BTreeSet::new();
            for (offset, bytes) in std::mem::take(&mut inode.unsynced) {
                let keep_percent = [0, 20, 50, 80, 100][disk.entropy.below(5) as usize];
                keep_sectors(&mut inode.durable, offset, &bytes, &mut lost, || {
                    disk.entropy.chance(keep_percent)
                });
            }
            inode.live = inode.durable.clone();
        }
        let used: BTreeSet<u64> = disk.live.values().copied().collect();
        disk.inodes.retain(|inode, _| used.contains(inode));
        disk.log.push("crash".into());
    }

    /// An independent disk with the live files of this one, all of them durable: a point to start many trials from.
    pub fn fork(&self, seed: u64) -> SimFs {
        let fork = SimFs::new(seed);
        {
            let disk = self.disk();
            let mut copy = fork.disk();
            copy.directories = disk.directories.clone();
            copy.live = disk.live.clone();
            copy.durable = disk.live.clone();
            copy.inode_next = disk.inode_next;
            copy.inodes = disk.inodes.clone();
            for inode in copy.inodes.values_mut() {
                inode.unsynced.clear();
                inode.durable = inode.live.clone();
            }
        }
        fork
    }

    /// Damages a file as a failing disk would, in both images.
    pub fn damage(&self, path: &Path, damage: impl FnOnce(&mut Vec<u8>)) {
        let mut disk = self.disk();
        let inode = *disk.live.get(path).expect("damage is done to a file that exists");
        let inode = disk.inodes.get_mut(&inode).expect("a name has an inode");
        damage(&mut inode.live);
        inode.durable = inode.live.clone();
        inode.unsynced.clear();
    }

    /// The live bytes of a file.
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let disk = self.disk();
        disk.live.get(path).map(|inode| disk.inodes[inode].live.clone())
    }

    /// All files, sorted.
    pub fn files(&self) -> Vec<PathBuf> {
        self.disk().live.keys().cloned().collect()
    }
}

fn keep_sectors(
    durable: &mut Vec<u8>,
    offset: u64,
    bytes: &[u8],
    lost: &mut BTreeSet<u64>,
    mut keep: impl FnMut() -> bool,
) {
    let mut at = 0;
    while at < bytes.len() {
        let place = offset + at as u64;
        let len = ((SECTOR_BYTES - place % SECTOR_BYTES) as usize).min(bytes.len() - at);
        let sector = place / SECTOR_BYTES;
        if !lost.contains(&sector) && !keep() {
            lost.insert(sector);
        }
        if !lost.contains(&sector) {
            put(durable, place as usize, &bytes[at..at + len]);
        }
        at += len;
    }
}

fn put(image: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if image.len() < offset + bytes.len() {
        image.resize(offset + bytes.len(), 0);
    }
    image[offset..offset + bytes.len()].copy_from_slice(bytes);
}

impl Disk {
    /// Counts an operation and fails it if the process is dead by now. A write that meets the crash may still get
    /// part of its bytes onto the disk, so that is its own business.
    fn operate(&mut self, what: impl FnOnce() -> String) -> io::Result<()> {
        self.operations += 1;
        if self.is_dead() {
            return Err(io::Error::other("the simulated process has died"));
        }
        self.log.push(what());
        Ok(())
    }

    fn is_dead(&self) -> bool {
        self.faults.crash_at_operation.is_some_and(|at| self.operations >= at)
    }

    fn inode(&mut self, inode: u64) -> &mut Inode {
        self.inodes.get_mut(&inode).expect("an open file has an inode")
    }
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no file {}", path.display()))
}

impl Fs for SimFs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut disk = self.disk();
        let inode = match mode {
            OpenMode::Read | OpenMode::Write => {
                if disk.is_dead() {
                    return Err(io::Error::other("the simulated process has died"));
                }
                *disk.live.get(path).ok_or_else(|| not_found(path))?
            }
            OpenMode::CreateNew => {
                disk.operate(|| format!("create {}", path.display()))?;
                if disk.live.contains_key(path) {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                if !path.parent().is_some_and(|parent| disk.directories.contains(parent)) {
                    return Err(not_found(path));
                }
                let inode = disk.inode_next;
                disk.inode_next += 1;
                disk.inodes.insert(inode, Inode::default());
                let change = Change::Set(path.to_owned(), inode);
                change.apply(&mut disk.live);
                disk.changes.push(change);
                inode
            }
        };
        let incarnation = disk.incarnation;
        Ok(Arc::new(SimFile { fs: self.clone(), inode, incarnation, path: path.to_owned() }))
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<String>> {
        let disk = self.disk();
        if disk.is_dead() {
            return Err(io::Error::other("the simulated process has died"));
        }
        if !disk.directories.contains(path) {
            return Err(not_found(path));
        }
        let mut names: Vec<String> = disk
            .live
            .keys()
            .chain(disk.directories.iter())
            .filter(|child| child.parent() == Some(path))
            .filter_map(|child| child.file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        names.sort();
        Ok(names)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.operate(|| format!("create directory {}", path.display()))?;
        disk.directories.extend(path.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.operate(|| format!("rename {} to {}", from.display(), to.display()))?;
        let inode = *disk.live.get(from).ok_or_else(|| not_found(from))?;
        let change = Change::Rename(from.to_owned(), to.to_owned(), inode);
        change.apply(&mut disk.live);
        disk.changes.push(change);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.operate(|| format!("remove {}", path.display()))?;
        if !disk.live.contains_key(path) {
            return Err(not_found(path));
        }
        let change = Change::Remove(path.to_owned());
        change.apply(&mut disk.live);
        disk.changes.push(change);
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.operate(|| format!("sync directory {}", path.display()))?;
        let (synced, rest): (Vec<Change>, Vec<Change>) =
            std::mem::take(&mut disk.changes).into_iter().partition(|change| change.is_in(path));
        disk.changes = rest;
        for change in synced {
            change.apply(&mut disk.durable);
        }
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let disk = self.disk();
        if disk.is_dead() {
            return Err(io::Error::other("the simulated process has died"));
        }
        Ok(disk.live.contains_key(path) || disk.directories.contains(path))
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Lock>, LockError> {
        let mut disk = self.disk();
        disk.operate(|| format!("lock {}", path.display()))?;
        if !disk.locks.insert(path.to_owned()) {
            return Err(LockError::Held { pid: Some(1) });
        }
        if !disk.live.contains_key(path) {
            let inode = disk.inode_next;
            disk.inode_next += 1;
            disk.inodes.insert(inode, Inode::default());
            let change = Change::Set(path.to_owned(), inode);
            change.apply(&mut disk.live);
            disk.changes.push(change);
        }
        let incarnation = disk.incarnation;
        Ok(Box::new(SimLock { fs: self.clone(), path: path.to_owned(), incarnation }))
    }

    fn copy_permissions(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        // Everybody may do everything here.
        Ok(())
    }
}

#[derive(Debug)]
struct SimFile {
    fs: SimFs,
    inode: u64,
    incarnation: u64,
    path: PathBuf,
}

impl SimFile {
    fn disk(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let disk = self.fs.disk();
        if disk.incarnation != self.incarnation {
            return Err(io::Error::other("a file handle from before the crash"));
        }
        Ok(disk)
    }
}

impl File for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut disk = self.disk()?;
        disk.reads += 1;
        if disk.is_dead() || disk.faults.fail_read == Some(disk.reads) {
            return Err(io::Error::from_raw_os_error(5));
        }
        let live = &disk.inode(self.inode).live;
        let start = usize::try_from(offset).map_or(live.len(), |offset| offset.min(live.len()));
        let len = buffer.len().min(live.len() - start);
        buffer[..len].copy_from_slice(&live[start..start + len]);
        Ok(len)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut disk = self.disk()?;
        disk.writes += 1;
        let was_dead = disk.is_dead();
        let result =
            disk.operate(|| format!("write {} at {offset}, {} bytes", self.path.display(), bytes.len()));
        let full = disk.faults.full_at_write.is_some_and(|at| disk.writes >= at);
        let written = match (&result, full) {
            // The write that meets the crash may be on its way already.
            (Err(_), _) if !was_dead => bytes.len(),
            (Err(_), _) => return result,
            (Ok(()), true) => disk.entropy.below(bytes.len() as u64 + 1) as usize,
            (Ok(()), false) => bytes.len(),
        };
        let inode = disk.inode(self.inode);
        let offset_in_memory = usize::try_from(offset).expect("a simulated file fits in memory");
        put(&mut inode.live, offset_in_memory, &bytes[..written]);
        inode.unsynced.push((offset, bytes[..written].to_vec()));
        result?;
        if full { Err(io::Error::from_raw_os_error(28)) } else { Ok(()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.disk()?;
        disk.syncs += 1;
        disk.operate(|| format!("sync {}", self.path.display()))?;
        let fails = disk.faults.fail_sync == Some(disk.syncs);
        let inode = disk.inode(self.inode);
        let unsynced = std::mem::take(&mut inode.unsynced);
        if fails {
            // The pages are clean now, and the bytes are nowhere but in memory.
            return Err(io::Error::from_raw_os_error(5));
        }
        for (offset, bytes) in unsynced {
            put(&mut inode.durable, offset as usize, &bytes);
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let mut disk = self.disk()?;
        if disk.is_dead() {
            return Err(io::Error::other("the simulated process has died"));
        }
        Ok(disk.inode(self.inode).live.len() as u64)
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
mod tests {
    use super::*;

    fn disk(seed: u64) -> (SimFs, PathBuf) {
        let fs = SimFs::new(seed);
        let dir = PathBuf::from("/d");
        fs.create_dir_all(&dir).unwrap();
        (fs, dir)
    }

    #[test]
    fn synced_bytes_with_a_synced_name_survive_and_the_rest_may_not() {
        let (mut names_lost, mut sectors_torn) = (0, 0);
        for seed in 0..100 {
            let (fs, dir) = disk(seed);
            let kept = fs.open(&dir.join("kept"), OpenMode::CreateNew).unwrap();
            kept.write_at(&[1; 2048], 0).unwrap();
            kept.sync_data().unwrap();
            fs.sync_dir(&dir).unwrap();
            kept.write_at(&[2; 2048], 0).unwrap();
            fs.open(&dir.join("loose"), OpenMode::CreateNew).unwrap();
            fs.crash();
            assert!(kept.len().is_err(), "a handle from before the crash is dead");
            let bytes = fs.contents(&dir.join("kept")).unwrap();
            assert_eq!(bytes.len(), 2048);
            for sector in bytes.chunks(512) {
                assert!(sector == [1; 512] || sector == [2; 512]);
            }
            sectors_torn += u32::from(bytes.contains(&1) && bytes.contains(&2));
            names_lost += u32::from(fs.contents(&dir.join("loose")).is_none());
        }
        assert!(sectors_torn > 10 && names_lost > 10, "{sectors_torn} {names_lost}");
    }

    #[test]
    fn a_failed_sync_loses_the_bytes_though_the_next_one_succeeds() {
        let (fs, dir) = disk(1);
        let file = fs.open(&dir.join("a"), OpenMode::CreateNew).unwrap();
        fs.sync_dir(&dir).unwrap();
        fs.set_faults(Faults { fail_sync: Some(1), ..Faults::default() });
        file.write_at(b"lost", 0).unwrap();
        assert!(file.sync_data().is_err());
        file.sync_data().unwrap();
        assert_eq!(fs.contents(&dir.join("a")).unwrap(), b"lost");
        fs.crash();
        assert_eq!(fs.contents(&dir.join("a")).unwrap(), b"");
    }

    #[test]
    fn a_seed_reproduces_a_crash() {
        let run = |seed| {
            let (fs, dir) = disk(seed);
            let file = fs.open(&dir.join("a"), OpenMode::CreateNew).unwrap();
            fs.sync_dir(&dir).unwrap();
            file.write_at(&[7; 5000], 100).unwrap();
            fs.crash();
            fs.contents(&dir.join("a"))
        };
        for seed in 0..20 {
            assert_eq!(run(seed), run(seed));
        }
    }

    #[test]
    fn a_dead_process_does_nothing_more() {
        let (fs, dir) = disk(1);
        let file = fs.open(&dir.join("a"), OpenMode::CreateNew).unwrap();
        fs.set_faults(Faults { crash_at_operation: Some(fs.operations() + 1), ..Faults::default() });
        assert!(file.write_at(b"x", 0).is_err());
        assert!(file.sync_data().is_err());
        assert!(fs.read_dir(&dir).is_err());
        fs.crash();
        assert!(fs.read_dir(&dir).is_ok());
    }
}
