//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.
//!
//! The commands of a transaction that the machine executes become one op. The others (PUBLISH, CLIENT, PING
//! …) are executed after the op was applied, and their replies take their positions in the array.
//!
//! Permissions are checked command by command, as in Redis (`execCommand`, Redis 7.2): commands that change
//! the identity of the client or the rights of users (AUTH, HELLO with AUTH, ACL SETUSER, DELUSER and LOAD)
//! are executed during EXEC, each in its order among the permission checks of the others. Such a transaction
//! waits until nothing before it is in flight, and checks its watched keys first, so that a refused
//! transaction does nothing.

use crate::command::spec::Row;
use crate::command::value::acl::AclCommand;
use crate::command::value::connection::{ConnectionCommand, Hello};
use crate::command::value::server::ServerCommand;
use crate::command::value::{Command, Data, TransactionCommand};
use crate::commands::{connection as connection_commands, keys, pubsub, server};
use crate::engine::submission::{EngineAnswer, Outcome, Question, Work};
use crate::frontend::frontend::Frontend;
use crate::frontend::permissions;
use crate::frontend::response::{Response, Why};
use crate::model::args::{ArgList, OwnedArgs};
use crate::model::log::PartitionId;
use crate::model::reply::Reply;
use crate::model::request::RequestId;
use crate::net::connection::{Connection, Hold};
use crate::push::invalidation::remembered;
use crate::session::pending::{Completion, ExecRun, ExecStart, ExecStep, Pending};
use crate::session::session::{Queue, WatchedKey};
use crate::state::op::{Transaction, Watched};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::rc::Rc;

pub fn execute<'a>(
    frontend: &Rc<Frontend>,
    connection: &Rc<Connection>,
    command: &TransactionCommand<'a>,
) -> Response<'a> {
    match command {
        TransactionCommand::Multi => multi(connection).into(),
        TransactionCommand::Discard => discard(connection).into(),
        TransactionCommand::Watch { keys } => watch(frontend, connection, keys),
        TransactionCommand::Unwatch => {
            connection.session.borrow_mut().watched.clear();
            Reply::OK.into()
        }
        TransactionCommand::Exec => exec(frontend, connection),
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

fn watch<'a>(frontend: &Frontend, connection: &Rc<Connection>, keys: &ArgList<'a>) -> Response<'a> {
    if connection.session.borrow().queue.is_some() {
        return Reply::error("ERR WATCH inside MULTI is not allowed").into();
    }
    // WATCH covers the state of the key after this connection's own earlier writes.
    if !connection.is_drained() {
        return Response::Hold(Why::NotDrained);
    }
    if let Err(error) = frontend.router.of_keys(keys.iter()) {
        return Reply::Error(error).into();
    }
    let session = connection.session.borrow();
    let database = session.database;
    let mut known: BTreeSet<&[u8]> =
        session.watched.iter().filter(|it| it.database == database).map(|it| &it.key[..]).collect();
    let new: Vec<&[u8]> = keys.iter().filter(|key| known.insert(key)).collect();
    let watching = connection.clone();
    let owned: Vec<Vec<u8>> = new.iter().map(|key| key.to_vec()).collect();
    let remember = move |answer| {
        let EngineAnswer::Versions(versions) = answer else { return answer.into_reply() };
        let watched = &mut watching.session.borrow_mut().watched;
        let keys = owned.into_iter().zip(versions);
        watched.extend(keys.map(|(key, version)| WatchedKey { database, key, version }));
        Reply::OK
    };
    let question = Question::Versions(new.into_iter().map(|key| (database, Cow::Borrowed(key))).collect());
    Response::Ask(question, Box::new(remember))
}

