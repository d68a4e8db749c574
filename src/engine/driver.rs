//! The driver of an engine: rounds, timers, checkpoints and syncs, each a loop that borrows the engine
//! between two awaits.

use crate::base::race::Race;
use crate::engine::checkpoints;
use crate::engine::engine::{Delivery, Engine, Wakers};
use crate::engine::load::Load;
use crate::engine::statistics::Spike;
use crate::engine::submission::{EngineAnswer, Outcome};
use crate::engine::{blocking, questions, round, upkeep};
use crate::env::clock::{self, Clock, Sleep};
use crate::model::reply::ReplyError;
use crate::observe::latency::Event;
use crate::replication::committer::{CommitError, Committer};
use crate::replication::event::CommitEvent;
use crate::state::image::MachineImage;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Runs an engine. `deliver` takes the outcomes for frontends out of a delivery; it may submit again.
pub struct Driver<D: Fn(&mut Delivery)> {
    engine: Rc<RefCell<Engine>>,
    committer: Rc<Committer>,
    clock: Arc<dyn Clock>,
    wakers: Rc<Wakers>,
    deliver: D,
    /// Empty; kept for its memory.
    spare: Cell<Delivery>,
    load: Option<Arc<Load>>,
}

const NANOSECONDS_PER_MS: u64 = 1_000_000;

impl<D: Fn(&mut Delivery)> Driver<D> {
    pub fn new(engine: Rc<RefCell<Engine>>, deliver: D) -> Driver<D> {
        let (committer, clock, wakers) = {
            let engine = engine.borrow();
            (engine.committer.clone(), engine.context.clock.clone(), engine.wakers.clone())
        };
        Driver { engine, committer, clock, wakers, deliver, spare: Cell::default(), load: None }
    }

    /// The same, and reports every change of the engine's load.
    pub(super) fn with_load(self, load: Arc<Load>) -> Driver<D> {
        Driver { load: Some(load), ..self }
    }

    /// Runs until the log fails.
    pub async fn run(&self) -> CommitError {
        Race::new()
            .with(self.run_rounds())
            .with(self.run_checkpoints())
            .with(self.run_syncs())
            .with(self.run_timers())
            .with(self.run_ticks())
            .await
    }

    fn deliver(&self) {
        let mut delivery = self.spare.take();
        while !self.engine.borrow().delivery.is_empty() {
            std::mem::swap(&mut self.engine.borrow_mut().delivery, &mut delivery);
            (self.deliver)(&mut delivery);
            delivery.empty();
        }
        self.spare.set(delivery);
        if let Some(load) = &self.load {
            load.set_in_hand(self.engine.borrow().bytes_in_flight());
        }
    }

    async fn run_rounds(&self) -> CommitError {
        let mut events = Vec::new();
        loop {
            self.deliver();
            self.gather().await;
            if !self.propose() && !self.committer.has_in_flight() {
                self.reload_if_asked();
            }
            // Entries before work: a round takes in what has arrived meanwhile.
            tokio::select! {
                biased;
                result = self.committer.events(&mut events) => match result {
                    Ok(()) => self.handle(&mut events),
                    Err(error) => return error,
                },
                () = self.wakers.work.notified() => {}
                () = self.committer.room_made() => {}
            }
        }
    }

    /// Before a sync, lets everybody who is ready run until that brings no more work, or a share of the time of
    /// a sync is over: who comes now shares the sync.
    async fn gather(&self) {
        let share = self.committer.gather_max();
        let mut gathered = round::gathered(&self.engine.borrow());
        if gathered == 0 || share.is_zero() || self.committer.has_in_flight() {
            return;
        }
        let end_us = self.clock.monotonic_us() + share.as_micros() as u64;
        loop {
            // The runtime looks at the sockets before it comes back.
            tokio::task::yield_now().await;
            let now = round::gathered(&self.engine.borrow());
            if now == gathered || self.clock.monotonic_us() >= end_us {
                return;
            }
            gathered = now;
        }
    }

    /// Commits everything open or in flight before a stop. Without space for it this is an error, and what is
    /// left is ended by [`Driver::fail`].
    pub async fn finish(&self) -> Result<(), CommitError> {
        self.committer.stop_waiting();
        while !self.engine.borrow().is_idle() {
            let proposed = self.propose();
            if self.committer.has_in_flight() {
                let mut events = Vec::new();
                self.committer.events(&mut events).await?;
                self.handle(&mut events);
            } else if !proposed {
                // A sync in progress when the loops ended still holds the committer.
                self.committer.sync().await?;
            }
        }
        self.deliver();
        Ok(())
    }

    /// Ends everything open or in flight with this error.
    pub fn fail(&self, error: &ReplyError) {
        self.engine.borrow_mut().fail_everything(error);
        self.deliver();
    }

    /// Syncs everything: the end of an orderly stop.
    pub async fn stop(&self) -> Result<(), CommitError> {
        self.committer.stop().await
    }

