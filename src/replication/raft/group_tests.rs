//! Recovery and snapshot install over a journal and a checkpoint, without openraft's own tasks.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;
use std::task::Poll;

use openraft::RaftLogReader;
use openraft::storage::{IOFlushed, RaftLogStorage, RaftStateMachine};

use super::*;
use crate::base::latch::Latch;
use crate::env::clock::SystemClock;
use crate::env::entropy::SeededEntropy;
use crate::env::fs::Fs;
use crate::env::sim_fs::{Faults, SimFs};
use crate::env::threads::RealThreads;
use crate::model::log::LogIndex;
use crate::replication::committer::CommitterOptions;
use crate::replication::event::CommitEvent;
use crate::replication::raft::snapshot::SnapshotData;
use crate::replication::raft::types::{Batch, CommittedLeaderId, Entry, RaftLogId, SnapshotMeta};
use crate::replication::testing::{entry, names, run};
use crate::state::image::MachineImage;
use crate::storage::data_dir::{DataDir, DataDirOptions};
use crate::storage::journal::options::JournalOptions;

const P: PartitionId = PartitionId(0);
const NODE: u64 = 1;

/// The parts of a partition, as in [`Group::open`].
struct Parts {
    durable_log: Rc<DurableLog>,
    outbox: Rc<Outbox>,
    applied: Rc<Applied>,
    store: LogStore,
    log: Rc<GroupLog>,
    _dir: DataDir,
}

fn parts(sim: &SimFs) -> Parts {
    let fs: Arc<dyn Fs> = Arc::new(sim.clone());
    let journal = JournalOptions { tail_bytes_max: 1 << 20, ..JournalOptions::default() };
    let options = DataDirOptions { journal, ..DataDirOptions::solo(1) };
    let dir = DataDir::open(Arc::clone(&fs), Path::new("/data"), options, &SeededEntropy::new(1)).unwrap();
    let latch = Latch::new();
    let clock = Arc::new(SystemClock::new());
    let durable_log =
        DurableLog::open(fs, clock, Arc::new(RealThreads), &dir, CommitterOptions::default(), latch.clone())
            .unwrap();
    let (durable_log, outbox) = (Rc::new(durable_log), Rc::new(Outbox::new(latch)));
    let flushes = Flushes::start(Rc::clone(&durable_log), Rc::clone(&outbox));
    let log = GroupLog::new(NODE, P, flushes);
    let applied = Applied::new(Rc::clone(&log), Rc::clone(&outbox));
    Parts { durable_log, outbox, applied, store: LogStore::new(Rc::clone(&log)), log, _dir: dir }
}

impl Parts {
    fn recover(&self) -> Machine {
        Recovery { node: NODE, durable_log: &self.durable_log, applied: &self.applied }
            .recover()
            .unwrap()
            .machine
    }

    fn append(&self, term: u64, kind: RecordKind, payload: &[u8]) -> LogId {
        let mut journal = self.durable_log.journal().borrow_mut();
        let log_id = LogId { term: Term(term), index: journal.log(P).last().index.next() };
        journal.append(P, log_id, kind, payload);
        log_id
    }

    fn append_members(&self, nodes: &[u64]) {
        let members = Membership::new_with_defaults(vec![nodes.iter().copied().collect::<BTreeSet<_>>()], []);
        self.append(1, RecordKind::Membership, &record::encode_membership(&members));
    }

    fn append_names(&self, names: &[&str]) {
        for name in names {
            self.append(1, RecordKind::Entry, &entry(name));
        }
    }

    fn flush(&self) {
        self.durable_log.journal().borrow_mut().flush().unwrap();
    }
}