fn exec(frontend: &Rc<Frontend>, connection: &Rc<Connection>) -> Response<'static> {
    {
        let session = connection.session.borrow();
        let Some(queue) = &session.queue else { return Reply::error("ERR EXEC without MULTI").into() };
        let now_ms = frontend.monotonic_ms();
        let holds = |(row, _): &(&'static Row, OwnedArgs)| frontend.pause.holds(row, now_ms);
        if frontend.pause.is_on(now_ms) && queue.requests.iter().any(holds) {
            return Response::Hold(Why::Paused);
        }
        // A PUBLISH in the transaction must not overtake writes in flight in other partitions.
        let waits = frontend.router.partitions() > 1 || changes_identity(queue);
        if waits && !connection.is_drained() {
            return Response::Hold(Why::NotDrained);
        }
    }
    let (queue, watched) = {
        let mut session = connection.session.borrow_mut();
        (session.queue.take().expect("looked at above"), std::mem::take(&mut session.watched))
    };
    if queue.refused {
        return Reply::error("EXECABORT Transaction discarded because of previous errors.").into();
    }
    if watched.is_empty() || !changes_identity(&queue) {
        return submit(frontend, connection, queue, &watched, None);
    }
    match frontend.port.submit(connection.next_request(), Work::Question(versions(&watched))) {
        Some(outcome) if is_changed(&watched, &outcome.answer) => Reply::NilArray.into(),
        Some(_) => submit(frontend, connection, queue, &watched, None),
        None => {
            let then = Completion::Look(Box::new(ExecStart { queue, watched }));
            let request = connection.open_slot(Pending::with(then));
            connection.activity.hold.set(Hold::UntilDrained);
            Response::Pending(request)
        }
    }
}

/// The check of the watched keys has ended: submits the transaction, or does nothing.
pub fn start(
    frontend: &Rc<Frontend>,
    connection: &Rc<Connection>,
    request: RequestId,
    start: ExecStart,
    answer: EngineAnswer,
) {
    let ExecStart { queue, watched } = start;
    let response = match answer {
        EngineAnswer::Versions(_) if is_changed(&watched, &answer) => Reply::NilArray.into(),
        EngineAnswer::Versions(_) => submit(frontend, connection, queue, &watched, Some(request)),
        refused => refused.into_reply().into(),
    };
    let reply = match response {
        Response::Pending(_) => return,
        Response::Outcome(outcome) => outcome.answer.into_reply(),
        Response::Reply(reply) => reply,
        _ => panic!("a transaction has one reply"),
    };
    end_tracking(frontend, connection, false);
    frontend.answer(connection, request, &reply);
}

/// Whether the versions of watched keys have changed.
pub fn is_changed(watched: &[WatchedKey], answer: &EngineAnswer) -> bool {
    let EngineAnswer::Versions(versions) = answer else { return false };
    watched.iter().map(|it| it.version).ne(versions.iter().copied())
}

pub fn versions(watched: &[WatchedKey]) -> Question<'_> {
    Question::Versions(watched.iter().map(|it| (it.database, Cow::Borrowed(&it.key[..]))).collect())
}

/// Whether the permissions of later commands depend on a command of the transaction.
fn changes_identity(queue: &Queue) -> bool {
    let is_such =
        |row: &Row| matches!(row.full_name(), "auth" | "hello" | "acl|setuser" | "acl|deluser" | "acl|load");
    queue.requests.iter().any(|(row, _)| is_such(row))
}

/// Whether the command is executed when the transaction is submitted.
fn is_identity_command(command: &Command<'_>) -> bool {
    match command {
        Command::Connection(ConnectionCommand::Auth { .. }) => true,
        Command::Connection(ConnectionCommand::Hello(Hello { auth, .. })) => auth.is_some(),
        Command::Server(ServerCommand::Acl(command)) => {
            matches!(command, AclCommand::SetUser { .. } | AclCommand::DeleteUsers { .. } | AclCommand::Load)
        }
        _ => false,
    }
}

