//! For the tests of this room: an engine that is driven step by step, clients that are only numbers, and what each of their
//! requests was told.
//!
//! Commands are written as a Redis user types them. A test decides when something is proposed, committed and applied, and
//! when time passes; nothing waits for a timer.

use crate::acl::acl::Acl;
use crate::base::latch::Latch;
use crate::base::shared::Shared;
use crate::command::lookup;
use crate::command::value::key_scope::KeyScope;
use crate::command::value::stream::StreamQuery;
use crate::command::value::{Command, Data, Query, Write};
use crate::config::config::{Config, FlushPolicy};
use crate::context::context::{Identity, NodeContext};
use crate::engine::engine::{Delivery, Engine};
use crate::engine::submission::{Ending, EngineAnswer, Notice, Outcome, Position, Question, Work};
use crate::engine::{blocking, upkeep};
use crate::env::disposal::Disposal;
use crate::env::entropy::SeededEntropy;
use crate::env::fs::Fs;
use crate::env::manual_clock::ManualClock;
use crate::env::sim_fs::SimFs;
use crate::env::threads::RealThreads;
use crate::model::args::OwnedArgs;
use crate::model::entries::EntryList;
use crate::model::log::PartitionId;
use crate::model::reply::Reply;
use crate::model::request::{ConnectionId, RequestId};
use crate::model::time::TimeMs;
use crate::observe::tracing::LogLevels;
use crate::replication::committer::{Committer, CommitterOptions};
use crate::replication::event::CommitEvent;
use crate::replication::scripted::ScriptedCommitter;
use crate::state::answer::Answer;
use crate::state::op::Transaction;
use crate::storage::data_dir::{DataDir, DataDirOptions};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::sync::Notify;

/// When the clock of a test begins.
pub const START: TimeMs = TimeMs(1_000_000);

/// Requests of one connection that are not answered yet, oldest first.
type Waiting = BTreeSet<u64>;

pub struct Bench {
    pub engine: Engine,
    pub clock: ManualClock,
    committer: Rc<Committer>,
    next_slot: u64,
    waiting: BTreeMap<u64, Waiting>,
    told: BTreeMap<RequestId, EngineAnswer>,
    /// Requests in the order in which they were told their outcomes.
    pub order: Vec<RequestId>,
}

pub fn context(clock: &ManualClock, config: Config) -> Arc<NodeContext> {
    let acl = Acl::open(&config, Arc::new(SimFs::new(1))).expect("the configuration names no users");
    Arc::new(NodeContext {
        config: Shared::new(config),
        acl,
        clock: Arc::new(clock.clone()),
        entropy: Arc::new(SeededEntropy::new(1)),
        identity: Identity {
            run_id: "0".repeat(40),
            started_ms: 0,
            config_file: String::new(),
            executable: String::new(),
            startup_bytes: 0,
            memory_bytes: 0,
        },
        latch: Latch::new(),
        disk: Arc::default(),
        disposal: Disposal::default(),
        log_levels: LogLevels::detached(),
        stop: Notify::new(),
    })
}

impl Bench {
    fn new(clock: ManualClock, context: Arc<NodeContext>, committer: Committer) -> Bench {
        let committer = Rc::new(committer);
        let machines = pin!(committer.recover()).poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(Ok(machines)) = machines else { panic!("the machines are read at once") };
        let engine = Engine::new(context, committer.clone(), machines);
        Bench {
            engine,
            clock,
            committer,
            next_slot: 0,
            waiting: BTreeMap::new(),
            told: BTreeMap::new(),
            order: Vec::new(),
        }
    }

    /// Leads every partition; nothing is committed unless the test says so.
    pub fn scripted(partitions: u16) -> Bench {
        Bench::over(ScriptedCommitter::new(partitions))
    }

    pub fn over(committer: ScriptedCommitter) -> Bench {
        let clock = ManualClock::new(START);
        let context = context(&clock, Config::default());
        Bench::new(clock, context, Committer::Scripted(committer))
    }

    /// A node without a cluster, on files that may have been there before.
    pub fn local(fs: &SimFs, partitions: u16) -> Bench {
        let clock = ManualClock::new(START);
        let context = context(&clock, Config::default());
        let (fs, path): (Arc<dyn Fs>, _) = (Arc::new(fs.clone()), Path::new("/data"));
        let options = CommitterOptions { flush: FlushPolicy::Inline, ..CommitterOptions::default() };
        let entropy = SeededEntropy::new(1);
        let of_dir = DataDirOptions { journal: options.journal.clone(), ..DataDirOptions::solo(partitions) };
        let dir = DataDir::open(fs.clone(), path, of_dir, &entropy);
        let dir = dir.expect("the directory is sound");
        let committer = Committer::open(
            fs,
            Arc::new(clock.clone()),
            Arc::new(RealThreads),
            &dir,
            options,
            context.latch.clone(),
        );
        Bench::new(clock, context, committer.expect("the journal is sound"))
    }

