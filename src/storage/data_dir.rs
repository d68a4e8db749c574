//! The data directory: its owner, its identity, and its layout.
//!
//! ```text
//! lock          held by the process that uses the directory; names its pid
//! meta          written once: format version, partitions, node id, salt
//! journal/      see `storage::journal`
//! checkpoint/   see `storage::checkpoint`
//! reserve       space for a full disk, without content: see `storage::space`
//! ```
//!
//! `meta` is written last when a directory is created, so a directory with `meta` always has a journal: if
//! the journal files are gone, the directory is refused instead of being treated as new.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::crc;
use crate::env::entropy::Entropy;
use crate::env::fs::{Fs, Lock, LockError, OpenMode};
use crate::storage::journal::error::JournalError;
use crate::storage::journal::journal::Journal;
use crate::storage::journal::options::JournalOptions;
use crate::storage::space::RESERVE_FILE;

pub const FORMAT_VERSION: u32 = 1;

#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error("{}: {doing}: {source}", path.display())]
    Io { path: PathBuf, doing: &'static str, source: io::Error },
    #[error("another headwater process{} uses {}", pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(), path.display())]
    InUse { path: PathBuf, pid: Option<u32> },
    #[error("{} is not a headwater data directory and not empty: it holds {found:?}", path.display())]
    Foreign { path: PathBuf, found: String },
    #[error("{} holds data but no file {META:?}: restore that file, or use another directory", path.display())]
    NoMeta { path: PathBuf },
    #[error("{} was written by a newer headwater: data format {found}, this version reads {FORMAT_VERSION}", path.display())]
    Newer { path: PathBuf, found: u32 },
    #[error("{}: damaged at byte {offset}: {reason}", path.display())]
    Damaged { path: PathBuf, offset: usize, reason: String },
    #[error("{} was created with {found} partitions, the configuration says {configured}; the number is fixed for a data directory", path.display())]
    Partitions { path: PathBuf, found: u16, configured: u16 },
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// A data directory held by this process.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    meta: Meta,
    is_new: bool,
    _lock: Box<dyn Lock>,
}

/// The content of `meta`: drawn or decided once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    pub partitions: u16,
    pub node_id: u64,
    /// Salt of the journal's checksums: see [`JournalOptions::salt`].
    pub salt: u64,
}

impl DataDir {
    /// Locks the directory; creates it if it is empty or missing.
    pub fn open(
        fs: Arc<dyn Fs>,
        path: &Path,
        partitions: u16,
        entropy: &dyn Entropy,
    ) -> Result<DataDir, DataDirError> {
        DataDir::open_with(fs, path, partitions, entropy, JournalOptions::default())
    }

