//! The nouns that every room speaks: entry ids, names, slots, log ids, limits, replies.

pub mod args;
pub mod entries;
pub mod entry_id;
pub mod key_events;
pub mod limits;
pub mod log;
pub mod reply;
pub mod slot;
pub mod time;
