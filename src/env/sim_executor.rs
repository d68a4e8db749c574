//! Runs futures on one thread, always in the same order: the scheduler of the simulation.
//!
//! Ready tasks take turns first in, first out or, with a seed, in an order that the seed draws. The executor
//! never asks the operating system: tasks wait for each other, for a [`ManualClock`], for a
//! [`crate::env::sim_pipe`] or for [`crate::env::sim_threads`].
//!
//! Tasks belong to groups. A group stands for a process: killing it drops all its tasks at once.
//!
//! `tokio::sync` works here, and so does `tokio::task::spawn_local` inside a `LocalSet` that is one of the
//! tasks. `tokio::time` and `tokio::net` do not, because they need tokio's runtime, and a `select!` that is
//! not `biased` draws random numbers.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use crate::env::clock::Clock;
use crate::env::entropy::SeededEntropy;
use crate::env::manual_clock::ManualClock;

/// Dropping it drops all tasks.
#[derive(Debug)]
pub struct SimExecutor {
    shared: Rc<Shared>,
}

/// The tasks of one process. Clones are the same group.
#[derive(Debug, Clone)]
pub struct SimGroup {
    shared: Rc<Shared>,
    number: u64,
}

/// The result of a task: its return value, or `None` if it was killed. Dropping it does not affect the task.
#[derive(Debug)]
pub struct SimTask<T> {
    outcome: Rc<RefCell<Outcome<T>>>,
}

struct Shared {
    ready: Arc<Ready>,
    order: Option<SeededEntropy>,
    tasks: RefCell<BTreeMap<u64, Task>>,
    tasks_made: Cell<u64>,
    groups_made: Cell<u64>,
    killed: RefCell<BTreeSet<u64>>,
    turns: Cell<u64>,
}

struct Task {
    group: u64,
    /// `None` while it is polled.
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    waker: Arc<TaskWaker>,
}

#[derive(Debug)]
enum Outcome<T> {
    Running(Option<Waker>),
    Done(T),
    Killed,
}

/// Numbers of the ready tasks, in the order in which they became ready.
#[derive(Debug, Default)]
struct Ready {
    queue: Mutex<VecDeque<u64>>,
}

struct TaskWaker {
    task: u64,
    ready: Arc<Ready>,
    is_queued: AtomicBool,
}

/// After this many turns without a tick of the clock, the executor assumes that tasks wake each other without
/// end.
const TURNS_MAX: u64 = 10_000_000;

/// The group of [`SimExecutor::spawn`].
const FIRST_GROUP: u64 = 0;

impl SimExecutor {
    /// Tasks take turns first in, first out.
    #[expect(clippy::new_without_default, reason = "the caller chooses between this and a seed")]
    pub fn new() -> SimExecutor {
        SimExecutor::with_order(None)
    }

    /// The seed draws which of the ready tasks is next: other seeds find other races.
    pub fn seeded(seed: u64) -> SimExecutor {
        SimExecutor::with_order(Some(SeededEntropy::new(seed)))
    }

    fn with_order(order: Option<SeededEntropy>) -> SimExecutor {
        let shared = Shared {
            ready: Arc::default(),
            order,
            tasks: RefCell::default(),
            tasks_made: Cell::new(0),
            groups_made: Cell::new(FIRST_GROUP),
            killed: RefCell::default(),
            turns: Cell::new(0),
        };
        SimExecutor { shared: Rc::new(shared) }
    }

    /// A process of its own.
    pub fn group(&self) -> SimGroup {
        let number = self.shared.groups_made.get() + 1;
        self.shared.groups_made.set(number);
        SimGroup { shared: Rc::clone(&self.shared), number }
    }

