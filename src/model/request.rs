//! Who asked for something: what a frontend hands to the engine with a submission and gets back with its
//! outcome.

/// A connection of a frontend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId {
    /// Counts up from 1 over all connections of the process; never given twice (CLIENT ID).
    pub number: u64,
    /// Where the frontend keeps it. Another one may be there later: the number tells.
    pub place: u32,
}

/// A request of a connection that waits for its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId {
    pub connection: ConnectionId,
    /// The reply slot: the place of the reply among those of the connection.
    pub reply_slot: u64,
}
