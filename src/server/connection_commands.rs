//! Commands about connections: HELLO, AUTH, PING, CLIENT and their like.

use crate::acl::log::Context;
use crate::command::value::connection::{
    ClientCommand, ClientFilter, ConnectionCommand, Hello, LibraryAttribute, ReplyMode,
};
use crate::config::load::REDIS_VERSION;
use crate::model::reply::{Reply, ReplyError};
use crate::resp::writer::Protocol;
use crate::server::blocking::Ending;
use crate::server::clients::protocol_number;
use crate::server::connection::Connection;
use crate::server::dispatch::Flow;
use crate::server::invalidation::redirection;
use crate::server::session::Replies;
use crate::server::worker::Worker;
use std::rc::Rc;

impl Worker {
    pub fn execute_connection(&self, connection: &Rc<Connection>, command: &ConnectionCommand<'_>) -> Flow {
        // Replies on their way are written in the protocol at hand: it does not change under them. What is done to other
        // clients must not overtake a message or an entry for them that is on its way.
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
        if waits_its_turn && !connection.is_settled() {
            return Flow::HoldUntilSettled;
        }
        let context =
            if connection.session.borrow().queue.is_some() { Context::Multi } else { Context::TopLevel };
        if let Some(reply) = self.answer_connection(connection, command, context) {
            connection.reply(&reply);
        }
        if let ConnectionCommand::Quit = command {
            connection.close_after_replies();
        }
        Flow::Next
    }

    /// The reply inside EXEC, where each command has one.
    pub fn connection_reply(&self, connection: &Rc<Connection>, command: &ConnectionCommand<'_>) -> Reply {
        self.answer_connection(connection, command, Context::Multi).unwrap_or(Reply::OK)
    }

    /// `None`: CLIENT REPLY OFF and SKIP are not answered.
    fn answer_connection(
        &self,
        connection: &Rc<Connection>,
        command: &ConnectionCommand<'_>,
        context: Context,
    ) -> Option<Reply> {
        Some(match command {
            ConnectionCommand::Ping { message } => ping(connection, *message),
            ConnectionCommand::Echo { message } => Reply::bulk(message),
            ConnectionCommand::Select { database } => self.select(connection, *database),
            ConnectionCommand::Quit => Reply::OK,
            ConnectionCommand::Reset => self.reset(connection),
            ConnectionCommand::Auth { user, password } => {
                self.log_in(connection, *user, password, "AUTH", context).map(|()| Reply::OK).into()
            }
            ConnectionCommand::Hello(hello) => self.hello(connection, hello, context).into(),
            ConnectionCommand::Client(command) => return self.client(connection, command),
        })
    }

    /// Databases that SELECT knows.
    pub fn databases(&self) -> u32 {
        self.config.borrow().databases
    }

    fn select(&self, connection: &Connection, database: i64) -> Reply {
        match u32::try_from(database) {
            Ok(database) if database < self.databases() => {
                connection.session.borrow_mut().database = database;
                Reply::OK
            }
            _ => Reply::Error(ReplyError::DATABASE_OUT_OF_RANGE),
        }
    }

    fn reset(&self, connection: &Rc<Connection>) -> Reply {
        self.pubsub.borrow_mut().drop_subscriber(connection.subscriber());
        self.stop_tracking(connection);
        self.monitors.remove(connection);
        let default_user = self.acl.users.borrow().default_user().clone();
        connection.session.borrow_mut().reset(default_user);
        Reply::Status("RESET".into())
    }

