//! What a connection has told the server about itself: protocol, database, name, transaction, subscriptions.

use crate::acl::user::User;
use crate::command::spec::Row;
use crate::model::args::OwnedArgs;
use crate::resp::writer::Protocol;
use crate::state::keyspace::KeyVersion;
use std::sync::Arc;

pub struct Session {
    pub protocol: Protocol,
    pub database: u32,
    /// Has logged in, or did not need to when it came.
    pub authenticated: bool,
    /// Whose permissions hold: the default user's before any login.
    pub user: Arc<User>,
    /// Is in, and its user may do everything: requests are not looked at for permissions. Follows from the
    /// users; see [`crate::frontend::permissions`].
    pub unrestricted: bool,
    pub name: Vec<u8>,
    pub library_name: Vec<u8>,
    pub library_version: Vec<u8>,
    pub replies: Replies,
    pub no_evict: bool,
    pub no_touch: bool,
    /// Since MULTI.
    pub queue: Option<Queue>,
    pub watched: Vec<WatchedKey>,
    /// Subscriptions to channels and patterns, and to shard channels: more than none makes RESP2 a one-way
    /// street.
    pub subscriptions: usize,
    pub last_command: Option<&'static Row>,
    /// Since MONITOR.
    pub is_monitoring: bool,
}

/// CLIENT REPLY.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Replies {
    #[default]
    On,
    Off,
    /// The command after this one is not answered.
    SkipNext,
    /// This one.
    Skip,
}

/// Commands queued since MULTI.
#[derive(Default)]
pub struct Queue {
    pub requests: Vec<(&'static Row, OwnedArgs)>,
    /// Bytes of all requests.
    pub bytes: usize,
    /// One was refused when it was queued: EXEC is refused.
    pub refused: bool,
}

#[derive(Debug, Clone)]
pub struct WatchedKey {
    pub database: u32,
    pub key: Vec<u8>,
    pub version: KeyVersion,
}

impl Session {
    /// A session of the default user, who is let in if it is open.
    pub fn new(default_user: Arc<User>) -> Self {
        Session {
            protocol: Protocol::Resp2,
            database: 0,
            authenticated: default_user.is_open(),
            unrestricted: default_user.is_open() && default_user.allows_everything(),
            user: default_user,
            name: Vec::new(),
            library_name: Vec::new(),
            library_version: Vec::new(),
            replies: Replies::On,
            no_evict: false,
            no_touch: false,
            queue: None,
            watched: Vec::new(),
            subscriptions: 0,
            last_command: None,
            is_monitoring: false,
        }
    }

    /// RESET: a connection as it was when it was accepted; what the library told about itself stays (Redis
    /// 7.2 `clientReset`).
    pub fn reset(&mut self, default_user: Arc<User>) {
        let library_name = std::mem::take(&mut self.library_name);
        let library_version = std::mem::take(&mut self.library_version);
        let last_command = self.last_command;
        *self = Session { library_name, library_version, last_command, ..Session::new(default_user) };
    }

    /// RESP2 with subscriptions: only the commands about subscriptions are allowed.
    pub fn is_subscribed_only(&self) -> bool {
        self.protocol == Protocol::Resp2 && self.subscriptions > 0
    }

    /// It is in no state in which a command may be refused, or done otherwise than at once.
    pub fn is_plain(&self) -> bool {
        self.unrestricted && self.queue.is_none() && self.subscriptions == 0 && !self.is_monitoring
    }

    /// The reply to the request at hand is dropped.
    pub fn is_muted(&self) -> bool {
        matches!(self.replies, Replies::Off | Replies::Skip)
    }

    /// A request begins: SKIP concerns only the one right after CLIENT REPLY SKIP. Returns what was before,
    /// for a request that will come again.
    pub fn next_request(&mut self) -> Replies {
        let before = self.replies;
        self.replies = match before {
            Replies::SkipNext => Replies::Skip,
            Replies::Skip => Replies::On,
            stays => stays,
        };
        before
    }
}
