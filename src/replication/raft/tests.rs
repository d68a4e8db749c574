//! The committer as a whole, over real and simulated files.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::future::Future;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::base::latch::Latch;
use crate::base::wire::Malformed;
use crate::config::config::{FlushPolicy, Replication};
use crate::env::entropy::SeededEntropy;
use crate::env::fs::{Fs, RealFs};
use crate::env::sim_fs::{Faults, SimFs};
use crate::model::log::{LogId, LogIndex, PartitionId, Term};
use crate::replication::committer::{
    Applier, CommitError, Committer, CommitterOptions, Durability, OpenError,
};
use crate::replication::raft::record;
use crate::replication::raft::types::{Membership, Vote};
use crate::state::machine::Machine;
use crate::storage::data_dir::DataDir;
use crate::storage::journal::journal::JournalOptions;
use crate::storage::journal::record::RecordKind;

/// Runs on one thread, in a `LocalSet`, as a worker does.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, future)
}

/// An applier that writes down what it is told.
pub struct Recorder {
    partitions: Vec<Recorded>,
}

#[derive(Default)]
pub struct Recorded {
    machine: RefCell<Machine>,
    /// Entries of commands, own and foreign.
    entries: RefCell<Vec<Vec<u8>>>,
    in_flight: RefCell<VecDeque<Vec<u8>>>,
    own: Cell<u64>,
}

impl Recorder {
    pub fn new(partitions: usize) -> Recorder {
        Recorder { partitions: (0..partitions).map(|_| Recorded::default()).collect() }
    }

    fn of(&self, partition: PartitionId) -> &Recorded {
        &self.partitions[usize::from(partition.0)]
    }

    fn advance(&self, partition: PartitionId, index: LogIndex) {
        let mut machine = self.of(partition).machine.borrow_mut();
        assert!(machine.applied() < index);
        // openraft's suite leaves entries out.
        while machine.applied() < index {
            let next = machine.applied().next();
            machine.skip(next);
        }
    }
}

impl Applier for Recorder {
    fn apply_own(&self, partition: PartitionId, index: LogIndex) {
        self.advance(partition, index);
        let of = self.of(partition);
        let entry = of.in_flight.borrow_mut().pop_front().expect("an own entry is in flight");
        of.entries.borrow_mut().push(entry);
        of.own.set(of.own.get() + 1);
    }

    fn apply_foreign(&self, partition: PartitionId, index: LogIndex, entry: &[u8]) -> Result<(), Malformed> {
        self.advance(partition, index);
        self.of(partition).entries.borrow_mut().push(entry.to_vec());
        Ok(())
    }

    fn skip(&self, partition: PartitionId, index: LogIndex) {
        self.advance(partition, index);
    }

    fn applied(&self, partition: PartitionId) -> LogIndex {
        self.of(partition).machine.borrow().applied()
    }

    fn image(&self, partition: PartitionId) -> Machine {
        self.of(partition).machine.borrow().clone()
    }

    fn install(&self, partition: PartitionId, machine: Machine) {
        // What the checkpoint holds is not told as entries again.
        let of = self.of(partition);
        *of.machine.borrow_mut() = machine;
        of.entries.borrow_mut().clear();
    }
}

const PARTITIONS: u16 = 2;

struct Node {
    committer: Committer,
    recorder: Rc<Recorder>,
    latch: Latch,
    _dir: DataDir,
}

impl Node {
    async fn start(fs: &Arc<dyn Fs>, path: &Path, options: &CommitterOptions) -> Result<Node, OpenError> {
        let dir = DataDir::open_with(
            Arc::clone(fs),
            path,
            PARTITIONS,
            &SeededEntropy::new(1),
            options.journal.clone(),
        );
        let dir =
            dir.map_err(|error| OpenError::Raft { partition: PartitionId(0), reason: error.to_string() })?;
        let latch = Latch::new();
        let committer = Committer::open(Arc::clone(fs), &dir, options.clone(), latch.clone())?;
        let recorder = Rc::new(Recorder::new(usize::from(PARTITIONS)));
        committer.recover(Rc::clone(&recorder) as Rc<dyn Applier>).await?;
        Ok(Node { committer, recorder, latch, _dir: dir })
    }

    fn append(&self, partition: u16, entry: &[u8]) {
        let partition = PartitionId(partition);
        self.recorder.of(partition).in_flight.borrow_mut().push_back(entry.to_vec());
        self.committer.append(partition, entry);
    }

    async fn commit(&self) -> Result<(), CommitError> {
        self.committer.commit(&*self.recorder).await
    }

