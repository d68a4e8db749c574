//! A node from its first look at the data directory to its last sync.

use crate::acl::acl::{Acl, AclError};
use crate::base::latch::Latch;
use crate::base::shared::Shared;
use crate::config::config::Config;
use crate::context::context::{Identity, NodeContext};
use crate::engine::driver::Driver;
use crate::engine::engine::Engine;
use crate::engine::port::Port;
use crate::engine::submission::UNKNOWN;
use crate::env::allocator;
use crate::env::clock::{self, Clock, SystemClock};
use crate::env::entropy::{Entropy, SystemEntropy};
use crate::env::fs::{Fs, RealFs};
use crate::env::process;
use crate::env::threads::{RealThreads, Threads};
use crate::frontend::frontend::Frontend;
use crate::net::listener::{self, Listener};
use crate::net::tls::config::{self as tls_config, TlsError};
use crate::node::unix_socket::{self, BindError, SocketFile};
use crate::observe::tracing::LogLevels;
use crate::replication::committer::{CommitError, Committer, OpenError};
use crate::server::{accept, outcomes, upkeep};
use crate::storage::data_dir::{DataDir, DataDirError};
use std::cell::RefCell;
use std::io::Write;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::LocalSet;

/// Why a node does not start, or did not stop as it should.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error("users: {0}")]
    Acl(#[from] AclError),
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("{0}")]
    Address(String),
    #[error("cannot listen on the Unix socket {path}: {source}")]
    UnixSocket { path: String, source: BindError },
    #[error("cannot speak TLS: {0}")]
    Tls(#[from] TlsError),
    #[error("nothing to listen on: set port, tls-port or unixsocket")]
    NothingToListenOn,
    #[error("cannot start: {doing}: {source}")]
    System { doing: &'static str, source: std::io::Error },
    #[error("stopped because what was written can no longer be trusted to be on disk: {0}")]
    Commit(#[from] CommitError),
}

/// Runs a node until it is asked to stop.
pub fn run(mut config: Config, log_levels: LogLevels) -> Result<(), NodeError> {
    // Its time begins here: the banner tells how long the start took.
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    fit_clients_to_files(&mut config);
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let threads: Arc<dyn Threads> = Arc::new(RealThreads);
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .event_interval(EVENT_INTERVAL)
        .build()
        .map_err(|source| NodeError::System { doing: "making the runtime", source })?;
    LocalSet::new().block_on(&runtime, async {
        // Before the directory is touched: a port in use is found at once, and leaves nothing behind.
        let tls = match config.tls.port {
            0 => None,
            _ => Some(tls_config::build(&config.tls)?),
        };
        let doors = listen(&config)?;
        let acl = Acl::open(&config, fs.clone())?;
        let data_dir = DataDir::open(fs.clone(), &config.dir, config.partitions, &*entropy)?;
        let latch = Latch::new();
        let committer = Committer::open(fs, clock.clone(), threads, &data_dir, &config, latch.clone())?;
        let committer = Rc::new(committer);
        let context = Arc::new(NodeContext {
            identity: identity(&config, &*clock, &*entropy),
            config: Shared::new(config.clone()),
            acl,
            clock,
            entropy,
            latch,
            log_levels,
            stop: Notify::new(),
        });
        let machines = committer.recover().await?;
        let engine = Rc::new(RefCell::new(Engine::new(context.clone(), committer, machines)));
        let frontend = Rc::new(Frontend::new(context, Port::Here(engine.clone()), tls));
        print_banner(&config, &data_dir, &doors.names, frontend.monotonic_ms());
        serve(&frontend, &engine, doors.listeners).await
    })
}

/// Tasks that are polled between two looks at the sockets: one round should take in all that has arrived.
const EVENT_INTERVAL: u32 = 61;

/// How long clients have to take their last replies.
const GOODBYE: Duration = Duration::from_millis(200);

/// As many clients as `maxclients` says need as many descriptors; the limit that most shells start with is 1024. Where fewer are
/// allowed there are fewer clients: the journal must never want for one (Redis `adjustOpenFilesLimit`).
fn fit_clients_to_files(config: &mut Config) {
    let clients = process::files_for_clients(config.maxclients as u64);
    if clients < config.maxclients as u64 {
        tracing::warn!(
            wanted = config.maxclients,
            maxclients = clients,
            "fewer open files are allowed than maxclients wants, so it was lowered; raise the limit (ulimit -n)"
        );
        config.maxclients = clients as usize;
    }
}

/// What a node listens on.
struct Doors {
    listeners: Vec<Listener>,
    /// As the banner names them.
    names: Vec<String>,
    /// Removed when the node stops.
    _socket_file: Option<SocketFile>,
}

fn listen(config: &Config) -> Result<Doors, NodeError> {
    let mut doors = Doors { listeners: Vec::new(), names: Vec::new(), _socket_file: None };
    if config.port != 0 {
        for listener in listen_tcp(config, config.port)? {
            doors.names.extend(listener.local_addr().map(|address| address.to_string()));
            doors.listeners.push(Listener::Tcp(listener));
        }
    }
    if config.tls.port != 0 {
        for listener in listen_tcp(config, config.tls.port)? {
            doors.names.extend(listener.local_addr().map(|address| format!("{address} (TLS)")));
            doors.listeners.push(Listener::Tls(listener));
        }
    }
    if !config.unixsocket.is_empty() {
        let path = &config.unixsocket;
        let (listener, file) = unix_socket::bind(path.as_ref(), config.unixsocketperm, config.tcp_backlog)
            .map_err(|source| NodeError::UnixSocket { path: path.clone(), source })?;
        doors.names.push(path.clone());
        doors.listeners.push(Listener::Unix(listener, path.as_str().into()));
        doors._socket_file = Some(file);
    }
    if doors.listeners.is_empty() {
        return Err(NodeError::NothingToListenOn);
    }
    Ok(doors)
}

/// One listener for each address of `bind` that this machine has.
fn listen_tcp(config: &Config, port: u16) -> Result<Vec<TcpListener>, NodeError> {
    let mut listeners: Vec<TcpListener> = Vec::new();
    for bind in config.bind_addresses().map_err(NodeError::Address)? {
        let address = SocketAddr::new(bind.ip, port);
        match listener::bind(address, config.tcp_backlog) {
            Ok(listener) => listeners.push(listener),
            Err(error) if bind.may_be_missing && is_missing_address(&error) => {
                tracing::info!(%address, "not on this machine; not listening there");
            }
            Err(source) => return Err(NodeError::Listen { address, source }),
        }
    }
    Ok(listeners)
}

fn is_missing_address(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(error.kind(), ErrorKind::AddrNotAvailable | ErrorKind::Unsupported)
        || error.raw_os_error() == Some(ADDRESS_FAMILY_NOT_SUPPORTED)
}

/// EAFNOSUPPORT on Linux, where the kernel has no IPv6.
const ADDRESS_FAMILY_NOT_SUPPORTED: i32 = 97;

fn identity(config: &Config, clock: &dyn Clock, entropy: &dyn Entropy) -> Identity {
    let run_id = format!("{:016x}{:016x}{:016x}", entropy.u64(), entropy.u64(), entropy.u64());
    Identity {
        run_id: run_id[..RUN_ID_DIGITS].to_owned(),
        started_at: clock.now(),
        config_file: config.config_file.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
        executable: std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_default(),
        startup_bytes: allocator::allocated_bytes(),
    }
}

/// As in Redis.
const RUN_ID_DIGITS: usize = 40;

async fn serve(
    frontend: &Rc<Frontend>,
    engine: &Rc<RefCell<Engine>>,
    listeners: Vec<Listener>,
) -> Result<(), NodeError> {
    for listener in listeners {
        tokio::task::spawn_local(accept::accept(frontend.clone(), listener));
    }
    tokio::task::spawn_local(upkeep::run(frontend.clone()));
    tokio::task::spawn_local(upkeep::run_flushes(frontend.clone()));
    let signals =
        |kind| signal(kind).map_err(|source| NodeError::System { doing: "listening for signals", source });
    let (mut terminate, mut interrupt) =
        (signals(SignalKind::terminate())?, signals(SignalKind::interrupt())?);
    // Keep running when the terminal closes, as Redis does: with a handler installed, SIGHUP no longer kills the process.
    let _hangup = signals(SignalKind::hangup())?;
    let asked_to_stop = async {
        tokio::select! {
            biased;
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    drive(frontend, engine, asked_to_stop).await
}

/// Runs the engine until SHUTDOWN, until it is asked to stop or until the log fails; then ends what is under way, lets clients
/// have their last replies, and syncs.
pub async fn drive(
    frontend: &Rc<Frontend>,
    engine: &Rc<RefCell<Engine>>,
    asked_to_stop: impl Future<Output = ()>,
) -> Result<(), NodeError> {
    let driver = Driver::new(engine.clone(), |delivery| outcomes::deliver(frontend, delivery));
    let failed = tokio::select! {
        biased;
        error = driver.run() => Some(error),
        () = frontend.context.stop.notified() => None,
        () = asked_to_stop => None,
    };
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
            tracing::info!("everything is on disk; bye");
            Ok(())
        }
    }
}

/// Closes every connection and lets its last replies out. Reads that wait have none (as in Redis).
async fn say_goodbye(frontend: &Frontend) {
    let connections: Vec<_> = frontend.connections.all().values().cloned().collect();
    for connection in connections {
        if connection.blocked.borrow().is_some() {
            connection.close();
        } else {
            connection.close_after_replies();
        }
    }
    let clock = &*frontend.context.clock;
    let gone = async {
        while !frontend.connections.all().is_empty() {
            tokio::task::yield_now().await;
            clock.sleep(Duration::from_millis(1)).await;
        }
    };
    let _ = clock::timeout(clock, GOODBYE, gone).await;
}

fn print_banner(config: &Config, data_dir: &DataDir, names: &[String], started_ms: u64) {
    // Whoever started it may not listen any more.
    let _ = writeln!(
        std::io::stdout(),
        "headwater {} is ready on {} after {} ms\n  data directory  {}{}\n  durability      {}\n  partitions      {}, {}",
        env!("CARGO_PKG_VERSION"),
        names.join(", "),
        started_ms,
        data_dir.path().display(),
        if data_dir.is_new() { " (new)" } else { "" },
        config.durability.describe(),
        config.partitions,
        config.replication.describe(),
    );
}
