//! Work on another thread: a checkpoint, a sync, the next journal file. [`RealThreads`] is the operating
//! system, [`crate::env::sim_threads::SimThreads`] the simulated tenant, which does the work on the same
//! thread, later.
//!
//! ```text
//! let lane = threads.start("checkpoint", Priority::Background)?;
//! let bytes = threads::run(&lane, move || store.write(&meta, &image)).await?;
//! ```

use std::fmt::Debug;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use crate::env::priority;

pub trait Threads: Send + Sync + Debug {
    /// Starts a thread. It ends when it has done its work and the lane is dropped.
    fn start(&self, name: &str, priority: Priority) -> io::Result<Arc<dyn Lane>>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    Normal,
    /// Yields the processor to other threads: see [`priority::lower_own`].
    Background,
}

/// A thread that does one piece of work after the other. Callers use [`run`].
pub trait Lane: Send + Sync + Debug {
    /// Queues the work. A lane that drops work without doing it fails the work's [`Elsewhere`].
    fn submit(&self, work: Work);

    /// Called by a caller that blocks until `is_done`, or for `limit`. A lane without a thread of its own does
    /// its work here. Returns whether the work may still end by itself.
    fn help(&self, is_done: &dyn Fn() -> bool, limit: Option<Duration>) -> bool;
}

/// Does the work and returns the call that hands over the outcome: a simulated thread delays that call.
pub type Work = Box<dyn FnOnce() -> Tell + Send>;
pub type Tell = Box<dyn FnOnce() + Send>;

/// Queues work on a lane.
pub fn run<T: Send + 'static>(
    lane: &Arc<dyn Lane>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Elsewhere<T> {
    let slot = Arc::new(Slot { state: Mutex::new(State::Running(None)), ended: Condvar::new() });
    let teller = Teller { slot: Arc::clone(&slot) };
    lane.submit(Box::new(move || {
        let output = work();
        Box::new(move || teller.slot.end(State::Done(output)))
    }));
    Elsewhere { slot, lane: Arc::clone(lane) }
}

/// The outcome of work on another thread. Dropping it does not stop the work.
#[derive(Debug)]
pub struct Elsewhere<T> {
    slot: Arc<Slot<T>>,
    lane: Arc<dyn Lane>,
}

/// The work panicked, or the lane's thread had died before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the thread died")]
pub struct ThreadDied;

#[derive(Debug)]
struct Slot<T> {
    state: Mutex<State<T>>,
    ended: Condvar,
}

#[derive(Debug)]
enum State<T> {
    Running(Option<Waker>),
    Done(T),
    Died,
}

impl<T> Slot<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        // The state is only ever replaced as a whole, so a panic leaves it sound.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, end: State<T>) {
        let before = std::mem::replace(&mut *self.state(), end);
        self.ended.notify_all();
        if let State::Running(Some(waker)) = before {
            waker.wake();
        }
    }

    fn is_running(&self) -> bool {
        matches!(*self.state(), State::Running(_))
    }
}

/// Hands over the outcome; dropped before that, it hands over [`ThreadDied`].
struct Teller<T> {
    slot: Arc<Slot<T>>,
}

impl<T> Drop for Teller<T> {
    fn drop(&mut self) {
        if self.slot.is_running() {
            self.slot.end(State::Died);
        }
    }
}

impl<T> Elsewhere<T> {
    pub fn is_done(&self) -> bool {
        !self.slot.is_running()
    }

