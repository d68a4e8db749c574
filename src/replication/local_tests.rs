//! The local committer over a simulated disk.

use std::path::Path;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::*;
use crate::config::config::FlushPolicy;
use crate::env::fs::Fs;
use crate::env::sim_fs::{Faults, SimFs};
use crate::replication::committer::{Committer, CommitterOptions};
use crate::replication::testing::{PARTITIONS, TestNode, entry, image, run};
use crate::storage::journal::options::JournalOptions;

fn start(fs: &SimFs, options: &CommitterOptions) -> Result<TestNode, OpenError> {
    let fs: Arc<dyn Fs> = Arc::new(fs.clone());
    run(TestNode::start(&fs, Path::new("/data"), options))
}

fn local(node: &TestNode) -> &LocalCommitter {
    match &node.committer {
        Committer::Local(local) => local,
        _ => unreachable!("started as local"),
    }
}

fn options(durability: Durability, flush: FlushPolicy) -> CommitterOptions {
    let journal = JournalOptions { file_bytes: 4096, zero_ahead_bytes: 1024, ..JournalOptions::default() };
    CommitterOptions { durability, flush, journal, ..CommitterOptions::default() }
}

fn partition(number: u64) -> u16 {
    (number % u64::from(PARTITIONS)) as u16
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
                    node.propose(partition(number), &format!("{round}.{number}"));
                }
                assert_eq!(node.own() as u64, round * 3);
                let syncs = fs.syncs();
                node.commit().await.unwrap();
                assert_eq!(node.own() as u64, round * 3 + 3);
                assert!(fs.syncs() > syncs);
            }
        });
        let names = [node.names(0), node.names(1)];
        assert_eq!(names[1], ["0.1", "1.1", "2.1", "3.1", "4.1"]);
        assert_eq!(names[0].len(), 10);
        drop(node);
        fs.crash();
        let node = start(&fs, &options).unwrap();
        assert_eq!([node.names(0), node.names(1)], names);
    }
}

#[test]
fn everything_that_is_proposed_costs_one_sync_and_comes_back_as_it_is() {
    let fs = SimFs::new(1);
    let options = CommitterOptions {
        journal: JournalOptions::default(),
        ..options(Durability::Fsync, FlushPolicy::Inline)
    };
    let node = start(&fs, &options).unwrap();
    run(async {
        let proposed: Vec<Bytes> = (0..20).map(|number: u64| entry(&number.to_string())).collect();
        for (number, entry) in (0..).zip(&proposed) {
            let of = PartitionId(partition(number));
            node.committer.propose(of, ProposalId(number + 1), entry.clone());
        }
        let syncs = fs.syncs();
        let events = node.committer.next_events().await.unwrap();
        assert_eq!((fs.syncs(), events.len()), (syncs + 1, 20));
        for (number, (event, entry)) in (0..).zip(events.iter().zip(&proposed)) {
            let CommitEvent::Committed { partition: of, log_id, payload: Payload::Entry(bytes), proposal } =
                event
            else {
                panic!("{event:?}");
            };
            assert_eq!((*of, *proposal), (PartitionId(partition(number)), Some(ProposalId(number + 1))));
            assert_eq!(log_id.index.0, number / u64::from(PARTITIONS) + 1);
            assert_eq!(bytes.as_ptr(), entry.as_ptr(), "the very bytes");
        }
    });
}

/// Somebody else's sync kept the proposals out: its end has to be heard.
#[test]
fn the_end_of_a_sync_makes_room() {
    let node = start(&SimFs::new(1), &options(Durability::Fsync, FlushPolicy::Thread)).unwrap();
    run(async {
        let events = loop {
            node.propose(0, "a");
            let mut events = Box::pin(node.committer.next_events());
            match std::future::poll_fn(|context| Poll::Ready(events.as_mut().poll(context))).await {
                Poll::Pending => break events,
                // The flusher was quicker than the look at it.
                Poll::Ready(events) => node.take(events.unwrap()),
            }
        };
        assert!(!node.committer.has_room(PartitionId(0)));
        let room = node.committer.room_made();
        let both = async { tokio::join!(room, events) };
        let ((), events) = tokio::time::timeout(Duration::from_secs(60), both).await.expect("room is told");
        node.take(events.unwrap());
        assert!(node.committer.has_room(PartitionId(0)));
    });
}

