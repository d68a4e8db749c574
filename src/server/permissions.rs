//! Permissions of connections: who they are, what they may do, and what a change of users does to them.
//!
//! A session knows its user and one bit more, `unrestricted`: logged in, and nothing is forbidden to the user. Only
//! without it are requests looked at. They are looked at when they arrive (in a transaction too), again at EXEC, and
//! again when a blocked read would be served: by then the rules may have changed.

use crate::acl::acl::login_limits;
use crate::acl::check::{Demand, Denied};
use crate::acl::log::{Context, Event, Reason};
use crate::acl::user::User;
use crate::acl::users::{DEFAULT_USER, Users};
use crate::command::spec::{Flags, Row};
use crate::command::value::acl::AclCommand;
use crate::command::value::connection::ConnectionCommand;
use crate::command::value::server::ServerCommand;
use crate::command::value::{Command, Data};
use crate::model::args::Args;
use crate::model::reply::ReplyError;
use crate::pubsub::registry::Kind;
use crate::server::connection::Connection;
use crate::server::session::Session;
use crate::server::worker::Worker;
use std::net::IpAddr;
use std::rc::Rc;

const NOT_LOGGED_IN: ReplyError = ReplyError::new("NOAUTH Authentication required.");
const WRONG_PASSWORD: ReplyError =
    ReplyError::new("WRONGPASS invalid username-password pair or user is disabled.");
const NO_PASSWORD_SET: ReplyError = ReplyError::new(
    "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration \
     is correct?",
);

impl Worker {
    /// Whether a session need not log in (any more).
    pub fn is_let_in(&self, session: &Session) -> bool {
        session.authenticated || self.acl.users.borrow().default_user().is_open()
    }

    /// What everybody but an unrestricted user is asked before a command: a login.
    pub fn check_login(&self, connection: &Connection, row: &Row) -> Result<(), ReplyError> {
        if row.flags.contains(Flags::NO_AUTH) || self.is_let_in(&connection.session.borrow()) {
            Ok(())
        } else {
            Err(NOT_LOGGED_IN)
        }
    }

    /// Whether the session's user may send the request.
    pub fn permit(
        &self,
        connection: &Connection,
        row: &'static Row,
        args: Args<'_>,
        parsed: &Result<Command<'_>, ReplyError>,
    ) -> Result<(), ReplyError> {
        let (user, context) = {
            let mut session = connection.session.borrow_mut();
            // What ACL LOG tells of the client.
            session.last_command = Some(row);
            let context = if session.queue.is_some() { Context::Multi } else { Context::TopLevel };
            (session.user.clone(), context)
        };
        demand(row, args, parsed).check(&user).map_err(|denied| {
            self.note_denied(connection, &user, row, denied, context);
            denied.error(&user, row)
        })
    }

    /// Whether a blocked read may be served: its user's permissions may not be those that it began with.
    pub fn permit_waiting(
        &self,
        connection: &Connection,
        row: &'static Row,
        first_argument: Option<&[u8]>,
        read: Data<'_>,
    ) -> Result<(), ReplyError> {
        let user = {
            let session = connection.session.borrow();
            if session.unrestricted {
                return Ok(());
            }
            session.user.clone()
        };
        let command = Command::Data(read);
        Demand::of_waiting(row, first_argument, &command).check(&user).map_err(|denied| {
            self.note_denied(connection, &user, row, denied, Context::TopLevel);
            denied.error(&user, row)
        })
    }

    /// Whether a queued request may be executed now, by the user that it would be executed as.
    pub fn permit_at_exec(
        &self,
        connection: &Connection,
        user: &User,
        row: &'static Row,
        args: Args<'_>,
        parsed: &Result<Command<'_>, ReplyError>,
    ) -> Result<(), ReplyError> {
        demand(row, args, parsed).check(user).map_err(|denied| {
            self.note_denied(connection, user, row, denied, Context::Multi);
            denied.error_at_exec()
        })
    }

