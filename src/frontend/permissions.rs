//! Permissions of connections: login, checks of requests, and the effects of changed users.
//!
//! A session knows its user and one more bit, `unrestricted`: logged in, with a user that may do everything.
//! Only sessions without it are checked: at the arrival of a request (in a transaction too), again at EXEC,
//! and again when a blocked read would be served, because the rules may have changed by then.

use crate::acl::acl::login_limits;
use crate::acl::check::{Demand, Denied};
use crate::acl::log::{Context, Event, Reason};
use crate::acl::user::User;
use crate::acl::users::{DEFAULT_USER, Users};
use crate::command::spec::{Flags, Row};
use crate::command::value::Command;
use crate::engine::submission::Notice;
use crate::frontend::frontend::Frontend;
use crate::model::args::Args;
use crate::model::reply::ReplyError;
use crate::net::connection::Connection;
use crate::pubsub::registry::Kind;
use crate::session::pending::BlockedRequest;
use crate::session::session::Session;
use crate::state::op::codec;
use std::sync::Arc;

const NOT_LOGGED_IN: ReplyError = ReplyError::new("NOAUTH Authentication required.");
const WRONG_PASSWORD: ReplyError =
    ReplyError::new("WRONGPASS invalid username-password pair or user is disabled.");
const NO_PASSWORD_SET: ReplyError = ReplyError::new(
    "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration \
     is correct?",
);

/// Whether a session needs no login (any more).
pub fn is_let_in(frontend: &Frontend, session: &Session) -> bool {
    session.authenticated || frontend.context.acl.users.borrow().default_user().is_open()
}

/// Requires a login before a command, except of unrestricted sessions.
pub fn check_login(frontend: &Frontend, connection: &Connection, row: &Row) -> Result<(), ReplyError> {
    if row.flags.contains(Flags::NO_AUTH) || is_let_in(frontend, &connection.session.borrow()) {
        Ok(())
    } else {
        Err(NOT_LOGGED_IN)
    }
}

/// Whether the session's user may send the request.
pub fn permit(
    frontend: &Frontend,
    connection: &Connection,
    row: &'static Row,
    args: Args<'_>,
    parsed: &Result<Command<'_>, ReplyError>,
) -> Result<(), ReplyError> {
    let (user, context) = {
        let session = connection.session.borrow();
        let context = if session.queue.is_some() { Context::Multi } else { Context::TopLevel };
        (session.user.clone(), context)
    };
    demand(row, args, parsed).check(&user).map_err(|denied| {
        note_denied(frontend, connection, &user, row, denied, context);
        denied.error(&user, row)
    })
}

/// The refusal of a blocked read whose user has lost the permission since it began.
pub fn refuse_blocked(frontend: &Frontend, connection: &Connection) -> Option<ReplyError> {
    let blocked = connection.blocked.borrow();
    let blocked = blocked.as_ref()?;
    let user = connection.session.borrow().user.clone();
    check_blocked(blocked, &user, |denied| {
        note_denied(frontend, connection, &user, blocked.row, denied, Context::TopLevel);
        frontend.metrics.note_rejection(blocked.row.index());
        denied.error(&user, blocked.row)
    })
    .err()
}

/// Tells the engine whether the user of a blocked read still has the permission.
fn review_blocked(frontend: &Frontend, connection: &Connection) {
    let blocked = connection.blocked.borrow();
    let Some(blocked) = blocked.as_ref() else { return };
    let session = connection.session.borrow();
    let forbidden = !session.unrestricted && check_blocked(blocked, &session.user, |_| ()).is_err();
    frontend.port.notice(Notice::Forbid { request: blocked.request, forbidden });
}

