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
use crate::env::counted_fs::CountedFs;
use crate::env::fs::{Fs, OpenMode};
use crate::env::threads::{self, Priority, Threads};
use crate::frontend::frontend::Frontend;
use crate::node::error::NodeError;
use crate::observe::loading::Loading;
use crate::replication::committer::{Committer, CommitterOptions, Loaded, OpenError};
use crate::server::goodbye::say_goodbye;
use crate::server::outcomes;
use crate::storage::data_dir::DataDir;
use std::cell::RefCell;
use std::path::PathBuf;
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
    pub loading: Arc<Loading>,
}

impl Opening {
    /// Recovers everything known as committed, on this thread.
    async fn open(self) -> Result<Engine, OpenError> {
        let context = self.context.clone();
        let loaded = self.read()?;
        Opening::start(context, loaded).await
    }

    /// The same on a thread of its own: meanwhile this one tells the clients that it is loading.
    async fn open_elsewhere(self) -> Result<Engine, NodeError> {
        let context = self.context.clone();
        let lane = self
            .threads
            .start("recovery", Priority::Normal)
            .map_err(|source| NodeError::System { doing: "starting the recovery thread", source })?;
        let loaded = threads::run(&lane, move || self.read()).await.expect("its panic has been told");
        Ok(Opening::start(context, loaded?).await?)
    }

    fn read(self) -> Result<Loaded, OpenError> {
        let mut options =
            CommitterOptions { loading: self.loading.clone(), ..CommitterOptions::from(&self.config) };
        options.journal.space = self.context.disk.clone();
        let fs = Arc::new(CountedFs { inner: self.fs, read: self.loading.counter() });
        let clock = self.context.clock.clone();
        Loaded::read(fs, clock, self.threads, &self.data_dir, options, self.latch)
    }

    /// The journal is read twice, for its index and for its entries; a checkpoint is read and decoded. Whatever
    /// cannot be read is reported by recovery.
    fn bytes_expected(&self) -> u64 {
        let bytes_of = |folder: PathBuf| -> u64 {
            let names = self.fs.read_dir(&folder).unwrap_or_default();
            let len = |name: &String| self.fs.open(&folder.join(name), OpenMode::Read)?.len();
            names.iter().filter_map(|name| len(name).ok()).sum()
        };
        2 * (bytes_of(self.data_dir.journal()) + bytes_of(self.data_dir.checkpoint()))
    }

    async fn start(context: Arc<NodeContext>, loaded: Loaded) -> Result<Engine, OpenError> {
        let (committer, machines) = Committer::start(loaded).await?;
        Ok(Engine::new(context, Rc::new(committer), machines))
    }
}

impl Host {
    /// Returns when the engine has recovered.
    pub async fn start(opening: Opening, runtime: &mut runtime::Builder) -> Result<Host, NodeError> {
        // Before the first client can ask for the progress.
        opening.loading.expect(opening.bytes_expected());
        if !opening.config.engine_thread {
            return Ok(Host::Here(Rc::new(RefCell::new(opening.open_elsewhere().await?))));
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
            if let Err(error) = driver.finish().await {
                driver.fail(&UNKNOWN);
                say_goodbye(frontend).await;
                return Err(NodeError::Commit(error));
            }
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