/// `slot`: the reply slot, if it is already open.
fn submit(
    frontend: &Rc<Frontend>,
    connection: &Rc<Connection>,
    queue: Queue,
    watched: &[WatchedKey],
    slot: Option<RequestId>,
) -> Response<'static> {
    let (mut database, protocol) = {
        let session = connection.session.borrow();
        (session.database, session.protocol)
    };
    let mut commands: Vec<(u32, Data<'_>)> = Vec::new();
    let mut steps = Vec::new();
    let has_tracking = queue.requests.iter().any(|(row, _)| row.full_name() == "client|tracking");
    let requests = Rc::new(queue.requests);
    for (row, request) in &*requests {
        let args = request.as_args();
        let parsed = (row.parse)(args);
        let is_decided_now = match &parsed {
            Err(_) | Ok(Command::Data(_) | Command::Blocking { .. }) => true,
            Ok(command) => is_identity_command(command),
        };
        let user = connection.session.borrow().user.clone();
        // The others are checked when their turn comes.
        if is_decided_now
            && !user.allows_everything()
            && let Err(error) = permissions::permit_at_exec(frontend, connection, &user, row, args, &parsed)
        {
            steps.push(ExecStep::Done(Reply::Error(error)));
            continue;
        }
        match parsed {
            Ok(Command::Data(mut data) | Command::Blocking { read: mut data, .. }) => {
                match keys::complete(frontend, &mut data, protocol) {
                    Ok(()) => {
                        let keys = match &data {
                            Data::Query(query) if has_tracking || frontend.push.tracks() => remembered(query),
                            _ => Vec::new(),
                        };
                        commands.push((database, data));
                        steps.push(ExecStep::Data { keys });
                    }
                    Err(error) => steps.push(ExecStep::Done(Reply::Error(error))),
                }
            }
            Ok(command) if is_identity_command(&command) => {
                steps.push(ExecStep::Done(identity_reply(frontend, connection, &command)));
            }
            Ok(command) => {
                // SELECT redirects the commands after it; the session follows when SELECT is executed.
                if let Some(selected) = selects(frontend, &command) {
                    database = selected;
                }
                steps.push(ExecStep::Other);
            }
            Err(error) => steps.push(ExecStep::Done(Reply::Error(error))),
        }
    }
    let watched: Vec<Watched<'_>> = watched
        .iter()
        .map(|key| Watched { database: key.database, key: &key.key, version: key.version })
        .collect();
    let keys = commands.iter().flat_map(|(_, data)| data.keys()).chain(watched.iter().map(|key| key.key));
    let partition = match frontend.router.of_keys(keys) {
        Ok(partition) => partition.unwrap_or(PartitionId(0)),
        Err(error) => return Reply::Error(error).into(),
    };
    if has_tracking {
        frontend.push.note_tracking_transaction(true);
        frontend.refresh_interest();
    }
    let (transaction, queries) = Transaction::of_commands(watched, commands);
    let work = Work::Transaction { partition, transaction, queries };
    let request = slot.unwrap_or_else(|| connection.next_request());
    if let Some(outcome) = frontend.port.submit(request, work) {
        return Response::Outcome(outcome);
    }
    connection.activity.last_partition.set(partition);
    let run = ExecRun {
        requests: requests.clone(),
        steps: steps.into_iter(),
        has_tracking,
        replies: Vec::with_capacity(requests.len()),
        answers: Vec::new().into_iter(),
        events: Vec::new(),
        steps_done: 0,
        share_ns: 0,
        slowest_ns: 0,
        total_ns: 0,
        asked: None,
    };
    let then = Completion::Exec(Box::new(run));
    if slot.is_some() {
        connection.with_pending(request, |pending| pending.then = Some(then));
    } else {
        connection.open_slot(Pending::with(then));
    }
    // Later requests may depend on changes that the transaction makes to the connection.
    connection.activity.hold.set(Hold::UntilDrained);
    Response::Pending(request)
}

fn identity_reply(frontend: &Rc<Frontend>, connection: &Rc<Connection>, command: &Command<'_>) -> Reply {
    let response = match command {
        Command::Connection(command) => connection_commands::reply_inside_exec(frontend, connection, command),
        Command::Server(command) => server::reply_inside_exec(frontend, connection, command),
        other => panic!("{other:?} changes nobody's identity"),
    };
    match response {
        Response::Reply(reply) => reply,
        _ => panic!("{command:?} is answered by the frontend alone"),
    }
}

fn selects(frontend: &Frontend, command: &Command<'_>) -> Option<u32> {
    match command {
        Command::Connection(ConnectionCommand::Select { database }) => {
            u32::try_from(*database).ok().filter(|database| *database < frontend.databases())
        }
        _ => None,
    }
}