/// Whether the user may wait with this read. `refusal` makes the error of what is denied.
fn check_blocked<E>(
    blocked: &BlockedRequest,
    user: &User,
    refusal: impl FnOnce(Denied<'_>) -> E,
) -> Result<(), E> {
    let command = Command::Data(codec::decode_data(&blocked.read).expect("it was encoded here"));
    let demand = Demand::of_waiting(blocked.row, blocked.first_argument.as_deref(), &command);
    demand.check(user).map_err(refusal)
}

/// Whether a queued request may be executed now, by the user that would execute it.
pub fn permit_at_exec(
    frontend: &Frontend,
    connection: &Connection,
    user: &User,
    row: &'static Row,
    args: Args<'_>,
    parsed: &Result<Command<'_>, ReplyError>,
) -> Result<(), ReplyError> {
    demand(row, args, parsed).check(user).map_err(|denied| {
        note_denied(frontend, connection, user, row, denied, Context::Multi);
        denied.error_at_exec()
    })
}

fn note_denied(
    frontend: &Frontend,
    connection: &Connection,
    user: &User,
    row: &Row,
    denied: Denied<'_>,
    context: Context,
) {
    let (reason, counter, object) = match denied {
        Denied::Command => (Reason::Command, &frontend.metrics.denied_commands, row.full_name().as_bytes()),
        Denied::Key(key) => (Reason::Key, &frontend.metrics.denied_keys, key),
        Denied::Channel(channel) => (Reason::Channel, &frontend.metrics.denied_channels, channel),
    };
    counter.add(1);
    let event = Event { reason, context, object: object.to_vec(), user: user.name().to_vec() };
    log_denial(frontend, connection, event);
}

fn log_denial(frontend: &Frontend, connection: &Connection, event: Event) {
    let client = frontend.describe_client(connection, false);
    let entries_max = usize::try_from(frontend.context.config.borrow().acllog_max_len).unwrap_or(usize::MAX);
    frontend.context.acl.log.borrow_mut().note(event, client, frontend.wall_time().0, entries_max);
}

// ---- Logins.

/// AUTH, and the AUTH of HELLO (`command` tells which). The old form has no `user` and means the default
/// user.
pub fn log_in(
    frontend: &Frontend,
    connection: &Connection,
    user: Option<&[u8]>,
    password: &[u8],
    command: &'static str,
    context: Context,
) -> Result<(), ReplyError> {
    let users = frontend.context.acl.users.borrow();
    if user.is_none() && users.default_user().needs_no_password() {
        return Err(NO_PASSWORD_SET);
    }
    let name = user.unwrap_or(DEFAULT_USER);
    let (address, now_ms) = (connection.peer.ip(), frontend.monotonic_ms());
    let limits = login_limits(&frontend.context.config.borrow());
    if let Err(wait_ms) = frontend.context.acl.throttle.borrow().check(address, now_ms, limits) {
        frontend.metrics.denied_logins.add(1);
        frontend.metrics.throttled_logins.add(1);
        return Err(ReplyError::owned(format!(
            "ERR Too many failed logins from this address, try again in {wait_ms} ms"
        )));
    }
    if let Some(user) = users.authenticate(name, password) {
        let mut session = connection.session.borrow_mut();
        if session.subscriptions > 0 && session.user.name() != user.name() {
            frontend.push.registry.borrow_mut().leave_to(connection.subscriber(), session.user.name());
        }
        session.user = user.clone();
        session.authenticated = true;
        session.unrestricted = user.allows_everything();
        return Ok(());
    }
    frontend.context.acl.throttle.borrow_mut().note_failure(address, now_ms, limits);
    frontend.metrics.denied_logins.add(1);
    tracing::warn!(peer = %connection.peer, user = %name.escape_ascii(), "failed login");
    let event = Event { reason: Reason::Auth, context, object: command.into(), user: name.to_vec() };
    log_denial(frontend, connection, event);
    Err(WRONG_PASSWORD)
}

// ---- Changes of users.

/// Users were changed by `by`: every session gets the current version of its user. Clients of deleted
/// users are closed, as are subscribers whose user has lost one of their channels (Redis
/// `ACLFreeUserAndKillClients`, `ACLKillPubsubClientsIfNeeded`). The rights to a subscription are those of the
/// user who made it, whoever the client has become since (Redis #15468).
pub fn users_changed(frontend: &Frontend, by: &Connection) {
    let mut closed = Vec::new();
    {
        let users = frontend.context.acl.users.borrow();
        let is_open = users.default_user().is_open();
        for connection in frontend.connections.all().values() {
            let mut session = connection.session.borrow_mut();
            match users.get(session.user.name()) {
                Some(user) => {
                    if !Arc::ptr_eq(user, &session.user) {
                        if loses_channels(&session.user, user)
                            && !may_listen(frontend, connection, user, None)
                        {
                            closed.push(connection.clone());
                        }
                        session.user = user.clone();
                    }
                    session.unrestricted = (session.authenticated || is_open) && user.allows_everything();
                }
                None => {
                    // The connection is closing; nothing that it still does uses permissions.
                    session.user = users.default_user().clone();
                    session.authenticated = false;
                    session.unrestricted = false;
                    closed.push(connection.clone());
                }
            }
            if session.subscriptions > 0 && !keeps_earlier_rights(frontend, connection, &users) {
                closed.push(connection.clone());
            }
        }
    }
    for connection in frontend.connections.all().values() {
        review_blocked(frontend, connection);
    }
    for connection in closed {
        frontend.kill(by, &connection);
    }
}

/// Whether the user may use the subscriptions that it made on this connection. `maker` is its name, unless it
/// is the present user of the connection.
fn may_listen(frontend: &Frontend, connection: &Connection, user: &User, maker: Option<&[u8]>) -> bool {
    let registry = frontend.push.registry.borrow();
    registry.made_by(connection.subscriber(), maker).all(|(kind, name)| {
        user.selectors().iter().any(|selector| selector.allows_channel(name, kind == Kind::Pattern))
    })
}

/// Whether the earlier users of the connection may still use the subscriptions that they made.
fn keeps_earlier_rights(frontend: &Frontend, connection: &Connection, users: &Users) -> bool {
    let makers = frontend.push.registry.borrow().makers(connection.subscriber());
    makers
        .iter()
        .all(|maker| users.get(maker).is_some_and(|user| may_listen(frontend, connection, user, Some(maker))))
}

fn demand<'c>(row: &'static Row, args: Args<'c>, parsed: &'c Result<Command<'c>, ReplyError>) -> Demand<'c> {
    match parsed {
        Ok(command) => Demand::of(row, args, command),
        Err(_) => Demand::of_unparsed(row, args),
    }
}

/// Whether a channel allowed before is not allowed any more.
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

#[cfg(test)]
mod tests {
    use crate::node::testing::Stage;

    const ANN: &str = "ACL SETUSER ann on >pw allkeys allchannels +@all";

    #[test]
    fn sessions_follow_their_user() {
        let stage = Stage::new();
        let (ann, bob) = (stage.client(), stage.client());
        bob.ask(ANN);
        ann.ask("AUTH ann pw");
        assert!(ann.connection.session.borrow().is_plain());
        bob.ask("ACL SETUSER ann -set");
        assert_eq!(ann.ask("SET a 1"), "-NOPERM User ann has no permissions to run the 'set' command");
        bob.ask("ACL SETUSER ann +set");
        assert_eq!(ann.ask("SET a 1"), "+OK");
        assert!(ann.connection.session.borrow().is_plain());
        bob.ask("ACL DELUSER ann");
        assert!(ann.is_closed() && !bob.is_closed());
    }

    #[test]
    fn a_password_for_the_default_user_is_not_asked_of_those_who_are_in() {
        let stage = Stage::new();
        let (ann, bob) = (stage.client(), stage.client());
        bob.ask("CONFIG SET requirepass secret");
        assert_eq!((ann.ask("PING"), bob.ask("PING")), ("+PONG".into(), "+PONG".into()));
        assert!(stage.client().ask("PING").starts_with("-NOAUTH"));
    }

    #[test]
    fn only_a_subscriber_that_loses_its_channel_is_closed() {
        let stage = Stage::new();
        let bob = stage.client();
        bob.ask(ANN);
        let [news, sport] = ["news", "sport"].map(|channel| {
            let ann = stage.client();
            ann.ask(&format!("AUTH ann pw\nSUBSCRIBE {channel}"));
            ann
        });
        bob.ask("ACL SETUSER ann resetchannels &news");
        assert!(!news.is_closed() && sport.is_closed());
        bob.ask("ACL SETUSER ann &more");
        assert!(!news.is_closed());
    }

    #[test]
    fn a_subscription_has_the_rights_of_the_user_who_made_it() {
        let stage = Stage::new();
        let bob = stage.client();
        let revocations =
            ["ACL SETUSER ann resetchannels", "ACL SETUSER ann resetchannels &other", "ACL DELUSER ann"];
        for subscribe in ["SUBSCRIBE news", "PSUBSCRIBE news", "SSUBSCRIBE news"] {
            for revoke in revocations {
                bob.ask(ANN);
                bob.ask("ACL SETUSER cid on nopass allchannels +@all\nACL SETUSER dan on nopass allchannels +@all");
                let [gone, again, own] = [
                    format!("AUTH cid x\nAUTH ann pw\n{subscribe}\nAUTH cid x\nAUTH dan x\nAUTH cid x"),
                    // What is subscribed anew is the new user's.
                    format!(
                        "AUTH ann pw\n{subscribe}\nAUTH cid x\n{}\n{subscribe}",
                        subscribe.replace("SUB", "UNSUB")
                    ),
                    format!("AUTH cid x\n{subscribe}\nAUTH dan x"),
                ]
                .map(|requests| {
                    let client = stage.client();
                    client.ask(&format!("HELLO 3\n{requests}"));
                    client
                });
                bob.ask("ACL SETUSER ann &more\nACL SETUSER cid on\nACL DELUSER nobody");
                assert!(!gone.is_closed(), "{subscribe}: nothing was revoked");
                bob.ask(revoke);
                assert!(gone.is_closed(), "{subscribe}, {revoke}");
                assert!(!again.is_closed() && !own.is_closed(), "{subscribe}, {revoke}");
                bob.ask("ACL DELUSER cid");
                assert!(again.is_closed() && own.is_closed(), "{subscribe}: made as cid");
            }
        }
    }

    #[test]
    fn a_user_who_may_read_again_is_served() {
        let stage = Stage::new();
        let (ann, bob) = (stage.client(), stage.client());
        bob.ask(ANN);
        ann.ask("AUTH ann pw\nXREAD BLOCK 0 STREAMS s $");
        bob.ask("ACL SETUSER ann resetkeys\nACL SETUSER ann ~s");
        bob.ask("XADD s 1-1 f v");
        assert!(ann.told().contains("1-1"));
        ann.ask("XREAD BLOCK 0 STREAMS s $");
        bob.ask("ACL SETUSER ann resetkeys\nXADD s 2-1 f v");
        assert!(ann.told().starts_with("-NOPERM"));
        assert_eq!(stage.frontend.metrics.denied_keys.get(), 1);
    }

    #[test]
    fn a_denial_is_logged_with_its_circumstances() {
        let stage = Stage::new();
        let (ann, bob) = (stage.client(), stage.client());
        bob.ask("ACL SETUSER ann on >pw ~a +@all -config");
        ann.ask("AUTH ann wrong\nAUTH ann pw\nGET b\nMULTI\nCONFIG GET x");
        let told = bob.ask("ACL LOG");
        let after = |label: &str| {
            let found = told.match_indices(label).map(|(at, _)| told[at + label.len()..].split(' ').nth(2));
            found.flatten().collect::<Vec<_>>()
        };
        assert_eq!(after("$6 reason"), ["command", "key", "auth"]);
        assert_eq!(after("$7 context"), ["multi", "toplevel", "toplevel"]);
        assert_eq!(after("$6 object"), ["config|get", "b", "AUTH"]);
    }

    #[test]
    fn the_old_auth_means_the_default_user_and_needs_a_password_there() {
        let stage = Stage::new();
        let (ann, bob) = (stage.client(), stage.client());
        assert!(ann.ask("AUTH x").starts_with("-ERR AUTH <password> called without any password configured"));
        bob.ask("CONFIG SET requirepass secret");
        assert!(ann.ask("AUTH x").starts_with("-WRONGPASS"));
        assert_eq!(stage.client().ask("AUTH secret\nPING"), "+OK +PONG");
    }

    #[test]
    fn a_guesser_is_put_off_unheard() {
        let stage = Stage::with(|config| {
            config.requirepass = "secret".into();
            config.login_failures_free = 2;
            config.login_backoff_loopback = true;
        });
        let ann = stage.client();
        let told = ann.ask("AUTH a\nAUTH b\nAUTH c\nAUTH secret");
        assert_eq!(told.matches("WRONGPASS").count(), 3);
        assert!(told.contains("-ERR Too many failed logins from this address"), "{told}");
        let metrics = &stage.frontend.metrics;
        assert_eq!((metrics.denied_logins.get(), metrics.throttled_logins.get()), (4, 1));
        stage.pass_ms(5000);
        assert_eq!(ann.ask("AUTH secret"), "+OK");
    }
}
