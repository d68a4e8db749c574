//! Simulated threads: the work of a lane runs inside the simulation's only thread, at a later turn.
//!
//! The seed draws how many turns later. Time that the work spends with [`ManualClock::spend`], for example in
//! a slow sync, delays its outcome: the effects of the work exist at once, and its
//! [`crate::env::threads::Elsewhere`] is ready when the time is over. A process that is killed in between has
//! done work without learning of it, as a real one may.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::env::clock::{Clock, Sleep};
use crate::env::entropy::SeededEntropy;
use crate::env::manual_clock::ManualClock;
use crate::env::threads::{Lane, Priority, Tell, Threads, Work};

/// The threads of one process. Clones are the same ones.
#[derive(Debug, Clone)]
pub struct SimThreads {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: ManualClock,
    entropy: SeededEntropy,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    lanes: BTreeMap<u64, LaneState>,
    lanes_made: u64,
    /// Of the task that serves.
    waker: Option<Waker>,
    is_refused: bool,
    is_over: bool,
}

#[derive(Default)]
struct LaneState {
    /// Each with the turns to go until it is done.
    queue: VecDeque<(u64, Work)>,
    /// Done; its result is due at this time.
    running: Option<(u64, Tell)>,
    /// Its [`Lane`] is dropped.
    is_left: bool,
    has_died: bool,
}

/// Maximum turns between submission and execution on an idle lane.
const TURNS_MAX: u64 = 4;

impl SimThreads {
    pub fn new(clock: ManualClock, seed: u64) -> SimThreads {
        let (entropy, state) = (SeededEntropy::new(seed), Mutex::default());
        SimThreads { shared: Arc::new(Shared { clock, entropy, state }) }
    }

    /// From now on starting a thread fails, or succeeds again.
    pub fn refuse(&self, is_refused: bool) {
        self.shared.state().is_refused = is_refused;
    }

    /// Does the work of all lanes, without end. Spawn it into the group of the process; dropping it drops the
    /// unfinished work.
    pub fn serve(&self) -> impl Future<Output = ()> + use<> {
        let mut server = Server { shared: Arc::clone(&self.shared), timer: None };
        std::future::poll_fn(move |context| server.poll(context))
    }
}