/// Dropped while the flusher syncs: the sync continues, and the next call gets its outcome.
#[test]
fn events_may_be_dropped_while_they_wait() {
    let fs = SimFs::new(1);
    let node = start(&fs, &options(Durability::Fsync, FlushPolicy::Thread)).unwrap();
    // Without tokio's budget, at whose end a lock that is free is pending.
    run(tokio::task::unconstrained(async {
        let poll_once = async || {
            let mut events = std::pin::pin!(node.committer.next_events());
            std::future::poll_fn(|context| Poll::Ready(events.as_mut().poll(context))).await
        };
        assert!(poll_once().await.is_pending(), "nothing is proposed");
        assert!(node.committer.has_room(PartitionId(0)));
        let syncs = fs.syncs();
        let mut dropped = 0;
        for number in 0..100u64 {
            node.propose(partition(number), &number.to_string());
            match poll_once().await {
                Poll::Ready(events) => node.take(events.unwrap()),
                Poll::Pending => {
                    assert!(!node.committer.has_room(PartitionId(0)));
                    dropped += 1;
                }
            }
        }
        node.commit().await.unwrap();
        assert_eq!(node.own(), 100);
        assert!(dropped > 0 && node.committer.has_room(PartitionId(0)));
        // A change of files costs two or three more.
        let files = node.committer.bytes_since_checkpoint() / 4096 + 1;
        assert!(fs.syncs() <= syncs + 100 + 3 * files, "no sync is made twice");
    }));
}

#[test]
fn a_failed_sync_applies_nothing_and_trips_the_latch() {
    for flush in [FlushPolicy::Inline, FlushPolicy::Thread] {
        let fs = SimFs::new(1);
        let node = start(&fs, &options(Durability::Fsync, flush)).unwrap();
        run(async {
            node.propose(0, "first");
            node.commit().await.unwrap();
            fs.set_faults(Faults { fail_sync: Some(fs.syncs() + 1), ..Faults::default() });
            node.propose(0, "second");
            assert!(node.commit().await.is_err());
            assert!(node.latch.is_tripped());
            for _ in 0..3 {
                node.propose(0, "third");
                assert!(matches!(node.commit().await, Err(CommitError::Stopped { .. })));
            }
            assert!(node.committer.sync().await.is_err());
        });
        assert_eq!(node.own(), 1);
    }
}

#[test]
fn relaxed_durability_acknowledges_before_it_syncs_and_a_stop_syncs() {
    let fs = SimFs::new(3);
    let relaxed = options(Durability::Relaxed { interval: Duration::ZERO }, FlushPolicy::Inline);
    let node = start(&fs, &relaxed).unwrap();
    run(async {
        node.propose(0, "a");
        let syncs = fs.syncs();
        node.commit().await.unwrap();
        assert_eq!((fs.syncs(), node.own()), (syncs, 1));
        assert_eq!(node.committer.sync_due_in(), Some(Duration::ZERO));
        node.committer.sync_if_due().await.unwrap();
        assert_eq!(fs.syncs(), syncs + 1);
        node.propose(0, "b");
        node.commit().await.unwrap();
        node.committer.stop().await.unwrap();
    });
    drop(node);
    fs.crash();
    assert_eq!(start(&fs, &relaxed).unwrap().names(0), ["a", "b"]);
}

