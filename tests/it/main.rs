//! Tests of the running server in one binary. Read `support` first, then any module: each has one subject.

#![allow(dead_code, reason = "helpers that only some configurations of the tests use")]

#[path = "../support/mod.rs"]
mod support;

mod acl;
mod config_effects;
mod configurations;
mod config_rewrite;
mod connections;
mod data_dir;
mod descriptors;
mod differential;
mod disk_full;
mod forgetting;
mod hostile;
mod info;
mod kill;
mod loading;
mod memory;
mod panics;
mod recorded;
mod old_formats;
mod power;
mod redirected;
mod redis_rs;
mod soak;
mod stalls;
mod tls;
mod transcripts;
mod unchanged;
mod unix_socket;