    /// Starts a task that belongs to no group.
    pub fn spawn<F: Future + 'static>(&self, future: F) -> SimTask<F::Output> {
        Rc::clone(&self.shared).spawn(FIRST_GROUP, future)
    }

    /// Polls the task whose turn it is. `false` if no task is ready.
    pub fn turn(&self) -> bool {
        self.shared.turn()
    }

    /// Turns that were taken since the beginning.
    pub fn turns(&self) -> u64 {
        self.shared.turns.get()
    }

    /// Tasks that have not ended.
    pub fn tasks(&self) -> usize {
        self.shared.tasks.borrow().len()
    }

    /// Polls until no task is ready. Returns the number of turns.
    pub fn run_until_idle(&self) -> u64 {
        let before = self.turns();
        while self.turn() {
            let turns = self.turns() - before;
            assert!(turns < TURNS_MAX, "{turns} turns and still no task waits for the clock");
        }
        self.turns() - before
    }

    /// Runs a task to its end, and moves the clock from timer to timer when every task waits. `None` if the
    /// task can never end: there is no timer left.
    pub fn run_until<F: Future + 'static>(&self, clock: &ManualClock, future: F) -> Option<F::Output> {
        let task = self.spawn(future);
        loop {
            self.run_until_idle();
            if let Some(output) = task.take() {
                return Some(output);
            }
            clock.advance_to_next_timer()?;
        }
    }

    /// Runs everything for this duration of simulated time.
    pub fn run_for(&self, clock: &ManualClock, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let end_ns = clock.monotonic_ns().saturating_add(ns);
        self.run_until_idle();
        while let Some(next_ns) = clock.next_timer().filter(|&next_ns| next_ns <= end_ns) {
            clock.advance_to(next_ns);
            self.run_until_idle();
        }
        clock.advance_to(end_ns);
    }
}

impl Drop for SimExecutor {
    fn drop(&mut self) {
        self.shared.kill(|_| true);
    }
}

impl SimGroup {
    /// Starts a task. In a group that was killed it never runs.
    pub fn spawn<F: Future + 'static>(&self, future: F) -> SimTask<F::Output> {
        Rc::clone(&self.shared).spawn(self.number, future)
    }

    /// Drops all tasks of the group, oldest first; a calling task ends at its next await. Destructors run,
    /// unlike in a killed process: end the process's disk first ([`crate::env::sim_fs::SimFs::kill`]).
    pub fn kill(&self) {
        self.shared.killed.borrow_mut().insert(self.number);
        self.shared.kill(|group| group == self.number);
    }

    pub fn is_killed(&self) -> bool {
        self.shared.killed.borrow().contains(&self.number)
    }
}

impl Shared {
    fn spawn<F: Future + 'static>(self: Rc<Self>, group: u64, future: F) -> SimTask<F::Output> {
        let outcome = Rc::new(RefCell::new(Outcome::Running(None)));
        let ending = Ending { outcome: Rc::clone(&outcome) };
        let future = async move {
            let output = future.await;
            ending.end(Outcome::Done(output));
        };
        if !self.killed.borrow().contains(&group) {
            let number = self.tasks_made.get() + 1;
            self.tasks_made.set(number);
            let waker = Arc::new(TaskWaker {
                task: number,
                ready: Arc::clone(&self.ready),
                is_queued: AtomicBool::new(false),
            });
            let task = Task { group, future: Some(Box::pin(future)), waker: Arc::clone(&waker) };
            self.tasks.borrow_mut().insert(number, task);
            waker.wake();
        }
        SimTask { outcome }
    }

    fn turn(&self) -> bool {
        loop {
            let Some(number) = self.next() else { return false };
            let taken = self.tasks.borrow_mut().get_mut(&number).and_then(|task| {
                task.waker.is_queued.store(false, Ordering::SeqCst);
                task.future.take().map(|future| (future, Arc::clone(&task.waker)))
            });
            // A task that has ended or was killed may still be woken.
            let Some((mut future, waker)) = taken else { continue };
            self.turns.set(self.turns.get() + 1);
            let polled = future.as_mut().poll(&mut Context::from_waker(&Waker::from(waker)));
            let mut tasks = self.tasks.borrow_mut();
            let ended = match (polled, tasks.get_mut(&number)) {
                (Poll::Pending, Some(task)) => {
                    task.future = Some(future);
                    return true;
                }
                // The task killed itself meanwhile.
                (Poll::Pending, None) => None,
                (Poll::Ready(()), _) => tasks.remove(&number),
            };
            // Destructors may start and wake tasks.
            drop(tasks);
            drop(ended);
            return true;
        }
    }

    fn next(&self) -> Option<u64> {
        let mut queue = self.ready.queue();
        match &self.order {
            Some(order) if !queue.is_empty() => {
                let at = order.below(queue.len() as u64) as usize;
                queue.remove(at)
            }
            _ => queue.pop_front(),
        }
    }

    fn kill(&self, is_killed: impl Fn(u64) -> bool) {
        let mut tasks = self.tasks.borrow_mut();
        let (killed, rest) =
            std::mem::take(&mut *tasks).into_iter().partition(|(_, task)| is_killed(task.group));
        *tasks = rest;
        drop(tasks);
        let killed: BTreeMap<u64, Task> = killed;
        killed.into_values().for_each(drop);
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("turns", &self.turns)
            .field("ready", &self.ready)
            .finish_non_exhaustive()
    }
}

