//! The contents of a simulated disk: names and bytes of its files, as seen by the running system and as left
//! by a power cut. [`crate::env::sim_fs`] is its interface.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use crate::env::entropy::SeededEntropy;
use crate::env::fs::{SECTOR_BYTES, Space};
use crate::env::manual_clock::ManualClock;
use crate::env::sim_fs::{Death, Faults, Operation, SyncScript};

#[derive(Debug)]
pub struct Disk {
    pub seed: u64,
    pub entropy: SeededEntropy,
    pub faults: Faults,
    pub operations: u64,
    pub syncs: u64,
    pub directory_syncs: u64,
    pub writes: u64,
    pub reads: u64,
    pub log: Vec<String>,
    pub tallies: BTreeMap<Operation, Tally>,
    /// Handles and locks of an ended process are invalid.
    pub incarnation: u64,
    pub locks: BTreeSet<PathBuf>,
    /// By the number of the sync.
    pub sync_script: BTreeMap<u64, SyncScript>,
    /// The duration of every sync without a script.
    pub sync_time: Duration,
    pub clock: Option<ManualClock>,
    pub capacity_bytes: Option<u64>,
    /// Whether a new directory must be synced into its parent.
    pub has_directory_durability: bool,
    pub fails_removals: bool,
    /// Whether a sector may arrive in part.
    pub tears_sectors: bool,
    inodes: BTreeMap<u64, Inode>,
    inodes_made: u64,
    live: Names,
    durable: Names,
    /// Changes in `live` that are not in `durable`, oldest first.
    changes: Vec<Change>,
    /// The write at which the process died, if it died at one.
    interrupted: Option<Interrupted>,
}

/// Of the operations of one kind.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    pub done: u64,
    /// Processes that died at one.
    pub deaths: u64,
}

#[derive(Debug, Clone, Default)]
struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<(u64, Vec<u8>)>,
}

#[derive(Debug)]
struct Interrupted {
    inode: u64,
    live_before: Vec<u8>,
}

/// A tree of names. Paths are as [`place`] makes them.
#[derive(Debug, Clone)]
struct Names {
    files: BTreeMap<PathBuf, u64>,
    directories: BTreeSet<PathBuf>,
}

/// A change of a directory that is not durable yet.
#[derive(Debug, Clone)]
enum Change {
    File(PathBuf, u64),
    Directory(PathBuf),
    Remove(PathBuf),
    /// Both names are in one directory: the rename arrives as a whole.
    Rename(PathBuf, PathBuf, u64),
    /// Between two directories. The new name arrives first, and the old name may outlive a power cut beside
    /// it.
    Move(PathBuf, PathBuf, u64),
}

impl Names {
    fn new() -> Names {
        // The root, and the directory in which the process was started.
        let directories = [PathBuf::from("/"), PathBuf::new()].into();
        Names { files: BTreeMap::new(), directories }
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::File(path, inode) => {
                self.files.insert(path.clone(), *inode);
            }
            Change::Directory(path) => {
                self.directories.insert(path.clone());
            }
            Change::Remove(path) => {
                self.files.remove(path);
            }
            Change::Rename(from, to, inode) | Change::Move(from, to, inode) => {
                self.files.remove(from);
                self.files.insert(to.clone(), *inode);
            }
        }
    }

    /// Removes what is below a directory that is not there.
    fn prune(&mut self) {
        let all = std::mem::take(&mut self.directories);
        // Sorted, a directory comes behind the one above it.
        for path in all {
            if path.parent().is_none_or(|parent| self.directories.contains(parent)) {
                self.directories.insert(path);
            }
        }
        self.files.retain(|path, _| self.directories.contains(directory_of(path)));
    }
}

impl Change {
    /// The directory in which the change shows; for a move, the destination.
    fn directory(&self) -> &Path {
        match self {
            Change::File(path, _) | Change::Directory(path) | Change::Remove(path) => directory_of(path),
            Change::Rename(_, to, _) | Change::Move(_, to, _) => directory_of(to),
        }
    }

