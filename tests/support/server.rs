//! A server process under test: Headwater, or any binary with Redis's flags.
//!
//! HEADWATER_TEST_SERVER selects another binary (redis-server, to check the tests themselves).
//! HEADWATER_TEST_FLAGS adds flags to every Headwater, so that one test binary covers several configurations.
//! The flags `--transport unix` and `--transport tls` change the transport of the tests' clients.

use crate::support::certificates::{self, Authority};
use crate::support::client::Client;
use crate::support::reference;
use crate::support::wire::Door;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longest start, recovery included.
const START_PATIENCE: Duration = Duration::from_secs(60);

pub struct Server {
    binary: PathBuf,
    port: u16,
    folder: TempDir,
    data_dir: PathBuf,
    transport: Transport,
    flags: Vec<String>,
    child: Option<Child>,
}

/// The transport of a test's clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    /// The server has a certificate of [`Authority::of_tests`]; clients need none.
    Tls,
    Unix,
}

impl Transport {
    /// Removes `--transport …` from the flags and returns the last one; the server does not know it.
    fn take(flags: &mut Vec<String>) -> Transport {
        let mut chosen = Transport::Tcp;
        while let Some(at) = flags.iter().position(|flag| flag == "--transport") {
            chosen = match flags.drain(at..at + 2).next_back().as_deref() {
                Some("tcp") => Transport::Tcp,
                Some("tls") => Transport::Tls,
                Some("unix") => Transport::Unix,
                other => panic!("--transport {other:?}"),
            };
        }
        chosen
    }
}

/// The binary under test.
pub fn binary_under_test() -> PathBuf {
    let path = std::env::var_os("HEADWATER_TEST_SERVER")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_headwater")), PathBuf::from);
    // Links are kept: some distributions install one program under several names, and it looks at its own.
    std::path::absolute(path).expect("the server under test")
}

pub fn is_redis(binary: &Path) -> bool {
    binary.file_name().is_some_and(|name| name.to_string_lossy().contains("redis-server"))
}

/// A free port below the range that the kernel uses for outgoing connections.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 12_000 + ((std::process::id() as u16).wrapping_mul(131).wrapping_add(step)) % 20_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

impl Server {
    /// The server under test on a fresh directory; it syncs before each reply.
    #[track_caller]
    pub fn start() -> Server {
        Server::with(&[])
    }

    #[track_caller]
    pub fn with(flags: &[&str]) -> Server {
        Server::of(binary_under_test(), flags)
    }

    /// Another server binary on a fresh directory.
    #[track_caller]
    pub fn of(binary: PathBuf, flags: &[&str]) -> Server {
        let folder = TempDir::with_prefix("headwater-test-").expect("a temporary directory");
        let data_dir = folder.path().join("data");
        fs::create_dir(&data_dir).expect("a data directory");
        let mut server = Server::prepare(binary, folder, data_dir, flags);
        for attempt in 1.. {
            server.port = free_port();
            match server.launch() {
                Ok(()) => break,
                // Another process took the port in between.
                Err(why) if attempt < 5 && why.to_lowercase().contains("in use") => {}
                Err(why) => panic!("{} did not start: {why}", server.binary.display()),
            }
        }
        server
    }

    /// The server under test with its data elsewhere, not started.
    pub fn on(data_dir: PathBuf, flags: &[&str]) -> Server {
        let folder = TempDir::with_prefix("headwater-test-").expect("a temporary directory");
        let mut server = Server::prepare(binary_under_test(), folder, data_dir, flags);
        server.port = free_port();
        server
    }

