//! Commands by family: from a typed command to a submission or an answer. Each is a function over the owner
//! that it needs.

pub mod acl;
pub mod blocking;
pub mod client;
pub mod config;
pub mod connection;
pub mod debug;
pub mod info;
mod info_line;
mod info_streams;
pub mod keys;
pub mod latency;
pub mod lolwut;
pub mod memory;
pub mod pubsub;
pub mod server;
pub mod transaction;
