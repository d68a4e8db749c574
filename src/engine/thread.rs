//! An engine on its own thread: it takes a frontend's orders from one channel and puts deliveries into
//! another.

use crate::base::race::Race;
use crate::engine::driver::Driver;
use crate::engine::engine::{Delivery, Engine};
use crate::engine::load::Load;
use crate::engine::parcel::{Batch, Order};
use crate::engine::remote::Remote;
use crate::engine::submission::{Outcome, STOPPED, UNKNOWN, Work};
use crate::model::limits::IN_FLIGHT_BYTES_MAX;
use crate::model::request::RequestId;
use crate::replication::committer::{CommitError, OpenError};
use std::any::Any;
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use tokio::runtime;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::LocalSet;

/// Maximum batches of orders, and deliveries, that wait in a channel.
const BATCHES_MAX: usize = 8;

/// The node's handle of the thread.
pub struct EngineThread {
    remote: Rc<Remote>,
    deliveries: mpsc::Receiver<Delivery>,
    thread: JoinHandle<Result<(), CommitError>>,
}

/// Why the engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot start the engine's thread: {0}")]
    Thread(#[from] io::Error),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Died(#[from] Died),
}

/// Why the thread has ended.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Died(#[from] Died),
}

#[derive(Debug, thiserror::Error)]
#[error("the engine's thread panicked: {0}")]
pub struct Died(String);

impl EngineThread {
    /// Starts a thread and waits until `open` has created its engine there.
    pub async fn start(
        runtime: &mut runtime::Builder,
        open: impl AsyncFnOnce() -> Result<Engine, OpenError> + Send + 'static,
    ) -> Result<EngineThread, StartError> {
        EngineThread::start_with(runtime, IN_FLIGHT_BYTES_MAX, open).await
    }

    async fn start_with(
        runtime: &mut runtime::Builder,
        bytes_max: usize,
        open: impl AsyncFnOnce() -> Result<Engine, OpenError> + Send + 'static,
    ) -> Result<EngineThread, StartError> {
        let runtime = runtime.build()?;
        let load = Arc::<Load>::default();
        let (orders, taken) = mpsc::channel(BATCHES_MAX);
        let (delivered, deliveries) = mpsc::channel(BATCHES_MAX);
        let (opened, is_open) = oneshot::channel();
        let remote = Rc::new(Remote::new(orders, load.clone(), bytes_max));
        let body = move || {
            LocalSet::new().block_on(&runtime, async {
                match open().await {
                    Ok(engine) => {
                        // Without a frontend the orders end, and the engine with them.
                        let _ = opened.send(Ok(()));
                        run(engine, taken, Outlet::new(delivered, load.clone()), load).await
                    }
                    Err(error) => {
                        let _ = opened.send(Err(error));
                        Ok(())
                    }
                }
            })
        };
        let thread = thread::Builder::new().name("engine".into()).spawn(body)?;
        match is_open.await {
            Ok(Ok(())) => Ok(EngineThread { remote, deliveries, thread }),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(why(thread.join()).into()),
        }
    }

    /// The frontend's side of the engine.
    pub fn remote(&self) -> Rc<Remote> {
        self.remote.clone()
    }

    /// Passes on deliveries until the thread ends.
    pub async fn deliver_all(&mut self, mut deliver: impl FnMut(Delivery)) {
        while let Some(delivery) = self.deliveries.recv().await {
            self.remote.note_arrival(&delivery);
            deliver(delivery);
        }
    }

    /// Makes the engine commit everything submitted so far, deliver the outcomes, and end.
    pub fn stop(&self) {
        self.remote.push(Order::Stop);
    }

    /// Blocks the calling thread until the engine's thread has ended.
    pub fn join(self) -> Result<(), EndError> {
        match self.thread.join() {
            Ok(ended) => Ok(ended?),
            Err(panic) => Err(EndError::Died(Died(message(&*panic)))),
        }
    }
}

