//! CLIENT.

use crate::command::value::connection::{ClientCommand, ClientFilter, LibraryAttribute, ReplyMode};
use crate::engine::submission::{Ending, EngineAnswer, Question};
use crate::frontend::frontend::Frontend;
use crate::frontend::response::Response;
use crate::model::reply::{Reply, ReplyError};
use crate::net::connection::Connection;
use crate::push::invalidation::redirection;
use crate::session::session::{Replies, WatchedKey};
use std::borrow::Cow;
use std::rc::Rc;

pub fn execute<'a>(
    frontend: &Rc<Frontend>,
    connection: &Rc<Connection>,
    command: &ClientCommand<'a>,
) -> Response<'a> {
    match command {
        ClientCommand::Id => Reply::Integer(connection.id.number as i64),
        ClientCommand::Info => return describe(frontend, vec![connection.clone()]),
        ClientCommand::List(filter) => return describe(frontend, frontend.clients(filter)),
        ClientCommand::GetName => match &connection.session.borrow().name {
            name if name.is_empty() => Reply::Nil,
            name => Reply::bulk(name),
        },
        ClientCommand::SetName { name } => {
            connection.session.borrow_mut().name = name.to_vec();
            Reply::OK
        }
        ClientCommand::SetInfo { attribute, value } => {
            let mut session = connection.session.borrow_mut();
            match attribute {
                LibraryAttribute::Name => session.library_name = value.to_vec(),
                LibraryAttribute::Version => session.library_version = value.to_vec(),
            }
            Reply::OK
        }
        ClientCommand::KillAddress { address } => {
            let is_meant = |client: &&Rc<Connection>| client.peer.to_string().as_bytes() == *address;
            let found = frontend.connections.all().values().find(is_meant).cloned();
            match found {
                Some(client) => {
                    frontend.kill(connection, &client);
                    Reply::OK
                }
                None => Reply::error("ERR No such client"),
            }
        }
        ClientCommand::Kill { filter: ClientFilter { user: Some(user), .. }, .. }
            if frontend.context.acl.users.borrow().get(user).is_none() =>
        {
            Reply::Error(ReplyError::owned([b"ERR No such user '", *user, b"'"].concat()))
        }
        ClientCommand::Kill { filter, skip_me } => {
            let mut meant = frontend.clients(filter);
            meant.retain(|client| !(*skip_me && client.id == connection.id));
            for client in &meant {
                frontend.kill(connection, client);
            }
            Reply::count(meant.len())
        }
        ClientCommand::Reply(mode) => return reply_mode(connection, *mode),
        ClientCommand::Unblock { id, with_error } => {
            let client = frontend.connections.by_number(*id);
            let ending = if *with_error { Ending::Unblocked } else { Ending::TimedOut };
            Reply::flag(client.is_some_and(|client| frontend.end_wait(&client, ending)))
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
            let now_ms = frontend.monotonic_ms();
            frontend.pause.begin(now_ms.saturating_add(*timeout_ms), now_ms, *writes_only);
            frontend.tell_pause();
            Reply::OK
        }
        ClientCommand::Unpause => {
            frontend.pause.end();
            frontend.tell_pause();
            Reply::OK
        }
        ClientCommand::GetRedirection => {
            Reply::Integer(redirection(frontend.push.tracking.borrow().tracker(connection.id.number)))
        }
        ClientCommand::TrackingInfo => frontend.push.tracking_info(connection),
        ClientCommand::Tracking { on: true, options } => {
            let reply = frontend.push.track(&frontend.connections, connection, options);
            frontend.refresh_interest();
            reply.into()
        }
        ClientCommand::Tracking { on: false, options } => {
            match frontend.push.check_redirection(&frontend.connections, options) {
                Ok(()) => {
                    frontend.push.tracking.borrow_mut().disable(connection.id.number);
                    frontend.refresh_interest();
                    Reply::OK
                }
                Err(error) => error.into(),
            }
        }
        ClientCommand::Caching { yes } => {
            match frontend.push.tracking.borrow_mut().set_caching(connection.id.number, *yes) {
                Ok(()) => Reply::OK,
                Err(error) => error.into(),
            }
        }
        ClientCommand::Help(lines) => lines.clone(),
    }
    .into()
}

