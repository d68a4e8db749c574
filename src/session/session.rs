//! The state of a client that its commands set: protocol, database, name, transaction, subscriptions.

use crate::acl::user::User;
use crate::command::spec::Row;
use crate::model::args::OwnedArgs;
use crate::resp::writer::Protocol;
use crate::state::keyspace::KeyVersion;
use std::sync::Arc;

pub struct Session {
    pub protocol: Protocol,
    pub database: u32,
    /// Logged in, or accepted without the need to.
    pub authenticated: bool,
    /// The user whose permissions apply: the default user before any login.
    pub user: Arc<User>,
    /// Authenticated, and the user may do everything: requests skip the permission checks. Derived from the
    /// users; see [`crate::frontend::permissions`].
    pub unrestricted: bool,
    pub name: Vec<u8>,
    pub library_name: Vec<u8>,
    pub library_version: Vec<u8>,
    pub replies: Replies,
    pub no_evict: bool,
    pub no_touch: bool,
    /// Present since MULTI.
    pub queue: Option<Queue>,
    pub watched: Vec<WatchedKey>,
    /// Number of subscriptions to channels, patterns and shard channels. In RESP2 a nonzero number restricts
    /// the connection to commands about subscriptions.
    pub subscriptions: usize,
    pub last_command: Option<&'static Row>,
    /// Set by MONITOR.
    pub is_monitoring: bool,
}

/// CLIENT REPLY.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Replies {
    #[default]
    On,
    Off,
    /// The next command gets no reply.
    SkipNext,
    /// The current command gets no reply.
    Skip,
}

/// Commands queued since MULTI.
#[derive(Default)]
pub struct Queue {
    pub requests: Vec<(&'static Row, OwnedArgs)>,
    /// Bytes of all requests.
    pub bytes: usize,
    /// A request was refused when it was queued, so EXEC is refused.
    pub refused: bool,
}

#[derive(Debug, Clone)]
pub struct WatchedKey {
    pub database: u32,
    pub key: Vec<u8>,
    pub version: KeyVersion,
}

impl Session {
    /// A session of the default user; authenticated if that user needs no password.
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

    /// RESET: restores the state after accept, except what the library reported about itself (Redis 7.2
    /// `clientReset`).
    pub fn reset(&mut self, default_user: Arc<User>) {
        let library_name = std::mem::take(&mut self.library_name);
        let library_version = std::mem::take(&mut self.library_version);
        let last_command = self.last_command;
        *self = Session { library_name, library_version, last_command, ..Session::new(default_user) };
    }

    /// RESP2 with subscriptions: only commands about subscriptions are allowed.
    pub fn is_subscribed_only(&self) -> bool {
        self.protocol == Protocol::Resp2 && self.subscriptions > 0
    }

    /// No state of the session can refuse or defer a command.
    pub fn is_plain(&self) -> bool {
        self.unrestricted && self.queue.is_none() && self.subscriptions == 0 && !self.is_monitoring
    }

    /// The reply to the current request is dropped.
    pub fn is_muted(&self) -> bool {
        matches!(self.replies, Replies::Off | Replies::Skip)
    }

    /// Begins a request: SKIP concerns only the request after CLIENT REPLY SKIP. Returns the previous state,
    /// for a request that is retried.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn session(rules: &str) -> Session {
        let mut user = User::new(b"someone", false);
        rules.split(' ').for_each(|rule| user.apply(rule.as_bytes(), false).expect("a rule"));
        Session::new(Arc::new(user))
    }

    #[test]
    fn a_skip_concerns_the_next_request_and_no_other() {
        let mut session = session("on nopass +@all");
        session.replies = Replies::SkipNext;
        assert!(!session.is_muted(), "CLIENT REPLY SKIP itself");
        let before = session.next_request();
        assert!(session.is_muted());
        // It comes again.
        session.replies = before;
        session.next_request();
        assert!(session.is_muted());
        session.next_request();
        assert!(!session.is_muted());
        session.replies = Replies::Off;
        session.next_request();
        assert!(session.is_muted());
    }

    #[test]
    fn what_could_refuse_a_command_makes_a_session_less_than_plain() {
        let mut session = session("on nopass allkeys allchannels +@all");
        assert!(session.is_plain());
        session.queue = Some(Queue::default());
        assert!(!session.is_plain());
        session.queue = None;
        session.subscriptions = 1;
        assert!(!session.is_plain() && session.is_subscribed_only());
        session.protocol = Protocol::Resp3;
        assert!(!session.is_subscribed_only());
        session.subscriptions = 0;
        session.is_monitoring = true;
        assert!(!session.is_plain());
    }

    #[test]
    fn whoever_must_log_in_or_may_not_do_everything_is_looked_at() {
        assert!(!session("on >secret allkeys allchannels +@all").authenticated);
        let restricted = session("on nopass allkeys allchannels +@all -get");
        assert!(restricted.authenticated && !restricted.unrestricted);
    }

    #[test]
    fn a_reset_forgets_all_but_the_library() {
        let mut session = session("on nopass allkeys allchannels +@all");
        session.library_name = b"client".to_vec();
        session.name = b"me".to_vec();
        session.database = 3;
        session.queue = Some(Queue::default());
        session.no_evict = true;
        let user = session.user.clone();
        session.reset(user);
        assert_eq!(
            (&session.library_name[..], &session.name[..], session.database),
            (&b"client"[..], &b""[..], 0)
        );
        assert!(session.is_plain() && !session.no_evict);
    }
}
