//! The journal and the checkpoints together, as both committers use them: recovery, writes and syncs of the
//! journal by the flush policy, checkpoints and the purge behind them.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::base::latch::Latch;
use crate::base::signal::Signal;
use crate::base::wire::Malformed;
use crate::config::config::{DirectWrites, Replication};
use crate::env::clock::Clock;
use crate::env::fs::Fs;
use crate::env::threads::{self, Elsewhere, Lane, Priority, ThreadDied, Threads};
use crate::model::log::{LogIndex, PartitionId};
use crate::observe::loading::Loading;
use crate::replication::committer::{CommitError, CommitterOptions, Durability, OpenError};
use crate::replication::pace::{Pace, Way};
use crate::replication::replay;
use crate::state::checkpoint;
use crate::state::image::MachineImage;
use crate::state::machine::Machine;
use crate::storage::checkpoint::{CheckpointMeta, CheckpointStore};
use crate::storage::data_dir::DataDir;
use crate::storage::journal::direct;
use crate::storage::journal::error::JournalError;
use crate::storage::journal::index::Position;
use crate::storage::journal::journal::{Journal, LogRecord, SyncHandle};
use crate::storage::journal::options::JournalOptions;
use crate::storage::journal::record::RecordKind;
use crate::storage::space::DiskSpace;

/// Lives on the engine's thread; never borrowed across an await.
pub struct DurableLog {
    journal: RefCell<Journal>,
    checkpoints: CheckpointStore,
    clock: Arc<dyn Clock>,
    latch: Latch,
    durability: Durability,
    pace: Cell<Pace>,
    last_sync: Cell<Option<Duration>>,
    threads: Arc<dyn Threads>,
    flusher: RefCell<Option<Arc<dyn Lane>>>,
    /// The sync in progress on the flusher. A caller that waits for a sync waits here for its turn; a caller
    /// that stops waiting leaves the sync to the next one.
    running: Mutex<Option<Running>>,
    /// `running` holds a sync; asked in every round.
    is_running: Cell<bool>,
    /// A sync on the flusher has ended.
    sync_ended: Signal,
    /// [`Clock::monotonic_us`] at the start of the newest sync.
    synced_at_us: Cell<u64>,
    newest: Newest,
    loading: Arc<Loading>,
    room: Room,
}

/// The disk, and whether the journal waits for space on it.
struct Room {
    space: Arc<DiskSpace>,
    /// The node stops: a full disk is an error, and nothing waits for space.
    is_stopping: Cell<bool>,
}

/// The newest checkpoints.
struct Newest {
    /// [`Journal::bytes_appended`] at their start.
    begun: Cell<u64>,
    /// Bytes of each partition's.
    bytes: RefCell<Vec<u64>>,
}

/// The images of a checkpoint of all partitions.
#[derive(Default)]
pub struct Images {
    /// For [`DurableLog::checkpoint_done`].
    pub begun: u64,
    /// The partitions that have changed since their newest checkpoint.
    pub images: Vec<Image>,
}

/// A partition's machine and the last entry that it has applied.
pub struct Image {
    pub meta: CheckpointMeta,
    pub machine: MachineImage,
}

/// The pause before the journal looks for space again.
const SPACE_PAUSE: Duration = Duration::from_millis(200);

/// Bytes of entries per read at recovery.
const RECOVERY_BYTES: usize = 4 << 20;

/// Bytes of the newest entries of all groups kept in memory: openraft reads each of them back to apply it,
/// and for every follower.
const TAIL_BYTES_MAX: usize = 16 << 20;

