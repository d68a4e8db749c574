//! Connections and what their requests become: sockets, sessions, the order of replies, commands by family.
//!
//! Invariants: one reply per request, in request order; a client that does not read cannot make the server's memory
//! grow without bound; whatever ends a connection, its subscriptions and waits end with it.

pub mod acl_commands;
pub mod address;
pub mod art;
pub mod blocking;
pub mod clients;
pub mod connection;
pub mod connection_commands;
pub mod cron;
pub mod data;
pub mod debug;
pub mod dispatch;
pub mod gather;
pub mod info;
pub mod info_streams;
pub mod invalidation;
pub mod latency_commands;
pub mod listener;
pub mod memory;
pub mod meter;
pub mod monitor;
pub mod notifications;
pub mod output;
pub mod pause;
pub mod permissions;
pub mod pubsub_commands;
pub mod serve;
pub mod server_commands;
pub mod session;
pub mod socket;
pub mod spread;
pub mod ticket;
pub mod tls;
pub mod tracking;
pub mod transaction;
pub mod waiting;
pub mod worker;
