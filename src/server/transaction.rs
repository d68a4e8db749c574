//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.
//!
//! The commands of a transaction that are for the machine become one op. Those that are not (PUBLISH, CLIENT, PING …)
//! are executed when the op was applied, and their replies take their places among the others.

use crate::command::value::{Command, Data, TransactionCommand};
use crate::model::args::{ArgList, OwnedArgs};
use crate::model::log::PartitionId;
use crate::model::reply::Reply;
use crate::server::connection::Connection;
use crate::server::dispatch::Flow;
use crate::server::invalidation::remembered;
use crate::server::session::{Queue, WatchedKey};
use crate::server::ticket::{ExecPlan, ExecStep, Place, Ticket};
use crate::server::worker::Worker;
use crate::state::effects::Effect;
use crate::state::keyspace::KeyVersion;
use crate::state::op::{Transaction, Watched};
use std::collections::BTreeSet;
use std::rc::Rc;

impl Worker {
    pub fn execute_transaction(
        self: &Rc<Self>,
        connection: &Rc<Connection>,
        command: &TransactionCommand<'_>,
    ) -> Flow {
        match command {
            TransactionCommand::Multi => connection.reply(&multi(connection)),
            TransactionCommand::Discard => connection.reply(&discard(connection)),
            TransactionCommand::Watch { keys } => return self.watch(connection, keys),
            TransactionCommand::Unwatch => {
                connection.session.borrow_mut().watched.clear();
                connection.reply(&Reply::OK);
            }
            TransactionCommand::Exec => return self.exec(connection),
        }
        Flow::Next
    }

    fn watch(&self, connection: &Rc<Connection>, keys: &ArgList<'_>) -> Flow {
        if connection.session.borrow().queue.is_some() {
            connection.reply(&Reply::error("ERR WATCH inside MULTI is not allowed"));
            return Flow::Next;
        }
        // What is watched is the key as this connection's own writes before leave it.
        if !connection.is_settled() {
            return Flow::HoldUntilSettled;
        }
        if let Err(error) = self.router.of_keys(keys.iter()) {
            connection.reply(&Reply::Error(error));
            return Flow::Next;
        }
        let mut session = connection.session.borrow_mut();
        let database = session.database;
        let mut known: BTreeSet<Vec<u8>> =
            session.watched.iter().filter(|it| it.database == database).map(|it| it.key.clone()).collect();
        for key in keys.iter() {
            if !known.insert(key.to_vec()) {
                continue;
            }
            let version = self.version_of(database, key);
            session.watched.push(WatchedKey { database, key: key.to_vec(), version });
        }
        drop(session);
        connection.reply(&Reply::OK);
        Flow::Next
    }

    fn version_of(&self, database: u32, key: &[u8]) -> KeyVersion {
        self.partition(self.router.of_key(key)).borrow().machine().version(database, self.now(), key)
    }

    /// Whether EXEC would be refused as things stand.
    pub fn is_any_changed(&self, watched: &[WatchedKey]) -> bool {
        watched.iter().any(|watched| self.version_of(watched.database, &watched.key) != watched.version)
    }

    fn exec(self: &Rc<Self>, connection: &Rc<Connection>) -> Flow {
        if connection.session.borrow().queue.is_none() {
            connection.reply(&Reply::error("ERR EXEC without MULTI"));
            return Flow::Next;
        }
        if self.pause.is_on(self.clock.monotonic_ms()) && self.queue_holds_paused(connection) {
            return Flow::HoldPaused;
        }
        // A PUBLISH in it must not overtake what is on its way through other partitions.
        if self.router.partitions() > 1 && !connection.is_settled() {
            return Flow::HoldUntilSettled;
        }
        let (queue, watched) = {
            let mut session = connection.session.borrow_mut();
            (session.queue.take().expect("looked at above"), std::mem::take(&mut session.watched))
        };
        if queue.refused {
            connection.reply(&Reply::error("EXECABORT Transaction discarded because of previous errors."));
            return Flow::Next;
        }
        self.run_queue(connection, queue, &watched);
        Flow::Next
    }