/// CLIENT LIST and INFO. The engine determines whether a watched key has changed.
fn describe(frontend: &Rc<Frontend>, clients: Vec<Rc<Connection>>) -> Response<'static> {
    let watched: Vec<Vec<WatchedKey>> =
        clients.iter().map(|client| client.session.borrow().watched.clone()).collect();
    let lines = move |frontend: &Frontend, spoilt: Vec<bool>| {
        let described = clients.iter().zip(spoilt);
        Reply::Verbatim(described.map(|(client, is)| frontend.describe_client(client, is) + "\n").collect())
    };
    let none_spoilt = vec![false; watched.len()];
    if watched.iter().all(Vec::is_empty) {
        return lines(frontend, none_spoilt).into();
    }
    let keys = watched.iter().flatten().map(|it| (it.database, Cow::Owned(it.key.clone()))).collect();
    let frontend = frontend.clone();
    let make = move |answer: EngineAnswer| {
        let EngineAnswer::Versions(versions) = answer else { return answer.into_reply() };
        let mut versions = versions.into_iter();
        let is_spoilt = |watched: &Vec<WatchedKey>| {
            let changed = watched.iter().map(|it| versions.next() != Some(it.version));
            changed.filter(|changed| *changed).count() > 0
        };
        let spoilt = watched.iter().map(is_spoilt).collect();
        lines(&frontend, spoilt)
    };
    Response::Ask(Question::Versions(keys), Box::new(make))
}

fn reply_mode(connection: &Connection, mode: ReplyMode) -> Response<'static> {
    let mut session = connection.session.borrow_mut();
    match mode {
        ReplyMode::On => {
            session.replies = Replies::On;
            Reply::OK.into()
        }
        ReplyMode::Off => {
            session.replies = Replies::Off;
            Response::Silence
        }
        ReplyMode::Skip => {
            if session.replies != Replies::Off {
                session.replies = Replies::SkipNext;
            }
            Response::Silence
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::node::testing::Stage;

    #[test]
    fn kill_counts_and_spares_the_caller_unless_told_otherwise() {
        let stage = Stage::new();
        let (ann, bob, _cid) = (stage.client(), stage.client(), stage.client());
        let address = bob.connection.peer.to_string();
        assert_eq!(
            ann.ask(&format!("CLIENT KILL {address}\nCLIENT KILL {address}")),
            "+OK -ERR No such client"
        );
        assert!(bob.is_closed());
        assert_eq!(ann.ask("CLIENT KILL TYPE normal\nCLIENT KILL TYPE normal"), ":1 :0");
        assert_eq!(ann.ask("CLIENT KILL USER nobody"), "-ERR No such user 'nobody'");
        assert_eq!(ann.ask("CLIENT KILL TYPE normal SKIPME no"), ":1");
        assert!(ann.is_closed());
    }

    #[test]
    fn unblock_ends_a_wait_as_its_caller_wants() {
        let stage = Stage::new();
        let (ann, bob) = (stage.client(), stage.client());
        let id = ann.connection.id.number;
        assert_eq!(bob.ask(&format!("CLIENT UNBLOCK {id}")), ":0");
        ann.ask("XREAD BLOCK 0 STREAMS s $");
        assert_eq!(bob.ask(&format!("CLIENT UNBLOCK {id}")), ":1");
        assert_eq!(ann.told(), "*-1");
        ann.ask("XREAD BLOCK 0 STREAMS s $");
        assert_eq!(bob.ask(&format!("CLIENT UNBLOCK {id} ERROR")), ":1");
        assert_eq!(ann.told(), "-UNBLOCKED client unblocked via CLIENT UNBLOCK");
        ann.ask("XREAD BLOCK 0 STREAMS s $");
        assert_eq!(bob.ask(&format!("CLIENT UNBLOCK {id}\nCLIENT UNBLOCK {id} ERROR")), ":1 :0");
        assert_eq!(ann.told(), "*-1");
    }

    #[test]
    fn reply_off_silences_all_and_skip_the_next() {
        let ann = Stage::new().client();
        assert_eq!(ann.ask("CLIENT REPLY OFF\nPING\nSET a 1\nCLIENT REPLY SKIP\nPING\nPING"), "");
        assert_eq!(ann.ask("CLIENT REPLY ON\nCLIENT REPLY SKIP\nSET a 2\nGET a"), "+OK $1 2");
    }
}
