//! From a request to whoever executes it, through the checks that every command passes, in Redis's order
//! (`processCommand`, Redis 7.2).

use crate::command::lookup;
use crate::command::spec::{Flags, Row};
use crate::command::value::reach::Reach;
use crate::command::value::{Command, Data};
use crate::model::args::{Args, OwnedArgs};
use crate::model::reply::{Reply, ReplyError};
use crate::resp::reader::is_cross_protocol;
use crate::server::connection::Connection;
use crate::server::worker::Worker;
use std::rc::Rc;

/// What becomes of the connection's next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    Next,
    /// This request was not executed: it comes again when the requests before it are answered.
    HoldUntilSettled,
    /// This request was not executed: it comes again when the pause is over.
    HoldPaused,
}

impl Worker {
    /// Executes one request of a client, or has it wait.
    pub fn request(self: &Rc<Self>, connection: &Rc<Connection>, args: Args<'_>) -> Flow {
        let name = args.get(0).unwrap_or_default();
        if is_cross_protocol(name) {
            tracing::warn!(peer = %connection.peer, "possible cross-protocol attack: a web request was sent; closing");
            connection.close_unanswered();
            return Flow::Next;
        }
        let (replies_before, is_plain) = {
            let mut session = connection.session.borrow_mut();
            (session.next_request(), session.is_plain())
        };
        let row = match lookup::find(args) {
            Ok(row) => row,
            Err(error) => {
                let row = lookup::row_of(args);
                connection.session.borrow_mut().last_command = row;
                self.refuse(connection, row, is_exec(name), error);
                return Flow::Next;
            }
        };
        connection.session.borrow_mut().last_command = Some(row);
        // A plain session passes all that is checked, and queues nothing.
        if !is_plain {
            if let Err(error) = self.check(connection, row, args) {
                self.refuse(connection, Some(row), is_exec(name), error);
                return Flow::Next;
            }
            if connection.session.borrow().queue.is_some() && !row.flags.contains(Flags::IMMEDIATE_IN_MULTI) {
                self.enqueue(connection, row, args);
                self.stopwatch.lap();
                return Flow::Next;
            }
        }
        let is_paused = self.pause.is_begun()
            && self.pause.holds(row, self.clock.monotonic_ms())
            && !connection.session.borrow().is_subscribed_only();
        let errors_before = self.metrics.errors.get();
        connection.take_opened();
        let flow = if is_paused { Flow::HoldPaused } else { self.execute(connection, row, args) };
        if flow == Flow::Next {
            // CONFIG RESETSTAT sets it back.
            let failed = self.metrics.errors.get() > errors_before;
            let opened = connection.take_opened();
            // An EXEC on its way ends it itself, behind its commands.
            if self.tracks.get() && !(row.name == "exec" && opened.is_some()) {
                self.end_caching(connection, Some(row));
            }
            self.note_request(connection, row, args, opened, failed);
            if self.monitors.is_any() && !(row.name == "exec" && opened.is_some()) {
                self.feed_monitors(connection, row, args);
            }
        } else {
            // It comes again: a CLIENT REPLY SKIP before it is still meant for it.
            connection.session.borrow_mut().replies = replies_before;
        }
        flow
    }

    /// CLIENT CACHING concerns the next request that is not CLIENT, refused or not, or the whole of a transaction (Redis
    /// `resetClient`).
    fn end_caching(&self, connection: &Connection, row: Option<&Row>) {
        let is_client = row.is_some_and(|row| row.container_name() == "client");
        if !is_client && connection.session.borrow().queue.is_none() {
            self.tracking.borrow_mut().end_caching(connection.id);
        }
    }

    /// Parses and executes.
    fn execute(self: &Rc<Self>, connection: &Rc<Connection>, row: &'static Row, args: Args<'_>) -> Flow {
        match &mut (row.parse)(args) {
            Ok(command) => self.execute_command(connection, args, command),
            Err(error) => {
                connection.reply(&Reply::Error(error.clone()));
                Flow::Next
            }
        }
    }

    fn execute_command(
        self: &Rc<Self>,
        connection: &Rc<Connection>,
        args: Args<'_>,
        command: &mut Command<'_>,
    ) -> Flow {
        match command {
            Command::Data(data) => {
                if let Data::Write(_) = &*data
                    && self.latch.is_tripped()
                {
                    connection.reply(&Reply::Error(STOPPED));
                    return Flow::Next;
                }
                self.execute_data(connection, data)
            }
            Command::Blocking { read, timeout_ms } => {
                self.execute_blocking(connection, args, read, *timeout_ms)
            }
            Command::PubSub(command) => self.execute_pubsub(connection, command),
            Command::Transaction(command) => self.execute_transaction(connection, command),
            Command::Connection(command) => self.execute_connection(connection, command),
            Command::Server(command) => self.execute_server(connection, command),
        }
    }

