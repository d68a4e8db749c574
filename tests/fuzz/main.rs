//! Fuzzers for every parser of external input, one test each. Brief in `cargo test`;
//! `HEADWATER_FUZZ_SECONDS=60 cargo test --test fuzz` runs each for a minute, `… --test fuzz commands` runs
//! one of them.

#![allow(dead_code, reason = "helpers that other test binaries use")]

#[path = "../support/random.rs"]
mod random;

mod acl;
mod commands;
mod engine;
mod patterns;
mod payloads;
mod requests;
mod settings;
mod state;
