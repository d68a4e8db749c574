//! The first of several futures, each polled only when it was woken.

use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Ends with the first branch that ends; the earlier one if several end at once. `tokio::select!` polls all
/// branches at every wake of its task, which is dear when one of them is woken for every request.
pub struct Race<'a, T> {
    branches: Vec<Branch<'a, T>>,
    woken: Arc<Woken>,
}

struct Branch<'a, T> {
    future: Pin<Box<dyn Future<Output = T> + 'a>>,
    waker: Waker,
}

/// The branches that were woken, and the task that polls them.
#[derive(Default)]
struct Woken {
    /// One bit for each branch.
    branches: AtomicU32,
    task: Mutex<Option<Waker>>,
}

struct BranchWaker {
    bit: u32,
    woken: Arc<Woken>,
}

impl Wake for BranchWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.woken.branches.fetch_or(self.bit, Ordering::AcqRel) & self.bit != 0 {
            return;
        }
        let task = self.woken.task.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = &*task {
            task.wake_by_ref();
        }
    }
}

impl<T> Default for Race<'_, T> {
    fn default() -> Self {
        Race { branches: Vec::new(), woken: Arc::default() }
    }
}

impl<'a, T> Race<'a, T> {
    pub fn new() -> Self {
        Race::default()
    }

    /// Adds a branch, at most 32.
    #[must_use]
    pub fn with(mut self, future: impl Future<Output = T> + 'a) -> Self {
        let bit = 1_u32.checked_shl(self.branches.len() as u32).expect("a race has at most 32 branches");
        self.woken.branches.fetch_or(bit, Ordering::AcqRel);
        let waker = Waker::from(Arc::new(BranchWaker { bit, woken: self.woken.clone() }));
        self.branches.push(Branch { future: Box::pin(future), waker });
        self
    }
}

impl<T> Future for Race<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        {
            let mut task = self.woken.task.lock().unwrap_or_else(PoisonError::into_inner);
            if !task.as_ref().is_some_and(|task| task.will_wake(context.waker())) {
                *task = Some(context.waker().clone());
            }
        }
        // A branch that is woken from now on wakes the task again.
        let mut woken = self.woken.branches.swap(0, Ordering::AcqRel);
        while woken != 0 {
            let branch = &mut self.branches[woken.trailing_zeros() as usize];
            woken &= woken - 1;
            if let Poll::Ready(outcome) = branch.future.as_mut().poll(&mut Context::from_waker(&branch.waker))
            {
                return Poll::Ready(outcome);
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::signal::Signal;
    use std::cell::Cell;
    use std::pin::pin;

    #[test]
    fn only_woken_branches_are_polled() {
        let (first, second) = (Signal::default(), Signal::default());
        let (polls, ends) = ((Cell::new(0), Cell::new(0)), Cell::new(false));
        let branch = |signal, polls| count(signal, polls, &ends);
        let race = Race::new().with(branch(&first, &polls.0)).with(branch(&second, &polls.1));
        let mut race = pin!(race);
        let mut context = Context::from_waker(Waker::noop());
        assert!(race.as_mut().poll(&mut context).is_pending());
        second.notify();
        assert!(race.as_mut().poll(&mut context).is_pending());
        assert!(race.as_mut().poll(&mut context).is_pending());
        assert_eq!((polls.0.get(), polls.1.get()), (0, 1));
        ends.set(true);
        first.notify();
        assert_eq!(race.poll(&mut context), Poll::Ready(1));
    }

    async fn count(signal: &Signal, polls: &Cell<u32>, ends: &Cell<bool>) -> u32 {
        loop {
            signal.notified().await;
            polls.set(polls.get() + 1);
            if ends.get() {
                return polls.get();
            }
        }
    }

    #[test]
    fn the_earlier_branch_wins() {
        let mut race = pin!(Race::new().with(async { 1 }).with(async { 2 }));
        assert_eq!(race.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(1));
    }

    #[test]
    fn a_branch_that_wakes_itself_is_polled_again() {
        let is_second = Cell::new(false);
        let twice = std::future::poll_fn(|context| {
            if is_second.replace(true) {
                return Poll::Ready(7);
            }
            context.waker().wake_by_ref();
            Poll::Pending
        });
        let mut race = pin!(Race::new().with(twice));
        let mut context = Context::from_waker(Waker::noop());
        assert!(race.as_mut().poll(&mut context).is_pending());
        assert_eq!(race.as_mut().poll(&mut context), Poll::Ready(7));
    }
}