    /// [`DataDir::open`] with options for the first journal file; partitions and salt are set here.
    pub fn open_with(
        fs: Arc<dyn Fs>,
        path: &Path,
        partitions: u16,
        entropy: &dyn Entropy,
        journal: JournalOptions,
    ) -> Result<DataDir, DataDirError> {
        let existed = fs.exists(path).map_err(io_error(path, "look for the data directory"))?;
        if existed {
            // Checked before locking: a foreign directory stays untouched, down to the last file.
            refuse_foreign(&*fs, path)?;
        } else {
            fs.create_dir_all(path).map_err(io_error(path, "create the data directory"))?;
        }
        let lock = fs.lock(&path.join(LOCK)).map_err(|error| match error {
            LockError::Held { pid } => DataDirError::InUse { path: path.to_owned(), pid },
            LockError::Io(source) => {
                DataDirError::Io { path: path.join(LOCK), doing: "lock the data directory", source }
            }
        })?;
        // An earlier process may have died between a change of names and its sync. What this one acknowledges
        // stands in files whose names it has found, so they must be durable first (S3).
        sync_parents(&*fs, path)?;
        fs.sync_dir(path).map_err(io_error(path, "sync the directory"))?;
        let meta_path = path.join(META);
        let is_new = !fs.exists(&meta_path).map_err(io_error(&meta_path, "look for it"))?;
        let meta = if is_new {
            let meta = Meta { partitions, node_id: entropy.u64(), salt: entropy.u64() };
            for dir in [path.join(JOURNAL), path.join(CHECKPOINT)] {
                fs.create_dir_all(&dir).map_err(io_error(&dir, "create the directory"))?;
            }
            let checkpoints = path.join(CHECKPOINT);
            let checkpoints = fs.read_dir(&checkpoints).map_err(io_error(&checkpoints, "list"))?;
            let options = JournalOptions { partitions, salt: meta.salt, ..journal };
            // An interrupted creation leaves a journal without records.
            if !checkpoints.is_empty()
                || Journal::open(Arc::clone(&fs), &path.join(JOURNAL), options)?.1.records > 0
            {
                return Err(DataDirError::NoMeta { path: path.to_owned() });
            }
            // A directory with `meta` has the others.
            fs.sync_dir(path).map_err(io_error(path, "sync the directory"))?;
            write_meta(&*fs, path, &meta)?;
            meta
        } else {
            read_meta(&*fs, &meta_path)?
        };
        if meta.partitions != partitions {
            return Err(DataDirError::Partitions {
                path: path.to_owned(),
                found: meta.partitions,
                configured: partitions,
            });
        }
        Ok(DataDir { path: path.to_owned(), meta, is_new, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn meta(&self) -> Meta {
        self.meta
    }

    /// Whether [`DataDir::open`] created the directory.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    pub fn journal(&self) -> PathBuf {
        self.path.join(JOURNAL)
    }

    pub fn checkpoint(&self) -> PathBuf {
        self.path.join(CHECKPOINT)
    }

    /// The given options with this directory's salt and partitions.
    pub fn journal_options(&self, options: JournalOptions) -> JournalOptions {
        JournalOptions { partitions: self.meta.partitions, salt: self.meta.salt, create: false, ..options }
    }
}

const LOCK: &str = "lock";
const META: &str = "meta";
const META_TEMPORARY: &str = "meta.tmp";
const JOURNAL: &str = "journal";
const CHECKPOINT: &str = "checkpoint";

fn io_error(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> DataDirError {
    let path = path.to_owned();
    move |source| DataDirError::Io { path, doing, source }
}

/// Makes the names of the directory and of those above it durable: any of them may be new.
fn sync_parents(fs: &dyn Fs, path: &Path) -> Result<(), DataDirError> {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    for parent in path.ancestors().skip(1) {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        match fs.sync_dir(parent) {
            // Nobody makes directories in one like this.
            Err(error)
                if matches!(
                    error.kind(),
                    PermissionDenied | InvalidInput | Unsupported | ReadOnlyFilesystem
                ) => {}
            result => result.map_err(io_error(parent, "sync the directory"))?,
        }
    }
    Ok(())
}

/// Without `meta`, the directory may hold only leftovers of an interrupted creation, and the file system's
/// `lost+found`.
fn refuse_foreign(fs: &dyn Fs, path: &Path) -> Result<(), DataDirError> {
    let names = fs.read_dir(path).map_err(io_error(path, "list the data directory"))?;
    if names.iter().any(|name| name == META) {
        return Ok(());
    }
    let ours = [LOCK, META_TEMPORARY, JOURNAL, CHECKPOINT, RESERVE_FILE, "lost+found"];
    match names.into_iter().find(|name| !ours.contains(&name.as_str())) {
        Some(found) => Err(DataDirError::Foreign { path: path.to_owned(), found }),
        None => Ok(()),
    }
}

fn write_meta(fs: &dyn Fs, dir: &Path, meta: &Meta) -> Result<(), DataDirError> {
    let (temporary, path) = (dir.join(META_TEMPORARY), dir.join(META));
    if fs.exists(&temporary).map_err(io_error(&temporary, "look for a leftover"))? {
        fs.remove_file(&temporary).map_err(io_error(&temporary, "remove a leftover"))?;
    }
    let file = fs.open(&temporary, OpenMode::CreateNew).map_err(io_error(&temporary, "create"))?;
    file.write_at(encode_meta(meta).as_bytes(), 0).map_err(io_error(&temporary, "write"))?;
    file.sync_data().map_err(io_error(&temporary, "sync"))?;
    fs.rename(&temporary, &path).map_err(io_error(&path, "rename into place"))?;
    fs.sync_dir(dir).map_err(io_error(dir, "sync the directory"))
}

fn read_meta(fs: &dyn Fs, path: &Path) -> Result<Meta, DataDirError> {
    let file = fs.open(path, OpenMode::Read).map_err(io_error(path, "open"))?;
    let mut bytes = vec![0; META_BYTES_MAX];
    let len = file.read_at(&mut bytes, 0).map_err(io_error(path, "read"))?;
    decode_meta(&bytes[..len], path)
}

const META_BYTES_MAX: usize = 1024;

fn encode_meta(meta: &Meta) -> String {
    let body = format!(
        "headwater-format {FORMAT_VERSION}\npartitions {}\nnode {:016x}\nsalt {:016x}\n",
        meta.partitions, meta.node_id, meta.salt
    );
    format!("{body}crc32c {:08x}\n", crc::crc32c(body.as_bytes()))
}

fn decode_meta(bytes: &[u8], path: &Path) -> Result<Meta, DataDirError> {
    let damaged = |offset: usize, reason: &str| DataDirError::Damaged {
        path: path.to_owned(),
        offset,
        reason: reason.into(),
    };
    let text = std::str::from_utf8(bytes).map_err(|error| damaged(error.valid_up_to(), "not text"))?;
    let (body, crc) = match text.rfind("crc32c ") {
        Some(at) => text.split_at(at),
        None => return Err(damaged(text.len(), "no checksum")),
    };
    if crc != format!("crc32c {:08x}\n", crc::crc32c(body.as_bytes())) {
        return Err(damaged(body.len(), "the checksum does not match"));
    }
    let mut lines = body.lines();
    let mut field = |name: &str| {
        let line = lines.next().unwrap_or_default();
        line.strip_prefix(name)
            .and_then(|rest| rest.strip_prefix(' '))
            .ok_or_else(|| damaged(0, "a line is missing"))
    };
    // The first line keeps its form in every future version, so that a newer version is recognised.
    let version: u32 =
        field("headwater-format")?.parse().map_err(|_| damaged(0, "the format version is no number"))?;
    if version > FORMAT_VERSION {
        return Err(DataDirError::Newer { path: path.to_owned(), found: version });
    }
    let partitions = field("partitions")?.parse().map_err(|_| damaged(0, "partitions is no number"))?;
    let hex = |text: &str| u64::from_str_radix(text, 16).map_err(|_| damaged(0, "not a hexadecimal number"));
    let node_id = hex(field("node")?)?;
    let salt = hex(field("salt")?)?;
    let meta = Meta { partitions, node_id, salt };
    if encode_meta(&meta).as_bytes() != bytes {
        return Err(damaged(0, "more or other lines than this version writes"));
    }
    Ok(meta)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::entropy::SeededEntropy;
    use crate::env::fs::RealFs;
    use crate::env::sim_fs::{Faults, SimFs};

    fn open(fs: &Arc<dyn Fs>, path: &Path, partitions: u16) -> Result<DataDir, DataDirError> {
        let journal =
            JournalOptions { file_bytes: 8192, zero_ahead_bytes: 4096, ..JournalOptions::default() };
        DataDir::open_with(Arc::clone(fs), path, partitions, &SeededEntropy::new(5), journal)
    }

    fn real() -> Arc<dyn Fs> {
        Arc::new(RealFs)
    }

    #[test]
    fn a_directory_is_made_once_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let made = open(&real(), &path, 4).unwrap();
        assert!(made.is_new());
        let meta = made.meta();
        match open(&real(), &path, 4) {
            Err(error @ DataDirError::InUse { .. }) => {
                let text = error.to_string();
                assert!(
                    text.starts_with(&format!("another headwater process (pid {}) uses", std::process::id()))
                );
            }
            other => panic!("taken twice: {other:?}"),
        }
        drop(made);
        let found = open(&real(), &path, 4).unwrap();
        assert!(!found.is_new());
        assert_eq!(found.meta(), meta);
        drop(found);
        assert!(matches!(
            open(&real(), &path, 1),
            Err(DataDirError::Partitions { found: 4, configured: 1, .. })
        ));
    }

    #[test]
    fn a_foreign_directory_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("thesis.tex"), "x").unwrap();
        assert!(
            matches!(open(&real(), dir.path(), 1), Err(DataDirError::Foreign { found, .. }) if found == "thesis.tex")
        );
        assert_eq!(RealFs.read_dir(dir.path()).unwrap(), ["thesis.tex"]);
    }

