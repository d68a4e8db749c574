//! openraft's state machine of one partition: hands committed entries to the engine, in order, once, and
//! waits for it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::rc::Rc;

use futures_util::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, Snapshot};
use tokio::sync::Notify;

use crate::model::log::{LogIndex, PartitionId};
use crate::replication::durable_log::DurableLog;
use crate::replication::event::Payload;
use crate::replication::raft::log_store::GroupLog;
use crate::replication::raft::outbox::Outbox;
use crate::replication::raft::record;
use crate::replication::raft::snapshot::{self, Builder, RaftSnapshot, SnapshotData};
use crate::replication::raft::types::{Entry, RaftLogId, SnapshotMeta, StoredMembership, Types, io_error};
use crate::state::image::MachineImage;
use crate::state::machine::Machine;

/// The positions of the last entry handed out and of the last entry that the engine has applied, which is
/// never ahead.
pub struct Applied {
    log: Rc<GroupLog>,
    outbox: Rc<Outbox>,
    /// The last entry handed out.
    last: Cell<Option<RaftLogId>>,
    /// The engine has applied everything up to here.
    engine: Cell<LogIndex>,
    engine_moved: Notify,
    /// The engine applies no more entries.
    is_closed: Cell<bool>,
    /// The memberships handed out, oldest first: the one in force at the engine's position, then those ahead
    /// of it.
    memberships: RefCell<VecDeque<StoredMembership>>,
    /// The newest checkpoint.
    snapshot: RefCell<Option<SnapshotMeta>>,
    /// Whether openraft must still learn of it.
    is_snapshot_new: Cell<bool>,
}

impl Applied {
    pub fn new(log: Rc<GroupLog>, outbox: Rc<Outbox>) -> Rc<Applied> {
        Rc::new(Applied {
            log,
            outbox,
            last: Cell::default(),
            engine: Cell::default(),
            engine_moved: Notify::new(),
            is_closed: Cell::default(),
            memberships: RefCell::new(VecDeque::from([StoredMembership::default()])),
            snapshot: RefCell::default(),
            is_snapshot_new: Cell::default(),
        })
    }

    pub fn partition(&self) -> PartitionId {
        self.log.partition()
    }

    pub fn is_closed(&self) -> bool {
        self.is_closed.get()
    }

    pub fn durable_log(&self) -> &Rc<DurableLog> {
        self.log.durable_log()
    }

    pub fn last(&self) -> Option<RaftLogId> {
        self.last.get()
    }

    /// The last membership handed out.
    pub fn membership(&self) -> StoredMembership {
        self.memberships.borrow().back().cloned().unwrap_or_default()
    }

    /// The membership in force at the last entry that the engine has applied.
    pub fn membership_at(&self, index: LogIndex) -> StoredMembership {
        let memberships = self.memberships.borrow();
        let in_force = memberships.iter().rev().find(|stored| stands_at(stored) <= index);
        in_force.cloned().unwrap_or_default()
    }

    pub fn snapshot(&self) -> Option<SnapshotMeta> {
        self.snapshot.borrow().clone()
    }

    /// Records a durable checkpoint. `false` if a newer one is durable.
    pub fn set_snapshot(&self, meta: SnapshotMeta) -> bool {
        let mut snapshot = self.snapshot.borrow_mut();
        let is_newest = snapshot.as_ref().is_none_or(|known| known.last_log_id <= meta.last_log_id);
        if is_newest {
            *snapshot = Some(meta);
        }
        is_newest
    }

    /// Records a durable checkpoint, which openraft learns of from its next builder.
    pub fn tell_snapshot(&self, meta: SnapshotMeta) -> bool {
        let is_newest = self.set_snapshot(meta);
        self.is_snapshot_new.set(is_newest || self.is_snapshot_new.get());
        is_newest
    }

    /// The position of the machine after recovery.
    pub fn recovered(&self, last: Option<RaftLogId>, membership: StoredMembership) {
        self.last.set(last);
        self.engine.set(record::from_raft_option(last.as_ref()).index);
        *self.memberships.borrow_mut() = VecDeque::from([membership]);
    }

    /// The engine has applied everything up to `index`.
    pub fn applied(&self, index: LogIndex) {
        let last = record::from_raft_option(self.last.get().as_ref()).index;
        assert!(
            self.engine.get() <= index && index <= last,
            "{:?}: the engine goes from entry {} to {}, and {} was handed out last",
            self.partition(),
            self.engine.get().0,
            index.0,
            last.0
        );
        self.engine.set(index);
        let mut memberships = self.memberships.borrow_mut();
        while memberships.get(1).is_some_and(|next| stands_at(next) <= index) {
            memberships.pop_front();
        }
        self.engine_moved.notify_one();
    }

