//! The server: accepts connections, reads and dispatches their requests, finishes outcomes, does the periodic
//! upkeep of connections.

pub mod accept;
pub mod connection_task;
pub mod dispatch;
pub mod goodbye;
pub mod outcomes;
pub mod upkeep;