impl DurableLog {
    pub fn open(
        fs: Arc<dyn Fs>,
        clock: Arc<dyn Clock>,
        threads: Arc<dyn Threads>,
        data_dir: &DataDir,
        options: CommitterOptions,
        latch: Latch,
    ) -> Result<DurableLog, OpenError> {
        let tail_bytes_max = match options.replication {
            Replication::Local => options.journal.tail_bytes_max,
            Replication::Raft => options.journal.tail_bytes_max.max(TAIL_BYTES_MAX),
        };
        let space = Arc::clone(&options.journal.space);
        let journal_options = data_dir.journal_options(JournalOptions {
            tail_bytes_max,
            // What a file holds is given back as a whole, so a small disk needs small ones.
            file_bytes: options.journal.file_bytes.min(space.journal_file_bytes_max()),
            prepare_next: options.prepares_next_file.then(|| Arc::clone(&threads)),
            ..options.journal
        });
        let (mut journal, recovered) = Journal::open(Arc::clone(&fs), &data_dir.journal(), journal_options)?;
        tracing::info!(records = recovered.records, bytes = recovered.bytes, "read the journal");
        if options.durability == Durability::Fsync
            && writes_directly(&*fs, data_dir, &*clock, options.direct_writes)?
        {
            journal.write_directly();
        }
        let checkpoints = CheckpointStore::new(fs, &data_dir.checkpoint());
        checkpoints.remove_leftovers()?;
        data_dir.settle()?;
        Ok(DurableLog {
            journal: RefCell::new(journal),
            checkpoints,
            latch,
            durability: options.durability,
            pace: Cell::new(Pace::new(options.flush)),
            last_sync: Cell::new(None),
            threads,
            flusher: RefCell::default(),
            running: Mutex::default(),
            is_running: Cell::new(false),
            sync_ended: Signal::default(),
            synced_at_us: Cell::new(clock.monotonic_us()),
            clock,
            newest: Newest {
                begun: Cell::new(0),
                bytes: RefCell::new(vec![0; usize::from(data_dir.meta().partitions)]),
            },
            loading: options.loading,
            room: Room { space, is_stopping: Cell::new(false) },
        })
    }

    pub fn journal(&self) -> &RefCell<Journal> {
        &self.journal
    }

    pub fn checkpoints(&self) -> &CheckpointStore {
        &self.checkpoints
    }

    pub fn latch(&self) -> &Latch {
        &self.latch
    }

    pub fn durability(&self) -> Durability {
        self.durability
    }

    pub fn partitions(&self) -> impl Iterator<Item = PartitionId> + use<> {
        (0..self.journal.borrow().partitions()).map(PartitionId)
    }

    /// Reads a partition's newest checkpoint: its machine and its metadata; an empty machine if there is
    /// none. The journal then continues after the checkpoint: the node may have stopped before the purge, or
    /// within an install.
    pub fn load_machine(
        &self,
        partition: PartitionId,
    ) -> Result<(Machine, Option<CheckpointMeta>), OpenError> {
        let mut journal = self.journal.borrow_mut();
        let purged = journal.log(partition).purged().index;
        let Some(found) = self.checkpoints.load(partition)? else {
            if purged > LogIndex::default() {
                return Err(OpenError::CheckpointMissing { partition, purged, index: LogIndex::default() });
            }
            return Ok((Machine::new(), None));
        };
        let log_id = found.meta.log_id;
        let index = log_id.index;
        if index < purged {
            return Err(OpenError::CheckpointMissing { partition, purged, index });
        }
        self.newest.bytes.borrow_mut()[usize::from(partition.0)] = found.image.len() as u64;
        let machine = checkpoint::decode_noting(&found.image, &mut |bytes| self.loading.note(bytes as u64))
            .map_err(|source| OpenError::Image { partition, index, source })?;
        if machine.applied() != index {
            return Err(OpenError::OtherImage { partition, index, found: machine.applied() });
        }
        journal.purge(partition, log_id);
        Ok((machine, Some(found.meta)))
    }

    /// Applies the journal to a machine, up to an entry of its log. `met` receives the entries without
    /// commands.
    pub fn replay(
        &self,
        partition: PartitionId,
        machine: &mut Machine,
        upto: LogIndex,
        met: &mut dyn FnMut(&LogRecord) -> Result<(), Malformed>,
    ) -> Result<(), OpenError> {
        let journal = self.journal.borrow();
        let upto = LogIndex(upto.0 - u64::from(cfg!(headwater_bug = "last_record_is_lost") && upto.0 > 0));
        while machine.applied() < upto {
            let next = machine.applied().next();
            for record in journal.read(partition, next..upto.next(), RECOVERY_BYTES)? {
                let index = record.log_id.index;
                assert_eq!(index, machine.applied().next(), "the journal gives entry after entry");
                let applied = match record.kind {
                    RecordKind::Entry => replay::apply(machine, index, &record.payload),
                    _ => met(&record).map(|()| machine.skip(index)),
                };
                applied.map_err(|source| OpenError::Entry { partition, index, source })?;
            }
            assert!(machine.applied() >= next, "the log holds entry {}", next.0);
        }
        Ok(())
    }

