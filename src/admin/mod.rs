//! Offline tools over a data directory.