    pub fn engine(&self) -> LogIndex {
        self.engine.get()
    }

    /// The engine applies no more entries: waiting calls get an error.
    pub fn close(&self) {
        self.is_closed.set(true);
        self.engine_moved.notify_one();
    }

    async fn engine_at(&self, index: LogIndex) -> Result<(), io::Error> {
        while self.engine.get() < index {
            if self.is_closed.get() {
                return Err(io_error("the engine has stopped"));
            }
            self.engine_moved.notified().await;
        }
        Ok(())
    }

    /// Hands out one committed entry; returns its index and its approximate size in bytes.
    fn hand_out(&self, entry: Entry) -> Result<(LogIndex, usize), io::Error> {
        assert!(
            self.last.get().is_none_or(|last| entry.log_id.index > last.index),
            "an entry is handed out once, in order"
        );
        let log_id = record::from_raft(&entry.log_id);
        let mut bytes = 0;
        let payload = match entry.payload {
            EntryPayload::Normal(batch) => {
                bytes = batch.0.len();
                Payload::Entry(batch.0)
            }
            EntryPayload::Blank => Payload::Blank,
            EntryPayload::Membership(membership) => {
                let stored = StoredMembership::new(Some(entry.log_id), membership);
                self.memberships.borrow_mut().push_back(stored);
                Payload::Blank
            }
        };
        self.last.set(Some(entry.log_id));
        match self.outbox.commit(self.partition(), log_id, payload) {
            true => Ok((log_id.index, bytes)),
            false => Err(io_error("the group has failed")),
        }
    }
}

/// The entry that made a membership.
fn stands_at(stored: &StoredMembership) -> LogIndex {
    record::from_raft_option(stored.log_id().as_ref()).index
}

pub struct StateMachine {
    applied: Rc<Applied>,
}

impl StateMachine {
    pub fn new(applied: Rc<Applied>) -> StateMachine {
        StateMachine { applied }
    }
}

/// Bytes of entries handed out before waiting for the engine.
const AHEAD_BYTES_MAX: usize = 4 << 20;

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
        let mut upto = LogIndex::default();
        let mut ahead = 0;
        while let Some(next) = Pin::new(&mut entries).next().await {
            let (entry, responder) = next?;
            let (index, bytes) = self.applied.hand_out(entry)?;
            if let Some(responder) = responder {
                responder.send(());
            }
            upto = index;
            ahead += bytes;
            if ahead >= AHEAD_BYTES_MAX {
                self.applied.engine_at(upto).await?;
                ahead = 0;
            }
        }
        self.applied.engine_at(upto).await
    }

    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<Builder> {
        let is_wanted = self.applied.is_snapshot_new.take() || force;
        is_wanted.then(|| Builder { applied: Rc::clone(&self.applied) })
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder { applied: Rc::clone(&self.applied) }
    }

    /// The order of an install: the journal, including earlier truncations, is durable; the checkpoint is
    /// durable; the log durably continues after it; then the machine is swapped. A crash in between leaves
    /// either the old state or a checkpoint that the log does not fit, and recovery then resets the log to
    /// it.
    async fn install_snapshot(&mut self, meta: &SnapshotMeta, data: SnapshotData) -> Result<(), io::Error> {
        let partition = self.applied.partition();
        let durable_log = self.applied.durable_log();
        let machine: Machine = data.load_exactly(meta).map_err(io_error)?;
        let checkpoint = snapshot::checkpoint_meta(partition, meta);
        let log_id = checkpoint.log_id;
        let last = record::from_raft_option(self.applied.last().as_ref());
        assert!(log_id.index > last.index, "a snapshot of {log_id:?} comes when {last:?} was handed out");
        durable_log.flush().await.map_err(io_error)?;
        durable_log.write_checkpoint(checkpoint, MachineImage::of(&machine)).await.map_err(io_error)?;
        durable_log.journal().borrow_mut().purge(partition, log_id);
        durable_log.flush().await.map_err(io_error)?;
        self.applied.last.set(meta.last_log_id);
        *self.applied.memberships.borrow_mut() = VecDeque::from([meta.last_membership.clone()]);
        self.applied.set_snapshot(meta.clone());
        if !self.applied.outbox.install(partition, machine) {
            return Err(io_error("the group has failed"));
        }
        self.applied.engine_at(log_id.index).await
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<RaftSnapshot>, io::Error> {
        let data = SnapshotData::new(self.applied.durable_log().checkpoints(), self.applied.partition());
        Ok(self.applied.snapshot().map(|meta| Snapshot { meta, snapshot: data }))
    }
}