    fn queue_holds_paused(&self, connection: &Connection) -> bool {
        let now_ms = self.clock.monotonic_ms();
        let session = connection.session.borrow();
        session.queue.iter().flat_map(|queue| &queue.requests).any(|(row, _)| self.pause.holds(row, now_ms))
    }

    fn run_queue(self: &Rc<Self>, connection: &Rc<Connection>, queue: Queue, watched: &[WatchedKey]) {
        let (mut database, protocol) = {
            let session = connection.session.borrow();
            (session.database, session.protocol)
        };
        let mut commands = Vec::new();
        let mut steps = Vec::new();
        let mut foresight = self.foresee(connection);
        let has_tracking = queue.requests.iter().any(|(row, _)| row.full_name() == "client|tracking");
        let requests = Rc::new(queue.requests);
        for (row, request) in &*requests {
            let parsed = (row.parse)(request.as_args());
            // The others are looked at when it is their turn.
            if !foresight.user.allows_everything()
                && matches!(parsed, Err(_) | Ok(Command::Data(_) | Command::Blocking { .. }))
                && let Err(error) =
                    self.permit_at_exec(connection, &foresight.user, row, request.as_args(), &parsed)
            {
                steps.push(ExecStep::Refused(Reply::Error(error)));
                continue;
            }
            match parsed {
                Ok(Command::Data(mut data) | Command::Blocking { read: mut data, .. }) => {
                    match self.complete(&mut data, protocol) {
                        Ok(()) => {
                            let keys = match &data {
                                Data::Query(query) if has_tracking || self.tracks.get() => remembered(query),
                                _ => Vec::new(),
                            };
                            commands.push((database, data));
                            steps.push(ExecStep::Data { keys });
                        }
                        Err(error) => steps.push(ExecStep::Refused(Reply::Error(error))),
                    }
                }
                Ok(command) => {
                    foresight.note(row, request.as_args(), &command);
                    // SELECT moves the commands behind it; the session follows when it is executed.
                    if let Some(selected) = self.selects(&command) {
                        database = selected;
                    }
                    steps.push(ExecStep::Other);
                }
                Err(error) => steps.push(ExecStep::Refused(Reply::Error(error))),
            }
        }
        let watched: Vec<Watched<'_>> = watched
            .iter()
            .map(|key| Watched { database: key.database, key: &key.key, version: key.version })
            .collect();
        let keys = commands.iter().flat_map(|(_, data)| data.keys()).chain(watched.iter().map(|key| key.key));
        let partition = match self.router.of_keys(keys) {
            Ok(partition) => partition.unwrap_or(PartitionId(0)),
            Err(error) => {
                connection.reply(&Reply::Error(error));
                return;
            }
        };
        if has_tracking {
            self.tracking_transactions.set(self.tracking_transactions.get() + 1);
            self.listen_as_configured();
        }
        let plan = ExecPlan { requests: requests.clone(), steps, has_tracking };
        let ticket = Ticket::Exec { place: Place::open(connection), plan: Box::new(plan) };
        let (transaction, queries) = Transaction::of_commands(watched, commands);
        self.partition(partition).borrow_mut().transact(transaction.clone(), &queries, ticket);
        connection.last_partition.set(partition);
        if !self.waiters.borrow().is_empty() {
            for write in &transaction.writes {
                self.ride_behind(write.database, &write.command, false);
            }
        }
        // What comes behind may depend on what the commands of the transaction do to the connection.
        connection.hold.set(crate::server::connection::Hold::UntilSettled);
        self.request_round();
    }

