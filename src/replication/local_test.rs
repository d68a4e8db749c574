//! The local committer over a simulated disk.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::base::latch::Latch;
use crate::base::wire::Malformed;
use crate::config::config::FlushPolicy;
use crate::env::entropy::SeededEntropy;
use crate::env::fs::Fs;
use crate::env::sim_fs::{Faults, SimFs};
use crate::replication::committer::CommitterOptions;
use crate::state::machine::Machine;
use crate::storage::data_dir::DataDir;
use crate::storage::journal::journal::JournalOptions;

const PARTITIONS: u16 = 2;

/// Machines that only count, and what was applied to them beside.
#[derive(Default)]
struct Applied {
    machines: RefCell<Vec<Machine>>,
    own: RefCell<Vec<(PartitionId, LogIndex)>>,
    foreign: RefCell<Vec<(PartitionId, LogIndex, Vec<u8>)>>,
}

impl Applied {
    fn new() -> Applied {
        let applied = Applied::default();
        *applied.machines.borrow_mut() = (0..PARTITIONS).map(|_| Machine::new()).collect();
        applied
    }
}

impl Applier for Applied {
    fn apply_own(&self, partition: PartitionId, index: LogIndex) {
        self.skip(partition, index);
        self.own.borrow_mut().push((partition, index));
    }

    fn apply_foreign(&self, partition: PartitionId, index: LogIndex, entry: &[u8]) -> Result<(), Malformed> {
        self.skip(partition, index);
        self.foreign.borrow_mut().push((partition, index, entry.to_vec()));
        Ok(())
    }

    fn skip(&self, partition: PartitionId, index: LogIndex) {
        self.machines.borrow_mut()[usize::from(partition.0)].skip(index);
    }

    fn applied(&self, partition: PartitionId) -> LogIndex {
        self.machines.borrow()[usize::from(partition.0)].applied()
    }

    fn image(&self, partition: PartitionId) -> Machine {
        self.machines.borrow()[usize::from(partition.0)].clone()
    }

    fn install(&self, partition: PartitionId, machine: Machine) {
        self.machines.borrow_mut()[usize::from(partition.0)] = machine;
    }
}

struct Node {
    committer: LocalCommitter,
    applied: Applied,
    latch: Latch,
    _dir: DataDir,
}

fn start(fs: &SimFs, options: &CommitterOptions) -> Result<Node, OpenError> {
    let sim: Arc<dyn Fs> = Arc::new(fs.clone());
    let entropy = SeededEntropy::new(1);
    let journal = options.journal.clone();
    let dir =
        DataDir::open_with(Arc::clone(&sim), Path::new("/data"), PARTITIONS, &entropy, journal).unwrap();
    let latch = Latch::new();
    let committer = LocalCommitter::new(Disk::open(sim, &dir, options.clone(), latch.clone())?);
    let applied = Applied::new();
    committer.recover(&applied)?;
    Ok(Node { committer, applied, latch, _dir: dir })
}

