//! The journal flushes that all groups of an engine share: all appends in one turn of the event loop cost one
//! write and one sync.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::rc::{Rc, Weak};

use openraft::storage::IOFlushed;
use tokio::sync::Notify;

use crate::replication::committer::{CommitError, Durability};
use crate::replication::durable_log::DurableLog;
use crate::replication::raft::outbox::Outbox;
use crate::replication::raft::types::{Types, io_error};
use crate::storage::journal::index::Position;
use crate::storage::journal::journal::Journal;

pub struct Flushes {
    durable_log: Rc<DurableLog>,
    outbox: Rc<Outbox>,
    /// Callbacks that wait for the journal up to a position, oldest first.
    waiting: RefCell<Vec<Waiting>>,
    wake: Rc<Notify>,
}

struct Waiting {
    appended: Position,
    /// Synced in every mode: votes and memberships.
    must_sync: bool,
    callback: IOFlushed<Types>,
}

impl fmt::Debug for Flushes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flushes").field("waiting", &self.waiting.borrow().len()).finish_non_exhaustive()
    }
}

impl Flushes {
    /// Starts the flush task; it ends when the last handle is dropped. Must run inside a `LocalSet`.
    pub fn start(durable_log: Rc<DurableLog>, outbox: Rc<Outbox>) -> Rc<Flushes> {
        let wake = Rc::new(Notify::new());
        let flushes =
            Rc::new(Flushes { durable_log, outbox, waiting: RefCell::default(), wake: Rc::clone(&wake) });
        tokio::task::spawn_local(run(Rc::downgrade(&flushes), wake));
        flushes
    }

    pub fn durable_log(&self) -> &Rc<DurableLog> {
        &self.durable_log
    }

    pub fn journal(&self) -> &RefCell<Journal> {
        self.durable_log.journal()
    }

    /// An error once the journal has failed: no more entries are accepted.
    pub fn check(&self) -> Result<(), io::Error> {
        self.durable_log.check_latch().map_err(io_error)
    }

    /// Completes `callback` when everything appended so far has the required durability.
    pub fn wait(&self, must_sync: bool, callback: IOFlushed<Types>) {
        let appended = self.journal().borrow().appended();
        self.waiting.borrow_mut().push(Waiting { appended, must_sync, callback });
        self.wake.notify_one();
    }

    /// One write, and one sync unless no callback needs it.
    async fn flush(&self) -> Result<(), CommitError> {
        if matches!(self.durable_log.durability(), Durability::Relaxed { .. })
            && !self.waiting.borrow().iter().any(|waiting| waiting.must_sync)
        {
            let appended = self.journal().borrow().appended();
            let written = self.durable_log.write_up_to(appended).await?;
            self.complete(written);
            return Ok(());
        }
        self.durable_log.flush().await?;
        let durable = self.journal().borrow().durable();
        self.complete(durable);
        Ok(())
    }

    /// Completes the callbacks of durable records, newest first: the callbacks of a group are watermarks, and
    /// openraft's forwarder sleeps for a millisecond if a second one *changes* the watermark within a
    /// microsecond; the older ones then change nothing.
    fn complete(&self, upto: Position) {
        let mut waiting = self.waiting.borrow_mut();
        let done = waiting.partition_point(|waiting| waiting.appended <= upto);
        for waiting in waiting.drain(..done).rev() {
            waiting.callback.io_completed(Ok(()));
        }
    }

    fn fail(&self, error: &CommitError) {
        let reason = error.to_string();
        self.durable_log.latch().trip(reason.clone());
        self.outbox.wake();
        for waiting in self.waiting.borrow_mut().drain(..).rev() {
            waiting.callback.io_completed(Err(io_error(reason.clone())));
        }
    }
}

impl Drop for Flushes {
    fn drop(&mut self) {
        self.wake.notify_one();
    }
}

async fn run(flushes: Weak<Flushes>, wake: Rc<Notify>) {
    loop {
        wake.notified().await;
        // Groups woken in the same turn run before this task, so their appends are included. Appends made
        // while the flusher syncs belong to the next flush.
        let Some(flushes) = flushes.upgrade() else { return };
        if let Err(error) = flushes.flush().await {
            flushes.fail(&error);
        }
    }
}