    /// Time until [`DurableLog::sync_if_due`] has work; `None` if every commit syncs.
    pub fn sync_due_in(&self) -> Option<Duration> {
        match self.durability {
            Durability::Fsync => None,
            Durability::Relaxed { interval } => {
                Some(interval.saturating_sub(self.since(self.synced_at_us.get())))
            }
        }
    }

    pub async fn sync_if_due(&self) -> Result<(), CommitError> {
        match self.durability {
            Durability::Relaxed { interval } if self.since(self.synced_at_us.get()) >= interval => {
                match self.flush_at_once().await {
                    // What waits for space is not written, and needs no sync.
                    Err(error) if error.is_no_space() => {
                        self.synced_at_us.set(self.clock.monotonic_us());
                        Ok(())
                    }
                    result => result,
                }
            }
            _ => Ok(()),
        }
    }

    fn since(&self, started_us: u64) -> Duration {
        Duration::from_micros(self.clock.monotonic_us().saturating_sub(started_us))
    }

    /// Journal bytes since the start of the newest checkpoint.
    pub fn bytes_since_checkpoint(&self) -> u64 {
        self.journal.borrow().bytes_appended() - self.newest.begun.get()
    }

    /// Duration of the latest sync, if one ended since the previous call.
    pub fn take_last_sync(&self) -> Option<Duration> {
        self.last_sync.take()
    }

    /// Whether a checkpoint gives much of the reserve back: so much of the journal is behind the newest.
    pub fn is_checkpoint_worth_space(&self) -> bool {
        self.bytes_since_checkpoint() >= self.room.space.reserve_bytes()
    }

    /// Estimated bytes of the newest checkpoints of all partitions.
    pub fn checkpoint_bytes(&self) -> u64 {
        self.newest.bytes.borrow().iter().sum()
    }

    /// Every partition has its checkpoint, and its purge record is appended: files are removed when that is
    /// durable.
    pub async fn checkpoint_done(&self, mark: u64) -> Result<(), CommitError> {
        self.newest.begun.set(mark);
        self.flush_at_once().await
    }

    /// The node stops: what waits for space ends in an error.
    pub fn stop_waiting(&self) {
        self.room.is_stopping.set(true);
    }

    /// Looks at the disk with the settings in force, and makes the reserve if it is missing. To be called
    /// about once a second.
    pub fn look_at_space(&self, reserve: Option<u64>, journal_file_bytes: u64) {
        self.room.space.look(reserve, journal_file_bytes);
        if self.room.space.wants_reserve()
            && let Ok(lane) = self.threads.start("reserve", Priority::Background)
        {
            let space = Arc::clone(&self.room.space);
            drop(threads::run(&lane, move || space.make_reserve()));
        }
    }

    /// Makes everything durable, and a record that says that nothing was left over.
    pub async fn close(&self) -> Result<(), CommitError> {
        self.flush_at_once().await?;
        let result = self.journal.borrow_mut().close();
        self.trip_on_error(result)
    }

    /// Makes everything appended so far durable. Waits for space if it must.
    pub async fn flush(&self) -> Result<(), CommitError> {
        let appended = self.journal.borrow().appended();
        self.flush_up_to(appended).await.map(drop)
    }

    /// Makes what is appended durable, if there is space for it; waits for space until the position is reached
    /// at least. Returns how far it came.
    pub async fn flush_up_to(&self, least: Position) -> Result<Position, CommitError> {
        loop {
            let result = self.flush_at_once().await;
            let durable = self.journal.borrow().durable();
            match result {
                Ok(()) => return Ok(durable),
                Err(error) if error.is_no_space() && !self.room.is_stopping.get() => {}
                Err(error) => return Err(error),
            }
            if durable >= least {
                return Ok(durable);
            }
            self.wait_for_space().await;
        }
    }

