//! TLS: the configuration (from the settings and their files) and a connection that speaks it.

pub mod config;
pub mod stream;
