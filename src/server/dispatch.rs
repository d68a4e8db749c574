//! Dispatch: from a request to its handler, through the checks of every command in Redis's order
//! (`processCommand`, Redis 7.2).

use crate::command::lookup;
use crate::command::spec::{Flag, Flags, Row};
use crate::command::value::Command;
use crate::command::value::key_scope::KeyScope;
use crate::commands::{blocking, connection as connection_commands, keys, pubsub, server, transaction};
use crate::engine::submission::{LOADING, Outcome, Work};
use crate::frontend::disk_errors::{DISK_FULL, DISK_NEARLY_FULL};
use crate::frontend::frontend::Frontend;
use crate::frontend::memory_limit::OUT_OF_MEMORY;
use crate::frontend::pause::is_write;
use crate::frontend::permissions;
use crate::frontend::response::{Response, Why};
use crate::model::args::{Args, OwnedArgs};
use crate::model::reply::{Reply, ReplyError};
use crate::model::request::RequestId;
use crate::net::connection::{Connection, InputUse};
use crate::resp::reader::is_cross_protocol;
use crate::session::pending::{Completion, Pending};
use std::rc::Rc;

/// The fate of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Executed {
    /// The request was answered, or needs no answer.
    Replied { failed: bool },
    /// The reply comes later.
    Pending(RequestId),
    /// The request was not executed and will be retried.
    Hold(Why),
}

/// Executes one request of a client, or holds it.
pub fn request(frontend: &Rc<Frontend>, connection: &Rc<Connection>, args: Args<'_>) -> Option<Why> {
    let name = args.get(0).unwrap_or_default();
    if is_cross_protocol(name) {
        tracing::warn!(peer = %connection.peer, "possible cross-protocol attack: a web request was sent; closing");
        connection.close_unanswered();
        return None;
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
            refuse(frontend, connection, row, is_exec(name), error);
            return None;
        }
    };
    connection.session.borrow_mut().last_command = Some(row);
    // A plain session passes all checks and queues nothing.
    if !is_plain {
        if let Err(error) = check(frontend, connection, row, args) {
            refuse(frontend, connection, Some(row), is_exec(name), error);
            return None;
        }
        if connection.session.borrow().queue.is_some() && !row.flags.contains(Flags::IMMEDIATE_IN_MULTI) {
            enqueue(frontend, connection, row, args);
            frontend.stopwatch.lap();
            return None;
        }
    } else if let Err(error) = check_memory(frontend, connection, row)
        .and_then(|()| check_disk(frontend, connection, row))
        .and_then(|()| check_loading(frontend, connection, row))
    {
        refuse(frontend, connection, Some(row), false, error);
        return None;
    }
    let is_paused = frontend.pause.is_begun()
        && frontend.pause.holds(row, frontend.monotonic_ms())
        && !connection.session.borrow().is_subscribed_only();
    let executed = if is_paused {
        Executed::Hold(Why::Paused)
    } else {
        let response = execute(frontend, connection, row, args);
        respond(frontend, connection, response)
    };
    // A pending EXEC ends with its commands, in `transaction::resume`.
    let is_pending_exec = row.name == "exec" && matches!(executed, Executed::Pending(_));
    match executed {
        Executed::Hold(why) => {
            // The request is retried, so an earlier CLIENT REPLY SKIP still applies to it.
            connection.session.borrow_mut().replies = replies_before;
            return Some(why);
        }
        Executed::Pending(request) => frontend.note_submitted(connection, row, args, request),
        Executed::Replied { failed } => frontend.note_executed(connection, row, args, failed),
    }
    if frontend.push.tracks() && !is_pending_exec {
        end_caching(frontend, connection, Some(row));
    }
    if frontend.push.monitors.is_any() && !is_pending_exec {
        frontend.feed_monitors(connection, row, args);
    }
    None
}

/// Parses and executes the request.
fn execute<'a>(
    frontend: &Rc<Frontend>,
    connection: &Rc<Connection>,
    row: &'static Row,
    args: Args<'a>,
) -> Response<'a> {
    // By reference: a parsed command is large.
    match &mut (row.parse)(args) {
        Ok(Command::Data(data)) => keys::execute(frontend, connection, data),
        Ok(Command::Blocking { read, timeout_ms }) => {
            blocking::execute(frontend, connection, row, args, read, *timeout_ms)
        }
        Ok(Command::PubSub(command)) => pubsub::execute(frontend, connection, command),
        Ok(Command::Transaction(command)) => transaction::execute(frontend, connection, command),
        Ok(Command::Connection(command)) => {
            note_arguments(connection, args);
            connection_commands::execute(frontend, connection, command)
        }
        Ok(Command::Server(command)) => {
            note_arguments(connection, args);
            server::execute(frontend, connection, command)
        }
        Err(error) => Reply::Error(error.clone()).into(),
    }
}

