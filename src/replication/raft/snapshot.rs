//! Snapshots: the checkpoint files of the partition, told to openraft. What openraft holds is metadata and a handle; an
//! image is read back from its file when somebody needs it.

use std::io;
use std::rc::Rc;

use openraft::{RaftSnapshotBuilder, Snapshot};

use crate::base::wire::Malformed;
use crate::model::log::PartitionId;
use crate::replication::raft::record;
use crate::replication::raft::state_machine::Applied;
use crate::replication::raft::types::{CommittedLeaderId, SnapshotMeta, Types, io_error};
use crate::state::checkpoint as image;
use crate::state::machine::Machine;
use crate::storage::checkpoint::{CheckpointError, CheckpointMeta, CheckpointStore};

/// The newest checkpoint of a partition, wherever its directory is: cheap to hand out for every transfer that is tried.
#[derive(Debug, Clone)]
pub struct SnapshotData {
    store: CheckpointStore,
    partition: PartitionId,
}

pub type RaftSnapshot = Snapshot<CommittedLeaderId, u64, (), SnapshotData>;

/// A checkpoint could not be read or written, or does not say what it should.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error(transparent)]
    File(#[from] CheckpointError),
    #[error("the checkpoint of partition {partition} at index {index} does not decode: {source}")]
    Image { partition: u16, index: u64, source: Malformed },
    #[error("the checkpoint of partition {partition} was replaced by another one meanwhile")]
    Replaced { partition: u16 },
}

impl SnapshotData {
    pub fn new(store: &CheckpointStore, partition: PartitionId) -> SnapshotData {
        SnapshotData { store: store.clone(), partition }
    }

    /// Reads the file. `None` if the partition has no checkpoint.
    pub fn load(&self) -> Result<Option<(SnapshotMeta, Machine)>, SnapshotError> {
        let Some(checkpoint) = self.store.load(self.partition)? else { return Ok(None) };
        let malformed = |source| SnapshotError::Image {
            partition: self.partition.0,
            index: checkpoint.meta.log_id.index.0,
            source,
        };
        let machine = image::decode(&checkpoint.image).map_err(malformed)?;
        Ok(Some((snapshot_meta(&checkpoint.meta).map_err(malformed)?, machine)))
    }

    /// Reads the file, which must still be the one that `meta` is of.
    pub fn load_exactly(&self, meta: &SnapshotMeta) -> Result<Machine, SnapshotError> {
        match self.load()? {
            Some((found, machine)) if found == *meta => Ok(machine),
            _ => Err(SnapshotError::Replaced { partition: self.partition.0 }),
        }
    }
}

/// A checkpoint's description of what openraft calls a snapshot.
pub fn checkpoint_meta(partition: PartitionId, meta: &SnapshotMeta) -> CheckpointMeta {
    CheckpointMeta {
        partition,
        log_id: record::from_raft_option(meta.last_log_id.as_ref()),
        membership: record::encode_stored(&meta.last_membership),
    }
}

/// The other way.
pub fn snapshot_meta(checkpoint: &CheckpointMeta) -> Result<SnapshotMeta, Malformed> {
    Ok(SnapshotMeta {
        last_log_id: record::to_raft(checkpoint.log_id),
        last_membership: record::decode_stored(&checkpoint.membership)?,
    })
}

/// Holds the machine of the moment when it was made, or nothing if its checkpoint is on disk already.
pub struct Builder {
    pub applied: Rc<Applied>,
    pub meta: SnapshotMeta,
    pub machine: Option<Machine>,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<RaftSnapshot, io::Error> {
        let partition = self.applied.partition();
        if let Some(machine) = self.machine.take() {
            let meta = checkpoint_meta(partition, &self.meta);
            self.applied.disk().write_checkpoint(meta, machine).await.map_err(io_error)?;
            self.applied.set_snapshot(self.meta.clone());
        }
        Ok(Snapshot {
            meta: self.meta.clone(),
            snapshot: SnapshotData::new(self.applied.disk().checkpoints(), partition),
        })
    }
}