    async fn wait_for_space(&self) {
        self.room.space.set_waiting(true);
        self.clock.sleep(SPACE_PAUSE).await;
    }

    /// Makes everything appended so far durable. Without space it is an error, a part may be durable, and a later
    /// call goes on. Any number of callers may wait at the same time: one sync serves all callers whose bytes it
    /// covers.
    async fn flush_at_once(&self) -> Result<(), CommitError> {
        self.check_latch()?;
        let target = self.journal.borrow().appended();
        if self.journal.borrow().durable() >= target && !self.is_running.get() {
            self.synced_at_us.set(self.clock.monotonic_us());
            return Ok(());
        }
        while self.journal.borrow().durable() < target || self.is_running.get() {
            self.check_latch()?;
            match self.pace.get().way() {
                Way::Inline if !self.is_running.get() => {
                    let began_us = self.clock.monotonic_us();
                    let handle = self.flush_handle()?;
                    let outcome = handle.run();
                    self.synced(Finished { handle, outcome, took: self.since(began_us) }, began_us)?;
                }
                Way::Watched if !self.is_running.get() => self.flush_watched(target).await?,
                Way::Inline | Way::Watched | Way::Elsewhere => self.flush_elsewhere(target).await?,
            }
        }
        Ok(())
    }

    /// Syncs on the flusher while this thread waits, but not for longer than [`Pace::STALL_MAX`].
    async fn flush_watched(&self, target: Position) -> Result<(), CommitError> {
        let mut running = self.running.lock().await;
        // The lock may have gone to another caller first.
        if running.is_some() || self.journal.borrow().durable() >= target {
            return Ok(());
        }
        let began_us = self.clock.monotonic_us();
        let mut sync = self.begin_sync(self.flush_handle()?, began_us)?;
        match sync.done.wait_for(Pace::STALL_MAX) {
            Some(finished) => self.end_sync(finished, began_us),
            None => {
                *running = Some(sync);
                self.is_running.set(true);
                Ok(())
            }
        }
    }

    /// What makes everything appended durable, or as much of it as has space; something is not durable.
    fn flush_handle(&self) -> Result<SyncHandle, CommitError> {
        let mut journal = self.journal.borrow_mut();
        let handle = match journal.flush_handle() {
            Err(error) if error.is_no_space() => journal.sync_handle().ok_or(error),
            Err(error) => Err(error),
            Ok(handle) => {
                self.room.space.set_waiting(false);
                Ok(handle.expect("something is not durable yet"))
            }
        };
        self.trip_on_error(handle)
    }

    /// Takes the images of all partitions: `image` returns the machine and the membership bytes, or `None` to
    /// skip the partition.
    pub fn images(&self, image: &dyn Fn(PartitionId) -> Option<(MachineImage, Vec<u8>)>) -> Images {
        let journal = self.journal.borrow();
        let take = |partition| {
            let (machine, membership) = image(partition)?;
            let log = journal.log(partition);
            if machine.applied() <= log.purged().index {
                return None;
            }
            let log_id =
                log.log_id(machine.applied()).expect("an applied entry that is not purged is in the log");
            Some(Image { meta: CheckpointMeta { partition, log_id, membership }, machine })
        };
        Images { begun: journal.bytes_appended(), images: self.partitions().filter_map(take).collect() }
    }

    /// Writes a checkpoint of an image. The journal is not purged.
    pub async fn write_image(&self, image: Image) -> Result<(), CommitError> {
        // With relaxed durability entries are applied before their sync, and a checkpoint must never be ahead
        // of the journal below it.
        self.flush_at_once().await?;
        self.write_checkpoint(image.meta, image.machine).await
    }