/// CLIENT LIST and INFO see the request that asks. Other requests are not seen while they are executed.
fn note_arguments(connection: &Connection, args: Args<'_>) {
    let arguments = args.iter().map(<[u8]>::len).sum();
    let input = &connection.activity.input;
    input.set(InputUse { arguments, ..input.get() });
}

/// Writes the result of a command.
fn respond(frontend: &Rc<Frontend>, connection: &Rc<Connection>, response: Response<'_>) -> Executed {
    match response {
        Response::Reply(reply) => reply_now(connection, &reply),
        Response::Pushes(frames) => {
            frames.iter().for_each(|frame| connection.push_reply(frame));
            Executed::Replied { failed: false }
        }
        Response::Silence => Executed::Replied { failed: false },
        Response::Outcome(outcome) => {
            let Outcome { answer, events, .. } = outcome;
            frontend.push.announce(&frontend.connections, &events, Some(connection));
            reply_now(connection, &answer.into_reply())
        }
        Response::Pending(request) => Executed::Pending(request),
        Response::Ask(question, make) => {
            match frontend.port.submit(connection.next_request(), Work::Question(question)) {
                Some(Outcome { answer, .. }) => reply_now(connection, &make(answer)),
                None => {
                    let then = Completion::Ask(make);
                    let request = connection.open_slot(Pending::with(then));
                    // Later requests may depend on changes that the answer makes to the connection.
                    connection.activity.hold.set(crate::net::connection::Hold::UntilDrained);
                    Executed::Pending(request)
                }
            }
        }
        Response::Hold(why) => Executed::Hold(why),
    }
}

fn reply_now(connection: &Connection, reply: &Reply) -> Executed {
    connection.reply(reply);
    connection.send_deferred();
    Executed::Replied { failed: matches!(reply, Reply::Error(_)) }
}

/// CLIENT CACHING applies to the next request other than CLIENT, refused or not, or to a whole transaction
/// (Redis `resetClient`).
fn end_caching(frontend: &Frontend, connection: &Connection, row: Option<&Row>) {
    let is_client = row.is_some_and(|row| row.container_name() == "client");
    if !is_client && connection.session.borrow().queue.is_none() {
        frontend.push.tracking.borrow_mut().end_caching(connection.id.number);
    }
}

/// The checks of every command. The permission check of a restricted user parses the request.
fn check(
    frontend: &Frontend,
    connection: &Connection,
    row: &'static Row,
    args: Args<'_>,
) -> Result<(), ReplyError> {
    let session = connection.session.borrow();
    let (is_queueing, is_subscribed_only) = (session.queue.is_some(), session.is_subscribed_only());
    let (unrestricted, is_monitoring) = (session.unrestricted, session.is_monitoring);
    drop(session);
    if !unrestricted {
        permissions::check_login(frontend, connection, row)?;
    }
    if is_queueing && row.flags.contains(Flags::NO_MULTI) {
        return Err(ReplyError::new("ERR Command not allowed inside a transaction"));
    }
    if !unrestricted {
        permissions::permit(frontend, connection, row, args, &(row.parse)(args))?;
    }
    check_memory(frontend, connection, row)?;
    check_disk(frontend, connection, row)?;
    if is_subscribed_only && !row.flags.contains(Flags::WHILE_SUBSCRIBED) {
        return Err(ReplyError::owned(format!(
            "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in \
             this context",
            row.full_name()
        )));
    }
    check_loading(frontend, connection, row)?;
    if is_monitoring && reaches_keys(row) {
        // Redis counts a monitor as a replica here (`processCommand`).
        return Err(ReplyError::new("ERR Replica can't interact with the keyspace"));
    }
    Ok(())
}

