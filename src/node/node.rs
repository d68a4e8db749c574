//! A node, from the first check of the data directory to the last sync.

use crate::acl::acl::Acl;
use crate::base::latch::Latch;
use crate::base::shared::Shared;
use crate::commands::memory::human;
use crate::config::config::Config;
use crate::context::context::{Identity, NodeContext};
use crate::engine::port::{Later, Port};
use crate::env::allocator;
use crate::env::clock::{Clock, SystemClock};
use crate::env::disposal::Disposal;
use crate::env::entropy::{Entropy, SystemEntropy};
use crate::env::fs::{Fs, RealFs};
use crate::env::process;
use crate::env::threads::{RealThreads, Threads};
use crate::frontend::frontend::Frontend;
use crate::net::listener::{self, Listener};
use crate::net::tls::config as tls_config;
use crate::node::error::NodeError;
use crate::node::host::{Host, Opening};
use crate::node::unix_socket::{self, SocketFile};
use crate::observe::loading::Loading;
use crate::observe::tracing::LogLevels;
use crate::server::goodbye::say_goodbye;
use crate::server::{accept, upkeep};
use crate::storage::data_dir::{DataDir, DataDirOptions};
use crate::storage::journal::options::JournalOptions;
use crate::storage::space::DiskSpace;
use std::io::Write;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::LocalSet;

/// Runs a node until it is asked to stop.
pub fn run(mut config: Config, log_levels: LogLevels) -> Result<(), NodeError> {
    // Its time begins here: the banner tells how long the start took.
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    fit_clients_to_files(&mut config);
    allocator::share_one_heap();
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let threads: Arc<dyn Threads> = Arc::new(RealThreads);
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let runtime = runtime_builder()
        .build()
        .map_err(|source| NodeError::System { doing: "making the runtime", source })?;
    LocalSet::new().block_on(&runtime, async {
        // Before the directory is touched: a port in use is found early and leaves nothing behind.
        let tls = match config.tls.port {
            0 => None,
            _ => Some(tls_config::build(&config.tls)?),
        };
        let doors = listen(&config)?;
        let acl = Acl::open(&config, fs.clone())?;
        let options = DataDirOptions {
            partitions: config.partitions,
            start_as: config.replication.into(),
            journal: JournalOptions::default(),
        };
        let data_dir = Arc::new(DataDir::open(fs.clone(), &config.dir, options, &*entropy)?);
        let disk = DiskSpace::open(fs.clone(), &config.dir, config.disk_reserve, config.journal_file_bytes);
        let latch = Latch::new();
        let context = Arc::new(NodeContext {
            identity: identity(&config, &*clock, &*entropy),
            config: Shared::new(config.clone()),
            acl,
            clock,
            entropy,
            disk: Arc::new(disk),
            disposal: Disposal::elsewhere(&*threads)
                .map_err(|source| NodeError::System { doing: "starting a thread", source })?,
            latch: latch.clone(),
            log_levels,
            stop: Notify::new(),
        });
        let loading = Arc::<Loading>::default();
        let opening = Opening {
            context: context.clone(),
            fs,
            data_dir: data_dir.clone(),
            config: config.clone(),
            latch,
            threads,
            loading: loading.clone(),
        };
        let later = Later::new(loading, &*context.clock);
        let frontend = Rc::new(Frontend::new(context, Port::Later(later.clone()), tls));
        open_doors(&frontend, doors.listeners);
        let mut signals = Signals::new()?;
        let mut engines_runtime = runtime_builder();
        let host = tokio::select! {
            host = Host::start(opening, &mut engines_runtime) => host?,
            () = tell_progress(&frontend, &later) => unreachable!("it ends with the start"),
            () = signals.stop(&frontend) => {
                tracing::info!("stopping before everything is loaded; nothing was accepted yet");
                say_goodbye(&frontend).await;
                return Ok(());
            }
        };
        later.open(host.port());
        frontend.tell_everything();
        print_banner(&config, &data_dir, &doors.names, &frontend);
        host.run(&frontend, signals.stop(&frontend)).await?;
        tracing::info!("everything is on disk; bye");
        Ok(())
    })
}

/// Accepts clients at once: until the data is loaded, most of their requests are refused.
fn open_doors(frontend: &Rc<Frontend>, listeners: Vec<Listener>) {
    for listener in listeners {
        tokio::task::spawn_local(accept::accept(frontend.clone(), listener));
    }
    tokio::task::spawn_local(upkeep::run(frontend.clone()));
    tokio::task::spawn_local(upkeep::run_flushes(frontend.clone()));
}

/// Logs the progress of a recovery that takes its time.
async fn tell_progress(frontend: &Frontend, later: &Later) {
    loop {
        frontend.context.clock.sleep(PROGRESS_PERIOD).await;
        let seconds = (frontend.monotonic_ms() - later.began_ms) / 1000;
        let percent = later.loading.percent() as u64;
        tracing::info!(seconds, percent, "loading");
    }
}

const PROGRESS_PERIOD: Duration = Duration::from_secs(1);

/// What asks a node to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Keep running when the terminal closes, as Redis does: with a handler installed, SIGHUP no longer kills
    /// the process.
    _hangup: Signal,
}

impl Signals {
    fn new() -> Result<Signals, NodeError> {
        let open = |kind| {
            signal(kind).map_err(|source| NodeError::System { doing: "listening for signals", source })
        };
        Ok(Signals {
            terminate: open(SignalKind::terminate())?,
            interrupt: open(SignalKind::interrupt())?,
            _hangup: open(SignalKind::hangup())?,
        })
    }

    async fn stop(&mut self, frontend: &Frontend) {
        tokio::select! {
            () = frontend.context.stop.notified() => {}
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The runtime of a thread that owns a part of the node.
fn runtime_builder() -> runtime::Builder {
    let mut builder = runtime::Builder::new_current_thread();
    builder.enable_all().event_interval(EVENT_INTERVAL);
    builder
}

/// Tasks polled between two checks of the sockets: one round should include everything that has arrived.
const EVENT_INTERVAL: u32 = 61;

/// Each of the `maxclients` clients needs a descriptor, and most shells set the limit at 1,024. With a lower
/// limit, `maxclients` is reduced: the journal must never lack a descriptor (Redis `adjustOpenFilesLimit`).
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

/// The listeners of a node.
struct Doors {
    listeners: Vec<Listener>,
    /// In the form of the banner.
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

/// One listener for each address in `bind` that this machine has.
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
        started_ms: clock.monotonic_ms(),
        config_file: config.config_file.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
        executable: std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_default(),
        startup_bytes: allocator::allocated_bytes(),
        memory_bytes: process::memory_bytes(),
    }
}

/// As in Redis.
const RUN_ID_DIGITS: usize = 40;

fn print_banner(config: &Config, data_dir: &DataDir, names: &[String], frontend: &Frontend) {
    let memory = match frontend.memory.max() {
        0 => "unbounded: maxmemory is 0".to_owned(),
        max => format!("at most {} (maxmemory); above it, requests that need more are refused", human(max)),
    };
    // The parent process may have closed the pipe.
    let _ = writeln!(
        std::io::stdout(),
        "headwater {} is ready on {} after {} ms\n  data directory  {}{}\n  durability      {}\n  partitions      {}, {}\n  memory          {memory}",
        env!("CARGO_PKG_VERSION"),
        names.join(", "),
        frontend.monotonic_ms(),
        data_dir.path().display(),
        if data_dir.is_new() { " (new)" } else { "" },
        config.durability.describe(),
        config.partitions,
        config.replication.describe(),
    );
}