    /// Writes an image on its own thread, because it takes as long as the disk needs. Durable when this
    /// returns.
    pub async fn write_checkpoint(
        &self,
        meta: CheckpointMeta,
        machine: MachineImage,
    ) -> Result<(), CommitError> {
        let partition = usize::from(meta.partition.0);
        let store = self.checkpoints.clone();
        let clock = Arc::clone(&self.clock);
        let lane = self.threads.start("checkpoint", Priority::Background).map_err(CommitError::Thread)?;
        let space = Arc::clone(&self.room.space);
        let (last, journal) = (self.checkpoint_bytes(), self.bytes_since_checkpoint());
        let written = threads::run(&lane, move || {
            let started_us = clock.monotonic_us();
            check_fits(&space, last, journal, &machine)?;
            let written = store.write(&meta, &|out| checkpoint::encode(&machine, out));
            if let Ok(bytes) = &written {
                tracing::info!(
                    partition = meta.partition.0,
                    index = meta.log_id.index.0,
                    bytes,
                    ms = (clock.monotonic_us() - started_us) / 1000,
                    "wrote a checkpoint"
                );
            }
            written.map_err(CommitError::from)
        });
        let died = |_| CommitError::Stopped { reason: "the checkpoint thread died".into() };
        self.newest.bytes.borrow_mut()[partition] = written.await.map_err(died)??;
        Ok(())
    }

    /// Passes appended bytes to the operating system; returns the position that they reach. Without space it
    /// is an error, after which a part may be written, and a later call goes on.
    pub fn write(&self) -> Result<Position, CommitError> {
        self.check_latch()?;
        let mut journal = self.journal.borrow_mut();
        let result = journal.write();
        self.trip_on_error(result)?;
        self.room.space.set_waiting(false);
        Ok(journal.appended())
    }

    /// The same; waits for space until at least the position is reached.
    pub async fn write_up_to(&self, least: Position) -> Result<Position, CommitError> {
        loop {
            match self.write() {
                Err(error) if error.is_no_space() && !self.room.is_stopping.get() => {}
                result => return result,
            }
            let written = self.journal.borrow().written();
            if written >= least {
                return Ok(written);
            }
            self.wait_for_space().await;
        }
    }

    /// How long it is worth to wait for more to write before a sync.
    pub fn gather_max(&self) -> Duration {
        match self.durability {
            Durability::Fsync => self.pace.get().gather_max(),
            Durability::Relaxed { .. } => Duration::ZERO,
        }
    }

    /// Whether the flusher is syncing.
    pub fn is_syncing(&self) -> bool {
        self.is_running.get()
    }

    /// Waits for the end of a sync on the flusher.
    pub async fn sync_ended(&self) {
        self.sync_ended.notified().await;
    }

    /// Waits for the sync on the flusher, of which there is at most one, and begins one if there is none.
    async fn flush_elsewhere(&self, target: Position) -> Result<(), CommitError> {
        let mut running = self.running.lock().await;
        // Another caller's sync may have covered it. One that still runs may fail, and has to be heard: the
        // error of a disk is told once (docs/reliability.md S2).
        if running.is_none() && self.journal.borrow().durable() >= target {
            return Ok(());
        }
        let sync = match &mut *running {
            Some(sync) => sync,
            none => {
                let began_us = self.clock.monotonic_us();
                none.insert(self.begin_sync(self.flush_handle()?, began_us)?)
            }
        };
        self.is_running.set(true);
        let (finished, began_us) = ((&mut sync.done).await, sync.began_us);
        *running = None;
        self.is_running.set(false);
        self.sync_ended.notify();
        self.end_sync(finished, began_us)
    }

    fn end_sync(&self, finished: Result<Finished, ThreadDied>, began_us: u64) -> Result<(), CommitError> {
        let Ok(finished) = finished else {
            self.check_latch()?;
            return Err(CommitError::Stopped { reason: "the flusher thread died".into() });
        };
        self.synced(finished, began_us)
    }

    fn synced(&self, finished: Finished, began_us: u64) -> Result<(), CommitError> {
        self.pace.set(self.pace.get().after(finished.took));
        self.last_sync.set(Some(finished.took));
        let result = self.journal.borrow_mut().complete_sync(finished.handle, finished.outcome);
        self.trip_on_error(result)?;
        // Bytes written while the sync ran have waited since then.
        self.synced_at_us.set(began_us);
        Ok(())
    }