/// The op of a transaction was applied, or a question of one of its steps is answered: executes the following
/// steps. The machine has no clock, so its commands count equal shares of the op's time.
pub fn resume(
    frontend: &Rc<Frontend>,
    connection: &Rc<Connection>,
    request: RequestId,
    mut run: Box<ExecRun>,
    outcome: Outcome,
) {
    match run.asked.take() {
        Some(make) => {
            let nanoseconds = frontend.stopwatch.lap();
            run.total_ns += nanoseconds;
            finish_step(frontend, connection, &mut run, make(outcome.answer), nanoseconds);
        }
        None => match outcome.answer.into_reply() {
            Reply::Array(replies) => {
                run.share_ns = outcome.nanoseconds / replies.len().max(1) as u64;
                run.total_ns = outcome.nanoseconds;
                run.answers = replies.into_iter();
                run.events = outcome.events.into_vec();
            }
            // A watched key has changed, or the log has failed.
            refused => {
                end_tracking(frontend, connection, run.has_tracking);
                return frontend.answer(connection, request, &refused);
            }
        },
    }
    while let Some(step) = run.steps.next() {
        let (reply, nanoseconds) = match step {
            ExecStep::Data { keys } => {
                frontend.remember(connection, keys.iter().map(|key| &key[..]));
                announce_step(frontend, connection, &mut run);
                (run.answers.next().expect("the machine answers each command"), run.share_ns)
            }
            ExecStep::Done(reply) => (reply, 0),
            ExecStep::Other => {
                let requests = run.requests.clone();
                let (row, args) = &requests[run.replies.len()];
                let reply = match execute_inside_exec(frontend, connection, row, args) {
                    Response::Ask(question, make) => {
                        match frontend.port.submit(request, Work::Question(question)) {
                            Some(outcome) => make(outcome.answer),
                            None => {
                                run.asked = Some(make);
                                connection.with_pending(request, |pending| {
                                    pending.then = Some(Completion::Exec(run));
                                });
                                return;
                            }
                        }
                    }
                    Response::Reply(reply) => reply,
                    _ => Reply::OK,
                };
                let nanoseconds = frontend.stopwatch.lap();
                run.total_ns += nanoseconds;
                (reply, nanoseconds)
            }
        };
        finish_step(frontend, connection, &mut run, reply, nanoseconds);
    }
    end_tracking(frontend, connection, run.has_tracking);
    let ExecRun { replies, total_ns, slowest_ns, .. } = *run;
    frontend.answer_exec(connection, request, &Reply::Array(replies), total_ns, slowest_ns);
}

/// Publishes each command's events in its order among the other commands.
fn announce_step(frontend: &Frontend, connection: &Connection, run: &mut ExecRun) {
    let step = run.steps_done;
    run.steps_done += 1;
    let count = run.events.iter().take_while(|event| event.step == step).count();
    let done: Vec<_> = run.events.drain(..count).collect();
    frontend.push.announce(&frontend.connections, &done, Some(connection));
}

fn finish_step(
    frontend: &Frontend,
    connection: &Connection,
    run: &mut ExecRun,
    reply: Reply,
    nanoseconds: u64,
) {
    let (row, request) = &run.requests[run.replies.len()];
    frontend.note_inside_exec(connection, row, request.as_args(), nanoseconds, &reply);
    run.slowest_ns = run.slowest_ns.max(nanoseconds);
    if frontend.push.monitors.is_any() {
        frontend.feed_monitors(connection, row, request.as_args());
    }
    run.replies.push(reply);
}

fn end_tracking(frontend: &Frontend, connection: &Connection, has_tracking: bool) {
    if frontend.push.tracks() {
        frontend.push.tracking.borrow_mut().end_caching(connection.id.number);
    }
    if has_tracking {
        frontend.push.note_tracking_transaction(false);
        frontend.refresh_interest();
    }
}

/// A command of a transaction that the machine does not execute.
fn execute_inside_exec<'r>(
    frontend: &Rc<Frontend>,
    connection: &Rc<Connection>,
    row: &'static Row,
    request: &'r OwnedArgs,
) -> Response<'r> {
    let args = request.as_args();
    let parsed = (row.parse)(args);
    let user = connection.session.borrow().user.clone();
    if !user.allows_everything()
        && let Err(error) = permissions::permit_at_exec(frontend, connection, &user, row, args, &parsed)
    {
        return Reply::Error(error).into();
    }
    match parsed {
        Ok(Command::PubSub(command)) => pubsub::reply_inside_exec(frontend, connection, &command).into(),
        Ok(Command::Connection(command)) => {
            connection_commands::reply_inside_exec(frontend, connection, &command)
        }
        Ok(Command::Server(command)) => server::reply_inside_exec(frontend, connection, &command),
        Ok(Command::Transaction(_)) => Reply::OK.into(),
        Ok(Command::Data(_) | Command::Blocking { .. }) => panic!("commands on keys are in the op"),
        Err(error) => Reply::Error(error).into(),
    }
}

#[cfg(test)]
mod tests {
    use crate::node::testing::Stage;

    #[test]
    fn replies_stand_in_the_order_of_the_requests_whoever_executes_them() {
        let ann = Stage::new().client();
        let told = ann.ask("MULTI\nPING\nSET a 1\nECHO x\nGET a\nINCR a b\nCLIENT ID\nINCR a\nEXEC");
        assert!(told.ends_with("-EXECABORT Transaction discarded because of previous errors."));
        let told = ann.ask("MULTI\nPING\nSET a 1\nECHO x\nGET a\nXLEN a\nINCR a\nEXEC");
        let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value";
        assert!(told.ends_with(&format!("*6 +PONG +OK $1 x $1 1 {wrong} :2")), "{told}");
    }

