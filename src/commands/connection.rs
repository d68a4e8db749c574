//! Commands about connections: HELLO, AUTH, PING, CLIENT and similar commands.

use crate::acl::log::Context;
use crate::command::value::connection::{ClientCommand, ConnectionCommand, Hello};
use crate::commands::client;
use crate::config::load::REDIS_VERSION;
use crate::frontend::clients::protocol_number;
use crate::frontend::frontend::Frontend;
use crate::frontend::permissions;
use crate::frontend::response::{Response, Why};
use crate::model::reply::{Reply, ReplyError};
use crate::net::connection::Connection;
use crate::resp::writer::Protocol;
use std::rc::Rc;

/// Executes a command about this connection, or about other clients.
pub fn execute<'a>(
    frontend: &Rc<Frontend>,
    connection: &Rc<Connection>,
    command: &ConnectionCommand<'a>,
) -> Response<'a> {
    // Pending replies are written in the current protocol, which must not change under them. Actions on other
    // clients must not overtake a message or an entry for them that is in flight.
    let waits_its_turn = matches!(
        command,
        ConnectionCommand::Hello(_)
            | ConnectionCommand::Reset
            | ConnectionCommand::Client(
                ClientCommand::Kill { .. }
                    | ClientCommand::KillAddress { .. }
                    | ClientCommand::Unblock { .. }
            )
    );
    if waits_its_turn && !connection.is_drained() {
        return Response::Hold(Why::NotDrained);
    }
    let is_queueing = connection.session.borrow().queue.is_some();
    let response =
        answer(frontend, connection, command, if is_queueing { Context::Multi } else { Context::TopLevel });
    if let ConnectionCommand::Quit = command {
        connection.close_after_replies();
    }
    response
}

/// The same inside EXEC, where each command has a reply.
pub fn reply_inside_exec<'a>(
    frontend: &Rc<Frontend>,
    connection: &Rc<Connection>,
    command: &ConnectionCommand<'a>,
) -> Response<'a> {
    match answer(frontend, connection, command, Context::Multi) {
        Response::Silence => Reply::OK.into(),
        response => response,
    }
}

fn answer<'a>(
    frontend: &Rc<Frontend>,
    connection: &Rc<Connection>,
    command: &ConnectionCommand<'a>,
    context: Context,
) -> Response<'a> {
    match command {
        ConnectionCommand::Ping { message } => ping(connection, *message),
        ConnectionCommand::Echo { message } => Reply::bulk(message),
        ConnectionCommand::Select { database } => select(frontend, connection, *database),
        ConnectionCommand::Quit => Reply::OK,
        ConnectionCommand::Reset => reset(frontend, connection),
        ConnectionCommand::Auth { user, password } => {
            permissions::log_in(frontend, connection, *user, password, "AUTH", context)
                .map(|()| Reply::OK)
                .into()
        }
        ConnectionCommand::Hello(hello) => self::hello(frontend, connection, hello, context).into(),
        ConnectionCommand::Client(command) => return client::execute(frontend, connection, command),
    }
    .into()
}

fn select(frontend: &Frontend, connection: &Connection, database: i64) -> Reply {
    match u32::try_from(database) {
        Ok(database) if database < frontend.databases() => {
            connection.session.borrow_mut().database = database;
            Reply::OK
        }
        _ => Reply::Error(ReplyError::DATABASE_OUT_OF_RANGE),
    }
}

fn reset(frontend: &Frontend, connection: &Rc<Connection>) -> Reply {
    let tracked = frontend.push.tracks();
    frontend.push.forget(connection);
    if tracked {
        frontend.refresh_interest();
    }
    let default_user = frontend.context.acl.users.borrow().default_user().clone();
    connection.session.borrow_mut().reset(default_user);
    Reply::Status("RESET".into())
}

fn hello(
    frontend: &Frontend,
    connection: &Connection,
    hello: &Hello<'_>,
    context: Context,
) -> Result<Reply, ReplyError> {
    if let Some((user, password)) = hello.auth {
        permissions::log_in(frontend, connection, Some(user), password, "HELLO", context)?;
    }
    if !permissions::is_let_in(frontend, &connection.session.borrow()) {
        return Err(ReplyError::new(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
             <user> <pass> option can be used to authenticate the client and select the RESP protocol version at \
             the same time",
        ));
    }
    let mut session = connection.session.borrow_mut();
    if let Some(name) = hello.set_name {
        client::check_name(name)?;
        session.name = name.to_vec();
    }
    match hello.version {
        Some(3) => session.protocol = Protocol::Resp3,
        Some(_) => session.protocol = Protocol::Resp2,
        None => {}
    }
    Ok(Reply::Map(vec![
        (Reply::Text("server"), Reply::Text("redis")),
        (Reply::Text("version"), Reply::Text(REDIS_VERSION)),
        (Reply::Text("proto"), Reply::Integer(i64::from(protocol_number(session.protocol)))),
        (Reply::Text("id"), Reply::Integer(connection.id.number as i64)),
        (Reply::Text("mode"), Reply::Text("standalone")),
        (Reply::Text("role"), Reply::Text("master")),
        (Reply::Text("modules"), Reply::Array(Vec::new())),
    ]))
}

/// RESP2 with subscriptions answers in the form of a message, to keep the reply distinct from messages.
fn ping(connection: &Connection, message: Option<&[u8]>) -> Reply {
    if connection.session.borrow().is_subscribed_only() {
        return Reply::Array(vec![Reply::Text("pong"), Reply::bulk(message.unwrap_or_default())]);
    }
    match message {
        Some(message) => Reply::bulk(message),
        None => Reply::Status("PONG".into()),
    }
}
