//! The server: accepts connections, reads and dispatches their requests, finishes outcomes, looks after
//! connections by the clock.

pub mod accept;
pub mod connection_task;
pub mod dispatch;
pub mod outcomes;
pub mod upkeep;
