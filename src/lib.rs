//! Headwater: Redis streams and pub/sub, durable.
//!
//! Read the rooms in this order, bottom up; a room imports only rooms above it in this list (`tests/tidy.rs`
//! checks this). ARCHITECTURE.md draws the picture.

pub mod base;
pub mod model;
pub mod env;
pub mod config;
pub mod observe;
pub mod resp;
pub mod command;
pub mod state;
pub mod storage;
pub mod pubsub;
pub mod acl;
pub mod replication;
pub mod partition;
pub mod context;
pub mod engine;
pub mod session;
pub mod net;
pub mod push;
pub mod frontend;
pub mod commands;
pub mod server;
pub mod node;
