//! The committer as a whole, over real and simulated files.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::config::config::{FlushPolicy, Replication};
use crate::env::entropy::SeededEntropy;
use crate::env::fs::{Fs, RealFs};
use crate::env::sim_fs::{Faults, SimFs};
use crate::model::log::{LogId, LogIndex, PartitionId, Term};
use crate::replication::committer::{CommitError, Committer, CommitterOptions, Durability};
use crate::replication::raft::committer::RaftCommitter;
use crate::replication::raft::record;
use crate::replication::raft::types::{Membership, Vote};
use crate::replication::testing::{PARTITIONS, TestNode as Node, run};
use crate::storage::data_dir::{DataDir, DataDirError, DataDirOptions};
use crate::storage::journal::options::JournalOptions;
use crate::storage::journal::record::RecordKind;
use crate::storage::meta::{ClusterId, Role};

fn raft(node: &Node) -> &RaftCommitter {
    match &node.committer {
        Committer::Raft(raft) => raft,
        _ => unreachable!("started as Raft"),
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
                assert_eq!(node.names(1).len() as u64, round + 1);
            }
            assert_eq!(node.own(), 40);
            node.committer.stop().await.unwrap();
            drop(node);
            sim.crash();
            let node = Node::start(&fs, Path::new("/data"), &options).await.unwrap();
            for partition in 0..PARTITIONS {
                assert_eq!(node.names(partition), names(0..20, partition));
            }
            assert_eq!(node.own(), 0);
            node.round("20").await.unwrap();
            // Only the membership precedes the entries: a restart adds nothing.
            assert_eq!(node.applied(0), LogIndex(22));
        });
    }
}

/// A node without a cluster founds one, if it starts with Raft from now on.
fn found_if_due(fs: &Arc<dyn Fs>, path: &Path, replication: Replication) -> Result<(), DataDirError> {
    if replication == Replication::Local {
        return Ok(());
    }
    let journal = options(replication).journal;
    let of_dir = DataDirOptions { journal, ..DataDirOptions::solo(PARTITIONS) };
    match DataDir::open(Arc::clone(fs), path, of_dir, &SeededEntropy::new(1)) {
        Ok(mut solo) => solo.change_role(Role::Member(ClusterId(7))),
        Err(DataDirError::Role { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

#[test]
fn a_directory_goes_from_local_to_raft_and_not_back() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let mut rounds = 0;
        for turn in 0..6 {
            let replication = if turn < 3 { Replication::Local } else { Replication::Raft };
            found_if_due(&fs, &path, replication).unwrap();
            let node = Node::start(&fs, &path, &options(replication)).await.unwrap();
            for partition in 0..PARTITIONS {
                assert_eq!(node.names(partition), names(0..rounds, partition), "turn {turn}");
            }
            for _ in 0..5 {
                node.round(&rounds.to_string()).await.unwrap();
                rounds += 1;
            }
            node.committer.stop().await.unwrap();
            assert!(!node.latch.is_tripped());
        }
        let refused = Node::start(&fs, &path, &options(Replication::Local)).await.err().unwrap().to_string();
        assert!(refused.contains("a member of the cluster"), "{refused}");
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
            let replication = if turn < 2 { Replication::Local } else { Replication::Raft };
            found_if_due(&fs, path, replication).unwrap();
            let node = Node::start(&fs, path, &options(replication)).await.unwrap();
            for _ in 0..60 {
                node.round(&format!("{rounds}{}", " ".repeat(100))).await.unwrap();
                rounds += 1;
            }
            let files = sim.files().len();
            assert!(node.committer.bytes_since_checkpoint() > 10_000);
            node.checkpoint().await.unwrap();
            assert!(node.committer.bytes_since_checkpoint() < 1000, "{turn}");
            assert!(sim.files().len() < files, "turn {turn}: {:?}", sim.files());
            // Nothing has changed, so nothing is written.
            node.checkpoint().await.unwrap();
            node.round("after").await.unwrap();
            let applied = node.applied(1);
            *node.machines.borrow_mut() = node.committer.rebuild().unwrap();
            assert_eq!(node.applied(1), applied);
            node.round("rebuilt").await.unwrap();
            node.committer.stop().await.unwrap();
            drop(node);
            sim.crash();
            let node = Node::start(&fs, path, &options(replication)).await.unwrap();
            assert!(node.names(1).ends_with(&["after.1".into(), "rebuilt.1".into()]), "turn {turn}");
            assert_eq!(node.applied(1).0, applied.0 + 1);
            node.checkpoint().await.unwrap();
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
            assert!(node.checkpoint().await.is_err());
        });
    }
}