    /// Blocks the calling thread until the work is done.
    ///
    /// # Errors
    ///
    /// [`ThreadDied`].
    pub fn wait(self) -> Result<T, ThreadDied> {
        self.lane.help(&|| !self.slot.is_running(), None);
        let mut state = self.slot.state();
        loop {
            if let Some(outcome) = take(&mut state) {
                return outcome;
            }
            state = self.slot.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Blocks the calling thread until the work is done, or for `limit`: then the result is `None`, and the work
    /// goes on.
    ///
    /// # Errors
    ///
    /// [`ThreadDied`].
    pub fn wait_for(&mut self, limit: Duration) -> Option<Result<T, ThreadDied>> {
        let limit =
            if self.lane.help(&|| !self.slot.is_running(), Some(limit)) { limit } else { Duration::ZERO };
        let state = self.slot.state();
        let waited = self.slot.ended.wait_timeout_while(state, limit, |it| matches!(it, State::Running(_)));
        take(&mut waited.unwrap_or_else(PoisonError::into_inner).0)
    }
}

impl<T> Future for Elsewhere<T> {
    type Output = Result<T, ThreadDied>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, ThreadDied>> {
        let mut state = self.slot.state();
        if let Some(outcome) = take(&mut state) {
            return Poll::Ready(outcome);
        }
        *state = State::Running(Some(context.waker().clone()));
        Poll::Pending
    }
}

/// `None` while it runs.
fn take<T>(state: &mut State<T>) -> Option<Result<T, ThreadDied>> {
    if matches!(state, State::Running(_)) {
        return None;
    }
    match std::mem::replace(state, State::Died) {
        State::Done(output) => Some(Ok(output)),
        State::Running(_) | State::Died => Some(Err(ThreadDied)),
    }
}

/// The threads of the operating system.
#[derive(Debug, Default, Clone, Copy)]
pub struct RealThreads;

impl Threads for RealThreads {
    fn start(&self, name: &str, priority: Priority) -> io::Result<Arc<dyn Lane>> {
        let (sender, queue) = mpsc::channel::<Work>();
        let work_off = move || {
            if priority == Priority::Background {
                priority::lower_own();
            }
            for work in queue {
                work()();
            }
        };
        thread::Builder::new().name(name.to_owned()).spawn(work_off)?;
        Ok(Arc::new(RealLane { sender }))
    }
}

#[derive(Debug)]
struct RealLane {
    sender: mpsc::Sender<Work>,
}

impl Lane for RealLane {
    fn submit(&self, work: Work) {
        // After a panic the send fails and drops the work, which fails its `Elsewhere`.
        let _ = self.sender.send(work);
    }

    fn help(&self, _is_done: &dyn Fn() -> bool, _limit: Option<Duration>) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_done_in_order_on_one_other_thread() {
        let lane = RealThreads.start("worker", Priority::Background).unwrap();
        let here = thread::current().id();
        let work = |number| {
            run(&lane, move || (number, thread::current().id(), thread::current().name() == Some("worker")))
        };
        let (first, second) = (work(1), work(2));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (two, there, is_named) = runtime.block_on(second).unwrap();
        assert!(first.is_done());
        assert_eq!((two, is_named), (2, true));
        assert_ne!(there, here);
        assert_eq!(first.wait(), Ok((1, there, true)));
    }

    #[test]
    fn a_panic_is_told_and_so_is_what_comes_behind_it() {
        let lane = RealThreads.start("worker", Priority::Normal).unwrap();
        let first = run(&lane, || panic!("on purpose"));
        let second = run(&lane, || 2);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(first), Err::<(), _>(ThreadDied));
        assert_eq!(second.wait(), Err(ThreadDied));
        assert_eq!(run(&lane, || 3).wait(), Err(ThreadDied));
    }

    #[test]
    fn who_waits_for_a_limited_time_leaves_the_work_going_on() {
        let lane = RealThreads.start("worker", Priority::Normal).unwrap();
        let (sender, go) = mpsc::channel::<()>();
        let mut held = run(&lane, move || go.recv().is_ok());
        assert_eq!(held.wait_for(Duration::from_millis(1)), None);
        sender.send(()).unwrap();
        assert_eq!(held.wait_for(Duration::from_secs(60)), Some(Ok(true)));
    }

    #[test]
    fn a_dropped_outcome_does_not_stop_the_work() {
        let lane = RealThreads.start("worker", Priority::Normal).unwrap();
        let (sender, done) = mpsc::channel();
        drop(run(&lane, move || sender.send(7)));
        drop(lane);
        assert_eq!(done.recv(), Ok(7));
    }
}
