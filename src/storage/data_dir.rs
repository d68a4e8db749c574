//! The data directory: its owner, its identity, and its layout.
//!
//! ```text
//! lock          held by the process that uses the directory; names its pid
//! meta          what the directory is: see `storage::meta`
//! journal/      see `storage::journal`
//! checkpoint/   see `storage::checkpoint`
//! reserve       space for a full disk, without content: see `storage::space`
//! ```
//!
//! `meta` is written last when a directory is created, so a directory with `meta` always has a journal: if
//! the journal files are gone, the directory is refused instead of being treated as new.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::config::Replication;
use crate::env::entropy::Entropy;
use crate::env::fs::{Fs, Lock, LockError, OpenMode};
use crate::env::replace;
use crate::storage::journal::error::JournalError;
use crate::storage::journal::journal;
use crate::storage::journal::options::JournalOptions;
use crate::storage::meta::{self, BYTES_MAX, ClusterId, Formats, Meta, MetaError, Role};
use crate::storage::space::RESERVE_FILE;

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
    #[error("{} was created with {found} partitions, the configuration says {configured}; the number is fixed for a data directory", path.display())]
    Partitions { path: PathBuf, found: u16, configured: u16 },
    #[error("{}: {}", path.display(), WrongRole { found: *found, wanted: *wanted })]
    Role { path: PathBuf, found: Role, wanted: StartAs },
    #[error(transparent)]
    Meta(#[from] MetaError),
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// As what a node is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAs {
    /// Its journal alone commits.
    Solo,
    /// Its groups commit, even where it is their only member.
    Member,
}

impl From<Replication> for StartAs {
    fn from(replication: Replication) -> StartAs {
        match replication {
            Replication::Local => StartAs::Solo,
            Replication::Raft => StartAs::Member,
        }
    }
}

/// Why a node does not start in a role.
struct WrongRole {
    found: Role,
    wanted: StartAs,
}

impl fmt::Display for WrongRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.found, self.wanted) {
            (Role::Member(cluster), _) => write!(
                f,
                "this is the directory of a member of the cluster {cluster}, and alone it could acknowledge what \
                 the cluster does not know: it starts with `replication raft` only"
            ),
            (Role::Joining(cluster), _) => write!(
                f,
                "this node was told to join the cluster {cluster}, and is no member yet: it starts neither alone \
                 nor as a member"
            ),
            (Role::Solo, _) => write!(
                f,
                "this is the directory of a node without a cluster, and a setting does not make it a member of \
                 one: it starts with `replication local` only"
            ),
        }
    }
}

/// How a directory is opened.
#[derive(Debug, Clone)]
pub struct DataDirOptions {
    /// Fixed when the directory is created.
    pub partitions: u16,
    pub start_as: StartAs,
    /// For the first journal file; partitions and salt are set here.
    pub journal: JournalOptions,
}

impl DataDirOptions {
    /// For a node without a cluster.
    pub fn solo(partitions: u16) -> DataDirOptions {
        DataDirOptions { partitions, start_as: StartAs::Solo, journal: JournalOptions::default() }
    }
}

/// A data directory held by this process.
#[derive(Debug)]
pub struct DataDir {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    meta: Meta,
    /// The formats that `meta` on disk tells.
    formats: Formats,
    is_new: bool,
    _lock: Box<dyn Lock>,
}

