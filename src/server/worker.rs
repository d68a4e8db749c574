//! One worker: a thread with its runtime, its partitions, its connections.
//!
//! Everything here runs on one thread, between two awaits nothing else does. A *round* seals what all connections have
//! enqueued since the last one, commits it with one flush, applies it and sends the replies.

use crate::acl::acl::Acl;
use crate::base::latch::Latch;
use crate::config::config::Config;
use crate::env::allocator;
use crate::env::clock::Clock;
use crate::env::entropy::Entropy;
use crate::model::key_events::EventClasses;
use crate::model::log::{LogIndex, PartitionId, ProposalId};
use crate::model::reply::{Reply, ReplyError};
use crate::model::time::TimeMs;
use crate::observe::latency::Event;
use crate::observe::metrics::Metrics;
use crate::observe::stopwatch::Stopwatch;
use crate::observe::tracing::LogLevels;
use crate::partition::partition::{Partition, Sealed};
use crate::partition::router::Router;
use crate::pubsub::registry::Registry;
use crate::replication::committer::{CommitError, Committer};
use crate::replication::event::{CommitEvent, Payload};
use crate::server::blocking::Waiters;
use crate::server::connection::Connection;
use crate::server::cron::CheckpointLog;
use crate::server::info_streams::Survey;
use crate::server::meter::SlowCommands;
use crate::server::monitor::Monitors;
use crate::server::pause::Pause;
use crate::server::ticket::{Place, Ticket, TrackedRead};
use crate::server::tracking::Tracking;
use crate::state::effects::{Effect, Effects};
use crate::state::machine::Machine;
use bytes::Bytes;
use rustls::ServerConfig;
use std::cell::{Cell, Ref, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::Notify;

pub struct Worker {
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub config: RefCell<Config>,
    pub log_levels: LogLevels,
    pub metrics: Rc<Metrics>,
    pub stopwatch: Stopwatch,
    pub slow: SlowCommands,
    pub monitors: Monitors,
    pub checkpoints: CheckpointLog,
    pub stream_survey: RefCell<Survey>,
    /// Memory in use before there was data.
    pub startup_bytes: u64,
    pub router: Router,
    pub pubsub: RefCell<Registry>,
    pub waiters: RefCell<Waiters>,
    pub pause: Pause,
    pub acl: Acl,
    pub identity: Identity,
    /// What new connections to the TLS port are offered; none without that port.
    pub tls: RefCell<Option<Arc<ServerConfig>>>,
    /// Tripped when nothing more may be acknowledged.
    pub latch: Latch,
    /// SHUTDOWN or a signal asked the node to stop.
    pub stop: Notify,
    /// The active expiry of keys (DEBUG SET-ACTIVE-EXPIRE).
    pub expires_actively: Cell<bool>,
    /// DEBUG RELOAD is at work.
    pub reloading: Cell<bool>,
    /// DEBUG PAUSE-CRON
    pub cron_paused: Cell<bool>,
    /// Ask for a checkpoint of every partition (SAVE).
    pub checkpoint_wanted: Notify,
    /// Who asked for it and waits until it is written.
    pub checkpoint_askers: RefCell<Vec<Place>>,
    /// One is being written.
    pub checkpointing: Cell<bool>,
    /// Milliseconds since the epoch of the last finished checkpoint.
    pub last_checkpoint_ms: Cell<u64>,
    /// Ops on their way that delete keys which are due.
    pub expiring: Cell<u32>,
    /// Ops on their way that forget idempotent ids.
    pub forgetting: Cell<u32>,
    partitions: Vec<RefCell<Partition<Ticket>>>,
    committer: Committer,
    next_proposal: Cell<u64>,
    connections: RefCell<BTreeMap<u64, Rc<Connection>>>,
    next_connection: Cell<u64>,
    round_due: Notify,
    /// A round was asked for and has not begun.
    round_requested: Cell<bool>,
    flush_due: Notify,
    /// The earliest deadline of a blocked read may have changed.
    pub deadline_due: Notify,
    to_flush: RefCell<Vec<Rc<Connection>>>,
    /// Tickets that do more than answer, kept until the partition that returned them is free again.
    returned: RefCell<Vec<Returned>>,
    /// `notify-keyspace-events`.
    pub key_events: Cell<EventClasses>,
    /// Somebody may want to hear what happens to keys, besides waiters.
    pub hears: Cell<bool>,
    /// Some client tracks keys, or is about to.
    pub tracks: Cell<bool>,
    pub tracking: RefCell<Tracking>,
    /// Transactions on their way in which CLIENT TRACKING stands: it must find that effects were kept when it is executed.
    pub tracking_transactions: Cell<u32>,
}

/// An outcome that waits for its partition.
struct Returned {
    ticket: Ticket,
    reply: Reply,
    /// That its part took.
    nanoseconds: u64,
    /// What the op has done; nothing while nobody hears.
    effects: Vec<Effect>,
}

/// What the server says of itself.
#[derive(Debug, Clone)]
pub struct Identity {
    /// 40 hexadecimal digits, new at every start.
    pub run_id: String,
    pub started_at: TimeMs,
    pub config_file: String,
    pub executable: String,
}

/// What a worker is made of.
pub struct Parts {
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub config: Config,
    pub log_levels: LogLevels,
    pub acl: Acl,
    pub identity: Identity,
    pub tls: Option<Arc<ServerConfig>>,
    pub latch: Latch,
    pub machines: Vec<Machine>,
    pub committer: Committer,
}

impl Worker {
    pub fn new(parts: Parts) -> Worker {
        let partitions: Vec<_> = (0..).map(PartitionId).zip(parts.machines).collect();
        let key_events = parts.config.notify_keyspace_events;
        let worker = Worker {
            stopwatch: Stopwatch::new(parts.clock.clone()),
            slow: SlowCommands::default(),
            monitors: Monitors::default(),
            checkpoints: CheckpointLog::default(),
            stream_survey: RefCell::default(),
            startup_bytes: allocator::allocated_bytes(),
            last_checkpoint_ms: Cell::new(parts.clock.now().0),
            clock: parts.clock,
            entropy: parts.entropy,
            config: RefCell::new(parts.config),
            log_levels: parts.log_levels,
            metrics: Rc::default(),
            router: Router::new(partitions.len() as u16),
            pubsub: RefCell::default(),
            waiters: RefCell::default(),
            pause: Pause::default(),
            acl: parts.acl,
            identity: parts.identity,
            tls: RefCell::new(parts.tls),
            latch: parts.latch,
            stop: Notify::new(),
            expires_actively: Cell::new(true),
            cron_paused: Cell::new(false),
            reloading: Cell::new(false),
            checkpoint_wanted: Notify::new(),
            checkpoint_askers: RefCell::default(),
            checkpointing: Cell::new(false),
            expiring: Cell::new(0),
            forgetting: Cell::new(0),
            partitions: partitions
                .into_iter()
                .map(|(id, machine)| RefCell::new(Partition::new(id, machine)))
                .collect(),
            committer: parts.committer,
            next_proposal: Cell::new(1),
            connections: RefCell::default(),
            next_connection: Cell::new(0),
            round_due: Notify::new(),
            round_requested: Cell::new(false),
            flush_due: Notify::new(),
            deadline_due: Notify::new(),
            to_flush: RefCell::default(),
            returned: RefCell::default(),
            key_events: Cell::new(key_events),
            hears: Cell::new(key_events.is_on()),
            tracks: Cell::new(false),
            tracking: RefCell::default(),
            tracking_transactions: Cell::new(0),
        };
        worker.take_over_settings();
        worker
    }

    pub fn now(&self) -> TimeMs {
        self.clock.now()
    }

    pub fn committer(&self) -> &Committer {
        &self.committer
    }

    pub fn partition(&self, id: PartitionId) -> &RefCell<Partition<Ticket>> {
        &self.partitions[usize::from(id.0)]
    }

    pub fn partitions(&self) -> impl Iterator<Item = &RefCell<Partition<Ticket>>> {
        self.partitions.iter()
    }

    /// Nothing is being gathered or on its way in any partition.
    pub fn is_idle(&self) -> bool {
        self.partitions.iter().all(|partition| partition.borrow().is_idle())
    }

    /// Something was put into an open batch.
    pub fn request_round(&self) {
        if !self.round_requested.replace(true) {
            self.round_due.notify_one();
        }
    }

    /// Commits round after round, until the log fails.
    pub async fn run_rounds(&self) -> CommitError {
        loop {
            tokio::select! {
                () = self.round_due.notified() => self.round_requested.set(false),
                events = self.committer.events() => match events {
                    Ok(events) => self.take_events(events),
                    Err(error) => return error,
                },
            }
            while self.partitions.iter().any(|partition| partition.borrow().has_open_work()) {
                if let Err(error) = self.round().await {
                    return error;
                }
            }
        }
    }

    /// Commits what is still open or on its way, at the end.
    pub async fn finish_rounds(&self) -> Result<(), CommitError> {
        while !self.is_idle() {
            self.round().await?;
        }
        Ok(())
    }

    async fn round(&self) -> Result<(), CommitError> {
        let now = self.now();
        self.stopwatch.start();
        let sealed = self.stopwatch.mark();
        let mut bytes = 0;
        for (id, partition) in (0..).map(PartitionId).zip(&self.partitions) {
            loop {
                let mut partition = partition.borrow_mut();
                let proposal = ProposalId(self.next_proposal.get());
                match partition.seal(now, proposal) {
                    Sealed::Entry(entry) => {
                        bytes += entry.len() as u64;
                        self.next_proposal.set(proposal.0 + 1);
                        self.committer.propose(id, proposal, Bytes::copy_from_slice(entry));
                    }
                    Sealed::Unlogged => {
                        let mut effects = self.effects();
                        let hears = self.hears.get();
                        partition.apply_unlogged(now, &mut effects, &mut |ticket, reply, effects| {
                            self.returned(hears, ticket, reply, effects)
                        });
                    }
                    Sealed::Nothing => break,
                }
            }
        }
        self.finish_returned();
        while self.committer.has_in_flight() {
            let events = self.committer.events().await?;
            self.take_events(events);
        }
        self.flush_connections();
        if bytes > 0 {
            self.metrics.note_commit(bytes);
            self.stopwatch.lap();
            self.note_event(Event::Commit, self.stopwatch.since(sealed));
        }
        if let Some(took) = self.committer.take_last_sync() {
            self.metrics.note_flush(took.as_micros() as u64);
            self.note_event(Event::Sync, took.as_nanos() as u64);
        }
        Ok(())
    }

    /// An outcome has come. Plain replies are written at once; what touches partitions again waits until the partition
    /// at work is released.
    fn done(&self, ticket: Ticket, reply: Reply) {
        match ticket {
            Ticket::Client(place) => self.answer(&place, &reply),
            other => {
                let nanoseconds = self.stopwatch.lap();
                let returned = Returned { ticket: other, reply, nanoseconds, effects: Vec::new() };
                self.returned.borrow_mut().push(returned);
            }
        }
    }

    /// While somebody hears, every outcome waits with what its op has done: so each reply comes before its events, and
    /// all come in the order of the log.
    fn returned(&self, hears: bool, ticket: Ticket, reply: Reply, effects: &mut Effects) {
        if hears {
            let effects = effects.take();
            let nanoseconds = self.stopwatch.lap();
            self.returned.borrow_mut().push(Returned { ticket, reply, nanoseconds, effects });
        } else {
            self.done(ticket, reply);
        }
    }

    /// What is to be kept of what ops do, for whoever listens.
    fn effects(&self) -> Effects {
        if self.hears.get() {
            self.heard_effects()
        } else if self.waiters.borrow().is_empty() {
            Effects::unwanted()
        } else {
            Effects::wanted()
        }
    }

    fn finish_returned(&self) {
        loop {
            let returned = self.returned.take();
            if returned.is_empty() {
                break;
            }
            let mut heard = Vec::new();
            for Returned { ticket, reply, nanoseconds, effects } in returned {
                self.finish(ticket, reply, nanoseconds, &effects);
                heard.extend(effects);
            }
            self.report(heard);
        }
        if self.tracks.get() {
            self.send_broadcasts();
        }
    }

    fn finish(&self, ticket: Ticket, reply: Reply, nanoseconds: u64, effects: &[Effect]) {
        match ticket {
            Ticket::Client(place) => {
                self.announce(effects, Some(&place.connection));
                self.answer_after(&place, &reply, nanoseconds);
            }
            Ticket::Part { gather, part } => {
                self.announce(effects, gather.asker());
                if let Some((target, whole)) = gather.put(part, reply) {
                    self.finish_gathered(target, whole);
                }
            }
            Ticket::Link(chain) => {
                self.announce(effects, None);
                self.link_came_back(chain, reply);
            }
            Ticket::Read(read) => {
                let TrackedRead { place, keys } = *read;
                self.remember_at_its_place(&place.connection, keys.iter().map(|key| &key[..]));
                self.announce(effects, Some(&place.connection));
                self.answer_after(&place, &reply, nanoseconds);
            }
            Ticket::Waiter(id) => {
                self.announce(effects, None);
                self.waiter_came_back(id, reply);
            }
            Ticket::Publish { place, message } => self.publish_at(&place, &message, reply),
            Ticket::Exec { place, plan } => self.finish_exec(&place, *plan, reply, effects, nanoseconds),
            Ticket::Expired => {
                self.expired(&reply, nanoseconds);
                self.announce(effects, None);
            }
            Ticket::Forgotten => self.forgotten(),
            Ticket::Internal => self.announce(effects, None),
        }
    }

    /// Whoever waits on the keys concerned is looked at again.
    fn report(&self, effects: Vec<Effect>) {
        if self.waiters.borrow().is_empty() {
            return;
        }
        for effect in effects {
            self.serve_waiters(&effect);
        }
    }

    // ---- connections

    pub fn next_connection_id(&self) -> u64 {
        self.next_connection.set(self.next_connection.get() + 1);
        self.next_connection.get()
    }

    pub fn add_connection(&self, connection: &Rc<Connection>) {
        self.connections.borrow_mut().insert(connection.id, connection.clone());
    }

    /// What is on its way for the connection goes on; nothing may be registered for it any more.
    pub fn remove_connection(&self, connection: &Rc<Connection>) {
        self.connections.borrow_mut().remove(&connection.id);
        self.pause.forget(connection);
        self.stop_tracking(connection);
        self.monitors.remove(connection);
        self.pubsub.borrow_mut().drop_subscriber(connection.subscriber());
        self.end_wait(connection, crate::server::blocking::Ending::Disconnected);
    }

    pub fn connections(&self) -> Ref<'_, BTreeMap<u64, Rc<Connection>>> {
        self.connections.borrow()
    }

    /// Has the connection's output sent when the tasks that are ready now have run, all of it with one call.
    pub fn queue_flush(&self, connection: &Rc<Connection>) {
        if !connection.flush_queued.replace(true) {
            let mut queue = self.to_flush.borrow_mut();
            if queue.is_empty() {
                self.flush_due.notify_one();
            }
            queue.push(connection.clone());
        }
    }

    /// Sends what was queued outside of rounds: messages of subscriptions.
    pub async fn run_flushes(&self) {
        loop {
            self.flush_due.notified().await;
            self.flush_connections();
        }
    }

    fn flush_connections(&self) {
        let mut queue = self.to_flush.take();
        for connection in queue.drain(..) {
            connection.flush_queued.set(false);
            self.metrics.note_output(connection.flush());
        }
        // Keeps the memory unless somebody queued meanwhile.
        let mut current = self.to_flush.borrow_mut();
        if current.is_empty() {
            *current = queue;
        }
    }

    /// Whether a client has left more unread than its class may (`client-output-buffer-limit`): the hard limit at
    /// once, the soft limit for longer than it allows.
    pub fn is_over_output_limit(&self, connection: &Connection, subscribed: bool) -> bool {
        let bytes = connection.output_bytes() as u64;
        let limits = &self.config.borrow().output_limits;
        let limit = if subscribed { &limits.pubsub } else { &limits.normal };
        if limit.hard_bytes > 0 && bytes > limit.hard_bytes {
            return true;
        }
        if limit.soft_bytes == 0 || bytes <= limit.soft_bytes {
            connection.over_soft_limit_since_ms.set(None);
            return false;
        }
        let now_ms = self.clock.monotonic_ms();
        let since_ms = connection.over_soft_limit_since_ms.get().unwrap_or(now_ms);
        connection.over_soft_limit_since_ms.set(Some(since_ms));
        now_ms - since_ms > limit.soft_seconds.saturating_mul(1000)
    }

    /// Closes a client that does not take what is sent to it (`client-output-buffer-limit`).
    pub fn cut_off(&self, connection: &Connection) {
        if connection.close_for_output() {
            self.metrics.client_output_buffer_disconnections.add(1);
        }
    }

    /// Answers everything on its way with an error: the log has failed and none of it is known to be kept.
    pub fn fail_everything(&self, error: &crate::model::reply::ReplyError) {
        for partition in &self.partitions {
            partition.borrow_mut().fail_all(error, &mut |ticket, reply| self.done(ticket, reply));
        }
        self.finish_returned();
        self.flush_connections();
    }
}