    /// One entry for each partition, committed.
    async fn round(&self, name: &str) -> Result<(), CommitError> {
        for partition in 0..PARTITIONS {
            self.append(partition, format!("{name}.{partition}").as_bytes());
        }
        self.commit().await
    }

    fn entries(&self, partition: u16) -> Vec<String> {
        let entries = self.recorder.of(PartitionId(partition)).entries.borrow();
        entries.iter().map(|entry| String::from_utf8_lossy(entry).into_owned()).collect()
    }

    fn own(&self) -> u64 {
        self.recorder.partitions.iter().map(|of| of.own.get()).sum()
    }
}

fn options(replication: Replication) -> CommitterOptions {
    let journal = JournalOptions { file_bytes: 4096, zero_ahead_bytes: 1024, ..JournalOptions::default() };
    CommitterOptions { replication, flush: FlushPolicy::Inline, journal, ..CommitterOptions::default() }
}

fn names(rounds: std::ops::Range<u64>, partition: u16) -> Vec<String> {
    rounds.map(|round| format!("{round}.{partition}")).collect()
}

#[test]
fn a_round_of_all_partitions_costs_one_sync_and_is_found_again() {
    for flush in [FlushPolicy::Inline, FlushPolicy::Thread] {
        run(async {
            let sim = SimFs::new(1);
            let fs: Arc<dyn Fs> = Arc::new(sim.clone());
            let options =
                CommitterOptions { flush, journal: JournalOptions::default(), ..options(Replication::Raft) };
            let node = Node::start(&fs, Path::new("/data"), &options).await.unwrap();
            for round in 0..20u64 {
                let syncs = sim.syncs();
                node.round(&round.to_string()).await.unwrap();
                assert_eq!(sim.syncs(), syncs + 1);
                assert_eq!(node.entries(1).len() as u64, round + 1);
            }
            assert_eq!(node.own(), 40);
            node.committer.stop().await.unwrap();
            drop(node);
            sim.crash();
            let node = Node::start(&fs, Path::new("/data"), &options).await.unwrap();
            for partition in 0..PARTITIONS {
                assert_eq!(node.entries(partition), names(0..20, partition));
            }
            assert_eq!(node.own(), 0);
            node.round("20").await.unwrap();
            // The membership alone stands before the entries: a restart adds nothing.
            assert_eq!(node.recorder.applied(PartitionId(0)), LogIndex(22));
        });
    }
}

#[test]
fn a_directory_goes_from_local_to_raft_and_back() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let mut rounds = 0;
        for turn in 0..6 {
            let replication = if turn % 2 == 0 { Replication::Local } else { Replication::Raft };
            let node = Node::start(&fs, &path, &options(replication)).await.unwrap();
            for partition in 0..PARTITIONS {
                assert_eq!(node.entries(partition), names(0..rounds, partition), "turn {turn}");
            }
            for _ in 0..5 {
                node.round(&rounds.to_string()).await.unwrap();
                rounds += 1;
            }
            node.committer.stop().await.unwrap();
            assert!(!node.latch.is_tripped());
        }
    });
}

#[test]
fn a_checkpoint_shortens_the_journal_under_either_committer() {
    run(async {
        let sim = SimFs::new(1);
        let fs: Arc<dyn Fs> = Arc::new(sim.clone());
        let path = Path::new("/data");
        let mut rounds = 0;
        for turn in 0..6 {
            let replication = if turn % 3 == 2 { Replication::Local } else { Replication::Raft };
            let node = Node::start(&fs, path, &options(replication)).await.unwrap();
            for _ in 0..60 {
                node.round(&format!("{rounds}{}", " ".repeat(100))).await.unwrap();
                rounds += 1;
            }
            let files = sim.files().len();
            assert!(node.committer.bytes_since_checkpoint() > 10_000);
            node.committer.checkpoint(&*node.recorder).await.unwrap();
            assert!(node.committer.bytes_since_checkpoint() < 1000, "{turn}");
            assert!(sim.files().len() < files, "turn {turn}: {:?}", sim.files());
            // Nothing new: nothing to write.
            node.committer.checkpoint(&*node.recorder).await.unwrap();
            node.round("after").await.unwrap();
            let applied = node.recorder.applied(PartitionId(1));
            node.committer.rebuild(&*node.recorder).unwrap();
            assert_eq!(node.recorder.applied(PartitionId(1)), applied);
            node.round("rebuilt").await.unwrap();
            node.committer.stop().await.unwrap();
            drop(node);
            sim.crash();
            let node = Node::start(&fs, path, &options(replication)).await.unwrap();
            assert_eq!(node.entries(1), ["after.1", "rebuilt.1"], "turn {turn}");
            assert_eq!(node.recorder.applied(PartitionId(1)).0, applied.0 + 1);
            node.committer.checkpoint(&*node.recorder).await.unwrap();
            node.committer.stop().await.unwrap();
        }
    });
}