    fn prepare(binary: PathBuf, folder: TempDir, data_dir: PathBuf, flags: &[&str]) -> Server {
        let mut all_flags: Vec<String> = Vec::new();
        if !is_redis(&binary)
            && let Ok(extra) = std::env::var("HEADWATER_TEST_FLAGS")
        {
            all_flags.extend(extra.split_whitespace().map(str::to_owned));
        }
        all_flags.extend(flags.iter().map(|flag| (*flag).to_string()));
        let transport = Transport::take(&mut all_flags);
        match transport {
            Transport::Tcp => {}
            Transport::Tls => {
                let authority = Authority::of_tests();
                let files = certificates::install(&folder.path().join("tls"), &authority.server(), authority);
                all_flags.splice(0..0, files.into_iter().chain(["--tls-auth-clients".into(), "no".into()]));
            }
            Transport::Unix => {
                all_flags.extend(["--unixsocket".into(), socket_path(&folder).display().to_string()]);
            }
        }
        Server { binary, port: 0, folder, data_dir, transport, flags: all_flags, child: None }
    }

    /// Starts it again on the same directory and port.
    #[track_caller]
    pub fn restart(&mut self) {
        assert!(self.child.is_none(), "restart of a running server");
        if let Err(why) = self.launch() {
            panic!("{} did not start again: {why}", self.binary.display());
        }
    }

    /// Starts it, and does not wait for it.
    pub fn begin(&mut self) {
        assert!(self.child.is_none(), "a second start of a running server");
        self.spawn().expect("a process");
    }

    fn spawn(&mut self) -> Result<(), String> {
        let log = File::options().create(true).append(true).open(self.log_path()).expect("a log file");
        let mut flags = self.flags.clone();
        let mut port = self.port;
        if self.transport == Transport::Tls {
            flags.extend(["--tls-port".into(), port.to_string()]);
            port = 0;
        }
        let mut command = command(&self.binary, port, &self.data_dir(), &flags);
        command.stdout(log.try_clone().expect("log file")).stderr(log);
        self.child = Some(command.spawn().map_err(|error| error.to_string())?);
        Ok(())
    }