impl Worker {
    fn take_events(&self, events: Vec<CommitEvent>) {
        for event in events {
            let (of, applied) = (event.partition(), event.applied());
            self.take_event(event);
            if let Some(index) = applied {
                self.committer.applied(of, index);
            }
        }
    }

    fn take_event(&self, event: CommitEvent) {
        match event {
            CommitEvent::Committed { partition, log_id, payload: Payload::Blank, .. } => {
                self.partition(partition).borrow_mut().skip(log_id.index);
            }
            CommitEvent::Committed { partition, log_id, payload: Payload::Entry(entry), proposal } => {
                match proposal {
                    Some(proposal) => self.apply_own(partition, proposal, log_id.index, &entry),
                    None => {
                        let applied =
                            self.partition(partition).borrow_mut().apply_foreign(log_id.index, &entry);
                        if let Err(error) = applied {
                            self.latch.trip(format!("entry {} does not decode: {error}", log_id.index.0));
                        }
                    }
                }
            }
            CommitEvent::Refused { partition, proposal, reason } => {
                let error = ReplyError::owned(format!("ERR not done: {reason}"));
                self.fail(partition, proposal, &error);
            }
            CommitEvent::Unknown { partition, proposal } => {
                let error = ReplyError::new("UNKNOWN leadership was lost, the outcome is not known");
                self.fail(partition, proposal, &error);
            }
            CommitEvent::Installed { partition, machine } => {
                self.partition(partition).borrow_mut().replace_machine(machine);
            }
            CommitEvent::GroupFailed { partition, reason } => {
                self.latch.trip(format!("partition {}: {reason}", partition.0));
            }
        }
    }

    fn fail(&self, partition: PartitionId, proposal: ProposalId, error: &ReplyError) {
        let mut done = |ticket, reply| self.done(ticket, reply);
        self.partition(partition).borrow_mut().fail(proposal, error, &mut done);
        self.finish_returned();
    }

    fn apply_own(&self, partition: PartitionId, proposal: ProposalId, index: LogIndex, entry: &[u8]) {
        let mut effects = self.effects();
        let hears = self.hears.get();
        self.stopwatch.start();
        let mut done = |ticket, reply, effects: &mut Effects| self.returned(hears, ticket, reply, effects);
        self.partition(partition).borrow_mut().apply_own(proposal, index, entry, &mut effects, &mut done);
        self.finish_returned();
        if !effects.is_empty() {
            self.report(effects.drain().collect());
        }
    }
}