#[test]
fn a_checkpoint_shortens_the_journal_and_the_restart() {
    let fs = SimFs::new(1);
    let options = options(Durability::Fsync, FlushPolicy::Inline);
    let node = start(&fs, &options).unwrap();
    run(async {
        for number in 0..100 {
            node.propose(partition(number), &"x".repeat(200));
            node.commit().await.unwrap();
        }
        let files = fs.files().len();
        assert!(node.committer.bytes_since_checkpoint() > 20_000);
        node.checkpoint().await.unwrap();
        assert!(node.committer.bytes_since_checkpoint() < 500);
        assert!(fs.files().len() < files);
        node.propose(1, "after");
        node.commit().await.unwrap();
    });
    let images: Vec<Vec<u8>> = node.machines.borrow().iter().map(image).collect();
    drop(node);
    fs.crash();
    let node = start(&fs, &options).unwrap();
    assert_eq!(node.machines.borrow().iter().map(image).collect::<Vec<_>>(), images);
    let journal = local(&node).durable_log.journal().borrow();
    let entries = journal.log(PartitionId(1)).last().index.0 - journal.log(PartitionId(1)).purged().index.0;
    assert_eq!(entries, 1, "one entry stands behind the checkpoint");
    drop(journal);
    assert_eq!(node.committer.rebuild().unwrap().iter().map(image).collect::<Vec<_>>(), images);
}

#[test]
fn a_lost_checkpoint_is_refused() {
    let fs = SimFs::new(1);
    let options = options(Durability::Fsync, FlushPolicy::Inline);
    let node = start(&fs, &options).unwrap();
    run(async {
        node.propose(0, "a");
        node.commit().await.unwrap();
        node.checkpoint().await.unwrap();
    });
    drop(node);
    let checkpoint = fs.files().into_iter().find(|path| path.starts_with("/data/checkpoint")).unwrap();
    let damaged = fs.fork(1);
    damaged.damage(&checkpoint, |bytes| bytes[20] ^= 1);
    assert!(matches!(start(&damaged, &options).err(), Some(OpenError::Checkpoint(_))));
    fs.remove_file(&checkpoint).unwrap();
    assert!(matches!(start(&fs, &options).err(), Some(OpenError::CheckpointMissing { .. })));
}

/// Zeros to the very end look like writes that never arrived, but the checkpoint knows of later entries.
#[test]
fn a_journal_that_ends_before_its_checkpoint_is_refused() {
    let options = options(Durability::Fsync, FlushPolicy::Inline);
    let fs = SimFs::new(1);
    let node = start(&fs, &options).unwrap();
    run(async {
        node.round("kept").await.unwrap();
        let kept = node.committer.bytes_since_checkpoint();
        node.round(&"x".repeat(800)).await.unwrap();
        node.round("later").await.unwrap();
        node.checkpoint().await.unwrap();
        drop(node);
        let journal = fs.files().into_iter().find(|path| path.starts_with("/data/journal")).unwrap();
        fs.damage(&journal, |bytes| {
            let from = (64 + kept as usize).next_multiple_of(512);
            bytes[from..].fill(0);
        });
    });
    let error = start(&fs, &options).map(|_| "a start").unwrap_err().to_string();
    assert!(error.contains("its end was lost"), "{error}");
}

/// Rounds with checkpoints between them, cut off at every operation: every applied entry is found again, in
/// order (docs/reliability.md S10, S11).
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
            let name = |round: u64| format!("{round}{}", " ".repeat(160));
            let failed = run(async {
                for round in 0..30u64 {
                    node.propose(partition(round), &name(round));
                    node.commit().await?;
                    if round % 7 == 6 {
                        node.checkpoint().await?;
                    }
                }
                Ok::<(), CommitError>(())
            })
            .is_err();
            let applied: Vec<u64> = (0..PARTITIONS).map(|number| node.applied(number).0).collect();
            drop(node);
            fs.crash();
            let node = start(&fs, &options).unwrap_or_else(|error| panic!("crash at {crash_at}: {error}"));
            for number in 0..PARTITIONS {
                let found = node.applied(number).0;
                if durability == Durability::Fsync {
                    assert!(found >= applied[usize::from(number)], "crash at {crash_at}");
                }
                assert!(found <= applied[usize::from(number)] + 1, "crash at {crash_at}");
                let rounds = (0..found).map(|at| at * u64::from(PARTITIONS) + u64::from(number));
                assert_eq!(node.names(number), rounds.map(name).collect::<Vec<_>>(), "crash at {crash_at}");
            }
            run(async {
                node.propose(0, "goes on");
                node.commit().await.unwrap();
            });
            if !failed {
                break;
            }
        }
    }
}