/// With several voters only entries known as committed are applied; a sole voter applies all durable entries.
#[test]
fn a_restart_applies_what_is_known_as_committed() {
    for (members, committed, expected) in [
        (&[NODE][..], 0, vec!["a", "b", "c"]),
        (&[NODE, 2, 3], 3, vec!["a"]),
        (&[NODE, 2, 3], 4, vec!["a", "b"]),
        (&[NODE, 2, 3], 0, vec![]),
        (&[2], 3, vec!["a"]),
    ] {
        run(async {
            let sim = SimFs::new(1);
            let parts = self::parts(&sim);
            parts.append_names(&["a"]);
            parts.append_members(members);
            parts.append_names(&["b", "c"]);
            // The membership is at index 2.
            let index = if committed == 3 { 1 } else { committed.max(1) - 1 };
            if committed > 0 {
                let committed = LogId { term: Term(1), index: LogIndex(index) };
                parts.durable_log.journal().borrow_mut().append_committed(P, committed);
            }
            parts.flush();
            drop(parts);
            sim.crash();
            let parts = self::parts(&sim);
            let machine = parts.recover();
            assert_eq!(names(&machine), expected, "{members:?} {committed}");
            assert_eq!(record::from_raft_option(parts.applied.last().as_ref()).index, machine.applied());
        });
    }
}

/// The membership in force is the newest of the log, committed or not.
#[test]
fn a_membership_that_was_truncated_is_not_in_force() {
    run(async {
        let sim = SimFs::new(1);
        let mut parts = self::parts(&sim);
        parts.append_members(&[NODE]);
        parts.append_names(&["a", "b"]);
        parts.append_members(&[NODE, 2]);
        parts.append_names(&["c"]);
        parts.flush();
        assert!(names(&parts.recover()).is_empty());
        parts.store.truncate_after(Some(RaftLogId::new(CommittedLeaderId::new(1), 2))).await.unwrap();
        parts.flush();
        drop(parts);
        sim.crash();
        assert_eq!(names(&self::parts(&sim).recover()), ["a", "b"]);
    });
}

/// A node that gains a second member records what it has committed alone, and every commit after that.
#[test]
fn what_is_committed_is_written_down_once_the_node_is_not_alone() {
    run(async {
        let sim = SimFs::new(1);
        let mut parts = self::parts(&sim);
        let raft_log_id = |index| RaftLogId::new(CommittedLeaderId::new(1), index);
        let sole = Membership::new_with_defaults(vec![BTreeSet::from([NODE])], []);
        let two = Membership::new_with_defaults(vec![BTreeSet::from([NODE, 2])], []);
        let payloads = [
            EntryPayload::Membership(sole),
            EntryPayload::Normal(Batch(entry("a"))),
            EntryPayload::Membership(two),
            EntryPayload::Normal(Batch(entry("b"))),
            EntryPayload::Normal(Batch(entry("c"))),
        ];
        for (index, payload) in (0..).zip(payloads) {
            let appended = Entry { log_id: raft_log_id(index), payload };
            parts.store.append([appended], IOFlushed::noop()).await.unwrap();
            if index != 4 {
                parts.store.save_committed(Some(raft_log_id(index.min(3)))).await.unwrap();
            }
            let known = parts.store.read_committed().await.unwrap().map(|log_id| log_id.index);
            assert_eq!(known, [None, None, Some(2), Some(3), Some(3)][index as usize], "{index}");
        }
        parts.flush();
        drop(parts);
        sim.crash();
        assert_eq!(names(&self::parts(&sim).recover()), ["a", "b"]);
    });
}

