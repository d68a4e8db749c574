//! For unit tests of the upper rooms: a node in one place, with clients, but without sockets, disk and time.
//!
//! Clients type commands as Redis users do (inline requests), and read the lines of the replies. The node's
//! own tasks run, on the simulated executor. Only the log waits for the test: what is written is proposed at
//! once and committed by [`Stage::commit`], or by [`Client::ask`].

use crate::command::value::string::StringWrite;
use crate::command::value::{Data, Write};
use crate::config::config::Config;
use crate::engine::engine::Engine;
use crate::engine::port::Port;
use crate::engine::submission::{Position, Work};
use crate::engine::testing::{START, context};
use crate::env::manual_clock::ManualClock;
use crate::env::sim_executor::{SimExecutor, SimTask};
use crate::env::sim_pipe::{self, SimSocket};
use crate::frontend::frontend::Frontend;
use crate::model::log::PartitionId;
use crate::model::request::{ConnectionId, RequestId};
use crate::net::connection::Connection;
use crate::net::listener::Accepted;
use crate::node::error::NodeError;
use crate::node::host::Host;
use crate::replication::committer::Committer;
use crate::replication::scripted::ScriptedCommitter;
use crate::server::connection_task::READ_BYTES;
use crate::server::{accept, upkeep};
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};

/// Bytes that a client may send before the server reads them, and the other way round.
const PIPE_BYTES: usize = 64 * 1024;

pub struct Stage {
    pub frontend: Rc<Frontend>,
    pub clock: ManualClock,
    executor: SimExecutor,
    committer: Rc<Committer>,
    ended: SimTask<Result<(), NodeError>>,
    scratch: Rc<RefCell<Vec<u8>>>,
    ports: Cell<u16>,
}

impl Stage {
    /// One partition, default settings.
    pub fn new() -> Rc<Stage> {
        Stage::with(|_| {})
    }

    pub fn with(set: impl FnOnce(&mut Config)) -> Rc<Stage> {
        let mut config = Config::default();
        set(&mut config);
        let clock = ManualClock::new(START);
        let scripted = ScriptedCommitter::new(config.partitions);
        Stage::over(clock, config, scripted)
    }

    /// The node is killed and starts again, with what was committed. Its clients are gone.
    pub fn restart(&self) -> Rc<Stage> {
        let config = self.frontend.context.config.borrow().clone();
        Stage::over(self.clock.clone(), config, self.script().restart())
    }

    fn over(clock: ManualClock, config: Config, scripted: ScriptedCommitter) -> Rc<Stage> {
        let machines = scripted.recover();
        let committer = Rc::new(Committer::Scripted(scripted));
        let context = context(&clock, config);
        let engine = Rc::new(RefCell::new(Engine::new(context.clone(), committer.clone(), machines)));
        let frontend = Rc::new(Frontend::new(context, Port::Here(engine.clone()), None));
        let executor = SimExecutor::new();
        drop(executor.spawn(upkeep::run(frontend.clone())));
        drop(executor.spawn(upkeep::run_flushes(frontend.clone())));
        let served = frontend.clone();
        let ended = executor
            .spawn(async move { Host::Here(engine).run(&served, served.context.stop.notified()).await });
        let scratch = Rc::new(RefCell::new(vec![0; READ_BYTES]));
        Rc::new(Stage { frontend, clock, executor, committer, ended, scratch, ports: Cell::new(10_000) })
    }

    /// A client on this machine.
    pub fn client(self: &Rc<Stage>) -> Client {
        self.client_from([127, 0, 0, 1]).expect("clients are welcome")
    }

    /// `Err`: what a refused client is told.
    pub fn client_from(self: &Rc<Stage>, ip: [u8; 4]) -> Result<Client, String> {
        self.ports.set(self.ports.get() + 1);
        let (socket, accepted, _) = sim_pipe::pair(PIPE_BYTES);
        let accepted = Accepted::Simulated(accepted, SocketAddr::from((ip, self.ports.get())));
        let Some(task) = accept::admit(&self.frontend, accepted, &self.scratch) else {
            return Err(lines(&read(&RefCell::new(socket))));
        };
        drop(self.executor.spawn(task));
        self.run();
        let newest = self.frontend.connections.all().values().next_back().cloned();
        let connection = newest.expect("it was admitted");
        Ok(Client { stage: self.clone(), connection, socket: RefCell::new(socket) })
    }