    /// The op of a transaction was applied, which took so long: the rest of it follows. The machine has no clock, so that
    /// its commands are counted with equal shares of that time.
    pub fn finish_exec(
        &self,
        place: &Place,
        plan: ExecPlan,
        reply: Reply,
        effects: &[Effect],
        applied_ns: u64,
    ) {
        let connection = &place.connection;
        let has_tracking = plan.has_tracking;
        let mut data = match reply {
            Reply::Array(replies) => replies.into_iter(),
            // A watched key has changed, or the log has failed.
            refused => {
                self.end_tracking_transaction(connection, has_tracking);
                self.answer(place, &refused);
                return;
            }
        };
        // Each command's events take their place among what the others do.
        let mut effects = effects.chunk_by(|one, next| one.step == next.step).peekable();
        let mut step_number = 0;
        let share_ns = applied_ns / data.len().max(1) as u64;
        let mut total_ns = applied_ns;
        let mut replies = Vec::with_capacity(plan.steps.len());
        for (step, (row, request)) in plan.steps.into_iter().zip(&*plan.requests) {
            let args = request.as_args();
            let (reply, nanoseconds) = match step {
                ExecStep::Data { keys } => {
                    self.remember(connection, keys.iter().map(|key| &key[..]));
                    if let Some(done) = effects.next_if(|done| done[0].step == step_number) {
                        self.announce(done, Some(connection));
                    }
                    step_number += 1;
                    (data.next().expect("the machine answers each command"), share_ns)
                }
                ExecStep::Refused(reply) => (reply, 0),
                ExecStep::Other => {
                    let reply = self.execute_inside_exec(connection, request);
                    let nanoseconds = self.stopwatch.lap();
                    total_ns += nanoseconds;
                    (reply, nanoseconds)
                }
            };
            self.note_inside_exec(connection, row, args, nanoseconds, &reply);
            if self.monitors.is_any() {
                self.feed_monitors(connection, row, args);
            }
            replies.push(reply);
        }
        self.end_tracking_transaction(connection, has_tracking);
        self.answer_exec(place, &Reply::Array(replies), total_ns, share_ns);
    }

    fn end_tracking_transaction(&self, connection: &Connection, has_tracking: bool) {
        if self.tracks.get() {
            self.tracking.borrow_mut().end_caching(connection.id);
        }
        if has_tracking {
            self.tracking_transactions.set(self.tracking_transactions.get() - 1);
            self.listen_as_configured();
        }
    }

    fn selects(&self, command: &Command<'_>) -> Option<u32> {
        use crate::command::value::connection::ConnectionCommand;
        match command {
            Command::Connection(ConnectionCommand::Select { database }) => {
                u32::try_from(*database).ok().filter(|database| *database < self.databases())
            }
            _ => None,
        }
    }

    /// A command of a transaction that is not for the machine: executed, and its reply taken off the output.
    fn execute_inside_exec(&self, connection: &Rc<Connection>, request: &OwnedArgs) -> Reply {
        let row = match crate::command::lookup::find(request.as_args()) {
            Ok(row) => row,
            Err(error) => return Reply::Error(error),
        };
        let parsed = (row.parse)(request.as_args());
        let user = connection.session.borrow().user.clone();
        if !user.allows_everything()
            && let Err(error) = self.permit_at_exec(connection, &user, row, request.as_args(), &parsed)
        {
            return Reply::Error(error);
        }
        match parsed {
            Ok(Command::PubSub(command)) => self.pubsub_reply(connection, &command),
            Ok(Command::Connection(command)) => self.connection_reply(connection, &command),
            Ok(Command::Server(command)) => self.server_reply(connection, &command),
            Ok(Command::Transaction(_)) => Reply::OK,
            Ok(Command::Data(_) | Command::Blocking { .. }) => unreachable!("commands on keys are in the op"),
            Err(error) => Reply::Error(error),
        }
    }
}

fn multi(connection: &Connection) -> Reply {
    let mut session = connection.session.borrow_mut();
    if session.queue.is_some() {
        return Reply::error("ERR MULTI calls can not be nested");
    }
    session.queue = Some(Queue::default());
    Reply::OK
}

fn discard(connection: &Connection) -> Reply {
    let mut session = connection.session.borrow_mut();
    if session.queue.take().is_none() {
        return Reply::error("ERR DISCARD without MULTI");
    }
    session.watched.clear();
    Reply::OK
}