impl DataDir {
    /// Locks the directory; creates it if it is empty or missing. A new directory is that of a solo node, or
    /// of the only member of a new cluster.
    ///
    /// # Errors
    ///
    /// Nothing of an existing directory is changed then.
    pub fn open(
        fs: Arc<dyn Fs>,
        path: &Path,
        options: DataDirOptions,
        entropy: &dyn Entropy,
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
        // Before there were roles, a setting decided at each start. It does so for the last time.
        let role = || match options.start_as {
            StartAs::Solo => Role::Solo,
            StartAs::Member => Role::Member(draw_cluster(entropy)),
        };
        let (meta, formats) = if is_new {
            let partitions = options.partitions;
            let meta = Meta { role: role(), node_id: entropy.u64(), salt: entropy.u64(), partitions };
            create(&fs, path, &meta, options.journal)?;
            (meta, Formats::WRITTEN)
        } else {
            read_meta(&*fs, &meta_path, role())?
        };
        if meta.partitions != options.partitions {
            return Err(DataDirError::Partitions {
                path: path.to_owned(),
                found: meta.partitions,
                configured: options.partitions,
            });
        }
        match (meta.role, options.start_as) {
            (Role::Solo, StartAs::Solo) | (Role::Member(_), StartAs::Member) => {}
            (found, wanted) => return Err(DataDirError::Role { path: meta_path, found, wanted }),
        }
        Ok(DataDir { fs, path: path.to_owned(), meta, formats, is_new, _lock: lock })
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

    /// Writes `meta` anew if it is of an earlier format or tells of one. Called when the rest of the directory
    /// was found sound: a start that is refused changes nothing.
    ///
    /// # Errors
    ///
    /// `meta` is the old one then, or the new one.
    pub fn settle(&self) -> Result<(), DataDirError> {
        if self.formats == Formats::WRITTEN { Ok(()) } else { write_meta(&*self.fs, &self.path, &self.meta) }
    }

    /// Gives the node its next role, durably.
    ///
    /// # Errors
    ///
    /// The role is the old one then, or the new one: it is read when the directory is opened again.
    pub fn change_role(&mut self, role: Role) -> Result<(), DataDirError> {
        let follows = match (self.meta.role, role) {
            (Role::Solo, Role::Joining(_) | Role::Member(_)) => true,
            (Role::Joining(asked), Role::Member(cluster)) => asked == cluster,
            _ => false,
        };
        assert!(follows, "{role:?} does not follow {:?}", self.meta.role);
        write_meta(&*self.fs, &self.path, &Meta { role, ..self.meta })?;
        self.meta.role = role;
        self.formats = Formats::WRITTEN;
        Ok(())
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

pub fn draw_cluster(entropy: &dyn Entropy) -> ClusterId {
    ClusterId(u128::from(entropy.u64()) << 64 | u128::from(entropy.u64()))
}

/// Makes what a directory without `meta` lacks, and `meta` last.
fn create(
    fs: &Arc<dyn Fs>,
    path: &Path,
    meta: &Meta,
    first_file: JournalOptions,
) -> Result<(), DataDirError> {
    for dir in [path.join(JOURNAL), path.join(CHECKPOINT)] {
        fs.create_dir_all(&dir).map_err(io_error(&dir, "create the directory"))?;
    }
    let checkpoints = path.join(CHECKPOINT);
    let checkpoints = fs.read_dir(&checkpoints).map_err(io_error(&checkpoints, "list"))?;
    let options = JournalOptions { partitions: meta.partitions, salt: meta.salt, ..first_file };
    // An interrupted creation leaves a journal without records.
    if !checkpoints.is_empty() || !journal::make(fs, &path.join(JOURNAL), &options)? {
        return Err(DataDirError::NoMeta { path: path.to_owned() });
    }
    // A directory with `meta` has the others.
    fs.sync_dir(path).map_err(io_error(path, "sync the directory"))?;
    write_meta(&**fs, path, meta)
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
    let path = dir.join(META);
    replace::replace_file(fs, &path, meta::encode(meta).as_bytes()).map_err(io_error(&path, "write"))
}

fn read_meta(fs: &dyn Fs, path: &Path, role_of_1: Role) -> Result<(Meta, Formats), DataDirError> {
    let file = fs.open(path, OpenMode::Read).map_err(io_error(path, "open"))?;
    // One byte more shows that it is too long.
    let mut bytes = vec![0; BYTES_MAX + 1];
    let len = file.read_at(&mut bytes, 0).map_err(io_error(path, "read"))?;
    Ok(meta::decode(&bytes[..len], path, role_of_1)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::counted_fs::CountedFs;
    use crate::env::entropy::SeededEntropy;
    use crate::env::fs::RealFs;
    use crate::env::sim_fs::{Faults, SimFs};
    use crate::storage::journal::journal::Journal;
    use std::sync::atomic::Ordering;

    fn open(fs: &Arc<dyn Fs>, path: &Path, partitions: u16) -> Result<DataDir, DataDirError> {
        open_as(fs, path, partitions, StartAs::Solo)
    }

    fn open_as(
        fs: &Arc<dyn Fs>,
        path: &Path,
        partitions: u16,
        start_as: StartAs,
    ) -> Result<DataDir, DataDirError> {
        let journal =
            JournalOptions { file_bytes: 8192, zero_ahead_bytes: 4096, ..JournalOptions::default() };
        let options = DataDirOptions { partitions, start_as, journal };
        DataDir::open(Arc::clone(fs), path, options, &SeededEntropy::new(5))
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
    fn a_node_starts_in_its_role_only() {
        let dir = tempfile::tempdir().unwrap();
        let start = |path: &Path, start_as| open_as(&real(), path, 1, start_as);
        let refused = |path: &Path, start_as, words: &[&str]| {
            let before = std::fs::read(path.join(META)).unwrap();
            let error = start(path, start_as).unwrap_err();
            assert!(matches!(error, DataDirError::Role { .. }), "{error}");
            let told = error.to_string();
            assert!(told.starts_with(&path.join(META).display().to_string()), "{told}");
            assert!(words.iter().all(|word| told.contains(word)), "{told}");
            assert_eq!(std::fs::read(path.join(META)).unwrap(), before);
        };
        let (solo, member) = (dir.path().join("solo"), dir.path().join("member"));
        let mut made = start(&solo, StartAs::Solo).unwrap();
        assert_eq!(made.meta().role, Role::Solo);
        let founded = start(&member, StartAs::Member).unwrap().meta().role;
        let Role::Member(cluster) = founded else { panic!("{founded:?}") };
        refused(&member, StartAs::Solo, &["a member of the cluster", &cluster.to_string(), "raft"]);
        assert_eq!(start(&member, StartAs::Member).unwrap().meta().role, founded);
        // On the way into that cluster.
        made.change_role(Role::Joining(cluster)).unwrap();
        let meta = made.meta();
        drop(made);
        for start_as in [StartAs::Solo, StartAs::Member] {
            refused(&solo, start_as, &["told to join", &cluster.to_string()]);
        }
        let text = meta::encode(&Meta { role: Role::Solo, ..meta });
        std::fs::write(solo.join(META), text).unwrap();
        refused(&solo, StartAs::Member, &["without a cluster", "local"]);
        let mut made = start(&solo, StartAs::Solo).unwrap();
        made.change_role(founded).unwrap();
        drop(made);
        assert_eq!(start(&solo, StartAs::Member).unwrap().meta(), Meta { role: founded, ..meta });
    }

    #[test]
    #[should_panic(expected = "does not follow")]
    fn a_member_does_not_become_solo_again() {
        let fs: Arc<dyn Fs> = Arc::new(SimFs::new(1));
        let mut made = open_as(&fs, Path::new("/data"), 1, StartAs::Member).unwrap();
        let _ = made.change_role(Role::Solo);
    }

    #[test]
    fn a_directory_of_version_1_is_what_it_is_started_as_first() {
        let dir = tempfile::tempdir().unwrap();
        for start_as in [StartAs::Solo, StartAs::Member] {
            let path = dir.path().join(format!("{start_as:?}"));
            let made = open(&real(), &path, 3).unwrap();
            let old = meta::encode_1(&made.meta());
            std::fs::write(path.join(META), &old).unwrap();
            let before = made.meta();
            drop(made);
            // Before the directory is known to be sound, its file stays.
            let other = open_as(&real(), &path, 3, start_as).unwrap();
            drop(other);
            assert_eq!(std::fs::read_to_string(path.join(META)).unwrap(), old);
            let found = open_as(&real(), &path, 3, start_as).unwrap();
            found.settle().unwrap();
            let meta = found.meta();
            assert_eq!(Meta { role: Role::Solo, ..meta }, before);
            assert_eq!(meta.role == Role::Solo, start_as == StartAs::Solo);
            drop(found);
            assert_eq!(open_as(&real(), &path, 3, start_as).unwrap().meta(), meta);
            let other = if start_as == StartAs::Solo { StartAs::Member } else { StartAs::Solo };
            assert!(matches!(open_as(&real(), &path, 3, other), Err(DataDirError::Role { .. })));
        }
    }

    /// Conversion of an old `meta`, and a change of the role.
    #[test]
    fn meta_is_the_old_one_or_the_new_one_after_a_crash_anywhere() {
        let path = Path::new("/data");
        for crash_at in 1..20 {
            for power in [false, true] {
                let sim = SimFs::new(crash_at).with_directory_durability();
                let fs: Arc<dyn Fs> = Arc::new(sim.clone());
                let made = open(&fs, path, 2).unwrap();
                let meta = made.meta();
                drop(made);
                replace::replace_file(&*fs, &path.join(META), meta::encode_1(&meta).as_bytes()).unwrap();
                sim.set_faults(Faults { crash_at_operation: Some(crash_at), ..Faults::default() });
                let member = Role::Member(ClusterId(9));
                let result = open(&fs, path, 2).and_then(|mut found| {
                    found.settle()?;
                    found.change_role(member)
                });
                sim.kill();
                if power {
                    sim.crash();
                }
                let found = open(&fs, path, 2).or_else(|error| match error {
                    DataDirError::Role { .. } => open_as(&fs, path, 2, StartAs::Member),
                    other => Err(other),
                });
                let found = found.unwrap_or_else(|error| panic!("crash at {crash_at}: {error}")).meta();
                assert_eq!(Meta { role: Role::Solo, ..found }, meta);
                assert!([Role::Solo, member].contains(&found.role));
                assert!(result.is_err() || found.role == member, "crash at {crash_at}");
            }
        }
    }

    #[test]
    fn a_new_directory_reads_no_zeros() {
        let read = Arc::default();
        let fs: Arc<dyn Fs> = Arc::new(CountedFs { inner: Arc::new(SimFs::new(1)), read: Arc::clone(&read) });
        let options =
            DataDirOptions { partitions: 1, start_as: StartAs::Solo, journal: JournalOptions::default() };
        let made =
            DataDir::open(Arc::clone(&fs), Path::new("/data"), options, &SeededEntropy::new(5)).unwrap();
        assert_eq!(read.load(Ordering::Relaxed), 0);
        Journal::open(fs, &made.journal(), made.journal_options(JournalOptions::default())).unwrap();
        assert!(read.load(Ordering::Relaxed) < 5 << 20, "the first file is read once");
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
