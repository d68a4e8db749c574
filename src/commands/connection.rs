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

#[cfg(test)]
mod tests {
    use crate::node::testing::Stage;

    #[test]
    fn replies_in_flight_keep_the_protocol_they_were_asked_in() {
        let stage = Stage::new();
        let ann = stage.client();
        ann.ask("DEL a");
        ann.send("SET b 1\nGET a\nHELLO 3\nGET a");
        stage.commit();
        let told = ann.told();
        assert!(told.starts_with("+OK $-1 %7 ") && told.ends_with(" _"), "{told}");
    }

    #[test]
    fn a_kill_does_not_overtake_the_message_before_it() {
        let stage = Stage::new();
        let (ann, bob) = (stage.client(), stage.client());
        bob.ask("SUBSCRIBE news");
        ann.send("SET a 1\nPUBLISH news a\nCLIENT KILL TYPE pubsub");
        assert!(!bob.is_closed());
        stage.commit();
        assert_eq!(bob.told(), "*3 $7 message $4 news $1 a");
        assert!(bob.is_closed());
    }

    #[test]
    fn reset_ends_all_that_a_session_has_begun() {
        let stage = Stage::new();
        let ann = stage.client();
        ann.ask("HELLO 3\nSELECT 3\nCLIENT TRACKING ON\nSUBSCRIBE news\nMONITOR\nMULTI");
        assert!(ann.ask("RESET").ends_with("+RESET"));
        assert!(ann.connection.session.borrow().is_plain());
        assert!(!stage.frontend.push.tracks() && !stage.frontend.push.monitors.is_any());
        assert_eq!(stage.client().ask("PUBLISH news a"), ":0");
        assert_eq!(ann.ask("GET a"), "$-1", "RESP2 again");
    }

    #[test]
    fn hello_with_a_wrong_password_changes_nothing() {
        let ann = Stage::new().client();
        assert!(ann.ask("HELLO 3 AUTH nobody pw SETNAME ann").starts_with("-WRONGPASS"));
        assert_eq!(ann.ask("CLIENT GETNAME"), "$-1", "RESP2, no name");
    }

    #[test]
    fn only_databases_that_exist_are_selected() {
        let ann = Stage::with(|config| config.databases = 2).client();
        let refused = "-ERR DB index is out of range";
        assert_eq!(ann.ask("SELECT 1\nSELECT 2\nSELECT -1"), format!("+OK {refused} {refused}"));
        assert_eq!(ann.connection.session.borrow().database, 1);
    }
}