fn options(durability: Durability, flush: FlushPolicy) -> CommitterOptions {
    let journal = JournalOptions { file_bytes: 4096, zero_ahead_bytes: 1024, ..JournalOptions::default() };
    CommitterOptions { durability, flush, journal, ..CommitterOptions::default() }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn partition(number: u64) -> PartitionId {
    PartitionId((number % u64::from(PARTITIONS)) as u16)
}

#[test]
fn entries_are_applied_in_order_once_they_are_durable_and_found_again() {
    for flush in [FlushPolicy::Inline, FlushPolicy::Thread, FlushPolicy::Auto] {
        let options = options(Durability::Fsync, flush);
        let fs = SimFs::new(1);
        let node = start(&fs, &options).unwrap();
        run(async {
            for round in 0..5u64 {
                for number in 0..3 {
                    node.committer.append(partition(number), format!("{round}.{number}").as_bytes());
                }
                assert_eq!(node.applied.own.borrow().len() as u64, round * 3);
                let syncs = fs.syncs();
                node.committer.commit(&node.applied).await.unwrap();
                assert!(fs.syncs() > syncs);
            }
        });
        drop(node);
        fs.crash();
        let node = start(&fs, &options).unwrap();
        let foreign = node.applied.foreign.borrow();
        assert_eq!(foreign.len(), 15);
        assert_eq!(foreign[0], (PartitionId(0), LogIndex(1), b"0.0".to_vec()));
        assert_eq!(foreign[14], (PartitionId(1), LogIndex(5), b"4.1".to_vec()));
    }
}

#[test]
fn a_failed_sync_applies_nothing_and_trips_the_latch() {
    for flush in [FlushPolicy::Inline, FlushPolicy::Thread] {
        let fs = SimFs::new(1);
        let node = start(&fs, &options(Durability::Fsync, flush)).unwrap();
        run(async {
            node.committer.append(PartitionId(0), b"first");
            node.committer.commit(&node.applied).await.unwrap();
            fs.set_faults(Faults { fail_sync: Some(fs.syncs() + 1), ..Faults::default() });
            node.committer.append(PartitionId(0), b"second");
            assert!(matches!(node.committer.commit(&node.applied).await, Err(CommitError::Journal(_))));
            assert!(node.latch.is_tripped());
            for _ in 0..3 {
                node.committer.append(PartitionId(0), b"third");
                assert!(matches!(
                    node.committer.commit(&node.applied).await,
                    Err(CommitError::Stopped { .. })
                ));
            }
            assert!(node.committer.disk().flush().await.is_err());
        });
        assert_eq!(node.applied.own.borrow().len(), 1);
    }
}

#[test]
fn relaxed_durability_acknowledges_before_it_syncs_and_a_stop_syncs() {
    let fs = SimFs::new(3);
    let relaxed = options(Durability::Relaxed { interval: Duration::ZERO }, FlushPolicy::Inline);
    let node = start(&fs, &relaxed).unwrap();
    run(async {
        node.committer.append(PartitionId(0), b"a");
        let syncs = fs.syncs();
        node.committer.commit(&node.applied).await.unwrap();
        assert_eq!((fs.syncs(), node.applied.own.borrow().len()), (syncs, 1));
        assert_eq!(node.committer.disk().sync_due_in(), Some(Duration::ZERO));
        node.committer.disk().sync_if_due().await.unwrap();
        assert_eq!(fs.syncs(), syncs + 1);
        node.committer.append(PartitionId(0), b"b");
        node.committer.commit(&node.applied).await.unwrap();
        node.committer.disk().flush().await.unwrap();
    });
    drop(node);
    fs.crash();
    assert_eq!(start(&fs, &relaxed).unwrap().applied.foreign.borrow().len(), 2);
}

#[test]
fn a_checkpoint_shortens_the_journal_and_the_restart() {
    let fs = SimFs::new(1);
    let options = options(Durability::Fsync, FlushPolicy::Inline);
    let node = start(&fs, &options).unwrap();
    run(async {
        for number in 0..100 {
            node.committer.append(partition(number), &[7; 200]);
            node.committer.commit(&node.applied).await.unwrap();
        }
        let files = fs.files().len();
        assert!(node.committer.disk().bytes_since_checkpoint() > 20_000);
        node.committer.checkpoint(&node.applied).await.unwrap();
        assert!(node.committer.disk().bytes_since_checkpoint() < 500);
        assert!(fs.files().len() < files);
        node.committer.append(PartitionId(1), b"after");
        node.committer.commit(&node.applied).await.unwrap();
    });
    drop(node);
    fs.crash();
    let node = start(&fs, &options).unwrap();
    assert_eq!(*node.applied.foreign.borrow(), [(PartitionId(1), LogIndex(51), b"after".to_vec())]);
    assert_eq!(node.applied.applied(PartitionId(0)), LogIndex(50));
    node.committer.recover(&node.applied).unwrap();
    assert_eq!(node.applied.applied(PartitionId(1)), LogIndex(51));
}

#[test]
fn a_lost_checkpoint_is_refused() {
    let fs = SimFs::new(1);
    let options = options(Durability::Fsync, FlushPolicy::Inline);
    let node = start(&fs, &options).unwrap();
    run(async {
        node.committer.append(PartitionId(0), b"a");
        node.committer.commit(&node.applied).await.unwrap();
        node.committer.checkpoint(&node.applied).await.unwrap();
    });
    drop(node);
    let checkpoint = fs.files().into_iter().find(|path| path.starts_with("/data/checkpoint")).unwrap();
    let damaged = fs.fork(1);
    damaged.damage(&checkpoint, |bytes| bytes[20] ^= 1);
    assert!(matches!(start(&damaged, &options).err(), Some(OpenError::Checkpoint(_))));
    fs.remove_file(&checkpoint).unwrap();
    assert!(matches!(start(&fs, &options).err(), Some(OpenError::CheckpointMissing { .. })));
}

/// Rounds with checkpoints between, cut off at every operation: what was applied is found again, in order (S10, S11).
#[test]
fn a_crash_at_every_operation_keeps_what_was_applied() {
    for durability in [Durability::Fsync, Durability::Relaxed { interval: Duration::from_secs(3600) }] {
        let options = options(durability, FlushPolicy::Inline);
        for crash_at in 1.. {
            let fs = SimFs::new(crash_at);
            let node = start(&fs, &options).unwrap();
            fs.set_faults(Faults {
                crash_at_operation: Some(fs.operations() + crash_at),
                ..Faults::default()
            });
            let failed = run(async {
                for round in 0..30u64 {
                    node.committer.append(partition(round), &round.to_le_bytes().repeat(20));
                    node.committer.commit(&node.applied).await?;
                    if round % 7 == 6 {
                        node.committer.checkpoint(&node.applied).await?;
                    }
                }
                Ok::<(), CommitError>(())
            })
            .is_err();
            let applied: Vec<LogIndex> =
                (0..PARTITIONS).map(|number| node.applied.applied(PartitionId(number))).collect();
            drop(node);
            fs.crash();
            let node = start(&fs, &options).unwrap_or_else(|error| panic!("crash at {crash_at}: {error}"));
            for number in 0..PARTITIONS {
                let found = node.applied.applied(PartitionId(number));
                if durability == Durability::Fsync {
                    assert!(found >= applied[usize::from(number)], "crash at {crash_at}");
                }
                assert!(found.0 <= applied[usize::from(number)].0 + 1, "crash at {crash_at}");
            }
            for (of, index, entry) in node.applied.foreign.borrow().iter() {
                let round = (index.0 - 1) * u64::from(PARTITIONS) + u64::from(of.0);
                assert_eq!(*entry, round.to_le_bytes().repeat(20), "crash at {crash_at}");
            }
            run(async {
                node.committer.append(PartitionId(0), b"goes on");
                node.committer.commit(&node.applied).await.unwrap();
            });
            if !failed {
                break;
            }
        }
    }
}
