//! For the tests of this room and of the rooms above it: entries that a machine understands and returns in
//! order, and a minimal engine.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::base::latch::Latch;
use crate::command::value::string::{StringQuery, StringWrite};
use crate::command::value::{Query, Write};
use crate::env::clock::SystemClock;
use crate::env::entropy::SeededEntropy;
use crate::env::fs::Fs;
use crate::env::threads::RealThreads;
use crate::model::log::{LogIndex, PartitionId, ProposalId};
use crate::model::time::TimeMs;
use crate::replication::committer::{CommitError, Committer, CommitterOptions, OpenError};
use crate::replication::event::{CommitEvent, Payload};
use crate::replication::replay;
use crate::state::answer::Answer;
use crate::state::checkpoint;
use crate::state::image::MachineImage;
use crate::state::machine::Machine;
use crate::state::op::batch::BatchWriter;
use crate::state::seen::LoggedOnly;
use crate::storage::data_dir::{DataDir, DataDirOptions};

const KEY: &[u8] = b"log";
const NOW: TimeMs = TimeMs(1);

/// An entry that appends a name without a semicolon to the earlier ones.
pub fn entry(name: &str) -> Bytes {
    let mut batch = BatchWriter::default();
    let value = format!("{name};");
    batch.push_write(0, &Write::String(StringWrite::Append { key: KEY, value: value.as_bytes() }));
    batch.seal(NOW, std::iter::empty());
    Bytes::copy_from_slice(batch.as_bytes())
}

/// The names of all entries that a machine has applied.
pub fn names(machine: &Machine) -> Vec<String> {
    match machine.query(0, NOW, &Query::String(StringQuery::Get { key: KEY }), &LoggedOnly).answer {
        Answer::Bulk(names) => {
            let names = String::from_utf8_lossy(&names).into_owned();
            names.split_terminator(';').map(str::to_owned).collect()
        }
        Answer::Nil => Vec::new(),
        other => panic!("the names are text, not {other:?}"),
    }
}

/// A machine as bytes: equal for machines that have applied the same entries.
pub fn image(machine: &Machine) -> Vec<u8> {
    let mut out = Vec::new();
    checkpoint::encode(&MachineImage::of(machine), &mut |piece| out.extend_from_slice(piece));
    out
}

/// Runs on one thread, in a `LocalSet`, like an engine.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, future)
}

/// Proposes, takes events and applies them; records how proposals end.
pub struct TestNode {
    pub committer: Committer,
    pub latch: Latch,
    pub dir: DataDir,
    pub machines: RefCell<Vec<Machine>>,
    /// The ends of the proposals, in order.
    pub ends: RefCell<Vec<(u64, &'static str)>>,
    proposed: Cell<u64>,
}

pub const PARTITIONS: u16 = 2;

impl TestNode {
    pub async fn start(
        fs: &Arc<dyn Fs>,
        path: &Path,
        options: &CommitterOptions,
    ) -> Result<TestNode, OpenError> {
        let of_dir = DataDirOptions {
            partitions: PARTITIONS,
            start_as: options.replication.into(),
            journal: options.journal.clone(),
        };
        let dir = DataDir::open(Arc::clone(fs), path, of_dir, &SeededEntropy::new(1));
        let dir =
            dir.map_err(|error| OpenError::Raft { partition: PartitionId(0), reason: error.to_string() })?;
        let latch = Latch::new();
        let clock = Arc::new(SystemClock::new());
        let committer = Committer::open(
            Arc::clone(fs),
            clock,
            Arc::new(RealThreads),
            &dir,
            options.clone(),
            latch.clone(),
        )?;
        let machines = RefCell::new(committer.recover().await?);
        Ok(TestNode { committer, latch, dir, machines, ends: RefCell::default(), proposed: Cell::default() })
    }

    /// Returns the number of the proposal.
    pub fn propose(&self, partition: u16, name: &str) -> u64 {
        self.proposed.set(self.proposed.get() + 1);
        let proposal = ProposalId(self.proposed.get());
        self.committer.propose(PartitionId(partition), proposal, entry(name));
        proposal.0
    }

    /// Applies until nothing is in flight.
    pub async fn commit(&self) -> Result<(), CommitError> {
        while self.committer.has_in_flight() {
            let events = self.committer.next_events().await?;
            self.take(events);
        }
        Ok(())
    }

    pub fn take(&self, events: Vec<CommitEvent>) {
        for event in events {
            let (partition, applied, ended) = (event.partition(), event.applied(), event.ended());
            let end = self.apply(event);
            if let Some(proposal) = ended {
                assert!(
                    self.ends.borrow().iter().all(|(of, _)| *of != proposal.0),
                    "{proposal:?} ends twice"
                );
                self.ends.borrow_mut().push((proposal.0, end));
            }
            if let Some(index) = applied {
                self.committer.applied(partition, index);
            }
        }
    }

    fn apply(&self, event: CommitEvent) -> &'static str {
        let mut machines = self.machines.borrow_mut();
        let machine = &mut machines[usize::from(event.partition().0)];
        match event {
            CommitEvent::Committed { log_id, payload: Payload::Entry(entry), .. } => {
                replay::apply(machine, log_id.index, &entry).unwrap();
                "committed"
            }
            CommitEvent::Committed { log_id, payload: Payload::Blank, .. } => {
                machine.skip(log_id.index);
                "committed"
            }
            CommitEvent::Refused { .. } => "refused",
            CommitEvent::Unknown { .. } => "unknown",
            CommitEvent::Installed { machine: installed, .. } => {
                *machine = installed;
                "installed"
            }
            CommitEvent::GroupFailed { .. } => "failed",
        }
    }

    /// Commits one entry for each partition.
    pub async fn round(&self, name: &str) -> Result<(), CommitError> {
        for partition in 0..PARTITIONS {
            self.propose(partition, &format!("{name}.{partition}"));
        }
        self.commit().await
    }

    pub async fn checkpoint(&self) -> Result<(), CommitError> {
        let image = |partition: PartitionId| {
            MachineImage::take(&mut self.machines.borrow_mut()[usize::from(partition.0)])
        };
        self.committer.checkpoint(&image).await
    }

    pub fn names(&self, partition: u16) -> Vec<String> {
        names(&self.machines.borrow()[usize::from(partition)])
    }

    pub fn applied(&self, partition: u16) -> LogIndex {
        self.machines.borrow()[usize::from(partition)].applied()
    }

    /// Number of committed proposals.
    pub fn own(&self) -> usize {
        self.ends.borrow().iter().filter(|(_, end)| *end == "committed").count()
    }
}