    fn inode(&self) -> Option<u64> {
        match self {
            Change::File(_, inode) | Change::Rename(_, _, inode) | Change::Move(_, _, inode) => Some(*inode),
            Change::Directory(_) | Change::Remove(_) => None,
        }
    }
}

fn directory_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// The path under which the disk knows a file: `./a` and `a` are one file. The empty path is an error, as on
/// Linux.
fn place(path: &Path) -> io::Result<PathBuf> {
    if path.as_os_str().is_empty() {
        return Err(not_found(path));
    }
    Ok(path.components().filter(|part| *part != Component::CurDir).collect())
}

pub fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no file {}", path.display()))
}

/// EIO.
pub fn failed() -> io::Error {
    io::Error::from_raw_os_error(5)
}

/// ENOSPC.
pub fn full() -> io::Error {
    io::Error::from_raw_os_error(28)
}

impl Disk {
    pub fn new(seed: u64) -> Disk {
        Disk {
            seed,
            entropy: SeededEntropy::new(seed),
            faults: Faults::default(),
            operations: 0,
            syncs: 0,
            directory_syncs: 0,
            writes: 0,
            reads: 0,
            log: Vec::new(),
            tallies: BTreeMap::new(),
            incarnation: 0,
            locks: BTreeSet::new(),
            sync_script: BTreeMap::new(),
            sync_time: Duration::ZERO,
            clock: None,
            capacity_bytes: None,
            has_directory_durability: false,
            fails_removals: false,
            tears_sectors: false,
            inodes: BTreeMap::new(),
            inodes_made: 0,
            live: Names::new(),
            durable: Names::new(),
            changes: Vec::new(),
            interrupted: None,
        }
    }

    /// A disk of its own with the live files of this one, all of them durable.
    pub fn fork(&self, seed: u64) -> Disk {
        let mut inodes = self.inodes.clone();
        for inode in inodes.values_mut() {
            inode.unsynced.clear();
            inode.durable = inode.live.clone();
        }
        Disk {
            clock: self.clock.clone(),
            capacity_bytes: self.capacity_bytes,
            sync_time: self.sync_time,
            has_directory_durability: self.has_directory_durability,
            tears_sectors: self.tears_sectors,
            inodes,
            inodes_made: self.inodes_made,
            live: self.live.clone(),
            durable: self.live.clone(),
            ..Disk::new(seed)
        }
    }