    #[test]
    fn a_lost_journal_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let made = open(&real(), dir.path(), 1).unwrap();
        let options = made.journal_options(JournalOptions::default());
        std::fs::remove_dir_all(made.journal()).unwrap();
        std::fs::create_dir(made.journal()).unwrap();
        assert!(Journal::open(real(), &made.journal(), options).is_err());
    }

    #[test]
    fn every_flipped_bit_and_every_length_of_meta_is_refused() {
        let path = Path::new("meta");
        let meta = Meta { partitions: 16, node_id: 0xfeed, salt: 7 };
        let text = encode_meta(&meta).into_bytes();
        assert_eq!(decode_meta(&text, path).unwrap(), meta);
        for bit in 0..text.len() * 8 {
            let mut damaged = text.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_meta(&damaged, path).is_err(), "bit {bit}");
        }
        for len in 0..text.len() {
            assert!(decode_meta(&text[..len], path).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn a_newer_format_is_named() {
        let body = "headwater-format 9\nsomething new\n";
        let text = format!("{body}crc32c {:08x}\n", crc::crc32c(body.as_bytes()));
        let error = decode_meta(text.as_bytes(), Path::new("meta")).unwrap_err();
        assert!(matches!(error, DataDirError::Newer { found: 9, .. }), "{error}");
    }

    #[test]
    fn making_a_directory_may_be_interrupted_anywhere() {
        let path = Path::new("/srv/headwater/data");
        for seed in 0..6 {
            for crash_at in 1..40 {
                let sim = SimFs::new(seed * 100 + crash_at).with_directory_durability();
                sim.set_faults(Faults { crash_at_operation: Some(crash_at), ..Faults::default() });
                let fs: Arc<dyn Fs> = Arc::new(sim.clone());
                let mut made = open(&fs, path, 2).map(|dir| dir.meta()).ok();
                if seed % 2 == 1 {
                    // The process is killed, and the next one serves for a while.
                    sim.kill();
                    let next =
                        open(&fs, path, 2).unwrap_or_else(|error| panic!("kill at {crash_at}: {error}"));
                    made = Some(next.meta());
                }
                sim.crash();
                let found = open(&fs, path, 2).unwrap_or_else(|error| panic!("crash at {crash_at}: {error}"));
                if let Some(meta) = made {
                    assert_eq!(found.meta(), meta, "crash at {crash_at}");
                }
                let options = found.journal_options(JournalOptions::default());
                Journal::open(fs, &found.journal(), options).unwrap();
            }
        }
    }
}