    /// What every command must pass. For a user that may not do everything the request is parsed for it.
    fn check(&self, connection: &Connection, row: &'static Row, args: Args<'_>) -> Result<(), ReplyError> {
        let session = connection.session.borrow();
        let (is_queueing, is_subscribed_only) = (session.queue.is_some(), session.is_subscribed_only());
        let (unrestricted, is_monitoring) = (session.unrestricted, session.is_monitoring);
        drop(session);
        if !unrestricted {
            self.check_login(connection, row)?;
        }
        if is_queueing && row.flags.contains(Flags::NO_MULTI) {
            return Err(ReplyError::new("ERR Command not allowed inside a transaction"));
        }
        if !unrestricted {
            self.permit(connection, row, args, &(row.parse)(args))?;
        }
        if is_subscribed_only && !row.flags.contains(Flags::WHILE_SUBSCRIBED) {
            return Err(ReplyError::owned(format!(
                "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in \
                 this context",
                row.full_name()
            )));
        }
        if is_monitoring && reaches_keys(row) {
            // A monitor counts as a replica there (Redis `processCommand`).
            return Err(ReplyError::new("ERR Replica can't interact with the keyspace"));
        }
        Ok(())
    }

    /// Refuses a request before it is executed. In a transaction this spoils EXEC; refusing EXEC itself ends the
    /// transaction (Redis `rejectCommand`).
    fn refuse(
        &self,
        connection: &Rc<Connection>,
        row: Option<&'static Row>,
        is_exec: bool,
        error: ReplyError,
    ) {
        if let Some(row) = row {
            self.metrics.note_rejection(row.index());
        }
        if is_exec {
            let mut session = connection.session.borrow_mut();
            session.queue = None;
            session.watched.clear();
        }
        if self.tracks.get() {
            self.end_caching(connection, row);
        }
        if is_exec {
            let why = error.as_bytes().strip_prefix(b"ERR ").unwrap_or(error.as_bytes());
            let text = [b"EXECABORT Transaction discarded because of: ", why].concat();
            connection.reply(&Reply::Error(ReplyError::owned(text)));
            return;
        }
        if let Some(queue) = &mut connection.session.borrow_mut().queue {
            queue.refused = true;
        }
        connection.reply(&Reply::Error(error));
    }

    /// Several partitions: a transaction is one entry of one partition's log.
    fn check_slots(&self, row: &Row, args: Args<'_>) -> Result<(), ReplyError> {
        if self.router.partitions() == 1 {
            return Ok(());
        }
        // Whatever does not parse is refused by EXEC, as in Redis.
        let Ok(Command::Data(data) | Command::Blocking { read: data, .. }) = (row.parse)(args) else {
            return Ok(());
        };
        if data.reach() == Reach::Everywhere {
            return Err(ReplyError::owned(format!(
                "CROSSSLOT '{}' concerns all slots: it cannot be in a transaction while there are several partitions",
                row.full_name()
            )));
        }
        self.router.of_keys(data.keys()).map(|_| ())
    }

    fn enqueue(&self, connection: &Rc<Connection>, row: &'static Row, args: Args<'_>) {
        if let Err(error) = self.check_slots(row, args) {
            self.refuse(connection, Some(row), false, error);
            return;
        }
        let request = OwnedArgs::copy(args);
        let limit = self.config.borrow().client_query_buffer_limit;
        let too_large = {
            let mut session = connection.session.borrow_mut();
            let queue = session.queue.as_mut().expect("only called in a transaction");
            queue.bytes += request.memory();
            let too_large = queue.bytes as u64 > limit;
            if !too_large {
                queue.requests.push((row, request));
            }
            too_large
        };
        if too_large {
            // A transaction is bounded by what a client may have in its query buffer (reliability P10).
            tracing::warn!(peer = %connection.peer, "transaction over client-query-buffer-limit; closing");
            self.metrics.client_query_buffer_disconnections.add(1);
            connection.close();
            return;
        }
        connection.reply(&Reply::QUEUED);
    }
}

/// To what is on its way when the log fails: part of it may be on disk (reliability R4: never a definite refusal).
pub const UNKNOWN: ReplyError = ReplyError::new(
    "UNKNOWN the journal failed before this was known to be on disk; it may or may not have taken effect.",
);

/// Nothing more is acknowledged: see [`crate::base::latch`].
pub const STOPPED: ReplyError = ReplyError::new(
    "MISCONF Errors writing to the journal; the server is stopping, nothing more is accepted.",
);

fn is_exec(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"exec")
}

fn reaches_keys(row: &Row) -> bool {
    is_write(row) || row.flags.contains(Flags::READONLY)
}

/// Whether a command may change data, for CLIENT PAUSE WRITE.
pub fn is_write(row: &Row) -> bool {
    row.flags.contains(Flags::WRITE) || row.flags.contains(Flags::MAY_REPLICATE)
}