    pub fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
        self.interrupted = None;
    }

    /// Counts an operation, and fails it if the process is dead. A write at the moment of death may still
    /// reach the disk in part, so the write handles that itself.
    pub fn operate(&mut self, what: impl FnOnce() -> String) -> io::Result<()> {
        self.operations += 1;
        self.check_alive()?;
        let line = what();
        if let Some(operation) = kind_of(&line) {
            let tally = self.tallies.entry(operation).or_default();
            tally.done += 1;
            if let Some(Death { is_done, .. }) =
                self.faults.crash_at.filter(|at| at.operation == operation && at.nth == tally.done)
            {
                tally.deaths += 1;
                self.faults.crash_at_operation = Some(self.operations + u64::from(is_done));
                self.check_alive()?;
            }
        }
        self.log.push(line);
        Ok(())
    }

    pub fn check_alive(&self) -> io::Result<()> {
        if self.is_dead() {
            return Err(io::Error::other("the simulated process has died"));
        }
        Ok(())
    }

    pub fn is_dead(&self) -> bool {
        self.faults.crash_at_operation.is_some_and(|at| self.operations >= at)
    }

    /// The power fails: the seed selects which changes that were not durable survive.
    pub fn cut_power(&mut self) {
        self.end_process();
        self.faults = Faults::default();
        self.sync_script.clear();
        self.interrupted = None;
        let changes = std::mem::take(&mut self.changes);
        let keep_percent = [0, 50, 90, 100][self.entropy.below(4) as usize];
        for change in changes {
            if !self.entropy.chance(keep_percent) {
                continue;
            }
            match change {
                Change::Move(_, to, inode) if !self.entropy.chance(keep_percent) => {
                    self.durable.apply(&Change::File(to, inode));
                }
                change => self.durable.apply(&change),
            }
        }
        self.durable.prune();
        self.live = self.durable.clone();
        for inode in self.inodes.values_mut() {
            // A sector that arrived holds everything that was written to it by then: a later write to a
            // sector does not arrive without the earlier ones.
            let mut lost = BTreeSet::new();
            for (offset, bytes) in std::mem::take(&mut inode.unsynced) {
                let keep_percent = [0, 20, 50, 80, 100][self.entropy.below(5) as usize];
                keep_sectors(&mut inode.durable, offset, &bytes, &mut lost, |len| {
                    if self.entropy.chance(keep_percent) {
                        return len;
                    }
                    let part = if self.tears_sectors { self.entropy.below(len as u64) } else { 0 };
                    (part - part % WORD_BYTES) as usize
                });
            }
            inode.live = inode.durable.clone();
        }
        self.drop_unused();
        self.log.push("crash".into());
    }

    /// The process dies and the system continues: its writes remain, durable or not.
    pub fn kill_process(&mut self) {
        self.end_process();
        (self.faults.crash_at_operation, self.faults.crash_at) = (None, None);
        if let Some(Interrupted { inode, live_before }) = self.interrupted.take() {
            // The system has done a part of the interrupted write.
            let inode = self.inodes.get_mut(&inode).expect("a file that is written to has an inode");
            let (offset, bytes) = inode.unsynced.last_mut().expect("the write is not synced");
            let end = self.entropy.below(bytes.len() as u64 + 1);
            let part = if self.tears_sectors { end - end % WORD_BYTES } else { 0 };
            bytes.truncate(whole_sectors(*offset, end).max(part as usize));
            inode.live = live_before;
            put(&mut inode.live, *offset as usize, bytes);
        }
        self.drop_unused();
        self.log.push("kill".into());
    }

    fn end_process(&mut self) {
        self.incarnation += 1;
        self.locks.clear();
    }

    fn drop_unused(&mut self) {
        let named = self.live.files.values().chain(self.durable.files.values()).copied();
        let used: BTreeSet<u64> = named.chain(self.changes.iter().filter_map(Change::inode)).collect();
        self.inodes.retain(|inode, _| used.contains(inode));
    }

    pub fn find(&self, path: &Path) -> io::Result<u64> {
        self.live.files.get(&place(path)?).copied().ok_or_else(|| not_found(path))
    }

    pub fn exists(&self, path: &Path) -> bool {
        place(path)
            .is_ok_and(|path| self.live.files.contains_key(&path) || self.live.directories.contains(&path))
    }

    /// Sorted.
    pub fn files(&self) -> Vec<PathBuf> {
        self.live.files.keys().cloned().collect()
    }

    /// Of files and directories, sorted.
    pub fn names_in(&self, path: &Path) -> io::Result<Vec<String>> {
        let path = self.directory(path)?;
        let children = self.live.files.keys().chain(&self.live.directories);
        let mut names: Vec<String> = children
            .filter(|child| child.parent() == Some(&path))
            .filter_map(|child| child.file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        names.sort();
        Ok(names)
    }

    fn directory(&self, path: &Path) -> io::Result<PathBuf> {
        let found = place(path)?;
        if self.live.directories.contains(&found) { Ok(found) } else { Err(not_found(path)) }
    }

    /// The position for a new name.
    fn free_place(&self, path: &Path) -> io::Result<PathBuf> {
        let found = place(path)?;
        if self.live.directories.contains(&found) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if !self.live.directories.contains(directory_of(&found)) {
            return Err(not_found(path));
        }
        Ok(found)
    }

    pub fn create(&mut self, path: &Path) -> io::Result<u64> {
        let path = self.free_place(path)?;
        if self.live.files.contains_key(&path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if self.free_bytes() == 0 {
            return Err(full());
        }
        self.inodes_made += 1;
        self.inodes.insert(self.inodes_made, Inode::default());
        self.change(Change::File(path, self.inodes_made));
        Ok(self.inodes_made)
    }

    pub fn create_directories(&mut self, path: &Path) -> io::Result<()> {
        let path = place(path)?;
        let mut missing: Vec<&Path> =
            path.ancestors().filter(|path| !self.live.directories.contains(*path)).collect();
        missing.reverse();
        if missing.iter().any(|path| self.live.files.contains_key(*path)) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        for path in missing {
            let change = Change::Directory(path.to_owned());
            if self.has_directory_durability {
                self.change(change);
            } else {
                self.live.apply(&change);
                self.durable.apply(&change);
            }
        }
        Ok(())
    }

    pub fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = self.find(from)?;
        let (from, to) = (place(from)?, self.free_place(to)?);
        if self.live.files.get(&to) == Some(&inode) {
            // Two names of one file: the system does nothing.
            return Ok(());
        }
        let is_near = directory_of(&from) == directory_of(&to);
        self.change(if is_near { Change::Rename(from, to, inode) } else { Change::Move(from, to, inode) });
        Ok(())
    }

    pub fn link(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = self.find(from)?;
        let to = self.free_place(to)?;
        if self.live.files.contains_key(&to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.change(Change::File(to, inode));
        Ok(())
    }

    pub fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.find(path)?;
        self.change(Change::Remove(place(path)?));
        Ok(())
    }

    fn change(&mut self, change: Change) {
        self.live.apply(&change);
        self.changes.push(change);
    }

    pub fn sync_directory(&mut self, path: &Path) -> io::Result<()> {
        let path = self.directory(path)?;
        let changes = std::mem::take(&mut self.changes);
        // Per directory, the end of the changes that become durable. A file that moves away from the synced
        // directory becomes durable in its new directory, and so must every earlier change there: replayed
        // later, an earlier change would undo the move.
        let mut synced = BTreeMap::from([(path, changes.len())]);
        let (mut applied, mut rest) = (Vec::new(), Vec::new());
        for (at, change) in changes.into_iter().enumerate().rev() {
            let is_synced = |path: &Path| synced.get(path).is_some_and(|&end| at < end);
            match change {
                Change::Move(from, to, inode) if is_synced(directory_of(&from)) => {
                    let end = synced.entry(directory_of(&to).to_owned()).or_default();
                    *end = at.max(*end);
                    applied.push(Change::Move(from, to, inode));
                }
                Change::Move(from, to, inode) if is_synced(directory_of(&to)) => {
                    applied.push(Change::File(to, inode));
                    rest.push(Change::Remove(from));
                }
                change if is_synced(change.directory()) => applied.push(change),
                change => rest.push(change),
            }
        }
        applied.iter().rev().for_each(|change| self.durable.apply(change));
        rest.reverse();
        self.changes = rest;
        Ok(())
    }

    /// The live bytes of an open file.
    pub fn bytes(&self, inode: u64) -> &[u8] {
        &self.inodes[&inode].live
    }

    /// Writes; `is_interrupted` if the process dies at it.
    pub fn write(&mut self, inode: u64, bytes: &[u8], offset: u64, is_interrupted: bool) {
        let inode_number = inode;
        let inode = self.inodes.get_mut(&inode).expect("an open file has an inode");
        if is_interrupted {
            self.interrupted = Some(Interrupted { inode: inode_number, live_before: inode.live.clone() });
        }
        put(&mut inode.live, usize::try_from(offset).expect("a simulated file fits in memory"), bytes);
        inode.unsynced.push((offset, bytes.to_vec()));
    }

    /// Makes the bytes of a file durable. A failed sync loses them: their pages are clean afterwards, and the
    /// bytes exist only in memory.
    pub fn sync(&mut self, inode: u64, fails: bool) {
        let inode = self.inodes.get_mut(&inode).expect("an open file has an inode");
        for (offset, bytes) in std::mem::take(&mut inode.unsynced) {
            if !fails {
                put(&mut inode.durable, offset as usize, &bytes);
            }
        }
    }

    /// Makes the newest write of a file durable. One that fails may be on the disk in part, after a power cut.
    pub fn end_direct(&mut self, inode: u64, fails: bool) {
        let inode = self.inodes.get_mut(&inode).expect("an open file has an inode");
        if !fails {
            let (offset, bytes) = inode.unsynced.pop().expect("it was just written");
            put(&mut inode.durable, offset as usize, &bytes);
        }
    }

    /// How many of the bytes have space.
    pub fn room_for(&self, inode: u64, bytes: usize, offset: u64) -> usize {
        let len = self.inodes[&inode].live.len() as u64;
        let free = self.free_bytes().saturating_add(len);
        usize::try_from(free.saturating_sub(offset)).map_or(bytes, |room| room.min(bytes))
    }

    /// Whether the writes of now find no space.
    pub fn is_full(&self) -> bool {
        self.faults.full_at_write.is_some_and(|at| self.writes >= at)
    }

    /// Without a capacity, more than anybody can write.
    pub fn space(&self) -> Space {
        let free_bytes = if self.is_full() { 0 } else { self.free_bytes() };
        Space { free_bytes, total_bytes: self.capacity_bytes.unwrap_or(u64::MAX) }
    }

    fn free_bytes(&self) -> u64 {
        let Some(capacity) = self.capacity_bytes else { return u64::MAX };
        capacity.saturating_sub(self.used_bytes())
    }

    pub fn used_bytes(&self) -> u64 {
        let named: BTreeSet<u64> = self.live.files.values().copied().collect();
        named.iter().map(|inode| self.inodes[inode].live.len() as u64).sum()
    }

    /// Changes a file in both images.
    pub fn damage(&mut self, inode: u64, damage: impl FnOnce(&mut Vec<u8>)) {
        let inode = self.inodes.get_mut(&inode).expect("a name has an inode");
        damage(&mut inode.live);
        inode.durable = inode.live.clone();
        inode.unsynced.clear();
    }
}