fn why<T>(ended: thread::Result<T>) -> Died {
    match ended {
        Ok(_) => Died("it ended without a word".into()),
        Err(panic) => Died(message(&*panic)),
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}

/// Runs until the frontend stops it, or the log fails.
async fn run(
    engine: Engine,
    mut orders: mpsc::Receiver<Batch>,
    outlet: Outlet,
    load: Arc<Load>,
) -> Result<(), CommitError> {
    let engine = Rc::new(RefCell::new(engine));
    let driver =
        Driver::new(engine.clone(), |delivery| outlet.push(std::mem::take(delivery))).with_load(load.clone());
    let taken = async {
        take_orders(&engine, &mut orders, &outlet, &load).await;
        None
    };
    let failed =
        Race::new().with(async { Some(driver.run().await) }).with(taken).with(outlet.run(&engine)).await;
    match failed {
        None => {
            if let Err(error) = driver.finish().await {
                driver.fail(&UNKNOWN);
                outlet.flush().await;
                return Err(error);
            }
            outlet.flush().await;
            // The frontend may close its connections during the last sync.
            drop(driver);
            let driver = Driver::new(engine, |_| ());
            drop(outlet);
            driver.stop().await
        }
        Some(error) => {
            tracing::error!(%error, "nothing more is acknowledged; stopping");
            driver.fail(&UNKNOWN);
            orders.close();
            while let Some(batch) = orders.recv().await {
                let refuse = |request| Outcome::of(request, STOPPED);
                let outcomes = batch.requests().map(refuse).collect();
                outlet.push(Delivery { outcomes, ..Delivery::default() });
            }
            outlet.flush().await;
            Err(error)
        }
    }
}

/// Takes orders until there are no more.
async fn take_orders(
    engine: &RefCell<Engine>,
    orders: &mut mpsc::Receiver<Batch>,
    outlet: &Outlet,
    load: &Load,
) {
    loop {
        // First this: who stops waiting here holds no batch.
        outlet.ready().await;
        let Some(batch) = orders.recv().await else { return };
        let bytes = batch.memory();
        let mut is_stopping = false;
        let mut taker = engine.borrow_mut();
        taker.stopwatch.start();
        batch.open(|order| match order {
            Order::Work(request, work) => take_work(&mut taker, request, work),
            Order::Notice(notice) => taker.notice(notice),
            Order::Stop => is_stopping = true,
        });
        load.set_in_hand(taker.bytes_in_flight());
        load.remove(bytes);
        let delivery = taker.take_delivery();
        drop(taker);
        outlet.push(delivery);
        if is_stopping {
            return;
        }
    }
}

/// An immediate outcome keeps its order among the others.
fn take_work(engine: &mut Engine, request: RequestId, work: Work<'_>) {
    let place = engine.delivery.outcomes.len();
    let outcome = engine.submit(request, work);
    let nanoseconds = engine.stopwatch.lap();
    if let Some(outcome) = outcome {
        engine.delivery.outcomes.insert(place, Outcome { nanoseconds, ..outcome });
    }
}

/// The output of deliveries. While the channel is full they are gathered here, and the engine takes no orders
/// and runs no periodic work.
struct Outlet {
    deliveries: mpsc::Sender<Delivery>,
    waiting: RefCell<Delivery>,
    filled: Notify,
    emptied: Notify,
    load: Arc<Load>,
}

impl Outlet {
    fn new(deliveries: mpsc::Sender<Delivery>, load: Arc<Load>) -> Outlet {
        Outlet {
            deliveries,
            waiting: RefCell::default(),
            filled: Notify::new(),
            emptied: Notify::new(),
            load,
        }
    }

    fn push(&self, delivery: Delivery) {
        if delivery.is_empty() {
            return;
        }
        self.load.add(delivery.memory());
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.is_empty() {
            return waiting.append(delivery);
        }
        // A closed frontend needs no deliveries.
        if let Err(mpsc::error::TrySendError::Full(delivery)) = self.deliveries.try_send(delivery) {
            *waiting = delivery;
            self.filled.notify_one();
        }
    }

    async fn run<T>(&self, engine: &RefCell<Engine>) -> T {
        loop {
            self.filled.notified().await;
            engine.borrow_mut().upkeep.is_crowded = true;
            self.flush().await;
            engine.borrow_mut().upkeep.is_crowded = false;
        }
    }

    async fn flush(&self) {
        while !self.waiting.borrow().is_empty() {
            let Ok(permit) = self.deliveries.reserve().await else { break };
            permit.send(self.waiting.take());
        }
        self.emptied.notify_one();
    }

    /// Waits until no delivery is gathered.
    async fn ready(&self) {
        while !self.waiting.borrow().is_empty() && !self.deliveries.is_closed() {
            self.emptied.notified().await;
        }
    }
}

#[cfg(test)]
#[path = "thread_tests.rs"]
mod tests;
