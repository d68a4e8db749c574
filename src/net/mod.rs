//! Connections: sockets (TCP, TLS, Unix), the order of replies, the table of connections.
//!
//! Invariants: one reply per request, in request order; a client that does not read cannot make the server's
//! memory grow without bound.

pub mod address;
pub mod connection;
pub mod connections;
pub mod listener;
pub mod output;
pub mod readiness;
pub mod socket;
pub mod tls;