/// Memory is copied by words at least.
const WORD_BYTES: u64 = 4;

/// The kind of an operation, by its line in the log.
fn kind_of(line: &str) -> Option<Operation> {
    let kinds = [
        ("rename ", Operation::Rename),
        ("remove ", Operation::Remove),
        ("sync directory ", Operation::SyncDirectory),
        ("sync ", Operation::Sync),
    ];
    kinds.into_iter().find(|(word, _)| line.starts_with(word)).map(|(_, operation)| operation)
}

/// How many of the first `len` bytes written at `offset` end at the end of a sector: a write is interrupted
/// between pages, never within one.
pub fn whole_sectors(offset: u64, len: u64) -> usize {
    let end = offset + len;
    (end - end % SECTOR_BYTES).saturating_sub(offset) as usize
}

/// `arrives` says how many of the bytes written to a sector do.
fn keep_sectors(
    durable: &mut Vec<u8>,
    offset: u64,
    bytes: &[u8],
    lost: &mut BTreeSet<u64>,
    mut arrives: impl FnMut(usize) -> usize,
) {
    let mut at = 0;
    while at < bytes.len() {
        let place = offset + at as u64;
        let len = ((SECTOR_BYTES - place % SECTOR_BYTES) as usize).min(bytes.len() - at);
        let sector = place / SECTOR_BYTES;
        if !lost.contains(&sector) {
            let arrived = arrives(len);
            if arrived > 0 {
                put(durable, place as usize, &bytes[at..at + arrived]);
            }
            if arrived < len {
                lost.insert(sector);
            }
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
