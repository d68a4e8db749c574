//! TLS: what is offered to clients (from the settings and their files), and a connection that speaks it.

pub mod offer;
pub mod stream;
