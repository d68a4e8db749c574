//! The scripted committer itself, with a small engine on top.

use std::collections::{BTreeMap, BTreeSet};
use std::task::Poll;

use super::*;
use crate::replication::committer::Committer;
use crate::replication::testing::{entry, image, names};

const P: PartitionId = PartitionId(0);

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// The engine's handling of events, and the ends of its proposals.
struct Engine {
    committer: Committer,
    machines: Vec<Machine>,
    proposed: u64,
    committed: BTreeSet<ProposalId>,
    refused: BTreeSet<ProposalId>,
    unknown: BTreeSet<ProposalId>,
    installs: usize,
}

impl Engine {
    fn new(committer: ScriptedCommitter) -> Engine {
        Engine {
            machines: committer.recover(),
            committer: Committer::Scripted(committer),
            proposed: 0,
            committed: BTreeSet::new(),
            refused: BTreeSet::new(),
            unknown: BTreeSet::new(),
            installs: 0,
        }
    }

    fn script(&self) -> &ScriptedCommitter {
        match &self.committer {
            Committer::Scripted(scripted) => scripted,
            _ => unreachable!("made with a script"),
        }
    }

    fn propose(&mut self, partition: PartitionId) -> ProposalId {
        self.proposed += 1;
        let proposal = ProposalId(self.proposed);
        self.committer.propose(partition, proposal, entry(&self.proposed.to_string()));
        proposal
    }

    fn take(&mut self, events: Vec<CommitEvent>) {
        for event in events {
            let (partition, applied) = (event.partition(), event.applied());
            let machine = &mut self.machines[usize::from(partition.0)];
            if let Some(proposal) = event.ended() {
                let sets = [&self.committed, &self.refused, &self.unknown];
                assert!(sets.iter().all(|set| !set.contains(&proposal)), "{proposal:?} ends twice");
            }
            match event {
                CommitEvent::Committed { log_id, payload: Payload::Blank, .. } => machine.skip(log_id.index),
                CommitEvent::Committed { log_id, payload: Payload::Entry(entry), proposal, .. } => {
                    replay::apply(machine, log_id.index, &entry).unwrap();
                    self.committed.extend(proposal);
                }
                CommitEvent::Refused { proposal, .. } => _ = self.refused.insert(proposal),
                CommitEvent::Unknown { proposal, .. } => _ = self.unknown.insert(proposal),
                CommitEvent::Installed { machine: installed, .. } => {
                    assert!(installed.applied() > machine.applied());
                    *machine = installed;
                    self.installs += 1;
                }
                CommitEvent::GroupFailed { .. } => {}
            }
            if let Some(index) = applied {
                self.committer.applied(partition, index);
            }
        }
    }

    async fn take_next(&mut self) {
        let events = self.committer.next_events().await.unwrap();
        self.take(events);
    }

    fn ended(&self) -> usize {
        self.committed.len() + self.refused.len() + self.unknown.len()
    }

    fn names(&self) -> Vec<String> {
        names(&self.machines[0])
    }
}

#[test]
fn nothing_happens_that_is_not_asked_for() {
    run(async {
        let mut engine = Engine::new(ScriptedCommitter::new(1));
        engine.propose(P);
        let mut events = std::pin::pin!(engine.committer.next_events());
        let polled = std::future::poll_fn(|context| Poll::Ready(events.as_mut().poll(context))).await;
        assert!(polled.is_pending());
    });
}

#[test]
fn entries_are_committed_in_order_and_refused_ones_shift_none() {
    run(async {
        let mut engine = Engine::new(ScriptedCommitter::new(1));
        engine.propose(P);
        engine.script().refuse(P, 1);
        let refused = engine.propose(P);
        engine.propose(P);
        engine.script().commit(P, 1);
        engine.take_next().await;
        assert_eq!(engine.names(), ["1"]);
        engine.script().commit(P, 9);
        engine.take_next().await;
        assert_eq!(engine.names(), ["1", "3"]);
        assert_eq!(engine.refused, BTreeSet::from([refused]));
        assert!(!engine.committer.has_in_flight());
    });
}

