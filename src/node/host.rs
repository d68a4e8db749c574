//! The host of a node's engine: the frontend's thread, or a thread of its own.

use crate::base::latch::Latch;
use crate::base::race::Race;
use crate::config::config::Config;
use crate::context::context::NodeContext;
use crate::engine::driver::Driver;
use crate::engine::engine::Engine;
use crate::engine::port::Port;
use crate::engine::submission::UNKNOWN;
use crate::engine::thread::{EndError, EngineThread, StartError};
use crate::env::fs::Fs;
use crate::env::threads::Threads;
use crate::frontend::frontend::Frontend;
use crate::node::error::NodeError;
use crate::replication::committer::{Committer, OpenError};
use crate::server::goodbye::say_goodbye;
use crate::server::outcomes;
use crate::storage::data_dir::DataDir;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use tokio::runtime;

pub enum Host {
    Here(Rc<RefCell<Engine>>),
    There(EngineThread),
}

/// The parts of an engine.
pub struct Opening {
    pub context: Arc<NodeContext>,
    pub fs: Arc<dyn Fs>,
    pub data_dir: Arc<DataDir>,
    pub config: Config,
    pub latch: Latch,
    pub threads: Arc<dyn Threads>,
}

impl Opening {
    /// Recovers everything known as committed. Runs on the engine's thread.
    async fn open(self) -> Result<Engine, OpenError> {
        let clock = self.context.clock.clone();
        let committer =
            Committer::open(self.fs, clock, self.threads, &self.data_dir, &self.config, self.latch)?;
        let committer = Rc::new(committer);
        let machines = committer.recover().await?;
        Ok(Engine::new(self.context, committer, machines))
    }
}

impl Host {
    /// Returns when the engine has recovered.
    pub async fn start(opening: Opening, runtime: &mut runtime::Builder) -> Result<Host, NodeError> {
        if !opening.config.engine_thread {
            return Ok(Host::Here(Rc::new(RefCell::new(opening.open().await?))));
        }
        let started = EngineThread::start(runtime, async move || opening.open().await).await;
        match started {
            Ok(thread) => Ok(Host::There(thread)),
            Err(StartError::Open(error)) => Err(error.into()),
            Err(StartError::Died(died)) => Err(died.into()),
            Err(StartError::Thread(source)) => {
                Err(NodeError::System { doing: "starting the engine's thread", source })
            }
        }
    }

    /// The frontend's side of the engine.
    pub fn port(&self) -> Port {
        match self {
            Host::Here(engine) => Port::Here(engine.clone()),
            Host::There(thread) => Port::There(thread.remote()),
        }
    }

    /// Runs the engine until it is asked to stop or fails. Then earlier submissions are answered, all
    /// connections are closed, and everything is synced.
    pub async fn run(self, frontend: &Rc<Frontend>, stop: impl Future<Output = ()>) -> Result<(), NodeError> {
        match self {
            Host::Here(engine) => run_here(engine, frontend, stop).await,
            Host::There(thread) => run_there(thread, frontend, stop).await,
        }
    }
}

async fn run_here(
    engine: Rc<RefCell<Engine>>,
    frontend: &Rc<Frontend>,
    stop: impl Future<Output = ()>,
) -> Result<(), NodeError> {
    let driver = Driver::new(engine, |delivery| outcomes::deliver(frontend, delivery));
    // This task is polled whenever a connection is.
    let stop = async {
        stop.await;
        None
    };
    let failed = Race::new().with(async { Some(driver.run().await) }).with(stop).await;
    match failed {
        Some(error) => {
            tracing::error!(%error, "nothing more is acknowledged; stopping");
            driver.fail(&UNKNOWN);
            say_goodbye(frontend).await;
            Err(NodeError::Commit(error))
        }
        None => {
            tracing::info!("stopping");
            driver.finish().await?;
            say_goodbye(frontend).await;
            driver.stop().await?;
            Ok(())
        }
    }
}

async fn run_there(
    mut thread: EngineThread,
    frontend: &Rc<Frontend>,
    stop: impl Future<Output = ()>,
) -> Result<(), NodeError> {
    let remote = thread.remote();
    tokio::task::spawn_local(async move { remote.carry().await });
    let (remote, held) = (thread.remote(), frontend.clone());
    tokio::task::spawn_local(async move {
        loop {
            remote.room_made().await;
            held.release_if_room();
        }
    });
    let deliver = |mut delivery| outcomes::deliver(frontend, &mut delivery);
    let is_asked = tokio::select! {
        biased;
        () = stop => true,
        () = thread.deliver_all(deliver) => false,
    };
    if is_asked {
        tracing::info!("stopping");
        thread.stop();
        thread.deliver_all(deliver).await;
    } else {
        // The end of the engine carries its reason.
        frontend.context.latch.trip("the engine has ended".into());
    }
    say_goodbye(frontend).await;
    thread.join().map_err(|error| match error {
        EndError::Commit(error) => NodeError::Commit(error),
        EndError::Died(died) => NodeError::EngineDied(died),
    })
}