    pub fn script(&self) -> &ScriptedCommitter {
        match &*self.committer {
            Committer::Scripted(scripted) => scripted,
            _ => panic!("this committer has no script"),
        }
    }

    // Requests.

    fn next_request(&mut self, connection: u64) -> RequestId {
        self.next_slot += 1;
        let connection = ConnectionId { number: connection, place: connection as u32 };
        RequestId { connection, reply_slot: self.next_slot }
    }

    pub fn is_drained(&self, connection: u64) -> bool {
        self.waiting.get(&connection).is_none_or(BTreeSet::is_empty)
    }

    /// Submits a command of a client to database 0.
    pub fn send(&mut self, connection: u64, command: &str) -> RequestId {
        self.send_to(connection, 0, command)
    }

    pub fn send_to(&mut self, connection: u64, database: u32, command: &str) -> RequestId {
        let args = words(command);
        let row = lookup::find(args.as_args()).unwrap_or_else(|error| panic!("{command}: {error:?}"));
        match (row.parse)(args.as_args()).unwrap_or_else(|error| panic!("{command}: {error:?}")) {
            Command::Data(data) => self.send_data(connection, database, &data),
            Command::Blocking { read, timeout_ms } => {
                assert!(self.is_drained(connection), "a frontend holds it back until then");
                self.submit(connection, Work::Blocking { database, read: &read, timeout_ms })
            }
            other => panic!("{other:?} is not for an engine"),
        }
    }

    /// A command on keys goes where a frontend sends it.
    pub fn send_data(&mut self, connection: u64, database: u32, data: &Data<'_>) -> RequestId {
        let router = self.engine.router;
        if router.partitions() > 1 && data.key_scope() == KeyScope::Everywhere {
            return self.submit(connection, Work::Everywhere { database, data });
        }
        let position = if self.is_drained(connection) { Position::First } else { Position::Behind };
        match router.of_keys(data.keys()) {
            Ok(partition) => {
                let partition = partition.unwrap_or(PartitionId(0));
                self.submit(connection, Work::Data { partition, database, data, position })
            }
            Err(_) if is_read(data) => {
                assert!(self.is_drained(connection), "a frontend holds it back until then");
                self.submit(connection, Work::PerStream { database, data })
            }
            Err(error) => panic!("{data:?}: {error:?}"),
        }
    }

    /// EXEC of these commands, which are on keys of the first one's partition.
    pub fn exec(&mut self, connection: u64, commands: &[&str]) -> RequestId {
        let args: Vec<OwnedArgs> = commands.iter().map(|command| words(command)).collect();
        let commands: Vec<(u32, Data<'_>)> = args.iter().map(|args| (0, parse_data(args))).collect();
        let partition =
            commands.first().and_then(|(_, data)| self.engine.router.of_keys(data.keys()).ok()?);
        let partition = partition.unwrap_or(PartitionId(0));
        let (transaction, queries) = Transaction::of_commands(Vec::new(), commands);
        self.submit(connection, Work::Transaction { partition, transaction, queries })
    }

    pub fn ask(&mut self, question: Question<'_>) -> RequestId {
        self.submit(0, Work::Question(question))
    }

    pub fn submit(&mut self, connection: u64, work: Work<'_>) -> RequestId {
        let request = self.next_request(connection);
        self.waiting.entry(connection).or_default().insert(request.reply_slot);
        if let Some(outcome) = self.engine.submit(request, work) {
            self.note(outcome);
        }
        self.take_delivery();
        request
    }

    pub fn unblock(&mut self, request: RequestId, ending: Ending) {
        self.engine.notice(Notice::EndWait { request, ending });
        self.take_delivery();
    }

    pub fn forbid(&mut self, request: RequestId) {
        self.engine.notice(Notice::Forbid { request, forbidden: true });
    }

    // Steps.

    /// Seals and proposes what is open.
    pub fn propose(&mut self) -> u64 {
        let bytes = self.engine.propose();
        self.take_delivery();
        bytes
    }

    /// Takes what the committer has to tell, if there is something. A committer that works while it is asked gets one step.
    pub fn take_events(&mut self) -> bool {
        let committer = self.committer.clone();
        let mut events = pin!(committer.next_events());
        match events.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(events) => {
                for event in events.expect("the log does not fail") {
                    self.handle(event);
                }
                true
            }
            Poll::Pending => false,
        }
    }