    fn launch(&mut self) -> Result<(), String> {
        let told_before = self.log().len();
        self.spawn()?;
        let started = Instant::now();
        loop {
            if let Ok(mut client) = self.try_connect()
                && let Ok(reply) = client.try_command(&["PING"])
                && !reply.text().starts_with("LOADING")
                // A client that must log in is not told of the loading.
                && (self.is_redis() || self.log()[told_before..].contains(" is ready on "))
            {
                return Ok(());
            }
            let child = self.child.as_mut().expect("a child just started");
            if let Ok(Some(status)) = child.try_wait() {
                self.child = None;
                return Err(format!("{status}\n{}", self.log()));
            }
            if started.elapsed() > START_PATIENCE {
                return Err(format!("no PONG within {START_PATIENCE:?}\n{}", self.log()));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// False if a test that needs plain TCP must be skipped.
    pub fn is_plain_tcp(&self) -> bool {
        let is_plain = self.transport == Transport::Tcp;
        if !is_plain {
            eprintln!("SKIPPED: this test is about TCP");
        }
        is_plain
    }

    /// The address of the clients' transport.
    pub fn door(&self) -> Door {
        match self.transport {
            Transport::Tcp => Door::Tcp(self.address()),
            Transport::Tls => Door::Tls(self.address(), Authority::config_of_tests()),
            Transport::Unix => Door::Unix(socket_path(&self.folder)),
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn binary(&self) -> &Path {
        &self.binary
    }

    pub fn is_redis(&self) -> bool {
        is_redis(&self.binary)
    }

    /// Whether it has several partitions, so that the keys of one command must share a hash slot.
    pub fn is_partitioned(&self) -> bool {
        let partitions = self.connect().line("CONFIG GET partitions");
        partitions.elements().get(1).is_some_and(|count| count.text() != "1")
    }

    /// The Redis version to expect: Headwater implements 8.10.
    pub fn version(&self) -> (u32, u32) {
        if self.is_redis() { reference::version(&self.binary) } else { (8, 10) }
    }

    pub fn data_dir(&self) -> PathBuf {
        self.data_dir.clone()
    }

    /// The folder of the certificates.
    pub fn tls_dir(&self) -> PathBuf {
        self.folder.path().join("tls")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// The server's output so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    pub fn try_connect(&self) -> std::io::Result<Client> {
        Client::through(&self.door())
    }

    #[track_caller]
    pub fn connect(&self) -> Client {
        self.try_connect().expect("a connection")
    }

    #[track_caller]
    pub fn connect3(&self) -> Client {
        let mut client = self.connect();
        client.hello3();
        client
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("a running server").id()
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("status of the server");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
        let kib: u64 =
            line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("VmRSS in kB");
        kib * 1024
    }

    /// Whether the process runs.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Waits for a server that ends by itself.
    #[track_caller]
    pub fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("a started server");
        wait_for_exit(&mut child, START_PATIENCE).unwrap_or_else(|| {
            let _ = child.kill();
            let _ = child.wait();
            panic!("still running after {START_PATIENCE:?}\n{}", self.log())
        })
    }

    /// Sends SIGTERM and waits for the end.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        let pid = self.pid();
        let sent = Command::new("kill").args(["-TERM", &pid.to_string()]).status().expect("kill -TERM");
        assert!(sent.success(), "SIGTERM to {pid}");
        let mut child = self.child.take().expect("a running server");
        wait_for_exit(&mut child, START_PATIENCE).unwrap_or_else(|| {
            let _ = child.kill();
            let _ = child.wait();
            panic!("still running {START_PATIENCE:?} after SIGTERM\n{}", self.log())
        })
    }
}

fn socket_path(folder: &TempDir) -> PathBuf {
    folder.path().join("socket")
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let from = log.char_indices().rev().nth(4000).map_or(0, |(at, _)| at);
            eprintln!("--- log of {} on port {}\n{}---", self.binary.display(), self.port, &log[from..]);
        }
    }
}

/// Starts a server that should fail: its status and output. `None` as status: it did not exit and was killed.
pub fn start_and_expect_exit(port: u16, dir: &Path, flags: &[&str]) -> (Option<ExitStatus>, String) {
    let mut all_flags: Vec<String> = Vec::new();
    if let Ok(extra) = std::env::var("HEADWATER_TEST_FLAGS") {
        all_flags.extend(extra.split_whitespace().map(str::to_owned));
    }
    all_flags.extend(flags.iter().map(|flag| (*flag).to_string()));
    Transport::take(&mut all_flags);
    let mut command = command(&binary_under_test(), port, dir, &all_flags);
    let log = tempfile::NamedTempFile::new().expect("a log file");
    command.stdout(log.reopen().expect("log file")).stderr(log.reopen().expect("log file"));
    // Both streams go to one file; append mode keeps them from overwriting each other.
    let appending = File::options().append(true).open(log.path()).expect("log file");
    command.stdout(appending.try_clone().expect("log file")).stderr(appending);
    let mut child = command.spawn().expect("the server binary");
    let status = wait_for_exit(&mut child, Duration::from_secs(10));
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    (status, String::from_utf8_lossy(&fs::read(log.path()).unwrap_or_default()).into_owned())
}

fn wait_for_exit(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let started = Instant::now();
    while started.elapsed() < patience {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    None
}

fn command(binary: &Path, port: u16, dir: &Path, flags: &[String]) -> Command {
    let mut command = Command::new(binary);
    // Elsewhere, so that the server neither reads nor rewrites the repository's settings file.
    if let Some(folder) = dir.parent().filter(|folder| folder.is_dir()) {
        command.current_dir(folder);
    }
    command.stdin(Stdio::null()).args(["--port", &port.to_string()]);
    if !flags.iter().any(|flag| flag == "--bind") {
        command.args(["--bind", "127.0.0.1"]);
    }
    command.arg("--dir").arg(dir).args(["--save", "", "--appendonly", "yes"]);
    if is_redis(binary) {
        command.args(["--appendfsync", "always"]);
    }
    command.args(flags);
    command
}