impl Threads for SimThreads {
    fn start(&self, _name: &str, _priority: Priority) -> io::Result<Arc<dyn Lane>> {
        let mut state = self.shared.state();
        if state.is_refused || state.is_over {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.lanes_made += 1;
        let number = state.lanes_made;
        state.lanes.insert(number, LaneState::default());
        Ok(Arc::new(SimLane { shared: Arc::clone(&self.shared), number }))
    }
}

/// The task that stands for the threads; they end with it.
struct Server {
    shared: Arc<Shared>,
    /// When the next result is due.
    timer: Option<Sleep>,
}

impl Server {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.shared.state().waker = Some(context.waker().clone());
        let (is_busy, wake_ns) = self.shared.round();
        self.timer = wake_ns.map(|ns| self.shared.clock.sleep_until(ns));
        let is_due = self.timer.as_mut().is_some_and(|timer| timer.as_mut().poll(context).is_ready());
        if is_busy || is_due {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.is_over = true;
        let lanes = std::mem::take(&mut state.lanes);
        drop(state);
        drop(lanes);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives every lane its turn. Returns whether a lane needs another turn, and when the next result is due.
    fn round(&self) -> (bool, Option<u64>) {
        let numbers: Vec<u64> = self.state().lanes.keys().copied().collect();
        let mut is_busy = false;
        let mut wake_ns: Option<u64> = None;
        for number in numbers {
            let mut state = self.state();
            let Some(lane) = state.lanes.get_mut(&number) else { continue };
            if let Some((told_ns, tell)) = lane.running.take() {
                if told_ns > self.clock.monotonic_ns() {
                    lane.running = Some((told_ns, tell));
                    wake_ns = Some(wake_ns.map_or(told_ns, |earlier| earlier.min(told_ns)));
                    continue;
                }
                is_busy |= !lane.queue.is_empty() || lane.is_left;
                drop(state);
                tell();
                continue;
            }
            match lane.queue.pop_front() {
                Some((turns, work)) if turns > 0 => {
                    lane.queue.push_front((turns - 1, work));
                    is_busy = true;
                }
                Some((_, work)) => {
                    drop(state);
                    self.start(number, work);
                    is_busy = true;
                }
                None if lane.is_left => {
                    state.lanes.remove(&number);
                }
                None => {}
            }
        }
        (is_busy, wake_ns)
    }

    /// Does the work now; its result is delivered later.
    fn start(&self, number: u64, work: Work) {
        let (done, spent) = self.clock.elsewhere(|| catch_unwind(AssertUnwindSafe(work)));
        let spent_ns = u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX);
        let told_ns = self.clock.monotonic_ns().saturating_add(spent_ns);
        let mut state = self.state();
        let Some(lane) = state.lanes.get_mut(&number) else { return };
        match done {
            Ok(tell) => lane.running = Some((told_ns, tell)),
            Err(_) => {
                lane.has_died = true;
                let queue = std::mem::take(&mut lane.queue);
                drop(state);
                drop(queue);
            }
        }
    }
}

#[derive(Debug)]
struct SimLane {
    shared: Arc<Shared>,
    number: u64,
}

impl Lane for SimLane {
    fn submit(&self, work: Work) {
        let turns = self.shared.entropy.below(TURNS_MAX);
        let mut state = self.shared.state();
        if let Some(lane) = state.lanes.get_mut(&self.number)
            && !lane.has_died
        {
            lane.queue.push_back((turns, work));
            let waker = state.waker.take();
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// The caller blocks the simulation's only thread, so the lane's time passes for every task.
    fn help(&self, is_done: &dyn Fn() -> bool, limit: Option<Duration>) -> bool {
        let end_ns = limit.map_or(u64::MAX, |limit| {
            let limit_ns = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
            self.shared.clock.monotonic_ns().saturating_add(limit_ns)
        });
        while !is_done() {
            let mut state = self.shared.state();
            let Some(lane) = state.lanes.get_mut(&self.number) else { return false };
            if let Some((told_ns, tell)) = lane.running.take() {
                if told_ns > end_ns {
                    lane.running = Some((told_ns, tell));
                    // The task that serves sets its timer for the end of the work.
                    let waker = state.waker.take();
                    drop(state);
                    self.shared.clock.advance_to(end_ns);
                    if let Some(waker) = waker {
                        waker.wake();
                    }
                    return false;
                }
                drop(state);
                self.shared.clock.advance_to(told_ns);
                tell();
                continue;
            }
            let next = lane.queue.pop_front();
            drop(state);
            let Some((_, work)) = next else { return false };
            self.shared.start(self.number, work);
        }
        false
    }
}

impl Drop for SimLane {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        if let Some(lane) = state.lanes.get_mut(&self.number) {
            lane.is_left = true;
            let waker = state.waker.take();
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl std::fmt::Debug for LaneState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LaneState")
            .field("queued", &self.queue.len())
            .field("is_running", &self.running.is_some())
            .field("has_died", &self.has_died)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::sim_executor::{SimExecutor, SimGroup};
    use crate::env::threads::{Elsewhere, ThreadDied, run};
    use crate::model::time::TimeMs;
    use std::time::Duration;

    struct Process {
        executor: SimExecutor,
        group: SimGroup,
        clock: ManualClock,
        threads: SimThreads,
    }

    fn process(seed: u64) -> Process {
        let executor = SimExecutor::new();
        let group = executor.group();
        let clock = ManualClock::new(TimeMs(0));
        let threads = SimThreads::new(clock.clone(), seed);
        drop(group.spawn(threads.serve()));
        executor.run_until_idle();
        Process { executor, group, clock, threads }
    }

    impl Process {
        fn lane(&self) -> Arc<dyn Lane> {
            self.threads.start("worker", Priority::Normal).unwrap()
        }

        fn outcome<T: 'static>(&self, elsewhere: Elsewhere<T>) -> Option<Result<T, ThreadDied>> {
            self.executor.run_until(&self.clock, elsewhere)
        }
    }

    /// Work of this duration; returns its end by its own clock.
    fn spend(lane: &Arc<dyn Lane>, clock: &ManualClock, ms: u64) -> Elsewhere<u64> {
        let clock = clock.clone();
        run(lane, move || {
            clock.spend(Duration::from_millis(ms));
            clock.monotonic_ms()
        })
    }

    #[test]
    fn work_is_done_at_a_later_turn_and_told_when_its_time_is_over() {
        for seed in 0..10 {
            let process = process(seed);
            let (lane, other) = (process.lane(), process.lane());
            let slow = spend(&lane, &process.clock, 30);
            let behind = spend(&lane, &process.clock, 5);
            let beside = spend(&other, &process.clock, 10);
            assert!(!slow.is_done());
            process.executor.run_until_idle();
            assert!(!slow.is_done() && !beside.is_done(), "the clock has not moved");
            assert_eq!((process.outcome(beside), process.clock.monotonic_ms()), (Some(Ok(10)), 10));
            assert_eq!((process.outcome(slow), process.clock.monotonic_ms()), (Some(Ok(30)), 30));
            assert_eq!((process.outcome(behind), process.clock.monotonic_ms()), (Some(Ok(35)), 35));
        }
    }

    #[test]
    fn work_that_is_killed_was_done_or_never_will_be() {
        let (mut done, mut undone) = (0, 0);
        for seed in 0..20 {
            let process = process(seed);
            let lane = process.lane();
            let flag = Arc::new(Mutex::new(false));
            let set = Arc::clone(&flag);
            let clock = process.clock.clone();
            let elsewhere = run(&lane, move || {
                clock.spend(Duration::from_millis(1));
                *set.lock().unwrap() = true;
            });
            process.executor.turn();
            process.executor.turn();
            process.group.kill();
            assert_eq!(process.outcome(elsewhere), Some(Err(ThreadDied)));
            assert_eq!(run(&lane, || 1).wait(), Err(ThreadDied));
            let is_set = *flag.lock().unwrap();
            *(if is_set { &mut done } else { &mut undone }) += 1;
        }
        assert!(done > 0 && undone > 0, "{done} {undone}");
    }

    #[test]
    fn who_waits_by_blocking_does_the_work_and_stops_the_world() {
        let process = process(1);
        let lane = process.lane();
        let slow = spend(&lane, &process.clock, 30);
        process.executor.run_until_idle();
        let behind = spend(&lane, &process.clock, 5);
        assert_eq!((behind.wait(), process.clock.monotonic_ms()), (Ok(35), 35));
        assert_eq!(slow.wait(), Ok(30));
    }

    #[test]
    fn who_waits_for_a_limited_time_leaves_the_work_going_on() {
        let process = process(1);
        let lane = process.lane();
        let mut slow = spend(&lane, &process.clock, 30);
        assert_eq!(slow.wait_for(Duration::from_millis(10)), None);
        assert_eq!(process.clock.monotonic_ms(), 10);
        assert_eq!(slow.wait_for(Duration::from_millis(10)), None);
        assert_eq!(slow.wait_for(Duration::from_millis(15)), Some(Ok(30)));
        assert_eq!(process.clock.monotonic_ms(), 30);
    }

    #[test]
    fn a_panic_is_told_and_so_is_what_comes_behind_it() {
        let process = process(1);
        let lane = process.lane();
        let first = run(&lane, || panic!("on purpose"));
        let second = run(&lane, || 2);
        assert_eq!(process.outcome(first), Some(Err::<(), _>(ThreadDied)));
        assert_eq!(process.outcome(second), Some(Err(ThreadDied)));
        assert_eq!(process.outcome(run(&lane, || 3)), Some(Err(ThreadDied)));
    }

    #[test]
    fn a_lane_that_is_left_does_its_work_and_goes() {
        let process = process(1);
        let lane = process.lane();
        let outcome = spend(&lane, &process.clock, 1);
        drop(lane);
        assert_eq!(process.outcome(outcome), Some(Ok(1)));
        process.executor.run_until_idle();
        assert!(process.threads.shared.state().lanes.is_empty());
        process.threads.refuse(true);
        assert!(process.threads.start("worker", Priority::Normal).is_err());
    }
}