/// Rounds with checkpoints between them, cut off at every operation: every acknowledged entry is found again,
/// in order (docs/reliability.md S10, S11), and the group continues.
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
                        node.checkpoint().await?;
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
                // The membership precedes the entries.
                let found = node.applied(partition).0 - 1;
                assert!(found == acked || found == acked + 1, "crash at {crash_at}: {found}, {acked}");
                let kept = node.names(partition);
                let expected = (0..found).map(|round| format!("{round}{}.{partition}", " ".repeat(300)));
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

/// The very first start, cut off at every operation, ends in a working group.
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
            let failed = found_if_due(&fs, path, Replication::Raft).is_err()
                || Node::start(&fs, path, &options(Replication::Raft)).await.is_err();
            sim.crash();
            found_if_due(&fs, path, Replication::Raft).unwrap();
            let node = Node::start(&fs, path, &options(Replication::Raft)).await.unwrap();
            assert_eq!(node.names(1), ["0.1"]);
            node.round("1").await.unwrap();
            assert_eq!(node.applied(0), LogIndex(3));
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
        let raft = raft(&node);
        let vote = record::encode_vote(&Vote::new(4, node.dir.meta().node_id));
        raft.durable_log().journal().borrow_mut().append_vote(PartitionId(1), &vote);
        raft.durable_log().journal().borrow_mut().flush().unwrap();
        drop(node);
        let node = Node::start(&fs, path, &options(Replication::Raft)).await.unwrap();
        assert_eq!(node.names(1), ["0.1"]);
        node.round("1").await.unwrap();
        // Membership, entry, the new term's blank, entry.
        assert_eq!(node.applied(1), LogIndex(4));
        node.committer.stop().await.unwrap();
        drop(node);
        let node = Node::start(&fs, path, &options(Replication::Raft)).await.unwrap();
        assert_eq!(node.names(1), ["0.1", "1.1"]);
        node.round("2").await.unwrap();
        assert_eq!(node.applied(1), LogIndex(5));
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
        let journal = local.durable_log().journal();
        journal.borrow_mut().append(PartitionId(0), log_id, RecordKind::Membership, &payload);
        journal.borrow_mut().flush().unwrap();
        drop(node);
        found_if_due(&fs, path, Replication::Raft).unwrap();
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
fn events_may_be_dropped_while_they_wait() {
    run(async {
        let fs: Arc<dyn Fs> = Arc::new(SimFs::new(1));
        let node = Node::start(&fs, Path::new("/data"), &options(Replication::Raft)).await.unwrap();
        node.propose(0, "a");
        {
            let mut events = std::pin::pin!(node.committer.next_events());
            let polled = std::future::poll_fn(|context| Poll::Ready(events.as_mut().poll(context))).await;
            assert!(polled.is_pending());
        }
        node.propose(0, "b");
        node.commit().await.unwrap();
        assert_eq!(node.names(0), ["a", "b"]);
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
        let full = node.checkpoint().await;
        assert!(matches!(full, Err(CommitError::Checkpoint(_))), "{full:?}");
        assert!(!node.latch.is_tripped());
        sim.set_faults(Faults::default());
        node.round("1").await.unwrap();
        node.checkpoint().await.unwrap();
        node.round("2").await.unwrap();
        node.committer.stop().await.unwrap();
        drop(node);
        let node = Node::start(&fs, path, &options(Replication::Raft)).await.unwrap();
        assert_eq!(node.names(0), ["0.0", "1.0", "2.0"]);
    });
}