    /// Returns whether it proposed anything.
    fn propose(&self) -> bool {
        let mut engine = self.engine.borrow_mut();
        if !engine.has_open_work() {
            return false;
        }
        engine.stopwatch.start();
        let bytes = engine.propose();
        if bytes > 0 {
            engine.statistics.note_commit(bytes);
        }
        drop(engine);
        self.deliver();
        bytes > 0
    }

    fn handle(&self, events: &mut Vec<CommitEvent>) {
        {
            let mut engine = self.engine.borrow_mut();
            if let Some(took) = self.committer.take_last_sync() {
                engine.statistics.note_flush(took.as_micros() as u64);
                let nanoseconds = took.as_nanos() as u64;
                engine.delivery.spikes.push(Spike { event: Event::Sync, nanoseconds });
            }
            for event in events.drain(..) {
                engine.handle(event);
            }
        }
        self.deliver();
    }

    /// DEBUG RELOAD, once nothing is in flight and no checkpoint is being written.
    fn reload_if_asked(&self) {
        let mut engine = self.engine.borrow_mut();
        if engine.checkpoints.reloads.is_empty() || !engine.is_idle() || engine.checkpoints.is_running() {
            return;
        }
        for request in std::mem::take(&mut engine.checkpoints.reloads) {
            let reply = questions::reload(&mut engine);
            engine.deliver(Outcome::of(request, reply));
        }
        drop(engine);
        self.deliver();
    }

    async fn run_timers(&self) -> CommitError {
        // Most waits end before their time. The timer of an earlier one does for those that are due later: they would each
        // need one of their own.
        let mut timer: Option<(u64, Sleep)> = None;
        loop {
            let due_ms = {
                let mut engine = self.engine.borrow_mut();
                blocking::run_timers(&mut engine);
                upkeep::end_overdue_syncs(&mut engine);
                let due = [engine.blocked.next_due_ms(), engine.upkeep.next_due_ms()];
                due.into_iter().flatten().min()
            };
            self.deliver();
            if let Some(due_ms) = due_ms
                && timer.as_ref().is_none_or(|(at_ms, _)| {
                    *at_ms > due_ms && !cfg!(headwater_bug = "timer_is_not_moved_up")
                })
            {
                let due_ns = due_ms.saturating_mul(NANOSECONDS_PER_MS);
                timer = Some((due_ms, self.clock.sleep_until(due_ns)));
            }
            match &mut timer {
                Some((_, sleep)) => tokio::select! {
                    biased;
                    () = self.wakers.timer.notified() => {}
                    () = sleep => timer = None,
                },
                None => self.wakers.timer.notified().await,
            }
        }
    }

    async fn run_ticks(&self) -> CommitError {
        loop {
            let hz = self.engine.borrow().context.config.borrow().hz;
            self.clock.sleep(Duration::from_millis(1000 / u64::from(hz))).await;
            upkeep::look_at_clock(&mut self.engine.borrow_mut());
            upkeep::look_at_disk(&mut self.engine.borrow_mut());
            upkeep::tick(&mut self.engine.borrow_mut());
            self.deliver();
        }
    }

    async fn run_checkpoints(&self) -> CommitError {
        loop {
            self.wakers.checkpoint.notified().await;
            checkpoints::note_begin(&mut self.engine.borrow_mut());
            let engine = &self.engine;
            let taken = RefCell::new(Vec::new());
            let images = |id| {
                let image = MachineImage::take(engine.borrow_mut().partition_mut(id).machine_mut());
                taken.borrow_mut().push((id, image.applied()));
                image
            };
            let result = self.committer.checkpoint(&images).await;
            if result.is_ok() {
                checkpoints::note_durable(&mut self.engine.borrow_mut(), &taken.into_inner());
            }
            let is_stopped = self.engine.borrow().context.latch.is_tripped();
            match result {
                Err(error) if is_stopped => return error,
                result => checkpoints::note_end(&mut self.engine.borrow_mut(), &result),
            }
            self.deliver();
            // A reload may wait for this.
            self.wakers.work.notify();
        }
    }

    /// With relaxed durability: syncs at each interval, or when a request waits for a sync.
    async fn run_syncs(&self) -> CommitError {
        loop {
            let is_awaited = self.engine.borrow().upkeep.is_sync_awaited();
            let result = match self.committer.sync_due_in() {
                _ if is_awaited => {
                    self.engine.borrow_mut().upkeep.begin_sync();
                    self.committer.sync().await
                }
                Some(wait) => {
                    let asked = clock::timeout(&*self.clock, wait, self.wakers.sync.notified()).await;
                    if asked.is_some() { continue } else { self.committer.sync_if_due().await }
                }
                // Every commit syncs.
                None => std::future::pending().await,
            };
            if is_awaited {
                let is_synced = result.is_ok();
                let mut engine = self.engine.borrow_mut();
                for request in engine.upkeep.take_synced() {
                    engine.deliver(Outcome::of(request, EngineAnswer::Synced(is_synced)));
                }
            }
            if let Err(error) = result {
                return error;
            }
            self.deliver();
        }
    }
}
