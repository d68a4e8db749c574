//! One life of the server: from its start on a simulated disk to its end, whatever that is.

use super::settings::Settings;
use headwater::acl::acl::Acl;
use headwater::base::latch::Latch;
use headwater::base::shared::Shared;
use headwater::context::context::{Identity, NodeContext};
use headwater::engine::engine::Engine;
use headwater::engine::port::Port;
use headwater::env::clock::Clock;
use headwater::env::disposal::Disposal;
use headwater::env::entropy::{Entropy, SeededEntropy};
use headwater::env::fs::Fs;
use headwater::env::manual_clock::ManualClock;
use headwater::env::sim_executor::{SimExecutor, SimGroup, SimTask};
use headwater::env::sim_fs::SimFs;
use headwater::env::sim_pipe::{self, SimLink, SimSocket};
use headwater::env::sim_threads::SimThreads;
use headwater::frontend::frontend::Frontend;
use headwater::model::key_events::EventClasses;
use headwater::model::limits::OP_BYTES_MAX;
use headwater::net::listener::Accepted;
use headwater::node::host::Host;
use headwater::observe::tracing::LogLevels;
use headwater::replication::committer::Committer;
use headwater::server::connection_task::READ_BYTES;
use headwater::server::{accept, upkeep};
use headwater::storage::data_dir::{DataDir, DataDirOptions};
use headwater::storage::space::DiskSpace;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::Notify;

/// The world that outlives the processes.
pub struct World {
    pub executor: SimExecutor,
    pub clock: ManualClock,
    pub disk: SimFs,
    pub settings: Settings,
}

pub struct Process {
    group: SimGroup,
    frontend: Rc<Frontend>,
    scratch: Rc<RefCell<Vec<u8>>>,
    ended: SimTask<Result<(), String>>,
    how: RefCell<Option<Result<(), String>>>,
    clients: u16,
    pipe_bytes: usize,
}

impl Process {
    /// Recovers and serves. An error is a start that was refused or did not come to its end.
    pub fn start(world: &World, seed: u64) -> Result<Process, String> {
        let group = world.executor.group();
        let threads = SimThreads::new(world.clock.clone(), seed ^ 0x7468_7265_6164);
        drop(group.spawn(threads.serve()));
        let boot = boot(world.settings.clone(), world.disk.process(), world.clock.clone(), threads, seed);
        let booted = group.spawn(boot);
        // Recovery waits for nobody but the disk.
        for _ in 0..1000 {
            world.executor.run_until_idle();
            if booted.is_ended() || world.clock.advance_to_next_timer().is_none() {
                break;
            }
        }
        let (frontend, engine, data_dir) = match booted.take() {
            Some(Ok(parts)) => parts,
            Some(Err(why)) => {
                world.disk.kill();
                group.kill();
                return Err(why);
            }
            None => return Err("the start hangs".to_owned()),
        };
        drop(group.spawn(upkeep::run(frontend.clone())));
        drop(group.spawn(upkeep::run_flushes(frontend.clone())));
        let served = frontend.clone();
        let ended = group.spawn(async move {
            let _locked = data_dir;
            let stop = served.context.stop.notified();
            Host::Here(engine).run(&served, stop).await.map_err(|error| error.to_string())
        });
        Ok(Process {
            group,
            frontend,
            scratch: Rc::new(RefCell::new(vec![0; READ_BYTES])),
            ended,
            how: RefCell::default(),
            clients: 0,
            pipe_bytes: world.settings.pipe_bytes,
        })
    }

    pub fn connect(&mut self) -> (SimSocket, SimLink) {
        self.clients += 1;
        let (client, server, link) = sim_pipe::pair(self.pipe_bytes);
        let peer = SocketAddr::from(([127, 0, 0, 1], 10_000 + self.clients));
        let accepted = Accepted::Simulated(server, peer);
        let task = accept::admit(&self.frontend, accepted, &self.scratch).expect("clients are welcome");
        drop(self.group.spawn(task));
        (client, link)
    }

    /// What [`node::drive`] returned, if the server has ended by itself.
    pub fn has_ended(&self) -> Option<Result<(), String>> {
        if let Some(ended) = self.ended.take() {
            *self.how.borrow_mut() = Some(ended);
        }
        self.how.borrow().clone()
    }

    /// Of ops that are gathered or on their way through the log.
    pub fn bytes_in_flight(&self) -> usize {
        match &self.frontend.port {
            Port::Here(engine) => engine.borrow().bytes_in_flight(),
            _ => panic!("the engine is on this thread"),
        }
    }

    /// Nothing is gathered or on its way through the log, and no blocked read asks to go there.
    pub fn is_idle(&self) -> bool {
        match &self.frontend.port {
            Port::Here(engine) => {
                let engine = engine.borrow();
                engine.is_idle() && !engine.has_open_work() && !self.holds_clients()
            }
            _ => panic!("the engine is on this thread"),
        }
    }

    /// DEBUG RELOAD waits, and everybody with it.
    pub fn holds_clients(&self) -> bool {
        self.frontend.pause.is_begun()
    }

    /// An orderly stop begins.
    pub fn ask_to_stop(&self) {
        self.frontend.context.stop.notify_one();
    }

    pub fn kill(self, world: &World, is_power_cut: bool) {
        if is_power_cut {
            world.disk.crash();
        } else {
            world.disk.kill();
        }
        self.group.kill();
    }
}

type Parts = (Rc<Frontend>, Rc<RefCell<Engine>>, DataDir);

async fn boot(
    settings: Settings,
    disk: SimFs,
    clock: ManualClock,
    threads: SimThreads,
    seed: u64,
) -> Result<Parts, String> {
    let fs: Arc<dyn Fs> = Arc::new(disk);
    let clock: Arc<dyn Clock> = Arc::new(clock);
    let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(seed));
    let mut config = settings.config();
    if settings.events {
        config.notify_keyspace_events = EventClasses::parse("KEA").expect("as in the manual");
    }
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    let acl = Acl::open(&config, fs.clone()).map_err(|error| failed(&error))?;
    let options = DataDirOptions {
        partitions: config.partitions,
        start_as: config.replication.into(),
        journal: settings.journal(),
    };
    let data_dir =
        DataDir::open(fs.clone(), &config.dir, options, &*entropy).map_err(|error| failed(&error))?;
    let latch = Latch::new();
    let disk =
        Arc::new(DiskSpace::open(fs.clone(), &config.dir, config.disk_reserve, config.journal_file_bytes));
    let mut options = settings.committer(&config);
    options.journal.space = disk.clone();
    let committer = Committer::open(fs, clock.clone(), Arc::new(threads), &data_dir, options, latch.clone())
        .map_err(|error| failed(&error))?;
    let identity = Identity {
        run_id: format!("{seed:040x}"),
        started_ms: clock.monotonic_ms(),
        config_file: String::new(),
        executable: String::new(),
        startup_bytes: 0,
        memory_bytes: 0,
    };
    let context = Arc::new(NodeContext {
        config: Shared::new(config),
        acl,
        clock,
        entropy,
        identity,
        disk,
        disposal: Disposal::default(),
        latch,
        log_levels: LogLevels::detached(),
        stop: Notify::new(),
    });
    let machines = committer.recover().await.map_err(|error| failed(&error))?;
    let mut engine = Engine::new(context.clone(), Rc::new(committer), machines);
    engine.set_bytes_max(settings.batch_bytes, OP_BYTES_MAX);
    let engine = Rc::new(RefCell::new(engine));
    let frontend = Rc::new(Frontend::new(context, Port::Here(engine.clone()), None));
    Ok((frontend, engine, data_dir))
}
