//! openraft's state machine of one partition: hands what is committed to the applier, in order, once.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::{Rc, Weak};

use futures_util::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, Snapshot};

use crate::base::wire::Malformed;
use crate::model::log::PartitionId;
use crate::replication::committer::Applier;
use crate::replication::disk::Disk;
use crate::replication::raft::log_store::GroupLog;
use crate::replication::raft::record;
use crate::replication::raft::snapshot::{self, Builder, RaftSnapshot, SnapshotData};
use crate::replication::raft::types::{Entry, RaftLogId, SnapshotMeta, StoredMembership, Types, io_error};
use crate::state::machine::Machine;

/// How far the partition's machine is, and what it takes to go on.
pub struct Applied {
    log: Rc<GroupLog>,
    /// Weak: the applier holds the committer that holds this.
    applier: Weak<dyn Applier>,
    last: Cell<Option<RaftLogId>>,
    membership: RefCell<StoredMembership>,
    /// The newest checkpoint.
    snapshot: RefCell<Option<SnapshotMeta>>,
    /// Whether openraft is to be told of it instead of building another.
    is_snapshot_new: Cell<bool>,
}

impl Applied {
    pub fn new(log: Rc<GroupLog>, applier: Weak<dyn Applier>) -> Rc<Applied> {
        Rc::new(Applied {
            log,
            applier,
            last: Cell::default(),
            membership: RefCell::default(),
            snapshot: RefCell::default(),
            is_snapshot_new: Cell::default(),
        })
    }

    pub fn partition(&self) -> PartitionId {
        self.log.partition()
    }

    pub fn disk(&self) -> &Rc<Disk> {
        self.log.disk()
    }

    pub fn applier(&self) -> Result<Rc<dyn Applier>, io::Error> {
        self.applier.upgrade().ok_or_else(|| io_error("the applier is gone: the worker ends"))
    }

    pub fn last(&self) -> Option<RaftLogId> {
        self.last.get()
    }

    pub fn membership(&self) -> StoredMembership {
        self.membership.borrow().clone()
    }

    /// What a snapshot taken now would say of itself.
    pub fn meta(&self) -> SnapshotMeta {
        SnapshotMeta { last_log_id: self.last.get(), last_membership: self.membership() }
    }

    pub fn snapshot(&self) -> Option<SnapshotMeta> {
        self.snapshot.borrow().clone()
    }

    /// A checkpoint is durable.
    pub fn set_snapshot(&self, meta: SnapshotMeta) {
        *self.snapshot.borrow_mut() = Some(meta);
    }

    /// A checkpoint is durable, and the next builder that openraft asks for is to say so.
    pub fn tell_snapshot(&self, meta: SnapshotMeta) {
        self.set_snapshot(meta);
        self.is_snapshot_new.set(true);
    }

    /// Recovery brought the machine here.
    pub fn recovered(&self, last: Option<RaftLogId>, membership: StoredMembership) {
        self.last.set(last);
        *self.membership.borrow_mut() = membership;
    }

    /// Applies one committed entry. `is_own`: this node proposed it since it started, so that the worker has it in
    /// flight, at the front.
    pub fn apply(&self, applier: &dyn Applier, entry: Entry, is_own: bool) -> Result<(), Malformed> {
        let raft_index = entry.log_id.index;
        assert!(
            self.last.get().is_none_or(|last| raft_index > last.index),
            "an entry is applied once, in order"
        );
        let (partition, index) = (self.partition(), record::log_index(raft_index));
        match entry.payload {
            EntryPayload::Normal(_) if is_own => applier.apply_own(partition, index),
            EntryPayload::Normal(batch) => applier.apply_foreign(partition, index, &batch.0)?,
            EntryPayload::Blank => applier.skip(partition, index),
            EntryPayload::Membership(membership) => {
                *self.membership.borrow_mut() = StoredMembership::new(Some(entry.log_id), membership);
                applier.skip(partition, index);
            }
        }
        self.last.set(Some(entry.log_id));
        self.log.applied(raft_index);
        Ok(())
    }

    /// Puts a snapshot's machine in the place of the partition's.
    pub fn install(&self, applier: &dyn Applier, meta: SnapshotMeta, machine: Machine) {
        applier.install(self.partition(), machine);
        self.recovered(meta.last_log_id, meta.last_membership.clone());
        self.set_snapshot(meta);
    }
}

pub struct StateMachine {
    applied: Rc<Applied>,
}

impl StateMachine {
    pub fn new(applied: Rc<Applied>) -> StateMachine {
        StateMachine { applied }
    }
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<RaftLogId>, StoredMembership), io::Error> {
        Ok((self.applied.last(), self.applied.membership()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin,
    {
        let applier = self.applied.applier()?;
        while let Some(next) = Pin::new(&mut entries).next().await {
            let (entry, responder) = next?;
            // A responder is there exactly if this node proposed the entry since it started: every proposal has one.
            self.applied.apply(&*applier, entry, responder.is_some()).map_err(io_error)?;
            if let Some(responder) = responder {
                responder.send(());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let applied = Rc::clone(&self.applied);
        if self.applied.is_snapshot_new.take()
            && let Some(meta) = self.applied.snapshot()
        {
            return Builder { applied, meta, machine: None };
        }
        let applier = self.applied.applier().expect("a partition that is used has its applier");
        let machine = Some(applier.image(self.applied.partition()));
        Builder { applied, meta: self.applied.meta(), machine }
    }

    /// Durable first, then in use.
    async fn install_snapshot(&mut self, meta: &SnapshotMeta, data: SnapshotData) -> Result<(), io::Error> {
        let machine = data.load_exactly(meta).map_err(io_error)?;
        let checkpoint = snapshot::checkpoint_meta(self.applied.partition(), meta);
        self.applied.disk().write_checkpoint(checkpoint, machine.clone()).await.map_err(io_error)?;
        self.applied.install(&*self.applied.applier()?, meta.clone(), machine);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<RaftSnapshot>, io::Error> {
        let data = SnapshotData::new(self.applied.disk().checkpoints(), self.applied.partition());
        Ok(self.applied.snapshot().map(|meta| Snapshot { meta, snapshot: data }))
    }
}