    fn hello(
        &self,
        connection: &Connection,
        hello: &Hello<'_>,
        context: Context,
    ) -> Result<Reply, ReplyError> {
        if let Some((user, password)) = hello.auth {
            self.log_in(connection, Some(user), password, "HELLO", context)?;
        }
        if !self.is_let_in(&connection.session.borrow()) {
            return Err(ReplyError::new(
                "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
                 <user> <pass> option can be used to authenticate the client and select the RESP protocol version at \
                 the same time",
            ));
        }
        let mut session = connection.session.borrow_mut();
        if let Some(name) = hello.set_name {
            check_name(name)?;
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
            (Reply::Text("id"), Reply::Integer(connection.id as i64)),
            (Reply::Text("mode"), Reply::Text("standalone")),
            (Reply::Text("role"), Reply::Text("master")),
            (Reply::Text("modules"), Reply::Array(Vec::new())),
        ]))
    }

    fn client(&self, connection: &Rc<Connection>, command: &ClientCommand<'_>) -> Option<Reply> {
        Some(match command {
            ClientCommand::Id => Reply::Integer(connection.id as i64),
            ClientCommand::Info => Reply::Verbatim(self.describe_client(connection) + "\n"),
            ClientCommand::List(filter) => {
                let lines =
                    self.clients(filter).into_iter().map(|client| self.describe_client(&client) + "\n");
                Reply::Verbatim(lines.collect())
            }
            ClientCommand::GetName => match &connection.session.borrow().name {
                name if name.is_empty() => Reply::Nil,
                name => Reply::bulk(name),
            },
            ClientCommand::SetName { name } => match check_name(name) {
                Ok(()) => {
                    connection.session.borrow_mut().name = name.to_vec();
                    Reply::OK
                }
                Err(error) => error.into(),
            },
            ClientCommand::SetInfo { attribute, value } => set_info(connection, *attribute, value).into(),
            ClientCommand::KillAddress { address } => {
                let connections = self.connections();
                let found = connections
                    .values()
                    .find(|client| client.peer.to_string().as_bytes() == *address)
                    .cloned();
                drop(connections);
                match found {
                    Some(client) => {
                        self.kill(connection, &client);
                        Reply::OK
                    }
                    None => Reply::error("ERR No such client"),
                }
            }
            ClientCommand::Kill { filter: ClientFilter { user: Some(user), .. }, .. }
                if self.acl.users.borrow().get(user).is_none() =>
            {
                Reply::Error(ReplyError::owned([b"ERR No such user '", *user, b"'"].concat()))
            }
            ClientCommand::Kill { filter, skip_me } => {
                let mut meant = self.clients(filter);
                meant.retain(|client| !(*skip_me && client.id == connection.id));
                for client in &meant {
                    self.kill(connection, client);
                }
                Reply::count(meant.len())
            }
            ClientCommand::Reply(mode) => return reply_mode(connection, *mode),
            ClientCommand::Unblock { id, with_error } => {
                let client = self.connections().get(id).cloned();
                let ending = if *with_error { Ending::Unblocked } else { Ending::TimedOut };
                Reply::flag(client.is_some_and(|client| self.end_wait(&client, ending)))
            }
            ClientCommand::NoEvict { on } => {
                connection.session.borrow_mut().no_evict = *on;
                Reply::OK
            }
            ClientCommand::NoTouch { on } => {
                connection.session.borrow_mut().no_touch = *on;
                Reply::OK
            }
            ClientCommand::Pause { timeout_ms, writes_only } => {
                let now_ms = self.clock.monotonic_ms();
                self.pause.begin(now_ms.saturating_add(*timeout_ms), now_ms, *writes_only);
                Reply::OK
            }
            ClientCommand::Unpause => {
                self.pause.end();
                Reply::OK
            }
            ClientCommand::GetRedirection => {
                Reply::Integer(redirection(self.tracking.borrow().tracker(connection.id)))
            }
            ClientCommand::TrackingInfo => self.tracking_info(connection),
            ClientCommand::Tracking { on: true, options } => self.track(connection, options).into(),
            ClientCommand::Tracking { on: false, options } => match self.check_redirection(options) {
                Ok(()) => {
                    self.stop_tracking(connection);
                    Reply::OK
                }
                Err(error) => error.into(),
            },
            ClientCommand::Caching { yes } => {
                match self.tracking.borrow_mut().set_caching(connection.id, *yes) {
                    Ok(()) => Reply::OK,
                    Err(error) => error.into(),
                }
            }
            ClientCommand::Help(lines) => lines.clone(),
        })
    }

    /// Closes a client; oneself only after the reply. The commands that follow no longer meet it.
    pub fn kill(&self, by: &Connection, client: &Rc<Connection>) {
        if by.id == client.id {
            client.close_after_replies();
        } else {
            client.close_now();
            self.remove_connection(client);
        }
    }
}

/// RESP2 with subscriptions answers in the form of a message, so that it can be told from one.
fn ping(connection: &Connection, message: Option<&[u8]>) -> Reply {
    if connection.session.borrow().is_subscribed_only() {
        return Reply::Array(vec![Reply::Text("pong"), Reply::bulk(message.unwrap_or_default())]);
    }
    match message {
        Some(message) => Reply::bulk(message),
        None => Reply::Status("PONG".into()),
    }
}

fn reply_mode(connection: &Connection, mode: ReplyMode) -> Option<Reply> {
    let mut session = connection.session.borrow_mut();
    match mode {
        ReplyMode::On => {
            session.replies = Replies::On;
            Some(Reply::OK)
        }
        ReplyMode::Off => {
            session.replies = Replies::Off;
            None
        }
        ReplyMode::Skip => {
            if session.replies != Replies::Off {
                session.replies = Replies::SkipNext;
            }
            None
        }
    }
}

fn set_info(connection: &Connection, attribute: LibraryAttribute, value: &[u8]) -> Result<Reply, ReplyError> {
    let mut session = connection.session.borrow_mut();
    let printable = value.iter().all(|byte| (b'!'..=b'~').contains(byte));
    let target = match attribute {
        LibraryAttribute::Name => &mut session.library_name,
        LibraryAttribute::Version => &mut session.library_version,
    };
    if !printable {
        let name = match attribute {
            LibraryAttribute::Name => "lib-name",
            LibraryAttribute::Version => "lib-ver",
        };
        return Err(ReplyError::owned(format!(
            "ERR {name} cannot contain spaces, newlines or special characters."
        )));
    }
    *target = value.to_vec();
    Ok(Reply::OK)
}

/// `!` to `~` only, so that CLIENT LIST stays one line of words.
fn check_name(name: &[u8]) -> Result<(), ReplyError> {
    if name.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        Ok(())
    } else {
        Err(ReplyError::new("ERR Client names cannot contain spaces, newlines or special characters."))
    }
}