    fn begin_sync(&self, handle: SyncHandle, began_us: u64) -> Result<Running, CommitError> {
        let (latch, clock) = (self.latch.clone(), Arc::clone(&self.clock));
        let done = threads::run(&self.flusher()?, move || sync_once(handle, &latch, &*clock));
        Ok(Running { done, began_us })
    }

    fn flusher(&self) -> Result<Arc<dyn Lane>, CommitError> {
        let mut flusher = self.flusher.borrow_mut();
        if let Some(lane) = &*flusher {
            return Ok(Arc::clone(lane));
        }
        let lane = self.threads.start("flusher", Priority::Normal).map_err(CommitError::Thread)?;
        *flusher = Some(Arc::clone(&lane));
        Ok(lane)
    }

    /// An error after a permanent failure.
    pub fn check_latch(&self) -> Result<(), CommitError> {
        match self.latch.reason() {
            Some(reason) => Err(CommitError::Stopped { reason }),
            None => Ok(()),
        }
    }

    fn trip_on_error<T>(&self, result: Result<T, JournalError>) -> Result<T, CommitError> {
        if let Err(error) = &result
            && !error.is_no_space()
        {
            self.latch.trip(error.to_string());
        }
        Ok(result?)
    }
}

/// # Errors
///
/// Direct writes are asked for, and the file system does not have them.
fn writes_directly(
    fs: &dyn Fs,
    data_dir: &DataDir,
    clock: &dyn Clock,
    setting: DirectWrites,
) -> Result<bool, JournalError> {
    if setting == DirectWrites::No {
        return Ok(false);
    }
    match (direct::is_quicker(fs, &data_dir.journal(), clock), setting) {
        (Ok(is_quicker), DirectWrites::Auto) => Ok(is_quicker),
        (Ok(_), _) => Ok(true),
        // A full disk says nothing of its file system.
        (Err(error), DirectWrites::Yes) if error.is_no_space() => Ok(true),
        (Err(error), DirectWrites::Auto) => {
            tracing::info!(%error, "the journal is not written directly");
            Ok(false)
        }
        (Err(error), _) => Err(error),
    }
}

/// Whether a checkpoint has space, after a last one of so many bytes and so many bytes of the journal since. If
/// it may be too large, it is encoded for its size alone. Of the reserve it gets a part if it gives back twice as
/// much.
fn check_fits(space: &DiskSpace, last: u64, journal: u64, image: &MachineImage) -> Result<(), CommitError> {
    let room = space.room_for_checkpoint();
    // Copies of keys take more than their records, so this may be too low.
    if last.saturating_add(journal).saturating_mul(2) <= room {
        return Ok(());
    }
    let mut bytes: u64 = 0;
    checkpoint::encode(image, &mut |piece: &[u8]| bytes += piece.len() as u64);
    if bytes <= room || bytes <= journal / 2 && space.yield_reserve(bytes) {
        return Ok(());
    }
    Err(CommitError::NoRoom { bytes, room })
}

/// A sync in progress on the flusher.
struct Running {
    done: Elsewhere<Finished>,
    began_us: u64,
}

struct Finished {
    handle: SyncHandle,
    outcome: Result<(), JournalError>,
    took: Duration,
}

/// Syncs on the flusher. It trips the latch itself, because the caller may have stopped waiting, and a later
/// sync would succeed without the lost bytes (docs/reliability.md S2).
fn sync_once(handle: SyncHandle, latch: &Latch, clock: &dyn Clock) -> Finished {
    let started_us = clock.monotonic_us();
    let outcome = match latch.reason() {
        Some(reason) => Err(JournalError::Stopped { reason }),
        None => handle.run(),
    };
    if let Err(error) = &outcome {
        latch.trip(error.to_string());
    }
    let took = Duration::from_micros(clock.monotonic_us().saturating_sub(started_us));
    Finished { handle, outcome, took }
}