    pub fn handle(&mut self, event: CommitEvent) {
        self.engine.handle(event);
        self.take_delivery();
    }

    /// Proposes, commits and applies until there is nothing left to do at this moment.
    pub fn settle(&mut self) {
        let mut rounds = 0;
        loop {
            self.propose();
            if let Committer::Scripted(scripted) = &*self.committer {
                scripted.commit_everything();
            }
            if !self.take_events() && self.engine.is_idle() {
                return;
            }
            rounds += 1;
            assert!(rounds < 10_000, "the engine comes to rest");
        }
    }

    /// Time passes, and what is done by the clock is done.
    pub fn advance(&mut self, ms: u64) {
        self.clock.advance(ms);
        blocking::run_timers(&mut self.engine);
        upkeep::end_overdue_syncs(&mut self.engine);
        upkeep::tick(&mut self.engine);
        self.take_delivery();
    }

    pub fn take_delivery(&mut self) {
        let Delivery { outcomes, .. } = self.engine.take_delivery();
        outcomes.into_iter().for_each(|outcome| self.note(outcome));
    }

    fn note(&mut self, outcome: Outcome) {
        let Some(request) = outcome.request else { return };
        let waiting = self.waiting.get_mut(&request.connection.number);
        let is_awaited = waiting.is_some_and(|waiting| waiting.remove(&request.reply_slot));
        assert!(is_awaited, "{request:?} is told {:?} after {:?}", outcome.answer, self.told.get(&request));
        self.told.insert(request, outcome.answer);
        self.order.push(request);
    }

    // What was told.

    pub fn outcome(&self, request: RequestId) -> Option<&EngineAnswer> {
        self.told.get(&request)
    }

    pub fn answer(&self, request: RequestId) -> Option<&Answer> {
        match self.told.get(&request)? {
            EngineAnswer::Machine(answer) => Some(answer),
            _ => None,
        }
    }

    /// The outcome as a line; `-` while there is none.
    pub fn told(&self, request: RequestId) -> String {
        match self.told.get(&request) {
            None => "-".into(),
            Some(EngineAnswer::Machine(answer)) => line(answer.clone().into()),
            Some(other) => format!("{other:?}"),
        }
    }

    /// Sends, settles, and gives the outcome as a line.
    pub fn run(&mut self, connection: u64, command: &str) -> String {
        let request = self.send(connection, command);
        self.settle();
        self.told(request)
    }

    /// The log entries of a partition that are committed.
    pub fn entries(&self, partition: u16) -> usize {
        self.script().committed(PartitionId(partition)).len()
    }
}

fn parse_data(args: &OwnedArgs) -> Data<'_> {
    let row = lookup::find(args.as_args()).expect("there is such a command");
    match (row.parse)(args.as_args()).expect("the command is well formed") {
        Command::Data(data) => data,
        Command::Blocking { read, .. } => read,
        other => panic!("{other:?} is not for an engine"),
    }
}

fn is_read(data: &Data<'_>) -> bool {
    matches!(data, Data::Write(Write::GroupRead(_)) | Data::Query(Query::Stream(StreamQuery::Read(_))))
}

fn words(command: &str) -> OwnedArgs {
    command.split(' ').map(str::as_bytes).collect()
}

/// Ids alone of entries: `s[1-0 2-0]`.
fn line(reply: Reply) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match reply {
        Reply::Status(status) => status.into_owned(),
        Reply::Integer(value) => value.to_string(),
        Reply::Bulk(bytes) => text(&bytes),
        Reply::Text(constant) => constant.into(),
        Reply::Id(id) => id.to_string(),
        Reply::Nil => "nil".into(),
        Reply::NilArray => "nil array".into(),
        Reply::Error(error) => text(error.as_bytes()),
        Reply::Array(parts) => {
            let parts: Vec<String> = parts.into_iter().map(line).collect();
            format!("({})", parts.join(", "))
        }
        Reply::Entries(list) => format!("[{}]", ids(&list)),
        Reply::Streams(streams) => {
            let each = streams.iter().map(|(key, list)| format!("{}[{}]", text(key), ids(list)));
            each.collect::<Vec<_>>().join(" ")
        }
        other => format!("{other:?}"),
    }
}

fn ids(list: &EntryList) -> String {
    list.ids().map(|id| id.to_string()).collect::<Vec<_>>().join(" ")
}
