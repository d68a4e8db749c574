//! Snapshots: the checkpoint files of the partition, told to openraft. What openraft holds is metadata and a
//! handle; an image is read back from its file when somebody needs it.

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

/// The newest checkpoint of a partition, wherever its directory is: cheap to hand out for every transfer that
/// is tried.
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
    #[error("the checkpoint of partition {partition} is not of the snapshot that was announced")]
    Other { partition: u16 },
    #[error("partition {partition} has no checkpoint yet")]
    None { partition: u16 },
}

impl SnapshotData {
    pub fn new(store: &CheckpointStore, partition: PartitionId) -> SnapshotData {
        SnapshotData { store: store.clone(), partition }
    }

    /// Reads the file that `meta` is of. One that was replaced meanwhile is an error.
    pub fn load_exactly(&self, meta: &SnapshotMeta) -> Result<Machine, SnapshotError> {
        let index = record::from_raft_option(meta.last_log_id.as_ref()).index;
        let checkpoint = self.store.load_at(self.partition, index)?;
        let malformed = |source| SnapshotError::Image { partition: self.partition.0, index: index.0, source };
        let machine = image::decode(&checkpoint.image).map_err(malformed)?;
        if snapshot_meta(&checkpoint.meta).map_err(malformed)? != *meta || machine.applied() != index {
            return Err(SnapshotError::Other { partition: self.partition.0 });
        }
        Ok(machine)
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

/// Says which checkpoint is the newest: the committer writes them, and openraft is only told.
pub struct Builder {
    pub applied: Rc<Applied>,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<RaftSnapshot, io::Error> {
        let partition = self.applied.partition();
        let meta = self.applied.snapshot();
        let meta = meta.ok_or(SnapshotError::None { partition: partition.0 }).map_err(io_error)?;
        Ok(Snapshot { meta, snapshot: SnapshotData::new(self.applied.disk().checkpoints(), partition) })
    }
}
