//! Snapshots: the checkpoint files of the partition, described for openraft. openraft holds metadata and a
//! handle; an image is read from its file on demand.

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

/// The newest checkpoint of a partition; cheap to hand out for every attempted transfer.
#[derive(Debug, Clone)]
pub struct SnapshotData {
    store: CheckpointStore,
    partition: PartitionId,
}

pub type RaftSnapshot = Snapshot<CommittedLeaderId, u64, (), SnapshotData>;

/// A checkpoint could not be read or written, or has unexpected content.
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

    /// Reads the file of `meta`. A file that was replaced meanwhile is an error.
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

/// The checkpoint metadata of an openraft snapshot.
pub fn checkpoint_meta(partition: PartitionId, meta: &SnapshotMeta) -> CheckpointMeta {
    CheckpointMeta {
        partition,
        log_id: record::from_raft_option(meta.last_log_id.as_ref()),
        membership: record::encode_stored(&meta.last_membership),
    }
}

/// The reverse.
pub fn snapshot_meta(checkpoint: &CheckpointMeta) -> Result<SnapshotMeta, Malformed> {
    Ok(SnapshotMeta {
        last_log_id: record::to_raft(checkpoint.log_id),
        last_membership: record::decode_stored(&checkpoint.membership)?,
    })
}

/// Returns the newest checkpoint: the committer writes checkpoints, and openraft only learns of them.
pub struct Builder {
    pub applied: Rc<Applied>,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<RaftSnapshot, io::Error> {
        let partition = self.applied.partition();
        let meta = self.applied.snapshot();
        let meta = meta.ok_or(SnapshotError::None { partition: partition.0 }).map_err(io_error)?;
        Ok(Snapshot {
            meta,
            snapshot: SnapshotData::new(self.applied.durable_log().checkpoints(), partition),
        })
    }
}
