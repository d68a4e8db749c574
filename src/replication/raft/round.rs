//! The proposals that are under way, counted down as openraft ends them.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Shared by commits that wait and the [`crate::replication::raft::types::Done`]s of the proposals.
#[derive(Debug, Default)]
pub struct Round {
    outstanding: Cell<usize>,
    /// The first failure; it stays.
    failure: RefCell<Option<String>>,
    wakers: RefCell<Vec<Waker>>,
}

impl Round {
    pub fn begin(&self) {
        self.outstanding.set(self.outstanding.get() + 1);
    }

    pub fn end(&self, result: Result<(), String>) {
        let outstanding = self.outstanding.get();
        assert!(outstanding > 0, "a proposal ends once");
        self.outstanding.set(outstanding - 1);
        let is_failure = result.is_err();
        if let Err(reason) = result {
            self.failure.borrow_mut().get_or_insert(reason);
        }
        // One wake for all proposals, however many partitions they are of.
        if outstanding == 1 || is_failure {
            self.wakers.borrow_mut().drain(..).for_each(Waker::wake);
        }
    }

    /// Waits until every proposal has ended or one has failed.
    pub async fn finished(&self) -> Result<(), String> {
        poll_fn(|context| {
            if let Some(reason) = &*self.failure.borrow() {
                return Poll::Ready(Err(reason.clone()));
            }
            if self.outstanding.get() == 0 {
                return Poll::Ready(Ok(()));
            }
            let mut wakers = self.wakers.borrow_mut();
            if !wakers.iter().any(|waker| waker.will_wake(context.waker())) {
                wakers.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
}