/// A snapshot of another history is installed over entries that were never committed, cut off at every
/// operation: recovery finds the old state or the new one, and never the end of the old log on top of the new
/// state.
#[test]
fn a_crash_within_an_install_leaves_one_history() {
    let new = ["one", "two", "three", "four"];
    let mut seen = BTreeSet::new();
    for truncates in [false, true] {
        for crash_at in 1.. {
            let failed = run(async {
                let sender = SimFs::new(1);
                let other = self::parts(&sender);
                for name in new {
                    other.append(2, RecordKind::Entry, &entry(name));
                }
                let machine = other.recover();
                let meta = SnapshotMeta {
                    last_log_id: other.applied.last(),
                    last_membership: StoredMembership::default(),
                };
                let checkpoint = snapshot::checkpoint_meta(P, &meta);
                other.durable_log.write_checkpoint(checkpoint, MachineImage::of(&machine)).await.unwrap();

                let sim = SimFs::new(crash_at);
                let mut parts = self::parts(&sim);
                parts.append_members(&[NODE, 2, 3]);
                parts.append_names(&["2", "3", "4", "5", "6"]);
                parts.flush();
                let engine = RefCell::new(parts.recover());
                sim.set_faults(Faults {
                    crash_at_operation: Some(sim.operations() + crash_at),
                    ..Faults::default()
                });
                if truncates {
                    let keep = RaftLogId::new(CommittedLeaderId::new(1), 2);
                    parts.store.truncate_after(Some(keep)).await.unwrap();
                }
                let mut state_machine = StateMachine::new(Rc::clone(&parts.applied));
                let data = SnapshotData::new(other.durable_log.checkpoints(), P);
                let apply = async {
                    for event in parts.outbox.take().await.unwrap_or_default() {
                        let index = event.applied().unwrap();
                        let CommitEvent::Installed { machine, .. } = event else {
                            panic!("{event:?}");
                        };
                        *engine.borrow_mut() = machine;
                        parts.applied.applied(index);
                    }
                    std::future::pending::<()>().await;
                };
                let failed = tokio::select! {
                    result = state_machine.install_snapshot(&meta, data) => result.is_err(),
                    () = apply => unreachable!("it waits for ever"),
                };
                if !failed {
                    assert_eq!(names(&engine.borrow()), new);
                }
                drop(parts);
                sim.crash();
                let parts = self::parts(&sim);
                let found = names(&parts.recover());
                assert!(found == new || found.is_empty(), "crash at {crash_at}: {found:?}");
                assert!(failed || found == new);
                let last = parts.durable_log.journal().borrow().log(P).last();
                assert_eq!(last.term, Term(if found.is_empty() { 1 } else { 2 }), "crash at {crash_at}");
                seen.insert(found.len());
                failed
            });
            if !failed {
                break;
            }
        }
    }
    assert_eq!(seen, BTreeSet::from([0, 4]));
}

/// Long entries are read in pieces, the newest of them from memory; while openraft starts, only their heads.
#[test]
fn reads_of_the_log_are_bounded_in_bytes() {
    run(async {
        let sim = SimFs::new(1);
        let mut parts = self::parts(&sim);
        let long = vec![7; 300 << 10];
        parts.append_members(&[NODE]);
        for _ in 0..20 {
            parts.append(1, RecordKind::Entry, &long);
        }
        parts.flush();
        let first = parts.store.limited_get_log_entries(0, 21).await.unwrap();
        assert_eq!(first.len(), 4, "a membership and a MiB");
        use futures_util::StreamExt;
        let stream = parts.store.entries_stream(3..21).await;
        let indexes: Vec<u64> = stream.map(|entry| entry.unwrap().log_id.index).collect().await;
        assert_eq!(indexes, (3..21).collect::<Vec<_>>());

        parts.log.set_opening(true);
        let heads = parts.store.try_get_log_entries(..).await.unwrap();
        assert_eq!(heads.len(), 21);
        assert!(matches!(heads[0].payload, EntryPayload::Membership(_)));
        assert!(heads[1..].iter().all(|head| matches!(head.payload, EntryPayload::Blank)));
        parts.log.set_opening(false);
        let whole = parts.store.try_get_log_entries(20..).await.unwrap();
        assert!(matches!(&whole[0].payload, EntryPayload::Normal(batch) if batch.0 == long));
    });
}

/// openraft applies any number of entries at once; the engine receives only a few MiB beyond what it has
/// applied.
#[test]
fn entries_are_handed_out_no_faster_than_they_are_applied() {
    run(async {
        let sim = SimFs::new(1);
        let parts = self::parts(&sim);
        let long = entry(&" ".repeat(1 << 20));
        let entries = (0..10).map(|index| {
            let log_id = RaftLogId::new(CommittedLeaderId::new(1), index);
            Ok((Entry { log_id, payload: EntryPayload::Normal(Batch(long.clone())) }, None))
        });
        let mut state_machine = StateMachine::new(Rc::clone(&parts.applied));
        let mut apply = std::pin::pin!(state_machine.apply(futures_util::stream::iter(entries)));
        let mut told = Vec::new();
        loop {
            let polled = std::future::poll_fn(|context| Poll::Ready(apply.as_mut().poll(context))).await;
            if let Poll::Ready(result) = polled {
                result.unwrap();
                break;
            }
            let events = parts.outbox.take().await.unwrap();
            told.push(events.len());
            parts.applied.applied(events.last().unwrap().applied().unwrap());
        }
        assert_eq!(told, [4, 4, 2]);
    });
}