    fn note_denied(
        &self,
        connection: &Connection,
        user: &User,
        row: &Row,
        denied: Denied<'_>,
        context: Context,
    ) {
        let (reason, counter, object) = match denied {
            Denied::Command => (Reason::Command, &self.metrics.denied_commands, row.full_name().as_bytes()),
            Denied::Key(key) => (Reason::Key, &self.metrics.denied_keys, key),
            Denied::Channel(channel) => (Reason::Channel, &self.metrics.denied_channels, channel),
        };
        counter.add(1);
        let event = Event { reason, context, object: object.to_vec(), user: user.name().to_vec() };
        self.log_denial(connection, event);
    }

    fn log_denial(&self, connection: &Connection, event: Event) {
        let client = self.describe_client(connection);
        let entries_max = usize::try_from(self.config.borrow().acllog_max_len).unwrap_or(usize::MAX);
        self.acl.log.borrow_mut().note(event, client, self.now().0, entries_max);
    }

    // ---- logins

    /// AUTH, and the AUTH of HELLO (`command` is which). `user` is missing in the old form, which means the default one.
    pub fn log_in(
        &self,
        connection: &Connection,
        user: Option<&[u8]>,
        password: &[u8],
        command: &'static str,
        context: Context,
    ) -> Result<(), ReplyError> {
        let users = self.acl.users.borrow();
        if user.is_none() && users.default_user().needs_no_password() {
            return Err(NO_PASSWORD_SET);
        }
        let name = user.unwrap_or(DEFAULT_USER);
        let (address, now_ms) = (connection.peer.ip(), self.clock.monotonic_ms());
        let limits = login_limits(&self.config.borrow());
        if let Err(wait_ms) = self.acl.throttle.borrow().check(address, now_ms, limits) {
            self.metrics.denied_logins.add(1);
            self.metrics.throttled_logins.add(1);
            return Err(ReplyError::owned(format!(
                "ERR Too many failed logins from this address, try again in {wait_ms} ms"
            )));
        }
        if let Some(user) = users.authenticate(name, password) {
            let mut session = connection.session.borrow_mut();
            session.user = user.clone();
            session.authenticated = true;
            session.unrestricted = user.allows_everything();
            return Ok(());
        }
        self.acl.throttle.borrow_mut().note_failure(address, now_ms, limits);
        self.metrics.denied_logins.add(1);
        tracing::warn!(peer = %connection.peer, user = %name.escape_ascii(), "failed login");
        let event = Event { reason: Reason::Auth, context, object: command.into(), user: name.to_vec() };
        self.log_denial(connection, event);
        Err(WRONG_PASSWORD)
    }

    // ---- changes of users

    /// Users were changed by `by`: every session gets its user as it is now. Clients of users that there are no more are
    /// closed, and subscribers whose user has lost a channel of theirs (Redis `ACLFreeUserAndKillClients`,
    /// `ACLKillPubsubClientsIfNeeded`).
    pub fn users_changed(&self, by: &Connection) {
        let mut closed = Vec::new();
        {
            let users = self.acl.users.borrow();
            let is_open = users.default_user().is_open();
            for connection in self.connections().values() {
                let mut session = connection.session.borrow_mut();
                match users.get(session.user.name()) {
                    Some(user) => {
                        if !Rc::ptr_eq(user, &session.user) {
                            if loses_channels(&session.user, user) && !self.may_listen(connection, user) {
                                closed.push(connection.clone());
                            }
                            session.user = user.clone();
                        }
                        session.unrestricted = (session.authenticated || is_open) && user.allows_everything();
                    }
                    None => {
                        // It is on its way out; nothing that it still does is done with rights.
                        session.user = users.default_user().clone();
                        session.authenticated = false;
                        session.unrestricted = false;
                        closed.push(connection.clone());
                    }
                }
            }
        }
        for connection in closed {
            self.kill(by, &connection);
        }
    }