/// Reports that a task was killed, unless it has returned.
struct Ending<T> {
    outcome: Rc<RefCell<Outcome<T>>>,
}

impl<T> Ending<T> {
    fn end(&self, outcome: Outcome<T>) {
        let before = self.outcome.replace(outcome);
        if let Outcome::Running(Some(waker)) = before {
            waker.wake();
        }
    }
}

impl<T> Drop for Ending<T> {
    fn drop(&mut self) {
        let is_running = matches!(*self.outcome.borrow(), Outcome::Running(_));
        if is_running {
            self.end(Outcome::Killed);
        }
    }
}

impl<T> SimTask<T> {
    /// Whether it has returned or was killed.
    pub fn is_ended(&self) -> bool {
        !matches!(*self.outcome.borrow(), Outcome::Running(_))
    }

    /// Its return value; once.
    pub fn take(&self) -> Option<T> {
        let mut outcome = self.outcome.borrow_mut();
        match &*outcome {
            Outcome::Done(_) => match std::mem::replace(&mut *outcome, Outcome::Killed) {
                Outcome::Done(output) => Some(output),
                _ => None,
            },
            _ => None,
        }
    }
}

impl<T> Future for SimTask<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        if let Outcome::Running(waker) = &mut *self.outcome.borrow_mut() {
            *waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(self.take())
    }
}

impl Ready {
    fn queue(&self) -> MutexGuard<'_, VecDeque<u64>> {
        self.queue.lock().expect("nothing panics while it holds the queue")
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_queued.swap(true, Ordering::SeqCst) {
            self.ready.queue().push_back(self.task);
        }
    }
}