    pub fn script(&self) -> &ScriptedCommitter {
        match &*self.committer {
            Committer::Scripted(scripted) => scripted,
            _ => unreachable!("a stage has a script"),
        }
    }

    /// Everything goes on as far as it can without a commit.
    pub fn run(&self) {
        self.executor.run_until_idle();
    }

    /// Commits until nothing is left to commit.
    pub fn commit(&self) {
        self.run();
        while self.committer.has_in_flight() {
            self.script().commit_everything();
            self.run();
        }
    }

    /// Puts more bytes in flight than this, with a write of no client.
    pub fn fill(&self, bytes: usize) {
        let value = vec![b'x'; bytes];
        let write = StringWrite::SetIfAbsent { key: b"filled", value: &value };
        let data = Data::Write(Write::String(write));
        let nobody = ConnectionId { number: u64::MAX, place: u32::MAX };
        let request = RequestId { connection: nobody, reply_slot: 0 };
        let (partition, position) = (PartitionId(0), Position::First);
        let work = Work::Data { partition, database: 0, data: &data, position };
        assert!(self.frontend.port.submit(request, work).is_none());
    }

    /// Time passes.
    pub fn pass_ms(&self, ms: u64) {
        self.executor.run_for(&self.clock, Duration::from_millis(ms));
        self.run();
    }

    /// Asks the node to stop.
    pub fn stop(&self) {
        self.frontend.context.stop.notify_one();
    }

    pub fn has_ended(&self) -> bool {
        self.ended.is_ended()
    }
}

/// A client, and its connection as the node sees it.
pub struct Client {
    stage: Rc<Stage>,
    pub connection: Rc<Connection>,
    socket: RefCell<SimSocket>,
}

impl Client {
    pub fn stage(&self) -> &Rc<Stage> {
        &self.stage
    }

    /// Sends requests, one a line, in one piece; nothing is committed.
    pub fn send(&self, requests: &str) {
        self.send_bytes(&requests.split('\n').flat_map(|line| [line.trim(), "\r\n"]).collect::<String>());
    }

    pub fn send_bytes(&self, bytes: &str) {
        let sent = self.socket.borrow().write.try_write(bytes.as_bytes()).expect("the server takes it");
        assert_eq!(sent, bytes.len());
        self.stage.run();
    }

    /// Sends requests, commits what they write, and gives everything that the client is told.
    pub fn ask(&self, requests: &str) -> String {
        self.send(requests);
        self.stage.commit();
        self.told()
    }

    /// What has arrived since the last call: lines of RESP, with spaces in between.
    pub fn told(&self) -> String {
        self.stage.run();
        let told = read(&self.socket);
        // There is room again for what the server has kept back.
        self.stage.run();
        lines(&told)
    }

    /// Sends nothing more; the client still reads.
    pub fn end(&self) {
        self.socket.borrow().write.shut_down();
        self.stage.run();
    }

    /// Leaves without a word.
    pub fn leave(self) {
        let Client { stage, socket, .. } = self;
        drop(socket);
        stage.run();
    }

    /// Whether the server has closed the connection.
    pub fn is_closed(&self) -> bool {
        self.stage.run();
        !self.stage.frontend.connections.contains(self.connection.id)
    }
}

fn read(socket: &RefCell<SimSocket>) -> Vec<u8> {
    let mut all = Vec::new();
    let mut buffer = vec![0; PIPE_BYTES];
    let mut socket = socket.borrow_mut();
    loop {
        let mut target = ReadBuf::new(&mut buffer);
        let polled =
            Pin::new(&mut socket.read).poll_read(&mut Context::from_waker(Waker::noop()), &mut target);
        match polled {
            Poll::Ready(Ok(())) if !target.filled().is_empty() => all.extend_from_slice(target.filled()),
            _ => return all,
        }
    }
}

fn lines(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().replace("\r\n", " ")
}