    #[test]
    fn a_watched_key_that_has_changed_stops_everything() {
        let stage = Stage::new();
        let (ann, bob) = (stage.client(), stage.client());
        ann.ask("SET other 1\nWATCH a other\nMULTI\nSET b 1");
        bob.ask("SET a 1");
        assert_eq!(ann.ask("EXEC\nGET b"), "*-1 $-1");
        // EXEC has ended the watch.
        assert_eq!(ann.ask("MULTI\nSET b 1\nEXEC"), "+OK +QUEUED *1 +OK");
        // Its own write before WATCH is no change.
        assert_eq!(ann.ask("SET a 2\nWATCH a\nMULTI\nPING\nEXEC"), "+OK +OK +OK +QUEUED *1 +PONG");
    }

    #[test]
    fn a_change_in_flight_before_the_transaction_counts() {
        let stage = Stage::new();
        let (ann, bob) = (stage.client(), stage.client());
        ann.ask("WATCH a\nMULTI\nSET b 1");
        bob.send("SET a 1");
        assert_eq!(ann.ask("EXEC"), "*-1");
    }

    #[test]
    fn select_redirects_what_follows_it_and_the_session() {
        let ann = Stage::new().client();
        ann.ask("MULTI\nSET a 0\nSELECT 1\nSET a 1\nSELECT 99\nSET b 1\nEXEC");
        assert_eq!(ann.ask("GET a\nGET b\nSELECT 0\nGET a\nGET b"), "$1 1 $1 1 +OK $1 0 $-1");
    }

    #[test]
    fn a_login_inside_decides_for_what_follows_it() {
        let stage = Stage::new();
        let ann = stage.client();
        ann.ask("ACL SETUSER ann on >pw ~* +@all -get\nSET a 1");
        let told = ann.ask("MULTI\nGET a\nAUTH ann pw\nGET a\nSET a 2\nEXEC");
        assert!(told.contains("*4 $1 1 +OK -NOPERM ACLs rules changed") && told.ends_with(" +OK"), "{told}");
    }

    #[test]
    fn a_login_in_a_transaction_that_is_not_executed_changes_nobody() {
        let stage = Stage::new();
        let (ann, bob) = (stage.client(), stage.client());
        bob.ask("ACL SETUSER ann on >pw ~* +@all");
        ann.ask("WATCH a\nMULTI\nAUTH ann pw");
        bob.ask("SET a 1");
        assert_eq!(ann.ask("EXEC\nACL WHOAMI"), "*-1 $7 default");
    }

    #[test]
    fn a_paused_write_holds_the_whole_transaction_back() {
        let stage = Stage::new();
        let (ann, bob) = (stage.client(), stage.client());
        bob.ask("CLIENT PAUSE 10000 WRITE");
        assert_eq!(ann.ask("MULTI\nGET a\nEXEC\nMULTI\nSET a 1\nEXEC"), "+OK +QUEUED *1 $-1 +OK +QUEUED");
        bob.ask("CLIENT UNPAUSE");
        stage.commit();
        assert_eq!(ann.told(), "*1 +OK");
    }

    #[test]
    fn reads_before_tracking_begins_inside_are_not_remembered() {
        let stage = Stage::new();
        let (ann, bob) = (stage.client(), stage.client());
        ann.ask("HELLO 3\nMULTI\nGET a\nCLIENT TRACKING ON\nGET b\nEXEC");
        bob.ask("MSET a 1 b 1");
        assert_eq!(ann.told(), ">2 $10 invalidate *1 $1 b");
    }

    #[test]
    fn commands_of_a_transaction_that_do_not_fit_together_are_refused() {
        let ann = Stage::new().client();
        assert_eq!(ann.ask("EXEC"), "-ERR EXEC without MULTI");
        assert_eq!(ann.ask("DISCARD"), "-ERR DISCARD without MULTI");
        assert!(ann.ask("MULTI\nMULTI").ends_with("-ERR MULTI calls can not be nested"));
        assert!(ann.ask("WATCH a").ends_with("-ERR WATCH inside MULTI is not allowed"));
        assert_eq!(ann.ask("DISCARD\nEXEC"), "+OK -ERR EXEC without MULTI");
    }
}
