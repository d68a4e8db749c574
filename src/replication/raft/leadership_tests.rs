//! A group whose node leads until another node takes over: proposals that are refused, lost, or committed by
//! the other node.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use openraft::EntryPayload;
use openraft::async_runtime::WatchReceiver;
use openraft::raft::AppendEntriesRequest;

use crate::config::config::{FlushPolicy, Replication};
use crate::env::fs::Fs;
use crate::env::sim_fs::SimFs;
use crate::model::log::PartitionId;
use crate::replication::committer::{Committer, CommitterOptions};
use crate::replication::raft::types::{Batch, CommittedLeaderId, Entry, Raft, RaftLogId, Vote};
use crate::replication::testing::{TestNode, entry, run};

const OTHER: u64 = 7;

async fn start() -> TestNode {
    let fs: Arc<dyn Fs> = Arc::new(SimFs::new(1));
    let options = CommitterOptions {
        replication: Replication::Raft,
        flush: FlushPolicy::Inline,
        ..CommitterOptions::default()
    };
    TestNode::start(&fs, Path::new("/data"), &options).await.unwrap()
}

fn raft_of(node: &TestNode, partition: u16) -> Raft {
    match &node.committer {
        Committer::Raft(raft) => raft.group(PartitionId(partition)).raft.clone(),
        _ => unreachable!("started as Raft"),
    }
}

/// Takes events until `work` completes.
async fn while_applying<T>(node: &TestNode, work: impl Future<Output = T>) -> T {
    let apply = async {
        loop {
            node.take(node.committer.next_events().await.unwrap());
        }
    };
    tokio::select! {
        done = work => done,
        () = apply => unreachable!("it goes on for ever"),
    }
}

/// From here on partition 0 has no quorum: it needs a second voter, which never responds.
async fn add_silent_voter(node: &TestNode) {
    let raft = raft_of(node, 0);
    while_applying(node, raft.add_learner(OTHER, (), false)).await.unwrap();
    let voters = BTreeSet::from([node.dir.meta().node_id, OTHER]);
    let changing = raft.clone();
    tokio::task::spawn_local(async move {
        let _ = changing.change_membership(voters, false).await;
    });
    let wait = raft.wait(Some(Duration::from_secs(10)));
    let effective = wait.metrics(
        |metrics| metrics.membership_config.membership().voter_ids().any(|voter| voter == OTHER),
        "the other is a voter",
    );
    while_applying(node, effective).await.unwrap();
}

fn last_index(raft: &Raft) -> u64 {
    raft.metrics().borrow_watched().last_log_index.unwrap()
}

fn log_id(term: u64, index: u64) -> RaftLogId {
    RaftLogId::new(CommittedLeaderId::new(term), index)
}

/// Of three proposals one stays in the log of the new leader and two are replaced; a fourth arrives when the
/// other node already leads.
#[test]
fn a_lost_leadership_ends_each_proposal_once_and_shifts_none() {
    run(async {
        let node = start().await;
        node.round("0").await.unwrap();
        let raft = raft_of(&node, 0);
        let last = last_index(&raft);
        let proposed = ["a", "b", "c"].map(|name| node.propose(0, name));
        // openraft handles them and the other leader's request in one turn: they are appended and not yet
        // committed.
        let theirs =
            Entry { log_id: log_id(9, last + 2), payload: EntryPayload::Normal(Batch(entry("theirs"))) };
        let request = AppendEntriesRequest {
            vote: Vote::new_committed(9, OTHER),
            prev_log_id: Some(log_id(1, last + 1)),
            entries: vec![theirs],
            leader_commit: Some(log_id(9, last + 2)),
        };
        while_applying(&node, raft.append_entries(request)).await.unwrap();
        let wait = raft.wait(Some(Duration::from_secs(10)));
        let all = wait.applied_index(Some(last + 2), "applied");
        while_applying(&node, all).await.unwrap();
        assert_eq!(node.names(0), ["0.0", "a", "theirs"]);

        let refused = node.propose(0, "d");
        let other = node.propose(1, "e");
        node.commit().await.unwrap();
        assert_eq!(node.names(0), ["0.0", "a", "theirs"]);
        assert_eq!(node.names(1), ["0.1", "e"], "the other partition goes on");
        let ends = node.ends.borrow();
        let end = |proposal| ends.iter().find(|(of, _)| *of == proposal).unwrap().1;
        // Whether the first proposal ends as committed depends on the order of two notifications.
        assert!(matches!(end(proposed[0]), "committed" | "unknown"));
        assert_eq!([end(proposed[1]), end(proposed[2])], ["unknown", "unknown"]);
        assert_eq!([end(refused), end(other)], ["refused", "committed"]);
        assert!(!node.latch.is_tripped());
    });
}

#[test]
fn a_partition_without_quorum_refuses_and_stops_no_other() {
    run(async {
        let node = start().await;
        add_silent_voter(&node).await;
        let refused = node.propose(0, "waits");
        let other = node.propose(1, "goes on");
        node.commit().await.unwrap();
        assert_eq!(*node.ends.borrow(), [(refused, "refused"), (other, "committed")]);
        assert!(node.names(0).is_empty());
    });
}

#[test]
fn what_is_in_flight_of_a_partition_is_bounded() {
    run(async {
        let node = start().await;
        let mut proposed = 0;
        while node.committer.has_room(PartitionId(0)) {
            node.propose(0, "waits");
            proposed += 1;
        }
        assert_eq!(proposed, 8);
        assert!(node.committer.has_room(PartitionId(1)));
        node.propose(1, &" ".repeat(16 << 20));
        assert!(!node.committer.has_room(PartitionId(1)));
        node.commit().await.unwrap();
        assert_eq!(node.own(), 9);
        assert!(node.committer.has_room(PartitionId(0)) && node.committer.has_room(PartitionId(1)));
    });
}

#[test]
fn a_group_that_stops_ends_its_proposals_and_no_other_group() {
    run(async {
        let node = start().await;
        let lost = node.propose(0, "lost");
        raft_of(&node, 0).shutdown().await.unwrap();
        let end = |proposal| node.ends.borrow().iter().find(|(of, _)| *of == proposal).map(|(_, end)| *end);
        while end(lost).is_none() {
            node.take(node.committer.next_events().await.unwrap());
        }
        assert!(matches!(end(lost), Some("unknown" | "committed")));
        let refused = node.propose(0, "refused");
        let other = node.propose(1, "goes on");
        node.commit().await.unwrap();
        assert_eq!((end(refused), end(other)), (Some("refused"), Some("committed")));
        assert!(!node.latch.is_tripped());
        node.checkpoint().await.unwrap();
    });
}