#[test]
fn a_failed_sync_acknowledges_nothing_and_trips_the_latch() {
    for flush in [FlushPolicy::Inline, FlushPolicy::Thread] {
        run(async {
            let sim = SimFs::new(1);
            let fs: Arc<dyn Fs> = Arc::new(sim.clone());
            let options = CommitterOptions { flush, ..options(Replication::Raft) };
            let node = Node::start(&fs, Path::new("/data"), &options).await.unwrap();
            node.round("0").await.unwrap();
            sim.set_faults(Faults { fail_sync: Some(sim.syncs() + 1), ..Faults::default() });
            let error = node.round("1").await.unwrap_err().to_string();
            assert!(error.contains("sync"), "{error}");
            assert!(node.latch.is_tripped());
            for _ in 0..3 {
                assert!(node.round("2").await.is_err());
            }
            assert_eq!(node.own(), 2);
            assert!(node.committer.checkpoint(&*node.recorder).await.is_err());
        });
    }
}

/// Rounds with checkpoints between, cut off at every operation: what was acknowledged is found again, in order
/// (S10, S11), and the group goes on.
#[test]
fn a_crash_at_every_operation_keeps_what_was_acknowledged() {
    for crash_at in 1.. {
        let failed = run(async {
            let sim = SimFs::new(crash_at);
            let fs: Arc<dyn Fs> = Arc::new(sim.clone());
            let path = Path::new("/data");
            let node = Node::start(&fs, path, &options(Replication::Raft)).await.unwrap();
            sim.set_faults(Faults {
                crash_at_operation: Some(sim.operations() + crash_at),
                ..Faults::default()
            });
            let mut acked = 0;
            let result = async {
                for round in 0..12u64 {
                    node.round(&format!("{round}{}", " ".repeat(300))).await?;
                    acked = round + 1;
                    if round % 5 == 4 {
                        node.committer.checkpoint(&*node.recorder).await?;
                    }
                }
                Ok::<(), CommitError>(())
            }
            .await;
            let failed = result.is_err();
            let _ = node.committer.stop().await;
            drop(node);
            sim.crash();
            let node = Node::start(&fs, path, &options(Replication::Raft)).await;
            let node = node.unwrap_or_else(|error| panic!("crash at {crash_at}: {error}"));
            for partition in 0..PARTITIONS {
                // The membership stands before the entries.
                let found = node.recorder.applied(PartitionId(partition)).0 - 1;
                assert!(found == acked || found == acked + 1, "crash at {crash_at}: {found}, {acked}");
                let kept = node.entries(partition);
                let first = found - kept.len() as u64;
                let expected = (first..found).map(|round| format!("{round}{}.{partition}", " ".repeat(300)));
                assert_eq!(kept, expected.collect::<Vec<_>>(), "crash at {crash_at}");
            }
            node.round("goes on").await.unwrap();
            node.committer.stop().await.unwrap();
            failed
        });
        if !failed {
            break;
        }
    }
}

/// The very first start, cut off at every operation, ends in a group that works.
#[test]
fn a_crash_while_a_group_is_founded_leaves_nothing_half_done() {
    for crash_at in 1.. {
        let failed = run(async {
            let sim = SimFs::new(crash_at);
            let fs: Arc<dyn Fs> = Arc::new(sim.clone());
            let path = Path::new("/data");
            let local = Node::start(&fs, path, &options(Replication::Local)).await.unwrap();
            local.round("0").await.unwrap();
            drop(local);
            sim.set_faults(Faults {
                crash_at_operation: Some(sim.operations() + crash_at),
                ..Faults::default()
            });
            let failed = Node::start(&fs, path, &options(Replication::Raft)).await.is_err();
            sim.crash();
            let node = Node::start(&fs, path, &options(Replication::Raft)).await.unwrap();
            assert_eq!(node.entries(1), ["0.1"]);
            node.round("1").await.unwrap();
            assert_eq!(node.recorder.applied(PartitionId(0)), LogIndex(3));
            node.committer.stop().await.unwrap();
            failed
        });
        if !failed {
            break;
        }
    }
}