    /// Whether all that the connection is subscribed to is allowed to the user.
    fn may_listen(&self, connection: &Connection, user: &User) -> bool {
        let registry = self.pubsub.borrow();
        let allowed = |name: &[u8], is_pattern| {
            user.selectors().iter().any(|selector| selector.allows_channel(name, is_pattern))
        };
        [Kind::Channel, Kind::Pattern, Kind::Shard].into_iter().all(|kind| {
            let names = registry.names(connection.subscriber(), kind);
            names.iter().all(|name| allowed(name, kind == Kind::Pattern))
        })
    }

    /// What the requests of a transaction are executed as, one after the other: a login or a change of users among them
    /// counts for those behind.
    pub fn foresee(&self, connection: &Connection) -> Foresight<'_> {
        let user = connection.session.borrow().user.clone();
        Foresight { worker: self, users: None, address: connection.peer.ip(), has_failed: false, user }
    }
}

fn demand<'c>(row: &'static Row, args: Args<'c>, parsed: &'c Result<Command<'c>, ReplyError>) -> Demand<'c> {
    match parsed {
        Ok(command) => Demand::of(row, args, command),
        Err(_) => Demand::of_unparsed(row, args),
    }
}

/// Whether something of the channels allowed before is not any more.
fn loses_channels(before: &User, after: &User) -> bool {
    if after.selectors().iter().any(|selector| selector.allows_all_channels()) {
        return false;
    }
    let stays = |pattern: &Vec<u8>| after.selectors().iter().any(|s| s.channel_patterns().contains(pattern));
    before
        .selectors()
        .iter()
        .any(|selector| selector.allows_all_channels() || !selector.channel_patterns().iter().all(stays))
}

/// See [`Worker::foresee`].
pub struct Foresight<'w> {
    worker: &'w Worker,
    /// The users as they will be, once something changes them.
    users: Option<Users>,
    /// Of the client, for the throttle; none over a Unix socket.
    address: Option<IpAddr>,
    /// A login has. The throttle hears of it only when it is executed: until then none is tried again, for what the requests behind
    /// may do would tell whether it is the right one.
    has_failed: bool,
    pub user: Rc<User>,
}

impl Foresight<'_> {
    /// A request of the transaction will be executed.
    pub fn note(&mut self, row: &'static Row, args: Args<'_>, command: &Command<'_>) {
        let login = match command {
            Command::Connection(ConnectionCommand::Auth { user, password }) => Some((*user, *password)),
            Command::Connection(ConnectionCommand::Hello(hello)) => {
                hello.auth.map(|(user, password)| (Some(user), password))
            }
            _ => None,
        };
        if let Some((name, password)) = login {
            let users = self.worker.acl.users.borrow();
            let users = self.users.as_ref().unwrap_or(&users);
            // As in `log_in`.
            if name.is_none() && users.default_user().needs_no_password() {
                return;
            }
            let worker = self.worker;
            let (now_ms, limits) = (worker.clock.monotonic_ms(), login_limits(&worker.config.borrow()));
            if self.has_failed || worker.acl.throttle.borrow().check(self.address, now_ms, limits).is_err() {
                return;
            }
            match users.authenticate(name.unwrap_or(DEFAULT_USER), password) {
                Some(user) => self.user = user.clone(),
                None => self.has_failed = true,
            }
            return;
        }
        let Command::Server(ServerCommand::Acl(command_of_acl)) = command else { return };
        if Demand::of(row, args, command).check(&self.user).is_err() {
            return;
        }
        let mut users = self.users.take().unwrap_or_else(|| self.worker.acl.users.borrow().clone());
        match command_of_acl {
            AclCommand::SetUser { name, rules } => {
                // What is refused changes nothing.
                let _ = users.set_user(name, rules.iter());
            }
            AclCommand::DeleteUsers { names } if names.iter().all(|name| name != DEFAULT_USER) => {
                for name in names.iter() {
                    users.delete(name);
                }
            }
            AclCommand::Load => {
                if let Some(Ok(loaded)) = self.worker.acl.reload(&self.worker.config.borrow()) {
                    users = loaded;
                }
            }
            _ => {}
        }
        self.user = users.get(self.user.name()).unwrap_or(users.default_user()).clone();
        self.users = Some(users);
    }
}