#[test]
fn lost_leadership_leaves_entries_that_are_committed_later_or_never() {
    run(async {
        let mut engine = Engine::new(ScriptedCommitter::new(1));
        for _ in 0..3 {
            engine.propose(P);
        }
        engine.script().commit(P, 1);
        engine.script().lose_leadership(P);
        engine.propose(P);
        engine.script().truncate(P, 1);
        engine.script().append_foreign(P, entry("foreign"));
        engine.script().lead(P);
        engine.propose(P);
        engine.script().commit(P, usize::MAX);
        engine.take_next().await;
        assert_eq!(engine.names(), ["1", "2", "foreign", "5"]);
        let sets = [&engine.committed, &engine.unknown, &engine.refused];
        let ids = sets.map(|set| set.iter().map(|proposal| proposal.0).collect::<Vec<_>>());
        assert_eq!(ids, [vec![1, 5], vec![2, 3], vec![4]]);
        assert_eq!(image(&engine.machines[0]), image(&engine.script().replay(P)));
    });
}

#[test]
fn a_snapshot_takes_the_place_of_entries_that_were_never_told() {
    run(async {
        let mut engine = Engine::new(ScriptedCommitter::new(1));
        engine.propose(P);
        engine.propose(P);
        engine.script().lose_leadership(P);
        engine.script().install_snapshot(P);
        engine.take_next().await;
        assert_eq!((engine.installs, engine.unknown.len()), (1, 2));
        assert_eq!(engine.names(), ["1", "2"]);
    });
}

#[test]
fn a_failed_group_ends_alone_and_a_failed_disk_ends_all() {
    run(async {
        let mut engine = Engine::new(ScriptedCommitter::new(2));
        engine.propose(P);
        engine.propose(PartitionId(1));
        engine.script().fail_group(P, "why");
        engine.propose(P);
        engine.script().commit(PartitionId(1), 1);
        engine.take_next().await;
        assert_eq!((engine.committed.len(), engine.unknown.len(), engine.refused.len()), (1, 1, 1));
        engine.propose(PartitionId(1));
        engine.script().fail_disk("the disk is gone");
        assert!(engine.committer.next_events().await.is_err());
    });
}

/// Chaos over many seeds: every proposal ends once, and the engine has applied exactly the committed entries.
/// The same seed gives the same run.
#[test]
fn chaos_keeps_what_was_committed_and_ends_each_proposal_once() {
    let mut seen = BTreeMap::new();
    for seed in 0..200 {
        let work = || {
            run(async {
                let mut engine = Engine::new(ScriptedCommitter::chaos(seed, 3));
                let mut turn = 0;
                while engine.proposed < 60 {
                    for partition in engine.script().partitions() {
                        turn += 1;
                        if turn % 4 != 0 && engine.committer.has_room(partition) {
                            engine.propose(partition);
                        }
                    }
                    engine.take_next().await;
                }
                engine.script().calm();
                while engine.committer.has_in_flight() || engine.ended() < engine.proposed as usize {
                    engine.take_next().await;
                }
                let behind = |engine: &Engine| {
                    engine.script().partitions().any(|partition| {
                        let last = engine.script().committed(partition).len() as u64;
                        engine.machines[usize::from(partition.0)].applied().0 < last
                    })
                };
                while behind(&engine) {
                    engine.take_next().await;
                }
                engine
            })
        };
        let engine = work();
        assert_eq!(engine.ended() as u64, engine.proposed);
        for partition in engine.script().partitions() {
            let machine = &engine.machines[usize::from(partition.0)];
            assert_eq!(image(machine), image(&engine.script().replay(partition)), "seed {seed}");
        }
        let again = work();
        assert_eq!((&engine.committed, &engine.unknown), (&again.committed, &again.unknown), "seed {seed}");
        for (what, count) in [
            ("committed", engine.committed.len()),
            ("refused", engine.refused.len()),
            ("unknown", engine.unknown.len()),
            ("installed", engine.installs),
        ] {
            *seen.entry(what).or_insert(0) += count;
        }
        let all: usize = engine.machines.iter().map(|machine| names(machine).len()).sum();
        *seen.entry("committed without a name").or_insert(0) += all - engine.committed.len();
    }
    assert!(seen.values().all(|&count| count > 50), "{seen:?}");
}