#[test]
fn a_vote_that_is_not_won_is_won_by_an_election() {
    run(async {
        let sim = SimFs::new(1);
        let fs: Arc<dyn Fs> = Arc::new(sim.clone());
        let path = Path::new("/data");
        let node = Node::start(&fs, path, &options(Replication::Raft)).await.unwrap();
        node.round("0").await.unwrap();
        node.committer.stop().await.unwrap();
        let Committer::Raft(raft) = &node.committer else { unreachable!("started as Raft") };
        let vote = record::encode_vote(&Vote::new(4, node._dir.meta().node_id));
        raft.disk().journal().borrow_mut().append_vote(PartitionId(1), &vote);
        raft.disk().journal().borrow_mut().flush().unwrap();
        drop(node);
        let node = Node::start(&fs, path, &options(Replication::Raft)).await.unwrap();
        assert_eq!(node.entries(1), ["0.1"]);
        node.round("1").await.unwrap();
        // Membership, entry, the new term's blank, entry.
        assert_eq!(node.recorder.applied(PartitionId(1)), LogIndex(4));
        node.committer.stop().await.unwrap();
        drop(node);
        let node = Node::start(&fs, path, &options(Replication::Local)).await.unwrap();
        assert_eq!(node.entries(1), ["0.1", "1.1"]);
        node.round("2").await.unwrap();
        drop(node);
        let node = Node::start(&fs, path, &options(Replication::Raft)).await.unwrap();
        assert_eq!(node.recorder.applied(PartitionId(1)), LogIndex(5));
    });
}

#[test]
fn a_group_with_other_members_is_refused() {
    run(async {
        let fs: Arc<dyn Fs> = Arc::new(SimFs::new(1));
        let path = Path::new("/data");
        let node = Node::start(&fs, path, &options(Replication::Local)).await.unwrap();
        let Committer::Local(local) = &node.committer else { unreachable!("started as local") };
        let members = Membership::new_with_defaults(vec![BTreeSet::from([1, 2, 3])], []);
        let log_id = LogId { term: Term(1), index: LogIndex(1) };
        let payload = record::encode_membership(&members);
        let journal = local.disk().journal();
        journal.borrow_mut().append(PartitionId(0), log_id, RecordKind::Membership, &payload);
        journal.borrow_mut().flush().unwrap();
        drop(node);
        let error = Node::start(&fs, path, &options(Replication::Raft)).await.err().unwrap().to_string();
        assert!(error.contains("members on other nodes"), "{error}");
    });
}

#[test]
fn relaxed_durability_acknowledges_before_it_syncs() {
    run(async {
        let sim = SimFs::new(1);
        let fs: Arc<dyn Fs> = Arc::new(sim.clone());
        let durability = Durability::Relaxed { interval: Duration::ZERO };
        let options =
            CommitterOptions { durability, journal: JournalOptions::default(), ..options(Replication::Raft) };
        let node = Node::start(&fs, Path::new("/data"), &options).await.unwrap();
        let syncs = sim.syncs();
        node.round("0").await.unwrap();
        assert_eq!((sim.syncs(), node.own()), (syncs, 2));
        node.committer.sync_if_due().await.unwrap();
        assert_eq!(sim.syncs(), syncs + 1);
    });
}

#[test]
fn a_commit_that_is_dropped_is_finished_by_the_next_one() {
    run(async {
        let fs: Arc<dyn Fs> = Arc::new(SimFs::new(1));
        let node = Node::start(&fs, Path::new("/data"), &options(Replication::Raft)).await.unwrap();
        node.append(0, b"a");
        let mut commit = std::pin::pin!(node.commit());
        let polled = std::future::poll_fn(|context| Poll::Ready(commit.as_mut().poll(context))).await;
        assert!(polled.is_pending());
        node.append(0, b"b");
        node.commit().await.unwrap();
        assert_eq!(node.entries(0), ["a", "b"]);
    });
}

#[test]
fn a_checkpoint_that_finds_no_space_leaves_the_group_at_work() {
    run(async {
        let sim = SimFs::new(1);
        let fs: Arc<dyn Fs> = Arc::new(sim.clone());
        let path = Path::new("/data");
        let node = Node::start(&fs, path, &options(Replication::Raft)).await.unwrap();
        node.round("0").await.unwrap();
        sim.set_faults(Faults { full_at_write: Some(sim.writes() + 1), ..Faults::default() });
        let full = node.committer.checkpoint(&*node.recorder).await;
        assert!(matches!(full, Err(CommitError::Checkpoint(_))), "{full:?}");
        assert!(!node.latch.is_tripped());
        sim.set_faults(Faults::default());
        node.round("1").await.unwrap();
        node.committer.checkpoint(&*node.recorder).await.unwrap();
        node.round("2").await.unwrap();
        node.committer.stop().await.unwrap();
        drop(node);
        let node = Node::start(&fs, path, &options(Replication::Raft)).await.unwrap();
        assert_eq!(node.entries(0), ["2.0"]);
    });
}