/// With too much memory in use, nothing is executed that may take more, and nothing is queued: a queue takes
/// memory, whatever is in it.
#[inline]
fn check_memory(frontend: &Frontend, connection: &Connection, row: &'static Row) -> Result<(), ReplyError> {
    if !frontend.memory.is_used_up() {
        return Ok(());
    }
    let is_queued =
        connection.session.borrow().queue.is_some() && !row.flags.contains(Flags::IMMEDIATE_IN_MULTI);
    if !is_queued && may_run(connection, row, |row| !row.flags.has(Flag::DenyOom)) {
        return Ok(());
    }
    Err(OUT_OF_MEMORY)
}

/// While space on disk is low, nothing is written that adds data (Redis refuses every write, `writeCommandsDeniedByDiskError`).
/// While there is none at all, nothing is written.
#[inline]
fn check_disk(frontend: &Frontend, connection: &Connection, row: &'static Row) -> Result<(), ReplyError> {
    let disk = &frontend.context.disk;
    if !disk.is_low() && !disk.is_waiting() {
        return Ok(());
    }
    let is_waiting = disk.is_waiting();
    let writes = |row: &Row| row.flags.has(Flag::Write) && (is_waiting || row.flags.has(Flag::DenyOom));
    if may_run(connection, row, |row| !writes(row)) {
        return Ok(());
    }
    disk.note_refusal();
    Err(if is_waiting { DISK_FULL } else { DISK_NEARLY_FULL })
}

/// While the data is loaded, only what needs none is executed.
#[inline]
fn check_loading(frontend: &Frontend, connection: &Connection, row: &'static Row) -> Result<(), ReplyError> {
    if frontend.port.loading().is_none() || may_run(connection, row, |row| row.flags.has(Flag::Loading)) {
        return Ok(());
    }
    Err(LOADING)
}

/// Whether a request passes a test of its row, and an EXEC with all that it executes.
fn may_run(connection: &Connection, row: &Row, passes: impl Fn(&Row) -> bool) -> bool {
    let session = connection.session.borrow();
    let queued = session.queue.as_ref().filter(|_| row.name == "exec");
    passes(row) && queued.is_none_or(|queue| queue.requests.iter().all(|(row, _)| passes(row)))
}

/// Refuses a request before execution. In a transaction this makes EXEC fail; refusing EXEC itself ends the
/// transaction (Redis `rejectCommand`).
fn refuse(
    frontend: &Frontend,
    connection: &Rc<Connection>,
    row: Option<&'static Row>,
    is_exec: bool,
    error: ReplyError,
) {
    if let Some(row) = row {
        frontend.metrics.note_rejection(row.index());
    }
    if is_exec {
        let mut session = connection.session.borrow_mut();
        session.queue = None;
        session.watched.clear();
    }
    if frontend.push.tracks() {
        end_caching(frontend, connection, row);
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

/// With several partitions: a transaction is one entry of one partition's log.
fn check_slots(frontend: &Frontend, row: &Row, args: Args<'_>) -> Result<(), ReplyError> {
    if frontend.router.partitions() == 1 {
        return Ok(());
    }
    // EXEC refuses requests that do not parse, as in Redis.
    let Ok(Command::Data(data) | Command::Blocking { read: data, .. }) = (row.parse)(args) else {
        return Ok(());
    };
    if data.key_scope() == KeyScope::Everywhere {
        return Err(ReplyError::owned(format!(
            "CROSSSLOT '{}' concerns all slots: it cannot be in a transaction while there are several partitions",
            row.full_name()
        )));
    }
    frontend.router.of_keys(data.keys()).map(|_| ())
}

fn enqueue(frontend: &Frontend, connection: &Rc<Connection>, row: &'static Row, args: Args<'_>) {
    if let Err(error) = check_slots(frontend, row, args) {
        refuse(frontend, connection, Some(row), false, error);
        return;
    }
    let request = OwnedArgs::copy(args);
    let limit = frontend.context.config.borrow().client_query_buffer_limit;
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
        // The query buffer limit of a client also bounds a transaction (docs/reliability.md P10).
        tracing::warn!(peer = %connection.peer, "transaction over client-query-buffer-limit; closing");
        frontend.metrics.client_query_buffer_disconnections.add(1);
        connection.close();
        return;
    }
    connection.reply(&Reply::QUEUED);
}

fn is_exec(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"exec")
}

fn reaches_keys(row: &Row) -> bool {
    is_write(row) || row.flags.contains(Flags::READONLY)
}

#[cfg(test)]
#[path = "dispatch_tests.rs"]
mod tests;
