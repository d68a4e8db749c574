//! The identity of a request: a frontend passes it to the engine with a submission and gets it back with the
//! outcome.

/// A connection of a frontend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId {
    /// Counts up from 1 over all connections of the process; never reused (CLIENT ID).
    pub number: u64,
    /// Its index in the frontend's table. Another connection may have it later; the number distinguishes
    /// them.
    pub place: u32,
}

/// A request of a connection that waits for its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId {
    pub connection: ConnectionId,
    /// The reply slot: the position of the reply among those of the connection.
    pub reply_slot: u64,
}