/// Lets the other ready tasks have a turn each.
pub async fn yield_turn() {
    let mut has_yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::TimeMs;

    type Log = Rc<RefCell<Vec<(u32, u32)>>>;

    /// Three tasks that take three turns each.
    fn take_turns(executor: &SimExecutor) -> Vec<(u32, u32)> {
        let log = Log::default();
        for task in 0..3 {
            let log = Rc::clone(&log);
            drop(executor.spawn(async move {
                for step in 0..3 {
                    log.borrow_mut().push((task, step));
                    yield_turn().await;
                }
            }));
        }
        executor.run_until_idle();
        let log = log.borrow();
        log.clone()
    }

    #[test]
    fn tasks_take_turns_first_in_first_out() {
        let turns = take_turns(&SimExecutor::new());
        assert_eq!(turns, [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1), (0, 2), (1, 2), (2, 2)]);
    }

    #[test]
    fn a_seed_reproduces_an_order_and_seeds_differ() {
        let orders: BTreeSet<_> = (0..20)
            .map(|seed| {
                let order = take_turns(&SimExecutor::seeded(seed));
                assert_eq!(order, take_turns(&SimExecutor::seeded(seed)));
                order
            })
            .collect();
        assert!(orders.len() > 10, "{} orders", orders.len());
    }

    #[test]
    fn a_task_may_wait_for_another_one() {
        let executor = SimExecutor::new();
        let clock = ManualClock::new(TimeMs(0));
        let sleep = clock.sleep(Duration::from_secs(5));
        let first = executor.spawn(async move {
            sleep.await;
            20
        });
        let sum = executor.run_until(&clock, async move { first.await.unwrap() + 1 });
        assert_eq!((sum, clock.monotonic_ms(), executor.tasks()), (Some(21), 5000, 0));
    }

    #[test]
    fn what_can_never_end_is_told() {
        let executor = SimExecutor::new();
        let clock = ManualClock::new(TimeMs(0));
        assert_eq!(executor.run_until(&clock, std::future::pending::<()>()), None);
    }

    #[test]
    fn a_span_of_time_ends_where_it_ends() {
        let executor = SimExecutor::new();
        let clock = ManualClock::new(TimeMs(0));
        let ticks = Rc::new(Cell::new(0));
        drop(executor.spawn({
            let (clock, ticks) = (clock.clone(), Rc::clone(&ticks));
            async move {
                loop {
                    clock.sleep(Duration::from_millis(10)).await;
                    ticks.set(ticks.get() + 1);
                }
            }
        }));
        executor.run_for(&clock, Duration::from_millis(35));
        assert_eq!((ticks.get(), clock.monotonic_ms()), (3, 35));
        executor.run_for(&clock, Duration::from_millis(5));
        assert_eq!((ticks.get(), clock.monotonic_ms()), (4, 40));
    }

    #[test]
    fn killing_a_group_drops_its_tasks_and_no_others() {
        let executor = SimExecutor::new();
        let (node, other) = (executor.group(), executor.group());
        let held = Rc::new(());
        let task = node.spawn({
            let held = Rc::clone(&held);
            async move {
                std::future::pending::<()>().await;
                drop(held);
            }
        });
        let suicide = node.spawn({
            let node = node.clone();
            async move {
                yield_turn().await;
                node.kill();
                std::future::pending::<()>().await;
            }
        });
        let survivor = other.spawn(async {
            yield_turn().await;
            yield_turn().await;
            7
        });
        let told = executor.spawn(task);
        executor.run_until_idle();
        assert_eq!((Rc::strong_count(&held), executor.tasks()), (1, 0));
        assert_eq!((told.take(), suicide.is_ended(), survivor.take()), (Some(None), true, Some(7)));
        assert!(node.is_killed() && !other.is_killed());
        let late = node.spawn(async {});
        executor.run_until_idle();
        assert!(late.is_ended() && late.take().is_none());
    }

    #[test]
    fn tasks_of_a_dropped_executor_are_dropped() {
        let executor = SimExecutor::new();
        let held = Rc::new(());
        let group = executor.group();
        drop(group.spawn({
            let (held, group) = (Rc::clone(&held), group.clone());
            async move {
                std::future::pending::<()>().await;
                drop((held, group));
            }
        }));
        executor.run_until_idle();
        drop(executor);
        assert_eq!(Rc::strong_count(&held), 1);
    }

    #[test]
    fn tasks_of_a_local_set_and_what_tokio_has_for_them_run_here() {
        let executor = SimExecutor::new();
        let clock = ManualClock::new(TimeMs(0));
        let log = Log::default();
        let node = executor.group();
        let task = node.spawn({
            let (log, clock) = (Rc::clone(&log), clock.clone());
            let process = async move {
                let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
                drop(tokio::task::spawn_local(async move {
                    for number in 0..3 {
                        tokio::task::yield_now().await;
                        clock.sleep(Duration::from_millis(1)).await;
                        sender.send(number).await.unwrap();
                    }
                }));
                while let Some(number) = receiver.recv().await {
                    log.borrow_mut().push((0, number));
                }
            };
            async move { tokio::task::LocalSet::new().run_until(process).await }
        });
        executor.run_for(&clock, Duration::from_millis(2));
        assert_eq!(*log.borrow(), [(0, 0), (0, 1)]);
        executor.run_for(&clock, Duration::from_millis(2));
        assert!(task.is_ended());
        assert_eq!(log.borrow().len(), 3);
    }
}
