//! Commands about the client's own connection and about other connections.

use crate::model::reply::Reply;

#[derive(Debug, Clone, PartialEq)]
pub enum ConnectionCommand<'a> {
    Ping { message: Option<&'a [u8]> },
    Echo { message: &'a [u8] },
    Select { database: i64 },
    Quit,
    Reset,
    Auth { user: Option<&'a [u8]>, password: &'a [u8] },
    Hello(Hello<'a>),
    Client(ClientCommand<'a>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hello<'a> {
    /// 2 or 3; `None`: unchanged.
    pub version: Option<u8>,
    pub auth: Option<(&'a [u8], &'a [u8])>,
    pub set_name: Option<&'a [u8]>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ClientCommand<'a> {
    Id,
    Info,
    List(ClientFilter<'a>),
    GetName,
    SetName {
        name: &'a [u8],
    },
    /// `lib-name` or `lib-ver`
    SetInfo {
        attribute: LibraryAttribute,
        value: &'a [u8],
    },
    /// The old form: `CLIENT KILL addr:port`.
    KillAddress {
        address: &'a [u8],
    },
    Kill {
        filter: ClientFilter<'a>,
        skip_me: bool,
    },
    Reply(ReplyMode),
    Unblock {
        id: u64,
        with_error: bool,
    },
    NoEvict {
        on: bool,
    },
    NoTouch {
        on: bool,
    },
    Pause {
        timeout_ms: u64,
        writes_only: bool,
    },
    Unpause,
    GetRedirection,
    TrackingInfo,
    Tracking {
        on: bool,
        options: TrackingOptions<'a>,
    },
    /// Applies to the next command: YES with OPTIN, NO with OPTOUT.
    Caching {
        yes: bool,
    },
    /// Fixed lines.
    Help(Reply),
}

/// The options of CLIENT TRACKING ON.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrackingOptions<'a> {
    /// The id of the connection that receives the messages.
    pub redirect: Option<u64>,
    pub broadcast: bool,
    pub opt_in: bool,
    pub opt_out: bool,
    pub no_loop: bool,
    pub prefixes: Vec<&'a [u8]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LibraryAttribute {
    Name,
    Version,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyMode {
    On,
    Off,
    Skip,
}

/// The filters of CLIENT LIST and CLIENT KILL; a connection must match all given ones.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ClientFilter<'a> {
    pub ids: Option<Vec<u64>>,
    pub class: Option<ClientClass>,
    pub user: Option<&'a [u8]>,
    pub address: Option<&'a [u8]>,
    pub local_address: Option<&'a [u8]>,
    pub max_age_seconds: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientClass {
    Normal,
    Master,
    Replica,
    PubSub,
}
